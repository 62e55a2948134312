//! What the thread does when the disk does not do what it should; without the thread, step by step.

use std::sync::mpsc::{Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use hearthgate_protocol::model::{Applied, Reading, Value};
use hearthgate_protocol::wire::{Event, EventKind};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::Reader;

struct Scene {
    folder: TempDir,
    writer: Writer,
    shared: Arc<Shared>,
    _jobs: Sender<Job>,
    number: i64,
}

fn now() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Moment {
        wall: i64::try_from(wall.as_millis()).unwrap(),
        steady: Instant::now(),
    }
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sender, jobs) = channel();
        let options = HistoryOptions::new(folder.path().join("history.db"));
        let (writer, shared) = Writer::open(options, jobs, now).unwrap();
        Self {
            folder,
            writer,
            shared,
            _jobs: sender,
            number: 0,
        }
    }

    /// The hub tells of so many new values of one data point.
    fn tell(&mut self, count: usize) {
        let room = Arc::new(Semaphore::new(1));
        for _ in 0..count {
            self.number += 1;
            let readings = vec![Reading::new("temp", Value::from(self.number))];
            let device = "dev".into();
            let item = HubItem::Event {
                gateway: "gw".into(),
                event: Event {
                    id: self.number,
                    kind: EventKind::StateChanged { device, readings },
                },
                at: Timestamp(now().wall),
                applied: Applied::Changed,
            };
            let room = Arc::clone(&room).try_acquire_owned().unwrap();
            self.writer.take(&Job {
                at: now(),
                item,
                _room: room,
            });
        }
    }

    /// Lets the file have no more than so many pages.
    fn limit(&self, pages: i64) {
        let store = self.writer.store.as_ref().unwrap();
        let limit = store
            .connection()
            .pragma_update(None, "max_page_count", pages);
        limit.unwrap();
    }

    fn changes(&self) -> u64 {
        let reader = Reader::open(&self.folder.path().join("history.db")).unwrap();
        reader.list(None).unwrap().iter().map(|it| it.changes).sum()
    }
}

#[test]
fn a_full_disk_is_survived_and_only_what_has_no_room_in_memory_is_lost() {
    let mut scene = Scene::new();
    scene.tell(10);
    scene.writer.commit();
    assert_eq!(scene.shared.status().stored, 10);
    scene.limit(1);
    scene.tell(ROWS_WAITING);
    scene.writer.commit();
    assert!(!scene.shared.status().storing);
    scene.tell(7);
    scene.writer.work();
    let status = scene.shared.status();
    let waiting = u64::try_from(ROWS_WAITING).unwrap();
    assert_eq!((status.lost, status.waiting), (7, waiting), "{status:?}");
    scene.limit(1 << 20);
    scene.writer.commit();
    let status = scene.shared.status();
    assert!(status.storing, "{status:?}");
    assert_eq!(status.stored, 10 + waiting);
    assert_eq!(scene.changes(), 10 + waiting);
}

#[test]
fn a_store_that_is_found_damaged_begins_anew_with_what_holds() {
    let mut scene = Scene::new();
    scene.tell(3);
    scene.writer.commit();
    let damage = || {
        let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        rusqlite::Error::SqliteFailure(corrupt, None)
    };
    scene.tell(2);
    scene.writer.failed(&damage());
    scene.writer.commit();
    assert_eq!(scene.changes(), 1, "the value that holds");
    assert_eq!(scene.shared.status().lost, 2);
    scene.tell(1);
    scene.writer.commit();
    assert_eq!(scene.changes(), 2);
    let aside = |scene: &Scene| {
        let files = std::fs::read_dir(scene.folder.path()).unwrap();
        let names = files.map(|it| it.unwrap().file_name().to_string_lossy().into_owned());
        let aside = names.filter(|name| name.contains("-damaged-") && name.ends_with(".db"));
        aside.count()
    };
    assert_eq!(aside(&scene), 1);
    // A disk that goes on like this is not filled with what is set aside.
    scene.writer.failed(&damage());
    assert_eq!(aside(&scene), 1);
    assert!(!scene.shared.status().storing);
}

#[test]
fn an_orderly_end_stores_what_waits_and_leaves_one_file() {
    let mut scene = Scene::new();
    scene.tell(5);
    let Scene {
        folder,
        writer,
        _jobs,
        ..
    } = scene;
    drop(_jobs);
    writer.run();
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["history.db", "history.db.lock"]);
    let reader = Reader::open(&folder.path().join("history.db")).unwrap();
    assert_eq!(reader.list(None).unwrap()[0].changes, 5);
}
