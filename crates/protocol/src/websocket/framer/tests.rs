//! The byte stream, however it is split, and what it costs.

use super::*;

const MASK: Option<[u8; 4]> = Some([9, 8, 7, 6]);

fn frame(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    Header {
        fin,
        opcode,
        mask,
        payload: payload.len() as u64,
    }
    .write(out);
    let start = out.len();
    out.extend_from_slice(payload);
    mask_tail(out, start, mask);
}

/// Feeds the bytes in pieces and notes what comes out.
fn items(bytes: &[u8], piece: usize, limit: usize) -> Vec<String> {
    let mut framer = Framer::new(true, limit);
    let mut seen = Vec::new();
    for piece in bytes.chunks(piece) {
        framer.push(piece);
        loop {
            match framer.next_item() {
                Ok(Some(Item::Message { text, payload })) => {
                    seen.push(format!("{text} {}", String::from_utf8_lossy(payload)));
                }
                Ok(Some(item)) => seen.push(format!("{item:?}")),
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
    }
    assert_eq!(framer.buffered(), 0);
    seen
}

#[test]
fn fragments_join_around_control_frames_however_the_bytes_are_split() {
    let mut bytes = Vec::new();
    frame(&mut bytes, false, Opcode::Text, b"one ", MASK);
    frame(&mut bytes, true, Opcode::Ping, b"p", MASK);
    frame(&mut bytes, false, Opcode::Continuation, b"two ", MASK);
    frame(&mut bytes, true, Opcode::Continuation, b"three", MASK);
    frame(&mut bytes, true, Opcode::Binary, b"four", MASK);
    frame(&mut bytes, true, Opcode::Close, &[3, 232, b'x'], MASK);
    for piece in 1..bytes.len() {
        assert_eq!(
            items(&bytes, piece, 100),
            [
                "Ping([112])",
                "true one two three",
                "false four",
                "Close { code: Some(1000), reason: \"x\" }",
            ]
        );
    }
}

#[test]
fn a_message_over_the_limit_is_refused_before_it_has_come() {
    let mut bytes = Vec::new();
    Header {
        fin: true,
        opcode: Opcode::Binary,
        mask: MASK,
        payload: 101,
    }
    .write(&mut bytes);
    assert_eq!(items(&bytes, 1, 100), ["a message of over 100 bytes"]);
    let mut bytes = Vec::new();
    frame(&mut bytes, false, Opcode::Binary, &[0; 60], MASK);
    frame(&mut bytes, true, Opcode::Continuation, &[0; 60], MASK);
    assert_eq!(items(&bytes, 7, 100), ["a message of over 100 bytes"]);
}

#[test]
fn broken_streams_end() {
    let check = |fin, opcode, payload: &[u8], mask, expected: &str| {
        let mut bytes = Vec::new();
        frame(&mut bytes, fin, opcode, payload, mask);
        assert_eq!(items(&bytes, 64, 100), [expected]);
    };
    check(
        true,
        Opcode::Continuation,
        b"",
        MASK,
        "fragments out of order",
    );
    check(
        true,
        Opcode::Text,
        b"",
        None,
        "a frame with the wrong masking for its direction",
    );
    check(true, Opcode::Close, b"x", MASK, "a malformed close frame");
    check(
        true,
        Opcode::Close,
        &[3, 232, 0xff],
        MASK,
        "a malformed close frame",
    );
    let mut bytes = Vec::new();
    frame(&mut bytes, false, Opcode::Text, b"a", MASK);
    frame(&mut bytes, true, Opcode::Text, b"b", MASK);
    assert_eq!(items(&bytes, 64, 100), ["fragments out of order"]);
}

/// Takes one item and checks that it is a message.
fn one_message(framer: &mut Framer) {
    assert!(matches!(framer.next_item(), Ok(Some(Item::Message { .. }))));
}

#[test]
fn many_fragmented_messages_in_one_input_take_linear_time() {
    let mut bytes = Vec::new();
    frame(&mut bytes, false, Opcode::Text, b"a", MASK);
    frame(&mut bytes, true, Opcode::Continuation, b"b", MASK);
    // If each of them moved what follows, this would take minutes.
    let count = 200_000;
    let mut framer = Framer::new(true, 100);
    framer.push(&bytes.repeat(count));
    for _ in 0..count {
        one_message(&mut framer);
    }
    assert_eq!(framer.next_item(), Ok(None));
}

#[test]
fn thousands_of_fragments_and_empty_ones_take_linear_time_and_no_memory() {
    let mut framer = Framer::new(true, 100);
    let mut first = Vec::new();
    frame(&mut first, false, Opcode::Text, b"a", MASK);
    framer.push(&first);
    let mut empty = Vec::new();
    frame(&mut empty, false, Opcode::Continuation, b"", MASK);
    for _ in 0..100 {
        framer.push(&empty.repeat(1000));
        assert_eq!(framer.next_item(), Ok(None));
    }
    assert!(framer.buffer.capacity() <= KEEP);
    let mut last = Vec::new();
    frame(&mut last, true, Opcode::Continuation, b"b", MASK);
    framer.push(&last);
    let payload = &mut b"ab".to_owned()[..];
    let text = true;
    assert_eq!(
        framer.next_item(),
        Ok(Some(Item::Message { text, payload }))
    );
}

#[test]
fn a_large_message_in_tiny_pieces_takes_linear_time() {
    let mut bytes = Vec::new();
    frame(&mut bytes, true, Opcode::Binary, &vec![7; 1 << 20], MASK);
    let mut framer = Framer::new(true, 1 << 20);
    let (last, pieces) = bytes.split_last().unwrap();
    for piece in pieces.chunks(3) {
        framer.push(piece);
        assert_eq!(framer.next_item(), Ok(None));
    }
    framer.push(&[*last]);
    one_message(&mut framer);
    assert_eq!(framer.next_item(), Ok(None));
    assert!(framer.buffer.capacity() <= KEEP);
}

#[test]
fn a_caller_that_is_always_behind_does_not_keep_what_it_has_consumed() {
    let mut message = Vec::new();
    frame(&mut message, true, Opcode::Binary, &[7; 100], MASK);
    let mut framer = Framer::new(true, 100);
    framer.push(&message.repeat(10));
    for _ in 0..10_000 {
        framer.push(&message);
        one_message(&mut framer);
    }
    assert_eq!(framer.buffered(), 10 * message.len());
    assert!(
        framer.buffer.capacity() < 10_000,
        "{}",
        framer.buffer.capacity()
    );
}

#[test]
fn memory_is_given_back_even_if_a_little_is_left() {
    let mut framer = Framer::new(true, 1 << 20);
    let mut bytes = Vec::new();
    frame(&mut bytes, true, Opcode::Binary, &vec![7; 1 << 20], MASK);
    bytes.push(0x02);
    framer.push(&bytes);
    one_message(&mut framer);
    assert_eq!(framer.next_item(), Ok(None));
    assert_eq!(framer.buffered(), 1);
    assert!(framer.buffer.capacity() <= KEEP);
    // A message of fragments is given back with the next call.
    let mut bytes = Vec::new();
    frame(&mut bytes, false, Opcode::Binary, &[7; 5000], MASK);
    frame(&mut bytes, true, Opcode::Continuation, &[7; 5000], MASK);
    framer.push(&bytes[1..]);
    one_message(&mut framer);
    assert_eq!(framer.next_item(), Ok(None));
    assert_eq!((framer.joined.capacity(), framer.buffer.capacity()), (0, 0));
}
