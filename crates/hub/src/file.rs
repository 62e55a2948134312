//! Small files that a power cut never empties: read whole, changed under a lock, replaced as a whole.
//!
//! Input are paths and texts from `directory` and `names`; output are files of mode 600, each beside a
//! last good copy (`.bak`) and a lock (`.lock`), which serialises those who change it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// More than thousands of gateways and devices need.
const LONGEST: u64 = 8 * 1024 * 1024;
/// How long another program may hold the lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a file of the hub cannot be read or changed. Never holds a key.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {doing} {path}: {cause}")]
    Access {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// The content is wrong. Such a file is never overwritten.
    #[error(
        "{path}: {}{problem}; the file was left as it is, mend it there{}",
        line.map_or(String::new(), |line| format!("line {line}: ")),
        copy_hint(path)
    )]
    Content {
        /// Which file.
        path: PathBuf,
        /// Where in it, from 1.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// Another program is changing it, for too long.
    #[error("{path} is being changed by another program; try again in a moment")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// There is no folder for it.
    #[error(
        "neither {variable} nor HOME is set to an absolute path: there is no folder for {what}"
    )]
    NoHome {
        /// The variable that may name the folder.
        variable: &'static str,
        /// What is looked for.
        what: &'static str,
    },
    /// The change cannot be made; nothing was written.
    #[error("{0}")]
    Refused(String),
}

/// What is wrong with a text, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: Option<usize>,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            line: None,
            text: text.into(),
        }
    }

    /// Makes a problem at a byte of a text.
    pub(crate) fn at(source: &str, byte: Option<usize>, text: impl Into<String>) -> Self {
        let line = byte
            .and_then(|byte| source.get(..byte))
            .map(|before| before.matches('\n').count() + 1);
        Self {
            line,
            text: text.into(),
        }
    }

    /// Makes a problem of what a parser says, without the line itself, which may hold a key.
    pub(crate) fn syntax(source: &str, error: &toml_edit::TomlError) -> Self {
        let byte = error.span().map(|span| span.start);
        Self::at(source, byte, error.message().replace('\n', ", "))
    }

    pub(crate) fn in_file(self, path: &Path) -> FileError {
        FileError::Content {
            path: path.to_owned(),
            line: self.line,
            problem: self.text,
        }
    }
}

/// Returns a folder of the user's, `$VARIABLE` or `$HOME/BELOW`, joined with `hearthgate`.
pub fn user_folder(
    variable: &'static str,
    below: &str,
    what: &'static str,
) -> Result<PathBuf, FileError> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    folder(variable)
        .or_else(|| folder("HOME").map(|home| home.join(below)))
        .map(|root| root.join("hearthgate"))
        .ok_or(FileError::NoHome { variable, what })
}

/// Reads a file; none where there is none.
pub fn read(path: &Path) -> Result<Option<String>, FileError> {
    let failed = |cause: io::Error| FileError::Access {
        doing: "read",
        path: path.to_owned(),
        cause,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > LONGEST {
        let problem = Problem::new(format!("it is longer than {LONGEST} bytes"));
        return Err(problem.in_file(path));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..valid).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let mut problem = Problem::new("it is not UTF-8");
            problem.line = Some(line);
            Err(problem.in_file(path))
        }
    }
}

/// Tells whether others than the owner may read a file.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

/// Changes a file: `change` gets its text, empty where there is none, and returns the new one. Only one
/// at a time does so, in whatever program; nothing is written where the text stays or `change` fails.
/// The text from before is kept beside it as the last good copy, for which reason `change` must fail on
/// a text that is not good.
pub fn edit<T>(
    path: &Path,
    change: impl FnOnce(&str) -> Result<(String, T), FileError>,
) -> Result<T, FileError> {
    // A file that is linked from elsewhere is changed where it is.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|cause| FileError::Access {
            doing: "make the folder",
            path: folder.to_owned(),
            cause,
        })?;
    let _lock = lock(path)?;
    let before = read(path)?;
    let (after, outcome) = change(before.as_deref().unwrap_or_default())?;
    if before.as_deref() == Some(after.as_str()) {
        return Ok(outcome);
    }
    if let Some(before) = before {
        replace(folder, &beside(path, ".bak"), &before)?;
    }
    replace(folder, path, &after)?;
    Ok(outcome)
}

/// Takes the lock of a file; it ends with the returned handle, or with this process.
fn lock(path: &Path) -> Result<File, FileError> {
    let lock_path = beside(path, ".lock");
    let failed = |cause: io::Error| FileError::Access {
        doing: "lock",
        path: lock_path.clone(),
        cause,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(failed)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(FileError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
    }
}

/// Replaces a file at one moment: a temporary one is written, brought to the disk, and renamed.
fn replace(folder: &Path, path: &Path, text: &str) -> Result<(), FileError> {
    let failed = |cause: io::Error| FileError::Access {
        doing: "write",
        path: path.to_owned(),
        cause,
    };
    let temporary = beside(path, ".tmp");
    // A left-over of a power cut may have any mode, or be a link.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // The disk may be full: what was not finished is of no use.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn copy_hint(path: &Path) -> String {
    let copy = beside(path, ".bak");
    if copy.exists() {
        format!(", or take its last good copy {}", copy.display())
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(path: &Path, more: &str) {
        // On a slow disk the others may have it for longer than one waits.
        while let Err(error) = edit(path, |text| Ok((format!("{text}{more}"), ()))) {
            assert!(matches!(error, FileError::InUse { .. }), "{error}");
        }
    }

    #[test]
    fn it_is_for_the_owner_alone_and_leaves_a_last_good_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file");
        append(&path, "a");
        append(&path, "b");
        assert_eq!(read(&path).unwrap().as_deref(), Some("ab"));
        assert_eq!(read(&beside(&path, ".bak")).unwrap().as_deref(), Some("a"));
        assert!(!is_open_to_others(&path));
        assert!(!is_open_to_others(&beside(&path, ".bak")));
        assert!(!beside(&path, ".tmp").exists());
    }

    #[test]
    fn a_change_that_fails_or_changes_nothing_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        append(&path, "a");
        let refused = edit(&path, |_| -> Result<(String, ()), FileError> {
            Err(FileError::Refused("no".to_owned()))
        });
        assert!(refused.is_err());
        append(&path, "");
        assert!(!beside(&path, ".bak").exists());
        assert_eq!(read(&path).unwrap().as_deref(), Some("a"));
    }

    #[test]
    fn those_who_change_it_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10).for_each(|_| append(&path, "x")));
            }
        });
        assert_eq!(read(&path).unwrap().unwrap().len(), 80);
    }

    #[test]
    fn a_linked_file_stays_where_it_is_and_a_left_over_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let link = folder.path().join("link");
        fs::write(&real, "a").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        fs::write(beside(&real, ".tmp"), "left over").unwrap();
        append(&link, "b");
        assert_eq!(fs::read_to_string(&real).unwrap(), "ab");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_is_no_text_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"a\nb\xff").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line 2: it is not UTF-8"), "{error}");
        assert!(read(&folder.path().join("none")).unwrap().is_none());
    }
}
