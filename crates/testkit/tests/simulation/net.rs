//! The network of a run: where gateways can be reached, and all links that were ever made.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearthgate_client::{ClientError, Dial, Endpoint};
use hearthgate_gateway::StreamGateway;
use hearthgate_testkit::{Cable, CableEnd};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

/// Where every gateway is; they differ by their ports.
pub(crate) const HOST: &str = "127.0.0.1";

/// The network of a run. Cheap to clone; a clone is a way to dial.
#[derive(Clone)]
pub(crate) struct Net {
    state: Arc<Mutex<State>>,
}

struct State {
    random: fastrand::Rng,
    /// By port.
    gateways: HashMap<u16, Arc<StreamGateway>>,
    /// Links that may still live, with the port that was dialled.
    links: Vec<(u16, Cable)>,
    dials: u64,
    connected: u64,
    /// Events that were lost on links that are forgotten.
    lost: u64,
    /// Whether nothing bad happens any more.
    calm: bool,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            gateways: HashMap::new(),
            links: Vec::new(),
            dials: 0,
            connected: 0,
            lost: 0,
            calm: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(crate) fn put(&self, port: u16, gateway: Arc<StreamGateway>) {
        self.state.lock().gateways.insert(port, gateway);
    }

    pub(crate) fn remove(&self, port: u16) {
        self.state.lock().gateways.remove(&port);
    }

    pub(crate) fn calm(&self) {
        self.state.lock().calm = true;
    }

    pub(crate) fn dials(&self) -> u64 {
        self.state.lock().dials
    }

    pub(crate) fn connected(&self) -> u64 {
        self.state.lock().connected
    }

    pub(crate) fn lost(&self) -> u64 {
        let state = self.state.lock();
        state.lost
            + state
                .links
                .iter()
                .map(|(_, cable)| cable.lost())
                .sum::<u64>()
    }

    /// Returns the links of a port at which somebody still listens.
    pub(crate) fn links(&self, port: u16) -> Vec<Cable> {
        let state = self.state.lock();
        let links = state.links.iter().filter(|(of, _)| *of == port);
        links.map(|(_, cable)| cable.clone()).collect()
    }

    /// Returns all links at which somebody still listens, and forgets the others.
    pub(crate) fn living(&self) -> Vec<Cable> {
        let mut state = self.state.lock();
        let mut lost = 0;
        state.links.retain(|(_, cable)| {
            let lives = cable.client_silence().is_some() || cable.gateway_silence().is_some();
            lost += if lives { 0 } else { cable.lost() };
            lives
        });
        state.lost += lost;
        state.links.iter().map(|(_, cable)| cable.clone()).collect()
    }
}

impl Dial for Net {
    type Stream = CableEnd;

    async fn dial(
        &mut self,
        endpoint: &Endpoint,
        gateway: &Arc<str>,
        deadline: Instant,
    ) -> Result<(CableEnd, bool), ClientError> {
        let (wait, swallowed) = {
            let mut state = self.state.lock();
            state.dials += 1;
            let swallowed = !state.calm && state.random.u32(0..12) == 0;
            (Duration::from_millis(state.random.u64(1..80)), swallowed)
        };
        sleep(wait).await;
        let failed = |kind: io::ErrorKind| ClientError::Unreachable {
            gateway: Arc::clone(gateway),
            attempts: vec![(
                SocketAddr::from(([127, 0, 0, 1], endpoint.port())),
                Arc::new(io::Error::from(kind)),
            )],
        };
        if swallowed {
            tokio::time::sleep_until(deadline).await;
            return Err(failed(io::ErrorKind::TimedOut));
        }
        let mut state = self.state.lock();
        let Some(home) = state.gateways.get(&endpoint.port()).cloned() else {
            return Err(failed(io::ErrorKind::ConnectionRefused));
        };
        let delay = Duration::from_millis(state.random.u64(1..200));
        let seed = state.random.u64(..);
        let (cable, client, theirs) = Cable::new(seed, delay);
        home.serve(theirs, SocketAddr::from(([192, 0, 2, 1], 4711)));
        state.connected += 1;
        state.links.push((endpoint.port(), cable));
        Ok((client, true))
    }

    fn random(&mut self) -> u32 {
        self.state.lock().random.u32(..)
    }
}
