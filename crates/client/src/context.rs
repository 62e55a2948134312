//! What lasts longer than a connection: the ends towards handles and subscribers.
//!
//! Made by `connect`, lent to `link` for as long as a connection lasts. Requests come in through
//! [`Context::commands`]; the state goes out through [`Context::status`], the rest through
//! [`Context::feeds`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearthgate_protocol::variants::Wire;
use hearthgate_protocol::wire::{RemoteError, Request};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::error::ClientError;
use crate::feed::Feeds;
use crate::target::Target;

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
    /// What the gateway called itself, once `phase` was `Up`.
    pub(crate) uuid: Option<Arc<str>>,
    pub(crate) synced: Synced,
    /// Whether no other connection follows.
    pub(crate) over: bool,
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
    /// What a keeper wants of a connection; nothing where it is made once.
    pub(crate) kept: Option<Kept>,
}

/// What a keeper and the link of the moment tell each other.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) targets: watch::Receiver<Target>,
    /// What this connection was made with.
    pub(crate) target: Target,
    /// Why requests fail at once until the handshake is done; at first they wait for it.
    pub(crate) down: Option<ClientError>,
    /// Since when the handshake is done.
    pub(crate) up_since: Option<Instant>,
}

impl Kept {
    /// Waits until a connection has to be made with other settings than this one was.
    pub(crate) async fn superseded(&mut self) {
        while !self.targets.borrow_and_update().differs(&self.target) {
            if self.targets.changed().await.is_err() {
                // Nobody is left to change anything.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Command {
    /// Answers that there is no connection.
    pub(crate) fn refuse(self, gateway: &Arc<str>, reason: &ClientError) {
        // Who gave up does not hear of it.
        let _ = self.reply.send(Err(ClientError::down(gateway, reason)));
    }
}
