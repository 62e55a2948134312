//! The means are what the changes say, however these came.

use proptest::prelude::*;

use super::*;
use crate::rollup::{Part, STEPS};
use crate::store::batch::{from_changes, stretches};

/// Compares all stored stretches with what the changes say of them.
pub(super) fn check(store: &Store) {
    let mut statement = store
        .connection
        .prepare("SELECT DISTINCT series, time FROM sample")
        .unwrap();
    let times: Vec<(SeriesId, i64)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for step in STEPS {
        let stored = stretches(&store.connection, step);
        for (key, part) in &stored {
            let computed = from_changes(&store.connection, *key).unwrap();
            let computed = computed.unwrap_or_else(|| panic!("{key:?} has no changes"));
            assert!(alike(part, &computed), "{key:?}: {part:?} but {computed:?}");
        }
        let mut expected: Vec<_> = times
            .iter()
            .map(|(series, time)| (*series, time.div_euclid(step.milliseconds())))
            .collect();
        expected.sort_unstable();
        expected.dedup();
        let found: Vec<_> = stored
            .iter()
            .map(|(key, _)| (key.series, key.index))
            .collect();
        assert_eq!(found, expected, "{step:?}");
    }
}

/// Sums of fractions may differ in their last bits.
fn alike(a: &Part, b: &Part) -> bool {
    let close = (a.weighted - b.weighted).abs() <= 1e-6 * a.weighted.abs().max(1.0);
    close
        && Part {
            weighted: 0.0,
            ..*a
        } == Part {
            weighted: 0.0,
            ..*b
        }
}

/// What happens to a store.
#[derive(Clone, Debug)]
enum Happens {
    /// So much later a series has another value, or a gap.
    Change(SeriesId, i64, Option<i64>),
    /// The clock goes back by so much.
    Back(i64),
    /// What waits is committed.
    Commit,
    /// The store is closed and opened.
    Restart,
}

fn happens() -> impl Strategy<Value = Happens> {
    let later = prop_oneof![
        3 => 0..2_000i64,
        2 => 0..200_000i64,
        1 => 0..8_000_000i64,
        1 => Just(172_800_000i64),
        1 => Just(60_000i64),
    ];
    prop_oneof![
        12 => (1..3i64, later, prop::option::weighted(0.85, -500..500i64))
            .prop_map(|(series, later, value)| Happens::Change(series, later, value)),
        1 => (0..90_000_000i64).prop_map(Happens::Back),
        2 => Just(Happens::Commit),
        1 => Just(Happens::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn means_are_what_the_changes_say(script in prop::collection::vec(happens(), 1..60)) {
        let mut kept = Kept::new();
        let mut at = 0;
        let mut waiting = Vec::new();
        for it in script {
            match it {
                Happens::Change(series, later, value) => {
                    at += later;
                    waiting.push(row(series, at, value));
                }
                Happens::Back(by) => at -= by,
                Happens::Commit => kept.commit(waiting.drain(..)),
                Happens::Restart => {
                    kept.commit(waiting.drain(..));
                    kept = kept.reopen();
                }
            }
        }
        kept.commit(waiting);
        check(&kept.store);
    }
}

#[test]
fn a_restart_in_the_middle_of_an_hour_changes_nothing() {
    let rows: Vec<Row> = (0..240).map(|n| row(1, n * 31_000, Some(n % 17))).collect();
    let mut through = Kept::new();
    through.commit(rows.clone());
    let mut restarted = Kept::new();
    for part in rows.chunks(7) {
        restarted.commit(part.to_vec());
        restarted = restarted.reopen();
    }
    for step in STEPS {
        let through = stretches(&through.store.connection, step);
        assert!(!through.is_empty());
        assert_eq!(through, stretches(&restarted.store.connection, step));
    }
}
