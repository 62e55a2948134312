//! Keeping the mirror right: what to read, and when, as a state machine without I/O.
//!
//! Input comes from the link: answers, events, the clock. Output goes back to it: requests to send,
//! and what was read, to be swapped into the mirror as a whole.
//!
//! First connect, reconnect and falling behind are one path, a [`Round`]: device list, schemas of the
//! devices that need it, statuses of the devices that need it. At most one round runs and at most one
//! is wanted next, whatever comes in meanwhile.

mod kinds;
mod round;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use hearthgate_protocol::model::{Applied, DeviceId, Home, Stamp, Timestamp};
use hearthgate_protocol::wire::{Event, EventKind, RemoteError, Request};

use crate::mirror::Commit;
use round::{Progress, Round};

/// The time after which a sync that failed is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// The least time between two rounds that gaps cause: a gateway whose event ids do not count up
/// (section 6 allows for it) does not make us read for ever without a pause.
const GAP_PAUSE: Duration = Duration::from_secs(2);
/// The most devices that are read again one by one; above that, all are.
const NAMED_MAX: usize = 4096;
/// The most devices that are remembered as heard of but not listed.
const STRANGERS_MAX: usize = 1024;

/// Why a round failed, or a device was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SyncFault {
    /// The gateway refused to list its devices, or to answer for any.
    #[error("{0}")]
    Refused(RemoteError),
    /// An answer of another shape.
    #[error("{request}: {problem}")]
    BadAnswer {
        request: &'static str,
        problem: String,
    },
    /// An answer did not come, several times.
    #[error("no answer to {request}")]
    Timeout { request: &'static str },
}

/// What comes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to do yet.
    Going,
    /// To be swapped in.
    Commit(Commit),
    /// The round failed; it is tried again later.
    Failed(SyncFault),
}

/// The sync of one connection.
#[derive(Debug)]
pub(crate) struct Sync {
    timeout: Duration,
    /// What the next round reads.
    wanted: Scope,
    round: Option<Round>,
    /// The id of the last event; the first of a connection sets the base (section 6).
    last_event: Option<i64>,
    /// Until when no round begins, after one that failed.
    retry_at: Option<Instant>,
    /// Until when no round begins that only a gap asks for.
    gap_at: Option<Instant>,
    /// Devices that sent events without being listed: asked for once.
    strangers: HashSet<DeviceId>,
}

/// What a round reads beside the device list and the devices that are new in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Scope {
    /// All schemas and all statuses.
    everything: bool,
    /// All statuses.
    statuses: bool,
    /// Schema and status of these.
    devices: HashSet<DeviceId>,
}

impl Sync {
    /// Starts on a new connection, on which everything is to be read. Each request waits for
    /// `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        let wanted = Scope {
            everything: true,
            ..Scope::default()
        };
        Self {
            timeout,
            wanted,
            round: None,
            last_event: None,
            retry_at: None,
            gap_at: None,
            strangers: HashSet::new(),
        }
    }

    /// Returns the next request to send, if it is time for one; its answer bears `id`.
    pub(crate) fn next_request(&mut self, id: i64, now: Instant) -> Option<Request> {
        if self.round.is_none() && !self.wanted.is_empty() {
            if self.held_until().is_some_and(|until| now < until) {
                return None;
            }
            self.retry_at = None;
            if self.wanted.statuses {
                self.gap_at = Some(now + GAP_PAUSE);
            }
            self.round = Some(Round::new(std::mem::take(&mut self.wanted), self.timeout));
        }
        self.round.as_mut()?.next_request(id, now)
    }

    /// Tells whether a request is one of the sync's.
    pub(crate) fn owns(&self, id: i64) -> bool {
        self.round.as_ref().is_some_and(|round| round.owns(id))
    }

    /// Takes the answer to a request of the sync. `mirror` is what is known so far, `at` the time of
    /// day.
    pub(crate) fn handle_answer(
        &mut self,
        id: i64,
        outcome: Result<String, RemoteError>,
        mirror: &Home,
        at: Timestamp,
        now: Instant,
    ) -> Outcome {
        let Some(round) = &mut self.round else {
            return Outcome::Going;
        };
        let progress = round.handle_answer(id, outcome, mirror, at);
        self.proceed(progress, mirror, now)
    }

    /// Takes note of an event. `applied` is what came of it in the mirror.
    pub(crate) fn handle_event(&mut self, event: &Event, applied: Applied, stamp: Stamp) {
        let before = self.last_event.replace(event.id);
        if let Some(before) = before
            && (event.id < before || event.id > before.saturating_add(1))
        {
            tracing::debug!(
                before,
                after = event.id,
                "a gap in the event ids: reading again"
            );
            self.wanted.statuses = true;
        }
        if let EventKind::RegistryUpdated { device, .. } = &event.kind {
            self.strangers.clear();
            self.wanted.add(device.clone());
        }
        let Some(update) = event.kind.update() else {
            return;
        };
        if let Some(round) = &mut self.round {
            // Has an effect where the status was read already; before that the read is newer.
            round.update(update, stamp);
        }
        // No first list yet: every device is unknown.
        let settled = !self.wanted.everything && self.round.as_ref().is_none_or(Round::is_partial);
        if applied == Applied::UnknownDevice
            && settled
            && self.strangers.len() < STRANGERS_MAX
            && self.strangers.insert(update.device.clone())
        {
            self.wanted.add(update.device.clone());
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, mirror: &Home, now: Instant) -> Outcome {
        let Some(round) = &mut self.round else {
            return Outcome::Going;
        };
        let progress = round.handle_timeout(now);
        self.proceed(progress, mirror, now)
    }

    /// Returns when [`Sync::handle_timeout`] or [`Sync::next_request`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.round {
            Some(round) => round.deadline(),
            None if self.wanted.is_empty() => None,
            None => self.held_until(),
        }
    }

    fn held_until(&self) -> Option<Instant> {
        let only_gap = !self.wanted.everything && self.wanted.devices.is_empty();
        self.retry_at.max(self.gap_at.filter(|_| only_gap))
    }

    fn proceed(&mut self, progress: Progress, mirror: &Home, now: Instant) -> Outcome {
        match progress {
            Progress::Going => Outcome::Going,
            Progress::Done => {
                let Some(round) = self.round.take() else {
                    return Outcome::Going;
                };
                let (commit, newcomers) = round.finish(mirror);
                for device in newcomers {
                    self.wanted.add(device);
                }
                Outcome::Commit(commit)
            }
            Progress::Failed(fault) => {
                if let Some(round) = self.round.take() {
                    self.wanted.merge(round.into_scope());
                }
                self.retry_at = Some(now + RETRY);
                Outcome::Failed(fault)
            }
        }
    }
}

impl Scope {
    fn is_empty(&self) -> bool {
        !self.everything && !self.statuses && self.devices.is_empty()
    }

    fn add(&mut self, device: DeviceId) {
        if self.devices.len() < NAMED_MAX {
            self.devices.insert(device);
        } else {
            self.everything = true;
        }
    }

    fn merge(&mut self, other: Self) {
        self.everything |= other.everything;
        self.statuses |= other.statuses;
        for device in other.devices {
            self.add(device);
        }
    }
}

#[cfg(test)]
mod tests;
