//! One gateway of the hub: its kept client, what is heard of it, its grace.
//!
//! Input: the client's feed, advertisements, changed settings. Output: the board of `feed`, and the
//! target that the client goes by.

use std::sync::Arc;

use hearthgate_client::{
    Client, Endpoint, Feed, FeedItem, Following, KeepOptions, Sighting, Target,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Connect, GatewaySpec};
use crate::feed::{Board, GatewayInfo, Link};
use crate::grace::Grace;
use crate::identity::GatewayId;
use crate::names::Names;

/// The task of one gateway.
pub(super) struct Member {
    pub(super) id: GatewayId,
    /// One place: of several changes only the newest is seen.
    pub(super) specs: watch::Receiver<GatewaySpec>,
    pub(super) board: Arc<Board>,
    pub(super) names: Names,
    pub(super) connect: Connect,
    pub(super) following: Option<Following>,
    /// Where others find the client, once there is a key.
    pub(super) client: Arc<parking_lot::Mutex<Option<Client>>>,
}

/// The part that begins with the first key.
struct Running {
    client: Client,
    feed: Feed,
    targets: watch::Sender<Target>,
}

struct State {
    link: Link,
    synced: bool,
    grace: Grace,
    name: String,
}

impl Member {
    /// Runs until it is aborted, or the hub is gone.
    pub(super) async fn run(mut self) {
        let spec = self.specs.borrow_and_update().clone();
        let mut state = State {
            link: Link::Connecting,
            synced: false,
            grace: Grace::new(spec.grace),
            name: String::new(),
        };
        let mut running = self.follow_spec(&spec, None, &mut state);
        self.publish(&state);
        loop {
            let due = state.grace.deadline();
            let grace_ends = async {
                match due {
                    Some(due) => sleep_until(Instant::from_std(due)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                item = next(&mut running) => {
                    let Some(item) = item else { return };
                    let told = self.handle_item(&item, &mut state);
                    self.board.apply(&self.id, item);
                    if told {
                        self.publish(&state);
                    }
                }
                sighting = heard(&mut self.following) => {
                    if let Some(running) = &running {
                        self.handle_sighting(running, &sighting);
                    }
                }
                changed = self.specs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let spec = self.specs.borrow_and_update().clone();
                    running = self.follow_spec(&spec, running, &mut state);
                    self.publish(&state);
                }
                () = grace_ends => {
                    state.grace.handle_timeout(now());
                    self.publish(&state);
                }
            }
        }
    }

    /// Takes over what the feed says about the link; tells whether anything differs now.
    fn handle_item(&self, item: &FeedItem, state: &mut State) -> bool {
        match item {
            FeedItem::Up => state.link = Link::Up,
            FeedItem::Down(reason) => {
                state.link = Link::Down(Arc::clone(reason));
                state.synced = false;
                state.grace.handle_down(now());
            }
            FeedItem::InitDone | FeedItem::Synced => {
                // A snapshot that follows a backlog may be one of a gateway that is away.
                if !matches!(state.link, Link::Up) {
                    return false;
                }
                state.synced = true;
                state.grace.handle_synced();
            }
            _ => return false,
        }
        true
    }

    fn handle_sighting(&self, running: &Running, sighting: &Sighting) {
        let found = found(sighting, &self.specs.borrow());
        let differs = running.targets.send_if_modified(|target| {
            let differs = target.found != found;
            target.found = found;
            differs
        });
        if !differs {
            running.client.advertised();
        }
    }

    /// Does what the settings say now.
    fn follow_spec(
        &self,
        spec: &GatewaySpec,
        running: Option<Running>,
        state: &mut State,
    ) -> Option<Running> {
        state.grace.set_period(spec.grace);
        state.name = self.names.gateway(&self.id).unwrap_or(spec.name.clone());
        let Some(key) = &spec.key else {
            let problem = spec.problem.as_deref().unwrap_or("it has no key");
            if running.is_some() {
                tracing::warn!(
                    "the gateway {}: {problem}; the key from before stays in use",
                    state.name
                );
            } else {
                tracing::warn!("the gateway {} is not connected: {problem}", state.name);
                state.link = Link::NoKey(problem.into());
            }
            return running;
        };
        let last = self.following.as_ref().and_then(Following::last);
        let target = Target {
            fixed: spec.fixed.clone(),
            found: last.map_or(Vec::new(), |last| found(&last, spec)),
            key: key.clone(),
            trust: spec.trust.clone(),
            token_port: spec.token_port,
            wire: spec.wire,
            variants: spec.variants,
        };
        if let Some(running) = running {
            running.targets.send_if_modified(|known| {
                let differs = *known != target;
                *known = target;
                differs
            });
            return Some(running);
        }
        state.link = Link::Connecting;
        let (targets, receiver) = watch::channel(target);
        let (client, feed) = (self.connect.0)(receiver, KeepOptions::new(state.name.clone()));
        *self.client.lock() = Some(client.clone());
        Some(Running {
            client,
            feed,
            targets,
        })
    }

    fn publish(&self, state: &State) {
        self.board.set(GatewayInfo {
            id: self.id.clone(),
            name: state.name.clone(),
            link: state.link.clone(),
            synced: state.synced,
            available: state.grace.is_available(),
        });
    }
}

/// Returns the addresses of a sighting as endpoints, in its order.
fn found(sighting: &Sighting, spec: &GatewaySpec) -> Vec<Endpoint> {
    let endpoint = |address: &std::net::SocketAddr| {
        let endpoint = Endpoint::new(&address.ip().to_string(), address.port()).ok()?;
        let endpoint = endpoint.with_tls(spec.secure);
        match &spec.path {
            Some(path) => endpoint.with_path(path).ok(),
            None => Some(endpoint),
        }
    };
    sighting.addresses.iter().filter_map(endpoint).collect()
}

async fn next(running: &mut Option<Running>) -> Option<FeedItem> {
    match running {
        Some(running) => running.feed.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the next advertisement; for ever where nobody listens.
async fn heard(following: &mut Option<Following>) -> Sighting {
    if let Some(listening) = following {
        if let Some(sighting) = listening.heard().await {
            return sighting;
        }
        *following = None;
    }
    std::future::pending().await
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
