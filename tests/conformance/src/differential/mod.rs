//! The same random bytes to two servers, and every answer compared.
//!
//! Apache ZooKeeper is the oracle. A seeded generator (`generate`) draws steps: requests of every
//! operation on several connections, bursts, handshakes of all kinds, sessions that move, end and
//! expire, damaged frames, restarts, a reaper. Both servers do each step, and what they show must
//! be equal after translation (`normal`): replies field by field, events and their order on each
//! connection, closes, and from time to time the whole tree and its counters.
//!
//! *Why this is deterministic.* A step runs to its end before the next: what it asked is answered,
//! then every connection is fenced by a ping, behind which nothing can be left to say. Within a
//! burst on one connection both servers promise order. Time enters only where a step waits for it
//! (expiry, the reaper), and then for an outcome, never for a moment.
//!
//! A run prints its seed; the seed replays it. When sides differ, the steps before are thinned out
//! as far as the time allows, and the tail of the trace is printed with both answers.

pub(crate) mod client;
mod deviate;
mod generate;
mod minimise;
pub(crate) mod normal;
pub(crate) mod rng;
mod side;
mod step;
mod walk;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::peers::{ServerUnderTest, StartOpts};
pub use generate::Generator;
pub use side::{Seen, Side};
pub use step::Step;

/// Steps between two restarts.
const RESTART_EVERY: u64 = 4_000;
/// How many steps of a failed run are printed.
const TRACE_TAIL: usize = 12;

/// What to compare, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What decides.
    pub oracle: ServerUnderTest,
    /// What is examined.
    pub examined: ServerUnderTest,
    /// Further lines of both servers' `zoo.cfg`.
    pub config: Vec<(String, String)>,
    /// The start of the sequence.
    pub seed: u64,
    /// How many operations.
    pub ops: u64,
    /// How long a difference may be thinned out; zero prints it as it is.
    pub minimise: Duration,
    /// Where servers keep their files.
    pub dir: PathBuf,
}

/// How a run went that found no difference.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Steps made.
    pub steps: u64,
    /// Operations in them.
    pub ops: u64,
    /// Things seen and equal.
    pub compared: u64,
    /// How often each operation ended how, parts of multis included: by name and error code.
    pub outcomes: BTreeMap<(String, i64), u64>,
}

impl Tally {
    fn count(&mut self, step: &Step, seen: &[Value]) {
        self.steps += 1;
        self.ops += step.ops();
        self.compared += seen.len() as u64;
        let parts = seen.iter().filter_map(|line| line["results"].as_array()).flatten();
        for line in seen.iter().chain(parts) {
            if let (Some(op), Some(err)) = (line["op"].as_str(), line["err"].as_i64()) {
                *self.outcomes.entry((op.to_owned(), err)).or_default() += 1;
            }
        }
    }

    /// One line an operation, with its outcomes: what a run of this many operations has covered.
    pub fn coverage(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for ((op, err), count) in &self.outcomes {
            if op != last {
                text.push_str(&format!("\n{op:>22}:"));
                last = op;
            }
            text.push_str(&format!(" {err}×{count}"));
        }
        text
    }
}

/// A difference, and how the run came to it.
#[derive(Debug)]
pub struct Difference {
    /// Operations made before it showed, itself included.
    pub after_ops: u64,
    /// The steps, the last of which showed it.
    pub steps: Vec<Step>,
    /// What the oracle showed, for each step.
    pub oracle: Vec<Seen>,
    /// What the examined server showed at the last step, or why it could not.
    pub examined: Result<Seen, String>,
}

/// Runs a plan to its end or its first difference.
///
/// # Errors
/// When a server cannot be run, or the oracle fails: that is not a finding.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&str)) -> Result<Result<Tally, Box<Difference>>> {
    let mut generator = Generator::new(plan.seed);
    let mut pair = Pair::start(plan)?;
    let mut tally = Tally::default();
    let mut record = Vec::new();
    let mut next_restart = RESTART_EVERY.min(plan.ops / 2 + 1);
    let mut closing: Vec<Step> = vec![Step::Reap, Step::Walk];
    let mut cleared = false;
    loop {
        let step = if tally.ops >= plan.ops {
            match closing.pop() {
                Some(Step::Reap) => {
                    generator.restart(false, false);
                    Step::Reap
                }
                Some(step) => step,
                None => break,
            }
        } else if tally.ops >= next_restart && !cleared {
            // Whoever loads a directory counts quotas anew, from a snapshot taken whenever; where
            // quotas are nested that is not what counting along has come to.
            cleared = true;
            Step::Clear { top: "/zookeeper/quota" }
        } else if tally.ops >= next_restart {
            cleared = false;
            next_restart += RESTART_EVERY;
            let count = next_restart / RESTART_EVERY;
            generator.restart(count.is_multiple_of(2), count.is_multiple_of(2))
        } else {
            generator.draw()
        };
        let (oracle, examined) = pair.perform(&step);
        let oracle = oracle.with_context(|| format!("the oracle, at {step:?}"))?;
        tally.count(&step, &oracle);
        generator.learn(&step, &oracle);
        let equal = examined.as_ref().is_ok_and(|examined| *examined == oracle);
        record.push((step, oracle));
        if !equal {
            let (steps, oracle) = record.into_iter().unzip();
            let examined = examined.map_err(|error| format!("{error:#}"));
            let found = Difference { after_ops: tally.ops, steps, oracle, examined };
            drop(pair);
            return Ok(Err(Box::new(minimise::minimise(plan, found, progress)?)));
        }
        if tally.steps.is_multiple_of(2_000) {
            progress(&format!("{} operations, {} things equal", tally.ops, tally.compared));
        }
    }
    Ok(Ok(tally))
}

/// Both servers, each driven by its own thread during a step.
struct Pair {
    oracle: Side,
    examined: Side,
}

impl Pair {
    /// Starts both on empty directories.
    fn start(plan: &Plan) -> Result<Self> {
        std::thread::scope(|scope| {
            let oracle = scope.spawn(|| start(&plan.oracle, plan, "oracle"));
            let examined = start(&plan.examined, plan, "examined")?;
            let Ok(oracle) = oracle.join() else { bail!("starting the oracle panicked") };
            Ok(Self { oracle: oracle?, examined })
        })
    }

    fn perform(&mut self, step: &Step) -> (Result<Seen>, Result<Seen>) {
        let (oracle, examined) = (&mut self.oracle, &mut self.examined);
        std::thread::scope(|scope| {
            let oracle = scope.spawn(|| oracle.perform(step));
            let examined = examined.perform(step);
            let panicked = || anyhow::anyhow!("a panic while driving the oracle");
            (oracle.join().unwrap_or_else(|_| Err(panicked())), examined)
        })
    }
}

/// A server on an empty directory, with the settings of all comparisons and those of this one.
fn start(server: &ServerUnderTest, plan: &Plan, name: &str) -> Result<Side> {
    let dir = plan.dir.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    let mut opts = StartOpts::new(dir, crate::free_port()?)
        .for_programs()
        .config("maxSessionTimeout", "600000")
        .config("enforceQuota", "false")
        // Crashes here are of processes, not of power: what is written is not lost.
        .config("forceSync", "no")
        .config("snapCount", "3000")
        // Nothing is reaped until a step says so.
        .property("znode.container.checkIntervalMs", "100000000");
    opts.config.extend_from_slice(&plan.config);
    Side::new(server.start(opts)?).with_context(|| format!("the {name} server"))
}

impl Difference {
    /// The end of the trace, with both answers where they differ.
    pub fn report(&self, oracle_name: &str, examined_name: &str) -> String {
        let mut text = String::new();
        let skipped = self.steps.len().saturating_sub(TRACE_TAIL);
        if skipped > 0 {
            text.push_str(&format!("… {skipped} steps before\n"));
        }
        for (at, step) in self.steps.iter().enumerate().skip(skipped) {
            text.push_str(&format!("{:>5}. {step:?}\n", at + 1));
            if at + 1 < self.steps.len() {
                let lines = &self.oracle[at];
                for line in lines.iter().take(6) {
                    text.push_str(&format!("         {}\n", shown(line)));
                }
                if lines.len() > 6 {
                    text.push_str(&format!("         … {} more\n", lines.len() - 6));
                }
            }
        }
        let oracle = self.oracle.last().map_or(&[][..], Vec::as_slice);
        match &self.examined {
            Ok(examined) => text.push_str(&differing(oracle_name, oracle, examined_name, examined)),
            Err(error) => text.push_str(&format!("{examined_name}: {error}\n")),
        }
        text
    }
}

/// Both lists without their common beginning and end.
pub(crate) fn differing(
    left_name: &str,
    left: &[Value],
    right_name: &str,
    right: &[Value],
) -> String {
    if left.len() == right.len() {
        return pairs(left_name, left, right_name, right);
    }
    let head = left.iter().zip(right).take_while(|(l, r)| l == r).count();
    let (left, right) = (&left[head..], &right[head..]);
    let tail = left.iter().rev().zip(right.iter().rev()).take_while(|(l, r)| l == r).count();
    let mut text = format!("       {head} equal before, {tail} equal after\n");
    for (name, lines) in [(left_name, left), (right_name, right)] {
        let lines = &lines[..lines.len() - tail];
        if lines.is_empty() {
            text.push_str(&format!("{name:>10}: nothing\n"));
        }
        for line in lines.iter().take(20) {
            text.push_str(&format!("{name:>10}: {}\n", shown(line)));
        }
        if lines.len() > 20 {
            text.push_str(&format!("{name:>10}: … {} more\n", lines.len() - 20));
        }
    }
    text
}

/// What differs of two lists of one length.
fn pairs(left_name: &str, left: &[Value], right_name: &str, right: &[Value]) -> String {
    let differ: Vec<_> = left.iter().zip(right).filter(|(left, right)| left != right).collect();
    let mut text = format!("       {} of {} differ\n", differ.len(), left.len());
    for (left, right) in differ.iter().take(10) {
        text.push_str(&format!("{left_name:>10}: {}\n", shown(left)));
        text.push_str(&format!("{right_name:>10}: {}\n", shown(right)));
    }
    text
}

/// One thing seen, in at most a few lines.
fn shown(line: &Value) -> String {
    let mut line = line.clone();
    if let Some(data) = line["data"].as_str().filter(|data| data.len() > 60) {
        line["data"] = format!("{} bytes", data.len()).into();
    }
    let text = line.to_string();
    match text.char_indices().nth(900) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}
