//! Whether a session keeps up with the events (section 6). Pure: time is an argument.
//!
//! Behind is who has 256 KiB of events before it, or merged ones. A burst puts everybody behind for a
//! moment, which is no slowness: it counts once it lasts, or once the log might forget the events.

use std::time::{Duration, Instant};

use hearthgate_protocol::limits::{SLOW_SESSION_CLOSE, SLOW_SESSION_MERGE, SLOW_SESSION_TIME};

use crate::event_log::RETAINED;

/// The time behind after which events are merged.
const BURST: Duration = Duration::from_secs(1);
/// Unread bytes at which events are merged at once: half of what the log keeps.
const BURST_BYTES: u64 = RETAINED / 2;

/// Since when a session is behind.
#[derive(Debug, Default)]
pub(super) struct Pace {
    behind_since: Option<Instant>,
    /// When the verdict may become another one without an event.
    due: Option<Instant>,
}

/// Where a session stands after everything was offered to its socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Bytes of events in the log that it has not taken.
    pub(super) unread: u64,
    /// Bytes of merged events that wait, if there are any.
    pub(super) backlog: Option<usize>,
    /// Whether its socket did not take all that was offered.
    pub(super) blocked: bool,
}

/// What is to be done about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it keeps up, or may yet catch up.
    Go,
    /// Its unread events are to be merged.
    Merge,
    /// It is to be closed.
    Close,
}

impl Pace {
    pub(super) fn judge(&mut self, now: Instant, standing: Standing) -> Verdict {
        let Standing {
            unread,
            backlog,
            blocked,
        } = standing;
        self.due = None;
        if backlog.is_some() || unread >= merge_bytes() {
            self.behind_since.get_or_insert(now);
        } else if !blocked {
            self.behind_since = None;
        }
        let Some(since) = self.behind_since else {
            return Verdict::Go;
        };
        if backlog.is_some_and(|bytes| bytes >= SLOW_SESSION_CLOSE)
            || blocked && now.saturating_duration_since(since) >= SLOW_SESSION_TIME
        {
            return Verdict::Close;
        }
        if backlog.is_some() && unread > 0 || self.is_slow(now, unread, blocked) {
            return Verdict::Merge;
        }
        let still_a_burst = blocked && unread >= merge_bytes();
        self.due = Some(
            since
                + if still_a_burst {
                    BURST
                } else {
                    SLOW_SESSION_TIME
                },
        );
        Verdict::Go
    }

    /// Tells whether this many events are merged rather than sent one by one.
    pub(super) fn is_slow(&self, now: Instant, unread: u64, blocked: bool) -> bool {
        let lasts = |since| now.saturating_duration_since(since) >= BURST;
        blocked
            && unread >= merge_bytes()
            && (unread >= BURST_BYTES || self.behind_since.is_some_and(lasts))
    }

    /// Returns when it is to be judged again at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

fn merge_bytes() -> u64 {
    u64::try_from(SLOW_SESSION_MERGE).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEHIND: u64 = 300 * 1024;

    fn stuck(unread: u64, backlog: Option<usize>) -> Standing {
        Standing {
            unread,
            backlog,
            blocked: true,
        }
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_is_forgiven_and_lasting_slowness_is_merged_then_closed() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.judge(start, stuck(BEHIND, None)), Verdict::Go);
        assert_eq!(pace.due(), Some(at(start, 1000)));
        assert_eq!(
            pace.judge(at(start, 1000), stuck(BEHIND, None)),
            Verdict::Merge
        );
        assert_eq!(
            pace.judge(at(start, 1000), stuck(0, Some(100))),
            Verdict::Go
        );
        assert_eq!(pace.due(), Some(at(start, 10_000)));
        assert_eq!(
            pace.judge(at(start, 9999), stuck(0, Some(100))),
            Verdict::Go
        );
        assert_eq!(
            pace.judge(at(start, 10_000), stuck(0, Some(100))),
            Verdict::Close
        );
    }

    #[test]
    fn who_has_caught_up_starts_afresh() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.judge(start, stuck(BEHIND, None));
        let caught_up = Standing {
            unread: 0,
            backlog: None,
            blocked: false,
        };
        assert_eq!(pace.judge(at(start, 5000), caught_up), Verdict::Go);
        assert_eq!(pace.due(), None);
        assert_eq!(
            pace.judge(at(start, 12_000), stuck(BEHIND, None)),
            Verdict::Go
        );
    }

    #[test]
    fn whose_socket_takes_everything_is_never_slow() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let busy = Standing {
            unread: RETAINED,
            backlog: None,
            blocked: false,
        };
        assert_eq!(pace.judge(start, busy), Verdict::Go);
        assert_eq!(pace.judge(at(start, 20_000), busy), Verdict::Go);
    }

    #[test]
    fn before_the_log_forgets_events_they_are_merged() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.judge(start, stuck(BURST_BYTES, None)), Verdict::Merge);
    }

    #[test]
    fn a_megabyte_of_merged_events_is_too_much() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(
            pace.judge(start, stuck(0, Some(SLOW_SESSION_CLOSE - 1))),
            Verdict::Go
        );
        assert_eq!(
            pace.judge(start, stuck(0, Some(SLOW_SESSION_CLOSE))),
            Verdict::Close
        );
    }
}
