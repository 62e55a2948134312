//! Accepts connections within limits and gives each a task.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::connection::{GatewayConfig, GatewayConnection};
use hearthgate_protocol::crypto::Nonce;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::limits::SessionLimits;
use crate::registry::Registry;
use crate::session;
use crate::throttle::Throttle;

/// How often it is looked whether the log is to be told of failures.
const LOOK: Duration = Duration::from_secs(5);
/// The pause after the system could not accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who may come in: shared by all sessions.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) stop: CancellationToken,
    pub(crate) throttle: Mutex<Throttle>,
    /// Cancelled by the first session.
    first_session: CancellationToken,
    pub(crate) limits: SessionLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    handshakes: Handshakes,
    sessions: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Handshakes {
    count: usize,
    next: u64,
    /// By address, the oldest first. Dropping a sender tells its connection to go.
    by_address: HashMap<IpAddr, BTreeMap<u64, oneshot::Sender<()>>>,
}

impl Handshakes {
    fn enter(&mut self, address: IpAddr, most: usize) -> (u64, oneshot::Receiver<()>) {
        if self.count >= most {
            self.evict();
        }
        let (sender, evicted) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.count += 1;
        let places = self.by_address.entry(address).or_default();
        places.insert(number, sender);
        (number, evicted)
    }

    fn evict(&mut self) {
        let crowd = self
            .by_address
            .iter()
            .max_by_key(|(_, places)| places.len());
        let victim = crowd.and_then(|(address, places)| Some((*address, *places.keys().next()?)));
        if let Some((address, number)) = victim {
            self.leave(address, number);
        }
    }

    /// Gives a place back; does nothing where it was taken away.
    fn leave(&mut self, address: IpAddr, number: u64) {
        let Some(places) = self.by_address.get_mut(&address) else {
            return;
        };
        if places.remove(&number).is_some() {
            self.count -= 1;
        }
        if places.is_empty() {
            self.by_address.remove(&address);
        }
    }
}

impl Admission {
    pub(crate) fn new(
        limits: SessionLimits,
        stop: CancellationToken,
        first_session: CancellationToken,
    ) -> Arc<Self> {
        let throttle = Mutex::default();
        Arc::new(Self {
            stop,
            throttle,
            first_session,
            limits,
            counts: Mutex::default(),
        })
    }

    /// Takes a place among the handshakes, from another connection where there is none left.
    pub(crate) fn handshake(self: &Arc<Self>, address: IpAddr) -> Permit {
        let (number, evicted) = {
            let mut counts = self.counts.lock();
            counts.handshakes.enter(address, self.limits.handshakes)
        };
        Permit {
            admission: Arc::clone(self),
            address,
            number,
            evicted,
        }
    }

    /// Returns how many sessions there are.
    #[cfg(test)]
    pub(crate) fn sessions(&self) -> usize {
        self.counts.lock().sessions
    }

    /// Takes a place among the sessions, or says why there is none.
    pub(crate) fn session(self: &Arc<Self>, address: IpAddr) -> Result<Slot, &'static str> {
        let mut counts = self.counts.lock();
        if counts.sessions >= self.limits.total {
            return Err("too many sessions");
        }
        let from_address = counts.by_address.get(&address).copied().unwrap_or(0);
        if from_address >= self.limits.per_address {
            return Err("too many sessions from this address");
        }
        counts.by_address.insert(address, from_address + 1);
        counts.sessions += 1;
        self.first_session.cancel();
        Ok(Slot {
            admission: Arc::clone(self),
            address,
        })
    }
}

/// A place among the handshakes, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    address: IpAddr,
    number: u64,
    evicted: oneshot::Receiver<()>,
}

impl Permit {
    /// Waits until the place is taken away.
    pub(crate) async fn evicted(&mut self) {
        // Nothing is ever sent; the sender is dropped.
        let _ = (&mut self.evicted).await;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.handshakes.leave(self.address, self.number);
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
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = admission.stop.cancelled() => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                if let Err(fault) = ended {
                    error!("a session ended by a bug: {fault}");
                }
            }
            _ = look.tick() => {
                let overdue = admission.throttle.lock().overdue(session::now());
                for (peer, count) in overdue {
                    info!(%peer, count, "failed handshakes since the last line");
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
    let handshake = admission.handshake(peer.ip());
    // Events are small and gathered already; Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = connection(config)?;
    let (registry, admission) = (registry.clone(), Arc::clone(admission));
    Some(session::serve(
        stream, peer, connection, registry, admission, handshake,
    ))
}

/// Makes the protocol's side of a connection; `None` where the system gives no randomness.
pub(crate) fn connection(config: &Arc<GatewayConfig>) -> Option<GatewayConnection> {
    let mut nonce = [0; 16];
    if let Err(fault) = getrandom::fill(&mut nonce) {
        error!("the system gives no random bytes: {fault}");
        return None;
    }
    let now = tokio::time::Instant::now().into_std();
    Some(GatewayConnection::new(
        Arc::clone(config),
        Nonce::new(nonce),
        now,
    ))
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
    use futures_util::FutureExt;

    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn places_are_limited_in_all_and_by_address_and_are_given_back() {
        let limits = SessionLimits {
            total: 3,
            per_address: 2,
            ..SessionLimits::default()
        };
        let admission = Admission::new(limits, CancellationToken::new(), CancellationToken::new());
        let first = admission.session(HOST).unwrap();
        let _second = admission.session(HOST).unwrap();
        assert_eq!(
            admission.session(HOST).unwrap_err(),
            "too many sessions from this address"
        );
        let _third = admission.session(OTHER).unwrap();
        assert_eq!(admission.session(OTHER).unwrap_err(), "too many sessions");
        drop(first);
        assert!(admission.session(HOST).is_ok());
    }

    #[tokio::test]
    async fn a_flood_of_handshakes_takes_places_from_itself_alone() {
        let limits = SessionLimits {
            handshakes: 20,
            ..SessionLimits::default()
        };
        let admission = Admission::new(limits, CancellationToken::new(), CancellationToken::new());
        let mut good = admission.handshake(OTHER);
        let mut flood: Vec<Permit> = (0..25).map(|_| admission.handshake(HOST)).collect();
        for evicted in flood.iter_mut().take(6) {
            evicted.evicted().await;
        }
        assert!(good.evicted().now_or_never().is_none());
        assert!(flood[6].evicted().now_or_never().is_none());
        assert_eq!(admission.counts.lock().handshakes.count, 20);
        drop(flood);
        assert_eq!(admission.counts.lock().handshakes.count, 1);
    }
}
