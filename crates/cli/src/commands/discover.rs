//! `hearthgate discover`: lists the gateways that advertise themselves.
//!
//! Input is what [`Discovery`] hears; the list goes to standard output at the end. What is for people
//! alone, progress and notes, goes to standard error.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_client::{Discovery, Sighting};
use hearthgate_protocol::model::Timestamp;
use serde::Serialize;

use super::gateway::Signals;
use crate::args::{self, DiscoverArgs};
use crate::exit::Failure;
use crate::output;

/// Sources that are named in a note.
const SOURCES_NAMED: usize = 3;

/// A line of the list.
#[derive(Serialize)]
struct Entry<'a> {
    uuid: &'a str,
    address: String,
    port: u16,
    first_seen: String,
    last_seen: String,
    frame: &'static str,
    packets: u64,
}

/// Runs the command.
pub(super) async fn run(args: DiscoverArgs) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let options = args::discovery(&args.listen, &args.interface);
    let discovery = Discovery::start(&options).map_err(Failure::local)?;
    let is_watched = io::stderr().is_terminal();
    if is_watched {
        let (time, places) = (seconds(args.timeout), listed(discovery.local_addrs()));
        note(&format!("listening for {time} on {places} ..."));
    }
    let began = Instant::now();
    tokio::select! {
        _ = signals.next() => {}
        () = tokio::time::sleep(args.timeout) => {}
        () = show_progress(&discovery), if is_watched => {}
    }
    let elapsed = began.elapsed().min(args.timeout);

    let sightings = discovery.sightings();
    if args.json {
        let entries: Vec<Entry<'_>> = sightings.iter().map(entry).collect();
        output::line(&serde_json::to_string(&entries).map_err(Failure::local)?)?;
    } else if !sightings.is_empty() {
        show_table(&sightings)?;
    }
    if sightings.is_empty() {
        note(&nothing_heard(elapsed, discovery.local_addrs()));
    }
    if let Some(text) = noise(&discovery.noisy_sources()) {
        note(&text);
    }
    let flood = discovery.counters().flood;
    if flood > 0 {
        note(&format!(
            "{flood} packets were dropped without a look: too many in too short a time"
        ));
    }
    Ok(())
}

/// Tells of every gateway when it is first heard, and when it moves.
async fn show_progress(discovery: &Discovery) {
    let mut changes = discovery.changes();
    let mut told: HashMap<Arc<str>, SocketAddr> = HashMap::new();
    loop {
        let sightings = discovery.sightings();
        for Sighting { uuid, address, .. } in &sightings {
            match told.get(uuid) {
                None => note(&format!("heard {uuid} at {address}")),
                Some(before) if before != address => note(&format!("{uuid} is at {address} now")),
                Some(_) => {}
            }
        }
        // What was forgotten is forgotten here as well.
        told = sightings
            .into_iter()
            .map(|sighting| (sighting.uuid, sighting.address))
            .collect();
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn show_table(sightings: &[Sighting]) -> io::Result<()> {
    let rows = sightings
        .iter()
        .map(entry)
        .map(|entry| {
            [
                entry.uuid.to_owned(),
                entry.address,
                entry.port.to_string(),
                entry.first_seen,
                entry.last_seen,
                entry.frame.to_owned(),
                entry.packets.to_string(),
            ]
        })
        .collect();
    output::table(
        [
            "UUID",
            "ADDRESS",
            "PORT",
            "FIRST SEEN",
            "LAST SEEN",
            "FRAME",
            "PACKETS",
        ],
        rows,
        "",
    )
}

fn entry(sighting: &Sighting) -> Entry<'_> {
    Entry {
        uuid: &sighting.uuid,
        address: match sighting.address {
            // A link-local address is worth nothing without its interface.
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            address => address.ip().to_string(),
        },
        port: sighting.address.port(),
        first_seen: rfc3339(sighting.first_seen),
        last_seen: rfc3339(sighting.last_seen),
        frame: sighting.frame.name(),
        packets: sighting.packets,
    }
}

/// Says what to check.
fn nothing_heard(time: Duration, listened: &[SocketAddr]) -> String {
    let mut text = format!(
        "no gateway was heard in {} on {}. Check that the gateway is on and LAN control is switched on in \
         the vendor's app, that this machine is on the same network, and that its firewall lets UDP to \
         these ports in. Advertisements do not cross routers, VLANs or the networks of containers: there \
         give the gateway's address, --gateway ws://ADDRESS",
        seconds(time),
        listed(listened),
    );
    let hears_no_broadcast = |at: &SocketAddr| match at.ip() {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_broadcast() || ip.is_loopback()),
        IpAddr::V6(_) => false,
    };
    if listened.iter().any(hears_no_broadcast) {
        text.push_str(
            ". Broadcasts may not reach an address of this machine's own: listen on 0.0.0.0",
        );
    }
    text
}

/// Tells who sent what is no advertisement, if anybody did.
fn noise(sources: &[(IpAddr, u64)]) -> Option<String> {
    if sources.is_empty() {
        return None;
    }
    let packets: u64 = sources.iter().map(|(_, count)| count).sum();
    let mut named: Vec<String> = sources
        .iter()
        .take(SOURCES_NAMED)
        .map(|(source, count)| format!("{source} ({count})"))
        .collect();
    if sources.len() > SOURCES_NAMED {
        named.push(format!("{} more", sources.len() - SOURCES_NAMED));
    }
    let what = if packets == 1 {
        "1 packet was no gateway's advertisement".to_owned()
    } else {
        format!("{packets} packets were no gateway's advertisement")
    };
    Some(format!(
        "{what}, from {}; other devices of the vendor send such",
        named.join(", ")
    ))
}

/// Writes a line for people.
fn note(text: &str) {
    // There is nobody left to tell that standard error is gone.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

fn listed(addresses: &[SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// Returns a time to a tenth of a second.
fn seconds(time: Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} s"),
        (whole, tenth) => format!("{whole}.{tenth} s"),
    }
}

/// Returns a time of RFC 3339, in UTC, to the millisecond.
fn rfc3339(time: Timestamp) -> String {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let (year, month, day) = date(time.0.div_euclid(DAY));
    let ms = time.0.rem_euclid(DAY);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        ms % 1000
    )
}

/// Returns year, month and day of so many days after 1970-01-01. Years are counted from March on here,
/// so that the leap day is the last one of its year.
fn date(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097; // days in 400 years
    let days = days + 719_468; // since 0000-03-01
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (1_767_225_600_001, "2026-01-01T00:00:00.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(ms)), expected);
        }
    }

    #[test]
    fn seconds_are_shown_to_a_tenth() {
        for (ms, expected) in [
            (0, "0 s"),
            (500, "0.5 s"),
            (9_960, "10 s"),
            (120_000, "120 s"),
        ] {
            assert_eq!(seconds(Duration::from_millis(ms)), expected);
        }
    }

    #[test]
    fn noise_is_one_line_that_names_the_loudest() {
        let source = |last: u8| IpAddr::from([192, 0, 2, last]);
        assert_eq!(noise(&[]), None);
        assert_eq!(
            noise(&[(source(1), 1)]).unwrap(),
            "1 packet was no gateway's advertisement, from 192.0.2.1 (1); other devices of the vendor send such"
        );
        let sources: Vec<_> = (1..=5).map(|last| (source(last), 2)).collect();
        let text = noise(&sources).unwrap();
        assert!(text.starts_with("10 packets were"), "{text}");
        assert!(text.contains("192.0.2.3 (2), 2 more;"), "{text}");
    }

    #[test]
    fn an_address_of_ones_own_is_said_to_hear_no_broadcasts() {
        let text = |at: &str| nothing_heard(Duration::from_secs(10), &[at.parse().unwrap()]);
        assert!(!text("0.0.0.0:6669").contains("Broadcasts"));
        assert!(text("192.0.2.1:6669").contains("Broadcasts"));
    }
}
