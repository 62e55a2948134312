//! The text of a device key before it is known how it becomes 16 bytes.
//!
//! Input is what a user copied from the vendor's app; output are the key's bytes in each form, and the
//! search for the key in whatever is written down for others to read.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::key::{DeviceKey, KeyError};
use super::secret::{ApiKey, ApiKeyError};
use crate::variants::KeyForm;

/// What stands where a key was.
const REDACTED: &str = "***";

/// The text of a device key, or of an API key of the older dialect. Prints as `***` and is wiped when
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(Zeroizing<String>);

impl KeyText {
    /// Takes any text; whether it is a key depends on the form.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Takes the text of a key: 16 printable ASCII characters or 32 hexadecimal digits (section 2).
    ///
    /// # Errors
    /// Where the text is anything else. The error never repeats it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        DeviceKey::parse(text, KeyForm::Ascii)?;
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Takes the content of a key file: one final LF or CRLF is removed and nothing else.
    ///
    /// # Errors
    /// As [`KeyText::parse`].
    pub fn parse_file(content: &[u8]) -> Result<Self, KeyError> {
        DeviceKey::parse_file(content, KeyForm::Ascii)?;
        let content = content
            .strip_suffix(b"\r\n")
            .or_else(|| content.strip_suffix(b"\n"))
            .unwrap_or(content);
        // What was parsed above is ASCII.
        Self::parse(&String::from_utf8_lossy(content))
    }

    /// Takes the text of an API key of the older dialect (section 8).
    ///
    /// # Errors
    /// Where it is none. The error never repeats the text.
    pub fn parse_api(text: &str) -> Result<Self, ApiKeyError> {
        ApiKey::parse(text)?;
        Ok(Self::new(text))
    }

    /// Takes the content of its file: one final LF or CRLF is removed and nothing else.
    ///
    /// # Errors
    /// As [`KeyText::parse_api`].
    pub fn parse_api_file(content: &[u8]) -> Result<Self, ApiKeyError> {
        ApiKey::parse_file(content)?;
        // What was parsed is UTF-8, and has at most one line end.
        Self::parse_api(String::from_utf8_lossy(content).trim_end_matches(['\r', '\n']))
    }

    /// Returns it as an API key.
    ///
    /// # Errors
    /// As [`KeyText::parse_api`].
    pub fn api_key(&self) -> Result<ApiKey, ApiKeyError> {
        ApiKey::parse(&self.0)
    }

    /// Checks that the text is a key in this form: `hex` takes 32 hexadecimal digits only.
    ///
    /// # Errors
    /// Where it is none. The error never repeats the text.
    pub fn check(&self, form: KeyForm) -> Result<(), KeyError> {
        DeviceKey::parse(&self.0, form).map(|_| ())
    }

    /// Returns the 16 bytes of the key in a form: for whoever takes a session apart. Everybody else needs
    /// no more than a [`DeviceKey`].
    ///
    /// # Errors
    /// As [`KeyText::check`].
    pub fn bytes(&self, form: KeyForm) -> Result<Zeroizing<[u8; 16]>, KeyError> {
        DeviceKey::parse(&self.0, form).map(|key| Zeroizing::new(*key.bytes()))
    }

    /// Returns the text itself, which prints as it is.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the forms in which the text is a different key each, the likeliest first. 32 hexadecimal
    /// digits are the same 16 bytes as `ascii` and as `hex`; the latter says what they are.
    pub fn forms(&self) -> [KeyForm; 2] {
        match self.0.len() {
            32 => [KeyForm::Hex, KeyForm::Md5],
            _ => [KeyForm::Ascii, KeyForm::Md5],
        }
    }

    /// Says what the text looks like, which is no secret.
    pub fn shape(&self) -> &'static str {
        match self.0.len() {
            _ if DeviceKey::parse(&self.0, KeyForm::Ascii).is_err() => "an API key",
            32 => "32 hexadecimal digits",
            _ => "16 characters",
        }
    }

    /// Replaces the key, in every form and spelling in which it could have got into a text, by `***`.
    pub fn redact(&self, text: &str) -> String {
        self.spellings()
            .iter()
            .fold(text.to_owned(), |text, spelling| redact_one(text, spelling))
    }

    /// Returns the key as text, in hexadecimal and in base64; the longest first, so that no part of
    /// one stays when a shorter one inside it was replaced.
    fn spellings(&self) -> Vec<Zeroizing<String>> {
        let mut raw = vec![Zeroizing::new(self.0.as_bytes().to_vec())];
        for form in self.forms() {
            if let Ok(bytes) = self.bytes(form) {
                raw.push(Zeroizing::new(bytes.to_vec()));
            }
        }
        let mut spellings = vec![self.0.clone(), Zeroizing::new(in_json(&self.0))];
        for bytes in &raw {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            spellings.push(Zeroizing::new(hex));
            for alphabet in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                spellings.push(Zeroizing::new(alphabet.encode(bytes.as_slice())));
            }
        }
        spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        spellings.dedup();
        spellings
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(***)")
    }
}

/// Replaces a spelling, in capitals or not.
fn redact_one(text: String, spelling: &str) -> String {
    if spelling.is_empty() {
        return text;
    }
    let haystack = text.to_ascii_lowercase();
    let needle = Zeroizing::new(spelling.to_ascii_lowercase());
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    // Changing the case of ASCII moves nothing, so that positions hold in both texts.
    for (at, found) in haystack.match_indices(needle.as_str()) {
        out.push_str(text.get(done..at).unwrap_or_default());
        out.push_str(REDACTED);
        done = at + found.len();
    }
    if done == 0 {
        return text;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out
}

/// Returns a text as it stands inside a JSON string.
fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    inner.unwrap_or(&quoted).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: &str = "k9X\"2mPz7LwT4vRb";
    const HEX: &str = "6B39587122aABbcC374c775434765262";

    #[test]
    fn the_bytes_are_those_of_the_device_key() {
        for (text, form) in [
            (ASCII, KeyForm::Ascii),
            (ASCII, KeyForm::Md5),
            (HEX, KeyForm::Ascii),
            (HEX, KeyForm::Hex),
            (HEX, KeyForm::Md5),
        ] {
            let bytes = KeyText::new(text).bytes(form).unwrap();
            let key = DeviceKey::parse(text, form).unwrap();
            assert!(key == DeviceKey::from_bytes(*bytes), "{text} {form}");
        }
        assert!(KeyText::new(ASCII).bytes(KeyForm::Hex).is_err());
    }

    #[test]
    fn one_line_end_of_a_file_is_no_part_of_the_key() {
        for content in [format!("{ASCII}\n"), format!("{ASCII}\r\n"), ASCII.into()] {
            let content = content.as_bytes();
            assert_eq!(KeyText::parse_file(content).unwrap().expose(), ASCII);
            assert_eq!(KeyText::parse_api_file(content).unwrap().expose(), ASCII);
        }
        assert!(KeyText::parse_file(b"short\n").is_err());
    }

    #[test]
    fn no_spelling_of_the_key_stays_in_a_text() {
        for text in [ASCII, HEX] {
            let key = KeyText::parse(text).unwrap();
            let bytes = key.bytes(key.forms()[0]).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            for secret in [
                text.to_owned(),
                text.to_ascii_uppercase(),
                in_json(text),
                hex,
                STANDARD.encode(text),
                STANDARD.encode(*bytes),
                URL_SAFE_NO_PAD.encode(*bytes),
            ] {
                let shown = key.redact(&format!("a {secret}{secret} ü b"));
                assert!(!shown.contains(&secret), "{shown}");
                assert!(
                    shown.starts_with("a ***") && shown.ends_with(" ü b"),
                    "{shown}"
                );
            }
            assert_eq!(key.redact("nothing to see"), "nothing to see");
            assert_eq!(format!("{key:?}"), "KeyText(***)");
        }
    }
}
