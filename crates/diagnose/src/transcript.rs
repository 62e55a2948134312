//! What went over a connection, for somebody who was not there: times, directions, types and sizes.
//!
//! Written by `line` and `session`; read by `bundle`. No content gets in, so no secret does.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::Serialize;

/// The most entries that are kept; what follows is counted.
const ENTRIES_MAX: usize = 4096;
/// The most characters of a type that another side made up.
const NAME_MAX: usize = 60;

/// Who sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// This side.
    Sent,
    /// The gateway.
    Received,
    /// Nobody: something happened.
    Note,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Milliseconds since the start.
    pub ms: u64,
    /// Who sent it.
    pub direction: Direction,
    /// Its type.
    pub what: String,
    /// Its size in bytes: of the JSON where it could be read, else as it travelled.
    pub bytes: usize,
}

/// What went over one or more connections. Cheap to clone; all clones write into the same.
#[derive(Clone, Debug)]
pub struct Transcript {
    started: Instant,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    dropped: usize,
}

impl Transcript {
    /// Starts an empty one, whose time begins now.
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            inner: Arc::default(),
        }
    }

    /// Returns what happened so far, and how many entries there was no room for.
    pub fn entries(&self) -> (Vec<Entry>, usize) {
        let inner = self.inner.lock();
        (inner.entries.clone(), inner.dropped)
    }

    pub(crate) fn sent(&self, what: &str, bytes: usize) {
        self.add(Direction::Sent, what, bytes);
    }

    pub(crate) fn received(&self, what: &str, bytes: usize) {
        self.add(Direction::Received, what, bytes);
    }

    pub(crate) fn note(&self, what: &str) {
        self.add(Direction::Note, what, 0);
    }

    fn add(&self, direction: Direction, what: &str, bytes: usize) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut inner = self.inner.lock();
        if inner.entries.len() >= ENTRIES_MAX {
            inner.dropped += 1;
            return;
        }
        inner.entries.push(Entry {
            ms,
            direction,
            what: what.chars().take(NAME_MAX).collect(),
            bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_in_number_and_length() {
        let transcript = Transcript::new();
        for _ in 0..ENTRIES_MAX + 3 {
            transcript.received(&"x".repeat(100), 1);
        }
        let (entries, dropped) = transcript.entries();
        assert_eq!((entries.len(), dropped), (ENTRIES_MAX, 3));
        assert_eq!(entries[0].what.len(), NAME_MAX);
    }
}
