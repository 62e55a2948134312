//! The metrics, in the text format of Prometheus; all names begin with `hearthgate_`.
//!
//! Counters and histograms are kept where things happen; what the hub knows anyway (links, devices, values) is
//! looked up when somebody asks.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hearthgate_hub::GatewayId;
use hearthgate_protocol::model::{Home, Spec};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::app::App;

/// The most values of data points that are given at once.
const VALUES_MAX: usize = 100_000;

/// Bounds of latencies, in seconds.
const BOUNDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// The metrics that are kept where things happen.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: parking_lot::Mutex<Registry>,
    events: Family<EventLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
    write_seconds: Family<GatewayLabels, Histogram, fn() -> Histogram>,
    round_trip: Family<GatewayLabels, Histogram, fn() -> Histogram>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Items of the hub's feed that came too fast to be followed.
    pub(crate) missed: Counter,
    /// Event streams that are open.
    pub(crate) streams: Gauge,
    /// Logins that failed.
    pub(crate) failed_logins: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GatewayLabels {
    gateway: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    gateway: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriteLabels {
    gateway: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

fn latency() -> Histogram {
    Histogram::new(BOUNDS)
}

impl Metrics {
    /// Makes them, all zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("hearthgate");
        let made = Self {
            registry: parking_lot::Mutex::default(),
            events: Family::default(),
            writes: Family::default(),
            write_seconds: Family::new_with_constructor(latency),
            round_trip: Family::new_with_constructor(latency),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(latency),
            missed: Counter::default(),
            streams: Gauge::default(),
            failed_logins: Counter::default(),
        };
        registry.register(
            "events",
            "Events of gateways, by what they tell",
            made.events.clone(),
        );
        registry.register(
            "writes",
            "Writes through the API, by outcome: done, or the code of the error",
            made.writes.clone(),
        );
        registry.register(
            "write_seconds",
            "Time from a write to its answer",
            made.write_seconds.clone(),
        );
        registry.register(
            "round_trip_seconds",
            "Time of a trivial request to the gateway, measured now and then",
            made.round_trip.clone(),
        );
        registry.register(
            "http_requests",
            "Requests to this server",
            made.requests.clone(),
        );
        registry.register(
            "http_request_seconds",
            "Time to the head of the answer",
            made.request_seconds.clone(),
        );
        registry.register(
            "feed_items_missed",
            "Items of the hub's feed that came too fast to be followed",
            made.missed.clone(),
        );
        registry.register(
            "event_streams",
            "Event streams that are open",
            made.streams.clone(),
        );
        registry.register(
            "logins_failed",
            "Logins that failed",
            made.failed_logins.clone(),
        );
        *made.registry.lock() = registry;
        made
    }

    /// Adds what is looked up in the hub each time.
    pub(crate) fn look_up_in(&self, app: &Arc<App>) {
        let hub = InHub(Arc::downgrade(app));
        self.registry.lock().register_collector(Box::new(hub));
    }

    /// Counts an event.
    pub(crate) fn event(&self, gateway: &GatewayId, kind: &'static str) {
        let gateway = gateway.to_string();
        self.events
            .get_or_create(&EventLabels { gateway, kind })
            .inc();
    }

    /// Counts a write; `outcome`: `done`, or the code of the error.
    pub(crate) fn write(&self, gateway: &GatewayId, outcome: &str, took: Duration) {
        let gateway = gateway.to_string();
        let labels = WriteLabels {
            gateway: gateway.clone(),
            outcome: known_outcome(outcome).to_owned(),
        };
        self.writes.get_or_create(&labels).inc();
        self.write_seconds
            .get_or_create(&GatewayLabels { gateway })
            .observe(took.as_secs_f64());
    }

    /// Takes note of a round trip.
    pub(crate) fn round_trip(&self, gateway: &GatewayId, took: Duration) {
        let gateway = gateway.to_string();
        self.round_trip
            .get_or_create(&GatewayLabels { gateway })
            .observe(took.as_secs_f64());
    }

    /// Counts a request; `route` is one of those that there are.
    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        let labels = RequestLabels {
            method,
            route: route.clone(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds
            .get_or_create(&RouteLabels { method, route })
            .observe(took.as_secs_f64());
    }

    /// Returns all as text.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }
}

/// What a gateway calls an error is its affair: only known codes become labels.
fn known_outcome(outcome: &str) -> &str {
    match outcome {
        "done" | "invalid_request" | "unknown_gateway" | "unknown_device" | "device_offline"
        | "unsupported_code" | "invalid_value" | "timeout" | "busy" | "internal"
        | "gateway_down" | "no_key" => outcome,
        _ => "other",
    }
}

/// Looks up what the hub knows.
struct InHub(Weak<App>);

impl fmt::Debug for InHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InHub")
    }
}

impl Collector for InHub {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(app) = self.0.upgrade() else {
            return Ok(());
        };
        let gateways = app.hub.gateways();
        let views: Vec<_> = gateways.iter().map(|info| app.gateway_view(info)).collect();
        gauge(
            &mut encoder,
            "build_info",
            "The version of the program",
            [(vec![("version", app.version.to_owned())], 1.0)],
        )?;
        let name = |view: &crate::view::GatewayView| {
            vec![("gateway", view.id.clone()), ("name", view.name.clone())]
        };
        gauge(
            &mut encoder,
            "gateway_up",
            "Whether there is a connection to the gateway",
            views
                .iter()
                .map(|view| (name(view), f64::from(view.link == "up"))),
        )?;
        gauge(
            &mut encoder,
            "gateway_synced",
            "Whether the devices are as the gateway has them now",
            views
                .iter()
                .map(|view| (name(view), f64::from(view.synced))),
        )?;
        let devices = views.iter().flat_map(|view| {
            let state = |state: &str, count: usize| {
                let labels = vec![("gateway", view.id.clone()), ("state", state.to_owned())];
                (labels, count as f64)
            };
            [
                state("online", view.devices_online),
                state("offline", view.devices - view.devices_online),
            ]
        });
        gauge(
            &mut encoder,
            "gateway_devices",
            "Devices of the gateway, by whether it reaches them",
            devices,
        )?;
        let facts = app.facts.lock().clone();
        let of = |id: &GatewayId| vec![("gateway", id.to_string())];
        let mut facts: Vec<_> = facts.into_iter().collect();
        facts.sort_by(|a, b| a.0.cmp(&b.0));
        counter(
            &mut encoder,
            "gateway_connections",
            "Connections to the gateway that were made",
            facts.iter().map(|(id, it)| (of(id), it.connects)),
        )?;
        counter(
            &mut encoder,
            "gateway_reconnects",
            "Connections to the gateway that were made again",
            facts
                .iter()
                .map(|(id, it)| (of(id), it.connects.saturating_sub(1))),
        )?;
        counter(
            &mut encoder,
            "gateway_disconnections",
            "Connections to the gateway that were lost",
            facts.iter().map(|(id, it)| (of(id), it.losses)),
        )?;
        gauge(
            &mut encoder,
            "event_log_length",
            "Events that are kept for streams to go on",
            [(Vec::new(), app.ring.len() as f64)],
        )?;
        if let Some(history) = &app.history {
            let status = history.status();
            let one = |value: u64| [(Vec::new(), value as f64)];
            gauge(
                &mut encoder,
                "history_storing",
                "Whether changes are stored",
                one(u64::from(status.storing)),
            )?;
            gauge(
                &mut encoder,
                "history_waiting",
                "Changes that wait to be written",
                one(status.waiting),
            )?;
            gauge(
                &mut encoder,
                "history_bytes",
                "The size of the store",
                one(status.bytes),
            )?;
            counter(
                &mut encoder,
                "history_stored",
                "Changes that were stored",
                [(Vec::new(), status.stored)],
            )?;
            counter(
                &mut encoder,
                "history_lost",
                "Changes that were lost",
                [(Vec::new(), status.lost)],
            )?;
        }
        if app.value_metrics {
            values(&app, &mut encoder)?;
        }
        Ok(())
    }
}

/// Gives the values of all data points that are a number, or on and off.
fn values(app: &App, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut all = Vec::new();
    for info in app.hub.gateways() {
        let look = |home: &Home| {
            for device in home.devices().filter(|device| device.online()) {
                for point in device.points() {
                    if all.len() >= VALUES_MAX {
                        return;
                    }
                    let spec = device.schema().reading(point.code.as_str());
                    let number = match spec.map(|spec| spec.spec()) {
                        Some(Spec::Integer(spec)) => spec
                            .scaled(&point.value)
                            .and_then(|number| number.to_string().parse::<f64>().ok()),
                        _ => point.value.as_bool().map(f64::from),
                    };
                    if let Some(number) = number {
                        let labels = vec![
                            ("gateway", info.id.to_string()),
                            ("device", device.id().to_string()),
                            ("point", point.code.to_string()),
                        ];
                        all.push((labels, number));
                    }
                }
            }
        };
        // A gateway that is away has no values that would be true now.
        if info.synced {
            app.hub.read(&info.id, look);
        }
    }
    gauge(
        encoder,
        "value",
        "Values of data points in the user's units; on is 1",
        all,
    )
}

type Labels = Vec<(&'static str, String)>;

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, f64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        one(&mut metric, &labels, &ConstGauge::new(value))?;
    }
    Ok(())
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        one(&mut metric, &labels, &ConstCounter::new(value))?;
    }
    Ok(())
}

fn one(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    value: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    value.encode(metric.encode_family(labels)?)
}
