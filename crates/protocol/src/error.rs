//! Faults of a connection, grouped by whose fault they are.

use crate::crypto::CipherError;
use crate::handshake::HandshakeFault;
use crate::websocket::{FramingError, UpgradeError, close};

/// A message that cannot be taken apart (section 3, "What does not decrypt").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// A text message, or the reverse, where the other is spoken.
    #[error("a {got} message where the wire encoding `{wire}` is spoken")]
    WrongKind {
        /// `text` or `binary`.
        got: &'static str,
        /// The wire encoding in use.
        wire: crate::variants::Wire,
    },
    /// Text that is no standard base64 with padding.
    #[error("a text message that is no base64")]
    Base64,
    /// A ciphertext that does not decrypt.
    #[error("a message that does not decrypt: {0}")]
    Cipher(#[from] CipherError),
    /// More JSON than the limit.
    #[error("a message of {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size after decryption.
        size: usize,
        /// The limit.
        limit: usize,
    },
}

impl FrameFault {
    /// Returns the close code that tells the peer.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::TooLarge { .. } => close::TOO_LARGE,
            _ => close::POLICY,
        }
    }
}

/// Returns the close code that tells the peer of a broken byte stream.
pub(crate) fn framing_close_code(error: &FramingError) -> u16 {
    match error {
        FramingError::TooLarge { .. } => close::TOO_LARGE,
        _ => close::PROTOCOL_ERROR,
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// We closed it.
    #[error("closed by us: {0}")]
    Local(String),
    /// The peer closed it.
    #[error("closed by the other side with code {}{}", code.map_or_else(|| "none".to_owned(), |code| code.to_string()), if reason.is_empty() { String::new() } else { format!(" ({reason})") })]
    Peer {
        /// The close code, if it gave one.
        code: Option<u16>,
        /// The reason it gave.
        reason: String,
    },
    /// The byte stream ended without a close.
    #[error("the connection was lost")]
    Lost,
    /// No byte came for too long (section 3, keep-alive).
    #[error("the other side fell silent")]
    Silent,
    /// The handshake was not done in time (section 4).
    #[error("no answer in the handshake in time")]
    HandshakeTimeout,
    /// There is no WebSocket.
    #[error("{0}")]
    Upgrade(UpgradeError),
    /// One of the two sides has another key.
    #[error("authentication failed: {}", who(*by, detail))]
    Authentication {
        /// Who refused whom.
        by: Refuser,
        /// What was found.
        detail: HandshakeFailure,
    },
    /// The gateway speaks unencrypted from an address that is not loopback (section 3).
    #[error(
        "the gateway speaks unencrypted (wire encoding `plain`) from an address that is not loopback; \
         nothing was sent. If you trust this network, pin it with --wire plain"
    )]
    PlainRefused,
    /// A message that cannot be taken apart.
    #[error("the other side sent {0}")]
    Frame(FrameFault),
    /// The peer breaks the WebSocket protocol.
    #[error("the other side breaks the WebSocket protocol: {0}")]
    Framing(FramingError),
    /// A gateway sent something that is no JSON object.
    #[error("the other side breaks the protocol: {0}")]
    Message(String),
}

fn who(by: Refuser, detail: &HandshakeFailure) -> String {
    match by {
        Refuser::Us => format!("we refused the other side: {detail}"),
        Refuser::Peer => format!("the other side refused our key: {detail}"),
    }
}

/// Which side found the authentication wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuser {
    /// This side.
    Us,
    /// The other side.
    Peer,
}

/// What was found wrong in a handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFailure {
    /// A message that does not decrypt: most likely another key.
    #[error("it sent {0}")]
    Frame(FrameFault),
    /// A message that decrypts and is wrong.
    #[error("{0}")]
    Fault(HandshakeFault),
    /// The other side closed after our proof.
    #[error("it closed the connection after our proof")]
    Closed,
    /// A key or token of the older dialect is wrong, or has expired (section 8).
    #[error("a wrong or expired {0}")]
    Claim(&'static str),
}
