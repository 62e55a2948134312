//! Follows the hub: one task that turns its feed into the events of the API and keeps the facts.
//!
//! Input is the hub's feed; output are `ring` and `facts`. Nobody who reads those holds it up. A second task
//! measures the round trip to each gateway.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hearthgate_hub::{DeviceRef, GatewayId, GatewayInfo, HubFeed, HubItem};
use hearthgate_protocol::model::{DataPoint, Device, Reading, Spec, Timestamp};
use hearthgate_protocol::wire::{Event, EventKind, Request};
use serde::Serialize;
use tokio::time::MissedTickBehavior;
use utoipa::ToSchema;

use crate::app::App;
use crate::facts::Facts;
use crate::view::{DeviceView, ValueView, in_units, source_name};

/// How often what changes by itself (events a second) is told.
const TELL: Duration = Duration::from_secs(5);
/// How often a round trip is measured.
const MEASURE: Duration = Duration::from_secs(15);

/// Some data points of a device have these values now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ValuesEvent)]
pub(crate) struct ValuesEvent {
    gateway: String,
    id: String,
    /// When it came; milliseconds since the Unix epoch.
    at: i64,
    /// Whether anything differs; if not it is an event all the same, such as a second press of a button.
    changed: bool,
    /// Whether the device is in reach, where that is what the event tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
    points: Vec<PointEvent>,
}

/// The value of one data point.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PointEvent)]
struct PointEvent {
    code: String,
    #[serde(flatten)]
    state: ValueView,
}

#[derive(Serialize)]
struct Renamed {
    gateway: String,
    id: String,
    name: Option<String>,
    before: Option<String>,
}

#[derive(Serialize)]
struct Gone {
    gateway: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

/// Follows the feed to its end.
pub(crate) async fn follow(app: Arc<App>, mut feed: HubFeed) {
    let mut tell = tokio::time::interval(TELL);
    tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: Vec<String> = Vec::new();
    // From `Init` to `InitDone` the snapshot comes, which is read elsewhere.
    let mut in_snapshot = false;
    loop {
        tokio::select! {
            item = feed.next() => {
                let Some(item) = item else { return };
                match item {
                    HubItem::Init => in_snapshot = true,
                    HubItem::InitDone => in_snapshot = false,
                    HubItem::Missed { items } => {
                        app.metrics.missed.inc_by(items);
                        app.ring.clear();
                    }
                    HubItem::Gateway(info) => {
                        note(&app, &info);
                        if !in_snapshot {
                            app.ring.push("gateway", &app.gateway_view(&info));
                        }
                    }
                    _ if in_snapshot => {}
                    item => handle(&app, item),
                }
            }
            _ = tell.tick() => tell_gateways(&app, &mut told),
        }
    }
}

fn note(app: &App, info: &GatewayInfo) {
    let now = now();
    let mut facts = app.facts.lock();
    facts
        .entry(info.id.clone())
        .or_insert_with(|| Facts::new(now))
        .link(now, &info.link);
}

fn handle(app: &App, item: HubItem) {
    match item {
        HubItem::GatewayGone(gateway) => {
            app.facts.lock().remove(&gateway);
            let gateway = gateway.to_string();
            app.ring.push("gateway_gone", &Gone { gateway, id: None });
        }
        HubItem::Device { gateway, device } => {
            let name = app.hub.names().device(&DeviceRef {
                gateway: gateway.clone(),
                device: device.id().clone(),
            });
            let view = DeviceView::of(&gateway, &device, name);
            app.ring.push("device", &view);
        }
        HubItem::DeviceGone(device) => {
            let gateway = device.gateway.to_string();
            let id = Some(device.device.to_string());
            app.ring.push("device_gone", &Gone { gateway, id });
        }
        HubItem::Event {
            gateway,
            event,
            at,
            applied,
        } => {
            let changed = applied == hearthgate_protocol::model::Applied::Changed;
            handle_event(app, &gateway, event, at, changed);
        }
        HubItem::Renamed { device, before } => {
            let renamed = Renamed {
                name: app.hub.names().device(&device),
                gateway: device.gateway.to_string(),
                id: device.device.to_string(),
                before,
            };
            app.ring.push("renamed", &renamed);
        }
        _ => {}
    }
}

fn handle_event(app: &App, gateway: &GatewayId, event: Event, at: Timestamp, changed: bool) {
    if let Some(facts) = app.facts.lock().get_mut(gateway) {
        facts.event(at.0);
    }
    let (device, online, readings, kind) = match event.kind {
        EventKind::StateChanged { device, readings } => (device, None, readings, "values"),
        EventKind::OnlineUpdated {
            device,
            online,
            readings,
        } => (device, Some(online), readings.unwrap_or_default(), "online"),
        // What came of it is read, and told as a device.
        _ => {
            app.metrics.event(gateway, "other");
            return;
        }
    };
    app.metrics.event(gateway, kind);
    let known = app.hub.device(&DeviceRef {
        gateway: gateway.clone(),
        device: device.clone(),
    });
    let points = readings.iter();
    let points = points.map(|reading| point(known.as_ref(), reading, at));
    let told = ValuesEvent {
        gateway: gateway.to_string(),
        id: device.to_string(),
        at: at.0,
        changed,
        online,
        points: points.collect(),
    };
    app.ring.push(kind, &told);
}

/// Shows a reading of an event; the device may be one that is not known (yet).
fn point(device: Option<&Device>, reading: &Reading, at: Timestamp) -> PointEvent {
    let code = reading.code.as_str();
    let spec = device
        .and_then(|device| device.schema().reading(code))
        .map_or(&Spec::Unknown, DataPoint::spec);
    let known = device.and_then(|device| device.point(code));
    let changed = match known {
        Some(known) if known.value == reading.value => known.changed,
        _ => at,
    };
    PointEvent {
        code: code.to_owned(),
        state: ValueView {
            value: in_units(spec, &reading.value),
            raw: in_units(&Spec::Unknown, &reading.value),
            text: spec.display(&reading.value),
            at: at.0,
            changed: changed.0,
            source: source_name(hearthgate_protocol::model::Source::Event),
        },
    }
}

/// Tells what changed by itself since it was told last.
fn tell_gateways(app: &App, told: &mut Vec<String>) {
    let views: Vec<_> = app
        .hub
        .gateways()
        .iter()
        .map(|info| app.gateway_view(info))
        .collect();
    let texts: Vec<String> = views
        .iter()
        .map(|view| serde_json::to_string(view).unwrap_or_default())
        .collect();
    for (view, text) in views.iter().zip(&texts) {
        if !told.contains(text) {
            app.ring.push("gateway", view);
        }
    }
    *told = texts;
}

/// Measures the round trip to each gateway, now and then.
pub(crate) async fn measure(app: Arc<App>) {
    let mut tick = tokio::time::interval(MEASURE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let up = app.hub.gateways();
        let up = up
            .into_iter()
            .filter(|info| info.synced)
            .map(|info| measure_one(&app, info.id));
        futures_util::future::join_all(up).await;
    }
}

async fn measure_one(app: &App, gateway: GatewayId) {
    let Ok(client) = app.hub.client(&gateway) else {
        return;
    };
    let started = Instant::now();
    // The least that can be asked; a refusal has gone the same way.
    if client
        .try_request(Request::GetStatus(Vec::new()))
        .await
        .is_ok()
    {
        let took = started.elapsed();
        app.metrics.round_trip(&gateway, took);
        if let Some(facts) = app.facts.lock().get_mut(&gateway) {
            facts.round_trip = Some(took);
        }
    }
}

/// Returns the time by the clock on the wall, in milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
