//! What is too old goes, and the oldest where there is too much.

use std::time::Duration;

use super::*;
use crate::options::HistoryOptions;

const DAY: i64 = 86_400_000;

fn options() -> HistoryOptions {
    HistoryOptions {
        keep_changes: Duration::from_secs(2 * 86_400),
        keep_minutes: Duration::from_secs(4 * 86_400),
        keep_hours: Duration::from_secs(6 * 86_400),
        ..HistoryOptions::new(PathBuf::new())
    }
}

/// Lets go until there is nothing more to do; returns in how many steps.
fn let_go(store: &mut Store, retention: &mut Retention, now: i64) -> usize {
    retention.begin(store, now);
    let mut steps = 1;
    while retention.step(store, now).unwrap() {
        steps += 1;
        assert!(steps < 100_000, "it never ends");
    }
    steps
}

fn oldest(store: &Store, table: &str, column: &str, series: SeriesId) -> i64 {
    let query = format!("SELECT min({column}) FROM {table} WHERE series = ?1");
    let query = store
        .connection
        .query_row(&query, [series], |row| row.get(0));
    query.unwrap()
}

#[test]
fn each_resolution_has_its_age_and_the_value_in_force_stays() {
    let mut kept = Kept::new();
    // Every 10 minutes for 10 days; another series changed once, long ago.
    kept.commit((0..1440).map(|n| row(1, n * 600_000, Some(n))));
    kept.commit([row(2, 5, Some(7))]);
    let now = START + 10 * DAY;
    let_go(&mut kept.store, &mut Retention::new(&options()), now);
    assert_eq!(oldest(&kept.store, "sample", "time", 1), now - 2 * DAY);
    let minute = oldest(&kept.store, "minute", "start", 1) * 60_000;
    assert_eq!(minute, now - 4 * DAY);
    let hour = oldest(&kept.store, "hour", "start", 1) * 3_600_000;
    assert_eq!(hour, now - 6 * DAY);
    let day = oldest(&kept.store, "day", "start", 1) * DAY;
    assert!(day <= START);
    assert_eq!(oldest(&kept.store, "sample", "time", 2), START + 5);
    // What was let go of is not computed anew of nothing: the clock went back.
    let before = stretch(&kept.store);
    kept.commit([row(1, DAY + 1, Some(1))]);
    assert_eq!(stretch(&kept.store), before);
}

fn stretch(store: &Store) -> (i64, f64) {
    let query = "SELECT count, weighted FROM day WHERE series = 1 ORDER BY start LIMIT 1 OFFSET 1";
    let query = store
        .connection
        .query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?)));
    query.unwrap()
}

#[test]
fn a_store_of_200_000_changes_shrinks_below_its_limit_a_step_at_a_time() {
    let mut kept = Kept::new();
    for part in 0..20i64 {
        let rows = (0..10_000i64).map(|n| {
            let n = part * 10_000 + n;
            row(n % 40, n * 4_000, Some(n * 7919 % 100_000))
        });
        kept.commit(rows);
    }
    let now = START + 200_000 * 4_000;
    let (before, _) = kept.store.bytes().unwrap();
    let limit = crate::LEAST_BYTES;
    assert!(
        before > limit + limit / 4,
        "{before} bytes are too few to test with"
    );
    let mut retention = Retention::new(&HistoryOptions {
        max_bytes: limit,
        ..HistoryOptions::new(PathBuf::new())
    });
    let steps = let_go(&mut kept.store, &mut retention, now);
    assert!(steps > 3, "{steps} steps");
    let (after, free) = kept.store.bytes().unwrap();
    assert!(
        after - free <= limit && after <= limit,
        "{after} bytes, {free} free"
    );
    assert!(after > limit / 2, "{after} bytes: more went than had to");
    // The newest is there, and the days of what went.
    let newest: i64 = kept
        .store
        .connection
        .query_row("SELECT max(time) FROM sample", [], |row| row.get(0))
        .unwrap();
    assert_eq!(newest, now - 4_000);
    assert_eq!(oldest(&kept.store, "day", "start", 0), START / DAY);
    let path = kept.path();
    kept.store.close();
    assert!(std::fs::metadata(path).unwrap().len() <= limit);
}
