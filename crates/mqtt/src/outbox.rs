//! What is to be said to the broker, while it is slow or away. Pure.
//!
//! Input and output is `bridge`. What is retained waits as a name, not as a text: the text is made when
//! its turn comes, of what is known then, so that of many values of a topic only the newest is sent, and
//! a queue of thousands takes almost no memory. What passes (events, answers) waits as it is, for a short
//! time.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use hearthgate_hub::{DeviceRef, GatewayId};
use tokio::time::Instant;

use crate::broker::Publish;

/// The most messages that pass and wait; one more, and the oldest is dropped.
pub(crate) const PASSING_MAX: usize = 1024;
/// How long a message that passes may wait: an event that is older would set off what nobody expects.
pub(crate) const PASSING_FOR: Duration = Duration::from_secs(5);

/// What is retained.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    /// The hub is there.
    HubOnline,
    /// Which hub it is.
    HubInfo,
    /// The discovery message of the hub.
    HubDiscovery,
    /// The list of gateways and devices.
    List,
    /// Whether a gateway is there.
    GatewayAvailability(GatewayId),
    /// The state of a gateway.
    GatewayState(GatewayId),
    /// The discovery message of a gateway.
    GatewayDiscovery(GatewayId),
    /// The discovery message of a device.
    Discovery(DeviceRef),
    /// Whether a device is there.
    Availability(DeviceRef),
    /// The state of a device.
    State(DeviceRef),
    /// A retained topic that shall be no more.
    Clear(String),
}

/// What is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// What is retained under this name, as it is now.
    Item(Item),
    /// This.
    Passing(Publish),
}

/// The queue. Each name is in it once, so it is as long as there are topics.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    order: VecDeque<Item>,
    waiting: HashSet<Item>,
    passing: VecDeque<(Instant, Publish)>,
    dropped: u64,
}

impl Outbox {
    /// Queues a name behind the others, unless it waits already.
    pub(crate) fn push(&mut self, item: Item) {
        if self.waiting.insert(item.clone()) {
            self.order.push_back(item);
        }
    }

    /// Queues a name behind all others, also where it waits already further ahead.
    pub(crate) fn requeue(&mut self, item: Item) {
        if !self.waiting.insert(item.clone()) {
            self.order.retain(|other| *other != item);
        }
        self.order.push_back(item);
    }

    /// Queues a message that passes; it goes before everything that is retained.
    pub(crate) fn pass(&mut self, now: Instant, publish: Publish) {
        if self.passing.len() >= PASSING_MAX {
            self.passing.pop_front();
            self.dropped += 1;
        }
        self.passing.push_back((now, publish));
    }

    /// Returns what to send next. What passes and is too old is dropped.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Next> {
        while let Some((since, publish)) = self.passing.pop_front() {
            if now.saturating_duration_since(since) <= PASSING_FOR {
                return Some(Next::Passing(publish));
            }
            self.dropped += 1;
        }
        let item = self.order.pop_front()?;
        self.waiting.remove(&item);
        Some(Next::Item(item))
    }

    /// Tells whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty() && self.passing.is_empty()
    }

    /// Forgets all names: everything will be said again.
    pub(crate) fn forget(&mut self) {
        self.order.clear();
        self.waiting.clear();
    }

    /// Returns how many messages that pass were dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing(text: &str) -> Publish {
        Publish {
            topic: text.to_owned(),
            payload: Vec::new(),
            retain: false,
            correlation: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_values_of_a_topic_one_waits() {
        let mut outbox = Outbox::default();
        let state = |id: &str| Item::State(DeviceRef::new("g", id));
        for _ in 0..1000 {
            outbox.push(state("a"));
            outbox.push(state("b"));
        }
        assert_eq!(outbox.pop(Instant::now()), Some(Next::Item(state("a"))));
        outbox.push(state("a"));
        assert_eq!(outbox.pop(Instant::now()), Some(Next::Item(state("b"))));
        assert_eq!(outbox.pop(Instant::now()), Some(Next::Item(state("a"))));
        assert!(outbox.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_kept_for_a_short_time_and_in_order() {
        let mut outbox = Outbox::default();
        let start = Instant::now();
        outbox.pass(start, passing("old"));
        outbox.push(Item::HubOnline);
        let later = start + PASSING_FOR + Duration::from_millis(1);
        outbox.pass(later, passing("first"));
        outbox.pass(later, passing("second"));
        assert_eq!(outbox.pop(later), Some(Next::Passing(passing("first"))));
        assert_eq!(outbox.pop(later), Some(Next::Passing(passing("second"))));
        assert_eq!(outbox.pop(later), Some(Next::Item(Item::HubOnline)));
        assert_eq!(outbox.take_dropped(), 1);
        for _ in 0..PASSING_MAX + 7 {
            outbox.pass(later, passing("many"));
        }
        assert_eq!(outbox.take_dropped(), 7);
        outbox.push(Item::List);
        outbox.forget();
        assert_eq!(
            outbox.passing.len(),
            PASSING_MAX,
            "answers outlive a reconnect"
        );
    }
}
