//! Runs the differential part by hand:
//!
//! ```text
//! cargo run -p oxkeeper-conformance --example differential -- [SEED] [OPS] [OXKEEPER-BINARY]
//! [NAME=VALUE...]
//! ```

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use oxkeeper_conformance::differential::{Plan, run};
use oxkeeper_conformance::peers::{Peers, ServerUnderTest};

fn main() -> Result<()> {
    let peers = Peers::ensure(&mut |step| eprintln!("{step}"))?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| words.get(at).map_or(Ok(default), |word| word.parse());
    let oracle = ServerUnderTest::Java(peers);
    let examined = match words.get(2).map(String::as_str) {
        None | Some("java") => oracle.clone(),
        Some(path) => {
            ServerUnderTest::Oxkeeper { binary: std::path::absolute(PathBuf::from(path))? }
        }
    };
    let config = words.iter().skip(3).map(|word| {
        let (name, value) = word.split_once('=').context("NAME=VALUE")?;
        Ok((name.to_owned(), value.to_owned()))
    });
    let plan = Plan {
        config: config.collect::<Result<_>>()?,
        oracle,
        examined,
        seed: number(0, 1)?,
        ops: number(1, 2_000)?,
        minimise: Duration::from_secs(std::env::var("MINIMISE").map_or(Ok(0), |s| s.parse())?),
        dir: std::env::temp_dir().join(format!("oxkeeper-differential-{}", std::process::id())),
    };
    let start = Instant::now();
    match run(&plan, &mut |line| eprintln!("{:>6.1?} {line}", start.elapsed()))? {
        Ok(tally) => {
            let (steps, ops, compared) = (tally.steps, tally.ops, tally.compared);
            println!("{}", tally.coverage());
            println!(
                "seed {}: no difference in {ops} operations, {steps} steps, {compared} things seen",
                plan.seed
            );
        }
        Err(found) => {
            println!("{}", found.report(plan.oracle.name(), plan.examined.name()));
            bail!("seed {}: a difference after {} operations", plan.seed, found.after_ops);
        }
    }
    std::fs::remove_dir_all(&plan.dir)?;
    Ok(())
}
