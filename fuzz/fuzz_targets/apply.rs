//! libFuzzer's entry to the check of the same name, which stable tests run over the kept corpus.
#![no_main]

#[path = "../checks/apply.rs"]
mod check;
#[path = "../checks/snapshot_file.rs"]
mod snapshot_file;
#[path = "../checks/state.rs"]
mod state;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::run(data));
