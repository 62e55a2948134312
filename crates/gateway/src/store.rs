//! The state folder: one sub-folder per gateway uuid, with its key, its values and a lock.
//!
//! A uuid is made once and kept in `gateway-uuid` beside the sub-folders.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hearthgate_protocol::beacon::is_valid_uuid;
use hearthgate_protocol::crypto::{ApiKey, DeviceKey};
use hearthgate_protocol::variants::KeyForm;

use crate::tls::{self, TlsError, TlsIdentity};
use crate::values::ValueStore;

const UUID_FILE: &str = "gateway-uuid";
const KEY_FILE: &str = "key";
const API_KEY_FILE: &str = "openapi-key";
const CERTIFICATE_FILE: &str = "tls.crt";
const TLS_KEY_FILE: &str = "tls.key";
const LOCK_FILE: &str = "lock";
/// What keys that we make consist of; none of these is hard to type or to quote.
const KEY_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Why a state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refuses an access.
    #[error("cannot {action} {}: {source}; choose another folder with --state, or none", path.display())]
    Access {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has the folder.
    #[error(
        "another hearthgate process uses {}: stop it, or give this one another --uuid or --state",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{}: {problem}; nothing was changed, put it right or remove it", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the content.
        problem: String,
    },
    /// There is neither `XDG_STATE_HOME` nor a home folder.
    #[error(
        "no folder for the state: set HOME or XDG_STATE_HOME, or give --state DIR or --state none"
    )]
    NoHome,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Returns `$XDG_STATE_HOME/hearthgate`, else `~/.local/state/hearthgate`.
///
/// # Errors
/// Where the environment has neither.
pub fn default_state_root() -> Result<PathBuf, StoreError> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .map(|root| root.join("hearthgate"))
        .ok_or(StoreError::NoHome)
}

/// The folder of one gateway, held by this process alone.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    uuid: String,
    /// Locked as long as it is open.
    _lock: File,
}

impl StateFolder {
    /// Opens the folder of a gateway below `root`, making what is missing. Without a uuid it is the
    /// one that was made here first, or a new one.
    ///
    /// # Errors
    /// Where the folder cannot be made or another process has it.
    pub fn open(root: &Path, uuid: Option<&str>) -> Result<Self, StoreError> {
        make_folder(root)?;
        let uuid = match uuid {
            Some(uuid) => uuid.to_owned(),
            None => kept_uuid(root)?,
        };
        let path = root.join(folder_name(&uuid));
        make_folder(&path)?;
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(access("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path,
                uuid,
                _lock: lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path }),
            Err(fs::TryLockError::Error(source)) => Err(access("lock", &lock_path)(source)),
        }
    }

    /// Returns the gateway's uuid.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Opens the values of virtual devices in it, or makes an empty store. One that is damaged is set
    /// aside, with a line in the log.
    ///
    /// # Errors
    /// Where folder or disk do not allow it.
    pub fn open_values(&self) -> Result<ValueStore, StoreError> {
        ValueStore::open(&self.path)
    }

    /// Returns where the key is, or would be.
    pub fn key_path(&self) -> PathBuf {
        self.path.join(KEY_FILE)
    }

    /// Returns the stored key; makes and stores one, readable by its owner alone, where there is none.
    /// Tells whether it was made.
    ///
    /// # Errors
    /// Where the file cannot be read or written or holds no key.
    pub fn key(&self, form: KeyForm) -> Result<(DeviceKey, bool), StoreError> {
        let make = || new_key_text(form);
        let parse = |text: &[u8]| DeviceKey::parse_file(text, form);
        kept_key(&self.key_path(), make, parse)
    }

    /// Returns where the API key of the older dialect is, or would be.
    pub fn api_key_path(&self) -> PathBuf {
        self.path.join(API_KEY_FILE)
    }

    /// Does the same as [`StateFolder::key`] for the API key of the older dialect.
    ///
    /// # Errors
    /// As [`StateFolder::key`].
    pub fn api_key(&self) -> Result<(ApiKey, bool), StoreError> {
        let make = || Ok(new_key_text(KeyForm::Ascii)? + &new_key_text(KeyForm::Ascii)?);
        kept_key(&self.api_key_path(), make, ApiKey::parse_file)
    }

    /// Returns where the self-made certificate is, or would be.
    pub fn certificate_path(&self) -> PathBuf {
        self.path.join(CERTIFICATE_FILE)
    }

    /// Returns the self-made certificate; makes it and its key, readable by their owner alone, where there
    /// is none. Tells whether it was made.
    ///
    /// # Errors
    /// Where a file cannot be read or written or holds something else. A certificate is never made anew
    /// over one that was there: clients have pinned it.
    pub fn tls(&self) -> Result<(TlsIdentity, bool), StoreError> {
        let (certificate, key) = (self.certificate_path(), self.path.join(TLS_KEY_FILE));
        let content = |path: &Path| {
            let path = path.to_owned();
            move |error: TlsError| StoreError::Content {
                path,
                problem: error.to_string(),
            }
        };
        let made = !certificate.exists();
        if made {
            let (certificate_pem, key_pem) = tls::make().map_err(content(&certificate))?;
            // A key without its certificate is left from a process that was killed in between.
            match fs::remove_file(&key) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(access("remove", &key)(error));
                }
                _ => {}
            }
            write_new(&key, &key_pem)?;
            write_new(&certificate, &certificate_pem)?;
        }
        let identity =
            TlsIdentity::from_files(&certificate, &key).map_err(content(&certificate))?;
        Ok((identity, made))
    }
}

/// Returns the key in a file, or makes one there; tells whether it was made.
fn kept_key<K, E: ToString>(
    path: &Path,
    make: impl FnOnce() -> Result<String, StoreError>,
    parse: impl Fn(&[u8]) -> Result<K, E>,
) -> Result<(K, bool), StoreError> {
    let problem = |error: E| StoreError::Content {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    match fs::read(path) {
        Ok(content) => Ok((parse(&content).map_err(problem)?, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = make()?;
            write_new(path, &format!("{text}\n"))?;
            Ok((parse(text.as_bytes()).map_err(problem)?, true))
        }
        Err(source) => Err(access("read", path)(source)),
    }
}

/// Makes the text of a new key.
fn new_key_text(form: KeyForm) -> Result<String, StoreError> {
    let random = random()?;
    Ok(match form {
        KeyForm::Hex => random.iter().map(|byte| format!("{byte:02x}")).collect(),
        KeyForm::Ascii | KeyForm::Md5 => random
            .iter()
            .filter_map(|byte| KEY_ALPHABET.get(usize::from(byte % 64)))
            .map(|byte| char::from(*byte))
            .collect(),
    })
}

fn kept_uuid(root: &Path) -> Result<String, StoreError> {
    let path = root.join(UUID_FILE);
    match fs::read_to_string(&path) {
        Ok(content) if is_valid_uuid(content.trim_end()) => Ok(content.trim_end().to_owned()),
        Ok(_) => Err(StoreError::Content {
            path,
            problem: "the uuid is not 1 to 64 printable ASCII characters".to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let digits: String = random()?
                .iter()
                .take(8)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let uuid = format!("hg{digits}");
            match write_new(&path, &format!("{uuid}\n")) {
                Ok(()) => Ok(uuid),
                // Another process was faster: its uuid it is.
                Err(StoreError::Access { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists =>
                {
                    kept_uuid(root)
                }
                Err(error) => Err(error),
            }
        }
        Err(source) => Err(access("read", &path)(source)),
    }
}

/// Returns a folder name for any uuid: what could mean something in a path is escaped.
fn folder_name(uuid: &str) -> String {
    let plain = |byte: u8, first: bool| {
        byte.is_ascii_alphanumeric() || b"-_".contains(&byte) || byte == b'.' && !first
    };
    let mut name = String::new();
    for (index, byte) in uuid.bytes().enumerate() {
        if plain(byte, index == 0) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    match name.as_str() {
        // Neither the root itself nor the file beside.
        "" | UUID_FILE => format!("%{name}"),
        _ => name,
    }
}

fn random() -> Result<[u8; 16], StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(StoreError::Random)?;
    Ok(bytes)
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder
        .create(path)
        .map_err(access("make the folder", path))
}

/// Writes a file that must not exist yet, readable by its owner alone, whole or not at all.
fn write_new(path: &Path, content: &str) -> Result<(), StoreError> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let write = || -> io::Result<()> {
        let mut file = options.open(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename this never replaces what another process wrote meanwhile.
        fs::hard_link(&temporary, path)
    };
    let outcome = write().map_err(access("write", path));
    let _ = fs::remove_file(&temporary);
    outcome
}

pub(crate) fn access(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Access {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_and_key_are_made_once_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("deep/state");
        let first = StateFolder::open(&root, None).unwrap();
        let (key, made) = first.key(KeyForm::Ascii).unwrap();
        assert!(made);
        let uuid = first.uuid().to_owned();
        drop(first);
        let second = StateFolder::open(&root, None).unwrap();
        assert_eq!(second.uuid(), uuid);
        assert_eq!(second.key(KeyForm::Ascii).unwrap(), (key, false));
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_readable_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(root.path(), Some("a")).unwrap();
        folder.key(KeyForm::Hex).unwrap();
        let mode = fs::metadata(folder.key_path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[cfg(unix)]
    #[test]
    fn certificate_and_api_key_are_made_once_kept_and_readable_by_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(root.path(), Some("a")).unwrap();
        let (first, made) = folder.tls().unwrap();
        assert!(made);
        let (again, made) = folder.tls().unwrap();
        assert!(!made && again.fingerprint() == first.fingerprint());
        let (key, made) = folder.api_key().unwrap();
        assert!(made);
        assert_eq!(folder.api_key().unwrap(), (key, false));
        for name in ["tls.crt", "tls.key", "openapi-key"] {
            let mode = fs::metadata(folder.path.join(name)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
        }
        // What is there is never replaced.
        fs::write(folder.path.join("tls.key"), "garbage").unwrap();
        let error = folder.tls().unwrap_err().to_string();
        assert!(error.contains("tls.key holds no private key"), "{error}");
        assert!(error.contains("nothing was changed"), "{error}");
        fs::write(folder.certificate_path(), "garbage").unwrap();
        assert!(folder.tls().is_err());
        // Half a pair is.
        fs::remove_file(folder.certificate_path()).unwrap();
        assert!(folder.tls().unwrap().1);
    }

    #[test]
    fn a_second_process_is_refused_and_another_uuid_is_not() {
        let root = tempfile::tempdir().unwrap();
        let _first = StateFolder::open(root.path(), Some("a")).unwrap();
        let error = StateFolder::open(root.path(), Some("a")).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error}");
        assert!(StateFolder::open(root.path(), Some("b")).is_ok());
    }

    #[test]
    fn a_key_file_that_holds_none_is_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(root.path(), Some("a")).unwrap();
        fs::write(folder.key_path(), "not a key").unwrap();
        let error = folder.key(KeyForm::Ascii).unwrap_err().to_string();
        assert!(
            error.contains("9 characters") && !error.contains("not a key"),
            "{error}"
        );
        assert_eq!(fs::read(folder.key_path()).unwrap(), b"not a key");
    }

    #[test]
    fn any_uuid_makes_one_folder_below_the_root() {
        assert_eq!(folder_name("../a b/.."), "%2e.%2fa%20b%2f..");
        assert_eq!(folder_name(".."), "%2e.");
        assert_eq!(folder_name(""), "%");
        assert_eq!(folder_name("gateway-uuid"), "%gateway-uuid");
        assert_eq!(folder_name("hg-1.2_X"), "hg-1.2_X");
    }
}
