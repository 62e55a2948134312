//! Nonces, and the proofs that a side knows the device key (sections 2 and 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::key::DeviceKey;
use crate::variants::{Proof, ProofOver, Variants};

/// Sixteen random bytes, new for every connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// Takes 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Decodes standard base64 with padding; `None` where it is something else or not 16 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Returns standard base64 with padding.
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Both nonces together are the session key.
        f.write_str("Nonce(***)")
    }
}

/// The 32 bytes of a proof, `hmac` on the wire.
#[derive(Clone, Debug)]
pub struct ProofBytes([u8; 32]);

impl ProofBytes {
    /// Decodes standard base64 with padding; `None` where it is something else or not 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Returns standard base64 with padding.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Computes the proof over the other side's nonce.
pub fn prove(key: &DeviceKey, nonce: &Nonce, variants: Variants) -> ProofBytes {
    let text;
    let message: &[u8] = match variants.proof_over {
        ProofOver::Raw => nonce.bytes(),
        ProofOver::Base64 => {
            text = nonce.to_base64();
            text.as_bytes()
        }
    };
    match variants.proof {
        Proof::Sha256 => ProofBytes(Sha256::digest(message).into()),
        Proof::Hmac => {
            #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
            let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("any key length");
            mac.update(message);
            ProofBytes(mac.finalize().into_bytes().into())
        }
    }
}
