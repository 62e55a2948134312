//! What is played, when, and what a recording may be.

use std::fs;

use hearthgate_protocol::model::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::driver::{Ack, DriverId, Report, Reports};

const HEAD: &str =
    r#"{"format":"hearthgate transcript","version":1,"started_at":0,"wire":"binary"}"#;
const PROFILE: &str = r#"{"devid":"a","category":"kg","function":[{"code":"switch_1","type":"Boolean","values":"{}"}],
    "status":[{"code":"switch_1","type":"Boolean","values":"{}"}],"value":[{"k":"switch_1","v":false}]}"#;

fn line(ms: u64, from: &str, message: &str) -> String {
    format!(r#"{{"ms":{ms},"from":"{from}","message":{message}}}"#)
}

fn event(ms: u64, kind: &str, data: &str) -> String {
    let message = format!(r#"{{"id":1,"type":"event","event_type":"{kind}","data":{data}}}"#);
    line(ms, "gateway", &message)
}

fn switched(ms: u64, on: bool) -> String {
    let data = format!(r#"{{"devid":"a","value":[{{"k":"switch_1","v":{on}}}]}}"#);
    event(ms, "state_changed", &data)
}

fn recording(lines: &[String]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.json"), PROFILE).unwrap();
    let text = [HEAD.to_owned()]
        .iter()
        .chain(lines)
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(folder.path().join(transcript::NAME), text).unwrap();
    folder
}

/// A replay that runs, and what it reports.
struct Played {
    reports: mpsc::Receiver<Report>,
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    started: Instant,
}

impl Played {
    fn start(folder: &Path, speed: f64, repeat: bool) -> Self {
        let replay = Replay::load(folder, ReplayOptions { speed, repeat }).unwrap();
        replay.begin_token().cancel();
        let (sender, reports) = mpsc::channel(64);
        let (commands, receiver) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let port = DriverPort {
            reports: Reports {
                driver: DriverId(0),
                sender,
            },
            commands: receiver,
            stop: stop.clone(),
        };
        tokio::spawn(Box::new(replay).run(port));
        Self {
            reports,
            commands,
            stop,
            started: Instant::now(),
        }
    }

    /// Returns the next changes that are not empty, and when they came.
    async fn next(&mut self) -> (u128, Vec<Change>) {
        loop {
            let report = self.reports.recv().await.unwrap();
            if !report.changes.is_empty() {
                return (self.started.elapsed().as_millis(), report.changes);
            }
        }
    }
}

fn values(changes: &[Change]) -> Vec<bool> {
    let value = |change: &Change| match change {
        Change::State { readings, .. } => readings[0].value.as_bool(),
        _ => None,
    };
    changes.iter().filter_map(value).collect()
}

#[tokio::test(start_paused = true)]
async fn events_come_in_their_order_and_at_their_distances() {
    let lines = [
        line(1, "client", r#"{"id":1,"type":"get_devices"}"#),
        switched(1000, true),
        switched(1000, false),
        switched(61_000, true),
    ];
    let folder = recording(&lines);
    for (speed, scale) in [(1.0, 1000), (10.0, 100), (0.5, 2000)] {
        let mut played = Played::start(folder.path(), speed, false);
        let (first, changes) = played.next().await;
        assert_eq!(values(&changes), [true, false]);
        let (second, changes) = played.next().await;
        assert_eq!(values(&changes), [true]);
        // The runtime's timer counts in milliseconds.
        assert!(
            first.abs_diff(scale) <= 2 && second.abs_diff(61 * scale) <= 2,
            "{first} {second}"
        );
        // It is at its end and still serves.
        let (ack, outcome) = oneshot::channel();
        let command = Command {
            device: "a".into(),
            readings: vec![Reading::new("switch_1", Value::from(false))],
            ack: Ack(ack),
        };
        played.commands.send(command).await.unwrap();
        let report = played.reports.recv().await.unwrap();
        assert_eq!(values(&report.changes), [false]);
        report.ack.unwrap().succeed();
        outcome.await.unwrap().unwrap();
        played.stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn it_begins_again_with_the_devices_as_they_were() {
    let folder = recording(&[
        switched(500, true),
        event(700, "registry_updated", r#"{"devid":"a","state":0}"#),
    ]);
    let mut played = Played::start(folder.path(), 1.0, true);
    for _ in 0..3 {
        assert_eq!(values(&played.next().await.1), [true]);
        assert!(matches!(
            played.next().await.1.as_slice(),
            [Change::Remove(_)]
        ));
        let (_, changes) = played.next().await;
        let [Change::Upsert(device)] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        assert_eq!(device.point("switch_1").unwrap().value, Value::from(false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_came_is_what_was_read_of_it_then() {
    let schema = r#"{"id":9,"type":"result","success":true,"result":[{"devid":"b","category":"cz","function":[],"status":[{"code":"power","type":"Integer","values":"{}"}]}]}"#;
    let status = r#"{"id":10,"type":"result","success":true,"result":[{"devid":"b","online":false,"value":[{"k":"power","v":7}]}]}"#;
    let folder = recording(&[
        event(10, "registry_updated", r#"{"devid":"b","state":1}"#),
        event(11, "registry_updated", r#"{"devid":"unread","state":1}"#),
        line(20, "gateway", schema),
        line(30, "gateway", status),
        event(40, "registry_updated", r#"{"devid":"a","state":1}"#),
        event(50, "mystery", "{}"),
        event(60, "online_updated", r#"{"devid":"b","state":true}"#),
    ]);
    let mut played = Played::start(folder.path(), 1.0, false);
    let (at, changes) = played.next().await;
    let [Change::Upsert(device)] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert!(at < 20, "{at}");
    assert_eq!((device.id().as_str(), device.online()), ("b", false));
    assert_eq!(device.schema().category(), "cz");
    assert_eq!(device.point("power").unwrap().value, Value::from(7));
    // One that was never read declares nothing; one that nothing more is known of is told as it is.
    let (_, changes) = played.next().await;
    let [Change::Upsert(unread)] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!((unread.id().as_str(), unread.points().len()), ("unread", 0));
    assert!(
        matches!(played.next().await.1.as_slice(), [Change::Upsert(a)] if a.id().as_str() == "a")
    );
    assert!(matches!(
        played.next().await.1.as_slice(),
        [Change::Online { online: true, .. }]
    ));
}

#[test]
fn what_is_no_recording_is_told_with_file_and_line() {
    let refused = |folder: &Path| {
        let refused = Replay::load(folder, ReplayOptions::default());
        refused.unwrap_err().to_string()
    };
    let folder = TempDir::new().unwrap();
    assert!(refused(folder.path()).contains("hearthgate record"));
    let path = folder.path().join(transcript::NAME);
    for (content, reason) in [
        ("", "it is empty"),
        ("{\"some\":1}\n", "its first line: missing field"),
        (r#"{"format":"x","version":1}"#, "another format"),
        (
            r#"{"format":"hearthgate transcript","version":2}"#,
            "version 2",
        ),
        (&format!("{HEAD}\n{{}}\n"), "line 2: missing field"),
        (&format!("{HEAD}\n"), "no device profiles"),
    ] {
        fs::write(&path, content).unwrap();
        let text = refused(folder.path());
        assert!(text.contains(reason), "{text}");
    }
    // Who records may be interrupted.
    let good = recording(&[switched(5, true)]);
    let path = good.path().join(transcript::NAME);
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"ms\":9,\"fro");
    fs::write(&path, text).unwrap();
    let replay = Replay::load(
        &path,
        ReplayOptions {
            speed: 5.0,
            repeat: false,
        },
    )
    .unwrap();
    assert_eq!(replay.extent(), (1, Duration::from_millis(1)));
}
