//! What is kept, for how long, and where.
//!
//! Input: the command line. Output: numbers for `writer`, `retention` and `reader`.

use std::path::PathBuf;
use std::time::Duration;

use hearthgate_hub::FileError;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The smallest [`HistoryOptions::max_bytes`]: less has no room for an empty store and its log.
pub const LEAST_BYTES: u64 = 8 * 1024 * 1024;

/// How to keep history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// The file.
    pub path: PathBuf,
    /// How long every single change is kept [default: 31 days].
    pub keep_changes: Duration,
    /// How long means by the minute are kept [default: 92 days].
    pub keep_minutes: Duration,
    /// How long means by the hour are kept [default: 5 years]. Those by the day are kept until there is
    /// no room.
    pub keep_hours: Duration,
    /// About the most that the file holds [default: 512 MiB]; where it would be more the oldest changes
    /// go, whatever their age, then minutes, then hours, then days.
    pub max_bytes: u64,
    /// How long changes wait, so that many become one transaction [default: 1 s]. So much is lost when the
    /// process is killed.
    pub commit_every: Duration,
}

impl HistoryOptions {
    /// Makes options of defaults.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            keep_changes: 31 * DAY,
            keep_minutes: 92 * DAY,
            keep_hours: 5 * 366 * DAY,
            max_bytes: 512 * 1024 * 1024,
            commit_every: Duration::from_secs(1),
        }
    }

    /// Returns where the file is if nothing else is said: `$XDG_STATE_HOME/hearthgate/history.db`, or the
    /// same below `~/.local/state`.
    ///
    /// # Errors
    /// Where neither folder is known.
    pub fn default_path() -> Result<PathBuf, FileError> {
        Ok(hearthgate_hub::Names::default_path()?.with_file_name("history.db"))
    }
}
