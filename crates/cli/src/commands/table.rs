//! Values as people read them: scaled, with their unit.

use hearthgate_protocol::model::{Schema, Value};

/// Returns a value and its unit as the schema of its device says.
pub(super) fn shown(schema: Option<&Schema>, code: &str, value: &Value) -> (String, String) {
    match schema.and_then(|schema| schema.reading(code)) {
        Some(point) => (point.spec().display(value), point.spec().unit().to_owned()),
        None => {
            let text = value.as_string().map(|text| text.into_owned());
            (
                text.unwrap_or_else(|| value.json().into_owned()),
                String::new(),
            )
        }
    }
}

/// Returns the same in one text.
pub(super) fn shown_with_unit(schema: Option<&Schema>, code: &str, value: &Value) -> String {
    let (value, unit) = shown(schema, code, value);
    if unit.is_empty() {
        value
    } else {
        format!("{value} {unit}")
    }
}

/// Returns how people say whether a device is in reach.
pub(super) fn reach(online: bool) -> &'static str {
    if online { "online" } else { "offline" }
}
