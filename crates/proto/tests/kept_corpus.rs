//! The fuzz targets' kept corpora as ordinary tests: inputs that once reached something new, run
//! through the very checks that the fuzzer runs.

use std::path::Path;

#[path = "../../../fuzz/checks/frames.rs"]
mod frames;
#[path = "../../../fuzz/checks/payloads.rs"]
mod payloads;
#[path = "../../../fuzz/checks/quorum.rs"]
mod quorum;
#[path = "../../../fuzz/checks/requests.rs"]
mod requests;

/// Runs a check over every file of a corpus, and over every cut of it where it may be torn.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is kept beside the targets") {
        let bytes = std::fs::read(entry.expect("readable").path()).expect("readable");
        (0..=bytes.len().min(256)).for_each(|cut| check(&bytes[..cut]));
        check(&bytes);
        inputs += 1;
    }
    assert!(inputs >= 30, "{target}: {inputs} inputs are no corpus");
}

#[test]
fn frames_hold() {
    replay("frames", frames::run);
}

#[test]
fn payloads_hold() {
    replay("payloads", payloads::run);
}

#[test]
fn quorum_holds() {
    replay("quorum", quorum::run);
}

#[test]
fn requests_hold() {
    replay("requests", requests::run);
}
