//! The older dialect (section 8) with both ends: tokens, sessions, what is refused, and what is never said.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::time::{Duration, Instant};

use hearthgate_client::{Client, ClientError, Fault, Feed, KeepOptions, LinkState, Target, Trust};
use hearthgate_gateway::{BindError, GatewayOptions, TlsIdentity};
use hearthgate_protocol::crypto::ApiKey;
use hearthgate_protocol::model::{Change, Reading, Value};
use hearthgate_protocol::wire::DeviceWrite;
use hearthgate_testkit::{TestHome, eventually, snapshot, switches, test_key};
use tokio::net::TcpSocket;
use tokio::sync::watch;

const KEY: &str = "an OPENAPI_KEY, any text";

fn api_key() -> ApiKey {
    ApiKey::parse(KEY).unwrap()
}

fn older(identity: &TlsIdentity) -> impl FnOnce(&mut GatewayOptions) {
    let identity = identity.clone();
    move |options| {
        options.connection.key = api_key().into();
        options.tls = Some(identity);
    }
}

fn pinned(identity: &TlsIdentity) -> Trust {
    Trust::Pinned(identity.fingerprint())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_2023_is_a_session_like_any_other() {
    let identity = TlsIdentity::fleeting().unwrap();
    let home = TestHome::start_at("127.0.0.1:0", switches(120), older(&identity))
        .await
        .unwrap();
    let (client, _feed) = home
        .connect(|options| options.trust = pinned(&identity))
        .await
        .unwrap();
    client.synced().await.unwrap();
    assert_eq!(client.mirror().devices().len(), 120);
    let device = client.mirror().devices().first().unwrap().id().clone();
    let write = DeviceWrite {
        device: device.clone(),
        readings: vec![Reading::new("switch_1", Value::from(true))],
    };
    client.set(vec![write]).await.unwrap();
    let change = Change::State {
        device: device.clone(),
        readings: vec![Reading::new("mark", Value::from(7))],
    };
    home.hand.report(vec![change]).await;
    eventually("both in the mirror", || {
        let shown = client.mirror().read(snapshot);
        shown.contains(r#"{"k":"switch_1","v":true}"#) && shown.contains(r#"{"k":"mark","v":7}"#)
    })
    .await;
    client.close().await;
    home.stop().await;
}

#[tokio::test]
async fn it_is_never_spoken_without_tls() {
    let adjust = |options: &mut GatewayOptions| options.connection.key = api_key().into();
    let error = TestHome::start_at("127.0.0.1:0", switches(1), adjust)
        .await
        .unwrap_err();
    assert!(matches!(error, BindError::NoTls), "{error}");
    let home = TestHome::start(switches(1)).await.unwrap();
    let error = home
        .connect(|options| options.key = api_key().into())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("wss:// instead of ws://"),
        "{error}"
    );
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_refused_throttled_and_never_repeated() {
    const WRONG: &str = "a wrong OPENAPI_KEY";
    let identity = TlsIdentity::fleeting().unwrap();
    let home = TestHome::start_at("127.0.0.1:0", switches(1), older(&identity))
        .await
        .unwrap();
    let wrong = || {
        home.connect(|options| {
            options.trust = pinned(&identity);
            options.key = ApiKey::parse(WRONG).unwrap().into();
            assert!(!format!("{options:?}").contains(WRONG));
        })
    };
    for _ in 0..20 {
        let error = wrong().await.unwrap_err();
        assert_eq!(error.fault(), Fault::Authentication, "{error}");
        assert!(!format!("{error} {error:?}").contains(WRONG));
    }
    let started = Instant::now();
    wrong().await.unwrap_err();
    assert!(
        started.elapsed() >= Duration::from_millis(500),
        "not delayed"
    );
    // The right key is not kept waiting, and clears it.
    let (client, _) = home
        .connect(|options| options.trust = pinned(&identity))
        .await
        .unwrap();
    client.close().await;
    home.stop().await;
}

#[tokio::test]
async fn the_token_endpoint_is_checked_as_the_gateway_is() {
    let identity = TlsIdentity::fleeting().unwrap();
    let home = TestHome::start_at("127.0.0.1:0", switches(1), older(&identity))
        .await
        .unwrap();
    // Nothing is sent to whoever has another certificate, the key least of all.
    let error = home.connect(|_| {}).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&identity.fingerprint().to_string()), "{text}");
    // Whoever has a port and does not listen refuses, and nobody else gets it.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = closed.local_addr().unwrap().port();
    let adjust = |options: &mut hearthgate_client::ClientOptions| {
        options.trust = pinned(&identity);
        options.token_port = port;
    };
    let error = home.connect(adjust).await.unwrap_err();
    assert!(error.to_string().contains("--token-port"), "{error}");
    // A gateway of the other dialect has no such endpoint.
    let other = TestHome::start_at("127.0.0.1:0", switches(1), {
        let identity = identity.clone();
        move |options| options.tls = Some(identity)
    });
    let other = other.await.unwrap();
    let error = other
        .connect(|options| {
            options.trust = pinned(&identity);
            options.key = api_key().into();
        })
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Token { .. }), "{error}");
    assert!(!error.to_string().contains(KEY));
    // And who brings a device key to one of 2023 is told so.
    let error = home
        .connect(|options| {
            options.trust = pinned(&identity);
            options.key = test_key().into();
        })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("--dialect 2023"), "{error}");
    other.stop().await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_client_gets_new_tokens_from_a_gateway_that_forgot_the_old_ones() {
    let identity = TlsIdentity::fleeting().unwrap();
    let mut home = TestHome::start_at("127.0.0.1:0", switches(2), older(&identity))
        .await
        .unwrap();
    let address = home.address().to_string();
    let target = Target {
        trust: pinned(&identity),
        token_port: home.address().port(),
        ..Target::fixed(home.endpoint(), api_key())
    };
    let (_targets, receiver) = watch::channel(target);
    let (client, _feed) = Client::keep(receiver, KeepOptions::new("home"));
    // Once: each restart costs two attempts, and the waits between them double.
    eventually("the connection", || matches!(client.state(), LinkState::Up)).await;
    client.synced().await.unwrap();
    home.stop().await;
    eventually("the loss", || matches!(client.state(), LinkState::Down(_))).await;
    home = TestHome::start_at(&address, switches(2), older(&identity))
        .await
        .unwrap();
    eventually("the last connection", || {
        matches!(client.state(), LinkState::Up)
    })
    .await;
    client.close().await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_session_outlives_its_token_and_the_next_one_has_another() {
    let identity = TlsIdentity::fleeting().unwrap();
    let adjust = {
        let older = older(&identity);
        |options: &mut GatewayOptions| {
            older(options);
            options.token_lifetime = Duration::from_secs(1);
            options.token_listen = Some("127.0.0.1:0".to_owned());
        }
    };
    let home = TestHome::start_at("127.0.0.1:0", switches(2), adjust)
        .await
        .unwrap();
    let (client, _feed) = in_time(&home, &identity).await;
    let mut later = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..6 {
        later.tick().await;
        client.devices().await.unwrap();
    }
    let (second, _feed) = in_time(&home, &identity).await;
    second.close().await;
    client.close().await;
    home.stop().await;
}

/// Connects while its token holds; where a busy machine takes longer, again with a new one.
async fn in_time(home: &TestHome, identity: &TlsIdentity) -> (Client, Feed) {
    let mut tries = 1;
    loop {
        match home
            .connect(|options| options.trust = pinned(identity))
            .await
        {
            Ok(connected) => return connected,
            Err(error) => assert!(
                tries < 10 && matches!(error, ClientError::Authentication { .. }),
                "{error}"
            ),
        }
        tries += 1;
    }
}
