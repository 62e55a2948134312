//! Plays a script to one end of a connection, as the other end and as the caller.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::connection::{
    ClientConfig, ClientConnection, ClientEvent, GatewayConfig, GatewayConnection, GatewayEvent,
};
use hearthgate_protocol::crypto::{ClientEntropy, DeviceKey, Encryptor, Nonce, prove};
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::limits::{HANDSHAKE_TIMEOUT, KEEPALIVE_DEAD};
use hearthgate_protocol::variants::Wire;
use hearthgate_protocol::websocket::{Header, Opcode, ServerUpgrade};
use hearthgate_protocol::wire::{
    FromClient, FromGateway, Request, decode_from_client, decode_from_gateway, write_request,
};

use super::listener::Listener;
use super::script::{Setup, Step};
use crate::input::{Cuts, quoted};

const KEY: [u8; 16] = *b"k9Xq2mPz7LwT4vRb";
const NONCE_S: [u8; 16] = *b"nonce of gateway";
const NONCE_C: [u8; 16] = *b"a client's nonce";
/// The most bytes that a repetition leads to, and the most repetitions: so many that what an end
/// keeps without bound shows, and in the other runs so few that they are quick.
const STREAM: (usize, u64) = (448 * 1024, 6000);
const STREAM_SHORT: (usize, u64) = (32 * 1024, 100);
/// Output that waits behind which an end answers nothing more, and the largest answer.
const UNREAD_MAX: usize = 64 * 1024 + 4 * 1024;

/// Virtual time starts somewhere.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What came of a run.
#[derive(Default)]
pub(super) struct Outcome {
    /// The events, in order.
    pub(super) told: Vec<String>,
    /// The whole output.
    pub(super) said: Vec<u8>,
}

enum End {
    Gateway(GatewayConnection),
    Client(ClientConnection),
}

/// An event, by what it means for the state.
#[derive(Debug, PartialEq)]
enum Told {
    Authenticated,
    Failed,
    Ended(Ended),
    Gateway(GatewayEvent),
    Client(ClientEvent),
}

struct Run {
    setup: Setup,
    end: End,
    start: Instant,
    now: Instant,
    heard: Instant,
    listener: Listener,
    cuts: Cuts,
    fed: usize,
    /// The most bytes and repetitions of a repetition.
    stream: (usize, u64),
    latest: Vec<u8>,
    masks: u32,
    upgraded: bool,
    /// Right handshake messages so far.
    proofs: usize,
    /// Whether all that was fed kept to the protocol, so that the state is known.
    clean: bool,
    authenticated: bool,
    failed: bool,
    ended: Option<Ended>,
    /// What the end was asked to send and what time made it send.
    own: usize,
    keep: bool,
    outcome: Outcome,
    /// What the latest step told.
    fresh: Vec<Told>,
}

/// Plays a script with short repetitions.
pub(super) fn run(setup: Setup, steps: &[Step<'_>], cuts: Cuts) -> Outcome {
    play(setup, steps, cuts, true)
}

/// Plays a script with all its repetitions and keeps nothing of it, so that its memory is the
/// connection's.
pub(super) fn run_long(setup: Setup, steps: &[Step<'_>]) {
    play(setup, steps, Cuts::whole(), false);
}

fn play(setup: Setup, steps: &[Step<'_>], cuts: Cuts, keep: bool) -> Outcome {
    let mut run = Run::new(setup, cuts, keep);
    run.check();
    for step in steps {
        run.step(*step);
        run.check();
    }
    run.finish();
    run.outcome
}

impl Run {
    fn new(setup: Setup, cuts: Cuts, keep: bool) -> Self {
        let start = *START;
        let key = DeviceKey::from_bytes(KEY);
        let message_max = if setup.roomy { 16 * 1024 } else { 600 };
        let end = if setup.gateway {
            let mut config = GatewayConfig::new(key);
            config.wire = setup.wire;
            config.variants = setup.variants;
            config.message_max = message_max;
            End::Gateway(GatewayConnection::new(
                Arc::new(config),
                Nonce::new(NONCE_S),
                start,
            ))
        } else {
            let mut config = ClientConfig::new(key, "gateway:8433");
            config.wire = (!setup.detect).then_some(setup.wire);
            config.accept_plain = setup.accept_plain;
            config.variants = setup.variants;
            config.message_max = message_max;
            config.keep_json = setup.roomy;
            let entropy = ClientEntropy {
                nonce: NONCE_C,
                websocket_key: [3; 16],
                mask_seed: [4; 16],
            };
            End::Client(ClientConnection::new(config, entropy, start))
        };
        let mut session = NONCE_S;
        session
            .iter_mut()
            .zip(NONCE_C)
            .for_each(|(byte, other)| *byte ^= other);
        let mut listener = Listener::new(!setup.gateway, setup.variants.padding, KEY, session);
        let proof = |nonce: [u8; 16]| Self::proof(setup, nonce);
        let (s, c) = (STANDARD.encode(NONCE_S), STANDARD.encode(NONCE_C));
        listener.expected = if setup.gateway {
            [
                format!(r#"{{"type":"auth_required","data":{{"nonce":"{s}"}}}}"#).into_bytes(),
                format!(
                    r#"{{"type":"auth_ok","data":{{"hmac":"{}"}}}}"#,
                    proof(NONCE_C)
                )
                .into_bytes(),
            ]
            .into()
        } else {
            let proof = proof(NONCE_S);
            [
                format!(r#"{{"type":"auth","data":{{"nonce":"{c}","hmac":"{proof}"}}}}"#)
                    .into_bytes(),
            ]
            .into()
        };
        Self {
            setup,
            end,
            start,
            now: start,
            heard: start,
            listener,
            cuts,
            fed: 0,
            stream: if keep { STREAM_SHORT } else { STREAM },
            latest: Vec::new(),
            masks: 0,
            upgraded: false,
            proofs: 0,
            clean: true,
            authenticated: false,
            failed: false,
            ended: None,
            own: 0,
            keep,
            outcome: Outcome::default(),
            fresh: Vec::new(),
        }
    }

    fn proof(setup: Setup, nonce: [u8; 16]) -> String {
        prove(
            &DeviceKey::from_bytes(KEY),
            &Nonce::new(nonce),
            setup.variants,
        )
        .to_base64()
    }

    fn step(&mut self, step: Step<'_>) {
        self.fresh.clear();
        match step {
            Step::Upgrade => self.upgrade(),
            Step::Handshake => self.handshake(),
            Step::Bytes(bytes) => {
                self.clean &= bytes.is_empty();
                self.feed(bytes.to_vec());
            }
            Step::Message(json) => {
                let payload = self.encrypt(json);
                let frame = self.frame(true, self.data_opcode(), &payload);
                self.message(json, frame);
            }
            Step::Parts(json) => {
                let payload = self.encrypt(json);
                let (first, rest) = payload.split_at(payload.len() / 3);
                let (second, third) = rest.split_at(rest.len() / 2);
                let mut stream = self.frame(false, self.data_opcode(), first);
                stream.extend(self.frame(false, Opcode::Continuation, second));
                stream.extend(self.frame(true, Opcode::Ping, b"between"));
                stream.extend(self.frame(true, Opcode::Continuation, third));
                self.listener.pings.push(b"between".to_vec());
                self.message(json, stream);
            }
            Step::Data(bytes) => {
                self.clean = false;
                let frame = self.frame(true, self.data_opcode(), bytes);
                self.feed(frame);
            }
            Step::Ping(content) | Step::Pong(content) => {
                let content = &content[..content.len().min(125)];
                let ping = matches!(step, Step::Ping(_));
                if ping {
                    self.listener.pings.push(content.to_vec());
                }
                self.clean &= self.upgraded;
                let frame = self.frame(
                    true,
                    if ping { Opcode::Ping } else { Opcode::Pong },
                    content,
                );
                self.feed(frame);
            }
            Step::Close(body) => {
                let known = self.clean && self.upgraded && self.ended.is_none() && !self.failed;
                self.clean = false;
                let frame = self.frame(true, Opcode::Close, &body[..body.len().min(125)]);
                self.feed(frame);
                assert!(
                    !known || self.ended.is_some(),
                    "closed by the peer and goes on"
                );
            }
            Step::Time(ms) => self.pass(self.now + Duration::from_millis(ms)),
            Step::Repeat(count) => {
                self.clean = false;
                let latest = std::mem::take(&mut self.latest);
                let mut block = Vec::new();
                let (bytes, times) = self.stream;
                for _ in 0..count.min(times) {
                    if self.fed + block.len() + latest.len() > bytes || latest.is_empty() {
                        break;
                    }
                    block.extend_from_slice(&latest);
                    if block.len() > Cuts::WHOLE {
                        self.feed(std::mem::take(&mut block));
                        self.check();
                    }
                }
                self.feed(block);
                self.latest = latest;
            }
            Step::Drain(count) => {
                let all = self.end.output().len();
                let count =
                    count.map_or(all, |count| usize::try_from(count).unwrap_or(all).min(all));
                self.drain(count);
            }
            Step::Send(json) => self.send(json),
            Step::CloseUs(code) => {
                self.clean = false;
                // The codes are the caller's to choose well.
                let code = if (1000..=1003).contains(&code) || code >= 3000 {
                    code
                } else {
                    1001
                };
                match &mut self.end {
                    End::Gateway(end) => end.close(code, "said so"),
                    End::Client(end) => end.close(code, "said so"),
                }
                self.own += 32;
                self.poll();
                assert!(self.end.is_ended(), "closed by us and goes on");
            }
            Step::Reject => {
                if let End::Gateway(end) = &mut self.end {
                    let failed = self.failed && self.ended.is_none();
                    end.reject();
                    self.own += if failed { 32 } else { 0 };
                    assert_eq!(end.is_ended(), failed || self.ended.is_some());
                    assert_eq!(
                        end.poll_event(self.now),
                        None,
                        "an event after the rejection"
                    );
                }
            }
            Step::Eof => {
                self.clean = false;
                match &mut self.end {
                    End::Gateway(end) => end.handle_eof(),
                    End::Client(end) => end.handle_eof(),
                }
                self.poll();
                assert!(self.end.is_ended(), "the stream ended and it goes on");
            }
        }
    }

    fn upgrade(&mut self) {
        self.clean &= !self.upgraded;
        let head = if self.setup.gateway {
            b"GET /any HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
              Sec-WebSocket-Key: AwMDAwMDAwMDAwMDAwMDAw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                .to_vec()
        } else {
            let ask = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: AwMDAwMDAwMDAwMDAwMDAw==\r\nSec-WebSocket-Version: 13\r\n\r\n";
            let mut answer = Vec::new();
            ServerUpgrade::default()
                .handle(ask, &mut answer)
                .expect("our own upgrade");
            answer
        };
        let known = self.clean && self.ended.is_none();
        self.feed(head);
        self.upgraded |= known;
        assert!(
            !known || !self.end.is_ended(),
            "the right upgrade is refused"
        );
    }

    fn handshake(&mut self) {
        let needed = if self.setup.gateway { 1 } else { 2 };
        self.clean &= self.upgraded && self.proofs < needed;
        let known = self.clean && self.ended.is_none();
        let (s, c) = (STANDARD.encode(NONCE_S), STANDARD.encode(NONCE_C));
        let json = match (self.setup.gateway, self.proofs) {
            (true, _) => {
                let proof = Self::proof(self.setup, NONCE_S);
                format!(r#"{{"type":"auth","data":{{"nonce":"{c}","hmac":"{proof}"}}}}"#)
            }
            (false, 0) => format!(r#"{{"type":"auth_required","data":{{"nonce":"{s}"}}}}"#),
            (false, _) => {
                let proof = Self::proof(self.setup, NONCE_C);
                format!(r#"{{"type":"auth_ok","data":{{"hmac":"{proof}"}}}}"#)
            }
        };
        let payload = self.encrypt(json.as_bytes());
        let frame = self.frame(true, self.data_opcode(), &payload);
        self.proofs += 1;
        self.feed(frame);
        if !known {
            return;
        }
        let refused = !self.setup.gateway
            && self.setup.detect
            && self.setup.wire == Wire::Plain
            && !self.setup.accept_plain;
        if refused {
            assert_eq!(self.ended, Some(Ended::PlainRefused));
            self.clean = false;
        } else {
            let done = self.proofs == needed;
            assert_eq!(
                self.authenticated, done,
                "the right key is refused: {:?}",
                self.ended
            );
            assert!(!self.end.is_ended());
        }
    }

    /// Feeds a message; where the state is known, so is what it must tell.
    fn message(&mut self, json: &[u8], stream: Vec<u8>) {
        let known = self.clean && self.authenticated && self.ended.is_none();
        self.clean = known;
        let limit = if self.setup.roomy { 16 * 1024 } else { 600 };
        self.feed(stream);
        // Zero padding takes final zero bytes for its own.
        if !known || json.last() == Some(&0) || json.is_empty() {
            self.clean &= self.ended.is_none();
            return;
        }
        if json.len() > limit {
            assert!(self.ended.is_some(), "a message over the limit is taken");
            return;
        }
        let event = self
            .fresh
            .iter()
            .find(|told| !matches!(told, Told::Client(ClientEvent::Oddity(_))));
        if self.setup.gateway {
            let expected = match decode_from_client(json) {
                FromClient::Ignored => None,
                FromClient::Request { id, request } => Some(GatewayEvent::Request { id, request }),
                FromClient::Invalid { id, error } => Some(GatewayEvent::Invalid { id, error }),
            };
            assert_eq!(event, expected.map(Told::Gateway).as_ref());
        } else {
            match decode_from_gateway(json) {
                Err(problem) => assert_eq!(self.ended, Some(Ended::Message(problem))),
                Ok((FromGateway::Reply { id, outcome }, _)) => {
                    assert_eq!(
                        event,
                        Some(&Told::Client(ClientEvent::Reply { id, outcome }))
                    );
                }
                Ok((FromGateway::Event(event_of), _)) => {
                    let json = self
                        .setup
                        .roomy
                        .then(|| String::from_utf8_lossy(json).into_owned());
                    let expected = ClientEvent::Event {
                        event: event_of,
                        json,
                    };
                    assert_eq!(event, Some(&Told::Client(expected)));
                }
                Ok(_) => assert_eq!(event, None),
            }
        }
        self.clean = self.ended.is_none();
    }

    /// The end under test sends, if it may.
    fn send(&mut self, json: &[u8]) {
        let before = self.end.output().len();
        let may = self.authenticated && self.ended.is_none();
        // What is sent is JSON: it is the caller's.
        let sent = match (&mut self.end, std::str::from_utf8(json)) {
            (End::Gateway(end), Ok(text)) => {
                let text = quoted(text).into_bytes();
                end.send(&text);
                text
            }
            (End::Client(end), Ok(text)) => {
                let request = Request::GetStatus(vec![text.into()]);
                end.send_request(5, &request);
                let mut text = Vec::new();
                write_request(&mut text, 5, &request);
                text
            }
            _ => return,
        };
        let grown = self.end.output().len() - before;
        assert_eq!(grown > 0, may, "sends exactly where it may");
        self.own += grown;
        if may {
            self.listener.expected.push_back(sent);
        }
    }

    fn data_opcode(&self) -> Opcode {
        match self.setup.wire {
            Wire::Binary => Opcode::Binary,
            Wire::Base64 | Wire::Plain => Opcode::Text,
        }
    }

    /// Encrypts as the other end would at this point.
    fn encrypt(&self, json: &[u8]) -> Vec<u8> {
        let mut session = NONCE_S;
        session
            .iter_mut()
            .zip(NONCE_C)
            .for_each(|(byte, other)| *byte ^= other);
        let handshake = if self.setup.gateway { 1 } else { 2 };
        let key = if self.proofs < handshake {
            KEY
        } else {
            session
        };
        let mut payload = json.to_vec();
        if self.setup.wire != Wire::Plain {
            Encryptor::new(&key, self.setup.variants.padding).encrypt_tail(&mut payload, 0);
        }
        if self.setup.wire == Wire::Base64 {
            payload = STANDARD.encode(payload).into_bytes();
        }
        payload
    }

    fn frame(&mut self, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        self.masks = self
            .masks
            .wrapping_mul(0x0019_660d)
            .wrapping_add(0x3c6e_f35f);
        let mask = self.setup.gateway.then(|| self.masks.to_be_bytes());
        let header = Header {
            fin,
            opcode,
            mask,
            payload: payload.len() as u64,
        };
        let mut out = Vec::new();
        header.write(&mut out);
        let mask = mask.unwrap_or_default();
        out.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        out
    }

    /// Hands bytes over in pieces and asks for events after each, as a caller does.
    fn feed(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.fed += bytes.len();
        let mut rest = &bytes[..];
        while let Some(piece) = self.cuts.piece(&mut rest) {
            self.heard = self.now;
            match &mut self.end {
                End::Gateway(end) => end.handle_input(self.now, piece),
                End::Client(end) => end.handle_input(self.now, piece),
            }
            self.poll();
        }
        self.latest = bytes;
        self.listener.exact &= self.clean || self.authenticated;
        self.listener.clean &= self.clean;
    }

    /// Lets time pass, waking the end exactly when it asks to be.
    fn pass(&mut self, until: Instant) {
        for _ in 0..1000 {
            match self.end.deadline() {
                Some(due) if due <= until => {
                    self.now = self.now.max(due);
                    let before = self.end.output().len();
                    match &mut self.end {
                        End::Gateway(end) => end.handle_timeout(self.now),
                        End::Client(end) => end.handle_timeout(self.now),
                    }
                    let grown = self.end.output().len() - before;
                    assert!(grown < 64, "time makes it send {grown} bytes");
                    self.own += grown;
                    self.poll();
                    assert!(
                        self.end.deadline().is_none_or(|next| next > self.now),
                        "woken and still due"
                    );
                }
                _ => {
                    self.now = self.now.max(until);
                    return;
                }
            }
        }
        panic!("never content with being woken");
    }

    fn poll(&mut self) {
        while let Some(told) = self.end.poll(self.now) {
            assert!(
                self.ended.is_none(),
                "{told:?} after the end {:?}",
                self.ended
            );
            let over = matches!(told, Told::Ended(_));
            assert!(
                !self.failed || over,
                "{told:?} after the failed authentication"
            );
            match &told {
                Told::Authenticated => {
                    assert!(!self.authenticated, "authenticated twice");
                    let needed = if self.setup.gateway { 1 } else { 2 };
                    assert!(self.proofs >= needed, "authenticated without a proof");
                    self.authenticated = true;
                    assert!(self.end.is_authenticated());
                }
                Told::Failed => {
                    assert!(!self.authenticated, "failed after it was authenticated");
                    self.failed = true;
                }
                Told::Ended(ended) => {
                    self.timely(ended);
                    self.ended = Some(ended.clone());
                }
                Told::Gateway(_) | Told::Client(_) => {
                    assert!(self.authenticated, "{told:?} before the authentication");
                }
            }
            if self.keep {
                self.outcome.told.push(format!("{told:?}"));
                self.fresh.push(told);
            } else if self.fresh.is_empty() && self.clean {
                self.fresh.push(told);
            }
        }
    }

    /// The ends that time brings come when they are due.
    fn timely(&self, ended: &Ended) {
        match ended {
            Ended::HandshakeTimeout => {
                assert!(!self.authenticated);
                assert_eq!(self.now - self.start, HANDSHAKE_TIMEOUT);
            }
            Ended::Silent => assert_eq!(self.now - self.heard, KEEPALIVE_DEAD),
            _ => {}
        }
    }

    /// What holds at any time.
    fn check(&mut self) {
        let end = &self.end;
        assert_eq!(
            end.is_ended(),
            self.ended.is_some() || (self.failed && end.is_ended())
        );
        assert_eq!(
            end.is_authenticated(),
            self.authenticated && !end.is_ended()
        );
        assert_eq!(end.deadline().is_none(), end.is_ended() || self.failed);
        let unread = end.output().len();
        assert!(
            unread <= UNREAD_MAX + self.own,
            "{unread} bytes of output that nobody reads"
        );
        if !self.authenticated {
            assert!(
                self.listener.data <= 1,
                "more than one message before the authentication"
            );
        }
    }

    fn drain(&mut self, count: usize) {
        let wire = match &self.end {
            End::Gateway(_) => self.setup.wire,
            End::Client(end) => end.wire(),
        };
        let Some(bytes) = self.end.output().get(..count) else {
            return;
        };
        let bytes = bytes.to_vec();
        self.listener.hear(&bytes, wire);
        if self.keep {
            self.outcome.said.extend_from_slice(&bytes);
        }
        match &mut self.end {
            End::Gateway(end) => end.advance_output(count),
            End::Client(end) => end.advance_output(count),
        }
    }

    /// Whatever happened, silence ends it, and what it said was whole.
    fn finish(&mut self) {
        self.fresh.clear();
        self.pass(self.now + Duration::from_secs(200));
        self.check();
        assert!(
            self.end.is_ended() || self.failed,
            "200 s of silence and it goes on"
        );
        if let End::Gateway(end) = &mut self.end
            && self.failed
            && self.ended.is_none()
        {
            end.reject();
            assert!(end.is_ended());
        }
        while !self.end.output().is_empty() {
            self.drain(self.end.output().len());
        }
        self.listener.finish(true);
        self.farewell();
        // Nothing moves it any more.
        match &mut self.end {
            End::Gateway(end) => end.handle_input(self.now, b"\x81\x00"),
            End::Client(end) => end.handle_input(self.now, b"\x81\x00"),
        }
        self.poll();
        assert!(self.end.output().is_empty() && self.end.deadline().is_none());
    }

    /// The close fits the end.
    fn farewell(&self) {
        let close = self.listener.close.as_ref();
        let code = close.and_then(|(code, _)| *code);
        match &self.ended {
            None => {
                let expected = Some((Some(1008), "authentication failed".to_owned()));
                assert_eq!(self.listener.close, expected);
                assert!(self.listener.data <= 1, "something besides auth_required");
            }
            Some(Ended::Lost | Ended::Upgrade(_)) => assert_eq!(close, None),
            Some(Ended::Frame(fault)) => assert_eq!(code, Some(fault.close_code())),
            Some(Ended::Framing(_)) => assert!(matches!(code, Some(1002 | 1009))),
            Some(Ended::PlainRefused) => {
                assert_eq!(code, Some(1008));
                assert_eq!(
                    self.listener.data, 0,
                    "something was sent to a plain gateway"
                );
            }
            Some(Ended::Message(_)) => assert_eq!(code, Some(1008)),
            Some(Ended::Authentication { .. } | Ended::Local(_) | Ended::Peer { .. }) => {}
            Some(Ended::HandshakeTimeout) => assert!(close.is_none() || code == Some(1008)),
            Some(Ended::Silent) => assert!(matches!(code, Some(1001 | 1008))),
        }
    }
}

impl End {
    fn poll(&mut self, now: Instant) -> Option<Told> {
        Some(match self {
            Self::Gateway(end) => match end.poll_event(now)? {
                GatewayEvent::Authenticated => Told::Authenticated,
                GatewayEvent::AuthenticationFailed(_) => Told::Failed,
                GatewayEvent::Ended(ended) => Told::Ended(ended),
                event => Told::Gateway(event),
            },
            Self::Client(end) => match end.poll_event(now)? {
                ClientEvent::Authenticated => Told::Authenticated,
                ClientEvent::Ended(ended) => Told::Ended(ended),
                event => Told::Client(event),
            },
        })
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Gateway(end) => end.poll_timeout(),
            Self::Client(end) => end.poll_timeout(),
        }
    }

    fn output(&self) -> &[u8] {
        match self {
            Self::Gateway(end) => end.output(),
            Self::Client(end) => end.output(),
        }
    }

    fn is_ended(&self) -> bool {
        match self {
            Self::Gateway(end) => end.is_ended(),
            Self::Client(end) => end.is_ended(),
        }
    }

    fn is_authenticated(&self) -> bool {
        match self {
            Self::Gateway(end) => end.is_authenticated(),
            Self::Client(end) => end.is_authenticated(),
        }
    }
}
