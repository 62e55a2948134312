//! Connections: with upgrade and handshake at the gateway, and bare ones that are accepted and dropped.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hearthgate_bench::{Peer, Target};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::Outcome;
use crate::child::Running;
use crate::fanout::{one_thread, target};

/// Connections that are being opened at the same time.
const AT_A_TIME: usize = 64;

/// Returns sessions that were opened in a second.
pub(crate) fn gateway(duration: Duration) -> Outcome<f64> {
    let running = Running::own(&["gateway", "10"])?;
    one_thread()?.block_on(async {
        let target = Target::new(target(running.address())?, false).await?;
        repeat(duration, async || {
            Peer::connect(&target).await?.abort();
            Ok(())
        })
        .await
    })
}

/// Returns connections that were opened, accepted and closed in a second.
pub(crate) fn accept(duration: Duration) -> Outcome<f64> {
    let running = Running::own(&["accept"])?;
    let address = running.address();
    one_thread()?.block_on(repeat(duration, async || connect(address).await))
}

async fn connect(address: SocketAddr) -> Outcome<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_zero_linger()?;
    // The other side hangs up once it has accepted.
    match stream.read(&mut [0; 1]).await {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?} from who only hangs up").into()),
    }
}

async fn repeat(duration: Duration, connect: impl AsyncFn() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    let lanes = (0..AT_A_TIME).map(|_| async {
        let mut count = 0u64;
        while start.elapsed() < duration {
            connect().await?;
            count += 1;
        }
        Outcome::Ok(count)
    });
    let counts = futures_util::future::try_join_all(lanes).await?;
    Ok(counts.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64())
}
