//! Times and rates: gathered while a load runs, summed up at its end.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Significant digits that a histogram keeps.
const DIGITS: u8 = 3;
/// The longest time that is told apart, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// Durations, as a histogram of nanoseconds.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    #[expect(clippy::expect_used, reason = "the bounds are constants that fit")]
    fn default() -> Self {
        Self(Histogram::new_with_max(LONGEST, DIGITS).expect("constant bounds"))
    }
}

impl Times {
    /// Adds one; what is over a minute counts as a minute.
    pub fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(LONGEST);
        self.0.saturating_record(nanos);
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds.
        let _ = self.0.add(&other.0);
    }

    /// Returns how many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the time that a share of them does not exceed, `percent` of 100.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percent))
    }

    /// Sums up.
    pub fn summary(&self) -> TimesSummary {
        let micros = |percent| self.percentile(percent).as_secs_f64() * 1e6;
        TimesSummary {
            count: self.count(),
            p50_us: micros(50.0),
            p90_us: micros(90.0),
            p99_us: micros(99.0),
            p999_us: micros(99.9),
            max_us: micros(100.0),
            histogram: self.steps(),
        }
    }

    fn steps(&self) -> Vec<Step> {
        // The iterator's own steps end before a power of two: it counts in buckets.
        let mut steps: Vec<Step> = (0..36)
            .map(|power| (1000_u64 << power, power))
            .scan(0, |below, (upper, power)| {
                let upto = self.0.count_between(0, upper.min(LONGEST));
                let count = upto - std::mem::replace(below, upto);
                Some(Step {
                    up_to_us: 2f64.powi(power),
                    count,
                })
            })
            .skip_while(|step| step.count == 0)
            .collect();
        while steps.last().is_some_and(|step| step.count == 0) {
            steps.pop();
        }
        steps
    }
}

/// Times summed up, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimesSummary {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50_us: f64,
    /// What nine in ten do not exceed.
    pub p90_us: f64,
    /// What 99 in a hundred do not exceed.
    pub p99_us: f64,
    /// What 999 in a thousand do not exceed.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// How they are spread, in steps of a factor two, those at the ends without any left out.
    pub histogram: Vec<Step>,
}

/// One step of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The longest time that counts here, in microseconds; all shorter steps excepted.
    pub up_to_us: f64,
    /// How many there are.
    pub count: u64,
}

/// Figures of repeated runs: the median, and how far they lie apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// In the order of the runs.
    pub runs: Vec<f64>,
    /// The middle one; the mean of the two in the middle where their number is even.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Sums runs up; of none all figures are 0.
    pub fn of(runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => 0.0,
            count if count % 2 == 1 => at(middle),
            _ => f64::midpoint(at(middle - 1), at(middle)),
        };
        Self {
            median,
            min: at(0),
            max: sorted.last().copied().unwrap_or_default(),
            runs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_spread_its_ends() {
        let odd = Spread::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        assert_eq!(odd.runs, [3.0, 1.0, 2.0]);
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(Vec::new()).median, 0.0);
    }

    #[test]
    fn times_keep_three_digits_and_what_is_too_long_counts_as_a_minute() {
        let mut times = Times::default();
        for micros in 1..=1000 {
            times.add(Duration::from_micros(micros));
        }
        let summary = times.summary();
        assert_eq!(summary.count, 1000);
        assert!((summary.p50_us - 500.0).abs() <= 1.0, "{summary:?}");
        assert!((summary.p99_us - 990.0).abs() <= 2.0, "{summary:?}");
        times.add(Duration::from_secs(3600));
        assert!((times.summary().max_us - 60e6).abs() < 1e5);
        let steps = times.summary().histogram;
        let counted: u64 = steps.iter().map(|step| step.count).sum();
        assert_eq!(counted, 1001, "{steps:?}");
        let up_to_64 = steps.iter().find(|step| step.up_to_us == 64.0);
        assert_eq!(up_to_64.map(|step| step.count), Some(32), "{steps:?}");
    }
}
