//! How requests end, and why connections do.
//!
//! A lost connection leaves a question: did the request happen? The client answers it as far as it
//! can be known. What was never handed to the host did not happen; what was, and got no reply, is
//! unknown and stays so. Nothing is sent twice.

use oxkeeper_proto::codec::DecodeError;
use oxkeeper_proto::connect::FrameTooLarge;
use oxkeeper_proto::{ErrorCode, OpCode, SessionId, Zxid};

use super::answer::Answer;
use super::chroot::PathError;

/// Names a request from `submit` to its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The server answered.
    Done {
        /// The last transaction that the server had applied, for a write its own or a later one.
        zxid: Zxid,
        /// What it said.
        answer: Answer,
    },
    /// The server refused.
    Failed {
        /// The last transaction that the server had applied.
        zxid: Zxid,
        /// Why.
        code: ErrorCode,
    },
    /// It was never sent.
    NotSent(Unsent),
    /// It was sent, and the connection ended before the answer came.
    Unknown(Cause),
}

/// Whether an operation took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It did.
    Happened,
    /// It did not, and will not.
    DidNotHappen,
    /// Nobody here can know.
    Unknown,
}

impl Outcome {
    /// Whether the operation took effect.
    pub fn fate(&self) -> Fate {
        match self {
            Outcome::Done { answer: Answer::MultiRefused { code, .. }, .. }
            | Outcome::Failed { code, .. } => fate_of(*code),
            Outcome::Done { .. } => Fate::Happened,
            Outcome::NotSent(_) => Fate::DidNotHappen,
            Outcome::Unknown(_) => Fate::Unknown,
        }
    }
}

/// Refusals come from a server that checked first. What tells of a server's own trouble, or of a
/// time-out somewhere behind it, tells nothing of the operation.
pub(crate) fn fate_of(code: ErrorCode) -> Fate {
    match code {
        ErrorCode::SYSTEM_ERROR
        | ErrorCode::RUNTIME_INCONSISTENCY
        | ErrorCode::DATA_INCONSISTENCY
        | ErrorCode::CONNECTION_LOSS
        | ErrorCode::OPERATION_TIMEOUT
        | ErrorCode::REQUEST_TIMEOUT => Fate::Unknown,
        _ => Fate::DidNotHappen,
    }
}

/// Why a request was never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// Its submitter took it back.
    Cancelled,
    /// The session ended first.
    Over(End),
}

/// How a session ended. A client has one session; who needs another makes another client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// It expired, or has been out of touch for so long that it must have.
    Expired,
    /// A server refused an identity (`AuthFailed`).
    AuthFailed,
    /// The client closed it.
    Closed,
}

/// Why `submit` did not take a request. It did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The path cannot be sent.
    #[error("{0}")]
    Path(#[from] PathError),
    /// A server would close the connection on a frame of this size.
    #[error("a request of {bytes} bytes, at most {max} can be sent")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Too many requests, bytes, watches or identities; try again when some are answered.
    #[error("too many {0}")]
    Full(&'static str),
    /// The session is over, or being closed.
    #[error("the session is over")]
    Over,
    /// Not a request that a user of the client makes.
    #[error("{0} is not for users of the client")]
    NotForUsers(OpCode),
    /// addWatch without a watcher, or a watcher where none can be.
    #[error("{0} and its watcher do not fit")]
    Watcher(OpCode),
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The other side, or the network, ended it; also a dial that failed.
    Lost,
    /// No connection, or no answer to the handshake, in time.
    ConnectTimeout,
    /// Nothing heard for two thirds of the session timeout.
    Silent,
    /// A server that takes writes was found while on one that does not.
    WritableFound,
    /// The list of servers changed, and this one is no longer in it or has too many clients.
    Rebalanced,
    /// The session ended.
    Ended(End),
    /// The server broke the protocol.
    Violation(Violation),
}

/// What a server must not do. The connection is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A frame of impossible size.
    #[error(transparent)]
    Frame(#[from] FrameTooLarge),
    /// A frame that cannot be decoded.
    #[error("a reply that cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// A reply to nothing.
    #[error("a reply to xid {0}, and nothing was asked")]
    Unasked(i32),
    /// A reply out of order.
    #[error("a reply to xid {found}, and xid {expected} is next")]
    OutOfOrder {
        /// The xid that was due.
        expected: i32,
        /// The xid that came.
        found: i32,
    },
    /// A handshake was answered with somebody else's session.
    #[error("session {found} in answer to session {asked}")]
    OtherSession {
        /// The session that was to be renewed.
        asked: SessionId,
        /// The one granted.
        found: SessionId,
    },
    /// A server that is behind what this client has seen.
    #[error("a server at {found}, and {seen} has been seen")]
    Behind {
        /// What has been seen.
        seen: Zxid,
        /// Where the server is.
        found: Zxid,
    },
    /// Watches could not be set again.
    #[error("setWatches failed: {0}")]
    Rearm(ErrorCode),
}
