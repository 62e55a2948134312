//! Two workloads in turn within one run: what the machine does meanwhile, it does to both.

use std::fmt;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often each is run.
pub(crate) const ROUNDS: usize = 15;

/// How two workloads stand to each other.
pub(crate) struct Ratio {
    /// The median time of ours.
    pub(crate) ours: Duration,
    /// The median time of the peer.
    pub(crate) theirs: Duration,
    /// The quotients ours by theirs, of each round, in order of size.
    quotients: Vec<f64>,
}

impl Ratio {
    /// Runs both in turn, each once unmeasured before.
    pub(crate) fn measure(
        mut ours: impl FnMut() -> Duration,
        mut theirs: impl FnMut() -> Duration,
    ) -> Self {
        ours();
        theirs();
        let mut times: Vec<(Duration, Duration)> =
            (0..ROUNDS).map(|_| (ours(), theirs())).collect();
        let mut quotients: Vec<f64> = times
            .iter()
            .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
            .collect();
        quotients.sort_by(f64::total_cmp);
        let middle = ROUNDS / 2;
        times.sort_by_key(|(ours, _)| *ours);
        let ours = times.get(middle).map(|(ours, _)| *ours).unwrap_or_default();
        times.sort_by_key(|(_, theirs)| *theirs);
        let theirs = times
            .get(middle)
            .map(|(_, theirs)| *theirs)
            .unwrap_or_default();
        Self {
            ours,
            theirs,
            quotients,
        }
    }

    /// Returns the median of the quotients: the part of the peer's time that ours takes.
    pub(crate) fn time(&self) -> f64 {
        self.at(ROUNDS / 2)
    }

    /// Returns the same as a rate: the part of the peer's rate that ours reaches.
    pub(crate) fn rate(&self) -> f64 {
        self.time().recip()
    }

    /// Returns the quartiles of the quotients.
    pub(crate) fn spread(&self) -> (f64, f64) {
        (self.at(ROUNDS / 4), self.at(ROUNDS - 1 - ROUNDS / 4))
    }

    fn at(&self, place: usize) -> f64 {
        self.quotients.get(place).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.spread();
        write!(
            f,
            "{:?} against {:?}: {:.2} of the time (quartiles {low:.2} to {high:.2}), {:.2} of the rate",
            self.ours,
            self.theirs,
            self.time(),
            self.rate()
        )
    }
}

/// Takes the processor's time of something that runs on this thread alone: what else the machine does
/// counts as far as it disturbs the caches.
pub(crate) fn timed<R>(run: impl FnOnce() -> R) -> Duration {
    let begin = thread_time();
    std::hint::black_box(run());
    thread_time().saturating_sub(begin)
}

fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}
