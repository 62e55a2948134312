//! The newest events of the API, encoded once, shared by all who follow them.
//!
//! Written by `watch` alone; read by `events`, each reader with a cursor of its own. Bounded: the oldest
//! events go, and whoever is behind them is told that there is a gap.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use utoipa::ToSchema;

/// The most events that are kept.
const EVENTS_MAX: usize = 4096;
/// The most bytes that are kept.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// About the most bytes that are handed out at once.
const CHUNK: usize = 64 * 1024;

/// The ring.
pub(crate) struct Ring {
    /// Tells this run of the program from others: their numbers mean nothing here.
    epoch: String,
    state: Mutex<State>,
    /// The number of the newest event: one place, of several only the newest is seen.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    events: VecDeque<Kept>,
    /// The number of the newest event; the first one is 1.
    newest: u64,
    bytes: usize,
}

struct Kept {
    kind: &'static str,
    data: Box<RawValue>,
    frame: Box<str>,
}

/// An event of the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LoggedEvent)]
pub(crate) struct Logged {
    /// Its id, by which a stream can be resumed.
    id: String,
    /// What kind it is, as in the stream.
    event: &'static str,
    /// Its data, as in the stream.
    #[schema(value_type = serde_json::Value)]
    data: Box<RawValue>,
}

/// The events from a place on are not there any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap;

impl Ring {
    /// Makes an empty one; `epoch` is another one at each start of the program.
    pub(crate) fn new(epoch: String) -> Self {
        Self {
            epoch,
            state: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }

    /// Appends an event.
    pub(crate) fn push(&self, kind: &'static str, data: &impl Serialize) {
        let data = match serde_json::value::to_raw_value(data) {
            Ok(data) => data,
            Err(error) => {
                tracing::error!("an event has no JSON form: {error}");
                return;
            }
        };
        let mut state = self.state.lock();
        state.newest += 1;
        let number = state.newest;
        let id = self.id(number);
        let frame = format!("id: {id}\nevent: {kind}\ndata: {data}\n\n").into_boxed_str();
        state.bytes += frame.len() + data.get().len();
        state.events.push_back(Kept { kind, data, frame });
        while state.events.len() > EVENTS_MAX || state.bytes > BYTES_MAX {
            let Some(gone) = state.events.pop_front() else {
                break;
            };
            state.bytes = state
                .bytes
                .saturating_sub(gone.frame.len() + gone.data.get().len());
        }
        drop(state);
        self.newest.send_replace(number);
    }

    /// Forgets all events: whoever follows has a gap.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        state.events.clear();
        state.bytes = 0;
        // A number that nobody has been given lies in the gap.
        state.newest += 1;
        let number = state.newest;
        drop(state);
        self.newest.send_replace(number);
    }

    /// Returns the number of the newest event.
    pub(crate) fn newest(&self) -> u64 {
        self.state.lock().newest
    }

    /// Returns how many events are kept.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().events.len()
    }

    /// Wakes when there are newer events.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Returns the id of an event.
    pub(crate) fn id(&self, number: u64) -> String {
        format!("{}.{number}", self.epoch)
    }

    /// Returns the number behind an id, if this run of the program has given it.
    pub(crate) fn number(&self, id: &str) -> Option<u64> {
        let (epoch, number) = id.split_once('.')?;
        let number = number.parse().ok()?;
        (epoch == self.epoch && number <= self.newest()).then_some(number)
    }

    /// Returns the events after one, as they are sent, and the number of the last of them.
    ///
    /// # Errors
    /// Where some of them are gone.
    pub(crate) fn after(&self, number: u64) -> Result<(String, u64), Gap> {
        let state = self.state.lock();
        let first = state.newest - state.events.len() as u64 + 1;
        if number + 1 < first {
            return Err(Gap);
        }
        let skip = usize::try_from(number + 1 - first).unwrap_or(usize::MAX);
        let mut text = String::new();
        let mut last = number;
        for event in state.events.iter().skip(skip) {
            if text.len() > CHUNK {
                break;
            }
            text.push_str(&event.frame);
            last += 1;
        }
        Ok((text, last))
    }

    /// Returns the newest events, oldest first.
    pub(crate) fn recent(&self, limit: usize) -> Vec<Logged> {
        let state = self.state.lock();
        let skip = state.events.len().saturating_sub(limit);
        let first = state.newest - state.events.len() as u64 + 1;
        let numbered = state.events.iter().zip(first..).skip(skip);
        numbered
            .map(|(event, number)| Logged {
                id: self.id(number),
                event: event.kind,
                data: event.data.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Ring {
        Ring::new("e".to_owned())
    }

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let ring = ring();
        ring.push("a", &1);
        ring.push("b", &2);
        let from = ring.number("e.1").unwrap();
        let (text, last) = ring.after(from).unwrap();
        assert_eq!(text, "id: e.2\nevent: b\ndata: 2\n\n");
        assert_eq!(ring.after(last).unwrap(), (String::new(), 2));
    }

    #[test]
    fn an_id_of_another_run_or_of_the_future_is_none() {
        let ring = ring();
        ring.push("a", &1);
        for id in ["x.1", "e.2", "e.", "e", "", "e.-1"] {
            assert_eq!(ring.number(id), None, "{id}");
        }
    }

    #[test]
    fn it_is_bounded_and_a_gap_is_told() {
        let ring = ring();
        for number in 0..EVENTS_MAX + 10 {
            ring.push("a", &number);
        }
        assert_eq!(ring.len(), EVENTS_MAX);
        assert_eq!(ring.after(9), Err(Gap));
        assert!(ring.after(10).is_ok());
        let large = "x".repeat(BYTES_MAX / 4);
        ring.push("b", &large);
        ring.push("b", &large);
        assert!(ring.len() < 3, "{}", ring.len());
    }

    #[test]
    fn who_follows_while_all_is_forgotten_has_a_gap() {
        let ring = ring();
        ring.push("a", &1);
        let here = ring.newest();
        ring.clear();
        assert_eq!(ring.after(here), Err(Gap));
        assert!(ring.after(ring.newest()).is_ok());
        assert!(ring.recent(10).is_empty());
    }
}
