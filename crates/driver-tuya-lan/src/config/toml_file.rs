//! Our own file: `[[device]]` tables in TOML.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::{Table, Value};

use super::entry::{self, Entry};
use super::import;
use super::{Direct, FileContent, Reach};
use crate::link::Dialect;
use crate::points::PointTable;
use crate::secret::LocalKey;

/// The keys of a file.
const FILE_KEYS: [&str; 3] = ["device", "listen", "profiles"];
/// The keys of a device.
const DEVICE_KEYS: [&str; 14] = [
    "id", "key", "version", "address", "port", "parent", "cid", "name", "category", "product",
    "poll", "grace", "refresh", "points",
];
/// Beside those.
const DIALECT: &str = "dialect";
/// The least time between two questions, so that no device is kept busy.
const POLL_MIN: Duration = Duration::from_secs(5);
/// The longest time that makes sense anywhere here.
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads a file.
pub(super) fn read(text: &str) -> Result<FileContent, Vec<String>> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        // The error's own picture shows the line, which may be that of a key.
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        vec![format!("line {line}: no valid TOML")]
    })?;
    let mut problems = Vec::new();
    let mut content = FileContent::default();
    if let Err(problem) = known_keys(&table, &FILE_KEYS) {
        problems.push(problem);
    }
    match texts(&table, "listen") {
        Ok(listen) => {
            for address in listen {
                match address.parse::<SocketAddr>() {
                    Ok(address) => content.listen.push(address),
                    Err(_) => problems.push(format!("listen: `{address}` is no ADDR:PORT")),
                }
            }
        }
        Err(problem) => problems.push(problem),
    }
    match texts(&table, "profiles") {
        Ok(profiles) => content.profiles = profiles.into_iter().map(PathBuf::from).collect(),
        Err(problem) => problems.push(problem),
    }
    let lines: Vec<usize> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.trim_start().starts_with("[[device]]"))
        .map(|(index, _)| index + 1)
        .collect();
    let devices = match table.get("device") {
        Some(Value::Array(devices)) => devices.as_slice(),
        Some(_) => {
            problems.push("device: write [[device]], in two brackets".to_owned());
            &[]
        }
        None => &[],
    };
    for (index, item) in devices.iter().enumerate() {
        let mut place = format!("device {}", index + 1);
        if let Some(line) = lines.get(index) {
            place = format!("{place}, line {line}");
        }
        let read = match item {
            Value::Table(fields) => device(fields, &place),
            _ => Err("is no table".to_owned()),
        };
        match read {
            Ok(entry) => content.entries.push(entry),
            Err(problem) => problems.push(format!("{place}: {problem}")),
        }
    }
    if problems.is_empty() {
        Ok(content)
    } else {
        Err(problems)
    }
}

fn device(fields: &Table, place: &str) -> Result<Entry, String> {
    let mut keys = DEVICE_KEYS.to_vec();
    keys.push(DIALECT);
    known_keys(fields, &keys)?;
    let id = text(fields, "id")?.ok_or("id: is missing")?;
    let id = entry::id(id).map_err(|problem| format!("id: {problem}"))?;
    let reach = match text(fields, "cid")? {
        Some(cid) => {
            for name in ["key", "version", "address", "port", DIALECT] {
                if fields.contains_key(name) {
                    return Err(format!("{name}: a sub-device has that of its parent"));
                }
            }
            let parent = text(fields, "parent")?.ok_or("parent: is missing beside cid")?;
            Reach::Behind {
                parent: entry::id(parent).map_err(|problem| format!("parent: {problem}"))?,
                cid: cid.to_owned(),
            }
        }
        None if fields.contains_key("parent") => {
            return Err("cid: is missing beside parent".to_owned());
        }
        None => Reach::Direct(direct(fields)?),
    };
    let mut entry = Entry::new(place.to_owned(), id, reach);
    entry.name = text(fields, "name")?.map(str::to_owned);
    entry.category = text(fields, "category")?.map(str::to_owned);
    entry.product = text(fields, "product")?.map(str::to_owned);
    if let Some(poll) = text(fields, "poll")? {
        entry.poll = match poll {
            "off" => None,
            poll => {
                let poll = duration(poll).map_err(|problem| format!("poll: {problem}"))?;
                if poll < POLL_MIN {
                    return Err(format!("poll: at least {}s, or off", POLL_MIN.as_secs()));
                }
                Some(poll)
            }
        };
    }
    if let Some(grace) = text(fields, "grace")? {
        entry.grace = duration(grace).map_err(|problem| format!("grace: {problem}"))?;
    }
    if let Some(refresh) = fields.get("refresh") {
        let numbers = refresh
            .as_array()
            .ok_or("refresh: is no array of numbers")?;
        for number in numbers {
            let number = number
                .as_integer()
                .and_then(|number| u16::try_from(number).ok());
            let number = number.filter(|number| *number > 0);
            entry
                .refresh
                .push(number.ok_or("refresh: is no array of numbers from 1 to 65535")?);
        }
    }
    if let Some(points) = fields.get("points") {
        let points = points.as_table().ok_or("points: is no table")?;
        self::points(points, &mut entry.points).map_err(|problem| format!("points.{problem}"))?;
    }
    Ok(entry)
}

fn direct(fields: &Table) -> Result<Direct, String> {
    let key = text(fields, "key")?.ok_or("key: is missing")?;
    let key = LocalKey::parse(key).map_err(|problem| format!("key: {problem}"))?;
    let version = match text(fields, "version")? {
        None | Some("auto") => None,
        Some(version) => Some(
            version
                .parse()
                .map_err(|error: crate::link::VersionError| format!("version: {error}"))?,
        ),
    };
    let address = text(fields, "address")?.unwrap_or("auto");
    let (host, mut port) =
        entry::address(address).map_err(|problem| format!("address: {problem}"))?;
    if let Some(given) = fields.get("port") {
        let given = given.as_integer().and_then(|port| u16::try_from(port).ok());
        let given = given.filter(|port| *port != 0);
        let given = given.ok_or("port: is no number from 1 to 65535")?;
        if port.is_some_and(|port| port != given) {
            return Err("port: the address has another one".to_owned());
        }
        port = Some(given);
    }
    let dialect = match text(fields, DIALECT)? {
        None | Some("auto") => None,
        Some("standard") => Some(Dialect::Standard),
        Some("device22") => Some(Dialect::Device22),
        Some(_) => return Err("dialect: is none of auto, standard, device22".to_owned()),
    };
    Ok(Direct {
        key,
        version,
        host,
        port: entry::port_or_default(port),
        dialect,
    })
}

/// Reads `points.NUMBER = "code"` and `points.NUMBER = { code, type, values, access }`.
fn points(table: &Table, points: &mut PointTable) -> Result<(), String> {
    let mut declared = BTreeMap::new();
    for (number, item) in table {
        let at = |problem: String| format!("{number}: {problem}");
        let parsed = entry::number(number).map_err(at)?;
        match item {
            Value::String(code) => {
                let code = entry::code(code).map_err(at)?;
                points
                    .name(parsed, code)
                    .map_err(|other| at(format!("code {code} is that of data point {other}")))?;
            }
            Value::Table(fields) => {
                known_keys(fields, &["code", "type", "values", "access"]).map_err(at)?;
                let json = serde_json::to_value(fields)
                    .map_err(|_| at("is no table of texts".to_owned()))?;
                declared.insert(parsed, import::point(&json).map_err(at)?);
            }
            _ => return Err(at("is neither a code nor a table".to_owned())),
        }
    }
    entry::declare(points, declared)
}

/// Refuses unknown keys and names the nearest known one.
fn known_keys(table: &Table, known: &[&str]) -> Result<(), String> {
    let Some(unknown) = table.keys().find(|key| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(known, unknown), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.7);
    let shown: String = unknown.chars().take(40).collect();
    Err(match nearest {
        Some((_, known)) => format!("unknown key `{shown}`; did you mean `{known}`?"),
        None => format!("unknown key `{shown}`; there are {}", known.join(", ")),
    })
}

fn text<'a>(fields: &'a Table, name: &str) -> Result<Option<&'a str>, String> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name}: is no text, write it in quotes")),
    }
}

fn texts<'a>(fields: &'a Table, name: &str) -> Result<Vec<&'a str>, String> {
    let wrong = || format!("{name}: is no array of texts");
    match fields.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{}` is no duration: write 30s or 2m",
            text.chars().take(20).collect::<String>()
        )
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds
        .map(Duration::from_millis)
        .filter(|time| *time <= TIME_MAX)
        .ok_or_else(wrong)
}
