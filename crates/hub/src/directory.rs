//! The known gateways: `gateways.toml` in the user's configuration folder.
//!
//! Input is the file, which people edit too, and the changes that commands make; output are the
//! [`KnownGateway`]s, for `supervisor` and the command line. Comments survive every change; a file that
//! does not parse is never overwritten.
//!
//! ```toml
//! # Found by its advertisements.
//! [[gateway]]
//! uuid = "bf0123456789abcdef"
//! name = "home"
//! key = "................"
//!
//! [[gateway]]
//! uuid = "bf76543210fedcba98"
//! name = "garage"
//! key_file = "garage.key"     # beside this file
//! address = "192.0.2.10:8433" # HOST[:PORT]
//! fingerprint = "AB:CD:..."   # of its certificate: it speaks TLS; or ca = "ca.pem", or tls = true
//! dialect = "2023"            # of before 2024: its key is an OPENAPI_KEY; token_port = 443
//! grace = "1m"                # away for longer: unavailable; 30s where it is left out
//! wire = "binary"             # and padding, key_form, proof, proof_over, path
//! ```

mod record;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use toml_edit::{ArrayOfTables, Document, DocumentMut, Item, Table};

pub use record::{KnownGateway, key_file_name};

use crate::file::{self, FileError, Problem};

/// Whether the log said that others may read the keys: the file is read again and again.
static WARNED: AtomicBool = AtomicBool::new(false);
/// The one key of the file.
const GATEWAY: &str = "gateway";

/// The known gateways, as the file had them when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    gateways: Vec<KnownGateway>,
}

/// What [`Directory::add`] and [`Directory::import`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The gateway is new.
    New,
    /// It was known, and something of it is different now.
    Changed,
    /// Nothing is different.
    Same,
}

impl Directory {
    /// Returns where the file is: `$XDG_CONFIG_HOME/hearthgate/gateways.toml`, or the same below
    /// `~/.config`.
    ///
    /// # Errors
    /// Where neither folder is known.
    pub fn default_path() -> Result<PathBuf, FileError> {
        let folder = file::user_folder("XDG_CONFIG_HOME", ".config", "the known gateways")?;
        Ok(folder.join("gateways.toml"))
    }

    /// Reads the file; no file is no gateway. A file with keys that others may read is a warning in
    /// the log, once.
    ///
    /// # Errors
    /// Where it cannot be read or something in it is wrong, with the line.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let Some(text) = file::read(path)? else {
            return Ok(Self::default());
        };
        let directory = Self::parse(&text, path)?;
        if directory.gateways.iter().any(|known| known.key.is_some())
            && file::is_open_to_others(path)
            && !WARNED.swap(true, Ordering::Relaxed)
        {
            let path = path.display();
            tracing::warn!("{path} holds device keys and others may read it: chmod 600 {path}");
        }
        Ok(directory)
    }

    /// Reads the text of a file; `path` is for errors and for key files beside it.
    ///
    /// # Errors
    /// Where something in it is wrong, with the line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, FileError> {
        read(text, path.parent().unwrap_or(Path::new(".")))
            .map(|gateways| Self { gateways })
            .map_err(|problem| problem.in_file(path))
    }

    /// Returns the gateways in the order of the file.
    pub fn gateways(&self) -> &[KnownGateway] {
        &self.gateways
    }

    /// Returns the gateway with this name (whatever the case) or uuid.
    ///
    /// # Errors
    /// Where there is none, with the nearest name.
    pub fn find(&self, name: &str) -> Result<&KnownGateway, FileError> {
        let same_name = |known: &&KnownGateway| known.name.to_lowercase() == name.to_lowercase();
        self.gateways
            .iter()
            .find(|known| known.uuid == name)
            .or_else(|| self.gateways.iter().find(same_name))
            .ok_or_else(|| self.unknown(name))
    }

    /// Adds a gateway to the file. One that is known by its uuid takes over what is given, a key and
    /// an address for example, and keeps the rest; a key takes the place of a key file and the reverse.
    ///
    /// # Errors
    /// Where another gateway has the name, or the file is wrong or cannot be written.
    pub fn add(path: &Path, gateway: &KnownGateway) -> Result<Added, FileError> {
        let mut added = Self::import(path, std::slice::from_ref(gateway))?;
        Ok(added.pop().unwrap_or(Added::Same))
    }

    /// Adds several gateways as [`Directory::add`] does, all or none; tells what became of each.
    ///
    /// # Errors
    /// As [`Directory::add`].
    pub fn import(path: &Path, gateways: &[KnownGateway]) -> Result<Vec<Added>, FileError> {
        edit(path, |known, document| {
            gateways
                .iter()
                .map(|gateway| {
                    let tables = tables(document);
                    let position = known.iter().position(|it| it.uuid == gateway.uuid);
                    let Some(position) = position else {
                        gateway.check().map_err(FileError::Refused)?;
                        let mut table = Table::new();
                        gateway.write(&mut table);
                        if !tables.is_empty() {
                            table.decor_mut().set_prefix("\n");
                        }
                        tables.push(table);
                        known.push(gateway.clone());
                        return Ok(Added::New);
                    };
                    let (Some(before), Some(table)) =
                        (known.get_mut(position), tables.get_mut(position))
                    else {
                        return Ok(Added::Same);
                    };
                    let after = over(before, gateway);
                    // What is a key depends on what is known: dialect and form.
                    after.check().map_err(FileError::Refused)?;
                    if *before == after {
                        return Ok(Added::Same);
                    }
                    after.write(table);
                    *before = after;
                    Ok(Added::Changed)
                })
                .collect()
        })
    }

    /// Removes the gateway with this name or uuid and returns it. What stands above it in the file, as
    /// its comment, goes with it; what is apart by an empty line stays.
    ///
    /// # Errors
    /// Where there is none, or the file is wrong or cannot be written.
    pub fn remove(path: &Path, name: &str) -> Result<KnownGateway, FileError> {
        edit(path, |known, document| {
            let gone = position(known, name)?;
            let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
            let tables = tables(document);
            let removed = tables.remove(gone);
            let above = removed.decor().prefix().and_then(|prefix| prefix.as_str());
            let stays = above
                .and_then(|above| above.rfind("\n\n").and_then(|end| above.get(..=end)))
                .unwrap_or_default();
            if !stays.trim().is_empty() {
                match tables.get_mut(gone) {
                    Some(next) => {
                        let decor = next.decor_mut();
                        let own = decor.prefix().and_then(|own| own.as_str()).unwrap_or("\n");
                        let joined = format!("{stays}{own}");
                        decor.set_prefix(joined);
                    }
                    None => document.set_trailing(format!("{stays}{trailing}")),
                }
            }
            Ok(known.remove(gone))
        })
    }

    /// Gives the gateway with this name or uuid another name, and returns it as it was.
    ///
    /// # Errors
    /// Where there is none, another one has that name, or the file is wrong or cannot be written.
    pub fn rename(path: &Path, name: &str, new: &str) -> Result<KnownGateway, FileError> {
        record::check_name(new).map_err(FileError::Refused)?;
        edit(path, |known, document| {
            let position = position(known, name)?;
            let (Some(gateway), Some(table)) =
                (known.get_mut(position), tables(document).get_mut(position))
            else {
                return Err(FileError::Refused(format!("no gateway `{name}`")));
            };
            let before = gateway.clone();
            new.clone_into(&mut gateway.name);
            gateway.write(table);
            Ok(before)
        })
    }

    /// Returns the text of a file with these gateways, as [`Directory::parse`] reads it.
    pub fn text(gateways: &[KnownGateway]) -> String {
        let mut document = DocumentMut::new();
        let tables = tables(&mut document);
        for (index, gateway) in gateways.iter().enumerate() {
            let mut table = Table::new();
            gateway.write(&mut table);
            if index > 0 {
                table.decor_mut().set_prefix("\n");
            }
            tables.push(table);
        }
        document.to_string()
    }

    fn unknown(&self, name: &str) -> FileError {
        let nearest = self
            .gateways
            .iter()
            .flat_map(|known| [&known.name, &known.uuid])
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match nearest {
            Some((_, known)) => format!("did you mean {known}?"),
            None if self.gateways.is_empty() => {
                "none is known yet: `hearthgate gateways add NAME --uuid UUID` adds one".to_owned()
            }
            None => "`hearthgate gateways list` lists them".to_owned(),
        };
        FileError::Refused(format!("no gateway `{name}` is known; {hint}"))
    }
}

/// Says that a field is unknown, and which one may be meant.
fn unknown_field(unknown: &str, fields: &[&str]) -> String {
    let nearest = fields
        .iter()
        .map(|field| {
            let likeness = strsim::jaro_winkler(field, &unknown.replace('-', "_"));
            (likeness, *field)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, field)) if likeness > 0.7 => {
            format!("unknown key `{unknown}`; did you mean `{field}`?")
        }
        _ => format!("unknown key `{unknown}`; known are {}", fields.join(", ")),
    }
}

fn read(text: &str, folder: &Path) -> Result<Vec<KnownGateway>, Problem> {
    let document = Document::parse(text).map_err(|error| Problem::syntax(text, &error))?;
    let mut gateways: Vec<KnownGateway> = Vec::new();
    for (key, item) in document.as_table() {
        let place = document.as_table().key(key).and_then(toml_edit::Key::span);
        let place = place.or(item.span()).map(|span| span.start);
        if key != GATEWAY {
            return Err(Problem::at(text, place, unknown_field(key, &[GATEWAY])));
        }
        let Some(tables) = item.as_array_of_tables() else {
            let problem = "gateways stand below lines with [[gateway]], in double brackets";
            return Err(Problem::at(text, place, problem));
        };
        for table in tables {
            let start = table.span().map(|span| span.start);
            let gateway = KnownGateway::read(text, table, folder)?;
            check_unique(&gateways, &gateway)
                .map_err(|problem| Problem::at(text, start, problem))?;
            gateways.push(gateway);
        }
    }
    Ok(gateways)
}

fn check_unique(known: &[KnownGateway], gateway: &KnownGateway) -> Result<(), String> {
    let name = gateway.name.to_lowercase();
    for other in known {
        if other.uuid == gateway.uuid {
            return Err(format!("the uuid {} is there twice", other.uuid));
        }
        if other.name.to_lowercase() == name
            || other.uuid == gateway.name
            || other.name == gateway.uuid
        {
            return Err(format!(
                "the gateway {} is called {} already: names are unique",
                other.uuid, other.name
            ));
        }
    }
    Ok(())
}

/// Changes the file; what `change` leaves must be as right as what it finds.
fn edit<T>(
    path: &Path,
    change: impl FnOnce(&mut Vec<KnownGateway>, &mut DocumentMut) -> Result<T, FileError>,
) -> Result<T, FileError> {
    file::edit(path, |text| {
        let mut known = Directory::parse(text, path)?.gateways;
        let mut document: DocumentMut = text
            .parse()
            .map_err(|error| Problem::syntax(text, &error).in_file(path))?;
        let outcome = change(&mut known, &mut document)?;
        for (index, gateway) in known.iter().enumerate() {
            let others = known.get(..index).unwrap_or_default();
            check_unique(others, gateway).map_err(FileError::Refused)?;
        }
        Ok((document.to_string(), outcome))
    })
}

/// Returns the tables of the gateways, in the order in which they are read.
fn tables(document: &mut DocumentMut) -> &mut ArrayOfTables {
    let item = document
        .entry(GATEWAY)
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    if !item.is_array_of_tables() {
        // Never: the document was read before.
        *item = Item::ArrayOfTables(ArrayOfTables::new());
    }
    match item {
        Item::ArrayOfTables(tables) => tables,
        _ => unreachable!("it was made one"),
    }
}

fn position(known: &[KnownGateway], name: &str) -> Result<usize, FileError> {
    let directory = Directory {
        gateways: known.to_vec(),
    };
    let found = directory.find(name)?;
    Ok(known
        .iter()
        .position(|gateway| gateway.uuid == found.uuid)
        .unwrap_or_default())
}

/// Lays what is given over what is known.
fn over(known: &KnownGateway, given: &KnownGateway) -> KnownGateway {
    let given = given.clone();
    let (key, key_file) = if given.has_key() {
        (given.key, given.key_file)
    } else {
        (known.key.clone(), known.key_file.clone())
    };
    KnownGateway {
        uuid: given.uuid,
        name: given.name,
        key,
        key_file,
        address: given.address.or(known.address.clone()),
        tls: given.tls.or(known.tls),
        fingerprint: match given.ca {
            // One takes the place of the other, as keys do.
            Some(_) => None,
            None => given.fingerprint.or(known.fingerprint),
        },
        ca: match given.fingerprint {
            Some(_) => None,
            None => given.ca.or(known.ca.clone()),
        },
        dialect: given.dialect.or(known.dialect),
        token_port: given.token_port.or(known.token_port),
        grace: given.grace.or(known.grace),
        wire: given.wire.or(known.wire),
        padding: given.padding.or(known.padding),
        key_form: given.key_form.or(known.key_form),
        proof: given.proof.or(known.proof),
        proof_over: given.proof_over.or(known.proof_over),
        path: given.path.or(known.path.clone()),
    }
}

#[cfg(test)]
mod tests;
