//! The client's end.

use super::*;
use crate::connection::{ClientConfig, ClientConnection, ClientEvent};
use crate::crypto::ClientEntropy;
use crate::error::{Ended, HandshakeFailure, Refuser};
use crate::limits::MESSAGE_MAX_BEFORE_AUTH;
use crate::wire::{Event, EventKind, Request};

fn config() -> ClientConfig {
    ClientConfig::new(key(), "gateway:8433")
}

/// A client whose upgrade was answered.
fn upgraded(config: ClientConfig) -> ClientConnection {
    let entropy = ClientEntropy {
        nonce: NONCE_C,
        websocket_key: *b"the sample nonce",
        mask_seed: [4; 16],
    };
    let mut client = ClientConnection::new(config, entropy, start());
    let ask = String::from_utf8(client.take_output()).unwrap();
    assert!(
        ask.starts_with("GET / HTTP/1.1\r\nHost: gateway:8433\r\n"),
        "{ask}"
    );
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(feed(&mut client, answer.as_bytes()), []);
    client
}

fn ready(config: ClientConfig) -> (ClientConnection, Peer) {
    let mut client = upgraded(config);
    let mut peer = Peer::gateway(Wire::Binary);
    assert_eq!(feed(&mut client, &peer.seal(auth_required())), []);
    assert_eq!(
        peer.read(&client.take_output()),
        [String::from_utf8(auth()).unwrap()]
    );
    assert_eq!(
        feed(&mut client, &peer.seal(auth_ok())),
        [ClientEvent::Authenticated]
    );
    (client, peer.under(session_key()))
}

fn feed(client: &mut ClientConnection, bytes: &[u8]) -> Vec<ClientEvent> {
    client.handle_input(start(), bytes);
    std::iter::from_fn(|| client.poll_event(start())).collect()
}

fn ended(events: &[ClientEvent]) -> Ended {
    match events {
        [ClientEvent::Ended(ended)] => ended.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_wire_encoding_is_detected_from_the_first_message() {
    for wire in Wire::ALL {
        let mut client = upgraded(ClientConfig {
            accept_plain: true,
            ..config()
        });
        let mut peer = Peer::gateway(*wire);
        assert_eq!(feed(&mut client, &peer.seal(auth_required())), []);
        assert_eq!(client.wire(), *wire);
        assert_eq!(peer.read(&client.take_output()).len(), 1);
        assert_eq!(
            feed(&mut client, &peer.seal(auth_ok())),
            [ClientEvent::Authenticated]
        );
    }
    let mut client = upgraded(ClientConfig {
        accept_plain: true,
        ..config()
    });
    let spaced = [b" \t\r\n".to_vec(), auth_required()].concat();
    assert_eq!(
        feed(&mut client, &Peer::gateway(Wire::Plain).seal(spaced)),
        []
    );
    assert_eq!(client.wire(), Wire::Plain);
}

#[test]
fn the_detected_encoding_is_held_to() {
    let mut client = upgraded(config());
    feed(
        &mut client,
        &Peer::gateway(Wire::Base64).seal(auth_required()),
    );
    let events = feed(&mut client, &Peer::gateway(Wire::Binary).seal(auth_ok()));
    assert!(matches!(ended(&events), Ended::Frame(_)));
}

#[test]
fn a_detected_plain_is_refused_before_anything_is_told() {
    let mut peer = Peer::gateway(Wire::Plain);
    let long = [b"{".to_vec(), vec![b' '; MESSAGE_MAX_BEFORE_AUTH]].concat();
    for message in [auth_required(), b"{".to_vec(), long] {
        let mut client = upgraded(config());
        let events = feed(&mut client, &peer.seal(message));
        assert_eq!(ended(&events), Ended::PlainRefused);
        assert_eq!(peer.read(&client.take_output()), ["close 1008 "]);
    }
    let mut client = upgraded(ClientConfig {
        wire: Some(Wire::Plain),
        ..config()
    });
    assert_eq!(feed(&mut client, &peer.seal(auth_required())), []);
    assert_eq!(peer.read(&client.take_output()).len(), 1);
}

#[test]
fn a_first_frame_that_does_not_decrypt_is_a_failed_authentication() {
    let check = |wire, frame: &[u8]| {
        let mut client = upgraded(ClientConfig { wire, ..config() });
        let events = feed(&mut client, frame);
        let Ended::Authentication {
            by: Refuser::Us,
            detail,
        } = ended(&events)
        else {
            panic!("{events:?}")
        };
        assert!(
            Peer::gateway(Wire::Binary).read(&client.take_output())[0].starts_with("close 1008")
        );
        detail
    };
    let peer = Peer::gateway(Wire::Binary);
    let other = Peer::gateway(Wire::Binary)
        .under([9; 16])
        .seal(auth_required());
    assert!(matches!(check(None, &other), HandshakeFailure::Frame(_)));
    assert!(matches!(
        check(None, &peer.frame(Opcode::Text, b"")),
        HandshakeFailure::Frame(_)
    ));
    let pinned = check(Some(Wire::Base64), &peer.seal(auth_required()));
    assert!(matches!(pinned, HandshakeFailure::Frame(_)));
    assert!(matches!(
        check(None, &peer.seal("[]")),
        HandshakeFailure::Fault(_)
    ));
    let reflected = String::from_utf8(auth_required()).unwrap();
    let (s, c) = (
        Nonce::new(NONCE_S).to_base64(),
        Nonce::new(NONCE_C).to_base64(),
    );
    check(None, &peer.seal(reflected.replace(&s, &c)));
}

#[test]
fn a_first_message_that_is_too_large_is_no_sign_of_another_key() {
    let mut client = upgraded(config());
    let mut peer = Peer::gateway(Wire::Binary);
    let mut json = auth_required();
    json.resize(MESSAGE_MAX_BEFORE_AUTH, b' ');
    assert_eq!(feed(&mut client, &peer.seal(&json)), []);
    json.push(b' ');
    let mut client = upgraded(config());
    let events = feed(&mut client, &peer.seal(&json));
    assert!(matches!(ended(&events), Ended::Frame(_)));
    assert!(peer.read(&client.take_output())[0].starts_with("close 1009"));
}

#[test]
fn a_gateway_with_a_wrong_proof_is_left() {
    let mut client = upgraded(config());
    let mut peer = Peer::gateway(Wire::Binary);
    feed(&mut client, &peer.seal(auth_required()));
    client.take_output();
    let wrong = String::from_utf8(auth_ok())
        .unwrap()
        .replace("hmac\":\"", "hmac\":\"A");
    let events = feed(&mut client, &peer.seal(wrong));
    assert!(matches!(
        ended(&events),
        Ended::Authentication {
            by: Refuser::Us,
            ..
        }
    ));
    peer.framer = Framer::new(true, 1000);
    assert_eq!(
        peer.read(&client.take_output()),
        ["close 1008 authentication failed"]
    );
}

#[test]
fn a_close_after_our_proof_is_a_refusal_unless_it_says_something_else() {
    let cases = [
        (1008, "authentication failed", true),
        (1008, "", true),
        (1008, "handshake timed out", false),
        (1000, "", true),
        (1001, "shutting down", false),
        (1013, "", false),
    ];
    for (code, reason, refused) in cases {
        let mut client = upgraded(config());
        let peer = Peer::gateway(Wire::Binary);
        feed(&mut client, &peer.seal(auth_required()));
        let mut payload = u16::to_be_bytes(code).to_vec();
        payload.extend_from_slice(reason.as_bytes());
        let events = feed(&mut client, &peer.frame(Opcode::Close, &payload));
        let is_refusal = matches!(
            ended(&events),
            Ended::Authentication {
                by: Refuser::Peer,
                detail: HandshakeFailure::Closed
            }
        );
        assert_eq!(is_refusal, refused, "{code} {reason}");
    }
}

#[test]
fn nothing_but_the_handshake_is_sent_before_auth_ok() {
    let mut client = upgraded(config());
    client.send_request(1, &Request::GetDevices);
    feed(
        &mut client,
        &Peer::gateway(Wire::Binary).seal(auth_required()),
    );
    client.send_request(2, &Request::GetDevices);
    assert_eq!(
        Peer::gateway(Wire::Binary)
            .read(&client.take_output())
            .len(),
        1
    );
}

#[test]
fn events_right_behind_auth_ok_are_under_the_session_key() {
    let mut client = upgraded(config());
    let peer = Peer::gateway(Wire::Binary);
    let session = Peer::gateway(Wire::Binary).under(session_key());
    let event =
        r#"{"id":1,"type":"event","event_type":"registry_updated","data":{"devid":"a","state":0}}"#;
    let input = [
        peer.seal(auth_required()),
        peer.seal(auth_ok()),
        session.seal(event),
    ]
    .concat();
    let kind = EventKind::RegistryUpdated {
        device: "a".into(),
        state: 0,
    };
    assert_eq!(
        feed(&mut client, &input),
        [
            ClientEvent::Authenticated,
            ClientEvent::Event {
                event: Event { id: 1, kind },
                json: None
            },
        ]
    );
}

#[test]
fn a_request_is_answered_unknown_type_and_a_flood_of_them_costs_no_memory() {
    let (mut client, mut peer) = ready(config());
    let request = format!(r#"{{"id":-3,"type":"{}"}}"#, "x".repeat(1000));
    assert_eq!(feed(&mut client, &peer.seal(&request)), []);
    let answer = peer.read(&client.take_output()).remove(0);
    let expected = r#"{"id":-3,"type":"result","success":false,"error":{"code":"unknown_type","#;
    assert!(answer.starts_with(expected), "{answer}");
    assert!(answer.len() < 300, "{answer}");
    for _ in 0..100 {
        feed(
            &mut client,
            &peer.seal(r#"{"id":1,"type":"x"}"#).repeat(100),
        );
    }
    assert!(client.output().len() < 70_000, "{}", client.output().len());
}

#[test]
fn what_is_unknown_is_told_once_and_ignored() {
    let (mut client, peer) = ready(config());
    let odd = r#"{"id":1,"type":"event","event_type":"odd","data":{},"more":1}"#;
    let events = feed(&mut client, &peer.seal(odd));
    let [ClientEvent::Event { event, .. }, ClientEvent::Oddity(text)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(text, "unknown event type odd");
    assert!(matches!(event.kind, EventKind::Other { .. }));
    assert_eq!(feed(&mut client, &peer.seal(odd)).len(), 1);
    for ignored in [
        r#"{"type":"result"}"#,
        r#"{"id":1}"#,
        r#"{"id":"x","type":"event"}"#,
        "{}",
    ] {
        assert_eq!(feed(&mut client, &peer.seal(ignored)), [], "{ignored}");
    }
    // Half a surrogate pair in a name that nobody asked for.
    let result = r#"{"\ud800":1,"id":2,"type":"result","success":true}"#;
    assert_eq!(feed(&mut client, &peer.seal(result)).len(), 1);
}

#[test]
fn no_json_object_ends_the_connection() {
    for junk in ["", "null", "[{}]", "{", "{} 1"] {
        let (mut client, peer) = ready(config());
        let events = feed(&mut client, &peer.seal(junk));
        assert!(matches!(ended(&events), Ended::Message(_)), "{junk}");
    }
}

#[test]
fn events_bring_their_text_along_if_asked() {
    let (mut client, peer) = ready(ClientConfig {
        keep_json: true,
        ..config()
    });
    let text =
        r#"{"id":1,"type":"event","event_type":"state_changed","data":{"devid":"a","value":[]}}"#;
    let events = feed(&mut client, &peer.seal(text));
    assert!(matches!(&events[..], [ClientEvent::Event { json: Some(json), .. }] if json == text));
}
