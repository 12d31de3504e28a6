//! Giving the lead to a learner of ours before this server stops: nobody has to elect.
//!
//! The successor must have everything, so nothing new is begun and what is outstanding is committed
//! first. Safety needs no more than that the next epoch is established as every epoch is: its
//! leader collects the promises of a quorum and finds nobody who knows more.
//!
//! It is only done when those who understand it are a quorum without this server. A server of
//! Apache's loses its leader in the ordinary way and looks for another: it joins one whom it did
//! not elect only when a quorum says to follow that one.

use oxkeeper_proto::packet::Ours;
use oxkeeper_proto::{Capabilities, Sid};

use super::{Leader, Link, Phase, Stage};
use crate::ledger::Ledger;
use crate::messages::{LinkId, Outgoing, Why};

impl Leader {
    /// Gives up leading: in favour of a learner, as soon as everything outstanding is committed.
    /// False if there is none who could take over.
    pub fn hand_over(&mut self, ledger: &mut Ledger, now_ms: u64) -> Result<bool, Why> {
        if self.phase != Phase::Broadcast || self.successor.is_some() || !self.can_move(ledger) {
            return Ok(false);
        }
        let patience_ms = ledger.settings.sync_limit_ms() / 2;
        self.handing_over_until_ms.get_or_insert(now_ms + patience_ms);
        self.look_at_handover(ledger)?;
        Ok(true)
    }

    /// Whether those who understand a handover are a quorum by themselves.
    fn can_move(&self, ledger: &Ledger) -> bool {
        let me = ledger.settings.sid;
        ledger.membership.is_quorum(|sid| {
            sid != me && self.heirs().any(|(_, link)| !link.observes() && link.sid() == sid)
        })
    }

    /// Learners that can be told of another leader.
    fn heirs(&self) -> impl Iterator<Item = (&LinkId, &Link)> {
        self.links.iter().filter(|(_, link)| {
            link.stage == Stage::Broadcasting
                && link.can(Capabilities::LEADER_TRANSFER)
                && link.has_voice()
        })
    }

    /// Ends the role once everything is committed.
    pub(super) fn look_at_handover(&mut self, ledger: &mut Ledger) -> Result<(), Why> {
        if self.handing_over_until_ms.is_none() || !self.proposals.is_empty() {
            return Ok(());
        }
        if self.successor.is_some() {
            return Ok(());
        }
        if !self.can_move(ledger) {
            return Err(Why::Asked);
        }
        let Some(successor) = self.heir(ledger) else { return Ok(()) };
        tracing::info!(successor = successor.0, last = %self.proposed, "handing over the lead");
        let told: Vec<LinkId> = self.heirs().map(|(id, _)| *id).collect();
        let zxid = ledger.cursors().committed;
        for id in told {
            ledger.send(id, Outgoing::Ours(Ours::Handover { zxid, successor }));
        }
        Err(Why::HandedOver)
    }

    /// The voter that has everything; of several the one with the highest id, which an election
    /// would choose too.
    fn heir(&self, ledger: &Ledger) -> Option<Sid> {
        let last = ledger.cursors().appended;
        let config = ledger.membership.current();
        self.heirs()
            .filter(|(_, link)| !link.observes() && link.holds >= last)
            .map(|(_, link)| link.sid())
            .filter(|sid| config.is_voter(*sid) && ledger.membership.weight(*sid) > 0)
            .max()
    }
}
