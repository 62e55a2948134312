//! Which layer fails? Against real gateways and against what may stand in their place.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::rogue::{Fault, rogue};
use crate::support::{OTHER_KEY, Setting, gateway, impostor, options, says, silence};
use hearthgate_client::{DiscoveryOptions, Endpoint};
use hearthgate_diagnose::{KeyText, LAYERS, Options, Outcome, Report, Target, examine};
use hearthgate_protocol::beacon::{Beacon, BeaconFrame};
use hearthgate_protocol::variants::{Padding, Proof, ProofOver, Variants, Wire};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinSet;

/// Checks that one layer fails, those before it do not, those after it are skipped, and what is said.
fn fails(report: &Report, layer: &str, words: &[&str]) {
    let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
    assert_eq!(names, LAYERS);
    let at = names.iter().position(|name| *name == layer).unwrap();
    for (index, check) in report.checks.iter().enumerate() {
        match index.cmp(&at) {
            std::cmp::Ordering::Less => assert_ne!(check.outcome, Outcome::Fail, "{check:?}"),
            std::cmp::Ordering::Equal => assert_eq!(check.outcome, Outcome::Fail, "{check:?}"),
            std::cmp::Ordering::Greater => assert_eq!(check.outcome, Outcome::Skip, "{check:?}"),
        }
    }
    assert!(report.failed());
    let detail = &report.check(layer).unwrap().detail;
    for word in words {
        assert!(detail.contains(word), "{layer}: `{word}` in: {detail}");
    }
}

/// Waits less for what never comes, and long enough for what comes before.
fn impatient(options: &mut Options) {
    options.timeout = Duration::from_secs(2);
}

async fn check(
    address: SocketAddr,
    adjust: impl FnOnce(&mut Options),
    layer: &str,
    words: &[&str],
) {
    let mut options = options(address);
    adjust(&mut options);
    fails(&examine(&options).await.report, layer, words);
}

#[tokio::test]
async fn a_healthy_gateway_passes_every_layer() {
    let mut options = options(gateway(Setting::default()).await);
    options.event_timeout = Duration::from_secs(20);
    let examination = examine(&options).await;
    let report = examination.report;
    assert!(!report.failed(), "{report:#?}");
    assert_eq!(report.wire, Some(Wire::Binary));
    for check in &report.checks {
        let expected = match check.name {
            "advertisement" => Outcome::Skip,
            // The simulated home is as untidy as real ones.
            "schemas" => continue,
            // A busy machine is slow to answer, which is a warning.
            "round_trip" if check.outcome == Outcome::Warn => continue,
            _ => Outcome::Pass,
        };
        assert_eq!(check.outcome, expected, "{check:?}");
    }
    assert_eq!(examination.devices.len(), 20);
}

#[tokio::test]
async fn every_wire_encoding_is_detected() {
    for wire in Wire::ALL {
        let setting = Setting {
            wire: *wire,
            ..Setting::default()
        };
        let report = examine(&options(gateway(setting).await)).await.report;
        assert!(!report.failed(), "{report:#?}");
        assert_eq!(report.wire, Some(*wire));
    }
}

#[tokio::test]
async fn no_address_and_no_port() {
    let endpoint = Endpoint::new("hearthgate-test.invalid", 8433).unwrap();
    let mut unknown = options(SocketAddr::from(([127, 0, 0, 1], 1)));
    unknown.target = Target::Address(endpoint);
    fails(
        &examine(&unknown).await.report,
        "address",
        &["no address for hearthgate-test.invalid"],
    );

    // Whoever has a port and does not listen refuses, and nobody else gets it.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    check(
        closed.local_addr().unwrap(),
        |_| {},
        "port",
        &["refused", "nothing listens", "LAN control"],
    )
    .await;
}

#[tokio::test]
async fn what_is_no_websocket() {
    let silent = impostor(silence).await;
    check(silent, impatient, "upgrade", &["answers nothing"]).await;
    for (answer, words) in [
        (&b""[..], &["hung up"][..]),
        (b"SSH-2.0-OpenSSH_9.9\r\n", &["does not speak HTTP"]),
        (b"\x15\x03\x01\x00\x02\x02\x46", &["TLS", "wss://", "--dialect 2023"]),
        (b"HTTP/1.1 200 OK\r\n\r\n", &["HTTP 200", "web server"]),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", &["HTTP 404", "--path"]),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", &["HTTP 401", "--dialect 2023"]),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            &["Sec-WebSocket-Accept"],
        ),
    ] {
        let address = impostor(move |stream| says(stream, answer)).await;
        check(address, |_| {}, "upgrade", words).await;
    }
}

#[tokio::test]
async fn tls_is_known_also_where_it_hangs_up_on_plain_http() {
    let address = impostor(|mut stream| async move {
        let mut first = [0; 1];
        let _ = stream.read_exact(&mut first).await;
        if first == [0x16] {
            says(stream, b"\x15\x03\x03\x00\x02\x02\x28").await;
        }
    })
    .await;
    check(
        address,
        |_| {},
        "upgrade",
        &["TLS", "wss://", "--dialect 2023"],
    )
    .await;
}

#[tokio::test]
async fn the_wire_encoding_that_was_pinned_is_another() {
    let address = gateway(Setting::default()).await;
    check(
        address,
        |options| options.wire = Some(Wire::Base64),
        "wire",
        &["base64 is pinned", "speaks binary"],
    )
    .await;
}

#[tokio::test]
async fn another_key_or_another_padding() {
    let address = gateway(Setting::default()).await;
    let key = |options: &mut Options| options.key = KeyText::parse(OTHER_KEY).unwrap();
    check(
        address,
        key,
        "decrypt",
        &["another gateway's key", "compare"],
    )
    .await;
    let padding = |options: &mut Options| options.variants.padding = Padding::Zero;
    check(
        address,
        padding,
        "decrypt",
        &["--key-form ascii --padding pkcs7"],
    )
    .await;
    let form = |options: &mut Options| {
        options.key_form = hearthgate_protocol::variants::KeyForm::Md5;
    };
    check(
        address,
        form,
        "decrypt",
        &["--key-form ascii --padding pkcs7"],
    )
    .await;
}

#[tokio::test]
async fn a_gateway_that_refuses_our_proof() {
    for wire in Wire::ALL {
        let setting = Setting {
            wire: *wire,
            variants: Variants {
                proof: Proof::Sha256,
                proof_over: ProofOver::Base64,
                ..Variants::default()
            },
            ..Setting::default()
        };
        let words = ["refuses our proof", "1008", "--explore"];
        check(gateway(setting).await, |_| {}, "proof", &words).await;
    }
    let plain = Setting {
        wire: Wire::Plain,
        key: OTHER_KEY,
        ..Setting::default()
    };
    check(
        gateway(plain).await,
        |_| {},
        "proof",
        &["the key is another one"],
    )
    .await;
}

#[tokio::test]
async fn each_fault_of_a_gateway_is_told_from_the_others() {
    let mut checks = JoinSet::new();
    for (fault, layer, words) in [
        (Fault::Mute, "wire", &["speaks first", "--path"][..]),
        (
            Fault::CloseFirst(1013),
            "wire",
            &["1013", "too many sessions"],
        ),
        (Fault::CloseFirst(1001), "wire", &["1001", "restarting"]),
        (
            Fault::OtherFirst,
            "decrypt",
            &["got hello", "another version"],
        ),
        (Fault::WrongProof, "proof", &["proof is wrong", "forged"]),
        (
            Fault::OtherProof,
            "proof",
            &["--proof sha256 --proof-over raw"],
        ),
        (
            Fault::SilentAtProof,
            "proof",
            &["does not answer our proof"],
        ),
        (Fault::CloseAtProof(1008), "proof", &["refuses our proof"]),
        (
            Fault::CloseAtProof(1013),
            "proof",
            &["1013", "too many sessions"],
        ),
        (
            Fault::SilentAt("get_devices"),
            "devices",
            &["authenticated and silent"],
        ),
        (Fault::Refuses("get_devices"), "devices", &["busy: later"]),
        (
            Fault::Nonsense("get_devices"),
            "devices",
            &["expected an array"],
        ),
        (Fault::HangsUpAt("get_devices"), "devices", &["lost"]),
        (
            Fault::SilentAt("get_schema"),
            "schemas",
            &["get_schema", "--timeout"],
        ),
        (
            Fault::Nonsense("get_schema"),
            "schemas",
            &["expected an array"],
        ),
        (
            Fault::SilentAt("get_status"),
            "statuses",
            &["get_status", "--timeout"],
        ),
        (Fault::Refuses("get_status"), "statuses", &["busy: later"]),
    ] {
        let adjust = move |options: &mut Options| {
            if matches!(
                fault,
                Fault::Mute | Fault::SilentAtProof | Fault::SilentAt(_)
            ) {
                impatient(options);
            }
        };
        let address = rogue(fault).await;
        checks.spawn(async move { check(address, adjust, layer, words).await });
    }
    // All at once, since some of them wait.
    while let Some(checked) = checks.join_next().await {
        checked.unwrap();
    }
}

#[tokio::test]
async fn what_is_only_odd_is_no_failure() {
    for (fault, name, outcome, words) in [
        (
            Fault::Nothing,
            "schemas",
            Outcome::Pass,
            &["nothing odd"][..],
        ),
        (Fault::Nothing, "ping", Outcome::Pass, &["ms"]),
        (
            Fault::Nothing,
            "event",
            Outcome::Skip,
            &["no fault", "--event-timeout"],
        ),
        (Fault::NoPong, "ping", Outcome::Warn, &["no pong"]),
        (Fault::Odd, "devices", Outcome::Warn, &["1 device", "d1"]),
        (Fault::Odd, "statuses", Outcome::Pass, &["1 offline"]),
        (
            Fault::Odd,
            "schemas",
            Outcome::Warn,
            &[
                "6 oddities",
                "d1: the category is empty",
                "d1: a: has the unknown type `Colour`",
                "d1: b: min is the string \"5\"",
                "d1: b: min 5 is above max 1",
                "d1: a: takes writes and never reports",
                "d1: b: its value false is a boolean, expected an integer",
            ],
        ),
    ] {
        let mut options = options(rogue(fault).await);
        if fault == Fault::NoPong {
            impatient(&mut options);
        }
        let report = examine(&options).await.report;
        assert!(!report.failed(), "{report:#?}");
        let check = report.check(name).unwrap();
        assert_eq!(check.outcome, outcome, "{check:?}");
        for word in words {
            assert!(check.detail.contains(word), "`{word}` in {check:?}");
        }
    }
}

#[tokio::test]
async fn a_layer_that_is_silent_ends_in_its_time() {
    let started = Instant::now();
    let briefly = |options: &mut Options| options.timeout = Duration::from_millis(500);
    check(impostor(silence).await, briefly, "upgrade", &[]).await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_advertisement_leads_to_the_gateway() {
    let address = gateway(Setting::default()).await;
    let listen = free_udp_port(14).await;
    let mut options = options(address);
    options.target = by_uuid("the-gateway", listen);
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let beacon = |uuid: &str| Beacon {
        uuid: uuid.to_owned(),
        port: address.port(),
    };
    let packets = ["another", "the-gateway"].map(|uuid| beacon(uuid).encode(BeaconFrame::Json));
    tokio::spawn(async move {
        loop {
            for packet in &packets {
                let _ = sender.send_to(packet, listen).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let report = examine(&options).await.report;
    assert!(!report.failed(), "{report:#?}");
    let heard = report.check("advertisement").unwrap();
    assert_eq!(heard.outcome, Outcome::Pass);
    assert!(heard.detail.contains(&address.to_string()), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_nobody_hears_is_the_first_layer() {
    let listen = free_udp_port(15).await;
    let mut options = options(listen);
    options.target = by_uuid("nobody", listen);
    let words = ["no advertisement of nobody", "--gateway ws://"];
    fails(&examine(&options).await.report, "advertisement", &words);
}

fn by_uuid(uuid: &str, listen: SocketAddr) -> Target {
    Target::Uuid {
        secure: false,
        uuid: uuid.to_owned(),
        listen: DiscoveryOptions {
            listen: vec![listen],
            interfaces: Vec::new(),
        },
        path: None,
    }
}

/// Returns a free port on 127.0.0.`own`, which stays free where no other test is on that address.
async fn free_udp_port(own: u8) -> SocketAddr {
    let address = SocketAddr::from(([127, 0, 0, own], 0));
    let socket = UdpSocket::bind(address).await.unwrap();
    socket.local_addr().unwrap()
}
