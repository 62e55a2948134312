//! Which devices there are: files in, one checked list out.
//!
//! Input are our own TOML files and those that people already have (`devices.json`, `tuyadevices.json`);
//! output is a [`LanConfig`]. What is wrong is named by file, device and key, and no message repeats a
//! secret.

mod entry;
mod import;
mod toml_file;
mod write;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthgate_protocol::model::DeviceId;

use self::entry::Entry;
pub use self::entry::address as parse_address;
pub use self::write::to_toml;
use crate::link::{Dialect, Version};
use crate::points::PointTable;
use crate::profiles::Profiles;
use crate::secret::LocalKey;

/// The TCP port of the vendor's LAN protocol.
pub const DEFAULT_PORT: u16 = 6668;
/// How often a device is asked that says nothing by itself.
pub const DEFAULT_POLL: Duration = Duration::from_secs(60);
/// How long a device may be gone before that is said.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// The most bytes of a file.
const FILE_MAX: u64 = 64 * 1024 * 1024;

/// All devices of some files.
#[derive(Clone, Debug, Default)]
pub struct LanConfig {
    /// The devices, in the order of the files.
    pub devices: Vec<DeviceConfig>,
    /// Where announcements are listened for, UDP; empty means the vendor's ports.
    pub listen: Vec<SocketAddr>,
    /// What is odd and does not keep a device from being served.
    pub warnings: Vec<String>,
}

/// One device.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Its id, which is its id behind our gateway too.
    pub id: DeviceId,
    /// Its name, which never travels.
    pub name: Option<String>,
    /// The vendor's code for the kind of device.
    pub category: String,
    /// The vendor's id of the product.
    pub product: Option<String>,
    /// How it is reached.
    pub reach: Reach,
    /// Its data points.
    pub points: PointTable,
    /// How often it is asked while it says nothing; `None` is never.
    pub poll: Option<Duration>,
    /// How long it may be gone before that is said.
    pub grace: Duration,
    /// Data points that it must be told to measure, before it is asked.
    pub refresh: Vec<u16>,
}

/// How a device is reached.
#[derive(Clone, Debug)]
pub enum Reach {
    /// Over a connection of its own.
    Direct(Direct),
    /// Over that of another device.
    Behind {
        /// The other device.
        parent: DeviceId,
        /// What it calls this one.
        cid: String,
    },
}

/// A device with a connection of its own.
#[derive(Clone, Debug)]
pub struct Direct {
    /// Its local key.
    pub key: LocalKey,
    /// Its version; found out where there is none.
    pub version: Option<Version>,
    /// Its address; heard from its announcement where there is none.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// How it is asked; found out where there is none.
    pub dialect: Option<Dialect>,
}

impl DeviceConfig {
    /// Returns name and id as people read them.
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.id),
            None => self.id.to_string(),
        }
    }
}

/// Why files do not say which devices there are. Never holds a key.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    fn one(path: &Path, problem: impl fmt::Display) -> Self {
        Self(vec![format!("{}: {problem}", path.display())])
    }
}

impl LanConfig {
    /// Loads the devices of files: TOML of our own, or JSON of `tinytuya wizard` and the like.
    ///
    /// # Errors
    /// Names the file, the device and the key of everything that is wrong, and devices that are in two
    /// files.
    pub fn load(paths: &[PathBuf]) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        let mut places: HashMap<DeviceId, PathBuf> = HashMap::new();
        for path in paths {
            match load_one(path) {
                Ok(one) => {
                    for device in &one.devices {
                        if let Some(first) = places.insert(device.id.clone(), path.clone()) {
                            problems.push(format!(
                                "device {} is in {} and in {}: remove it from one of them",
                                device.id,
                                first.display(),
                                path.display()
                            ));
                        }
                    }
                    config.devices.extend(one.devices);
                    config.listen.extend(one.listen);
                    config.warnings.extend(one.warnings);
                }
                Err(ConfigError(more)) => problems.extend(more),
            }
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(problems))
        }
    }

    /// Reads the text of one file. `path` is for messages and for files that it names.
    ///
    /// # Errors
    /// As [`LanConfig::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file = if is_json(text, path) {
            import::read(text)
        } else {
            toml_file::read(text)
        };
        let file = file.map_err(|problems| prefixed(path, problems))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let profiles = Profiles::load(file.profiles.iter().map(|named| folder.join(named)))
            .map_err(|problem| ConfigError(vec![problem]))?;
        finish(file, &profiles, path)
    }
}

/// What a file says, before its devices are seen together.
#[derive(Debug, Default)]
struct FileContent {
    entries: Vec<Entry>,
    listen: Vec<SocketAddr>,
    profiles: Vec<PathBuf>,
    warnings: Vec<String>,
}

fn load_one(path: &Path) -> Result<LanConfig, ConfigError> {
    let metadata = fs::metadata(path)
        .map_err(|error| ConfigError::one(path, format!("cannot be read: {error}")))?;
    if metadata.len() > FILE_MAX {
        return Err(ConfigError::one(path, "is too large for a list of devices"));
    }
    let text = fs::read_to_string(path)
        .map_err(|error| ConfigError::one(path, format!("cannot be read: {error}")))?;
    let text = zeroize::Zeroizing::new(text);
    let mut config = LanConfig::parse(&text, path)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let path = path.display();
        config.warnings.insert(
            0,
            format!("{path} holds keys and can be read by others: chmod 600 {path}"),
        );
    }
    Ok(config)
}

fn is_json(text: &str, path: &Path) -> bool {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => true,
        Some("toml") => false,
        _ => match text.trim_start().as_bytes() {
            [b'{', ..] => true,
            // A table of TOML begins with a bracket as well.
            [b'[', rest @ ..] => {
                !matches!(rest.trim_ascii_start().first(), Some(b'[' | b'a'..=b'z'))
            }
            _ => false,
        },
    }
}

fn prefixed(path: &Path, problems: Vec<String>) -> ConfigError {
    let path = path.display();
    ConfigError(
        problems
            .into_iter()
            .map(|problem| format!("{path}: {problem}"))
            .collect(),
    )
}

/// Checks what concerns several devices, and completes each by the profiles.
fn finish(file: FileContent, profiles: &Profiles, path: &Path) -> Result<LanConfig, ConfigError> {
    let mut problems = Vec::new();
    let mut ids: HashMap<&DeviceId, &Entry> = HashMap::new();
    let mut cids = HashSet::new();
    for entry in &file.entries {
        if let Some(first) = ids.insert(&entry.id, entry) {
            problems.push(format!(
                "{}: device {} is there already, {}",
                entry.place, entry.id, first.place
            ));
        }
    }
    for entry in &file.entries {
        let Reach::Behind { parent, cid } = &entry.reach else {
            continue;
        };
        let place = &entry.place;
        match ids.get(parent).map(|parent| &parent.reach) {
            None => problems.push(format!(
                "{place}: parent: there is no device {parent} in this file"
            )),
            Some(Reach::Behind { .. }) => problems.push(format!(
                "{place}: parent: device {parent} is a sub-device itself"
            )),
            Some(Reach::Direct(_)) => {}
        }
        if !cids.insert((parent, cid)) {
            problems.push(format!(
                "{place}: cid: another sub-device of {parent} has the same"
            ));
        }
    }
    if !problems.is_empty() {
        return Err(prefixed(path, problems));
    }
    let shown = path.display();
    Ok(LanConfig {
        devices: file
            .entries
            .into_iter()
            .map(|entry| entry.into_device(profiles))
            .collect(),
        listen: file.listen,
        warnings: file
            .warnings
            .into_iter()
            .map(|warning| format!("{shown}: {warning}"))
            .collect(),
    })
}

#[cfg(test)]
mod tests;
