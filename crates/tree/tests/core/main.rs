//! The tree as its users see it: against a naive model, against what Java servers left on disk, and
//! under snapshots taken while it changes.

mod golden;
mod model;
mod random;
mod rules;
mod snapshots;
mod streams;
mod support;

#[test]
fn what_goes_to_other_threads_may() {
    fn shared<T: Send + Sync>() {}
    shared::<oxkeeper_tree::Tree>();
    shared::<oxkeeper_tree::Changes>();
    shared::<oxkeeper_tree::Chunk>();
    shared::<oxkeeper_tree::ChildList>();
    shared::<oxkeeper_tree::SnapshotHead>();
}
