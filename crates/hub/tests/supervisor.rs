//! A hub over real gateways: one that goes and comes back, moves, gets another key, or is forgotten.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where it cannot go on"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use hearthgate_client::{ClientError, DiscoveryOptions};
use hearthgate_hub::{
    DeviceRef, Directory, GatewayId, GatewaySpec, Hub, HubError, HubFeed, HubItem, HubOptions,
    KeyText, KnownGateway, Link,
};
use hearthgate_protocol::model::{Change, Reading, Source, Value};
use hearthgate_protocol::wire::EventKind;
use hearthgate_testkit::{TestHome, eventually, snapshot, switches, test_key};

const KEY: &str = "k9Xq2mPz7LwT4vRb";
const LAMP: &str = "switch-00000";

fn quiet_hub() -> Hub {
    Hub::start(HubOptions {
        discovery: None,
        ..HubOptions::default()
    })
}

fn spec(id: &str, home: &TestHome) -> GatewaySpec {
    GatewaySpec::fixed(id, home.endpoint(), test_key())
}

fn turn(on: bool) -> Vec<Reading> {
    vec![Reading::new("switch_1", Value::from(on))]
}

async fn report(home: &TestHome, on: bool) {
    let readings = turn(on);
    let device = LAMP.into();
    home.hand
        .report(vec![Change::State { device, readings }])
        .await;
}

fn shows(hub: &Hub, gateway: &str, on: bool) -> bool {
    let device = hub.device(&DeviceRef::new(gateway, LAMP));
    device.is_some_and(|device| device.point("switch_1").unwrap().value == Value::from(on))
}

fn info(hub: &Hub, gateway: &str) -> Option<hearthgate_hub::GatewayInfo> {
    hub.gateways()
        .into_iter()
        .find(|info| info.id.as_str() == gateway)
}

async fn synced(hub: &Hub, gateway: &str) {
    eventually("the gateway to be in sync", || {
        info(hub, gateway).is_some_and(|info| info.synced && info.available)
    })
    .await;
}

/// Takes items until one is as wanted.
async fn until(feed: &mut HubFeed, wanted: impl Fn(&HubItem) -> bool) -> Vec<HubItem> {
    let mut items = Vec::new();
    loop {
        let item = tokio::time::timeout(Duration::from_secs(20), feed.next()).await;
        items.push(item.expect("the feed went quiet too early").unwrap());
        if wanted(items.last().unwrap()) {
            return items;
        }
    }
}

fn is_event(item: &HubItem, of: &str) -> bool {
    matches!(item, HubItem::Event { gateway, event, .. }
        if gateway.as_str() == of && matches!(event.kind, EventKind::StateChanged { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_are_one_view_while_one_goes_and_comes_back() {
    let stays = TestHome::start(switches(2)).await.unwrap();
    let goes = TestHome::start(switches(2)).await.unwrap();
    let address = goes.address().to_string();
    let hub = quiet_hub();
    hub.set(spec("stays", &stays));
    hub.set(spec("goes", &goes));
    synced(&hub, "stays").await;
    synced(&hub, "goes").await;

    // The same devid at both: two devices.
    let lamp = DeviceRef::new("goes", LAMP);
    hub.write(&lamp, turn(true)).await.unwrap();
    eventually("the write to be seen", || shows(&hub, "goes", true)).await;
    assert!(shows(&hub, "stays", false));

    let mut feed = hub.subscribe();
    until(&mut feed, |item| matches!(item, HubItem::InitDone)).await;
    goes.stop().await;
    until(
        &mut feed,
        |item| matches!(item, HubItem::Gateway(info) if matches!(info.link, Link::Down(_))),
    )
    .await;
    let away = info(&hub, "goes").unwrap();
    assert!(away.available && !away.synced, "a short blip: {away:?}");
    let source = hub
        .device(&lamp)
        .unwrap()
        .point("switch_1")
        .unwrap()
        .confirmed
        .source;
    assert_eq!(source, Source::Cache);
    let error = hub.write(&lamp, turn(false)).await.unwrap_err();
    assert!(
        matches!(error, HubError::Client(ClientError::Down { .. })),
        "{error}"
    );
    // The other one does not feel it.
    report(&stays, true).await;
    until(&mut feed, |item| is_event(item, "stays")).await;

    let mut devices = switches(3);
    devices.remove(1);
    let back = TestHome::start_at(&address, devices, |_| {}).await.unwrap();
    let items = until(
        &mut feed,
        |item| matches!(item, HubItem::Gateway(info) if info.synced && info.id.as_str() == "goes"),
    )
    .await;
    // Off again, one less, one more: and nothing else, above all no event.
    let told: Vec<String> = items
        .iter()
        .filter_map(|item| match item {
            HubItem::Device { device, .. } => Some(format!("is {}", device.id())),
            HubItem::DeviceGone(device) => Some(format!("gone {device}")),
            HubItem::Event { .. } => Some("event".to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            "gone goes/switch-00001",
            "is switch-00000",
            "is switch-00002"
        ]
    );
    assert!(shows(&hub, "goes", false));

    assert!(hub.remove(&"goes".into()));
    until(&mut feed, |item| matches!(item, HubItem::GatewayGone(_))).await;
    assert!(hub.device(&lamp).is_none());
    assert!(matches!(
        hub.write(&lamp, turn(true)).await.unwrap_err(),
        HubError::UnknownGateway(_)
    ));
    hub.close().await;
    assert!(until_end(&mut feed).await);
    back.stop().await;
    stays.stop().await;
}

async fn until_end(feed: &mut HubFeed) -> bool {
    let end = async { while feed.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), end)
        .await
        .is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_grace_a_gateway_that_goes_is_unavailable_at_once() {
    let home = TestHome::start(switches(1)).await.unwrap();
    let hub = quiet_hub();
    let mut spec = spec("home", &home);
    spec.grace = Duration::from_millis(100);
    hub.set(spec);
    synced(&hub, "home").await;
    home.stop().await;
    eventually("it to be unavailable", || {
        !info(&hub, "home").unwrap().available
    })
    .await;
    // What was known stays known.
    assert!(hub.device(&DeviceRef::new("home", LAMP)).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_found_and_followed_by_its_advertisements() {
    // A free port, which stays free: no other test is on this address.
    let socket = std::net::UdpSocket::bind("127.0.0.13:0").unwrap();
    let target = socket.local_addr().unwrap();
    drop(socket);
    let advertise = |options: &mut hearthgate_gateway::GatewayOptions| {
        options.beacon.targets = vec![target];
    };
    let hub = Hub::start(HubOptions {
        discovery: Some(DiscoveryOptions {
            listen: vec![target],
            interfaces: Vec::new(),
        }),
        ..HubOptions::default()
    });
    hub.set(GatewaySpec {
        fixed: None,
        ..GatewaySpec::fixed("test-home", "ws://unused".parse().unwrap(), test_key())
    });
    let home = TestHome::start_at("127.0.0.1:0", switches(1), advertise)
        .await
        .unwrap();
    synced(&hub, "test-home").await;
    home.stop().await;
    // It comes back elsewhere.
    let home = TestHome::start_at("127.0.0.1:0", switches(2), advertise)
        .await
        .unwrap();
    eventually("the second device", || {
        let read = hub.read(&"test-home".into(), |home| home.len());
        read == Some(2)
    })
    .await;
    let mirror = hub.client(&"test-home".into()).unwrap();
    let shown = hub.read(&"test-home".into(), snapshot).unwrap();
    assert_eq!(shown, mirror.mirror().read(snapshot));
    home.stop().await;
}

/// Replaces a file at one moment: who reads it never finds it empty, which would be valid.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

fn known(path: &Path, name: &str, key: &str, home: &TestHome) {
    let gateway = KnownGateway {
        key: Some(KeyText::new(key)),
        address: Some(home.address().to_string()),
        ..KnownGateway::new(format!("uuid-{name}"), name)
    };
    Directory::add(path, &gateway).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_followed_and_a_changed_key_takes_effect_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateways.toml");
    let first = TestHome::start(switches(1)).await.unwrap();
    let second = TestHome::start(switches(1)).await.unwrap();
    known(&path, "one", "0000000000000000", &first);
    let hub = quiet_hub();
    hub.follow(&path, None).unwrap();
    eventually("the key to be rejected", || {
        matches!(info(&hub, "uuid-one").unwrap().link, Link::Down(reason)
            if matches!(*reason, ClientError::Authentication { .. }))
    })
    .await;
    // The wait after a rejected key is 30 s; a changed one ends it.
    known(&path, "one", KEY, &first);
    synced(&hub, "uuid-one").await;

    known(&path, "two", KEY, &second);
    synced(&hub, "uuid-two").await;
    Directory::rename(&path, "two", "zwei").unwrap();
    eventually("the new name", || {
        info(&hub, "uuid-two").unwrap().name == "zwei"
    })
    .await;

    // While the file is broken all goes on.
    let good = fs::read_to_string(&path).unwrap();
    replace(&path, "[[gateway");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(info(&hub, "uuid-one").unwrap().synced);
    replace(&path, &good);
    Directory::remove(&path, "one").unwrap();
    eventually("it to be forgotten", || info(&hub, "uuid-one").is_none()).await;
    assert!(info(&hub, "uuid-two").unwrap().synced);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_a_key_is_there_and_says_so() {
    let hub = quiet_hub();
    let known = KnownGateway::new("u", "attic");
    hub.set(GatewaySpec::of(&known));
    eventually("it to say so", || {
        matches!(info(&hub, "u").unwrap().link, Link::NoKey(why) if why.contains("gateways add"))
    })
    .await;
    let error = hub.client(&GatewayId::from("u")).unwrap_err();
    assert!(matches!(error, HubError::NoKey(_)));
    // The key comes: it connects.
    let home = TestHome::start(switches(1)).await.unwrap();
    hub.set(spec("u", &home));
    synced(&hub, "u").await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renames_are_told_and_kept() {
    let home = TestHome::start(switches(1)).await.unwrap();
    let hub = quiet_hub();
    hub.set(spec("u", &home));
    synced(&hub, "u").await;
    let mut feed = hub.subscribe();
    let lamp = DeviceRef::new("u", LAMP);
    hub.rename_device(&lamp, Some("Lamp")).unwrap();
    hub.rename_gateway(&"u".into(), Some("house")).unwrap();
    until(
        &mut feed,
        |item| matches!(item, HubItem::Renamed { device, .. } if *device == lamp),
    )
    .await;
    until(
        &mut feed,
        |item| matches!(item, HubItem::Gateway(info) if info.name == "house"),
    )
    .await;
    assert_eq!(hub.names().device(&lamp).as_deref(), Some("Lamp"));
    home.stop().await;
}
