//! Small tools on JSON text that must stay as it is: depth, white space, strings.

use std::io::Write;

/// Tells whether arrays and objects of a JSON text are nested deeper than `limit`.
///
/// Iterative, so that hostile input cannot exhaust the stack; the usual message has so few brackets
/// that counting them is enough.
pub(crate) fn nesting_exceeds(text: &[u8], limit: usize) -> bool {
    let opening = text
        .iter()
        .filter(|&&byte| byte == b'[' || byte == b'{')
        .count();
    if opening <= limit {
        return false;
    }
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for &byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Removes the white space between the tokens of a JSON text; strings and numbers stay to the byte.
pub fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for character in text.chars() {
        if in_string {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            out.push(character);
        } else if !matches!(character, ' ' | '\t' | '\n' | '\r') {
            in_string = character == '"';
            out.push(character);
        }
    }
    out
}

/// Cuts what another side said where it is too long for a message or a log.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// Returns how many bytes in front stand for themselves in a JSON string: up to the first quote, backslash
/// or control character.
#[inline]
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special_bits(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = |byte: &&u8| **byte >= 0x20 && **byte != b'"' && **byte != b'\\';
    words.len() * 8 + rest.iter().take_while(plain).count()
}

/// Marks the first byte of eight (the lowest is the first) that is a quote, a backslash or below 0x20, in
/// its highest bit. Bytes behind that one may be marked wrongly.
fn special_bits(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let quote = word ^ u64::from_le_bytes([b'"'; 8]);
    let backslash = word ^ u64::from_le_bytes([b'\\'; 8]);
    // Below n: the subtraction turns the highest bit on where it was off; n is 1 for a byte that is zero.
    let control = word.wrapping_sub(u64::from_le_bytes([0x20; 8])) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS
}

/// Writes a string as JSON, with quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    if plain_len(text.as_bytes()) == text.len() {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else if serde_json::to_writer(&mut *out, text).is_err() {
        // Writing a `str` to a `Vec` cannot fail; an empty string keeps the message well formed.
        let _ = out.write_all(b"\"\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!nesting_exceeds(nested(64).as_bytes(), 64));
        assert!(nesting_exceeds(nested(65).as_bytes(), 64));
        let flat = format!("[{}0]", "[],".repeat(100));
        assert!(!nesting_exceeds(flat.as_bytes(), 64));
        let in_string = format!("{{\"a\":\"{}\\\"[\"}}", "[".repeat(100));
        assert!(!nesting_exceeds(in_string.as_bytes(), 64));
    }

    #[test]
    fn the_first_byte_that_is_not_plain_is_found_wherever_it_is() {
        for length in 0..40 {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut text = vec![b'~'; length];
                    text[place] = byte;
                    // What follows must not matter.
                    for behind in place + 1..length {
                        text[behind] = [0x00, b'"', 0xff, 0x20, b'\\'][behind % 5];
                    }
                    let next = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
                    let expected = text.iter().position(next).unwrap_or(length);
                    assert_eq!(plain_len(&text), expected, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn compact_keeps_strings_and_numbers() {
        assert_eq!(
            compact("{ \"a b\" :\n [1.50 , \"x \\\" y\"] }"),
            "{\"a b\":[1.50,\"x \\\" y\"]}"
        );
    }
}
