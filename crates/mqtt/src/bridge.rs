//! Between the hub and the broker: one task, which never waits for either.
//!
//! Input: the hub's feed and the broker's messages. Output: what is to be said, through `outbox`, and
//! writes to devices. On every connection it first looks at what the broker keeps (whether another hub
//! is there, what is left of earlier runs), then says everything again.

mod commands;
mod early;
mod known;
mod leftovers;
mod news;
mod render;
mod requests;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use hearthgate_homeassistant::{Catalog, Overrides};
use hearthgate_hub::{Hub, HubFeed, HubItem};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, Connection, News, Order, Publish};
use crate::memory::{Memory, MemoryError, Place};
use crate::options::MqttOptions;
use crate::outbox::{Item, Next, Outbox};
use crate::tls::TlsError;
use crate::topics::{Kind, Topics};
use commands::Written;
use early::Early;
use known::Known;
use leftovers::Leftovers;
use news::Rival;

/// The wait before the first attempt to reach the broker again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(400);
/// The longest wait: a broker that is back is found within it.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// How long the broker may take to hand over what it keeps.
const LOOK: Duration = Duration::from_secs(10);
/// How long another hub has to say that it is alive.
const RIVAL: Duration = Duration::from_millis(1200);
/// How often a hub may lose its place to another one with the same client id before it gives way.
const PUSHED_OUT: u32 = 3;
/// Items of the feed that are taken over before something else gets its turn.
const ITEMS: usize = 64;
/// The most things that are done later; one more is done at once.
const LATER_MAX: usize = 4096;

/// Why the outlet cannot start, or ended by itself. A broker that is away is no reason.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// A choice is wrong.
    #[error("{0}")]
    Usage(String),
    /// The certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What is remembered.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Two hubs on one topic root.
    #[error(
        "another hub serves the topic root `{root}` at {broker}: {who}. Two would undo what the other says: \
         end one of them, or give one another --topic-root{}",
        same_id.as_ref().map_or(String::new(), |id| format!(" and --client-id (both use {id})"))
    )]
    Rival {
        /// The topic root.
        root: String,
        /// The broker.
        broker: String,
        /// What the other one says of itself.
        who: String,
        /// The client id, where it is the same.
        same_id: Option<String>,
    },
}

/// The outlet, ready to run. `Debug` shows no secret.
#[derive(Debug)]
pub struct Outlet {
    options: MqttOptions,
    overrides: Arc<Overrides>,
    topics: Topics,
    broker: Broker,
}

impl Outlet {
    /// Checks all that can be checked without the broker.
    ///
    /// # Errors
    /// Where a choice is wrong or a certificate cannot be read.
    pub fn new(options: MqttOptions, overrides: Arc<Overrides>) -> Result<Self, MqttError> {
        let topics = Topics::new(&options.topic_root, &options.discovery_prefix)
            .map_err(MqttError::Usage)?;
        let wrong_id = options
            .client_id
            .as_ref()
            .filter(|id| id.is_empty() || id.len() > 128 || id.chars().any(char::is_control));
        if wrong_id.is_some() {
            let problem = "the client id is 1 to 128 bytes without control characters";
            return Err(MqttError::Usage(problem.to_owned()));
        }
        let will = topics.bridge("state");
        let broker = Broker::new(options.clone(), will)?;
        Ok(Self {
            options,
            overrides,
            topics,
            broker,
        })
    }

    /// Says where the hub's page is; see [`MqttOptions::page`].
    pub fn with_page(mut self, url: impl Into<String>) -> Self {
        self.options.page = Some(url.into());
        self
    }

    /// Runs until `stop` is cancelled or the hub ends; then the hub is offline for all, within 2 s.
    ///
    /// # Errors
    /// Where another hub serves the same topic root, or nothing can be remembered.
    pub async fn run(mut self, hub: Hub, stop: CancellationToken) -> Result<(), MqttError> {
        let place = Place {
            broker: self.options.broker.to_string(),
            root: self.topics.root().to_owned(),
            prefix: self.topics.prefix().to_owned(),
        };
        let mut memory = Memory::open(self.options.state.as_deref(), &place)?;
        let earlier = memory.earlier(&place);
        memory.enter(&place)?;
        let client_id = self
            .options
            .client_id
            .clone()
            .unwrap_or_else(|| format!("hearthgate-{}", short_id(memory.hub(), &place.root)));
        self.broker.set_client_id(&client_id);
        let bridge = Bridge::new(self, hub, memory, place, earlier, client_id);
        bridge.run(stop).await
    }
}

/// Where the connection to the broker stands.
#[derive(Debug)]
enum Stage {
    /// There is none until then.
    Away { until: Instant },
    /// It is being made.
    Opening,
    /// What the broker keeps is looked at.
    Looking(Look),
    /// Everything may be said.
    Ready,
}

#[derive(Debug)]
struct Look {
    /// When to go on whatever has not come.
    until: Instant,
    /// Whether everything that the broker keeps has come.
    complete: bool,
    /// Another hub that may be alive.
    rival: Option<Rival>,
}

/// Something that is said a moment later.
#[derive(Debug)]
enum Later {
    Item(Item),
    Pass(Publish),
    Everything,
}

struct Bridge {
    hub: Hub,
    options: MqttOptions,
    topics: Topics,
    overrides: Arc<Overrides>,
    catalog: &'static Catalog,
    broker: Broker,
    client_id: String,
    memory: Memory,
    place: Place,
    /// Where earlier runs left messages, at this broker.
    earlier: Vec<(Place, Topics)>,
    /// This run, apart from all others.
    instance: String,
    started: i64,
    known: Known,
    leftovers: Leftovers,
    early: Early,
    outbox: Outbox,
    /// Bounded by [`LATER_MAX`].
    later: Vec<(Instant, Later)>,
    link: Option<Connection>,
    stage: Stage,
    wait: Duration,
    /// Whether the log says that there is no broker.
    told_down: bool,
    /// Whether everything was said once in this run.
    was_ready: bool,
    /// How often a hub with the same client id was there and the connection ended before everything was said.
    pushed_out: u32,
    /// Bounded by `commands::WRITES_MAX`.
    writes: JoinSet<Written>,
    unidentified: watch::Receiver<usize>,
}

impl Bridge {
    fn new(
        outlet: Outlet,
        hub: Hub,
        memory: Memory,
        place: Place,
        earlier: Vec<Place>,
        client_id: String,
    ) -> Self {
        let earlier = earlier.into_iter().filter_map(|place| {
            let topics = Topics::new(&place.root, &place.prefix).ok()?;
            Some((place, topics))
        });
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            unidentified: hub.unidentified(),
            hub,
            options: outlet.options,
            topics: outlet.topics,
            overrides: outlet.overrides,
            catalog: Catalog::builtin(),
            broker: outlet.broker,
            client_id,
            memory,
            place,
            earlier: earlier.collect(),
            instance: format!("{:016x}", fastrand::u64(..)),
            started: i64::try_from(started.as_millis()).unwrap_or(i64::MAX),
            known: Known::default(),
            leftovers: Leftovers::default(),
            early: Early::default(),
            outbox: Outbox::default(),
            later: Vec::new(),
            link: None,
            stage: Stage::Away {
                until: Instant::now(),
            },
            wait: FIRST_WAIT,
            told_down: false,
            was_ready: false,
            pushed_out: 0,
            writes: JoinSet::new(),
        }
    }

    async fn run(mut self, stop: CancellationToken) -> Result<(), MqttError> {
        let mut feed: HubFeed = self.hub.subscribe();
        let mut stopped = pin!(stop.cancelled());
        let mut timer = pin!(sleep_until(Instant::now()));
        let outcome = loop {
            if let Err(error) = self.do_what_is_due(Instant::now()) {
                break Err(error);
            }
            self.send_what_fits();
            // Rearmed only where a deadline comes nearer: one that moves away is found out when it fires.
            let wake = self.next_deadline();
            if wake < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(wake);
            }
            let sends = self.is_ready() && !self.outbox.is_empty();
            let (orders, news) = match &mut self.link {
                Some(link) => (sends.then_some(&link.orders), Some(&mut link.news)),
                None => (None, None),
            };
            tokio::select! {
                () = &mut stopped => break Ok(()),
                item = feed.next() => match item {
                    Some(item) => self.handle_items(item, &mut feed),
                    None => break Ok(()),
                },
                news = next_news(news) => {
                    let handled = self.handle_news(news);
                    if let Err(error) = handled {
                        break Err(error);
                    }
                }
                // What it makes room for is sent above.
                () = room(orders) => {}
                Some(written) = self.writes.join_next(), if !self.writes.is_empty() => {
                    // A write that panicked is a bug, and its device is not to suffer from it.
                    if let Ok(written) = written {
                        self.answer(written);
                    }
                }
                changed = self.unidentified.changed() => {
                    if changed.is_ok() {
                        self.sweep();
                    }
                }
                () = &mut timer => {}
            }
        };
        // A rival keeps its topics as they are.
        let rival = matches!(outcome, Err(MqttError::Rival { .. }));
        self.say_goodbye(rival).await;
        outcome
    }

    /// Takes an item of the feed over, and those that have come with it.
    fn handle_items(&mut self, first: HubItem, feed: &mut HubFeed) {
        self.handle_item(first);
        for _ in 1..ITEMS {
            // The end is met again by whoever waits for it.
            let Some(Some(item)) = feed.next().now_or_never() else {
                return;
            };
            self.handle_item(item);
        }
    }

    /// Hands over what is to be said, as far as there is room.
    fn send_what_fits(&mut self) {
        while self.is_ready() && !self.outbox.is_empty() {
            // None either where the connection has just ended: what passes is then kept for the next one.
            let room = self
                .link
                .as_ref()
                .and_then(|link| link.orders.clone().try_reserve_owned().ok());
            let Some(room) = room else { return };
            if let Some(publish) = self.next_publish() {
                room.send(Order::Publish(publish));
            }
        }
    }

    /// Does what is due.
    fn do_what_is_due(&mut self, now: Instant) -> Result<(), MqttError> {
        match &self.stage {
            Stage::Away { until } if *until <= now => {
                self.link = Some(self.broker.connect());
                self.stage = Stage::Opening;
            }
            Stage::Looking(look) if look.until <= now => {
                if !look.complete {
                    let probe = self.topics.bridge("probe");
                    tracing::warn!(
                        "the broker does not hand over what is published to {probe}: may this user read and \
                         write below {}? Leftovers and a second hub go unnoticed",
                        self.topics.root()
                    );
                }
                self.become_ready();
            }
            _ => {}
        }
        let due = |later: &mut (Instant, Later)| later.0 <= now;
        let due: Vec<_> = self.later.extract_if(.., due).collect();
        for (_, later) in due {
            match later {
                Later::Item(item) => self.outbox.push(item),
                Later::Pass(publish) => self.outbox.pass(now, publish),
                Later::Everything => self.say_everything(),
            }
        }
        let dropped = self.outbox.take_dropped();
        if dropped > 0 {
            tracing::warn!("{dropped} events or answers found no broker in time and are lost");
        }
        Ok(())
    }

    fn next_deadline(&self) -> Instant {
        let stage = match &self.stage {
            Stage::Away { until } => Some(*until),
            Stage::Looking(look) => Some(look.until),
            Stage::Opening | Stage::Ready => None,
        };
        let later = self.later.iter().map(|later| later.0).min();
        let idle = Instant::now() + Duration::from_secs(60);
        stage.into_iter().chain(later).min().unwrap_or(idle)
    }

    /// Does something after a while; the same item once.
    fn do_later(&mut self, after: Duration, what: Later) {
        let same = |other: &(Instant, Later)| match (&what, &other.1) {
            (Later::Item(a), Later::Item(b)) => a == b,
            (Later::Everything, Later::Everything) => true,
            _ => false,
        };
        if self.later.iter().any(same) {
            return;
        }
        let after = if self.later.len() < LATER_MAX {
            after
        } else {
            Duration::ZERO
        };
        self.later.push((Instant::now() + after, what));
    }

    /// From here on everything may be said, and all of it is.
    fn become_ready(&mut self) {
        self.stage = Stage::Ready;
        self.was_ready = true;
        self.pushed_out = 0;
        self.wait = FIRST_WAIT;
        self.order(Order::Unsubscribe(self.looked_at()));
        self.leftovers.complete();
        self.take_announced();
        // What was queued meanwhile is part of everything, and would go before what it names. What was to be
        // cleared is among the leftovers.
        self.outbox.forget();
        self.say_everything();
        self.sweep();
        self.carry_out_early();
    }

    /// Returns where the broker may keep something of ours.
    fn looked_at(&self) -> Vec<String> {
        let mut filters = self.topics.kept();
        for (_, topics) in &self.earlier {
            filters.extend(topics.kept());
            filters.extend([topics.bridge("info"), topics.bridge("devices")]);
        }
        filters.sort();
        filters.dedup();
        filters
    }

    /// Queues all there is to say: what is beneath before what names it, and that the hub is there last,
    /// so that nothing old is taken for live.
    fn say_everything(&mut self) {
        let gateways: Vec<_> = self.known.gateways().cloned().collect();
        for gateway in &gateways {
            self.outbox.push(Item::GatewayAvailability(gateway.clone()));
        }
        self.outbox.push(Item::HubDiscovery);
        for gateway in &gateways {
            self.outbox.push(Item::GatewayDiscovery(gateway.clone()));
            self.outbox.push(Item::GatewayState(gateway.clone()));
        }
        let devices: Vec<_> = self.known.devices().collect();
        for device in devices {
            self.say_device(&device);
        }
        self.outbox.push(Item::HubInfo);
        self.outbox.push(Item::List);
        self.outbox.requeue(Item::HubOnline);
    }

    /// Makes the text of what is next.
    fn next_publish(&mut self) -> Option<Publish> {
        match self.outbox.pop(Instant::now())? {
            Next::Passing(publish) => Some(publish),
            Next::Item(item) => self.render(&item),
        }
    }

    /// Tells the broker something that has nothing to do with what is known.
    fn order(&self, order: Order) {
        let Some(link) = &self.link else { return };
        if link.orders.try_send(order).is_err() {
            tracing::debug!("the broker takes nothing at the moment");
        }
    }

    /// Publishes something that is not retained: in its turn, soon or not at all.
    fn pass(&mut self, topic: String, payload: Vec<u8>, correlation: Option<bytes::Bytes>) {
        let publish = Publish {
            topic,
            payload,
            retain: false,
            correlation,
        };
        self.outbox.pass(Instant::now(), publish);
    }

    /// Writes a line to the topic of the hub's log.
    fn log(&mut self, level: &str, message: &str) {
        let line = json!({"level": level, "message": message});
        self.pass(
            self.topics.bridge("log"),
            line.to_string().into_bytes(),
            None,
        );
    }

    /// Says that the hub is offline, and goodbye.
    async fn say_goodbye(&mut self, silently: bool) {
        let ready = matches!(self.stage, Stage::Ready);
        let Some(link) = self.link.take() else { return };
        if ready && !silently {
            let publish = Publish {
                topic: self.topics.bridge("state"),
                payload: b"offline".to_vec(),
                retain: true,
                correlation: None,
            };
            let order = link
                .orders
                .send_timeout(Order::Publish(publish), Duration::from_millis(300));
            if order.await.is_err() {
                // The broker will find out by itself, and say it.
                return;
            }
        }
        link.close().await;
    }
}

/// Returns a name that is always the same for a hub and a root.
fn short_id(hub: &str, root: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let root: String = root.chars().take(32).map(plain).collect();
    format!("{root}-{hub}")
}

/// Waits for what the broker does; for ever where there is no connection.
async fn next_news(news: Option<&mut mpsc::Receiver<News>>) -> Option<News> {
    match news {
        Some(news) => news.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for room among the orders; for ever where nothing is to be sent.
async fn room(orders: Option<&mpsc::Sender<Order>>) {
    if let Some(orders) = orders
        && orders.reserve().await.is_ok()
    {
        // The place is given back: nobody else takes one.
        return;
    }
    std::future::pending::<()>().await;
}

/// The retained topics of a gateway.
const GATEWAY_KINDS: [Kind; 2] = [Kind::Availability, Kind::State];
