//! Ephemerals die with their session, and only then.
//!
//! That a session's end takes them along, and nothing else does but a delete, the comparison with
//! the model shows; here it is about the sessions. None ends unasked before its server has heard
//! nothing of it for the whole of its timeout. In the calm none lives on for more than a tick
//! beyond. And in the end there are those whose clients are still there, with no ephemeral that
//! belongs to any other.

use std::collections::{BTreeMap, BTreeSet};

use oxkeeper_proto::SessionId;
use oxkeeper_tree::EphemeralType;

use super::Case;
use crate::agenda::MS;
use crate::history::{Kind, NOTICED};
use crate::model::OWNERS;

/// Within this time after the storm an ensemble has its leader.
const SETTLED: u64 = 10_000 * MS;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut timeouts = BTreeMap::new();
    for entry in case.ledger {
        match entry.kind {
            Kind::Begin { timeout_ms } => {
                timeouts.insert(entry.session, timeout_ms as u64 * MS);
            }
            Kind::Expiry { silent } => {
                let timeout = timeouts.get(&entry.session).copied().unwrap_or_default();
                let calm = case.history.calm_from;
                // Whoever has looked for a leader until then tells it late whom it had heard of.
                let settled = if case.history.members == 1 { calm } else { calm + SETTLED };
                let undisturbed = entry.at - silent > settled;
                // What a learner hears it tells its leader every half tick; whether the leader
                // hears of it in a storm nobody can say.
                let (late, hears) = match case.history.members {
                    1 => (0, true),
                    _ => (case.history.tick, entry.at > calm + SETTLED + timeout),
                };
                // On a connection that its session has just left a server may still read something.
                if hears && silent + NOTICED + late < timeout {
                    breaches.push(format!("{entry:?}: silent for less than {timeout} us"));
                }
                if undisturbed && silent > timeout + case.history.tick + NOTICED + late {
                    breaches.push(format!("{entry:?}: should have ended after {timeout} us"));
                }
            }
            Kind::Request | Kind::Reconfig | Kind::Reap(_) | Kind::Nothing | Kind::Moved => {}
        }
    }
    for holding in &case.history.holdings {
        for (path, znode) in &holding.state.znodes {
            let kind = EphemeralType::of(znode.stat.ephemeral_owner, OWNERS);
            if let EphemeralType::Ephemeral(session) = kind
                && case.truth.chains.contains(&holding.chain)
                && !holding.state.sessions.contains_key(&session)
            {
                breaches.push(format!("{path} at {} outlives {session}", holding.zxid));
            }
        }
    }
    let open = case.history.conns.iter().filter(|conn| conn.open).map(|conn| conn.session);
    let open: BTreeSet<SessionId> = open.collect();
    if case.history.unfinished.is_empty()
        && let Some(last) = case.history.holdings.last()
        && !last.state.sessions.keys().eq(open.iter())
    {
        let left: Vec<_> = last.state.sessions.keys().collect();
        breaches.push(format!("in the end there are {left:?}, and clients have {open:?}"));
    }
    breaches
}
