//! The header of a WebSocket frame (RFC 6455 section 5.2) and masking.

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further part of a fragmented message.
    Continuation,
    /// A text message or its first part.
    Text,
    /// A binary message or its first part.
    Binary,
    /// The end of the connection.
    Close,
    /// A ping.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Tells whether it is a close, ping or pong.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The mask, which every frame of a client has and none of a server.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload.
    pub payload: u64,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A reserved bit is set although no extension was negotiated.
    #[error("a reserved bit is set")]
    Reserved,
    /// An opcode that RFC 6455 does not define.
    #[error("unknown opcode {0}")]
    Opcode(u8),
    /// A control frame that is fragmented or longer than 125 bytes.
    #[error("a control frame that is fragmented or too long")]
    Control,
    /// A length in more bytes than it needs, or over 63 bits.
    #[error("a length that is not in its shortest form")]
    Length,
}

impl Header {
    /// The most bytes a header takes.
    pub const MAX: usize = 14;

    /// Parses a header and its size in bytes; `None` where more bytes are needed.
    ///
    /// # Errors
    /// Where the bytes break RFC 6455.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(HeaderError::Reserved);
        }
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(HeaderError::Opcode(first & 0x0f))?;
        let fin = first & 0x80 != 0;
        let short = second & 0x7f;
        if opcode.is_control() && (!fin || short > 125) {
            return Err(HeaderError::Control);
        }
        let (payload, rest, mut size) = match short {
            126 => {
                let Some((length, rest)) = rest.split_first_chunk::<2>() else {
                    return Ok(None);
                };
                (u64::from(u16::from_be_bytes(*length)), rest, 4)
            }
            127 => {
                let Some((length, rest)) = rest.split_first_chunk::<8>() else {
                    return Ok(None);
                };
                (u64::from_be_bytes(*length), rest, 10)
            }
            short => (u64::from(short), rest, 2),
        };
        let shortest = match short {
            126 => payload > 125,
            127 => payload > u64::from(u16::MAX) && payload >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(HeaderError::Length);
        }
        let mask = if second & 0x80 == 0 {
            None
        } else {
            let Some((mask, _)) = rest.split_first_chunk::<4>() else {
                return Ok(None);
            };
            size += 4;
            Some(*mask)
        };
        Ok(Some((
            Self {
                fin,
                opcode,
                mask,
                payload,
            },
            size,
        )))
    }

    /// Appends the header to a buffer.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(if self.fin { 0x80 } else { 0 } | self.opcode.bits());
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        if let Ok(short) = u8::try_from(self.payload)
            && short <= 125
        {
            out.push(masked | short);
        } else if let Ok(length) = u16::try_from(self.payload) {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        } else {
            out.push(masked | 127);
            out.extend_from_slice(&self.payload.to_be_bytes());
        }
        if let Some(mask) = self.mask {
            out.extend_from_slice(&mask);
        }
    }
}

/// Applies a mask in place; applying it twice restores the bytes.
pub(super) fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for chunk in words {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_and_need_all_their_bytes() {
        for payload in [0, 1, 125, 126, 65_535, 65_536, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                for fin in [true, false] {
                    let header = Header {
                        fin,
                        opcode: Opcode::Binary,
                        mask,
                        payload,
                    };
                    let mut bytes = Vec::new();
                    header.write(&mut bytes);
                    assert!(bytes.len() <= Header::MAX);
                    assert_eq!(Header::parse(&bytes), Ok(Some((header, bytes.len()))));
                    for short in 0..bytes.len() {
                        assert_eq!(Header::parse(&bytes[..short]), Ok(None));
                    }
                }
            }
        }
    }

    #[test]
    fn what_breaks_the_rfc_is_refused() {
        assert_eq!(Header::parse(&[0xc2, 0]), Err(HeaderError::Reserved));
        assert_eq!(Header::parse(&[0x83, 0]), Err(HeaderError::Opcode(3)));
        assert_eq!(Header::parse(&[0x09, 0]), Err(HeaderError::Control));
        assert_eq!(Header::parse(&[0x89, 126]), Err(HeaderError::Control));
        assert_eq!(
            Header::parse(&[0x82, 126, 0, 125]),
            Err(HeaderError::Length)
        );
        assert_eq!(
            Header::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255]),
            Err(HeaderError::Length)
        );
        assert_eq!(
            Header::parse(&[0x82, 127, 255, 0, 0, 0, 0, 0, 0, 0]),
            Err(HeaderError::Length)
        );
    }
}
