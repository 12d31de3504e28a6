//! The new epoch: who is there, what it is called, and that nobody knows more than this server.

use oxkeeper_proto::packet::LearnerInfo;
use oxkeeper_proto::{Capabilities, Sid, Zxid};

use super::{Leader, Learner, Link, Phase, Stage};
use crate::ledger::Ledger;
use crate::messages::{Drop, Epochs, LinkId, Outgoing, Violation};

/// Zxids are signed on Apache's side; an ensemble that elects every second gets here in 68 years.
const EPOCH_MAX: u32 = 0x7fff_ff00;

impl Leader {
    /// FOLLOWERINFO or OBSERVERINFO.
    pub(super) fn greeted(
        &mut self,
        ledger: &mut Ledger,
        id: LinkId,
        zxid: Zxid,
        info: &LearnerInfo<'_>,
        observer: bool,
    ) -> Result<(), Drop> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        if link.stage != Stage::Greeting {
            let name = if observer { "OBSERVERINFO" } else { "FOLLOWERINFO" };
            return Err(link.unexpected(name).into());
        }
        if self.below && !observer {
            return Err(Drop::ObserversOnly);
        }
        if info.protocol_version < LearnerInfo::PROTOCOL_VERSION {
            return Err(Violation::Protocol(info.protocol_version).into());
        }
        if info.config_version > ledger.membership.current().version() {
            return Err(Drop::NewerConfig);
        }
        // An empty server of unknown past says −1.
        let promised = if zxid < Zxid::ZERO { 0 } else { zxid.epoch() };
        if promised >= EPOCH_MAX {
            return Err(Violation::EpochTooLarge(promised).into());
        }
        let capabilities = Capabilities::from_trailing(info.trailing);
        let theirs = capabilities.map_or(0, |theirs| theirs.ensemble_id);
        let ours = ledger.ensemble_id();
        if theirs != 0 && ours != 0 && theirs != ours {
            return Err(Drop::OtherEnsemble { theirs, ours });
        }
        link.learner = Some(Learner { sid: info.sid, observer, capabilities });
        link.stage = Stage::AwaitingEpoch;
        // Observers may share the id −1.
        let twin = |(other, link): (&LinkId, &Link)| {
            (*other != id && link.sid() == info.sid && info.sid >= Sid(0)).then_some(*other)
        };
        if let Some(old) = self.links.iter().find_map(twin) {
            self.drop_link(ledger, old, Drop::Replaced);
        }
        let speaks = zxid >= Zxid::ZERO
            && !capabilities.is_some_and(|theirs| theirs.has(Capabilities::NO_VOICE));
        if !speaks {
            self.silence(id);
        }
        if self.phase == Phase::Discovery {
            self.epoch = self.epoch.max(promised + 1);
            if speaks && ledger.membership.current().is_voter(info.sid) {
                self.connecting.insert(info.sid);
            }
            return Ok(());
        }
        // It can never follow this leader. Apache lets it try for ever; one more election is the
        // price of having it back.
        if promised > self.epoch && ledger.membership.current().server(info.sid).is_some() {
            self.outpromised = true;
            return Ok(());
        }
        if self.phase != Phase::Promising {
            self.tell_epoch(ledger, id);
        }
        Ok(())
    }

    fn tell_epoch(&mut self, ledger: &mut Ledger, id: LinkId) {
        let zxid = self.new_leader_zxid();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.stage = Stage::AckEpoch;
        link.told_ensemble_id = ledger.capabilities().ensemble_id != 0;
        let trailer = ledger.trailer();
        ledger.send(id, Outgoing::LeaderInfo(zxid, trailer));
    }

    /// Fixes the epoch when a quorum is there (`getEpochToPropose`).
    pub(super) fn look_at_discovery(&mut self, ledger: &mut Ledger) {
        let config = ledger.membership.current();
        if !config.is_quorum(|sid| self.connecting.contains(&sid)) {
            return;
        }
        self.phase = Phase::Promising;
        let epochs = Epochs { accepted: self.epoch, ..ledger.epochs() };
        ledger.save_epochs(epochs);
    }

    /// An epoch is on disk: it may be told, or counts for the history.
    pub(super) fn epochs_saved(&mut self, ledger: &mut Ledger, now_ms: u64) {
        let me = ledger.settings.sid;
        if self.phase == Phase::Promising {
            self.phase = Phase::AckEpoch;
            self.phase_until_ms = now_ms + ledger.settings.init_limit_ms();
            self.epoch_acks.insert(me);
            let waiting: Vec<LinkId> = self
                .links
                .iter()
                .filter(|(_, link)| link.stage == Stage::AwaitingEpoch)
                .map(|(id, _)| *id)
                .collect();
            for id in waiting {
                self.tell_epoch(ledger, id);
            }
        } else if ledger.epochs().current == self.epoch {
            self.history_acks.insert(me);
        }
    }

    /// ACKEPOCH.
    pub(super) fn epoch_acked(
        &mut self,
        ledger: &mut Ledger,
        id: LinkId,
        last: Zxid,
        current_epoch: i32,
    ) -> Result<(), Drop> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        if link.stage != Stage::AckEpoch {
            return Err(link.unexpected("ACKEPOCH").into());
        }
        let sid = link.sid();
        if last == Zxid(-1) && link.has_voice() {
            self.silence(id);
        }
        if self.phase != Phase::AckEpoch {
            self.acked.remove(&sid);
            return self.start_sync(ledger, id, last);
        }
        // −1: it had accepted this epoch before, so its promise and position say nothing new.
        if current_epoch == -1 && last != Zxid(-1) && self.epoch_acks_lapsed.remove(&sid) {
            self.epoch_acks.insert(sid);
        }
        if current_epoch != -1 {
            if (current_epoch, last) > (self.own_position.0 as i32, self.own_position.1) {
                return Err(Drop::MoreRecent);
            }
            let speaks = last != Zxid(-1) && self.links.get(&id).is_some_and(Link::has_voice);
            if speaks && ledger.membership.current().is_voter(sid) {
                self.epoch_acks.insert(sid);
            }
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        link.stage = Stage::AwaitingQuorum { last };
        Ok(())
    }

    /// Goes on to synchronization when a quorum has promised (`waitForEpochAck`).
    pub(super) fn look_at_epoch_acks(&mut self, ledger: &mut Ledger, now_ms: u64) {
        let config = ledger.membership.current();
        if !config.is_quorum(|sid| self.epoch_acks.contains(&sid)) {
            return;
        }
        self.phase = Phase::Synchronization;
        self.phase_until_ms = now_ms + ledger.settings.init_limit_ms();
        self.version_config(ledger);
        ledger.save_epochs(Epochs { accepted: self.epoch, current: self.epoch });
        let waiting: Vec<(LinkId, Zxid)> = self
            .links
            .iter()
            .filter_map(|(id, link)| match link.stage {
                Stage::AwaitingQuorum { last } => Some((*id, last)),
                _ => None,
            })
            .collect();
        for (id, last) in waiting {
            if let Err(why) = self.start_sync(ledger, id, last) {
                self.drop_link(ledger, id, why);
            }
        }
    }
}
