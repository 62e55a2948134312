//! The client's link, fed from memory: events applied to a mirror, and the same bytes only decrypted and
//! parsed.
//!
//! The link is the real one, over a byte stream that is not a socket. The gateway at its other end is a
//! [`GatewayConnection`] that answers the reading of the mirror from a home; the events are encrypted
//! before anything is measured.

use std::sync::Arc;
use std::time::Instant;

use hearthgate_client::{Client, ClientOptions, Feed, FeedItem};
use hearthgate_protocol::connection::{
    ClientConnection, ClientEvent, GatewayConfig, GatewayConnection, GatewayEvent,
};
use hearthgate_protocol::crypto::Nonce;
use hearthgate_protocol::model::{Change, Home};
use hearthgate_protocol::wire::{
    Request, write_result_devices, write_result_schemas, write_result_statuses,
};
use hearthgate_testkit::{Wire, test_key};
use tokio::runtime::Runtime;

use super::{house, messages, sessions};

/// Bytes that a client reads at a time.
const READ: usize = 64 * 1024;

/// A client whose mirror holds many devices, and the gateway's end of its connection.
pub(crate) struct MirrorLink {
    runtime: Runtime,
    client: Client,
    feed: Option<Feed>,
    gateway: GatewayConnection,
    wire: Wire,
    script: Script,
}

/// Whether somebody reads the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscriber {
    /// The mirror is all that is wanted.
    None,
    /// Every event is read from the feed.
    One,
}

impl MirrorLink {
    /// Connects and fills the mirror.
    pub(crate) fn new(devices: usize, subscriber: Subscriber) -> Self {
        let home: Home = house::devices(devices).into_iter().collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let config = Arc::new(GatewayConfig::new(test_key()));
        let mut gateway = GatewayConnection::new(config, Nonce::new([7; 16]), Instant::now());
        let wire = Wire::default();
        let endpoint = "ws://127.0.0.1:1".parse().expect("an endpoint");
        let options = ClientOptions::new(endpoint, test_key());
        let (client, mut feed) = runtime.block_on(async {
            let serving = serve(&mut gateway, &wire, &home);
            let connecting = async {
                let (client, feed) = Client::over(wire.clone(), true, options).await?;
                client.synced().await?;
                Ok::<_, hearthgate_client::ClientError>((client, feed))
            };
            tokio::select! {
                connected = connecting => connected.expect("a connection and a mirror"),
                () = serving => unreachable!("the gateway serves for ever"),
            }
        });
        let feed = match subscriber {
            Subscriber::None => None,
            Subscriber::One => {
                runtime.block_on(async {
                    while !matches!(feed.next().await, Some(FeedItem::InitDone)) {}
                });
                Some(feed)
            }
        };
        let script = Script::new(&home);
        Self {
            runtime,
            client,
            feed,
            gateway,
            wire,
            script,
        }
    }

    /// Encrypts so many events; to be applied once, in this order.
    pub(crate) fn prepare(&mut self, events: usize) -> Batch {
        self.script.batch(&mut self.gateway, events)
    }

    /// Has the link read them all; returns when the mirror holds them and the subscriber has them.
    pub(crate) fn apply(&mut self, batch: Batch) {
        let (wire, events) = (&self.wire, batch.events);
        let feed = self.feed.take();
        self.feed = self.runtime.block_on(async {
            wire.give(batch.bytes);
            let Some(mut feed) = feed else {
                wire.idle().await;
                return None;
            };
            // A task, as a subscriber is one: the runtime has an ear for the outermost future only rarely.
            let reading = tokio::spawn(async move {
                for _ in 0..events {
                    let item = feed.next().await;
                    assert!(matches!(item, Some(FeedItem::Event { .. })), "got {item:?}");
                }
                feed
            });
            Some(reading.await.expect("a subscriber that gets all events"))
        });
    }

    /// Returns the mirror's value of a data point, to see that all of it happened.
    pub(crate) fn holds(&self, change: &Change) -> bool {
        let Change::State { device, readings } = change else {
            return false;
        };
        self.client.mirror().read(|home| {
            let device = home.device(device.as_str());
            device.is_some_and(|device| {
                readings.iter().all(|reading| {
                    let point = device.point(reading.code.as_str());
                    point.is_some_and(|point| point.value == reading.value)
                })
            })
        })
    }

    /// Returns the last report of what was prepared.
    pub(crate) fn last(&self) -> Option<Change> {
        self.script.last.clone()
    }
}

/// The same bytes for a connection without link, mirror and feed.
pub(crate) struct ParseAlone {
    gateway: GatewayConnection,
    client: ClientConnection,
    script: Script,
    now: Instant,
}

impl ParseAlone {
    pub(crate) fn new(devices: usize) -> Self {
        let home: Home = house::devices(devices).into_iter().collect();
        let (gateway, client) = sessions::session(1);
        Self {
            gateway,
            client,
            script: Script::new(&home),
            now: Instant::now(),
        }
    }

    /// Encrypts so many events.
    pub(crate) fn prepare(&mut self, events: usize) -> Batch {
        self.script.batch(&mut self.gateway, events)
    }

    /// Decrypts and parses them all; returns how many they were.
    pub(crate) fn parse(&mut self, batch: &Batch) -> usize {
        let mut events = 0;
        for bytes in batch.bytes.chunks(READ) {
            self.client.handle_input(self.now, bytes);
            while let Some(event) = self.client.poll_event(self.now) {
                events += usize::from(matches!(
                    std::hint::black_box(event),
                    ClientEvent::Event { .. }
                ));
            }
        }
        assert_eq!(events, batch.events, "an event got lost");
        events
    }
}

/// Encrypted events.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    events: usize,
}

/// What the devices report, over and over, under ids that count up.
struct Script {
    reports: Vec<Change>,
    /// The place in `reports`, and the id of the next event.
    next: (usize, i64),
    last: Option<Change>,
}

impl Script {
    fn new(home: &Home) -> Self {
        // A number of reports that no number of devices divides: each comes back with another value.
        let reports = house::reports(home, home.len() * 2 + 1);
        Self {
            reports,
            next: (0, 1),
            last: None,
        }
    }

    fn batch(&mut self, gateway: &mut GatewayConnection, events: usize) -> Batch {
        for _ in 0..events {
            let (place, id) = self.next;
            let report = self.reports.get(place % self.reports.len()).cloned();
            let report = report.expect("there are devices");
            gateway.send(&messages::event(id, report.clone()));
            self.last = Some(report);
            self.next = (place + 1, id + 1);
        }
        Batch {
            bytes: gateway.take_output(),
            events,
        }
    }
}

/// Answers the requests of a client from a home.
async fn serve(gateway: &mut GatewayConnection, wire: &Wire, home: &Home) {
    let now = Instant::now();
    loop {
        gateway.handle_input(now, &wire.written().await);
        while let Some(event) = gateway.poll_event(now) {
            let GatewayEvent::Request { id, request } = event else {
                continue;
            };
            let mut json = Vec::new();
            let find = |ids: &[hearthgate_protocol::model::DeviceId]| {
                let ids = ids.iter();
                ids.filter_map(|id| home.device(id.as_str()))
                    .collect::<Vec<_>>()
            };
            match request {
                Request::GetSchema(ids) => write_result_schemas(&mut json, id, find(&ids)),
                Request::GetStatus(ids) => write_result_statuses(&mut json, id, find(&ids)),
                _ => write_result_devices(&mut json, id, home.devices()),
            }
            gateway.send(&json);
        }
        wire.give(gateway.take_output());
    }
}
