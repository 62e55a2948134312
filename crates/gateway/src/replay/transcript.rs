//! The transcript of a recording: `transcript.jsonl`, one JSON object a line.
//!
//! The first line is `{"format":"hearthgate transcript","version":1,..}`, the others are
//! `{"ms":N,"from":"client"|"gateway","message":{..}}`. Read twice: once as a whole when it is loaded, and
//! in batches while it is played, so that a long one takes no more memory than a short one.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::limits::MESSAGE_MAX_CLIENT;
use hearthgate_protocol::model::{Device, DeviceId, Reading, Schema};
use hearthgate_protocol::wire::{
    EventKind, FromGateway, decode_from_gateway, parse_schemas, parse_statuses,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ReplayError, stamp};

/// The name of the transcript in its folder.
pub(super) const NAME: &str = "transcript.jsonl";
/// The longest line: a message, which in JSON may have been escaped, and what is around it.
const LINE_MAX: u64 = 2 * MESSAGE_MAX_CLIENT as u64;
/// Events of a batch.
const BATCH: usize = 256;
/// Descriptions of devices that are kept; a recording that has more tells of them no more.
const DESCRIBED_MAX: usize = 10_000;

/// An event of the recording.
#[derive(Debug)]
pub(super) struct Event {
    /// When it came, since the recording began.
    pub(super) at: Duration,
    pub(super) kind: EventKind,
}

/// What the whole of a transcript tells.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) events: u64,
    pub(super) length: Duration,
    pub(super) described: HashMap<DeviceId, VecDeque<Device>>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    format: &'a str,
    version: u64,
}

#[derive(Deserialize)]
struct Line<'a> {
    ms: u64,
    #[serde(borrow)]
    from: &'a str,
    #[serde(borrow)]
    message: &'a RawValue,
}

/// A transcript that is being read.
#[derive(Debug)]
pub(super) struct Transcript {
    path: PathBuf,
    lines: BufReader<File>,
    number: u64,
    buffer: Vec<u8>,
}

impl Transcript {
    /// Opens one and checks its first line; gives that too.
    pub(super) fn open(path: &Path) -> Result<(Self, String), ReplayError> {
        let file = File::open(path).map_err(|source| ReplayError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut transcript = Self {
            path: path.to_owned(),
            lines: BufReader::new(file),
            number: 0,
            buffer: Vec::new(),
        };
        let wrong = |problem: String| ReplayError::NoTranscript {
            path: path.to_owned(),
            problem,
        };
        if !transcript.advance()? {
            return Err(wrong("it is empty".to_owned()));
        }
        let text = String::from_utf8_lossy(&transcript.buffer).into_owned();
        match serde_json::from_str::<Head<'_>>(&text) {
            Ok(head) if head.format != "hearthgate transcript" => {
                Err(wrong("its first line names another format".to_owned()))
            }
            Ok(head) if head.version != 1 => {
                let version = head.version;
                Err(wrong(format!(
                    "it has version {version}, this program knows version 1"
                )))
            }
            Ok(_) => Ok((transcript, text)),
            Err(error) => Err(wrong(format!("its first line: {error}"))),
        }
    }

    /// Reads the next events; none at the end. Gives itself back, since files are read elsewhere than
    /// in the runtime.
    pub(super) async fn batch(mut self) -> Result<(Vec<Event>, Self), ReplayError> {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut events = Vec::new();
            while events.len() < BATCH {
                match self.message()? {
                    None => break,
                    Some((at, FromGateway::Event(event))) => events.push(Event {
                        at,
                        kind: event.kind,
                    }),
                    Some(_) => {}
                }
            }
            Ok((events, self))
        });
        reading.await.unwrap_or_else(|fault| {
            Err(ReplayError::Read {
                path,
                source: io::Error::other(fault),
            })
        })
    }

    /// Returns the next message of the gateway.
    fn message(&mut self) -> Result<Option<(Duration, FromGateway)>, ReplayError> {
        while self.advance()? {
            let complete = self.buffer.last() == Some(&b'\n');
            let line: Line<'_> = match serde_json::from_slice(&self.buffer) {
                Ok(line) => line,
                // The recorder was interrupted in the midst of its last line.
                Err(_) if !complete => return Ok(None),
                Err(error) => return Err(self.broken(error.to_string())),
            };
            if line.from != "gateway" {
                continue;
            }
            let at = Duration::from_millis(line.ms);
            // What was no message then is none now.
            if let Ok((message, _)) = decode_from_gateway(line.message.get().as_bytes()) {
                return Ok(Some((at, message)));
            }
        }
        Ok(None)
    }

    /// Reads a line; false at the end.
    fn advance(&mut self) -> Result<bool, ReplayError> {
        self.buffer.clear();
        self.number += 1;
        let mut limited = (&mut self.lines).take(LINE_MAX);
        match limited.read_until(b'\n', &mut self.buffer) {
            Ok(0) => Ok(false),
            Ok(_) if limited.limit() == 0 => Err(self.broken("the line is too long".to_owned())),
            Ok(_) => Ok(true),
            Err(source) => Err(ReplayError::Read {
                path: self.path.clone(),
                source,
            }),
        }
    }

    fn broken(&self, problem: String) -> ReplayError {
        ReplayError::Line {
            path: self.path.clone(),
            line: self.number,
            problem,
        }
    }
}

/// Reads a whole transcript.
pub(super) fn scan(path: &Path) -> Result<Scan, ReplayError> {
    let (mut transcript, _) = Transcript::open(path)?;
    let mut scan = Scan::default();
    let mut open: HashMap<DeviceId, Newcomer> = HashMap::new();
    let mut kept = 0;
    while let Some((at, message)) = transcript.message()? {
        match message {
            FromGateway::Event(event) => {
                scan.events += 1;
                scan.length = scan.length.max(at);
                match event.kind {
                    EventKind::RegistryUpdated { device, state: 0 } => {
                        if let Some(newcomer) = open.remove(&device) {
                            scan.describe(&device, newcomer, true, &[]);
                        }
                    }
                    EventKind::RegistryUpdated { device, .. } if kept < DESCRIBED_MAX => {
                        kept += 1;
                        open.entry(device).or_default().told.push(None);
                    }
                    EventKind::OnlineUpdated { device, online, .. } => {
                        let told = open.get_mut(&device).map(|newcomer| &mut newcomer.told);
                        for before in told.into_iter().flatten() {
                            before.get_or_insert(!online);
                        }
                    }
                    _ => {}
                }
            }
            FromGateway::Reply {
                outcome: Ok(result),
                ..
            } if !open.is_empty() => {
                for entry in parse_schemas(&result).unwrap_or_default() {
                    let declares =
                        !entry.schema.functions().is_empty() || !entry.schema.statuses().is_empty();
                    if let Some(newcomer) = open.get_mut(&entry.device).filter(|_| declares) {
                        newcomer.schema = Some(entry.schema);
                    }
                }
                for entry in parse_statuses(&result).unwrap_or_default() {
                    if let Some(newcomer) = open.remove(&entry.device) {
                        scan.describe(&entry.device, newcomer, entry.online, &entry.readings);
                    }
                }
            }
            _ => {}
        }
    }
    for (device, newcomer) in open {
        scan.describe(&device, newcomer, true, &[]);
    }
    Ok(scan)
}

/// A device that came or changed and was not read since.
#[derive(Debug, Default)]
struct Newcomer {
    /// For each time that it was told: whether it was in reach then, if a later event says so.
    told: Vec<Option<bool>>,
    schema: Option<Schema>,
}

impl Scan {
    /// Takes note of what a device was each time that it came or changed. It was read somewhat later:
    /// what events said in between is told by them again. One that was never read declares nothing.
    fn describe(&mut self, id: &DeviceId, newcomer: Newcomer, online: bool, readings: &[Reading]) {
        let schema = newcomer.schema;
        let schema = Arc::new(schema.unwrap_or_else(|| Schema::new("", Vec::new(), Vec::new())));
        let descriptions = self.described.entry(id.clone()).or_default();
        for told in newcomer.told {
            let online = told.unwrap_or(online);
            let (id, schema) = (id.clone(), Arc::clone(&schema));
            let device = Device::new(id, schema, online, readings.iter().cloned(), stamp());
            descriptions.push_back(device);
        }
    }
}
