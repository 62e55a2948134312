//! Sessions that read too slowly, and those that only seem to (section 6).

use hearthgate_protocol::connection::ClientEvent;
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::model::Change;
use hearthgate_protocol::wire::{Event, EventKind};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep, timeout};

use super::{number, secs};
use crate::testing::peer::Peer;
use crate::testing::{TestGateway, device, online, state, status};

/// An event of about 200 bytes.
fn note(device: &str, number: usize) -> Change {
    state(device, "note", format!("{number:0100}").as_str())
}

fn home() -> TestGateway {
    TestGateway::start(["a", "b", "c"].map(device).to_vec())
}

/// Reads until nothing has come for a second.
async fn everything(client: &mut Peer<DuplexStream>) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(next) = timeout(secs(1), client.next()).await {
        match next {
            ClientEvent::Event { event, .. } => events.push(event),
            other => panic!("expected an event, got {other:?}"),
        }
    }
    events
}

/// Piles up more than 256 KiB that a client does not read, and lets it last.
async fn pile_up(gateway: &TestGateway, count: usize) {
    for number in 0..count {
        gateway
            .report(note(["a", "b", "c"][number % 3], number))
            .await;
    }
    sleep(secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_keeps_up_through_a_burst_of_megabytes_gets_every_event_in_order() {
    const COUNT: i64 = 20_000;
    let gateway = home();
    let mut client = gateway.client().await;
    let reports = gateway.port.reports.clone();
    let burst = tokio::spawn(async move {
        for number in 1..=COUNT {
            reports
                .send(vec![note("a", usize::try_from(number).unwrap())])
                .await;
        }
    });
    for expected in 1..=COUNT {
        assert_eq!(client.event().await.id, expected);
    }
    burst.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_burst_that_comes_at_once_is_sent_whole_to_who_reads_it() {
    let gateway = home();
    let mut client = gateway.client().await;
    let burst = (0..15_000).map(|number| note("a", number)).collect();
    gateway.port.reports.send(burst).await;
    for expected in 1..=15_000 {
        assert_eq!(client.event().await.id, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn events_of_who_does_not_read_are_merged_with_a_visible_gap() {
    let gateway = home();
    let mut client = gateway.client().await;
    pile_up(&gateway, 3000).await;
    let events = everything(&mut client).await;
    assert!(events.len() < 2000, "{} events", events.len());
    let newest: Vec<i64> = events[events.len() - 3..].iter().map(|e| e.id).collect();
    assert_eq!(newest, [2998, 2999, 3000]);
    let jumps = events
        .windows(2)
        .filter(|two| two[1].id != two[0].id + 1)
        .count();
    assert_eq!(jumps, 1);
    // From here on it keeps up again.
    gateway.report(note("a", 0)).await;
    assert_eq!(client.event().await.id, 3001);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_merged_across_other_events() {
    let gateway = home();
    let mut client = gateway.client().await;
    for change in (0..3000).map(|number| note("b", number)).chain([
        state("a", "temp", 1),
        online("a", false),
        online("a", true),
        state("a", "temp", 2),
        state("a", "temp", 3),
    ]) {
        gateway.report(change).await;
    }
    sleep(secs(2)).await;
    let events = everything(&mut client).await;
    let last = &events[events.len() - 4..];
    let ids: Vec<i64> = last.iter().map(|event| event.id).collect();
    assert_eq!(ids, [3001, 3002, 3003, 3005]);
    assert!(matches!(
        last[1].kind,
        EventKind::OnlineUpdated { online: false, .. }
    ));
    assert_eq!(number(&last[3]), 3);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_for_ten_seconds_is_closed_with_1013() {
    let gateway = home();
    let (stream, session) = gateway.open();
    let mut client = Peer::connected(stream).await;
    let start = Instant::now();
    pile_up(&gateway, 3000).await;
    sleep(secs(7)).await;
    assert_eq!(gateway.admission.sessions(), 1);
    sleep(secs(3)).await;
    assert_eq!(client.close_code().await, 1013);
    drop(client);
    session.await.unwrap();
    assert!(start.elapsed() < secs(13), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_never_reads_again_is_let_go_of() {
    let gateway = home();
    let (stream, session) = gateway.open();
    let client = Peer::connected(stream).await;
    let start = Instant::now();
    pile_up(&gateway, 3000).await;
    session.await.unwrap();
    assert!(start.elapsed() < secs(45), "{:?}", start.elapsed());
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_megabyte_that_cannot_be_merged_is_too_much() {
    let gateway = home();
    let mut client = gateway.client().await;
    let start = Instant::now();
    for number in 0..40_000 {
        gateway.report(online("a", number % 2 == 1)).await;
    }
    sleep(secs(2)).await;
    assert_eq!(client.close_code().await, 1013);
    assert!(start.elapsed() < secs(3), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_has_caught_up_is_not_closed_later() {
    let gateway = home();
    let mut client = gateway.client().await;
    pile_up(&gateway, 3000).await;
    assert!(!everything(&mut client).await.is_empty());
    let nothing = timeout(secs(100), client.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert!(client.ask(1, &status(&["a"])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_slow_session_comes_after_its_merged_events() {
    let gateway = home();
    let mut client = gateway.client().await;
    pile_up(&gateway, 3000).await;
    client.request(1, &status(&["a", "b", "c"]));
    let mut last = 0;
    let answer = loop {
        match client.next().await {
            ClientEvent::Event { event, .. } => last = event.id,
            ClientEvent::Reply { outcome, .. } => break outcome.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(last, 3000);
    assert!(answer.contains(&format!("{:0100}", 2999)));
    assert!(everything(&mut client).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_session_delays_no_other() {
    let gateway = home();
    let stuck = gateway.client().await;
    let mut good = gateway.client().await;
    let start = Instant::now();
    let reports = gateway.port.reports.clone();
    tokio::spawn(async move {
        for number in 0..30_000 {
            reports.send(vec![note("a", number)]).await;
        }
    });
    for expected in 1..=30_000 {
        assert_eq!(good.event().await.id, expected);
    }
    assert_eq!(start.elapsed(), secs(0));
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_session_does_not_keep_the_gateway_from_ending() {
    let gateway = home();
    let (stream, session) = gateway.open();
    let stuck = Peer::connected(stream).await;
    pile_up(&gateway, 3000).await;
    let (stream, too_slow) = gateway.open();
    let closed = Peer::connected(stream).await;
    for number in 0..40_000 {
        gateway.report(online("a", number % 2 == 1)).await;
    }
    sleep(secs(2)).await;
    let start = Instant::now();
    gateway.admission.stop.cancel();
    session.await.unwrap();
    too_slow.await.unwrap();
    assert!(start.elapsed() < secs(2), "{:?}", start.elapsed());
    drop((stuck, closed));
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_answers_gets_no_more_of_them() {
    let gateway = home();
    let long = "x".repeat(100_000);
    gateway.report(state("a", "note", long.as_str())).await;
    let mut client = gateway.client().await;
    for id in 0..1000 {
        client.request(id, &status(&["a"]));
    }
    // It reads one answer after the other, slowly; nobody hurries and nothing is lost.
    for expected in 0..1000 {
        assert_eq!(client.reply().await.0, expected);
    }
    let end = timeout(secs(1), client.next()).await;
    assert!(!matches!(end, Ok(ClientEvent::Ended(Ended::Lost))));
}
