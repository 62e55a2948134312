//! Where a gateway is and how to talk to it at the moment, for a client that is kept.
//!
//! Input comes from whoever knows gateways (a file, discovery) and may change at any time; `keeper`
//! reads it before every attempt, and follows it meanwhile.

use std::future::Future;
use std::sync::Arc;

use hearthgate_protocol::crypto::{Credential, Token};
use hearthgate_protocol::limits::{HANDSHAKE_TIMEOUT, REQUEST_TIMEOUT, TOKEN_PORT};
use hearthgate_protocol::variants::{Variants, Wire};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::options::{ClientOptions, LONGEST_TIMEOUT};
use crate::trust::Trust;

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
    /// The device key (section 2), or the API key of the older dialect (section 8).
    pub key: Credential,
    /// Which certificate is the gateway's, where TLS is spoken.
    pub trust: Trust,
    /// The port of the token endpoint of the older dialect.
    pub token_port: u16,
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

    /// Takes note of how the next stream is to be opened: trust, token, key. A stream that comes from
    /// elsewhere needs none of it.
    fn prepare(&mut self, options: &ClientOptions) {
        let _ = options;
    }

    /// Returns the access token of the older dialect that opens a session on the stream opened last.
    fn token(&mut self) -> Option<Token> {
        None
    }

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

impl Target {
    /// Makes a target at a known address with the defaults of the protocol.
    pub fn fixed(endpoint: Endpoint, key: impl Into<Credential>) -> Self {
        Self {
            fixed: Some(endpoint),
            ..Self::unknown(key)
        }
    }

    /// Makes a target that has not been heard of yet.
    pub fn unknown(key: impl Into<Credential>) -> Self {
        Self {
            fixed: None,
            found: Vec::new(),
            key: key.into(),
            trust: Trust::default(),
            token_port: TOKEN_PORT,
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
        let how = |target: &Self| {
            let found = target.found.first()?;
            Some((found.path().to_owned(), found.is_secure()))
        };
        let other_how =
            matches!((how(self), how(other)), (Some(ours), Some(theirs)) if ours != theirs);
        self.fixed != other.fixed
            || self.key != other.key
            || self.trust != other.trust
            || self.token_port != other.token_port
            || self.wire != other.wire
            || self.variants != other.variants
            || other_how
    }

    pub(crate) fn options(&self, endpoint: Endpoint, keep: &KeepOptions) -> ClientOptions {
        ClientOptions {
            trust: self.trust.clone(),
            token_port: self.token_port,
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
