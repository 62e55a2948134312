//! Names of gateways and devices for people: a file in the state folder. They never travel.
//!
//! Input are renames, from commands and outlets; output are names by identity and identities by name.
//!
//! ```toml
//! [gateways]
//! bf0123456789abcdef = "home"
//!
//! [devices.bf0123456789abcdef]
//! a4c1380b = "Kitchen lamp"
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearthgate_protocol::model::DeviceId;
use parking_lot::RwLock;
use toml_edit::{Document, DocumentMut, Item, Table, TableLike, Value};

use crate::file::{self, FileError, Problem};
use crate::identity::{DeviceRef, GatewayId};

const GATEWAYS: &str = "gateways";
const DEVICES: &str = "devices";
/// The longest name, in characters.
const NAME_MAX: usize = 128;

/// The names, cheap to clone; all clones see a rename at once.
#[derive(Clone, Debug)]
pub struct Names {
    /// None: in memory alone.
    path: Option<PathBuf>,
    known: Arc<RwLock<Known>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    gateways: BTreeMap<GatewayId, String>,
    devices: BTreeMap<DeviceRef, String>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A gateway.
    Gateway(GatewayId),
    /// A device.
    Device(DeviceRef),
}

impl Names {
    /// Returns where the file is: `$XDG_STATE_HOME/hearthgate/names.toml`, or the same below
    /// `~/.local/state`.
    ///
    /// # Errors
    /// Where neither folder is known.
    pub fn default_path() -> Result<PathBuf, FileError> {
        let folder = file::user_folder("XDG_STATE_HOME", ".local/state", "the names")?;
        Ok(folder.join("names.toml"))
    }

    /// Opens a file; no file is no name.
    ///
    /// # Errors
    /// Where it cannot be read or something in it is wrong, with the line. It is left as it is then.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let text = file::read(path)?.unwrap_or_default();
        let known = read(&text).map_err(|problem| problem.in_file(path))?;
        Ok(Self {
            path: Some(path.to_owned()),
            known: Arc::new(RwLock::new(known)),
        })
    }

    /// Makes names that are kept nowhere.
    pub fn in_memory() -> Self {
        Self {
            path: None,
            known: Arc::default(),
        }
    }

    /// Returns the name of a gateway.
    pub fn gateway(&self, gateway: &GatewayId) -> Option<String> {
        self.known.read().gateways.get(gateway).cloned()
    }

    /// Returns the name of a device.
    pub fn device(&self, device: &DeviceRef) -> Option<String> {
        self.known.read().devices.get(device).cloned()
    }

    /// Returns what is called so, whatever the case: gateways first. Two gateways may each have a
    /// device of that name.
    pub fn find(&self, name: &str) -> Vec<Named> {
        let known = self.known.read();
        let gateways = known.gateways.iter();
        let devices = known.devices.iter();
        gateways
            .filter(|(_, other)| alike(other, name))
            .map(|(id, _)| Named::Gateway(id.clone()))
            .chain(
                devices
                    .filter(|(_, other)| alike(other, name))
                    .map(|(id, _)| Named::Device(id.clone())),
            )
            .collect()
    }

    /// Gives a gateway a name, or takes it away; returns the one it had.
    ///
    /// # Errors
    /// Where the name is none, another gateway has it, or the file is wrong or cannot be written.
    pub fn rename_gateway(
        &self,
        gateway: &GatewayId,
        name: Option<&str>,
    ) -> Result<Option<String>, FileError> {
        self.change(|known| {
            let taken = |known: &Known| {
                let mut others = known.gateways.iter().filter(|(id, _)| *id != gateway);
                let name = name?;
                others
                    .find(|(_, other)| alike(other, name))
                    .map(|(id, _)| id.to_string())
            };
            check(name, taken(known))?;
            Ok(match name {
                Some(name) => known.gateways.insert(gateway.clone(), name.to_owned()),
                None => known.gateways.remove(gateway),
            })
        })
    }

    /// Gives a device a name, or takes it away; returns the one it had.
    ///
    /// # Errors
    /// Where the name is none, another device of that gateway has it, or the file is wrong or cannot be
    /// written.
    pub fn rename_device(
        &self,
        device: &DeviceRef,
        name: Option<&str>,
    ) -> Result<Option<String>, FileError> {
        self.change(|known| {
            let taken = |known: &Known| {
                let mut others = known
                    .devices
                    .iter()
                    .filter(|(id, _)| *id != device && id.gateway == device.gateway);
                let name = name?;
                others
                    .find(|(_, other)| alike(other, name))
                    .map(|(id, _)| id.device.to_string())
            };
            check(name, taken(known))?;
            Ok(match name {
                Some(name) => known.devices.insert(device.clone(), name.to_owned()),
                None => known.devices.remove(device),
            })
        })
    }

    /// Changes the file and what is known of it. Another program's changes are seen here.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Known) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let Some(path) = &self.path else {
            return change(&mut self.known.write());
        };
        let (known, outcome) = file::edit(path, |text| {
            let mut known = read(text).map_err(|problem| problem.in_file(path))?;
            let outcome = change(&mut known)?;
            let mut document: DocumentMut = text
                .parse()
                .map_err(|error| Problem::syntax(text, &error).in_file(path))?;
            write(&known, &mut document);
            Ok((document.to_string(), (known, outcome)))
        })?;
        *self.known.write() = known;
        Ok(outcome)
    }
}

fn alike(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

fn check(name: Option<&str>, taken: Option<String>) -> Result<(), FileError> {
    let Some(name) = name else { return Ok(()) };
    let sound = (1..=NAME_MAX).contains(&name.chars().count())
        && name.trim() == name
        && !name.chars().any(char::is_control);
    if !sound {
        return Err(FileError::Refused(format!(
            "a name is 1 to {NAME_MAX} characters without line ends and without blanks around it"
        )));
    }
    match taken {
        None => Ok(()),
        Some(other) => Err(FileError::Refused(format!(
            "`{name}` is the name of {other} already: rename that one first"
        ))),
    }
}

fn read(text: &str) -> Result<Known, Problem> {
    let document = Document::parse(text).map_err(|error| Problem::syntax(text, &error))?;
    let mut known = Known::default();
    for (section, item) in document.as_table() {
        let table = table_of(text, section, item)?;
        match section {
            GATEWAYS => {
                for (id, item) in table.iter() {
                    known.gateways.insert(id.into(), name_of(text, id, item)?);
                }
            }
            DEVICES => {
                for (gateway, item) in table.iter() {
                    for (device, item) in table_of(text, gateway, item)?.iter() {
                        let name = name_of(text, device, item)?;
                        known.devices.insert(DeviceRef::new(gateway, device), name);
                    }
                }
            }
            other => {
                let problem = format!("unknown section `{other}`; known are gateways and devices");
                return Err(problem_at(text, item, problem));
            }
        }
    }
    Ok(known)
}

fn table_of<'a>(text: &str, name: &str, item: &'a Item) -> Result<&'a dyn TableLike, Problem> {
    item.as_table_like()
        .ok_or_else(|| problem_at(text, item, format!("`{name}` is a table of names")))
}

fn name_of(text: &str, id: &str, item: &Item) -> Result<String, Problem> {
    item.as_str()
        .map(str::to_owned)
        .ok_or_else(|| problem_at(text, item, format!("the name of {id} is a text")))
}

fn problem_at(text: &str, item: &Item, problem: String) -> Problem {
    Problem::at(text, item.span().map(|span| span.start), problem)
}

/// Writes what is known, and leaves what stays as it is, comments too.
fn write(known: &Known, document: &mut DocumentMut) {
    let gateways = known.gateways.iter();
    let gateways: BTreeMap<&str, &str> = gateways
        .map(|(id, name)| (id.as_str(), name.as_str()))
        .collect();
    fill(document.as_table_mut(), GATEWAYS, &gateways);
    let mut devices: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (id, name) in &known.devices {
        let of_gateway = devices.entry(id.gateway.as_str()).or_default();
        of_gateway.insert(DeviceId::as_str(&id.device), name);
    }
    if !document.contains_key(DEVICES) && !devices.is_empty() {
        let mut table = Table::new();
        table.set_implicit(true);
        document.insert(DEVICES, Item::Table(table));
    }
    let Some(table) = document.get_mut(DEVICES).and_then(Item::as_table_like_mut) else {
        return;
    };
    let mut sections: Vec<String> = table.iter().map(|(id, _)| id.to_owned()).collect();
    sections.extend(devices.keys().map(|id| (*id).to_owned()));
    for id in sections {
        let names = devices.get(id.as_str()).cloned().unwrap_or_default();
        fill(table, &id, &names);
    }
}

/// Makes a section hold exactly these names.
fn fill(table: &mut dyn TableLike, section: &str, names: &BTreeMap<&str, &str>) {
    if table.get(section).is_none() {
        if names.is_empty() {
            return;
        }
        table.insert(section, Item::Table(Table::new()));
    }
    let Some(section) = table.get_mut(section).and_then(Item::as_table_like_mut) else {
        return;
    };
    let gone: Vec<String> = section
        .iter()
        .map(|(id, _)| id.to_owned())
        .filter(|id| !names.contains_key(id.as_str()))
        .collect();
    for id in gone {
        section.remove(&id);
    }
    for (id, name) in names {
        match section.get_mut(id) {
            Some(Item::Value(value)) if value.as_str() == Some(name) => {}
            Some(Item::Value(value)) => {
                let decor = value.decor().clone();
                *value = Value::from(*name);
                *value.decor_mut() = decor;
            }
            _ => {
                section.insert(id, toml_edit::value(*name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lamp() -> DeviceRef {
        DeviceRef::new("bf 01", "a4c1.380b")
    }

    #[test]
    fn names_are_kept_and_found_both_ways() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hearthgate/names.toml");
        let names = Names::open(&path).unwrap();
        let shared = names.clone();
        assert_eq!(names.rename_device(&lamp(), Some("Lamp")).unwrap(), None);
        names.rename_gateway(&"bf 01".into(), Some("home")).unwrap();
        let twin = DeviceRef::new("bf02", "x");
        names.rename_device(&twin, Some("lamp")).unwrap();
        for names in [shared, Names::open(&path).unwrap()] {
            assert_eq!(names.device(&lamp()).as_deref(), Some("Lamp"));
            assert_eq!(names.gateway(&"bf 01".into()).as_deref(), Some("home"));
            assert_eq!(
                names.find("LAMP"),
                [Named::Device(lamp()), Named::Device(twin.clone())]
            );
            assert_eq!(names.find("home"), [Named::Gateway("bf 01".into())]);
        }
        let before = names.rename_device(&lamp(), None).unwrap();
        assert_eq!(before.as_deref(), Some("Lamp"));
        assert_eq!(Names::open(&path).unwrap().device(&lamp()), None);
    }

    #[test]
    fn a_name_is_given_once_in_a_gateway() {
        let names = Names::in_memory();
        names.rename_device(&lamp(), Some("Lamp")).unwrap();
        names.rename_device(&lamp(), Some("lamp")).unwrap();
        let other = DeviceRef::new("bf 01", "other");
        let error = names.rename_device(&other, Some("LAMP")).unwrap_err();
        assert!(error.to_string().contains("a4c1.380b"), "{error}");
        for wrong in ["", " x", "a\nb"] {
            assert!(names.rename_device(&other, Some(wrong)).is_err(), "{wrong}");
        }
        names.rename_gateway(&"a".into(), Some("x")).unwrap();
        assert!(names.rename_gateway(&"b".into(), Some("X")).is_err());
    }

    #[test]
    fn comments_and_other_programs_changes_survive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.toml");
        let text =
            "# Ours.\n[devices.\"bf 01\"]\n\"a4c1.380b\" = \"Lamp\" # the old one\nb = \"B\"\n";
        fs::write(&path, text).unwrap();
        let names = Names::open(&path).unwrap();
        let other = Names::open(&path).unwrap();
        names.rename_device(&lamp(), Some("Light")).unwrap();
        other
            .rename_device(&DeviceRef::new("bf 01", "b"), Some("C"))
            .unwrap();
        let expected = text.replace("Lamp", "Light").replace("\"B\"", "\"C\"");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(other.device(&lamp()).as_deref(), Some("Light"));
    }

    #[test]
    fn a_broken_file_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.toml");
        let names = Names::open(&path).unwrap();
        for (broken, line) in [
            ("[devices", "line 1"),
            ("\n[rooms]\n", "line 2"),
            ("[gateways]\na = 1\n", "line 2"),
            ("devices = 1\n", "line 1"),
        ] {
            fs::write(&path, broken).unwrap();
            let error = Names::open(&path).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
            assert!(names.rename_device(&lamp(), Some("x")).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
    }
}
