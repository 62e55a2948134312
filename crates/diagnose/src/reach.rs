//! From a target to an open connection: advertisement, address, port, TLS and access token.
//!
//! Input is a [`Target`]; the stream goes to `line`. What goes wrong is told apart as far as TCP shows
//! it: a refusal comes from the machine itself, silence from a firewall or from nobody.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hearthgate_client::{
    ClientOptions, Discovery, DiscoveryOptions, Endpoint, Sighting, Stream, TlsFault, Trust,
};
use hearthgate_protocol::crypto::Token;
use hearthgate_protocol::variants::Dialect;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::options::Options;

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// Why a gateway was not heard.
#[derive(Debug)]
pub(crate) enum Unheard {
    /// Nowhere to listen.
    CannotListen(String),
    /// Nothing came; `others` are the uuids of gateways that were heard.
    Silent { others: Vec<String> },
}

/// Waits for an advertisement.
pub(crate) async fn advertised(
    uuid: &str,
    options: &DiscoveryOptions,
    deadline: Instant,
) -> Result<Sighting, Unheard> {
    let discovery =
        Discovery::start(options).map_err(|error| Unheard::CannotListen(error.to_string()))?;
    let mut following = discovery.follow(uuid);
    match timeout_at(deadline, following.heard()).await {
        Ok(Some(sighting)) => Ok(sighting),
        Ok(None) | Err(_) => {
            let others = discovery.sightings();
            let others = others.iter().map(|other| other.uuid.to_string()).collect();
            Err(Unheard::Silent { others })
        }
    }
}

/// Finds the addresses of a host.
pub(crate) async fn resolve(endpoint: &Endpoint, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    let found = timeout_at(deadline, lookup_host((endpoint.host(), endpoint.port())))
        .await
        .map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, "the name server does not answer")
        })??;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

/// What came of one address.
pub(crate) type Attempt = (SocketAddr, io::Error);

/// Connects to the first address that takes it; each has an equal share of the time.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<(TcpStream, SocketAddr, Duration), Vec<Attempt>> {
    let mut left = u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let mut attempts = Vec::new();
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        left = left.saturating_sub(1).max(1);
        let started = Instant::now();
        let error = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it small requests are a little slower, no more.
                let _ = stream.set_nodelay(true);
                return Ok((stream, *address, started.elapsed()));
            }
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        };
        attempts.push((*address, error));
    }
    Err(attempts)
}

/// Speaks TLS on a connection, where the endpoint says so. Says why there is none, with the next step.
pub(crate) async fn secure(
    stream: TcpStream,
    endpoint: &Endpoint,
    trust: &Trust,
    deadline: Instant,
) -> Result<Stream, String> {
    if !endpoint.is_secure() {
        return Ok(Stream::Plain(stream));
    }
    match timeout_at(
        deadline,
        hearthgate_client::secure(stream, endpoint.host(), trust),
    )
    .await
    {
        Ok(secured) => secured.map_err(|fault| format!("no TLS with it: {fault}")),
        Err(_) => Err(
            "no TLS with it: no answer in the TLS handshake in time; another service has the \
                       port, or the gateway hangs"
                .to_owned(),
        ),
    }
}

/// Fetches an access token, where the older dialect is spoken. Says why there is none.
pub(crate) async fn token(
    endpoint: &Endpoint,
    options: &Options,
    deadline: Instant,
) -> Result<Option<Token>, String> {
    if options.dialect == Dialect::Current {
        return Ok(None);
    }
    if !endpoint.is_secure() {
        return Err(TlsFault::Missing.to_string());
    }
    let key = options.key.api_key().map_err(|error| error.to_string())?;
    let mut asked = ClientOptions::new(endpoint.clone(), key);
    asked.trust.clone_from(&options.trust);
    asked.token_port = options.token_port;
    let fetched = hearthgate_client::fetch_token(&asked, deadline).await;
    fetched.map_err(|error| error.to_string())
}

/// Tells whether the failure is one of the way there rather than of the port.
pub(crate) fn no_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::InvalidInput
    )
}
