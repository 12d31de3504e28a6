//! The command behind `cargo xtask conformance`: reads the flags, runs, and says how it went.

use oxkeeper_conformance::Options;

fn main() -> anyhow::Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    oxkeeper_conformance::run(&options)
}
