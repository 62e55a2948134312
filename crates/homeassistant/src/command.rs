//! From what Home Assistant, or anybody, sends to what is written to the device.

use hearthgate_protocol::model::{Reading, Value};
use serde_json::{Map, Value as Json};

use crate::mapping::Mapping;
use crate::mapping::topic;
use crate::point::Values;

/// Why a command cannot be carried out. The message is for the user and for the `result` topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing of that name takes commands.
    #[error("{0}")]
    UnknownKey(String),
    /// The payload means nothing here.
    #[error("{0}")]
    InvalidPayload(String),
}

impl CommandError {
    pub(crate) fn payload(key: &str, problem: &str) -> Self {
        Self::InvalidPayload(format!("{key}: {problem}"))
    }
}

/// Carries out what came to one key.
pub(crate) fn one(
    mapping: &Mapping,
    values: Values<'_>,
    key: &str,
    payload: &str,
) -> Result<Vec<Reading>, CommandError> {
    if let Some((entity, aspect)) = key.split_once('@') {
        return aspect_of(mapping, values, &topic::unlevel(entity), aspect, payload);
    }
    let code = topic::unlevel(key);
    let point = writable(mapping, &code)?;
    let value = point
        .wire_text(payload)
        .map_err(|problem| CommandError::payload(&code, &problem))?;
    Ok(vec![merged(values, &code, value)])
}

/// Carries out an object of several; all or nothing.
pub(crate) fn several(
    mapping: &Mapping,
    values: Values<'_>,
    object: &Map<String, Json>,
) -> Result<Vec<Reading>, CommandError> {
    let mut readings = Vec::new();
    for (key, user) in object {
        if mapping.points().get(key).is_none()
            && let Some((entity, aspect)) = key.split_once('@')
        {
            let payload = match user {
                Json::String(text) => text.clone(),
                _ => user.to_string(),
            };
            readings.extend(aspect_of(mapping, values, entity, aspect, &payload)?);
            continue;
        }
        let point = writable(mapping, key)?;
        let value = point
            .wire(user)
            .map_err(|problem| CommandError::payload(key, &problem))?;
        readings.push(merged(values, key, value));
    }
    Ok(readings)
}

fn aspect_of(
    mapping: &Mapping,
    values: Values<'_>,
    key: &str,
    aspect: &str,
    payload: &str,
) -> Result<Vec<Reading>, CommandError> {
    let entity = mapping
        .entities()
        .iter()
        .find(|entity| entity.key == key)
        .ok_or_else(|| CommandError::UnknownKey(format!("no entity `{key}`")))?;
    entity.kind.command(entity, aspect, payload, values)
}

fn writable<'a>(mapping: &'a Mapping, code: &str) -> Result<&'a crate::point::Point, CommandError> {
    match mapping.points().get(code) {
        Some(point) if point.writable() => Ok(point),
        Some(_) => Err(CommandError::UnknownKey(format!(
            "`{code}` only reports, it takes no commands"
        ))),
        None => {
            let codes: Vec<&str> = mapping
                .points()
                .iter()
                .filter(|point| point.writable())
                .map(|point| point.code.as_str())
                .collect();
            Err(CommandError::UnknownKey(format!(
                "no data point `{code}`; what takes commands: {}",
                if codes.is_empty() {
                    "nothing".to_owned()
                } else {
                    codes.join(", ")
                }
            )))
        }
    }
}

/// Completes part of a colour by what the colour is now: devices take whole ones alone.
fn merged(values: Values<'_>, code: &str, value: Value) -> Reading {
    let whole = || -> Option<Value> {
        let Json::Object(new) = serde_json::from_str(&value.json()).ok()? else {
            return None;
        };
        let current = values.raw(code)?;
        let text = current.as_string().unwrap_or_else(|| current.json());
        let Json::Object(mut whole) = serde_json::from_str(&text).ok()? else {
            return None;
        };
        let colour = ["h", "s", "v"];
        let partial = colour.iter().all(|part| whole.contains_key(*part))
            && !new.is_empty()
            && new.keys().all(|key| colour.contains(&key.as_str()));
        if !partial {
            return None;
        }
        whole.extend(new);
        Value::parse(&Json::Object(whole).to_string()).ok()
    };
    let whole = whole();
    Reading::new(code, whole.unwrap_or(value))
}
