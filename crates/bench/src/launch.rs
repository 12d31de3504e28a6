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

/// Pause between two attempts to connect: what the start-up time may be off by.
const RETRY: Duration = Duration::from_micros(500);

/// A server run by a shell command, in a process group of its own; ended when dropped.
pub struct Launched {
    child: Child,
    /// Time from starting the command to the first answered request.
    pub took: Duration,
}

/// Starts `command` and waits until a server at `address` answers a request.
///
/// # Errors
/// When something listens there already, the command ends, or nothing answers in time.
pub fn launch(command: &str, address: SocketAddr) -> Result<Launched> {
    if std::net::TcpStream::connect(address).is_ok() {
        bail!("a server listens on {address} already; it would be measured instead of {command:?}");
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
    while !answers(address) {
        if let Some(status) = launched.child.try_wait()? {
            bail!("{command:?} ended with {status} before it served; run it by hand to see why");
        }
        if start.elapsed() > START_MAX {
            bail!("{command:?} did not serve on {address} within {} s", START_MAX.as_secs());
        }
        std::thread::sleep(RETRY);
    }
    launched.took = start.elapsed();
    Ok(launched)
}

/// Whether a server grants a session there and answers a read.
fn answers(address: SocketAddr) -> bool {
    // A refused connection costs microseconds; only a server that is there is asked for more.
    let Ok(mut session) = Session::open(address, 30_000) else { return false };
    let root = Request::Exists(PathWatch { path: "/".into(), watch: false });
    let served = session.call(&root).is_ok_and(|answer| answer.err.is_ok());
    let _ = session.close();
    served
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
