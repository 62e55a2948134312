//! Humidifiers and dehumidifiers: on and off, target, mode.

use serde_json::Value as Json;

use super::{State, Written, word};
use crate::catalog::{Catalog, Rule};
use crate::discovery::Component;
use crate::number;
use crate::point::{Points, Values, switched};

/// A humidifier's data points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Humidifier {
    switch: String,
    target: Option<Target>,
    current: Option<String>,
    mode: Option<(String, Vec<String>)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Target {
    code: String,
    range: (i64, i64),
}

impl Humidifier {
    pub(crate) fn plan(
        catalog: &Catalog,
        rule: &Rule,
        code: &str,
        points: &Points,
    ) -> Option<Self> {
        let switch = points
            .get(code)
            .filter(|point| point.is_boolean() && point.writable())?;
        let target = points
            .first(catalog.role(rule, "target"), |point| {
                point.is_integer() && point.writable()
            })
            .map(|point| {
                let (min, max, _) = point.limits();
                let whole = |limit: Option<rust_decimal::Decimal>, usual: i64| {
                    limit
                        .and_then(|limit| i64::try_from(limit.trunc()).ok())
                        .unwrap_or(usual)
                        .clamp(0, 100)
                };
                let (min, max) = (whole(min, 0), whole(max, 100));
                Target {
                    code: point.code.clone(),
                    range: if min < max { (min, max) } else { (0, 100) },
                }
            });
        let mode = points.first(catalog.role(rule, "mode"), |point| {
            point.is_enum() && point.writable()
        });
        Some(Self {
            switch: switch.code.clone(),
            target,
            current: points
                .first(catalog.role(rule, "current"), |point| point.is_integer())
                .map(|point| point.code.clone()),
            mode: mode
                .map(|point| (point.code.clone(), point.words()))
                .filter(|(_, words)| !words.is_empty()),
        })
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        [
            self.target.as_ref().map(|target| target.code.as_str()),
            self.current.as_deref(),
            self.mode.as_ref().map(|(code, _)| code.as_str()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    pub(crate) fn discover(&self, component: &mut Component<'_>) {
        let state = component.topics().state.clone();
        component.set("state_topic", state.clone());
        component.derived("state_value_template", "state", "None");
        component.command("command_topic", "humidifier");
        // Home Assistant wants this topic even where the device has no target.
        component.command("target_humidity_command_topic", "target");
        if let Some(target) = &self.target {
            component.set("target_humidity_state_topic", state.clone());
            component.derived("target_humidity_state_template", "target", "None");
            component.set("min_humidity", target.range.0);
            component.set("max_humidity", target.range.1);
        }
        if self.current.is_some() {
            component.set("current_humidity_topic", state.clone());
            component.derived("current_humidity_template", "current", "None");
        }
        if let Some((_, words)) = &self.mode {
            component.set("modes", words.clone());
            component.command("mode_command_topic", "mode");
            component.set("mode_state_topic", state);
            component.derived("mode_state_template", "mode", "None");
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
        let percent = |code: &str| {
            let quantity = number::parsed(&values.user(code).to_string())?;
            i64::try_from(quantity.round())
                .ok()
                .filter(|percent| (0..=100).contains(percent))
        };
        if let Some(target) = &self.target {
            state.put(
                "target",
                percent(&target.code).filter(|now| (target.range.0..=target.range.1).contains(now)),
            );
        }
        state.put("current", self.current.as_deref().and_then(percent));
        if let Some((code, words)) = &self.mode {
            state.put(
                "mode",
                values.word(code).filter(|word| words.contains(word)),
            );
        }
        state.done()
    }

    pub(crate) fn command(&self, aspect: &str, payload: &str, values: Values<'_>) -> Written {
        match aspect {
            "humidifier" => Some(Ok(vec![
                values.switch(&self.switch, switched(&Json::from(payload))?),
            ])),
            "target" => {
                let Some(target) = &self.target else {
                    return Some(Err("this device has no target humidity".to_owned()));
                };
                let point = values.points.get(&target.code)?;
                let reading = |value| {
                    vec![hearthgate_protocol::model::Reading::new(
                        target.code.as_str(),
                        value,
                    )]
                };
                Some(point.wire(&Json::from(payload)).map(reading))
            }
            "mode" => {
                let (code, words) = self.mode.as_ref()?;
                words
                    .iter()
                    .any(|word| word == payload)
                    .then(|| Ok(vec![word(code, payload)]))
            }
            _ => None,
        }
    }
}
