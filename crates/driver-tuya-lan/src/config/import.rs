//! Files that people already have: `devices.json` of `tinytuya wizard`, and raw lists of the cloud.
//!
//! A list of objects, or an object with the list under `result`, `devices` or `data`. What the cloud
//! says about data points is in `mapping`: by number the code, the type, and limits as an object or as a
//! text that holds one.

use std::collections::{BTreeMap, HashMap};

use hearthgate_protocol::model::DeviceId;
use serde_json::{Map, Value as Json};

use super::entry::{self, Entry};
use super::{Direct, FileContent, Reach};
use crate::points::{Access, Point};
use crate::secret::LocalKey;

/// The most devices of a file.
const DEVICES_MAX: usize = 20_000;

/// Reads a file.
pub(super) fn read(text: &str) -> Result<FileContent, Vec<String>> {
    let json: Json = serde_json::from_str(text).map_err(|error| {
        // The parser's own words may repeat what stands there, which may be a key.
        let (line, column) = (error.line(), error.column());
        vec![format!("line {line}, column {column}: no valid JSON")]
    })?;
    let list = list(&json).ok_or_else(|| {
        vec!["holds no list of devices: `tinytuya wizard` writes one, devices.json".to_owned()]
    })?;
    if list.len() > DEVICES_MAX {
        return Err(vec![format!("has more than {DEVICES_MAX} devices")]);
    }
    let parents = parents(list);
    let mut content = FileContent::default();
    let mut problems = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let mut place = format!("device {}", index + 1);
        if let Some(id) = item.get("id").and_then(Json::as_str) {
            place = format!("{place} ({})", shown(id));
        }
        match device(item, &place, &parents) {
            Ok(Read::Device(entry)) => content.entries.push(*entry),
            Ok(Read::Skipped(why)) => content.warnings.push(format!("{place} is left out: {why}")),
            Err(problem) => problems.push(format!("{place}: {problem}")),
        }
    }
    if problems.is_empty() {
        Ok(content)
    } else {
        Err(problems)
    }
}

enum Read {
    Device(Box<Entry>),
    /// What is in such files and cannot be served: no reason to refuse the others.
    Skipped(String),
}

fn list(json: &Json) -> Option<&Vec<Json>> {
    match json {
        Json::Array(list) => Some(list),
        Json::Object(fields) => ["result", "devices", "data"]
            .iter()
            .find_map(|name| fields.get(*name))
            .and_then(list),
        _ => None,
    }
}

/// Returns by key the devices that have a connection of their own: a sub-device whose parent is not
/// named has the key of its parent.
fn parents(list: &[Json]) -> HashMap<&str, &str> {
    list.iter()
        .filter(|item| !is_sub(item))
        .filter_map(|item| {
            let key = ["key", "local_key"]
                .iter()
                .find_map(|name| item.get(*name)?.as_str())?;
            Some((key, item.get("id")?.as_str()?))
        })
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

fn is_sub(item: &Json) -> bool {
    item.get("sub").and_then(Json::as_bool).unwrap_or(false)
}

fn device(item: &Json, place: &str, parents: &HashMap<&str, &str>) -> Result<Read, String> {
    let fields = item.as_object().ok_or("is no object")?;
    let id = text(fields, "id")?.ok_or("id: is missing")?;
    let id = entry::id(id).map_err(|problem| format!("id: {problem}"))?;
    let key_name = if fields.contains_key("key") {
        "key"
    } else {
        "local_key"
    };
    let key = text(fields, key_name)?;
    let reach = if is_sub(item) {
        match behind(fields, &id, key, parents)? {
            Ok(reach) => reach,
            Err(why) => return Ok(Read::Skipped(why.to_owned())),
        }
    } else {
        let Some(key) = key else {
            return Ok(Read::Skipped(
                "it has no local key; run `tinytuya wizard` again once the device is paired"
                    .to_owned(),
            ));
        };
        Reach::Direct(direct(fields, key_name, key)?)
    };
    let mut entry = Entry::new(place.to_owned(), id, reach);
    entry.name = text(fields, "name")?.map(str::to_owned);
    entry.category = text(fields, "category")?.map(str::to_owned);
    entry.product = text(fields, "product_id")?.map(str::to_owned);
    if let Some(mapping) = fields.get("mapping").filter(|mapping| !mapping.is_null()) {
        let mapping = mapping.as_object().ok_or("mapping: is no object")?;
        let points = self::mapping(mapping).map_err(|problem| format!("mapping: {problem}"))?;
        entry.is_mapped = !points.is_empty();
        entry::declare(&mut entry.points, points)
            .map_err(|problem| format!("mapping: {problem}"))?;
    }
    Ok(Read::Device(Box::new(entry)))
}

fn direct(fields: &Map<String, Json>, key_name: &str, key: &str) -> Result<Direct, String> {
    let key = LocalKey::parse(key).map_err(|problem| format!("{key_name}: {problem}"))?;
    let version = match fields.get("version").or_else(|| fields.get("ver")) {
        None | Some(Json::Null) => None,
        Some(Json::String(version)) if version.is_empty() || version == "auto" => None,
        Some(Json::String(version)) => Some(version.clone()),
        Some(Json::Number(version)) => Some(version.to_string()),
        Some(_) => return Err("version: is neither text nor number".to_owned()),
    };
    let version = version.map(|version| version.parse());
    let version = version
        .transpose()
        .map_err(|error: crate::link::VersionError| format!("version: {error}"))?;
    // In raw lists of the cloud `ip` is the address of the home as the internet sees it.
    let address = match (text(fields, "ip")?, key_name) {
        (Some(address), "key") => address,
        _ => "auto",
    };
    let (host, port) = entry::address(address).map_err(|problem| format!("ip: {problem}"))?;
    Ok(Direct {
        key,
        version,
        host,
        port: entry::port_or_default(port),
        dialect: None,
    })
}

/// Returns how a sub-device is reached, or why it cannot be served.
fn behind(
    fields: &Map<String, Json>,
    id: &DeviceId,
    key: Option<&str>,
    parents: &HashMap<&str, &str>,
) -> Result<Result<Reach, &'static str>, String> {
    let cid = match text(fields, "node_id")? {
        Some(cid) => Some(cid),
        None => text(fields, "cid")?,
    };
    let Some(cid) = cid else {
        return Ok(Err(
            "it is a sub-device without a node_id, such as an infrared remote: it has no state on the local network",
        ));
    };
    let mut parent = None;
    for name in ["parent", "gateway_id"] {
        parent = parent.or(text(fields, name)?);
    }
    let parent = parent
        .or_else(|| parents.get(key?).copied())
        .filter(|parent| *parent != id.as_str());
    Ok(match parent {
        Some(parent) => Ok(Reach::Behind {
            parent: entry::id(parent).map_err(|problem| format!("parent: {problem}"))?,
            cid: cid.to_owned(),
        }),
        None => Err("it is a sub-device, and the file does not say behind which device"),
    })
}

/// Reads the cloud's mapping. What cannot be a data point of the local network, such as an entry by
/// code in place of a number, is left out.
fn mapping(mapping: &Map<String, Json>) -> Result<BTreeMap<u16, Point>, String> {
    let mut points = BTreeMap::new();
    for (number, item) in mapping {
        let Ok(number) = entry::number(number) else {
            continue;
        };
        let point = point(item).map_err(|problem| format!("{number}: {problem}"))?;
        points.insert(number, point);
    }
    Ok(points)
}

/// Reads what is said about one data point.
pub(super) fn point(item: &Json) -> Result<Point, String> {
    let fields = item.as_object().ok_or("is no object")?;
    let code = text(fields, "code")?.ok_or("code: is missing")?;
    let code = entry::code(code).map_err(|problem| format!("code: {problem}"))?;
    let type_name = text(fields, "type")?.ok_or("type: is missing")?;
    let values = match fields.get("raw_values").filter(|raw| raw.is_string()) {
        Some(raw) => raw,
        None => fields.get("values").unwrap_or(&Json::Null),
    };
    let values = match values {
        Json::Null => "{}".to_owned(),
        Json::String(text) if text.trim().is_empty() => "{}".to_owned(),
        Json::String(text) => text.clone(),
        Json::Object(_) => values.to_string(),
        _ => return Err("values: is neither an object nor a text that holds one".to_owned()),
    };
    let access = match text(fields, "access")?.or(text(fields, "accessMode")?) {
        Some(access) => Access::parse(access).ok_or("access: is none of rw, ro, wo")?,
        None => Access::BOTH,
    };
    Ok(Point::new(code, type_name, &values, access))
}

/// Returns a text field; an empty one is none.
fn text<'a>(fields: &'a Map<String, Json>, name: &str) -> Result<Option<&'a str>, String> {
    match fields.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("{name}: is no text")),
    }
}

/// Cuts what a file says where it is too long for a message.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
