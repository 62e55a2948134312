//! Requests: each client asks, waits for the answer, and asks again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_protocol::wire::Request;
use serde::Serialize;

use super::handshakes::rate;
use super::{Progress, all, sessions};
use crate::error::BenchError;
use crate::figures::{Times, TimesSummary};
use crate::target::Target;

/// How requests are made.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Clients beside each other.
    pub clients: usize,
    /// For how long.
    pub duration: Duration,
    /// What is asked.
    pub request: Request,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct RequestsReport {
    /// Clients beside each other, each with one request at a time.
    pub clients: usize,
    /// Requests that were answered.
    pub count: u64,
    /// In how long.
    pub seconds: f64,
    /// Answers in a second, of all clients together.
    pub per_second: f64,
    /// From the request to its answer.
    pub times: TimesSummary,
}

/// Asks for a while.
///
/// # Errors
/// Where a session cannot be opened or ends, or a request is refused.
pub async fn requests(
    target: &Target,
    load: Requests,
    progress: &Arc<Progress>,
) -> Result<RequestsReport, BenchError> {
    progress.begin("sessions");
    let peers = sessions(target, load.clients, progress).await?;
    progress.begin("requests");
    let request = Arc::new(load.request);
    let start = Instant::now();
    let outcomes = all(peers.into_iter().map(|mut peer| {
        let (target, request, progress) =
            (target.clone(), Arc::clone(&request), Arc::clone(progress));
        async move {
            let mut times = Times::default();
            while start.elapsed() < load.duration {
                let before = Instant::now();
                peer.request(&request, &target).await?;
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
    Ok(RequestsReport {
        clients: load.clients,
        count: times.count(),
        seconds,
        per_second: rate(times.count(), seconds),
        times: times.summary(),
    })
}
