//! Profiles of our own: their entities are those expected, their messages valid, a few to the byte.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

mod support;

use std::collections::BTreeSet;

use hearthgate_homeassistant::Catalog;
use hearthgate_homeassistant::check::{compare, parse_expected};
use support::{context, device, faults, folder, mapping};

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder().join("profiles"))
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .strip_suffix(".json")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

#[test]
fn entities_are_those_that_home_assistants_integration_makes() {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let home = parse_expected(&text).unwrap();
    assert_eq!(home.len(), names().len());
    let mut unexplained = Vec::new();
    for (file, expected) in &home {
        let device = device(file.strip_suffix(".json").unwrap());
        let findings = compare(Catalog::builtin(), &mapping(&device), expected);
        unexplained.extend(
            findings
                .into_iter()
                .filter(|finding| finding.reason.is_none()),
        );
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

#[test]
fn a_wrong_entity_is_found() {
    let expected = r#"{"plug.json":[
        {"code":"switch_1","platform":"switch","device_class":"switch"},
        {"code":"cur_power","platform":"sensor","device_class":"power","unit":"kW","state_class":"measurement"},
        {"code":"switch_9","platform":"switch"},
        {"code":"relay_status","platform":"select","capabilities":{"options":["on"]}}]}"#;
    let home = parse_expected(expected).unwrap();
    let device = device("plug");
    let findings = compare(Catalog::builtin(), &mapping(&device), &home["plug.json"]);
    let found: Vec<(&str, &str)> = findings
        .iter()
        .map(|finding| (finding.code.as_str(), finding.field.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("switch_1", "device_class"),
            ("cur_power", "unit"),
            ("switch_9", "missing"),
            ("relay_status", "options")
        ]
    );
    assert!(findings.iter().all(|finding| finding.reason.is_none()));
}

#[test]
fn every_message_is_valid_and_names_every_data_point() {
    for name in names() {
        let device = device(&name);
        let mapping = mapping(&device);
        let message = mapping.discovery(&context(device.id().as_str()));
        assert_eq!(faults(&message), Vec::<String>::new(), "{name}");
        let mains: BTreeSet<&str> = mapping
            .entities()
            .iter()
            .map(|entity| entity.code.as_str())
            .collect();
        for point in device
            .schema()
            .statuses()
            .iter()
            .chain(device.schema().functions())
        {
            assert!(
                mains.contains(point.code().as_str()),
                "{name}: no component of {}",
                point.code()
            );
        }
        assert_eq!(
            message["components"].as_object().unwrap().len(),
            mapping.entities().len(),
            "{name}"
        );
    }
}

#[test]
fn the_first_thing_of_a_device_bears_its_name() {
    for (name, main) in [
        ("plug", "switch_1"),
        ("bulb", "switch_led"),
        ("curtain", "control"),
        ("thermostat", "switch_climate"),
        ("lock", "lock_motor_state"),
    ] {
        let device = device(name);
        let unnamed: Vec<String> = mapping(&device)
            .entities()
            .iter()
            .filter(|entity| entity.name.is_none())
            .map(|entity| entity.key.clone())
            .collect();
        assert_eq!(unnamed, [main], "{name}");
    }
    let device = device("wall_switch");
    let mapping = mapping(&device);
    let name = |key: &str| {
        mapping
            .entities()
            .iter()
            .find(|entity| entity.key == key)
            .unwrap()
            .name
            .clone()
    };
    assert_eq!(name("switch_1").as_deref(), Some("Switch 1"));
}

#[test]
fn names_come_from_category_and_id() {
    let device = device("plug");
    let mapping = mapping(&device);
    assert_eq!(
        (mapping.default_name().as_str(), mapping.model().as_str()),
        ("Socket dd01", "Socket")
    );
    assert_eq!(
        mapping.identifier(),
        "hearthgate_6c1f77a3e2b04c59_6c0011aa22bb33cc44dd01"
    );
    assert_eq!(mapping.object_id(), mapping.identifier());
}

#[test]
fn messages_are_these() {
    for name in [
        "plug",
        "bulb",
        "curtain",
        "thermostat",
        "meter",
        "nobody_knows",
    ] {
        let device = device(name);
        let mapping = mapping(&device);
        let message = mapping.discovery(&context(device.id().as_str()));
        insta::assert_snapshot!(
            format!("{name}_discovery"),
            serde_json::to_string_pretty(&message).unwrap()
        );
        insta::assert_snapshot!(
            format!("{name}_state"),
            serde_json::to_string_pretty(&mapping.state(&device)).unwrap()
        );
    }
}
