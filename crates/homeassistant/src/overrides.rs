//! What the user knows better than the catalog: the override file. See [`Overrides`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use crate::catalog::line_of;
use crate::entity::{Category, Platform};
use crate::units;

/// The user's override file; [`default`](Self::default) overrides nothing.
///
/// Three tables, `category`, `gateway` and `device`, each by id and then by data point code:
///
/// ```toml
/// [category.wsdcg.va_temperature]
/// scale = 2                      # the vendor's schema says 1
///
/// [device.bf2a7c41d09e5f.switch_1]
/// name = "Fountain"
/// invert = true
///
/// [gateway.6c1f77a3e2b04c59.countdown_1]
/// hide = true
/// ```
///
/// What a device's table says wins over its gateway's, and that over its category's, key by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    // Every mapping holds one; a clone shares the tables.
    category: Arc<Scope>,
    gateway: Arc<Scope>,
    device: Arc<Scope>,
}

type Scope = BTreeMap<String, BTreeMap<String, Settings>>;

/// What is said of one data point.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) scale: Option<u32>,
    pub(crate) unit: Option<String>,
    pub(crate) device_class: Option<String>,
    pub(crate) state_class: Option<String>,
    pub(crate) platform: Option<Platform>,
    pub(crate) name: Option<String>,
    pub(crate) icon: Option<String>,
    pub(crate) category: Option<Category>,
    pub(crate) hide: Option<bool>,
    pub(crate) enabled: Option<bool>,
    pub(crate) invert: Option<bool>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

/// A fault in an override file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}:{line}: {problem}")]
pub struct OverrideError {
    /// The file, as the user named it.
    pub origin: String,
    /// The line, from 1.
    pub line: usize,
    /// The key and what is wrong with it.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    category: RawScope,
    #[serde(default)]
    gateway: RawScope,
    #[serde(default)]
    device: RawScope,
}

type RawScope = BTreeMap<String, BTreeMap<String, RawSettings>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSettings {
    scale: Option<Spanned<u32>>,
    unit: Option<String>,
    device_class: Option<Spanned<String>>,
    state_class: Option<Spanned<String>>,
    platform: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
    icon: Option<Spanned<String>>,
    category: Option<Category>,
    hide: Option<bool>,
    enabled: Option<bool>,
    invert: Option<bool>,
    labels: Option<Spanned<BTreeMap<String, String>>>,
}

impl Overrides {
    /// Parses an override file; `origin` names it in errors.
    ///
    /// # Errors
    /// The first fault, with its line and key.
    pub fn parse(text: &str, origin: &str) -> Result<Self, OverrideError> {
        let at = |offset: usize, problem: String| OverrideError {
            origin: origin.to_owned(),
            line: line_of(text, offset),
            problem,
        };
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let key = key_of(text, start);
            let message = error.message();
            at(
                start,
                if key.is_empty() || message.contains(key) {
                    message.to_owned()
                } else {
                    format!("{key}: {message}")
                },
            )
        })?;
        let scope = |raw: RawScope| -> Result<Arc<Scope>, OverrideError> {
            let scope: Result<Scope, OverrideError> = raw
                .into_iter()
                .map(|(id, points)| {
                    let points = points
                        .into_iter()
                        .map(|(code, raw)| {
                            Ok((
                                code,
                                settings(raw).map_err(|(offset, problem)| at(offset, problem))?,
                            ))
                        })
                        .collect::<Result<_, OverrideError>>()?;
                    Ok((id, points))
                })
                .collect();
            scope.map(Arc::new)
        };
        Ok(Self {
            category: scope(raw.category)?,
            gateway: scope(raw.gateway)?,
            device: scope(raw.device)?,
        })
    }

    /// Tells whether nothing is overridden.
    pub fn is_empty(&self) -> bool {
        self.category.is_empty() && self.gateway.is_empty() && self.device.is_empty()
    }

    /// Returns what holds for one data point.
    pub(crate) fn settings(
        &self,
        category: &str,
        gateway: &str,
        device: &str,
        code: &str,
    ) -> Settings {
        let mut all = Settings::default();
        for (scope, id) in [
            (&self.category, category),
            (&self.gateway, gateway),
            (&self.device, device),
        ] {
            if let Some(settings) = scope.get(id).and_then(|points| points.get(code)) {
                all.take(settings);
            }
        }
        all
    }
}

impl Settings {
    fn take(&mut self, other: &Self) {
        fn over<T: Clone>(mine: &mut Option<T>, other: Option<&T>) {
            if let Some(other) = other {
                *mine = Some(other.clone());
            }
        }
        over(&mut self.scale, other.scale.as_ref());
        over(&mut self.unit, other.unit.as_ref());
        over(&mut self.device_class, other.device_class.as_ref());
        over(&mut self.state_class, other.state_class.as_ref());
        over(&mut self.platform, other.platform.as_ref());
        over(&mut self.name, other.name.as_ref());
        over(&mut self.icon, other.icon.as_ref());
        over(&mut self.category, other.category.as_ref());
        over(&mut self.hide, other.hide.as_ref());
        over(&mut self.enabled, other.enabled.as_ref());
        over(&mut self.invert, other.invert.as_ref());
        over(&mut self.labels, other.labels.as_ref());
    }
}

/// Checks what a table says; a fault comes with its place.
fn settings(raw: RawSettings) -> Result<Settings, (usize, String)> {
    let fault = |spanned: &Spanned<String>, problem: String| Err((spanned.span().start, problem));
    if let Some(scale) = raw.scale.as_ref().filter(|scale| *scale.get_ref() > 18) {
        return Err((
            scale.span().start,
            format!("scale: {} is more than 18 decimal places", scale.get_ref()),
        ));
    }
    let platform = match &raw.platform {
        None => None,
        Some(text) => match text.get_ref().parse::<Platform>() {
            Ok(platform) if OVERRIDABLE.contains(&platform) => Some(platform),
            _ => {
                let names: Vec<&str> = OVERRIDABLE.iter().map(|platform| platform.name()).collect();
                return fault(
                    text,
                    format!(
                        "platform: `{}` is none of {}",
                        text.get_ref(),
                        names.join(", ")
                    ),
                );
            }
        },
    };
    if let Some(class) = &raw.device_class {
        let known = match platform {
            Some(platform) => units::is_device_class(platform, class.get_ref()),
            None => Platform::ALL
                .iter()
                .any(|platform| units::is_device_class(*platform, class.get_ref())),
        };
        if !known {
            return fault(
                class,
                format!(
                    "device_class: Home Assistant has no `{}`{}",
                    class.get_ref(),
                    match platform {
                        Some(platform) => format!(" for a {platform}"),
                        None => String::new(),
                    }
                ),
            );
        }
        if let Some(unit) = &raw.unit
            && matches!(platform, None | Some(Platform::Sensor | Platform::Number))
            && !units::unit_fits(class.get_ref(), units::normalised(unit))
            && units::is_device_class(Platform::Sensor, class.get_ref())
        {
            return fault(
                class,
                format!(
                    "device_class: `{}` does not go with the unit `{unit}`",
                    class.get_ref()
                ),
            );
        }
    }
    if let Some(state) = &raw.state_class
        && !["measurement", "total", "total_increasing"].contains(&state.get_ref().as_str())
    {
        return fault(
            state,
            format!(
                "state_class: `{}` is none of measurement, total, total_increasing",
                state.get_ref()
            ),
        );
    }
    if let Some(icon) = raw
        .icon
        .as_ref()
        .filter(|icon| !icon.get_ref().starts_with("mdi:"))
    {
        return fault(
            icon,
            format!("icon: `{}` does not begin with `mdi:`", icon.get_ref()),
        );
    }
    if let Some(name) = raw
        .name
        .as_ref()
        .filter(|name| name.get_ref().trim().is_empty())
    {
        return fault(name, "name: it is empty".to_owned());
    }
    if let Some(labels) = &raw.labels {
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = labels
            .get_ref()
            .values()
            .find(|label| !seen.insert(label.as_str()))
        {
            return Err((
                labels.span().start,
                format!("labels: `{twice}` stands for two values"),
            ));
        }
    }
    Ok(Settings {
        scale: raw.scale.map(Spanned::into_inner),
        unit: raw.unit.map(|unit| units::normalised(&unit).to_owned()),
        device_class: raw.device_class.map(Spanned::into_inner),
        state_class: raw.state_class.map(Spanned::into_inner),
        platform,
        name: raw.name.map(Spanned::into_inner),
        icon: raw.icon.map(Spanned::into_inner),
        category: raw.category,
        hide: raw.hide,
        enabled: raw.enabled,
        invert: raw.invert,
        labels: raw.labels.map(Spanned::into_inner),
    })
}

/// The platforms that one data point alone can be.
const OVERRIDABLE: &[Platform] = &[
    Platform::BinarySensor,
    Platform::Button,
    Platform::Event,
    Platform::Lock,
    Platform::Number,
    Platform::Select,
    Platform::Sensor,
    Platform::Siren,
    Platform::Switch,
    Platform::Text,
    Platform::Valve,
];

/// Returns the key on the line of a byte, for messages of the parser that do not name it.
fn key_of(text: &str, offset: usize) -> &str {
    let start = text
        .get(..offset)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |end| end + 1);
    let line = text
        .get(start..)
        .and_then(|rest| rest.lines().next())
        .unwrap_or_default();
    line.split_once('=').map_or("", |(key, _)| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Overrides::parse(text, "overrides.toml")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_nearest_scope_wins_key_by_key() {
        let overrides = Overrides::parse(
            "[category.wsdcg.va_temperature]\nscale = 2\nname = \"Air\"\n[gateway.g.va_temperature]\nscale = 1\n[device.d.va_temperature]\nunit = \"℃\"\n",
            "o.toml",
        )
        .unwrap();
        let settings = overrides.settings("wsdcg", "g", "d", "va_temperature");
        assert_eq!(
            (
                settings.scale,
                settings.unit.as_deref(),
                settings.name.as_deref()
            ),
            (Some(1), Some("°C"), Some("Air"))
        );
        assert_eq!(
            overrides
                .settings("wsdcg", "other", "other", "va_temperature")
                .scale,
            Some(2)
        );
        assert_eq!(
            overrides.settings("kg", "g", "d", "switch_1"),
            Settings::default()
        );
    }

    #[test]
    fn a_fault_names_line_and_key() {
        for (text, expected) in [
            (
                "[device.d.switch_1]\nnmae = \"x\"\n",
                ["overrides.toml:2:", "nmae"],
            ),
            (
                "\n[device.d.switch_1]\nscale = \"two\"\n",
                ["overrides.toml:3:", "scale"],
            ),
            (
                "[device.d.switch_1]\nscale = 40\n",
                ["overrides.toml:2:", "scale"],
            ),
            (
                "[device.d.switch_1]\nplatform = \"lamp\"\n",
                ["overrides.toml:2:", "platform"],
            ),
            (
                "[device.d.t]\nunit = \"V\"\ndevice_class = \"temperature\"\n",
                ["overrides.toml:3:", "device_class"],
            ),
            (
                "[device.d.t]\ndevice_class = \"warmth\"\n",
                ["overrides.toml:2:", "warmth"],
            ),
            (
                "[devices.d.t]\nname = \"x\"\n",
                ["overrides.toml:1:", "devices"],
            ),
            (
                "[device.d.t]\nlabels = { a = \"x\", b = \"x\" }\n",
                ["overrides.toml:2:", "labels"],
            ),
            ("[device.d.t\n", ["overrides.toml:1:", ""]),
        ] {
            let fault = fault(text);
            assert!(
                expected.iter().all(|part| fault.contains(part)),
                "{text}: {fault}"
            );
        }
    }
}
