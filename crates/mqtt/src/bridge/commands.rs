//! Commands for devices: from `.../set` and `.../set/<key>` to a write, and its outcome to `.../result`.
//!
//! Input are messages in the user's units; output are writes to the hub, handed over in the order in which
//! they came, and answers. The new state comes by the hub's feed, never from here.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use hearthgate_client::ClientError;
use hearthgate_homeassistant::CommandError;
use hearthgate_hub::{DeviceRef, HubError};
use hearthgate_protocol::model::Reading;
use serde_json::{Map, Value, json};

use super::Bridge;
use super::early::Refusal;
use super::render::put;
use crate::broker::Message;

/// Writes that are under way; one more is answered `busy`.
const WRITES_MAX: usize = 256;
/// The longest payload of a command, in bytes.
const PAYLOAD_MAX: usize = 256 * 1024;

/// A write that came to its end.
pub(super) struct Written {
    command: Command,
    outcome: Result<String, HubError>,
}

/// What an answer says of the command that it answers.
struct Command {
    device: DeviceRef,
    key: Option<String>,
    codes: Vec<String>,
    correlation: Option<Bytes>,
}

type Write = Pin<Box<dyn Future<Output = Result<String, HubError>> + Send>>;

impl Bridge {
    pub(super) fn handle_set(&mut self, device: DeviceRef, key: Option<String>, message: &Message) {
        let mut command = Command {
            device,
            key,
            codes: Vec::new(),
            correlation: message.correlation.clone(),
        };
        match self.readings_of(&command, &message.payload) {
            Ok(readings) => {
                let codes = readings.iter().map(|reading| reading.code.to_string());
                command.codes = codes.collect();
                self.write(command, readings);
            }
            Err((code, problem)) => self.refuse(&command, code, &problem, None),
        }
    }

    /// Answers a command that is not even looked at.
    pub(super) fn refuse_set(
        &mut self,
        device: DeviceRef,
        key: Option<String>,
        message: &Message,
        refusal: Refusal,
    ) {
        let command = Command {
            device,
            key,
            codes: Vec::new(),
            correlation: message.correlation.clone(),
        };
        self.refuse(&command, refusal.code(), &refusal.problem(), None);
    }

    /// Returns what a command writes, or why it writes nothing: the protocol's code and a text.
    fn readings_of(
        &self,
        command: &Command,
        payload: &[u8],
    ) -> Result<Vec<Reading>, (&'static str, String)> {
        let id = &command.device;
        let invalid = |problem: String| ("invalid_value", problem);
        let (Some(known), Some(device)) = (self.known.device(id), self.hub.device(id)) else {
            let problem = format!("no device {} at the gateway {}", id.device, id.gateway);
            return Err(("unknown_device", problem));
        };
        if payload.len() > PAYLOAD_MAX {
            return Err(invalid(format!(
                "the payload is longer than {PAYLOAD_MAX} bytes"
            )));
        }
        let text = std::str::from_utf8(payload)
            .map_err(|_| invalid("the payload is not UTF-8".to_owned()))?;
        let readings = match &command.key {
            Some(key) => known.mapping.command(&device, key, text),
            None => {
                let object: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
                    invalid(format!(
                        "the payload is no object such as {{\"switch_1\": true}}: {error}"
                    ))
                })?;
                known.mapping.command_object(&device, &object)
            }
        };
        match readings {
            Ok(readings) if readings.is_empty() => {
                Err(invalid("the payload names nothing to write".to_owned()))
            }
            Ok(readings) => Ok(readings),
            Err(CommandError::UnknownKey(problem)) => Err(("unsupported_code", problem)),
            Err(CommandError::InvalidPayload(problem)) => Err(invalid(problem)),
        }
    }

    fn write(&mut self, command: Command, readings: Vec<Reading>) {
        if self.writes.len() >= WRITES_MAX {
            let problem = format!("{WRITES_MAX} writes are under way");
            self.refuse(&command, "busy", &problem, None);
            return;
        }
        let (hub, device) = (self.hub.clone(), command.device.clone());
        let mut write: Write = Box::pin(async move { hub.write(&device, readings).await });
        // The first poll hands it to the link: two writes of a device arrive in the order in which they
        // came here.
        let mut first = std::task::Context::from_waker(std::task::Waker::noop());
        let begun = write.as_mut().poll(&mut first);
        self.writes.spawn(async move {
            let outcome = match begun {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => poll_fn(move |context| write.as_mut().poll(context)).await,
            };
            Written { command, outcome }
        });
    }

    /// Publishes what became of a write.
    pub(super) fn answer(&mut self, written: Written) {
        let Written { command, outcome } = written;
        let error = match outcome {
            Ok(_) => {
                let answer = json!({
                    "success": true,
                    "key": command.key,
                    "codes": command.codes,
                });
                return self.publish_result(&command, &answer);
            }
            Err(error) => error,
        };
        let text = error.to_string();
        match error {
            HubError::Client(ClientError::Refused { error, .. }) => {
                let whole: Option<Value> = serde_json::from_str(&error.json).ok();
                let details = whole.and_then(|mut whole| whole.get_mut("details").map(Value::take));
                self.refuse(&command, &error.code, &error.message, details);
            }
            HubError::Client(ClientError::Timeout { .. }) => {
                self.refuse(&command, "timeout", &text, None);
            }
            HubError::UnknownGateway(_) => self.refuse(&command, "unknown_device", &text, None),
            HubError::NoKey(_) | HubError::Client(_) => {
                self.refuse(&command, "device_offline", &text, None);
            }
        }
    }

    fn refuse(&mut self, command: &Command, code: &str, problem: &str, details: Option<Value>) {
        let mut error = json!({"code": code, "message": problem});
        if let Some(details) = details {
            put(&mut error, "details", details);
        }
        tracing::info!(
            "a command for {} is refused: {code}: {problem}",
            command.device
        );
        let answer = json!({
            "success": false,
            "key": command.key,
            "codes": command.codes,
            "error": error,
        });
        self.publish_result(command, &answer);
    }

    fn publish_result(&mut self, command: &Command, answer: &Value) {
        let topic = self.topics.device(&command.device, "result");
        let payload = answer.to_string().into_bytes();
        self.pass(topic, payload, command.correlation.clone());
    }
}
