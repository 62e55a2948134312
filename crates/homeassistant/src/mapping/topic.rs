//! Names within topics, state objects and templates. A data point's code can be any text; here it is
//! made safe, and made whole again.

use std::fmt::Write;

/// The key of a state object under which is what templates cannot derive.
pub(crate) const DERIVED: &str = "@";

/// Returns a code as a key of the state object: `@` begins our own key, so a code's is doubled.
pub(crate) fn state_key(code: &str) -> String {
    if code.starts_with('@') {
        format!("@{code}")
    } else {
        code.to_owned()
    }
}

/// Returns a text as one level of a topic: `/`, `+`, `#`, `@`, `%` and controls are escaped.
pub(crate) fn level(text: &str) -> String {
    let mut level = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '/' | '+' | '#' | '@' | '%') || character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(level, "%{byte:02X}");
            }
        } else {
            level.push(character);
        }
    }
    level
}

/// Returns what [`level`] escaped; what is no escape stays.
pub(crate) fn unlevel(level: &str) -> String {
    let mut bytes = Vec::with_capacity(level.len());
    let mut rest = level.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns a text as a string literal of a template.
pub(crate) fn literal(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                literal.push('\\');
                literal.push(character);
            }
            // No text of a device may end or begin a template.
            '{' | '}' | '%' => {
                let _ = write!(literal, "\\x{:02x}", u32::from(character));
            }
            _ if character.is_control() => {
                let _ = write!(literal, "\\u{:04x}", u32::from(character));
            }
            _ => literal.push(character),
        }
    }
    literal.push('"');
    literal
}

/// Returns texts as a list of a template.
pub(crate) fn list(texts: &[String]) -> String {
    let literals: Vec<String> = texts.iter().map(|text| literal(text)).collect();
    format!("[{}]", literals.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_a_topic() {
        for code in ["switch_1", "a/b", "50%", "x@y", "#+", "℃ ä", "%41", ""] {
            let level = level(code);
            assert!(!level.contains(['/', '+', '#', '@']), "{level}");
            assert_eq!(unlevel(&level), code);
        }
        assert_eq!(unlevel("100%"), "100%");
    }

    #[test]
    fn a_template_cannot_be_ended_from_within() {
        assert_eq!(literal("a\"b\\c"), "\"a\\\"b\\\\c\"");
        assert!(!literal("}}{{ x %}").contains("}}"));
    }
}
