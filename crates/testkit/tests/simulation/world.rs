//! One run: homes with gateways, a hub and further clients, and a seed that plagues all of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hearthgate_client::{BACKLOG_ITEMS, Client, FeedItem, KeepOptions, LinkState, Target};
use hearthgate_hub::{HUB_BACKLOG_ITEMS, Hub, HubItem, HubOptions, Link, Names};
use hearthgate_protocol::model::{Reading, Value};
use hearthgate_protocol::variants::Wire;
use hearthgate_testkit::Lane;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use crate::net::Net;
use crate::seen::Seen;
use crate::site::{Site, picture};

/// The most bytes of events that a gateway may keep: its bound, and the batch on top of it.
const LOG_MAX: u64 = 8 * 1024 * 1024 + 128 * 1024;
/// The longest silence that a client may bear: 45 s, and 4 s of farewell.
const CLIENT_SILENCE: Duration = Duration::from_secs(50);
/// The longest silence that a gateway may bear: 45 s, and 30 s of farewell to who was too slow.
const GATEWAY_SILENCE: Duration = Duration::from_secs(80);
/// The time in which all is well again: a half-open link that is noticed, the longest wait, an attempt
/// that is swallowed, a sync that failed and is tried again.
const RECOVERY: Duration = Duration::from_secs(240);

/// The longest time that a link is stalled and goes on.
const STALL_MAX: Duration = Duration::from_secs(70);

/// What a run has done, for people.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) dials: u64,
    pub(crate) connected: u64,
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) missed: u64,
    pub(crate) seconds: u64,
}

/// What makes runs differ in size.
struct Plan {
    sites: u16,
    devices: usize,
    wire: Wire,
    steps: u32,
    /// Whether each gateway has a client of its own besides the hub.
    clients: bool,
    /// Whether there are 200 devices, which are read in slices, and of which one or another says
    /// something all the time.
    full: bool,
    /// Whether there is more to read than any queue holds, and subscribers that do not read.
    flood: bool,
}

impl Plan {
    fn new(seed: u64, random: &mut fastrand::Rng) -> Self {
        // A full house is slow to simulate, a small one finds as much: each has its share.
        let full = seed % 50 == 7;
        let flood = seed % 250 == 11;
        let sites = if flood {
            1
        } else {
            random.u16(1..=if full { 2 } else { 3 })
        };
        Self {
            sites,
            devices: if full {
                200usize.div_ceil(usize::from(sites))
            } else {
                random.usize(1..10)
            },
            wire: match random.u32(0..6) {
                0 => Wire::Binary,
                1 => Wire::Base64,
                _ => Wire::Plain,
            },
            steps: random.u32(15..40),
            clients: flood || random.u32(0..3) == 0,
            full,
            flood,
        }
    }
}

/// A client of one gateway beside the hub.
struct Other {
    client: Client,
    targets: watch::Sender<Target>,
    seen: Arc<Mutex<Seen>>,
}

pub(crate) struct World {
    random: fastrand::Rng,
    plan: Plan,
    net: Net,
    sites: Vec<Site>,
    hub: Hub,
    seen: Arc<Mutex<Seen>>,
    others: Vec<Other>,
    /// When clients are told where a gateway is and with what key.
    untold: Vec<(Instant, usize)>,
    /// When gateways that are down come up.
    down: HashMap<usize, Instant>,
    presses: i64,
    writes: i64,
    acknowledged: Arc<Mutex<Vec<i64>>>,
    missed: Arc<Mutex<u64>>,
    /// Lets lazy subscribers read.
    wake: Arc<Notify>,
    began: Instant,
}

type Outcome<T = ()> = Result<T, String>;

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::new(seed, &mut random);
        let net = Net::new(random.u64(..));
        let options = HubOptions {
            discovery: None,
            names: Names::in_memory(),
        };
        let hub = Hub::start_with(options, net.clone());
        let sites = (0..plan.sites)
            .map(|number| {
                let random = random.fork();
                Site::new(number + 1, plan.devices, plan.wire, random)
            })
            .collect();
        Self {
            random,
            plan,
            net,
            sites,
            hub,
            seen: Arc::default(),
            others: Vec::new(),
            untold: Vec::new(),
            down: HashMap::new(),
            presses: 0,
            writes: 0,
            acknowledged: Arc::default(),
            missed: Arc::default(),
            wake: Arc::default(),
            began: Instant::now(),
        }
    }

    /// Runs to the end.
    pub(crate) async fn run(mut self) -> Outcome<Tally> {
        self.begin();
        for _ in 0..self.plan.steps {
            self.step().await?;
            self.check_bounds()?;
        }
        if self.plan.flood {
            self.flood().await?;
        }
        self.settle().await?;
        self.rekey().await?;
        self.idle().await?;
        self.check_writes()?;
        let tally = Tally {
            dials: self.net.dials(),
            connected: self.net.connected(),
            events: self.seen.lock().events,
            lost: self.net.lost(),
            missed: *self.missed.lock(),
            seconds: self.began.elapsed().as_secs(),
        };
        self.hub.close().await;
        Ok(tally)
    }

    fn begin(&mut self) {
        let lazy = self.plan.flood;
        let (seen, missed, wake) = (
            Arc::clone(&self.seen),
            Arc::clone(&self.missed),
            Arc::clone(&self.wake),
        );
        let mut feed = self.hub.subscribe();
        tokio::spawn(async move {
            let mut sleeps = lazy;
            loop {
                if sleeps {
                    wake.notified().await;
                    seen.lock().backlog(feed.waiting(), HUB_BACKLOG_ITEMS);
                    sleeps = false;
                }
                let Some(item) = feed.next().await else {
                    return;
                };
                if let HubItem::Missed { items } = item {
                    *missed.lock() += items;
                }
                seen.lock().hub_item(item);
            }
        });
        for site in &mut self.sites {
            site.start(&self.net);
            self.hub.set(site.spec());
            if !self.plan.clients {
                continue;
            }
            let (targets, receiver) = watch::channel(site.target());
            let options = KeepOptions::new(site.id.as_str());
            let (client, mut feed) = Client::keep_with(self.net.clone(), receiver, options);
            let seen = Arc::new(Mutex::new(Seen::default()));
            let (copy, id) = (Arc::clone(&seen), site.id.clone());
            let (wake, missed) = (Arc::clone(&self.wake), Arc::clone(&self.missed));
            tokio::spawn(async move {
                if lazy {
                    wake.notified().await;
                    copy.lock().backlog(feed.waiting(), BACKLOG_ITEMS);
                }
                while let Some(item) = feed.next().await {
                    if let FeedItem::Missed { items } = item {
                        *missed.lock() += items;
                    }
                    copy.lock().client_item(id.as_str(), &item);
                }
            });
            self.others.push(Other {
                client,
                targets,
                seen,
            });
        }
    }

    /// Lets something happen, and time pass.
    async fn step(&mut self) -> Outcome {
        let site = self.random.usize(0..self.sites.len());
        let port = self.sites[site].port;
        let links = self.net.links(port);
        let link = (!links.is_empty()).then(|| links[self.random.usize(0..links.len())].clone());
        match (self.random.u32(0..100), link) {
            (0..6, Some(link)) => link.cut(),
            (6..14, Some(link)) => {
                let lane = *self
                    .random
                    .choice([Lane::ToGateway, Lane::ToClient].iter())
                    .unwrap();
                let longest = if self.random.bool() { 0.04 } else { 1.0 };
                link.stall(lane, STALL_MAX.mul_f64(longest * self.random.f64()));
            }
            (14..18, Some(link)) => link.half_open(),
            (18..24, Some(link)) => link.lose(self.random.u32(10..100)),
            (24..29, _) => self.restart(site),
            (29..33, _) => self.change_key(site),
            (33..38, _) => self.change_port(site),
            (38..50, _) => self.write(site),
            (50..53, _) => {
                if let Ok(client) = self.hub.client(&self.sites[site].id) {
                    client.advertised();
                }
            }
            (53..56, _) => self.sites[site].live(150, &mut self.presses).await,
            _ => {
                let changes = self.random.usize(1..8);
                self.sites[site].live(changes, &mut self.presses).await;
            }
        }
        let longest = if self.random.u32(0..4) == 0 {
            30_000
        } else {
            1_500
        };
        let pause = Duration::from_millis(self.random.u64(0..longest));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            let rest = until.saturating_duration_since(Instant::now());
            if self.plan.full {
                let site = self.random.usize(0..self.sites.len());
                self.sites[site].live(1, &mut self.presses).await;
                sleep(rest.min(Duration::from_millis(20))).await;
            } else {
                sleep(rest.min(Duration::from_secs(1))).await;
            }
            self.keep_dates();
        }
        Ok(())
    }

    fn restart(&mut self, site: usize) {
        let power = self.random.u32(0..4) == 0;
        self.sites[site].kill(&self.net, power);
        let pause = Duration::from_millis(self.random.u64(0..20_000));
        self.down.insert(site, Instant::now() + pause);
    }

    fn change_key(&mut self, site: usize) {
        self.restart(site);
        let key: [u8; 16] = std::array::from_fn(|_| self.random.u8(..));
        self.sites[site].key = hearthgate_protocol::crypto::DeviceKey::from_bytes(key);
        let late = Duration::from_millis(self.random.u64(0..60_000));
        self.untold.push((Instant::now() + late, site));
    }

    fn change_port(&mut self, site: usize) {
        let port = self.random.u16(2000..60_000);
        self.sites[site].move_to(&self.net, port);
        let late = match self.random.bool() {
            // At once: what the old link still carries comes after the new one is up.
            true => Duration::ZERO,
            false => Duration::from_millis(self.random.u64(0..30_000)),
        };
        self.untold.push((Instant::now() + late, site));
        self.keep_dates();
    }

    fn write(&mut self, site: usize) {
        let Some(device) = self.sites[site].any_ref() else {
            return;
        };
        self.writes += 1;
        let (number, hub) = (self.writes, self.hub.clone());
        let acknowledged = Arc::clone(&self.acknowledged);
        tokio::spawn(async move {
            let readings = vec![Reading::new("level", Value::from(number))];
            if hub.write(&device, readings).await.is_ok() {
                acknowledged.lock().push(number);
            }
        });
    }

    /// Brings up what was down long enough, and tells what was untold long enough.
    fn keep_dates(&mut self) {
        let now = Instant::now();
        for (index, site) in self.sites.iter_mut().enumerate() {
            if self.down.get(&index).is_some_and(|until| *until <= now) {
                self.down.remove(&index);
                site.start(&self.net);
            }
        }
        let due: Vec<usize> = self
            .untold
            .extract_if(.., |(at, _)| *at <= now)
            .map(|it| it.1)
            .collect();
        for site in due {
            self.tell(site);
        }
    }

    fn tell(&self, site: usize) {
        self.hub.set(self.sites[site].spec());
        if let Some(other) = self.others.get(site) {
            other.targets.send_replace(self.sites[site].target());
        }
    }

    /// More than any queue holds, beside a link that takes nothing for a while.
    async fn flood(&mut self) -> Outcome {
        self.calm();
        self.until(
            "all connections before the flood",
            RECOVERY,
            Self::connected,
        )
        .await?;
        if let Some(link) = self.net.links(self.sites[0].port).last() {
            link.stall(Lane::ToClient, Duration::from_secs(9));
        }
        for _ in 0..100 {
            self.sites[0].live(170, &mut self.presses).await;
            // 10 MiB in all: more than the log keeps.
            self.sites[0].shout(100).await;
            sleep(Duration::from_millis(20)).await;
            self.check_bounds()?;
        }
        Ok(())
    }

    /// Ends all that is bad: from here on everything has to become well by itself.
    fn calm(&mut self) {
        self.net.calm();
        for cable in self.net.living() {
            cable.lose(0);
        }
        for date in self.down.values_mut() {
            *date = Instant::now();
        }
        for (date, _) in &mut self.untold {
            *date = Instant::now();
        }
        self.keep_dates();
    }

    async fn settle(&mut self) -> Outcome {
        self.calm();
        // Links that are stalled go on by then, or are given up.
        self.pass(STALL_MAX + CLIENT_SILENCE).await?;
        self.wake.notify_waiters();
        self.until("all connections", RECOVERY, Self::connected)
            .await?;
        // Whoever lost events without a later one cannot know of it.
        for site in &mut self.sites {
            site.press(&mut self.presses).await;
        }
        let minute = Duration::from_secs(60);
        self.until(
            "mirror, board and copies to be the registry",
            minute,
            Self::equal,
        )
        .await?;
        self.press_all().await
    }

    /// On links that are well every press comes, once.
    async fn press_all(&mut self) -> Outcome {
        let mut pressed = Vec::new();
        for index in 0..self.sites.len() {
            for _ in 0..3 {
                pressed.push((index, self.sites[index].press(&mut self.presses).await));
            }
        }
        let come = |world: &Self| {
            pressed.iter().all(|(site, press)| {
                let other = world.others.get(*site);
                let others = other.is_none_or(|other| other.seen.lock().press(*press) == 1);
                others && world.seen.lock().press(*press) == 1
            })
        };
        let ten = Duration::from_secs(10);
        self.until("every press to have come once", ten, come)
            .await?;
        self.until("all to be equal after the presses", ten, Self::equal)
            .await
    }

    /// A key that changes is refused first, and taken at once when it is told.
    async fn rekey(&mut self) -> Outcome {
        let site = self.random.usize(0..self.sites.len());
        self.sites[site].kill(&self.net, false);
        self.sites[site].key = hearthgate_protocol::crypto::DeviceKey::from_bytes([0x5a; 16]);
        self.sites[site].start(&self.net);
        let id = self.sites[site].id.clone();
        let refused = |world: &Self| {
            let gateways = world.hub.gateways();
            gateways.iter().any(|gateway| {
                let rejected = matches!(&gateway.link, Link::Down(error)
                    if error.fault() == hearthgate_client::Fault::Authentication);
                gateway.id == id && rejected
            })
        };
        let minute = Duration::from_secs(60);
        self.until("the old key to be refused", minute, refused)
            .await?;
        self.tell(site);
        let soon = Duration::from_secs(5);
        self.until("the new key to be used at once", soon, Self::connected)
            .await?;
        self.until("all to be equal under the new key", minute, Self::equal)
            .await?;
        self.press_all().await
    }

    /// Healthy links stay, and dead ones have gone.
    async fn idle(&mut self) -> Outcome {
        let before = self.net.connected();
        sleep(Duration::from_secs(120)).await;
        if self.net.connected() != before {
            return Err("a healthy connection was given up".to_owned());
        }
        let (living, clients) = (
            self.net.living().len(),
            self.sites.len() + self.others.len(),
        );
        if living != clients {
            return Err(format!("{living} links live for {clients} clients"));
        }
        self.check_bounds()
    }

    /// A write is sent once at most, and one that succeeded was done.
    fn check_writes(&self) -> Outcome {
        let mut done = HashSet::new();
        for (device, readings) in self.sites.iter().flat_map(Site::all_commands) {
            for number in readings.iter().filter_map(|reading| reading.value.as_i64()) {
                if !done.insert(number) {
                    return Err(format!("write {number} to {device} was done twice"));
                }
            }
        }
        match self
            .acknowledged
            .lock()
            .iter()
            .find(|number| !done.contains(number))
        {
            Some(number) => Err(format!("write {number} succeeded and was not done")),
            None => Ok(()),
        }
    }

    fn connected(&self) -> bool {
        let up = |gateway: &hearthgate_hub::GatewayInfo| {
            matches!(gateway.link, Link::Up) && gateway.synced
        };
        self.hub.gateways().iter().all(up)
            && self
                .others
                .iter()
                .all(|other| matches!(other.client.state(), LinkState::Up))
    }

    /// Tells whether everybody has what the registries have.
    fn equal(&self) -> bool {
        let seen = self.seen.lock();
        self.sites.iter().enumerate().all(|(index, site)| {
            let Some(gateway) = &site.gateway else {
                return false;
            };
            let expected = gateway.registry().read(picture);
            let is = |picture: Option<String>| picture.as_ref() == Some(&expected);
            let mirror = self.hub.client(&site.id).ok();
            is(self.hub.read(&site.id, picture))
                && is(mirror.map(|client| client.mirror().read(picture)))
                && is(seen.home(site.id.as_str()).map(picture))
                && self.others.get(index).is_none_or(|other| {
                    is(Some(other.client.mirror().read(picture)))
                        && is(other.seen.lock().home(site.id.as_str()).map(picture))
                })
        })
    }

    fn check_bounds(&self) -> Outcome {
        let faults = self
            .others
            .iter()
            .map(|other| &other.seen)
            .chain([&self.seen]);
        for seen in faults {
            if let Some(fault) = seen.lock().fault.clone() {
                return Err(fault);
            }
        }
        for site in &self.sites {
            let bytes = site
                .gateway
                .as_ref()
                .map_or(0, |it| it.registry().log_bytes());
            if bytes > LOG_MAX {
                return Err(format!("the event log of {} has {bytes} bytes", site.id));
            }
        }
        for cable in self.net.living() {
            let silent = |silence: Option<Duration>, most| silence.is_some_and(|it| it > most);
            if silent(cable.client_silence(), CLIENT_SILENCE) {
                return Err("a client bears a dead link for over 45 s".to_owned());
            }
            if silent(cable.gateway_silence(), GATEWAY_SILENCE) {
                return Err("a gateway bears a dead link".to_owned());
            }
        }
        Ok(())
    }

    /// Lets time pass.
    async fn pass(&mut self, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep(Duration::from_secs(1)).await;
            self.keep_dates();
            self.check_bounds()?;
        }
        Ok(())
    }

    /// Waits until something holds.
    async fn until(
        &mut self,
        what: &str,
        longest: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Outcome {
        let deadline = Instant::now() + longest;
        while !holds(self) {
            self.check_bounds()?;
            if Instant::now() >= deadline {
                return Err(format!("waited {longest:?} in vain for {what}"));
            }
            sleep(Duration::from_millis(250)).await;
            self.keep_dates();
        }
        self.check_bounds()
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.dials += other.dials;
        self.connected += other.connected;
        self.events += other.events;
        self.lost += other.lost;
        self.missed += other.missed;
        self.seconds += other.seconds;
    }
}
