//! What `oxkeeper bench` can be told: options and examples.
//!
//! Numbers left out are the scenario's own, so that a bare name always means the same measurement.

use std::net::SocketAddr;

use clap::{Args, Subcommand, ValueEnum};

use crate::catalogue;
use crate::ensemble::args::EnsembleArgs;
use crate::layout::Shape;

const EXAMPLES: &str = "\
Examples:
  How fast is the server on this machine?
    oxkeeper bench

  A mix of one's own, 30 seconds, as JSON:
    oxkeeper bench mix --mix get=8,set=2,create,delete --connections 64 --duration 30 --json

  Two servers in turns, five rounds each, with the ratio and the limit that sockets set:
    oxkeeper bench get-pipelined set-many --against 127.0.0.1:2182 --limit

  An ensemble; CPU is that of all its servers together, and of leader and followers apart:
    oxkeeper bench ensemble-load --hosts 127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183

  Three servers that are started for it, ours and Apache's in turns; leaders that are killed:
    oxkeeper bench ensemble set-pipelined leader-killed --java-classpath 'zookeeper/lib/*'

  Does latency survive snapshots? Latency counts from when a request was due:
    oxkeeper bench paced --rate 6000 --duration 60 --znodes 1000000 --shape one-parent

  Memory and start-up of a server that is started for it:
    oxkeeper bench memory --cmd 'rm -rf data && exec oxkeeper serve'
    oxkeeper bench start --cmd 'exec oxkeeper serve' --znodes 1000000

Everything is created below /bench-… and removed afterwards, unless --keep is given.
CPU and memory need the server on this machine, and the right to look into its process.";

/// Which members of an ensemble clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// All of them in turns, the leader last.
    All,
    /// The leader only.
    Leader,
    /// Followers and observers only.
    Followers,
}

/// Load a ZooKeeper server and report what its requests cost.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    /// What else it can do.
    #[command(subcommand)]
    pub command: Option<BenchCommand>,

    /// Scenarios or groups of them.
    #[arg(
        value_name = "SCENARIO",
        default_value = "quick",
        value_parser = clap::builder::PossibleValuesParser::new(catalogue::names()),
    )]
    pub scenarios: Vec<String>,

    /// The server to measure, or all servers of an ensemble: connections are spread over them.
    #[arg(
        long,
        visible_alias = "hosts",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        default_value = "127.0.0.1:2181"
    )]
    pub server: Vec<String>,

    /// Its process, for CPU and memory; found by its port if it runs here. One for each server.
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    pub pid: Vec<u32>,

    /// The members of an ensemble that clients go to. One connection goes to a follower.
    #[arg(long, value_enum, value_name = "MEMBERS", default_value = "all")]
    pub via: Via,

    /// A shell command that starts it; restarted before scenarios that measure memory.
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,

    /// A second server or ensemble, measured in turns with the first.
    #[arg(long, value_name = "HOST:PORT,…", value_delimiter = ',')]
    pub against: Vec<String>,

    /// The second server's process. One for each server.
    #[arg(long, requires = "against", value_name = "PID,…", value_delimiter = ',')]
    pub against_pid: Vec<u32>,

    /// A shell command that starts the second server.
    #[arg(long, requires = "against", value_name = "COMMAND")]
    pub against_cmd: Option<String>,

    /// Measure a server of canned answers too: the limit of sockets and kernel.
    #[arg(long)]
    pub limit: bool,

    /// The numbers of a load.
    #[command(flatten)]
    pub load: LoadArgs,

    /// Where `canned` listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", hide = true)]
    pub listen: SocketAddr,
}

/// What the load generator does beside loading servers that run already.
#[derive(Debug, Clone, Subcommand)]
pub enum BenchCommand {
    /// Start ensembles of its own, and measure what they do when servers fail, start and grow.
    Ensemble(Box<EnsembleArgs>),
}

/// The numbers of a load and of its rounds.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Rounds per server; the median counts [default: 5 when comparing, else 1].
    #[arg(long, value_parser = at_least_one)]
    pub rounds: Option<usize>,

    /// Seconds measured per round.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    pub duration: f64,

    /// Seconds before that in each round, not counted.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub warmup: f64,

    /// Connections (watchers, sessions) [default: the scenario's].
    #[arg(long, value_parser = at_least_one)]
    pub connections: Option<usize>,

    /// Requests in flight per connection [default: the scenario's].
    #[arg(long, value_parser = at_least_one)]
    pub window: Option<usize>,

    /// Bytes of data per znode.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    pub value_size: usize,

    /// Znodes that are loaded first [default: the scenario's].
    #[arg(long)]
    pub znodes: Option<u64>,

    /// Their form [default: the scenario's].
    #[arg(long)]
    pub shape: Option<Shape>,

    /// Znodes per multi when loading.
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    pub batch: usize,

    /// Requests of `mix` and `paced` with their shares: get, watch, set, exists, children,
    /// create, delete, sequential, multi, sync.
    #[arg(long, value_name = "OP=SHARE,…")]
    pub mix: Option<String>,

    /// Requests per second of `paced`.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 6000.0, value_parser = rate)]
    pub rate: f64,

    /// Generator threads; one keeps most servers busy.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub threads: usize,

    /// Session timeout to ask for.
    #[arg(long, value_name = "MS", default_value_t = 40_000)]
    pub session_timeout: i32,

    /// Ask a Java server for the size of its live objects (runs a full collection).
    #[arg(long)]
    pub live_heap: bool,

    /// Leave what was created.
    #[arg(long)]
    pub keep: bool,

    /// Print JSON, with every round, in nanoseconds and bytes.
    #[arg(long)]
    pub json: bool,
}

impl BenchArgs {
    /// Whether more than one server is measured.
    pub fn compares(&self) -> bool {
        !self.against.is_empty() || self.limit
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("must be a whole number".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number of seconds, at most a day".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=100e6).contains(&rate) => Ok(rate),
        _ => Err("must be a number of requests per second".into()),
    }
}
