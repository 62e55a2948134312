//! A hostile link in memory, in virtual time: a byte stream between a client and a gateway that delays
//! and splits what travels, stalls, loses events, goes half-open, and is cut.
//!
//! Both [`CableEnd`]s go where a socket would; the [`Cable`] stays with the test, which plagues them. The
//! same seed does the same. Time is that of the runtime, to be paused by the test.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::frames::Frames;

/// Bytes on the way at which a writer has to wait, as in a socket's buffers.
const CAPACITY: usize = 256 * 1024;
/// The largest piece that travels at once.
const PIECE: usize = 16 * 1024;
/// Longer than any run.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A direction of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// From the client to the gateway.
    ToGateway,
    /// From the gateway to the client.
    ToClient,
}

/// The test's hold on a link. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cable {
    shared: Arc<Mutex<Shared>>,
}

/// One end of a link.
#[derive(Debug)]
pub struct CableEnd {
    shared: Arc<Mutex<Shared>>,
    /// What this end reads.
    reads: Lane,
    timer: Pin<Box<Sleep>>,
}

#[derive(Debug)]
struct Shared {
    to_gateway: Way,
    to_client: Way,
    random: fastrand::Rng,
    /// The longest time that a piece takes.
    delay: Duration,
    /// The share of events that a gateway which loses some does lose, in a hundred.
    loss: u32,
    /// The gateway's stream, taken apart to lose something.
    frames: Frames,
}

/// What travels in one direction, in order.
#[derive(Debug)]
struct Way {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// Until when nothing arrives.
    stalled: Instant,
    /// When the end arrives, behind all else.
    end: Option<Instant>,
    /// Whether the connection was cut, or its reader has gone: writing fails, and so does reading.
    cut: bool,
    /// Whether its reader has gone.
    deserted: bool,
    /// When the last piece is due.
    last: Instant,
    /// When something arrived last.
    heard: Instant,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Cable {
    /// Makes a link on which every piece takes up to `delay`; gives the client's end and the gateway's.
    pub fn new(seed: u64, delay: Duration) -> (Self, CableEnd, CableEnd) {
        let shared = Arc::new(Mutex::new(Shared {
            to_gateway: Way::new(),
            to_client: Way::new(),
            random: fastrand::Rng::with_seed(seed),
            delay,
            loss: 0,
            frames: Frames::default(),
        }));
        let client = CableEnd::new(&shared, Lane::ToClient);
        let gateway = CableEnd::new(&shared, Lane::ToGateway);
        (Self { shared }, client, gateway)
    }

    /// Loses what is on the way; both ends see a reset.
    pub fn cut(&self) {
        let mut shared = self.shared.lock();
        for way in [Lane::ToGateway, Lane::ToClient] {
            shared.way(way).cut();
        }
    }

    /// Holds back what travels in a direction; it arrives afterwards, in order.
    pub fn stall(&self, lane: Lane, time: Duration) {
        let mut shared = self.shared.lock();
        let way = shared.way(lane);
        way.stalled = way.stalled.max(Instant::now() + time);
        way.wake();
    }

    /// From now on nothing arrives anywhere, and nobody is told: a peer that lost its power.
    pub fn half_open(&self) {
        self.stall(Lane::ToGateway, FOREVER);
        self.stall(Lane::ToClient, FOREVER);
    }

    /// Makes the gateway one that loses a share of its events (`state_changed`), in a hundred; its ids
    /// show the gaps. For the wire encoding `plain` alone: in others nothing is recognised.
    pub fn lose(&self, share: u32) {
        self.shared.lock().loss = share;
    }

    /// Returns how many events were lost.
    pub fn lost(&self) -> u64 {
        self.shared.lock().frames.dropped
    }

    /// Returns for how long the client has heard nothing, if it still listens.
    pub fn client_silence(&self) -> Option<Duration> {
        self.shared.lock().to_client.silence()
    }

    /// Returns for how long the gateway has heard nothing, if it still listens.
    pub fn gateway_silence(&self) -> Option<Duration> {
        self.shared.lock().to_gateway.silence()
    }
}

impl Shared {
    fn way(&mut self, lane: Lane) -> &mut Way {
        match lane {
            Lane::ToGateway => &mut self.to_gateway,
            Lane::ToClient => &mut self.to_client,
        }
    }

    /// Puts bytes on the way, as far as there is room; returns how many.
    fn send(&mut self, lane: Lane, bytes: &[u8]) -> usize {
        let room = CAPACITY.saturating_sub(self.way(lane).bytes);
        let taken = bytes.len().min(room);
        let mut rest = bytes.get(..taken).unwrap_or(bytes).to_vec();
        if lane == Lane::ToClient {
            let (loss, random) = (self.loss, &mut self.random);
            rest = self.frames.filter(&rest, || loss > random.u32(0..100));
        }
        while !rest.is_empty() {
            let size = match self.random.u32(0..4) {
                0 => self.random.usize(1..=rest.len().min(200)),
                _ => rest.len().min(PIECE),
            };
            let after = rest.split_off(size);
            let delay = self.delay.mul_f64(self.random.f64());
            self.way(lane)
                .push(delay, std::mem::replace(&mut rest, after));
        }
        taken
    }
}

impl Way {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            pieces: VecDeque::new(),
            bytes: 0,
            stalled: now,
            end: None,
            cut: false,
            deserted: false,
            last: now,
            heard: now,
            reader: None,
            writer: None,
        }
    }

    fn push(&mut self, delay: Duration, piece: Vec<u8>) {
        self.last = self.last.max(Instant::now() + delay);
        self.bytes += piece.len();
        self.pieces.push_back((self.last, piece));
    }

    fn cut(&mut self) {
        self.cut = true;
        self.pieces.clear();
        self.bytes = 0;
        self.wake();
    }

    fn silence(&self) -> Option<Duration> {
        (!self.deserted && !self.cut).then(|| self.heard.elapsed())
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

impl CableEnd {
    fn new(shared: &Arc<Mutex<Shared>>, reads: Lane) -> Self {
        Self {
            shared: Arc::clone(shared),
            reads,
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    fn writes(&self) -> Lane {
        match self.reads {
            Lane::ToGateway => Lane::ToClient,
            Lane::ToClient => Lane::ToGateway,
        }
    }
}

impl AsyncRead for CableEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let mut shared = this.shared.lock();
            let way = shared.way(this.reads);
            if way.cut {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let due = match way.pieces.front() {
                Some((due, _)) => Some(*due),
                None => way.end,
            };
            let due = due.map(|due| due.max(way.stalled));
            let now = Instant::now();
            if due.is_none_or(|due| due > now) {
                way.reader = Some(cx.waker().clone());
                drop(shared);
                let Some(due) = due else {
                    return Poll::Pending;
                };
                this.timer.as_mut().reset(due);
                std::task::ready!(this.timer.as_mut().poll(cx));
                continue;
            }
            way.heard = now;
            let Some((due, mut piece)) = way.pieces.pop_front() else {
                return Poll::Ready(Ok(()));
            };
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            way.bytes -= piece.len();
            if !rest.is_empty() {
                way.pieces.push_front((due, rest));
            }
            if let Some(writer) = way.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for CableEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let lane = self.writes();
        let mut shared = self.shared.lock();
        let way = shared.way(lane);
        if way.cut || way.deserted || way.end.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if way.bytes >= CAPACITY {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = shared.send(lane, bytes);
        if let Some(reader) = shared.way(lane).reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let lane = self.writes();
        let mut shared = self.shared.lock();
        let way = shared.way(lane);
        way.end.get_or_insert(way.last);
        way.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for CableEnd {
    /// What was written still arrives, and then the end; what was not read is lost.
    fn drop(&mut self) {
        let (reads, writes) = (self.reads, self.writes());
        let mut shared = self.shared.lock();
        let way = shared.way(writes);
        way.end.get_or_insert(way.last);
        way.wake();
        let way = shared.way(reads);
        way.deserted = true;
        way.pieces.clear();
        way.bytes = 0;
        way.wake();
    }
}
