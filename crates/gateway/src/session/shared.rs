//! A session under its lock: its own task polls it, the fan-out comes by with events.
//!
//! Nothing is missed between the two: who finds the lock taken leaves a mark, and who gives it back looks
//! at the mark.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

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
    pub(super) missed: AtomicBool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Shared<S> {
    /// Takes the session out, to say goodbye: in a box, since it would take room in every session that lives.
    pub(super) fn farewell(&self) -> Option<Pin<Box<impl Future<Output = ()> + Send>>> {
        let session = self.session.lock().take()?;
        Some(Box::pin(session.farewell()))
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
                    .poll(stopped.as_mut(), timer.as_mut(), cx)
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
