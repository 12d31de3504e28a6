//! Clients of an ensemble under test: what they do, what they saw, and whether it can be true.
//!
//! A [`Load`] is some sessions, each with a thread of its own, spread over all members, which write
//! and read registers, make and delete znodes, plain, sequential and ephemeral, in multis and in
//! bursts, keep watches, and take locks. They run until they are told to pause, and a pause is a
//! moment at which the trees of all members must be equal and the [history] true.

pub mod history;
mod locks;
pub mod session;
mod worker;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use history::Entry;
use locks::Contender;
use session::{Session, TIMEOUT_MS, Told};
use worker::Worker;
pub(super) use worker::{create, set};

use crate::ensemble::PATIENCE;

/// Everything of the load is below.
pub(super) const TOP: &str = "/load";
/// Znodes whose values are set again and again.
const REGISTERS: usize = 4;
/// Two znodes that are set together.
pub(super) const PAIR: [&str; 2] = ["/load/pair-a", "/load/pair-b"];
const UNIQUE: &str = "/load/unique";
const QUEUE: &str = "/load/queue";
/// Parent of ephemerals.
pub(super) const EPHEMERALS: &str = "/load/ephemerals";
const LOCK: &str = "/load/lock";
const KEPT_LOCK: &str = "/load/kept-lock";
/// Sessions that do everything but locks.
const WORKERS: usize = 6;
/// Sessions that take turns at a lock. Their numbers follow those of the workers.
const CONTENDERS: usize = 3;
pub(super) const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;

fn register(at: usize) -> String {
    format!("{TOP}/register-{at}")
}

/// A lock, as its contenders know it.
struct Lock {
    path: String,
    /// Who holds it, counted from 1; 0 nobody.
    holder: AtomicUsize,
    /// Times taken.
    turns: AtomicUsize,
    /// One that is kept has been taken.
    taken: AtomicBool,
}

impl Lock {
    fn new(path: &str) -> Lock {
        Lock {
            path: path.to_owned(),
            holder: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
            taken: AtomicBool::new(false),
        }
    }

    fn enter(&self, me: usize) -> Result<()> {
        let before = self.holder.swap(me + 1, Ordering::SeqCst);
        ensure!(before == 0, "{}: {me} has it, and so has {}", self.path, before - 1);
        self.turns.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn leave(&self) {
        self.holder.store(0, Ordering::SeqCst);
    }
}

/// Where clients stand still.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    /// Who stands still; of workers, the version at which it keeps its watch.
    parked: BTreeMap<usize, i64>,
}

impl Gate {
    fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// Says that a client stands still, and waits a little.
    fn park(&self, me: usize, settled: Option<i64>, limit: Duration) {
        let mut state = lock(&self.state);
        if let Some(settled) = settled {
            // Only news are told: whoever waits here is woken by them, and comes back.
            if state.parked.insert(me, settled) != Some(settled) {
                self.changed.notify_all();
            }
        }
        if state.closed {
            drop(self.changed.wait_timeout(state, limit));
        }
    }

    /// Waits for any change, or the limit.
    fn wait(&self, limit: Duration) {
        drop(self.changed.wait_timeout(lock(&self.state), limit));
    }

    fn set_closed(&self, closed: bool) {
        let mut state = lock(&self.state);
        state.closed = closed;
        state.parked.clear();
        self.changed.notify_all();
    }
}

/// What the threads share.
struct Shared {
    servers: Vec<SocketAddr>,
    /// At which of them a sync is a loose one, see [`history::Behind`].
    loose: Mutex<Vec<bool>>,
    gate: Gate,
    over: AtomicBool,
    give_up: Arc<AtomicBool>,
    history: Mutex<Vec<Entry>>,
    complaints: Mutex<Vec<String>>,
    /// Ephemerals of workers that live: path and session.
    live: Mutex<BTreeMap<usize, (String, i64)>>,
    reconnects: AtomicUsize,
    lock: Lock,
    kept_lock: Lock,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// A session of the load.
    fn begin(&self, first: usize) -> Result<Session> {
        Session::begin_until(&self.servers, first, TIMEOUT_MS, Arc::clone(&self.give_up))
    }

    fn is_loose(&self, server: usize) -> bool {
        lock(&self.loose).get(server).copied().unwrap_or(false)
    }

    fn tell(&self, entry: Entry) {
        lock(&self.history).push(entry);
    }

    fn set_live(&self, me: usize, path: &str, session: i64) {
        lock(&self.live).insert(me, (path.to_owned(), session));
    }

    fn set_dead(&self, me: usize) {
        lock(&self.live).remove(&me);
    }
}

/// Clients at work. They end with this value.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    bells: u64,
}

impl Load {
    /// Prepares the tree and sets the clients going. Of each server is said whether it is Java's.
    ///
    /// # Errors
    /// When the ensemble does not take them.
    pub fn start(servers: &[SocketAddr], java: Vec<bool>, seed: u64) -> Result<Load> {
        let mut own = Session::begin(servers, 0, TIMEOUT_MS)?;
        let registers = (0..REGISTERS).map(register);
        let paths = [TOP, UNIQUE, QUEUE, EPHEMERALS, LOCK, KEPT_LOCK, PAIR[0], PAIR[1]];
        for path in paths.map(str::to_owned).into_iter().chain(registers) {
            loop {
                match own.ask(create(&path, "", 0))? {
                    Told::Done { .. } | Told::Refused(NODE_EXISTS) => break,
                    Told::Refused(code) => bail!("{path} is refused with {code}"),
                    Told::Unknown => {}
                }
            }
        }
        let shared = Arc::new(Shared {
            servers: servers.to_vec(),
            loose: Mutex::new(java),
            gate: Gate::default(),
            over: AtomicBool::new(false),
            give_up: Arc::default(),
            history: Mutex::default(),
            complaints: Mutex::default(),
            live: Mutex::default(),
            reconnects: AtomicUsize::new(0),
            lock: Lock::new(LOCK),
            kept_lock: Lock::new(KEPT_LOCK),
        });
        own.close()?;
        let mut load = Load { shared, threads: Vec::new(), bells: 0 };
        for me in 0..WORKERS {
            let seed = seed.wrapping_mul(1_000).wrapping_add(u64::try_from(me)?);
            load.spawn(format!("worker {me}"), move |shared| {
                Worker::begin(shared, me, seed)?.run()
            });
        }
        for me in WORKERS..WORKERS + CONTENDERS {
            load.spawn(format!("contender {me}"), move |shared| {
                Contender::begin(shared, &shared.lock, me)?.run(false)
            });
        }
        load.spawn("the lock's keeper".to_owned(), |shared| {
            Contender::begin(shared, &shared.kept_lock, 0)?.run(true)
        });
        load.await_work()?;
        load.spawn("who waits for the keeper".to_owned(), |shared| {
            Contender::begin(shared, &shared.kept_lock, 1)?.run(true)
        });
        Ok(load)
    }

    /// Says of each server whether it is Java's from now on.
    pub fn served_by(&self, java: Vec<bool>) {
        *lock(&self.shared.loose) = java;
    }

    fn spawn(&mut self, name: String, work: impl FnOnce(&Shared) -> Result<()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        self.threads.push(std::thread::spawn(move || {
            if let Err(error) = work(&shared) {
                lock(&shared.complaints).push(format!("{name}: {error:#}"));
            }
        }));
    }

    /// Waits until every worker has its ephemeral and the lock that is kept is taken.
    fn await_work(&self) -> Result<()> {
        self.await_that("the clients begin", || {
            lock(&self.shared.live).len() == WORKERS
                && self.shared.kept_lock.taken.load(Ordering::SeqCst)
        })
    }

    fn await_that(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            self.check()?;
            ensure!(Instant::now() < deadline, "after {PATIENCE:?} still not: {what}");
            self.shared.gate.wait(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether no client has complained so far.
    ///
    /// # Errors
    /// The complaints.
    pub fn check(&self) -> Result<()> {
        let complaints = lock(&self.shared.complaints);
        ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
        Ok(())
    }

    /// Requests that were answered.
    pub fn done(&self) -> usize {
        let history = lock(&self.shared.history);
        history.iter().filter(|entry| matches!(entry.fate, history::Fate::Done { .. })).count()
    }

    /// Turns at the lock.
    pub fn turns(&self) -> usize {
        self.shared.lock.turns.load(Ordering::SeqCst)
    }

    /// Waits until so many more requests have been answered.
    ///
    /// # Errors
    /// When a client complains, or it takes too long.
    pub fn await_progress(&self, more: usize) -> Result<()> {
        let from = self.done();
        self.await_that("the clients get on", || self.done() >= from + more)
    }

    /// Stops all clients between two requests, or two turns at the lock.
    ///
    /// # Errors
    /// As [`await_progress`](Self::await_progress).
    pub fn pause(&self) -> Result<()> {
        self.shared.gate.set_closed(true);
        self.await_that("the clients pause", || self.parked().len() == WORKERS + CONTENDERS)
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.shared.gate.set_closed(false);
    }

    fn parked(&self) -> BTreeMap<usize, i64> {
        lock(&self.shared.gate.state).parked.clone()
    }

    /// While all pause: sets each register once more, and waits until every watcher has heard of
    /// it.
    ///
    /// # Errors
    /// When one has not, long after.
    pub fn ring(&mut self) -> Result<()> {
        let mut versions = Vec::new();
        let mut own = self.session()?;
        for at in 0..REGISTERS {
            versions.push(self.set_certainly(&mut own, &register(at))?);
        }
        own.close()?;
        self.await_that("every watch fires", || {
            let parked = self.parked();
            (0..WORKERS).all(|me| {
                let expected = versions[me % REGISTERS];
                parked.get(&me).is_some_and(|version| *version >= expected)
            })
        })
        .with_context(|| format!("at {versions:?} are {:?}", self.parked()))
    }

    fn set_certainly(&mut self, own: &mut Session, path: &str) -> Result<i64> {
        loop {
            let asked = Instant::now();
            self.bells += 1;
            let value = format!("bell-{}", self.bells);
            let what = history::What::Set { path: path.to_owned(), value: value.clone() };
            let told = own.ask(set(path, &value, -1))?;
            let (fate, version) = match &told {
                Told::Done { body, .. } => {
                    let version = body["stat"]["version"].as_i64().context("a version")?;
                    let zxid = body["stat"]["mzxid"].as_i64().context("a zxid")?;
                    (history::Fate::Done { zxid, version, text: String::new() }, Some(version))
                }
                Told::Refused(code) => bail!("{path} is refused with {code}"),
                Told::Unknown => (history::Fate::Unknown, None),
            };
            self.shared.tell(Entry { by: WORKERS, asked, told: Instant::now(), what, fate });
            if let Some(version) = version {
                return Ok(version);
            }
        }
    }

    /// A session beside those of the load, at any of the members.
    ///
    /// # Errors
    /// When none takes it.
    pub fn session(&self) -> Result<Session> {
        Session::begin(&self.shared.servers, 0, TIMEOUT_MS)
    }

    /// A copy of the history so far.
    pub fn history(&self) -> Vec<Entry> {
        lock(&self.shared.history).clone()
    }

    /// Ephemerals that must be there, with the sessions that own them.
    pub fn live(&self) -> Vec<(String, i64)> {
        lock(&self.shared.live).values().cloned().collect()
    }

    /// Ends all sessions. Returns how often they had to connect again.
    ///
    /// # Errors
    /// The complaints of the clients.
    pub fn finish(mut self) -> Result<usize> {
        self.end();
        self.check()?;
        let turns = self.shared.kept_lock.turns.load(Ordering::SeqCst);
        ensure!(turns == 2, "who waited behind the keeper of a lock had no turn");
        Ok(self.shared.reconnects.load(Ordering::SeqCst))
    }

    fn end(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.gate.set_closed(false);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                lock(&self.shared.complaints).push("a client panicked".to_owned());
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.give_up.store(true, Ordering::SeqCst);
        self.end();
    }
}

/// A lock whose holder cannot leave anything half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
