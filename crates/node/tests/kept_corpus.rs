//! The fuzz target's kept corpus as an ordinary test: inputs that once reached something new, run
//! through the very check that the fuzzer runs.

use std::path::Path;

#[path = "../../../fuzz/checks/connections.rs"]
mod connections;
#[path = "../../../fuzz/checks/state.rs"]
mod state;

#[test]
fn connections_hold() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/connections");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is kept beside the targets") {
        let bytes = std::fs::read(entry.expect("readable").path()).expect("readable");
        (0..bytes.len()).step_by(61).for_each(|cut| connections::run(&bytes[..cut]));
        connections::run(&bytes);
        inputs += 1;
    }
    assert!(inputs >= 30, "{inputs} inputs are no corpus");
}
