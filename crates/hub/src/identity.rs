//! Who a device is among many gateways: `(gateway uuid, devid)`, the same after every restart.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use hearthgate_protocol::model::DeviceId;

/// The uuid of a gateway, as it advertises it (section 7): opaque, cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(Arc<str>);

/// A device of one of many gateways.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceRef {
    /// The gateway that it belongs to.
    pub gateway: GatewayId,
    /// Its id, unique within its gateway.
    pub device: DeviceId,
}

impl GatewayId {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for GatewayId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for GatewayId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for GatewayId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl DeviceRef {
    /// Makes one.
    pub fn new(gateway: impl Into<GatewayId>, device: impl Into<DeviceId>) -> Self {
        Self {
            gateway: gateway.into(),
            device: device.into(),
        }
    }
}

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gateway, self.device)
    }
}
