//! At equal zxids all servers hold the same: their digests are equal, equal to the model's, and
//! whenever a server is looked at as a whole, everything that it holds is what it should hold.

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = case.truth.differences.clone();
    let chains = &case.truth.chains;
    for applied in &case.history.applied {
        // What was never committed is nobody's business.
        if !chains.contains(&applied.chain) {
            continue;
        }
        let Some(step) = case.truth.step(applied.zxid) else { continue };
        if step.digest != applied.digest {
            breaches.push(format!("{applied:?}, but the digest there is {}", step.digest));
            // Everything after it differs as well.
            break;
        }
    }
    for holding in &case.history.holdings {
        let step = case.truth.step(holding.zxid).filter(|_| chains.contains(&holding.chain));
        if step.is_some_and(|step| step.digest != holding.digest) {
            let (server, life, zxid) = (holding.server, holding.life, holding.zxid);
            breaches.push(format!("server {server}, life {life} at {zxid} keeps another digest"));
        }
    }
    breaches
}
