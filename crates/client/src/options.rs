//! How to talk to one gateway.
//!
//! Filled by the caller, read by `handle` when it connects.

use std::time::Duration;

use hearthgate_protocol::crypto::Credential;
use hearthgate_protocol::limits::{HANDSHAKE_TIMEOUT, REQUEST_TIMEOUT, TOKEN_PORT};
use hearthgate_protocol::variants::{Variants, Wire};

use crate::endpoint::Endpoint;
use crate::trust::Trust;

/// The longest time that a timeout is taken for, so that no sum of times can overflow.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How to talk to one gateway. [`ClientOptions::new`] gives the defaults of the protocol; set the
/// fields that shall differ. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where the gateway is, request path included.
    pub endpoint: Endpoint,
    /// The device key, as the vendor's app shows it (section 2); or the API key of the older dialect
    /// (section 8), which is spoken then.
    pub key: Credential,
    /// Which certificate is the gateway's, where TLS is spoken.
    pub trust: Trust,
    /// The port of the token endpoint of the older dialect: 443.
    pub token_port: u16,
    /// The wire encoding; detected from the gateway's first message where there is none (section 3).
    /// `plain` on an address that is not loopback is accepted only if it is named here.
    pub wire: Option<Wire>,
    /// Open choices of the protocol (section 10).
    pub variants: Variants,
    /// The time from the start of connecting to `auth_ok`: 10 s (section 4). Above that the gateway
    /// is likely to give up first. At most a day.
    pub connect_timeout: Duration,
    /// The time a request waits for its answer, and before that for its turn: 10 s (section 5). At
    /// most a day.
    pub request_timeout: Duration,
    /// Whether events bring their JSON text along, as it came. Off by default.
    pub keep_json: bool,
    /// Whether the client reads all devices and mirrors them. On by default; without it the feed
    /// carries the events and nothing else.
    pub mirror: bool,
}

impl ClientOptions {
    /// Makes options of defaults.
    pub fn new(endpoint: Endpoint, key: impl Into<Credential>) -> Self {
        Self {
            endpoint,
            key: key.into(),
            trust: Trust::default(),
            token_port: TOKEN_PORT,
            wire: None,
            variants: Variants::default(),
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
