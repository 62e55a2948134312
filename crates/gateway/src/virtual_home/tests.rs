//! Virtual homes of real files.

mod edits;
mod folders;
mod memory;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthgate_protocol::wire::{DeviceWrite, ErrorBody, Request};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::VirtualHome;
use crate::event_log::Position;
use crate::registry::Registry;
use crate::testing::{status, write};

/// The longest that anything may take, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// A profile with a switch, a temperature and a button that only takes writes.
fn profile(id: &str, online: bool, temp: i64) -> String {
    let (switch, integer) = (
        r#"{"code":"switch_1","type":"Boolean","values":"{}"}"#,
        r#"{"code":"temp","type":"Integer","values":"{\"min\":0,\"max\":100}"}"#,
    );
    let press = r#"{"code":"press","type":"Boolean","values":"{}"}"#;
    format!(
        r#"{{"devid":"{id}","category":"kg","function":[{switch},{integer},{press}],
        "status":[{switch},{integer}],"online":{online},
        "value":[{{"k":"switch_1","v":false}},{{"k":"temp","v":{temp}}}]}}"#
    )
}

fn load(roots: &[&Path]) -> VirtualHome {
    let roots: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
    VirtualHome::load(&roots).unwrap()
}

/// A folder of profiles that is being served.
struct Served {
    folder: TempDir,
    registry: Registry,
    _stop: DropGuard,
}

impl Served {
    /// Serves a folder with one file for each device.
    fn start(ids: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for id in ids {
            fs::write(
                folder.path().join(format!("{id}.json")),
                profile(id, true, 1),
            )
            .unwrap();
        }
        let home = load(&[folder.path()]);
        Self::run(folder, home)
    }

    fn run(folder: TempDir, home: VirtualHome) -> Self {
        let stop = CancellationToken::new();
        let (registry, running) = Registry::start(vec![Box::new(home)], false, &stop).unwrap();
        for future in running {
            tokio::spawn(future);
        }
        Self {
            folder,
            registry,
            _stop: stop.drop_guard(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Returns all events so far, without what they have in common.
    fn events(&self) -> Vec<String> {
        let unread = self.registry.events_since(Position::default(), u64::MAX);
        let short = |json: &[u8]| {
            let text = String::from_utf8(json.to_vec()).unwrap();
            let (_, event) = text.split_once("\"event_type\":").unwrap();
            event.replace("\"data\":", "")
        };
        unread
            .unwrap()
            .events()
            .map(|(_, json)| short(json))
            .collect()
    }

    /// Waits until an event contains a text, and returns all of them.
    async fn until(&self, wanted: &str) -> Vec<String> {
        self.wait(|events| events.iter().any(|event| event.contains(wanted)))
            .await
    }

    /// Waits until the last event is this one.
    async fn until_last(&self, wanted: &str) {
        self.wait(|events| events.last().is_some_and(|event| event == wanted))
            .await;
    }

    async fn wait(&self, done: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut end = self.registry.ends();
        let waited = timeout(PATIENCE, async {
            while !done(&self.events()) {
                end.changed().await.unwrap();
            }
        });
        let in_time = waited.await.is_ok();
        assert!(in_time, "these alone came: {:?}", self.events());
        self.events()
    }

    async fn set(&self, writes: &[DeviceWrite]) -> Result<(), ErrorBody> {
        self.registry.write(writes)?.await
    }

    fn answer(&self, request: &Request) -> String {
        let mut out = Vec::new();
        self.registry
            .answer(1, request, Position::default(), &mut out);
        String::from_utf8(out).unwrap()
    }
}

fn state(id: &str, code: &str, value: &str) -> String {
    format!(r#""state_changed",{{"devid":"{id}","value":[{{"k":"{code}","v":{value}}}]}}}}"#)
}

fn registry(id: &str, state: u8) -> String {
    format!(r#""registry_updated",{{"devid":"{id}","state":{state}}}}}"#)
}

#[tokio::test]
async fn a_write_changes_the_value_and_reports_it_also_an_equal_one() {
    let home = Served::start(&["a"]);
    for _ in 0..2 {
        home.set(&[write("a", "temp", 5)]).await.unwrap();
    }
    assert_eq!(
        home.events(),
        [state("a", "temp", "5"), state("a", "temp", "5")]
    );
    let status = home.answer(&status(&["a"]));
    assert!(status.contains(r#"{"k":"temp","v":5}"#), "{status}");
}

#[tokio::test]
async fn a_write_only_code_succeeds_without_an_event_or_a_value() {
    let home = Served::start(&["a"]);
    home.set(&[write("a", "press", true)]).await.unwrap();
    assert!(home.events().is_empty());
    assert!(!home.answer(&status(&["a"])).contains("press"));
}

#[test]
fn everything_broken_is_named_with_file_position_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    put("a.json", &profile("same", true, 1));
    put("b.json", &profile("same", true, 1));
    put("c.json", "{\n  \"devid\": 7\n}");
    put("d.json", "");
    put(".hidden.json", "not looked at");
    put("notes.txt", "not looked at");
    fs::write(folder.path().join("e.json"), [0xff]).unwrap();
    let error = VirtualHome::load(&[folder.path().to_owned()]).unwrap_err();
    let text = error
        .to_string()
        .replace(folder.path().to_str().unwrap(), "");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        lines[0],
        "/b.json: device same is in /a.json already; give one of them another devid"
    );
    assert!(lines[1].starts_with("/c.json: line 2, column "), "{text}");
    assert!(lines[2].starts_with("/d.json: line 1, column "), "{text}");
    assert_eq!(lines[3], "/e.json: not UTF-8");
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let missing = PathBuf::from("no/such/folder");
    let error = VirtualHome::load(&[missing]).unwrap_err().to_string();
    assert!(error.starts_with("cannot read no/such/folder: "), "{error}");
}

#[test]
fn a_file_that_is_named_twice_is_loaded_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    fs::write(&file, profile("a", true, 1)).unwrap();
    assert_eq!(load(&[folder.path(), &file]).home.len(), 1);
}
