//! The events of the gateway, encoded once, shared by all sessions.
//!
//! The registry appends a batch (everything that was reported since it last looked), sessions read on
//! from their own cursors. There is no queue per session: a session that falls behind costs nothing
//! here, and one that looks rarely gets many events at once, which is what makes writes cheap.
//! Bounded by bytes; whoever falls off the end has been away for longer than any session may be.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use hearthgate_protocol::wire::{Event, EventKind, write_event};

/// Bytes of events that are kept. More than a session may be behind, so that one that is merely not
/// scheduled for a while in a burst is not taken for a slow one.
const RETAINED: u64 = 8 * 1024 * 1024;

/// A place in the log: the batch to read next, and the bytes of events before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) batch: u64,
    pub(crate) bytes: u64,
}

/// Events that were reported together.
#[derive(Debug)]
pub(crate) struct Batch {
    json: Vec<u8>,
    events: Vec<(Event, Range<usize>)>,
}

impl Batch {
    /// Returns each event with its JSON.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&Event, &[u8])> {
        self.events.iter().map(|(event, range)| {
            (event, self.json.get(range.clone()).unwrap_or_default())
        })
    }

    /// Returns the position behind this batch, which begins at `position`.
    pub(crate) fn after(&self, position: Position) -> Position {
        Position { batch: position.batch + 1, bytes: position.bytes + self.bytes() }
    }

    fn bytes(&self) -> u64 {
        u64::try_from(self.json.len()).unwrap_or(u64::MAX)
    }
}

/// Collects events and gives them their ids.
#[derive(Debug)]
pub(crate) struct BatchWriter {
    batch: Batch,
    next_id: i64,
}

impl BatchWriter {
    /// Adds an event under the next id.
    pub(crate) fn push(&mut self, kind: EventKind) {
        let start = self.batch.json.len();
        write_event(&mut self.batch.json, self.next_id, &kind);
        let event = Event { id: self.next_id, kind };
        self.batch.events.push((event, start..self.batch.json.len()));
        self.next_id += 1;
    }
}

/// The log.
#[derive(Debug)]
pub(crate) struct EventLog {
    batches: VecDeque<Arc<Batch>>,
    first: Position,
    end: Position,
    next_id: i64,
}

impl Default for EventLog {
    fn default() -> Self {
        let start = Position::default();
        Self { batches: VecDeque::new(), first: start, end: start, next_id: 1 }
    }
}

impl EventLog {
    /// Starts a batch, to be given back to [`EventLog::append`].
    pub(crate) fn writer(&self) -> BatchWriter {
        BatchWriter {
            batch: Batch { json: Vec::new(), events: Vec::new() },
            next_id: self.next_id,
        }
    }

    /// Appends a batch, forgets the oldest ones over the bound, and returns the new end.
    pub(crate) fn append(&mut self, writer: BatchWriter) -> Position {
        let BatchWriter { batch, next_id } = writer;
        if batch.events.is_empty() {
            return self.end;
        }
        self.next_id = next_id;
        self.end = batch.after(self.end);
        self.batches.push_back(Arc::new(batch));
        while self.end.bytes - self.first.bytes > RETAINED && self.batches.len() > 1 {
            if let Some(oldest) = self.batches.pop_front() {
                self.first = oldest.after(self.first);
            }
        }
        self.end
    }

    /// Returns the end: where a new session begins.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Returns all batches from a position on; `None` where the oldest of them is forgotten.
    pub(crate) fn since(&self, position: Position) -> Option<Vec<Arc<Batch>>> {
        let skip = position.batch.checked_sub(self.first.batch)?;
        let skip = usize::try_from(skip).ok()?;
        Some(self.batches.iter().skip(skip).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(log: &mut EventLog, devices: &[&str]) -> Position {
        let mut writer = log.writer();
        for device in devices {
            writer.push(EventKind::RegistryUpdated { device: (*device).into(), state: 1 });
        }
        log.append(writer)
    }

    fn ids(batches: &[Arc<Batch>]) -> Vec<i64> {
        batches.iter().flat_map(|batch| batch.events().map(|(event, _)| event.id)).collect()
    }

    #[test]
    fn ids_count_up_by_one_over_batches_and_readers_go_on_where_they_were() {
        let mut log = EventLog::default();
        let start = log.end();
        let middle = append(&mut log, &["a", "b"]);
        let end = append(&mut log, &["c"]);
        assert_eq!(ids(&log.since(start).unwrap()), [1, 2, 3]);
        assert_eq!(ids(&log.since(middle).unwrap()), [3]);
        assert!(log.since(end).unwrap().is_empty());
    }

    #[test]
    fn an_empty_batch_is_none() {
        let mut log = EventLog::default();
        let before = log.end();
        assert_eq!(append(&mut log, &[]), before);
    }

    #[test]
    fn the_log_is_bounded_and_whoever_is_too_far_behind_is_told() {
        let mut log = EventLog::default();
        let start = log.end();
        let long = "x".repeat(1024 * 1024);
        for _ in 0..20 {
            append(&mut log, &[&long]);
        }
        assert!(log.batches.len() <= 8);
        assert!(log.since(start).is_none());
        assert!(log.since(log.end()).unwrap().is_empty());
    }
}
