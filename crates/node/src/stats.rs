//! What a node counts while it works: plain numbers of one owner each, added up where they are
//! shown.
//!
//! Counting costs an addition or two; nothing here reads a clock, and no path is copied unless its
//! namespace is new. Each owner then adds its numbers to a [`Metrics`], where they get ZooKeeper's
//! names.

use oxkeeper_proto::OpCode;
use oxkeeper_tree::watch::Fired;
use oxkeeper_tree::{ChangeKind, Changes};

use crate::messages::Now;
use crate::metrics::{DetailedSummary, Keyed, Merge, Metrics, Summary, top_namespace};

/// Counters of one Front.
#[derive(Debug, Clone, Default)]
pub struct FrontStats {
    /// Requests and handshakes received.
    pub packets_received: u64,
    /// Replies and events sent.
    pub packets_sent: u64,
    /// Bytes of requests.
    pub bytes_received: u64,
    /// Bytes of replies, without their length fields.
    pub response_bytes: u64,
    /// Bytes of events.
    pub watch_bytes: u64,
    /// Handshakes begun.
    pub connection_requests: u64,
    /// Frames refused for their length.
    pub frames_refused: u64,
    /// auth packets refused.
    pub auth_failed: u64,
    /// Watches refused for a limit.
    pub watches_refused: u64,
    /// Large requests refused.
    pub large_requests_rejected: u64,
    /// Connections that never opened a session.
    pub sessionless_expired: u64,
    /// Connections that their client dropped without closing the session.
    pub dropped_by_client: u64,
    /// Times a connection was not read because of the limit on requests under way.
    pub throttle_waits: u64,
    /// Outcomes of writes whose connection had closed.
    pub stale_replies: u64,
    /// From receiving a read to answering it, ms.
    pub read_latency: DetailedSummary,
    /// From receiving a write to answering it, ms.
    pub update_latency: DetailedSummary,
    /// How long reads waited behind writes of their session, ms; only those that did.
    pub read_wait: DetailedSummary,
    /// Sizes of replies.
    pub response_sizes: Sizes,
    /// Watchers of one creation.
    pub created_watchers: Summary,
    /// Watchers of one deletion, per table.
    pub deleted_watchers: Summary,
    /// Watchers of one change of data.
    pub changed_watchers: Summary,
    /// Watchers of one change of children.
    pub children_watchers: Summary,
    /// Bytes of one read, by the first element of its path.
    pub reads: Keyed<Summary>,
}

/// The record of a stat, which Java counts with every read (`DataTree.STAT_OVERHEAD_BYTES`).
const STAT_BYTES: usize = 68;

impl FrontStats {
    /// Notes one answered request and the bytes of its reply's frame.
    #[inline]
    pub fn answered(&mut self, op: OpCode, took_ms: u64, bytes: usize) {
        self.packets_sent += 1;
        self.response_bytes += bytes.saturating_sub(4) as u64;
        self.response_sizes.record(bytes.saturating_sub(4));
        if op.class() == oxkeeper_proto::Class::Write {
            self.update_latency.record(took_ms);
        } else {
            self.read_latency.record(took_ms);
        }
    }

    /// Notes a new session: a write if the ensemble knows of it, else it concerns this server alone
    /// as a read does.
    pub fn opened(&mut self, took_ms: u64, is_global: bool) {
        match is_global {
            true => self.update_latency.record(took_ms),
            false => self.read_latency.record(took_ms),
        }
    }

    /// Notes a read of `bytes` at a path (`DataTree.updateReadStat`).
    #[inline]
    pub fn read(&mut self, path: &str, bytes: usize) {
        if let Some(namespace) = top_namespace(path)
            && let Some(summary) = self.reads.entry(namespace)
        {
            summary.record((path.len() + bytes + STAT_BYTES) as u64);
        }
    }

    /// Notes how many watchers a change had; ZooKeeper adds no zeros.
    #[inline]
    pub fn fired(&mut self, kind: ChangeKind, fired: Fired) {
        let (own, child) = match kind {
            ChangeKind::Created => (&mut self.created_watchers, 0),
            ChangeKind::Deleted => (&mut self.deleted_watchers, fired.child),
            ChangeKind::DataChanged => (&mut self.changed_watchers, 0),
        };
        for watchers in [fired.data, child] {
            if watchers > 0 {
                own.record(watchers as u64);
            }
        }
        if fired.parent > 0 {
            self.children_watchers.record(fired.parent as u64);
        }
    }

    /// Latency of all requests.
    pub fn latency(&self) -> Summary {
        let mut all = *self.read_latency.summary();
        all.merge(self.update_latency.summary());
        all
    }

    /// Adds these numbers to what is shown.
    pub fn add_to(&self, metrics: &mut Metrics) {
        metrics.watch_bytes += self.watch_bytes;
        metrics.sessionless_connections_expired += self.sessionless_expired;
        metrics.connection_drop_count += self.dropped_by_client;
        metrics.bytes_received_count += self.bytes_received;
        metrics.request_throttle_wait_count += self.throttle_waits;
        metrics.stale_replies += self.stale_replies;
        metrics.response_bytes += self.response_bytes;
        metrics.large_requests_rejected += self.large_requests_rejected;
        metrics.connection_request_count += self.connection_requests;
        metrics.node_created_watch_count.merge(&self.created_watchers);
        metrics.node_deleted_watch_count.merge(&self.deleted_watchers);
        metrics.node_changed_watch_count.merge(&self.changed_watchers);
        metrics.node_children_watch_count.merge(&self.children_watchers);
        metrics.readlatency.merge(&self.read_latency);
        metrics.updatelatency.merge(&self.update_latency);
        metrics.read_commitproc_time_ms.merge(&self.read_wait);
        metrics.read_per_namespace.merge_from(&self.reads);
    }

    /// `srst`: starts anew. Namespaces stay, as in ZooKeeper.
    pub fn reset(&mut self) {
        let mut reads = std::mem::take(&mut self.reads);
        reads.reset();
        *self = FrontStats { reads, ..FrontStats::default() };
    }
}

/// Sizes of replies without their length field, or of proposals (`BufferStats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The last; −1 before the first, like the others.
    pub last: i64,
    /// The smallest.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { last: -1, min: -1, max: -1 }
    }
}

impl Sizes {
    /// Adds one.
    #[inline]
    pub fn record(&mut self, bytes: usize) {
        let bytes = bytes as i64;
        self.last = bytes;
        self.max = self.max.max(bytes);
        if self.min < 0 || bytes < self.min {
            self.min = bytes;
        }
    }

    /// Adds another Front's. Which reply was the last of all is not known; one of the last is.
    pub fn merge(&mut self, other: &Sizes) {
        if other.last < 0 {
            return;
        }
        self.last = other.last;
        self.max = self.max.max(other.max);
        self.min = if self.min < 0 { other.min } else { self.min.min(other.min) };
    }
}

/// Counters of the core.
#[derive(Debug, Clone, Default)]
pub struct CoreStats {
    /// Sessions that ended because nothing was heard of their clients.
    pub sessions_expired: u64,
    /// Handshakes that renewed a session.
    pub sessions_renewed: u64,
    /// Transactions proposed.
    pub proposed: u64,
    /// Snapshots begun.
    pub snapshots: u64,
    /// Handshakes that the connection throttle dropped.
    pub connections_dropped: u64,
    /// Containers and TTL znodes removed.
    pub reaped: u64,
    /// Tokens missing in the connection throttle, at each handshake.
    pub token_deficit: Summary,
    /// Writes refused for a quota, by the first element of their path.
    pub quota_exceeded: Keyed<u64>,
    /// Bytes of one write, by the first element of its path.
    pub writes: Keyed<Summary>,
    /// From a transaction's proposal to its application here, ms.
    pub propagation: DetailedSummary,
    /// The ensemble's work.
    pub ensemble: EnsembleStats,
}

/// Counters of a member of an ensemble.
#[derive(Debug, Clone, Default)]
pub struct EnsembleStats {
    /// Times it began to look for a leader.
    pub looked: u64,
    /// Times it gave up leading for a voter that had promised to follow a later leader.
    pub outpromised: u64,
    /// Transactions proposed as a leader.
    pub proposed: u64,
    /// Transactions committed as a leader.
    pub committed: u64,
    /// Commits, in every role, and syncs that came back.
    pub commits_queued: u64,
    /// PROPOSALs received as a follower.
    pub proposals_received: u64,
    /// COMMITs and INFORMs received as a learner.
    pub commits_received: u64,
    /// Transactions logged as a learner.
    pub logged: u64,
    /// Learners synchronised by DIFF or TRUNC.
    pub diffs: u64,
    /// Learners synchronised by SNAP.
    pub snaps: u64,
    /// REVALIDATEs of learners.
    pub revalidations: u64,
    /// From beginning to look for a leader to leading or following, ms.
    pub election: Summary,
    /// From ceasing to serve to serving again, ms.
    pub unavailable: Summary,
    /// The same where this server leads then, ms.
    pub leader_unavailable: Summary,
    /// Taking over history as a follower, ms.
    pub follower_sync: Summary,
    /// Taking over history as an observer, ms.
    pub observer_sync: Summary,
    /// Synchronisations by DIFF or TRUNC under way, whenever one begins or ends.
    pub diffs_under_way: Summary,
    /// The same by SNAP.
    pub snaps_under_way: Summary,
    /// From a transaction's header to its PROPOSAL, ms.
    pub proposal: DetailedSummary,
    /// From a transaction's header to its being on this voter's disk, ms.
    pub own_ack: DetailedSummary,
    /// From a transaction's header to its quorum, as a leader, ms.
    pub quorum_ack: DetailedSummary,
    /// From a transaction's header to its commit, as a learner, ms.
    pub commit_propagation: DetailedSummary,
    /// From a commit to its application, for writes of clients here, ms.
    pub own_committed: DetailedSummary,
    /// The same for all other writes, ms.
    pub others_committed: DetailedSummary,
    /// From a request to its application, for writes of clients here, ms.
    pub own_write: DetailedSummary,
    /// From a transaction's header to each server's ACK, ms; a sample.
    pub acks: Keyed<DetailedSummary>,
}

impl EnsembleStats {
    fn add_to(&self, metrics: &mut Metrics) {
        metrics.looking_count += self.looked;
        metrics.quit_leading_due_to_disloyal_voter += self.outpromised;
        metrics.proposal_count += self.proposed;
        metrics.commit_count += self.committed;
        metrics.request_commit_queued += self.commits_queued;
        metrics.learner_proposal_received_count += self.proposals_received;
        metrics.learner_commit_received_count += self.commits_received;
        metrics.sync_processor_request_queued += self.logged;
        metrics.diff_count += self.diffs;
        metrics.snap_count += self.snaps;
        metrics.revalidate_count += self.revalidations;
        metrics.election_time.merge(&self.election);
        metrics.unavailable_time.merge(&self.unavailable);
        metrics.leader_unavailable_time.merge(&self.leader_unavailable);
        metrics.follower_sync_time.merge(&self.follower_sync);
        metrics.observer_sync_time.merge(&self.observer_sync);
        metrics.inflight_diff_count.merge(&self.diffs_under_way);
        metrics.inflight_snap_count.merge(&self.snaps_under_way);
        metrics.proposal_latency.merge(&self.proposal);
        metrics.proposal_ack_creation_latency.merge(&self.own_ack);
        metrics.quorum_ack_latency.merge(&self.quorum_ack);
        metrics.commit_propagation_latency.merge(&self.commit_propagation);
        metrics.local_write_committed_time_ms.merge(&self.own_committed);
        metrics.server_write_committed_time_ms.merge(&self.others_committed);
        metrics.write_commitproc_time_ms.merge(&self.own_write);
        metrics.ack_latency.merge_from(&self.acks);
    }

    fn reset(&mut self) {
        let mut acks = std::mem::take(&mut self.acks);
        acks.reset();
        *self = EnsembleStats { acks, ..EnsembleStats::default() };
    }
}

impl CoreStats {
    /// Notes what a transaction wrote (`DataTree.updateWriteStat`): `changes` is what came of it.
    #[inline]
    pub fn wrote(&mut self, changes: &Changes) {
        for change in changes.iter() {
            if let Some(namespace) = top_namespace(change.path)
                && let Some(summary) = self.writes.entry(namespace)
            {
                summary.record((change.path.len() + change.data_bytes) as u64);
            }
        }
    }

    /// Notes that a transaction is applied, which was proposed at `time_ms` by its leader's clock.
    /// If that is ahead of ours, nothing is learnt from it.
    #[inline]
    pub fn propagated(&mut self, now: Now, time_ms: i64) {
        if let Ok(took_ms) = u64::try_from(now.wall_ms - time_ms) {
            self.propagation.record(took_ms);
        }
    }

    /// Notes a write that a quota refused.
    pub fn over_quota(&mut self, path: &str) {
        if let Some(namespace) = top_namespace(path)
            && let Some(count) = self.quota_exceeded.entry(namespace)
        {
            *count += 1;
        }
    }

    /// Adds these numbers to what is shown.
    pub fn add_to(&self, metrics: &mut Metrics) {
        metrics.stale_sessions_expired += self.sessions_expired;
        metrics.connection_revalidate_count += self.sessions_renewed;
        metrics.prep_processor_request_queued += self.proposed;
        metrics.sync_processor_request_queued += self.proposed;
        metrics.connection_token_deficit.merge(&self.token_deficit);
        metrics.quota_exceeded_error_per_namespace.merge_from(&self.quota_exceeded);
        metrics.write_per_namespace.merge_from(&self.writes);
        metrics.propagation_latency.merge(&self.propagation);
        self.ensemble.add_to(metrics);
    }

    /// `srst`: starts anew. Namespaces stay, as in ZooKeeper.
    pub fn reset(&mut self) {
        let mut quota_exceeded = std::mem::take(&mut self.quota_exceeded);
        let mut writes = std::mem::take(&mut self.writes);
        quota_exceeded.reset();
        writes.reset();
        let mut ensemble = std::mem::take(&mut self.ensemble);
        ensemble.reset();
        *self = CoreStats { quota_exceeded, writes, ensemble, ..CoreStats::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxkeeper_tree::{AclHandle, Change};

    #[test]
    fn what_is_counted_is_shown_under_zookeepers_names() {
        let mut front = FrontStats::default();
        front.answered(OpCode::GET_DATA, 3, 24);
        front.answered(OpCode::CREATE, 7, 104);
        front.read("/app/x", 10);
        front.fired(ChangeKind::Deleted, Fired { data: 2, child: 1, parent: 4 });
        front.fired(ChangeKind::Created, Fired::default());
        let mut metrics = Metrics::default();
        front.add_to(&mut metrics);
        assert_eq!((metrics.readlatency.summary().sum(), metrics.response_bytes), (3, 120));
        assert_eq!(metrics.updatelatency.summary().count(), 1);
        assert_eq!(metrics.node_deleted_watch_count.count(), 2);
        assert_eq!(metrics.node_children_watch_count.sum(), 4);
        assert_eq!(metrics.node_created_watch_count.count(), 0);
        let read = metrics.read_per_namespace.iter().next().map(|(name, s)| (name, s.sum()));
        assert_eq!(read, Some(("app", 6 + 10 + 68)));
        let latency = front.latency();
        assert_eq!((latency.min(), latency.max(), latency.avg()), (3, 7, 5.0));
        assert_eq!(front.response_sizes, Sizes { last: 100, min: 20, max: 100 });
    }

    #[test]
    fn a_reset_keeps_the_namespaces_and_nothing_else() {
        let mut core = CoreStats { proposed: 5, ..CoreStats::default() };
        let mut changes = Changes::new();
        let acl = &AclHandle::OPEN;
        let (kind, path, zxid) = (ChangeKind::Created, "/a/b", oxkeeper_proto::Zxid(1));
        changes.push(Change { kind, path, zxid, data_bytes: 3, acl, parent_acl: acl });
        core.wrote(&changes);
        core.over_quota("/q/r");
        core.reset();
        assert_eq!(core.proposed, 0);
        let counts = |keyed: &Keyed<Summary>| keyed.iter().map(|(_, s)| s.count()).sum::<u64>();
        assert_eq!((core.writes.iter().count(), counts(&core.writes)), (1, 0));
        assert!(core.quota_exceeded.iter().eq([("q", &0)]));
    }

    #[test]
    fn sizes_of_several_fronts_add_up() {
        let mut all = Sizes::default();
        all.merge(&Sizes::default());
        assert_eq!(all, Sizes { last: -1, min: -1, max: -1 });
        all.merge(&Sizes { last: 5, min: 5, max: 9 });
        all.merge(&Sizes { last: 7, min: 2, max: 7 });
        assert_eq!(all, Sizes { last: 7, min: 2, max: 9 });
    }
}
