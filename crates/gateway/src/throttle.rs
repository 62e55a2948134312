//! How long the answer to a failed handshake is delayed (section 4). Pure: time is an argument.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hearthgate_protocol::limits::{
    THROTTLE_FIRST_DELAY, THROTTLE_FREE_FAILURES, THROTTLE_MAX_DELAY, THROTTLE_WINDOW,
};

/// Addresses that are remembered; where there are more, the one that failed longest ago is forgotten.
const ADDRESSES_MAX: usize = 4096;

/// The time between two lines in the log about one address.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Failures that are answered at once.
const FREE: usize = THROTTLE_FREE_FAILURES as usize;

/// Counts failed handshakes by address.
#[derive(Debug, Default)]
pub struct Throttle {
    addresses: HashMap<IpAddr, Failures>,
}

#[derive(Debug)]
struct Failures {
    /// When those within the window happened that were answered at once.
    free: VecDeque<Instant>,
    /// How many came on top of them.
    beyond: u32,
    last: Instant,
    /// How many were not yet told to the log.
    unreported: u32,
    reported: Option<Instant>,
}

impl Failures {
    fn new(now: Instant) -> Self {
        Self {
            free: VecDeque::new(),
            beyond: 0,
            last: now,
            unreported: 0,
            reported: None,
        }
    }

    /// Tells whether the log was told nothing for a minute.
    fn may_report(&self, now: Instant) -> bool {
        self.reported
            .is_none_or(|told| now.saturating_duration_since(told) >= REPORT_INTERVAL)
    }

    /// Counts one more and returns its delay.
    fn count(&mut self, now: Instant) -> Duration {
        let past = |then: Instant| now.saturating_duration_since(then) > THROTTLE_WINDOW;
        // Whoever is being delayed is forgiven by a quiet window only.
        if past(self.last) {
            self.beyond = 0;
        }
        self.last = now;
        while self.free.front().is_some_and(|first| past(*first)) {
            self.free.pop_front();
        }
        if self.beyond == 0 && self.free.len() < FREE {
            self.free.push_back(now);
            return Duration::ZERO;
        }
        self.beyond = self.beyond.saturating_add(1);
        delay(self.beyond)
    }
}

/// What is to be done about a failed handshake.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The delay before the close.
    pub delay: Duration,
    /// How many failures a line in the log should tell of, if one is due: one a minute and address.
    pub report: Option<u32>,
}

impl Throttle {
    /// Takes note of a failed handshake.
    pub fn failed(&mut self, address: IpAddr, now: Instant) -> Verdict {
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            self.forget_oldest();
        }
        let failures = self
            .addresses
            .entry(address)
            .or_insert_with(|| Failures::new(now));
        let delay = failures.count(now);
        failures.unreported += 1;
        let due = failures.may_report(now);
        let report = due.then(|| std::mem::take(&mut failures.unreported));
        if due {
            failures.reported = Some(now);
        }
        Verdict { delay, report }
    }

    /// Takes note of a successful handshake, which clears the address. What the log was told, and was not
    /// told yet, stays: behind one address there may be several clients.
    pub fn succeeded(&mut self, address: IpAddr) {
        if let Some(failures) = self.addresses.get_mut(&address) {
            failures.beyond = 0;
            failures.free.clear();
        }
    }

    /// Returns the addresses of which the log has not been told all for a minute, and how many failures
    /// each has had since. To be asked now and then: nobody may fail again.
    pub fn overdue(&mut self, now: Instant) -> Vec<(IpAddr, u32)> {
        let past = |then: Instant| now.saturating_duration_since(then) > THROTTLE_WINDOW;
        let mut told = Vec::new();
        self.addresses.retain(|address, failures| {
            if failures.may_report(now) && failures.unreported > 0 {
                told.push((*address, std::mem::take(&mut failures.unreported)));
                failures.reported = Some(now);
            }
            !past(failures.last) || failures.reported.is_some_and(|told| !past(told))
        });
        told
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .addresses
            .iter()
            .min_by_key(|(_, failures)| failures.last);
        if let Some(address) = oldest.map(|(address, _)| *address) {
            self.addresses.remove(&address);
        }
    }
}

/// Returns the delay of the first, second, .. failure beyond the free ones.
fn delay(beyond: u32) -> Duration {
    // Six doublings of the first delay are over the longest one.
    let doublings = beyond.saturating_sub(1).min(6);
    (THROTTLE_FIRST_DELAY * (1 << doublings)).min(THROTTLE_MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn delays(throttle: &mut Throttle, now: Instant, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| u64::try_from(throttle.failed(HOST, now).delay.as_millis()).unwrap())
            .collect()
    }

    #[test]
    fn twenty_are_free_then_the_delay_doubles_to_thirty_seconds() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        assert_eq!(delays(&mut throttle, now, 20), [0; 20]);
        assert_eq!(
            delays(&mut throttle, now, 8),
            [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
        );
    }

    #[test]
    fn a_success_and_a_quiet_minute_clear_it() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        delays(&mut throttle, now, 25);
        throttle.succeeded(HOST);
        assert_eq!(delays(&mut throttle, now, 1), [0]);
        delays(&mut throttle, now, 25);
        assert_eq!(delays(&mut throttle, now + Duration::from_secs(61), 1), [0]);
    }

    #[test]
    fn the_free_failures_are_those_of_any_minute() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        delays(&mut throttle, start, 1);
        delays(&mut throttle, at(55), 19);
        // The first one is over a minute ago, the other nineteen are not.
        assert_eq!(delays(&mut throttle, at(61), 3), [0, 500, 1000]);
        assert_eq!(delays(&mut throttle, at(116), 1), [2000]);
        assert_eq!(delays(&mut throttle, at(177), 2), [0, 0]);
    }

    #[test]
    fn it_is_told_once_a_minute_with_the_count() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        assert_eq!(throttle.failed(HOST, now).report, Some(1));
        assert_eq!(
            throttle.failed(HOST, now + Duration::from_secs(30)).report,
            None
        );
        assert_eq!(
            throttle.failed(HOST, now + Duration::from_secs(59)).report,
            None
        );
        assert_eq!(
            throttle.failed(HOST, now + Duration::from_secs(60)).report,
            Some(3)
        );
    }

    #[test]
    fn who_fails_no_more_is_told_of_after_a_minute_and_then_forgotten() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..500 {
            throttle.failed(HOST, start);
        }
        assert_eq!(throttle.overdue(at(59)), []);
        assert_eq!(throttle.overdue(at(60)), [(HOST, 499)]);
        assert_eq!(throttle.overdue(at(61)), []);
        assert!(!throttle.addresses.is_empty());
        assert_eq!(throttle.overdue(at(121)), []);
        assert!(throttle.addresses.is_empty());
    }

    #[test]
    fn a_success_between_failures_makes_no_further_line() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        assert_eq!(throttle.failed(HOST, now).report, Some(1));
        for _ in 0..10 {
            throttle.succeeded(HOST);
            assert_eq!(throttle.failed(HOST, now).report, None);
        }
        assert_eq!(throttle.overdue(now + REPORT_INTERVAL), [(HOST, 10)]);
    }

    #[test]
    fn a_flood_of_addresses_costs_bounded_memory() {
        let mut throttle = Throttle::default();
        let now = Instant::now();
        for number in 0..20_000u32 {
            throttle.failed(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(throttle.addresses.len() <= ADDRESSES_MAX);
    }
}
