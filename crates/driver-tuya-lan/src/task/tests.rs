//! A whole task over a network in memory, with virtual time.

use std::path::Path;
use std::sync::Mutex;

use hearthgate_protocol::model::Value;

use super::*;
use crate::config::{LanConfig, Reach};
use crate::link::{Frame, FrameKind, Request, Version};

const STATE: &[u8] = br#"{"dps":{"1":true}}"#;

/// A device in memory: what it is, and who connected as what.
#[derive(Debug)]
struct Device {
    version: Version,
    is_on: bool,
    dialled: Vec<(String, Version, Instant)>,
    written: usize,
    /// The ends of the connections.
    links: Vec<mpsc::Sender<LinkEvent>>,
}

#[derive(Clone)]
struct Network(Arc<Mutex<Device>>);

struct FakeLink {
    network: Network,
    sender: mpsc::Sender<LinkEvent>,
    events: mpsc::Receiver<LinkEvent>,
}

impl Connector for Network {
    fn open(&self, target: Target) -> Box<dyn Link> {
        let mut device = self.0.lock().unwrap();
        let (sender, events) = mpsc::channel(8);
        device
            .dialled
            .push((target.host, target.version, Instant::now()));
        let first = match (device.is_on, device.version == target.version) {
            (false, _) => LinkEvent::Down(Cause::Unreachable("refused".to_owned())),
            (true, false) => LinkEvent::Down(Cause::NotUnderstood),
            (true, true) => LinkEvent::Up,
        };
        sender.try_send(first).unwrap();
        device.links.push(sender.clone());
        drop(device);
        Box::new(FakeLink {
            network: self.clone(),
            sender,
            events,
        })
    }
}

impl Link for FakeLink {
    fn next(&mut self) -> Boxed<'_, LinkEvent> {
        Box::pin(async { self.events.recv().await.unwrap() })
    }

    fn send(&mut self, request: Request) -> Boxed<'_, ()> {
        let kind = match request {
            Request::Query { .. } => FrameKind::Answer,
            Request::Write { .. } => {
                self.network.0.lock().unwrap().written += 1;
                FrameKind::Taken
            }
            _ => return Box::pin(async {}),
        };
        let body = STATE.to_vec();
        let frame = LinkEvent::Frame(Frame {
            kind,
            code: Some(0),
            body,
        });
        Box::pin(async { self.sender.send(frame).await.unwrap() })
    }

    fn close(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async {})
    }
}

struct Changes(mpsc::Sender<Result<Vec<Change>, CommandFault>>);

impl Outlet for Changes {
    type Ack = ();

    fn report(&self, changes: Vec<Change>) -> Boxed<'_, ()> {
        Box::pin(async { self.0.send(Ok(changes)).await.unwrap() })
    }

    fn succeed(&self, changes: Vec<Change>, (): ()) -> Boxed<'_, ()> {
        self.report(changes)
    }

    fn fail(&self, (): (), fault: CommandFault) {
        self.0.try_send(Err(fault)).unwrap();
    }
}

struct Bench {
    network: Network,
    changes: mpsc::Receiver<Result<Vec<Change>, CommandFault>>,
    orders: mpsc::Sender<Order<()>>,
    sighted: watch::Sender<Option<Sighting>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn start(version: Version, is_on: bool, more: &str) -> Self {
        let text =
            format!("[[device]]\nid = \"d\"\nkey = \"0123456789abcdef\"\ngrace = \"10s\"\n{more}");
        let mut config = LanConfig::parse(&text, Path::new("lan.toml")).unwrap();
        let device = config.devices.remove(0);
        let Reach::Direct(direct) = device.reach.clone() else {
            panic!("no connection of its own")
        };
        let network = Network(Arc::new(Mutex::new(Device {
            version,
            is_on,
            dialled: Vec::new(),
            written: 0,
            links: Vec::new(),
        })));
        let (outlet, changes) = mpsc::channel(64);
        let (orders, incoming) = mpsc::channel(8);
        let (sighted, sightings) = watch::channel(None);
        let stop = CancellationToken::new();
        let task = Task {
            id: device.id.clone(),
            direct,
            host: Host::new(device, Vec::new()),
            connector: Arc::new(network.clone()),
            outlet: Changes(outlet),
            orders: incoming,
            sighted: sightings,
            stop: stop.clone(),
        };
        Self {
            network,
            changes,
            orders,
            sighted,
            stop,
            task: tokio::spawn(task.run()),
        }
    }

    /// Waits until the device turns online or offline.
    async fn turned(&mut self, wanted: bool) {
        loop {
            let changes = self.changes.recv().await.unwrap().unwrap();
            let is_turn = |change: &Change| matches!(change, Change::Online { online, .. } if *online == wanted);
            if changes.iter().any(is_turn) {
                return;
            }
        }
    }

    fn device(&self) -> std::sync::MutexGuard<'_, Device> {
        self.network.0.lock().unwrap()
    }

    fn cut(&self) {
        let link = self.device().links.last().unwrap().clone();
        link.try_send(LinkEvent::Down(Cause::Lost)).unwrap();
    }

    fn sight(&self, address: &str, version: Option<Version>) {
        self.sighted.send_replace(Some(Sighting {
            id: "d".to_owned(),
            address: address.parse().unwrap(),
            version,
            product: None,
        }));
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

const FIXED: &str = "address = \"192.0.2.1\"\nversion = \"3.4\"";

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_made_again_and_nobody_hears_of_it() {
    let mut bench = Bench::start(Version::V34, true, FIXED);
    bench.turned(true).await;
    for _ in 0..3 {
        bench.cut();
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(bench.device().dialled.len(), 4);
    assert!(bench.changes.try_recv().is_err());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_off_is_dialled_ever_more_rarely_and_comes_back() {
    let mut bench = Bench::start(Version::V34, true, FIXED);
    bench.turned(true).await;
    bench.device().is_on = false;
    bench.cut();
    bench.turned(false).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let dialled: Vec<Instant> = bench
        .device()
        .dialled
        .iter()
        .map(|(_, _, at)| *at)
        .collect();
    let waits: Vec<Duration> = dialled.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        waits.iter().all(|wait| *wait <= Duration::from_secs(60)),
        "{waits:?}"
    );
    assert!((60..120).contains(&dialled.len()), "{}", dialled.len());
    bench.device().is_on = true;
    bench.turned(true).await;
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_announcement_ends_the_wait() {
    let bench = Bench::start(Version::V34, false, FIXED);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let before = bench.device().dialled.len();
    bench.sight("192.0.2.1", None);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(bench.device().dialled.len() > before);
    // However often it announces itself.
    for _ in 0..1000 {
        bench.sight("192.0.2.1", None);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(bench.device().dialled.len() < before + 10);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_address_is_that_of_the_announcement() {
    let mut bench = Bench::start(Version::V31, true, "");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.device().dialled.is_empty());
    bench.sight("192.0.2.7", Some(Version::V31));
    bench.turned(true).await;
    let dialled: Vec<_> = bench
        .device()
        .dialled
        .iter()
        .map(|(at, version, _)| (at.clone(), *version))
        .collect();
    assert_eq!(dialled, [("192.0.2.7".to_owned(), Version::V31)]);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_version_is_found_and_kept() {
    let mut bench = Bench::start(Version::V31, true, "address = \"192.0.2.1\"");
    bench.turned(true).await;
    assert_eq!(bench.device().dialled.len(), 4);
    bench.cut();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.device().dialled.last().unwrap().1, Version::V31);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_not_dialled_like_mad() {
    let bench = Bench::start(
        Version::V34,
        true,
        "address = \"192.0.2.1\"\nversion = \"3.5\"",
    );
    for _ in 0..600 {
        bench.sight("192.0.2.1", None);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(
        bench.device().dialled.len() < 20,
        "{}",
        bench.device().dialled.len()
    );
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_goes_out_and_its_effect_comes_back() {
    let mut bench = Bench::start(Version::V34, true, FIXED);
    bench.turned(true).await;
    let order = |readings| Order {
        device: "d".into(),
        readings,
        ack: (),
    };
    bench
        .orders
        .send(order(vec![Reading::new("dp_1", Value::from(true))]))
        .await
        .unwrap();
    let changes = bench.changes.recv().await.unwrap().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(bench.device().written, 1);
    bench.end().await;
}
