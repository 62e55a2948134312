//! What a virtual home remembers of its devices, and whether that or the profile counts.
//!
//! Input: what the store had, profiles as they are read, writes. Output: devices with the values that
//! count, and records for the store.
//!
//! A stored value wins over the profile's, unless the file was modified after it was last read into
//! the store: then all values that the profile gives win. A stored value that the profile does not
//! give stays as long as the profile declares its code. What is stored of a device whose profile is
//! gone stays as well, and counts again when the profile comes back.

use std::collections::HashMap;
use std::sync::Arc;

use hearthgate_protocol::model::{Code, Device, DeviceId, Point};
use hearthgate_protocol::wire::Profile;

use super::{bare, bare_with, stamp};
use crate::values::{FileTimes, Record, Stored};

/// The memory of a virtual home whose values are stored.
#[derive(Debug)]
pub(super) struct Memory {
    /// What is stored, device by device. The values of those that are served are the home's, not these.
    known: HashMap<DeviceId, Stored>,
    /// What is to be stored.
    records: Vec<Record>,
}

impl Memory {
    pub(super) fn new(known: HashMap<DeviceId, Stored>) -> Self {
        Self {
            known,
            records: Vec::new(),
        }
    }

    /// Makes of the device of a profile alone the one with the values that count.
    pub(super) fn come(&mut self, fresh: Device, profile: &Profile, file: FileTimes) -> Device {
        let Some(stored) = self.known.get_mut(fresh.id()) else {
            self.read(&fresh, file);
            return fresh;
        };
        let points = std::mem::take(&mut stored.points);
        if stored.file.is_before(file) {
            let device = joined(&fresh, profile, &points, true);
            self.read(&device, file);
            return device;
        }
        let device = joined(&fresh, profile, &points, false);
        let is_new = |point: &&Point| find(&points, point.code.as_str()).is_none();
        let new: Vec<Point> = device.points().iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            self.records.push(Record::Points {
                device: device.id().clone(),
                points: new,
            });
        }
        device
    }

    /// Notes that a profile was read, and what became of the device.
    pub(super) fn read(&mut self, device: &Device, file: FileTimes) {
        let stored = Stored {
            file,
            points: Vec::new(),
        };
        self.known.insert(device.id().clone(), stored);
        self.records.push(Record::Device {
            device: device.id().clone(),
            file,
            points: device.points().to_vec(),
        });
    }

    /// Notes that a device has new values of these codes.
    pub(super) fn written(&mut self, device: &Device, codes: &[Code]) {
        let points = codes
            .iter()
            .filter_map(|code| device.point(code.as_str()).cloned());
        self.records.push(Record::Points {
            device: device.id().clone(),
            points: points.collect(),
        });
    }

    /// Keeps the values of a device that goes.
    pub(super) fn go(&mut self, device: &Device) {
        if let Some(stored) = self.known.get_mut(device.id()) {
            stored.points = device.points().to_vec();
        }
    }

    /// Hands over what is to be stored since the last call.
    pub(super) fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }
}

/// Lays stored values and those of a profile over each other; `file_wins` where both have one.
fn joined(fresh: &Device, profile: &Profile, stored: &[Point], file_wins: bool) -> Device {
    let given = |code: &str| profile.readings.iter().any(|r| r.code.as_str() == code);
    let declared = |code: &str| profile.schema.status(code).is_some();
    let stays = stored.iter().filter(|point| {
        let code = point.code.as_str();
        given(code) || declared(code)
    });
    let counts = profile
        .readings
        .iter()
        .filter(|reading| file_wins || find(stored, reading.code.as_str()).is_none());
    let bare = bare(profile, Arc::clone(fresh.schema()));
    bare_with(bare, stays, counts.cloned().collect(), stamp())
}

fn find<'a>(points: &'a [Point], code: &str) -> Option<&'a Point> {
    points.iter().find(|point| point.code.as_str() == code)
}
