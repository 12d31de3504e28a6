//! `cargo xtask`: the repository's chores, one file each.
//!
//! These are the checks that the compiler and clippy do not make. They stand on the same footing:
//! a chore either prints one line that says all is well, or every fault with its place and how to
//! mend it, and fails. No chore links the product, so that they can be asked about a tree that
//! does not compile.

mod ci;
mod conformance;
mod deps;
mod deviations;
mod golden;
mod repo;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <chore>
  tidy              style limits, pure rooms, reachable files, no traces of a machine
  deps              who may know whom, and the reason for every dependency
  golden            fixtures are the recorded bytes; `list`, `seal`, `copy FROM` also
  conformance ...   our server beside Apache ZooKeeper's; --help lists its flags
  faults ...        ensembles of ours, killed, parted, frozen, filled by chance; --help
  ci                everything above and the build, lints, docs and tests, timed";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let chore = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    let outcome = match chore.as_str() {
        "tidy" => tidy::run(&rest),
        "deps" => deps::run(&rest),
        "golden" => golden::run(&rest),
        "conformance" => conformance::run(&rest),
        "faults" => conformance::run_faults(&rest),
        "ci" => ci::run(&rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{chore}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
