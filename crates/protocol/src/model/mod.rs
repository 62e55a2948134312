//! Plain data of both roles: devices, schemas, values, and the one function that changes them.
//!
//! Input comes from `wire` (a client) or from a driver (a gateway); output goes back through `wire`,
//! and to people through [`schema::Spec::display`].

mod change;
mod check;
mod device;
mod home;
mod json;
mod schema;
mod value;

pub use change::{Change, Source, Stamp, Timestamp, Update};
pub use check::{Refusal, check_write};
pub use device::{Code, Device, DeviceId, Point, Reading};
pub use home::{Applied, Home};
pub use json::compact;
pub use schema::{DataPoint, IntegerSpec, Schema, Spec};
pub use value::{Value, ValueError};

pub(crate) use json::{nesting_exceeds, plain_len, shortened, write_string};
