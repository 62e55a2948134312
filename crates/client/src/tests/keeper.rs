//! A client that is kept: restarts, rejected keys, moves, advertisements, silence, the end.

use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::connection::GatewayConfig;
use hearthgate_protocol::model::{Device, Home, Source};
use hearthgate_protocol::variants::Wire;
use hearthgate_protocol::websocket::close;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::support::*;
use crate::{
    Client, ClientError, Dial, Endpoint, Fault, Feed, KeepOptions, LinkState, NoUpgrade, Target,
};

/// An attempt to connect, to be decided by the test.
struct Attempt {
    endpoint: Endpoint,
    reply: oneshot::Sender<Option<DuplexStream>>,
}

struct TestDial(mpsc::Sender<Attempt>);

impl Dial for TestDial {
    type Stream = DuplexStream;

    async fn dial(
        &mut self,
        endpoint: &Endpoint,
        gateway: &Arc<str>,
        _: Instant,
    ) -> Result<(DuplexStream, bool), ClientError> {
        let (reply, stream) = oneshot::channel();
        let endpoint = endpoint.clone();
        self.0.send(Attempt { endpoint, reply }).await.unwrap();
        match stream.await {
            Ok(Some(stream)) => Ok((stream, true)),
            _ => Err(ClientError::NoGateway {
                gateway: Arc::clone(gateway),
                problem: NoUpgrade::Unanswered,
            }),
        }
    }

    /// The longest waits: 0.5 s, 1 s, 2 s and so on.
    fn random(&mut self) -> u32 {
        u32::MAX
    }
}

/// The test's side of a kept client.
struct Kept {
    client: Client,
    feed: Feed,
    targets: watch::Sender<Target>,
    attempts: mpsc::Receiver<Attempt>,
}

fn at(host: &str) -> Endpoint {
    Endpoint::new(host, 8433).unwrap()
}

fn kept(target: Target) -> Kept {
    let (sender, attempts) = mpsc::channel(1);
    let (targets, receiver) = watch::channel(target);
    let (client, feed) = Client::keep_with(TestDial(sender), receiver, KeepOptions::new("home"));
    Kept {
        client,
        feed,
        targets,
        attempts,
    }
}

fn kept_at_a() -> Kept {
    kept(Target::fixed(at("a"), key(KEY)))
}

fn found(hosts: &[&str]) -> Target {
    Target {
        found: hosts.iter().map(|host| at(host)).collect(),
        ..Target::unknown(key(KEY))
    }
}

impl Kept {
    /// Waits for an attempt; returns it and how long it took to come.
    async fn attempt(&mut self) -> (Attempt, Duration) {
        let started = Instant::now();
        let attempt = timeout(Duration::from_secs(100), self.attempts.recv()).await;
        let attempt = attempt.expect("no attempt within 100 s").unwrap();
        (attempt, started.elapsed())
    }

    /// Lets the next attempt fail; returns where it went and how long it took to come.
    async fn refuse(&mut self) -> (String, Duration) {
        let (attempt, after) = self.attempt().await;
        attempt.reply.send(None).unwrap();
        (attempt.endpoint.host().to_owned(), after)
    }

    /// Lets the next attempt reach a gateway with this configuration.
    async fn reach(&mut self, config: GatewayConfig) -> FakeGateway {
        let (attempt, _) = self.attempt().await;
        let (ours, gateway) = FakeGateway::new(config);
        attempt.reply.send(Some(ours)).unwrap();
        gateway
    }

    /// Lets the next attempt succeed, and answers all that is asked.
    async fn connect(&mut self, home: &Home) -> FakeGateway {
        let mut gateway = self.reach(GatewayConfig::new(key(KEY))).await;
        gateway.accept().await;
        gateway.answer_all(home).await;
        gateway
    }

    /// Lets the next attempt meet a gateway that has another key.
    async fn reject(&mut self) -> Duration {
        let started = Instant::now();
        let mut gateway = self.reach(GatewayConfig::new(key(OTHER_KEY))).await;
        let after = started.elapsed();
        gateway.ended().await;
        after
    }
}

async fn restart(mut gateway: FakeGateway) {
    gateway.connection.close(close::GOING_AWAY, "restart");
    gateway.flush().await;
}

fn sources(client: &Client) -> Vec<Source> {
    let devices = client.mirror().devices();
    let points = devices.iter().flat_map(Device::points);
    points.map(|point| point.confirmed.source).collect()
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_feed_carries_only_what_really_changed() {
    let mut kept = kept_at_a();
    let mut home = home(&["a", "b", "c"]);
    let gateway = kept.connect(&home).await;
    kept.client.synced().await.unwrap();
    assert_eq!(
        items(&mut kept.feed).await,
        ["up", "init", "a=false", "b=false", "c=false", "done"]
    );
    let before = kept.client.mirror().device("a").unwrap();

    restart(gateway).await;
    assert_eq!(items(&mut kept.feed).await, ["down Connection"]);
    assert_eq!(shown(&kept.client), ["a=false", "b=false", "c=false"]);
    assert_eq!(sources(&kept.client), [Source::Cache; 3]);
    let after = kept.client.mirror().device("a").unwrap();
    assert_eq!(
        after.points()[0].confirmed.at,
        before.points()[0].confirmed.at
    );

    turn(&mut home, "b", true);
    let left = home
        .devices()
        .filter(|device| device.id().as_str() != "c")
        .cloned()
        .collect();
    let mut gateway = kept.reach(GatewayConfig::new(key(KEY))).await;
    gateway.accept().await;
    // A live event of an equal value in the midst of reading is passed on, once.
    gateway.event(1, turned("a", false)).await;
    gateway.answer_all(&left).await;
    assert_eq!(
        items(&mut kept.feed).await,
        ["up", "event 1 Same", "delete c", "upsert b=true", "synced"]
    );
    assert_eq!(sources(&kept.client), [Source::Read; 2]);
    // Nothing more comes by itself.
    gateway.expect_quiet().await;
    assert!(items(&mut kept.feed).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_who_comes_late_is_told_how_the_link_is() {
    let mut kept = kept_at_a();
    let gateway = kept.connect(&home(&["a"])).await;
    let mut feed = kept.client.subscribe();
    assert_eq!(items(&mut feed).await, ["init", "a=false", "done", "up"]);
    restart(gateway).await;
    items(&mut feed).await;
    let mut feed = kept.client.subscribe();
    let told = items(&mut feed).await;
    assert_eq!(told, ["init", "a=false", "done", "down Connection"]);
}

#[tokio::test(start_paused = true)]
async fn waits_grow_to_thirty_seconds_and_start_anew_after_a_stable_minute() {
    let mut kept = kept_at_a();
    kept.refuse().await;
    let mut waits = Vec::new();
    for _ in 0..8 {
        waits.push(kept.refuse().await.1.as_millis());
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    // Told once, however often it failed.
    assert_eq!(items(&mut kept.feed).await, ["down Protocol"]);

    let gateway = kept.connect(&home(&["a"])).await;
    restart(gateway).await;
    assert_eq!(kept.refuse().await.1, Duration::from_secs(30));
    let mut gateway = kept.connect(&home(&["a"])).await;
    let minute = timeout(Duration::from_secs(61), gateway.next()).await;
    assert!(minute.is_err());
    restart(gateway).await;
    assert_eq!(kept.refuse().await.1, Duration::from_millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_key_waits_longest_until_it_is_changed() {
    let mut kept = kept_at_a();
    kept.reject().await;
    for _ in 0..3 {
        kept.client.advertised();
        assert_eq!(kept.reject().await, Duration::from_secs(30));
    }
    assert_eq!(items(&mut kept.feed).await, ["down Authentication"]);
    let error = kept.client.devices().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Authentication);
    assert!(!error.is_retryable());

    kept.targets
        .send_modify(|target| target.key = key(OTHER_KEY).into());
    let started = Instant::now();
    let mut gateway = kept.reach(GatewayConfig::new(key(OTHER_KEY))).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    gateway.accept().await;
    gateway.answer_all(&home(&["a"])).await;
    kept.client.connected().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_key_or_address_ends_a_connection_and_a_hint_does_not() {
    let mut kept = kept(found(&["a"]));
    let mut gateway = kept.connect(&home(&["x"])).await;
    kept.targets
        .send_modify(|target| target.found = vec![at("forged")]);
    kept.client.advertised();
    gateway.expect_quiet().await;
    assert!(matches!(kept.client.state(), LinkState::Up));

    let steps: [fn(&mut Target); 4] = [
        |target| target.key = key(OTHER_KEY).into(),
        |target| target.wire = Some(Wire::Binary),
        |target| target.found = vec![at("a").with_path("/other").unwrap()],
        |target| target.fixed = Some(at("b")),
    ];
    for step in steps {
        kept.targets.send_modify(step);
        let ended = gateway.ended().await;
        assert!(format!("{ended:?}").contains("1000"), "{ended:?}");
        let started = Instant::now();
        let config = GatewayConfig::new(kept.targets.borrow().key.clone());
        gateway = kept.reach(config).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        gateway.accept().await;
    }
    gateway.answer_all(&home(&["x"])).await;
    assert!(matches!(kept.client.state(), LinkState::Up));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_changes_during_the_handshake_does_not_cut_it() {
    let mut kept = kept_at_a();
    let mut gateway = kept.reach(GatewayConfig::new(key(KEY))).await;
    kept.targets
        .send_modify(|target| target.key = key(OTHER_KEY).into());
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.accept().await;
    gateway.ended().await;
    let mut gateway = kept.reach(GatewayConfig::new(key(OTHER_KEY))).await;
    gateway.accept().await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_moved_is_followed() {
    let mut kept = kept(found(&["a"]));
    let gateway = kept.connect(&home(&["x"])).await;
    kept.targets
        .send_modify(|target| target.found = vec![at("b"), at("a")]);
    restart(gateway).await;
    assert_eq!(kept.refuse().await.0, "b");
    // All candidates get their turn.
    assert_eq!(kept.refuse().await.0, "a");
    assert_eq!(kept.refuse().await.0, "b");
    for _ in 0..6 {
        kept.refuse().await;
    }
    // While it waits for 30 s, it is heard from elsewhere.
    tokio::time::sleep(Duration::from_secs(7)).await;
    kept.targets
        .send_modify(|target| target.found = vec![at("a"), at("c"), at("b")]);
    assert_eq!(kept.refuse().await, ("c".to_owned(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_was_never_heard_is_waited_for() {
    let mut kept = kept(found(&[]));
    let error = kept.client.connected().await.unwrap_err();
    assert!(matches!(error, ClientError::NotFound { .. }), "{error}");
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(kept.attempts.try_recv().is_err());
    kept.targets.send_replace(found(&["a"]));
    assert_eq!(kept.refuse().await, ("a".to_owned(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_advertisement_wakes_and_never_cuts_a_handshake() {
    let mut kept = kept_at_a();
    for _ in 0..8 {
        kept.refuse().await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    kept.client.advertised();
    let (attempt, after) = kept.attempt().await;
    assert_eq!(after, Duration::ZERO);
    let (ours, mut gateway) = FakeGateway::new(GatewayConfig::new(key(KEY)));
    attempt.reply.send(Some(ours)).unwrap();
    for _ in 0..8 {
        kept.client.advertised();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    gateway.accept().await;
    assert!(kept.attempts.try_recv().is_err());
    kept.client.connected().await.unwrap_err();
    gateway.answer_all(&home(&["a"])).await;
    assert!(matches!(kept.client.state(), LinkState::Up));
}

#[tokio::test(start_paused = true)]
async fn a_hint_from_before_the_loss_wakes_nothing() {
    let mut kept = kept_at_a();
    for _ in 0..8 {
        kept.refuse().await;
    }
    let gateway = kept.connect(&home(&["a"])).await;
    kept.client.advertised();
    restart(gateway).await;
    assert_eq!(kept.refuse().await.1, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_advertisements_adds_two_attempts_in_thirty_seconds_at_most() {
    let mut kept = kept(found(&["a"]));
    let started = Instant::now();
    let mut next_forged = 0;
    let mut attempts = 0;
    while started.elapsed() < Duration::from_secs(600) {
        while let Ok(attempt) = kept.attempts.try_recv() {
            attempts += 1;
            attempt.reply.send(None).unwrap();
        }
        kept.client.advertised();
        next_forged += 1;
        kept.targets
            .send_modify(|target| target.found = vec![at(&format!("f{next_forged}")), at("a")]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Without the flood: 6 in the first 31.5 s, then one in 30 s.
    assert!(attempts <= 6 + 19 + 2 * 21, "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_noticed_within_45_s_and_made_anew() {
    let mut kept = kept_at_a();
    let silent = kept.connect(&home(&["a"])).await;
    let started = Instant::now();
    items(&mut kept.feed).await;
    let mut gateway = kept.reach(GatewayConfig::new(key(KEY))).await;
    assert!(started.elapsed() <= Duration::from_secs(46));
    gateway.accept().await;
    gateway.answer_all(&home(&["a"])).await;
    let told = items(&mut kept.feed).await;
    assert_eq!(told, ["down Connection", "up", "synced"]);
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_first_connection_and_fail_at_once_later() {
    let mut kept = kept_at_a();
    let client = kept.client.clone();
    let early = tokio::spawn(async move { client.devices().await });
    let gateway = kept.connect(&home(&["a"])).await;
    assert_eq!(early.await.unwrap().unwrap(), ["a".into()]);

    restart(gateway).await;
    items(&mut kept.feed).await;
    for _ in 0..2 {
        let started = Instant::now();
        let error = kept.client.devices().await.unwrap_err();
        assert!(matches!(error, ClientError::Down { .. }), "{error}");
        assert_eq!(error.fault(), Fault::Connection);
        assert!(error.to_string().starts_with("nothing was sent"), "{error}");
        assert_eq!(started.elapsed(), Duration::ZERO);
        // The same in the midst of an attempt.
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn closing_ends_it_whatever_it_does() {
    // Waiting.
    let mut kept = kept_at_a();
    kept.refuse().await;
    kept.client.connected().await.unwrap_err();
    kept.client.close().await;
    assert!(matches!(
        kept.client.closed().await,
        ClientError::Closed { .. }
    ));
    assert_eq!(
        items(&mut kept.feed).await,
        ["down Protocol", "down Connection"]
    );
    assert!(kept.feed.next().await.is_none());
    assert!(matches!(
        kept.client.devices().await.unwrap_err(),
        ClientError::Closed { .. }
    ));
    // Dialling.
    let mut kept = kept_at_a();
    let (_attempt, _) = kept.attempt().await;
    kept.client.close().await;
    // Connected: the gateway hears of it.
    let mut kept = kept_at_a();
    let mut gateway = kept.connect(&home(&["a"])).await;
    let (ended, ()) = tokio::join!(gateway.ended(), kept.client.close());
    assert!(format!("{ended:?}").contains("1000"), "{ended:?}");
    assert!(
        timeout(Duration::from_secs(100), kept.attempts.recv())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_it_too() {
    let mut kept = kept_at_a();
    kept.refuse().await;
    let Kept {
        client,
        mut attempts,
        ..
    } = kept;
    drop(client);
    assert!(attempts.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_that_prints_shows_the_key() {
    let target = Target::fixed(at("a"), key(KEY));
    assert!(!format!("{target:?}").contains(KEY));
}
