//! Proof against the real thing: differential runs, golden captures and foreign clients.
//!
//! Nothing here is linked into the product. The crate drives a server from outside, over its
//! client port, and compares what it sees with what Apache ZooKeeper 3.9.5 does with the same
//! bytes. The election port alone is run in this process, as a voter among Apache's servers.
//! `docs/deviations.md` lists the differences that are meant; every other one is a failure.
//!
//! | part | what it proves |
//! |---|---|
//! | [`differential`] | random sequences: every answer as Java's |
//! | [`golden`] | recorded sessions of Java, replayed |
//! | [`expiry`] | how long silent sessions live |
//! | [`interop`] | one data directory, served in turns by us and Java |
//! | [`election`] | two of Java's servers and our election port elect a leader |
//! | [`mixed`] | ensembles of Java's servers and ours, under load and under attack |
//! | [`client`] | our client library, on Apache's servers and ours, members killed on the way |
//! | [`disk`] | directories in every shape, ours read by Java and Java's by us |
//! | [`faults`] | ensembles of ours alone: killed, parted, frozen, filled, by chance |
//! | [`cli`] | our shell prints what ZooKeeper's prints, and shows a person what it should |
//! | [`peers`]: shell, java-client, kazoo, curator | real clients and their recipes |
//! | [`recipes`] | our locks, queues and their kin with Curator's and kazoo's; and under attack |
//! | [`net`] | that the parts above catch a server that does wrong |

pub mod cli;
pub mod client;
pub mod differential;
pub mod disk;
pub mod election;
pub mod ensemble;
pub mod expiry;
pub mod faults;
pub mod golden;
pub mod interop;
pub mod mixed;
pub mod net;
pub mod options;
pub mod peers;
pub mod recipes;
mod report;
pub mod transcript;
pub mod wire;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use differential::Plan;
use ensemble::Kind;
pub use options::{Options, Target};
use peers::{Peers, Program, ServerUnderTest, StartOpts};
use report::Report;

/// The ports of the servers started here: below those that systems give to outgoing connections,
/// because a restarted server needs its port back.
const PORTS_FROM: u16 = 27_000;
const PORTS_COUNT: u32 = 1_000;
/// How long a difference is thinned out before it is printed.
const MINIMISE: Duration = Duration::from_secs(60);
/// The parts that are not programs of the peers.
const PARTS: [&str; 11] = [
    "cli",
    "differential",
    "golden",
    "expiry",
    "interop",
    "disk",
    "election",
    "mixed",
    "client",
    "recipes",
    "net",
];

/// Runs the parts that `options` selects, all of them even if one fails.
///
/// # Errors
/// Whatever kept a part from running to its end, or the differences it found, with the command
/// that replays it.
pub fn run(options: &Options) -> Result<()> {
    let programs = Program::ALL.map(Program::name);
    let selected = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    if let Some(only) = &options.only
        && !PARTS.iter().chain(&programs).any(|part| part == only)
    {
        bail!("no part is called {only:?}: {}, {}", PARTS.join(", "), programs.join(", "));
    }
    let mut report = Report::new(options.json);
    let peers = Peers::ensure(&mut |step| report.progress(step))?;
    let dir = std::env::temp_dir().join(format!("oxkeeper-conformance-{}", std::process::id()));
    let seed = options.seed.unwrap_or_else(fresh_seed);
    let server = match options.target {
        Target::Java => ServerUnderTest::Java(peers.clone()),
        Target::Oxkeeper => ServerUnderTest::Oxkeeper { binary: build(&[], &dir, &mut report)? },
    };
    let run = Run { peers, server, dir: dir.clone(), seed, ops: options.ops };

    for program in Program::ALL.into_iter().filter(|program| selected(program.name())) {
        report.part(program.name(), |_| run.program(program));
    }
    let replay = Options { seed: Some(seed), ..options.clone() };
    if selected("golden") {
        report.part("golden", |report| run.golden(report));
    }
    if selected("differential") {
        report.say(&format!("seed {seed}"));
        report.part("differential", |report| run.differential(&replay, report));
    }
    if selected("cli") {
        report.part("cli", |report| run.cli(report));
    }
    if selected("expiry") {
        report.part("expiry", |_| expiry::run(&run.server, &run.dir.join("expiry")));
    }
    if selected("interop") {
        report.part("interop", |_| run.interop(&replay));
    }
    if selected("disk") {
        report.part("disk", |report| run.disk(&replay, report));
    }
    if selected("election") && options.target == Target::Oxkeeper {
        report.part("election", |report| {
            election::run(&run.peers, &dir.join("election"), &mut |line| report.progress(line))
        });
    }
    if selected("mixed") {
        report.part("mixed", |report| run.mixed(options, report));
    }
    if selected("client") {
        report.part("client", |report| {
            let dir = dir.join("client");
            client::run(&run.peers, &run.server, &dir, &mut |line| report.progress(line))
        });
    }
    if selected("recipes") {
        report.part("recipes", |report| run.recipes(report));
    }
    if selected("net") && options.target == Target::Oxkeeper {
        report.part("net", |report| {
            let binary = build(&["--features", "wrong"], &dir, report)?;
            net::run(&run.peers, &binary, &dir.join("net"), &mut |line| report.say(line))
        });
    }
    report.end()?;
    std::fs::remove_dir_all(&dir).context("clearing away")
}

/// What a part came to when it ran to its end: how many things it checked, and what was wrong.
#[derive(Debug, Default)]
pub struct Findings {
    /// Things checked.
    pub checks: usize,
    /// What was wrong, one text each.
    pub errors: Vec<String>,
}

struct Run {
    peers: Peers,
    server: ServerUnderTest,
    dir: PathBuf,
    seed: u64,
    ops: u64,
}

impl Run {
    fn program(&self, program: Program) -> Result<Findings> {
        let opts = StartOpts::new(self.dir.join(program.name()), free_port()?).for_programs();
        let mut running = self.server.start(opts)?;
        let checks = peers::run(&self.peers, running.addr(), program)?;
        running.stop()?;
        let errors = checks
            .iter()
            .filter_map(|check| Some(format!("{}: {}", check.name, check.error.as_deref()?)))
            .collect();
        Ok(Findings { checks: checks.len(), errors })
    }

    fn cli(&self, report: &mut Report) -> Result<Findings> {
        let binary = match &self.server {
            ServerUnderTest::Oxkeeper { binary } => binary.clone(),
            ServerUnderTest::Java(_) | ServerUnderTest::Apache(_) => build(&[], &self.dir, report)?,
        };
        let dir = self.dir.join("cli");
        cli::run(&self.peers, &self.server, &binary, &dir, &mut |line| report.progress(line))
    }

    fn recipes(&self, report: &mut Report) -> Result<Findings> {
        let opts = StartOpts::new(self.dir.join("recipes"), free_port()?).for_programs();
        let mut running = self.server.start(opts)?;
        let mut progress = |line: &str| report.progress(line);
        let mut found = recipes::run(&self.peers, running.addr(), &mut progress)?;
        running.stop()?;
        let (kind, binary) = match &self.server {
            ServerUnderTest::Oxkeeper { binary } => (Kind::Oxkeeper, Some(binary.clone())),
            ServerUnderTest::Java(_) | ServerUnderTest::Apache(_) => (Kind::JAVA, None),
        };
        let dir = self.dir.join("recipes-attacked");
        let more = recipes::attack::run(&self.peers, kind, binary, &dir, &mut progress)?;
        found.checks += more.checks;
        found.errors.extend(more.errors);
        Ok(found)
    }

    fn golden(&self, report: &mut Report) -> Result<Findings> {
        for (name, why) in golden::LEFT_OUT {
            report.say(&format!("left out: {name}: {why}"));
        }
        let outcomes = golden::run(&self.server, &self.dir.join("golden"))?;
        let errors = outcomes
            .iter()
            .filter_map(|outcome| Some(format!("{}: {}", outcome.name, outcome.error.as_deref()?)))
            .collect();
        Ok(Findings { checks: outcomes.iter().map(|outcome| outcome.compared).sum(), errors })
    }

    fn differential(&self, replay: &Options, report: &mut Report) -> Result<Findings> {
        let mut findings = self.compare(Vec::new(), self.ops, replay, report)?;
        // Without extended types, what asks for a TTL is refused; little else changes.
        let config = vec![("extendedTypesEnabled".to_owned(), "false".to_owned())];
        let without = self.compare(config, self.ops / 10, replay, report)?;
        findings.checks += without.checks;
        findings.errors.extend(without.errors);
        Ok(findings)
    }

    fn compare(
        &self,
        config: Vec<(String, String)>,
        ops: u64,
        replay: &Options,
        report: &mut Report,
    ) -> Result<Findings> {
        let plan = Plan {
            oracle: ServerUnderTest::Java(self.peers.clone()),
            examined: self.server.clone(),
            config,
            seed: self.seed,
            ops,
            minimise: MINIMISE,
            dir: self.dir.join("differential"),
        };
        match differential::run(&plan, &mut |line| report.progress(line))? {
            Ok(tally) => {
                report.say(&tally.coverage());
                Ok(Findings { checks: usize::try_from(tally.compared)?, errors: Vec::new() })
            }
            Err(found) => {
                let trace = found.report(plan.oracle.name(), plan.examined.name());
                let after = found.after_ops;
                let error = format!("{trace}after {after} operations; again: {replay}");
                Ok(Findings { checks: 0, errors: vec![error] })
            }
        }
    }

    fn disk(&self, replay: &Options, report: &mut Report) -> Result<Findings> {
        let plan = disk::Plan {
            peers: self.peers.clone(),
            examined: self.server.clone(),
            seed: self.seed,
            only: None,
            dir: self.dir.join("disk"),
        };
        let checks = disk::run(&plan, &mut |line| report.progress(line))
            .with_context(|| format!("again: {replay}"))?;
        Ok(Findings { checks, errors: Vec::new() })
    }

    /// Alone it is all mixtures; among the other parts, the short story.
    fn mixed(&self, options: &Options, report: &mut Report) -> Result<Findings> {
        let oxkeeper = match &self.server {
            ServerUnderTest::Oxkeeper { binary } => Some(binary.clone()),
            ServerUnderTest::Java(_) | ServerUnderTest::Apache(_) => None,
        };
        let request = mixed::Request {
            members: options.members.as_deref().map(str::parse).transpose()?,
            scenario: options.scenario.clone(),
            quick: options.quick || options.only.is_none(),
            seed: self.seed,
        };
        report.say(&format!("seed {}", self.seed));
        let dir = self.dir.join("mixed");
        mixed::run(&self.peers, oxkeeper, &request, &dir, &mut |line| report.progress(line))
    }

    fn interop(&self, replay: &Options) -> Result<Findings> {
        let ops = (self.ops / 4).max(400);
        let dir = self.dir.join("interop");
        let outcome = interop::run(&self.peers, &self.server, &dir, self.seed, ops)
            .with_context(|| format!("again: {replay}"))?;
        let mut errors = outcome.errors;
        if !errors.is_empty() {
            errors.push(format!("again: {replay}"));
        }
        Ok(Findings { checks: outcome.znodes + outcome.sessions, errors })
    }
}

/// Builds our binary as tests use it, and keeps it apart from what a later build overwrites.
fn build(features: &[&str], dir: &Path, report: &mut Report) -> Result<PathBuf> {
    report.progress(&format!("building oxkeeper {}", features.join(" ")));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", "oxkeeper", "--message-format", "json"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "oxkeeper does not build");
    let executable = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .context("cargo tells of no executable")?;
    std::fs::create_dir_all(dir)?;
    let kept = dir.join(if features.is_empty() { "oxkeeper" } else { "oxkeeper-wrong" });
    std::fs::copy(&executable, &kept).with_context(|| format!("copying {executable:?}"))?;
    Ok(kept)
}

/// A seed that no earlier run had.
fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_micros()) + 1_000_000 * (since.as_secs() % 1_000)
}

/// A port that nobody listens on, and that this process has not given out before.
pub(crate) fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORTS_COUNT {
        // Runs that begin one after the other begin far from each other.
        let first = std::process::id().wrapping_mul(97);
        let at = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS_COUNT;
        let port = PORTS_FROM + u16::try_from(at)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port from {PORTS_FROM} on")
}
