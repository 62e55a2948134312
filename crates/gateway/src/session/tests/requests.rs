//! Requests and their answers.

use std::time::Duration;

use hearthgate_protocol::connection::ClientEvent;
use hearthgate_protocol::limits::{ANSWER_TIMEOUT, REQUESTS_IN_FLIGHT};
use hearthgate_protocol::wire::Request;
use tokio::time::Instant;

use super::{number, secs};
use crate::limits::SessionLimits;
use crate::testing::{TestGateway, device, online, set, state, status, write};

#[tokio::test(start_paused = true)]
async fn ten_thousand_pipelined_requests_are_answered_each_once() {
    let gateway = TestGateway::start(vec![device("a")]);
    let mut client = gateway.client().await;
    for id in 0..10_000 {
        client.request(id, &status(&["a"]));
    }
    for expected in 0..10_000 {
        let (id, outcome) = client.reply().await;
        assert_eq!(id, expected);
        assert!(
            outcome
                .unwrap()
                .starts_with("[{\"devid\":\"a\",\"online\":true,")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn at_256_unanswered_writes_reading_stops_and_goes_on_later() {
    let mut gateway = TestGateway::start(vec![device("a")]);
    let mut client = gateway.client().await;
    for id in 0..300 {
        client.request(id, &set("a", "temp", id));
    }
    client.request(1000, &Request::GetDevices);
    let nothing = tokio::time::timeout(secs(1), client.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(gateway.port.commands.len(), REQUESTS_IN_FLIGHT);
    // One answer makes room for one request.
    gateway.command().await.ack.succeed();
    assert_eq!(client.reply().await, (0, Ok(String::new())));
    let nothing = tokio::time::timeout(secs(1), client.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(gateway.port.commands.len(), REQUESTS_IN_FLIGHT);
    let driver = tokio::spawn(async move {
        for _ in 1..300 {
            gateway.command().await.ack.succeed();
        }
    });
    let mut answered = Vec::new();
    for _ in 1..=300 {
        let (id, outcome) = client.reply().await;
        outcome.unwrap();
        answered.push(id);
    }
    driver.await.unwrap();
    answered.sort_unstable();
    let expected: Vec<i64> = (1..300).chain([1000]).collect();
    assert_eq!(answered, expected);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_never_acknowledges_means_timeout_after_five_seconds() {
    let gateway = TestGateway::start(vec![device("a"), device("b")]);
    let mut client = gateway.client().await;
    let start = Instant::now();
    let both = Request::SetValue(vec![write("a", "temp", 1), write("b", "temp", 2)]);
    let error = client.ask(7, &both).await.unwrap_err();
    assert_eq!(start.elapsed(), ANSWER_TIMEOUT);
    assert_eq!(error.code, "timeout");
    assert_eq!(error.message, "device a did not answer within 5s");
    assert!(error.json.contains(
        r#"{"devid":"b","code":"timeout","message":"device b did not answer within 5s"}"#
    ));
}

#[tokio::test(start_paused = true)]
async fn a_device_with_too_many_waiting_writes_is_busy() {
    let gateway = TestGateway::start(vec![device("a")]);
    let mut waiting = Vec::new();
    while let Ok(pending) = gateway.registry.write(&[write("a", "temp", 1)]) {
        waiting.push(pending);
    }
    let mut client = gateway.client().await;
    let error = client.ask(1, &set("a", "temp", 1)).await.unwrap_err();
    assert_eq!(error.code, "busy");
    assert_eq!(
        error.message,
        "device a has too many writes waiting: try again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_success_means_that_the_effect_can_be_read() {
    let mut gateway = TestGateway::start(vec![device("a")]);
    let mut client = gateway.client().await;
    let reports = gateway.port.reports.clone();
    tokio::spawn(async move {
        let command = gateway.command().await;
        let changes = vec![state("a", "temp", 21)];
        reports.send_and_succeed(changes, command.ack).await;
    });
    client.ask(1, &set("a", "temp", 21)).await.unwrap();
    let status = client.ask(2, &status(&["a"])).await.unwrap();
    assert!(status.contains(r#"{"k":"temp","v":21}"#), "{status}");
}

#[tokio::test(start_paused = true)]
async fn many_sessions_see_the_same_events_under_the_same_ids() {
    let gateway = TestGateway::start(vec![device("a")]);
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(gateway.client().await);
    }
    for value in 1..=100 {
        gateway.report(state("a", "temp", value)).await;
    }
    gateway.report(online("a", false)).await;
    let mut seen = Vec::new();
    for client in &mut clients {
        let mut events = Vec::new();
        for _ in 0..101 {
            events.push(client.event().await);
        }
        seen.push(events);
    }
    let ids: Vec<i64> = seen[0].iter().map(|event| event.id).collect();
    assert_eq!(ids, (1..=101).collect::<Vec<i64>>());
    assert!(seen.iter().all(|events| *events == seen[0]));
}

/// The value in an answer is that of the last event before it, and the next event has a newer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_never_overtaken_by_an_older_event() {
    const LAST: i64 = 20_000;
    let gateway = TestGateway::start(vec![device("a")]);
    let mut client = gateway.client().await;
    let reports = gateway.port.reports.clone();
    let reporter = tokio::spawn(async move {
        for value in 1..=LAST {
            reports.send(vec![state("a", "temp", value)]).await;
            if fastrand::u8(..) == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let mut newest = 0;
    let mut answers = 0;
    client.request(0, &status(&["a"]));
    // The first answer may come after the last event.
    while newest < LAST || answers == 0 {
        match client.next().await {
            ClientEvent::Event { event, .. } => {
                // Merged or not, it is never an older one.
                assert!(number(&event) > newest, "{event:?} after {newest}");
                newest = number(&event);
            }
            ClientEvent::Reply { outcome, .. } => {
                let expected = format!(r#"{{"k":"temp","v":{newest}}}"#);
                let answer = outcome.unwrap();
                assert!(answer.contains(&expected), "{answer} after event {newest}");
                answers += 1;
                client.request(answers, &status(&["a"]));
            }
            other => panic!("{other:?}"),
        }
    }
    reporter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn answers_go_on_while_writes_wait() {
    let mut gateway = TestGateway::start(vec![device("a")]);
    let mut client = gateway.client().await;
    client.request(1, &set("a", "temp", 1));
    client.request(2, &Request::GetDevices);
    assert_eq!(client.reply().await, (2, Ok("[\"a\"]".to_owned())));
    gateway.command().await.ack.succeed();
    assert_eq!(client.reply().await.0, 1);
    let late = tokio::time::timeout(Duration::from_secs(10), client.next()).await;
    assert!(late.is_err(), "an answer came twice: {late:?}");
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_the_rate_allows_wait_and_are_all_answered_in_order() {
    let limits = SessionLimits {
        requests_per_second: std::num::NonZeroU32::new(10),
        ..SessionLimits::default()
    };
    let gateway = TestGateway::with_limits(vec![device("a")], limits);
    let (mut fast, mut other) = (gateway.client().await, gateway.client().await);
    let start = Instant::now();
    for id in 0..60 {
        fast.request(id, &status(&["a"]));
    }
    let mut at_once = 0;
    for expected in 0..60 {
        let (id, outcome) = fast.reply().await;
        assert_eq!(id, expected);
        outcome.unwrap();
        at_once += usize::from(start.elapsed() == Duration::ZERO);
        if expected == 30 {
            // Another session has its own share, and events are not counted.
            gateway.report(state("a", "temp", 5)).await;
            let before = start.elapsed();
            other.event().await;
            assert!(other.ask(1, &status(&["a"])).await.is_ok());
            assert_eq!(start.elapsed(), before);
        }
    }
    assert_eq!(at_once, 10);
    assert_eq!(start.elapsed().as_millis().div_ceil(100), 50);
}

#[tokio::test(start_paused = true)]
async fn who_is_held_back_by_the_rate_keeps_its_connection() {
    let limits = SessionLimits {
        requests_per_second: std::num::NonZeroU32::new(1),
        ..SessionLimits::default()
    };
    let gateway = TestGateway::with_limits(vec![device("a")], limits);
    let mut client = gateway.client().await;
    for id in 0..120 {
        client.request(id, &status(&["a"]));
    }
    // Longer than a silent session lives.
    for expected in 0..120 {
        assert_eq!(client.reply().await.0, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_requests_in_flight_are_an_option() {
    let limits = SessionLimits {
        requests_in_flight: 3,
        ..SessionLimits::default()
    };
    let gateway = TestGateway::with_limits(vec![device("a")], limits);
    let mut client = gateway.client().await;
    for id in 0..10 {
        client.request(id, &set("a", "temp", id));
    }
    let nothing = tokio::time::timeout(secs(1), client.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(gateway.port.commands.len(), 3);
}
