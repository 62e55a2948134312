//! Retained messages of what is no more: removed devices, another topic root or prefix, another version.
//!
//! Input is what the broker keeps, looked through on each connection; output are topics to clear. Only
//! ours are: below our topic root what has the form of our topics, and discovery messages that name us
//! as their origin and our topic root as where we are. What belongs to a gateway that has not been read
//! yet is left until it has.

use std::collections::HashMap;

use hearthgate_hub::{DeviceRef, GatewayId};
use serde_json::Value;

use super::Bridge;
use super::known::Components;
use super::render::ORIGIN;
use crate::broker::Message;
use crate::outbox::Item;
use crate::topics::{Kind, Meaning, Topics};

/// The most topics that are remembered; what is beyond is found at the next connection.
const TOPICS_MAX: usize = 262_144;

/// What was found and is not ours to say any more, or not known yet.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    gateways: HashMap<GatewayId, Vec<String>>,
    devices: HashMap<DeviceRef, Vec<String>>,
    /// What a discovery message said of a device; until the device is known.
    components: HashMap<DeviceRef, Components>,
    /// Discovery messages of a hub: ours of the moment, or an earlier one.
    hubs: Vec<String>,
    /// What was left below an earlier topic root, and which hub it was.
    earlier: Vec<String>,
    earlier_hubs: HashMap<String, String>,
    count: usize,
    complete: bool,
}

impl Leftovers {
    /// Begins to look through what the broker keeps.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }

    /// All has been looked through.
    pub(super) fn complete(&mut self) {
        self.complete = true;
    }

    /// Takes note of a retained message.
    pub(super) fn find<'a>(
        &mut self,
        message: &Message,
        topics: &Topics,
        earlier: impl Iterator<Item = &'a Topics> + Clone,
    ) {
        if message.payload.is_empty() || self.count >= TOPICS_MAX {
            return;
        }
        let topic = &message.topic;
        match topics.meaning(topic) {
            Some(Meaning::Gateway(gateway, _)) => return self.of_gateway(gateway, topic),
            Some(Meaning::Device(device, _)) => return self.of_device(device, topic),
            Some(_) => return,
            None => {}
        }
        for old in earlier.clone() {
            match old.meaning(topic) {
                Some(Meaning::BridgeInfo) => {
                    let info: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
                    if let Some(hub) = info.get("hub").and_then(Value::as_str) {
                        self.earlier_hubs
                            .insert(old.root().to_owned(), hub.to_owned());
                    }
                }
                Some(
                    Meaning::Gateway(..)
                    | Meaning::Device(..)
                    | Meaning::BridgeState
                    | Meaning::BridgeDevices,
                ) => {}
                _ => continue,
            }
            self.earlier.push(topic.clone());
            self.count += 1;
            return;
        }
        if let Some(found) = Announced::read(&message.payload, topics, earlier) {
            self.of_discovery(topic, found);
        }
    }

    /// Returns what Home Assistant has of a device, as an earlier run announced it.
    pub(super) fn take_components(&mut self, device: &DeviceRef) -> Option<Components> {
        self.components.remove(device)
    }

    fn of_gateway(&mut self, gateway: GatewayId, topic: &str) {
        self.gateways
            .entry(gateway)
            .or_default()
            .push(topic.to_owned());
        self.count += 1;
    }

    fn of_device(&mut self, device: DeviceRef, topic: &str) {
        self.devices
            .entry(device)
            .or_default()
            .push(topic.to_owned());
        self.count += 1;
    }

    fn of_discovery(&mut self, topic: &str, found: Announced) {
        match (found.device, found.gateway) {
            (Some(device), _) => {
                if found.is_current {
                    self.components.insert(device.clone(), found.components);
                }
                self.of_device(device, topic);
            }
            (None, Some(gateway)) => self.of_gateway(gateway, topic),
            (None, None) => {
                self.hubs.push(topic.to_owned());
                self.count += 1;
            }
        }
    }
}

/// A discovery message of ours.
struct Announced {
    /// Whether it names our topic root of the moment.
    is_current: bool,
    device: Option<DeviceRef>,
    gateway: Option<GatewayId>,
    components: Components,
}

impl Announced {
    /// Reads one; none where it is not of this hub.
    fn read<'a>(
        payload: &[u8],
        topics: &Topics,
        earlier: impl Iterator<Item = &'a Topics>,
    ) -> Option<Self> {
        let message: Value = serde_json::from_slice(payload).ok()?;
        if message.get("origin")?.get("name")?.as_str()? != ORIGIN {
            return None;
        }
        let components = message.get("components")?.as_object()?;
        // A device and a gateway name the hub among what they depend on, the hub its own state.
        let listed = message.get("availability").and_then(Value::as_array);
        let listed = listed
            .into_iter()
            .flatten()
            .filter_map(|it| it.get("topic"));
        let own = components
            .values()
            .filter_map(|it| it.get("availability_topic"));
        let states = components.values().filter_map(|it| it.get("state_topic"));
        let named: Vec<&str> = listed
            .chain(own)
            .chain(states)
            .filter_map(Value::as_str)
            .collect();
        let mut layouts = std::iter::once((true, topics)).chain(earlier.map(|old| (false, old)));
        let (is_current, layout) = layouts.find(|(_, layout)| {
            let hub = layout.bridge("state");
            named.iter().any(|topic| *topic == hub)
        })?;
        let mut found = Self {
            is_current,
            device: None,
            gateway: None,
            components: components
                .iter()
                .filter_map(|(key, component)| {
                    let platform = component.get("platform")?.as_str()?;
                    // Nothing else in it: it was announced as gone.
                    let is_gone = component.as_object().is_some_and(|it| it.len() == 1);
                    (!is_gone).then(|| (key.as_str().into(), platform.into()))
                })
                .collect(),
        };
        for topic in named {
            match layout.meaning(topic) {
                Some(Meaning::Device(device, Kind::Availability)) => found.device = Some(device),
                Some(Meaning::Gateway(gateway, _)) => found.gateway = Some(gateway),
                _ => {}
            }
        }
        Some(found)
    }
}

impl Bridge {
    /// Takes over what Home Assistant has of devices, as an earlier run announced them.
    pub(super) fn take_announced(&mut self) {
        for (device, components) in std::mem::take(&mut self.leftovers.components) {
            match self.known.device_mut(&device) {
                Some(known) => known.announced.extend(components),
                None => {
                    self.leftovers.components.insert(device, components);
                }
            }
        }
    }

    /// Clears what is known to be no more by now.
    pub(super) fn sweep(&mut self) {
        if !self.leftovers.complete || !self.is_ready() {
            return;
        }
        let mut clear = Vec::new();
        let all_known = self.known.loaded && *self.unidentified.borrow_and_update() == 0;
        let known = &self.known;
        let current = &self.topics;
        let is_own_discovery =
            |topic: &String, object_id: &str| *topic == current.discovery(object_id);
        self.leftovers.gateways.retain(|gateway, topics| {
            if known.gateway(gateway).is_some() {
                // An earlier prefix is another topic for the same message.
                let object_id = Topics::gateway_object_id(gateway);
                topics.retain(|topic| {
                    current.meaning(topic).is_none() && !is_own_discovery(topic, &object_id)
                });
                clear.append(topics);
                return false;
            }
            if all_known {
                clear.append(topics);
            }
            !all_known
        });
        self.leftovers.devices.retain(|device, topics| {
            let gateway = known.gateway(&device.gateway);
            let is_gone = match gateway {
                Some(gateway) => {
                    gateway.info.synced && !gateway.devices.contains_key(&device.device)
                }
                None => all_known,
            };
            if is_gone {
                clear.append(topics);
                return false;
            }
            let Some(here) = known.device(device) else {
                return true;
            };
            let object_id = here.mapping.object_id();
            topics.retain(|topic| {
                current.meaning(topic).is_none() && !is_own_discovery(topic, &object_id)
            });
            clear.append(topics);
            false
        });
        let hub = current.discovery(&current.hub_object_id());
        clear.extend(self.leftovers.hubs.drain(..).filter(|topic| *topic != hub));
        let of_this_hub = |topic: &String, hubs: &HashMap<String, String>, own: &str| {
            hubs.iter().any(|(root, hub)| {
                let below = topic.strip_prefix(root.as_str());
                hub == own && below.is_some_and(|below| below.starts_with('/'))
            })
        };
        let own = self.memory.hub().to_owned();
        let hubs = std::mem::take(&mut self.leftovers.earlier_hubs);
        let earlier = std::mem::take(&mut self.leftovers.earlier);
        clear.extend(
            earlier
                .into_iter()
                .filter(|topic| of_this_hub(topic, &hubs, &own)),
        );
        if !clear.is_empty() {
            tracing::info!(
                "clearing {} retained messages of what is no more",
                clear.len()
            );
        }
        for topic in clear {
            self.outbox.push(Item::Clear(topic));
        }
        if all_known && self.leftovers.gateways.is_empty() && self.leftovers.devices.is_empty() {
            self.leave_earlier_places();
        }
    }

    /// Clears what is left of a gateway or a device that the hub does not know; tells how much it was.
    pub(super) fn clear_leftovers(&mut self, gateway: &GatewayId, device: Option<&str>) -> usize {
        let mut clear = Vec::new();
        if device.is_none() {
            clear.extend(self.leftovers.gateways.remove(gateway).unwrap_or_default());
        }
        self.leftovers.devices.retain(|id, topics| {
            let is_meant =
                id.gateway == *gateway && device.is_none_or(|device| id.device.as_str() == device);
            if is_meant {
                clear.append(topics);
            }
            !is_meant
        });
        let count = clear.len();
        for topic in clear {
            self.outbox.push(Item::Clear(topic));
        }
        count
    }

    /// Forgets the places where nothing is left. What is cleared is on its way; where it does not
    /// arrive, the broker is away, and its messages below another root are harmless.
    fn leave_earlier_places(&mut self) {
        for (place, _) in self.earlier.drain(..) {
            if let Err(error) = self.memory.leave(&place) {
                tracing::warn!("{error}");
            }
        }
    }
}
