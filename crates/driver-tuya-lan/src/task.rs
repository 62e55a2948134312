//! One task per connection: dials, waits, and carries out what [`Host`] and [`Dial`] decide.
//!
//! Input are frames, orders of the registry, announcements and time; output goes to an [`Outlet`].
//! Nothing here waits for another connection.

use std::sync::Arc;
use std::time::Duration;

use hearthgate_gateway::CommandFault;
use hearthgate_protocol::model::{Change, DeviceId, Reading};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::config::Direct;
use crate::dial::Dial;
use crate::host::Host;
use crate::link::{Boxed, Cause, Connector, Link, LinkEvent, Target};
use crate::sightings::Sighting;
use crate::unit::Action;

/// How long a device may stay unheard before that is said.
const UNHEARD: Duration = Duration::from_secs(30);
/// The least time between two attempts, whatever announces itself.
const LEAST_WAIT: Duration = Duration::from_secs(2);

/// Where changes and answers go.
pub(crate) trait Outlet: Send + 'static {
    /// What an order is answered by.
    type Ack: Send;

    /// Reports changes, in order.
    fn report(&self, changes: Vec<Change>) -> Boxed<'_, ()>;

    /// Reports changes, then says that the order was carried out.
    fn succeed(&self, changes: Vec<Change>, ack: Self::Ack) -> Boxed<'_, ()>;

    /// Says why an order was not carried out.
    fn fail(&self, ack: Self::Ack, fault: CommandFault);
}

/// A write for a device of this connection.
#[derive(Debug)]
pub(crate) struct Order<A> {
    pub(crate) device: DeviceId,
    pub(crate) readings: Vec<Reading>,
    pub(crate) ack: A,
}

/// What a task works with.
pub(crate) struct Task<O: Outlet> {
    pub(crate) id: DeviceId,
    pub(crate) direct: Direct,
    pub(crate) host: Host<O::Ack>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) outlet: O,
    pub(crate) orders: mpsc::Receiver<Order<O::Ack>>,
    /// Where the device was last heard.
    pub(crate) sighted: watch::Receiver<Option<Sighting>>,
    pub(crate) stop: CancellationToken,
}

impl<O: Outlet> Task<O> {
    /// Runs until it is stopped or nobody is left to order anything.
    pub(crate) async fn run(self) {
        let began = Instant::now();
        let dial = Dial::new(&self.direct);
        let mut running = Running {
            task: self,
            dial,
            link: None,
            dialled_at: None,
            dial_at: began,
            unheard_at: Some(began + UNHEARD),
            told: None,
        };
        running.run().await;
        if let Some(link) = running.link.take() {
            link.close().await;
        }
    }
}

struct Running<O: Outlet> {
    task: Task<O>,
    dial: Dial,
    link: Option<Box<dyn Link>>,
    /// The address of the connection, while there is one.
    dialled_at: Option<String>,
    /// When the next attempt is due, while there is none.
    dial_at: Instant,
    /// When it is to be said that an address is not known.
    unheard_at: Option<Instant>,
    /// What was last said to be wrong.
    told: Option<Cause>,
}

enum Input<A> {
    Stop,
    Link(LinkEvent),
    Order(Order<A>),
    Sighted,
    Time,
}

impl<O: Outlet> Running<O> {
    async fn run(&mut self) {
        self.heed_sighting();
        loop {
            self.dial_if_due();
            let input = self.input().await;
            let now = Instant::now();
            let host = &mut self.task.host;
            let actions = match input {
                Input::Stop => return,
                Input::Link(LinkEvent::Up) => {
                    let (version, dialect, may_switch) = self.dial.speech();
                    host.up(now, version, dialect, may_switch)
                }
                Input::Link(LinkEvent::Frame(frame)) => host.frame(now, &frame),
                Input::Link(LinkEvent::Garbled) => host.garbled(),
                Input::Link(LinkEvent::Missed) => host.missed(),
                Input::Link(LinkEvent::Down(cause)) => {
                    self.end_link(cause).await;
                    continue;
                }
                Input::Order(Order {
                    device,
                    readings,
                    ack,
                }) => host.order(now, &device, readings, ack),
                Input::Sighted => {
                    self.heed_sighting();
                    Vec::new()
                }
                Input::Time => {
                    let actions = host.tick(now);
                    self.say_unheard(now);
                    actions
                }
            };
            if self.task.host.is_understood() {
                self.dial.worked();
                self.told = None;
            }
            if let Some(cause) = self.carry_out(actions).await {
                self.end_link(cause).await;
            }
        }
    }

    async fn input(&mut self) -> Input<O::Ack> {
        let is_waiting = self.link.is_none() && self.address().is_some();
        let dial_at = is_waiting.then_some(self.dial_at);
        let due = [self.task.host.deadline(), dial_at, self.unheard_at];
        let due = due.into_iter().flatten().min();
        let link = async {
            match &mut self.link {
                Some(link) => link.next().await,
                None => std::future::pending().await,
            }
        };
        let time = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.task.stop.cancelled() => Input::Stop,
            event = link => Input::Link(event),
            order = self.task.orders.recv() => order.map_or(Input::Stop, Input::Order),
            Ok(()) = self.task.sighted.changed() => Input::Sighted,
            () = time => Input::Time,
        }
    }

    /// Carries actions out; returns why the connection is to be given up, if it is.
    async fn carry_out(&mut self, actions: Vec<Action<O::Ack>>) -> Option<Cause> {
        let mut given_up = None;
        for action in actions {
            match action {
                Action::Send(request) => {
                    if let Some(link) = &mut self.link {
                        link.send(request).await;
                    }
                }
                Action::Report(changes) => self.task.outlet.report(changes).await,
                Action::Succeed(changes, ack) => self.task.outlet.succeed(changes, ack).await,
                Action::Fail(ack, fault) => self.task.outlet.fail(ack, fault),
                Action::GiveUp(cause) => given_up = Some(cause),
            }
        }
        given_up
    }

    fn address(&self) -> Option<String> {
        let sighted = || {
            self.task
                .sighted
                .borrow()
                .as_ref()
                .map(|s| s.address.to_string())
        };
        self.task.direct.host.clone().or_else(sighted)
    }

    fn dial_if_due(&mut self) {
        if self.link.is_some() || self.dial_at > Instant::now() {
            return;
        }
        let Some(host) = self.address() else {
            return;
        };
        self.unheard_at = None;
        let (version, dialect, _) = self.dial.speech();
        debug!(
            "{}: dialling {host} as version {version}",
            self.task.host.title()
        );
        self.dialled_at = Some(host.clone());
        self.link = Some(self.task.connector.open(Target {
            id: self.task.id.as_str().to_owned(),
            key: self.task.direct.key.clone(),
            host,
            port: self.task.direct.port,
            version,
            dialect,
        }));
    }

    async fn end_link(&mut self, cause: Cause) {
        let now = Instant::now();
        // Whoever goes before it has said anything sensible has not understood, or was not understood.
        let cause = match cause {
            Cause::Lost if !self.task.host.is_understood() => Cause::NotUnderstood,
            cause => cause,
        };
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        let wait = self.dial.ended(&cause);
        self.dial_at = now + wait;
        debug!("{}: {cause:?}, again in {wait:?}", self.task.host.title());
        self.say(cause);
        let actions = self.task.host.down(now);
        // Without a connection there is none to give up.
        let _ = self.carry_out(actions).await;
    }

    /// Says what is wrong, once.
    fn say(&mut self, cause: Cause) {
        if self.told.as_ref() == Some(&cause) {
            return;
        }
        let title = self.task.host.title();
        let at = self.dialled_at.as_deref().unwrap_or("?");
        let port = self.task.direct.port;
        let (id, version) = (&self.task.id, self.task.direct.version);
        match &cause {
            Cause::Unreachable(reason) => warn!(
                "{title}: cannot be reached at {at} port {port}: {reason}. Check its address and its power; trying on"
            ),
            // One of several guesses is no news.
            Cause::NotUnderstood
                if version.is_none() && self.dial_at < Instant::now() + LEAST_WAIT =>
            {
                return;
            }
            Cause::NotUnderstood => warn!(
                "{title}: takes connections at {at} port {port} and does not understand {}: its key{} is wrong, \
                 or others hold its few connections. `hearthgate lan try {id}` finds out which; trying on",
                version.map_or("any version".to_owned(), |version| format!(
                    "version {version}"
                )),
                if version.is_some() {
                    " or its version"
                } else {
                    ""
                },
            ),
            Cause::Device22 | Cause::Lost => return,
        }
        self.told = Some(cause);
    }

    fn say_unheard(&mut self, now: Instant) {
        if self.unheard_at.is_some_and(|at| at <= now) {
            self.unheard_at = None;
            warn!(
                "{}: has not announced itself yet. Check that it is on and in this network, or give its address",
                self.task.host.title()
            );
        }
    }

    /// Goes by where the device was heard.
    fn heed_sighting(&mut self) {
        let Some(sighting) = self.task.sighted.borrow_and_update().clone() else {
            return;
        };
        if let Some(version) = sighting.version {
            self.dial.heard(version);
        }
        // It is on: a device that could not be reached may be reached now. A wrong key stays wrong.
        if self.link.is_none() && !matches!(self.told, Some(Cause::NotUnderstood)) {
            self.dial_at = self.dial_at.min(Instant::now() + LEAST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests;
