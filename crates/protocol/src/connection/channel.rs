//! What both roles share: buffers, framing, wire encoding, cipher, keep-alive.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::{Decryptor, Encryptor};
use crate::error::FrameFault;
use crate::limits::{KEEPALIVE_DEAD, KEEPALIVE_PING};
use crate::variants::{Padding, Wire};
use crate::websocket::{Framer, Opcode, close, mask_tail, write_frame, write_header};

/// Room for padding, above a limit that counts JSON.
const PADDING_ROOM: usize = 16;
/// Output behind which a peer that does not read gets no more answers to what it keeps sending.
const ANSWERS_BEHIND: usize = 64 * 1024;
/// Capacity that a drained output buffer may keep.
const KEEP: usize = 4 * 1024;

/// Both directions of an upgraded connection.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) framer: Framer,
    wire: Wire,
    padding: Padding,
    limit: usize,
    encryptor: Encryptor,
    decryptor: Decryptor,
    /// A client's; boxed, since a gateway has many connections and no masks.
    masks: Option<Box<Masks>>,
    out: Vec<u8>,
    sent: usize,
    /// Whether `out` is the caller's, who gets it back by [`Channel::swap_buffer`].
    lent: bool,
    /// The latest ping whose answer waits until output has been written.
    owed_pong: Option<Vec<u8>>,
    closed: bool,
}

impl Channel {
    /// Makes a channel under one key for both directions. A client gives the seed of its masks.
    pub(super) fn new(
        key: &[u8; 16],
        padding: Padding,
        wire: Wire,
        limit: usize,
        mask_seed: Option<[u8; 16]>,
    ) -> Self {
        let expect_masked = mask_seed.is_none();
        let mut channel = Self {
            framer: Framer::new(expect_masked, 0),
            wire,
            padding,
            limit,
            encryptor: Encryptor::new(key, padding),
            decryptor: Decryptor::new(key, padding),
            masks: mask_seed.map(|seed| Box::new(Masks::new(seed))),
            out: Vec::new(),
            sent: 0,
            lent: false,
            owed_pong: None,
            closed: false,
        };
        channel.set_limit(limit);
        channel
    }

    /// Sets the largest message that is taken, in bytes of JSON.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        // Base64 of the padded ciphertext is the longest way to travel.
        self.framer
            .set_limit((limit + PADDING_ROOM).div_ceil(3) * 4);
    }

    pub(super) fn set_wire(&mut self, wire: Wire) {
        self.wire = wire;
    }

    pub(super) fn wire(&self) -> Wire {
        self.wire
    }

    pub(super) fn set_outgoing_key(&mut self, key: &[u8; 16]) {
        self.encryptor = Encryptor::new(key, self.padding);
    }

    pub(super) fn set_incoming_key(&mut self, key: &[u8; 16]) {
        self.decryptor = Decryptor::new(key, self.padding);
    }

    /// Encrypts one message and queues it as one frame.
    pub(super) fn send(&mut self, json: &[u8]) {
        if self.closed {
            return;
        }
        let mask = self.masks.as_mut().map(|masks| masks.next());
        match self.wire {
            Wire::Plain => write_frame(&mut self.out, Opcode::Text, json, mask),
            Wire::Binary => {
                let length = self.encryptor.encrypted_len(json.len());
                write_header(&mut self.out, Opcode::Binary, length, mask);
                let start = self.out.len();
                self.out.extend_from_slice(json);
                self.encryptor.encrypt_tail(&mut self.out, start);
                mask_tail(&mut self.out, start, mask);
            }
            Wire::Base64 => {
                let length = self.encryptor.encrypted_len(json.len()).div_ceil(3) * 4;
                write_header(&mut self.out, Opcode::Text, length, mask);
                let start = self.out.len();
                // The ciphertext is made behind the place of its base64, which needs no other buffer.
                let end = start + length;
                self.out.resize(end, 0);
                self.out.extend_from_slice(json);
                self.encryptor.encrypt_tail(&mut self.out, end);
                let (front, cipher) = self.out.split_at_mut(end);
                let place = front.get_mut(start..).unwrap_or_default();
                // The place is exactly as long as the text.
                let _ = STANDARD.encode_slice(cipher, place);
                self.out.truncate(end);
                mask_tail(&mut self.out, start, mask);
            }
        }
    }

    /// Tells whether the peer leaves so much unread that it gets no more answers for now.
    pub(super) fn is_behind(&self) -> bool {
        self.output().len() > ANSWERS_BEHIND
    }

    /// Answers a ping; of several to a peer that does not read the latest (RFC 6455 section 5.5.3).
    pub(super) fn answer_ping(&mut self, content: Vec<u8>) {
        if self.is_behind() {
            self.owed_pong = Some(content);
        } else {
            self.send_control(Opcode::Pong, &content);
        }
    }

    fn pay_pong(&mut self) {
        if let Some(content) = self.owed_pong.take() {
            self.send_control(Opcode::Pong, &content);
        }
    }

    /// Queues a ping, or the answer to one.
    pub(super) fn send_control(&mut self, opcode: Opcode, payload: &[u8]) {
        if !self.closed {
            let mask = self.masks.as_mut().map(|masks| masks.next());
            write_frame(&mut self.out, opcode, payload, mask);
        }
    }

    /// Queues a close frame; nothing can follow it.
    pub(super) fn send_close(&mut self, code: Option<u16>, reason: &str) {
        // A control frame carries 125 bytes, two of them the code.
        const REASON_MAX: usize = 123;
        let mut payload = code
            .map(u16::to_be_bytes)
            .map(Vec::from)
            .unwrap_or_default();
        let end = (0..=reason.len().min(REASON_MAX))
            .rev()
            .find(|end| reason.is_char_boundary(*end));
        payload.extend_from_slice(
            reason
                .get(..end.unwrap_or(0))
                .unwrap_or_default()
                .as_bytes(),
        );
        self.send_control(Opcode::Close, &payload);
        self.closed = true;
    }

    /// Answers the peer's close with its own code, if that may travel (RFC 6455 section 7.4).
    pub(super) fn answer_close(&mut self, code: Option<u16>) {
        let code = code.map(|code| match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => code,
            _ => close::PROTOCOL_ERROR,
        });
        self.send_close(code, "");
    }

    /// Gives the next item of the incoming stream together with what takes it apart.
    pub(super) fn split(&mut self) -> (&mut Framer, Opener<'_>) {
        (
            &mut self.framer,
            Opener {
                wire: self.wire,
                decryptor: &self.decryptor,
                limit: self.limit,
            },
        )
    }

    pub(super) fn raw_out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub(super) fn output(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    pub(super) fn advance_output(&mut self, written: usize) {
        self.sent = (self.sent + written).min(self.out.len());
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
            if self.out.capacity() > KEEP && !self.lent {
                self.out = Vec::new();
            }
            self.pay_pong();
        }
    }

    /// Takes the whole output.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        self.pay_pong();
        self.swap_buffer(Vec::new());
        std::mem::take(&mut self.out)
    }

    /// Replaces the buffer for output, keeping what is not written yet, and returns the old one:
    /// callers with many connections share one buffer instead of keeping memory in each.
    pub(super) fn swap_buffer(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        self.lent = buffer.capacity() > 0;
        let mut old = std::mem::replace(&mut self.out, buffer);
        self.out.clear();
        self.out
            .extend_from_slice(old.get(self.sent..).unwrap_or_default());
        self.sent = 0;
        old.clear();
        old
    }
}

/// What takes a message apart, borrowed beside the framer.
pub(super) struct Opener<'a> {
    wire: Wire,
    decryptor: &'a Decryptor,
    limit: usize,
}

impl Opener<'_> {
    /// Takes messages apart by another wire encoding than the channel's.
    pub(super) fn set_wire(&mut self, wire: Wire) {
        self.wire = wire;
    }

    /// Takes a message apart, in place: kind, base64, cipher, padding, size.
    pub(super) fn open<'a>(
        &self,
        text: bool,
        payload: &'a mut [u8],
    ) -> Result<&'a mut [u8], FrameFault> {
        let got = if text { "text" } else { "binary" };
        if text == (self.wire == Wire::Binary) {
            return Err(FrameFault::WrongKind {
                got,
                wire: self.wire,
            });
        }
        let plain = match self.wire {
            Wire::Plain => payload,
            Wire::Binary => self.decryptor.decrypt(payload)?,
            Wire::Base64 => {
                let cipher = STANDARD.decode(&*payload).map_err(|_| FrameFault::Base64)?;
                let length = cipher.len();
                let room = payload.get_mut(..length).ok_or(FrameFault::Base64)?;
                room.copy_from_slice(&cipher);
                self.decryptor.decrypt(room)?
            }
        };
        if plain.len() > self.limit {
            return Err(FrameFault::TooLarge {
                size: plain.len(),
                limit: self.limit,
            });
        }
        Ok(plain)
    }
}

/// Unpredictable masks (RFC 6455 section 10.3) from one seed, by AES in counter mode.
#[derive(Debug)]
struct Masks {
    cipher: Encryptor,
    counter: u64,
}

impl Masks {
    fn new(seed: [u8; 16]) -> Self {
        Self {
            cipher: Encryptor::new(&seed, Padding::Zero),
            counter: 0,
        }
    }

    fn next(&mut self) -> [u8; 4] {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&self.counter.to_be_bytes());
        self.counter += 1;
        let [a, b, c, d, ..] = self.cipher.block(block);
        [a, b, c, d]
    }
}

/// The timers of silence (section 3): one ping after 15 s, and each 15 s more; the end after 45 s.
#[derive(Debug)]
pub(super) struct Silence {
    heard: Instant,
    pinged: Instant,
}

/// What silence asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    End,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            heard: now,
            pinged: now,
        }
    }

    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = now;
    }

    pub(super) fn deadline(&self) -> Instant {
        (self.pinged + KEEPALIVE_PING).min(self.heard + KEEPALIVE_DEAD)
    }

    pub(super) fn lasts(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    pub(super) fn due(&mut self, now: Instant) -> Due {
        if self.lasts(now) >= KEEPALIVE_DEAD {
            Due::End
        } else if now >= self.pinged + KEEPALIVE_PING {
            self.pinged = now;
            Due::Ping
        } else {
            Due::Nothing
        }
    }
}
