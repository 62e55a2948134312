//! The one thread that writes: makes rows of items, commits them in batches, lets go of what is old.
//!
//! Input: items of the hub's feed, through a bounded channel. Output: the store.
//!
//! # What happens when writing is slow, or fails
//! While one commit takes long, items wait in the channel ([`ITEMS_WAITING`]) and then in the hub's queue for
//! this subscriber, which is bounded; where that runs over it is dropped and a snapshot follows, so that
//! what holds now is known again. While the disk refuses (it is full), items are still taken, and the rows
//! wait in memory, [`ROWS_WAITING`] at most: then the oldest go. Either way the feed waits for nobody, what
//! was lost is counted, and the log says so once, and once when it is over.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hearthgate_hub::{HistoryStatus, HubItem};
use hearthgate_protocol::model::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use crate::options::HistoryOptions;
use crate::row::Batch;
use crate::store::{self, Retention, Store, StoreError, is_damage};
use crate::track::{Moment, Tracker};

/// Items that may wait for the thread; beyond that they wait in the hub's feed.
pub(crate) const ITEMS_WAITING: usize = 1024;
/// Rows that may wait while the disk refuses; beyond that the oldest are lost.
const ROWS_WAITING: usize = 100_000;
/// Rows that are committed at once, without waiting for more.
const ROWS_AT_ONCE: usize = 5_000;
/// Until what could not be stored is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// A disk that damages stores faster than this is not given another one.
const REPLACE_AGAIN: Duration = Duration::from_secs(3600);
/// How often the store takes note that it is kept, and is brought to the disk.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// How often what is old is looked for.
const SWEEP: Duration = Duration::from_secs(600);
/// The pause between two steps of letting go, so that it never keeps the disk busy.
const BREATH: Duration = Duration::from_millis(50);

/// An item on its way to the thread.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) at: Moment,
    pub(crate) item: HubItem,
    pub(crate) _room: OwnedSemaphorePermit,
}

/// What others may know of the thread.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    storing: AtomicBool,
    stored: AtomicU64,
    lost: AtomicU64,
    waiting: AtomicU64,
    bytes: AtomicU64,
    /// 0: there is none.
    oldest: AtomicI64,
}

pub(crate) struct Writer {
    jobs: Receiver<Job>,
    shared: Arc<Shared>,
    options: HistoryOptions,
    /// None while it cannot be opened after damage.
    store: Option<Store>,
    _lock: File,
    tracker: Tracker,
    retention: Retention,
    batch: Batch,
    /// When to commit.
    due: Option<Instant>,
    heartbeat: Instant,
    sweep: Instant,
    /// When the next step of letting go is due, while there is more.
    breath: Option<Instant>,
    clock: fn() -> Moment,
    /// Rows that were lost in the trouble that is going on.
    lost_now: u64,
    in_trouble: bool,
    /// When a damaged store was last replaced.
    replaced: Option<Instant>,
}

impl Shared {
    pub(crate) fn status(&self) -> HistoryStatus {
        let oldest = self.oldest.load(Ordering::Relaxed);
        HistoryStatus {
            storing: self.storing.load(Ordering::Relaxed),
            stored: self.stored.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            oldest: (oldest != 0).then_some(Timestamp(oldest)),
        }
    }
}

impl Writer {
    /// Opens the store.
    pub(crate) fn open(
        options: HistoryOptions,
        jobs: Receiver<Job>,
        clock: fn() -> Moment,
    ) -> Result<(Self, Arc<Shared>), StoreError> {
        let lock = store::lock(&options.path)?;
        let (store, loaded) = Store::open(&options.path)?;
        let now = clock();
        let alive = store.alive().unwrap_or_default();
        let mut batch = Batch::default();
        let tracker = Tracker::new(loaded, alive, now, &mut batch);
        let shared = Arc::new(Shared::default());
        shared.storing.store(true, Ordering::Relaxed);
        let writer = Self {
            jobs,
            shared: Arc::clone(&shared),
            retention: Retention::new(&options),
            options,
            store: Some(store),
            _lock: lock,
            tracker,
            due: (!batch.is_empty()).then_some(now.steady),
            batch,
            heartbeat: now.steady,
            sweep: now.steady,
            breath: None,
            clock,
            lost_now: 0,
            in_trouble: false,
            replaced: None,
        };
        Ok((writer, shared))
    }

    /// Runs until the other end of the channel is dropped; then commits what waits and closes the file.
    pub(crate) fn run(mut self) {
        loop {
            match self.jobs.recv_timeout(self.wait()) {
                Ok(job) => self.take(&job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while self.batch.rows.len() < ROWS_AT_ONCE {
                let Ok(job) = self.jobs.try_recv() else { break };
                self.take(&job);
            }
            self.work();
        }
        self.commit();
        let now = (self.clock)();
        if let Some(store) = self.store {
            // Where it fails the next start takes the last commit for the end.
            let _ = store.heartbeat(now.wall);
            store.close();
        }
        if !self.batch.is_empty() {
            warn!(
                "{} changes could not be stored at the end",
                self.batch.rows.len()
            );
        }
    }

    fn take(&mut self, job: &Job) {
        self.tracker.handle(job.at, &job.item, &mut self.batch);
        let lost = self.tracker.take_lost();
        if lost > 0 {
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
            warn!(
                "the history was too slow: {lost} items are not in it, what holds now is read again"
            );
        }
        if !self.batch.is_empty() && self.due.is_none() {
            self.due = Some(Instant::now() + self.options.commit_every);
        }
    }

    fn wait(&self) -> Duration {
        let due = [Some(self.heartbeat), self.due, self.breath];
        let next = due.into_iter().flatten().min();
        next.map_or(HEARTBEAT, |next| {
            next.saturating_duration_since(Instant::now())
        })
    }

    fn work(&mut self) {
        let now = (self.clock)();
        let at_once = self.batch.rows.len() >= ROWS_AT_ONCE && !self.in_trouble;
        if at_once || self.due.is_some_and(|due| due <= now.steady) {
            self.commit();
        }
        let lost = self.batch.bound(ROWS_WAITING);
        self.lost_now += lost;
        self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        let waiting = u64::try_from(self.batch.rows.len()).unwrap_or(u64::MAX);
        self.shared.waiting.store(waiting, Ordering::Relaxed);
        if self.heartbeat <= now.steady {
            self.beat(now);
        }
        if self.breath.is_some_and(|at| at <= now.steady) && !self.in_trouble {
            self.let_go(now);
        }
    }

    fn commit(&mut self) {
        self.due = None;
        if self.batch.is_empty() {
            return;
        }
        let now = (self.clock)();
        let outcome = match &mut self.store {
            Some(store) => store.commit(&self.batch, now.wall),
            None => return self.reopen(now),
        };
        match outcome {
            Ok(()) => {
                let rows = u64::try_from(self.batch.rows.len()).unwrap_or(u64::MAX);
                self.shared.stored.fetch_add(rows, Ordering::Relaxed);
                self.batch.clear();
                self.recovered();
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Takes note of the present; brings all to the disk.
    fn beat(&mut self, now: Moment) {
        self.heartbeat = now.steady + HEARTBEAT;
        self.tracker.handle_time(now, &mut self.batch);
        if !self.batch.is_empty() && self.due.is_none() {
            self.due = Some(now.steady);
        }
        let Some(store) = &mut self.store else {
            return self.reopen(now);
        };
        if let Err(error) = store.heartbeat(now.wall) {
            return self.failed(&error);
        }
        let is_large = store
            .bytes()
            .is_ok_and(|(bytes, free)| bytes.saturating_sub(free) > self.options.max_bytes);
        let oldest = store.oldest().ok().flatten();
        self.shared
            .oldest
            .store(oldest.unwrap_or(0), Ordering::Relaxed);
        if let Ok((bytes, _)) = store.bytes() {
            self.shared.bytes.store(bytes, Ordering::Relaxed);
        }
        if self.breath.is_none() && (is_large || self.sweep <= now.steady) {
            self.sweep = now.steady + SWEEP;
            self.retention.begin(store, now.wall);
            self.breath = Some(now.steady);
        }
    }

    fn let_go(&mut self, now: Moment) {
        self.breath = None;
        let Some(store) = &mut self.store else { return };
        match self.retention.step(store, now.wall) {
            Ok(true) => self.breath = Some(now.steady + BREATH),
            Ok(false) => {}
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &rusqlite::Error) {
        let now = (self.clock)();
        self.due = Some(now.steady + RETRY_AFTER);
        self.shared.storing.store(false, Ordering::Relaxed);
        let recently = |at: Instant| now.steady.saturating_duration_since(at) < REPLACE_AGAIN;
        if is_damage(error) && !self.replaced.is_some_and(recently) {
            self.replaced = Some(now.steady);
            self.in_trouble = true;
            let replaced = self
                .store
                .take()
                .map(|store| store.replace_damaged(&error.to_string()));
            match replaced {
                Some(Ok(store)) => self.begin_anew(now, store),
                Some(Err(error)) => warn!("{error}"),
                None => {}
            }
            return;
        }
        if !std::mem::replace(&mut self.in_trouble, true) {
            warn!(
                "cannot store history in {}: {error}; all else goes on, and it is tried again",
                self.options.path.display()
            );
        }
    }

    /// Opens the store again, which was damaged and could not be replaced then.
    fn reopen(&mut self, now: Moment) {
        self.due = Some(now.steady + RETRY_AFTER);
        if let Ok((store, _)) = Store::open(&self.options.path) {
            self.begin_anew(now, store);
        }
    }

    /// Goes on with an empty store.
    fn begin_anew(&mut self, now: Moment, store: Store) {
        self.store = Some(store);
        let lost = u64::try_from(self.batch.rows.len()).unwrap_or(u64::MAX);
        self.lost_now += lost;
        self.shared.lost.fetch_add(lost, Ordering::Relaxed);
        self.tracker.begin_anew(now, &mut self.batch);
        self.due = Some(now.steady);
    }

    fn recovered(&mut self) {
        self.shared.storing.store(true, Ordering::Relaxed);
        if std::mem::take(&mut self.in_trouble) {
            let lost = std::mem::take(&mut self.lost_now);
            info!(
                "history is stored again in {}; {lost} changes were lost",
                self.options.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests;
