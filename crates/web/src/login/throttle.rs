//! Slows whoever guesses: after some failures an address waits, longer each time. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures that cost nothing: people mistype.
const FREE: u32 = 5;
/// The first wait; it doubles with each failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// After so long without a failure all is forgotten.
const FORGET: Duration = Duration::from_secs(15 * 60);
/// The most addresses that are remembered; of more, the one that failed longest ago is forgotten.
const ADDRESSES_MAX: usize = 4096;

/// This address has to wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// How long.
    pub(crate) wait: Duration,
}

/// Who failed, and how often.
#[derive(Default)]
pub(crate) struct Throttle {
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

struct Failures {
    count: u32,
    last: Instant,
    until: Instant,
}

impl Throttle {
    /// Lets an address try.
    ///
    /// # Errors
    /// Where it has to wait.
    pub(crate) fn admit(&self, from: IpAddr, now: Instant) -> Result<(), Refused> {
        match self.addresses.lock().get(&network(from)) {
            Some(failures) if failures.until > now => Err(Refused {
                wait: failures.until - now,
            }),
            _ => Ok(()),
        }
    }

    /// Takes note of a failure.
    pub(crate) fn failure(&self, from: IpAddr, now: Instant) {
        let from = network(from);
        let mut addresses = self.addresses.lock();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&from) {
            let oldest = addresses.iter().min_by_key(|(_, failures)| failures.last);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                addresses.remove(&oldest);
            }
        }
        let failures = addresses.entry(from).or_insert(Failures {
            count: 0,
            last: now,
            until: now,
        });
        if now.saturating_duration_since(failures.last) > FORGET {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if let Some(beyond) = failures.count.checked_sub(FREE + 1) {
            let wait = FIRST.saturating_mul(1 << beyond.min(16));
            failures.until = now + wait.min(LONGEST);
        }
    }

    /// Forgets the failures of an address.
    pub(crate) fn success(&self, from: IpAddr) {
        self.addresses.lock().remove(&network(from));
    }
}

/// Who has one IPv6 address has many.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn some_failures_are_free_then_each_costs_twice_as_much() {
        let throttle = Throttle::default();
        let (from, mut now) = (address("192.0.2.1"), Instant::now());
        for _ in 0..FREE {
            assert_eq!(throttle.admit(from, now), Ok(()));
            throttle.failure(from, now);
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(throttle.admit(from, now), Ok(()));
            throttle.failure(from, now);
            let wait = throttle.admit(from, now).unwrap_err().wait;
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(
            waits,
            [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
        );
        assert_eq!(throttle.admit(address("192.0.2.2"), now - LONGEST), Ok(()));
        throttle.success(from);
        throttle.failure(from, now);
        assert_eq!(throttle.admit(from, now), Ok(()));
    }

    #[test]
    fn a_guesser_cannot_hide_among_his_addresses() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for host in 0..=FREE {
            throttle.failure(address(&format!("2001:db8::{host}")), now);
        }
        assert!(throttle.admit(address("2001:db8::ffff"), now).is_err());
        assert!(throttle.admit(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn the_memory_is_bounded() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..ADDRESSES_MAX as u32 + 10 {
            throttle.failure(IpAddr::from(number.to_be_bytes()), now);
        }
        assert_eq!(throttle.addresses.lock().len(), ADDRESSES_MAX);
    }
}
