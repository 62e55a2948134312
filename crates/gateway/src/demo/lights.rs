//! The lights: a dimmable one that follows motion, a coloured one that follows a button, and a wall
//! switch with two channels.
//!
//! Their values come from writes, from their own countdowns and from cues of sensors and buttons; what
//! they draw goes to the meter.

use super::Model;
use super::node::Node;
use super::timer::{Countdown, Timer};
use super::world::{Cue, World};

/// A dimmable white light. Motion turns it on, and off again some time after the last motion; a
/// person who switches it by hand is left in charge.
pub(super) struct HallLight {
    countdown: Countdown,
    /// Whether motion turned it on.
    automatic: bool,
    leaving: Timer,
}

impl HallLight {
    pub(super) fn new() -> Self {
        Self {
            countdown: Countdown::new("countdown_1"),
            automatic: false,
            leaving: Timer::idle(),
        }
    }
}

impl Model for HallLight {
    fn written(&mut self, node: &mut Node, code: &str) {
        if code == "switch_led" {
            self.automatic = false;
            self.leaving = Timer::idle();
        }
        self.countdown.written(node, code);
    }

    fn hear(&mut self, node: &mut Node, cue: Cue) {
        match cue {
            Cue::Motion => {
                self.automatic |= !node.flag("switch_led");
                self.leaving = Timer::idle();
                node.set("switch_led", true);
            }
            Cue::Still if self.automatic => self.leaving = Timer::of(LIGHT_AFTER_MOTION_MS),
            _ => {}
        }
    }

    fn load(&self, node: &Node) -> i64 {
        lamp_load(node, 85)
    }

    fn step(&mut self, node: &mut Node, _world: &mut World) {
        if self.leaving.step() {
            self.automatic = false;
            node.set("switch_led", false);
        }
        if self.countdown.step(node) {
            self.automatic = false;
            node.set("switch_led", !node.flag("switch_led"));
        }
    }
}

/// A light with colours and scenes; the living room's button switches it.
pub(super) struct LivingLight {
    countdown: Countdown,
}

impl LivingLight {
    pub(super) fn new() -> Self {
        Self {
            countdown: Countdown::new("countdown_1"),
        }
    }
}

impl Model for LivingLight {
    fn written(&mut self, node: &mut Node, code: &str) {
        match code {
            "bright_value_v2" | "temp_value_v2" => node.set("work_mode", "white"),
            "colour_data_v2" => node.set("work_mode", "colour"),
            "scene_data_v2" => node.set("work_mode", "scene"),
            _ => self.countdown.written(node, code),
        }
    }

    fn hear(&mut self, node: &mut Node, cue: Cue) {
        match cue {
            Cue::LightKey => {
                node.set("switch_led", !node.flag("switch_led"));
                node.set("work_mode", "white");
            }
            Cue::SceneKey => {
                node.set("switch_led", true);
                node.set("work_mode", "scene");
            }
            _ => {}
        }
    }

    fn load(&self, node: &Node) -> i64 {
        if node.is("work_mode", "white") {
            lamp_load(node, 120)
        } else if node.flag("switch_led") {
            75
        } else {
            STANDBY
        }
    }

    fn step(&mut self, node: &mut Node, _world: &mut World) {
        if self.countdown.step(node) {
            node.set("switch_led", !node.flag("switch_led"));
        }
    }
}

/// A wall switch with the kitchen's ceiling light and worktop light; people use the second at times.
pub(super) struct WallSwitch {
    channels: [(&'static str, Countdown, i64); 2],
    worktop: Timer,
}

impl WallSwitch {
    pub(super) fn new(world: &mut World) -> Self {
        Self {
            channels: [
                ("switch_1", Countdown::new("countdown_1"), 260),
                ("switch_2", Countdown::new("countdown_2"), 110),
            ],
            worktop: Timer::of(world.between(15, 40)),
        }
    }
}

impl Model for WallSwitch {
    fn written(&mut self, node: &mut Node, code: &str) {
        for (_, countdown, _) in &mut self.channels {
            countdown.written(node, code);
        }
    }

    fn load(&self, node: &Node) -> i64 {
        self.channels
            .iter()
            .filter(|(switch, ..)| node.flag(switch))
            .map(|(_, _, load)| load)
            .sum()
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        for (switch, countdown, _) in &mut self.channels {
            if countdown.step(node) {
                node.set(switch, !node.flag(switch));
            }
        }
        if self.worktop.step() {
            node.set("switch_2", !node.flag("switch_2"));
            self.worktop = Timer::of(world.between(60, 180));
        }
    }
}

/// Returns what a lamp draws at its brightness, out of `full` at 1000.
fn lamp_load(node: &Node, full: i64) -> i64 {
    if node.flag("switch_led") {
        (full * node.number("bright_value_v2") / 1000).max(STANDBY)
    } else {
        STANDBY
    }
}

/// What a lamp draws while it is off.
const STANDBY: i64 = 4;
const LIGHT_AFTER_MOTION_MS: u64 = 12_000;
