//! Runs the checks of directories that change hands by hand:
//!
//! ```text
//! cargo run -p oxkeeper-conformance --example disk -- OXKEEPER-BINARY|java [SEED] [CHECK]
//! ```

use std::path::PathBuf;

use anyhow::{Context, Result};
use oxkeeper_conformance::disk::{Plan, run};
use oxkeeper_conformance::peers::{Peers, ServerUnderTest};

fn main() -> Result<()> {
    let peers = Peers::ensure(&mut |step| eprintln!("{step}"))?;
    let mut words = std::env::args().skip(1);
    let examined = match words.next().context("whose server?")?.as_str() {
        "java" => ServerUnderTest::Java(peers.clone()),
        path => ServerUnderTest::Oxkeeper { binary: std::path::absolute(PathBuf::from(path))? },
    };
    let seed = words.next().map_or(Ok(1), |word| word.parse())?;
    let only = words.next();
    let dir = std::env::temp_dir().join(format!("oxkeeper-disk-{}", std::process::id()));
    let plan = Plan { peers, examined, seed, only, dir: dir.clone() };
    let count = run(&plan, &mut |line| println!("{line}"))?;
    println!("{count} checks, seed {seed}");
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
