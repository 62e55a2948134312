//! Fan-out: the gateway, Mosquitto and the bare loop.

use std::time::Duration;

use hearthgate_bench::{Peer, Target};
use hearthgate_client::ClientOptions;
use hearthgate_protocol::crypto::DeviceKey;
use tokio::net::TcpStream;

use crate::Outcome;
use crate::child::Running;
use crate::course::{self, Producer, Run, Subscriber};
use crate::mqtt::{self, Mqtt};
use crate::raw::RawSession;
use crate::serve::KEY;

pub(crate) fn target(address: std::net::SocketAddr) -> Outcome<ClientOptions> {
    let endpoint = format!("ws://{address}").parse()?;
    Ok(ClientOptions::new(endpoint, DeviceKey::from_bytes(KEY)))
}

pub(crate) fn one_thread() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

pub(crate) fn gateway(sessions: usize, outstanding: usize, duration: Duration) -> Outcome<Run> {
    let running = Running::own(&["gateway", "1000"])?;
    one_thread()?.block_on(async {
        let target = Target::new(target(running.address())?, false).await?;
        let mut subscribers = Vec::new();
        for _ in 0..sessions {
            subscribers.push(Subscriber::Gateway(Box::new(Peer::connect(&target).await?)));
        }
        let device = TcpStream::connect(running.addresses[1]).await?;
        device.set_nodelay(true)?;
        course::run(subscribers, Producer::Device(device), outstanding, duration).await
    })
}

pub(crate) fn raw(sessions: usize, outstanding: usize, duration: Duration) -> Outcome<Run> {
    let running = Running::own(&["raw-fan-out"])?;
    one_thread()?.block_on(async {
        let mut subscribers = Vec::new();
        for number in 0..sessions {
            let session = RawSession::connect(running.address(), number).await?;
            subscribers.push(Subscriber::Raw(Box::new(session)));
        }
        let device = TcpStream::connect(running.addresses[1]).await?;
        device.set_nodelay(true)?;
        course::run(subscribers, Producer::Device(device), outstanding, duration).await
    })
}

pub(crate) fn mosquitto(sessions: usize, outstanding: usize, duration: Duration) -> Outcome<Run> {
    let folder = tempfile::tempdir()?;
    let running = mqtt::mosquitto(folder.path())?;
    one_thread()?.block_on(async {
        let mut subscribers = Vec::new();
        for number in 0..sessions {
            let mut subscriber = Mqtt::connect(running.address(), &format!("sub{number}")).await?;
            subscriber.subscribe(Producer::TOPIC).await?;
            subscribers.push(Subscriber::Mqtt(subscriber));
        }
        let publisher = Mqtt::connect(running.address(), "publisher").await?;
        course::run(
            subscribers,
            Producer::Mqtt(publisher),
            outstanding,
            duration,
        )
        .await
    })
}

/// One run of one of them, for a profiler: `one gateway|mosquitto|raw SESSIONS OUTSTANDING SECONDS`.
pub(crate) fn one(args: &[String]) -> Outcome<()> {
    let [who, sessions, outstanding, seconds] = args else {
        return Err("one gateway|mosquitto|raw SESSIONS OUTSTANDING SECONDS".into());
    };
    let duration = Duration::from_secs(seconds.parse()?);
    let (sessions, outstanding) = (sessions.parse()?, outstanding.parse()?);
    let run = match who.as_str() {
        "gateway" => gateway(sessions, outstanding, duration)?,
        "mosquitto" => mosquitto(sessions, outstanding, duration)?,
        _ => raw(sessions, outstanding, duration)?,
    };
    println!("{:.0}/s {:?}", run.per_second, run.times.summary());
    Ok(())
}
