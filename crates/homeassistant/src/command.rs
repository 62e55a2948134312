//! From what Home Assistant sends to what is written to the device.

/// Why a command cannot be carried out. The message is for the user and for the `result` topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing of that name takes commands.
    #[error("{0}")]
    UnknownKey(String),
    /// The payload means nothing here.
    #[error("{0}")]
    InvalidPayload(String),
}
