//! Devices and topics for the tests, and a model of what Home Assistant takes.

#![expect(dead_code, reason = "every test file uses some of it")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hearthgate_homeassistant::{Catalog, DiscoveryContext, Mapping, Origin, Overrides, Topics};
use hearthgate_protocol::model::{Device, Reading, Source, Stamp, Timestamp, Value};
use hearthgate_protocol::wire::Profile;
use serde_json::Value as Json;

pub(crate) const GATEWAY: &str = "6c1f77a3e2b04c59";

pub(crate) const STAMP: Stamp = Stamp {
    at: Timestamp(1_764_082_799_123),
    source: Source::Event,
};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Reads one of the profiles in `tests/profiles`.
pub(crate) fn device(name: &str) -> Device {
    let path = folder().join("profiles").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    let profile = Profile::parse(&text).unwrap();
    Device::new(
        profile.device,
        profile.schema,
        profile.online,
        profile.readings,
        STAMP,
    )
}

pub(crate) fn mapping(device: &Device) -> Mapping {
    Mapping::new(Catalog::builtin(), &Overrides::default(), GATEWAY, device)
}

pub(crate) fn context(id: &str) -> DiscoveryContext {
    let base = format!("hearthgate/{GATEWAY}/{id}");
    DiscoveryContext {
        topics: Topics {
            state: format!("{base}/state"),
            set: format!("{base}/set"),
            event: format!("{base}/event"),
            availability: vec![
                "hearthgate/bridge/state".to_owned(),
                format!("{base}/availability"),
            ],
        },
        name: Some("The device".to_owned()),
        via_device: Some(format!("hearthgate_{GATEWAY}")),
        configuration_url: None,
        origin: Origin {
            name: "Hearthgate".to_owned(),
            version: "0".to_owned(),
            url: None,
        },
    }
}

/// Returns the device with other values, the rest as it was.
pub(crate) fn with(device: &Device, values: &[(&str, &str)]) -> Device {
    let mut readings: Vec<Reading> = device
        .points()
        .iter()
        .filter(|point| values.iter().all(|(code, _)| *code != point.code.as_str()))
        .map(|point| Reading::new(point.code.as_str(), point.value.clone()))
        .collect();
    readings.extend(
        values
            .iter()
            .map(|(code, json)| Reading::new(*code, Value::parse(json).unwrap())),
    );
    Device::new(
        device.id().clone(),
        device.schema().clone(),
        device.online(),
        readings,
        STAMP,
    )
}

/// Returns readings as `code=json`, for comparison.
pub(crate) fn shown(readings: &[Reading]) -> Vec<String> {
    readings
        .iter()
        .map(|reading| format!("{}={}", reading.code, reading.value))
        .collect()
}

/// What each platform must say, and which topics it may name; after Home Assistant's MQTT schemas.
const REQUIRED: &[(&str, &[&str])] = &[
    ("alarm_control_panel", &["command_topic", "state_topic"]),
    ("binary_sensor", &["state_topic", "value_template"]),
    ("button", &["command_topic"]),
    ("climate", &["modes", "mode_command_topic"]),
    ("cover", &["command_topic"]),
    ("event", &["state_topic", "event_types"]),
    ("fan", &["command_topic"]),
    (
        "humidifier",
        &["command_topic", "target_humidity_command_topic"],
    ),
    (
        "light",
        &[
            "command_topic",
            "schema",
            "command_on_template",
            "command_off_template",
        ],
    ),
    ("lock", &["command_topic"]),
    ("number", &["command_topic", "min", "max", "step"]),
    ("select", &["command_topic", "options"]),
    ("sensor", &["state_topic", "value_template"]),
    ("siren", &["command_topic"]),
    ("switch", &["command_topic"]),
    ("text", &["command_topic"]),
    ("vacuum", &["command_topic", "state_topic"]),
    ("valve", &["command_topic"]),
];

/// Finds what Home Assistant would refuse or warn of in a discovery message.
pub(crate) fn faults(message: &Json) -> Vec<String> {
    let mut faults = Vec::new();
    for key in ["device", "origin", "availability", "components"] {
        if message.get(key).is_none() {
            faults.push(format!("no {key}"));
        }
    }
    if message["availability_mode"] != "all" {
        faults.push("availability_mode is not all".to_owned());
    }
    let empty = serde_json::Map::new();
    let components = message["components"].as_object().unwrap_or(&empty);
    let mut ids = BTreeSet::new();
    let mut unnamed = BTreeSet::new();
    for (key, component) in components {
        let mut fault = |problem: String| faults.push(format!("{key}: {problem}"));
        let text = |field: &str| component.get(field).and_then(Json::as_str);
        let platform = text("platform").unwrap_or_default();
        match REQUIRED.iter().find(|(known, _)| *known == platform) {
            None => fault(format!("no platform `{platform}`")),
            Some((_, required)) => {
                for field in *required {
                    if component.get(field).is_none() {
                        fault(format!("{platform} without {field}"));
                    }
                }
            }
        }
        if !ids.insert(text("unique_id").unwrap_or_default()) {
            fault("its unique id is another's".to_owned());
        }
        match component.get("name") {
            Some(Json::Null) if !unnamed.insert(platform) => {
                fault("a second one bears the device's name".to_owned());
            }
            Some(Json::Null) => {}
            Some(Json::String(name)) if !name.trim().is_empty() => {}
            _ => fault("no name".to_owned()),
        }
        let reads = ["sensor", "binary_sensor", "event"].contains(&platform);
        if reads && text("entity_category") == Some("config") {
            fault("what only reads is no config".to_owned());
        }
        for (field, value) in component.as_object().unwrap_or(&empty) {
            if field.ends_with("_topic") {
                let topic = value.as_str().unwrap_or_default();
                if topic.is_empty() || topic.contains(['+', '#', '\0']) {
                    fault(format!("{field} is no topic"));
                }
            }
        }
        class_faults(component, platform, &mut fault);
        if platform == "number" {
            let number = |field: &str| {
                component[field]
                    .to_string()
                    .trim_matches('"')
                    .parse::<f64>()
                    .unwrap_or(f64::NAN)
            };
            if !(number("min") < number("max") && number("step") >= 0.001) {
                fault("min, max and step are none".to_owned());
            }
        }
        for list in [
            "options",
            "modes",
            "event_types",
            "preset_modes",
            "fan_modes",
            "swing_modes",
            "effect_list",
        ] {
            let Some(items) = component.get(list).and_then(Json::as_array) else {
                continue;
            };
            let unique: BTreeSet<String> = items.iter().map(ToString::to_string).collect();
            if items.is_empty() || unique.len() != items.len() {
                fault(format!("{list} is empty or names one twice"));
            }
        }
    }
    faults
}

/// Which units go with which class, and which state classes; what is not here has neither.
const CLASSES: &[(&str, &[&str], &[&str])] = &[
    ("aqi", &[], &["measurement"]),
    ("battery", &["%"], &["measurement"]),
    ("carbon_dioxide", &["ppm"], &["measurement"]),
    ("carbon_monoxide", &["ppm"], &["measurement"]),
    (
        "conductivity",
        &["µS/cm", "mS/cm", "S/cm"],
        &["measurement"],
    ),
    ("current", &["A", "mA"], &["measurement"]),
    (
        "distance",
        &["mm", "cm", "m", "km", "in", "ft"],
        &["measurement", "total", "total_increasing"],
    ),
    (
        "duration",
        &["ms", "s", "min", "h", "d"],
        &["measurement", "total", "total_increasing"],
    ),
    (
        "energy",
        &["Wh", "kWh", "MWh"],
        &["total", "total_increasing"],
    ),
    ("energy_storage", &["Wh", "kWh", "MWh"], &["measurement"]),
    ("frequency", &["Hz"], &["measurement"]),
    ("humidity", &["%"], &["measurement"]),
    ("illuminance", &["lx"], &["measurement"]),
    ("moisture", &["%"], &["measurement"]),
    ("pm1", &["µg/m³"], &["measurement"]),
    ("pm10", &["µg/m³"], &["measurement"]),
    ("pm25", &["µg/m³"], &["measurement"]),
    ("power", &["mW", "W", "kW", "MW"], &["measurement"]),
    (
        "pressure",
        &["Pa", "hPa", "kPa", "mbar", "bar", "psi", "inHg", "mmHg"],
        &["measurement"],
    ),
    ("signal_strength", &["dB", "dBm"], &["measurement"]),
    ("temperature", &["°C", "°F", "K"], &["measurement"]),
    ("volatile_organic_compounds", &["µg/m³"], &["measurement"]),
    ("voltage", &["V", "mV"], &["measurement"]),
    (
        "volume",
        &["mL", "L", "m³", "ft³", "gal"],
        &["total", "total_increasing"],
    ),
    (
        "water",
        &["L", "m³", "ft³", "gal"],
        &["total", "total_increasing"],
    ),
    (
        "weight",
        &["mg", "g", "kg", "lb"],
        &["measurement", "total", "total_increasing"],
    ),
];

fn class_faults(component: &Json, platform: &str, fault: &mut impl FnMut(String)) {
    let text = |field: &str| component.get(field).and_then(Json::as_str);
    if !["sensor", "number"].contains(&platform) {
        for field in ["unit_of_measurement", "state_class"] {
            if text(field).is_some() {
                fault(format!("a {platform} has no {field}"));
            }
        }
        return;
    }
    let (class, unit, state) = (
        text("device_class"),
        text("unit_of_measurement"),
        text("state_class"),
    );
    match class {
        None => {}
        Some("enum") if unit.is_none() && state.is_none() && component.get("options").is_some() => {
        }
        Some("timestamp") if unit.is_none() && state.is_none() => {}
        Some(class) => match CLASSES.iter().find(|(known, ..)| *known == class) {
            None => fault(format!("class {class} is unknown to this model")),
            Some((_, units, states)) => {
                if unit.map_or(!units.is_empty(), |unit| !units.contains(&unit)) {
                    fault(format!("unit {unit:?} does not go with {class}"));
                }
                if state.is_some_and(|state| !states.contains(&state)) {
                    fault(format!("state class {state:?} does not go with {class}"));
                }
            }
        },
    }
}
