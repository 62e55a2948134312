//! One client's connection: one task, which owns the socket.
//!
//! Bytes and time go into a [`GatewayConnection`]; requests that come out are answered from the
//! registry, events are read from the shared log, encrypted into a buffer that all sessions of a
//! thread share, and written with one call. An idle session holds neither buffer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hearthgate_protocol::connection::{GatewayConnection, GatewayEvent};
use hearthgate_protocol::error::{Ended, HandshakeFailure};
use hearthgate_protocol::limits::{
    REQUESTS_IN_FLIGHT, SLOW_SESSION_CLOSE, SLOW_SESSION_MERGE, SLOW_SESSION_TIME,
};
use hearthgate_protocol::websocket::close;
use hearthgate_protocol::wire::{ErrorBody, Request, write_error, write_success};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tracing::{debug, info};

use crate::backlog::Backlog;
use crate::event_log::{Batch, Position};
use crate::listener::{Admission, Permit, Slot};
use crate::registry::{PendingWrite, Registry};

/// Unwritten bytes at which no further events are encrypted and no further requests are read.
const OUTPUT_ENOUGH: usize = 64 * 1024;
/// Unwritten bytes at which no further request is read: who does not take answers gets no more.
const OUTPUT_MAX: usize = 4 * OUTPUT_ENOUGH;
/// Capacity that the shared buffer keeps.
const OUTPUT_KEPT: usize = 4 * OUTPUT_ENOUGH;
/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 * 1024;
/// The time that flushing the last bytes and waiting for the peer's end may take.
const FAREWELL: Duration = Duration::from_millis(1000);

thread_local! {
    /// What sessions read into.
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    /// What sessions encrypt into while they write.
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Serves one connection until it ends.
pub(crate) async fn serve<S>(
    stream: S,
    peer: SocketAddr,
    connection: GatewayConnection,
    registry: Registry,
    admission: Arc<Admission>,
    handshake: Permit,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (position, end) = registry.join();
    let mut session = Session {
        stream,
        peer,
        connection,
        registry,
        admission,
        end,
        position,
        backlog: None,
        slow_since: None,
        writes: FuturesUnordered::new(),
        rejecting: None,
        slot: None,
        handshake: Some(handshake),
        readable: true,
        blocked: false,
        congested: false,
    };
    session.run().await;
    session.farewell().await;
}

struct Session<S> {
    stream: S,
    peer: SocketAddr,
    connection: GatewayConnection,
    registry: Registry,
    admission: Arc<Admission>,
    /// Tells of further events.
    end: watch::Receiver<Position>,
    /// The events that were sent or are in the backlog.
    position: Position,
    /// Events of a session that is slow, merged.
    backlog: Option<Box<Backlog>>,
    /// Since when the session is slow.
    slow_since: Option<Instant>,
    /// Writes that drivers have not answered.
    writes: FuturesUnordered<Pin<Box<dyn Future<Output = (i64, Result<(), ErrorBody>)> + Send>>>,
    /// When the close after a failed handshake is due.
    rejecting: Option<Instant>,
    /// The place among the sessions, once authenticated.
    slot: Option<Slot>,
    /// The place among the handshakes, until authenticated.
    handshake: Option<Permit>,
    /// Whether the peer may still send.
    readable: bool,
    /// Whether the socket did not take all of the last write.
    blocked: bool,
    /// Whether reading stopped because too much is unanswered.
    congested: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    async fn run(&mut self) {
        let stop = self.admission.stop.clone();
        let mut stopped = pin!(stop.cancelled());
        let mut stopping = false;
        // Rearmed only where a deadline comes nearer: one that moves away is found out when it fires.
        let mut timer = pin!(tokio::time::sleep_until(self.deadline()));
        loop {
            let more = poll_fn(|cx| Poll::Ready(self.work(cx))).await;
            if self.connection.is_ended() {
                return;
            }
            let deadline = self.deadline();
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            let live = self.slot.is_some();
            tokio::select! {
                biased;
                () = &mut stopped, if !stopping => {
                    stopping = true;
                    self.connection.close(close::GOING_AWAY, "shutting down");
                }
                () = poll_fn(|cx| poll_socket(
                    &mut self.stream, &mut self.connection, &mut self.readable, self.congested, cx,
                )) => {}
                Some((id, outcome)) = self.writes.next(), if !self.writes.is_empty() => {
                    self.answer_write(id, outcome);
                }
                changed = self.end.changed(), if live => {
                    if changed.is_err() {
                        self.connection.close(close::INTERNAL, "the registry ended");
                    }
                }
                () = &mut timer => {
                    let now = now();
                    self.connection.handle_timeout(now);
                    if self.rejecting.is_some_and(|due| now >= due) {
                        self.rejecting = None;
                        self.connection.reject();
                    }
                    let deadline = self.deadline();
                    timer.as_mut().reset(deadline);
                }
                () = std::future::ready(()), if more => {}
            }
        }
    }

    /// Handles what has come, takes events up, and writes all of it with as few calls as it takes.
    /// Tells whether there is more to do at once.
    fn work(&mut self, cx: &mut Context<'_>) -> bool {
        let now = now();
        let lent = self.connection.output().is_empty();
        if lent {
            self.connection.swap_buffer(OUTPUT.take());
        }
        while !self.is_congested() {
            let Some(event) = self.connection.poll_event(now) else { break };
            self.handle(event, now);
        }
        let was_congested = self.is_congested();
        if self.slot.is_some() {
            self.take_events(now);
        }
        self.blocked = write_some(&mut self.stream, &mut self.connection, cx).is_pending();
        if lent {
            // What could not be written moves into a buffer of its own.
            let mut shared = self.connection.swap_buffer(Vec::new());
            shared.shrink_to(OUTPUT_KEPT);
            OUTPUT.set(shared);
        }
        self.congested = self.is_congested();
        let events_wait = self.slot.is_some()
            && (self.backlog.is_some() || *self.end.borrow() != self.position);
        !self.blocked && (events_wait || was_congested && !self.congested)
    }

    fn handle(&mut self, event: GatewayEvent, now: Instant) {
        match event {
            GatewayEvent::Authenticated => {
                self.handshake = None;
                self.admission.throttle.lock().succeeded(self.peer.ip());
                match Admission::session(&self.admission, self.peer.ip()) {
                    Ok(slot) => {
                        self.slot = Some(slot);
                        // Events count from here on.
                        (self.position, self.end) = self.registry.join();
                        debug!(peer = %self.peer, "session open");
                    }
                    Err(reason) => {
                        info!(peer = %self.peer, "session refused: {reason}");
                        self.connection.close(close::TRY_AGAIN, reason);
                    }
                }
            }
            GatewayEvent::AuthenticationFailed(failure) => self.failed(&failure, now),
            GatewayEvent::Request { id, request: Request::SetValue(writes) } => {
                match self.registry.write(&writes) {
                    Ok(pending) => self.writes.push(Box::pin(with_id(id, pending))),
                    Err(error) => self.answer_write(id, Err(error)),
                }
            }
            GatewayEvent::Request { id, request } => {
                let mut json = Vec::new();
                let (events, end) = self.registry.answer(id, &request, self.position, &mut json);
                // Whatever happened before the answer goes before it.
                self.send_all(events, end);
                self.connection.send(&json);
            }
            GatewayEvent::Invalid { id, error } => self.answer_write(id, Err(error)),
            GatewayEvent::Ended(ended) => self.log_end(&ended),
        }
    }

    fn answer_write(&mut self, id: i64, outcome: Result<(), ErrorBody>) {
        let mut json = Vec::new();
        match outcome {
            Ok(()) => write_success(&mut json, id),
            Err(error) => write_error(&mut json, id, &error),
        }
        self.connection.send(&json);
    }

    fn failed(&mut self, failure: &HandshakeFailure, now: Instant) {
        let verdict = self.admission.throttle.lock().failed(self.peer.ip(), now);
        if let Some(count) = verdict.report {
            info!(
                peer = %self.peer.ip(), count,
                "failed handshake: {failure}. Does the third-party system have this gateway's device key?"
            );
        }
        self.rejecting = Some(now + verdict.delay);
        if verdict.delay.is_zero() {
            self.rejecting = None;
            self.connection.reject();
        }
    }

    fn log_end(&self, ended: &Ended) {
        match ended {
            Ended::Frame(_) | Ended::Framing(_) => info!(peer = %self.peer, "session ended: {ended}"),
            _ => debug!(peer = %self.peer, "session ended: {ended}"),
        }
    }

    /// Takes events up: while the socket takes them as they are, else merged into the backlog.
    fn take_events(&mut self, now: Instant) {
        let end = *self.end.borrow_and_update();
        if self.connection.output().len() < OUTPUT_ENOUGH {
            self.drain_backlog(OUTPUT_ENOUGH);
            if self.backlog.is_none() && end != self.position {
                match self.registry.events_since(self.position) {
                    Some((batches, end)) => self.send_batches(&batches, end),
                    None => return self.fell_behind(),
                }
            }
        }
        let unread = usize::try_from(end.bytes.saturating_sub(self.position.bytes));
        let unread = unread.unwrap_or(usize::MAX);
        let behind = self.backlog.is_some() || self.blocked && unread >= SLOW_SESSION_MERGE;
        if unread > 0 && behind {
            match self.registry.events_since(self.position) {
                Some((batches, end)) => self.absorb(&batches, end),
                None => return self.fell_behind(),
            }
            self.slow_since.get_or_insert(now);
        }
        match (&self.backlog, self.slow_since) {
            (Some(backlog), _) if backlog.bytes() >= SLOW_SESSION_CLOSE => self.fell_behind(),
            (_, Some(since)) if now.saturating_duration_since(since) >= SLOW_SESSION_TIME => {
                self.fell_behind();
            }
            (None, _) if self.connection.output().is_empty() => self.slow_since = None,
            _ => {}
        }
    }

    /// Sends whole batches while there is room; what is left stays in the log.
    fn send_batches(&mut self, batches: &[Arc<Batch>], end: Position) {
        for batch in batches {
            if self.connection.output().len() >= OUTPUT_ENOUGH {
                return;
            }
            for (_, json) in batch.events() {
                self.connection.send(json);
            }
            self.position = batch.after(self.position);
        }
        self.position = end;
    }

    /// Sends all events up to `end`, however much is unwritten: an answer is to follow them.
    fn send_all(&mut self, events: Option<Vec<Arc<Batch>>>, end: Position) {
        let Some(batches) = events else { return self.fell_behind() };
        self.drain_backlog(usize::MAX);
        for (_, json) in batches.iter().flat_map(|batch| batch.events()) {
            self.connection.send(json);
        }
        self.position = end;
    }

    fn absorb(&mut self, batches: &[Arc<Batch>], end: Position) {
        let backlog = self.backlog.get_or_insert_default();
        for (event, _) in batches.iter().flat_map(|batch| batch.events()) {
            backlog.absorb(event);
        }
        self.position = end;
    }

    fn drain_backlog(&mut self, enough: usize) {
        let Some(backlog) = &mut self.backlog else { return };
        let mut json = Vec::new();
        while self.connection.output().len() < enough && backlog.pop_into(&mut json) {
            self.connection.send(&json);
            json.clear();
        }
        if backlog.is_empty() {
            self.backlog = None;
        }
    }

    fn fell_behind(&mut self) {
        info!(peer = %self.peer, "session closed: it does not read fast enough");
        self.backlog = None;
        self.connection.close(close::TRY_AGAIN, "too slow");
    }

    /// Tells whether no further request is taken for now.
    fn is_congested(&self) -> bool {
        self.writes.len() >= REQUESTS_IN_FLIGHT || self.connection.output().len() >= OUTPUT_MAX
    }

    fn deadline(&self) -> tokio::time::Instant {
        let slow = self.slow_since.map(|since| since + SLOW_SESSION_TIME);
        let earliest = [self.connection.poll_timeout(), self.rejecting, slow].into_iter().flatten().min();
        // Something is always due except after the end, where the loop has been left.
        earliest.unwrap_or_else(|| now() + FAREWELL).into()
    }

    /// Flushes the close frame and lets the peer end first, so that it is not lost in a reset.
    async fn farewell(mut self) {
        self.slot = None;
        let farewell = async {
            poll_fn(|cx| write_some(&mut self.stream, &mut self.connection, cx)).await;
            if self.stream.shutdown().await.is_ok() {
                while self.readable {
                    poll_fn(|cx| {
                        poll_read(&mut self.stream, &mut self.connection, &mut self.readable, cx)
                    })
                    .await;
                }
            }
        };
        // Whoever does not take the last bytes in this time does not want them.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}

/// Waits until something was read, or all that waited was written.
fn poll_socket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    connection: &mut GatewayConnection,
    readable: &mut bool,
    congested: bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if !connection.output().is_empty() && write_some(stream, connection, cx).is_ready() {
        return Poll::Ready(());
    }
    if congested || !*readable {
        return Poll::Pending;
    }
    poll_read(stream, connection, readable, cx)
}

fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    connection: &mut GatewayConnection,
    readable: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<()> {
    INPUT.with_borrow_mut(|input| {
        let mut buffer = ReadBuf::new(input);
        match ready!(Pin::new(stream).poll_read(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {
                connection.handle_input(now(), buffer.filled());
            }
            Ok(()) | Err(_) => {
                *readable = false;
                connection.handle_eof();
            }
        }
        Poll::Ready(())
    })
}

/// Writes what the socket takes now; pending where that is not all.
fn write_some<S: AsyncWrite + Unpin>(
    stream: &mut S,
    connection: &mut GatewayConnection,
    cx: &mut Context<'_>,
) -> Poll<()> {
    while !connection.output().is_empty() {
        match ready!(Pin::new(&mut *stream).poll_write(cx, connection.output())) {
            Ok(written) if written > 0 => connection.advance_output(written),
            _ => {
                connection.advance_output(connection.output().len());
                connection.handle_eof();
            }
        }
    }
    Poll::Ready(())
}

async fn with_id(id: i64, pending: PendingWrite) -> (i64, Result<(), ErrorBody>) {
    (id, pending.await)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
