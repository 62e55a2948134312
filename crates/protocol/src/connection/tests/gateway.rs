//! The gateway's end.

use std::sync::Arc;

use super::*;
use crate::connection::{GatewayConfig, GatewayConnection, GatewayEvent};
use crate::error::{Ended, HandshakeFailure};
use crate::limits::{MESSAGE_MAX_BEFORE_AUTH, MESSAGE_MAX_GATEWAY};
use crate::websocket::UpgradeError;
use crate::wire::{ErrorCode, Request};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn accepted(wire: Wire) -> GatewayConnection {
    let mut config = GatewayConfig::new(key());
    config.wire = wire;
    GatewayConnection::new(Arc::new(config), Nonce::new(NONCE_S), start())
}

/// A gateway that has sent `auth_required`, which the peer has read.
fn upgraded(wire: Wire) -> (GatewayConnection, Peer) {
    let mut gateway = accepted(wire);
    let mut peer = Peer::client(wire);
    gateway.handle_input(start(), ASK);
    assert_eq!(
        peer.read(&after_head(&gateway.take_output())),
        [text(&auth_required())]
    );
    (gateway, peer)
}

fn ready(wire: Wire) -> (GatewayConnection, Peer) {
    let (mut gateway, mut peer) = upgraded(wire);
    assert_eq!(
        feed(&mut gateway, &peer.seal(auth())),
        [GatewayEvent::Authenticated]
    );
    assert_eq!(peer.read(&gateway.take_output()), [text(&auth_ok())]);
    (gateway, peer.under(session_key()))
}

fn feed(gateway: &mut GatewayConnection, bytes: &[u8]) -> Vec<GatewayEvent> {
    gateway.handle_input(start(), bytes);
    std::iter::from_fn(|| gateway.poll_event(start())).collect()
}

fn after_head(output: &[u8]) -> Vec<u8> {
    let end = output
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    assert!(output.starts_with(b"HTTP/1.1 101 "));
    output[end + 4..].to_vec()
}

fn text(json: &[u8]) -> String {
    String::from_utf8(json.to_vec()).unwrap()
}

fn padded(length: usize) -> Vec<u8> {
    let mut json = br#"{"id":7,"type":"get_devices"}"#.to_vec();
    json.resize(length, b' ');
    json
}

#[test]
fn frames_behind_auth_are_handled_after_auth_ok_under_the_session_key() {
    for wire in Wire::ALL {
        let mut gateway = accepted(*wire);
        let mut peer = Peer::client(*wire);
        let mut input = ASK.to_vec();
        input.extend(peer.seal(auth()));
        let session = Peer::client(*wire).under(session_key());
        input.extend(session.seal(br#"{"id":1,"type":"get_devices"}"#));
        assert_eq!(
            feed(&mut gateway, &input),
            [
                GatewayEvent::Authenticated,
                GatewayEvent::Request {
                    id: 1,
                    request: Request::GetDevices
                },
            ]
        );
        // Both handshake messages travel under the device key, what is sent now does not.
        let output = after_head(&gateway.take_output());
        assert_eq!(
            peer.read(&output),
            [text(&auth_required()), text(&auth_ok())]
        );
        gateway.send(b"{}");
        assert_eq!(
            peer.under(session_key()).read(&gateway.take_output()),
            ["{}"]
        );
    }
}

#[test]
fn whatever_is_wrong_with_auth_the_answer_is_the_same() {
    let check = |name: &str, frame: Vec<u8>| {
        let (mut gateway, mut peer) = upgraded(Wire::Binary);
        let events = feed(&mut gateway, &frame);
        assert!(
            matches!(events[..], [GatewayEvent::AuthenticationFailed(_)]),
            "{name}: {events:?}"
        );
        assert!(
            gateway.output().is_empty(),
            "{name}: nothing is sent before the delay is over"
        );
        assert_eq!(gateway.poll_timeout(), None);
        assert_eq!(
            feed(&mut gateway, &peer.seal(auth())),
            [],
            "{name}: there is no second try"
        );
        gateway.send(b"{}");
        gateway.reject();
        assert_eq!(
            peer.read(&gateway.take_output()),
            ["close 1008 authentication failed"]
        );
        assert!(gateway.is_ended());
        assert_eq!(gateway.poll_event(start()), None);
    };
    let peer = Peer::client(Wire::Binary);
    let good = text(&auth());
    check(
        "another key",
        Peer::client(Wire::Binary).under([9; 16]).seal(auth()),
    );
    check("a text message", Peer::client(Wire::Base64).seal(auth()));
    check("no block", peer.frame(Opcode::Binary, b""));
    check("no whole block", peer.frame(Opcode::Binary, &[0; 17]));
    check("no JSON", peer.seal("auth"));
    check("no object", peer.seal("[]"));
    check("no UTF-8", peer.seal(b"\xff"));
    check(
        "too deep",
        peer.seal(format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64))),
    );
    check("a request", peer.seal(r#"{"id":1,"type":"get_devices"}"#));
    check("auth_ok", peer.seal(auth_ok()));
    check("no data", peer.seal(r#"{"type":"auth"}"#));
    check("no nonce", peer.seal(good.replace("nonce", "once")));
    check("no hmac", peer.seal(good.replace("hmac", "mac")));
    check(
        "a hmac that is no text",
        peer.seal(r#"{"type":"auth","data":{"hmac":1}}"#),
    );
    check(
        "nonce without padding",
        peer.seal(good.replace("==\"", "\"")),
    );
    let reflected = Nonce::new(NONCE_S).to_base64();
    check(
        "reflected",
        peer.seal(good.replace(&Nonce::new(NONCE_C).to_base64(), &reflected)),
    );
}

#[test]
fn what_does_not_decrypt_after_auth_ok_ends_the_connection() {
    let check = |wire: Wire, frame: fn(&Peer) -> Vec<u8>| {
        let (mut gateway, mut peer) = ready(wire);
        let events = feed(&mut gateway, &frame(&peer));
        assert!(
            matches!(events[..], [GatewayEvent::Ended(Ended::Frame(_))]),
            "{events:?}"
        );
        assert!(peer.read(&gateway.take_output())[0].starts_with("close 1008"));
    };
    check(Wire::Binary, |peer| peer.frame(Opcode::Binary, b""));
    check(Wire::Binary, |peer| peer.frame(Opcode::Binary, &[0; 15]));
    check(Wire::Binary, |_| Peer::client(Wire::Binary).seal("{}"));
    check(Wire::Binary, |_| Peer::client(Wire::Plain).seal("{}"));
    check(Wire::Base64, |peer| peer.frame(Opcode::Text, b""));
    check(Wire::Base64, |peer| peer.frame(Opcode::Text, b"AAAA AAAA"));
    check(Wire::Base64, |peer| {
        peer.frame(Opcode::Text, b"AAAAAAAAAAAAAAAAAAAAAA")
    });
    check(Wire::Base64, |peer| peer.frame(Opcode::Binary, &[0; 16]));
    check(Wire::Plain, |peer| peer.frame(Opcode::Binary, b"{}"));
}

#[test]
fn what_decrypts_and_is_no_object_is_an_invalid_request_and_no_end() {
    for wire in Wire::ALL {
        let (mut gateway, peer) = ready(*wire);
        for junk in [
            &b"nonsense"[..],
            b"\xff\xfe",
            b"[]",
            b"\xef\xbb\xbf{}",
            b"{}\0",
            b"{} {}",
        ] {
            let events = feed(&mut gateway, &peer.seal(junk));
            let [GatewayEvent::Invalid { id: 0, error }] = &events[..] else {
                panic!("{events:?}")
            };
            assert_eq!(error.code, ErrorCode::InvalidRequest);
        }
        assert_eq!(feed(&mut gateway, &peer.seal(r#"{"type":"event"}"#)), []);
        assert_eq!(feed(&mut gateway, &peer.seal(padded(40))).len(), 1);
    }
}

#[test]
fn limits_count_the_json_to_the_byte() {
    for wire in Wire::ALL {
        let (mut gateway, peer) = upgraded(*wire);
        let events = feed(&mut gateway, &peer.seal(padded(MESSAGE_MAX_BEFORE_AUTH)));
        assert!(matches!(
            events[..],
            [GatewayEvent::AuthenticationFailed(HandshakeFailure::Fault(
                _
            ))]
        ));
        let (mut gateway, mut peer) = upgraded(*wire);
        let events = feed(
            &mut gateway,
            &peer.seal(padded(MESSAGE_MAX_BEFORE_AUTH + 1)),
        );
        assert!(matches!(events[..], [GatewayEvent::Ended(Ended::Frame(_))]));
        assert!(peer.read(&gateway.take_output())[0].starts_with("close 1009"));

        let (mut gateway, mut peer) = ready(*wire);
        let events = feed(&mut gateway, &peer.seal(padded(MESSAGE_MAX_GATEWAY)));
        assert!(matches!(events[..], [GatewayEvent::Request { id: 7, .. }]));
        let events = feed(&mut gateway, &peer.seal(padded(MESSAGE_MAX_GATEWAY + 1)));
        assert!(matches!(events[..], [GatewayEvent::Ended(Ended::Frame(_))]));
        assert!(peer.read(&gateway.take_output())[0].starts_with("close 1009"));

        // So large that it is refused by its header alone.
        let (mut gateway, mut peer) = ready(*wire);
        let events = feed(
            &mut gateway,
            &peer.seal(padded(2 * MESSAGE_MAX_GATEWAY))[..14],
        );
        assert!(matches!(
            events[..],
            [GatewayEvent::Ended(Ended::Framing(_))]
        ));
        assert!(peer.read(&gateway.take_output())[0].starts_with("close 1009"));
    }
}

#[test]
fn pings_are_answered_also_during_the_handshake() {
    let (mut gateway, mut peer) = upgraded(Wire::Binary);
    assert_eq!(feed(&mut gateway, &peer.frame(Opcode::Ping, b"hello")), []);
    let output = gateway.take_output();
    assert_eq!(output, b"\x8a\x05hello");
    assert_eq!(peer.read(&output), ["pong"]);
}

#[test]
fn a_peer_that_pings_and_does_not_read_costs_no_memory_and_gets_the_latest_answer() {
    let (mut gateway, mut peer) = ready(Wire::Binary);
    let flood = peer.frame(Opcode::Ping, &[b'x'; 125]).repeat(100);
    for _ in 0..100 {
        assert_eq!(feed(&mut gateway, &flood), []);
    }
    feed(&mut gateway, &peer.frame(Opcode::Ping, b"last"));
    let behind = gateway.output().len();
    assert!(behind < 80_000, "{behind} bytes");
    gateway.advance_output(behind);
    assert_eq!(gateway.output(), b"\x8a\x04last");
    assert_eq!(peer.read(&gateway.take_output()), ["pong"]);
    assert!(gateway.output().is_empty());
}

#[test]
fn a_close_is_answered_by_its_own_code_if_that_may_travel() {
    for (payload, answer) in [
        (&[3, 232][..], "close 1000 "),
        (&[0x0f, 0xa0, b'x'], "close 4000 "),
        (&[], "close 0 "),
        (&[3, 237], "close 1002 "),
        (&[0, 1], "close 1002 "),
    ] {
        let (mut gateway, mut peer) = ready(Wire::Binary);
        let events = feed(&mut gateway, &peer.frame(Opcode::Close, payload));
        assert!(matches!(
            events[..],
            [GatewayEvent::Ended(Ended::Peer { .. })]
        ));
        assert_eq!(peer.read(&gateway.take_output()), [answer]);
    }
}

#[test]
fn http_that_asks_for_something_else_is_told_so() {
    let check = |path: Option<&str>, ask: &[u8], answer: &str, ended: UpgradeError| {
        let mut config = GatewayConfig::new(key());
        config.path = path.map(str::to_owned);
        let mut gateway = GatewayConnection::new(Arc::new(config), Nonce::new(NONCE_S), start());
        let events = feed(&mut gateway, ask);
        assert_eq!(events, [GatewayEvent::Ended(Ended::Upgrade(ended))]);
        assert!(text(&gateway.take_output()).starts_with(answer));
    };
    let plain = b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n";
    check(
        None,
        plain,
        "HTTP/1.1 426 Upgrade Required\r\n",
        UpgradeError::NotAnUpgrade,
    );
    let refused = UpgradeError::Refused { status: 404 };
    check(Some("/ws"), ASK, "HTTP/1.1 404 Not Found\r\n", refused);
    check(None, b"\x16\x03\x01\x02\x00\x01", "", UpgradeError::Tls);
}

#[test]
fn an_idle_connection_gives_its_memory_back() {
    let (mut gateway, peer) = ready(Wire::Binary);
    gateway.send(&padded(1_000_000));
    gateway.advance_output(gateway.output().len());
    assert!(gateway.swap_buffer(Vec::new()).capacity() <= 4096);
    // A buffer on loan is the caller's to keep.
    gateway.swap_buffer(Vec::with_capacity(100_000));
    gateway.send(&padded(50_000));
    gateway.advance_output(gateway.output().len());
    assert!(gateway.swap_buffer(Vec::new()).capacity() >= 100_000);
    // What is not written yet moves over to the new buffer.
    gateway.send(b"{}");
    gateway.advance_output(1);
    gateway.swap_buffer(Vec::with_capacity(10));
    assert_eq!(gateway.output().len(), 17);
    drop(peer);
}

#[test]
fn input_without_a_byte_is_silence() {
    let (mut gateway, mut peer) = ready(Wire::Binary);
    let due = gateway.poll_timeout().unwrap();
    gateway.handle_input(due - std::time::Duration::from_millis(1), b"");
    assert_eq!(gateway.poll_timeout(), Some(due));
    gateway.handle_timeout(due);
    assert_eq!(peer.read(&gateway.take_output()), ["ping "]);
}
