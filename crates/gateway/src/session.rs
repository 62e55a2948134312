//! One client's connection: one task, which reads, answers and keeps time; events are also brought by
//! the fan-out, in passing.
//!
//! Bytes and time go into a [`GatewayConnection`]; requests that come out are answered from the
//! registry, events are read from the shared log, encrypted into a buffer that all sessions of a
//! thread share, and written with one call. An idle session holds neither buffer.

mod pace;
mod shared;
mod socket;
mod writes;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hearthgate_protocol::connection::{GatewayConnection, GatewayEvent};
use hearthgate_protocol::error::{Ended, HandshakeFailure};
use hearthgate_protocol::token::Claim;
use hearthgate_protocol::websocket::close;
use hearthgate_protocol::wire::{ErrorBody, Request, write_error, write_success};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFuture;
use tracing::{debug, info};

use self::pace::{Pace, Standing, Verdict};
use self::shared::{Shared, run};
pub(crate) use self::socket::now;
use self::socket::{Socket, keep_scratch, lend_output, take_output_back, take_scratch};
use self::writes::Writes;
use crate::backlog::Backlog;
use crate::event_log::{Position, Unread};
use crate::limits::Rate;
use crate::listener::{Admission, Permit, Slot};
use crate::registry::{PendingWrite, Registry, limit_answer};
use crate::tokens::Decision;

/// Unwritten bytes at which no further events are encrypted.
const OUTPUT_ENOUGH: usize = 64 * 1024;
/// Unwritten bytes at which no further request is read: who does not take answers gets no more.
const OUTPUT_MAX: usize = 4 * OUTPUT_ENOUGH;
/// The time that flushing the last bytes and waiting for the peer's end may take.
const FAREWELL: Duration = Duration::from_millis(1000);
/// The same for a peer that was too slow, so that it finds the reason when it reads again.
const FAREWELL_TOO_SLOW: Duration = Duration::from_secs(30);

/// Serves one connection until it ends.
///
/// No `async fn`: its future would hold the arguments beside the session that is made of them, for as
/// long as it lasts. A test holds the memory of a session in bounds.
pub(crate) fn serve<S>(
    stream: S,
    peer: SocketAddr,
    connection: GatewayConnection,
    registry: Registry,
    admission: Arc<Admission>,
    handshake: Permit,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = admission.stop.clone();
    let rate = admission.limits.requests_per_second.map(Rate::new);
    let session = Session {
        socket: Socket::new(stream),
        peer,
        connection,
        position: Position::default(),
        registry,
        admission,
        backlog: None,
        pace: Pace::default(),
        rate,
        writes: Writes::default(),
        rejecting: None,
        slot: None,
        handshake: Some(handshake),
        congested: false,
        patience: FAREWELL,
        task: None,
        armed: now(),
    };
    let deadline = session.deadline(session.armed);
    let shared = Shared::new(session);
    async move {
        run(&shared, stop, deadline).await;
        if let Some(farewell) = shared.farewell() {
            farewell.await;
        }
    }
}

struct Session<S> {
    socket: Socket<S>,
    peer: SocketAddr,
    connection: GatewayConnection,
    registry: Registry,
    admission: Arc<Admission>,
    /// The events that were sent or are in the backlog.
    position: Position,
    /// Events of a session that is slow, merged.
    backlog: Option<Box<Backlog>>,
    /// Whether it is slow.
    pace: Pace,
    /// How fast its requests are taken, if that is limited.
    rate: Option<Rate>,
    writes: Writes,
    /// When the close after a failed handshake is due.
    rejecting: Option<Instant>,
    /// The place among the sessions, once authenticated.
    slot: Option<Slot>,
    /// The place among the handshakes, until authenticated.
    handshake: Option<Permit>,
    /// Whether reading stopped because too much is unanswered, or came too fast.
    congested: bool,
    /// The time that the end may take.
    patience: Duration,
    /// What wakes the session's own task.
    task: Option<Waker>,
    /// When its timer fires.
    armed: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Session<S> {
    /// Does all there is to do; ready after the end.
    fn poll(
        &mut self,
        shared: &Arc<Shared<S>>,
        mut stopped: Pin<&mut WaitForCancellationFuture<'_>>,
        mut timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if !self
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            self.task = Some(cx.waker().clone());
            shared.ring();
        }
        // Who wakes a task does not say why; after that, what came from the socket says whether there is
        // anything new.
        let mut news = true;
        let mut now = now();
        let mut is_first = true;
        loop {
            let reading = !self.congested;
            let came = self.socket.poll(&mut self.connection, reading, now, cx);
            if came.is_pending() && !news {
                self.armed = timer.deadline().into_std();
                return Poll::Pending;
            }
            if !std::mem::take(&mut is_first) {
                now = self::now();
            }
            news = self.work(now, cx);
            if self.connection.is_ended() {
                return Poll::Ready(());
            }
            // Rearmed only where a deadline comes nearer: one that moves away is found out when it fires.
            let deadline = self.deadline(now);
            let nearer = deadline < timer.deadline();
            if nearer {
                timer.as_mut().reset(deadline);
            }
            // A peer that never stops sending keeps neither answers nor deadlines waiting.
            if shared.rang() || nearer {
                // Before they are asked: who rings takes it.
                shared.set_task(cx.waker());
                news |= self.look_around(shared, stopped.as_mut(), timer.as_mut());
            }
            if self.is_evicted(cx) {
                debug!(peer = %self.peer, "too many handshakes are under way");
                self.patience = Duration::ZERO;
                match self.rejecting {
                    Some(_) => self.connection.reject(),
                    None => self
                        .connection
                        .close(close::TRY_AGAIN, "too many handshakes"),
                }
                news = true;
            }
        }
    }

    /// Asks the stop and the clock, which ring when their time comes; tells whether there is anything to do.
    fn look_around(
        &mut self,
        shared: &Arc<Shared<S>>,
        stopped: Pin<&mut WaitForCancellationFuture<'_>>,
        mut timer: Pin<&mut Sleep>,
    ) -> bool {
        let alarm = Waker::from(Arc::clone(shared));
        let cx = &mut Context::from_waker(&alarm);
        let mut news = false;
        if stopped.poll(cx).is_ready() {
            self.connection.close(close::GOING_AWAY, "shutting down");
            news = true;
        }
        if timer.as_mut().poll(cx).is_ready() {
            self.time_is_up();
            timer.reset(self.deadline(now()));
            // It rings again only for who has asked it.
            shared.ring();
            news = true;
        }
        news
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Takes events up in passing, for the fan-out: what cannot be done so is left to the session's task.
    fn deliver(&mut self) {
        let Some(task) = self.task.clone() else {
            return;
        };
        if self.socket.blocked || self.backlog.is_some() {
            return task.wake();
        }
        if self.unread() == 0 {
            return;
        }
        let now = now();
        let more = self.work(now, &mut Context::from_waker(&task));
        let sooner = self.deadline(now).into_std() < self.armed;
        if more || sooner || self.connection.is_ended() {
            task.wake();
        }
    }

    fn time_is_up(&mut self) {
        let now = now();
        self.connection.handle_timeout(now);
        if self.rejecting.is_some_and(|due| now >= due) {
            self.rejecting = None;
            self.connection.reject();
        }
    }

    fn is_evicted(&mut self, cx: &mut Context<'_>) -> bool {
        let handshake = self.handshake.as_mut();
        handshake.is_some_and(|permit| permit.poll_evicted(cx).is_ready())
    }

    /// Handles what has come, takes events up, and writes all of it with as few calls as it takes.
    /// Tells whether there is more to do at once.
    fn work(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let lent = lend_output(&mut self.connection);
        while !self.is_congested(now) {
            let Some(event) = self.connection.poll_event(now) else {
                break;
            };
            let is_request = matches!(
                event,
                GatewayEvent::Request { .. } | GatewayEvent::Invalid { .. }
            );
            if let Some(rate) = self.rate.as_mut().filter(|_| is_request) {
                rate.take(now);
            }
            self.handle(event, now);
        }
        let was_congested = self.is_congested(now);
        while let Poll::Ready((id, outcome)) = self.writes.poll_next(cx) {
            self.answer_write(id, outcome);
        }
        if self.slot.is_some() {
            self.take_events(now);
        }
        let written = self.socket.write(&mut self.connection, cx).is_ready();
        if self.slot.is_some() && !self.connection.is_ended() {
            self.keep_pace(now);
        }
        if lent {
            take_output_back(&mut self.connection);
        }
        self.congested = self.is_congested(now);
        if self.next_request_due(now).is_some() {
            self.connection.hold_back(now);
        }
        let events_wait = self.slot.is_some() && (self.backlog.is_some() || self.unread() > 0);
        written && (events_wait || was_congested && !self.congested)
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
                        self.position = self.registry.join();
                        debug!(peer = %self.peer, "session open");
                    }
                    Err(reason) => {
                        if let Some(count) = self.admission.tell(self.peer.ip(), reason, now) {
                            info!(peer = %self.peer, count, "session refused: {reason}");
                        }
                        self.connection.close(close::TRY_AGAIN, reason);
                    }
                }
            }
            GatewayEvent::Claimed(claim) => self.decide(&claim, now),
            GatewayEvent::AuthenticationFailed(failure) => self.failed(&failure, now),
            GatewayEvent::Request {
                id,
                request: Request::SetValue(writes),
            } => match self.registry.write(&writes) {
                Ok(pending) => self.writes.push(Box::pin(with_id(id, pending))),
                Err(error) => self.answer_write(id, Err(error)),
            },
            GatewayEvent::Request { id, request } => {
                let mut json = take_scratch();
                let events = self.registry.answer(id, &request, self.position, &mut json);
                // Whatever happened before the answer goes before it.
                self.send_all(events, now);
                self.connection.send(&json);
                keep_scratch(json);
            }
            GatewayEvent::Invalid { id, error } => self.answer_write(id, Err(error)),
            GatewayEvent::Ended(ended) => self.log_end(&ended, now),
        }
    }

    /// Decides on a claim of the older dialect.
    fn decide(&mut self, claim: &Claim, now: Instant) {
        let mut random = [0; 48];
        let (Some(tokens), Ok(())) = (&self.admission.tokens, getrandom::fill(&mut random)) else {
            return self.connection.deny("claim: there are no tokens here");
        };
        let decision = tokens.lock().decide(claim, now, random);
        match decision {
            Decision::Admit => self.connection.admit(),
            Decision::Give(tokens) => {
                self.admission.throttle.lock().succeeded(self.peer.ip());
                self.connection.give(&tokens);
            }
            Decision::Deny(what) => self.connection.deny(what),
        }
    }

    fn answer_write(&mut self, id: i64, outcome: Result<(), ErrorBody>) {
        let mut json = Vec::new();
        match outcome {
            Ok(()) => write_success(&mut json, id),
            Err(error) => {
                write_error(&mut json, id, &error);
                limit_answer(id, &mut json);
            }
        }
        self.connection.send(&json);
    }

    fn failed(&mut self, failure: &HandshakeFailure, now: Instant) {
        let verdict = self.admission.throttle.lock().failed(self.peer.ip(), now);
        if let Some(count) = verdict.report {
            info!(
                peer = %self.peer.ip(), count,
                "failed handshake: {failure}. Does the third-party system have this gateway's key?"
            );
        }
        self.rejecting = Some(now + verdict.delay);
        if verdict.delay.is_zero() {
            self.rejecting = None;
            self.connection.reject();
        }
    }

    fn log_end(&self, ended: &Ended, now: Instant) {
        let due = match ended {
            Ended::Frame(_) | Ended::Framing(_) => {
                self.admission.tell(self.peer.ip(), "broken", now)
            }
            _ => None,
        };
        match due {
            Some(count) => info!(peer = %self.peer, count, "session ended: {ended}"),
            None => debug!(peer = %self.peer, "session ended: {ended}"),
        }
    }

    /// Takes events up until enough is to be written; what is left stays in the log.
    fn take_events(&mut self, now: Instant) {
        self.drain_backlog(OUTPUT_ENOUGH);
        let room = OUTPUT_ENOUGH.saturating_sub(self.connection.output().len());
        if room == 0 || self.backlog.is_some() || self.unread() == 0 {
            return;
        }
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        match self.registry.events_since(self.position, room) {
            Some(unread) => self.send_each(&unread),
            None => self.fell_behind(now),
        }
    }

    /// Merges the events of a session that does not keep up, and closes one that never will.
    fn keep_pace(&mut self, now: Instant) {
        loop {
            let standing = Standing {
                unread: self.unread(),
                backlog: self.backlog.as_ref().map(|backlog| backlog.bytes()),
                blocked: self.socket.blocked,
            };
            match self.pace.judge(now, standing) {
                Verdict::Go => return,
                Verdict::Close => return self.fell_behind(now),
                Verdict::Merge => match self.registry.events_since(self.position, u64::MAX) {
                    Some(unread) => self.absorb(&unread),
                    None => return self.fell_behind(now),
                },
            }
        }
    }

    /// Returns how many bytes of events are neither sent nor in the backlog.
    fn unread(&self) -> u64 {
        // The log may be ahead of what it was told to be.
        self.registry.end().saturating_sub(self.position.bytes)
    }

    fn send_each(&mut self, unread: &Unread) {
        for (_, json) in unread.events() {
            self.connection.send(json);
        }
        self.position = unread.end;
    }

    /// Sends all events, however much is unwritten: an answer is to follow them.
    fn send_all(&mut self, events: Option<Unread>, now: Instant) {
        let Some(unread) = events else {
            return self.fell_behind(now);
        };
        if unread.end == self.position && self.backlog.is_none() {
            return;
        }
        let bytes = unread.end.bytes - self.position.bytes;
        if self.backlog.is_some() || self.pace.is_slow(now, bytes, self.socket.blocked) {
            self.absorb(&unread);
            self.drain_backlog(usize::MAX);
        } else {
            self.send_each(&unread);
        }
    }

    fn absorb(&mut self, unread: &Unread) {
        let backlog = self.backlog.get_or_insert_default();
        for (event, _) in unread.events() {
            backlog.absorb(event);
        }
        self.position = unread.end;
    }

    fn drain_backlog(&mut self, enough: usize) {
        let Some(backlog) = &mut self.backlog else {
            return;
        };
        let mut json = Vec::new();
        while self.connection.output().len() < enough && backlog.pop_into(&mut json) {
            self.connection.send(&json);
            json.clear();
        }
        if backlog.is_empty() {
            self.backlog = None;
        }
    }

    fn fell_behind(&mut self, now: Instant) {
        if let Some(count) = self.admission.tell(self.peer.ip(), "slow", now) {
            info!(peer = %self.peer, count, "session closed: it does not read fast enough");
        }
        self.backlog = None;
        self.patience = FAREWELL_TOO_SLOW;
        self.connection.close(close::TRY_AGAIN, "too slow");
    }

    /// Tells whether no further request is taken for now.
    fn is_congested(&self, now: Instant) -> bool {
        self.writes.len() >= self.admission.limits.requests_in_flight
            || self.connection.output().len() >= OUTPUT_MAX
            || self.next_request_due(now).is_some()
    }

    /// Returns until when no request is taken because there were too many.
    fn next_request_due(&self, now: Instant) -> Option<Instant> {
        self.rate.as_ref().and_then(|rate| rate.due(now))
    }

    fn deadline(&self, now: Instant) -> tokio::time::Instant {
        let due = [
            self.connection.poll_timeout(),
            self.rejecting,
            self.pace.due(),
            self.next_request_due(now),
        ];
        // Something is always due except after the end, where the loop has been left.
        let earliest = due.into_iter().flatten().min();
        earliest.unwrap_or(now + FAREWELL).into()
    }

    /// Flushes the close frame and lets the peer end first, so that it is not lost in a reset.
    async fn farewell(mut self) {
        let (socket, connection) = (&mut self.socket, &mut self.connection);
        let farewell = async {
            poll_fn(|cx| socket.write(connection, cx)).await;
            if socket.stream.shutdown().await.is_ok() {
                while socket.readable {
                    poll_fn(|cx| socket.read(connection, now(), cx)).await;
                }
            }
        };
        let stopped = async {
            self.admission.stop.cancelled().await;
            tokio::time::sleep(FAREWELL).await;
        };
        // Whoever does not take the last bytes in this time does not want them.
        tokio::select! {
            () = farewell => {}
            () = stopped => {}
            () = tokio::time::sleep(self.patience) => {}
        }
    }
}

async fn with_id(id: i64, pending: PendingWrite) -> (i64, Result<(), ErrorBody>) {
    (id, pending.await)
}

#[cfg(test)]
mod tests;
