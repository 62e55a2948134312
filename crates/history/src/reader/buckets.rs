//! Reads means: the stored stretches, and those in between, in which the value from before held.

use hearthgate_hub::{Bucket, HistoryError, Step};
use hearthgate_protocol::model::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::changes::scaled;
use super::{Asked, failed};
use crate::rollup::Part;
use crate::row::number_of;
use crate::store::load::value_of;

/// A stored stretch, by its index.
type Stretch = (i64, Part);

/// The newest change of a series.
pub(super) struct Newest {
    pub(super) at: i64,
    /// Whether it is a value, and no gap.
    pub(super) is_open: bool,
    number: Option<f64>,
}

impl Asked<'_> {
    /// Returns the stretches that begin within the part, or contain its beginning, and where to go on.
    /// Nothing is known from `present` on.
    pub(super) fn buckets(
        &self,
        step: Step,
        after: Option<i64>,
        present: i64,
    ) -> Result<(Vec<Bucket>, Option<i64>), HistoryError> {
        let width = step.milliseconds();
        let first = match after {
            Some(index) => index.saturating_add(1),
            None => self.from.div_euclid(width),
        };
        let until = self.to.min(present.saturating_add(1));
        // The first index that is too late.
        let end = until.saturating_add(width - 1).div_euclid(width);
        let newest = self.newest()?;
        let stored = self.stretches(step, first, end)?;
        let mut held = self.held_before(step, first)?;
        let mut found = Vec::new();
        let mut next = first;
        let is_cut = stored.len() > self.limit;
        for (index, mut part) in stored {
            self.fill(&mut found, step, next..index, held);
            if let Some(newest) = &newest
                && newest.at.div_euclid(width) == index
                && let Some(number) = newest.number
            {
                // Nothing has followed that would have completed it.
                let end = present.min((index + 1).saturating_mul(width));
                if end > newest.at {
                    part.weigh(number, end - newest.at);
                }
            }
            found.extend(self.bucket(step, index, &part));
            held = part.last;
            next = index + 1;
            if found.len() > self.limit {
                break;
            }
        }
        let is_more = found.len() > self.limit;
        if is_cut && !is_more {
            // Stretches of which nothing is known took the places of others.
            return Ok((found, Some(next - 1)));
        }
        self.fill(&mut found, step, next..end, held);
        let is_more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().filter(|_| is_more);
        let next = last.map(|bucket| bucket.start.0.div_euclid(width));
        Ok((found, next))
    }

    /// Adds the stretches without any change, as far as there is room for them.
    fn fill(
        &self,
        found: &mut Vec<Bucket>,
        step: Step,
        between: std::ops::Range<i64>,
        held: Option<f64>,
    ) {
        let Some(number) = held else { return };
        let room = (self.limit + 1).saturating_sub(found.len());
        let mut part = Part::default();
        part.hold(number, step.milliseconds());
        part.last = Some(number);
        let filled = between
            .take(room)
            .filter_map(|index| self.bucket(step, index, &part));
        found.extend(filled);
    }

    fn bucket(&self, step: Step, index: i64, part: &Part) -> Option<Bucket> {
        let scale = |raw: f64| scaled(raw, self.row.scale);
        Some(Bucket {
            start: Timestamp(index.saturating_mul(step.milliseconds())),
            mean: scale(part.mean()?),
            min: scale(part.low?),
            max: scale(part.high?),
            last: part.last.map(scale),
            count: u64::try_from(part.count).unwrap_or(0),
        })
    }

    fn stretches(&self, step: Step, first: i64, end: i64) -> Result<Vec<Stretch>, HistoryError> {
        let most = i64::try_from(self.limit).unwrap_or(i64::MAX - 1) + 1;
        self.connection
            .prepare_cached(&format!(
                "SELECT start, count, low, high, last, weighted, covered FROM {} \
                 WHERE series = ?1 AND start >= ?2 AND start < ?3 ORDER BY start LIMIT ?4",
                step.name()
            ))
            .and_then(|mut statement| {
                statement
                    .query_map(params![self.id, first, end, most], |row| {
                        let part = Part {
                            count: row.get(1)?,
                            low: row.get(2)?,
                            high: row.get(3)?,
                            last: row.get(4)?,
                            is_changed: true,
                            weighted: row.get(5)?,
                            covered: row.get(6)?,
                        };
                        Ok((row.get(0)?, part))
                    })?
                    .collect()
            })
            .map_err(failed)
    }

    /// Returns the value that held when a stretch began.
    fn held_before(&self, step: Step, index: i64) -> Result<Option<f64>, HistoryError> {
        let last: Option<Option<f64>> = self
            .connection
            .prepare_cached(&format!(
                "SELECT last FROM {} WHERE series = ?1 AND start < ?2 ORDER BY start DESC LIMIT 1",
                step.name()
            ))
            .and_then(|mut statement| {
                statement
                    .query_row(params![self.id, index], |row| row.get(0))
                    .optional()
            })
            .map_err(failed)?;
        Ok(last.flatten())
    }

    pub(super) fn newest(&self) -> Result<Option<Newest>, HistoryError> {
        self.connection
            .prepare_cached(
                "SELECT time, how, value FROM sample WHERE series = ?1 \
                 ORDER BY time DESC, seq DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([self.id], |row| {
                        let value = value_of(row.get(1)?, row.get_ref(2)?)?;
                        Ok(Newest {
                            at: row.get(0)?,
                            is_open: value.is_some(),
                            number: value.as_ref().and_then(number_of),
                        })
                    })
                    .optional()
            })
            .map_err(failed)
    }
}
