//! What Home Assistant sends, and what is written to the device.

#![expect(
    clippy::unwrap_used,
    reason = "what should be refused and is not has failed the test"
)]

mod support;

use hearthgate_homeassistant::{Catalog, Mapping, Overrides};
use serde_json::json;
use support::{GATEWAY, device, mapping, shown, with};

fn check(name: &str, key: &str, payload: &str, expected: &[&str]) {
    let device = device(name);
    let readings = mapping(&device).command(&device, key, payload);
    match readings {
        Ok(readings) => assert_eq!(shown(&readings), expected, "{name} {key} {payload}"),
        Err(error) => panic!("{name} {key} {payload}: {error}"),
    }
}

fn refused(name: &str, key: &str, payload: &str) -> String {
    let device = device(name);
    mapping(&device)
        .command(&device, key, payload)
        .unwrap_err()
        .to_string()
}

#[test]
fn plain_data_points_take_the_users_units() {
    check("plug", "switch_1", "OFF", &["switch_1=false"]);
    check("plug", "switch_1", "true", &["switch_1=true"]);
    check(
        "plug",
        "relay_status",
        "power_on",
        &["relay_status=\"power_on\""],
    );
    check(
        "plug",
        "relay_status",
        "\"power_on\"",
        &["relay_status=\"power_on\""],
    );
    check("thermostat", "temp_set", "21.5", &["temp_set=215"]);
    check("thermostat", "temp_set", "2.1e1", &["temp_set=210"]);
    check(
        "feeder",
        "meal_plan",
        "{\"a\":1}",
        &["meal_plan=\"{\\\"a\\\":1}\""],
    );
    check("nobody_knows", "blob", "AAECAw==", &["blob=\"AAECAw==\""]);
    check(
        "nobody_knows",
        "object",
        "{\"b\":[3]}",
        &["object={\"b\":[3]}"],
    );
    check("nobody_knows", "reset_all", "PRESS", &["reset_all=true"]);
    check(
        "siren",
        "alarm_switch",
        "{\"state\":\"ON\"}",
        &["alarm_switch=true"],
    );
}

#[test]
fn what_means_nothing_is_refused_with_what_would() {
    assert!(refused("thermostat", "temp_set", "21.55").contains("0.1"));
    assert!(refused("thermostat", "temp_set", "warm").contains("no number"));
    assert!(refused("thermostat", "temp_current", "3").contains("only reports"));
    assert!(refused("thermostat", "temp_sett", "3").contains("temp_set"));
    assert!(refused("nobody_knows", "blob", "%%%").contains("base64"));
    assert!(refused("bulb", "switch_led@light", "ON").contains("JSON"));
    assert!(
        refused(
            "bulb",
            "switch_led@light",
            "{\"state\":\"ON\",\"effect\":\"disco\"}"
        )
        .contains("scene")
    );
    assert!(refused("curtain", "control@tilt", "50").contains("tilt"));
    assert!(refused("curtain", "nothing@cover", "OPEN").contains("nothing"));
}

#[test]
fn a_light_is_one_write_of_all_that_was_asked() {
    check(
        "bulb",
        "switch_led@light",
        "{\"state\":\"OFF\"}",
        &["switch_led=false"],
    );
    check(
        "bulb",
        "switch_led@light",
        "{\"state\":\"ON\"}",
        &["switch_led=true"],
    );
    check(
        "bulb",
        "switch_led@light",
        "{\"state\":\"ON\",\"hue\":120,\"sat\":50,\"brightness\":255}",
        &[
            "switch_led=true",
            "work_mode=\"colour\"",
            "colour_data_v2={\"h\":120,\"s\":500,\"v\":1000}",
        ],
    );
    // A colour keeps the brightness that the light has.
    check(
        "bulb",
        "switch_led@light",
        "{\"state\":\"ON\",\"hue\":0,\"sat\":100}",
        &[
            "switch_led=true",
            "work_mode=\"colour\"",
            "colour_data_v2={\"h\":0,\"s\":1000,\"v\":500}",
        ],
    );
    // In colour mode the brightness is the colour's.
    check(
        "bulb",
        "switch_led@light",
        "{\"state\":\"ON\",\"brightness\":255}",
        &[
            "switch_led=true",
            "colour_data_v2={\"h\":210,\"s\":800,\"v\":1000}",
        ],
    );
    check(
        "bulb",
        "switch_led@light",
        "{\"state\":\"ON\",\"color_temp\":6500,\"brightness\":1}",
        &[
            "switch_led=true",
            "work_mode=\"white\"",
            "temp_value_v2=998",
            "bright_value_v2=10",
        ],
    );
    check(
        "bulb",
        "switch_led@light",
        "{\"state\":\"ON\",\"effect\":\"music\"}",
        &["switch_led=true", "work_mode=\"music\""],
    );
    // A device that keeps its colour in a string gets a string.
    check(
        "old_strip",
        "switch_led@light",
        "{\"state\":\"ON\",\"hue\":240,\"sat\":100,\"brightness\":128}",
        &[
            "switch_led=true",
            "work_mode=\"colour\"",
            "colour_data=\"{\\\"h\\\":240,\\\"s\\\":1000,\\\"v\\\":502}\"",
        ],
    );
}

#[test]
fn part_of_a_colour_is_completed() {
    check(
        "bulb",
        "colour_data_v2",
        "{\"h\":10}",
        &["colour_data_v2={\"h\":10,\"s\":800,\"v\":500}"],
    );
}

#[test]
fn covers_open_close_stop_and_go_somewhere() {
    check("curtain", "control@cover", "OPEN", &["control=\"open\""]);
    check("curtain", "control@cover", "STOP", &["control=\"stop\""]);
    check("curtain", "control@position", "100", &["percent_control=0"]);
    check("curtain", "control@position", "25", &["percent_control=75"]);
    check(
        "robot_curtain",
        "mach_operate@cover",
        "OPEN",
        &["mach_operate=\"FZ\""],
    );
    check(
        "robot_curtain",
        "mach_operate@cover",
        "CLOSE",
        &["mach_operate=\"ZZ\""],
    );
    check("garage", "switch_1@cover", "CLOSE", &["switch_1=false"]);
    assert!(refused("garage", "switch_1@cover", "STOP").contains("cannot"));
}

#[test]
fn climate_speaks_the_vendors_words() {
    check(
        "thermostat",
        "switch_climate@mode",
        "off",
        &["switch=false"],
    );
    // `manual` is heat_cool already: it stays.
    check(
        "thermostat",
        "switch_climate@mode",
        "heat_cool",
        &["switch=true"],
    );
    check(
        "thermostat",
        "switch_climate@target",
        "22.54",
        &["temp_set=225"],
    );
    check(
        "thermostat",
        "switch_climate@preset",
        "holiday",
        &["mode=\"holiday\""],
    );
    check(
        "air_conditioner",
        "switch_climate@mode",
        "dry",
        &["switch=true", "mode=\"wet\""],
    );
    check(
        "air_conditioner",
        "switch_climate@fan",
        "high",
        &["fan_speed_enum=\"high\""],
    );
    check(
        "air_conditioner",
        "switch_climate@swing",
        "both",
        &["switch_horizontal=true", "switch_vertical=true"],
    );
    check(
        "air_conditioner",
        "switch_climate@target",
        "25",
        &["temp_set=25"],
    );
    assert!(refused("thermostat", "switch_climate@mode", "cool").contains("cool"));
}

#[test]
fn a_thermostat_is_read_in_the_scale_that_it_is_set_to() {
    let celsius = device("air_conditioner");
    let mut mapping = mapping(&celsius);
    let fahrenheit = with(&celsius, &[("c_f", "\"f\"")]);
    let readings: Vec<_> = fahrenheit
        .points()
        .iter()
        .map(|point| {
            hearthgate_protocol::model::Reading::new(point.code.as_str(), point.value.clone())
        })
        .collect();
    assert!(mapping.observe(&readings));
    assert!(!mapping.observe(&readings));
    assert_eq!(
        mapping.state(&fahrenheit)["@"]["switch_climate"]["target"],
        json!(75)
    );
    assert_eq!(
        shown(
            &mapping
                .command(&fahrenheit, "switch_climate@target", "80")
                .unwrap()
        ),
        ["temp_set_f=80"]
    );
}

#[test]
fn fans_humidifiers_vacuums_alarms_locks() {
    check(
        "ceiling_fan",
        "fan_switch_fan@fan",
        "ON",
        &["fan_switch=true"],
    );
    check("ceiling_fan", "fan_switch_fan@speed", "6", &["fan_speed=6"]);
    check(
        "ceiling_fan",
        "fan_switch_fan@direction",
        "reverse",
        &["fan_direction=\"reverse\""],
    );
    check("purifier", "switch_fan@speed", "3", &["speed=\"high\""]);
    check(
        "purifier",
        "switch_fan@preset",
        "sleep",
        &["mode=\"sleep\""],
    );
    check("humidifier", "switch@target", "60", &["humidity_set=60"]);
    check(
        "vacuum",
        "power_go_vacuum@vacuum",
        "start",
        &["power_go=true"],
    );
    check(
        "vacuum",
        "power_go_vacuum@vacuum",
        "return_to_base",
        &["switch_charge=true", "mode=\"chargego\""],
    );
    check(
        "vacuum",
        "power_go_vacuum@suction",
        "strong",
        &["suction=\"strong\""],
    );
    check(
        "alarm",
        "master_mode@alarm",
        "ARM_AWAY",
        &["master_mode=\"arm\""],
    );
    check(
        "lock",
        "lock_motor_state@lock",
        "LOCK",
        &["manual_lock=true"],
    );
    check("valve", "switch", "OPEN", &["switch=true"]);
}

#[test]
fn an_object_is_all_or_nothing() {
    let device = device("thermostat");
    let mapping = mapping(&device);
    let object = json!({"switch": true, "temp_set": 20.5, "switch_climate@preset": "holiday"});
    let readings = mapping
        .command_object(&device, object.as_object().unwrap())
        .unwrap();
    assert_eq!(
        shown(&readings),
        ["switch=true", "mode=\"holiday\"", "temp_set=205"]
    );
    let object = json!({"switch": true, "temp_set": "warm"});
    assert!(
        mapping
            .command_object(&device, object.as_object().unwrap())
            .is_err()
    );
}

#[test]
fn overrides_change_values_both_ways() {
    let text = "[category.cz.switch_1]\ninvert = true\nname = \"Fountain\"\n\
                [category.cz.relay_status]\nlabels = { last = \"As before\" }\n\
                [category.cz.cur_power]\nscale = 2\nunit = \"kW\"\n\
                [category.cz.countdown_1]\nhide = true\n\
                [category.cz.child_lock]\nplatform = \"lock\"\n";
    let overrides = Overrides::parse(text, "overrides.toml").unwrap();
    let device = device("plug");
    let mapping = Mapping::new(Catalog::builtin(), &overrides, GATEWAY, &device);
    let state = mapping.state(&device);
    assert_eq!(
        (
            &state["switch_1"],
            &state["relay_status"],
            &state["cur_power"]
        ),
        (&json!(false), &json!("As before"), &json!(9.53))
    );
    assert_eq!(
        shown(&mapping.command(&device, "switch_1", "ON").unwrap()),
        ["switch_1=false"]
    );
    assert_eq!(
        shown(
            &mapping
                .command(&device, "relay_status", "As before")
                .unwrap()
        ),
        ["relay_status=\"last\""]
    );
    let entity = |code: &str| mapping.entities().iter().find(|entity| entity.code == code);
    assert_eq!(
        entity("switch_1").unwrap().name.as_deref(),
        Some("Fountain")
    );
    assert_eq!(entity("cur_power").unwrap().unit.as_deref(), Some("kW"));
    assert!(entity("countdown_1").is_none());
    assert_eq!(entity("child_lock").unwrap().platform.name(), "lock");
}
