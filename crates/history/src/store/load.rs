//! What a store knows of each series, read once when it opens.

use hearthgate_hub::{DeviceRef, Subject};
use hearthgate_protocol::model::{Code, Value};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::Newest;
use crate::row::{SeriesId, SeriesRow, is_bool, number_of};
use crate::track::Loaded;

/// Each series: its newest row, and what the tracker goes on from.
type AllSeries = Vec<(Option<Newest>, Loaded)>;

/// The columns that [`series_row`] reads.
pub(crate) const COLUMNS: &str = "id, kind, gateway, device, code, is_number, scale, unit";

/// Reads all series.
pub(super) fn series(connection: &Connection) -> rusqlite::Result<AllSeries> {
    let mut newest = connection.prepare(
        "SELECT time, seq, how, value FROM sample WHERE series = ?1 \
         ORDER BY time DESC, seq DESC LIMIT 1",
    )?;
    let mut known = connection.prepare(
        "SELECT how, value FROM sample WHERE series = ?1 AND value IS NOT NULL \
         ORDER BY time DESC, seq DESC LIMIT 1",
    )?;
    let mut all = connection.prepare(&format!("SELECT {COLUMNS} FROM series ORDER BY id"))?;
    let mut rows = all.query([])?;
    let mut found = AllSeries::new();
    while let Some(row) = rows.next()? {
        let Some((id, row)) = series_row(row)? else {
            continue;
        };
        let mut last = newest.query([id])?;
        let mut loaded = Loaded {
            id,
            row,
            at: i64::MIN,
            held: None,
            is_open: false,
        };
        let mut newest_row = None;
        if let Some(last) = last.next()? {
            let value = value_of(last.get(2)?, last.get_ref(3)?)?;
            loaded.at = last.get(0)?;
            loaded.is_open = value.is_some();
            newest_row = Some(Newest {
                at: loaded.at,
                seq: last.get(1)?,
                number: value
                    .as_ref()
                    .filter(|_| loaded.row.is_number)
                    .and_then(number_of),
            });
            loaded.held = match value {
                Some(value) => Some(value),
                None => match known.query([id])?.next()? {
                    Some(row) => value_of(row.get(0)?, row.get_ref(1)?)?,
                    None => None,
                },
            };
        }
        found.push((newest_row, loaded));
    }
    Ok(found)
}

/// Reads a row of the table of series; none where it is of a kind that this program does not know.
pub(crate) fn series_row(row: &Row<'_>) -> rusqlite::Result<Option<(SeriesId, SeriesRow)>> {
    let text = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let (gateway, device) = (text(2)?, text(3)?);
    let subject = match row.get(1)? {
        0 => Subject::Point(DeviceRef::new(gateway, device), Code::from(text(4)?)),
        1 => Subject::Online(DeviceRef::new(gateway, device)),
        2 => Subject::Link(gateway.into()),
        _ => return Ok(None),
    };
    let series = SeriesRow {
        subject,
        is_number: row.get(5)?,
        scale: row.get(6)?,
        unit: text(7)?.to_owned(),
    };
    Ok(Some((row.get(0)?, series)))
}

/// Returns how a subject is stored: kind, gateway, device, code.
pub(crate) fn columns(subject: &Subject) -> (i64, &str, &str, &str) {
    match subject {
        Subject::Point(device, code) => {
            let (gateway, devid) = (device.gateway.as_str(), device.device.as_str());
            (0, gateway, devid, code.as_str())
        }
        Subject::Online(device) => (1, device.gateway.as_str(), device.device.as_str(), ""),
        Subject::Link(gateway) => (2, gateway.as_str(), "", ""),
    }
}

/// Returns a stored value as it came.
pub(crate) fn value_of(how: i64, value: ValueRef<'_>) -> rusqlite::Result<Option<Value>> {
    Ok(match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) if is_bool(how) => Some(Value::from(number != 0)),
        ValueRef::Integer(number) => Some(Value::from(number)),
        // What is no JSON was broken on the disk: nothing known is the truth then.
        other => Value::parse(other.as_str()?).ok(),
    })
}
