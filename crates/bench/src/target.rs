//! The servers that are measured: where they are, whose process they are, how they are restarted.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::args::BenchArgs;
use crate::catalogue::CANNED;
use crate::launch::{Launched, launch};
use crate::procfs;
use crate::session::admin_word;

/// What a server is measured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one that it is about.
    Server,
    /// The one that it is compared with.
    Against,
    /// Canned answers.
    Limit,
}

/// One server.
pub struct Target {
    /// What it is measured for.
    pub role: Role,
    /// What it calls itself, or its address.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, if it can be seen.
    pub pid: Option<u32>,
    /// What starts it.
    pub cmd: Option<String>,
    given_pid: Option<u32>,
    launched: Option<Launched>,
    canned: Option<Child>,
}

/// The servers that the command line names.
///
/// # Errors
/// When a name cannot be resolved or the server of canned answers does not start.
pub fn targets(args: &BenchArgs) -> Result<Vec<Target>> {
    let mut targets =
        vec![Target::new(Role::Server, resolve(&args.server)?, args.pid, args.cmd.clone())];
    if let Some(against) = &args.against {
        let (pid, cmd) = (args.against_pid, args.against_cmd.clone());
        targets.push(Target::new(Role::Against, resolve(against)?, pid, cmd));
        ensure!(
            targets[0].address != targets[1].address,
            "--against is the same server as --server"
        );
    }
    if args.limit {
        targets.push(canned_target()?);
    }
    Ok(targets)
}

/// The first address of `host:port`, IPv4 before IPv6.
fn resolve(text: &str) -> Result<SocketAddr> {
    let mut found: Vec<SocketAddr> = text
        .to_socket_addrs()
        .with_context(|| format!("{text:?} is not a host:port that can be resolved"))?
        .collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().with_context(|| format!("{text:?} has no address"))
}

/// Starts ourselves as a server of canned answers, in a process of its own so that its CPU time is
/// its own.
fn canned_target() -> Result<Target> {
    let program = std::env::current_exe().context("where are we?")?;
    let mut child = Command::new(program)
        .args(["bench", CANNED, "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the server of canned answers")?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let Some(address) = line.trim().strip_prefix("listening on ").and_then(|a| a.parse().ok())
    else {
        let _ = child.kill();
        bail!("the server of canned answers did not start");
    };
    let pid = Some(child.id());
    let mut target = Target::new(Role::Limit, address, pid, None);
    target.name = "limit".into();
    target.pid = pid;
    target.canned = Some(child);
    Ok(target)
}

impl Target {
    /// A server that runs, or will when its command is given.
    pub fn new(role: Role, address: SocketAddr, pid: Option<u32>, cmd: Option<String>) -> Target {
        Target {
            role,
            name: address.to_string(),
            address,
            pid: None,
            cmd,
            given_pid: pid,
            launched: None,
            canned: None,
        }
    }

    /// Sees to it that the server runs; `fresh` restarts one that we started.
    ///
    /// # Errors
    /// When it does not start, or does not run and there is no command to start it.
    pub fn up(&mut self, fresh: bool) -> Result<()> {
        if self.role == Role::Limit {
            return Ok(());
        }
        if let Some(cmd) = &self.cmd {
            if fresh && let Some(launched) = self.launched.take() {
                launched.stop()?;
            }
            if self.launched.is_none() {
                self.launched = Some(launch(cmd, self.address)?);
            }
        }
        self.pid = self.given_pid.or_else(|| procfs::listener(self.address));
        if let Some(name) = server_name(self.address)? {
            self.name = name;
        }
        Ok(())
    }

    /// Stops a server that we started.
    ///
    /// # Errors
    /// When it does not end.
    pub fn down(&mut self) -> Result<()> {
        self.launched.take().map_or(Ok(()), Launched::stop)
    }

    /// How long its last start took, if we started it.
    pub fn start_time(&self) -> Option<Duration> {
        self.launched.as_ref().map(|launched| launched.took)
    }

    /// Whether our own command runs it.
    pub fn is_managed(&self) -> bool {
        self.cmd.is_some()
    }

    /// How many snapshots the server has written since its start, if it tells.
    pub fn snapshots(&self) -> Option<u64> {
        let text = admin_word(self.address, "mntr").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("zk_cnt_snapshottime"))?;
        line.trim().parse::<f64>().ok().map(|count| count as u64)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(child) = &mut self.canned {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The version that `srvr` reports.
fn server_name(address: SocketAddr) -> Result<Option<String>> {
    let text = admin_word(address, "srvr")
        .with_context(|| format!("cannot connect to {address}: is a server listening?"))?;
    Ok(named_version(&text))
}

/// `3.9.5` out of `Zookeeper version: 3.9.5-293c…, built on …`; ours says what else it is.
fn named_version(srvr: &str) -> Option<String> {
    let version = srvr.lines().find_map(|line| line.strip_prefix("Zookeeper version: "))?;
    let version = version.split([',', ' ']).next()?;
    match version.split_once('-') {
        Some((number, rest)) if rest.starts_with("oxkeeper") => {
            Some(format!("{} {}", "oxkeeper", rest.split('-').nth(1).unwrap_or(number)))
        }
        Some((number, _)) => Some(format!("zookeeper {number}")),
        None => Some(version.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_called_by_what_they_say() {
        let java = "Zookeeper version: 3.9.5-293c895a8d, built on 2026-02-11 20:18 UTC\nLatency";
        assert_eq!(named_version(java).as_deref(), Some("zookeeper 3.9.5"));
        let ours = "Zookeeper version: 3.9.5-oxkeeper-0.1.0, built on 2026-11-20 10:00 UTC\n";
        assert_eq!(named_version(ours).as_deref(), Some("oxkeeper 0.1.0"));
        assert_eq!(named_version("srvr is not executed because it is not in the whitelist."), None);
    }
}
