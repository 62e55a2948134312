//! Gateways that restart while their devices go on: a kept client ends up with what the registry has,
//! and no event is passed on twice.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::collections::HashSet;
use std::sync::Arc;

use hearthgate_client::{Client, FeedItem, KeepOptions, Target};
use hearthgate_protocol::model::{Change, Home, Reading, Value};
use hearthgate_protocol::wire::EventKind;
use hearthgate_testkit::{Script, TestHome, eventually, seeds, snapshot, switches, test_key};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What a subscriber has seen.
#[derive(Default)]
struct Seen {
    /// A copy of the mirror, made of the feed alone.
    home: Home,
    /// Each mark once: a mark is a value that is reported once.
    marks: HashSet<i64>,
    twice: Vec<i64>,
    ups: usize,
}

const MARKED: &str = "switch-00000";

fn mark(number: i64) -> Change {
    Change::State {
        device: MARKED.into(),
        readings: vec![Reading::new("mark", Value::from(number))],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_restarts_with_changes_in_between_mirror_feed_and_registry_agree() {
    // All at once: most of the time is spent waiting to connect again.
    let mut runs = tokio::task::JoinSet::new();
    for seed in seeds(8) {
        runs.spawn(async move {
            run(seed).await;
            println!("HEARTHGATE_SEED={seed} done");
        });
    }
    while let Some(done) = runs.join_next().await {
        done.expect("the seeds that are not done have failed");
    }
}

async fn run(seed: u64) {
    let mut script = Script::new(seed, switches(120));
    let devices = script.expected.devices().cloned().collect();
    let mut home = TestHome::start(devices).await.unwrap();
    let address = home.address().to_string();
    let (_targets, receiver) = watch::channel(Target::fixed(home.endpoint(), test_key()));
    let (client, mut feed) = Client::keep(receiver, KeepOptions::new("home"));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let reader = tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            while let Some(item) = feed.next().await {
                let mut seen = seen.lock();
                item.apply_to(&mut seen.home);
                match item {
                    FeedItem::Up => seen.ups += 1,
                    FeedItem::Event { event, .. } => note(&mut seen, &event.kind),
                    _ => {}
                }
            }
        }
    });
    let mut marks = 0;
    for round in 0..3 {
        client.synced().await.unwrap();
        for _ in 0..40 {
            let mut changes = script.step();
            if script.expected.device(MARKED).is_some() {
                marks += 1;
                changes.push(mark(marks));
                script.note(&mark(marks));
            }
            home.hand.report(changes).await;
        }
        let expected = snapshot(&script.expected);
        eventually("the mirror to be the registry", || {
            client.mirror().read(snapshot) == expected
        })
        .await;
        eventually("the copy to be the registry", || {
            snapshot(&seen.lock().home) == expected
        })
        .await;
        home.stop().await;
        // The home goes on while nobody looks.
        for _ in 0..20 {
            script.step();
        }
        let devices = script.expected.devices().cloned().collect();
        home = TestHome::start_at(&address, devices, |_| {}).await.unwrap();
        eventually("the next connection", || seen.lock().ups == round + 2).await;
    }
    client.close().await;
    reader.await.unwrap();
    home.stop().await;
    let seen = seen.lock();
    assert!(seen.twice.is_empty(), "passed on twice: {:?}", seen.twice);
    assert_eq!(seen.marks.len(), usize::try_from(marks).unwrap());
}

fn note(seen: &mut Seen, kind: &EventKind) {
    let EventKind::StateChanged { readings, .. } = kind else {
        return;
    };
    let marks = readings
        .iter()
        .filter(|reading| reading.code.as_str() == "mark");
    for number in marks.filter_map(|reading| reading.value.as_i64()) {
        if !seen.marks.insert(number) {
            seen.twice.push(number);
        }
    }
}
