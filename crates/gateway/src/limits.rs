//! What a gateway takes of its sessions: every limit that can be set, in one place.
//!
//! Filled by the caller. Places are counted by `listener`, requests by `session`; how large a message
//! may be is `GatewayConfig::message_max`, since the connection itself keeps to it.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use hearthgate_protocol::limits::{REQUESTS_IN_FLIGHT, SESSIONS_MAX};

/// Connections that may be in the handshake at once, unless told otherwise.
pub const HANDSHAKES_MAX: usize = 1024;

/// What a gateway takes of its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions in all.
    pub total: usize,
    /// Sessions from one address.
    pub per_address: usize,
    /// Connections that have not proven that they know the key. Where there are more, the oldest one
    /// of the address that has most of them must go, so that a flood keeps no good client out.
    pub handshakes: usize,
    /// Requests of one session that have no answer yet, at which no more are read from it (section 5).
    pub requests_in_flight: usize,
    /// Requests of one session in a second, after a quiet one all at once; further ones wait to be read.
    /// As many as there are where there is none.
    pub requests_per_second: Option<NonZeroU32>,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            total: SESSIONS_MAX,
            per_address: SESSIONS_MAX,
            handshakes: HANDSHAKES_MAX,
            requests_in_flight: REQUESTS_IN_FLIGHT,
            requests_per_second: None,
        }
    }
}

/// When the next request of a session may be taken: n in a second, and after a quiet second n at once.
/// Pure: time is an argument.
///
/// A session that is faster is not read from for the moment, by which its own socket fills. To refuse
/// its requests would cost as much as to answer them, `busy` is what a device is, and a client that
/// pipelines would have to send again what it need only wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// The time between two requests of a session that sends all the time.
    interval: Duration,
    /// When the next one would be due if they came evenly.
    next: Option<Instant>,
}

/// The time whose share may come at once.
const BURST: Duration = Duration::from_secs(1);

impl Rate {
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.get(),
            next: None,
        }
    }

    /// Returns until when no request is taken; `None` where one may be taken now.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let ahead = BURST.saturating_sub(self.interval);
        let due = self.next?.checked_sub(ahead)?;
        (due > now).then_some(due)
    }

    /// Counts a request that was taken.
    pub(crate) fn take(&mut self, now: Instant) {
        let from = self.next.map_or(now, |next| next.max(now));
        self.next = Some(from + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes requests as fast as may be for a time, and counts them.
    fn taken(per_second: u32, start: Instant, time: Duration) -> u32 {
        let mut rate = Rate::new(NonZeroU32::new(per_second).unwrap());
        let (mut now, mut count) = (start, 0);
        while now < start + time {
            match rate.due(now) {
                Some(due) => now = due,
                None => {
                    rate.take(now);
                    count += 1;
                }
            }
        }
        count
    }

    #[test]
    fn the_first_second_may_come_at_once_and_the_rest_evenly() {
        let start = Instant::now();
        for per_second in [1, 2, 10, 1000] {
            assert_eq!(
                taken(per_second, start, Duration::from_nanos(1)),
                per_second
            );
            let ten = taken(per_second, start, Duration::from_secs(10));
            // The burst, and a second's share for each second.
            assert!(
                (11 * per_second - 1..=11 * per_second).contains(&ten),
                "{ten}"
            );
        }
    }

    #[test]
    fn a_quiet_second_allows_the_next_burst() {
        let start = Instant::now();
        let mut rate = Rate::new(NonZeroU32::new(5).unwrap());
        for _ in 0..5 {
            assert_eq!(rate.due(start), None);
            rate.take(start);
        }
        assert_eq!(rate.due(start), Some(start + Duration::from_millis(200)));
        let later = start + Duration::from_secs(2);
        for _ in 0..5 {
            assert_eq!(rate.due(later), None);
            rate.take(later);
        }
        assert!(rate.due(later).is_some());
    }
}
