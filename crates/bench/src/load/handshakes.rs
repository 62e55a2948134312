//! Connections with upgrade and handshake, as many as go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Progress, all};
use crate::error::BenchError;
use crate::figures::{Times, TimesSummary};
use crate::peer::Peer;
use crate::target::Target;

/// How many handshakes are made, and how.
#[derive(Clone, Copy, Debug)]
pub struct Handshakes {
    /// Connections that are being opened at the same time.
    pub at_a_time: usize,
    /// The time after which no further one is begun.
    pub duration: Duration,
    /// The count at which no further one is begun.
    pub most: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct HandshakesReport {
    /// Sessions that were opened, and dropped at once.
    pub count: u64,
    /// In how long.
    pub seconds: f64,
    /// Sessions opened in a second.
    pub per_second: f64,
    /// From the begin of connecting to `auth_ok`.
    pub times: TimesSummary,
}

/// Opens sessions and drops them, for a while.
///
/// # Errors
/// Where one cannot be opened.
pub async fn handshakes(
    target: &Target,
    load: Handshakes,
    progress: &Arc<Progress>,
) -> Result<HandshakesReport, BenchError> {
    progress.begin("handshakes");
    let begun = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let outcomes = all((0..load.at_a_time).map(|_| {
        let (target, begun, progress) = (target.clone(), Arc::clone(&begun), Arc::clone(progress));
        async move {
            let mut times = Times::default();
            while start.elapsed() < load.duration
                && begun.fetch_add(1, Ordering::Relaxed) < load.most
            {
                let before = Instant::now();
                Peer::connect(&target).await?.abort();
                times.add(before.elapsed());
                progress.add(1);
            }
            Ok(times)
        }
    }))
    .await?;
    let seconds = start.elapsed().as_secs_f64();
    let mut times = Times::default();
    outcomes.iter().for_each(|outcome| times.merge(outcome));
    Ok(HandshakesReport {
        count: times.count(),
        seconds,
        per_second: rate(times.count(), seconds),
        times: times.summary(),
    })
}

/// Returns how many there are in a second.
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of a load are far below 2^52"
    )]
    let count = count as f64;
    count / seconds.max(f64::MIN_POSITIVE)
}
