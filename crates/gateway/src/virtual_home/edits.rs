//! What an edit of the files means for the devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearthgate_protocol::model::{Change, Device, DeviceId, Home, Reading, Stamp};
use hearthgate_protocol::wire::Profile;
use tracing::info;

use super::{bare, bare_with};
use crate::values::FileTimes;

/// What an edit of the files did to one device: the profile before and after.
#[derive(Debug)]
pub(super) struct Edit {
    before: Option<Profile>,
    after: Option<(Profile, FileTimes)>,
}

impl Edit {
    /// Returns the device if its profile is gone.
    pub(super) fn gone(&self) -> Option<&DeviceId> {
        match (&self.before, &self.after) {
            (Some(before), None) => Some(&before.device),
            _ => None,
        }
    }

    /// Returns the device if it was there and still is, and when its profile was read.
    pub(super) fn edited(&self) -> Option<(&DeviceId, FileTimes)> {
        match (&self.before, &self.after) {
            (Some(_), Some((after, times))) => Some((&after.device, *times)),
            _ => None,
        }
    }
}

/// Turns edits into changes. Values that a write has changed stay unless the file gives another. A
/// device that comes is what `come` makes of its profile.
pub(super) fn differences(
    edits: &[Edit],
    home: &Home,
    stamp: Stamp,
    mut come: impl FnMut(&Profile, FileTimes) -> Device,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for Edit { before, after } in edits {
        match (before, after) {
            (Some(before), None) => changes.push(Change::Remove(before.device.clone())),
            (None, Some((after, times))) => changes.push(Change::Upsert(come(after, *times))),
            (Some(before), Some((after, _))) => edited(before, after, home, stamp, &mut changes),
            (None, None) => {}
        }
    }
    changes
}

fn edited(before: &Profile, after: &Profile, home: &Home, stamp: Stamp, changes: &mut Vec<Change>) {
    let device = after.device.clone();
    let edited: Vec<Reading> = after
        .readings
        .iter()
        .filter(|reading| !before.readings.contains(reading))
        .cloned()
        .collect();
    let removed = |code: &str| {
        before
            .readings
            .iter()
            .any(|reading| reading.code.as_str() == code)
            && !after
                .readings
                .iter()
                .any(|reading| reading.code.as_str() == code)
    };
    let lost = before
        .readings
        .iter()
        .any(|reading| removed(reading.code.as_str()));
    if before.schema != after.schema || lost {
        let known = home.device(device.as_str()).map(Device::points);
        let stay = known
            .unwrap_or_default()
            .iter()
            .filter(|point| !removed(point.code.as_str()));
        let bare = bare(after, Arc::clone(&after.schema));
        changes.push(Change::Upsert(bare_with(bare, stay, edited, stamp)));
    } else if before.online != after.online {
        changes.push(Change::Online {
            device,
            online: after.online,
            readings: edited,
        });
    } else if !edited.is_empty() {
        changes.push(Change::State {
            device,
            readings: edited,
        });
    }
}

/// Compares profiles by device, not by file: a file that is renamed changes nothing.
pub(super) fn edits<'a>(
    before: impl Iterator<Item = (&'a Profile, FileTimes)>,
    after: impl Iterator<Item = (&'a Profile, FileTimes)>,
) -> Vec<Edit> {
    let mut before: BTreeMap<&DeviceId, &Profile> = before
        .map(|(profile, _)| (&profile.device, profile))
        .collect();
    let after: BTreeMap<&DeviceId, (&Profile, FileTimes)> = after
        .map(|(profile, times)| (&profile.device, (profile, times)))
        .collect();
    let mut edits = Vec::new();
    for (device, (profile, times)) in after {
        let known = before.remove(device);
        if known != Some(profile) {
            edits.push(Edit {
                before: known.cloned(),
                after: Some((profile.clone(), times)),
            });
        }
    }
    edits.extend(before.into_values().map(|gone| Edit {
        before: Some(gone.clone()),
        after: None,
    }));
    if !edits.is_empty() {
        info!(devices = edits.len(), "profiles were edited");
    }
    edits
}
