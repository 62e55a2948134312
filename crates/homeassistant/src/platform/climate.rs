//! Thermostats, air conditioners, heaters: mode, target, current, preset, fan, swing, humidity, action.

use hearthgate_protocol::model::Reading;
use rust_decimal::Decimal;
use serde_json::Value as Json;

use super::{State, Written, word};
use crate::catalog::{Catalog, Rule};
use crate::discovery::Component;
use crate::number;
use crate::point::{Point, Points, Values};

/// A climate device's data points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Climate {
    switch: Option<String>,
    mode: Option<Mode>,
    /// The mode of a device that is only on or off.
    fallback: String,
    target: Option<Target>,
    current: Option<String>,
    fahrenheit: bool,
    humidity: Option<(String, i64, i64)>,
    current_humidity: Option<String>,
    fan: Option<(String, Vec<String>)>,
    swing: Option<String>,
    horizontal: Option<String>,
    vertical: Option<String>,
    action: Option<(String, Vec<(String, String)>)>,
}

/// What the words of the mode mean: modes of Home Assistant, or presets.
#[derive(Clone, Debug, PartialEq)]
struct Mode {
    code: String,
    /// The vendor's word and Home Assistant's mode.
    modes: Vec<(String, String)>,
    presets: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Target {
    code: String,
    min: Decimal,
    max: Decimal,
    step: Decimal,
}

impl Climate {
    pub(crate) fn plan(catalog: &Catalog, rule: &Rule, points: &Points) -> Option<Self> {
        let role = |role: &str| catalog.role(rule, role);
        let switch = points.first(role("switch"), |point| {
            point.is_boolean() && point.writable()
        });
        let (target, current, fahrenheit) = temperatures(catalog, rule, points);
        let mode = points
            .first(role("mode"), |point| point.is_enum() && point.writable())
            .map(|point| {
                let (mut modes, mut presets) = (Vec::new(), Vec::new());
                for word in point.words() {
                    match catalog.word("climate_mode", &word) {
                        Some(mode) => modes.push((word, mode.to_owned())),
                        // Home Assistant reserves the word `none`.
                        None if word != "none" => presets.push(word),
                        None => {}
                    }
                }
                Mode {
                    code: point.code.clone(),
                    modes,
                    presets,
                }
            });
        if switch.is_none() && mode.is_none() && target.is_none() {
            return None;
        }
        let humidity = points
            .first(role("humidity"), |point| {
                point.is_integer() && point.writable()
            })
            .map(|point| {
                let (min, max, _) = point.limits();
                let whole = |limit: Option<Decimal>, usual| {
                    limit
                        .and_then(|limit| i64::try_from(limit.trunc()).ok())
                        .unwrap_or(usual)
                };
                (
                    point.code.clone(),
                    whole(min, 0).clamp(0, 99),
                    whole(max, 100).clamp(1, 100),
                )
            });
        let boolean = |name: &str| {
            points
                .first(role(name), |point| point.is_boolean() && point.writable())
                .map(|point| point.code.clone())
        };
        let action = points.first(role("action"), Point::is_enum).map(|point| {
            let meanings = point
                .words()
                .into_iter()
                .filter_map(|word| {
                    let meaning = catalog.word("climate_action", &word)?.to_owned();
                    Some((word, meaning))
                })
                .collect::<Vec<_>>();
            (point.code.clone(), meanings)
        });
        Some(Self {
            switch: switch.map(|point| point.code.clone()),
            mode,
            fallback: rule
                .fallback_mode
                .clone()
                .unwrap_or_else(|| "heat".to_owned()),
            target,
            current,
            fahrenheit,
            humidity: humidity.filter(|(_, min, max)| min < max),
            current_humidity: points
                .first(role("current_humidity"), Point::is_integer)
                .map(|point| point.code.clone()),
            fan: points
                .first(role("fan"), |point| point.is_enum() && point.writable())
                .map(|point| (point.code.clone(), point.words()))
                .filter(|(_, words)| !words.is_empty()),
            swing: boolean("swing"),
            horizontal: boolean("swing_horizontal"),
            vertical: boolean("swing_vertical"),
            action: action.filter(|(_, meanings)| !meanings.is_empty()),
        })
    }

    /// Returns the data point that stands for the device: its switch, mode or target.
    pub(crate) fn main(&self) -> &str {
        let mode = self.mode.as_ref().map(|mode| mode.code.as_str());
        let target = self.target.as_ref().map(|target| target.code.as_str());
        self.switch
            .as_deref()
            .or(mode)
            .or(target)
            .unwrap_or_default()
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        [
            self.switch.as_deref(),
            self.mode.as_ref().map(|mode| mode.code.as_str()),
            self.target.as_ref().map(|target| target.code.as_str()),
            self.current.as_deref(),
            self.humidity.as_ref().map(|(code, ..)| code.as_str()),
            self.current_humidity.as_deref(),
            self.fan.as_ref().map(|(code, _)| code.as_str()),
            self.swing.as_deref(),
            self.horizontal.as_deref(),
            self.vertical.as_deref(),
            self.action.as_ref().map(|(code, _)| code.as_str()),
        ]
        .into_iter()
        .flatten()
        .filter(|code| *code != self.main())
        .collect()
    }

    pub(crate) fn modes(&self) -> Vec<String> {
        let mut modes: Vec<String> = Vec::new();
        if self.switch.is_some() {
            modes.push("off".to_owned());
        }
        let mut also = |mode: &str| {
            if !modes.iter().any(|known| known == mode) {
                modes.push(mode.to_owned());
            }
        };
        match &self.mode {
            Some(mode) => {
                for (_, meaning) in &mode.modes {
                    also(meaning);
                }
                if !mode.presets.is_empty() || mode.modes.is_empty() {
                    also(&self.fallback);
                }
            }
            None => also(&self.fallback),
        }
        modes
    }

    pub(crate) fn presets(&self) -> &[String] {
        self.mode.as_ref().map_or(&[], |mode| &mode.presets)
    }

    pub(crate) fn limits(&self) -> Option<(Decimal, Decimal, Decimal)> {
        self.target
            .as_ref()
            .map(|target| (target.min, target.max, target.step))
    }

    pub(crate) fn discover(&self, component: &mut Component<'_>) {
        let state = component.topics().state.clone();
        component.set("modes", self.modes());
        component.command("mode_command_topic", "mode");
        component.set("mode_state_topic", state.clone());
        component.derived("mode_state_template", "mode", "None");
        if self.switch.is_some() {
            component.command("power_command_topic", "power");
        }
        component.set("temperature_unit", if self.fahrenheit { "F" } else { "C" });
        if let Some(target) = &self.target {
            component.command("temperature_command_topic", "target");
            component.set("temperature_state_topic", state.clone());
            component.derived("temperature_state_template", "target", "None");
            component.set("min_temp", number::json(target.min));
            component.set("max_temp", number::json(target.max));
            component.set("temp_step", number::json(target.step));
        }
        if self.current.is_some() {
            component.set("current_temperature_topic", state.clone());
            component.derived("current_temperature_template", "current", "None");
        }
        let presets = self.presets();
        if !presets.is_empty() {
            component.set("preset_modes", presets.to_vec());
            component.command("preset_mode_command_topic", "preset");
            component.set("preset_mode_state_topic", state.clone());
            component.derived("preset_mode_value_template", "preset", "None");
        }
        if let Some((_, words)) = &self.fan {
            component.set("fan_modes", words.clone());
            component.command("fan_mode_command_topic", "fan");
            component.set("fan_mode_state_topic", state.clone());
            component.derived("fan_mode_state_template", "fan", "None");
        }
        let swings = self.swings();
        if swings.len() > 1 {
            component.set("swing_modes", swings);
            component.command("swing_mode_command_topic", "swing");
            component.set("swing_mode_state_topic", state.clone());
            component.derived("swing_mode_state_template", "swing", "None");
        }
        if let Some((_, min, max)) = &self.humidity {
            component.command("target_humidity_command_topic", "humidity");
            component.set("target_humidity_state_topic", state.clone());
            component.derived("target_humidity_state_template", "humidity", "None");
            component.set("min_humidity", *min);
            component.set("max_humidity", *max);
        }
        if self.current_humidity.is_some() {
            component.set("current_humidity_topic", state.clone());
            component.derived("current_humidity_template", "current_humidity", "None");
        }
        if self.action.is_some() {
            component.set("action_topic", state);
            component.derived("action_template", "action", "None");
        }
    }

    pub(crate) fn derived(&self, values: Values<'_>) -> Option<Json> {
        let mut state = State::default();
        let on = self
            .switch
            .as_deref()
            .map_or(Some(true), |code| values.on(code));
        let said = self.mode.as_ref().and_then(|mode| values.word(&mode.code));
        let meaning = self
            .mode
            .as_ref()
            .zip(said.as_ref())
            .and_then(|(mode, said)| {
                mode.modes
                    .iter()
                    .find(|(word, _)| word == said)
                    .map(|(_, meaning)| meaning.as_str())
            });
        let mode = match on {
            Some(false) => Some("off"),
            Some(true) => Some(meaning.unwrap_or(&self.fallback)),
            None => None,
        };
        state.put(
            "mode",
            mode.filter(|mode| self.modes().iter().any(|known| known == mode)),
        );
        state.put("preset", said.filter(|said| self.presets().contains(said)));
        let shown = |code: &str| Some(values.user(code)).filter(Json::is_number);
        state.put(
            "target",
            self.target.as_ref().and_then(|target| shown(&target.code)),
        );
        state.put("current", self.current.as_deref().and_then(shown));
        state.put(
            "humidity",
            self.humidity.as_ref().and_then(|(code, ..)| shown(code)),
        );
        state.put(
            "current_humidity",
            self.current_humidity.as_deref().and_then(shown),
        );
        if let Some((code, words)) = &self.fan {
            state.put("fan", values.word(code).filter(|word| words.contains(word)));
        }
        if self.swings().len() > 1 {
            let on = |code: &Option<String>| {
                code.as_deref()
                    .and_then(|code| values.on(code))
                    .unwrap_or(false)
            };
            let swing = match (on(&self.swing), on(&self.horizontal), on(&self.vertical)) {
                (true, ..) => "on",
                (_, true, true) => "both",
                (_, true, false) => "horizontal",
                (_, false, true) => "vertical",
                _ => "off",
            };
            state.put("swing", Some(swing));
        }
        if let Some((code, meanings)) = &self.action {
            let word = values.word(code);
            let action = meanings
                .iter()
                .find(|(known, _)| Some(known) == word.as_ref())
                .map(|(_, meaning)| meaning.clone());
            state.put(
                "action",
                if on == Some(false) {
                    Some("off".to_owned())
                } else {
                    action
                },
            );
        }
        state.done()
    }

    pub(crate) fn command(&self, aspect: &str, payload: &str, values: Values<'_>) -> Written {
        let number = |code: &str| -> Written {
            let point = values.points.get(code)?;
            Some(nearest(point, payload).map(|reading| vec![reading]))
        };
        match aspect {
            "mode" => self.set_mode(payload, values),
            "power" => {
                let on = crate::point::switched(&Json::from(payload))?;
                Some(Ok(vec![values.switch(self.switch.as_deref()?, on)]))
            }
            "target" => number(&self.target.as_ref()?.code),
            "humidity" => number(&self.humidity.as_ref()?.0),
            "preset" => {
                let mode = self.mode.as_ref()?;
                mode.presets
                    .iter()
                    .any(|preset| preset == payload)
                    .then(|| Ok(vec![word(&mode.code, payload)]))
            }
            "fan" => {
                let (code, words) = self.fan.as_ref()?;
                words
                    .iter()
                    .any(|word| word == payload)
                    .then(|| Ok(vec![word(code, payload)]))
            }
            "swing" => {
                if !self.swings().iter().any(|known| known == payload) {
                    return None;
                }
                let set = |code: &Option<String>, on: bool| {
                    code.as_deref().map(|code| values.switch(code, on))
                };
                let readings = [
                    set(&self.swing, payload == "on"),
                    set(
                        &self.horizontal,
                        payload == "horizontal" || payload == "both",
                    ),
                    set(&self.vertical, payload == "vertical" || payload == "both"),
                ];
                Some(Ok(readings.into_iter().flatten().collect()))
            }
            _ => None,
        }
    }

    fn set_mode(&self, payload: &str, values: Values<'_>) -> Written {
        if !self.modes().iter().any(|known| known == payload) {
            return None;
        }
        let mut readings = Vec::new();
        if let Some(switch) = &self.switch {
            readings.push(values.switch(switch, payload != "off"));
        }
        if let Some(mode) = self
            .mode
            .as_ref()
            .filter(|_| payload != "off" || self.switch.is_none())
        {
            // Several words can mean one mode; the one that is set already is left.
            let now = values.word(&mode.code);
            let meant = |(word, meaning): &&(String, String)| {
                meaning == payload && Some(word) == now.as_ref()
            };
            if !mode.modes.iter().any(|pair| meant(&pair)) {
                let name = mode.modes.iter().find(|(_, meaning)| meaning == payload);
                readings.extend(name.map(|(name, _)| word(&mode.code, name)));
            }
        }
        Some(Ok(readings))
    }

    fn swings(&self) -> Vec<String> {
        let mut swings = vec!["off"];
        swings.extend(self.swing.as_ref().map(|_| "on"));
        swings.extend(self.horizontal.as_ref().map(|_| "horizontal"));
        swings.extend(self.vertical.as_ref().map(|_| "vertical"));
        if self.horizontal.is_some() && self.vertical.is_some() {
            swings.push("both");
        }
        swings.into_iter().map(str::to_owned).collect()
    }
}

/// Finds target and current temperature. Where the device has both scales, the one that it is set to.
fn temperatures(
    catalog: &Catalog,
    rule: &Rule,
    points: &Points,
) -> (Option<Target>, Option<String>, bool) {
    let role = |role: &str| catalog.role(rule, role);
    let writable = |point: &Point| point.is_integer() && point.writable();
    let celsius = (
        points.first(role("target"), writable),
        points.first(role("current"), Point::is_integer),
    );
    let fahrenheit = (
        points.first(role("target_f"), writable),
        points.first(role("current_f"), Point::is_integer),
    );
    let asked = role("scale").iter().any(|code| {
        points
            .get(code)
            .and_then(|point| point.said.as_deref())
            .is_some_and(|word| word.to_ascii_lowercase().contains('f'))
    });
    let has = |pair: &(Option<&Point>, Option<&Point>)| pair.0.is_some() || pair.1.is_some();
    let both = has(&celsius) && has(&fahrenheit);
    let in_fahrenheit = has(&fahrenheit) && (!has(&celsius) || (both && asked));
    let (target, current) = if in_fahrenheit { fahrenheit } else { celsius };
    let target = target.map(|point| {
        let (min, max, step) = point.limits();
        let (usual_min, usual_max) = if in_fahrenheit { (45, 95) } else { (7, 35) };
        let min = min.unwrap_or(Decimal::from(usual_min));
        let max = max.unwrap_or(Decimal::from(usual_max));
        Target {
            code: point.code.clone(),
            min,
            max: if min < max { max } else { min + Decimal::ONE },
            step: step
                .filter(|step| *step > Decimal::ZERO)
                .unwrap_or(Decimal::ONE),
        }
    });
    // A device in °F may declare no other code for it.
    let unit_f = current
        .or(target.as_ref().and_then(|target| points.get(&target.code)))
        .is_some_and(|point| point.unit == "°F");
    (
        target,
        current.map(|point| point.code.clone()),
        in_fahrenheit || unit_f,
    )
}

/// Writes the number that the device can count and that is nearest: Home Assistant converts scales
/// and rounds in its own way.
fn nearest(point: &Point, payload: &str) -> Result<Reading, String> {
    let asked = number::parsed(payload).ok_or_else(|| format!("`{payload}` is no number"))?;
    let rounded = asked.round_dp(point.places());
    point
        .wire(&number::json(rounded))
        .map(|value| Reading::new(point.code.as_str(), value))
}
