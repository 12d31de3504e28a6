//! The scenarios by name: what each sends, with the numbers it is usually run with.
//!
//! A scenario is a [`Kind`] of measurement with defaults; every default can be changed on the
//! command line. Groups name several at once.

use std::time::Duration;

use anyhow::Result;

use crate::args::{BenchArgs, LoadArgs};
use crate::layout::Shape;
use crate::work::mix::Mix;

/// How a scenario is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Closed loops of a mix.
    Mix,
    /// A mix at a fixed rate.
    Paced,
    /// One set seen by many; whether watches have to be left again.
    Watch {
        /// One-shot watches.
        one_shot: bool,
    },
    /// Cycles of the lock recipe.
    Lock,
    /// Sessions that come and go.
    Connect,
    /// Creation of a whole layout: speed and memory.
    Load,
    /// Memory of a server as it is.
    Empty,
    /// Memory of watches.
    Watches,
    /// Memory of idle sessions.
    Sessions,
    /// Start-up time of a command.
    Start,
}

impl Kind {
    /// Whether it measures memory, which only a freshly started server shows: what has been
    /// allocated once does not come back. One that we started is started anew for every round.
    pub fn needs_fresh_server(self) -> bool {
        matches!(self, Kind::Load | Kind::Empty | Kind::Watches | Kind::Sessions)
    }

    /// Whether a tree is loaded for it first.
    pub fn reads_a_tree(self) -> bool {
        matches!(self, Kind::Mix | Kind::Paced | Kind::Watch { .. } | Kind::Lock)
    }

    /// Whether a server of canned answers says something about it.
    pub fn has_limit(self) -> bool {
        matches!(self, Kind::Mix | Kind::Paced | Kind::Watch { .. } | Kind::Connect)
    }
}

/// One scenario with its defaults.
#[derive(Debug)]
pub struct Preset {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// How it is measured.
    pub kind: Kind,
    mix: &'static str,
    connections: usize,
    window: usize,
    znodes: u64,
    shape: Shape,
}

/// A mix in closed loops.
const fn mix(
    name: &'static str,
    about: &'static str,
    mix: &'static str,
    connections: usize,
    window: usize,
) -> Preset {
    let (kind, shape) = (Kind::Mix, Shape::Wide);
    Preset { name, about, kind, mix, connections, window, znodes: 1000, shape }
}

/// Something other than a mix.
const fn other(
    name: &'static str,
    about: &'static str,
    kind: Kind,
    connections: usize,
    znodes: u64,
) -> Preset {
    let shape = Shape::Wide;
    Preset { name, about, kind, mix: "get=1,set=1", connections, window: 8, znodes, shape }
}

const M: u64 = 1_000_000;

/// Every scenario, in the order in which `all` runs them: fresh memory first.
pub const PRESETS: [Preset; 26] = [
    other("mem-empty", "memory of the server as it is", Kind::Empty, 1, 0),
    mix("get-pipelined", "getData, pipelined", "get", 8, 64),
    mix("get-many", "getData over many connections", "get", 512, 1),
    mix("get-single", "getData, one at a time", "get", 1, 1),
    mix("set-pipelined", "setData, pipelined", "set", 8, 64),
    mix("set-many", "setData over many connections", "set", 64, 1),
    mix("set-single", "setData, one at a time", "set", 1, 1),
    mix("sync-single", "sync, one at a time", "sync", 1, 1),
    mix("mixed-90", "nine getData to one setData, pipelined", "get=9,set=1", 8, 64),
    other("lock", "the lock recipe: create, list, delete; a lock per client", Kind::Lock, 1, 1000),
    mix("create-delete", "create and delete in turns, pipelined", "create,delete", 8, 64),
    mix("sequential", "sequential ephemerals, created and deleted", "sequential", 8, 64),
    mix("multi-10", "multis of ten setData, pipelined", "multi", 8, 64),
    mix("children-1000", "getChildren of a znode with 1,000", "children", 8, 16),
    other(
        "watch-persistent",
        "one set seen by 1,000 persistent watchers",
        Kind::Watch { one_shot: false },
        1000,
        1,
    ),
    other(
        "watch-one-shot",
        "one set seen by 1,000 watchers that watch again",
        Kind::Watch { one_shot: true },
        1000,
        1,
    ),
    other("connect", "connect, handshake, close", Kind::Connect, 16, 0),
    other("paced", "gets and sets at a fixed rate; latency from due time", Kind::Paced, 16, 1000),
    other("bulk-create", "creation of 1M znodes, 50 per multi", Kind::Load, 8, M),
    other("mem-znodes", "memory of 1M znodes, 1,000 a parent", Kind::Load, 8, M),
    Preset {
        shape: Shape::Kafka,
        ..other("mem-kafka", "memory of 1M znodes, 1 to 4 a parent", Kind::Load, 8, M)
    },
    other("mem-watches", "memory of 1M watches over 100k paths", Kind::Watches, 10, 100_000),
    other("mem-sessions", "memory of 10k idle sessions", Kind::Sessions, 10_000, 0),
    other("start", "time from --cmd to the first served request", Kind::Start, 8, 0),
    Preset {
        connections: 64,
        window: 4,
        ..mix("mixed", "gets, sets, creates, deletes, children", "get=16,set=2,create,delete", 1, 1)
    },
    mix("mix", "what --mix says", "get=8,set=2", 8, 16),
];

/// Names for several scenarios at once.
pub const GROUPS: [(&str, &[&str]); 4] = [
    ("quick", &["get-pipelined", "get-single", "set-pipelined", "set-single"]),
    (
        "ensemble-load",
        &["set-pipelined", "mixed-90", "set-many", "set-single", "sync-single", "lock", "connect"],
    ),
    ("memory", &["mem-empty", "mem-znodes", "mem-kafka", "mem-watches", "mem-sessions"]),
    ("all", &[]),
];

/// What `all` leaves out: what needs to be told more, or is contained in another.
const NOT_IN_ALL: [&str; 4] = ["bulk-create", "start", "mixed", "mix"];

/// Everything that may stand for a scenario on the command line.
pub fn names() -> Vec<clap::builder::PossibleValue> {
    let scenarios = PRESETS
        .iter()
        .map(|preset| clap::builder::PossibleValue::new(preset.name).help(preset.about));
    let groups = GROUPS.iter().map(|(name, members)| {
        let help =
            if members.is_empty() { "all but start and mix".into() } else { members.join(", ") };
        clap::builder::PossibleValue::new(*name).help(help)
    });
    let canned = clap::builder::PossibleValue::new(CANNED)
        .help("no scenario: serves canned answers at --listen, as the limit");
    scenarios.chain(groups).chain([canned]).collect()
}

/// The word that makes us a server of canned answers.
pub const CANNED: &str = "canned";

/// The presets that `names` stand for, in the order given, each once.
pub fn chosen(names: &[String]) -> Vec<&'static Preset> {
    let mut chosen: Vec<&'static Preset> = Vec::new();
    for name in names {
        let group = GROUPS.iter().find(|(group, _)| group == name).map(|(_, members)| *members);
        let wanted = |preset: &Preset| match group {
            Some([]) => !NOT_IN_ALL.contains(&preset.name),
            Some(members) => members.contains(&preset.name),
            None => preset.name == name,
        };
        for preset in PRESETS.iter().filter(|preset| wanted(preset)) {
            if !chosen.iter().any(|known| known.name == preset.name) {
                chosen.push(preset);
            }
        }
    }
    chosen
}

/// A scenario with every number settled.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How it is measured.
    pub kind: Kind,
    /// The requests of mixes.
    pub mix: Mix,
    /// Connections, or watchers, or sessions at a time.
    pub connections: usize,
    /// Requests in flight per connection.
    pub window: usize,
    /// Bytes of data per znode.
    pub value_bytes: usize,
    /// Size of the tree that is loaded first.
    pub znodes: u64,
    /// Its form.
    pub shape: Shape,
    /// Znodes per multi when loading.
    pub batch: usize,
    /// Requests per second of an open load.
    pub rate: f64,
    /// Generator threads.
    pub threads: usize,
    /// What is measured.
    pub duration: Duration,
    /// What goes before it, every round.
    pub warmup: Duration,
    /// How often it is measured.
    pub rounds: usize,
    /// Session timeout asked for.
    pub timeout_ms: i32,
    /// Leave what was created.
    pub keep: bool,
    /// Ask a Java server for its live heap.
    pub live_heap: bool,
}

impl Plan {
    /// The preset with what the command line changes.
    ///
    /// # Errors
    /// When `--mix` cannot be read.
    pub fn new(preset: &Preset, args: &BenchArgs) -> Result<Plan> {
        Plan::of(preset, &args.load, args.cmd.is_some(), args.compares())
    }

    /// The same for servers that we start anew when we want to (`managed`), or for several
    /// (`compares`).
    ///
    /// # Errors
    /// When `--mix` cannot be read.
    pub fn of(preset: &Preset, args: &LoadArgs, managed: bool, compares: bool) -> Result<Plan> {
        let wants_mix = matches!(preset.kind, Kind::Paced) || preset.name == "mix";
        let mix = args.mix.as_deref().filter(|_| wants_mix).unwrap_or(preset.mix);
        // Memory does not come back between rounds; one round of a fresh server says it.
        let rounds = match preset.kind {
            Kind::Load | Kind::Empty | Kind::Watches | Kind::Sessions if !managed => 1,
            Kind::Start => 5,
            _ if compares => 5,
            _ => 1,
        };
        let connections = args.connections.unwrap_or(preset.connections);
        Ok(Plan {
            name: preset.name,
            about: preset.about,
            kind: preset.kind,
            mix: Mix::parse(mix)?,
            connections,
            window: args.window.unwrap_or(preset.window),
            value_bytes: args.value_size,
            znodes: args.znodes.unwrap_or(preset.znodes),
            shape: args.shape.unwrap_or(preset.shape),
            batch: args.batch,
            rate: args.rate,
            threads: args.threads.min(connections),
            duration: Duration::from_secs_f64(args.duration),
            warmup: Duration::from_secs_f64(args.warmup),
            rounds: args.rounds.unwrap_or(rounds),
            timeout_ms: args.session_timeout,
            keep: args.keep,
            live_heap: args.live_heap,
        })
    }

    /// The numbers that matter for it, in a line.
    pub fn summary(&self) -> String {
        let conns = match self.connections {
            1 => "1 connection".into(),
            many => format!("{many} connections"),
        };
        let (count, value) = (self.connections, self.value_bytes);
        let tree = format!("{} znodes of {value} bytes ({})", self.znodes, self.shape_name());
        match self.kind {
            Kind::Mix => {
                format!("{} over {conns}, window {}, {tree}", self.mix.text(), self.window)
            }
            Kind::Paced => format!("{} at {}/s over {conns}, {tree}", self.mix.text(), self.rate),
            Kind::Watch { .. } => format!("{count} watchers, {value}-byte values"),
            Kind::Lock => format!("{conns}, a lock of its own each"),
            Kind::Connect => format!("{count} at a time"),
            Kind::Load => {
                format!("{tree}, {} per multi, {conns}, window {}", self.batch, self.window)
            }
            Kind::Watches => format!("{} paths, {conns} on each", self.znodes),
            Kind::Sessions => format!("{count} sessions"),
            Kind::Empty => "nothing sent".into(),
            Kind::Start if self.znodes == 0 => "with the data it has".into(),
            Kind::Start => tree,
        }
    }

    fn shape_name(&self) -> &'static str {
        match self.shape {
            Shape::Wide => "1,000 a parent",
            Shape::OneParent => "all under one parent",
            Shape::Kafka => "1 to 4 a parent",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_name_scenarios_that_exist() {
        for (group, members) in GROUPS {
            for member in members {
                assert!(PRESETS.iter().any(|preset| preset.name == *member), "{group}: {member}");
            }
        }
        for name in NOT_IN_ALL {
            assert!(PRESETS.iter().any(|preset| preset.name == name), "{name}");
        }
        for preset in &PRESETS {
            assert!(Mix::parse(preset.mix).is_ok(), "{}", preset.name);
        }
    }

    #[test]
    fn a_scenario_named_twice_runs_once() {
        let names = ["set-single", "quick", "get-single"].map(String::from);
        let chosen: Vec<&str> = chosen(&names).iter().map(|preset| preset.name).collect();
        assert_eq!(chosen, ["set-single", "get-pipelined", "get-single", "set-pipelined"]);
    }
}
