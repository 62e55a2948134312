//! Fingerprints of TLS certificates: what a user compares and pins (section 8).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a fingerprint is the SHA-256 of a certificate: 64 hexadecimal digits, with or without colons; \
     the gateway prints its own at start"
)]
pub struct FingerprintError;

impl Fingerprint {
    /// Computes the fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Takes 64 hexadecimal digits in either case, with or without colons between the bytes.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: Vec<u8> = match text.len() {
            64 => text.bytes().collect(),
            95 => {
                let mut bytes = text.bytes().enumerate();
                let placed = bytes.all(|(index, byte)| (index % 3 == 2) == (byte == b':'));
                placed
                    .then(|| text.bytes().filter(|byte| *byte != b':').collect())
                    .ok_or(FingerprintError)?
            }
            _ => return Err(FingerprintError),
        };
        let mut out = [0; 32];
        let (pairs, _) = digits.as_chunks::<2>();
        for (byte, [high, low]) in out.iter_mut().zip(pairs) {
            let digit = |digit: &u8| char::from(*digit).to_digit(16).ok_or(FingerprintError);
            *byte = u8::try_from(digit(high)? << 4 | digit(low)?).map_err(|_| FingerprintError)?;
        }
        Ok(Self(out))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_shows_and_what_openssl_shows() {
        let one = Fingerprint::of(b"");
        let text = one.to_string();
        assert!(
            text.starts_with("E3:B0:C4:42:") && text.len() == 95,
            "{text}"
        );
        let plain = text.replace(':', "").to_lowercase();
        for text in [text.clone(), text.to_lowercase(), plain.clone()] {
            assert_eq!(text.parse(), Ok(one));
        }
        for text in [
            "",
            &plain[1..],
            &format!("{plain}0"),
            &text[..94],
            &text.replace('E', "G"),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
        let moved = format!("{}:{}", &plain[..1], &text[2..]);
        assert!(moved.parse::<Fingerprint>().is_err());
    }
}
