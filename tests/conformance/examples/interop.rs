//! Lets a server and Java take turns on one data directory, by hand:
//!
//! ```text
//! cargo run -p oxkeeper-conformance --example interop -- [SEED] [OPS] [OXKEEPER-BINARY]
//! ```

use std::path::PathBuf;

use anyhow::{Result, bail};
use oxkeeper_conformance::interop;
use oxkeeper_conformance::peers::{Peers, ServerUnderTest};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| words.get(at).map_or(Ok(default), |word| word.parse());
    let peers = Peers::ensure(&mut |step| eprintln!("{step}"))?;
    let examined = match words.get(2) {
        None => ServerUnderTest::Java(peers.clone()),
        Some(path) => {
            ServerUnderTest::Oxkeeper { binary: std::path::absolute(PathBuf::from(path))? }
        }
    };
    let dir = std::env::temp_dir().join(format!("oxkeeper-interop-{}", std::process::id()));
    let outcome = interop::run(&peers, &examined, &dir, number(0, 1)?, number(1, 2_000)?)?;
    println!("{} znodes and {} sessions compared", outcome.znodes, outcome.sessions);
    for error in &outcome.errors {
        println!("{error}");
    }
    if !outcome.errors.is_empty() {
        bail!("{} differences; the files are in {}", outcome.errors.len(), dir.display());
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
