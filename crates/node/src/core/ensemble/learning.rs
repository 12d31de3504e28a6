//! A learner's side: requests go to the leader and come back as transactions.

use bytes::Bytes;
use oxkeeper_proto::codec::{Put, Reader};
use oxkeeper_proto::packet::{encode_identities, put_touched};
use oxkeeper_proto::{OpCode, Request, SessionId, Zxid};
use oxkeeper_zab as zab;
use zab::wrong::{self, Wrong};

use super::{Core, Part};
use crate::core::{Waiter, WaiterKind};
use crate::messages::{AuthSet, ConnId, Effect, FrontId, Now, ToFront};

/// A request that the leader has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    cxid: i32,
    /// None for what this server asked for itself.
    waiter: Option<Waiter>,
}

/// A connection that asks for a session it says it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Revalidating {
    front: FrontId,
    conn: ConnId,
    timeout_ms: i32,
}

/// The answer to a ping that is being gathered from the Fronts.
#[derive(Debug, Default)]
pub(super) struct Touches {
    /// The ping.
    asked: Option<Zxid>,
    /// Fronts that have not answered.
    awaited: u16,
    /// What was heard, encoded.
    encoded: Vec<u8>,
}

/// The body of a sync: a path that nobody reads on the way.
pub(super) fn sync_body() -> Bytes {
    let mut body = Vec::new();
    body.put_string("/");
    body.into()
}

impl Core {
    /// Sends a client's write to the leader. False if it could not be read.
    pub(in crate::core) fn forward(
        &mut self,
        now: Now,
        waiter: Waiter,
        session: SessionId,
        body: &[u8],
        auth: &AuthSet,
    ) -> bool {
        let WaiterKind::Reply { xid, op, .. } = waiter.kind else { return true };
        if !matches!(op, OpCode::MULTI | OpCode::CLOSE_SESSION) {
            let mut reader = Reader::with_field_max(body, self.settings.field_bytes_max);
            if !matches!(Request::decode(op, &mut reader), Ok(Some(_))) {
                return false;
            }
        }
        let known: Vec<(&str, &str)> = auth.iter().map(|id| (&*id.scheme, &*id.id)).collect();
        let mut identities = Vec::new();
        encode_identities(&mut identities, &known);
        let forward = zab::Forward {
            session,
            cxid: xid,
            op,
            body: Bytes::copy_from_slice(body),
            identities: Some(identities.into()),
        };
        self.send_forward(now, Some(waiter), forward);
        true
    }

    /// Whether a session of the ensemble is not, or no longer, this connection's. What it still
    /// had to say must not follow the question of the connection that came after it: to the leader
    /// it would be that one's. It may have been held there behind a sync, until just now.
    pub(in crate::core) fn has_left(
        &self,
        session: SessionId,
        connection: (FrontId, ConnId),
    ) -> bool {
        let Some(ensemble) = self.ensemble.as_ref().filter(|_| self.forwards()) else {
            let left = self.sessions.is_of_another(session, connection);
            return left && !wrong::is(Wrong::LeftSpeaks);
        };
        !ensemble.locals.is_open(session) && ensemble.connected.get(&session) != Some(&connection)
    }

    /// Asks the leader for a new session.
    pub(in crate::core) fn forward_session(
        &mut self,
        now: Now,
        waiter: Waiter,
        session: SessionId,
    ) {
        let WaiterKind::Handshake { timeout_ms } = waiter.kind else { return };
        let forward = zab::Forward {
            session,
            cxid: 0,
            op: OpCode::CREATE_SESSION,
            body: Bytes::copy_from_slice(&timeout_ms.to_be_bytes()),
            identities: None,
        };
        if let Some(ensemble) = &mut self.ensemble {
            ensemble.connected.insert(session, (waiter.front, waiter.conn));
        }
        self.send_forward(now, Some(waiter), forward);
    }

    /// Sends the leader a request whose transaction `waiter` waits for.
    pub(super) fn send_forward(&mut self, now: Now, waiter: Option<Waiter>, forward: zab::Forward) {
        let Some(ensemble) = &mut self.ensemble else { return };
        let (session, cxid) = (forward.session, forward.cxid);
        if ensemble.peer.forward(forward) {
            ensemble.pending.entry(session).or_default().push_back(Pending { cxid, waiter });
        } else if let Some(waiter) = waiter {
            let close = ToFront::Close { conn: waiter.conn, why: "no leader for a write" };
            self.effects.push_back(Effect::Tell(waiter.front, close));
        }
        self.absorb(now);
    }

    /// Who waits here for a transaction of this session, if it is the one awaited next.
    pub(super) fn forwarded(&mut self, session: SessionId, cxid: i32) -> Option<Waiter> {
        let ensemble = self.ensemble.as_mut().filter(|e| e.part == Part::Learning)?;
        let queue = ensemble.pending.get_mut(&session)?;
        if queue.front()?.cxid != cxid {
            return None;
        }
        let pending = queue.pop_front()?;
        if queue.is_empty() {
            ensemble.pending.remove(&session);
        }
        pending.waiter
    }

    /// A client asks for a session of the ensemble: the leader knows whether it lives
    /// (`LearnerZooKeeperServer.revalidateSession`).
    pub(in crate::core) fn ask_leader(
        &mut self,
        now: Now,
        front: FrontId,
        conn: ConnId,
        session: SessionId,
        password_ok: bool,
        timeout_ms: i32,
    ) {
        let Some(ensemble) = &mut self.ensemble else { return };
        if let Some((other_front, other)) = ensemble.connected.remove(&session)
            && (other_front, other) != (front, conn)
        {
            let close = ToFront::Close { conn: other, why: "session renewed elsewhere" };
            self.effects.push_back(Effect::Tell(other_front, close));
        }
        let asked = if password_ok {
            let asked = ensemble.peer.revalidate(session, timeout_ms);
            if asked {
                let waits = Revalidating { front, conn, timeout_ms };
                ensemble.revalidating.entry(session).or_default().push_back(waits);
            }
            asked
        } else {
            let refused = ToFront::Refused { conn };
            return self.effects.push_back(Effect::Tell(front, refused));
        };
        if !asked {
            let close = ToFront::Close { conn, why: "no leader for a handshake" };
            self.effects.push_back(Effect::Tell(front, close));
        }
        self.absorb(now);
    }

    /// The leader has answered.
    pub(super) fn revalidated(&mut self, session: SessionId, valid: bool) {
        let Some(ensemble) = &mut self.ensemble else { return };
        let Some(queue) = ensemble.revalidating.get_mut(&session) else { return };
        let waits = queue.pop_front();
        if queue.is_empty() {
            ensemble.revalidating.remove(&session);
        }
        let Some(Revalidating { front, conn, timeout_ms }) = waits else { return };
        let told = if valid {
            self.stats.sessions_renewed += 1;
            if let Some((other_front, other)) = ensemble.connected.insert(session, (front, conn))
                && (other_front, other) != (front, conn)
            {
                let close = ToFront::Close { conn: other, why: "session renewed elsewhere" };
                self.effects.push_back(Effect::Tell(other_front, close));
            }
            ToFront::Opened { conn, session, timeout_ms }
        } else {
            tracing::info!(%session, "the leader does not know this session");
            ToFront::Refused { conn }
        };
        self.effects.push_back(Effect::Tell(front, told));
    }

    /// A connection is gone.
    pub(in crate::core) fn learner_closed(
        &mut self,
        session: SessionId,
        owner: (FrontId, ConnId),
        untold_ms: Option<i32>,
    ) {
        let Some(ensemble) = &mut self.ensemble else { return };
        if ensemble.connected.get(&session) == Some(&owner) {
            ensemble.connected.remove(&session);
        }
        // Its last words count although it has gone.
        if let Some(timeout_ms) = untold_ms.filter(|_| !ensemble.locals.is_open(session)) {
            put_touched(&mut ensemble.touches.encoded, session, timeout_ms);
        }
    }

    /// A session has ended; its connection here, if it has one.
    pub(in crate::core) fn learner_session_ended(
        &mut self,
        session: SessionId,
    ) -> Option<(FrontId, ConnId)> {
        let ensemble = self.ensemble.as_mut()?;
        ensemble.pending.remove(&session);
        ensemble.connected.remove(&session)
    }

    /// The leader asks who was heard from: so are the Fronts.
    pub(super) fn ask_touched(&mut self, zxid: Zxid) {
        let Some(ensemble) = &mut self.ensemble else { return };
        // A Front that is too busy for an answer must not make the leader think us dead.
        if let Some(before) = ensemble.touches.asked.replace(zxid) {
            let touched = std::mem::take(&mut ensemble.touches.encoded);
            ensemble.peer.answer_ping(before, touched.into());
        }
        ensemble.touches.awaited = ensemble.fronts;
        for front in 0..ensemble.fronts {
            self.effects.push_back(Effect::Tell(FrontId(front), ToFront::AskTouched));
        }
    }

    /// A Front has answered. What it says also counts if it comes too late for its ping.
    pub(in crate::core) fn touched(&mut self, now: Now, touched: &[(SessionId, i32)]) {
        let Some(ensemble) = self.ensemble.as_mut().filter(|e| e.part == Part::Learning) else {
            return;
        };
        for &(session, timeout_ms) in touched {
            if ensemble.locals.is_open(session) {
                continue;
            }
            put_touched(&mut ensemble.touches.encoded, session, timeout_ms);
        }
        ensemble.touches.awaited = ensemble.touches.awaited.saturating_sub(1);
        if ensemble.touches.awaited == 0
            && let Some(zxid) = ensemble.touches.asked.take()
        {
            let touched = std::mem::take(&mut ensemble.touches.encoded);
            ensemble.peer.answer_ping(zxid, touched.into());
        }
        self.absorb(now);
    }
}
