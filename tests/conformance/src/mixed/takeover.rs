//! The takeover: servers of one kind replaced by those of another, one after the other, on their
//! own directories, while clients hold sessions, ephemerals, watches and locks; and back.

use std::path::Path;

use anyhow::{Context, Result};

use super::Request;
use super::stage::Stage;
use crate::ensemble::{Kind, Plan, Programs};
use crate::peers::Release;

/// Requests answered between two replacements.
const SOME: usize = 300;

/// From whom to whom: from the first of the members given, or from the releases that an operator
/// is most likely to have.
pub(super) fn pairs(request: &Request, have_ours: bool) -> Vec<(Kind, Kind)> {
    let old = Kind::Apache(Release::V3_8);
    let to = if have_ours { Kind::Oxkeeper } else { old };
    match &request.members {
        Some(mixture) => mixture.voting.iter().take(1).map(|&from| (from, to)).collect(),
        _ if request.quick || !have_ours => vec![(Kind::JAVA, to)],
        _ => [Kind::JAVA, old, Kind::Apache(Release::V3_5)].map(|from| (from, to)).into(),
    }
}

/// Everybody who takes part.
pub(super) fn kinds(request: &Request, have_ours: bool) -> Vec<Kind> {
    pairs(request, have_ours).into_iter().flat_map(|(from, to)| [from, to]).collect()
}

/// Three servers, taken over and given back.
pub(super) fn run(
    programs: &Programs,
    from: Kind,
    to: Kind,
    dir: &Path,
    seed: u64,
    progress: &mut dyn FnMut(&str),
) -> Result<usize> {
    let plan = Plan::new(&[from; 3], dir);
    let mut stage = Stage::open(programs, &plan, &[1, 2, 3], seed)?;
    stage.load.await_progress(SOME)?;
    stage.check().context("before")?;
    for kind in [to, from] {
        progress(&format!("all become {kind}"));
        replace_all(&mut stage, kind).with_context(|| format!("becoming {kind}"))?;
    }
    stage.close()
}

/// Followers first, the leader last, as whoever upgrades an ensemble does.
fn replace_all(stage: &mut Stage, kind: Kind) -> Result<()> {
    let leader = stage.ensemble.await_leader(None)?;
    let mut order = stage.ensemble.participants();
    order.sort_by_key(|&sid| (sid == leader, sid));
    for sid in order {
        let step = || format!("server {sid}");
        stage.let_one_die(sid)?;
        stage.ensemble.stop(sid).with_context(step)?;
        stage.replace(sid, kind)?;
        stage.ensemble.start(sid).with_context(step)?;
        let all = stage.ensemble.running();
        stage.ensemble.await_serving(&all).with_context(step)?;
        stage.load.await_progress(SOME).with_context(step)?;
        stage.check().with_context(step)?;
    }
    Ok(())
}
