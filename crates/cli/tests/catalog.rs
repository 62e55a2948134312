//! `hearthgate catalog`, as a person who writes a profile or an override file uses it.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PROFILE: &str = r#"{"devid":"bf0011","name":"Coffee","category":"cz",
  "function":[{"code":"switch_1","type":"Boolean","values":"{}"}],
  "status":[{"code":"switch_1","type":"Boolean","values":"{}"},
            {"code":"cur_power","type":"Integer","values":"{\"unit\":\"W\",\"min\":0,\"max\":50000,\"scale\":1,\"step\":1}"}],
  "online":true,"value":[{"k":"switch_1","v":true},{"k":"cur_power","v":953}]}"#;

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hearthgate"))
        .args(args)
        .current_dir(folder)
        .env_remove("HEARTHGATE_LOG")
        .output()
        .unwrap()
}

fn home() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("profiles")).unwrap();
    fs::write(folder.path().join("profiles/plug.json"), PROFILE).unwrap();
    folder
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_check_ends_with_0_only_if_nothing_differs() {
    let home = home();
    let check = |expected: &str| {
        fs::write(home.path().join("expected.json"), expected).unwrap();
        said(&run(
            home.path(),
            &[
                "catalog",
                "check",
                "profiles",
                "--expected",
                "expected.json",
            ],
        ))
    };
    let right = r#"{"plug.json":[{"code":"switch_1","platform":"switch","device_class":"outlet"},
        {"code":"cur_power","platform":"sensor","device_class":"power","unit":"W","state_class":"measurement"},
        {"code":"","platform":"camera"}]}"#;
    let (code, text) = check(right);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no stream travels"), "{text}");

    let (code, text) = check(r#"{"plug.json":[{"code":"switch_7","platform":"switch"}]}"#);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("switch_7") && text.contains("missing"),
        "{text}"
    );

    let (code, text) = check(r#"{"other.json":[]}"#);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("other.json"), "{text}");

    let (code, text) = check("[]");
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn findings_are_there_for_programs_too() {
    let home = home();
    fs::write(
        home.path().join("e.json"),
        r#"{"plug.json":[{"code":"cur_power","platform":"sensor","unit":"kW"}]}"#,
    )
    .unwrap();
    let output = run(
        home.path(),
        &[
            "catalog",
            "check",
            "profiles",
            "--expected",
            "e.json",
            "--json",
        ],
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["expected"], 1);
    let fields: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["device_class", "unit", "state_class"]);
}

#[test]
fn overrides_are_tried_before_they_are_used() {
    let home = home();
    let overrides = home.path().join("overrides.toml");
    fs::write(
        &overrides,
        "[device.bf0011.switch_1]\nname = \"Espresso\"\n",
    )
    .unwrap();
    let (code, text) = said(&run(
        home.path(),
        &[
            "catalog",
            "entities",
            "profiles",
            "--overrides",
            "overrides.toml",
        ],
    ));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Espresso"), "{text}");

    fs::write(&overrides, "[device.bf0011.switch_1]\n\nscale = \"two\"\n").unwrap();
    let (code, text) = said(&run(
        home.path(),
        &[
            "catalog",
            "entities",
            "profiles",
            "--overrides",
            "overrides.toml",
        ],
    ));
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("overrides.toml:3:") && text.contains("scale"),
        "{text}"
    );
}

#[test]
fn categories_are_listed_and_shown_and_messages_printed() {
    let home = home();
    let (code, text) = said(&run(home.path(), &["catalog", "list"]));
    assert!(code == Some(0) && text.contains("Socket"), "{text}");
    let (code, text) = said(&run(home.path(), &["catalog", "show", "cz"]));
    assert!(code == Some(0) && text.contains("cur_power"), "{text}");
    let (code, text) = said(&run(home.path(), &["catalog", "show", "nobody"]));
    assert!(code == Some(2) && text.contains("catalog list"), "{text}");
    let output = run(home.path(), &["catalog", "discovery", "profiles/plug.json"]);
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        printed["discovery"]["components"]["switch_1"]["platform"],
        "switch"
    );
    assert_eq!(printed["state"]["cur_power"], 95.3);
}
