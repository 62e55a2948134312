//! Any stream of frames in any pieces: the framer finds what a plain reader written from RFC 6455
//! section 5 finds, and never holds more than one message.
//!
//! Input: flags (bit 0: masked, bit 1: the rest describes well-formed frames), limit, seed of the
//! cuts, then the stream or the descriptions.

use hearthgate_protocol::websocket::{Framer, FramingError, Header, HeaderError, Item, Opcode};

use crate::input::Cuts;

const LIMITS: [usize; 8] = [0, 1, 125, 126, 300, 4096, 65_536, 1 << 20];

/// What a stream holds, by the plain reader.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole message.
    Message {
        /// Whether it is text.
        text: bool,
        /// Its content, unmasked.
        payload: Vec<u8>,
    },
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A close, after which nothing is read.
    Close {
        /// Its code.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
}

/// Runs the target.
///
/// # Panics
/// Where a property does not hold.
pub fn run(data: &[u8]) {
    let [flags, limit, seed, rest @ ..] = data else {
        return;
    };
    let masked = flags & 1 != 0;
    let limit = LIMITS[usize::from(*limit) % LIMITS.len()];
    let stream = if flags & 2 == 0 {
        rest.to_vec()
    } else {
        let (stream, meant) = describe(rest, masked);
        let (found, end) = read(&stream, masked, usize::MAX);
        assert_eq!((found, end), (meant, Ok(0)), "the plain reader is wrong");
        stream
    };
    headers_survive(&stream);
    let (expected, end) = read(&stream, masked, limit);
    for cuts in [Cuts::whole(), Cuts::seeded(*seed)] {
        check(&stream, masked, limit, cuts, &expected, &end);
    }
}

fn check(
    stream: &[u8],
    masked: bool,
    limit: usize,
    mut cuts: Cuts,
    expected: &[Part],
    end: &Result<usize, FramingError>,
) {
    let mut framer = Framer::new(masked, limit);
    let mut rest = stream;
    let mut parts = expected.iter();
    let mut pushed = 0;
    let mut ended = false;
    let mut largest = 0;
    let used = allocation_counter::measure(|| {
        while let Some(piece) = cuts.piece(&mut rest) {
            largest = largest.max(piece.len());
            framer.push(piece);
            pushed += piece.len();
            assert!(framer.buffered() <= pushed, "more waits than came");
            loop {
                match framer.next_item() {
                    Ok(Some(item)) => {
                        let part = parts.next().expect("an item that is not in the stream");
                        assert!(is(&item, part), "{item:?} instead of {part:?}");
                        if let Item::Message { payload, .. } = &item {
                            assert!(payload.len() <= limit, "a message over the limit");
                        }
                        if matches!(item, Item::Close { .. }) {
                            ended = true;
                            return;
                        }
                    }
                    Ok(None) => {
                        let most = Header::MAX + limit.max(125);
                        assert!(framer.buffered() < most, "more waits than one frame");
                        break;
                    }
                    Err(error) => {
                        assert_eq!(
                            end.as_ref(),
                            Err(&error),
                            "another fault than in the stream"
                        );
                        ended = true;
                        return;
                    }
                }
            }
        }
    });
    assert_eq!(parts.next(), None, "an item of the stream was not found");
    if !ended {
        assert_eq!(
            end,
            &Ok(framer.buffered()),
            "what waits is not the rest of the stream"
        );
    }
    // The buffer (doubled, with what was consumed), a message in parts, a message handed out.
    let most = 8 * (limit.max(125).min(stream.len()) + largest) + 4096;
    let peak = usize::try_from(used.bytes_max).unwrap_or(0);
    assert!(
        peak <= most,
        "{peak} bytes of memory for a limit of {limit}, at most {most}"
    );
    if stream.is_empty() {
        assert_eq!(used.count_total, 0, "memory for nothing");
    }
}

fn is(item: &Item<'_>, part: &Part) -> bool {
    match (item, part) {
        (
            Item::Message { text, payload },
            Part::Message {
                text: t,
                payload: p,
            },
        ) => text == t && **payload == **p,
        (Item::Ping(content), Part::Ping(other)) => content == other,
        (Item::Pong, Part::Pong) => true,
        (Item::Close { code, reason }, Part::Close { code: c, reason: r }) => {
            code == c && reason == r
        }
        _ => false,
    }
}

/// A header that is understood is the one way to write it.
fn headers_survive(stream: &[u8]) {
    for start in 0..stream.len().min(64) {
        let bytes = &stream[start..];
        if let Ok(Some((header, size))) = Header::parse(bytes) {
            let mut out = Vec::new();
            header.write(&mut out);
            assert_eq!(out, bytes[..size], "{header:?}");
            for short in 0..size {
                assert_eq!(Header::parse(&bytes[..short]), Ok(None), "{header:?}");
            }
        }
    }
}

/// Writes the frames that the bytes describe, and what they mean: per frame a control byte (opcode,
/// final, how much its payload is stretched), a length, and the payload.
fn describe(mut data: &[u8], masked: bool) -> (Vec<u8>, Vec<Part>) {
    let mut stream = Vec::new();
    let mut meant = Vec::new();
    let mut open: Option<(bool, Vec<u8>)> = None;
    while let [control, length, rest @ ..] = data {
        let (seed, after) = rest.split_at(rest.len().min(usize::from(length & 0x7f)));
        data = after;
        let stretched = match control >> 4 & 3 {
            1 if !seed.is_empty() => 130,
            2 if !seed.is_empty() => 4096,
            3 if !seed.is_empty() && stream.len() < 1000 => 65_600,
            _ => seed.len(),
        };
        let mut payload: Vec<u8> = seed.iter().copied().cycle().take(stretched).collect();
        let (opcode, fin) = match (control & 7, &open) {
            (5, _) => (Opcode::Ping, true),
            (6, _) => (Opcode::Pong, true),
            (7, _) => (Opcode::Close, true),
            (_, Some(_)) => (Opcode::Continuation, control & 8 != 0),
            (text, None) if text & 1 == 1 => (Opcode::Text, control & 8 != 0),
            (_, None) => (Opcode::Binary, control & 8 != 0),
        };
        if opcode.is_control() {
            payload.truncate(125);
        }
        if opcode == Opcode::Close {
            payload = match payload.len() {
                0 | 1 => Vec::new(),
                _ => payload[..2].iter().copied().chain(*b"bye").collect(),
            };
        }
        let mask = masked.then_some([*control, *length, 0x5a, 0]);
        let header = Header {
            fin,
            opcode,
            mask,
            payload: payload.len() as u64,
        };
        header.write(&mut stream);
        let mask = mask.unwrap_or_default();
        stream.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        match opcode {
            Opcode::Ping => meant.push(Part::Ping(payload)),
            Opcode::Pong => meant.push(Part::Pong),
            Opcode::Close => {
                let (code, reason) = match payload.split_first_chunk::<2>() {
                    Some((code, _)) => (Some(u16::from_be_bytes(*code)), "bye".to_owned()),
                    None => (None, String::new()),
                };
                meant.push(Part::Close { code, reason });
                break;
            }
            _ => {
                let (text, mut content) =
                    open.take().unwrap_or((opcode == Opcode::Text, Vec::new()));
                content.extend_from_slice(&payload);
                if fin {
                    meant.push(Part::Message {
                        text,
                        payload: content,
                    });
                } else {
                    open = Some((text, content));
                }
            }
        }
    }
    (stream, meant)
}

/// Reads a whole stream, plainly: its parts, and how many bytes are left or why it cannot go on.
pub fn read(stream: &[u8], masked: bool, limit: usize) -> (Vec<Part>, Result<usize, FramingError>) {
    let mut parts = Vec::new();
    let end = read_into(&mut parts, stream, masked, limit);
    (parts, end)
}

fn read_into(
    parts: &mut Vec<Part>,
    stream: &[u8],
    masked: bool,
    limit: usize,
) -> Result<usize, FramingError> {
    let mut open: Option<(bool, Vec<u8>)> = None;
    let mut rest = stream;
    loop {
        let Some((&[first, second], tail)) = rest.split_first_chunk::<2>() else {
            return Ok(rest.len());
        };
        let opcode = first & 15;
        let fin = first >> 7 == 1;
        if first >> 4 & 7 != 0 {
            return Err(HeaderError::Reserved.into());
        }
        if matches!(opcode, 3..=7 | 11..) {
            return Err(HeaderError::Opcode(opcode).into());
        }
        if opcode >= 8 && (!fin || second & 127 > 125) {
            return Err(HeaderError::Control.into());
        }
        let bytes = match second & 127 {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, tail)) = tail.split_at_checked(bytes) else {
            return Ok(rest.len());
        };
        let length = match length {
            [] => u64::from(second & 127),
            bytes => bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if (bytes == 2 && length < 126) || (bytes == 8 && !(0x1_0000..1 << 63).contains(&length)) {
            return Err(HeaderError::Length.into());
        }
        let Some((mask, tail)) = tail.split_at_checked(usize::from(second >> 7) * 4) else {
            return Ok(rest.len());
        };
        if (second >> 7 == 1) != masked {
            return Err(FramingError::Masking);
        }
        let before = match (&open, opcode) {
            (Some((_, content)), 0) => content.len() as u64,
            _ => 0,
        };
        if opcode < 8 && length + before > limit as u64 {
            return Err(FramingError::TooLarge { limit });
        }
        let Some((payload, tail)) = usize::try_from(length)
            .ok()
            .and_then(|length| tail.split_at_checked(length))
        else {
            return Ok(rest.len());
        };
        rest = tail;
        let payload: Vec<u8> = payload
            .iter()
            .enumerate()
            .map(|(at, byte)| byte ^ mask.get(at % 4).unwrap_or(&0))
            .collect();
        match opcode {
            9 => parts.push(Part::Ping(payload)),
            10 => parts.push(Part::Pong),
            8 => {
                let (code, reason) = match payload.as_slice() {
                    [] => (None, &[][..]),
                    [_] => return Err(FramingError::Close),
                    [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
                };
                let reason = String::from_utf8(reason.to_vec()).map_err(|_| FramingError::Close)?;
                parts.push(Part::Close { code, reason });
                return Ok(rest.len());
            }
            _ => {
                let (text, mut content) = match (opcode, open.take()) {
                    (0, Some(open)) => open,
                    (1 | 2, None) => (opcode == 1, Vec::new()),
                    _ => return Err(FramingError::Fragments),
                };
                content.extend_from_slice(&payload);
                if fin {
                    parts.push(Part::Message {
                        text,
                        payload: content,
                    });
                } else {
                    open = Some((text, content));
                }
            }
        }
    }
}
