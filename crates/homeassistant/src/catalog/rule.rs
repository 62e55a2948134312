//! What the catalog's files hold, as it is written there. Read by [`super::file`], used by `mapping`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::entity::{Category, Platform};

/// One `[[entity]]`: which data points make which entity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) platform: Platform,
    /// The main data point; the first that the device has and whose type fits. Empty where the
    /// platform's roles find it.
    #[serde(default)]
    pub(crate) code: Codes,
    /// Which of several entities of one data point.
    pub(crate) part: Option<String>,
    /// The flag of a Bitmap; `*` makes an entity of each.
    pub(crate) bit: Option<String>,
    /// What Home Assistant's own integration calls the data point, where it is not code and part.
    pub(crate) alias: Option<String>,
    /// The entity bears the device's name.
    #[serde(default)]
    pub(crate) main: bool,
    /// It bears the device's name if no other entity of its platform that says so is there.
    #[serde(default)]
    pub(crate) main_if_alone: bool,
    pub(crate) name: Option<String>,
    pub(crate) device_class: Option<String>,
    pub(crate) state_class: Option<String>,
    /// The unit, whatever the device declares.
    pub(crate) unit: Option<String>,
    /// The unit to convert to.
    pub(crate) shown_unit: Option<String>,
    pub(crate) category: Option<Category>,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    pub(crate) icon: Option<String>,
    pub(crate) precision: Option<u32>,
    /// The values by which a binary sensor is on; `true` without it.
    #[serde(default)]
    pub(crate) on: Vec<String>,
    /// The mode of a climate device that has a switch and no mode.
    pub(crate) fallback_mode: Option<String>,
    /// A cover's state is `true` when it is open.
    #[serde(default)]
    pub(crate) state_inverted: bool,
    /// The top of saturation and value of a colour whose declaration does not say.
    pub(crate) color_scale: Option<i64>,
    /// Codes that must be there too.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// It holds in categories alone that have no file.
    #[serde(default)]
    pub(crate) unknown_only: bool,
    /// Which codes play which part.
    #[serde(default)]
    pub(crate) roles: BTreeMap<String, Vec<String>>,
    /// Words that differ from the usual ones.
    #[serde(default)]
    pub(crate) words: BTreeMap<String, String>,
}

/// One code or several to choose from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum Codes {
    /// None: the platform's roles find it.
    #[default]
    None,
    /// This one.
    One(String),
    /// The first of these.
    Several(Vec<String>),
}

impl Codes {
    /// Returns the codes in order of preference.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let codes: &[String] = match self {
            Self::None => &[],
            Self::One(code) => std::slice::from_ref(code),
            Self::Several(codes) => codes,
        };
        codes.iter().map(String::as_str)
    }
}

/// Why an entity differs from Home Assistant's own integration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    /// The platform that it holds for.
    pub(crate) platform: String,
    /// The device class that ours has, where it holds for one alone.
    pub(crate) class: Option<String>,
    /// What the integration says where it holds for one word alone; empty for nothing.
    pub(crate) expected: Option<String>,
    /// `device_class`, `unit`, `state_class` or `missing`.
    pub(crate) field: String,
    /// The reason.
    pub(crate) text: String,
}

fn yes() -> bool {
    true
}
