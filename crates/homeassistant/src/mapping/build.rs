//! From rules and data points to entities: first the rules of the category, then those for codes that
//! mean the same everywhere, then, for what is left, the type alone.

use std::collections::BTreeSet;

use hearthgate_protocol::model::Spec;

use super::generic;
use super::names::human;
use super::quantity::{self, Known, Quantity};
use crate::catalog::{Catalog, Rule};
use crate::entity::{Category, Entity, Platform};
use crate::platform::{
    Alarm, Climate, Cover, ELECTRIC_PARTS, Electric, Fan, Humidifier, Kind, Light, Lock, Vacuum,
};
use crate::point::{Point, Points};

/// Words by which a sensor that should be a Boolean says that it is on.
const USUAL_ON: &[&str] = &["true", "1", "on", "alarm", "open", "opened"];

/// An entity and whether it bears the device's name.
struct Draft {
    entity: Entity,
    main: bool,
    main_if_alone: bool,
}

/// Makes the entities of a device; keys and unique ids are still empty.
pub(super) fn entities(catalog: &Catalog, category: &str, points: &mut Points) -> Vec<Entity> {
    let mut drafts: Vec<Draft> = Vec::new();
    for rule in catalog.rules(category) {
        apply(catalog, rule, points, &mut drafts);
    }
    let known = !catalog.rules(category).is_empty();
    for rule in catalog.defaults() {
        if rule.unknown_only && known {
            continue;
        }
        let every = rule.bit.as_deref() == Some("*");
        // What takes writes is a setting, whatever a code of that name is elsewhere.
        let setting = |code: &str| points.get(code).is_some_and(Point::writable);
        if matches!(rule.platform, Platform::Sensor | Platform::BinarySensor)
            && !every
            && rule.code.iter().any(setting)
        {
            continue;
        }
        let claimed = |code: &str| {
            drafts
                .iter()
                .any(|draft| draft.entity.code == code || joined(draft, code))
        };
        if every || !rule.code.iter().any(claimed) {
            apply(catalog, rule, points, &mut drafts);
        }
    }
    let codes: Vec<String> = points.iter().map(|point| point.code.clone()).collect();
    for code in &codes {
        let Some(point) = points.get_mut(code) else {
            continue;
        };
        let has: BTreeSet<&str> = drafts
            .iter()
            .filter(|draft| draft.entity.code == *code)
            .filter_map(|draft| draft.entity.part.as_deref())
            .collect();
        let claimed = drafts.iter().any(|draft| draft.entity.code == *code);
        let more = if matches!(point.spec(), Spec::Bitmap { .. }) || !claimed {
            generic::entities(point, &has.iter().map(|part| (*part).to_owned()).collect())
        } else {
            Vec::new()
        };
        drafts.extend(more.into_iter().map(|entity| Draft {
            entity,
            main: false,
            main_if_alone: false,
        }));
    }
    drafts.retain(|draft| {
        points
            .get(&draft.entity.code)
            .is_none_or(|point| point.settings.hide != Some(true))
    });
    name_mains(&mut drafts);
    let mut entities: Vec<Entity> = drafts.into_iter().map(|draft| draft.entity).collect();
    for entity in &mut entities {
        entity.readable = points.get(&entity.code).is_some_and(Point::readable);
    }
    entities.push(generic::last_seen());
    entities
}

fn joined(draft: &Draft, code: &str) -> bool {
    draft.entity.codes.iter().any(|joined| joined == code)
}

/// Takes the name from the entities that bear the device's: one of each platform.
fn name_mains(drafts: &mut [Draft]) {
    for platform in Platform::ALL {
        let of = |draft: &&mut Draft| draft.entity.platform == *platform;
        let mains = drafts
            .iter()
            .filter(|draft| draft.entity.platform == *platform && draft.main)
            .count();
        let alone = drafts
            .iter()
            .filter(|draft| draft.entity.platform == *platform && draft.main_if_alone)
            .count();
        let mut first = true;
        for draft in drafts.iter_mut().filter(of) {
            let bears = (draft.main && first) || (draft.main_if_alone && alone == 1 && mains == 0);
            first &= !draft.main;
            if bears {
                draft.entity.name = None;
            }
        }
    }
}

fn apply(catalog: &Catalog, rule: &Rule, points: &mut Points, drafts: &mut Vec<Draft>) {
    if !rule.needs.iter().all(|code| points.get(code).is_some()) {
        return;
    }
    let kinds: Vec<(String, Option<String>, Kind)> = match rule.platform {
        Platform::Climate => Climate::plan(catalog, rule, points)
            .map(|climate| {
                (
                    climate.main().to_owned(),
                    Some("climate".to_owned()),
                    Kind::Climate(Box::new(climate)),
                )
            })
            .into_iter()
            .collect(),
        Platform::Fan => Fan::plan(catalog, rule, points)
            .map(|fan| (fan.switch.clone(), Some("fan".to_owned()), Kind::Fan(fan)))
            .into_iter()
            .collect(),
        Platform::Vacuum => Vacuum::plan(catalog, rule, points)
            .map(|vacuum| {
                (
                    vacuum.main().to_owned(),
                    Some("vacuum".to_owned()),
                    Kind::Vacuum(vacuum),
                )
            })
            .into_iter()
            .collect(),
        _ => rule
            .code
            .iter()
            .filter_map(|code| {
                let kinds = kinds(catalog, rule, code, points);
                (!kinds.is_empty()).then_some((code, kinds))
            })
            .map(|(code, kinds)| {
                kinds
                    .into_iter()
                    .map(|(part, kind)| (code.to_owned(), part, kind))
                    .collect::<Vec<_>>()
            })
            .next()
            .unwrap_or_default(),
    };
    for (code, part, kind) in kinds {
        let twice = |draft: &Draft| {
            draft.entity.code == code
                && draft.entity.part == part
                && draft.entity.platform == rule.platform
        };
        // The user turned the data point into something else.
        let platform = points.get(&code).and_then(|point| point.settings.platform);
        if drafts.iter().any(twice) || platform.is_some_and(|platform| platform != rule.platform) {
            continue;
        }
        let entity = entity(rule, &code, part, kind, points);
        let named = points
            .get(&code)
            .is_some_and(|point| point.settings.name.is_some());
        drafts.push(Draft {
            entity,
            main: rule.main && !named,
            main_if_alone: rule.main_if_alone && !named,
        });
    }
}

/// Finds how a data point makes the rule's entity, where its type fits.
fn kinds(
    catalog: &Catalog,
    rule: &Rule,
    code: &str,
    points: &Points,
) -> Vec<(Option<String>, Kind)> {
    let Some(point) = points.get(code) else {
        return Vec::new();
    };
    if rule.platform.only_reads() && !point.readable() {
        return Vec::new();
    }
    if let Some(bit) = &rule.bit {
        return flags(rule, bit, point);
    }
    let writable = point.writable();
    let kind = match rule.platform {
        Platform::Light => Light::plan(catalog, rule, code, points).map(Kind::Light),
        Platform::Cover => Cover::plan(catalog, rule, code, points).map(Kind::Cover),
        Platform::Humidifier => Humidifier::plan(catalog, rule, code, points).map(Kind::Humidifier),
        Platform::AlarmControlPanel => Alarm::plan(catalog, code, points).map(Kind::Alarm),
        Platform::Lock => Lock::plan(catalog, rule, code, points).map(Kind::Lock),
        Platform::Switch | Platform::Siren | Platform::Valve if point.is_boolean() && writable => {
            Some(Kind::Plain)
        }
        Platform::Button if point.is_boolean() && writable => Some(Kind::Press),
        Platform::BinarySensor => binary(rule, point),
        Platform::Sensor => sensor(rule, point),
        Platform::Number if point.is_integer() && writable => Some(Kind::Plain),
        Platform::Select if point.is_enum() && writable && !point.words().is_empty() => {
            Some(Kind::Plain)
        }
        Platform::Text if matches!(point.spec(), Spec::String { .. }) && writable => {
            Some(Kind::Plain)
        }
        Platform::Event
            if point.readable()
                && !matches!(point.spec(), Spec::Integer(_) | Spec::Bitmap { .. }) =>
        {
            Some(Kind::Event)
        }
        _ => None,
    };
    kind.map(|kind| (rule.part.clone(), kind))
        .into_iter()
        .collect()
}

fn flags(rule: &Rule, bit: &str, point: &Point) -> Vec<(Option<String>, Kind)> {
    let Spec::Bitmap { labels, .. } = point.spec() else {
        return Vec::new();
    };
    labels
        .iter()
        .zip(0u32..)
        .filter(|(label, _)| bit == "*" || ***label == *bit)
        .map(|(label, at)| {
            (
                Some(rule.part.clone().unwrap_or_else(|| label.to_string())),
                Kind::Bit(at),
            )
        })
        .collect()
}

fn binary(rule: &Rule, point: &Point) -> Option<Kind> {
    match point.spec() {
        Spec::Boolean => Some(Kind::Plain),
        Spec::Enum { .. } | Spec::String { .. } | Spec::Integer(_) | Spec::Raw { .. } => {
            let words: Vec<String> = if rule.on.is_empty() {
                USUAL_ON.iter().map(|word| (*word).to_owned()).collect()
            } else {
                rule.on.clone()
            };
            Some(Kind::OnWords(
                words
                    .iter()
                    .map(|word| point.label(word).to_owned())
                    .collect(),
            ))
        }
        _ => None,
    }
}

fn sensor(rule: &Rule, point: &Point) -> Option<Kind> {
    let electric = rule
        .part
        .as_deref()
        .filter(|part| ELECTRIC_PARTS.contains(part))
        .and_then(Electric::named);
    match point.spec() {
        Spec::Integer(_) | Spec::Enum { .. } => Some(Kind::Plain),
        Spec::Json | Spec::Raw { .. } | Spec::String { .. } | Spec::Unknown
            if electric.is_some() =>
        {
            electric.map(Kind::Electric)
        }
        Spec::String { .. } if !point.long => Some(Kind::Plain),
        _ => None,
    }
}

fn entity(
    rule: &Rule,
    code: &str,
    part: Option<String>,
    kind: Kind,
    points: &mut Points,
) -> Entity {
    let mut codes = vec![code.to_owned()];
    codes.extend(kind.codes().into_iter().map(str::to_owned));
    let mut entity = Entity::new(rule.platform, code, kind);
    entity.codes = codes;
    entity.alias.clone_from(&rule.alias);
    let Some(point) = points.get_mut(code) else {
        return entity;
    };
    let settings = point.settings.clone();
    let bare = || match &part {
        Some(part) if rule.bit.is_some() => human(part),
        _ => human(code),
    };
    entity.name = Some(
        settings
            .name
            .clone()
            .or_else(|| rule.name.clone())
            .unwrap_or_else(bare),
    );
    entity.part = part;
    entity.icon = settings.icon.clone().or_else(|| rule.icon.clone());
    entity.enabled = settings.enabled.unwrap_or(rule.enabled);
    entity.category = settings.category.or(rule.category);
    if rule.platform.only_reads() && entity.category == Some(Category::Config) {
        entity.category = Some(Category::Diagnostic);
    }
    let known = Known {
        class: rule.device_class.as_deref(),
        state: rule.state_class.as_deref(),
        unit: rule.unit.as_deref(),
        shown: rule.shown_unit.as_deref(),
    };
    match (rule.platform, &entity.kind) {
        (Platform::Sensor, Kind::Electric(_)) => {
            entity.take(Quantity {
                class: rule.device_class.clone(),
                state: rule.state_class.clone(),
                unit: rule.unit.clone(),
            });
            entity.precision =
                rule.precision
                    .or(Some(if rule.device_class.as_deref() == Some("voltage") {
                        1
                    } else {
                        3
                    }));
        }
        (Platform::Sensor, _) if point.is_integer() => {
            entity.take(quantity::of(Platform::Sensor, point, known));
            entity.precision = rule.precision.or(Some(point.places()));
        }
        (Platform::Sensor, _) => {}
        (Platform::Number, _) => generic::number(&mut entity, point, known),
        _ => {
            let class = settings.device_class.or_else(|| rule.device_class.clone());
            entity.device_class =
                class.filter(|class| crate::units::is_device_class(rule.platform, class));
        }
    }
    match rule.platform {
        Platform::Select => entity.options = point.options(),
        Platform::Event => entity.options = generic::event_types(point),
        Platform::Climate => climate(&mut entity),
        _ => {}
    }
    entity
}

fn climate(entity: &mut Entity) {
    if let Kind::Climate(climate) = &entity.kind {
        entity.options = climate.modes();
        if let Some((min, max, step)) = climate.limits() {
            (entity.min, entity.max, entity.step) = (Some(min), Some(max), Some(step));
        }
    }
}

impl Entity {
    pub(super) fn new(platform: Platform, code: &str, kind: Kind) -> Self {
        Self {
            platform,
            code: code.to_owned(),
            part: None,
            codes: vec![code.to_owned()],
            key: String::new(),
            unique_id: String::new(),
            name: None,
            device_class: None,
            state_class: None,
            unit: None,
            category: None,
            enabled: true,
            icon: None,
            precision: None,
            options: Vec::new(),
            min: None,
            max: None,
            step: None,
            readable: true,
            alias: None,
            kind,
        }
    }

    pub(super) fn take(&mut self, quantity: Quantity) {
        self.device_class = quantity.class;
        self.state_class = quantity.state;
        self.unit = quantity.unit;
    }
}
