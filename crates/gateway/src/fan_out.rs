//! Takes events to the sessions: a few tasks go from session to session, each with its share of them.
//!
//! A task per session that wakes for every event costs as much again as the write itself: being woken,
//! scheduled, taken over by another thread, and polled. Here a session that is at rest and whose socket
//! takes what it is given is served in passing, under its lock, by whoever brings the events; its own task
//! sleeps on. Where a session is at work at that moment, or has more to do than to write, its own task sees
//! to it. So nothing waits for a session, and what a session does with its events is in one place.
//!
//! Input: the registry's word that the log has a new end. Output: [`Lane::deliver`] of each session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::event_log::Position;

/// Sessions that are served before others of the runtime's tasks get their turn.
const CHUNK: usize = 256;
/// The most tasks, however many cores there are.
const SHARES_MAX: usize = 8;

/// A session, as events see it.
pub(crate) trait Lane: Send + Sync {
    /// Sends what is new, or sees to it that the session's own task does. Never waits.
    fn deliver(&self);
}

/// All sessions that get events.
pub(crate) struct FanOut {
    shares: Vec<Share>,
    next: AtomicUsize,
}

#[derive(Default)]
struct Share(Mutex<Slab<Arc<dyn Lane>>>);

impl Default for FanOut {
    fn default() -> Self {
        // Half of the cores: the others have drivers, requests, and the system's own part of a write.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shares = (cores / 2).clamp(1, SHARES_MAX);
        Self {
            shares: (0..shares).map(|_| Share::default()).collect(),
            next: AtomicUsize::new(0),
        }
    }
}

impl FanOut {
    /// Adds a session until the place is dropped. What came before it was added is its own business.
    pub(crate) fn enter(self: &Arc<Self>, lane: Arc<dyn Lane>) -> Place {
        let share = self.next.fetch_add(1, Ordering::Relaxed) % self.shares.len().max(1);
        let key = self
            .shares
            .get(share)
            .map_or(0, |share| share.0.lock().insert(lane));
        Place {
            fan_out: Arc::clone(self),
            share,
            key,
        }
    }

    /// Returns the tasks: each serves its share whenever the log has a new end, until `over`.
    pub(crate) fn tasks(
        self: &Arc<Self>,
        end: &watch::Sender<Position>,
        over: &CancellationToken,
    ) -> Vec<impl Future<Output = ()> + Send + use<>> {
        (0..self.shares.len())
            .map(|share| {
                let (fan_out, end, over) = (Arc::clone(self), end.subscribe(), over.clone());
                // The runtime's own way to make tasks give way would take a socket for full.
                tokio::task::unconstrained(async move { fan_out.serve(share, end, over).await })
            })
            .collect()
    }

    async fn serve(
        &self,
        share: usize,
        mut end: watch::Receiver<Position>,
        over: CancellationToken,
    ) {
        let Some(share) = self.shares.get(share) else {
            return;
        };
        let mut lanes = Vec::with_capacity(CHUNK);
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                changed = end.changed() => if changed.is_err() { return },
            }
            let mut from = 0;
            loop {
                from = share.take(from, &mut lanes);
                let whole = lanes.len() == CHUNK;
                lanes.drain(..).for_each(|lane| lane.deliver());
                if !whole {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Share {
    /// Takes the sessions from a place on, [`CHUNK`] of them at most; returns the place behind them.
    /// One that comes or goes in between meets no other twice and leaves none out.
    fn take(&self, from: usize, lanes: &mut Vec<Arc<dyn Lane>>) -> usize {
        let all = self.0.lock();
        let mut place = from;
        while place < all.capacity() && lanes.len() < CHUNK {
            lanes.extend(all.get(place).cloned());
            place += 1;
        }
        place
    }
}

impl std::fmt::Debug for FanOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FanOut")
            .field("shares", &self.shares.len())
            .finish_non_exhaustive()
    }
}

/// A session's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    fan_out: Arc<FanOut>,
    share: usize,
    key: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let lane = self
            .fan_out
            .shares
            .get(self.share)
            .and_then(|share| share.0.lock().try_remove(self.key));
        // Not under the lock: the last of a session may go with it.
        drop(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Lane for Counter {
        fn deliver(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn each_new_end_reaches_everybody_who_is_there() {
        let fan_out = Arc::new(FanOut::default());
        let (end, _) = watch::channel(Position::default());
        let over = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        for task in fan_out.tasks(&end, &over) {
            tasks.spawn(task);
        }
        let counters: Vec<Arc<Counter>> = (0..3 * CHUNK).map(|_| Arc::default()).collect();
        let mut places: Vec<Place> = counters
            .iter()
            .map(|counter| fan_out.enter(Arc::clone(counter) as Arc<dyn Lane>))
            .collect();
        let seen = |counter: &Arc<Counter>| counter.0.load(Ordering::Relaxed);
        end.send_replace(Position { batch: 1, bytes: 1 });
        while counters.iter().any(|counter| seen(counter) < 1) {
            tokio::task::yield_now().await;
        }
        // Every other one leaves; the rest is served as before.
        let mut index = 0;
        places.retain(|_| {
            index += 1;
            index % 2 == 0
        });
        end.send_replace(Position { batch: 2, bytes: 2 });
        while counters
            .iter()
            .skip(1)
            .step_by(2)
            .any(|counter| seen(counter) < 2)
        {
            tokio::task::yield_now().await;
        }
        assert!(counters.iter().step_by(2).all(|counter| seen(counter) == 1));
        over.cancel();
        while tasks.join_next().await.is_some() {}
    }
}
