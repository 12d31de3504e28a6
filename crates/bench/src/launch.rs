//! Servers that the benchmark starts itself: for start-up time, and for memory from a fresh start.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use oxkeeper_proto::Request;
use oxkeeper_proto::request::PathWatch;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::session::Session;

/// How long a server may take to its first answer.
const START_MAX: Duration = Duration::from_secs(300);

/// How long it may take to end once asked to.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A server whose port is closed for so long has ended, even if nobody has collected its process:
/// in a container there is not always somebody who does.
const UNCOLLECTED: Duration = Duration::from_secs(2);

/// Pause between two looks: what the start-up time may be off by.
const RETRY: Duration = Duration::from_micros(500);

/// A server run by a shell command, in a process group of its own; ended when dropped.
pub struct Launched {
    child: Child,
    addresses: Vec<SocketAddr>,
    ended: bool,
    /// Time from starting the command to the first answered request.
    pub took: Duration,
}

/// Starts `command` and waits until the servers at `addresses` answer a request; the time that it
/// took is that of the first one.
///
/// # Errors
/// When something listens there already, the command ends, or nothing answers in time.
pub fn launch(command: &str, addresses: &[SocketAddr]) -> Result<Launched> {
    for address in addresses {
        if listens(*address) {
            bail!(
                "a server listens on {address} already; it would be measured instead of {command:?}"
            );
        }
    }
    let start = Instant::now();
    let mut launched = spawn(command, addresses)?;
    let mut probes: Vec<Probe> = addresses.iter().map(|address| Probe::new(*address)).collect();
    while !probes.is_empty() {
        let before = probes.len();
        probes.retain_mut(|probe| !probe.served());
        if before == addresses.len() && probes.len() < before {
            launched.took = start.elapsed();
        }
        if let Some(status) = launched.child.try_wait()? {
            bail!("{command:?} ended with {status} before it served; run it by hand to see why");
        }
        if start.elapsed() > START_MAX {
            let (address, limit) = (addresses[0], START_MAX.as_secs());
            bail!("{command:?} did not serve on {address} within {limit} s");
        }
        std::thread::sleep(RETRY);
    }
    Ok(launched)
}

fn spawn(command: &str, addresses: &[SocketAddr]) -> Result<Launched> {
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    Ok(Launched { child, addresses: addresses.to_vec(), ended: false, took: Duration::ZERO })
}

/// Whether anybody takes connections there. Where nobody does, a connection may be made with
/// itself, if the system happens to choose that very port for its other end.
fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok_and(|stream| stream.local_addr().ok() != Some(address))
}

/// Handshakes with a server that may not be there yet.
///
/// A starting server may accept a connection and then forget it, as ZooKeeper's does when it is
/// between opening its port and serving. Waiting for such an answer would be measuring our own
/// patience, so further attempts are made beside those that hang.
pub struct Probe {
    address: SocketAddr,
    hanging: Vec<Session>,
    next_attempt: Instant,
}

impl Probe {
    /// Pause between two attempts to connect that have not failed.
    const EVERY: Duration = Duration::from_millis(20);

    /// Attempts that are kept; the oldest goes first.
    const HANGING_MAX: usize = 64;

    /// Nothing tried yet.
    pub fn new(address: SocketAddr) -> Probe {
        Probe { address, hanging: Vec::new(), next_attempt: Instant::now() }
    }

    /// Whether a server has granted a session by now and answers a read in it.
    pub fn served(&mut self) -> bool {
        if self.next_attempt <= Instant::now() {
            // A refused connection costs microseconds: it may be tried again at once.
            if let Ok(session) = Session::begin(self.address, 30_000) {
                self.hanging.truncate(Probe::HANGING_MAX);
                self.hanging.insert(0, session);
                self.next_attempt = Instant::now() + Probe::EVERY;
            }
        }
        let mut granted = None;
        self.hanging.retain_mut(|session| match session.poll_handshake(self.address) {
            Ok(false) => true,
            Ok(true) if granted.is_none() => {
                let root = Request::Exists(PathWatch { path: "/".into(), watch: false });
                granted = session.call(&root).is_ok_and(|answer| answer.err.is_ok()).then_some(());
                false
            }
            _ => false,
        });
        granted.is_some()
    }
}

impl Launched {
    /// Asks the process group to end, and waits until it has.
    ///
    /// # Errors
    /// When it has to be killed.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        self.signal(Signal::TERM);
        let start = Instant::now();
        while self.runs(start)? {
            if start.elapsed() > STOP_MAX {
                self.signal(Signal::KILL);
                self.child.wait()?;
                bail!("the server did not end within {} s of SIGTERM", STOP_MAX.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether anything of it runs since it was asked to end at `asked`. The shell ends at once, a
    /// server that it has started takes its time.
    fn runs(&mut self, asked: Instant) -> Result<bool> {
        if self.child.try_wait()?.is_none() {
            return Ok(true);
        }
        let any_left = self.group().is_some_and(|group| test_kill_process_group(group).is_ok());
        let silent = || !self.addresses.iter().any(|address| listens(*address));
        Ok(any_left && !(asked.elapsed() > UNCOLLECTED && silent()))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group() {
            let _ = kill_process_group(group, signal);
        }
    }

    fn group(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_ended_when_all_that_the_shell_started_has() {
        let dir = tempfile::tempdir().unwrap();
        let (ready, file) = (dir.path().join("ready"), dir.path().join("ended"));
        assert!(Command::new("mkfifo").arg(&ready).status().unwrap().success());
        // The shell goes at the first word, what it has started does not hear it.
        let deaf =
            format!("trap '' TERM; echo >{}; sleep 0.3; >{}", ready.display(), file.display());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let launched = spawn(&format!("({deaf}) & wait"), &[listener.local_addr().unwrap()]);
        std::fs::read(&ready).unwrap();
        let launched = launched.unwrap();
        launched.stop().unwrap();
        assert!(file.exists());
    }

    #[test]
    fn whoever_listens_is_heard() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(listens(address));
        drop(listener);
        assert!(!listens(address));
    }
}
