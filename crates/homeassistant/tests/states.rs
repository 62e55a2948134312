//! What the state object says, what is learned on the way, and momentary events.

mod support;

use hearthgate_protocol::model::{Reading, Value};
use serde_json::{Value as Json, json};
use support::{context, device, faults, mapping, with};

fn derived(name: &str, values: &[(&str, &str)], key: &str) -> Json {
    let device = with(&device(name), values);
    let state = Json::Object(mapping(&device).state(&device));
    state
        .pointer(&format!("/@/{key}"))
        .cloned()
        .unwrap_or_default()
}

#[test]
fn values_are_in_the_users_units() {
    let device = device("plug");
    let state = mapping(&device).state(&device);
    for (code, expected) in [
        ("cur_current", json!(0.417)),
        ("cur_power", json!(95.3)),
        ("cur_voltage", json!(230.4)),
        ("switch_1", json!(true)),
        ("relay_status", json!("last")),
        ("fault", json!(2)),
    ] {
        assert_eq!(state[code], expected, "{code}");
    }
    assert_eq!(state["@"]["last_seen"], json!("2025-11-25T14:59:59.123Z"));
}

#[test]
fn what_is_unknown_is_null_and_there() {
    let device = device("curtain");
    assert_eq!(
        mapping(&device).state(&device).get("situation_set"),
        Some(&Json::Null)
    );
}

#[test]
fn lights_show_colour_or_temperature() {
    let colour = derived("bulb", &[], "switch_led");
    assert_eq!(
        colour,
        json!({"state": "on", "brightness": 128, "hue": 210.0, "sat": 80.0, "red": 51, "green": 153, "blue": 255, "effect": "off"})
    );
    let white = derived(
        "bulb",
        &[("work_mode", "\"white\""), ("temp_value_v2", "1000")],
        "switch_led",
    );
    assert_eq!(white["color_temp"], json!(6536));
    assert_eq!(white.get("red"), None);
    let scene = derived("bulb", &[("work_mode", "\"scene\"")], "switch_led");
    assert_eq!(scene["effect"], json!("scene"));
}

#[test]
fn covers_know_where_they_are() {
    assert_eq!(
        derived("curtain", &[], "control"),
        json!({"state": "open", "position": 70})
    );
    assert_eq!(
        derived("curtain", &[("percent_state", "100")], "control"),
        json!({"state": "closed", "position": 0})
    );
    assert_eq!(
        derived(
            "curtain",
            &[("situation_set", "\"fully_close\"")],
            "control"
        )["state"],
        json!("closed")
    );
    assert_eq!(derived("garage", &[], "switch_1"), json!({"state": "open"}));
    assert_eq!(
        derived("garage", &[("doorcontact_state", "false")], "switch_1"),
        json!({"state": "closed"})
    );
}

#[test]
fn climate_vacuum_alarm_fan_meter() {
    assert_eq!(
        derived("thermostat", &[], "switch_climate"),
        json!({"mode": "heat_cool", "target": 21.5, "current": 19.8, "action": "heating"})
    );
    assert_eq!(
        derived("thermostat", &[("switch", "false")], "switch_climate")["mode"],
        json!("off")
    );
    assert_eq!(
        derived("thermostat", &[("mode", "\"holiday\"")], "switch_climate")["preset"],
        json!("holiday")
    );
    assert_eq!(
        derived("air_conditioner", &[], "switch_climate")["swing"],
        json!("vertical")
    );
    let robot = device("vacuum");
    let state = mapping(&robot).state(&robot);
    assert_eq!(
        (&state["state"], &state["fan_speed"]),
        (&json!("cleaning"), &json!("normal"))
    );
    assert_eq!(
        derived("alarm", &[], "master_mode"),
        json!({"state": "armed_home"})
    );
    assert_eq!(
        derived("purifier", &[], "switch_fan"),
        json!({"state": "ON", "preset": "auto", "speed": 2})
    );
    assert_eq!(
        derived("meter", &[], "phase_a_voltage"),
        json!({"value": 234.9})
    );
    assert_eq!(
        derived("meter", &[], "phase_b_electriccurrent"),
        json!({"value": 0.552})
    );
}

#[test]
fn a_word_beyond_the_declaration_extends_the_options() {
    let plug = device("plug");
    let mut mapping = mapping(&plug);
    let news = [Reading::new("relay_status", Value::from("memory"))];
    assert!(mapping.observe(&news));
    assert!(!mapping.observe(&news));
    let options = &mapping
        .entities()
        .iter()
        .find(|entity| entity.code == "relay_status")
        .unwrap()
        .options;
    assert_eq!(options, &["power_off", "power_on", "last", "memory"]);
}

#[test]
fn a_number_beyond_its_limits_widens_them() {
    let feeder = device("feeder");
    let mut mapping = mapping(&feeder);
    assert!(!mapping.observe(&[Reading::new("manual_feed", Value::from(12))]));
    assert!(mapping.observe(&[Reading::new("manual_feed", Value::from(20))]));
    let entity = mapping
        .entities()
        .iter()
        .find(|entity| entity.code == "manual_feed")
        .unwrap();
    assert_eq!(entity.max.unwrap().to_string(), "20");
}

#[test]
fn a_code_that_nobody_declared_becomes_an_entity() {
    let plug = device("plug");
    let mut mapping = mapping(&plug);
    assert!(mapping.observe(&[Reading::new("mystery", Value::from(7))]));
    let entity = mapping
        .entities()
        .iter()
        .find(|entity| entity.code == "mystery")
        .unwrap();
    assert!(!entity.enabled);
    assert_eq!(
        faults(&mapping.discovery(&context("x"))),
        Vec::<String>::new()
    );
}

#[test]
fn a_text_that_no_state_holds_becomes_its_length() {
    let thing = device("nobody_knows");
    let mut mapping = mapping(&thing);
    let platform = |mapping: &hearthgate_homeassistant::Mapping| {
        mapping
            .entities()
            .iter()
            .find(|entity| entity.code == "text_rw")
            .unwrap()
            .platform
            .name()
    };
    assert_eq!(platform(&mapping), "text");
    assert!(mapping.observe(&[Reading::new(
        "text_rw",
        Value::from("x".repeat(300).as_str())
    )]));
    assert_eq!(platform(&mapping), "sensor");
    // It is written all the same.
    assert!(mapping.command(&thing, "text_rw", "short").is_ok());
}

#[test]
fn a_second_identical_press_is_a_second_event() {
    let remote = device("remote");
    let mapping = mapping(&remote);
    let press = Reading::new("switch_mode1", Value::from("click"));
    let events = mapping.events(&[
        press.clone(),
        press,
        Reading::new("battery_percentage", Value::from(99)),
    ]);
    assert_eq!(events.len(), 2);
    assert_eq!(
        Json::Object(events[0].payload.clone()),
        json!({"code": "switch_mode1", "event_type": "click", "value": "click"})
    );
    let message = mapping.discovery(&context("x"));
    assert_eq!(
        message["components"]["switch_mode1"]["event_types"],
        json!(["click", "double_click", "press"])
    );
}

#[test]
fn a_flag_is_a_problem_of_its_own() {
    let plug = device("plug");
    let message = mapping(&plug).discovery(&context("x"));
    let flag = &message["components"]["fault_ov_vol"];
    assert_eq!(
        (&flag["platform"], &flag["device_class"]),
        (&json!("binary_sensor"), &json!("problem"))
    );
    assert!(
        flag["value_template"]
            .as_str()
            .unwrap()
            .contains("bitwise_and(2)")
    );
}

#[test]
fn a_code_that_begins_with_our_key_does_not_clash() {
    let plug = with(&device("plug"), &[("@", "1"), ("@x", "2")]);
    let state = mapping(&plug).state(&plug);
    assert_eq!((&state["@@"], &state["@@x"]), (&json!(1), &json!(2)));
    assert!(state["@"].is_object());
}
