//! What the bridge knows of gateways and devices: how each is described, not what its values are.
//!
//! Input is the hub's feed; output are the names of what is to be said now.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hearthgate_homeassistant::Mapping;
use hearthgate_hub::{DeviceRef, GatewayId, GatewayInfo, HubItem, Link};
use hearthgate_protocol::model::{Applied, Device, DeviceId, Schema};
use hearthgate_protocol::wire::EventKind;
use indexmap::IndexMap;

use super::{Bridge, GATEWAY_KINDS, Later};
use crate::outbox::Item;
use crate::topics::{Kind, Topics};

/// Home Assistant takes a changed entity up in its own time; what describes it comes before by this.
const TAKE_UP: Duration = Duration::from_secs(1);
/// Many devices change the list at once, and it is long.
const LIST_EVERY: Duration = Duration::from_millis(500);

/// The keys and platforms of a discovery message's components.
pub(super) type Components = BTreeMap<Box<str>, Box<str>>;

/// All that is known.
#[derive(Default)]
pub(super) struct Known {
    gateways: IndexMap<GatewayId, KnownGateway>,
    /// What a snapshot has named so far, while it comes.
    snapshot: Option<Snapshot>,
    /// Whether a snapshot was complete.
    pub(super) loaded: bool,
}

#[derive(Default)]
struct Snapshot {
    gateways: HashSet<GatewayId>,
    devices: HashSet<DeviceRef>,
}

pub(super) struct KnownGateway {
    pub(super) info: GatewayInfo,
    pub(super) devices: IndexMap<DeviceId, KnownDevice>,
}

pub(super) struct KnownDevice {
    pub(super) mapping: Mapping,
    schema: Arc<Schema>,
    /// What Home Assistant has of it.
    pub(super) announced: Components,
}

impl KnownDevice {
    pub(super) fn category(&self) -> &str {
        self.schema.category()
    }
}

impl Known {
    pub(super) fn gateways(&self) -> impl Iterator<Item = &GatewayId> {
        self.gateways.keys()
    }

    pub(super) fn gateway(&self, gateway: &GatewayId) -> Option<&KnownGateway> {
        self.gateways.get(gateway)
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = DeviceRef> {
        self.gateways.iter().flat_map(|(gateway, known)| {
            known.devices.keys().map(|device| DeviceRef {
                gateway: gateway.clone(),
                device: device.clone(),
            })
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&GatewayId, &KnownGateway)> {
        self.gateways.iter()
    }

    pub(super) fn device(&self, device: &DeviceRef) -> Option<&KnownDevice> {
        self.gateways
            .get(&device.gateway)?
            .devices
            .get(&device.device)
    }

    pub(super) fn device_mut(&mut self, device: &DeviceRef) -> Option<&mut KnownDevice> {
        let gateway = self.gateways.get_mut(&device.gateway)?;
        gateway.devices.get_mut(&device.device)
    }
}

impl Bridge {
    /// Takes an item of the feed over.
    pub(super) fn handle_item(&mut self, item: HubItem) {
        match item {
            HubItem::Init => self.known.snapshot = Some(Snapshot::default()),
            HubItem::InitDone => self.end_snapshot(),
            HubItem::Gateway(info) => self.handle_gateway(info),
            HubItem::GatewayGone(gateway) => self.forget_gateway(&gateway),
            HubItem::Device { gateway, device } => self.handle_device(&gateway, &device),
            HubItem::DeviceGone(device) => self.forget_device(&device),
            HubItem::Event {
                gateway,
                event,
                applied,
                ..
            } => {
                if applied != Applied::UnknownDevice {
                    self.handle_event(&gateway, event.kind);
                }
            }
            HubItem::Renamed { device, .. } => {
                self.outbox.push(Item::Discovery(device));
                self.say_list();
            }
            HubItem::Missed { items } => {
                tracing::warn!(
                    "{items} changes came faster than they could be passed on: reading everything again"
                );
            }
        }
    }

    fn end_snapshot(&mut self) {
        let Some(snapshot) = self.known.snapshot.take() else {
            return;
        };
        self.known.loaded = true;
        let gone: Vec<_> = self
            .known
            .devices()
            .filter(|device| !snapshot.devices.contains(device))
            .collect();
        for device in gone {
            self.forget_device(&device);
        }
        let gone: Vec<_> = self
            .known
            .gateways()
            .filter(|gateway| !snapshot.gateways.contains(*gateway))
            .cloned()
            .collect();
        for gateway in gone {
            self.forget_gateway(&gateway);
        }
        self.sweep();
    }

    fn handle_gateway(&mut self, info: GatewayInfo) {
        let id = info.id.clone();
        if let Some(snapshot) = &mut self.known.snapshot {
            snapshot.gateways.insert(id.clone());
        }
        self.outbox.push(Item::GatewayState(id.clone()));
        self.say_list();
        let Some(known) = self.known.gateways.get_mut(&id) else {
            self.outbox.requeue(Item::GatewayAvailability(id.clone()));
            self.outbox.requeue(Item::GatewayDiscovery(id.clone()));
            self.outbox.requeue(Item::GatewayState(id.clone()));
            self.outbox.push(Item::HubInfo);
            let devices = IndexMap::new();
            self.known
                .gateways
                .insert(id, KnownGateway { info, devices });
            return;
        };
        let before = std::mem::replace(&mut known.info, info.clone());
        if before.name != info.name {
            self.outbox.push(Item::GatewayDiscovery(id.clone()));
        }
        if before.available != info.available {
            // Behind what its devices have to say: what is old is not to be taken for live.
            self.outbox.requeue(Item::GatewayAvailability(id.clone()));
        }
        let was_up = matches!(before.link, Link::Up);
        match &info.link {
            Link::Up if !was_up => {
                self.log("info", &format!("the gateway {} is connected", info.name));
            }
            Link::Down(reason) if was_up => self.log("warning", &reason.to_string()),
            Link::NoKey(reason) if !matches!(before.link, Link::NoKey(_)) => {
                self.log("warning", &format!("the gateway {}: {reason}", info.name));
            }
            _ => {}
        }
        if info.synced && !before.synced {
            self.sweep();
        }
    }

    fn handle_device(&mut self, gateway: &GatewayId, device: &Device) {
        let id = DeviceRef {
            gateway: gateway.clone(),
            device: device.id().clone(),
        };
        if let Some(snapshot) = &mut self.known.snapshot {
            snapshot.devices.insert(id.clone());
        }
        let Some(known) = self.known.gateways.get_mut(gateway) else {
            return;
        };
        let mapping = || Mapping::new(self.catalog, &self.overrides, gateway.as_str(), device);
        let schema = device.schema();
        let is_new = match known.devices.get_mut(device.id()) {
            Some(known) if Arc::ptr_eq(&known.schema, schema) || known.schema == *schema => {
                if known.mapping.observe_device(device) {
                    self.outbox.push(Item::Discovery(id.clone()));
                }
                false
            }
            Some(known) => {
                known.mapping = mapping();
                known.schema = Arc::clone(schema);
                self.outbox.push(Item::Discovery(id.clone()));
                false
            }
            None => {
                let announced = self.leftovers.take_components(&id);
                let new = KnownDevice {
                    mapping: mapping(),
                    schema: Arc::clone(schema),
                    announced: announced.unwrap_or_default(),
                };
                known.devices.insert(device.id().clone(), new);
                // Behind whatever is still to be cleared of one of that name.
                self.outbox.requeue(Item::Discovery(id.clone()));
                self.outbox.requeue(Item::Availability(id.clone()));
                self.outbox.requeue(Item::State(id.clone()));
                true
            }
        };
        self.outbox.push(Item::Availability(id.clone()));
        self.outbox.push(Item::State(id));
        self.outbox.push(Item::GatewayState(gateway.clone()));
        if is_new {
            self.outbox.push(Item::HubInfo);
            self.say_list();
        }
    }

    fn handle_event(&mut self, gateway: &GatewayId, kind: EventKind) {
        let (device, readings, online) = match kind {
            EventKind::StateChanged { device, readings } => (device, readings, None),
            EventKind::OnlineUpdated {
                device,
                online,
                readings,
            } => (device, readings.unwrap_or_default(), Some(online)),
            // What comes of it comes as a device.
            EventKind::RegistryUpdated { .. } | EventKind::Other { .. } => return,
        };
        let id = DeviceRef {
            gateway: gateway.clone(),
            device,
        };
        let Some(known) = self.known.device_mut(&id) else {
            return;
        };
        let learned = known.mapping.observe(&readings);
        // What a device sends along when it comes back is no press of a button.
        let events = if online.is_none() {
            known.mapping.events(&readings)
        } else {
            Vec::new()
        };
        if online.is_some() {
            self.outbox.push(Item::Availability(id.clone()));
            self.outbox.push(Item::GatewayState(gateway.clone()));
        }
        if learned {
            self.outbox.push(Item::Discovery(id.clone()));
            self.do_later(TAKE_UP, Later::Item(Item::State(id.clone())));
        }
        for event in events {
            let topic = self.topics.device(&id, "event");
            let payload = serde_json::Value::Object(event.payload)
                .to_string()
                .into_bytes();
            if learned {
                let publish = crate::broker::Publish {
                    topic,
                    payload,
                    retain: false,
                    correlation: None,
                };
                self.do_later(TAKE_UP, Later::Pass(publish));
            } else {
                self.pass(topic, payload, None);
            }
        }
        self.outbox.push(Item::State(id));
    }

    /// Queues all there is to say of a device, in the order in which Home Assistant wants it.
    pub(super) fn say_device(&mut self, device: &DeviceRef) {
        self.outbox.push(Item::Discovery(device.clone()));
        self.outbox.push(Item::Availability(device.clone()));
        self.outbox.push(Item::State(device.clone()));
    }

    /// Queues the list, once for many changes.
    pub(super) fn say_list(&mut self) {
        self.do_later(LIST_EVERY, Later::Item(Item::List));
    }

    /// Forgets a device and clears its topics.
    pub(super) fn forget_device(&mut self, device: &DeviceRef) {
        let known = self.known.gateways.get_mut(&device.gateway);
        let Some(gone) = known.and_then(|known| known.devices.shift_remove(&device.device)) else {
            return;
        };
        self.clear_device(device, &gone.mapping.object_id());
        self.outbox.push(Item::GatewayState(device.gateway.clone()));
        self.outbox.push(Item::HubInfo);
        self.say_list();
    }

    fn clear_device(&mut self, device: &DeviceRef, object_id: &str) {
        let discovery = self.topics.discovery(object_id);
        self.outbox.push(Item::Clear(discovery));
        for kind in [Kind::Availability, Kind::State] {
            let topic = self.topics.device(device, kind.name());
            self.outbox.push(Item::Clear(topic));
        }
    }

    /// Forgets a gateway with its devices, and clears their topics.
    pub(super) fn forget_gateway(&mut self, gateway: &GatewayId) {
        let Some(gone) = self.known.gateways.shift_remove(gateway) else {
            return;
        };
        for (id, device) in gone.devices {
            let id = DeviceRef {
                gateway: gateway.clone(),
                device: id,
            };
            self.clear_device(&id, &device.mapping.object_id());
        }
        let object_id = Topics::gateway_object_id(gateway);
        self.outbox
            .push(Item::Clear(self.topics.discovery(&object_id)));
        for kind in GATEWAY_KINDS {
            self.outbox
                .push(Item::Clear(self.topics.gateway(gateway, kind)));
        }
        self.outbox.push(Item::HubInfo);
        self.say_list();
    }
}
