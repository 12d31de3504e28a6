//! Recipes on an ensemble of three while its members are killed one after the other.
//!
//! Four workers, each with a session of its own to all members, take turns at a lock, share a
//! semaphore, elect leaders, hand each other work, meet and run a job at its times. What they
//! believe is held against each other here, where all of them are in one process: a lock that two
//! have, a token that falls, an item that is lost or done twice, a meeting that begins before all
//! have come, a tick that runs twice. Sessions live longer than any outage, so nothing excuses a
//! failure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use oxkeeper_client::{Client, Fate};
use oxkeeper_recipes::{
    DoubleBarrier, Election, Error, HandOver, Job, Led, LockingQueue, Mutex, Schedule, Scheduler,
    Semaphore, Token,
};

use crate::Findings;
use crate::ensemble::{Ensemble, Kind, PATIENCE, Plan, Programs};
use crate::peers::Peers;

/// Who takes part.
const WORKERS: usize = 4;
/// How often each of them goes through everything.
const ROUNDS: usize = 120;
/// How often a member is killed meanwhile.
const KILLS: u64 = 9;
/// In which rounds they meet: every so many.
const MEETINGS: usize = 12;
/// How long one keeps its lease: longer than anything else takes, so that others always wait.
const LEASE: Duration = Duration::from_millis(10);
/// The number that nothing but the lock protects.
const COUNT: &str = "/attack/count";
/// How long a session lives without its servers: longer than any outage here.
const SESSION: Duration = Duration::from_secs(40);

/// Runs it on three servers of this kind.
///
/// # Errors
/// When the servers cannot be run.
pub fn run(
    peers: &Peers,
    kind: Kind,
    binary: Option<PathBuf>,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let mut findings = Findings::default();
    let programs = Programs::fetch(peers, [kind], binary, progress)?;
    let plan = Plan::new(&[kind; 3], dir);
    let mut ensemble = Ensemble::lay_out(&programs, &plan)?;
    ensemble.start_all(&[1, 2, 3])?;
    ensemble.await_serving(&[1, 2, 3])?;
    progress("members are killed");
    match under_attack(&mut ensemble) {
        Ok(checks) => findings.checks += checks,
        Err(error) => findings.errors.push(format!("members are killed: {error:#}")),
    }
    Ok(findings)
}

fn under_attack(ensemble: &mut Ensemble) -> Result<usize> {
    let hosts: Vec<String> = ensemble.addrs().iter().map(ToString::to_string).collect();
    let books: Arc<Books> = Arc::default();
    let own = Arc::clone(&books);
    let working = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(all_work(&hosts.join(","), &own))
    });
    ensemble.under_attack(KILLS, &books.rounds, (WORKERS * ROUNDS) as u64, working)
}

/// What all of them have seen.
#[derive(Default)]
struct Books {
    rounds: AtomicU64,
    lock: Alone,
    leader: Alone,
    leases: AtomicUsize,
    /// Items that were put, or may have been, and how often each was done.
    items: StdMutex<BTreeMap<String, (Put, u32)>>,
    /// Ticks that were begun.
    ticks: StdMutex<BTreeSet<i64>>,
    twice: StdMutex<Vec<i64>>,
    /// To meetings, and from them, in all.
    come: AtomicUsize,
    gone: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Surely,
    Perhaps,
}

/// What one has at a time, with a token that rises.
#[derive(Default)]
struct Alone {
    taken: AtomicBool,
    last: StdMutex<Option<Token>>,
}

impl Alone {
    fn enter(&self, token: Token) -> Result<()> {
        ensure!(!self.taken.swap(true, Ordering::SeqCst), "two have it");
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(*last < Some(token), "{token:?} after {last:?}");
        *last = Some(token);
        Ok(())
    }

    fn leave(&self) {
        self.taken.store(false, Ordering::SeqCst);
    }
}

async fn all_work(hosts: &str, books: &Arc<Books>) -> Result<usize> {
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let builder = Client::builder(hosts).session_timeout(SESSION);
        let worker = Worker { zk: builder.connect().await?, number, books: Arc::clone(books) };
        workers.spawn(worker.works());
    }
    let mut checks = 0;
    // Whoever ends first: one that fails leaves the others waiting for it.
    loop {
        let next = tokio::time::timeout(3 * PATIENCE, workers.join_next());
        let Some(done) = next.await.context("a worker hangs")? else { break };
        checks += done??;
    }
    // Only now: one may be done while others still add.
    let last = Client::builder(hosts).session_timeout(SESSION).connect().await?;
    while let Err(error) = last.sync(COUNT).await {
        ensure!(error.is_temporary(), error);
    }
    let (counted, whole) = (number_at(&last, COUNT).await?, WORKERS * ROUNDS);
    ensure!(counted == whole, "{counted} of {whole} additions under the lock");
    last.close().await;
    let books = books.items.lock().unwrap_or_else(PoisonError::into_inner);
    for (item, (put, done)) in &*books {
        let fits = match put {
            Put::Surely => *done == 1,
            Put::Perhaps => *done <= 1,
        };
        ensure!(fits, "{item} was put {put:?} and done {done} times");
    }
    Ok(checks + books.len())
}

struct Worker {
    zk: Client,
    number: usize,
    books: Arc<Books>,
}

impl Worker {
    async fn works(self) -> Result<usize> {
        let session = self.zk.session_id();
        let schedule = Schedule::every(Duration::from_millis(200)).context("a length")?;
        let job = Job { hand_over: HandOver::Never, ..Job::new("sweep", schedule) };
        let books = Arc::clone(&self.books);
        let sweep = move |tick: oxkeeper_recipes::Tick| {
            let new = lock(&books.ticks).insert(tick.due_ms);
            if !new {
                lock(&books.twice).push(tick.due_ms);
            }
            std::future::ready(())
        };
        let duty = Scheduler::new(&self.zk, "/attack/jobs").work(job, sweep).await?;
        for round in 0..ROUNDS {
            let part = self.round(round).await;
            part.with_context(|| format!("worker {}, round {round}", self.number))?;
            self.books.rounds.fetch_add(1, Ordering::Relaxed);
        }
        // What is left over of the work, if others were slow to put it.
        while self.does_one().await? {}
        duty.close().await;
        let ticks = lock(&self.books.ticks).len();
        ensure!(ticks >= 5, "only {ticks} ticks ran");
        let twice = lock(&self.books.twice).clone();
        ensure!(twice.is_empty(), "ticks {twice:?} ran twice");
        ensure!(self.zk.session_id() == session, "the session is another");
        // Not always confirmed: its server may have been killed just now.
        self.zk.close().await;
        Ok(4 * ROUNDS + ticks)
    }

    async fn round(&self, round: usize) -> Result<()> {
        self.adds_under_the_lock().await.context("the lock")?;
        self.shares().await.context("the semaphore")?;
        self.leads().await.context("the election")?;
        self.puts(&format!("{}-{round}", self.number)).await.context("putting")?;
        self.does_one().await.context("doing")?;
        if round.is_multiple_of(MEETINGS) {
            self.meets(round / MEETINGS).await.context("the meeting")?;
        }
        Ok(())
    }

    /// Adds one to a number that nothing but the lock protects.
    async fn adds_under_the_lock(&self) -> Result<()> {
        let guard = Mutex::new(&self.zk, "/attack/lock").acquire().await?;
        self.books.lock.enter(guard.token())?;
        let now = number_at(&self.zk, COUNT).await?;
        let next = (now + 1).to_string();
        loop {
            match self.zk.set(COUNT, next.as_bytes()).await {
                Ok(_) => break,
                // Set again to the same: nobody else may meanwhile.
                Err(error) if error.fate() != Fate::Happened && error.is_temporary() => {}
                Err(error) if error.is_no_node() => {
                    match self.zk.create(COUNT, next.as_bytes()).parents().await {
                        Ok(_) => break,
                        Err(error) if error.is_temporary() => {}
                        Err(error) if error.is_node_exists() => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.books.lock.leave();
        ensure!(guard.release().await?, "it was lost");
        Ok(())
    }

    async fn shares(&self) -> Result<()> {
        let lease = Semaphore::new(&self.zk, "/attack/leases", 2).acquire().await?;
        let with = self.books.leases.fetch_add(1, Ordering::SeqCst) + 1;
        ensure!(with <= 2, "{with} have a lease of two");
        tokio::time::sleep(LEASE).await;
        self.books.leases.fetch_sub(1, Ordering::SeqCst);
        ensure!(lease.release().await?, "it was lost");
        Ok(())
    }

    async fn leads(&self) -> Result<()> {
        let election = Election::new(&self.zk, "/attack/leader");
        loop {
            let led = election.lead(|leadership| async move {
                self.books.leader.enter(leadership.token())?;
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.books.leader.leave();
                Ok::<_, anyhow::Error>(())
            });
            match led.await? {
                Led::Done(done) => return done,
                // Out of touch for so long that others might lead: the work was dropped.
                Led::Lost => self.books.leader.leave(),
            }
        }
    }

    fn queue(&self) -> LockingQueue {
        LockingQueue::new(&self.zk, "/attack/queue")
    }

    async fn puts(&self, item: &str) -> Result<()> {
        // Before it is there to be taken.
        lock(&self.books.items).insert(item.to_owned(), (Put::Perhaps, 0));
        match self.queue().put(item.as_bytes()).await {
            Ok(()) => {
                if let Some((put, _)) = lock(&self.books.items).get_mut(item) {
                    *put = Put::Surely;
                }
                Ok(())
            }
            Err(Error::Unsure { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Does one piece of work, if there is any.
    async fn does_one(&self) -> Result<bool> {
        let Some(claim) = self.queue().try_claim().await? else { return Ok(false) };
        let item = String::from_utf8(claim.data())?;
        ensure!(claim.consume().await?, "the claim of {item} was lost");
        let mut items = lock(&self.books.items);
        let (_, done) = items.get_mut(&item).with_context(|| format!("{item} was never put"))?;
        *done += 1;
        Ok(true)
    }

    async fn meets(&self, meeting: usize) -> Result<()> {
        let dir = format!("/attack/meeting-{meeting}");
        let barrier = DoubleBarrier::new(&self.zk, &dir, WORKERS);
        // Another time another comes late: when all others wait, and have waited for a while.
        if meeting % WORKERS == self.number {
            while self.names_in(&dir).await? < WORKERS - 1 {
                tokio::time::sleep(LEASE).await;
            }
            tokio::time::sleep(5 * LEASE).await;
        }
        self.books.come.fetch_add(1, Ordering::SeqCst);
        let inside = barrier.enter().await?;
        let (come, all) = (self.books.come.load(Ordering::SeqCst), (meeting + 1) * WORKERS);
        ensure!(come == all, "in when {come} of {all} had come");
        self.books.gone.fetch_add(1, Ordering::SeqCst);
        inside.leave().await?;
        let gone = self.books.gone.load(Ordering::SeqCst);
        ensure!(gone >= all, "out when {gone} of {all} wanted out");
        Ok(())
    }

    async fn names_in(&self, dir: &str) -> Result<usize> {
        loop {
            match self.zk.children(dir).await {
                Ok(names) => return Ok(names.len()),
                Err(error) if error.is_no_node() => return Ok(0),
                Err(error) if error.is_temporary() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn number_at(zk: &Client, path: &str) -> Result<usize> {
    loop {
        match zk.get(path).await {
            Ok(data) => return Ok(std::str::from_utf8(data.bytes())?.parse()?),
            Err(error) if error.is_no_node() => return Ok(0),
            Err(error) if error.is_temporary() => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn lock<T>(books: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}
