//! A server under test: its process, what it prints, and its end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::DEADLINE;

pub const BINARY: &str = env!("CARGO_BIN_EXE_oxkeeper");

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    set: Vec<String>,
    arguments: Vec<String>,
    /// It has a configuration file, which says where its data is and where it listens.
    file: Option<PathBuf>,
    /// Shell commands before the server takes the shell's place: limits.
    shell: Option<String>,
}

impl Setup {
    pub fn new() -> Setup {
        Setup::default()
    }

    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Setup {
        self.set.push(format!("{key}={value}"));
        self
    }

    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A server with a configuration file that says everything, as operators have it.
    pub fn of_file(path: &Path) -> Setup {
        Setup { file: Some(path.to_owned()), ..Setup::default() }
    }

    /// Limits of the process, in the shell's words: `ulimit -n 40`.
    pub fn shell(mut self, commands: &str) -> Setup {
        self.shell = Some(commands.to_owned());
        self
    }

    /// Runs it in a new directory.
    pub fn start(&self) -> Server {
        self.start_in(Dir::New(tempfile::tempdir().unwrap()))
    }

    /// Runs it where another one was.
    pub fn start_in(&self, dir: Dir) -> Server {
        Server::watch(self.command(dir.path()), dir)
    }

    /// Runs it in a new directory, expecting that it ends before it serves.
    pub fn fails(&self) -> (ExitStatus, Vec<String>) {
        self.fails_in(tempfile::tempdir().unwrap().path())
    }

    /// Runs it where another one is or was, expecting that it ends before it serves.
    pub fn fails_in(&self, dir: &Path) -> (ExitStatus, Vec<String>) {
        let mut server = Server::spawn(self.command(dir), Dir::Kept(dir.to_owned()));
        let said: Vec<String> = server.out.iter().collect();
        server.seen.extend(said);
        let (status, log, _) = server.wait();
        (status, log)
    }

    fn command(&self, data_dir: &Path) -> Command {
        let mut arguments = vec!["serve".to_owned()];
        let data_dir = format!("dataDir={}", data_dir.display());
        let first = ["clientPort=0".to_owned(), data_dir, "clientPortAddress=127.0.0.1".to_owned()];
        match &self.file {
            Some(file) => arguments.push(file.display().to_string()),
            None => {
                arguments.extend(first.iter().flat_map(|set| ["--set".to_owned(), set.clone()]))
            }
        }
        for setting in &self.set {
            arguments.extend(["--set".to_owned(), setting.clone()]);
        }
        arguments.extend(self.arguments.iter().cloned());
        let mut command = match &self.shell {
            Some(commands) => {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("{commands}; exec \"$0\" \"$@\""), BINARY]);
                command
            }
            None => Command::new(BINARY),
        };
        command.args(arguments).stdin(Stdio::null());
        command
    }
}

/// Where a server's data is: gone with the last one who holds it.
#[derive(Debug)]
pub enum Dir {
    New(TempDir),
    Kept(PathBuf),
}

impl Dir {
    pub fn path(&self) -> &Path {
        match self {
            Dir::New(dir) => dir.path(),
            Dir::Kept(path) => path,
        }
    }
}

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
    log: Receiver<String>,
    out: Receiver<String>,
    seen: Vec<String>,
    dir: Option<Dir>,
}

impl Server {
    fn spawn(mut command: Command, dir: Dir) -> Server {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        Server {
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
            log: lines(child.stderr.take().unwrap()),
            out: lines(child.stdout.take().unwrap()),
            seen: Vec::new(),
            dir: Some(dir),
            child,
        }
    }

    fn watch(command: Command, dir: Dir) -> Server {
        let mut server = Server::spawn(command, dir);
        while let Ok(line) = server.out.recv_timeout(DEADLINE) {
            if let Some(addr) = line.trim_start().strip_prefix("listening on") {
                server.addr = addr.trim().parse().expect("an address");
                return server;
            }
        }
        panic!("not ready\n{}", server.whole_log());
    }

    pub fn data_dir(&self) -> &Path {
        self.dir.as_ref().expect("it is running").path()
    }

    /// The log up to now.
    pub fn log_so_far(&mut self) -> &[String] {
        self.seen.extend(self.log.try_iter());
        &self.seen
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server is there");
    }

    /// Waits for a line of the log with all of these in it.
    pub fn wait_for_log(&mut self, parts: &[&str]) -> String {
        let fits = |line: &String| parts.iter().all(|part| line.contains(part));
        if let Some(line) = self.seen.iter().find(|line| fits(line)) {
            return line.clone();
        }
        let until = Instant::now() + DEADLINE;
        while let Ok(line) = self.log.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line.clone());
            if fits(&line) {
                return line;
            }
        }
        panic!("no line with {parts:?} in\n{}", self.seen.join("\n"));
    }

    /// Waits for the process to end by itself; its status, its log and its directory.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>, Dir) {
        let until = Instant::now() + DEADLINE;
        // The log ends when the process does.
        loop {
            match self.log.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("still running\n{}", self.seen.join("\n"))
                }
            }
        }
        let status = self.child.wait().unwrap();
        (status, std::mem::take(&mut self.seen), self.dir.take().unwrap())
    }

    /// Ends it as an operator does.
    pub fn terminate(self) -> (ExitStatus, Vec<String>, Dir) {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it as a power cut of the process does.
    pub fn kill(mut self) -> Dir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.dir.take().unwrap()
    }

    fn whole_log(&mut self) -> String {
        let _ = self.child.kill();
        self.seen.extend(self.log.iter());
        self.seen.join("\n")
    }

    /// Processor time used so far, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Fields 14 and 15, counted from behind the name, which may hold blanks.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream, read as they come so that the writer is never held up.
fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
