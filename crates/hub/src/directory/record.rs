//! One known gateway: its fields in the file, and what follows from them.
//!
//! Read from and written to a table of TOML by `directory`; read by `supervisor` and the command line.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthgate_client::Endpoint;
use hearthgate_protocol::beacon::is_valid_uuid;
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::variants::{KeyForm, Padding, Proof, ProofOver, Variants, Wire};
use toml_edit::{Item, Table, Value};
use zeroize::Zeroizing;

use crate::file::{self, FileError, Problem};
use crate::grace;

/// The longest name, in characters.
const NAME_MAX: usize = 64;

/// All fields, in the order in which they are written.
pub(super) const FIELDS: [&str; 12] = [
    "uuid",
    "name",
    "key",
    "key_file",
    "address",
    "grace",
    "wire",
    "padding",
    "key_form",
    "proof",
    "proof_over",
    "path",
];

/// Returns what a message calls a key file: its path, unless there is no such file and the name looks
/// like a key itself, which was given in its place.
pub fn key_file_name(path: &Path) -> String {
    let is_like_a_key = |name: &OsStr| {
        let name = name.to_str();
        name.is_some_and(|name| DeviceKey::parse(name, KeyForm::Ascii).is_ok())
    };
    let names = [Some(path.as_os_str()), path.file_name()];
    if names.into_iter().flatten().any(is_like_a_key) && !path.exists() {
        return "(not shown, as it looks like a key: what is asked for is the name of a file that holds it)"
            .to_owned();
    }
    path.display().to_string()
}

/// The text of a device key. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(Zeroizing<String>);

/// A gateway as it stands in `gateways.toml`. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownGateway {
    /// The uuid that it advertises: who it is.
    pub uuid: String,
    /// What people call it; unique, whatever the case.
    pub name: String,
    /// Its device key, if the key is in the file itself.
    pub key: Option<KeyText>,
    /// The file that holds its device key, otherwise; beside the file of the gateways where it is not
    /// absolute.
    pub key_file: Option<PathBuf>,
    /// Where it is, `HOST[:PORT]`; found by its advertisements where there is none.
    pub address: Option<String>,
    /// How long it may be away before it counts as unavailable.
    pub grace: Option<Duration>,
    /// The wire encoding; detected where there is none.
    pub wire: Option<Wire>,
    /// What fills the last block (section 10).
    pub padding: Option<Padding>,
    /// How the text of the key becomes 16 bytes (section 10).
    pub key_form: Option<KeyForm>,
    /// How a side proves that it knows the key (section 10).
    pub proof: Option<Proof>,
    /// What the proof is computed over (section 10).
    pub proof_over: Option<ProofOver>,
    /// The request path of the WebSocket (section 10).
    pub path: Option<String>,
}

impl KeyText {
    /// Takes the text of a key; whether it is one depends on the key form.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(***)")
    }
}

impl KnownGateway {
    /// Makes one of which nothing else is known.
    pub fn new(uuid: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            uuid: uuid.into(),
            name: name.into(),
            key: None,
            key_file: None,
            address: None,
            grace: None,
            wire: None,
            padding: None,
            key_form: None,
            proof: None,
            proof_over: None,
            path: None,
        }
    }

    /// Tells whether there is a key, or a file that should hold one.
    pub fn has_key(&self) -> bool {
        self.key.is_some() || self.key_file.is_some()
    }

    /// Returns the device key, read from its file if it has one; none where there is none.
    /// `form`: how its text becomes 16 bytes, instead of what is known.
    ///
    /// # Errors
    /// Where the key is none, or its file cannot be read. Never repeats the key.
    pub fn device_key(&self, form: Option<KeyForm>) -> Result<Option<DeviceKey>, FileError> {
        let form = form.or(self.key_form).unwrap_or_default();
        let refused = |origin: String, error: &dyn fmt::Display| {
            FileError::Refused(format!("the gateway {}: {origin}: {error}", self.name))
        };
        if let Some(key) = &self.key {
            return DeviceKey::parse(key.expose(), form)
                .map(Some)
                .map_err(|error| refused("its key".to_owned(), &error));
        }
        let Some(path) = &self.key_file else {
            return Ok(None);
        };
        let origin = || format!("its key file {}", key_file_name(path));
        let text = file::read(path)
            .map_err(|error| refused(origin(), &error))?
            .ok_or_else(|| refused(origin(), &"there is no such file"))?;
        let text = Zeroizing::new(text);
        DeviceKey::parse_file(text.as_bytes(), form)
            .map(Some)
            .map_err(|error| refused(origin(), &error))
    }

    /// Takes the text of the key over from the key file, for a copy that stands by itself.
    ///
    /// # Errors
    /// As [`KnownGateway::device_key`].
    pub fn with_key_inline(mut self) -> Result<Self, FileError> {
        self.device_key(None)?;
        if let Some(text) = self.key_text()? {
            self.key = Some(KeyText(text));
            self.key_file = None;
        }
        Ok(self)
    }

    /// Returns the text of the key, read from its file if it has one: for whoever has to find out how
    /// it becomes 16 bytes. It prints as it is; everybody else uses [`KnownGateway::device_key`].
    ///
    /// # Errors
    /// Where the key file cannot be read.
    pub fn key_text(&self) -> Result<Option<Zeroizing<String>>, FileError> {
        if let Some(KeyText(text)) = &self.key {
            return Ok(Some(text.clone()));
        }
        let Some(path) = &self.key_file else {
            return Ok(None);
        };
        let text = file::read(path)?.map(Zeroizing::new).ok_or_else(|| {
            FileError::Refused(format!(
                "the key file {} does not exist",
                key_file_name(path)
            ))
        })?;
        // One line end and nothing else: blanks are part of a key.
        let line = text.strip_suffix("\r\n").or(text.strip_suffix('\n'));
        Ok(Some(Zeroizing::new(line.unwrap_or(&text).to_owned())))
    }

    /// Returns it without its key.
    pub fn without_key(mut self) -> Self {
        self.key = None;
        self.key_file = None;
        self
    }

    /// Returns where it is, if that is fixed.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let endpoint: Endpoint = format!("ws://{}", self.address.as_ref()?).parse().ok()?;
        match &self.path {
            Some(path) => endpoint.with_path(path).ok(),
            None => Some(endpoint),
        }
    }

    /// Returns the choices of the protocol that it takes.
    pub fn variants(&self) -> Variants {
        Variants {
            padding: self.padding.unwrap_or_default(),
            proof: self.proof.unwrap_or_default(),
            proof_over: self.proof_over.unwrap_or_default(),
        }
    }

    /// Returns how long it may be away before it counts as unavailable.
    pub fn grace(&self) -> Duration {
        self.grace.unwrap_or(grace::DEFAULT_GRACE)
    }

    /// Checks what can be checked without looking anywhere else.
    ///
    /// # Errors
    /// The first thing that is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        check_uuid(&self.uuid)?;
        check_name(&self.name)?;
        if self.key.is_some() && self.key_file.is_some() {
            return Err("`key` and `key_file` are both given: leave one out".to_owned());
        }
        if let Some(key) = &self.key {
            DeviceKey::parse(key.expose(), self.key_form.unwrap_or_default())
                .map_err(|error| format!("key: {error}"))?;
        }
        if let Some(address) = &self.address {
            check_address(address)?;
        }
        if let Some(path) = &self.path {
            check_path(path)?;
        }
        Ok(())
    }

    /// Reads a table of the file in `folder`.
    pub(super) fn read(source: &str, table: &Table, folder: &Path) -> Result<Self, Problem> {
        let mut known = Self::new(String::new(), String::new());
        let start = table.span().map(|span| span.start);
        for (field, item) in table {
            let place = table.key(field).and_then(toml_edit::Key::span);
            let place = place.or(item.span()).map(|span| span.start).or(start);
            known
                .set(field, item, folder)
                .map_err(|problem| Problem::at(source, place, problem))?;
        }
        if !table.contains_key("uuid") {
            let problem = "a gateway needs its `uuid`: `hearthgate discover` lists what is heard";
            return Err(Problem::at(source, start, problem));
        }
        if !table.contains_key("name") {
            known.name.clone_from(&known.uuid);
        }
        known
            .check()
            .map_err(|problem| Problem::at(source, start, problem))?;
        Ok(known)
    }

    fn set(&mut self, field: &str, item: &Item, folder: &Path) -> Result<(), String> {
        let text = || {
            item.as_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("{field} is a text in quotation marks"))
        };
        match field {
            "uuid" => self.uuid = text().and_then(|uuid| check_uuid(&uuid).map(|()| uuid))?,
            "name" => self.name = text().and_then(|name| check_name(&name).map(|()| name))?,
            "key" => self.key = Some(KeyText::new(text()?)),
            "key_file" => self.key_file = Some(folder.join(text()?)),
            "address" => {
                let address = text()?;
                check_address(&address)?;
                self.address = Some(address);
            }
            "grace" => {
                let wrong = || "grace is a duration such as \"30s\", at most \"24h\"".to_owned();
                self.grace = Some(grace::parse(&text()?).ok_or_else(wrong)?);
            }
            "wire" => self.wire = Some(choice(field, &text()?)?),
            "padding" => self.padding = Some(choice(field, &text()?)?),
            "key_form" => self.key_form = Some(choice(field, &text()?)?),
            "proof" => self.proof = Some(choice(field, &text()?)?),
            "proof_over" => self.proof_over = Some(choice(field, &text()?)?),
            "path" => {
                let path = text()?;
                check_path(&path)?;
                self.path = Some(path);
            }
            unknown => return Err(super::unknown_field(unknown, &FIELDS)),
        }
        Ok(())
    }

    /// Writes the fields into a table, and leaves what stays as it is, comments too.
    pub(super) fn write(&self, table: &mut Table) {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        for field in FIELDS {
            let text = match field {
                "uuid" => Some(self.uuid.clone()),
                "name" => Some(self.name.clone()),
                "key" => self.key.as_ref().map(|key| key.expose().to_owned()),
                "key_file" => self.key_file.as_ref().map(path),
                "address" => self.address.clone(),
                "grace" => self.grace.map(grace::show),
                "wire" => self.wire.map(|choice| choice.to_string()),
                "padding" => self.padding.map(|choice| choice.to_string()),
                "key_form" => self.key_form.map(|choice| choice.to_string()),
                "proof" => self.proof.map(|choice| choice.to_string()),
                "proof_over" => self.proof_over.map(|choice| choice.to_string()),
                _ => self.path.clone(),
            };
            match (text, table.get_mut(field)) {
                (None, _) => {
                    table.remove(field);
                }
                (Some(text), Some(Item::Value(value))) => {
                    if value.as_str() != Some(text.as_str()) {
                        let decor = value.decor().clone();
                        *value = Value::from(text);
                        *value.decor_mut() = decor;
                    }
                }
                (Some(text), _) => {
                    table.insert(field, toml_edit::value(text));
                }
            }
        }
    }
}

fn choice<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, String>
where
    T::Err: fmt::Display,
{
    text.parse()
        .map_err(|error| format!("{field} = \"{text}\": {error}"))
}

fn check_uuid(uuid: &str) -> Result<(), String> {
    if is_valid_uuid(uuid) {
        Ok(())
    } else {
        Err("a uuid is 1 to 64 printable ASCII characters".to_owned())
    }
}

/// Checks a name; a name that looks like an address would be taken for one.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let sound = (1..=NAME_MAX).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
        && name.trim() == name
        && !name.contains("://")
        && !name.starts_with('-');
    if sound {
        Ok(())
    } else {
        Err(format!(
            "a name is 1 to {NAME_MAX} characters without line ends, `://`, and blanks or dashes in front"
        ))
    }
}

fn check_address(address: &str) -> Result<(), String> {
    if address.contains(['/', '?', '#']) {
        return Err("address is HOST or HOST:PORT, without ws:// and path".to_owned());
    }
    match format!("ws://{address}").parse::<Endpoint>() {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("address: {error}")),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    let endpoint = Endpoint::new("gateway", 1).and_then(|endpoint| endpoint.with_path(path));
    endpoint
        .map(|_| ())
        .map_err(|error| format!("path: {error}"))
}
