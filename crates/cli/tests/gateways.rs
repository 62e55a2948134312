//! `hearthgate gateways`, `--gateway NAME` and `watch` across restarts, as their users see them: real
//! processes on loopback, a configuration folder of their own, no fixed port.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hearthgate");
const KEY: &str = "k9Xq2mPz7LwT4vRb";
const OTHER_KEY: &str = "0000000000000000";
/// More than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A user's folders.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Self { folder };
        place.profile("lamp", false);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("config/hearthgate/gateways.toml")
    }

    fn profile(&self, device: &str, on: bool) {
        let profile = format!(
            r#"{{"devid": "{device}", "name": "Lamp", "category": "kg", "online": true,
                "function": [{{"code": "switch_1", "type": "Boolean", "values": "{{}}"}}],
                "status": [{{"code": "switch_1", "type": "Boolean", "values": "{{}}"}}],
                "value": [{{"k": "switch_1", "v": {on}}}]}}"#
        );
        fs::create_dir_all(self.path("devices")).unwrap();
        fs::write(self.path(&format!("devices/{device}.json")), profile).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .env_remove("HEARTHGATE_LOG")
            .env_remove("HEARTHGATE_KEY")
            .env_remove("HEARTHGATE_GATEWAY")
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("HOME", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command with a text on its standard input.
    fn run_with(&self, input: &str, args: &[&str]) -> Output {
        let mut child = self.command(args).spawn().unwrap();
        // A command that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that succeeds, and returns what it says.
    fn run(&self, args: &[&str]) -> String {
        let output = self.run_with("", args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that fails, and returns its exit code and error.
    fn fail(&self, args: &[&str]) -> (i32, String) {
        let output = self.run_with("", args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stderr)
    }

    fn add(&self, name: &str, uuid: &str, key: &str, more: &[&str]) {
        let args = [&["gateways", "add", name, "--uuid", uuid], more].concat();
        let output = self.run_with(&format!("{key}\n"), &args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }

    /// Starts a gateway and returns it with its address.
    fn gateway(&self, listen: &str, key: &str, more: &[&str]) -> (Running, String) {
        let devices = self.path("devices");
        let args = [
            &[
                "gateway",
                "--uuid",
                "hg-test",
                "--state",
                "none",
                "--listen",
                listen,
                "--devices",
                devices.to_str().unwrap(),
            ],
            more,
        ]
        .concat();
        let mut command = self.command(&args);
        command.env("HEARTHGATE_KEY", key);
        let gateway = Running::start(&mut command);
        let rest = gateway.stderr_after("listening on ws://");
        let address = rest.split(' ').next().unwrap().to_owned();
        (gateway, address)
    }
}

/// A process that does not outlive its test, and its lines as they come.
struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }

    fn stderr_after(&self, mark: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).unwrap();
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.to_owned();
            }
        }
    }

    fn line(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn stop(mut self) -> bool {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // Whoever has seen enough listens no more.
            let _ = sender.send(line);
        }
    });
    receiver
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn gateways_are_added_listed_renamed_and_removed_and_no_list_shows_a_key() {
    let place = Place::new();
    assert!(
        place
            .run(&["gateways", "list"])
            .contains("no gateway is known yet")
    );
    place.add(
        "home",
        "bf01",
        KEY,
        &["--address", "192.0.2.10", "--wire", "base64"],
    );
    fs::write(place.path("attic.key"), format!("{KEY}\n")).unwrap();
    let key_file = place.path("attic.key");
    let key_file = key_file.to_str().unwrap();
    place.add("attic", "bf02", "", &["--key-file", key_file]);
    assert_eq!(mode(&place.file()), 0o600);

    let table = place.run(&["gateways", "list"]);
    for shown in [
        "home",
        "bf01",
        "192.0.2.10",
        "wire=base64",
        "attic",
        "(found)",
        key_file,
    ] {
        assert!(table.contains(shown), "{shown}: {table}");
    }
    let json = place.run(&["gateways", "list", "--json"]);
    let listed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(listed[0]["name"], "home");
    assert_eq!(listed[0]["key"], "inline");
    assert_eq!(listed[0]["options"]["wire"], "base64");
    assert_eq!(listed[1]["key"], "file");
    assert!(listed[1]["address"].is_null());
    assert!(!table.contains(KEY) && !json.contains(KEY));

    place.run(&["gateways", "rename", "HOME", "house"]);
    place.run(&["gateways", "remove", "bf02"]);
    let names: Value = serde_json::from_str(&place.run(&["gateways", "list", "--json"])).unwrap();
    assert_eq!(names.as_array().unwrap().len(), 1);
    assert_eq!(names[0]["name"], "house");
    let (code, error) = place.fail(&["gateways", "remove", "hose"]);
    assert_eq!(code, 2);
    assert!(error.contains("did you mean house?"), "{error}");
    // Another key for a known one; all else stays.
    place.add("house", "bf01", OTHER_KEY, &[]);
    let text = fs::read_to_string(place.file()).unwrap();
    assert!(text.contains(OTHER_KEY) && !text.contains(KEY) && text.contains("192.0.2.10"));
}

#[test]
fn a_key_is_said_to_be_missing_or_wrong_without_being_repeated() {
    let place = Place::new();
    let (code, error) = place.fail(&["gateways", "add", "home", "--uuid", "bf01"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("vendor's app") && error.contains("LAN control"),
        "{error}"
    );
    let wrong = place.run_with(
        "no-key-of-mine\n",
        &["gateways", "add", "home", "--uuid", "bf01"],
    );
    let error = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        error.contains("16 printable") && !error.contains("no-key-of-mine"),
        "{error}"
    );
    assert!(!place.file().exists());
    let help = place.run(&["gateways", "add", "--help"]);
    assert!(help.contains("vendor's app"), "{help}");
    // The prompt needs a terminal; any key with blanks and quotes works from standard input.
    place.add("home", "bf01", " \"'\\ k#Pz7LwT4x ", &[]);
    assert!(
        place
            .run(&["gateways", "export", "--with-keys"])
            .contains("k#Pz7LwT4")
    );
}

#[test]
fn export_and_import_carry_all_over_and_keys_only_if_asked() {
    let (from, to) = (Place::new(), Place::new());
    from.add(
        "home",
        "bf01",
        KEY,
        &["--address", "192.0.2.10", "--padding", "zero"],
    );
    fs::write(from.path("b.key"), OTHER_KEY).unwrap();
    let key_file = from.path("b.key");
    from.add(
        "attic",
        "bf02",
        "",
        &["--key-file", key_file.to_str().unwrap()],
    );
    let bare = from.run(&["gateways", "export"]);
    assert!(!bare.contains(KEY) && !bare.contains("key"), "{bare}");
    let output = to.run_with(&bare, &["gateways", "import", "-"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("2 new") && said.contains("without a key yet: home, attic"),
        "{said}"
    );
    let (code, error) = to.fail(&["devices", "--gateway", "home"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("has no key") && error.contains("gateways add"),
        "{error}"
    );

    let full = from.run(&["gateways", "export", "--with-keys"]);
    fs::write(to.path("full.toml"), full).unwrap();
    let full = to.path("full.toml");
    let said = to.run(&["gateways", "import", full.to_str().unwrap()]);
    assert!(said.contains("2 changed"), "{said}");
    let said = to.run(&["gateways", "import", full.to_str().unwrap()]);
    assert!(said.contains("2 as they were"), "{said}");
    let text = fs::read_to_string(to.file()).unwrap();
    assert!(
        text.contains(KEY) && text.contains(OTHER_KEY) && text.contains("zero"),
        "{text}"
    );
}

#[test]
fn a_broken_file_is_named_with_its_line_and_left_alone() {
    let place = Place::new();
    place.add("home", "bf01", KEY, &[]);
    let broken = format!("[[gateway]]\nuuid = \"bf01\"\nkee = \"{KEY}\"\n");
    fs::write(place.file(), &broken).unwrap();
    for args in [
        ["gateways", "list"].as_slice(),
        &["gateways", "remove", "home"],
        &["devices", "--gateway", "home"],
    ] {
        let (code, error) = place.fail(args);
        assert_eq!(code, 2);
        assert!(
            error.contains("line 3: unknown key `kee`; did you mean `key`?"),
            "{error}"
        );
        assert!(!error.contains(KEY), "{error}");
    }
    assert_eq!(fs::read_to_string(place.file()).unwrap(), broken);
}

#[test]
fn a_known_gateway_is_meant_by_name_or_uuid_and_the_command_line_wins() {
    let place = Place::new();
    let (gateway, address) =
        place.gateway("127.0.0.1:0", KEY, &["--no-advertise", "--wire", "base64"]);
    place.add(
        "home",
        "hg-test",
        KEY,
        &["--address", &address, "--wire", "base64"],
    );
    for name in ["home", "HOME", "hg-test"] {
        let devices = place.run(&["devices", "--gateway", name, "--json"]);
        assert!(devices.contains("\"lamp\""), "{devices}");
    }
    let (code, _) = place.fail(&["devices", "--gateway", "home", "--wire", "binary"]);
    assert_eq!(code, 4);
    fs::write(place.path("other.key"), OTHER_KEY).unwrap();
    let other = place.path("other.key");
    let (code, error) = place.fail(&[
        "devices",
        "--gateway",
        "home",
        "--key-file",
        other.to_str().unwrap(),
    ]);
    assert_eq!(code, 4, "{error}");
    let (code, error) = place.fail(&["devices", "--gateway", &address]);
    assert_eq!(code, 2);
    assert!(error.contains(&format!("ws://{address}")), "{error}");
    let (code, error) = place.fail(&["devices", "--gateway", "hone"]);
    assert_eq!(code, 2);
    assert!(error.contains("did you mean home?"), "{error}");
    assert!(gateway.stop());
}

/// Returns a free UDP port, which stays free: no other test is on this address.
fn free_udp() -> String {
    let socket = UdpSocket::bind("127.0.0.11:0").unwrap();
    socket.local_addr().unwrap().to_string()
}

#[test]
fn a_known_gateway_without_an_address_is_found_by_its_advertisements() {
    let place = Place::new();
    let udp = free_udp();
    place.add("home", "hg-test", KEY, &[]);
    let (code, error) = place.fail(&[
        "devices",
        "--gateway",
        "home",
        "--listen",
        &udp,
        "--timeout",
        "300ms",
    ]);
    assert_eq!(code, 3);
    assert!(
        error.contains("nothing has been heard of the gateway home"),
        "{error}"
    );
    let (gateway, _) = place.gateway("127.0.0.1:0", KEY, &["--advertise", &udp]);
    let devices = place.run(&[
        "devices",
        "--gateway",
        "home",
        "--listen",
        &udp,
        "--timeout",
        "30s",
        "--json",
    ]);
    assert!(devices.contains("\"lamp\""), "{devices}");
    assert!(gateway.stop());
}

#[test]
fn watch_survives_restarts_and_says_so_and_repeats_no_event() {
    let place = Place::new();
    let (gateway, address) = place.gateway("127.0.0.1:0", KEY, &["--no-advertise"]);
    place.add("home", "hg-test", KEY, &["--address", &address]);
    let watch = Running::start(&mut place.command(&["watch", "--gateway", "home", "--json"]));
    let people = Running::start(&mut place.command(&["watch", "--gateway", "home"]));
    // Until each of the two is there, some presses may go by it.
    let first: Value = serde_json::from_str(&press_until_told(&place, &watch)).unwrap();
    assert_eq!(first["data"]["devid"], "lamp");
    let told = press_until_told(&place, &people);
    assert!(told.contains("switch_1 = "), "{told}");
    assert!(gateway.stop());
    let down = until(&watch, |line| line["type"] == "link");
    assert_eq!(down["state"], "down");
    assert!(
        down["reason"]
            .as_str()
            .unwrap()
            .contains("shuts down or restarts"),
        "{down}"
    );

    // Other values meanwhile: they are no events.
    place.profile("lamp", true);
    let (gateway, _) = place.gateway(&address, KEY, &["--no-advertise"]);
    assert_eq!(
        watch.json(),
        serde_json::json!({"type": "link", "state": "up"})
    );
    turn(&place, false);
    let event = watch.json();
    assert_eq!(event["type"], "event");
    assert_eq!(event["data"]["value"][0]["v"], false);
    let mut told = Vec::new();
    while !told.iter().any(|line: &String| line.ends_with("link up")) {
        told.push(people.line());
    }
    assert!(
        told.iter().any(|line| line.contains("link down: ")),
        "{told:?}"
    );

    // Another key: it is rejected until the file has it, and then at once.
    assert!(gateway.stop());
    assert_eq!(
        until(&watch, |line| line["type"] == "link")["state"],
        "down"
    );
    let (gateway, _) = place.gateway(&address, OTHER_KEY, &["--no-advertise"]);
    let rejected = until(&watch, |line| line["type"] == "link");
    assert!(
        rejected["reason"]
            .as_str()
            .unwrap()
            .contains("authentication"),
        "{rejected}"
    );
    place.add("home", "hg-test", OTHER_KEY, &[]);
    let up = watch.stdout.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(up, r#"{"type":"link","state":"up"}"#);
    assert!(watch.stop() && people.stop());
    assert!(gateway.stop());
}

#[test]
fn a_watch_that_cannot_begin_ends_with_the_usual_exit_code() {
    let place = Place::new();
    let (gateway, address) = place.gateway("127.0.0.1:0", KEY, &["--no-advertise"]);
    place.add("home", "hg-test", OTHER_KEY, &["--address", &address]);
    assert_eq!(place.fail(&["watch", "--gateway", "home"]).0, 4);
    assert!(gateway.stop());
    assert_eq!(place.fail(&["watch", "--gateway", "home"]).0, 3);
    assert_eq!(place.fail(&["watch", "--gateway", "nobody"]).0, 2);
}

fn turn(place: &Place, on: bool) {
    let assignment = format!("switch_1={}", if on { "on" } else { "off" });
    place.run(&["set", "lamp", &assignment, "--gateway", "home"]);
}

/// Presses until this watcher tells of it, and gives its line.
fn press_until_told(place: &Place, watch: &Running) -> String {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        turn(place, true);
        if let Ok(line) = watch.stdout.recv_timeout(Duration::from_millis(500)) {
            return line;
        }
    }
    panic!("the watcher told of nothing");
}

fn until(watch: &Running, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let line = watch.json();
        if wanted(&line) {
            return line;
        }
    }
}
