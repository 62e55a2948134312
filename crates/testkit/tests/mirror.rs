//! Whatever the devices do, and whenever a client comes: once it is quiet, mirror and registry are one.

use hearthgate_client::FeedItem;
use hearthgate_protocol::model::{Change, Reading, Value};
use hearthgate_protocol::wire::{DeviceWrite, EventKind};
use hearthgate_testkit::{Script, TestHome, eventually, seeds, snapshot, switches};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_is_the_registry_once_it_is_quiet() {
    for seed in seeds(12) {
        println!("HEARTHGATE_SEED={seed}");
        let devices = switches(150);
        let home = TestHome::start(devices.clone()).await.unwrap();
        let mut script = Script::new(seed, devices);
        // One client is there from the start, others come in the midst of it.
        let mut clients = vec![home.connect(|_| {}).await.unwrap().0];
        for round in 0..300 {
            home.hand.report(script.step()).await;
            if round % 100 == 50 {
                clients.push(home.connect(|_| {}).await.unwrap().0);
            }
        }
        let expected = snapshot(&script.expected);
        for client in &clients {
            client.synced().await.unwrap();
            eventually("the mirror to be the registry", || {
                client.mirror().read(snapshot) == expected
            })
            .await;
        }
        home.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_alone_rebuilds_the_home() {
    let devices = switches(20);
    let home = TestHome::start(devices.clone()).await.unwrap();
    let mut script = Script::new(7, devices);
    let (client, mut feed) = home.connect(|_| {}).await.unwrap();
    client.synced().await.unwrap();
    for _ in 0..200 {
        home.hand.report(script.step()).await;
    }
    let mut rebuilt = hearthgate_protocol::model::Home::default();
    let stamp = hearthgate_protocol::model::Stamp {
        at: hearthgate_protocol::model::Timestamp(0),
        source: hearthgate_protocol::model::Source::Event,
    };
    let expected = snapshot(&script.expected);
    while snapshot(&rebuilt) != expected {
        let wait = std::time::Duration::from_secs(20);
        let item = tokio::time::timeout(wait, feed.next())
            .await
            .expect("the feed went quiet too early");
        match item.unwrap() {
            FeedItem::Init => rebuilt = hearthgate_protocol::model::Home::default(),
            FeedItem::InitApply(device) | FeedItem::Upsert(device) => {
                rebuilt.apply(&Change::Upsert(device), stamp);
            }
            FeedItem::Delete(device) => {
                rebuilt.apply(&Change::Remove(device), stamp);
            }
            FeedItem::Event { event, .. } => match event.kind {
                EventKind::StateChanged { device, readings } => {
                    rebuilt.apply(&Change::State { device, readings }, stamp);
                }
                EventKind::OnlineUpdated {
                    device,
                    online,
                    readings,
                } => {
                    let readings = readings.unwrap_or_default();
                    rebuilt.apply(
                        &Change::Online {
                            device,
                            online,
                            readings,
                        },
                        stamp,
                    );
                }
                _ => {}
            },
            FeedItem::InitDone | FeedItem::Up | FeedItem::Synced => {}
            FeedItem::Missed { items } => panic!("{items} items were missed"),
            FeedItem::Down(error) => panic!("{error}"),
        }
    }
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_seen_by_whoever_reads_after_its_success_and_by_every_session() {
    let home = TestHome::start(switches(2)).await.unwrap();
    let (writer, _) = home.connect(|_| {}).await.unwrap();
    let (other, mut feed) = home.connect(|_| {}).await.unwrap();
    other.synced().await.unwrap();
    for round in 1..=50 {
        let readings = vec![Reading::new("countdown_1", Value::from(round))];
        let write = DeviceWrite {
            device: "switch-00001".into(),
            readings: readings.clone(),
        };
        writer.set(vec![write]).await.unwrap();
        let statuses = writer.statuses(&["switch-00001".into()]).await.unwrap();
        assert!(statuses[0].readings.contains(&readings[0]));
        loop {
            if let FeedItem::Event { event, .. } = feed.next().await.unwrap() {
                let device = "switch-00001".into();
                assert_eq!(event.kind, EventKind::StateChanged { device, readings });
                break;
            }
        }
    }
    assert_eq!(home.hand.commands().len(), 50);
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_equal_value_is_an_event_at_every_session() {
    let home = TestHome::start(switches(1)).await.unwrap();
    let (client, mut feed) = home
        .connect(|options| options.mirror = false)
        .await
        .unwrap();
    let press = || Change::State {
        device: "switch-00000".into(),
        readings: vec![Reading::new("switch_1", Value::from(true))],
    };
    home.hand.report(vec![press(), press(), press()]).await;
    let mut ids = Vec::new();
    while ids.len() < 3 {
        if let FeedItem::Event { event, .. } = feed.next().await.unwrap() {
            ids.push(event.id);
        }
    }
    assert_eq!(ids, [ids[0], ids[0] + 1, ids[0] + 2]);
    client.close().await;
    home.stop().await;
}
