//! Proposals, commits and informs, in synchronisation and after it.
//!
//! There is one path for both, so that nothing can be handled in one and forgotten in the other.
//! What differs is only when acknowledgements leave: not before UPTODATE has been answered, and
//! none for what the acknowledgement of the whole history has covered.

use oxkeeper_proto::{Sid, Zxid};

use super::{Learner, Stage};
use crate::ledger::Ledger;
use crate::messages::{Entry, Outgoing, Violation, Why};
use crate::wrong::{self, Wrong};

impl Learner {
    /// PROPOSAL.
    pub(super) fn proposed(&mut self, ledger: &mut Ledger, entry: Entry) -> Result<(), Why> {
        if self.repeated(entry.zxid) {
            return Ok(());
        }
        let zxid = entry.zxid;
        self.append(ledger, entry)?;
        if !self.observer {
            self.to_ack.push_back(zxid);
        }
        Ok(())
    }

    /// COMMIT or COMMITANDACTIVATE.
    pub(super) fn committed(
        &mut self,
        ledger: &mut Ledger,
        zxid: Zxid,
        designated: Option<Sid>,
    ) -> Result<(), Why> {
        if self.repeated(zxid) {
            return Ok(());
        }
        let between =
            matches!(self.stage, Stage::Logging(_) | Stage::Establishing | Stage::AwaitingService);
        if between && wrong::is(Wrong::Z4394) {
            return Err(Violation::CommitOrder { next: Zxid::ZERO, got: zxid }.into());
        }
        if between && wrong::is(Wrong::Z3023) {
            return Ok(());
        }
        while self.cumulative
            && let Some(next) = ledger.outstanding().front().map(|entry| entry.zxid)
            && next < zxid
        {
            self.commit(ledger, next, None)?;
        }
        self.commit(ledger, zxid, designated)
    }

    /// INFORM or INFORMANDACTIVATE.
    pub(super) fn informed(
        &mut self,
        ledger: &mut Ledger,
        entry: Entry,
        designated: Option<Sid>,
    ) -> Result<(), Why> {
        let zxid = entry.zxid;
        if self.repeated(zxid) {
            return Ok(());
        }
        // Old leaders propose to observers, too, what was outstanding when they came.
        if ledger.outstanding().front().is_none_or(|next| next.zxid != zxid) {
            self.append(ledger, entry)?;
        }
        self.commit(ledger, zxid, designated)
    }

    /// Acknowledges what is on disk: one by one and in order, as Apache counts them, or all at once
    /// where the leader is one of ours.
    pub(super) fn acknowledge(&mut self, ledger: &mut Ledger) {
        let Some(link) = self.link else { return };
        let early = wrong::is(Wrong::Z4685) && matches!(self.stage, Stage::Logging(_));
        if self.stage != Stage::Broadcasting && !early {
            return;
        }
        let synced = ledger.cursors().synced;
        while let Some(zxid) = self.to_ack.front().copied().filter(|zxid| *zxid <= synced) {
            self.to_ack.pop_front();
            let more = self.to_ack.front().is_some_and(|zxid| *zxid <= synced);
            if !(self.cumulative && more) {
                ledger.send(link, Outgoing::Ack(zxid));
            }
        }
    }
}
