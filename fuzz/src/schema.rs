//! Any declaration and any value: kept to the byte, shown and read back, checked as section 5 says;
//! and any device profile (section 11).
//!
//! Input: a profile, whose first byte is `{`; or lines: the type, `values` (behind a `=` the JSON
//! itself, else the content of the string), a value in JSON, and what a person writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::model::{DataPoint, Reading, Refusal, Schema, Spec, Value, check_write};
use hearthgate_protocol::wire::{
    DeviceWrite, FromClient, Profile, Request, decode_from_client, parse_schemas, split_array,
    write_request, write_result_schemas, write_result_statuses,
};
use rust_decimal::Decimal;
use serde_json::Value as Parsed;

use crate::input::{depth, quoted};
use crate::message::{device, result};

/// The levels that a message adds to the nesting of a value.
const LEVELS: usize = 8;

/// Runs the target.
///
/// # Panics
/// Where a property does not hold.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        let _ = Profile::parse(&String::from_utf8_lossy(data));
        return;
    };
    profile(text);
    let mut lines = text.splitn(4, '\n');
    let (Some(kind), Some(values)) = (lines.next(), lines.next()) else {
        return;
    };
    let values = match values.strip_prefix('=') {
        None => Value::from(values),
        Some(json) => match Value::parse(json) {
            Ok(values) => values,
            Err(_) => return,
        },
    };
    let point = DataPoint::new("dp", kind, values.clone());
    assert_eq!((point.code().as_str(), point.type_name()), ("dp", kind));
    assert_eq!(point.values(), &values);
    is_sensible(point.spec(), kind);
    let schema = Schema::new(
        "kg",
        vec![point.clone()],
        vec![DataPoint::new("up", kind, values)],
    );
    schema_survives(&schema);

    let value = lines.next().and_then(|line| Value::parse(line).ok());
    if let Some(value) = &value {
        shown_and_read(point.spec(), value);
        checked(&schema, point.spec(), value);
    }
    written(&schema, point.spec(), lines.next().unwrap_or_default());
}

/// The type decides what a declaration is; what makes no sense in it is absent.
fn is_sensible(spec: &Spec, kind: &str) {
    let expected = match kind.to_ascii_lowercase().as_str() {
        "boolean" | "bool" => matches!(spec, Spec::Boolean),
        "integer" | "value" => matches!(spec, Spec::Integer(_)),
        "enum" => matches!(spec, Spec::Enum { .. }),
        "string" => matches!(spec, Spec::String { .. }),
        "json" | "object" => matches!(spec, Spec::Json),
        "raw" => matches!(spec, Spec::Raw { .. }),
        "bitmap" | "fault" => matches!(spec, Spec::Bitmap { .. }),
        _ => matches!(spec, Spec::Unknown),
    };
    assert!(expected, "{kind}: {spec:?}");
    match spec {
        Spec::Integer(spec) => {
            assert!(spec.scale <= 28, "a scale that no decimal holds");
            assert!(spec.step.is_none_or(|step| step > Decimal::ZERO));
        }
        Spec::Bitmap { labels, bits } if !labels.is_empty() => {
            assert_eq!(*bits, u32::try_from(labels.len()).ok());
        }
        _ => {}
    }
    assert!(matches!(spec, Spec::Integer(_)) || spec.unit().is_empty());
}

fn schema_survives(schema: &Schema) {
    let deep = |point: &DataPoint| depth(&point.values().json()) + LEVELS > 64;
    if schema.functions().iter().chain(schema.statuses()).any(deep) {
        return;
    }
    let device = device("d".into(), schema.clone(), Vec::new(), true);
    let result = result(|out| write_result_schemas(out, 7, [&device]));
    let entries = parse_schemas(&result).expect("schemas");
    assert_eq!(entries.len(), 1);
    assert_eq!(&entries[0].schema, schema);
}

/// What a person is shown can be written back and means the same.
fn shown_and_read(spec: &Spec, value: &Value) {
    let shown = spec.display(value);
    let meant = match spec {
        Spec::Boolean if value.as_bool().is_some() => value.json().into_owned(),
        Spec::Integer(_) => match value.as_i64() {
            Some(number) => number.to_string(),
            None => return,
        },
        Spec::Enum { .. } | Spec::String { .. } | Spec::Raw { .. } => match value.as_string() {
            Some(text) => quoted(&text),
            None => return,
        },
        Spec::Bitmap { .. } => match value.as_i64() {
            Some(flags) => flags.to_string(),
            None => return,
        },
        Spec::Unknown | Spec::Json | Spec::Boolean => return,
    };
    let read = spec.parse_input(&shown);
    let read = read.unwrap_or_else(|error| panic!("{value} is shown as {shown}: {error}"));
    let (read, meant): (Parsed, Parsed) = (
        serde_json::from_str(&read.json()).expect("JSON"),
        serde_json::from_str(&meant).expect("JSON"),
    );
    assert_eq!(read, meant, "{value} is shown as {shown}");
}

/// A write is accepted exactly where section 5 says so, by another reader of the value.
fn checked(schema: &Schema, spec: &Spec, value: &Value) {
    let lax = check_write(schema, "dp", value, false);
    let strict = check_write(schema, "dp", value, true);
    assert!(
        lax.is_ok() || strict.is_err(),
        "strict takes what lax refuses"
    );
    for code in ["up", "other"] {
        let refusal = check_write(schema, code, value, false);
        assert!(matches!(refusal, Err(Refusal::UnsupportedCode(_))));
    }
    match &lax {
        Ok(()) => write_survives(value),
        Err(Refusal::InvalidValue(message)) => assert!(message.starts_with("dp: ")),
        Err(other) => panic!("{other:?} for a code that is declared"),
    }
    if let Ok(parsed) = serde_json::from_str::<Parsed>(&value.json())
        && value.json() != "-0"
    {
        let (accepted, on_step) = accepts(spec, &parsed);
        assert_eq!(lax.is_ok(), accepted, "{spec:?} {value}: {lax:?}");
        if let Some(on_step) = on_step {
            assert_eq!(
                strict.is_ok(),
                accepted && on_step,
                "{spec:?} {value}: {strict:?}"
            );
        }
    }
}

/// Tells whether a value is within its declaration, and on a step where that can be told in 64 bits.
fn accepts(spec: &Spec, value: &Parsed) -> (bool, Option<bool>) {
    let fits = |length: usize, most: &Option<usize>| most.is_none_or(|most| length <= most);
    let accepted = match (spec, value) {
        (Spec::Boolean, value) => value.is_boolean(),
        (Spec::Integer(spec), value) => {
            let Some(number) = value.as_i64() else {
                return (false, Some(true));
            };
            let exact = Decimal::from(number);
            let within =
                spec.min.is_none_or(|min| exact >= min) && spec.max.is_none_or(|max| exact <= max);
            let whole = |number: Decimal| {
                i64::try_from(number)
                    .ok()
                    .filter(|w| Decimal::from(*w) == number)
            };
            let on_step = match (spec.step, spec.min.unwrap_or_default()) {
                (None, _) => Some(true),
                (Some(step), min) => match (whole(step), whole(min)) {
                    (Some(step), Some(min)) => {
                        Some((i128::from(number) - i128::from(min)) % i128::from(step) == 0)
                    }
                    _ => None,
                },
            };
            return (within, on_step);
        }
        (Spec::Enum { range }, Parsed::String(word)) => {
            range.is_empty() || range.iter().any(|known| **known == **word)
        }
        (Spec::String { maxlen }, Parsed::String(text)) => fits(text.len(), maxlen),
        (Spec::Raw { maxlen }, Parsed::String(text)) => STANDARD
            .decode(text)
            .is_ok_and(|bytes| fits(bytes.len(), maxlen)),
        (Spec::Json, Parsed::Object(_)) => true,
        (Spec::Json, Parsed::String(text)) => match serde_json::from_str::<Parsed>(text) {
            Ok(_) => depth(text) <= 64,
            // The other reader may not like what is well formed.
            Err(_) => Value::parse(text).is_ok(),
        },
        (Spec::Bitmap { bits, .. }, value) => value.as_i64().is_some_and(|flags| {
            flags >= 0 && bits.is_none_or(|bits| bits >= 63 || flags < 1 << bits)
        }),
        (Spec::Unknown, value) => {
            value.is_boolean() || value.as_i64().is_some() || value.is_string() || value.is_object()
        }
        _ => false,
    };
    (accepted, Some(true))
}

/// An accepted value reaches the gateway as it was.
fn write_survives(value: &Value) {
    if depth(&value.json()) + LEVELS > 64 {
        return;
    }
    let request = Request::SetValue(vec![DeviceWrite {
        device: "d".into(),
        readings: vec![Reading::new("dp", value.clone())],
    }]);
    let mut out = Vec::new();
    write_request(&mut out, 1, &request);
    assert_eq!(
        decode_from_client(&out),
        FromClient::Request { id: 1, request }
    );
}

/// What a person writes is understood or refused; understood, it is shown as what it meant.
fn written(schema: &Schema, spec: &Spec, text: &str) {
    let Ok(value) = spec.parse_input(text) else {
        assert!(
            !matches!(
                spec,
                Spec::Enum { .. } | Spec::String { .. } | Spec::Raw { .. } | Spec::Unknown
            ),
            "a text is refused where any text is a value"
        );
        return;
    };
    assert_eq!(
        Value::parse(&value.json()).as_ref(),
        Ok(&value),
        "a value that is no JSON"
    );
    let _ = check_write(schema, "dp", &value, true);
    match spec {
        Spec::Boolean => assert!(value.as_bool().is_some()),
        Spec::Bitmap { .. } => assert!(value.as_i64().is_some()),
        Spec::Integer(spec) => {
            let raw = value.as_i64().expect("an Integer's input is an integer");
            let shown = spec
                .scaled(&value)
                .expect("a 64-bit integer has a quantity");
            assert_eq!(
                shown * Decimal::from(10u64.pow(spec.scale)),
                Decimal::from(raw)
            );
            // By another reader of plain notation.
            if let Ok(quantity) = Decimal::from_str_exact(text.trim()) {
                assert_eq!(shown, quantity, "`{text}` is taken as {shown}");
            }
        }
        Spec::Enum { .. } | Spec::String { .. } | Spec::Raw { .. } => {
            assert_eq!(value.as_string().as_deref(), Some(text));
        }
        Spec::Json => assert_eq!(
            value.json().trim(),
            text.trim_matches([' ', '\t', '\n', '\r'])
        ),
        Spec::Unknown => {}
    }
}

/// A profile is written as the wire has it and read as it was; an error lies within the text.
fn profile(text: &str) {
    let profile = match Profile::parse(text) {
        Ok(profile) => profile,
        Err(error) => {
            let error = error.to_string();
            let mut numbers = error
                .split(|character: char| !character.is_ascii_digit())
                .filter_map(|number| number.parse::<usize>().ok());
            let (Some(line), Some(column)) = (numbers.next(), numbers.next()) else {
                panic!("an error without a place: {error}");
            };
            let place = text.split('\n').nth(line.saturating_sub(1));
            assert!(line >= 1 && column >= 1, "{error}");
            let place = place.unwrap_or_else(|| panic!("no such line: {error}"));
            assert!(
                column <= place.len() + 1,
                "no such column in `{place}`: {error}"
            );
            return;
        }
    };
    let Profile {
        device: id,
        name,
        schema,
        online,
        readings,
    } = profile.clone();
    let values = schema
        .functions()
        .iter()
        .chain(schema.statuses())
        .map(DataPoint::values);
    let mut values = values.chain(readings.iter().map(|reading| &reading.value));
    if values.any(|value| depth(&value.json()) + LEVELS > 64) {
        return;
    }
    let device = device(id, (*schema).clone(), readings, online);
    let one = |result: String| split_array(&result).expect("an array").remove(0);
    let schema = one(result(|out| write_result_schemas(out, 7, [&device])));
    let status = one(result(|out| write_result_statuses(out, 7, [&device])));
    let name = name.map_or("null".to_owned(), |name| quoted(&name));
    let whole = format!(
        "{},\n\"name\":{name},\n{}",
        schema.trim_end_matches('}'),
        status.trim_start_matches('{')
    );
    assert_eq!(Profile::parse(&whole), Ok(profile));
}
