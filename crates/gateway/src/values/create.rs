//! Makes an empty store: complete under another name, then put into its place.
//!
//! So a store in its place is never half made, and an empty file there is damage.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::{APPLICATION, VERSION, aside};
use crate::store::{StoreError, access};

const TABLES: &str = "
    CREATE TABLE profile (
        device TEXT PRIMARY KEY,
        read INTEGER NOT NULL,      -- nanoseconds since the Unix epoch
        modified INTEGER NOT NULL,  -- the same
        checksum INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE point (
        device TEXT NOT NULL,
        code TEXT NOT NULL,
        value TEXT NOT NULL,        -- JSON, to the byte as it came
        confirmed INTEGER NOT NULL, -- milliseconds since the Unix epoch
        changed INTEGER NOT NULL,   -- the same
        checksum INTEGER NOT NULL,
        PRIMARY KEY (device, code)
    ) STRICT;
";

/// Makes an empty store where there is none.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let unfinished = path.with_extension("new");
    remove(&unfinished)
        .and_then(|()| remove(&aside::log_of(&unfinished)))
        .map_err(access("remove", &unfinished))?;
    private_file(&unfinished).map_err(access("make", &unfinished))?;
    fill(&unfinished).map_err(|error| access("make", path)(io::Error::other(error)))?;
    let put = || {
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, path)?;
        // The folder may be as new as the file.
        let folders = path.ancestors().skip(1).take(2);
        folders
            .filter(|folder| folder.is_dir())
            .try_for_each(|folder| File::open(folder)?.sync_all())
    };
    put().map_err(access("make", path))
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    // Flushed as a whole before it counts.
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.close().map_err(|(_, error)| error)
}

/// Makes an empty file that its owner alone can read; SQLite gives its log the same permissions.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
