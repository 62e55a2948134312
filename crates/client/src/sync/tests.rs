use std::collections::VecDeque;

use hearthgate_protocol::model::{Device, Reading, Source, Value};

use super::*;
use crate::mirror::MirrorWriter;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A sync with its mirror, a clock, and the requests that nobody has answered yet.
struct Bench {
    sync: Sync,
    writer: MirrorWriter,
    mirror: crate::Mirror,
    now: Instant,
    next_id: i64,
    open: VecDeque<(i64, Request)>,
    at: i64,
    events: i64,
}

impl Bench {
    fn new() -> Self {
        let (writer, mirror) = MirrorWriter::new();
        Self {
            sync: Sync::new(TIMEOUT),
            writer,
            mirror,
            now: crate::link::now(),
            next_id: 1,
            open: VecDeque::new(),
            at: 0,
            events: 0,
        }
    }

    /// Takes all requests that are due.
    fn pump(&mut self) -> usize {
        while let Some(request) = self.sync.next_request(self.next_id, self.now) {
            self.open.push_back((self.next_id, request));
            self.next_id += 1;
        }
        self.open.len()
    }

    fn answer(&mut self, id: i64, outcome: Result<String, RemoteError>) -> Outcome {
        self.at += 1;
        let at = Timestamp(self.at);
        let sync = &mut self.sync;
        let now = self.now;
        let outcome = self
            .mirror
            .read(|home| sync.handle_answer(id, outcome, home, at, now));
        if let Outcome::Commit(commit) = &outcome {
            self.writer.commit(commit.clone());
        }
        outcome
    }

    /// Answers all requests in order until none is due; returns them.
    fn serve(&mut self, answer: impl Fn(&Request) -> Result<String, RemoteError>) -> Vec<Request> {
        let mut asked = Vec::new();
        while self.pump() > 0 {
            let (id, request) = self.open.pop_front().unwrap();
            self.answer(id, answer(&request));
            asked.push(request);
        }
        asked
    }

    fn event(&mut self, id: i64, kind: EventKind) {
        self.at += 1;
        let stamp = Stamp {
            at: Timestamp(self.at),
            source: Source::Event,
        };
        let applied = kind
            .update()
            .map_or(Applied::Same, |update| self.writer.update(update, stamp));
        let event = Event { id, kind };
        self.sync.handle_event(&event, applied, stamp);
        self.events = id;
    }

    fn registry_updated(&mut self, device: &str) {
        let kind = EventKind::RegistryUpdated {
            device: device.into(),
            state: 1,
        };
        self.event(self.events + 1, kind);
    }

    fn state(&mut self, id: i64, device: &str, value: i64) {
        let readings = vec![Reading::new("v", Value::from(value))];
        let kind = EventKind::StateChanged {
            device: device.into(),
            readings,
        };
        self.event(id, kind);
    }

    fn device(&self, id: &str) -> Device {
        self.mirror.device(id).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let devices = self.mirror.devices();
        devices
            .iter()
            .map(|device| device.id().to_string())
            .collect()
    }
}

/// Answers like a gateway with these devices, each with the value `v`.
fn gateway<'a>(
    devices: &'a [&'a str],
    value: i64,
) -> impl Fn(&Request) -> Result<String, RemoteError> + 'a {
    move |request| {
        let each = |ids: &[DeviceId], write: &dyn Fn(&str) -> String| {
            let mut items = Vec::new();
            for id in ids {
                if !devices.contains(&id.as_str()) {
                    return Err(refusal("unknown_device"));
                }
                items.push(write(id.as_str()));
            }
            Ok(format!("[{}]", items.join(",")))
        };
        match request {
            Request::GetDevices => {
                let all: Vec<DeviceId> = devices.iter().map(|id| (*id).into()).collect();
                each(&all, &|id| format!("\"{id}\""))
            }
            Request::GetSchema(ids) => each(ids, &|id| {
                format!(r#"{{"devid":"{id}","category":"kg","function":[],"status":[]}}"#)
            }),
            Request::GetStatus(ids) => each(ids, &|id| {
                format!(r#"{{"devid":"{id}","online":true,"value":[{{"k":"v","v":{value}}}]}}"#)
            }),
            Request::SetValue(_) => Err(refusal("internal")),
        }
    }
}

fn refusal(code: &str) -> RemoteError {
    RemoteError {
        code: code.to_owned(),
        message: String::new(),
        json: String::new(),
    }
}

fn asks_for(request: &Request, device: &str) -> bool {
    match request {
        Request::GetSchema(ids) | Request::GetStatus(ids) => {
            ids.iter().any(|id| id.as_str() == device)
        }
        _ => false,
    }
}

#[test]
fn slices_of_a_hundred_are_under_way_four_at_a_time() {
    let names: Vec<String> = (0..1050).map(|n| format!("d{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::new();
    assert_eq!(bench.pump(), 1);
    let (id, list) = bench.open.pop_front().unwrap();
    bench.answer(id, gateway(&names, 1)(&list));
    assert_eq!(bench.pump(), 4);
    let asked = bench.serve(gateway(&names, 1));
    // Eleven slices of schemas and eleven of statuses.
    assert_eq!(asked.len(), 22);
    assert_eq!(bench.names(), names);
    assert_eq!(bench.sync.deadline(), None);
}

#[test]
fn a_slice_that_is_refused_costs_only_the_device_it_is_about() {
    let names: Vec<String> = (0..100).map(|n| format!("d{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for code in ["internal", "unknown_device"] {
        let mut bench = Bench::new();
        let asked = bench.serve(|request| {
            if asks_for(request, "d42") {
                // Listed all the same, again and again.
                return Err(refusal(code));
            }
            gateway(&names, 1)(request)
        });
        assert_eq!(bench.names().len(), 99, "{code}");
        assert!(bench.mirror.device("d42").is_none());
        assert!(asked.len() < 50, "{}", asked.len());
    }
}

#[test]
fn a_gateway_that_answers_for_no_device_at_all_fails_the_round_early() {
    let names: Vec<String> = (0..1000).map(|n| format!("d{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for count in [3, names.len()] {
        let mut bench = Bench::new();
        let asked = bench.serve(|request| match request {
            Request::GetDevices => gateway(&names[..count], 1)(request),
            _ => Err(refusal("internal")),
        });
        assert!(asked.len() < 300, "{}", asked.len());
        assert!(bench.names().is_empty());
        assert_eq!(bench.sync.deadline(), Some(bench.now + RETRY));
    }
}

#[test]
fn an_entry_that_cannot_be_read_costs_only_its_device() {
    let mut bench = Bench::new();
    bench.serve(|request| {
        let answer = gateway(&["a", "b", "c"], 1)(request)?;
        Ok(answer.replace(
            r#"{"devid":"b","online":true"#,
            r#"{"devid":"b","online":"?""#,
        ))
    });
    assert_eq!(bench.names(), ["a", "c"]);
}

#[test]
fn answers_that_leave_out_or_add_devices_take_nothing_down() {
    let mut bench = Bench::new();
    bench.serve(|request| match request {
        Request::GetStatus(_) => gateway(&["a", "x"], 1)(&Request::GetStatus(vec![
            "a".into(),
            "x".into(),
            "a".into(),
        ])),
        // Named twice, listed once.
        Request::GetDevices => Ok(r#"["a","b","a"]"#.to_owned()),
        _ => gateway(&["a", "b"], 1)(request),
    });
    assert_eq!(bench.names(), ["a"]);
}

#[test]
fn a_device_that_goes_while_several_slices_are_under_way_makes_one_more_list() {
    let names: Vec<String> = (0..400).map(|n| format!("d{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // One of each slice is gone.
    let left: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| !name.ends_with("50"))
        .collect();
    let mut bench = Bench::new();
    bench.pump();
    let (id, list) = bench.open.pop_front().unwrap();
    bench.answer(id, gateway(&names, 1)(&list));
    bench.pump();
    let asked = bench.serve(gateway(&left, 1));
    let lists = asked.iter().filter(|asked| **asked == Request::GetDevices);
    assert_eq!(lists.count(), 1);
    assert_eq!(bench.names(), left);
}

#[test]
fn a_device_that_comes_while_the_list_is_read_again_is_read_next() {
    let mut bench = Bench::new();
    bench.pump();
    let (id, list) = bench.open.pop_front().unwrap();
    bench.answer(id, gateway(&["a", "b"], 1)(&list));
    bench.serve(gateway(&["a", "new"], 1));
    assert_eq!(bench.names(), ["a", "new"]);
}

#[test]
fn a_request_without_answer_is_sent_once_more_and_then_tried_later() {
    let mut bench = Bench::new();
    bench.pump();
    for _ in 0..2 {
        assert_eq!(bench.open.len(), 1);
        bench.now += TIMEOUT;
        assert_eq!(bench.sync.deadline(), Some(bench.now));
        let outcome = bench
            .mirror
            .read(|home| bench.sync.handle_timeout(home, bench.now));
        bench.open.clear();
        if bench.pump() == 0 {
            let request = "get_devices";
            assert_eq!(outcome, Outcome::Failed(SyncFault::Timeout { request }));
        }
    }
    assert_eq!(bench.sync.deadline(), Some(bench.now + RETRY));
    bench.now += RETRY;
    bench.serve(gateway(&["a"], 1));
    assert_eq!(bench.names(), ["a"]);
}

#[test]
fn a_late_answer_is_none_of_the_syncs() {
    let mut bench = Bench::new();
    bench.pump();
    let (late, _) = bench.open.pop_front().unwrap();
    bench.now += TIMEOUT;
    let now = bench.now;
    bench
        .mirror
        .read(|home| bench.sync.handle_timeout(home, now));
    bench.pump();
    assert!(!bench.sync.owns(late));
    assert_eq!(bench.answer(late, Ok("[]".to_owned())), Outcome::Going);
}

#[test]
fn an_event_behind_the_read_wins_and_one_before_it_does_not() {
    let mut bench = Bench::new();
    bench.pump();
    let (id, list) = bench.open.pop_front().unwrap();
    bench.answer(id, gateway(&["a", "b"], 1)(&list));
    bench.pump();
    let (id, schemas) = bench.open.pop_front().unwrap();
    bench.state(1, "a", 7);
    bench.answer(id, gateway(&["a", "b"], 1)(&schemas));
    bench.serve(gateway(&["a", "b"], 1));
    assert_eq!(bench.device("a").points()[0].value, Value::from(1));

    // The same in a round that is begun by a change, with the mirror in use meanwhile.
    bench.registry_updated("a");
    bench.pump();
    let (id, list) = bench.open.pop_front().unwrap();
    bench.answer(id, gateway(&["a", "b"], 2)(&list));
    bench.state(3, "b", 8);
    bench.serve(gateway(&["a", "b"], 2));
    assert_eq!(bench.device("a").points()[0].value, Value::from(2));
    assert_eq!(bench.device("b").points()[0].value, Value::from(8));
}

#[test]
fn a_read_keeps_the_time_of_the_last_change_and_drops_what_is_not_reported_any_more() {
    let mut bench = Bench::new();
    bench.serve(gateway(&["a"], 1));
    let first = bench.device("a").points()[0].clone();
    bench.registry_updated("a");
    bench.serve(gateway(&["a"], 1));
    let again = bench.device("a").points()[0].clone();
    assert_eq!(again.changed, first.changed);
    assert!(again.confirmed.at > first.confirmed.at);

    bench.registry_updated("a");
    bench.serve(|request| Ok(gateway(&["a"], 1)(request)?.replace("\"v\",", "\"w\",")));
    let device = bench.device("a");
    let codes: Vec<&str> = device.points().iter().map(|p| p.code.as_str()).collect();
    assert_eq!(codes, ["w"]);
}

#[test]
fn rounds_that_only_gaps_ask_for_have_a_pause_between_them() {
    let mut bench = Bench::new();
    bench.serve(gateway(&["a"], 1));
    bench.state(10, "a", 1);
    assert_eq!(bench.pump(), 0);
    bench.state(20, "a", 1);
    assert_eq!(bench.serve(gateway(&["a"], 1)).len(), 2);
    bench.state(30, "a", 1);
    assert_eq!(bench.pump(), 0);
    assert_eq!(bench.sync.deadline(), Some(bench.now + GAP_PAUSE));
    // A change of the registry does not wait, and takes the gap along.
    bench.events = 30;
    bench.registry_updated("a");
    assert_eq!(bench.serve(gateway(&["a"], 1)).len(), 3);
    assert_eq!(bench.sync.deadline(), None);
    bench.state(40, "a", 1);
    bench.now += GAP_PAUSE;
    assert_eq!(bench.serve(gateway(&["a"], 1)).len(), 2);
}

#[test]
fn an_equal_id_is_no_gap() {
    let mut bench = Bench::new();
    bench.serve(gateway(&["a"], 1));
    for id in [5, 6, 6, 7] {
        bench.state(id, "a", 1);
    }
    assert_eq!(bench.pump(), 0);
    bench.state(i64::MAX, "a", 1);
    bench.serve(gateway(&["a"], 1));
    bench.state(i64::MIN, "a", 1);
    bench.now += GAP_PAUSE;
    assert_eq!(bench.pump(), 1);
}

#[test]
fn more_changes_than_can_be_named_read_everything() {
    let mut bench = Bench::new();
    bench.serve(gateway(&["a"], 1));
    for n in 0..=NAMED_MAX {
        bench.registry_updated(&format!("d{n}"));
    }
    let asked = bench.serve(gateway(&["a"], 2));
    assert_eq!(asked.len(), 3);
    assert_eq!(bench.device("a").points()[0].value, Value::from(2));
}

#[test]
fn a_new_connection_reads_everything_over_what_was_known() {
    let mut bench = Bench::new();
    bench.serve(gateway(&["a", "b"], 1));
    let before = bench.device("a");
    bench.sync = Sync::new(TIMEOUT);
    let asked = bench.serve(gateway(&["a", "c"], 1));
    assert_eq!(asked.len(), 3);
    assert_eq!(bench.names(), ["a", "c"]);
    let after = bench.device("a");
    assert_eq!(after.points()[0].changed, before.points()[0].changed);
    assert!(std::sync::Arc::ptr_eq(before.schema(), after.schema()));
}

#[test]
fn a_list_that_is_refused_or_none_fails_the_round_and_keeps_what_is_wanted() {
    let mut bench = Bench::new();
    bench.serve(gateway(&["a"], 1));
    bench.registry_updated("a");
    bench.pump();
    let (id, _) = bench.open.pop_front().unwrap();
    let outcome = bench.answer(id, Ok("{}".to_owned()));
    assert!(
        matches!(
            outcome,
            Outcome::Failed(SyncFault::BadAnswer {
                request: "get_devices",
                ..
            })
        ),
        "{outcome:?}"
    );
    assert_eq!(bench.pump(), 0);
    bench.now += RETRY;
    assert_eq!(bench.serve(gateway(&["a"], 5)).len(), 3);
    assert_eq!(bench.device("a").points()[0].value, Value::from(5));
}
