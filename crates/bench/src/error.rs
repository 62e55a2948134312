//! What can go wrong with a load.

use std::io;
use std::time::Duration;

use hearthgate_client::{ClientError, TlsFault};
use hearthgate_hub::HubError;
use hearthgate_protocol::error::Ended;
use hearthgate_protocol::wire::RemoteError;

/// Why a load was not made, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The gateway is on another machine and nobody said that it may be loaded.
    #[error(
        "{gateway} is not on this machine: a load can disturb its home. Say --allow-remote if it is yours"
    )]
    Remote {
        /// Where it is.
        gateway: String,
    },
    /// The older dialect.
    #[error(
        "loads are made in the dialect of device keys only: leave out --dialect 2023 and give the device key"
    )]
    OlderDialect,
    /// TCP did not connect.
    #[error("cannot connect to {gateway}: {cause}{}", hint(cause))]
    Connect {
        /// Where.
        gateway: String,
        /// What the system says.
        cause: io::Error,
    },
    /// TLS failed.
    #[error("no TLS with {gateway}: {fault}")]
    Tls {
        /// Where.
        gateway: String,
        /// Why.
        fault: TlsFault,
    },
    /// A session ended in the middle of the load.
    #[error("a session with {gateway} ended: {reason}{}", ended_hint(reason))]
    Ended {
        /// With whom.
        gateway: String,
        /// Why.
        reason: Ended,
    },
    /// The gateway refused a request of the load.
    #[error("{gateway} refused a request of the load: {error}")]
    Refused {
        /// Who.
        gateway: String,
        /// What it says.
        error: RemoteError,
    },
    /// An answer or event did not come.
    #[error("no {what} from {gateway} within {after:?}")]
    Silent {
        /// Who was asked.
        gateway: String,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        after: Duration,
    },
    /// A message that cannot be.
    #[error("{gateway} sent {what}")]
    Odd {
        /// Who.
        gateway: String,
        /// What.
        what: String,
    },
    /// There is nothing to ask for.
    #[error("{gateway} has no devices: there is nothing to ask for")]
    NoDevices {
        /// Who.
        gateway: String,
    },
    /// The device to be written has no value.
    #[error(
        "device {device} has no value that can be written back: choose one that `hearthgate status` and \
         `hearthgate schema` show with a writable value"
    )]
    NothingToWrite {
        /// Which.
        device: String,
    },
    /// The client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The hub failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

fn hint(cause: &io::Error) -> &'static str {
    match cause.raw_os_error() {
        // EMFILE, on every system that has it.
        Some(24) => "; raise the limit of open files (ulimit -n), or take fewer --sessions",
        _ if cause.kind() == io::ErrorKind::ConnectionRefused => "; is the gateway running?",
        _ => "",
    }
}

fn ended_hint(reason: &Ended) -> &'static str {
    match reason {
        Ended::Peer { reason, .. } if reason.starts_with("too many") => {
            "; the gateway takes no more: fewer --sessions, or more there (--max-sessions)"
        }
        Ended::Authentication { .. } => "; is it the gateway's device key?",
        _ => "",
    }
}
