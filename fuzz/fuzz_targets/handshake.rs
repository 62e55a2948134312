//! libFuzzer's entry to [`hearthgate_fuzz::handshake`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearthgate_fuzz::handshake::run(data));
