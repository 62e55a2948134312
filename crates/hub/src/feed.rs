//! One feed of all gateways: the snapshot and then the changes, down one ordered stream.
//!
//! Input comes from `supervisor`, one task per gateway, none of which is ever held up: the board of all
//! devices and the queue of each subscriber are written under one lock, so that what a snapshot shows
//! and what follows it fit together exactly. Output is read item by item from a [`HubFeed`].

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hearthgate_client::{ClientError, FeedItem};
use hearthgate_protocol::model::{Applied, Device, Home, Timestamp};
use hearthgate_protocol::wire::{Event, EventKind};
use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::identity::{DeviceRef, GatewayId};

/// The most items that wait for a subscriber. One more, and the backlog is dropped: the subscriber
/// is told so by [`HubItem::Missed`] and gets the whole snapshot again.
pub const HUB_BACKLOG_ITEMS: usize = 16_384;
/// About the most bytes that wait for a subscriber, with the same consequence.
pub const HUB_BACKLOG_BYTES: usize = 64 * 1024 * 1024;

/// What is known of a gateway besides its devices.
#[derive(Clone, Debug)]
pub struct GatewayInfo {
    /// Who it is.
    pub id: GatewayId,
    /// What people call it.
    pub name: String,
    /// Whether there is a connection.
    pub link: Link,
    /// Whether the devices are as the gateway has them now; where not, they are as they were last known.
    pub synced: bool,
    /// What outlets show: also true while a connection is away for less than the grace period.
    pub available: bool,
}

/// Whether there is a connection to a gateway.
#[derive(Clone, Debug)]
pub enum Link {
    /// There is no key to connect with, and why.
    NoKey(Arc<str>),
    /// The first attempt has not been decided.
    Connecting,
    /// Both sides have proven that they know the key.
    Up,
    /// There is none, and why; it is tried again for ever.
    Down(Arc<ClientError>),
}

/// One item of a [`HubFeed`].
#[derive(Clone, Debug)]
pub enum HubItem {
    /// A snapshot of everything begins: forget what was known. Each gateway comes before its devices.
    Init,
    /// The snapshot is complete; what follows changes it.
    InitDone,
    /// A gateway is new, or its name, link or availability is another one.
    Gateway(GatewayInfo),
    /// A gateway is known no more, nor any of its devices.
    GatewayGone(GatewayId),
    /// A device is new or differs, as was found by reading, not told by an event.
    Device {
        /// Its gateway.
        gateway: GatewayId,
        /// The whole device.
        device: Device,
    },
    /// A device is gone.
    DeviceGone(DeviceRef),
    /// An event, as it came: also one that changes nothing, a second press of the same button. Never
    /// comes twice.
    Event {
        /// The gateway that sent it.
        gateway: GatewayId,
        /// The event.
        event: Event,
        /// When it came.
        at: Timestamp,
        /// What it did to what is known.
        applied: Applied,
    },
    /// A device has another name, or none any more; [`Names`](crate::Names) has the new one.
    Renamed {
        /// The device.
        device: DeviceRef,
        /// The name before.
        before: Option<String>,
    },
    /// This subscriber was too slow: so many items were dropped. A snapshot follows; the events in
    /// between are lost.
    Missed {
        /// How many items.
        items: u64,
    },
}

/// An ordered stream of snapshot and changes of all gateways; see [`HubItem`].
///
/// It buffers at most [`HUB_BACKLOG_ITEMS`] items and about [`HUB_BACKLOG_BYTES`] bytes. Reading it late
/// or never slows nobody else.
#[derive(Debug)]
pub struct HubFeed {
    board: Arc<Board>,
    key: u64,
    /// Items that come before those in the queue.
    first: VecDeque<HubItem>,
}

impl HubFeed {
    /// Returns the next item; `None` when the hub has ended. May be dropped while it waits without
    /// losing anything.
    pub async fn next(&mut self) -> Option<HubItem> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// Returns how many items wait to be read, a snapshot aside.
    pub fn waiting(&self) -> usize {
        let state = self.board.state.lock();
        state
            .queues
            .get(&self.key)
            .map_or(0, |queue| queue.items.len())
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<HubItem>> {
        if let Some(item) = self.first.pop_front() {
            return Poll::Ready(Some(item));
        }
        let mut state = self.board.state.lock();
        let over = state.over;
        let Some(queue) = state.queues.get_mut(&self.key) else {
            return Poll::Ready(None);
        };
        if queue.missed > 0 {
            let items = std::mem::take(&mut queue.missed);
            self.first = state.snapshot();
            return Poll::Ready(Some(HubItem::Missed { items }));
        }
        if let Some((item, cost)) = queue.items.pop_front() {
            queue.bytes = queue.bytes.saturating_sub(cost);
            return Poll::Ready(Some(item));
        }
        if over {
            return Poll::Ready(None);
        }
        queue.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for HubFeed {
    fn drop(&mut self) {
        self.board.state.lock().queues.remove(&self.key);
    }
}

/// All that is known, and all subscribers.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    gateways: IndexMap<GatewayId, Known>,
    queues: HashMap<u64, Queue>,
    next_key: u64,
    over: bool,
}

#[derive(Debug)]
struct Known {
    info: GatewayInfo,
    home: Home,
    /// The snapshot of the gateway's own feed, while it comes.
    staged: Option<Home>,
}

/// What waits for one subscriber: bounded, see [`HUB_BACKLOG_ITEMS`].
#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<(HubItem, usize)>,
    bytes: usize,
    /// Items that were dropped since the queue ran over; while there are any, nothing is queued.
    missed: u64,
    waker: Option<Waker>,
}

impl Board {
    /// Adds a subscriber, who gets the snapshot first.
    pub(crate) fn subscribe(self: &Arc<Self>) -> HubFeed {
        let mut state = self.state.lock();
        let key = state.next_key;
        state.next_key += 1;
        state.queues.insert(key, Queue::default());
        HubFeed {
            board: Arc::clone(self),
            key,
            first: state.snapshot(),
        }
    }

    pub(crate) fn gateways(&self) -> Vec<GatewayInfo> {
        let state = self.state.lock();
        state.gateways.values().map(|it| it.info.clone()).collect()
    }

    /// Looks at the devices of a gateway at one moment.
    pub(crate) fn read<R>(&self, gateway: &str, look: impl FnOnce(&Home) -> R) -> Option<R> {
        let state = self.state.lock();
        Some(look(&state.gateways.get(gateway)?.home))
    }

    /// Adds a gateway without devices.
    pub(crate) fn add(&self, info: GatewayInfo) {
        let mut state = self.state.lock();
        state.push(HubItem::Gateway(info.clone()));
        let id = info.id.clone();
        let known = Known {
            info,
            home: Home::default(),
            staged: None,
        };
        state.gateways.insert(id, known);
    }

    /// Takes over what is known of a gateway besides its devices; nothing if it was removed.
    pub(crate) fn set(&self, info: GatewayInfo) {
        let mut state = self.state.lock();
        if let Some(known) = state.gateways.get_mut(&info.id) {
            known.info = info.clone();
            state.push(HubItem::Gateway(info));
        }
    }

    /// Forgets a gateway.
    pub(crate) fn remove(&self, id: &GatewayId) {
        let mut state = self.state.lock();
        if state.gateways.shift_remove(id).is_some() {
            state.push(HubItem::GatewayGone(id.clone()));
        }
    }

    /// Takes over what the feed of a gateway says about its devices.
    pub(crate) fn apply(&self, gateway: &GatewayId, item: FeedItem) {
        let mut state = self.state.lock();
        let Some(known) = state.gateways.get_mut(gateway) else {
            return;
        };
        if let Some(staged) = &mut known.staged {
            item.apply_to(staged);
            if matches!(item, FeedItem::InitDone) {
                let staged = known.staged.take().unwrap_or_default();
                let before = std::mem::replace(&mut known.home, staged);
                let items = difference(gateway, &before, &known.home);
                items.into_iter().for_each(|item| state.push(item));
            }
            return;
        }
        if matches!(item, FeedItem::Init) {
            known.staged = Some(Home::default());
            return;
        }
        let applied = item.apply_to(&mut known.home);
        let gateway = gateway.clone();
        match item {
            FeedItem::Event { event, at, .. } => state.push(HubItem::Event {
                gateway,
                event,
                at,
                applied,
            }),
            FeedItem::Upsert(device) => state.push(HubItem::Device { gateway, device }),
            FeedItem::Delete(device) => {
                state.push(HubItem::DeviceGone(DeviceRef { gateway, device }));
            }
            _ => {}
        }
    }

    pub(crate) fn renamed(&self, device: DeviceRef, before: Option<String>) {
        self.state.lock().push(HubItem::Renamed { device, before });
    }

    /// Ends all feeds, once they are read to the end.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock();
        state.over = true;
        for queue in state.queues.values_mut() {
            queue.wake();
        }
    }
}

impl State {
    fn snapshot(&self) -> VecDeque<HubItem> {
        let mut items = VecDeque::from([HubItem::Init]);
        for (id, known) in &self.gateways {
            items.push_back(HubItem::Gateway(known.info.clone()));
            items.extend(known.home.devices().map(|device| HubItem::Device {
                gateway: id.clone(),
                device: device.clone(),
            }));
        }
        items.push_back(HubItem::InitDone);
        items
    }

    fn push(&mut self, item: HubItem) {
        let cost = cost(&item);
        let mut queues = self.queues.values_mut();
        // The last one gets the item without a copy.
        let Some(first) = queues.next() else { return };
        for queue in queues {
            queue.push(item.clone(), cost);
        }
        first.push(item, cost);
    }
}

impl Queue {
    fn push(&mut self, item: HubItem, cost: usize) {
        if self.missed > 0 {
            self.missed += 1;
            return;
        }
        self.items.push_back((item, cost));
        self.bytes += cost;
        if self.items.len() > HUB_BACKLOG_ITEMS || self.bytes > HUB_BACKLOG_BYTES {
            self.missed = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
            self.items = VecDeque::new();
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

/// Returns what leads from one home to another, as far as anybody sees a difference.
fn difference(gateway: &GatewayId, before: &Home, after: &Home) -> Vec<HubItem> {
    let gone = before
        .devices()
        .filter(|device| after.device(device.id().as_str()).is_none())
        .map(|device| {
            HubItem::DeviceGone(DeviceRef {
                gateway: gateway.clone(),
                device: device.id().clone(),
            })
        });
    let differing = after
        .devices()
        .filter(|device| before.device(device.id().as_str()) != Some(device))
        .map(|device| HubItem::Device {
            gateway: gateway.clone(),
            device: device.clone(),
        });
    gone.chain(differing).collect()
}

/// About the memory that an item takes beyond itself.
fn cost(item: &HubItem) -> usize {
    let readings = match item {
        HubItem::Device { device, .. } => return std::mem::size_of_val(device.points()),
        HubItem::Event { event, .. } => match &event.kind {
            EventKind::StateChanged { readings, .. } => readings.as_slice(),
            EventKind::OnlineUpdated { readings, .. } => readings.as_deref().unwrap_or_default(),
            EventKind::RegistryUpdated { .. } => return 0,
            EventKind::Other { reason } => return reason.len(),
        },
        _ => return 0,
    };
    readings
        .iter()
        .map(|reading| {
            let simple = reading.value.as_bool().is_some() || reading.value.as_i64().is_some();
            let text = if simple {
                0
            } else {
                reading.value.json().len()
            };
            size_of_val(reading) + reading.code.as_str().len() + text
        })
        .sum()
}

#[cfg(test)]
mod tests;
