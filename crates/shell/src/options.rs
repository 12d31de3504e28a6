//! The words after `oxkeeper shell`: those of `zkCli.sh`, one dash each, and a few of ours.

use std::time::Duration;

use crate::failure::Failure;

/// What a shell was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Servers and chroot, `h1:2181,h2:2181/app`.
    pub server: String,
    /// The session timeout asked for.
    pub timeout: Duration,
    /// A server that has lost its majority will do, for reading.
    pub read_only: bool,
    /// Wait for a server for as long as the session timeout.
    pub wait: bool,
    /// Results for programs.
    pub json: bool,
    /// Neither greeting nor prompts nor watch events of the connection.
    pub quiet: bool,
    /// Identities from the start: scheme and proof.
    pub auth: Vec<(String, String)>,
    /// The one command to run, with its words.
    pub command: Vec<String>,
    /// What was given and is not known.
    pub ignored: Vec<String>,
    /// Help was asked for.
    pub help: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            server: "localhost:2181".to_owned(),
            timeout: Duration::from_millis(30_000),
            read_only: false,
            wait: false,
            json: false,
            quiet: false,
            auth: Vec::new(),
            command: Vec::new(),
            ignored: Vec::new(),
            help: false,
        }
    }
}

impl Options {
    /// The usage, for `--help`.
    pub const USAGE: &str = "\
A shell for ZooKeeper servers of any make: the commands of zkCli.sh and more

usage: oxkeeper shell [options] [command [words…]]

With a command it does that one and ends. Without, it reads commands, one a line: from a terminal
with completion, history and colours, or from a pipe.

  -server HOSTS          host:port, several with commas, a chroot behind: h1:2181,h2:2181/app
                         (localhost:2181)
  -timeout MS            session timeout (30000)
  -r                     a server that has lost its majority will do, for reading
  -waitforconnection     wait for a server for as long as the session timeout
  -auth SCHEME:PROOF     an identity from the start, as in -auth digest:user:password; repeatable
  -q, --quiet            results alone: no greeting, no prompts
  --json                 results and errors as lines of JSON; quiet as well
  -h, --help             this text; `oxkeeper shell help` lists the commands

Examples:
  oxkeeper shell
  oxkeeper shell -server h1:2181,h2:2181/app ls /
  oxkeeper shell --json get -s /config | jq .stat.version
  printf 'create /a 1\\nget /a\\n' | oxkeeper shell -q
  oxkeeper shell help export

Exit codes: 0 done, 2 usage, 3 no connection, 4 no such znode, 5 it exists, 6 another version,
7 not empty, 8 not permitted, … (all: oxkeeper shell help exit)";

    /// Reads the words.
    ///
    /// # Errors
    /// An option without its value, or a timeout that is no number.
    pub fn parse<I: IntoIterator<Item = String>>(words: I) -> Result<Options, Failure> {
        let mut options = Options::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let missing =
                    || Failure::usage(format!("Error: no argument found for option {word}"));
                words.next().ok_or_else(missing)
            };
            match word.as_str() {
                "-server" | "--server" => options.server = value()?,
                "-timeout" | "--timeout" => {
                    let text = value()?;
                    let ms: u64 = text.parse().map_err(|_| {
                        Failure::usage(format!("-timeout {text}: not a number"))
                            .hint("-timeout takes milliseconds, such as -timeout 30000")
                    })?;
                    options.timeout = Duration::from_millis(ms.min(i32::MAX as u64));
                }
                "-auth" | "--auth" => {
                    let text = value()?;
                    let (scheme, proof) = text.split_once(':').ok_or_else(|| {
                        Failure::usage(format!("-auth {text}: not scheme:proof"))
                            .hint("as in -auth digest:user:password")
                    })?;
                    options.auth.push((scheme.to_owned(), proof.to_owned()));
                }
                "-r" => options.read_only = true,
                "-waitforconnection" | "--wait" => options.wait = true,
                "-q" | "--quiet" => options.quiet = true,
                "--json" => {
                    options.json = true;
                    options.quiet = true;
                }
                "-h" | "--help" => options.help = true,
                "-client-configuration" => {
                    let file = value()?;
                    options.ignored.push(format!("-client-configuration {file}"));
                }
                option if option.starts_with('-') => options.ignored.push(word),
                _ => {
                    options.command = std::iter::once(word).chain(words).collect();
                    break;
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Failure> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let options = parse("-server h:1/app -r -timeout 500 ls -r /a").unwrap();
        assert_eq!((options.server.as_str(), options.read_only), ("h:1/app", true));
        assert_eq!(options.timeout, Duration::from_millis(500));
        assert_eq!(options.command, ["ls", "-r", "/a"]);
    }

    #[test]
    fn an_identity_may_hold_colons() {
        let auth = parse("-auth digest:u:p ls /").unwrap().auth;
        assert_eq!(auth, [("digest".to_owned(), "u:p".to_owned())]);
    }

    #[test]
    fn an_option_that_is_not_known_is_told_and_passed_over() {
        let options = parse("-secure ls /").unwrap();
        assert_eq!((options.ignored, options.command.len()), (vec!["-secure".to_owned()], 2));
    }

    #[test]
    fn what_lacks_its_value_is_refused() {
        let message = |line| parse(line).unwrap_err().message;
        assert_eq!(message("-server"), "Error: no argument found for option -server");
        assert_eq!(message("-timeout soon"), "-timeout soon: not a number");
        assert_eq!(message("-auth digest"), "-auth digest: not scheme:proof");
    }
}
