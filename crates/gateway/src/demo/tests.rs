//! The simulated home as a whole: what it consists of, that it lives, and that it keeps its schemas.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use hearthgate_protocol::model::{DeviceId, Schema, Spec, Value, check_write};

use super::power::base64;
use super::*;

/// A home with a mirror of what it reported.
struct Watched {
    home: DemoHome,
    schemas: BTreeMap<DeviceId, Arc<Schema>>,
    mirror: BTreeMap<(DeviceId, String), Value>,
    offline: BTreeSet<DeviceId>,
}

impl Watched {
    fn new(seed: u64) -> Self {
        let home = DemoHome::new(seed);
        let mut schemas = BTreeMap::new();
        let mut mirror = BTreeMap::new();
        for profile in home.profiles() {
            for Reading { code, value } in profile.readings {
                mirror.insert((profile.device.clone(), code.to_string()), value);
            }
            schemas.insert(profile.device, profile.schema);
        }
        Self {
            home,
            schemas,
            mirror,
            offline: BTreeSet::new(),
        }
    }

    /// A home in which no device drops off.
    fn steady(seed: u64) -> Self {
        let mut watched = Self::new(seed);
        watched.home.outage.pause = Timer::idle();
        watched
    }

    fn tick(&mut self, ms: u64) -> Vec<Change> {
        let changes = self.home.tick(Duration::from_millis(ms));
        self.take(&changes);
        changes
    }

    fn write(&mut self, device: &str, code: &str, value: impl Into<Value>) -> Vec<Change> {
        let reading = Reading::new(code, value.into());
        let schema = &self.schemas[&DeviceId::from(device)];
        check_write(schema, code, &reading.value, true).unwrap();
        let changes = self.home.write(device, &[reading]);
        self.take(&changes);
        changes
    }

    fn value(&self, device: &str, code: &str) -> &Value {
        &self.mirror[&(DeviceId::from(device), code.to_owned())]
    }

    fn number(&self, device: &str, code: &str) -> i64 {
        self.value(device, code).as_i64().unwrap()
    }

    fn word(&self, device: &str, code: &str) -> String {
        self.value(device, code).as_string().unwrap().into_owned()
    }

    fn flag(&self, device: &str, code: &str) -> bool {
        self.value(device, code).as_bool().unwrap()
    }

    /// Takes reports over and checks that each is one that such a device may make.
    fn take(&mut self, changes: &[Change]) {
        for change in changes {
            let (device, readings) = match change {
                Change::State { device, readings } => {
                    assert!(!self.offline.contains(device), "{device} is out of reach");
                    assert!(!readings.is_empty());
                    (device, readings)
                }
                Change::Online {
                    device,
                    online,
                    readings,
                } => {
                    assert_eq!(self.offline.contains(device), *online);
                    if *online {
                        self.offline.remove(device);
                        let all = self.schemas[device].statuses().len();
                        assert_eq!(readings.len(), all, "all values come along");
                    } else {
                        self.offline.insert(device.clone());
                    }
                    (device, readings)
                }
                other => panic!("{other:?}"),
            };
            for Reading { code, value } in readings {
                check_report(device, &self.schemas[device], code.as_str(), value);
                self.mirror
                    .insert((device.clone(), code.to_string()), value.clone());
            }
        }
    }
}

/// Checks a report as strictly as a write: against `status`, which then stands for `function`.
fn check_report(device: &DeviceId, schema: &Schema, code: &str, value: &Value) {
    let declared = Schema::new("", schema.statuses().to_vec(), Vec::new());
    if let Err(refusal) = check_write(&declared, code, value, true) {
        panic!("{device}: {refusal}");
    }
}

/// Returns the values at the limits of a data point.
fn limits(spec: &Spec) -> Vec<Value> {
    let text = |text: String| Value::from(text.as_str());
    match spec {
        Spec::Boolean => vec![true.into(), false.into()],
        Spec::Integer(spec) => [spec.min, spec.max]
            .map(|limit| Value::parse(&limit.unwrap().to_string()).unwrap())
            .to_vec(),
        Spec::Enum { range } => range.iter().map(|word| Value::from(&**word)).collect(),
        Spec::String { maxlen } => vec![text(String::new()), text("x".repeat(maxlen.unwrap()))],
        Spec::Json => vec![Value::parse("{\"h\":0,\"s\":1000,\"v\":1000}").unwrap()],
        Spec::Raw { maxlen } => vec![text(String::new()), text(base64(&vec![7; maxlen.unwrap()]))],
        Spec::Bitmap { bits, .. } => vec![0.into(), ((1i64 << bits.unwrap()) - 1).into()],
        Spec::Unknown => panic!("all types are known here"),
    }
}

#[test]
fn the_home_is_furnished() {
    let profiles = DemoHome::new(1).profiles();
    let devices: BTreeSet<_> = profiles.iter().map(|profile| &profile.device).collect();
    let names: BTreeSet<_> = profiles.iter().map(|profile| &profile.name).collect();
    let categories: BTreeSet<_> = profiles
        .iter()
        .map(|profile| profile.schema.category())
        .collect();
    assert!(devices.len() >= 16 && devices.len() == profiles.len());
    assert_eq!(names.len(), profiles.len());
    assert!(!names.contains(&None));
    assert!(categories.len() >= 13, "{categories:?}");
    assert!(profiles.iter().all(|profile| profile.online));
}

#[test]
fn all_types_and_both_one_sided_kinds_of_codes_are_present() {
    let profiles = DemoHome::new(1).profiles();
    let schemas = || profiles.iter().map(|profile| &*profile.schema);
    let types: BTreeSet<_> = schemas()
        .flat_map(|schema| schema.functions().iter().chain(schema.statuses()))
        .map(|point| point.type_name())
        .collect();
    let all = [
        "Bitmap", "Boolean", "Enum", "Integer", "Json", "Raw", "String",
    ];
    assert_eq!(types, BTreeSet::from(all));
    let scaled = |schema: &Schema| {
        schema.statuses().iter().any(
            |point| matches!(point.spec(), Spec::Integer(spec) if spec.scale > 0 && !spec.unit.is_empty()),
        )
    };
    assert!(schemas().any(scaled));
    let write_only = |schema: &Schema| {
        let mut points = schema.functions().iter();
        points.any(|point| schema.status(point.code().as_str()).is_none())
    };
    assert!(schemas().any(write_only));
    let only_reports = |schema: &Schema| {
        let mut points = schema.statuses().iter();
        points.any(|point| schema.function(point.code().as_str()).is_none())
    };
    assert!(schemas().any(only_reports));
}

#[test]
fn each_device_starts_with_all_its_values_and_all_of_them_fit() {
    for profile in DemoHome::new(1).profiles() {
        let reported: Vec<_> = profile.readings.iter().map(|r| r.code.as_str()).collect();
        let statuses = profile.schema.statuses().iter();
        let declared: Vec<_> = statuses.map(|point| point.code().as_str()).collect();
        assert_eq!(reported, declared, "{}", profile.device);
        for Reading { code, value } in &profile.readings {
            check_report(&profile.device, &profile.schema, code.as_str(), value);
        }
    }
}

#[test]
fn two_hours_stay_within_the_schemas_at_a_readable_rate() {
    for seed in [0, 1, 7, 42, u64::MAX] {
        let mut watched = Watched::new(seed);
        for minute in 0..120 {
            let events = watched.tick(60_000).len();
            assert!(
                (120..=360).contains(&events),
                "{events} events in minute {minute}, seed {seed}"
            );
        }
    }
}

#[test]
fn every_device_reports_within_ten_minutes() {
    for seed in 0..30 {
        let mut watched = Watched::steady(seed);
        let seen: BTreeSet<_> = watched
            .tick(600_000)
            .iter()
            .map(|change| change.device().clone())
            .collect();
        let silent: Vec<_> = watched
            .schemas
            .keys()
            .filter(|device| !seen.contains(*device))
            .map(DeviceId::as_str)
            .collect();
        // Nobody learns a new infrared code by chance.
        assert_eq!(silent, ["living-room-remote"], "seed {seed}");
    }
}

#[test]
fn every_limit_can_be_written_and_is_reported() {
    let schemas = Watched::new(3).schemas;
    for (device, schema) in &schemas {
        for point in schema.functions() {
            let code = point.code().as_str();
            for limit in limits(point.spec()) {
                let mut watched = Watched::steady(3);
                watched.tick(5000);
                for _ in 0..2 {
                    let changes = watched.write(device.as_str(), code, limit.clone());
                    if schema.status(code).is_none() {
                        assert_eq!(changes, [], "{device} {code} takes writes only");
                        continue;
                    }
                    let [Change::State { readings, .. }] = changes.as_slice() else {
                        panic!("{device} {code}: {changes:?}");
                    };
                    assert_eq!(readings[0], Reading::new(code, limit.clone()));
                }
                watched.tick(120_000);
            }
        }
    }
}

#[test]
fn a_batch_of_all_writes_is_reported_as_it_was_written() {
    let schemas = Watched::new(3).schemas;
    for (device, schema) in &schemas {
        for last in [false, true] {
            let mut watched = Watched::steady(3);
            let readings: Vec<_> = schema
                .functions()
                .iter()
                .map(|point| {
                    let mut limits = limits(point.spec());
                    let index = if last { limits.len() - 1 } else { 0 };
                    Reading::new(point.code().as_str(), limits.swap_remove(index))
                })
                .collect();
            let changes = watched.home.write(device.as_str(), &readings);
            watched.take(&changes);
            for Reading { code, value } in &readings {
                if schema.status(code.as_str()).is_some() {
                    assert_eq!(watched.value(device.as_str(), code.as_str()), value);
                }
            }
            watched.tick(600_000);
        }
    }
}

#[test]
fn the_last_of_two_writes_of_one_data_point_wins() {
    let mut watched = Watched::steady(1);
    let readings = [true, false].map(|on| Reading::new("switch_1", Value::from(on)));
    let changes = watched.home.write("office-plug", &readings);
    watched.take(&changes);
    assert!(!watched.flag("office-plug", "switch_1"));
    assert_eq!(watched.number("office-plug", "cur_power"), 0);
}

#[test]
fn a_seed_repeats_its_life_however_time_is_cut() {
    let mut whole = DemoHome::new(9);
    let mut cut = DemoHome::new(9);
    let mut from_cut = Vec::new();
    for _ in 0..600 {
        for ms in [1, 333, 249, 417] {
            from_cut.extend(cut.tick(Duration::from_millis(ms)));
        }
    }
    assert_eq!(whole.tick(Duration::from_secs(600)), from_cut);
    assert_eq!(whole.profiles(), cut.profiles());

    let off = [Reading::new("switch_1", Value::from(false))];
    assert_eq!(
        whole.write("office-plug", &off),
        cut.write("office-plug", &off)
    );
    let hour = Duration::from_secs(3600);
    assert_eq!(whole.tick(hour), cut.tick(hour));
    assert_ne!(DemoHome::new(10).tick(hour), DemoHome::new(11).tick(hour));
}

#[test]
fn power_follows_the_switch() {
    let mut watched = Watched::steady(2);
    watched.tick(10_000);
    assert!(watched.number("office-plug", "cur_power") > 400);
    watched.write("office-plug", "switch_1", false);
    assert_eq!(watched.number("office-plug", "cur_power"), 0);
    assert_eq!(watched.number("office-plug", "cur_current"), 0);
    let energy = watched.number("office-plug", "add_ele");
    watched.tick(300_000);
    assert_eq!(watched.number("office-plug", "add_ele"), energy);

    watched.write("office-plug", "switch_1", true);
    for _ in 0..100 {
        let power = watched.number("office-plug", "cur_power");
        let voltage = watched.number("office-plug", "cur_voltage");
        let current = watched.number("office-plug", "cur_current");
        assert_eq!(current, power * 1000 / voltage);
        watched.tick(1000);
    }
}

#[test]
fn energy_adds_up_exactly() {
    let mut watched = Watched::steady(4);
    let start = watched.number("office-plug", "add_ele");
    let mut sum = 0;
    for second in 0..3600 {
        if second % 700 == 300 {
            watched.write("office-plug", "switch_1", second % 1400 != 300);
        }
        for _ in 0..4 {
            sum += watched.number("office-plug", "cur_power") * 250;
            watched.tick(250);
        }
        // Tenths of a watt times milliseconds, in the data point's thousandths of a kilowatt-hour.
        let expected = start + sum / 36_000_000;
        assert_eq!(watched.number("office-plug", "add_ele"), expected);
    }
    assert!(sum / 36_000_000 > 20);
}

#[test]
fn the_meter_sees_plug_and_lights() {
    let mut watched = Watched::steady(4);
    let meter = |watched: &mut Watched| {
        watched.tick(1000);
        watched.number("electricity-meter", "cur_power")
    };
    // Within a second nothing else changes by more than this.
    let near = |from: i64, to: i64, by: i64| assert!((to - from - by).abs() < 60, "{from} {to}");
    let before = meter(&mut watched);
    let desk = watched.number("office-plug", "cur_power");
    watched.write("office-plug", "switch_1", false);
    let dark = meter(&mut watched);
    near(before, dark, -desk);
    watched.write("kitchen-light", "switch_1", false);
    near(dark, meter(&mut watched), -260);
}

#[test]
fn the_curtain_takes_time_and_stops_when_told_to() {
    let mut watched = Watched::steady(6);
    let curtain = "living-room-curtain";
    watched.write(curtain, "control", "close");
    assert_eq!(watched.word(curtain, "work_state"), "closing");
    let mut seen = Vec::new();
    for _ in 0..11 {
        watched.tick(1000);
        seen.push(watched.number(curtain, "percent_state"));
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    assert!(seen[10] > 0);
    watched.tick(1000);
    assert_eq!(watched.number(curtain, "percent_state"), 0);
    assert_eq!(watched.word(curtain, "situation_set"), "fully_close");
    assert_eq!(watched.word(curtain, "work_state"), "stopped");

    watched.write(curtain, "percent_control", 70);
    watched.tick(4000);
    watched.write(curtain, "control", "stop");
    let stopped = watched.number(curtain, "percent_state");
    assert!((25..=40).contains(&stopped), "{stopped}");
    assert_eq!(watched.number(curtain, "percent_control"), stopped);
    watched.tick(1000);
    assert_eq!(watched.number(curtain, "percent_state"), stopped);
}

#[test]
fn the_thermostat_warms_the_room_and_without_it_the_room_cools() {
    let mut watched = Watched::steady(8);
    let thermostat = "living-room-thermostat";
    watched.write(thermostat, "temp_set", 250);
    assert_eq!(watched.word(thermostat, "mode"), "manual");
    let mut before = watched.number(thermostat, "temp_current");
    for _ in 0..3 {
        watched.tick(60_000);
        let now = watched.number(thermostat, "temp_current");
        assert!(now > before, "{before} {now}");
        assert_eq!(watched.word(thermostat, "valve_state"), "open");
        before = now;
    }
    watched.tick(600_000);
    for _ in 0..60 {
        watched.tick(5000);
        let now = watched.number(thermostat, "temp_current");
        assert!((246..=253).contains(&now), "{now}");
    }
    watched.write(thermostat, "switch", false);
    assert_eq!(watched.word(thermostat, "valve_state"), "close");
    watched.tick(300_000);
    assert!(watched.number(thermostat, "temp_current") < 235);
}

#[test]
fn motion_turns_the_light_on_and_later_off() {
    let mut watched = Watched::steady(12);
    let (mut turned_on, mut turned_off) = (0, 0);
    for _ in 0..2400 {
        let lit = watched.flag("hall-light", "switch_led");
        let moved = watched.word("hall-motion", "pir") == "pir";
        watched.tick(250);
        match (lit, watched.flag("hall-light", "switch_led")) {
            (false, true) => {
                assert!(moved, "motion comes first");
                turned_on += 1;
            }
            (true, false) => {
                assert!(!moved, "nobody is left in the dark");
                turned_off += 1;
            }
            _ => {}
        }
    }
    assert!(
        turned_on >= 4 && turned_off >= 4,
        "{turned_on} {turned_off}"
    );
}

#[test]
fn a_light_that_was_switched_on_by_hand_stays_on() {
    let mut watched = Watched::steady(12);
    watched.write("hall-light", "switch_led", true);
    watched.tick(600_000);
    assert!(watched.flag("hall-light", "switch_led"));
}

#[test]
fn devices_drop_off_and_come_back_with_all_values() {
    for seed in 0..20 {
        let mut watched = Watched::new(seed);
        let mut away: Option<(DeviceId, u32)> = None;
        let mut returned = 0;
        for step in 0..4 * 900 {
            for change in watched.tick(250) {
                let Change::Online { device, online, .. } = change else {
                    continue;
                };
                if online {
                    let (left, since) = away.take().unwrap();
                    assert_eq!(left, device);
                    assert!((20..=60).contains(&(step - since)), "{}", step - since);
                    returned += 1;
                } else {
                    assert!(away.replace((device, step)).is_none());
                }
            }
        }
        assert!((4..=13).contains(&returned), "{returned}");
    }
}

#[test]
fn the_valve_counts_down_and_closes() {
    let mut watched = Watched::steady(1);
    let valve = "garden-valve";
    let before = watched.number(valve, "time_use");
    watched.write(valve, "countdown", 12);
    assert!(!watched.flag(valve, "switch"));
    watched.write(valve, "switch", true);
    assert_eq!(watched.word(valve, "work_state"), "manual");
    watched.tick(11_750);
    assert_eq!(watched.number(valve, "countdown"), 5);
    assert!(watched.flag(valve, "switch"));
    watched.tick(250);
    assert!(!watched.flag(valve, "switch"));
    assert_eq!(watched.number(valve, "countdown"), 0);
    assert_eq!(watched.number(valve, "use_time_one"), 12);
    assert_eq!(watched.number(valve, "time_use"), before + 12);
}

#[test]
fn the_siren_stops_after_its_time() {
    let mut watched = Watched::steady(1);
    watched.write("indoor-siren", "alarm_time", 3);
    watched.write("indoor-siren", "alarm_switch", true);
    assert_eq!(
        watched.word("indoor-siren", "alarm_state"),
        "alarm_sound_light"
    );
    watched.tick(2750);
    assert!(watched.flag("indoor-siren", "alarm_switch"));
    watched.tick(250);
    assert!(!watched.flag("indoor-siren", "alarm_switch"));
    assert_eq!(watched.word("indoor-siren", "alarm_state"), "normal");
}

#[test]
fn smoke_sounds_the_siren_and_muffling_silences_it() {
    let mut watched = Watched::steady(1);
    while watched.word("landing-smoke", "smoke_sensor_status") == "normal" {
        watched.tick(250);
    }
    watched.tick(250);
    assert!(watched.flag("indoor-siren", "alarm_switch"));
    watched.write("landing-smoke", "muffling", true);
    watched.tick(500);
    assert!(!watched.flag("indoor-siren", "alarm_switch"));
}

#[test]
fn equal_presses_of_the_button_are_two_events() {
    let mut watched = Watched::steady(1);
    let mut presses = Vec::new();
    for change in watched.tick(3_600_000) {
        if let Change::State { device, readings } = change
            && device.as_str() == "living-room-button"
        {
            presses.extend(
                readings
                    .into_iter()
                    .filter(|r| r.code.as_str() == "switch_mode1"),
            );
        }
    }
    assert!(presses.windows(2).any(|pair| pair[0] == pair[1]));
}

#[test]
fn the_remote_learns_a_code() {
    let mut watched = Watched::steady(1);
    watched.write("living-room-remote", "control", "study");
    watched.tick(4000);
    assert_eq!(watched.word("living-room-remote", "control"), "study_exit");
    assert_eq!(
        watched.word("living-room-remote", "ir_study_code").len(),
        24
    );
}

#[test]
fn batteries_drain_a_percent_within_ten_minutes() {
    let mut watched = Watched::steady(1);
    let level = |watched: &Watched| watched.number("front-door", "battery_percentage");
    for _ in 0..5 {
        let before = level(&watched);
        watched.tick(600_000);
        assert!((1..=2).contains(&(before - level(&watched))));
    }
}

#[test]
fn a_write_to_what_is_not_there_reports_nothing() {
    let mut home = DemoHome::new(1);
    let readings = [Reading::new("switch_1", Value::from(true))];
    assert_eq!(home.write("attic-light", &readings), []);
}
