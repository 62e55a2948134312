//! Reads a store, beside the hub that writes it or without one.
//!
//! Input: a query. Output: a part of a series. Each question opens the file anew, read-only: that costs less
//! than a millisecond, sees a store that took another's place, and holds no old state of the log open for
//! longer than a page of answers takes.

mod buckets;
mod changes;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthgate_hub::{
    Change, DeviceRef, HISTORY_LIMIT_MAX, HistoryError, HistoryQuery, Points, Resolution, Series,
    Step, Subject,
};
use hearthgate_protocol::model::Timestamp;
use rusqlite::{Connection, InterruptHandle, OpenFlags, OptionalExtension, params};

use crate::row::{SeriesId, SeriesRow};
use crate::store::load::{COLUMNS, columns, series_row};
use crate::store::{APPLICATION, StoreError, VERSION, access};
use crate::track::RESTART;

/// Somebody who checkpoints or vacuums is done by then.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// A store, open for reading.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

/// A series and its numbers.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What it is about.
    pub subject: Subject,
    /// Whether means are made of it.
    pub is_number: bool,
    /// The unit; empty where there is none.
    pub unit: String,
    /// How many changes are kept.
    pub changes: u64,
    /// Since when; none where there are none.
    pub first: Option<Timestamp>,
    /// Until when.
    pub last: Option<Timestamp>,
}

/// What is needed to read one series.
#[derive(Debug)]
struct Asked<'a> {
    connection: &'a Connection,
    id: SeriesId,
    row: SeriesRow,
    from: i64,
    to: i64,
    limit: usize,
}

impl Reader {
    /// Opens a store.
    ///
    /// # Errors
    /// Where there is none, or it is damaged or another program's.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: rusqlite::Error| access("read", path)(io::Error::other(error));
        // SQLite's own words for a missing file are no help.
        std::fs::metadata(path).map_err(access("read", path))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(LOCK_PATIENCE).map_err(failed)?;
        let number = |name: &str| {
            connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
                .map_err(failed)
        };
        if number("application_id")? != APPLICATION {
            let cause = io::Error::other("it is no history of hearthgate");
            return Err(access("read", path)(cause));
        }
        let found = number("user_version")?;
        if found > VERSION {
            let path = PathBuf::from(path);
            return Err(StoreError::Newer { path, found });
        }
        Ok(Self { connection })
    }

    /// Returns what ends a query from outside.
    pub(crate) fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Returns a part of a series; as [`hearthgate_hub::HistorySource::query`]. `now` ends what is known,
    /// or, where no hub keeps the store, the time when one last did.
    ///
    /// # Errors
    /// Where the question makes no sense, or the file cannot be read.
    pub fn query(&self, query: &HistoryQuery, now: Timestamp) -> Result<Series, HistoryError> {
        if query.from > query.to {
            let text = "the beginning is later than the end";
            return Err(HistoryError::Query(text.to_owned()));
        }
        let Some((id, row)) = self.series(&query.subject)? else {
            return Ok(empty(query.resolution));
        };
        let present = self.present(now.0)?;
        let mut series = Series {
            unit: row.unit.clone(),
            scale: row.scale,
            is_number: row.is_number,
            before: None,
            points: Points::Changes(Vec::new()),
            next: None,
        };
        let asked = Asked {
            connection: &self.connection,
            id,
            row,
            from: query.from.0,
            to: query.to.0,
            limit: query.limit.clamp(1, HISTORY_LIMIT_MAX),
        };
        let (step, after) = match query.cursor.as_deref() {
            Some(cursor) => read_cursor(cursor)?,
            None => (asked.step(query.resolution, present)?, None),
        };
        if step == Step::Raw {
            let end = asked.end(present, now.0)?;
            if after.is_none() {
                let is_over = end.as_ref().is_some_and(|end| end.at.0 < asked.from);
                series.before = if is_over {
                    end.clone()
                } else {
                    asked.before()?
                };
            }
            let (mut changes, last, mut is_more) = asked.changes(after)?;
            let within = |end: &Change| (asked.from..asked.to).contains(&end.at.0);
            if let Some(end) = end.filter(within).filter(|_| !is_more) {
                match changes.len() < asked.limit {
                    true => changes.push(end),
                    false => is_more = true,
                }
            }
            let next = last.filter(|_| is_more);
            series.points = Points::Changes(changes);
            series.next = next.map(|(time, seq)| format!("raw:{time}:{seq}"));
        } else {
            let (buckets, next) = asked.buckets(step, after.map(|(index, _)| index), present)?;
            series.points = Points::Buckets { step, buckets };
            series.next = next.map(|index| format!("{}:{index}:0", step.name()));
        }
        Ok(series)
    }

    /// Returns what there is any history of, in order.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn subjects(&self, device: Option<&DeviceRef>) -> Result<Vec<Subject>, HistoryError> {
        let all = self.rows(device)?;
        Ok(all.into_iter().map(|(_, row)| row.subject).collect())
    }

    /// Returns the same with numbers; counting reads the whole index of each series.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn list(&self, device: Option<&DeviceRef>) -> Result<Vec<Listed>, HistoryError> {
        let mut count = self
            .connection
            .prepare(
                "SELECT count(*), min(time), max(time) FROM sample \
                 WHERE series = ?1 AND value IS NOT NULL",
            )
            .map_err(failed)?;
        let rows = self.rows(device)?;
        rows.into_iter()
            .map(|(id, row)| {
                let (changes, first, last): (i64, Option<i64>, Option<i64>) = count
                    .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .map_err(failed)?;
                Ok(Listed {
                    subject: row.subject,
                    is_number: row.is_number,
                    unit: row.unit,
                    changes: u64::try_from(changes).unwrap_or(0),
                    first: first.map(Timestamp),
                    last: last.map(Timestamp),
                })
            })
            .collect()
    }

    fn rows(&self, device: Option<&DeviceRef>) -> Result<Vec<(SeriesId, SeriesRow)>, HistoryError> {
        let mut all = self
            .connection
            .prepare(&format!(
                "SELECT {COLUMNS} FROM series \
                 WHERE ?1 IS NULL OR gateway = ?1 AND device = ?2 AND kind < 2 \
                 ORDER BY gateway, device, kind DESC, code"
            ))
            .map_err(failed)?;
        let gateway = device.map(|device| device.gateway.as_str());
        let devid = device.map(|device| device.device.as_str());
        let rows = all
            .query_map(params![gateway, devid], series_row)
            .map_err(failed)?;
        rows.filter_map(Result::transpose)
            .collect::<Result<_, _>>()
            .map_err(failed)
    }

    fn series(&self, subject: &Subject) -> Result<Option<(SeriesId, SeriesRow)>, HistoryError> {
        let (kind, gateway, device, code) = columns(subject);
        let found = self
            .connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM series \
                 WHERE kind = ?1 AND gateway = ?2 AND device = ?3 AND code = ?4"
            ))
            .and_then(|mut statement| {
                statement
                    .query_row(params![kind, gateway, device, code], series_row)
                    .optional()
            });
        Ok(found.map_err(failed)?.flatten())
    }

    /// Returns until when anything is known.
    fn present(&self, now: i64) -> Result<i64, HistoryError> {
        let alive: Option<i64> = self
            .connection
            .query_row("SELECT value FROM state WHERE name = 'alive'", [], |row| {
                row.get(0)
            })
            .optional()
            .map_err(failed)?;
        let alive = alive.unwrap_or(now);
        Ok(if now.saturating_sub(alive) > RESTART {
            alive
        } else {
            now
        })
    }
}

impl Asked<'_> {
    /// Decides how fine the answer is.
    fn step(&self, resolution: Resolution, present: i64) -> Result<Step, HistoryError> {
        if !self.row.is_number {
            return Ok(Step::Raw);
        }
        let max_points = match resolution {
            Resolution::Exactly(step) => return Ok(step),
            Resolution::Auto { max_points } => max_points.max(1),
        };
        let until = self.to.min(present);
        let mut reaches = Vec::new();
        for step in Step::ALL {
            if let Some(oldest) = self.oldest(*step)? {
                reaches.push((*step, oldest));
            }
        }
        for (step, oldest) in &reaches {
            let fits = match step {
                Step::Raw => self.count_up_to(max_points)? <= max_points,
                Step::Minute | Step::Hour | Step::Day => {
                    let width = step.milliseconds();
                    let first = self.from.max(*oldest).div_euclid(width);
                    let stretches = until.div_euclid(width).saturating_sub(first) + 1;
                    usize::try_from(stretches).is_ok_and(|it| it <= max_points)
                }
            };
            // Where a coarser one knows of a whole stretch before, something is missing here.
            let is_short = reaches.iter().any(|(coarser, reach)| {
                coarser > step && reach.saturating_add(coarser.milliseconds()) <= *oldest
            });
            if fits && (*oldest <= self.from || !is_short) {
                return Ok(*step);
            }
        }
        Ok(Step::Day)
    }
}

fn empty(resolution: Resolution) -> Series {
    let points = match resolution {
        Resolution::Exactly(step) if step != Step::Raw => Points::Buckets {
            step,
            buckets: Vec::new(),
        },
        _ => Points::Changes(Vec::new()),
    };
    Series {
        unit: String::new(),
        scale: 0,
        is_number: false,
        before: None,
        points,
        next: None,
    }
}

/// Reads where an answer ended: the resolution, and a time and its order, or an index.
fn read_cursor(cursor: &str) -> Result<(Step, Option<(i64, i64)>), HistoryError> {
    let parts: Vec<&str> = cursor.split(':').collect();
    let read = match parts.as_slice() {
        [step, at, seq] => {
            let step = Step::ALL.iter().find(|it| it.name() == *step);
            step.zip(at.parse().ok().zip(seq.parse().ok()))
        }
        _ => None,
    };
    match read {
        Some((step, after)) => Ok((*step, Some(after))),
        None => Err(HistoryError::Query(
            "the cursor is none that this history gave".to_owned(),
        )),
    }
}

/// Says why the file cannot be read.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn failed(error: rusqlite::Error) -> HistoryError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::OperationInterrupted) => HistoryError::TooSlow,
        _ => HistoryError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
