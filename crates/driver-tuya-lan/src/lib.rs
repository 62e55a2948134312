//! Serves Tuya Wi-Fi devices, which speak the vendor's older LAN protocol (TCP 6668, versions 3.1 to 3.5),
//! and sub-devices behind them, as devices of a gateway.
//!
//! ```text
//! config: files -> devices with keys, addresses, data points
//!
//! lan: frames -> payload: numbers and values -> host: of which device? -> unit: state, writes -> Change
//!  ^                                                      |
//!  '---- dial: which version, when? <- task: one per connection <- Command, Sighting <- sightings: UDP
//! ```
//!
//! A device takes one to three connections; here it has one, and any number of third-party systems.
//! What was tried with which version is in `docs/tuya-lan.md`.
//!
//! # Example
//!
//! ```
//! use std::path::Path;
//!
//! use hearthgate_driver_tuya_lan::{LanConfig, TuyaLan};
//! use hearthgate_gateway::Driver;
//!
//! let text = r#"
//! [[device]]
//! id = "bf0123456789abcdefghij"
//! key = "0123456789abcdef"
//! address = "192.0.2.10"
//! category = "cz"
//! "#;
//! let config = LanConfig::parse(text, Path::new("lan.toml"))?;
//! let driver = TuyaLan::new(config)?;
//! assert_eq!(driver.devices().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod secret;
mod points;
mod profiles;
mod config;

mod link;
mod lan;
mod sightings;

mod payload;
mod translate;
mod unit;
mod host;

mod dial;
mod task;
mod driver;
mod diagnose;

pub use config::{
    ConfigError, DEFAULT_GRACE, DEFAULT_POLL, DEFAULT_PORT, DeviceConfig, Direct, LanConfig, Reach,
    parse_address, to_toml,
};
pub use diagnose::{Found, Trial, TryError};
pub use driver::TuyaLan;
pub use link::{Dialect, Version, VersionError};
pub use points::{Access, Point, PointTable};
pub use secret::LocalKey;
pub use sightings::{ListenError, Listener, Sighting};
