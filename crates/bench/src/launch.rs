//! Servers that the benchmark starts itself: for start-up time, and for memory from a fresh start.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use oxkeeper_proto::Request;
use oxkeeper_proto::request::PathWatch;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::session::Session;

/// How long a server may take to its first answer.
const START_MAX: Duration = Duration::from_secs(300);

/// How long it may take to end once asked to.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Pause between two looks: what the start-up time may be off by.
const RETRY: Duration = Duration::from_micros(500);

/// A server run by a shell command, in a process group of its own; ended when dropped.
pub struct Launched {
    child: Child,
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
        if std::net::TcpStream::connect(address).is_ok() {
            bail!(
                "a server listens on {address} already; it would be measured instead of {command:?}"
            );
        }
    }
    let start = Instant::now();
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let mut launched = Launched { child, took: Duration::ZERO };
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
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal(Signal::TERM);
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > STOP_MAX {
                self.signal(Signal::KILL);
                self.child.wait()?;
                bail!("the server did not end within {} s of SIGTERM", STOP_MAX.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
