//! What the feed tells, and which rows come of it.

use std::sync::Arc;

use hearthgate_hub::GatewayId;
use hearthgate_protocol::model::{Applied, DataPoint, Schema, Stamp};

use super::*;

const GATEWAY: &str = "gw";
const DEVICE: &str = "dev";
/// When all tests begin.
const START: i64 = 1_700_000_000_000;

/// A tracker and its clock, in milliseconds since the start.
struct Scene {
    tracker: Tracker,
    batch: Batch,
    begin: Instant,
    /// By how much the wall clock was set.
    step: i64,
}

impl Scene {
    fn new() -> Self {
        Self::with(Vec::new(), None)
    }

    fn with(loaded: Vec<Loaded>, alive: Option<i64>) -> Self {
        let begin = Instant::now();
        let mut batch = Batch::default();
        let moment = Moment {
            wall: START,
            steady: begin,
        };
        Self {
            tracker: Tracker::new(loaded, alive, moment, &mut batch),
            batch,
            begin,
            step: 0,
        }
    }

    /// A scene in which the gateway and its device are there.
    fn lively() -> Self {
        let mut scene = Self::new();
        scene.take(0, &HubItem::Init);
        scene.take(0, &HubItem::InitDone);
        scene.take(0, &device(true, START, Source::Read));
        scene.take(0, &link(true));
        scene.rows();
        scene
    }

    fn moment(&self, at: i64) -> Moment {
        Moment {
            wall: START + at + self.step,
            steady: self.begin + Duration::from_millis(at.unsigned_abs()),
        }
    }

    fn take(&mut self, at: i64, item: &HubItem) {
        let now = self.moment(at);
        self.tracker.handle(now, item, &mut self.batch);
    }

    fn tell(&mut self, at: i64, code: &str, json: &str) {
        let event = state(code, json, START + at + self.step);
        self.take(at, &event);
    }

    /// Returns the rows that came since it was last asked: `time code=value`.
    fn rows(&mut self) -> Vec<String> {
        let mut names = std::collections::HashMap::new();
        self.tracker.state.each(|it| {
            let name = match &it.row.subject {
                hearthgate_hub::Subject::Point(_, code) => code.to_string(),
                hearthgate_hub::Subject::Online(_) => "$online".to_owned(),
                hearthgate_hub::Subject::Link(_) => "$link".to_owned(),
            };
            names.insert(it.id, name);
        });
        let mut rows: Vec<String> = self
            .batch
            .rows
            .drain(..)
            .map(|row| {
                let value = row.value.map_or("?".to_owned(), |value| value.to_string());
                let again = if row.repeated { " again" } else { "" };
                format!("{} {}={value}{again}", row.at.0 - START, names[&row.series])
            })
            .collect();
        rows.sort();
        rows
    }
}

fn schema() -> Arc<Schema> {
    let point = |code: &str, kind: &str, values: &str| DataPoint::new(code, kind, values.into());
    let mode = point("mode", "Enum", r#"{"range":["auto","manual"]}"#);
    let status = vec![
        point("temp", "Integer", r#"{"unit":"C","scale":1}"#),
        point("button", "Enum", r#"{"range":["click","double"]}"#),
        point("switch", "Boolean", "{}"),
        mode.clone(),
    ];
    Arc::new(Schema::new("wsdcg", vec![mode], status))
}

fn device(online: bool, at: i64, source: Source) -> HubItem {
    let stamp = Stamp {
        at: Timestamp(at),
        source,
    };
    let readings = [
        Reading::new("temp", Value::from(215)),
        Reading::new("mode", Value::from("auto")),
    ];
    HubItem::Device {
        gateway: GATEWAY.into(),
        device: Device::new(DEVICE.into(), schema(), online, readings, stamp),
    }
}

fn event(kind: EventKind, at: i64) -> HubItem {
    HubItem::Event {
        gateway: GATEWAY.into(),
        event: Event { id: 1, kind },
        at: Timestamp(at),
        applied: Applied::Changed,
    }
}

fn state(code: &str, json: &str, at: i64) -> HubItem {
    let readings = vec![Reading::new(code, Value::parse(json).unwrap())];
    let device = DEVICE.into();
    event(EventKind::StateChanged { device, readings }, at)
}

fn reach(online: bool, at: i64) -> HubItem {
    let kind = EventKind::OnlineUpdated {
        device: DEVICE.into(),
        online,
        readings: None,
    };
    event(kind, START + at)
}

fn info(link: Link, synced: bool, available: bool) -> HubItem {
    HubItem::Gateway(GatewayInfo {
        id: GatewayId::from(GATEWAY),
        name: "home".to_owned(),
        link,
        synced,
        available,
    })
}

fn link(up: bool) -> HubItem {
    if up {
        info(Link::Up, true, true)
    } else {
        info(Link::NoKey("gone".into()), false, true)
    }
}

#[test]
fn the_first_values_are_the_first_changes() {
    let mut scene = Scene::new();
    scene.take(5, &device(true, START + 5, Source::Read));
    let all = ["5 $online=true", "5 mode=\"auto\"", "5 temp=215"];
    assert_eq!(scene.rows(), all);
    let series: Vec<_> = scene.batch.series.values().collect();
    let temp = series.iter().find(|it| it.is_number).unwrap();
    assert_eq!((temp.scale, temp.unit.as_str()), (1, "C"));
    assert_eq!(series.iter().filter(|it| it.is_number).count(), 1);
}

#[test]
fn a_change_is_what_differs_and_a_press_is_an_event_each_time() {
    let mut scene = Scene::lively();
    scene.tell(10, "temp", "215");
    scene.tell(20, "temp", "216");
    scene.tell(30, "temp", "216");
    assert_eq!(scene.rows(), ["20 temp=216"]);
    scene.tell(40, "button", "\"click\"");
    scene.tell(50, "button", "\"click\"");
    assert_eq!(
        scene.rows(),
        ["40 button=\"click\"", "50 button=\"click\" again"]
    );
    // Who can be set repeats its state; who cannot tells of something that happened.
    scene.tell(60, "mode", "\"auto\"");
    scene.tell(70, "switch", "true");
    scene.tell(80, "switch", "true");
    assert_eq!(scene.rows(), ["70 switch=true"]);
}

#[test]
fn out_of_reach_is_a_gap_and_what_held_holds_again() {
    let mut scene = Scene::lively();
    scene.take(10, &reach(false, 10));
    assert_eq!(scene.rows(), ["10 $online=false", "10 mode=?", "10 temp=?"]);
    scene.take(20, &reach(false, 20));
    assert_eq!(scene.rows(), Vec::<String>::new());
    scene.take(30, &reach(true, 30));
    let back = ["30 $online=true", "30 mode=\"auto\"", "30 temp=215"];
    assert_eq!(scene.rows(), back);
}

#[test]
fn a_lost_link_is_a_gap_from_then_on_but_a_blip_is_none() {
    let mut scene = Scene::lively();
    scene.take(1_000, &link(false));
    assert_eq!(scene.rows(), ["1000 $link=false"]);
    scene.take(5_000, &link(true));
    assert_eq!(scene.rows(), ["5000 $link=true"]);
    scene.take(10_000, &link(false));
    scene.rows();
    scene.take(40_000, &info(Link::NoKey("gone".into()), false, false));
    let gap = ["10000 $online=?", "10000 mode=?", "10000 temp=?"];
    assert_eq!(scene.rows(), gap);
    // What differs is told before the gateway counts as in sync; what does not goes on.
    scene.tell(50_000, "temp", "190");
    scene.take(50_500, &link(true));
    let back = [
        "50000 temp=190",
        "50500 $link=true",
        "50500 $online=true",
        "50500 mode=\"auto\"",
    ];
    assert_eq!(scene.rows(), back);
}

#[test]
fn what_is_remembered_or_out_of_reach_is_nothing_that_is_known() {
    let mut scene = Scene::new();
    scene.take(5, &device(true, START, Source::Cache));
    assert_eq!(scene.rows(), Vec::<String>::new());
    scene.take(6, &device(false, START + 6, Source::Read));
    assert_eq!(scene.rows(), ["6 $online=false"]);
}

fn loaded(at: i64) -> Vec<Loaded> {
    let mut scene = Scene::lively();
    let mut all = Vec::new();
    scene.tracker.state.each(|it| {
        all.push(Loaded {
            id: it.id,
            row: it.row.clone(),
            at,
            held: it.held.clone(),
            is_open: true,
        });
    });
    all
}

#[test]
fn while_no_hub_ran_nothing_is_known_and_a_restart_is_no_gap() {
    let mut scene = Scene::with(loaded(START - 900_000), Some(START - 600_000));
    let gap = ["$link=?", "$online=?", "mode=?", "temp=?"];
    assert_eq!(scene.rows(), gap.map(|it| format!("-600000 {it}")));
    scene.take(0, &device(true, START, Source::Read));
    let again = ["0 $online=true", "0 mode=\"auto\"", "0 temp=215"];
    assert_eq!(scene.rows(), again);

    let mut scene = Scene::with(loaded(START - 20_000), Some(START - 10_000));
    scene.take(0, &info(Link::Connecting, false, false));
    scene.take(500, &device(true, START + 500, Source::Read));
    scene.take(500, &link(true));
    assert_eq!(scene.rows(), Vec::<String>::new());
}

#[test]
fn a_gateway_that_is_not_found_after_a_restart_is_a_gap_at_last() {
    let mut scene = Scene::with(loaded(START - 20_000), Some(START - 10_000));
    scene.take(0, &info(Link::Connecting, false, false));
    let later = scene.moment(RESTART + 1);
    scene.tracker.handle_time(later, &mut scene.batch);
    assert_eq!(scene.rows(), ["0 $online=?", "0 mode=?", "0 temp=?"]);
}

#[test]
fn a_device_that_is_gone_ends_also_where_that_was_missed() {
    let mut scene = Scene::lively();
    scene.take(10, &HubItem::DeviceGone(DeviceRef::new(GATEWAY, DEVICE)));
    assert_eq!(scene.rows(), ["10 $online=?", "10 mode=?", "10 temp=?"]);
    let mut scene = Scene::lively();
    scene.take(10, &HubItem::Missed { items: 7 });
    scene.take(10, &HubItem::Init);
    scene.take(10, &link(true));
    assert_eq!(scene.rows(), Vec::<String>::new());
    scene.take(10, &HubItem::InitDone);
    assert_eq!(scene.rows(), ["10 $online=?", "10 mode=?", "10 temp=?"]);
    assert_eq!(scene.tracker.take_lost(), 7);
    let mut scene = Scene::lively();
    scene.take(20, &HubItem::Init);
    scene.take(20, &info(Link::Up, true, true));
    scene.take(20, &device(true, START, Source::Read));
    scene.take(20, &HubItem::InitDone);
    assert_eq!(
        scene.rows(),
        Vec::<String>::new(),
        "a snapshot of what is known"
    );
}

#[test]
fn a_clock_that_is_set_makes_a_gap_and_a_small_step_back_none() {
    for step in [-86_400_000, 86_400_000] {
        let mut scene = Scene::lively();
        scene.step = step;
        scene.tell(1_000, "temp", "216");
        let rows = scene.rows();
        let new = 1_000 + step;
        assert!(rows.contains(&"1000 temp=?".to_owned()), "{rows:?}");
        assert!(rows.contains(&format!("{new} temp=215")), "{rows:?}");
        assert!(rows.contains(&format!("{new} temp=216")), "{rows:?}");
        scene.tell(2_000, "temp", "217");
        assert_eq!(scene.rows(), [format!("{} temp=217", 2_000 + step)]);
    }
    let mut scene = Scene::lively();
    scene.tell(10_000, "temp", "216");
    scene.step = -8_000;
    scene.tell(11_000, "temp", "217");
    assert_eq!(scene.rows(), ["10000 temp=216", "10000 temp=217"]);
}

#[test]
fn an_item_that_waited_says_nothing_about_the_clock() {
    let mut scene = Scene::lively();
    let later = scene.moment(100_000);
    scene.tracker.handle_time(later, &mut scene.batch);
    scene.tell(10_000, "temp", "216");
    scene.tell(101_000, "temp", "217");
    assert_eq!(scene.rows(), ["10000 temp=216", "101000 temp=217"]);
}

#[test]
fn a_value_without_bounds_is_not_kept() {
    let mut scene = Scene::lively();
    let long = format!("\"{}\"", "x".repeat(LONGEST_VALUE));
    scene.tell(10, "button", &long);
    assert_eq!(scene.rows(), Vec::<String>::new());
}
