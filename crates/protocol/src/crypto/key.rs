//! The device key and the session key (section 2).

use std::fmt;

use md5::{Digest, Md5};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::mac::Nonce;
use crate::variants::KeyForm;

/// The key that the vendor's app shows once LAN control is switched on. Prints as `***`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct DeviceKey([u8; 16]);

/// Why a text is no device key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Wrong length or characters.
    #[error(
        "a device key is 16 printable ASCII characters or 32 hexadecimal digits, \
         this has {characters} characters{hint}; copy it again from the vendor's app, \
         where LAN control shows it"
    )]
    Malformed {
        /// How many characters the text has.
        characters: usize,
        /// What is odd about them.
        hint: &'static str,
    },
    /// The key form `hex` and something else than 32 hexadecimal digits.
    #[error(
        "with the key form `hex` a device key is 32 hexadecimal digits, this has {characters} characters"
    )]
    NotHex {
        /// How many characters the text has.
        characters: usize,
    },
}

impl DeviceKey {
    /// Takes 16 raw bytes as the key.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Parses the text of a key: 16 printable ASCII characters (blanks included), whose bytes are the
    /// key even where all of them are hexadecimal digits, or 32 hexadecimal digits taken as 16 bytes.
    ///
    /// # Errors
    /// Where the text is anything else. The error never repeats it.
    pub fn parse(text: &str, form: KeyForm) -> Result<Self, KeyError> {
        let bytes = text.as_bytes();
        let hex = decode_hex(bytes);
        let printable = bytes.iter().all(|byte| (0x20..=0x7e).contains(byte));
        let characters = text.chars().count();
        if form == KeyForm::Hex {
            return hex.map(Self).ok_or(KeyError::NotHex { characters });
        }
        let ascii = <[u8; 16]>::try_from(bytes).ok().filter(|_| printable);
        let key = ascii.or(hex).ok_or(KeyError::Malformed {
            characters,
            hint: match characters {
                16 => ", not all of them printable ASCII",
                32 => ", not all of them hexadecimal digits",
                _ => "",
            },
        })?;
        Ok(Self(match form {
            KeyForm::Md5 => Md5::digest(bytes).into(),
            KeyForm::Ascii | KeyForm::Hex => key,
        }))
    }

    /// Parses the content of a key file: one final LF or CRLF is removed and nothing else, since
    /// blanks are part of a key.
    ///
    /// # Errors
    /// As [`DeviceKey::parse`].
    pub fn parse_file(content: &[u8], form: KeyForm) -> Result<Self, KeyError> {
        let content = content
            .strip_suffix(b"\r\n")
            .or_else(|| content.strip_suffix(b"\n"))
            .unwrap_or(content);
        match std::str::from_utf8(content) {
            Ok(text) => Self::parse(text, form),
            Err(_) => Err(KeyError::Malformed {
                characters: content.len(),
                hint: ", not all of them ASCII",
            }),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(***)")
    }
}

/// The key of one session, both nonces joined. Prints as `***`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    /// Joins the two nonces by XOR; `None` where they are equal, since the key would be all zero.
    pub fn derive(gateway: &Nonce, client: &Nonce) -> Option<Self> {
        let mut key = [0u8; 16];
        for (byte, (s, c)) in key
            .iter_mut()
            .zip(gateway.bytes().iter().zip(client.bytes()))
        {
            *byte = s ^ c;
        }
        (key != [0; 16]).then_some(Self(key))
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(***)")
    }
}

fn decode_hex(text: &[u8]) -> Option<[u8; 16]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != 16 || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut key = [0u8; 16];
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DeviceKey, KeyError> {
        DeviceKey::parse(text, KeyForm::Ascii)
    }

    #[test]
    fn sixteen_characters_are_bytes_even_if_all_are_digits() {
        assert_eq!(
            parse("0123456789abcdef").unwrap().bytes(),
            b"0123456789abcdef"
        );
        assert_eq!(
            parse("  $\"'\\ {}<>&;|*~").unwrap().bytes(),
            b"  $\"'\\ {}<>&;|*~"
        );
    }

    #[test]
    fn thirty_two_digits_are_sixteen_bytes() {
        let key = parse("00112233445566778899aAbBcCdDeEfF").unwrap();
        assert_eq!(key.bytes()[..3], [0x00, 0x11, 0x22]);
        assert_eq!(key.bytes()[15], 0xff);
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        for text in [
            "",
            "short",
            "seventeen letters",
            "sixteen lettérs",
            "tab\tis not print",
            "zz112233445566778899aabbccddeeff",
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(text.is_empty() || !message.contains(text), "{message}");
            assert!(message.contains("16 printable ASCII characters or 32 hexadecimal digits"));
        }
    }

    #[test]
    fn a_file_loses_one_line_end_and_no_blank() {
        let file = |content: &[u8]| DeviceKey::parse_file(content, KeyForm::Ascii);
        assert_eq!(
            file(b" 15 chars, blank\n").unwrap().bytes(),
            b" 15 chars, blank"
        );
        assert_eq!(
            file(b"k9Xq2mPz7LwT4vR \r\n").unwrap().bytes(),
            b"k9Xq2mPz7LwT4vR "
        );
        assert!(file(b"k9Xq2mPz7LwT4vRb\n\n").is_err());
        assert!(file(b"k9Xq2mPz7LwT4vRb\r").is_err());
        assert!(file(b"\xff\xfe").is_err());
    }

    #[test]
    fn other_forms() {
        let key = DeviceKey::parse("k9Xq2mPz7LwT4vRb", KeyForm::Md5).unwrap();
        assert_eq!(
            key.bytes(),
            &<[u8; 16]>::from(Md5::digest(b"k9Xq2mPz7LwT4vRb"))
        );
        assert!(DeviceKey::parse("k9Xq2mPz7LwT4vRb", KeyForm::Hex).is_err());
        assert!(DeviceKey::parse("00112233445566778899aabbccddeeff", KeyForm::Hex).is_ok());
    }

    #[test]
    fn keys_print_as_stars() {
        assert_eq!(
            format!("{:?}", parse("k9Xq2mPz7LwT4vRb")),
            "Ok(DeviceKey(***))"
        );
    }
}
