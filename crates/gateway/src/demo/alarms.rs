//! Alarms: a leak sensor, a smoke alarm with its self-test, and the siren that smoke sets off.
//!
//! Leaks and smoke are rare and harmless here. Smoke goes to the siren as a cue of [`World`].

use super::Model;
use super::node::Node;
use super::timer::{STEP_MS, Timer};
use super::world::{Cue, World};

/// A water leak sensor.
pub(super) struct LeakSensor {
    pause: Timer,
    wet: Timer,
}

impl LeakSensor {
    pub(super) fn new(world: &mut World) -> Self {
        Self {
            pause: Timer::of(world.between(150, 400)),
            wet: Timer::idle(),
        }
    }
}

impl Model for LeakSensor {
    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.pause.step() {
            node.set("watersensor_state", "alarm");
            self.wet = Timer::of(world.between(8, 16));
        }
        if self.wet.step() {
            node.set("watersensor_state", "normal");
            self.pause = Timer::of(world.between(600, 1200));
        }
    }
}

/// A smoke alarm.
pub(super) struct SmokeAlarm {
    pause: Timer,
    smoke: Timer,
    check: Timer,
    /// Whether it was silenced and nobody knows yet.
    hushed: bool,
}

impl SmokeAlarm {
    pub(super) fn new(world: &mut World) -> Self {
        Self {
            pause: Timer::of(world.between(240, 600)),
            smoke: Timer::idle(),
            check: Timer::idle(),
            hushed: false,
        }
    }
}

impl Model for SmokeAlarm {
    fn written(&mut self, node: &mut Node, code: &str) {
        match code {
            "self_checking" if node.flag("self_checking") => {
                node.set("checking_result", "checking");
                self.check = Timer::of(SELF_CHECK_MS);
            }
            "self_checking" if self.check.running() => {
                node.set("checking_result", "check_failure");
                self.check = Timer::idle();
            }
            "muffling" => self.hushed = node.flag("muffling"),
            _ => {}
        }
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.check.step() {
            node.set("checking_result", "check_success");
            node.set("self_checking", false);
        }
        if std::mem::take(&mut self.hushed) {
            world.tell(Cue::Hush);
        }
        if self.pause.step() {
            node.set("smoke_sensor_status", "alarm");
            node.set("smoke_sensor_value", 34 + world.wobble(9));
            world.tell(Cue::Smoke);
            self.smoke = Timer::of(world.between(10, 20));
        }
        if self.smoke.step() {
            node.set("smoke_sensor_status", "normal");
            node.set("smoke_sensor_value", 4);
            node.set("muffling", false);
            self.pause = Timer::of(world.between(900, 1500));
        }
        if world.every(20_000) && !self.smoke.running() {
            let haze = node.number("smoke_sensor_value") + world.wobble(1);
            node.set("smoke_sensor_value", haze.clamp(0, 8));
        }
    }
}

/// A siren: it stops by itself after its `alarm_time`.
pub(super) struct Siren {
    rung_ms: u64,
}

impl Siren {
    pub(super) fn new() -> Self {
        Self { rung_ms: 0 }
    }

    fn switch(&mut self, node: &mut Node, on: bool) {
        self.rung_ms = 0;
        node.set("alarm_switch", on);
        show(node);
    }
}

impl Model for Siren {
    fn written(&mut self, node: &mut Node, code: &str) {
        match code {
            "alarm_switch" => self.switch(node, node.flag("alarm_switch")),
            _ => show(node),
        }
    }

    fn hear(&mut self, node: &mut Node, cue: Cue) {
        match cue {
            Cue::Smoke => self.switch(node, true),
            Cue::Hush => self.switch(node, false),
            _ => {}
        }
    }

    fn step(&mut self, node: &mut Node, _world: &mut World) {
        if node.flag("alarm_switch") {
            self.rung_ms += STEP_MS;
            let allowed = u64::try_from(node.number("alarm_time")).unwrap_or(0);
            if self.rung_ms >= allowed * 1000 {
                self.switch(node, false);
            }
        }
    }
}

/// Shows what the siren does.
fn show(node: &mut Node) {
    let state = if !node.flag("alarm_switch") {
        "normal"
    } else if node.is("alarm_volume", "mute") {
        "alarm_light"
    } else {
        "alarm_sound_light"
    };
    node.set("alarm_state", state);
}

const SELF_CHECK_MS: u64 = 4000;
