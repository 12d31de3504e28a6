//! Members that have lost their data, and count for nothing until what they forgot does not matter.
//!
//! Such a member does not know any more what it has promised. An older leader that has not noticed
//! yet that others follow a later one, with this very member's promise, may be found by it, and
//! with its acknowledgements commit what the later one does not have. To have a history again is
//! therefore not enough (with Apache's servers it is): its word is heard when a quorum of others
//! has followed this leader *after* it came. None of them had promised a later epoch then, so no
//! later one had been established, with its help or without; and any that comes finds its new
//! promises.
//!
//! That they followed is shown by their answers to pings that were sent after it came, so it takes
//! half a tick, whether anybody writes or not. Until then it serves, and that is all: it is in no
//! quorum of discovery, of history, of commits or of followers, and is no heir. It keeps on disk
//! that it has no voice, and therefore votes for nobody, until its leader says COUNTED.

use oxkeeper_proto::packet::Ours;
use oxkeeper_proto::{Capabilities, Sid, Zxid};

use super::{Leader, Link, Phase, Stage};
use crate::ledger::Ledger;
use crate::messages::{LinkId, Outgoing};
use crate::wrong::{self, Wrong};

impl Leader {
    /// A learner counts for nothing from now on, and what it has said before, neither.
    pub(super) fn silence(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let sid = link.sid();
        if !wrong::is(Wrong::Wiped) {
            link.silenced_at = Some(self.round);
            self.connecting.remove(&sid);
            self.epoch_acks.remove(&sid);
            self.epoch_acks_lapsed.remove(&sid);
            self.history_acks.remove(&sid);
            self.acked.remove(&sid);
        }
    }

    /// Hears those whom a quorum of others has followed since they came.
    pub(super) fn look_at_voices(&mut self, ledger: &mut Ledger) {
        if self.below || self.phase != Phase::Broadcast {
            return;
        }
        let me = ledger.settings.sid;
        let config = ledger.membership.current();
        let heard: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.stage == Stage::Broadcasting)
            .filter_map(|(id, link)| Some((*id, link.silenced_at?)))
            .filter(|(_, since)| config.is_quorum(|sid| sid == me || self.follows(sid, *since)))
            .map(|(id, _)| id)
            .collect();
        for id in heard {
            self.hear(ledger, id);
        }
    }

    fn follows(&self, sid: Sid, since: u64) -> bool {
        let follows =
            |link: &Link| link.has_voice() && !link.observes() && link.answered_after(since);
        self.links.values().any(|link| link.sid() == sid && follows(link))
    }

    fn hear(&mut self, ledger: &mut Ledger, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (sid, observes, acked) = (link.sid(), link.observes(), link.early_ack);
        link.silenced_at = None;
        link.early_ack = Zxid::ZERO;
        tracing::info!(sid = sid.0, "a member that had lost its data counts again");
        if ledger.membership.is_voter(sid) {
            if !observes || ledger.settings.sync_enabled {
                self.history_acks.insert(sid);
            }
            if !observes {
                self.count(sid, acked);
                self.acks_due = true;
            }
        }
        let Some(link) = self.links.get(&id) else { return };
        if link.can(Capabilities::PROBATION) {
            ledger.send(id, Outgoing::Ours(Ours::Counted));
        }
    }

    /// Says so where nobody leads because of such members.
    pub(super) fn tell_of_the_silent(&self, ledger: &Ledger) {
        let silent: Vec<i64> = self
            .links
            .values()
            .filter(|link| !link.has_voice() && !link.observes())
            .map(|link| link.sid().0)
            .collect();
        if !silent.is_empty() {
            let me = ledger.settings.sid.0;
            tracing::warn!(
                me,
                ?silent,
                "these members have lost their data, and count only once a quorum follows without \
                 them: start the other members; if their data is lost too, see `initialize`"
            );
        }
    }
}
