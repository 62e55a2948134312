//! What the outlet remembers from one run to the next: who it is, and where it left retained messages.
//!
//! A small file in the state folder, `mqtt.json`, and a lock for each place (broker and topic root), so
//! that no second hub takes the same client id. Without a folder it is somebody else each time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use hearthgate_hub::file::{self, FileError};
use serde::{Deserialize, Serialize};

/// The most places that are remembered.
const PLACES_MAX: usize = 16;

/// Why nothing can be remembered.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is one already.
    #[error(
        "another hub of this state folder serves the topic root `{root}` at {broker}: end it, or give this one --topic-root"
    )]
    Running {
        /// The topic root.
        root: String,
        /// The broker.
        broker: String,
    },
    /// The lock.
    #[error("cannot lock {path}: {cause}")]
    Lock {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
}

/// Where retained messages are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) broker: String,
    pub(crate) root: String,
    pub(crate) prefix: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Content {
    /// Who this hub is, wherever it runs.
    hub: String,
    /// The newest last.
    #[serde(default)]
    places: Vec<Place>,
}

/// What is remembered.
#[derive(Debug)]
pub(crate) struct Memory {
    path: Option<PathBuf>,
    content: Content,
    /// Held for as long as the outlet runs.
    _lock: Option<File>,
}

impl Memory {
    /// Reads the file of a folder, or makes it; takes the lock of a place.
    pub(crate) fn open(folder: Option<&Path>, place: &Place) -> Result<Self, MemoryError> {
        let fresh = || Content {
            hub: format!("{:016x}", fastrand::u64(..)),
            places: Vec::new(),
        };
        let Some(folder) = folder else {
            return Ok(Self {
                path: None,
                content: fresh(),
                _lock: None,
            });
        };
        let path = folder.join("mqtt.json");
        let content = change(&path, |content| {
            if content.hub.is_empty() {
                *content = fresh();
            }
        })?;
        let lock = lock(folder, place)?;
        Ok(Self {
            path: Some(path),
            content,
            _lock: Some(lock),
        })
    }

    /// Returns who this hub is.
    pub(crate) fn hub(&self) -> &str {
        &self.content.hub
    }

    /// Returns the other places at this broker where messages of an earlier run may be.
    pub(crate) fn earlier(&self, place: &Place) -> Vec<Place> {
        let places = self.content.places.iter();
        places
            .filter(|other| other.broker == place.broker && *other != place)
            .cloned()
            .collect()
    }

    /// Remembers a place, before anything is left there.
    pub(crate) fn enter(&mut self, place: &Place) -> Result<(), MemoryError> {
        self.update(|content| {
            content.places.retain(|other| other != place);
            content.places.push(place.clone());
            let surplus = content.places.len().saturating_sub(PLACES_MAX);
            content.places.drain(..surplus);
        })
    }

    /// Forgets a place where nothing is left.
    pub(crate) fn leave(&mut self, place: &Place) -> Result<(), MemoryError> {
        self.update(|content| content.places.retain(|other| other != place))
    }

    fn update(&mut self, update: impl FnOnce(&mut Content)) -> Result<(), MemoryError> {
        match &self.path {
            None => update(&mut self.content),
            Some(path) => self.content = change(path, update)?,
        }
        Ok(())
    }
}

fn change(path: &Path, update: impl FnOnce(&mut Content)) -> Result<Content, FileError> {
    file::edit(path, |text| {
        let mut content = if text.trim().is_empty() {
            Content::default()
        } else {
            serde_json::from_str(text).map_err(|error| FileError::Content {
                path: path.to_owned(),
                line: Some(error.line()),
                problem: error.to_string(),
            })?
        };
        update(&mut content);
        let text = serde_json::to_string_pretty(&content)
            .map_err(|error| FileError::Refused(error.to_string()))?;
        Ok((format!("{text}\n"), content))
    })
}

fn lock(folder: &Path, place: &Place) -> Result<File, MemoryError> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = format!("{} {}", place.broker, place.root)
        .chars()
        .map(plain)
        .collect();
    let path = folder.join(format!("mqtt-{name}.lock"));
    let failed = |cause| MemoryError::Lock {
        path: path.clone(),
        cause,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(MemoryError::Running {
            root: place.root.clone(),
            broker: place.broker.clone(),
        }),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &str) -> Place {
        Place {
            broker: "mqtt://broker:1883".to_owned(),
            root: root.to_owned(),
            prefix: "homeassistant".to_owned(),
        }
    }

    #[test]
    fn who_it_is_and_where_it_was_outlives_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (place("a"), place("b"));
        let mut memory = Memory::open(Some(folder.path()), &a).unwrap();
        let hub = memory.hub().to_owned();
        memory.enter(&a).unwrap();
        drop(memory);
        let mut memory = Memory::open(Some(folder.path()), &b).unwrap();
        assert_eq!(memory.hub(), hub);
        assert_eq!(memory.earlier(&b), std::slice::from_ref(&a));
        memory.enter(&b).unwrap();
        memory.leave(&a).unwrap();
        assert_eq!(memory.earlier(&b), []);
    }

    #[test]
    fn a_second_hub_of_the_same_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = Memory::open(Some(folder.path()), &place("a")).unwrap();
        let error = Memory::open(Some(folder.path()), &place("a")).unwrap_err();
        assert!(error.to_string().contains("--topic-root"), "{error}");
        Memory::open(Some(folder.path()), &place("b")).unwrap();
        drop(first);
        Memory::open(Some(folder.path()), &place("a")).unwrap();
    }
}
