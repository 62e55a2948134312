//! Units as devices spell them, as Home Assistant spells them, and which go with which device class.
//! Facts of Home Assistant's sensor, number and binary sensor platforms; no state, no I/O.

use crate::entity::Platform;

/// A unit: Home Assistant's spelling, the spellings of devices, and for units that convert into each
/// other by powers of ten, the quantity and the power.
struct Unit {
    name: &'static str,
    aliases: &'static [&'static str],
    scale: Option<(&'static str, i32)>,
}

const fn unit(name: &'static str, aliases: &'static [&'static str]) -> Unit {
    Unit {
        name,
        aliases,
        scale: None,
    }
}

const fn scaled(
    name: &'static str,
    aliases: &'static [&'static str],
    quantity: &'static str,
    power: i32,
) -> Unit {
    Unit {
        name,
        aliases,
        scale: Some((quantity, power)),
    }
}

/// Aliases are in lower case; a spelling is tried as it is, then in lower case.
const UNITS: &[Unit] = &[
    unit(
        "%",
        &["pct", "percent", "% rh", "%rh", "rh%", "百分比", "％"],
    ),
    unit(
        "°C",
        &[
            "°c",
            "℃",
            "c",
            "celsius",
            "摄氏度",
            "ºc",
            "° c",
            "degc",
            "度",
        ],
    ),
    unit(
        "°F",
        &["°f", "℉", "f", "fahrenheit", "华氏度", "ºf", "degf"],
    ),
    unit("K", &["kelvin"]),
    scaled("mA", &["ma", "milliampere", "毫安"], "current", -3),
    scaled("A", &["a", "ampere", "amp", "安", "安培"], "current", 0),
    scaled("mV", &["mv", "millivolt", "毫伏"], "voltage", -3),
    scaled("V", &["v", "volt", "伏", "伏特"], "voltage", 0),
    scaled("mW", &[], "power", -3),
    scaled("W", &["w", "watt", "瓦", "瓦特"], "power", 0),
    scaled("kW", &["kw", "kilowatt", "千瓦"], "power", 3),
    scaled("MW", &["megawatt"], "power", 6),
    scaled("Wh", &["wh", "watthour", "w·h", "w.h"], "energy", 0),
    scaled(
        "kWh",
        &[
            "kwh",
            "kilowatt-hour",
            "kw·h",
            "kw.h",
            "kw*h",
            "千瓦时",
            "度电",
        ],
        "energy",
        3,
    ),
    scaled("MWh", &["mwh"], "energy", 6),
    unit("VA", &["va"]),
    unit("kVA", &["kva"]),
    unit("var", &["var"]),
    unit("kvar", &["kvar"]),
    unit("Hz", &["hz", "hertz", "赫兹"]),
    scaled("ppb", &["ppb"], "share", -9),
    scaled("ppm", &["ppm"], "share", -6),
    scaled(
        "µg/m³",
        &["ug/m3", "µg/m3", "ug/m³", "μg/m³", "μg/m3", "微克/立方米"],
        "density",
        -6,
    ),
    scaled("mg/m³", &["mg/m3", "毫克/立方米"], "density", -3),
    unit("lx", &["lux", "lx", "勒克斯"]),
    unit("W/m²", &["w/m2", "w/m²"]),
    scaled("Pa", &["pa"], "pressure", 0),
    scaled("hPa", &["hpa", "hectopascal"], "pressure", 2),
    scaled("mbar", &["millibar", "mbar"], "pressure", 2),
    scaled("kPa", &["kpa"], "pressure", 3),
    scaled("bar", &["bar"], "pressure", 5),
    scaled("MPa", &["mpa"], "pressure", 6),
    unit("psi", &["psi"]),
    unit("inHg", &["inhg"]),
    unit("mmHg", &["mmhg"]),
    unit("dB", &["db", "分贝"]),
    unit("dBA", &["dba", "db(a)"]),
    unit("dBm", &["dbm"]),
    unit("ms", &["ms", "毫秒", "millisecond", "milliseconds"]),
    unit("s", &["s", "sec", "second", "seconds", "秒"]),
    unit("min", &["min", "mins", "minute", "minutes", "分", "分钟"]),
    unit("h", &["h", "hr", "hour", "hours", "时", "小时"]),
    unit("d", &["d", "day", "days", "天"]),
    scaled("mm", &["mm", "毫米"], "length", -3),
    scaled("cm", &["cm", "厘米"], "length", -2),
    scaled("m", &["m", "meter", "metre", "米"], "length", 0),
    scaled("km", &["km", "千米"], "length", 3),
    unit("in", &["in", "inch"]),
    unit("ft", &["ft", "feet"]),
    unit("mL", &["ml", "毫升"]),
    unit("L", &["l", "liter", "litre", "升"]),
    unit("m³", &["m3", "m³", "立方米", "方"]),
    unit("ft³", &["ft3", "ft³"]),
    unit("gal", &["gal", "gallon"]),
    unit("m²", &["m2", "㎡", "m²", "平方米"]),
    scaled("mg", &["mg"], "weight", -3),
    scaled("g", &["g", "gram", "grams", "克"], "weight", 0),
    scaled("kg", &["kg", "千克", "公斤"], "weight", 3),
    unit("lb", &["lb", "lbs"]),
    unit("m/s", &["m/s", "米/秒"]),
    unit("km/h", &["km/h", "kmh", "kph"]),
    unit("mph", &["mph"]),
    unit("mm/h", &["mm/h"]),
    unit("m³/h", &["m3/h", "m³/h"]),
    unit("L/min", &["l/min"]),
    unit("µS/cm", &["us/cm", "µs/cm", "μs/cm"]),
    unit("mS/cm", &["ms/cm"]),
    unit("°", &["°", "deg", "degree"]),
    unit("rpm", &["rpm", "r/min"]),
];

/// The units that a device class of a sensor or number takes.
const CLASS_UNITS: &[(&str, &[&str])] = &[
    ("apparent_power", &["VA", "kVA"]),
    ("area", &["m²"]),
    (
        "atmospheric_pressure",
        &["Pa", "hPa", "kPa", "mbar", "bar", "psi", "inHg", "mmHg"],
    ),
    ("battery", &["%"]),
    ("carbon_dioxide", &["ppm"]),
    ("carbon_monoxide", &["ppm"]),
    ("conductivity", &["µS/cm", "mS/cm"]),
    ("current", &["A", "mA"]),
    ("data_rate", &[]),
    ("distance", &["mm", "cm", "m", "km", "in", "ft"]),
    ("duration", &["ms", "s", "min", "h", "d"]),
    ("energy", &["Wh", "kWh", "MWh"]),
    ("energy_storage", &["Wh", "kWh", "MWh"]),
    ("frequency", &["Hz"]),
    ("gas", &["m³", "ft³"]),
    ("humidity", &["%"]),
    ("illuminance", &["lx"]),
    ("irradiance", &["W/m²"]),
    ("moisture", &["%"]),
    ("nitrogen_dioxide", &["µg/m³"]),
    ("ozone", &["µg/m³"]),
    ("pm1", &["µg/m³"]),
    ("pm10", &["µg/m³"]),
    ("pm25", &["µg/m³"]),
    ("power", &["mW", "W", "kW", "MW"]),
    ("power_factor", &["%"]),
    ("precipitation", &["mm", "cm", "in"]),
    ("precipitation_intensity", &["mm/h"]),
    (
        "pressure",
        &["Pa", "hPa", "kPa", "mbar", "bar", "psi", "inHg", "mmHg"],
    ),
    ("reactive_power", &["var"]),
    ("signal_strength", &["dB", "dBm"]),
    ("sound_pressure", &["dB", "dBA"]),
    ("speed", &["m/s", "km/h", "mph"]),
    ("sulphur_dioxide", &["µg/m³"]),
    ("temperature", &["°C", "°F", "K"]),
    ("volatile_organic_compounds", &["µg/m³"]),
    ("volatile_organic_compounds_parts", &["ppm", "ppb"]),
    ("voltage", &["V", "mV"]),
    ("volume", &["mL", "L", "m³", "ft³", "gal"]),
    ("volume_flow_rate", &["m³/h", "L/min"]),
    ("volume_storage", &["mL", "L", "m³", "ft³", "gal"]),
    ("water", &["L", "m³", "ft³", "gal"]),
    ("weight", &["mg", "g", "kg", "lb"]),
    ("wind_speed", &["m/s", "km/h", "mph"]),
];

/// What is converted to one unit, so that devices of different makes can be compared.
const CONVERTED: &[(&str, &str, &str)] = &[
    ("current", "mA", "A"),
    ("voltage", "mV", "V"),
    ("carbon_dioxide", "ppb", "ppm"),
    ("carbon_monoxide", "ppb", "ppm"),
    ("nitrogen_dioxide", "mg/m³", "µg/m³"),
    ("ozone", "mg/m³", "µg/m³"),
    ("pm1", "mg/m³", "µg/m³"),
    ("pm25", "mg/m³", "µg/m³"),
    ("pm10", "mg/m³", "µg/m³"),
    ("sulphur_dioxide", "mg/m³", "µg/m³"),
    ("volatile_organic_compounds", "mg/m³", "µg/m³"),
];

/// Classes that take no unit.
const WITHOUT_UNIT: &[&str] = &["aqi", "ph", "date", "enum", "timestamp", "monetary"];

const BINARY: &[&str] = &[
    "battery",
    "battery_charging",
    "carbon_monoxide",
    "cold",
    "connectivity",
    "door",
    "garage_door",
    "gas",
    "heat",
    "light",
    "lock",
    "moisture",
    "motion",
    "moving",
    "occupancy",
    "opening",
    "plug",
    "power",
    "presence",
    "problem",
    "running",
    "safety",
    "smoke",
    "sound",
    "tamper",
    "update",
    "vibration",
    "window",
];

/// Returns a unit as Home Assistant spells it; one that nobody knows stays as it is, and blanks are none.
pub(crate) fn normalised(text: &str) -> &str {
    let text = text.trim();
    known(text).map_or(text, |unit| unit.name)
}

fn known(text: &str) -> Option<&'static Unit> {
    if text.is_empty() {
        return None;
    }
    let lower = text.to_lowercase();
    UNITS.iter().find(|unit| unit.name == text).or_else(|| {
        UNITS
            .iter()
            .find(|unit| unit.aliases.contains(&lower.as_str()))
    })
}

/// Returns by which power of ten a number in one unit is multiplied to be one in another.
pub(crate) fn power(from: &str, to: &str) -> Option<i32> {
    if from == to {
        return Some(0);
    }
    let (quantity, from) = known(from)?.scale?;
    let (other, to) = known(to)?.scale?;
    (quantity == other).then_some(from - to)
}

/// Returns the unit to which values of a class are converted, where there is one.
pub(crate) fn converted(class: &str, unit: &str) -> Option<&'static str> {
    CONVERTED
        .iter()
        .find(|(of, from, _)| *of == class && *from == unit)
        .map(|(_, _, to)| *to)
}

/// Returns the unit of a class whose device declares none, where there is no doubt: a code of the
/// vendor that ends in `_f` is in degrees Fahrenheit.
pub(crate) fn usual(class: &str, code: &str) -> Option<&'static str> {
    match class {
        "temperature" if code.ends_with("_f") => Some("°F"),
        "temperature" => Some("°C"),
        "humidity" | "battery" | "moisture" => Some("%"),
        _ => None,
    }
}

/// Tells whether a sensor or number of this class takes the unit.
pub(crate) fn unit_fits(class: &str, unit: &str) -> bool {
    CLASS_UNITS
        .iter()
        .any(|(known, units)| *known == class && units.contains(&unit))
}

/// Tells whether a class must go without a unit.
pub(crate) fn is_without_unit(class: &str) -> bool {
    WITHOUT_UNIT.contains(&class)
}

/// Tells whether a sensor of this class takes the state class.
pub(crate) fn state_class_fits(class: Option<&str>, state: &str) -> bool {
    let allowed: &[&str] = match class {
        Some("date" | "enum" | "timestamp") => &[],
        Some("energy" | "gas" | "water" | "volume") => &["total", "total_increasing"],
        Some("monetary") => &["total"],
        Some("area" | "distance" | "duration" | "precipitation" | "weight") | None => {
            &["measurement", "total", "total_increasing"]
        }
        Some(_) => &["measurement"],
    };
    allowed.contains(&state)
}

/// Tells whether Home Assistant has the device class on the platform.
pub(crate) fn is_device_class(platform: Platform, class: &str) -> bool {
    let has = |names: &[&str]| names.contains(&class);
    match platform {
        Platform::BinarySensor => has(BINARY),
        Platform::Sensor => {
            CLASS_UNITS.iter().any(|(known, _)| *known == class) || has(WITHOUT_UNIT)
        }
        Platform::Number => {
            (CLASS_UNITS.iter().any(|(known, _)| *known == class) || has(&["aqi", "ph"]))
                && class != "enum"
        }
        Platform::Button => has(&["identify", "restart", "update"]),
        Platform::Cover => has(&[
            "awning", "blind", "curtain", "damper", "door", "garage", "gate", "shade", "shutter",
            "window",
        ]),
        Platform::Event => has(&["button", "doorbell", "motion"]),
        Platform::Humidifier => has(&["humidifier", "dehumidifier"]),
        Platform::Switch => has(&["outlet", "switch"]),
        Platform::Valve => has(&["water", "gas"]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_becomes_home_assistants() {
        for (text, expected) in [
            ("℃", "°C"),
            ("°C", "°C"),
            ("摄氏度", "°C"),
            ("C", "°C"),
            ("kW·h", "kWh"),
            ("KW.h", "kWh"),
            ("ug/m3", "µg/m³"),
            ("Lux", "lx"),
            ("mA", "mA"),
            ("MPa", "MPa"),
            (" ", ""),
            ("pieces", "pieces"),
        ] {
            assert_eq!(normalised(text), expected, "{text}");
        }
    }

    #[test]
    fn units_convert_by_powers_of_ten() {
        assert_eq!(power("mA", "A"), Some(-3));
        assert_eq!(power("W", "kW"), Some(-3));
        assert_eq!(power("mg/m³", "µg/m³"), Some(3));
        assert_eq!(power("A", "A"), Some(0));
        assert_eq!(power("A", "V"), None);
        assert_eq!(power("°C", "°F"), None);
    }

    #[test]
    fn what_is_converted_or_usual_fits_its_class() {
        for (class, from, to) in CONVERTED {
            assert!(unit_fits(class, to), "{class} {to}");
            assert!(power(from, to).is_some(), "{from} {to}");
        }
        for class in ["temperature", "humidity", "battery", "moisture"] {
            assert!(unit_fits(class, usual(class, "temp_f").unwrap()), "{class}");
        }
    }
}
