//! What real leaders and learners of five versions of Apache ZooKeeper said to each other, replayed
//! against ours: each side of a recorded connection is taken by one of our peers, and has to say
//! what Java said there.
//!
//! The recordings lie with `proto`, whose formats they pin; their README says how they were made.

mod leader;
mod learner;
mod recording;

use recording::Recording;

/// Connections of a learner to its leader that begin with the learner's first word.
fn cases() -> Vec<Recording> {
    let found = recording::all();
    assert!(found.len() > 100, "only {} recorded connections", found.len());
    found
}

#[test]
fn our_learner_says_what_apaches_said() {
    let mut broken = Vec::new();
    let mut played = 0;
    for recording in cases() {
        match learner::replay(&recording) {
            Ok(compared) => played += usize::from(compared),
            Err(why) => broken.push(format!("{}: {why}", recording.name)),
        }
    }
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken.join("\n"));
    assert!(played >= 150, "only {played} were compared");
}

#[test]
fn our_leader_says_what_apaches_said() {
    let mut broken = Vec::new();
    let mut played = 0;
    for recording in cases() {
        match leader::replay(&recording) {
            Ok(compared) => played += usize::from(compared),
            Err(why) => broken.push(format!("{}: {why}", recording.name)),
        }
    }
    assert!(broken.is_empty(), "{}:\n{}", broken.len(), broken.join("\n"));
    assert!(played >= 150, "only {played} were compared");
}
