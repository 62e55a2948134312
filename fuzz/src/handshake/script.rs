//! What happens to a connection, step by step, as a person can write it and a fuzzer can change it.
//!
//! A step is a letter and what belongs to it; an empty line ends it. Any other letter stands for one
//! of these.
//!
//! ```text
//! u        the right upgrade            b BYTES  bytes as they are
//! h        the right next handshake     j JSON   a message under the right key
//! f JSON   the same in three parts, with a ping between them
//! p BYTES  a ping    q BYTES  a pong    c BYTES  a close with that body
//! k BYTES  a data frame of these very bytes
//! t MS     time passes                  n COUNT  the latest bytes again and again
//! d COUNT  so much output is taken, all where there is no number
//! s JSON   the end under test sends     x CODE   it closes
//! r        it rejects                   e        the stream ends
//! ```

use hearthgate_protocol::variants::{Padding, Proof, ProofOver, Variants, Wire};

use crate::input::{number, records};

/// Which end is under test, and how it is configured.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// A gateway, else a client.
    pub gateway: bool,
    /// What the other end speaks, and the gateway's configuration.
    pub wire: Wire,
    /// Whether a client detects the wire encoding.
    pub detect: bool,
    /// Whether a client accepts a detected `plain`.
    pub accept_plain: bool,
    /// Whether messages may be of 16 KiB, else of 600 bytes.
    pub roomy: bool,
    /// The open choices of the protocol.
    pub variants: Variants,
    /// How the bytes are cut in the second run.
    pub seed: u8,
}

/// One step of a script.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The right upgrade request or response.
    Upgrade,
    /// The right next handshake message.
    Handshake,
    /// Bytes as they are.
    Bytes(&'a [u8]),
    /// A message under the right key.
    Message(&'a [u8]),
    /// A message under the right key in three parts.
    Parts(&'a [u8]),
    /// A data frame of these very bytes.
    Data(&'a [u8]),
    /// A ping.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// A close frame with this body.
    Close(&'a [u8]),
    /// Time in milliseconds.
    Time(u64),
    /// The latest bytes again.
    Repeat(u64),
    /// Output is taken.
    Drain(Option<u64>),
    /// The end under test sends.
    Send(&'a [u8]),
    /// The end under test closes.
    CloseUs(u16),
    /// A gateway rejects.
    Reject,
    /// The stream ends.
    Eof,
}

const LETTERS: &[u8; 16] = b"uhbjfpqckntdsxre";
/// Steps behind which a script is cut off.
const STEPS_MAX: usize = 64;

/// Reads a script.
pub(super) fn parse(data: &[u8]) -> Option<(Setup, Vec<Step<'_>>)> {
    let [flags, variants, seed, steps @ ..] = data else {
        return None;
    };
    let choice = |bit: u8| usize::from(variants >> bit & 1);
    let setup = Setup {
        gateway: flags & 1 == 0,
        wire: Wire::ALL[usize::from(flags >> 1 & 3) % 3],
        detect: flags & 8 != 0,
        accept_plain: flags & 16 != 0,
        roomy: flags & 32 != 0,
        variants: Variants {
            padding: Padding::ALL[choice(0)],
            proof: Proof::ALL[choice(1)],
            proof_over: ProofOver::ALL[choice(2)],
        },
        seed: *seed,
    };
    let steps = records(steps, b"\n\n")
        .filter_map(step)
        .take(STEPS_MAX)
        .collect();
    Some((setup, steps))
}

fn step(record: &[u8]) -> Option<Step<'_>> {
    let (letter, rest) = record.split_first()?;
    let letter = if LETTERS.contains(letter) {
        *letter
    } else {
        LETTERS[usize::from(*letter) % LETTERS.len()]
    };
    Some(match letter {
        b'u' => Step::Upgrade,
        b'h' => Step::Handshake,
        b'b' => Step::Bytes(rest),
        b'j' => Step::Message(rest),
        b'f' => Step::Parts(rest),
        b'k' => Step::Data(rest),
        b'p' => Step::Ping(rest),
        b'q' => Step::Pong(rest),
        b'c' => Step::Close(rest),
        b't' => Step::Time(number(rest) % 200_000),
        b'n' => Step::Repeat(number(rest)),
        b'd' if rest.is_empty() => Step::Drain(None),
        b'd' => Step::Drain(Some(number(rest))),
        b's' => Step::Send(rest),
        b'x' => Step::CloseUs(u16::try_from(number(rest) % 5000).unwrap_or(1000)),
        b'r' => Step::Reject,
        _ => Step::Eof,
    })
}
