//! Bytes to messages: reassembly, unmasking, control frames, the size limit.
//!
//! The buffer holds only what has not been consumed; it is given back when that is nothing.

use std::ops::Range;

use super::frame::{Header, HeaderError, Opcode, apply_mask};

/// What came out of the byte stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A whole text or binary message; its content may be changed in place.
    Message {
        /// Whether it is text.
        text: bool,
        /// The content.
        payload: &'a mut [u8],
    },
    /// A ping to be answered with the same content.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// The peer closes, with its code if it gave one, and its reason.
    Close {
        /// The close code.
        code: Option<u16>,
        /// The reason, as far as it is text.
        reason: String,
    },
}

/// Why a byte stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The peer breaks RFC 6455.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// A frame of a client without a mask, or of a server with one.
    #[error("a frame with the wrong masking for its direction")]
    Masking,
    /// A continuation of nothing, or a new message within a fragmented one.
    #[error("fragments out of order")]
    Fragments,
    /// A close frame whose body is no code and text.
    #[error("a malformed close frame")]
    Close,
    /// A message over the limit.
    #[error("a message of over {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Turns the bytes of one direction into messages.
#[derive(Debug)]
pub struct Framer {
    expect_masked: bool,
    limit: usize,
    buffer: Vec<u8>,
    /// Where in `buffer` unconsumed bytes begin.
    start: usize,
    /// The parts of a fragmented message so far.
    partial: Option<Partial>,
    /// The content of a fragmented message that was handed out.
    joined: Vec<u8>,
}

#[derive(Debug)]
struct Partial {
    text: bool,
    content: Vec<u8>,
}

/// Capacity that an empty buffer may keep.
const KEEP: usize = 512;

impl Framer {
    /// Makes a framer for what a client sends (masked) or for what a server sends.
    pub fn new(expect_masked: bool, limit: usize) -> Self {
        Self {
            expect_masked,
            limit,
            buffer: Vec::new(),
            start: 0,
            partial: None,
            joined: Vec::new(),
        }
    }

    /// Sets the largest message from now on, in bytes as they travel.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        // A caller that always stays behind must not keep what it has consumed. Moving at most as
        // many bytes as were consumed keeps the whole linear.
        if self.start >= KEEP && self.start >= self.buffered() {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns how many bytes wait to be consumed.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Returns the next message or control frame; `None` where more bytes are needed.
    ///
    /// # Errors
    /// Where the stream breaks RFC 6455 or the size limit; nothing can follow.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, FramingError> {
        self.joined = Vec::new();
        loop {
            let Some((header, range)) = self.next_frame()? else {
                self.give_back();
                return Ok(None);
            };
            self.start = range.end;
            let payload = self.buffer.get_mut(range.clone()).unwrap_or_default();
            if let Some(mask) = header.mask {
                apply_mask(payload, mask);
            }
            match header.opcode {
                Opcode::Ping => return Ok(Some(Item::Ping(payload.to_vec()))),
                Opcode::Pong => return Ok(Some(Item::Pong)),
                Opcode::Close => return close(payload).map(Some),
                Opcode::Continuation => {
                    let partial = self.partial.as_mut().ok_or(FramingError::Fragments)?;
                    partial.content.extend_from_slice(payload);
                }
                Opcode::Text | Opcode::Binary if self.partial.is_some() => {
                    return Err(FramingError::Fragments);
                }
                opcode @ (Opcode::Text | Opcode::Binary) => {
                    let text = opcode == Opcode::Text;
                    if header.fin {
                        // Borrowed anew: the borrow checker cannot see that the loop ends here.
                        let payload = self.buffer.get_mut(range).unwrap_or_default();
                        return Ok(Some(Item::Message { text, payload }));
                    }
                    self.partial = Some(Partial {
                        text,
                        content: payload.to_vec(),
                    });
                }
            }
            if header.fin
                && let Some(Partial { text, content }) = self.partial.take()
            {
                self.joined = content;
                let payload = &mut self.joined;
                return Ok(Some(Item::Message { text, payload }));
            }
        }
    }

    /// Finds the next whole frame: its header and where its payload lies.
    fn next_frame(&mut self) -> Result<Option<(Header, Range<usize>)>, FramingError> {
        let waiting = self.buffer.get(self.start..).unwrap_or_default();
        let Some((header, size)) = Header::parse(waiting)? else {
            return Ok(None);
        };
        if header.mask.is_some() != self.expect_masked {
            return Err(FramingError::Masking);
        }
        let before = match header.opcode {
            Opcode::Continuation => self.partial.as_ref().map_or(0, |p| p.content.len()),
            _ => 0,
        };
        let payload = usize::try_from(header.payload).unwrap_or(usize::MAX);
        if !header.opcode.is_control() && payload.saturating_add(before) > self.limit {
            return Err(FramingError::TooLarge { limit: self.limit });
        }
        if waiting.len() - size < payload {
            return Ok(None);
        }
        let begin = self.start + size;
        Ok(Some((header, begin..begin + payload)))
    }

    /// Drops consumed bytes, and the buffer's memory where little or nothing is left.
    fn give_back(&mut self) {
        self.buffer.drain(..self.start);
        self.start = 0;
        // A message on its way doubles the capacity at most, so that this never makes it slow.
        if self.buffer.capacity() / 4 > self.buffer.len().max(KEEP / 4) {
            self.buffer.shrink_to(self.buffer.len());
        }
    }
}

fn close(payload: &[u8]) -> Result<Item<'static>, FramingError> {
    match payload.split_first_chunk::<2>() {
        None if payload.is_empty() => Ok(Item::Close {
            code: None,
            reason: String::new(),
        }),
        None => Err(FramingError::Close),
        Some((code, reason)) => {
            let code = u16::from_be_bytes(*code);
            let reason = std::str::from_utf8(reason).map_err(|_| FramingError::Close)?;
            Ok(Item::Close {
                code: Some(code),
                reason: reason.to_owned(),
            })
        }
    }
}

/// Appends one whole frame, masked where a mask is given.
pub(crate) fn write_frame(
    out: &mut Vec<u8>,
    opcode: Opcode,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    write_header(out, opcode, payload.len(), mask);
    let start = out.len();
    out.extend_from_slice(payload);
    mask_tail(out, start, mask);
}

/// Appends the header of a whole frame, whose payload the caller appends.
pub(crate) fn write_header(
    out: &mut Vec<u8>,
    opcode: Opcode,
    length: usize,
    mask: Option<[u8; 4]>,
) {
    let payload = u64::try_from(length).unwrap_or(u64::MAX);
    Header {
        fin: true,
        opcode,
        mask,
        payload,
    }
    .write(out);
}

/// Masks what a buffer holds from `start` on.
pub(crate) fn mask_tail(out: &mut [u8], start: usize, mask: Option<[u8; 4]>) {
    if let (Some(mask), Some(tail)) = (mask, out.get_mut(start..)) {
        apply_mask(tail, mask);
    }
}

#[cfg(test)]
mod tests;
