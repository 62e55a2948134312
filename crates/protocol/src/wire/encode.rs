//! Messages to JSON text, appended to a buffer without an allocation of their own.

use super::message::{ErrorBody, EventKind, Request};
use crate::model::{DataPoint, Device, Reading, Value, write_string};

/// Writes a request.
pub fn write_request(out: &mut Vec<u8>, id: i64, request: &Request) {
    open(out, id);
    out.extend_from_slice(b",\"type\":\"");
    out.extend_from_slice(request.name().as_bytes());
    out.push(b'"');
    match request {
        Request::GetDevices => {}
        Request::GetSchema(devices) | Request::GetStatus(devices) => {
            out.extend_from_slice(b",\"data\":");
            array(out, devices, |out, device| {
                write_string(out, device.as_str());
            });
        }
        Request::SetValue(writes) => {
            out.extend_from_slice(b",\"data\":");
            array(out, writes, |out, write| {
                out.extend_from_slice(b"{\"devid\":");
                write_string(out, write.device.as_str());
                out.extend_from_slice(b",\"value\":");
                readings(out, &write.readings);
                out.push(b'}');
            });
        }
    }
    out.push(b'}');
}

/// Writes the answer to `get_devices`.
pub fn write_result_devices<'a>(
    out: &mut Vec<u8>,
    id: i64,
    devices: impl IntoIterator<Item = &'a Device>,
) {
    result(out, id, |out| {
        array(out, devices, |out, device| {
            write_string(out, device.id().as_str());
        });
    });
}

/// Writes the answer to `get_schema`.
pub fn write_result_schemas<'a>(
    out: &mut Vec<u8>,
    id: i64,
    devices: impl IntoIterator<Item = &'a Device>,
) {
    result(out, id, |out| {
        array(out, devices, |out, device| {
            let schema = device.schema();
            out.extend_from_slice(b"{\"devid\":");
            write_string(out, device.id().as_str());
            out.extend_from_slice(b",\"category\":");
            write_string(out, schema.category());
            out.extend_from_slice(b",\"function\":");
            array(out, schema.functions(), data_point);
            out.extend_from_slice(b",\"status\":");
            array(out, schema.statuses(), data_point);
            out.push(b'}');
        });
    });
}

/// Writes the answer to `get_status`.
pub fn write_result_statuses<'a>(
    out: &mut Vec<u8>,
    id: i64,
    devices: impl IntoIterator<Item = &'a Device>,
) {
    result(out, id, |out| {
        array(out, devices, |out, device| {
            out.extend_from_slice(b"{\"devid\":");
            write_string(out, device.id().as_str());
            out.extend_from_slice(b",\"online\":");
            boolean(out, device.online());
            out.extend_from_slice(b",\"value\":");
            array(out, device.points(), |out, point| {
                reading(out, point.code.as_str(), &point.value);
            });
            out.push(b'}');
        });
    });
}

/// Writes the answer to a `set_value` that succeeded.
pub fn write_success(out: &mut Vec<u8>, id: i64) {
    open(out, id);
    out.extend_from_slice(b",\"type\":\"result\",\"success\":true}");
}

/// Writes the answer to a request that is refused.
pub fn write_error(out: &mut Vec<u8>, id: i64, error: &ErrorBody) {
    open(out, id);
    out.extend_from_slice(b",\"type\":\"result\",\"success\":false,\"error\":{\"code\":\"");
    out.extend_from_slice(error.code.name().as_bytes());
    out.extend_from_slice(b"\",\"message\":");
    write_string(out, &error.message);
    if !error.details.is_empty() {
        out.extend_from_slice(b",\"details\":");
        array(out, &error.details, |out, detail| {
            out.extend_from_slice(b"{\"devid\":");
            write_string(out, detail.device.as_str());
            if let Some(code) = &detail.code_of {
                out.extend_from_slice(b",\"k\":");
                write_string(out, code.as_str());
            }
            out.extend_from_slice(b",\"code\":\"");
            out.extend_from_slice(detail.code.name().as_bytes());
            out.extend_from_slice(b"\",\"message\":");
            write_string(out, &detail.message);
            out.push(b'}');
        });
    }
    out.extend_from_slice(b"}}");
}

/// Writes an event. [`EventKind::Other`], which only a client can hold, is written as nothing.
pub fn write_event(out: &mut Vec<u8>, id: i64, kind: &EventKind) {
    let name = match kind {
        EventKind::RegistryUpdated { .. } => "registry_updated",
        EventKind::OnlineUpdated { .. } => "online_updated",
        EventKind::StateChanged { .. } => "state_changed",
        EventKind::Other { .. } => return,
    };
    open(out, id);
    out.extend_from_slice(b",\"type\":\"event\",\"event_type\":\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",\"data\":{\"devid\":");
    match kind {
        EventKind::RegistryUpdated { device, state } => {
            write_string(out, device.as_str());
            out.extend_from_slice(b",\"state\":");
            write_integer(out, *state);
        }
        EventKind::OnlineUpdated {
            device,
            online,
            readings: values,
        } => {
            write_string(out, device.as_str());
            out.extend_from_slice(b",\"state\":");
            boolean(out, *online);
            if let Some(values) = values {
                out.extend_from_slice(b",\"value\":");
                readings(out, values);
            }
        }
        EventKind::StateChanged {
            device,
            readings: values,
        } => {
            write_string(out, device.as_str());
            out.extend_from_slice(b",\"value\":");
            readings(out, values);
        }
        EventKind::Other { .. } => {}
    }
    out.extend_from_slice(b"}}");
}

pub(crate) fn write_auth_required(out: &mut Vec<u8>, nonce: &str) {
    out.extend_from_slice(b"{\"type\":\"auth_required\",\"data\":{\"nonce\":");
    write_string(out, nonce);
    out.extend_from_slice(b"}}");
}

pub(crate) fn write_auth(out: &mut Vec<u8>, nonce: &str, hmac: &str) {
    out.extend_from_slice(b"{\"type\":\"auth\",\"data\":{\"nonce\":");
    write_string(out, nonce);
    out.extend_from_slice(b",\"hmac\":");
    write_string(out, hmac);
    out.extend_from_slice(b"}}");
}

pub(crate) fn write_auth_ok(out: &mut Vec<u8>, hmac: &str) {
    out.extend_from_slice(b"{\"type\":\"auth_ok\",\"data\":{\"hmac\":");
    write_string(out, hmac);
    out.extend_from_slice(b"}}");
}

/// Writes an integer in decimal.
pub(crate) fn write_integer(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn open(out: &mut Vec<u8>, id: i64) {
    out.extend_from_slice(b"{\"id\":");
    write_integer(out, id);
}

fn result(out: &mut Vec<u8>, id: i64, write: impl FnOnce(&mut Vec<u8>)) {
    open(out, id);
    out.extend_from_slice(b",\"type\":\"result\",\"success\":true,\"result\":");
    write(out);
    out.push(b'}');
}

fn array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn data_point(out: &mut Vec<u8>, point: &DataPoint) {
    out.extend_from_slice(b"{\"code\":");
    write_string(out, point.code().as_str());
    out.extend_from_slice(b",\"type\":");
    write_string(out, point.type_name());
    out.extend_from_slice(b",\"values\":");
    point.values().write_json(out);
    out.push(b'}');
}

fn readings(out: &mut Vec<u8>, readings: &[Reading]) {
    array(out, readings, |out, item| {
        reading(out, item.code.as_str(), &item.value);
    });
}

fn reading(out: &mut Vec<u8>, code: &str, value: &Value) {
    out.extend_from_slice(b"{\"k\":");
    write_string(out, code);
    out.extend_from_slice(b",\"v\":");
    value.write_json(out);
    out.push(b'}');
}

fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}
