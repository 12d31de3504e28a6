//! Servers that start: a whole ensemble over its data, and a follower that has lost its disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use oxkeeper_proto::{ErrorCode, Zxid};

use super::Bench;
use super::cluster::Cluster;
use crate::engine::{Clock, Engine, Load, Reply, Span, Work};
use crate::figures::Figures;
use crate::layout::Layout;
use crate::members::{Mode, state};
use crate::tally::Tally;
use crate::units::Unit;
use crate::work::mix::{Mix, MixWork};

/// How long a follower may take to come back.
const REJOIN_MAX: Duration = Duration::from_secs(300);

/// Pause between two looks at it: what its time is off by.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Connections that carry the load during a rejoin.
const HANDS: usize = 16;

/// Stops the ensemble, starts it, and times it.
///
/// # Errors
/// When a server does not end or does not start.
pub fn restart(cluster: &mut Cluster) -> Result<Figures> {
    let stop = Instant::now();
    cluster.stop_all()?;
    let stopped = stop.elapsed();
    rustix::fs::sync();
    let start = Instant::now();
    let served = cluster.start_all()?;
    cluster.formed()?;
    let formed = start.elapsed();
    let mut figures = Figures::default();
    for (name, time) in [
        ("start to first request", served),
        ("start until all serve", formed),
        ("stop until all have ended", stopped),
    ] {
        figures.add(name, Unit::Ns, time.as_nanos() as f64);
    }
    Ok(figures)
}

/// Empties a follower's disk and lets it come back, while others are written to at a fixed rate.
///
/// # Errors
/// When it does not come back, or a write fails.
pub fn rejoin(
    bench: &Bench<'_>,
    cluster: &mut Cluster,
    layout: &Layout,
    label: &str,
) -> Result<Figures> {
    let leader = cluster.formed()?;
    let follower =
        (0..cluster.len()).find(|index| *index != leader).context("it has no follower")?;
    let others: Vec<SocketAddr> = (0..cluster.len())
        .filter(|index| *index != follower)
        .map(|index| cluster.address(index))
        .collect();
    bench.progress.say(&format!("{label} · writes before"));
    let stop = Arc::new(AtomicBool::new(false));
    let (warmup, measured) = (bench.args.load.warmup, bench.args.load.duration.max(1.0));
    let warmup = Duration::from_secs_f64(warmup);
    let load = SteadyLoad::start(bench, layout, &others, &stop, warmup)?;
    std::thread::sleep(warmup + Duration::from_secs_f64(measured));
    let before = load.finish(&stop)?;
    cluster.kill(follower)?;
    cluster.wipe(follower)?;

    bench.progress.say(&format!("{label} · server {} comes back empty", follower + 1));
    let load = SteadyLoad::start(bench, layout, &others, &stop, Duration::ZERO)?;
    let start = Instant::now();
    cluster.start(follower)?;
    let synced = await_synced(cluster, follower, leader);
    let took = start.elapsed();
    let during = load.finish(&stop)?;
    synced?;

    let mut figures = Figures::default();
    figures.add("start until synced", Unit::Ns, took.as_nanos() as f64);
    figures.add_percentiles("writes before,", &before.all_latencies(), &["p50", "p99", "max"]);
    figures.add_percentiles("writes during,", &during.all_latencies(), &["p50", "p99", "max"]);
    let p99 = |tally: &Tally| tally.all_latencies().value_at_quantile(0.99).max(1) as f64;
    figures.add("p99 during ÷ before", Unit::Count, p99(&during) / p99(&before));
    figures.add_errors(&before);
    figures.add_errors(&during);
    Ok(figures)
}

/// Waits until a server serves, and has what the leader had when it was last asked.
fn await_synced(cluster: &mut Cluster, follower: usize, leader: usize) -> Result<()> {
    let start = Instant::now();
    let mut asked = None::<Zxid>;
    loop {
        let (mode, zxid) = state(cluster.address(follower));
        if mode.learns() && asked.is_some() && zxid >= asked {
            return Ok(());
        }
        if mode != Mode::Unknown {
            asked = state(cluster.address(leader)).1;
        }
        cluster.check()?;
        if start.elapsed() > REJOIN_MAX {
            bail!("server {} was not synced within {} s", follower + 1, REJOIN_MAX.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Writes at a fixed rate, on a thread of their own, until they are told to end.
struct SteadyLoad(std::thread::JoinHandle<Result<Tally>>);

impl SteadyLoad {
    fn start(
        bench: &Bench<'_>,
        layout: &Layout,
        addresses: &[SocketAddr],
        stop: &Arc<AtomicBool>,
        warmup: Duration,
    ) -> Result<SteadyLoad> {
        stop.store(false, Ordering::Relaxed);
        let clock = Clock::start();
        let numbers = &bench.args.load;
        let mut engine = Engine::connect(addresses, HANDS, numbers.session_timeout, clock)?;
        let work = MixWork::new(&Mix::parse("set")?, layout, numbers.value_size, HANDS, 0);
        let mut work = UntilTold { work, stop: Arc::clone(stop) };
        let load = Load::Open(numbers.rate);
        Ok(SteadyLoad(std::thread::spawn(move || {
            let from_ns = clock.now_ns() + warmup.as_nanos() as u64;
            let tally = engine.run(&mut work, load, Span { from_ns, until_ns: u64::MAX })?;
            engine.close()?;
            Ok(tally)
        })))
    }

    fn finish(self, stop: &AtomicBool) -> Result<Tally> {
        stop.store(true, Ordering::Relaxed);
        self.0.join().map_err(|_| anyhow!("a generator thread panicked"))?
    }
}

/// A [`MixWork`] that ends when it is told to.
struct UntilTold {
    work: MixWork,
    stop: Arc<AtomicBool>,
}

impl Work for UntilTold {
    fn kinds(&self) -> &[&'static str] {
        self.work.kinds()
    }

    fn next(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8> {
        self.work.next(conn, xid, out)
    }

    fn reply(&mut self, reply: &Reply<'_>, now_ns: u64) -> ErrorCode {
        self.work.reply(reply, now_ns)
    }

    fn finished(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
