//! What a device declares about its data points, and what a value means by it (section 5).
//!
//! Declarations of real devices are untidy. A [`DataPoint`] therefore keeps its `values` to the byte
//! for the round trip and holds beside it a [`Spec`], the same parsed once, leniently: what is missing
//! or makes no sense is absent there, never an error.

use std::collections::BTreeMap;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::device::Code;
use super::value::Value;

/// The most decimal places that a `scale` may ask for; a larger one is taken as a slip.
const SCALE_MAX: u32 = 18;

/// The data points of a device: those that take writes and those that report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    category: Box<str>,
    function: Vec<DataPoint>,
    status: Vec<DataPoint>,
}

impl Schema {
    /// Makes a schema.
    pub fn new(category: &str, function: Vec<DataPoint>, status: Vec<DataPoint>) -> Self {
        Self {
            category: category.into(),
            function,
            status,
        }
    }

    /// Returns the vendor's code for the kind of device, such as `kg` for a switch.
    pub fn category(&self) -> &str {
        &self.category
    }

    /// Returns the data points that take writes, in order.
    pub fn functions(&self) -> &[DataPoint] {
        &self.function
    }

    /// Returns the data points that report, in order.
    pub fn statuses(&self) -> &[DataPoint] {
        &self.status
    }

    /// Returns the declaration by which writes of a code are checked.
    pub fn function(&self, code: &str) -> Option<&DataPoint> {
        self.function
            .iter()
            .find(|point| point.code.as_str() == code)
    }

    /// Returns the declaration of a code that reports.
    pub fn status(&self, code: &str) -> Option<&DataPoint> {
        self.status.iter().find(|point| point.code.as_str() == code)
    }

    /// Returns the declaration by which a reported value is read: `status`, else `function`.
    pub fn reading(&self, code: &str) -> Option<&DataPoint> {
        self.status(code).or_else(|| self.function(code))
    }
}

/// One declared data point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataPoint {
    code: Code,
    type_name: Box<str>,
    values: Value,
    spec: Spec,
}

impl DataPoint {
    /// Makes a data point from `code`, `type` and the JSON value of `values` as they are on the wire.
    /// `values` is a string that holds JSON; an object in its place is understood and kept as well.
    pub fn new(code: impl Into<Code>, type_name: &str, values: Value) -> Self {
        let spec = Spec::parse(type_name, &values);
        Self {
            code: code.into(),
            type_name: type_name.into(),
            values,
            spec,
        }
    }

    /// Returns the code.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// Returns the declared type, as it is on the wire.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Returns `values` as it is on the wire.
    pub fn values(&self) -> &Value {
        &self.values
    }

    /// Returns what type and values mean.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }
}

/// The meaning of a data point's declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// `true` or `false`.
    Boolean,
    /// A number, sent as an unscaled integer.
    Integer(IntegerSpec),
    /// One of some words; with an empty range, any.
    Enum {
        /// The words, in order.
        range: Vec<Box<str>>,
    },
    /// A text.
    String {
        /// The most UTF-8 bytes.
        maxlen: Option<usize>,
    },
    /// An object, or a string that holds JSON.
    Json,
    /// Bytes, as base64.
    Raw {
        /// The most bytes, decoded.
        maxlen: Option<usize>,
    },
    /// A set of flags in an integer.
    Bitmap {
        /// The names of the flags, bit 0 first.
        labels: Vec<Box<str>>,
        /// How many flags there are, where the declaration says so.
        bits: Option<u32>,
    },
    /// A type that the protocol description does not name.
    Unknown,
}

/// Limits and unit of an Integer. Limits are of the unscaled integer; the quantity is `v / 10^scale`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntegerSpec {
    /// The least value, inclusive.
    pub min: Option<Decimal>,
    /// The greatest value, inclusive.
    pub max: Option<Decimal>,
    /// The step, counted from `min`.
    pub step: Option<Decimal>,
    /// The decimal places.
    pub scale: u32,
    /// The unit, as the device spells it; empty where it has none.
    pub unit: Box<str>,
}

impl Spec {
    fn parse(type_name: &str, values: &Value) -> Self {
        let text = values.as_string().unwrap_or_else(|| values.json());
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&text).unwrap_or_default();
        let number = |name: &str| fields.get(name).and_then(|raw| lenient_number(raw.get()));
        let size = |name: &str| number(name).and_then(|size| usize::try_from(size).ok());
        match type_name.to_ascii_lowercase().as_str() {
            "boolean" | "bool" => Self::Boolean,
            "integer" | "value" => Self::Integer(IntegerSpec {
                min: number("min"),
                max: number("max"),
                step: number("step").filter(|step| *step > Decimal::ZERO),
                scale: number("scale")
                    .and_then(|scale| u32::try_from(scale).ok())
                    .filter(|scale| *scale <= SCALE_MAX)
                    .unwrap_or(0),
                unit: fields.get("unit").map(|raw| word(raw)).unwrap_or_default(),
            }),
            "enum" => Self::Enum {
                range: words(fields.get("range")),
            },
            "string" => Self::String {
                maxlen: size("maxlen"),
            },
            "json" | "object" => Self::Json,
            "raw" => Self::Raw {
                maxlen: size("maxlen"),
            },
            "bitmap" | "fault" => {
                let labels = words(fields.get("label"));
                let bits = match labels.len() {
                    0 => number("maxlen").and_then(|bits| u32::try_from(bits).ok()),
                    count => u32::try_from(count).ok(),
                };
                Self::Bitmap { labels, bits }
            }
            _ => Self::Unknown,
        }
    }

    /// Returns a value as people read it, without its unit: scaled exactly, `on`, names of flags.
    /// A value that does not fit the declaration is shown as it is on the wire.
    pub fn display(&self, value: &Value) -> String {
        let shown = match self {
            Self::Boolean => value
                .as_bool()
                .map(|on| if on { "on" } else { "off" }.to_owned()),
            Self::Integer(spec) => spec.scaled(value).map(|quantity| quantity.to_string()),
            Self::Bitmap { labels, .. } => value.as_i64().map(|flags| flag_names(flags, labels)),
            _ => None,
        };
        shown.unwrap_or_else(|| match value.as_string() {
            Some(text) => text.into_owned(),
            None => value.json().into_owned(),
        })
    }

    /// Returns the unit, as the device spells it; empty where there is none.
    pub fn unit(&self) -> &str {
        match self {
            Self::Integer(spec) => &spec.unit,
            _ => "",
        }
    }

    /// Makes the wire's value from what a person writes: `on`, `21.5`, `auto`, `low,high`.
    /// Limits are not checked here but by [`super::check_write`].
    ///
    /// # Errors
    /// Where the text has no meaning for this type; the message says what would have.
    pub fn parse_input(&self, text: &str) -> Result<Value, String> {
        match self {
            Self::Boolean => match text.to_ascii_lowercase().as_str() {
                "on" | "true" | "yes" | "1" => Ok(Value::from(true)),
                "off" | "false" | "no" | "0" => Ok(Value::from(false)),
                _ => Err(format!("`{text}` is neither on nor off")),
            },
            Self::Integer(spec) => spec.unscaled(text),
            Self::Bitmap { labels, .. } => parse_flags(text, labels),
            Self::Json => match Value::parse(text) {
                Ok(value) => Ok(value),
                Err(error) => Err(format!("`{text}` is {error}")),
            },
            Self::Enum { .. } | Self::String { .. } | Self::Raw { .. } => Ok(Value::from(text)),
            Self::Unknown => Ok(Value::parse(text).unwrap_or_else(|_| Value::from(text))),
        }
    }
}

impl IntegerSpec {
    /// Returns the quantity that a value stands for, `v / 10^scale`, exactly; `None` where the value
    /// is no number or too long for an exact decimal.
    pub fn scaled(&self, value: &Value) -> Option<Decimal> {
        let number = match value.as_i64() {
            Some(number) => Decimal::from(number),
            None if value.is_other_number() => decimal(&value.json())?,
            None => return None,
        };
        let scale = number.scale().saturating_add(self.scale);
        Decimal::try_from_i128_with_scale(number.mantissa(), scale).ok()
    }

    /// Returns the wire's integer for a quantity written by a person.
    ///
    /// # Errors
    /// Where the text is no decimal number or finer than the scale allows.
    pub fn unscaled(&self, text: &str) -> Result<Value, String> {
        let quantity =
            decimal(text.trim()).ok_or_else(|| format!("`{text}` is no decimal number"))?;
        let raw = shifted(quantity.normalize(), self.scale)
            .ok_or_else(|| format!("`{text}` is too large"))?;
        if raw.scale() > 0 {
            let finest = Decimal::try_new(1, self.scale).unwrap_or_default();
            return Err(format!(
                "`{text}` is finer than this data point, which counts in {finest}"
            ));
        }
        match i64::try_from(raw) {
            Ok(raw) => Ok(Value::from(raw)),
            Err(_) => Err(format!("`{text}` is too large")),
        }
    }
}

/// Parses a decimal number in either notation, exactly or not at all.
fn decimal(text: &str) -> Option<Decimal> {
    let Some((base, exponent)) = text.split_once(['e', 'E']) else {
        return Decimal::from_str_exact(text).ok();
    };
    let base = Decimal::from_str_exact(base).ok()?;
    let exponent = i32::from_str(exponent).ok()?;
    if exponent < 0 {
        let scale = base.scale().checked_add(exponent.unsigned_abs())?;
        Decimal::try_from_i128_with_scale(base.mantissa(), scale).ok()
    } else {
        shifted(base, exponent.unsigned_abs())
    }
}

/// Multiplies by a power of ten, exactly or not at all.
fn shifted(number: Decimal, places: u32) -> Option<Decimal> {
    let (mantissa, zeros) = match number.scale().checked_sub(places) {
        Some(scale) => return Decimal::try_from_i128_with_scale(number.mantissa(), scale).ok(),
        None => (number.mantissa(), places - number.scale()),
    };
    let mantissa = mantissa.checked_mul(10i128.checked_pow(zeros)?)?;
    Decimal::try_from_i128_with_scale(mantissa, 0).ok()
}

/// Parses a number that may be written as a string.
fn lenient_number(json: &str) -> Option<Decimal> {
    decimal(json.trim_matches('"').trim())
}

/// Returns a JSON value's text: a string's content, else its JSON.
fn word(raw: &RawValue) -> Box<str> {
    let value = Value::from_raw(raw);
    match value.as_string() {
        Some(text) => text.into(),
        None => value.json().into(),
    }
}

fn words(raw: Option<&&RawValue>) -> Vec<Box<str>> {
    let items: Vec<&RawValue> = raw
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default();
    items.into_iter().map(word).collect()
}

/// Names the flags that are set; the number, where the names would be read as something else: labels
/// that are numbers, hold commas or come twice.
fn flag_names(flags: i64, labels: &[Box<str>]) -> String {
    if labels.is_empty() || flags < 0 {
        return flags.to_string();
    }
    let names: Vec<String> = (0..63)
        .filter(|bit| flags & (1i64 << bit) != 0)
        .map(|bit| match labels.get(bit) {
            Some(label) => label.to_string(),
            None => format!("bit{bit}"),
        })
        .collect();
    let shown = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(",")
    };
    match parse_flags(&shown, labels) {
        Ok(read) if read.as_i64() == Some(flags) => shown,
        _ => flags.to_string(),
    }
}

fn parse_flags(text: &str, labels: &[Box<str>]) -> Result<Value, String> {
    if let Ok(flags) = i64::from_str(text) {
        return Ok(Value::from(flags));
    }
    let mut flags = 0i64;
    for name in text.split(',').filter(|name| *name != "none") {
        let named = labels.iter().position(|label| **label == *name);
        match named.or_else(|| unnamed_flag(name, labels)) {
            Some(bit) if bit < 63 => flags |= 1 << bit,
            _ => {
                return Err(format!(
                    "`{name}` is no flag of this data point: {}",
                    labels.join(", ")
                ));
            }
        }
    }
    Ok(Value::from(flags))
}

/// Returns the bit of a flag without a name, as [`flag_names`] shows it.
fn unnamed_flag(name: &str, labels: &[Box<str>]) -> Option<usize> {
    let digits = name.strip_prefix("bit")?;
    let bit: usize = digits.parse().ok()?;
    // Nothing but what is shown: no sign, no zeros in front.
    (bit >= labels.len() && bit.to_string() == digits).then_some(bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(type_name: &str, values: &str) -> Spec {
        DataPoint::new("code", type_name, Value::from(values))
            .spec()
            .clone()
    }

    fn shown(type_name: &str, values: &str, value: &str) -> String {
        spec(type_name, values).display(&Value::parse(value).unwrap())
    }

    fn input(type_name: &str, values: &str, text: &str) -> Result<String, String> {
        spec(type_name, values)
            .parse_input(text)
            .map(|value| value.json().into_owned())
    }

    #[test]
    fn numbers_are_scaled_exactly_both_ways() {
        let tenths = "{\"unit\":\"℃\",\"min\":-200,\"max\":600,\"scale\":1,\"step\":5}";
        for (raw, people) in [
            ("215", "21.5"),
            ("-5", "-0.5"),
            ("200", "20.0"),
            ("0", "0.0"),
        ] {
            assert_eq!(shown("Integer", tenths, raw), people);
            assert_eq!(input("Integer", tenths, people).unwrap(), raw);
        }
        assert_eq!(input("Integer", tenths, "21").unwrap(), "210");
        assert_eq!(input("Integer", tenths, "2.15e1").unwrap(), "215");
        assert!(
            input("Integer", tenths, "21.55")
                .unwrap_err()
                .contains("0.1")
        );
        assert!(input("Integer", tenths, "warm").is_err());
        assert!(input("Integer", tenths, "1e30").is_err());
        assert_eq!(input("Integer", tenths, "215000e-4").unwrap(), "215");
        assert_eq!(input("Integer", tenths, "0e0").unwrap(), "0");
        // Exactly or not at all: 33 digits are more than a decimal holds.
        assert!(input("Integer", tenths, "1.00000000000000000000000000000001e0").is_err());
        assert_eq!(
            shown("Integer", "{\"scale\":3}", "9007199254740993"),
            "9007199254740.993"
        );
        assert_eq!(shown("Integer", "{\"scale\":1}", "1.5"), "0.15");
        assert_eq!(shown("Integer", "{\"scale\":1}", "\"odd\""), "odd");
    }

    #[test]
    fn numbers_may_be_written_as_strings_and_nonsense_is_absent() {
        let untidy = "{\"min\":\"0\",\"max\":\"100\",\"scale\":\"1\",\"step\":\" 5 \"}";
        let Spec::Integer(spec) = spec("Integer", untidy) else {
            panic!("no Integer")
        };
        assert_eq!(
            (spec.min, spec.max),
            (Some(Decimal::ZERO), Some(Decimal::from(100)))
        );
        assert_eq!((spec.scale, spec.step), (1, Some(Decimal::from(5))));
        for values in [
            "",
            "{",
            "[]",
            "{\"min\":{},\"scale\":-1,\"step\":0}",
            "{\"scale\":400}",
        ] {
            let Spec::Integer(spec) = self::spec("Integer", values) else {
                panic!("no Integer")
            };
            assert_eq!(spec, IntegerSpec::default(), "{values}");
        }
    }

    #[test]
    fn a_scale_that_no_decimal_holds_is_an_error_and_no_panic() {
        let spec = IntegerSpec {
            scale: u32::MAX,
            ..IntegerSpec::default()
        };
        assert!(spec.unscaled("1").is_err());
        assert_eq!(spec.scaled(&Value::from(1)), None);
        assert_eq!(spec.scaled(&Value::parse("0.5").unwrap()), None);
    }

    #[test]
    fn values_given_as_an_object_are_understood_and_kept() {
        let values = Value::parse("{\"range\": [\"a\", 2]}").unwrap();
        let point = DataPoint::new("mode", "Enum", values.clone());
        assert_eq!(point.values(), &values);
        assert_eq!(
            *point.spec(),
            Spec::Enum {
                range: vec!["a".into(), "2".into()]
            }
        );
    }

    #[test]
    fn flags_have_names() {
        let labels = "{\"label\":[\"motor\",\"heat\"]}";
        assert_eq!(shown("Bitmap", labels, "3"), "motor,heat");
        assert_eq!(shown("Bitmap", labels, "0"), "none");
        assert_eq!(shown("Bitmap", labels, "4"), "bit2");
        assert_eq!(input("Bitmap", labels, "heat").unwrap(), "2");
        assert_eq!(input("Bitmap", labels, "none").unwrap(), "0");
        assert_eq!(input("Bitmap", labels, "bit2,heat").unwrap(), "6");
        for nonsense in ["cold", "bit", "bit0", "bit02", "bit+2", "bit63", ""] {
            assert!(input("Bitmap", labels, nonsense).is_err(), "{nonsense}");
        }
        // Names that would be read as something else are not shown.
        for (label, value) in [("7", "1"), ("a,b", "1"), ("none", "1"), ("bit1", "3")] {
            let labels = format!("{{\"label\":[\"{label}\"]}}");
            assert_eq!(shown("Bitmap", &labels, value), value);
        }
        assert_eq!(
            spec("Bitmap", "{\"maxlen\":4}"),
            Spec::Bitmap {
                labels: vec![],
                bits: Some(4)
            }
        );
    }

    #[test]
    fn booleans_take_the_usual_words() {
        assert_eq!(input("Boolean", "{}", "On").unwrap(), "true");
        assert_eq!(input("Boolean", "{}", "0").unwrap(), "false");
        assert!(input("Boolean", "{}", "maybe").is_err());
        assert_eq!(shown("Boolean", "{}", "true"), "on");
        assert_eq!(shown("Boolean", "{}", "1"), "1");
    }
}
