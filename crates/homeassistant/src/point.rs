//! One data point: what it declares, what the user says of it, and its values between the wire and
//! the user's units. Made of a schema and of values; used by everything else here.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hearthgate_protocol::model::{DataPoint, Device, IntegerSpec, Reading, Schema, Spec, Value};
use indexmap::IndexMap;
use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::number;
use crate::overrides::Settings;
use crate::units;

/// How many characters a state of Home Assistant can have.
pub(crate) const STATE_MAX: usize = 255;

/// How many words an Enum may gain while it runs; a device that reports ever new ones is not
/// allowed to make the discovery message grow without end.
const FURTHER_WORDS_MAX: usize = 64;

/// How many data points a device may report that it never declared, for the same reason.
const UNDECLARED_MAX: usize = 256;

/// One data point.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) code: String,
    /// By what its values are read.
    pub(crate) read: Option<Spec>,
    /// By what it takes writes.
    pub(crate) write: Option<Spec>,
    /// The fields of a Json's declaration, where it has any.
    pub(crate) fields: Option<Json>,
    /// What the user says.
    pub(crate) settings: Settings,
    /// The unit, as Home Assistant spells it; empty where there is none.
    pub(crate) unit: String,
    /// The power of ten from the declared unit to `unit`.
    power: i32,
    /// Words that were reported and not declared.
    further: Vec<String>,
    /// The least and greatest unscaled number that was reported.
    seen: Option<(Decimal, Decimal)>,
    /// A text was reported that no state can hold.
    pub(crate) long: bool,
    /// The last word of an Enum: a thermostat's scale decides by which codes it is read.
    pub(crate) said: Option<String>,
}

impl Point {
    fn new(
        code: &str,
        read: Option<&DataPoint>,
        write: Option<&DataPoint>,
        settings: Settings,
    ) -> Self {
        let declared = read.or(write);
        let unit = match &settings.unit {
            Some(unit) => unit.clone(),
            None => declared
                .map_or("", |point| units::normalised(point.spec().unit()))
                .to_owned(),
        };
        Self {
            code: code.to_owned(),
            read: read.map(|point| point.spec().clone()),
            write: write.map(|point| point.spec().clone()),
            fields: write.or(read).and_then(fields),
            settings,
            unit,
            power: 0,
            further: Vec::new(),
            seen: None,
            long: false,
            said: None,
        }
    }

    /// Makes a point of a value that no schema declares.
    fn undeclared(code: &str, value: &Value, settings: Settings) -> Self {
        let spec = if value.as_bool().is_some() {
            Spec::Boolean
        } else if value.as_i64().is_some() || value.is_other_number() {
            Spec::Integer(IntegerSpec::default())
        } else if value.as_string().is_some() {
            Spec::String { maxlen: None }
        } else {
            Spec::Json
        };
        let mut point = Self::new(code, None, None, settings);
        point.read = Some(spec);
        point
    }

    /// Returns the declaration that describes it best.
    pub(crate) fn spec(&self) -> &Spec {
        self.read
            .as_ref()
            .or(self.write.as_ref())
            .unwrap_or(&Spec::Unknown)
    }

    pub(crate) fn is_boolean(&self) -> bool {
        matches!(self.spec(), Spec::Boolean)
    }

    pub(crate) fn is_enum(&self) -> bool {
        matches!(self.spec(), Spec::Enum { .. })
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self.spec(), Spec::Integer(_))
    }

    /// Returns the declaration of an Integer; that of writes where it takes them.
    pub(crate) fn integer(&self) -> Option<&IntegerSpec> {
        match self.write.as_ref().or(self.read.as_ref()) {
            Some(Spec::Integer(spec)) => Some(spec),
            _ => None,
        }
    }

    /// Returns the unscaled limits of an Integer, where it declares sensible ones.
    pub(crate) fn range(&self) -> Option<(i64, i64)> {
        let spec = self.integer()?;
        let (min, max) = (
            i64::try_from(spec.min?).ok()?,
            i64::try_from(spec.max?).ok()?,
        );
        (min < max).then_some((min, max))
    }

    pub(crate) fn writable(&self) -> bool {
        self.write.is_some()
    }

    pub(crate) fn readable(&self) -> bool {
        self.read.is_some()
    }

    /// Takes over the unit in which users see it; `power` comes from the declared one.
    pub(crate) fn convert(&mut self, unit: &str, power: i32) {
        unit.clone_into(&mut self.unit);
        self.power = power;
    }

    /// Returns the power of ten from an unscaled number to the user's.
    fn exponent(&self, spec: Option<&Spec>) -> i32 {
        let declared = match spec {
            Some(Spec::Integer(spec)) => spec.scale,
            _ => 0,
        };
        let scale = self.settings.scale.unwrap_or(declared);
        self.power - i32::try_from(scale).unwrap_or(0)
    }

    /// Returns an unscaled number in the user's unit.
    pub(crate) fn scaled(&self, number: Decimal) -> Option<Decimal> {
        number::shifted(
            number,
            self.exponent(self.read.as_ref().or(self.write.as_ref())),
        )
    }

    /// Returns least, greatest and step of what can be written, in the user's unit; what was reported
    /// beyond them widens them.
    pub(crate) fn limits(&self) -> (Option<Decimal>, Option<Decimal>, Option<Decimal>) {
        let Some(spec) = self.integer() else {
            return (None, None, None);
        };
        let exponent = self.exponent(self.write.as_ref().or(self.read.as_ref()));
        let user = |number: Option<Decimal>| number::shifted(number?, exponent);
        let (mut min, mut max) = (user(spec.min), user(spec.max));
        if let Some((low, high)) = self.seen {
            let (low, high) = (self.scaled(low), self.scaled(high));
            min = min.map(|min| low.map_or(min, |low| low.min(min)));
            max = max.map(|max| high.map_or(max, |high| high.max(max)));
        }
        (min, max, user(spec.step.or(Some(Decimal::ONE))))
    }

    /// Returns how many decimal places the user's numbers have.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(-self.exponent(self.read.as_ref().or(self.write.as_ref()))).unwrap_or(0)
    }

    /// Returns the words of an Enum as they are on the wire, those that were only reported last.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for spec in [&self.write, &self.read].into_iter().flatten() {
            if let Spec::Enum { range } = spec {
                for word in range {
                    if !words.iter().any(|known| known.as_str() == &**word) {
                        words.push(word.to_string());
                    }
                }
            }
        }
        for word in &self.further {
            if !words.contains(word) {
                words.push(word.clone());
            }
        }
        words
    }

    /// Returns the words of an Enum as the user has them.
    pub(crate) fn options(&self) -> Vec<String> {
        self.words()
            .iter()
            .map(|word| self.label(word).to_owned())
            .collect()
    }

    /// Returns the user's label of a word.
    pub(crate) fn label<'a>(&'a self, word: &'a str) -> &'a str {
        self.labels()
            .and_then(|labels| labels.get(word))
            .map_or(word, String::as_str)
    }

    /// Returns the word that a label stands for.
    pub(crate) fn unlabelled<'a>(&'a self, label: &'a str) -> &'a str {
        self.labels()
            .and_then(|labels| labels.iter().find(|(_, known)| *known == label))
            .map_or(label, |(word, _)| word.as_str())
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.settings.labels.as_ref()
    }

    pub(crate) fn inverted(&self) -> bool {
        self.settings.invert == Some(true)
    }

    /// Returns a value in the user's units; what does not fit the declaration is shown as it is.
    pub(crate) fn user(&self, value: &Value) -> Json {
        let fitting = match self.spec() {
            Spec::Boolean => value.as_bool().map(|on| Json::Bool(on != self.inverted())),
            Spec::Integer(_) => raw_number(value)
                .and_then(|number| self.scaled(number))
                .map(number::json),
            Spec::Enum { .. } => value.as_string().map(|word| Json::from(self.label(&word))),
            _ => None,
        };
        fitting.unwrap_or_else(|| serde_json::from_str(&value.json()).unwrap_or(Json::Null))
    }

    /// Returns the wire's value for one in the user's units.
    ///
    /// # Errors
    /// What would have had a meaning.
    pub(crate) fn wire(&self, user: &Json) -> Result<Value, String> {
        let spec = self
            .write
            .as_ref()
            .or(self.read.as_ref())
            .unwrap_or(&Spec::Unknown);
        match spec {
            Spec::Boolean => switched(user)
                .map(|on| Value::from(on != self.inverted()))
                .ok_or_else(|| format!("{user} is neither on nor off")),
            Spec::Integer(_) => self.wire_number(user),
            Spec::Enum { .. } => match user {
                Json::String(label) => Ok(Value::from(self.unlabelled(label))),
                Json::Bool(_) | Json::Number(_) => Ok(Value::from(user.to_string().as_str())),
                _ => Err(format!(
                    "{user} is no word, one of {}",
                    self.options().join(", ")
                )),
            },
            Spec::String { .. } => match user {
                Json::String(text) => Ok(Value::from(text.as_str())),
                _ => Ok(Value::from(user.to_string().as_str())),
            },
            Spec::Raw { .. } => match user {
                Json::String(text) if STANDARD.decode(text).is_ok() => {
                    Ok(Value::from(text.as_str()))
                }
                _ => Err("it takes bytes as standard base64 with padding".to_owned()),
            },
            Spec::Bitmap { labels, .. } => match user {
                Json::Number(_) => {
                    Value::parse(&user.to_string()).map_err(|error| error.to_string())
                }
                Json::String(names) => Spec::Bitmap {
                    labels: labels.clone(),
                    bits: None,
                }
                .parse_input(names),
                _ => Err(format!("{user} is no set of flags")),
            },
            Spec::Json | Spec::Unknown => {
                Value::parse(&user.to_string()).map_err(|error| error.to_string())
            }
        }
    }

    fn wire_number(&self, user: &Json) -> Result<Value, String> {
        let text = match user {
            Json::String(text) => text.clone(),
            Json::Number(number) => number.to_string(),
            _ => return Err(format!("{user} is no number")),
        };
        let quantity = number::parsed(&text).ok_or_else(|| format!("`{text}` is no number"))?;
        let exponent = self.exponent(self.write.as_ref().or(self.read.as_ref()));
        let raw =
            number::shifted(quantity, -exponent).ok_or_else(|| format!("`{text}` is too large"))?;
        if raw.scale() > 0 {
            let finest = number::shifted(Decimal::ONE, exponent).unwrap_or_default();
            return Err(format!(
                "`{text}` is finer than this data point, which counts in {finest}"
            ));
        }
        i64::try_from(raw)
            .map(Value::from)
            .map_err(|_| format!("`{text}` is too large"))
    }

    /// Reads what came as a text on a topic.
    ///
    /// # Errors
    /// What would have had a meaning.
    pub(crate) fn wire_text(&self, text: &str) -> Result<Value, String> {
        let spec = self
            .write
            .as_ref()
            .or(self.read.as_ref())
            .unwrap_or(&Spec::Unknown);
        match spec {
            Spec::Json | Spec::Unknown | Spec::Bitmap { .. } => {
                match serde_json::from_str::<Json>(text) {
                    Ok(json) => self.wire(&json),
                    Err(_) if matches!(spec, Spec::Json) => Err("it takes JSON".to_owned()),
                    Err(_) => self.wire(&Json::from(text)),
                }
            }
            Spec::Boolean => match serde_json::from_str::<Json>(text) {
                // A siren's command is `{"state":"ON"}`.
                Ok(Json::Object(fields)) => self.wire(fields.get("state").unwrap_or(&Json::Null)),
                _ => self.wire(&Json::from(text.trim())),
            },
            Spec::Enum { .. } if !self.options().iter().any(|option| option == text) => {
                match serde_json::from_str::<String>(text) {
                    Ok(word) => self.wire(&Json::from(word)),
                    Err(_) => self.wire(&Json::from(text)),
                }
            }
            _ => self.wire(&Json::from(text)),
        }
    }

    /// Learns from a value; tells whether the declaration reads differently now.
    fn observe(&mut self, value: &Value) -> bool {
        match self.spec() {
            Spec::Enum { .. } => {
                let Some(word) = value.as_string() else {
                    return false;
                };
                let endless = word.chars().count() > STATE_MAX;
                if endless || self.said.as_deref() == Some(&*word) {
                    return false;
                }
                let known = word.is_empty()
                    || self.further.len() >= FURTHER_WORDS_MAX
                    || self.words().iter().any(|known| **known == *word);
                if !known {
                    self.further.push(word.clone().into_owned());
                }
                self.said = Some(word.into_owned());
                !known
            }
            Spec::Integer(_) => {
                let Some(number) = raw_number(value) else {
                    return false;
                };
                if matches!(self.seen, Some((low, high)) if (low..=high).contains(&number)) {
                    return false;
                }
                let before = self.limits();
                self.seen = Some(match self.seen {
                    None => (number, number),
                    Some((low, high)) => (low.min(number), high.max(number)),
                });
                self.writable() && before != self.limits()
            }
            Spec::String { .. } => {
                let long = value
                    .as_string()
                    .is_some_and(|text| text.chars().count() > STATE_MAX);
                let news = long && !self.long;
                self.long |= long;
                news
            }
            _ => false,
        }
    }
}

/// The data points of a device, in the order of `status`, then `function`, then as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Points {
    all: IndexMap<String, Point>,
    undeclared: usize,
}

impl Points {
    pub(crate) fn new(device: &Device, settings: impl Fn(&str) -> Settings) -> Self {
        let schema: &Schema = device.schema();
        let mut points = IndexMap::new();
        for declared in schema.statuses().iter().chain(schema.functions()) {
            let code = declared.code().as_str();
            points.entry(code.to_owned()).or_insert_with(|| {
                // A value of a code that only takes writes is a report all the same.
                let read = schema
                    .status(code)
                    .or_else(|| device.point(code).and_then(|_| schema.function(code)));
                Point::new(code, read, schema.function(code), settings(code))
            });
        }
        let mut points = Self {
            all: points,
            undeclared: 0,
        };
        for point in device.points() {
            points.take(point.code.as_str(), &point.value, &settings);
        }
        points
    }

    /// Learns from a reading; tells whether a declaration reads differently now.
    pub(crate) fn take(
        &mut self,
        code: &str,
        value: &Value,
        settings: impl Fn(&str) -> Settings,
    ) -> bool {
        match self.all.get_mut(code) {
            Some(point) => {
                let appeared = point.read.is_none() && point.write.is_some();
                if appeared {
                    point.read.clone_from(&point.write);
                }
                point.observe(value) | appeared
            }
            None if self.undeclared >= UNDECLARED_MAX => false,
            None => {
                self.undeclared += 1;
                let mut point = Point::undeclared(code, value, settings(code));
                point.observe(value);
                self.all.insert(code.to_owned(), point);
                true
            }
        }
    }

    pub(crate) fn get(&self, code: &str) -> Option<&Point> {
        self.all.get(code)
    }

    pub(crate) fn get_mut(&mut self, code: &str) -> Option<&mut Point> {
        self.all.get_mut(code)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Point> {
        self.all.values()
    }

    /// Returns the first of some codes that is there and fits.
    pub(crate) fn first(&self, codes: &[String], fits: impl Fn(&Point) -> bool) -> Option<&Point> {
        codes
            .iter()
            .filter_map(|code| self.get(code))
            .find(|point| fits(point))
    }
}

/// The points of a device together with its values of now.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) points: &'a Points,
    pub(crate) device: &'a Device,
}

impl Values<'_> {
    pub(crate) fn raw(&self, code: &str) -> Option<&Value> {
        self.device.point(code).map(|point| &point.value)
    }

    /// Returns a switch's state as the user has it.
    pub(crate) fn on(&self, code: &str) -> Option<bool> {
        let inverted = self.points.get(code)?.inverted();
        self.raw(code)?.as_bool().map(|on| on != inverted)
    }

    /// Returns an unscaled whole number.
    pub(crate) fn integer(&self, code: &str) -> Option<i64> {
        self.raw(code)?.as_i64()
    }

    /// Returns a word as it is on the wire.
    pub(crate) fn word(&self, code: &str) -> Option<String> {
        self.raw(code)?.as_string().map(|word| word.into_owned())
    }

    /// Returns a value in the user's units, `null` while it is unknown.
    pub(crate) fn user(&self, code: &str) -> Json {
        match (self.points.get(code), self.raw(code)) {
            (Some(point), Some(value)) => point.user(value),
            _ => Json::Null,
        }
    }

    /// Makes the reading that turns a switch on or off.
    pub(crate) fn switch(&self, code: &str, on: bool) -> Reading {
        let inverted = self.points.get(code).is_some_and(Point::inverted);
        Reading::new(code, Value::from(on != inverted))
    }
}

/// Returns a number as it is on the wire.
pub(crate) fn raw_number(value: &Value) -> Option<Decimal> {
    match value.as_i64() {
        Some(number) => Some(Decimal::from(number)),
        None if value.is_other_number() => number::parsed(&value.json()),
        None => None,
    }
}

/// Reads what a person or Home Assistant means by on and off.
pub(crate) fn switched(user: &Json) -> Option<bool> {
    match user {
        Json::Bool(on) => Some(*on),
        Json::String(text) => match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" | "press" | "open" | "unlock" => Some(true),
            "off" | "false" | "no" | "0" | "close" | "lock" => Some(false),
            _ => None,
        },
        Json::Number(number) => match number.as_i64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn fields(point: &DataPoint) -> Option<Json> {
    if !matches!(point.spec(), Spec::Json) {
        return None;
    }
    let text = point
        .values()
        .as_string()
        .unwrap_or_else(|| point.values().json());
    serde_json::from_str(&text).ok()
}
