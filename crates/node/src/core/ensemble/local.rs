//! Sessions that this server alone knows (`LocalSessionTracker`, `UpgradeableSessionTracker`).
//!
//! With `localSessionsEnabled` every session of an ensemble begins as one: no transaction creates
//! it, no leader hears of it, it can be renewed here only and expires by this server's clock. A
//! leader takes its writes all the same, as those of a session that it need not know. What the
//! ensemble has to know is who owns an ephemeral: before a session's first one is created, the
//! session becomes everybody's, by a createSession in front of the create. Its clock here ends at
//! that moment, and from then on it is told in pings.
//!
//! # Read-only
//! A server without an ensemble can serve nobody else: the session of a client that reads from it
//! is local, too, and ends with the mode.

use bytes::Bytes;
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::request::{CreateRequest, MultiOp};
use oxkeeper_proto::{CreateMode, ErrorCode, OpCode, Request, SessionId};
use oxkeeper_zab as zab;

use super::{Core, Part, Serve};
use crate::core::sessions::{Owner, SessionClock};
use crate::front::Shared;
use crate::limits;
use crate::messages::{ConnId, Effect, FrontId, Now, ToFront};

impl Core {
    /// The clock of the sessions that only this server knows; `None` where there can be none.
    pub fn local_sessions(&self) -> Option<&SessionClock> {
        self.settings.local_sessions.then_some(&self.ensemble.as_ref()?.locals)
    }

    /// Whether a session is known to this server alone.
    pub(in crate::core) fn is_local(&self, session: SessionId) -> bool {
        self.ensemble.as_ref().is_some_and(|ensemble| ensemble.locals.is_open(session))
    }

    /// Whether this server serves readers alone.
    pub(in crate::core) fn reads_only(&self) -> bool {
        self.ensemble.as_ref().is_some_and(|e| e.part == Part::None && e.serving)
    }

    /// Opens a session that nobody else hears of.
    pub(in crate::core) fn open_local(
        &mut self,
        now: Now,
        owner: (FrontId, ConnId),
        session: SessionId,
        timeout_ms: i32,
    ) {
        let Some(ensemble) = &mut self.ensemble else { return };
        let (front, conn) = owner;
        ensemble.locals.start(now, session, timeout_ms, Some(Owner::Front(front, conn)));
        let opened = ToFront::Opened { conn, session, timeout_ms };
        self.effects.push_back(Effect::Tell(front, opened));
    }

    /// Gives such a session to another connection, if its client has proved that it is its own.
    pub(in crate::core) fn renew_local(
        &mut self,
        now: Now,
        owner: (FrontId, ConnId),
        session: SessionId,
        password_ok: bool,
        timeout_ms: i32,
    ) {
        let Some(ensemble) = &mut self.ensemble else { return };
        let other = ensemble.locals.disown(session).filter(|other| *other != owner);
        let renewed = password_ok && ensemble.locals.renew(now, session, timeout_ms, owner);
        self.close_other(other);
        self.answer_renewal(owner, session, timeout_ms, renewed);
    }

    /// A client of a server without an ensemble wants a session (`ReadOnlyZooKeeperServer`). One
    /// that the ensemble knows cannot be judged here, and its client goes elsewhere.
    pub(in crate::core) fn connect_reader(
        &mut self,
        shared: &Shared,
        now: Now,
        owner: (FrontId, ConnId),
        session: SessionId,
        password_ok: bool,
        timeout_ms: i32,
    ) {
        let (front, conn) = owner;
        let close = |why| Effect::Tell(front, ToFront::Close { conn, why });
        if session == SessionId::NONE && self.settings.local_sessions {
            let session = self.sessions.next_id();
            return self.open_local(now, owner, session, timeout_ms);
        }
        if session == SessionId::NONE {
            let why = "read-only without localSessionsEnabled: no new sessions";
            return self.effects.push_back(close(why));
        }
        if shared.tree.session_timeout_ms(session).is_some() {
            let why = "the ensemble's session, and there is no quorum";
            return self.effects.push_back(close(why));
        }
        // Where there are no local sessions Java asks nobody about one that it does not know.
        let renewed = password_ok && !self.settings.local_sessions;
        self.answer_renewal(owner, session, timeout_ms, renewed);
    }

    /// The end of a local session. False if it is none.
    pub(in crate::core) fn close_local(
        &mut self,
        front: FrontId,
        conn: ConnId,
        nth: u32,
        session: SessionId,
    ) -> bool {
        let reads_only = self.reads_only();
        let Some(ensemble) = &mut self.ensemble else { return false };
        let err = if ensemble.locals.is_open(session) {
            ensemble.locals.end(session);
            ErrorCode::OK
        } else if reads_only {
            ErrorCode::NOT_READ_ONLY
        } else {
            return false;
        };
        self.effects.push_back(Effect::Tell(front, ToFront::Settled { conn, nth, err }));
        true
    }

    /// Makes a local session everybody's if a write needs that. An error is what becomes of the
    /// write if this server may not (`QuorumZooKeeperServer.checkUpgradeSession`).
    pub(in crate::core) fn upgrade_for(
        &mut self,
        shared: &Shared,
        now: Now,
        session: SessionId,
        op: OpCode,
        body: &[u8],
    ) -> Result<(), ErrorCode> {
        if !may_upgrade(op) || !self.is_local(session) || !self.creates_ephemeral(op, body) {
            return Ok(());
        }
        if !self.settings.local_sessions_upgrading {
            return Err(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION);
        }
        let Some(ensemble) = &mut self.ensemble else { return Ok(()) };
        let Some(timeout_ms) = ensemble.locals.timeout_ms(session) else { return Ok(()) };
        let owner = ensemble.locals.end(session);
        tracing::info!(%session, "a local session becomes one of the ensemble");
        if self.forwards() {
            self.forward_upgrade(now, session, timeout_ms, owner);
        } else {
            let owner = owner.map(|(front, conn)| Owner::Front(front, conn));
            self.create_session(shared, now, session, timeout_ms, owner, None);
        }
        Ok(())
    }

    fn forward_upgrade(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        owner: Option<(FrontId, ConnId)>,
    ) {
        if let Some(ensemble) = &mut self.ensemble
            && let Some(owner) = owner
        {
            ensemble.connected.insert(session, owner);
        }
        let forward = zab::Forward {
            session,
            cxid: 0,
            op: OpCode::CREATE_SESSION,
            body: Bytes::copy_from_slice(&timeout_ms.to_be_bytes()),
            identities: None,
        };
        self.send_forward(now, None, forward);
    }

    /// What cannot be read creates nothing.
    fn creates_ephemeral(&self, op: OpCode, body: &[u8]) -> bool {
        let ephemeral = |create: &CreateRequest<'_>| {
            CreateMode::from_flags(create.flags).is_ok_and(CreateMode::is_ephemeral)
        };
        let mut reader = Reader::with_field_max(body, self.settings.field_bytes_max);
        match Request::decode(op, &mut reader) {
            Ok(Some(Request::Create(create))) => ephemeral(&create),
            Ok(Some(Request::Multi(multi))) => multi.iter().any(|op| match op {
                MultiOp::Create(create) => {
                    matches!(create.op, OpCode::CREATE | OpCode::CREATE2) && ephemeral(&create)
                }
                _ => false,
            }),
            _ => false,
        }
    }

    /// Whether a session may write here, and why it may own nothing if so
    /// (`LeaderSessionTracker.checkSession`, `checkGlobalSession`).
    pub(in crate::core) fn may_write(
        &mut self,
        session: SessionId,
        op: OpCode,
        link: Option<zab::LinkId>,
    ) -> Result<Option<ErrorCode>, ErrorCode> {
        if self.sessions.contains(session) || !self.settings.local_sessions {
            return self.sessions.check(session, link).map(|()| None);
        }
        if self.is_local(session) {
            return match link {
                // Other operations never upgrade.
                None if may_upgrade(op) => Ok(Some(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION)),
                None => Ok(Some(ErrorCode::SESSION_EXPIRED)),
                Some(_) => Err(ErrorCode::SESSION_MOVED),
            };
        }
        // Another server's own, as its id says: that server has looked.
        let ours = session.0 >> 56 == i64::from(self.settings.server_id as i8);
        match ours {
            true => Err(ErrorCode::SESSION_EXPIRED),
            false => Ok(Some(ErrorCode::SESSION_EXPIRED)),
        }
    }

    /// Ends those that were not heard of.
    pub(in crate::core) fn look_after_locals(&mut self, now: Now) {
        let Some(ensemble) = self.ensemble.as_mut().filter(|e| e.serving) else { return };
        let due = ensemble.locals.look(now, limits::EXPIRIES_PER_TURN);
        for (front, asked) in due.ask {
            self.effects.push_back(Effect::Tell(front, ToFront::AskHeard(asked)));
        }
        for session in due.expired {
            self.expire_local(session);
        }
    }

    /// A Front says when it heard of a session. False if it is no local one.
    pub(in crate::core) fn heard_local(
        &mut self,
        now: Now,
        session: SessionId,
        heard_us: u64,
    ) -> bool {
        if !self.is_local(session) {
            return false;
        }
        if let Some(ensemble) = &mut self.ensemble
            && ensemble.locals.heard(now, session, heard_us)
        {
            self.expire_local(session);
        }
        true
    }

    /// When [`Core::look_for_readers`] or [`Core::look_after_locals`] is due, monotonic µs.
    pub(in crate::core) fn locals_due_us(&self) -> Option<u64> {
        let ensemble = self.ensemble.as_ref()?;
        let expiry = ensemble.locals.next_look_us().filter(|_| ensemble.serving);
        let readers = ensemble.read_only_at_ms.map(|ms| ms * 1000);
        expiry.into_iter().chain(readers).min()
    }

    /// A leader has been looked for long enough: those who only read need not wait longer.
    pub(in crate::core) fn look_for_readers(&mut self, now: Now) {
        let Some(ensemble) = &mut self.ensemble else { return };
        if ensemble.read_only_at_ms.is_some_and(|at_ms| at_ms <= now.mono_ms()) {
            ensemble.read_only_at_ms = None;
            ensemble.serve_next = Some(Serve::Readers);
        }
    }

    fn expire_local(&mut self, session: SessionId) {
        tracing::info!(%session, "expiring a local session: nothing heard within its timeout");
        self.stats.sessions_expired += 1;
        let Some(ensemble) = &mut self.ensemble else { return };
        if let Some((front, conn)) = ensemble.locals.end(session) {
            let close = ToFront::Close { conn, why: "local session expired" };
            self.effects.push_back(Effect::Tell(front, close));
        }
    }
}

/// The operations that may make a local session everybody's.
fn may_upgrade(op: OpCode) -> bool {
    matches!(op, OpCode::CREATE | OpCode::CREATE2 | OpCode::MULTI)
}
