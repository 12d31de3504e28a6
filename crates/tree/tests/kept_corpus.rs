//! The fuzz targets' kept corpora as ordinary tests: inputs that once reached something new, run
//! through the very checks that the fuzzer runs.

use std::path::Path;

#[path = "../../../fuzz/checks/apply.rs"]
mod apply;
#[path = "../../../fuzz/checks/snapshot_file.rs"]
mod snapshot_file;
#[path = "../../../fuzz/checks/snapshot_records.rs"]
mod snapshot_records;
#[path = "../../../fuzz/checks/state.rs"]
mod state;

/// Runs a check over every file of a corpus, and over cuts of it where it may be torn.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is kept beside the targets") {
        let bytes = std::fs::read(entry.expect("readable").path()).expect("readable");
        (0..bytes.len()).step_by(61).for_each(|cut| check(&bytes[..cut]));
        check(&bytes);
        inputs += 1;
    }
    assert!(inputs >= 30, "{target}: {inputs} inputs are no corpus");
}

#[test]
fn apply_holds() {
    replay("apply", apply::run);
}

#[test]
fn snapshot_records_hold() {
    replay("snapshot_records", snapshot_records::run);
}
