//! Any script of bytes, messages under the right key, and time, on either end of a connection: it is
//! always in a defined state, what it sends is what the protocol allows there, and it stays small.
//!
//! Input: three bytes of setup (flags, variants, seed of the cuts), then steps separated by an empty
//! line; see [`script`].

mod listener;
mod peer;
mod script;

use allocation_counter::measure;

pub use script::{Setup, Step};

use crate::input::Cuts;
use peer::Outcome;

/// The most memory of a run, however long the stream: what a peer leaves unread, one message in all
/// its forms, and what the script itself takes.
const MEMORY_MAX: usize = 288 * 1024;

/// Repetitions from which a script is worth a long run.
const MANY: u64 = 1000;

/// Runs the target.
///
/// # Panics
/// Where a property does not hold.
pub fn run(data: &[u8]) {
    let Some((setup, steps)) = script::parse(data) else {
        return;
    };
    let whole = peer::run(setup, &steps, Cuts::whole());
    let pieces = peer::run(setup, &steps, Cuts::seeded(setup.seed));
    same(&whole, &pieces);
    let is_long = |step: &Step<'_>| matches!(step, Step::Repeat(count) if *count >= MANY);
    if steps.iter().any(is_long) {
        let used = measure(|| peer::run_long(setup, &steps));
        let peak = usize::try_from(used.bytes_max).unwrap_or(0);
        let most = MEMORY_MAX + 16 * data.len();
        assert!(peak <= most, "{peak} bytes of memory, at most {most}");
    }
}

/// A connection tells and says the same however the bytes are cut.
fn same(whole: &Outcome, pieces: &Outcome) {
    assert_eq!(
        whole.told, pieces.told,
        "other events where the bytes come in pieces"
    );
    assert!(
        whole.said == pieces.said,
        "other output where the bytes come in pieces"
    );
}
