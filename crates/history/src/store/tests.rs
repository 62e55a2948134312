//! Stores of real files: what they hold after whatever happened to them.

mod damage;
mod killed;
mod means;
mod retention;
mod sqlite;

use std::fs::File;
use std::path::{Path, PathBuf};

use hearthgate_hub::{DeviceRef, Subject};
use hearthgate_protocol::model::{Source, Timestamp, Value};
use tempfile::TempDir;

use super::*;
use crate::row::{Batch, Row, SeriesRow};

/// The start of an hour.
pub(crate) const START: i64 = 1_700_002_800_000;

/// A store in a folder of its own.
pub(crate) struct Kept {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
    _lock: File,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::open(folder)
    }

    pub(crate) fn open(folder: TempDir) -> Self {
        let path = folder.path().join("history.db");
        let lock = lock(&path).unwrap();
        let (store, _) = Store::open(&path).unwrap();
        Self {
            folder,
            store,
            _lock: lock,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("history.db")
    }

    pub(crate) fn reopen(self) -> Self {
        let Self { folder, store, .. } = self;
        store.close();
        drop(self._lock);
        Self::open(folder)
    }

    pub(crate) fn commit(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.store.commit(&batch(rows), START).unwrap();
    }
}

pub(crate) fn series(id: SeriesId) -> SeriesRow {
    SeriesRow {
        subject: Subject::Point(DeviceRef::new("gw", format!("dev{id}")), "temp".into()),
        is_number: true,
        scale: 1,
        unit: "C".to_owned(),
    }
}

/// A change of a number, so many milliseconds after the start; none is a gap.
pub(crate) fn row(series: SeriesId, at: i64, value: Option<i64>) -> Row {
    Row {
        series,
        at: Timestamp(START + at),
        value: value.map(Value::from),
        is_number: true,
        source: Source::Event,
        repeated: false,
    }
}

pub(crate) fn batch(rows: impl IntoIterator<Item = Row>) -> Batch {
    let rows: std::collections::VecDeque<Row> = rows.into_iter().collect();
    let ids = rows.iter().map(|row| (row.series, series(row.series)));
    Batch {
        series: ids.collect(),
        rows,
    }
}

pub(crate) fn count(store: &Store) -> i64 {
    store
        .connection
        .query_row("SELECT count(*) FROM sample", [], |row| row.get(0))
        .unwrap()
}

/// Copies a store and its log as they are, as if the process had been killed now.
pub(crate) fn as_if_killed(path: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for end in ["", "-wal"] {
        let name = format!("history.db{end}");
        let from = path.with_file_name(&name);
        if from.exists() {
            std::fs::copy(from, copy.path().join(name)).unwrap();
        }
    }
    copy
}

#[test]
fn values_come_back_to_the_byte_and_in_order() {
    let mut kept = Kept::new();
    let texts = [
        "1",
        "-0",
        "true",
        "false",
        "1.50",
        "\"a\\u00e4\"",
        "{ \"a\" : 1 }",
        "null",
    ];
    let rows = texts.iter().map(|text| Row {
        value: Some(Value::parse(text).unwrap()),
        ..row(1, 5, None)
    });
    kept.commit(rows);
    let kept = kept.reopen();
    let reader = crate::Reader::open(&kept.path()).unwrap();
    let found = crate::reader::tests::changes(&reader, &series(1).subject);
    let found: Vec<String> = found
        .into_iter()
        .filter_map(|change| Some(change.value?.to_string()))
        .collect();
    assert_eq!(found, texts);
}

#[test]
fn a_series_goes_on_where_it_ended() {
    let mut kept = Kept::new();
    kept.commit([row(1, 0, Some(10)), row(1, 5, Some(20)), row(1, 5, None)]);
    let path = kept.path();
    kept.store.close();
    let (store, loaded) = Store::open(&path).unwrap();
    let [series] = loaded.as_slice() else {
        panic!("{loaded:?}")
    };
    assert_eq!((series.at, series.is_open), (START + 5, false));
    assert_eq!(series.held, Some(Value::from(20)));
    assert_eq!(store.newest[&1].seq, 1);
    assert_eq!(store.alive().unwrap(), Some(START));
}

#[test]
fn only_one_process_writes() {
    let kept = Kept::new();
    let error = lock(&kept.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("--history FILE"), "{error}");
}

#[test]
fn a_full_disk_stores_nothing_of_a_batch_and_harms_nothing() {
    let mut kept = Kept::new();
    kept.commit([row(1, 0, Some(10))]);
    let limit = |store: &Store, pages: i64| {
        store
            .connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    };
    limit(&kept.store, 1);
    let large = batch((0..10_000).map(|at| row(1, 1 + at, Some(at))));
    let full = kept.store.commit(&large, START).unwrap_err();
    assert_eq!(full.sqlite_error_code(), Some(ErrorCode::DiskFull));
    assert_eq!(count(&kept.store), 1);
    limit(&kept.store, 1 << 20);
    kept.store.commit(&large, START).unwrap();
    assert_eq!(count(&kept.store), 10_001);
    means::check(&kept.store);
}

#[test]
fn tables_are_brought_to_a_newer_version_step_by_step() {
    let mut kept = Kept::new();
    let steps = ["CREATE TABLE two (a)", "ALTER TABLE two ADD COLUMN three"];
    migrate(&mut kept.store.connection, 1, &steps).unwrap();
    let version: i64 = kept
        .store
        .connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 3);
    // A step that fails leaves what was before it.
    let steps = ["", "", "CREATE TABLE four (a); nonsense"];
    assert!(migrate(&mut kept.store.connection, 3, &steps).is_err());
    let four = kept.store.connection.prepare("SELECT * FROM four");
    assert!(four.is_err());
}

#[cfg(unix)]
#[test]
fn its_files_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut kept = Kept::new();
    kept.commit([row(1, 0, Some(10))]);
    for file in std::fs::read_dir(kept.folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
    }
}
