//! Hierarchical quorums: groups and weights decide who is enough, the same for either make.
//!
//! Of five members three are one group and the others one each. So two can be enough, those that
//! are alone in their groups, and three can be too few, those of the one group. A plain majority
//! would have it the other way round.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::chapters::SOME;
use super::stage::Stage;
use super::{Setting, mixture};
use crate::ensemble::{Mixture, Plan};

/// How long those that are too few are watched: several elections.
const WATCHED: Duration = Duration::from_secs(4);

pub(super) fn mixtures(_quick: bool) -> Vec<Mixture> {
    ["java,ours,java,ours,java", "ours,java,ours,java,ours"].map(mixture).into()
}

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    ensure!(mixture.voting.len() == 5, "groups of five members");
    let plan = Plan::new(&mixture.voting, dir)
        .config("group.1", "1:2:3")
        .config("group.2", "4")
        .config("group.3", "5")
        .config("weight.1", "1")
        .config("weight.2", "1")
        .config("weight.3", "0")
        .config("weight.4", "1")
        .config("weight.5", "1");
    let mut stage = Stage::open(setting.programs, &plan, &[1, 2, 3, 4, 5], setting.seed)?;
    stage.load.await_progress(SOME)?;
    stage.check().context("cold start")?;
    // Two of three groups, each time; of the first, 1 and 2 are both needed, and 3 is nothing.
    let enough: [&[i64]; 4] = [&[1, 2], &[1, 2, 3], &[3, 4], &[3, 5]];
    for killed in enough {
        (setting.progress)(&format!("{mixture}: without {killed:?}"));
        without(&mut stage, killed).with_context(|| format!("without {killed:?}"))?;
    }
    let too_few: [(&[i64], i64); 3] = [(&[4, 5], 4), (&[1, 4], 4), (&[2, 5], 5)];
    for (killed, saviour) in too_few {
        (setting.progress)(&format!("{mixture}: nobody serves without {killed:?}"));
        let told = too_many(&mut stage, killed, saviour);
        told.with_context(|| format!("nobody serves without {killed:?}"))?;
    }
    stage.close()
}

/// Whoever is left goes on.
fn without(stage: &mut Stage, killed: &[i64]) -> Result<()> {
    killed.iter().try_for_each(|&sid| stage.ensemble.kill(sid))?;
    let left = stage.ensemble.running();
    stage.ensemble.await_serving(&left)?;
    stage.load.await_progress(SOME)?;
    killed.iter().try_for_each(|&sid| stage.ensemble.start(sid))?;
    stage.await_all()?;
    stage.load.await_progress(SOME)?;
    stage.check()
}

/// Those that are left serve nobody, however long; with one more of the right group they do.
fn too_many(stage: &mut Stage, killed: &[i64], saviour: i64) -> Result<()> {
    killed.iter().try_for_each(|&sid| stage.ensemble.kill(sid))?;
    let left = stage.ensemble.running();
    stage.ensemble.await_that("those that are too few give up", |ensemble| {
        left.iter().all(|&sid| ensemble.mode(sid).is_none()).then_some(())
    })?;
    let began = Instant::now();
    while began.elapsed() < WATCHED {
        for &sid in &left {
            let mode = stage.ensemble.mode(sid);
            ensure!(mode.is_none(), "server {sid} of {left:?} is {mode:?}");
        }
        stage.checked();
        std::thread::sleep(Duration::from_millis(100));
    }
    stage.ensemble.start(saviour)?;
    let enough = stage.ensemble.running();
    stage.ensemble.await_serving(&enough)?;
    stage.load.await_progress(SOME)?;
    for &sid in killed.iter().filter(|&&sid| sid != saviour) {
        stage.ensemble.start(sid)?;
    }
    stage.await_all()?;
    stage.check()
}
