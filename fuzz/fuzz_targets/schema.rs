//! libFuzzer's entry to [`hearthgate_fuzz::schema`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hearthgate_fuzz::schema::run(data));
