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
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// use oxkeeper_proto::Request;
///
/// let first = client.submit(0, Request::WhoAmI.into())?;
/// assert!(client.submit(0, Request::WhoAmI.into())? > first, "they rise");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a request ended.
///
/// ```
/// use oxkeeper_client::core::{Fate, Outcome, Unsent};
///
/// let never_left = Outcome::NotSent(Unsent::Cancelled);
/// assert_eq!(never_left.fate(), Fate::DidNotHappen);
/// ```
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
///
/// ```
/// use oxkeeper_client::core::{Cause, Fate, Outcome};
///
/// // To read again is always safe, to write again only if it did not happen.
/// let lost = Outcome::Unknown(Cause::Lost);
/// assert_eq!(lost.fate(), Fate::Unknown);
/// ```
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
    ///
    /// ```
    /// use oxkeeper_client::core::{Answer, Fate, Outcome};
    /// use oxkeeper_client::{ErrorCode, Zxid};
    ///
    /// let (zxid, code) = (Zxid(7), ErrorCode::BAD_VERSION);
    /// assert_eq!(Outcome::Done { zxid, answer: Answer::Nothing }.fate(), Fate::Happened);
    /// assert_eq!(Outcome::Failed { zxid, code }.fate(), Fate::DidNotHappen);
    /// ```
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
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{ErrorKind, Refused};
///
/// zk.close().await;
/// let error = zk.get("/a").await.expect_err("the session is over");
/// // Not even taken any more. What waited is `NotSent(Unsent::Over(End::Closed))`.
/// assert_eq!(error.kind(), &ErrorKind::Refused(Refused::Over));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unsent {
    /// Its submitter took it back.
    Cancelled,
    /// The session ended first.
    Over(End),
}

/// How a session ended. A client has one session; who needs another makes another client.
///
/// ```
/// use oxkeeper_client::{End, Loss};
///
/// let told = Loss::Session(End::Expired);
/// assert_ne!(told, Loss::Session(End::Closed), "a watch says how the session ended");
/// ```
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
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::Refused;
/// use oxkeeper_proto::{OpCode, Request};
///
/// let refused = client.submit(0, Request::Ping.into());
/// assert_eq!(refused, Err(Refused::NotForUsers(OpCode::PING)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::{Cause, Effect, Input};
/// client.handle(0, Input::Wake);
/// let Some(Effect::Dial(link, _)) = client.poll_effect() else { panic!("a dial") };
/// let patience_us = client.deadline_us().expect("it goes on");
/// client.handle(patience_us, Input::Wake);
/// assert_eq!(client.poll_effect(), Some(Effect::Close(link, Cause::ConnectTimeout)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::{Cause, Effect, Input, Violation};
/// client.handle(0, Input::Wake);
/// let Some(Effect::Dial(link, _)) = client.poll_effect() else { panic!("a dial") };
/// client.handle(1, Input::Connected(link));
/// client.handle(2, Input::Bytes(link, &[0xff; 8]));
/// let closed = |it| matches!(it, Effect::Close(_, Cause::Violation(Violation::Frame(_))));
/// assert!(std::iter::from_fn(|| client.poll_effect()).any(closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
