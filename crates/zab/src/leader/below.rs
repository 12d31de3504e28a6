//! The links of a follower that serves observers: a leader's, but nothing is decided here.

use oxkeeper_proto::{Sid, Zxid};

use super::{Leader, Link, Phase};
use crate::ledger::Ledger;
use crate::messages::{Entry, LinkId, Outgoing};

impl Leader {
    /// Of a follower in this epoch.
    pub fn below(ledger: &Ledger, now_ms: u64, epoch: u32) -> Leader {
        let mut leader = Leader::blank(ledger, now_ms, false);
        leader.below = true;
        leader.phase = Phase::Broadcast;
        leader.epoch = epoch;
        leader.proposed = ledger.cursors().committed.max(leader.new_leader_zxid());
        leader
    }

    /// Passes on what the real leader has committed.
    pub fn relay(&mut self, ledger: &mut Ledger, entry: &Entry, designated: Option<Sid>) {
        self.proposed = entry.zxid;
        for (id, link) in self.links.iter().filter(|(_, link)| link.forwards()) {
            debug_assert!(link.observes());
            let packet = match designated {
                None => Outgoing::Inform(entry.clone()),
                Some(leader) => Outgoing::InformAndActivate(entry.clone(), leader),
            };
            ledger.send(*id, packet);
        }
    }

    /// One learner.
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    /// The last transaction proposed, or passed on.
    pub fn last_proposed(&self) -> Zxid {
        self.proposed
    }
}
