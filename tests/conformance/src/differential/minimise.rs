//! From a long sequence that shows a difference to a short one that still does.
//!
//! Every attempt needs two fresh servers, so attempts are few: steps are left out in halves, then
//! quarters and so on, and what still ends in a difference is kept. Steps name connections and
//! sessions, not positions, so a sequence with gaps is a sequence.

use std::time::Instant;

use anyhow::Result;

use super::step::Step;
use super::{Difference, Pair, Plan};

/// Thins out the steps of `found` for as long as the plan allows.
///
/// # Errors
/// When a server cannot be started.
pub fn minimise(
    plan: &Plan,
    found: Difference,
    progress: &mut dyn FnMut(&str),
) -> Result<Difference> {
    let after_ops = found.after_ops;
    let deadline = Instant::now() + plan.minimise;
    let mut best = found;
    let mut chunk = best.steps.len() / 2;
    while chunk > 0 && Instant::now() < deadline {
        let mut from = 0;
        while from < best.steps.len().saturating_sub(1) && Instant::now() < deadline {
            let to = (from + chunk).min(best.steps.len() - 1);
            let mut steps = best.steps.clone();
            steps.drain(from..to);
            progress(&format!("{} steps show it; trying {}", best.steps.len(), steps.len()));
            match attempt(plan, &steps)? {
                Some(shorter) => best = shorter,
                None => from = to,
            }
        }
        chunk = chunk.min(best.steps.len()) / 2;
    }
    Ok(Difference { after_ops, ..best })
}

/// The difference that `steps` lead to, if they do. A sequence that the oracle does not get through
/// shows nothing.
fn attempt(plan: &Plan, steps: &[Step]) -> Result<Option<Difference>> {
    let mut pair = Pair::start(plan)?;
    let mut seen = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let (oracle, examined) = pair.perform(step);
        let Ok(oracle) = oracle else { return Ok(None) };
        let equal = examined.as_ref().is_ok_and(|examined| *examined == oracle);
        seen.push(oracle);
        if !equal {
            return Ok(Some(Difference {
                after_ops: 0,
                steps: steps[..=at].to_vec(),
                oracle: seen,
                examined: examined.map_err(|error| format!("{error:#}")),
            }));
        }
    }
    Ok(None)
}
