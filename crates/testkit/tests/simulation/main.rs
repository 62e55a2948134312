//! Thousands of hostile runs in virtual time: whatever happens to links and gateways, once it is quiet
//! everybody has what the registry has, no press of a button came twice, and no bound was broken.
//!
//! ```text
//! devices -> registry -> session ══ Cable: delays, splits, stalls, loses, half-opens, cuts ══> client -> hub -> copy
//! ```
//!
//! Each run is made of one seed. `HEARTHGATE_SEED=n` repeats one run, `HEARTHGATE_RUNS=n` sets how many
//! there are.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where it cannot go on"
)]

mod net;
mod seen;
mod site;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::Builder;

use crate::world::{Tally, World};

/// Runs that are made by default: seconds on one core, also where nothing was optimised.
const RUNS: u64 = if cfg!(debug_assertions) { 250 } else { 5000 };
/// Threads that make them.
const THREADS: usize = 2;
/// How often a run is repeated that was asked for by its seed.
const REPEATS: u64 = 3;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Makes the run of a seed.
fn run(seed: u64) -> Result<Tally, String> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async { World::new(seed).run().await })
}

#[test]
fn whatever_happens_all_is_well_once_it_is_quiet() {
    let began = Instant::now();
    let (seeds, repeats) = match number("HEARTHGATE_SEED") {
        Some(seed) => (vec![seed], REPEATS),
        None => ((0..number("HEARTHGATE_RUNS").unwrap_or(RUNS)).collect(), 1),
    };
    let runs: Vec<u64> = seeds
        .iter()
        .flat_map(|seed| (0..repeats).map(|_| *seed))
        .collect();
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let index = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(seed) = runs.get(index) else { return };
                    let outcome = std::panic::catch_unwind(|| run(*seed));
                    match outcome.unwrap_or_else(|_| Err("a panic, see above".to_owned())) {
                        Ok(tally) => sum.lock().add(tally),
                        Err(fault) => failed.lock().push((*seed, fault)),
                    }
                }
            });
        }
    });
    let (sum, failed) = (*sum.lock(), failed.into_inner());
    println!("{} runs in {:?}: {sum:?}", runs.len(), began.elapsed());
    let told: Vec<String> = failed
        .iter()
        .take(10)
        .map(|(seed, fault)| format!("HEARTHGATE_SEED={seed}: {fault}"))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} runs failed:\n{}",
        failed.len(),
        runs.len(),
        told.join("\n")
    );
    if number("HEARTHGATE_SEED").is_none() && runs.len() >= 250 {
        // The runs are about something.
        assert!(
            sum.connected > 4 * u64::try_from(runs.len()).unwrap(),
            "{sum:?}"
        );
        assert!(sum.lost > 0 && sum.missed > 0, "{sum:?}");
    }
}
