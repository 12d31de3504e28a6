//! Proposals, their acknowledgements, and commits in order.
//!
//! A proposal goes out to every follower that is past NEWLEADER before it is on this server's own
//! disk; the leader's vote is its own finished write, no more than anyone else's. Commits leave in
//! the order of the zxids whatever order the acknowledgements had.

use std::sync::Arc;

use oxkeeper_proto::{Capabilities, Sid, Zxid};

use super::{Leader, Link, PendingSync, Phase, Proposal, Stage, Syncer};
use crate::ledger::Ledger;
use crate::messages::{Drop, Effect, Entry, LinkId, Outgoing, SyncToken, Violation, Why};
use crate::quorum::{Membership, QuorumVerifier};
use crate::wrong::{self, Wrong};

impl Leader {
    /// The zxid for the next transaction, with `unproposed` given out and not yet proposed. `None`
    /// while nothing can be proposed.
    pub fn next_zxid(&mut self, unproposed: u32) -> Option<Zxid> {
        if self.phase != Phase::Broadcast
            || self.successor.is_some()
            || self.exhausted
            || self.handing_over_until_ms.is_some()
        {
            return None;
        }
        let next = self.following();
        if u64::from(next.counter()) + u64::from(unproposed) > u64::from(self.counter_max) {
            self.exhausted = true;
            return None;
        }
        Some(Zxid(next.0 + i64::from(unproposed)))
    }

    /// What comes behind the last proposal.
    fn following(&self) -> Zxid {
        match self.proposed.counter() {
            0 => Zxid(self.proposed.0 + i64::from(self.counter_first)),
            _ => Zxid(self.proposed.0 + 1),
        }
    }

    /// Ends the epoch when its last transaction is committed.
    pub(super) fn leave_if_exhausted(&self) -> Result<(), Why> {
        if self.exhausted && self.proposals.is_empty() {
            return Err(Why::EpochExhausted);
        }
        Ok(())
    }

    /// Proposes a transaction. `config` is given for a reconfiguration. Panics unless the zxid was
    /// given out and is the next one.
    pub fn propose(
        &mut self,
        ledger: &mut Ledger,
        now_ms: u64,
        entry: Entry,
        config: Option<Arc<QuorumVerifier>>,
    ) -> Result<(), Why> {
        assert_eq!(entry.zxid, self.following(), "proposals have no gaps");
        assert_eq!(self.phase, Phase::Broadcast, "only an established leader proposes");
        let zxid = entry.zxid;
        ledger.append(entry.clone(), true).map_err(Why::Violation)?;
        self.proposed = zxid;
        self.own_write.get_or_insert((zxid, now_ms));
        let reconfig = config.is_some();
        if let Some(config) = config {
            ledger.config_seen(config);
            self.needs = Arc::new(ledger.membership.clone());
        }
        let needs = Arc::clone(&self.needs);
        self.proposals.push_back(Proposal { zxid, needs, reconfig });
        for (id, link) in &mut self.links {
            if link.forwards() && !link.observes() {
                link.proposed(zxid, now_ms);
                ledger.send(*id, Outgoing::Proposal(entry.clone()));
            }
        }
        Ok(())
    }

    /// Whether what is proposed next can be committed by the followers that have everything,
    /// without this server's own vote.
    pub fn others_suffice(&self, ledger: &Ledger) -> bool {
        let me = ledger.settings.sid;
        let has_all = |link: &Link| link.synchronized() && !link.observes() && link.has_voice();
        let others = |sid| self.links.values().any(|link| link.sid() == sid && has_all(link));
        self.needs.is_quorum(|sid| sid != me && others(sid))
    }

    /// ACK. True if it may have made a commit or the epoch possible.
    pub(super) fn acknowledged(
        &mut self,
        ledger: &Ledger,
        id: LinkId,
        zxid: Zxid,
    ) -> Result<bool, Drop> {
        let new_leader = self.new_leader_zxid();
        let Some(link) = self.links.get_mut(&id) else { return Ok(false) };
        let sid = link.sid();
        // What nobody counts need not be remembered, whatever ids knock.
        let voter = ledger.membership.is_voter(sid) && link.has_voice();
        let counts = voter && !link.observes();
        if !link.forwards() {
            return Err(link.unexpected("ACK").into());
        }
        if zxid == new_leader {
            // The second one, after UPTODATE, says nothing new.
            if link.stage == Stage::NewLeader {
                link.stage = Stage::Synchronized;
                link.syncing = None;
                // Who still observes and votes in a configuration that is on its way has the
                // history as well: the new quorum may need it before anything is proposed to it.
                let left_out = wrong::is(Wrong::ObserversLeftOut);
                if counts || (voter && ledger.settings.sync_enabled && !left_out) {
                    self.history_acks.insert(sid);
                }
                if counts {
                    let early = std::mem::take(&mut link.early_ack);
                    let early = if wrong::is(Wrong::Z4785) { self.proposed } else { early };
                    self.count(sid, early);
                }
            }
            return Ok(true);
        }
        // Of an older epoch: servers up to 3.8.0 acknowledge what DIFF brought.
        if zxid < new_leader || zxid.counter() == 0 {
            return Ok(false);
        }
        if zxid > self.proposed {
            return Err(Violation::AckAhead { proposed: self.proposed, got: zxid }.into());
        }
        link.acked(zxid);
        if !link.has_voice() {
            link.early_ack = link.early_ack.max(zxid);
        }
        if !counts {
            return Ok(false);
        }
        if link.stage == Stage::NewLeader && wrong::is(Wrong::Z4685) {
            return Err(link.unexpected("ACK").into());
        }
        if link.stage == Stage::NewLeader {
            link.early_ack = link.early_ack.max(zxid);
            return Ok(false);
        }
        self.count(sid, zxid);
        Ok(true)
    }

    pub(super) fn count(&mut self, sid: Sid, zxid: Zxid) {
        let acked = self.acked.entry(sid).or_insert(Zxid::ZERO);
        *acked = zxid.max(*acked);
    }

    /// Commits from the front what has its quorums.
    pub(super) fn commit_what_can_be(&mut self, ledger: &mut Ledger) -> Result<(), Why> {
        let me = ledger.settings.sid;
        while self.successor.is_none() {
            let synced = ledger.cursors().synced;
            let Some(next) = self.proposals.front() else { break };
            let has_it = |sid: Sid| {
                let acked = if sid == me { Some(synced) } else { self.acked.get(&sid).copied() };
                acked.is_some_and(|acked| acked >= next.zxid)
            };
            if !suffices(&next.needs, has_it) {
                break;
            }
            let Some(next) = self.proposals.pop_front() else { break };
            self.commit(ledger, next)?;
        }
        self.tell_commits(ledger);
        let waiting: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.stage == Stage::Synchronized)
            .map(|(id, _)| *id)
            .collect();
        for id in waiting {
            self.up_to_date(ledger, id);
        }
        self.leave_if_exhausted()
    }

    fn commit(&mut self, ledger: &mut Ledger, proposal: Proposal) -> Result<(), Why> {
        let zxid = proposal.zxid;
        let designated = if proposal.reconfig {
            let config = ledger.config_last_seen();
            Some((self.designated_leader(ledger, &config, zxid), config))
        } else {
            None
        };
        // Those who acknowledged this have followed since, whatever the pings say. Learners of
        // Apache's expect answers in the order of their questions; a sync answered behind a later
        // write's commit would hold up their clients for ever.
        self.answer_syncs(ledger, Zxid(zxid.0 - 1));
        let entry = ledger.commit(zxid).map_err(Why::Violation)?;
        if designated.is_some() {
            self.tell_commits(ledger);
        } else {
            self.commits_untold = Some(zxid);
        }
        let cumulative = ledger.capabilities().has(Capabilities::CUMULATIVE);
        for (id, link) in &self.links {
            if !link.forwards() {
                continue;
            }
            if cumulative && designated.is_none() && link.takes_ranges() {
                continue;
            }
            let packet = match (&designated, link.observes()) {
                (None, false) => Outgoing::Commit(zxid),
                (None, true) => Outgoing::Inform(entry.clone()),
                (Some((leader, _)), false) => Outgoing::CommitAndActivate(zxid, *leader),
                (Some((leader, _)), true) => Outgoing::InformAndActivate(entry.clone(), *leader),
            };
            ledger.send(*id, packet);
        }
        if let Some((leader, config)) = designated {
            ledger.config_active(config);
            self.needs = Arc::new(ledger.membership.clone());
            // What is outstanding needs those no more who are none now, and may have gone. Whoever
            // leads after this has the reconfiguration in its history, and asks the new quorum.
            let needed = wrong::is(Wrong::RemovedNeeded);
            for outstanding in self.proposals.iter_mut().filter(|_| !needed) {
                outstanding.needs = Arc::clone(&self.needs);
            }
            if leader != ledger.settings.sid {
                self.successor = Some(leader);
                tracing::info!(leader = leader.0, "another leader is designated; waiting for it");
            }
        }
        self.release_syncs(ledger);
        Ok(())
    }

    /// Answers the syncs that came before what follows this one was proposed.
    fn answer_syncs(&mut self, ledger: &mut Ledger, committed: Zxid) {
        while self.syncs.front().is_some_and(|sync| sync.behind <= committed) {
            self.answer_sync(ledger);
        }
    }

    fn answer_sync(&mut self, ledger: &mut Ledger) {
        self.tell_commits(ledger);
        if let Some(sync) = self.syncs.pop_front() {
            self.synced(ledger, sync.syncer);
        }
    }

    /// Tells the followers that take one COMMIT for many of the last one.
    fn tell_commits(&mut self, ledger: &mut Ledger) {
        let Some(zxid) = self.commits_untold.take() else { return };
        if ledger.capabilities().has(Capabilities::CUMULATIVE) {
            for (id, _) in self.links.iter().filter(|(_, link)| link.takes_ranges()) {
                ledger.send(*id, Outgoing::Commit(zxid));
            }
        }
    }

    /// A sync: complete when everything outstanding now is committed (`processSync`), and when a
    /// quorum is known to have followed since it came.
    pub(super) fn sync_asked(&mut self, ledger: &mut Ledger, syncer: Syncer) {
        let sync = PendingSync { behind: self.proposed, round: self.round, syncer };
        self.doubted |= !self.is_followed(ledger, &sync);
        self.syncs.push_back(sync);
        self.release_syncs(ledger);
    }

    /// Whether nobody else led when a sync came, who might have committed more. A process that was
    /// stopped, or cut off, learns of that long after it has read what its clients ask. That others
    /// follow is shown by their answers to pings sent after the sync had come; and who passes one
    /// on from its clients gets the answer only if it still does. Apache's leader asks nobody.
    fn is_followed(&self, ledger: &Ledger, sync: &PendingSync) -> bool {
        self.below
            || (self.successor.is_none()
                && self.is_followed_since(ledger, sync.round, Some(sync.syncer)))
    }

    /// Whether this server and those who have answered a ping of a later round are a quorum.
    fn is_followed_since(&self, ledger: &Ledger, round: u64, asks: Option<Syncer>) -> bool {
        let me = ledger.settings.sid;
        let follows = |id: &LinkId, link: &Link| {
            let since = asks == Some(Syncer::Link(*id)) || link.answered_after(round);
            let since = since || wrong::is(Wrong::SyncAsksNobody);
            since && link.forwards() && link.has_voice() && !link.observes()
        };
        let is_with_us =
            |sid| self.links.iter().any(|(id, link)| link.sid() == sid && follows(id, link));
        ledger.membership.is_quorum(|sid| sid == me || is_with_us(sid))
    }

    /// Answers the syncs that have nothing to wait for any more, in their order, and pings for the
    /// others, while the disks may still write. One round serves all that came before it; those
    /// that come while it is under way get the next one.
    pub(super) fn release_syncs(&mut self, ledger: &mut Ledger) {
        while let Some(sync) = self.syncs.front() {
            let outstanding = self.proposals.front().is_some_and(|next| next.zxid <= sync.behind);
            if outstanding {
                break;
            }
            if !self.is_followed(ledger, sync) {
                self.doubted |= sync.round == self.round;
                break;
            }
            self.answer_sync(ledger);
        }
        let answered = |before| self.is_followed_since(ledger, before, None);
        if self.doubted && self.doubted_before.is_none_or(answered) {
            self.ping(ledger);
        }
    }

    /// A sync of this server's own clients.
    pub fn sync(&mut self, ledger: &mut Ledger, token: SyncToken) {
        self.sync_asked(ledger, Syncer::Own(token));
    }

    fn synced(&self, ledger: &mut Ledger, syncer: Syncer) {
        match syncer {
            Syncer::Link(link) => ledger.send(link, Outgoing::Sync),
            Syncer::Own(token) => ledger.push(Effect::Synced(token)),
        }
    }

    /// Asks every learner that gets proposals whether it is there.
    pub(super) fn ping(&mut self, ledger: &mut Ledger) {
        if std::mem::take(&mut self.doubted) {
            self.doubted_before = Some(self.round);
        }
        self.round += 1;
        for (id, link) in self.links.iter_mut().filter(|(_, link)| link.forwards()) {
            // Before UPTODATE it answers none.
            if link.stage == Stage::Broadcasting {
                link.first_round.get_or_insert(self.round);
            }
            ledger.send(*id, Outgoing::Ping(self.proposed));
        }
    }
}

/// Whether what these servers have can be committed.
fn suffices(needs: &Membership, has_it: impl Fn(Sid) -> bool) -> bool {
    if wrong::is(Wrong::HeadsCounted) {
        let voters = needs.voters();
        return voters.iter().filter(|sid| has_it(**sid)).count() > voters.len() / 2;
    }
    needs.is_quorum(has_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leader::link::Learner;
    use crate::ledger::Done;
    use crate::messages::{Disk, Recovered};
    use crate::settings::Settings;

    /// An ensemble of one, with its epoch established.
    fn alone() -> (Leader, Ledger) {
        alone_from(None)
    }

    /// The same with epochs that begin behind this counter.
    fn alone_from(begin_at: Option<u32>) -> (Leader, Ledger) {
        let config = QuorumVerifier::parse("server.1=a:1:2\nversion=0", false).unwrap();
        let mut settings = Settings::new(Sid(1));
        settings.epochs_begin_at = begin_at;
        let membership = Membership::new(Arc::new(config), None);
        let mut ledger = Ledger::new(settings, membership, Recovered::default());
        let mut leader = Leader::new(&mut ledger, 0, false);
        while let Some(effect) = ledger.poll_effect() {
            if let Effect::SaveEpochs(epochs) = effect {
                assert_eq!(ledger.done(Disk::EpochsSaved(epochs)), Ok(Done::Epochs));
                leader.disk(&mut ledger, 0, Done::Epochs).unwrap();
            }
        }
        assert_eq!(leader.established(), Some(1));
        (leader, ledger)
    }

    #[test]
    fn zookeeper_1277_the_epoch_ends_before_its_counter_runs_over() {
        let (mut leader, mut ledger) = alone_from(Some(0xffff_fffd));
        let last = Zxid(0x1_ffff_fffe);
        assert_eq!(leader.next_zxid(0), Some(last));
        assert_eq!(leader.next_zxid(1), None, "the counter would be all ones");
        // What was given out is still proposed and committed; then the epoch is over.
        let entry = Entry { zxid: last, payload: "x".into() };
        leader.propose(&mut ledger, 0, entry, None).unwrap();
        assert_eq!(leader.next_zxid(0), None);
        assert_eq!(ledger.done(Disk::Synced(last)), Ok(Done::Synced));
        let ended = leader.disk(&mut ledger, 0, Done::Synced);
        assert_eq!(ended, Err(Why::EpochExhausted));
        assert_eq!(ledger.cursors().committed, last);
    }

    #[test]
    fn a_sync_waits_for_what_was_outstanding_when_it_came() {
        let (mut leader, mut ledger) = alone();
        leader.sync(&mut ledger, SyncToken(1));
        assert!(has_synced(&mut ledger, SyncToken(1)), "nothing is outstanding");
        for counter in 1..=2 {
            let zxid = Zxid(0x1_0000_0000 | counter);
            let entry = Entry { zxid, payload: "x".into() };
            leader.propose(&mut ledger, 0, entry, None).unwrap();
            if counter == 1 {
                leader.sync(&mut ledger, SyncToken(2));
            }
        }
        assert!(!has_synced(&mut ledger, SyncToken(2)));
        ledger.done(Disk::Synced(Zxid(0x1_0000_0001))).unwrap();
        leader.disk(&mut ledger, 0, Done::Synced).unwrap();
        assert!(has_synced(&mut ledger, SyncToken(2)), "the second one came later");
    }

    #[test]
    fn a_sync_that_came_when_too_few_followed_is_answered_before_the_next_commit() {
        let (mut leader, mut ledger) = alone();
        let early = |behind, token| {
            let syncer = Syncer::Own(SyncToken(token));
            PendingSync { behind, round: 0, syncer }
        };
        leader.syncs.push_back(early(leader.proposed, 1));
        let zxid = Zxid(0x1_0000_0001);
        let entry = Entry { zxid, payload: "x".into() };
        leader.propose(&mut ledger, 0, entry, None).unwrap();
        while ledger.poll_effect().is_some() {}
        ledger.done(Disk::Synced(zxid)).unwrap();
        leader.disk(&mut ledger, 0, Done::Synced).unwrap();
        leader.syncs.push_back(early(zxid, 2));
        let entry = Entry { zxid: Zxid(zxid.0 + 1), payload: "y".into() };
        leader.propose(&mut ledger, 0, entry, None).unwrap();
        ledger.done(Disk::Synced(Zxid(zxid.0 + 1))).unwrap();
        leader.disk(&mut ledger, 0, Done::Synced).unwrap();
        let told: Vec<Effect> = std::iter::from_fn(|| ledger.poll_effect()).collect();
        let place = |wanted: &Effect| told.iter().position(|effect| effect == wanted);
        for (token, commit) in [(1, zxid), (2, Zxid(zxid.0 + 1))] {
            let synced = place(&Effect::Synced(SyncToken(token))).unwrap();
            assert!(synced < place(&Effect::Commit(commit)).unwrap(), "{told:?}");
        }
    }

    /// Server 1 of three, without learners.
    fn of_three() -> (Leader, Ledger) {
        of("server.1=a:1:2\nserver.2=a:3:4\nserver.3=a:5:6\nversion=0")
    }

    /// Server 1 of these, without learners.
    fn of(text: &str) -> (Leader, Ledger) {
        let config = QuorumVerifier::parse(text, false).unwrap();
        let membership = Membership::new(Arc::new(config), None);
        let mut ledger = Ledger::new(Settings::new(Sid(1)), membership, Recovered::default());
        let leader = Leader::new(&mut ledger, 0, false);
        (leader, ledger)
    }

    fn follow(leader: &mut Leader, sid: i64, stage: Stage, observer: bool) {
        let mut link = Link::new(0, 9);
        link.stage = stage;
        link.learner = Some(Learner { sid: Sid(sid), observer, capabilities: None });
        leader.links.insert(LinkId(sid as u64), link);
    }

    /// A learner answers the oldest ping that it has not.
    fn pong(leader: &mut Leader, ledger: &mut Ledger, sid: u64) {
        leader.links.get_mut(&LinkId(sid)).unwrap().pongs += 1;
        leader.release_syncs(ledger);
    }

    /// As a leader that was frozen while the others elected another, and reads its clients before
    /// it reads that they have hung up.
    #[test]
    fn a_sync_waits_until_a_quorum_has_followed_since_it_came() {
        let (mut leader, mut ledger) = of_three();
        follow(&mut leader, 2, Stage::Broadcasting, false);
        follow(&mut leader, 3, Stage::Broadcasting, false);
        leader.ping(&mut ledger);
        leader.sync(&mut ledger, SyncToken(1));
        leader.sync(&mut ledger, SyncToken(2));
        let told: Vec<Effect> = std::iter::from_fn(|| ledger.poll_effect()).collect();
        let asked = |effect: &&Effect| matches!(effect, Effect::Send(_, Outgoing::Ping(_)));
        assert_eq!(told.iter().filter(asked).count(), 4, "each at the tick and for the first");
        pong(&mut leader, &mut ledger, 2);
        assert!(!has_synced(&mut ledger, SyncToken(1)), "the answer to what was asked before");
        pong(&mut leader, &mut ledger, 2);
        assert!(has_synced(&mut ledger, SyncToken(1)) && leader.syncs.len() == 1);
        pong(&mut leader, &mut ledger, 2);
        assert!(leader.syncs.is_empty() && has_synced(&mut ledger, SyncToken(2)));
        // A follower that is told so follows still.
        leader.sync_asked(&mut ledger, Syncer::Link(LinkId(3)));
        let answer = Effect::Send(LinkId(3), Outgoing::Sync);
        assert!(std::iter::from_fn(|| ledger.poll_effect()).any(|effect| effect == answer));
        // It is not enough that an observer or a stranger does.
        follow(&mut leader, 4, Stage::Broadcasting, false);
        follow(&mut leader, 3, Stage::Broadcasting, true);
        for id in [3, 4] {
            leader.sync_asked(&mut ledger, Syncer::Link(LinkId(id)));
            assert_eq!(leader.syncs.pop_front().map(|sync| sync.behind), Some(Zxid::ZERO));
        }
    }

    /// The answers of the followers and the disks are waited for together, not one after the other.
    #[test]
    fn a_sync_behind_a_write_asks_at_once_who_follows() {
        let (mut leader, mut ledger) = of_three();
        follow(&mut leader, 2, Stage::Broadcasting, false);
        leader.phase = Phase::Broadcast;
        leader.proposed = Zxid(1 << 32);
        let entry = Entry { zxid: Zxid(1 << 32 | 1), payload: "x".into() };
        leader.propose(&mut ledger, 0, entry, None).unwrap();
        let pings = |ledger: &mut Ledger| {
            let told = std::iter::from_fn(|| ledger.poll_effect());
            told.filter(|effect| matches!(effect, Effect::Send(_, Outgoing::Ping(_)))).count()
        };
        leader.sync(&mut ledger, SyncToken(1));
        assert_eq!(pings(&mut ledger), 1);
        (2..500).for_each(|token| leader.sync(&mut ledger, SyncToken(token)));
        assert_eq!(pings(&mut ledger), 0, "one round at a time");
        pong(&mut leader, &mut ledger, 2);
        assert_eq!(pings(&mut ledger), 1, "one round for all that came meanwhile");
        pong(&mut leader, &mut ledger, 2);
        assert_eq!(
            (pings(&mut ledger), leader.syncs.len()),
            (0, 499),
            "the write is not committed"
        );
        leader.acknowledged(&ledger, LinkId(2), Zxid(1 << 32 | 1)).unwrap();
        ledger.done(Disk::Synced(Zxid(1 << 32 | 1))).unwrap();
        leader.disk(&mut ledger, 0, Done::Synced).unwrap();
        assert!(leader.syncs.is_empty());
    }

    #[test]
    fn with_groups_three_of_five_commit_nothing_if_they_are_one_group() {
        let servers: String = (1..=5).map(|sid| format!("server.{sid}=a:{sid}:1{sid}\n")).collect();
        let groups = "group.1=1:2:3\ngroup.2=4\ngroup.3=5\nversion=0";
        let (mut leader, mut ledger) = of(&format!("{servers}{groups}"));
        (2..5).for_each(|sid| follow(&mut leader, sid, Stage::Broadcasting, false));
        leader.phase = Phase::Broadcast;
        leader.proposed = Zxid(1 << 32);
        let zxid = Zxid(1 << 32 | 1);
        leader.propose(&mut ledger, 0, Entry { zxid, payload: "x".into() }, None).unwrap();
        ledger.done(Disk::Synced(zxid)).unwrap();
        for (sid, committed) in [(2, Zxid::ZERO), (3, Zxid::ZERO), (4, zxid)] {
            assert_eq!(leader.acknowledged(&ledger, LinkId(sid), zxid), Ok(true));
            leader.commit_what_can_be(&mut ledger).unwrap();
            assert_eq!(ledger.cursors().committed, committed, "server {sid} has it");
        }
    }

    #[test]
    fn the_own_vote_is_needed_unless_enough_others_have_everything() {
        let (mut leader, ledger) = of_three();
        follow(&mut leader, 2, Stage::Broadcasting, false);
        follow(&mut leader, 4, Stage::Broadcasting, false);
        assert!(!leader.others_suffice(&ledger), "a stranger counts in no quorum");
        follow(&mut leader, 3, Stage::NewLeader, false);
        assert!(!leader.others_suffice(&ledger), "it is still being synchronised");
        follow(&mut leader, 3, Stage::Broadcasting, true);
        assert!(!leader.others_suffice(&ledger), "it observes");
        follow(&mut leader, 3, Stage::Broadcasting, false);
        assert!(leader.others_suffice(&ledger));
        leader.silence(LinkId(2));
        assert!(!leader.others_suffice(&ledger), "it has no voice");
        leader.links.remove(&LinkId(2));
        follow(&mut leader, 1, Stage::Broadcasting, false);
        assert!(!leader.others_suffice(&ledger), "who comes under our own name is not another");
    }

    fn has_synced(ledger: &mut Ledger, token: SyncToken) -> bool {
        std::iter::from_fn(|| ledger.poll_effect()).any(|effect| effect == Effect::Synced(token))
    }
}
