//! Ensembles of Apache's servers and ours, under load and under attack.
//!
//! A *story* starts the members given, lets clients loose on them ([`load`]), and then tells its
//! chapters: members are killed, frozen, wiped, cut off, replaced. After each chapter
//! (`stage`) all members must serve the same tree, and what the clients were told must be true.
//!
//! ```text
//! cargo xtask conformance mixed                            # every mixture of three, and more
//! cargo xtask conformance mixed --quick                    # what every change runs
//! cargo xtask conformance mixed --members java,ours,ours   # one mixture, all chapters
//! cargo xtask conformance mixed --members ours,3.8,3.8 --scenario leader-killed
//! cargo xtask conformance mixed --members java,java,java+ours --scenario storm --seed 7
//! cargo xtask conformance mixed --members 3.7 --scenario takeover
//! ```

mod alone;
mod chapters;
mod groups;
pub mod load;
mod local_sessions;
mod masters;
mod memory;
mod moves;
mod reconfiguration;
mod refusals;
mod rolling;
mod rollover;
pub(crate) mod stage;
mod storm;
mod syncs;
mod takeover;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::Findings;
use crate::ensemble::{KNOWN_FAULT, Kind, Mixture, Plan, Programs};
use crate::peers::{Peers, Release};
use chapters::{CHAPTERS, Chapter};
use stage::Stage;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Request {
    /// One mixture instead of all.
    pub members: Option<Mixture>,
    /// One chapter or story instead of all.
    pub scenario: Option<String>,
    /// The selection that every change runs.
    pub quick: bool,
    /// Decides what the clients do.
    pub seed: u64,
}

/// A mixture and what is done with it.
struct Story {
    mixture: Mixture,
    chapters: Vec<Chapter>,
}

/// What a scenario with an ensemble of its own is told in.
struct Setting<'a> {
    programs: &'a Programs,
    seed: u64,
    progress: &'a mut dyn FnMut(&str),
}

/// A scenario that needs an ensemble of its own.
#[derive(Clone, Copy)]
struct Tale {
    /// Its name on the command line.
    name: &'static str,
    /// Part of the short selection.
    quick: bool,
    /// The mixtures that it is told with, of which the first may have to do.
    mixtures: fn(quick: bool) -> Vec<Mixture>,
    /// The number of its checks.
    run: fn(&mut Setting<'_>, &Mixture, &Path) -> Result<usize>,
}

const TALES: [Tale; 11] = [
    Tale { name: "sync-modes", quick: false, mixtures: syncs::mixtures, run: syncs::run },
    Tale { name: "rolling-restart", quick: false, mixtures: rolling::mixtures, run: rolling::run },
    Tale { name: "rollover", quick: true, mixtures: rollover::mixtures, run: rollover::run },
    Tale { name: "observer-masters", quick: false, mixtures: masters::mixtures, run: masters::run },
    Tale {
        name: "local-sessions",
        quick: false,
        mixtures: local_sessions::mixtures,
        run: local_sessions::run,
    },
    Tale { name: "groups", quick: false, mixtures: groups::mixtures, run: groups::run },
    Tale { name: "refusals", quick: false, mixtures: refusals::mixtures, run: refusals::run },
    Tale { name: "moves", quick: true, mixtures: moves::mixtures, run: moves::run },
    Tale {
        name: "observer-without-log",
        quick: false,
        mixtures: memory::mixtures,
        run: memory::run,
    },
    Tale { name: "read-only", quick: false, mixtures: alone::mixtures, run: alone::read_only },
    Tale {
        name: "addresses",
        quick: false,
        mixtures: alone::mixtures_of_addresses,
        run: alone::addresses,
    },
];

impl Tale {
    /// Which mixtures are to be told of.
    fn wanted(self, request: &Request, have_ours: bool) -> Vec<Mixture> {
        let only = request.scenario.as_deref();
        let among_others = only.is_none() && request.members.is_none();
        if only != Some(self.name) && (!among_others || (request.quick && !self.quick)) {
            return Vec::new();
        }
        match &request.members {
            Some(mixture) => vec![mixture.clone()],
            None => {
                let mut mixtures = (self.mixtures)(request.quick);
                if !have_ours {
                    mixtures.truncate(1);
                    mixtures.iter_mut().for_each(Mixture::without_ours);
                }
                mixtures
            }
        }
    }
}

/// A mixture that is written here.
fn mixture(text: &str) -> Mixture {
    text.parse().expect("the mixtures of the tales are well formed")
}

/// A scenario that is not a chapter: servers replaced on their directories.
const TAKEOVER: &str = "takeover";
/// Another: servers replaced by others that join.
const RECONFIGURATION: &str = "reconfiguration";

/// How often a story is told that ends by a fault of Apache's which is known and mended.
const TELLINGS: u64 = 3;

/// Runs what is asked for. A story that fails ends, the others go on.
///
/// # Errors
/// When nothing can be run at all.
pub fn run(
    peers: &Peers,
    oxkeeper: Option<PathBuf>,
    request: &Request,
    dir: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let wanted = |name: &str| request.scenario.as_deref().is_none_or(|only| only == name);
    let names = CHAPTERS.iter().map(|chapter| chapter.name).chain([TAKEOVER, RECONFIGURATION]);
    let names = names.chain(TALES.iter().map(|tale| tale.name));
    let known = names.clone().any(wanted);
    ensure!(known, "the scenarios are {}", names.collect::<Vec<_>>().join(", "));
    let stories = stories(request, oxkeeper.is_some());
    let tales = TALES.map(|tale| (tale, tale.wanted(request, oxkeeper.is_some())));
    let mixtures = stories.iter().map(|story| &story.mixture);
    let mixtures = mixtures.chain(tales.iter().flat_map(|(_, mixtures)| mixtures));
    let kinds = mixtures.flat_map(|mixture| mixture.voting.iter().chain(&mixture.observing));
    let kinds = kinds.copied().chain(takeover::kinds(request, oxkeeper.is_some()));
    // The reconfiguration begins and ends with Java's.
    let kinds = kinds.chain([Kind::JAVA]);
    let programs = Programs::fetch(peers, kinds, oxkeeper.clone(), progress)?;
    let mut findings = Findings::default();
    let mut note = |name: &str, told: Result<usize>| match told {
        Ok(checks) => findings.checks += checks,
        Err(error) => findings.errors.push(format!("{name}: {error:#}")),
    };
    for (at, story) in stories.iter().enumerate() {
        let dir = dir.join(format!("story-{at}"));
        let mut told = tell(story, &programs, &dir, request.seed, progress);
        for again in 1..TELLINGS {
            let Err(error) = &told else { break };
            let why = format!("{error:#}");
            if !why.contains(KNOWN_FAULT) {
                break;
            }
            progress(&format!("{}, told again: {why}", story.mixture));
            let dir = dir.with_extension(again.to_string());
            told = tell(story, &programs, &dir, request.seed + again, progress);
        }
        note(&story.mixture.to_string(), told);
    }
    for (tale, mixtures) in &tales {
        for (at, mixture) in mixtures.iter().enumerate() {
            let name = format!("{}: {mixture}", tale.name);
            progress(&name);
            let dir = dir.join(format!("{}-{at}", tale.name));
            let mut setting = Setting { programs: &programs, seed: request.seed, progress };
            note(&name, (tale.run)(&mut setting, mixture, &dir));
        }
    }
    let of_one_mixture = request.members.is_some() && request.scenario.is_none();
    if wanted(TAKEOVER) && !of_one_mixture {
        for (at, (from, to)) in takeover::pairs(request, oxkeeper.is_some()).iter().enumerate() {
            let name = format!("takeover from {from} to {to} and back");
            progress(&name);
            let dir = dir.join(format!("takeover-{at}"));
            note(&name, takeover::run(&programs, *from, *to, &dir, request.seed, progress));
        }
    }
    let left_out = of_one_mixture || (request.quick && request.scenario.is_none());
    if wanted(RECONFIGURATION) && !left_out {
        let to = if oxkeeper.is_some() { Kind::Oxkeeper } else { Kind::Apache(Release::V3_8) };
        progress(RECONFIGURATION);
        let dir = dir.join(RECONFIGURATION);
        let seed = request.seed;
        let told = reconfiguration::run(&programs, Kind::JAVA, to, &dir, seed, progress);
        note(RECONFIGURATION, told);
    }
    Ok(findings)
}

/// The mixtures of a run.
fn stories(request: &Request, have_ours: bool) -> Vec<Story> {
    let chapters: Vec<Chapter> = CHAPTERS
        .into_iter()
        .filter(|chapter| chapter.quick || !request.quick || request.scenario.is_some())
        .filter(|chapter| request.scenario.as_deref().is_none_or(|only| only == chapter.name))
        .collect();
    if chapters.is_empty() {
        return Vec::new();
    }
    let (java, ours) = (Kind::JAVA, if have_ours { Kind::Oxkeeper } else { Kind::JAVA });
    let mixture = |voting: &[Kind], observing| Mixture { voting: voting.to_vec(), observing };
    let mut stories = Vec::new();
    match &request.members {
        Some(mixture) => stories.push(Story { mixture: mixture.clone(), chapters }),
        None if request.quick => {
            stories.push(Story { mixture: mixture(&[java, java, ours], Some(ours)), chapters });
        }
        None => {
            for mixture in [
                mixture(&[java, java, ours], Some(ours)),
                mixture(&[ours, java, java], Some(java)),
                mixture(&[java, ours, ours], Some(java)),
                mixture(&[ours, ours, java], Some(ours)),
                mixture(&[ours, ours, ours], Some(java)),
                mixture(&[java, java, java], Some(ours)),
                mixture(&[java, ours, java, ours, java], None),
            ] {
                stories.push(Story { mixture, chapters: chapters.clone() });
            }
            // The older releases; of those that are no longer maintained, the beginnings.
            let few = [
                "forwarding",
                "follower-diff-memory",
                "follower-wiped",
                "follower-frozen",
                "follower-cut",
                "leader-killed",
            ];
            for release in Release::ALL.into_iter().filter(|&release| release != Release::V3_9) {
                // A follower of 3.5 that is cut off logs what came before beside what comes after
                // (see `ensemble::breaks`), and may serve another tree than its leader.
                let cut = |c: &Chapter| c.name == "follower-cut" && release == Release::V3_5;
                let wanted = |c: &Chapter| few.contains(&c.name) || release == Release::V3_8;
                let of_interest = |c: &Chapter| wanted(c) && !cut(c);
                let old = Kind::Apache(release);
                stories.push(Story {
                    mixture: mixture(&[old, ours, old], None),
                    chapters: chapters.iter().copied().filter(of_interest).collect(),
                });
            }
        }
    }
    stories
}

/// Tells one story; the number of its checks.
fn tell(
    story: &Story,
    programs: &Programs,
    dir: &Path,
    seed: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<usize> {
    let Story { mixture, chapters } = story;
    progress(&format!("{mixture}: cold start"));
    let mut plan = plan(&mixture.voting, dir);
    if let Some(kind) = mixture.observing {
        plan = plan.observer(kind);
    }
    let starting: Vec<i64> = (1..).zip(&mixture.voting).map(|(sid, _)| sid).collect();
    let mut stage = Stage::open(programs, &plan, &starting, seed).context("cold start")?;
    stage.load.await_progress(500)?;
    stage.check().context("cold start")?;
    if mixture.observing.is_some() {
        progress(&format!("{mixture}: observer"));
        chapters::observer_joins(&mut stage).context("observer")?;
        stage.check().context("observer")?;
    }
    for chapter in chapters {
        progress(&format!("{mixture}: {}", chapter.name));
        (chapter.run)(&mut stage).context(chapter.name)?;
        stage.check().with_context(|| format!("after {}", chapter.name))?;
    }
    stage.close().context("at the end")
}

fn plan(members: &[Kind], dir: &Path) -> Plan {
    Plan::new(members, dir)
        // A log of any length may be read for a learner.
        .property("zookeeper.snapshotSizeFactor", "0")
}
