//! Values both ways: as the device has them, and as the gateway's protocol has them.
//!
//! Nearly all are the same on both sides and go through to the byte: booleans, unscaled integers, words,
//! base64. The exceptions are points of type Json, which devices hold as text: JSON in a string, or a
//! colour in hexadecimal digits. How a device holds one is seen from what it reports.

use hearthgate_protocol::model::{Spec, Value, compact};

use crate::points::Point;

/// How a device holds a point of type Json.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// It has not been seen yet.
    #[default]
    Unseen,
    /// JSON in a string.
    Text,
    /// JSON.
    Object,
    /// A colour as `hhhhssssvvvv`: degrees, and saturation and value in thousandths.
    Colour12,
    /// A colour as `rrggbbhhhhssvv`: saturation and value of 255.
    Colour14,
}

/// Returns a device's value as the gateway's protocol has it, and how the device holds it.
pub(crate) fn reported(point: &Point, value: &Value, form: Form) -> (Value, Form) {
    if *point.declared.spec() != Spec::Json {
        return (value.clone(), form);
    }
    let Some(text) = value.as_string() else {
        return (value.clone(), Form::Object);
    };
    if is_colour(point)
        && let Some((form, colour)) = Colour::parse(&text)
    {
        return (colour.json(), form);
    }
    let form = match Value::parse(&text) {
        Ok(_) => Form::Text,
        // Neither JSON nor a colour: an empty text, mostly.
        Err(_) => form,
    };
    (value.clone(), form)
}

/// Returns a value of the gateway's protocol as the device wants it.
pub(crate) fn written(point: &Point, value: &Value, form: Form) -> Value {
    if *point.declared.spec() != Spec::Json {
        return value.clone();
    }
    let inner = match value.as_string() {
        Some(text) => Value::parse(&text).ok(),
        None => Some(value.clone()),
    };
    let Some(inner) = inner else {
        return value.clone();
    };
    let form = match form {
        Form::Unseen if is_colour(point) => guessed(point),
        form => form,
    };
    let colour = || Colour::from_json(&inner);
    match form {
        Form::Object => inner,
        Form::Colour12 | Form::Colour14 => match colour() {
            Some(colour) => Value::from(colour.text(form).as_str()),
            None => Value::from(compact(&inner.json()).as_str()),
        },
        // A text that was written stays to the byte.
        Form::Text | Form::Unseen => match value.as_string() {
            Some(_) => value.clone(),
            None => Value::from(compact(&inner.json()).as_str()),
        },
    }
}

/// Tells whether a value that the device shows is the one that was written.
pub(crate) fn is_same(written: &Value, shown: &Value) -> bool {
    if written == shown {
        return true;
    }
    let parsed = |value: &Value| serde_json::from_str::<serde_json::Value>(&value.json()).ok();
    match (parsed(written), parsed(shown)) {
        (Some(serde_json::Value::String(written)), Some(serde_json::Value::String(shown))) => {
            let digits = written.bytes().all(|byte| byte.is_ascii_hexdigit());
            written == shown || (digits && written.eq_ignore_ascii_case(&shown))
        }
        (Some(serde_json::Value::Number(written)), Some(serde_json::Value::Number(shown))) => {
            written.as_f64() == shown.as_f64()
        }
        (Some(written), Some(shown)) => written == shown,
        _ => false,
    }
}

fn is_colour(point: &Point) -> bool {
    let code = point.declared.code().as_str();
    code.starts_with("colour_data") || code.starts_with("color_data")
}

/// Returns how a colour is held by a device that has not shown it yet: the newer form, unless the
/// declaration ends at 255.
fn guessed(point: &Point) -> Form {
    let values = point.declared.values();
    let text = values.as_string().unwrap_or_else(|| values.json());
    let most = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|values| values.get("s")?.get("max")?.as_u64());
    match most {
        Some(255) => Form::Colour14,
        _ => Form::Colour12,
    }
}

/// A colour in the units of its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour {
    hue: u16,
    saturation: u16,
    value: u16,
}

impl Colour {
    fn parse(text: &str) -> Option<(Form, Self)> {
        let part = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u16::from_str_radix(digits, 16).ok().filter(|_| plain)
        };
        match text.len() {
            12 => Some((
                Form::Colour12,
                Self {
                    hue: part(0, 4)?,
                    saturation: part(4, 8)?,
                    value: part(8, 12)?,
                },
            )),
            14 => {
                part(0, 3).and(part(3, 6))?;
                Some((
                    Form::Colour14,
                    Self {
                        hue: part(6, 10)?,
                        saturation: part(10, 12)?,
                        value: part(12, 14)?,
                    },
                ))
            }
            _ => None,
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let fields: serde_json::Value = serde_json::from_str(&value.json()).ok()?;
        let part = |name: &str| fields.get(name)?.as_u64()?.try_into().ok();
        Some(Self {
            hue: part("h")?,
            saturation: part("s")?,
            value: part("v")?,
        })
    }

    fn json(self) -> Value {
        let Self {
            hue,
            saturation,
            value,
        } = self;
        let text = format!("{{\"h\":{hue},\"s\":{saturation},\"v\":{value}}}");
        Value::parse(&text).unwrap_or_else(|_| Value::from(text.as_str()))
    }

    fn text(self, form: Form) -> String {
        let Self {
            hue,
            saturation,
            value,
        } = self;
        if form == Form::Colour14 {
            let (saturation, value) = (saturation.min(255), value.min(255));
            let [red, green, blue] = self.rgb();
            format!("{red:02x}{green:02x}{blue:02x}{hue:04x}{saturation:02x}{value:02x}")
        } else {
            format!("{hue:04x}{saturation:04x}{value:04x}")
        }
    }

    /// Returns red, green and blue, where saturation and value are of 255.
    fn rgb(self) -> [u8; 3] {
        let hue = u32::from(self.hue % 360);
        let most = u32::from(self.value.min(255));
        let least = most - most * u32::from(self.saturation.min(255)) / 255;
        // What the hue has risen within its sixth of the circle.
        let risen = (most - least) * (hue % 60) / 60;
        let (up, down) = (least + risen, most - risen);
        let channels = match hue / 60 {
            0 => [most, up, least],
            1 => [down, most, least],
            2 => [least, most, up],
            3 => [least, down, most],
            4 => [up, least, most],
            _ => [most, least, down],
        };
        channels.map(|channel| u8::try_from(channel).unwrap_or(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::points::Access;

    fn point(code: &str, type_name: &str, values: &str) -> Point {
        Point::new(code, type_name, values, Access::BOTH)
    }

    fn json(text: &str) -> Value {
        Value::parse(text).unwrap()
    }

    /// Checks what is reported for a device's value, and that a write of it gives that value back.
    fn round(point: &Point, device: &str, expected: &str) {
        let (value, form) = reported(point, &json(device), Form::Unseen);
        assert_eq!(value.json(), expected);
        assert_eq!(written(point, &value, form).json(), device);
    }

    #[test]
    fn most_types_go_through_to_the_byte() {
        for (type_name, value) in [
            ("Boolean", "true"),
            ("Integer", "-215"),
            ("Integer", "21.50"),
            ("Enum", "\"colour\""),
            ("String", "\"a \\u00e9 \\\"b\\\"\""),
            ("Raw", "\"AAECA/8=\""),
            ("Bitmap", "5"),
            ("Unheard", "[1,2]"),
        ] {
            round(&point("p", type_name, "{}"), value, value);
        }
    }

    #[test]
    fn json_in_a_string_stays_one_and_objects_become_one() {
        let text = r#""{\"scene_num\":1, \"units\":[]}""#;
        let scene = point("scene_data", "Json", "{}");
        round(&scene, text, text);
        let object = json(r#"{"scene_num": 2}"#);
        let expected = r#""{\"scene_num\":2}""#;
        assert_eq!(written(&scene, &object, Form::Text).json(), expected);
        assert_eq!(written(&scene, &object, Form::Unseen).json(), expected);
        round(&scene, r#"{"scene_num":3}"#, r#"{"scene_num":3}"#);
        let as_text = Value::from(r#"{"a":1}"#);
        assert_eq!(written(&scene, &as_text, Form::Object).json(), r#"{"a":1}"#);
    }

    #[test]
    fn colours_are_objects_on_our_side() {
        let colour = point("colour_data_v2", "Json", "{}");
        round(&colour, "\"014a03e803a9\"", r#"{"h":330,"s":1000,"v":937}"#);
        let older = point("colour_data", "Json", r#"{"s":{"max":255}}"#);
        round(&older, "\"ff00000000ffff\"", r#"{"h":0,"s":255,"v":255}"#);
        round(&older, "\"00ff000078ffff\"", r#"{"h":120,"s":255,"v":255}"#);
        let wanted = json(r#"{"h":240,"s":255,"v":128}"#);
        assert_eq!(
            written(&older, &wanted, Form::Unseen).json(),
            "\"00008000f0ff80\""
        );
        assert_eq!(
            written(&colour, &wanted, Form::Unseen).json(),
            "\"00f000ff0080\""
        );
        // What is no colour goes on as it is.
        round(&colour, "\"\"", "\"\"");
    }

    #[test]
    fn values_are_compared_by_what_they_mean() {
        for (written, shown, same) in [
            ("1", "1", true),
            ("1", "1.0", true),
            ("\"00F0\"", "\"00f0\"", true),
            ("\"On\"", "\"on\"", false),
            ("{\"a\":1,\"b\":2}", "{ \"b\":2,\"a\":1 }", true),
            ("true", "1", false),
        ] {
            assert_eq!(
                is_same(&json(written), &json(shown)),
                same,
                "{written} {shown}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_colour_comes_back_as_it_was(hue in 0u16..=360, saturation in 0u16..=1000, value in 0u16..=1000) {
            let colour = point("colour_data_v2", "Json", "{}");
            let text = format!("\"{hue:04x}{saturation:04x}{value:04x}\"");
            round(&colour, &text, &format!("{{\"h\":{hue},\"s\":{saturation},\"v\":{value}}}"));
        }

        #[test]
        fn an_older_colour_keeps_hue_saturation_and_value(hue in 0u16..=360, saturation in 0u16..=255, value in 0u16..=255) {
            let colour = point("colour_data", "Json", r#"{"s":{"max":255}}"#);
            let wanted = Value::parse(&format!("{{\"h\":{hue},\"s\":{saturation},\"v\":{value}}}")).unwrap();
            let text = written(&colour, &wanted, Form::Unseen);
            prop_assert_eq!(reported(&colour, &text, Form::Unseen), (wanted, Form::Colour14));
        }

        #[test]
        fn any_text_survives_both_ways(text: String) {
            for type_name in ["String", "Enum", "Raw"] {
                let plain = point("p", type_name, "{}");
                let device = Value::from(text.as_str());
                let (value, form) = reported(&plain, &device, Form::Unseen);
                prop_assert_eq!(&written(&plain, &value, form), &device);
            }
            for type_name in ["Json", "Integer"] {
                let odd = point("colour_data", type_name, &text);
                let (value, form) = reported(&odd, &Value::from(text.as_str()), Form::Unseen);
                written(&odd, &value, form);
            }
        }

        #[test]
        fn any_number_survives_both_ways(number: i64) {
            for type_name in ["Integer", "Bitmap"] {
                let plain = point("p", type_name, "{}");
                let (value, form) = reported(&plain, &Value::from(number), Form::Unseen);
                prop_assert_eq!(written(&plain, &value, form), Value::from(number));
            }
        }
    }
}
