//! Which gateways are advertised, and where. Pure: packets and time are arguments.
//!
//! Input are the packets that the sockets in [`crate::discovery`] receive; whoever wants to know where a
//! gateway is reads a [`Sighting`]. Nothing here connects anywhere, and whatever arrives costs bounded
//! memory and time: a packet is looked at only within the limits of `limiter`, and a table holds 1,024
//! gateways beside those that are followed.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use hearthgate_protocol::beacon::{Beacon, BeaconError};

use super::gateway::{Change, Flapping, Gateway, Moment, Sighting};
use super::limiter::Limiter;
use super::recent::Recent;

/// The most gateways in a table, beside those that are followed. Where there are more, the one that
/// was not heard for the longest time is forgotten.
pub const GATEWAYS_MAX: usize = 1024;

/// The table of gateways by uuid.
#[derive(Debug)]
pub struct Table {
    followed: HashMap<Arc<str>, Option<Gateway>>,
    others: Recent<Arc<str>, Gateway>,
    limiter: Limiter,
    counters: Counters,
}

/// An advertisement that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Of which gateway.
    pub uuid: Arc<str>,
    /// What it changed.
    pub change: Change,
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Its source is no address of a host.
    Source,
    /// There were too many packets, from its source or in all. It was not looked at.
    Flood,
    /// It is longer than any advertisement.
    TooLong,
    /// It is no advertisement.
    NoAdvertisement,
    /// Its gateway was at too many other addresses in too short a time.
    Flapping,
}

/// What became of all packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements that were taken.
    pub heard: u64,
    /// Dropped: the source is no address of a host.
    pub source: u64,
    /// Dropped without a look: too many packets.
    pub flood: u64,
    /// Dropped: longer than any advertisement.
    pub too_long: u64,
    /// Dropped: no advertisement.
    pub no_advertisement: u64,
    /// Dropped: too many other addresses of one gateway.
    pub flapping: u64,
    /// Gateways that were forgotten because there were too many.
    pub forgotten: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            followed: HashMap::new(),
            others: Recent::new(GATEWAYS_MAX),
            limiter: Limiter::new(),
            counters: Counters::default(),
        }
    }
}

impl Table {
    /// Takes a packet.
    ///
    /// # Errors
    /// Where it is dropped; it is counted then, and changes nothing else.
    pub fn handle_packet(
        &mut self,
        now: Moment,
        source: SocketAddr,
        packet: &[u8],
    ) -> Result<Heard, Dropped> {
        let outcome = self.take(now, source, packet);
        let counter = match &outcome {
            Ok(_) => &mut self.counters.heard,
            Err(Dropped::Source) => &mut self.counters.source,
            Err(Dropped::Flood) => &mut self.counters.flood,
            Err(Dropped::TooLong) => &mut self.counters.too_long,
            Err(Dropped::NoAdvertisement) => &mut self.counters.no_advertisement,
            Err(Dropped::Flapping) => &mut self.counters.flapping,
        };
        *counter += 1;
        outcome
    }

    /// Keeps a gateway in the table whatever else is heard, also before it was ever heard.
    pub fn follow(&mut self, uuid: &str) {
        if !self.followed.contains_key(uuid) {
            let gateway = self.others.remove(uuid);
            self.followed.insert(uuid.into(), gateway);
        }
    }

    /// Makes a gateway one among the others again.
    pub fn unfollow(&mut self, uuid: &str) {
        if let Some((uuid, Some(gateway))) = self.followed.remove_entry(uuid) {
            self.counters.forgotten += u64::from(self.others.insert(uuid, gateway));
        }
    }

    /// Returns what was heard of one gateway.
    pub fn sighting(&self, uuid: &str, now: Instant) -> Option<Sighting> {
        if let Some((uuid, gateway)) = self.followed.get_key_value(uuid) {
            return gateway.as_ref().map(|gateway| gateway.sighting(uuid, now));
        }
        let gateway = self.others.get(uuid)?;
        Some(gateway.sighting(&uuid.into(), now))
    }

    /// Returns what was heard of all gateways, in the order in which they were first heard.
    pub fn sightings(&self, now: Instant) -> Vec<Sighting> {
        let followed = self.followed.iter();
        let followed = followed.filter_map(|(uuid, gateway)| Some((uuid, gateway.as_ref()?)));
        let mut all: Vec<_> = followed.chain(self.others.iter()).collect();
        all.sort_by_key(|(uuid, gateway)| (gateway.first_heard(), *uuid));
        all.into_iter()
            .map(|(uuid, gateway)| gateway.sighting(uuid, now))
            .collect()
    }

    /// Returns what became of all packets.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the sources of packets that were no advertisement, and how many they sent: most first,
    /// 2,048 at most.
    pub fn noisy_sources(&self) -> Vec<(IpAddr, u64)> {
        self.limiter.noisy()
    }

    fn take(&mut self, now: Moment, source: SocketAddr, packet: &[u8]) -> Result<Heard, Dropped> {
        let source = host(source).ok_or(Dropped::Source)?;
        if !self.limiter.admit(now.instant, source.ip()) {
            return Err(Dropped::Flood);
        }
        let (beacon, frame) = Beacon::decode(packet).map_err(|error| {
            self.limiter.is_noise(source.ip());
            match error {
                BeaconError::TooLong(_) => Dropped::TooLong,
                BeaconError::NoFrame | BeaconError::Content(_) => Dropped::NoAdvertisement,
            }
        })?;
        let mut address = source;
        address.set_port(beacon.port);
        let uuid: Arc<str> = beacon.uuid.into();

        let known = match self.followed.get_mut(&uuid) {
            Some(place) => {
                let change = match place {
                    Some(gateway) => gateway.hear(now, address, frame),
                    None => {
                        *place = Some(Gateway::new(now, address, frame));
                        Ok(Change::Found)
                    }
                };
                if change.is_ok() {
                    self.limiter.make_known(source.ip());
                }
                Some(change)
            }
            None => self
                .others
                .touch(&uuid)
                .map(|gateway| gateway.hear(now, address, frame)),
        };
        let change = known.unwrap_or_else(|| {
            let gateway = Gateway::new(now, address, frame);
            self.counters.forgotten += u64::from(self.others.insert(Arc::clone(&uuid), gateway));
            Ok(Change::Found)
        });
        match change {
            Ok(change) => Ok(Heard { uuid, change }),
            Err(Flapping) => Err(Dropped::Flapping),
        }
    }
}

/// Returns the source as one would connect to it, if a host can be there: 0.0.0.0 would lead to this
/// very machine.
fn host(mut source: SocketAddr) -> Option<SocketAddr> {
    if let IpAddr::V4(mapped) = source.ip().to_canonical() {
        // An IPv4 packet that an IPv6 socket received.
        source = SocketAddr::from((mapped, source.port()));
    }
    let is_host = match source.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    };
    is_host.then_some(source)
}

#[cfg(test)]
mod tests;
