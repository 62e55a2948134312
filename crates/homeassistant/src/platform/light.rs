//! Lights: on and off, brightness, colour temperature, colour, work mode as effects.
//!
//! Home Assistant gets a light with the template schema: one message turns it on with all that was
//! asked for, so a colour and its brightness are one write and not two that race.

use hearthgate_protocol::model::{Reading, Spec, Value};
use serde_json::{Map, Value as Json, json};

use super::{State, Written, integer, word};
use crate::catalog::{Catalog, Rule};
use crate::discovery::Component;
use crate::number::{float, remapped, whole};
use crate::point::{Point, Points, Values};

/// The colour temperatures of these devices, cold and warm, in mired: 6500 K and 2000 K.
const MIRED: (f64, f64) = (153.0, 500.0);
const KELVIN: (i64, i64) = (2000, 6500);

/// Home Assistant's name for no effect.
const NO_EFFECT: &str = "off";
const WHITE: &str = "white";
const COLOUR: &str = "colour";

/// A light's data points and their limits, unscaled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Light {
    switch: String,
    brightness: Option<Ranged>,
    /// Data points that limit the brightness: the least and the greatest.
    limits: Option<(Ranged, Ranged)>,
    temperature: Option<Ranged>,
    colour: Option<Colour>,
    mode: Option<String>,
    effects: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Ranged {
    code: String,
    range: (i64, i64),
}

#[derive(Clone, Debug, PartialEq)]
struct Colour {
    code: String,
    hue: (f64, f64),
    saturation: (f64, f64),
    value: (f64, f64),
    /// The colour is a string of hexadecimal digits, not JSON.
    hexadecimal: bool,
}

/// Hue in degrees, saturation in percent, value as brightness from 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hsv {
    hue: f64,
    saturation: f64,
    brightness: f64,
}

impl Light {
    pub(crate) fn plan(
        catalog: &Catalog,
        rule: &Rule,
        code: &str,
        points: &Points,
    ) -> Option<Self> {
        let switch = points
            .get(code)
            .filter(|point| point.is_boolean() && point.writable())?;
        let ranged = |role: &str| {
            let point = points.first(catalog.role(rule, role), |point| point.range().is_some())?;
            Some(Ranged {
                code: point.code.clone(),
                range: point.range()?,
            })
        };
        let brightness = ranged("brightness")
            .filter(|found| points.get(&found.code).is_some_and(Point::writable));
        let mode = points.first(catalog.role(rule, "mode"), |point| {
            point.is_enum() && point.writable()
        });
        let colour = points
            .first(catalog.role(rule, "color"), |point| {
                matches!(point.spec(), Spec::Json | Spec::String { .. }) && point.writable()
            })
            .map(|point| {
                let bright = brightness.as_ref().is_some_and(|found| found.range.1 > 255);
                Colour::new(point, bright || rule.color_scale == Some(1000))
            });
        let effects = mode.map(|mode| {
            mode.words()
                .into_iter()
                .filter(|word| word != WHITE && word != COLOUR)
                .collect::<Vec<_>>()
        });
        Some(Self {
            switch: switch.code.clone(),
            limits: ranged("brightness_min").zip(ranged("brightness_max")),
            brightness,
            temperature: ranged("color_temp")
                .filter(|found| points.get(&found.code).is_some_and(Point::writable)),
            colour,
            mode: mode.map(|mode| mode.code.clone()),
            effects: effects.unwrap_or_default(),
        })
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        let mut codes: Vec<&str> = Vec::new();
        codes.extend(self.brightness.iter().map(|found| found.code.as_str()));
        codes.extend(self.temperature.iter().map(|found| found.code.as_str()));
        codes.extend(self.colour.iter().map(|colour| colour.code.as_str()));
        codes.extend(self.mode.as_deref());
        if let Some((least, greatest)) = &self.limits {
            codes.extend([least.code.as_str(), greatest.code.as_str()]);
        }
        codes
    }

    pub(crate) fn discover(&self, component: &mut Component<'_>) {
        component.set("schema", "template");
        component.set("state_topic", component.topics().state.clone());
        component.command("command_topic", "light");
        component.set("command_off_template", "{\"state\":\"OFF\"}");
        let mut on = String::from("{\"state\":\"ON\"");
        let mut also = |variable: &str, quoted: bool| {
            let value = if quoted {
                format!("{{{{ {variable} | to_json }}}}")
            } else {
                format!("{{{{ {variable} }}}}")
            };
            on.push_str(&format!(
                "{{% if {variable} is defined %}},\"{variable}\":{value}{{% endif %}}"
            ));
        };
        if self.dims() {
            also("brightness", false);
        }
        if self.temperature.is_some() {
            also("color_temp", false);
        }
        if self.colour.is_some() {
            also("hue", false);
            also("sat", false);
        }
        if !self.effects.is_empty() {
            also("effect", true);
        }
        on.push('}');
        component.set("command_on_template", on);
        component.derived("state_template", "state", "None");
        if self.dims() {
            component.derived("brightness_template", "brightness", "");
        }
        if self.temperature.is_some() {
            component.set("color_temp_kelvin", true);
            component.set("min_kelvin", KELVIN.0);
            component.set("max_kelvin", KELVIN.1);
            component.derived("color_temp_template", "color_temp", "");
        }
        if self.colour.is_some() {
            component.derived("red_template", "red", "None");
            component.derived("green_template", "green", "None");
            component.derived("blue_template", "blue", "None");
        }
        if !self.effects.is_empty() {
            let mut list = vec![NO_EFFECT.to_owned()];
            list.extend(self.effects.iter().cloned());
            component.set("effect_list", list);
            component.derived("effect_template", "effect", "");
        }
    }

    pub(crate) fn derived(&self, values: Values<'_>) -> Option<Json> {
        let mut state = State::default();
        let on = values.on(&self.switch);
        state.put("state", on.map(|on| if on { "on" } else { "off" }));
        let coloured = self.is_coloured(values);
        let colour = self
            .colour
            .as_ref()
            .filter(|_| coloured)
            .and_then(|colour| colour.read(values));
        let brightness = match colour {
            Some(hsv) => Some(hsv.brightness),
            None => self.brightness(values),
        };
        state.put(
            "brightness",
            brightness.map(|level| whole(level).clamp(1, 255)),
        );
        if let Some(hsv) = colour {
            let (red, green, blue) = rgb(hsv.hue, hsv.saturation);
            state.put("hue", Some(rounded(hsv.hue)));
            state.put("sat", Some(rounded(hsv.saturation)));
            state.put("red", Some(red));
            state.put("green", Some(green));
            state.put("blue", Some(blue));
        } else if let Some(found) = &self.temperature {
            let mired = values
                .integer(&found.code)
                .map(|raw| remapped(float(raw), floats(found.range), (MIRED.1, MIRED.0)));
            state.put(
                "color_temp",
                mired.map(|mired| whole(1e6 / mired.clamp(MIRED.0, MIRED.1))),
            );
        }
        if let Some(mode) = self.mode.as_ref().filter(|_| !self.effects.is_empty()) {
            state.put(
                "effect",
                values.word(mode).map(|mode| {
                    if self.effects.contains(&mode) {
                        mode
                    } else {
                        NO_EFFECT.to_owned()
                    }
                }),
            );
        }
        state.done()
    }

    pub(crate) fn command(&self, aspect: &str, payload: &str, values: Values<'_>) -> Written {
        if aspect != "light" {
            return None;
        }
        let Ok(Json::Object(asked)) = serde_json::from_str(payload) else {
            return Some(Err(format!(
                "`{payload}` is no JSON object such as {{\"state\":\"ON\"}}"
            )));
        };
        match asked.get("state").and_then(crate::point::switched) {
            Some(false) => Some(Ok(vec![values.switch(&self.switch, false)])),
            Some(true) => Some(self.turn_on(&asked, values)),
            None => Some(Err("`state` is neither ON nor OFF".to_owned())),
        }
    }

    fn turn_on(
        &self,
        asked: &Map<String, Json>,
        values: Values<'_>,
    ) -> Result<Vec<Reading>, String> {
        let number = |key: &str| asked.get(key).and_then(Json::as_f64);
        let mut readings = vec![values.switch(&self.switch, true)];
        let mode = |name: &str| self.mode.as_ref().map(|code| word(code, name));
        let brightness = number("brightness").map(|level| level.clamp(1.0, 255.0));
        let hue = number("hue").or_else(|| number("h"));
        let saturation = number("sat").or_else(|| number("s"));
        let mut coloured = self.is_coloured(values);
        if let Some(effect) = asked.get("effect").and_then(Json::as_str) {
            if effect == NO_EFFECT {
                readings.extend(mode(WHITE));
                coloured = false;
            } else if self.effects.iter().any(|known| known == effect) {
                readings.extend(mode(effect));
            } else {
                return Err(format!(
                    "no effect `{effect}`; there are {}",
                    self.effects.join(", ")
                ));
            }
        }
        if let (Some(found), Some(kelvin)) = (&self.temperature, number("color_temp")) {
            readings.extend(mode(WHITE));
            coloured = false;
            let mired = (1e6 / kelvin.max(1.0)).clamp(MIRED.0, MIRED.1);
            let raw = whole(remapped(mired, (MIRED.1, MIRED.0), floats(found.range)));
            readings.push(integer(&found.code, raw));
        } else if let Some(colour) = self
            .colour
            .as_ref()
            .filter(|_| hue.is_some() || saturation.is_some())
        {
            readings.extend(mode(COLOUR));
            let now = colour.read(values);
            let wanted = Hsv {
                hue: hue
                    .or(now.map(|now| now.hue))
                    .unwrap_or(0.0)
                    .clamp(0.0, 360.0),
                saturation: saturation
                    .or(now.map(|now| now.saturation))
                    .unwrap_or(100.0)
                    .clamp(0.0, 100.0),
                brightness: brightness
                    .or_else(|| {
                        if coloured {
                            now.map(|now| now.brightness)
                        } else {
                            self.brightness(values)
                        }
                    })
                    .unwrap_or(255.0),
            };
            readings.push(colour.write(wanted, values)?);
            return Ok(readings);
        }
        if let Some(level) = brightness {
            match (&self.colour, &self.brightness) {
                (Some(colour), _) if coloured => {
                    let now = colour.read(values).unwrap_or(Hsv {
                        hue: 0.0,
                        saturation: 0.0,
                        brightness: 255.0,
                    });
                    readings.push(colour.write(
                        Hsv {
                            brightness: level,
                            ..now
                        },
                        values,
                    )?);
                }
                (_, Some(found)) => {
                    let raw = whole(remapped(level, (1.0, 255.0), self.bounds(found, values)));
                    readings.push(integer(
                        &found.code,
                        raw.clamp(found.range.0, found.range.1),
                    ));
                }
                _ => {}
            }
        }
        Ok(readings)
    }

    /// Tells whether the light can be dimmed; a colour carries its own brightness.
    fn dims(&self) -> bool {
        self.brightness.is_some() || self.colour.is_some()
    }

    /// Tells whether the light shows its colour; scenes and music are colours too.
    fn is_coloured(&self, values: Values<'_>) -> bool {
        if self.colour.is_none() {
            return false;
        }
        match &self.mode {
            Some(mode) => values.word(mode).is_some_and(|mode| mode != WHITE),
            None => self.brightness.is_none() && self.temperature.is_none(),
        }
    }

    fn brightness(&self, values: Values<'_>) -> Option<f64> {
        let found = self.brightness.as_ref()?;
        let raw = float(values.integer(&found.code)?);
        Some(remapped(raw, self.bounds(found, values), (1.0, 255.0)).clamp(1.0, 255.0))
    }

    /// Returns the unscaled brightness between which the light really moves.
    fn bounds(&self, found: &Ranged, values: Values<'_>) -> (f64, f64) {
        let all = floats(found.range);
        let limited = self.limits.as_ref().and_then(|(least, greatest)| {
            let bound = |limit: &Ranged| {
                Some(remapped(
                    float(values.integer(&limit.code)?),
                    floats(limit.range),
                    all,
                ))
            };
            Some((bound(least)?, bound(greatest)?))
        });
        limited
            .filter(|(least, greatest)| least < greatest)
            .unwrap_or(all)
    }
}

impl Colour {
    fn new(point: &Point, thousand: bool) -> Self {
        let top = if thousand || point.code.ends_with("_v2") {
            1000.0
        } else {
            255.0
        };
        let declared = |part: &str, usual: (f64, f64)| {
            let part = point.fields.as_ref().and_then(|fields| fields.get(part));
            let limit = |name: &str| part.and_then(|part| part.get(name)).and_then(Json::as_f64);
            match (limit("min"), limit("max")) {
                (Some(min), Some(max)) if min < max => (min, max),
                _ => usual,
            }
        };
        Self {
            code: point.code.clone(),
            hue: declared("h", (0.0, 360.0)),
            saturation: declared("s", (0.0, top)),
            value: declared("v", (0.0, top)),
            hexadecimal: matches!(point.spec(), Spec::String { .. }),
        }
    }

    fn read(&self, values: Values<'_>) -> Option<Hsv> {
        let value = values.raw(&self.code)?;
        let (h, s, v) = match value.as_string() {
            Some(text) if self.hexadecimal => digits(&text)?,
            Some(text) => parts(&serde_json::from_str(&text).ok()?)?,
            None => parts(&serde_json::from_str(&value.json()).ok()?)?,
        };
        Some(Hsv {
            hue: remapped(h, self.hue, (0.0, 360.0)).clamp(0.0, 360.0),
            saturation: remapped(s, self.saturation, (0.0, 100.0)).clamp(0.0, 100.0),
            brightness: remapped(v, self.value, (0.0, 255.0)).clamp(1.0, 255.0),
        })
    }

    fn write(&self, wanted: Hsv, values: Values<'_>) -> Result<Reading, String> {
        let h = whole(remapped(wanted.hue, (0.0, 360.0), self.hue));
        let s = whole(remapped(wanted.saturation, (0.0, 100.0), self.saturation));
        let v = whole(remapped(wanted.brightness, (0.0, 255.0), self.value));
        let now = values.raw(&self.code);
        if self.hexadecimal {
            let long = now
                .and_then(|value| value.as_string())
                .is_some_and(|text| text.len() == 14);
            let text = if long {
                let (red, green, blue) = rgb(wanted.hue, wanted.saturation);
                let level = wanted.brightness / 255.0;
                let dimmed = |part: i64| whole(float(part) * level);
                format!(
                    "{:02x}{:02x}{:02x}{h:04x}{s:02x}{v:02x}",
                    dimmed(red),
                    dimmed(green),
                    dimmed(blue)
                )
            } else {
                format!("{h:04x}{s:04x}{v:04x}")
            };
            return Ok(Reading::new(self.code.as_str(), Value::from(text.as_str())));
        }
        let text = json!({"h": h, "s": s, "v": v}).to_string();
        // As the device itself does it: an object, or a string that holds one.
        let string =
            now.is_some_and(|value| value.as_string().is_some_and(|text| text.starts_with('{')));
        let value = if string {
            Value::from(text.as_str())
        } else {
            Value::parse(&text).map_err(|error| error.to_string())?
        };
        Ok(Reading::new(self.code.as_str(), value))
    }
}

fn parts(json: &Json) -> Option<(f64, f64, f64)> {
    let part = |name: &str| json.get(name).and_then(Json::as_f64);
    Some((part("h")?, part("s")?, part("v")?))
}

/// Reads `hhhhssssvvvv` or `rrggbbhhhhssvv`.
fn digits(text: &str) -> Option<(f64, f64, f64)> {
    let part = |from: usize, to: usize| {
        let number = u16::from_str_radix(text.get(from..to)?, 16).ok()?;
        Some(f64::from(number))
    };
    match text.len() {
        12 => Some((part(0, 4)?, part(4, 8)?, part(8, 12)?)),
        14 => Some((part(6, 10)?, part(10, 12)?, part(12, 14)?)),
        _ => None,
    }
}

/// Returns hue in degrees and saturation in percent as red, green and blue at full brightness.
fn rgb(hue: f64, saturation: f64) -> (i64, i64, i64) {
    let saturation = saturation / 100.0;
    let channel = |offset: f64| {
        let k = (offset + hue / 60.0).rem_euclid(6.0);
        whole(255.0 * (1.0 - saturation * k.min(4.0 - k).clamp(0.0, 1.0)))
    };
    (channel(5.0), channel(3.0), channel(1.0))
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn floats(range: (i64, i64)) -> (f64, f64) {
    (float(range.0), float(range.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_wheel() {
        for (hue, saturation, expected) in [
            (0.0, 100.0, (255, 0, 0)),
            (120.0, 100.0, (0, 255, 0)),
            (240.0, 100.0, (0, 0, 255)),
            (60.0, 100.0, (255, 255, 0)),
            (360.0, 100.0, (255, 0, 0)),
            (30.0, 0.0, (255, 255, 255)),
            (27.0, 100.0, (255, 115, 0)),
        ] {
            assert_eq!(rgb(hue, saturation), expected, "{hue} {saturation}");
        }
    }

    #[test]
    fn both_hexadecimal_forms_are_read() {
        assert_eq!(digits("00e6012c01f4"), Some((230.0, 300.0, 500.0)));
        assert_eq!(digits("bd76000168ffff"), Some((360.0, 255.0, 255.0)));
        assert_eq!(digits("xyz"), None);
        assert_eq!(digits("ääääääa"), None);
    }
}
