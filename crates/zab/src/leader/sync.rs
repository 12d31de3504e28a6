//! Giving each learner this server's history, and counting who has it.
//!
//! A learner is served from the log on disk in pieces until the window in memory reaches back to
//! what it has; the rest of the window, what is outstanding and NEWLEADER follow in one go, and
//! from then on it gets everything new. Nothing is queued for it meanwhile: its place is one zxid.

use std::sync::Arc;

use oxkeeper_proto::{Capabilities, Sid, Zxid};

use super::{Leader, Phase, Stage, Syncing};
use crate::cursors::{Cursors, follows};
use crate::ledger::Ledger;
use crate::messages::{Drop, Effect, Entry, LinkId, LogSurvey, Outgoing, Why};
use crate::quorum::QuorumVerifier;
use crate::sync_plan::{Leads, Log, Plan, sync_plan};
use crate::wrong::{self, Wrong};

impl Leader {
    /// The configuration that the ensemble began with gets the new epoch's first zxid as its
    /// version (ZOOKEEPER-107's dynamic configuration starts with an epoch).
    pub(super) fn version_config(&mut self, ledger: &mut Ledger) {
        let seen = ledger.config_last_seen();
        if ledger.settings.reconfig_enabled
            && ledger.membership.current().version() == 0
            && seen.version() == 0
        {
            let version = self.new_leader_zxid().0;
            let config = QuorumVerifier::clone(ledger.membership.current()).with_version(version);
            ledger.config_seen(Arc::new(config));
        }
        self.needs = Arc::new(ledger.membership.clone());
    }

    /// Plans for a learner whose log ends with `last`, and sends the first packet.
    pub(super) fn start_sync(
        &mut self,
        ledger: &mut Ledger,
        id: LinkId,
        last: Zxid,
    ) -> Result<(), Drop> {
        self.plan(ledger, id, last, Log::Unknown)
    }

    fn plan(&mut self, ledger: &mut Ledger, id: LinkId, last: Zxid, log: Log) -> Result<(), Drop> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let sid = link.sid();
        let committed = ledger.cursors().committed;
        let established = self.phase == Phase::Broadcast;
        let bare = Zxid(i64::from(self.epoch) << 32);
        let leads = Leads {
            window: ledger.window(),
            last_processed: if established { committed.max(bare) } else { committed },
            force_snapshot: ledger.settings.force_snapshot
                || last < Zxid::ZERO
                || link.can(Capabilities::WANTS_SNAPSHOT)
                || ledger.snapshot_next.contains(&sid),
            snapshot_size_permille: ledger.settings.snapshot_size_permille,
        };
        let plan = sync_plan(last, &leads, log);
        tracing::info!(sid = sid.0, %last, %committed, ?plan, "synchronising a learner");
        self.throttle(ledger, id, plan)?;
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let sent = match plan {
            Plan::SurveyLog => {
                link.stage = Stage::Surveying { last };
                ledger.push(Effect::SurveyLog { link: id, peer: last });
                return Ok(());
            }
            Plan::Snap => {
                let at_least = last.min(committed);
                link.stage = Stage::OpeningSnapshot { at_least };
                ledger.push(Effect::OpenSnapshot { link: id, at_least });
                return Ok(());
            }
            Plan::Diff { header } => {
                ledger.send(id, Outgoing::Diff(header));
                last
            }
            Plan::Trunc { to } | Plan::TruncDiff { to } => {
                ledger.send(id, Outgoing::Trunc(to));
                to
            }
        };
        self.catch_up(ledger, id, sent);
        Ok(())
    }

    /// Takes one of the places of those who are synchronised. Voters need none: without them there
    /// is no ensemble.
    fn throttle(&mut self, ledger: &Ledger, id: LinkId, plan: Plan) -> Result<(), Drop> {
        let (syncing, what, max) = match plan {
            Plan::SurveyLog => return Ok(()),
            Plan::Snap => (Syncing::Snap, "a snapshot", ledger.settings.snap_syncs_max),
            Plan::Diff { .. } | Plan::Trunc { .. } | Plan::TruncDiff { .. } => {
                (Syncing::Diff, "transactions", ledger.settings.diff_syncs_max)
            }
        };
        let others = self.links.values().filter(|link| link.syncing == Some(syncing)).count();
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        if link.observes() && others >= max {
            return Err(Drop::Throttled { what, max });
        }
        link.syncing = Some(syncing);
        Ok(())
    }

    /// The host has looked at the log.
    pub fn log_surveyed(&mut self, ledger: &mut Ledger, id: LinkId, survey: Option<LogSurvey>) {
        let Some(Stage::Surveying { last }) = self.links.get(&id).map(|link| link.stage) else {
            return;
        };
        let log = survey.map_or(Log::TooShort, Log::Surveyed);
        if let Err(why) = self.plan(ledger, id, last, log) {
            self.drop_link(ledger, id, why);
        }
    }

    /// The host has opened a snapshot for a learner.
    pub fn snapshot_opened(&mut self, ledger: &mut Ledger, id: LinkId, zxid: Zxid) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Stage::OpeningSnapshot { at_least } = link.stage else { return };
        if zxid < at_least {
            return self.history_unavailable(ledger, id);
        }
        let sid = link.sid();
        ledger.snapshot_next.remove(&sid);
        ledger.send(id, Outgoing::Snap(zxid));
        ledger.push(Effect::SendSnapshot(id));
        self.catch_up(ledger, id, zxid);
    }

    /// Sends what stands behind `sent`, from memory if it reaches back so far.
    fn catch_up(&mut self, ledger: &mut Ledger, id: LinkId, sent: Zxid) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Cursors { appended, committed, .. } = ledger.cursors();
        let from = ledger.window().before();
        if sent < from && !wrong::is(Wrong::Z2418) {
            link.stage = Stage::Reading { sent };
            return ledger.push(Effect::ReadLog { link: id, after: sent, to: from });
        }
        let missing: Vec<Entry> = ledger.window().after(sent).cloned().collect();
        for entry in missing {
            let zxid = entry.zxid;
            ledger.send(id, Outgoing::Proposal(entry));
            ledger.send(id, Outgoing::Commit(zxid));
        }
        if !link.observes() {
            let outstanding: Vec<Entry> = ledger.outstanding().iter().cloned().collect();
            for entry in outstanding {
                ledger.send(id, Outgoing::Proposal(entry));
            }
        }
        link.stage = Stage::NewLeader;
        link.holds = if link.observes() { committed } else { appended };
        let zxid = Zxid(i64::from(self.epoch) << 32);
        // With its epoch a leader puts in force what was under way. What it proposes afterwards
        // comes as a proposal: said here, it would be in force with UPTODATE, come what may.
        let early = wrong::is(Wrong::ProposedInForce);
        let config = match self.phase {
            Phase::Broadcast if !early => ledger.membership.current().to_string(),
            _ => ledger.config_last_seen().to_string(),
        };
        ledger.send(id, Outgoing::NewLeader(zxid, config));
    }

    /// The host has read some of the log for a learner.
    pub fn log_read(&mut self, ledger: &mut Ledger, id: LinkId, entries: Vec<Entry>) {
        let Some(Stage::Reading { mut sent }) = self.links.get(&id).map(|link| link.stage) else {
            return;
        };
        // Only what is committed may be sent as such; the log's tail may not be.
        let to = ledger.cursors().committed;
        let before = sent;
        for entry in entries.into_iter().filter(|entry| entry.zxid <= to) {
            if !follows(sent, entry.zxid) {
                tracing::error!(%sent, next = %entry.zxid, "the log on disk has a hole");
                return self.history_unavailable(ledger, id);
            }
            sent = entry.zxid;
            ledger.send(id, Outgoing::Proposal(entry));
            ledger.send(id, Outgoing::Commit(sent));
        }
        if sent == before {
            return self.history_unavailable(ledger, id);
        }
        self.catch_up(ledger, id, sent);
    }

    /// What a learner needs cannot be read: it comes again and gets a snapshot.
    pub fn history_unavailable(&mut self, ledger: &mut Ledger, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        if ledger.snapshot_next.len() < ledger.settings.links_max {
            ledger.snapshot_next.insert(link.sid());
        }
        self.drop_link(ledger, id, Drop::History);
    }

    /// Something of a snapshot went out or came in.
    pub fn alive(&mut self, id: LinkId, now_ms: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.heard(now_ms, self.running.turn(now_ms));
        }
    }

    /// Establishes the epoch when a quorum has the history (`startZkServer`).
    pub(super) fn look_at_history_acks(
        &mut self,
        ledger: &mut Ledger,
        now_ms: u64,
    ) -> Result<(), Why> {
        let me = ledger.settings.sid;
        if !self.history_acks.contains(&me)
            || !self.needs.is_quorum(|sid| self.history_acks.contains(&sid))
        {
            return Ok(());
        }
        tracing::info!(epoch = self.epoch, "the epoch is established");
        self.phase = Phase::Broadcast;
        self.proposed = self.new_leader_zxid();
        self.next_half_tick_ms = now_ms + ledger.settings.tick_time_ms / 2;
        let seen = ledger.config_last_seen();
        if ledger.settings.reconfig_enabled
            && seen.version() > ledger.membership.current().version()
        {
            let leader = self.designated_leader(ledger, &seen, self.new_leader_zxid());
            self.successor = (leader != me).then_some(leader);
            ledger.config_active(seen);
            self.needs = Arc::new(ledger.membership.clone());
        }
        ledger.push(Effect::Serve { epoch: self.epoch });
        let ready: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.stage == Stage::Synchronized)
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            self.up_to_date(ledger, id);
        }
        Ok(())
    }

    /// Sends UPTODATE.
    pub(super) fn up_to_date(&mut self, ledger: &mut Ledger, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.stage = Stage::Broadcasting;
            ledger.send(id, Outgoing::UpToDate);
        }
        self.tell_ensemble_id(ledger);
    }

    /// Who leads under a configuration: this server if it stays a voter at the same address, else
    /// the voter that has acknowledged most (`getDesignatedLeader`).
    pub(super) fn designated_leader(
        &self,
        ledger: &Ledger,
        config: &QuorumVerifier,
        zxid: Zxid,
    ) -> Sid {
        let me = ledger.settings.sid;
        let address = |config: &QuorumVerifier| {
            config.server(me).map(|server| server.quorum_addresses().collect::<Vec<_>>())
        };
        if config.is_voter(me) && address(config) == address(ledger.membership.current()) {
            return me;
        }
        let acked = |sid: &Sid| {
            let acked = self.acked.get(sid).copied().unwrap_or(Zxid::ZERO);
            if acked >= zxid || (zxid.counter() == 0 && self.history_acks.contains(sid)) {
                Some((acked, core::cmp::Reverse(*sid)))
            } else {
                None
            }
        };
        let best = config.voters().filter(|sid| *sid != me).filter_map(|sid| acked(&sid)).max();
        best.map_or(me, |(_, sid)| sid.0)
    }
}
