//! What drivers report and the events that follow.

use hearthgate_protocol::model::{Change, Device, Home, Reading, Value};
use hearthgate_protocol::wire::{EventKind, Request};
use tokio_util::sync::CancellationToken;

use super::{answer, home, reported};
use crate::driver::Driver;
use crate::event_log::Position;
use crate::registry::{Registry, StartError};
use crate::testing::{TestDriver, TestGateway, device, online, stamp, state};

/// Returns all events so far as their JSON.
fn events(gateway: &TestGateway) -> Vec<String> {
    let unread = gateway.registry.events_since(Position::default(), u64::MAX);
    let text = |json: &[u8]| String::from_utf8(json.to_vec()).unwrap();
    unread
        .unwrap()
        .events()
        .map(|(_, json)| text(json))
        .collect()
}

fn online_with(device: &str, online: bool, code: &str, value: i64) -> Change {
    Change::Online {
        device: device.into(),
        online,
        readings: vec![Reading::new(code, Value::from(value))],
    }
}

#[tokio::test]
async fn every_report_of_a_state_is_an_event_also_one_of_an_equal_value() {
    let gateway = home();
    let press = || state("a", "switch_1", false);
    reported(&gateway, vec![press(), press()]).await;
    assert_eq!(
        events(&gateway),
        [
            r#"{"id":1,"type":"event","event_type":"state_changed","data":{"devid":"a","value":[{"k":"switch_1","v":false}]}}"#,
            r#"{"id":2,"type":"event","event_type":"state_changed","data":{"devid":"a","value":[{"k":"switch_1","v":false}]}}"#,
        ]
    );
}

#[tokio::test]
async fn a_device_that_comes_online_brings_all_its_values() {
    let gateway = home();
    let changes = vec![online("a", false), online_with("a", true, "temp", 5)];
    reported(&gateway, changes).await;
    assert_eq!(
        events(&gateway),
        [
            r#"{"id":1,"type":"event","event_type":"online_updated","data":{"devid":"a","state":false}}"#,
            r#"{"id":2,"type":"event","event_type":"online_updated","data":{"devid":"a","state":true,"value":[{"k":"switch_1","v":false},{"k":"temp","v":5}]}}"#,
        ]
    );
}

#[tokio::test]
async fn values_that_come_with_going_offline_or_with_no_change_are_told() {
    let gateway = home();
    let changes = vec![
        online_with("a", true, "temp", 5),
        online_with("a", false, "temp", 6),
        online("a", false),
    ];
    reported(&gateway, changes).await;
    assert_eq!(
        events(&gateway),
        [
            r#"{"id":1,"type":"event","event_type":"state_changed","data":{"devid":"a","value":[{"k":"temp","v":5}]}}"#,
            r#"{"id":2,"type":"event","event_type":"online_updated","data":{"devid":"a","state":false,"value":[{"k":"temp","v":6}]}}"#,
        ]
    );
}

#[tokio::test]
async fn devices_come_change_and_go() {
    let gateway = home();
    let changes = vec![
        Change::Upsert(device("c")),
        Change::Upsert(device("c")),
        Change::Remove("b".into()),
        Change::Remove("b".into()),
        state("b", "temp", 1),
        Change::State {
            device: "a".into(),
            readings: Vec::new(),
        },
    ];
    reported(&gateway, changes).await;
    assert_eq!(
        events(&gateway),
        [
            r#"{"id":1,"type":"event","event_type":"registry_updated","data":{"devid":"c","state":1}}"#,
            r#"{"id":2,"type":"event","event_type":"registry_updated","data":{"devid":"b","state":0}}"#,
        ]
    );
    let devices = answer(&gateway.registry, &Request::GetDevices);
    assert!(devices.ends_with(r#""result":["a","c"]}"#), "{devices}");
}

#[tokio::test]
async fn a_flood_of_changes_becomes_batches_that_can_be_taken_one_by_one() {
    let gateway = home();
    let changes = (0..2000).map(|value| state("a", "temp", value)).collect();
    reported(&gateway, changes).await;
    let registry = &gateway.registry;
    let first = registry.events_since(Position::default(), 1).unwrap();
    assert!(first.events().count() < 1000);
    assert_eq!(events(&gateway).len(), 2000);
}

#[tokio::test]
async fn two_drivers_cannot_serve_one_device() {
    let (first, _port) = TestDriver::new(vec![device("a")]);
    let (second, _port) = TestDriver::new(vec![device("a")]);
    let drivers: Vec<Box<dyn Driver>> = vec![Box::new(first), Box::new(second)];
    let started = Registry::start(drivers, false, &CancellationToken::new());
    let Err(StartError::DoubleDevice { device, .. }) = started else {
        panic!("both serve it");
    };
    assert_eq!(device.as_str(), "a");
}

#[tokio::test]
async fn at_run_time_a_device_stays_with_its_driver() {
    let (first, first_port) = TestDriver::new(vec![device("a")]);
    let (second, second_port) = TestDriver::new(Vec::new());
    let drivers: Vec<Box<dyn Driver>> = vec![Box::new(first), Box::new(second)];
    let stop = CancellationToken::new();
    let (registry, running) = Registry::start(drivers, false, &stop).unwrap();
    let tasks: Vec<_> = running.into_iter().map(tokio::spawn).collect();
    let thief = second_port.recv().unwrap();
    thief.reports.send(vec![Change::Remove("a".into())]).await;
    thief.reports.send(vec![Change::Upsert(device("b"))]).await;
    drop((thief, first_port));
    for task in tasks {
        task.await.unwrap();
    }
    let devices = answer(&registry, &Request::GetDevices);
    assert!(devices.ends_with(r#""result":["a","b"]}"#), "{devices}");
}

/// Whatever is reported, who applies the events has what the registry has.
#[tokio::test]
async fn a_mirror_that_applies_the_events_is_the_registry() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let gateway = home();
    let mut mirror: Home = ["b", "a"].map(device).into_iter().collect();
    let mut position = Position::default();
    for _ in 0..500 {
        let changes = (0..random.usize(1..5)).map(|_| any_change(&mut random));
        reported(&gateway, changes.collect()).await;
        let unread = gateway.registry.events_since(position, u64::MAX).unwrap();
        for (event, _) in unread.events() {
            mirror.apply(&as_change(&event.kind), stamp());
        }
        position = unread.end;
        let state = gateway.registry.shared.state.read();
        for id in ["a", "b"] {
            let (ours, theirs) = (state.home.device(id), mirror.device(id));
            assert_eq!(seen(ours.unwrap()), seen(theirs.unwrap()), "device {id}");
        }
    }
}

fn any_change(random: &mut fastrand::Rng) -> Change {
    let id = random.choice(["a", "b"]).unwrap();
    let value = random.i64(0..5);
    match random.u8(0..4) {
        0 => state(id, "temp", value),
        1 => state(id, "note", format!("{value}").as_str()),
        2 => online(id, random.bool()),
        _ => online_with(id, random.bool(), "temp", value),
    }
}

/// Returns what a client makes of an event.
fn as_change(event: &EventKind) -> Change {
    match event.clone() {
        EventKind::StateChanged { device, readings } => Change::State { device, readings },
        EventKind::OnlineUpdated {
            device,
            online,
            readings,
        } => {
            let readings = readings.unwrap_or_default();
            Change::Online {
                device,
                online,
                readings,
            }
        }
        other => panic!("{other:?}"),
    }
}

/// Returns what a client can see of a device.
fn seen(device: &Device) -> (bool, Vec<(String, Value)>) {
    let points = device.points().iter();
    let values = points.map(|point| (point.code.to_string(), point.value.clone()));
    (device.online(), values.collect())
}
