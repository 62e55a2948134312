//! What notices people: a door contact and a motion sensor; and the batteries of all small devices.
//!
//! People come by chance; what they cause goes to other devices as cues of [`World`].

use super::Model;
use super::node::Node;
use super::timer::Timer;
use super::world::{Cue, World};

/// A door contact: the door opens at times and closes a little later.
pub(super) struct Door {
    pause: Timer,
    open: Timer,
}

impl Door {
    pub(super) fn new(world: &mut World) -> Self {
        Self {
            pause: Timer::of(world.between(8, 20)),
            open: Timer::idle(),
        }
    }
}

impl Model for Door {
    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.pause.step() {
            node.set("doorcontact_state", true);
            world.tell(Cue::Arrival);
            self.open = Timer::of(world.between(3, 9));
        }
        if self.open.step() {
            node.set("doorcontact_state", false);
            self.pause = Timer::of(world.between(40, 120));
        }
    }
}

/// A motion sensor in the hall: it sees who comes through the door, and others.
pub(super) struct Motion {
    pause: Timer,
    /// Runs until nobody was seen for a while.
    seen: Timer,
}

impl Motion {
    pub(super) fn new(world: &mut World) -> Self {
        Self {
            pause: Timer::of(world.between(3, 8)),
            seen: Timer::idle(),
        }
    }
}

impl Model for Motion {
    fn hear(&mut self, _node: &mut Node, cue: Cue) {
        if cue == Cue::Arrival && !self.seen.running() {
            self.pause = Timer::of(1500);
        }
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.pause.step() {
            node.set("pir", "pir");
            world.tell(Cue::Motion);
            self.seen = Timer::of(world.between(7, 14));
        }
        if self.seen.step() {
            node.set("pir", "none");
            world.tell(Cue::Still);
            self.pause = Timer::of(world.between(25, 70));
        }
        if world.every(6000) {
            let lux = node.number("illuminance_value") + world.wobble(6);
            node.set("illuminance_value", lux.clamp(20, 140));
        }
    }
}

/// A battery: about a percent every eight minutes, much faster than a real one, so that it shows.
pub(super) struct Battery {
    next: Timer,
}

impl Battery {
    /// Returns the battery of a device that has one.
    pub(super) fn of(node: &Node, world: &mut World) -> Option<Self> {
        node.has(LEVEL).then(|| Self {
            next: Timer::of(world.between(60, 540)),
        })
    }

    /// Drains it for one step; somebody replaces it before it is empty.
    pub(super) fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.next.step() {
            let level = node.number(LEVEL);
            node.set(LEVEL, if level > 5 { level - 1 } else { 100 });
            self.next = Timer::of(world.between(420, 540));
        }
    }
}

const LEVEL: &str = "battery_percentage";
