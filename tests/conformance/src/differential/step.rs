//! What a run does, as data.
//!
//! A step names connections by *slot* and sessions by a number of ours, so that it means the same
//! to two servers that give out different session ids, and still means something when earlier
//! steps are left out to find the shortest sequence that shows a difference.

use crate::wire::{Blob, ConnectRequest, Request};

/// A session, by the order in which the run made it; not its id.
pub type SessionName = u32;

/// The session of the connection that looks after the run: it is a superuser, walks the trees and
/// clears them, and takes no part in the random sequence.
pub const CONTROL: SessionName = 0;

/// Whose password a handshake shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// The session's own.
    Right,
    /// The session's own with one bit changed.
    Wrong,
    /// None at all.
    Null,
}

/// How a deviation that the client port shows is provoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// D02: operation and create flags of different kinds, alone or as the part of a multi.
    CreateFlags {
        /// create, create2 or createContainer.
        op: i32,
        /// Flags that are not the operation's.
        flags: i32,
        /// Inside a multi.
        multi: bool,
    },
    /// D03: deleteContainer from a client.
    DeleteContainer,
    /// D04: createSession from a client.
    CreateSession,
}

/// One step of a run. On a slot without a connection it does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant's text tells of its fields")]
pub enum Step {
    /// A new session with a connection of its own. Zxid, session and password are as given.
    Connect { slot: usize, session: SessionName, request: ConnectRequest },
    /// A session taken up again, wherever its connection is now.
    Resume { slot: usize, session: SessionName, password: Password, read_only: Option<bool> },
    /// Requests sent in one piece, or cut after `cut` bytes into two.
    Send { slot: usize, requests: Vec<Request>, cut: Option<usize> },
    /// Bytes that are no request, length included.
    Bytes { slot: usize, bytes: Blob },
    /// The connection is closed by its client, the session lives on.
    Drop { slot: usize },
    /// A handshake on a connection of its own, which is closed again. `ahead` is added to the
    /// newest zxid to give the one the client claims to have seen; none means 0.
    Handshake { request: ConnectRequest, ahead: Option<i64> },
    /// First bytes of a connection that are no handshake.
    Opening { bytes: Blob },
    /// A session with a short timeout that makes `requests` and falls silent; `path` is one of its
    /// ephemerals, and its end is the session's. `silent` keeps the socket open meanwhile.
    Expire {
        session: SessionName,
        timeout_ms: i32,
        requests: Vec<Request>,
        path: String,
        silent: bool,
    },
    /// Whole trees and counters, compared.
    Walk,
    /// Everything below `top` deleted, except ZooKeeper's own.
    Clear { top: &'static str },
    /// A documented difference, provoked; each side must do what the document says of it.
    Deviate(Deviation),
    /// Both servers end, by SIGTERM or SIGKILL, and start again with other settings. Connections
    /// are lost, sessions are not.
    Restart { kill: bool, enforce_quota: bool },
    /// A restart with a reaper that runs often; ends when no container or TTL node is left that
    /// it should take. Then a restart to the normal settings.
    Reap,
}

impl Step {
    /// How many operations of a client it is counted as.
    pub fn ops(&self) -> u64 {
        match self {
            Self::Send { requests, .. } | Self::Expire { requests, .. } => requests.len() as u64,
            Self::Walk | Self::Clear { .. } | Self::Restart { .. } | Self::Reap => 0,
            _ => 1,
        }
    }

    /// Whether it ends sessions, and with each of them any number of ephemerals in an order that
    /// nobody promises (D07).
    pub fn ends_sessions(&self) -> bool {
        match self {
            Self::Send { requests, .. } => {
                requests.iter().any(|r| r.op() == crate::wire::op::CLOSE_SESSION)
            }
            Self::Expire { .. } => true,
            _ => false,
        }
    }

    /// Whether it may set the data or the ACL of `/`, for which Java writes a wrong digest while a
    /// child of `/` comes or goes (D144).
    pub fn writes_root(&self) -> bool {
        match self {
            Self::Send { requests, .. } | Self::Expire { requests, .. } => {
                requests.iter().any(Request::writes_root)
            }
            _ => false,
        }
    }
}
