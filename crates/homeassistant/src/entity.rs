//! One thing that Home Assistant shows of a device. Made by the rules of the catalog, read by
//! discovery, state and commands.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::Deserialize;

use crate::platform::Kind;

/// A platform of Home Assistant that has a counterpart over MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are Home Assistant's own")]
pub enum Platform {
    AlarmControlPanel,
    BinarySensor,
    Button,
    Climate,
    Cover,
    Event,
    Fan,
    Humidifier,
    Light,
    Lock,
    Number,
    Select,
    Sensor,
    Siren,
    Switch,
    Text,
    Vacuum,
    Valve,
}

impl Platform {
    /// All of them, in alphabetical order.
    pub const ALL: &'static [Self] = &[
        Self::AlarmControlPanel,
        Self::BinarySensor,
        Self::Button,
        Self::Climate,
        Self::Cover,
        Self::Event,
        Self::Fan,
        Self::Humidifier,
        Self::Light,
        Self::Lock,
        Self::Number,
        Self::Select,
        Self::Sensor,
        Self::Siren,
        Self::Switch,
        Self::Text,
        Self::Vacuum,
        Self::Valve,
    ];

    /// Returns the name that Home Assistant has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlarmControlPanel => "alarm_control_panel",
            Self::BinarySensor => "binary_sensor",
            Self::Button => "button",
            Self::Climate => "climate",
            Self::Cover => "cover",
            Self::Event => "event",
            Self::Fan => "fan",
            Self::Humidifier => "humidifier",
            Self::Light => "light",
            Self::Lock => "lock",
            Self::Number => "number",
            Self::Select => "select",
            Self::Sensor => "sensor",
            Self::Siren => "siren",
            Self::Switch => "switch",
            Self::Text => "text",
            Self::Vacuum => "vacuum",
            Self::Valve => "valve",
        }
    }

    /// Tells whether Home Assistant can only read such an entity; only these may be diagnostic, and
    /// none of these may be config.
    pub fn only_reads(self) -> bool {
        matches!(self, Self::BinarySensor | Self::Sensor | Self::Event)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|platform| platform.name() == text)
            .ok_or_else(|| format!("no platform `{text}`"))
    }
}

/// Where Home Assistant files an entity away from the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// It changes how the device behaves.
    Config,
    /// It tells something about the device itself.
    Diagnostic,
}

impl Category {
    /// Returns the name that Home Assistant has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Diagnostic => "diagnostic",
        }
    }
}

/// One entity of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// The platform.
    pub platform: Platform,
    /// The main data point, by which the entity is known.
    pub code: String,
    /// Which of several entities of one data point this is: a fault bit, `voltage` of `phase_a`.
    pub part: Option<String>,
    /// Every data point that stands in the entity's topics and templates, the main one first.
    pub codes: Vec<String>,
    /// The key of the component in the discovery message, unique within the device.
    pub key: String,
    /// `hearthgate_<gateway>_<devid>_<code>[_<part>]`: never changes.
    pub unique_id: String,
    /// The entity's name below the device's; `None` bears the device's own name.
    pub name: Option<String>,
    /// The device class of the platform.
    pub device_class: Option<String>,
    /// `measurement`, `total` or `total_increasing`; of sensors alone.
    pub state_class: Option<String>,
    /// The unit, as Home Assistant spells it.
    pub unit: Option<String>,
    /// Where the entity is filed.
    pub category: Option<Category>,
    /// Whether it is shown before somebody asks for it.
    pub enabled: bool,
    /// The icon, `mdi:..`.
    pub icon: Option<String>,
    /// How many decimal places are shown; of sensors alone.
    pub precision: Option<u32>,
    /// What can be chosen or reported: options, presets, event types.
    pub options: Vec<String>,
    /// The least number, in the user's unit.
    pub min: Option<Decimal>,
    /// The greatest number, in the user's unit.
    pub max: Option<Decimal>,
    /// The step, in the user's unit.
    pub step: Option<Decimal>,
    /// Whether its data point reports; what only takes writes has no state, and Home Assistant
    /// shows what it sent last.
    pub readable: bool,
    /// What Home Assistant's own integration calls the data point, where it is not code and part.
    pub(crate) alias: Option<String>,
    /// How it works.
    pub(crate) kind: Kind,
}
