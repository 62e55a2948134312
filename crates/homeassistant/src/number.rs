//! Exact decimal numbers between wire, user and JSON; no value, no schema.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::{Number, Value};

/// Multiplies by a power of ten, exactly or not at all.
pub(crate) fn shifted(number: Decimal, power: i32) -> Option<Decimal> {
    let scale = i64::from(number.scale()) - i64::from(power);
    let shifted = if scale >= 0 {
        Decimal::try_from_i128_with_scale(number.mantissa(), u32::try_from(scale).ok()?).ok()?
    } else {
        let zeros = u32::try_from(-scale).ok()?;
        let mantissa = number.mantissa().checked_mul(10i128.checked_pow(zeros)?)?;
        Decimal::try_from_i128_with_scale(mantissa, 0).ok()?
    };
    Some(shifted.normalize())
}

/// Returns a number as JSON: a number where that is exact, else a string of digits, which templates
/// and [`parsed`] read all the same.
pub(crate) fn json(number: Decimal) -> Value {
    let number = number.normalize();
    if number.scale() == 0
        && let Ok(whole) = i64::try_from(number)
    {
        return Value::from(whole);
    }
    let text = number.to_string();
    let exact = f64::from_str(&text)
        .ok()
        .filter(|float| Decimal::from_str_exact(&float.to_string()) == Ok(number))
        .and_then(Number::from_f64);
    exact.map_or(Value::String(text), Value::Number)
}

/// Reads a decimal number in either notation, exactly or not at all.
pub(crate) fn parsed(text: &str) -> Option<Decimal> {
    let text = text.trim();
    Decimal::from_str_exact(text)
        .ok()
        .or_else(|| Decimal::from_scientific(text).ok())
}

/// Maps a number from one range to another, rounded half away from zero; a range of one value maps to
/// the beginning of the other.
pub(crate) fn remapped(value: f64, from: (f64, f64), to: (f64, f64)) -> f64 {
    let width = from.1 - from.0;
    if width == 0.0 {
        return to.0;
    }
    (value - from.0) / width * (to.1 - to.0) + to.0
}

/// Rounds to a whole number; what is no finite number is 0.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
pub(crate) fn whole(value: f64) -> i64 {
    value.round() as i64
}

/// Returns a whole number as a float; beyond 2^53 the nearest.
#[expect(
    clippy::cast_precision_loss,
    reason = "brightness, colour and position are small"
)]
pub(crate) fn float(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn shifting_is_exact_both_ways() {
        for (number, power, expected) in [
            ("215", -1, "21.5"),
            ("21.5", 1, "215"),
            ("-5", -3, "-0.005"),
            ("7", 3, "7000"),
            ("0", -5, "0"),
        ] {
            assert_eq!(
                shifted(decimal(number), power),
                Some(decimal(expected)),
                "{number} {power}"
            );
        }
        assert_eq!(shifted(decimal("9999999999999999999999999999"), 28), None);
    }

    #[test]
    fn json_is_a_number_where_that_is_exact() {
        for (number, expected) in [
            ("21.50", "21.5"),
            ("210", "210"),
            ("-0.05", "-0.05"),
            ("900719925474.993", "900719925474.993"),
        ] {
            assert_eq!(json(decimal(number)).to_string(), expected, "{number}");
        }
        assert_eq!(
            json(decimal("9007199254740993.25")),
            Value::from("9007199254740993.25")
        );
    }

    #[test]
    fn both_notations_are_read() {
        for (text, expected) in [
            ("21.5", "21.5"),
            (" 3 ", "3"),
            ("2.15e1", "21.5"),
            ("1e-3", "0.001"),
        ] {
            assert_eq!(parsed(text), Some(decimal(expected)), "{text}");
        }
        assert_eq!(parsed("warm"), None);
    }
}
