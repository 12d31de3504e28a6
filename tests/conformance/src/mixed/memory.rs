//! Observers that keep no log (`syncEnabled=false`), of either make under leaders of either make.
//!
//! They serve like any other, nothing of what they are told is in their log, and they come back
//! clean from an orderly end and from none.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::chapters::SOME;
use super::load::{TOP, create};
use super::stage::Stage;
use super::{Setting, mixture};
use crate::disk::client::Client;
use crate::ensemble::{Ensemble, Mixture, Plan};
use crate::wire::{Request, op};

/// Timeout of the sessions that check, ms.
const TIMEOUT_MS: i32 = 30_000;

pub(super) fn mixtures(quick: bool) -> Vec<Mixture> {
    let all = ["java,ours,java+ours", "ours,java,ours+java"];
    all[..if quick { 1 } else { all.len() }].iter().map(|text| mixture(text)).collect()
}

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    let observing = mixture.observing.context("somebody is to observe")?;
    let plan = Plan::new(&mixture.voting, dir).observer(observing);
    let observer = i64::try_from(plan.members.len())?;
    let starting: Vec<i64> = (1..=observer).collect();
    let mut ensemble = Ensemble::lay_out(setting.programs, &plan)?;
    ensemble.opts_mut(observer)?.config.push(("syncEnabled".into(), "false".into()));
    let mut stage = Stage::around(ensemble, &plan, &starting, setting.seed)?;
    stage.load.await_progress(SOME)?;
    stage.check().context("cold start")?;
    for leader in stage.one_of_each_kind()? {
        stage.ensemble.make_lead(leader)?;
        for killed in [false, true] {
            let what = stage.ensemble.pair(leader, observer)?;
            let how = if killed { "killed" } else { "stopped" };
            (setting.progress)(&format!("{mixture}: {what}, which is {how}"));
            away(&mut stage, observer, killed).context(what)?;
        }
    }
    stage.close()
}

/// Something is served by the observer and is not in its log; it goes, and comes back to what
/// happened meanwhile.
fn away(stage: &mut Stage, observer: i64, killed: bool) -> Result<()> {
    stage.load.await_progress(SOME)?;
    let leader = stage.leader()?;
    let name = format!("not-logged-by-{observer}-{leader}-{killed}");
    let path = format!("{TOP}/{name}");
    let mut client = Client::connect(stage.ensemble.addr(observer)?, TIMEOUT_MS)?;
    let read = Request::Read { op: op::EXISTS, path: Some(path.clone()), watch: false };
    let told = client.ask_all(&[create(&path, "", 0), read.clone()])?;
    ensure!(told.iter().all(|told| told["err"] == 0), "{path}: {told:?}");
    client.close()?;
    ensure!(stage.ensemble.has_logged(leader, &name)?, "its leader has not logged {name}");
    match killed {
        true => stage.ensemble.kill(observer)?,
        false => stage.ensemble.stop(observer)?,
    }
    ensure!(!stage.ensemble.has_logged(observer, &name)?, "it has logged {name}");
    stage.checked();
    stage.load.await_progress(SOME)?;
    let since = Instant::now();
    stage.ensemble.start(observer)?;
    stage.sync_of(observer, since)?;
    stage.await_all()?;
    let mut client = Client::connect(stage.ensemble.addr(observer)?, TIMEOUT_MS)?;
    let told = client.ask(read)?;
    ensure!(told["err"] == 0, "{path} is gone: {told}");
    let remove = Request::PathInt { op: op::DELETE, path: Some(path), number: -1 };
    ensure!(client.ask(remove)?["err"] == 0, "{name} cannot be removed");
    client.close()?;
    stage.checked();
    stage.check()
}
