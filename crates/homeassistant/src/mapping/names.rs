//! Names for people out of codes.

/// What the parts of codes stand for.
const WORDS: &[(&str, &str)] = &[
    ("ac", "AC"),
    ("aqi", "AQI"),
    ("ch2o", "formaldehyde"),
    ("ch4", "methane"),
    ("co", "CO"),
    ("co2", "CO2"),
    ("cur", "current"),
    ("hum", "humidity"),
    ("ipc", "camera"),
    ("led", "LED"),
    ("osd", "on-screen display"),
    ("pir", "motion"),
    ("pm1", "PM1"),
    ("pm10", "PM10"),
    ("pm25", "PM2.5"),
    ("pv", "PV"),
    ("sd", "SD"),
    ("sos", "SOS"),
    ("temp", "temperature"),
    ("temper", "tamper"),
    ("tvoc", "TVOC"),
    ("usb", "USB"),
    ("uv", "UV"),
    ("va", ""),
    ("voc", "VOC"),
    ("vol", "voltage"),
    ("wdr", "WDR"),
    ("wifi", "Wi-Fi"),
];

/// Returns a name for a code: `temp_current` is `Temperature current`.
pub(crate) fn human(code: &str) -> String {
    let words: Vec<&str> = code
        .split(['_', '-', ' ', '.'])
        .map(|word| {
            WORDS
                .iter()
                .find(|(short, _)| short.eq_ignore_ascii_case(word))
                .map_or(word, |(_, long)| long)
        })
        .filter(|word| !word.trim().is_empty())
        .collect();
    let name = words.join(" ");
    let mut characters = name.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None if code.trim().is_empty() => "Data point".to_owned(),
        None => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn codes_become_names() {
        for (code, name) in [
            ("temp_current", "Temperature current"),
            ("va_temperature", "Temperature"),
            ("switch_1", "Switch 1"),
            ("pm25_value", "PM2.5 value"),
            ("va", "va"),
            ("", "Data point"),
        ] {
            assert_eq!(human(code), name);
        }
    }
}
