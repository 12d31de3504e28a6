//! An ensemble of ours with its clients, and what the suite knows of its processes.
//!
//! Members are started by way of a small script of their directory, which says in which namespace
//! they live and leaves their process id: limits, memory and processor time are asked of the
//! system by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::clock;
use super::foreign::Foreign;
use super::net::Net;
use super::spaces::{self, Doors, Spaces};
use crate::ensemble::{Ensemble, Kind, Plan, Programs};
use crate::mixed::load::session::{Session, Told};
use crate::mixed::stage::Stage;
use crate::peers::Peers;
use crate::wire::{Blob, Request};

/// After everything is mended, all members serve under one leader within this; and while a majority
/// is whole, a write is acknowledged within this. Generous: the machines of tests are busy, and
/// what is compared are the times that the report tells.
pub(super) const BOUND: Duration = Duration::from_secs(30);
/// A server may hold so much memory, by far more than any here needs.
const RESIDENT_BYTES_MAX: u64 = 400 << 20;
/// And so many files and sockets, when nobody but the usual clients is connected.
const DESCRIPTORS_MAX: usize = 150;
/// The share of a processor that a server takes while all clients pause.
const IDLE_SHARE_MAX: f64 = 0.25;
/// Over how long it is measured, and how often before it counts.
const IDLE_SPAN: Duration = Duration::from_millis(250);
const IDLE_TRIES: usize = 20;
/// Ticks of the processor clock in a second, as all Linux tells them.
const CLOCK_HZ: f64 = 100.0;
/// A small disk.
const SMALL_MEGABYTES: u32 = 48;
/// How a check ends that lost its connection.
const INTERRUPTED: [&str; 2] = ["no answer to request", "no handshake"];
/// How often that may be.
const INTERRUPTIONS_MAX: usize = 4;
/// Timeout of the session that asks whether writes are done, ms.
const PROBE_TIMEOUT_MS: i32 = 30_000;
/// What it writes.
const PROBE: &str = "/load";

/// How the members of a round are to be joined.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Tells rounds of one process apart.
    pub(super) number: usize,
    /// Members.
    pub(super) count: i64,
    /// In namespaces, or on the loopback device with cutting proxies.
    pub(super) spaces: bool,
    /// Whose disk is small, where disks can be mounted.
    pub(super) small_disk: Option<i64>,
    /// Whether learners are sent the log, however long, rather than a snapshot: then those who know
    /// too much are told to truncate.
    pub(super) long_logs: bool,
    /// What gives each member a clock of its own, if they have one.
    pub(super) clock: Option<PathBuf>,
    /// Where kazoo is, if it is.
    pub(super) kazoo: Option<Peers>,
    /// Where everything is kept.
    pub(super) dir: PathBuf,
    /// What the clients do follows from it.
    pub(super) seed: u64,
}

/// What a server's process takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Resident memory, bytes.
    pub(super) resident_bytes: u64,
    /// Open files and sockets.
    pub(super) descriptors: usize,
    /// Share of a processor while all clients pause.
    pub(super) idle_share: f64,
}

/// See the module's essay.
pub(super) struct Scene {
    /// Declared first, so that clients and servers are gone before their network is.
    pub(super) foreign: Option<Foreign>,
    pub(super) stage: Stage,
    pub(super) net: Net,
    _doors: Option<Doors>,
    mounted: Option<Mounted>,
    pub(super) setting: Setting,
    /// Checks that had to be begun again.
    pub(super) interrupted: usize,
}

/// A small disk that goes with this value.
struct Mounted {
    sid: i64,
    dir: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A disk that will not go is in nobody's way.
        spaces::unmount(&self.dir).ok();
    }
}

impl Scene {
    /// Starts members and clients.
    ///
    /// # Errors
    /// When they do not come to serve.
    pub(super) fn open(binary: &Path, setting: Setting) -> Result<Scene> {
        fs::create_dir_all(&setting.dir)?;
        let script = write_script(&setting.dir, binary, setting.clock.as_deref())?;
        let programs = Programs::ours(script);
        let members = vec![Kind::Oxkeeper; usize::try_from(setting.count)?];
        let mut plan = Plan::new(&members, setting.dir.join("members"))
            // The tick that servers have by default: ours notice silence in three quarters of it.
            .config("tickTime", "2000")
            .config("syncLimit", "3")
            // Whoever is heard but hears nothing may be elected, and is given up after this.
            .config("initLimit", "5")
            // Snapshots all the time, and logs that grow in small steps.
            .property("zookeeper.snapCount", "600")
            .property("zookeeper.preAllocSize", "64");
        if setting.long_logs {
            plan = plan.property("zookeeper.snapshotSizeFactor", "1000");
        }
        plan.wired = !setting.spaces;
        let mut ensemble = Ensemble::lay_out(&programs, &plan)?;
        let mounted = setting.small_disk.map(|sid| mount(&plan.dir, sid)).transpose()?;
        let (mut net, mut doors) = (Net::Wires, None);
        if setting.spaces {
            let spaces = Spaces::new(setting.number, setting.count)?;
            doors = Some(move_in(&mut ensemble, &plan.dir, &spaces)?);
            net = Net::Spaces(spaces);
        }
        let all = ensemble.sids();
        let stage = Stage::around(ensemble, &plan, &all, setting.seed)?;
        let (foreign, interrupted) = (None, 0);
        let mut scene = Scene { foreign, stage, net, _doors: doors, mounted, setting, interrupted };
        if let Some(peers) = &scene.setting.kazoo {
            scene.foreign = Some(Foreign::start(peers, &scene.stage.ensemble.addrs())?);
        }
        Ok(scene)
    }

    /// The process of a member.
    pub(super) fn pid(&self, sid: i64) -> Result<u32> {
        let path = self.member_dir(sid).join("pid");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        text.trim().parse().context("a process id")
    }

    /// Where a member's files are.
    pub(super) fn member_dir(&self, sid: i64) -> PathBuf {
        self.setting.dir.join("members").join(sid.to_string())
    }

    /// The directory of a member's small disk, if it has one.
    pub(super) fn small_disk(&self, sid: i64) -> Option<&Path> {
        self.mounted.as_ref().filter(|mounted| mounted.sid == sid).map(|mounted| &*mounted.dir)
    }

    /// How long it takes until a write is acknowledged, asked of these members.
    ///
    /// # Errors
    /// When it is not within [`BOUND`].
    pub(super) fn await_write(&self, of: &[i64]) -> Result<Duration> {
        let began = Instant::now();
        let addrs = of.iter().map(|&sid| self.stage.ensemble.addr(sid));
        let addrs = addrs.collect::<Result<Vec<_>>>()?;
        let mut session = Session::begin(&addrs, 0, PROBE_TIMEOUT_MS)?;
        loop {
            let data = Blob::text("probe");
            let told =
                session.ask(Request::SetData { path: Some(PROBE.into()), data, version: -1 })?;
            let took = began.elapsed();
            ensure!(took < BOUND, "members {of:?} take no write for {took:?}");
            match told {
                Told::Done { .. } => {
                    session.close()?;
                    return Ok(took);
                }
                Told::Refused(code) => bail!("a write is refused with {code}"),
                Told::Unknown => {}
            }
        }
    }

    /// How long it takes until all serve under one leader, and do writes.
    ///
    /// # Errors
    /// When they do not within [`BOUND`], or one has ended by itself.
    pub(super) fn await_healed(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let all = self.stage.ensemble.sids();
        self.stage.ensemble.await_serving(&all)?;
        self.await_write(&all)?;
        let took = began.elapsed();
        ensure!(took < BOUND, "all is mended, and serves only after {took:?}");
        Ok(took)
    }

    /// No process has ended by itself.
    ///
    /// # Errors
    /// One has.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        self.stage.ensemble.await_that("all are alive", |_| Some(()))
    }

    /// All clients stand still.
    pub(super) fn pause(&mut self) -> Result<()> {
        if let Some(foreign) = &mut self.foreign {
            foreign.pause()?;
        }
        self.stage.load.pause()
    }

    /// They go on, if they stood still.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.stage.load.resume();
        self.foreign.as_mut().map_or(Ok(()), Foreign::resume)
    }

    /// Everything that must agree when nothing is under way, and what the processes take.
    ///
    /// # Errors
    /// Whatever does not agree, or takes too much.
    pub(super) fn check(&mut self) -> Result<Usage> {
        self.pause()?;
        self.check_still()?;
        let usage = self.usage()?;
        for sid in self.stage.ensemble.sids() {
            let log = self.stage.ensemble.log(sid)?;
            ensure!(!log.contains("panicked at"), "server {sid} panicked");
        }
        self.resume()?;
        Ok(usage)
    }

    /// A machine so busy that a leader is given up without a fault interrupts those who read the
    /// trees. What is wrong with a tree is wrong the next time, too.
    fn check_still(&mut self) -> Result<()> {
        for _ in 0..INTERRUPTIONS_MAX {
            let Err(error) = self.check_once() else { return Ok(()) };
            let text = format!("{error:#}");
            if !INTERRUPTED.iter().any(|part| text.contains(part)) {
                return Err(error);
            }
            self.interrupted += 1;
            self.await_healed()?;
        }
        self.check_once().context("again and again")
    }

    fn check_once(&mut self) -> Result<()> {
        self.stage.check_still()?;
        match &mut self.foreign {
            Some(foreign) => foreign.judge(self.stage.ensemble.addr(1)?),
            None => Ok(()),
        }
    }

    /// The most that any member takes while the clients pause.
    fn usage(&self) -> Result<Usage> {
        let sids = self.stage.ensemble.running();
        let pids = sids.iter().map(|&sid| self.pid(sid)).collect::<Result<Vec<_>>>()?;
        let shares = idle_shares(&pids)?;
        let mut most = Usage::default();
        for ((sid, pid), idle_share) in sids.into_iter().zip(pids).zip(shares) {
            let resident_bytes = resident_bytes(pid)?;
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
            let usage = Usage { resident_bytes, descriptors, idle_share };
            ensure!(usage.resident_bytes < RESIDENT_BYTES_MAX, "server {sid} grows: {usage:?}");
            ensure!(usage.descriptors < DESCRIPTORS_MAX, "server {sid} leaks: {usage:?}");
            if usage.idle_share >= IDLE_SHARE_MAX {
                bail!("server {sid} spins: {usage:?}, {}", self.who_spins(sid)?);
            }
            most.resident_bytes = most.resident_bytes.max(usage.resident_bytes);
            most.descriptors = most.descriptors.max(usage.descriptors);
            most.idle_share = most.idle_share.max(usage.idle_share);
        }
        Ok(most)
    }

    /// The thread that took most of late; and where all of them stand, where there is a debugger.
    fn who_spins(&self, sid: i64) -> Result<String> {
        let pid = self.pid(sid)?;
        let tasks = || -> Result<Vec<(String, f64)>> {
            let entries = fs::read_dir(format!("/proc/{pid}/task"))?;
            let of = |dir: PathBuf| {
                let name = fs::read_to_string(dir.join("comm")).unwrap_or_default();
                Some((name.trim().to_owned(), processor_seconds(&dir).ok()?))
            };
            Ok(entries.flatten().filter_map(|entry| of(entry.path())).collect())
        };
        let before = tasks()?;
        std::thread::sleep(IDLE_SPAN);
        let after = tasks()?;
        let spent = before.iter().zip(&after).map(|(one, other)| (other.1 - one.1, &one.0));
        let most = spent.max_by(|one, other| one.0.total_cmp(&other.0));
        let path = self.member_dir(sid).join("threads.txt");
        let words = ["-p", &pid.to_string(), "-batch", "-ex", "thread apply all backtrace"];
        if let Ok(out) = Command::new("gdb").args(words).output() {
            fs::write(path, out.stdout)?;
        }
        Ok(most.map_or(String::new(), |(_, name)| format!("most in thread {name}")))
    }

    /// Ends clients and servers after a last check, and clears away.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn close(self) -> Result<usize> {
        let Scene { foreign, mut stage, net, _doors: doors, mounted, setting, .. } = self;
        let done = stage.load.done() + foreign.map(Foreign::finish).transpose()?.unwrap_or(0);
        stage.load.finish()?;
        for sid in stage.ensemble.running() {
            stage.ensemble.stop(sid)?;
        }
        drop((doors, net, mounted));
        fs::remove_dir_all(&setting.dir).context("clearing away")?;
        Ok(done)
    }
}

/// The script that starts members: `serve <dir>/zoo.cfg …`, as our binary is called.
fn write_script(dir: &Path, binary: &Path, clock: Option<&Path>) -> Result<PathBuf> {
    let path = dir.join("member.sh");
    let clock = clock.map_or_else(String::new, clock::prelude);
    // A write beyond a limit is to fail, not to kill.
    let text = format!(
        "#!/bin/sh\ndir=$(dirname \"$2\")\necho $$ > \"$dir/pid\"\ntrap '' XFSZ\n\
         enter=\nif [ -e \"$dir/enter\" ]; then enter=$(cat \"$dir/enter\"); fi\n\
         {clock}exec $enter '{}' \"$@\"\n",
        binary.display()
    );
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn mount(members: &Path, sid: i64) -> Result<Mounted> {
    let dir = members.join(sid.to_string()).join("data");
    spaces::mount_small(&dir, SMALL_MEGABYTES)?;
    fs::write(dir.join("myid"), format!("{sid}\n"))?;
    Ok(Mounted { sid, dir })
}

/// Gives each member its namespace, and opens doors for the clients.
fn move_in(ensemble: &mut Ensemble, members: &Path, spaces: &Spaces) -> Result<Doors> {
    let mut doors = Vec::new();
    for sid in ensemble.sids() {
        fs::write(members.join(sid.to_string()).join("enter"), spaces.enter(sid))?;
        let near = ensemble.addr(sid)?;
        doors.push((near, (spaces.addr(sid), near.port()).into()));
        let own = spaces.addr(sid).to_string();
        let config = &mut ensemble.opts_mut(sid)?.config;
        config.push(("clientPortAddress".to_owned(), own));
        for (key, value) in config {
            if let Some(peer) = key.strip_prefix("server.") {
                let addr = spaces.addr(peer.parse()?).to_string();
                *value = value.replace("127.0.0.1", &addr);
            }
        }
    }
    Doors::open(doors)
}

/// The share of a processor that each of these processes takes: the least of some spans, because
/// what was put off while there was load may be done now, and has an end.
fn idle_shares(pids: &[u32]) -> Result<Vec<f64>> {
    let seconds = || -> Result<Vec<f64>> {
        let of = |pid| processor_seconds(Path::new(&format!("/proc/{pid}")));
        pids.iter().map(of).collect()
    };
    let mut least = vec![f64::MAX; pids.len()];
    for _ in 0..IDLE_TRIES {
        let (began, before) = (Instant::now(), seconds()?);
        std::thread::sleep(IDLE_SPAN);
        let span = began.elapsed().as_secs_f64();
        for ((least, before), after) in least.iter_mut().zip(before).zip(seconds()?) {
            *least = least.min((after - before) / span);
        }
        if least.iter().all(|&share| share < IDLE_SHARE_MAX) {
            break;
        }
    }
    Ok(least)
}

/// Processor time that a process or thread has had, by its directory.
fn processor_seconds(of: &Path) -> Result<f64> {
    let stat = fs::read_to_string(of.join("stat"))?;
    // Behind the name, which may hold anything, in parentheses.
    let (_, fields) = stat.rsplit_once(')').context("/proc/…/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u32>().ok());
    let (user, system) = (ticks(11).context("utime")?, ticks(12).context("stime")?);
    Ok(f64::from(user + system) / CLOCK_HZ)
}

fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib = line.split_whitespace().next().context("VmRSS")?.parse::<u64>()?;
    Ok(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_takes_is_known() {
        let me = std::process::id();
        assert!(resident_bytes(me).unwrap() > 1 << 20);
        let process = PathBuf::from(format!("/proc/{me}"));
        let before = processor_seconds(&process).unwrap();
        let began = Instant::now();
        let mut sum = 0_u64;
        while began.elapsed() < Duration::from_millis(200) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(processor_seconds(&process).unwrap() > before);
    }
}
