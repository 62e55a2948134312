//! What a slow session is owed: the newest value per data point (section 6).
//!
//! Events of a session that is behind by 256 KiB move from the log into its backlog. There the
//! `state_changed` of one device become one, under the id of the newest; the skipped ids are the gap
//! that the client sees. `registry_updated` and `online_updated` stay, and nothing of their device is
//! merged across them.

use std::collections::{BTreeMap, HashMap};

use hearthgate_protocol::model::{DeviceId, Reading};
use hearthgate_protocol::wire::{Event, EventKind, write_event};

/// Events in the order of their ids, merged where that is allowed.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    events: BTreeMap<i64, Waiting>,
    /// Of each device the `state_changed` that further ones join.
    open: HashMap<DeviceId, i64>,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    kind: EventKind,
    /// About how many bytes of JSON it makes.
    bytes: usize,
}

/// About how many bytes an event has beside its readings.
const FRAME_BYTES: usize = 80;
/// About how many bytes a reading has beside code and value.
const READING_BYTES: usize = 12;

impl Backlog {
    /// Takes an event over.
    pub(crate) fn absorb(&mut self, event: &Event) {
        let device = match &event.kind {
            EventKind::StateChanged { device, readings } => {
                let merged = match self.open.insert(device.clone(), event.id) {
                    Some(earlier) => self.merge(earlier, readings),
                    None => readings.clone(),
                };
                let kind = EventKind::StateChanged {
                    device: device.clone(),
                    readings: merged,
                };
                return self.insert(event.id, kind);
            }
            EventKind::RegistryUpdated { device, .. } | EventKind::OnlineUpdated { device, .. } => {
                device
            }
            EventKind::Other { .. } => return,
        };
        self.open.remove(device);
        self.insert(event.id, event.kind.clone());
    }

    /// Returns about how many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tells whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Takes the oldest event out, as JSON appended to `out`.
    pub(crate) fn pop_into(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((id, Waiting { kind, bytes })) = self.events.pop_first() else {
            return false;
        };
        self.bytes -= bytes;
        if let EventKind::StateChanged { device, .. } = &kind
            && self.open.get(device) == Some(&id)
        {
            self.open.remove(device);
        }
        write_event(out, id, &kind);
        true
    }

    fn insert(&mut self, id: i64, kind: EventKind) {
        let readings: &[Reading] = match &kind {
            EventKind::StateChanged { readings, .. }
            | EventKind::OnlineUpdated {
                readings: Some(readings),
                ..
            } => readings,
            _ => &[],
        };
        let bytes = FRAME_BYTES
            + readings
                .iter()
                .map(|r| READING_BYTES + r.code.as_str().len() + r.value.json().len())
                .sum::<usize>();
        self.bytes += bytes;
        self.events.insert(id, Waiting { kind, bytes });
    }

    /// Takes an earlier `state_changed` out and lays newer readings over its own.
    fn merge(&mut self, earlier: i64, newer: &[Reading]) -> Vec<Reading> {
        let Some(Waiting {
            kind: EventKind::StateChanged { mut readings, .. },
            bytes,
        }) = self.events.remove(&earlier)
        else {
            return newer.to_vec();
        };
        self.bytes -= bytes;
        for reading in newer {
            match readings.iter_mut().find(|known| known.code == reading.code) {
                Some(known) => known.value = reading.value.clone(),
                None => readings.push(reading.clone()),
            }
        }
        readings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearthgate_protocol::model::Value;

    fn state(id: i64, device: &str, values: &[(&str, i64)]) -> Event {
        let readings = values
            .iter()
            .map(|(code, value)| Reading::new(*code, Value::from(*value)))
            .collect();
        Event {
            id,
            kind: EventKind::StateChanged {
                device: device.into(),
                readings,
            },
        }
    }

    fn online(id: i64, device: &str) -> Event {
        let kind = EventKind::OnlineUpdated {
            device: device.into(),
            online: true,
            readings: None,
        };
        Event { id, kind }
    }

    fn drain(events: &[Event]) -> Vec<String> {
        let mut backlog = Backlog::default();
        for event in events {
            backlog.absorb(event);
        }
        let mut drained = Vec::new();
        let mut json = Vec::new();
        while backlog.pop_into(&mut json) {
            let text = String::from_utf8(std::mem::take(&mut json)).unwrap();
            drained.push(text.replace("\"type\":\"event\",\"event_type\":", ""));
        }
        assert_eq!((backlog.bytes(), backlog.open.len()), (0, 0));
        drained
    }

    #[test]
    fn the_newest_value_per_data_point_under_the_newest_id() {
        let events = [
            state(1, "a", &[("x", 1), ("y", 1)]),
            state(2, "b", &[("x", 5)]),
            state(3, "a", &[("y", 2)]),
            state(4, "a", &[("z", 3)]),
        ];
        assert_eq!(
            drain(&events),
            [
                r#"{"id":2,"state_changed","data":{"devid":"b","value":[{"k":"x","v":5}]}}"#,
                r#"{"id":4,"state_changed","data":{"devid":"a","value":[{"k":"x","v":1},{"k":"y","v":2},{"k":"z","v":3}]}}"#,
            ]
        );
    }

    #[test]
    fn nothing_is_merged_across_other_events_of_the_device() {
        let events = [
            state(1, "a", &[("x", 1)]),
            online(2, "a"),
            state(3, "a", &[("x", 2)]),
            online(4, "b"),
            state(5, "a", &[("x", 3)]),
        ];
        let ids: Vec<String> = drain(&events)
            .iter()
            .map(|json| json[6..7].to_owned())
            .collect();
        assert_eq!(ids, ["1", "2", "4", "5"]);
    }

    #[test]
    fn its_size_does_not_grow_with_the_number_of_events() {
        let mut backlog = Backlog::default();
        for id in 0..100_000 {
            backlog.absorb(&state(id, "a", &[("x", id)]));
        }
        assert!(backlog.bytes() < 200, "{}", backlog.bytes());
    }
}
