//! Any two servers, and any two lives of one, have applied the same transactions in the same order,
//! as far as both have got; and none is left out (`PrefixConsistency`).

use std::collections::BTreeMap;

use super::Case;
use crate::history::Applied;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut known: BTreeMap<_, Applied> = BTreeMap::new();
    let mut last: BTreeMap<(usize, u64), Applied> = BTreeMap::new();
    for applied in &case.history.applied {
        let first = *known.entry(applied.zxid).or_insert(*applied);
        if first.hash != applied.hash {
            breaches.push(format!("{first:?} and {applied:?} are not the same"));
        }
        let before = last.insert((applied.server, applied.life), *applied);
        if before.is_some_and(|before| before.zxid.next() != applied.zxid) {
            breaches.push(format!("{applied:?} follows {before:?}"));
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
