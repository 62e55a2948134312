//! What a program holds of a connection: requests, the mirror, the feed, the end.
//!
//! Input are calls from any task; they go to `link` through a bounded channel and their answers come
//! back one by one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hearthgate_protocol::error::Ended;
use hearthgate_protocol::limits::DEVICES_PER_REQUEST;
use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::variants::Wire;
use hearthgate_protocol::wire::{
    DeviceWrite, RemoteError, Request, SchemaEntry, ShapeError, StatusEntry, parse_devices,
    parse_schemas, parse_statuses, split_array,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::context::{Answer, Command, Phase, Status, Synced};
use crate::error::ClientError;
use crate::feed::{Feed, Feeds};
use crate::mirror::Mirror;

/// Slices of a long request that are under way at a time.
const SLICES: usize = 4;

/// A connection to a gateway, cheap to clone, to be used from any task.
///
/// When the last clone is dropped the connection is closed with code 1000, in the background: a program
/// that ends calls [`Client::close`] before, so that the gateway hears of it. Once it ended, by whichever
/// side, every request fails with the reason; [`Client::connect`] makes a new one. One that is made by
/// [`Client::keep`] connects again by itself, for ever; requests fail while there is no connection.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) gateway: Arc<str>,
    pub(crate) request_timeout: Duration,
    /// Bounded: when it is full a request waits for its turn within its time.
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) close: Arc<Notify>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) feeds: Arc<Feeds>,
    /// Wakes a keeper; only the newest call counts.
    pub(crate) hints: watch::Sender<()>,
}

/// Whether there is a connection.
#[derive(Clone, Debug)]
pub enum LinkState {
    /// The first attempt has not been decided.
    Connecting,
    /// Both sides have proven that they know the key.
    Up,
    /// There is none, and why; a kept client tries again.
    Down(ClientError),
}

impl Client {
    /// Returns what messages call the gateway: its name or its address.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Returns the wire encoding in use, pinned or detected.
    pub fn wire(&self) -> Wire {
        self.status.borrow().wire
    }

    /// Returns the uuid that the gateway gave itself on the connection of the moment or the last one, if
    /// it did: our own do (section 3). None before both sides have proven that they know the key.
    pub fn gateway_uuid(&self) -> Option<Arc<str>> {
        self.status.borrow().uuid.clone()
    }

    /// Returns the mirror of the gateway's devices. Empty until [`Client::synced`], and for ever if
    /// [`ClientOptions::mirror`](crate::ClientOptions::mirror) is off.
    pub fn mirror(&self) -> &Mirror {
        self.feeds.mirror()
    }

    /// Returns a further feed: the snapshot of the mirror first if it is in sync, then all that
    /// happens.
    pub fn subscribe(&self) -> Feed {
        self.feeds.subscribe()
    }

    /// Returns whether there is a connection.
    pub fn state(&self) -> LinkState {
        match &self.status.borrow().phase {
            Phase::Connecting => LinkState::Connecting,
            Phase::Up => LinkState::Up,
            Phase::Down(error) => LinkState::Down(error.clone()),
        }
    }

    /// Waits until the first attempt is decided and tells whether there is a connection then.
    ///
    /// # Errors
    /// Why there is none; a kept client goes on trying.
    pub async fn connected(&self) -> Result<(), ClientError> {
        let mut status = self.status.clone();
        let decided = status
            .wait_for(|status| !matches!(status.phase, Phase::Connecting))
            .await
            .map(|status| status.phase.clone());
        match decided {
            Ok(Phase::Up) => Ok(()),
            Ok(Phase::Down(error)) => Err(error),
            Ok(Phase::Connecting) | Err(_) => Err(self.gone()),
        }
    }

    /// Tells a kept client that an advertisement of its gateway was heard from where it is known to
    /// be: that may end a wait early, as [`Backoff::wake`](crate::Backoff::wake) allows it. It never
    /// touches a connection or an attempt. One from elsewhere is told through
    /// [`Target::found`](crate::Target::found).
    pub fn advertised(&self) {
        self.hints.send_replace(());
    }

    /// Waits until the mirror is in sync with the connection of the moment; at once where there is no
    /// mirror. A kept client without a connection makes it wait for the next one.
    ///
    /// # Errors
    /// Where the gateway cannot be read (it is tried again every 30 s while the connection lasts), or
    /// the connection ended for good before.
    pub async fn synced(&self) -> Result<(), ClientError> {
        if !self.feeds.mirrored() {
            return Ok(());
        }
        let mut status = self.status.clone();
        let settled = status
            .wait_for(|status| status.over || !matches!(status.synced, Synced::NotYet))
            .await;
        match settled.map(|status| (status.synced.clone(), status.phase.clone())) {
            Ok((Synced::Done, _)) => Ok(()),
            Ok((Synced::Failed(error), _) | (Synced::NotYet, Phase::Down(error))) => Err(error),
            Ok((Synced::NotYet, _)) | Err(_) => Err(self.gone()),
        }
    }

    /// Waits until the connection ended for good and returns why; [`ClientError::Closed`] where this
    /// side closed it, which is the only end of a kept client.
    pub async fn closed(&self) -> ClientError {
        let mut status = self.status.clone();
        // The task that sets the status does so before it ends.
        let _ = status.wait_for(|status| status.over).await;
        self.gone()
    }

    /// Closes with code 1000, for all clones, and waits until the gateway has it: 4 s at most, where
    /// it does not answer. Requests that are under way fail.
    pub async fn close(&self) {
        self.close.notify_one();
        self.closed().await;
    }

    /// Returns the ids of all devices, in the gateway's order.
    ///
    /// # Errors
    /// As [`Client::request`], and where the answer has another shape.
    pub async fn devices(&self) -> Result<Vec<DeviceId>, ClientError> {
        let result = self.request(Request::GetDevices).await?;
        self.read("get_devices", &result, parse_devices)
    }

    /// Returns the JSON text of each element of the answer to `get_devices`, to the byte.
    ///
    /// # Errors
    /// As [`Client::devices`].
    pub async fn devices_json(&self) -> Result<Vec<String>, ClientError> {
        let result = self.request(Request::GetDevices).await?;
        self.read("get_devices", &result, split_array)
    }

    /// Returns the schemas of devices, in the order asked for. Long lists are asked in slices of 100
    /// (section 3).
    ///
    /// # Errors
    /// As [`Client::request`], and where an answer has another shape. One unknown device fails all.
    pub async fn schemas(&self, devices: &[DeviceId]) -> Result<Vec<SchemaEntry>, ClientError> {
        self.sliced(devices, Request::GetSchema, parse_schemas)
            .await
    }

    /// Returns the JSON text of each element of the answer to `get_schema`, to the byte.
    ///
    /// # Errors
    /// As [`Client::schemas`].
    pub async fn schemas_json(&self, devices: &[DeviceId]) -> Result<Vec<String>, ClientError> {
        self.sliced(devices, Request::GetSchema, split_array).await
    }

    /// Returns reachability and values of devices, in the order asked for. Long lists are asked in
    /// slices of 100 (section 3).
    ///
    /// # Errors
    /// As [`Client::request`], and where an answer has another shape. One unknown device fails all.
    pub async fn statuses(&self, devices: &[DeviceId]) -> Result<Vec<StatusEntry>, ClientError> {
        self.sliced(devices, Request::GetStatus, parse_statuses)
            .await
    }

    /// Returns the JSON text of each element of the answer to `get_status`, to the byte.
    ///
    /// # Errors
    /// As [`Client::statuses`].
    pub async fn statuses_json(&self, devices: &[DeviceId]) -> Result<Vec<String>, ClientError> {
        self.sliced(devices, Request::GetStatus, split_array).await
    }

    /// Writes data points; the gateway checks all of it before it does any (section 5). Returns the
    /// JSON text of `result`, empty where there is none. The new state comes as an event.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn set(&self, writes: Vec<DeviceWrite>) -> Result<String, ClientError> {
        self.request(Request::SetValue(writes)).await
    }

    /// The same, with a refusal of the gateway apart from whatever else can fail.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn try_set(
        &self,
        writes: Vec<DeviceWrite>,
    ) -> Result<Result<String, RemoteError>, ClientError> {
        self.try_request(Request::SetValue(writes)).await
    }

    /// Sends a request and returns the JSON text of `result`, empty where there is none. Requests
    /// may be made in any number at once; each has
    /// [`ClientOptions::request_timeout`](crate::ClientOptions::request_timeout) for waiting its turn
    /// and for its answer. Dropping it gives up the answer, not a write that was sent.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the gateway's code and message, [`ClientError::Timeout`], or why
    /// there is no connection.
    pub async fn request(&self, request: Request) -> Result<String, ClientError> {
        let outcome = self.try_request(request).await?;
        outcome.map_err(|error| self.refused(error))
    }

    /// The same, with a refusal of the gateway apart from whatever else can fail.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn try_request(
        &self,
        request: Request,
    ) -> Result<Result<String, RemoteError>, ClientError> {
        self.send(request).await?.answer(self).await
    }

    /// Hands a request to the link.
    async fn send(&self, request: Request) -> Result<Sent, ClientError> {
        let deadline = Instant::now() + self.request_timeout;
        let what = request.name();
        let (reply, answer) = oneshot::channel();
        let command = Command { request, reply };
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        match timeout_at(deadline, self.commands.send(command)).await {
            Ok(Ok(())) => Ok(Sent {
                what,
                deadline,
                answer,
            }),
            Ok(Err(_)) => Err(self.gone()),
            Err(_) => Err(self.late(what)),
        }
    }

    /// Asks in slices, a few at a time, and joins the answers in order.
    async fn sliced<T>(
        &self,
        devices: &[DeviceId],
        request: impl Fn(Vec<DeviceId>) -> Request,
        parse: impl Fn(&str) -> Result<Vec<T>, ShapeError>,
    ) -> Result<Vec<T>, ClientError> {
        let mut slices = devices.chunks(DEVICES_PER_REQUEST);
        let mut sent = VecDeque::with_capacity(SLICES);
        let mut all = Vec::with_capacity(devices.len());
        loop {
            while sent.len() < SLICES
                && let Some(slice) = slices.next()
            {
                sent.push_back(self.send(request(slice.to_vec())).await?);
            }
            let Some(first) = sent.pop_front() else {
                return Ok(all);
            };
            let what = first.what;
            let outcome = first.answer(self).await?;
            let result = outcome.map_err(|error| self.refused(error))?;
            all.extend(self.read(what, &result, &parse)?);
        }
    }

    fn read<T>(
        &self,
        request: &'static str,
        result: &str,
        parse: impl Fn(&str) -> Result<T, ShapeError>,
    ) -> Result<T, ClientError> {
        parse(result).map_err(|error| ClientError::BadAnswer {
            gateway: Arc::clone(&self.gateway),
            request,
            problem: error.to_string(),
        })
    }

    fn refused(&self, error: RemoteError) -> ClientError {
        ClientError::Refused {
            gateway: Arc::clone(&self.gateway),
            error,
        }
    }

    fn late(&self, what: &'static str) -> ClientError {
        ClientError::Timeout {
            gateway: Arc::clone(&self.gateway),
            what,
            after: self.request_timeout,
        }
    }

    /// Returns why a request need not be sent at all: a kept client has no connection.
    fn refusal(&self) -> Option<ClientError> {
        let status = self.status.borrow();
        match &status.phase {
            Phase::Down(reason) if !status.over => Some(ClientError::down(&self.gateway, reason)),
            _ => None,
        }
    }

    /// Returns why there is no connection.
    pub(crate) fn gone(&self) -> ClientError {
        match &self.status.borrow().phase {
            Phase::Down(error) => error.clone(),
            // The runtime was shut down and took the link with it.
            Phase::Connecting | Phase::Up => ClientError::Ended {
                gateway: Arc::clone(&self.gateway),
                ended: Ended::Lost,
                ready: true,
            },
        }
    }
}

/// A request on its way.
struct Sent {
    what: &'static str,
    deadline: Instant,
    answer: oneshot::Receiver<Answer>,
}

impl Sent {
    async fn answer(self, client: &Client) -> Answer {
        match timeout_at(self.deadline, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(client.gone()),
            Err(_) => Err(client.late(self.what)),
        }
    }
}
