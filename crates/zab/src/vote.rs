//! Ballots: what a server votes for, which vote is better, and which two are the same.
//!
//! A vote names a server and says how far its log reaches: the epoch in which it last followed or
//! led, and the last zxid that it logged, committed or not. The zxid must be the *logged* one: an
//! entry that a server acknowledged may be committed elsewhere without its knowledge, and would be
//! lost if it voted with less (ZOOKEEPER-2845).
//!
//! Two votes of servers that look for a leader are the same if everything in them is. Servers that
//! have settled are asked less: their zxid and round are those of whichever election they came out
//! of, and need not agree (ZOOKEEPER-1805); very old ones did not bring their epoch up to date
//! either (ZOOKEEPER-1732).

use std::borrow::Cow;
use std::sync::Arc;

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::{Notification, PeerState};

/// The form in which we write notifications (`Notification.CURRENTVERSION`).
pub const NOTIFICATION_VERSION: i32 = 2;

/// Whom a server wants to lead, and why (`Vote`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The server voted for.
    pub leader: Sid,
    /// The last zxid in that server's log when the vote was cast.
    pub zxid: Zxid,
    /// The epoch that server last took part in. Once a leader is established: its own epoch.
    pub peer_epoch: i64,
    /// The round of election.
    pub election_epoch: i64,
}

/// The texts of the configurations that go with a vote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configs {
    /// The one in force.
    pub in_force: Arc<str>,
    /// One that was proposed later: only ours read it.
    pub proposed: Option<Arc<str>>,
}

impl Vote {
    /// Whether this vote is the better one: by epoch, then zxid, then id
    /// (`totalOrderPredicate`, which also asks for the weight). The round has no part in it.
    pub fn beats(&self, other: &Vote) -> bool {
        let rank = |vote: &Vote| (vote.peer_epoch, vote.zxid, vote.leader);
        rank(self) > rank(other)
    }

    /// The message that tells others of it.
    pub fn notification<'a>(&self, state: PeerState, configs: &'a Configs) -> Notification<'a> {
        Notification {
            state,
            leader: self.leader,
            zxid: self.zxid,
            election_epoch: self.election_epoch,
            peer_epoch: self.peer_epoch,
            version: NOTIFICATION_VERSION,
            config: Some(Cow::Borrowed(&configs.in_force)),
            proposed: configs.proposed.as_deref().map(Cow::Borrowed),
        }
    }
}

impl From<&Notification<'_>> for Vote {
    fn from(from: &Notification<'_>) -> Vote {
        Vote {
            leader: from.leader,
            zxid: from.zxid,
            peer_epoch: from.peer_epoch,
            election_epoch: from.election_epoch,
        }
    }
}

/// A vote as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The vote.
    pub vote: Vote,
    /// What its sender did.
    pub state: PeerState,
    /// The form of the message; nothing is known of it for votes of the running round, where it
    /// counts as 0.
    pub version: i32,
}

impl Received {
    /// Whether both votes count for the same leader (`Vote.equals`).
    pub fn is_same(&self, other: &Received) -> bool {
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return self.vote == other.vote;
        }
        let epochs_compare = (self.version > 0) == (other.version > 0);
        self.vote.leader == other.vote.leader
            && (!epochs_compare || self.vote.peer_epoch == other.vote.peer_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(leader: i64, zxid: i64, peer_epoch: i64) -> Vote {
        Vote { leader: Sid(leader), zxid: Zxid(zxid), peer_epoch, election_epoch: 1 }
    }

    #[test]
    fn the_epoch_counts_before_the_zxid_before_the_id() {
        let ascending =
            [vote(9, 0x1_0000_0009, 1), vote(1, 0x2_0000_0001, 2), vote(3, 0x2_0000_0001, 2)];
        for (at, lower) in ascending.iter().enumerate() {
            for higher in &ascending[at + 1..] {
                assert!(higher.beats(lower) && !lower.beats(higher));
            }
            assert!(!lower.beats(lower));
        }
        // The zxid alone says nothing: an uncommitted entry of an older epoch loses.
        assert!(vote(1, 0x1_0000_0001, 2).beats(&vote(2, 0x1_0000_0005, 1)));
        // A round, however late, is no merit.
        assert!(!Vote { election_epoch: 7, ..vote(1, 1, 1) }.beats(&vote(2, 1, 1)));
    }

    #[test]
    fn settled_votes_compare_leader_and_epoch_alone() {
        let of = |state, version, vote| Received { vote, state, version };
        let leading = of(PeerState::Leading, 2, vote(3, 5, 2));
        let other_round = Vote { election_epoch: 4, ..vote(3, 7, 2) };
        assert!(leading.is_same(&of(PeerState::Following, 2, other_round)));
        assert!(!leading.is_same(&of(PeerState::Following, 2, vote(3, 5, 1))));
        assert!(!leading.is_same(&of(PeerState::Following, 2, vote(2, 5, 2))));
        // Between a version that knows its epoch and one that does not, the leader decides.
        assert!(leading.is_same(&of(PeerState::Following, 0, vote(3, 5, 1))));
        assert!(!of(PeerState::Leading, 0, vote(3, 5, 2)).is_same(&of(
            PeerState::Following,
            0,
            vote(3, 5, 1)
        )));
        // As soon as one of them is looking, everything counts.
        assert!(!leading.is_same(&of(PeerState::Looking, 2, other_round)));
        assert!(leading.is_same(&of(PeerState::Looking, 0, vote(3, 5, 2))));
    }
}
