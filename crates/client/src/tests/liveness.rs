//! Silence: pings, the request for gateways that answer none, and the end.

use std::time::Duration;

use hearthgate_protocol::error::Ended;
use hearthgate_protocol::wire::Request;
use tokio::time::Instant;

use super::support::*;
use crate::ClientError;

#[tokio::test(start_paused = true)]
async fn a_gateway_without_pongs_is_asked_after_30_s_and_given_up_after_45_s() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    gateway.mute = true;
    let started = Instant::now();
    let (_, request) = gateway.request().await;
    assert_eq!(request, Request::GetDevices);
    assert_eq!(started.elapsed(), Duration::from_secs(30));
    // Once in a silence is enough.
    assert!(matches!(gateway.ended().await, Ended::Peer { .. }));
    assert_eq!(started.elapsed(), Duration::from_secs(45));
    drop(gateway);
    let error = client.closed().await;
    let silent = matches!(
        &error,
        ClientError::Ended {
            ended: Ended::Silent,
            ..
        }
    );
    assert!(silent && error.is_retryable(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_that_request_keeps_the_connection() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    gateway.mute = true;
    let started = Instant::now();
    for round in 1..=3 {
        let (id, _) = gateway.request().await;
        assert_eq!(started.elapsed(), Duration::from_secs(30) * round);
        gateway.mute = false;
        gateway.reply(id, "[]").await;
        gateway.mute = true;
    }
    gateway.mute = false;
    let home = home(&["a"]);
    let (outcome, _) = tokio::join!(client.devices(), gateway.answer(&home));
    assert!(outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_answers_pings_is_asked_nothing() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let quiet = tokio::time::timeout(Duration::from_secs(300), gateway.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let home = home(&[]);
    let (outcome, _) = tokio::join!(client.devices(), gateway.answer(&home));
    assert!(outcome.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_ends_all_requests_and_the_feed() {
    let (client, mut feed, gateway) = connected(without_mirror()).await;
    let started = Instant::now();
    let error = client.closed().await;
    assert_eq!(started.elapsed(), Duration::from_secs(45));
    assert!(error.to_string().contains("fell silent"), "{error}");
    assert_eq!(items(&mut feed).await, ["down Connection"]);
    drop(gateway);
}
