//! The command behind `cargo xtask conformance`: reads the flags, runs, and says how it went.

use std::process::ExitCode;

use oxkeeper_conformance::Options;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        println!("{}", Options::USAGE);
        return ExitCode::SUCCESS;
    }
    match Options::parse(words).and_then(|options| oxkeeper_conformance::run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
