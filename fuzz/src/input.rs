//! Pieces, numbers and records out of a fuzzer's bytes, in forms that a person can write as well.

use arbitrary::{Arbitrary, Unstructured};

/// How a stream is cut into pieces: the same way for the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    state: u64,
    longest: usize,
}

impl Cuts {
    /// The most bytes that a caller hands over at once.
    pub const WHOLE: usize = 16 * 1024;

    /// Makes pieces as large as a caller's buffer.
    pub fn whole() -> Self {
        Self {
            state: 0,
            longest: 0,
        }
    }

    /// Makes pieces of random sizes; the seed decides how small they are.
    pub fn seeded(seed: u8) -> Self {
        let longest = [1, 3, 20, 300][usize::from(seed % 4)];
        Self {
            state: u64::from(seed),
            longest,
        }
    }

    /// Cuts the next piece off the front of `rest`.
    pub fn piece<'a>(&mut self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let size = if self.longest == 0 {
            Self::WHOLE
        } else {
            // A linear congruential generator: any will do, it only has to be repeatable.
            self.state = self
                .state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(1);
            // Of a long stream no more than some hundreds.
            let longest = self.longest.max(rest.len() / 256);
            1 + usize::try_from(self.state >> 33).unwrap_or(0) % longest
        };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        *rest = after;
        (!piece.is_empty()).then_some(piece)
    }
}

/// Reads a number: decimal digits are what they say, any other byte counts as some digit.
pub fn number(text: &[u8]) -> u64 {
    text.iter().take(7).fold(0, |number, byte| {
        number * 10 + u64::from(byte.wrapping_sub(b'0') % 10)
    })
}

/// Splits at every `separator`.
pub fn records<'a>(data: &'a [u8], separator: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let all = rest?;
        match all.windows(separator.len()).position(|at| at == separator) {
            Some(end) => {
                rest = all.get(end + separator.len()..);
                all.get(..end)
            }
            None => rest.take(),
        }
    })
}

/// A JSON value, the ordinary and the odd.
#[derive(Arbitrary, Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// One of [`ODD`].
    Odd(u8),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object; names may be doubled.
    Object(Vec<(String, Json)>),
}

/// JSON texts that are well formed and that some parser somewhere does not like.
pub const ODD: [&str; 12] = [
    "-0",
    "1.0",
    "1e400",
    "-1e-400",
    "1.50",
    "9223372036854775808",
    "123456789012345678901234567890123456789",
    "\"\\ud800\"",
    "\"\\u0000\\/\"",
    "{\"\\ud800\":1}",
    "[ ]",
    "{ \"a\" : [ 1 ] }",
];

impl Json {
    /// Writes the value as JSON.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(number) => out.push_str(&number.to_string()),
            Self::Odd(index) => out.push_str(ODD[usize::from(*index) % ODD.len()]),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (index, (name, item)) in fields.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    out.push_str(&quoted(name));
                    out.push(':');
                    item.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Returns a text as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Makes a value of the bytes, if there are enough of them.
pub fn arbitrary<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(data)).ok()
}

/// Returns the deepest nesting of arrays and objects in a JSON text.
pub fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                while let Some(inner) = characters.next() {
                    match inner {
                        '\\' => drop(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '[' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
