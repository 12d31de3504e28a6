//! Ensembles of real servers, each its own process: Apache's of several releases and ours, mixed.
//!
//! A [`Plan`] names the members and what each of them is; the [`Ensemble`] writes their
//! configurations as an operator would, starts, stops, kills, freezes, wipes and replaces them, and
//! asks them who leads. With [`wires`] every connection between members can be held or cut, and
//! what was said on the quorum port is kept ([`tape`]).
//!
//! Each member has `zoo.cfg`, `server.log` and `data` in a directory of its own, under its id.

pub mod addresses;
mod breaks;
mod kind;
pub mod tape;
pub mod wires;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

pub use kind::{Kind, Mixture, Programs};
pub use wires::{Flow, Port, Wires};

use crate::peers::{Release, RunningServer, Signal, StartOpts, four_letter_word_within};

/// Where the fault is known that [`Ensemble::known_fault`] looks for.
pub const KNOWN_FAULT: &str = "ZOOKEEPER-4541, 4712, 4394";
/// The tick of all ensembles here, ms: short, so that limits pass quickly.
pub const TICK_MS: u64 = 500;
/// Ticks of silence that a leader and its learners bear. A busy machine is silent, too.
pub const SYNC_LIMIT: u64 = 6;
/// Ticks that connecting and synchronising may take.
const INIT_LIMIT: u64 = 60;
/// How long anything may take that waits for processes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often members are asked while something is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// How long a member may take over one question.
const WORD_TIMEOUT: Duration = Duration::from_secs(2);

/// What a member is configured as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It votes.
    Participant,
    /// It does not.
    Observer,
}

/// What a member says of itself (`srvr`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words are ZooKeeper's")]
pub enum Mode {
    Leader,
    Follower,
    Observer,
    Standalone,
}

/// The ensemble to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Members, beginning with id 1.
    pub members: Vec<(Kind, Role)>,
    /// Where their directories are made.
    pub dir: PathBuf,
    /// Whether members reach each other by wires that can be cut. Members are then told different
    /// addresses of each other, so configurations must not travel (no `reconfigEnabled`).
    pub wired: bool,
    /// Lines of `zoo.cfg` beside those that every member has.
    pub config: Vec<(String, String)>,
    /// Java's system properties, or our settings by the same names.
    pub properties: Vec<(String, String)>,
    /// Members that are configured nowhere but with themselves, as observers; they join by
    /// reconfiguration.
    joiners: Vec<Kind>,
    /// Followers serve observers; each member has a loopback address of its own then, because all
    /// of them do so at the same port.
    observer_masters: bool,
    /// Every member has two addresses, in two networks, and a wire leads to each.
    two_addresses: bool,
}

impl Plan {
    /// Participants of these kinds, with wires.
    pub fn new(kinds: &[Kind], dir: impl Into<PathBuf>) -> Plan {
        Plan {
            members: kinds.iter().map(|&kind| (kind, Role::Participant)).collect(),
            dir: dir.into(),
            wired: true,
            config: Vec::new(),
            properties: Vec::new(),
            joiners: Vec::new(),
            observer_masters: false,
            two_addresses: false,
        }
    }

    /// Gives every member two addresses (`multiAddress.enabled`).
    #[must_use]
    pub fn two_addresses(mut self) -> Plan {
        self.two_addresses = true;
        // In the file Java reads it too late, as the order of its hash table falls.
        self.property("zookeeper.multiAddress.enabled", "true")
    }

    /// Lets the membership be changed while the ensemble runs, by the superuser `super:secret`,
    /// and adds those that are to join. There are no wires then.
    #[must_use]
    pub fn reconfigurable(mut self, joiners: &[Kind]) -> Plan {
        self.wired = false;
        self.joiners = joiners.to_vec();
        self.config("reconfigEnabled", "true").config("standaloneEnabled", "false").config(
            "DigestAuthenticationProvider.superDigest",
            "super:lK75jTNcA+U9vtVEw5vB51mj/w4=",
        )
    }

    /// Lets followers serve observers (`observerMasterPort`).
    #[must_use]
    pub fn observer_masters(mut self) -> Plan {
        self.observer_masters = true;
        self
    }

    /// Adds an observer.
    #[must_use]
    pub fn observer(mut self, kind: Kind) -> Plan {
        self.members.push((kind, Role::Observer));
        self
    }

    /// Adds a line to every `zoo.cfg`.
    #[must_use]
    pub fn config(mut self, key: &str, value: &str) -> Plan {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a system property.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Plan {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Where a member listens, or where another believes it to.
#[derive(Clone, Copy, Debug)]
struct Ports {
    /// Of the ports for other members.
    host: Ipv4Addr,
    client: u16,
    quorum: u16,
    election: u16,
}

impl Ports {
    /// The value of `server.N` as files have it that are not to change.
    fn static_line(self, role: Role) -> String {
        let role = if role == Role::Observer { ":observer" } else { "" };
        format!("{}:{}:{}{role}", self.host, self.quorum, self.election)
    }

    /// The value of `server.N` as reconfigurations have it.
    fn dynamic_line(self, role: Role) -> String {
        let role = if role == Role::Observer { "observer" } else { "participant" };
        let Ports { host, quorum, election, client } = self;
        format!("{host}:{quorum}:{election}:{role};127.0.0.1:{client}")
    }
}

#[derive(Debug)]
struct Member {
    kind: Kind,
    role: Role,
    ports: Ports,
    server: RunningServer,
    frozen: bool,
}

/// Servers that form an ensemble. All processes end with this value.
#[derive(Debug)]
pub struct Ensemble {
    programs: Programs,
    members: BTreeMap<i64, Member>,
    wires: Option<Wires>,
    /// Of members that have two each, if we may take them away.
    addresses: Option<addresses::Addresses>,
}

impl Ensemble {
    /// Writes the configurations; nobody runs yet.
    ///
    /// # Errors
    /// When a port or file cannot be had, or a kind was not fetched.
    pub fn lay_out(programs: &Programs, plan: &Plan) -> Result<Ensemble> {
        let mut ensemble = Ensemble {
            programs: programs.clone(),
            members: BTreeMap::new(),
            wires: plan.wired.then(Wires::new).transpose()?,
            addresses: None,
        };
        let joiners = plan.joiners.iter().map(|&kind| (kind, Role::Observer));
        for (sid, (kind, role)) in (1..).zip(plan.members.iter().copied().chain(joiners)) {
            let host = if plan.observer_masters { own_host(sid)? } else { Ipv4Addr::LOCALHOST };
            let ports = Ports {
                host,
                client: crate::free_port()?,
                quorum: crate::free_port()?,
                election: crate::free_port()?,
            };
            let mut opts = StartOpts::new(plan.dir.join(sid.to_string()), ports.client)
                .config("tickTime", &TICK_MS.to_string())
                .config("initLimit", &INIT_LIMIT.to_string())
                .config("syncLimit", &SYNC_LIMIT.to_string())
                .config("maxClientCnxns", "0")
                .config("maxSessionTimeout", "60000");
            opts.config.extend(plan.config.iter().cloned());
            opts.properties.extend(plan.properties.iter().cloned());
            opts.properties.push(("zookeeper.jmx.log4j.disable".into(), "true".into()));
            opts.properties.push(("zookeeper.digest.enabled".into(), "true".into()));
            opts.jvm_args = ["-Xmx256m", "-XX:TieredStopAtLevel=1"].map(String::from).into();
            fs::create_dir_all(opts.data_dir())?;
            fs::write(opts.data_dir().join("myid"), format!("{sid}\n"))?;
            let server = programs.of(kind)?.prepare(opts);
            let member = Member { kind, role, ports, server, frozen: false };
            ensemble.members.insert(sid, member);
        }
        match plan.two_addresses {
            true => ensemble.introduce_twice()?,
            false => ensemble.introduce(plan)?,
        }
        Ok(ensemble)
    }

    /// Tells each member of all that are to be known at the start: lines `server.N`, through wires
    /// if there are any.
    fn introduce(&mut self, plan: &Plan) -> Result<()> {
        let known = self.sids().into_iter().take(plan.members.len());
        let known = known.collect::<Vec<_>>();
        let all: Vec<_> = self.members.iter().map(|(&sid, m)| (sid, m.ports, m.role)).collect();
        let masters = plan.observer_masters.then(crate::free_port).transpose()?;
        for (&me, member) in &mut self.members {
            let opts = member.server.opts_mut();
            opts.config.extend(masters.map(|port| ("observerMasterPort".into(), port.to_string())));
            for &(sid, ports, role) in &all {
                if sid != me && !known.contains(&sid) {
                    continue;
                }
                let mut ports = ports;
                if let Some(wires) = self.wires.as_ref().filter(|_| sid != me) {
                    let real = ports;
                    let target = |port| SocketAddr::from((real.host, port));
                    if masters.is_some() {
                        ports.host = wire_host(me, sid)?;
                    }
                    let at = |port| SocketAddr::from((ports.host, port));
                    let (pair, Ports { quorum, election, .. }) = ((me, sid), real);
                    ports.quorum = wires.lay(pair, Port::Quorum, at(0), target(quorum))?;
                    ports.election = wires.lay(pair, Port::Election, at(0), target(election))?;
                    if let Some(port) = masters {
                        wires.lay(pair, Port::Observers, at(port), target(port))?;
                    }
                }
                let line = if plan.joiners.is_empty() {
                    ports.static_line(role)
                } else {
                    ports.dynamic_line(role)
                };
                opts.config.push((format!("server.{sid}"), line));
            }
            if member.role == Role::Observer {
                opts.config.push(("peerType".into(), "observer".into()));
            }
        }
        Ok(())
    }

    /// The ids of all members.
    pub fn sids(&self) -> Vec<i64> {
        self.members.keys().copied().collect()
    }

    /// The ids of those that vote.
    pub fn participants(&self) -> Vec<i64> {
        let voting = self.members.iter().filter(|(_, member)| member.role == Role::Participant);
        voting.map(|(&sid, _)| sid).collect()
    }

    /// What a member is.
    ///
    /// # Errors
    /// There is no such member.
    pub fn kind(&self, sid: i64) -> Result<Kind> {
        Ok(self.member(sid)?.kind)
    }

    /// What a reconfiguration says to have a member in this role, which it has from now on.
    ///
    /// # Errors
    /// There is no such member.
    pub fn join_as(&mut self, sid: i64, role: Role) -> Result<String> {
        let member = self.member_mut(sid)?;
        member.role = role;
        Ok(format!("server.{sid}={}", member.ports.dynamic_line(role)))
    }

    /// Writes into a joiner's configuration who the members are now.
    ///
    /// # Errors
    /// There is no such member.
    pub fn invite(&mut self, sid: i64) -> Result<()> {
        let mut lines = Vec::new();
        for at in self.running().into_iter().chain([sid]) {
            let member = self.member(at)?;
            lines.push((format!("server.{at}"), member.ports.dynamic_line(member.role)));
        }
        let config = &mut self.opts_mut(sid)?.config;
        config.retain(|(key, _)| !key.starts_with("server."));
        config.extend(lines);
        Ok(())
    }

    /// `java 3, ours 1`: two members by their kinds, for messages.
    ///
    /// # Errors
    /// There is no such member.
    pub fn pair(&self, one: i64, other: i64) -> Result<String> {
        Ok(format!("{} {one}, {} {other}", self.kind(one)?, self.kind(other)?))
    }

    /// `1 java, 2 ours, …`, for messages.
    pub fn describe(&self) -> String {
        let each = self.members.iter().map(|(sid, member)| format!("{sid} {}", member.kind));
        each.collect::<Vec<_>>().join(", ")
    }

    /// The wires.
    ///
    /// # Errors
    /// The plan wanted none.
    pub fn wires(&self) -> Result<&Wires> {
        self.wires.as_ref().context("an ensemble without wires")
    }

    /// Where clients reach a member.
    ///
    /// # Errors
    /// There is no such member.
    pub fn addr(&self, sid: i64) -> Result<SocketAddr> {
        Ok(local(self.member(sid)?.ports.client))
    }

    /// Where clients reach all members.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.members.values().map(|member| local(member.ports.client)).collect()
    }

    /// The ids that a member's dynamic configuration file lists.
    ///
    /// # Errors
    /// When its `zoo.cfg` names none.
    pub fn listed(&mut self, sid: i64) -> Result<Vec<i64>> {
        let (current, files) = self.dynamic_files(sid)?;
        let text = files.get(&current).with_context(|| format!("{current} is not there"))?;
        let sids = text.lines().filter_map(|line| line.strip_prefix("server."));
        let sids = sids.filter_map(|line| line.split_once('=')?.0.parse().ok());
        Ok(sids.collect())
    }

    /// A member's dynamic configuration files by name, and the name of the one that its `zoo.cfg`
    /// names.
    ///
    /// # Errors
    /// When it names none.
    pub fn dynamic_files(&self, sid: i64) -> Result<(String, BTreeMap<String, String>)> {
        let zoo_cfg = self.member(sid)?.server.dir().join("zoo.cfg");
        let text = fs::read_to_string(&zoo_cfg)?;
        let named = text.lines().find_map(|line| line.strip_prefix("dynamicConfigFile="));
        let named = named.with_context(|| format!("no dynamicConfigFile in\n{text}"))?;
        let dir = zoo_cfg.parent().context("a directory")?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("zoo.cfg.dynamic") {
                files.insert(name, fs::read_to_string(&path)?);
            }
        }
        let named = Path::new(named).file_name().unwrap_or_default();
        Ok((named.to_string_lossy().into_owned(), files))
    }

    /// Two members have each the client port that was the other's, as reconfigurations have it.
    ///
    /// # Errors
    /// There is no such member.
    pub fn swap_client_ports(&mut self, one: i64, other: i64) -> Result<()> {
        let (first, second) = (self.member(one)?.ports.client, self.member(other)?.ports.client);
        self.member_mut(one)?.ports.client = second;
        self.member_mut(other)?.ports.client = first;
        Ok(())
    }

    /// A text with ports in place of their names: `q4`, `e4` and `c4` are server 4's.
    pub fn with_ports(&self, text: &str) -> String {
        self.port_names()
            .into_iter()
            .fold(text.to_owned(), |text, (name, port)| text.replace(&name, &port.to_string()))
    }

    /// A text with names in place of ports: the reverse of [`with_ports`](Self::with_ports).
    pub fn with_names(&self, text: &str) -> String {
        self.port_names()
            .into_iter()
            .fold(text.to_owned(), |text, (name, port)| text.replace(&port.to_string(), &name))
    }

    fn port_names(&self) -> Vec<(String, u16)> {
        let each = self.members.iter().flat_map(|(sid, member)| {
            let Ports { quorum, election, client, .. } = member.ports;
            [('q', quorum), ('e', election), ('c', client)]
                .map(|(letter, port)| (format!("{letter}{sid}"), port))
        });
        each.collect()
    }

    /// Whether these bytes are in a member's transaction log.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn has_logged(&self, sid: i64, text: &str) -> Result<bool> {
        let dir = self.member(sid)?.server.data_dir().join("version-2");
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.")) {
                let bytes = fs::read(&path)?;
                // Behind the last transaction a log is zeros.
                let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
                if bytes[..end].windows(text.len()).any(|window| window == text.as_bytes()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// What is known of a member of Apache's before 3.9 whose log is not whole, see `breaks`: its
    /// tree is not to be compared with others.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn known_fault(&self, sid: i64) -> Result<Option<String>> {
        let member = self.member(sid)?;
        if !matches!(member.kind, Kind::Apache(release) if release < Release::V3_9) {
            return Ok(None);
        }
        let found = breaks::in_logs(&member.server.data_dir().join("version-2"))?;
        let first = found.first().map(|(last, next)| {
            let kind = member.kind;
            format!("{kind} {sid} has logged {next} behind {last} ({KNOWN_FAULT})")
        });
        Ok(first)
    }

    /// What a member printed since it was first started.
    ///
    /// # Errors
    /// When there is no such member, or its log cannot be read.
    pub fn log(&self, sid: i64) -> Result<String> {
        let path = self.member(sid)?.server.log_path();
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What a member is started with; changes take effect at the next start.
    ///
    /// # Errors
    /// There is no such member.
    pub fn opts_mut(&mut self, sid: i64) -> Result<&mut StartOpts> {
        Ok(self.member_mut(sid)?.server.opts_mut())
    }

    fn member(&self, sid: i64) -> Result<&Member> {
        self.members.get(&sid).with_context(|| format!("no member {sid}"))
    }

    fn member_mut(&mut self, sid: i64) -> Result<&mut Member> {
        self.members.get_mut(&sid).with_context(|| format!("no member {sid}"))
    }

    /// Starts a member's process and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, sid: i64) -> Result<()> {
        let member = self.member_mut(sid)?;
        member.frozen = false;
        ensure!(member.server.pid().is_none(), "server {sid} runs already");
        member.server.launch().with_context(|| format!("starting server {sid}"))
    }

    /// Starts these and waits until all of them serve.
    ///
    /// # Errors
    /// When one cannot be started, ends, or does not serve in time.
    pub fn start_all(&mut self, sids: &[i64]) -> Result<()> {
        sids.iter().try_for_each(|&sid| self.start(sid))?;
        self.await_serving(sids)
    }

    /// Ends a member as its operator does (SIGTERM).
    ///
    /// # Errors
    /// When it does not obey.
    pub fn stop(&mut self, sid: i64) -> Result<()> {
        let server = &mut self.member_mut(sid)?.server;
        server.stop().map(drop).with_context(|| format!("stopping server {sid}"))
    }

    /// Ends a member at once (SIGKILL).
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self, sid: i64) -> Result<()> {
        self.member_mut(sid)?.server.kill()
    }

    /// Lets a member stand still (SIGSTOP), its connections open.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&mut self, sid: i64) -> Result<()> {
        let member = self.member_mut(sid)?;
        member.frozen = true;
        member.server.signal(Signal::Freeze)
    }

    /// Lets a frozen member go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&mut self, sid: i64) -> Result<()> {
        let member = self.member_mut(sid)?;
        member.frozen = false;
        member.server.signal(Signal::Thaw)
    }

    /// Has a member of Java's print what its threads do; not one of ours, which would end.
    ///
    /// # Errors
    /// When it does not run.
    pub fn print_threads(&mut self, sid: i64) -> Result<()> {
        let member = self.member_mut(sid)?;
        match member.kind {
            Kind::Apache(_) => member.server.signal(Signal::Threads),
            Kind::Oxkeeper => Ok(()),
        }
    }

    /// Takes from a stopped member all that it holds, but not its id.
    ///
    /// # Errors
    /// When it runs, or its files cannot be removed.
    pub fn wipe(&mut self, sid: i64) -> Result<()> {
        let server = &self.member(sid)?.server;
        ensure!(server.pid().is_none(), "server {sid} runs");
        for entry in fs::read_dir(server.data_dir())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name != "myid") {
                remove(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Makes a stopped member one of another kind, on the same directory.
    ///
    /// # Errors
    /// When it runs, or the kind was not fetched.
    pub fn replace(&mut self, sid: i64, kind: Kind) -> Result<()> {
        let program = self.programs.of(kind)?;
        let member = self.member_mut(sid)?;
        ensure!(member.server.pid().is_none(), "server {sid} runs");
        member.server.replace(program);
        member.kind = kind;
        Ok(())
    }

    /// What a member says that it is; none while it serves nobody.
    pub fn mode(&self, sid: i64) -> Option<Mode> {
        let member = self.members.get(&sid)?;
        if member.frozen || member.server.pid().is_none() {
            return None;
        }
        let said = self.word(sid, "srvr").ok()?;
        match said.lines().find_map(|line| line.strip_prefix("Mode: "))? {
            "leader" => Some(Mode::Leader),
            "follower" => Some(Mode::Follower),
            "observer" => Some(Mode::Observer),
            "standalone" => Some(Mode::Standalone),
            _ => None,
        }
    }

    /// A four-letter word's answer.
    ///
    /// # Errors
    /// When the member does not answer soon.
    pub fn word(&self, sid: i64, word: &str) -> Result<String> {
        four_letter_word_within(self.addr(sid)?, word, WORD_TIMEOUT)
            .with_context(|| format!("asking server {sid} for {word}"))
    }

    /// What `mntr` tells, by name.
    ///
    /// # Errors
    /// As [`word`](Self::word).
    pub fn monitor(&self, sid: i64) -> Result<BTreeMap<String, String>> {
        let text = self.word(sid, "mntr")?;
        let pairs = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    /// Waits until each of these serves, all under one leader.
    ///
    /// # Errors
    /// When one ends by itself, or it takes too long; with what each said last.
    pub fn await_serving(&mut self, sids: &[i64]) -> Result<()> {
        let what = format!("servers {sids:?} serve");
        self.await_that(&what, |ensemble| {
            let modes: Vec<_> = sids.iter().map(|&sid| ensemble.mode(sid)).collect();
            let leaders = ensemble.leaders();
            (modes.iter().all(Option::is_some) && leaders.len() == 1).then_some(())
        })
    }

    /// All that say that they lead.
    fn leaders(&self) -> Vec<i64> {
        let sids = self.participants().into_iter();
        sids.filter(|&sid| self.mode(sid) == Some(Mode::Leader)).collect()
    }

    /// Waits for one leader other than `not`, and returns it.
    ///
    /// # Errors
    /// As [`await_serving`](Self::await_serving).
    pub fn await_leader(&mut self, not: Option<i64>) -> Result<i64> {
        let what = format!("a leader, and not {not:?}");
        self.await_that(&what, |ensemble| {
            let mut leaders = ensemble.leaders();
            leaders.retain(|&sid| Some(sid) != not);
            if let [leader] = leaders[..] { Some(leader) } else { None }
        })
    }

    /// Waits until a member leads, by restarting whoever else does.
    ///
    /// # Errors
    /// When others go on winning.
    pub fn make_lead(&mut self, wanted: i64) -> Result<()> {
        let all = self.running();
        for _ in 0..6 {
            let leader = self.await_leader(None)?;
            if leader == wanted {
                return self.await_serving(&all);
            }
            self.stop(leader)?;
            self.await_leader(Some(leader))?;
            self.start(leader)?;
            self.await_serving(&all)?;
        }
        bail!("server {wanted} is never elected")
    }

    /// Those that have a process.
    pub fn running(&self) -> Vec<i64> {
        let running = self.members.iter().filter(|(_, member)| member.server.pid().is_some());
        running.map(|(&sid, _)| sid).collect()
    }

    /// Kills the leader, another member, the leader again and so on, so many `times`, while
    /// somebody works against all of them: whenever a part of the `whole` is `done`, or when the
    /// work has ended.
    ///
    /// # Errors
    /// When a member does not come back, or the work does not go on.
    pub fn under_attack<T>(
        &mut self,
        times: u64,
        done: &AtomicU64,
        whole: u64,
        working: std::thread::JoinHandle<Result<T>>,
    ) -> Result<T> {
        let mut down = None;
        for part in 1..=times {
            self.await_that("the work goes on", |_| {
                let far = done.load(Ordering::Relaxed) >= whole * part / (times + 2);
                (far || working.is_finished()).then_some(())
            })?;
            if let Some(sid) = down.take() {
                self.start(sid)?;
                self.await_serving(&[sid])?;
            }
            let leader = self.await_leader(None)?;
            let victim = if part % 2 == 0 { leader % 3 + 1 } else { leader };
            self.kill(victim)?;
            down = Some(victim);
        }
        match working.join() {
            Ok(result) => result,
            Err(_) => bail!("the thread that worked meanwhile panicked"),
        }
    }

    /// Waits for something to come true, and for no process to end meanwhile.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`].
    pub fn await_that<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Ensemble) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (sid, member) in &mut self.members {
                let alive = member.server.check_alive();
                alive.with_context(|| format!("server {sid}, while waiting: {what}"))?;
            }
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                let modes = self.sids().into_iter().map(|sid| (sid, self.mode(sid)));
                let modes: Vec<_> = modes.collect();
                let logs = self.members.iter().map(|(sid, member)| {
                    format!("--- server {sid}, {}:\n{}\n", member.kind, member.server.log_tail())
                });
                let logs: String = logs.collect();
                bail!("after {PATIENCE:?} still not: {what}; modes {modes:?}\n{logs}");
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// The loopback address of a member that has one of its own.
fn own_host(sid: i64) -> Result<Ipv4Addr> {
    Ok(Ipv4Addr::new(127, 0, 1, u8::try_from(sid)?))
}

/// Where the wires from `dialler` to such a member begin.
fn wire_host(dialler: i64, sid: i64) -> Result<Ipv4Addr> {
    Ok(Ipv4Addr::new(127, 1, u8::try_from(dialler)?, u8::try_from(sid)?))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
