//! A test tool: both ends of a connection in memory, with virtual time and a hostile link.
//!
//! A [`Pair`] owns a [`GatewayConnection`], a [`ClientConnection`] and the only clock that they see.
//! What one writes travels over a [`Link`] per direction, which splits, delays, stalls or cuts it,
//! the same way for the same seed. There is no socket, no thread and no sleep.
//!
//! ```
//! use hearthgate_protocol::connection::{ClientConfig, GatewayConfig};
//! use hearthgate_protocol::crypto::DeviceKey;
//! use hearthgate_protocol::pair::Pair;
//! use std::time::{Duration, Instant};
//!
//! let key = DeviceKey::from_bytes(*b"k9Xq2mPz7LwT4vRb");
//! # #[allow(clippy::disallowed_methods)]
//! let start = Instant::now();
//! let mut pair = Pair::new(GatewayConfig::new(key.clone()), ClientConfig::new(key, "x"), 1, start);
//! pair.to_gateway.delay = Duration::from_millis(30);
//! pair.to_gateway.split = true;
//! pair.run_for(Duration::from_secs(1));
//! assert!(pair.gateway.is_authenticated() && pair.client.is_authenticated());
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::{
    ClientConfig, ClientConnection, ClientEvent, GatewayConfig, GatewayConnection, GatewayEvent,
};
use crate::crypto::{ClientEntropy, Nonce};

/// Both ends of a connection in memory, with virtual time.
#[derive(Debug)]
pub struct Pair {
    /// The gateway's end.
    pub gateway: GatewayConnection,
    /// The client's end.
    pub client: ClientConnection,
    /// What the client writes.
    pub to_gateway: Link,
    /// What the gateway writes.
    pub to_client: Link,
    /// What the gateway's end has told since this was last emptied.
    pub gateway_events: Vec<GatewayEvent>,
    /// What the client's end has told since this was last emptied.
    pub client_events: Vec<ClientEvent>,
    /// Whether a failed authentication is rejected at once, as by a gateway without a throttle.
    pub reject_at_once: bool,
    now: Instant,
}

/// One direction of the way between the two ends: whole, at once and without limit unless told
/// otherwise.
#[derive(Debug)]
pub struct Link {
    /// The longest time that a piece takes; each takes a random part of it, the order stays.
    pub delay: Duration,
    /// Whether what is written arrives in random pieces.
    pub split: bool,
    /// Whether nothing moves: the receiver hears silence, the sender can still write.
    pub stalled: bool,
    /// How many bytes fit on the way before the sender has to keep its output.
    pub capacity: usize,
    random: Random,
    in_flight: VecDeque<(Instant, Piece)>,
    /// The bytes in `in_flight`.
    bytes: usize,
    cut: bool,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Eof,
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Eof => 0,
        }
    }
}

impl Pair {
    /// Starts both ends at `start`, connected, with nothing exchanged yet. The seed decides nonces,
    /// masks and all that the links do.
    pub fn new(gateway: GatewayConfig, client: ClientConfig, seed: u64, start: Instant) -> Self {
        let mut random = Random(seed);
        let entropy = ClientEntropy {
            nonce: random.bytes(),
            websocket_key: random.bytes(),
            mask_seed: random.bytes(),
        };
        let nonce = Nonce::new(random.bytes());
        Self {
            gateway: GatewayConnection::new(Arc::new(gateway), nonce, start),
            client: ClientConnection::new(client, entropy, start),
            to_gateway: Link::new(random.next()),
            to_client: Link::new(random.next()),
            gateway_events: Vec::new(),
            client_events: Vec::new(),
            reject_at_once: true,
            now: start,
        }
    }

    /// Returns the time, which passes only in [`Pair::run_for`].
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets time pass: moves bytes, wakes whoever has a deadline, collects events.
    ///
    /// # Panics
    /// Where an end asks for ever to be woken at a time that has passed.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        loop {
            self.exchange();
            let next = self.next_wake().filter(|next| *next <= end);
            let Some(next) = next else { break };
            wakes = if next > self.now { 0 } else { wakes + 1 };
            assert!(wakes < 1000, "an end is never content with being woken");
            self.now = self.now.max(next);
            self.gateway.handle_timeout(self.now);
            self.client.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Moves what can move without time passing, and collects events.
    pub fn exchange(&mut self) {
        loop {
            let mut moved = false;
            while let Some(event) = self.gateway.poll_event(self.now) {
                if self.reject_at_once && matches!(event, GatewayEvent::AuthenticationFailed(_)) {
                    self.gateway.reject();
                }
                self.gateway_events.push(event);
            }
            while let Some(event) = self.client.poll_event(self.now) {
                self.client_events.push(event);
            }
            let taken = self.to_client.take(self.now, self.gateway.output());
            self.gateway.advance_output(taken);
            moved |= taken > 0;
            let taken = self.to_gateway.take(self.now, self.client.output());
            self.client.advance_output(taken);
            moved |= taken > 0;
            if self.gateway.is_ended() && self.gateway.output().is_empty() {
                self.to_client.close(self.now);
            }
            if self.client.is_ended() && self.client.output().is_empty() {
                self.to_gateway.close(self.now);
            }
            match self.to_gateway.give(self.now) {
                Some(Piece::Bytes(bytes)) => self.gateway.handle_input(self.now, &bytes),
                Some(Piece::Eof) => self.gateway.handle_eof(),
                None => match self.to_client.give(self.now) {
                    Some(Piece::Bytes(bytes)) => self.client.handle_input(self.now, &bytes),
                    Some(Piece::Eof) => self.client.handle_eof(),
                    None if !moved => return,
                    None => {}
                },
            }
        }
    }

    /// Loses what is on the way and ends the stream in both directions.
    pub fn cut(&mut self) {
        self.to_gateway.cut(self.now);
        self.to_client.cut(self.now);
    }

    fn next_wake(&self) -> Option<Instant> {
        [
            self.gateway.poll_timeout(),
            self.client.poll_timeout(),
            self.to_gateway.next_arrival(),
            self.to_client.next_arrival(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Link {
    fn new(seed: u64) -> Self {
        Self {
            delay: Duration::ZERO,
            split: false,
            stalled: false,
            capacity: usize::MAX,
            random: Random(seed),
            in_flight: VecDeque::new(),
            bytes: 0,
            cut: false,
        }
    }

    /// Loses what is on the way and ends the stream of this direction.
    pub fn cut(&mut self, now: Instant) {
        self.in_flight.clear();
        self.bytes = 0;
        self.close(now);
    }

    /// Puts bytes on the way as if the sender had written them; they arrive like its own.
    pub fn inject(&mut self, now: Instant, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.cut {
            let size = if self.split {
                1 + self.random.below(rest.len().min(400))
            } else {
                rest.len()
            };
            let (piece, after) = rest.split_at(size.min(rest.len()));
            self.push(now, Piece::Bytes(piece.to_vec()));
            rest = after;
        }
    }

    /// Returns how many bytes are on the way.
    pub fn in_flight(&self) -> usize {
        self.bytes
    }

    fn take(&mut self, now: Instant, output: &[u8]) -> usize {
        let room = self.capacity.saturating_sub(self.in_flight());
        let bytes = output.get(..room).unwrap_or(output);
        self.inject(now, bytes);
        bytes.len()
    }

    fn close(&mut self, now: Instant) {
        if !self.cut {
            self.push(now, Piece::Eof);
            self.cut = true;
        }
    }

    fn push(&mut self, now: Instant, piece: Piece) {
        let delay = self.delay.mul_f64(self.random.below(1001) as f64 / 1000.0);
        self.bytes += piece.len();
        let last = self.in_flight.back().map_or(now, |(due, _)| *due);
        self.in_flight.push_back(((now + delay).max(last), piece));
    }

    fn give(&mut self, now: Instant) -> Option<Piece> {
        self.next_arrival().filter(|due| *due <= now)?;
        let (_, piece) = self.in_flight.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    fn next_arrival(&self) -> Option<Instant> {
        let (due, _) = self.in_flight.front()?;
        (!self.stalled).then_some(*due)
    }
}

/// SplitMix64: the same numbers for the same seed.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Returns a number below `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    fn bytes(&mut self) -> [u8; 16] {
        let (high, low) = (u128::from(self.next()), u128::from(self.next()));
        (high << 64 | low).to_be_bytes()
    }
}
