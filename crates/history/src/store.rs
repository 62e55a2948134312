//! The store: opened and checked, then written in batches by one thread.
//!
//! Input: batches of rows from `writer`. Output: the tables of `create`, which `reader` and other programs
//! read meanwhile.
//!
//! # What survives what
//! The file is SQLite's, in WAL mode. A commit is in the system's hands when it returns: `kill -9` takes
//! nothing back, and what it cuts short was never there. With `synchronous=NORMAL` the disk has it at the
//! next checkpoint, at the latest a minute later; the log's frames carry checksums, so that after a power
//! cut it ends at the last whole commit, and the file itself is only written after the log was flushed. A
//! minute of history is the price for not flushing a memory card every second.
//!
//! Other than the values of virtual devices, history is read by others while it is written; so it is not
//! locked exclusively. A lock beside it keeps a second writer out.
//!
//! # What is done about damage
//! What does not open, or is found damaged later, is set aside under another name, never overwritten, and an
//! empty store takes its place. The whole file is checked when it opens only where it is small: reading
//! gigabytes at every start would wear out more patience than it finds damage. A newer program's store is
//! refused and left alone.

mod aside;
mod batch;
mod create;
pub(crate) mod load;
pub(crate) mod retention;

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthgate_hub::Step;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use tracing::{info, warn};

pub(crate) use self::retention::Retention;
use crate::row::SeriesId;
use crate::track::Loaded;

/// Tells our files from other programs' (`PRAGMA application_id`): "hghi".
pub(crate) const APPLICATION: i64 = 0x6867_6869;
/// The version of the tables (`PRAGMA user_version`).
pub(crate) const VERSION: i64 = 1;
/// What leads from one version to the next: the first from 1 to 2. Each is one transaction.
const MIGRATIONS: &[&str] = &[];
/// Somebody who looks into the file with a tool of their own gets out of the way by then.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// A store up to this size is checked as a whole when it opens.
const CHECKED_BYTES: u64 = 32 * 1024 * 1024;
/// When the log is emptied, in pages of 4 KiB.
const LOG_PAGES: i64 = 2000;
/// What the log may keep when it is empty, in bytes.
const LOG_BYTES: i64 = 16 * 1024 * 1024;
/// The pages that are kept in memory, in KiB (negative by SQLite's convention).
const CACHE: i64 = -8192;

/// Why history cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk or the folder does not allow it.
    #[error(
        "cannot {doing} the history {path}: {cause}; `--history FILE` keeps it elsewhere, \
         `--no-history` does without"
    )]
    Access {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Another process writes it.
    #[error(
        "another hearthgate writes the history {path}: end it, or keep this one's elsewhere with \
         `--history FILE`"
    )]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// A newer program made it.
    #[error(
        "the history {path} is of version {found}, and this hearthgate knows versions up to {VERSION}: \
         use the newer program, or another file with `--history FILE`"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

/// The newest row of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Newest {
    at: i64,
    seq: i64,
    /// The value in force, where means are made of the series.
    number: Option<f64>,
}

/// The file, open for writing by this process alone.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    path: PathBuf,
    newest: HashMap<SeriesId, Newest>,
    /// Single changes from before are not all there any more.
    changes_from: i64,
}

/// Why a store does not open.
enum Fault {
    Damaged(String),
    Refused(StoreError),
}

impl Store {
    /// Opens a store, or makes one; also returns its series. One that is damaged is set aside with a line
    /// in the log. Whoever calls it holds the [`lock`].
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<Loaded>), StoreError> {
        match Self::open_present(path) {
            Ok(Some(opened)) => return Ok(opened),
            Ok(None) => {}
            Err(Fault::Refused(error)) => return Err(error),
            Err(Fault::Damaged(problem)) => {
                let kept = aside::set_aside(path).map_err(access("set aside", path))?;
                warn!(
                    "the history {} cannot be used ({problem}): set aside as {}, it begins anew",
                    path.display(),
                    kept.display()
                );
            }
        }
        create::create(path)?;
        match Self::open_present(path) {
            Ok(Some(opened)) => Ok(opened),
            Ok(None) => Err(gone(path, "it does not stay".to_owned())),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Damaged(problem)) => Err(gone(path, problem)),
        }
    }

    /// Sets the store aside, since it was found damaged, and goes on with an empty one.
    pub(crate) fn replace_damaged(self, problem: &str) -> Result<Self, StoreError> {
        let Self {
            connection, path, ..
        } = self;
        // What is set aside stays as it was.
        let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        let _ = connection.set_db_config(no_checkpoint, true);
        drop(connection);
        let kept = aside::set_aside(&path).map_err(access("set aside", &path))?;
        warn!(
            "the history {} was found damaged ({problem}): set aside as {}, it begins anew",
            path.display(),
            kept.display()
        );
        Self::open(&path).map(|(store, _)| store)
    }

    /// Returns the time of the oldest change.
    pub(crate) fn oldest(&self) -> rusqlite::Result<Option<i64>> {
        retention::oldest(&self.connection, Step::Raw, i64::MIN)
    }

    /// Returns when it was last known that history is kept.
    pub(crate) fn alive(&self) -> rusqlite::Result<Option<i64>> {
        let query = "SELECT value FROM state WHERE name = 'alive'";
        self.connection
            .query_row(query, [], |row| row.get(0))
            .optional()
    }

    /// Takes note that history is kept, and brings all that was committed to the disk.
    pub(crate) fn heartbeat(&self, now: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO state VALUES ('alive', ?1) ON CONFLICT DO UPDATE SET value = ?1",
            )?
            .execute(params![now])?;
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    /// Returns the size of the file as its pages say, and how much of it is free.
    pub(crate) fn bytes(&self) -> rusqlite::Result<(u64, u64)> {
        let number = |name: &str| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map(|number| u64::try_from(number).unwrap_or(0))
        };
        let size = number("page_size")?;
        Ok((
            number("page_count")?.saturating_mul(size),
            number("freelist_count")?.saturating_mul(size),
        ))
    }

    /// Closes the file, with its log emptied.
    pub(crate) fn close(self) {
        if let Err((_, error)) = self.connection.close() {
            warn!(
                "the history {} does not close: {error}",
                self.path.display()
            );
        }
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Opens and reads a store; none where there is none.
    fn open_present(path: &Path) -> Result<Option<(Self, Vec<Loaded>)>, Fault> {
        let Some(length) = length(path)? else {
            return Ok(None);
        };
        let failed = |error| sort(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        // What is going to be set aside stays to the byte as it was.
        let as_it_was = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
        connection.set_db_config(as_it_was, true).map_err(failed)?;
        prepare(&connection).map_err(failed)?;
        check(&mut connection, path, length)?;
        let loaded = load::series(&connection).map_err(failed)?;
        connection.set_db_config(as_it_was, false).map_err(failed)?;
        let newest = loaded
            .iter()
            .filter_map(|(newest, series)| Some((series.id, (*newest)?)));
        let store = Self {
            newest: newest.collect(),
            connection,
            path: path.to_owned(),
            changes_from: i64::MIN,
        };
        let loaded = loaded.into_iter().map(|(_, series)| series).collect();
        Ok(Some((store, loaded)))
    }
}

fn gone(path: &Path, problem: String) -> StoreError {
    access("open", path)(io::Error::other(problem))
}

/// Takes the lock that says who writes, and makes the folder where there is none; it ends with the handle,
/// or with this process.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        create::folder(folder).map_err(access("make the folder of", path))?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let file = create::private(OpenOptions::new().create(true).truncate(false))
        .open(&lock_path)
        .map_err(access("lock", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(cause)) => Err(access("lock", path)(cause)),
    }
}

/// Returns the length of the file; none where there is no file.
fn length(path: &Path) -> Result<Option<u64>, Fault> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if std::fs::symlink_metadata(aside::log_of(path)).is_ok() {
                return Err(Fault::Damaged("its log is there without it".to_owned()));
            }
            return Ok(None);
        }
        Err(error) => return Err(Fault::Refused(access("open", path)(error))),
    };
    let metadata = file
        .metadata()
        .map_err(|error| Fault::Refused(access("open", path)(error)))?;
    match (metadata.is_file(), metadata.len()) {
        (false, _) => Err(Fault::Refused(gone(path, "it is no file".to_owned()))),
        // One is put in its place only when it is complete.
        (true, 0) => Err(Fault::Damaged("it is empty".to_owned())),
        (true, length) => Ok(Some(length)),
    }
}

/// Says how the file is used; before anything is read.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", CACHE)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)
}

fn check(connection: &mut Connection, path: &Path, length: u64) -> Result<(), Fault> {
    let number = |connection: &Connection, name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|error| sort(path, error))
    };
    if number(connection, "application_id")? != APPLICATION {
        return Err(Fault::Damaged("it is another program's".to_owned()));
    }
    let found = number(connection, "user_version")?;
    if found > VERSION {
        let path = path.to_owned();
        return Err(Fault::Refused(StoreError::Newer { path, found }));
    }
    if length <= CHECKED_BYTES {
        let outcome: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| sort(path, error))?;
        if outcome != "ok" {
            return Err(Fault::Damaged(outcome.replace('\n', ": ")));
        }
    }
    migrate(connection, found, MIGRATIONS).map_err(|error| sort(path, error))?;
    if found < VERSION {
        info!(
            "the history {} was brought to version {VERSION}",
            path.display()
        );
    }
    Ok(())
}

/// Brings the tables from a version to the newest, one whole step after the other.
fn migrate(connection: &mut Connection, from: i64, steps: &[&str]) -> rusqlite::Result<()> {
    let done = usize::try_from(from.saturating_sub(1)).unwrap_or(0);
    for (step, version) in steps.iter().skip(done).zip(from.max(1) + 1..) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Tells whether an error says that the file is damaged.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
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
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure,
        ) => Fault::Refused(access("open", path)(io::Error::other(error))),
        _ => Fault::Damaged(error.to_string()),
    }
}

pub(crate) fn access(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |cause| StoreError::Access { doing, path, cause }
}

#[cfg(test)]
pub(crate) mod tests;
