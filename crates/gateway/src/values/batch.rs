//! What is to be stored, merged so that the newest value of each point is written once.
//!
//! Input: records from a driver. Output: rows for the store.

use std::collections::HashMap;
use std::fs::Metadata;
use std::time::{SystemTime, UNIX_EPOCH};

use hearthgate_protocol::model::{DeviceId, Point};

/// When a profile was read, and how old its file was: nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileTimes {
    /// The wall clock when reading began.
    pub(crate) read: i64,
    /// The file's modification time then.
    pub(crate) modified: i64,
}

impl FileTimes {
    /// Takes the times of a file that is going to be read now.
    pub(crate) fn now(file: &Metadata) -> Self {
        Self {
            read: nanoseconds(SystemTime::now()),
            // A system that has no such times has no edits to notice by them.
            modified: file.modified().map_or(i64::MIN, nanoseconds),
        }
    }

    /// Tells whether a file was modified after this reading. The very version that was read then is
    /// no news, also where its time lies in the future.
    pub(crate) fn is_before(self, file: Self) -> bool {
        file.modified > self.read && file.modified != self.modified
    }
}

fn nanoseconds(time: SystemTime) -> i64 {
    let number = |nanoseconds| i64::try_from(nanoseconds).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => number(since.as_nanos()),
        Err(before) => -number(before.duration().as_nanos()),
    }
}

/// What is to be stored of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// All of it, in the place of what is known: its profile was read.
    Device {
        /// Which device.
        device: DeviceId,
        /// When the profile was read.
        file: FileTimes,
        /// Its values.
        points: Vec<Point>,
    },
    /// Some values; others stay.
    Points {
        /// Which device.
        device: DeviceId,
        /// The values.
        points: Vec<Point>,
    },
}

/// Records that become one transaction. Bounded by what there is to store: one entry for each device,
/// one value for each of its points.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    devices: HashMap<DeviceId, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Replaces what is known where it is given.
    file: Option<FileTimes>,
    points: Vec<Point>,
}

impl Batch {
    /// Adds a record; it wins over earlier ones.
    pub(crate) fn add(&mut self, record: Record) {
        match record {
            Record::Device {
                device,
                file,
                points,
            } => {
                let file = Some(file);
                self.devices.insert(device, Entry { file, points });
            }
            Record::Points { device, points } => {
                let entry = self.devices.entry(device).or_default();
                for point in points {
                    match entry.points.iter_mut().find(|p| p.code == point.code) {
                        Some(known) => *known = point,
                        None => entry.points.push(point),
                    }
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.devices.clear();
    }

    /// Returns device by device the values, and when the profile was read if they replace all.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (&DeviceId, Option<FileTimes>, &[Point])> {
        self.devices
            .iter()
            .map(|(device, entry)| (device, entry.file, entry.points.as_slice()))
    }
}
