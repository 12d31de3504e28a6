//! What a conformance run is asked to do: the words after `cargo xtask conformance`.
//!
//! Parsed by hand: a few flags need no library, and every run prints them back as the command
//! that replays it, so the two directions live side by side.

use std::fmt;

use anyhow::{Context, bail};

/// The server that a run talks to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Our own server. Differential parts start Java beside it as the oracle.
    #[default]
    Oxkeeper,
    /// Apache ZooKeeper itself: a check that it fails is a mistake of the check.
    Java,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oxkeeper => "oxkeeper",
            Self::Java => "java",
        })
    }
}

/// One run's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which server is examined.
    pub target: Target,
    /// How many operations the differential part sends to each server.
    pub ops: u64,
    /// Where the random sequence starts; `None` picks a fresh one, which the run prints.
    pub seed: Option<u64>,
    /// The one part to run, by name; `None` runs all.
    pub only: Option<String>,
    /// Of the mixed part: one mixture of members, such as `java,ours,3.8`, instead of all.
    pub members: Option<String>,
    /// Of the mixed part: one scenario instead of all.
    pub scenario: Option<String>,
    /// Whether the mixed part tells its short story only; a run of all parts does.
    pub quick: bool,
    /// Whether each part's result is printed as JSON.
    pub json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: Target::default(),
            ops: 10_000,
            seed: None,
            only: None,
            members: None,
            scenario: None,
            quick: false,
            json: false,
        }
    }
}

impl Options {
    /// The flags, one line each.
    pub const USAGE: &str = "\
usage: cargo xtask conformance [part] [flags]
  --target oxkeeper|java   the server to examine (oxkeeper)
  --ops N                  operations of the differential part (10000)
  --seed S                 replay the sequence of an earlier run
  --only NAME              one part alone, as NAME itself: cli, differential, golden,
                           expiry, interop, disk, election, mixed, client, recipes, net, shell,
                           java-client, kazoo, curator
  --members KINDS          mixed: one mixture, such as java,ours,3.8 or java,ours,ours+java,
                           where the last one observes
  --scenario NAME          mixed: one scenario
  --quick                  mixed: the selection that a run of all parts has
  --json                   each part's result as a line of JSON";

    /// Reads the words of a command line, program name excluded.
    ///
    /// # Errors
    /// An unknown flag, a flag without its value, or a value that does not parse.
    pub fn parse<I: IntoIterator<Item = String>>(words: I) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(flag) = words.next() {
            match flag.as_str() {
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--target" | "--ops" | "--seed" | "--only" | "--members" | "--scenario" => {
                    let value = words.next().with_context(|| format!("{flag} needs a value"))?;
                    options.set(&flag, value)?;
                }
                part if !part.starts_with('-') && options.only.is_none() => {
                    options.only = Some(flag);
                }
                _ => bail!("unknown flag {flag:?}\n{}", Self::USAGE),
            }
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: String) -> anyhow::Result<()> {
        let bad = || format!("{flag} {value}: not a number");
        match flag {
            "--ops" => self.ops = value.parse().with_context(bad)?,
            "--seed" => self.seed = Some(value.parse().with_context(bad)?),
            "--only" => self.only = Some(value),
            "--members" => self.members = Some(value),
            "--scenario" => self.scenario = Some(value),
            _ => {
                self.target = match value.as_str() {
                    "oxkeeper" => Target::Oxkeeper,
                    "java" => Target::Java,
                    _ => bail!("--target {value}: oxkeeper or java"),
                }
            }
        }
        Ok(())
    }
}

/// The command that runs this again.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cargo xtask conformance --target {} --ops {}", self.target, self.ops)?;
        if let Some(seed) = self.seed {
            write!(f, " --seed {seed}")?;
        }
        if let Some(only) = &self.only {
            write!(f, " --only {only}")?;
        }
        for (flag, value) in [("--members", &self.members), ("--scenario", &self.scenario)] {
            if let Some(value) = value {
                write!(f, " {flag} {value}")?;
            }
        }
        if self.quick {
            f.write_str(" --quick")?;
        }
        if self.json {
            f.write_str(" --json")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_printed_command_parses_back_to_the_same_run() {
        let options = Options {
            target: Target::Java,
            ops: 7,
            seed: Some(99),
            only: Some("differential".to_owned()),
            members: Some("java,ours".to_owned()),
            scenario: Some("takeover".to_owned()),
            quick: true,
            json: true,
        };
        let line = options.to_string();
        let flags = line.strip_prefix("cargo xtask conformance ").expect("starts with the command");
        assert_eq!(parse(flags).expect("parses"), options);
        assert_eq!(parse("mixed").expect("parses"), parse("--only mixed").expect("parses"));
    }

    #[test]
    fn wrong_words_are_refused_by_name() {
        for (line, part) in [
            ("--sed 4", "--sed"),
            ("--seed", "needs a value"),
            ("--seed four", "not a number"),
            ("--target etcd", "oxkeeper or java"),
        ] {
            let error = format!("{:#}", parse(line).expect_err(line));
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
