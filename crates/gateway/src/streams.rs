//! A gateway whose streams come from elsewhere: from a tunnel, or from the links of a test.
//!
//! Input: options, drivers and byte streams that somebody else has accepted. Everything behind that is
//! the same as in [`Gateway`](crate::Gateway): registry, event log, sessions, limits.

use std::net::SocketAddr;
use std::sync::Arc;

use hearthgate_protocol::connection::GatewayConfig;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::driver::Driver;
use crate::gateway::GatewayOptions;
use crate::listener::{self, Admission};
use crate::registry::{Registry, StartError};
use crate::session;
use crate::tokens::TokenBook;

/// A gateway without a listener, which advertises nowhere. Dropped, it ends as a process that is killed:
/// its streams are dropped in the midst of whatever they do.
#[derive(Debug)]
pub struct StreamGateway {
    config: Arc<GatewayConfig>,
    registry: Registry,
    admission: Arc<Admission>,
    /// Its sessions. Those that ended are taken out when the next one begins.
    sessions: Mutex<JoinSet<()>>,
    /// Its registry and drivers.
    running: JoinSet<()>,
    stop_drivers: CancellationToken,
}

impl StreamGateway {
    /// Starts the drivers; has to be called within a runtime.
    ///
    /// # Errors
    /// Where two drivers serve the same device.
    pub fn start(
        options: GatewayOptions,
        drivers: Vec<Box<dyn Driver>>,
    ) -> Result<Self, StartError> {
        let stop_drivers = CancellationToken::new();
        let (registry, futures) = Registry::start(drivers, options.strict_step, &stop_drivers)?;
        let mut running = JoinSet::new();
        for future in futures {
            running.spawn(future);
        }
        let admission = Admission::new(
            options.limits,
            CancellationToken::new(),
            CancellationToken::new(),
            TokenBook::of(&options),
        );
        Ok(Self {
            config: Arc::new(options.connection),
            registry,
            admission,
            sessions: Mutex::default(),
            running,
            stop_drivers,
        })
    }

    /// Serves a stream. `peer` stands for whoever is at its other end: limits and throttle count by it.
    pub fn serve<S>(&self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = self.admission.handshake(peer.ip());
        let Some(connection) = listener::connection(&self.config) else {
            return;
        };
        let (registry, admission) = (self.registry.clone(), Arc::clone(&self.admission));
        let mut sessions = self.sessions.lock();
        while sessions.try_join_next().is_some() {}
        sessions.spawn(session::serve(
            stream, peer, connection, registry, admission, handshake,
        ));
    }

    /// Returns the devices.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Ends it in order: sessions are closed with 1001 first, drivers end after them.
    pub async fn stop(self) {
        self.admission.stop.cancel();
        let mut sessions = self.sessions.into_inner();
        while sessions.join_next().await.is_some() {}
        self.stop_drivers.cancel();
        let mut running = self.running;
        while running.join_next().await.is_some() {}
    }
}
