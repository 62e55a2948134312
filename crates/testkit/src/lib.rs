//! For tests that need both ends: a gateway on a free port whose devices a test moves, and clients of it.
//!
//! ```text
//! test -> Hand (changes in, commands out) -> HandDriver -> gateway ══ loopback ══> client -> mirror, feed -> test
//! ```
//!
//! Tests with virtual time have a [`Cable`] instead of a socket, which delays, cuts, stalls and loses what
//! the test tells it to, measurements a [`Wire`], which does nothing of the kind; both ends of a connection alone are in `hearthgate_protocol::pair`.

mod cable;
mod frames;
mod hand;
mod home;
mod patience;
mod random;
mod wire;

pub use cable::{Cable, CableEnd, Lane};
pub use hand::{Hand, HandDriver, Policy, Written};
pub use home::{TestHome, snapshot, test_key};
pub use patience::eventually;
pub use random::{Script, seeds, switches};
pub use wire::Wire;
