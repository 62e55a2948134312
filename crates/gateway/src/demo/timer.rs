//! Time in the simulation: its step, one-shot timers, and the timers that devices show.
//!
//! Everything counts steps down; nothing here knows a clock.

use std::time::Duration;

use super::node::Node;

/// The step of the simulation, in milliseconds.
pub(super) const STEP_MS: u64 = 250;

/// The step of the simulation.
pub(super) const STEP: Duration = Duration::from_millis(STEP_MS);

/// Ends once, some time after it was started.
pub(super) struct Timer {
    left_ms: u64,
}

impl Timer {
    /// A timer that does not run.
    pub(super) fn idle() -> Self {
        Self { left_ms: 0 }
    }

    /// A timer that ends after so many milliseconds, with the next step at the earliest.
    pub(super) fn of(ms: u64) -> Self {
        Self {
            left_ms: ms.max(STEP_MS),
        }
    }

    pub(super) fn running(&self) -> bool {
        self.left_ms > 0
    }

    /// Moves on; tells whether it ended with this step.
    pub(super) fn step(&mut self) -> bool {
        let was_running = self.running();
        self.left_ms = self.left_ms.saturating_sub(STEP_MS);
        was_running && !self.running()
    }
}

/// A data point that counts seconds down, such as `countdown_1`: 0 means that it does not run.
pub(super) struct Countdown {
    code: &'static str,
    left_ms: u64,
}

impl Countdown {
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, left_ms: 0 }
    }

    pub(super) fn running(&self) -> bool {
        self.left_ms > 0
    }

    /// Starts it, or stops it with 0.
    pub(super) fn start(&mut self, node: &mut Node, seconds: i64) {
        node.set(self.code, seconds);
        self.take(node);
    }

    /// Runs from the value that was written to its code, whatever code was written.
    pub(super) fn take(&mut self, node: &Node) {
        let seconds = u64::try_from(node.number(self.code)).unwrap_or(0);
        self.left_ms = seconds.saturating_mul(1000);
    }

    /// Follows up a write, if it is its own code that was written.
    pub(super) fn written(&mut self, node: &Node, code: &str) {
        if code == self.code {
            self.take(node);
        }
    }

    /// Moves on, reporting every five seconds; tells whether it ended with this step.
    pub(super) fn step(&mut self, node: &mut Node) -> bool {
        if !self.running() {
            return false;
        }
        self.left_ms = self.left_ms.saturating_sub(STEP_MS);
        if self.left_ms.is_multiple_of(REPORT_MS) {
            node.set(
                self.code,
                i64::try_from(self.left_ms / 1000).unwrap_or(i64::MAX),
            );
        }
        !self.running()
    }
}

/// The pair `countdown_set` (`cancel`, `1h`, ..) and `countdown_left` in minutes.
pub(super) struct HourTimer {
    minute: Timer,
}

impl HourTimer {
    pub(super) fn new() -> Self {
        Self {
            minute: Timer::idle(),
        }
    }

    /// Follows up a write: a new choice starts it, switching off cancels it.
    pub(super) fn written(&mut self, node: &mut Node, code: &str) {
        if code == "switch" && !node.flag("switch") {
            self.cancel(node);
        }
        if code == "countdown_set" {
            let choice = CHOICES
                .iter()
                .find(|(word, _)| node.is("countdown_set", word));
            match choice {
                Some((_, minutes)) => {
                    node.set("countdown_left", *minutes);
                    self.minute = Timer::of(MINUTE_MS);
                }
                None => self.cancel(node),
            }
        }
    }

    /// Moves on; tells whether it ended with this step.
    pub(super) fn step(&mut self, node: &mut Node) -> bool {
        if !self.minute.step() {
            return false;
        }
        let left = node.number("countdown_left") - 1;
        if left > 0 {
            node.set("countdown_left", left);
            self.minute = Timer::of(MINUTE_MS);
            return false;
        }
        self.cancel(node);
        true
    }

    fn cancel(&mut self, node: &mut Node) {
        node.set("countdown_set", "cancel");
        node.set("countdown_left", 0);
        self.minute = Timer::idle();
    }
}

const REPORT_MS: u64 = 5000;
const MINUTE_MS: u64 = 60_000;
const CHOICES: [(&str, i64); 3] = [("1h", 60), ("2h", 120), ("4h", 240)];
