//! Real processes, real faults.
//!
//! Ensembles of our servers, three or five, under a load of our own clients and of kazoo, while
//! chance kills, freezes, parts, slows, fills and wipes them (`draw`). Each fault is mended
//! (`inflict`); then all must serve again within a bound, the history of the clients must be
//! possible, all members must serve the same tree, and no process may take more than it should
//! (`scene`). Nothing here needs Java.
//!
//! Faults come in rounds. Each round has an ensemble of its own, and a seed: the first that of the
//! run, each further one the next number. So a round can be run again alone, and that is the
//! command that a failure prints. The same seed draws the same faults; what the machine makes of
//! them, it decides anew.
//!
//! Every other round runs in network namespaces (`spaces`), where we may make them; all others on
//! the loopback device, with proxies between members that hold, cut or delay what passes.
//!
//! ```text
//! cargo xtask faults                      # twenty faults
//! cargo xtask faults --count 200          # what a release has been through
//! cargo xtask faults --seed 7 --count 10  # one round again
//! ```

mod clock;
mod draw;
mod foreign;
mod inflict;
mod net;
mod options;
mod scene;
pub(crate) mod spaces;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::differential::rng::Rng;
use crate::peers::Peers;
use crate::report::Report;
use draw::{Fault, Possible};
use inflict::Outcome;
pub use options::Options;
use scene::{BOUND, Scene, Setting, Usage};

/// Faults of a round. Trees grow with time, and comparing them takes its own.
const ROUND: usize = 10;
/// Failed rounds after which the run ends.
const FAILED_MAX: usize = 3;

/// Runs the faults that `options` ask for.
///
/// # Errors
/// Whatever was lost, wrong, or did not come back, with the commands that run it again; or what
/// kept the suite from running.
pub fn run(options: &Options) -> Result<()> {
    let mut report = Report::new(options.json);
    let name = format!("oxkeeper-faults-{}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    let binary = crate::build(&[], &dir, &mut report)?;
    let means = Means::find(options, &dir, &mut report);
    let seed = options.seed.unwrap_or_else(crate::fresh_seed);
    report.say(&format!("seed {seed}; after each fault all serve again within {BOUND:?}"));
    let mut tally = Tally::default();
    let began = Instant::now();
    let mut round = 0;
    while tally.faults < options.count && began.elapsed() < options.limit() {
        let left = options.count - tally.faults;
        let round_seed = seed.wrapping_add(round);
        let again = Options { seed: Some(round_seed), count: ROUND.min(left), ..options.clone() };
        let dir = dir.join(format!("round-{round}"));
        let mut rng = Rng::new(round_seed);
        let setting = means.setting(options, &mut rng, usize::try_from(round)?, &dir, round_seed);
        report.say(&format!(
            "round {round}, seed {round_seed}: {} members {}{}{}",
            setting.count,
            if setting.spaces { "in namespaces" } else { "behind proxies" },
            setting.small_disk.map_or(String::new(), |sid| format!(", {sid} has a small disk")),
            if setting.clock.is_some() { ", clocks of their own" } else { "" },
        ));
        if let Err(error) = tell(&binary, setting, &again, &mut rng, &mut tally, &mut report) {
            report.say(&format!("what the servers said and wrote is kept in {}", dir.display()));
            tally.failed.push(format!("again: {again}: {error:#}"));
            if tally.failed.len() >= FAILED_MAX {
                break;
            }
        }
        round += 1;
    }
    tally.sum_up(began.elapsed(), options.json, &mut report);
    if !tally.failed.is_empty() {
        bail!("{} of the rounds failed:\n{}", tally.failed.len(), tally.failed.join("\n"));
    }
    if tally.faults == 0 {
        bail!("there was no fault");
    }
    std::fs::remove_dir_all(&dir).context("clearing away")
}

/// One round.
fn tell(
    binary: &Path,
    setting: Setting,
    options: &Options,
    rng: &mut Rng,
    tally: &mut Tally,
    report: &mut Report,
) -> Result<()> {
    let opened = Scene::open(binary, setting).context("the start");
    let mut scene = opened.inspect_err(|error| report.say(&format!("FAILED: {error:#}")))?;
    if let Err(error) = go_through(&mut scene, options, rng, tally, report) {
        // Said at once: that clients end whose servers are gone takes a while.
        report.say(&format!("FAILED: {error:#}"));
        return Err(error);
    }
    tally.interrupted += scene.interrupted;
    let closed = scene.close().context("the end");
    tally.answered += closed.inspect_err(|error| report.say(&format!("FAILED: {error:#}")))?;
    Ok(())
}

/// The faults of a round.
fn go_through(
    scene: &mut Scene,
    options: &Options,
    rng: &mut Rng,
    tally: &mut Tally,
    report: &mut Report,
) -> Result<()> {
    let (count, spaces) = (scene.setting.count, scene.setting.spaces);
    for _ in 0..options.count {
        let means = Possible { slow_links: !spaces, clock_steps: scene.setting.clock.is_some() };
        let fault = draw::draw(rng, count, means);
        let mut own = Rng::new(rng.next());
        let outcome = scene.inflict(&fault, &mut own);
        let outcome = outcome.with_context(|| fault.to_string())?;
        let usage = scene.check().with_context(|| format!("after {fault}"))?;
        tally.add(&fault, &outcome, usage);
        let line = line(&fault, &outcome, tally.faults);
        report.progress(&line);
        if options.json {
            println!("{}", as_json(&fault, &outcome, usage, count, spaces));
        }
    }
    Ok(())
}

/// What this machine lets us do.
struct Means {
    spaces: bool,
    small_disks: bool,
    clock: Option<PathBuf>,
    kazoo: Option<Peers>,
}

impl Means {
    /// Tries, and says what cannot be had.
    fn find(options: &Options, dir: &Path, report: &mut Report) -> Means {
        let mut have = |what: &str, tried: Result<()>| match tried {
            Ok(()) => true,
            Err(error) => {
                report.say(&format!("left out: {what}: {error:#}"));
                false
            }
        };
        let spaces = !options.proxies && have("network namespaces", spaces::available());
        let disk = dir.join("small-disk");
        let tried = spaces::mount_small(&disk, 1).and_then(|()| spaces::unmount(&disk));
        let small_disks = have("small disks (a limit of file sizes instead)", tried);
        let clock = clock::library();
        have("clock steps", clock.as_ref().map(drop).map_err(|why| anyhow::anyhow!("{why}")));
        let clock = clock.ok();
        let kazoo = if options.without_kazoo {
            None
        } else {
            let peers = Peers::kazoo_alone(&mut |_| {});
            let peers = peers.map(Some);
            have("kazoo", peers.as_ref().map(drop).map_err(|error| anyhow::anyhow!("{error:#}")));
            peers.unwrap_or(None)
        };
        Means { spaces, small_disks, clock, kazoo }
    }

    fn setting(
        &self,
        options: &Options,
        rng: &mut Rng,
        number: usize,
        dir: &Path,
        seed: u64,
    ) -> Setting {
        let drawn = if rng.chance(60) { 3 } else { 5 };
        let count = options.members.unwrap_or(drawn);
        let spaces = rng.chance(50) && self.spaces;
        let small = i64::try_from(rng.below(3)).unwrap_or(0) + 1;
        let small_disk = self.small_disks.then_some(small);
        let long_logs = rng.chance(50);
        // Not always: what is between a server and its clock is not there in the field.
        let clock = self.clock.clone().filter(|_| rng.chance(50));
        let (kazoo, dir) = (self.kazoo.clone(), PathBuf::from(dir));
        Setting { number, count, spaces, small_disk, long_logs, clock, kazoo, dir, seed }
    }
}

/// What the run came to.
#[derive(Default)]
struct Tally {
    faults: usize,
    answered: usize,
    /// Checks that had to be begun again.
    interrupted: usize,
    failed: Vec<String>,
    kinds: BTreeMap<&'static str, Times>,
    most: Usage,
}

/// Of a kind of fault.
#[derive(Default)]
struct Times {
    during: Vec<Duration>,
    healed: Vec<Duration>,
}

impl Tally {
    fn add(&mut self, fault: &Fault, outcome: &Outcome, usage: Usage) {
        self.faults += 1;
        let times = self.kinds.entry(fault.kind()).or_default();
        times.during.extend(outcome.during);
        times.healed.push(outcome.healed);
        self.most.resident_bytes = self.most.resident_bytes.max(usage.resident_bytes);
        self.most.descriptors = self.most.descriptors.max(usage.descriptors);
        self.most.idle_share = self.most.idle_share.max(usage.idle_share);
    }

    /// A table for people, a line for programs.
    fn sum_up(&self, took: Duration, json: bool, report: &mut Report) {
        report.say(
            "fault            times   until a write is done during it   until all serve after",
        );
        for (kind, times) in &self.kinds {
            let (count, during) = (times.healed.len(), spread(&times.during));
            let healed = spread(&times.healed);
            report.say(&format!("{kind:<16} {count:>5}   {during:<32}   {healed}"));
        }
        let (most, failed) = (&self.most, self.failed.len());
        report.say(&format!(
            "{} faults in {:.0} s, {} requests answered, {failed} failed rounds, {} checks begun \
             again; a server took at most {} MiB, {} descriptors, {:.0} % of a processor while \
             clients paused",
            self.faults,
            took.as_secs_f32(),
            self.answered,
            self.interrupted,
            most.resident_bytes >> 20,
            most.descriptors,
            100.0 * most.idle_share,
        ));
        if json {
            println!(
                "{}",
                json!({ "faults": self.faults, "seconds": took.as_secs_f32(),
                    "answered": self.answered, "failed": failed, "interrupted": self.interrupted,
                    "resident_bytes": most.resident_bytes, "descriptors": most.descriptors,
                    "idle_share": most.idle_share })
            );
        }
    }
}

/// Median and worst.
fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    match times.last() {
        Some(worst) => {
            let median = times[times.len() / 2];
            format!("median {:.2} s, worst {:.2} s", median.as_secs_f32(), worst.as_secs_f32())
        }
        None => "-".to_owned(),
    }
}

fn line(fault: &Fault, outcome: &Outcome, at: usize) -> String {
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f32());
    let during = outcome.during.map_or(String::new(), |d| format!("; writes in {}", seconds(d)));
    let note = if outcome.note.is_empty() { "" } else { " - " };
    let healed = seconds(outcome.healed);
    format!("{at:>4} {fault}{note}{}{during}; all serve in {healed}", outcome.note)
}

fn as_json(
    fault: &Fault,
    outcome: &Outcome,
    usage: Usage,
    members: i64,
    spaces: bool,
) -> serde_json::Value {
    json!({ "kind": fault.kind(), "fault": fault.to_string(), "note": outcome.note,
        "members": members, "namespaces": spaces,
        "during_s": outcome.during.map(|time| time.as_secs_f32()),
        "healed_s": outcome.healed.as_secs_f32(),
        "resident_bytes": usage.resident_bytes, "descriptors": usage.descriptors,
        "idle_share": usage.idle_share })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_median_and_worst() {
        let times = [3, 1, 2].map(Duration::from_secs);
        assert_eq!(spread(&times), "median 2.00 s, worst 3.00 s");
        assert_eq!(spread(&[]), "-");
    }
}
