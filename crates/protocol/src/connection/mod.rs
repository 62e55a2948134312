//! One connection, either role: upgrade, handshake, cipher, wire encoding and deadlines in one
//! sans-IO state machine.
//!
//! The caller moves bytes and time: `handle_input(now, bytes)`, `handle_eof()`,
//! `handle_timeout(now)` in; `poll_event(now)`, `output()`, `poll_timeout()` out. Messages are taken
//! apart only when an event is asked for, so that a caller who stops asking stops the work.

mod channel;
mod client;
mod gateway;

pub use client::{Access, ClientConfig, ClientConnection, ClientEvent};
pub use gateway::{GatewayConfig, GatewayConnection, GatewayEvent};

/// The reason that goes with 1008 where the handshake was not done in time: no refusal of a key.
const HANDSHAKE_TIMED_OUT: &str = "handshake timed out";

#[cfg(test)]
mod tests;
