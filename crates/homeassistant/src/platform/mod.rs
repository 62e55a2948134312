//! What each platform makes of data points: which it needs, what it says in the discovery message,
//! what of its state templates could not derive, and what its commands write.
//!
//! Made by `mapping`; asked by `discovery`, `state` and `command`.

mod climate;
mod cover;
mod electric;
mod fan;
mod humidifier;
mod light;
mod panel;
mod simple;
mod vacuum;

use hearthgate_protocol::model::{Reading, Value};
use serde_json::{Map, Value as Json};

use crate::command::CommandError;
use crate::discovery::Component;
use crate::entity::Entity;
use crate::point::Values;

pub(crate) use climate::Climate;
pub(crate) use cover::Cover;
pub(crate) use electric::{Electric, PARTS as ELECTRIC_PARTS};
pub(crate) use fan::Fan;
pub(crate) use humidifier::Humidifier;
pub(crate) use light::Light;
pub(crate) use panel::{Alarm, Lock};
pub(crate) use vacuum::Vacuum;

/// How an entity works.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// The value of its data point.
    Plain,
    /// On by some values.
    OnWords(Vec<String>),
    /// A flag of a Bitmap.
    Bit(u32),
    /// Voltage, current or power out of one Raw or Json.
    Electric(Electric),
    /// A value too long for a state: its length, and the value as an attribute.
    Length,
    /// Writes `true`.
    Press,
    /// Something that happened.
    Event,
    /// When the device last reported.
    LastSeen,
    Light(Light),
    Cover(Cover),
    Climate(Box<Climate>),
    Fan(Fan),
    Humidifier(Humidifier),
    Vacuum(Vacuum),
    Alarm(Alarm),
    Lock(Lock),
}

impl Kind {
    /// Returns every data point that the entity stands for beside its main one.
    pub(crate) fn codes(&self) -> Vec<&str> {
        match self {
            Self::Light(light) => light.codes(),
            Self::Cover(cover) => cover.codes(),
            Self::Climate(climate) => climate.codes(),
            Self::Fan(fan) => fan.codes(),
            Self::Humidifier(humidifier) => humidifier.codes(),
            Self::Vacuum(vacuum) => vacuum.codes(),
            Self::Lock(lock) => lock.codes(),
            _ => Vec::new(),
        }
    }

    /// Returns what of the entity's state templates cannot derive.
    pub(crate) fn derived(&self, code: &str, values: Values<'_>) -> Option<Json> {
        match self {
            Self::Electric(electric) => electric.derived(code, values),
            Self::Light(light) => light.derived(values),
            Self::Cover(cover) => cover.derived(values),
            Self::Climate(climate) => climate.derived(values),
            Self::Fan(fan) => fan.derived(values),
            Self::Humidifier(humidifier) => humidifier.derived(values),
            Self::Vacuum(vacuum) => vacuum.derived(values),
            Self::Alarm(alarm) => alarm.derived(values),
            _ => None,
        }
    }

    /// Writes what the platform says beside what all entities say.
    pub(crate) fn discover(&self, entity: &Entity, component: &mut Component<'_>) {
        match self {
            Self::Light(light) => light.discover(component),
            Self::Cover(cover) => cover.discover(component),
            Self::Climate(climate) => climate.discover(component),
            Self::Fan(fan) => fan.discover(component),
            Self::Humidifier(humidifier) => humidifier.discover(component),
            Self::Vacuum(vacuum) => vacuum.discover(component),
            Self::Alarm(alarm) => alarm.discover(component),
            Self::Lock(lock) => lock.discover(entity, component),
            _ => simple::discover(self, entity, component),
        }
    }

    /// Returns what one of the entity's own commands writes.
    pub(crate) fn command(
        &self,
        entity: &Entity,
        aspect: &str,
        payload: &str,
        values: Values<'_>,
    ) -> Result<Vec<Reading>, CommandError> {
        let readings = match self {
            Self::Light(light) => light.command(aspect, payload, values),
            Self::Cover(cover) => cover.command(aspect, payload, values),
            Self::Climate(climate) => climate.command(aspect, payload, values),
            Self::Fan(fan) => fan.command(aspect, payload, values),
            Self::Humidifier(humidifier) => humidifier.command(aspect, payload, values),
            Self::Vacuum(vacuum) => vacuum.command(aspect, payload, values),
            Self::Alarm(alarm) => alarm.command(aspect, payload, values),
            Self::Lock(lock) => lock.command(&entity.code, aspect, payload, values),
            _ => None,
        };
        readings
            .unwrap_or_else(|| Err(format!("`{payload}` means nothing to {aspect}")))
            .map_err(|problem| CommandError::payload(&format!("{}@{aspect}", entity.key), &problem))
    }
}

/// What a command of a platform gives: `None` where there is no such command or its payload has no
/// meaning.
pub(crate) type Written = Option<Result<Vec<Reading>, String>>;

/// Collects what is known of a derived state; what is unknown is left out.
#[derive(Default)]
pub(crate) struct State(Map<String, Json>);

impl State {
    pub(crate) fn put(&mut self, key: &str, value: Option<impl Into<Json>>) {
        if let Some(value) = value {
            self.0.insert(key.to_owned(), value.into());
        }
    }

    pub(crate) fn done(self) -> Option<Json> {
        (!self.0.is_empty()).then_some(Json::Object(self.0))
    }
}

/// Makes the one reading of a word.
pub(crate) fn word(code: &str, word: &str) -> Reading {
    Reading::new(code, Value::from(word))
}

/// Makes the one reading of an unscaled number.
pub(crate) fn integer(code: &str, number: i64) -> Reading {
    Reading::new(code, Value::from(number))
}
