//! JSON text to messages, for both roles.

use serde_json::value::RawValue;

use super::message::{DeviceWrite, ErrorBody, ErrorCode, Event, EventKind, RemoteError, Request};
use super::quick;
use super::shape::{
    ShapeError, boolean, each, fields, fields_and_nulls, integer, required, string, truth,
};
use crate::limits::JSON_DEPTH_MAX;
use crate::model::{Code, DeviceId, Reading, Value, nesting_exceeds, shortened};

/// A message that reached a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromClient {
    /// A request to answer.
    Request {
        /// Its id, to be repeated.
        id: i64,
        /// What is asked.
        request: Request,
    },
    /// Something to answer with an error.
    Invalid {
        /// Its id, or 0 where it has no integer one.
        id: i64,
        /// What is wrong.
        error: ErrorBody,
    },
    /// An `event` or a `result`, which a gateway ignores.
    Ignored,
}

/// A message that reached a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromGateway {
    /// The answer to a request.
    Reply {
        /// The id of the request.
        id: i64,
        /// The JSON text of `result`, empty where there is none, or the error.
        outcome: Result<String, RemoteError>,
    },
    /// An event.
    Event(Event),
    /// A request, which a client answers with `unknown_type`.
    Request {
        /// Its id.
        id: i64,
        /// Its type, shortened.
        name: String,
    },
    /// Something that means nothing to us.
    Ignored {
        /// Why.
        reason: String,
    },
}

const ENVELOPE: [&str; 7] = [
    "type",
    "id",
    "data",
    "event_type",
    "success",
    "result",
    "error",
];

fn check_utf8(text: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(text).map_err(|_| "the message is not UTF-8".to_owned())
}

/// Refuses deep nesting. What has not passed this is only ever read without recursion.
fn check_depth(text: &str) -> Result<(), String> {
    if nesting_exceeds(text.as_bytes(), JSON_DEPTH_MAX) {
        return Err(format!(
            "the message is nested deeper than {JSON_DEPTH_MAX}"
        ));
    }
    Ok(())
}

/// Finds the one JSON object that a message must be.
fn parse_object(text: &str) -> Result<&RawValue, String> {
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| format!("the message is no JSON: {error}"))?;
    if raw.get().starts_with('{') {
        Ok(raw)
    } else {
        Err(format!(
            "the message is {}, expected an object",
            Value::from_raw(raw).type_name()
        ))
    }
}

/// Decodes what a client sent. Never fails: what is wrong becomes the answer (section 5).
pub fn decode_from_client(text: &[u8]) -> FromClient {
    let text = check_utf8(text);
    if let Some((id, request)) = text.as_ref().ok().and_then(|text| quick::from_client(text)) {
        return FromClient::Request { id, request };
    }
    decode_request(text)
}

/// Decodes anything that a client may send.
pub(super) fn decode_request(text: Result<&str, String>) -> FromClient {
    let invalid = |id, message: String| FromClient::Invalid {
        id,
        error: ErrorBody::new(ErrorCode::InvalidRequest, message),
    };
    let raw = match text.and_then(parse_object) {
        Ok(raw) => raw,
        Err(problem) => return invalid(0, problem),
    };
    let [kind, id, data, ..] = match fields(raw, &ENVELOPE) {
        Ok(fields) => fields.found,
        Err(error) => return invalid(0, error.to_string()),
    };
    let kind = kind.map(string);
    if let Some(Ok(kind)) = &kind
        && (kind == "event" || kind == "result")
    {
        return FromClient::Ignored;
    }
    let id = match required(raw, id, "id").and_then(|id| integer(id).map_err(|e| e.under("id"))) {
        Ok(id) => id,
        Err(error) => return invalid(0, error.to_string()),
    };
    if let Err(problem) = check_depth(raw.get()) {
        return invalid(id, problem);
    }
    let kind = match kind {
        Some(Ok(kind)) => kind,
        Some(Err(error)) => return invalid(id, error.under("type").to_string()),
        None => return invalid(id, "type is missing".to_owned()),
    };
    match request(raw, &kind, data) {
        Some(Ok(request)) => FromClient::Request { id, request },
        Some(Err(error)) => invalid(id, error.to_string()),
        None => FromClient::Invalid {
            id,
            error: ErrorBody::new(
                ErrorCode::UnknownType,
                format!("unknown request type {}", shortened(&kind)),
            ),
        },
    }
}

fn request(
    parent: &RawValue,
    kind: &str,
    data: Option<&RawValue>,
) -> Option<Result<Request, ShapeError>> {
    let data = required(parent, data, "data");
    let devices = |data: Result<&RawValue, ShapeError>| {
        each(data?, |item| string(item).map(|id| DeviceId::from(&*id)))
            .map_err(|error| error.under("data"))
    };
    Some(match kind {
        "get_devices" => Ok(Request::GetDevices),
        "get_schema" => devices(data).map(Request::GetSchema),
        "get_status" => devices(data).map(Request::GetStatus),
        "set_value" => data
            .and_then(|data| each(data, device_write).map_err(|error| error.under("data")))
            .map(Request::SetValue),
        _ => return None,
    })
}

/// Reads `{devid, value}`; the seed's table says `device`, its example `devid`, which wins.
fn device_write(raw: &RawValue) -> Result<DeviceWrite, ShapeError> {
    let [devid, device, value] = fields(raw, &["devid", "device", "value"])?.found;
    let device = required(raw, devid.or(device), "devid")?;
    let device = string(device).map_err(|error| error.under("devid"))?;
    let readings = required(raw, value, "value").and_then(readings)?;
    Ok(DeviceWrite {
        device: (&*device).into(),
        readings,
    })
}

/// Reads `[{k,v}]`.
pub(super) fn readings(raw: &RawValue) -> Result<Vec<Reading>, ShapeError> {
    each(raw, |item| {
        // A device may report even null as a value.
        let [code, value] = fields_and_nulls(item, &["k", "v"])?.found;
        let code = required(item, code, "k")?;
        let code = string(code).map_err(|error| error.under("k"))?;
        let value = required(item, value, "v")?;
        Ok(Reading {
            code: Code::from(&*code),
            value: Value::from_raw(value),
        })
    })
    .map_err(|error| error.under("value"))
}

/// Decodes what a gateway sent; gives the name of an unknown field beside it, if there is any.
///
/// # Errors
/// Where the text is no JSON object: the connection is to be closed (section 3).
pub fn decode_from_gateway(text: &[u8]) -> Result<(FromGateway, Option<String>), String> {
    let text = check_utf8(text)?;
    if let Some(message) = quick::from_gateway(text) {
        return Ok((message, None));
    }
    check_depth(text)?;
    decode_any(text)
}

/// Decodes any message of a gateway.
pub(super) fn decode_any(text: &str) -> Result<(FromGateway, Option<String>), String> {
    let raw = parse_object(text)?;
    let envelope = fields(raw, &ENVELOPE).map_err(|error| error.to_string())?;
    let [kind, id, data, event_type, success, result, error] = envelope.found;
    let ignored = |reason: String| FromGateway::Ignored { reason };
    let number = id.map(integer);
    let message = match kind.map(string) {
        None => ignored("a message without a type".to_owned()),
        Some(Err(error)) => ignored(error.under("type").to_string()),
        Some(Ok(kind)) => match (&*kind, number) {
            ("event", Some(Ok(id))) => FromGateway::Event(Event {
                id,
                kind: event(event_type, data),
            }),
            ("result", Some(Ok(id))) => FromGateway::Reply {
                id,
                outcome: outcome(success, result, error),
            },
            (kind, Some(Ok(id))) => FromGateway::Request {
                id,
                name: shortened(kind),
            },
            (kind, Some(Err(error))) => {
                ignored(format!("{}: {}", shortened(kind), error.under("id")))
            }
            (kind, None) => ignored(format!("{} without an id", shortened(kind))),
        },
    };
    Ok((message, envelope.unknown))
}

fn outcome(
    success: Option<&RawValue>,
    result: Option<&RawValue>,
    error: Option<&RawValue>,
) -> Result<String, RemoteError> {
    let succeeded = match success.map(boolean) {
        Some(Ok(success)) => success,
        // Not our gateway's habit; what else came tells the same.
        _ => error.is_none(),
    };
    if succeeded {
        return Ok(result
            .map(|result| result.get().to_owned())
            .unwrap_or_default());
    }
    let json = error.map_or("null", |error| error.get()).to_owned();
    let text = |raw: Option<&RawValue>| {
        raw.map(|raw| string(raw).map_or_else(|_| raw.get().to_owned(), |text| text.into_owned()))
    };
    let (code, message) = match error.map(|error| fields(error, &["code", "message"])) {
        Some(Ok(fields)) => {
            let [code, message] = fields.found;
            (text(code), text(message))
        }
        _ => (None, None),
    };
    let message = message.unwrap_or_else(|| match error {
        Some(_) => json.clone(),
        None => "the gateway gave no reason".to_owned(),
    });
    Err(RemoteError {
        code: code.unwrap_or_else(|| "unknown".to_owned()),
        message,
        json,
    })
}

fn event(event_type: Option<&RawValue>, data: Option<&RawValue>) -> EventKind {
    match known_event(event_type, data) {
        Ok(kind) => kind,
        Err(reason) => EventKind::Other { reason },
    }
}

fn known_event(
    event_type: Option<&RawValue>,
    data: Option<&RawValue>,
) -> Result<EventKind, String> {
    let event_type = event_type.ok_or("an event without an event_type")?;
    let event_type = string(event_type).map_err(|error| error.under("event_type").to_string())?;
    if !matches!(
        &*event_type,
        "registry_updated" | "online_updated" | "state_changed"
    ) {
        return Err(format!("unknown event type {}", shortened(&event_type)));
    }
    let data = data.ok_or_else(|| format!("{event_type} without data"))?;
    let read = || -> Result<EventKind, ShapeError> {
        let [devid, state, value] = fields(data, &["devid", "state", "value"])?.found;
        let device = required(data, devid, "devid")?;
        let device = DeviceId::from(&*string(device).map_err(|error| error.under("devid"))?);
        Ok(match &*event_type {
            "registry_updated" => {
                // The client reads the list again whatever the number is.
                let state = state.and_then(|state| integer(state).ok()).unwrap_or(1);
                EventKind::RegistryUpdated { device, state }
            }
            "online_updated" => {
                let state = required(data, state, "state")?;
                let online = truth(state).map_err(|error| error.under("state"))?;
                let readings = value.map(readings).transpose()?;
                EventKind::OnlineUpdated {
                    device,
                    online,
                    readings,
                }
            }
            _ => {
                let readings = required(data, value, "value").and_then(readings)?;
                EventKind::StateChanged { device, readings }
            }
        })
    };
    read().map_err(|error| format!("{event_type}: {}", error.under("data")))
}

/// A handshake message: its type and, as far as they are there, nonce and hmac in base64.
pub(crate) struct HandshakeMessage {
    pub(crate) kind: String,
    pub(crate) nonce: Option<String>,
    pub(crate) hmac: Option<String>,
}

/// Decodes a handshake message (section 4).
pub(crate) fn decode_handshake(text: &[u8]) -> Result<HandshakeMessage, String> {
    let text = check_utf8(text)?;
    check_depth(text)?;
    let raw = parse_object(text)?;
    let read = || -> Result<HandshakeMessage, ShapeError> {
        let [kind, data] = fields(raw, &["type", "data"])?.found;
        let kind = required(raw, kind, "type")?;
        let kind = string(kind)
            .map_err(|error| error.under("type"))?
            .into_owned();
        let [nonce, hmac] = match data {
            Some(data) => {
                fields(data, &["nonce", "hmac"])
                    .map_err(|error| error.under("data"))?
                    .found
            }
            None => [None, None],
        };
        let text = |raw: Option<&RawValue>, name: &str| {
            raw.map(|raw| string(raw).map(|text| text.into_owned()))
                .transpose()
                .map_err(|error| error.under(name).under("data"))
        };
        Ok(HandshakeMessage {
            kind,
            nonce: text(nonce, "nonce")?,
            hmac: text(hmac, "hmac")?,
        })
    };
    read().map_err(|error| error.to_string())
}
