//! The words after `cargo xtask faults`.
//!
//! Parsed by hand and printed back, like those of the other parts: a failure prints the command
//! that runs its round again.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// One run's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many faults.
    pub count: usize,
    /// Where chance begins; `None` picks a fresh seed, which the run prints.
    pub seed: Option<u64>,
    /// No fault begins later than this.
    pub minutes: Option<u64>,
    /// Members of each ensemble, 3 or 5; `None` lets chance decide.
    pub members: Option<i64>,
    /// Only cutting proxies, also where namespaces can be had.
    pub proxies: bool,
    /// Only our own clients.
    pub without_kazoo: bool,
    /// Whether every fault is printed as JSON.
    pub json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            count: 20,
            seed: None,
            minutes: None,
            members: None,
            proxies: false,
            without_kazoo: false,
            json: false,
        }
    }
}

impl Options {
    /// The flags, one line each.
    pub const USAGE: &str = "\
usage: cargo xtask faults [flags]
  --count N         how many faults (20)
  --seed S          where chance begins (a fresh one)
  --minutes M       no fault begins later
  --members 3|5     how large each ensemble is (by chance)
  --proxies         cutting proxies only, also where we may make network namespaces
  --without-kazoo   our own clients only
  --json            one JSON object per fault, and one for the run, on stdout";

    /// Reads them.
    ///
    /// # Errors
    /// A word that nobody knows, or a value that is none.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Options> {
        let mut options = Options::default();
        let mut words = words.into_iter();
        while let Some(flag) = words.next() {
            match flag.as_str() {
                "--proxies" => options.proxies = true,
                "--without-kazoo" => options.without_kazoo = true,
                "--json" => options.json = true,
                "--count" | "--seed" | "--minutes" | "--members" => {
                    let value = words.next().with_context(|| format!("{flag} needs a value"))?;
                    let number: u64 =
                        value.parse().with_context(|| format!("{flag} {value}: not a number"))?;
                    match flag.as_str() {
                        "--count" => options.count = usize::try_from(number)?,
                        "--seed" => options.seed = Some(number),
                        "--minutes" => options.minutes = Some(number),
                        _ if number == 3 || number == 5 => {
                            options.members = Some(i64::try_from(number)?);
                        }
                        _ => bail!("--members {number}: 3 or 5"),
                    }
                }
                _ => bail!("{flag} is not known\n{}", Self::USAGE),
            }
        }
        Ok(options)
    }

    /// How long faults may begin.
    pub(super) fn limit(&self) -> Duration {
        self.minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(60 * minutes))
    }
}

/// The command that runs this again.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cargo xtask faults --count {}", self.count)?;
        let minutes = self.minutes.map(i64::try_from).and_then(Result::ok);
        let seed = self.seed.map(i128::from);
        let members = self.members.map(i128::from);
        for (flag, value) in
            [("seed", seed), ("minutes", minutes.map(i128::from)), ("members", members)]
        {
            if let Some(value) = value {
                write!(f, " --{flag} {value}")?;
            }
        }
        for (flag, set) in
            [("proxies", self.proxies), ("without-kazoo", self.without_kazoo), ("json", self.json)]
        {
            if set {
                write!(f, " --{flag}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_printed_command_parses_back_to_the_same_run() {
        let options = Options {
            count: 7,
            seed: Some(99),
            minutes: Some(3),
            members: Some(5),
            proxies: true,
            without_kazoo: true,
            json: true,
        };
        let line = options.to_string();
        let flags = line.strip_prefix("cargo xtask faults ").expect("starts with the command");
        assert_eq!(parse(flags).expect("parses"), options);
        assert_eq!(parse("").expect("parses"), Options::default());
    }

    #[test]
    fn wrong_words_are_refused_by_name() {
        for (line, part) in [
            ("--sed 4", "--sed"),
            ("--seed", "needs a value"),
            ("--count four", "not a number"),
            ("--members 4", "3 or 5"),
        ] {
            let error = format!("{:#}", parse(line).expect_err(line));
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
