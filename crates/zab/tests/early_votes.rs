//! Votes that come before a server looks: the first to notice that a leader is gone tells its vote
//! while the others still follow, and says it again a good while later.

use std::sync::Arc;

use oxkeeper_proto::notification::{Notification, PeerState};
use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{Effect, Input, Peer, Recovered, Settings, election};

/// Server 1 of 3, following server 2.
fn follower() -> Peer {
    let config = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=0";
    let config = QuorumVerifier::parse(config, false).unwrap();
    let membership = Membership::new(Arc::new(config), None);
    let voting = election::Settings::default();
    let mut peer = Peer::new(Settings::new(Sid(1)), voting, membership, Recovered::default());
    peer.start(0);
    peer.handle(0, Input::Elected(Sid(2)));
    peer
}

/// What server 3 says that looks for a leader and has more than the others.
fn vote() -> Notification<'static> {
    Notification {
        state: PeerState::Looking,
        leader: Sid(3),
        zxid: Zxid(9),
        election_epoch: 2,
        peer_epoch: 0,
        version: Notification::VERSION,
        config: None,
        proposed: None,
    }
}

/// Loses the leader at `ms`, and says whom this server then votes for first and last.
fn votes_after(peer: &mut Peer, ms: u64) -> (Sid, Sid) {
    while peer.poll_effect().is_some() {}
    peer.step_down(ms);
    let votes: Vec<Sid> = std::iter::from_fn(|| peer.poll_effect())
        .filter_map(|effect| match effect {
            Effect::Notify { state: PeerState::Looking, vote, .. } => Some(vote.leader),
            _ => None,
        })
        .collect();
    (votes[0], votes[votes.len() - 1])
}

#[test]
fn a_vote_that_came_too_early_counts_when_this_server_looks() {
    let mut peer = follower();
    peer.notification(10, Sid(3), &vote());
    assert_eq!(votes_after(&mut peer, 11), (Sid(1), Sid(3)));
}

#[test]
fn an_old_vote_and_one_that_was_taken_back_do_not() {
    let mut peer = follower();
    peer.notification(10, Sid(3), &vote());
    assert_eq!(votes_after(&mut peer, 5_000), (Sid(1), Sid(1)));
    let mut peer = follower();
    peer.notification(10, Sid(3), &vote());
    let follows = Notification { state: PeerState::Following, leader: Sid(2), ..vote() };
    peer.notification(11, Sid(3), &follows);
    assert_eq!(votes_after(&mut peer, 12), (Sid(1), Sid(1)));
}
