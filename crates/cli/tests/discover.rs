//! `hearthgate discover` as its user sees it: real processes, on loopback, no fixed port, no sleep.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hearthgate");
/// More than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PROFILE: &str = r#"{
    "devid": "lamp", "name": "Lamp", "category": "kg", "online": true,
    "function": [{"code": "switch_1", "type": "Boolean", "values": "{}"}],
    "status": [{"code": "switch_1", "type": "Boolean", "values": "{}"}],
    "value": [{"k": "switch_1", "v": false}]
}"#;

/// A process that does not outlive its test, and the lines of its standard error.
struct Running {
    child: Option<Child>,
    lines: Receiver<String>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(args)
            .env_remove("HEARTHGATE_LOG")
            .env("HEARTHGATE_KEY", "k9Xq2mPz7LwT4vRb")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(child.stderr.take().unwrap());
        let child = Some(child);
        Self { child, lines }
    }

    /// Waits for a line of standard error and returns what follows a mark in it.
    fn after(&self, mark: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.to_owned();
            }
        }
    }

    /// Interrupts it, and returns its standard output and the rest of its standard error.
    fn interrupt(mut self) -> (String, String) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let mut shown = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut shown).unwrap();
        assert!(child.wait().unwrap().success());
        (shown, self.lines.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Whoever has seen enough listens no more.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Starts `discover` on a free port, and returns it with its address.
fn discover(more: &[&str]) -> (Running, String) {
    let mut args = vec!["discover", "--listen", "127.0.0.1:0", "--timeout", "5m"];
    args.extend(["--log-level", "hearthgate_client=debug"]);
    args.extend(more);
    let running = Running::start(&args);
    let address = running.after("listening for advertisements on ");
    (running, address)
}

fn run(args: &[&str]) -> (Output, String) {
    let output = Command::new(PROGRAM)
        .args(args)
        .env_remove("HEARTHGATE_LOG")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    (output, stderr)
}

#[test]
fn a_gateway_that_advertises_itself_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("lamp.json");
    std::fs::write(&profile, PROFILE).unwrap();
    let (as_json, json_address) = discover(&["--json"]);
    let (as_table, table_address) = discover(&[]);
    let mut args = vec!["gateway", "--listen", "127.0.0.1:0", "--uuid", "hg-test"];
    args.extend(["--state", "none", "--devices", profile.to_str().unwrap()]);
    args.extend(["--advertise", &json_address, "--advertise", &table_address]);
    let gateway = Running::start(&args);
    let serving = gateway.after("listening on ws://127.0.0.1:");
    let port = serving.split_once(' ').unwrap().0;

    as_json.after("gateway hg-test at ");
    let (shown, _) = as_json.interrupt();
    let list: Value = serde_json::from_str(&shown).unwrap();
    let [entry] = list.as_array().unwrap().as_slice() else {
        panic!("{list}");
    };
    assert_eq!(entry["uuid"], "hg-test");
    assert_eq!(entry["address"], "127.0.0.1");
    assert_eq!(entry["port"].to_string(), port);
    assert_eq!(entry["frame"], "json");
    assert!(entry["packets"].as_u64().unwrap() >= 1);
    for name in ["first_seen", "last_seen"] {
        let time = entry[name].as_str().unwrap();
        let shape = time.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    }
    assert_eq!(entry.as_object().unwrap().len(), 7);

    as_table.after("gateway hg-test at ");
    let (shown, _) = as_table.interrupt();
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 2, "{shown}");
    assert_eq!(rows[0][..3], ["UUID", "ADDRESS", "PORT"]);
    assert_eq!(rows[1][..3], ["hg-test", "127.0.0.1", port]);
}

#[test]
fn where_nothing_is_heard_it_says_what_to_check() {
    let args = ["discover", "--listen", "127.0.0.1:0", "--timeout", "10ms"];
    let (output, stderr) = run(&args);
    assert!(output.status.success());
    assert!(output.stdout.is_empty());
    for word in ["no gateway was heard", "firewall", "VLAN", "--gateway"] {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    let (output, _) = run(&[&args[..], &["--json"]].concat());
    assert!(output.status.success());
    assert_eq!(output.stdout, b"[]\n");
}

#[test]
fn who_sends_something_else_is_named_in_one_line() {
    let (running, address) = discover(&[]);
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for packet in [
        &b"\x1b[2Jhello"[..],
        b"{\"uuid\":\"\xff\"}",
        b"{\"uuid\":\"last\",\"port\":1}",
    ] {
        sender.send_to(packet, &address).unwrap();
    }
    running.after("gateway last at ");
    let (_, stderr) = running.interrupt();
    assert!(
        stderr.contains("2 packets were no gateway's advertisement, from 127.0.0.1 (2);"),
        "{stderr}"
    );
}

#[test]
fn a_port_that_another_program_has_for_itself_is_an_error() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (output, stderr) = run(&["discover", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains(&address), "{stderr}");
    assert!(stderr.contains("for itself: stop it"), "{stderr}");
}

#[test]
fn a_wrong_address_is_a_matter_of_usage() {
    let (output, stderr) = run(&["discover", "--listen", "6669"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("--listen"), "{stderr}");
}
