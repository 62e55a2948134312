//! What is recorded of a live gateway can be played back: a client sees the same events in the same
//! order, and at the same distances, scaled.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hearthgate_client::{Client, ClientOptions, FeedItem};
use hearthgate_diagnose::record;
use hearthgate_gateway::{GatewayOptions, Replay, ReplayOptions, StreamGateway};
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::wire::EventKind;
use hearthgate_testkit::{Cable, Script, TestHome, eventually, switches};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::time::Instant;

use crate::support::{KEY, options};

/// An event, and when it came, in milliseconds.
type Played = (f64, EventKind);

/// Records a home in which much happens, devices that come and go too.
async fn recorded(folder: &Path) {
    let mut script = Script::new(5, switches(20));
    let devices = script.expected.devices().cloned().collect();
    let home = TestHome::start(devices).await.unwrap();
    let transcript = folder.join("transcript.jsonl");
    let events = || {
        let text = fs::read_to_string(&transcript).unwrap_or_default();
        text.matches("\"event_type\"").count()
    };
    let hand = home.hand.clone();
    let stop = async {
        let read = || {
            let text = fs::read_to_string(&transcript).unwrap_or_default();
            text.matches(r#""type":"result""#).count() >= 3
        };
        eventually("the profiles to be read", read).await;
        for round in 0..40 {
            hand.report(script.step()).await;
            if round % 4 == 0 {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        let before = events();
        eventually("an event", || events() >= before.max(60)).await;
        // What was read of devices that came belongs to the recording.
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    let hour = Duration::from_secs(3600);
    let recorded = record(&options(home.address()), folder, hour, stop).await;
    assert_eq!(recorded.unwrap().ended, None);
    home.stop().await;
}

/// Returns the events of a transcript.
fn written(folder: &Path) -> Vec<Played> {
    let text = fs::read_to_string(folder.join("transcript.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["message"]["type"] == "event")
        .map(|line| {
            let message = line["message"].to_string();
            let message = hearthgate_protocol::wire::decode_from_gateway(message.as_bytes());
            match message.unwrap().0 {
                hearthgate_protocol::wire::FromGateway::Event(event) => {
                    (line["ms"].as_f64().unwrap(), event.kind)
                }
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

/// Plays a recording in virtual time to a client.
fn played(folder: &Path, speed: f64, count: usize) -> Vec<Played> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let replay = Replay::load(
            folder,
            ReplayOptions {
                speed,
                repeat: false,
            },
        )
        .unwrap();
        let begin = replay.begin_token();
        let key = DeviceKey::parse(KEY, Default::default()).unwrap();
        let gateway = GatewayOptions::new("replayed", key.clone());
        let gateway = StreamGateway::start(gateway, vec![Box::new(replay)]).unwrap();
        let (_cable, ours, theirs) = Cable::new(1, Duration::ZERO);
        gateway.serve(theirs, "127.0.0.1:1".parse().unwrap());
        let mut options = ClientOptions::new("ws://replayed".parse().unwrap(), key);
        options.mirror = false;
        let (_client, mut feed) = Client::over(ours, true, options).await.unwrap();
        let started = Instant::now();
        begin.cancel();
        let mut events = Vec::new();
        while events.len() < count {
            let item = tokio::time::timeout(Duration::from_secs(3600), feed.next()).await;
            // What is missing shows in the comparison.
            let Ok(Some(item)) = item else { break };
            if let FeedItem::Event { event, .. } = item {
                events.push((started.elapsed().as_secs_f64() * 1000.0, event.kind));
            }
        }
        gateway.stop().await;
        events
    })
}

#[test]
fn what_is_recorded_is_played_back_in_order_and_in_time() {
    let folder = TempDir::new().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(recorded(folder.path()));
    let written = written(folder.path());
    assert!(written.len() >= 60, "{}", written.len());
    for speed in [1.0, 10.0, 0.1] {
        let played = played(folder.path(), speed, written.len());
        for ((at, kind), (ms, expected)) in played.iter().zip(&written) {
            assert_eq!(kind, expected);
            assert!((at - ms / speed).abs() <= 3.0, "{at} {ms} at {speed}");
        }
        assert_eq!(played.len(), written.len());
    }
}
