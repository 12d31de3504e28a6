//! Before a leader proposes anything in its epoch, it has everything of earlier epochs that any
//! server ever serves (`PrimaryIntegrity`); and an epoch has one leader.

use std::collections::BTreeMap;

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut leaders: BTreeMap<u32, usize> = BTreeMap::new();
    for proposal in &case.history.proposals {
        let leader = *leaders.entry(proposal.epoch).or_insert(proposal.server);
        if leader != proposal.server {
            breaches.push(format!("{proposal:?}, and server {leader} led that epoch before"));
        }
        if proposal.zxid.counter() != 1 {
            continue;
        }
        let earlier = case.ledger.partition_point(|entry| entry.zxid.epoch() < proposal.epoch);
        let last = earlier.checked_sub(1).map(|at| &case.ledger[at]);
        let (chain, zxid) = last.map_or((0, None), |entry| (entry.chain, Some(entry.zxid)));
        if proposal.behind != chain {
            breaches.push(format!("{proposal:?} has not all of earlier epochs, up to {zxid:?}"));
        }
    }
    breaches
}
