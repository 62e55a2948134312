//! The gateway's end of a connection.

use std::sync::Arc;
use std::time::Instant;

use super::HANDSHAKE_TIMED_OUT;
use super::channel::{Channel, Due, Silence};
use crate::crypto::{Credential, Nonce};
use crate::error::{Ended, HandshakeFailure, Refuser, framing_close_code};
use crate::handshake::ExpectAuth;
use crate::limits::{HANDSHAKE_TIMEOUT, MESSAGE_MAX_BEFORE_AUTH, MESSAGE_MAX_GATEWAY};
use crate::token::{self, Claim, Tokens};
use crate::variants::{Variants, Wire};
use crate::websocket::{
    Item, Opcode, Opening, ServerUpgrade, UpgradeError, bad_request, close, not_an_upgrade,
    unauthorized,
};
use crate::wire::{ErrorBody, FromClient, Request, decode_from_client};

/// What all connections of a gateway share.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The key, which decides on the dialect: with an API key it is the older one (section 8), and whoever
    /// makes the connection decides on [`GatewayEvent::Claimed`].
    pub key: Credential,
    /// Who it is, to be said in the response to the upgrade; not said where there is none.
    pub uuid: Option<Arc<str>>,
    /// The wire encoding that the gateway speaks; in the older dialect always `plain`.
    pub wire: Wire,
    /// Open choices of the protocol.
    pub variants: Variants,
    /// The only request path that is taken; any where there is none.
    pub path: Option<String>,
    /// The largest message after `auth_ok`, in bytes of JSON.
    pub message_max: usize,
}

impl GatewayConfig {
    /// Makes a configuration of defaults.
    pub fn new(key: impl Into<Credential>) -> Self {
        Self {
            key: key.into(),
            uuid: None,
            wire: Wire::default(),
            variants: Variants::default(),
            path: None,
            message_max: MESSAGE_MAX_GATEWAY,
        }
    }
}

/// What happened on a gateway's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatewayEvent {
    /// In the older dialect: somebody wants tokens or a session. To be decided by
    /// [`GatewayConnection::admit`], [`GatewayConnection::give`] or [`GatewayConnection::deny`].
    Claimed(Claim),
    /// The client has proven that it knows the key. From here on events may be sent.
    Authenticated,
    /// The client failed to. Nothing is sent until [`GatewayConnection::reject`], which the caller
    /// delays as the throttle asks.
    AuthenticationFailed(HandshakeFailure),
    /// A request to answer.
    Request {
        /// Its id, to be repeated.
        id: i64,
        /// What is asked.
        request: Request,
    },
    /// A request to answer with this error.
    Invalid {
        /// Its id, or 0.
        id: i64,
        /// What is wrong.
        error: ErrorBody,
    },
    /// The connection ended: flush the output, then close the socket.
    Ended(Ended),
}

#[derive(Debug)]
enum Phase {
    Upgrade(ServerUpgrade),
    /// A claim of the older dialect is being decided on; the bytes that followed it.
    Claimed(Box<(Opening, Vec<u8>)>),
    ExpectAuth(ExpectAuth),
    /// Authentication failed and the close is being delayed.
    Rejected,
    /// The same where there is no WebSocket yet.
    Denied,
    Ready,
    Ended,
}

/// A gateway's connection to one client.
#[derive(Debug)]
pub struct GatewayConnection {
    config: Arc<GatewayConfig>,
    phase: Phase,
    channel: Channel,
    nonce: Nonce,
    handshake_deadline: Instant,
    silence: Silence,
    /// An event that input or a timeout caused, to be polled; boxed, since there is hardly ever one.
    pending: Option<Box<GatewayEvent>>,
}

impl GatewayConnection {
    /// Starts with an accepted TCP connection; `nonce` is 16 new random bytes.
    pub fn new(config: Arc<GatewayConfig>, nonce: Nonce, now: Instant) -> Self {
        let (key, wire) = match &config.key {
            Credential::Device(key) => (*key.bytes(), config.wire),
            // Never used: nothing is encrypted.
            Credential::Api(_) => ([0; 16], Wire::Plain),
        };
        let padding = config.variants.padding;
        let channel = Channel::new(&key, padding, wire, MESSAGE_MAX_BEFORE_AUTH, None);
        let upgrade = ServerUpgrade::new(config.uuid.clone());
        Self {
            config,
            phase: Phase::Upgrade(upgrade),
            channel,
            nonce,
            handshake_deadline: now + HANDSHAKE_TIMEOUT,
            silence: Silence::new(now),
            pending: None,
        }
    }

    /// Takes bytes from the socket.
    pub fn handle_input(&mut self, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.silence.hear(now);
        let older = matches!(self.config.key, Credential::Api(_));
        match &mut self.phase {
            Phase::Upgrade(upgrade) if older => match upgrade.handle_claim(bytes) {
                Ok(None) => {}
                Ok(Some((claim, opening, rest))) => {
                    self.phase = Phase::Claimed(Box::new((opening, rest)));
                    self.pending = Some(Box::new(GatewayEvent::Claimed(claim)));
                }
                Err(error) => self.refuse_upgrade(error),
            },
            // Bounded: the claim is decided on before anything else is read.
            Phase::Claimed(claimed) => claimed.1.extend_from_slice(bytes),
            Phase::Upgrade(upgrade) => match upgrade.handle(bytes, self.channel.raw_out()) {
                Ok(None) => {}
                Ok(Some((request, rest))) => self.upgraded(&request.path, &rest),
                Err(error) => self.refuse_upgrade(error),
            },
            Phase::ExpectAuth(_) | Phase::Ready => self.channel.framer.push(bytes),
            // Nothing that such a peer says matters any more.
            Phase::Rejected | Phase::Denied | Phase::Ended => {}
        }
    }

    /// Takes note that the socket gives no more bytes.
    pub fn handle_eof(&mut self) {
        self.end(Ended::Lost);
    }

    /// Takes note that the client is not being read from: what it may have sent is not its silence.
    pub fn hold_back(&mut self, now: Instant) {
        self.silence.hear(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Ended | Phase::Rejected | Phase::Denied => {}
            Phase::Upgrade(_) | Phase::Claimed(_) if now >= self.handshake_deadline => {
                self.end(Ended::HandshakeTimeout);
            }
            Phase::ExpectAuth(_) if now >= self.handshake_deadline => {
                self.close_as(close::POLICY, HANDSHAKE_TIMED_OUT, Ended::HandshakeTimeout);
            }
            Phase::Upgrade(_) | Phase::Claimed(_) => {}
            Phase::ExpectAuth(_) | Phase::Ready => match self.silence.due(now) {
                Due::Nothing => {}
                Due::Ping => self.channel.send_control(Opcode::Ping, b""),
                Due::End => self.close_as(close::GOING_AWAY, "silent for too long", Ended::Silent),
            },
        }
    }

    /// Returns when [`GatewayConnection::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Upgrade(_) | Phase::Claimed(_) => Some(self.handshake_deadline),
            Phase::ExpectAuth(_) => Some(self.handshake_deadline.min(self.silence.deadline())),
            Phase::Ready => Some(self.silence.deadline()),
            Phase::Rejected | Phase::Denied | Phase::Ended => None,
        }
    }

    /// Returns the next event; takes one message apart for it.
    pub fn poll_event(&mut self, _now: Instant) -> Option<GatewayEvent> {
        loop {
            if let Some(event) = self.pending.take() {
                return Some(*event);
            }
            if !matches!(self.phase, Phase::ExpectAuth(_) | Phase::Ready) {
                return None;
            }
            let (framer, opener) = self.channel.split();
            let item = match framer.next_item() {
                Ok(Some(item)) => item,
                Ok(None) => return None,
                Err(error) => {
                    let code = framing_close_code(&error);
                    self.close_as(code, &error.to_string(), Ended::Framing(error));
                    continue;
                }
            };
            match item {
                Item::Pong => {}
                Item::Ping(content) => self.channel.answer_ping(content),
                Item::Close { code, reason } => {
                    self.channel.answer_close(code);
                    self.end(Ended::Peer { code, reason });
                }
                Item::Message { text, payload } => match opener.open(text, payload) {
                    Ok(json) if matches!(self.phase, Phase::Ready) => {
                        match decode_from_client(json) {
                            FromClient::Ignored => {}
                            FromClient::Request { id, request } => {
                                return Some(GatewayEvent::Request { id, request });
                            }
                            FromClient::Invalid { id, error } => {
                                return Some(GatewayEvent::Invalid { id, error });
                            }
                        }
                    }
                    Ok(json) => {
                        let json = json.to_vec();
                        return Some(self.authenticate(&json));
                    }
                    Err(fault) => {
                        let code = fault.close_code();
                        if matches!(self.phase, Phase::Ready) || code == close::TOO_LARGE {
                            self.close_as(code, &fault.to_string(), Ended::Frame(fault));
                        } else {
                            self.phase = Phase::Rejected;
                            let failure = HandshakeFailure::Frame(fault);
                            return Some(GatewayEvent::AuthenticationFailed(failure));
                        }
                    }
                },
            }
        }
    }

    /// Tells whether the client has proven that it knows the key.
    pub fn is_authenticated(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Tells whether the connection ended; what is left of the output may still be flushed.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Closes after [`GatewayEvent::AuthenticationFailed`], with the one reason that never tells why.
    /// No further event follows.
    pub fn reject(&mut self) {
        if matches!(self.phase, Phase::Rejected) {
            self.channel
                .send_close(Some(close::POLICY), "authentication failed");
            self.phase = Phase::Ended;
        } else if matches!(self.phase, Phase::Denied) {
            unauthorized(self.channel.raw_out());
            self.phase = Phase::Ended;
        }
    }

    /// Opens the session that was claimed with a right access token: [`GatewayEvent::Authenticated`]
    /// follows. Does nothing where none was claimed.
    pub fn admit(&mut self) {
        let Phase::Claimed(claimed) = &mut self.phase else {
            return;
        };
        let (opening, rest) = std::mem::take(&mut **claimed);
        self.phase = Phase::Ready;
        if self.is_elsewhere(&opening.path) {
            return self.not_found();
        }
        opening.accept(self.config.uuid.as_deref(), self.channel.raw_out());
        self.channel.set_limit(self.config.message_max);
        self.channel.framer.push(&rest);
        self.pending = Some(Box::new(GatewayEvent::Authenticated));
    }

    /// Answers a right claim of tokens and ends the connection.
    pub fn give(&mut self, tokens: &Tokens) {
        if matches!(self.phase, Phase::Claimed(_)) {
            token::write_answer(self.channel.raw_out(), tokens);
            self.end(Ended::Local("gave tokens".to_owned()));
        }
    }

    /// Finds a claim wrong: [`GatewayEvent::AuthenticationFailed`] follows, and nothing is sent until
    /// [`GatewayConnection::reject`]. `what` was wrong is for the log, never for the peer.
    pub fn deny(&mut self, what: &'static str) {
        if matches!(self.phase, Phase::Claimed(_)) {
            self.phase = Phase::Denied;
            let failure = HandshakeFailure::Claim(what);
            self.pending = Some(Box::new(GatewayEvent::AuthenticationFailed(failure)));
        }
    }

    /// Encrypts a message, an event or an answer, and queues it. Ignored before `auth_ok`.
    pub fn send(&mut self, json: &[u8]) {
        if matches!(self.phase, Phase::Ready) {
            self.channel.send(json);
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

    /// Replaces the output buffer, keeping what is not written yet, and returns the old one, empty.
    /// Callers with many connections lend each a shared buffer while it writes.
    pub fn swap_buffer(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        self.channel.swap_buffer(buffer)
    }

    fn is_elsewhere(&self, path: &str) -> bool {
        let wanted = self.config.path.as_deref();
        wanted.is_some_and(|wanted| wanted != path)
    }

    fn not_found(&mut self) {
        let out = self.channel.raw_out();
        out.clear();
        bad_request(out, "404 Not Found", "No gateway at this path.\n");
        self.end(Ended::Upgrade(UpgradeError::Refused { status: 404 }));
    }

    fn upgraded(&mut self, path: &str, rest: &[u8]) {
        if self.is_elsewhere(path) {
            return self.not_found();
        }
        let mut json = Vec::new();
        self.phase = Phase::ExpectAuth(ExpectAuth::start(self.nonce, &mut json));
        self.channel.send(&json);
        self.channel.framer.push(rest);
    }

    fn refuse_upgrade(&mut self, error: UpgradeError) {
        let out = self.channel.raw_out();
        match error {
            UpgradeError::NotAnUpgrade => not_an_upgrade(out),
            UpgradeError::TooLong => {
                bad_request(out, "431 Request Header Fields Too Large", "");
            }
            // Whoever speaks something else would not understand HTTP.
            _ => {}
        }
        self.end(Ended::Upgrade(error));
    }

    fn authenticate(&mut self, json: &[u8]) -> GatewayEvent {
        let phase = std::mem::replace(&mut self.phase, Phase::Rejected);
        let Phase::ExpectAuth(state) = phase else {
            return GatewayEvent::Ended(Ended::Lost);
        };
        let mut answer = Vec::new();
        let Credential::Device(key) = &self.config.key else {
            return GatewayEvent::Ended(Ended::Lost);
        };
        match state.handle(json, key, self.config.variants, &mut answer) {
            Ok(session) => {
                // `auth_ok` still travels under the device key; everything later does not.
                self.channel.send(&answer);
                self.channel.set_outgoing_key(session.bytes());
                self.channel.set_incoming_key(session.bytes());
                self.channel.set_limit(self.config.message_max);
                self.phase = Phase::Ready;
                GatewayEvent::Authenticated
            }
            Err(fault) => GatewayEvent::AuthenticationFailed(HandshakeFailure::Fault(fault)),
        }
    }

    fn close_as(&mut self, code: u16, reason: &str, ended: Ended) {
        if matches!(
            self.phase,
            Phase::ExpectAuth(_) | Phase::Ready | Phase::Rejected
        ) {
            self.channel.send_close(Some(code), reason);
        }
        self.end(ended);
    }

    fn end(&mut self, ended: Ended) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.pending = Some(Box::new(GatewayEvent::Ended(ended)));
        }
    }
}

impl From<Ended> for GatewayEvent {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// Whose refusal a failed authentication is, as a gateway sees it.
impl From<HandshakeFailure> for Ended {
    fn from(detail: HandshakeFailure) -> Self {
        Self::Authentication {
            by: Refuser::Us,
            detail,
        }
    }
}
