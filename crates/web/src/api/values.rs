//! Values: reading all of a device, writing some, in the user's units or as the wire has them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use hearthgate_hub::DeviceRef;
use hearthgate_protocol::model::{Device, Reading, Spec, Value};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::extract::{Ask, Params};
use crate::listing;
use crate::problem::{Problem, Problems};
use crate::view::in_units;

/// In which units.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Units {
    /// Whether values are as the wire has them, and not in the user's units.
    raw: Option<bool>,
}

/// A write that the gateway took.
#[derive(Serialize, ToSchema)]
#[schema(as = Written)]
pub(crate) struct Written {
    /// The data points, in the order in which they were written.
    points: Vec<String>,
    /// How long the gateway took, in milliseconds.
    took_ms: u64,
}

/// Data points and their values, in the order in which they were given.
struct Writes(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Writes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Writes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object {\"code\": value, ..}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Writes, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Writes(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Reads the values of a device: `{"code":value,..}`
#[utoipa::path(
    get, path = "/api/v1/devices/{gateway}/{device}/values", operation_id = "read_values", tag = "values",
    params(("gateway" = String, Path, description = "The uuid of its gateway"), ("device" = String, Path, description = "Its id"), Units),
    responses(
        (status = 200, body = BTreeMap<String, serde_json::Value>), (status = 304, description = "Known already"), Problems
    ),
)]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Params((gateway, device)): Params<(String, String)>,
    Ask(units): Ask<Units>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = self::device(&app, &gateway, &device)?;
    let raw = units.raw.unwrap_or_default();
    let values: BTreeMap<&str, Box<RawValue>> = found
        .points()
        .iter()
        .map(|point| {
            let code = point.code.as_str();
            let spec = found.schema().reading(code).filter(|_| !raw);
            let spec = spec.map_or(&Spec::Unknown, |declared| declared.spec());
            (code, in_units(spec, &point.value))
        })
        .collect();
    Ok(listing::json(&headers, &values))
}

/// Writes values of a device: `{"code":value,..}`
///
/// The gateway checks all of it before it does any. A number is in the user's units, `21.5`; true, false, `"on"` and `"off"` are a
/// switch's; flags are a list of their names. The new state comes as an event.
#[utoipa::path(
    put, path = "/api/v1/devices/{gateway}/{device}/values", operation_id = "write_values", tag = "values",
    params(("gateway" = String, Path, description = "The uuid of its gateway"), ("device" = String, Path, description = "Its id"), Units),
    request_body(content = BTreeMap<String, serde_json::Value>),
    responses((status = 200, body = Written), Problems),
)]
pub(crate) async fn write(
    State(app): State<Arc<App>>,
    Params((gateway, device)): Params<(String, String)>,
    Ask(units): Ask<Units>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<axum::Json<Written>, Problem> {
    let Writes(writes) = parse(&headers, &body)?;
    let found = self::device(&app, &gateway, &device)?;
    if writes.is_empty() {
        let detail = "there is nothing to write: give at least one {\"code\": value}";
        return Err(Problem::invalid(detail));
    }
    let mut readings = Vec::new();
    for (code, given) in writes {
        let value = to_wire(&found, &code, given.get(), units.raw.unwrap_or_default())?;
        readings.push(Reading::new(&*code, value));
    }
    let points = readings.iter().map(|reading| reading.code.to_string());
    let points = points.collect();
    let device = DeviceRef::new(gateway, device);
    let started = Instant::now();
    let outcome = app.hub.write(&device, readings).await;
    let took = started.elapsed();
    let outcome = outcome.map_err(Problem::from);
    let name = match &outcome {
        Ok(_) => "done",
        Err(problem) => problem.code(),
    };
    app.metrics.write(&device.gateway, name, took);
    outcome?;
    Ok(axum::Json(Written {
        points,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// Returns a device.
pub(super) fn device(app: &App, gateway: &str, device: &str) -> Result<Device, Problem> {
    if app.gateway(gateway).is_none() {
        return Err(Problem::no_gateway(gateway));
    }
    app.device(gateway, device)
        .ok_or_else(|| Problem::no_device(device))
}

fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Writes, Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let detail = "values are sent as JSON, with `Content-Type: application/json`";
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request",
            detail,
        ));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::invalid(format!("the body is no object of values: {error}")))
}

/// Makes the wire's value of what was given.
fn to_wire(device: &Device, code: &str, json: &str, raw: bool) -> Result<Value, Problem> {
    let wrong =
        |detail: String| Problem::value(device.id().as_str(), code, format!("{code}: {detail}"));
    let verbatim = Value::parse(json).map_err(|error| wrong(error.to_string()))?;
    let Some(declared) = device.schema().function(code).filter(|_| !raw) else {
        // The gateway has the word on what it does not declare, and on what is given as it is.
        return Ok(verbatim);
    };
    let spec = declared.spec();
    let text = verbatim.as_string();
    match (spec, &text) {
        (Spec::Boolean | Spec::Integer(_) | Spec::Bitmap { .. }, Some(text)) => {
            spec.parse_input(text).map_err(wrong)
        }
        (Spec::Integer(integer), None) if is_number(json) => integer.unscaled(json).map_err(wrong),
        (Spec::Bitmap { .. }, None) if json.starts_with('[') => {
            let names: Vec<String> = serde_json::from_str(json)
                .map_err(|_| wrong("a list of flags holds their names".to_owned()))?;
            if names.is_empty() {
                Ok(Value::from(0))
            } else {
                spec.parse_input(&names.join(",")).map_err(wrong)
            }
        }
        _ => Ok(verbatim),
    }
}

fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use hearthgate_protocol::model::{DataPoint, Schema, Source, Stamp, Timestamp};

    use super::*;

    fn device() -> Device {
        let point =
            |code: &str, kind: &str, values: &str| DataPoint::new(code, kind, Value::from(values));
        let function = vec![
            point("switch", "Boolean", "{}"),
            point(
                "temp_set",
                "Integer",
                "{\"min\":50,\"max\":350,\"scale\":1}",
            ),
            point("mode", "Enum", "{\"range\":[\"auto\",\"1\"]}"),
            point("flags", "Bitmap", "{\"label\":[\"low\",\"high\"]}"),
            point("colour", "Json", "{}"),
        ];
        let stamp = Stamp {
            at: Timestamp(0),
            source: Source::Read,
        };
        let schema = Arc::new(Schema::new("wk", function, Vec::new()));
        Device::new("d".into(), schema, true, [], stamp)
    }

    fn check(code: &str, json: &str, wire: &str) {
        let value = to_wire(&device(), code, json, false).unwrap();
        assert_eq!(value.json(), wire, "{code} {json}");
    }

    #[test]
    fn values_are_in_the_users_units() {
        check("temp_set", "21.5", "215");
        check("temp_set", "21", "210");
        check("temp_set", "\"21.5\"", "215");
        check("temp_set", "2.15e1", "215");
        check("switch", "true", "true");
        check("switch", "\"off\"", "false");
        check("mode", "\"1\"", "\"1\"");
        check("flags", "[\"high\"]", "2");
        check("flags", "[]", "0");
        check("flags", "3", "3");
        check("colour", "{\"h\": 1}", "{\"h\": 1}");
        check("unheard_of", "1", "1");
    }

    #[test]
    fn raw_values_are_left_alone() {
        let value = to_wire(&device(), "temp_set", "215", true).unwrap();
        assert_eq!(value.json(), "215");
    }

    #[test]
    fn what_has_no_meaning_is_refused_in_words() {
        for (code, json) in [
            ("temp_set", "21.55"),
            ("temp_set", "\"warm\""),
            ("switch", "\"perhaps\""),
            ("flags", "[1]"),
            ("flags", "[\"unknown\"]"),
        ] {
            let problem = to_wire(&device(), code, json, false).unwrap_err();
            assert_eq!(problem.code(), "invalid_value", "{code} {json}");
        }
    }

    #[test]
    fn writes_keep_their_order() {
        let writes: Writes = serde_json::from_str(r#"{"b":1,"a":{"x":[1.50]}}"#).unwrap();
        let texts: Vec<_> = writes
            .0
            .iter()
            .map(|(code, value)| (code.as_str(), value.get()))
            .collect();
        assert_eq!(texts, [("b", "1"), ("a", r#"{"x":[1.50]}"#)]);
        assert!(serde_json::from_str::<Writes>("[]").is_err());
    }
}
