//! The sockets on which advertisements are received.
//!
//! Input are the addresses of the options; the sockets go to [`crate::discovery`], which reads them.

use std::fmt::{self, Write as _};
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::{debug, warn};

use super::DiscoveryOptions;

/// Why nothing can be heard.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// No address was given.
    #[error("no address to listen for advertisements on; give one, such as 0.0.0.0:6669")]
    NoAddress,
    /// None of the places can be listened on.
    #[error("cannot listen for advertisements: {}", tried(.0))]
    Bind(Vec<(Place, io::Error)>),
}

/// Where to listen: an address, perhaps of one interface alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: SocketAddr,
    /// The interface; all where there is none.
    pub interface: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{} on {interface}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// Binds all places that can be bound, each once, and returns their addresses.
pub(super) fn bind_all(
    options: &DiscoveryOptions,
) -> Result<Vec<(UdpSocket, SocketAddr)>, DiscoveryError> {
    let mut wanted: Vec<Place> = Vec::new();
    for address in &options.listen {
        let interfaces = match options.interfaces.as_slice() {
            [] => vec![None],
            named => named.iter().cloned().map(Some).collect(),
        };
        for interface in interfaces {
            let place = Place {
                address: *address,
                interface,
            };
            if !wanted.contains(&place) {
                wanted.push(place);
            }
        }
    }
    let mut sockets = Vec::new();
    let mut failures = Vec::new();
    for place in wanted {
        match bind(&place) {
            Ok(bound) => sockets.push(bound),
            Err(error) => failures.push((place, error)),
        }
    }
    if sockets.is_empty() {
        return Err(if failures.is_empty() {
            DiscoveryError::NoAddress
        } else {
            DiscoveryError::Bind(failures)
        });
    }
    for (place, error) in &failures {
        warn!(
            "cannot listen for advertisements on {place}: {error}; {}",
            hint(place, error)
        );
    }
    Ok(sockets)
}

fn bind(place: &Place) -> io::Result<(UdpSocket, SocketAddr)> {
    let address = place.address;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // Other programs listen on the vendor's ports too. A free port is to be free for sure.
    if address.port() != 0 {
        socket.set_reuse_address(true)?;
        #[cfg(all(
            unix,
            not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
        ))]
        if let Err(error) = socket.set_reuse_port(true) {
            debug!("cannot share the port of {address} with others: {error}");
        }
    }
    if let Some(interface) = &place.interface {
        bind_interface(&socket, interface)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Takes only what comes in by one interface. A socket on an address of the interface would hear no
/// broadcast, so it is the interface itself that is named; Linux takes that from anybody since 5.7.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bind_interface(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bind_interface(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn tried(failures: &[(Place, io::Error)]) -> String {
    let mut text = String::new();
    for (index, (place, error)) in failures.iter().enumerate() {
        let separator = if index > 0 { "; " } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{place}: {error}; {}", hint(place, error));
    }
    text
}

/// ENODEV, which the standard library has no name for.
const NO_SUCH_DEVICE: i32 = 19;

/// Says what to do about a place that cannot be bound.
fn hint(place: &Place, error: &io::Error) -> String {
    let port = place.address.port();
    match error.kind() {
        _ if place.interface.is_some() && error.raw_os_error() == Some(NO_SUCH_DEVICE) => {
            "there is no such interface: `ip link` lists them".to_owned()
        }
        io::ErrorKind::Unsupported => {
            "this system cannot listen on one interface alone: leave the interface out".to_owned()
        }
        io::ErrorKind::PermissionDenied if place.interface.is_some() => {
            "kernels before 5.7 let only programs with CAP_NET_RAW listen on one interface: leave the \
             interface out, or give it that (`setcap cap_net_raw+ep`)"
                .to_owned()
        }
        io::ErrorKind::AddrInUse => format!(
            "another program has UDP port {port} for itself: stop it (`ss -ulpn` shows it), or listen on another port"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "this machine has no such address: listen on 0.0.0.0:{port}, or check `ip address`"
            )
        }
        io::ErrorKind::PermissionDenied => {
            "the system does not permit it: choose a port from 1024 up, or ask its administrator"
                .to_owned()
        }
        _ => "check the address and the network of this machine".to_owned(),
    }
}
