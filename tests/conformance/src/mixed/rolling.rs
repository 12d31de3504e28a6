//! A rolling restart, as an upgrade does it: SIGTERM and start, the leader last. What it costs is
//! measured by clients that write all the time, one at each member.
//!
//! A request that is under way when its server goes may fail. Its client connects again, which
//! takes as long as nobody leads, and the next request is done: no client has two failures for one
//! restart.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::chapters::SOME;
use super::load::session::{Session, TIMEOUT_MS};
use super::load::{TOP, create, set};
use super::stage::Stage;
use super::{Setting, mixture};
use crate::ensemble::{Mixture, Plan};

/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(2);
/// The longest that a client may be without an answer, on a busy machine. Java's servers alone need
/// up to two seconds.
const OUTAGE_MAX: Duration = Duration::from_secs(5);

pub(super) fn mixtures(quick: bool) -> Vec<Mixture> {
    let all = ["java,ours,java", "ours,java,ours", "ours,ours,ours"];
    all[..if quick { 1 } else { all.len() }].iter().map(|text| mixture(text)).collect()
}

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    let plan = Plan::new(&mixture.voting, dir);
    let starting: Vec<i64> = (1..).zip(&plan.members).map(|(sid, _)| sid).collect();
    let mut stage = Stage::open(setting.programs, &plan, &starting, setting.seed)?;
    stage.load.await_progress(SOME)?;
    stage.check().context("cold start")?;
    for leader in stage.one_of_each_kind()? {
        stage.ensemble.make_lead(leader)?;
        let mut order = stage.followers()?;
        order.push(leader);
        let probes = Probes::start(&stage.ensemble.addrs())?;
        for sid in order {
            let what = format!("{sid}, {}, under {leader}", stage.ensemble.kind(sid)?);
            let cost = restart(&mut stage, &probes, sid).context(what.clone())?;
            (setting.progress)(&format!("{mixture}: {what} restarted: {cost}"));
        }
        probes.end()?;
        stage.check()?;
    }
    stage.close()
}

/// One member goes and comes back.
fn restart(stage: &mut Stage, probes: &Probes, sid: i64) -> Result<String> {
    probes.await_answers(20)?;
    probes.take();
    let began = Instant::now();
    stage.ensemble.stop(sid)?;
    stage.leader()?;
    probes.await_answers(20)?;
    stage.ensemble.start(sid)?;
    stage.await_all()?;
    probes.await_answers(20)?;
    let mut worst = Duration::ZERO;
    let mut failed = 0;
    for (at, answers) in probes.take().into_iter().enumerate() {
        let failures = answers.iter().filter(|answer| !answer.done).count();
        ensure!(failures <= 1, "client {at}: {}", story(began, &answers));
        failed += failures;
        // From when a request was made until there was an answer, to it or to a later one.
        let mut since = None;
        for answer in &answers {
            let asked = *since.get_or_insert(answer.asked);
            if answer.done {
                worst = worst.max(answer.told.duration_since(asked));
                since = None;
            }
        }
        stage.checked();
    }
    ensure!(worst <= OUTAGE_MAX, "a client had no answer for {worst:?}");
    Ok(format!("{failed} requests failed, at most {} ms without an answer", worst.as_millis()))
}

/// Which requests were lost, and what came behind each, for messages.
fn story(began: Instant, answers: &[Answer]) -> String {
    let ms = |at: Instant| at.saturating_duration_since(began).as_millis();
    let lost = answers.windows(2).filter(|pair| !pair[0].done).map(|pair| {
        let [lost, next] = [pair[0], pair[1]].map(|a| format!("{} to {}", ms(a.asked), ms(a.told)));
        format!("lost at {}: {lost} ms, then {next} ms at {}", pair[0].server, pair[1].server)
    });
    lost.collect::<Vec<_>>().join("; ")
}

/// What a client saw of a request.
#[derive(Clone, Copy)]
struct Answer {
    asked: Instant,
    told: Instant,
    done: bool,
    /// Where the client was when it asked, by the place in its list.
    server: usize,
}

/// A client at each member.
struct Probes {
    over: Arc<AtomicBool>,
    seen: Vec<Arc<Mutex<Vec<Answer>>>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Probes {
    fn start(servers: &[SocketAddr]) -> Result<Probes> {
        let over = Arc::new(AtomicBool::new(false));
        let (mut seen, mut threads) = (Vec::new(), Vec::new());
        for at in 0..servers.len() {
            let mut session = Session::begin(servers, at, TIMEOUT_MS)?;
            let path = format!("{TOP}/probe-{at}");
            session.ask(create(&path, "", 1))?;
            let (over, answers) = (Arc::clone(&over), Arc::<Mutex<Vec<Answer>>>::default());
            seen.push(Arc::clone(&answers));
            threads.push(std::thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let (asked, server) = (Instant::now(), session.server());
                    let done = session.ask(set(&path, "again", -1))?.done().is_some();
                    let answer = Answer { asked, told: Instant::now(), done, server };
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                    std::thread::sleep(PACE);
                }
                session.close()
            }));
        }
        Ok(Probes { over, seen, threads })
    }

    /// What was seen since the last call.
    fn take(&self) -> Vec<Vec<Answer>> {
        let take = |seen: &Arc<Mutex<Vec<Answer>>>| {
            std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner))
        };
        self.seen.iter().map(take).collect()
    }

    /// Waits until each client has had so many answers.
    fn await_answers(&self, count: usize) -> Result<()> {
        let began = Instant::now();
        for (at, seen) in self.seen.iter().enumerate() {
            let answered = || {
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.iter().filter(|answer| answer.done && answer.asked >= began).count()
            };
            while answered() < count {
                ensure!(began.elapsed() < crate::ensemble::PATIENCE, "client {at} waits for ever");
                ensure!(!self.threads[at].is_finished(), "client {at} has given up");
                std::thread::sleep(PACE);
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}
