//! If one server serves a transaction and another serves another one, either of them has the
//! other's, too, or will: of any two histories that are served one is a beginning of the other
//! (`Agreement`).

use std::collections::BTreeMap;

use oxkeeper_proto::Zxid;

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    // What a place in the order stands for, by everything up to it: one thing alone.
    let mut known: BTreeMap<Zxid, (u64, usize)> = BTreeMap::new();
    for applied in case.history.applied.iter().filter(|applied| applied.served) {
        let (chain, server) = (applied.chain, applied.server);
        let first = *known.entry(applied.zxid).or_insert((chain, server));
        if first.0 != chain {
            let zxid = applied.zxid;
            breaches.push(format!("servers {} and {server} differ up to {zxid}", first.1));
        }
    }
    breaches
}
