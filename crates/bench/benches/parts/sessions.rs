//! Authenticated sessions without sockets: what a gateway does for each to deliver a batch of events.

use std::time::{Duration, Instant};

use hearthgate_protocol::connection::{
    ClientConfig, ClientConnection, GatewayConfig, GatewayConnection,
};
use hearthgate_protocol::pair::Pair;
use hearthgate_testkit::test_key;

/// Makes both ends of a session, each with its handshake behind it.
pub(crate) fn session(seed: u64) -> (GatewayConnection, ClientConnection) {
    let (gateway, client) = (
        GatewayConfig::new(test_key()),
        ClientConfig::new(test_key(), "bench"),
    );
    let mut pair = Pair::new(gateway, client, seed, Instant::now());
    pair.run_for(Duration::from_millis(1));
    assert!(pair.client.is_authenticated(), "the handshake failed");
    (pair.gateway, pair.client)
}

/// The gateway's ends of many sessions, and the buffer that they share.
pub(crate) struct Crowd {
    sessions: Vec<GatewayConnection>,
    buffer: Vec<u8>,
}

impl Crowd {
    pub(crate) fn new(count: u64) -> Self {
        Self {
            sessions: (0..count).map(|seed| session(seed).0).collect(),
            buffer: Vec::new(),
        }
    }

    /// Encrypts a batch for every session into the shared buffer, as one write would carry it; returns
    /// how many bytes that makes.
    pub(crate) fn deliver(&mut self, batch: &[Vec<u8>]) -> usize {
        let mut bytes = 0;
        for session in &mut self.sessions {
            session.swap_buffer(std::mem::take(&mut self.buffer));
            for event in batch {
                session.send(event);
            }
            let written = session.output().len();
            session.advance_output(written);
            self.buffer = session.swap_buffer(Vec::new());
            bytes += written;
        }
        bytes
    }
}
