//! What is known of each gateway over time: since when, how often, how fast, what went wrong last. Pure.
//!
//! Written by `watch` and by the measuring of round trips; read for the API and the metrics.

use std::time::Duration;

use hearthgate_client::{ClientError, Fault};
use hearthgate_hub::Link;

use crate::view::ErrorView;

/// The time over which events a second are counted.
const WINDOW: usize = 10;

/// The facts of one gateway.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Since when the link is as it is.
    pub(crate) since: i64,
    /// How the link is: one of `no_key`, `connecting`, `up`, `down`.
    pub(crate) link: &'static str,
    /// Connections that were made.
    pub(crate) connects: u64,
    /// Connections that were lost.
    pub(crate) losses: u64,
    /// Events that came.
    pub(crate) events: u64,
    /// The last reason for which there was no connection.
    pub(crate) last_error: Option<ErrorView>,
    /// The last measured round trip.
    pub(crate) round_trip: Option<Duration>,
    rate: Rate,
}

/// Counts the events of the last seconds.
#[derive(Clone, Debug, Default)]
struct Rate {
    counts: [u32; WINDOW],
    second: i64,
}

impl Facts {
    /// Makes those of a gateway that is new.
    pub(crate) fn new(now: i64) -> Self {
        Self {
            since: now,
            link: "connecting",
            connects: 0,
            losses: 0,
            events: 0,
            last_error: None,
            round_trip: None,
            rate: Rate::default(),
        }
    }

    /// Takes note of how the link is now.
    pub(crate) fn link(&mut self, now: i64, link: &Link) {
        let name = link_name(link);
        if name != self.link {
            self.since = now;
            self.connects += u64::from(name == "up");
            self.losses += u64::from(self.link == "up");
            self.link = name;
        }
        if let Some(text) = reason(link) {
            self.failed(now, text);
        }
        if name != "up" {
            self.round_trip = None;
        }
    }

    /// Takes note of why there is no connection.
    pub(crate) fn failed(&mut self, now: i64, text: String) {
        if self
            .last_error
            .as_ref()
            .is_none_or(|last| last.text != text)
        {
            self.last_error = Some(ErrorView { at: now, text });
        }
    }

    /// Takes note of an event.
    pub(crate) fn event(&mut self, now: i64) {
        self.events += 1;
        self.rate.turn(now / 1000);
        if let Some(count) = self.rate.place(now / 1000) {
            *count += 1;
        }
    }

    /// Returns the events a second.
    pub(crate) fn events_per_second(&mut self, now: i64) -> f64 {
        self.rate.turn(now / 1000);
        let sum: u32 = self.rate.counts.iter().sum();
        f64::from(sum) / WINDOW as f64
    }
}

impl Rate {
    /// Empties the places of the seconds that passed.
    fn turn(&mut self, second: i64) {
        // A clock that is set back begins anew.
        if second < self.second || second - self.second >= WINDOW as i64 {
            self.counts = [0; WINDOW];
        } else {
            for passed in self.second + 1..=second {
                if let Some(count) = self.place(passed) {
                    *count = 0;
                }
            }
        }
        self.second = second;
    }

    fn place(&mut self, second: i64) -> Option<&mut u32> {
        let index = usize::try_from(second.rem_euclid(WINDOW as i64)).ok()?;
        self.counts.get_mut(index)
    }
}

/// Names a link.
pub(crate) fn link_name(link: &Link) -> &'static str {
    match link {
        Link::NoKey(_) => "no_key",
        Link::Connecting => "connecting",
        Link::Up => "up",
        Link::Down(_) => "down",
    }
}

/// Says why there is no connection.
pub(crate) fn reason(link: &Link) -> Option<String> {
    match link {
        Link::NoKey(problem) => Some(problem.to_string()),
        Link::Down(error) => Some(error.to_string()),
        Link::Connecting | Link::Up => None,
    }
}

/// Names whose fault it is that there is no connection.
pub(crate) fn fault(error: &ClientError) -> &'static str {
    match error.fault() {
        Fault::Authentication => "authentication",
        Fault::Connection => "connection",
        Fault::Protocol => "protocol",
        Fault::Refused => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_a_second_fade_with_time() {
        let mut facts = Facts::new(0);
        for moment in 0..20 {
            facts.event(100_000 + moment * 50);
        }
        assert!((facts.events_per_second(100_990) - 2.0).abs() < 1e-9);
        facts.event(105_000);
        assert!((facts.events_per_second(109_999) - 2.1).abs() < 1e-9);
        assert!((facts.events_per_second(110_000) - 0.1).abs() < 1e-9);
        assert!(facts.events_per_second(115_000).abs() < 1e-9);
        assert!(facts.events_per_second(0).abs() < 1e-9, "a clock set back");
    }

    #[test]
    fn a_link_is_as_it_is_since_it_became_so() {
        let mut facts = Facts::new(1);
        facts.link(2, &Link::Up);
        facts.link(3, &Link::Up);
        assert_eq!((facts.since, facts.connects, facts.losses), (2, 1, 0));
        facts.link(4, &Link::NoKey("it has no key".into()));
        assert_eq!((facts.since, facts.losses), (4, 1));
        facts.link(5, &Link::Up);
        let last = facts.last_error.unwrap();
        assert_eq!((last.at, &*last.text), (4, "it has no key"));
    }
}
