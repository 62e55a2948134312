//! What the log is told once a minute, with a count, so that no peer can fill it. Pure: time is an
//! argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The time in which one line is written about one thing.
const INTERVAL: Duration = Duration::from_secs(60);
/// Things that are remembered; where there are more, the one that was told longest ago is forgotten,
/// and with it what was not told yet.
const THINGS_MAX: usize = 4096;

/// Counts what happens, and tells when a line about it is due.
#[derive(Debug)]
pub(crate) struct OnceAMinute<T> {
    things: HashMap<T, Told>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    untold: u32,
}

impl<T> Default for OnceAMinute<T> {
    fn default() -> Self {
        Self {
            things: HashMap::new(),
        }
    }
}

impl<T: Copy + Eq + Hash> OnceAMinute<T> {
    /// Takes note that something happened. Returns how often it did since the last line, where another
    /// one is due: at the first time, and then a minute after each line at the soonest.
    pub(crate) fn count(&mut self, thing: T, now: Instant) -> Option<u32> {
        if let Some(told) = self.things.get_mut(&thing) {
            told.untold = told.untold.saturating_add(1);
            if now.saturating_duration_since(told.at) < INTERVAL {
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.untold));
        }
        if self.things.len() >= THINGS_MAX {
            self.forget_oldest();
        }
        let told = Told { at: now, untold: 0 };
        self.things.insert(thing, told);
        Some(1)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.things.iter().min_by_key(|(_, told)| told.at);
        if let Some(thing) = oldest.map(|(thing, _)| *thing) {
            self.things.remove(&thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_a_minute_with_the_count() {
        let (mut log, start) = (OnceAMinute::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(log.count("a", at(0)), Some(1));
        assert_eq!(log.count("a", at(1)), None);
        assert_eq!(log.count("b", at(2)), Some(1));
        assert_eq!(log.count("a", at(59)), None);
        assert_eq!(log.count("a", at(60)), Some(3));
        assert_eq!(log.count("a", at(119)), None);
        assert_eq!(log.count("a", at(600)), Some(2));
    }

    #[test]
    fn a_flood_of_things_costs_bounded_memory() {
        let (mut log, now) = (OnceAMinute::default(), Instant::now());
        for thing in 0..20_000 {
            assert_eq!(log.count(thing, now), Some(1));
        }
        assert!(log.things.len() <= THINGS_MAX);
    }
}
