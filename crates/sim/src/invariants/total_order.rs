//! Any two servers that serve two transactions both serve them in the same order, and no server
//! serves one twice (`TotalOrder`). Zxids are that order.

use std::collections::BTreeMap;

use super::Case;
use crate::history::Applied;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut last: BTreeMap<(usize, u64), Applied> = BTreeMap::new();
    for applied in case.history.applied.iter().filter(|applied| applied.served) {
        let before = last.insert((applied.server, applied.stint), *applied);
        if before.is_some_and(|before| before.zxid >= applied.zxid) {
            breaches.push(format!("{applied:?} is served after {before:?}"));
        }
    }
    breaches
}
