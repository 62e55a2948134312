//! The one file that knows the crate `rustuya`, which speaks the vendor's LAN protocol.
//!
//! A [`Link`] is one of its devices without its own reconnecting: which address, version and dialect to
//! try next is decided here, by [`crate::dial`]. Of its core only the decoder of announcements is used
//! directly, since the crate binds the UDP sockets to all addresses.
//!
//! What it does not do, and what is done about it: it tells a refused TCP connection from a failed
//! negotiation only in its log (a connection is tried once more, to see); it gives the plain bytes of a
//! payload that does not decrypt in versions 3.2 and 3.3 (they are no JSON, which is taken as a wrong
//! key); it finds no `device22` by itself (its refusal of the query is recognised).

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use rand_core::TryRng;
use rustuya::tokio as tuya;
use rustuya_core::discovery;
use rustuya_core::time;
use serde_json::{Map, Value as Json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::link::{
    Boxed, Cause, Connector, Dialect, Frame, FrameKind, Link, LinkEvent, Request, Target, Version,
};
use crate::sightings::Sighting;

/// How long a TCP connection and a negotiation may take, each.
const CONNECT: Duration = Duration::from_secs(5);
/// How long handing over a request may take.
const SEND: Duration = Duration::from_secs(1);
/// Silence after which we say something, and after which the other side counts as gone.
const HEARTBEAT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// Frames that may wait for us; beyond that they are lost, which is noticed and made good by a query.
const FRAMES_WAITING: usize = 64;
/// Devices that are remembered from announcements; others are not noticed until these are forgotten.
const ANNOUNCED_MAX: usize = 4096;

/// Connects over the network.
#[derive(Debug)]
pub(crate) struct Lan;

impl Connector for Lan {
    fn open(&self, target: Target) -> Box<dyn Link> {
        let (host, port) = (target.host.clone(), target.port);
        let device = tuya::Device::builder(target.id, target.key.bytes().to_vec())
            .address(target.host)
            .port(target.port)
            .version(version(target.version))
            .dev_type(match target.dialect {
                Dialect::Standard => tuya::DeviceType::Default,
                Dialect::Device22 => tuya::DeviceType::Device22,
            })
            .auto_reconnect(false)
            .connect_timeout(CONNECT)
            .handshake_timeout(Some(CONNECT))
            .send_timeout(SEND)
            .heartbeat(Some(HEARTBEAT))
            .idle_timeout(Some(SILENCE))
            .listener_capacity(FRAMES_WAITING)
            .connect();
        match device {
            Ok(device) => Box::new(Connection {
                state: device.watch_connection_state(),
                error: device.watch_error(),
                frames: device.listener(),
                dialect: target.dialect,
                device,
                host,
                port,
                was_up: false,
                end: End::Open,
            }),
            Err(error) => Box::new(Refused(Some(error.to_string()))),
        }
    }
}

/// A connection of the crate.
struct Connection {
    device: tuya::Device,
    state: watch::Receiver<tuya::ConnectionState>,
    error: watch::Receiver<Option<tuya::CoreError>>,
    frames: tuya::Listener,
    dialect: Dialect,
    host: String,
    port: u16,
    was_up: bool,
    end: End,
}

enum End {
    Open,
    /// It is over, and nobody knows why yet.
    Over,
    Told,
}

impl Connection {
    async fn event(&mut self) -> LinkEvent {
        loop {
            match self.end {
                End::Open => {}
                End::Over => {
                    let cause = self.cause().await;
                    self.end = End::Told;
                    return LinkEvent::Down(cause);
                }
                End::Told => std::future::pending().await,
            }
            tokio::select! {
                biased;
                changed = self.state.changed() => {
                    let state = *self.state.borrow_and_update();
                    match (changed, state) {
                        (Ok(()), tuya::ConnectionState::Connected) => {
                            self.was_up = true;
                            return LinkEvent::Up;
                        }
                        (Ok(()), tuya::ConnectionState::Pending) => {}
                        (Ok(()), tuya::ConnectionState::Disconnected) | (Err(_), _) => self.end = End::Over,
                    }
                }
                frame = self.frames.recv() => match frame {
                    Some(tuya::Event::Frame(message)) => {
                        if let Some(frame) = frame_of(message) {
                            return LinkEvent::Frame(frame);
                        }
                    }
                    Some(tuya::Event::Lagged(_)) => return LinkEvent::Missed,
                    None => self.end = End::Over,
                },
                Ok(()) = self.error.changed() => {
                    let is_error = self.error.borrow_and_update().is_some();
                    if is_error && self.was_up {
                        return LinkEvent::Garbled;
                    }
                }
            }
        }
    }

    /// Finds out why a connection is over.
    async fn cause(&self) -> Cause {
        if self.was_up {
            return Cause::Lost;
        }
        if self.error.borrow().is_some() {
            return Cause::NotUnderstood;
        }
        match probe(&self.host, self.port).await {
            Ok(()) => Cause::NotUnderstood,
            Err(reason) => Cause::Unreachable(reason),
        }
    }

    async fn fire(&self, request: Request) -> tuya::Result<()> {
        use tuya::CommandType::{Control, DpQuery, UpdateDps};
        let named = |numbers: Vec<u16>| -> Option<Json> {
            let fields = numbers
                .into_iter()
                .map(|number| (number.to_string(), Json::Null));
            (self.dialect == Dialect::Device22).then(|| Json::Object(fields.collect()))
        };
        let (command, cid, data) = match request {
            Request::Query { cid, numbers } => (DpQuery, cid, named(numbers)),
            Request::Write { cid, points } => {
                let points = points.into_iter().filter_map(|(number, value)| {
                    Some((
                        number.to_string(),
                        serde_json::from_str(&value.json()).ok()?,
                    ))
                });
                (
                    Control,
                    cid,
                    Some(Json::Object(points.collect::<Map<_, _>>())),
                )
            }
            Request::Refresh { cid, numbers } => (UpdateDps, cid, Some(numbers.into())),
            Request::SubDevices => return self.device.sub_discover().await,
        };
        match cid {
            Some(cid) => self.device.sub(cid).send(command, data).await,
            None => self.device.send(command, data).await,
        }
    }
}

impl Link for Connection {
    fn next(&mut self) -> Boxed<'_, LinkEvent> {
        Box::pin(self.event())
    }

    fn send(&mut self, request: Request) -> Boxed<'_, ()> {
        Box::pin(async {
            // The crate would wait for the connection; what is lost here shows as one without an answer.
            if !self.device.is_connected() {
                return;
            }
            if let Err(error) = self.fire(request).await {
                tracing::debug!("{}: not sent: {error}", self.device.id());
            }
        })
    }

    fn close(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async move {
            // If it does not end in time it ends a little later, since nobody holds it any more.
            let _ = tokio::time::timeout(SEND, self.device.close()).await;
        })
    }
}

/// A connection that the crate did not begin.
struct Refused(Option<String>);

impl Link for Refused {
    fn next(&mut self) -> Boxed<'_, LinkEvent> {
        Box::pin(async {
            match self.0.take() {
                Some(reason) => LinkEvent::Down(Cause::Unreachable(reason)),
                None => std::future::pending().await,
            }
        })
    }

    fn send(&mut self, _: Request) -> Boxed<'_, ()> {
        Box::pin(async {})
    }

    fn close(self: Box<Self>) -> Boxed<'static, ()> {
        Box::pin(async {})
    }
}

/// Tries whether anybody takes connections at an address.
async fn probe(host: &str, port: u16) -> Result<(), String> {
    match tokio::time::timeout(CONNECT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {}s", CONNECT.as_secs())),
    }
}

fn frame_of(message: tuya::Message) -> Option<Frame> {
    use tuya::CommandType as Command;
    let kind = match Command::from_code(message.cmd) {
        Some(Command::HeartBeat) => return None,
        Some(Command::Status) => FrameKind::Report,
        Some(Command::DpQuery | Command::DpQueryNew | Command::UpdateDps) => FrameKind::Answer,
        Some(Command::Control | Command::ControlNew) => FrameKind::Taken,
        Some(Command::LanExtStream) => FrameKind::SubDevices,
        _ => FrameKind::Other,
    };
    Some(Frame {
        kind,
        code: message.retcode,
        body: message.payload,
    })
}

fn version(version: Version) -> tuya::Version {
    match version {
        Version::V31 => tuya::Version::V3_1,
        Version::V32 => tuya::Version::V3_2,
        Version::V33 => tuya::Version::V3_3,
        Version::V34 => tuya::Version::V3_4,
        Version::V35 => tuya::Version::V3_5,
    }
}

/// Decodes announcements, and makes the packets that ask for them.
pub(crate) struct Announcements {
    machine: discovery::Discovery,
    began: Instant,
    known: std::collections::HashMap<String, Sighting>,
}

impl Announcements {
    pub(crate) fn new(sources: Vec<std::net::Ipv4Addr>) -> Self {
        Self {
            machine: discovery::Discovery::new(discovery::Config {
                cache_ttl: time::Duration::from_secs(60),
                broadcast_interval: time::Duration::from_secs(6),
                broadcast_burst: Some(1),
                local_ips: sources,
                // Whoever announces for another address would draw a connection there.
                require_source_match: true,
                max_entries: ANNOUNCED_MAX,
            }),
            began: Instant::now(),
            known: std::collections::HashMap::new(),
        }
    }

    /// Takes a packet; returns the device that it announces, if it does.
    pub(crate) fn packet(&mut self, data: &[u8], from: IpAddr) -> Option<Sighting> {
        let now = self.now();
        self.machine.handle_input(
            discovery::Input::Datagram { data, from },
            now,
            &mut Unpredictable,
        );
        match self.machine.poll_event()? {
            discovery::Event::Found(info) => {
                if self.known.len() >= ANNOUNCED_MAX && !self.known.contains_key(&info.id) {
                    self.known.clear();
                }
                let sighting = Sighting {
                    id: info.id,
                    address: info.ip,
                    version: info
                        .version
                        .and_then(|version| version.as_str().parse().ok()),
                    product: info.product_key,
                };
                self.known.insert(sighting.id.clone(), sighting.clone());
                Some(sighting)
            }
            discovery::Event::Seen(id) => self.known.get(&id).cloned(),
        }
    }

    /// Returns packets that ask devices to announce themselves, each with the port to broadcast it to.
    pub(crate) fn probes(&mut self) -> Vec<(Vec<u8>, u16)> {
        let now = self.now();
        self.machine
            .handle_input(discovery::Input::StartScan, now, &mut Unpredictable);
        self.machine.handle_timeout(now, &mut Unpredictable);
        std::iter::from_fn(|| self.machine.poll_transmit())
            .map(|(packet, port, _)| (packet, port))
            .collect()
    }

    fn now(&self) -> time::Instant {
        let elapsed = self.began.elapsed().as_millis();
        time::Instant::from_millis(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

/// Initialisation vectors of packets under a key that everybody knows: they need not be secret.
struct Unpredictable;

impl TryRng for Unpredictable {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(fastrand::u32(..))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(fastrand::u64(..))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fastrand::Rng::new().fill(bytes);
        Ok(())
    }
}
