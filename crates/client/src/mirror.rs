//! The mirror of one gateway's devices: one writer, many readers.
//!
//! Input comes from the link, through `feed`, which holds the only writer; readers look at it from
//! any thread.

use std::sync::Arc;

use hearthgate_protocol::model::{
    Applied, Change, Device, DeviceId, Home, Point, Reading, Source, Stamp, Timestamp, Update,
};
use parking_lot::RwLock;

/// A live view of a gateway's devices, cheap to clone. Empty until the first sync is done; after the
/// connection is lost it keeps what was last known.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    home: Arc<RwLock<Home>>,
}

impl Mirror {
    /// Looks at all devices at one moment. Keep it short, since the link waits meanwhile, and call
    /// nothing of the client in it: take out what is needed.
    pub fn read<R>(&self, look: impl FnOnce(&Home) -> R) -> R {
        look(&self.home.read())
    }

    /// Returns a device as it is now.
    pub fn device(&self, id: &str) -> Option<Device> {
        self.home.read().device(id).cloned()
    }

    /// Returns all devices as they are now, in the gateway's order.
    pub fn devices(&self) -> Vec<Device> {
        self.home.read().devices().cloned().collect()
    }
}

/// The one writer of a mirror.
#[derive(Debug)]
pub(crate) struct MirrorWriter {
    mirror: Mirror,
}

impl MirrorWriter {
    /// Makes an empty mirror and its writer.
    pub(crate) fn new() -> (Self, Mirror) {
        let mirror = Mirror::default();
        (
            Self {
                mirror: mirror.clone(),
            },
            mirror,
        )
    }

    /// Applies what an event says.
    pub(crate) fn update(&self, update: Update<'_>, stamp: Stamp) -> Applied {
        self.mirror.home.write().update(update, stamp)
    }

    /// Marks all values as remembered, since nothing confirms them any more.
    pub(crate) fn remember(&self) {
        remember(&mut self.mirror.home.write());
    }

    /// Swaps in what a sync has read, as a whole: no reader sees a part of it. Returns what of it
    /// makes a difference to anybody: other values, another schema, gone or new.
    pub(crate) fn commit(&self, mut commit: Commit) -> Commit {
        // The points of a device bring their own stamps; this one goes unused.
        let stamp = Stamp {
            at: Timestamp::default(),
            source: Source::Read,
        };
        let mut home = self.mirror.home.write();
        commit
            .gone
            .retain(|id| home.apply(&Change::Remove(id.clone()), stamp) != Applied::UnknownDevice);
        commit.read = commit
            .read
            .into_iter()
            .filter_map(|device| {
                let same = home
                    .device(device.id().as_str())
                    .is_some_and(|known| alike(known, &device));
                let change = Change::Upsert(device);
                home.apply(&change, stamp);
                match change {
                    Change::Upsert(device) if !same => Some(device),
                    _ => None,
                }
            })
            .collect();
        commit
    }
}

/// Marks all values as remembered; when they last were confirmed stays.
pub(crate) fn remember(home: &mut Home) {
    let mut changes = Vec::new();
    for device in home.devices() {
        let live = |point: &&Point| point.confirmed.source != Source::Cache;
        for point in device.points().iter().filter(live) {
            let change = Change::State {
                device: device.id().clone(),
                readings: vec![Reading::new(point.code.clone(), point.value.clone())],
            };
            let stamp = Stamp {
                at: point.confirmed.at,
                source: Source::Cache,
            };
            changes.push((change, stamp));
        }
    }
    for (change, stamp) in changes {
        home.apply(&change, stamp);
    }
}

/// What a sync has found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The devices that the gateway does not list any more.
    pub(crate) gone: Vec<DeviceId>,
    /// The devices that were read, in the gateway's order.
    pub(crate) read: Vec<Device>,
}

/// Tells whether two devices show the same, however and whenever it was learnt.
fn alike(a: &Device, b: &Device) -> bool {
    a.online() == b.online()
        && (Arc::ptr_eq(a.schema(), b.schema()) || a.schema() == b.schema())
        && a.points().len() == b.points().len()
        && a.points().iter().all(|point| {
            b.point(point.code.as_str())
                .is_some_and(|other| other.value == point.value)
        })
}

#[cfg(test)]
mod tests {
    use hearthgate_protocol::model::{Schema, Value};

    use super::*;

    fn device(id: &str, on: bool, at: i64) -> Device {
        let stamp = Stamp {
            at: Timestamp(at),
            source: Source::Read,
        };
        let schema = Arc::new(Schema::new("kg", Vec::new(), Vec::new()));
        let readings = [Reading::new("switch_1", Value::from(on))];
        Device::new(id.into(), schema, true, readings, stamp)
    }

    #[test]
    fn what_is_remembered_keeps_the_time_of_its_last_confirmation() {
        let (writer, mirror) = MirrorWriter::new();
        writer.commit(Commit {
            gone: Vec::new(),
            read: vec![device("a", true, 5)],
        });
        let update = Update {
            device: &"a".into(),
            online: None,
            readings: &[Reading::new("switch_2", Value::from(false))],
        };
        let stamp = Stamp {
            at: Timestamp(9),
            source: Source::Event,
        };
        writer.update(update, stamp);
        writer.remember();
        let points = mirror.device("a").unwrap().points().to_vec();
        let stamps: Vec<_> = points
            .iter()
            .map(|point| {
                (
                    point.confirmed.at.0,
                    point.confirmed.source,
                    point.changed.0,
                )
            })
            .collect();
        assert_eq!(stamps, [(5, Source::Cache, 5), (9, Source::Cache, 9)]);
    }

    #[test]
    fn a_commit_tells_only_what_differs() {
        let (writer, mirror) = MirrorWriter::new();
        let read = vec![device("a", true, 1), device("b", true, 1)];
        let first = Commit {
            gone: vec!["never".into()],
            read: read.clone(),
        };
        assert_eq!(
            writer.commit(first),
            Commit {
                gone: Vec::new(),
                read
            }
        );
        let again = Commit {
            gone: vec!["b".into()],
            read: vec![device("a", true, 2), device("c", false, 2)],
        };
        let told = writer.commit(again);
        assert_eq!(told.gone, ["b".into()]);
        assert_eq!(told.read, [device("c", false, 2)]);
        // What is equal is confirmed nevertheless.
        assert_eq!(mirror.device("a"), Some(device("a", true, 2)));
        assert_eq!(mirror.devices().len(), 2);
    }
}
