//! libFuzzer's entry to [`hearthgate_fuzz::frame`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearthgate_fuzz::frame::run(data));
