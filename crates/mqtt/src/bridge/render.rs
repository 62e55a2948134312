//! From the name of what is to be said to its text, as it is now.
//!
//! Input are the items of `outbox`, the descriptions in `known`, and the hub's values; output are messages.

use hearthgate_homeassistant::{DiscoveryContext, Origin, Topics as DeviceTopics};
use hearthgate_hub::{DeviceRef, GatewayId, Link};
use hearthgate_protocol::model::Device;
use serde_json::{Value, json};

use super::known::Components;
use super::{Bridge, Later};
use crate::broker::Publish;
use crate::outbox::Item;
use crate::topics::{Kind, Topics};

/// How our discovery messages are known as ours.
pub(super) const ORIGIN: &str = "Hearthgate";

impl Bridge {
    /// Makes the message; none where it is about something that is no more.
    pub(super) fn render(&mut self, item: &Item) -> Option<Publish> {
        let (topic, payload) = match item {
            Item::HubOnline => (self.topics.bridge("state"), b"online".to_vec()),
            Item::HubInfo => (self.topics.bridge("info"), text(&self.info())),
            Item::HubDiscovery => {
                let topic = self.topics.discovery(&self.topics.hub_object_id());
                (topic, text(&self.hub_discovery()))
            }
            Item::List => (self.topics.bridge("devices"), text(&self.list())),
            Item::GatewayAvailability(gateway) => {
                let available = self.known.gateway(gateway)?.info.available;
                let topic = self.topics.gateway(gateway, Kind::Availability);
                (topic, online(available))
            }
            Item::GatewayState(gateway) => {
                let state = self.gateway_state(gateway)?;
                (self.topics.gateway(gateway, Kind::State), text(&state))
            }
            Item::GatewayDiscovery(gateway) => {
                let topic = self.topics.discovery(&Topics::gateway_object_id(gateway));
                (topic, text(&self.gateway_discovery(gateway)?))
            }
            Item::Discovery(device) => self.discovery(device)?,
            Item::Availability(device) => {
                self.known.device(device)?;
                let online_now = self.hub.read(&device.gateway, |home| {
                    home.device(device.device.as_str())
                        .is_some_and(Device::online)
                });
                let topic = self.topics.device(device, Kind::Availability.name());
                (topic, online(online_now?))
            }
            Item::State(device) => self.state(device)?,
            Item::Clear(topic) => (topic.clone(), Vec::new()),
        };
        Some(Publish {
            topic,
            payload,
            retain: true,
            correlation: None,
        })
    }

    /// The discovery message of a device. Components that are no more are named once as such, and left
    /// out the next time.
    fn discovery(&mut self, device: &DeviceRef) -> Option<(String, Vec<u8>)> {
        let context = DiscoveryContext {
            topics: DeviceTopics {
                state: self.topics.device(device, Kind::State.name()),
                set: self.topics.device(device, "set"),
                event: self.topics.device(device, "event"),
                availability: vec![
                    self.topics.bridge("state"),
                    self.topics.gateway(&device.gateway, Kind::Availability),
                    self.topics.device(device, Kind::Availability.name()),
                ],
            },
            name: self.hub.names().device(device),
            via_device: Some(Topics::gateway_object_id(&device.gateway)),
            configuration_url: self.options.page.clone(),
            origin: Origin {
                name: ORIGIN.to_owned(),
                version: self.options.program_version.clone(),
                url: None,
            },
        };
        let known = self.known.device_mut(device)?;
        let mut message = known.mapping.discovery(&context);
        let topic = self.topics.discovery(&known.mapping.object_id());
        let components = message.get_mut("components").and_then(Value::as_object_mut);
        let mut again = false;
        if let Some(components) = components {
            let now: Components = components
                .iter()
                .filter_map(|(key, component)| {
                    let platform = component.get("platform").or(component.get("p"))?;
                    Some((key.as_str().into(), platform.as_str()?.into()))
                })
                .collect();
            for (key, platform) in &known.announced {
                if !now.contains_key(key) {
                    components.insert(key.to_string(), json!({"platform": platform}));
                    again = true;
                }
            }
            known.announced = now;
        }
        if again {
            self.do_later(
                std::time::Duration::from_secs(1),
                Later::Item(Item::Discovery(device.clone())),
            );
        }
        Some((topic, text(&message)))
    }

    /// The whole state of a device. What teaches the mapping something is described first.
    fn state(&mut self, device: &DeviceRef) -> Option<(String, Vec<u8>)> {
        let now = self.hub.device(device)?;
        let known = self.known.device_mut(device)?;
        if known.mapping.observe_device(&now) {
            self.outbox.push(Item::Discovery(device.clone()));
            self.outbox.push(Item::State(device.clone()));
            return None;
        }
        let state = known.mapping.state(&now);
        let topic = self.topics.device(device, Kind::State.name());
        Some((topic, text(&Value::Object(state))))
    }

    fn gateway_state(&self, gateway: &GatewayId) -> Option<Value> {
        let info = &self.known.gateway(gateway)?.info;
        let (link, problem) = link(&info.link);
        let (devices, in_reach) = self.hub.read(gateway, |home| {
            let in_reach = home.devices().filter(|device| device.online()).count();
            (home.len(), in_reach)
        })?;
        Some(json!({
            "name": info.name,
            "link": link,
            "connected": link == "up",
            "available": info.available,
            "problem": problem,
            "devices": devices,
            "devices_online": in_reach,
        }))
    }

    fn info(&self) -> Value {
        let mut info = self.own_words(None);
        put(&mut info, "topic_root", json!(self.topics.root()));
        put(&mut info, "discovery_prefix", json!(self.topics.prefix()));
        put(&mut info, "gateways", json!(self.known.gateways().count()));
        put(&mut info, "devices", json!(self.known.devices().count()));
        info
    }

    /// All gateways and devices, for whoever wants to know what there is.
    pub(super) fn list(&self) -> Value {
        let gateways: Vec<Value> = self
            .known
            .all()
            .map(|(id, known)| {
                json!({
                    "id": id.as_str(),
                    "name": known.info.name,
                    "link": link(&known.info.link).0,
                    "available": known.info.available,
                })
            })
            .collect();
        let devices: Vec<Value> = self
            .known
            .devices()
            .filter_map(|device| {
                let known = self.known.device(&device)?;
                let name = self.hub.names().device(&device);
                Some(json!({
                    "gateway": device.gateway.as_str(),
                    "device": device.device.as_str(),
                    "name": name.unwrap_or_else(|| known.mapping.default_name()),
                    "category": known.category(),
                    "model": known.mapping.model(),
                    "topic": self.topics.device(&device, Kind::State.name()),
                }))
            })
            .collect();
        json!({"gateways": gateways, "devices": devices})
    }

    fn hub_discovery(&self) -> Value {
        let id = self.topics.hub_object_id();
        let info = self.topics.bridge("info");
        let state = self.topics.bridge("state");
        let sensor = |key: &str, name: &str, icon: &str| {
            json!({
                "platform": "sensor",
                "unique_id": format!("{id}_{key}"),
                "name": name,
                "icon": icon,
                "state_topic": info,
                "value_template": format!("{{{{ value_json.{key} }}}}"),
                "entity_category": "diagnostic",
                "availability_topic": state,
            })
        };
        json!({
            "device": {
                "identifiers": [id],
                "connections": [],
                "name": "Hearthgate",
                "manufacturer": "Hearthgate",
                "model": "Hub",
                "sw_version": self.options.program_version,
            },
            "origin": self.origin(),
            "components": {
                "connection": connection(&id, &state, "{{ value }}", "online", "offline"),
                "version": sensor("version", "Version", "mdi:tag-outline"),
                "gateways": sensor("gateways", "Gateways", "mdi:router-network"),
                "devices": sensor("devices", "Devices", "mdi:devices"),
                "announce": {
                    "platform": "button",
                    "unique_id": format!("{id}_announce"),
                    "name": "Announce everything again",
                    "icon": "mdi:refresh",
                    "command_topic": self.topics.bridge("request/announce"),
                    "payload_press": "{}",
                    "entity_category": "config",
                    "availability_topic": state,
                },
            },
        })
    }

    fn gateway_discovery(&self, gateway: &GatewayId) -> Option<Value> {
        let info = &self.known.gateway(gateway)?.info;
        let id = Topics::gateway_object_id(gateway);
        let state = self.topics.gateway(gateway, Kind::State);
        let sensor = |key: &str, name: &str, icon: &str| {
            json!({
                "platform": "sensor",
                "unique_id": format!("{id}_{key}"),
                "name": name,
                "icon": icon,
                "state_topic": state,
                "value_template": format!("{{{{ value_json.{key} }}}}"),
                "entity_category": "diagnostic",
            })
        };
        let mut problem = sensor("problem", "Problem", "mdi:alert-circle-outline");
        put(&mut problem, "enabled_by_default", json!(false));
        // Home Assistant cuts a state at 255 characters.
        put(
            &mut problem,
            "value_template",
            json!("{{ (value_json.problem or 'none')[:250] }}"),
        );
        Some(json!({
            "device": {
                "identifiers": [id],
                "connections": [],
                "name": info.name,
                "manufacturer": "Tuya",
                "model": "Gateway",
                "serial_number": gateway.as_str(),
                "via_device": self.topics.hub_object_id(),
            },
            "origin": self.origin(),
            // These, and no connections, are Home Assistant's defaults; it was seen to lose one, and the entity
            // with it.
            "availability": [{
                "topic": self.topics.bridge("state"),
                "payload_available": "online",
                "payload_not_available": "offline",
            }],
            "components": {
                "connection": connection(&id, &state, "{{ 'online' if value_json.connected else 'offline' }}", "online", "offline"),
                "devices": sensor("devices", "Devices", "mdi:devices"),
                "devices_online": sensor("devices_online", "Devices in reach", "mdi:access-point-check"),
                "problem": problem,
                "reconnect": {
                    "platform": "button",
                    "unique_id": format!("{id}_reconnect"),
                    "name": "Connect now",
                    "icon": "mdi:connection",
                    "command_topic": self.topics.bridge("request/reconnect"),
                    "payload_press": json!({"gateway": gateway.as_str()}).to_string(),
                    "entity_category": "config",
                },
            },
        }))
    }

    fn origin(&self) -> Value {
        json!({
            "name": ORIGIN,
            "sw_version": self.options.program_version,
        })
    }
}

/// The entity that tells whether somebody is connected; it bears the device's own name.
fn connection(id: &str, topic: &str, template: &str, on: &str, off: &str) -> Value {
    json!({
        "platform": "binary_sensor",
        "unique_id": format!("{id}_connection"),
        "name": "Connection",
        "device_class": "connectivity",
        "state_topic": topic,
        "value_template": template,
        "payload_on": on,
        "payload_off": off,
        "entity_category": "diagnostic",
    })
}

/// Puts a field into an object.
pub(super) fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn link(link: &Link) -> (&'static str, Option<String>) {
    match link {
        Link::Up => ("up", None),
        Link::Connecting => ("connecting", None),
        Link::NoKey(reason) => ("no_key", Some(reason.to_string())),
        Link::Down(reason) => ("down", Some(reason.to_string())),
    }
}

fn online(online: bool) -> Vec<u8> {
    if online {
        b"online".to_vec()
    } else {
        b"offline".to_vec()
    }
}

fn text(value: &Value) -> Vec<u8> {
    // A `Value` has string keys alone: nothing of it can fail.
    serde_json::to_vec(value).unwrap_or_default()
}
