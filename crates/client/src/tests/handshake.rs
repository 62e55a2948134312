//! Connecting: patience, keys on either side, wire encodings, and what is no gateway.

use std::time::Duration;

use hearthgate_protocol::connection::{GatewayConfig, GatewayEvent};
use hearthgate_protocol::error::{Ended, Refuser};
use hearthgate_protocol::variants::{Proof, Variants, Wire};
use hearthgate_protocol::websocket::close;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::support::*;
use crate::{Client, ClientError, ClientOptions, Endpoint, Fault, NoUpgrade};

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up_after_ten_seconds() {
    let (ours, _theirs) = duplex(1024);
    let started = Instant::now();
    let error = Client::over(ours, true, options()).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    assert!(error.to_string().contains("within 10 s"), "{error}");
    assert_eq!(error.fault(), Fault::Connection);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_in_the_midst_of_the_handshake_is_given_up_with_1008() {
    let (ours, mut gateway) = FakeGateway::new(GatewayConfig::new(key(KEY)));
    let client = tokio::spawn(Client::over(ours, true, options()));
    // The upgrade and `auth_required` go out, the answer to `auth` does not.
    gateway.mute = false;
    let mut buffer = vec![0; 4096];
    let count = gateway.stream.read(&mut buffer).await.unwrap();
    let now = crate::link::now();
    gateway.connection.handle_input(now, &buffer[..count]);
    assert_eq!(gateway.connection.poll_event(now), None);
    gateway.flush().await;
    gateway.mute = true;
    assert_eq!(gateway.next().await, GatewayEvent::Authenticated);
    let error = client.await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_patience_of_the_options_counts() {
    for patience in [Duration::from_millis(200), Duration::from_secs(60)] {
        let (ours, _theirs) = duplex(1024);
        let started = Instant::now();
        let options = ClientOptions {
            connect_timeout: patience,
            ..options()
        };
        let error = Client::over(ours, true, options).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
        assert_eq!(started.elapsed(), patience);
    }
}

#[tokio::test(start_paused = true)]
async fn every_wire_encoding_is_detected() {
    for wire in Wire::ALL {
        let config = GatewayConfig {
            wire: *wire,
            ..GatewayConfig::new(key(KEY))
        };
        let (outcome, _gateway) = connect_to(config, true, without_mirror()).await;
        assert_eq!(outcome.unwrap().0.wire(), *wire);
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_message_that_does_not_decrypt_is_our_refusal() {
    let config = GatewayConfig::new(key(OTHER_KEY));
    let (outcome, _gateway) = connect_to(config, true, options()).await;
    let error = outcome.unwrap_err();
    let ClientError::Authentication { by, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*by, Refuser::Us);
    assert_eq!(error.fault(), Fault::Authentication);
    assert!(error.to_string().contains("check the device key"));
    assert!(!error.to_string().contains(KEY));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_closes_after_our_proof_has_refused_our_key() {
    // Without encryption it is the proof alone that tells the keys apart.
    let config = GatewayConfig {
        wire: Wire::Plain,
        ..GatewayConfig::new(key(OTHER_KEY))
    };
    let (outcome, _gateway) = connect_to(config, true, options()).await;
    let error = outcome.unwrap_err();
    let ClientError::Authentication { by, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*by, Refuser::Peer);
    assert!(error.to_string().contains("the gateway refused our proof"));
}

#[tokio::test(start_paused = true)]
async fn other_variants_fail_as_an_authentication_too() {
    let config = GatewayConfig {
        variants: Variants {
            proof: Proof::Sha256,
            ..Variants::default()
        },
        ..GatewayConfig::new(key(KEY))
    };
    let (outcome, _gateway) = connect_to(config, true, options()).await;
    assert_eq!(outcome.unwrap_err().fault(), Fault::Authentication);
}

#[tokio::test(start_paused = true)]
async fn plain_from_afar_is_taken_only_if_it_is_pinned() {
    let config = || GatewayConfig {
        wire: Wire::Plain,
        ..GatewayConfig::new(key(KEY))
    };
    let (outcome, _gateway) = connect_to(config(), false, options()).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ClientError::PlainRefused { .. }), "{error}");
    let pinned = ClientOptions {
        wire: Some(Wire::Plain),
        ..options()
    };
    let (outcome, _gateway) = connect_to(config(), false, pinned).await;
    assert!(outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_with_too_many_sessions_says_so() {
    let (ours, mut gateway) = FakeGateway::new(GatewayConfig::new(key(KEY)));
    let client = tokio::spawn(Client::over(ours, true, options()));
    let mut buffer = vec![0; 4096];
    let count = gateway.stream.read(&mut buffer).await.unwrap();
    let now = crate::link::now();
    gateway.connection.handle_input(now, &buffer[..count]);
    gateway
        .connection
        .close(close::TRY_AGAIN, "too many sessions");
    gateway.flush().await;
    let error = client.await.unwrap().unwrap_err();
    assert!(error.is_retryable());
    assert!(
        error.to_string().contains("1013 (too many sessions)"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn another_path_is_refused_by_its_status() {
    let config = GatewayConfig {
        path: Some("/api".to_owned()),
        ..GatewayConfig::new(key(KEY))
    };
    let (outcome, _gateway) = connect_to(config.clone(), true, options()).await;
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("HTTP 404"), "{error}");
    let endpoint: Endpoint = "ws://gateway.test/api".parse().unwrap();
    let (outcome, _gateway) =
        connect_to(config, true, ClientOptions::new(endpoint, key(KEY))).await;
    assert!(outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_wait_for_the_handshake_ends_the_attempt() {
    let (ours, mut theirs) = duplex(4096);
    let attempt = tokio::spawn(Client::over(ours, true, options()));
    let mut request = vec![0; 4096];
    assert!(theirs.read(&mut request).await.unwrap() > 0);
    attempt.abort();
    let _ = attempt.await;
    let started = Instant::now();
    assert_eq!(theirs.read(&mut request).await.unwrap(), 0);
    assert!(started.elapsed() < Duration::from_secs(1));
}

/// A listener that hangs up on everything but a TLS hello, which it answers with this.
async fn tls_server(answer: &'static [u8]) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = [0; 512];
            let count = stream.read(&mut first).await.unwrap_or(0);
            if count > 0 && first[0] == 0x16 {
                let _ = stream.write_all(answer).await;
            }
        }
    });
    Endpoint::new("127.0.0.1", port).unwrap()
}

#[tokio::test]
async fn a_gateway_of_the_older_dialect_is_named() {
    let endpoint = tls_server(b"\x15\x03\x01\x00\x02\x02\x28").await;
    let options = ClientOptions::new(endpoint, key(KEY));
    let error = Client::connect(options).await.unwrap_err();
    assert!(matches!(error, ClientError::SpeaksTls { .. }), "{error}");
}

#[tokio::test]
async fn a_service_that_hangs_up_on_tls_as_well_is_no_gateway() {
    let endpoint = tls_server(b"").await;
    let options = ClientOptions::new(endpoint, key(KEY));
    let error = Client::connect(options).await.unwrap_err();
    let unanswered = matches!(
        &error,
        ClientError::NoGateway {
            problem: NoUpgrade::Unanswered,
            ..
        }
    );
    assert!(unanswered, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_hangs_up_after_the_handshake_began_is_told_apart() {
    let (ours, mut gateway) = FakeGateway::new(GatewayConfig::new(key(KEY)));
    let client = tokio::spawn(Client::over(ours, true, options()));
    let mut buffer = vec![0; 4096];
    let count = gateway.stream.read(&mut buffer).await.unwrap();
    gateway
        .connection
        .handle_input(crate::link::now(), &buffer[..count]);
    gateway.flush().await;
    drop(gateway);
    let error = client.await.unwrap().unwrap_err();
    let lost = matches!(
        &error,
        ClientError::Ended {
            ended: Ended::Lost,
            ready: false,
            ..
        }
    );
    assert!(lost || error.fault() == Fault::Authentication, "{error}");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_prints_shows_the_key() {
    let (client, feed, _gateway) = connected(options()).await;
    let options = format!("{:?}", options());
    assert!(options.contains("***"), "{options}");
    let all = format!("{options} {client:?} {feed:?}");
    assert!(!all.contains(KEY));
    let bytes = format!("{:?}", KEY.as_bytes());
    assert!(!all.contains(bytes.trim_matches(['[', ']'])));
}
