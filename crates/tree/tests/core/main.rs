//! The tree as its users see it: against a naive model, against what Java servers left on disk, and
//! under snapshots taken while it changes.

mod golden;
mod model;
mod random;
mod rules;
mod snapshots;
mod support;
