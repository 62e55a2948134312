//! What can happen to a home, and how a value is known.

use super::device::{Device, DeviceId, Reading};

/// Milliseconds since the Unix epoch, as the caller's clock has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// By what a value was last confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// It was reported live.
    Event,
    /// It was read on request.
    Read,
    /// It was remembered: from a profile, a store, or from before a connection was lost.
    Cache,
}

/// When and by what a value was last confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub source: Source,
}

/// One thing that happens to a home. The gateway's registry makes them from the reports of its
/// drivers, the client's mirror from the events and answers of its gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A device came, or its description changed.
    Upsert(Device),
    /// A device went.
    Remove(DeviceId),
    /// A device came into reach or dropped out of it, perhaps with values.
    Online {
        /// Which device.
        device: DeviceId,
        /// Whether it is in reach.
        online: bool,
        /// Values that came along.
        readings: Vec<Reading>,
    },
    /// Data points have these values now; others are unchanged.
    State {
        /// Which device.
        device: DeviceId,
        /// The values.
        readings: Vec<Reading>,
    },
}

/// What a report or an event says about the state of a device, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// Which device.
    pub device: &'a DeviceId,
    /// Whether it is in reach, if that is said.
    pub online: Option<bool>,
    /// Values that data points have now; others are unchanged.
    pub readings: &'a [Reading],
}

impl Change {
    /// Returns the id of the device that it is about.
    pub fn device(&self) -> &DeviceId {
        match self {
            Self::Upsert(device) => device.id(),
            Self::Remove(device) | Self::Online { device, .. } | Self::State { device, .. } => {
                device
            }
        }
    }
}
