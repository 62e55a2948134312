//! Requests to the hub: `bridge/request/<what>`, answered on `bridge/response/<what>`.
//!
//! A request is a JSON object, or nothing; an `id` in it comes back in the answer. Answers are
//! `{id?, success, result?}` or `{id?, success: false, error: {code, message}}`.

use hearthgate_hub::{DeviceRef, GatewayId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Bridge;
use super::early::Refusal;
use super::render::put;
use crate::broker::Message;
use crate::outbox::Item;
use crate::topics::Topics;

/// All requests, for the answer to an unknown one.
const REQUESTS: &str = "rename, list, re-announce, reconnect, remove";

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Request {
    id: Value,
    gateway: Option<String>,
    device: Option<String>,
    /// An empty one takes the name away.
    name: Option<String>,
}

type Outcome = Result<Value, (&'static str, String)>;

impl Bridge {
    pub(super) fn handle_request(&mut self, what: &str, message: &Message) {
        let read = if message.payload.iter().all(u8::is_ascii_whitespace) {
            Ok(Request::default())
        } else {
            serde_json::from_slice(&message.payload)
        };
        let (id, outcome) = match read {
            Ok(request) => {
                let id = request.id.clone();
                (id, self.carry_out(what, &request))
            }
            Err(error) => {
                let problem =
                    format!("the request is no object of id, gateway, device, name: {error}");
                (id_of(message), Err(("invalid_request", problem)))
            }
        };
        self.answer_request(what, message, id, outcome);
    }

    /// Answers a request that is not even looked at.
    pub(super) fn refuse_request(&mut self, what: &str, message: &Message, refusal: Refusal) {
        let outcome = Err((refusal.code(), refusal.problem()));
        self.answer_request(what, message, id_of(message), outcome);
    }

    fn answer_request(&mut self, what: &str, message: &Message, id: Value, outcome: Outcome) {
        let mut answer = match outcome {
            Ok(result) => json!({"success": true, "result": result}),
            Err((code, problem)) => {
                json!({"success": false, "error": {"code": code, "message": problem}})
            }
        };
        if !id.is_null() {
            put(&mut answer, "id", id);
        }
        // The levels of topics come from outside here.
        let known = what
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let topic = self.topics.bridge(&format!(
            "response/{}",
            if known { what } else { "unknown" }
        ));
        let payload = answer.to_string().into_bytes();
        self.pass(topic, payload, message.correlation.clone());
    }

    fn carry_out(&mut self, what: &str, request: &Request) -> Outcome {
        match what {
            "list" | "devices" => Ok(self.list()),
            "re-announce" | "announce" => {
                self.say_everything();
                Ok(json!({"devices": self.known.devices().count()}))
            }
            "rename" => self.rename(request),
            "reconnect" => self.reconnect(request),
            "remove" => self.remove(request),
            other => {
                let problem = format!("there is no request {other}; known are {REQUESTS}");
                Err(("unknown_type", problem))
            }
        }
    }

    fn rename(&mut self, request: &Request) -> Outcome {
        let Some(name) = request.name.as_deref() else {
            let problem = "`name` is missing: the new one, or an empty one to take the name away";
            return Err(("invalid_request", problem.to_owned()));
        };
        let name = Some(name).filter(|name| !name.is_empty());
        let refused = |error: hearthgate_hub::FileError| ("invalid_value", error.to_string());
        let (gateway, device) = if request.device.is_some() {
            let device = self.device_of(request)?;
            self.hub.rename_device(&device, name).map_err(refused)?;
            (device.gateway, Some(device.device.to_string()))
        } else {
            let gateway = self.gateway_of(request)?;
            self.hub.rename_gateway(&gateway, name).map_err(refused)?;
            (gateway, None)
        };
        Ok(json!({"gateway": gateway.as_str(), "device": device, "name": name}))
    }

    fn reconnect(&mut self, request: &Request) -> Outcome {
        let gateway = self.gateway_of(request)?;
        let client = self
            .hub
            .client(&gateway)
            .map_err(|error| ("device_offline", error.to_string()))?;
        client.advertised();
        Ok(json!({"gateway": gateway.as_str()}))
    }

    /// Clears what is left of something that is no more; what its gateway has would be back at once.
    fn remove(&mut self, request: &Request) -> Outcome {
        if request.device.is_none() {
            let named = request.gateway.as_deref();
            let gateway = named.ok_or_else(|| missing("gateway"))?;
            let id = GatewayId::from(gateway);
            if self.known.gateway(&id).is_some() || self.gateway_of(request).is_ok() {
                let problem = format!(
                    "the hub looks after the gateway {gateway}: end that with `hearthgate gateways remove`, \
                     or in the hub's configuration"
                );
                return Err(("invalid_request", problem));
            }
            let cleared = self.clear_leftovers(&id, None);
            self.outbox.push(Item::Clear(
                self.topics.discovery(&Topics::gateway_object_id(&id)),
            ));
            return Ok(json!({"cleared": cleared}));
        }
        let known = self.device_of(request);
        if let Ok(device) = &known {
            let gateway = self.known.gateway(&device.gateway);
            if gateway.is_some_and(|gateway| gateway.info.synced) {
                let problem = format!(
                    "the gateway {} still has the device {}: remove it there, with the vendor's app",
                    device.gateway, device.device
                );
                return Err(("invalid_request", problem));
            }
            self.forget_device(device);
            return Ok(json!({"cleared": 3}));
        }
        let (Some(gateway), Some(device)) = (&request.gateway, &request.device) else {
            return known.map(|_| Value::Null);
        };
        let gateway = GatewayId::from(gateway.as_str());
        let cleared = self.clear_leftovers(&gateway, Some(device));
        Ok(json!({"cleared": cleared}))
    }

    /// Returns the gateway that is meant: by uuid, by name, or the only one.
    fn gateway_of(&self, request: &Request) -> Result<GatewayId, (&'static str, String)> {
        let Some(named) = request.gateway.as_deref() else {
            let mut all = self.known.gateways();
            return match (all.next(), all.next()) {
                (Some(only), None) => Ok(only.clone()),
                _ => Err(missing("gateway")),
            };
        };
        let lower = named.to_lowercase();
        self.known
            .all()
            .find(|(id, _)| id.as_str() == named)
            .or_else(|| {
                let mut all = self.known.all();
                all.find(|(_, known)| known.info.name.to_lowercase() == lower)
            })
            .map(|(id, _)| id.clone())
            .ok_or_else(|| ("unknown_device", format!("no gateway {named}")))
    }

    /// Returns the device that is meant: by id, or by name.
    fn device_of(&self, request: &Request) -> Result<DeviceRef, (&'static str, String)> {
        let named = request.device.as_deref().ok_or_else(|| missing("device"))?;
        let gateway = match &request.gateway {
            Some(_) => Some(self.gateway_of(request)?),
            None => None,
        };
        let here = |device: &DeviceRef| gateway.as_ref().is_none_or(|it| *it == device.gateway);
        let mut found: Vec<DeviceRef> = self
            .known
            .devices()
            .filter(|device| here(device) && device.device.as_str() == named)
            .collect();
        if found.is_empty() {
            let lower = named.to_lowercase();
            found = self
                .known
                .devices()
                .filter(|device| {
                    let name = self.hub.names().device(device);
                    here(device) && name.is_some_and(|name| name.to_lowercase() == lower)
                })
                .collect();
        }
        match (found.pop(), found.is_empty()) {
            (Some(device), true) => Ok(device),
            (None, _) => Err(("unknown_device", format!("no device {named}"))),
            (Some(_), false) => {
                let problem = format!("several gateways have a device {named}: give `gateway` too");
                Err(("invalid_request", problem))
            }
        }
    }
}

/// Returns what an answer repeats.
fn id_of(message: &Message) -> Value {
    let whole: Option<Value> = serde_json::from_slice(&message.payload).ok();
    whole
        .and_then(|mut whole| whole.get_mut("id").map(Value::take))
        .unwrap_or_default()
}

fn missing(field: &str) -> (&'static str, String) {
    (
        "invalid_request",
        format!("`{field}` is missing: an id or a name"),
    )
}
