//! What arrives over real sockets, on loopback.

use std::time::Duration;

use hearthgate_protocol::beacon::{Beacon, BeaconFrame};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Free ports on so many loopback addresses.
fn options(count: u8) -> DiscoveryOptions {
    DiscoveryOptions {
        listen: (1..=count)
            .map(|last| SocketAddr::from(([127, 0, 0, last], 0)))
            .collect(),
        ..DiscoveryOptions::default()
    }
}

fn packet(uuid: &str, port: u16, frame: BeaconFrame) -> Vec<u8> {
    let uuid = uuid.to_owned();
    Beacon { uuid, port }.encode(frame)
}

async fn sender() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Waits until the sightings are as wanted.
async fn until(discovery: &Discovery, wanted: impl Fn(&[Sighting]) -> bool) -> Vec<Sighting> {
    let mut changes = discovery.changes();
    let waiting = async {
        loop {
            let sightings = discovery.sightings();
            if wanted(&sightings) {
                return sightings;
            }
            changes.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, waiting).await.unwrap()
}

async fn heard(following: &mut Following) -> Sighting {
    let heard = timeout(PATIENCE, following.heard()).await.unwrap();
    heard.unwrap()
}

#[tokio::test]
async fn all_three_frames_are_heard_on_all_sockets() {
    let discovery = Discovery::start(&options(3)).unwrap();
    let sender = sender().await;
    for (frame, address) in BeaconFrame::ALL.into_iter().zip(discovery.local_addrs()) {
        let packet = packet(frame.name(), 4711, frame);
        sender.send_to(&packet, address).await.unwrap();
    }
    let sightings = until(&discovery, |sightings| sightings.len() == 3).await;
    for sighting in sightings {
        assert_eq!(*sighting.uuid, *sighting.frame.name());
        assert_eq!(sighting.address, "127.0.0.1:4711".parse().unwrap());
        assert!(sighting.first_seen > Timestamp(1_600_000_000_000));
    }
    assert_eq!(discovery.counters().heard, 3);
}

#[tokio::test]
async fn a_follower_is_told_of_its_own_gateway_alone_and_of_moves() {
    let discovery = Discovery::start(&options(1)).unwrap();
    let address = discovery.local_addrs()[0];
    let mut following = discovery.follow("mine");
    assert_eq!(following.last(), None);
    let sender = sender().await;
    for (uuid, port) in [("other", 1), ("mine", 2), ("other", 3), ("mine", 4)] {
        let packet = packet(uuid, port, BeaconFrame::Json);
        sender.send_to(&packet, address).await.unwrap();
        if uuid == "mine" {
            let sighting = heard(&mut following).await;
            assert_eq!((&*sighting.uuid, sighting.address.port()), ("mine", port));
        }
    }
    assert_eq!(discovery.follow("mine").last(), following.last());
    assert_eq!(following.last().unwrap().addresses.len(), 2);
    drop(discovery);
    assert_eq!(timeout(PATIENCE, following.heard()).await.unwrap(), None);
}

#[tokio::test]
async fn who_stops_following_leaves_nothing_behind() {
    let discovery = Discovery::start(&options(1)).unwrap();
    let (first, second) = (discovery.follow("x"), discovery.follow("x"));
    drop(first);
    assert_eq!(discovery.shared.state.lock().followers.len(), 1);
    drop(second);
    assert!(discovery.shared.state.lock().followers.is_empty());
}

#[tokio::test]
async fn what_is_no_advertisement_is_counted_and_stops_nothing() {
    let discovery = Discovery::start(&options(1)).unwrap();
    let address = discovery.local_addrs()[0];
    let sender = sender().await;
    let oversized = vec![b'{'; 60_000];
    for packet in [
        &b""[..],
        b"{\"uuid\":\"\xff\xfe\",\"port\":1}",
        &oversized,
        &packet("x", 1, BeaconFrame::VendorPlain),
    ] {
        sender.send_to(packet, address).await.unwrap();
    }
    until(&discovery, |sightings| !sightings.is_empty()).await;
    let expected = Counters {
        heard: 1,
        no_advertisement: 2,
        too_long: 1,
        ..Counters::default()
    };
    assert_eq!(discovery.counters(), expected);
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    assert_eq!(discovery.noisy_sources(), [(local, 3)]);
}

#[tokio::test]
async fn two_programs_can_listen_on_one_port() {
    // Free, and so it stays until it is listened on: no other test is on this address.
    let free = std::net::UdpSocket::bind("127.0.0.16:0").unwrap();
    let listen = vec![free.local_addr().unwrap()];
    drop(free);
    let options = DiscoveryOptions {
        listen,
        interfaces: Vec::new(),
    };
    let one = Discovery::start(&options).unwrap();
    let other = Discovery::start(&options).unwrap();
    assert_eq!(one.local_addrs(), other.local_addrs());
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_only_where_no_other_is_left() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut options = DiscoveryOptions {
        listen: vec![address],
        interfaces: Vec::new(),
    };
    let error = Discovery::start(&options).unwrap_err().to_string();
    assert!(error.contains(&format!("{address}: ")), "{error}");
    assert!(error.contains("for itself"), "{error}");
    options.listen.push("127.0.0.1:0".parse().unwrap());
    let discovery = Discovery::start(&options).unwrap();
    assert_eq!(discovery.local_addrs().len(), 1);
    let nowhere = DiscoveryOptions {
        listen: Vec::new(),
        interfaces: Vec::new(),
    };
    assert!(matches!(
        Discovery::start(&nowhere),
        Err(DiscoveryError::NoAddress)
    ));
}

#[test]
fn the_default_is_our_port_and_the_vendors() {
    let listen = DiscoveryOptions::default().listen;
    let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["0.0.0.0:6669", "0.0.0.0:6666", "0.0.0.0:6667"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_interface_alone_can_be_listened_on_without_privileges() {
    let mut options = options(1);
    options.interfaces = vec!["lo".to_owned()];
    let discovery = Discovery::start(&options).unwrap();
    let packet = packet("by-lo", 4711, BeaconFrame::Json);
    let address = discovery.local_addrs()[0];
    sender().await.send_to(&packet, address).await.unwrap();
    until(&discovery, |sightings| sightings.len() == 1).await;
    options.interfaces = vec!["no-such-one".to_owned()];
    let text = Discovery::start(&options).unwrap_err().to_string();
    assert!(text.contains("127.0.0.1:0 on no-such-one"), "{text}");
    assert!(text.contains("`ip link` lists them"), "{text}");
}
