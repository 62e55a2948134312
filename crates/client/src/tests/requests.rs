//! Requests: typed answers, slices, deadlines, many at once, and the end of the connection.

use std::time::Duration;

use hearthgate_protocol::connection::GatewayConfig;
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::websocket::close;
use hearthgate_protocol::wire::{DeviceWrite, Request};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::support::*;
use crate::{Client, ClientError, Fault};

fn ids(count: usize) -> Vec<DeviceId> {
    (0..count)
        .map(|n| DeviceId::from(format!("d{n}")))
        .collect()
}

fn write(device: &str) -> Vec<DeviceWrite> {
    vec![DeviceWrite {
        device: device.into(),
        readings: vec![reading(true)],
    }]
}

#[tokio::test(start_paused = true)]
async fn answers_come_typed_and_to_the_byte() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let home = home(&["a", "b"]);
    let serve = async {
        for _ in 0..6 {
            gateway.answer(&home).await;
        }
        let (id, _) = gateway.request().await;
        gateway.reply(id, r#"[ {"devid" : "a"}, 1.50 ]"#).await;
    };
    let ask = async {
        let all = client.devices().await.unwrap();
        assert_eq!(all, ["a".into(), "b".into()]);
        assert_eq!(client.devices_json().await.unwrap(), [r#""a""#, r#""b""#]);
        let schemas = client.schemas(&all).await.unwrap();
        assert_eq!(schemas[1].schema.category(), "kg");
        let statuses = client.statuses(&all).await.unwrap();
        assert_eq!(statuses[0].readings, [reading(false)]);
        assert_eq!(
            client.statuses_json(&all[..1]).await.unwrap(),
            [r#"{"devid":"a","online":true,"value":[{"k":"switch_1","v":false}]}"#]
        );
        assert_eq!(client.set(write("a")).await.unwrap(), "");
        assert_eq!(
            client.schemas_json(&all).await.unwrap(),
            [r#"{"devid" : "a"}"#, "1.50"]
        );
        // Nothing asked for, nothing sent.
        assert!(client.schemas(&[]).await.unwrap().is_empty());
    };
    tokio::join!(serve, ask);
}

#[tokio::test(start_paused = true)]
async fn long_lists_are_asked_in_slices_and_joined_in_order() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let ids = ids(650);
    let names: Vec<&str> = ids.iter().map(DeviceId::as_str).collect();
    let home = home(&names);
    let serve = async {
        let mut sizes = Vec::new();
        for _ in 0..7 {
            if let Request::GetStatus(slice) = gateway.answer(&home).await {
                sizes.push(slice.len());
            }
        }
        sizes
    };
    let (statuses, sizes) = tokio::join!(client.statuses(&ids), serve);
    let answered: Vec<DeviceId> = statuses.unwrap().into_iter().map(|s| s.device).collect();
    assert_eq!(answered, ids);
    assert_eq!(sizes, [100, 100, 100, 100, 100, 100, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_brings_the_gateways_code_and_message() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let home = home(&["a"]);
    let gone = ["b".into()];
    let (outcome, _) = tokio::join!(client.statuses(&gone), gateway.answer(&home));
    let error = outcome.unwrap_err();
    assert_eq!(error.fault(), Fault::Refused);
    assert!(error.to_string().contains("unknown_device: no device b"));
    let refuse = async {
        let (id, _) = gateway.request().await;
        let json = format!(
            r#"{{"id":{id},"type":"result","success":false,"error":{{"code":"busy","message":"later"}}}}"#
        );
        gateway.send(&json).await;
    };
    let (outcome, ()) = tokio::join!(client.try_set(write("a")), refuse);
    assert_eq!(outcome.unwrap().unwrap_err().code, "busy");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_shape_is_named_with_its_place() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let serve = async {
        let (id, _) = gateway.request().await;
        gateway.reply(id, r#"["a",7]"#).await;
    };
    let (outcome, ()) = tokio::join!(client.devices(), serve);
    let error = outcome.unwrap_err();
    assert_eq!(error.fault(), Fault::Protocol);
    assert!(
        error.to_string().contains("result[1] is an integer"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_without_answer_is_given_up_after_ten_seconds_and_a_late_one_is_ignored() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let started = Instant::now();
    let (outcome, (late, _)) = tokio::join!(client.devices(), gateway.request());
    let error = outcome.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    assert!(
        error.to_string().contains("get_devices within 10 s"),
        "{error}"
    );
    gateway.reply(late, r#"["late"]"#).await;
    let home = home(&["a"]);
    let (outcome, _) = tokio::join!(client.devices(), gateway.answer(&home));
    assert_eq!(outcome.unwrap(), ["a".into()]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_at_once_find_their_answers_in_odd_order() {
    const COUNT: usize = 10_000;
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let mut asking = JoinSet::new();
    for n in 0..COUNT {
        let client = client.clone();
        asking.spawn(async move {
            let statuses = client.statuses(&[format!("d{n}").into()]).await.unwrap();
            assert_eq!(statuses[0].device.as_str(), format!("d{n}"));
        });
    }
    let mut requests = Vec::with_capacity(COUNT);
    while requests.len() < COUNT {
        requests.push(gateway.request().await);
    }
    // A stride that shares no factor with the count visits every one, far apart.
    for n in 0..COUNT {
        let (id, request) = &requests[n * 7919 % COUNT];
        let Request::GetStatus(devices) = request else {
            panic!("{request:?}");
        };
        let result = format!(r#"[{{"devid":"{}","online":true}}]"#, devices[0]);
        gateway.reply(*id, &result).await;
    }
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_reads_no_more_until_its_answers_are_read_holds_up_nothing() {
    const COUNT: usize = 10_000;
    // Tiny buffers: both directions are full all the time.
    let (ours, mut gateway) = FakeGateway::with_buffer(GatewayConfig::new(key(KEY)), 256);
    let (client, ()) = tokio::join!(Client::over(ours, true, without_mirror()), gateway.accept());
    let (client, _feed) = client.unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..COUNT {
        let client = client.clone();
        asking.spawn(async move { client.devices().await.unwrap().len() });
    }
    let home = home(&["a", "b", "c"]);
    for _ in 0..COUNT {
        gateway.answer(&home).await;
    }
    while let Some(done) = asking.join_next().await {
        assert_eq!(done.unwrap(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_never_answers_keeps_nobody_waiting_longer_than_the_deadline() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let mut asking = JoinSet::new();
    for _ in 0..20_000 {
        let client = client.clone();
        asking.spawn(async move { client.devices().await.unwrap_err().fault() });
    }
    // It reads nothing either, so that most requests never get their turn.
    let started = Instant::now();
    while let Some(fault) = asking.join_next().await {
        assert_eq!(fault.unwrap(), Fault::Connection);
    }
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    // Those who gave up block nobody.
    let home = home(&["a"]);
    let serve = async { while gateway.answer(&home).await == Request::GetDevices {} };
    let status = ["a".into()];
    let (outcome, ()) = tokio::join!(client.statuses(&status), serve);
    assert!(outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_closes_fails_what_is_under_way_with_its_reason() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let serve = async {
        gateway.request().await;
        gateway.connection.close(close::GOING_AWAY, "shutting down");
        gateway.flush().await;
    };
    let started = Instant::now();
    let (outcome, ()) = tokio::join!(client.devices(), serve);
    let error = outcome.unwrap_err();
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(
        error.to_string().contains("1001 (shutting down)"),
        "{error}"
    );
    assert!(error.is_retryable() && error.fault() == Fault::Connection);
    // Later ones fail in the same way.
    let later = client.devices().await.unwrap_err();
    assert_eq!(later.to_string(), error.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_cut_fails_what_is_under_way() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.devices().await }
    });
    gateway.request().await;
    drop(gateway);
    let error = asking.await.unwrap().unwrap_err();
    let lost = matches!(
        &error,
        ClientError::Ended {
            ended: Ended::Lost,
            ready: true,
            ..
        }
    );
    assert!(lost, "{error}");
}

#[tokio::test(start_paused = true)]
async fn closing_sends_1000_and_ends_every_handle() {
    let (client, mut feed, mut gateway) = connected(without_mirror()).await;
    let other = client.clone();
    let asking = tokio::spawn(async move { other.devices().await });
    gateway.request().await;
    let ended = tokio::spawn(async move { gateway.ended().await });
    client.close().await;
    let code = Some(close::DONE);
    assert!(matches!(ended.await.unwrap(), Ended::Peer { code: c, .. } if c == code));
    for error in [
        asking.await.unwrap().unwrap_err(),
        client.devices().await.unwrap_err(),
        client.closed().await,
    ] {
        assert!(matches!(error, ClientError::Closed { .. }), "{error}");
    }
    assert_eq!(items(&mut feed).await, ["down Connection"]);
    assert!(feed.next().await.is_none());
    // A second time it has nothing to do.
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_with_1000() {
    let (client, _feed, mut gateway) = connected(without_mirror()).await;
    let clone = client.clone();
    drop(client);
    gateway.expect_quiet().await;
    drop(clone);
    let ended = gateway.ended().await;
    assert!(matches!(
        ended,
        Ended::Peer {
            code: Some(close::DONE),
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn closing_is_bounded_even_if_the_gateway_takes_nothing() {
    let (ours, mut gateway) = FakeGateway::with_buffer(GatewayConfig::new(key(KEY)), 256);
    let (client, ()) = tokio::join!(Client::over(ours, true, without_mirror()), gateway.accept());
    let (client, _feed) = client.unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        asking.spawn(async move { client.devices().await.unwrap_err() });
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let started = Instant::now();
    client.close().await;
    assert!(started.elapsed() <= Duration::from_secs(4));
}
