//! Entities of data points that no rule claims: by type, filed away, and off until somebody wants them.

use std::collections::BTreeSet;

use hearthgate_protocol::model::Spec;
use rust_decimal::Decimal;

use super::names::human;
use super::quantity::{self, Known};
use crate::entity::{Category, Entity, Platform};
use crate::platform::Kind;
use crate::point::{Point, STATE_MAX};
use crate::units;

/// The least step that Home Assistant takes.
const STEP_MIN: (i64, u32) = (1, 3);

/// How many flags a Bitmap without names may have to get an entity each.
const FLAGS_MAX: u32 = 32;

/// The one kind of event of a data point that has no words for them.
pub(crate) const TRIGGERED: &str = "triggered";

/// Makes the entities of a data point; `has` are the parts that it has already.
pub(super) fn entities(point: &mut Point, has: &BTreeSet<String>) -> Vec<Entity> {
    let flags = match point.spec() {
        Spec::Bitmap { labels, bits } if point.readable() => flags(point, labels, *bits),
        _ => None,
    };
    if let Some(flags) = flags.filter(|_| point.settings.platform.is_none()) {
        return flags
            .into_iter()
            .filter(|flag| flag.part.as_ref().is_none_or(|part| !has.contains(part)))
            .collect();
    }
    if !has.is_empty() {
        return Vec::new();
    }
    let (platform, kind) = shape(point);
    let mut entity = Entity::new(platform, &point.code, kind);
    let settings = point.settings.clone();
    let asked = settings.platform.is_some();
    entity.name = Some(settings.name.clone().unwrap_or_else(|| human(&point.code)));
    entity.icon.clone_from(&settings.icon);
    // What the user asked for by name is wanted.
    entity.enabled = settings.enabled.unwrap_or(asked);
    entity.category = settings.category.or(match (asked, platform.only_reads()) {
        (true, _) => None,
        (false, true) => Some(Category::Diagnostic),
        (false, false) => Some(Category::Config),
    });
    if platform.only_reads() && entity.category == Some(Category::Config) {
        entity.category = Some(Category::Diagnostic);
    }
    match platform {
        Platform::Sensor if point.is_integer() => {
            let known = quantity::by_unit(&point.unit);
            entity.take(quantity::of(platform, point, known));
            entity.precision = Some(point.places());
        }
        Platform::Sensor if point.is_enum() && !point.words().is_empty() => {
            entity.device_class = Some("enum".to_owned());
            entity.options = point.options();
        }
        Platform::Number => number(&mut entity, point, Known::default()),
        Platform::Select => entity.options = point.options(),
        Platform::Event => entity.options = event_types(point),
        Platform::Sensor | Platform::Text => {}
        _ => {
            entity.device_class = settings
                .device_class
                .filter(|class| units::is_device_class(platform, class));
        }
    }
    vec![entity]
}

/// Finds what a data point can be by its type, or what the user wants it to be where that is possible.
fn shape(point: &Point) -> (Platform, Kind) {
    let (readable, writable) = (point.readable(), point.writable());
    let usual = match point.spec() {
        Spec::Boolean if !writable => (Platform::BinarySensor, Kind::Plain),
        // What only takes writes has nothing to show; a switch among these is still told apart by name.
        Spec::Boolean if !readable && !point.code.contains("switch") => {
            (Platform::Button, Kind::Press)
        }
        Spec::Boolean => (Platform::Switch, Kind::Plain),
        Spec::Enum { .. } if writable && !point.words().is_empty() => {
            (Platform::Select, Kind::Plain)
        }
        Spec::Enum { .. } if writable => (Platform::Text, Kind::Plain),
        Spec::Bitmap { .. } if !readable => (Platform::Text, Kind::Plain),
        Spec::Integer(_) if writable => (Platform::Number, Kind::Plain),
        Spec::Enum { .. } | Spec::Integer(_) | Spec::Bitmap { .. } => {
            (Platform::Sensor, Kind::Plain)
        }
        Spec::String { maxlen } => {
            let short = !readable || (!point.long && maxlen.is_none_or(|most| most <= STATE_MAX));
            match (short, writable) {
                (true, true) => (Platform::Text, Kind::Plain),
                (true, false) => (Platform::Sensor, Kind::Plain),
                (false, _) => (Platform::Sensor, Kind::Length),
            }
        }
        Spec::Json | Spec::Raw { .. } | Spec::Unknown if !readable => (Platform::Text, Kind::Plain),
        Spec::Json | Spec::Raw { .. } | Spec::Unknown => (Platform::Sensor, Kind::Length),
    };
    let Some(asked) = point.settings.platform.filter(|asked| *asked != usual.0) else {
        return usual;
    };
    let boolean = point.is_boolean();
    let possible = match asked {
        Platform::Switch | Platform::Siren | Platform::Valve | Platform::Lock
            if boolean && writable =>
        {
            Some(Kind::Plain)
        }
        Platform::Button if boolean && writable => Some(Kind::Press),
        Platform::BinarySensor if boolean && readable => Some(Kind::Plain),
        Platform::Number if point.is_integer() && writable => Some(Kind::Plain),
        Platform::Select if point.is_enum() && writable && !point.words().is_empty() => {
            Some(Kind::Plain)
        }
        Platform::Sensor if readable && !boolean && !matches!(usual.1, Kind::Length) => {
            Some(Kind::Plain)
        }
        Platform::Text
            if writable
                && matches!(point.spec(), Spec::String { .. } | Spec::Enum { .. })
                && !point.long =>
        {
            Some(Kind::Plain)
        }
        Platform::Event if readable && !point.is_integer() => Some(Kind::Event),
        _ => None,
    };
    possible.map_or(usual, |kind| (asked, kind))
}

/// Makes a problem of each flag.
fn flags(point: &Point, labels: &[Box<str>], bits: Option<u32>) -> Option<Vec<Entity>> {
    let named: Vec<String> = match (labels.is_empty(), bits) {
        (false, _) => labels.iter().map(ToString::to_string).collect(),
        (true, Some(bits)) if (1..=FLAGS_MAX).contains(&bits) => {
            (0..bits).map(|bit| format!("bit{bit}")).collect()
        }
        _ => return None,
    };
    let flag = |(label, at): (String, u32)| {
        let mut entity = Entity::new(Platform::BinarySensor, &point.code, Kind::Bit(at));
        let name = human(&label);
        entity.name = Some(match &point.settings.name {
            Some(bitmap) => format!("{bitmap} {name}"),
            None => name,
        });
        entity.part = Some(label);
        entity.device_class = Some("problem".to_owned());
        entity.category = Some(Category::Diagnostic);
        entity.icon.clone_from(&point.settings.icon);
        entity.enabled = point.settings.enabled.unwrap_or(false);
        entity
    };
    Some(named.into_iter().zip(0u32..).map(flag).collect())
}

/// Completes a number: limits that Home Assistant takes, unit, class.
pub(super) fn number(entity: &mut Entity, point: &mut Point, known: Known<'_>) {
    entity.take(quantity::of(Platform::Number, point, known));
    let (min, max, step) = point.limits();
    let wide = Decimal::from(i32::MAX);
    let (min, max) = (min.unwrap_or(-wide), max.unwrap_or(wide));
    entity.min = Some(min);
    entity.max = Some(if min < max { max } else { min + Decimal::ONE });
    let least = Decimal::new(STEP_MIN.0, STEP_MIN.1);
    entity.step = step.map(|step| step.max(least));
}

/// Returns the kinds of event that a data point knows.
pub(super) fn event_types(point: &Point) -> Vec<String> {
    let words = point.options();
    if words.is_empty() {
        vec![TRIGGERED.to_owned()]
    } else {
        words
    }
}

/// Makes the entity that tells when the device last reported.
pub(super) fn last_seen() -> Entity {
    let mut entity = Entity::new(Platform::Sensor, "last_seen", Kind::LastSeen);
    entity.name = Some("Last seen".to_owned());
    entity.device_class = Some("timestamp".to_owned());
    entity.category = Some(Category::Diagnostic);
    entity.enabled = false;
    entity.codes = Vec::new();
    entity
}
