//! The hub against a gateway: how long until its feed has everything, how soon a write is in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_hub::{DeviceRef, GatewayId, GatewaySpec, Hub, HubFeed, HubItem, HubOptions, Names};
use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::Request;
use serde::Serialize;
use tokio::time::timeout;

use super::Progress;
use super::client::is_of;
use super::fanout::same_again;
use crate::error::BenchError;
use crate::figures::{Times, TimesSummary};
use crate::peer::Peer;
use crate::target::Target;

/// The time in which what was written has to come back as an event.
const ARRIVAL: Duration = Duration::from_secs(5);

/// What the hub does.
#[derive(Clone, Debug)]
pub struct HubLoad {
    /// Times that a hub is started, one after the other.
    pub starts: u32,
    /// For how long a device is written.
    pub duration: Duration,
    /// The device whose own value is written; none is written where there is none.
    pub write: Option<DeviceId>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct HubReport {
    /// Devices of the gateway.
    pub devices: usize,
    /// From the start of a hub until a subscriber has every device, up to date.
    pub start_times: TimesSummary,
    /// From a write to its event in the feed, where a device was written.
    pub write_to_feed: Option<TimesSummary>,
}

/// Lets hubs start and write.
///
/// # Errors
/// Where the gateway is not reached in its time, or an event does not come.
pub async fn hub(
    target: &Target,
    load: HubLoad,
    progress: &Arc<Progress>,
) -> Result<HubReport, BenchError> {
    progress.begin("starts");
    let id = GatewayId::from("bench");
    let mut start_times = Times::default();
    let mut devices = 0;
    let mut last = None;
    for _ in 0..load.starts.max(1) {
        let start = Instant::now();
        let hub = Hub::start(HubOptions {
            discovery: None,
            names: Names::in_memory(),
        });
        let mut feed = hub.subscribe();
        hub.set(GatewaySpec {
            trust: target.options.trust.clone(),
            wire: target.options.wire,
            variants: target.options.variants,
            ..GatewaySpec::fixed(id.clone(), target.endpoint().clone(), target.key.clone())
        });
        let after = target.options.connect_timeout + target.options.request_timeout;
        timeout(after, synced(&hub, &mut feed, &id))
            .await
            .map_err(|_| BenchError::Silent {
                gateway: target.name(),
                what: "whole list of devices",
                after,
            })??;
        start_times.add(start.elapsed());
        devices = hub.read(&id, |home| home.len()).unwrap_or_default();
        progress.add(1);
        if let Some((earlier, _)) = last.replace((hub, feed)) {
            Hub::close(&earlier).await;
        }
    }
    let mut write_to_feed = None;
    if let (Some((hub, feed)), Some(device)) = (&mut last, &load.write) {
        progress.begin("writes");
        let times = writes(hub, feed, target, &id, device, load.duration, progress).await?;
        write_to_feed = Some(times.summary());
    }
    if let Some((hub, _)) = last {
        hub.close().await;
    }
    Ok(HubReport {
        devices,
        start_times: start_times.summary(),
        write_to_feed,
    })
}

/// Reads the feed until the gateway is up to date.
async fn synced(hub: &Hub, feed: &mut HubFeed, id: &GatewayId) -> Result<(), BenchError> {
    while let Some(item) = feed.next().await {
        match item {
            HubItem::Gateway(info) if info.id == *id && info.synced => return Ok(()),
            HubItem::Gateway(info) if info.id == *id => {
                if let hearthgate_hub::Link::Down(reason) = info.link {
                    return Err((*reason).clone().into());
                }
            }
            _ => {}
        }
    }
    Err(hub.client(id).err().map_or_else(
        || BenchError::NoDevices {
            gateway: id.to_string(),
        },
        BenchError::from,
    ))
}

async fn writes(
    hub: &Hub,
    feed: &mut HubFeed,
    target: &Target,
    id: &GatewayId,
    device: &DeviceId,
    duration: Duration,
    progress: &Progress,
) -> Result<Times, BenchError> {
    let write = same_again(&mut Peer::connect(target).await?, target, device).await?;
    let Request::SetValue(writes) = write else {
        return Ok(Times::default());
    };
    let readings: Vec<_> = writes
        .into_iter()
        .flat_map(|write| write.readings)
        .collect();
    let device = DeviceRef::new(id.clone(), device.clone());
    // What came up to now was not caused by a write of this load.
    while feed.waiting() > 0 && feed.next().await.is_some() {}
    let mut times = Times::default();
    let start = Instant::now();
    while start.elapsed() < duration {
        let before = Instant::now();
        let arrives = async {
            while let Some(item) = feed.next().await {
                if let HubItem::Event { event, .. } = item
                    && is_of(&event.kind, &device.device)
                {
                    return;
                }
            }
        };
        let both = async { tokio::join!(hub.write(&device, readings.clone()), arrives) };
        let (answered, ()) = timeout(ARRIVAL, both)
            .await
            .map_err(|_| BenchError::Silent {
                gateway: target.name(),
                what: "event after a write",
                after: ARRIVAL,
            })?;
        answered?;
        times.add(before.elapsed());
        progress.add(1);
    }
    Ok(times)
}
