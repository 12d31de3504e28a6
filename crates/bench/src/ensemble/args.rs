//! What `oxkeeper bench ensemble` can be told: rows, options and examples.
//!
//! A row is what only a driver can measure that holds the servers' processes in its hand; whatever
//! else is asked for is a scenario of the catalogue, by the same name and with the same numbers.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::args::{LoadArgs, Via};
use crate::catalogue::{self, Kind, PRESETS};

const EXAMPLES: &str = "\
Examples:
  What does work cost three servers, ours and Apache's in turns?
    oxkeeper bench ensemble load --java-classpath 'apache-zookeeper-3.9.5-bin/lib/*'

  How long is nobody served when the leader is killed? Thirty times, with a million znodes:
    oxkeeper bench ensemble leader-killed --times 30 --znodes 1000000

  Everything, for a machine that has an hour and a half:
    oxkeeper bench ensemble all --java-classpath 'apache-zookeeper-3.9.5-bin/lib/*' --json

Every ensemble has a directory of its own below --dir, with zoo.cfg, data and log of each server,
and is removed with it, unless --keep is given or a server died. Scenarios of `oxkeeper bench` are
run on ensembles by their names.";

/// What is measured of an ensemble, beside the scenarios that any server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// The leader is killed under load: until the first write is acknowledged.
    LeaderKilled,
    /// The leader is stopped under load and stays silent.
    LeaderFrozen,
    /// The whole ensemble is stopped and started.
    Restart,
    /// The same without data.
    RestartEmpty,
    /// A follower comes back with an empty disk, under load.
    Rejoin,
    /// Memory of every server.
    Memory,
    /// CPU per write by size of the ensemble.
    GrowServers,
    /// Cost of sessions by their number.
    GrowSessions,
    /// Cost of everything by the number of znodes.
    GrowZnodes,
}

/// Every row with its name and what it measures, in the order in which `all` runs them.
pub const ROWS: [(Row, &str, &str); 9] = [
    (Row::LeaderKilled, "leader-killed", "kill -9 of the leader under load, to the next write"),
    (Row::LeaderFrozen, "leader-frozen", "SIGSTOP of the leader under load, to the next write"),
    (Row::Restart, "restart", "start of an ensemble with 1M znodes, to the first request"),
    (Row::RestartEmpty, "restart-empty", "the same without any"),
    (Row::Rejoin, "rejoin", "a wiped follower joins again, 1M znodes, under load"),
    (Row::Memory, "memory", "memory per server with 1M znodes"),
    (Row::GrowServers, "grow-servers", "CPU per write with 3, 5 and 7 servers"),
    (Row::GrowSessions, "grow-sessions", "1k to 20k sessions at a fixed rate"),
    (Row::GrowZnodes, "grow-znodes", "10k to 3M znodes: sets, memory, restart"),
];

impl Row {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        ROWS[self as usize].1
    }

    /// How many znodes there are unless the command line says otherwise.
    pub fn znodes(self) -> u64 {
        match self {
            Row::Restart | Row::Rejoin | Row::Memory => 1_000_000,
            Row::RestartEmpty => 0,
            _ => 1000,
        }
    }

    /// The sizes that a row of growth goes through unless the command line says otherwise.
    pub fn steps(self) -> &'static [u64] {
        match self {
            Row::GrowServers => &[3, 5, 7],
            Row::GrowSessions => &[1000, 2000, 5000, 10_000, 20_000],
            Row::GrowZnodes => &[10_000, 100_000, 1_000_000, 3_000_000],
            _ => &[],
        }
    }

    /// How often each ensemble is measured unless the command line says otherwise.
    pub fn rounds(self) -> usize {
        match self {
            Row::RestartEmpty => 5,
            Row::GrowServers | Row::GrowSessions | Row::GrowZnodes => 1,
            _ => 3,
        }
    }
}

/// Names for several rows: those of the load, everything that befalls servers, all.
const GROUPS: [(&str, &str); 3] = [
    ("load", "what requests cost: the scenarios of `ensemble-load`"),
    ("faults", "leader-killed, leader-frozen, restart, restart-empty, rejoin"),
    ("all", "load and every row"),
];

/// What a name on the command line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A scenario of the catalogue, by its index.
    Scenario(usize),
    /// One of ours.
    Row(Row),
}

/// Scenarios that say something about an ensemble that runs already.
fn runs_here(kind: Kind) -> bool {
    !kind.needs_fresh_server() && kind != Kind::Start
}

fn names() -> Vec<PossibleValue> {
    let groups = GROUPS.iter().map(|(name, help)| PossibleValue::new(*name).help(*help));
    let rows = ROWS.iter().map(|(_, name, help)| PossibleValue::new(*name).help(*help));
    let scenarios = PRESETS
        .iter()
        .filter(|preset| runs_here(preset.kind))
        .map(|preset| PossibleValue::new(preset.name).help(preset.about));
    groups.chain(rows).chain(scenarios).collect()
}

/// What `names` stand for, each once: the scenarios first, for they share one pair of ensembles.
pub fn chosen(names: &[String]) -> Vec<Measure> {
    let named = |name: &str| names.iter().any(|given| given == name);
    let mut of_load: Vec<String> = names.to_vec();
    if named("load") || named("all") {
        of_load.push("ensemble-load".into());
    }
    // `all` of the catalogue is not ours.
    of_load.retain(|name| name != "all" && name != "memory");
    let presets = catalogue::chosen(&of_load);
    let scenarios = presets.iter().filter(|preset| runs_here(preset.kind)).filter_map(|preset| {
        PRESETS.iter().position(|known| known.name == preset.name).map(Measure::Scenario)
    });
    let rows = ROWS.iter().filter(|(row, name, _)| {
        let is_fault = (*row as usize) <= Row::Rejoin as usize;
        named("all") || named(name) || (named("faults") && is_fault)
    });
    scenarios.chain(rows.map(|(row, ..)| Measure::Row(*row))).collect()
}

/// Start ensembles, load them, and make their servers fail.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct EnsembleArgs {
    /// What to measure.
    #[arg(
        value_name = "WHAT",
        default_value = "load",
        value_parser = clap::builder::PossibleValuesParser::new(names()),
    )]
    pub rows: Vec<String>,

    /// Servers in an ensemble.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(1..=15),
    )]
    pub servers: u8,

    /// Whose ensembles [default: ours, and Apache's when its class path is given].
    #[arg(long, value_enum)]
    pub only: Option<Make>,

    /// Our binary [default: this one].
    #[arg(long, value_name = "PATH")]
    pub oxkeeper: Option<PathBuf>,

    /// The class path of Apache ZooKeeper, as java takes it; its ensembles are measured in turns.
    #[arg(long, value_name = "PATH")]
    pub java_classpath: Option<String>,

    /// Arguments of every JVM, separated by blanks.
    #[arg(
        long,
        value_name = "ARGUMENTS",
        allow_hyphen_values = true,
        default_value = "-Xmx1g -XX:+UseG1GC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    )]
    pub jvm: String,

    /// Another line of zoo.cfg, for all servers; repeatable.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// The members that clients of scenarios go to. One connection goes to a follower.
    #[arg(long, value_enum, value_name = "MEMBERS", default_value = "all")]
    pub via: Via,

    /// How often a leader is killed or frozen, over all rounds [default: 30 killed, 6 frozen].
    #[arg(long)]
    pub times: Option<usize>,

    /// The sizes that rows of growth go through [default: 3,5,7 servers; 1k to 20k sessions; 10k to
    /// 3M znodes].
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',')]
    pub steps: Vec<u64>,

    /// Clients that write while servers fail.
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    pub writers: usize,

    /// Where ensembles keep their data; on the disk that is to be measured.
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,

    /// The first port to try; servers take free ones from here on [default: one of 12000 to 28000].
    #[arg(long, value_name = "PORT")]
    pub base_port: Option<u16>,

    /// The numbers of a load.
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Who wrote a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Make {
    /// Ours.
    Oxkeeper,
    /// Apache ZooKeeper.
    Java,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(words: &[&str]) -> Vec<String> {
        let names: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let name = |measure: Measure| match measure {
            Measure::Scenario(index) => PRESETS[index].name.to_owned(),
            Measure::Row(row) => row.name().to_owned(),
        };
        chosen(&names).into_iter().map(name).collect()
    }

    #[test]
    fn rows_know_their_names() {
        for (index, (row, name, _)) in ROWS.iter().enumerate() {
            assert_eq!((*row as usize, row.name()), (index, *name));
        }
    }

    #[test]
    fn names_stand_for_rows_and_scenarios() {
        assert_eq!(shown(&["rejoin", "lock", "rejoin"]), ["lock", "rejoin"]);
        assert_eq!(shown(&["memory"]), ["memory"]);
        let faults = ["leader-killed", "leader-frozen", "restart", "restart-empty", "rejoin"];
        assert_eq!(shown(&["faults"]), faults);
        let load = [
            "set-pipelined",
            "set-many",
            "set-single",
            "sync-single",
            "mixed-90",
            "lock",
            "connect",
        ];
        assert_eq!(shown(&["load"]), load);
        assert_eq!(shown(&["all"]).len(), load.len() + ROWS.len());
    }
}
