//! Alarm panels and locks.

use serde_json::Value as Json;

use super::{State, Written, word};
use crate::catalog::{Catalog, Rule};
use crate::discovery::Component;
use crate::entity::Entity;
use crate::point::{Points, Values};

/// An alarm panel: one Enum whose words are states and commands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alarm {
    code: String,
    /// The vendor's word and Home Assistant's state.
    words: Vec<(String, String)>,
}

impl Alarm {
    pub(crate) fn plan(catalog: &Catalog, code: &str, points: &Points) -> Option<Self> {
        let point = points
            .get(code)
            .filter(|point| point.is_enum() && point.writable())?;
        let words: Vec<(String, String)> = point
            .words()
            .into_iter()
            .filter_map(|word| {
                let state = catalog.word("alarm", &word)?.to_owned();
                Some((word, state))
            })
            .collect();
        (!words.is_empty()).then(|| Self {
            code: code.to_owned(),
            words,
        })
    }

    pub(crate) fn discover(&self, component: &mut Component<'_>) {
        component.set("state_topic", component.topics().state.clone());
        component.derived("value_template", "state", "None");
        component.command("command_topic", "alarm");
        for key in [
            "code_arm_required",
            "code_disarm_required",
            "code_trigger_required",
        ] {
            component.set(key, false);
        }
        let has = |state: &str| self.words.iter().any(|(_, known)| known == state);
        let features: Vec<&str> = [
            ("armed_home", "arm_home"),
            ("armed_away", "arm_away"),
            ("triggered", "trigger"),
        ]
        .into_iter()
        .filter_map(|(state, feature)| has(state).then_some(feature))
        .collect();
        component.set("supported_features", features);
    }

    pub(crate) fn derived(&self, values: Values<'_>) -> Option<Json> {
        let mut state = State::default();
        let said = values.word(&self.code);
        let meaning = self
            .words
            .iter()
            .find(|(word, _)| Some(word) == said.as_ref())
            .map(|(_, state)| state.clone());
        state.put("state", meaning);
        state.done()
    }

    pub(crate) fn command(&self, aspect: &str, payload: &str, _values: Values<'_>) -> Written {
        let state = match (aspect, payload) {
            ("alarm", "DISARM") => "disarmed",
            ("alarm", "ARM_HOME") => "armed_home",
            ("alarm", "ARM_AWAY") => "armed_away",
            ("alarm", "TRIGGER") => "triggered",
            _ => return None,
        };
        let (name, _) = self.words.iter().find(|(_, known)| known == state)?;
        Some(Ok(vec![word(&self.code, name)]))
    }
}

/// A lock: a Boolean that is `true` while it is open, and a Boolean that locks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lock {
    /// What is written, where it is another data point than what is read; `true` locks.
    control: Option<String>,
}

impl Lock {
    pub(crate) fn plan(
        catalog: &Catalog,
        rule: &Rule,
        code: &str,
        points: &Points,
    ) -> Option<Self> {
        let state = points.get(code).filter(|point| point.is_boolean())?;
        let control = points.first(catalog.role(rule, "control"), |point| {
            point.is_boolean() && point.writable()
        });
        if control.is_none() && !state.writable() {
            return None;
        }
        Some(Self {
            control: control
                .map(|point| point.code.clone())
                .filter(|control| control != code),
        })
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        self.control.iter().map(String::as_str).collect()
    }

    #[expect(clippy::unused_self, reason = "as its siblings")]
    pub(crate) fn discover(&self, entity: &Entity, component: &mut Component<'_>) {
        component.set("state_topic", component.topics().state.clone());
        component.value(
            "value_template",
            &entity.code,
            "None if v is none else 'UNLOCKED' if v else 'LOCKED'",
        );
        component.command("command_topic", "lock");
    }

    pub(crate) fn command(
        &self,
        code: &str,
        aspect: &str,
        payload: &str,
        values: Values<'_>,
    ) -> Written {
        let lock = match (aspect, payload) {
            ("lock", "LOCK") => true,
            ("lock", "UNLOCK") => false,
            _ => return None,
        };
        let reading = match &self.control {
            Some(control) => values.switch(control, lock),
            None => values.switch(code, !lock),
        };
        Some(Ok(vec![reading]))
    }
}
