//! Device profiles: one JSON object per file, in wire shape (section 11).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::decode::readings;
use super::reply::schema;
use super::shape::{ShapeError, boolean, fields, required, string};
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
    pub schema: Arc<Schema>,
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
        Self::parse_pooled(text, &mut SchemaPool::default())
    }

    /// Parses one of many profiles: those that declare the same share one schema.
    ///
    /// # Errors
    /// As [`Profile::parse`].
    pub fn parse_pooled(text: &str, schemas: &mut SchemaPool) -> Result<Self, ProfileError> {
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
        read(raw, schemas).map_err(|error| {
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

/// Schemas by the text that declares them, to the byte. A home has many devices of few products: to
/// parse each product once is most of the time, and to keep it once most of the memory, that a thousand
/// profiles take. To be dropped with the last profile that is read; nothing is ever removed from it.
#[derive(Debug, Default)]
pub struct SchemaPool {
    known: HashMap<String, Arc<Schema>>,
}

impl SchemaPool {
    fn schema(
        &mut self,
        category: Option<&RawValue>,
        function: Option<&RawValue>,
        status: Option<&RawValue>,
    ) -> Result<Arc<Schema>, ShapeError> {
        let texts = [category, function, status].map(|raw| raw.map_or("", RawValue::get));
        // No JSON text has a NUL in it.
        let text = texts.join("\0");
        if let Some(known) = self.known.get(&text) {
            return Ok(Arc::clone(known));
        }
        let schema = Arc::new(schema(category, function, status)?);
        self.known.insert(text, Arc::clone(&schema));
        Ok(schema)
    }
}

/// Reads all fields in one pass.
fn read(raw: &RawValue, schemas: &mut SchemaPool) -> Result<Profile, ShapeError> {
    const NAMES: [&str; 8] = [
        "devid",
        "category",
        "function",
        "functions",
        "status",
        "online",
        "name",
        "value",
    ];
    let [
        devid,
        category,
        function,
        functions,
        status,
        online,
        name,
        value,
    ] = fields(raw, &NAMES)?.found;
    let device = required(raw, devid, "devid")?;
    let device = string(device).map_err(|error| error.under("devid"))?;
    let schema = schemas.schema(category, function.or(functions), status)?;
    let name = name
        .map(string)
        .transpose()
        .map_err(|error| error.under("name"))?;
    // A profile may leave `online` out; a status in an answer may not.
    let online = online
        .map(boolean)
        .transpose()
        .map_err(|error| error.under("online"))?;
    Ok(Profile {
        device: (&*device).into(),
        name: name.map(|name| name.into_owned()),
        schema,
        online: online.unwrap_or(true),
        readings: value.map(readings).transpose()?.unwrap_or_default(),
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
