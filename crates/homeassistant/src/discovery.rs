//! The message that announces a device: from the entities of a [`Mapping`](crate::Mapping), to the
//! retained topic `<prefix>/device/<object id>/config`.

/// Where a device's messages go; the caller's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Where the retained state object is.
    pub state: String,
    /// Commands go to `<set>/<key>`, one level below; an object of several to `<set>` itself.
    pub set: String,
    /// Where momentary events are, not retained.
    pub event: String,
    /// What must all say `online`: hub, gateway, device.
    pub availability: Vec<String>,
}

/// Who announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where help is.
    pub url: Option<String>,
}

/// What the discovery message needs beside the device itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryContext {
    /// The topics of the device.
    pub topics: Topics,
    /// The name that the user gave; [`Mapping::default_name`](crate::Mapping::default_name) without one.
    pub name: Option<String>,
    /// The identifier of the Home Assistant device that stands for the gateway.
    pub via_device: Option<String>,
    /// A page about the device.
    pub configuration_url: Option<String>,
    /// Who announces.
    pub origin: Origin,
}
