//! Hears what the end under test sends, and knows what it may send.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::crypto::Decryptor;
use hearthgate_protocol::variants::{Padding, Wire};
use hearthgate_protocol::websocket::{Header, Opcode};

/// Reads the output of one end.
pub(super) struct Listener {
    /// Whether a client speaks, whose frames are masked.
    client: bool,
    padding: Padding,
    device_key: [u8; 16],
    session_key: [u8; 16],
    buffer: Vec<u8>,
    /// Whether the HTTP head is behind us, and frames follow it.
    frames: Option<bool>,
    closed: bool,
    /// Data frames so far.
    pub(super) data: usize,
    /// The next messages that must come, in order.
    pub(super) expected: VecDeque<Vec<u8>>,
    /// The contents of pings that wait for their pong.
    pub(super) pings: Vec<Vec<u8>>,
    /// Whether the peer kept to the protocol until the authentication, so that the keys are known.
    pub(super) exact: bool,
    /// Whether it has kept to the protocol all the time.
    pub(super) clean: bool,
    /// The close code and reason that it sent.
    pub(super) close: Option<(Option<u16>, String)>,
}

impl Listener {
    pub(super) fn new(
        client: bool,
        padding: Padding,
        device_key: [u8; 16],
        session_key: [u8; 16],
    ) -> Self {
        Self {
            client,
            padding,
            device_key,
            session_key,
            buffer: Vec::new(),
            frames: None,
            closed: false,
            data: 0,
            expected: VecDeque::new(),
            pings: Vec::new(),
            exact: true,
            clean: true,
            close: None,
        }
    }

    /// Takes a part of the output.
    pub(super) fn hear(&mut self, bytes: &[u8], wire: Wire) {
        self.buffer.extend_from_slice(bytes);
        if self.frames.is_none() {
            let Some(end) = self.buffer.windows(4).position(|at| at == b"\r\n\r\n") else {
                assert!(self.buffer.len() < 1024, "an HTTP head without end");
                return;
            };
            let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
            self.frames = Some(if self.client {
                assert!(head.starts_with(b"GET / HTTP/1.1\r\n"));
                true
            } else {
                assert!(head.starts_with(b"HTTP/1.1 "));
                head.starts_with(b"HTTP/1.1 101 ")
            });
        }
        if self.frames == Some(false) {
            assert!(self.buffer.len() < 1024, "a refusal that goes on");
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        while let Some((header, size)) = Header::parse(rest).expect("our own frame") {
            let end = size + usize::try_from(header.payload).expect("a length in memory");
            let Some((frame, after)) = rest.split_at_checked(end) else {
                break;
            };
            rest = after;
            let mask = header.mask.unwrap_or_default();
            let masks = mask.iter().cycle();
            let payload: Vec<u8> = frame[size..]
                .iter()
                .zip(masks)
                .map(|(b, m)| b ^ m)
                .collect();
            self.frame(header, payload, wire);
        }
        self.buffer = rest.to_vec();
    }

    fn frame(&mut self, header: Header, payload: Vec<u8>, wire: Wire) {
        assert!(!self.closed, "a frame after the close");
        assert_eq!(
            header.mask.is_some(),
            self.client,
            "masked as it must not be"
        );
        assert!(header.fin, "a message in parts");
        match header.opcode {
            Opcode::Continuation => panic!("a part of nothing"),
            Opcode::Ping => assert!(payload.is_empty()),
            Opcode::Pong => {
                if self.clean {
                    let place = self.pings.iter().position(|ping| *ping == payload);
                    let place = place.expect("a pong to no ping");
                    // Of several pings the latest may be answered alone.
                    self.pings.drain(..=place);
                }
            }
            Opcode::Close => {
                self.closed = true;
                let code = payload
                    .first_chunk::<2>()
                    .map(|code| u16::from_be_bytes(*code));
                let reason = payload.get(2..).unwrap_or_default().to_vec();
                let reason = String::from_utf8(reason).expect("a reason that is text");
                assert!(
                    code.is_none_or(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)),
                    "a close code that must not travel: {code:?}"
                );
                self.close = Some((code, reason));
            }
            Opcode::Text | Opcode::Binary => {
                self.data += 1;
                let text = header.opcode == Opcode::Text;
                assert_eq!(text, wire != Wire::Binary, "another wire encoding");
                if self.exact {
                    self.message(payload, wire);
                }
            }
        }
    }

    fn message(&mut self, mut payload: Vec<u8>, wire: Wire) {
        // A gateway's `auth_required` and `auth_ok`, a client's `auth`.
        let in_handshake = self.data <= if self.client { 1 } else { 2 };
        let key = if in_handshake {
            &self.device_key
        } else {
            &self.session_key
        };
        if wire == Wire::Base64 {
            payload = STANDARD.decode(payload).expect("base64");
        }
        let json = if wire == Wire::Plain {
            &mut payload[..]
        } else {
            Decryptor::new(key, self.padding)
                .decrypt(&mut payload)
                .expect("our own ciphertext")
        };
        if self.expected.front().is_some_and(|next| next == json) {
            self.expected.pop_front();
            return;
        }
        let parsed: serde_json::Value = serde_json::from_slice(json).expect("a message in JSON");
        let refusal = self.client && !in_handshake && parsed["error"]["code"] == "unknown_type";
        let next = self
            .expected
            .front()
            .map(|next| String::from_utf8_lossy(next).into_owned());
        assert!(refusal, "unexpected message {parsed}, expected {next:?}");
    }

    /// Checks that nothing half was sent.
    pub(super) fn finish(&self, ended: bool) {
        if self.frames == Some(true) {
            assert!(self.buffer.is_empty(), "half a frame was sent");
        }
        assert!(!self.closed || ended, "closed and goes on");
    }
}
