//! The gateway's side: it sends `auth_required` and expects `auth`.

use super::{HandshakeFault, expect};
use crate::crypto::{DeviceKey, Nonce, ProofBytes, SessionKey, prove};
use crate::variants::Variants;
use crate::wire::{write_auth_ok, write_auth_required};

/// The gateway has sent its nonce and expects the client's, with a proof.
#[derive(Debug)]
pub struct ExpectAuth {
    nonce: Nonce,
}

impl ExpectAuth {
    /// Writes `auth_required` and waits for the answer.
    pub fn start(nonce: Nonce, out: &mut Vec<u8>) -> Self {
        write_auth_required(out, &nonce.to_base64());
        Self { nonce }
    }

    /// Takes the client's message; writes `auth_ok` and gives the session key.
    ///
    /// # Errors
    /// Whatever is wrong with the message.
    pub fn handle(
        self,
        text: &[u8],
        key: &DeviceKey,
        variants: Variants,
        out: &mut Vec<u8>,
    ) -> Result<SessionKey, HandshakeFault> {
        let message = expect(text, "auth")?;
        let client = message.nonce.as_deref().and_then(Nonce::from_base64);
        let client = client.ok_or(HandshakeFault::BadNonce)?;
        let session = SessionKey::derive(&self.nonce, &client);
        let session = session.ok_or(HandshakeFault::ReflectedNonce)?;
        let proof = message.hmac.as_deref().and_then(ProofBytes::from_base64);
        let proven = proof.is_some_and(|proof| proof.matches(&prove(key, &self.nonce, variants)));
        if !proven {
            return Err(HandshakeFault::WrongProof);
        }
        write_auth_ok(out, &prove(key, &client, variants).to_base64());
        Ok(session)
    }
}
