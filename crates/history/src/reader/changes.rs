//! Reads single changes.

use hearthgate_hub::{Change, HistoryError, Step};
use hearthgate_protocol::model::{Source, Timestamp, Value};
use rusqlite::{Row, params};

use super::{Asked, failed};
use crate::row::{SeriesRow, number_of, read_how};
use crate::store::load::value_of;
use crate::store::retention::table;

/// Time, and order within it.
type Position = (i64, i64);

impl Asked<'_> {
    /// Returns the newest change before the part begins.
    pub(super) fn before(&self) -> Result<Option<Change>, HistoryError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT time, seq, how, value FROM sample WHERE series = ?1 AND time < ?2 \
                 ORDER BY time DESC, seq DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![self.id, self.from], |row| self.change(row))?
                    .next()
                    .transpose()
            });
        Ok(found.map_err(failed)?.map(|(_, change)| change))
    }

    /// Returns the gap that begins at `present` where no hub keeps the store any more: the next one writes it
    /// when it starts. None where the newest change is such a gap already, or a hub runs.
    pub(super) fn end(&self, present: i64, now: i64) -> Result<Option<Change>, HistoryError> {
        if present >= now {
            return Ok(None);
        }
        let newest = self.newest()?;
        let is_open = newest.is_some_and(|newest| newest.is_open && newest.at <= present);
        Ok(is_open.then_some(Change {
            at: Timestamp(present),
            value: None,
            number: None,
            source: Source::Read,
            repeated: false,
        }))
    }

    /// Returns the changes of the part, where the last of them is, and whether there are more.
    pub(super) fn changes(
        &self,
        after: Option<Position>,
    ) -> Result<(Vec<Change>, Option<Position>, bool), HistoryError> {
        let (time, seq) = after.unwrap_or((self.from, -1));
        let most = i64::try_from(self.limit).unwrap_or(i64::MAX - 1) + 1;
        let found = self
            .connection
            .prepare_cached(
                "SELECT time, seq, how, value FROM sample \
                 WHERE series = ?1 AND (time, seq) > (?2, ?3) AND time < ?4 \
                 ORDER BY time, seq LIMIT ?5",
            )
            .and_then(|mut statement| {
                statement
                    .query_map(params![self.id, time, seq, self.to, most], |row| {
                        self.change(row)
                    })?
                    .collect::<Result<Vec<_>, _>>()
            });
        let mut found = found.map_err(failed)?;
        let is_more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().map(|(at, _)| *at);
        let changes = found.into_iter().map(|(_, change)| change).collect();
        Ok((changes, last, is_more))
    }

    /// Counts the changes of the part, as far as one more than a number.
    pub(super) fn count_up_to(&self, most: usize) -> Result<usize, HistoryError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX - 1) + 1;
        let count: i64 = self
            .connection
            .prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM sample \
                 WHERE series = ?1 AND time >= ?2 AND time < ?3 LIMIT ?4)",
            )
            .and_then(|mut statement| {
                statement.query_row(params![self.id, self.from, self.to, most], |row| row.get(0))
            })
            .map_err(failed)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Returns since when a resolution has anything of the series.
    pub(super) fn oldest(&self, step: Step) -> Result<Option<i64>, HistoryError> {
        let (table, column) = table(step);
        let oldest: Option<i64> = self
            .connection
            .prepare_cached(&format!(
                "SELECT min({column}) FROM {table} WHERE series = ?1"
            ))
            .and_then(|mut statement| statement.query_row([self.id], |row| row.get(0)))
            .map_err(failed)?;
        Ok(oldest.map(|it| it.saturating_mul(step.milliseconds().max(1))))
    }

    fn change(&self, row: &Row<'_>) -> rusqlite::Result<(Position, Change)> {
        let time = row.get(0)?;
        let how = row.get(2)?;
        let value = value_of(how, row.get_ref(3)?)?;
        let (source, repeated) = read_how(how);
        let change = Change {
            at: Timestamp(time),
            number: value.as_ref().and_then(|value| number(&self.row, value)),
            value,
            source,
            repeated,
        };
        Ok(((time, row.get(1)?), change))
    }
}

/// Returns the number that a raw value stands for, if the series is one.
fn number(series: &SeriesRow, value: &Value) -> Option<f64> {
    let raw = number_of(value).filter(|_| series.is_number)?;
    Some(scaled(raw, series.scale))
}

/// Applies a scale. A division, since `215 / 10` is 21.5 and `215 * 0.1` is not.
pub(super) fn scaled(raw: f64, scale: u32) -> f64 {
    raw / 10f64.powi(i32::try_from(scale).unwrap_or(i32::MAX))
}
