//! Against real gateways in this process, and against small servers that misbehave.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends where it cannot go on"
)]

mod rogue;
mod support;

mod bundle;
mod conformance;
mod doctor;
mod explore;
mod record;
mod replay;
