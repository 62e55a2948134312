//! Device class, state class and unit of a number, so that Home Assistant takes all three together.
//! Facts come from the rule, the declaration and the user, who wins.

use crate::entity::Platform;
use crate::point::Point;
use crate::units;

/// What a number is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Quantity {
    pub(super) class: Option<String>,
    pub(super) state: Option<String>,
    pub(super) unit: Option<String>,
}

/// What the catalog says of a number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known<'a> {
    pub(super) class: Option<&'a str>,
    pub(super) state: Option<&'a str>,
    /// The unit, whatever is declared.
    pub(super) unit: Option<&'a str>,
    /// The unit to convert to.
    pub(super) shown: Option<&'a str>,
}

/// Finds what a number is, and makes its point convert to the unit found.
pub(super) fn of(platform: Platform, point: &mut Point, known: Known<'_>) -> Quantity {
    let settings = &point.settings;
    let class = settings
        .device_class
        .as_deref()
        .or(known.class)
        .map(str::to_owned);
    let state = settings
        .state_class
        .as_deref()
        .or(known.state)
        .map(str::to_owned);
    let declared = match (&settings.unit, known.unit) {
        (None, Some(unit)) => unit.to_owned(),
        _ => point.unit.clone(),
    };
    let class = class.filter(|class| units::is_device_class(platform, class));
    let (class, unit) = fitting(class, declared, known.shown, point);
    let state = state
        .filter(|_| platform == Platform::Sensor)
        .filter(|state| units::state_class_fits(class.as_deref(), state));
    Quantity {
        class,
        state,
        unit: (!unit.is_empty()).then_some(unit),
    }
}

fn fitting(
    class: Option<String>,
    declared: String,
    shown: Option<&str>,
    point: &mut Point,
) -> (Option<String>, String) {
    let Some(class) = class else {
        return (None, declared);
    };
    if units::is_without_unit(&class) {
        return if declared.is_empty() {
            (Some(class), declared)
        } else {
            (None, declared)
        };
    }
    let target = shown
        .filter(|shown| units::unit_fits(&class, shown))
        .or_else(|| units::converted(&class, &declared));
    if let Some(target) = target
        && let Some(power) = units::power(&declared, target)
    {
        point.convert(target, power);
        return (Some(class), target.to_owned());
    }
    if units::unit_fits(&class, &declared) {
        return (Some(class), declared);
    }
    match units::usual(&class, &point.code).filter(|_| declared.is_empty()) {
        Some(usual) => (Some(class), usual.to_owned()),
        // A class whose unit it is not would only be a warning in Home Assistant's log.
        None => (None, declared),
    }
}

/// Returns what the unit alone says of a reading.
pub(super) fn by_unit(unit: &str) -> Known<'static> {
    let (class, state) = match unit {
        "°C" | "°F" => ("temperature", "measurement"),
        "V" | "mV" => ("voltage", "measurement"),
        "A" | "mA" => ("current", "measurement"),
        "W" | "kW" => ("power", "measurement"),
        "Wh" | "kWh" => ("energy", "total_increasing"),
        "Hz" => ("frequency", "measurement"),
        "lx" => ("illuminance", "measurement"),
        "Pa" | "hPa" | "kPa" | "mbar" | "bar" => ("pressure", "measurement"),
        "dBm" => ("signal_strength", "measurement"),
        "s" | "min" | "h" | "d" => ("duration", ""),
        _ => return Known::default(),
    };
    Known {
        class: Some(class),
        state: (!state.is_empty()).then_some(state),
        ..Known::default()
    }
}
