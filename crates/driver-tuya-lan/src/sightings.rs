//! Devices that announce themselves over UDP: where they are, and which version they speak.
//!
//! An announcement is a hint and no proof; it is taken for the address that it came from alone. Packets
//! that wait beyond a bound are dropped, since every device repeats its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::debug;

use crate::lan::Announcements;
use crate::link::Version;

/// The vendor's ports: plain, encrypted, and the one of answers to questions.
const PORTS: [u16; 3] = [6666, 6667, 7000];
/// The largest packet that is looked at.
const PACKET_MAX: usize = 2048;
/// Packets that may wait to be looked at; more are dropped.
const PACKETS_WAITING: usize = 64;
/// How often devices are asked to announce themselves.
const ASK: Duration = Duration::from_secs(20);

/// A device that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub address: IpAddr,
    /// The version that it says it speaks.
    pub version: Option<Version>,
    /// The vendor's id of the product.
    pub product: Option<String>,
}

/// Why announcements cannot be heard.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for announcements on {address} (UDP): {source}{}",
    hint(source)
)]
pub struct ListenError {
    address: SocketAddr,
    source: io::Error,
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; another program has it and does not share it",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}

/// Sockets on which announcements are heard.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<UdpSocket>,
}

impl Listener {
    /// Returns where announcements are listened for by default: all addresses, 6666, 6667 and 7000.
    pub fn default_addresses() -> Vec<SocketAddr> {
        PORTS
            .iter()
            .map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)))
            .collect()
    }

    /// Begins to listen; shares the ports with other programs that do so.
    ///
    /// # Errors
    /// Where an address cannot be had.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, ListenError> {
        let mut sockets = Vec::new();
        for address in addresses {
            let failed = |source| ListenError {
                address: *address,
                source,
            };
            sockets.push(bind(*address).map_err(failed)?);
        }
        Ok(Self { sockets })
    }

    /// Hears announcements for ever. With `ask`, devices are asked to announce themselves as well, by
    /// broadcast: some say nothing otherwise.
    ///
    /// # Errors
    /// Where the system refuses to wait for the sockets.
    pub async fn run(self, ask: bool, mut heard: impl FnMut(Sighting)) -> io::Result<()> {
        let (sender, mut packets) = mpsc::channel(PACKETS_WAITING);
        let mut readers = JoinSet::new();
        for socket in self.sockets {
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            readers.spawn(read(socket, sender.clone()));
        }
        drop(sender);
        let mut announcements = Announcements::new(source().into_iter().collect());
        let mut questions = tokio::time::interval(ASK);
        loop {
            tokio::select! {
                packet = packets.recv() => match packet {
                    Some((packet, from)) => {
                        if let Some(sighting) = announcements.packet(&packet, from) {
                            heard(sighting);
                        }
                    }
                    None => return Ok(()),
                },
                _ = questions.tick(), if ask => {
                    if let Err(error) = broadcast(announcements.probes()).await {
                        debug!("devices cannot be asked to announce themselves: {error}");
                    }
                }
            }
        }
    }
}

async fn read(socket: tokio::net::UdpSocket, packets: mpsc::Sender<(Vec<u8>, IpAddr)>) {
    let mut buffer = vec![0; PACKET_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                let packet = buffer.get(..length).unwrap_or_default().to_vec();
                // A full channel is a flood; what is lost is said again.
                let _ = packets.try_send((packet, from.ip()));
            }
            // Such as a port that turned out to be closed: no reason to stop hearing.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn broadcast(packets: Vec<(Vec<u8>, u16)>) -> io::Result<()> {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.set_broadcast(true)?;
    for (packet, port) in packets {
        socket.send_to(&packet, (Ipv4Addr::BROADCAST, port)).await?;
    }
    Ok(())
}

/// Returns the address from which this machine reaches the network: devices answer to it.
fn source() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation: nothing is sent, the system only chooses a route.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_loopback() && !address.is_unspecified() => Some(address),
        _ => None,
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
