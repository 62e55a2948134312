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

mod catalog;
mod command;
mod discovery;
mod entity;
mod mapping;
mod overrides;

pub use catalog::{Catalog, CatalogError};
pub use command::CommandError;
pub use discovery::{DiscoveryContext, Origin, Topics};
pub use entity::{Category, Entity, Platform};
pub use mapping::{HaEvent, Mapping};
pub use overrides::{OverrideError, Overrides};
