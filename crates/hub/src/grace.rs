//! A while of grace before a gateway counts as unavailable, so that short blips trigger nothing. Pure.
//!
//! Input is what becomes of a link; output is whether the gateway counts as available, and when to look
//! again. One per gateway, kept by `supervisor`.

use std::time::{Duration, Instant};

/// The grace where none is given: more than a gateway takes to restart.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The longest grace.
pub const LONGEST_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a gateway counts as available.
///
/// ```
/// use std::time::{Duration, Instant};
/// use hearthgate_hub::Grace;
///
/// let mut grace = Grace::new(Duration::from_secs(30));
/// let now = Instant::now();
/// assert!(!grace.is_available(), "it never was there");
/// grace.handle_synced();
/// grace.handle_down(now);
/// grace.handle_timeout(now + Duration::from_secs(29));
/// assert!(grace.is_available(), "a blip");
/// grace.handle_timeout(now + Duration::from_secs(30));
/// assert!(!grace.is_available());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    period: Duration,
    available: bool,
    down_since: Option<Instant>,
}

impl Grace {
    /// Makes one for a gateway that has not been there yet.
    pub fn new(period: Duration) -> Self {
        Self {
            period: period.min(LONGEST_GRACE),
            available: false,
            down_since: None,
        }
    }

    /// Tells whether the gateway counts as available.
    pub fn is_available(&self) -> bool {
        self.available
    }

    /// Takes note that the values are the gateway's again.
    pub fn handle_synced(&mut self) {
        self.available = true;
        self.down_since = None;
    }

    /// Takes note that there is no link; only the first time of an outage counts.
    pub fn handle_down(&mut self, now: Instant) {
        if self.available && self.down_since.is_none() {
            self.down_since = Some(now);
        }
        self.handle_timeout(now);
    }

    /// Takes another period, also for an outage that is going on.
    pub fn set_period(&mut self, period: Duration) {
        self.period = period.min(LONGEST_GRACE);
    }

    /// Returns when [`Grace::handle_timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.down_since? + self.period)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.available = false;
            self.down_since = None;
        }
    }
}

/// Parses a duration: `500ms`, `10s`, `2m` or `1h`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit)?;
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    let duration = Duration::from_millis(milliseconds?);
    (duration <= LONGEST_GRACE).then_some(duration)
}

/// Writes a duration as [`parse`] reads it.
pub(crate) fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds.is_multiple_of(1000) {
        format!("{}s", milliseconds / 1000)
    } else {
        format!("{milliseconds}ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    #[test]
    fn a_blip_shows_nowhere_and_the_first_loss_of_an_outage_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut grace = Grace::new(PERIOD);
        grace.handle_down(start);
        assert!(!grace.is_available() && grace.deadline().is_none());
        grace.handle_synced();
        grace.handle_down(at(1));
        // A short connection that is lost before it is in sync again changes nothing.
        grace.handle_down(at(8));
        assert_eq!(grace.deadline(), Some(at(11)));
        grace.handle_timeout(at(10));
        assert!(grace.is_available());
        grace.handle_synced();
        assert_eq!(grace.deadline(), None);
        grace.handle_timeout(at(1000));
        assert!(grace.is_available());
        grace.handle_down(at(1000));
        grace.handle_timeout(at(1010));
        assert!(!grace.is_available() && grace.deadline().is_none());
    }

    #[test]
    fn no_grace_is_no_wait() {
        let mut grace = Grace::new(Duration::ZERO);
        grace.handle_synced();
        grace.handle_down(Instant::now());
        assert!(!grace.is_available());
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, ms) in [("500ms", 500), ("10s", 10_000), ("0s", 0)] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)));
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
        assert_eq!(parse("2m"), parse("120s"));
        for text in ["", "10", "s", "-1s", "25h", "1.5s", "99999999999999999999s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
