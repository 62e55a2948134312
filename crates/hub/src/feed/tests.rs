use std::pin::pin;
use std::sync::Arc;

use hearthgate_protocol::model::{DeviceId, Reading, Schema, Source, Stamp, Value};

use super::*;

fn device(id: &str, on: bool) -> Device {
    let stamp = Stamp {
        at: Timestamp(1),
        source: Source::Read,
    };
    let schema = Arc::new(Schema::new("kg", Vec::new(), Vec::new()));
    let readings = [Reading::new("switch_1", Value::from(on))];
    Device::new(id.into(), schema, true, readings, stamp)
}

fn info(id: &str) -> GatewayInfo {
    GatewayInfo {
        id: id.into(),
        name: id.to_owned(),
        link: Link::Up,
        synced: true,
        available: true,
    }
}

fn turned(id: i64, device: &str, on: bool) -> FeedItem {
    let device: DeviceId = device.into();
    let readings = vec![Reading::new("switch_1", Value::from(on))];
    FeedItem::Event {
        event: Event {
            id,
            kind: EventKind::StateChanged { device, readings },
        },
        json: None,
        at: Timestamp(id),
        applied: Applied::Changed,
    }
}

/// A board with the gateways `g` and `h`, each with a device `a`.
fn board() -> Arc<Board> {
    let board = Arc::new(Board::default());
    for gateway in ["g", "h"] {
        board.add(info(gateway));
        snapshot(&board, gateway, &[device("a", false)]);
    }
    board
}

fn snapshot(board: &Board, gateway: &str, devices: &[Device]) {
    let gateway = gateway.into();
    board.apply(&gateway, FeedItem::Init);
    for device in devices {
        board.apply(&gateway, FeedItem::InitApply(device.clone()));
    }
    board.apply(&gateway, FeedItem::InitDone);
}

/// Takes all that is ready, in short.
fn drain(feed: &mut HubFeed) -> Vec<String> {
    let mut items = Vec::new();
    loop {
        let mut context = Context::from_waker(Waker::noop());
        let item = match pin!(feed.next()).as_mut().poll(&mut context) {
            Poll::Pending => return items,
            Poll::Ready(item) => item,
        };
        let Some(item) = item else {
            items.push("end".to_owned());
            return items;
        };
        items.push(match item {
            HubItem::Init => "init".to_owned(),
            HubItem::InitDone => "done".to_owned(),
            HubItem::Gateway(info) => info.id.to_string(),
            HubItem::GatewayGone(id) => format!("gone {id}"),
            HubItem::Device { gateway, device } => {
                let on = &device.points()[0].value;
                format!("{gateway}/{}={on}", device.id())
            }
            HubItem::DeviceGone(device) => format!("gone {device}"),
            HubItem::Event {
                gateway,
                event,
                applied,
                ..
            } => format!("{gateway} event {} {applied:?}", event.id),
            HubItem::Renamed { device, .. } => format!("renamed {device}"),
            HubItem::Missed { items } => format!("missed {items}"),
        });
    }
}

const SNAPSHOT: [&str; 6] = ["init", "g", "g/a=false", "h", "h/a=false", "done"];

#[test]
fn a_snapshot_and_what_follows_it_fit_together() {
    let board = board();
    let mut feed = board.subscribe();
    board.apply(&"g".into(), turned(1, "a", true));
    board.apply(&"g".into(), turned(2, "a", true));
    let mut later = board.subscribe();
    board.apply(&"h".into(), FeedItem::Upsert(device("b", true)));
    board.apply(&"h".into(), FeedItem::Delete("a".into()));
    board.remove(&"g".into());
    let told = drain(&mut feed);
    assert_eq!(told[..6], SNAPSHOT);
    let after = ["h/b=true", "gone h/a", "gone g"];
    assert_eq!(told[6..8], ["g event 1 Changed", "g event 2 Same"]);
    assert_eq!(told[8..], after);
    let told = drain(&mut later);
    assert_eq!(told[2], "g/a=true");
    assert_eq!(told[6..], after);
}

#[test]
fn a_second_snapshot_of_a_gateway_tells_only_the_difference() {
    let board = board();
    let mut feed = board.subscribe();
    snapshot(&board, "g", &[device("a", false), device("b", true)]);
    snapshot(&board, "g", &[device("b", true)]);
    assert_eq!(drain(&mut feed)[6..], ["g/b=true", "gone g/a"]);
}

#[test]
fn a_slow_subscriber_gets_an_explicit_resync_and_costs_the_others_nothing() {
    let board = board();
    let mut slow = board.subscribe();
    let mut quick = board.subscribe();
    drain(&mut quick);
    for id in 0..=i64::try_from(HUB_BACKLOG_ITEMS).unwrap() {
        board.apply(&"g".into(), turned(id, "a", id % 2 == 0));
        assert_eq!(drain(&mut quick), [format!("g event {id} Changed")]);
    }
    let told = drain(&mut slow);
    assert_eq!(told[..6], SNAPSHOT);
    assert_eq!(told[6], format!("missed {}", HUB_BACKLOG_ITEMS + 1));
    assert_eq!(told[9], "g/a=true");
    assert_eq!(told.len(), 7 + SNAPSHOT.len());
    board.apply(&"g".into(), turned(0, "a", true));
    assert_eq!(drain(&mut slow), ["g event 0 Same"]);
}

#[test]
fn a_lost_link_makes_the_values_remembered_ones() {
    let board = board();
    let gateway = Arc::from("g");
    let reason = Arc::new(ClientError::Closed { gateway });
    board.apply(&"g".into(), FeedItem::Down(reason));
    let source = |home: &Home| home.device("a").unwrap().points()[0].confirmed.source;
    assert_eq!(board.read("g", source), Some(Source::Cache));
    assert_eq!(board.read("h", source), Some(Source::Read));
}

#[test]
fn the_end_comes_after_what_was_queued() {
    let board = board();
    let mut feed = board.subscribe();
    drain(&mut feed);
    board.apply(&"g".into(), turned(1, "a", true));
    board.end();
    assert_eq!(drain(&mut feed), ["g event 1 Changed", "end"]);
}
