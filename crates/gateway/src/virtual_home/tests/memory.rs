//! What a virtual home remembers when it starts again, and when the profiles count.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use hearthgate_protocol::model::{Change, Point, Reading, Source, Value};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{PATIENCE, load, profile};
use crate::driver::Driver;
use crate::registry::{Registry, now};
use crate::testing::{status, write};
use crate::values::{Batch, ValueStore};
use crate::virtual_home::VirtualHome;

const HOUR: Duration = Duration::from_secs(3600);

/// Profiles that were made an hour ago, and a state folder.
struct Kept {
    profiles: TempDir,
    state: TempDir,
}

impl Kept {
    fn new(ids: &[&str]) -> Self {
        let kept = Self {
            profiles: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
        };
        for id in ids {
            kept.put(id, &profile(id, true, 1));
            kept.age(id, SystemTime::now() - HOUR);
        }
        kept
    }

    fn put(&self, id: &str, content: &str) {
        fs::write(self.profiles.path().join(format!("{id}.json")), content).unwrap();
    }

    /// Gives a profile's file a modification time.
    fn age(&self, id: &str, modified: SystemTime) {
        let path = self.profiles.path().join(format!("{id}.json"));
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(modified).unwrap();
    }

    /// Starts the home anew, and stores what there is to store at the start.
    fn start(&self) -> VirtualHome {
        let store = ValueStore::open(self.state.path()).unwrap();
        let mut home = load(&[self.profiles.path()]).with_values(store);
        store_all(&mut home);
        home
    }

    /// Starts it, and writes the temperature of a device.
    fn start_and_write(&self, id: &str, temp: i64) -> VirtualHome {
        let mut home = self.start();
        set(&mut home, id, "temp", temp.into());
        home
    }
}

fn set(home: &mut VirtualHome, id: &str, code: &str, value: Value) {
    let readings = vec![Reading::new(code, value)];
    home.command(&id.into(), readings).unwrap();
    store_all(home);
}

/// Does what the writer does when the home runs.
fn store_all(home: &mut VirtualHome) {
    let mut batch = Batch::default();
    home.records()
        .into_iter()
        .for_each(|record| batch.add(record));
    home.store.as_mut().unwrap().commit(&batch).unwrap();
}

fn point(home: &VirtualHome, id: &str, code: &str) -> Option<Point> {
    home.home.device(id).unwrap().point(code).cloned()
}

fn temp(home: &VirtualHome, id: &str) -> Option<i64> {
    point(home, id, "temp").unwrap().value.as_i64()
}

/// A profile that has another schema: its temperature goes up to 200.
fn wider(id: &str, temp: i64) -> String {
    profile(id, true, temp).replace("100", "200")
}

/// A profile whose temperature has no first value.
fn without_temp(id: &str) -> String {
    profile(id, true, 1).replace(r#",{"k":"temp","v":1}"#, "")
}

/// A profile that knows no temperature.
fn switch_alone(id: &str) -> String {
    without_temp(id).replace("\"temp\"", "\"other\"")
}

#[test]
fn a_written_value_is_there_after_a_restart_with_its_age() {
    let kept = Kept::new(&["a"]);
    let before = now();
    let mut home = kept.start_and_write("a", 5);
    let changed = point(&home, "a", "temp").unwrap();
    set(&mut home, "a", "temp", 5.into());
    let confirmed = point(&home, "a", "temp").unwrap();
    let switch = point(&home, "a", "switch_1").unwrap();
    drop(home);
    let home = kept.start();
    let after = point(&home, "a", "temp").unwrap();
    assert_eq!(after.value.as_i64(), Some(5));
    assert_eq!(after.confirmed, confirmed.confirmed);
    assert_eq!(after.confirmed.source, Source::Cache);
    assert_eq!(after.changed, changed.changed);
    assert!(before <= after.changed && after.changed <= after.confirmed.at);
    // The value that nobody wrote is as old as its reading from the profile.
    assert_eq!(point(&home, "a", "switch_1"), Some(switch));
    // The registry gets the same.
    assert_eq!(home.devices()[0].point("temp"), Some(&after));
}

#[test]
fn values_are_kept_to_the_byte_and_in_order() {
    let kept = Kept::new(&[]);
    let odd = r#"{"k":"x","v":{"b": 1.50,"a":[]}},{"k":"y","v":"1"}"#;
    kept.put(
        "a",
        &profile("a", true, 1).replace("[{\"k\"", &format!("[{odd},{{\"k\"")),
    );
    let home = kept.start();
    let codes = |home: &VirtualHome| -> Vec<String> {
        let points = home.home.device("a").unwrap().points().iter();
        points
            .map(|point| format!("{}={}", point.code, point.value.json()))
            .collect()
    };
    let first = codes(&home);
    assert_eq!(first[0], r#"x={"b": 1.50,"a":[]}"#);
    drop(home);
    assert_eq!(codes(&kept.start()), first);
}

#[test]
fn a_profile_that_was_modified_after_it_was_read_wins() {
    let kept = Kept::new(&["a", "b"]);
    let home = kept.start_and_write("a", 5);
    let first = point(&home, "a", "switch_1").unwrap();
    drop(home);
    kept.put("a", &profile("a", true, 1));
    kept.age("a", SystemTime::now());
    let home = kept.start();
    assert_eq!(temp(&home, "a"), Some(1));
    // An equal value is confirmed by that, and has not changed.
    let switch = point(&home, "a", "switch_1").unwrap();
    assert_eq!(switch.changed, first.changed);
    assert!(switch.confirmed.at >= first.confirmed.at);
    drop(home);
    // It has been read by now.
    drop(kept.start_and_write("a", 6));
    assert_eq!(temp(&kept.start(), "a"), Some(6));
}

#[test]
fn a_profile_that_changed_but_is_older_does_not_win() {
    let kept = Kept::new(&["a"]);
    drop(kept.start_and_write("a", 5));
    kept.put("a", &wider("a", 7));
    kept.age("a", SystemTime::now() - HOUR);
    let home = kept.start();
    assert_eq!(temp(&home, "a"), Some(5));
    let schema = home.home.device("a").unwrap().schema();
    assert!(format!("{schema:?}").contains("200"));
}

#[test]
fn a_profile_from_the_future_wins_once() {
    let kept = Kept::new(&["a"]);
    drop(kept.start_and_write("a", 5));
    kept.age("a", SystemTime::now() + HOUR);
    let home = kept.start();
    assert_eq!(temp(&home, "a"), Some(1));
    drop(home);
    drop(kept.start_and_write("a", 6));
    assert_eq!(temp(&kept.start(), "a"), Some(6));
    // Another version of it, which is from the future as well, is news again.
    kept.age("a", SystemTime::now() + HOUR + HOUR);
    assert_eq!(temp(&kept.start(), "a"), Some(1));
}

#[test]
fn only_the_device_whose_profile_was_modified_starts_from_it() {
    let kept = Kept::new(&["a", "b"]);
    let mut home = kept.start_and_write("a", 5);
    set(&mut home, "b", "temp", 6.into());
    drop(home);
    kept.age("a", SystemTime::now());
    let home = kept.start();
    assert_eq!((temp(&home, "a"), temp(&home, "b")), (Some(1), Some(6)));
}

#[test]
fn a_value_that_the_profile_does_not_give_stays_if_it_declares_the_code() {
    for modified in [SystemTime::now() - HOUR, SystemTime::now() + HOUR] {
        let kept = Kept::new(&["a"]);
        drop(kept.start_and_write("a", 5));
        kept.put("a", &without_temp("a"));
        kept.age("a", modified);
        let home = kept.start();
        assert_eq!(temp(&home, "a"), Some(5));
        drop(home);
        kept.put("a", &switch_alone("a"));
        kept.age("a", modified + HOUR);
        assert_eq!(point(&kept.start(), "a", "temp"), None);
    }
}

#[test]
fn a_value_that_is_new_in_an_older_profile_is_taken_and_kept() {
    let kept = Kept::new(&[]);
    kept.put("a", &without_temp("a"));
    drop(kept.start());
    kept.put("a", &profile("a", true, 7));
    kept.age("a", SystemTime::now() - HOUR);
    let home = kept.start();
    let first = point(&home, "a", "temp").unwrap();
    assert_eq!(first.value.as_i64(), Some(7));
    drop(home);
    assert_eq!(point(&kept.start(), "a", "temp"), Some(first));
}

#[test]
fn whether_a_device_is_online_is_the_profiles() {
    let kept = Kept::new(&["a"]);
    drop(kept.start_and_write("a", 5));
    kept.put("a", &profile("a", false, 1));
    kept.age("a", SystemTime::now() - HOUR);
    let home = kept.start();
    assert!(!home.home.device("a").unwrap().online());
    assert_eq!(temp(&home, "a"), Some(5));
}

#[test]
fn an_edit_at_run_time_is_a_reading_of_the_profile() {
    let kept = Kept::new(&["a", "b"]);
    let mut home = kept.start_and_write("a", 5);
    set(&mut home, "a", "switch_1", true.into());
    let switch = point(&home, "a", "switch_1").unwrap();
    kept.put("a", &profile("a", true, 7));
    assert_eq!(home.reload().len(), 1);
    store_all(&mut home);
    drop(home);
    // What was written and not edited stays, at run time and after it.
    let home = kept.start();
    assert_eq!(temp(&home, "a"), Some(7));
    assert_eq!(point(&home, "a", "switch_1"), Some(switch));
    drop(home);
    drop(kept.start_and_write("a", 8));
    assert_eq!(temp(&kept.start(), "a"), Some(8));
}

#[test]
fn an_edited_schema_leaves_values_their_ages_and_takes_away_what_it_dropped() {
    let kept = Kept::new(&["a"]);
    let mut home = kept.start_and_write("a", 5);
    let first = point(&home, "a", "temp").unwrap();
    kept.put("a", &wider("a", 1));
    let [Change::Upsert(upserted)] = &home.reload()[..] else {
        panic!("no upsert");
    };
    assert_eq!(upserted.point("temp"), Some(&first));
    kept.put("a", &without_temp("a").replace("100", "200"));
    home.reload();
    store_all(&mut home);
    drop(home);
    assert_eq!(point(&kept.start(), "a", "temp"), None);
}

#[test]
fn a_profile_that_is_touched_at_run_time_counts_at_the_next_start() {
    let kept = Kept::new(&["a"]);
    let mut home = kept.start_and_write("a", 5);
    kept.age("a", SystemTime::now() + HOUR);
    assert!(home.reload().is_empty());
    store_all(&mut home);
    drop(home);
    assert_eq!(temp(&kept.start(), "a"), Some(1));
}

#[test]
fn the_values_of_a_device_outlive_its_profile() {
    let kept = Kept::new(&["a", "b"]);
    let (file, away) = (
        kept.profiles.path().join("a.json"),
        kept.profiles.path().join("a.away"),
    );
    drop(kept.start_and_write("a", 5));
    // Not there at a start.
    fs::rename(&file, &away).unwrap();
    let mut home = kept.start();
    assert_eq!(home.home.len(), 1);
    fs::rename(&away, &file).unwrap();
    assert_eq!(home.reload().len(), 1);
    assert_eq!(temp(&home, "a"), Some(5));
    // Gone and back at run time.
    set(&mut home, "a", "temp", 6.into());
    let first = point(&home, "a", "temp");
    fs::rename(&file, &away).unwrap();
    home.reload();
    fs::rename(&away, &file).unwrap();
    home.reload();
    assert_eq!(point(&home, "a", "temp"), first);
    store_all(&mut home);
    drop(home);
    let mut home = kept.start();
    assert_eq!(point(&home, "a", "temp"), first);
    // A new file is news.
    fs::remove_file(&file).unwrap();
    home.reload();
    kept.put("a", &profile("a", true, 9));
    kept.age("a", SystemTime::now());
    home.reload();
    assert_eq!(temp(&home, "a"), Some(9));
}

#[test]
fn without_a_store_nothing_is_remembered() {
    let kept = Kept::new(&["a"]);
    let mut home = load(&[kept.profiles.path()]);
    home.command(&"a".into(), write("a", "temp", 5).readings)
        .unwrap();
    assert!(home.records().is_empty());
    drop(home);
    assert_eq!(temp(&kept.start(), "a"), Some(1));
}

/// A home that is served with its memory.
struct Running {
    registry: Registry,
    stop: DropGuard,
    ended: Vec<tokio::task::JoinHandle<()>>,
}

impl Running {
    fn start(home: VirtualHome) -> Self {
        let stop = CancellationToken::new();
        let (registry, running) = Registry::start(vec![Box::new(home)], false, &stop).unwrap();
        Self {
            registry,
            stop: stop.drop_guard(),
            ended: running.into_iter().map(|f| tokio::spawn(f)).collect(),
        }
    }

    async fn set(&self, id: &str, temp: i64) {
        let writes = [write(id, "temp", temp)];
        self.registry.write(&writes).unwrap().await.unwrap();
    }

    async fn stop(self) {
        drop(self.stop);
        for ended in self.ended {
            ended.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_were_acknowledged_are_read_at_once_and_after_the_end() {
    let kept = Kept::new(&["a", "b"]);
    for round in 0..3 {
        let store = ValueStore::open(kept.state.path()).unwrap();
        let home = Running::start(load(&[kept.profiles.path()]).with_values(store));
        for value in 0..30 {
            home.set("a", round * 30 + value).await;
            let mut out = Vec::new();
            let position = crate::event_log::Position::default();
            home.registry.answer(1, &status(&["a"]), position, &mut out);
            let answer = String::from_utf8(out).unwrap();
            let expected = format!("{{\"k\":\"temp\",\"v\":{}}}", round * 30 + value);
            assert!(answer.contains(&expected), "{answer}");
        }
        tokio::time::timeout(PATIENCE, home.stop()).await.unwrap();
        // Its end is the end of the store as well, which leaves no log.
        assert_eq!(fs::read_dir(kept.state.path()).unwrap().count(), 1);
        assert_eq!(temp(&kept.start(), "a"), Some(round * 30 + 29));
    }
}
