//! What a store answers.

use std::path::Path;

use hearthgate_hub::{Bucket, Change, DeviceRef};
use hearthgate_protocol::model::Value;

use super::*;
use crate::store::tests::{Kept, START, row, series};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Later than all that is known.
const NOW: Timestamp = Timestamp(START + 100 * HOUR);

fn query(subject: &Subject, from: i64, to: i64, resolution: Resolution) -> HistoryQuery {
    HistoryQuery {
        subject: subject.clone(),
        from: Timestamp(START + from),
        to: Timestamp(START + to),
        resolution,
        limit: HISTORY_LIMIT_MAX,
        cursor: None,
    }
}

/// Returns all changes of a series.
pub(crate) fn changes(reader: &Reader, subject: &Subject) -> Vec<Change> {
    let all = query(subject, -HOUR, 1000 * HOUR, Resolution::Exactly(Step::Raw));
    match reader.query(&all, NOW).unwrap().points {
        Points::Changes(changes) => changes,
        points => panic!("{points:?}"),
    }
}

fn reader(path: &Path) -> Reader {
    Reader::open(path).unwrap()
}

fn buckets(reader: &Reader, query: &HistoryQuery, now: i64) -> Vec<Bucket> {
    match reader.query(query, Timestamp(START + now)).unwrap().points {
        Points::Buckets { buckets, .. } => buckets,
        points => panic!("{points:?}"),
    }
}

#[test]
fn stretches_without_a_change_are_what_held() {
    let mut kept = Kept::new();
    kept.commit([
        row(1, 30_000, Some(100)),
        row(1, 4 * MINUTE, Some(200)),
        row(1, 6 * MINUTE, None),
        row(1, 8 * MINUTE + 15_000, Some(50)),
    ]);
    let minutes = query(
        &series(1).subject,
        0,
        60 * MINUTE,
        Resolution::Exactly(Step::Minute),
    );
    kept.store.heartbeat(START + 9 * MINUTE + 30_000).unwrap();
    let found = buckets(&reader(&kept.path()), &minutes, 9 * MINUTE + 30_000);
    let means: Vec<(i64, f64, u64)> = found
        .iter()
        .map(|it| ((it.start.0 - START) / MINUTE, it.mean, it.count))
        .collect();
    let expected = [
        (0, 10.0, 1),
        (1, 10.0, 0),
        (2, 10.0, 0),
        (3, 10.0, 0),
        (4, 20.0, 1),
        (5, 20.0, 0),
        (8, 5.0, 1),
        (9, 5.0, 0),
    ];
    assert_eq!(means, expected);
    // The hour is not over: what is known of it counts.
    let hour = query(&series(1).subject, 0, HOUR, Resolution::Exactly(Step::Hour));
    let found = buckets(&reader(&kept.path()), &hour, 9 * MINUTE + 30_000);
    let weighted = 10.0 * 210.0 + 20.0 * 120.0 + 5.0 * 75.0;
    assert!((found[0].mean - weighted / 405.0).abs() < 1e-9, "{found:?}");
    assert_eq!((found[0].min, found[0].max), (5.0, 20.0));
    // A part in the midst begins with what held before it.
    let part = query(
        &series(1).subject,
        2 * MINUTE,
        4 * MINUTE,
        Resolution::Exactly(Step::Minute),
    );
    let found = buckets(&reader(&kept.path()), &part, HOUR);
    assert_eq!(found.len(), 2);
}

#[test]
fn where_no_hub_runs_nothing_goes_on() {
    let mut kept = Kept::new();
    kept.commit([row(1, 0, Some(100))]);
    kept.store.heartbeat(START + 3 * MINUTE).unwrap();
    let all = query(
        &series(1).subject,
        0,
        100 * HOUR,
        Resolution::Exactly(Step::Minute),
    );
    let found = buckets(&reader(&kept.path()), &all, 50 * HOUR);
    assert_eq!(found.last().unwrap().start.0, START + 3 * MINUTE);
    let raw = Resolution::Exactly(Step::Raw);
    let told = |from, to, now| {
        let query = query(&series(1).subject, from, to, raw);
        let now = Timestamp(START + now);
        let answer = reader(&kept.path()).query(&query, now).unwrap();
        let Points::Changes(changes) = answer.points else {
            panic!("{:?}", answer.points)
        };
        let values: Vec<_> = changes
            .iter()
            .map(|it| (it.at.0 - START, it.number))
            .collect();
        (answer.before.map(|it| it.number), values)
    };
    let ends = [(0, Some(10.0)), (3 * MINUTE, None)].to_vec();
    assert_eq!(told(0, HOUR, HOUR), (None, ends));
    assert_eq!(told(30 * MINUTE, HOUR, HOUR), (Some(None), Vec::new()));
    // A hub that runs may have nothing to write for a while.
    assert_eq!(
        told(MINUTE, HOUR, 4 * MINUTE),
        (Some(Some(10.0)), Vec::new())
    );
}

#[test]
fn pages_together_are_the_whole() {
    let mut kept = Kept::new();
    kept.commit((0..500).map(|n| row(1, n / 3 * 20_000, (n % 11 != 0).then_some(n))));
    // No hub has kept it since: that is one more change, at the end.
    kept.store.heartbeat(START + HOUR).unwrap();
    for step in Step::ALL {
        let whole = query(&series(1).subject, 5, 20 * HOUR, Resolution::Exactly(*step));
        let reader = reader(&kept.path());
        let once = reader.query(&whole, NOW).unwrap();
        for limit in [1, 2, 7, 100] {
            let mut page = HistoryQuery {
                limit,
                ..whole.clone()
            };
            let (mut changes, mut found) = (Vec::new(), Vec::new());
            loop {
                let answer = reader.query(&page, NOW).unwrap();
                assert!(answer.points.len() <= limit);
                match answer.points {
                    Points::Changes(more) => changes.extend(more),
                    Points::Buckets { buckets, .. } => found.extend(buckets),
                }
                page.cursor = answer.next;
                if page.cursor.is_none() {
                    break;
                }
            }
            match &once.points {
                Points::Changes(all) => assert_eq!(*all, changes),
                Points::Buckets { buckets, .. } => assert_eq!(*buckets, found, "{step:?} {limit}"),
            }
        }
    }
}

#[test]
fn the_resolution_fits_what_can_be_drawn_and_reaches_back() {
    let mut kept = Kept::new();
    kept.commit((0..2_000).map(|n| row(1, n * 30_000, Some(n))));
    kept.store.heartbeat(NOW.0).unwrap();
    let auto = |to: i64, max_points: usize| {
        let query = query(&series(1).subject, 0, to, Resolution::Auto { max_points });
        let answer = reader(&kept.path()).query(&query, NOW).unwrap();
        (answer.points.step(), answer.points.len() <= max_points)
    };
    assert_eq!(auto(2 * MINUTE, 100), (Step::Raw, true));
    assert_eq!(auto(HOUR, 100), (Step::Minute, true));
    assert_eq!(auto(16 * HOUR, 100), (Step::Hour, true));
    assert_eq!(auto(16 * HOUR, 2), (Step::Day, true));
    // A week is asked for and a day is known: nothing finer is missing.
    let mut week = query(
        &series(1).subject,
        -168 * HOUR,
        MINUTE,
        Resolution::Auto { max_points: 9 },
    );
    let answer = reader(&kept.path()).query(&week, NOW).unwrap();
    assert_eq!((answer.points.step(), answer.points.len()), (Step::Raw, 2));
    week.to = Timestamp(START + 7 * HOUR);
    let answer = reader(&kept.path()).query(&week, NOW).unwrap();
    assert_eq!((answer.points.step(), answer.points.len()), (Step::Hour, 7));
    // Single changes are gone: coarser ones go back further.
    let old = "DELETE FROM sample WHERE time < ?1";
    kept.store
        .connection()
        .execute(old, [START + HOUR])
        .unwrap();
    assert_eq!(auto(2 * MINUTE, 100).0, Step::Minute);
}

#[test]
fn what_is_not_known_or_makes_no_sense() {
    let mut kept = Kept::new();
    kept.commit([row(1, 0, Some(1)), row(1, 10, Some(2))]);
    let reader = reader(&kept.path());
    let unknown = Subject::Online(DeviceRef::new("gw", "none"));
    let raw = Resolution::Exactly(Step::Raw);
    let answer = reader.query(&query(&unknown, 0, 10, raw), NOW).unwrap();
    assert!(answer.points.is_empty() && answer.next.is_none());
    let backwards = query(&series(1).subject, 10, 0, raw);
    assert!(matches!(
        reader.query(&backwards, NOW),
        Err(HistoryError::Query(_))
    ));
    for cursor in ["", "raw", "raw:1", "raw:x:1", "week:1:1", "raw:1:1:1"] {
        let mut wrong = query(&series(1).subject, 0, 10, raw);
        wrong.cursor = Some(cursor.to_owned());
        let answer = reader.query(&wrong, NOW);
        assert!(matches!(answer, Err(HistoryError::Query(_))), "{cursor}");
    }
    let later = query(&series(1).subject, 5, 20, raw);
    let before = reader.query(&later, NOW).unwrap().before.unwrap();
    assert_eq!(
        (before.value, before.number),
        (Some(Value::from(1)), Some(0.1))
    );
    let listed = reader.list(None).unwrap();
    assert_eq!((listed.len(), listed[0].changes), (1, 2));
    let other = DeviceRef::new("gw", "dev2");
    assert!(reader.subjects(Some(&other)).unwrap().is_empty());
}

#[test]
fn a_file_that_is_none_of_ours_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.db");
    let error = Reader::open(&path).unwrap_err().to_string();
    assert!(error.contains("none.db: No such file"), "{error}");
    std::fs::write(&path, "something else").unwrap();
    assert!(Reader::open(&path).is_err());
}
