//! History of a real hub over a real gateway: what happened is in the file, while it is read and after.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearthgate_history::{History, HistoryOptions};
use hearthgate_hub::{
    DeviceRef, GatewaySpec, HistoryQuery, HistorySource, Hub, HubOptions, Points, Resolution, Step,
    Subject,
};
use hearthgate_protocol::model::{Change, Reading, Timestamp, Value};
use hearthgate_testkit::{TestHome, eventually, switches, test_key};
use tokio_util::sync::CancellationToken;

const GATEWAY: &str = "home";
const LAMP: &str = "switch-00000";
const PATIENCE: Duration = Duration::from_secs(30);

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_millis()).unwrap())
}

fn hub() -> Hub {
    Hub::start(HubOptions {
        discovery: None,
        ..HubOptions::default()
    })
}

fn options(folder: &Path) -> HistoryOptions {
    HistoryOptions {
        commit_every: Duration::from_millis(20),
        ..HistoryOptions::new(folder.join("deep/history.db"))
    }
}

fn point(code: &str) -> Subject {
    Subject::Point(DeviceRef::new(GATEWAY, LAMP), code.into())
}

async fn values(history: &History, subject: &Subject) -> Vec<String> {
    let query = HistoryQuery {
        subject: subject.clone(),
        from: Timestamp(0),
        to: Timestamp(now().0 + 1000),
        resolution: Resolution::Exactly(Step::Raw),
        limit: 10_000,
        cursor: None,
    };
    match history.query(query).await.unwrap().points {
        Points::Changes(changes) => changes
            .into_iter()
            .map(|it| it.value.map_or("?".to_owned(), |value| value.to_string()))
            .collect(),
        points => panic!("{points:?}"),
    }
}

async fn until(history: &History, subject: Subject, expected: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = values(history, &subject).await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn report(home: &TestHome, code: &str, value: Value) {
    let device = LAMP.into();
    let readings = vec![Reading::new(code, value)];
    home.hand
        .report(vec![Change::State { device, readings }])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_kept_over_a_restart_of_everything() {
    let folder = tempfile::tempdir().unwrap();
    let home = TestHome::start(switches(2)).await.unwrap();
    let hub_one = hub();
    hub_one.set(GatewaySpec::fixed(GATEWAY, home.endpoint(), test_key()));
    let stop = CancellationToken::new();
    let history = History::start(&hub_one, options(folder.path()), stop)
        .await
        .unwrap();
    until(&history, point("switch_1"), &["false"]).await;
    report(&home, "switch_1", Value::from(true)).await;
    report(&home, "switch_1", Value::from(true)).await;
    report(&home, "countdown_1", Value::from(90)).await;
    until(&history, point("countdown_1"), &["0", "90"]).await;
    until(&history, point("switch_1"), &["false", "true"]).await;
    let device = DeviceRef::new(GATEWAY, LAMP);
    home.hand
        .report(vec![Change::Online {
            device: LAMP.into(),
            online: false,
            readings: Vec::new(),
        }])
        .await;
    until(
        &history,
        Subject::Online(device.clone()),
        &["true", "false"],
    )
    .await;
    until(&history, point("switch_1"), &["false", "true", "?"]).await;
    assert_eq!(history.subjects(Some(device)).await.unwrap().len(), 3);
    assert_eq!(history.subjects(None).await.unwrap().len(), 7);
    until(&history, Subject::Link(GATEWAY.into()), &["true"]).await;
    let status = history.status();
    assert!(
        status.storing && status.stored > 7 && status.lost == 0,
        "{status:?}"
    );
    history.close().await;
    hub_one.close().await;

    let hub_two = hub();
    hub_two.set(GatewaySpec::fixed(GATEWAY, home.endpoint(), test_key()));
    let stop = CancellationToken::new();
    let history = History::start(&hub_two, options(folder.path()), stop.clone())
        .await
        .unwrap();
    home.hand
        .report(vec![Change::Online {
            device: LAMP.into(),
            online: true,
            readings: vec![Reading::new("switch_1", Value::from(false))],
        }])
        .await;
    // What did not change while all was restarted has no second row.
    until(
        &history,
        point("switch_1"),
        &["false", "true", "?", "false"],
    )
    .await;
    until(&history, point("countdown_1"), &["0", "90", "?", "90"]).await;
    let other = Subject::Point(DeviceRef::new(GATEWAY, "switch-00001"), "switch_1".into());
    until(&history, other, &["false"]).await;
    stop.cancel();
    history.close().await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_read_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let home = TestHome::start(switches(1)).await.unwrap();
    let hub = hub();
    hub.set(GatewaySpec::fixed(GATEWAY, home.endpoint(), test_key()));
    let history = History::start(&hub, options(folder.path()), CancellationToken::new())
        .await
        .unwrap();
    until(&history, point("countdown_1"), &["0"]).await;
    let looks = Arc::new(AtomicUsize::new(0));
    let reader = {
        let (history, looks) = (history.clone(), Arc::clone(&looks));
        tokio::spawn(async move {
            let mut seen = 0;
            while seen < 2_001 {
                let found = values(&history, &point("countdown_1")).await;
                assert!(found.len() >= seen, "what was there is there");
                for (number, value) in found.iter().enumerate() {
                    assert_eq!(*value, number.to_string(), "each in its place");
                }
                seen = found.len();
                looks.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    for number in 1..=2_000 {
        if number % 1_000 == 1 {
            let before = looks.load(Ordering::SeqCst);
            eventually("a look in between", || {
                looks.load(Ordering::SeqCst) > before
            })
            .await;
        }
        report(&home, "countdown_1", Value::from(number)).await;
    }
    tokio::time::timeout(PATIENCE, reader)
        .await
        .expect("not all came")
        .unwrap();
    assert_eq!(history.status().lost, 0);
    history.close().await;
    hub.close().await;
    home.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("deep"), "no folder").unwrap();
    let hub = hub();
    let error = History::start(&hub, options(folder.path()), CancellationToken::new())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("--no-history"), "{error}");
}
