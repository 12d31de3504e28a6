//! The servers that are measured: where they are, whose process they are, how they are restarted.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::args::{BenchArgs, Via};
use crate::catalogue::CANNED;
use crate::launch::{Launched, launch};
use crate::members::{Member, Mode, Processes};
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

/// One server, or one ensemble of them.
pub struct Target {
    /// What it is measured for.
    pub role: Role,
    /// What it calls itself, or its address.
    pub name: String,
    /// Its servers; once they were asked what they are, followers come first.
    pub members: Vec<Member>,
    /// The members that clients go to.
    pub via: Via,
    /// What starts it.
    pub cmd: Option<String>,
    /// Processes that were named, in the order of the members as they were named.
    given: Vec<(SocketAddr, u32)>,
    launched: Option<Launched>,
    canned: Option<Child>,
}

/// The servers that the command line names.
///
/// # Errors
/// When a name cannot be resolved or the server of canned answers does not start.
pub fn targets(args: &BenchArgs) -> Result<Vec<Target>> {
    let (cmd, via) = (args.cmd.clone(), args.via);
    let mut targets =
        vec![Target::new(Role::Server, resolve_all(&args.server)?, &args.pid, cmd)?.via(via)];
    if !args.against.is_empty() {
        let addresses = resolve_all(&args.against)?;
        ensure!(
            targets[0].members.iter().all(|member| !addresses.contains(&member.address)),
            "--against is the same server as --server"
        );
        let cmd = args.against_cmd.clone();
        targets.push(Target::new(Role::Against, addresses, &args.against_pid, cmd)?.via(via));
    }
    if args.limit {
        targets.push(canned_target()?);
    }
    Ok(targets)
}

fn resolve_all(names: &[String]) -> Result<Vec<SocketAddr>> {
    names.iter().map(|name| resolve(name)).collect()
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
    let mut target = Target::new(Role::Limit, vec![address], &[child.id()], None)?;
    target.name = "limit".into();
    target.members[0].pid = Some(child.id());
    target.canned = Some(child);
    Ok(target)
}

impl Target {
    /// Servers that run, or will when their command is given. Their processes, if any are named,
    /// are named in the order of their addresses.
    ///
    /// # Errors
    /// When there are no addresses, one twice, or another number of processes.
    pub fn new(
        role: Role,
        addresses: Vec<SocketAddr>,
        pids: &[u32],
        cmd: Option<String>,
    ) -> Result<Target> {
        let count = addresses.len();
        ensure!(count > 0, "no server is named");
        ensure!(
            pids.is_empty() || pids.len() == count,
            "{count} servers and {} processes: name one process for each server",
            pids.len()
        );
        for (number, address) in addresses.iter().enumerate() {
            ensure!(!addresses[..number].contains(address), "{address} is named twice");
        }
        let given = addresses.iter().copied().zip(pids.iter().copied()).collect();
        let member = |address| Member { address, pid: None, mode: Mode::Unknown };
        let members: Vec<Member> = addresses.into_iter().map(member).collect();
        let name = address_text(&members);
        let (via, launched, canned) = (Via::All, None, None);
        Ok(Target { role, name, members, via, cmd, given, launched, canned })
    }

    /// The same with clients going to these members only.
    #[must_use]
    pub fn via(mut self, via: Via) -> Target {
        self.via = via;
        self
    }

    /// Where clients go.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let wanted = |member: &&Member| match self.via {
            Via::All => true,
            Via::Leader => !member.mode.learns(),
            Via::Followers => member.mode != Mode::Leader,
        };
        self.members.iter().filter(wanted).map(|member| member.address).collect()
    }

    /// All addresses, in a word.
    pub fn address_text(&self) -> String {
        address_text(&self.members)
    }

    /// The processes of all members.
    pub fn processes(&self) -> Processes {
        Processes::of(&self.members)
    }

    /// Sees to it that the servers run, and asks each what it is; `fresh` restarts what we started.
    ///
    /// # Errors
    /// When one does not start, or does not run and there is no command to start it.
    pub fn up(&mut self, fresh: bool) -> Result<()> {
        if self.role == Role::Limit {
            return Ok(());
        }
        if let Some(cmd) = &self.cmd {
            if fresh && let Some(launched) = self.launched.take() {
                launched.stop()?;
            }
            if self.launched.is_none() {
                let addresses: Vec<SocketAddr> =
                    self.members.iter().map(|member| member.address).collect();
                self.launched = Some(launch(cmd, &addresses)?);
            }
        }
        self.look()
    }

    /// Asks every member what it is, and finds its process.
    ///
    /// # Errors
    /// When one cannot be reached, or there is no member of the kind that clients should go to.
    pub fn look(&mut self) -> Result<()> {
        let mut names: Vec<(String, usize)> = Vec::new();
        for member in &mut self.members {
            let address = member.address;
            let text = admin_word(address, "srvr")
                .with_context(|| format!("cannot connect to {address}: is a server listening?"))?;
            member.mode = Mode::in_srvr(&text);
            let given = self.given.iter().find(|(known, _)| *known == address);
            member.pid = given.map(|(_, pid)| *pid).or_else(|| procfs::listener(address));
            let Some(name) = named_version(&text) else { continue };
            match names.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => names.push((name, 1)),
            }
        }
        self.members.sort_by_key(|member| member.mode);
        ensure!(!self.addresses().is_empty(), "{} has no member to go to (--via)", self.name);
        let of_many = |(name, count): (String, usize)| match count {
            1 if self.members.len() == 1 => name,
            count => format!("{name} ×{count}"),
        };
        if !names.is_empty() {
            self.name = names.into_iter().map(of_many).collect::<Vec<_>>().join(" + ");
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
        let text = admin_word(self.members[0].address, "mntr").ok()?;
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

fn address_text(members: &[Member]) -> String {
    let all: Vec<String> = members.iter().map(|member| member.address.to_string()).collect();
    all.join(",")
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

    fn target(pids: &[u32]) -> Result<Target> {
        let addresses = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
        Target::new(Role::Server, addresses, pids, None)
    }

    #[test]
    fn clients_go_to_the_members_that_were_asked_for() {
        let mut target = target(&[]).unwrap();
        let modes = [Mode::Follower, Mode::Observer, Mode::Leader];
        for (member, mode) in target.members.iter_mut().zip(modes) {
            member.mode = mode;
        }
        let mut ports = |via| {
            target.via = via;
            target.addresses().iter().map(SocketAddr::port).collect::<Vec<_>>()
        };
        assert_eq!(ports(Via::All), [1, 2, 3]);
        assert_eq!(ports(Via::Leader), [3]);
        assert_eq!(ports(Via::Followers), [1, 2]);
    }

    #[test]
    fn processes_are_named_for_all_servers_or_for_none() {
        assert!(target(&[7, 8, 9]).is_ok());
        let error = target(&[7]).err().unwrap().to_string();
        assert!(error.contains("3 servers and 1 processes"), "{error}");
        let twice = vec![SocketAddr::from(([127, 0, 0, 1], 1)); 2];
        assert!(Target::new(Role::Server, twice, &[], None).is_err());
    }

    #[test]
    fn servers_are_called_by_what_they_say() {
        let java = "Zookeeper version: 3.9.5-293c895a8d, built on 2026-02-11 20:18 UTC\nLatency";
        assert_eq!(named_version(java).as_deref(), Some("zookeeper 3.9.5"));
        let ours = "Zookeeper version: 3.9.5-oxkeeper-0.1.0, built on 2026-11-20 10:00 UTC\n";
        assert_eq!(named_version(ours).as_deref(), Some("oxkeeper 0.1.0"));
        assert_eq!(named_version("srvr is not executed because it is not in the whitelist."), None);
    }
}
