//! Whatever a device declares and reports: every data point has a component, ids are unique, the
//! message is valid, values go out and come back exactly.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use hearthgate_homeassistant::Catalog;
use hearthgate_protocol::model::{DataPoint, Device, Reading, Schema, Value};
use proptest::prelude::*;
use support::{STAMP, context, faults, mapping};

/// Codes that rules know, parts that could collide with them, and anything.
fn code() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "switch", "switch_1", "switch_led", "bright_value", "bright_value_v2", "temp_value", "colour_data",
            "colour_data_v2", "work_mode", "control", "percent_control", "percent_state", "mode", "temp_set",
            "temp_set_f", "temp_current", "fan_speed", "fan_direction", "phase_a", "phase_a_power", "phase_a_voltage",
            "fault", "fault_e1", "battery_percentage", "va_temperature", "cur_power", "status", "power_go", "suction",
            "master_mode", "last_seen", "state", "humidity_set", "switch_mode1", "alarm_message", "fan_speed_enum",
            "doorcontact_state", "position", "mach_operate", "countdown_1", "switch_climate", "switch_fan",
        ]).prop_map(str::to_owned),
        1 => "[a-z_@/+#%{}\"' ℃]{0,12}",
    ]
}

fn declaration() -> impl Strategy<Value = (String, String)> {
    let integer = (-1000i64..1000, -1000i64..100_000, 0u32..4, 0i64..20, prop::sample::select(vec!["", "℃", "摄氏度", "%", "W", "mA", "kW·h", "odd"]))
        .prop_map(|(min, max, scale, step, unit)| {
            let values = format!("{{\"min\":{min},\"max\":{max},\"scale\":{scale},\"step\":{step},\"unit\":\"{unit}\"}}");
            ("Integer".to_owned(), values)
        });
    let words = prop::collection::vec(
        "[a-z]{0,5}|open|close|stop|white|colour|auto|none|off",
        0..5,
    );
    prop_oneof![
        Just(("Boolean".to_owned(), "{}".to_owned())),
        integer,
        words.clone().prop_map(|words| (
            "Enum".to_owned(),
            serde_json::json!({"range": words}).to_string()
        )),
        words.prop_map(|words| (
            "Bitmap".to_owned(),
            serde_json::json!({"label": words}).to_string()
        )),
        (0usize..2000).prop_map(|most| ("String".to_owned(), format!("{{\"maxlen\":{most}}}"))),
        Just(("Json".to_owned(), "{}".to_owned())),
        Just(("Raw".to_owned(), "{}".to_owned())),
        Just(("Bitmap".to_owned(), "{\"maxlen\":3}".to_owned())),
        Just(("Strange".to_owned(), "not json".to_owned())),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_owned()),
        (-2000i64..200_000).prop_map(|number| number.to_string()),
        "[a-z]{0,6}|open|white|auto".prop_map(|word| format!("\"{word}\"")),
        Just("\"CS0AE4gABH4A\"".to_owned()),
        Just("{\"h\":10,\"s\":20,\"v\":30}".to_owned()),
        Just("1.5".to_owned()),
        Just("null".to_owned()),
        Just(format!("\"{}\"", "x".repeat(300))),
    ]
}

type Declared = (String, (String, String), u8, Option<String>);

fn any_device() -> impl Strategy<Value = Device> {
    let mut categories: Vec<String> = Catalog::builtin()
        .categories()
        .map(|(code, _)| code.to_owned())
        .collect();
    categories.push("nobody".to_owned());
    let point = (code(), declaration(), 1u8..4, prop::option::of(value()));
    (
        prop::sample::select(categories),
        prop::collection::vec(point, 0..14),
    )
        .prop_map(|(category, points)| made(&category, points))
}

fn made(category: &str, points: Vec<Declared>) -> Device {
    let mut seen = BTreeSet::new();
    let (mut function, mut status, mut readings) = (Vec::new(), Vec::new(), Vec::new());
    for (code, (kind, values), mode, value) in points {
        if !seen.insert(code.clone()) {
            continue;
        }
        let point = DataPoint::new(code.as_str(), &kind, Value::from(values.as_str()));
        if mode & 1 != 0 {
            status.push(point.clone());
        }
        if mode & 2 != 0 {
            function.push(point);
        }
        if let Some(value) = value {
            readings.push(Reading::new(code.as_str(), Value::parse(&value).unwrap()));
        }
    }
    let schema = Arc::new(Schema::new(category, function, status));
    Device::new("bf00aa11".into(), schema, true, readings, STAMP)
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn every_data_point_has_a_component_and_the_message_is_valid(device in any_device()) {
        let mapping = mapping(&device);
        let message = mapping.discovery(&context("bf00aa11"));
        prop_assert_eq!(faults(&message), Vec::<String>::new());
        let mains: BTreeSet<&str> = mapping.entities().iter().map(|entity| entity.code.as_str()).collect();
        let declared = device.schema().statuses().iter().chain(device.schema().functions()).map(|point| point.code().as_str());
        for code in declared.chain(device.points().iter().map(|point| point.code.as_str())) {
            prop_assert!(mains.contains(code), "no component of {}", code);
        }
        prop_assert_eq!(message["components"].as_object().unwrap().len(), mapping.entities().len());
    }

    #[test]
    fn the_state_is_whole_and_what_it_says_can_be_written_back(device in any_device()) {
        let mapping = mapping(&device);
        let state = mapping.state(&device);
        for point in device.points() {
            let code = point.code.as_str();
            let key = if code.starts_with('@') { format!("@{code}") } else { code.to_owned() };
            let Some(user) = state.get(&key) else {
                prop_assert!(false, "{} is not in the state", code);
                continue;
            };
            // What fits its declaration goes out and comes back as it was.
            let fits = hearthgate_protocol::model::check_write(device.schema(), code, &point.value, false).is_ok();
            let typed = !matches!(device.schema().function(code).map(|point| point.type_name()), Some("Strange"));
            let alike = device.schema().function(code) == device.schema().status(code) || device.schema().status(code).is_none();
            if fits && typed && alike {
                let object = serde_json::Map::from_iter([(code.to_owned(), user.clone())]);
                let written = mapping.command_object(&device, &object);
                prop_assert!(written.is_ok(), "{}: {:?}", code, written);
                let written = written.unwrap();
                let same = |a: &Value, b: &Value| {
                    serde_json::from_str::<serde_json::Value>(&a.json()).ok() == serde_json::from_str(&b.json()).ok()
                };
                prop_assert!(same(&written[0].value, &point.value), "{}: {} is not {}", code, written[0].value, point.value);
            }
        }
    }

    #[test]
    fn what_was_observed_is_announced_once(device in any_device(), values in prop::collection::vec((code(), value()), 0..6)) {
        let mut mapping = mapping(&device);
        let readings: Vec<Reading> = values
            .iter()
            .map(|(code, value)| Reading::new(code.as_str(), Value::parse(value).unwrap()))
            .collect();
        let before = mapping.discovery(&context("bf00aa11"));
        let news = mapping.observe(&readings);
        let after = mapping.discovery(&context("bf00aa11"));
        prop_assert_eq!(faults(&after), Vec::<String>::new());
        if !news {
            prop_assert_eq!(before, after);
        }
        let _ = mapping.events(&readings);
    }
}
