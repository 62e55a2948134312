//! What all requests share.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hearthgate_client::{Client, LinkState};
use hearthgate_hub::{DeviceRef, GatewayId, GatewayInfo, HistorySource, Hub, Link};
use hearthgate_protocol::model::{Device, Home};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::GatewayAccess;
use crate::facts::{self, Facts};
use crate::guard::Guard;
use crate::login::Login;
use crate::metrics::Metrics;
use crate::ring::Ring;
use crate::view::{DeviceView, GatewayView};
use crate::watch;

/// The most event streams at a time; one more is told to come later.
pub(crate) const STREAMS_MAX: usize = 256;
/// The most diagnoses at a time; one more is told to come later.
const DOCTORS_MAX: usize = 4;

/// What all requests share.
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) version: &'static str,
    pub(crate) ring: Ring,
    pub(crate) facts: Mutex<HashMap<GatewayId, Facts>>,
    pub(crate) metrics: Metrics,
    pub(crate) value_metrics: bool,
    pub(crate) history: Option<Arc<dyn HistorySource>>,
    pub(crate) access: GatewayAccess,
    pub(crate) guard: Guard,
    pub(crate) login: Login,
    /// The gateways that are being diagnosed.
    doctors: Mutex<HashSet<GatewayId>>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

/// A diagnosis under way; ends when dropped.
pub(crate) struct Doctoring {
    app: Arc<App>,
    gateway: GatewayId,
}

impl Drop for Doctoring {
    fn drop(&mut self) {
        self.app.doctors.lock().remove(&self.gateway);
    }
}

/// Of what an [`App`] is made.
pub(crate) struct Parts {
    pub(crate) hub: Hub,
    pub(crate) version: &'static str,
    pub(crate) value_metrics: bool,
    pub(crate) history: Option<Arc<dyn HistorySource>>,
    pub(crate) access: GatewayAccess,
    pub(crate) guard: Guard,
    pub(crate) login: Login,
    pub(crate) epoch: String,
}

impl App {
    /// Makes it.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let app = Arc::new(Self {
            hub: parts.hub,
            version: parts.version,
            ring: Ring::new(parts.epoch),
            facts: Mutex::default(),
            metrics: Metrics::new(),
            value_metrics: parts.value_metrics,
            history: parts.history,
            access: parts.access,
            guard: parts.guard,
            login: parts.login,
            doctors: Mutex::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop: CancellationToken::new(),
        });
        app.metrics.look_up_in(&app);
        app
    }

    /// Shows a gateway.
    pub(crate) fn gateway_view(&self, info: &GatewayInfo) -> GatewayView {
        let now = watch::now();
        let client = self.hub.client(&info.id).ok();
        // The feed tells an outage once; the connection knows how the last attempt went.
        let down = match client.as_ref().map(Client::state) {
            Some(LinkState::Down(error)) if matches!(info.link, Link::Down(_)) => Some(error),
            _ => None,
        };
        let reason = down.as_ref().map(ToString::to_string);
        let reason = reason.or_else(|| facts::reason(&info.link));
        let (facts, events_per_second) = {
            let mut all = self.facts.lock();
            let facts = all
                .entry(info.id.clone())
                .or_insert_with(|| Facts::new(now));
            if let Some(reason) = &reason {
                facts.failed(now, reason.clone());
            }
            (facts.clone(), facts.events_per_second(now))
        };
        let count = |home: &Home| {
            let online = home.devices().filter(|device| device.online()).count();
            (home.len(), online)
        };
        let (devices, devices_online) = self.hub.read(&info.id, count).unwrap_or_default();
        let wire = client
            .filter(|_| matches!(info.link, Link::Up))
            .map(|client| client.wire().name());
        let millis = |time: std::time::Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        GatewayView {
            id: info.id.to_string(),
            name: info.name.clone(),
            link: facts::link_name(&info.link),
            reason,
            fault: down.as_ref().map(facts::fault),
            since: facts.since,
            synced: info.synced,
            available: info.available,
            devices,
            devices_online,
            wire,
            round_trip_ms: facts.round_trip.map(millis),
            events_per_second,
            events: facts.events,
            connects: facts.connects,
            last_error: facts.last_error,
            kept: self.access.path().is_some() && self.hub.is_from_file(&info.id),
        }
    }

    /// Returns what is known of a gateway.
    pub(crate) fn gateway(&self, id: &str) -> Option<GatewayInfo> {
        let all = self.hub.gateways();
        all.into_iter().find(|info| info.id.as_str() == id)
    }

    /// Looks at the devices of a gateway. While it is in sync those of its connection are looked at, which
    /// know when each value was last read.
    pub(crate) fn read<R>(&self, info: &GatewayInfo, look: impl FnOnce(&Home) -> R) -> Option<R> {
        match self.hub.client(&info.id) {
            Ok(client) if info.synced => Some(client.mirror().read(look)),
            _ => self.hub.read(&info.id, look),
        }
    }

    /// Returns a device.
    pub(crate) fn device(&self, gateway: &str, device: &str) -> Option<Device> {
        let info = self.gateway(gateway)?;
        self.read(&info, |home| home.device(device).cloned())?
    }

    /// Shows a device.
    pub(crate) fn device_view(&self, gateway: &GatewayId, device: &Device) -> DeviceView {
        let name = self.hub.names().device(&DeviceRef {
            gateway: gateway.clone(),
            device: device.id().clone(),
        });
        DeviceView::of(gateway, device, name)
    }

    /// Begins a diagnosis, if there is none of this gateway and not too many of others.
    pub(crate) fn begin_doctor(self: &Arc<Self>, gateway: &GatewayId) -> Option<Doctoring> {
        let mut doctors = self.doctors.lock();
        if doctors.len() >= DOCTORS_MAX || !doctors.insert(gateway.clone()) {
            return None;
        }
        Some(Doctoring {
            app: Arc::clone(self),
            gateway: gateway.clone(),
        })
    }
}
