//! Reads one file of the catalog and checks it against what Home Assistant takes; every fault has
//! its line.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

use super::CatalogError;
use super::rule::{Reason, Rule};
use crate::entity::{Category, Platform};
use crate::units;

/// A category's file.
pub(super) struct CategoryFile {
    pub(super) category: String,
    pub(super) name: String,
    pub(super) rules: Vec<Rule>,
}

/// The file of what is the same everywhere.
pub(super) struct DefaultsFile {
    pub(super) names: BTreeMap<String, String>,
    pub(super) roles: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    pub(super) words: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) reasons: Vec<Reason>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCategory {
    category: Spanned<String>,
    name: String,
    #[serde(default)]
    entity: Vec<Spanned<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDefaults {
    names: BTreeMap<String, String>,
    roles: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    words: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    reason: Vec<Reason>,
    #[serde(default)]
    entity: Vec<Spanned<Rule>>,
}

/// Reads a category's file.
pub(super) fn category(file: &str, text: &str) -> Result<CategoryFile, CatalogError> {
    let raw: RawCategory = read(file, text)?;
    let expected = file.strip_suffix(".toml").unwrap_or(file);
    if raw.category.get_ref() != expected {
        return Err(CatalogError {
            file: file.to_owned(),
            line: line_of(text, raw.category.span().start),
            problem: format!(
                "category: `{}` is in a file of another name, {file}",
                raw.category.get_ref()
            ),
        });
    }
    Ok(CategoryFile {
        category: raw.category.into_inner(),
        name: raw.name,
        rules: checked(file, text, raw.entity)?,
    })
}

/// Reads the file of what is the same everywhere.
pub(super) fn defaults(file: &str, text: &str) -> Result<DefaultsFile, CatalogError> {
    let raw: RawDefaults = read(file, text)?;
    for (name, roles) in &raw.roles {
        let problem = match name.parse::<Platform>() {
            Ok(platform) => unknown_role(platform, roles.keys()),
            Err(problem) => Some(problem),
        };
        if let Some(problem) = problem {
            let at = text.find(&format!("[roles.{name}]")).unwrap_or(0);
            return Err(CatalogError {
                file: file.to_owned(),
                line: line_of(text, at),
                problem,
            });
        }
    }
    Ok(DefaultsFile {
        names: raw.names,
        roles: raw.roles,
        words: raw.words,
        reasons: raw.reason,
        rules: checked(file, text, raw.entity)?,
    })
}

fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, CatalogError> {
    toml::from_str(text).map_err(|error| CatalogError {
        file: file.to_owned(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        problem: error.message().to_owned(),
    })
}

fn checked(file: &str, text: &str, rules: Vec<Spanned<Rule>>) -> Result<Vec<Rule>, CatalogError> {
    let mut seen = BTreeSet::new();
    let mut checked = Vec::with_capacity(rules.len());
    for spanned in rules {
        let line = line_of(text, spanned.span().start);
        let rule = spanned.into_inner();
        let twin = (
            rule.platform,
            rule.code.iter().next().map(str::to_owned),
            rule.part.clone(),
        );
        let problem = match fault(&rule) {
            None if !seen.insert(twin) => {
                Some("platform, code and part are those of an earlier entity".to_owned())
            }
            problem => problem,
        };
        if let Some(problem) = problem {
            return Err(CatalogError {
                file: file.to_owned(),
                line,
                problem,
            });
        }
        checked.push(rule);
    }
    Ok(checked)
}

/// The parts that data points can play, by platform.
const ROLES: &[(Platform, &[&str])] = &[
    (
        Platform::Light,
        &[
            "brightness",
            "brightness_min",
            "brightness_max",
            "color_temp",
            "color",
            "mode",
        ],
    ),
    (
        Platform::Cover,
        &["position", "set_position", "state", "tilt"],
    ),
    (
        Platform::Climate,
        &[
            "switch",
            "mode",
            "target",
            "target_f",
            "current",
            "current_f",
            "scale",
            "humidity",
            "current_humidity",
            "fan",
            "swing",
            "swing_horizontal",
            "swing_vertical",
            "action",
        ],
    ),
    (
        Platform::Fan,
        &["switch", "preset", "speed", "oscillate", "direction"],
    ),
    (Platform::Humidifier, &["target", "current", "mode"]),
    (
        Platform::Vacuum,
        &[
            "power", "pause", "charge", "mode", "locate", "suction", "status",
        ],
    ),
    (Platform::Lock, &["control"]),
];

/// The words of a cover that a rule can name.
const WORDS: &[&str] = &["open", "close", "stop"];

/// Returns the role that the platform does not have.
fn unknown_role<'a>(
    platform: Platform,
    mut roles: impl Iterator<Item = &'a String>,
) -> Option<String> {
    let known = ROLES
        .iter()
        .find(|(of, _)| *of == platform)
        .map_or(&[][..], |(_, roles)| roles);
    let role = roles.find(|role| !known.contains(&role.as_str()))?;
    Some(match known.is_empty() {
        true => format!("roles.{role}: a {platform} has no roles"),
        false => format!("roles.{role}: a {platform} has {}", known.join(", ")),
    })
}

/// Returns what Home Assistant would not take of a rule.
fn fault(rule: &Rule) -> Option<String> {
    let platform = rule.platform;
    let finds_itself = matches!(
        platform,
        Platform::Climate | Platform::Fan | Platform::Vacuum
    );
    if rule.code.iter().next().is_none() && !finds_itself {
        return Some(format!("code: a {platform} needs one"));
    }
    if let Some(problem) = unknown_role(platform, rule.roles.keys()) {
        return Some(problem);
    }
    if let Some(word) = rule
        .words
        .keys()
        .find(|word| platform != Platform::Cover || !WORDS.contains(&word.as_str()))
    {
        return Some(format!(
            "words.{word}: a cover alone has words, {}",
            WORDS.join(", ")
        ));
    }
    if let Some(class) = &rule.device_class
        && !units::is_device_class(platform, class)
    {
        return Some(format!("device_class: a {platform} has no `{class}`"));
    }
    if let Some(state) = &rule.state_class {
        if platform != Platform::Sensor {
            return Some(format!("state_class: a {platform} has none"));
        }
        if !units::state_class_fits(rule.device_class.as_deref(), state) {
            return Some(format!(
                "state_class: `{state}` does not go with the device class"
            ));
        }
    }
    for (key, unit) in [("unit", &rule.unit), ("shown_unit", &rule.shown_unit)] {
        if let Some(unit) = unit {
            if !matches!(platform, Platform::Sensor | Platform::Number) {
                return Some(format!("{key}: a {platform} has none"));
            }
            if let Some(class) = &rule.device_class
                && !units::unit_fits(class, unit)
            {
                return Some(format!("{key}: `{unit}` does not go with `{class}`"));
            }
        }
    }
    match rule.category {
        Some(Category::Config) if platform.only_reads() => {
            return Some(format!("category: a {platform} cannot be config"));
        }
        _ => {}
    }
    if rule
        .icon
        .as_ref()
        .is_some_and(|icon| !icon.starts_with("mdi:"))
    {
        return Some("icon: it begins with `mdi:`".to_owned());
    }
    if rule.main && rule.main_if_alone {
        return Some("main_if_alone: it is main already".to_owned());
    }
    None
}

/// Returns the line, from 1, of a byte.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}
