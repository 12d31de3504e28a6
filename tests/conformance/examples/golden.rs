//! Replays the golden captures by hand, against Java or the binary named:
//!
//! ```text
//! cargo run -p oxkeeper-conformance --example golden -- [OXKEEPER-BINARY]
//! ```

use std::path::PathBuf;

use anyhow::{Result, bail};
use oxkeeper_conformance::golden;
use oxkeeper_conformance::peers::{Peers, ServerUnderTest};

fn main() -> Result<()> {
    let server = match std::env::args().nth(1) {
        None => ServerUnderTest::Java(Peers::ensure(&mut |step| eprintln!("{step}"))?),
        Some(path) => {
            ServerUnderTest::Oxkeeper { binary: std::path::absolute(PathBuf::from(path))? }
        }
    };
    let dir = std::env::temp_dir().join(format!("oxkeeper-golden-{}", std::process::id()));
    let outcomes = golden::run(&server, &dir)?;
    let mut failed = 0;
    for outcome in &outcomes {
        failed += usize::from(outcome.error.is_some());
        let verdict = outcome.error.as_deref().unwrap_or("ok");
        println!("{}: {} lines: {verdict}", outcome.name, outcome.compared);
    }
    if failed > 0 {
        bail!("{failed} of {} captures differ", outcomes.len());
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
