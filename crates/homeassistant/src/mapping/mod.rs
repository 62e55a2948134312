//! One device as Home Assistant sees it. See [`Mapping`].

mod build;
mod generic;
mod names;
mod quantity;
mod state;
pub(crate) mod topic;

use std::collections::BTreeSet;

use hearthgate_protocol::model::{Device, Reading, Value as WireValue};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::catalog::Catalog;
use crate::command::{self, CommandError};
use crate::discovery::{self, DiscoveryContext};
use crate::entity::Entity;
use crate::overrides::Overrides;
use crate::point::{Points, Values};

/// What Home Assistant makes of one device.
///
/// It is made of what the device declares and has reported, and remembers nothing of the values that
/// pass; only what they teach about the declaration (an enum's further words, a number beyond its
/// limits, a text too long for a state) is kept, by [`observe`](Self::observe). Make it anew when the
/// schema changes.
#[derive(Clone, Debug)]
pub struct Mapping {
    catalog: Catalog,
    overrides: Overrides,
    gateway: String,
    device: String,
    category: String,
    identifier: String,
    points: Points,
    entities: Vec<Entity>,
}

/// One momentary event, for the device's event topic; never retained.
#[derive(Clone, Debug, PartialEq)]
pub struct HaEvent {
    /// The data point that reported it.
    pub code: String,
    /// What happened, one of the entity's event types.
    pub event_type: String,
    /// The whole payload for the event topic: a JSON object that holds both.
    pub payload: Map<String, Value>,
}

impl Mapping {
    /// Makes the mapping of a device. `gateway` is the gateway's uuid; it stands in every id.
    /// Values that the device has already reported are observed.
    pub fn new(catalog: &Catalog, overrides: &Overrides, gateway: &str, device: &Device) -> Self {
        let category = device.schema().category().to_owned();
        let id = device.id().as_str();
        let points = Points::new(device, |code| {
            overrides.settings(&category, gateway, id, code)
        });
        let mut mapping = Self {
            catalog: catalog.clone(),
            overrides: overrides.clone(),
            gateway: gateway.to_owned(),
            device: id.to_owned(),
            identifier: format!("hearthgate_{gateway}_{id}"),
            category,
            points,
            entities: Vec::new(),
        };
        mapping.rebuild();
        mapping
    }

    /// Returns `hearthgate_<gateway>_<devid>`: the device's identifier at Home Assistant, and the
    /// beginning of every unique id.
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Returns the identifier as it may stand in a discovery topic, `<prefix>/device/<this>/config`:
    /// letters, digits, `_` and `-` alone. Different devices have different ones.
    pub fn object_id(&self) -> String {
        object_id(&self.identifier)
    }

    /// Returns the device's id.
    pub fn device_id(&self) -> &str {
        &self.device
    }

    /// Returns the vendor's code of the category.
    pub fn category(&self) -> &str {
        &self.category
    }

    /// Returns the name of a device that the user has given none: its category in English, or the
    /// code of an unknown category, and the last four characters of its id.
    pub fn default_name(&self) -> String {
        let count = self.device.chars().count();
        let last: String = self.device.chars().skip(count.saturating_sub(4)).collect();
        format!("{} {last}", self.model())
    }

    /// Returns the category in English, such as `Socket`; its code where nobody knows it.
    pub fn model(&self) -> String {
        self.catalog
            .name(&self.category)
            .unwrap_or(&self.category)
            .to_owned()
    }

    /// Returns the entities, in the order of the catalog, then of the schema.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Returns the discovery message: `device`, `origin`, `availability` (all of them must be
    /// `online`), `components`, one for every data point and more.
    pub fn discovery(&self, context: &DiscoveryContext) -> Value {
        discovery::message(self, context)
    }

    /// Returns the state object, always whole: every data point by its code in the user's units
    /// (numbers scaled, booleans, labels; Raw and Json as they are; `null` while unknown). What
    /// Home Assistant's templates could not derive is under the one key `@`; a data point whose code
    /// begins with `@` has that character doubled. A vacuum's `state` and `fan_speed` stand at the
    /// top too, where Home Assistant looks for them, unless a data point has the name.
    ///
    /// Publish discovery before the state that it describes.
    pub fn state(&self, device: &Device) -> Map<String, Value> {
        state::object(self, self.values(device))
    }

    /// Returns what to write for a payload that came to `<set>/<key>`. A key is a data point's code,
    /// in the user's units, or one that the discovery message names; it is taken as it stands in the
    /// topic, one level, in which `/`, `+`, `#`, `@` and `%` of a code are `%2F` and so on. Values are not checked
    /// against limits here: the gateway does that, and its refusal says more.
    ///
    /// # Errors
    /// Where nothing has that key or the payload has no meaning for it; the message says what would.
    pub fn command(
        &self,
        device: &Device,
        key: &str,
        payload: &str,
    ) -> Result<Vec<Reading>, CommandError> {
        command::one(self, self.values(device), key, payload)
    }

    /// Returns what to write for an object of several that came to `<set>`, keys as in
    /// [`command`](Self::command), values as JSON in the user's units.
    ///
    /// # Errors
    /// The first entry that cannot be carried out; nothing of the object should be written then.
    pub fn command_object(
        &self,
        device: &Device,
        object: &Map<String, Value>,
    ) -> Result<Vec<Reading>, CommandError> {
        command::several(self, self.values(device), object)
    }

    /// Returns the momentary events of live readings. Never pass what was read or remembered: these
    /// trigger automations. Equal readings are events again. Observe the readings first: a new kind
    /// of press is announced before it happens.
    pub fn events(&self, readings: &[Reading]) -> Vec<HaEvent> {
        state::events(self, readings)
    }

    /// Learns from values, of any source; tells whether the discovery message is another one now and
    /// must be sent again, before the state. Send the state once more a moment later: Home
    /// Assistant takes a changed entity up in its own time, and until then shows it as unknown.
    pub fn observe(&mut self, readings: &[Reading]) -> bool {
        let readings = readings.iter();
        self.observe_each(readings.map(|reading| (reading.code.as_str(), &reading.value)))
    }

    /// Learns from all values of a device, as [`observe`](Self::observe) does from readings.
    pub fn observe_device(&mut self, device: &Device) -> bool {
        let points = device.points().iter();
        self.observe_each(points.map(|point| (point.code.as_str(), &point.value)))
    }

    fn observe_each<'a>(
        &mut self,
        readings: impl Iterator<Item = (&'a str, &'a WireValue)>,
    ) -> bool {
        let mut news = false;
        for (code, value) in readings {
            let overrides = &self.overrides;
            let settings =
                |code: &str| overrides.settings(&self.category, &self.gateway, &self.device, code);
            let said = |points: &Points| points.get(code).and_then(|point| point.said.clone());
            let scale = self.catalog.is_scale(code);
            let before = scale.then(|| said(&self.points));
            news |= self.points.take(code, value, settings);
            news |= before.is_some_and(|before| before != said(&self.points));
        }
        if !news {
            return false;
        }
        let before = std::mem::take(&mut self.entities);
        self.rebuild();
        before != self.entities
    }

    pub(crate) fn points(&self) -> &Points {
        &self.points
    }

    fn values<'a>(&'a self, device: &'a Device) -> Values<'a> {
        Values {
            points: &self.points,
            device,
        }
    }

    fn rebuild(&mut self) {
        let mut entities = build::entities(&self.catalog, &self.category, &mut self.points);
        let mut keys = BTreeSet::new();
        for entity in &mut entities {
            let mut key = match &entity.part {
                Some(part) => format!("{}_{part}", entity.code),
                None => entity.code.clone(),
            };
            // One data point on two platforms, or a code that reads like another's part.
            if keys.contains(&key) {
                key = format!("{key}_{}", entity.platform);
            }
            let base = key.clone();
            let mut count = 1u32;
            while keys.contains(&key) {
                count += 1;
                key = format!("{base}_{count}");
            }
            keys.insert(key.clone());
            entity.unique_id = format!("{}_{key}", self.identifier);
            entity.key = key;
        }
        self.entities = entities;
    }
}

/// Returns a text as it may stand in a discovery topic. What had to be replaced is told apart by a
/// digest of the whole.
pub(crate) fn object_id(text: &str) -> String {
    let safe =
        |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    if text.chars().all(safe) {
        return text.to_owned();
    }
    let replaced: String = text
        .chars()
        .map(|character| if safe(character) { character } else { '-' })
        .collect();
    let digest = Sha256::digest(text.as_bytes());
    let tail: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{replaced}-{tail}")
}
