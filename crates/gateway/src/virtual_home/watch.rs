//! Notices that profile files may have changed.
//!
//! The system's notifications where there are any, else a look every two seconds. What they say is
//! taken only as a hint: the files are read again and compared.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use notify::{Config, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;
use tokio::time::Instant;

/// Editors write in several steps: the files are read when this long nothing has happened ...
const QUIET: Duration = Duration::from_millis(100);
/// ... or at the latest after this time.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// A watch over folders; ends when dropped.
pub(super) struct FileWatch {
    watcher: Box<dyn Watcher + Send>,
    folders: BTreeSet<PathBuf>,
    /// Counts hints. One that comes while one waits joins it: nothing is lost, nothing piles up.
    hints: watch::Receiver<u64>,
    /// Since a hint came that no caller has been told of.
    unrest: Option<Unrest>,
    /// When to look for a folder that has gone.
    look: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Unrest {
    first: Instant,
    last: Instant,
}

impl Unrest {
    fn ends(self) -> Instant {
        // A folder that never comes to rest is read all the same.
        (self.last + QUIET).min(self.first + PATIENCE)
    }
}

impl FileWatch {
    pub(super) fn start(folders: BTreeSet<PathBuf>) -> notify::Result<Self> {
        let (sender, hints) = watch::channel(0);
        let hint = move |event: notify::Result<notify::Event>| {
            // Reading a file is an access and no change.
            if !matches!(
                event,
                Ok(notify::Event {
                    kind: EventKind::Access(_),
                    ..
                })
            ) {
                sender.send_modify(|count| *count += 1);
            }
        };
        let recommended = RecommendedWatcher::new(hint.clone(), Config::default())
            .and_then(|watcher| watch_all(Box::new(watcher), &folders));
        let watcher = match recommended {
            Ok(watcher) => watcher,
            Err(fault) => {
                tracing::warn!(
                    "looking for edits of profiles every 2s, since notifications failed: {fault}"
                );
                let config = Config::default().with_poll_interval(POLL_INTERVAL);
                watch_all(Box::new(PollWatcher::new(hint, config)?), &folders)?
            }
        };
        let mut watch = Self {
            watcher,
            folders,
            hints,
            unrest: None,
            look: None,
        };
        watch.watch_again();
        Ok(watch)
    }

    /// Waits until something may have changed and has come to rest. May be dropped and called again:
    /// what it has waited counts.
    pub(super) async fn changed(&mut self) {
        loop {
            let due = match (self.unrest, self.look) {
                (Some(unrest), _) => Some(unrest.ends()),
                (None, look) => look,
            };
            tokio::select! {
                () = at(due) => {
                    let told = self.unrest.take().is_some();
                    let missed = self.look.is_some();
                    self.watch_again();
                    if told || missed && self.look.is_none() {
                        return;
                    }
                }
                hint = self.hints.changed() => {
                    if hint.is_err() {
                        // The watcher ended, which it does not before it is dropped.
                        return std::future::pending().await;
                    }
                    let now = Instant::now();
                    let first = self.unrest.map_or(now, |unrest| unrest.first);
                    self.unrest = Some(Unrest { first, last: now });
                }
            }
        }
    }

    /// Watches folders that were replaced; those that are gone are looked for from time to time.
    fn watch_again(&mut self) {
        self.look = None;
        for folder in &self.folders {
            if self
                .watcher
                .watch(folder, RecursiveMode::NonRecursive)
                .is_err()
            {
                self.look = Some(Instant::now() + POLL_INTERVAL);
            }
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Watches all folders but those that are gone.
fn watch_all(
    mut watcher: Box<dyn Watcher + Send>,
    folders: &BTreeSet<PathBuf>,
) -> notify::Result<Box<dyn Watcher + Send>> {
    for folder in folders {
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Err(fault) if folder.exists() => return Err(fault),
            _ => {}
        }
    }
    Ok(watcher)
}

impl std::fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileWatch")
    }
}
