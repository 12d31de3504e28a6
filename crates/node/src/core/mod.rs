//! The core: proposals, the overlay, the sessions' clock. One per server.
//!
//! # A write's way
//! [`Core::submit`] turns a request into an encoded transaction at the end of the open batch.
//! [`Core::end_turn`] hands the batch to the host, which writes it; [`Core::synced`] reports how
//! far the log is on disk; [`Core::apply_next`] then applies one transaction after the other and
//! says who waits for it. Between proposal and apply a transaction exists once, as the bytes that
//! go to the log: what is applied is what was written.
//!
//! # Cursors
//! `applied ≤ synced ≤ appended ≤ proposed`, asserted where they move.
//!
//! # Sources
//! `PrepRequestProcessor`, `SyncRequestProcessor`, `FinalRequestProcessor`, `ContainerManager`.

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

pub use sessions::{BucketCursor, Due, SessionClock};
pub use throttle::ThrottleSettings;

use crate::front::Shared;
use crate::limits;
use crate::messages::{
    AuthSet, Batch, Committed, ConnId, Effect, FrontId, Now, Outcome, OutcomeKind, ToCore, ToFront,
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
    kind: WaiterKind,
}

#[derive(Debug, Clone, Copy)]
enum WaiterKind {
    Reply { xid: i32, op: OpCode },
    Handshake { timeout_ms: i32 },
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
                let waiter = Waiter { front, conn, kind: WaiterKind::Reply { xid, op } };
                if !self.write(shared, now, waiter, session, body, auth) {
                    let told = ToFront::Unreadable { conn, nth };
                    self.effects.push_back(Effect::Tell(front, told));
                }
            }
            ToCore::Connect { conn, session, password_ok, timeout_ms } => {
                self.connect(shared, now, front, conn, session, password_ok, timeout_ms)
            }
            ToCore::Closed { conn, session, heard_us } => {
                self.sessions.connection_closed(session, (front, conn), heard_us)
            }
            ToCore::Heard(heard) => {
                for (session, heard_us) in heard {
                    if self.sessions.heard(now, session, heard_us) {
                        self.expire(shared, now, session);
                    }
                }
            }
        }
    }

    /// Makes a request a transaction. False if it could not be read and became none.
    fn write(
        &mut self,
        shared: &Shared,
        now: Now,
        waiter: Waiter,
        session: SessionId,
        body: &[u8],
        auth: &AuthSet,
    ) -> bool {
        let WaiterKind::Reply { xid, op } = waiter.kind else { return true };
        let context = self.context(now, session, xid, auth);
        let mut reader = Reader::with_field_max(body, self.settings.field_bytes_max);
        let rules = &self.settings.rules;
        if op == OpCode::CLOSE_SESSION {
            self.overlay.prep_close_session(&shared.tree, rules, &context, session, &mut self.open);
            self.sessions.closing(session);
        } else if !self.sessions.is_open(session) {
            let code = ErrorCode::SESSION_EXPIRED;
            self.overlay.prep_error(&context, code, &mut self.open);
        } else {
            match Request::decode(op, &mut reader) {
                Ok(Some(request)) => {
                    let tree = &shared.tree;
                    let outcome =
                        self.overlay.prep(tree, rules, &context, &request, &mut self.open);
                    if outcome.error == ErrorCode::QUOTA_EXCEEDED {
                        self.stats.over_quota(written_path(&request));
                    }
                }
                // Java gives such a request the zxid before its own, a multi alone a new one; we
                // log nothing where no zxid is used.
                Ok(None) | Err(_) if op != OpCode::MULTI => return false,
                Ok(None) | Err(_) => {
                    let code = ErrorCode::MARSHALLING_ERROR;
                    self.overlay.prep_error(&context, code, &mut self.open);
                }
            }
        }
        self.proposed(Some(waiter));
        true
    }

    /// What the next transaction starts from.
    fn context<'a>(
        &self,
        now: Now,
        session: SessionId,
        cxid: i32,
        auth: &'a AuthSet,
    ) -> PrepContext<'a> {
        PrepContext {
            session,
            cxid,
            zxid: self.proposed.next(),
            time_ms: now.wall_ms,
            auth: &auth[..],
        }
    }

    /// Notes that one transaction was appended to the open batch.
    fn proposed(&mut self, waiter: Option<Waiter>) {
        self.proposed = self.proposed.next();
        self.open_ends.push(self.open.len() as u32);
        self.waiters.push_back(waiter);
        self.stats.proposed += 1;
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
        if session == SessionId::NONE {
            let session = self.sessions.next_id();
            let nobody: AuthSet = Arc::from([]);
            let context = self.context(now, session, 0, &nobody);
            let rules = &self.settings.rules;
            let tree = &shared.tree;
            self.overlay.prep_create_session(tree, rules, &context, timeout_ms, &mut self.open);
            self.sessions.start(now, session, timeout_ms, Some((front, conn)));
            let kind = WaiterKind::Handshake { timeout_ms };
            return self.proposed(Some(Waiter { front, conn, kind }));
        }
        // The other connection goes even if the password turns out wrong, as in Java.
        if let Some((other_front, other)) = self.sessions.disown(session)
            && (other_front, other) != (front, conn)
        {
            let close = ToFront::Close { conn: other, why: "session renewed elsewhere" };
            self.effects.push_back(Effect::Tell(other_front, close));
        }
        let renewed =
            password_ok && self.sessions.renew(now, session, timeout_ms, (front, conn)).is_some();
        let message = if renewed {
            self.stats.sessions_renewed += 1;
            ToFront::Renewed { conn, session, timeout_ms }
        } else {
            tracing::info!(%session, password_ok, "refusing to renew a session");
            ToFront::Refused { conn }
        };
        self.effects.push_back(Effect::Tell(front, message));
    }

    fn expire(&mut self, shared: &Shared, now: Now, session: SessionId) {
        if !self.sessions.is_open(session) {
            return;
        }
        tracing::info!(%session, "expiring a session: nothing heard within its timeout");
        self.stats.sessions_expired += 1;
        let nobody: AuthSet = Arc::from([]);
        let context = self.context(now, session, 0, &nobody);
        let rules = &self.settings.rules;
        self.overlay.prep_close_session(&shared.tree, rules, &context, session, &mut self.open);
        self.sessions.closing(session);
        self.proposed(None);
    }

    /// Runs what is due by the clock.
    pub fn wake(&mut self, shared: &Shared, now: Now) {
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
        [self.sessions.next_look_us(), self.reaper.next_look_us()].into_iter().flatten().min()
    }

    /// Ends a turn: what was proposed in it goes to the log as one batch.
    pub fn end_turn(&mut self) {
        if self.open_ends.is_empty() {
            return;
        }
        let next = Vec::with_capacity(self.open.len().next_power_of_two().min(1 << 16));
        let payloads = Bytes::from(std::mem::replace(&mut self.open, next));
        let ends: Arc<[u32]> = Arc::from(&self.open_ends[..]);
        self.open_ends.clear();
        self.appended = self.proposed;
        let batch =
            Batch { payloads: payloads.clone(), ends: Arc::clone(&ends), last_zxid: self.proposed };
        self.in_flight.push_back(InFlight { payloads, ends, next: 0 });
        self.effects.push_back(Effect::Append(batch));
    }

    /// The next thing the host must do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The log is on disk up to and with `zxid`.
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
        self.applied < self.synced
    }

    /// Transactions proposed and not applied.
    pub fn outstanding(&self) -> usize {
        self.waiters.len()
    }

    /// Applies the next transaction that is on disk and says in `out` what came of it. False if
    /// there is none.
    pub fn apply_next(&mut self, shared: &mut Shared, now: Now, out: &mut Committed) -> bool {
        out.clear();
        if !self.can_apply() {
            return false;
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
        let waiter = self.waiters.pop_front().flatten();
        let bytes = &payloads[start..end];
        let payload = Payload::decode(bytes).expect("what prep encoded decodes");
        let zxid = payload.header.zxid;
        assert_eq!(zxid, self.applied.next(), "transactions apply in order");
        let reply = waiter.is_some().then_some(&mut out.body);
        let crcs = self.overlay.prepared_crcs();
        let applied = shared.tree.apply_prepared(&payload, crcs, &mut out.changes, reply);
        self.stats.wrote(&out.changes);
        self.overlay.applied(zxid);
        self.applied = zxid;
        out.zxid = zxid;
        out.outcome = self.outcome(now, &payload, applied, waiter);
        self.snapshot.applied(bytes.len());
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
            owner = self.sessions.end(session);
        }
        let Some(waiter) = waiter else {
            let (front, conn) = owner?;
            return Some(Outcome { front, conn, kind: OutcomeKind::SessionEnded });
        };
        let kind = match waiter.kind {
            WaiterKind::Handshake { timeout_ms } => OutcomeKind::Connected { session, timeout_ms },
            WaiterKind::Reply { xid, op } => {
                let err = match &payload.txn {
                    Txn::Error(code) => *code,
                    // A failed multi is told in its body.
                    Txn::Multi(_) => ErrorCode::OK,
                    _ => applied,
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
