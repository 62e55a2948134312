//! The sockets on which advertisements are received.
//!
//! Input are the addresses of the options; the sockets go to [`crate::discovery`], which reads them.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::{debug, warn};

/// Why nothing can be heard.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// No address was given.
    #[error("no address to listen for advertisements on; give one, such as 0.0.0.0:6669")]
    NoAddress,
    /// None of the addresses can be bound.
    #[error("cannot listen for advertisements: {}", tried(.0))]
    Bind(Vec<(SocketAddr, io::Error)>),
}

/// Binds all addresses that can be bound, each once, and returns where they are.
pub(super) fn bind_all(
    listen: &[SocketAddr],
) -> Result<Vec<(UdpSocket, SocketAddr)>, DiscoveryError> {
    let mut wanted: Vec<SocketAddr> = Vec::new();
    for address in listen {
        if !wanted.contains(address) {
            wanted.push(*address);
        }
    }
    let mut sockets = Vec::new();
    let mut failures = Vec::new();
    for address in wanted {
        match bind(address) {
            Ok(bound) => sockets.push(bound),
            Err(error) => failures.push((address, error)),
        }
    }
    if sockets.is_empty() {
        return Err(if failures.is_empty() {
            DiscoveryError::NoAddress
        } else {
            DiscoveryError::Bind(failures)
        });
    }
    for (address, error) in &failures {
        warn!(
            "cannot listen for advertisements on {address}: {error}; {}",
            hint(*address, error)
        );
    }
    Ok(sockets)
}

fn bind(address: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
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
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn tried(failures: &[(SocketAddr, io::Error)]) -> String {
    let mut text = String::new();
    for (index, (address, error)) in failures.iter().enumerate() {
        let separator = if index > 0 { "; " } else { "" };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{separator}{address}: {error}; {}",
            hint(*address, error)
        );
    }
    text
}

/// Says what to do about an address that cannot be bound.
fn hint(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
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
