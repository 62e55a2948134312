//! A gateway without sockets and a driver that does what a test tells it to.

pub(crate) mod peer;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, mpsc};

use hearthgate_protocol::connection::{GatewayConfig, GatewayConnection};
use hearthgate_protocol::crypto::{DeviceKey, Nonce};
use hearthgate_protocol::model::{
    Change, DataPoint, Device, Reading, Schema, Source, Stamp, Timestamp, Value,
};
use hearthgate_protocol::variants::KeyForm;
use hearthgate_protocol::wire::{DeviceWrite, Request};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::peer::{KEY, Peer};
use crate::driver::{Command, Driver, DriverPort};
use crate::limits::SessionLimits;
use crate::listener::Admission;
use crate::registry::Registry;
use crate::session;

/// Bytes that a stream of a test takes before it blocks.
const STREAM_BYTES: usize = 64 * 1024;

/// A registry, its driver's port, and what sessions need.
pub(crate) struct TestGateway {
    pub(crate) registry: Registry,
    pub(crate) admission: Arc<Admission>,
    pub(crate) port: DriverPort,
    config: Arc<GatewayConfig>,
}

impl TestGateway {
    pub(crate) fn start(devices: Vec<Device>) -> Self {
        Self::with_limits(devices, SessionLimits::default())
    }

    pub(crate) fn with_limits(devices: Vec<Device>, limits: SessionLimits) -> Self {
        let stop = CancellationToken::new();
        let (driver, port) = TestDriver::new(devices);
        let (registry, running) = Registry::start(vec![Box::new(driver)], false, &stop).unwrap();
        for future in running {
            tokio::spawn(future);
        }
        let key = DeviceKey::parse(KEY, KeyForm::Ascii).unwrap();
        Self {
            registry,
            admission: Admission::new(limits, stop, CancellationToken::new(), None),
            port: port.recv().unwrap(),
            config: Arc::new(GatewayConfig::new(key)),
        }
    }

    /// Accepts a connection from an address; gives the peer's end and the session's task.
    pub(crate) fn accept(&self, address: &str, bytes: usize) -> (DuplexStream, JoinHandle<()>) {
        let (ours, theirs) = tokio::io::duplex(bytes);
        (theirs, self.serve(ours, address))
    }

    /// Serves a stream that comes from an address.
    pub(crate) fn serve<S>(&self, stream: S, address: &str) -> JoinHandle<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = SocketAddr::new(address.parse().unwrap(), 4711);
        let nonce = Nonce::new(fastrand::u128(1..).to_le_bytes());
        let now = tokio::time::Instant::now().into_std();
        let connection = GatewayConnection::new(Arc::clone(&self.config), nonce, now);
        let handshake = self.admission.handshake(peer.ip());
        let session = session::serve(
            stream,
            peer,
            connection,
            self.registry.clone(),
            Arc::clone(&self.admission),
            handshake,
        );
        tokio::spawn(session)
    }

    pub(crate) fn open(&self) -> (DuplexStream, JoinHandle<()>) {
        self.accept("192.0.2.1", STREAM_BYTES)
    }

    pub(crate) async fn client(&self) -> Peer<DuplexStream> {
        Peer::connected(self.open().0).await
    }

    pub(crate) async fn report(&self, change: Change) {
        self.port.reports.send(vec![change]).await;
    }

    pub(crate) async fn command(&mut self) -> Command {
        self.port.commands.recv().await.unwrap()
    }
}

/// A driver that only hands its port out.
pub(crate) struct TestDriver {
    devices: Vec<Device>,
    port: mpsc::Sender<DriverPort>,
}

impl TestDriver {
    pub(crate) fn new(devices: Vec<Device>) -> (Self, mpsc::Receiver<DriverPort>) {
        let (port, receiver) = mpsc::channel();
        (Self { devices, port }, receiver)
    }
}

impl Driver for TestDriver {
    fn name(&self) -> &str {
        "test driver"
    }

    fn devices(&self) -> Vec<Device> {
        self.devices.clone()
    }

    fn run(self: Box<Self>, port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.port.send(port).unwrap();
        Box::pin(std::future::ready(()))
    }
}

/// A device with a switch, a temperature (0 to 1000), a button that only takes writes and a note
/// that only reports.
pub(crate) fn device(id: &str) -> Device {
    let point =
        |code: &str, type_name, values: &str| DataPoint::new(code, type_name, Value::from(values));
    let switch = point("switch_1", "Boolean", "{}");
    let temperature = point("temp", "Integer", "{\"min\":0,\"max\":1000}");
    let press = point("press", "Boolean", "{}");
    let note = point("note", "String", "{}");
    let schema = Schema::new(
        "kg",
        vec![switch.clone(), temperature.clone(), press],
        vec![switch, temperature, note],
    );
    let readings = [
        Reading::new("switch_1", Value::from(false)),
        Reading::new("temp", Value::from(0)),
    ];
    Device::new(id.into(), Arc::new(schema), true, readings, stamp())
}

pub(crate) fn stamp() -> Stamp {
    Stamp {
        at: Timestamp(0),
        source: Source::Event,
    }
}

pub(crate) fn state(device: &str, code: &str, value: impl Into<Value>) -> Change {
    Change::State {
        device: device.into(),
        readings: vec![Reading::new(code, value.into())],
    }
}

pub(crate) fn online(device: &str, online: bool) -> Change {
    Change::Online {
        device: device.into(),
        online,
        readings: Vec::new(),
    }
}

pub(crate) fn write(device: &str, code: &str, value: impl Into<Value>) -> DeviceWrite {
    DeviceWrite {
        device: device.into(),
        readings: vec![Reading::new(code, value.into())],
    }
}

pub(crate) fn set(device: &str, code: &str, value: impl Into<Value>) -> Request {
    Request::SetValue(vec![write(device, code, value)])
}

pub(crate) fn status(devices: &[&str]) -> Request {
    Request::GetStatus(devices.iter().map(|id| (*id).into()).collect())
}
