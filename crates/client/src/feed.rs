//! What a subscriber reads: the snapshot and then the changes, down one ordered stream.
//!
//! Input comes from the link alone, which is never held up: `Feeds` writes the mirror and fills the
//! queue of each subscriber under one lock, so that what a snapshot shows and what follows it fit
//! together exactly. Output is read item by item from a `Feed`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hearthgate_protocol::limits::MESSAGE_MAX_CLIENT;
use hearthgate_protocol::model::{
    Applied, Change, Device, DeviceId, Home, Reading, Source, Stamp, Timestamp,
};
use hearthgate_protocol::wire::{Event, EventKind};
use parking_lot::Mutex;

use crate::error::ClientError;
use crate::mirror::{self, Commit, Mirror, MirrorWriter};

/// The most items that wait for a subscriber. One more, and the backlog is dropped: the subscriber
/// is told so by [`FeedItem::Missed`] and gets the mirror's snapshot again.
pub const BACKLOG_ITEMS: usize = 4096;
/// About the most bytes that wait for a subscriber, with the same consequence.
pub const BACKLOG_BYTES: usize = MESSAGE_MAX_CLIENT;

/// One item of a [`Feed`].
#[derive(Clone, Debug)]
pub enum FeedItem {
    /// A snapshot of all devices begins: forget what was known.
    Init,
    /// One device of the snapshot.
    InitApply(Device),
    /// The snapshot is complete; what follows changes it.
    InitDone,
    /// An event, as it came: also one that changes nothing, a second press of the same button. The
    /// mirror has it already.
    Event {
        /// The event.
        event: Event,
        /// The message's JSON text to the byte, if [`ClientOptions::keep_json`] asks for it.
        ///
        /// [`ClientOptions::keep_json`]: crate::ClientOptions::keep_json
        json: Option<String>,
        /// When it came.
        at: Timestamp,
        /// What it did to the mirror. [`Applied::UnknownDevice`] where the mirror does not have the
        /// device (yet), or where there is no mirror; [`Applied::Same`] where the event itself
        /// carries no state.
        applied: Applied,
    },
    /// A device is new or differs, as was found by reading, not told by an event.
    Upsert(Device),
    /// A device is gone, as was found by reading.
    Delete(DeviceId),
    /// This subscriber was too slow: so many items were dropped. A snapshot of the mirror follows,
    /// if there is a mirror and it is in sync; the events in between are lost.
    Missed {
        /// How many items.
        items: u64,
    },
    /// The connection ended, or could not be made. The mirror keeps what was last known, as
    /// [`Source::Cache`](hearthgate_protocol::model::Source::Cache). A kept client
    /// ([`Client::keep`](crate::Client::keep)) goes on after it, and says so once per outage; again
    /// only where the reason becomes one of another kind, such as a rejected key.
    Down(Arc<ClientError>),
    /// A kept client has a connection (again). Events may follow at once; what changed while there was
    /// none follows as it is read, up to [`FeedItem::Synced`].
    Up,
    /// After a reconnect: the mirror is the gateway's state again, and this feed has told all of it.
    /// The first time [`FeedItem::InitDone`] says so.
    Synced,
}

impl FeedItem {
    /// Makes a copy of the mirror what it is after this item: for whoever needs one that is exactly as
    /// far as the feed was read. From `Init` to `InitDone` it is in the making.
    pub fn apply_to(&self, home: &mut Home) -> Applied {
        // Devices bring their own stamps; this one goes unused.
        let unused = Stamp {
            at: Timestamp::default(),
            source: Source::Read,
        };
        match self {
            Self::Init => *home = Home::default(),
            Self::InitApply(device) | Self::Upsert(device) => {
                return home.apply(&Change::Upsert(device.clone()), unused);
            }
            Self::Delete(device) => return home.apply(&Change::Remove(device.clone()), unused),
            Self::Event { event, at, .. } => {
                let stamp = Stamp {
                    at: *at,
                    source: Source::Event,
                };
                let update = event.kind.update();
                return update.map_or(Applied::Same, |update| home.update(update, stamp));
            }
            Self::Down(_) => mirror::remember(home),
            Self::InitDone | Self::Missed { .. } | Self::Up | Self::Synced => {}
        }
        Applied::Same
    }
}

/// An ordered stream of snapshot and changes; see [`FeedItem`].
///
/// It buffers at most [`BACKLOG_ITEMS`] items and about [`BACKLOG_BYTES`] bytes. Reading it late or
/// never slows nobody else. It does not keep the connection open.
#[derive(Debug)]
pub struct Feed {
    feeds: Arc<Feeds>,
    key: u64,
    /// Items that come before those in the queue.
    first: Ready,
}

impl Feed {
    /// Returns the next item; `None` after the last one, when the connection is over for good. May be
    /// dropped while it waits without losing anything.
    pub async fn next(&mut self) -> Option<FeedItem> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// Returns how many items wait to be read, a snapshot counting as one.
    pub fn waiting(&self) -> usize {
        let state = self.feeds.state.lock();
        let mut queues = state.queues.iter();
        let queue = queues.find(|(key, _)| *key == self.key);
        queue.map_or(0, |(_, queue)| queue.entries.len())
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<FeedItem>> {
        loop {
            if let Some(item) = self.first.next() {
                return Poll::Ready(Some(item));
            }
            let mut state = self.feeds.state.lock();
            let state = &mut *state;
            let mut queues = state.queues.iter_mut();
            let Some((_, queue)) = queues.find(|(key, _)| *key == self.key) else {
                return Poll::Ready(None);
            };
            if queue.missed > 0 {
                let items = std::mem::take(&mut queue.missed);
                let snapshot = state.synced.then(|| Arc::new(self.feeds.mirror.devices()));
                let before = Some(FeedItem::Missed { items });
                self.first = Ready::new(before, snapshot, state.link.clone());
                continue;
            }
            match queue.entries.pop_front() {
                Some((Entry::Item(item), cost)) => {
                    queue.bytes = queue.bytes.saturating_sub(cost);
                    return Poll::Ready(Some(item));
                }
                Some((Entry::Snapshot(devices), _)) => {
                    self.first = Ready::new(None, Some(devices), None);
                }
                None if state.over => return Poll::Ready(None),
                None => {
                    queue.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let mut state = self.feeds.state.lock();
        state.queues.retain(|(key, _)| *key != self.key);
    }
}

/// All subscribers of one link, and the mirror's writer.
#[derive(Debug)]
pub(crate) struct Feeds {
    mirror: Mirror,
    mirrored: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    writer: MirrorWriter,
    /// Whether the mirror was ever in sync.
    synced: bool,
    /// Whether what was read since the connection was made is in the mirror.
    current: bool,
    /// What a new subscriber is told of the connection: `Up`, `Down`, or nothing.
    link: Option<FeedItem>,
    /// Whether nothing comes any more.
    over: bool,
    /// By key: few, so that looking through them beats any table.
    queues: Vec<(u64, Queue)>,
    next_key: u64,
}

/// What waits for one subscriber: bounded, see [`BACKLOG_ITEMS`].
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    /// Items that were dropped since the queue ran over; while there are any, nothing is queued.
    missed: u64,
    waker: Option<Waker>,
}

#[derive(Clone, Debug)]
enum Entry {
    Item(FeedItem),
    /// `Init` to `InitDone`, shared by all subscribers.
    Snapshot(Arc<Vec<Device>>),
}

impl Feeds {
    /// Makes the feeds of a link with an empty mirror; `mirrored` is whether the link fills it.
    pub(crate) fn new(mirrored: bool) -> Arc<Self> {
        let (writer, mirror) = MirrorWriter::new();
        Arc::new(Self {
            mirror,
            mirrored,
            state: Mutex::new(State {
                writer,
                synced: false,
                current: false,
                link: None,
                over: false,
                queues: Vec::new(),
                next_key: 0,
            }),
        })
    }

    pub(crate) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Tells whether the link fills the mirror.
    pub(crate) fn mirrored(&self) -> bool {
        self.mirrored
    }

    /// Adds a subscriber, who gets a snapshot first if the mirror is in sync.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Feed {
        let mut state = self.state.lock();
        let snapshot = state.synced.then(|| Arc::new(self.mirror.devices()));
        let after = state.link.clone();
        let key = state.next_key;
        state.next_key += 1;
        state.queues.push((key, Queue::default()));
        Feed {
            feeds: Arc::clone(self),
            key,
            first: Ready::new(None, snapshot, after),
        }
    }

    /// Passes an event on, after the mirror took what it says; `note` is told what came of it, while
    /// everything else waits.
    pub(crate) fn event(
        &self,
        event: Event,
        json: Option<String>,
        stamp: Stamp,
        note: impl FnOnce(&Event, Applied),
    ) {
        let mut state = self.state.lock();
        let applied = match event.kind.update() {
            _ if !self.mirrored => Applied::UnknownDevice,
            Some(update) => state.writer.update(update, stamp),
            None => Applied::Same,
        };
        note(&event, applied);
        if state.queues.is_empty() {
            return;
        }
        let cost = json.as_ref().map_or(0, String::len) + event_cost(&event);
        let item = FeedItem::Event {
            event,
            json,
            at: stamp.at,
            applied,
        };
        state.push(Entry::Item(item), cost);
    }

    /// Swaps what a sync has read into the mirror. The first time every subscriber gets a snapshot,
    /// later what really changed.
    pub(crate) fn commit(&self, commit: Commit) {
        let mut state = self.state.lock();
        let differing = state.writer.commit(commit);
        let was_current = std::mem::replace(&mut state.current, true);
        if !state.synced {
            state.synced = true;
            if !state.queues.is_empty() {
                let devices = Arc::new(self.mirror.devices());
                state.push(Entry::Snapshot(devices), 0);
            }
            return;
        }
        for id in differing.gone {
            state.push(Entry::Item(FeedItem::Delete(id)), 0);
        }
        for device in differing.read {
            let cost = device_cost(&device);
            state.push(Entry::Item(FeedItem::Upsert(device)), cost);
        }
        if !was_current {
            state.push(Entry::Item(FeedItem::Synced), 0);
        }
    }

    /// Tells that a kept client has a connection.
    pub(crate) fn up(&self) {
        let mut state = self.state.lock();
        state.link = Some(FeedItem::Up);
        state.push(Entry::Item(FeedItem::Up), 0);
    }

    /// Tells that there is no connection. What the mirror holds is remembered from here on. The same
    /// kind of reason twice is told once.
    pub(crate) fn down(&self, error: Arc<ClientError>) {
        let mut state = self.state.lock();
        state.writer.remember();
        state.current = false;
        let news = match &state.link {
            Some(FeedItem::Down(before)) => before.fault() != error.fault(),
            _ => true,
        };
        let item = FeedItem::Down(error);
        state.link = Some(item.clone());
        if news {
            state.push(Entry::Item(item), 0);
        }
    }

    /// Ends all feeds, once they are read to the end.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.over = true;
        for (_, queue) in &mut state.queues {
            queue.wake();
        }
    }
}

impl State {
    fn push(&mut self, entry: Entry, cost: usize) {
        // Most links have one subscriber, who gets the entry without a copy.
        let Some(((_, first), others)) = self.queues.split_first_mut() else {
            return;
        };
        for (_, queue) in others {
            queue.push(entry.clone(), cost);
        }
        first.push(entry, cost);
    }
}

impl Queue {
    fn push(&mut self, entry: Entry, cost: usize) {
        if self.missed > 0 {
            self.missed += 1;
            return;
        }
        self.entries.push_back((entry, cost));
        self.bytes += cost;
        if self.entries.len() > BACKLOG_ITEMS || self.bytes > BACKLOG_BYTES {
            self.missed = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
            self.entries = VecDeque::new();
            self.bytes = 0;
            tracing::warn!(
                items = self.missed,
                "a subscriber reads too slowly: its backlog is dropped, a snapshot follows"
            );
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Items that are made as they are read: a snapshot, and what stands before and after it.
#[derive(Debug, Default)]
struct Ready {
    before: Option<FeedItem>,
    snapshot: Option<Arc<Vec<Device>>>,
    /// 0: `Init`, then the devices, counted from 1.
    position: usize,
    after: Option<FeedItem>,
}

impl Ready {
    fn new(
        before: Option<FeedItem>,
        snapshot: Option<Arc<Vec<Device>>>,
        after: Option<FeedItem>,
    ) -> Self {
        Self {
            before,
            snapshot,
            position: 0,
            after,
        }
    }

    fn next(&mut self) -> Option<FeedItem> {
        if let Some(item) = self.before.take() {
            return Some(item);
        }
        if let Some(devices) = &self.snapshot {
            let position = self.position;
            self.position += 1;
            let Some(before) = position.checked_sub(1) else {
                return Some(FeedItem::Init);
            };
            if let Some(device) = devices.get(before) {
                return Some(FeedItem::InitApply(device.clone()));
            }
            self.snapshot = None;
            return Some(FeedItem::InitDone);
        }
        self.after.take()
    }
}

/// About the memory that an event takes.
fn event_cost(event: &Event) -> usize {
    match &event.kind {
        EventKind::StateChanged { readings, .. } => readings_cost(readings),
        EventKind::OnlineUpdated { readings, .. } => readings.as_deref().map_or(0, readings_cost),
        EventKind::RegistryUpdated { .. } => 0,
        EventKind::Other { reason } => reason.len(),
    }
}

fn readings_cost(readings: &[Reading]) -> usize {
    let cost = |reading: &Reading| {
        let text = if reading.value.as_bool().is_some() || reading.value.as_i64().is_some() {
            0
        } else {
            reading.value.json().len()
        };
        size_of::<Reading>() + reading.code.as_str().len() + text
    };
    readings.iter().map(cost).sum()
}

fn device_cost(device: &Device) -> usize {
    // Schemas, codes and values are shared with the mirror; the points themselves are not.
    std::mem::size_of_val(device.points())
}

#[cfg(test)]
mod tests;
