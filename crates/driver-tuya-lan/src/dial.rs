//! What to dial next, and when: the version and dialect where they are not known, and the time to wait.
//!
//! Pure; [`crate::task`] asks it before each attempt and tells it how each one ended.

use std::time::Duration;

use crate::config::Direct;
use crate::link::{Cause, Dialect, Version};

/// The wait after the first failure; it doubles from there.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The wait before another guess is tried.
const NEXT_GUESS: Duration = Duration::from_millis(300);
/// The failures that a refused key counts for: it will not become right by itself.
const REFUSAL: u32 = 3;
/// How often a version that has worked may fail before others are tried.
const TRUSTED: u32 = 3;

/// What is known about how to talk to a device.
#[derive(Debug)]
pub(crate) struct Dial {
    /// The versions to try, in order; one alone where it is configured.
    candidates: Vec<Version>,
    is_fixed: bool,
    guess: usize,
    /// The version that has worked.
    proven: Option<Version>,
    dialect: Dialect,
    is_dialect_fixed: bool,
    failures: u32,
    misunderstood: u32,
}

impl Dial {
    pub(crate) fn new(direct: &Direct) -> Self {
        Self {
            candidates: match direct.version {
                Some(version) => vec![version],
                None => Version::LIKELY.to_vec(),
            },
            is_fixed: direct.version.is_some(),
            guess: 0,
            proven: None,
            dialect: direct.dialect.unwrap_or_default(),
            is_dialect_fixed: direct.dialect.is_some(),
            failures: 0,
            misunderstood: 0,
        }
    }

    /// Returns the version and the dialect to speak, and whether the dialect may turn out to be another.
    pub(crate) fn speech(&self) -> (Version, Dialect, bool) {
        let guess = || self.candidates.get(self.guess).or(self.candidates.first());
        let version = self
            .proven
            .or_else(|| guess().copied())
            .unwrap_or(Version::V33);
        match version {
            // There is no other way to ask in this version.
            Version::V32 => (version, Dialect::Device22, false),
            _ => (version, self.dialect, !self.is_dialect_fixed),
        }
    }

    /// Takes note of the version that a device announces: the first to try.
    pub(crate) fn heard(&mut self, version: Version) {
        if self.is_fixed || self.proven.is_some() || self.candidates.first() == Some(&version) {
            return;
        }
        self.candidates.retain(|candidate| *candidate != version);
        self.candidates.insert(0, version);
        self.guess = 0;
    }

    /// Takes note of a connection that was understood.
    pub(crate) fn worked(&mut self) {
        self.proven = Some(self.speech().0);
        self.failures = 0;
        self.misunderstood = 0;
    }

    /// Takes note of how an attempt ended; returns how long to wait before the next.
    pub(crate) fn ended(&mut self, cause: &Cause) -> Duration {
        match cause {
            Cause::Device22 => {
                self.dialect = Dialect::Device22;
                return NEXT_GUESS;
            }
            Cause::Lost | Cause::Unreachable(_) => self.failures += 1,
            Cause::NotUnderstood => {
                if !self.is_dialect_fixed {
                    self.dialect = Dialect::Standard;
                }
                if self.proven.is_some() {
                    self.failures += 1;
                    self.misunderstood += 1;
                    if self.misunderstood >= TRUSTED {
                        self.proven = None;
                        self.guess = 0;
                    }
                } else if self.guess + 1 < self.candidates.len() {
                    self.guess += 1;
                    return NEXT_GUESS;
                } else {
                    self.guess = 0;
                    self.failures += REFUSAL;
                }
            }
        }
        let doublings = self.failures.saturating_sub(1).min(16);
        let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
        // Devices that went together do not come back at the same moment.
        wait.mul_f64(fastrand::f64().mul_add(0.25, 0.75))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::LocalKey;

    fn dial(version: Option<Version>) -> Dial {
        Dial::new(&Direct {
            key: LocalKey::parse("0123456789abcdef").unwrap(),
            version,
            host: None,
            port: 1,
            dialect: None,
        })
    }

    fn unreachable() -> Cause {
        Cause::Unreachable("refused".to_owned())
    }

    #[test]
    fn all_versions_are_tried_in_turn_and_what_works_is_kept() {
        let mut dial = dial(None);
        let mut tried = Vec::new();
        for _ in 0..5 {
            tried.push(dial.speech().0);
            dial.ended(&Cause::NotUnderstood);
        }
        assert_eq!(tried, Version::LIKELY);
        assert_eq!(dial.speech().0, Version::V33, "from the beginning");
        dial.ended(&Cause::NotUnderstood);
        dial.worked();
        for _ in 0..2 {
            assert_eq!(dial.speech().0, Version::V34);
            dial.ended(&Cause::NotUnderstood);
        }
        dial.ended(&Cause::NotUnderstood);
        assert_eq!(dial.speech().0, Version::V33, "an update may change it");
    }

    #[test]
    fn a_configured_version_is_the_only_one_and_an_announced_one_the_first() {
        let mut fixed = dial(Some(Version::V35));
        fixed.heard(Version::V31);
        fixed.ended(&Cause::NotUnderstood);
        assert_eq!(fixed.speech().0, Version::V35);
        let mut free = dial(None);
        free.ended(&Cause::NotUnderstood);
        free.heard(Version::V31);
        assert_eq!(free.speech().0, Version::V31);
        free.ended(&Cause::NotUnderstood);
        assert_eq!(
            free.speech().0,
            Version::V33,
            "an announcement proves nothing"
        );
    }

    #[test]
    fn the_wait_grows_to_its_limit_and_a_success_ends_that() {
        let mut dial = dial(Some(Version::V33));
        let mut last = Duration::ZERO;
        for _ in 0..40 {
            last = dial.ended(&unreachable());
            assert!(
                last >= FIRST_WAIT.mul_f64(0.75) && last <= LONGEST_WAIT,
                "{last:?}"
            );
        }
        assert!(last >= LONGEST_WAIT.mul_f64(0.75));
        dial.worked();
        assert!(dial.ended(&Cause::Lost) <= FIRST_WAIT);
    }

    #[test]
    fn a_refused_key_waits_long_at_once() {
        let wait = dial(Some(Version::V34)).ended(&Cause::NotUnderstood);
        assert!(wait >= Duration::from_secs(3), "{wait:?}");
    }

    #[test]
    fn the_other_dialect_is_tried_once_and_given_up_where_it_does_not_help() {
        let mut dial = dial(Some(Version::V33));
        dial.ended(&Cause::Device22);
        assert_eq!(dial.speech().1, Dialect::Device22);
        dial.ended(&Cause::NotUnderstood);
        assert_eq!(dial.speech().1, Dialect::Standard);
        let oldest = self::dial(Some(Version::V32));
        assert_eq!(oldest.speech(), (Version::V32, Dialect::Device22, false));
    }
}
