//! The foreign programs, run against an address.
//!
//! Each is an ordinary user of its client library that makes many named checks and prints one JSON
//! line for each, and at its end how many there were: a program that dies half-way can therefore
//! not pass as one with fewer checks. A check that Apache ZooKeeper itself fails is our mistake, so
//! every program is also run against Java.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::install::Peers;
use super::system;

/// How long a program may take; each needs well under a minute on two cores.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(240);

/// A foreign program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// kazoo: its client API and all of its recipes.
    Kazoo,
    /// Apache Curator: its recipes.
    Curator,
    /// The Java client of Apache ZooKeeper, used directly.
    JavaClient,
    /// The Java shell, `zkCli`: every command, compared with recorded output.
    Shell,
}

impl Program {
    /// All programs, in the order in which they are best run.
    pub const ALL: [Program; 4] =
        [Program::Shell, Program::JavaClient, Program::Kazoo, Program::Curator];

    /// The name used on command lines and in results.
    pub fn name(self) -> &'static str {
        match self {
            Program::Kazoo => "kazoo",
            Program::Curator => "curator",
            Program::JavaClient => "java-client",
            Program::Shell => "shell",
        }
    }

    /// The program of that [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Program> {
        Program::ALL.into_iter().find(|program| program.name() == name)
    }

    fn command(self, peers: &Peers) -> Command {
        let jvm = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(String::from);
        match self {
            Program::Kazoo => peers.python("checks.py"),
            Program::Curator => peers.java(&jvm, "oxkeeper.peers.curator.CuratorChecks"),
            Program::JavaClient => peers.java(&jvm, "oxkeeper.peers.client.ClientChecks"),
            Program::Shell => {
                let mut command = peers.java(&jvm, "oxkeeper.peers.shell.ShellChecks");
                command.arg("--golden").arg(peers.sources().join("java/golden/shell.txt"));
                command
            }
        }
    }
}

/// The outcome of one named check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// The program that made it.
    pub program: &'static str,
    /// What was checked.
    pub name: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What was wrong; none when it passed.
    pub error: Option<String>,
}

impl CheckResult {
    /// Whether the server did what the client expected.
    pub fn passed(&self) -> bool {
        self.error.is_none()
    }
}

/// Runs all checks of a program against the server at `addr`, started with
/// [`StartOpts::for_programs`](super::StartOpts::for_programs). Programs work below paths of their
/// own and leave nothing behind, so one server may serve them all, one after the other.
///
/// # Errors
/// When the program cannot be run, hangs or dies. A failed check is not an error but a result.
pub fn run(peers: &Peers, addr: SocketAddr, program: Program) -> Result<Vec<CheckResult>> {
    run_matching(peers, addr, program, None)
}

/// As [`run`], but only the checks whose name contains `filter`.
///
/// # Errors
/// As [`run`]; and when no check has such a name.
pub fn run_matching(
    peers: &Peers,
    addr: SocketAddr,
    program: Program,
    filter: Option<&str>,
) -> Result<Vec<CheckResult>> {
    let mut command = program.command(peers);
    command.arg(addr.to_string()).arg("--json");
    if let Some(filter) = filter {
        command.args(["--only", filter]);
    }
    let output = output_of(&mut command, PROGRAM_TIMEOUT)?;
    let results = parse_results(program.name(), &output.stdout).with_context(|| {
        format!("the {} program failed:\n{}", program.name(), system::tail(&output.stderr, 30))
    })?;
    let failed = results.iter().any(|check| !check.passed());
    if failed == output.success {
        bail!("the {} program's exit status contradicts its checks", program.name());
    }
    Ok(results)
}

/// Records anew what the shell prints, into the checked-in file, from the server at `addr`, which
/// must be Apache's.
///
/// # Errors
/// As [`run`].
pub fn record_shell(peers: &Peers, addr: SocketAddr) -> Result<()> {
    let mut command = Program::Shell.command(peers);
    command.arg(addr.to_string()).arg("--record");
    let output = output_of(&mut command, PROGRAM_TIMEOUT)?;
    ensure!(output.success, "recording the shell failed:\n{}{}", output.stdout, output.stderr);
    Ok(())
}

/// One line of a program's `--json` output.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line {
    Check { check: String, millis: u64, error: Option<String> },
    Done { done: usize },
}

fn parse_results(program: &'static str, stdout: &str) -> Result<Vec<CheckResult>> {
    let mut results = Vec::new();
    let mut done = None;
    for text in stdout.lines() {
        let line = serde_json::from_str(text).with_context(|| format!("not a result: {text}"))?;
        match line {
            Line::Check { check, millis, error } => {
                results.push(CheckResult { program, name: check, duration_ms: millis, error });
            }
            Line::Done { done: count } => done = Some(count),
        }
    }
    match done {
        None => bail!("it ended after {} checks without saying that it is done", results.len()),
        Some(count) if count != results.len() || count == 0 => {
            bail!("it made {count} checks and printed {}", results.len())
        }
        Some(_) => Ok(results),
    }
}

/// What a program printed, and whether it succeeded.
pub(super) struct Output {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) success: bool,
}

/// Runs a program to its end, or kills it when it takes longer than `limit`.
pub(super) fn output_of(command: &mut Command, limit: Duration) -> Result<Output> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut stderr = child.stderr.take().context("no standard error")?;
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    let mut stdout = String::new();
    loop {
        match received.recv_timeout(limit.saturating_sub(start.elapsed())) {
            Ok(line) => {
                stdout.push_str(&String::from_utf8_lossy(&line));
                stdout.push('\n');
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                bail!("{command:?} was killed after {limit:?}, having printed:\n{stdout}");
            }
        }
    }
    let success = child.wait()?.success();
    let stderr = errors.join().ok().context("the reader of its errors died")??;
    Ok(Output { stdout, stderr, success })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_names_times_and_errors() {
        let text = "{\"check\":\"lock\",\"millis\":7}\n\
                    {\"check\":\"queue\",\"millis\":8,\"error\":\"lost an item\"}\n{\"done\":2}\n";
        let results = parse_results("kazoo", text).unwrap();
        assert!(results[0].passed() && results[0].duration_ms == 7);
        assert_eq!(results[1].error.as_deref(), Some("lost an item"));
        assert_eq!(results[1].program, "kazoo");
    }

    #[test]
    fn a_program_that_stops_early_does_not_pass() {
        let check = "{\"check\":\"lock\",\"millis\":7}\n";
        assert!(parse_results("kazoo", check).is_err(), "no end");
        assert!(parse_results("kazoo", &format!("{check}{{\"done\":2}}")).is_err(), "one is lost");
        assert!(parse_results("kazoo", "{\"done\":0}").is_err(), "nothing was checked");
        assert!(parse_results("kazoo", "Traceback").is_err(), "not a result");
    }

    #[test]
    fn a_hanging_program_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; exec sleep 600"]);
        let error = output_of(&mut command, Duration::from_millis(300)).err().unwrap().to_string();
        assert!(error.contains("begun"), "{error}");
    }

    #[test]
    fn every_program_is_found_by_its_name() {
        for program in Program::ALL {
            assert_eq!(Program::from_name(program.name()), Some(program));
        }
        assert_eq!(Program::from_name("zkpython"), None);
    }
}
