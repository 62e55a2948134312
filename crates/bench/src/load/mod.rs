//! The loads: each opens its sessions, works for its time, and sums up. All are bounded in time and count.

mod fanout;
mod handshakes;
mod progress;
mod requests;

mod client;
mod hub;

use std::future::Future;

use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::Request;
use tokio::task::JoinSet;

use crate::error::BenchError;
use crate::peer::Peer;
use crate::target::Target;

pub use client::{ClientLoad, ClientReport, client};
pub use fanout::{FanOut, FanOutReport, fan_out};
pub use handshakes::{Handshakes, HandshakesReport, handshakes};
pub use hub::{HubLoad, HubReport, hub};
pub use progress::Progress;
pub use requests::{Requests, RequestsReport, requests};

/// Asks a gateway for its devices.
///
/// # Errors
/// Where it cannot be asked, or has none.
pub async fn devices(target: &Target) -> Result<Vec<DeviceId>, BenchError> {
    let answer = Peer::connect(target)
        .await?
        .request(&Request::GetDevices, target)
        .await?;
    let ids: Vec<String> = serde_json::from_str(&answer).map_err(|fault| BenchError::Odd {
        gateway: target.name(),
        what: format!("a list of devices that is none: {fault}"),
    })?;
    match ids.is_empty() {
        true => Err(BenchError::NoDevices {
            gateway: target.name(),
        }),
        false => Ok(ids.into_iter().map(DeviceId::from).collect()),
    }
}

/// Runs some of the same kind beside each other until all have ended; the first fault ends the rest.
async fn all<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = Result<T, BenchError>> + Send + 'static>,
) -> Result<Vec<T>, BenchError> {
    let mut running = JoinSet::new();
    for task in tasks {
        running.spawn(task);
    }
    let mut outcomes = Vec::with_capacity(running.len());
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(outcome) => outcomes.push(outcome?),
            Err(fault) => std::panic::resume_unwind(fault.into_panic()),
        }
    }
    Ok(outcomes)
}

/// Opens sessions, some at a time so that no gateway's limit of handshakes is met.
async fn sessions(
    target: &Target,
    count: usize,
    progress: &Progress,
) -> Result<Vec<Peer>, BenchError> {
    const AT_A_TIME: usize = 64;
    let mut peers = Vec::with_capacity(count);
    while peers.len() < count {
        let some = AT_A_TIME.min(count - peers.len());
        let opening = (0..some).map(|_| {
            let target = target.clone();
            async move { Peer::connect(&target).await }
        });
        peers.extend(all(opening).await?);
        progress.reach(peers.len());
    }
    Ok(peers)
}
