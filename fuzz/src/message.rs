//! Any text, and any message: what is understood keeps its meaning (sections 5 and 6).
//!
//! Input: the text of a message; or, behind a first byte 0xff, which no text has, what a message of
//! any content is made from.

use std::sync::Arc;

use arbitrary::Arbitrary;
use hearthgate_protocol::limits::JSON_DEPTH_MAX;
use hearthgate_protocol::model::{
    DataPoint, Device, DeviceId, Reading, Schema, Source, Stamp, Timestamp, Value, compact,
};
use hearthgate_protocol::wire::{
    DeviceWrite, ErrorBody, ErrorCode, ErrorDetail, Event, EventKind, FromClient, FromGateway,
    Request, decode_from_client, decode_from_gateway, parse_devices, parse_schemas, parse_statuses,
    split_array, write_error, write_event, write_request, write_result_devices,
    write_result_schemas, write_result_statuses, write_success,
};
use serde_json::Value as Parsed;

use crate::input::{Json, arbitrary, depth};

/// Runs the target.
///
/// # Panics
/// Where a property does not hold.
pub fn run(data: &[u8]) {
    if let [0xff, rest @ ..] = data {
        if let Some(made) = arbitrary::<Made>(rest) {
            survives(&made);
        }
        return;
    }
    memory_is_bounded(data);
    from_client(data);
    from_gateway(data);
    if let Ok(text) = std::str::from_utf8(data) {
        results(text);
    }
}

/// What a message of a few bytes can hold is small things: a list item of three bytes becomes an id
/// of two pointers with its own text, and the lists double.
fn memory_is_bounded(text: &[u8]) {
    let used = allocation_counter::measure(|| {
        let _ = decode_from_client(text);
        let _ = decode_from_gateway(text);
    });
    let peak = usize::try_from(used.bytes_max).unwrap_or(0);
    let most = 4096 + 64 * text.len();
    assert!(
        peak <= most,
        "{peak} bytes of memory for a text of {}",
        text.len()
    );
}

/// The same text by another reader, where that reads it: half a surrogate pair and numbers beyond a
/// float stop only the other one.
fn parsed(text: &[u8]) -> Option<Parsed> {
    serde_json::from_slice(text).ok()
}

fn from_client(text: &[u8]) {
    let parsed = parsed(text);
    let id_of = |parsed: &Parsed| parsed["id"].as_i64().unwrap_or(0);
    match decode_from_client(text) {
        FromClient::Ignored => {
            if let Some(parsed) = parsed {
                assert!(matches!(parsed["type"].as_str(), Some("event" | "result")));
            }
        }
        FromClient::Request { id, request } => {
            let mut out = Vec::new();
            write_request(&mut out, id, &request);
            let again = decode_from_client(&out);
            assert_eq!(
                again,
                FromClient::Request {
                    id,
                    request: request.clone()
                }
            );
            if let Some(parsed) = parsed {
                assert_eq!(id, id_of(&parsed));
                assert_eq!(parsed["type"].as_str(), Some(request.name()));
                check_request(&request, &parsed["data"]);
            }
        }
        FromClient::Invalid { id, error } => {
            if let Some(parsed) = parsed {
                assert_eq!(id, id_of(&parsed));
                assert_ne!(parsed["type"].as_str(), Some("event"));
                assert_ne!(parsed["type"].as_str(), Some("result"));
            }
            assert!(matches!(
                error.code,
                ErrorCode::InvalidRequest | ErrorCode::UnknownType
            ));
            assert!(
                error.message.len() < 1024,
                "a message as long as what caused it"
            );
            refusal_survives(id, &error);
        }
    }
}

fn check_request(request: &Request, data: &Parsed) {
    let no_items = Vec::new();
    let items = data.as_array().unwrap_or(&no_items);
    match request {
        Request::GetDevices => {}
        Request::GetSchema(ids) | Request::GetStatus(ids) => {
            let ids: Vec<_> = ids.iter().map(|id| Some(id.as_str())).collect();
            let meant: Vec<_> = items.iter().map(Parsed::as_str).collect();
            assert_eq!(ids, meant);
        }
        Request::SetValue(writes) => {
            assert_eq!(writes.len(), items.len());
            for (write, item) in writes.iter().zip(items) {
                let device = [&item["devid"], &item["device"]];
                let device = device.into_iter().find(|device| !device.is_null());
                assert_eq!(Some(write.device.as_str()), device.and_then(Parsed::as_str));
                check_readings(&write.readings, &item["value"]);
            }
        }
    }
}

fn check_readings(readings: &[Reading], value: &Parsed) {
    let items = value.as_array().expect("readings out of no array");
    assert_eq!(readings.len(), items.len());
    for (reading, item) in readings.iter().zip(items) {
        assert_eq!(Some(reading.code.as_str()), item["k"].as_str());
        let json = reading.value.json();
        assert_eq!(
            serde_json::from_str::<Parsed>(&json).ok().as_ref(),
            Some(&item["v"])
        );
        assert_eq!(Value::parse(&json).as_ref(), Ok(&reading.value));
        assert_eq!(reading.value.as_bool(), item["v"].as_bool());
        assert_eq!(reading.value.as_string().as_deref(), item["v"].as_str());
        assert_eq!(reading.value.is_object(), item["v"].is_object());
        // `-0` is a float to the other reader and an integer here, as the protocol has it.
        if json != "-0" {
            assert_eq!(reading.value.as_i64(), item["v"].as_i64());
        }
    }
}

/// A client reads of a refusal what the gateway wrote.
fn refusal_survives(id: i64, error: &ErrorBody) {
    let mut out = Vec::new();
    write_error(&mut out, id, error);
    let read = decode_from_gateway(&out);
    let Ok((
        FromGateway::Reply {
            id: read_id,
            outcome: Err(remote),
        },
        None,
    )) = read
    else {
        panic!("a refusal that is none: {read:?}");
    };
    assert_eq!((read_id, &*remote.code), (id, error.code.name()));
    assert_eq!(remote.message, error.message);
    let json: Parsed = serde_json::from_str(&remote.json).expect("an error is JSON");
    let no_details = Vec::new();
    let details = json["details"].as_array().unwrap_or(&no_details);
    assert_eq!(details.len(), error.details.len());
    for (read, detail) in details.iter().zip(&error.details) {
        assert_eq!(read["devid"].as_str(), Some(detail.device.as_str()));
        assert_eq!(
            read["k"].as_str(),
            detail.code_of.as_ref().map(|code| code.as_str())
        );
        assert_eq!(read["code"].as_str(), Some(detail.code.name()));
        assert_eq!(read["message"].as_str(), Some(&*detail.message));
    }
}

fn from_gateway(text: &[u8]) {
    let as_text = std::str::from_utf8(text).unwrap_or_default();
    let decoded = decode_from_gateway(text);
    let object = parsed(text).filter(Parsed::is_object);
    let (message, unknown) = match decoded {
        Ok(decoded) => decoded,
        Err(problem) => {
            assert!(
                object.is_none() || depth(as_text) > JSON_DEPTH_MAX,
                "an object is refused: {problem}"
            );
            return;
        }
    };
    assert!(depth(as_text) <= JSON_DEPTH_MAX);
    unusual_means_the_same(as_text, &message, unknown.as_deref());
    white_space_means_nothing(as_text, &message);
    match message {
        FromGateway::Event(event) => {
            if let Some(object) = &object {
                check_event(&event, object);
            }
            event_survives(event.id, &event.kind);
        }
        FromGateway::Reply { id, outcome } => {
            if let Some(object) = &object {
                assert_eq!(object["type"].as_str(), Some("result"));
                assert_eq!(integer(&object["id"]), Some(id));
                if let Some(success) = object["success"].as_bool() {
                    assert_eq!(success, outcome.is_ok());
                }
                let (json, field) = match &outcome {
                    Ok(result) if result.is_empty() => ("null", "result"),
                    Ok(result) => (&**result, "result"),
                    Err(remote) => (&*remote.json, "error"),
                };
                assert_eq!(parsed(json.as_bytes()), Some(object[field].clone()));
            }
            if let Ok(result) = outcome {
                results(&result);
            }
        }
        FromGateway::Request { id, name } => {
            assert!(name.chars().count() <= 61, "a name that is not shortened");
            if let Some(object) = &object {
                assert_eq!(integer(&object["id"]), Some(id));
                assert!(!matches!(object["type"].as_str(), Some("event" | "result")));
            }
        }
        FromGateway::Ignored { reason } => {
            assert!(reason.len() < 1024, "a reason as long as what caused it");
        }
    }
}

/// An integer by the other reader, to which `-0` is a float.
fn integer(parsed: &Parsed) -> Option<i64> {
    let minus_zero = parsed.is_f64()
        && parsed
            .as_f64()
            .is_some_and(|zero| zero == 0.0 && zero.is_sign_negative());
    parsed.as_i64().or(minus_zero.then_some(0))
}

fn check_event(event: &Event, object: &Parsed) {
    assert_eq!(object["type"].as_str(), Some("event"));
    assert_eq!(integer(&object["id"]), Some(event.id));
    let data = &object["data"];
    let (name, device) = match &event.kind {
        EventKind::RegistryUpdated { device, .. } => ("registry_updated", device),
        EventKind::OnlineUpdated {
            device,
            online,
            readings,
        } => {
            let state = match data["state"].as_bool() {
                Some(state) => Some(state),
                None => integer(&data["state"]).map(|number| number != 0),
            };
            assert_eq!(state, Some(*online));
            match readings {
                Some(readings) => check_readings(readings, &data["value"]),
                None => assert!(data["value"].is_null()),
            }
            ("online_updated", device)
        }
        EventKind::StateChanged { device, readings } => {
            check_readings(readings, &data["value"]);
            ("state_changed", device)
        }
        EventKind::Other { reason } => {
            assert!(reason.len() < 1024, "a reason as long as what caused it");
            return;
        }
    };
    assert_eq!(object["event_type"].as_str(), Some(name));
    assert_eq!(data["devid"].as_str(), Some(device.as_str()));
}

fn event_survives(id: i64, kind: &EventKind) {
    let mut out = Vec::new();
    write_event(&mut out, id, kind);
    if matches!(kind, EventKind::Other { .. }) {
        assert!(out.is_empty());
    } else {
        let event = Event {
            id,
            kind: kind.clone(),
        };
        assert_eq!(
            decode_from_gateway(&out),
            Ok((FromGateway::Event(event), None))
        );
    }
}

/// An unknown field in front takes a message off the quick way, and changes nothing else.
fn unusual_means_the_same(text: &str, message: &FromGateway, unknown: Option<&str>) {
    if let FromGateway::Event(_) | FromGateway::Reply { .. } = message {
        let unusual = text.replacen('{', "{\"~\":0,", 1);
        let (again, field) = decode_from_gateway(unusual.as_bytes()).expect("still an object");
        assert_eq!(&again, message);
        assert_eq!(field.as_deref(), Some("~"));
        assert!(unknown.is_none_or(|name| name.chars().count() <= 61));
    }
}

/// White space between tokens changes nothing but the very text of values.
fn white_space_means_nothing(text: &str, message: &FromGateway) {
    let tight = compact(text);
    assert_eq!(compact(&tight), tight);
    let (again, _) = decode_from_gateway(tight.as_bytes()).expect("still an object");
    match (message, &again) {
        (FromGateway::Event(one), FromGateway::Event(other)) => {
            let text = |event: &Event| {
                let mut out = Vec::new();
                write_event(&mut out, event.id, &event.kind);
                compact(&String::from_utf8(out).expect("JSON is text"))
            };
            assert_eq!(text(one), text(other));
        }
        (FromGateway::Reply { id, outcome }, FromGateway::Reply { id: i, outcome: o }) => {
            assert_eq!((id, outcome.is_ok()), (i, o.is_ok()));
            if let (Ok(result), Ok(other)) = (outcome, o) {
                assert_eq!(&compact(result), other);
            }
        }
        _ => assert_eq!(&again, message),
    }
}

/// The readers of answers take any text, and what they read is written as it was.
fn results(text: &str) {
    if let Ok(items) = split_array(text) {
        let joined = format!("[{}]", items.join(","));
        assert_eq!(split_array(&joined).as_ref(), Ok(&items));
        if !text.is_empty() {
            assert_eq!(parsed(joined.as_bytes()), parsed(text.as_bytes()));
        }
    }
    if let Ok(devices) = parse_devices(text) {
        let devices: Vec<_> = devices
            .into_iter()
            .map(|id| bare(id, Vec::new(), true))
            .collect();
        let ids: Vec<_> = devices.iter().map(|device| device.id().clone()).collect();
        let result = result(|out| write_result_devices(out, 7, &devices));
        assert_eq!(parse_devices(&result), Ok(ids));
    }
    if let Ok(entries) = parse_schemas(text) {
        let devices: Vec<_> = entries
            .iter()
            .map(|entry| device(entry.device.clone(), entry.schema.clone(), Vec::new(), true))
            .collect();
        let result = result(|out| write_result_schemas(out, 7, &devices));
        assert_eq!(parse_schemas(&result), Ok(entries));
    }
    if let Ok(entries) = parse_statuses(text) {
        let devices: Vec<_> = entries
            .iter()
            .map(|entry| bare(entry.device.clone(), entry.readings.clone(), entry.online))
            .collect();
        let result = result(|out| write_result_statuses(out, 7, &devices));
        assert_eq!(parse_statuses(&result), Ok(entries));
    }
}

/// Writes an answer and returns its `result` as a client gets it.
pub(crate) fn result(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    match decode_from_gateway(&out) {
        Ok((
            FromGateway::Reply {
                id: 7,
                outcome: Ok(result),
            },
            None,
        )) => result,
        other => panic!("an answer that is none: {other:?}"),
    }
}

fn bare(id: DeviceId, readings: Vec<Reading>, online: bool) -> Device {
    device(
        id,
        Schema::new("", Vec::new(), Vec::new()),
        readings,
        online,
    )
}

pub(crate) fn device(id: DeviceId, schema: Schema, readings: Vec<Reading>, online: bool) -> Device {
    let confirmed = Stamp {
        at: Timestamp(0),
        source: Source::Read,
    };
    Device::new(id, Arc::new(schema), online, readings, confirmed)
}

type MadeReadings = Vec<(String, Json)>;

/// A message of any content.
#[derive(Arbitrary, Debug)]
enum Made {
    Devices(i64, Vec<String>, bool),
    Write(i64, Vec<(String, MadeReadings)>),
    Registry(i64, String, i64),
    Online(i64, String, bool, Option<MadeReadings>),
    State(i64, String, MadeReadings),
    Refusal(i64, Vec<(String, Option<String>, u8, String)>),
    Success(i64),
    Schemas(Vec<MadeSchema>),
    Statuses(Vec<(String, bool, MadeReadings)>),
}

#[derive(Arbitrary, Debug)]
struct MadeSchema {
    device: String,
    category: String,
    function: Vec<(String, String, Json)>,
    status: Vec<(String, String, Json)>,
}

fn readings(made: &[(String, Json)]) -> Vec<Reading> {
    made.iter()
        .filter_map(|(code, json)| Some(Reading::new(&**code, value(json)?)))
        .collect()
}

/// A value; a message adds a few levels of nesting of its own.
fn value(json: &Json) -> Option<Value> {
    let mut text = String::new();
    json.write(&mut text);
    Value::parse(&text)
        .ok()
        .filter(|_| depth(&text) + 8 <= JSON_DEPTH_MAX)
}

/// What is made, written and read is what was made.
fn survives(made: &Made) {
    match made {
        Made::Devices(id, devices, schema) => {
            let ids = devices.iter().map(|id| DeviceId::from(&**id)).collect();
            let request = if *schema {
                Request::GetSchema(ids)
            } else {
                Request::GetStatus(ids)
            };
            request_survives(*id, request);
        }
        Made::Write(id, writes) => {
            let write = |(device, values): &(String, Vec<_>)| DeviceWrite {
                device: (&**device).into(),
                readings: readings(values),
            };
            request_survives(*id, Request::SetValue(writes.iter().map(write).collect()));
        }
        Made::Registry(id, device, state) => {
            let kind = EventKind::RegistryUpdated {
                device: (&**device).into(),
                state: *state,
            };
            event_survives(*id, &kind);
        }
        Made::Online(id, device, online, values) => {
            let kind = EventKind::OnlineUpdated {
                device: (&**device).into(),
                online: *online,
                readings: values.as_deref().map(readings),
            };
            event_survives(*id, &kind);
        }
        Made::State(id, device, values) => {
            let kind = EventKind::StateChanged {
                device: (&**device).into(),
                readings: readings(values),
            };
            event_survives(*id, &kind);
        }
        Made::Refusal(id, details) => {
            let detail =
                |(device, code_of, code, message): &(String, Option<String>, u8, String)| {
                    ErrorDetail {
                        device: (&**device).into(),
                        code_of: code_of.as_deref().map(Into::into),
                        code: ErrorCode::ALL[usize::from(*code) % ErrorCode::ALL.len()],
                        message: message.clone(),
                    }
                };
            match ErrorBody::from_details(details.iter().map(detail).collect()) {
                Some(error) => refusal_survives(*id, &error),
                None => assert!(details.is_empty()),
            }
        }
        Made::Success(id) => {
            let mut out = Vec::new();
            write_success(&mut out, *id);
            let reply = FromGateway::Reply {
                id: *id,
                outcome: Ok(String::new()),
            };
            assert_eq!(decode_from_gateway(&out), Ok((reply, None)));
        }
        Made::Schemas(schemas) => {
            let points = |made: &[(String, String, Json)]| {
                made.iter()
                    .filter_map(|(code, kind, json)| {
                        Some(DataPoint::new(&**code, kind, value(json)?))
                    })
                    .collect()
            };
            let devices: Vec<_> = schemas
                .iter()
                .map(|made| {
                    let function = points(&made.function);
                    let schema = Schema::new(&made.category, function, points(&made.status));
                    device((&*made.device).into(), schema, Vec::new(), true)
                })
                .collect();
            let result = result(|out| write_result_schemas(out, 7, &devices));
            let entries = parse_schemas(&result).expect("schemas");
            assert_eq!(entries.len(), devices.len());
            for (entry, device) in entries.iter().zip(&devices) {
                assert_eq!(
                    (&entry.device, &entry.schema),
                    (device.id(), &**device.schema())
                );
            }
        }
        Made::Statuses(statuses) => {
            let devices: Vec<_> = statuses
                .iter()
                .map(|(id, online, values)| bare((&**id).into(), readings(values), *online))
                .collect();
            let result = result(|out| write_result_statuses(out, 7, &devices));
            let entries = parse_statuses(&result).expect("statuses");
            assert_eq!(entries.len(), devices.len());
            for (entry, (device, (_, _, values))) in
                entries.iter().zip(devices.iter().zip(statuses))
            {
                assert_eq!(
                    (&entry.device, entry.online),
                    (device.id(), device.online())
                );
                assert_eq!(entry.readings, readings(values));
            }
        }
    }
}

fn request_survives(id: i64, request: Request) {
    let mut out = Vec::new();
    write_request(&mut out, id, &request);
    assert_eq!(
        decode_from_client(&out),
        FromClient::Request { id, request }
    );
}
