//! The token: made on first start, kept in a file that its owner alone may read.

use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The random bytes of a token.
const BYTES: usize = 24;
/// The fewest characters of a token that somebody else made.
const LEAST: usize = 20;

/// A token that opens the page and the API. Prints as `***`.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or made.
    #[error("cannot {doing} the token {path}: {cause}")]
    Access {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Others may read the file.
    #[error(
        "others may read the token {path}: chmod 600 {path}, and let a new one be made if somebody may have seen it"
    )]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// What is in the file is no token.
    #[error(
        "the token {path} has fewer than {LEAST} characters: remove the file, and a new one is made"
    )]
    Short {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gives no random bytes.
    #[error("no token can be made, since the operating system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

impl Token {
    /// Reads the token from its file, or makes one where there is no file yet; tells whether it is new, so that
    /// it is shown this once.
    ///
    /// # Errors
    /// Where the file cannot be read or made, others may read it, or it holds no token.
    pub fn load_or_make(path: &Path) -> Result<(Self, bool), TokenError> {
        let failed = |doing| {
            let path = path.to_owned();
            move |cause| TokenError::Access { doing, path, cause }
        };
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(failed("make the folder of"))?;
        }
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match opened {
            Ok(mut file) => {
                let token = Self::make()?;
                let written = file.write_all(token.0.as_bytes());
                let written = written.and_then(|()| file.write_all(b"\n"));
                if let Err(cause) = written.and_then(|()| file.sync_all()) {
                    // Half a token is none; there is nothing more to be done about it.
                    let _ = fs::remove_file(path);
                    return Err(failed("write")(cause));
                }
                Ok((token, true))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = fs::metadata(path).map_err(failed("read"))?;
                if file.permissions().mode() & 0o077 != 0 {
                    let path = path.to_owned();
                    return Err(TokenError::Open { path });
                }
                let text = fs::read_to_string(path).map_err(failed("read"))?;
                let text = Zeroizing::new(text);
                if text.trim().len() < LEAST {
                    let path = path.to_owned();
                    return Err(TokenError::Short { path });
                }
                Ok((Self::from_text(text.trim()), false))
            }
            Err(cause) => Err(failed("make")(cause)),
        }
    }

    /// Takes a token that somebody else keeps.
    pub fn from_text(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// Returns the token, to be shown when it is new.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Tells whether this is the token, in a time that tells nothing.
    pub(super) fn is(&self, given: &str) -> bool {
        let digest = |text: &str| Sha256::digest(text);
        bool::from(digest(&self.0).ct_eq(&digest(given)))
    }

    fn make() -> Result<Self, TokenError> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(TokenError::NoRandomness)?;
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes))))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/web-token");
        let (token, is_new) = Token::load_or_make(&path).unwrap();
        assert!(is_new && token.text().len() == 32);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let (again, is_new) = Token::load_or_make(&path).unwrap();
        assert!(!is_new && again.is(token.text()) && !again.is("x"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Token::load_or_make(&path).unwrap_err().to_string();
        assert!(
            error.contains("chmod 600") && !error.contains(token.text()),
            "{error}"
        );
    }

    #[test]
    fn a_file_with_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web-token");
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(
            Token::load_or_make(&path),
            Err(TokenError::Short { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
    }
}
