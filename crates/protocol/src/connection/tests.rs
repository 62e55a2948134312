//! Each role against a peer made by hand, which can say what our own ends never would.

mod client;
mod gateway;
mod older;

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::{Decryptor, DeviceKey, Encryptor, Nonce, SessionKey, prove};
use crate::variants::{Padding, Variants, Wire};
use crate::websocket::{Framer, Item, Opcode, write_frame};
use crate::wire::{write_auth, write_auth_ok, write_auth_required};

const KEY: [u8; 16] = *b"k9Xq2mPz7LwT4vRb";
const NONCE_S: [u8; 16] = [1; 16];
const NONCE_C: [u8; 16] = [2; 16];

fn key() -> DeviceKey {
    DeviceKey::from_bytes(KEY)
}

fn session_key() -> [u8; 16] {
    let session = SessionKey::derive(&Nonce::new(NONCE_S), &Nonce::new(NONCE_C)).unwrap();
    *session.bytes()
}

#[expect(clippy::disallowed_methods, reason = "the start of virtual time")]
fn start() -> Instant {
    Instant::now()
}

fn auth_required() -> Vec<u8> {
    let mut json = Vec::new();
    write_auth_required(&mut json, &Nonce::new(NONCE_S).to_base64());
    json
}

fn auth() -> Vec<u8> {
    let proof = prove(&key(), &Nonce::new(NONCE_S), Variants::default());
    let mut json = Vec::new();
    write_auth(
        &mut json,
        &Nonce::new(NONCE_C).to_base64(),
        &proof.to_base64(),
    );
    json
}

fn auth_ok() -> Vec<u8> {
    let proof = prove(&key(), &Nonce::new(NONCE_C), Variants::default());
    let mut json = Vec::new();
    write_auth_ok(&mut json, &proof.to_base64());
    json
}

/// The other end, which can say anything.
struct Peer {
    key: [u8; 16],
    wire: Wire,
    mask: Option<[u8; 4]>,
    framer: Framer,
}

impl Peer {
    fn client(wire: Wire) -> Self {
        Self {
            key: KEY,
            wire,
            mask: Some([5, 6, 7, 8]),
            framer: Framer::new(false, 1 << 27),
        }
    }

    fn gateway(wire: Wire) -> Self {
        Self {
            mask: None,
            framer: Framer::new(true, 1 << 27),
            ..Self::client(wire)
        }
    }

    fn under(mut self, key: [u8; 16]) -> Self {
        self.key = key;
        self
    }

    /// Makes a frame of a message, encrypted as the wire encoding asks.
    fn seal(&self, json: impl AsRef<[u8]>) -> Vec<u8> {
        let mut cipher = json.as_ref().to_vec();
        if self.wire == Wire::Plain {
            return self.frame(Opcode::Text, &cipher);
        }
        Encryptor::new(&self.key, Padding::Pkcs7).encrypt_tail(&mut cipher, 0);
        match self.wire {
            Wire::Base64 => self.frame(Opcode::Text, STANDARD.encode(cipher).as_bytes()),
            _ => self.frame(Opcode::Binary, &cipher),
        }
    }

    fn frame(&self, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_frame(&mut out, opcode, payload, self.mask);
        out
    }

    /// Takes frames apart: messages as their text, control frames by name.
    fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        self.framer.push(bytes);
        let mut seen = Vec::new();
        while let Some(item) = self.framer.next_item().unwrap() {
            seen.push(match item {
                Item::Message { text, payload } => {
                    assert_eq!(text, self.wire != Wire::Binary);
                    open(self.wire, &self.key, payload)
                }
                Item::Ping(content) => format!("ping {}", String::from_utf8_lossy(&content)),
                Item::Pong => "pong".to_owned(),
                Item::Close { code, reason } => {
                    format!("close {} {reason}", code.unwrap_or_default())
                }
            });
        }
        seen
    }
}

fn open(wire: Wire, key: &[u8; 16], payload: &[u8]) -> String {
    let mut cipher = match wire {
        Wire::Plain => return String::from_utf8(payload.to_vec()).unwrap(),
        Wire::Base64 => STANDARD.decode(payload).unwrap(),
        Wire::Binary => payload.to_vec(),
    };
    match Decryptor::new(key, Padding::Pkcs7).decrypt(&mut cipher) {
        Ok(plain) => String::from_utf8_lossy(plain).into_owned(),
        Err(error) => error.to_string(),
    }
}
