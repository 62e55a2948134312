//! The mutual authentication, as states named for what they expect (section 4).
//!
//! ```text
//! gateway: ExpectAuth          --auth-->  auth_ok,  session key
//! client:  ExpectAuthRequired  --auth_required-->  auth, ExpectAuthOk  --auth_ok-->  session key
//! ```
//!
//! Each state takes the decrypted text of one message and gives the next state, or the one fault.

mod client;
mod gateway;

pub use client::{ExpectAuthOk, ExpectAuthRequired};
pub use gateway::ExpectAuth;

/// Why a handshake failed, as seen by the side that found out. For logs and for the user; the other
/// side is told nothing but `authentication failed`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFault {
    /// The message is no JSON object of a handshake message's shape.
    #[error("malformed handshake message: {0}")]
    Malformed(String),
    /// Another message than the one that is due.
    #[error("got {got} when expecting {expected}")]
    Unexpected {
        /// The type that is due.
        expected: &'static str,
        /// The type that came, shortened.
        got: String,
    },
    /// A nonce that is missing, no base64 or not 16 bytes.
    #[error("the nonce is not 16 bytes of base64")]
    BadNonce,
    /// The nonce is the one that we sent: the session key would be all zero.
    #[error("the other side reflected our nonce")]
    ReflectedNonce,
    /// The proof is missing or wrong: the other side has another key.
    #[error("the other side's proof is wrong: it has another device key")]
    WrongProof,
}

fn expect(
    text: &[u8],
    expected: &'static str,
) -> Result<crate::wire::HandshakeMessage, HandshakeFault> {
    let message = crate::wire::decode_handshake(text).map_err(HandshakeFault::Malformed)?;
    if message.kind == expected {
        Ok(message)
    } else {
        let got = message.kind.chars().take(40).collect();
        Err(HandshakeFault::Unexpected { expected, got })
    }
}
