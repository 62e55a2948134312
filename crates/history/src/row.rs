//! What is written: rows of series, known by small numbers.
//!
//! Input: `track`. Output: `store`, which writes them.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use hearthgate_hub::Subject;
use hearthgate_protocol::model::{Source, Timestamp, Value};

/// The number of a series within one store.
pub(crate) type SeriesId = i64;

/// The value of a row is a boolean, stored as 0 or 1.
const BOOL: i64 = 1;
/// How the value was learned: two bits.
const SOURCE_SHIFT: i64 = 1;
/// The same value once more.
const REPEATED: i64 = 8;

/// A series as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeriesRow {
    pub(crate) subject: Subject,
    /// Whether it is a number that means are made of.
    pub(crate) is_number: bool,
    pub(crate) scale: u32,
    pub(crate) unit: String,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) series: SeriesId,
    pub(crate) at: Timestamp,
    /// None: nothing is known from here on.
    pub(crate) value: Option<Value>,
    /// Whether means are made of the series.
    pub(crate) is_number: bool,
    pub(crate) source: Source,
    pub(crate) repeated: bool,
}

/// What becomes one transaction. `series` is bounded by what devices there are, `rows` by
/// [`Batch::bound`].
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Series that are new or differ.
    pub(crate) series: BTreeMap<SeriesId, SeriesRow>,
    pub(crate) rows: VecDeque<Row>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.rows.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.rows.clear();
    }

    /// Drops the oldest rows beyond a number; returns how many.
    pub(crate) fn bound(&mut self, most: usize) -> u64 {
        let excess = self.rows.len().saturating_sub(most);
        self.rows.drain(..excess);
        u64::try_from(excess).unwrap_or(u64::MAX)
    }
}

impl Row {
    /// Returns the value as a number, where means are made of the series and it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        self.value
            .as_ref()
            .filter(|_| self.is_number)
            .and_then(number_of)
    }

    /// Returns the `how` of the table.
    pub(crate) fn how(&self) -> i64 {
        let is_bool = self.value.as_ref().and_then(Value::as_bool).is_some();
        let source = match self.source {
            Source::Event => 0,
            Source::Read => 1,
            Source::Cache => 2,
        };
        i64::from(is_bool) * BOOL + (source << SOURCE_SHIFT) + i64::from(self.repeated) * REPEATED
    }
}

/// Returns how a row was learned, and whether it repeats.
pub(crate) fn read_how(how: i64) -> (Source, bool) {
    let source = match (how >> SOURCE_SHIFT) & 3 {
        0 => Source::Event,
        1 => Source::Read,
        _ => Source::Cache,
    };
    (source, how & REPEATED != 0)
}

/// Tells whether the stored 0 or 1 is a boolean.
pub(crate) fn is_bool(how: i64) -> bool {
    how & BOOL != 0
}

/// Returns the number that a raw value is, for means.
pub(crate) fn number_of(value: &Value) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "means are no exact numbers; the change itself is kept exactly"
    )]
    match value.as_i64() {
        Some(number) => Some(number as f64),
        None if value.is_other_number() => {
            value.json().parse().ok().filter(|it: &f64| it.is_finite())
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_is_read_as_it_was_written() {
        for source in [Source::Event, Source::Read, Source::Cache] {
            for repeated in [false, true] {
                for value in [None, Some(Value::from(true)), Some(Value::from(1))] {
                    let row = Row {
                        series: 1,
                        at: Timestamp(0),
                        value,
                        is_number: false,
                        source,
                        repeated,
                    };
                    assert_eq!(read_how(row.how()), (source, repeated));
                    assert_eq!(is_bool(row.how()), row.value == Some(Value::from(true)));
                }
            }
        }
    }

    #[test]
    fn numbers_are_numbers_alone() {
        let number = |text| number_of(&Value::parse(text).unwrap());
        assert_eq!(number("215"), Some(215.0));
        assert_eq!(number("-1.5"), Some(-1.5));
        assert_eq!(number("1e400"), None);
        assert_eq!(number("\"7\""), None);
        assert_eq!(number("true"), None);
    }
}
