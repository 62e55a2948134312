//! The mirror and the feed: first sync, events, changes of the registry, gaps, slow subscribers.

use std::time::Duration;

use hearthgate_protocol::model::{Applied, Source};
use hearthgate_protocol::wire::{EventKind, Request};
use tokio::time::Instant;

use super::support::*;
use crate::{BACKLOG_ITEMS, ClientOptions, Fault, FeedItem};

#[tokio::test(start_paused = true)]
async fn the_first_sync_fills_the_mirror_and_the_feed_as_a_whole() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    let home = home(&["a", "b"]);
    assert_eq!(gateway.answer(&home).await, Request::GetDevices);
    let all = || vec!["a".into(), "b".into()];
    assert_eq!(gateway.answer(&home).await, Request::GetSchema(all()));
    assert!(client.mirror().read(|home| home.is_empty()));
    assert_eq!(gateway.answer(&home).await, Request::GetStatus(all()));
    client.synced().await.unwrap();
    assert_eq!(shown(&client), ["a=false", "b=false"]);
    assert_eq!(
        items(&mut feed).await,
        ["init", "a=false", "b=false", "done"]
    );
    let device = client.mirror().device("a").unwrap();
    assert_eq!(device.points()[0].confirmed.source, Source::Read);
    assert_eq!(device.schema().category(), "kg");
    gateway.expect_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_home_is_in_sync_too() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    gateway.answer(&home(&[])).await;
    client.synced().await.unwrap();
    assert_eq!(items(&mut feed).await, ["init", "done"]);
}

#[tokio::test(start_paused = true)]
async fn events_during_the_first_sync_are_passed_on_and_count_only_after_the_read() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    let mut home = home(&["a", "b"]);
    gateway.answer(&home).await;
    // Before the status is read: the read knows it already, and later things.
    turn(&mut home, "a", true);
    gateway.event(1, turned("a", true)).await;
    turn(&mut home, "a", false);
    gateway.event(2, turned("a", false)).await;
    gateway.answer(&home).await;
    let (id, _) = gateway.request().await;
    let status = |on: bool| {
        format!(
            r#"[{{"devid":"a","online":true,"value":[{{"k":"switch_1","v":{on}}}]}},{{"devid":"b","online":true}}]"#
        )
    };
    gateway.reply(id, &status(false)).await;
    // After it, right behind the answer.
    gateway.event(3, turned("a", true)).await;
    client.synced().await.unwrap();
    let told = items(&mut feed).await;
    assert_eq!(
        told,
        [
            "event 1 UnknownDevice",
            "event 2 UnknownDevice",
            "init",
            "a=false",
            "b=",
            "done",
            "event 3 Changed"
        ]
    );
    assert_eq!(shown(&client), ["a=true", "b="]);
    gateway.expect_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_removed_during_the_first_sync_costs_nothing_but_itself() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    gateway.answer(&home(&["a", "b", "c"])).await;
    let left = home(&["a", "c"]);
    gateway.event(1, registry("b", 0)).await;
    let asked = gateway.answer_all(&left).await;
    // Schemas fail, the list again, schemas, statuses; then the round that the event asks for.
    assert_eq!(
        asked,
        [
            "get_schema",
            "get_devices",
            "get_schema",
            "get_status",
            "get_devices"
        ]
    );
    client.synced().await.unwrap();
    assert_eq!(shown(&client), ["a=false", "c=false"]);
    assert_eq!(
        items(&mut feed).await,
        ["event 1 Same", "init", "a=false", "c=false", "done"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_update_reads_the_list_and_that_device_again() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    gateway.answer_all(&home(&["a", "b"])).await;
    items(&mut feed).await;

    // Added, though the number says removed: nobody relies on it.
    let mut grown = home(&["a", "b", "c"]);
    gateway.event(1, registry("c", 0)).await;
    assert_eq!(gateway.answer(&grown).await, Request::GetDevices);
    let added = vec!["c".into()];
    assert_eq!(
        gateway.answer(&grown).await,
        Request::GetSchema(added.clone())
    );
    assert_eq!(gateway.answer(&grown).await, Request::GetStatus(added));
    assert_eq!(items(&mut feed).await, ["event 1 Same", "upsert c=false"]);

    // Removed, and another one changed.
    turn(&mut grown, "a", true);
    let mut shrunk: hearthgate_protocol::model::Home = grown
        .devices()
        .filter(|device| device.id().as_str() != "b")
        .cloned()
        .collect();
    gateway.event(2, registry("b", 0)).await;
    gateway.event(3, registry("a", 1)).await;
    gateway.answer_all(&shrunk).await;
    assert_eq!(
        items(&mut feed).await,
        ["event 2 Same", "event 3 Same", "delete b", "upsert a=true"]
    );
    assert_eq!(shown(&client), ["a=true", "c=false"]);

    // A device that is read again and shows the same is nobody's news.
    turn(&mut shrunk, "c", false);
    gateway.event(4, registry("c", 1)).await;
    gateway.answer_all(&shrunk).await;
    assert_eq!(items(&mut feed).await, ["event 4 Same"]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_registry_updates_makes_two_rounds_at_most() {
    let (_client, _feed, mut gateway) = connected(options()).await;
    let ids: Vec<String> = (0..50).map(|n| format!("d{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let home = home(&ids);
    gateway.answer_all(&home).await;
    for (n, id) in ids.iter().enumerate() {
        gateway
            .event(i64::try_from(n).unwrap(), registry(id, 1))
            .await;
    }
    let asked = gateway.answer_all(&home).await;
    let lists = asked.iter().filter(|name| **name == "get_devices").count();
    assert!((1..=2).contains(&lists), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_of_an_equal_value_is_passed_on() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    gateway.answer_all(&home(&["a"])).await;
    items(&mut feed).await;
    gateway.event(1, turned("a", true)).await;
    gateway.event(2, turned("a", true)).await;
    assert_eq!(items(&mut feed).await, ["event 1 Changed", "event 2 Same"]);
    let device = client.mirror().device("a").unwrap();
    assert_eq!(device.points()[0].confirmed.source, Source::Event);
    let offline = EventKind::OnlineUpdated {
        device: "a".into(),
        online: false,
        readings: None,
    };
    gateway.event(3, offline).await;
    assert_eq!(items(&mut feed).await, ["event 3 Changed"]);
    assert!(!client.mirror().device("a").unwrap().online());
    assert_eq!(shown(&client), ["a=true"]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_ids_reads_all_statuses_and_tells_what_really_changed() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    let mut home = home(&["a", "b", "c"]);
    gateway.answer_all(&home).await;
    items(&mut feed).await;
    gateway.event(10, turned("a", true)).await;
    turn(&mut home, "a", true);
    gateway.expect_quiet().await;
    // 11 and 12 are missing; one of them turned b on.
    turn(&mut home, "b", true);
    gateway.event(13, turned("c", false)).await;
    assert_eq!(
        gateway.answer_all(&home).await,
        ["get_devices", "get_status"]
    );
    assert_eq!(
        items(&mut feed).await,
        ["event 10 Changed", "event 13 Same", "upsert b=true"]
    );
    assert_eq!(shown(&client), ["a=true", "b=true", "c=false"]);
    // A lower id is one too.
    turn(&mut home, "c", true);
    gateway.event(1, turned("a", true)).await;
    gateway.answer_all(&home).await;
    assert_eq!(items(&mut feed).await, ["event 1 Same", "upsert c=true"]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_gaps_reads_twice_at_most() {
    let (client, _feed, mut gateway) = connected(options()).await;
    let home = home(&["a"]);
    gateway.answer_all(&home).await;
    for id in 0..200 {
        gateway.event(id * 10, turned("a", false)).await;
    }
    let mut asked = Vec::new();
    let until = Instant::now() + Duration::from_secs(10);
    while let Ok(request) = tokio::time::timeout_at(until, gateway.answer(&home)).await {
        asked.push(request.name());
    }
    let reads = asked.iter().filter(|name| **name == "get_status").count();
    assert!((1..=2).contains(&reads), "{asked:?}");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_speaks_before_it_is_announced_is_looked_for() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    gateway.answer_all(&home(&["a"])).await;
    gateway.event(1, turned("b", false)).await;
    gateway.answer_all(&home(&["a", "b"])).await;
    assert_eq!(shown(&client), ["a=false", "b=false"]);
    items(&mut feed).await;
    // One that is never listed is asked for once.
    gateway.event(2, turned("ghost", true)).await;
    assert_eq!(
        gateway.answer_all(&home(&["a", "b"])).await,
        ["get_devices"]
    );
    gateway.event(3, turned("ghost", true)).await;
    gateway.expect_quiet().await;
    assert_eq!(
        items(&mut feed).await,
        ["event 2 UnknownDevice", "event 3 UnknownDevice"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_stalls_is_told_and_gets_the_snapshot_again() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    gateway.answer_all(&home(&["a"])).await;
    let mut quick = client.subscribe();
    let count = BACKLOG_ITEMS + 100;
    let mut live = 0;
    for n in 0..count {
        gateway
            .event(i64::try_from(n).unwrap(), turned("a", n % 2 == 0))
            .await;
        tokio::time::sleep(Duration::from_micros(1)).await;
        live += items_now(&mut quick).await;
    }
    // Who reads in time gets each of them.
    assert_eq!(live, count);
    let told = items(&mut feed).await;
    assert_eq!(told.len(), 4, "{told:?}");
    // The first snapshot was in the backlog as well.
    assert_eq!(told[0], format!("missed {}", count + 1));
    assert_eq!(told[1..], ["init", "a=false", "done"]);
    gateway
        .event(i64::try_from(count).unwrap(), turned("a", true))
        .await;
    assert_eq!(items(&mut feed).await, [format!("event {count} Changed")]);
}

/// Counts the events that wait in a feed.
async fn items_now(feed: &mut crate::Feed) -> usize {
    let mut count = 0;
    while let Ok(Some(item)) = tokio::time::timeout(Duration::ZERO, feed.next()).await {
        count += usize::from(matches!(item, FeedItem::Event { .. }));
        assert!(!matches!(item, FeedItem::Missed { .. }));
    }
    count
}

#[tokio::test(start_paused = true)]
async fn a_later_subscriber_begins_with_the_snapshot() {
    let (client, _feed, mut gateway) = connected(options()).await;
    let mut early = client.subscribe();
    gateway.answer_all(&home(&["a"])).await;
    let mut late = client.subscribe();
    gateway.event(1, turned("a", true)).await;
    for feed in [&mut early, &mut late] {
        assert_eq!(
            items(feed).await,
            ["init", "a=false", "done", "event 1 Changed"]
        );
    }
    client.close().await;
    let mut last = client.subscribe();
    assert_eq!(
        items(&mut last).await,
        ["init", "a=true", "done", "down Connection"]
    );
    assert!(last.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn without_a_mirror_the_feed_carries_the_events_alone() {
    let (client, mut feed, mut gateway) = connected(ClientOptions {
        keep_json: true,
        ..without_mirror()
    })
    .await;
    client.synced().await.unwrap();
    let json = r#"{ "type":"event", "id":5,"event_type":"state_changed","data":{"devid":"a","value":[{"k":"x","v":1.50}]} }"#;
    gateway.send(json).await;
    let Some(FeedItem::Event {
        json: came,
        applied,
        ..
    }) = feed.next().await
    else {
        panic!("expected the event");
    };
    assert_eq!(came.as_deref(), Some(json));
    assert_eq!(applied, Applied::UnknownDevice);
    gateway.event(99, registry("a", 1)).await;
    gateway.expect_quiet().await;
    assert_eq!(items(&mut feed).await, ["event 99 UnknownDevice"]);
    assert!(client.mirror().devices().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_cannot_be_read_is_tried_again_after_half_a_minute() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    let (id, _) = gateway.request().await;
    let refusal = format!(
        r#"{{"id":{id},"type":"result","success":false,"error":{{"code":"internal","message":"not yet"}}}}"#
    );
    gateway.send(&refusal).await;
    let error = client.synced().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Refused);
    let started = Instant::now();
    gateway.answer(&home(&["a"])).await;
    assert_eq!(started.elapsed(), Duration::from_secs(30));
    gateway.answer_all(&home(&["a"])).await;
    client.synced().await.unwrap();
    assert_eq!(items(&mut feed).await, ["init", "a=false", "done"]);
}

#[tokio::test(start_paused = true)]
async fn a_sync_whose_connection_ends_says_so() {
    let (client, mut feed, mut gateway) = connected(options()).await;
    gateway.request().await;
    drop(gateway);
    let error = client.synced().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Connection);
    assert_eq!(items(&mut feed).await, ["down Connection"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_mirror_knew_stays_when_the_connection_ends() {
    let (client, _feed, mut gateway) = connected(options()).await;
    gateway.answer_all(&home(&["a"])).await;
    drop(gateway);
    client.closed().await;
    assert_eq!(shown(&client), ["a=false"]);
}
