//! Reading JSON of a certain shape, with errors that name the place.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::{Value, shortened};

/// Where a message is not of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeError {
    path: String,
    problem: String,
    /// The address of the offending text, to find its line in a file; never dereferenced.
    address: usize,
}

impl ShapeError {
    pub(super) fn new(raw: &RawValue, problem: impl Into<String>) -> Self {
        let address = raw.get().as_ptr().addr();
        Self {
            path: String::new(),
            problem: problem.into(),
            address,
        }
    }

    fn expected(raw: &RawValue, expected: &str) -> Self {
        Self::new(
            raw,
            format!(
                "is {}, expected {expected}",
                Value::from_raw(raw).type_name()
            ),
        )
    }

    /// Names the field or index that the error lies under.
    pub(super) fn under(mut self, place: impl fmt::Display) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        self.path = format!("{place}{dot}{}", self.path);
        self
    }

    /// Returns the offset of the offending text within `whole`, where it lies in there.
    pub(super) fn offset_in(&self, whole: &str) -> Option<usize> {
        self.address
            .checked_sub(whole.as_ptr().addr())
            .filter(|offset| *offset <= whole.len())
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "the message"
        } else {
            &self.path
        };
        write!(f, "{path} {}", self.problem)
    }
}

impl std::error::Error for ShapeError {}

/// Some fields of an object by name; of a doubled field the last.
pub(super) struct Fields<'a, const N: usize> {
    pub(super) found: [Option<&'a RawValue>; N],
    /// The name of a field that was not asked for, shortened, if there is any.
    pub(super) unknown: Option<String>,
}

/// Reads the named fields of an object; `null` counts as absent.
pub(super) fn fields<'a, const N: usize>(
    raw: &'a RawValue,
    names: &[&str; N],
) -> Result<Fields<'a, N>, ShapeError> {
    let mut fields = fields_and_nulls(raw, names)?;
    for field in &mut fields.found {
        *field = field.filter(|value| value.get() != "null");
    }
    Ok(fields)
}

/// Reads the named fields of an object; `null` is a value like others.
pub(super) fn fields_and_nulls<'a, const N: usize>(
    raw: &'a RawValue,
    names: &[&str; N],
) -> Result<Fields<'a, N>, ShapeError> {
    if !raw.get().starts_with('{') {
        return Err(ShapeError::expected(raw, "an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    FieldsSeed { names }
        .deserialize(&mut deserializer)
        .map_err(|error| ShapeError::new(raw, format!("cannot be read: {error}")))
}

/// Returns the elements of an array.
pub(super) fn items(raw: &RawValue) -> Result<Vec<&RawValue>, ShapeError> {
    if !raw.get().starts_with('[') {
        return Err(ShapeError::expected(raw, "an array"));
    }
    serde_json::from_str(raw.get())
        .map_err(|error| ShapeError::new(raw, format!("cannot be read: {error}")))
}

/// Reads every element of an array; an error names the index.
pub(super) fn each<'a, T>(
    raw: &'a RawValue,
    read: impl Fn(&'a RawValue) -> Result<T, ShapeError>,
) -> Result<Vec<T>, ShapeError> {
    items(raw)?
        .into_iter()
        .enumerate()
        .map(|(index, item)| read(item).map_err(|error| error.under(format_args!("[{index}]"))))
        .collect()
}

/// Returns the content of a string.
pub(super) fn string(raw: &RawValue) -> Result<Cow<'_, str>, ShapeError> {
    let text = raw.get();
    match text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(text)
            .map(Cow::Owned)
            .map_err(|error| ShapeError::new(raw, format!("cannot be read: {error}"))),
        None => Err(ShapeError::expected(raw, "a string")),
    }
}

/// Returns an integer within 64 bits: `1.0`, `"1"` and `true` are none.
pub(super) fn integer(raw: &RawValue) -> Result<i64, ShapeError> {
    raw.get()
        .parse()
        .map_err(|_| ShapeError::expected(raw, "a 64-bit integer"))
}

/// Returns a boolean.
pub(super) fn boolean(raw: &RawValue) -> Result<bool, ShapeError> {
    match raw.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ShapeError::expected(raw, "a boolean")),
    }
}

/// Returns a boolean that foreign gateways may write as a number.
pub(super) fn truth(raw: &RawValue) -> Result<bool, ShapeError> {
    match integer(raw) {
        Ok(number) => Ok(number != 0),
        Err(_) => boolean(raw),
    }
}

/// Returns a field that must be there.
pub(super) fn required<'a>(
    parent: &RawValue,
    field: Option<&'a RawValue>,
    name: &str,
) -> Result<&'a RawValue, ShapeError> {
    field.ok_or_else(|| ShapeError::new(parent, "is missing").under(name))
}

struct FieldsSeed<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'de, const N: usize> DeserializeSeed<'de> for FieldsSeed<'_, N> {
    type Value = Fields<'de, N>;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for FieldsSeed<'_, N> {
    type Value = Fields<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut unknown = None;
        while let Some(name) = map.next_key_seed(NameSeed { names: self.names })? {
            match name {
                Ok(index) => {
                    let value: &'de RawValue = map.next_value()?;
                    let slot = found
                        .get_mut(index)
                        .ok_or_else(|| A::Error::custom("no such field"))?;
                    *slot = Some(value);
                }
                Err(name) => {
                    map.next_value::<IgnoredAny>()?;
                    unknown.get_or_insert(name);
                }
            }
        }
        Ok(Fields { found, unknown })
    }
}

struct NameSeed<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'de, const N: usize> DeserializeSeed<'de> for NameSeed<'_, N> {
    type Value = Result<usize, String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        // Not as a string: half a surrogate pair in a name that nobody asked for is no fault.
        source.deserialize_bytes(self)
    }
}

impl<const N: usize> Visitor<'_> for NameSeed<'_, N> {
    type Value = Result<usize, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(self
            .names
            .iter()
            .position(|known| known.as_bytes() == name)
            .ok_or_else(|| shortened(&String::from_utf8_lossy(name))))
    }
}
