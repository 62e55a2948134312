//! Files: what they say, and what is said about what is wrong with them.

use std::io::Write;

use proptest::prelude::*;

use super::*;

const KEY: &str = "0123456789abcdef";

fn toml(text: &str) -> Result<LanConfig, String> {
    LanConfig::parse(text, Path::new("lan.toml")).map_err(|error| error.to_string())
}

fn json(text: &str) -> Result<LanConfig, String> {
    LanConfig::parse(text, Path::new("devices.json")).map_err(|error| error.to_string())
}

fn direct(device: &DeviceConfig) -> &Direct {
    match &device.reach {
        Reach::Direct(direct) => direct,
        Reach::Behind { .. } => panic!("behind another"),
    }
}

const WIZARD: &str = r#"[
 {"name": "Kettle ", "id": "bf01", "key": "0123456789abcdef", "mac": "", "uuid": "u", "category": "cz",
  "product_name": "Plug", "product_id": "keyabc", "sub": false, "ip": "192.0.2.10", "version": "3.4",
  "mapping": {
   "1": {"code": "switch_1", "type": "Boolean", "values": {}},
   "19": {"code": "cur_power", "type": "Integer", "values": {"unit": "W", "min": 0, "max": 80000, "scale": 1, "step": 1}, "access": "ro"},
   "24": {"code": "colour_data_v2", "type": "Json", "raw_values": "{\"h\":{\"min\":0}}", "values": {"h": {"min": 0}}},
   "25": {"code": "note", "type": "String", "values": "{\"maxlen\":255}"},
   "odd_code": {"code": "odd_code", "type": "Boolean", "values": "{}"}}},
 {"name": "Hub", "id": "bf02", "key": "fedcba9876543210", "category": "wg2", "ver": "", "mapping": null},
 {"name": "Valve", "id": "bf03", "key": "fedcba9876543210", "sub": true, "node_id": "a4c1380b", "parent": ""},
 {"name": "Remote", "id": "bf04", "key": "x", "sub": true},
 {"name": "Cloud only", "id": "bf05", "key": ""}
]"#;

#[test]
fn the_wizards_file_is_understood_with_its_mapping() {
    let config = json(WIZARD).unwrap();
    let ids: Vec<&str> = config
        .devices
        .iter()
        .map(|device| device.id.as_str())
        .collect();
    assert_eq!(ids, ["bf01", "bf02", "bf03"]);
    let kettle = &config.devices[0];
    assert_eq!(
        (kettle.name.as_deref(), direct(kettle).port),
        (Some("Kettle "), 6668)
    );
    assert_eq!(direct(kettle).host.as_deref(), Some("192.0.2.10"));
    assert_eq!(direct(kettle).version, Some(Version::V34));
    let schema = kettle.points.schema("cz");
    // Without access information a point is in both lists.
    assert!(schema.function("switch_1").is_some() && schema.status("switch_1").is_some());
    assert!(schema.function("cur_power").is_none());
    let values = |code: &str| {
        schema
            .status(code)
            .unwrap()
            .values()
            .as_string()
            .unwrap()
            .into_owned()
    };
    assert_eq!(values("colour_data_v2"), r#"{"h":{"min":0}}"#);
    assert_eq!(values("note"), r#"{"maxlen":255}"#);
    assert_eq!(kettle.points.len(), 4, "what has no number is left out");
    assert_eq!(direct(&config.devices[1]).version, None);
    let Reach::Behind { parent, cid } = &config.devices[2].reach else {
        panic!("not behind")
    };
    assert_eq!(
        (parent.as_str(), cid.as_str()),
        ("bf02", "a4c1380b"),
        "the one with its key"
    );
    let warnings = config.warnings.join("\n");
    assert!(
        warnings.contains("device 4 (bf04) is left out: it is a sub-device without a node_id"),
        "{warnings}"
    );
    assert!(
        warnings.contains("device 5 (bf05) is left out: it has no local key"),
        "{warnings}"
    );
}

#[test]
fn a_raw_list_of_the_cloud_is_understood() {
    let text = r#"{"result": [{"id": "a", "local_key": "0123456789abcdef", "ip": "203.0.113.9", "name": "A",
        "category": "cz", "product_id": "p"}], "success": true}"#;
    let config = json(text).unwrap();
    assert_eq!(
        direct(&config.devices[0]).host,
        None,
        "that is the home's address in the internet"
    );
    assert!(
        config.devices[0].points.numbers().contains(&19),
        "by the category's profile"
    );
}

#[test]
fn what_is_wrong_in_a_json_file_is_named() {
    for (text, problem) in [
        ("", "devices.json: line 1, column 0: no valid JSON"),
        ("[\n{\"id\": }]", "line 2, column 8: no valid JSON"),
        ("7", "holds no list of devices"),
        ("{\"result\": 7}", "holds no list of devices"),
        ("[7]", "device 1: is no object"),
        (
            "[{\"key\": \"0123456789abcdef\"}]",
            "device 1: id: is missing",
        ),
        ("[{\"id\": 7}]", "device 1: id: is no text"),
        ("[{\"id\": \"a b\"}]", "device 1 (a b): id: an id is"),
        (
            "[{\"id\": \"a\", \"key\": 7}]",
            "device 1 (a): key: is no text",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"short\"}]",
            "device 1 (a): key: a local key is 16 printable ASCII characters, this has 5",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\", \"version\": \"3.9\"}]",
            "version: there is no version `3.9`",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\", \"version\": []}]",
            "version: is neither",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\", \"ip\": \"a:b:c\"}]",
            "ip: `a:b:c` is no address",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\", \"mapping\": []}]",
            "mapping: is no object",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\", \"mapping\": {\"1\": 7}}]",
            "mapping: 1: is no object",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\", \"mapping\": {\"1\": {\"code\": \"c\"}}}]",
            "mapping: 1: type: is missing",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\", \"mapping\": {\"1\": {\"code\": \"c\", \"type\": \"Enum\", \"values\": 7}}}]",
            "mapping: 1: values: is neither",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\", \"mapping\": {\"1\": {\"code\": \"c\", \"type\": \"Enum\"}, \"2\": {\"code\": \"c\", \"type\": \"Enum\"}}}]",
            "mapping: 2: code c is that of data point 1",
        ),
        (
            "[{\"id\": \"a\", \"key\": \"0123456789abcdef\"}, {\"id\": \"a\", \"key\": \"0123456789abcdef\"}]",
            "device 2 (a): device a is there already, device 1 (a)",
        ),
        (
            "[{\"id\": \"a\", \"sub\": true, \"node_id\": \"n\", \"parent\": \"b\"}]",
            "device 1 (a): parent: there is no device b in this file",
        ),
    ] {
        let found = json(text).unwrap_err();
        assert!(
            found.starts_with("devices.json: ") && found.contains(problem),
            "{text}: {found}"
        );
        assert!(!found.contains(KEY), "{found}");
    }
}

const OURS: &str = r#"
listen = ["127.0.0.1:6667"]

[[device]]
id = "bf01"
name = "Kettle"
key = 'k''
key = "a'b\"c\\d#e{f}g$h<"
"#;

#[test]
fn our_own_file_says_all_that_can_be_said() {
    let text = r#"
listen = ["127.0.0.1:6667"]
[[device]]
id = "bf01"
name = "Kettle"
key = "a'b\"c\\d#e{f}g$h<"
version = "3.4"
address = "[2001:db8::1]:7000"
category = "cz"
product = "keyabc"
poll = "off"
grace = "2m"
refresh = [18, 19]
dialect = "device22"
points.1 = "power"
points.101 = { code = "fan", type = "Enum", values = { range = ["low", "high"] }, access = "wo" }
points.102 = { code = "heat", type = "Integer", values = '{"min":0,"max":9}' }
[[device]]
id = "bf02"
parent = "bf01"
cid = "a4"
"#;
    let config = toml(text).unwrap();
    assert_eq!(config.listen.len(), 1);
    let kettle = &config.devices[0];
    assert_eq!(direct(kettle).host.as_deref(), Some("2001:db8::1"));
    assert_eq!(
        (direct(kettle).port, direct(kettle).dialect),
        (7000, Some(Dialect::Device22))
    );
    assert_eq!(
        (kettle.poll, kettle.grace),
        (None, Duration::from_secs(120))
    );
    assert_eq!(kettle.refresh, [18, 19]);
    let schema = kettle.points.schema("cz");
    assert!(schema.function("fan").is_some() && schema.status("fan").is_none());
    assert!(schema.status("heat").is_some());
    assert!(matches!(config.devices[1].reach, Reach::Behind { .. }));
    // What is written is read as the same.
    let again = toml(&to_toml(&config)).unwrap();
    assert_eq!(*to_toml(&again), *to_toml(&config));
    assert_eq!(direct(&again.devices[0]).key, direct(kettle).key);
    assert!(!format!("{config:?}").contains("g$h<"), "keys print as ***");
    // An import becomes a file that says the same.
    let imported = json(WIZARD).unwrap();
    let written = toml(&to_toml(&imported)).unwrap();
    for (device, again) in imported.devices.iter().zip(&written.devices) {
        assert_eq!(
            device.points.schema("x"),
            again.points.schema("x"),
            "{}",
            device.id
        );
    }
}

#[test]
fn what_is_wrong_in_our_own_file_is_named() {
    let with = |more: &str| format!("[[device]]\nid = \"a\"\nkey = \"{KEY}\"\n{more}");
    for (text, problem) in [
        (OURS.to_owned(), "line 7: no valid TOML"),
        ("device = 7".to_owned(), "device: write [[device]]"),
        (
            "devices = []".to_owned(),
            "unknown key `devices`; did you mean `device`?",
        ),
        ("listen = [\"x\"]".to_owned(), "listen: `x` is no ADDR:PORT"),
        (
            "\n[[device]]\n".to_owned(),
            "device 1, line 2: id: is missing",
        ),
        (
            "[[device]]\nid = \"a\"".to_owned(),
            "device 1, line 1: key: is missing",
        ),
        (
            "[[device]]\nid = \"a\"\nkey = 1234567890123456".to_owned(),
            "key: is no text",
        ),
        (
            with("adress = \"x\""),
            "unknown key `adress`; did you mean `address`?",
        ),
        (
            with("version = 3.4"),
            "version: is no text, write it in quotes",
        ),
        (with("version = \"4\""), "version: there is no version `4`"),
        (with("address = \"a:0\""), "address: `a:0` is no address"),
        (
            with("address = \"a:1\"\nport = 2"),
            "port: the address has another one",
        ),
        (with("poll = \"1s\""), "poll: at least 5s, or off"),
        (with("poll = \"soon\""), "poll: `soon` is no duration"),
        (with("grace = \"99h\""), "grace: `99h` is no duration"),
        (with("refresh = [0]"), "refresh: is no array of numbers"),
        (with("dialect = \"welsh\""), "dialect: is none of"),
        (
            with("points.x = \"a\""),
            "points.x: a data point has a number",
        ),
        (
            with("points.1 = 7"),
            "points.1: is neither a code nor a table",
        ),
        (
            with("points.1 = { code = \"a\" }"),
            "points.1: type: is missing",
        ),
        (
            with("points.1 = { code = \"a\", typ = \"Enum\" }"),
            "points.1: unknown key `typ`; did you mean `type`?",
        ),
        (
            with("points.1 = \"a\"\npoints.2 = \"a\""),
            "points.2: code a is that of data point 1",
        ),
        (with("parent = \"b\""), "cid: is missing beside parent"),
        (
            with("cid = \"b\""),
            "key: a sub-device has that of its parent",
        ),
        (
            "[[device]]\nid = \"a\"\ncid = \"c\"".to_owned(),
            "parent: is missing beside cid",
        ),
        (
            format!("{}{}", with(""), with("")),
            "device 2, line 4: device a is there already, device 1, line 1",
        ),
        (
            format!(
                "{}[[device]]\nid=\"b\"\nparent=\"a\"\ncid=\"c\"\n[[device]]\nid=\"d\"\nparent=\"b\"\ncid=\"e\"",
                with("")
            ),
            "parent: device b is a sub-device itself",
        ),
        (
            format!(
                "{}[[device]]\nid=\"b\"\nparent=\"a\"\ncid=\"c\"\n[[device]]\nid=\"d\"\nparent=\"a\"\ncid=\"c\"",
                with("")
            ),
            "cid: another sub-device of a has the same",
        ),
    ] {
        let found = toml(&text).unwrap_err();
        assert!(
            found.starts_with("lan.toml: ") && found.contains(problem),
            "{text}: {found}"
        );
        assert!(!found.contains(KEY) && !found.contains("g$h<"), "{found}");
    }
}

#[test]
fn a_device_in_two_files_is_said_and_a_readable_file_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[[device]]\nid = \"a\"\nkey = \"{KEY}\"\n");
    let paths: Vec<PathBuf> = ["one.toml", "two.toml"]
        .iter()
        .map(|name| {
            let path = folder.path().join(name);
            std::fs::File::create(&path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            path
        })
        .collect();
    let found = LanConfig::load(&paths).unwrap_err().to_string();
    assert!(
        found.contains("device a is in ") && found.contains("two.toml: remove it from one"),
        "{found}"
    );
    let one = LanConfig::load(&paths[..1]).unwrap();
    assert!(one.warnings[0].contains("chmod 600"), "{:?}", one.warnings);
    std::fs::set_permissions(&paths[0], std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(LanConfig::load(&paths[..1]).unwrap().warnings.is_empty());
    let missing = LanConfig::load(&[folder.path().join("none")])
        .unwrap_err()
        .to_string();
    assert!(missing.contains("none: cannot be read"), "{missing}");
}

#[test]
fn the_kind_of_a_file_is_seen_from_its_content() {
    for (text, expected) in [
        ("[{\"id\"", true),
        ("{", true),
        ("[[device]]", false),
        ("# a\n", false),
        ("[\n {", true),
    ] {
        assert_eq!(is_json(text, Path::new("devices")), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text: String) {
        let _ = json(&text);
        let _ = toml(&text);
    }

    #[test]
    fn no_damage_to_a_file_makes_it_panic_or_shows_a_key(at in 0usize..WIZARD.len(), with in "[\\[\\]{}\",:0-9a-z]{0,4}", cut in 0usize..8) {
        let mut damaged = String::new();
        damaged.push_str(WIZARD.get(..at).unwrap_or_default());
        damaged.push_str(&with);
        damaged.push_str(WIZARD.get(at + cut..).unwrap_or_default());
        if let Err(problem) = json(&damaged) {
            prop_assert!(problem.starts_with("devices.json: "), "{}", problem);
            prop_assert!(!problem.contains("6789abc"), "{}", problem);
        }
    }

    #[test]
    fn any_key_and_name_survive_being_written(key in "[ -~]{16}", name in "\\PC{1,20}") {
        let key_text = toml::Value::String(key.clone()).to_string();
        let name_text = toml::Value::String(name.clone()).to_string();
        let config = self::toml(&format!("[[device]]\nid = \"a\"\nkey = {key_text}\nname = {name_text}\n")).unwrap();
        let again = self::toml(&to_toml(&config)).unwrap();
        prop_assert_eq!(direct(&again.devices[0]).key.text(), key.as_str());
        prop_assert_eq!(again.devices[0].name.as_deref(), Some(name.as_str()));
    }
}
