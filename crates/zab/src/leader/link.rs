//! One learner as its leader sees it (`LearnerHandler`, as a value).
//!
//! A link is the place in the protocol that a learner has reached, when it was last heard, and how
//! far behind its acknowledgements are. It holds no packets: what is sent is the host's at once,
//! and what is still to be sent is a position in history.

use oxkeeper_proto::{Capabilities, Sid, Zxid};

use crate::messages::Violation;

/// Where a learner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connected; FOLLOWERINFO or OBSERVERINFO is to come.
    Greeting,
    /// It waits for LEADERINFO, which waits for the epoch.
    AwaitingEpoch,
    /// LEADERINFO is sent; ACKEPOCH is to come.
    AckEpoch,
    /// ACKEPOCH has come; a quorum of them is awaited.
    AwaitingQuorum {
        /// Its last logged transaction.
        last: Zxid,
    },
    /// The host was asked what the log holds.
    Surveying {
        /// Its last logged transaction.
        last: Zxid,
    },
    /// The host opens a snapshot.
    OpeningSnapshot {
        /// The snapshot has to reach so far.
        at_least: Zxid,
    },
    /// It is served from the log on disk.
    Reading {
        /// Everything up to this one was sent.
        sent: Zxid,
    },
    /// NEWLEADER is sent, and it gets everything new; its ACK is to come.
    NewLeader,
    /// It has the whole initial history; UPTODATE is sent as soon as the epoch is established.
    Synchronized,
    /// UPTODATE is sent.
    Broadcasting,
}

/// How a learner is synchronised, as far as their number is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncing {
    /// By a snapshot.
    Snap,
    /// By transactions.
    Diff,
}

/// Who a learner is.
#[derive(Debug, Clone)]
pub struct Learner {
    /// Its id; unknown ones are served and count in no quorum.
    pub sid: Sid,
    /// It came with OBSERVERINFO.
    pub observer: bool,
    /// What it can do beyond Apache's rules, if it is one of ours.
    pub capabilities: Option<Capabilities>,
}

/// See the module's essay.
#[derive(Debug)]
pub struct Link {
    /// Where it stands.
    pub stage: Stage,
    /// Who it is, once it has said so.
    pub learner: Option<Learner>,
    /// When its last packet came.
    pub heard_ms: u64,
    /// The same in the leader's running time.
    pub heard_ran_ms: u64,
    /// How it is being synchronised, until it acknowledges NEWLEADER.
    pub syncing: Option<Syncing>,
    /// It was told the ensemble's number.
    pub told_ensemble_id: bool,
    /// It answers pulses.
    pub pulses: bool,
    /// The tick up to which it counts as alive (`tickOfNextAckDeadline`).
    pub alive_until_tick: u64,
    /// What a follower of ours has on disk once it is synchronised: it acknowledges with the
    /// history what was outstanding then.
    pub holds: Zxid,
    /// The last acknowledgement that came while none counted: before that of NEWLEADER
    /// (ZOOKEEPER-4685), or while it had no voice.
    pub early_ack: Zxid,
    /// It has lost its data and counts for nothing: the round of pings that was the last when it
    /// said so.
    pub silenced_at: Option<u64>,
    /// The first round of pings that it has to answer.
    pub first_round: Option<u64>,
    /// How many it has answered.
    pub pongs: u64,
    lag: Lag,
}

/// The oldest and the newest proposal without acknowledgement, and when they were sent.
#[derive(Debug, Default)]
struct Lag {
    oldest: Option<(Zxid, u64)>,
    newest: Option<(Zxid, u64)>,
}

impl Link {
    /// A connection that has said nothing yet.
    pub fn new(now_ms: u64, alive_until_tick: u64) -> Link {
        Link {
            stage: Stage::Greeting,
            learner: None,
            heard_ms: now_ms,
            heard_ran_ms: 0,
            syncing: None,
            told_ensemble_id: false,
            pulses: false,
            alive_until_tick,
            holds: Zxid::ZERO,
            early_ack: Zxid::ZERO,
            silenced_at: None,
            first_round: None,
            pongs: 0,
            lag: Lag::default(),
        }
    }

    /// The learner's id; of someone who has not said it, one that is in no configuration.
    pub fn sid(&self) -> Sid {
        self.learner.as_ref().map_or(Sid(-1), |learner| learner.sid)
    }

    /// Whether it came as an observer.
    pub fn observes(&self) -> bool {
        self.learner.as_ref().is_some_and(|learner| learner.observer)
    }

    /// Whether its word counts, where it is a voter's.
    pub fn has_voice(&self) -> bool {
        self.silenced_at.is_none()
    }

    /// Whether it has answered a ping of a later round than this one.
    pub fn answered_after(&self, round: u64) -> bool {
        self.pongs > 0 && self.first_round.is_some_and(|first| first + self.pongs > round + 1)
    }

    /// Something came from it.
    pub fn heard(&mut self, now_ms: u64, ran_ms: u64) {
        self.heard_ms = now_ms;
        self.heard_ran_ms = ran_ms;
    }

    /// The number of its ensemble, 0 if it knows none.
    pub fn ensemble_id(&self) -> u128 {
        let capabilities = self.learner.as_ref().and_then(|learner| learner.capabilities);
        capabilities.map_or(0, |capabilities| capabilities.ensemble_id)
    }

    /// Whether it is one of ours and can all of this.
    pub fn can(&self, bits: u64) -> bool {
        let capabilities = self.learner.as_ref().and_then(|learner| learner.capabilities);
        capabilities.is_some_and(|capabilities| capabilities.has(bits))
    }

    /// Whether it is a follower that takes one COMMIT for all before it.
    pub fn takes_ranges(&self) -> bool {
        self.forwards() && !self.observes() && self.can(Capabilities::CUMULATIVE)
    }

    /// Whether it gets what is proposed and committed.
    pub fn forwards(&self) -> bool {
        matches!(self.stage, Stage::NewLeader | Stage::Synchronized | Stage::Broadcasting)
    }

    /// Whether it has acknowledged NEWLEADER.
    pub fn synchronized(&self) -> bool {
        matches!(self.stage, Stage::Synchronized | Stage::Broadcasting)
    }

    /// Notes that a proposal was sent.
    pub fn proposed(&mut self, zxid: Zxid, now_ms: u64) {
        let place =
            if self.lag.oldest.is_none() { &mut self.lag.oldest } else { &mut self.lag.newest };
        *place = Some((zxid, now_ms));
    }

    /// Notes an acknowledgement. Between the two that are kept, later ones than the first are
    /// taken for as young as the last: a learner that keeps acknowledging is not behind.
    pub fn acked(&mut self, zxid: Zxid) {
        self.holds = self.holds.max(zxid);
        if self.lag.oldest.is_some_and(|(oldest, _)| oldest <= zxid) {
            self.lag.oldest = self.lag.newest.take().filter(|(newest, _)| *newest > zxid);
        }
    }

    /// True if a proposal sent before `ms` has no acknowledgement.
    pub fn lags(&self, before_ms: u64) -> bool {
        self.lag.oldest.is_some_and(|(_, sent_ms)| sent_ms < before_ms)
    }

    /// What a packet violates that has no place here.
    pub fn unexpected(&self, packet: &'static str) -> Violation {
        let phase = match self.stage {
            Stage::Greeting => "awaiting FOLLOWERINFO",
            Stage::AwaitingEpoch => "the epoch is not fixed",
            Stage::AckEpoch => "awaiting ACKEPOCH",
            Stage::AwaitingQuorum { .. } => "awaiting a quorum of ACKEPOCH",
            Stage::Surveying { .. } | Stage::OpeningSnapshot { .. } | Stage::Reading { .. } => {
                "synchronising it"
            }
            Stage::NewLeader => "awaiting the ACK of NEWLEADER",
            Stage::Synchronized => "the epoch is not established",
            Stage::Broadcasting => "broadcasting",
        };
        Violation::Unexpected { packet, phase }
    }
}
