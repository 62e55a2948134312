//! JSON read byte by byte, for the plain messages of `quick`: no error says why, nothing is guessed.
//!
//! Each function reads one thing at the current place and goes behind it, or gives `None`, after which the
//! scan is of no use. It takes less than JSON allows (no escapes in strings that it takes apart) and
//! nothing that JSON does not; what is neither a boolean, an integer nor a plain string is left to
//! `serde_json`.

use serde_json::value::RawValue;

use crate::limits::JSON_DEPTH_MAX;
use crate::model::{Value, nesting_exceeds, plain_len};

/// A place in a JSON text.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Reads an object; `field` reads the value of each field by its name.
    pub(super) fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &'a str) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.space() == Some(b'}') {
            self.at += 1;
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            field(self, name)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads an array; `item` reads each of its elements.
    pub(super) fn array<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.expect(b'[')?;
        if self.space() == Some(b']') {
            self.at += 1;
            return Some(Vec::new());
        }
        // Most arrays have one element: what stays in memory for a while is no larger.
        let mut items = Vec::with_capacity(1);
        loop {
            items.push(item(self)?);
            match self.next()? {
                b',' => {}
                b']' => return Some(items),
                _ => return None,
            }
        }
    }

    /// Reads a string that has no escapes.
    pub(super) fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        self.at += plain_len(self.text.as_bytes().get(start..)?);
        let content = self.text.get(start..self.at);
        let closed = self.byte() == Some(b'"');
        self.at += 1;
        content.filter(|_| closed)
    }

    /// Reads an integer within 64 bits.
    pub(super) fn integer(&mut self) -> Option<i64> {
        // Digits that fit whatever they are.
        const SAFE: usize = 18;
        let negative = self.space()? == b'-';
        let start = self.at;
        let begin = start + usize::from(negative);
        let rest = self.text.as_bytes().get(begin..)?;
        let mut number = 0i64;
        let mut digits = 0;
        let mut after = None;
        for byte in rest {
            if !byte.is_ascii_digit() {
                after = Some(*byte);
                break;
            }
            number = number.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
            digits += 1;
        }
        self.at = begin + digits;
        let zeros_in_front = digits > 1 && rest.first() == Some(&b'0');
        if digits == 0 || zeros_in_front || matches!(after, Some(b'.' | b'e' | b'E')) {
            return None;
        }
        match (digits > SAFE, negative) {
            (true, _) => self.text.get(start..self.at)?.parse().ok(),
            (false, true) => Some(-number),
            (false, false) => Some(number),
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        let (word, value) = match self.space()? {
            b't' => ("true", true),
            b'f' => ("false", false),
            _ => return None,
        };
        self.text.get(self.at..)?.strip_prefix(word)?;
        self.at += word.len();
        Some(value)
    }

    /// Reads any value, which lies within so many arrays and objects.
    pub(super) fn value(&mut self, depth: usize) -> Option<Value> {
        match self.space()? {
            b't' | b'f' => self.boolean().map(Value::from),
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                if let Some(number) = self.integer()
                    && self.text.get(start..self.at) != Some("-0")
                {
                    return Some(Value::from(number));
                }
                self.at = start;
                self.raw_value(depth).map(Value::from_raw)
            }
            _ => self.raw_value(depth).map(Value::from_raw),
        }
    }

    /// Reads the text of any value, which lies within so many arrays and objects.
    pub(super) fn raw(&mut self, depth: usize) -> Option<&'a str> {
        self.raw_value(depth).map(RawValue::get)
    }

    fn raw_value(&mut self, depth: usize) -> Option<&'a RawValue> {
        self.space();
        let rest = self.text.get(self.at..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let raw = values.next()?.ok()?;
        self.at += values.byte_offset();
        let limit = JSON_DEPTH_MAX.checked_sub(depth)?;
        (!nesting_exceeds(raw.get().as_bytes(), limit)).then_some(raw)
    }

    /// Reads the end of the text.
    pub(super) fn end(&mut self) -> Option<()> {
        self.space().is_none().then_some(())
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes behind white space and returns the byte there.
    #[inline]
    fn space(&mut self) -> Option<u8> {
        match self.byte() {
            Some(b' ' | b'\t' | b'\n' | b'\r') => self.skip_space(),
            byte => byte,
        }
    }

    #[cold]
    fn skip_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Returns the next byte that is no white space, and goes behind it.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.space()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }
}
