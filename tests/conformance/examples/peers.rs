//! Runs the foreign programs by hand, each against a fresh server that it starts for all of them:
//!
//! ```text
//! cargo run -p oxkeeper-conformance --example peers --
//!     [--port N] [--oxkeeper BINARY | --record-shell] [PROGRAM[:FILTER]...]
//! ```

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use oxkeeper_conformance::peers::{
    Peers, Program, ServerUnderTest, StartOpts, free_port, record_shell, run_matching,
};

fn main() -> Result<()> {
    let peers = Peers::ensure(&mut |step| eprintln!("{step}"))?;
    let mut server = ServerUnderTest::Java(peers.clone());
    let mut port = free_port()?;
    let mut wanted: Vec<(Program, Option<String>)> = Vec::new();
    let mut record = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--port" => port = args.next().context("--port needs a number")?.parse()?,
            "--oxkeeper" => {
                let binary = PathBuf::from(args.next().context("--oxkeeper needs a path")?);
                server = ServerUnderTest::Oxkeeper { binary: std::path::absolute(binary)? };
            }
            "--record-shell" => record = true,
            program => {
                let (name, filter) = program.split_once(':').unwrap_or((program, ""));
                let program = Program::from_name(name)
                    .with_context(|| format!("no program is called {name}"))?;
                wanted.push((program, (!filter.is_empty()).then(|| filter.to_string())));
            }
        }
    }
    if wanted.is_empty() {
        wanted = Program::ALL.map(|program| (program, None)).to_vec();
    }

    let dir = std::env::temp_dir().join(format!("oxkeeper-peers-{}", std::process::id()));
    let start = Instant::now();
    let mut running = server.start(StartOpts::new(&dir, port).for_programs())?;
    println!("{} serves on {} after {:.0?}", server.name(), running.addr(), start.elapsed());
    if record {
        record_shell(&peers, running.addr())?;
        println!("recorded the shell");
        wanted.clear();
    }
    let mut failed = 0;
    for (program, filter) in wanted {
        let start = Instant::now();
        let results = run_matching(&peers, running.addr(), program, filter.as_deref())?;
        for check in &results {
            let verdict = check.error.as_deref().unwrap_or("ok");
            println!("{} | {} | {} ms | {verdict}", check.program, check.name, check.duration_ms);
        }
        failed += results.iter().filter(|check| !check.passed()).count();
        println!("{}: {} checks in {:.1?}", program.name(), results.len(), start.elapsed());
    }
    println!("{} stopped: {}", server.name(), running.stop()?);
    if failed > 0 {
        bail!("{failed} checks failed; the server's files are in {}", dir.display());
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
