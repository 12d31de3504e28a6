//! Any two servers, and any two lives of one, have served the same transactions in the same order,
//! as far as both have got; and none is left out (`PrefixConsistency`).

use std::collections::BTreeMap;

use super::Case;
use crate::history::Applied;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut known: BTreeMap<_, Applied> = BTreeMap::new();
    let mut last: BTreeMap<(usize, u64), Applied> = BTreeMap::new();
    let chains = &case.truth.chains;
    for applied in &case.history.applied {
        let before = last.insert((applied.server, applied.stint), *applied);
        let follows = |before: Applied| {
            before.zxid.next() == applied.zxid
                || (before.zxid.epoch() < applied.zxid.epoch() && applied.zxid.counter() == 1)
        };
        if before.is_some_and(|before| !follows(before)) {
            breaches.push(format!("{applied:?} follows {before:?}"));
        }
        if !applied.served {
            continue;
        }
        let first = *known.entry(applied.zxid).or_insert(*applied);
        if first.hash != applied.hash {
            breaches.push(format!("{first:?} and {applied:?} are not the same"));
        } else if !chains.contains(&applied.chain) {
            breaches.push(format!("{applied:?} is not on the way to where all are in the end"));
        }
    }
    for served in &case.history.served {
        if !chains.contains(&served.chain) {
            breaches.push(format!("{served:?} is not on the way to where all are in the end"));
        }
    }
    for entry in case.ledger {
        let applied = known.get(&entry.zxid);
        if applied.is_some_and(|applied| applied.hash != entry.hash) {
            breaches.push(format!("{applied:?} is not what the log has there: {entry:?}"));
        }
    }
    breaches
}
