//! Electricity: a metering plug with a load behind it, and the meter of the whole house.
//!
//! Power is in tenths of a watt and time in milliseconds, so that energy adds up exactly: a watt-hour
//! is a fixed number of their products, and what does not fill one yet is carried over.

use super::Model;
use super::node::Node;
use super::timer::{Countdown, STEP_MS, Timer};
use super::world::World;

/// Adds power up to energy.
struct Energy {
    /// Tenths of a watt times milliseconds that fill no whole watt-hour yet.
    rest: i64,
}

impl Energy {
    /// Adds one step at this power to a data point in watt-hours, which starts again beyond `max`.
    fn add(&mut self, node: &mut Node, code: &str, power: i64, max: i64) {
        self.rest += power * STEP_MS.cast_signed();
        let whole = self.rest / WATT_HOUR;
        self.rest -= whole * WATT_HOUR;
        if whole > 0 {
            node.set(code, (node.number(code) + whole) % (max + 1));
        }
    }
}

/// A metering plug; behind it, a desk with a computer whose load varies a little.
pub(super) struct Plug {
    countdown: Countdown,
    energy: Energy,
    /// What the desk draws while it has power.
    desk: i64,
}

impl Plug {
    pub(super) fn new() -> Self {
        Self {
            countdown: Countdown::new("countdown_1"),
            energy: Energy { rest: 0 },
            desk: 845,
        }
    }

    fn measure(&self, node: &mut Node) {
        let power = if node.flag("switch_1") { self.desk } else { 0 };
        node.set("cur_power", power);
        node.set(
            "cur_current",
            milliamperes(power, node.number("cur_voltage")),
        );
    }
}

impl Model for Plug {
    fn written(&mut self, node: &mut Node, code: &str) {
        self.countdown.written(node, code);
        self.measure(node);
    }

    fn load(&self, node: &Node) -> i64 {
        node.number("cur_power")
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        let power = node.number("cur_power");
        self.energy.add(node, "add_ele", power, 50_000);
        let ended = self.countdown.step(node);
        if ended {
            node.set("switch_1", !node.flag("switch_1"));
        }
        if world.every(1000) {
            let pull = (850 - self.desk) / 15;
            self.desk = (self.desk + pull + world.wobble(30)).clamp(500, 1400);
        }
        if world.every(5000) {
            node.set("cur_voltage", world.voltage);
        }
        if ended || world.every(1000) {
            self.measure(node);
        }
    }
}

/// The meter: all devices that draw power, and what else runs in the house.
pub(super) struct Meter {
    energy: Energy,
    fridge: Timer,
    fridge_on: bool,
    kettle: Timer,
    kettle_on: bool,
}

impl Meter {
    pub(super) fn new(world: &mut World) -> Self {
        Self {
            energy: Energy { rest: 0 },
            fridge: Timer::of(world.between(20, 60)),
            fridge_on: true,
            kettle: Timer::of(world.between(90, 200)),
            kettle_on: false,
        }
    }

    fn others(&self) -> i64 {
        let fridge = if self.fridge_on { FRIDGE } else { 0 };
        let kettle = if self.kettle_on { KETTLE } else { 0 };
        ALWAYS_ON + fridge + kettle
    }
}

impl Model for Meter {
    fn step(&mut self, node: &mut Node, world: &mut World) {
        let power = world.load + self.others();
        self.energy
            .add(node, "forward_energy_total", power, 999_999_999);
        if world.every(1000) {
            node.set("cur_power", power);
            let current = milliamperes(power, world.voltage);
            node.set("phase_a", &*base64(&phase(world.voltage, current, power)));
            let fault = if power > HIGH_POWER {
                HIGH_POWER_FLAG
            } else {
                0
            };
            node.set("fault", fault);
        }
        if world.every(20_000) {
            node.set("supply_frequency", 5000 + world.wobble(4));
        }
        if self.fridge.step() {
            self.fridge_on = !self.fridge_on;
            self.fridge = Timer::of(world.between(60, 120));
        }
        if self.kettle.step() {
            self.kettle_on = !self.kettle_on;
            self.kettle = Timer::of(if self.kettle_on {
                world.between(40, 70)
            } else {
                world.between(240, 480)
            });
        }
    }
}

/// Returns the current, in milliamperes, of a power in tenths of a watt at tenths of a volt.
fn milliamperes(power: i64, voltage: i64) -> i64 {
    (power * 1000).checked_div(voltage).unwrap_or(0)
}

/// Returns a phase as meters pack it: voltage (0.1 V, 2 bytes), current (mA, 3), power (W, 3).
fn phase(voltage: i64, current: i64, power: i64) -> [u8; 8] {
    let [_, _, _, _, _, _, v1, v0] = voltage.to_be_bytes();
    let [_, _, _, _, _, c2, c1, c0] = current.to_be_bytes();
    let [_, _, _, _, _, p2, p1, p0] = (power / 10).to_be_bytes();
    [v1, v0, c2, c1, c0, p2, p1, p0]
}

/// Returns standard base64 with padding, the wire's form of Raw.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0usize, |word, index| {
            word << 8 | usize::from(chunk.get(index).copied().unwrap_or(0))
        });
        for index in 0..4 {
            let digit = BASE64.get(word >> (18 - 6 * index) & 63);
            let digit = digit.filter(|_| index <= chunk.len());
            text.push(digit.copied().map_or('=', char::from));
        }
    }
    text
}

/// One watt-hour in tenths of a watt times milliseconds.
const WATT_HOUR: i64 = 10 * 3_600_000;
const ALWAYS_ON: i64 = 480;
const FRIDGE: i64 = 820;
const KETTLE: i64 = 21_500;
/// Beyond this power the meter raises `high_power_alarm`, the third of its flags.
const HIGH_POWER: i64 = 20_000;
const HIGH_POWER_FLAG: i64 = 1 << 2;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
