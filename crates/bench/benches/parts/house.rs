//! Devices as many as one wants: the twenty of the simulated home over and over, each under an id of its own.

use std::sync::Arc;

use hearthgate_gateway::demo::DemoHome;
use hearthgate_protocol::model::{
    Change, Code, Device, DeviceId, Home, Reading, Source, Stamp, Timestamp, Value,
};
use hearthgate_protocol::wire::Profile;

/// When everything is known and changed.
pub(crate) const STAMP: Stamp = Stamp {
    at: Timestamp(1_700_000_000_000),
    source: Source::Event,
};

/// Returns so many devices, whose ids have 22 characters as the vendor's have.
pub(crate) fn devices(count: usize) -> Vec<Device> {
    let kinds: Vec<(Arc<_>, Vec<Reading>)> = DemoHome::new(1)
        .profiles()
        .into_iter()
        .map(
            |Profile {
                 schema, readings, ..
             }| (schema, readings),
        )
        .collect();
    let device = |(index, (schema, readings)): (usize, &(Arc<_>, Vec<Reading>))| {
        Device::new(id(index), Arc::clone(schema), true, readings.clone(), STAMP)
    };
    kinds
        .iter()
        .cycle()
        .take(count)
        .enumerate()
        .map(device)
        .collect()
}

/// Returns the id of one of [`devices`].
pub(crate) fn id(index: usize) -> DeviceId {
    format!("bf5d8a1c9e27402b{index:06}").into()
}

/// Returns changes as devices report them, one data point each: device after device of a home, always
/// another value of a data point that holds an integer, in turn of whatever the device has.
pub(crate) fn reports(home: &Home, count: usize) -> Vec<Change> {
    let lively = |device: &Device| -> Option<(DeviceId, Code)> {
        let point = device
            .points()
            .iter()
            .find(|point| point.value.as_i64().is_some())?;
        Some((device.id().clone(), point.code.clone()))
    };
    let lively: Vec<(DeviceId, Code)> = home.devices().filter_map(lively).collect();
    let report = |((device, code), number): (&(DeviceId, Code), i64)| Change::State {
        device: device.clone(),
        readings: vec![Reading::new(code.clone(), Value::from(number % 997))],
    };
    lively
        .iter()
        .cycle()
        .zip(1..)
        .take(count)
        .map(report)
        .collect()
}
