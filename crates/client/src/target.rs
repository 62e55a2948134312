//! Where a gateway is and how to talk to it at the moment, for a client that is kept.
//!
//! Input comes from whoever knows gateways (a file, discovery) and may change at any time; `keeper`
//! reads it before every attempt, and follows it meanwhile.

use std::future::Future;
use std::sync::Arc;

use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::limits::{HANDSHAKE_TIMEOUT, REQUEST_TIMEOUT};
use hearthgate_protocol::variants::{Variants, Wire};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::error::{ClientError, NoUpgrade};
use crate::options::{ClientOptions, LONGEST_TIMEOUT};
use crate::transport;

/// Where a gateway is and how to talk to it, for [`Client::keep`](crate::Client::keep). `Debug` shows no
/// secret.
///
/// A change of anything but `found` takes effect at once: a connection is ended and made anew, a wait is
/// cut short, that after a rejected key too. A change of `found` is a hint (section 7): it never touches
/// a connection or an attempt, and cuts a wait short only as the backoff allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where the gateway is, if somebody said so; then `found` is not looked at.
    pub fixed: Option<Endpoint>,
    /// Where it may be, as it was heard, the likeliest first; they are tried in turn. The caller keeps
    /// it short. Empty: not heard of yet.
    pub found: Vec<Endpoint>,
    /// The device key (section 2).
    pub key: DeviceKey,
    /// The wire encoding; detected where there is none.
    pub wire: Option<Wire>,
    /// Open choices of the protocol (section 10).
    pub variants: Variants,
}

/// What does not change while a client is kept.
#[derive(Clone, Debug)]
pub struct KeepOptions {
    /// What messages call the gateway: a name, or its address.
    pub name: String,
    /// As [`ClientOptions::connect_timeout`], for each attempt.
    pub connect_timeout: std::time::Duration,
    /// As [`ClientOptions::request_timeout`].
    pub request_timeout: std::time::Duration,
    /// As [`ClientOptions::keep_json`].
    pub keep_json: bool,
    /// As [`ClientOptions::mirror`].
    pub mirror: bool,
}

/// How a keeper reaches gateways: TCP, or what a test has instead.
pub trait Dial: Send + 'static {
    /// A byte stream in both directions.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a stream to an endpoint by `deadline`, and tells whether it stays on this machine: only
    /// then an unencrypted gateway is accepted unasked (section 3). `gateway` is for messages. Is
    /// dropped where the client is closed meanwhile.
    fn dial(
        &mut self,
        endpoint: &Endpoint,
        gateway: &Arc<str>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(Self::Stream, bool), ClientError>> + Send;

    /// Looks closer at why the attempt failed; takes some seconds at most.
    fn explain(&mut self, error: ClientError) -> impl Future<Output = ClientError> + Send {
        std::future::ready(error)
    }

    /// Returns a number, uniform over its whole range, that spreads attempts in time.
    fn random(&mut self) -> u32 {
        // Without randomness many clients may come at once, and that is all.
        getrandom::u32().unwrap_or(u32::MAX / 2)
    }
}

/// Reaches gateways over TCP.
#[derive(Debug, Default)]
pub(crate) struct TcpDial {
    peer: Option<std::net::SocketAddr>,
}

impl Target {
    /// Makes a target at a known address with the defaults of the protocol.
    pub fn fixed(endpoint: Endpoint, key: DeviceKey) -> Self {
        Self {
            fixed: Some(endpoint),
            ..Self::unknown(key)
        }
    }

    /// Makes a target that has not been heard of yet.
    pub fn unknown(key: DeviceKey) -> Self {
        Self {
            fixed: None,
            found: Vec::new(),
            key,
            wire: None,
            variants: Variants::default(),
        }
    }

    /// Returns where the attempt with this number goes.
    pub(crate) fn endpoint(&self, attempt: usize) -> Option<&Endpoint> {
        self.fixed
            .as_ref()
            .or_else(|| self.found.get(attempt % self.found.len().max(1)))
    }

    /// Tells whether a connection to the other one cannot stand for this one.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        let path = |target: &Self| target.found.first().map(|found| found.path().to_owned());
        let other_path =
            matches!((path(self), path(other)), (Some(ours), Some(theirs)) if ours != theirs);
        self.fixed != other.fixed
            || self.key != other.key
            || self.wire != other.wire
            || self.variants != other.variants
            || other_path
    }

    pub(crate) fn options(&self, endpoint: Endpoint, keep: &KeepOptions) -> ClientOptions {
        ClientOptions {
            wire: self.wire,
            variants: self.variants,
            connect_timeout: keep.connect_timeout,
            request_timeout: keep.request_timeout,
            keep_json: keep.keep_json,
            mirror: keep.mirror,
            ..ClientOptions::new(endpoint, self.key.clone())
        }
    }
}

impl KeepOptions {
    /// Makes options of defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            connect_timeout: HANDSHAKE_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            keep_json: false,
            mirror: true,
        }
    }

    /// Returns the options with timeouts that can be added to any time.
    pub(crate) fn bounded(mut self) -> Self {
        self.connect_timeout = self.connect_timeout.min(LONGEST_TIMEOUT);
        self.request_timeout = self.request_timeout.min(LONGEST_TIMEOUT);
        self
    }
}

impl Dial for TcpDial {
    type Stream = TcpStream;

    async fn dial(
        &mut self,
        endpoint: &Endpoint,
        gateway: &Arc<str>,
        deadline: Instant,
    ) -> Result<(TcpStream, bool), ClientError> {
        self.peer = None;
        let (stream, peer) = transport::connect(endpoint, gateway, deadline).await?;
        self.peer = Some(peer);
        Ok((stream, transport::is_loopback(peer)))
    }

    async fn explain(&mut self, error: ClientError) -> ClientError {
        use hearthgate_protocol::websocket::UpgradeError;
        match (&error, self.peer) {
            (
                ClientError::NoGateway {
                    gateway,
                    problem: NoUpgrade::Unanswered | NoUpgrade::Upgrade(UpgradeError::NotHttp),
                },
                Some(peer),
            ) if transport::speaks_tls(peer).await => ClientError::OlderDialect {
                gateway: Arc::clone(gateway),
            },
            _ => error,
        }
    }
}
