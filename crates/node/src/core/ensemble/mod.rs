//! The core as a member of an ensemble.
//!
//! The agreement itself is [`zab::Peer`]; here its decisions meet the tree. Whatever the peer wants
//! done is *absorbed* right after each call: what concerns transactions, roles and clients is done
//! by the core, everything else goes on to the host.
//!
//! # One way for transactions
//! On every server a transaction first stands in the open batch, then in the log and among those
//! that wait to be applied. On a leader the batch is filled by preparing requests, and proposed as
//! a whole at the end of the turn; on a learner it is filled by what the leader proposes. A server
//! that is alone applies what is on disk, a member what is committed.
//!
//! # Who is answered
//! A leader knows the origin of each of its transactions by its place. A learner forwards requests
//! and knows its own by session and cxid when they come back (`CommitProcessor`).
//!
//! # Roles
//! A role that ends stops serving at once: whoever waits is forgotten, connections are dropped. A
//! new one serves when the peer says so *and* everything committed before is applied; what learners
//! ask of a leader in between waits.

mod leading;
mod learning;
mod local;
mod report;
mod tally;

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::notification::Notification;
use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::{OpCode, SessionId, Sid, Zxid};
use oxkeeper_tree::Tree;
use oxkeeper_zab as zab;
use zab::quorum::QuorumVerifier;
use zab::wrong::{self, Wrong};
use zab::{Entry, LinkId, State, SyncToken, Verdict};

use super::sessions::SessionClock;
use super::{Core, InFlight, Waiter};
use crate::front::Shared;
use crate::limits;
use crate::messages::{Batch, ConnId, Effect, FrontId, Now, ToFront};
use leading::Early;
use learning::{Pending, Revalidating, Touches};
pub use tally::Tally;

/// What the core does in its ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Looking for a leader, or finishing what the last role left.
    None,
    /// Leads, or is about to.
    Leading,
    /// Follows or observes, or is about to.
    Learning,
}

/// See the module's essay.
#[derive(Debug)]
pub(super) struct Ensemble {
    pub peer: zab::Peer,
    /// After a stall the agreement's clock is not looked at before this.
    resume_ms: Option<u64>,
    pub part: Part,
    /// The state that was told last, for reports.
    state: State,
    /// The last transaction that may be applied.
    committed: Zxid,
    /// Whom to serve once everything committed is applied.
    serve_next: Option<Serve>,
    /// When readers are served without an ensemble, monotonic ms.
    read_only_at_ms: Option<u64>,
    /// Clients are served, or were until [`Ensemble::stopping`].
    pub serving: bool,
    /// Serving has ended and the tree's readers do not know it yet.
    stopping: bool,
    /// The transactions of the open batch are kept in memory only.
    holds: bool,
    /// Reconfigurations in the open batch.
    configs: VecDeque<(Zxid, Arc<QuorumVerifier>)>,
    /// Fronts there are.
    fronts: u16,
    /// What learners asked before this leader served.
    early: VecDeque<(LinkId, Early)>,
    /// A learner's requests under way, by session in their order.
    pending: HashMap<SessionId, VecDeque<Pending>>,
    /// A learner's connections by session.
    connected: HashMap<SessionId, (FrontId, ConnId)>,
    revalidating: HashMap<SessionId, VecDeque<Revalidating>>,
    touches: Touches,
    /// Sessions that only this server knows.
    pub locals: SessionClock,
    /// Syncs that the leader has not answered.
    syncs: HashMap<SyncToken, Syncer>,
    next_sync: u64,
    /// Syncs that are complete when the tree has reached a transaction.
    synced_at: VecDeque<(Zxid, Syncer)>,
    pub tally: Tally,
}

/// Whom to serve next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serve {
    /// Everybody, in this epoch.
    Epoch(u32),
    /// Readers alone: there is no ensemble.
    Readers,
}

/// Who asked for a sync.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syncer {
    front: FrontId,
    conn: ConnId,
    nth: u32,
}

impl Ensemble {
    fn new(peer: zab::Peer, fronts: u16, applied: Zxid, locals: SessionClock) -> Ensemble {
        Ensemble {
            peer,
            resume_ms: None,
            part: Part::None,
            state: State::Looking,
            committed: applied,
            serve_next: None,
            read_only_at_ms: None,
            serving: false,
            stopping: false,
            holds: false,
            configs: VecDeque::new(),
            fronts,
            early: VecDeque::new(),
            pending: HashMap::new(),
            connected: HashMap::new(),
            revalidating: HashMap::new(),
            touches: Touches::default(),
            locals,
            syncs: HashMap::new(),
            next_sync: 0,
            synced_at: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Whether it serves in an epoch: what it has is what the ensemble has.
    pub fn has_role(&self) -> bool {
        self.part != Part::None && self.serving
    }

    /// Whether the agreement's clock is to be looked at. Who finds out much too late that it is,
    /// has not run meanwhile: what the others said waits in the sockets, and is heard before
    /// anybody is blamed for silence.
    pub fn is_peer_due(&mut self, now: Now, tick_time_ms: u32) -> bool {
        let (now_ms, due_ms) = (now.mono_ms(), self.peer.deadline_ms());
        let Some(late_ms) = due_ms.and_then(|due_ms| now_ms.checked_sub(due_ms)) else {
            self.resume_ms = None;
            return false;
        };
        match self.resume_ms {
            None if late_ms > u64::from(tick_time_ms) / 2 => {
                self.resume_ms = Some(now_ms + limits::LISTEN_AFTER_STALL_MS);
                false
            }
            Some(resume_ms) if now_ms < resume_ms => false,
            _ => {
                self.resume_ms = None;
                true
            }
        }
    }

    /// When [`Ensemble::is_peer_due`] is to be asked, monotonic µs.
    pub fn peer_deadline_us(&self) -> Option<u64> {
        let due_ms = self.peer.deadline_ms()?;
        Some(due_ms.max(self.resume_ms.unwrap_or(0)) * 1000)
    }

    /// Nobody is waited for any more.
    fn forget_clients(&mut self) {
        self.early.clear();
        self.configs.clear();
        self.pending.clear();
        self.connected.clear();
        self.revalidating.clear();
        self.touches = Touches::default();
        self.syncs.clear();
        self.synced_at.clear();
    }
}

impl Core {
    /// Makes this core a member of an ensemble. `fronts` is the number of Fronts; the tree must not
    /// be served before the core says so by [`Shared::serving`].
    pub fn join(&mut self, mut peer: zab::Peer, fronts: u16, now: Now) {
        peer.start(now.mono_ms());
        let locals =
            SessionClock::new(self.settings.tick_time_ms, self.settings.server_id, now, []);
        self.ensemble = Some(Box::new(Ensemble::new(peer, fronts, self.applied, locals)));
        self.absorb(now);
    }

    /// The agreement's view, for reports; `None` standalone.
    pub fn peer(&self) -> Option<&zab::Peer> {
        self.ensemble.as_ref().map(|ensemble| &ensemble.peer)
    }

    /// What this server does in its ensemble; `None` standalone.
    pub fn state(&self) -> Option<State> {
        self.ensemble.as_ref().map(|ensemble| ensemble.state)
    }

    /// A packet came on a link of the quorum port.
    pub fn packet(&mut self, shared: &Shared, now: Now, link: LinkId, packet: &Packet<'_>) {
        // A sync is behind everything that was asked before it, prepared or not, and also where
        // that waits until this leader serves: Apache's learners expect answers in the order of
        // their questions, and would wait for ever for one that came too early.
        if let Packet::Request(request) = packet
            && request.op == OpCode::SYNC
        {
            if self.is_early() {
                return self.keep_early(link, request);
            }
            self.end_turn(now);
        }
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.tally.packet(&mut self.stats.ensemble, now, &ensemble.peer, link, packet);
        let verdict = ensemble.peer.packet_of_many(now.mono_ms(), link, packet);
        self.absorb(now);
        if let Verdict::ForNode(_) = verdict {
            self.packet_for_node(shared, now, link, packet);
        }
    }

    fn packet_for_node(&mut self, shared: &Shared, now: Now, link: LinkId, packet: &Packet<'_>) {
        match packet {
            Packet::Request(request) => self.learners_request(shared, now, link, request),
            Packet::Revalidate { session, timeout_ms } => {
                self.learners_session(now, link, *session, *timeout_ms)
            }
            Packet::Ping { touched: Some(touched), .. } => {
                for (session, timeout_ms) in touched.iter() {
                    self.sessions.touch(now, session, timeout_ms);
                }
            }
            Packet::Revalidated { session, valid } => self.revalidated(*session, *valid),
            _ => {}
        }
    }

    /// Something happened that is between the host and the agreement.
    pub fn peer_input(&mut self, now: Now, input: zab::Input) {
        let Some(ensemble) = &mut self.ensemble else { return };
        if let zab::Input::Unlinked(link) = &input {
            ensemble.tally.unlinked(*link);
        }
        ensemble.peer.handle(now.mono_ms(), input);
        self.absorb(now);
    }

    /// A vote came from a server.
    pub fn notification(&mut self, now: Now, from: Sid, told: &Notification<'_>) {
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.peer.notification(now.mono_ms(), from, told);
        self.absorb(now);
    }

    /// A server's election port is connected, or known not to be.
    pub fn election_link(&mut self, now: Now, sid: Sid, up: bool) {
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.peer.election_link(now.mono_ms(), sid, up);
        self.absorb(now);
    }

    /// Ends this server's role, if it has one.
    pub fn step_down(&mut self, now: Now) {
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.peer.step_down(now.mono_ms());
        self.absorb(now);
    }

    /// Leads no more, now and until this server has ended: [`hand_over`](Self::hand_over) if that
    /// is possible, or else an election among the others.
    pub fn retire(&mut self, now: Now) {
        if self.hand_over(now) {
            return;
        }
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.peer.may_lead(now.mono_ms(), false);
        ensemble.peer.step_down(now.mono_ms());
        self.absorb(now);
    }

    /// Gives up leading in favour of a learner that has everything: a leader does so before it
    /// stops. False if there is nothing to give up, or nobody to give it to.
    pub fn hand_over(&mut self, now: Now) -> bool {
        self.end_turn(now);
        let Some(ensemble) = &mut self.ensemble else { return false };
        let begun = ensemble.peer.hand_over(now.mono_ms());
        self.absorb(now);
        begun
    }

    /// A report of the disk.
    pub fn disk(&mut self, now: Now, disk: zab::Disk) {
        if let zab::Disk::Synced(zxid) = disk {
            self.synced = self.synced.max(zxid);
            if let Some(Ensemble { tally, peer, .. }) = self.ensemble.as_deref_mut() {
                tally.synced(&mut self.stats.ensemble, now, peer, zxid);
            }
        }
        self.peer_input(now, zab::Input::Disk(disk));
    }

    /// History was cut, replaced or read anew: this is the tree of it. Whatever of the history
    /// before was not applied never will be. Returns the tree that was there: a large one takes its
    /// time to be dropped, which is better done where nobody waits for the lock.
    pub fn rebuilt(
        &mut self,
        shared: &mut Shared,
        now: Now,
        tree: Tree,
        disk: zab::Disk,
    ) -> Option<Tree> {
        let over = self.ensemble.as_ref().is_some_and(|ensemble| ensemble.part == Part::None);
        if over && wrong::is(Wrong::Z5094) {
            self.peer_input(now, zab::Input::Disk(disk));
            return None;
        }
        let zxid = tree.last_zxid();
        let before = mem::replace(&mut shared.tree, tree);
        shared.serving = false;
        // A leader of Apache's sends its tree while it changes. What we keep, and may pass on, is
        // to be a tree as it once was.
        if let zab::Disk::SnapshotInstalled { .. } = disk {
            self.request_snapshot();
        }
        self.overlay.clear();
        self.in_flight.clear();
        self.waiters.clear();
        self.proposed = zxid;
        self.appended = zxid;
        self.synced = zxid;
        self.applied = zxid;
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.committed = zxid;
        }
        self.peer_input(now, zab::Input::Disk(disk));
        Some(before)
    }

    /// Carries out what the agreement has decided, as far as it is the core's.
    pub(super) fn absorb(&mut self, now: Now) {
        while let Some(effect) = self.ensemble.as_mut().and_then(|e| e.peer.poll_effect()) {
            self.absorb_one(now, effect);
        }
    }

    fn absorb_one(&mut self, now: Now, effect: zab::Effect) {
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.tally.effect(&mut self.stats.ensemble, now, &ensemble.peer, &effect);
        match effect {
            // A leader's own came from the batch that it proposed.
            zab::Effect::Append(_) | zab::Effect::Hold(_) if ensemble.part == Part::Leading => {}
            zab::Effect::Append(entry) => {
                ensemble.holds = false;
                self.take_entry(&entry);
            }
            zab::Effect::Hold(entry) => {
                ensemble.holds = true;
                self.take_entry(&entry);
                self.synced = entry.zxid;
            }
            zab::Effect::Commit(zxid) => ensemble.committed = zxid,
            zab::Effect::FastForward(zxid) => {
                self.close_batch();
                if let Some(ensemble) = &mut self.ensemble {
                    ensemble.committed = zxid;
                }
            }
            zab::Effect::Serve { epoch } => ensemble.serve_next = Some(Serve::Epoch(epoch)),
            zab::Effect::Synced(token) => {
                if let Some(syncer) = ensemble.syncs.remove(&token) {
                    let committed = ensemble.committed;
                    ensemble.synced_at.push_back((committed, syncer));
                    self.answer_syncs();
                }
            }
            zab::Effect::AskTouched { zxid } => self.ask_touched(zxid),
            zab::Effect::State(state) => self.enter(now, state),
            zab::Effect::SaveEpochs(_)
            | zab::Effect::SaveEnsembleId(_)
            | zab::Effect::Truncate { .. }
            | zab::Effect::ReceiveSnapshot { .. }
            | zab::Effect::Reload { .. } => {
                // One queue with the log: what was appended before is written before. What a leader
                // has in its open batch was not proposed, let alone appended.
                let epochs = matches!(effect, zab::Effect::SaveEpochs(_));
                let wrong = wrong::is(Wrong::Z4643) || wrong::is(Wrong::Z4646);
                if ensemble.part != Part::Leading && !(epochs && wrong) {
                    self.close_batch();
                }
                if !epochs && !matches!(effect, zab::Effect::SaveEnsembleId(_)) {
                    self.abandon_history();
                }
                self.effects.push_back(Effect::Peer(effect));
            }
            other => self.effects.push_back(Effect::Peer(other)),
        }
    }

    /// Adds a transaction that the leader proposed to the open batch.
    fn take_entry(&mut self, entry: &Entry) {
        self.open.extend_from_slice(&entry.payload);
        self.open_ends.push(self.open.len() as u32);
        self.waiters.push_back(None);
        self.proposed = entry.zxid;
    }

    /// What is not applied is about to be replaced by another history.
    fn abandon_history(&mut self) {
        self.in_flight.clear();
        self.waiters.clear();
        self.abandon_snapshot();
    }

    /// Takes a new state. Any but the one before ends the serving of clients.
    fn enter(&mut self, now: Now, state: State) {
        self.stop_serving();
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.state = state;
        ensemble.part = match state {
            State::Looking | State::Settling(_) => Part::None,
            State::Leading => Part::Leading,
            State::Following(_) | State::Observing(_) => Part::Learning,
        };
        ensemble.read_only_at_ms = match state {
            State::Looking => self.settings.read_only_after_ms.map(|ms| now.mono_ms() + ms),
            _ => None,
        };
        ensemble.locals.reset(now, []);
        self.sessions.reset(now, []);
        self.effects.push_back(Effect::Peer(zab::Effect::State(state)));
    }

    fn stop_serving(&mut self) {
        let Some(ensemble) = &mut self.ensemble else { return };
        ensemble.serve_next = None;
        ensemble.forget_clients();
        match ensemble.part {
            // What was prepared and not proposed has never been.
            Part::Leading => self.discard_open(),
            Part::Learning => self.close_batch(),
            Part::None => {}
        }
        self.waiters.iter_mut().for_each(|waiter| *waiter = None);
        self.overlay.clear();
        let Some(ensemble) = &mut self.ensemble else { return };
        if std::mem::take(&mut ensemble.serving) {
            ensemble.stopping = true;
            for front in 0..ensemble.fronts {
                self.effects.push_back(Effect::Tell(FrontId(front), ToFront::Stop));
            }
        }
    }

    fn discard_open(&mut self) {
        let kept = self.waiters.len() - self.open_ends.len();
        self.waiters.truncate(kept);
        self.open.clear();
        self.open_ends.clear();
        self.proposed = self.appended;
    }

    /// True if [`Core::change_role`] has something to do.
    pub(super) fn role_change_due(&self) -> bool {
        self.ensemble.as_ref().is_some_and(|ensemble| {
            ensemble.stopping
                || (ensemble.serve_next.is_some() && self.applied >= ensemble.committed)
        })
    }

    /// Lets the tree's readers know that serving has ended, or begins it.
    pub(super) fn change_role(&mut self, shared: &mut Shared, now: Now) {
        let Some(ensemble) = &mut self.ensemble else { return };
        if std::mem::take(&mut ensemble.stopping) {
            shared.serving = false;
            shared.read_only = false;
        }
        if self.applied < ensemble.committed {
            return;
        }
        let Some(next) = ensemble.serve_next.take() else { return };
        ensemble.serving = true;
        let Serve::Epoch(epoch) = next else {
            tracing::info!("no ensemble: serving those who only read");
            shared.serving = true;
            shared.read_only = true;
            return;
        };
        ensemble.tally.serves(&mut self.stats.ensemble, now, ensemble.state);
        let config = ensemble.peer.membership().current();
        shared.tree.init_config(&config.to_string(), config.version(), now.wall_ms);
        if ensemble.part == Part::Leading {
            let first = Zxid(i64::from(epoch) << 32);
            shared.tree.set_last_zxid(shared.tree.last_zxid().max(first));
            self.proposed = self.proposed.max(first);
            self.appended = self.appended.max(first);
            self.synced = self.synced.max(first);
            self.applied = self.applied.max(first);
            ensemble.committed = ensemble.committed.max(first);
            self.overlay.clear();
            self.sessions.reset(now, shared.tree.sessions());
            // Owners that nobody knows any more expire with the first tick.
            let tree = &shared.tree;
            for owner in tree.ephemeral_owners() {
                if tree.session_timeout_ms(owner).is_none() {
                    self.sessions.start(now, owner, 0, None);
                }
            }
            self.reaper = super::Reaper::new(&self.settings, now);
        }
        let leads = ensemble.part == Part::Leading;
        shared.serving = !leads || self.settings.leader_serves;
        self.take_early(shared, now);
    }

    /// Whether this server orders writes itself: it is alone, or leads and serves.
    pub(super) fn orders(&self) -> bool {
        self.ensemble.as_ref().is_none_or(|e| e.part == Part::Leading && e.serving)
    }

    /// Whether writes go to another server.
    pub(super) fn forwards(&self) -> bool {
        self.ensemble.as_ref().is_some_and(|e| e.part == Part::Learning)
    }

    /// The last transaction that may be applied.
    pub(super) fn appliable(&self) -> Zxid {
        self.ensemble.as_ref().map_or(self.synced, |ensemble| ensemble.committed)
    }

    /// The zxid of the next transaction prepared here. `None` if none can be proposed now.
    pub(super) fn next_zxid(&mut self) -> Option<Zxid> {
        let unproposed = self.open_ends.len() as u32;
        match &mut self.ensemble {
            None => Some(self.proposed.next()),
            Some(ensemble) if ensemble.part == Part::Leading && ensemble.serving => {
                ensemble.peer.next_zxid(unproposed)
            }
            Some(_) => None,
        }
    }

    /// Counts what the packets of this turn have acknowledged.
    pub(super) fn packets_done(&mut self, now: Now) {
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.peer.packets_done(now.mono_ms());
            self.absorb(now);
        }
    }

    /// Proposes the open batch, and gives the log what became of it.
    pub(super) fn propose_batch(&mut self, now: Now) {
        let Some(ensemble) = &mut self.ensemble else { return };
        let payloads = Bytes::from(next_buffer(&mut self.open));
        let ends = &self.open_ends;
        let mut start = 0;
        let mut proposed = 0;
        for &end in ends {
            let payload = payloads.slice(start..end as usize);
            start = end as usize;
            let Some(zxid) = zxid_of(&payload) else { break };
            let (bytes, time_ms) = (payload.len(), time_of(&payload));
            let config = match ensemble.configs.front() {
                Some((reconfigures, _)) if *reconfigures == zxid => ensemble.configs.pop_front(),
                _ => None,
            };
            let config = config.map(|(_, config)| config);
            if !ensemble.peer.propose(now.mono_ms(), Entry { zxid, payload }, config) {
                break;
            }
            ensemble.tally.proposed(&mut self.stats.ensemble, zxid, time_ms, bytes);
            self.appended = zxid;
            proposed += 1;
        }
        // The role may have ended at any of them: what nobody was told of is not logged either.
        let lost = self.open_ends.len() - proposed;
        self.open_ends.truncate(proposed);
        self.waiters.truncate(self.waiters.len() - lost);
        self.proposed = self.appended;
        self.queue_batch(payloads);
        self.absorb(now);
    }

    /// Ends the open batch of a learner.
    pub(super) fn close_batch(&mut self) {
        if self.open_ends.is_empty() {
            return;
        }
        let payloads = Bytes::from(next_buffer(&mut self.open));
        self.appended = self.proposed;
        self.queue_batch(payloads);
    }

    /// Hands the log the transactions of `open_ends` and keeps them until they are applied.
    pub(super) fn queue_batch(&mut self, payloads: Bytes) {
        if self.open_ends.is_empty() {
            return;
        }
        let ends: Arc<[u32]> = self.open_ends[..].into();
        self.open_ends.clear();
        let batch =
            Batch { payloads: payloads.clone(), ends: ends.clone(), last_zxid: self.appended };
        self.in_flight.push_back(InFlight { payloads, ends, next: 0 });
        if self.ensemble.as_ref().is_none_or(|ensemble| !ensemble.holds) {
            self.effects.push_back(Effect::Append(batch));
        }
    }

    /// A client's sync (`FollowerRequestProcessor`, `LeaderZooKeeperServer`).
    pub(super) fn sync(
        &mut self,
        now: Now,
        front: FrontId,
        conn: ConnId,
        session: SessionId,
        xid: i32,
        nth: u32,
    ) {
        self.end_turn(now);
        let syncer = Syncer { front, conn, nth };
        let Some(ensemble) = &mut self.ensemble else {
            self.flushes.push_back((self.proposed, syncer));
            return self.answer_syncs();
        };
        let token = SyncToken(ensemble.next_sync);
        ensemble.next_sync += 1;
        ensemble.syncs.insert(token, syncer);
        let forward = zab::Forward {
            session,
            cxid: xid,
            op: OpCode::SYNC,
            body: learning::sync_body(),
            identities: None,
        };
        if !ensemble.peer.sync(token, forward) {
            ensemble.syncs.remove(&token);
            let close = ToFront::Close { conn, why: "no leader for a sync" };
            self.effects.push_back(Effect::Tell(front, close));
        }
        self.absorb(now);
    }

    /// Answers the syncs that the tree has caught up with.
    pub(super) fn answer_syncs(&mut self) {
        let waiting = match &mut self.ensemble {
            Some(ensemble) => &mut ensemble.synced_at,
            None => &mut self.flushes,
        };
        while let Some((at, syncer)) = waiting.front().copied() {
            if at > self.applied {
                break;
            }
            waiting.pop_front();
            let told = ToFront::Synced { conn: syncer.conn, nth: syncer.nth };
            self.effects.push_back(Effect::Tell(syncer.front, told));
        }
    }

    /// Who waits for the transaction that is applied next.
    pub(super) fn waiter_of(&mut self, session: SessionId, cxid: i32) -> Option<Waiter> {
        let waiter = self.waiters.pop_front().flatten();
        if waiter.is_some() { waiter } else { self.forwarded(session, cxid) }
    }
}

/// Takes a batch's bytes and leaves room for another of that size.
fn next_buffer(open: &mut Vec<u8>) -> Vec<u8> {
    let next = Vec::with_capacity(open.len().next_power_of_two().min(1 << 16));
    std::mem::replace(open, next)
}

/// The zxid in an encoded transaction: behind session and cxid.
fn zxid_of(payload: &[u8]) -> Option<Zxid> {
    let bytes = payload.get(12..20)?;
    Some(Zxid(i64::from_be_bytes(bytes.try_into().ok()?)))
}

/// The time in an encoded transaction, wall-clock ms: behind the zxid.
fn time_of(payload: &[u8]) -> Option<i64> {
    let bytes = payload.get(20..28)?;
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}
