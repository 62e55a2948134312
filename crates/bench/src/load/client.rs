//! Our own client against a gateway: how long the mirror takes to stand, how many requests it gets
//! answered, how soon it has what was written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_client::{Client, Feed, FeedItem};
use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::{EventKind, Request};
use serde::Serialize;
use tokio::time::timeout;

use super::fanout::same_again;
use super::handshakes::rate;
use super::{Progress, all};
use crate::error::BenchError;
use crate::figures::{Times, TimesSummary};
use crate::peer::Peer;
use crate::target::Target;

/// The time in which what was written has to come back as an event.
const ARRIVAL: Duration = Duration::from_secs(5);

/// What the client does.
#[derive(Clone, Debug)]
pub struct ClientLoad {
    /// Mirrors that are made, one after the other.
    pub mirrors: u32,
    /// Requests that are under way on one connection.
    pub in_flight: usize,
    /// For how long requests are made, and after them writes.
    pub duration: Duration,
    /// The device whose own value is written; none is written where there is none.
    pub write: Option<DeviceId>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct ClientReport {
    /// Devices in the mirror.
    pub devices: usize,
    /// From the begin of connecting until the mirror is the gateway's state.
    pub mirror_times: TimesSummary,
    /// Requests under way on the one connection.
    pub in_flight: usize,
    /// Answers to `get_status` of one device in a second.
    pub requests_per_second: f64,
    /// From the request to its answer.
    pub request_times: TimesSummary,
    /// From a write to its event in the feed, where a device was written.
    pub write_to_feed: Option<TimesSummary>,
}

/// Lets the client work.
///
/// # Errors
/// Where it cannot connect, a request fails, or an event does not come.
pub async fn client(
    target: &Target,
    load: ClientLoad,
    progress: &Arc<Progress>,
) -> Result<ClientReport, BenchError> {
    progress.begin("mirrors");
    let mut mirror_times = Times::default();
    let mut last = None;
    for _ in 0..load.mirrors.max(1) {
        let start = Instant::now();
        let (client, feed) = Client::connect(target.options.clone()).await?;
        client.synced().await?;
        mirror_times.add(start.elapsed());
        progress.add(1);
        if let Some((earlier, _)) = last.replace((client, feed)) {
            Client::close(&earlier).await;
        }
    }
    let Some((client, mut feed)) = last else {
        return Err(BenchError::NoDevices {
            gateway: target.name(),
        });
    };
    let devices: Vec<DeviceId> = client
        .mirror()
        .devices()
        .iter()
        .map(|device| device.id().clone())
        .collect();
    let Some(first) = devices.first().cloned() else {
        return Err(BenchError::NoDevices {
            gateway: target.name(),
        });
    };
    progress.begin("requests");
    let start = Instant::now();
    let outcomes = all((0..load.in_flight.max(1)).map(|_| {
        let (client, device, progress) = (client.clone(), first.clone(), Arc::clone(progress));
        async move {
            let mut times = Times::default();
            while start.elapsed() < load.duration {
                let before = Instant::now();
                client
                    .request(Request::GetStatus(vec![device.clone()]))
                    .await?;
                times.add(before.elapsed());
                progress.add(1);
            }
            Ok(times)
        }
    }))
    .await?;
    let seconds = start.elapsed().as_secs_f64();
    let mut request_times = Times::default();
    outcomes
        .iter()
        .for_each(|outcome| request_times.merge(outcome));
    let write_to_feed = match &load.write {
        Some(device) => {
            progress.begin("writes");
            Some(
                writes(&client, &mut feed, target, device, load.duration, progress)
                    .await?
                    .summary(),
            )
        }
        None => None,
    };
    client.close().await;
    Ok(ClientReport {
        devices: devices.len(),
        mirror_times: mirror_times.summary(),
        in_flight: load.in_flight.max(1),
        requests_per_second: rate(request_times.count(), seconds),
        request_times: request_times.summary(),
        write_to_feed,
    })
}

async fn writes(
    client: &Client,
    feed: &mut Feed,
    target: &Target,
    device: &DeviceId,
    duration: Duration,
    progress: &Progress,
) -> Result<Times, BenchError> {
    let write = same_again(&mut Peer::connect(target).await?, target, device).await?;
    // What came up to now was not caused by a write of this load.
    while feed.waiting() > 0 && feed.next().await.is_some() {}
    let mut times = Times::default();
    let start = Instant::now();
    while start.elapsed() < duration {
        let before = Instant::now();
        let arrives = async {
            while let Some(item) = feed.next().await {
                match item {
                    FeedItem::Event { event, .. } if is_of(&event.kind, device) => return Ok(()),
                    FeedItem::Down(reason) => return Err((*reason).clone().into()),
                    _ => {}
                }
            }
            Err(BenchError::from(client.closed().await))
        };
        let both = async {
            let (answered, arrived) = tokio::join!(client.request(write.clone()), arrives);
            answered?;
            arrived
        };
        timeout(ARRIVAL, both)
            .await
            .map_err(|_| BenchError::Silent {
                gateway: target.name(),
                what: "event after a write",
                after: ARRIVAL,
            })??;
        times.add(before.elapsed());
        progress.add(1);
    }
    Ok(times)
}

/// Tells whether an event carries values of a device.
pub(super) fn is_of(kind: &EventKind, wanted: &DeviceId) -> bool {
    matches!(kind, EventKind::StateChanged { device, .. } if device == wanted)
}
