//! Writes a batch as one transaction: changes, and what they add to the means.
//!
//! A row that is earlier than the newest of its series (the clock was set back) is put in between; the
//! stretches that it touches are computed anew from the changes.

use std::collections::{BTreeSet, HashMap};

use rusqlite::types::Value as Stored;
use rusqlite::{Connection, Transaction, params};

use super::load::{columns, value_of};
use super::{Newest, Store};
use crate::rollup::{Held, Key, Part, Parts, STEPS, compute};
use crate::row::{Batch, Row, SeriesId, SeriesRow, number_of};

impl Store {
    /// Stores a batch, all of it or nothing. Survives the death of the process from then on.
    pub(crate) fn commit(&mut self, batch: &Batch, now: i64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for (id, series) in &batch.series {
            write_series(&transaction, *id, series)?;
        }
        let mut moved: HashMap<SeriesId, Newest> = HashMap::new();
        let mut parts = Parts::default();
        let mut late = BTreeSet::new();
        for row in &batch.rows {
            let before = moved
                .get(&row.series)
                .or_else(|| self.newest.get(&row.series))
                .copied();
            let next = Held {
                at: row.at.0,
                number: row.number(),
            };
            let seq = match before {
                Some(newest) if newest.at > next.at => {
                    insert_late(&transaction, row)?;
                    if row.is_number {
                        late.insert((row.series, next.at));
                    }
                    continue;
                }
                Some(newest) if newest.at == next.at => newest.seq + 1,
                _ => 0,
            };
            insert(&transaction, row, seq)?;
            if row.is_number {
                let held = before.map(|newest| Held {
                    at: newest.at,
                    number: newest.number,
                });
                parts.follow(row.series, held, next);
            }
            let newest = Newest {
                at: next.at,
                seq,
                number: next.number,
            };
            moved.insert(row.series, newest);
        }
        for (key, part) in parts.iter() {
            add(&transaction, *key, part)?;
        }
        recompute_all(&transaction, &late, self.changes_from)?;
        transaction
            .prepare_cached(
                "INSERT INTO state VALUES ('alive', ?1) ON CONFLICT DO UPDATE SET value = ?1",
            )?
            .execute([now])?;
        transaction.commit()?;
        self.newest.extend(moved);
        Ok(())
    }
}

fn write_series(
    transaction: &Transaction<'_>,
    id: SeriesId,
    series: &SeriesRow,
) -> rusqlite::Result<()> {
    let (kind, gateway, device, code) = columns(&series.subject);
    let mut statement = transaction.prepare_cached(
        "INSERT INTO series VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO UPDATE \
         SET is_number = ?6, scale = ?7, unit = ?8",
    )?;
    statement.execute(params![
        id,
        kind,
        gateway,
        device,
        code,
        series.is_number,
        series.scale,
        series.unit
    ])?;
    Ok(())
}

fn insert(transaction: &Transaction<'_>, row: &Row, seq: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("INSERT INTO sample VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![row.series, row.at.0, seq, row.how(), stored(row)])?;
    Ok(())
}

fn insert_late(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO sample SELECT ?1, ?2, 1 + coalesce(max(seq), -1), ?3, ?4 \
             FROM sample WHERE series = ?1 AND time = ?2",
        )?
        .execute(params![row.series, row.at.0, row.how(), stored(row)])?;
    Ok(())
}

/// Returns a value as it is stored: to the byte what came.
fn stored(row: &Row) -> Stored {
    let Some(value) = &row.value else {
        return Stored::Null;
    };
    if let Some(on) = value.as_bool() {
        return Stored::Integer(on.into());
    }
    match value.as_i64() {
        // `-0` is an integer by its value, not by its text.
        Some(number) if number != 0 || value.json() == "0" => Stored::Integer(number),
        _ => Stored::Text(value.json().into_owned()),
    }
}

/// Adds to a stretch.
fn add(transaction: &Transaction<'_>, key: Key, part: &Part) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(&format!(
            "INSERT INTO {} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (series, start) DO UPDATE SET \
             count = count + excluded.count, \
             low = min(coalesce(low, excluded.low), coalesce(excluded.low, low)), \
             high = max(coalesce(high, excluded.high), coalesce(excluded.high, high)), \
             last = CASE WHEN ?9 THEN excluded.last ELSE last END, \
             weighted = weighted + excluded.weighted, \
             covered = covered + excluded.covered",
            key.step.name()
        ))?
        .execute(params![
            key.series,
            key.index,
            part.count,
            part.low,
            part.high,
            part.last,
            part.weighted,
            part.covered,
            part.is_changed
        ])?;
    Ok(())
}

/// Computes all stretches anew that late rows touch.
fn recompute_all(
    transaction: &Transaction<'_>,
    late: &BTreeSet<(SeriesId, i64)>,
    changes_from: i64,
) -> rusqlite::Result<()> {
    let mut keys = BTreeSet::new();
    for step in STEPS {
        let mut following = transaction.prepare_cached(&format!(
            "SELECT min(start) FROM {} WHERE series = ?1 AND start > ?2",
            step.name()
        ))?;
        for (series, at) in late {
            let index = at.div_euclid(step.milliseconds());
            keys.insert(Key {
                step,
                series: *series,
                index,
            });
            // It began with another value than it has now.
            let next: Option<i64> =
                following.query_row(params![series, index], |row| row.get(0))?;
            keys.extend(next.map(|index| Key {
                step,
                series: *series,
                index,
            }));
        }
    }
    for key in keys {
        let begin = key.index.saturating_mul(key.step.milliseconds());
        // What is no longer there in single changes stays as it was computed.
        if begin >= changes_from {
            recompute(transaction, key)?;
        }
    }
    Ok(())
}

fn recompute(transaction: &Transaction<'_>, key: Key) -> rusqlite::Result<()> {
    let table = key.step.name();
    transaction
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE series = ?1 AND start = ?2"
        ))?
        .execute(params![key.series, key.index])?;
    match from_changes(transaction, key)? {
        Some(part) => add(transaction, key, &part),
        None => Ok(()),
    }
}

/// Computes a stretch from the changes.
pub(super) fn from_changes(connection: &Connection, key: Key) -> rusqlite::Result<Option<Part>> {
    let begin = key.index.saturating_mul(key.step.milliseconds());
    let end = begin.saturating_add(key.step.milliseconds());
    let held = |row: &rusqlite::Row<'_>| {
        Ok(Held {
            at: row.get(0)?,
            number: value_of(row.get(1)?, row.get_ref(2)?)?
                .as_ref()
                .and_then(number_of),
        })
    };
    let mut before = connection.prepare_cached(
        "SELECT time, how, value FROM sample WHERE series = ?1 AND time < ?2 \
         ORDER BY time DESC, seq DESC LIMIT 1",
    )?;
    let mut within = connection.prepare_cached(
        "SELECT time, how, value FROM sample WHERE series = ?1 AND time >= ?2 AND time < ?3 \
         ORDER BY time, seq",
    )?;
    let mut after = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sample WHERE series = ?1 AND time >= ?2)")?;
    let before = before
        .query_map(params![key.series, begin], held)?
        .next()
        .transpose()?;
    let within: Vec<Held> = within
        .query_map(params![key.series, begin, end], held)?
        .collect::<Result<_, _>>()?;
    let is_followed = after.query_row(params![key.series, end], |row| row.get(0))?;
    let before = before.and_then(|held| held.number);
    Ok(compute(key.step, key.index, before, within, is_followed))
}

/// Returns the tables of means, for tests that compare them with the changes.
#[cfg(test)]
pub(super) fn stretches(connection: &Connection, step: hearthgate_hub::Step) -> Vec<(Key, Part)> {
    let mut all = connection
        .prepare(&format!("SELECT * FROM {}", step.name()))
        .unwrap();
    all.query_map([], |row| {
        let key = Key {
            step,
            series: row.get(0)?,
            index: row.get(1)?,
        };
        let part = Part {
            count: row.get(2)?,
            low: row.get(3)?,
            high: row.get(4)?,
            last: row.get(5)?,
            is_changed: true,
            weighted: row.get(6)?,
            covered: row.get(7)?,
        };
        Ok((key, part))
    })
    .unwrap()
    .map(Result::unwrap)
    .collect()
}
