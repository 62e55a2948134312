//! The messages after `auth_ok`, as types.

use std::fmt;

use crate::model::{Code, DeviceId, Reading, Update};

/// What a client asks of a gateway (section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The ids of all devices.
    GetDevices,
    /// The schemas of these devices.
    GetSchema(Vec<DeviceId>),
    /// The state of these devices.
    GetStatus(Vec<DeviceId>),
    /// Writes, checked as a whole before any is sent.
    SetValue(Vec<DeviceWrite>),
}

impl Request {
    /// Returns the `type` of the request.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetDevices => "get_devices",
            Self::GetSchema(_) => "get_schema",
            Self::GetStatus(_) => "get_status",
            Self::SetValue(_) => "set_value",
        }
    }
}

/// The writes of one device in a `set_value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceWrite {
    /// Which device.
    pub device: DeviceId,
    /// The values, in order; the last of two of one code wins.
    pub readings: Vec<Reading>,
}

/// Why a gateway refuses a request (section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed.
    InvalidRequest,
    /// There is no such request type.
    UnknownType,
    /// There is no such device.
    UnknownDevice,
    /// The device is out of reach.
    DeviceOffline,
    /// The device does not take writes of this code.
    UnsupportedCode,
    /// The value is of the wrong type or beyond a limit.
    InvalidValue,
    /// The device did not answer in time.
    Timeout,
    /// The device has too much to do.
    Busy,
    /// A fault of the gateway.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 9] = [
        Self::InvalidRequest,
        Self::UnknownType,
        Self::UnknownDevice,
        Self::DeviceOffline,
        Self::UnsupportedCode,
        Self::InvalidValue,
        Self::Timeout,
        Self::Busy,
        Self::Internal,
    ];

    /// Returns the code as it is on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnknownType => "unknown_type",
            Self::UnknownDevice => "unknown_device",
            Self::DeviceOffline => "device_offline",
            Self::UnsupportedCode => "unsupported_code",
            Self::InvalidValue => "invalid_value",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The `error` of a refused request, as our gateway makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// The kind of fault; of several the first.
    pub code: ErrorCode,
    /// For people: names the thing that is wrong.
    pub message: String,
    /// All that is wrong, where more than one thing can be.
    pub details: Vec<ErrorDetail>,
}

impl ErrorBody {
    /// Makes an error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// Makes an error of everything that is wrong, the first in front; `None` where nothing is.
    pub fn from_details(details: Vec<ErrorDetail>) -> Option<Self> {
        let first = details.first()?;
        Some(Self {
            code: first.code,
            message: first.message.clone(),
            details,
        })
    }
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorDetail {
    /// The device.
    pub device: DeviceId,
    /// The data point, if it is about one.
    pub code_of: Option<Code>,
    /// The kind of fault.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// The `error` of a refused request, as a client receives it: any object will do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RemoteError {
    /// The `code`, or `unknown` where there is none.
    pub code: String,
    /// The `message`, or the whole error where there is none.
    pub message: String,
    /// The whole error as it came.
    pub json: String,
}

/// Something that happened at the gateway (section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts up by one per event of the gateway; a gap shows that some were skipped.
    pub id: i64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The set of devices changed: read it again.
    RegistryUpdated {
        /// The device.
        device: DeviceId,
        /// 1: added or changed, 0: removed. Not to be relied on.
        state: i64,
    },
    /// A device came into reach or dropped out of it.
    OnlineUpdated {
        /// The device.
        device: DeviceId,
        /// Whether it is in reach.
        online: bool,
        /// Values that came along, if any did.
        readings: Option<Vec<Reading>>,
    },
    /// Data points have these values now.
    StateChanged {
        /// The device.
        device: DeviceId,
        /// The values.
        readings: Vec<Reading>,
    },
    /// An event of a type, or with data, that means nothing to us: ignored, but it counts.
    Other {
        /// Why it is ignored.
        reason: String,
    },
}

impl EventKind {
    /// Returns what it says about the state of a device, if anything.
    pub fn update(&self) -> Option<Update<'_>> {
        match self {
            Self::StateChanged { device, readings } => Some(Update {
                device,
                online: None,
                readings,
            }),
            Self::OnlineUpdated {
                device,
                online,
                readings,
            } => Some(Update {
                device,
                online: Some(*online),
                readings: readings.as_deref().unwrap_or_default(),
            }),
            Self::RegistryUpdated { .. } | Self::Other { .. } => None,
        }
    }
}
