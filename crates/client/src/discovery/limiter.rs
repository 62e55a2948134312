//! How many packets are looked at: of one source, and in all.
//!
//! Asked by `table` before a packet is decoded. Sources from which a followed gateway was heard are
//! counted apart, so that a flood from elsewhere does not keep its advertisements out.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::recent::Recent;

/// Sources that are remembered, of either kind. One that is forgotten starts anew; the limits in all
/// hold nevertheless.
const SOURCES_MAX: usize = 1024;
/// One source: 40 packets/s, and 200 at once, which is what a machine with 200 simulated gateways sends.
const SOURCE: Rate = Rate::new(Duration::from_millis(25), 200);
/// All unknown sources: 150 packets/s, and 400 at once.
const STRANGERS: Rate = Rate::new(Duration::from_micros(6_667), 400);
/// All sources of followed gateways: 1,000 packets/s, and as many at once.
const KNOWN: Rate = Rate::new(Duration::from_millis(1), 1000);

/// One more each interval, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    pub(super) const fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst }
    }
}

/// A token bucket, full at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    full_at: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one token, if there is one.
    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let full_at = self.full_at.max(now) + rate.interval;
        let is_there = full_at.saturating_duration_since(now) <= rate.interval * rate.burst;
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }
}

#[derive(Debug)]
pub(super) struct Limiter {
    strangers: Pool,
    known: Pool,
}

#[derive(Debug)]
struct Pool {
    rate: Rate,
    all: Option<Bucket>,
    sources: Recent<IpAddr, Source>,
}

#[derive(Debug)]
struct Source {
    bucket: Bucket,
    /// Packets that were no advertisement.
    noise: u64,
}

impl Limiter {
    pub(super) fn new() -> Self {
        let pool = |rate| Pool {
            rate,
            all: None,
            sources: Recent::new(SOURCES_MAX),
        };
        Self {
            strangers: pool(STRANGERS),
            known: pool(KNOWN),
        }
    }

    /// Tells whether one more packet of a source is looked at.
    pub(super) fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        let is_known = self.known.sources.get(&source).is_some();
        let pool = if is_known {
            &mut self.known
        } else {
            &mut self.strangers
        };
        pool.admit(now, source)
    }

    /// Takes note that a followed gateway was heard from a source.
    pub(super) fn make_known(&mut self, source: IpAddr) {
        if let Some(state) = self.strangers.sources.remove(&source) {
            self.known.sources.insert(source, state);
        }
    }

    /// Takes note that a packet which was looked at is no advertisement.
    pub(super) fn is_noise(&mut self, source: IpAddr) {
        for pool in [&mut self.known, &mut self.strangers] {
            if let Some(state) = pool.sources.touch(&source) {
                state.noise += 1;
                return;
            }
        }
    }

    /// Returns the sources of packets that were no advertisement with their number, most first.
    pub(super) fn noisy(&self) -> Vec<(IpAddr, u64)> {
        let pools = [&self.known, &self.strangers].into_iter();
        let mut noisy: Vec<(IpAddr, u64)> = pools
            .flat_map(|pool| pool.sources.iter())
            .filter(|(_, state)| state.noise > 0)
            .map(|(source, state)| (*source, state.noise))
            .collect();
        noisy.sort_unstable_by_key(|(source, noise)| (std::cmp::Reverse(*noise), *source));
        noisy
    }
}

impl Pool {
    fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        if self.sources.get(&source).is_none() {
            let bucket = Bucket::new(now);
            self.sources.insert(source, Source { bucket, noise: 0 });
        }
        let has_own = self
            .sources
            .touch(&source)
            .is_some_and(|state| state.bucket.take(now, SOURCE));
        let all = self.all.get_or_insert(Bucket::new(now));
        has_own && all.take(now, self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(limiter: &mut Limiter, now: Instant, source: u32, count: u32) -> u32 {
        let source = IpAddr::from(source.to_be_bytes());
        (0..count)
            .map(|_| u32::from(limiter.admit(now, source)))
            .sum()
    }

    #[test]
    fn a_bucket_is_full_at_first_and_fills_again_by_the_interval() {
        let start = Instant::now();
        let rate = Rate::new(Duration::from_secs(5), 4);
        let mut bucket = Bucket::new(start);
        let mut taken = |seconds| {
            let now = start + Duration::from_secs(seconds);
            (0..10).filter(|_| bucket.take(now, rate)).count()
        };
        assert_eq!([0, 4, 5, 9, 15, 100].map(&mut taken), [4, 0, 1, 0, 2, 4]);
    }

    #[test]
    fn each_source_and_all_together_are_limited() {
        let mut limiter = Limiter::new();
        let now = Instant::now();
        assert_eq!(admitted(&mut limiter, now, 1, 1000), 200);
        assert_eq!(admitted(&mut limiter, now, 2, 1000), 200);
        assert_eq!(admitted(&mut limiter, now, 3, 1000), 0);
        let later = now + Duration::from_secs(1);
        assert_eq!(admitted(&mut limiter, later, 1, 1000), 40);
        assert_eq!(admitted(&mut limiter, later, 4, 1000), 109);
    }

    #[test]
    fn a_flood_of_sources_does_not_keep_a_known_one_out() {
        let mut limiter = Limiter::new();
        let now = Instant::now();
        assert_eq!(admitted(&mut limiter, now, 1, 1), 1);
        limiter.make_known(IpAddr::from(1u32.to_be_bytes()));
        for source in 2..50_000 {
            admitted(&mut limiter, now, source, 1);
        }
        assert_eq!(admitted(&mut limiter, now, 50_000, 1), 0);
        assert_eq!(admitted(&mut limiter, now, 1, 1000), 199);
        assert!(limiter.strangers.sources.iter().count() <= SOURCES_MAX);
    }

    #[test]
    fn noise_is_told_by_source() {
        let mut limiter = Limiter::new();
        let now = Instant::now();
        for source in [1, 2, 2, 3] {
            admitted(&mut limiter, now, source, 1);
        }
        let source = |number: u32| IpAddr::from(number.to_be_bytes());
        limiter.make_known(source(2));
        for number in [1, 2, 2] {
            limiter.is_noise(source(number));
        }
        assert_eq!(limiter.noisy(), [(source(2), 2), (source(1), 1)]);
    }
}
