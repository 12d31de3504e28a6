//! The `bench` command on its own: `cargo run --release -p oxkeeper-bench --example bench -- bench`
//! behaves as `oxkeeper bench` does, without building a server.

use std::process::ExitCode;

use clap::Parser;
use oxkeeper_bench::BenchArgs;

#[derive(Parser)]
#[command(name = "oxkeeper")]
enum Command {
    /// Loads a ZooKeeper server and reports what a request costs.
    Bench(Box<BenchArgs>),
}

fn main() -> anyhow::Result<ExitCode> {
    let Command::Bench(args) = Command::parse();
    oxkeeper_bench::run(*args)
}
