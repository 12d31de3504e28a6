//! The core: proposals, the overlay, the sessions' clock. One per server.
//!
//! # A write's way
//! [`Core::submit`] turns a request into an encoded transaction at the end of the open batch.
//! [`Core::end_turn`] hands the batch to the host, which writes it; [`Core::synced`] reports how
//! far the log is on disk; [`Core::apply_next`] then applies one transaction after the other and
//! says who waits for it. Between proposal and apply a transaction exists once, as the bytes that
//! go to the log: what is applied is what was written.
//!
//! In an ensemble what may be applied is decided by the module `ensemble` instead of the log alone,
//! and a learner's requests make a detour over its leader.
//!
//! # Cursors
//! `applied ≤ synced ≤ appended ≤ proposed`, asserted where they move; in an ensemble
//! `applied ≤ committed ≤ appended` instead, because a quorum may be made of others.
//!
//! # Sources
//! `PrepRequestProcessor`, `SyncRequestProcessor`, `FinalRequestProcessor`, `ContainerManager`.

mod ensemble;
mod reap;
mod sessions;
mod snapshots;
mod throttle;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::{ErrorCode, OpCode, Payload, Request, SessionId, Txn, Zxid};
use oxkeeper_tree::overlay::Overlay;
use oxkeeper_tree::prep::PrepContext;
use oxkeeper_zab as zab;
use zab::wrong::{self, Wrong};

use ensemble::{Ensemble, Syncer};
pub use sessions::{BucketCursor, Due, Owner, SessionClock};
pub use throttle::ThrottleSettings;

use crate::front::Shared;
use crate::limits;
use crate::messages::{
    AuthSet, Committed, ConnId, Effect, FrontId, Now, Outcome, OutcomeKind, ToCore, ToFront,
};
use crate::settings::Settings;
use crate::stats::CoreStats;
use reap::Reaper;
use snapshots::SnapshotState;
use throttle::ConnectionThrottle;

/// Who waits for a transaction.
#[derive(Debug, Clone, Copy)]
struct Waiter {
    front: FrontId,
    conn: ConnId,
    /// When the client asked, monotonic ms.
    asked_ms: u64,
    kind: WaiterKind,
}

#[derive(Debug, Clone, Copy)]
enum WaiterKind {
    /// With what the client is told whatever comes of it, if that is settled.
    Reply {
        xid: i32,
        op: OpCode,
        refused: Option<ErrorCode>,
    },
    Handshake {
        timeout_ms: i32,
    },
}

/// Where a write comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// A client of this server.
    Here(Waiter),
    /// A client of a learner.
    Learner { link: zab::LinkId, cxid: i32, op: OpCode },
}

/// A batch that the log has or had, until all of it is applied.
#[derive(Debug)]
struct InFlight {
    payloads: Bytes,
    ends: Arc<[u32]>,
    next: usize,
}

/// See the module's essay.
#[derive(Debug)]
pub struct Core {
    settings: Arc<Settings>,
    overlay: Overlay,
    sessions: SessionClock,
    open: Vec<u8>,
    open_ends: Vec<u32>,
    in_flight: VecDeque<InFlight>,
    /// One for each transaction proposed and not applied.
    waiters: VecDeque<Option<Waiter>>,
    proposed: Zxid,
    appended: Zxid,
    synced: Zxid,
    applied: Zxid,
    /// The other servers; none standalone.
    ensemble: Option<Box<Ensemble>>,
    /// Syncs of a server that is alone, each behind what had been proposed when it came: a session
    /// that has moved finds by it what became of its last write.
    flushes: VecDeque<(Zxid, Syncer)>,
    effects: VecDeque<Effect>,
    snapshot: SnapshotState,
    reaper: Reaper,
    throttle: ConnectionThrottle,
    stats: CoreStats,
}

impl Core {
    /// A core over a recovered tree.
    pub fn new(settings: Arc<Settings>, shared: &Shared, now: Now) -> Self {
        let zxid = shared.tree.last_zxid();
        Core {
            overlay: Overlay::new(settings.seed),
            sessions: SessionClock::new(
                settings.tick_time_ms,
                settings.server_id,
                now,
                shared.tree.sessions(),
            ),
            open: Vec::new(),
            open_ends: Vec::new(),
            in_flight: VecDeque::new(),
            waiters: VecDeque::new(),
            proposed: zxid,
            appended: zxid,
            synced: zxid,
            applied: zxid,
            ensemble: None,
            flushes: VecDeque::new(),
            effects: VecDeque::new(),
            snapshot: SnapshotState::new(&settings),
            reaper: Reaper::new(&settings, now),
            throttle: ConnectionThrottle::new(settings.throttle, settings.seed, now),
            stats: CoreStats::default(),
            settings,
        }
    }

    /// Takes one message of a Front.
    pub fn submit(&mut self, shared: &Shared, now: Now, front: FrontId, message: ToCore<'_>) {
        match message {
            ToCore::Write { conn, session, xid, nth, op, body, auth } => {
                if op == OpCode::CLOSE_SESSION && self.close_local(front, conn, nth, session) {
                    return;
                }
                if self.has_left(session, (front, conn)) {
                    return self.close_other(Some((front, conn)));
                }
                let refused = self.upgrade_for(shared, now, session, op, body).err();
                // A multi says itself how each of its operations fared.
                let refused = refused.filter(|_| op != OpCode::MULTI);
                let kind = WaiterKind::Reply { xid, op, refused };
                let waiter = Waiter { front, conn, asked_ms: now.mono_ms(), kind };
                let readable = match self.forwards() {
                    true => self.forward(now, waiter, session, body, auth),
                    false => self.write(shared, now, Origin::Here(waiter), session, body, auth),
                };
                if !readable {
                    let told = ToFront::Settled { conn, nth, err: ErrorCode::MARSHALLING_ERROR };
                    self.effects.push_back(Effect::Tell(front, told));
                }
            }
            ToCore::Connect { conn, session, password_ok, timeout_ms } => {
                self.connect(shared, now, front, conn, session, password_ok, timeout_ms)
            }
            ToCore::Closed { conn, session, heard_us, untold_ms } => {
                self.closed(session, (front, conn), heard_us, untold_ms)
            }
            ToCore::Sync { conn, session, xid, nth } => {
                self.sync(now, front, conn, session, xid, nth)
            }
            ToCore::Touched(touched) => self.touched(now, &touched),
            ToCore::Heard(heard) => {
                for (session, heard_us) in heard {
                    let local = self.heard_local(now, session, heard_us);
                    if !local && self.sessions.heard(now, session, heard_us) {
                        self.expire(shared, now, session);
                    }
                }
            }
        }
    }

    fn closed(
        &mut self,
        session: SessionId,
        owner: (FrontId, ConnId),
        heard_us: u64,
        untold_ms: Option<i32>,
    ) {
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.locals.connection_closed(session, owner, heard_us);
        }
        match self.forwards() {
            true => self.learner_closed(session, owner, untold_ms),
            false => self.sessions.connection_closed(session, owner, heard_us),
        }
    }

    /// Makes a request a transaction. False if it could not be read and became none.
    fn write(
        &mut self,
        shared: &Shared,
        now: Now,
        origin: Origin,
        session: SessionId,
        body: &[u8],
        auth: &AuthSet,
    ) -> bool {
        let (xid, op, waiter, link) = match origin {
            Origin::Here(waiter) => {
                let WaiterKind::Reply { xid, op, .. } = waiter.kind else { return true };
                (xid, op, Some(waiter), None)
            }
            Origin::Learner { link, cxid, op } => (cxid, op, None, Some(link)),
        };
        let Some(context) = self.context(now, session, xid, auth) else {
            self.cannot_propose(waiter);
            return true;
        };
        if op == OpCode::CLOSE_SESSION {
            let rules = &self.settings.rules;
            self.overlay.prep_close_session(&shared.tree, rules, &context, session, &mut self.open);
            self.sessions.closing(session);
            self.proposed(waiter);
            return true;
        }
        match self.may_write(session, op, link) {
            Ok(ephemerals_refused) => {
                let context = PrepContext { ephemerals_refused, ..context };
                let answered = link.is_some();
                if !self.prepare(shared, now, &context, op, body, auth, answered) {
                    return false;
                }
            }
            Err(code) => drop(self.overlay.prep_error(&context, code, &mut self.open)),
        }
        self.proposed(waiter);
        true
    }

    /// Prepares a request whose session may ask. False if it could not be read and need not be
    /// `answered` by a transaction.
    #[allow(clippy::too_many_arguments)]
    fn prepare(
        &mut self,
        shared: &Shared,
        now: Now,
        context: &PrepContext<'_>,
        op: OpCode,
        body: &[u8],
        auth: &AuthSet,
        answered: bool,
    ) -> bool {
        let mut reader = Reader::with_field_max(body, self.settings.field_bytes_max);
        match Request::decode(op, &mut reader) {
            Ok(Some(Request::Reconfig(request))) if self.ensemble.is_some() => {
                self.reconfigure(shared, now, context.session, context.cxid, &request, auth);
            }
            Ok(Some(request)) => {
                let (tree, rules) = (&shared.tree, &self.settings.rules);
                let outcome = self.overlay.prep(tree, rules, context, &request, &mut self.open);
                if outcome.error == ErrorCode::QUOTA_EXCEEDED {
                    self.stats.over_quota(written_path(&request));
                }
            }
            // Java gives such a request the zxid before its own, a multi alone a new one; we log
            // nothing where no zxid is used. A learner waits for an answer, though.
            Ok(None) | Err(_) if op != OpCode::MULTI && !answered => return false,
            Ok(None) | Err(_) => {
                let code = ErrorCode::MARSHALLING_ERROR;
                self.overlay.prep_error(context, code, &mut self.open);
            }
        }
        true
    }

    /// There is no zxid to be had: this server's role is about to end, and so is the connection.
    fn cannot_propose(&mut self, waiter: Option<Waiter>) {
        if let Some(Waiter { front, conn, .. }) = waiter {
            let close = ToFront::Close { conn, why: "this server does not lead any more" };
            self.effects.push_back(Effect::Tell(front, close));
        }
    }

    /// What the next transaction starts from. `None` if none can be proposed.
    fn context<'a>(
        &mut self,
        now: Now,
        session: SessionId,
        cxid: i32,
        auth: &'a AuthSet,
    ) -> Option<PrepContext<'a>> {
        let zxid = self.next_zxid()?;
        Some(PrepContext {
            session,
            cxid,
            zxid,
            time_ms: now.wall_ms,
            auth: &auth[..],
            ephemerals_refused: None,
        })
    }

    /// Notes that one transaction was appended to the open batch.
    fn proposed(&mut self, waiter: Option<Waiter>) {
        self.proposed = self.proposed.next();
        self.open_ends.push(self.open.len() as u32);
        self.waiters.push_back(waiter);
        self.stats.proposed += 1;
    }

    /// Begins a session.
    fn create_session(
        &mut self,
        shared: &Shared,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        owner: Option<Owner>,
        waiter: Option<Waiter>,
    ) {
        let nobody: AuthSet = Arc::from([]);
        let Some(context) = self.context(now, session, 0, &nobody) else {
            return self.cannot_propose(waiter);
        };
        let rules = &self.settings.rules;
        let tree = &shared.tree;
        self.overlay.prep_create_session(tree, rules, &context, timeout_ms, &mut self.open);
        self.sessions.start(now, session, timeout_ms, owner);
        self.proposed(waiter);
    }

    #[allow(clippy::too_many_arguments)]
    fn connect(
        &mut self,
        shared: &Shared,
        now: Now,
        front: FrontId,
        conn: ConnId,
        session: SessionId,
        password_ok: bool,
        timeout_ms: i32,
    ) {
        let admitted = self.throttle.admit(now, session != SessionId::NONE);
        self.stats.token_deficit.record(self.throttle.deficit());
        if !admitted {
            self.stats.connections_dropped += 1;
            let close = ToFront::Close { conn, why: "connection throttle" };
            return self.effects.push_back(Effect::Tell(front, close));
        }
        if self.reads_only() {
            let owner = (front, conn);
            return match self.is_local(session) {
                true => self.renew_local(now, owner, session, password_ok, timeout_ms),
                false => self.connect_reader(shared, now, owner, session, password_ok, timeout_ms),
            };
        }
        if !self.orders() && !self.forwards() {
            // Nobody here knows which sessions live: to refuse one would be to end it.
            let close = ToFront::Close { conn, why: "this server serves nobody at present" };
            return self.effects.push_back(Effect::Tell(front, close));
        }
        if session == SessionId::NONE {
            let session = self.sessions.next_id();
            if self.local_sessions().is_some() {
                return self.open_local(now, (front, conn), session, timeout_ms);
            }
            let kind = WaiterKind::Handshake { timeout_ms };
            let waiter = Waiter { front, conn, asked_ms: now.mono_ms(), kind };
            if self.forwards() {
                return self.forward_session(now, waiter, session);
            }
            let owner = Some(Owner::Front(front, conn));
            return self.create_session(shared, now, session, timeout_ms, owner, Some(waiter));
        }
        if self.is_local(session) {
            return self.renew_local(now, (front, conn), session, password_ok, timeout_ms);
        }
        if self.forwards() {
            return self.ask_leader(now, front, conn, session, password_ok, timeout_ms);
        }
        // The other connection goes even if the password turns out wrong, as in Java.
        let owner = (front, conn);
        let other = self.sessions.disown(session).filter(|other| *other != owner);
        let renewed = password_ok && self.sessions.renew(now, session, timeout_ms, owner);
        self.close_other(other);
        self.answer_renewal(owner, session, timeout_ms, renewed);
    }

    /// Closes the connection that a session had before this one.
    fn close_other(&mut self, other: Option<(FrontId, ConnId)>) {
        if let Some((front, conn)) = other {
            let close = ToFront::Close { conn, why: "session renewed elsewhere" };
            self.effects.push_back(Effect::Tell(front, close));
        }
    }

    fn answer_renewal(
        &mut self,
        (front, conn): (FrontId, ConnId),
        session: SessionId,
        timeout_ms: i32,
        renewed: bool,
    ) {
        let message = if renewed {
            self.stats.sessions_renewed += 1;
            ToFront::Opened { conn, session, timeout_ms }
        } else {
            tracing::info!(%session, "refusing to renew a session");
            ToFront::Refused { conn }
        };
        self.effects.push_back(Effect::Tell(front, message));
    }

    fn expire(&mut self, shared: &Shared, now: Now, session: SessionId) {
        if !self.sessions.is_open(session) {
            return;
        }
        let nobody: AuthSet = Arc::from([]);
        let Some(context) = self.context(now, session, 0, &nobody) else { return };
        tracing::info!(%session, "expiring a session: nothing heard within its timeout");
        self.stats.sessions_expired += 1;
        let rules = &self.settings.rules;
        self.overlay.prep_close_session(&shared.tree, rules, &context, session, &mut self.open);
        self.sessions.closing(session);
        self.proposed(None);
    }

    /// Runs what is due by the clock.
    pub fn wake(&mut self, shared: &Shared, now: Now) {
        if let Some(ensemble) = &mut self.ensemble {
            if ensemble.is_peer_due(now, self.settings.tick_time_ms) {
                ensemble.peer.wake(now.mono_ms());
                self.absorb(now);
            }
            self.look_for_readers(now);
            self.look_after_locals(now);
            if !self.orders() {
                return;
            }
        }
        let due = self.sessions.look(now, limits::EXPIRIES_PER_TURN);
        for (front, asked) in due.ask {
            self.effects.push_back(Effect::Tell(front, ToFront::AskHeard(asked)));
        }
        for session in due.expired {
            self.expire(shared, now, session);
        }
        self.reap(shared, now);
    }

    /// When [`Core::wake`] has work next, monotonic µs.
    pub fn deadline_us(&self) -> Option<u64> {
        let peer = self.ensemble.as_ref().and_then(|ensemble| ensemble.peer_deadline_us());
        let own = match self.orders() {
            true => [self.sessions.next_look_us(), self.reaper.next_look_us()],
            false => [None, None],
        };
        own.into_iter().flatten().chain(peer).chain(self.locals_due_us()).min()
    }

    /// Ends a turn: what was proposed in it goes to the log as one batch.
    pub fn end_turn(&mut self, now: Now) {
        self.packets_done(now);
        if self.open_ends.is_empty() {
            return;
        }
        if self.ensemble.is_some() {
            return match self.orders() {
                true => self.propose_batch(now),
                false => self.close_batch(),
            };
        }
        let next = Vec::with_capacity(self.open.len().next_power_of_two().min(1 << 16));
        let payloads = Bytes::from(std::mem::replace(&mut self.open, next));
        self.appended = self.proposed;
        self.queue_batch(payloads);
    }

    /// The next thing the host must do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The log of a server that is alone is on disk up to and with `zxid`.
    pub fn synced(&mut self, zxid: Zxid) {
        assert!(self.synced <= zxid && zxid <= self.appended, "synced {zxid} was never appended");
        self.synced = zxid;
    }

    /// How far the log is known to be on disk.
    pub fn last_synced(&self) -> Zxid {
        self.synced
    }

    /// True if there is something to end a turn for.
    pub fn has_work(&self) -> bool {
        !self.open_ends.is_empty() || !self.effects.is_empty()
    }

    /// True if [`Core::apply_next`] would apply something.
    pub fn can_apply(&self) -> bool {
        (self.applied < self.appliable() && !self.in_flight.is_empty()) || self.role_change_due()
    }

    /// Transactions proposed and not applied.
    pub fn outstanding(&self) -> usize {
        self.waiters.len()
    }

    /// Applies the next transaction that may be applied and says in `out` what came of it. False
    /// if there is none. In an ensemble a change of role that readers of the tree must know of is
    /// a step, too, of which nothing comes.
    pub fn apply_next(&mut self, shared: &mut Shared, now: Now, out: &mut Committed) -> bool {
        out.clear();
        if !self.can_apply() {
            return false;
        }
        if self.role_change_due() {
            self.change_role(shared, now);
            return true;
        }
        let Some(batch) = self.in_flight.front_mut() else { return false };
        let start = if batch.next == 0 { 0 } else { batch.ends[batch.next - 1] as usize };
        let end = batch.ends[batch.next] as usize;
        batch.next += 1;
        let done = batch.next == batch.ends.len();
        let payloads = batch.payloads.clone();
        if done {
            self.in_flight.pop_front();
        }
        let bytes = &payloads[start..end];
        let payload = Payload::decode(bytes).expect("what prep encoded decodes");
        let zxid = payload.header.zxid;
        let waiter = self.waiter_of(payload.header.session, payload.header.cxid);
        // Where an epoch begins is for the agreement to judge.
        let begins = zxid.epoch() > self.applied.epoch()
            || (self.applied.counter() == 0 && zxid > self.applied);
        let follows = zxid == self.applied.next() || begins;
        assert!(follows, "transactions apply in order: {zxid} behind {}", self.applied);
        let reply = waiter.is_some().then_some(&mut out.body);
        let crcs = self.overlay.prepared_crcs();
        let spared = wrong::is(Wrong::Z2355) && !shared.serving;
        let applied = match spared && payload.header.op == OpCode::CLOSE_SESSION {
            true => ErrorCode::OK,
            false => shared.tree.apply_prepared(&payload, crcs, &mut out.changes, reply),
        };
        self.stats.wrote(&out.changes);
        self.count_applied(now, &payload, waiter);
        self.overlay.applied(zxid);
        self.applied = zxid;
        out.zxid = zxid;
        out.outcome = self.outcome(now, &payload, applied, waiter);
        self.snapshot.applied(bytes.len());
        self.answer_syncs();
        true
    }

    /// Who must be told what.
    fn outcome(
        &mut self,
        now: Now,
        payload: &Payload<'_>,
        applied: ErrorCode,
        waiter: Option<Waiter>,
    ) -> Option<Outcome> {
        let session = payload.header.session;
        let mut owner = None;
        if payload.header.op == OpCode::CLOSE_SESSION {
            owner = match self.forwards() {
                true => self.learner_session_ended(session),
                false => self.sessions.end(session),
            };
        }
        let Some(waiter) = waiter else {
            let (front, conn) = owner?;
            return Some(Outcome { front, conn, kind: OutcomeKind::SessionEnded });
        };
        let kind = match waiter.kind {
            WaiterKind::Handshake { timeout_ms } => OutcomeKind::Connected { session, timeout_ms },
            WaiterKind::Reply { xid, op, refused } => {
                let err = match (&payload.txn, refused) {
                    (_, Some(code)) => code,
                    (Txn::Error(code), None) => *code,
                    // A failed multi is told in its body.
                    (Txn::Multi(_), None) => ErrorCode::OK,
                    (_, None) => applied,
                };
                OutcomeKind::Reply { xid, op, err }
            }
        };
        let _ = now;
        Some(Outcome { front: waiter.front, conn: waiter.conn, kind })
    }

    /// Counters since the start.
    pub fn stats(&self) -> &CoreStats {
        &self.stats
    }

    /// `srst`: forgets what was counted so far.
    pub fn reset_stats(&mut self) {
        self.stats.reset();
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.tally.reset();
        }
    }

    /// The chance that the connection throttle drops a handshake now.
    pub fn drop_chance(&self) -> f64 {
        self.throttle.drop_chance()
    }

    /// The sessions' clock, for reports.
    pub fn sessions(&self) -> &SessionClock {
        &self.sessions
    }
}

/// The path that a quota may have refused. A multi fails as a whole; it is not counted.
fn written_path<'a>(request: &'a Request<'_>) -> &'a str {
    match request {
        Request::Create(create) => &create.path,
        Request::SetData(set) => &set.path,
        _ => "",
    }
}
