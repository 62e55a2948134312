//! From a device's report at the gateway to the message that a subscriber of the broker gets, through the
//! hub; beside it the broker's own way from publisher to subscriber.
//!
//! The report itself carries the time at which it was made, by a clock that all processes share.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hearthgate_bench::figures::Times;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::Outcome;
use crate::child::Running;
use crate::fanout::one_thread;
use crate::mqtt::{self, Mqtt};
use crate::raw;
use crate::serve::{CODE, KEY, REPORT_BYTES, monotonic};

/// The time in which a message has to come.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Times from the report to the subscriber.
pub(crate) fn through_hub(program: &Path, duration: Duration) -> Outcome<Times> {
    let folder = tempfile::tempdir()?;
    let broker = mqtt::mosquitto(folder.path())?;
    let gateway = Running::own(&["gateway", "10"])?;
    let child = Command::new(program)
        .args([
            "hub",
            "--no-web",
            "--no-discovery",
            "--state",
            "none",
            "--log-level",
            "error",
        ])
        .args(["--gateway", &format!("ws://{}", gateway.address())])
        .args(["--mqtt", &format!("mqtt://{}", broker.address())])
        // As the broker alone is measured.
        .args(["--mqtt-qos", "0"])
        .env("HEARTHGATE_KEY", std::str::from_utf8(&KEY)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let _hub = Running::silent(child, broker.address());
    one_thread()?.block_on(async {
        let mut subscriber = Mqtt::connect(broker.address(), "subscriber").await?;
        subscriber.subscribe("hearthgate/+/+/state").await?;
        let mut device = TcpStream::connect(gateway.addresses[1]).await?;
        device.set_nodelay(true)?;
        // Until the hub stands, reports are made and nobody waits for them.
        let start = Instant::now();
        while !reported(&mut subscriber, Duration::from_millis(100)).await? {
            device.write_all(&[b'x'; REPORT_BYTES]).await?;
            if start.elapsed() > Duration::from_secs(20) {
                return Err("the hub publishes nothing".into());
            }
        }
        while reported(&mut subscriber, Duration::from_millis(300)).await? {}
        let mut times = Times::default();
        let start = Instant::now();
        while start.elapsed() < duration {
            device.write_all(&[b'x'; REPORT_BYTES]).await?;
            times.add(
                message(&mut subscriber, ARRIVAL)
                    .await?
                    .ok_or("no message came")?,
            );
        }
        Ok(times)
    })
}

/// Times from the publisher to the subscriber.
pub(crate) fn broker_alone(duration: Duration) -> Outcome<Times> {
    let folder = tempfile::tempdir()?;
    let broker = mqtt::mosquitto(folder.path())?;
    one_thread()?.block_on(async {
        let mut subscriber = Mqtt::connect(broker.address(), "subscriber").await?;
        subscriber.subscribe("hearthgate/+/+/state").await?;
        let mut publisher = Mqtt::connect(broker.address(), "publisher").await?;
        let mut times = Times::default();
        let start = Instant::now();
        let mut packet = Vec::new();
        while start.elapsed() < duration {
            packet.clear();
            // Made before the time is taken would be unfair to the hub, which does more; this is less
            // than a microsecond.
            mqtt::publish(
                &mut packet,
                "hearthgate/bench/bench0/state",
                &raw::event(1, 0),
            );
            publisher.stream.write_all(&packet).await?;
            times.add(
                message(&mut subscriber, ARRIVAL)
                    .await?
                    .ok_or("no message came")?,
            );
        }
        Ok(times)
    })
}

async fn reported(subscriber: &mut Mqtt, patience: Duration) -> Outcome<bool> {
    Ok(message(subscriber, patience).await?.is_some())
}

/// Waits for a message that carries a report; returns how old it is.
async fn message(subscriber: &mut Mqtt, patience: Duration) -> Outcome<Option<Duration>> {
    let waiting = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            subscriber.stream.readable().await?;
            let count = match subscriber.stream.try_read(&mut buffer) {
                Ok(0) => return Err("the broker hung up".into()),
                Ok(count) => count,
                Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(fault) => return Err(fault.into()),
            };
            let mut made = None;
            subscriber.take(&buffer[..count], &mut |payload| {
                made = time_of(payload).or(made);
            })?;
            if let Some(made) = made {
                return Ok(Duration::from_nanos((monotonic() - made).max(0) as u64));
            }
        }
    };
    match tokio::time::timeout(patience, waiting).await {
        Ok(age) => age.map(Some),
        Err(_) => Ok(None),
    }
}

/// Finds the time of the report, which is a member of an object in one case and a value beside its code
/// in the other.
fn time_of(payload: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(payload).ok()?;
    let (_, rest) = text.split_once(CODE)?;
    let digits = rest.find(|c: char| c.is_ascii_digit())?;
    let rest = rest.get(digits..)?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}
