//! `wss://` with both ends: which certificates are trusted, what is said where none is, and that a
//! session over TLS is a session like any other.
#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_client::{
    Client, ClientError, ClientOptions, Endpoint, Fault, Feed, FeedItem, KeepOptions, LinkState,
    Target, TlsFault, Trust,
};
use hearthgate_gateway::TlsIdentity;
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::model::{Change, Reading, Value};
use hearthgate_protocol::wire::DeviceWrite;
use hearthgate_testkit::{Script, TestHome, eventually, snapshot, switches, test_key};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

async fn home(identity: &TlsIdentity) -> TestHome {
    home_at("127.0.0.1:0", identity, 3).await
}

async fn home_at(listen: &str, identity: &TlsIdentity, count: usize) -> TestHome {
    let adjust = |options: &mut hearthgate_gateway::GatewayOptions| {
        options.tls = Some(identity.clone());
    };
    TestHome::start_at(listen, switches(count), adjust)
        .await
        .unwrap()
}

async fn connect(home: &TestHome, trust: Trust) -> Result<(Client, Feed), ClientError> {
    home.connect(|options| options.trust = trust).await
}

async fn refused(home: &TestHome, trust: Trust) -> (TlsFault, Fault) {
    match connect(home, trust).await.unwrap_err() {
        error @ ClientError::Tls { .. } => {
            let fault = error.fault();
            let ClientError::Tls { fault: cause, .. } = error else {
                unreachable!()
            };
            (cause, fault)
        }
        other => panic!("{other}"),
    }
}

fn pinned(identity: &TlsIdentity) -> Trust {
    Trust::Pinned(identity.fingerprint())
}

/// A CA, and certificates by it.
struct Authority {
    folder: TempDir,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        Self { folder, issuer }
    }

    fn trust(&self) -> Trust {
        Trust::Ca(self.folder.path().join("ca.pem"))
    }

    /// Makes a certificate for a host that is good until a year.
    fn certificate(&self, host: &str, until: i32) -> TlsIdentity {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |name: &str| self.folder.path().join(name);
        std::fs::write(path("a.crt"), certificate.pem()).unwrap();
        std::fs::write(path("a.key"), key.serialize_pem()).unwrap();
        TlsIdentity::from_files(&path("a.crt"), &path("a.key")).unwrap()
    }
}

#[tokio::test]
async fn nothing_is_trusted_until_somebody_says_so_and_then_only_that() {
    let identity = TlsIdentity::fleeting().unwrap();
    let other = TlsIdentity::fleeting().unwrap();
    let home = home(&identity).await;
    let (seen, pin) = (identity.fingerprint(), other.fingerprint());
    let (cause, fault) = refused(&home, Trust::Nothing).await;
    assert_eq!(
        (&cause, fault),
        (&TlsFault::Untrusted { seen }, Fault::Authentication)
    );
    let text = cause.to_string();
    assert!(
        text.contains(&format!("--tls-fingerprint {seen}")),
        "{text}"
    );
    let (cause, fault) = refused(&home, pinned(&other)).await;
    let wrong = TlsFault::WrongFingerprint { seen, pinned: pin };
    assert_eq!((cause, fault), (wrong, Fault::Authentication));
    let (client, _) = connect(&home, pinned(&identity)).await.unwrap();
    client.synced().await.unwrap();
    assert_eq!(client.mirror().devices().len(), 3);
    client.close().await;
    home.stop().await;
}

#[tokio::test]
async fn a_ca_stands_for_host_and_dates_and_a_pin_for_neither() {
    let authority = Authority::new();
    let right = authority.certificate("127.0.0.1", 4000);
    let at = home(&right).await;
    let (client, _) = connect(&at, authority.trust()).await.unwrap();
    client.close().await;
    let (cause, fault) = refused(&at, Authority::new().trust()).await;
    assert!(cause.to_string().contains("another CA made it"), "{cause}");
    assert_eq!(
        (cause.seen(), fault),
        (Some(right.fingerprint()), Fault::Authentication)
    );
    let (cause, _) = refused(&at, Trust::Ca(PathBuf::from("/nowhere/ca.pem"))).await;
    assert!(cause.to_string().contains("/nowhere/ca.pem"), "{cause}");
    at.stop().await;

    let expired = authority.certificate("127.0.0.1", 2001);
    assert_eq!(expired.doubt(), Some("it has expired"));
    let elsewhere = authority.certificate("192.0.2.7", 4000);
    for (identity, problem) in [(expired, "it has expired"), (elsewhere, "another host")] {
        let at = home(&identity).await;
        let (cause, _) = refused(&at, authority.trust()).await;
        assert!(cause.to_string().contains(problem), "{cause}");
        let (client, _) = connect(&at, pinned(&identity)).await.unwrap();
        client.close().await;
        at.stop().await;
    }
}

#[tokio::test]
async fn who_forgets_the_scheme_or_writes_it_in_vain_is_told() {
    let identity = TlsIdentity::fleeting().unwrap();
    let with_tls = home(&identity).await;
    let options = |endpoint: Endpoint| ClientOptions::new(endpoint, test_key());
    let error = Client::connect(options(with_tls.endpoint().with_tls(false)))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ClientError::SpeaksTls { seen: Some(seen), .. } if *seen == identity.fingerprint()),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("write wss:// instead of ws://"), "{text}");
    with_tls.stop().await;

    let without = TestHome::start(switches(1)).await.unwrap();
    let error = Client::connect(options(without.endpoint().with_tls(true)))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("ws:// instead of wss://"),
        "{error}"
    );
    without.stop().await;
}

#[tokio::test]
async fn a_wrong_key_is_refused_inside_tls_as_outside() {
    let identity = TlsIdentity::fleeting().unwrap();
    let home = home(&identity).await;
    let outcome = home.connect(|options| {
        options.trust = pinned(&identity);
        options.key = DeviceKey::from_bytes(*b"0000000000000000").into();
    });
    let error = outcome.await.unwrap_err();
    assert!(
        matches!(error, ClientError::Authentication { .. }),
        "{error}"
    );
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_travels_in_both_directions() {
    let identity = TlsIdentity::fleeting().unwrap();
    let home = home_at("127.0.0.1:0", &identity, 3000).await;
    let (client, feed) = connect(&home, pinned(&identity)).await.unwrap();
    client.synced().await.unwrap();
    assert_eq!(client.mirror().devices().len(), 3000);
    drop(feed);
    let mut feed = client.subscribe();
    // Half a megabyte in one request, and as much back as an event.
    let devices = client.mirror().devices();
    let first = devices.first().unwrap().id().clone();
    let long = "x".repeat(500_000);
    let report = Change::State {
        device: first.clone(),
        readings: vec![Reading::new("note", Value::from(long.as_str()))],
    };
    home.hand.report(vec![report]).await;
    let write = |on: bool| DeviceWrite {
        device: first.clone(),
        readings: vec![Reading::new("switch_1", Value::from(on))],
    };
    let many: Vec<DeviceWrite> = (0..4000).map(|number| write(number % 2 == 0)).collect();
    client.set(many).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "the long value did not come");
        let item = feed.next().await.unwrap();
        if matches!(&item, FeedItem::Event { event, .. } if format!("{event:?}").len() > 500_000) {
            break;
        }
    }
    client.close().await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_client_comes_back_over_tls_for_ever_and_mirrors_the_registry() {
    let identity = TlsIdentity::fleeting().unwrap();
    let mut script = Script::new(7, switches(60));
    let mut at = home_at("127.0.0.1:0", &identity, 60).await;
    let address = at.address().to_string();
    let target = Target {
        trust: pinned(&identity),
        ..Target::fixed(at.endpoint(), test_key())
    };
    let (targets, receiver) = watch::channel(target.clone());
    let (client, mut feed) = Client::keep(receiver, KeepOptions::new("home"));
    let ups = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&ups);
    tokio::spawn(async move {
        while let Some(item) = feed.next().await {
            *counted.lock() += usize::from(matches!(item, FeedItem::Up));
        }
    });
    for round in 1..3 {
        eventually("the next connection", || *ups.lock() >= round).await;
        client.synced().await.unwrap();
        for _ in 0..20 {
            at.hand.report(script.step()).await;
        }
        let expected = snapshot(&script.expected);
        eventually("the mirror to be the registry", || {
            client.mirror().read(snapshot) == expected
        })
        .await;
        at.stop().await;
        let devices = script.expected.devices().cloned().collect();
        let adjust = |options: &mut hearthgate_gateway::GatewayOptions| {
            options.tls = Some(identity.clone());
        };
        at = TestHome::start_at(&address, devices, adjust).await.unwrap();
    }
    eventually("the last connection", || *ups.lock() >= 3).await;
    at.stop().await;
    // With another certificate it is refused, until that one is pinned.
    let other = TlsIdentity::fleeting().unwrap();
    let at = home_at(&address, &other, 1).await;
    eventually("the refusal", || {
        matches!(client.state(), LinkState::Down(error) if error.fault() == Fault::Authentication)
    })
    .await;
    targets.send_replace(Target {
        trust: pinned(&other),
        ..target
    });
    eventually("the connection", || matches!(client.state(), LinkState::Up)).await;
    client.close().await;
    at.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_checks_and_broken_tls_handshakes_are_no_failures() {
    let identity = TlsIdentity::fleeting().unwrap();
    let home = home(&identity).await;
    for number in 0..60 {
        let mut stream = TcpStream::connect(home.address()).await.unwrap();
        let bytes: &[u8] = match number % 4 {
            0 => b"",
            1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            2 => b"GET / HTTP/1.1\r\n\r\n",
            _ => b"\x16\x03\x01\x00\x04garb",
        };
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        // It hangs up; with what, is its affair.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    // Had these counted, each further failure would be delayed by 30 s.
    let started = Instant::now();
    for _ in 0..10 {
        let outcome = home.connect(|options| {
            options.trust = pinned(&identity);
            options.key = DeviceKey::from_bytes(*b"0000000000000000").into();
        });
        outcome.await.unwrap_err();
    }
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "{:?}",
        started.elapsed()
    );
    home.stop().await;
}
