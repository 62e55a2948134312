//! Means, minima and maxima by the minute, hour and day: what a change adds to them. Pure.
//!
//! Input: the value in force and the one that follows it. Output: [`Part`]s, to be added to what is stored.
//!
//! # Why weighted by time
//! Devices report when something differs: ten times a minute while a kettle boils, once in an hour at
//! night. A mean of the reports would be the kettle's. A value therefore counts for as long as it holds,
//! which is until the next one, and not at all while nothing is known (the device or its gateway is out of
//! reach, no hub runs). What held when a stretch began counts in it, also for minimum and maximum.
//!
//! # Why a change is enough
//! A stretch gets a row when a change falls into it. When the next change comes, the rest of the row's
//! stretch is added to it; stretches in between have no row, since all of them are the value that held
//! throughout, which whoever reads them fills in. So a change costs at most two rows a resolution, however
//! long the silence was before, and what is stored is all the state there is: a restart goes on from it.

use std::collections::BTreeMap;

use hearthgate_hub::Step;

use crate::row::SeriesId;

/// The resolutions that are stored beside the changes.
pub(crate) const STEPS: [Step; 3] = [Step::Minute, Step::Hour, Step::Day];

/// A value in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    /// Since when, in milliseconds.
    pub(crate) at: i64,
    /// None where nothing is known.
    pub(crate) number: Option<f64>,
}

/// What is known of a stretch, or is to be added to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Part {
    pub(crate) count: i64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    pub(crate) last: Option<f64>,
    /// Whether there is a change within it, so that `last` says something.
    pub(crate) is_changed: bool,
    /// Each value times the milliseconds that it held.
    pub(crate) weighted: f64,
    /// The milliseconds in which something was known.
    pub(crate) covered: i64,
}

/// Which stretch: of a resolution, of a series, the how-manieth since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) step: Step,
    pub(crate) series: SeriesId,
    pub(crate) index: i64,
}

/// What is to be added to the stretches of many series.
#[derive(Debug, Default)]
pub(crate) struct Parts(BTreeMap<Key, Part>);

impl Part {
    /// Takes note that a value held for a while.
    pub(crate) fn hold(&mut self, number: f64, milliseconds: i64) {
        if milliseconds > 0 {
            self.see(number);
            self.weigh(number, milliseconds);
        }
    }

    /// Takes note of a change, also to nothing being known.
    pub(crate) fn change(&mut self, number: Option<f64>) {
        if let Some(number) = number {
            self.see(number);
            self.count += 1;
        }
        self.last = number;
        self.is_changed = true;
    }

    fn see(&mut self, number: f64) {
        self.low = Some(self.low.map_or(number, |low| low.min(number)));
        self.high = Some(self.high.map_or(number, |high| high.max(number)));
    }

    /// Takes note that the value, already seen, held on.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a day has fewer than 2^53 milliseconds"
    )]
    pub(crate) fn weigh(&mut self, number: f64, milliseconds: i64) {
        self.weighted += number * milliseconds as f64;
        self.covered += milliseconds;
    }

    /// Returns the mean; the last or lowest value where none held for any time.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a day has fewer than 2^53 milliseconds"
    )]
    pub(crate) fn mean(&self) -> Option<f64> {
        if self.covered > 0 {
            return Some(self.weighted / self.covered as f64);
        }
        self.last.or(self.low)
    }
}

impl Parts {
    /// Takes note that `next` follows `held`, which it must not precede.
    pub(crate) fn follow(&mut self, series: SeriesId, held: Option<Held>, next: Held) {
        for step in STEPS {
            let width = step.milliseconds();
            let index = next.at.div_euclid(width);
            let begin = index.saturating_mul(width);
            let mut carried = None;
            if let Some(held) = held {
                let first = held.at.div_euclid(width);
                if first == index {
                    carried = held.number.map(|number| (number, next.at - held.at));
                } else if let Some(number) = held.number {
                    let end = (first + 1).saturating_mul(width);
                    // Seen when it came.
                    self.at(step, series, first).weigh(number, end - held.at);
                    carried = Some((number, next.at - begin));
                }
            }
            let part = self.at(step, series, index);
            if let Some((number, milliseconds)) = carried {
                part.hold(number, milliseconds);
            }
            part.change(next.number);
        }
    }

    fn at(&mut self, step: Step, series: SeriesId, index: i64) -> &mut Part {
        let key = Key {
            step,
            series,
            index,
        };
        self.0.entry(key).or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Part)> {
        self.0.iter()
    }
}

/// Computes a stretch anew: of the value in force when it began, the changes within it, oldest first, and
/// whether any change follows it. None where no change is within it.
pub(crate) fn compute(
    step: Step,
    index: i64,
    before: Option<f64>,
    within: impl IntoIterator<Item = Held>,
    is_followed: bool,
) -> Option<Part> {
    let begin = index.saturating_mul(step.milliseconds());
    let mut part = Part::default();
    let mut held = Held {
        at: begin,
        number: before,
    };
    for next in within {
        if let Some(number) = held.number {
            part.hold(number, next.at - held.at);
        }
        part.change(next.number);
        held = next;
    }
    if let (true, Some(number)) = (is_followed && part.is_changed, held.number) {
        part.weigh(number, begin + step.milliseconds() - held.at);
    }
    part.is_changed.then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(at: i64, number: f64) -> Held {
        Held {
            at,
            number: Some(number),
        }
    }

    fn stretch(parts: &Parts, step: Step, index: i64) -> Option<Part> {
        let key = Key {
            step,
            series: 1,
            index,
        };
        parts.0.get(&key).copied()
    }

    #[test]
    fn a_value_counts_for_as_long_as_it_held() {
        let mut parts = Parts::default();
        let script = [held(0, 20.0), held(45_000, 40.0), held(150_000, 0.0)];
        let mut before = None;
        for next in script {
            parts.follow(1, before, next);
            before = Some(next);
        }
        // 45 s of 20 and 15 s of 40.
        let first = stretch(&parts, Step::Minute, 0).unwrap();
        assert_eq!(first.mean(), Some(25.0));
        assert_eq!(
            (first.low, first.high, first.count),
            (Some(20.0), Some(40.0), 2)
        );
        assert_eq!(
            stretch(&parts, Step::Minute, 1),
            None,
            "40 throughout: filled in when read"
        );
        let last = stretch(&parts, Step::Minute, 2).unwrap();
        assert_eq!(
            (last.low, last.high, last.last),
            (Some(0.0), Some(40.0), Some(0.0))
        );
        assert_eq!((last.mean(), last.covered), (Some(40.0), 30_000));
        let hour = stretch(&parts, Step::Hour, 0).unwrap();
        assert_eq!((hour.mean(), hour.count), (Some(34.0), 3));
    }

    #[test]
    fn what_is_not_known_has_no_weight() {
        let mut parts = Parts::default();
        let gap = Held {
            at: 10_000,
            number: None,
        };
        parts.follow(1, None, held(0, 10.0));
        parts.follow(1, Some(held(0, 10.0)), gap);
        parts.follow(1, Some(gap), held(50_000, 30.0));
        parts.follow(1, Some(held(50_000, 30.0)), held(60_000, 5.0));
        let minute = stretch(&parts, Step::Minute, 0).unwrap();
        assert_eq!((minute.mean(), minute.covered), (Some(20.0), 20_000));
        // What ended as the next minute began did not hold within it.
        assert_eq!(stretch(&parts, Step::Minute, 1).unwrap().high, Some(5.0));
    }

    #[test]
    fn times_before_the_epoch_have_stretches_too() {
        let mut parts = Parts::default();
        parts.follow(1, Some(held(-90_000, 1.0)), held(-30_000, 2.0));
        assert_eq!(stretch(&parts, Step::Minute, -2).unwrap().covered, 30_000);
        assert_eq!(stretch(&parts, Step::Minute, -1).unwrap().covered, 30_000);
    }
}
