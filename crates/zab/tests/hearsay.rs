//! What a server has only heard of members it knows for one search.
//!
//! The election says when it hears and forgets (`scripts/election/heard_of_proposed*.txt`); here it
//! is the whole peer, whose membership its ports go by.

use std::sync::Arc;

use oxkeeper_proto::notification::PeerState;
use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::vote::{Configs, Vote};
use oxkeeper_zab::{Peer, Recovered, Settings, election};

#[test]
fn the_next_search_begins_without_what_was_heard() {
    let text = "server.1=a:1:2\nserver.3=c:1:2\nversion=1";
    let in_force = Arc::new(QuorumVerifier::parse(text, false).unwrap());
    let settings = Settings { reconfig_enabled: true, ..Settings::new(Sid(1)) };
    let voting = election::Settings { reconfig_enabled: true, ..Default::default() };
    let recovered = Recovered { last_logged: Zxid(5), trusted: true, ..Recovered::default() };
    let mut peer = Peer::new(settings, voting, Membership::new(in_force, None), recovered);
    peer.start(0);
    let vote = Vote { leader: Sid(2), zxid: Zxid(9), peer_epoch: 1, election_epoch: 1 };
    let proposed = "server.1=a:1:2\nserver.2=b:1:2\nversion=7".into();
    let configs = Configs { in_force: text.into(), proposed: Some(proposed) };
    peer.notification(3_000, Sid(3), &vote.notification(PeerState::Looking, &configs));
    assert!(peer.membership().is_voter(Sid(2)), "heard");
    peer.wake(10_000);
    assert_eq!(peer.state(), PeerState::Following, "it went there");
    assert!(peer.membership().is_voter(Sid(2)), "it needs the address");
    peer.step_down(11_000);
    assert_eq!(peer.state(), PeerState::Looking);
    assert!(!peer.membership().is_voter(Sid(2)), "and it has forgotten");
}
