//! A run, its judgement, and what is said of it.
//!
//! A panic anywhere in the run is a finding like any other: the seed is kept and others go on.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::invariants::{Violation, judge};
use crate::trace::Trace;
use crate::world::{Outcome, Plan, Weather, World};

/// What is broken when a server, or a client, panics.
pub const NO_PANIC: &str = "no_panic";

/// Breaches that are told in full.
const TOLD_MAX: usize = 12;
/// Bytes told of one breach.
const BREACH_BYTES_MAX: usize = 600;

/// What came of one seed.
#[derive(Debug)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// How many servers vote.
    pub voters: usize,
    /// What its storm leans to.
    pub weather: Weather,
    /// What was found.
    pub violations: Vec<Violation>,
    /// What happened.
    pub trace: Trace,
    /// How much happened.
    pub volume: Volume,
}

/// How much happened in a run, or in several: a run in which nothing happens proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Volume {
    /// Requests sent.
    pub asked: u64,
    /// Those answered.
    pub answered: u64,
    /// Transactions in the log.
    pub transactions: u64,
    /// Connections dialled.
    pub connections: u64,
    /// Watch events heard.
    pub events: u64,
    /// Lives of servers.
    pub lives: u64,
    /// Sessions that expired.
    pub expired: u64,
}

impl std::ops::AddAssign for Volume {
    fn add_assign(&mut self, more: Volume) {
        self.asked += more.asked;
        self.answered += more.answered;
        self.transactions += more.transactions;
        self.connections += more.connections;
        self.events += more.events;
        self.lives += more.lives;
        self.expired += more.expired;
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Volume { asked, answered, transactions, connections, events, lives, expired } = self;
        write!(
            f,
            "{asked} requests, {answered} answered; {transactions} transactions; {events} events; \
             {connections} connections; {expired} sessions expired; {lives} lives of servers"
        )
    }
}

impl Report {
    /// Runs a plan and judges it.
    pub fn of(plan: Plan) -> Report {
        let (seed, weather) = (plan.seed, plan.weather);
        let voters = plan.server.ensemble.as_ref().map_or(1, |ensemble| ensemble.voters);
        let mut world = World::new(plan);
        let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
        let Outcome { history, trace } = world.leave();
        let violations = match ran {
            Ok(()) => judge(&history),
            Err(why) => {
                let text = why.downcast_ref::<String>().cloned();
                let text = text.or_else(|| Some((*why.downcast_ref::<&str>()?).to_owned()));
                vec![Violation { invariant: NO_PANIC, what: text.unwrap_or_default() }]
            }
        };
        Report { seed, voters, weather, violations, trace, volume: history.volume() }
    }

    /// True if nothing was found.
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lines, hash) = self.trace.fingerprint();
        if self.is_good() {
            return writeln!(f, "seed {}: good; {}; trace {hash:016x}", self.seed, self.volume);
        }
        writeln!(f, "The last of {lines} lines of the trace {hash:016x}:")?;
        self.trace.lines().try_for_each(|line| writeln!(f, "{line}"))?;
        let count = self.violations.len();
        writeln!(f, "seed {}: {count} breaches; {}", self.seed, self.volume)?;
        for Violation { invariant, what } in self.violations.iter().take(TOLD_MAX) {
            let end = what.len().min(BREACH_BYTES_MAX);
            writeln!(f, "  {invariant}: {}", &what[..what.floor_char_boundary(end)])?;
        }
        let (seed, voters, weather) = (self.seed, self.voters, self.weather.name());
        write!(f, "replay: cargo storm ")?;
        writeln!(f, "--servers {voters} --weather {weather} --seed {seed} --trace")
    }
}
