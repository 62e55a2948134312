//! What Home Assistant makes of a device, as pure functions: no socket, no clock, no file.
//!
//! ```text
//!   catalog/*.toml ─┐                        ┌─> discovery   the one message that announces the device
//!   override file  ─┼─> Mapping (a device) ──┼─> state       the one retained object, in the user's units
//!   Schema, values ─┘                        ├─> command     a payload of Home Assistant -> readings to write
//!                                            └─> events      button presses, from live readings alone
//! ```
//!
//! Input is what a device says over the protocol: category, function, status, values. There is no
//! product id and no name on the wire, and nothing here asks for one. Topics are strings that the
//! caller chooses; this crate knows no layout of theirs, only that what Home Assistant sends to
//! `<set>/<key>` comes back through [`Mapping::command`].
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use hearthgate_homeassistant::{Catalog, Mapping, Overrides};
//! use hearthgate_protocol::model::{DataPoint, Device, Reading, Schema, Source, Stamp, Timestamp, Value};
//!
//! let declared = r#"{"unit":"℃","min":50,"max":350,"scale":1,"step":5}"#;
//! let target = DataPoint::new("temp_set", "Integer", Value::from(declared));
//! let schema = Arc::new(Schema::new("wk", vec![target.clone()], vec![target]));
//! let now = Stamp { at: Timestamp(0), source: Source::Event };
//! let device = Device::new("bf01".into(), schema, true, [Reading::new("temp_set", Value::from(215))], now);
//!
//! let mapping = Mapping::new(Catalog::builtin(), &Overrides::default(), "6c1f77a3", &device);
//! assert_eq!(mapping.default_name(), "Thermostat bf01");
//! assert_eq!(mapping.state(&device)["temp_set"], 21.5);
//! let written = mapping.command(&device, "temp_set", "22.5")?;
//! assert_eq!(written, [Reading::new("temp_set", Value::from(225))]);
//! # Ok::<(), hearthgate_homeassistant::CommandError>(())
//! ```

mod catalog;
mod overrides;
mod units;
mod number;
mod point;
mod entity;
mod platform;
mod mapping;
mod discovery;
mod command;
pub mod check;

pub use catalog::{Catalog, CatalogError};
pub use command::CommandError;
pub use discovery::{DiscoveryContext, Origin, Topics};
pub use entity::{Category, Entity, Platform};
pub use mapping::{HaEvent, Mapping};
pub use overrides::{OverrideError, Overrides};
