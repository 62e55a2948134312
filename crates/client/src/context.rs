//! What lasts longer than a connection: the ends towards handles and subscribers.
//!
//! Made by `connect`, lent to `link` for as long as a connection lasts. Requests come in through
//! [`Context::commands`]; the state goes out through [`Context::status`], the rest through
//! [`Context::feeds`].

use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::variants::Wire;
use hearthgate_protocol::wire::{RemoteError, Request};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::error::ClientError;
use crate::feed::Feeds;

/// Requests that wait between handles and link. When it is full the caller waits, within the time
/// that its request has.
pub(crate) const COMMANDS: usize = 1024;
/// A request of a handle, and where its answer goes. Who asks keeps the deadline.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// The `result` of an answer as JSON text, the gateway's error, or why there is no answer.
pub(crate) type Answer = Result<Result<String, RemoteError>, ClientError>;

/// The state of a connection, as handles see it.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    /// The wire encoding, once `phase` is `Up`.
    pub(crate) wire: Wire,
    pub(crate) synced: Synced,
}

#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Connecting,
    Up,
    Down(ClientError),
}

/// Whether the mirror is filled.
#[derive(Clone, Debug)]
pub(crate) enum Synced {
    NotYet,
    Done,
    Failed(ClientError),
}

/// What outlives a connection: its ends towards the handles and the subscribers.
#[derive(Debug)]
pub(crate) struct Context {
    /// The gateway, for messages to people.
    pub(crate) gateway: Arc<str>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) close: Arc<Notify>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) feeds: Arc<Feeds>,
}
