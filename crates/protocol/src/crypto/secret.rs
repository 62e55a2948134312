//! The secrets of the older dialect (section 8): the key that a user has, and the tokens that it buys.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::DeviceKey;
use crate::variants::Dialect;

/// The longest API key, in bytes: it has to fit a header line.
pub const API_KEY_MAX: usize = 1024;

/// The `OPENAPI_KEY` of a gateway of before 2024 (section 8). Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Token);

/// An access or refresh token (section 8). Prints as `***`; is wiped when dropped; compared in constant
/// time.
#[derive(Clone, Default)]
pub struct Token(Zeroizing<String>);

/// Why a text is no API key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an API key (dialect 2023) is 1 to {API_KEY_MAX} printable characters without blanks at the ends, \
     this has {characters} characters{hint}"
)]
pub struct ApiKeyError {
    characters: usize,
    hint: &'static str,
}

impl ApiKey {
    /// Takes any printable text.
    ///
    /// # Errors
    /// Where it is empty or too long, or could not travel in a header line. The error never repeats it.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let hint = if text.chars().any(char::is_control) {
            ", control characters or line ends among them"
        } else if text.trim() != text {
            ", blanks at an end"
        } else if text.is_empty() || text.len() > API_KEY_MAX {
            ""
        } else {
            return Ok(Self(Token::new(text)));
        };
        let characters = text.chars().count();
        Err(ApiKeyError { characters, hint })
    }

    /// Takes the content of a key file: one final LF or CRLF is removed and nothing else.
    ///
    /// # Errors
    /// As [`ApiKey::parse`].
    pub fn parse_file(content: &[u8]) -> Result<Self, ApiKeyError> {
        let line = content
            .strip_suffix(b"\r\n")
            .or_else(|| content.strip_suffix(b"\n"))
            .unwrap_or(content);
        let text = std::str::from_utf8(line).map_err(|_| ApiKeyError {
            characters: line.len(),
            hint: ", not all of them UTF-8",
        })?;
        Self::parse(text)
    }

    /// Tells, in constant time, whether a peer named this key.
    pub fn is(&self, named: &Token) -> bool {
        self.0 == *named
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Token {
    /// Takes the text of a token.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        // Of one length each, so that not even the length can be found out by the time it takes.
        let digest = |token: &Self| Sha256::digest(token.0.as_bytes());
        digest(self).ct_eq(&digest(other)).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// What a user has of a gateway; it decides which dialect is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The device key (section 2).
    Device(DeviceKey),
    /// The API key of the older dialect (section 8).
    Api(ApiKey),
}

impl Credential {
    /// Returns the dialect in which it is of use.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Device(_) => Dialect::Current,
            Self::Api(_) => Dialect::Older,
        }
    }
}

impl From<DeviceKey> for Credential {
    fn from(key: DeviceKey) -> Self {
        Self::Device(key)
    }
}

impl From<ApiKey> for Credential {
    fn from(key: ApiKey) -> Self {
        Self::Api(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_printable_text_is_an_api_key_and_none_is_ever_shown() {
        for text in ["x", "an OPENAPI key: ÄÖ=", &"k".repeat(API_KEY_MAX)] {
            let key = ApiKey::parse(text).unwrap();
            assert!(key.is(&Token::new(text)) && !key.is(&Token::new("another")));
            let credential = Credential::from(key);
            assert_eq!(format!("{credential:?}"), "Api(ApiKey(***))");
            assert_eq!(credential.dialect(), Dialect::Older);
        }
        for text in ["", " x", "x ", "secret\nX: y", &"k".repeat(API_KEY_MAX + 1)] {
            let error = ApiKey::parse(text).unwrap_err().to_string();
            assert!(
                text.is_empty() || text == "x " || !error.contains(text.trim()),
                "{error}"
            );
        }
        assert!(
            ApiKey::parse_file(b"some key\r\n")
                .unwrap()
                .is(&Token::new("some key"))
        );
        assert!(ApiKey::parse_file(b"some key\n\n").is_err());
        assert!(ApiKey::parse_file(b"\xff").is_err());
        assert_eq!(format!("{:?}", Token::new("secret")), "Token(***)");
    }
}
