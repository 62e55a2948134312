//! The one task that owns the socket.
//!
//! Input: bytes from the gateway, requests from handles (a bounded channel), the clock. Output: bytes
//! to the gateway in one write per batch, answers to whoever asked, events and what the sync reads to
//! `feed`, the state of the connection to the handles.
//!
//! It reads whenever there is something to read, also while it writes: a gateway that stops taking
//! requests (256 in flight, section 5) until its answers are read never meets a client that waits
//! for it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use hearthgate_protocol::connection::{ClientConnection, ClientEvent};
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::limits::KEEPALIVE_REQUEST;
use hearthgate_protocol::model::{Source, Stamp, Timestamp};
use hearthgate_protocol::websocket::close;
use hearthgate_protocol::wire::{Event, RemoteError, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout};

use crate::context::{Answer, COMMANDS, Command, Context, Kept, Phase, Synced};
use crate::error::ClientError;
use crate::sync::{Outcome, Sync, SyncFault};

/// Requests that are taken over at a time, to travel in one write.
const COMMAND_BATCH: usize = 256;
/// Requests without an answer yet at which no more are taken over; then the channel fills.
const IN_FLIGHT_MAX: usize = 16_384;
/// Bytes that wait to be written at which no more requests are taken over.
const OUTPUT_HIGH: usize = 256 * 1024;
/// The buffer for reading, one per connection.
const READ_BUFFER: usize = 64 * 1024;
/// The time in which a connection that ended gets its last bytes out, and the time after that in
/// which it sees the other side go.
const FLUSH: Duration = Duration::from_secs(2);

/// Runs one connection to its end and returns why it ended, and what is left to be sent. Requests
/// without an answer are failed; the context can serve the next connection.
pub(crate) async fn run<S>(
    stream: S,
    connection: ClientConnection,
    context: &mut Context,
) -> (ClientError, Remains<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut reader, mut writer) = split(stream);
    let mut buffer = vec![0; READ_BUFFER];
    let mut batch = Vec::with_capacity(COMMAND_BATCH);
    let mut link = Link::new(connection, context);
    let timer = sleep_until(tokio::time::Instant::now());
    tokio::pin!(timer);
    let ended = loop {
        if let Some(ended) = link.work(now()) {
            break ended;
        }
        // Rearmed only where the deadline comes nearer, not for every byte that moves it away: that is found
        // out when it fires.
        let due = link.deadline().into();
        if due < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(due);
        }
        let takes_commands = link.takes_commands();
        let unwritten = link.unflushed || !link.connection.output().is_empty();
        let writes = link.writable && unwritten;
        tokio::select! {
            read = reader.read(&mut buffer) => {
                let bytes = read.ok().and_then(|count| buffer.get(..count));
                link.handle_bytes(bytes.unwrap_or_default());
            }
            written = poll_fn(|cx| write_some(&mut writer, link.connection.output(), cx)), if writes => {
                link.unflushed = matches!(written, Ok((_, false)));
                link.handle_written(&written.map(|(count, _)| count));
            }
            () = superseded(&mut link.context.kept), if link.ready && !link.superseded => {
                link.superseded = true;
                link.connection.close(close::DONE, "done");
            }
            _ = link.context.commands.recv_many(&mut batch, COMMAND_BATCH), if takes_commands => {
                for command in batch.drain(..) {
                    link.handle_command(command);
                }
            }
            () = link.context.close.notified() => link.connection.close(close::DONE, "done"),
            // No handle is left.
            () = link.context.status.closed() => link.connection.close(close::DONE, "done"),
            () = &mut timer => {}
        }
    };
    let hung_up = matches!(ended, Ended::Peer { .. } | Ended::Lost);
    let error = link.fail_all(ended);
    let remains = Remains {
        reader,
        writer,
        rest: link.connection.take_output(),
        buffer,
        hung_up,
    };
    (error, remains)
}

/// A connection that ended and has not gone yet.
pub(crate) struct Remains<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    rest: Vec<u8>,
    buffer: Vec<u8>,
    hung_up: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Remains<S> {
    /// Gets the last bytes out, the close frame among them: 2 s at most.
    pub(crate) async fn flush(&mut self) {
        let send = async {
            self.writer.write_all(&self.rest).await?;
            self.writer.shutdown().await
        };
        let drain = async {
            while matches!(self.reader.read(&mut self.buffer).await, Ok(count) if count > 0) {}
            std::future::pending::<()>().await;
        };
        // A peer that takes nothing gets nothing: there is nobody left to tell.
        let _ = timeout(FLUSH, async {
            tokio::select! {
                sent = send => sent,
                () = drain => Ok(()),
            }
        })
        .await;
    }

    /// Waits until the other side hangs up, 2 s at most: a socket that is closed with unread bytes in
    /// it takes the close frame down with it.
    pub(crate) async fn linger(mut self) {
        let drain = async {
            while matches!(self.reader.read(&mut self.buffer).await, Ok(count) if count > 0) {}
        };
        if !self.hung_up {
            let _ = timeout(FLUSH, drain).await;
        }
    }
}

/// Writes what the stream takes now; tells how much, none where there was nothing, and whether all of it
/// has reached the socket: TLS may hold records back, TCP does not.
fn write_some<W: AsyncWrite + Unpin>(
    writer: &mut W,
    bytes: &[u8],
    cx: &mut std::task::Context<'_>,
) -> Poll<io::Result<(Option<usize>, bool)>> {
    if bytes.is_empty() {
        let flushed = ready!(Pin::new(writer).poll_flush(cx));
        return Poll::Ready(flushed.map(|()| (None, true)));
    }
    let count = ready!(Pin::new(&mut *writer).poll_write(cx, bytes))?;
    match Pin::new(writer).poll_flush(cx) {
        Poll::Ready(flushed) => Poll::Ready(flushed.map(|()| (Some(count), true))),
        Poll::Pending => Poll::Ready(Ok((Some(count), false))),
    }
}

/// Returns the time by the runtime's clock, which tests stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits until a keeper wants another connection instead of this one.
async fn superseded(kept: &mut Option<Kept>) {
    match kept {
        Some(kept) => kept.superseded().await,
        None => std::future::pending().await,
    }
}

struct Link<'a> {
    connection: ClientConnection,
    context: &'a mut Context,
    sync: Option<Sync>,
    /// Where answers go, by request id. Bounded by [`IN_FLIGHT_MAX`]; who gave up is swept out.
    waiting: HashMap<i64, oneshot::Sender<Answer>>,
    sweep_at: usize,
    next_id: i64,
    /// Whether any byte came.
    answered: bool,
    ready: bool,
    /// Whether something trivial was asked in this silence.
    nudged: bool,
    /// Whether writing still works; where not, reading tells why.
    writable: bool,
    /// Whether the stream holds bytes back that the socket has not taken.
    unflushed: bool,
    /// Until when a socket that takes no bytes may tell why.
    last_words: Option<Instant>,
    /// Whether a keeper wants another connection instead.
    superseded: bool,
}

impl<'a> Link<'a> {
    fn new(connection: ClientConnection, context: &'a mut Context) -> Self {
        Self {
            connection,
            context,
            sync: None,
            waiting: HashMap::new(),
            sweep_at: COMMANDS,
            next_id: 1,
            answered: false,
            ready: false,
            nudged: false,
            writable: true,
            unflushed: false,
            last_words: None,
            superseded: false,
        }
    }

    /// Does all there is to do without waiting; returns why the connection ended, if it did.
    fn work(&mut self, now: Instant) -> Option<Ended> {
        self.connection.handle_timeout(now);
        if self.last_words.is_some_and(|until| until <= now) {
            self.connection.handle_eof();
        }
        // What was read together came together.
        let at = clock();
        while let Some(event) = self.connection.poll_event(now) {
            match event {
                ClientEvent::Authenticated => self.authenticated(),
                ClientEvent::Reply { id, outcome } => self.route(id, outcome, at, now),
                ClientEvent::Event { event, json } => self.pass_on(event, json, at),
                ClientEvent::Oddity(what) => {
                    tracing::warn!(gateway = %self.context.gateway, what, "ignored something odd");
                }
                ClientEvent::Ended(ended) => return Some(ended),
            }
        }
        if self.ready {
            self.sync_on(now);
            if !self.nudged && self.connection.silence(now) >= KEEPALIVE_REQUEST {
                // For gateways that answer no ping; nobody waits for the answer itself.
                self.nudged = true;
                let id = self.take_id();
                self.connection.send_request(id, &Request::GetDevices);
            }
        }
        None
    }

    fn deadline(&self) -> Instant {
        // Never reached: before the handshake is done, and after it, some timer runs.
        const IDLE: Duration = Duration::from_secs(60);
        let now = now();
        let nudge = (self.ready && !self.nudged)
            .then(|| now + KEEPALIVE_REQUEST.saturating_sub(self.connection.silence(now)));
        [
            self.connection.poll_timeout(),
            self.sync.as_ref().and_then(Sync::deadline),
            self.last_words,
            nudge,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now + IDLE)
    }

    fn handle_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            // All that came before was taken apart already.
            self.connection.handle_eof();
        } else {
            self.answered = true;
            self.nudged = false;
            self.connection.handle_input(now(), bytes);
        }
    }

    fn handle_written(&mut self, written: &io::Result<Option<usize>>) {
        match written {
            Ok(None) => {}
            Ok(Some(count)) if *count > 0 => self.connection.advance_output(*count),
            _ => {
                // The other side's close, with its reason, may still be there to be read.
                self.writable = false;
                self.last_words = Some(now() + FLUSH);
            }
        }
    }

    fn takes_commands(&mut self) -> bool {
        if self.waiting.len() >= self.sweep_at {
            self.waiting.retain(|_, reply| !reply.is_closed());
            self.sweep_at = (self.waiting.len() * 2).clamp(COMMANDS, IN_FLIGHT_MAX);
        }
        let refuses = self.refuses().is_some();
        (self.ready || refuses)
            && self.waiting.len() < IN_FLIGHT_MAX
            && self.connection.output().len() < OUTPUT_HIGH
    }

    /// Returns why requests fail until the handshake is done; at first they wait for it.
    fn refuses(&self) -> Option<&ClientError> {
        let kept = self.context.kept.as_ref().filter(|_| !self.ready)?;
        kept.down.as_ref()
    }

    fn handle_command(&mut self, command: Command) {
        if let Some(reason) = self.refuses() {
            command.refuse(&self.context.gateway, reason);
            return;
        }
        // Who gave up while the request waited for its turn wants nothing done.
        if !command.reply.is_closed() {
            let id = self.take_id();
            self.connection.send_request(id, &command.request);
            self.waiting.insert(id, command.reply);
        }
    }

    fn authenticated(&mut self) {
        self.ready = true;
        let wire = self.connection.wire();
        let uuid = self.connection.gateway_uuid().map(Arc::from);
        tracing::info!(gateway = %self.context.gateway, %wire, "connected");
        if self.context.feeds.mirrored() {
            self.sync = Some(Sync::new(self.context.request_timeout));
        }
        if let Some(kept) = &mut self.context.kept {
            kept.up_since = Some(now());
            self.context.feeds.up();
        }
        self.context.status.send_modify(|status| {
            status.phase = Phase::Up;
            status.wire = wire;
            status.uuid = uuid;
        });
    }

    fn route(
        &mut self,
        id: i64,
        outcome: Result<String, RemoteError>,
        at: Timestamp,
        now: Instant,
    ) {
        if let Some(reply) = self.waiting.remove(&id) {
            // Who gave up meanwhile does not hear of it.
            let _ = reply.send(Ok(outcome));
        } else if let Some(sync) = &mut self.sync
            && sync.owns(id)
        {
            let mirror = self.context.feeds.mirror();
            let outcome = mirror.read(|home| sync.handle_answer(id, outcome, home, at, now));
            self.synced(outcome);
        } else {
            tracing::debug!(gateway = %self.context.gateway, id, "an answer that nobody waits for");
        }
    }

    fn pass_on(&mut self, event: Event, json: Option<String>, at: Timestamp) {
        let stamp = Stamp {
            at,
            source: Source::Event,
        };
        let sync = &mut self.sync;
        self.context
            .feeds
            .event(event, json, stamp, |event, applied| {
                if let Some(sync) = sync {
                    sync.handle_event(event, applied, stamp);
                }
            });
    }

    /// Lets the sync do what is due and sends what it asks for.
    fn sync_on(&mut self, now: Instant) {
        let Some(sync) = &mut self.sync else { return };
        let mirror = self.context.feeds.mirror();
        let outcome = mirror.read(|home| sync.handle_timeout(home, now));
        self.synced(outcome);
        while let Some(sync) = &mut self.sync
            && let Some(request) = sync.next_request(self.next_id, now)
        {
            let id = self.take_id();
            self.connection.send_request(id, &request);
        }
    }

    fn synced(&mut self, outcome: Outcome) {
        let context = &self.context;
        let synced = match outcome {
            Outcome::Going => return,
            Outcome::Commit(commit) => {
                tracing::debug!(
                    gateway = %context.gateway,
                    read = commit.read.len(),
                    gone = commit.gone.len(),
                    "read from the gateway"
                );
                context.feeds.commit(commit);
                Synced::Done
            }
            Outcome::Failed(fault) => {
                let gateway = Arc::clone(&context.gateway);
                let error = match fault {
                    SyncFault::Refused(error) => ClientError::Refused { gateway, error },
                    SyncFault::BadAnswer { request, problem } => ClientError::BadAnswer {
                        gateway,
                        request,
                        problem,
                    },
                    SyncFault::Timeout { request } => ClientError::Timeout {
                        gateway,
                        what: request,
                        after: context.request_timeout,
                    },
                };
                tracing::warn!("cannot read the devices, trying again later: {error}");
                Synced::Failed(error)
            }
        };
        context.status.send_modify(|status| status.synced = synced);
    }

    /// Fails whoever waits for an answer and returns the error that says why.
    fn fail_all(&mut self, ended: Ended) -> ClientError {
        let context = &self.context;
        let error = match ended {
            Ended::Local(_) if self.superseded => ClientError::Superseded {
                gateway: Arc::clone(&context.gateway),
            },
            ended => ClientError::from_ended(
                &context.gateway,
                ended,
                self.answered,
                self.ready,
                context.connect_timeout,
            ),
        };
        for (_, reply) in self.waiting.drain() {
            let _ = reply.send(Err(error.clone()));
        }
        error
    }

    fn take_id(&mut self) -> i64 {
        let id = self.next_id;
        // At a million requests a second it takes 292,000 years to run out.
        self.next_id = id.wrapping_add(1);
        id
    }
}

/// Returns the time of day.
fn clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
