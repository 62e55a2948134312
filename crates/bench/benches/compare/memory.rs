//! Memory per idle session: what a gateway has more with sessions than without.

use std::time::{Duration, Instant};

use hearthgate_bench::{Peer, Target};

use crate::Outcome;
use crate::child::Running;
use crate::fanout::{one_thread, target};

/// Returns the bytes per session, of a gateway of its own.
pub(crate) fn per_session(sessions: usize) -> Outcome<f64> {
    let running = Running::own(&["gateway", "10"])?;
    one_thread()?.block_on(async {
        let target = Target::new(target(running.address())?, false).await?;
        // The first one sets up what every process has once.
        let first = Peer::connect(&target).await?;
        let empty = settled(&running).await?;
        let mut peers = Vec::with_capacity(sessions);
        for _ in 0..sessions {
            peers.push(Peer::connect(&target).await?);
        }
        let full = settled(&running).await?;
        drop((first, peers));
        Ok(full.saturating_sub(empty) as f64 / sessions as f64)
    })
}

/// Returns the resident memory once it no longer changes.
async fn settled(running: &Running) -> Outcome<u64> {
    let start = Instant::now();
    let mut last = running.resident()?;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = running.resident()?;
        if now == last || start.elapsed() > Duration::from_secs(5) {
            return Ok(now);
        }
        last = now;
    }
}
