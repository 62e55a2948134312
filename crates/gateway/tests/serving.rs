//! Whole gateways over TCP, on ports that the system chooses.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../src/testing/peer.rs"]
mod peer;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hearthgate_gateway::{
    BindError, DemoDriver, Driver, Gateway, GatewayOptions, SessionLimits, VirtualHome,
};
use hearthgate_protocol::connection::ClientEvent;
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::model::{Reading, Value};
use hearthgate_protocol::variants::KeyForm;
use hearthgate_protocol::wire::{DeviceWrite, EventKind, Request};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use peer::{KEY, Peer};

const LAMP: &str = r#"{"devid":"lamp","category":"dj","online":true,
    "function":[{"code":"switch_led","type":"Boolean","values":"{}"}],
    "status":[{"code":"switch_led","type":"Boolean","values":"{}"}],
    "value":[{"k":"switch_led","v":false}]}"#;

struct Serving {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// What is served of it stays as long as it does.
    _files: Option<TempDir>,
}

fn options() -> GatewayOptions {
    GatewayOptions::new("hg-test", DeviceKey::parse(KEY, KeyForm::Ascii).unwrap())
}

async fn serve(options: GatewayOptions, drivers: Vec<Box<dyn Driver>>) -> Serving {
    serve_at("127.0.0.1:0", options, drivers).await
}

async fn serve_at(
    address: &str,
    options: GatewayOptions,
    drivers: Vec<Box<dyn Driver>>,
) -> Serving {
    let gateway = Gateway::bind(address, options, drivers).await.unwrap();
    Serving {
        address: gateway.local_addr(),
        stop: gateway.stop_token(),
        task: tokio::spawn(gateway.run()),
        _files: None,
    }
}

async fn serve_lamp(options: GatewayOptions) -> Serving {
    let (driver, folder) = lamp();
    let mut serving = serve(options, vec![driver]).await;
    serving._files = Some(folder);
    serving
}

/// A driver for one lamp, and the folder of its file.
fn lamp() -> (Box<dyn Driver>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lamp.json");
    std::fs::write(&file, LAMP).unwrap();
    (Box::new(VirtualHome::load(&[file]).unwrap()), folder)
}

impl Serving {
    async fn connect(&self) -> Peer<TcpStream> {
        Peer::connected(TcpStream::connect(self.address).await.unwrap()).await
    }
}

#[tokio::test]
async fn it_starts_serves_and_stops_with_1001() {
    // No other test is on this address, so that nobody takes the port when it is free again.
    let drivers: Vec<Box<dyn Driver>> = vec![Box::new(DemoDriver::new(7))];
    let gateway = serve_at("127.0.0.17:0", options(), drivers).await;
    let mut client = gateway.connect().await;
    let devices = client.ask(1, &Request::GetDevices).await.unwrap();
    assert!(devices.matches(',').count() >= 13, "{devices}");
    let idle = TcpStream::connect(gateway.address).await.unwrap();
    let start = Instant::now();
    gateway.stop.cancel();
    assert_eq!(client.close_code().await, 1001);
    gateway.task.await.unwrap();
    // That it is within two seconds is told in virtual time, in the tests of sessions.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert!(TcpStream::connect(gateway.address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_write_reaches_everybody_as_an_event() {
    let gateway = serve_lamp(options()).await;
    let mut writer = gateway.connect().await;
    let mut watcher = gateway.connect().await;
    let write = DeviceWrite {
        device: "lamp".into(),
        readings: vec![Reading::new("switch_led", Value::from(true))],
    };
    let outcome = writer.ask(1, &Request::SetValue(vec![write])).await;
    assert_eq!(outcome.unwrap(), "");
    let event = watcher.event().await;
    assert_eq!(event.id, 1);
    let EventKind::StateChanged { readings, .. } = event.kind else {
        panic!("{event:?}");
    };
    assert_eq!(readings, [Reading::new("switch_led", Value::from(true))]);
}

#[tokio::test]
async fn two_gateways_in_one_process_know_nothing_of_each_other() {
    let first = serve_lamp(options()).await;
    let second = serve(options(), vec![Box::new(DemoDriver::new(7))]).await;
    let mut client = first.connect().await;
    let mut other = second.connect().await;
    assert_eq!(
        client.ask(1, &Request::GetDevices).await.unwrap(),
        r#"["lamp"]"#
    );
    assert!(
        !other
            .ask(1, &Request::GetDevices)
            .await
            .unwrap()
            .contains("lamp")
    );
    first.stop.cancel();
    first.task.await.unwrap();
    assert!(other.ask(2, &Request::GetDevices).await.is_ok());
}

#[tokio::test]
async fn a_session_over_the_limit_of_its_address_gets_1013() {
    let mut options = options();
    options.limits = SessionLimits {
        total: 10,
        per_address: 2,
        ..SessionLimits::default()
    };
    let gateway = serve_lamp(options).await;
    let mut first = gateway.connect().await;
    let _second = gateway.connect().await;
    assert_eq!(gateway.connect().await.close_code().await, 1013);
    assert!(first.ask(1, &Request::GetDevices).await.is_ok());
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_gets_426() {
    let gateway = serve_lamp(options()).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: g\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 426 "),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_with_a_way_out() {
    let gateway = serve_lamp(options()).await;
    let address = gateway.address.to_string();
    let error = Gateway::bind(&address, options(), vec![lamp().0])
        .await
        .unwrap_err();
    assert!(matches!(error, BindError::Listen { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&address) && text.contains("--listen"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_pipelined_requests_and_many_sessions_at_once() {
    let gateway = serve_lamp(options()).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = gateway.connect().await;
        clients.push(tokio::spawn(async move {
            for id in 0..1000 {
                client.request(id, &Request::GetStatus(vec!["lamp".into()]));
            }
            for id in 0..1000 {
                let ClientEvent::Reply { id: got, outcome } = client.next().await else {
                    panic!("expected an answer");
                };
                assert_eq!(got, id);
                outcome.unwrap();
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
}
