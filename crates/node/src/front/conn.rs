//! One connection: its phase, its gate and what waits to be sent.

use std::collections::VecDeque;

use oxkeeper_proto::{AdminWord, ErrorCode, OpCode, SessionId, Zxid};

use super::job::Job;
use crate::limits;
use crate::messages::{AuthSet, Peer};

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing usable has arrived yet: a handshake or a four-letter word may follow.
    Fresh,
    /// The handshake is with the core; nothing is read until it is decided.
    Connecting {
        /// Whether the client sent the `readOnly` byte, so that it is answered in kind.
        read_only: Option<bool>,
        /// Whether it wants a new session.
        fresh: bool,
    },
    /// A session is open.
    Ready,
    /// A four-letter word is being answered.
    Admin(AdminWord),
    /// closeSession is under way: no further request is taken, the outcome is still awaited.
    Ending,
    /// No further request is taken; what is queued is still sent, then the socket is closed.
    Closing,
}

/// A request of this connection whose turn has not come.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A write that the core has.
    Write {
        xid: i32,
        nth: u32,
        at_us: u64,
        /// Its bytes if they count as large, else 0.
        large_bytes: u32,
    },
    /// A write of which no transaction comes: answered as a read, in its turn.
    Settled {
        xid: i32,
        err: ErrorCode,
        /// The connection ends with it.
        closes: bool,
    },
    /// A sync on its way through the leader.
    Sync { nth: u32, frame: Box<[u8]>, at_us: u64 },
    /// A sync that has come back: to be answered as a read, in its turn.
    Synced { frame: Box<[u8]>, at_us: u64 },
    /// A frame that waits behind such a write.
    Held { frame: Box<[u8]>, at_us: u64 },
}

/// What `cons` and `stat` tell about a connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnStats {
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// The last operation answered.
    pub last_op: Option<OpCode>,
    /// Its xid, −1 before the first.
    pub last_cxid: i64,
    /// The zxid of the last reply.
    pub last_zxid: Zxid,
    /// When it was sent, monotonic ms.
    pub last_response_ms: u64,
    /// How long it took, ms.
    pub last_latency_ms: u64,
    /// Shortest so far.
    pub latency_min_ms: u64,
    /// Longest so far.
    pub latency_max_ms: u64,
    /// Sum, for the average.
    pub latency_sum_ms: u64,
    /// How many.
    pub latency_count: u64,
}

impl ConnStats {
    pub(crate) fn new() -> Self {
        ConnStats {
            received: 0,
            sent: 0,
            last_op: None,
            last_cxid: -1,
            last_zxid: Zxid(-1),
            last_response_ms: 0,
            last_latency_ms: 0,
            latency_min_ms: u64::MAX,
            latency_max_ms: 0,
            latency_sum_ms: 0,
            latency_count: 0,
        }
    }

    pub(crate) fn answered(&mut self, op: OpCode, xid: i32, zxid: Zxid, took_ms: u64, now_ms: u64) {
        self.last_op = Some(op);
        self.last_cxid = i64::from(xid);
        self.last_zxid = zxid;
        self.last_response_ms = now_ms;
        self.last_latency_ms = took_ms;
        self.latency_min_ms = self.latency_min_ms.min(took_ms);
        self.latency_max_ms = self.latency_max_ms.max(took_ms);
        self.latency_sum_ms += took_ms;
        self.latency_count += 1;
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub generation: u32,
    pub phase: Phase,
    pub peer: Peer,
    pub session: SessionId,
    pub timeout_ms: i32,
    pub auth: AuthSet,
    /// Bytes to be sent, from `sent` on.
    pub out: Vec<u8>,
    pub sent: usize,
    /// Bytes that the host has taken to send them elsewhere; what is in `out` comes behind them.
    pub lent: usize,
    pub gate: VecDeque<Waiting>,
    /// An answer that takes long; everything behind it waits.
    pub(super) job: Option<Box<Job>>,
    /// Bytes of held frames in the gate.
    pub held_bytes: usize,
    /// Writes among the held frames.
    pub held_writes: u32,
    /// Syncs in the gate: writes behind them are held, or they could be answered first.
    pub syncs: u32,
    /// Writes in the gate that the core has.
    pub writes: u32,
    /// Writes and syncs that the core has been given, the next one's number.
    pub next_write: u32,
    /// True once the host must drop the socket without sending more.
    pub dead: bool,
    /// True while the host knows that this connection has work for it.
    pub dirty: bool,
    /// All of that work is to send events, to a client that only listens.
    pub only_events: bool,
    /// Nothing was asked since the last event. Whoever watches once asks again at once, and its
    /// own task would be woken anyway.
    pub listens: bool,
    pub opened_wall_ms: i64,
    pub heard_us: u64,
    pub large_bytes: usize,
    pub stats: ConnStats,
}

impl Conn {
    /// Bytes not handed to the socket yet.
    pub fn pending_bytes(&self) -> usize {
        self.lent + self.out.len() - self.sent
    }

    /// Notes that no held frame is left in the gate.
    pub(super) fn forget_held(&mut self) {
        self.held_bytes = 0;
        self.held_writes = 0;
        self.syncs = 0;
    }

    /// Gives up a client that is too far behind in reading what it is sent.
    pub fn check_outbox(&mut self) {
        let pending = self.pending_bytes() + self.job.as_ref().map_or(0, |job| job.after.len());
        if pending > limits::OUTBOX_BYTES_MAX && !self.dead {
            tracing::warn!(
                peer = %self.peer.addr,
                session = %self.session,
                pending,
                limit = limits::OUTBOX_BYTES_MAX,
                "closing a client that does not read what it is sent"
            );
            self.dead = true;
            self.phase = Phase::Closing;
        }
    }
}
