//! What a member tells of itself in reports.
//!
//! Copies of what the agreement and the tally hold, for whoever formats them elsewhere. Which of it
//! exists depends on the role, as in ZooKeeper, where each kind of server registers gauges of its
//! own (`LeaderZooKeeperServer.registerMetrics` and its like).

use oxkeeper_proto::Payload;
use oxkeeper_zab as zab;
use zab::State;
use zab::quorum::Role;

use super::{Core, Part};
use crate::admin::{EnsembleView, MemberView, Mode};
use crate::core::Waiter;
use crate::front::Shared;
use crate::messages::Now;

impl Core {
    /// Whether clients are served, as far as the core knows: what [`Shared::serving`] says is
    /// older while serving ends.
    pub fn serves(&self, shared: &Shared) -> bool {
        let over = |e: &super::Ensemble| e.stopping || (e.part != Part::None && !e.serving);
        shared.serving && !self.ensemble.as_deref().is_some_and(over)
    }

    /// Requests of this server's clients that wait for their transaction.
    pub fn requests_waiting(&self) -> usize {
        let forwarded = self.ensemble.iter().flat_map(|ensemble| ensemble.pending.values());
        self.waiters.iter().flatten().count() + forwarded.map(|queue| queue.len()).sum::<usize>()
    }

    /// This server in its ensemble; `None` standalone. Meant for a server that serves: one that
    /// does so without a role is read-only.
    pub fn member(&self, now: Now) -> Option<MemberView> {
        let ensemble = self.ensemble.as_deref()?;
        let peer = &ensemble.peer;
        let uptime_ms = ensemble.tally.age_ms(now) as i64;
        let mode = match ensemble.state {
            State::Looking | State::Settling(_) => {
                return Some(MemberView { uptime_ms, ..MemberView::default() });
            }
            State::Leading => Mode::Leader,
            State::Following(_) => Mode::Follower,
            State::Observing(_) => Mode::Observer,
        };
        let mut view = MemberView {
            mode,
            peer_state: Some(format!("{} - {}", doing(mode), peer.zab_state())),
            uptime_ms,
            quorum_size: Some(peer.membership().current().voters().count() as i64),
            ..MemberView::default()
        };
        if mode == Mode::Observer {
            view.observer_master_id = Some(peer.learner_master().map_or(-1, |sid| sid.0));
        }
        if let Some(leader) = peer.leading() {
            let config = peer.membership().current();
            let forwarding = || leader.links().map(|(_, link)| link).filter(|l| l.forwards());
            let count = |links: usize| Some(links as i64);
            let followers = || forwarding().filter(|link| !link.observes());
            let non_voting = followers().filter(|link| !config.is_voter(link.sid()));
            view.learners = count(leader.links().count());
            view.synced_followers = count(followers().count());
            view.synced_non_voting_followers = count(non_voting.count());
            view.synced_observers = count(forwarding().filter(|link| link.observes()).count());
            view.pending_syncs = count(leader.pending_syncs());
            view.leader_uptime_ms = Some(ensemble.tally.serving_ms(now) as i64);
            let sizes = ensemble.tally.proposal_sizes();
            view.proposal_sizes = Some([sizes.last, sizes.min, sizes.max]);
        }
        Some(view)
    }

    /// A member's part of `conf`: `fixed` has what does not change while it runs.
    pub fn member_conf(&self, fixed: &EnsembleView) -> Option<EnsembleView> {
        let ensemble = self.ensemble.as_deref()?;
        let peer = &ensemble.peer;
        let config = peer.membership().current();
        let mut view = EnsembleView {
            peer_type: match peer.configured() {
                Role::Participant => 0,
                Role::Observer => 1,
            },
            ..fixed.clone()
        };
        if let Some(server) = config.server(peer.sid()) {
            let ports =
                |ports: Vec<u16>| ports.iter().map(u16::to_string).collect::<Vec<_>>().join("|");
            view.quorum_port = ports(server.addresses.iter().map(|a| a.port).collect());
            view.election_port = ports(server.addresses.iter().map(|a| a.election_port).collect());
        }
        // A server without an ensemble says nothing of it.
        view.membership = (ensemble.part != Part::None).then(|| config.to_string());
        Some(view)
    }

    /// Counts a transaction that was applied.
    pub(in crate::core) fn count_applied(
        &mut self,
        now: Now,
        payload: &Payload<'_>,
        waiter: Option<Waiter>,
    ) {
        if self.ensemble.as_ref().is_some_and(|ensemble| !ensemble.serving) {
            return;
        }
        self.stats.propagated(now, payload.header.time_ms);
        if let Some(ensemble) = &mut self.ensemble {
            let (leads, zxid) = (ensemble.part == Part::Leading, payload.header.zxid);
            let asked_ms = waiter.map(|waiter| waiter.asked_ms);
            ensemble.tally.applied(&mut self.stats.ensemble, now, leads, zxid, asked_ms);
        }
    }
}

/// The first part of `zk_peer_state` (`QuorumPeer.ServerState`).
fn doing(mode: Mode) -> &'static str {
    match mode {
        Mode::Leader => "leading",
        Mode::Follower => "following",
        Mode::Observer => "observing",
        Mode::Standalone | Mode::ReadOnly => "looking",
    }
}
