//! Bytes between a socket and a connection.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hearthgate_protocol::connection::GatewayConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 * 1024;
/// Capacity that the shared output buffer keeps.
const OUTPUT_KEPT: usize = 256 * 1024;

thread_local! {
    /// What sessions read into.
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    /// What sessions encrypt into while they write.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// What sessions write the JSON of an answer into.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A socket, and what is known about its two directions.
#[derive(Debug)]
pub(super) struct Socket<S> {
    pub(super) stream: S,
    /// Whether the peer may still send.
    pub(super) readable: bool,
    /// Whether the stream did not take all of the last write.
    pub(super) blocked: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            readable: true,
            blocked: false,
        }
    }

    /// Waits until something was read, or all that waited was written.
    pub(super) fn poll(
        &mut self,
        connection: &mut GatewayConnection,
        reading: bool,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let unwritten = self.blocked || !connection.output().is_empty();
        if unwritten && self.write(connection, cx).is_ready() {
            return Poll::Ready(());
        }
        if !reading || !self.readable {
            return Poll::Pending;
        }
        self.read(connection, now, cx)
    }

    pub(super) fn read(
        &mut self,
        connection: &mut GatewayConnection,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        INPUT.with_borrow_mut(|input| {
            let mut buffer = ReadBuf::new(input);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    connection.handle_input(now, buffer.filled());
                }
                Ok(()) | Err(_) => {
                    self.readable = false;
                    connection.handle_eof();
                }
            }
            Poll::Ready(())
        })
    }

    /// Writes what the stream takes now; pending where that is not all.
    pub(super) fn write(
        &mut self,
        connection: &mut GatewayConnection,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.blocked = true;
        while !connection.output().is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, connection.output())) {
                Ok(written) if written > 0 => connection.advance_output(written),
                _ => {
                    connection.advance_output(connection.output().len());
                    self.readable = false;
                    connection.handle_eof();
                }
            }
        }
        // TCP has nothing to flush; TLS may hold records that the socket did not take.
        if ready!(Pin::new(&mut self.stream).poll_flush(cx)).is_err() {
            self.readable = false;
            connection.handle_eof();
        }
        self.blocked = false;
        Poll::Ready(())
    }
}

/// Lends a connection that has nothing unwritten the buffer of this thread; tells whether it did.
pub(super) fn lend_output(connection: &mut GatewayConnection) -> bool {
    let lent = connection.output().is_empty();
    if lent {
        connection.swap_buffer(OUTPUT.take());
    }
    lent
}

/// Takes the buffer of this thread back; what could not be written moves into one of its own.
pub(super) fn take_output_back(connection: &mut GatewayConnection) {
    let mut shared = connection.swap_buffer(Vec::new());
    shared.shrink_to(OUTPUT_KEPT);
    OUTPUT.set(shared);
}

/// Takes the buffer of this thread for the JSON of an answer: empty, to be given back.
pub(super) fn take_scratch() -> Vec<u8> {
    SCRATCH.take()
}

/// Gives it back.
pub(super) fn keep_scratch(mut json: Vec<u8>) {
    json.clear();
    json.shrink_to(OUTPUT_KEPT);
    SCRATCH.set(json);
}

/// Returns the time, which tests may hold still.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
