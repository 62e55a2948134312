//! Finds out what is wrong between a third-party system and a gateway, layer by layer.
//!
//! ```text
//!  options ──> reach: advertisement, address, port ──> line: upgrade, frames ──> session: wire,
//!     |                                                                    key, proof, requests
//!     |            +── doctor: each layer in turn, and advice ──> report: checks for people, JSON
//!     +── key ─────+── explore: which options does this gateway take?
//!                  +── conformance: does it keep the rules?
//!                  +── record: device profiles and a transcript ──> files
//!
//!  report, transcript, schemas, statuses ──> bundle: one file for whoever helps, without the key
//! ```
//!
//! `hearthgate_client` joins the layers and hides them; here they stand apart, with a deadline each.
//! Nothing here writes to a device, unless one is named in [`Options::write`].
//!
//! # Example
//! Names the layer that fails:
//!
//! ```
//! use hearthgate_diagnose::{KeyText, Options, Target, examine};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let key = KeyText::parse("k9Xq2mPz7LwT4vRb")?;
//! let target = Target::Address("ws://127.0.0.1:1".parse()?);
//! let report = examine(&Options::new(target, key)).await.report;
//! assert!(report.failed());
//! println!("{}", report.check("port").unwrap().detail);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod key;
mod options;
mod reach;

mod line;
mod session;
mod transcript;

mod doctor;
mod oddities;

mod conformance;
mod explore;

mod bundle;
mod record;
mod report;

pub use bundle::bundle;
pub use doctor::{DeviceFacts, Examination, examine};
pub use explore::{Accepted, Exploration, ExploreOptions, explore};
pub use hearthgate_protocol::crypto::KeyText;
pub use oddities::{ODDITIES_MAX, Oddity, oddities};
pub use options::{EVENT_TIMEOUT, LAYER_TIMEOUT, Options, Target};
pub use record::{RecordError, Recorded, record};
pub use report::{Check, LAYERS, Outcome, Report};
pub use transcript::{Direction, Entry, Transcript};
