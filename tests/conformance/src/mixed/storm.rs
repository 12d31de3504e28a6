//! Faults at random, one on top of the other, from a seed.
//!
//! A round breaks one member in one of the ways that the chapters know, for a moment or for some
//! seconds; one in three is left broken while the next begins. So quorums are lost, leaders die
//! while they synchronise, and whoever comes back finds the wires cut. After some rounds everything
//! is mended, and everything must agree.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::stage::Stage;
use crate::differential::rng::Rng;
use crate::ensemble::Flow;

/// Rounds between two moments of peace.
const ROUNDS: usize = 6;
/// Moments of peace in a storm.
const PEACES: usize = 3;
/// Requests answered in peace.
const SOME: usize = 150;
/// The longest that a fault is left alone, ms.
const FAULT_MS_MAX: usize = 5_000;

/// What is wrong with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
    Frozen,
    /// Nothing comes and nothing goes.
    Held,
    /// Connections break.
    Cut,
    /// Nothing that it says is heard.
    Mute,
    /// It hears nothing.
    Deaf,
}

const FAULTS: [(usize, Fault); 7] = [
    (5, Fault::Killed),
    (2, Fault::Stopped),
    (3, Fault::Frozen),
    (2, Fault::Held),
    (3, Fault::Cut),
    (1, Fault::Mute),
    (1, Fault::Deaf),
];

/// A storm, its moments of peace included.
pub(super) fn run(stage: &mut Stage) -> Result<()> {
    let mut rng = Rng::new(stage.seed());
    for _ in 0..PEACES {
        let mut broken = BTreeMap::new();
        let mut told = Vec::new();
        for _ in 0..ROUNDS {
            let sid = *rng.pick(&stage.ensemble.sids());
            let fault = rng.weighted(&FAULTS);
            let lasting = rng.below(FAULT_MS_MAX);
            told.push(format!("{sid} {fault:?} for {lasting} ms"));
            if broken.contains_key(&sid) {
                continue;
            }
            act(stage, sid, fault).with_context(|| told.join(", "))?;
            broken.insert(sid, fault);
            // How long a fault lasts is what the storm is made of.
            std::thread::sleep(Duration::from_millis(u64::try_from(lasting)?));
            if rng.chance(66) {
                let (sid, fault) = broken.pop_first().context("just broken")?;
                mend(stage, sid, fault).with_context(|| told.join(", "))?;
            }
        }
        for (sid, fault) in broken {
            mend(stage, sid, fault).with_context(|| told.join(", "))?;
        }
        peace(stage).with_context(|| told.join(", "))?;
    }
    Ok(())
}

fn peace(stage: &mut Stage) -> Result<()> {
    let all = stage.ensemble.sids();
    stage.ensemble.await_serving(&all)?;
    stage.load.await_progress(SOME)?;
    stage.check()
}

fn act(stage: &mut Stage, sid: i64, fault: Fault) -> Result<()> {
    match fault {
        Fault::Killed => stage.ensemble.kill(sid),
        Fault::Stopped => stage.ensemble.stop(sid),
        Fault::Frozen => stage.ensemble.freeze(sid),
        Fault::Held | Fault::Cut | Fault::Mute | Fault::Deaf => wires(stage, sid, fault, false),
    }
}

fn mend(stage: &mut Stage, sid: i64, fault: Fault) -> Result<()> {
    match fault {
        Fault::Killed | Fault::Stopped => stage.ensemble.start(sid),
        Fault::Frozen => stage.ensemble.thaw(sid),
        Fault::Held | Fault::Cut | Fault::Mute | Fault::Deaf => wires(stage, sid, fault, true),
    }
}

fn wires(stage: &mut Stage, sid: i64, fault: Fault, whole: bool) -> Result<()> {
    let broken = if fault == Fault::Cut { Flow::Cut } else { Flow::Held };
    let flow = if whole { Flow::Open } else { broken };
    let wires = stage.ensemble.wires()?;
    for other in stage.ensemble.sids().into_iter().filter(|&other| other != sid) {
        if fault != Fault::Deaf {
            wires.set(sid, other, flow);
        }
        if fault != Fault::Mute {
            wires.set(other, sid, flow);
        }
    }
    Ok(())
}
