//! The simulated home of `hearthgate demo`: twenty devices that live without any hardware.
//!
//! A pure simulation: the time that passes and the seed are arguments, reports come back as the same
//! [`Change`]s that any driver gives to the registry. Inside, time moves in steps of 250 ms, so that
//! the same seed and the same calls always make the same reports, however the time is cut.
//!
//! ```text
//!   profiles/*.json --> Node   (what a device declares, its values, what it has yet to report)
//!                         |
//!   tick, write -----> Model   (what that kind of device does: lights, power, covers, climate, ..)
//!                         |
//!                       World  (what they share: chance, the air of the rooms, the mains, cues)
//! ```

mod air;
mod alarms;
mod climate;
mod covers;
mod garden;
mod lights;
mod node;
mod power;
mod remotes;
mod sensors;
#[cfg(test)]
mod tests;
mod timer;
mod world;

use std::time::Duration;

use hearthgate_protocol::model::{Change, Reading};
use hearthgate_protocol::wire::Profile;

use self::air::{AirMonitor, Dehumidifier, Fan};
use self::alarms::{LeakSensor, Siren, SmokeAlarm};
use self::climate::{ClimateSensor, Heater};
use self::covers::Curtain;
use self::garden::Valve;
use self::lights::{HallLight, LivingLight, WallSwitch};
use self::node::Node;
use self::power::{Meter, Plug};
use self::remotes::{Button, InfraredRemote};
use self::sensors::{Battery, Door, Motion};
use self::timer::{STEP, Timer};
use self::world::{Cue, Room, World};

/// A home whose devices live: values drift, people come and go, what is written has consequences.
pub struct DemoHome {
    units: Vec<Unit>,
    world: World,
    outage: Outage,
    /// Time that passed but fills no whole step yet.
    owed: Duration,
}

impl DemoHome {
    /// Makes the home; the same seed gives the same life.
    pub fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        let units = units(&mut world);
        let outage = Outage::new(&mut world);
        Self {
            units,
            world,
            outage,
            owed: Duration::ZERO,
        }
    }

    /// Returns the devices with their values as they are now; before the first tick, the initial ones.
    pub fn profiles(&self) -> Vec<Profile> {
        self.units
            .iter()
            .map(|unit| unit.node.profile().clone())
            .collect()
    }

    /// Lets time pass; returns what the devices report meanwhile, in order: only [`Change::State`]
    /// and [`Change::Online`].
    pub fn tick(&mut self, elapsed: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        self.owed += elapsed;
        while let Some(rest) = self.owed.checked_sub(STEP) {
            self.owed = rest;
            self.step(&mut changes);
        }
        changes
    }

    /// Writes data points of one device, all in one batch; returns what it reports at once.
    ///
    /// The values must have been checked against the schema. Each is reported, equal or not, except
    /// where its code only takes writes; what follows from them physically is in the same report or
    /// in later ticks. An unknown device reports nothing, nor does one that is out of reach.
    pub fn write(&mut self, device: &str, readings: &[Reading]) -> Vec<Change> {
        let Some(unit) = self
            .units
            .iter_mut()
            .find(|unit| unit.node.id().as_str() == device)
        else {
            return Vec::new();
        };
        unit.node.begin_write(readings);
        for reading in readings {
            unit.model.written(&mut unit.node, reading.code.as_str());
        }
        unit.node.end_write();
        unit.node.take_report().into_iter().collect()
    }

    /// Tells whether a device is there and in reach.
    pub fn is_online(&self, device: &str) -> bool {
        self.units
            .iter()
            .any(|unit| unit.node.id().as_str() == device && unit.node.online())
    }

    fn step(&mut self, changes: &mut Vec<Change>) {
        let load = self
            .units
            .iter()
            .map(|unit| unit.model.load(&unit.node))
            .sum();
        let cues = self.world.begin_step(load);
        for unit in &mut self.units {
            unit.step(&cues, &mut self.world);
        }
        changes.extend(
            self.units
                .iter_mut()
                .filter_map(|unit| unit.node.take_report()),
        );
        changes.extend(self.outage.step(&mut self.units, &mut self.world));
    }
}

/// One device: what it is, and what makes it live.
struct Unit {
    node: Node,
    model: Box<dyn Model>,
    battery: Option<Battery>,
}

impl Unit {
    fn new(profile: &str, model: impl Model + 'static, world: &mut World) -> Self {
        let node = Node::parse(profile);
        let battery = Battery::of(&node, world);
        Self {
            node,
            model: Box::new(model),
            battery,
        }
    }

    fn step(&mut self, cues: &[Cue], world: &mut World) {
        // Automations run in the gateway: a device out of reach hears no cue and gives none.
        if self.node.online() {
            for cue in cues {
                self.model.hear(&mut self.node, *cue);
            }
        }
        let given = world.cues();
        self.model.step(&mut self.node, world);
        if !self.node.online() {
            world.forget_cues(given);
        }
        if let Some(battery) = &mut self.battery {
            battery.step(&mut self.node, world);
        }
    }
}

/// What a kind of device does. Everything it shows lies in its [`Node`]; a model keeps the rest.
trait Model: Send {
    /// Follows up the write of a code that [`Node`] has already taken over.
    fn written(&mut self, _node: &mut Node, _code: &str) {}

    /// Reacts to what another device noticed in the step before.
    fn hear(&mut self, _node: &mut Node, _cue: Cue) {}

    /// Returns what it draws from the mains, in tenths of a watt.
    fn load(&self, _node: &Node) -> i64 {
        0
    }

    /// Lives for one step.
    fn step(&mut self, node: &mut Node, world: &mut World);
}

/// Takes one device after the other out of reach for a while, with a pause between.
struct Outage {
    pause: Timer,
    away: Timer,
    device: usize,
}

impl Outage {
    fn new(world: &mut World) -> Self {
        Self {
            pause: Timer::of(world.between(35, 55)),
            away: Timer::idle(),
            device: 0,
        }
    }

    fn step(&mut self, units: &mut [Unit], world: &mut World) -> Option<Change> {
        if self.pause.step() {
            self.away = Timer::of(world.between(5, 15));
            self.device = world.pick(units.len());
            return units.get_mut(self.device).map(|unit| unit.node.drop_off());
        }
        if self.away.step() {
            self.pause = Timer::of(world.between(60, 150));
            return units.get_mut(self.device).map(|unit| unit.node.come_back());
        }
        None
    }
}

/// Embeds the profile of a device.
macro_rules! profile {
    ($name:literal) => {
        include_str!(concat!("profiles/", $name, ".json"))
    };
}

#[rustfmt::skip] // a table
fn units(world: &mut World) -> Vec<Unit> {
    vec![
        Unit::new(profile!("hall-light"), HallLight::new(), world),
        Unit::new(profile!("living-room-light"), LivingLight::new(), world),
        Unit::new(profile!("kitchen-light"), WallSwitch::new(world), world),
        Unit::new(profile!("office-plug"), Plug::new(), world),
        Unit::new(profile!("electricity-meter"), Meter::new(world), world),
        Unit::new(profile!("living-room-curtain"), Curtain::new(), world),
        Unit::new(profile!("living-room-thermostat"), Heater::new(Room::Living), world),
        Unit::new(profile!("bedroom-radiator"), Heater::new(Room::Bedroom), world),
        Unit::new(profile!("bathroom-climate"), ClimateSensor::new(Room::Bathroom), world),
        Unit::new(profile!("bathroom-dehumidifier"), Dehumidifier::new(Room::Bathroom), world),
        Unit::new(profile!("bedroom-air"), AirMonitor::new(Room::Bedroom, world), world),
        Unit::new(profile!("bedroom-fan"), Fan::new(), world),
        Unit::new(profile!("front-door"), Door::new(world), world),
        Unit::new(profile!("hall-motion"), Motion::new(world), world),
        Unit::new(profile!("laundry-leak"), LeakSensor::new(world), world),
        Unit::new(profile!("landing-smoke"), SmokeAlarm::new(world), world),
        Unit::new(profile!("indoor-siren"), Siren::new(), world),
        Unit::new(profile!("living-room-button"), Button::new(world), world),
        Unit::new(profile!("garden-valve"), Valve::new(world), world),
        Unit::new(profile!("living-room-remote"), InfraredRemote::new(), world),
    ]
}
