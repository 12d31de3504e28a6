//! Leaders that fail under load.
//!
//! A killed leader closes its connections, and everybody knows at once; a frozen one says nothing,
//! and only its silence tells. Both are measured at the clients: see [`super::writers`].

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::cluster::Cluster;
use super::writers::Writers;
use super::{Bench, Row};
use crate::figures::Figures;
use crate::units::Unit;

/// How long writers go undisturbed before a fault.
const CALM: Duration = Duration::from_millis(500);

/// How long nobody may be served after one.
const OUTAGE_MAX: Duration = Duration::from_secs(120);

/// Looks at whether writers are served again; the time itself is taken by the writers.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A short session timeout: a client that hears nothing leaves its server after two thirds of it.
const TIMEOUT_MS: i32 = 6000;

/// Name of the time from the fault to the first acknowledged write.
pub const FIRST_WRITE: &str = "fault to first write";

/// Kills or freezes the leader `times` times, each time of a whole ensemble under load.
///
/// # Errors
/// When nobody is served again, a server dies by itself, or an acknowledged write is lost.
pub fn failing_leader(
    bench: &Bench<'_>,
    cluster: &mut Cluster,
    row: Row,
    times: usize,
    label: &str,
) -> Result<Vec<Figures>> {
    let root = bench.root(cluster)?;
    cluster.formed()?;
    let count = bench.args.writers;
    let writers = Writers::start(&cluster.addresses(), &root, count, TIMEOUT_MS)?;
    let mut rounds = Vec::with_capacity(times);
    for time in 0..times {
        let leader = cluster.formed()?;
        writers.go_home();
        wait(cluster, "not every writer has come to its server", || {
            writers.are_home().then_some(())
        })?;
        await_progress(cluster, &writers)?;
        let before = writers.acknowledged();
        std::thread::sleep(CALM);
        let rate = (writers.acknowledged() - before) as f64 / CALM.as_secs_f64();
        bench.progress.say(&format!("{label} · {} of {times}", time + 1));
        writers.fault();
        match row {
            Row::LeaderKilled => cluster.kill(leader)?,
            _ => cluster.freeze(leader),
        }
        let outage = await_write(cluster, &writers)?;
        match row {
            Row::LeaderKilled => cluster.start(leader)?,
            _ => cluster.thaw(leader),
        }
        let back = Instant::now();
        cluster.formed()?;
        let mut figures = Figures::default();
        figures.add(FIRST_WRITE, Unit::Ns, outage.as_nanos() as f64);
        figures.add("until all serve again", Unit::Ns, back.elapsed().as_nanos() as f64);
        figures.add("writes per second before", Unit::PerSecond, rate);
        rounds.push(figures);
    }
    writers.finish()?;
    Ok(rounds)
}

/// Waits until some more writes are acknowledged: nobody measures an outage within an outage.
fn await_progress(cluster: &mut Cluster, writers: &Writers) -> Result<()> {
    let before = writers.acknowledged();
    wait(cluster, "no write was acknowledged", || {
        (writers.acknowledged() >= before + 20).then_some(())
    })
}

fn await_write(cluster: &mut Cluster, writers: &Writers) -> Result<Duration> {
    wait(cluster, "no write was acknowledged after the fault", || writers.served_after())
}

fn wait<T>(
    cluster: &mut Cluster,
    complaint: &str,
    mut over: impl FnMut() -> Option<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = over() {
            return Ok(found);
        }
        cluster.check()?;
        if start.elapsed() > OUTAGE_MAX {
            bail!("{complaint} within {} s", OUTAGE_MAX.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
