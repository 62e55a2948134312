//! This program's own servers, each a process of its own: the gateway, and what is as fast as the
//! system allows.
//!
//! Each says `listening ADDRESS..` and ends when its standard input does.

use std::future::Future;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;

use hearthgate_gateway::{Driver, DriverPort, Gateway, GatewayOptions, SessionLimits};
use hearthgate_protocol::model::{
    Change, DataPoint, Device, DeviceId, Reading, Schema, Source, Stamp, Timestamp, Value,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::{Outcome, raw};

/// The key of all servers here.
pub(crate) const KEY: [u8; 16] = *b"0123456789abcdef";
/// Bytes that make one report, as many as an event has.
pub(crate) const REPORT_BYTES: usize = 145;
/// The code whose value is when it was reported: nanoseconds of the monotonic clock.
pub(crate) const CODE: &str = "cur_reported_time";

pub(crate) fn run(args: &[String]) -> Outcome<()> {
    std::thread::spawn(|| {
        // Nothing is ever sent; the end of the parent ends this.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let number = |index: usize| {
        args.get(index)
            .and_then(|arg| arg.parse().ok())
            .unwrap_or(1)
    };
    match args.first().map(String::as_str) {
        Some("gateway") => on_workers(gateway(number(1))),
        Some("raw-fan-out") => raw::serve_fan_out(),
        Some("echo") => on_workers(echo(number(1), number(2))),
        Some("accept") => on_workers(accept()),
        other => Err(format!("no server {other:?}").into()),
    }
}

/// Runs a server as a task: the thread that waits for it is none of the runtime's workers.
fn on_workers(server: impl Future<Output = Outcome<()>> + Send + 'static) -> Outcome<()> {
    runtime()?.block_on(async { tokio::spawn(server).await? })
}

pub(crate) fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

/// Returns the id of one of the devices.
pub(crate) fn device_id(index: usize) -> DeviceId {
    DeviceId::from(format!("bench{index:015}"))
}

/// Returns the time that all processes of this machine agree on, in nanoseconds.
pub(crate) fn monotonic() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

async fn gateway(devices: usize) -> Outcome<()> {
    let control = TcpListener::bind("127.0.0.1:0").await?;
    let control_address = control.local_addr()?;
    let key = hearthgate_protocol::crypto::DeviceKey::from_bytes(KEY);
    let mut options = GatewayOptions::new("bench", key);
    options.limits = SessionLimits {
        total: 20_000,
        per_address: 20_000,
        handshakes: 20_000,
        ..SessionLimits::default()
    };
    let driver = ReportingDriver { devices, control };
    let gateway = Gateway::bind("127.0.0.1:0", options, vec![Box::new(driver)]).await?;
    println!("listening {} {control_address}", gateway.local_addr());
    gateway.run().await;
    Ok(())
}

/// Devices that report whenever somebody sends [`REPORT_BYTES`] bytes to a port: as soon as the bytes have
/// come, as many reports as have come together.
struct ReportingDriver {
    devices: usize,
    control: TcpListener,
}

impl Driver for ReportingDriver {
    fn name(&self) -> &str {
        "bench"
    }

    fn devices(&self) -> Vec<Device> {
        // As the rivals make theirs, so that all answers are of one size.
        let point = |code: &str, kind: &str, values: &str| {
            DataPoint::new(code, kind, Value::parse(values).unwrap_or(Value::from(0)))
        };
        let written = vec![
            point("switch_1", "Boolean", "{}"),
            point(
                "countdown_1",
                "Integer",
                r#"{"unit":"s","min":0,"max":86400,"scale":0,"step":1}"#,
            ),
        ];
        let mut status = written.clone();
        status.extend([
            point(
                "cur_power",
                "Integer",
                r#"{"unit":"W","min":0,"max":50000,"scale":1,"step":1}"#,
            ),
            point(
                "cur_voltage",
                "Integer",
                r#"{"unit":"V","min":0,"max":5000,"scale":1,"step":1}"#,
            ),
        ]);
        let schema = Arc::new(Schema::new("cz", written, status));
        let stamp = Stamp {
            at: Timestamp(0),
            source: Source::Read,
        };
        let readings = || {
            [
                Reading::new("switch_1", Value::from(false)),
                Reading::new("countdown_1", Value::from(0)),
                Reading::new("cur_power", Value::from(0)),
                Reading::new("cur_voltage", Value::from(2300)),
            ]
        };
        (0..self.devices)
            .map(|index| {
                Device::new(
                    device_id(index),
                    Arc::clone(&schema),
                    true,
                    readings(),
                    stamp,
                )
            })
            .collect()
    }

    fn run(self: Box<Self>, mut port: DriverPort) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut device = 0;
            loop {
                let accepted = tokio::select! {
                    accepted = self.control.accept() => accepted,
                    Some(command) = port.commands.recv() => {
                        let change = Change::State { device: command.device, readings: command.readings };
                        port.reports.send_and_succeed(vec![change], command.ack).await;
                        continue;
                    }
                };
                let Ok((mut stream, _)) = accepted else {
                    return;
                };
                let _ = stream.set_nodelay(true);
                let mut buffer = vec![0; 256 * REPORT_BYTES];
                let mut have = 0;
                while let Ok(count) = stream.read(&mut buffer[have..]).await
                    && count > 0
                {
                    have += count;
                    let reports = have / REPORT_BYTES;
                    let changes = (0..reports).map(|_| {
                        device = (device + 1) % self.devices;
                        Change::State {
                            device: device_id(device),
                            readings: vec![Reading::new(CODE, Value::from(monotonic()))],
                        }
                    });
                    let changes = changes.collect();
                    buffer.copy_within(reports * REPORT_BYTES..have, 0);
                    have -= reports * REPORT_BYTES;
                    port.reports.send(changes).await;
                }
            }
        })
    }
}

/// Answers each request of so many bytes by so many constant ones: what is left of a server without
/// WebSocket, cipher and JSON.
async fn echo(request: usize, answer: usize) -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let (mut asked, answer) = (vec![0; request], vec![b'x'; answer]);
            while stream.read_exact(&mut asked).await.is_ok()
                && stream.write_all(&answer).await.is_ok()
            {}
        });
    }
}

/// Accepts, and hangs up.
async fn accept() -> Outcome<()> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let listener = socket.listen(4096)?;
    println!("listening {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move { drop(stream) });
    }
}
