//! Fans: on and off, speed, preset, oscillation, direction.

use serde_json::Value as Json;

use super::{State, Written, integer, word};
use crate::catalog::{Catalog, Rule};
use crate::discovery::Component;
use crate::number::{parsed, whole};
use crate::point::{Points, Values, switched};

/// A fan's data points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fan {
    pub(crate) switch: String,
    preset: Option<(String, Vec<String>)>,
    speed: Option<Speed>,
    oscillate: Option<String>,
    direction: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Speed {
    /// A number; Home Assistant counts from 1, what is below is off.
    Number { code: String, range: (i64, i64) },
    /// One of some words, slowest first.
    Words { code: String, words: Vec<String> },
}

impl Fan {
    pub(crate) fn plan(catalog: &Catalog, rule: &Rule, points: &Points) -> Option<Self> {
        let switch = points.first(catalog.role(rule, "switch"), |point| {
            point.is_boolean() && point.writable()
        })?;
        let words = |role: &str| {
            let point = points.first(catalog.role(rule, role), |point| {
                point.is_enum() && point.writable()
            })?;
            Some((point.code.clone(), point.words()))
        };
        let codes = catalog.role(rule, "speed");
        let number = points
            .first(codes, |point| {
                point.writable() && point.range().is_some_and(|(_, max)| max > 1)
            })
            .and_then(|point| {
                Some(Speed::Number {
                    code: point.code.clone(),
                    range: point.range()?,
                })
            });
        let oscillate = points.first(catalog.role(rule, "oscillate"), |point| {
            point.is_boolean() && point.writable()
        });
        Some(Self {
            switch: switch.code.clone(),
            preset: words("preset").filter(|(_, words)| !words.is_empty()),
            speed: number.or_else(|| {
                let (code, words) = words("speed").filter(|(_, words)| words.len() > 1)?;
                Some(Speed::Words { code, words })
            }),
            oscillate: oscillate.map(|point| point.code.clone()),
            direction: words("direction").map(|(code, _)| code),
        })
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        let speed = self.speed.as_ref().map(|speed| match speed {
            Speed::Number { code, .. } | Speed::Words { code, .. } => code.as_str(),
        });
        [
            self.preset.as_ref().map(|(code, _)| code.as_str()),
            speed,
            self.oscillate.as_deref(),
            self.direction.as_deref(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub(crate) fn discover(&self, component: &mut Component<'_>) {
        let state = component.topics().state.clone();
        component.set("state_topic", state.clone());
        component.derived("state_value_template", "state", "None");
        component.command("command_topic", "fan");
        if let Some((_, words)) = &self.preset {
            component.command("preset_mode_command_topic", "preset");
            component.set("preset_mode_state_topic", state.clone());
            component.derived("preset_mode_value_template", "preset", "None");
            component.set("preset_modes", words.clone());
        }
        if let Some(speed) = &self.speed {
            component.command("percentage_command_topic", "speed");
            component.set("percentage_state_topic", state.clone());
            component.derived("percentage_value_template", "speed", "None");
            let (min, max) = speed.range();
            component.set("speed_range_min", min);
            component.set("speed_range_max", max);
        }
        if self.oscillate.is_some() {
            component.command("oscillation_command_topic", "oscillate");
            component.set("oscillation_state_topic", state.clone());
            component.derived("oscillation_value_template", "oscillate", "");
            component.set("payload_oscillation_on", "oscillate_on");
            component.set("payload_oscillation_off", "oscillate_off");
        }
        if self.direction.is_some() {
            component.command("direction_command_topic", "direction");
            component.set("direction_state_topic", state);
            component.derived("direction_value_template", "direction", "");
        }
    }

    pub(crate) fn derived(&self, values: Values<'_>) -> Option<Json> {
        let mut state = State::default();
        state.put(
            "state",
            values
                .on(&self.switch)
                .map(|on| if on { "ON" } else { "OFF" }),
        );
        if let Some((code, words)) = &self.preset {
            state.put(
                "preset",
                values.word(code).filter(|word| words.contains(word)),
            );
        }
        state.put(
            "speed",
            self.speed.as_ref().and_then(|speed| speed.read(values)),
        );
        if let Some(code) = &self.oscillate {
            state.put(
                "oscillate",
                values
                    .on(code)
                    .map(|on| if on { "oscillate_on" } else { "oscillate_off" }),
            );
        }
        if let Some(code) = &self.direction {
            let direction =
                values
                    .word(code)
                    .and_then(|word| match word.to_ascii_lowercase().as_str() {
                        "forward" => Some("forward"),
                        "reverse" | "back" | "backward" => Some("reverse"),
                        _ => None,
                    });
            state.put("direction", direction);
        }
        state.done()
    }

    pub(crate) fn command(&self, aspect: &str, payload: &str, values: Values<'_>) -> Written {
        match aspect {
            "fan" => Some(Ok(vec![
                values.switch(&self.switch, switched(&Json::from(payload))?),
            ])),
            "preset" => {
                let (code, words) = self.preset.as_ref()?;
                words
                    .iter()
                    .any(|word| word == payload)
                    .then(|| Ok(vec![word(code, payload)]))
            }
            "speed" => {
                let asked = f64::try_from(parsed(payload)?).ok()?;
                self.speed
                    .as_ref()?
                    .write(whole(asked))
                    .map(|reading| Ok(vec![reading]))
            }
            "oscillate" => {
                let on = match payload {
                    "oscillate_on" => true,
                    "oscillate_off" => false,
                    _ => switched(&Json::from(payload))?,
                };
                Some(Ok(vec![values.switch(self.oscillate.as_ref()?, on)]))
            }
            "direction" => {
                let code = self.direction.as_ref()?;
                let known = values.points.get(code)?.words();
                let alike: &[&str] = match payload {
                    "forward" => &["forward"],
                    "reverse" => &["reverse", "back", "backward"],
                    _ => return None,
                };
                let name = known
                    .iter()
                    .find(|word| alike.contains(&word.to_ascii_lowercase().as_str()))?;
                Some(Ok(vec![word(code, name)]))
            }
            _ => None,
        }
    }
}

impl Speed {
    /// Returns the range in which Home Assistant counts.
    fn range(&self) -> (i64, i64) {
        match self {
            Self::Number { range, .. } => (range.0.max(1), range.1),
            Self::Words { words, .. } => (1, i64::try_from(words.len()).unwrap_or(i64::MAX)),
        }
    }

    fn read(&self, values: Values<'_>) -> Option<i64> {
        match self {
            Self::Number { code, range } => values.integer(code).map(|raw| raw.clamp(0, range.1)),
            Self::Words { code, words } => {
                let said = values.word(code)?;
                let at = words.iter().position(|word| *word == said)?;
                i64::try_from(at + 1).ok()
            }
        }
    }

    fn write(&self, asked: i64) -> Option<hearthgate_protocol::model::Reading> {
        match self {
            Self::Number { code, range } => Some(integer(code, asked.clamp(range.0, range.1))),
            Self::Words { code, words } => {
                let at = usize::try_from(asked.max(1) - 1).ok()?;
                Some(word(code, words.get(at)?))
            }
        }
    }
}
