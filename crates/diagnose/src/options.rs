//! What is asked of a diagnosis.
//!
//! Filled by the caller, read by `doctor`, `conformance` and `explore`.

use std::time::Duration;

use hearthgate_client::{DiscoveryOptions, Endpoint, Trust};
use hearthgate_protocol::limits::TOKEN_PORT;
use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::variants::{Dialect, KeyForm, Variants, Wire};
use tokio::time::Instant;

use hearthgate_protocol::crypto::KeyText;

/// The time of one layer where none is given.
pub const LAYER_TIMEOUT: Duration = Duration::from_secs(5);
/// The time in which an event is waited for where none is given.
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for all layers before the event, at a layer's time of [`LAYER_TIMEOUT`] or less.
const BUDGET: Duration = Duration::from_secs(23);
/// The longest that any of these times is taken for.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Where the gateway is.
#[derive(Clone, Debug)]
pub enum Target {
    /// At an address.
    Address(Endpoint),
    /// Where its advertisements come from.
    Uuid {
        /// Its uuid.
        uuid: String,
        /// Where to listen.
        listen: DiscoveryOptions,
        /// The request path; `/` where there is none.
        path: Option<String>,
        /// Whether it speaks TLS.
        secure: bool,
    },
}

/// How to diagnose. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which gateway.
    pub target: Target,
    /// The text of its key.
    pub key: KeyText,
    /// Which protocol it speaks; in the older one (section 8) the key is an API key.
    pub dialect: Dialect,
    /// Which certificate is its own, where it speaks TLS.
    pub trust: Trust,
    /// The port of the older dialect's token endpoint.
    pub token_port: u16,
    /// How the text becomes 16 bytes.
    pub key_form: KeyForm,
    /// The wire encoding, where it is pinned.
    pub wire: Option<Wire>,
    /// Open choices of the protocol.
    pub variants: Variants,
    /// The time of each layer.
    pub timeout: Duration,
    /// The time in which an event is waited for.
    pub event_timeout: Duration,
    /// Whether the rules of the protocol are tried as well.
    pub conformance: bool,
    /// The device to which values that it already has may be written.
    pub write: Option<DeviceId>,
}

impl Options {
    /// Makes options of defaults.
    pub fn new(target: Target, key: KeyText) -> Self {
        Self {
            target,
            key,
            dialect: Dialect::default(),
            trust: Trust::default(),
            token_port: TOKEN_PORT,
            key_form: KeyForm::default(),
            wire: None,
            variants: Variants::default(),
            timeout: LAYER_TIMEOUT,
            event_timeout: EVENT_TIMEOUT,
            conformance: false,
            write: None,
        }
    }
}

/// The deadlines of one run: every layer has its time, and all together have theirs, under 30 s by
/// default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    layer: Duration,
    end: Instant,
}

impl Deadlines {
    /// Starts now.
    pub(crate) fn start(layer: Duration) -> Self {
        let layer = layer.min(LONGEST);
        // Who gives a layer more time gives all of them more.
        let share = layer.as_secs_f64() / LAYER_TIMEOUT.as_secs_f64();
        Self {
            layer,
            end: Instant::now() + BUDGET.mul_f64(share.max(1.0)),
        }
    }

    /// Returns until when a layer that begins now may take.
    pub(crate) fn layer(&self) -> Instant {
        self.at_most(self.layer)
    }

    /// Returns until when something that begins now and takes so long at most may take.
    pub(crate) fn at_most(&self, time: Duration) -> Instant {
        (Instant::now() + time.min(LONGEST)).min(self.end)
    }
}
