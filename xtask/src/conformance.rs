//! `cargo xtask conformance`: builds and runs the conformance crate with the words given.
//!
//! The flags are the crate's own (`oxkeeper_conformance::Options`), so that there is one place
//! that knows them. It runs as a program of its own because linking it here would make every
//! other chore wait for it, and fail when it does not compile.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::repo;

/// Runs it from the root of the repository, its output going where ours goes.
pub fn run(words: &[String]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--package", "oxkeeper-conformance", "--"])
        .args(words)
        .current_dir(repo::root()?)
        .status()
        .context("running the conformance crate")?;
    ensure!(status.success(), "the conformance run failed ({status})");
    Ok(())
}
