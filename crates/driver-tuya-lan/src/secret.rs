//! The local key of a Wi-Fi device.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The key that a device shares with the vendor's cloud: 16 bytes. Prints as `***`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct LocalKey([u8; 16]);

impl LocalKey {
    /// Parses the text of a key, 16 printable ASCII characters of any kind.
    ///
    /// # Errors
    /// Says how long the text is, and never repeats it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
        <[u8; 16]>::try_from(text.as_bytes())
            .ok()
            .filter(|_| printable)
            .map(Self)
            .ok_or_else(|| {
                format!(
                    "a local key is 16 printable ASCII characters, this has {}{}",
                    text.chars().count(),
                    if printable {
                        ""
                    } else {
                        ", not all of them ASCII"
                    }
                )
            })
    }

    /// Returns the bytes, for the one who encrypts with them.
    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the text, for the one file that may hold it.
    pub(crate) fn text(&self) -> &str {
        // Parsed from ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = LocalKey::parse("a'b\"c\\d#e{f}g$h<").unwrap();
        assert_eq!(format!("{key:?}"), "LocalKey(***)");
        assert_eq!(key.text(), "a'b\"c\\d#e{f}g$h<");
        for wrong in [
            "",
            "fifteen chars..",
            "seventeen chars..",
            "sixteen charact\u{e9}",
        ] {
            let problem = LocalKey::parse(wrong).unwrap_err();
            assert!(wrong.is_empty() || !problem.contains(wrong), "{problem}");
        }
    }
}
