//! A data point's value exactly as it travels.
//!
//! Real devices report fractions, objects in strings and numbers that no integer type holds. A value
//! is therefore its JSON text, kept to the byte, with typed views; booleans and plain integers,
//! nearly all of what flows, take no memory beside it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::json::{nesting_exceeds, write_string};
use crate::limits::JSON_DEPTH_MAX;

/// A JSON value, verbatim.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Bool(bool),
    /// An integer whose text is what `i64` prints; anything else (`-0`, `1e3`) is text.
    Integer(i64),
    Text(Arc<str>),
}

/// Text that is no JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no JSON value: {0}")]
pub struct ValueError(String);

impl Value {
    /// Parses a JSON value from its text and keeps that text.
    ///
    /// # Errors
    /// Where the text is no JSON value, or nested deeper than 64.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        if nesting_exceeds(text.as_bytes(), JSON_DEPTH_MAX) {
            return Err(ValueError(format!("nested deeper than {JSON_DEPTH_MAX}")));
        }
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| ValueError(error.to_string()))?;
        Ok(Self::from_raw(raw))
    }

    /// Takes over a value that a parser has already found well formed.
    pub(crate) fn from_raw(raw: &RawValue) -> Self {
        let text = raw.get();
        let first = text.as_bytes().first().copied().unwrap_or_default();
        Self(match first {
            b't' => Repr::Bool(true),
            b'f' => Repr::Bool(false),
            b'-' | b'0'..=b'9' => match text.parse::<i64>() {
                Ok(number) if text != "-0" => Repr::Integer(number),
                _ => Repr::Text(text.into()),
            },
            _ => Repr::Text(text.into()),
        })
    }

    /// Returns the JSON text, to the byte as it came.
    pub fn json(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Bool(true) => Cow::Borrowed("true"),
            Repr::Bool(false) => Cow::Borrowed("false"),
            Repr::Integer(number) => Cow::Owned(number.to_string()),
            Repr::Text(text) => Cow::Borrowed(text),
        }
    }

    /// Returns the boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Repr::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the integer, if it is one within 64 bits: neither `1.5` nor `"1"` nor `true`.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Integer(number) => Some(*number),
            Repr::Text(text) => text.parse().ok(),
            Repr::Bool(_) => None,
        }
    }

    /// Returns the string without its quotes and escapes, if it is one.
    pub fn as_string(&self) -> Option<Cow<'_, str>> {
        match &self.0 {
            Repr::Text(text) if text.starts_with('"') => {
                let inner = text.get(1..text.len() - 1)?;
                if inner.contains('\\') {
                    serde_json::from_str::<String>(text).ok().map(Cow::Owned)
                } else {
                    Some(Cow::Borrowed(inner))
                }
            }
            _ => None,
        }
    }

    /// Tells whether it is a JSON object.
    pub fn is_object(&self) -> bool {
        matches!(&self.0, Repr::Text(text) if text.starts_with('{'))
    }

    /// Tells whether it is a JSON number that is no 64-bit integer.
    pub fn is_other_number(&self) -> bool {
        matches!(&self.0, Repr::Text(text) if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()))
            && self.as_i64().is_none()
    }

    /// Names the JSON type, for messages to people.
    pub fn type_name(&self) -> &'static str {
        match &self.0 {
            Repr::Bool(_) => "a boolean",
            Repr::Integer(_) => "an integer",
            Repr::Text(text) => match text.as_bytes().first() {
                Some(b'"') => "a string",
                Some(b'{') => "an object",
                Some(b'[') => "an array",
                Some(b'n') => "null",
                _ => "a number that is no integer",
            },
        }
    }

    /// Writes the JSON text.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Repr::Bool(true) => out.extend_from_slice(b"true"),
            Repr::Bool(false) => out.extend_from_slice(b"false"),
            Repr::Integer(number) => crate::wire::write_integer(out, *number),
            Repr::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self(Repr::Bool(value))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self(Repr::Integer(number))
    }
}

/// A JSON string of this text.
impl From<&str> for Value {
    fn from(text: &str) -> Self {
        let mut json = Vec::with_capacity(text.len() + 2);
        write_string(&mut json, text);
        Self(Repr::Text(String::from_utf8_lossy(&json).into()))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::parse(text).unwrap()
    }

    #[test]
    fn text_survives_to_the_byte() {
        for text in [
            "true",
            "false",
            "0",
            "-1",
            "-0",
            "1.50",
            "1e3",
            "\"\\u2103\"",
            "\"℃\"",
            "{ \"a\" : 1 }",
            "[]",
            "null",
            "123456789012345678901234567890",
            "-9223372036854775808",
        ] {
            assert_eq!(value(text).json(), text);
            let mut out = Vec::new();
            value(text).write_json(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn views_take_only_their_own_type() {
        assert_eq!(value("1").as_i64(), Some(1));
        assert_eq!(value("-0").as_i64(), Some(0));
        for text in [
            "1.0",
            "1e0",
            "\"1\"",
            "true",
            "null",
            "99999999999999999999",
        ] {
            assert_eq!(value(text).as_i64(), None, "{text}");
        }
        assert_eq!(value("\"a\\nb\"").as_string().as_deref(), Some("a\nb"));
        assert_eq!(value("\"\"").as_string().as_deref(), Some(""));
        assert_eq!(value("7").as_string(), None);
        assert!(value("1.5").is_other_number() && !value("1").is_other_number());
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "tru", "1 2", "{a:1}", "[1,]", "\"", "01"] {
            assert!(Value::parse(text).is_err(), "{text}");
        }
        assert!(Value::parse(&format!("{}{}", "[".repeat(65), "]".repeat(65))).is_err());
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(Value::from("a\"b\\\n℃").json(), "\"a\\\"b\\\\\\n℃\"");
    }
}
