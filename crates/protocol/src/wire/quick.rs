//! The messages that come thousands of times a second, read in one pass: `state_changed`, answers that
//! succeed, and requests, in whatever order and with whatever space.
//!
//! Whatever is unusual about a message (another event, an unknown, doubled or missing field, an
//! escape in a name, a wrong type) is left to `decode`, which reads the same meaning, says what is
//! wrong, and takes several passes for it.

use super::decode::FromGateway;
use super::message::{DeviceWrite, Event, EventKind, Request};
use super::scan::Scan;
use crate::model::{Code, DeviceId, Reading};

/// Reads a message of a gateway if it is a usual `state_changed` or answer.
pub(super) fn from_gateway(text: &str) -> Option<FromGateway> {
    let (mut id, mut kind, mut event_type) = (None, None, None);
    let (mut data, mut success, mut result) = (None, None, None);
    let mut scan = Scan::new(text);
    scan.object(|scan, name| match name {
        "id" => once(&mut id, scan.integer()),
        "type" => once(&mut kind, scan.string()),
        "event_type" => once(&mut event_type, scan.string()),
        "data" => once(&mut data, state(scan)),
        "success" => once(&mut success, scan.boolean()),
        "result" => once(&mut result, scan.raw(1)),
        _ => None,
    })?;
    scan.end()?;
    let id = id?;
    match (kind?, event_type, data, success, result) {
        ("event", Some("state_changed"), Some((device, readings)), None, None) => {
            let kind = EventKind::StateChanged { device, readings };
            Some(FromGateway::Event(Event { id, kind }))
        }
        ("result", None, None, Some(true), result) => {
            // A `null` counts as absent.
            let result = result
                .filter(|result| *result != "null")
                .unwrap_or_default();
            let outcome = Ok(result.to_owned());
            Some(FromGateway::Reply { id, outcome })
        }
        _ => None,
    }
}

/// Reads a request of a client if it is a usual one.
pub(super) fn from_client(text: &str) -> Option<(i64, Request)> {
    let (mut id, mut kind, mut data) = (None, None, None);
    let mut scan = Scan::new(text);
    scan.object(|scan, name| match name {
        "id" => once(&mut id, scan.integer()),
        "type" => once(&mut kind, scan.string()),
        "data" => {
            let read = match kind? {
                "get_schema" => Request::GetSchema(scan.array(device)?),
                "get_status" => Request::GetStatus(scan.array(device)?),
                "set_value" => Request::SetValue(scan.array(device_write)?),
                _ => return None,
            };
            once(&mut data, Some(read))
        }
        _ => None,
    })?;
    scan.end()?;
    let request = match (kind?, data) {
        ("get_devices", None) => Request::GetDevices,
        // `type` cannot have come again with another name: that is refused as doubled.
        (_, data) => data?,
    };
    Some((id?, request))
}

/// Reads the `data` of a `state_changed`.
fn state(scan: &mut Scan<'_>) -> Option<(DeviceId, Vec<Reading>)> {
    let (mut device, mut value) = (None, None);
    scan.object(|scan, name| match name {
        "devid" => once(&mut device, scan.string()),
        // In message, data, array, reading.
        "value" => once(&mut value, readings(scan, 4)),
        _ => None,
    })?;
    Some((device?.into(), value?))
}

fn device(scan: &mut Scan<'_>) -> Option<DeviceId> {
    scan.string().map(DeviceId::from)
}

fn device_write(scan: &mut Scan<'_>) -> Option<DeviceWrite> {
    let (mut device, mut value) = (None, None);
    scan.object(|scan, name| match name {
        "devid" => once(&mut device, scan.string()),
        // In message, array, write, array, reading.
        "value" => once(&mut value, readings(scan, 5)),
        _ => None,
    })?;
    Some(DeviceWrite {
        device: device?.into(),
        readings: value?,
    })
}

/// Reads `[{k,v}]`, whose values lie so deep in the message.
fn readings(scan: &mut Scan<'_>, depth: usize) -> Option<Vec<Reading>> {
    scan.array(|scan| {
        let (mut code, mut value) = (None, None);
        scan.object(|scan, name| match name {
            "k" => once(&mut code, scan.string()),
            "v" => once(&mut value, scan.value(depth)),
            _ => None,
        })?;
        Some(Reading {
            code: Code::from(code?),
            value: value?,
        })
    })
}

/// Keeps what was read, unless there was something before.
fn once<T>(slot: &mut Option<T>, read: Option<T>) -> Option<()> {
    match slot.replace(read?) {
        None => Some(()),
        Some(_) => None,
    }
}
