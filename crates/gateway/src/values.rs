//! The values of virtual devices on disk: opened and read once, then written in batches.
//!
//! Input: the state folder, and batches from `writer`. Output: what is known of each device, for the
//! driver that owns the store. A driver keeps its own memory: only it knows which of its values
//! outlive it (a device behind a radio knows its own state), and the registry stays free of disks.
//!
//! # Why SQLite, in WAL mode
//! A write may be acknowledged some thousand times a second, and each must survive the death of the
//! process at once, that of the machine within a second.
//! - A whole file written beside, flushed and renamed costs all devices' values for each write, or a
//!   journal in between, with checksums, replay and clean-up: a write-ahead log of our own.
//! - SQLite's log is that journal, tested for what we would have to test. With `synchronous=NORMAL` a
//!   commit is one append that is in the system's hands when it returns, so that `kill -9` cannot take
//!   it back. Flushing waits for the checkpoint, which `writer` makes at most half a second after a
//!   commit. The log's frames carry checksums: after a power cut it ends at the last whole commit.
//! - It is built in, so that nothing is to be installed, and history needs a database as well.
//!
//! The process holds the file alone (`locking_mode=EXCLUSIVE`), beside the lock of the state folder:
//! no shared memory file, no locks taken for each commit.
//!
//! # What is done about damage
//! Each row has a checksum of its own, since a database notices a broken page but no broken value. A
//! store that does not open, is damaged, or is a newer program's, is set aside by `aside`.

mod aside;
mod batch;
mod create;
mod rows;
pub(crate) mod writer;

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthgate_protocol::model::Point;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::warn;

pub(crate) use self::batch::{Batch, FileTimes, Record};
use self::rows::Known;
use crate::store::{StoreError, access};

/// The file in the state folder.
const VALUES_FILE: &str = "values.db";
/// Tells our files from other programs' (`PRAGMA application_id`): "hgvl".
const APPLICATION: i64 = 0x6867_766c;
/// The version of the tables (`PRAGMA user_version`).
const VERSION: i64 = 1;
/// Somebody who looks into the file with a tool of their own gets out of the way by then.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// The log is flushed and emptied by then at the latest, in pages of 4 KiB: 16 MiB.
const LOG_PAGES: i64 = 4096;

/// The stored values of virtual devices, held by this process alone.
#[derive(Debug)]
pub struct ValueStore {
    connection: Connection,
    path: PathBuf,
    known: Known,
}

/// What is stored of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// When its profile was last read into the store.
    pub(crate) file: FileTimes,
    /// Its values, with the times at which they were confirmed and changed.
    pub(crate) points: Vec<Point>,
}

/// Why a store does not open.
#[derive(Debug)]
enum Fault {
    /// The store itself is at fault: it is to be set aside.
    Damaged(String),
    /// Something around it is.
    Refused(StoreError),
}

impl ValueStore {
    /// Opens the store in a state folder, or makes one. One that cannot be used is set aside with a
    /// line in the log, and an empty one takes its place.
    ///
    /// # Errors
    /// Where the folder or the disk does not allow it.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(VALUES_FILE);
        match Self::open_present(&path) {
            Ok(Some(store)) => return Ok(store),
            Ok(None) => {}
            Err(Fault::Refused(error)) => return Err(error),
            Err(Fault::Damaged(problem)) => {
                let kept = aside::set_aside(&path)?;
                warn!(
                    "the stored values in {} cannot be used ({problem}): set aside as {}, \
                     the devices start from their profiles",
                    path.display(),
                    kept.display()
                );
            }
        }
        create::create(&path)?;
        let gone = || access("open", &path)(io::Error::other("it does not stay"));
        match Self::open_present(&path) {
            Ok(store) => store.ok_or_else(gone),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Damaged(problem)) => Err(access("open", &path)(io::Error::other(problem))),
        }
    }

    /// Returns where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands over what was stored when it was opened.
    pub(crate) fn take_known(&mut self) -> Known {
        std::mem::take(&mut self.known)
    }

    /// Stores a batch, all of it or nothing. Survives the death of the process from then on.
    ///
    /// # Errors
    /// Where the disk is full or fails; nothing of the batch was stored.
    pub(crate) fn commit(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        rows::write(&transaction, batch)?;
        transaction.commit()
    }

    /// Brings all that was stored to the disk: it survives a power cut from then on.
    ///
    /// # Errors
    /// Where the disk is full or fails.
    pub(crate) fn sync(&self) -> rusqlite::Result<()> {
        let held = self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                row.get::<_, bool>(0)
            })?;
        match held {
            true => Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                Some("another program holds it".to_owned()),
            )),
            false => Ok(()),
        }
    }

    /// Opens and reads a store; `None` where there is none.
    fn open_present(path: &Path) -> Result<Option<Self>, Fault> {
        if !is_present(path)? {
            return Ok(None);
        }
        let failed = |error| sort(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        // What is going to be set aside stays to the byte as it was.
        let as_it_was = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(as_it_was, true).map_err(failed)?;
        prepare(&connection).map_err(failed)?;
        check(&connection, path)?;
        let known = rows::load(&connection)
            .map_err(failed)?
            .ok_or_else(|| Fault::Damaged("a value in it is damaged".to_owned()))?;
        connection.set_db_config(as_it_was, false).map_err(failed)?;
        Ok(Some(Self {
            connection,
            path: path.to_owned(),
            known,
        }))
    }
}

/// Tells whether there is a file to open, and whether it may be one of ours.
fn is_present(path: &Path) -> Result<bool, Fault> {
    let log = aside::log_of(path);
    let refused = |error| Fault::Refused(access("open", path)(error));
    // Opened before SQLite does, which tells a missing permission from a full table of files.
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound if fs::symlink_metadata(&log).is_ok() => {
                    Err(Fault::Damaged("its log is there without it".to_owned()))
                }
                io::ErrorKind::NotFound => Ok(false),
                io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
                    Err(Fault::Damaged(error.to_string()))
                }
                _ => Err(refused(error)),
            };
        }
    };
    let metadata = file.metadata().map_err(refused)?;
    match (metadata.is_file(), metadata.len()) {
        (false, _) => Err(Fault::Damaged("it is no file".to_owned())),
        // One is put in its place only when it is complete.
        (true, 0) => Err(Fault::Damaged("it is empty".to_owned())),
        (true, _) => Ok(true),
    }
}

/// Says how the file is used; before anything is read.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_PATIENCE)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)
}

fn check(connection: &Connection, path: &Path) -> Result<(), Fault> {
    let number = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|error| sort(path, error))
    };
    if number("application_id")? != APPLICATION {
        return Err(Fault::Damaged("it is another program's".to_owned()));
    }
    let version = number("user_version")?;
    if version != VERSION {
        return Err(Fault::Damaged(format!(
            "its version is {version}, and this hearthgate knows version {VERSION} alone"
        )));
    }
    let outcome: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| sort(path, error))?;
    match outcome.as_str() {
        "ok" => Ok(()),
        _ => Err(Fault::Damaged(outcome.replace('\n', ": "))),
    }
}

/// Tells what is the store's fault from what is around it.
fn sort(path: &Path, error: rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen,
        ) => Fault::Refused(access("open", path)(io::Error::other(error))),
        _ => Fault::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
