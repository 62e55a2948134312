//! libFuzzer's entry to [`hearthgate_fuzz::message`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearthgate_fuzz::message::run(data));
