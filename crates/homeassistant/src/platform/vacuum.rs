//! Robot vacuums. Home Assistant reads a vacuum's state from the top of the state object and takes no
//! template for it: `state` and `fan_speed` stand there, unless a data point of the device has the name.

use serde_json::{Map, Value as Json, json};

use super::{State, Written, word};
use crate::catalog::{Catalog, Rule};
use crate::discovery::Component;
use crate::point::{Points, Values};

/// The word that sends a robot home.
const HOME: &str = "chargego";

/// A robot's data points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vacuum {
    power: Option<String>,
    pause: Option<String>,
    charge: Option<String>,
    /// The mode that sends it home.
    home: Option<String>,
    locate: Option<String>,
    suction: Option<(String, Vec<String>)>,
    status: Option<String>,
    meanings: Vec<(String, String)>,
}

impl Vacuum {
    pub(crate) fn plan(catalog: &Catalog, rule: &Rule, points: &Points) -> Option<Self> {
        let switch = |role: &str| {
            points
                .first(catalog.role(rule, role), |point| {
                    point.is_boolean() && point.writable()
                })
                .map(|point| point.code.clone())
        };
        let home = points.first(catalog.role(rule, "mode"), |point| {
            point.is_enum() && point.writable() && point.words().iter().any(|word| word == HOME)
        });
        let suction = points.first(catalog.role(rule, "suction"), |point| {
            point.is_enum() && point.writable()
        });
        let vacuum = Self {
            power: switch("power"),
            pause: switch("pause"),
            charge: switch("charge"),
            home: home.map(|point| point.code.clone()),
            locate: switch("locate"),
            suction: suction.map(|point| (point.code.clone(), point.words())),
            status: points
                .first(catalog.role(rule, "status"), |point| point.is_enum())
                .map(|point| point.code.clone()),
            meanings: catalog
                .words("vacuum_state")
                .map(|(word, meaning)| (word.to_owned(), meaning.to_owned()))
                .collect(),
        };
        (vacuum.power.is_some() || vacuum.status.is_some()).then_some(vacuum)
    }

    pub(crate) fn main(&self) -> &str {
        self.power
            .as_deref()
            .or(self.status.as_deref())
            .unwrap_or_default()
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        [
            self.power.as_deref(),
            self.pause.as_deref(),
            self.charge.as_deref(),
            self.home.as_deref(),
            self.locate.as_deref(),
            self.suction.as_ref().map(|(code, _)| code.as_str()),
            self.status.as_deref(),
        ]
        .into_iter()
        .flatten()
        .filter(|code| *code != self.main())
        .collect()
    }

    pub(crate) fn discover(&self, component: &mut Component<'_>) {
        let mut features = vec!["status"];
        if self.power.is_some() {
            features.extend(["start", "stop"]);
        }
        if self.pause.is_some() || self.power.is_some() {
            features.push("pause");
        }
        if self.charge.is_some() || self.home.is_some() {
            features.push("return_home");
        }
        if self.locate.is_some() {
            features.push("locate");
        }
        component.set("state_topic", component.topics().state.clone());
        component.command("command_topic", "vacuum");
        if let Some((_, words)) = &self.suction {
            features.push("fan_speed");
            component.set("fan_speed_list", words.clone());
            component.command("set_fan_speed_topic", "suction");
        }
        component.set("supported_features", features);
    }

    pub(crate) fn derived(&self, values: Values<'_>) -> Option<Json> {
        let mut state = State::default();
        let said = self
            .status
            .as_deref()
            .and_then(|code| values.word(code))
            .filter(|said| !said.is_empty());
        let paused = self
            .pause
            .as_deref()
            .and_then(|code| values.on(code))
            .unwrap_or(false);
        let meaning = match &said {
            Some(said) => self
                .meanings
                .iter()
                .find(|(word, _)| word == said)
                .map(|(_, meaning)| meaning.clone()),
            None if paused => Some("paused".to_owned()),
            None => None,
        };
        state.put("state", meaning);
        state.put(
            "fan_speed",
            self.suction
                .as_ref()
                .and_then(|(code, _)| values.word(code)),
        );
        state.done()
    }

    /// Puts what Home Assistant reads without a template at the top of the state object.
    pub(crate) fn lift(&self, values: Values<'_>, state: &mut Map<String, Json>) {
        let derived = self.derived(values).unwrap_or_else(|| json!({}));
        for key in ["state", "fan_speed"] {
            if !state.contains_key(key)
                && let Some(value) = derived.get(key)
            {
                state.insert(key.to_owned(), value.clone());
            }
        }
    }

    pub(crate) fn command(&self, aspect: &str, payload: &str, values: Values<'_>) -> Written {
        let switch =
            |code: &Option<String>, on: bool| Some(Ok(vec![values.switch(code.as_deref()?, on)]));
        match (aspect, payload) {
            ("vacuum", "start") => switch(&self.power, true),
            ("vacuum", "stop") => switch(&self.power, false),
            ("vacuum", "pause") if self.pause.is_some() => switch(&self.pause, true),
            ("vacuum", "pause") => switch(&self.power, false),
            ("vacuum", "locate") => switch(&self.locate, true),
            ("vacuum", "return_to_base") => {
                let charge = self.charge.as_deref().map(|code| values.switch(code, true));
                let home = self.home.as_deref().map(|code| word(code, HOME));
                let readings: Vec<_> = charge.into_iter().chain(home).collect();
                (!readings.is_empty()).then_some(Ok(readings))
            }
            ("suction", _) => {
                let (code, words) = self.suction.as_ref()?;
                words
                    .iter()
                    .any(|word| word == payload)
                    .then(|| Ok(vec![word(code, payload)]))
            }
            _ => None,
        }
    }
}
