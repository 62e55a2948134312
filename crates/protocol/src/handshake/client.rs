//! The client's side: it expects `auth_required`, answers `auth`, and expects `auth_ok`.

use super::{HandshakeFault, expect};
use crate::crypto::{DeviceKey, Nonce, ProofBytes, SessionKey, prove};
use crate::variants::Variants;
use crate::wire::write_auth;

/// The client expects the gateway's nonce.
#[derive(Debug)]
pub struct ExpectAuthRequired {
    nonce: Nonce,
}

impl ExpectAuthRequired {
    /// Waits for the gateway's first message.
    pub fn start(nonce: Nonce) -> Self {
        Self { nonce }
    }

    /// Takes the gateway's first message; writes `auth`.
    ///
    /// # Errors
    /// Whatever is wrong with the message.
    pub fn handle(
        self,
        text: &[u8],
        key: &DeviceKey,
        variants: Variants,
        out: &mut Vec<u8>,
    ) -> Result<ExpectAuthOk, HandshakeFault> {
        let message = expect(text, "auth_required")?;
        let gateway = message.nonce.as_deref().and_then(Nonce::from_base64);
        let gateway = gateway.ok_or(HandshakeFault::BadNonce)?;
        let session = SessionKey::derive(&gateway, &self.nonce);
        let session = session.ok_or(HandshakeFault::ReflectedNonce)?;
        let proof = prove(key, &gateway, variants);
        write_auth(out, &self.nonce.to_base64(), &proof.to_base64());
        Ok(ExpectAuthOk {
            nonce: self.nonce,
            session,
        })
    }
}

/// The client has proven its key and expects the gateway's proof.
#[derive(Debug)]
pub struct ExpectAuthOk {
    nonce: Nonce,
    session: SessionKey,
}

impl ExpectAuthOk {
    /// Takes the gateway's proof and gives the session key.
    ///
    /// # Errors
    /// Whatever is wrong with the message.
    pub fn handle(
        self,
        text: &[u8],
        key: &DeviceKey,
        variants: Variants,
    ) -> Result<SessionKey, HandshakeFault> {
        let message = expect(text, "auth_ok")?;
        let proof = message.hmac.as_deref().and_then(ProofBytes::from_base64);
        if proof.is_some_and(|proof| proof.matches(&prove(key, &self.nonce, variants))) {
            Ok(self.session)
        } else {
            Err(HandshakeFault::WrongProof)
        }
    }
}
