//! `oxkeeper shell` beside ZooKeeper's: the recordings of `zkCli`, typed into ours.
//!
//! Every recording is typed into our shell on a fresh server, Java's or ours, and has to print what
//! ZooKeeper's shell printed. The `shell` part types the same into ZooKeeper's shell. What is about
//! the members of an ensemble is typed into both, on one ensemble (`members`); and what a person
//! sees at a terminal is compared with what was recorded of it, screen by screen (`terminal`).

mod members;
mod terminal;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::ensemble::Kind;
use crate::peers::{Peers, ServerUnderTest, StartOpts};
use crate::transcript::{self, Normaliser};
use crate::{Findings, free_port};

/// What was recorded, by name.
const RECORDINGS: [(&str, &str); 3] = [
    ("shell", include_str!("../peers/java/golden/shell.txt")),
    ("options", include_str!("../../../crates/shell/tests/fixtures/zkcli/options.txt")),
    ("typed", include_str!("../../../crates/shell/tests/fixtures/zkcli/typed.txt")),
];

/// Types everything into the shell of `binary`, on servers of this kind.
///
/// # Errors
/// When a server or a shell cannot be run.
pub fn run(
    peers: &Peers,
    server: &ServerUnderTest,
    binary: &Path,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let kind = match server {
        ServerUnderTest::Oxkeeper { .. } => Kind::Oxkeeper,
        ServerUnderTest::Java(_) | ServerUnderTest::Apache(_) => Kind::JAVA,
    };
    let mut findings = recordings(server, binary, dir, progress)?;
    for more in [
        terminal::run(server, binary, &dir.join("terminal"), progress)?,
        members::run(peers, kind, binary, &dir.join("members"), progress)?,
    ] {
        findings.checks += more.checks;
        findings.errors.extend(more.errors);
    }
    Ok(findings)
}

fn recordings(
    server: &ServerUnderTest,
    binary: &Path,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let mut findings = Findings::default();
    for (name, recording) in RECORDINGS {
        progress(name);
        let opts = StartOpts::new(dir.join(name), free_port()?).for_programs();
        let mut running = server.start(opts)?;
        let addr = running.addr().to_string();
        let mut normaliser = Normaliser::new(&addr);
        for case in transcript::parse(recording) {
            let (exit, out, err) = if case.piped {
                let input = case.typed.join("\n").replace("<server>", &addr) + "\n";
                say(binary, &addr, &["-waitforconnection".to_owned()], &input)?
            } else {
                say(binary, &addr, &case.words(), "")?
            };
            let outcome = normaliser.outcome(exit, &out, &err);
            findings.checks += 1;
            let difference = transcript::difference(&case, &outcome);
            findings.errors.extend(difference.map(|text| format!("{name}: {text}")));
        }
        running.stop()?;
    }
    Ok(findings)
}

/// What our shell says to this input: its exit code, and what it printed on either stream.
fn say(
    binary: &Path,
    server: &str,
    words: &[String],
    input: &str,
) -> Result<(i32, String, String)> {
    let mut command = Command::new(binary);
    command.args(["shell", "-server", server]).args(words).env("TZ", "UTC");
    typed_into(command, input)
}

/// What a program says to this input.
fn typed_into(mut command: Command, input: &str) -> Result<(i32, String, String)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // Who has a command reads none of it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
}
