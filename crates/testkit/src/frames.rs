//! Just enough of RFC 6455 to take whole frames of a gateway out of a stream.

/// Bytes of a frame that are looked at.
const LOOK: usize = 128;

/// The frames of a gateway's stream in the wire encoding `plain`, which are not masked.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes of a frame, or of the answer to the upgrade, that is not complete.
    partial: Vec<u8>,
    upgraded: bool,
    /// Whether an event came.
    based: bool,
    /// How many were left out.
    pub(crate) dropped: u64,
}

impl Frames {
    /// Returns the bytes of complete frames without those events that are to be lost.
    pub(crate) fn filter(&mut self, bytes: &[u8], mut is_lost: impl FnMut() -> bool) -> Vec<u8> {
        self.partial.extend_from_slice(bytes);
        let mut out = Vec::new();
        while let Some(length) = self.complete() {
            let rest = self.partial.split_off(length);
            let frame = std::mem::replace(&mut self.partial, rest);
            // It stands near the front.
            let front = frame.get(..LOOK).unwrap_or(&frame);
            let is_event = contains(front, b"\"event_type\":\"state_changed\"");
            // The first event of a connection sets the base of the ids: without it no gap can be seen.
            if self.based && is_event && is_lost() {
                self.dropped += 1;
            } else {
                out.extend_from_slice(&frame);
            }
            self.based |= self.upgraded && contains(front, b"\"event_type\":");
            self.upgraded = true;
        }
        out
    }

    /// Returns the length of what comes first, if it is complete.
    fn complete(&self) -> Option<usize> {
        if !self.upgraded {
            let end = b"\r\n\r\n";
            let windows = self.partial.windows(end.len());
            return windows
                .enumerate()
                .find(|(_, window)| window == end)
                .map(|(at, _)| at + end.len());
        }
        let big = |range: std::ops::Range<usize>| {
            let bytes = self.partial.get(range)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            )
        };
        let (head, length) = match self.partial.get(1)? {
            126 => (4, big(2..4)?),
            127 => (10, big(2..10)?),
            length => (2, usize::from(*length)),
        };
        (self.partial.len() >= head + length).then_some(head + length)
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_out_whole_however_the_stream_is_cut() {
        let mut stream = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        let mut expected = stream.clone();
        for (text, is_event) in [
            (
                "{\"event_type\":\"state_changed\",\"v\":\"the first\"}".to_owned(),
                false,
            ),
            ("{\"type\":\"auth_ok\"}".to_owned(), false),
            ("{\"event_type\":\"state_changed\"}".to_owned(), true),
            (format!("{{\"result\":\"{}\"}}", "r".repeat(500)), false),
            (
                format!(
                    "{{\"event_type\":\"state_changed\",\"v\":\"{}\"}}",
                    "e".repeat(70_000)
                ),
                true,
            ),
            ("{\"event_type\":\"online_updated\"}".to_owned(), false),
        ] {
            let mut frame = vec![0x81];
            match text.len() {
                short @ 0..126 => frame.push(u8::try_from(short).unwrap()),
                long @ 126..65_536 => {
                    frame.push(126);
                    frame.extend(u16::try_from(long).unwrap().to_be_bytes());
                }
                longer => {
                    frame.push(127);
                    frame.extend(u64::try_from(longer).unwrap().to_be_bytes());
                }
            }
            frame.extend(text.as_bytes());
            stream.extend(&frame);
            if !is_event {
                expected.extend(frame);
            }
        }
        for size in [1, 7, 1000, stream.len()] {
            let mut frames = Frames::default();
            let mut out = Vec::new();
            for piece in stream.chunks(size) {
                out.extend(frames.filter(piece, || true));
            }
            assert_eq!(
                (out == expected, frames.dropped),
                (true, 2),
                "pieces of {size}"
            );
        }
    }
}
