//! One round of each kind of scenario against one server.
//!
//! A round opens its own sessions and closes them again: nothing but the loaded tree is carried
//! from one to the next, so rounds of different servers can take turns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::catalogue::{Kind, Plan};
use crate::drive::{Meter, Phases, drive};
use crate::engine::{Clock, Engine, Load, Span};
use crate::figures::Figures;
use crate::layout::{Layout, Shape};
use crate::procfs;
use crate::progress::{Progress, Pulse};
use crate::session::{Session, close_all};
use crate::stage::{Loading, clear, fresh_root, pass, raise, settle};
use crate::target::{Role, Target};
use crate::units::Unit;
use crate::work::bulk::Direction;
use crate::work::churn::churn;
use crate::work::lock::{self, LockWork};
use crate::work::mix::MixWork;
use crate::work::sweep::SweepWork;
use crate::work::watch::WatchWork;

/// A scenario prepared on one server.
pub struct Stage<'a> {
    plan: &'a Plan,
    progress: &'a Progress,
    layout: Layout,
    loaded: bool,
    /// How many generators have run over it.
    parts: u32,
}

impl<'a> Stage<'a> {
    /// Loads what the scenario reads.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn set(plan: &'a Plan, target: &Target, progress: &'a Progress) -> Result<Stage<'a>> {
        let shape = if matches!(plan.kind, Kind::Watch { .. }) { Shape::Wide } else { plan.shape };
        let layout = Layout::sized(shape, &fresh_root(), plan.znodes);
        let mut stage = Stage { plan, progress, layout, loaded: false, parts: 0 };
        if plan.kind.reads_a_tree() {
            stage.load(target, stage.usual_loading())?;
        }
        Ok(stage)
    }

    /// Removes it again.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn strike(&mut self, target: &Target) -> Result<()> {
        if !std::mem::take(&mut self.loaded) || self.plan.keep || target.role == Role::Limit {
            return Ok(());
        }
        let show = (self.progress, target.name.as_str());
        clear(&target.addresses(), &self.layout, true, self.plan.timeout_ms, show)
    }

    /// Measures once.
    ///
    /// # Errors
    /// When the server cannot be reached, misbehaves or refuses what it should not.
    pub fn round(&mut self, target: &mut Target, label: &str) -> Result<Figures> {
        match self.plan.kind {
            Kind::Mix => self.mix(target, Load::Closed(self.plan.window), label),
            Kind::Paced => self.paced(target, label),
            Kind::Watch { one_shot } => self.watch(target, one_shot, label),
            Kind::Lock => self.lock(target, label),
            Kind::Connect => self.connect(target, label),
            Kind::Load => self.bulk(target),
            Kind::Empty => {
                let mut figures = Figures::default();
                self.memory(target)?.add(&mut figures);
                Ok(figures)
            }
            Kind::Watches => self.watches(target, label),
            Kind::Sessions => self.sessions(target),
            Kind::Start => self.start(target),
        }
    }

    fn usual_loading(&self) -> Loading {
        Loading::usual(self.plan.batch, self.plan.value_bytes, self.plan.timeout_ms)
    }

    /// Creates the layout; what it cost. Canned answers need no tree behind them.
    fn load(&mut self, target: &Target, loading: Loading) -> Result<Option<crate::drive::Cost>> {
        if target.role == Role::Limit {
            return Ok(None);
        }
        self.loaded = true;
        let addresses = target.addresses();
        raise(addresses[0], &self.layout, self.plan.timeout_ms)?;
        let show = (self.progress, target.name.as_str());
        let cost = pass(&addresses, &self.layout, Direction::Create, loading, show)?;
        settle(&addresses, self.plan.timeout_ms)?;
        Ok(Some(cost))
    }

    fn phases(&self) -> Phases {
        Phases { warmup: self.plan.warmup, measure: Some(self.plan.duration) }
    }

    fn mix(&mut self, target: &Target, load: Load, label: &str) -> Result<Figures> {
        let plan = self.plan;
        let clock = Clock::start();
        let mut jobs = Vec::with_capacity(plan.threads);
        for thread in 0..plan.threads {
            let conns = share(plan.connections, plan.threads, thread);
            let engine = Engine::connect(&target.addresses(), conns, plan.timeout_ms, clock)?;
            self.parts += 1;
            let (value, part) = (plan.value_bytes, self.parts);
            let work = MixWork::new(&plan.mix, &self.layout, value, conns, part);
            jobs.push((engine, work));
        }
        let show = (self.progress, label);
        let driven = drive(jobs, load, self.phases(), clock, &target.processes(), show)?;
        let mut figures = Figures::default();
        figures.add_cost("op", driven.tally.replies, driven.cost);
        figures.add_latencies(&driven.tally, crate::work::mix::KINDS);
        figures.add_errors(&driven.tally);
        driven.close()?;
        Ok(figures)
    }

    /// A mix at a fixed rate, with the snapshots that fell into it.
    fn paced(&mut self, target: &Target, label: &str) -> Result<Figures> {
        let before = target.snapshots();
        let mut figures = self.mix(target, Load::Open(self.plan.rate), label)?;
        let written = target.snapshots().zip(before).map(|(after, before)| (after - before) as f64);
        figures.add_known("snapshots written", Unit::Count, written);
        Ok(figures)
    }

    fn watch(&self, target: &Target, one_shot: bool, label: &str) -> Result<Figures> {
        let plan = self.plan;
        let clock = Clock::start();
        let count = plan.connections + 1;
        let engine = Engine::connect(&target.addresses(), count, plan.timeout_ms, clock)?;
        let path = format!("{}/p00000000/n00000000", self.layout.root);
        let mut work = WatchWork::new(&path, plan.value_bytes, plan.connections, one_shot, clock);
        work.from_ns = clock.now_ns() + plan.warmup.as_nanos() as u64;
        let show = (self.progress, label);
        let load = Load::Closed(1);
        let driven =
            drive(vec![(engine, work)], load, self.phases(), clock, &target.processes(), show)?;
        let mut figures = Figures::default();
        figures.add_cost("event", driven.tally.events, driven.cost);
        let (_, work) = &driven.jobs[0];
        ensure!(
            work.rounds > 0,
            "no set was seen by all {} watchers; measure longer (--duration)",
            plan.connections
        );
        figures.add_percentiles("to the first watcher,", &work.to_first, &["p50"]);
        figures.add_percentiles("to the last watcher,", &work.to_last, &["p50", "p99"]);
        figures.add_errors(&driven.tally);
        driven.close()?;
        Ok(figures)
    }

    fn lock(&self, target: &Target, label: &str) -> Result<Figures> {
        let plan = self.plan;
        let clock = Clock::start();
        let count = plan.connections;
        let engine = Engine::connect(&target.addresses(), count, plan.timeout_ms, clock)?;
        let mut work = LockWork::new(&self.layout, count, clock);
        work.from_ns = clock.now_ns() + plan.warmup.as_nanos() as u64;
        let (jobs, show) = (vec![(engine, work)], (self.progress, label));
        let processes = target.processes();
        let driven = drive(jobs, Load::Closed(1), self.phases(), clock, &processes, show)?;
        let mut figures = Figures::default();
        let cycles = driven.tally.latency(usize::from(lock::DELETE)).len();
        ensure!(cycles > 0, "no lock was taken; measure longer (--duration)");
        figures.add_cost("cycle", cycles, driven.cost);
        figures.add_percentiles("cycle", &driven.jobs[0].1.cycles, &["p50", "p99"]);
        figures.add_latencies(&driven.tally, lock::KINDS);
        figures.add_errors(&driven.tally);
        driven.close()?;
        Ok(figures)
    }

    fn connect(&self, target: &Target, label: &str) -> Result<Figures> {
        let plan = self.plan;
        let clock = Clock::start();
        let warmup_ns = plan.warmup.as_nanos() as u64;
        let done = AtomicU64::new(0);
        let (tally, cost) = std::thread::scope(|scope| {
            let until_ns = warmup_ns + plan.duration.as_nanos() as u64;
            let span = Span { from_ns: warmup_ns, until_ns };
            let (addresses, done) = (target.addresses(), &done);
            let churner = scope.spawn(move || {
                churn(&addresses, plan.connections, plan.timeout_ms, clock, span, done)
            });
            let mut pulse = Pulse::new(0);
            let mut wait = |until_ns: u64| {
                while clock.now_ns() < until_ns && !churner.is_finished() {
                    let count = done.load(Ordering::Relaxed);
                    if let Some(rate) = pulse.beat(count) {
                        self.progress.rate(label, count, rate);
                    }
                    let left = Duration::from_nanos(until_ns.saturating_sub(clock.now_ns()));
                    std::thread::sleep(left.min(Duration::from_millis(50)));
                }
            };
            wait(warmup_ns);
            let meter = Meter::start(clock, &target.processes());
            wait(until_ns);
            let cost = meter.stop().over(plan.duration);
            (churner.join(), cost)
        });
        let tally = tally.map_err(|_| anyhow::anyhow!("the generator panicked"))??;
        let mut figures = Figures::default();
        figures.add_cost("session", tally.replies, cost);
        figures.add_percentiles("to the session,", tally.latency(0), &["p50", "p99"]);
        Ok(figures)
    }

    fn bulk(&mut self, target: &Target) -> Result<Figures> {
        let plan = self.plan;
        let before = self.memory(target)?;
        let mut loading = self.usual_loading();
        loading.processes = target.processes();
        (loading.connections, loading.window) = (plan.connections, plan.window);
        let Some(cost) = self.load(target, loading)? else {
            bail!("canned answers have no memory to measure");
        };
        let znodes = self.layout.znodes();
        let mut figures = Figures::default();
        figures.add_cost("znode", znodes, cost);
        self.memory(target)?.add_growth(&mut figures, before, znodes, "znode");
        self.strike(target)?;
        Ok(figures)
    }

    fn watches(&mut self, target: &Target, label: &str) -> Result<Figures> {
        let plan = self.plan;
        self.load(target, self.usual_loading())?;
        let before = self.memory(target)?;
        let clock = Clock::start();
        let engine =
            Engine::connect(&target.addresses(), plan.connections, plan.timeout_ms, clock)?;
        let work = SweepWork::new(&self.layout, plan.connections);
        let phases = Phases { warmup: Duration::ZERO, measure: None };
        let show = (self.progress, label);
        let load = Load::Closed(plan.window * 8);
        let driven = drive(vec![(engine, work)], load, phases, clock, &target.processes(), show)?;
        let count = driven.tally.replies;
        let mut figures = Figures::default();
        self.memory(target)?.add_growth(&mut figures, before, count, "watch");
        figures.add_cost("watch", count, driven.cost);
        figures.add_errors(&driven.tally);
        driven.close()?;
        self.strike(target)?;
        Ok(figures)
    }

    fn sessions(&self, target: &Target) -> Result<Figures> {
        let plan = self.plan;
        let before = self.memory(target)?;
        let count = plan.connections;
        let sessions = Session::open_many(&target.addresses(), count, plan.timeout_ms)?;
        let mut figures = Figures::default();
        self.memory(target)?.add_growth(&mut figures, before, count as u64, "session");
        close_all(sessions.into_iter().map(Session::into_stream).collect())?;
        Ok(figures)
    }

    /// Starts the server once more and times it; the first time, it is loaded before.
    fn start(&mut self, target: &mut Target) -> Result<Figures> {
        ensure!(target.is_managed(), "start needs the command that starts the server (--cmd)");
        if self.plan.znodes > 0 && !self.loaded {
            target.up(false)?;
            self.load(target, self.usual_loading())?;
            // The next start reads the log and, as ZooKeeper does, writes a snapshot; the ones
            // after it, which are measured, start from that.
            target.down()?;
            target.up(false)?;
        }
        target.down()?;
        target.up(false)?;
        let mut figures = Figures::default();
        let took = target.start_time().context("the server was not started by us")?;
        figures.add("start to first request", Unit::Ns, took.as_nanos() as f64);
        self.memory(target)?.add(&mut figures);
        Ok(figures)
    }

    /// The server's memory now; of an ensemble, the mean of its servers.
    fn memory(&self, target: &Target) -> Result<Memory> {
        let processes = target.processes();
        if processes.is_empty() {
            bail!(
                "memory needs the server's process: none listens on {} here that we may look into \
                 (--pid)",
                target.address_text()
            );
        }
        let (mut resident, mut live, mut count) = (0, None, 0);
        for (pid, _) in processes.iter() {
            resident += procfs::resident_bytes(pid)?;
            if self.plan.live_heap && procfs::is_java(pid) {
                live = Some(live.unwrap_or(0) + procfs::java_live_bytes(pid)?);
            }
            count += 1;
        }
        Ok(Memory { resident: resident / count, live: live.map(|live| live / count) })
    }
}

/// Memory of a server at some moment, in bytes.
#[derive(Debug, Clone, Copy)]
struct Memory {
    resident: u64,
    /// Live objects of a Java server, which its resident memory hides, if they were asked for.
    live: Option<u64>,
}

impl Memory {
    fn add(self, figures: &mut Figures) {
        figures.add("memory", Unit::Bytes, self.resident as f64);
        figures.add_known("live heap", Unit::Bytes, self.live.map(|bytes| bytes as f64));
    }

    /// Adds what there is now, what there was, and the growth spread over `count` things.
    fn add_growth(self, figures: &mut Figures, before: Memory, count: u64, thing: &str) {
        let mut add = |name: &str, now: u64, before: u64| {
            let growth = now.saturating_sub(before) as f64;
            figures.add(name, Unit::Bytes, now as f64);
            figures.add(format!("{name} before"), Unit::Bytes, before as f64);
            figures.add(format!("{name} per {thing}"), Unit::Bytes, growth / count.max(1) as f64);
        };
        add("memory", self.resident, before.resident);
        if let (Some(now), Some(before)) = (self.live, before.live) {
            add("live heap", now, before);
        }
    }
}

/// How many of `all` the given thread gets.
fn share(all: usize, threads: usize, thread: usize) -> usize {
    all / threads + usize::from(thread < all % threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_spread_over_what_grew() {
        let mut figures = Figures::default();
        let before = Memory { resident: 1_000, live: None };
        Memory { resident: 5_000, live: Some(7) }.add_growth(&mut figures, before, 40, "watch");
        let shown: Vec<(&str, f64)> =
            figures.all.iter().map(|figure| (figure.name.as_str(), figure.value)).collect();
        let expected =
            [("memory", 5_000.0), ("memory before", 1_000.0), ("memory per watch", 100.0)];
        assert_eq!(shown, expected);
    }

    #[test]
    fn threads_share_all_connections() {
        for (all, threads) in [(1, 1), (512, 3), (7, 7), (10, 4)] {
            let sum: usize = (0..threads).map(|thread| share(all, threads, thread)).sum();
            assert_eq!(sum, all);
        }
    }
}
