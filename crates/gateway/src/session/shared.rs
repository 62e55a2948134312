//! A session under its lock: its own task polls it, the fan-out comes by with events.
//!
//! Nothing is missed between the two: who finds the lock taken leaves a mark, and who gives it back looks
//! at the mark. The clock and the stop of the whole gateway leave a mark as well before they wake the task,
//! so that a task that its socket woke need not ask them.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Session;
use crate::fan_out::Lane;

/// A session, and who comes by with events.
pub(super) struct Shared<S> {
    /// Held by the session's task while it is polled, and by the fan-out while it writes: never across an
    /// `await`. Empty after the end.
    pub(super) session: Mutex<Option<Session<S>>>,
    /// Whether the fan-out found the session at work: whoever holds the lock looks again after it.
    missed: AtomicBool,
    /// Whether the clock or the stop has woken the task, or is to be asked for the first time.
    alarm: AtomicBool,
    /// What the two wake. They are the task's own: were they the session's, it would hold itself alive.
    task: AtomicWaker,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Shared<S> {
    pub(super) fn new(session: Session<S>) -> Arc<Self> {
        Arc::new(Self {
            session: Mutex::new(Some(session)),
            missed: AtomicBool::new(false),
            alarm: AtomicBool::new(true),
            task: AtomicWaker::new(),
        })
    }

    /// Takes note of what is to be woken.
    pub(super) fn set_task(&self, task: &std::task::Waker) {
        self.task.register(task);
    }

    /// Has the clock and the stop asked before the task sleeps.
    pub(super) fn ring(&self) {
        self.alarm.store(true, Ordering::Release);
    }

    /// Tells whether they are to be asked; once.
    pub(super) fn rang(&self) -> bool {
        self.alarm.load(Ordering::Relaxed) && self.alarm.swap(false, Ordering::AcqRel)
    }

    /// Takes the session out, to say goodbye: in a box, since it would take room in every session that lives.
    pub(super) fn farewell(&self) -> Option<Pin<Box<impl Future<Output = ()> + Send>>> {
        let session = self.session.lock().take()?;
        Some(Box::pin(session.farewell()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wake for Shared<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
        self.task.wake();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Lane for Shared<S> {
    fn deliver(&self) {
        // In this order: the holder of the lock gives it back first and looks at this then.
        self.missed.store(true, Ordering::SeqCst);
        let Some(mut place) = self.session.try_lock() else {
            return;
        };
        self.missed.store(false, Ordering::SeqCst);
        let Some(session) = place.as_mut() else {
            return;
        };
        // A bug in one session is not to take the events of all others with it.
        if catch_unwind(AssertUnwindSafe(|| session.deliver())).is_err() {
            error!(peer = %session.peer, "a session ended by a bug");
            let task = session.task.take();
            *place = None;
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}

/// Polls a session until it ends.
pub(super) async fn run<S>(
    shared: &Arc<Shared<S>>,
    stop: CancellationToken,
    deadline: tokio::time::Instant,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stopped = pin!(stop.cancelled());
    let mut timer = pin!(tokio::time::sleep_until(deadline));
    let mut place = None;
    poll_fn(|cx| {
        loop {
            let enters = {
                let mut session = shared.session.lock();
                let Some(session) = session.as_mut() else {
                    return Poll::Ready(());
                };
                if session
                    .poll(shared, stopped.as_mut(), timer.as_mut(), cx)
                    .is_ready()
                {
                    return Poll::Ready(());
                }
                let enters = session.slot.is_some() && place.is_none();
                enters.then(|| session.registry.clone())
            };
            if let Some(registry) = enters {
                // What happened before is found by looking once more.
                place = Some(registry.enter(Arc::clone(shared) as Arc<dyn Lane>));
            } else {
                if shared.missed.swap(false, Ordering::SeqCst) {
                    // In its turn, so that a flood of events keeps no other task waiting.
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
    })
    .await;
}
