//! WebSocket per RFC 6455 version 13, without I/O: the upgrade and the framing (section 3).
//!
//! A lean codec of our own, because memory of an idle session and bytes per write decide the design
//! of fan-out: the libraries measured keep 9 kB and more per connection, this keeps what has not been
//! consumed. It is tested against two independent implementations.

mod frame;
mod framer;
mod upgrade;

pub use frame::{Header, HeaderError, Opcode};
pub use framer::{Framer, FramingError, Item};
pub(crate) use framer::{mask_tail, write_frame, write_header};
pub use upgrade::{
    ClientUpgrade, ServerUpgrade, UUID_HEADER, UpgradeError, UpgradeRequest, bad_request,
    not_an_upgrade,
};
pub(crate) use upgrade::{Opening, unauthorized};

/// WebSocket close codes that the protocol uses (section 3), and 1002 from RFC 6455.
pub mod close {
    /// The client is done.
    pub const DONE: u16 = 1000;
    /// The gateway shuts down.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer breaks the WebSocket protocol itself.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// The handshake failed or timed out, or a frame does not decrypt.
    pub const POLICY: u16 = 1008;
    /// A message is too large.
    pub const TOO_LARGE: u16 = 1009;
    /// A bug.
    pub const INTERNAL: u16 = 1011;
    /// Too slow, or too many sessions.
    pub const TRY_AGAIN: u16 = 1013;
}
