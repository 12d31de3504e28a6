//! What a leader proposes in its epoch is served in the order in which it proposed it, with nothing
//! of it left out (`LocalPrimaryOrder`).

use std::collections::BTreeMap;

use oxkeeper_proto::Zxid;

use super::Case;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut proposed: BTreeMap<u32, Vec<(Zxid, u64)>> = BTreeMap::new();
    for proposal in &case.history.proposals {
        let of_epoch = proposed.entry(proposal.epoch).or_default();
        if of_epoch.last().is_some_and(|(last, _)| *last >= proposal.zxid) {
            breaches.push(format!("{proposal:?} does not follow {:?}", of_epoch.last()));
        }
        if proposal.zxid.epoch() != proposal.epoch {
            breaches.push(format!("{proposal:?} is of another epoch than its leader's"));
        }
        of_epoch.push((proposal.zxid, proposal.hash));
    }
    let mut served: BTreeMap<u32, Vec<(Zxid, u64)>> = BTreeMap::new();
    for entry in case.ledger {
        served.entry(entry.zxid.epoch()).or_default().push((entry.zxid, entry.hash));
    }
    for (epoch, served) in served.iter().filter(|(epoch, _)| proposed.contains_key(epoch)) {
        // All of them, up to the last that is served.
        if !proposed[epoch].starts_with(served) {
            breaches.push(format!("of epoch {epoch} {} are served, not as proposed", served.len()));
        }
    }
    breaches
}
