//! Notices that profile files may have changed.
//!
//! The system's notifications where there are any, else a look every two seconds. What they say is
//! taken only as a hint: the files are read again and compared.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Config, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

/// Editors write in several steps: the files are read when this long nothing has happened ...
const QUIET: Duration = Duration::from_millis(100);
/// ... or at the latest after this time.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// A watch over files and folders; ends when dropped.
pub(super) struct FileWatch {
    _watcher: Box<dyn Watcher + Send>,
    /// Counts hints. One that comes while one waits joins it: nothing is lost, nothing piles up.
    hints: watch::Receiver<u64>,
    /// Whether there was a hint that no caller has been told of.
    pending: bool,
}

impl FileWatch {
    pub(super) fn start(paths: &[PathBuf]) -> notify::Result<Self> {
        let (sender, hints) = watch::channel(0);
        let hint = move |event: notify::Result<notify::Event>| {
            // Reading a file is an access and no change.
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                sender.send_modify(|count| *count += 1);
            }
        };
        let recommended = RecommendedWatcher::new(hint.clone(), Config::default())
            .and_then(|watcher| watch_all(Box::new(watcher), paths));
        let watcher = match recommended {
            Ok(watcher) => watcher,
            Err(fault) => {
                tracing::warn!("looking for edits of profiles every 2s, since notifications failed: {fault}");
                let config = Config::default().with_poll_interval(POLL_INTERVAL);
                watch_all(Box::new(PollWatcher::new(hint, config)?), paths)?
            }
        };
        Ok(Self { _watcher: watcher, hints, pending: false })
    }

    /// Waits until something may have changed and has come to rest. May be dropped and called again.
    pub(super) async fn changed(&mut self) {
        if !self.pending && self.hints.changed().await.is_err() {
            return std::future::pending().await;
        }
        self.pending = true;
        let at_rest = async {
            while tokio::time::timeout(QUIET, self.hints.changed()).await.is_ok() {}
        };
        // A folder that never comes to rest is read all the same.
        let _ = tokio::time::timeout(PATIENCE, at_rest).await;
        self.pending = false;
    }
}

fn watch_all(
    mut watcher: Box<dyn Watcher + Send>,
    paths: &[PathBuf],
) -> notify::Result<Box<dyn Watcher + Send>> {
    // Of a file the folder is watched: editors replace files.
    let folders: BTreeSet<&Path> = paths
        .iter()
        .map(|path| if path.is_dir() { path } else { path.parent().unwrap_or(path) })
        .map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path })
        .collect();
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

impl std::fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileWatch")
    }
}
