//! The fuzz target's kept corpus as an ordinary test: inputs that once reached something new, run
//! through the very check that the fuzzer runs.

use std::path::Path;

#[path = "../../../fuzz/checks/zoo_cfg.rs"]
mod zoo_cfg;

#[test]
fn zoo_cfg_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/zoo_cfg");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is kept beside the targets") {
        let bytes = std::fs::read(entry.expect("readable").path()).expect("readable");
        (0..bytes.len()).step_by(61).for_each(|cut| zoo_cfg::run(&bytes[..cut]));
        zoo_cfg::run(&bytes);
        inputs += 1;
    }
    assert!(inputs >= 30, "{inputs} inputs are no corpus");
}
