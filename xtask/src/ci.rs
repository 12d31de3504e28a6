//! `cargo xtask ci`: everything that must hold before a change lands, in the order of cost.
//!
//! `.ci/run` prepares a bare machine and calls this, so that a person and the machine run the same
//! steps. Each prints its command and its time; the first failure ends the run, because what
//! follows a failure is noise. A word selects the steps whose name holds it: `cargo xtask ci doc`.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::repo;

/// A step: what it is called, cargo's words, and what it needs in the environment.
struct Step {
    name: &'static str,
    words: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

const DENY: &[(&str, &str)] = &[("RUSTDOCFLAGS", "-D warnings")];

/// Mistakes that are rare take many storms: optimised ones.
const NET: &[&str] =
    &["test", "--locked", "--profile", "storm", "-p", "oxkeeper-sim", "--features", "wrong"];

/// Servers, ensembles and weathers in turns, the same seeds each time: what fails here is news.
const STORM: &[&str] = &["storm", "--weather", "all", "--seeds", "0..1500"];

/// Seeds that nobody has seen, from the clock, for five minutes: what is found is printed with the
/// command that repeats it, and becomes a regression seed.
const FRESH: &[&str] = &["storm", "--weather", "all", "--random-for", "300"];

const STEPS: [Step; 12] = [
    Step { name: "fmt", words: &["fmt", "--all", "--check"], env: &[] },
    Step { name: "tidy", words: &["xtask", "tidy"], env: &[] },
    Step { name: "deps", words: &["xtask", "deps"], env: &[] },
    Step { name: "golden", words: &["xtask", "golden"], env: &[] },
    Step {
        name: "clippy",
        words: &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
        env: &[],
    },
    Step { name: "doc", words: &["doc", "--locked", "--workspace", "--no-deps"], env: DENY },
    Step { name: "test", words: &["test", "--locked", "--workspace"], env: &[] },
    Step { name: "net", words: NET, env: &[] },
    Step { name: "storm", words: STORM, env: &[] },
    Step { name: "storm-fresh", words: FRESH, env: &[] },
    Step { name: "conformance", words: &["xtask", "conformance"], env: &[] },
    Step { name: "faults", words: &["xtask", "faults", "--count", "10"], env: &[] },
];

/// Runs the selected steps and prints how long each took.
pub fn run(words: &[String]) -> Result<()> {
    let root = repo::root()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let selected: Vec<&Step> = STEPS.iter().filter(|step| is_selected(step.name, words)).collect();
    ensure!(!selected.is_empty(), "no step is called {}", words.join(" or "));
    let mut times = Vec::new();
    for step in selected {
        println!("\n=== {}: cargo {}", step.name, step.words.join(" "));
        let start = Instant::now();
        let status = Command::new(&cargo)
            .args(step.words)
            .envs(step.env.iter().copied())
            .current_dir(&root)
            .status()
            .with_context(|| format!("starting {}", step.name))?;
        times.push((step.name, start.elapsed()));
        if !status.success() {
            println!("\n{}", summary(&times, Some(step.name)));
            bail!("{} failed; again: cargo {}", step.name, step.words.join(" "));
        }
    }
    println!("\n{}", summary(&times, None));
    Ok(())
}

fn is_selected(name: &str, words: &[String]) -> bool {
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}

/// One line per step, and the sum.
fn summary(times: &[(&str, Duration)], failed: Option<&str>) -> String {
    let mut lines: Vec<String> = times
        .iter()
        .map(|(name, time)| {
            let mark = if failed == Some(name) { "FAILED" } else { "ok" };
            format!("{name:<12} {:>7.1} s  {mark}", time.as_secs_f64())
        })
        .collect();
    let total: Duration = times.iter().map(|(_, time)| time).sum();
    lines.push(format!("{:<12} {:>7.1} s", "total", total.as_secs_f64()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_selected_by_a_part_of_their_name() {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let selected = |line: &str| {
            let words = words(line);
            STEPS.iter().map(|s| s.name).filter(|n| is_selected(n, &words)).collect::<Vec<_>>()
        };
        assert_eq!(selected("").len(), STEPS.len());
        assert_eq!(selected("doc tid"), ["tidy", "doc"]);
        assert_eq!(selected("nonsense"), [""; 0]);
    }

    #[test]
    fn the_summary_says_what_failed_and_adds_up() {
        let times = [("fmt", Duration::from_secs(1)), ("test", Duration::from_secs(61))];
        let text = summary(&times, Some("test"));
        assert!(text.contains("test            61.0 s  FAILED"), "{text}");
        assert!(text.ends_with("62.0 s"), "{text}");
    }
}
