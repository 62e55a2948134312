//! Voltage, current and power of one phase, which meters report in one value: bytes, or JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use crate::number;
use crate::point::Values;

/// The names of the parts.
pub(crate) const PARTS: &[&str] = &["electriccurrent", "power", "voltage"];

/// One part of a phase: voltage in V, current in A, power in kW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Electric {
    Current,
    Power,
    Voltage,
}

impl Electric {
    pub(crate) fn named(part: &str) -> Option<Self> {
        match part {
            "electriccurrent" => Some(Self::Current),
            "power" => Some(Self::Power),
            "voltage" => Some(Self::Voltage),
            _ => None,
        }
    }

    pub(crate) fn derived(self, code: &str, values: Values<'_>) -> Option<Json> {
        let value = values.raw(code)?;
        let number = match value.as_string() {
            Some(text) => match serde_json::from_str::<Map<String, Json>>(&text) {
                Ok(object) => self.in_object(&object)?,
                Err(_) => self.in_bytes(&STANDARD.decode(&*text).ok()?)?,
            },
            None => self.in_object(&serde_json::from_str(&value.json()).ok()?)?,
        };
        let mut state = Map::new();
        state.insert("value".to_owned(), number::json(number));
        Some(Json::Object(state))
    }

    fn in_object(self, object: &Map<String, Json>) -> Option<Decimal> {
        let name = match self {
            Self::Current => "electriccurrent",
            Self::Power => "power",
            Self::Voltage => "voltage",
        };
        let (_, value) = object
            .iter()
            .find(|(key, _)| key.to_ascii_lowercase() == name)?;
        match value {
            Json::Number(number) => number::parsed(&number.to_string()),
            Json::String(text) => number::parsed(text),
            _ => None,
        }
    }

    /// Two bytes of 0.1 V, three of mA, three of W, all big-endian.
    fn in_bytes(self, bytes: &[u8]) -> Option<Decimal> {
        let (range, power) = match self {
            Self::Voltage => (0..2, -1),
            Self::Current => (2..5, -3),
            Self::Power => (5..8, -3),
        };
        let number = bytes
            .get(range)?
            .iter()
            .fold(0i64, |number, byte| (number << 8) | i64::from(*byte));
        number::shifted(Decimal::from(number), power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_volts_amperes_kilowatts() {
        let bytes = [0x09, 0x2d, 0x00, 0x13, 0x88, 0x00, 0x04, 0x7e, 0x00];
        let read = |part: Electric| part.in_bytes(&bytes).unwrap().to_string();
        assert_eq!(read(Electric::Voltage), "234.9");
        assert_eq!(read(Electric::Current), "5");
        assert_eq!(read(Electric::Power), "1.15");
        assert_eq!(Electric::Power.in_bytes(&bytes[..7]), None);
    }

    #[test]
    fn names_are_read_in_any_case() {
        let object =
            serde_json::from_str("{\"electricCurrent\":0.552,\"Power\":\"6.9\",\"voltage\":230}")
                .unwrap();
        assert_eq!(
            Electric::Current.in_object(&object).unwrap().to_string(),
            "0.552"
        );
        assert_eq!(
            Electric::Power.in_object(&object).unwrap().to_string(),
            "6.9"
        );
        assert_eq!(
            Electric::Voltage.in_object(&object).unwrap().to_string(),
            "230"
        );
    }
}
