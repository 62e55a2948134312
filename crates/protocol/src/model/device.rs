//! A device: identity, schema, and the values it has reported.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::change::{Stamp, Timestamp};
use super::schema::Schema;
use super::value::Value;

macro_rules! shared_text {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

shared_text! {
    /// The id of a device, `devid` on the wire: opaque, unique within its gateway.
    DeviceId
}

shared_text! {
    /// The code of a data point, such as `switch_1`: `code` in a schema, `k` beside a value.
    Code
}

/// One data point's value as it travels: `{"k":..,"v":..}` (section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The data point.
    pub code: Code,
    /// Its value, as it is on the wire.
    pub value: Value,
}

impl Reading {
    /// Makes a reading.
    pub fn new(code: impl Into<Code>, value: Value) -> Self {
        Self {
            code: code.into(),
            value,
        }
    }
}

/// A data point's last known value and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The data point.
    pub code: Code,
    /// Its value, as it is on the wire.
    pub value: Value,
    /// When and by what the value was last confirmed.
    pub confirmed: Stamp,
    /// When the value last became another one.
    pub changed: Timestamp,
}

/// A device with its schema and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    id: DeviceId,
    pub(super) schema: Arc<Schema>,
    pub(super) online: bool,
    pub(super) points: Vec<Point>,
}

impl Device {
    /// Makes a device with its first values, all known since `confirmed`.
    pub fn new(
        id: DeviceId,
        schema: Arc<Schema>,
        online: bool,
        readings: impl IntoIterator<Item = Reading>,
        confirmed: Stamp,
    ) -> Self {
        let points = readings
            .into_iter()
            .map(|Reading { code, value }| Point {
                code,
                value,
                confirmed,
                changed: confirmed.at,
            })
            .collect();
        Self {
            id,
            schema,
            online,
            points,
        }
    }

    /// Returns the id.
    pub fn id(&self) -> &DeviceId {
        &self.id
    }

    /// Returns what the device declares about its data points.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Tells whether the gateway reaches the device.
    pub fn online(&self) -> bool {
        self.online
    }

    /// Returns the values in the order in which the device first reported them.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Returns the value of one data point, if it was ever reported.
    pub fn point(&self, code: &str) -> Option<&Point> {
        self.points.iter().find(|point| point.code.as_str() == code)
    }

    /// Tells whether writes to this code show up nowhere: declared in `function` alone (section 5).
    pub fn is_write_only(&self, code: &str) -> bool {
        self.schema.status(code).is_none() && self.point(code).is_none()
    }
}
