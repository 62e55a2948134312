//! Keys, nonces, proofs and the cipher (sections 2 and 3).
//!
//! Secrets are types that print `***` and are wiped when dropped.

mod cipher;
mod fingerprint;
mod key;
mod key_text;
mod mac;
mod secret;

pub use cipher::{CipherError, Decryptor, Encryptor};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use key::{DeviceKey, KeyError, SessionKey};
pub use key_text::KeyText;
pub use mac::{Nonce, ProofBytes, prove};
pub use secret::{API_KEY_MAX, ApiKey, ApiKeyError, Credential, Token};

/// The random bytes that a client connection needs, from the operating system's generator.
#[derive(Clone)]
pub struct ClientEntropy {
    /// The client's nonce.
    pub nonce: [u8; 16],
    /// The value of `Sec-WebSocket-Key`.
    pub websocket_key: [u8; 16],
    /// The seed of the masks of WebSocket frames.
    pub mask_seed: [u8; 16],
}

impl std::fmt::Debug for ClientEntropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientEntropy(***)")
    }
}
