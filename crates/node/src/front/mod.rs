//! A Front: the connections of one I/O thread.
//!
//! It owns everything a connection needs that is not replicated: the handshake, the *gate* that
//! keeps each session's replies in order, the watch tables, the bytes to be sent. Reads are
//! answered here, from the tree, without leaving the thread. Writes go to the core and come back as
//! [`Committed`](crate::Committed) values.
//!
//! # Order
//! Replies leave in the order of their requests. A read whose session has a write under way waits
//! in the gate behind it; other sessions are not held up. Each committed transaction first fires
//! this Front's watches, then answers its origin, then runs the reads it released: an event
//! therefore precedes every reply that could show its change.
//!
//! # Sources
//! `NIOServerCnxn`, `ZooKeeperServer.processConnectRequest` and `processPacket`,
//! `FinalRequestProcessor`, `quorum/CommitProcessor`.

mod auth;
mod commit;
mod conn;
mod handshake;
mod job;
mod listings;
mod read;
mod receive;
mod view;
mod watching;

use std::collections::VecDeque;
use std::sync::Arc;

use core::net::IpAddr;
use oxkeeper_proto::{AdminWord, SessionId};
use oxkeeper_tree::Tree;
use oxkeeper_tree::acl_rules::AuthId;
use oxkeeper_tree::watch::{ConnKey, Watches};
use slab::Slab;

pub use conn::ConnStats;
pub(crate) use conn::{Conn, Phase, Waiting};
use listings::Listings;
pub use view::ConnView;

use crate::limits;
use crate::messages::{AuthSet, ConnId, CoreLink, FrontId, Now, Peer, ToCore};
use crate::settings::Settings;
use crate::stats::FrontStats;

/// The state that Fronts read and only the core changes. The host puts it behind a lock.
#[derive(Debug)]
pub struct Shared {
    /// The committed tree.
    pub tree: Tree,
    /// False while this server must not answer.
    pub serving: bool,
    /// True while it serves readers alone, for want of an ensemble.
    pub read_only: bool,
}

/// What the host must do next for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnState {
    /// Bytes wait in [`Front::output`].
    pub has_output: bool,
    /// Read more from the socket.
    pub wants_input: bool,
    /// Drop the socket once the output is sent.
    pub close_after_output: bool,
    /// Drop the socket now.
    pub close_now: bool,
}

/// A four-letter word that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminRequest {
    /// Who asked.
    pub conn: ConnId,
    /// What.
    pub word: AdminWord,
    /// The eight bytes behind `stmk`.
    pub argument: i64,
    /// Whether the server was serving when it was asked.
    pub serving: bool,
}

/// See the module's essay.
#[derive(Debug)]
pub struct Front {
    id: FrontId,
    settings: Arc<Settings>,
    conns: Slab<Conn>,
    next_generation: u32,
    watches: Watches,
    /// Connections that the host must look at.
    dirty: Vec<ConnId>,
    admin: Vec<AdminRequest>,
    /// Connections held back by the limit of requests under way.
    throttled: Vec<ConnId>,
    /// Connections in the order they were opened, µs, until their time for a handshake is over.
    sessionless: VecDeque<(u64, ConnId)>,
    /// Connections with an answer that takes long.
    jobs: VecDeque<ConnId>,
    /// Mail is being taken: the tree is ahead of it.
    catching_up: bool,
    /// Connections whose gates run when all of it is taken.
    released: Vec<ConnId>,
    /// Writes that the core has, over all connections.
    outstanding: usize,
    large_bytes: usize,
    /// When the sessions heard since were told last, µs.
    touched_us: u64,
    stats: FrontStats,
    /// An encoded event, kept while it goes to one watcher after the other.
    event: Vec<u8>,
    /// The identity of the address that connected last; the next connection is often its, too.
    last_ip: Option<(IpAddr, AuthSet)>,
    listings: Listings,
}

impl Front {
    /// A Front without connections.
    pub fn new(id: FrontId, settings: Arc<Settings>) -> Self {
        Front {
            id,
            conns: Slab::new(),
            next_generation: 0,
            watches: Watches::new(Default::default(), settings.seed),
            dirty: Vec::new(),
            admin: Vec::new(),
            throttled: Vec::new(),
            sessionless: VecDeque::new(),
            jobs: VecDeque::new(),
            catching_up: false,
            released: Vec::new(),
            outstanding: 0,
            large_bytes: 0,
            touched_us: 0,
            stats: FrontStats::default(),
            event: Vec::new(),
            last_ip: None,
            listings: Listings::default(),
            settings,
        }
    }

    /// This Front's name.
    pub fn id(&self) -> FrontId {
        self.id
    }

    /// Counters since the start or the last reset.
    pub fn stats(&self) -> &FrontStats {
        &self.stats
    }

    /// Connections now.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// The watch tables, for reports.
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Takes a new connection.
    pub fn open(&mut self, now: Now, peer: Peer) -> ConnId {
        let generation = self.next_generation;
        self.next_generation = self.next_generation.wrapping_add(1);
        let auth = self.ip_identity(peer.addr.ip());
        let slot = self.conns.insert(Conn {
            generation,
            phase: Phase::Fresh,
            peer,
            session: SessionId::NONE,
            timeout_ms: 0,
            auth,
            out: Vec::new(),
            sent: 0,
            lent: 0,
            gate: Default::default(),
            job: None,
            held_bytes: 0,
            held_writes: 0,
            syncs: 0,
            writes: 0,
            next_write: 0,
            dead: false,
            dirty: false,
            only_events: false,
            listens: false,
            opened_wall_ms: now.wall_ms,
            heard_us: now.mono_us,
            large_bytes: 0,
            stats: ConnStats::new(),
        });
        let id = ConnId { slot: slot as u32, generation };
        self.sessionless.push_back((now.mono_us, id));
        id
    }

    /// Every connection starts with the identity of its address (`IPAuthenticationProvider`).
    fn ip_identity(&mut self, ip: IpAddr) -> AuthSet {
        if let Some((last, identity)) = &self.last_ip
            && *last == ip
        {
            return Arc::clone(identity);
        }
        let id = ip.to_canonical().to_string();
        let identity: AuthSet = Arc::from([AuthId { scheme: "ip".into(), id }]);
        self.last_ip = Some((ip, Arc::clone(&identity)));
        identity
    }

    /// Forgets a connection whose socket is gone. Its session lives on until it expires.
    pub fn closed(&mut self, now: Now, id: ConnId, link: &mut impl CoreLink) {
        if self.conn(id).is_none() {
            return;
        }
        let conn = self.conns.remove(id.slot as usize);
        if conn.phase == Phase::Ready && !conn.dead {
            self.stats.dropped_by_client += 1;
        }
        self.outstanding -= conn.writes as usize;
        self.large_bytes -= conn.large_bytes;
        self.watches.close(ConnKey(id.slot));
        if conn.session != SessionId::NONE {
            // Heard since the leader of a learner was told last, and not here any more when it
            // asks again.
            let untold_ms = (conn.heard_us >= self.touched_us).then_some(conn.timeout_ms);
            let (session, heard_us) = (conn.session, conn.heard_us);
            let message = ToCore::Closed { conn: id, session, heard_us, untold_ms };
            link.submit(now, self.id, message);
        }
        self.release_throttled();
    }

    /// The bytes that wait to be sent. None while bytes in front of them are lent.
    pub fn output(&self, id: ConnId) -> &[u8] {
        self.conn(id).filter(|conn| conn.lent == 0).map_or(&[], |conn| &conn.out[conn.sent..])
    }

    /// Gives the output out of hand, if there is nothing to be done for this connection but to send
    /// events to a client that has asked nothing since the last one. Until it comes
    /// [`back`](Front::take_back) nothing else leaves.
    pub fn lend(&mut self, id: ConnId) -> Option<Vec<u8>> {
        let conn =
            self.conn_mut(id).filter(|conn| conn.only_events && conn.phase == Phase::Ready)?;
        let whole = conn.lent == 0 && conn.sent == 0 && conn.out.len() <= limits::LENT_BYTES_MAX;
        if !whole || conn.out.is_empty() || conn.dead {
            return None;
        }
        conn.lent = conn.out.len();
        Some(std::mem::take(&mut conn.out))
    }

    /// Takes back what was lent, with as much of it sent as the socket took.
    pub fn take_back(&mut self, id: ConnId, lent: Vec<u8>, sent: usize) {
        let Some(conn) = self.conn_mut(id) else { return };
        conn.lent = 0;
        if sent < lent.len() {
            let behind = std::mem::replace(&mut conn.out, lent);
            conn.out.extend_from_slice(&behind);
            conn.sent = sent;
        }
        if conn.pending_bytes() > 0 || conn.phase != Phase::Ready {
            self.mark_dirty(id);
        }
    }

    /// Notes that the socket took `bytes` of the output. A drained buffer is given back: an idle
    /// connection holds none.
    pub fn sent(&mut self, id: ConnId, bytes: usize) {
        let Some(conn) = self.conn_mut(id) else { return };
        conn.sent += bytes;
        if conn.sent == conn.out.len() {
            conn.sent = 0;
            conn.out = Vec::new();
        } else if conn.sent >= limits::OUTBOX_PAUSE_BYTES && conn.sent >= conn.out.len() / 2 {
            // Who is always a little behind must not have everything kept that was ever sent.
            conn.out.drain(..conn.sent);
            conn.sent = 0;
        }
    }

    /// What the host must do next for a connection; a closed one is dropped.
    pub fn state(&self, id: ConnId) -> ConnState {
        let Some(conn) = self.conn(id) else {
            return ConnState {
                has_output: false,
                wants_input: false,
                close_after_output: true,
                close_now: true,
            };
        };
        ConnState {
            has_output: conn.pending_bytes() > 0,
            wants_input: self.wants_input(conn),
            close_after_output: conn.phase == Phase::Closing,
            close_now: conn.dead,
        }
    }

    /// Connections that got output, must be closed or may be read again since the last call.
    pub fn drain_dirty(&mut self, into: &mut Vec<ConnId>) {
        for id in self.dirty.drain(..) {
            if let Some(conn) = self.conns.get_mut(id.slot as usize)
                && conn.generation == id.generation
                && conn.dirty
            {
                conn.dirty = false;
                into.push(id);
            }
        }
    }

    /// The host is looking at this connection anyway: no need to name it again.
    pub fn attended(&mut self, id: ConnId) {
        if let Some(conn) = self.conn_mut(id)
            && conn.dirty
        {
            conn.dirty = false;
            if self.dirty.last() == Some(&id) {
                self.dirty.pop();
            }
        }
    }

    /// The sessions heard since the last call, with their timeouts in ms, for a learner's leader.
    fn touched(&mut self, now: Now) -> Vec<(SessionId, i32)> {
        let since_us = std::mem::replace(&mut self.touched_us, now.mono_us);
        let heard = |conn: &&Conn| conn.session != SessionId::NONE && conn.heard_us >= since_us;
        let conns = self.conns.iter().map(|(_, conn)| conn);
        conns.filter(heard).map(|conn| (conn.session, conn.timeout_ms)).collect()
    }

    /// Drops every connection that has or asks for a session: there is nobody to serve it.
    fn stop_serving(&mut self) {
        let ids: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, conn)| {
                matches!(conn.phase, Phase::Connecting { .. } | Phase::Ready | Phase::Ending)
            })
            .map(|(slot, conn)| ConnId { slot: slot as u32, generation: conn.generation })
            .collect();
        for id in ids {
            self.kill(id, "this server serves nobody at present");
        }
    }

    /// True if nothing of this connection is under way.
    pub fn is_quiet(&self, id: ConnId) -> bool {
        self.conn(id).is_none_or(|conn| {
            conn.gate.is_empty()
                && conn.job.is_none()
                && !matches!(conn.phase, Phase::Connecting { .. } | Phase::Ending)
        })
    }

    /// True if that holds of every connection, and all answers have been taken.
    pub fn is_still(&self) -> bool {
        self.conns.iter().all(|(slot, conn)| {
            let id = ConnId { slot: slot as u32, generation: conn.generation };
            self.is_quiet(id) && !self.state(id).has_output
        })
    }

    /// Clears away some of what closed connections watched. True if there is more.
    pub fn sweep(&mut self) -> bool {
        self.watches.unswept() > 0 && {
            self.watches.sweep(limits::WATCHES_SWEPT_PER_TURN);
            self.watches.unswept() > 0
        }
    }

    /// True if four-letter words wait for their answer.
    pub fn has_admin(&self) -> bool {
        !self.admin.is_empty()
    }

    /// True if [`Front::drain_dirty`] would find something.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Four-letter words asked since the last call.
    pub fn drain_admin(&mut self) -> Vec<AdminRequest> {
        std::mem::take(&mut self.admin)
    }

    /// Answers a four-letter word and closes its connection once the text is sent.
    pub fn answer_admin(&mut self, id: ConnId, text: String) {
        if let Some(conn) = self.conn_mut(id) {
            // A connection that asks a word is sent nothing else.
            conn.out = text.into_bytes();
            conn.sent = 0;
            conn.phase = Phase::Closing;
        }
        self.mark_dirty(id);
    }

    /// Gives up a client that takes too long to read the answer to its word.
    pub fn give_up_admin(&mut self, id: ConnId) {
        self.kill(id, "the answer to a word was not read in time");
    }

    fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(id.slot as usize).filter(|conn| conn.generation == id.generation)
    }

    fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot as usize).filter(|conn| conn.generation == id.generation)
    }

    fn wants_input(&self, conn: &Conn) -> bool {
        matches!(conn.phase, Phase::Fresh | Phase::Ready)
            && !conn.dead
            && conn.pending_bytes() < limits::OUTBOX_PAUSE_BYTES
            && conn.gate.len() < limits::GATE_REQUESTS_MAX
            && conn.held_bytes < limits::GATE_BYTES_MAX
            && (conn.writes == 0 || self.outstanding <= self.settings.outstanding_max)
    }

    fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id.slot as usize)
            && conn.generation == id.generation
        {
            conn.only_events = false;
            if !conn.dirty {
                conn.dirty = true;
                self.dirty.push(id);
            }
        }
    }

    /// Closes without sending what is queued.
    fn kill(&mut self, id: ConnId, why: &str) {
        if let Some(conn) = self.conn_mut(id) {
            if !conn.dead {
                tracing::debug!(peer = %conn.peer.addr, session = %conn.session, why, "closing");
            }
            conn.dead = true;
            conn.phase = Phase::Closing;
        }
        self.mark_dirty(id);
    }

    /// Lets connections be read again that waited for others' writes.
    fn release_throttled(&mut self) {
        if self.outstanding > self.settings.outstanding_max {
            return;
        }
        for id in std::mem::take(&mut self.throttled) {
            self.mark_dirty(id);
        }
    }
}
