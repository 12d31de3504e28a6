//! Taking over the leader's history, up to the acknowledgement that it is on disk.

use std::sync::Arc;

use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::{Sid, Zxid};

use super::{Held, Learner, Stage};
use crate::ledger::Ledger;
use crate::messages::{Effect, Entry, Epochs, LinkId, Outgoing, Violation, Why};
use crate::quorum::QuorumVerifier;
use crate::wrong::{self, Wrong};

impl Learner {
    fn planned(&self, packet: &Packet<'_>) -> Result<(), Why> {
        if self.stage == Stage::AwaitingPlan { Ok(()) } else { Err(self.unexpected(packet)) }
    }

    /// Whether a history of this leader can end there.
    fn possible(&self, zxid: Zxid) -> Result<(), Why> {
        if zxid < Zxid::ZERO || zxid.epoch() > self.epoch {
            return Err(Violation::BadPosition(zxid).into());
        }
        Ok(())
    }

    /// DIFF: the log goes on where it ends.
    pub(super) fn diff(&mut self, packet: &Packet<'_>) -> Result<(), Why> {
        self.planned(packet)?;
        self.stage = Stage::Syncing;
        Ok(())
    }

    /// TRUNC.
    pub(super) fn trunc(
        &mut self,
        ledger: &mut Ledger,
        packet: &Packet<'_>,
        to: Zxid,
    ) -> Result<(), Why> {
        self.planned(packet)?;
        self.possible(to)?;
        tracing::warn!(from = %ledger.cursors().appended, %to, "truncating the log");
        self.stage = Stage::Truncating(to);
        ledger.truncate(to);
        Ok(())
    }

    /// SNAP.
    pub(super) fn snap(
        &mut self,
        ledger: &mut Ledger,
        link: LinkId,
        packet: &Packet<'_>,
        zxid: Zxid,
    ) -> Result<(), Why> {
        self.planned(packet)?;
        self.possible(zxid)?;
        self.stage = Stage::Installing;
        self.in_snapshot = zxid;
        ledger.receive_snapshot(link, zxid);
        Ok(())
    }

    /// TRUNC or SNAP is durable: what came behind it has its turn.
    pub(super) fn rebuilt(&mut self, ledger: &mut Ledger) -> Result<(), Why> {
        if let Stage::Truncating(to) = self.stage {
            // What is left is a beginning of the old log, so it is as good as any; but the leader
            // believes that we have `to`. The next attempt starts from what is there.
            let last = ledger.cursors().appended;
            if last != to {
                return Err(Violation::TruncatedElsewhere { to, last }.into());
            }
        }
        self.stage = Stage::Syncing;
        self.held_bytes = 0;
        while let Some(held) = self.held.pop_front() {
            self.step(ledger, held)?;
        }
        Ok(())
    }

    /// A step of history: now, or once history stands where it is to go on.
    pub(super) fn take(
        &mut self,
        ledger: &mut Ledger,
        packet: &Packet<'_>,
        held: Held,
    ) -> Result<(), Why> {
        match self.stage {
            Stage::Dialing | Stage::AwaitingEpoch | Stage::Promising | Stage::AwaitingPlan => {
                Err(self.unexpected(packet))
            }
            Stage::Truncating(_) | Stage::Installing => {
                if let (true, Held::NewLeader(zxid, _), Some(link)) =
                    (wrong::is(Wrong::Z3104), &held, self.link)
                {
                    ledger.send(link, Outgoing::Ack(*zxid));
                }
                self.held_bytes += match &held {
                    Held::Proposal(entry) | Held::Inform(entry, _) => entry.payload.len(),
                    Held::Commit(..) | Held::NewLeader(..) => 0,
                };
                self.held.push_back(held);
                // A proposal and its commit each.
                if self.held.len() > 2 * ledger.settings.outstanding_count_max
                    || self.held_bytes > ledger.settings.outstanding_bytes_max
                {
                    return Err(Violation::TooMuchOutstanding.into());
                }
                Ok(())
            }
            Stage::Syncing
            | Stage::Logging(_)
            | Stage::Establishing
            | Stage::AwaitingService
            | Stage::Broadcasting => self.step(ledger, held),
        }
    }

    fn step(&mut self, ledger: &mut Ledger, held: Held) -> Result<(), Why> {
        match held {
            Held::Proposal(entry) => self.proposed(ledger, entry),
            Held::Commit(zxid, designated) => self.committed(ledger, zxid, designated),
            Held::Inform(entry, designated) => self.informed(ledger, entry, designated),
            Held::NewLeader(zxid, config) => self.new_leader(ledger, zxid, config),
        }
    }

    /// NEWLEADER: the history is complete, and has to be durable.
    fn new_leader(
        &mut self,
        ledger: &mut Ledger,
        zxid: Zxid,
        config: Option<String>,
    ) -> Result<(), Why> {
        if self.stage != Stage::Syncing {
            let phase = "NEWLEADER had come before";
            return Err(Violation::Unexpected { packet: "NEWLEADER", phase }.into());
        }
        if zxid.epoch() != self.epoch {
            let (promised, got) = (self.epoch, zxid.epoch());
            return Err(Violation::OldEpoch { promised, got }.into());
        }
        if ledger.settings.reconfig_enabled
            && let Some(text) = config.filter(|text| text.len() > 1)
        {
            let config = QuorumVerifier::parse(&text, ledger.settings.multi_address)
                .map_err(|_| Why::Violation(Violation::BadConfig))?;
            let version = config.version();
            if config.conflicts_with(ledger.membership.current()) {
                return Err(Violation::ConfigConflict(version).into());
            }
            let config = Arc::new(config);
            self.see(ledger, Arc::clone(&config));
            self.config = Some(config);
        }
        // What was committed by now is acknowledged with the whole history.
        let committed = ledger.cursors().committed;
        self.to_ack.retain(|zxid| *zxid > committed);
        let upto = if wrong::is(Wrong::Z4785) { committed } else { ledger.cursors().appended };
        self.stage = Stage::Logging(upto);
        let epochs = Epochs { accepted: self.epoch, current: self.epoch };
        if wrong::is(Wrong::Z4643) && ledger.epochs() != epochs {
            ledger.save_epochs(epochs);
        }
        self.look_at_log(ledger);
        Ok(())
    }

    /// Goes on to the epoch when everything before NEWLEADER is on disk.
    pub(super) fn look_at_log(&mut self, ledger: &mut Ledger) {
        let Stage::Logging(to) = self.stage else { return };
        let epochs = Epochs { accepted: self.epoch, current: self.epoch };
        if wrong::is(Wrong::Z3911) {
            if ledger.epochs() != epochs {
                ledger.save_epochs(epochs);
            }
            return self.history_stands(ledger);
        }
        if ledger.cursors().synced < to && !wrong::is(Wrong::Z4646) {
            return;
        }
        if wrong::is(Wrong::Z4643) && ledger.epochs() != epochs {
            return;
        }
        // Without a log there is no history on disk that the epoch could stand for.
        if !self.logs(ledger) || ledger.epochs() == epochs {
            return self.history_stands(ledger);
        }
        self.stage = Stage::Establishing;
        ledger.save_epochs(epochs);
    }

    /// Log and epoch are on disk: ACK(NEWLEADER).
    pub(super) fn history_stands(&mut self, ledger: &mut Ledger) {
        self.stage = Stage::AwaitingService;
        // A follower that serves observers counts nobody, and a leader of Apache's counts all.
        if !self.probation || self.via.is_some() || wrong::is(Wrong::Wiped) {
            ledger.trust();
        }
        if let Some(link) = self.link {
            ledger.send(link, Outgoing::Ack(Zxid(i64::from(self.epoch) << 32)));
        }
    }

    /// COUNTED: a quorum follows this leader that has forgotten nothing.
    pub(super) fn counted(&self, ledger: &mut Ledger) {
        if self.stage == Stage::Broadcasting && !ledger.trusted() {
            tracing::info!(leader = self.leader.0, "this server counts again");
            ledger.trust();
        }
    }

    /// UPTODATE: a quorum has the history; serve.
    pub(super) fn up_to_date(
        &mut self,
        ledger: &mut Ledger,
        packet: &Packet<'_>,
    ) -> Result<(), Why> {
        if self.stage != Stage::AwaitingService {
            return Err(self.unexpected(packet));
        }
        if let Some(config) = self.config.take() {
            self.activate(ledger, config, None)?;
        }
        self.stage = Stage::Broadcasting;
        // All of Apache's versions say it twice; the leader expects nothing else.
        if let Some(link) = self.link {
            ledger.send(link, Outgoing::Ack(Zxid(i64::from(self.epoch) << 32)));
        }
        ledger.push(Effect::Serve { epoch: self.epoch });
        self.acknowledge(ledger);
        self.take_ensemble_id(ledger)
    }

    /// Notes a configuration that was proposed.
    pub(super) fn see(&self, ledger: &mut Ledger, config: Arc<QuorumVerifier>) {
        if config.version() > ledger.config_last_seen().version() {
            ledger.config_seen(config);
        }
    }

    /// Whether a leader repeats what its snapshot had.
    pub(super) fn repeated(&self, zxid: Zxid) -> bool {
        zxid <= self.in_snapshot && self.stage != Stage::Broadcasting
    }

    /// Appends a transaction.
    pub(super) fn append(&mut self, ledger: &mut Ledger, entry: Entry) -> Result<(), Why> {
        let config = self.reconfiguration(ledger, &entry)?;
        let logged = self.logs(ledger);
        if let Err(violation) = ledger.append(entry, logged) {
            // Who was sent a snapshot has a hole in its log below it, and as a leader of Apache's
            // serves that log (ZOOKEEPER-2846): what it says would be the same each time.
            if self.stage == Stage::Syncing && matches!(violation, Violation::Gap { .. }) {
                ledger.want_snapshot();
            }
            return Err(violation.into());
        }
        if let Some(config) = config {
            self.see(ledger, config);
        }
        Ok(())
    }

    /// Commits a transaction, and activates the configuration if it is one.
    pub(super) fn commit(
        &mut self,
        ledger: &mut Ledger,
        zxid: Zxid,
        designated: Option<Sid>,
    ) -> Result<(), Why> {
        let entry = ledger.commit(zxid)?;
        if wrong::is(Wrong::Z4925) && self.stage != Stage::Broadcasting {
            ledger.skip_in_window();
        }
        self.relay(ledger, &entry, designated);
        if let Some(designated) = designated
            && let Some(config) = self.reconfiguration(ledger, &entry)?
        {
            self.activate(ledger, config, Some(designated))?;
        }
        Ok(())
    }
}
