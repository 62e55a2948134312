//! Keeping a connection for ever: connect, run, wait, and again.
//!
//! Input: the target (where and with what key), hints that the gateway was heard, and why each
//! connection ended. Output: one connection after the other for `link`, on the same channels, mirror and
//! feeds, so that handles and subscribers outlive them. When the next attempt may begin is decided by
//! `backoff`.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::backoff::{Advertised, Backoff, BackoffPhase, Ending};
use crate::connect;
use crate::context::{Context, Kept, Phase, Status, Synced};
use crate::dial::NetDial;
use crate::endpoint::Endpoint;
use crate::error::{ClientError, Fault, HANDSHAKE};
use crate::feed::Feed;
use crate::handle::Client;
use crate::link;
use crate::target::{Dial, KeepOptions, Target};

impl Client {
    /// Keeps a connection to a gateway until the client is closed or its last clone is dropped: lost
    /// ones are made again, for ever, with growing waits (see [`Backoff`]). Mirror, feed and handle stay
    /// the same throughout; after a reconnect the mirror is swapped in as a whole, and the feed carries
    /// only what really changed. Returns at once; [`Client::connected`] tells how the first attempt
    /// went.
    ///
    /// Requests fail at once while there is no connection; they are never repeated, since only the user
    /// knows whether a write may be. `targets` is read before each attempt and followed meanwhile; the
    /// newest value counts. Has to be called within a runtime.
    pub fn keep(targets: watch::Receiver<Target>, options: KeepOptions) -> (Self, Feed) {
        Self::keep_with(NetDial::default(), targets, options)
    }

    /// The same over streams that come from elsewhere, as tests and tunnels have them.
    pub fn keep_with<D: Dial>(
        dial: D,
        targets: watch::Receiver<Target>,
        options: KeepOptions,
    ) -> (Self, Feed) {
        let target = targets.borrow().clone();
        let name: Arc<str> = Arc::from(options.name.as_str());
        let options = options.bounded();
        let times = (options.connect_timeout, options.request_timeout);
        let (client, feed, mut context) = connect::ends(Arc::clone(&name), times, options.mirror);
        context.kept = Some(Kept {
            targets: targets.clone(),
            target: target.clone(),
            down: None,
            up_since: None,
        });
        let keeper = Keeper {
            dial,
            name,
            options,
            targets,
            target,
            hints: client.hints.subscribe(),
            context,
            backoff: Backoff::default(),
            attempt: 0,
            told: Told::default(),
        };
        tokio::spawn(keeper.run());
        (client, feed)
    }
}

struct Keeper<D> {
    dial: D,
    name: Arc<str>,
    options: KeepOptions,
    targets: watch::Receiver<Target>,
    /// What the last attempt went by.
    target: Target,
    /// One place: of several hints one is seen.
    hints: watch::Receiver<()>,
    context: Context,
    backoff: Backoff,
    /// Counts the attempts, to take the addresses in turn.
    attempt: usize,
    told: Told,
}

/// What was logged in this outage: each line once.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    down: bool,
    rejected: bool,
}

/// What comes after a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Attempt,
    Close,
}

impl<D: Dial> Keeper<D> {
    async fn run(mut self) {
        loop {
            self.target = self.targets.borrow_and_update().clone();
            let attempted = self.target.endpoint(self.attempt).is_some();
            let error = if attempted {
                self.attempt().await
            } else {
                ClientError::NotFound {
                    gateway: Arc::clone(&self.name),
                }
            };
            if matches!(error, ClientError::Closed { .. }) {
                return self.close(error);
            }
            self.lost(&error, attempted);
            if self.wait().await == Next::Close {
                let gateway = Arc::clone(&self.name);
                return self.close(ClientError::Closed { gateway });
            }
        }
    }

    /// Makes one attempt, runs the connection if it succeeds, and returns why it is over.
    async fn attempt(&mut self) -> ClientError {
        let Some(endpoint) = self.target.endpoint(self.attempt).cloned() else {
            return self.closed();
        };
        self.attempt = self.attempt.wrapping_add(1);
        self.backoff.started();
        let address = endpoint.to_string();
        self.context.gateway = if *self.name == *address {
            Arc::clone(&self.name)
        } else {
            Arc::from(format!("{} ({address})", self.name))
        };
        let options = self.target.options(endpoint, &self.options);
        let started = Instant::now();
        let deadline = started + options.connect_timeout;
        self.dial.prepare(&options);
        let stream = self.dial(&options.endpoint, deadline).await;
        let opened = stream.and_then(|(stream, is_loopback)| {
            let gateway = &self.context.gateway;
            let access = (is_loopback, self.dial.token());
            let connection = connect::connection(&options, gateway, access, started)?;
            Ok((stream, connection))
        });
        let (stream, connection) = match opened {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        if let Some(kept) = &mut self.context.kept {
            kept.target = self.target.clone();
            kept.up_since = None;
        }
        let (error, mut remains) = link::run(stream, connection, &mut self.context).await;
        if matches!(error, ClientError::Closed { .. }) {
            // Who closes may end the program next, so the other side has to have it before.
            remains.flush().await;
            remains.linger().await;
            tracing::info!(gateway = %self.context.gateway, "closed");
            return error;
        }
        // The next connection does not wait for the last one's farewell, 4 s at most.
        tokio::spawn(async move {
            remains.flush().await;
            remains.linger().await;
        });
        self.dial.explain(error).await
    }

    /// Opens a stream. Requests that come meanwhile wait the first time, later they fail.
    async fn dial(
        &mut self,
        endpoint: &Endpoint,
        deadline: Instant,
    ) -> Result<(D::Stream, bool), ClientError> {
        let context = &mut self.context;
        let gateway = Arc::clone(&context.gateway);
        let down = context.kept.as_ref().and_then(|kept| kept.down.clone());
        let dialling = timeout_at(deadline, self.dial.dial(endpoint, &gateway, deadline));
        tokio::pin!(dialling);
        loop {
            tokio::select! {
                dialled = &mut dialling => {
                    return dialled.unwrap_or_else(|_| Err(ClientError::Timeout {
                        gateway: Arc::clone(&gateway),
                        what: HANDSHAKE,
                        after: self.options.connect_timeout,
                    }));
                }
                () = closing(&context.close, &context.status) => {
                    let gateway = Arc::clone(&gateway);
                    return Err(ClientError::Closed { gateway });
                }
                Some(command) = context.commands.recv(), if down.is_some() => {
                    if let Some(reason) = &down {
                        command.refuse(&self.name, reason);
                    }
                }
            }
        }
    }

    /// Tells everybody that there is no connection, and why.
    fn lost(&mut self, error: &ClientError, attempted: bool) {
        let up_since = self
            .context
            .kept
            .as_mut()
            .and_then(|kept| kept.up_since.take());
        if let Some(since) = up_since {
            self.backoff.connected(since);
            self.told = Told::default();
            self.attempt = 0;
        }
        let rejected = error.fault() == Fault::Authentication;
        if attempted {
            let ending = if rejected {
                Ending::KeyRejected
            } else {
                Ending::Lost
            };
            let random = self.dial.random();
            self.backoff.ended(link::now(), ending, random);
        }
        if rejected && !self.told.rejected {
            tracing::warn!(
                "{error}; it is tried again every 30 s, and at once when the key is changed"
            );
            self.told.rejected = true;
        } else if !rejected && !self.told.down {
            tracing::warn!("{error}; connecting again until it succeeds");
            self.told.down = true;
        } else {
            tracing::debug!("{error}");
        }
        let context = &mut self.context;
        if let Some(kept) = &mut context.kept {
            kept.down = Some(error.clone());
        }
        context.feeds.down(Arc::new(error.clone()));
        context.status.send_modify(|status| {
            status.phase = Phase::Down(error.clone());
            status.synced = Synced::NotYet;
        });
        // What was handed over in the moment before.
        while let Ok(command) = context.commands.try_recv() {
            command.refuse(&self.name, error);
        }
    }

    /// Waits until the next attempt may begin.
    async fn wait(&mut self) -> Next {
        // Hints from before, when there was a connection, say nothing about now.
        self.hints.mark_unchanged();
        let reason = match &self.context.status.borrow().phase {
            Phase::Down(error) => error.clone(),
            Phase::Connecting | Phase::Up => self.closed(),
        };
        loop {
            let newest = self.targets.borrow_and_update().clone();
            if newest.differs(&self.target) {
                self.backoff.key_changed();
                self.attempt = 0;
                return Next::Attempt;
            }
            if newest.found != self.target.found {
                let known = std::mem::replace(&mut self.target.found, newest.found);
                let is_new = |endpoint: &Endpoint| !known.contains(endpoint);
                // Not each time: forged addresses would keep the right one from its turn.
                if self.backoff.wake(link::now(), Advertised::ChangedAddress)
                    && let Some(new) = self.target.found.iter().position(is_new)
                {
                    self.attempt = new;
                }
            }
            let due = match self.backoff.phase() {
                _ if self.target.endpoint(0).is_none() => None,
                BackoffPhase::Waiting { until, .. } if until > link::now() => Some(until),
                _ => return Next::Attempt,
            };
            let until = due.map_or_else(|| Instant::now() + FOREVER, Instant::from_std);
            let context = &mut self.context;
            tokio::select! {
                () = sleep_until(until) => {}
                () = changed(&mut self.targets) => {}
                () = changed(&mut self.hints) => {
                    self.backoff.wake(link::now(), Advertised::SameAddress);
                }
                () = closing(&context.close, &context.status) => return Next::Close,
                Some(command) = context.commands.recv() => command.refuse(&self.name, &reason),
            }
        }
    }

    fn closed(&self) -> ClientError {
        ClientError::Closed {
            gateway: Arc::clone(&self.name),
        }
    }

    fn close(self, error: ClientError) {
        connect::tell(&self.context, error);
    }
}

/// Waits until the client is closed, or no handle is left.
async fn closing(close: &Notify, status: &watch::Sender<Status>) {
    tokio::select! {
        () = close.notified() => {}
        () = status.closed() => {}
    }
}

/// Waits for a newer value; for ever where nobody is left to send one.
async fn changed<T>(values: &mut watch::Receiver<T>) {
    if values.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A wait without an end of its own; it is looked at again after it.
const FOREVER: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
