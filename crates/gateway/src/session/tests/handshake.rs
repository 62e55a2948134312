//! Who gets in, who does not, and when a connection ends by itself.

use std::time::Duration;

use hearthgate_protocol::error::Ended;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::secs;
use crate::limits::SessionLimits;
use crate::testing::peer::Peer;
use crate::testing::{TestGateway, device, status};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Sends a handshake message that does not decrypt, in one masked frame.
async fn send_garbage(stream: &mut DuplexStream) {
    let frame = [b"\x82\x90\0\0\0\0".as_slice(), &[7; 16]].concat();
    stream.write_all(&[UPGRADE, &frame].concat()).await.unwrap();
}

/// Fails a handshake and returns how long the gateway took to say so.
async fn refusal(gateway: &TestGateway, address: &str) -> Duration {
    let start = Instant::now();
    let (mut stream, _session) = gateway.accept(address, 4096);
    send_garbage(&mut stream).await;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert!(heard.ends_with(b"\x88\x17\x03\xf0authentication failed"));
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_closed_after_ten_seconds() {
    let gateway = TestGateway::start(vec![device("a")]);
    let (mut stream, session) = gateway.open();
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0; 100]).await.unwrap(), 0);
    assert_eq!(start.elapsed(), secs(10));
    drop(stream);
    session.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_in_the_handshake_gets_1008_after_ten_seconds() {
    let gateway = TestGateway::start(vec![device("a")]);
    let (mut stream, _session) = gateway.open();
    let start = Instant::now();
    stream.write_all(UPGRADE).await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(start.elapsed(), secs(10));
    assert!(heard.starts_with(b"HTTP/1.1 101 "));
    assert!(heard.ends_with(b"\x88\x15\x03\xf0handshake timed out"));
}

#[tokio::test(start_paused = true)]
async fn rejections_are_delayed_from_the_21st_on_and_a_success_clears_that() {
    let gateway = TestGateway::start(vec![device("a")]);
    for _ in 0..20 {
        assert_eq!(refusal(&gateway, "192.0.2.1").await, Duration::ZERO);
    }
    for millis in [500, 1000, 2000, 4000] {
        let delay = refusal(&gateway, "192.0.2.1").await;
        assert_eq!(delay, Duration::from_millis(millis));
    }
    // Another address is not affected, and the right key is never refused or delayed.
    assert_eq!(refusal(&gateway, "192.0.2.2").await, Duration::ZERO);
    let start = Instant::now();
    gateway.client().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(refusal(&gateway, "192.0.2.1").await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn connections_that_end_before_a_handshake_message_are_no_failures() {
    let gateway = TestGateway::start(vec![device("a")]);
    for _ in 0..30 {
        let (stream, session) = gateway.open();
        drop(stream);
        session.await.unwrap();
    }
    for _ in 0..20 {
        assert_eq!(refusal(&gateway, "192.0.2.1").await, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_goes_while_its_rejection_is_delayed_leaves_nothing_behind() {
    let gateway = TestGateway::start(vec![device("a")]);
    for _ in 0..20 {
        refusal(&gateway, "192.0.2.1").await;
    }
    let (mut stream, session) = gateway.open();
    let start = Instant::now();
    send_garbage(&mut stream).await;
    drop(stream);
    session.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn half_open_handshakes_do_not_keep_a_good_client_out() {
    let gateway = TestGateway::start(vec![device("a")]);
    let flood: Vec<_> = (0..1100)
        .map(|_| gateway.accept("198.51.100.7", 16))
        .collect();
    let start = Instant::now();
    let mut client = gateway.client().await;
    assert!(client.ask(1, &status(&["a"])).await.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(flood);
}

#[tokio::test(start_paused = true)]
async fn a_session_too_many_gets_1013_and_its_place_is_free_again_later() {
    let limits = SessionLimits {
        total: 1,
        ..SessionLimits::default()
    };
    let gateway = TestGateway::with_limits(vec![device("a")], limits);
    let (stream, session) = gateway.open();
    let first = Peer::connected(stream).await;
    assert_eq!(gateway.client().await.close_code().await, 1013);
    drop(first);
    session.await.unwrap();
    let mut third = gateway.client().await;
    assert!(third.ask(1, &status(&["a"])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_gateway_closes_everybody_with_1001_within_two_seconds() {
    let gateway = TestGateway::start(vec![device("a")]);
    let mut client = gateway.client().await;
    let (_silent, half_open) = gateway.open();
    let (stream, authenticated) = gateway.open();
    let stuck = Peer::connected(stream).await;
    let start = Instant::now();
    gateway.admission.stop.cancel();
    assert_eq!(client.close_code().await, 1001);
    half_open.await.unwrap();
    authenticated.await.unwrap();
    assert!(start.elapsed() < secs(2), "{:?}", start.elapsed());
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays_and_a_dead_one_is_dropped_after_45_seconds() {
    let gateway = TestGateway::start(vec![device("a")]);
    let mut idle = gateway.client().await;
    let start = Instant::now();
    let (stream, session) = gateway.open();
    let mut dead = Peer::connected(stream).await;
    dead.mute = true;
    let stays = tokio::spawn(async move {
        let nothing = tokio::time::timeout(secs(300), idle.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        assert!(idle.last_read.starts_with(b"\x89\x00"), "no ping came");
    });
    let ended = dead.ended().await;
    assert!(matches!(ended, Ended::Peer { .. }), "{ended:?}");
    assert_eq!(start.elapsed(), secs(45));
    drop(dead);
    session.await.unwrap();
    stays.await.unwrap();
}
