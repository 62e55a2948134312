//! The client against a gateway in memory, with virtual time: one file per behaviour.

mod following;
mod handshake;
mod keeper;
mod liveness;
mod requests;
mod support;
