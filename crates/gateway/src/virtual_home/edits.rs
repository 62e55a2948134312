//! What an edit of the files means for the devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearthgate_protocol::model::{Change, Device, DeviceId, Home, Reading, Stamp};
use hearthgate_protocol::wire::Profile;
use tracing::info;

/// What an edit of the files did to one device: the profile before and after.
#[derive(Debug)]
pub(super) struct Edit {
    before: Option<Profile>,
    after: Option<Profile>,
}

/// Turns edits into changes. Values that a write has changed stay unless the file gives another.
pub(super) fn differences(edits: &[Edit], home: &Home, stamp: Stamp) -> Vec<Change> {
    let mut changes = Vec::new();
    for Edit { before, after } in edits {
        match (before, after) {
            (Some(before), None) => changes.push(Change::Remove(before.device.clone())),
            (None, Some(after)) => changes.push(Change::Upsert(super::device(after))),
            (Some(before), Some(after)) => edited(before, after, home, stamp, &mut changes),
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
        let mut readings: Vec<Reading> = home
            .device(device.as_str())
            .map(Device::points)
            .unwrap_or_default()
            .iter()
            .filter(|point| !removed(point.code.as_str()))
            .map(|point| Reading {
                code: point.code.clone(),
                value: point.value.clone(),
            })
            .collect();
        for reading in edited {
            match readings.iter_mut().find(|known| known.code == reading.code) {
                Some(known) => known.value = reading.value,
                None => readings.push(reading),
            }
        }
        let schema = Arc::new(after.schema.clone());
        changes.push(Change::Upsert(Device::new(
            device,
            schema,
            after.online,
            readings,
            stamp,
        )));
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
    before: impl Iterator<Item = &'a Profile>,
    after: impl Iterator<Item = &'a Profile>,
) -> Vec<Edit> {
    let keyed = |profile: &Profile| (profile.device.clone(), profile.clone());
    let mut before: BTreeMap<DeviceId, Profile> = before.map(keyed).collect();
    let after: BTreeMap<DeviceId, Profile> = after.map(keyed).collect();
    let mut edits = Vec::new();
    for (device, profile) in after {
        let known = before.remove(&device);
        if known.as_ref() != Some(&profile) {
            edits.push(Edit {
                before: known,
                after: Some(profile),
            });
        }
    }
    edits.extend(before.into_values().map(|gone| Edit {
        before: Some(gone),
        after: None,
    }));
    if !edits.is_empty() {
        info!(devices = edits.len(), "profiles were edited");
    }
    edits
}
