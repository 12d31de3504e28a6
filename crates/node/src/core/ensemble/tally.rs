//! What a member counts of its ensemble's work, and the moments it has to remember for that.
//!
//! Everything counted here passes by in the core anyway: packets, what the agreement wants done,
//! reports of the disk. Counting costs some additions per transaction. Latencies between servers
//! go by the time in a transaction's header, which is the leader's clock; where the clocks are so
//! far apart that one would be negative, it is not counted (`Request.logLatency`).
//!
//! Only a role in which clients are served is counted: what a learner catches up with is old.

use std::collections::{BTreeMap, VecDeque};

use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_zab as zab;
use zab::{LinkId, Outgoing, Peer, State, Why};

use super::time_of;
use crate::messages::Now;
use crate::metrics::DetailedSummary;
use crate::stats::{EnsembleStats, Sizes};

/// Of how many proposals the time of each acknowledgement is kept
/// (`zookeeper.leader.ackLoggingFrequency`).
const ACKS_SAMPLED: i64 = 1000;

/// See the module's essay.
#[derive(Debug, Default)]
pub struct Tally {
    /// When the present state began, monotonic ms.
    began_ms: u64,
    /// Since when clients are served in it.
    served_ms: Option<u64>,
    /// Since when a leader is looked for.
    looking_ms: Option<u64>,
    /// Since when nobody is served.
    unserved_ms: Option<u64>,
    /// Since when a learner takes over history.
    synchronizing_ms: Option<u64>,
    proposal_sizes: Sizes,
    under_way: UnderWay,
    /// Learners that are being synchronised; true by a snapshot.
    synchronizing: BTreeMap<LinkId, bool>,
}

impl Tally {
    /// How long the present state has lasted, ms.
    pub fn age_ms(&self, now: Now) -> u64 {
        now.mono_ms().saturating_sub(self.began_ms)
    }

    /// How long clients have been served in it, ms.
    pub fn serving_ms(&self, now: Now) -> u64 {
        self.served_ms.map_or(0, |since_ms| now.mono_ms().saturating_sub(since_ms))
    }

    /// Sizes of this leader's proposals.
    pub fn proposal_sizes(&self) -> Sizes {
        self.proposal_sizes
    }

    /// `srst`: sizes start anew; what goes on, goes on.
    pub fn reset(&mut self) {
        self.proposal_sizes = Sizes::default();
    }

    /// A packet came in; it has not been handled yet.
    pub(super) fn packet(
        &mut self,
        stats: &mut EnsembleStats,
        now: Now,
        peer: &Peer,
        link: LinkId,
        packet: &Packet<'_>,
    ) {
        match packet {
            Packet::Proposal { entry, .. } if learns(peer) => {
                stats.proposals_received += 1;
                if let Some(time_ms) = time_of(entry) {
                    latency(&mut stats.proposal, now, time_ms);
                }
            }
            Packet::Commit { .. } | Packet::Inform { .. } if learns(peer) => {
                stats.commits_received += 1;
            }
            Packet::Revalidate { .. } if peer.leading().is_some() => stats.revalidations += 1,
            Packet::Ack { zxid } if zxid.counter() == 0 => {
                if let Some(by_snapshot) = self.synchronizing.remove(&link) {
                    self.synchronizations(stats, by_snapshot);
                }
            }
            Packet::Ack { zxid } if zxid.0 % ACKS_SAMPLED == 0 => {
                let learner = peer.leading().and_then(|leader| {
                    leader.links().find(|(id, _)| *id == link).map(|(_, link)| link.sid())
                });
                if let (Some(sid), Some(time_ms)) = (learner, self.under_way.time_of(*zxid)) {
                    acked(stats, now, sid, time_ms);
                }
            }
            _ => {}
        }
    }

    /// The agreement wants something done.
    pub(super) fn effect(
        &mut self,
        stats: &mut EnsembleStats,
        now: Now,
        peer: &Peer,
        effect: &zab::Effect,
    ) {
        match effect {
            zab::Effect::Append(entry) | zab::Effect::Hold(entry) if learns(peer) => {
                let logged = matches!(effect, zab::Effect::Append(_));
                stats.logged += u64::from(logged);
                if let Some(time_ms) = time_of(&entry.payload) {
                    self.under_way.add(entry.zxid, time_ms);
                }
                if !logged {
                    self.under_way.synced(entry.zxid, |_, _| {});
                }
            }
            zab::Effect::Commit(zxid) if peer.established().is_some() => {
                stats.commits_queued += 1;
                let latencies = if peer.leading().is_some() {
                    stats.committed += 1;
                    &mut stats.quorum_ack
                } else {
                    &mut stats.commit_propagation
                };
                self.under_way.committed(*zxid, now, |time_ms| latency(latencies, now, time_ms));
            }
            zab::Effect::Synced(_) if peer.leading().is_none() => stats.commits_queued += 1,
            zab::Effect::Send(link, Outgoing::Snap(_)) => {
                stats.snaps += 1;
                self.synchronizing.insert(*link, true);
                self.synchronizations(stats, true);
            }
            zab::Effect::Send(link, Outgoing::Diff(_) | Outgoing::Trunc(_)) => {
                stats.diffs += 1;
                self.synchronizing.insert(*link, false);
                self.synchronizations(stats, false);
            }
            zab::Effect::Close(link, _) => self.unlinked(*link),
            zab::Effect::State(state) => self.entered(stats, now, *state),
            _ => {}
        }
        // The phase has no effect of its own.
        if self.synchronizing_ms.is_none()
            && self.served_ms.is_none()
            && peer.leading().is_none()
            && peer.zab_state() == "synchronization"
        {
            self.synchronizing_ms = Some(now.mono_ms());
        }
    }

    /// A learner's connection is over.
    pub(super) fn unlinked(&mut self, link: LinkId) {
        self.synchronizing.remove(&link);
    }

    fn synchronizations(&self, stats: &mut EnsembleStats, by_snapshot: bool) {
        let count = self.synchronizing.values().filter(|by| **by == by_snapshot).count() as u64;
        match by_snapshot {
            true => stats.snaps_under_way.record(count),
            false => stats.diffs_under_way.record(count),
        }
    }

    fn entered(&mut self, stats: &mut EnsembleStats, now: Now, state: State) {
        let now_ms = now.mono_ms();
        *self = Tally {
            began_ms: now_ms,
            looking_ms: self.looking_ms,
            unserved_ms: self.unserved_ms.or(Some(now_ms)),
            ..Tally::default()
        };
        match state {
            State::Looking => {
                stats.looked += 1;
                self.looking_ms.get_or_insert(now_ms);
            }
            State::Leading | State::Following(_) => {
                if let Some(since_ms) = self.looking_ms.take() {
                    stats.election.record(now_ms.saturating_sub(since_ms));
                }
            }
            State::Observing(_) => self.looking_ms = None,
            State::Settling(why) => stats.outpromised += u64::from(why == Why::Outpromised),
        }
    }

    /// Clients are served from now on.
    pub(super) fn serves(&mut self, stats: &mut EnsembleStats, now: Now, state: State) {
        let now_ms = now.mono_ms();
        self.served_ms = Some(now_ms);
        let unserved_ms = self.unserved_ms.take().map(|since_ms| now_ms.saturating_sub(since_ms));
        if let Some(took_ms) = unserved_ms {
            stats.unavailable.record(took_ms);
        }
        let synchronized = self.synchronizing_ms.take();
        let synchronized = synchronized.map(|since_ms| now_ms.saturating_sub(since_ms));
        match (state, unserved_ms, synchronized) {
            (State::Leading, Some(took_ms), _) => stats.leader_unavailable.record(took_ms),
            (State::Following(_), _, Some(took_ms)) => stats.follower_sync.record(took_ms),
            (State::Observing(_), _, Some(took_ms)) => stats.observer_sync.record(took_ms),
            _ => {}
        }
    }

    /// A leader has proposed a transaction.
    pub(super) fn proposed(
        &mut self,
        stats: &mut EnsembleStats,
        zxid: Zxid,
        time_ms: Option<i64>,
        bytes: usize,
    ) {
        stats.proposed += 1;
        self.proposal_sizes.record(bytes);
        if let Some(time_ms) = time_ms {
            self.under_way.add(zxid, time_ms);
        }
    }

    /// The log is on disk up to here.
    pub(super) fn synced(&mut self, stats: &mut EnsembleStats, now: Now, peer: &Peer, to: Zxid) {
        let votes = peer.configured() == zab::quorum::Role::Participant;
        let leads = peer.leading().is_some();
        let me = peer.sid();
        self.under_way.synced(to, |open, (zxid, time_ms)| {
            if votes {
                latency(&mut stats.own_ack, now, time_ms);
            }
            if leads && open && zxid.0 % ACKS_SAMPLED == 0 {
                acked(stats, now, me, time_ms);
            }
        });
    }

    /// A transaction is applied; `asked_ms` says when the client here that waits for it had asked.
    /// To a leader all of them are its own, from the time in their headers on.
    pub(in crate::core) fn applied(
        &mut self,
        stats: &mut EnsembleStats,
        now: Now,
        leads: bool,
        zxid: Zxid,
        asked_ms: Option<u64>,
    ) {
        let Some(Proposal { time_ms, committed_ms, .. }) = self.under_way.applied(zxid) else {
            return;
        };
        let waited_ms = now.mono_ms().saturating_sub(committed_ms);
        match asked_ms {
            _ if leads => latency(&mut stats.own_write, now, time_ms),
            Some(asked_ms) => stats.own_write.record(now.mono_ms().saturating_sub(asked_ms)),
            None => return stats.others_committed.record(waited_ms),
        }
        stats.own_committed.record(waited_ms);
    }
}

/// Whether this server learns and serves.
fn learns(peer: &Peer) -> bool {
    peer.leading().is_none() && peer.established().is_some()
}

fn latency(summary: &mut DetailedSummary, now: Now, time_ms: i64) {
    if let Ok(took_ms) = u64::try_from(now.wall_ms - time_ms) {
        summary.record(took_ms);
    }
}

fn acked(stats: &mut EnsembleStats, now: Now, sid: Sid, time_ms: i64) {
    if let Some(summary) = stats.acks.entry(&sid.0.to_string()) {
        latency(summary, now, time_ms);
    }
}

/// A transaction on its way.
#[derive(Debug, Clone, Copy)]
struct Proposal {
    zxid: Zxid,
    /// By its header, wall-clock ms.
    time_ms: i64,
    /// When its commit came, monotonic ms.
    committed_ms: u64,
}

/// Transactions from their proposal until they are both on disk and applied, in order. As many as
/// are kept in memory for other reasons.
#[derive(Debug, Default)]
struct UnderWay {
    proposals: VecDeque<Proposal>,
    /// How many of the first are on disk.
    synced: usize,
    /// How many of the first are committed.
    committed: usize,
    /// How many of the first are applied.
    applied: usize,
}

impl UnderWay {
    fn add(&mut self, zxid: Zxid, time_ms: i64) {
        self.proposals.push_back(Proposal { zxid, time_ms, committed_ms: 0 });
    }

    /// The time of a proposal that is not committed.
    fn time_of(&self, zxid: Zxid) -> Option<i64> {
        let open = self.proposals.range(self.committed..);
        open.clone().next().filter(|first| first.zxid <= zxid)?;
        let at = self.proposals.partition_point(|proposal| proposal.zxid < zxid);
        self.proposals.get(at).filter(|found| found.zxid == zxid).map(|found| found.time_ms)
    }

    /// Visits what is on disk only now: whether it is still uncommitted, zxid and time.
    fn synced(&mut self, to: Zxid, mut visit: impl FnMut(bool, (Zxid, i64))) {
        while let Some(proposal) = self.proposals.get(self.synced).filter(|next| next.zxid <= to) {
            visit(self.synced >= self.committed, (proposal.zxid, proposal.time_ms));
            self.synced += 1;
        }
        self.forget();
    }

    fn committed(&mut self, to: Zxid, now: Now, mut visit: impl FnMut(i64)) {
        while let Some(proposal) =
            self.proposals.get_mut(self.committed).filter(|next| next.zxid <= to)
        {
            proposal.committed_ms = now.mono_ms();
            visit(proposal.time_ms);
            self.committed += 1;
        }
    }

    /// A committed transaction that is applied now. Those before it that nobody has told of,
    /// because nobody was served yet, are over, too.
    fn applied(&mut self, zxid: Zxid) -> Option<Proposal> {
        let before = self.applied;
        while self.proposals.get(self.applied).is_some_and(|next| next.zxid <= zxid) {
            self.applied += 1;
        }
        let last = self.applied.checked_sub(1).filter(|last| *last >= before)?;
        let found = self.proposals[last];
        let told = last < self.committed && found.zxid == zxid;
        self.committed = self.committed.max(self.applied);
        self.forget();
        told.then_some(found)
    }

    fn forget(&mut self) {
        let done = self.synced.min(self.applied);
        self.proposals.drain(..done);
        self.synced -= done;
        self.committed -= done;
        self.applied -= done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_us: mono_ms * 1000, wall_ms: 1_000_000 + mono_ms as i64 }
    }

    fn under_way(counters: impl IntoIterator<Item = i64>) -> UnderWay {
        let mut under_way = UnderWay::default();
        counters.into_iter().for_each(|n| under_way.add(Zxid(n), 1_000_000 + n));
        under_way
    }

    #[test]
    fn a_transaction_is_forgotten_when_it_is_on_disk_and_applied_in_whatever_order() {
        let mut under_way = under_way(1..=3);
        let mut seen = Vec::new();
        under_way.committed(Zxid(2), at(50), |time_ms| seen.push(time_ms));
        assert_eq!(seen, [1_000_001, 1_000_002]);
        let applied = |under_way: &mut UnderWay, n| {
            under_way.applied(Zxid(n)).map(|proposal| proposal.committed_ms)
        };
        assert_eq!(applied(&mut under_way, 1), Some(50));
        assert_eq!(under_way.proposals.len(), 3, "nothing is on disk");
        let mut synced = Vec::new();
        under_way.synced(Zxid(3), |open, (zxid, _)| synced.push((open, zxid.0)));
        assert_eq!(synced, [(false, 1), (false, 2), (true, 3)]);
        assert_eq!(under_way.proposals.len(), 2);
        assert_eq!(applied(&mut under_way, 2), Some(50));
        under_way.committed(Zxid(3), at(60), |_| {});
        assert_eq!(applied(&mut under_way, 3), Some(60));
        assert!(under_way.proposals.is_empty());
    }

    #[test]
    fn what_was_applied_untold_is_not_kept() {
        let mut under_way = under_way(1..=4);
        under_way.synced(Zxid(4), |_, _| {});
        under_way.committed(Zxid(1), at(5), |_| {});
        under_way.committed(Zxid(3), at(7), |_| {});
        let applied = under_way.applied(Zxid(3)).map(|proposal| proposal.committed_ms);
        assert_eq!((applied, under_way.proposals.len()), (Some(7), 1));
        // Not even its commit was told.
        assert!(under_way.applied(Zxid(4)).is_none());
        assert!(under_way.proposals.is_empty() && under_way.committed == 0);
        assert!(under_way.applied(Zxid(5)).is_none());
    }

    #[test]
    fn an_acknowledgement_has_a_time_while_its_proposal_waits_for_others() {
        let mut under_way = under_way(999..=1_001);
        assert_eq!(under_way.time_of(Zxid(1_000)), Some(1_001_000));
        assert_eq!(under_way.time_of(Zxid(2_000)), None);
        under_way.committed(Zxid(1_000), at(1), |_| {});
        assert_eq!(under_way.time_of(Zxid(1_000)), None);
        assert_eq!(under_way.time_of(Zxid(1_001)), Some(1_001_001));
    }

    #[test]
    fn a_clock_that_is_behind_the_leaders_is_not_counted_with() {
        let mut summary = DetailedSummary::default();
        latency(&mut summary, at(7), 1_000_009);
        assert_eq!(summary.summary().count(), 0);
        latency(&mut summary, at(7), 1_000_002);
        assert_eq!(summary.summary().sum(), 5);
    }

    #[test]
    fn roles_and_the_time_between_them() {
        let (mut tally, mut stats) = (Tally::default(), EnsembleStats::default());
        tally.entered(&mut stats, at(100), State::Looking);
        tally.entered(&mut stats, at(300), State::Following(Sid(2)));
        tally.serves(&mut stats, at(350), State::Following(Sid(2)));
        assert_eq!((stats.looked, stats.election.sum(), stats.unavailable.sum()), (1, 200, 250));
        assert_eq!((tally.age_ms(at(400)), tally.serving_ms(at(400))), (100, 50));
        // The leader is lost; an election that fails once is one election.
        tally.entered(&mut stats, at(1_000), State::Settling(Why::LeaderLost));
        tally.entered(&mut stats, at(1_010), State::Looking);
        tally.entered(&mut stats, at(1_020), State::Leading);
        tally.entered(&mut stats, at(1_050), State::Settling(Why::Outpromised));
        tally.entered(&mut stats, at(1_060), State::Looking);
        tally.entered(&mut stats, at(1_160), State::Leading);
        tally.serves(&mut stats, at(1_170), State::Leading);
        assert_eq!((stats.looked, stats.outpromised), (3, 1));
        assert_eq!((stats.election.count(), stats.election.sum()), (3, 310));
        assert_eq!((stats.unavailable.count(), stats.unavailable.sum()), (2, 420));
        assert_eq!((stats.leader_unavailable.count(), stats.leader_unavailable.sum()), (1, 170));
    }

    #[test]
    fn synchronisations_of_each_kind_are_counted_apart() {
        let (mut tally, mut stats) = (Tally::default(), EnsembleStats::default());
        for (link, by_snapshot) in [(1, true), (2, false), (3, true)] {
            tally.synchronizing.insert(LinkId(link), by_snapshot);
            tally.synchronizations(&mut stats, by_snapshot);
        }
        assert_eq!((stats.snaps_under_way.count(), stats.snaps_under_way.max()), (2, 2));
        assert_eq!((stats.diffs_under_way.count(), stats.diffs_under_way.max()), (1, 1));
        tally.unlinked(LinkId(1));
        tally.synchronizations(&mut stats, true);
        assert_eq!((stats.snaps_under_way.min(), stats.snaps_under_way.max()), (1, 2));
    }
}
