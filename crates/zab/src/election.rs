//! Who shall lead: FastLeaderElection as a value.
//!
//! A server without a leader opens a *round*: it votes for itself and says so to every voter. Who
//! hears of a better vote adopts it and passes it on, so that the best one spreads; when the votes
//! of a quorum are the same as ours, and a last wait brought no better one, the round is decided.
//! Rounds are numbered; who hears of a later one joins it with a fresh ballot box. Nothing of this
//! is stored: safety lies in the epochs of the protocol that follows, and all that an election
//! has to deliver is *some* server that a quorum follows, with the most complete log among them.
//!
//! Servers that have settled take no part and answer whoever still looks with the vote that they
//! settled on. A late server collects such answers: if a quorum of them names one leader, and the
//! leader itself says that it leads, it joins without a round.
//!
//! # Where we are more careful than Apache, and quicker
//! * What arrives during the last wait is weighed by the rules of all other time, and not thrown
//!   away. A vote of a later round which is no better than ours is still left unread, as there:
//!   the round that has its quorum ends, and its sender is told the result.
//! * The last wait ends at once when nobody is left to wait for: every voter has voted alike,
//!   except those whose port refused us or whose connection broke ([`Election::peer_down`]).
//! * Strangers are answered only while they look for a leader, and while we look ourselves no
//!   faster than our votes are repeated. Otherwise two servers that hold each other for strangers
//!   would keep a message flying between them for ever.
//! * A configuration from a notification is ignored altogether when reconfiguration is disabled.
//! * Repetition goes by the time since our last vote, not since the last message of anybody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::{Notification, PeerState};
use tracing::{debug, info};

use crate::quorum::{Membership, QuorumVerifier, Role};
use crate::vote::{Configs, Received, Vote};
use crate::wrong::{self, Wrong};

mod configs;

/// The zxid of a server whose database is missing and may not be created empty
/// (`db.autocreate=false`). It has no vote to cast and nobody may vote for it.
pub const NO_DATABASE: Zxid = Zxid(-1);

/// Looking for so long without an end is not usual.
const LOOKS_LONG_MS: u64 = 2_000;

/// Strangers whose last answer is remembered while we look. More of them at a time are not
/// answered: in no ensemble do so many observers start at once.
const STRANGERS_MAX: usize = 256;

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// After how long a vote is first repeated, in milliseconds; doubled every time
    /// (`zookeeper.fastleader.minNotificationInterval`).
    pub interval_min_ms: u64,
    /// Where doubling ends (`zookeeper.fastleader.maxNotificationInterval`).
    pub interval_max_ms: u64,
    /// How long to wait for a better vote once a quorum agrees (`finalizeWait`).
    pub finalize_wait_ms: u64,
    /// End that wait when there is nobody left to wait for.
    pub finish_early: bool,
    /// `reconfigEnabled`: newer configurations in notifications are adopted.
    pub reconfig_enabled: bool,
    /// `multiAddress.enabled`, for reading them.
    pub multi_address: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval_min_ms: 200,
            interval_max_ms: 60_000,
            finalize_wait_ms: 200,
            finish_early: true,
            reconfig_enabled: false,
            multi_address: false,
        }
    }
}

/// What a server brings into an election; read from its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it wants to vote (`LearnerType`). Only members of the configuration do.
    pub role: Role,
    /// The last zxid in its log, committed or not; [`NO_DATABASE`] if it has none.
    pub last_logged: Zxid,
    /// `currentEpoch`.
    pub current_epoch: i64,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell `to` of a vote. Replaces whatever of ours it has not been sent yet.
    Send {
        /// To whom; never ourselves.
        to: Sid,
        /// What we do.
        state: PeerState,
        /// Our vote, or the one that we settled on.
        vote: Vote,
        /// The texts of our configurations.
        configs: Configs,
    },
    /// A newer configuration was adopted: to be stored before anything that follows is done.
    Adopt(Arc<QuorumVerifier>),
    /// Others need a proposed configuration: its members can be voted for.
    Hear(Arc<QuorumVerifier>),
    /// The election is over.
    Decided {
        /// What to be now: anything but [`PeerState::Looking`].
        state: PeerState,
        /// Who leads; the zxid and epochs of the election.
        vote: Vote,
    },
}

/// One server's part in the elections of its ensemble.
#[derive(Debug, Clone)]
pub struct Election {
    my_sid: Sid,
    settings: Settings,
    membership: Membership,
    /// The texts of the configurations, which go with every vote.
    configs: Configs,
    standing: Standing,
    /// The round (`logicalclock`). It wraps around, should anybody drive it that far: others join
    /// whatever is later, and nothing depends on there being one that is.
    round: i64,
    /// When it began to look the last time.
    looks_since_ms: u64,
    /// When it began to look for the first time since it last found a leader.
    alone_since_ms: u64,
    /// It has found a leader since it looked the last time.
    found: bool,
    /// Whom it went to last was only heard of.
    went_by_hearsay: bool,
    /// The vote of the last election, or ourselves before the first (`currentVote`).
    settled_on: Vote,
    phase: Phase,
    /// False for a server that is about to stop: it votes for others, and nobody for it.
    candidate: bool,
    /// Peers that are known not to be there: refused or reset, and not heard of since.
    down: BTreeSet<Sid>,
    answered: BTreeMap<Sid, (u64, Vote)>,
    /// Voters whose configuration conflicts with ours, and which were complained of.
    conflicting: BTreeSet<Sid>,
    effects: VecDeque<Effect>,
}

#[derive(Debug, Clone)]
enum Phase {
    /// Looking, but not yet: observers do not all start at the same moment.
    Delayed {
        until_ms: u64,
    },
    Looking(Round),
    Settled(PeerState),
}

#[derive(Debug, Clone)]
struct Round {
    /// What we vote for; its round is `Election::round`.
    proposal: Vote,
    /// Votes of this round.
    votes: BTreeMap<Sid, Received>,
    /// Votes of settled servers, of whatever round (`outofelection`).
    settled: BTreeMap<Sid, Received>,
    interval_ms: u64,
    repeat_at_ms: u64,
    /// A quorum agrees: until when a better vote is waited for.
    decide_at_ms: Option<u64>,
}

impl Election {
    /// A server that has not begun to look: [`Election::look`] is next.
    pub fn new(
        my_sid: Sid,
        membership: Membership,
        standing: Standing,
        settings: Settings,
    ) -> Election {
        let mut election = Election {
            my_sid,
            settings,
            configs: Configs { in_force: Arc::from(""), proposed: None },
            membership,
            standing,
            round: 0,
            looks_since_ms: 0,
            alone_since_ms: 0,
            found: true,
            went_by_hearsay: false,
            settled_on: own_vote(my_sid, standing),
            phase: Phase::Delayed { until_ms: u64::MAX },
            candidate: true,
            down: BTreeSet::new(),
            answered: BTreeMap::new(),
            conflicting: BTreeSet::new(),
            effects: VecDeque::new(),
        };
        election.write_config();
        election
    }

    /// Starts looking for a leader, `delay_ms` from now (see [`observer_delay_ms`]; participants do
    /// not wait).
    pub fn look(&mut self, now_ms: u64, standing: Standing, delay_ms: u64) {
        self.standing = standing;
        self.looks_since_ms = now_ms;
        if std::mem::take(&mut self.found) {
            self.alone_since_ms = now_ms;
            self.went_by_hearsay = false;
        }
        self.membership.forget_heard();
        if delay_ms > 0 {
            self.phase = Phase::Delayed { until_ms: now_ms.saturating_add(delay_ms) };
        } else {
            self.open_round(now_ms);
        }
    }

    /// The next effect to carry out.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Election::tick`] is due, in milliseconds.
    pub fn deadline_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Delayed { until_ms } => Some(*until_ms).filter(|&at| at != u64::MAX),
            Phase::Looking(round) => Some(round.decide_at_ms.unwrap_or(round.repeat_at_ms)),
            Phase::Settled(_) => None,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) {
        match &mut self.phase {
            Phase::Delayed { until_ms } if *until_ms <= now_ms => self.open_round(now_ms),
            Phase::Looking(Round { decide_at_ms: Some(at_ms), .. }) if *at_ms <= now_ms => {
                self.decide_proposal();
            }
            Phase::Looking(round)
                if round.decide_at_ms.is_none() && round.repeat_at_ms <= now_ms =>
            {
                let doubled = round.interval_ms.saturating_mul(2);
                round.interval_ms = doubled.min(self.settings.interval_max_ms);
                self.stand(now_ms);
                self.send_to_voters(now_ms);
            }
            _ => {}
        }
    }

    /// What this server does (LOOKING before its first election).
    pub fn state(&self) -> PeerState {
        match self.phase {
            Phase::Settled(state) => state,
            Phase::Delayed { .. } | Phase::Looking(_) => PeerState::Looking,
        }
    }

    /// The vote that the last election ended with; before it, for ourselves.
    pub fn settled_on(&self) -> Vote {
        self.settled_on
    }

    /// The running round's vote.
    pub fn proposal(&self) -> Option<Vote> {
        match &self.phase {
            Phase::Looking(round) => Some(round.proposal),
            _ => None,
        }
    }

    /// The number of the round (`logicalclock`).
    pub fn round(&self) -> i64 {
        self.round
    }

    /// The configurations that count.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// A leader is established: from now on its epoch goes with our answers
    /// (`QuorumPeer.updateElectionVote`).
    pub fn established(&mut self, epoch: i64) {
        self.settled_on.peer_epoch = epoch;
        self.found = true;
    }

    /// A reconfiguration named the next leader: settles on it without an election and says what to
    /// be (`QuorumPeer.updateVote`).
    pub fn designate(&mut self, leader: Sid, zxid: Zxid) -> PeerState {
        self.settled_on = Vote { leader, zxid, election_epoch: -1, peer_epoch: -1 };
        let state = self.state_under(leader);
        self.phase = Phase::Settled(state);
        state
    }

    /// Whether this server stands for leader from its next round on; at first it does.
    pub fn set_candidate(&mut self, candidate: bool) {
        self.candidate = candidate;
    }

    /// Whether it does.
    pub fn is_candidate(&self) -> bool {
        self.candidate
    }

    /// The configuration changed outside of the election. If the committed one did while a round is
    /// running, a new round is opened; another last seen one only changes what a quorum is.
    pub fn reconfigure(&mut self, now_ms: u64, membership: Membership, role: Role) {
        let same = membership.current().agrees_with(self.membership.current());
        self.membership = membership;
        self.standing.role = role;
        self.write_config();
        match self.phase {
            Phase::Looking(_) if same => self.weigh(now_ms),
            Phase::Looking(_) => self.restart(now_ms),
            Phase::Delayed { .. } | Phase::Settled(_) => {}
        }
    }

    /// `sid` refused a connection, or its connection broke: it is not waited for.
    pub fn peer_down(&mut self, now_ms: u64, sid: Sid) {
        // What nobody waits for need not be remembered, however many ids knock.
        if self.membership.is_voter(sid) && self.down.insert(sid) {
            self.weigh(now_ms);
        }
    }

    /// `sid` is connected.
    pub fn peer_up(&mut self, sid: Sid) {
        self.down.remove(&sid);
    }

    /// `from` told us its vote.
    pub fn notification(&mut self, now_ms: u64, from: Sid, told: &Notification<'_>) {
        if from == self.my_sid {
            return;
        }
        if self.is_of_another_ensemble(from, told) || self.adopt_config(now_ms, told) {
            return;
        }
        self.hear_of_proposed(now_ms, from, told);
        let state = self.state();
        if !self.membership.is_voter(from) {
            if told.state == PeerState::Looking {
                self.answer_stranger(now_ms, from, state);
            }
            return;
        }
        match &self.phase {
            Phase::Settled(_) if told.state == PeerState::Looking => {
                self.send(from, state, self.settled_on);
            }
            Phase::Settled(_) | Phase::Delayed { .. } => {}
            Phase::Looking(round) => {
                if told.state == PeerState::Looking && told.election_epoch < self.round {
                    let proposal = round.proposal;
                    self.send(from, state, proposal);
                }
                if self.membership.is_voter(told.leader) {
                    self.consider(now_ms, from, told);
                } else {
                    debug!(%from, leader = %told.leader, "a vote for a server that has none");
                    self.join_who_has_no_vote(now_ms, told);
                }
            }
        }
    }

    fn consider(&mut self, now_ms: u64, from: Sid, told: &Notification<'_>) {
        match told.state {
            PeerState::Looking => self.consider_looking(now_ms, from, Vote::from(told)),
            PeerState::Following | PeerState::Leading => self.consider_settled(now_ms, from, told),
            PeerState::Observing => {}
        }
    }

    /// A voter of some round: join a later one, prefer a better vote, count it.
    fn consider_looking(&mut self, now_ms: u64, from: Sid, vote: Vote) {
        if self.standing.last_logged == NO_DATABASE || vote.zxid == NO_DATABASE {
            return;
        }
        let initial = self.initial_vote();
        let Phase::Looking(round) = &mut self.phase else { return };
        let ourselves = vote.leader == self.my_sid;
        let eligible = self.membership.weight(vote.leader) != 0 && (self.candidate || !ourselves);
        let better = eligible && vote.beats(&round.proposal);
        if vote.election_epoch > self.round {
            if round.decide_at_ms.is_some() && !better {
                return;
            }
            let best = if eligible && vote.beats(&initial) { vote } else { initial };
            self.join(now_ms, vote.election_epoch, best);
        } else if vote.election_epoch < self.round {
            // It has just been told our round; if it has the better vote, it is worth waiting for.
            if let (Some(at), true) = (&mut round.decide_at_ms, better) {
                *at = now_ms + self.settings.finalize_wait_ms;
            }
            return;
        } else if better {
            round.proposal = vote;
            self.send_to_voters(now_ms);
        }
        if let Phase::Looking(round) = &mut self.phase {
            // The form of the message does not matter for a vote of this round.
            let vote = Received { vote, state: PeerState::Looking, version: 0 };
            round.votes.insert(from, vote);
        }
        self.weigh(now_ms);
    }

    /// Joins a later round.
    fn join(&mut self, now_ms: u64, later: i64, best: Vote) {
        let Phase::Looking(round) = &mut self.phase else { return };
        self.round = later;
        round.votes.clear();
        round.proposal = Vote { election_epoch: later, ..best };
        self.stand(now_ms);
        self.send_to_voters(now_ms);
    }

    /// Who has found nobody for long joins the later round of a voter that votes for nobody. It may
    /// be one by a configuration that is on its way and needs it, and not know that yet: then it
    /// has no vote to begin a round with, adopts those of its own round, and hears none of earlier
    /// ones. So its round would never be joined for its vote, nor our vote adopted for our round.
    fn join_who_has_no_vote(&mut self, now_ms: u64, told: &Notification<'_>) {
        let Phase::Looking(round) = &self.phase else { return };
        let waits = told.state == PeerState::Looking
            && told.leader == Sid::NONE
            && told.election_epoch > self.round;
        let lasts = self.looks_long(now_ms) && round.decide_at_ms.is_none();
        if waits && lasts && self.standing.last_logged != NO_DATABASE {
            self.join(now_ms, told.election_epoch, self.initial_vote());
            self.weigh(now_ms);
        }
    }

    /// A server that has settled: perhaps it is with the leader of this round, perhaps with that of
    /// an ensemble which has long been running.
    fn consider_settled(&mut self, now_ms: u64, from: Sid, told: &Notification<'_>) {
        let Phase::Looking(round) = &mut self.phase else { return };
        let vote = Vote::from(told);
        let received = Received { vote, state: told.state, version: told.version };
        if vote.election_epoch == self.round {
            round.votes.insert(from, Received { version: 0, ..received });
            if self.is_joined_by_quorum(&received, |round| &round.votes) {
                return self.decide(vote);
            }
            // It may also be the last of the votes that our own proposal waits for.
            self.weigh(now_ms);
        }
        let Phase::Looking(round) = &mut self.phase else { return };
        round.settled.insert(from, received);
        if self.is_joined_by_quorum(&received, |round| &round.settled)
            || self.is_led_as_it_was(now_ms, &received)
        {
            self.round = vote.election_epoch;
            return self.decide(vote);
        }
        self.come_round(now_ms, from, received);
    }

    /// Whether a leader leads by the configuration in force, to who has found nobody for long. One
    /// that was proposed may need this very server to come into force, or others that still
    /// observe, whose votes nobody hears. Where one is on its way, a vote of ours counts as well:
    /// the leader may be waiting for it, as the one of two does.
    fn is_led_as_it_was(&self, now_ms: u64, like: &Received) -> bool {
        let Phase::Looking(round) = &self.phase else { return false };
        let settled = &round.settled;
        let leader = like.vote.leader;
        let leads = settled.get(&leader).map(|its| its.state);
        let on_its_way = self.membership.last_seen().is_some();
        let joins = |sid| sid == self.my_sid && on_its_way && round.proposal.leader == leader;
        let joined = |sid| joins(sid) || settled.get(&sid).is_some_and(|vote| vote.is_same(like));
        self.looks_long(now_ms)
            && !wrong::is(Wrong::NotAsItWas)
            && leads == Some(PeerState::Leading)
            && self.membership.current().is_quorum(joined)
    }

    fn looks_long(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.looks_since_ms) >= LOOKS_LONG_MS
    }

    /// Who has found nobody for long, and hears of a better server that it leads, votes for it.
    /// Some may look while others lead and wait, in turns and for ever; what is said by who leads
    /// would count for nothing without a quorum.
    fn come_round(&mut self, now_ms: u64, from: Sid, Received { vote, state, .. }: Received) {
        let eligible = self.membership.weight(from) != 0 && vote.leader == from;
        let long = self.looks_long(now_ms) && !wrong::is(Wrong::InTurns);
        let Phase::Looking(round) = &mut self.phase else { return };
        let vote = Vote { election_epoch: self.round, ..vote };
        if state == PeerState::Leading && eligible && long && vote.beats(&round.proposal) {
            round.proposal = vote;
            self.send_to_voters(now_ms);
            self.weigh(now_ms);
        }
    }

    /// Whether a quorum of `votes` names the same leader as `like`, and the leader leads. Who is
    /// named by a quorum but has died must not be elected again and again (`checkLeader`).
    fn is_joined_by_quorum(
        &self,
        like: &Received,
        votes: impl Fn(&Round) -> &BTreeMap<Sid, Received>,
    ) -> bool {
        let Phase::Looking(round) = &self.phase else { return false };
        let votes = votes(round);
        let leader = like.vote.leader;
        let leads = if leader == self.my_sid {
            // Others may follow who this server was before it lost its data.
            let emptied =
                self.standing.last_logged == NO_DATABASE && !wrong::is(Wrong::EmptiedLeads);
            !emptied && like.vote.election_epoch == self.round
        } else {
            votes.get(&leader).is_some_and(|its| its.state == PeerState::Leading)
        };
        leads && self.is_quorum(votes, like)
    }

    fn is_quorum(&self, votes: &BTreeMap<Sid, Received>, like: &Received) -> bool {
        self.membership.is_quorum(|sid| votes.get(&sid).is_some_and(|vote| vote.is_same(like)))
    }

    /// Looks whether the round has its quorum, and for how long to wait for a better vote.
    fn weigh(&mut self, now_ms: u64) {
        let Phase::Looking(round) = &self.phase else { return };
        let like = Received { vote: round.proposal, state: PeerState::Looking, version: 0 };
        let agreed = self.is_quorum(&round.votes, &like);
        if agreed && self.settings.finish_early && self.is_unanimous(round, &like) {
            return self.decide_proposal();
        }
        let Phase::Looking(round) = &mut self.phase else { return };
        if !agreed {
            round.decide_at_ms = None;
        } else if round.decide_at_ms.is_none() {
            round.decide_at_ms = Some(now_ms + self.settings.finalize_wait_ms);
        }
    }

    /// Whether every voter that could still answer has voted for `like`, its leader among them. Who
    /// has settled on that leader in this round has, even if a new epoch stands in its answer by
    /// now.
    fn is_unanimous(&self, round: &Round, like: &Received) -> bool {
        let settled = |its: &Received| {
            its.state != PeerState::Looking
                && its.vote.leader == like.vote.leader
                && its.vote.election_epoch == like.vote.election_epoch
        };
        self.membership.voters().into_iter().all(|sid| {
            let vote = round.votes.get(&sid);
            vote.is_some_and(|vote| vote.is_same(like) || settled(vote))
                || (self.down.contains(&sid) && sid != like.vote.leader)
        })
    }

    fn decide_proposal(&mut self) {
        if let Phase::Looking(round) = &self.phase {
            self.decide(round.proposal);
        }
    }

    fn decide(&mut self, vote: Vote) {
        let state = self.state_under(vote.leader);
        info!(
            sid = %self.my_sid, ?state, leader = %vote.leader, zxid = %vote.zxid,
            epoch = vote.peer_epoch, round = vote.election_epoch, "election decided"
        );
        self.settled_on = vote;
        self.went_by_hearsay = self.membership.is_hearsay(vote.leader);
        self.phase = Phase::Settled(state);
        self.answered.clear();
        self.effects.push_back(Effect::Decided { state, vote });
    }

    fn state_under(&self, leader: Sid) -> PeerState {
        match self.standing.role {
            _ if leader == self.my_sid => PeerState::Leading,
            Role::Participant => PeerState::Following,
            Role::Observer => PeerState::Observing,
        }
    }

    fn open_round(&mut self, now_ms: u64) {
        self.round = self.round.wrapping_add(1);
        let proposal = self.initial_vote();
        info!(
            sid = %self.my_sid, zxid = %proposal.zxid, epoch = proposal.peer_epoch,
            round = self.round, "looking for a leader"
        );
        self.phase = Phase::Looking(Round {
            proposal,
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            interval_ms: self.settings.interval_min_ms,
            repeat_at_ms: now_ms,
            decide_at_ms: None,
        });
        self.send_to_voters(now_ms);
        self.weigh(now_ms);
    }

    /// The configuration is another: whatever was counted, was counted by wrong rules.
    fn restart(&mut self, now_ms: u64) {
        self.settled_on = own_vote(self.my_sid, self.standing);
        self.open_round(now_ms);
    }

    /// The vote that this server begins a round with. Who does not vote names nobody.
    fn initial_vote(&self) -> Vote {
        let is_voter = self.membership.current().is_voter(self.my_sid);
        let leader = if is_voter && self.candidate { self.my_sid } else { Sid::NONE };
        let (zxid, peer_epoch) = match self.standing.role {
            Role::Participant if self.candidate => {
                (self.standing.last_logged, self.standing.current_epoch)
            }
            Role::Participant | Role::Observer => (Zxid(i64::MIN), i64::MIN),
        };
        Vote { leader, zxid, peer_epoch, election_epoch: self.round }
    }

    /// Who votes by a configuration that is on its way alone begins with a vote for nobody, and
    /// adopts better ones. Where it has the best history of all there are none, and those who need
    /// its vote would wait for ever: who has found nobody for long stands itself.
    fn stand(&mut self, now_ms: u64) {
        let may = self.candidate
            && self.standing.role == Role::Participant
            && self.membership.weight(self.my_sid) != 0
            && self.membership.is_voter(self.my_sid)
            && self.looks_long(now_ms);
        let Phase::Looking(round) = &mut self.phase else { return };
        if may && round.proposal.leader == Sid::NONE && round.proposal.zxid != NO_DATABASE {
            round.proposal.leader = self.my_sid;
        }
    }

    /// Says our vote to all voters, ourselves included: it counts like any other.
    fn send_to_voters(&mut self, now_ms: u64) {
        let Phase::Looking(round) = &mut self.phase else { return };
        round.repeat_at_ms = now_ms.saturating_add(round.interval_ms);
        let vote = round.proposal;
        let counts = self.membership.is_voter(self.my_sid) && self.membership.is_voter(vote.leader);
        if counts && vote.zxid != NO_DATABASE {
            let own = Received { vote, state: PeerState::Looking, version: 0 };
            round.votes.insert(self.my_sid, own);
        }
        for sid in self.membership.voters() {
            if sid != self.my_sid {
                self.send(sid, PeerState::Looking, vote);
            }
        }
    }

    fn send(&mut self, to: Sid, state: PeerState, vote: Vote) {
        let configs = self.configs.clone();
        self.effects.push_back(Effect::Send { to, state, vote, configs });
    }

    /// An observer, or somebody who wants to join: it is told what we are, whatever that is.
    fn answer_stranger(&mut self, now_ms: u64, to: Sid, state: PeerState) {
        let vote = Vote { election_epoch: self.round, ..self.settled_on };
        if state == PeerState::Looking {
            let interval_ms = self.settings.interval_min_ms;
            self.answered.retain(|_, (at_ms, _)| at_ms.saturating_add(interval_ms) > now_ms);
            let known = self.answered.get(&to).is_some_and(|(_, last)| *last == vote);
            if known || self.answered.len() >= STRANGERS_MAX {
                return;
            }
            self.answered.insert(to, (now_ms, vote));
        }
        self.send(to, state, vote);
    }

    fn write_config(&mut self) {
        let membership = &self.membership;
        let current = membership.current();
        let proposed = membership.last_seen().filter(|seen| seen.version() > current.version());
        self.configs = Configs {
            in_force: current.to_string().into(),
            proposed: proposed.map(|seen| seen.to_string().into()),
        };
        self.down.retain(|&sid| membership.is_voter(sid));
        self.conflicting.clear();
    }
}

/// What a server stands for before its first election (`QuorumPeer.startLeaderElection`).
fn own_vote(my_sid: Sid, standing: Standing) -> Vote {
    Vote {
        leader: my_sid,
        zxid: standing.last_logged,
        peer_epoch: standing.current_epoch,
        election_epoch: -1,
    }
}

/// How long an observer that lost its leader waits before it looks for another: below `max_ms`
/// (`zookeeper.observer.election.DelayMs`), by a seed which the host draws anew each time.
pub fn observer_delay_ms(seed: u64, max_ms: u64) -> u64 {
    // SplitMix64: seeds that differ in one bit give unrelated delays.
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    ((u128::from(mixed) * u128::from(max_ms)) >> 64) as u64
}
