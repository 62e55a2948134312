//! The events of the gateway, encoded once, shared by all sessions.
//!
//! The registry appends a batch (everything that was reported since it last looked), sessions read on
//! from their own cursors. There is no queue per session: a session that falls behind costs nothing
//! here, and one that looks rarely gets many events at once, which is what makes writes cheap.
//! Bounded by bytes; whoever falls off the end has been away for longer than any session may be.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use hearthgate_protocol::wire::{Event, EventKind, write_event};

/// Bytes of events that are kept. More than a session may be behind, so that one that is merely not
/// scheduled for a while in a burst is not taken for a slow one.
pub(crate) const RETAINED: u64 = 8 * 1024 * 1024;
/// Bytes at which a batch is ended, so that a session takes a flood up in pieces.
const BATCH_FULL: usize = 64 * 1024;
/// Batches for which a list keeps its memory between two uses.
const LIST_KEPT: usize = 1024;

thread_local! {
    /// The memory of the last list of batches that was used up, for the next: a session that looks into
    /// the log allocates nothing.
    static LIST: Cell<Vec<Arc<Batch>>> = const { Cell::new(Vec::new()) };
}

/// A place in the log: the batch to read next, and the bytes of events before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) batch: u64,
    pub(crate) bytes: u64,
}

/// Events that were reported together.
#[derive(Debug)]
pub(crate) struct Batch {
    json: Box<[u8]>,
    events: Box<[(Event, Range<usize>)]>,
}

impl Batch {
    /// Returns each event with its JSON.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&Event, &[u8])> {
        self.events
            .iter()
            .map(|(event, range)| (event, self.json.get(range.clone()).unwrap_or_default()))
    }

    /// Returns the position behind this batch, which begins at `position`.
    pub(crate) fn after(&self, position: Position) -> Position {
        Position {
            batch: position.batch + 1,
            bytes: position.bytes + self.bytes(),
        }
    }

    fn bytes(&self) -> u64 {
        u64::try_from(self.json.len()).unwrap_or(u64::MAX)
    }
}

/// Collects events and gives them their ids. It grows in memory that the log lends it, so that a batch
/// costs three allocations of the right size, however many events it has.
#[derive(Debug)]
pub(crate) struct BatchWriter {
    json: Vec<u8>,
    events: Vec<(Event, Range<usize>)>,
    next_id: i64,
}

impl BatchWriter {
    /// Tells whether the batch should be appended and another one started.
    pub(crate) fn is_full(&self) -> bool {
        self.json.len() >= BATCH_FULL
    }

    /// Adds an event under the next id.
    pub(crate) fn push(&mut self, kind: EventKind) {
        let start = self.json.len();
        write_event(&mut self.json, self.next_id, &kind);
        let event = Event {
            id: self.next_id,
            kind,
        };
        self.events.push((event, start..self.json.len()));
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
    /// What the next writer grows in.
    spare: (Vec<u8>, Vec<(Event, Range<usize>)>),
}

impl Default for EventLog {
    fn default() -> Self {
        let start = Position::default();
        Self {
            batches: VecDeque::new(),
            first: start,
            end: start,
            next_id: 1,
            spare: Default::default(),
        }
    }
}

impl EventLog {
    /// Starts a batch, to be given back to [`EventLog::append`].
    pub(crate) fn writer(&mut self) -> BatchWriter {
        let (json, events) = std::mem::take(&mut self.spare);
        BatchWriter {
            json,
            events,
            next_id: self.next_id,
        }
    }

    /// Appends a batch, forgets the oldest ones over the bound, and returns the new end.
    pub(crate) fn append(&mut self, writer: BatchWriter) -> Position {
        let BatchWriter {
            mut json,
            mut events,
            next_id,
        } = writer;
        if !events.is_empty() {
            let batch = Batch {
                json: json.as_slice().into(),
                events: events.drain(..).collect(),
            };
            self.next_id = next_id;
            self.end = batch.after(self.end);
            self.batches.push_back(Arc::new(batch));
        }
        json.clear();
        // A batch may have run over by a single event of any size.
        json.shrink_to(2 * BATCH_FULL);
        self.spare = (json, events);
        while self.kept() > RETAINED && self.batches.len() > 1 {
            if let Some(oldest) = self.batches.pop_front() {
                self.first = oldest.after(self.first);
            }
        }
        self.end
    }

    /// Returns how many bytes of events are kept.
    pub(crate) fn kept(&self) -> u64 {
        self.end.bytes - self.first.bytes
    }

    /// Returns the end: where a new session begins.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Returns batches from a position on, as many as make `enough` bytes, and the position behind
    /// them; `None` where the oldest of them is forgotten.
    pub(crate) fn since(&self, position: Position, enough: u64) -> Option<Unread> {
        let skip = position.batch.checked_sub(self.first.batch)?;
        let skip = usize::try_from(skip).ok()?;
        if skip >= self.batches.len() {
            // Of most requests; the spare list is for those who need one.
            return Some(Unread {
                batches: Vec::new(),
                end: position,
            });
        }
        let mut unread = Unread {
            batches: LIST.take(),
            end: position,
        };
        for batch in self.batches.iter().skip(skip) {
            if unread.end.bytes - position.bytes >= enough {
                break;
            }
            unread.end = batch.after(unread.end);
            unread.batches.push(Arc::clone(batch));
        }
        Some(unread)
    }
}

/// What a session has yet to read.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) batches: Vec<Arc<Batch>>,
    /// The position behind them.
    pub(crate) end: Position,
}

impl Unread {
    /// Returns each event with its JSON.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&Event, &[u8])> {
        self.batches.iter().flat_map(|batch| batch.events())
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let mut batches = std::mem::take(&mut self.batches);
        if batches.capacity() == 0 {
            return;
        }
        batches.clear();
        batches.shrink_to(LIST_KEPT);
        // A thread that ends has no use for it.
        let _ = LIST.try_with(|list| list.set(batches));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(log: &mut EventLog, devices: &[&str]) -> Position {
        let mut writer = log.writer();
        for device in devices {
            writer.push(EventKind::RegistryUpdated {
                device: (*device).into(),
                state: 1,
            });
        }
        log.append(writer)
    }

    fn ids(log: &EventLog, position: Position, enough: u64) -> Vec<i64> {
        let unread = log.since(position, enough).unwrap();
        unread.events().map(|(event, _)| event.id).collect()
    }

    #[test]
    fn ids_count_up_by_one_over_batches_and_readers_go_on_where_they_were() {
        let mut log = EventLog::default();
        let start = log.end();
        let middle = append(&mut log, &["a", "b"]);
        let end = append(&mut log, &["c"]);
        assert_eq!(ids(&log, start, u64::MAX), [1, 2, 3]);
        assert_eq!(ids(&log, middle, u64::MAX), [3]);
        assert!(ids(&log, end, u64::MAX).is_empty());
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
        assert!(log.since(start, u64::MAX).is_none());
        assert!(ids(&log, log.end(), 1).is_empty());
    }

    #[test]
    fn a_reader_can_take_a_part_and_go_on_behind_it() {
        let mut log = EventLog::default();
        let start = log.end();
        append(&mut log, &["a"]);
        append(&mut log, &["b"]);
        append(&mut log, &["c"]);
        let part = log.since(start, 1).unwrap();
        assert_eq!(part.batches.len(), 1);
        assert_eq!(ids(&log, part.end, u64::MAX), [2, 3]);
        assert_eq!(log.since(start, u64::MAX).unwrap().end, log.end());
    }
}
