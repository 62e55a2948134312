//! The message that announces a device: from the entities of a [`Mapping`](crate::Mapping), to the
//! retained topic `<prefix>/device/<object id>/config`.

use serde_json::{Map, Value as Json, json};

use crate::entity::{Entity, Platform};
use crate::mapping::Mapping;
use crate::mapping::topic;
use crate::point::{Point, Points};

/// Where a device's messages go; the caller's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Where the retained state object is.
    pub state: String,
    /// Commands go to `<set>/<key>`, one level below; an object of several to `<set>` itself.
    pub set: String,
    /// Where momentary events are, not retained.
    pub event: String,
    /// What must all say `online`: hub, gateway, device.
    pub availability: Vec<String>,
}

/// Who announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where help is.
    pub url: Option<String>,
}

/// What the discovery message needs beside the device itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryContext {
    /// The topics of the device.
    pub topics: Topics,
    /// The name that the user gave; [`Mapping::default_name`](crate::Mapping::default_name) without one.
    pub name: Option<String>,
    /// The identifier of the Home Assistant device that stands for the gateway.
    pub via_device: Option<String>,
    /// A page about the device.
    pub configuration_url: Option<String>,
    /// Who announces.
    pub origin: Origin,
}

/// Makes the message.
///
/// It proposes no entity ids: Home Assistant makes them of the first names and keeps them by unique id
/// through every rename, and of the two keys for it the older is refused by newer versions and the
/// newer unknown to older ones.
pub(crate) fn message(mapping: &Mapping, context: &DiscoveryContext) -> Json {
    let name = context
        .name
        .clone()
        .unwrap_or_else(|| mapping.default_name());
    let mut device = Map::new();
    device.insert("identifiers".to_owned(), json!([mapping.identifier()]));
    // Home Assistant's default; see below.
    device.insert("connections".to_owned(), json!([]));
    device.insert("name".to_owned(), json!(name));
    device.insert("model".to_owned(), json!(mapping.model()));
    device.insert("model_id".to_owned(), json!(mapping.category()));
    device.insert("serial_number".to_owned(), json!(mapping.device_id()));
    let mut also = |key: &str, value: &Option<String>| {
        if let Some(value) = value {
            device.insert(key.to_owned(), json!(value));
        }
    };
    also("via_device", &context.via_device);
    also("configuration_url", &context.configuration_url);
    let mut origin = Map::new();
    origin.insert("name".to_owned(), json!(context.origin.name));
    origin.insert("sw_version".to_owned(), json!(context.origin.version));
    if let Some(url) = &context.origin.url {
        origin.insert("support_url".to_owned(), json!(url));
    }
    let mut components = Map::new();
    for entity in mapping.entities() {
        components.insert(
            entity.key.clone(),
            component(mapping.points(), entity, &context.topics),
        );
    }
    // The payloads are Home Assistant's defaults, as is that there are no connections. It was seen to lose
    // one of them, once in thousands of entities, and the entity with it: what is said is not lost.
    let availability: Vec<Json> = context
        .topics
        .availability
        .iter()
        .map(|topic| json!({"topic": topic, "payload_available": "online", "payload_not_available": "offline"}))
        .collect();
    json!({
        "device": device,
        "origin": origin,
        "availability": availability,
        "availability_mode": "all",
        "components": components,
    })
}

fn component(points: &Points, entity: &Entity, topics: &Topics) -> Json {
    let mut component = Component {
        points,
        entity,
        topics,
        fields: Map::new(),
    };
    component.set("platform", entity.platform.name());
    component.set("unique_id", entity.unique_id.clone());
    component.set("name", entity.name.clone().map_or(Json::Null, Json::from));
    let unit = matches!(entity.platform, Platform::Sensor | Platform::Number);
    for (key, value) in [
        ("device_class", &entity.device_class),
        ("state_class", &entity.state_class),
        ("icon", &entity.icon),
        (
            "unit_of_measurement",
            if unit { &entity.unit } else { &None },
        ),
    ] {
        if let Some(value) = value {
            component.set(key, value.clone());
        }
    }
    if let Some(category) = entity.category {
        component.set("entity_category", category.name());
    }
    if !entity.enabled {
        component.set("enabled_by_default", false);
    }
    if let Some(precision) = entity.precision {
        component.set("suggested_display_precision", precision);
    }
    entity.kind.discover(entity, &mut component);
    Json::Object(component.fields)
}

/// One component while it is written.
pub(crate) struct Component<'a> {
    points: &'a Points,
    entity: &'a Entity,
    topics: &'a Topics,
    fields: Map<String, Json>,
}

impl Component<'_> {
    pub(crate) fn topics(&self) -> &Topics {
        self.topics
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<Json>) {
        self.fields.insert(key.to_owned(), value.into());
    }

    /// Names the topic of one of the entity's own commands.
    pub(crate) fn command(&mut self, key: &str, aspect: &str) {
        let topic = format!(
            "{}/{}@{aspect}",
            self.topics.set,
            topic::level(&self.entity.key)
        );
        self.set(key, topic);
    }

    /// Names the topic of a data point.
    pub(crate) fn plain_command(&mut self, key: &str, code: &str) {
        let topic = format!("{}/{}", self.topics.set, topic::level(code));
        self.set(key, topic);
    }

    /// Writes a template over the value `v` of a data point in the state object.
    pub(crate) fn value(&mut self, key: &str, code: &str, expression: &str) {
        let code = topic::literal(&topic::state_key(code));
        self.set(
            key,
            format!("{{% set v = value_json.get({code}) %}}{{{{ {expression} }}}}"),
        );
    }

    /// Writes a template over what is derived for the entity; `otherwise` while that is unknown.
    pub(crate) fn derived(&mut self, key: &str, aspect: &str, otherwise: &str) {
        let entity = topic::literal(&self.entity.key);
        let derived = topic::DERIVED;
        self.set(
            key,
            format!("{{{{ ((value_json.get('{derived}') or {{}}).get({entity}) or {{}}).get('{aspect}', '{otherwise}') }}}}"),
        );
    }

    pub(crate) fn is_number(&self, code: &str) -> bool {
        self.points.get(code).is_some_and(Point::is_integer)
    }

    pub(crate) fn is_inverted(&self, code: &str) -> bool {
        self.points.get(code).is_some_and(Point::inverted)
    }
}
