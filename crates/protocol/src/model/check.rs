//! The check of a write against the schema: strict, where reading is lenient (section 5).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rust_decimal::Decimal;

use super::json::shortened;
use super::schema::{IntegerSpec, Schema, Spec};
use super::value::Value;

/// About the most bytes of an enum's range in a message.
const RANGE_SHOWN: usize = 400;

/// Why a write is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The device does not take writes of this code.
    #[error("{0}")]
    UnsupportedCode(String),
    /// The value is of the wrong type or beyond a limit.
    #[error("{0}")]
    InvalidValue(String),
}

/// Checks a write of one data point against `function`; limits are inclusive.
///
/// `strict_step` refuses an Integer that is no whole number of steps from `min`. It is off by
/// default, since real devices break their own step.
///
/// # Errors
/// The message names the code and the limit that was broken.
pub fn check_write(
    schema: &Schema,
    code: &str,
    value: &Value,
    strict_step: bool,
) -> Result<(), Refusal> {
    let Some(point) = schema.function(code) else {
        return Err(Refusal::UnsupportedCode(match schema.status(code) {
            Some(_) => format!("{code} only reports, it takes no writes"),
            None => format!("no function {code}"),
        }));
    };
    let fault = match point.spec() {
        Spec::Boolean => value
            .as_bool()
            .is_none()
            .then(|| wrong_type("a boolean", value)),
        Spec::Integer(spec) => check_integer(spec, value, strict_step),
        Spec::Enum { range } => check_enum(range, value),
        Spec::String { maxlen } => match value.as_string() {
            Some(text) => too_long(text.len(), *maxlen),
            None => Some(wrong_type("a string", value)),
        },
        Spec::Json => check_json(value),
        Spec::Raw { maxlen } => match value.as_string().map(|text| STANDARD.decode(&*text)) {
            Some(Ok(bytes)) => too_long(bytes.len(), *maxlen),
            Some(Err(_)) => Some("is no standard base64 with padding".to_owned()),
            None => Some(wrong_type("a string of base64", value)),
        },
        Spec::Bitmap { bits, .. } => check_bitmap(*bits, value),
        Spec::Unknown => {
            let known = value.as_bool().is_some()
                || value.as_i64().is_some()
                || value.as_string().is_some()
                || value.is_object();
            (!known).then(|| wrong_type("a boolean, an integer, a string or an object", value))
        }
    };
    match fault {
        None => Ok(()),
        Some(fault) => Err(Refusal::InvalidValue(format!(
            "{code}: {} {fault}",
            shortened(&value.json())
        ))),
    }
}

fn check_integer(spec: &IntegerSpec, value: &Value, strict_step: bool) -> Option<String> {
    let Some(number) = value.as_i64() else {
        return Some(wrong_type("an integer", value));
    };
    let number = Decimal::from(number);
    if let Some(min) = spec.min.filter(|min| number < *min) {
        return Some(format!("is below min {min}"));
    }
    if let Some(max) = spec.max.filter(|max| number > *max) {
        return Some(format!("is above max {max}"));
    }
    if let Some(step) = spec.step.filter(|_| strict_step) {
        let base = spec.min.unwrap_or_default();
        let off = number
            .checked_sub(base)
            .and_then(|distance| distance.checked_rem(step));
        if off.is_some_and(|rest| !rest.is_zero()) {
            return Some(format!("is off step {step} from {base}"));
        }
    }
    None
}

fn check_enum(range: &[Box<str>], value: &Value) -> Option<String> {
    let Some(word) = value.as_string() else {
        return Some(wrong_type("a string", value));
    };
    let known = range.is_empty() || range.iter().any(|known| **known == *word);
    (!known).then(|| format!("is not in range {}", listed(range)))
}

/// Lists the words of a range; of a long one the first. A message is for people, and one request may
/// have thousands of them.
fn listed(range: &[Box<str>]) -> String {
    let mut text = String::new();
    for (index, word) in range.iter().enumerate() {
        if text.len() >= RANGE_SHOWN {
            return format!("{text}, .. ({} more)", range.len() - index);
        }
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&shortened(word));
    }
    text
}

fn check_json(value: &Value) -> Option<String> {
    if value.is_object() {
        return None;
    }
    match value.as_string() {
        Some(text) if Value::parse(&text).is_ok() => None,
        Some(_) => Some("is a string that holds no JSON".to_owned()),
        None => Some(wrong_type("an object or a string that holds JSON", value)),
    }
}

fn check_bitmap(bits: Option<u32>, value: &Value) -> Option<String> {
    let Some(flags) = value.as_i64() else {
        return Some(wrong_type("an integer", value));
    };
    if flags < 0 {
        return Some("is below min 0".to_owned());
    }
    let bits = bits.filter(|bits| *bits < 63)?;
    (flags >> bits != 0).then(|| format!("has more than {bits} bits"))
}

fn too_long(length: usize, maxlen: Option<usize>) -> Option<String> {
    let maxlen = maxlen.filter(|maxlen| length > *maxlen)?;
    Some(format!("has {length} bytes, maxlen is {maxlen}"))
}

fn wrong_type(expected: &str, value: &Value) -> String {
    if value.type_name() == "a string" && value.as_string().is_none() {
        return "is a string with half a surrogate pair, which no text can be".to_owned();
    }
    format!("is {}, expected {expected}", value.type_name())
}

#[cfg(test)]
mod tests {
    use super::super::schema::DataPoint;
    use super::*;

    fn check(type_name: &str, values: &str, value: &str) -> Result<(), String> {
        check_step(type_name, values, value, false)
    }

    fn check_step(
        type_name: &str,
        values: &str,
        value: &str,
        strict_step: bool,
    ) -> Result<(), String> {
        let point = DataPoint::new("dp", type_name, Value::from(values));
        let schema = Schema::new("kg", vec![point], Vec::new());
        check_write(&schema, "dp", &Value::parse(value).unwrap(), strict_step)
            .map_err(|refusal| refusal.to_string())
    }

    fn accepts(type_name: &str, values: &str, all: &[&str]) {
        for value in all {
            assert_eq!(
                check(type_name, values, value),
                Ok(()),
                "{type_name} {values} {value}"
            );
        }
    }

    fn refuses(type_name: &str, values: &str, all: &[(&str, &str)]) {
        for (value, reason) in all {
            let message = check(type_name, values, value).unwrap_err();
            assert!(message.starts_with("dp: "), "{message}");
            assert!(message.contains(reason), "{message} should say {reason}");
        }
    }

    #[test]
    fn booleans() {
        accepts("Boolean", "{}", &["true", "false"]);
        refuses(
            "Boolean",
            "{}",
            &[
                ("1", "an integer"),
                ("\"true\"", "a string"),
                ("null", "null"),
            ],
        );
    }

    #[test]
    fn integers_and_their_inclusive_limits() {
        let values = "{\"min\":-10,\"max\":\"100\",\"step\":5,\"scale\":1}";
        accepts("Integer", values, &["-10", "100", "0", "3"]);
        refuses(
            "Integer",
            values,
            &[
                ("-11", "below min -10"),
                ("101", "above max 100"),
                ("1.5", "expected an integer"),
                ("1.0", "expected an integer"),
                ("true", "a boolean"),
                ("\"1\"", "a string"),
                ("99999999999999999999", "expected an integer"),
            ],
        );
        accepts(
            "Integer",
            "{}",
            &["-9223372036854775808", "9223372036854775807"],
        );
    }

    #[test]
    fn the_step_counts_from_min_and_binds_only_if_told_to() {
        let values = "{\"min\":3,\"max\":100,\"step\":5}";
        assert_eq!(check_step("Integer", values, "8", true), Ok(()));
        assert!(
            check_step("Integer", values, "10", true)
                .unwrap_err()
                .contains("off step 5")
        );
        assert_eq!(check_step("Integer", values, "10", false), Ok(()));
    }

    #[test]
    fn enums() {
        accepts("Enum", "{\"range\":[\"a\",\"b\"]}", &["\"a\"", "\"b\""]);
        refuses(
            "Enum",
            "{\"range\":[\"a\",\"b\"]}",
            &[("\"c\"", "range a, b"), ("0", "an integer")],
        );
        accepts("Enum", "not json", &["\"anything\""]);
    }

    #[test]
    fn a_long_range_is_shortened_in_the_message() {
        let words: Vec<String> = (0..10_000).map(|word| format!("\"w{word}\"")).collect();
        let values = format!("{{\"range\":[{}]}}", words.join(","));
        let message = check("Enum", &values, "\"x\"").unwrap_err();
        assert!(message.contains("range w0, w1, "), "{message}");
        assert!(message.ends_with(" more)"), "{message}");
        assert!(message.len() < 600, "{message}");
        let values = format!("{{\"range\":[\"{}\"]}}", "long".repeat(10_000));
        assert!(check("Enum", &values, "\"x\"").unwrap_err().len() < 600);
    }

    #[test]
    fn strings_count_utf8_bytes_and_raw_counts_decoded_ones() {
        accepts("String", "{\"maxlen\":3}", &["\"abc\"", "\"℃\"", "\"\""]);
        refuses(
            "String",
            "{\"maxlen\":3}",
            &[
                ("\"℃a\"", "4 bytes"),
                ("{}", "an object"),
                ("\"\\ud800\"", "half a surrogate pair"),
            ],
        );
        accepts("Raw", "{\"maxlen\":3}", &["\"\"", "\"AQID\""]);
        refuses(
            "Raw",
            "{\"maxlen\":3}",
            &[("\"AQIDBA==\"", "4 bytes"), ("\"**\"", "base64")],
        );
    }

    #[test]
    fn json_is_an_object_or_a_string_that_holds_json() {
        accepts("Json", "{}", &["{\"h\":1}", "\"{\\\"h\\\":1}\""]);
        refuses(
            "Json",
            "{}",
            &[
                ("[]", "an array"),
                ("1", "an integer"),
                ("\"{\"", "no JSON"),
            ],
        );
    }

    #[test]
    fn bitmaps_have_as_many_bits_as_labels() {
        accepts("Bitmap", "{\"label\":[\"a\",\"b\"]}", &["0", "3"]);
        refuses(
            "Bitmap",
            "{\"label\":[\"a\",\"b\"]}",
            &[("4", "2 bits"), ("-1", "min 0")],
        );
        accepts("Bitmap", "{\"maxlen\":64}", &["9223372036854775807"]);
        accepts("Bitmap", "{}", &["1234567"]);
    }

    #[test]
    fn unknown_types_take_what_the_protocol_can_carry() {
        accepts("Sonnet", "?", &["true", "1", "\"x\"", "{}"]);
        refuses(
            "Sonnet",
            "?",
            &[("[]", "an array"), ("null", "null"), ("1.5", "no integer")],
        );
    }

    #[test]
    fn a_code_that_only_reports_takes_no_writes() {
        let point = DataPoint::new("power", "Integer", Value::from("{}"));
        let schema = Schema::new("cz", Vec::new(), vec![point]);
        let refusal = |code| check_write(&schema, code, &Value::from(1), false).unwrap_err();
        assert!(refusal("power").to_string().contains("only reports"));
        assert_eq!(
            refusal("x"),
            Refusal::UnsupportedCode("no function x".to_owned())
        );
    }
}
