//! Writes down a live gateway: a device profile for each device (section 11) and a transcript.
//!
//! Input is a session; output are files in a folder that is new or empty: `DEVID.json`, which
//! `hearthgate gateway --devices` serves, and `transcript.jsonl`, every message after the handshake
//! with its time. The handshake stays out, since its two nonces are the session key, and whatever is
//! said later is searched for the device key.
//!
//! A transcript is one JSON object a line. The first is
//! `{"format":"hearthgate transcript","version":1,"started_at":MS,"wire":".."}`, the others are
//! `{"ms":N,"from":"client"|"gateway","message":{..}}`, `ms` since the first line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearthgate_protocol::limits::{DEVICES_PER_REQUEST, KEEPALIVE_PING};
use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::variants::Wire;
use hearthgate_protocol::wire::{EventKind, Profile, Request, parse_schemas, parse_statuses};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::bundle::raw;
use crate::doctor::{open, read_devices, sliced};
use crate::line::Fault;
use crate::options::Options;
use crate::report::Check;
use crate::session::{Incoming, Session};
use hearthgate_protocol::crypto::KeyText;

/// The name of the transcript.
const TRANSCRIPT: &str = "transcript.jsonl";
/// The size at which a transcript ends.
const TRANSCRIPT_MAX: u64 = 1024 * 1024 * 1024;
/// The longest name of a file that is made of a device id.
const NAME_MAX: usize = 100;
/// The longest that is recorded.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The profiles.
    pub profiles: Vec<PathBuf>,
    /// The events in the transcript.
    pub events: u64,
    /// What ended it early, if something did.
    pub ended: Option<String>,
}

impl Recorded {
    fn stopped() -> Self {
        Self {
            ended: Some("stopped before all profiles were written".to_owned()),
            ..Self::default()
        }
    }
}

/// Why nothing was recorded, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is something in the folder.
    #[error("{} is not empty: choose a new folder, so that nothing is overwritten", .0.display())]
    NotEmpty(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no session.
    #[error("{}: {}", .0.name, .0.detail)]
    Layer(Box<Check>),
    /// Something cannot be read.
    #[error("{0}")]
    Read(String),
    /// What the gateway says of a device makes no profile.
    #[error("device {device}: {problem}; please report it with the bundle of `hearthgate doctor`")]
    Profile {
        /// Which.
        device: DeviceId,
        /// What is wrong.
        problem: String,
    },
}

/// Writes profiles of all devices of a gateway into a folder, and a transcript, until `duration` has
/// passed or `stop` resolves. A connection that ends early ends the recording; what is there stays.
///
/// # Errors
/// Where there is no session, nothing can be read, or nothing can be written.
pub async fn record(
    options: &Options,
    folder: &Path,
    duration: Duration,
    stop: impl Future<Output = ()>,
) -> Result<Recorded, RecordError> {
    prepare(folder)?;
    tokio::pin!(stop);
    let opened = tokio::select! {
        opened = open(options) => opened,
        () = &mut stop => return Ok(Recorded::stopped()),
    };
    let (mut session, reached) = opened.map_err(RecordError::Layer)?;
    let tape = Tape::start(folder, &options.key, reached.terms.wire)?;
    let tape = Arc::new(Mutex::new(tape));
    let tap = Arc::clone(&tape);
    session.tap = Some(Box::new(move |ours, json| tap.lock().note(ours, json)));

    let profiles = tokio::select! {
        profiles = profiles(&mut session, options, folder) => profiles?,
        () = &mut stop => return Ok(Recorded::stopped()),
    };
    let end = Instant::now() + duration.min(LONGEST);
    let ended = tokio::select! {
        ended = follow(&mut session, options, end, &tape) => ended,
        () = &mut stop => None,
    };
    session.tap = None;
    session.line.close().await;
    let mut tape = tape.lock();
    let events = tape.events;
    tape.finish()?;
    Ok(Recorded {
        profiles,
        events,
        ended,
    })
}

/// Takes whatever comes until it is time; the tap writes it down. Returns what ended it early.
async fn follow(
    session: &mut Session,
    options: &Options,
    end: Instant,
    tape: &Mutex<Tape>,
) -> Option<String> {
    // Those that came or changed: what they are is read, so that it can be played back.
    let mut changed = Vec::new();
    for (event, _) in std::mem::take(&mut session.events) {
        tape.lock().events += 1;
        changed.extend(came_or_changed(&event.kind));
    }
    loop {
        if let Some(problem) = tape.lock().problem() {
            return Some(problem);
        }
        let quiet = (Instant::now() + KEEPALIVE_PING).min(end);
        match session.next(quiet).await {
            Ok(Incoming::Event { event, .. }) => {
                tape.lock().events += 1;
                changed.extend(came_or_changed(&event.kind));
            }
            Ok(_) => {}
            Err(Fault::Timeout) if Instant::now() >= end => return None,
            Err(Fault::Timeout) => {
                if let Err(fault) = session.send_ping(end).await {
                    return Some(fault.to_string());
                }
            }
            Err(fault) => return Some(fault.to_string()),
        }
        while let Some(device) = changed.pop() {
            let asked = describe(session, device, Instant::now() + options.timeout).await;
            for (event, _) in std::mem::take(&mut session.events) {
                tape.lock().events += 1;
                changed.extend(came_or_changed(&event.kind));
            }
            if let Err(fault) = asked {
                return Some(fault.to_string());
            }
        }
        if Instant::now() >= end {
            return None;
        }
    }
}

fn came_or_changed(kind: &EventKind) -> Option<DeviceId> {
    match kind {
        EventKind::RegistryUpdated { device, state } if *state != 0 => Some(device.clone()),
        _ => None,
    }
}

/// Asks for schema and status of a device; the tap writes both down. A refusal is an answer too: the
/// device may have gone again.
async fn describe(session: &mut Session, device: DeviceId, deadline: Instant) -> Result<(), Fault> {
    let devices = vec![device];
    let schema = Request::GetSchema(devices.clone());
    for request in [schema, Request::GetStatus(devices)] {
        match session.ask(&request, deadline).await {
            // One answer that does not come ends no recording.
            Ok(_) | Err(Fault::Timeout) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// Reads all devices and writes their profiles.
async fn profiles(
    session: &mut Session,
    options: &Options,
    folder: &Path,
) -> Result<Vec<PathBuf>, RecordError> {
    let devices = read_devices(session, Instant::now() + options.timeout.min(LONGEST)).await;
    let devices = devices.map_err(|unread| RecordError::Read(unread.text("get_devices")))?;
    let mut seen = HashSet::new();
    let devices: Vec<DeviceId> = devices
        .into_iter()
        .filter(|id| seen.insert(id.clone()))
        .collect();
    // Each request has its time.
    let requests = u32::try_from(devices.len().div_ceil(DEVICES_PER_REQUEST)).unwrap_or(u32::MAX);
    let time = options.timeout.saturating_mul(requests.max(1)).min(LONGEST);
    let deadline = || Instant::now() + time;
    let schemas = sliced(
        session,
        &devices,
        Request::GetSchema,
        parse_schemas,
        deadline(),
    )
    .await;
    let schemas = schemas.map_err(|unread| RecordError::Read(unread.text("get_schema")))?;
    let statuses = sliced(
        session,
        &devices,
        Request::GetStatus,
        parse_statuses,
        deadline(),
    )
    .await;
    let statuses = statuses.map_err(|unread| RecordError::Read(unread.text("get_status")))?;
    let statuses: HashMap<DeviceId, String> = statuses
        .into_iter()
        .map(|(entry, json)| (entry.device, json))
        .collect();
    let mut names = HashSet::new();
    let mut written = Vec::new();
    for (entry, schema) in schemas {
        let status = statuses.get(entry.device.as_str()).map(String::as_str);
        let text = profile(&schema, status).and_then(|text| {
            let text = options.key.redact(&text);
            Profile::parse(&text).map_err(|error| error.to_string())?;
            Ok(text)
        });
        let text = text.map_err(|problem| RecordError::Profile {
            device: entry.device.clone(),
            problem,
        })?;
        let path = folder.join(file_name(entry.device.as_str(), &mut names));
        write_new(&path, text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

/// Makes the text of a profile of what the gateway said, each part to the byte.
fn profile(schema: &str, status: Option<&str>) -> Result<String, String> {
    let fields = |text| -> Result<BTreeMap<String, &RawValue>, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    };
    let schema = fields(schema)?;
    let status = fields(status.unwrap_or("{}"))?;
    // The vendor's page calls `function` `functions` once.
    let function = schema.get("function").or_else(|| schema.get("functions"));
    let parts = [
        ("devid", schema.get("devid")),
        ("category", schema.get("category")),
        ("function", function),
        ("status", schema.get("status")),
        ("online", status.get("online")),
        ("value", status.get("value")),
    ];
    let mut lines = Vec::new();
    for (name, part) in parts {
        match part {
            // A profile knows no number in place of a boolean.
            Some(part) if name == "online" && !matches!(part.get(), "true" | "false") => {
                lines.push(format!("  \"online\": {}", part.get() != "0"));
            }
            Some(part) => lines.push(format!("  \"{name}\": {}", part.get())),
            // Without a status nothing says that the device is in reach.
            None if name == "online" => lines.push("  \"online\": false".to_owned()),
            None => {}
        }
    }
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

/// Makes a file's name of a device id, which another side chose.
fn file_name(device: &str, taken: &mut HashSet<String>) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut name: String = device
        .chars()
        .take(NAME_MAX)
        .map(|c| if safe(c) { c } else { '_' })
        .collect();
    if name.is_empty() || name.starts_with('.') {
        name.insert(0, '_');
    }
    let mut unique = name.clone();
    let mut count = 1;
    while !taken.insert(unique.to_ascii_lowercase()) {
        count += 1;
        unique = format!("{name}-{count}");
    }
    format!("{unique}.json")
}

/// Makes the folder, or checks that nothing is in it.
fn prepare(folder: &Path) -> Result<(), RecordError> {
    let failed = |source| RecordError::Write {
        path: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(failed)?;
    match fs::read_dir(folder).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(RecordError::NotEmpty(folder.to_owned())),
    }
}

fn create(path: &Path) -> Result<File, RecordError> {
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    created.map_err(|source| RecordError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), RecordError> {
    let written = create(path)?.write_all(content);
    written.map_err(|source| RecordError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The transcript on its way to the disk.
struct Tape {
    path: PathBuf,
    file: File,
    key: KeyText,
    started: Instant,
    written: u64,
    events: u64,
    fault: Option<io::Error>,
}

impl Tape {
    fn start(folder: &Path, key: &KeyText, wire: Wire) -> Result<Self, RecordError> {
        let path = folder.join(TRANSCRIPT);
        let mut tape = Self {
            file: create(&path)?,
            path,
            key: key.clone(),
            started: Instant::now(),
            written: 0,
            events: 0,
            fault: None,
        };
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH);
        let started_at = started_at.unwrap_or_default().as_millis();
        tape.line(&format!(
            r#"{{"format":"hearthgate transcript","version":1,"started_at":{started_at},"wire":"{wire}"}}"#
        ));
        Ok(tape)
    }

    fn note(&mut self, ours: bool, json: &[u8]) {
        let text = String::from_utf8_lossy(json);
        // Line ends between the tokens would end the line.
        let compact = hearthgate_protocol::model::compact(&text);
        let message = raw(&self.key, &compact);
        let from = if ours { "client" } else { "gateway" };
        let ms = self.started.elapsed().as_millis();
        self.line(&format!(
            r#"{{"ms":{ms},"from":"{from}","message":{message}}}"#
        ));
    }

    fn line(&mut self, text: &str) {
        let length = u64::try_from(text.len() + 1).unwrap_or(u64::MAX);
        if self.fault.is_some() || self.written.saturating_add(length) > TRANSCRIPT_MAX {
            self.written = u64::MAX;
            return;
        }
        self.written += length;
        // One write a line, so that what is there is whole whenever this ends.
        if let Err(fault) = self.file.write_all(format!("{text}\n").as_bytes()) {
            self.fault = Some(fault);
        }
    }

    /// Returns why nothing more can be written, if that is so.
    fn problem(&self) -> Option<String> {
        match &self.fault {
            Some(fault) => Some(format!("cannot write {}: {fault}", self.path.display())),
            None if self.written == u64::MAX => {
                Some("the transcript is as large as it may be".into())
            }
            None => None,
        }
    }

    fn finish(&mut self) -> Result<(), RecordError> {
        let flushed = match self.fault.take() {
            Some(fault) => Err(fault),
            None => self.file.sync_all(),
        };
        flushed.map_err(|source| RecordError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_keeps_each_part_to_the_byte() {
        let schema = r#"{"category":"kg", "zz":1, "devid":"d\u00e9","functions":[ {"code":"a","type":"Integer","values":"{ \"min\": 0 }"} ],"status":[]}"#;
        let status = r#"{"devid":"d\u00e9","online":1,"value":[{"k":"a", "v":1.50}]}"#;
        let text = profile(schema, Some(status)).unwrap();
        assert_eq!(
            text,
            "{\n  \"devid\": \"d\\u00e9\",\n  \"category\": \"kg\",\n  \"function\": [ {\"code\":\"a\",\"type\":\"Integer\",\"values\":\"{ \\\"min\\\": 0 }\"} ],\n  \"status\": [],\n  \"online\": true,\n  \"value\": [{\"k\":\"a\", \"v\":1.50}]\n}\n"
        );
        let parsed = Profile::parse(&text).unwrap();
        assert_eq!(parsed.readings.len(), 1);
        let unread = profile(schema, None).unwrap();
        assert!(!Profile::parse(&unread).unwrap().online);
    }

    #[test]
    fn a_device_id_cannot_choose_where_its_file_lies() {
        let mut taken = HashSet::new();
        for (device, expected) in [
            ("a4c1380b", "a4c1380b.json"),
            ("../../etc/x", "_.._.._etc_x.json"),
            ("A4C1380B", "A4C1380B-2.json"),
            ("", "_.json"),
            ("ü/", "__.json"),
        ] {
            assert_eq!(file_name(device, &mut taken), expected);
        }
        assert!(file_name(&"x".repeat(500), &mut taken).len() < 110);
    }
}
