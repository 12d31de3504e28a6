//! What the four-letter words show of a Front, copied in steps: with a hundred thousand connections
//! a report must not hold up those that are served.

use oxkeeper_proto::SessionId;

use super::{Conn, ConnStats, Front, Phase};
use crate::messages::{ConnId, Now, Peer};

/// One connection as `cons` and `stat` list it.
#[derive(Debug, Clone, Copy)]
pub struct ConnView {
    /// Which.
    pub id: ConnId,
    /// Remote address.
    pub peer: Peer,
    /// Its session, none before the handshake is done.
    pub session: SessionId,
    /// Negotiated timeout, ms.
    pub timeout_ms: i32,
    /// Requests under way.
    pub queued: usize,
    /// Whether it is being read.
    pub reading: bool,
    /// Whether output waits.
    pub writing: bool,
    /// Whether this is the connection that asks.
    pub asking: bool,
    /// When it was opened, ms since 1970.
    pub opened_wall_ms: i64,
    /// When its client was last heard, monotonic µs.
    pub heard_us: u64,
    /// Counters.
    pub stats: ConnStats,
}

impl Front {
    /// Connections from slot `from` on, looking at no more than `max` slots, in no particular
    /// order: a report over very many is taken in steps. The slot to go on from, if there are more.
    pub fn conn_views(&self, from: u32, max: u32, into: &mut Vec<ConnView>) -> Option<u32> {
        let end = self.conns.capacity() as u32;
        let until = from.saturating_add(max).min(end);
        for slot in from..until {
            if let Some(conn) = self.conns.get(slot as usize) {
                into.push(self.view(slot, conn));
            }
        }
        (until < end).then_some(until)
    }

    fn view(&self, slot: u32, conn: &Conn) -> ConnView {
        ConnView {
            id: ConnId { slot, generation: conn.generation },
            peer: conn.peer,
            session: conn.session,
            timeout_ms: conn.timeout_ms,
            queued: conn.gate.len(),
            reading: self.wants_input(conn),
            writing: conn.pending_bytes() > 0,
            asking: matches!(conn.phase, Phase::Admin(_)),
            opened_wall_ms: conn.opened_wall_ms,
            heard_us: conn.heard_us,
            stats: conn.stats,
        }
    }

    /// The session of the connection in a slot, for reports about watches.
    pub fn session_of(&self, slot: u32) -> SessionId {
        self.conns.get(slot as usize).map_or(SessionId::NONE, |conn| conn.session)
    }

    /// `crst`: forgets what connections did so far, in steps as [`Front::conn_views`] goes.
    pub fn reset_conn_stats(&mut self, from: u32, max: u32) -> Option<u32> {
        let end = self.conns.capacity() as u32;
        let until = from.saturating_add(max).min(end);
        for slot in from..until {
            if let Some(conn) = self.conns.get_mut(slot as usize) {
                conn.stats = ConnStats::new();
            }
        }
        (until < end).then_some(until)
    }

    /// `srst`: forgets what this Front counted so far.
    pub fn reset_stats(&mut self) {
        self.stats.reset();
    }

    /// Closes connections that opened no session within `timeout_ms`, that is
    /// `zookeeper.nio.sessionlessCnxnTimeout`. Costs nothing for those that did.
    pub fn expire_sessionless(&mut self, now: Now, timeout_ms: u64) {
        while let Some(&(opened_us, id)) = self.sessionless.front()
            && now.mono_us.saturating_sub(opened_us) > timeout_ms * 1000
        {
            self.sessionless.pop_front();
            let phase = self.conn(id).map(|conn| conn.phase);
            if let Some(Phase::Fresh | Phase::Connecting { .. }) = phase {
                self.stats.sessionless_expired += 1;
                self.kill(id, "no handshake in time");
            }
        }
    }
}
