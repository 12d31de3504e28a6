//! The handshake: the checks a Front can make, and the core's verdict.

use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::connect::{ConnectRequest, ConnectResponse, begin_frame, end_frame};
use oxkeeper_proto::{OpCode, SessionId};

use super::{Front, Phase, Shared};
use crate::messages::{ConnId, CoreLink, Now, ToCore, ToFront};

impl Front {
    /// `ZooKeeperServer.processConnectRequest`, in its order of checks.
    pub(super) fn handshake(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        frame: &[u8],
        link: &mut impl CoreLink,
    ) {
        self.stats.packets_received += 1;
        self.stats.bytes_received += frame.len() as u64 + 4;
        self.stats.connection_requests += 1;
        let mut reader = Reader::new(frame);
        let Ok(request) = ConnectRequest::decode(&mut reader) else {
            return self.kill(id, "a broken handshake");
        };
        if !shared.serving {
            return self.kill(id, "not serving");
        }
        if shared.read_only && request.read_only != Some(true) {
            return self.kill(id, "a client that wants to write, and there is no quorum");
        }
        let ours = shared.tree.last_zxid();
        let (min, max) =
            (self.settings.session_timeout_min_ms, self.settings.session_timeout_max_ms);
        let front = self.id;
        let Some(conn) = self.conn_mut(id) else { return };
        conn.stats.received += 1;
        conn.heard_us = now.mono_us;
        if request.last_zxid_seen > ours {
            tracing::info!(
                peer = %conn.peer.addr,
                session = %request.session,
                client_zxid = %request.last_zxid_seen,
                our_zxid = %ours,
                "refusing a client that has seen a newer state; it must try another server"
            );
            return self.kill(id, "client ahead");
        }
        conn.timeout_ms = request.timeout_ms.min(max).max(min);
        let fresh = request.session == SessionId::NONE;
        conn.phase = Phase::Connecting { read_only: request.read_only, fresh };
        let password_ok = request.session != SessionId::NONE
            && request.password == Some(&request.session.password()[..]);
        let message = ToCore::Connect {
            conn: id,
            session: request.session,
            password_ok,
            timeout_ms: conn.timeout_ms,
        };
        link.submit(now, front, message);
    }

    /// Takes what the core says outside the order of commits.
    pub fn told(&mut self, shared: &Shared, now: Now, message: ToFront, link: &mut impl CoreLink) {
        match message {
            ToFront::Settled { conn, nth, err } => {
                self.settled(conn, nth, err);
                self.release(shared, now, conn, link);
            }
            ToFront::Synced { conn, nth } => {
                self.synced(conn, nth);
                self.release(shared, now, conn, link);
            }
            ToFront::AskTouched => {
                let touched = self.touched(now);
                link.submit(now, self.id, ToCore::Touched(touched));
            }
            ToFront::Stop => self.stop_serving(),
            ToFront::Opened { conn, session, timeout_ms } => {
                self.connected(shared, now, conn, session, timeout_ms)
            }
            ToFront::Refused { conn } => self.refused(shared, conn),
            ToFront::Close { conn, why } => self.kill(conn, why),
            ToFront::AskHeard(asked) => {
                let heard = asked
                    .into_iter()
                    .map(|(id, session)| (session, self.conn(id).map_or(0, |conn| conn.heard_us)));
                let message = ToCore::Heard(heard.collect());
                link.submit(now, self.id, message);
            }
        }
    }

    /// Finishes a handshake: the session is open.
    pub(super) fn connected(
        &mut self,
        shared: &Shared,
        now: Now,
        id: ConnId,
        session: SessionId,
        timeout_ms: i32,
    ) {
        let Some(conn) = self.conn_mut(id) else { return };
        let Phase::Connecting { read_only, fresh } = conn.phase else { return };
        conn.phase = Phase::Ready;
        conn.session = session;
        conn.timeout_ms = timeout_ms;
        let asked_us = std::mem::replace(&mut conn.heard_us, now.mono_us);
        let start = begin_frame(&mut conn.out);
        let read_only = read_only.map(|_| shared.read_only);
        ConnectResponse::granted(session, timeout_ms, read_only).encode(&mut conn.out);
        end_frame(&mut conn.out, start);
        conn.stats.sent += 1;
        tracing::debug!(peer = %conn.peer.addr, %session, timeout_ms, "session established");
        let took_ms = now.mono_us.saturating_sub(asked_us) / 1000;
        if fresh {
            let zxid = shared.tree.last_zxid();
            conn.stats.answered(OpCode::CREATE_SESSION, 0, zxid, took_ms, now.mono_ms());
            self.stats.opened(took_ms, shared.tree.session_timeout_ms(session).is_some());
        }
        self.stats.packets_sent += 1;
        self.mark_dirty(id);
    }

    /// The session is gone, or the password was wrong: zeros, then close.
    fn refused(&mut self, shared: &Shared, id: ConnId) {
        let Some(conn) = self.conn_mut(id) else { return };
        let Phase::Connecting { read_only, .. } = conn.phase else { return };
        let start = begin_frame(&mut conn.out);
        ConnectResponse::refused(read_only.map(|_| shared.read_only)).encode(&mut conn.out);
        end_frame(&mut conn.out, start);
        conn.stats.sent += 1;
        conn.phase = Phase::Closing;
        self.stats.packets_sent += 1;
        self.mark_dirty(id);
    }
}
