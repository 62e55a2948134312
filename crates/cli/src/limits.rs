//! The limits of a gateway as options: one place for the command line and the configuration file.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;
use hearthgate_gateway::{GatewayOptions, HANDSHAKES_MAX, SessionLimits};
use hearthgate_protocol::limits::{
    MESSAGE_MAX_BEFORE_AUTH, MESSAGE_MAX_CLIENT, MESSAGE_MAX_GATEWAY, REQUESTS_IN_FLIGHT,
    SESSIONS_MAX,
};

/// What a gateway takes of its sessions; its defaults where nothing is given.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct LimitOptions {
    /// The most sessions in all.
    #[arg(long, help_heading = "Limits", value_name = "NUMBER", help = format!("The most sessions in all; one more is closed with 1013 [default: {SESSIONS_MAX}]"))]
    pub(crate) max_sessions: Option<NonZeroUsize>,
    /// The most sessions from one address.
    #[arg(long, help_heading = "Limits", value_name = "NUMBER", help = format!("The most sessions from one address [default: {SESSIONS_MAX}]"))]
    pub(crate) max_sessions_per_address: Option<NonZeroUsize>,
    /// The most connections in the handshake.
    #[arg(long, help_heading = "Limits", value_name = "NUMBER", help = format!("The most connections in the handshake; one more ends the oldest of the address that has most of them [default: {HANDSHAKES_MAX}]"))]
    pub(crate) max_handshakes: Option<NonZeroUsize>,
    /// The largest message.
    #[arg(long, help_heading = "Limits", value_name = "BYTES", value_parser = message_size, help = format!("The largest message that a session may send, in bytes of JSON; a larger one closes it with 1009 [default: {MESSAGE_MAX_GATEWAY}]"))]
    pub(crate) max_message_size: Option<usize>,
    /// The most unanswered requests of a session.
    #[arg(long, help_heading = "Limits", value_name = "NUMBER", help = format!("The most requests of a session that wait for their answer; further ones wait to be read [default: {REQUESTS_IN_FLIGHT}]"))]
    pub(crate) max_requests_in_flight: Option<NonZeroUsize>,
    /// The most requests of a session in a second, after a quiet one all at once; further ones wait to be
    /// read, none is refused [default: no limit]
    #[arg(long, help_heading = "Limits", value_name = "NUMBER")]
    pub(crate) max_requests_per_second: Option<NonZeroU32>,
}

impl LimitOptions {
    /// Returns these, and the others where nothing is given here.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            max_sessions: self.max_sessions.or(other.max_sessions),
            max_sessions_per_address: self
                .max_sessions_per_address
                .or(other.max_sessions_per_address),
            max_handshakes: self.max_handshakes.or(other.max_handshakes),
            max_message_size: self.max_message_size.or(other.max_message_size),
            max_requests_in_flight: self.max_requests_in_flight.or(other.max_requests_in_flight),
            max_requests_per_second: self
                .max_requests_per_second
                .or(other.max_requests_per_second),
        }
    }

    /// Sets what is given in the options of a gateway.
    pub(crate) fn apply(self, options: &mut GatewayOptions) {
        let known = SessionLimits::default();
        let given = |limit: Option<NonZeroUsize>, known| limit.map_or(known, NonZeroUsize::get);
        options.limits = SessionLimits {
            total: given(self.max_sessions, known.total),
            per_address: given(self.max_sessions_per_address, known.per_address),
            handshakes: given(self.max_handshakes, known.handshakes),
            requests_in_flight: given(self.max_requests_in_flight, known.requests_in_flight),
            requests_per_second: self.max_requests_per_second,
        };
        if let Some(size) = self.max_message_size {
            options.connection.message_max = size;
        }
    }
}

fn message_size(text: &str) -> Result<usize, String> {
    let size = text
        .parse()
        .map_err(|_| "expected a number of bytes".to_owned())?;
    check_message_size(size)
}

/// Checks the largest message: room for the handshake, and no more than our own clients take.
pub(crate) fn check_message_size(size: usize) -> Result<usize, String> {
    if (MESSAGE_MAX_BEFORE_AUTH..=MESSAGE_MAX_CLIENT).contains(&size) {
        Ok(size)
    } else {
        Err(format!(
            "expected {MESSAGE_MAX_BEFORE_AUTH} to {MESSAGE_MAX_CLIENT} bytes"
        ))
    }
}
