//! The state object of a device, and its momentary events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::model::{Reading, Source, Spec, Timestamp};
use serde_json::{Map, Value as Json};

use super::generic::TRIGGERED;
use super::topic::{DERIVED, state_key};
use super::{HaEvent, Mapping};
use crate::entity::Platform;
use crate::platform::Kind;
use crate::point::{Point, Values};

/// Makes the whole state object.
pub(super) fn object(mapping: &Mapping, values: Values<'_>) -> Map<String, Json> {
    let mut state = Map::new();
    for point in mapping.points().iter().filter(|point| point.readable()) {
        state.insert(state_key(&point.code), values.user(&point.code));
    }
    let mut derived = Map::new();
    for entity in mapping.entities() {
        if let Some(known) = entity.kind.derived(&entity.code, values) {
            derived.insert(entity.key.clone(), known);
        }
        if let Kind::Vacuum(vacuum) = &entity.kind {
            vacuum.lift(values, &mut state);
        }
    }
    let seen = values
        .device
        .points()
        .iter()
        .filter(|point| point.confirmed.source != Source::Cache);
    if let Some(last) = seen.map(|point| point.confirmed.at).max() {
        derived.insert("last_seen".to_owned(), Json::from(iso(last)));
    }
    if !derived.is_empty() {
        state.insert(DERIVED.to_owned(), Json::Object(derived));
    }
    state
}

/// Makes the events of live readings.
pub(super) fn events(mapping: &Mapping, readings: &[Reading]) -> Vec<HaEvent> {
    let mut events = Vec::new();
    for reading in readings {
        let code = reading.code.as_str();
        let entities = mapping.entities().iter();
        let event = entities
            .filter(|entity| entity.platform == Platform::Event && entity.code == code)
            .any(|_| true);
        let Some(point) = mapping.points().get(code).filter(|_| event) else {
            continue;
        };
        let Some(event_type) = event_type(point, reading) else {
            continue;
        };
        let mut payload = Map::new();
        payload.insert("code".to_owned(), Json::from(code));
        payload.insert("event_type".to_owned(), Json::from(event_type.as_str()));
        payload.insert("value".to_owned(), point.user(&reading.value));
        if let Some(message) = message(point, reading) {
            payload.insert("message".to_owned(), Json::from(message));
        }
        events.push(HaEvent {
            code: code.to_owned(),
            event_type,
            payload,
        });
    }
    events
}

fn event_type(point: &Point, reading: &Reading) -> Option<String> {
    match point.spec() {
        Spec::Enum { .. } => {
            let word = reading.value.as_string().filter(|word| !word.is_empty())?;
            let known = point.words();
            if known.is_empty() {
                Some(TRIGGERED.to_owned())
            } else {
                Some(point.label(&word).to_owned())
            }
        }
        // A bell that is let go does not ring.
        Spec::Boolean => point
            .user(&reading.value)
            .as_bool()
            .filter(|on| *on)
            .map(|_| TRIGGERED.to_owned()),
        _ => reading
            .value
            .as_string()
            .is_none_or(|text| !text.is_empty())
            .then(|| TRIGGERED.to_owned()),
    }
}

/// Returns the text within base64, which doorbells send.
fn message(point: &Point, reading: &Reading) -> Option<String> {
    if !matches!(point.spec(), Spec::String { .. } | Spec::Raw { .. }) {
        return None;
    }
    String::from_utf8(STANDARD.decode(&*reading.value.as_string()?).ok()?).ok()
}

/// Returns a time as ISO 8601 in UTC.
fn iso(at: Timestamp) -> String {
    let (seconds, milliseconds) = (at.0.div_euclid(1000), at.0.rem_euclid(1000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date, years beginning in March (H. Hinnant's algorithm for the civil calendar).
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, early) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year_of_era + era * 400 + early;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601() {
        for (at, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_764_082_799_123, "2025-11-25T14:59:59.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso(Timestamp(at)), expected);
        }
    }
}
