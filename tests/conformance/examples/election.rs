//! Runs the elections between Java's servers and our election port alone, without building a
//! server of ours: `cargo run -p oxkeeper-conformance --example election`.

use anyhow::Result;
use oxkeeper_conformance::election;
use oxkeeper_conformance::peers::Peers;

fn main() -> Result<()> {
    let peers = Peers::ensure(&mut |step| eprintln!("{step}"))?;
    let dir = std::env::temp_dir().join(format!("oxkeeper-election-{}", std::process::id()));
    let findings = election::run(&peers, &dir, &mut |line| println!("{line}"))?;
    println!("{} outcomes as expected", findings.checks);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
