//! Lets go of what is too old, or the oldest where there is too much; a bounded step at a time.
//!
//! Input: the options, the clock. Output: rows that are gone. The newest row before the limit stays in each
//! series and resolution, since its value still holds after it.
//!
//! Pages that become free are used again by what comes; they are given back to the disk only where they are
//! many, so that a store at its limit does not move its pages in circles.

use hearthgate_hub::Step;
use rusqlite::{Connection, params};
use tracing::{info, warn};

use super::Store;
use crate::options::{HistoryOptions, LEAST_BYTES};
use crate::row::SeriesId;

/// The most rows that one step deletes of one series.
const ROWS_OF_A_SERIES: i64 = 5_000;
/// The rows after which a step ends.
const ROWS_OF_A_STEP: usize = 20_000;
/// The series after which a step ends.
const SERIES_OF_A_STEP: usize = 500;
/// The pages that one step gives back to the disk.
const PAGES_OF_A_STEP: u32 = 500;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// What is kept of each resolution even where there is too much: shorter is no history.
const LEAST: [i64; 4] = [HOUR, DAY, 31 * DAY, 366 * DAY];

/// Where the letting go is.
#[derive(Debug)]
pub(crate) struct Retention {
    /// Ages, in the order of [`Step::ALL`], in milliseconds.
    ages: [i64; 4],
    max_bytes: u64,
    /// Limits that came of there being too much.
    pressed: [i64; 4],
    /// The limits of the round that is going on.
    limits: [i64; 4],
    /// The series that are still to be looked at.
    queue: Vec<SeriesId>,
    told: bool,
}

impl Retention {
    pub(crate) fn new(options: &HistoryOptions) -> Self {
        let age = |age: std::time::Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Self {
            ages: [
                age(options.keep_changes),
                age(options.keep_minutes),
                age(options.keep_hours),
                i64::MAX,
            ],
            max_bytes: options.max_bytes.max(LEAST_BYTES),
            pressed: [i64::MIN; 4],
            limits: [i64::MIN; 4],
            queue: Vec::new(),
            told: false,
        }
    }

    /// Begins a round.
    pub(crate) fn begin(&mut self, store: &mut Store, now: i64) {
        if !self.queue.is_empty() {
            return;
        }
        self.queue = store.newest.keys().copied().collect();
        for ((limit, age), pressed) in self.limits.iter_mut().zip(self.ages).zip(self.pressed) {
            *limit = now.saturating_sub(age).max(pressed);
        }
        let [changes, ..] = self.limits;
        store.changes_from = store.changes_from.max(changes);
    }

    /// Does a step; tells whether there is more to do.
    pub(crate) fn step(&mut self, store: &mut Store, now: i64) -> rusqlite::Result<bool> {
        if !self.queue.is_empty() {
            self.delete(store)?;
            if !self.queue.is_empty() {
                return Ok(true);
            }
        }
        let (bytes, free) = store.bytes()?;
        if bytes.saturating_sub(free) > self.max_bytes {
            return self.press(store, now);
        }
        self.told = false;
        if free > 0 && (bytes > self.max_bytes || free > bytes / 4) {
            give_back(&store.connection)?;
            let (after, _) = store.bytes()?;
            return Ok(after < bytes);
        }
        Ok(false)
    }

    fn delete(&mut self, store: &mut Store) -> rusqlite::Result<()> {
        let transaction = store.connection.transaction()?;
        let mut left = self.queue.clone();
        let mut deleted = 0;
        for _ in 0..SERIES_OF_A_STEP {
            let Some(series) = left.pop() else { break };
            let mut most = 0;
            for (step, limit) in Step::ALL.iter().zip(self.limits) {
                let rows = delete_from(&transaction, *step, series, limit)?;
                deleted += rows;
                most = most.max(rows);
            }
            if i64::try_from(most).is_ok_and(|most| most >= ROWS_OF_A_SERIES) {
                left.push(series);
            }
            if deleted >= ROWS_OF_A_STEP {
                break;
            }
        }
        transaction.commit()?;
        self.queue = left;
        Ok(())
    }

    /// There is too much: a part of the oldest has to go.
    fn press(&mut self, store: &mut Store, now: i64) -> rusqlite::Result<bool> {
        for ((step, pressed), (limit, least)) in Step::ALL
            .iter()
            .zip(&mut self.pressed)
            .zip(self.limits.into_iter().zip(LEAST))
        {
            let Some(oldest) = oldest(&store.connection, *step, limit)? else {
                continue;
            };
            let span = now.saturating_sub(oldest);
            if span <= least {
                continue;
            }
            *pressed = (oldest + (span / 8).max(step.milliseconds())).min(now - least);
            let kept = now.saturating_sub(*pressed) / HOUR;
            info!(
                "the history {} is at its limit: of the {} resolution the last {kept} hours are kept",
                store.path.display(),
                step.name(),
            );
            self.begin(store, now);
            return Ok(true);
        }
        if !std::mem::replace(&mut self.told, true) {
            warn!(
                "the history {} holds more than {} MiB with the shortest times already; allow it more",
                store.path.display(),
                self.max_bytes >> 20
            );
        }
        Ok(false)
    }
}

/// Deletes rows of a series before a time, all but the newest of them; returns how many.
fn delete_from(
    connection: &Connection,
    step: Step,
    series: SeriesId,
    before: i64,
) -> rusqlite::Result<usize> {
    let (table, column) = table(step);
    let before = before.div_euclid(step.milliseconds().max(1));
    connection
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE series = ?1 AND {column} < min( \
             (SELECT max({column}) FROM {table} WHERE series = ?1 AND {column} <= ?2), \
             coalesce((SELECT {column} FROM {table} WHERE series = ?1 ORDER BY {column} \
             LIMIT 1 OFFSET ?3), 9223372036854775807))"
        ))?
        .execute(params![series, before, ROWS_OF_A_SERIES])
}

/// Returns the time of the oldest row that is not before a limit.
pub(super) fn oldest(
    connection: &Connection,
    step: Step,
    limit: i64,
) -> rusqlite::Result<Option<i64>> {
    let (table, column) = table(step);
    let width = step.milliseconds().max(1);
    let oldest: Option<i64> = connection
        .prepare_cached(&format!(
            "SELECT min((SELECT min({column}) FROM {table} \
             WHERE series = id AND {column} >= ?1)) FROM series"
        ))?
        .query_row([limit.div_euclid(width)], |row| row.get(0))?;
    Ok(oldest.map(|oldest| oldest.saturating_mul(width)))
}

/// Returns the table of a resolution, and its column of times.
pub(crate) fn table(step: Step) -> (&'static str, &'static str) {
    match step {
        Step::Raw => ("sample", "time"),
        Step::Minute | Step::Hour | Step::Day => (step.name(), "start"),
    }
}

fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_OF_A_STEP})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
