//! Stores of real files: what they give back, and what becomes of those that are broken.

mod damage;

use std::fs;
use std::path::Path;

use hearthgate_protocol::model::{Point, Source, Stamp, Timestamp, Value};
use rusqlite::config::DbConfig;
use tempfile::TempDir;

use super::{Batch, FileTimes, Record, Stored, VALUES_FILE, ValueStore, aside};
use crate::store::StoreError;

pub(super) const FILE: FileTimes = FileTimes {
    read: 1_700_000_000_123_456_789,
    modified: 1_600_000_000_000_000_001,
};

/// A value that was confirmed at a time and has changed a while before.
pub(super) fn point(code: &str, json: &str, at: i64) -> Point {
    Point {
        code: code.into(),
        value: Value::parse(json).unwrap(),
        confirmed: Stamp {
            at: Timestamp(at),
            source: Source::Cache,
        },
        changed: Timestamp(at - 7),
    }
}

pub(super) fn whole(device: &str, points: Vec<Point>) -> Record {
    Record::Device {
        device: device.into(),
        file: FILE,
        points,
    }
}

pub(super) fn some(device: &str, points: Vec<Point>) -> Record {
    Record::Points {
        device: device.into(),
        points,
    }
}

pub(super) fn batch(records: impl IntoIterator<Item = Record>) -> Batch {
    let mut batch = Batch::default();
    records.into_iter().for_each(|record| batch.add(record));
    batch
}

pub(super) fn points(store: &ValueStore, device: &str) -> Vec<Point> {
    let stored = store.known.get(device);
    stored
        .map(|stored| stored.points.clone())
        .unwrap_or_default()
}

/// Copies a store as it is on disk now: what another process would find if this one were killed.
pub(super) fn as_if_killed(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Makes a store with a lamp whose `bright` is 1, 2, .. after each commit, and closes nothing.
pub(super) fn lamp(folder: &Path, commits: i64) -> ValueStore {
    let mut store = ValueStore::open(folder).unwrap();
    let first = whole("lamp", vec![point("bright", "0", 10)]);
    store.commit(&batch([first])).unwrap();
    for value in 1..=commits {
        let bright = point("bright", &value.to_string(), value);
        store.commit(&batch([some("lamp", vec![bright])])).unwrap();
    }
    store
}

pub(super) fn bright(folder: &Path) -> Option<i64> {
    let store = ValueStore::open(folder).unwrap();
    // Hundreds of looks need not flush what they looked at.
    let no_flush = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    store.connection.set_db_config(no_flush, true).unwrap();
    points(&store, "lamp").first()?.value.as_i64()
}

#[test]
fn values_come_back_to_the_byte_with_their_ages_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let odd = [
        "1.50",
        "-0",
        "1e400",
        "99999999999999999999999",
        "-9223372036854775808",
        "null",
        "true",
        r#""""#,
        r#""\u0000 \ud83d\ude00 \/ 日本 '; DROP TABLE point; --""#,
        r#"{"b":[1, 2.0,{"a":"\""}],"a":null,"a":1}"#,
        "[[[]]]",
    ];
    let codes = [
        "z", "a\0b", "", "\"'%_", "温度", "a", "A", "b", "c", "d", "e",
    ];
    let values: Vec<Point> = (0..)
        .zip(codes.iter().zip(odd))
        .map(|(at, (code, json))| point(code, json, i64::MAX - at))
        .collect();
    let mut store = ValueStore::open(folder.path()).unwrap();
    let records = [whole("a\0\"'", values.clone()), whole("none", Vec::new())];
    store.commit(&batch(records)).unwrap();
    let killed = as_if_killed(folder.path());
    drop(store);
    for folder in [folder.path(), killed.path()] {
        let mut store = ValueStore::open(folder).unwrap();
        let known = store.take_known();
        let stored = Stored {
            file: FILE,
            points: values.clone(),
        };
        assert_eq!(known.get("a\0\"'"), Some(&stored));
        assert_eq!(known.get("none").map(|none| none.points.len()), Some(0));
        assert_eq!(known.len(), 2);
    }
}

#[test]
fn a_value_is_replaced_and_others_stay_and_a_reading_of_the_profile_replaces_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = ValueStore::open(folder.path()).unwrap();
    let both = vec![point("a", "1", 10), point("b", "1", 10)];
    store.commit(&batch([whole("x", both)])).unwrap();
    let newer = vec![point("c", "1", 20), point("a", "2", 20)];
    store.commit(&batch([some("x", newer)])).unwrap();
    drop(store);
    let mut store = ValueStore::open(folder.path()).unwrap();
    let expected = [
        point("a", "2", 20),
        point("b", "1", 10),
        point("c", "1", 20),
    ];
    assert_eq!(points(&store, "x"), expected);
    let only = vec![point("c", "3", 30)];
    store.commit(&batch([whole("x", only.clone())])).unwrap();
    drop(store);
    let store = ValueStore::open(folder.path()).unwrap();
    assert_eq!(points(&store, "x"), only);
}

#[test]
fn records_that_wait_together_become_one_of_the_newest_values() {
    let merged = batch([
        some("x", vec![point("a", "1", 1), point("b", "1", 1)]),
        whole("x", vec![point("a", "2", 2)]),
        some("x", vec![point("a", "3", 3), point("c", "3", 3)]),
        some("y", vec![point("a", "4", 4)]),
        some("y", vec![point("a", "5", 5)]),
    ]);
    let mut devices: Vec<_> = merged.devices().collect();
    devices.sort_by_key(|(device, ..)| device.as_str().to_owned());
    let x = [point("a", "3", 3), point("c", "3", 3)];
    let y = [point("a", "5", 5)];
    let expected = [
        (&"x".into(), Some(FILE), &x[..]),
        (&"y".into(), None, &y[..]),
    ];
    assert_eq!(devices, expected);
}

#[test]
fn an_orderly_end_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    drop(lamp(folder.path(), 3));
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, [VALUES_FILE]);
    assert_eq!(bright(folder.path()), Some(3));
}

#[test]
fn after_a_power_cut_in_the_midst_of_the_log_an_earlier_commit_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = lamp(folder.path(), 8);
    let log = fs::read(aside::log_of(&folder.path().join(VALUES_FILE))).unwrap();
    let mut last = 0;
    let steps = (0..=log.len()).step_by(517).chain([log.len()]);
    for length in steps {
        // What the disk did not get is missing, or is what was there before.
        for rest in [&b""[..], &[0; 4096], &[0xa5; 5000]] {
            let cut = as_if_killed(folder.path());
            let path = aside::log_of(&cut.path().join(VALUES_FILE));
            fs::write(path, [&log[..length], rest].concat()).unwrap();
            let value = bright(cut.path()).unwrap_or(0);
            assert!(value >= last && value <= 8, "{value} after {last}");
            last = value;
            assert!(fs::read_dir(cut.path()).unwrap().count() <= 2, "set aside");
        }
    }
    assert_eq!(last, 8);
    drop(store);
}

#[test]
fn a_full_disk_stores_nothing_of_a_batch_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = lamp(folder.path(), 5);
    let limit = |store: &ValueStore, pages: i64| {
        store
            .connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    };
    limit(&store, 1);
    let large = format!("\"{}\"", "x".repeat(100_000));
    let records = [
        some("lamp", vec![point("bright", "6", 6)]),
        whole("large", vec![point("note", &large, 6)]),
    ];
    let full = store.commit(&batch(records.clone())).unwrap_err();
    assert_eq!(full.to_string(), "database or disk is full");
    assert_eq!(bright(as_if_killed(folder.path()).path()), Some(5));
    limit(&store, 1 << 20);
    store.commit(&batch(records)).unwrap();
    drop(store);
    assert_eq!(bright(folder.path()), Some(6));
}

#[cfg(unix)]
#[test]
fn its_files_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let _store = lamp(folder.path(), 1);
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
    }
}

#[test]
fn what_was_left_half_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["values.new", "values.new-wal"] {
        fs::write(folder.path().join(name), "half").unwrap();
    }
    drop(lamp(folder.path(), 1));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(bright(folder.path()), Some(1));
}

#[test]
fn a_folder_that_takes_no_file_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("gone");
    let error = ValueStore::open(&missing).unwrap_err();
    assert!(matches!(error, StoreError::Access { .. }));
    let text = error.to_string();
    assert!(text.starts_with("cannot make "), "{text}");
    assert!(text.contains("gone/values.new: No such file"), "{text}");
    assert!(
        text.ends_with("choose another folder with --state, or none"),
        "{text}"
    );
}
