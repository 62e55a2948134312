//! What the devices of the home share: chance, the air of the rooms, the mains, and cues.
//!
//! Models read it and leave their effects in it; only [`super::DemoHome`] moves it on.

use fastrand::Rng;

use super::timer::{STEP_MS, Timer};

/// What a device noticed and another one acts on: the home's few automations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cue {
    /// Somebody came through the door.
    Arrival,
    /// Somebody moves in the hall.
    Motion,
    /// Nobody moves in the hall any more.
    Still,
    /// The light key was pressed.
    LightKey,
    /// The light key was pressed twice in a row.
    SceneKey,
    /// The curtain key was pressed.
    CurtainKey,
    /// There is smoke.
    Smoke,
    /// Somebody silenced the smoke alarm.
    Hush,
}

/// A room with its own air.
#[derive(Clone, Copy)]
pub(super) enum Room {
    Living,
    Bedroom,
    Bathroom,
}

/// The surroundings of the devices.
pub(super) struct World {
    rng: Rng,
    steps: u64,
    /// Mains voltage, in tenths of a volt.
    pub(super) voltage: i64,
    /// What all devices draw together, in tenths of a watt.
    pub(super) load: i64,
    cues: Vec<Cue>,
    living: Air,
    bedroom: Air,
    bathroom: Air,
    next_shower: Timer,
    shower: Timer,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: Rng::with_seed(seed),
            steps: 0,
            voltage: 2302,
            load: 0,
            cues: Vec::new(),
            living: Air::new(203, 49),
            bedroom: Air::new(184, 47),
            bathroom: Air::new(220, 56),
            next_shower: Timer::idle(),
            shower: Timer::idle(),
        };
        world.next_shower = Timer::of(world.between(60, 120));
        world
    }

    /// Begins a step with what all devices draw; returns the cues of the step before.
    pub(super) fn begin_step(&mut self, load: i64) -> Vec<Cue> {
        self.steps += 1;
        self.load = load;
        if self.every(1000) {
            let pull = (2300 - self.voltage) / 20;
            self.voltage = (self.voltage + pull + self.rng.i64(-4..=4)).clamp(2200, 2400);
        }
        if self.next_shower.step() {
            self.shower = Timer::of(self.between(50, 80));
        }
        if self.shower.step() {
            self.next_shower = Timer::of(self.between(360, 600));
        }
        // The bathroom has a floor heating of its own.
        self.bathroom.heated = self.bathroom.temperature < BATHROOM_TARGET;
        self.bathroom.steamy = self.shower.running();
        for air in [&mut self.living, &mut self.bedroom, &mut self.bathroom] {
            air.step(&mut self.rng);
        }
        std::mem::take(&mut self.cues)
    }

    pub(super) fn air(&mut self, room: Room) -> &mut Air {
        match room {
            Room::Living => &mut self.living,
            Room::Bedroom => &mut self.bedroom,
            Room::Bathroom => &mut self.bathroom,
        }
    }

    /// Tells whether this step is one of those every so many milliseconds.
    pub(super) fn every(&self, ms: u64) -> bool {
        (self.steps * STEP_MS).is_multiple_of(ms)
    }

    /// Returns a random time between two limits in seconds, in milliseconds.
    pub(super) fn between(&mut self, from_s: u64, to_s: u64) -> u64 {
        self.rng.u64(from_s * 1000..=to_s * 1000)
    }

    /// Returns a random number from `-most` to `most`.
    pub(super) fn wobble(&mut self, most: i64) -> i64 {
        self.rng.i64(-most..=most)
    }

    /// Returns a random index below `count`, or 0.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        self.rng.usize(0..count.max(1))
    }

    /// Puts items into a random order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.rng.shuffle(items);
    }

    /// Tells the other devices something, from the next step on.
    pub(super) fn tell(&mut self, cue: Cue) {
        self.cues.push(cue);
    }

    /// Returns how many cues were given in this step so far.
    pub(super) fn cues(&self) -> usize {
        self.cues.len()
    }

    /// Takes back all but the first `count` cues of this step.
    pub(super) fn forget_cues(&mut self, count: usize) {
        self.cues.truncate(count);
    }
}

/// The air of a room. Rooms warm up and cool down some ten times faster than real ones.
pub(super) struct Air {
    /// In millionths of a degree.
    temperature: i64,
    /// Relative, in millionths of a percent.
    humidity: i64,
    /// Whether a heater warms it.
    pub(super) heated: bool,
    /// Whether a dehumidifier dries it.
    pub(super) dried: bool,
    steamy: bool,
}

impl Air {
    fn new(tenths: i64, percent: i64) -> Self {
        Self {
            temperature: tenths * 100_000 + 50_000,
            humidity: percent * MILLION,
            heated: false,
            dried: false,
            steamy: false,
        }
    }

    /// Returns the temperature in tenths of a degree.
    pub(super) fn tenths(&self) -> i64 {
        self.temperature.div_euclid(100_000)
    }

    /// Returns the relative humidity in tenths of a percent.
    pub(super) fn permille(&self) -> i64 {
        self.humidity.div_euclid(100_000)
    }

    fn step(&mut self, rng: &mut Rng) {
        let gain = if self.heated { HEATING } else { 0 };
        self.temperature += gain - (self.temperature - OUTSIDE) / LOSS;
        let steam = if self.steamy { STEAM } else { 0 };
        let drying = if self.dried { DRYING } else { 0 };
        let airing = (USUAL_HUMIDITY - self.humidity) / AIRING;
        self.humidity += steam - drying + airing + rng.i64(-20_000..=20_000);
        self.humidity = self.humidity.clamp(20 * MILLION, 95 * MILLION);
    }
}

const MILLION: i64 = 1_000_000;
const OUTSIDE: i64 = 8 * MILLION;
const BATHROOM_TARGET: i64 = 22 * MILLION;
const USUAL_HUMIDITY: i64 = 54 * MILLION;
/// A heater's gain per step: with the loss at 21 degrees, a net degree a minute.
const HEATING: i64 = 6000;
/// The share of the difference to the outside that is lost per step.
const LOSS: i64 = 6500;
/// The share of the difference to the usual humidity that goes per step.
const AIRING: i64 = 1200;
/// A shower's gain per step: some 30 percent a minute.
const STEAM: i64 = 125_000;
/// A dehumidifier's drain per step: some 6 percent a minute.
const DRYING: i64 = 25_000;
