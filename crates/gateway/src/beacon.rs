//! Advertises the gateway over UDP, every 5 s (section 7).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hearthgate_protocol::beacon::{Beacon, BeaconFrame};
use hearthgate_protocol::limits::{BEACON_INTERVAL, BEACON_PORT};
use tokio::net::UdpSocket;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Where to advertise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BeaconOptions {
    /// The addresses that packets are sent to; nowhere where there are none.
    pub targets: Vec<SocketAddr>,
}

/// Returns where a gateway that listens on an address advertises by default: to the broadcast address,
/// or to 127.0.0.1 only where it listens on loopback only.
pub fn default_targets(listen: IpAddr) -> Vec<SocketAddr> {
    let target = if listen.is_loopback() {
        Ipv4Addr::LOCALHOST
    } else {
        Ipv4Addr::BROADCAST
    };
    vec![SocketAddr::from((target, BEACON_PORT))]
}

/// Advertises until told to stop.
pub(crate) async fn run(
    uuid: String,
    listen: SocketAddr,
    options: BeaconOptions,
    stop: CancellationToken,
) {
    let packet = Beacon {
        uuid,
        port: listen.port(),
    }
    .encode(BeaconFrame::Json);
    let mut targets = Vec::new();
    for target in options.targets {
        match socket(listen.ip(), target).await {
            Ok(socket) => targets.push(Target {
                address: target,
                socket,
                failed: false,
            }),
            Err(fault) => warn!("cannot advertise to {target}: {fault}; check --advertise"),
        }
    }
    let mut interval = tokio::time::interval(BEACON_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !targets.is_empty() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        for target in &mut targets {
            target.send(&packet).await;
        }
    }
}

struct Target {
    address: SocketAddr,
    socket: UdpSocket,
    /// Whether the last packet could not be sent: told once, until it works again.
    failed: bool,
}

impl Target {
    async fn send(&mut self, packet: &[u8]) {
        let outcome = self.socket.send_to(packet, self.address).await;
        match outcome {
            // Nobody listens on a local port: no fault of ours.
            Err(fault) if fault.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(fault) if !self.failed => {
                self.failed = true;
                warn!(
                    "cannot advertise to {}: {fault}; trying again",
                    self.address
                );
            }
            Ok(_) if self.failed => {
                self.failed = false;
                info!("advertising to {} again", self.address);
            }
            _ => {}
        }
    }
}

/// Makes a socket whose packets come from the address that the gateway listens on, since clients take
/// that from them.
async fn socket(listen: IpAddr, target: SocketAddr) -> io::Result<UdpSocket> {
    let source = match (listen, target) {
        (listen, target) if listen.is_ipv4() == target.is_ipv4() => listen,
        (_, SocketAddr::V4(_)) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (_, SocketAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((source, 0)).await?;
    socket.set_broadcast(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_stays_on_loopback() {
        let targets = |text: &str| default_targets(text.parse().unwrap());
        assert_eq!(targets("127.0.0.1"), ["127.0.0.1:6669".parse().unwrap()]);
        assert_eq!(targets("::1"), ["127.0.0.1:6669".parse().unwrap()]);
        assert_eq!(
            targets("0.0.0.0"),
            ["255.255.255.255:6669".parse().unwrap()]
        );
        assert_eq!(
            targets("192.0.2.7"),
            ["255.255.255.255:6669".parse().unwrap()]
        );
    }

    #[tokio::test]
    async fn packets_come_at_once_and_name_uuid_and_port() {
        let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let options = BeaconOptions {
            targets: vec![listener.local_addr().unwrap()],
        };
        let stop = CancellationToken::new();
        let listen = "127.0.0.1:4711".parse().unwrap();
        let running = tokio::spawn(run("u-1".to_owned(), listen, options, stop.clone()));
        let mut packet = [0; 200];
        let (size, _) = listener.recv_from(&mut packet).await.unwrap();
        assert_eq!(&packet[..size], b"{\"uuid\":\"u-1\",\"port\":4711}");
        stop.cancel();
        running.await.unwrap();
    }
}
