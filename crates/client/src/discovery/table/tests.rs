//! What a table makes of packets, in virtual time.

use std::time::Duration;

use hearthgate_protocol::beacon::BeaconFrame;
use hearthgate_protocol::limits::BEACON_PACKET_MAX;
use hearthgate_protocol::model::Timestamp;

use super::super::gateway::{ADDRESSES_MAX, STALE_AFTER};
use super::*;

/// A table and its clock.
struct Bench {
    table: Table,
    start: Instant,
    now: Moment,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            table: Table::default(),
            start,
            now: Moment {
                instant: start,
                time: Timestamp(0),
            },
        }
    }

    fn at(&mut self, milliseconds: u64) {
        self.now = Moment {
            instant: self.start + Duration::from_millis(milliseconds),
            time: Timestamp(i64::try_from(milliseconds).unwrap()),
        };
    }

    fn packet(&mut self, source: &str, packet: &[u8]) -> Result<Change, Dropped> {
        let source = source.parse().unwrap();
        let heard = self.table.handle_packet(self.now, source, packet)?;
        Ok(heard.change)
    }

    /// An advertisement of a gateway at `IP:PORT`.
    fn hear(&mut self, uuid: &str, address: &str) -> Result<Change, Dropped> {
        let address: SocketAddr = address.parse().unwrap();
        let source = SocketAddr::new(address.ip(), 50_000);
        self.packet(&source.to_string(), &advertisement(uuid, address.port()))
    }

    fn hear_at(&mut self, seconds: u64, address: &str) -> Result<Change, Dropped> {
        self.at(seconds * 1000);
        self.hear("x", address)
    }

    fn addresses(&self, uuid: &str) -> Vec<String> {
        let sighting = self.table.sighting(uuid, self.now.instant).unwrap();
        assert_eq!(sighting.addresses[0], sighting.address);
        sighting.addresses.iter().map(ToString::to_string).collect()
    }
}

fn advertisement(uuid: &str, port: u16) -> Vec<u8> {
    let uuid = uuid.to_owned();
    Beacon { uuid, port }.encode(BeaconFrame::Json)
}

fn any_host(number: u32) -> SocketAddr {
    SocketAddr::from(((0x0a00_0001 + number).to_be_bytes(), 50_000))
}

const A: &str = "192.0.2.1:8433";
const B: &str = "192.0.2.2:8433";

#[test]
fn a_gateway_is_listed_with_its_address_times_and_frame() {
    let mut bench = Bench::new();
    for (at, frame) in (1..).zip(BeaconFrame::ALL) {
        bench.at(at * 5000);
        let packet = Beacon {
            uuid: "x".to_owned(),
            port: 9000,
        };
        let change = bench.packet("192.0.2.7:1234", &packet.encode(frame));
        let expected = [Change::Found, Change::Seen][usize::from(at > 1)];
        assert_eq!(change, Ok(expected));
        let sighting = &bench.table.sightings(bench.now.instant)[0];
        assert_eq!(
            *sighting,
            Sighting {
                uuid: "x".into(),
                address: "192.0.2.7:9000".parse().unwrap(),
                addresses: vec!["192.0.2.7:9000".parse().unwrap()],
                frame,
                first_seen: Timestamp(5000),
                last_seen: bench.now.time,
                last_heard: bench.now.instant,
                packets: at,
            }
        );
    }
    assert_eq!(bench.table.counters().heard, 3);
}

#[test]
fn a_silent_gateway_stays_listed_and_is_stale() {
    let mut bench = Bench::new();
    bench.hear_at(0, A).unwrap();
    let seen = bench.now.instant;
    for (later, expected) in [
        (STALE_AFTER - Duration::from_millis(1), false),
        (STALE_AFTER, true),
    ] {
        let now = seen + later;
        assert_eq!(bench.table.sightings(now)[0].is_stale(now), expected);
    }
    assert_eq!(bench.hear_at(600, A), Ok(Change::Seen));
    assert!(!bench.table.sightings(bench.now.instant)[0].is_stale(bench.now.instant));
}

#[test]
fn another_address_or_port_is_followed_at_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.hear_at(0, A), Ok(Change::Found));
    assert_eq!(bench.hear_at(5, "192.0.2.1:8434"), Ok(Change::Moved));
    assert_eq!(bench.hear_at(10, B), Ok(Change::Moved));
    assert_eq!(bench.hear_at(15, B), Ok(Change::Seen));
    assert_eq!(bench.addresses("x"), [B, "192.0.2.1:8434", A]);
    // Back where it was.
    assert_eq!(bench.hear_at(20, A), Ok(Change::Moved));
    assert_eq!(bench.addresses("x"), [A, B, "192.0.2.1:8434"]);
}

#[test]
fn a_quick_change_back_shows_when_the_other_address_falls_silent() {
    let mut bench = Bench::new();
    bench.hear_at(0, A).unwrap();
    bench.hear_at(5, B).unwrap();
    assert_eq!(bench.hear_at(10, A), Ok(Change::Seen));
    assert_eq!(bench.addresses("x"), [B, A]);
    assert_eq!(bench.hear_at(20, A), Ok(Change::Moved));
    assert_eq!(bench.addresses("x"), [A, B]);
}

#[test]
fn two_addresses_that_are_both_advertised_do_not_flap() {
    let mut bench = Bench::new();
    bench.hear_at(0, A).unwrap();
    bench.hear_at(1, B).unwrap();
    for round in 1..100 {
        assert_eq!(bench.hear_at(round * 5, A), Ok(Change::Seen));
        assert_eq!(bench.hear_at(round * 5 + 1, B), Ok(Change::Seen));
        assert_eq!(bench.addresses("x"), [B, A]);
    }
}

#[test]
fn who_claims_many_addresses_changes_little_and_pushes_no_healthy_one_out() {
    let mut bench = Bench::new();
    bench.table.follow("x");
    let mut moves = 0;
    for tick in 0..600u32 {
        bench.at(u64::from(tick) * 100);
        if tick % 50 == 0 {
            let change = bench.hear("x", A);
            assert!(change.is_ok(), "{tick}: {change:?}");
        }
        let forged = SocketAddr::new(any_host(tick).ip(), 8433).to_string();
        moves += u32::from(bench.hear("x", &forged) == Ok(Change::Moved));
        let addresses = bench.addresses("x");
        assert!(addresses.len() <= ADDRESSES_MAX);
        assert!(addresses.contains(&A.to_owned()), "{tick}: {addresses:?}");
    }
    // Four at once, then one in five seconds.
    assert!((10..=16).contains(&moves), "{moves}");
    assert_eq!(bench.table.counters().flapping, u64::from(600 - moves));
}

#[test]
fn what_is_no_advertisement_changes_nothing_and_is_counted() {
    let mut bench = Bench::new();
    bench.hear_at(0, A).unwrap();
    let before = bench.table.sightings(bench.now.instant);
    let long = vec![b'{'; BEACON_PACKET_MAX + 1];
    for (source, packet, reason) in [
        ("192.0.2.9:1", &b""[..], Dropped::NoAdvertisement),
        (
            "192.0.2.9:1",
            b"{\"uuid\":\"\xff\",\"port\":1}",
            Dropped::NoAdvertisement,
        ),
        (
            "192.0.2.9:1",
            b"{\"uuid\":\"x\",\"port\":0}",
            Dropped::NoAdvertisement,
        ),
        (
            "192.0.2.9:1",
            b"\0\0\x55\xaa\0\0\xaa\x55",
            Dropped::NoAdvertisement,
        ),
        ("192.0.2.8:1", &long, Dropped::TooLong),
        ("0.0.0.0:1", &advertisement("x", 1), Dropped::Source),
        ("255.255.255.255:1", &advertisement("x", 1), Dropped::Source),
        ("224.0.0.1:1", &advertisement("x", 1), Dropped::Source),
        (
            "[::ffff:0.0.0.0]:1",
            &advertisement("x", 1),
            Dropped::Source,
        ),
        ("[::]:1", &advertisement("x", 1), Dropped::Source),
        ("[ff02::1]:1", &advertisement("x", 1), Dropped::Source),
    ] {
        assert_eq!(bench.packet(source, packet), Err(reason), "{source}");
    }
    assert_eq!(bench.table.sightings(bench.now.instant), before);
    let expected = Counters {
        heard: 1,
        no_advertisement: 4,
        too_long: 1,
        source: 6,
        ..Counters::default()
    };
    assert_eq!(bench.table.counters(), expected);
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(
        bench.table.noisy_sources(),
        [(ip("192.0.2.9"), 4), (ip("192.0.2.8"), 1)]
    );
}

#[test]
fn addresses_are_such_as_one_can_connect_to() {
    let mut bench = Bench::new();
    let mut check = |source: &str, expected: &str| {
        let uuid = source.replace(['[', ']'], "");
        bench.packet(source, &advertisement(&uuid, 9)).unwrap();
        assert_eq!(bench.addresses(&uuid), [expected]);
    };
    check("127.0.0.1:1", "127.0.0.1:9");
    check("[::ffff:192.0.2.1]:1", "192.0.2.1:9");
    check("[fe80::1%3]:1", "[fe80::1%3]:9");
}

#[test]
fn a_followed_gateway_is_never_forgotten_the_others_by_age() {
    let mut bench = Bench::new();
    bench.table.follow("x");
    bench.hear_at(0, A).unwrap();
    bench.hear("early", B).unwrap();
    bench.hear("late", B).unwrap();
    for number in 0..u32::try_from(GATEWAYS_MAX).unwrap() - 1 {
        bench.at(u64::from(number) * 10 + 1000);
        let host = any_host(number).to_string();
        bench.hear(&format!("forged-{number}"), &host).unwrap();
        if number == 500 {
            assert_eq!(bench.hear("late", B), Ok(Change::Seen));
        }
    }
    let now = bench.now.instant;
    assert!(bench.table.sighting("x", now).is_some());
    assert!(bench.table.sighting("late", now).is_some());
    assert!(bench.table.sighting("early", now).is_none());
    assert_eq!(bench.table.sightings(now).len(), GATEWAYS_MAX + 1);
    assert_eq!(bench.table.counters().forgotten, 1);
    // What nobody follows any more is one of the others.
    bench.table.unfollow("x");
    assert!(bench.table.sighting("x", now).is_some());
    assert_eq!(bench.table.sightings(now).len(), GATEWAYS_MAX);
    // What was heard before it was followed is known at once.
    bench.table.follow("late");
    assert!(bench.table.sighting("late", now).is_some());
}

#[test]
fn a_flood_of_forged_gateways_is_bounded_and_hides_no_followed_one() {
    let started = Instant::now();
    let mut bench = Bench::new();
    bench.table.follow("x");
    bench.hear_at(0, A).unwrap();
    for number in 0..100_000u32 {
        // Ten thousand packets a second, each from another source and of another gateway.
        bench.at(u64::from(number) / 10);
        let packet = advertisement(&format!("forged-{number}"), 1);
        let outcome = bench
            .table
            .handle_packet(bench.now, any_host(number), &packet);
        assert!(matches!(outcome, Ok(_) | Err(Dropped::Flood)));
        if number % 50_000 == 49_999 {
            assert_eq!(bench.hear("x", A), Ok(Change::Seen));
        }
    }
    let counters = bench.table.counters();
    assert!((1000..2500).contains(&counters.heard), "{counters:?}");
    assert_eq!(counters.heard + counters.flood, 100_003);
    assert_eq!(
        bench.table.sightings(bench.now.instant).len(),
        GATEWAYS_MAX + 1
    );
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_flood_of_one_source_is_dropped_unseen() {
    let mut bench = Bench::new();
    let outcomes = (0..100_000).map(|_| bench.hear("x", A));
    assert_eq!(outcomes.filter(Result::is_ok).count(), 200);
    assert_eq!(bench.hear("y", B), Ok(Change::Found));
}
