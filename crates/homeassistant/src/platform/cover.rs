//! Covers: curtains, blinds, garage doors. Position 100 is open to Home Assistant; the vendor counts
//! the other way round.

use hearthgate_protocol::model::{Spec, Value};
use serde_json::Value as Json;

use super::{State, Written, integer, word};
use crate::catalog::{Catalog, Rule};
use crate::discovery::Component;
use crate::number::{float, parsed, remapped, whole};
use crate::point::{Point, Points, Values};

/// A cover's data points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cover {
    control: String,
    /// The words for open, close, stop, where the control is an Enum that has them; else a switch.
    words: Option<[Option<String>; 3]>,
    position: Option<Ranged>,
    set_position: Option<Ranged>,
    tilt: Option<Ranged>,
    /// What tells open from closed, and whether `true` means open.
    state: Vec<String>,
    state_inverted: bool,
    /// The user turned the direction.
    inverted: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Ranged {
    code: String,
    range: (i64, i64),
}

impl Cover {
    pub(crate) fn plan(
        catalog: &Catalog,
        rule: &Rule,
        code: &str,
        points: &Points,
    ) -> Option<Self> {
        let control = points.get(code).filter(|point| point.writable())?;
        let words = match control.write {
            Some(Spec::Boolean) => None,
            Some(Spec::Enum { .. }) => {
                let known = control.words();
                let has = |role: &str| {
                    let named = rule.words.get(role).map_or(role, String::as_str);
                    let mut candidates = [named, role].into_iter();
                    candidates
                        .find(|word| known.iter().any(|known| known == word))
                        .map(str::to_owned)
                };
                let words = [has("open"), has("close"), has("stop")];
                Some(words)
                    .filter(|words| words.iter().any(Option::is_some))?
                    .into()
            }
            _ => return None,
        };
        let ranged = |role: &str, writable: bool| {
            let fits = |point: &Point| point.range().is_some() && (!writable || point.writable());
            let point = points.first(catalog.role(rule, role), fits)?;
            Some(Ranged {
                code: point.code.clone(),
                range: point.range()?,
            })
        };
        let set_position = ranged("set_position", true);
        let inverted = [
            Some(control.code.as_str()),
            set_position.as_ref().map(|found| found.code.as_str()),
        ]
        .into_iter()
        .flatten()
        .any(|code| points.get(code).is_some_and(Point::inverted));
        Some(Self {
            control: control.code.clone(),
            words,
            position: ranged("position", false).or_else(|| set_position.clone()),
            set_position,
            tilt: ranged("tilt", true),
            state: catalog
                .role(rule, "state")
                .iter()
                .filter(|code| points.get(code).is_some())
                .cloned()
                .collect(),
            state_inverted: rule.state_inverted,
            inverted,
        })
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        let ranged = [&self.set_position, &self.position, &self.tilt];
        let mut codes: Vec<&str> = ranged
            .into_iter()
            .flatten()
            .map(|found| found.code.as_str())
            .collect();
        codes.extend(self.state.iter().map(String::as_str));
        codes.sort_unstable();
        codes.dedup();
        codes.retain(|code| *code != self.control);
        codes
    }

    pub(crate) fn discover(&self, component: &mut Component<'_>) {
        component.command("command_topic", "cover");
        let has = |at: usize| match &self.words {
            Some(words) => words.get(at).is_some_and(Option::is_some),
            None => at < 2,
        };
        for (at, key, payload) in [
            (0, "payload_open", "OPEN"),
            (1, "payload_close", "CLOSE"),
            (2, "payload_stop", "STOP"),
        ] {
            let moves = at < 2 && self.set_position.is_some();
            component.set(
                key,
                if has(at) || moves {
                    Json::from(payload)
                } else {
                    Json::Null
                },
            );
        }
        component.set("state_topic", component.topics().state.clone());
        component.derived("value_template", "state", "None");
        if self.position.is_some() {
            component.set("position_topic", component.topics().state.clone());
            component.derived("position_template", "position", "");
        }
        if self.set_position.is_some() {
            component.command("set_position_topic", "position");
        }
        if self.tilt.is_some() {
            component.command("tilt_command_topic", "tilt");
            component.set("tilt_status_topic", component.topics().state.clone());
            component.derived("tilt_status_template", "tilt", "");
        }
    }

    pub(crate) fn derived(&self, values: Values<'_>) -> Option<Json> {
        let mut state = State::default();
        let position = self
            .position
            .as_ref()
            .and_then(|found| self.open_percent(found, values));
        let told = self
            .state
            .iter()
            .find_map(|code| self.is_closed(code, values));
        let switched = || match self.words {
            None => values.on(&self.control).map(|open| !open),
            Some(_) => None,
        };
        let closed = match (told, position) {
            (Some(closed), _) => Some(closed),
            (None, Some(position)) => Some(position == 0),
            (None, None) => switched(),
        };
        state.put(
            "state",
            closed.map(|closed| if closed { "closed" } else { "open" }),
        );
        state.put("position", position);
        let tilt = self.tilt.as_ref().and_then(|found| {
            let raw = float(values.integer(&found.code)?);
            Some(whole(remapped(raw, floats(found.range), (0.0, 100.0))).clamp(0, 100))
        });
        state.put("tilt", tilt);
        state.done()
    }

    pub(crate) fn command(&self, aspect: &str, payload: &str, values: Values<'_>) -> Written {
        match aspect {
            "cover" => self.moved(payload, values),
            "position" => {
                let found = self.set_position.as_ref()?;
                let percent = percent(payload)?;
                Some(Ok(vec![integer(
                    &found.code,
                    self.raw_position(found, percent),
                )]))
            }
            "tilt" => {
                let found = self.tilt.as_ref()?;
                let raw = remapped(percent(payload)?, (0.0, 100.0), floats(found.range));
                Some(Ok(vec![integer(&found.code, whole(raw))]))
            }
            _ => None,
        }
    }

    fn moved(&self, payload: &str, values: Values<'_>) -> Written {
        let at = match payload.to_ascii_lowercase().as_str() {
            "open" => 0,
            "close" => 1,
            "stop" => 2,
            _ => return None,
        };
        let spoken = match &self.words {
            Some(words) => {
                // Turned round, open closes.
                let at = if self.inverted && at < 2 { 1 - at } else { at };
                words
                    .get(at)?
                    .as_ref()
                    .map(|name| word(&self.control, name))
            }
            None if at < 2 => Some(values.switch(&self.control, at == 0)),
            None => None,
        };
        match (spoken, &self.set_position) {
            (Some(reading), _) => Some(Ok(vec![reading])),
            (None, Some(found)) if at < 2 => {
                let percent = if at == 0 { 100.0 } else { 0.0 };
                Some(Ok(vec![integer(
                    &found.code,
                    self.raw_position(found, percent),
                )]))
            }
            _ => Some(Err("this cover cannot do that".to_owned())),
        }
    }

    fn open_percent(&self, found: &Ranged, values: Values<'_>) -> Option<i64> {
        let raw = float(values.integer(&found.code)?);
        let percent = whole(remapped(raw, floats(found.range), (0.0, 100.0))).clamp(0, 100);
        Some(if self.inverted {
            percent
        } else {
            100 - percent
        })
    }

    fn raw_position(&self, found: &Ranged, open: f64) -> i64 {
        let percent = if self.inverted { open } else { 100.0 - open };
        whole(remapped(percent, (0.0, 100.0), floats(found.range)))
    }

    fn is_closed(&self, code: &str, values: Values<'_>) -> Option<bool> {
        let value: &Value = values.raw(code)?;
        if let Some(on) = value.as_bool() {
            return Some(on != self.state_inverted);
        }
        let said = value.as_string()?;
        let spoken = |at: usize| {
            self.words
                .as_ref()
                .and_then(|words| words.get(at)?.clone())
                .is_some_and(|word| *word == *said)
        };
        if code == self.control {
            // What it was told last; it may have been stopped on the way, which a position knows.
            return match (&self.position, spoken(0), spoken(1)) {
                (None, true, _) => Some(self.inverted),
                (None, _, true) => Some(!self.inverted),
                _ => None,
            };
        }
        match &*said {
            "fully_close" | "fully_closed" | "close" | "closed" => Some(!self.state_inverted),
            "fully_open" | "fully_opened" | "open" | "opened" => Some(self.state_inverted),
            _ => None,
        }
    }
}

fn percent(payload: &str) -> Option<f64> {
    let number = parsed(payload)?;
    let percent = f64::try_from(number).ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

fn floats(range: (i64, i64)) -> (f64, f64) {
    (float(range.0), float(range.1))
}
