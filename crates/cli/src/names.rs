//! Names of devices for people. They never travel; they come from device profiles.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::Profile;

use crate::exit::Failure;

/// Names by device id.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<DeviceId, String>);

impl Names {
    /// Reads names from profile files and from all `*.json` files in folders.
    pub(crate) fn load(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut names = Self::default();
        for path in paths {
            let failed = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
            if fs::metadata(path).map_err(failed)?.is_dir() {
                for entry in fs::read_dir(path).map_err(failed)? {
                    let file = entry.map_err(failed)?.path();
                    if file.extension().is_some_and(|end| end == "json") {
                        names.add(&file)?;
                    }
                }
            } else {
                names.add(path)?;
            }
        }
        Ok(names)
    }

    /// Returns the name of a device, empty where it has none.
    pub(crate) fn of(&self, device: &str) -> &str {
        self.0.get(device).map_or("", String::as_str)
    }

    fn add(&mut self, file: &Path) -> Result<(), Failure> {
        let content = fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
        let profile = Profile::parse(&content)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        if let Some(name) = profile.name {
            self.0.insert(profile.device, name);
        }
        Ok(())
    }
}

impl FromIterator<(String, String)> for Names {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(names: I) -> Self {
        Self(
            names
                .into_iter()
                .map(|(device, name)| (device.into(), name))
                .collect(),
        )
    }
}
