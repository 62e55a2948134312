//! How the cost grows with the work: sessions, devices, events.

use std::time::{Duration, Instant};

use hearthgate_bench::{Peer, Target};
use hearthgate_client::Client;
use tokio::net::TcpStream;

use crate::Outcome;
use crate::child::Running;
use crate::course::{self, Producer, Subscriber};
use crate::fanout::{self, one_thread, target};

/// One measured point: how much work, what it cost.
pub(crate) type Point = (f64, f64);

/// Sessions against the time that one event takes to all of them, in microseconds, 64 outstanding.
pub(crate) fn sessions(duration: Duration) -> Outcome<Vec<Point>> {
    let mut points = Vec::new();
    for sessions in [10, 30, 100, 300, 1000, 2000] {
        let run = fanout::gateway(sessions, 64, duration)?;
        points.push((sessions as f64, 1e6 * sessions as f64 / run.per_second));
    }
    Ok(points)
}

/// Devices against the time that a client takes to mirror all of them, in milliseconds.
pub(crate) fn devices(rounds: usize) -> Outcome<Vec<Point>> {
    let mut points = Vec::new();
    for devices in [10, 100, 1000, 10_000, 50_000] {
        let running = Running::own(&["gateway", &devices.to_string()])?;
        let mut runs = Vec::new();
        for _ in 0..rounds {
            runs.push(crate::serve::runtime()?.block_on(async {
                let start = Instant::now();
                let (client, _feed) = Client::connect(target(running.address())?).await?;
                client.synced().await?;
                let took = start.elapsed().as_secs_f64() * 1e3;
                let have = client.mirror().read(|home| home.len());
                client.close().await;
                match have == devices {
                    true => Outcome::Ok(took),
                    false => Err(format!("{have} of {devices} devices in the mirror").into()),
                }
            })?);
        }
        points.push((
            devices as f64,
            hearthgate_bench::figures::Spread::of(runs).median,
        ));
    }
    Ok(points)
}

/// Events in a second against the time that the gateway computes in a second, in milliseconds, with 10
/// sessions; and against the 99th percentile of the way, in microseconds.
pub(crate) fn events(duration: Duration) -> Outcome<(Vec<Point>, Vec<Point>)> {
    let (mut cpu, mut way) = (Vec::new(), Vec::new());
    for rate in [1, 10, 100, 1000, 10_000, 100_000] {
        // Few events need a while to tell anything.
        let duration = if rate < 100 { duration * 3 } else { duration };
        let running = Running::own(&["gateway", "1000"])?;
        one_thread()?.block_on(async {
            let target = Target::new(target(running.address())?, false).await?;
            let mut subscribers = Vec::new();
            for _ in 0..10 {
                subscribers.push(Subscriber::Gateway(Box::new(Peer::connect(&target).await?)));
            }
            let device = TcpStream::connect(running.addresses[1]).await?;
            device.set_nodelay(true)?;
            let before = (running.cpu()?, Instant::now());
            let run = course::paced(subscribers, Producer::Device(device), rate, duration).await?;
            let seconds = before.1.elapsed().as_secs_f64();
            let used = (running.cpu()? - before.0).as_secs_f64() * 1e3 / seconds;
            // What was offered is not always what went through.
            let offered = run.per_second / 10.0;
            cpu.push((offered, used));
            way.push((offered, run.times.summary().p99_us));
            Outcome::Ok(())
        })?;
    }
    Ok((cpu, way))
}
