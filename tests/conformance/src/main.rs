//! The command behind `cargo xtask conformance` and `cargo xtask faults`: reads the flags, runs,
//! and says how it went.

use std::process::ExitCode;

use anyhow::Result;
use oxkeeper_conformance::{Options, faults};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: Vec<String>) -> Result<()> {
    let help = words.iter().any(|word| word == "--help");
    match words.split_first() {
        Some((first, _)) if first == "faults" && help => println!("{}", faults::Options::USAGE),
        Some((first, rest)) if first == "faults" => {
            return faults::run(&faults::Options::parse(rest.to_vec())?);
        }
        _ if help => println!("{}", Options::USAGE),
        _ => return oxkeeper_conformance::run(&Options::parse(words)?),
    }
    Ok(())
}
