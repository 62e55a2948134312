//! TCP: from an endpoint to an open connection, and a look whether TLS is spoken there.
//!
//! Input is an `Endpoint`; the stream goes to `link`, which owns it from then on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::endpoint::Endpoint;
use crate::error::{ClientError, RESOLVING};

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// The time in which a server that speaks TLS shows it.
const TLS_PROBE: Duration = Duration::from_secs(2);

/// Connects to the first of the endpoint's addresses that takes it, by `deadline`. Each address gets
/// an equal share of the time that is left, so that one that swallows everything hides no other.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    gateway: &Arc<str>,
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr), ClientError> {
    let unresolved = |cause: io::Error| ClientError::Resolve {
        gateway: Arc::clone(gateway),
        cause: Arc::new(cause),
    };
    let started = Instant::now();
    let found = timeout_at(deadline, lookup_host((endpoint.host(), endpoint.port())))
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

/// Connects once more and looks whether TLS is spoken there: the mark of the older dialect
/// (section 8). Takes 2 s at most.
pub(crate) async fn speaks_tls(address: SocketAddr) -> bool {
    let probe = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&CLIENT_HELLO).await?;
        // The first byte of a TLS record: an alert or a handshake message.
        let first = stream.read_u8().await?;
        io::Result::Ok(matches!(first, 0x15 | 0x16))
    };
    matches!(timeout(TLS_PROBE, probe).await, Ok(Ok(true)))
}

/// A TLS 1.2 ClientHello that any server answers, with a server's hello or with an alert.
const CLIENT_HELLO: [u8; 100] = *b"\
    \x16\x03\x01\x00\x5f\
    \x01\x00\x00\x5b\x03\x03\
    hearthgate looks for TLS, no key\
    \x00\
    \x00\x0e\xc0\x2b\xc0\x2f\xc0\x30\xc0\x13\x00\x9c\x00\x9d\x00\x2f\
    \x01\x00\
    \x00\x24\
    \x00\x0a\x00\x08\x00\x06\x00\x1d\x00\x17\x00\x18\
    \x00\x0b\x00\x02\x01\x00\
    \x00\x0d\x00\x0e\x00\x0c\x04\x03\x04\x01\x05\x03\x05\x01\x08\x04\x02\x01";

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; CLIENT_HELLO.len()];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(answer).await.unwrap();
        });
        address
    }

    #[test]
    fn the_hello_is_well_formed() {
        let length = |high: usize| {
            usize::from(CLIENT_HELLO[high]) << 8 | usize::from(CLIENT_HELLO[high + 1])
        };
        assert_eq!(length(3), CLIENT_HELLO.len() - 5);
        assert_eq!(length(7), CLIENT_HELLO.len() - 9);
        let ciphers = length(5 + 4 + 2 + 32 + 1);
        let extensions = 46 + ciphers + 2;
        assert_eq!(length(extensions), CLIENT_HELLO.len() - extensions - 2);
    }

    #[tokio::test]
    async fn a_server_that_answers_with_a_tls_record_speaks_tls() {
        assert!(speaks_tls(server(b"\x15\x03\x01\x00\x02\x02\x46").await).await);
        assert!(speaks_tls(server(b"\x16\x03\x03").await).await);
    }

    #[tokio::test]
    async fn anything_else_does_not() {
        assert!(!speaks_tls(server(b"HTTP/1.1 400 Bad Request\r\n").await).await);
        assert!(!speaks_tls(server(b"").await).await);
    }

    #[tokio::test]
    async fn a_port_that_nobody_has_is_named_with_its_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let endpoint = Endpoint::new("127.0.0.1", port).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let error = connect(&endpoint, &Arc::from("ws://here"), deadline)
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
