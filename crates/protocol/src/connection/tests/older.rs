//! The older dialect (section 8): claims, tokens, and messages as plain JSON.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::connection::{
    ClientConfig, ClientConnection, ClientEvent, GatewayConfig, GatewayConnection, GatewayEvent,
};
use crate::crypto::{ApiKey, ClientEntropy, Token};
use crate::error::{Ended, HandshakeFailure, Refuser};
use crate::token::{Claim, TokenExchange, TokenQuestion, Tokens};
use crate::wire::Request;

fn api_key() -> ApiKey {
    ApiKey::parse("OPENAPI_KEY of a test").unwrap()
}

fn gateway() -> GatewayConnection {
    let config = GatewayConfig::new(api_key());
    GatewayConnection::new(Arc::new(config), Nonce::new([1; 16]), start())
}

fn client(token: &str) -> ClientConnection {
    let entropy = ClientEntropy {
        nonce: [2; 16],
        websocket_key: [3; 16],
        mask_seed: [4; 16],
    };
    let config = ClientConfig::new(Token::new(token), "gateway:8433");
    ClientConnection::new(config, entropy, start())
}

fn tokens() -> Tokens {
    Tokens {
        access: Token::new("acc"),
        refresh: Token::new("ref"),
        lifetime: Duration::from_secs(60),
    }
}

/// Gives a gateway a question and returns what it makes of it.
fn asked(gateway: &mut GatewayConnection, question: TokenQuestion<'_>) -> GatewayEvent {
    let mut out = Vec::new();
    question.write("gateway", &mut out);
    for byte in out {
        gateway.handle_input(start(), &[byte]);
    }
    gateway.poll_event(start()).unwrap()
}

#[test]
fn tokens_are_claimed_and_given() {
    let mut first = gateway();
    let event = asked(&mut first, TokenQuestion::New(&api_key()));
    let GatewayEvent::Claimed(Claim::New(named)) = event else {
        panic!("{event:?}");
    };
    assert!(api_key().is(&named));
    first.give(&tokens());
    let answer = first.take_output();
    assert_eq!(TokenExchange::default().handle(&answer), Ok(Some(tokens())));
    assert!(first.is_ended());

    let mut second = gateway();
    let question = TokenQuestion::Renew(&api_key(), &tokens().refresh);
    let claim = GatewayEvent::Claimed(Claim::Renew(tokens().refresh));
    assert_eq!(asked(&mut second, question), claim);
}

#[test]
fn a_wrong_claim_is_refused_when_told_so_and_not_before() {
    let mut gateway = gateway();
    asked(&mut gateway, TokenQuestion::New(&api_key()));
    gateway.deny("API key");
    let failed = GatewayEvent::AuthenticationFailed(HandshakeFailure::Claim("API key"));
    assert_eq!(gateway.poll_event(start()), Some(failed));
    assert!(gateway.output().is_empty() && !gateway.is_ended());
    gateway.reject();
    let answer = String::from_utf8(gateway.take_output()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(gateway.is_ended() && !gateway.is_authenticated());
}

#[test]
fn a_session_speaks_plain_json_from_the_upgrade_on() {
    let (mut gateway, mut client) = (gateway(), client("acc"));
    let now = start();
    gateway.handle_input(now, &client.take_output());
    let claim = GatewayEvent::Claimed(Claim::Session(Token::new("acc")));
    assert_eq!(gateway.poll_event(now), Some(claim));
    gateway.admit();
    assert_eq!(gateway.poll_event(now), Some(GatewayEvent::Authenticated));
    gateway.send(br#"{"id":1,"type":"event","event_type":"registry_updated","data":{"devid":"a","state":1}}"#);
    let bytes = gateway.take_output();
    assert!(bytes.ends_with(br#""state":1}}"#), "unencrypted below TLS");
    client.handle_input(now, &bytes);
    assert_eq!(client.poll_event(now), Some(ClientEvent::Authenticated));
    assert!(matches!(
        client.poll_event(now),
        Some(ClientEvent::Event { .. })
    ));
    client.send_request(7, &Request::GetDevices);
    gateway.handle_input(now, &client.take_output());
    let event = gateway.poll_event(now);
    assert!(
        matches!(event, Some(GatewayEvent::Request { id: 7, .. })),
        "{event:?}"
    );
    // Larger than a message of the handshake may be.
    gateway.send(
        format!(
            r#"{{"id":7,"type":"result","success":true,"result":["{}"]}}"#,
            "x".repeat(9000)
        )
        .as_bytes(),
    );
    client.handle_input(now, &gateway.take_output());
    assert!(matches!(
        client.poll_event(now),
        Some(ClientEvent::Reply { id: 7, .. })
    ));
}

#[test]
fn a_refused_token_is_a_failed_authentication() {
    let (mut gateway, mut client) = (gateway(), client("old"));
    let now = start();
    gateway.handle_input(now, &client.take_output());
    gateway.poll_event(now);
    gateway.deny("access token");
    gateway.poll_event(now);
    gateway.reject();
    client.handle_input(now, &gateway.take_output());
    let ended = ClientEvent::Ended(Ended::Authentication {
        by: Refuser::Peer,
        detail: HandshakeFailure::Claim("access token"),
    });
    assert_eq!(client.poll_event(now), Some(ended));
}

#[test]
fn other_requests_and_paths_are_refused_and_nobody_waits_for_ever() {
    let refuse = |config: GatewayConfig, bytes: &[u8]| {
        let now = start();
        let mut gateway = GatewayConnection::new(Arc::new(config), Nonce::new([1; 16]), now);
        gateway.handle_input(now, bytes);
        let event = gateway.poll_event(now);
        (event, String::from_utf8(gateway.take_output()).unwrap())
    };
    let (_, answer) = refuse(GatewayConfig::new(api_key()), b"GET /x HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    let (_, answer) = refuse(
        GatewayConfig::new(api_key()),
        b"POST /api/v1/token HTTP/1.1\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");

    let now = start();
    let config = GatewayConfig {
        path: Some("/elsewhere".to_owned()),
        ..GatewayConfig::new(api_key())
    };
    let mut gateway = GatewayConnection::new(Arc::new(config), Nonce::new([1; 16]), now);
    gateway.handle_input(now, &client("acc").take_output());
    assert!(matches!(
        gateway.poll_event(now),
        Some(GatewayEvent::Claimed(_))
    ));
    gateway.admit();
    assert!(gateway.take_output().starts_with(b"HTTP/1.1 404 "));
    assert!(!gateway.is_authenticated());

    let mut gateway = self::gateway();
    let later = gateway.poll_timeout().unwrap();
    gateway.handle_timeout(later);
    let ended = GatewayEvent::Ended(Ended::HandshakeTimeout);
    assert_eq!(gateway.poll_event(later), Some(ended));
}
