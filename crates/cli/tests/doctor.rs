//! `hearthgate doctor` as its user sees it: exit codes, JSON, the bundle. Real processes, on loopback.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hearthgate");
const KEY: &str = "k9Xq 2m\"z7LwT4vR";
const OTHER_KEY: &str = "anotherkey 12345";
const LAYERS: [&str; 13] = [
    "advertisement",
    "address",
    "port",
    "upgrade",
    "wire",
    "decrypt",
    "proof",
    "devices",
    "schemas",
    "statuses",
    "round_trip",
    "ping",
    "event",
];
const PROFILE: &str = r#"{
    "devid": "lamp", "name": "Lamp", "category": "kg", "online": true,
    "function": [{"code": "switch_1", "type": "Boolean", "values": "{}"}],
    "status": [{"code": "switch_1", "type": "Boolean", "values": "{}"}],
    "value": [{"k": "switch_1", "v": false}]
}"#;

/// A gateway that does not outlive its test.
struct Gateway {
    process: Child,
    url: String,
    folder: TempDir,
}

impl Gateway {
    fn start(more: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let profile = folder.path().join("lamp.json");
        fs::write(&profile, PROFILE).unwrap();
        let mut process = Command::new(PROGRAM)
            .args(["gateway", "--listen", "127.0.0.1:0", "--state", "none"])
            .args(["--no-advertise", "--devices"])
            .arg(&profile)
            .args(more)
            .env("HEARTHGATE_KEY", KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(' ').next().unwrap().to_owned();
            }
        };
        // A pipe that nobody reads would stop the gateway in the end.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            url,
            folder,
        }
    }

    fn doctor(&self, more: &[&str]) -> Output {
        let mut args = vec!["--gateway", &self.url, "--event-timeout", "10ms"];
        args.extend(more);
        doctor(KEY, &args)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn doctor(key: &str, args: &[&str]) -> Output {
    let output = Command::new(PROGRAM)
        .arg("doctor")
        .args(args)
        .env_remove("HEARTHGATE_LOG")
        .env_remove("HEARTHGATE_GATEWAY")
        .env("HEARTHGATE_KEY", key)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    for bytes in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains(KEY) && !text.contains(OTHER_KEY), "{text}");
    }
    output
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the names of all checks, and the outcome of each.
fn checks(report: &Value) -> Vec<(String, String)> {
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap();
    checks
        .iter()
        .map(|check| {
            assert_eq!(check.as_object().unwrap().len(), 3, "{check}");
            assert!(!text(check, "detail").is_empty());
            (text(check, "name"), text(check, "outcome"))
        })
        .collect()
}

fn names(report: &Value) -> Vec<String> {
    checks(report).into_iter().map(|(name, _)| name).collect()
}

fn failed(report: &Value) -> Vec<String> {
    let checks = checks(report).into_iter();
    let failed = checks.filter(|(_, outcome)| outcome == "fail");
    failed.map(|(name, _)| name).collect()
}

#[test]
fn a_healthy_gateway() {
    let gateway = Gateway::start(&[]);
    let output = gateway.doctor(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    assert_eq!(report.as_object().unwrap().len(), 2);
    assert_eq!(report["wire"], "binary");
    assert_eq!(names(&report), LAYERS);
    for (name, outcome) in checks(&report) {
        match name.as_str() {
            "advertisement" | "event" => assert_eq!(outcome, "skip", "{name}"),
            // A busy machine is slow to answer, which is a warning.
            "round_trip" => assert_ne!(outcome, "fail"),
            _ => assert_eq!(outcome, "pass", "{name}"),
        }
    }
    let people = gateway.doctor(&[]);
    assert_eq!(people.status.code(), Some(0));
    let text = String::from_utf8(people.stdout).unwrap();
    for name in LAYERS {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn conformance_has_the_layers_first_and_writes_only_where_told() {
    let gateway = Gateway::start(&[]);
    for more in [&[][..], &["--write", "lamp"]] {
        let mut args = vec!["--json", "--conformance"];
        args.extend(more);
        let output = gateway.doctor(&args);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report = json(&output);
        assert_eq!(names(&report)[..13], LAYERS);
        assert!(names(&report).len() > 30);
        let wrote = checks(&report).contains(&("write_same_value".into(), "pass".into()));
        assert_eq!(wrote, !more.is_empty());
    }
}

#[test]
fn what_fails_is_named_also_in_json_and_by_the_exit_code() {
    let gateway = Gateway::start(&["--wire", "base64", "--path", "/here"]);
    // Whoever has a port and does not listen refuses, and nobody else gets it.
    let holder = TcpSocket::new_v4().unwrap();
    holder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = format!("ws://{}", holder.local_addr().unwrap());
    let url = gateway.url.clone();
    for (key, args, layer, wire) in [
        (KEY, &["--gateway", &closed][..], "port", Value::Null),
        (KEY, &["--gateway", &url], "upgrade", Value::Null),
        (
            KEY,
            &["--gateway", &url, "--path", "/here", "--wire", "binary"],
            "wire",
            "base64".into(),
        ),
        (
            OTHER_KEY,
            &["--gateway", &url, "--path", "/here"],
            "decrypt",
            "base64".into(),
        ),
        (
            KEY,
            &["--gateway", &url, "--path", "/here", "--proof", "sha256"],
            "proof",
            "base64".into(),
        ),
    ] {
        for conformance in [false, true] {
            let mut args = args.to_vec();
            args.push("--json");
            if conformance {
                args.push("--conformance");
            }
            let output = doctor(key, &args);
            assert_eq!(output.status.code(), Some(1), "{layer}: {output:?}");
            let report = json(&output);
            assert_eq!(report["wire"], wire);
            assert_eq!(names(&report)[..13], LAYERS);
            assert_eq!(failed(&report), [layer]);
        }
    }
}

#[test]
fn what_was_asked_wrongly_is_usage() {
    for (key, args) in [
        (KEY, &[][..]),
        (KEY, &["--gateway", "http://here"]),
        (KEY, &["--gateway", "ws://127.0.0.1", "--uuid", "x"]),
        (KEY, &["--gateway", "ws://127.0.0.1", "--write", "lamp"]),
        (
            KEY,
            &["--gateway", "ws://127.0.0.1", "--explore", "--conformance"],
        ),
        (KEY, &["--gateway", "ws://127.0.0.1", "--key-form", "hex"]),
        ("short", &["--gateway", "ws://127.0.0.1"]),
    ] {
        let output = doctor(key, args);
        assert_eq!(output.status.code(), Some(2), "{args:?} {output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_gateway_is_found_by_its_uuid() {
    let gateway = Gateway::start(&[]);
    let port: u16 = gateway.url.rsplit(':').next().unwrap().parse().unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Free, and so it stays until it is listened on: no other test is on this address.
    let free = UdpSocket::bind("127.0.0.12:0").unwrap();
    let listen = free.local_addr().unwrap();
    drop(free);
    let (done, end) = channel::<()>();
    let advertising = std::thread::spawn(move || {
        let packet = format!("{{\"uuid\":\"hg-1\",\"port\":{port}}}");
        let pause = Duration::from_millis(20);
        while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            // Refused as long as nobody listens.
            let _ = sender.send_to(packet.as_bytes(), listen);
        }
    });
    let listen = listen.to_string();
    let args = ["--uuid", "hg-1", "--listen", &listen, "--json"];
    let output = doctor(KEY, &[&args[..], &["--event-timeout", "10ms"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(checks(&json(&output))[0].1, "pass");
    drop(done);
    advertising.join().unwrap();
}

#[test]
fn a_known_gateway_needs_neither_address_nor_key() {
    let gateway = Gateway::start(&["--padding", "zero"]);
    let folder = gateway.folder.path().join("hearthgate");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("its.key"), format!("{KEY}\n")).unwrap();
    let address = gateway.url.strip_prefix("ws://").unwrap();
    for key in [
        format!("key = {}", Value::from(KEY)),
        "key_file = \"its.key\"".to_owned(),
    ] {
        let known = format!(
            "[[gateway]]\nuuid = \"hg-1\"\nname = \"Home\"\naddress = \"{address}\"\npadding = \"zero\"\n{key}\n"
        );
        let file = folder.join("gateways.toml");
        fs::write(&file, known).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let output = Command::new(PROGRAM)
            .args([
                "doctor",
                "--gateway",
                "home",
                "--json",
                "--event-timeout",
                "10ms",
            ])
            .env("XDG_CONFIG_HOME", gateway.folder.path())
            .env_remove("HEARTHGATE_KEY")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[test]
fn recorded_profiles_can_be_served() {
    let gateway = Gateway::start(&[]);
    let out = gateway.folder.path().join("home");
    let record = || {
        Command::new(PROGRAM)
            .args([
                "record",
                "--gateway",
                &gateway.url,
                "--duration",
                "50ms",
                "--out",
            ])
            .arg(&out)
            .env("HEARTHGATE_KEY", KEY)
            .output()
            .unwrap()
    };
    let output = record();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said: Value = serde_json::from_str(PROFILE).unwrap();
    let profile = fs::read_to_string(out.join("lamp.json")).unwrap();
    let profile: Value = serde_json::from_str(&profile).unwrap();
    for name in ["devid", "category", "function", "status", "online", "value"] {
        assert_eq!(profile[name], said[name]);
    }
    let transcript = fs::read_to_string(out.join("transcript.jsonl")).unwrap();
    assert!(transcript.lines().count() > 6, "{transcript}");
    assert!(!transcript.contains(KEY));
    let checked = Command::new(PROGRAM)
        .args(["gateway", "--check-config", "--state", "none", "--devices"])
        .arg(&out)
        .env("HEARTHGATE_KEY", KEY)
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    // A second time the folder is not empty.
    assert_eq!(record().status.code(), Some(2));
}

#[test]
fn explore_finds_the_options_of_a_gateway_and_the_doctor_takes_them() {
    let gateway = Gateway::start(&[
        "--wire",
        "base64",
        "--key-form",
        "md5",
        "--padding",
        "zero",
        "--proof",
        "sha256",
        "--proof-over",
        "base64",
        "--path",
        "/api/v1/ws",
    ]);
    let output = gateway.doctor(&["--explore", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found = json(&output);
    assert_eq!(found.as_object().unwrap().len(), 3);
    assert_eq!(found["found"], true);
    assert!(found["tried"].as_u64().unwrap() <= 40);
    let mut args = vec!["--json".to_owned()];
    for (name, value) in found["options"].as_object().unwrap() {
        args.push(format!("--{}", name.replace('_', "-")));
        args.push(value.as_str().unwrap().to_owned());
    }
    assert_eq!(args.len(), 13);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = gateway.doctor(&args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let people = gateway.doctor(&["--explore"]);
    let text = String::from_utf8(people.stdout).unwrap();
    assert!(text.contains("\npath = \"/api/v1/ws\"\n"), "{text}");
    assert!(
        text.contains("key_form = \"md5\"\npadding = \"zero\"\n"),
        "{text}"
    );

    let output = doctor(
        OTHER_KEY,
        &["--gateway", &gateway.url, "--explore", "--json"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["found"], false);
    assert_eq!(json(&output)["options"], serde_json::json!({}));
}

#[test]
fn a_bundle_is_written_whether_it_works_or_not_and_holds_no_key() {
    let gateway = Gateway::start(&[]);
    let file = gateway.folder.path().join("bundle.txt");
    let name = file.to_str().unwrap();
    for (key, more, code) in [
        (KEY, &["--conformance"][..], 0),
        (KEY, &["--explore"], 0),
        (OTHER_KEY, &[], 1),
    ] {
        let mut args = vec!["--gateway", &gateway.url, "--event-timeout", "10ms"];
        args.extend(["--bundle", name]);
        args.extend(more);
        let output = doctor(key, &args);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let text = fs::read_to_string(&file).unwrap();
        let bundle: Value = serde_json::from_str(&text).unwrap();
        assert!(bundle["transcript"].is_array());
        let in_json = Value::from(key).to_string();
        assert!(!text.contains(key) && !text.contains(in_json.trim_matches('"')));
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
