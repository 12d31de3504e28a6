//! One server's part in its ensemble: it looks for a leader, leads or learns, and looks again.
//!
//! # How a node uses it
//! The node owns one [`Peer`] and hands it whatever arrives; after each turn it takes the effects.
//!
//! * *A write on the leader*: [`Peer::next_zxid`] gives the number to prepare the transaction with,
//!   [`Peer::propose`] takes the encoded bytes. Out come [`Effect::Append`] and the PROPOSALs; in
//!   go [`Disk::Synced`] and the learners' ACKs; out comes [`Effect::Commit`]: the node applies.
//! * *A write on a learner*: [`Peer::forward`]. Its transaction comes back as [`Effect::Append`]
//!   and [`Effect::Commit`] like any other, and is told by its session and cxid.
//! * *What is applied is what was appended*: the node keeps the entries of [`Effect::Append`] (and
//!   [`Effect::Hold`]) in order until a commit reaches them. It never applies anything else.
//! * *Roles*: [`State`] says what this server does, [`Effect::Serve`] that clients may be served.
//!   Any other state before the next Serve means: stop serving, drop the learners' requests, forget
//!   who waits.
//! * *The end of a role*: links are closed, writes under way are waited for ([`State::Settling`]),
//!   then everything in the log is applied ([`Effect::FastForward`]) and only then is there a vote
//!   again, with the last logged zxid. Stages of an older role cannot write into a newer one
//!   (ZOOKEEPER-4712). A TRUNC or SNAP that was broken off makes memory be read anew
//!   ([`Effect::Reload`], ZOOKEEPER-5094, 3642).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::notification::{Notification, PeerState};
use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::{SessionId, Sid, Zxid};

use crate::cursors::Cursors;
use crate::election::{self, Election, NO_DATABASE, Standing};
use crate::leader::Leader;
use crate::learner::{Learner, Way};
use crate::ledger::{Done, Ledger};
use crate::messages::{
    Disk, Drop, Effect, Entry, Epochs, Fatal, Forward, Input, LinkId, Outgoing, Recovered, State,
    SyncToken, Verdict, Why,
};
use crate::quorum::{Membership, QuorumVerifier, Role as ConfiguredRole};
use crate::settings::Settings;

/// See the module's essay.
#[derive(Debug)]
pub struct Peer {
    ledger: Ledger,
    election: Election,
    role: Role,
    /// Votes of those who were looking while this server was not, and when they came.
    early_votes: BTreeMap<Sid, (u64, Notification<'static>)>,
    /// This server has observed: it does not look for the next leader at once.
    observed: bool,
    /// Delays drawn.
    draws: u64,
    /// How many observer masters were tried.
    masters_tried: usize,
}

/// For how long a vote counts that came while this server was not looking: longer than it takes to
/// notice that a leader is gone and to be done with the role, shorter than a vote stays true.
const EARLY_VOTE_MS: u64 = 1_000;

#[derive(Debug)]
enum Role {
    Looking,
    Settling(Why),
    Leading(Box<Leader>),
    Learning(Box<Learner>),
    Stopped,
}

impl Peer {
    /// A server that has read its disk. [`Peer::start`] is next.
    pub fn new(
        settings: Settings,
        voting: election::Settings,
        membership: Membership,
        recovered: Recovered,
    ) -> Peer {
        let config = recovered.config.clone();
        let mut ledger = Ledger::new(settings, membership, recovered);
        if voting.reconfig_enabled && !config.is_empty() {
            let config = QuorumVerifier::parse(&config, voting.multi_address);
            let unread = |error| tracing::warn!(%error, "the tree's configuration is not one");
            ledger.recovered_config(config.map(Arc::new).map_err(unread).ok());
        }
        let (standing, membership) = (standing(&ledger), ledger.membership.clone());
        let election = Election::new(ledger.settings.sid, membership, standing, voting);
        let role = Role::Settling(Why::Started);
        Peer {
            ledger,
            election,
            role,
            early_votes: BTreeMap::new(),
            observed: false,
            draws: 0,
            masters_tried: 0,
        }
    }

    /// Begins to look for a leader.
    pub fn start(&mut self, now_ms: u64) {
        self.settle(now_ms);
        self.gather(now_ms);
    }

    /// The next thing the host must do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.ledger.poll_effect()
    }

    /// When [`Peer::wake`] is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        match &self.role {
            Role::Looking => self.election.deadline_ms(),
            Role::Leading(leader) => Some(leader.deadline_ms()),
            Role::Learning(learner) => Some(learner.deadline_ms(&self.ledger)),
            Role::Settling(_) | Role::Stopped => None,
        }
    }

    /// Does what is due by the clock.
    pub fn wake(&mut self, now_ms: u64) {
        let ended = match &mut self.role {
            Role::Looking => {
                self.election.tick(now_ms);
                Ok(())
            }
            Role::Leading(leader) => leader.wake(&mut self.ledger, now_ms),
            Role::Learning(learner) => learner.wake(&mut self.ledger, now_ms),
            Role::Settling(_) | Role::Stopped => Ok(()),
        };
        self.after(now_ms, ended);
    }

    /// Something happened.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        let ended = match input {
            Input::Elected(leader) => {
                if matches!(self.role, Role::Looking) {
                    let zxid = self.ledger.cursors().appended;
                    self.election.designate(leader, zxid);
                    self.begin(now_ms, leader, false);
                }
                Ok(())
            }
            Input::Linked(link) => {
                self.linked(now_ms, link);
                Ok(())
            }
            Input::ObserverLinked(link) => {
                self.observer_linked(now_ms, link);
                Ok(())
            }
            Input::Unlinked(link) => match &mut self.role {
                Role::Leading(leader) => leader.hung_up(&self.ledger, link),
                Role::Learning(learner) => learner.unlinked(&self.ledger, now_ms, link),
                Role::Looking | Role::Settling(_) | Role::Stopped => Ok(()),
            },
            Input::DialFailed(sid) => match &mut self.role {
                Role::Learning(learner) if learner.serves_us() == sid => {
                    learner.dial_failed(&self.ledger, now_ms)
                }
                _ => Ok(()),
            },
            Input::Progress(link) => {
                match &mut self.role {
                    Role::Leading(leader) => leader.alive(link, now_ms),
                    Role::Learning(learner) => learner.alive(link, now_ms),
                    Role::Looking | Role::Settling(_) | Role::Stopped => {}
                }
                Ok(())
            }
            Input::Disk(disk) => self.disk(now_ms, disk),
            history => {
                let leader = match &mut self.role {
                    Role::Leading(leader) => Some(&mut **leader),
                    Role::Learning(learner) => learner.master_mut(),
                    Role::Looking | Role::Settling(_) | Role::Stopped => None,
                };
                if let Some(leader) = leader {
                    serve_history(leader, &mut self.ledger, history);
                }
                Ok(())
            }
        };
        self.after(now_ms, ended);
    }

    fn linked(&mut self, now_ms: u64, link: LinkId) {
        match &mut self.role {
            Role::Leading(leader) => leader.linked(&mut self.ledger, now_ms, link),
            Role::Learning(learner) => learner.linked(&mut self.ledger, now_ms, link),
            Role::Looking | Role::Settling(_) | Role::Stopped => {
                self.ledger.close(link, Drop::RoleOver("leading"))
            }
        }
    }

    fn observer_linked(&mut self, now_ms: u64, link: LinkId) {
        match &mut self.role {
            Role::Learning(learner) => learner.observer_linked(&mut self.ledger, now_ms, link),
            Role::Leading(_) | Role::Looking | Role::Settling(_) | Role::Stopped => {
                self.ledger.close(link, Drop::RoleOver("serving observers"));
            }
        }
    }

    fn disk(&mut self, now_ms: u64, disk: Disk) -> Result<(), Why> {
        let done = match self.ledger.done(disk) {
            Ok(done) => done,
            Err(fatal) => {
                self.stop(fatal);
                return Ok(());
            }
        };
        if done == Done::Stale {
            return Ok(());
        }
        match &mut self.role {
            Role::Leading(leader) => leader.disk(&mut self.ledger, now_ms, done),
            Role::Learning(learner) => learner.disk(&mut self.ledger, done),
            Role::Settling(_) => {
                self.settle(now_ms);
                Ok(())
            }
            Role::Looking | Role::Stopped => Ok(()),
        }
    }

    /// A packet came on a link.
    pub fn packet(&mut self, now_ms: u64, link: LinkId, packet: &Packet<'_>) -> Verdict {
        let verdict = self.packet_of_many(now_ms, link, packet);
        self.packets_done(now_ms);
        verdict
    }

    /// One of several packets that came at once. A leader counts the acknowledgements among them
    /// only at [`Peer::packets_done`], which has to follow: hundreds of proposals are acknowledged
    /// one by one, and committed together.
    pub fn packet_of_many(&mut self, now_ms: u64, link: LinkId, packet: &Packet<'_>) -> Verdict {
        let taken = match &mut self.role {
            Role::Leading(leader) => leader.packet(&mut self.ledger, now_ms, link, packet),
            Role::Learning(learner) => learner.packet(&mut self.ledger, now_ms, link, packet),
            Role::Looking | Role::Settling(_) | Role::Stopped => Ok(Verdict::Done),
        };
        let (verdict, ended) = match taken {
            Ok(verdict) => (verdict, Ok(())),
            Err(why) => (Verdict::Done, Err(why)),
        };
        self.after(now_ms, ended);
        verdict
    }

    /// Does what the packets since the last call have made possible.
    pub fn packets_done(&mut self, now_ms: u64) {
        if let Role::Leading(leader) = &mut self.role {
            let ended = leader.count_acks(&mut self.ledger, now_ms);
            if ended.is_err() {
                self.after(now_ms, ended);
            }
        }
    }

    /// A vote came from a server on the election port.
    pub fn notification(&mut self, now_ms: u64, from: Sid, told: &Notification<'_>) {
        self.remember(now_ms, from, told);
        // Nothing may be voted before the position is known.
        if !matches!(self.role, Role::Settling(_) | Role::Stopped) {
            self.election.notification(now_ms, from, told);
            self.gather(now_ms);
        }
    }

    /// Whoever notices first that a leader is gone tells its vote at once, and again after a while
    /// only: those who notice a moment later have heard it too early. What they heard counts when
    /// they look.
    fn remember(&mut self, now_ms: u64, from: Sid, told: &Notification<'_>) {
        let looks = told.state == PeerState::Looking;
        if matches!(self.role, Role::Looking | Role::Stopped) || !looks {
            self.early_votes.remove(&from);
            return;
        }
        if self.ledger.membership.is_voter(from) {
            let told = Notification { config: None, proposed: None, ..told.clone() };
            self.early_votes.insert(from, (now_ms, told));
        }
    }

    fn hear_early_votes(&mut self, now_ms: u64) {
        for (from, (heard_ms, told)) in std::mem::take(&mut self.early_votes) {
            if now_ms.saturating_sub(heard_ms) <= EARLY_VOTE_MS {
                self.election.notification(now_ms, from, &told);
            }
        }
    }

    /// A server's election port is connected, or known not to be.
    pub fn election_link(&mut self, now_ms: u64, sid: Sid, up: bool) {
        if up {
            self.election.peer_up(sid);
        } else {
            self.election.peer_down(now_ms, sid);
        }
        self.gather(now_ms);
    }

    /// The zxid for the next transaction, with `unproposed` given out in this turn and not yet
    /// proposed; `None` if this server cannot propose now.
    pub fn next_zxid(&mut self, unproposed: u32) -> Option<Zxid> {
        match &mut self.role {
            Role::Leading(leader) => leader.next_zxid(unproposed),
            _ => None,
        }
    }

    /// Proposes a transaction, with its configuration if it is a reconfiguration. False if this
    /// server does not lead any more: the transaction is lost, and so are its client's connections.
    ///
    /// # Panics
    /// The zxid is not the next one.
    pub fn propose(
        &mut self,
        now_ms: u64,
        entry: Entry,
        config: Option<Arc<QuorumVerifier>>,
    ) -> bool {
        let Role::Leading(leader) = &mut self.role else { return false };
        if leader.established().is_none() {
            return false;
        }
        let ended = leader.propose(&mut self.ledger, now_ms, entry, config);
        let proposed = ended.is_ok();
        self.after(now_ms, ended);
        proposed
    }

    /// Sends a client's request to the leader. False if there is none.
    pub fn forward(&mut self, forward: Forward) -> bool {
        match &mut self.role {
            Role::Learning(learner) => learner.forward(&mut self.ledger, forward),
            _ => false,
        }
    }

    /// A client's sync: [`Effect::Synced`] follows when everything committed before it has been
    /// told. `forward` is the request, for a learner to send. False if nobody leads.
    pub fn sync(&mut self, token: SyncToken, forward: Forward) -> bool {
        match &mut self.role {
            Role::Leading(leader) if leader.established().is_some() => {
                leader.sync(&mut self.ledger, token);
                true
            }
            Role::Learning(learner) => learner.sync(&mut self.ledger, token, forward),
            _ => false,
        }
    }

    /// Answers [`Effect::AskTouched`] with the encoded sessions.
    pub fn answer_ping(&mut self, zxid: Zxid, touched: Bytes) {
        if let Role::Learning(learner) = &mut self.role {
            learner.answer_ping(&mut self.ledger, zxid, touched);
        }
    }

    /// Asks the leader whether a session lives. False if there is none.
    pub fn revalidate(&mut self, session: SessionId, timeout_ms: i32) -> bool {
        match &mut self.role {
            Role::Learning(learner) => learner.revalidate(&mut self.ledger, session, timeout_ms),
            _ => false,
        }
    }

    /// Answers a learner's REVALIDATE.
    pub fn revalidated(&mut self, link: LinkId, session: SessionId, valid: bool) {
        if let Role::Leading(leader) = &self.role
            && leader.links().any(|(id, _)| id == link)
        {
            self.ledger.send(link, Outgoing::Revalidated(session, valid));
        }
    }

    /// Ends the role, if there is one.
    pub fn step_down(&mut self, now_ms: u64) {
        self.after(now_ms, Err(Why::Asked));
    }

    /// Gives up leading in favour of a learner that can take over at once: a leader of ours does so
    /// before it stops. Nothing can be proposed from now on; what was given out in this turn has to
    /// be proposed before the call. False if this server does not lead, or nobody can take over:
    /// then it stops as it is, and the others elect.
    ///
    /// The role ends as soon as everything outstanding is committed, and after half of syncLimit at
    /// the latest. From then on this server votes for others only, see [`Peer::may_lead`].
    pub fn hand_over(&mut self, now_ms: u64) -> bool {
        let Role::Leading(leader) = &mut self.role else { return false };
        let begun = leader.hand_over(&mut self.ledger, now_ms);
        if begun == Ok(false) {
            return false;
        }
        self.election.set_candidate(false);
        self.after(now_ms, begun.map(drop));
        true
    }

    /// Whether this server may become leader, as it may at first. One that is about to stop may
    /// not: it helps others to a quorum and follows. Does not end a role.
    pub fn may_lead(&mut self, now_ms: u64, may: bool) {
        let before = self.election.is_candidate();
        self.election.set_candidate(may);
        if matches!(self.role, Role::Looking) && before != may {
            self.election.look(now_ms, standing(&self.ledger), 0);
        }
        self.gather(now_ms);
    }

    /// Carries out the end of a role, then what the election made of everything.
    fn after(&mut self, now_ms: u64, ended: Result<(), Why>) {
        if let Err(why) = ended {
            self.leave(now_ms, why);
        }
        self.gather(now_ms);
    }

    fn leave(&mut self, now_ms: u64, why: Why) {
        if !matches!(self.role, Role::Leading(_) | Role::Learning(_)) {
            return;
        }
        tracing::warn!(sid = self.ledger.settings.sid.0, %why, "the role is over");
        self.observed = self.state() == PeerState::Observing;
        // Nobody is served any more, before anything else is done.
        self.ledger.state(State::Settling(why));
        match std::mem::replace(&mut self.role, Role::Settling(why)) {
            Role::Leading(mut leader) => leader.close(&mut self.ledger),
            Role::Learning(mut learner) => learner.close(&mut self.ledger),
            Role::Looking | Role::Settling(_) | Role::Stopped => {}
        }
        self.settle(now_ms);
    }

    /// Looks for a leader once the disk is quiet.
    fn settle(&mut self, now_ms: u64) {
        let Role::Settling(why) = self.role else { return };
        if !self.ledger.settled() {
            return;
        }
        self.ledger.fast_forward();
        self.role = Role::Looking;
        self.ledger.membership.forget_heard();
        self.tell_election(now_ms);
        if let Why::Reconfigured(Some(leader)) | Why::Appointed(leader) = why
            && (leader != self.ledger.settings.sid || self.election.is_candidate())
        {
            self.election.designate(leader, self.ledger.cursors().appended);
            return self.begin(now_ms, leader, matches!(why, Why::Appointed(_)));
        }
        self.ledger.state(State::Looking);
        let delay_ms = match std::mem::take(&mut self.observed) {
            true => self.draw_delay_ms(self.ledger.settings.observer_election_delay_ms),
            false => 0,
        };
        self.election.look(now_ms, standing(&self.ledger), delay_ms);
        self.hear_early_votes(now_ms);
    }

    /// A moment below the bound, another one each time.
    fn draw_delay_ms(&mut self, below_ms: u64) -> u64 {
        self.draws += 1;
        let seed = self.ledger.settings.seed.wrapping_add(self.draws);
        election::observer_delay_ms(seed, below_ms)
    }

    fn begin(&mut self, now_ms: u64, leader: Sid, appointed: bool) {
        let settings = &self.ledger.settings;
        let observer = self.configured() == ConfiguredRole::Observer;
        if leader == settings.sid {
            self.ledger.state(State::Leading);
            let leader = Leader::new(&mut self.ledger, now_ms, appointed);
            self.role = Role::Leading(Box::new(leader));
            return;
        }
        let state = if observer { State::Observing(leader) } else { State::Following(leader) };
        self.ledger.state(state);
        let way = self.way(leader, observer, appointed);
        let learner = Learner::new(&mut self.ledger, now_ms, leader, observer, way);
        self.role = Role::Learning(Box::new(learner));
    }

    /// How to get to the leader (`QuorumPeer.findLearnerMaster`). Observers go through those
    /// followers that serve them, one after the other, in an order of their own; after all of them,
    /// or on their way to the leader itself, they wait so that not all come at once.
    fn way(&mut self, leader: Sid, observer: bool, appointed: bool) -> Way {
        if !observer {
            return Way { appointed, ..Way::default() };
        }
        let settings = &self.ledger.settings;
        let bound_ms = settings.observer_reconnect_delay_ms;
        let masters = if settings.observer_masters { self.masters(leader) } else { Vec::new() };
        let exhausted = self.masters_tried >= masters.len();
        let delay_ms = if exhausted && !appointed { self.draw_delay_ms(bound_ms) } else { 0 };
        if exhausted {
            self.masters_tried = 0;
        }
        let via = masters.get(self.masters_tried).copied();
        self.masters_tried += 1;
        Way { appointed: appointed && via.is_none(), via, delay_ms }
    }

    /// The followers that serve observers, in the order in which this server tries them.
    fn masters(&self, leader: Sid) -> Vec<Sid> {
        let place = |sid: &Sid| {
            let seed = self.ledger.settings.seed ^ sid.0.cast_unsigned().rotate_left(32);
            (election::observer_delay_ms(seed, u64::MAX), *sid)
        };
        let voters = self.ledger.membership.current().voters();
        let mut masters: Vec<Sid> = voters.filter(|sid| *sid != leader).collect();
        masters.sort_by_key(place);
        masters
    }

    /// Whether this server votes, by the configuration in force or else by its own settings.
    pub fn configured(&self) -> ConfiguredRole {
        standing(&self.ledger).role
    }

    /// Takes what the election wants, and tells it what changed.
    fn gather(&mut self, now_ms: u64) {
        // Told first, it would go back to the configuration before the one that it has adopted.
        self.take_election(now_ms);
        self.tell_election(now_ms);
        self.take_election(now_ms);
    }

    fn take_election(&mut self, now_ms: u64) {
        while let Some(effect) = self.election.poll_effect() {
            match effect {
                election::Effect::Send { to, state, vote, configs } => {
                    self.ledger.push(Effect::Notify { to, state, vote, configs });
                }
                election::Effect::Hear(config) => self.ledger.config_heard(config),
                election::Effect::Adopt(config) => self.ledger.config_active(config),
                election::Effect::Decided { state: PeerState::Looking, .. } => {}
                election::Effect::Decided { vote, .. } => {
                    if matches!(self.role, Role::Looking) {
                        self.begin(now_ms, vote.leader, false);
                    }
                }
            }
        }
    }

    fn tell_election(&mut self, now_ms: u64) {
        let (ours, its) = (&self.ledger.membership, self.election.membership());
        let same = Arc::ptr_eq(ours.current(), its.current())
            && ours.last_seen().map(Arc::as_ptr) == its.last_seen().map(Arc::as_ptr);
        if !same {
            let membership = ours.clone();
            self.election.reconfigure(now_ms, membership, self.configured());
        }
        if let Some(epoch) = self.established() {
            self.election.established(i64::from(epoch));
        }
    }

    /// The process ends, and with it every connection; nothing else may be begun.
    fn stop(&mut self, fatal: Fatal) {
        self.role = Role::Stopped;
        self.ledger.fatal(fatal);
    }

    /// Which server this is.
    pub fn sid(&self) -> Sid {
        self.ledger.settings.sid
    }

    /// What this server does (LOOKING also while it settles).
    pub fn state(&self) -> PeerState {
        match &self.role {
            Role::Leading(_) => PeerState::Leading,
            Role::Learning(learner) if learner.observes() => PeerState::Observing,
            Role::Learning(_) => PeerState::Following,
            Role::Looking | Role::Settling(_) | Role::Stopped => PeerState::Looking,
        }
    }

    /// The phase (`QuorumPeer.ZabState`).
    pub fn zab_state(&self) -> &'static str {
        match &self.role {
            Role::Leading(leader) => leader.zab_state(),
            Role::Learning(learner) => learner.zab_state(),
            Role::Looking | Role::Settling(_) | Role::Stopped => "election",
        }
    }

    /// The epoch that this server serves in; `None` while it does not.
    pub fn established(&self) -> Option<u32> {
        match &self.role {
            Role::Leading(leader) => leader.established(),
            Role::Learning(learner) => learner.established(),
            Role::Looking | Role::Settling(_) | Role::Stopped => None,
        }
    }

    /// Who leads, as far as this server is in a role.
    pub fn leader(&self) -> Option<Sid> {
        match &self.role {
            Role::Leading(_) => Some(self.ledger.settings.sid),
            Role::Learning(learner) => Some(learner.leader()),
            Role::Looking | Role::Settling(_) | Role::Stopped => None,
        }
    }

    /// The leader's view, for reports.
    pub fn leading(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leading(leader) => Some(leader),
            _ => None,
        }
    }

    /// Whether this server leads, and the followers that have everything can commit without its own
    /// vote. Then its own log has time.
    pub fn others_suffice(&self) -> bool {
        self.leading().is_some_and(|leader| leader.others_suffice(&self.ledger))
    }

    /// The observers that this follower serves, for reports; `None` if there were none.
    pub fn observers(&self) -> Option<&Leader> {
        match &self.role {
            Role::Learning(learner) => learner.master(),
            _ => None,
        }
    }

    /// Who serves this learner: its leader, or a follower that serves observers.
    pub fn learner_master(&self) -> Option<Sid> {
        match &self.role {
            Role::Learning(learner) => Some(learner.serves_us()),
            _ => None,
        }
    }

    /// False while this server has no voice, because it has lost its data.
    pub fn trusted(&self) -> bool {
        self.ledger.trusted()
    }

    /// The promises on disk.
    pub fn epochs(&self) -> Epochs {
        self.ledger.epochs()
    }

    /// How far history is.
    pub fn cursors(&self) -> Cursors {
        self.ledger.cursors()
    }

    /// The configurations that count.
    pub fn membership(&self) -> &Membership {
        &self.ledger.membership
    }

    /// The election's view, for reports.
    pub fn election(&self) -> &Election {
        &self.election
    }
}

/// What this server brings into an election: promises and position as they are on disk
/// (ZOOKEEPER-2845).
fn standing(ledger: &Ledger) -> Standing {
    let sid = ledger.settings.sid;
    let config = ledger.membership.current();
    let observes = config.is_observer(sid) || (ledger.settings.observer && !config.is_voter(sid));
    Standing {
        role: if observes { ConfiguredRole::Observer } else { ConfiguredRole::Participant },
        last_logged: if ledger.trusted() { ledger.cursors().appended } else { NO_DATABASE },
        current_epoch: i64::from(ledger.epochs().current),
    }
}

fn serve_history(leader: &mut Leader, ledger: &mut Ledger, history: Input) {
    match history {
        Input::SnapshotOpened { link, zxid } => leader.snapshot_opened(ledger, link, zxid),
        Input::LogSurveyed { link, survey } => leader.log_surveyed(ledger, link, survey),
        Input::LogRead { link, entries } => leader.log_read(ledger, link, entries),
        Input::HistoryUnavailable(link) => leader.history_unavailable(ledger, link),
        Input::Elected(_)
        | Input::Linked(_)
        | Input::ObserverLinked(_)
        | Input::DialFailed(_)
        | Input::Unlinked(_)
        | Input::Progress(_)
        | Input::Disk(_) => {}
    }
}
