//! Profile files: loading them, keeping the last good version, and what an edit means.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearthgate_protocol::model::{Change, Device, DeviceId, Home, Reading, Stamp};
use hearthgate_protocol::wire::{Profile, ProfileError};
use tracing::{info, warn};

/// Why profiles cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProfilesError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}; check --devices", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Some files are broken, each on a line of its own.
    #[error("{}", list(.0))]
    Broken(Vec<BrokenProfile>),
}

/// A file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenProfile {
    /// It is no profile.
    #[error("{}: {error}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        error: ProfileError,
    },
    /// It is not UTF-8.
    #[error("{}: not UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Another file has the same device.
    #[error("{}: device {device} is in {} already; give one of them another devid", path.display(), other.display())]
    Double {
        /// The file.
        path: PathBuf,
        /// The file that was first.
        other: PathBuf,
        /// The device.
        device: DeviceId,
    },
}

fn list(broken: &[BrokenProfile]) -> String {
    broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The files below some paths, each with its last good version.
#[derive(Debug)]
pub(super) struct ProfileFiles {
    roots: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Loaded>,
    /// Files that are broken, by their content then: told once each.
    told: BTreeMap<PathBuf, String>,
}

#[derive(Debug, Clone)]
struct Loaded {
    content: String,
    profile: Profile,
}

/// What an edit of the files did to one device: the profile before and after.
#[derive(Debug)]
pub(super) struct Edit {
    before: Option<Profile>,
    after: Option<Profile>,
}

impl ProfileFiles {
    pub(super) fn load(roots: &[PathBuf]) -> Result<Self, ProfilesError> {
        let mut files = Self { roots: roots.to_vec(), files: BTreeMap::new(), told: BTreeMap::new() };
        let mut broken = Vec::new();
        let mut devices: BTreeMap<DeviceId, PathBuf> = BTreeMap::new();
        for path in list_files(roots)? {
            let bytes = fs::read(&path)
                .map_err(|source| ProfilesError::Read { path: path.clone(), source })?;
            match parse(&path, bytes) {
                Ok(loaded) => {
                    let device = loaded.profile.device.clone();
                    if let Some(other) = devices.get(&device) {
                        let other = other.clone();
                        broken.push(BrokenProfile::Double { path, other, device });
                    } else {
                        devices.insert(device, path.clone());
                        files.files.insert(path, loaded);
                    }
                }
                Err(problem) => broken.push(problem),
            }
        }
        if broken.is_empty() { Ok(files) } else { Err(ProfilesError::Broken(broken)) }
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.roots
    }

    pub(super) fn profiles(&self) -> impl Iterator<Item = &Profile> {
        self.files.values().map(|loaded| &loaded.profile)
    }

    /// Reads all files again. A broken one keeps its last good version, with one line in the log.
    pub(super) fn reload(&mut self) -> Vec<Edit> {
        let paths = match list_files(&self.roots) {
            Ok(paths) => paths,
            Err(fault) => {
                warn!("{fault}; the devices stay as they are");
                return Vec::new();
            }
        };
        let before = std::mem::take(&mut self.files);
        let mut told = BTreeMap::new();
        let mut devices: BTreeMap<DeviceId, PathBuf> = BTreeMap::new();
        // Devices that are known keep their files; a new file cannot take one over.
        for path in &paths {
            if let Some(loaded) = before.get(path) {
                devices.entry(loaded.profile.device.clone()).or_insert_with(|| path.clone());
            }
        }
        for path in paths {
            let known = before.get(&path);
            match self.read_again(&path, known, &devices) {
                Ok(loaded) => {
                    devices.insert(loaded.profile.device.clone(), path.clone());
                    self.files.insert(path, loaded);
                }
                Err((content, problem)) => {
                    if self.told.get(&path) != Some(&content) {
                        let kept = if known.is_some() { "its last good version stays" } else { "ignored" };
                        warn!("{problem}; {kept}");
                    }
                    told.insert(path.clone(), content);
                    if let Some(known) = known {
                        self.files.insert(path, known.clone());
                    }
                }
            }
        }
        self.told = told;
        edits(&before, &self.files)
    }

    fn read_again(
        &self,
        path: &Path,
        known: Option<&Loaded>,
        devices: &BTreeMap<DeviceId, PathBuf>,
    ) -> Result<Loaded, (String, String)> {
        let bytes = fs::read(path).map_err(|error| {
            (error.to_string(), format!("cannot read {}: {error}", path.display()))
        })?;
        if let Some(known) = known.filter(|known| known.content.as_bytes() == bytes) {
            return Ok(known.clone());
        }
        let content = String::from_utf8_lossy(&bytes).into_owned();
        let loaded = parse(path, bytes).map_err(|problem| (content.clone(), problem.to_string()))?;
        let device = &loaded.profile.device;
        match devices.get(device) {
            Some(other) if other != path => {
                let (path, other) = (path.to_owned(), other.clone());
                let problem = BrokenProfile::Double { path, other, device: device.clone() };
                Err((content, problem.to_string()))
            }
            _ => Ok(loaded),
        }
    }
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
    let edited: Vec<Reading> =
        after.readings.iter().filter(|reading| !before.readings.contains(reading)).cloned().collect();
    let removed = |code: &str| {
        before.readings.iter().any(|reading| reading.code.as_str() == code)
            && !after.readings.iter().any(|reading| reading.code.as_str() == code)
    };
    let lost = before.readings.iter().any(|reading| removed(reading.code.as_str()));
    if before.schema != after.schema || lost {
        let mut readings: Vec<Reading> = home
            .device(device.as_str())
            .map(Device::points)
            .unwrap_or_default()
            .iter()
            .filter(|point| !removed(point.code.as_str()))
            .map(|point| Reading { code: point.code.clone(), value: point.value.clone() })
            .collect();
        for reading in edited {
            match readings.iter_mut().find(|known| known.code == reading.code) {
                Some(known) => known.value = reading.value,
                None => readings.push(reading),
            }
        }
        let schema = Arc::new(after.schema.clone());
        changes.push(Change::Upsert(Device::new(device, schema, after.online, readings, stamp)));
    } else if before.online != after.online {
        changes.push(Change::Online { device, online: after.online, readings: edited });
    } else if !edited.is_empty() {
        changes.push(Change::State { device, readings: edited });
    }
}

/// Compares by device, not by file: a file that is renamed changes nothing.
fn edits(before: &BTreeMap<PathBuf, Loaded>, after: &BTreeMap<PathBuf, Loaded>) -> Vec<Edit> {
    let by_device = |files: &BTreeMap<PathBuf, Loaded>| -> BTreeMap<DeviceId, Profile> {
        files.values().map(|file| (file.profile.device.clone(), file.profile.clone())).collect()
    };
    let (mut before, after) = (by_device(before), by_device(after));
    let mut edits = Vec::new();
    for (device, profile) in after {
        let known = before.remove(&device);
        if known.as_ref() != Some(&profile) {
            edits.push(Edit { before: known, after: Some(profile) });
        }
    }
    edits.extend(before.into_values().map(|gone| Edit { before: Some(gone), after: None }));
    if !edits.is_empty() {
        info!(devices = edits.len(), "profiles were edited");
    }
    edits
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<Loaded, BrokenProfile> {
    let content = String::from_utf8(bytes)
        .map_err(|_| BrokenProfile::NotText { path: path.to_owned() })?;
    match Profile::parse(&content) {
        Ok(profile) => Ok(Loaded { content, profile }),
        Err(error) => Err(BrokenProfile::Malformed { path: path.to_owned(), error }),
    }
}

/// Lists the files: those named, and all visible `*.json` in the folders named.
fn list_files(roots: &[PathBuf]) -> Result<Vec<PathBuf>, ProfilesError> {
    let mut files = Vec::new();
    for root in roots {
        let failed = |source| ProfilesError::Read { path: root.clone(), source };
        if !fs::metadata(root).map_err(failed)?.is_dir() {
            files.push(root.clone());
            continue;
        }
        for entry in fs::read_dir(root).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let visible = path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'));
            if visible && path.extension().is_some_and(|end| end == "json") && path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}
