//! Accepts connections within limits and gives each a task.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hearthgate_protocol::connection::{GatewayConfig, GatewayConnection};
use hearthgate_protocol::crypto::Nonce;
use hearthgate_protocol::limits::HANDSHAKE_TIMEOUT;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout_at};
use tokio_rustls::{Accept, TlsAcceptor};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::limits::SessionLimits;
use crate::once_a_minute::OnceAMinute;
use crate::registry::Registry;
use crate::session;
use crate::throttle::Throttle;
use crate::tokens::TokenBook;

/// How often it is looked whether the log is to be told of failures.
const LOOK: Duration = Duration::from_secs(5);
/// The pause after the system could not accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who may come in: shared by all sessions.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) stop: CancellationToken,
    pub(crate) throttle: Mutex<Throttle>,
    /// The tokens that hold, in the older dialect.
    pub(crate) tokens: Option<Mutex<TokenBook>>,
    /// Cancelled by the first session.
    first_session: CancellationToken,
    told: Mutex<OnceAMinute<(IpAddr, &'static str)>>,
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
    /// `tokens`: those that hold, in the older dialect.
    pub(crate) fn new(
        limits: SessionLimits,
        stop: CancellationToken,
        first_session: CancellationToken,
        tokens: Option<TokenBook>,
    ) -> Arc<Self> {
        let throttle = Mutex::default();
        Arc::new(Self {
            stop,
            throttle,
            tokens: tokens.map(Mutex::new),
            first_session,
            told: Mutex::default(),
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

    /// Takes note of something about an address that the log is told once a minute; returns how often
    /// it happened where that is now.
    pub(crate) fn tell(&self, address: IpAddr, what: &'static str, now: Instant) -> Option<u32> {
        self.told.lock().count((address, what), now)
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
        poll_fn(|cx| self.poll_evicted(cx)).await;
    }

    /// Is ready once the place is taken away.
    pub(crate) fn poll_evicted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Nothing is ever sent; the sender is dropped.
        Pin::new(&mut self.evicted).poll(cx).map(drop)
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
    tls: Option<TlsAcceptor>,
) {
    let mut sessions = JoinSet::new();
    let mut failures = OnceAMinute::default();
    let mut stopped = pin!(admission.stop.cancelled());
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => break,
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
                    let Some(opened) = open(&stream, peer, &admission) else { continue };
                    let (config, registry) = (Arc::clone(&config), registry.clone());
                    // Two kinds of tasks: a session without TLS is not made larger by it.
                    match &tls {
                        None => sessions.spawn(opened.serve(stream, config, registry)),
                        Some(tls) => {
                            let tls = tls.accept(stream);
                            sessions.spawn(opened.secure(tls, config, registry))
                        }
                    };
                }
                Err(fault) => accept_failed(&fault, &mut failures).await,
            },
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

/// A connection that was accepted.
struct Opened {
    peer: SocketAddr,
    admission: Arc<Admission>,
    handshake: Permit,
    nonce: Nonce,
    /// When; the time for the handshake counts from here on, that of TLS included.
    at: tokio::time::Instant,
}

fn open(stream: &TcpStream, peer: SocketAddr, admission: &Arc<Admission>) -> Option<Opened> {
    let handshake = admission.handshake(peer.ip());
    // Events are small and gathered already; Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    Some(Opened {
        peer,
        admission: Arc::clone(admission),
        handshake,
        nonce: nonce()?,
        at: tokio::time::Instant::now(),
    })
}

impl Opened {
    fn serve<S>(
        self,
        stream: S,
        config: Arc<GatewayConfig>,
        registry: Registry,
    ) -> impl Future<Output = ()> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = GatewayConnection::new(config, self.nonce, self.at.into_std());
        let (peer, admission, handshake) = (self.peer, self.admission, self.handshake);
        session::serve(stream, peer, connection, registry, admission, handshake)
    }

    /// Does the TLS handshake first. One that fails is no failed handshake of the protocol: nobody has
    /// tried a key yet.
    async fn secure<S>(
        mut self,
        accepting: Accept<S>,
        config: Arc<GatewayConfig>,
        registry: Registry,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stop = self.admission.stop.clone();
        let secured = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = self.handshake.evicted() => return,
            secured = timeout_at(self.at + HANDSHAKE_TIMEOUT, accepting) => secured,
        };
        match secured {
            // In a box of its own: the handshake's state and the session's are never there together.
            Ok(Ok(stream)) => Box::pin(self.serve(stream, config, registry)).await,
            Ok(Err(fault)) => debug!(peer = %self.peer, "no TLS handshake: {fault}"),
            Err(_) => debug!(peer = %self.peer, "no TLS handshake in time"),
        }
    }
}

/// Makes the protocol's side of a connection that begins now; `None` where the system gives no randomness.
pub(crate) fn connection(config: &Arc<GatewayConfig>) -> Option<GatewayConnection> {
    let now = tokio::time::Instant::now().into_std();
    Some(GatewayConnection::new(Arc::clone(config), nonce()?, now))
}

fn nonce() -> Option<Nonce> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(Nonce::new(bytes)),
        Err(fault) => {
            error!("the system gives no random bytes: {fault}");
            None
        }
    }
}

async fn accept_failed(fault: &io::Error, failures: &mut OnceAMinute<()>) {
    match fault.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
        _ => {
            let now = tokio::time::Instant::now().into_std();
            if let Some(count) = failures.count((), now) {
                warn!(
                    count,
                    "cannot accept connections: {fault}; those that are open go on, new ones wait. \
                     Where it is the limit of open files: raise it (ulimit -n), or take fewer with \
                     --max-sessions"
                );
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn admission(limits: SessionLimits) -> Arc<Admission> {
        Admission::new(
            limits,
            CancellationToken::new(),
            CancellationToken::new(),
            None,
        )
    }

    #[test]
    fn places_are_limited_in_all_and_by_address_and_are_given_back() {
        let limits = SessionLimits {
            total: 3,
            per_address: 2,
            ..SessionLimits::default()
        };
        let admission = admission(limits);
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

    #[tokio::test(start_paused = true)]
    async fn a_tls_handshake_that_does_not_go_on_ends_in_time_and_makes_room() {
        let tls = crate::tls::TlsIdentity::fleeting().unwrap();
        let started = tokio::time::Instant::now();
        for crowd in [0, crate::limits::HANDSHAKES_MAX] {
            let gateway = crate::testing::TestGateway::start(Vec::new());
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let opened = Opened {
                peer: SocketAddr::new(HOST, 1),
                admission: Arc::clone(&gateway.admission),
                handshake: gateway.admission.handshake(HOST),
                nonce: Nonce::new([1; 16]),
                at: tokio::time::Instant::now(),
            };
            let accepting = tls.acceptor().accept(ours);
            let config = Arc::new(GatewayConfig::new(
                hearthgate_protocol::crypto::DeviceKey::from_bytes([1; 16]),
            ));
            tokio::spawn(opened.secure(accepting, config, gateway.registry.clone()));
            // The first bytes of a hello, and no more.
            theirs.write_all(b"\x16\x03\x01").await.unwrap();
            let _crowd: Vec<_> = (0..crowd)
                .map(|_| gateway.admission.handshake(HOST))
                .collect();
            assert_eq!(theirs.read(&mut [0; 64]).await.unwrap_or(0), 0);
        }
        // The first ended by its time, the second at once.
        assert_eq!(started.elapsed(), HANDSHAKE_TIMEOUT);
    }

    #[tokio::test]
    async fn a_flood_of_handshakes_takes_places_from_itself_alone() {
        let limits = SessionLimits {
            handshakes: 20,
            ..SessionLimits::default()
        };
        let admission = admission(limits);
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
