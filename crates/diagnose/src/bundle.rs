//! A support bundle: everything that somebody needs who was not there, and no secret.
//!
//! Input is what `doctor` or `explore` found; output is the text of one JSON file. The key never gets
//! in: nothing here is given its bytes, and what devices say is searched for it once more.

use std::time::{SystemTime, UNIX_EPOCH};

use hearthgate_client::Trust;
use hearthgate_protocol::variants::Dialect;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::doctor::Examination;
use crate::explore::{Accepted, Exploration};
use crate::options::{Options, Target};
use crate::report::Report;
use crate::transcript::Entry;
use hearthgate_protocol::crypto::KeyText;

/// The version of the format; a change that breaks readers raises it.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Bundle<'a> {
    format: &'static str,
    format_version: u32,
    /// Milliseconds since 1970.
    made_at: u64,
    version: &'static str,
    system: System,
    options: Used,
    report: Option<&'a Report>,
    exploration: Option<Explored<'a>>,
    devices: Vec<Facts>,
    transcript: Vec<Entry>,
    transcript_dropped: usize,
}

#[derive(Serialize)]
struct System {
    os: &'static str,
    family: &'static str,
    architecture: &'static str,
    processors: usize,
}

/// The options, the key left out.
#[derive(Serialize)]
struct Used {
    gateway: Option<String>,
    uuid: Option<String>,
    listen: Vec<String>,
    path: Option<String>,
    tls: bool,
    trust: &'static str,
    dialect: &'static str,
    token_port: Option<u16>,
    key_form: &'static str,
    key_shape: &'static str,
    wire: Option<&'static str>,
    padding: &'static str,
    proof: &'static str,
    proof_over: &'static str,
    timeout_ms: u128,
    event_timeout_ms: u128,
    conformance: bool,
    write: Option<String>,
}

#[derive(Serialize)]
struct Explored<'a> {
    found: bool,
    options: Option<&'a Accepted>,
    tried: usize,
    story: &'a [String],
}

#[derive(Serialize)]
struct Facts {
    devid: String,
    oddities: Vec<String>,
    /// As they came, to the byte.
    schema: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

/// Makes the text of a support bundle: versions, system, the options used without the key, the report,
/// schemas and statuses as they came, and types, sizes and times of all messages. It does hold the
/// gateway's address, the ids of devices and their values, which is to be said to users.
pub fn bundle(
    options: &Options,
    examination: Option<&Examination>,
    exploration: Option<&Exploration>,
) -> String {
    let transcript = examination.map(|e| &e.transcript);
    let transcript = transcript.or(exploration.map(|e| &e.transcript));
    let (entries, dropped) = transcript.map(|t| t.entries()).unwrap_or_default();
    let devices = examination.map_or(&[][..], |e| &e.devices);
    let made_at = SystemTime::now().duration_since(UNIX_EPOCH);
    let bundle = Bundle {
        format: "hearthgate support bundle",
        format_version: FORMAT,
        made_at: made_at.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
        version: env!("CARGO_PKG_VERSION"),
        system: System {
            os: std::env::consts::OS,
            family: std::env::consts::FAMILY,
            architecture: std::env::consts::ARCH,
            processors: std::thread::available_parallelism().map_or(0, usize::from),
        },
        options: used(options),
        report: examination.map(|e| &e.report),
        exploration: exploration.map(|e| Explored {
            found: e.found.is_some(),
            options: e.found.as_ref(),
            tried: e.tried,
            story: &e.story,
        }),
        devices: devices
            .iter()
            .map(|facts| Facts {
                devid: facts.device.to_string(),
                oddities: facts.oddities(),
                schema: facts
                    .schema
                    .as_ref()
                    .map(|(_, json)| raw(&options.key, json)),
                status: facts
                    .status
                    .as_ref()
                    .map(|(_, json)| raw(&options.key, json)),
            })
            .collect(),
        transcript: entries,
        transcript_dropped: dropped,
    };
    // Texts and numbers always have a JSON form.
    let text = serde_json::to_string_pretty(&bundle).unwrap_or_default();
    options.key.redact(&text)
}

fn used(options: &Options) -> Used {
    let (gateway, uuid, listen, path, tls) = match &options.target {
        Target::Address(endpoint) => {
            let gateway = Some(endpoint.to_string());
            (gateway, None, Vec::new(), None, endpoint.is_secure())
        }
        Target::Uuid {
            uuid,
            listen,
            path,
            secure,
        } => {
            let listen = listen.listen.iter().map(ToString::to_string).collect();
            (None, Some(uuid.clone()), listen, path.clone(), *secure)
        }
    };
    let older = options.dialect == Dialect::Older;
    Used {
        gateway,
        uuid,
        listen,
        path,
        tls,
        trust: match options.trust {
            Trust::Nothing => "nothing",
            Trust::Pinned(_) => "a fingerprint",
            Trust::Ca(_) => "a CA",
        },
        dialect: options.dialect.name(),
        token_port: older.then_some(options.token_port),
        key_form: options.key_form.name(),
        key_shape: options.key.shape(),
        wire: options.wire.map(|wire| wire.name()),
        padding: options.variants.padding.name(),
        proof: options.variants.proof.name(),
        proof_over: options.variants.proof_over.name(),
        timeout_ms: options.timeout.as_millis(),
        event_timeout_ms: options.event_timeout.as_millis(),
        conformance: options.conformance,
        write: options.write.as_ref().map(ToString::to_string),
    }
}

/// Takes JSON over as it came, unless the key is in there. Where `***` makes it no JSON any more, as in
/// the place of a number, it becomes a string.
pub(crate) fn raw(key: &KeyText, json: &str) -> Box<RawValue> {
    let clean = key.redact(json);
    let taken: Result<Box<RawValue>, _> = RawValue::from_string(clean.clone());
    taken
        .or_else(|_| serde_json::value::to_raw_value(&clean))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_stays_to_the_byte_unless_the_key_is_in_it() {
        let key = KeyText::parse("1234567890123456").unwrap();
        for (json, expected) in [
            (r#"{ "v" : 1.50, "a":[] }"#, r#"{ "v" : 1.50, "a":[] }"#),
            (r#"{"v":"1234567890123456"}"#, r#"{"v":"***"}"#),
            (r#"{"v":1234567890123456}"#, r#""{\"v\":***}""#),
        ] {
            assert_eq!(raw(&key, json).get(), expected);
        }
    }
}
