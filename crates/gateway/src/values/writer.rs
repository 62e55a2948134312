//! The one thread that writes values: takes all that waits, commits it as one transaction, answers.
//!
//! Input: jobs from the driver that owns the store. Output: rows on disk, and the success of commands,
//! which is told when their effect is both in the registry and committed. Events do not wait for that.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::{Batch, Record, ValueStore};
use crate::driver::{Ack, CommandFault};

/// Jobs that may wait or be under way. Where they are that many the driver waits, its commands pile up
/// and the device is `busy` at last, which the requester is told.
const JOBS_WAITING: usize = 1024;
/// From a commit until it is brought to the disk at the latest, so that no more than a second is lost
/// with the time that a slow disk takes.
const SYNC_AFTER: Duration = Duration::from_millis(500);
/// Until what could not be stored is tried again, if nothing else comes before.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Hands jobs to the thread. It commits all of them and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ValueWriter {
    /// Bounded by `room`.
    jobs: Sender<Job>,
    room: Arc<Semaphore>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Job {
    records: Vec<Record>,
    answer: Option<Answer>,
    _room: OwnedSemaphorePermit,
}

/// The success of a command, to be told when the registry has its effect and the store as well.
#[derive(Debug)]
pub(crate) struct Answer {
    device: DeviceId,
    ack: Ack,
    applied: oneshot::Receiver<Result<(), CommandFault>>,
}

impl Answer {
    /// Takes a command's answer; returns what is to go to the registry in its place.
    pub(crate) fn after_both(device: DeviceId, ack: Ack) -> (Ack, Self) {
        let (sender, applied) = oneshot::channel();
        let answer = Self {
            device,
            ack,
            applied,
        };
        (Ack(sender), answer)
    }

    fn give(self, stored: Result<(), &str>) {
        if let Err(problem) = stored {
            let message = format!(
                "device {}: the value was set, but it will not outlive the gateway: {problem}",
                self.device
            );
            let code = ErrorCode::Internal;
            return self.ack.fail(CommandFault { code, message });
        }
        // The registry waits for nobody, and was told before: this is nearly always there.
        match self.applied.blocking_recv() {
            Ok(Ok(())) => self.ack.succeed(),
            Ok(Err(fault)) => self.ack.fail(fault),
            // It has ended, and whoever asked as well.
            Err(_) => {}
        }
    }
}

impl ValueWriter {
    /// Starts the thread; within a runtime.
    pub(crate) fn start(store: ValueStore) -> Self {
        let (sender, jobs) = channel();
        let thread = Thread {
            store,
            jobs,
            batch: Batch::default(),
            due: None,
            trouble: false,
        };
        Self {
            jobs: sender,
            room: Arc::new(Semaphore::new(JOBS_WAITING)),
            // The runtime waits for it at its end, also where nobody else does.
            thread: tokio::task::spawn_blocking(move || thread.run()),
        }
    }

    /// Has records stored, in order; then the answer is given.
    pub(crate) async fn keep(&self, records: Vec<Record>, answer: Option<Answer>) {
        // It is never closed. Should the thread have ended, the answer is dropped, which is a fault.
        if let Ok(room) = Arc::clone(&self.room).acquire_owned().await {
            let _ = self.jobs.send(Job {
                records,
                answer,
                _room: room,
            });
        }
    }

    /// Waits until all is stored and the file is closed.
    pub(crate) async fn end(self) {
        drop(self.jobs);
        if let Err(fault) = self.thread.await {
            warn!("storing values ended by a bug: {fault}");
        }
    }
}

struct Thread {
    store: ValueStore,
    jobs: Receiver<Job>,
    /// What is not committed: empty between two jobs unless the disk fails.
    batch: Batch,
    /// When to commit or to sync if no job comes before.
    due: Option<Instant>,
    /// Whether the disk failed last time: that is told once.
    trouble: bool,
}

impl Thread {
    fn run(mut self) {
        loop {
            match self.next() {
                Ok(job) => self.handle(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                self.bring_to_disk();
            }
        }
        if self.due.is_some() {
            self.bring_to_disk();
        }
    }

    fn next(&self) -> Result<Job, RecvTimeoutError> {
        match self.due {
            Some(due) => self
                .jobs
                .recv_timeout(due.saturating_duration_since(Instant::now())),
            None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Commits a job with all others that wait, which are bounded by the room for jobs.
    fn handle(&mut self, first: Job) {
        let mut jobs = vec![first];
        jobs.extend(self.jobs.try_iter());
        for job in &mut jobs {
            for record in job.records.drain(..) {
                self.batch.add(record);
            }
        }
        let stored = self.commit();
        for answer in jobs.into_iter().filter_map(|job| job.answer) {
            answer.give(stored.as_ref().copied().map_err(String::as_str));
        }
    }

    fn commit(&mut self) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let stored = self.store.commit(&self.batch);
        let wait = match stored {
            Ok(()) => SYNC_AFTER,
            Err(_) => RETRY_AFTER,
        };
        self.due.get_or_insert_with(|| Instant::now() + wait);
        if stored.is_ok() {
            self.batch.clear();
        }
        stored.map_err(|fault| self.tell(&fault))
    }

    fn bring_to_disk(&mut self) {
        self.due = None;
        if self.commit().is_ok() {
            match self.store.sync() {
                Ok(()) => {
                    self.due = None;
                    if std::mem::take(&mut self.trouble) {
                        info!("values are stored again in {}", self.store.path().display());
                    }
                }
                Err(fault) => {
                    self.tell(&fault);
                    self.due = Some(Instant::now() + RETRY_AFTER);
                }
            }
        }
    }

    fn tell(&mut self, fault: &rusqlite::Error) -> String {
        if !std::mem::replace(&mut self.trouble, true) {
            warn!(
                "cannot store values in {}: {fault}; writes fail until that is possible again",
                self.store.path().display()
            );
        }
        fault.to_string()
    }
}

#[cfg(test)]
mod tests;
