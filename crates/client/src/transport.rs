//! TCP: from an endpoint to an open connection.
//!
//! Input are host and port; the stream goes to `dial`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{ClientError, RESOLVING};

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to the first of the host's addresses that takes it, by `deadline`. Each address gets
/// an equal share of the time that is left, so that one that swallows everything hides no other.
pub(crate) async fn connect(
    (host, port): (&str, u16),
    gateway: &Arc<str>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), ClientError> {
    let unresolved = |cause: io::Error| ClientError::Resolve {
        gateway: Arc::clone(gateway),
        cause: Arc::new(cause),
    };
    let started = Instant::now();
    let found = timeout_at(deadline, lookup_host((host, port)))
        .await
        .map_err(|_| ClientError::Timeout {
            gateway: Arc::clone(gateway),
            what: RESOLVING,
            after: deadline - started,
        })?
        .map_err(unresolved)?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(unresolved(io::Error::from(io::ErrorKind::NotFound)));
    }
    let mut left = u32::try_from(addresses.len()).unwrap_or(1);
    let mut attempts = Vec::with_capacity(addresses.len());
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        left = left.saturating_sub(1).max(1);
        let error = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%address, %error, "cannot switch off Nagle's algorithm");
                }
                return Ok((stream, address));
            }
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        };
        attempts.push((address, Arc::new(error)));
    }
    Err(ClientError::Unreachable {
        gateway: Arc::clone(gateway),
        attempts,
    })
}

/// Tells whether a peer is on this machine, by the address that was connected to.
pub(crate) fn is_loopback(peer: SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn a_port_that_nobody_has_is_named_with_its_failure() {
        // Whoever has a port and does not listen refuses, and nobody else gets it.
        let closed = TcpSocket::new_v4().unwrap();
        closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = closed.local_addr().unwrap().port();
        let deadline = Instant::now() + Duration::from_secs(5);
        let error = connect(("127.0.0.1", port), &Arc::from("ws://here"), deadline)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}: ")), "{error}");
        assert!(error.contains("nothing listens there"), "{error}");
    }

    #[test]
    fn an_address_that_is_mapped_into_ipv6_is_loopback_too() {
        for (address, expected) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("192.168.1.2:1", false),
            ("[fe80::1]:1", false),
        ] {
            assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
        }
    }
}
