//! `cargo xtask conformance` and `cargo xtask faults`: builds and runs the conformance crate with
//! the words given.
//!
//! The flags are the crate's own (`oxkeeper_conformance::Options`), so that there is one place
//! that knows them. It runs as a program of its own because linking it here would make every
//! other chore wait for it, and fail when it does not compile.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::repo;

/// Runs the conformance parts.
pub fn run(words: &[String]) -> Result<()> {
    program(words)
}

/// Runs the fault suite, which lives in the same crate.
pub fn run_faults(words: &[String]) -> Result<()> {
    program(&[&["faults".to_owned()], words].concat())
}

/// Runs it from the root of the repository, its output going where ours goes.
fn program(words: &[String]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--package", "oxkeeper-conformance", "--"])
        .args(words)
        .current_dir(repo::root()?)
        .status()
        .context("running the conformance crate")?;
    ensure!(status.success(), "the run failed ({status})");
    Ok(())
}
