//! Shows by hand that mistakes are caught, with a binary built with `--features wrong`:
//!
//! ```text
//! cargo run -p oxkeeper-conformance --example net -- OXKEEPER-BINARY
//! ```

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use oxkeeper_conformance::net;
use oxkeeper_conformance::peers::Peers;

fn main() -> Result<()> {
    let binary = PathBuf::from(std::env::args().nth(1).context("which binary?")?);
    let peers = Peers::ensure(&mut |step| eprintln!("{step}"))?;
    let dir = std::env::temp_dir().join(format!("oxkeeper-net-{}", std::process::id()));
    let binary = std::path::absolute(binary)?;
    let findings = net::run(&peers, &binary, &dir, &mut |line| println!("{line}"))?;
    for error in &findings.errors {
        println!("{error}");
    }
    if !findings.errors.is_empty() {
        bail!("{} of {} mistakes slip through", findings.errors.len(), findings.checks);
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
