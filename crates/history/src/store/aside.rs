//! Sets a store aside that cannot be used: renamed, never changed, never overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Renames a store and its log, with the time in the new name, and returns that.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let kept = free_name(path);
    // The log goes last: a log without its store is noticed, a store without its log is not.
    for (from, to) in [(path, &kept), (&log_of(path), &log_of(&kept))] {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // Its shared memory is made anew by whoever opens it.
    let _ = fs::remove_file(with_end(path, "-shm"));
    Ok(kept)
}

/// Returns the name of a store's write-ahead log.
pub(super) fn log_of(path: &Path) -> PathBuf {
    with_end(path, "-wal")
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Finds a name that neither a file nor its log has; whoever writes the store holds its lock.
fn free_name(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
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
