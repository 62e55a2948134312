//! A session with a gateway: challenge, proof, requests, events, pings, each by itself.
//!
//! Input are the frames of `line` and a key; output are messages for `doctor`, `explore`,
//! `conformance` and `record`. What a message means is read by the protocol crate; only the text of
//! requests that break a rule on purpose is made by the callers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::crypto::{Decryptor, Encryptor, Nonce};
use hearthgate_protocol::error::FrameFault;
use hearthgate_protocol::handshake::{ExpectAuthOk, ExpectAuthRequired, HandshakeFault};
use hearthgate_protocol::variants::{Padding, Variants, Wire};
use hearthgate_protocol::websocket::Opcode;
use hearthgate_protocol::wire::{
    Event, EventKind, FromGateway, RemoteError, Request, decode_from_gateway, write_request,
};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::key::Key;
use crate::line::{Fault, Frame, Line, write_frame};

/// The most events that are kept; what follows is counted.
const EVENTS_MAX: usize = 1024;

/// The first message of a gateway, as it came.
#[derive(Clone, Debug)]
pub(crate) struct First {
    pub(crate) text: bool,
    pub(crate) payload: Vec<u8>,
}

impl First {
    /// Tells the wire encoding (section 3).
    pub(crate) fn wire(&self) -> Wire {
        let mut bytes = self.payload.iter();
        match (self.text, bytes.find(|byte| !byte.is_ascii_whitespace())) {
            (false, _) => Wire::Binary,
            (true, Some(b'{')) => Wire::Plain,
            (true, _) => Wire::Base64,
        }
    }

    /// Takes it apart under a key: the JSON of `auth_required`, if that is what it is.
    pub(crate) fn challenge(&self, key: &Key, padding: Padding) -> Result<Challenge, NoChallenge> {
        let decryptor = Decryptor::new(&key.bytes, padding);
        let json = open(self.wire(), &decryptor, self.text, self.payload.clone())?;
        // Whoever reads it with the handshake's own state finds what is wrong with it.
        let mut probe = Vec::new();
        ExpectAuthRequired::start(Nonce::new(random()?)).handle(
            &json,
            &key.device,
            Variants::default(),
            &mut probe,
        )?;
        let nonce = nonce_of(&json).ok_or(HandshakeFault::BadNonce)?;
        Ok(Challenge { json, nonce })
    }
}

/// Why a first message is no challenge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoChallenge {
    #[error("{0}")]
    Frame(#[from] FrameFault),
    #[error("{0}")]
    Message(#[from] HandshakeFault),
    #[error("{0}")]
    Fault(#[from] Fault),
}

/// What a gateway asks for.
#[derive(Clone)]
pub(crate) struct Challenge {
    json: Vec<u8>,
    pub(crate) nonce: [u8; 16],
}

/// How to answer it.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) key: Key,
    pub(crate) wire: Wire,
    pub(crate) variants: Variants,
}

/// Our answer, before it is sent.
pub(crate) struct Answer {
    /// The text of `auth`.
    pub(crate) json: Vec<u8>,
    pub(crate) nonce: [u8; 16],
    expected: ExpectAuthOk,
    session_key: Zeroizing<[u8; 16]>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSession {
    /// The gateway hung up on our proof.
    #[error("{0}")]
    Refused(Fault),
    /// Its proof, or the message that should hold it, is wrong.
    #[error("{fault}")]
    WrongProof {
        fault: HandshakeFault,
        /// The text of its message and the nonce that it should prove.
        json: Vec<u8>,
        nonce: [u8; 16],
    },
    #[error("{0}")]
    Fault(#[from] Fault),
}

impl Answer {
    /// Returns the key of everything that follows.
    pub(crate) fn session_key(&self) -> &[u8; 16] {
        &self.session_key
    }
}

impl Terms {
    /// Makes our answer to a challenge.
    pub(crate) fn answer(&self, challenge: &Challenge) -> Result<Answer, Fault> {
        let nonce = random()?;
        let mut json = Vec::new();
        let expected = ExpectAuthRequired::start(Nonce::new(nonce))
            .handle(&challenge.json, &self.key.device, self.variants, &mut json)
            .map_err(|fault| Fault::Message(fault.to_string()))?;
        let mut session_key = Zeroizing::new(challenge.nonce);
        for (byte, ours) in session_key.iter_mut().zip(nonce) {
            *byte ^= ours;
        }
        Ok(Answer {
            json,
            nonce,
            expected,
            session_key,
        })
    }

    /// Encrypts a message under a key and makes it a frame.
    pub(crate) fn seal(&self, key: &[u8; 16], json: &[u8]) -> (Opcode, Vec<u8>) {
        seal(
            self.wire,
            &Encryptor::new(key, self.variants.padding),
            json.to_vec(),
        )
    }
}

/// Waits for the first message.
pub(crate) async fn first_message(line: &mut Line, deadline: Instant) -> Result<First, Fault> {
    loop {
        if let Frame::Message { text, payload } = line.next(deadline).await? {
            line.log().received("first message", payload.len());
            return Ok(First { text, payload });
        }
    }
}

/// Answers a challenge and checks the gateway's own proof.
pub(crate) async fn prove(
    mut line: Line,
    challenge: &Challenge,
    terms: &Terms,
    deadline: Instant,
) -> Result<Session, NoSession> {
    let answer = terms.answer(challenge)?;
    let (opcode, payload) = terms.seal(&terms.key.bytes, &answer.json);
    line.log().sent("auth", answer.json.len());
    line.send(true, opcode, payload, deadline).await?;
    complete(line, answer, terms, deadline).await
}

/// Waits for `auth_ok`.
pub(crate) async fn complete(
    mut line: Line,
    answer: Answer,
    terms: &Terms,
    deadline: Instant,
) -> Result<Session, NoSession> {
    let (text, payload) = loop {
        match line.next(deadline).await {
            Ok(Frame::Message { text, payload }) => break (text, payload),
            Ok(Frame::Pong) => {}
            Err(fault @ (Fault::Closed { .. } | Fault::Lost)) => {
                return Err(NoSession::Refused(fault));
            }
            Err(fault) => return Err(fault.into()),
        }
    };
    let decryptor = Decryptor::new(&terms.key.bytes, terms.variants.padding);
    let size = payload.len();
    let json = open(terms.wire, &decryptor, text, payload).map_err(|fault| {
        line.log().received("a message that does not decrypt", size);
        Fault::Frame(fault)
    })?;
    line.log().received("auth_ok", json.len());
    let device = &terms.key.device;
    if let Err(fault) = answer.expected.handle(&json, device, terms.variants) {
        let nonce = answer.nonce;
        return Err(NoSession::WrongProof { fault, json, nonce });
    }
    line.raise_limit();
    Ok(Session {
        line,
        wire: terms.wire,
        encryptor: Encryptor::new(&answer.session_key, terms.variants.padding),
        decryptor: Decryptor::new(&answer.session_key, terms.variants.padding),
        next_id: 1,
        events: Vec::new(),
        tap: None,
    })
}

/// Makes a session of the older dialect of a WebSocket that an access token has opened.
pub(crate) fn without_handshake(mut line: Line) -> Session {
    line.raise_limit();
    Session {
        line,
        wire: Wire::Plain,
        encryptor: Encryptor::new(&[0; 16], Padding::default()),
        decryptor: Decryptor::new(&[0; 16], Padding::default()),
        next_id: 1,
        events: Vec::new(),
        tap: None,
    }
}

/// What came after the handshake.
#[derive(Debug)]
pub(crate) enum Incoming {
    Reply {
        id: i64,
        outcome: Result<String, RemoteError>,
    },
    Event {
        event: Event,
        json: Vec<u8>,
    },
    Pong,
    /// Something that means nothing to us.
    Other,
}

/// Sees the text of every message after the handshake: whether we sent it, and the JSON.
pub(crate) type Tap = Box<dyn FnMut(bool, &[u8]) + Send + Sync>;

/// An authenticated connection.
pub(crate) struct Session {
    pub(crate) line: Line,
    wire: Wire,
    encryptor: Encryptor,
    decryptor: Decryptor,
    next_id: i64,
    /// The events that came while something else was waited for, with their texts.
    pub(crate) events: Vec<(Event, Vec<u8>)>,
    pub(crate) tap: Option<Tap>,
}

impl Session {
    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(
        &mut self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Result<String, RemoteError>, Fault> {
        let id = self.take_id();
        let mut json = Vec::new();
        write_request(&mut json, id, request);
        self.send_json(request.name(), &json, deadline).await?;
        self.reply(id, deadline).await
    }

    /// Waits for the answer of this id; others are passed over.
    pub(crate) async fn reply(
        &mut self,
        wanted: i64,
        deadline: Instant,
    ) -> Result<Result<String, RemoteError>, Fault> {
        loop {
            match self.next(deadline).await? {
                Incoming::Reply { id, outcome } if id == wanted => return Ok(outcome),
                incoming => self.keep(incoming),
            }
        }
    }

    /// Sends a ping and does not wait.
    pub(crate) async fn send_ping(&mut self, deadline: Instant) -> Result<(), Fault> {
        self.line.log().sent("ping", 4);
        let content = b"ping".to_vec();
        self.line.send(true, Opcode::Ping, content, deadline).await
    }

    /// Sends a ping and waits for a pong; returns how long that took.
    pub(crate) async fn ping(&mut self, deadline: Instant) -> Result<Duration, Fault> {
        let started = Instant::now();
        self.send_ping(deadline).await?;
        loop {
            match self.next(deadline).await? {
                Incoming::Pong => return Ok(started.elapsed()),
                incoming => self.keep(incoming),
            }
        }
    }

    /// Encrypts a message and sends it as one frame.
    pub(crate) async fn send_json(
        &mut self,
        what: &str,
        json: &[u8],
        deadline: Instant,
    ) -> Result<(), Fault> {
        let (opcode, payload) = self.seal(json);
        self.line.log().sent(what, json.len());
        if let Some(tap) = &mut self.tap {
            tap(true, json);
        }
        self.line.send(true, opcode, payload, deadline).await
    }

    /// Encrypts messages and sends all of them with one write.
    pub(crate) async fn send_batch(
        &mut self,
        what: &str,
        messages: &[Vec<u8>],
        deadline: Instant,
    ) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        for json in messages {
            let (opcode, payload) = self.seal(json);
            self.line.log().sent(what, json.len());
            write_frame(&mut bytes, true, opcode, payload)?;
        }
        self.line.send_bytes(&bytes, deadline).await
    }

    /// Encrypts a message; gives the kind of its frame and the payload.
    pub(crate) fn seal(&self, json: &[u8]) -> (Opcode, Vec<u8>) {
        seal(self.wire, &self.encryptor, json.to_vec())
    }

    pub(crate) fn take_id(&mut self) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Returns whatever comes next.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<Incoming, Fault> {
        let (text, payload) = match self.line.next(deadline).await? {
            Frame::Message { text, payload } => (text, payload),
            Frame::Pong => return Ok(Incoming::Pong),
        };
        let size = payload.len();
        let json = open(self.wire, &self.decryptor, text, payload).inspect_err(|_| {
            self.line
                .log()
                .received("a message that does not decrypt", size);
        })?;
        if let Some(tap) = &mut self.tap {
            tap(false, &json);
        }
        let (message, _) = decode_from_gateway(&json).map_err(Fault::Message)?;
        let log = self.line.log();
        Ok(match message {
            FromGateway::Reply { id, outcome } => {
                match &outcome {
                    Ok(_) => log.received("result", json.len()),
                    Err(error) => log.received(&format!("error {}", error.code), json.len()),
                }
                Incoming::Reply { id, outcome }
            }
            FromGateway::Event(event) => {
                log.received(event_name(&event.kind), json.len());
                Incoming::Event { event, json }
            }
            FromGateway::Request { .. } | FromGateway::Ignored { .. } => {
                log.received("something else", json.len());
                Incoming::Other
            }
        })
    }

    /// Remembers an event for later.
    pub(crate) fn keep(&mut self, incoming: Incoming) {
        if let Incoming::Event { event, json } = incoming
            && self.events.len() < EVENTS_MAX
        {
            self.events.push((event, json));
        }
    }
}

/// Names an event as it is on the wire.
pub(crate) fn event_name(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::RegistryUpdated { .. } => "registry_updated",
        EventKind::OnlineUpdated { .. } => "online_updated",
        EventKind::StateChanged { .. } => "state_changed",
        EventKind::Other { .. } => "an event that is not understood",
    }
}

/// Reads the base64 text of a field of a handshake message's `data`.
pub(crate) fn handshake_field(json: &[u8], field: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_slice(json).ok()?;
    let text = message.get("data")?.get(field)?.as_str()?;
    Some(text.to_owned())
}

fn nonce_of(json: &[u8]) -> Option<[u8; 16]> {
    let text = handshake_field(json, "nonce")?;
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Takes a message apart: kind, base64, cipher, padding.
fn open(
    wire: Wire,
    decryptor: &Decryptor,
    text: bool,
    mut payload: Vec<u8>,
) -> Result<Vec<u8>, FrameFault> {
    if text == (wire == Wire::Binary) {
        let got = if text { "text" } else { "binary" };
        return Err(FrameFault::WrongKind { got, wire });
    }
    match wire {
        Wire::Plain => Ok(payload),
        Wire::Binary => Ok(decryptor.decrypt(&mut payload)?.to_vec()),
        Wire::Base64 => {
            let mut cipher = STANDARD.decode(&payload).map_err(|_| FrameFault::Base64)?;
            Ok(decryptor.decrypt(&mut cipher)?.to_vec())
        }
    }
}

fn seal(wire: Wire, encryptor: &Encryptor, mut json: Vec<u8>) -> (Opcode, Vec<u8>) {
    if wire == Wire::Plain {
        return (Opcode::Text, json);
    }
    encryptor.encrypt_tail(&mut json, 0);
    match wire {
        Wire::Base64 => (Opcode::Text, STANDARD.encode(json).into_bytes()),
        _ => (Opcode::Binary, json),
    }
}

fn random() -> Result<[u8; 16], Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Fault::NoRandomness)?;
    Ok(bytes)
}
