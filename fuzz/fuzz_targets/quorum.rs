//! libFuzzer's entry to the check of the same name, which stable tests run over the kept corpus.
#![no_main]

#[path = "../checks/quorum.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::run(data));
