//! Measures the catalog: what Home Assistant's own integration makes of devices, against ours.
//!
//! Input are mappings and a file of expected entities; output is for `hearthgate catalog check` and
//! the crate's tests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::catalog::Catalog;
use crate::entity::{Entity, Platform};
use crate::mapping::Mapping;
use crate::number;
use crate::units;

/// What is expected of some devices, by the name of their profile's file.
pub type ExpectedHome = BTreeMap<String, Vec<Expected>>;

/// One entity that Home Assistant's integration makes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Expected {
    /// The data point, with the part glued on; empty means any.
    pub code: String,
    /// The platform.
    pub platform: String,
    /// The device class.
    #[serde(default)]
    pub device_class: Option<String>,
    /// The unit; an empty one is none.
    #[serde(default)]
    pub unit: Option<String>,
    /// The state class.
    #[serde(default)]
    pub state_class: Option<String>,
    /// Options of a select; min, max and step of a number. What else stands here is not compared.
    #[serde(default)]
    pub capabilities: Map<String, Json>,
}

/// Something that is missing or differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The platform.
    pub platform: String,
    /// The data point, as expected.
    pub code: String,
    /// `missing`, or the field that differs.
    pub field: String,
    /// What is expected; empty for nothing.
    pub expected: String,
    /// What ours has; empty for nothing.
    pub ours: String,
    /// Why ours is better, where the catalog says so.
    pub reason: Option<String>,
}

/// Parses a file of expected entities: an object of `profile file: [{code, platform, ..}]`.
///
/// # Errors
/// Names line and column.
pub fn parse_expected(text: &str) -> Result<ExpectedHome, serde_json::Error> {
    serde_json::from_str(text)
}

/// Compares the entities of a device with what is expected.
pub fn compare(catalog: &Catalog, mapping: &Mapping, expected: &[Expected]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for wanted in expected {
        let finding = |field: &str, expected: &str, ours: &str, reason: Option<String>| Finding {
            platform: wanted.platform.clone(),
            code: wanted.code.clone(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            ours: ours.to_owned(),
            reason,
        };
        let Some(entity) = mapping
            .entities()
            .iter()
            .find(|entity| matches(entity, wanted))
        else {
            let reason = reason(catalog, wanted, "missing", "", None)
                .or_else(|| writes_nothing(mapping, wanted));
            findings.push(finding("missing", &wanted.code, "", reason));
            continue;
        };
        for (field, expected, ours) in fields(entity, wanted) {
            if expected != ours {
                let reason = reason(
                    catalog,
                    wanted,
                    field,
                    &expected,
                    entity.device_class.as_deref(),
                )
                .filter(|_| field != "device_class" || fits(entity));
                findings.push(finding(field, &expected, &ours, reason));
            }
        }
    }
    findings
}

fn matches(entity: &Entity, wanted: &Expected) -> bool {
    if entity.platform.name() != wanted.platform {
        return false;
    }
    let glued = entity
        .part
        .as_ref()
        .map(|part| format!("{}{part}", entity.code));
    let joined = entity
        .part
        .as_ref()
        .map(|part| format!("{}_{part}", entity.code));
    wanted.code.is_empty()
        || entity.alias.as_deref() == Some(&wanted.code)
        || glued.as_deref() == Some(&wanted.code)
        || joined.as_deref() == Some(&wanted.code)
        || (entity.code == wanted.code
            && entity
                .part
                .as_deref()
                .is_none_or(|part| part == wanted.platform))
}

fn fields(entity: &Entity, wanted: &Expected) -> Vec<(&'static str, String, String)> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut fields = vec![
        (
            "device_class",
            text(&wanted.device_class),
            text(&entity.device_class),
        ),
        ("unit", text(&wanted.unit), text(&entity.unit)),
        (
            "state_class",
            text(&wanted.state_class),
            text(&entity.state_class),
        ),
    ];
    if entity.platform == Platform::Number {
        for (field, ours) in [
            ("min", entity.min),
            ("max", entity.max),
            ("step", entity.step),
        ] {
            let expected = wanted
                .capabilities
                .get(field)
                .and_then(|limit| number::parsed(&limit.to_string()));
            if let (Some(expected), Some(ours)) = (expected, ours) {
                fields.push((
                    field,
                    expected.normalize().to_string(),
                    ours.normalize().to_string(),
                ));
            }
        }
    }
    if entity.platform == Platform::Select
        && let Some(Json::Array(options)) = wanted.capabilities.get("options")
    {
        let expected: Vec<&str> = options.iter().filter_map(Json::as_str).collect();
        // Ours may have more: what a device reports beyond its declaration extends the options.
        let missing: Vec<&str> = expected
            .iter()
            .filter(|option| !entity.options.iter().any(|known| known == *option))
            .copied()
            .collect();
        fields.push(("options", missing.join(","), String::new()));
    }
    fields
}

fn reason(
    catalog: &Catalog,
    wanted: &Expected,
    field: &str,
    expected: &str,
    class: Option<&str>,
) -> Option<String> {
    let holds = |reason: &&crate::catalog::Reason| {
        reason.platform == wanted.platform
            && reason.field == field
            && reason.class.as_ref().is_none_or(|only| class == Some(only))
            && reason.expected.as_ref().is_none_or(|only| only == expected)
    };
    catalog
        .reasons()
        .iter()
        .find(holds)
        .map(|reason| reason.text.clone())
}

/// Tells whether class and unit are a pair that Home Assistant takes.
fn fits(entity: &Entity) -> bool {
    let class = entity.device_class.as_deref().unwrap_or_default();
    match &entity.unit {
        Some(unit) => units::unit_fits(class, unit),
        None => units::is_without_unit(class),
    }
}

/// A switch that cannot be switched is no switch.
fn writes_nothing(mapping: &Mapping, wanted: &Expected) -> Option<String> {
    let platform: Platform = wanted.platform.parse().ok()?;
    let point = mapping.points().get(&wanted.code)?;
    (!platform.only_reads() && !point.writable()).then(|| {
        format!(
            "the device takes no writes of `{}`; it is a reading here",
            wanted.code
        )
    })
}
