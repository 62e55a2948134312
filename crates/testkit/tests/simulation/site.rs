//! One home of a run: its devices go on whatever becomes of its gateway.

use std::collections::HashMap;
use std::sync::Arc;

use hearthgate_client::{Endpoint, Target};
use hearthgate_gateway::{GatewayOptions, StreamGateway};
use hearthgate_hub::{DeviceRef, GatewayId, GatewaySpec};
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::model::{
    Change, DataPoint, Device, DeviceId, Home, Reading, Schema, Source, Stamp, Timestamp, Value,
};
use hearthgate_protocol::variants::Wire;
use hearthgate_testkit::{Hand, HandDriver, Written};

use crate::net::{HOST, Net};

const STAMP: Stamp = Stamp {
    at: Timestamp(0),
    source: Source::Event,
};

/// A home with its gateway.
pub(crate) struct Site {
    pub(crate) id: GatewayId,
    pub(crate) port: u16,
    pub(crate) key: DeviceKey,
    pub(crate) gateway: Option<Arc<StreamGateway>>,
    hand: Option<Hand>,
    wire: Wire,
    random: fastrand::Rng,
    /// What the devices are, but for what was written to them.
    pub(crate) home: Home,
    /// The count of each device, also of those that went and may come back.
    counts: HashMap<DeviceId, i64>,
    made: usize,
    most: usize,
    /// Commands that reached a driver, in all lives of the gateway.
    pub(crate) commands: Vec<Written>,
}

impl Site {
    pub(crate) fn new(number: u16, devices: usize, wire: Wire, random: fastrand::Rng) -> Self {
        let mut site = Self {
            id: GatewayId::from(format!("gateway-{number}").as_str()),
            port: 1000 + number,
            key: DeviceKey::from_bytes([u8::try_from(number).unwrap_or(1); 16]),
            gateway: None,
            hand: None,
            wire,
            random,
            home: Home::default(),
            counts: HashMap::new(),
            made: 0,
            most: devices + 5,
            commands: Vec::new(),
        };
        for _ in 0..devices {
            let device = site.newcomer();
            site.home.apply(&Change::Upsert(device), STAMP);
        }
        site
    }

    /// Starts the gateway with the devices as they are by now.
    pub(crate) fn start(&mut self, net: &Net) {
        let (driver, hand) = HandDriver::new(self.home.devices().cloned().collect());
        let mut options = GatewayOptions::new(self.id.as_str(), self.key.clone());
        options.connection.wire = self.wire;
        let gateway = StreamGateway::start(options, vec![Box::new(driver)]);
        let gateway = Arc::new(gateway.expect("one driver"));
        net.put(self.port, Arc::clone(&gateway));
        self.gateway = Some(gateway);
        self.hand = Some(hand);
    }

    /// Kills the gateway; with `power` its whole machine, so that nobody is told.
    pub(crate) fn kill(&mut self, net: &Net, power: bool) {
        if power {
            net.links(self.port)
                .iter()
                .for_each(|link| link.half_open());
        }
        net.remove(self.port);
        if let Some(hand) = self.hand.take() {
            self.commands.extend(hand.commands());
        }
        self.gateway = None;
    }

    /// Lets the gateway be reached at another port; links that stand go on.
    pub(crate) fn move_to(&mut self, net: &Net, port: u16) {
        net.remove(self.port);
        self.port = port;
        if let Some(gateway) = &self.gateway {
            net.put(port, Arc::clone(gateway));
        }
    }

    /// Returns what its clients should go by.
    pub(crate) fn target(&self) -> Target {
        let endpoint = Endpoint::new(HOST, self.port).expect("an endpoint");
        Target::fixed(endpoint, self.key.clone())
    }

    /// Returns what the hub should go by.
    pub(crate) fn spec(&self) -> GatewaySpec {
        let endpoint = Endpoint::new(HOST, self.port).expect("an endpoint");
        GatewaySpec::fixed(self.id.clone(), endpoint, self.key.clone())
    }

    /// Lets the devices do something. Where the gateway is down nobody hears of it.
    pub(crate) async fn live(&mut self, changes: usize, presses: &mut i64) {
        let made: Vec<Change> = (0..changes).filter_map(|_| self.change(presses)).collect();
        self.report(made).await;
    }

    /// Lets a device count up and a button be pressed; returns the press.
    pub(crate) async fn press(&mut self, presses: &mut i64) -> i64 {
        if self.home.is_empty() {
            let device = self.newcomer();
            let change = Change::Upsert(device);
            self.home.apply(&change, STAMP);
            self.report(vec![change]).await;
        }
        let device = self.any().expect("a device");
        *presses += 1;
        let count = self.count(&device);
        let readings = vec![count, Reading::new("press", Value::from(*presses))];
        let change = Change::State { device, readings };
        self.home.apply(&change, STAMP);
        self.report(vec![change]).await;
        *presses
    }

    /// Lets a device say much: a kilobyte each time.
    pub(crate) async fn shout(&mut self, times: usize) {
        let Some(device) = self.any() else { return };
        let mut changes = Vec::new();
        for _ in 0..times {
            let text = format!("{:01000}", self.random.u32(..));
            let readings = vec![Reading::new("note", Value::from(text.as_str()))];
            let device = device.clone();
            changes.push(Change::State { device, readings });
        }
        for change in &changes {
            self.home.apply(change, STAMP);
        }
        self.report(changes).await;
    }

    pub(crate) fn any_ref(&mut self) -> Option<DeviceRef> {
        let device = self.any()?;
        Some(DeviceRef::new(self.id.clone(), device))
    }

    /// Returns the commands of this life of the gateway, besides those before.
    pub(crate) fn all_commands(&self) -> Vec<Written> {
        let mut all = self.commands.clone();
        all.extend(self.hand.iter().flat_map(Hand::commands));
        all
    }

    async fn report(&self, changes: Vec<Change>) {
        if let Some(hand) = &self.hand {
            hand.report(changes).await;
        }
    }

    fn change(&mut self, presses: &mut i64) -> Option<Change> {
        let change = match self.random.u32(0..40) {
            0 if self.home.len() < self.most => Change::Upsert(self.newcomer()),
            1 => Change::Remove(self.any()?),
            2 => self.returner()?,
            3 => self.other_schema()?,
            4 | 5 => Change::Online {
                device: self.any()?,
                online: self.random.bool(),
                readings: Vec::new(),
            },
            6..12 => Change::State {
                device: self.any()?,
                readings: vec![Reading::new("switch_1", Value::from(self.random.bool()))],
            },
            12..20 => {
                *presses += 1;
                Change::State {
                    device: self.any()?,
                    readings: vec![Reading::new("press", Value::from(*presses))],
                }
            }
            _ => {
                let device = self.any()?;
                let readings = vec![self.count(&device)];
                Change::State { device, readings }
            }
        };
        self.home.apply(&change, STAMP);
        Some(change)
    }

    fn any(&mut self) -> Option<DeviceId> {
        let index = self.random.usize(0..self.home.len().max(1));
        let device = self.home.devices().nth(index);
        device.map(|device| device.id().clone())
    }

    fn count(&mut self, device: &DeviceId) -> Reading {
        let count = self.counts.entry(device.clone()).or_default();
        *count += 1;
        Reading::new("count", Value::from(*count))
    }

    fn newcomer(&mut self) -> Device {
        self.made += 1;
        let id = DeviceId::from(format!("{}-{:04}", self.id, self.made).as_str());
        self.device(id, "kg")
    }

    /// Brings back a device that was removed, where there is one.
    fn returner(&mut self) -> Option<Change> {
        let number = self.random.usize(1..=self.made.max(1));
        let id = DeviceId::from(format!("{}-{number:04}", self.id).as_str());
        let gone = self.home.device(id.as_str()).is_none();
        gone.then(|| Change::Upsert(self.device(id, "kg")))
    }

    /// Makes a device declare something else.
    fn other_schema(&mut self) -> Option<Change> {
        let id = self.any()?;
        let category = ["kg", "cz", "dj"].get(self.random.usize(0..3)).copied()?;
        Some(Change::Upsert(self.device(id, category)))
    }

    fn device(&mut self, id: DeviceId, category: &str) -> Device {
        let point = |code: &str, kind: &str| DataPoint::new(code, kind, Value::from("{}"));
        let function = vec![point("switch_1", "Boolean"), point("level", "Integer")];
        let status = vec![
            point("switch_1", "Boolean"),
            point("level", "Integer"),
            point("count", "Integer"),
            point("press", "Integer"),
            point("note", "String"),
        ];
        let schema = Arc::new(Schema::new(category, function, status));
        let readings = [
            Reading::new("switch_1", Value::from(self.random.bool())),
            self.count(&id),
        ];
        Device::new(id, schema, true, readings, STAMP)
    }
}

/// Returns all that a home shows, as text to compare: what devices declare, reach, values.
pub(crate) fn picture(home: &Home) -> String {
    let mut lines: Vec<String> = home.devices().map(line).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn line(device: &Device) -> String {
    let mut values: Vec<String> = device
        .points()
        .iter()
        .map(|point| format!(" {}={}", point.code, point.value.json()))
        .collect();
    // New ones stand where they were first heard of.
    values.sort_unstable();
    let schema = device.schema();
    format!(
        "{} {}/{}/{} {}{}",
        device.id(),
        schema.category(),
        schema.functions().len(),
        schema.statuses().len(),
        device.online(),
        values.concat()
    )
}
