//! What the fuzz targets do with their bytes, apart from libFuzzer.
//!
//! ```text
//! bytes  ->  input      pieces, numbers and records out of bytes
//!              |
//!            frame      any stream: the framer against a plain reader written from RFC 6455
//!            message    any text and any message: what is understood keeps its meaning
//!            schema     any declaration, value and profile
//!            beacon     any packet
//!            handshake  any script of bytes, messages under the right key, and time
//! ```
//!
//! Each target is a function that panics where a property does not hold. `fuzz_targets/` hands it to
//! libFuzzer, `tests/corpus.rs` replays the corpus on it.

#![forbid(unsafe_code)]

pub mod input;

pub mod beacon;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod schema;

/// A target: takes any bytes and panics where a property does not hold.
pub type Target = fn(&[u8]);

/// Every target with the name of its binary and of its corpus.
pub const TARGETS: [(&str, Target); 5] = [
    ("frame", frame::run),
    ("message", message::run),
    ("schema", schema::run),
    ("beacon", beacon::run),
    ("handshake", handshake::run),
];
