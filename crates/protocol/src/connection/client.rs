//! The client's end of a connection.

use std::time::Instant;

use super::HANDSHAKE_TIMED_OUT;
use super::channel::{Channel, Due, Silence};
use crate::crypto::{ClientEntropy, DeviceKey, Nonce, Token};
use crate::error::{Ended, HandshakeFailure, Refuser, framing_close_code};
use crate::handshake::{ExpectAuthOk, ExpectAuthRequired, HandshakeFault};
use crate::limits::{HANDSHAKE_TIMEOUT, MESSAGE_MAX_BEFORE_AUTH, MESSAGE_MAX_CLIENT};
use crate::variants::{Variants, Wire};
use crate::websocket::{ClientUpgrade, Item, Opcode, UpgradeError, close};
use crate::wire::{
    ErrorBody, ErrorCode, Event, EventKind, FromGateway, RemoteError, Request, decode_from_gateway,
    write_error, write_request,
};

/// By what right a client gets its session. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// The device key, by the handshake of section 4.
    Key(DeviceKey),
    /// The access token of the older dialect (section 8), which travels in the upgrade: no handshake and
    /// no encryption of our own follow.
    Token(Token),
}

impl From<DeviceKey> for Access {
    fn from(key: DeviceKey) -> Self {
        Self::Key(key)
    }
}

impl From<Token> for Access {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}

/// How a client talks to a gateway.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The device key, or an access token.
    pub access: Access,
    /// The gateway's address for the Host header.
    pub host: String,
    /// The path to ask for.
    pub path: String,
    /// The wire encoding; detected from the gateway's first message where there is none.
    pub wire: Option<Wire>,
    /// Whether a detected `plain` is accepted: from a loopback address only (section 3).
    pub accept_plain: bool,
    /// Open choices of the protocol.
    pub variants: Variants,
    /// Whether events bring their JSON text along.
    pub keep_json: bool,
    /// The largest message after `auth_ok`, in bytes of JSON.
    pub message_max: usize,
}

impl ClientConfig {
    /// Makes a configuration of defaults.
    pub fn new(access: impl Into<Access>, host: impl Into<String>) -> Self {
        Self {
            access: access.into(),
            host: host.into(),
            path: "/".to_owned(),
            wire: None,
            accept_plain: false,
            variants: Variants::default(),
            keep_json: false,
            message_max: MESSAGE_MAX_CLIENT,
        }
    }
}

/// What happened on a client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// Both sides have proven that they know the key. From here on requests may be sent.
    Authenticated,
    /// The answer to a request.
    Reply {
        /// The id of the request.
        id: i64,
        /// The JSON text of `result`, or the error.
        outcome: Result<String, RemoteError>,
    },
    /// An event.
    Event {
        /// What happened.
        event: Event,
        /// The message's JSON text as it came, if [`ClientConfig::keep_json`] is set.
        json: Option<String>,
    },
    /// Something that is ignored; told once per connection, for a line in the log.
    Oddity(String),
    /// The connection ended: flush the output, then close the socket.
    Ended(Ended),
}

#[derive(Debug)]
enum Phase {
    Upgrade(ClientUpgrade),
    ExpectAuthRequired(ExpectAuthRequired),
    ExpectAuthOk(ExpectAuthOk),
    Ready,
    Ended,
}

/// A client's connection to a gateway.
#[derive(Debug)]
pub struct ClientConnection {
    config: ClientConfig,
    phase: Phase,
    channel: Channel,
    nonce: Nonce,
    /// What the gateway called itself: a claim until it has proven that it knows the key.
    uuid: Option<Box<str>>,
    handshake_deadline: Instant,
    silence: Silence,
    /// An event that input or a timeout caused, to be polled.
    pending: Option<ClientEvent>,
    /// Whether something odd was told already: once of a connection is enough for the log.
    oddity_told: bool,
}

impl ClientConnection {
    /// Starts with an open TCP connection; `started` is when connecting began.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "random bytes are used up: no two connections share them"
    )]
    pub fn new(config: ClientConfig, entropy: ClientEntropy, started: Instant) -> Self {
        let (key, wire, token) = match &config.access {
            Access::Key(key) => (*key.bytes(), config.wire.unwrap_or_default(), None),
            // Never used: nothing is encrypted.
            Access::Token(token) => ([0; 16], Wire::Plain, Some(token)),
        };
        let mut channel = Channel::new(
            &key,
            config.variants.padding,
            wire,
            MESSAGE_MAX_BEFORE_AUTH,
            Some(entropy.mask_seed),
        );
        let upgrade = ClientUpgrade::start_with(
            &config.host,
            &config.path,
            entropy.websocket_key,
            token,
            channel.raw_out(),
        );
        Self {
            config,
            phase: Phase::Upgrade(upgrade),
            channel,
            nonce: Nonce::new(entropy.nonce),
            uuid: None,
            handshake_deadline: started + HANDSHAKE_TIMEOUT,
            silence: Silence::new(started),
            pending: None,
            oddity_told: false,
        }
    }

    /// Takes bytes from the socket.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.silence.hear(now);
        match &mut self.phase {
            Phase::Upgrade(upgrade) => match upgrade.handle(bytes) {
                Ok(None) => {}
                Ok(Some(rest)) => {
                    self.uuid = upgrade.take_uuid();
                    self.upgraded();
                    self.channel.framer.push(&rest);
                }
                Err(error) => self.refused(error),
            },
            Phase::Ended => {}
            _ => self.channel.framer.push(bytes),
        }
    }

    /// Takes note that the socket gives no more bytes.
    pub fn handle_eof(&mut self) {
        match self.unfinished() {
            Some(error) => self.end(Ended::Upgrade(error)),
            None => self.end(Ended::Lost),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Ended => {}
            Phase::Ready => match self.silence.due(now) {
                Due::Nothing => {}
                Due::Ping => self.channel.send_control(Opcode::Ping, b""),
                Due::End => self.close_as(close::POLICY, "silent for too long", Ended::Silent),
            },
            _ if now >= self.handshake_deadline => {
                if let Some(error) = self.unfinished() {
                    return self.end(Ended::Upgrade(error));
                }
                self.close_as(close::POLICY, HANDSHAKE_TIMED_OUT, Ended::HandshakeTimeout);
            }
            _ => {}
        }
    }

    /// Returns when [`ClientConnection::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Ended => None,
            Phase::Ready => Some(self.silence.deadline()),
            _ => Some(self.handshake_deadline),
        }
    }

    /// Returns how long the gateway has been silent.
    pub fn silence(&self, now: Instant) -> std::time::Duration {
        self.silence.lasts(now)
    }

    /// Returns the next event; takes one message apart for it.
    pub fn poll_event(&mut self, _now: Instant) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.pending.take() {
                return Some(event);
            }
            if matches!(self.phase, Phase::Upgrade(_) | Phase::Ended) {
                return None;
            }
            let event = match self.next_message(None) {
                Incoming::Nothing => return None,
                Incoming::Handled => None,
                Incoming::Event(event) => Some(event),
                Incoming::Handshake(json) => self.handshake(&json),
                Incoming::Unserved { id, name } => {
                    self.refuse_request(id, &name);
                    None
                }
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// Opens all messages that have come without reading them, for a load or a counter that wants the JSON
    /// as it is: `look` gets each. Stops at what it does not get: an event other than a message, which is
    /// returned; `None` where more bytes are needed. Gives nothing before [`ClientEvent::Authenticated`].
    pub fn drain_json(&mut self, look: Look<'_>) -> Option<ClientEvent> {
        loop {
            if let Some(event) = self.pending.take() {
                return Some(event);
            }
            if !self.is_authenticated() {
                return None;
            }
            match self.next_message(Some(look)) {
                Incoming::Nothing => return None,
                Incoming::Event(event) => return Some(event),
                _ => {}
            }
        }
    }

    /// Tells whether requests may be sent.
    pub fn is_authenticated(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Tells whether the connection ended; what is left of the output may still be flushed.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Returns the uuid that the gateway gave itself, if it did: our own do (section 3). None before
    /// both sides have proven that they know the key.
    pub fn gateway_uuid(&self) -> Option<&str> {
        self.uuid.as_deref().filter(|_| self.is_authenticated())
    }

    /// Returns the wire encoding in use, pinned or detected.
    pub fn wire(&self) -> Wire {
        self.channel.wire()
    }

    /// Encrypts a request and queues it. Ignored before `auth_ok`.
    pub fn send_request(&mut self, id: i64, request: &Request) {
        if matches!(self.phase, Phase::Ready) {
            let mut json = Vec::new();
            write_request(&mut json, id, request);
            self.channel.send(&json);
        }
    }

    /// Closes with a code and a reason.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.close_as(code, reason, Ended::Local(reason.to_owned()));
    }

    /// Returns the bytes for the socket.
    pub fn output(&self) -> &[u8] {
        self.channel.output()
    }

    /// Takes note that so many bytes of the output were written.
    pub fn advance_output(&mut self, written: usize) {
        self.channel.advance_output(written);
    }

    /// Takes the whole output.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.channel.take_output()
    }

    /// Goes on after the 101: with the handshake, or in the older dialect with the session itself.
    fn upgraded(&mut self) {
        if matches!(self.config.access, Access::Token(_)) {
            self.channel.set_limit(self.config.message_max);
            self.phase = Phase::Ready;
            self.pending = Some(ClientEvent::Authenticated);
        } else {
            self.phase = Phase::ExpectAuthRequired(ExpectAuthRequired::start(self.nonce));
        }
    }

    fn refused(&mut self, error: UpgradeError) {
        let token = matches!(self.config.access, Access::Token(_));
        self.end(match error {
            UpgradeError::Refused { status: 401 | 403 } if token => Ended::Authentication {
                by: Refuser::Peer,
                detail: HandshakeFailure::Claim("access token"),
            },
            error => Ended::Upgrade(error),
        });
    }

    /// Returns what is known of a refusal that has not come whole.
    fn unfinished(&self) -> Option<UpgradeError> {
        match &self.phase {
            Phase::Upgrade(upgrade) => upgrade.unfinished(),
            _ => None,
        }
    }

    /// Takes the next frame and, after the handshake, its message apart; where somebody looks at messages,
    /// they are shown and not read.
    fn next_message(&mut self, look: Option<Look<'_>>) -> Incoming {
        let first = matches!(self.phase, Phase::ExpectAuthRequired(_));
        let detect = first && self.config.wire.is_none();
        let (framer, mut opener) = self.channel.split();
        let item = match framer.next_item() {
            Ok(Some(item)) => item,
            Ok(None) => return Incoming::Nothing,
            Err(error) => {
                let code = framing_close_code(&error);
                self.close_as(code, &error.to_string(), Ended::Framing(error));
                return Incoming::Handled;
            }
        };
        let (text, payload) = match item {
            Item::Message { text, payload } => (text, payload),
            Item::Pong => return Incoming::Handled,
            Item::Ping(content) => {
                self.channel.answer_ping(content);
                return Incoming::Handled;
            }
            Item::Close { code, reason } => {
                self.channel.answer_close(code);
                let ended = self.closed_by_peer(code, reason);
                self.end(ended);
                return Incoming::Handled;
            }
        };
        let detected = detect.then(|| detect_wire(text, payload));
        if let Some(wire) = detected {
            opener.set_wire(wire);
        }
        let refused = detected == Some(Wire::Plain) && !self.config.accept_plain;
        let opened = opener.open(text, payload);
        let ready = matches!(self.phase, Phase::Ready);
        let incoming = match opened {
            Ok(_) if refused => Err(Ended::PlainRefused),
            Ok(json) if ready && look.is_some() => {
                if let Some(look) = look {
                    look(json);
                }
                Ok(Incoming::Handled)
            }
            Ok(json) if ready => match decode(json, self.config.keep_json) {
                Ok((incoming, oddity)) => {
                    if let Some(text) = oddity
                        && !std::mem::replace(&mut self.oddity_told, true)
                    {
                        self.pending = Some(ClientEvent::Oddity(text));
                    }
                    Ok(incoming)
                }
                Err(problem) => Err(Ended::Message(problem)),
            },
            Ok(json) => Ok(Incoming::Handshake(json.to_vec())),
            Err(_) if refused => Err(Ended::PlainRefused),
            // Too large is no sign of another key, and has its own close code.
            Err(fault) if first && fault.close_code() == close::POLICY => {
                Err(Ended::Authentication {
                    by: Refuser::Us,
                    detail: HandshakeFailure::Frame(fault),
                })
            }
            Err(fault) => Err(Ended::Frame(fault)),
        };
        if let Some(wire) = detected {
            self.channel.set_wire(wire);
        }
        match incoming {
            Ok(incoming) => incoming,
            Err(ended) => {
                let code = match &ended {
                    Ended::Frame(fault) => fault.close_code(),
                    _ => close::POLICY,
                };
                self.close_as(code, "", ended);
                Incoming::Handled
            }
        }
    }

    /// Answers a request: clients serve nothing.
    fn refuse_request(&mut self, id: i64, name: &str) {
        if self.channel.is_behind() {
            return;
        }
        let message = format!("a third-party system serves no requests, not even {name}");
        let mut json = Vec::new();
        write_error(
            &mut json,
            id,
            &ErrorBody::new(ErrorCode::UnknownType, message),
        );
        self.channel.send(&json);
    }

    fn handshake(&mut self, json: &[u8]) -> Option<ClientEvent> {
        let Access::Key(key) = &self.config.access else {
            return None;
        };
        let variants = self.config.variants;
        let failed = match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::ExpectAuthRequired(state) => {
                let mut answer = Vec::new();
                match state.handle(json, key, variants, &mut answer) {
                    Ok(next) => {
                        self.channel.send(&answer);
                        self.phase = Phase::ExpectAuthOk(next);
                        return None;
                    }
                    Err(fault) => fault,
                }
            }
            Phase::ExpectAuthOk(state) => match state.handle(json, key, variants) {
                Ok(session) => {
                    self.channel.set_outgoing_key(session.bytes());
                    self.channel.set_incoming_key(session.bytes());
                    self.channel.set_limit(self.config.message_max);
                    return Some(ClientEvent::Authenticated);
                }
                Err(fault) => fault,
            },
            other => {
                self.phase = other;
                return None;
            }
        };
        self.fail(failed);
        None
    }

    fn fail(&mut self, fault: HandshakeFault) {
        let detail = HandshakeFailure::Fault(fault);
        let ended = Ended::Authentication {
            by: Refuser::Us,
            detail,
        };
        self.close_as(close::POLICY, "authentication failed", ended);
    }

    /// A gateway that closes after our proof refused it, unless it says something else.
    fn closed_by_peer(&self, code: Option<u16>, reason: String) -> Ended {
        let other_cause = matches!(
            code,
            Some(close::GOING_AWAY | close::TOO_LARGE | close::INTERNAL | close::TRY_AGAIN)
        ) || reason == HANDSHAKE_TIMED_OUT;
        if matches!(self.phase, Phase::ExpectAuthOk(_)) && !other_cause {
            Ended::Authentication {
                by: Refuser::Peer,
                detail: HandshakeFailure::Closed,
            }
        } else {
            Ended::Peer { code, reason }
        }
    }

    fn close_as(&mut self, code: u16, reason: &str, ended: Ended) {
        if !matches!(self.phase, Phase::Upgrade(_) | Phase::Ended) {
            self.channel.send_close(Some(code), reason);
        }
        self.end(ended);
    }

    fn end(&mut self, ended: Ended) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.pending = Some(ClientEvent::Ended(ended));
        }
    }
}

/// What messages are shown to, as JSON.
type Look<'a> = &'a mut dyn FnMut(&[u8]);

/// What one frame brought.
enum Incoming {
    /// There is no whole frame.
    Nothing,
    /// Nothing to tell.
    Handled,
    Event(ClientEvent),
    /// A request.
    Unserved {
        id: i64,
        name: String,
    },
    Handshake(Vec<u8>),
}

/// Reads a message after the handshake, and whether there is something odd about it.
fn decode(json: &[u8], keep_json: bool) -> Result<(Incoming, Option<String>), String> {
    let (message, unknown_field) = decode_from_gateway(json)?;
    let oddity = unknown_field.map(|field| format!("a message with an unknown field {field}"));
    Ok(match message {
        FromGateway::Reply { id, outcome } => {
            (Incoming::Event(ClientEvent::Reply { id, outcome }), oddity)
        }
        FromGateway::Event(event) => {
            let ignored = match &event.kind {
                EventKind::Other { reason } => Some(reason.clone()),
                _ => None,
            };
            let json = keep_json.then(|| String::from_utf8_lossy(json).into_owned());
            (
                Incoming::Event(ClientEvent::Event { event, json }),
                ignored.or(oddity),
            )
        }
        FromGateway::Request { id, name } => (Incoming::Unserved { id, name }, oddity),
        FromGateway::Ignored { reason } => (Incoming::Handled, Some(reason)),
    })
}

/// Detects the wire encoding from a gateway's first message (section 3).
fn detect_wire(text: bool, payload: &[u8]) -> Wire {
    let first = payload.iter().find(|byte| !byte.is_ascii_whitespace());
    match (text, first) {
        (false, _) => Wire::Binary,
        (true, Some(b'{')) => Wire::Plain,
        (true, _) => Wire::Base64,
    }
}
