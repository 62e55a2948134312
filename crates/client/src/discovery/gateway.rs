//! What is known of one gateway by its advertisements.
//!
//! Written by `table`, one per uuid; read as a [`Sighting`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_protocol::beacon::BeaconFrame;
use hearthgate_protocol::limits::BEACON_INTERVAL;
use hearthgate_protocol::model::Timestamp;

use super::limiter::{Bucket, Rate};

/// The time after which a gateway that was not heard is marked stale: twelve advertisements.
pub const STALE_AFTER: Duration = Duration::from_secs(60);
/// The most addresses that are kept of one gateway.
pub const ADDRESSES_MAX: usize = 4;

/// The time in which an address counts as one that is being advertised: three advertisements.
const LIVELY: Duration = Duration::from_secs(3 * BEACON_INTERVAL.as_secs());
/// How often another address is believed: four at once, then one each advertisement.
const CLAIMS: Rate = Rate::new(BEACON_INTERVAL, 4);

/// A point in time by both clocks: the one that measures, and the one on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that never jumps.
    pub instant: Instant,
    /// By the clock on the wall.
    pub time: Timestamp,
}

/// What was heard of one gateway. A hint and no proof: whoever answers there must still pass the
/// handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The gateway's uuid.
    pub uuid: Arc<str>,
    /// The address to try first: the source of the packets, and the port that they advertise.
    pub address: SocketAddr,
    /// That one and the other recent ones, 1 to 4, in the order in which to try them: those still
    /// advertised first, and of these the newest first.
    pub addresses: Vec<SocketAddr>,
    /// How the last packet was wrapped.
    pub frame: BeaconFrame,
    /// When it was heard first, since it is in the table.
    pub first_seen: Timestamp,
    /// When it was heard last.
    pub last_seen: Timestamp,
    /// The same by the clock that never jumps.
    pub last_heard: Instant,
    /// How many packets were heard.
    pub packets: u64,
}

impl Sighting {
    /// Tells whether the gateway was not heard for a minute.
    pub fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_heard) >= STALE_AFTER
    }
}

/// What a packet changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The gateway was not in the table before.
    Found,
    /// The address to try first is another one.
    Moved,
    /// Nothing but the time.
    Seen,
}

/// There were too many other addresses in too short a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flapping;

#[derive(Debug)]
pub(super) struct Gateway {
    /// The newest claim first; never empty.
    addresses: Vec<Claim>,
    claims: Bucket,
    /// The address that was first when the last packet came.
    told: SocketAddr,
    frame: BeaconFrame,
    first: Moment,
    last: Moment,
    packets: u64,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    address: SocketAddr,
    last_heard: Instant,
}

impl Claim {
    fn is_lively(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_heard) < LIVELY
    }
}

impl Gateway {
    pub(super) fn new(now: Moment, address: SocketAddr, frame: BeaconFrame) -> Self {
        let mut claims = Bucket::new(now.instant);
        claims.take(now.instant, CLAIMS);
        Self {
            addresses: vec![Claim {
                address,
                last_heard: now.instant,
            }],
            claims,
            told: address,
            frame,
            first: now,
            last: now,
            packets: 1,
        }
    }

    /// Takes note of one more advertisement.
    pub(super) fn hear(
        &mut self,
        now: Moment,
        address: SocketAddr,
        frame: BeaconFrame,
    ) -> Result<Change, Flapping> {
        let known = self
            .addresses
            .iter()
            .position(|claim| claim.address == address);
        match known {
            Some(index) => self.hear_known(now.instant, index),
            None if self.claims.take(now.instant, CLAIMS) => {
                self.make_room(now.instant);
                self.put_first(now.instant, address);
            }
            None => return Err(Flapping),
        }
        self.frame = frame;
        self.last = now;
        self.packets += 1;
        let first = self.first_address(now.instant);
        let change = if first == self.told {
            Change::Seen
        } else {
            Change::Moved
        };
        self.told = first;
        Ok(change)
    }

    pub(super) fn sighting(&self, uuid: &Arc<str>, now: Instant) -> Sighting {
        Sighting {
            uuid: Arc::clone(uuid),
            address: self.first_address(now),
            addresses: self.in_order(now).collect(),
            frame: self.frame,
            first_seen: self.first.time,
            last_seen: self.last.time,
            last_heard: self.last.instant,
            packets: self.packets,
        }
    }

    pub(super) fn first_heard(&self) -> Instant {
        self.first.instant
    }

    fn hear_known(&mut self, now: Instant, index: usize) {
        let Some(claim) = self.addresses.get_mut(index) else {
            return;
        };
        let is_back = !claim.is_lively(now) && index > 0;
        claim.last_heard = now;
        // One that is back after a silence is a new claim; two that are both advertised stay in order.
        if is_back && self.claims.take(now, CLAIMS) {
            let address = claim.address;
            self.addresses.remove(index);
            self.put_first(now, address);
        }
    }

    fn put_first(&mut self, now: Instant, address: SocketAddr) {
        let claim = Claim {
            address,
            last_heard: now,
        };
        self.addresses.insert(0, claim);
    }

    /// Where there is no room, the one that is silent longest goes. Where all are being advertised it
    /// is the newest one, so that an address which keeps being heard is never pushed out.
    fn make_room(&mut self, now: Instant) {
        if self.addresses.len() < ADDRESSES_MAX {
            return;
        }
        let silent = self.addresses.iter().enumerate();
        let silent = silent.filter(|(_, claim)| !claim.is_lively(now));
        let victim = silent.min_by_key(|(_, claim)| claim.last_heard);
        self.addresses.remove(victim.map_or(0, |(index, _)| index));
    }

    fn in_order(&self, now: Instant) -> impl Iterator<Item = SocketAddr> {
        let some = move |lively| {
            let claims = self.addresses.iter();
            claims.filter(move |claim| claim.is_lively(now) == lively)
        };
        some(true).chain(some(false)).map(|claim| claim.address)
    }

    fn first_address(&self, now: Instant) -> SocketAddr {
        self.in_order(now).next().unwrap_or(self.told)
    }
}
