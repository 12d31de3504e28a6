//! Introducing oneself, and promising the new epoch.
//!
//! The promise is kept by the disk: ACKEPOCH leaves when the accepted epoch would survive a power
//! cut. A leader with an older epoch than the promised one is left; one with the same epoch is told
//! −1, because this server's word for it has been counted already.

use oxkeeper_proto::packet::LearnerInfo;
use oxkeeper_proto::{Capabilities, Zxid};

use super::{Learner, Stage};
use crate::ledger::Ledger;
use crate::messages::{Epochs, LinkId, Outgoing, Violation, Why};

impl Learner {
    /// FOLLOWERINFO or OBSERVERINFO.
    pub(super) fn introduce(&mut self, ledger: &mut Ledger, link: LinkId) {
        self.stage = Stage::AwaitingEpoch;
        let unknown_past = !ledger.trusted() && ledger.epochs().accepted == 0;
        let accepted = if unknown_past { -1 } else { i64::from(ledger.epochs().accepted) };
        let info = Outgoing::Info {
            zxid: Zxid(accepted << 32),
            observer: self.observer,
            sid: ledger.settings.sid,
            config_version: ledger.membership.current().version(),
            trailing: ledger.trailer(),
        };
        ledger.send(link, info);
    }

    /// What stands behind LEADERINFO: a leader of another ensemble is left at once.
    pub(super) fn ensemble_told(
        &mut self,
        ledger: &Ledger,
        leader: Option<Capabilities>,
    ) -> Result<(), Why> {
        let (theirs, ours) = (leader.map_or(0, |leader| leader.ensemble_id), ledger.ensemble_id());
        if theirs != 0 && ours != 0 && theirs != ours {
            return Err(Why::OtherEnsemble { theirs, ours });
        }
        self.ensemble_id = theirs;
        let both =
            |bits| leader.is_some_and(|leader| leader.has(bits)) && ledger.capabilities().has(bits);
        self.cumulative = both(Capabilities::CUMULATIVE);
        self.probation = both(Capabilities::PROBATION);
        Ok(())
    }

    /// This server serves, so the leader's ensemble is its own.
    pub(super) fn take_ensemble_id(&mut self, ledger: &mut Ledger) -> Result<(), Why> {
        let (theirs, ours) = (self.ensemble_id, ledger.ensemble_id());
        if ledger.take_ensemble_id(theirs) {
            return Ok(());
        }
        Err(Why::OtherEnsemble { theirs, ours })
    }

    /// LEADERINFO.
    pub(super) fn epoch_told(
        &mut self,
        ledger: &mut Ledger,
        zxid: Zxid,
        protocol_version: i32,
    ) -> Result<(), Why> {
        if self.stage != Stage::AwaitingEpoch {
            let phase = "the epoch is known";
            return Err(Violation::Unexpected { packet: "LEADERINFO", phase }.into());
        }
        if protocol_version < LearnerInfo::PROTOCOL_VERSION {
            return Err(Violation::Protocol(protocol_version).into());
        }
        let (promised, got) = (ledger.epochs().accepted, zxid.epoch());
        if got > i32::MAX as u32 {
            return Err(Violation::EpochTooLarge(got).into());
        }
        if got < promised {
            return Err(Violation::OldEpoch { promised, got }.into());
        }
        self.epoch = got;
        if got == promised {
            self.accepted_before = true;
            self.promised(ledger);
        } else {
            self.stage = Stage::Promising;
            ledger.save_epochs(Epochs { accepted: got, ..ledger.epochs() });
        }
        Ok(())
    }

    /// The promise is on disk: ACKEPOCH.
    pub(super) fn promised(&mut self, ledger: &mut Ledger) {
        let Some(link) = self.link else { return };
        self.stage = Stage::AwaitingPlan;
        // A leader of Apache's sends a snapshot only to who says that it has nothing.
        let says_so = self.probation || !ledger.wants_snapshot();
        let known = ledger.trusted() && says_so;
        let last = if known { ledger.cursors().appended } else { Zxid(-1) };
        let unknown_past = !ledger.trusted() && ledger.epochs().current == 0;
        let current =
            if self.accepted_before || unknown_past { -1 } else { ledger.epochs().current as i32 };
        ledger.send(link, Outgoing::AckEpoch(last, current));
    }
}
