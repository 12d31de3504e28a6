//! The takeover by reconfiguration: servers of another kind join as observers, are promoted, and
//! then old ones are removed, under load; and back. No member ever leaves before another has come,
//! so that the ensemble bears a failure at any time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::refusals::text_of;
use super::stage::Stage;
use crate::disk::client::Client;
use crate::ensemble::{Ensemble, Kind, Mode, PATIENCE, Plan, Programs, Role};
use crate::wire::Request;

/// Requests answered between two steps.
const SOME: usize = 150;
/// Timeout of the superuser's session, ms.
const TIMEOUT_MS: i32 = 20_000;
/// `KeeperException.Code` of what passes: NEWCONFIGNOQUORUM, RECONFIGINPROGRESS.
pub(super) const NOT_NOW: [i64; 2] = [-13, -14];

/// An incremental reconfiguration, whatever the version in force.
pub(super) fn change(joining: &Option<String>, leaving: &Option<String>) -> Request {
    let (joining, leaving) = (joining.clone(), leaving.clone());
    Request::Reconfig { joining, leaving, members: None, config_id: -1 }
}

/// Three servers, replaced by three that join, and those by three like the first.
pub(super) fn run(
    programs: &Programs,
    from: Kind,
    to: Kind,
    dir: &Path,
    seed: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<usize> {
    let plan = Plan::new(&[from; 3], dir).reconfigurable(&[to, to, to, from, from, from]);
    let mut stage = Stage::open(programs, &plan, &[1, 2, 3], seed)?;
    stage.load.await_progress(SOME)?;
    stage.check().context("before")?;
    let mut joining = 4..;
    for kind in [to, from] {
        progress(&format!("all are replaced by {kind}"));
        let leader = stage.ensemble.await_leader(None)?;
        let mut leaving = stage.ensemble.running();
        leaving.sort_by_key(|&sid| (sid == leader, sid));
        for (old, new) in leaving.into_iter().zip(joining.by_ref()) {
            replace(&mut stage, old, new).with_context(|| format!("{old} by {new}, {kind}"))?;
        }
    }
    stage.close()
}

/// One joins, one leaves.
fn replace(stage: &mut Stage, old: i64, new: i64) -> Result<()> {
    stage.ensemble.invite(new)?;
    stage.ensemble.start(new)?;
    // A server that is in no configuration says that it follows, and has no vote.
    let what = format!("server {new} is synchronised");
    stage.ensemble.await_that(&what, |ensemble| ensemble.mode(new))?;
    let joining = stage.ensemble.join_as(new, Role::Observer)?;
    reconfigure(stage, Some(joining), None).context("joining as an observer")?;
    await_mode(&mut stage.ensemble, new, Mode::Observer)?;
    stage.load.await_progress(SOME)?;
    let promoted = stage.ensemble.join_as(new, Role::Participant)?;
    reconfigure(stage, Some(promoted), None).context("promoting")?;
    await_mode(&mut stage.ensemble, new, Mode::Follower)?;
    stage.load.await_progress(SOME)?;
    reconfigure(stage, None, Some(old.to_string())).context("removing")?;
    stage.ensemble.stop(old)?;
    let all = stage.ensemble.running();
    stage.ensemble.await_serving(&all)?;
    check_members(stage, &all)?;
    stage.load.await_progress(SOME)?;
    stage.check()
}

fn await_mode(ensemble: &mut Ensemble, sid: i64, mode: Mode) -> Result<()> {
    let what = format!("server {sid} is {mode:?}");
    ensemble.await_that(&what, |ensemble| (ensemble.mode(sid) == Some(mode)).then_some(()))
}

/// Asks until it is done. An answer may be lost with the connection: what is already so is done.
fn reconfigure(stage: &mut Stage, joining: Option<String>, leaving: Option<String>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let addrs = stage.ensemble.addrs();
    for addr in addrs.iter().cycle() {
        ensure!(Instant::now() < deadline, "{joining:?} {leaving:?} is never done");
        stage.load.check()?;
        let Ok(mut client) = Client::superuser(*addr, TIMEOUT_MS) else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let Ok(answer) = client.ask(change(&joining, &leaving)) else { continue };
        match answer["err"].as_i64() {
            Some(0) => {
                stage.checked();
                // Whoever was asked may be the one that leaves.
                client.close().ok();
                return said(&answer, joining.as_deref(), leaving.as_deref());
            }
            Some(code) if NOT_NOW.contains(&code) => {
                client.close().ok();
                std::thread::sleep(Duration::from_millis(50));
            }
            _ => bail!("{joining:?} {leaving:?} is refused: {answer}"),
        }
    }
    Ok(())
}

/// The answer tells the configuration that was made.
fn said(answer: &serde_json::Value, joining: Option<&str>, leaving: Option<&str>) -> Result<()> {
    let text = text_of(&answer["data"])?;
    if let Some(joining) = joining {
        ensure!(text.lines().any(|line| line == joining), "{joining} is not in\n{text}");
    }
    if let Some(leaving) = leaving {
        let left = format!("server.{leaving}=");
        ensure!(!text.lines().any(|line| line.starts_with(&left)), "{leaving} is still in\n{text}");
    }
    Ok(())
}

/// Every member's own file lists exactly these: the dynamic one that `zoo.cfg` names.
fn check_members(stage: &mut Stage, all: &[i64]) -> Result<()> {
    let ensemble = &mut stage.ensemble;
    ensemble.await_that("the files of all members follow", |ensemble| {
        let mut good = true;
        for &sid in all {
            let mut listed = ensemble.listed(sid).ok()?;
            listed.sort_unstable();
            good &= listed == all;
        }
        good.then_some(())
    })?;
    stage.checked();
    Ok(())
}
