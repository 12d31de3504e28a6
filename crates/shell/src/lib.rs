//! The shell of `oxkeeper shell`: ZooKeeper's own commands, and what an operator misses there.
//!
//! It speaks through `oxkeeper-client` alone, to Oxkeeper and Apache ZooKeeper alike. What the
//! commands of ZooKeeper's shell 3.9 print on standard output is ZooKeeper's, because scripts read
//! it; it is held against recordings of the real one (`tests/fixtures/zkcli`). What goes beyond is
//! in the [table] of commands, and in `docs/shell.md`.
//!
//! A [line](mod@line) becomes words, the [table] says what they may be, [flags] reads the options,
//! and [commands] and [subtree] do it. Every way to fail has a kind and an exit code ([failure]).

pub mod acl;
pub mod commands;
pub mod failure;
pub mod flags;
pub mod help;
mod interactive;
pub mod line;
pub mod options;
pub mod out;
pub mod path;
pub mod session;
pub mod shell;
pub mod show;
pub mod subtree;
pub mod table;

use std::io::{BufRead, IsTerminal, stdin, stdout};
use std::process::ExitCode;
use std::time::Duration;

use crate::failure::{Failure, Kind};
use crate::options::Options;
use crate::out::Style;
use crate::shell::{Next, Shell};

/// How long the end of a session is waited for.
const FAREWELL: Duration = Duration::from_secs(2);
/// Lines that are read before their turn.
const LINES_AHEAD: usize = 64;

/// Runs a shell: one command, lines from a pipe, or a person at a terminal.
pub fn run<I: IntoIterator<Item = String>>(words: I) -> ExitCode {
    let options = match Options::parse(words) {
        Ok(options) => options,
        Err(failure) => {
            let mut shell = Shell::new(Options::default());
            shell.fail(&failure);
            return ExitCode::from(shell.exit);
        }
    };
    let mut shell = Shell::new(options);
    if shell.options.help {
        shell.out.line(Options::USAGE);
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            shell.fail(&Failure::file("cannot start", &error));
            return ExitCode::from(shell.exit);
        }
    };
    runtime.block_on(async {
        if let Err(failure) = serve(&mut shell).await {
            shell.fail(&failure);
        }
        // Whether the server confirms it or not, we are through.
        let _ = tokio::time::timeout(FAREWELL, shell.disconnect()).await;
    });
    // A thread may still be reading standard input.
    runtime.shutdown_background();
    ExitCode::from(shell.exit)
}

async fn serve(shell: &mut Shell) -> Result<(), Failure> {
    for option in &shell.options.ignored {
        let text = format!("{option} is not known, and passed over");
        shell.out.note(shell.out.styled_note(Style::Dim, &text));
    }
    let command = shell.options.command.clone();
    let person = command.is_empty() && stdin().is_terminal() && stdout().is_terminal();
    // Help needs no server.
    let alone = command.first().and_then(|name| table::find(name));
    if alone.is_some_and(|spec| spec.id == table::Id::Help) {
        shell.words(&command).await;
        return Ok(());
    }
    if !shell.options.quiet && !person {
        shell.out.line(format!("Connecting to {}", shell.options.server));
    }
    let hosts = shell.options.server.clone();
    if person {
        return meet(shell, &hosts).await;
    }
    shell.connect(&hosts).await?;
    if command.is_empty() { piped(shell).await } else { once(shell, &command).await }
}

/// One command, given as words.
async fn once(shell: &mut Shell, command: &[String]) -> Result<(), Failure> {
    shell.execute(command).await;
    Ok(())
}

/// A person: somebody who can be told, and may go elsewhere.
async fn meet(shell: &mut Shell, hosts: &str) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let title = shell.out.styled(Style::Bold, &format!("Oxkeeper shell {version}"));
    // The greeting says that we are connected; only changes are told.
    shell.person = true;
    match shell.connect(hosts).await {
        Ok(()) => {
            let session = shell.zk()?.session_id().unwrap_or_default();
            shell.out.line(format!("{title}, session {session} on {hosts}"));
        }
        Err(failure) => {
            shell.out.line(title);
            shell.fail(&failure);
        }
    }
    let help = "help lists the commands, Tab completes, Ctrl-C stops a command, Ctrl-D ends";
    shell.out.line(shell.out.styled(Style::Dim, help));
    interactive::run(shell).await
}

/// Lines from a pipe, answered as ZooKeeper's shell answers them, its prompts included.
async fn piped(shell: &mut Shell) -> Result<(), Failure> {
    let (send, mut lines) = tokio::sync::mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for line in stdin().lock().split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if send.blocking_send(text).is_err() {
                return;
            }
        }
    });
    let quiet = shell.options.quiet;
    if !quiet {
        shell.out.line("Welcome to ZooKeeper!\nJLine support is enabled");
    }
    loop {
        if !quiet {
            shell.out.raw(&shell.prompt());
        }
        let Some(text) = lines.recv().await else { break };
        if shell.execute_line(&text).await == Next::Quit || shell.out.gone() {
            return Ok(());
        }
    }
    if !quiet {
        shell.out.line("JLine support is disabled");
    }
    Ok(())
}

impl Shell {
    /// Executes a line, and stops it at Ctrl-C.
    async fn execute_line(&mut self, text: &str) -> Next {
        let done = tokio::select! {
            next = self.line(text) => Some(next),
            _ = tokio::signal::ctrl_c() => None,
        };
        done.unwrap_or_else(|| {
            self.count = self.history.len();
            self.interrupted()
        })
    }

    /// Executes words, and stops them at Ctrl-C.
    async fn execute(&mut self, words: &[String]) -> Next {
        let done = tokio::select! {
            next = self.words(words) => Some(next),
            _ = tokio::signal::ctrl_c() => None,
        };
        done.unwrap_or_else(|| self.interrupted())
    }

    fn interrupted(&mut self) -> Next {
        self.json = self.options.json;
        self.out.progress("");
        self.fail(&Failure::new(Kind::Interrupted, "stopped"));
        Next::Go
    }
}
