//! One known gateway: its fields in the file, and what follows from them.
//!
//! Read from and written to a table of TOML by `directory`; read by `supervisor` and the command line.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthgate_client::{Endpoint, Trust};
use hearthgate_protocol::beacon::is_valid_uuid;
use hearthgate_protocol::crypto::{ApiKey, Credential, DeviceKey, Fingerprint, KeyText};
use hearthgate_protocol::variants::{Dialect, KeyForm, Padding, Proof, ProofOver, Variants, Wire};
use toml_edit::{Item, Table, Value};
use zeroize::Zeroizing;

use crate::file::{self, FileError, Problem};
use crate::grace;

/// The longest name, in characters.
const NAME_MAX: usize = 64;

/// All fields, in the order in which they are written.
pub(super) const FIELDS: [&str; 17] = [
    "uuid",
    "name",
    "key",
    "key_file",
    "address",
    "tls",
    "fingerprint",
    "ca",
    "dialect",
    "token_port",
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
    /// Whether it speaks TLS; a certificate, a CA or the older dialect says so too.
    pub tls: Option<bool>,
    /// The fingerprint of its certificate.
    pub fingerprint: Option<Fingerprint>,
    /// The file of the CA that stands for its certificate, instead; beside the file of the gateways where
    /// it is not absolute.
    pub ca: Option<PathBuf>,
    /// Which protocol it speaks; in the older one its key is an API key (section 8).
    pub dialect: Option<Dialect>,
    /// The port of the older dialect's token endpoint.
    pub token_port: Option<u16>,
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

impl KnownGateway {
    /// Makes one of which nothing else is known.
    pub fn new(uuid: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            uuid: uuid.into(),
            name: name.into(),
            key: None,
            key_file: None,
            address: None,
            tls: None,
            fingerprint: None,
            ca: None,
            dialect: None,
            token_port: None,
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

    /// Returns its key, read from its file if it has one; none where there is none. `dialect` and `form`,
    /// how its text becomes 16 bytes, are taken instead of what is known.
    ///
    /// # Errors
    /// Where the key is none, or its file cannot be read. Never repeats the key.
    pub fn credential(
        &self,
        dialect: Option<Dialect>,
        form: Option<KeyForm>,
    ) -> Result<Option<Credential>, FileError> {
        let dialect = dialect.unwrap_or(self.dialect());
        let form = form.or(self.key_form).unwrap_or_default();
        let refused = |origin: String, error: &dyn fmt::Display| {
            FileError::Refused(format!("the gateway {}: {origin}: {error}", self.name))
        };
        if let Some(key) = &self.key {
            return credential(key.expose().as_bytes(), dialect, form)
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
        credential(text.as_bytes(), dialect, form)
            .map(Some)
            .map_err(|error| refused(origin(), &error))
    }

    /// Takes the text of the key over from the key file, for a copy that stands by itself.
    ///
    /// # Errors
    /// As [`KnownGateway::credential`].
    pub fn with_key_inline(mut self) -> Result<Self, FileError> {
        self.credential(None, None)?;
        if let Some(text) = self.key_text()? {
            self.key = Some(KeyText::new(text.as_str()));
            self.key_file = None;
        }
        Ok(self)
    }

    /// Returns the text of the key, read from its file if it has one: for whoever has to find out how
    /// it becomes 16 bytes. It prints as it is; everybody else uses [`KnownGateway::credential`].
    ///
    /// # Errors
    /// Where the key file cannot be read.
    pub fn key_text(&self) -> Result<Option<Zeroizing<String>>, FileError> {
        if let Some(key) = &self.key {
            return Ok(Some(Zeroizing::new(key.expose().to_owned())));
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
        let endpoint = endpoint.with_tls(self.is_secure());
        match &self.path {
            Some(path) => endpoint.with_path(path).ok(),
            None => Some(endpoint),
        }
    }

    /// Returns which protocol it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect.unwrap_or_default()
    }

    /// Tells whether it speaks TLS.
    pub fn is_secure(&self) -> bool {
        let implied =
            self.fingerprint.is_some() || self.ca.is_some() || self.dialect() == Dialect::Older;
        self.tls.unwrap_or(implied)
    }

    /// Returns which certificate is its own.
    pub fn trust(&self) -> Trust {
        match (&self.fingerprint, &self.ca) {
            (Some(fingerprint), _) => Trust::Pinned(*fingerprint),
            (None, Some(path)) => Trust::Ca(path.clone()),
            (None, None) => Trust::Nothing,
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
            let form = self.key_form.unwrap_or_default();
            credential(key.expose().as_bytes(), self.dialect(), form)
                .map_err(|error| format!("key: {error}"))?;
        }
        if self.fingerprint.is_some() && self.ca.is_some() {
            return Err("`fingerprint` and `ca` are both given: leave one out".to_owned());
        }
        if self.tls == Some(false) && (self.fingerprint.is_some() || self.ca.is_some()) {
            return Err("`tls = false` with a certificate: leave one out".to_owned());
        }
        if self.tls == Some(false) && self.dialect() == Dialect::Older {
            return Err(
                "the dialect 2023 is spoken over TLS only: leave `tls = false` out".to_owned(),
            );
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
            "tls" => {
                let wrong = || "tls is true or false, without quotation marks".to_owned();
                self.tls = Some(item.as_bool().ok_or_else(wrong)?);
            }
            "fingerprint" => {
                let parsed = text()?.parse();
                self.fingerprint = Some(parsed.map_err(|error| format!("fingerprint: {error}"))?);
            }
            "ca" => self.ca = Some(folder.join(text()?)),
            "dialect" => self.dialect = Some(choice(field, &text()?)?),
            "token_port" => {
                let port = item.as_integer().and_then(|port| u16::try_from(port).ok());
                let wrong = || "token_port is a number from 1 to 65535".to_owned();
                self.token_port = Some(port.filter(|port| *port > 0).ok_or_else(wrong)?);
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
        let path = |path: &PathBuf| Value::from(path.to_string_lossy().into_owned());
        let text = |text: String| Value::from(text);
        for field in FIELDS {
            let wanted = match field {
                "uuid" => Some(text(self.uuid.clone())),
                "name" => Some(text(self.name.clone())),
                "key" => self.key.as_ref().map(|key| Value::from(key.expose())),
                "key_file" => self.key_file.as_ref().map(path),
                "address" => self.address.clone().map(text),
                "tls" => self.tls.map(Value::from),
                "fingerprint" => self.fingerprint.map(|print| text(print.to_string())),
                "ca" => self.ca.as_ref().map(path),
                "dialect" => self.dialect.map(|choice| text(choice.to_string())),
                "token_port" => self.token_port.map(|port| Value::from(i64::from(port))),
                "grace" => self.grace.map(grace::show).map(text),
                "wire" => self.wire.map(|choice| text(choice.to_string())),
                "padding" => self.padding.map(|choice| text(choice.to_string())),
                "key_form" => self.key_form.map(|choice| text(choice.to_string())),
                "proof" => self.proof.map(|choice| text(choice.to_string())),
                "proof_over" => self.proof_over.map(|choice| text(choice.to_string())),
                _ => self.path.clone().map(text),
            };
            match (wanted, table.get_mut(field)) {
                (None, _) => {
                    table.remove(field);
                }
                (Some(wanted), Some(Item::Value(value))) => {
                    if !same(value, &wanted) {
                        let decor = value.decor().clone();
                        *value = wanted;
                        *value.decor_mut() = decor;
                    }
                }
                (Some(wanted), _) => {
                    table.insert(field, toml_edit::value(wanted));
                }
            }
        }
    }
}

/// Tells whether two values say the same, however they are written.
fn same(one: &Value, other: &Value) -> bool {
    one.as_str() == other.as_str()
        && one.as_bool() == other.as_bool()
        && one.as_integer() == other.as_integer()
}

/// Reads the text of a key, as a dialect wants it.
fn credential(text: &[u8], dialect: Dialect, form: KeyForm) -> Result<Credential, String> {
    match dialect {
        Dialect::Current => DeviceKey::parse_file(text, form)
            .map(Credential::from)
            .map_err(|error| error.to_string()),
        Dialect::Older => ApiKey::parse_file(text)
            .map(Credential::from)
            .map_err(|error| error.to_string()),
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
