//! Stores that cannot be used: set aside as they are, and never in the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::super::{Fault, VALUES_FILE, ValueStore, aside};
use super::{as_if_killed, bright, lamp, points};

/// Returns all files by name with their content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let content = |path: &Path| match path.is_dir() {
        true => Vec::new(),
        false => fs::read(path).unwrap(),
    };
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, content(&entry.path()))
        })
        .collect()
}

/// Opens what was broken: it is set aside to the byte, and the store is empty and works.
fn check_set_aside(folder: &Path) {
    let before = files(folder);
    let store = ValueStore::open(folder).unwrap();
    assert!(store.known.is_empty());
    drop(store);
    let mut after = files(folder);
    assert!(after.remove(VALUES_FILE).is_some());
    // Looking at a store makes an empty log where there is none.
    after.retain(|name, content| !(name.ends_with("-wal") && content.is_empty()));
    let kept: BTreeMap<String, Vec<u8>> = after
        .into_iter()
        .map(|(name, content)| {
            let (stem, rest) = name.split_once("-damaged-").unwrap();
            assert!(rest.starts_with("20") && rest.contains("Z.db"), "{name}");
            let log = if name.ends_with("-wal") { "-wal" } else { "" };
            (format!("{stem}.db{log}"), content)
        })
        .collect();
    assert!(
        kept == before,
        "{:?} became {:?}",
        before.keys(),
        kept.keys()
    );
    drop(lamp(folder, 2));
    assert_eq!(bright(folder), Some(2));
}

/// Breaks the store of a process that was killed, with a log, and of one that ended in order.
fn check(break_it: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let store = lamp(folder.path(), 3);
    store.sync().unwrap();
    let killed = as_if_killed(folder.path());
    drop(store);
    for folder in [folder, killed] {
        break_it(&folder.path().join(VALUES_FILE));
        check_set_aside(folder.path());
    }
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    check(|path| fs::write(path, "once upon a time ".repeat(1000)).unwrap());
    check(|path| fs::write(path, "no").unwrap());
}

#[test]
fn an_empty_file_is_set_aside() {
    check(|path| fs::write(path, "").unwrap());
}

#[test]
fn a_file_that_was_cut_is_set_aside() {
    check(|path| {
        let _ = fs::remove_file(aside::log_of(path));
        let content = fs::read(path).unwrap();
        fs::write(path, &content[..content.len() - 4096]).unwrap();
    });
}

#[test]
fn a_folder_in_its_place_is_set_aside() {
    check(|path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    });
}

#[test]
fn a_log_without_its_store_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = lamp(folder.path(), 3);
    let killed = as_if_killed(folder.path());
    drop(store);
    fs::remove_file(killed.path().join(VALUES_FILE)).unwrap();
    check_set_aside(killed.path());
}

#[test]
fn another_version_and_another_programs_database_are_set_aside() {
    for (name, value) in [
        ("user_version", 2),
        ("user_version", 0),
        ("application_id", 5),
    ] {
        let folder = tempfile::tempdir().unwrap();
        drop(lamp(folder.path(), 3));
        let other = Connection::open(folder.path().join(VALUES_FILE)).unwrap();
        other.pragma_update(None, name, value).unwrap();
        drop(other);
        check_set_aside(folder.path());
    }
}

#[test]
fn no_byte_that_changed_becomes_another_value() {
    let folder = tempfile::tempdir().unwrap();
    drop(lamp(folder.path(), 3));
    let path = folder.path().join(VALUES_FILE);
    let whole = fs::read(&path).unwrap();
    let store = ValueStore::open(folder.path()).unwrap();
    let expected = points(&store, "lamp");
    drop(store);
    // What is not zero, and some of the empty space.
    let places = (0..whole.len()).filter(|place| whole[*place] != 0 || place % 4001 == 0);
    let (mut same, mut aside) = (0, 0);
    for place in places {
        let mut content = whole.clone();
        content[place] ^= 1 << (place % 8);
        let broken = tempfile::tempdir().unwrap();
        fs::write(broken.path().join(VALUES_FILE), &content).unwrap();
        match ValueStore::open_present(&broken.path().join(VALUES_FILE)) {
            Ok(store) => {
                same += 1;
                assert_eq!(points(&store.unwrap(), "lamp"), expected, "at {place}");
            }
            Err(Fault::Damaged(_)) => aside += 1,
            Err(Fault::Refused(error)) => panic!("at {place}: {error}"),
        }
    }
    assert!(
        same > 0 && aside > 100,
        "{same} the same, {aside} set aside"
    );
}

#[test]
fn two_within_a_second_are_both_kept() {
    let folder = tempfile::tempdir().unwrap();
    for content in ["one", "two", "three"] {
        fs::write(folder.path().join(VALUES_FILE), content).unwrap();
        drop(ValueStore::open(folder.path()).unwrap());
    }
    let files = files(folder.path());
    assert_eq!(files.len(), 4, "{:?}", files.keys());
    for content in ["one", "two", "three"] {
        assert!(files.values().any(|kept| kept == content.as_bytes()));
    }
}

#[test]
fn where_no_new_store_can_be_made_the_broken_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state");
    fs::create_dir(&place).unwrap();
    drop(lamp(&place, 3));
    // The folder of a new store cannot be made where the unfinished one does not go away.
    fs::create_dir_all(place.join("values.new/full")).unwrap();
    assert_eq!(bright(&place), Some(3));
    fs::write(place.join(VALUES_FILE), "broken").unwrap();
    let error = ValueStore::open(&place).unwrap_err().to_string();
    assert!(error.starts_with("cannot remove "), "{error}");
    assert!(files(&place).values().any(|kept| kept == b"broken"));
}
