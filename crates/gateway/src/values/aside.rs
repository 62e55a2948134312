//! Sets a store aside that cannot be used: renamed, never changed, never overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::store::{StoreError, access};

/// Renames a store and its log, with the time in the new name, and returns that.
pub(super) fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let kept = free_name(path);
    // The log goes last: a log without its store is noticed, a store without its log is not.
    for (from, to) in [(path, &kept), (&log_of(path), &log_of(&kept))] {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(access("set aside", from)(error));
            }
            _ => {}
        }
    }
    Ok(kept)
}

/// Returns the name of a store's write-ahead log.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Finds a name that neither a file nor its log has; nobody else makes files in the locked folder.
fn free_name(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let time = time();
    let name = |count: u32| match count {
        1 => format!("{stem}-damaged-{time}.db"),
        _ => format!("{stem}-damaged-{time}-{count}.db"),
    };
    let is_free = |path: &PathBuf| {
        [path, &log_of(path)]
            .iter()
            .all(|path| fs::symlink_metadata(path).is_err())
    };
    (1..)
        .map(|count| path.with_file_name(name(count)))
        .find(is_free)
        .unwrap_or_else(|| path.with_file_name(name(0)))
}

/// Returns the time as in `20260102T030405Z`.
fn time() -> String {
    // The database knows the calendar, which the standard library does not.
    let stamp = Connection::open_in_memory().and_then(|calendar| {
        calendar.query_row("SELECT strftime('%Y%m%dT%H%M%SZ')", [], |row| row.get(0))
    });
    stamp.unwrap_or_else(|_| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs().to_string()
    })
}
