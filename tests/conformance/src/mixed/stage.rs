//! An ensemble with its load, and the moments at which everything must agree.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail, ensure};
use serde_json::Value;

use super::load::history::judge;
use super::load::session::{Session, Told};
use super::load::{EPHEMERALS, Load, create};
use crate::disk::client::Client;
use crate::disk::served::Served;
use crate::ensemble::tape::{Sync, Tape};
use crate::ensemble::{Ensemble, Kind, PATIENCE, Plan, Programs};
use crate::wire::{Request, op};

/// Timeout of the sessions that check, ms.
const TIMEOUT_MS: i32 = 30_000;
/// Timeout of sessions that are left to die, ms.
const MORTAL_MS: i32 = 4_000;
/// How long a sync of a member may take while nobody writes, and with that to read its tree: on a
/// busy machine milliseconds, and three seconds.
const SYNC_MAX: Duration = Duration::from_secs(10);
const TREE_MAX: Duration = Duration::from_secs(25);
/// When Java's servers find digests that differ among themselves. A snapshot taken under load holds
/// more than its zxid says, so what comes behind it does not match until it has caught up. And a
/// learner whose synchronisation failed behind NEWLEADER (ZOOKEEPER-4394 in 3.8) logs the same
/// transactions again, which are then replayed twice.
const JAVA_EXCUSES: [&str; 2] = ["Getting a snapshot from leader", "(next log) for type"];

/// See the module's essay.
pub struct Stage {
    /// The clients. They end before the servers.
    pub load: Load,
    /// The servers.
    pub ensemble: Ensemble,
    opened: Instant,
    seed: u64,
    dir: PathBuf,
    wired: bool,
    mortals: Vec<String>,
    checks: usize,
}

impl Stage {
    /// Starts an ensemble and its load.
    ///
    /// # Errors
    /// When it does not come to serve.
    pub fn open(programs: &Programs, plan: &Plan, starting: &[i64], seed: u64) -> Result<Stage> {
        Stage::around(Ensemble::lay_out(programs, plan)?, plan, starting, seed)
    }

    /// [`open`](Self::open) for an ensemble that is laid out.
    ///
    /// # Errors
    /// The same.
    pub fn around(
        mut ensemble: Ensemble,
        plan: &Plan,
        starting: &[i64],
        seed: u64,
    ) -> Result<Stage> {
        let opened = Instant::now();
        ensemble.start_all(starting)?;
        let load = Load::start(&ensemble.addrs(), javas(&ensemble)?, seed)?;
        let (dir, wired) = (plan.dir.clone(), plan.wired);
        Ok(Stage { ensemble, load, seed, opened, dir, wired, mortals: Vec::new(), checks: 0 })
    }

    /// Makes a stopped member one of another kind, on the same directory.
    ///
    /// # Errors
    /// As [`Ensemble::replace`].
    pub fn replace(&mut self, sid: i64, kind: Kind) -> Result<()> {
        self.ensemble.replace(sid, kind)?;
        self.load.served_by(javas(&self.ensemble)?);
        Ok(())
    }

    /// When.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// What chance goes by.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Counts a check that was made elsewhere.
    pub fn checked(&mut self) {
        self.checks += 1;
    }

    /// A session at one member, which goes to others when that one is gone.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn session_at(&self, sid: i64) -> Result<Session> {
        let first = self.place(sid)?;
        Session::begin(&self.ensemble.addrs(), first, TIMEOUT_MS)
    }

    /// The one that leads.
    ///
    /// # Errors
    /// When nobody does, for long.
    pub fn leader(&mut self) -> Result<i64> {
        self.ensemble.await_leader(None)
    }

    /// Every follower, so that each kind has its turn.
    ///
    /// # Errors
    /// As [`leader`](Self::leader).
    pub fn followers(&mut self) -> Result<Vec<i64>> {
        let leader = self.leader()?;
        let mut sids = self.ensemble.participants();
        sids.retain(|&sid| sid != leader);
        Ok(sids)
    }

    /// One voter of each kind, the one that wins among equals.
    ///
    /// # Errors
    /// None.
    pub fn one_of_each_kind(&self) -> Result<Vec<i64>> {
        let mut by_kind = BTreeMap::new();
        for sid in self.ensemble.participants() {
            by_kind.insert(self.ensemble.kind(sid)?, sid);
        }
        Ok(by_kind.into_values().collect())
    }

    /// Waits until all that run serve.
    ///
    /// # Errors
    /// When they do not.
    pub fn await_all(&mut self) -> Result<()> {
        let all = self.ensemble.running();
        self.ensemble.await_serving(&all)
    }

    /// Where a member stands in the lists of servers.
    ///
    /// # Errors
    /// There is no such member.
    pub fn place(&self, sid: i64) -> Result<usize> {
        let sids = self.ensemble.sids();
        sids.iter().position(|&other| other == sid).with_context(|| format!("no member {sid}"))
    }

    /// Begins a session with an ephemeral and leaves it alone: both are to be gone soon, and the
    /// next [`check`](Self::check) waits until they are.
    ///
    /// # Errors
    /// When nobody takes it.
    pub fn let_one_die(&mut self, sid: i64) -> Result<()> {
        let first = self.place(sid)?;
        let mut session = Session::begin(&self.ensemble.addrs(), first, MORTAL_MS)?;
        let path = format!("{EPHEMERALS}/mortal-{}", self.mortals.len());
        let told = session.ask(create(&path, "", 1))?;
        ensure!(!matches!(told, Told::Refused(_)), "{path}: {told:?}");
        session.abandon();
        self.mortals.push(path);
        Ok(())
    }

    /// How a learner was brought up to its leader since `since`; waits until it is. Where it took
    /// several attempts, which happens to Java's, the first tells in what state it came.
    ///
    /// # Errors
    /// When it is not.
    pub fn sync_of(&mut self, learner: i64, since: Instant) -> Result<Sync> {
        let what = format!("server {learner} is synchronised");
        self.ensemble.await_that(&what, |ensemble| {
            let look = |tape: &Tape| tape.sync().filter(|_| tape.learner == learner);
            let attempts = ensemble.wires().ok()?.tapes(since, look);
            let done = attempts.iter().any(|attempt| attempt.complete);
            attempts.into_iter().next().filter(|_| done)
        })
    }

    /// Counts something on the tapes of a learner, the newest connection first.
    ///
    /// # Errors
    /// The ensemble has no wires.
    pub fn on_tape<T>(
        &self,
        learner: i64,
        mut look: impl FnMut(&Tape) -> Option<T>,
    ) -> Result<Option<T>> {
        let tapes = self
            .ensemble
            .wires()?
            .tapes(self.opened, |tape| if tape.learner == learner { look(tape) } else { None });
        Ok(tapes.into_iter().next_back())
    }

    /// Stops the load, and compares everything with everything: the trees of all members that run,
    /// the history with the tree, watches, ephemerals, sessions, digests. Then lets it go on.
    ///
    /// # Errors
    /// Whatever does not agree.
    pub fn check(&mut self) -> Result<()> {
        self.load.pause()?;
        self.check_still()?;
        self.load.resume();
        Ok(())
    }

    /// [`check`](Self::check) while the load is paused, and remains so.
    ///
    /// # Errors
    /// The same.
    pub fn check_still(&mut self) -> Result<()> {
        let mismatches = self.mismatches()?;
        self.load.ring()?;
        self.await_deaths()?;
        let tree = self.one_tree()?;
        let verdict = judge(&self.load.history(), &tree.0);
        self.checks += verdict.checks;
        ensure!(verdict.complaints.is_empty(), "{}", verdict.complaints.join("\n"));
        self.check_ephemerals(&tree.0)?;
        self.check_digests(&mismatches)?;
        self.check_tapes()?;
        self.load.check()
    }

    /// What every member serves, in all fields.
    fn one_tree(&mut self) -> Result<Served> {
        let running = self.ensemble.running();
        let mut trees: Vec<(i64, Served)> = Vec::new();
        for &sid in &running {
            // One after the other: a session that waits until the others have read expires.
            let mut client = self.await_client(sid)?;
            let began = Instant::now();
            let told = client.ask(Request::Path { op: op::SYNC, path: Some("/".to_owned()) });
            let told = told.with_context(|| self.last_words(sid))?;
            ensure!(told["err"] == 0, "server {sid} does not sync: {told}");
            let took = began.elapsed();
            ensure!(took < SYNC_MAX, "a sync took {took:?}: {}", self.last_words(sid));
            let mut tree = Served::read(&mut client).with_context(|| format!("server {sid}"))?;
            let took = began.elapsed();
            ensure!(took < TREE_MAX, "its tree took {took:?}: {}", self.last_words(sid));
            client.close()?;
            self.normalise(&mut tree);
            trees.push((sid, tree));
        }
        let (first, tree) = trees.swap_remove(0);
        for (sid, other) in &trees {
            let what = format!("servers {first} and {sid} ({})", self.ensemble.describe());
            tree.must_equal(other, what).or_else(|error| {
                let known = self.ensemble.known_fault(first)?;
                let known = known.or(self.ensemble.known_fault(*sid)?);
                Err(known.map_or(error, Error::msg))
            })?;
            self.checks += tree.0.len();
        }
        Ok(tree)
    }

    /// What was said last between a member that does not answer and the others. If it is Java's,
    /// what its threads do stands in its log from now on.
    fn last_words(&mut self, sid: i64) -> String {
        let of_it = |tape: &Tape| (tape.learner == sid || tape.leader == sid).then(|| tape.end());
        let wires = self.ensemble.wires().map(|wires| wires.tapes(self.opened, of_it));
        // Those before are of connections that have ended.
        let newest: Vec<_> = wires.unwrap_or_default().into_iter().rev().take(3).collect();
        let threads = self.ensemble.print_threads(sid);
        format!("server {sid} of {}, {threads:?}:\n{}", self.ensemble.describe(), newest.concat())
    }

    /// A client of this very member, however long it takes it to serve.
    fn await_client(&mut self, sid: i64) -> Result<Client> {
        let addr = self.ensemble.addr(sid)?;
        let what = format!("server {sid} takes a client");
        self.ensemble.await_that(&what, |_| Client::connect(addr, TIMEOUT_MS).ok())
    }

    /// Members with wires are told different addresses, and each keeps its own clock's time of when
    /// it took a configuration.
    fn normalise(&self, tree: &mut Served) {
        if let Some(config) = tree.0.get_mut("/zookeeper/config") {
            for field in ["ctime", "mtime"] {
                config["stat"][field] = Value::Null;
            }
            if self.wired {
                *config = Value::Null;
            }
        }
    }

    fn await_deaths(&mut self) -> Result<()> {
        let mut session = self.load.session()?;
        let deadline = Instant::now() + PATIENCE;
        while let Some(path) = self.mortals.last().cloned() {
            let told = session.ask_all(&[
                Request::Path { op: op::SYNC, path: Some("/".to_owned()) },
                Request::Read { op: op::EXISTS, path: Some(path.clone()), watch: false },
            ])?;
            match &told[1] {
                Told::Refused(super::load::NO_NODE) => drop(self.mortals.pop()),
                Told::Refused(code) => bail!("{path}: {code}"),
                _ => {}
            }
            ensure!(Instant::now() < deadline, "{path} is still there, its session long silent");
            std::thread::sleep(Duration::from_millis(20));
        }
        session.close()
    }

    /// Ephemerals are there exactly for the sessions that live.
    fn check_ephemerals(&mut self, tree: &BTreeMap<String, Value>) -> Result<()> {
        let live: BTreeMap<String, i64> = self.load.live().into_iter().collect();
        for (path, session) in &live {
            let owner = tree.get(path).map(|znode| &znode["stat"]["ephemeralOwner"]);
            ensure!(owner.is_some_and(|o| o == session), "{path} of {session:x}: {owner:?}");
        }
        let below = tree.keys().filter(|path| path.starts_with(EPHEMERALS) && *path != EPHEMERALS);
        let orphans: Vec<_> = below.filter(|path| !live.contains_key(*path)).collect();
        ensure!(orphans.is_empty(), "ephemerals without a session: {orphans:?}");
        self.checks += live.len();
        Ok(())
    }

    /// How many digests each member has found that differ from its own (`mntr`).
    fn mismatches(&self) -> Result<BTreeMap<i64, u64>> {
        let mut counts = BTreeMap::new();
        for sid in self.ensemble.running() {
            let monitor = self.ensemble.monitor(sid)?;
            if let Some(count) = monitor.get("zk_digest_mismatches_count") {
                counts.insert(sid, count.parse().context("zk_digest_mismatches_count")?);
            }
        }
        Ok(counts)
    }

    /// Nobody has found a digest that differs: none since `before`, when trees had settled, and
    /// none at all where Java has no reason of its own.
    fn check_digests(&mut self, before: &BTreeMap<i64, u64>) -> Result<()> {
        for (sid, count) in self.mismatches()? {
            let earlier = before.get(&sid).copied().unwrap_or(0);
            ensure!(count <= earlier, "server {sid} finds digests that differ: {count}");
            let log = self.ensemble.log(sid)?;
            let excused = JAVA_EXCUSES.iter().any(|excuse| log.contains(excuse));
            if count > 0 && !excused {
                let known = self.ensemble.known_fault(sid)?;
                let found = format!("server {sid} has found {count} digests that differ");
                bail!("{}", known.unwrap_or(found));
            }
            self.checks += 1;
        }
        Ok(())
    }

    /// All that was said on quorum ports could be understood.
    fn check_tapes(&mut self) -> Result<()> {
        if !self.wired {
            return Ok(());
        }
        let broken = self.ensemble.wires()?.tapes(self.opened, |tape| {
            let broken = tape.up.broken.as_ref().or(tape.down.broken.as_ref())?;
            Some(format!("{} to {}: {broken}", tape.learner, tape.leader))
        });
        ensure!(broken.is_empty(), "on the quorum port: {}", broken.join(", "));
        Ok(())
    }

    /// Ends clients and servers after a last check, and clears away. Returns the checks made.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn close(mut self) -> Result<usize> {
        self.check()?;
        self.load.finish()?;
        for sid in self.ensemble.running() {
            self.ensemble.stop(sid)?;
        }
        std::fs::remove_dir_all(&self.dir).context("clearing away")?;
        Ok(self.checks)
    }
}

/// Which members are Java's, in the order of the lists of servers.
fn javas(ensemble: &Ensemble) -> Result<Vec<bool>> {
    let java = |sid| Ok(ensemble.kind(sid)? != Kind::Oxkeeper);
    ensemble.sids().into_iter().map(java).collect()
}
