//! Ensembles started for the purpose: what requests cost them, and what happens when servers fail,
//! start and grow.
//!
//! Ours and Apache's take turns, as servers do in [`crate::compare`]: the same `zoo.cfg`, the same
//! disk, the same load. Scenarios of the catalogue share one pair of ensembles that idle while the
//! other is measured; whatever disturbs servers has the machine for itself.

pub mod args;
pub mod cluster;
pub mod faults;
pub mod growth;
pub mod starts;
pub mod writers;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::catalogue::{PRESETS, Plan};
use crate::compare::compare;
use crate::figures::{Figure, Figures};
use crate::layout::{Layout, Shape};
use crate::progress::Progress;
use crate::report::{ScenarioReport, ServerReport};
use crate::session::Session;
use crate::stage::{Loading, fresh_root, pass, raise, settle};
use crate::target::{Role, Target};
use crate::work::bulk::Direction;
use args::{EnsembleArgs, Make, Measure, Row};
use cluster::{Cluster, Ground, Program};
use growth::Memory;

/// What every measurement needs.
pub struct Bench<'a> {
    /// What was asked for.
    pub args: &'a EnsembleArgs,
    /// Where what goes on is said.
    pub progress: &'a Progress,
    ground: Ground,
    /// Ensembles made so far: each has a name of its own.
    made: Cell<usize>,
    /// What a reader of the row should know.
    notes: RefCell<Vec<String>>,
}

/// One of the two that are compared.
struct Side {
    role: Role,
    program: Program,
}

/// Measures what the command line asks for and prints the results to stdout.
///
/// # Errors
/// When a server dies, refuses what it should not, or an option makes no sense.
pub fn run(args: &EnsembleArgs) -> Result<ExitCode> {
    let sides = sides(args)?;
    let progress = Progress::on_terminal();
    let (made, notes) = (Cell::new(0), RefCell::default());
    let bench = Bench { args, progress: &progress, ground: ground(args)?, made, notes };
    let measures = args::chosen(&args.rows);
    let mut reports = Vec::new();
    let outcome = bench.measure(&measures, &sides, &mut reports);
    progress.clear();
    // Empty unless ensembles were to be kept.
    let _ = std::fs::remove_dir(&bench.ground.dir);
    if args.load.json {
        // What was measured before a failure is still worth printing.
        println!("{}", crate::json(&reports)?);
    }
    outcome?;
    let refused = reports.iter().any(ScenarioReport::has_errors);
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn ground(args: &EnsembleArgs) -> Result<Ground> {
    let id = std::process::id();
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = std::path::absolute(dir)?.join(format!("oxkeeper-ensembles-{id}"));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let lines = args.set.iter().map(|line| {
        let pair = line.split_once('=').map(|(key, value)| (key.into(), value.into()));
        pair.with_context(|| format!("--set {line:?} is not KEY=VALUE"))
    });
    let lines = lines.collect::<Result<_>>()?;
    let base_port = args.base_port.unwrap_or(12_000 + (id % 400) as u16 * 40);
    Ok(Ground { dir, base_port, lines, keep: args.load.keep })
}

fn sides(args: &EnsembleArgs) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    if args.only != Some(Make::Java) {
        let path: PathBuf = match &args.oxkeeper {
            Some(path) => std::path::absolute(path)?,
            None => std::env::current_exe().context("where are we?")?,
        };
        sides.push(Side { role: Role::Server, program: Program::Oxkeeper(path) });
    }
    if args.only != Some(Make::Oxkeeper)
        && let Some(class_path) = &args.java_classpath
    {
        let role = if sides.is_empty() { Role::Server } else { Role::Against };
        let arguments = args.jvm.split_whitespace().map(str::to_owned).collect();
        let class_path = absolute_entries(class_path)?;
        sides.push(Side { role, program: Program::Java { class_path, arguments } });
    }
    ensure!(!sides.is_empty(), "Apache's ensembles need the class path (--java-classpath)");
    Ok(sides)
}

/// Servers run in directories of their own: a class path relative to ours would be lost.
fn absolute_entries(class_path: &str) -> Result<String> {
    let entries = class_path.split(':').filter(|entry| !entry.is_empty()).map(|entry| {
        Ok(std::path::absolute(entry)?.into_os_string().to_string_lossy().into_owned())
    });
    Ok(entries.collect::<Result<Vec<String>>>()?.join(":"))
}

impl Bench<'_> {
    /// Servers in an ensemble, unless it is what varies.
    pub fn size(&self) -> usize {
        usize::from(self.args.servers)
    }

    /// A new ensemble that has never run.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn cluster(&self, program: &Program, count: usize) -> Result<Cluster> {
        let number = self.made.get() + 1;
        self.made.set(number);
        let make = match program {
            Program::Oxkeeper(_) => "oxkeeper",
            Program::Java { .. } => "java",
        };
        Cluster::new(&self.ground, program, &format!("{number:03}-{make}"), count)
    }

    /// A scenario of the catalogue with our numbers.
    ///
    /// # Errors
    /// When `--mix` cannot be read.
    pub fn plan(&self, name: &str) -> Result<Plan> {
        let preset = PRESETS.iter().find(|preset| preset.name == name);
        Plan::of(
            preset.with_context(|| format!("no scenario {name}"))?,
            &self.args.load,
            true,
            true,
        )
    }

    /// A znode of our own on an ensemble that serves.
    ///
    /// # Errors
    /// When it refuses.
    pub fn root(&self, cluster: &Cluster) -> Result<String> {
        let root = fresh_root();
        let mut session = Session::open(cluster.address(0), self.args.load.session_timeout)?;
        session.create(&root, b"")?;
        session.close()?;
        Ok(root)
    }

    fn measure(
        &self,
        measures: &[Measure],
        sides: &[Side],
        reports: &mut Vec<ScenarioReport>,
    ) -> Result<()> {
        let scenarios: Vec<usize> = measures
            .iter()
            .filter_map(|measure| match measure {
                Measure::Scenario(index) => Some(*index),
                Measure::Row(_) => None,
            })
            .collect();
        if !scenarios.is_empty() {
            self.scenarios(&scenarios, sides, reports)?;
        }
        for measure in measures {
            if let Measure::Row(row) = measure {
                let report = self.row(*row, sides)?;
                self.publish(report, reports)?;
            }
        }
        Ok(())
    }

    /// Shows a result as soon as it is there: the next one may take long, or fail.
    fn publish(&self, report: ScenarioReport, reports: &mut Vec<ScenarioReport>) -> Result<()> {
        self.progress.clear();
        if !self.args.load.json {
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "{}", report.text())?;
            stdout.flush()?;
        }
        reports.push(report);
        Ok(())
    }

    /// Scenarios of the catalogue over one ensemble of each side.
    fn scenarios(
        &self,
        scenarios: &[usize],
        sides: &[Side],
        reports: &mut Vec<ScenarioReport>,
    ) -> Result<()> {
        let mut clusters = Vec::with_capacity(sides.len());
        let mut targets: Vec<Target> = Vec::with_capacity(sides.len());
        for side in sides {
            self.progress.say("starting an ensemble");
            let mut cluster = self.cluster(&side.program, self.size())?;
            cluster.start_all()?;
            cluster.formed()?;
            targets.push(cluster.target(side.role)?.via(self.args.via));
            clusters.push(cluster);
        }
        for index in scenarios {
            let plan = Plan::of(&PRESETS[*index], &self.args.load, true, sides.len() > 1)?;
            let report = compare(&plan, &mut targets, self.progress);
            // A server's death explains more than what the load saw of it.
            clusters.iter_mut().try_for_each(Cluster::check)?;
            self.publish(report?, reports)?;
        }
        clusters.iter_mut().try_for_each(Cluster::stop_all)
    }

    /// One row, all rounds of all sides in turns.
    fn row(&self, row: Row, sides: &[Side]) -> Result<ScenarioReport> {
        let rounds = self.args.load.rounds.unwrap_or(row.rounds());
        let mut results: Vec<(String, Vec<Figures>)> = vec![Default::default(); sides.len()];
        for round in 0..rounds {
            for (side, (name, figures)) in sides.iter().zip(&mut results) {
                let label = format!("{} · {:?} · {}/{rounds}", row.name(), side.role, round + 1);
                self.progress.say(&label);
                rustix::fs::sync();
                let found = self
                    .round(row, side, rounds, name, &label)
                    .with_context(|| format!("measuring {}", label))?;
                figures.extend(found);
            }
        }
        let servers = sides.iter().zip(&results).map(|(side, (name, figures))| {
            let address = "loopback".to_owned();
            let mut report = ServerReport::of(side.role, name, address, figures);
            add_extremes(&mut report.median, figures, faults::FIRST_WRITE);
            report
        });
        let run = self.summary(row, rounds);
        Ok(ScenarioReport::of(row.name(), run, servers.collect(), self.notes.take()))
    }

    /// The sizes that a row of growth goes through.
    pub fn steps(&self, row: Row) -> Vec<u64> {
        if self.args.steps.is_empty() { row.steps().to_vec() } else { self.args.steps.clone() }
    }

    /// Takes note of what a reader of the row should know, once.
    pub fn note(&self, note: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn znodes(&self, row: Row) -> u64 {
        match row {
            Row::RestartEmpty => 0,
            _ => self.args.load.znodes.unwrap_or(row.znodes()),
        }
    }

    /// How often a leader fails in all.
    fn times(&self, row: Row) -> usize {
        self.args.times.unwrap_or(if row == Row::LeaderKilled { 30 } else { 6 })
    }

    fn summary(&self, row: Row, rounds: usize) -> String {
        let (servers, znodes) = (self.size(), self.znodes(row));
        match row {
            Row::LeaderKilled | Row::LeaderFrozen => format!(
                "{servers} servers, {znodes} znodes, {} writers, {} times",
                self.args.writers,
                self.times(row).div_ceil(rounds) * rounds
            ),
            Row::Restart | Row::RestartEmpty | Row::Memory => {
                format!("{servers} servers, {znodes} znodes, {rounds} rounds")
            }
            Row::Rejoin => format!(
                "{servers} servers, {znodes} znodes, {} sets/s, {rounds} rounds",
                self.args.load.rate
            ),
            Row::GrowServers => "set-pipelined".into(),
            Row::GrowSessions => {
                format!("{servers} servers, 9 gets to 1 set at {}/s", self.args.load.rate)
            }
            Row::GrowZnodes => format!("{servers} servers, set-pipelined, memory, restart"),
        }
    }

    /// One round of one side, on an ensemble of its own.
    fn round(
        &self,
        row: Row,
        side: &Side,
        rounds: usize,
        name: &mut String,
        label: &str,
    ) -> Result<Vec<Figures>> {
        if let Row::GrowServers | Row::GrowSessions | Row::GrowZnodes = row {
            *name = side.program.name().into();
            let (program, role) = (&side.program, side.role);
            let figures = match row {
                Row::GrowServers => growth::servers(self, program, role, label)?,
                Row::GrowSessions => growth::sessions(self, program, role, label)?,
                _ => growth::znodes(self, program, role, label)?,
            };
            return Ok(vec![figures]);
        }
        let mut cluster = self.cluster(&side.program, self.size())?;
        cluster.start_all()?;
        cluster.formed()?;
        let target = cluster.target(side.role)?;
        target.name.clone_into(name);
        let measured = self.disturb(row, &mut cluster, &target, rounds, label);
        cluster.check()?;
        let measured = measured?;
        cluster.stop_all()?;
        Ok(measured)
    }

    /// What a row does to an ensemble that serves.
    fn disturb(
        &self,
        row: Row,
        cluster: &mut Cluster,
        target: &Target,
        rounds: usize,
        label: &str,
    ) -> Result<Vec<Figures>> {
        let layout = self.load(row, target)?;
        match row {
            Row::LeaderKilled | Row::LeaderFrozen => {
                let times = self.times(row).div_ceil(rounds);
                faults::failing_leader(self, cluster, row, times, label)
            }
            Row::Restart | Row::RestartEmpty => {
                // The first start over a load's log may write a snapshot that others begin with.
                starts::restart(cluster)?;
                Ok(vec![starts::restart(cluster)?])
            }
            Row::Rejoin => Ok(vec![starts::rejoin(self, cluster, &layout, label)?]),
            Row::Memory | Row::GrowServers | Row::GrowSessions | Row::GrowZnodes => {
                let mut figures = Figures::default();
                Memory::of(cluster)?.add(&mut figures);
                Ok(vec![figures])
            }
        }
    }

    /// Loads what a row needs.
    fn load(&self, row: Row, target: &Target) -> Result<Layout> {
        let numbers = &self.args.load;
        let shape = numbers.shape.unwrap_or(Shape::Wide);
        let layout = Layout::sized(shape, &fresh_root(), self.znodes(row));
        if layout.leaves > 0 {
            let addresses = target.addresses();
            let timeout_ms = numbers.session_timeout;
            raise(addresses[0], &layout, timeout_ms)?;
            let loading = Loading::usual(numbers.batch, numbers.value_size, timeout_ms);
            let show = (self.progress, target.name.as_str());
            pass(&addresses, &layout, Direction::Create, loading, show)?;
            settle(&addresses, timeout_ms)?;
        }
        Ok(layout)
    }
}

/// Adds the best and the worst of a figure behind its median: an outage is as bad as its worst.
fn add_extremes(medians: &mut Vec<Figure>, rounds: &[Figures], name: &str) {
    let Some(at) = medians.iter().position(|figure| figure.name == name) else { return };
    let of_round = |round: &Figures| round.all.iter().find(|f| f.name == name).map(|f| f.value);
    let values: Vec<f64> = rounds.iter().filter_map(of_round).collect();
    let unit = medians[at].unit;
    let extreme = |word: &str, value| Figure { name: format!("{name}, {word}"), unit, value };
    let worst = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let best = values.iter().copied().fold(f64::INFINITY, f64::min);
    medians.insert(at + 1, extreme("worst", worst));
    medians.insert(at + 2, extreme("best", best));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::medians;
    use crate::units::Unit;

    #[test]
    fn an_outage_is_told_with_its_worst() {
        let rounds: Vec<Figures> = [50.0, 900.0, 40.0]
            .iter()
            .map(|value| {
                let mut figures = Figures::default();
                figures.add("outage", Unit::Ns, *value);
                figures.add("rate", Unit::PerSecond, 1.0);
                figures
            })
            .collect();
        let mut all = medians(&rounds);
        add_extremes(&mut all, &rounds, "outage");
        let shown: Vec<(&str, f64)> = all.iter().map(|f| (f.name.as_str(), f.value)).collect();
        let outage =
            [("outage", 50.0), ("outage, worst", 900.0), ("outage, best", 40.0), ("rate", 1.0)];
        assert_eq!(shown, outage);
    }

    #[test]
    fn a_class_path_survives_another_directory() {
        let here = std::env::current_dir().unwrap();
        let path = absolute_entries("lib/*:/opt/zk").unwrap();
        assert_eq!(path, format!("{}/lib/*:/opt/zk", here.display()));
    }
}
