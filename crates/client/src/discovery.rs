//! Where gateways are: listens for their advertisements over UDP (section 7).
//!
//! Input are the packets of the network, handed to the pure [`Table`]; output is what was heard of each
//! gateway: [`Discovery::follow`] for whoever looks after one, [`Discovery::sightings`] for lists.
//! Nothing here connects anywhere. Each follower has one place, in which a newer sighting replaces an
//! older one, so nobody who is slow holds anything up.
//!
//! A broadcast reaches every socket that is bound to its port, but only those on the unspecified address
//! (0.0.0.0), not those on an address of their own. A packet for a single address reaches one of the
//! sockets that share it, the one that is bound most narrowly.

mod gateway;
mod limiter;
mod recent;
mod socket;
mod table;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearthgate_protocol::limits::{
    BEACON_PACKET_MAX, BEACON_PORT, BEACON_PORT_VENDOR_ENCRYPTED, BEACON_PORT_VENDOR_PLAIN,
};
use hearthgate_protocol::model::Timestamp;
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

pub use gateway::{ADDRESSES_MAX, Change, Moment, STALE_AFTER, Sighting};
pub use socket::{DiscoveryError, Place};
pub use table::{Counters, Dropped, GATEWAYS_MAX, Heard, Table};

/// The pause after a socket failed to receive.
const PAUSE: Duration = Duration::from_secs(1);

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryOptions {
    /// The addresses to listen on; port 0 is a free one. By default all IPv4 interfaces, on our port
    /// and on the vendor's two.
    pub listen: Vec<SocketAddr>,
    /// The interfaces to listen on, by their names (Linux); all where there is none.
    pub interfaces: Vec<String>,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        let ports = [
            BEACON_PORT,
            BEACON_PORT_VENDOR_PLAIN,
            BEACON_PORT_VENDOR_ENCRYPTED,
        ];
        Self {
            listen: ports
                .map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
                .to_vec(),
            interfaces: Vec::new(),
        }
    }
}

/// Listens for advertisements until it is dropped.
#[derive(Debug)]
pub struct Discovery {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    tasks: Vec<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Counts the gateways that were found or moved.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    table: Table,
    followers: HashMap<Arc<str>, Followers>,
}

/// Those who follow the same gateway.
#[derive(Debug)]
struct Followers {
    sender: watch::Sender<Option<Sighting>>,
    count: usize,
}

impl Discovery {
    /// Binds the sockets and begins to listen; must be called within a runtime. An address that cannot
    /// be bound is a warning in the log.
    ///
    /// # Errors
    /// Where none of the addresses can be bound.
    pub fn start(options: &DiscoveryOptions) -> Result<Self, DiscoveryError> {
        let sockets = socket::bind_all(options)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        let mut addresses = Vec::new();
        let mut tasks = Vec::new();
        for (socket, address) in sockets {
            info!("listening for advertisements on {address}");
            addresses.push(address);
            let task = tokio::spawn(receive(socket, address, Arc::clone(&shared)));
            tasks.push(task.abort_handle());
        }
        Ok(Self {
            shared,
            addresses,
            tasks,
        })
    }

    /// Returns where it listens; at least one address.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Follows one gateway, which need not have been heard yet. As long as somebody does, it is never
    /// forgotten, and a flood of packets from elsewhere does not keep its own out.
    pub fn follow(&self, uuid: &str) -> Following {
        let uuid: Arc<str> = uuid.into();
        let mut state = self.shared.state.lock();
        state.table.follow(&uuid);
        let last = state.table.sighting(&uuid, now().instant);
        let followers = state
            .followers
            .entry(Arc::clone(&uuid))
            .or_insert_with(|| Followers {
                sender: watch::Sender::new(last),
                count: 0,
            });
        followers.count += 1;
        Following {
            uuid,
            receiver: followers.sender.subscribe(),
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// Returns what was heard of all gateways, in the order in which they were first heard. One that
    /// is silent stays listed; [`Sighting::is_stale`] tells.
    pub fn sightings(&self) -> Vec<Sighting> {
        self.shared.state.lock().table.sightings(now().instant)
    }

    /// Returns a receiver that wakes when a gateway is found or moves: time to look at
    /// [`Discovery::sightings`] again. The number in it means nothing.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Returns what became of all packets so far.
    pub fn counters(&self) -> Counters {
        self.shared.state.lock().table.counters()
    }

    /// Returns the sources of packets that were no advertisement, and how many they sent, most first.
    pub fn noisy_sources(&self) -> Vec<(IpAddr, u64)> {
        self.shared.state.lock().table.noisy_sources()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Follows the advertisements of one gateway.
#[derive(Debug)]
pub struct Following {
    uuid: Arc<str>,
    receiver: watch::Receiver<Option<Sighting>>,
    shared: Weak<Shared>,
}

impl Following {
    /// Waits for the next advertisement; of several since the last call only the newest is seen. None,
    /// at once and for good, where the discovery was dropped. May be cancelled at any time.
    pub async fn heard(&mut self) -> Option<Sighting> {
        self.receiver.changed().await.ok()?;
        self.receiver.borrow_and_update().clone()
    }

    /// Returns what was heard last, if anything ever was.
    pub fn last(&self) -> Option<Sighting> {
        self.receiver.borrow().clone()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let state = &mut *shared.state.lock();
        if let Some(followers) = state.followers.get_mut(&self.uuid) {
            followers.count -= 1;
            if followers.count == 0 {
                state.followers.remove(&self.uuid);
                state.table.unfollow(&self.uuid);
            }
        }
    }
}

impl Shared {
    fn handle_packet(&self, now: Moment, source: SocketAddr, packet: &[u8]) {
        let state = &mut *self.state.lock();
        let heard = match state.table.handle_packet(now, source, packet) {
            Ok(heard) => heard,
            Err(dropped) => {
                tracing::trace!("a packet from {source} was dropped: {dropped:?}");
                return;
            }
        };
        let followers = state.followers.get(&heard.uuid);
        if followers.is_none() && heard.change == Change::Seen {
            return;
        }
        let sighting = state.table.sighting(&heard.uuid, now.instant);
        if let (true, Some(sighting)) = (heard.change != Change::Seen, &sighting) {
            let Sighting { uuid, address, .. } = sighting;
            debug!("{:?}: gateway {uuid} at {address}", heard.change);
            self.changes
                .send_modify(|count| *count = count.wrapping_add(1));
        }
        if let Some(followers) = followers {
            followers.sender.send_replace(sighting);
        }
    }
}

async fn receive(socket: UdpSocket, address: SocketAddr, shared: Arc<Shared>) {
    // One byte more than is looked at shows what is too long.
    let mut buffer = vec![0; BEACON_PACKET_MAX + 1];
    let mut has_failed = false;
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((size, source)) => {
                has_failed = false;
                let packet = buffer.get(..size).unwrap_or_default();
                shared.handle_packet(now(), source, packet);
            }
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    warn!("cannot receive advertisements on {address}: {error}; trying again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn now() -> Moment {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Moment {
        instant: tokio::time::Instant::now().into_std(),
        time: Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests;
