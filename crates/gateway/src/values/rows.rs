//! The rows of the store: each with a checksum, so that a value that broke is noticed.
//!
//! Input: batches to be written, rows to be read. Output: rows, and what is known of each device.

use std::collections::HashMap;

use hearthgate_protocol::model::{DeviceId, Point, Source, Stamp, Timestamp, Value};
use rusqlite::{Connection, Row, Transaction, params};

use super::{Batch, FileTimes, Stored};

/// All rows, device by device.
pub(super) type Known = HashMap<DeviceId, Stored>;

/// Writes a batch as part of a transaction.
pub(super) fn write(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let mut forget = transaction.prepare_cached("DELETE FROM point WHERE device = ?1")?;
    let mut profile = transaction.prepare_cached(
        "INSERT INTO profile VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
         SET read = ?2, modified = ?3, checksum = ?4",
    )?;
    let mut value = transaction.prepare_cached(
        "INSERT INTO point VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE \
         SET value = ?3, confirmed = ?4, changed = ?5, checksum = ?6",
    )?;
    for (device, file, points) in batch.devices() {
        let device = device.as_str();
        if let Some(file) = file {
            forget.execute([device])?;
            let checksum = file_checksum(device, file);
            profile.execute(params![device, file.read, file.modified, checksum])?;
        }
        for point in points {
            let (code, json) = (point.code.as_str(), point.value.json());
            let (confirmed, changed) = (point.confirmed.at.0, point.changed.0);
            let checksum = point_checksum(device, code, &json, confirmed, changed);
            value.execute(params![device, code, json, confirmed, changed, checksum])?;
        }
    }
    Ok(())
}

/// Reads all rows; `None` where one of them is damaged.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Option<Known>> {
    let mut known = Known::new();
    let mut profiles =
        connection.prepare("SELECT device, read, modified, checksum FROM profile")?;
    let mut rows = profiles.query([])?;
    while let Some(row) = rows.next()? {
        let Some((device, file)) = profile(row)? else {
            return Ok(None);
        };
        let points = Vec::new();
        known.insert(device, Stored { file, points });
    }
    // In the order in which they were first stored, as a device shows them.
    let mut points = connection.prepare(
        "SELECT device, code, value, confirmed, changed, checksum FROM point ORDER BY rowid",
    )?;
    let mut rows = points.query([])?;
    while let Some(row) = rows.next()? {
        let stored = known.get_mut(row.get_ref(0)?.as_str()?);
        let (Some(stored), Some(point)) = (stored, point(row)?) else {
            return Ok(None);
        };
        stored.points.push(point);
    }
    Ok(Some(known))
}

fn profile(row: &Row<'_>) -> rusqlite::Result<Option<(DeviceId, FileTimes)>> {
    let device = row.get_ref(0)?.as_str()?;
    let (read, modified) = (row.get(1)?, row.get(2)?);
    let file = FileTimes { read, modified };
    let checksum: i64 = row.get(3)?;
    let whole = checksum == file_checksum(device, file);
    Ok(whole.then(|| (device.into(), file)))
}

fn point(row: &Row<'_>) -> rusqlite::Result<Option<Point>> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let (device, code, json) = (text(0)?, text(1)?, text(2)?);
    let (confirmed, changed) = (row.get(3)?, row.get(4)?);
    let checksum: i64 = row.get(5)?;
    if checksum != point_checksum(device, code, json, confirmed, changed) {
        return Ok(None);
    }
    let confirmed = Stamp {
        at: Timestamp(confirmed),
        source: Source::Cache,
    };
    Ok(Value::parse(json).ok().map(|value| Point {
        code: code.into(),
        value,
        confirmed,
        changed: Timestamp(changed),
    }))
}

fn file_checksum(device: &str, file: FileTimes) -> i64 {
    checksum(&[
        device.as_bytes(),
        &file.read.to_le_bytes(),
        &file.modified.to_le_bytes(),
    ])
}

fn point_checksum(device: &str, code: &str, json: &str, confirmed: i64, changed: i64) -> i64 {
    checksum(&[
        device.as_bytes(),
        code.as_bytes(),
        json.as_bytes(),
        &confirmed.to_le_bytes(),
        &changed.to_le_bytes(),
    ])
}

/// FNV-1a, 64 bits: sees any single byte that changed, and is not meant to withstand intent.
fn checksum(parts: &[&[u8]]) -> i64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.len().to_le_bytes().iter().chain(*part) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    state.cast_signed()
}
