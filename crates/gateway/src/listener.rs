//! Accepts connections within limits and gives each a task.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::connection::{GatewayConfig, GatewayConnection};
use hearthgate_protocol::crypto::Nonce;
use hearthgate_protocol::limits::SESSIONS_MAX;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::registry::Registry;
use crate::session;
use crate::throttle::Throttle;

/// Connections that may be in the handshake at once; further ones are closed at once.
const HANDSHAKES_MAX: usize = 1024;
/// The pause after the system could not accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many sessions a gateway takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// In all.
    pub total: usize,
    /// From one address.
    pub per_address: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { total: SESSIONS_MAX, per_address: SESSIONS_MAX }
    }
}

/// Who may come in: shared by all sessions.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) stop: CancellationToken,
    pub(crate) throttle: Mutex<Throttle>,
    limits: SessionLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    handshakes: usize,
    sessions: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Admission {
    pub(crate) fn new(limits: SessionLimits, stop: CancellationToken) -> Arc<Self> {
        let throttle = Mutex::default();
        Arc::new(Self { stop, throttle, limits, counts: Mutex::default() })
    }

    /// Takes a place among the handshakes, if there is one.
    pub(crate) fn handshake(self: &Arc<Self>) -> Option<Permit> {
        let mut counts = self.counts.lock();
        if counts.handshakes >= HANDSHAKES_MAX {
            return None;
        }
        counts.handshakes += 1;
        Some(Permit { admission: Arc::clone(self) })
    }

    /// Takes a place among the sessions, or says why there is none.
    pub(crate) fn session(self: &Arc<Self>, address: IpAddr) -> Result<Slot, &'static str> {
        let mut counts = self.counts.lock();
        if counts.sessions >= self.limits.total {
            return Err("too many sessions");
        }
        let from_address = counts.by_address.entry(address).or_default();
        if *from_address >= self.limits.per_address {
            return Err("too many sessions from this address");
        }
        *from_address += 1;
        counts.sessions += 1;
        Ok(Slot { admission: Arc::clone(self), address })
    }
}

/// A place among the handshakes, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.counts.lock().handshakes -= 1;
    }
}

/// A place among the sessions, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.sessions -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// Accepts until told to stop, then waits for the sessions.
pub(crate) async fn run(
    listener: TcpListener,
    config: Arc<GatewayConfig>,
    registry: Registry,
    admission: Arc<Admission>,
) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = admission.stop.cancelled() => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                if let Err(fault) = ended {
                    error!("a session ended by a bug: {fault}");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(session) = open(stream, peer, &config, &registry, &admission) {
                        sessions.spawn(session);
                    }
                }
                Err(fault) => accept_failed(&fault).await,
            },
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

fn open(
    stream: TcpStream,
    peer: SocketAddr,
    config: &Arc<GatewayConfig>,
    registry: &Registry,
    admission: &Arc<Admission>,
) -> Option<impl Future<Output = ()> + Send + use<>> {
    let Some(handshake) = admission.handshake() else {
        warn!(%peer, "connection refused: {HANDSHAKES_MAX} handshakes are under way");
        return None;
    };
    let mut nonce = [0; 16];
    if let Err(fault) = getrandom::fill(&mut nonce) {
        error!("the system gives no random bytes: {fault}");
        return None;
    }
    // Events are small and gathered already; Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let now = tokio::time::Instant::now().into_std();
    let connection = GatewayConnection::new(Arc::clone(config), Nonce::new(nonce), now);
    let (registry, admission) = (registry.clone(), Arc::clone(admission));
    Some(session::serve(stream, peer, connection, registry, admission, handshake))
}

async fn accept_failed(fault: &io::Error) {
    match fault.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
        _ => {
            warn!("cannot accept connections: {fault}; trying again");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn places_are_limited_in_all_and_by_address_and_are_given_back() {
        let limits = SessionLimits { total: 3, per_address: 2 };
        let admission = Admission::new(limits, CancellationToken::new());
        let first = admission.session(HOST).unwrap();
        let _second = admission.session(HOST).unwrap();
        assert_eq!(admission.session(HOST).unwrap_err(), "too many sessions from this address");
        let _third = admission.session(OTHER).unwrap();
        assert_eq!(admission.session(OTHER).unwrap_err(), "too many sessions");
        drop(first);
        assert!(admission.session(HOST).is_ok());
    }

    #[test]
    fn handshakes_are_limited() {
        let admission = Admission::new(SessionLimits::default(), CancellationToken::new());
        let mut permits: Vec<Permit> =
            (0..HANDSHAKES_MAX).map(|_| admission.handshake().unwrap()).collect();
        assert!(admission.handshake().is_none());
        permits.pop();
        assert!(admission.handshake().is_some());
    }
}
