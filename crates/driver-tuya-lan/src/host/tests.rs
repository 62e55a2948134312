//! A connection and its devices, with virtual time and no network.

use std::path::Path;

use hearthgate_protocol::model::{Change, Value};

use super::*;
use crate::config::LanConfig;
use crate::unit::WRITE_TIMEOUT;

const PLUG: &str = r#"
[[device]]
id = "plug"
key = "0123456789abcdef"
category = "cz"
grace = "10s"
poll = "60s"
"#;
const SUBS: &str = r#"
[[device]]
id = "one"
parent = "plug"
cid = "c1"
category = "cz"
[[device]]
id = "two"
parent = "plug"
cid = "c2"
category = "cz"
"#;
const STATE: &str = r#"{"dps":{"1":true,"19":456}}"#;

struct Bench {
    host: Host<u32>,
    now: Instant,
    done: Vec<Action<u32>>,
}

impl Bench {
    fn new(text: &str) -> Self {
        let config = LanConfig::parse(text, Path::new("lan.toml")).unwrap();
        let mut devices = config.devices.into_iter();
        let own = devices.next().unwrap();
        Self {
            host: Host::new(own, devices.collect()),
            now: Instant::now(),
            done: Vec::new(),
        }
    }

    /// One that has told its state.
    fn online(text: &str) -> Self {
        let mut bench = Self::new(text);
        bench.up(Version::V34);
        bench.frame(FrameKind::Answer, STATE);
        for cid in ["c1", "c2"] {
            if text.contains(cid) {
                bench.frame(FrameKind::Answer, &of(cid, "false"));
            }
        }
        bench.done.clear();
        bench
    }

    fn up(&mut self, version: Version) {
        let actions = self.host.up(self.now, version, Dialect::Standard, true);
        self.done.extend(actions);
    }

    fn down(&mut self) {
        let actions = self.host.down(self.now);
        self.done.extend(actions);
    }

    fn frame(&mut self, kind: FrameKind, body: &str) {
        self.coded(kind, 0, body);
    }

    fn coded(&mut self, kind: FrameKind, code: u32, body: &str) {
        let body = body.as_bytes().to_vec();
        let code = Some(code);
        let actions = self.host.frame(self.now, &Frame { kind, code, body });
        self.done.extend(actions);
    }

    fn order(&mut self, device: &str, code: &str, value: bool, ack: u32) {
        let readings = vec![Reading::new(code, Value::from(value))];
        let actions = self.host.order(self.now, &device.into(), readings, ack);
        self.done.extend(actions);
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.host.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let before = self.host.deadline();
            let actions = self.host.tick(self.now);
            assert!(
                !actions.is_empty() || self.host.deadline() != before,
                "a timer that does nothing"
            );
            self.done.extend(actions);
        }
        self.now = end;
    }

    fn writes(&self) -> Vec<Vec<(u16, Value)>> {
        let written = |action: &Action<u32>| match action {
            Action::Send(Request::Write { points, .. }) => Some(points.clone()),
            _ => None,
        };
        self.done.iter().filter_map(written).collect()
    }

    fn queries(&self) -> usize {
        let is_query =
            |action: &&Action<u32>| matches!(action, Action::Send(Request::Query { .. }));
        self.done.iter().filter(is_query).count()
    }

    fn changes(&self) -> Vec<Change> {
        let mut all = Vec::new();
        for action in &self.done {
            match action {
                Action::Report(changes) | Action::Succeed(changes, _) => {
                    all.extend(changes.clone());
                }
                _ => {}
            }
        }
        all
    }

    /// What became of an order: `ok`, or the name of the fault.
    fn outcome(&self, of: u32) -> Option<String> {
        self.done.iter().find_map(|action| match action {
            Action::Succeed(_, ack) if *ack == of => Some("ok".to_owned()),
            Action::Fail(ack, fault) if *ack == of => Some(fault.code.to_string()),
            _ => None,
        })
    }

    fn gave_up(&self) -> Option<Cause> {
        self.done.iter().find_map(|action| match action {
            Action::GiveUp(cause) => Some(cause.clone()),
            _ => None,
        })
    }
}

fn of(cid: &str, value: &str) -> String {
    format!(r#"{{"data":{{"cid":"{cid}","dps":{{"1":{value}}}}}}}"#)
}

fn state(device: &str, code: &str, value: Value) -> Change {
    Change::State {
        device: device.into(),
        readings: vec![Reading::new(code, value)],
    }
}

#[test]
fn a_device_is_online_with_its_whole_state_and_not_before() {
    let mut bench = Bench::new(PLUG);
    bench.up(Version::V34);
    // A report may hold a part only.
    bench.frame(FrameKind::Report, r#"{"dps":{"19":455}}"#);
    assert!(bench.changes().is_empty());
    bench.frame(FrameKind::Answer, STATE);
    let changes = bench.changes();
    let [
        Change::Upsert(device),
        Change::Online {
            online: true,
            readings,
            ..
        },
    ] = changes.as_slice()
    else {
        panic!("{changes:?}")
    };
    assert!(!device.online() && device.schema().function("switch_1").is_some());
    assert_eq!(readings.len(), 2);
}

#[test]
fn what_is_pushed_is_an_event_and_what_was_asked_only_where_it_differs() {
    let mut bench = Bench::online(PLUG);
    bench.frame(FrameKind::Report, r#"{"dps":{"1":true}}"#);
    assert_eq!(
        bench.changes(),
        [state("plug", "switch_1", Value::from(true))]
    );
    bench.done.clear();
    bench.frame(FrameKind::Answer, STATE);
    assert!(bench.done.is_empty());
    bench.frame(FrameKind::Answer, r#"{"dps":{"1":true,"19":1}}"#);
    assert_eq!(
        bench.changes(),
        [state("plug", "cur_power", Value::from(1))]
    );
}

#[test]
fn a_new_data_point_changes_the_device_first() {
    let mut bench = Bench::online(PLUG);
    bench.frame(FrameKind::Report, r#"{"dps":{"101":"low"}}"#);
    let changes = bench.changes();
    let [Change::Upsert(device), Change::State { .. }] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert!(
        device.online() && device.point("dp_101").is_some() && device.point("switch_1").is_some()
    );
}

#[test]
fn a_write_succeeds_when_the_device_shows_it() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    assert_eq!(bench.writes(), [[(1, Value::from(false))]]);
    bench.frame(FrameKind::Report, r#"{"dps":{"1":true}}"#);
    assert_eq!(bench.outcome(1), None, "that is the old value");
    bench.frame(FrameKind::Report, r#"{"dps":{"1":false}}"#);
    assert_eq!(bench.outcome(1).as_deref(), Some("ok"));
    // Whoever reads after the success sees the effect: both are one action.
    let effect = vec![state("plug", "switch_1", Value::from(false))];
    assert!(bench.done.contains(&Action::Succeed(effect, 1)));
}

#[test]
fn a_write_succeeds_when_the_device_acknowledges_it() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.frame(FrameKind::Taken, "");
    assert_eq!(bench.outcome(1), None, "its report may come at once");
    bench.pass(Duration::from_millis(300));
    assert_eq!(bench.outcome(1).as_deref(), Some("ok"));
    assert_eq!(
        bench.changes(),
        [state("plug", "switch_1", Value::from(false))]
    );
}

#[test]
fn after_an_acknowledgement_the_device_has_the_last_word() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.frame(FrameKind::Taken, "");
    bench.frame(FrameKind::Report, r#"{"dps":{"1":true}}"#);
    assert_eq!(bench.outcome(1).as_deref(), Some("ok"));
    assert_eq!(
        bench.changes(),
        [state("plug", "switch_1", Value::from(true))]
    );
}

#[test]
fn a_write_that_nobody_acknowledges_is_asked_about_and_then_timed_out() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.order("plug", "switch_1", true, 2);
    bench.pass(Duration::from_secs(2));
    assert_eq!((bench.queries(), bench.outcome(1)), (1, None));
    bench.pass(WRITE_TIMEOUT);
    assert_eq!(bench.outcome(1).as_deref(), Some("timeout"));
    assert_eq!(bench.outcome(2).as_deref(), Some("timeout"));
    assert_eq!(bench.writes().len(), 1, "what was answered is never sent");
}

#[test]
fn an_answer_to_the_question_shows_that_a_write_was_taken() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.pass(Duration::from_secs(2));
    bench.frame(FrameKind::Answer, r#"{"dps":{"1":false,"19":456}}"#);
    assert_eq!(bench.outcome(1).as_deref(), Some("ok"));
}

#[test]
fn a_late_acknowledgement_is_not_that_of_the_next_write() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.pass(WRITE_TIMEOUT);
    bench.order("plug", "switch_1", true, 2);
    bench.frame(FrameKind::Taken, "");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.outcome(2), None);
    bench.frame(FrameKind::Taken, "");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.outcome(2).as_deref(), Some("ok"));
}

#[test]
fn a_late_answer_with_the_old_value_is_not_that_of_the_next_write() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.pass(WRITE_TIMEOUT);
    bench.order("plug", "switch_1", true, 2);
    bench.frame(FrameKind::Taken, r#"{"dps":{"1":false}}"#);
    assert_eq!(bench.outcome(2), None);
    bench.frame(FrameKind::Taken, r#"{"dps":{"1":true}}"#);
    assert_eq!(bench.outcome(2).as_deref(), Some("ok"));
}

#[test]
fn a_write_whose_time_is_over_is_not_sent_when_its_turn_comes() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.order("plug", "switch_1", true, 2);
    // A frame comes before the timer is served.
    bench.now += WRITE_TIMEOUT;
    bench.frame(FrameKind::Report, r#"{"dps":{"1":false}}"#);
    assert_eq!(bench.outcome(2).as_deref(), Some("timeout"));
    assert_eq!(bench.writes().len(), 1);
}

#[test]
fn a_refusal_is_said_in_the_words_of_the_device() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.coded(FrameKind::Taken, 1, "parse data error");
    let refusal = bench.done.iter().find_map(|action| match action {
        Action::Fail(1, fault) => Some(fault.to_string()),
        _ => None,
    });
    assert_eq!(
        refusal.unwrap(),
        "internal: device plug refused the write with code 1: parse data error"
    );
}

#[test]
fn writes_for_one_device_go_one_by_one() {
    let mut bench = Bench::online(PLUG);
    for ack in 1..=3 {
        bench.order("plug", "switch_1", ack % 2 == 0, ack);
    }
    for ack in 1..=3 {
        assert_eq!(bench.writes().len(), ack);
        bench.frame(
            FrameKind::Report,
            &format!(r#"{{"dps":{{"1":{}}}}}"#, ack % 2 == 0),
        );
        assert_eq!(
            bench.outcome(u32::try_from(ack).unwrap()).as_deref(),
            Some("ok")
        );
    }
}

#[test]
fn too_many_writes_are_refused_at_once() {
    let mut bench = Bench::online(PLUG);
    for ack in 0..100 {
        bench.order("plug", "switch_1", true, ack);
    }
    assert_eq!(bench.outcome(99).as_deref(), Some("busy"));
    assert_eq!(bench.outcome(64), None);
}

#[test]
fn a_short_absence_is_not_said_and_only_what_differs_is() {
    let mut bench = Bench::online(PLUG);
    bench.down();
    bench.pass(Duration::from_secs(9));
    bench.up(Version::V34);
    bench.frame(FrameKind::Answer, r#"{"dps":{"1":false,"19":456}}"#);
    assert_eq!(
        bench.changes(),
        [state("plug", "switch_1", Value::from(false))]
    );
}

#[test]
fn a_long_absence_is_said_once_and_writes_are_refused() {
    let mut bench = Bench::online(PLUG);
    bench.order("plug", "switch_1", false, 1);
    bench.down();
    assert_eq!(bench.outcome(1).as_deref(), Some("device_offline"));
    bench.order("plug", "switch_1", false, 2);
    assert_eq!(bench.outcome(2), None, "it may come back");
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.outcome(2).as_deref(), Some("device_offline"));
    bench.pass(Duration::from_secs(60));
    bench.down();
    bench.pass(Duration::from_secs(60));
    let gone = Change::Online {
        device: "plug".into(),
        online: false,
        readings: Vec::new(),
    };
    assert_eq!(bench.changes(), [gone]);
    bench.order("plug", "switch_1", false, 3);
    assert_eq!(bench.outcome(3).as_deref(), Some("device_offline"));
    bench.done.clear();
    bench.up(Version::V34);
    bench.frame(FrameKind::Answer, r#"{"dps":{"1":false}}"#);
    let changes = bench.changes();
    let [
        Change::Online {
            online: true,
            readings,
            ..
        },
    ] = changes.as_slice()
    else {
        panic!("{changes:?}")
    };
    assert_eq!(readings.len(), 2, "with all values that are known");
    assert!(
        bench.writes().is_empty(),
        "nothing is sent that was refused"
    );
}

#[test]
fn a_write_within_the_grace_time_waits_for_the_connection() {
    let mut bench = Bench::online(PLUG);
    bench.down();
    bench.order("plug", "switch_1", false, 1);
    bench.pass(Duration::from_secs(2));
    bench.up(Version::V33);
    assert!(
        bench.writes().is_empty(),
        "it is not sure yet that we are understood"
    );
    bench.frame(FrameKind::Answer, STATE);
    assert_eq!(bench.writes().len(), 1);
    bench.frame(FrameKind::Report, r#"{"dps":{"1":false}}"#);
    assert_eq!(bench.outcome(1).as_deref(), Some("ok"));
}

#[test]
fn silence_and_nonsense_mean_that_key_or_version_are_wrong() {
    let mut bench = Bench::new(PLUG);
    bench.up(Version::V33);
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.gave_up(), Some(Cause::NotUnderstood));
    let mut bench = Bench::new(PLUG);
    bench.up(Version::V33);
    let body = vec![0x91, 0x02, 0xff];
    let frame = Frame {
        kind: FrameKind::Answer,
        code: Some(0),
        body,
    };
    assert_eq!(
        bench.host.frame(bench.now, &frame),
        [Action::GiveUp(Cause::NotUnderstood)]
    );
    // Of a connection that has made sense, one frame that does not is no reason to end it.
    let mut bench = Bench::online(PLUG);
    assert!(bench.host.frame(bench.now, &frame).is_empty());
    assert!(bench.host.garbled().is_empty());
}

#[test]
fn a_device_that_says_nothing_is_asked_and_one_that_reports_is_left_alone() {
    let mut bench = Bench::online(PLUG);
    bench.pass(Duration::from_secs(70));
    assert_eq!(bench.queries(), 1);
    let mut bench = Bench::online(PLUG);
    for _ in 0..10 {
        bench.frame(FrameKind::Report, STATE);
        bench.pass(Duration::from_secs(50));
    }
    assert_eq!(bench.queries(), 0);
}

#[test]
fn lost_frames_are_made_good_by_a_question() {
    let mut bench = Bench::online(PLUG);
    let actions = bench.host.missed();
    assert_eq!(actions.len(), 1);
}

#[test]
fn a_question_without_an_answer_is_repeated() {
    let mut bench = Bench::new(PLUG);
    bench.up(Version::V34);
    bench.pass(Duration::from_secs(100));
    assert_eq!(bench.queries(), 5, "after 2 s, then every 30 s");
    assert_eq!(bench.gave_up(), None, "its key is proven");
}

#[test]
fn a_device_that_refuses_the_query_is_asked_by_number() {
    let mut bench = Bench::new(PLUG);
    bench.up(Version::V33);
    bench.coded(FrameKind::Answer, 1, "json obj data unvalid");
    assert_eq!(bench.gave_up(), Some(Cause::Device22));
    let mut bench = Bench::new(&PLUG.replace("category = \"cz\"", ""));
    let mut actions = bench
        .host
        .up(bench.now, Version::V33, Dialect::Device22, false);
    let mut asked = Vec::new();
    for number in [1, 20, 101, 120] {
        let [Action::Send(Request::Query { numbers, .. })] = actions.as_slice() else {
            panic!("{actions:?}")
        };
        asked.extend(numbers.clone());
        let body = format!(r#"{{"dps":{{"{number}":1}}}}"#).into_bytes();
        // The answer looks like that to a write.
        let (kind, code) = (FrameKind::Taken, Some(0));
        actions = bench.host.frame(bench.now, &Frame { kind, code, body });
    }
    assert!(asked.contains(&1) && asked.contains(&130));
    let [Action::Report(changes)] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    let [
        Change::Upsert(_),
        Change::Online {
            online: true,
            readings,
            ..
        },
    ] = changes.as_slice()
    else {
        panic!("{changes:?}")
    };
    assert_eq!(readings.len(), 4);
}

#[test]
fn frames_find_their_sub_device() {
    let text = format!("{PLUG}{SUBS}");
    let mut bench = Bench::new(&text);
    bench.up(Version::V34);
    assert_eq!(bench.queries(), 3);
    assert!(bench.done.contains(&Action::Send(Request::SubDevices)));
    bench.frame(FrameKind::Answer, &of("c2", "true"));
    bench.frame(FrameKind::Report, &of("unheard", "true"));
    let online: Vec<String> = bench
        .changes()
        .iter()
        .map(|change| change.device().to_string())
        .collect();
    assert_eq!(online, ["two", "two"]);
    // A hub has no points of its own, mostly, and is in reach when it is understood.
    bench.coded(FrameKind::Answer, 1, "json obj data unvalid");
    bench.pass(Duration::from_secs(6));
    let is_own = |change: &Change| matches!(change, Change::Online { device, online: true, .. } if device.as_str() == "plug");
    assert!(bench.changes().iter().any(is_own), "{:?}", bench.done);
    assert_eq!(bench.gave_up(), None);
}

#[test]
fn a_hub_tells_which_sub_devices_are_in_reach() {
    let mut bench = Bench::online(&format!("{PLUG}{SUBS}"));
    bench.frame(
        FrameKind::SubDevices,
        r#"{"data":{"online":["c2"],"offline":["c1"]}}"#,
    );
    bench.order("one", "switch_1", true, 1);
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.outcome(1).as_deref(), Some("device_offline"));
    let is_gone = |change: &Change| matches!(change, Change::Online { device, online: false, .. } if device.as_str() == "one");
    assert!(bench.changes().iter().any(is_gone));
    bench.done.clear();
    bench.frame(FrameKind::Report, &of("c1", "true"));
    assert_eq!(bench.queries(), 1, "a report may hold a part only");
    bench.frame(FrameKind::Answer, &of("c1", "true"));
    assert!(matches!(
        bench.changes().last(),
        Some(Change::Online { online: true, .. })
    ));
}

#[test]
fn one_sub_device_does_not_delay_another() {
    let mut bench = Bench::online(&format!("{PLUG}{SUBS}"));
    bench.order("one", "switch_1", true, 1);
    bench.order("two", "switch_1", true, 2);
    assert_eq!(bench.writes().len(), 2);
    // Of which of the two is this? What they show decides.
    bench.frame(FrameKind::Taken, "");
    bench.pass(Duration::from_secs(1));
    assert_eq!((bench.outcome(1), bench.outcome(2)), (None, None));
    bench.frame(FrameKind::Report, &of("c2", "true"));
    assert_eq!(
        (bench.outcome(1), bench.outcome(2).as_deref()),
        (None, Some("ok"))
    );
    bench.frame(FrameKind::Taken, "");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.outcome(1).as_deref(), Some("ok"), "there is one left");
}
