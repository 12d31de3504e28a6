//! The oxkeeper command.
fn main() {}
