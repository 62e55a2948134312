//! A byte stream in memory without any hindrance: one end goes where a socket would, the caller is the
//! other. For measurements; what a link may do to a connection is in [`Cable`](crate::Cable).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read in a row before other tasks have their turn: about what a socket holds.
const TURN: usize = 256 * 1024;

/// A byte stream in memory; all clones are one. It takes whatever is written, without a bound: what it
/// carries is measured, and ends.
#[derive(Clone, Debug, Default)]
pub struct Wire(Arc<Mutex<Ends>>);

#[derive(Debug, Default)]
struct Ends {
    /// What the stream has yet to give, and from where on.
    incoming: (Vec<u8>, usize),
    /// Bytes that were read in a row.
    turn: usize,
    written: Vec<u8>,
    reader: Option<Waker>,
    /// Who waits for what is written, or until everything was read.
    other: Option<Waker>,
    /// Whether the reader found nothing more to read.
    idle: bool,
}

impl Wire {
    /// Makes room, so that so many bytes can be written without an allocation.
    pub fn reserve(&self, bytes: usize) {
        self.0.lock().written.reserve(bytes);
    }

    /// Lets the reader have some bytes.
    pub fn give(&self, bytes: Vec<u8>) {
        let mut ends = self.0.lock();
        let ends = &mut *ends;
        let (incoming, start) = &mut ends.incoming;
        if incoming.len() == *start {
            (*incoming, *start) = (bytes, 0);
        } else {
            incoming.extend_from_slice(&bytes);
        }
        ends.idle = false;
        if let Some(reader) = ends.reader.take() {
            reader.wake();
        }
    }

    /// Takes what was written so far.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().written)
    }

    /// Waits until something was written and takes it.
    pub async fn written(&self) -> Vec<u8> {
        self.wait(|ends| {
            let written = std::mem::take(&mut ends.written);
            (!written.is_empty()).then_some(written)
        })
        .await
    }

    /// Waits until the reader has had everything and asks for more: it has handled all of it then.
    pub async fn idle(&self) {
        self.wait(|ends| ends.idle.then_some(())).await;
    }

    async fn wait<R>(&self, found: impl Fn(&mut Ends) -> Option<R>) -> R {
        std::future::poll_fn(|cx| {
            let mut ends = self.0.lock();
            match found(&mut ends) {
                Some(result) => Poll::Ready(result),
                None => {
                    ends.other = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Ends {
    fn wake_other(&mut self) {
        if let Some(other) = self.other.take() {
            other.wake();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.0.lock();
        let ends = &mut *ends;
        let (incoming, start) = &mut ends.incoming;
        let rest = incoming.get(*start..).unwrap_or_default();
        if rest.is_empty() {
            ends.idle = true;
            ends.reader = Some(cx.waker().clone());
            ends.wake_other();
            return Poll::Pending;
        }
        if ends.turn >= TURN {
            ends.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        *start += count;
        ends.turn += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut ends = self.0.lock();
        ends.written.extend_from_slice(bytes);
        ends.wake_other();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
