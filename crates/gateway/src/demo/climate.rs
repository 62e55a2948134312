//! Warmth: thermostats that heat a room, and a sensor that measures one.
//!
//! Heaters warm the air of [`World`]; everything that measures reads it there, so that a write to a
//! thermostat shows in every sensor of its room.

use super::Model;
use super::node::Node;
use super::world::{Room, World};

/// A room thermostat or a radiator valve.
pub(super) struct Heater {
    room: Room,
}

impl Heater {
    pub(super) fn new(room: Room) -> Self {
        Self { room }
    }
}

impl Model for Heater {
    fn written(&mut self, node: &mut Node, code: &str) {
        match code {
            "temp_set" => node.set("mode", "manual"),
            "mode" if node.is("mode", "eco") => node.set("temp_set", ECO_TENTHS),
            "switch" if !node.flag("switch") => node.set("valve_state", "close"),
            _ => {}
        }
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        let air = world.air(self.room);
        let target = node.number("temp_set");
        let measured = air.tenths();
        let open = node.is("valve_state", "open");
        // A gap between on and off, so that the valve does not chatter.
        let below = target - if open { -HYSTERESIS } else { HYSTERESIS };
        let heat = node.flag("switch") && measured < below;
        air.heated = heat;
        if heat != open {
            node.set("valve_state", if heat { "open" } else { "close" });
        }
        if world.every(1000) {
            node.set("temp_current", measured);
        }
    }
}

/// A battery sensor for temperature and humidity with alarm limits.
pub(super) struct ClimateSensor {
    room: Room,
}

impl ClimateSensor {
    pub(super) fn new(room: Room) -> Self {
        Self { room }
    }

    fn compare(node: &mut Node) {
        let measured = node.number("va_temperature");
        let alarm = if measured > node.number("maxtemp_set") {
            "upperalarm"
        } else if measured < node.number("minitemp_set") {
            "loweralarm"
        } else {
            "cancel"
        };
        node.set("temp_alarm", alarm);
    }
}

impl Model for ClimateSensor {
    fn written(&mut self, node: &mut Node, _code: &str) {
        Self::compare(node);
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        if world.every(2000) {
            let air = world.air(self.room);
            node.set("va_temperature", air.tenths());
            node.set("va_humidity", air.permille());
            Self::compare(node);
        }
    }
}

/// What the mode `eco` sets, in tenths of a degree.
const ECO_TENTHS: i64 = 170;
/// In tenths of a degree, to both sides.
const HYSTERESIS: i64 = 2;
