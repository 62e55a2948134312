use std::pin::pin;

use hearthgate_protocol::model::{Schema, Source, Timestamp, Value};

use super::*;

const STAMP: Stamp = Stamp {
    at: Timestamp(1),
    source: Source::Event,
};

fn device(id: &str) -> Device {
    let schema = Arc::new(Schema::new("kg", Vec::new(), Vec::new()));
    Device::new(id.into(), schema, true, [], STAMP)
}

fn commit(feeds: &Feeds, gone: &[&str], read: &[&str]) {
    feeds.commit(Commit {
        gone: gone.iter().map(|id| (*id).into()).collect(),
        read: read.iter().map(|id| device(id)).collect(),
    });
}

fn event(feeds: &Feeds, id: i64, text: &str) {
    let readings = vec![Reading::new("text", Value::from(text))];
    let device: DeviceId = "a".into();
    let kind = EventKind::StateChanged { device, readings };
    feeds.event(Event { id, kind }, None, STAMP, |_, _| ());
}

/// Takes all that is ready, in short; `end` for the end.
fn drain(feed: &mut Feed) -> Vec<String> {
    let mut items = Vec::new();
    loop {
        let mut context = Context::from_waker(Waker::noop());
        let item = match pin!(feed.next()).as_mut().poll(&mut context) {
            Poll::Pending => return items,
            Poll::Ready(item) => item,
        };
        items.push(match item {
            None => {
                items.push("end".to_owned());
                return items;
            }
            Some(FeedItem::Init) => "init".to_owned(),
            Some(FeedItem::InitApply(device)) => device.id().to_string(),
            Some(FeedItem::InitDone) => "done".to_owned(),
            Some(FeedItem::Event { event, .. }) => format!("event {}", event.id),
            Some(FeedItem::Upsert(device)) => format!("upsert {}", device.id()),
            Some(FeedItem::Delete(id)) => format!("delete {id}"),
            Some(FeedItem::Missed { items }) => format!("missed {items}"),
            Some(FeedItem::Down(_)) => "down".to_owned(),
            Some(FeedItem::Up) => "up".to_owned(),
            Some(FeedItem::Synced) => "synced".to_owned(),
        });
    }
}

fn down(feeds: &Feeds) {
    let gateway = Arc::from("ws://gateway");
    feeds.down(Arc::new(ClientError::Closed { gateway }));
    feeds.end();
}

#[test]
fn a_snapshot_shows_the_moment_of_the_sync_however_late_it_is_read() {
    let feeds = Feeds::new(true);
    let mut feed = feeds.subscribe();
    event(&feeds, 1, "before");
    commit(&feeds, &[], &["a", "b"]);
    event(&feeds, 2, "after");
    commit(&feeds, &["b"], &["c"]);
    assert_eq!(
        drain(&mut feed),
        [
            "event 1", "init", "a", "b", "done", "event 2", "delete b", "upsert c"
        ]
    );
}

#[test]
fn an_overrun_before_the_first_sync_is_told_without_a_snapshot() {
    let feeds = Feeds::new(true);
    let mut feed = feeds.subscribe();
    for id in 0..=BACKLOG_ITEMS {
        event(&feeds, i64::try_from(id).unwrap(), "x");
    }
    assert_eq!(drain(&mut feed), [format!("missed {}", BACKLOG_ITEMS + 1)]);
    commit(&feeds, &[], &["a"]);
    assert_eq!(drain(&mut feed), ["init", "a", "done"]);
}

#[test]
fn bytes_count_as_well_as_items() {
    let feeds = Feeds::new(true);
    commit(&feeds, &[], &["a"]);
    let mut feed = feeds.subscribe();
    let text = "x".repeat(BACKLOG_BYTES / 4);
    for id in 0..3 {
        event(&feeds, id, &text);
    }
    assert_eq!(
        drain(&mut feed),
        ["init", "a", "done", "event 0", "event 1", "event 2"]
    );
    // What is read makes room.
    for id in 3..7 {
        event(&feeds, id, &text);
    }
    assert_eq!(drain(&mut feed), ["missed 4", "init", "a", "done"]);
}

#[test]
fn the_end_reaches_a_subscriber_who_fell_behind() {
    let feeds = Feeds::new(true);
    commit(&feeds, &[], &["a"]);
    let mut feed = feeds.subscribe();
    drain(&mut feed);
    for id in 0..=BACKLOG_ITEMS {
        event(&feeds, i64::try_from(id).unwrap(), "x");
    }
    down(&feeds);
    let told = drain(&mut feed);
    assert_eq!(told[1..], ["init", "a", "done", "down", "end"]);
}

#[test]
fn one_who_falls_behind_costs_the_others_nothing() {
    let feeds = Feeds::new(true);
    let mut slow = feeds.subscribe();
    let mut quick = feeds.subscribe();
    commit(&feeds, &[], &["a"]);
    drain(&mut quick);
    for id in 0..10_000 {
        event(&feeds, id, "x");
        assert_eq!(drain(&mut quick), [format!("event {id}")]);
    }
    assert_eq!(drain(&mut slow), ["missed 10001", "init", "a", "done"]);
}

#[test]
fn a_subscriber_who_is_dropped_is_forgotten() {
    let feeds = Feeds::new(true);
    drop(feeds.subscribe());
    assert!(feeds.state.lock().queues.is_empty());
}

#[tokio::test]
async fn a_subscriber_who_waits_is_woken() {
    let feeds = Feeds::new(true);
    let mut feed = feeds.subscribe();
    let waiting = tokio::spawn(async move {
        let first = feed.next().await;
        (
            matches!(first, Some(FeedItem::Down(_))),
            feed.next().await.is_none(),
        )
    });
    tokio::task::yield_now().await;
    down(&feeds);
    assert_eq!(waiting.await.unwrap(), (true, true));
}
