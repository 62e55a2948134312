//! Keeps history: subscribes to the hub, hands items to the thread that writes, answers queries.
//!
//! Input: the hub's feed. Output: the store, and a [`HistorySource`] for those who show it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearthgate_hub::{
    DeviceRef, HistoryError, HistoryFuture, HistoryQuery, HistorySource, HistoryStatus, Hub,
    HubFeed, Series, Subject,
};
use hearthgate_protocol::model::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::options::HistoryOptions;
use crate::reader::Reader;
use crate::store::StoreError;
use crate::track::Moment;
use crate::writer::{ITEMS_WAITING, Job, Shared, Writer};

/// How long a query may take, its wait for others included.
const QUERY_PATIENCE: Duration = Duration::from_secs(10);
/// Queries that run at once; more wait.
const QUERIES: usize = 4;

/// History that is being kept; cheap to clone. [`History::close`] stores what waits; where it is not
/// called, that happens in the background when `stop` is cancelled or the hub ends.
#[derive(Clone)]
pub struct History {
    path: PathBuf,
    shared: Arc<Shared>,
    queries: Arc<Semaphore>,
    stop: CancellationToken,
    end: Arc<tokio::sync::Mutex<Option<Running>>>,
}

struct Running {
    intake: JoinHandle<()>,
    writer: JoinHandle<()>,
}

/// Keeps history until `stop` is cancelled or the hub has ended; then stores what waits.
///
/// # Errors
/// Where the store cannot be opened or made.
pub async fn run(
    hub: &Hub,
    options: HistoryOptions,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let history = History::start(hub, options, stop.clone()).await?;
    history.ended().await;
    Ok(())
}

impl History {
    /// Opens the store and begins to keep what the hub tells from now on; within a runtime.
    ///
    /// # Errors
    /// Where the store cannot be opened or made. What is damaged is set aside, and no error.
    pub async fn start(
        hub: &Hub,
        options: HistoryOptions,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let path = options.path.clone();
        let (jobs, receiver) = channel();
        let opening = tokio::task::spawn_blocking(move || Writer::open(options, receiver, now));
        let (writer, shared) = match opening.await {
            Ok(opened) => opened?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let intake = tokio::spawn(take_in(hub.subscribe(), jobs, stop.clone()));
        // The runtime waits for it at its end, also where nobody else does.
        let writer = tokio::task::spawn_blocking(move || writer.run());
        Ok(Self {
            path,
            shared,
            queries: Arc::new(Semaphore::new(QUERIES)),
            stop,
            end: Arc::new(tokio::sync::Mutex::new(Some(Running { intake, writer }))),
        })
    }

    /// Ends the keeping, and waits until all that came is stored and the file is closed.
    pub async fn close(&self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// Waits until the keeping has ended.
    async fn ended(&self) {
        if let Some(running) = self.end.lock().await.take() {
            for task in [running.intake, running.writer] {
                if let Err(fault) = task.await {
                    tracing::warn!("the keeping of history ended by a bug: {fault}");
                }
            }
        }
    }

    /// Asks the store, in a thread of its own.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let deadline = tokio::time::Instant::now() + QUERY_PATIENCE;
        let turn = Arc::clone(&self.queries).acquire_owned();
        let turn = match tokio::time::timeout_at(deadline, turn).await {
            Ok(Ok(turn)) => turn,
            _ => return Err(HistoryError::TooSlow),
        };
        let path = self.path.clone();
        let (opened, handle) = tokio::sync::oneshot::channel();
        let asking = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let reader = Reader::open(&path)
                .map_err(|error| HistoryError::Unavailable(error.to_string()))?;
            // Nobody listens where the question was dropped.
            let _ = opened.send(reader.interrupt_handle());
            question(&reader)
        });
        match tokio::time::timeout_at(deadline, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => Err(HistoryError::Unavailable(format!("a bug: {fault}"))),
            Err(_) => {
                if let Ok(handle) = handle.await {
                    handle.interrupt();
                }
                Err(HistoryError::TooSlow)
            }
        }
    }
}

impl HistorySource for History {
    fn query(&self, query: HistoryQuery) -> HistoryFuture<'_, Series> {
        Box::pin(self.ask(move |reader| reader.query(&query, Timestamp(now().wall))))
    }

    fn subjects(&self, device: Option<DeviceRef>) -> HistoryFuture<'_, Vec<Subject>> {
        Box::pin(self.ask(move |reader| reader.subjects(device.as_ref())))
    }

    fn status(&self) -> HistoryStatus {
        self.shared.status()
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("path", &self.path)
            .field("status", &self.shared.status())
            .finish_non_exhaustive()
    }
}

/// Hands items on until there are no more. Where the thread is busy they wait in the feed, which waits for
/// nobody: it drops them and says so.
async fn take_in(mut feed: HubFeed, jobs: Sender<Job>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(ITEMS_WAITING));
    loop {
        let next = async {
            let room = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((room, feed.next().await?))
        };
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            next = next => next,
        };
        let Some((room, item)) = next else { return };
        let job = Job {
            at: now(),
            item,
            _room: room,
        };
        if jobs.send(job).is_err() {
            return;
        }
    }
}

fn now() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment {
        wall: wall.map_or(0, |wall| {
            i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
        }),
        steady: Instant::now(),
    }
}
