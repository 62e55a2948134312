//! What is odd about a device's schema and its values. Pure.
//!
//! Input is what `doctor` has read; output are sentences for people. Nothing here is a fault: reading
//! is lenient, and every oddity survives a round trip (section 5). A data point that only reports is
//! not odd, every sensor has some.

use std::collections::BTreeSet;
use std::fmt;

use hearthgate_protocol::model::{Code, DataPoint, Reading, Refusal, Schema, Spec, check_write};
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use crate::report::bounded;

/// The most of one device that are listed, and a last one that counts the others.
pub const ODDITIES_MAX: usize = 200;
/// The most decimal places that the protocol crate takes a `scale` for.
const SCALE_MAX: u64 = 18;
/// The bits that an integer of the wire can hold.
const BITS_MAX: u64 = 63;

/// Something odd about one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// The data point, if it is about one.
    pub code: Option<Code>,
    /// What is odd, for people.
    pub text: String,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Lists what is odd about a schema and about the values that were reported under it.
pub fn oddities(schema: &Schema, readings: &[Reading]) -> Vec<Oddity> {
    let mut found = Found::default();
    if schema.category().is_empty() {
        found.add(None, "the category is empty");
    }
    if schema.functions().is_empty() && schema.statuses().is_empty() {
        found.add(None, "it declares no data points");
    }
    declarations(&mut found, "function", schema.functions());
    declarations(&mut found, "status", schema.statuses());
    for function in schema.functions() {
        both_directions(
            &mut found,
            function,
            schema.status(function.code().as_str()),
        );
    }
    let mut reported = BTreeSet::new();
    for Reading { code, value } in readings {
        if !reported.insert(code.as_str()) {
            found.add(Some(code), "is reported twice in one status");
        }
        match schema.reading(code.as_str()) {
            None => found.add(Some(code), "is reported and not declared"),
            Some(point) => {
                if schema.status(code.as_str()).is_none() {
                    found.add(
                        Some(code),
                        "is reported, though only `function` declares it",
                    );
                }
                // A write is checked strictly: that is the measure of what is odd.
                let alone = Schema::new("", vec![point.clone()], Vec::new());
                if let Err(Refusal::InvalidValue(text)) =
                    check_write(&alone, code.as_str(), value, true)
                {
                    let prefix = format!("{code}: ");
                    let text = text.strip_prefix(&prefix).unwrap_or(&text);
                    found.add(Some(code), format!("its value {text}"));
                }
            }
        }
    }
    found.list
}

/// What was found so far, each once.
#[derive(Default)]
struct Found {
    list: Vec<Oddity>,
    more: usize,
}

impl Found {
    fn add(&mut self, code: Option<&Code>, text: impl Into<String>) {
        let oddity = Oddity {
            code: code.cloned(),
            text: bounded(&text.into()),
        };
        if self.list.contains(&oddity) {
            return;
        }
        if self.list.len() < ODDITIES_MAX {
            self.list.push(oddity);
            return;
        }
        self.more += 1;
        self.list.truncate(ODDITIES_MAX);
        self.list.push(Oddity {
            code: None,
            text: format!("and {} more", self.more),
        });
    }
}

/// Looks at the data points of one direction.
fn declarations(found: &mut Found, direction: &str, points: &[DataPoint]) {
    let mut seen = BTreeSet::new();
    for point in points {
        let code = point.code();
        if !seen.insert(code.as_str()) {
            found.add(Some(code), format!("is declared twice in `{direction}`"));
        }
        declaration(found, point);
    }
}

fn both_directions(found: &mut Found, function: &DataPoint, status: Option<&DataPoint>) {
    let code = Some(function.code());
    match status {
        None => found.add(code, "takes writes and never reports (no `status` for it)"),
        Some(status) if status.type_name() != function.type_name() => {
            let (write, read) = (function.type_name(), status.type_name());
            let text = format!("is {write} in `function` and {read} in `status`");
            found.add(code, text);
        }
        Some(status) if status.spec() != function.spec() => {
            found.add(code, "has other limits in `function` than in `status`");
        }
        Some(_) => {}
    }
}

fn declaration(found: &mut Found, point: &DataPoint) {
    let code = Some(point.code());
    if matches!(point.spec(), Spec::Unknown) {
        let name = point.type_name();
        found.add(code, format!("has the unknown type `{name}`"));
    }
    let values = point.values();
    let text = match values.as_string() {
        Some(text) => text,
        None => {
            let kind = values.type_name();
            found.add(
                code,
                format!("`values` is {kind}, not a string that holds JSON"),
            );
            values.json()
        }
    };
    let Ok(Json::Object(fields)) = serde_json::from_str::<Json>(&text) else {
        return found.add(code, "`values` holds no JSON object");
    };
    match point.spec() {
        Spec::Integer(_) => integer(found, point.code(), &fields),
        Spec::Enum { range } => {
            if !matches!(fields.get("range"), Some(Json::Array(_))) || range.is_empty() {
                found.add(code, "an Enum without a range: any word is taken");
            }
            words(found, point.code(), "range", &fields);
        }
        Spec::String { .. } | Spec::Raw { .. } => {
            number(found, point.code(), "maxlen", &fields);
        }
        Spec::Bitmap { labels, bits } => {
            words(found, point.code(), "label", &fields);
            if labels.is_empty() {
                number(found, point.code(), "maxlen", &fields);
            }
            match bits {
                None => found.add(code, "a Bitmap without labels and without maxlen"),
                Some(bits) if u64::from(*bits) > BITS_MAX => {
                    found.add(
                        code,
                        format!("a Bitmap of {bits} bits, more than {BITS_MAX}"),
                    );
                }
                Some(_) => {}
            }
        }
        Spec::Boolean | Spec::Json | Spec::Unknown => {}
    }
}

fn integer(found: &mut Found, code: &Code, fields: &Map<String, Json>) {
    let min = number(found, code, "min", fields);
    let max = number(found, code, "max", fields);
    let step = number(found, code, "step", fields);
    let scale = number(found, code, "scale", fields);
    let code = Some(code);
    match (min, max) {
        (Some(min), Some(max)) if min > max => {
            found.add(code, format!("min {min} is above max {max}"));
        }
        (Some(min), Some(max)) => {
            let range = max.checked_sub(min);
            if let (Some(step), Some(range)) = (step, range)
                && step > range
            {
                found.add(
                    code,
                    format!("step {step} is more than max - min = {range}"),
                );
            }
        }
        _ => found.add(code, "an Integer without min or max: no limit is known"),
    }
    if let Some(step) = step.filter(|step| *step <= Decimal::ZERO) {
        found.add(code, format!("step {step} is not above 0"));
    }
    let Some(scale) = scale else { return };
    let is_places =
        scale.is_integer() && scale >= Decimal::ZERO && scale <= Decimal::from(SCALE_MAX);
    if !is_places {
        found.add(
            code,
            format!("scale {scale} is no number of decimal places, taken as 0"),
        );
    } else if scale > Decimal::ZERO && unit(fields).is_empty() {
        found.add(
            code,
            format!("scale {scale} and no unit: what is measured is not said"),
        );
    }
}

/// Reads a number and says what is odd about it.
fn number(
    found: &mut Found,
    code: &Code,
    name: &str,
    fields: &Map<String, Json>,
) -> Option<Decimal> {
    let text = match fields.get(name)? {
        Json::Number(number) => number.to_string(),
        Json::String(text) => {
            found.add(
                Some(code),
                format!("{name} is the string \"{text}\", not a number"),
            );
            text.trim().to_owned()
        }
        other => {
            found.add(Some(code), format!("{name} is {other}, not a number"));
            return None;
        }
    };
    let number = Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text));
    if number.is_err() {
        found.add(
            Some(code),
            format!("{name} is {text}, which cannot be read"),
        );
    }
    number.ok()
}

fn words(found: &mut Found, code: &Code, name: &str, fields: &Map<String, Json>) {
    let mut seen = BTreeSet::new();
    for word in fields
        .get(name)
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        match word.as_str() {
            None => found.add(Some(code), format!("{name} holds {word}, not a string")),
            Some(text) if !seen.insert(text) => {
                found.add(Some(code), format!("{name} holds \"{text}\" twice"));
            }
            Some(_) => {}
        }
    }
}

fn unit(fields: &Map<String, Json>) -> &str {
    let unit = fields.get("unit").and_then(Json::as_str);
    unit.unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
