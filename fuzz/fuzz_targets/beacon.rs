//! libFuzzer's entry to [`hearthgate_fuzz::beacon`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearthgate_fuzz::beacon::run(data));
