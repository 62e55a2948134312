//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// More than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until a condition holds.
///
/// # Panics
/// Where it does not within 20 s; says what was waited for.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
