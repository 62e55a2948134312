//! The garden: an irrigation valve that closes by itself.
//!
//! It opens by its own schedule or by a write, counts down, and adds up how long it was open. Only a
//! write that opens it with a countdown of 0 leaves it open until the next one.

use super::Model;
use super::node::Node;
use super::timer::{Countdown, STEP_MS, Timer};
use super::world::World;

/// An irrigation valve.
pub(super) struct Valve {
    schedule: Timer,
    countdown: Countdown,
    /// How long it has been open, while it is.
    open_ms: Option<u64>,
}

impl Valve {
    pub(super) fn new(world: &mut World) -> Self {
        Self {
            schedule: Timer::of(world.between(20, 45)),
            countdown: Countdown::new("countdown"),
            open_ms: None,
        }
    }

    fn open(&mut self, node: &mut Node, by: &str, seconds: i64) {
        if self.open_ms.is_some() {
            return;
        }
        self.open_ms = Some(0);
        node.set("switch", true);
        node.set("work_state", by);
        node.set("use_time_one", 0);
        // A countdown that was set beforehand stands.
        self.countdown.take(node);
        if !self.countdown.running() {
            self.countdown.start(node, seconds);
        }
    }

    fn close(&mut self, node: &mut Node) {
        if let Some(open_ms) = self.open_ms.take() {
            count(node, open_ms % REPORT_MS);
        }
        node.set("switch", false);
        node.set("work_state", "idle");
        self.countdown.start(node, 0);
    }
}

impl Model for Valve {
    fn written(&mut self, node: &mut Node, code: &str) {
        match code {
            "switch" if node.flag("switch") => self.open(node, "manual", BY_HAND_S),
            "switch" => self.close(node),
            // While the valve is closed, it is the time for its next opening.
            "countdown" if self.open_ms.is_some() => self.countdown.take(node),
            _ => {}
        }
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.schedule.step() {
            self.schedule = Timer::of(world.between(180, 360));
            if node.is("weather_delay", "cancel") {
                self.open(node, "auto", BY_SCHEDULE_S);
            }
        }
        if let Some(open_ms) = &mut self.open_ms {
            *open_ms += STEP_MS;
            if open_ms.is_multiple_of(REPORT_MS) {
                count(node, REPORT_MS);
            }
            if self.countdown.step(node) {
                self.close(node);
            }
        }
    }
}

/// Adds time to what the valve shows, in whole seconds.
fn count(node: &mut Node, ms: u64) {
    let seconds = i64::try_from(ms / 1000).unwrap_or(0);
    let this_time = node.number("use_time_one") + seconds;
    node.set("use_time_one", this_time.min(DAY_S));
    let total = node.number("time_use") + seconds;
    node.set("time_use", total % (30 * DAY_S + 1));
}

/// How long it stays open after a write that sets no countdown.
const BY_HAND_S: i64 = 120;
const BY_SCHEDULE_S: i64 = 60;
const DAY_S: i64 = 86_400;
const REPORT_MS: u64 = 5000;
