//! For tests that need both ends: a gateway on a free port whose devices a test moves, and clients of it.
//!
//! ```text
//! test -> Hand (changes in, commands out) -> HandDriver -> gateway ══ loopback ══> client -> mirror, feed -> test
//! ```
//!
//! Tests with virtual time and without sockets use `hearthgate_protocol::pair` instead.

mod hand;
mod home;
mod patience;
mod random;

pub use hand::{Hand, HandDriver, Policy, Written};
pub use home::{TestHome, snapshot, test_key};
pub use patience::eventually;
pub use random::{Script, seeds, switches};
