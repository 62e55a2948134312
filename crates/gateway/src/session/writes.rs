//! The writes of a session that wait for their drivers.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hearthgate_protocol::wire::ErrorBody;

/// A write that drivers have not answered; gives the id of its request back.
pub(super) type WriteInFlight = Pin<Box<dyn Future<Output = (i64, Result<(), ErrorBody>)> + Send>>;

/// The writes of a session that have no answer yet. Where there are none it holds no memory, which
/// `FuturesUnordered` does as soon as it is made.
#[derive(Default)]
pub(super) struct Writes(Option<Box<FuturesUnordered<WriteInFlight>>>);

impl Writes {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |writes| writes.len())
    }

    pub(super) fn push(&mut self, write: WriteInFlight) {
        self.0.get_or_insert_default().push(write);
    }

    /// Gives the next outcome. Pending where there is no write: whoever adds one asks again.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(i64, Result<(), ErrorBody>)> {
        let outcome = match &mut self.0 {
            None => return Poll::Pending,
            Some(writes) => writes.poll_next_unpin(cx),
        };
        match outcome {
            Poll::Ready(Some(outcome)) => Poll::Ready(outcome),
            Poll::Ready(None) => {
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
