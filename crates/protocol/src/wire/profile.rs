//! Device profiles: one JSON object per file, in wire shape (section 11).

use serde_json::value::RawValue;

use super::reply::{schema_entry, status_entry};
use super::shape::{ShapeError, boolean, fields, string};
use crate::limits::JSON_DEPTH_MAX;
use crate::model::{DeviceId, Reading, Schema, nesting_exceeds};

/// A device profile: `devid, category, function, status, online, value` in wire shape, and `name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The device.
    pub device: DeviceId,
    /// A name for people; never on the wire.
    pub name: Option<String>,
    /// What the device declares.
    pub schema: Schema,
    /// Whether it is in reach at first; `true` where the profile does not say.
    pub online: bool,
    /// Its first values.
    pub readings: Vec<Reading>,
}

/// Why a text is no device profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ProfileError {
    line: usize,
    column: usize,
    problem: String,
}

impl Profile {
    /// Parses a profile.
    ///
    /// # Errors
    /// Names line, column and reason.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let at_start = |problem: String| ProfileError {
            line: 1,
            column: 1,
            problem,
        };
        if nesting_exceeds(text.as_bytes(), JSON_DEPTH_MAX) {
            return Err(at_start(format!("nested deeper than {JSON_DEPTH_MAX}")));
        }
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| ProfileError {
            line: error.line(),
            column: error.column().max(1),
            problem: strip_position(&error.to_string()),
        })?;
        read(raw).map_err(|error| {
            let before = text
                .get(..error.offset_in(text).unwrap_or(0))
                .unwrap_or_default();
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            ProfileError {
                line: before.matches('\n').count() + 1,
                column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
                problem: error.to_string(),
            }
        })
    }
}

fn read(raw: &RawValue) -> Result<Profile, ShapeError> {
    let entry = schema_entry(raw)?;
    let [online, name] = fields(raw, &["online", "name"])?.found;
    let name = name
        .map(string)
        .transpose()
        .map_err(|error| error.under("name"))?;
    // A profile may leave `online` out; a status in an answer may not.
    let (online, readings) = match online.map(boolean) {
        Some(Err(error)) => return Err(error.under("online")),
        Some(Ok(online)) => (online, status_entry(raw)?.readings),
        None => {
            let [value] = fields(raw, &["value"])?.found;
            (
                true,
                value
                    .map(super::decode::readings)
                    .transpose()?
                    .unwrap_or_default(),
            )
        }
    };
    Ok(Profile {
        device: entry.device,
        name: name.map(|name| name.into_owned()),
        schema: entry.schema,
        online,
        readings,
    })
}

/// Removes serde_json's own " at line 3 column 7", which is said in front.
fn strip_position(message: &str) -> String {
    message
        .split(" at line ")
        .next()
        .unwrap_or(message)
        .to_owned()
}
