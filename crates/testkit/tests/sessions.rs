//! Many sessions at once: every event at each of them, in order, and none slowed by another.

use std::time::Duration;

use hearthgate_client::{ClientError, FeedItem};
use hearthgate_protocol::model::{Change, Reading, Value};
use hearthgate_protocol::wire::{DeviceWrite, EventKind};
use hearthgate_testkit::{Policy, TestHome, switches};

fn count(number: i64) -> Change {
    Change::State {
        device: "switch-00000".into(),
        readings: vec![Reading::new("countdown_1", Value::from(number))],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_sessions_get_every_event_in_order() {
    const EVENTS: i64 = 500;
    let home = TestHome::start(switches(1)).await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let (client, mut feed) = home
            .connect(|options| options.mirror = false)
            .await
            .unwrap();
        clients.push(client);
        readers.spawn(async move {
            let mut expected = 0;
            let mut last_id = None;
            while expected < EVENTS {
                let FeedItem::Event { event, .. } = feed.next().await.unwrap() else {
                    continue;
                };
                assert!(
                    last_id.is_none_or(|last| event.id == last + 1),
                    "a gap before {}",
                    event.id
                );
                last_id = Some(event.id);
                let EventKind::StateChanged { readings, .. } = event.kind else {
                    panic!("no state")
                };
                assert_eq!(readings[0].value, Value::from(expected));
                expected += 1;
            }
        });
    }
    for number in 0..EVENTS {
        home.hand.report(vec![count(number)]).await;
    }
    let all = async {
        while let Some(reader) = readers.join_next().await {
            reader.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("not all events came");
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_never_answers_is_a_timeout_and_delays_nobody() {
    let home = TestHome::start(switches(2)).await.unwrap();
    home.hand.set_policy(Policy::Ignore);
    let (client, _feed) = home
        .connect(|options| options.mirror = false)
        .await
        .unwrap();
    let write = |number| DeviceWrite {
        device: "switch-00001".into(),
        readings: vec![Reading::new("countdown_1", Value::from(number))],
    };
    let waiting = tokio::spawn({
        let (client, write) = (client.clone(), write(1));
        async move { client.set(vec![write]).await }
    });
    // Reads of the same session go on meanwhile; few, since that is 5 s at most.
    for _ in 0..10 {
        assert_eq!(client.devices().await.unwrap().len(), 2);
    }
    assert!(!waiting.is_finished());
    let Err(ClientError::Refused { error, .. }) = waiting.await.unwrap() else {
        panic!("no refusal")
    };
    assert_eq!(error.code, "timeout");
    assert!(error.json.contains("switch-00001"), "{}", error.json);
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_pipelined_requests_are_all_answered() {
    let home = TestHome::start(switches(3)).await.unwrap();
    let (client, _feed) = home
        .connect(|options| {
            options.mirror = false;
            // The last of them waits for all the others.
            options.request_timeout = Duration::from_secs(60);
        })
        .await
        .unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..10_000u32 {
        let client = client.clone();
        asking.spawn(async move {
            if number.is_multiple_of(10) {
                let readings = vec![Reading::new("countdown_1", Value::from(i64::from(number)))];
                client
                    .set(vec![DeviceWrite {
                        device: "switch-00002".into(),
                        readings,
                    }])
                    .await?;
            } else {
                client.statuses(&["switch-00001".into()]).await?;
            }
            Ok::<(), ClientError>(())
        });
    }
    while let Some(answer) = asking.join_next().await {
        answer.unwrap().unwrap();
    }
    assert_eq!(home.hand.commands().len(), 1000);
    home.stop().await;
}
