//! Seeded scripts of what devices do.

use std::sync::Arc;

use hearthgate_protocol::model::{
    Change, DataPoint, Device, Home, Reading, Schema, Source, Stamp, Timestamp, Value,
};

const STAMP: Stamp = Stamp {
    at: Timestamp(0),
    source: Source::Event,
};

/// Returns the seeds of a test: those of `HEARTHGATE_SEED` alone, where that is set, to repeat a failure.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("HEARTHGATE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

/// Makes so many switches with a countdown each.
pub fn switches(count: usize) -> Vec<Device> {
    (0..count)
        .map(|number| switch(&format!("switch-{number:05}"), false))
        .collect()
}

fn switch(id: &str, on: bool) -> Device {
    let points = vec![
        DataPoint::new("switch_1", "Boolean", Value::from("{}")),
        DataPoint::new(
            "countdown_1",
            "Integer",
            Value::from("{\"unit\":\"s\",\"min\":0,\"max\":43200,\"scale\":0,\"step\":1}"),
        ),
    ];
    let schema = Arc::new(Schema::new("kg", points.clone(), points));
    let readings = [
        Reading::new("switch_1", Value::from(on)),
        Reading::new("countdown_1", Value::from(0)),
    ];
    Device::new(id.into(), schema, true, readings, STAMP)
}

/// Makes changes at random, and knows what the home must be after them.
#[derive(Debug)]
pub struct Script {
    random: fastrand::Rng,
    made: usize,
    /// What the devices are after all changes so far.
    pub expected: Home,
}

impl Script {
    /// Begins with some devices.
    pub fn new(seed: u64, devices: Vec<Device>) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self {
            random,
            made: devices.len(),
            expected: devices.into_iter().collect(),
        }
    }

    /// Returns the next few changes.
    pub fn step(&mut self) -> Vec<Change> {
        let count = self.random.usize(1..6);
        (0..count).filter_map(|_| self.change()).collect()
    }

    /// Takes note of a change that the test makes itself.
    pub fn note(&mut self, change: &Change) {
        self.expected.apply(change, STAMP);
    }

    fn change(&mut self) -> Option<Change> {
        let change = match self.random.u32(0..20) {
            0 => {
                self.made += 1;
                Change::Upsert(switch(
                    &format!("late-{:05}", self.made),
                    self.random.bool(),
                ))
            }
            1 => Change::Remove(self.any_device()?),
            2 | 3 => Change::Online {
                device: self.any_device()?,
                online: self.random.bool(),
                readings: Vec::new(),
            },
            4..12 => Change::State {
                device: self.any_device()?,
                readings: vec![Reading::new("switch_1", Value::from(self.random.bool()))],
            },
            _ => Change::State {
                device: self.any_device()?,
                readings: vec![Reading::new(
                    "countdown_1",
                    Value::from(self.random.i64(0..43_200)),
                )],
            },
        };
        self.expected.apply(&change, STAMP);
        Some(change)
    }

    fn any_device(&mut self) -> Option<hearthgate_protocol::model::DeviceId> {
        let index = self.random.usize(0..self.expected.len().max(1));
        self.expected
            .devices()
            .nth(index)
            .map(|device| device.id().clone())
    }
}
