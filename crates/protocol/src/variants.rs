//! Where real gateways may have chosen differently (section 10): named options, defaults first.
//!
//! Both roles take a [`Variants`]; nothing else in the crate knows that there is a choice.

use std::fmt;
use std::str::FromStr;

/// Makes an enum of named choices with `Display`, `FromStr` and a list of all names.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// Every choice, the default first.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name that options, files and answers use.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownChoice;

            fn from_str(text: &str) -> Result<Self, UnknownChoice> {
                Self::ALL.iter().copied().find(|choice| choice.name() == text).ok_or_else(|| UnknownChoice {
                    what: $what,
                    known: concat!($($text, " "),+).trim_end().replace(' ', ", "),
                })
            }
        }
    };
}

/// A name that is none of the choices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what}: expected one of {known}")]
pub struct UnknownChoice {
    what: &'static str,
    known: String,
}

choices! {
    /// How the ciphertext travels in a WebSocket message (section 3).
    Wire, "wire encoding" {
        /// A binary message: the ciphertext.
        #[default]
        Binary = "binary",
        /// A text message: standard base64 of the ciphertext.
        Base64 = "base64",
        /// A text message: the JSON itself, unencrypted. For simulation, tests and debugging.
        Plain = "plain",
    }
}

choices! {
    /// Which protocol is spoken (section 8).
    Dialect, "dialect" {
        /// That of these pages, with a device key and the handshake of section 4.
        #[default]
        Current = "2024",
        /// That of before 2024: TLS, an access token, JSON in text messages.
        Older = "2023",
    }
}

choices! {
    /// What fills the last block (section 10).
    Padding, "padding" {
        /// PKCS#7, the vendor's habit everywhere.
        #[default]
        Pkcs7 = "pkcs7",
        /// Up to 15 zero bytes, none where the text fits.
        Zero = "zero",
    }
}

choices! {
    /// How the text of a device key becomes 16 bytes (section 10).
    KeyForm, "key form" {
        /// 16 printable ASCII characters, or 32 hexadecimal digits taken as 16 bytes.
        #[default]
        Ascii = "ascii",
        /// 32 hexadecimal digits only.
        Hex = "hex",
        /// The 16 raw bytes of the MD5 of the text.
        Md5 = "md5",
    }
}

choices! {
    /// How a side proves that it knows the key (section 10).
    Proof, "proof" {
        /// HMAC-SHA-256 under the device key.
        #[default]
        Hmac = "hmac",
        /// SHA-256 of the nonce alone, no key.
        Sha256 = "sha256",
    }
}

choices! {
    /// What the proof is computed over (section 10).
    ProofOver, "proof_over" {
        /// The 16 decoded bytes of the nonce.
        #[default]
        Raw = "raw",
        /// The nonce's base64 text as it was sent.
        Base64 = "base64",
    }
}

/// The choices that both ends must share, other than wire encoding and path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variants {
    /// What fills the last block.
    pub padding: Padding,
    /// How a side proves that it knows the key.
    pub proof: Proof,
    /// What the proof is computed over.
    pub proof_over: ProofOver,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_found_by_its_name_and_the_first_is_the_default() {
        fn check<T: FromStr + Default + PartialEq + fmt::Debug + fmt::Display + Copy>(all: &[T])
        where
            T::Err: fmt::Debug,
        {
            assert_eq!(all[0], T::default());
            for choice in all {
                assert_eq!(choice.to_string().parse::<T>().unwrap(), *choice);
            }
            assert!("nonsense".parse::<T>().is_err());
        }
        check(Dialect::ALL);
        check(Wire::ALL);
        check(Padding::ALL);
        check(KeyForm::ALL);
        check(Proof::ALL);
        check(ProofOver::ALL);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "zip".parse::<Wire>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown wire encoding: expected one of binary, base64, plain"
        );
    }
}
