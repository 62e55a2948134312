//! Load on gateways and hubs, and what it tells.
//!
//! ```text
//!  target: whom to load, loopback unless told otherwise
//!     |
//!   peer: a session without mirror, feed or task      figures: histograms, medians, spreads
//!     |                                                  ^
//!   load/  handshakes, requests, fan-out, client, hub ---+--> a report, to be shown or written as JSON
//! ```
//!
//! The library is what `hearthgate bench` runs: it loads a gateway that anybody points it at, within
//! bounds of time and count, and only reads unless a device is named that may be written. `benches/` holds
//! what is compared within one run: small parts of the code (`micro`), and whole processes beside others
//! that do the same (`compare`).

mod error;
mod target;

pub mod figures;
mod peer;

pub mod load;

pub use error::BenchError;
pub use peer::Peer;
pub use target::Target;
