//! What Fronts, the core and the host say to each other.
//!
//! A Front and the core may live on one thread or on two. Messages are therefore plain values; the
//! one that every write travels in, [`ToCore`], borrows, so that a core on the same thread prepares
//! a request straight from the socket's buffer. A host with more threads copies it into an
//! [`OwnedToCore`] on the way.

use core::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::{ErrorCode, OpCode, SessionId, Zxid};
use oxkeeper_tree::acl_rules::AuthId;
use oxkeeper_tree::{Changes, snapshot};
use oxkeeper_zab as zab;

/// One moment, sampled by the host once per turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic microseconds since an arbitrary start.
    pub mono_us: u64,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

impl Now {
    /// Monotonic milliseconds.
    pub fn mono_ms(self) -> u64 {
        self.mono_us / 1000
    }
}

/// Which Front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontId(pub u16);

/// One connection of one Front. Slots are used again, generations are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Place in the Front's table.
    pub slot: u32,
    /// Which use of that place.
    pub generation: u32,
}

/// The identities of a connection, shared between it and its requests under way.
pub type AuthSet = Arc<[AuthId]>;

/// From a Front to the core.
#[derive(Debug, Clone)]
pub enum ToCore<'a> {
    /// A request that takes a zxid.
    Write {
        /// Where the outcome goes.
        conn: ConnId,
        /// Who asks.
        session: SessionId,
        /// The client's number for it.
        xid: i32,
        /// The Front's: which write of the connection. Clients may use an xid twice.
        nth: u32,
        /// What.
        op: OpCode,
        /// The request's body, still encoded.
        body: &'a [u8],
        /// As whom.
        auth: &'a AuthSet,
    },
    /// A handshake that passed the Front's own checks.
    Connect {
        /// The connection.
        conn: ConnId,
        /// The session to renew, or none for a new one.
        session: SessionId,
        /// Whether the password was right; a wrong one still closes the session's other connection.
        password_ok: bool,
        /// The clamped timeout, ms.
        timeout_ms: i32,
    },
    /// A connection that had a session is gone.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Its session.
        session: SessionId,
        /// When its client was last heard.
        heard_us: u64,
        /// The session's timeout, if that was after the leader of a learner was told last.
        untold_ms: Option<i32>,
    },
    /// The answer to [`ToFront::AskHeard`]: when each session was last heard, in the order asked.
    Heard(Vec<(SessionId, u64)>),
    /// A sync that has to pass the leader; [`ToFront::Synced`] answers it.
    Sync {
        /// The connection.
        conn: ConnId,
        /// Who asks.
        session: SessionId,
        /// The client's number for it.
        xid: i32,
        /// The Front's: which sync of the connection.
        nth: u32,
    },
    /// The answer to [`ToFront::AskTouched`]: sessions heard since the last time, with their
    /// timeouts in ms.
    Touched(Vec<(SessionId, i32)>),
}

/// [`ToCore`] without borrows, for a core on another thread.
#[derive(Debug, Clone)]
pub enum OwnedToCore {
    /// See [`ToCore::Write`].
    Write {
        /// Where the outcome goes.
        conn: ConnId,
        /// Who asks.
        session: SessionId,
        /// The client's number for it.
        xid: i32,
        /// The Front's.
        nth: u32,
        /// What.
        op: OpCode,
        /// The request's body, still encoded.
        body: Bytes,
        /// As whom.
        auth: AuthSet,
    },
    /// Everything else owns its content already.
    Other(ToCore<'static>),
}

impl ToCore<'_> {
    /// Copies what is borrowed.
    pub fn to_owned(&self) -> OwnedToCore {
        match self {
            ToCore::Write { conn, session, xid, nth, op, body, auth } => OwnedToCore::Write {
                conn: *conn,
                session: *session,
                xid: *xid,
                nth: *nth,
                op: *op,
                body: Bytes::copy_from_slice(body),
                auth: Arc::clone(auth),
            },
            ToCore::Connect { conn, session, password_ok, timeout_ms } => {
                OwnedToCore::Other(ToCore::Connect {
                    conn: *conn,
                    session: *session,
                    password_ok: *password_ok,
                    timeout_ms: *timeout_ms,
                })
            }
            ToCore::Closed { conn, session, heard_us, untold_ms } => {
                OwnedToCore::Other(ToCore::Closed {
                    conn: *conn,
                    session: *session,
                    heard_us: *heard_us,
                    untold_ms: *untold_ms,
                })
            }
            ToCore::Heard(heard) => OwnedToCore::Other(ToCore::Heard(heard.clone())),
            ToCore::Sync { conn, session, xid, nth } => OwnedToCore::Other(ToCore::Sync {
                conn: *conn,
                session: *session,
                xid: *xid,
                nth: *nth,
            }),
            ToCore::Touched(touched) => OwnedToCore::Other(ToCore::Touched(touched.clone())),
        }
    }
}

impl OwnedToCore {
    /// The borrowed form, as the core takes it.
    pub fn borrow(&self) -> ToCore<'_> {
        match self {
            OwnedToCore::Write { conn, session, xid, nth, op, body, auth } => ToCore::Write {
                conn: *conn,
                session: *session,
                xid: *xid,
                nth: *nth,
                op: *op,
                body,
                auth,
            },
            OwnedToCore::Other(other) => other.clone(),
        }
    }
}

/// From the core to one Front, outside the order of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToFront {
    /// The session is open: renewed, or new and known to this server alone.
    Opened {
        /// The connection.
        conn: ConnId,
        /// Its session.
        session: SessionId,
        /// The negotiated timeout, ms.
        timeout_ms: i32,
    },
    /// The session is gone or the password was wrong: say so and close.
    Refused {
        /// The connection.
        conn: ConnId,
    },
    /// Close without a word.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why, for the log.
        why: &'static str,
    },
    /// No transaction comes of this write: answer it in its turn, as a read.
    Settled {
        /// The connection.
        conn: ConnId,
        /// Which of its writes.
        nth: u32,
        /// How it went: its body could not be read, nobody may write here, or it was the end of a
        /// session that only this server knew.
        err: ErrorCode,
    },
    /// Before any of these sessions expires: when was each heard last?
    AskHeard(Vec<(ConnId, SessionId)>),
    /// This sync has passed the leader, and the tree is as it was then: answer it in its turn.
    Synced {
        /// The connection.
        conn: ConnId,
        /// Which of its syncs.
        nth: u32,
    },
    /// The leader asks which sessions were heard since the last time.
    AskTouched,
    /// This server serves nobody any more: drop every connection that has or asks for a session.
    Stop,
}

/// What became of one committed transaction that a Front waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The Front.
    pub front: FrontId,
    /// The connection.
    pub conn: ConnId,
    /// What to do there.
    pub kind: OutcomeKind,
}

/// See [`Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// Answer the oldest write under way; the body stands in [`Committed::body`].
    Reply {
        /// The request's xid.
        xid: i32,
        /// What it was.
        op: OpCode,
        /// How it went.
        err: ErrorCode,
    },
    /// The new session exists: finish the handshake.
    Connected {
        /// Its id.
        session: SessionId,
        /// Its timeout, ms.
        timeout_ms: i32,
    },
    /// The session ended without its client asking: close.
    SessionEnded,
}

/// One transaction as it reaches the Fronts: first its changes, then its outcome.
#[derive(Debug, Default)]
pub struct Committed {
    /// What changed, for the watches of every Front.
    pub changes: Changes,
    /// Who waits for it, if anyone here.
    pub outcome: Option<Outcome>,
    /// The body of the reply.
    pub body: Vec<u8>,
    /// The transaction.
    pub zxid: Zxid,
}

impl Committed {
    /// Empties the value for its next use, keeping its buffers.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.outcome = None;
        self.body.clear();
    }
}

/// Encoded transactions for the log, in order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The payloads, one behind the other.
    pub payloads: Bytes,
    /// Where each payload ends.
    pub ends: Arc<[u32]>,
    /// The last one's zxid.
    pub last_zxid: Zxid,
}

/// What the host must do for the core, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Write these to the log and report [`crate::Core::synced`] when they are on disk.
    Append(Batch),
    /// Begin a new log file before the next entry.
    RollLog,
    /// Tell a Front.
    Tell(FrontId, ToFront),
    /// Begin writing a snapshot; pieces follow.
    SnapshotBegin(Box<snapshot::SnapshotHead>),
    /// Write this piece and report [`crate::Core::snapshot_written`].
    SnapshotChunk(snapshot::Chunk),
    /// Nothing more follows: seal, publish and report [`crate::Core::snapshot_done`].
    SnapshotEnd,
    /// What was begun is of no use any more: drop it and report [`crate::Core::snapshot_done`].
    SnapshotAbandon,
    /// What the agreement with the other servers asks for. Never one of those that the core carries
    /// out itself: [`zab::messages::Effect::Append`] and `Hold`, `Commit`, `FastForward`, `Serve`,
    /// `Synced` and `AskTouched`.
    Peer(zab::messages::Effect),
}

/// Who is at the other end of a connection, as the host saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Remote address.
    pub addr: SocketAddr,
}

/// Where a Front hands its messages to.
pub trait CoreLink {
    /// Passes one message on.
    fn submit(&mut self, now: Now, front: FrontId, message: ToCore<'_>);
}
