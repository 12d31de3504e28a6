//! Servers in turns: A, B, limit, A, B, limit, …
//!
//! A shared machine changes its mind from minute to minute. Rounds of a few seconds, interleaved,
//! put every server through the same weather, and the median throws the storms away; what is worth
//! quoting are the ratios.

use anyhow::{Context, Result};

use crate::catalogue::{Kind, Plan};
use crate::figures::Figures;
use crate::progress::Progress;
use crate::report::{ScenarioReport, ServerReport};
use crate::rounds::Stage;
use crate::target::{Role, Target};

/// Measures one scenario on every server that it says something about.
///
/// # Errors
/// When any round fails; what was created is removed first, as far as that still works.
pub fn compare(plan: &Plan, targets: &mut [Target], progress: &Progress) -> Result<ScenarioReport> {
    let mut targets: Vec<&mut Target> = targets
        .iter_mut()
        .filter(|target| target.role != Role::Limit || plan.kind.has_limit())
        .collect();
    let mut stages = Vec::with_capacity(targets.len());
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); targets.len()];
    let measured = measure(plan, &mut targets, &mut stages, &mut rounds, progress);
    // A server whose start was measured holds the load for the next start, and is down now.
    for (stage, target) in stages.iter_mut().zip(&mut targets) {
        let struck = target.up(false).and_then(|()| stage.strike(target));
        if measured.is_ok() {
            struck.with_context(|| format!("tidying up on {}", target.name))?;
        }
    }
    measured?;
    let servers =
        targets.iter().zip(&rounds).map(|(target, rounds)| ServerReport::new(target, rounds));
    Ok(ScenarioReport::new(plan, servers.collect(), notes(plan, &targets)))
}

/// What may have spoilt the figures.
fn notes(plan: &Plan, targets: &[&mut Target]) -> Vec<String> {
    let mut notes = Vec::new();
    for target in targets.iter().filter(|target| target.role != Role::Limit) {
        if plan.kind.needs_fresh_server() && !target.is_managed() {
            notes.push(format!(
                "{} was not started for this: memory it had before hides growth (--cmd)",
                target.name
            ));
        }
        if target.processes().is_empty() {
            notes.push(format!("{}: its process was not found, so no CPU time", target.name));
        }
    }
    notes
}

/// All rounds of all servers.
fn measure<'a>(
    plan: &'a Plan,
    targets: &mut [&mut Target],
    stages: &mut Vec<Stage<'a>>,
    rounds: &mut [Vec<Figures>],
    progress: &'a Progress,
) -> Result<()> {
    for target in targets.iter_mut() {
        if plan.kind != Kind::Start {
            target.up(plan.kind.needs_fresh_server())?;
        }
        progress.say(&format!("{} · {} · preparing", plan.name, target.name));
        let stage = Stage::set(plan, target, progress)
            .with_context(|| format!("preparing {} on {}", plan.name, target.name))?;
        stages.push(stage);
    }
    for round in 0..plan.rounds {
        for ((target, stage), rounds) in targets.iter_mut().zip(&mut *stages).zip(&mut *rounds) {
            if round > 0 && plan.kind.needs_fresh_server() {
                target.up(true)?;
            }
            // What other servers left for the disk to write is not this one's to wait for.
            rustix::fs::sync();
            let number = round + 1;
            let label = format!("{} · {} · {number}/{}", plan.name, target.name, plan.rounds);
            progress.say(&label);
            let figures = stage
                .round(target, &label)
                .with_context(|| format!("measuring {} on {}", plan.name, target.name))?;
            rounds.push(figures);
        }
    }
    Ok(())
}
