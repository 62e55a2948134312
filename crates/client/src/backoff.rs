//! When to try again to connect to one gateway. Pure: time and randomness are arguments.
//!
//! Input is what became of the attempts and connections, and the advertisements that were heard;
//! whoever supervises a gateway asks [`Backoff::phase`] for what comes next, and when.
//!
//! # The rule
//! - The wait after the n-th failure in a row is half of `min(0.5 s * 2^(n-1), 30 s)`, plus a random
//!   share of the other half. A connection that held for a minute starts the count anew; one that held for
//!   5 s is followed by a wait of 2 s at most, since whoever works and is restarted now and then is soon back; a
//!   shorter one counts as a failure.
//! - After a rejected key the wait is 30 s, always. Only a changed key ends it early.
//! - An advertisement ends any other wait, but no sooner than 0.5 s after the last attempt ended, and at
//!   most once in 30 s; besides, one from a changed address may do so, at most once in 30 s as well.
//!   The early attempt counts like any other. So the most that a flood of forged advertisements can
//!   add is two attempts in 30 s, and each that fails makes the next wait longer.
//! - An attempt in progress and a connection are never touched by an advertisement (section 7).

use std::time::{Duration, Instant};

/// The longest wait after the first failure; also the shortest time from the end of an attempt to one
/// that an advertisement brings about.
pub const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait, and that after a rejected key.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a connection holds that starts the count of failures anew.
pub const STABLE: Duration = Duration::from_secs(60);
/// How long a connection holds that is soon tried again.
const HELD: Duration = Duration::from_secs(5);
/// The time between two attempts that advertisements of the same kind bring about.
pub const WAKE_INTERVAL: Duration = Duration::from_secs(30);

/// Failures after which the wait grows no more: 0.5 s doubled six times is over 30 s.
const STEPS: u32 = 6;
/// Failures that still count after a connection that held for some seconds: the next wait is 2 s at most.
const FAILURES_AFTER_HELD: u32 = 2;

/// Decides when the next attempt to connect to one gateway may begin.
///
/// ```
/// use std::time::Instant;
/// use hearthgate_client::{Backoff, BackoffPhase, Ending};
///
/// let mut backoff = Backoff::default();
/// assert_eq!(backoff.phase(), BackoffPhase::Ready);
/// backoff.started();
/// let until = backoff.ended(Instant::now(), Ending::Lost, 0x8000_0000);
/// assert_eq!(backoff.phase(), BackoffPhase::Waiting { until, after: Ending::Lost });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    state: State,
    /// Failures in a row, a rejected key aside.
    failures: u32,
    /// The last attempts that advertisements brought about.
    woken_by_same: Option<Instant>,
    woken_by_changed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Ready,
    Attempting,
    Connected {
        since: Instant,
    },
    Waiting {
        since: Instant,
        until: Instant,
        after: Ending,
    },
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackoffPhase {
    /// An attempt may begin at once.
    Ready,
    /// An attempt is in progress.
    Attempting,
    /// The connection stands.
    Connected,
    /// The next attempt may begin at `until`.
    Waiting {
        /// When.
        until: Instant,
        /// Why there is a wait.
        after: Ending,
    },
}

/// How an attempt or a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// There was no connection, or it was lost.
    Lost,
    /// One of the two sides refused the other's key.
    KeyRejected,
}

/// Where an advertisement says that the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// Where the last attempt went.
    SameAddress,
    /// Somewhere else.
    ChangedAddress,
}

impl Backoff {
    /// Returns what comes next.
    pub fn phase(&self) -> BackoffPhase {
        match self.state {
            State::Ready => BackoffPhase::Ready,
            State::Attempting => BackoffPhase::Attempting,
            State::Connected { .. } => BackoffPhase::Connected,
            State::Waiting { until, after, .. } => BackoffPhase::Waiting { until, after },
        }
    }

    /// Takes note that an attempt begins.
    pub fn started(&mut self) {
        self.state = State::Attempting;
    }

    /// Takes note that the handshake is done.
    pub fn connected(&mut self, now: Instant) {
        self.state = State::Connected { since: now };
    }

    /// Takes note that the attempt failed or the connection ended, and returns when the next attempt
    /// may begin. `random` is uniform over its whole range.
    pub fn ended(&mut self, now: Instant, ending: Ending, random: u32) -> Instant {
        if let State::Connected { since } = self.state {
            let held = now.saturating_duration_since(since);
            if held >= STABLE {
                self.failures = 0;
            } else if held >= HELD {
                self.failures = self.failures.min(FAILURES_AFTER_HELD);
            }
        }
        let wait = match ending {
            Ending::KeyRejected => LONGEST_WAIT,
            Ending::Lost => {
                self.failures = self.failures.saturating_add(1);
                wait(self.failures, random)
            }
        };
        let until = now + wait;
        self.state = State::Waiting {
            since: now,
            until,
            after: ending,
        };
        until
    }

    /// Takes note of an advertisement, and tells whether it ends a wait early: then
    /// [`Backoff::phase`] has the new time, at the soonest `now`.
    pub fn wake(&mut self, now: Instant, advertised: Advertised) -> bool {
        let State::Waiting {
            since,
            until,
            after: Ending::Lost,
        } = &mut self.state
        else {
            return false;
        };
        let last = match advertised {
            Advertised::SameAddress => &mut self.woken_by_same,
            Advertised::ChangedAddress => &mut self.woken_by_changed,
        };
        let early = now.max(*since + FIRST_WAIT);
        let is_too_soon = last.is_some_and(|last| early < last + WAKE_INTERVAL);
        if is_too_soon || early >= *until {
            return false;
        }
        *until = early;
        *last = Some(early);
        true
    }

    /// Takes note that there is another key, which ends the wait after a rejected one. Returns whether
    /// it did.
    pub fn key_changed(&mut self) -> bool {
        let is_rejected = matches!(
            self.state,
            State::Waiting {
                after: Ending::KeyRejected,
                ..
            }
        );
        if is_rejected {
            self.state = State::Ready;
        }
        is_rejected
    }
}

/// Returns the wait after so many failures in a row: equal jitter, so that a crowd of clients spreads
/// out, and yet none of them comes at once.
fn wait(failures: u32, random: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(STEPS);
    let half = (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT) / 2;
    half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
