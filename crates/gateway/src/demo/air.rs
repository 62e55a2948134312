//! Air: a dehumidifier whose tank fills up, a fan, and a monitor of what people breathe.
//!
//! The dehumidifier dries the air of [`World`]; the monitor reads it there.

use super::Model;
use super::node::Node;
use super::timer::{HourTimer, STEP_MS, Timer};
use super::world::{Room, World};

/// A dehumidifier. A full tank is its fault `tankfull`, until somebody empties it.
pub(super) struct Dehumidifier {
    room: Room,
    hours: HourTimer,
    running: bool,
    /// How long it ran since the tank was emptied.
    ran_ms: u64,
    emptying: Timer,
}

impl Dehumidifier {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            hours: HourTimer::new(),
            running: false,
            ran_ms: 0,
            emptying: Timer::idle(),
        }
    }
}

impl Model for Dehumidifier {
    fn written(&mut self, node: &mut Node, code: &str) {
        self.hours.written(node, code);
        self.running &= node.flag("switch");
    }

    fn load(&self, node: &Node) -> i64 {
        match (node.flag("switch"), self.running) {
            (_, true) => 1850,
            (true, false) => 60,
            (false, false) => 8,
        }
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.hours.step(node) {
            node.set("switch", false);
        }
        let wanted = node.number("dehumidify_set_value") * 10;
        let ready = node.flag("switch") && node.number("fault") == 0;
        let air = world.air(self.room);
        let humidity = air.permille();
        // A gap between on and off, so that the compressor does not chatter.
        let above = wanted + if self.running { -10 } else { 20 };
        self.running = ready && humidity > above;
        air.dried = self.running;
        if world.every(5000) {
            node.set("humidity_indoor", (humidity + 5) / 10);
        }
        if self.running {
            self.ran_ms += STEP_MS;
            if self.ran_ms >= TANK_MS {
                node.set("fault", TANK_FULL);
                self.emptying = Timer::of(world.between(25, 60));
            }
        }
        if self.emptying.step() {
            node.set("fault", 0);
            self.ran_ms = 0;
        }
    }
}

/// A fan. In the mode `nature` it changes its speed by itself, like a breeze.
pub(super) struct Fan {
    hours: HourTimer,
}

impl Fan {
    pub(super) fn new() -> Self {
        Self {
            hours: HourTimer::new(),
        }
    }
}

impl Model for Fan {
    fn written(&mut self, node: &mut Node, code: &str) {
        self.hours.written(node, code);
        if code == "fan_speed" && node.is("mode", "nature") {
            node.set("mode", "normal");
        }
    }

    fn load(&self, node: &Node) -> i64 {
        if node.flag("switch") {
            40 + 55 * node.number("fan_speed")
        } else {
            6
        }
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.hours.step(node) {
            node.set("switch", false);
        }
        let breeze = node.flag("switch") && node.is("mode", "nature");
        if breeze && world.every(10_000) {
            let speed = node.number("fan_speed") + world.wobble(1);
            node.set("fan_speed", speed.clamp(1, 5));
        }
    }
}

/// A monitor of carbon dioxide, fine dust, temperature and humidity; it only reports.
pub(super) struct AirMonitor {
    room: Room,
    /// Parts per million, times 100.
    co2: i64,
    /// Where it tends to: high with people in the room, low with the window open.
    tendency: i64,
    change: Timer,
}

impl AirMonitor {
    pub(super) fn new(room: Room, world: &mut World) -> Self {
        Self {
            room,
            co2: 64_000,
            tendency: STUFFY,
            change: Timer::of(world.between(60, 150)),
        }
    }
}

impl Model for AirMonitor {
    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.change.step() {
            self.tendency = if self.tendency == STUFFY {
                FRESH
            } else {
                STUFFY
            };
            self.change = Timer::of(world.between(90, 240));
        }
        if world.every(2000) {
            self.co2 += (self.tendency - self.co2) / 60 + world.wobble(300);
            self.co2 = self.co2.clamp(40_000, 200_000);
            let ppm = self.co2 / 100;
            node.set("co2_value", ppm);
            if ppm > 1200 {
                node.set("co2_state", "alarm");
            } else if ppm < 1150 {
                node.set("co2_state", "normal");
            }
            let air = world.air(self.room);
            let (tenths, permille) = (air.tenths(), air.permille());
            node.set("temp_current", tenths);
            node.set("humidity_value", (permille + 5) / 10);
        }
        if world.every(15_000) {
            let dust = node.number("pm25_value") + world.wobble(2);
            node.set("pm25_value", dust.clamp(3, 40));
        }
    }
}

/// How long the compressor runs until the tank is full.
const TANK_MS: u64 = 240_000;
/// The first flag of `fault`.
const TANK_FULL: i64 = 1;
const STUFFY: i64 = 130_000;
const FRESH: i64 = 52_000;
