//! One device as Home Assistant sees it. See [`Mapping`].

use hearthgate_protocol::model::{Device, Reading};
use serde_json::{Map, Value};

use crate::catalog::Catalog;
use crate::command::CommandError;
use crate::discovery::DiscoveryContext;
use crate::entity::Entity;
use crate::overrides::Overrides;

/// What Home Assistant makes of one device.
///
/// It is made of what the device declares and has reported, and remembers nothing of the values that
/// pass; only what they teach about the declaration (an enum's further words, a number beyond its
/// limits) is kept, by [`observe`](Self::observe). Make it anew when the schema changes.
#[derive(Clone, Debug)]
pub struct Mapping {
    identifier: String,
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
        let _ = (catalog, overrides);
        Self {
            identifier: format!("hearthgate_{gateway}_{}", device.id()),
            entities: Vec::new(),
        }
    }

    /// Returns `hearthgate_<gateway>_<devid>`: the device's identifier at Home Assistant, and the
    /// beginning of every unique id.
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Returns the identifier as it may stand in a discovery topic, `<prefix>/device/<this>/config`:
    /// letters, digits, `_` and `-` alone. Different devices have different ones.
    pub fn object_id(&self) -> String {
        self.identifier.clone()
    }

    /// Returns the name of a device that the user has given none: its category in English, or the
    /// code of an unknown category, and the last four characters of its id.
    pub fn default_name(&self) -> String {
        String::new()
    }

    /// Returns the category in English, such as `Socket`.
    pub fn model(&self) -> String {
        String::new()
    }

    /// Returns the entities, in the order of the catalog, then of the schema.
    pub fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// Returns the discovery message: `device`, `origin`, `availability` (all of them must be
    /// `online`), `components`, one for every data point and more.
    pub fn discovery(&self, context: &DiscoveryContext) -> Value {
        let _ = context;
        Value::Null
    }

    /// Returns the state object, always whole: every data point by its code in the user's units
    /// (numbers scaled, booleans, labels; Raw and Json as they are; `null` while unknown). What
    /// Home Assistant's templates could not derive is under the one key `@`; a data point whose code
    /// begins with `@` has that character doubled.
    ///
    /// Publish discovery before the state that it describes.
    pub fn state(&self, device: &Device) -> Map<String, Value> {
        let _ = device;
        Map::new()
    }

    /// Returns what to write for a payload that came to `<set>/<key>`. A key is a data point's code,
    /// in the user's units, or one that the discovery message names. Values are not checked
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
        let _ = (device, key, payload);
        Ok(Vec::new())
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
        let _ = (device, object);
        Ok(Vec::new())
    }

    /// Returns the momentary events of live readings. Never pass what was read or remembered: these
    /// trigger automations. Equal readings are events again.
    pub fn events(&self, readings: &[Reading]) -> Vec<HaEvent> {
        let _ = readings;
        Vec::new()
    }

    /// Learns from values, of any source; tells whether the discovery message is another one now and
    /// must be sent again, before the state. Send the state once more a moment later: Home
    /// Assistant takes a changed entity up in its own time, and until then shows it as unknown.
    pub fn observe(&mut self, readings: &[Reading]) -> bool {
        let _ = readings;
        false
    }
}
