//! Answers to reading requests.

use hearthgate_protocol::limits::ANSWER_MAX;
use hearthgate_protocol::model::{Device, Home, Value};
use hearthgate_protocol::wire::{
    ErrorBody, ErrorCode, Request, write_error, write_result_devices, write_result_schemas,
    write_result_statuses,
};

use super::faults::Faults;
use super::{Registry, unknown};
use crate::event_log::{Position, Unread};

impl Registry {
    /// Writes the answer to a reading request into an empty buffer, to the byte as a session sends it:
    /// of one instant, in the order of the request, an error where a device is unknown or the answer
    /// would be over 16 MiB (sections 3 and 5). A `set_value` is no reading request and is refused.
    pub fn answer_reading(&self, id: i64, request: &Request, out: &mut Vec<u8>) {
        if let Request::SetValue(_) = request {
            let message = "set_value is no reading request";
            return write_error(out, id, &ErrorBody::new(ErrorCode::InvalidRequest, message));
        }
        write_answer(&self.shared.state.read().home, id, request, out);
        limit_answer(id, out);
    }

    /// Writes the answer to a reading request, and gives the events since a position that come before
    /// it, `None` where they are forgotten. Both belong to the same instant.
    pub(crate) fn answer(
        &self,
        id: i64,
        request: &Request,
        position: Position,
        out: &mut Vec<u8>,
    ) -> Option<Unread> {
        let state = self.shared.state.read();
        write_answer(&state.home, id, request, out);
        let events = state.log.since(position, u64::MAX);
        drop(state);
        limit_answer(id, out);
        events
    }
}

fn write_answer(home: &Home, id: i64, request: &Request, out: &mut Vec<u8>) {
    match find(home, request) {
        Ok(devices) => match request {
            Request::GetSchema(_) => write_result_schemas(out, id, devices),
            Request::GetStatus(_) => write_result_statuses(out, id, devices),
            _ => write_result_devices(out, id, devices),
        },
        Err(error) => write_error(out, id, &error),
    }
}

/// Finds the devices that a reading request is about, in its order; one unknown fails the whole.
pub(super) fn find<'a>(home: &'a Home, request: &Request) -> Result<Vec<&'a Device>, ErrorBody> {
    let ids = match request {
        Request::GetSchema(ids) | Request::GetStatus(ids) => ids,
        _ => return Ok(home.devices().collect()),
    };
    let mut faults = Faults::default();
    let mut devices = Vec::with_capacity(ids.len());
    let mut bytes = 0;
    for id in ids {
        match home.device(id.as_str()) {
            Some(device) => {
                bytes += least_bytes(device, request);
                devices.push(device);
            }
            None => faults.push(|| unknown(id)),
        }
    }
    match faults.into_error() {
        Some(error) => Err(error),
        // A short request can name one device many times: refused before memory is spent on it.
        None if bytes > ANSWER_MAX => Err(too_large()),
        None => Ok(devices),
    }
}

/// Returns how many bytes a device takes in an answer at least.
fn least_bytes(device: &Device, request: &Request) -> usize {
    let schema = device.schema();
    let content: usize = match request {
        Request::GetSchema(_) => schema
            .functions()
            .iter()
            .chain(schema.statuses())
            .map(|point| point.code().as_str().len() + value_bytes(point.values()))
            .sum(),
        _ => device
            .points()
            .iter()
            .map(|point| point.code.as_str().len() + value_bytes(&point.value))
            .sum(),
    };
    device.id().as_str().len() + content
}

fn value_bytes(value: &Value) -> usize {
    match value.as_bool().is_some() || value.as_i64().is_some() {
        true => 1,
        false => value.json().len(),
    }
}

/// Replaces an answer over the limit by an error (section 3).
pub(crate) fn limit_answer(id: i64, out: &mut Vec<u8>) {
    if out.len() > ANSWER_MAX {
        out.clear();
        out.shrink_to_fit();
        write_error(out, id, &too_large());
    }
}

fn too_large() -> ErrorBody {
    let message =
        format!("the answer would have more than {ANSWER_MAX} bytes: ask for fewer devices");
    ErrorBody::new(ErrorCode::InvalidRequest, message)
}
