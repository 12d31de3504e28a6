//! Running generator threads, with the server's and our own CPU time taken at the same moments.

use std::sync::atomic::Ordering;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::engine::{Clock, Engine, Load, Span, Work};
use crate::members::{CpuTimes, Processes};
use crate::procfs::CpuTime;
use crate::progress::{Progress, Pulse};
use crate::tally::Tally;

/// How often the watching thread looks at the clock: rarely, for it shares the cores.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the measured part of a run cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Its length in seconds.
    pub seconds: f64,
    /// CPU time of the server in nanoseconds, if its process is known; of all servers together.
    pub server_ns: Option<u64>,
    /// The leader's part in that.
    pub leader_ns: Option<u64>,
    /// A follower's part, the mean of them.
    pub follower_ns: Option<u64>,
    /// CPU time of the generator in nanoseconds.
    pub own_ns: Option<u64>,
}

impl Cost {
    /// The same at the same pace over a span of another length: CPU times are read by a thread
    /// that may wake late, operations are counted over the exact span.
    pub fn over(self, span: Duration) -> Cost {
        let seconds = span.as_secs_f64();
        let scale = |ns: u64| (ns as f64 * seconds / self.seconds) as u64;
        Cost {
            seconds,
            server_ns: self.server_ns.map(scale),
            leader_ns: self.leader_ns.map(scale),
            follower_ns: self.follower_ns.map(scale),
            own_ns: self.own_ns.map(scale),
        }
    }
}

/// Takes the CPU times of both sides at the edges of a measurement.
pub struct Meter {
    clock: Clock,
    processes: Processes,
    from_ns: u64,
    server: Option<CpuTimes>,
    own: Option<CpuTime>,
}

impl Meter {
    /// Starts measuring these processes and ourselves.
    pub fn start(clock: Clock, processes: &Processes) -> Meter {
        let processes = processes.clone();
        let server = processes.cpu();
        let own = CpuTime::of(std::process::id()).ok();
        Meter { clock, processes, from_ns: clock.now_ns(), server, own }
    }

    /// Ends it.
    pub fn stop(&self) -> Cost {
        let seconds = (self.clock.now_ns() - self.from_ns) as f64 / 1e9;
        let spent =
            self.processes.cpu().zip(self.server.as_ref()).map(|(now, then)| now.since(then));
        let own = CpuTime::of(std::process::id()).ok().zip(self.own.as_ref());
        Cost {
            seconds,
            server_ns: spent.map(|spent| spent.all_ns),
            leader_ns: spent.and_then(|spent| spent.leader_ns),
            follower_ns: spent.and_then(|spent| spent.follower_ns),
            own_ns: own.map(|(now, then)| now.since_ns(then)),
        }
    }
}

/// How long a run lasts.
#[derive(Debug, Clone, Copy)]
pub struct Phases {
    /// What does not count.
    pub warmup: Duration,
    /// What does; without it, the work ends by itself.
    pub measure: Option<Duration>,
}

/// A finished run.
pub struct Driven<W> {
    /// Everything counted, over all threads.
    pub tally: Tally,
    /// What it cost.
    pub cost: Cost,
    /// The threads' connections and works; to be closed by whoever is done with them.
    pub jobs: Vec<(Engine, W)>,
}

impl<W> Driven<W> {
    /// Ends all sessions.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn close(self) -> Result<()> {
        self.jobs.into_iter().try_for_each(|(engine, _)| engine.close())
    }
}

/// Runs every job on a thread of its own.
///
/// # Errors
/// The first error of any thread.
pub fn drive<W: Work + Send>(
    mut jobs: Vec<(Engine, W)>,
    load: Load,
    phases: Phases,
    clock: Clock,
    processes: &Processes,
    show: (&Progress, &str),
) -> Result<Driven<W>> {
    let load = match load {
        Load::Open(rate) => Load::Open(rate / jobs.len() as f64),
        closed @ Load::Closed(_) => closed,
    };
    let from_ns = clock.now_ns() + phases.warmup.as_nanos() as u64;
    let until_ns = phases.measure.map_or(u64::MAX, |time| from_ns + time.as_nanos() as u64);
    let span = Span { from_ns, until_ns };
    let counters: Vec<_> = jobs.iter().map(|(engine, _)| engine.done.clone()).collect();
    let done = || counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum::<u64>();
    let (results, cost) = std::thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .iter_mut()
            .map(|(engine, work)| scope.spawn(move || engine.run(work, load, span)))
            .collect();
        let mut pulse = Pulse::new(done());
        watch(clock, from_ns, &threads, &done, &mut pulse, show);
        let meter = Meter::start(clock, processes);
        watch(clock, until_ns, &threads, &done, &mut pulse, show);
        let cost = meter.stop();
        let cost = phases.measure.map_or(cost, |span| cost.over(span));
        let results: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
        (results, cost)
    });
    let mut total: Option<Tally> = None;
    for result in results {
        let tally = result.map_err(|_| anyhow!("a generator thread panicked"))??;
        match &mut total {
            Some(total) => total.merge(&tally),
            None => total = Some(tally),
        }
    }
    let tally = total.ok_or_else(|| anyhow!("no generator threads"))?;
    Ok(Driven { tally, cost, jobs })
}

/// Shows progress until a moment, or until a thread has ended when none should.
fn watch<T>(
    clock: Clock,
    until_ns: u64,
    threads: &[ScopedJoinHandle<'_, T>],
    done: &dyn Fn() -> u64,
    pulse: &mut Pulse,
    (progress, label): (&Progress, &str),
) {
    loop {
        let now_ns = clock.now_ns();
        let over = threads.iter().all(ScopedJoinHandle::is_finished);
        if now_ns >= until_ns || over {
            return;
        }
        let done = done();
        if let Some(rate) = pulse.beat(done) {
            progress.rate(label, done, rate);
        }
        // A run without a set end is left soon after its last reply.
        let look = if until_ns == u64::MAX { LOOK_EVERY / 25 } else { LOOK_EVERY };
        std::thread::sleep(look.min(Duration::from_nanos(until_ns - now_ns)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_look_at_the_clock_does_not_change_the_cost() {
        let (leader_ns, follower_ns) = (None, None);
        let server_ns = Some(3_300_000);
        let looked = Cost { seconds: 3.3, server_ns, leader_ns, follower_ns, own_ns: None };
        let cost = looked.over(Duration::from_secs(3));
        assert_eq!((cost.seconds, cost.own_ns), (3.0, None));
        assert!(cost.server_ns.unwrap().abs_diff(3_000_000) <= 1);
    }
}
