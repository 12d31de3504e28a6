//! The ensemble's configuration, and which sets of its servers decide.
