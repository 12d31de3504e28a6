//! What a leader of an earlier epoch proposed is served before anything of a later one
//! (`GlobalPrimaryOrder`).

use std::collections::BTreeMap;

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut epochs: BTreeMap<(usize, u64), u32> = BTreeMap::new();
    for applied in &case.history.applied {
        let epoch = applied.zxid.epoch();
        let before = epochs.insert((applied.server, applied.stint), epoch);
        if before.is_some_and(|before| before > epoch) {
            breaches.push(format!("{applied:?} comes after something of epoch {before:?}"));
        }
    }
    breaches
}
