//! What the way of an event through the gateway allocates: from a driver's report to the encrypted bytes
//! of every session.
//!
//! The whole binary is one test, since the count is of the whole process. Where it fails, the places that
//! allocated are in `target/tmp/allocations.json`, for the viewer of DHAT.

use std::net::SocketAddr;
use std::time::Instant;

use hearthgate_gateway::{GatewayOptions, StreamGateway};
use hearthgate_protocol::connection::{ClientConfig, ClientConnection, ClientEvent};
use hearthgate_protocol::crypto::ClientEntropy;
use hearthgate_protocol::model::{
    Change, Device, Reading, Schema, Source, Stamp, Timestamp, Value,
};
use hearthgate_testkit::{Hand, HandDriver, Wire, test_key};
use tokio::task::yield_now;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Events of a busy moment: less than wait between driver and registry.
const EVENTS: usize = 64;
/// Turns of the one thread in which all tasks run: far more than they need.
const TURNS: usize = 500;

/// A session's stream, and the client at its other end.
struct Peer {
    wire: Wire,
    client: ClientConnection,
}

impl Peer {
    async fn connect(gateway: &StreamGateway, number: u8) -> Self {
        let config = ClientConfig::new(test_key(), "gateway");
        let entropy = ClientEntropy {
            nonce: [number; 16],
            websocket_key: [1; 16],
            mask_seed: [2; 16],
        };
        let client = ClientConnection::new(config, entropy, Instant::now());
        let wire = Wire::default();
        gateway.serve(wire.clone(), SocketAddr::from(([127, 0, 0, number], 1)));
        let mut peer = Self { wire, client };
        for _ in 0..TURNS {
            peer.wire.give(peer.client.take_output());
            yield_now().await;
            peer.read();
            if peer.client.is_authenticated() {
                return peer;
            }
        }
        panic!("session {number} did not open");
    }

    /// Returns the ids of the events that came.
    fn read(&mut self) -> Vec<i64> {
        let now = Instant::now();
        self.client.handle_input(now, &self.wire.take());
        let events = std::iter::from_fn(|| self.client.poll_event(now));
        events
            .filter_map(|event| match event {
                ClientEvent::Event { event, .. } => Some(event.id),
                _ => None,
            })
            .collect()
    }
}

/// Reports so many events, each by itself; returns the blocks that were allocated until all sessions
/// have them.
async fn blocks(hand: &Hand, peers: &mut [Peer], events: usize, last_id: &mut i64) -> u64 {
    let report = |number: usize| {
        vec![Change::State {
            device: "a".into(),
            readings: vec![Reading::new("count", Value::from(number as i64))],
        }]
    };
    // What a driver makes is its own affair.
    let reports: Vec<_> = (0..events).map(report).collect();
    for peer in &*peers {
        peer.wire.reserve(1024 * 1024);
    }
    let before = dhat::HeapStats::get().total_blocks;
    for report in reports {
        hand.report(report).await;
    }
    for _ in 0..TURNS {
        yield_now().await;
    }
    let blocks = dhat::HeapStats::get().total_blocks - before;
    let first = *last_id + 1;
    *last_id += events as i64;
    let expected: Vec<i64> = (first..=*last_id).collect();
    for peer in peers {
        assert_eq!(peer.read(), expected, "not every event arrived in time");
    }
    blocks
}

#[tokio::test]
async fn an_event_costs_one_allocation_at_most_and_none_per_session() {
    let mut counts = Vec::new();
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/allocations.json");
    let profiler = dhat::Profiler::builder().testing().file_name(file);
    let _profiler = profiler.build();
    for sessions in [1, 10, 100] {
        let stamp = Stamp {
            at: Timestamp(1),
            source: Source::Read,
        };
        let schema = Schema::new("kg", Vec::new(), Vec::new());
        let device = Device::new("a".into(), schema.into(), true, [], stamp);
        let (driver, hand) = HandDriver::new(vec![device]);
        let options = GatewayOptions::new("home", test_key());
        let gateway = StreamGateway::start(options, vec![Box::new(driver)]).unwrap();
        let mut peers = Vec::new();
        for number in 0..sessions {
            peers.push(Peer::connect(&gateway, number).await);
        }
        // Twice before it counts: shared buffers have found their size then.
        let mut last_id = 0;
        for _ in 0..2 {
            blocks(&hand, &mut peers, EVENTS, &mut last_id).await;
            blocks(&hand, &mut peers, 1, &mut last_id).await;
        }
        let busy = blocks(&hand, &mut peers, EVENTS, &mut last_id).await;
        let lone = blocks(&hand, &mut peers, 1, &mut last_id).await;
        println!("{sessions} sessions: {busy} allocations for {EVENTS} events, {lone} for one");
        counts.push((busy, lone));
    }
    for (busy, lone) in &counts {
        dhat::assert!(*busy <= EVENTS as u64, "more than one per event: {busy}");
        dhat::assert_eq!(
            (busy, lone),
            (&counts[0].0, &counts[0].1),
            "sessions allocate"
        );
    }
}
