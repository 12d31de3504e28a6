//! Why an operation did not succeed, and whether it happened.
//!
//! A lost connection leaves a question that most clients pass on to their users. [`Error::fate`]
//! answers it as far as it can be known: what was refused, or never left this process, did not
//! happen; what was sent and got no answer is unknown. Where an operation was tried more than once
//! the answer is about all tries: the last may have been refused because the first had happened.

use std::fmt;

use oxkeeper_proto::{ErrorCode, OpCode};

use crate::core::{
    Cause, ConnectStringError, End, Fate, Loss, Outcome, PathError, Refused, Unsent, fate_of,
};

/// An operation that did not succeed.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let error = zk.get("/not-there").await.expect_err("no such znode");
/// assert!(error.is_no_node());
/// assert_eq!(error.path(), "/not-there");
/// assert!(error.to_string().contains("/not-there"));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    op: Option<OpCode>,
    path: Box<str>,
    /// An earlier try of the same may have happened.
    open: bool,
}

/// The kinds of [`Error`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{ErrorCode, ErrorKind};
///
/// match zk.delete("/not-there").await.map_err(|error| error.kind().clone()) {
///     Err(ErrorKind::Server(code)) => assert_eq!(code, ErrorCode::NO_NODE),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A server refused.
    Server(ErrorCode),
    /// A server refused one operation of a multi, and with it all.
    Multi {
        /// Which, counted from 0.
        index: usize,
        /// Why.
        code: ErrorCode,
    },
    /// It was not taken: a bad path, too large, too much under way, the session is over.
    Refused(Refused),
    /// It was taken, and never sent.
    NotSent(Unsent),
    /// It was sent, and the connection ended before the answer came.
    Unknown(Cause),
    /// The server's answer is to some other question. It is the server's fault.
    Answer,
    /// The parts of an operation that was asked for do not fit: the text says which.
    Invalid(&'static str),
    /// The connect string cannot be used.
    ConnectString(ConnectStringError),
    /// No server was reached in time; with the reason why the last dial failed.
    Unreachable(Option<String>),
    /// There is no tokio runtime to run on.
    NoRuntime,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, op: Option<OpCode>, path: impl Into<Box<str>>) -> Error {
        Error(Box::new(Inner { kind, op, path: path.into(), open: false }))
    }

    /// The same, if an earlier try may have happened.
    pub(crate) fn after(mut self, open: bool) -> Error {
        self.0.open |= open;
        self
    }

    /// What happened.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{ErrorKind, PathError, Refused};
    ///
    /// let error = zk.get("not/absolute").await.expect_err("no path");
    /// assert_eq!(error.kind(), &ErrorKind::Refused(Refused::Path(PathError::Relative)));
    /// # Ok(())
    /// # });
    /// ```
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The operation that did not succeed, where there was one.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::OpCode;
    ///
    /// let error = zk.delete("/not-there").await.expect_err("no such znode");
    /// assert_eq!(error.op(), Some(OpCode::DELETE));
    /// # Ok(())
    /// # });
    /// ```
    pub fn op(&self) -> Option<OpCode> {
        self.0.op
    }

    /// The path of that operation; empty where it has none.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let team = zk.namespace("/team-c")?;
    /// let error = team.get("/not-there").await.expect_err("no such znode");
    /// assert_eq!(error.path(), "/not-there", "as this handle names it");
    /// # Ok(())
    /// # });
    /// ```
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// ZooKeeper's code: what the server said, or what ZooKeeper calls it. `None` where ZooKeeper
    /// has no code, as for a request that is too large.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::ErrorCode;
    ///
    /// let error = zk.get("/not-there").await.expect_err("no such znode");
    /// assert_eq!(error.code(), Some(ErrorCode::NO_NODE));
    /// let error = zk.get("").await.expect_err("no path");
    /// assert_eq!(error.code(), Some(ErrorCode::BAD_ARGUMENTS), "what ZooKeeper calls it");
    /// # Ok(())
    /// # });
    /// ```
    pub fn code(&self) -> Option<ErrorCode> {
        Some(match &self.0.kind {
            ErrorKind::Server(code) | ErrorKind::Multi { code, .. } => *code,
            ErrorKind::Refused(Refused::Path(_)) | ErrorKind::Invalid(_) => {
                ErrorCode::BAD_ARGUMENTS
            }
            ErrorKind::NotSent(Unsent::Over(end)) | ErrorKind::Unknown(Cause::Ended(end)) => {
                match end {
                    End::Expired | End::Closed => ErrorCode::SESSION_EXPIRED,
                    End::AuthFailed => ErrorCode::AUTH_FAILED,
                }
            }
            ErrorKind::Refused(Refused::Over) => ErrorCode::SESSION_EXPIRED,
            ErrorKind::Unknown(_) | ErrorKind::Unreachable(_) => ErrorCode::CONNECTION_LOSS,
            ErrorKind::Answer => ErrorCode::MARSHALLING_ERROR,
            ErrorKind::Refused(_)
            | ErrorKind::NotSent(Unsent::Cancelled)
            | ErrorKind::ConnectString(_)
            | ErrorKind::NoRuntime => return None,
        })
    }

    /// Whether the operation took effect.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::Fate;
    ///
    /// zk.create("/fate", b"").await?;
    /// let error = zk.set("/fate", b"x").version(7).await.expect_err("another version");
    /// assert_eq!(error.fate(), Fate::DidNotHappen);
    /// # Ok(())
    /// # });
    /// ```
    pub fn fate(&self) -> Fate {
        let last = match &self.0.kind {
            ErrorKind::Server(code) | ErrorKind::Multi { code, .. } => fate_of(*code),
            ErrorKind::Unknown(_) => Fate::Unknown,
            // The server has said that it is done, and then something else.
            ErrorKind::Answer => Fate::Happened,
            ErrorKind::Refused(_)
            | ErrorKind::NotSent(_)
            | ErrorKind::Invalid(_)
            | ErrorKind::ConnectString(_)
            | ErrorKind::Unreachable(_)
            | ErrorKind::NoRuntime => Fate::DidNotHappen,
        };
        if last == Fate::DidNotHappen && self.0.open { Fate::Unknown } else { last }
    }

    /// The operation of a multi that was refused, and why.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::ErrorCode;
    ///
    /// let work = zk.multi().create("/all-or-none", b"".as_slice()).delete("/not-there");
    /// let error = work.await.expect_err("the second was refused");
    /// assert_eq!(error.multi(), Some((1, ErrorCode::NO_NODE)));
    /// assert_eq!(zk.exists("/all-or-none").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn multi(&self) -> Option<(usize, ErrorCode)> {
        match self.0.kind {
            ErrorKind::Multi { index, code } => Some((index, code)),
            _ => None,
        }
    }

    fn is(&self, code: ErrorCode) -> bool {
        self.code() == Some(code)
    }

    /// There is no such znode.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let error = zk.children("/not-there").await.expect_err("no such znode");
    /// assert!(error.is_no_node());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_no_node(&self) -> bool {
        self.is(ErrorCode::NO_NODE)
    }

    /// There is such a znode already.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/once", b"").await?;
    /// let error = zk.create("/once", b"").await.expect_err("it is there");
    /// assert!(error.is_node_exists());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_node_exists(&self) -> bool {
        self.is(ErrorCode::NODE_EXISTS)
    }

    /// The znode has changed since.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/moved-on", b"").await?;
    /// zk.set("/moved-on", b"1").await?;
    /// let error = zk.delete("/moved-on").version(0).await.expect_err("it has changed");
    /// assert!(error.is_bad_version());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_bad_version(&self) -> bool {
        self.is(ErrorCode::BAD_VERSION)
    }

    /// The znode has children.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/parent/child", b"").parents().await?;
    /// let error = zk.delete("/parent").await.expect_err("it has a child");
    /// assert!(error.is_not_empty());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_not_empty(&self) -> bool {
        self.is(ErrorCode::NOT_EMPTY)
    }

    /// The znode's ACL forbids it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// zk.create("/look-only", b"").acl(vec![Acl::new(perms::READ, "world", "anyone")]).await?;
    /// assert!(zk.get("/look-only").await.is_ok());
    /// let error = zk.set("/look-only", b"x").await.expect_err("it may only be read");
    /// assert!(error.is_no_auth());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_no_auth(&self) -> bool {
        self.is(ErrorCode::NO_AUTH)
    }

    /// The session is over: expired, refused or closed. Nothing will succeed on this client.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.close().await;
    /// let error = zk.get("/a").await.expect_err("there is no session any more");
    /// assert!(error.is_session_over());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_session_over(&self) -> bool {
        match &self.0.kind {
            ErrorKind::Refused(Refused::Over)
            | ErrorKind::NotSent(Unsent::Over(_))
            | ErrorKind::Unknown(Cause::Ended(_)) => true,
            ErrorKind::Server(code) => {
                matches!(*code, ErrorCode::SESSION_EXPIRED | ErrorCode::AUTH_FAILED)
            }
            _ => false,
        }
    }

    /// The same operation may succeed a little later: the connection was lost, the server was in
    /// trouble or takes no writes for now, or too much was under way. Whether it is safe to repeat
    /// it is for [`Error::fate`] to say.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let error = zk.get("/not-there").await.expect_err("no such znode");
    /// assert!(!error.is_temporary(), "to ask again does not make it be there");
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_temporary(&self) -> bool {
        match &self.0.kind {
            ErrorKind::Unknown(Cause::Ended(_)) => false,
            ErrorKind::Unknown(_) | ErrorKind::Refused(Refused::Full(_)) => true,
            ErrorKind::Server(code) | ErrorKind::Multi { code, .. } => matches!(
                *code,
                ErrorCode::CONNECTION_LOSS
                    | ErrorCode::OPERATION_TIMEOUT
                    | ErrorCode::REQUEST_TIMEOUT
                    | ErrorCode::SESSION_MOVED
                    | ErrorCode::NOT_READ_ONLY
                    | ErrorCode::THROTTLED_OP
                    | ErrorCode::RECONFIG_IN_PROGRESS
                    | ErrorCode::NEW_CONFIG_NO_QUORUM
            ),
            _ => false,
        }
    }

    /// It only reads: nothing can have happened that matters.
    pub(crate) fn is_of_read(&self) -> bool {
        self.0.op.is_some_and(is_read)
    }
}

impl From<ConnectStringError> for Error {
    fn from(error: ConnectStringError) -> Error {
        Error::new(ErrorKind::ConnectString(error), None, "")
    }
}

impl From<PathError> for ErrorKind {
    fn from(error: PathError) -> ErrorKind {
        ErrorKind::Refused(Refused::Path(error))
    }
}

impl ErrorKind {
    /// What an outcome that is no success means.
    pub(crate) fn of(outcome: &Outcome) -> Option<ErrorKind> {
        Some(match *outcome {
            Outcome::Done { .. } => return None,
            Outcome::Failed { code, .. } => ErrorKind::Server(code),
            Outcome::NotSent(unsent) => ErrorKind::NotSent(unsent),
            Outcome::Unknown(cause) => ErrorKind::Unknown(cause),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, op, path, open } = &*self.0;
        if let Some(op) = op {
            write!(f, "{}", op.name().unwrap_or("operation"))?;
            if !path.is_empty() {
                write!(f, " {path}")?;
            }
            f.write_str(": ")?;
        }
        match kind {
            ErrorKind::Server(code) => write!(f, "{code}"),
            ErrorKind::Multi { index, code } => write!(f, "{code} at operation {index}"),
            ErrorKind::Refused(refused) => write!(f, "{refused}"),
            ErrorKind::NotSent(Unsent::Cancelled) => f.write_str("taken back, not sent"),
            ErrorKind::NotSent(Unsent::Over(end)) => write!(f, "not sent, {}", end_text(*end)),
            ErrorKind::Unknown(cause) => {
                write!(f, "sent, and whether it happened is unknown: {}", cause_text(*cause))
            }
            ErrorKind::Answer => f.write_str("the server's answer is to some other question"),
            ErrorKind::Invalid(what) => f.write_str(what),
            ErrorKind::ConnectString(error) => write!(f, "{error}"),
            ErrorKind::Unreachable(Some(why)) => write!(f, "no server was reached: {why}"),
            ErrorKind::Unreachable(None) => f.write_str("no server was reached in time"),
            ErrorKind::NoRuntime => f.write_str("there is no tokio runtime here"),
        }?;
        if *open { f.write_str("; an earlier try may have happened") } else { Ok(()) }
    }
}

impl std::error::Error for Error {}

fn end_text(end: End) -> &'static str {
    match end {
        End::Expired => "the session has expired",
        End::AuthFailed => "an identity was refused",
        End::Closed => "the session is closed",
    }
}

fn cause_text(cause: Cause) -> String {
    match cause {
        Cause::Lost => "the connection was lost".to_owned(),
        Cause::ConnectTimeout => "no connection in time".to_owned(),
        Cause::Silent => "the server was silent for too long".to_owned(),
        Cause::WritableFound => "left for a server that takes writes".to_owned(),
        Cause::Rebalanced => "the list of servers changed".to_owned(),
        Cause::Ended(end) => end_text(end).to_owned(),
        Cause::Violation(violation) => violation.to_string(),
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Removed => f.write_str("the watch was removed"),
            Loss::Session(end) => write!(f, "the watch is gone: {}", end_text(*end)),
        }
    }
}

impl std::error::Error for Loss {}

/// Whether this changes nothing.
pub(crate) fn is_read(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::EXISTS
            | OpCode::GET_DATA
            | OpCode::GET_ACL
            | OpCode::GET_CHILDREN
            | OpCode::GET_CHILDREN2
            | OpCode::SYNC
            | OpCode::MULTI_READ
            | OpCode::GET_EPHEMERALS
            | OpCode::GET_ALL_CHILDREN_NUMBER
            | OpCode::WHO_AM_I
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_whether_it_happened() {
        let fate = |kind| Error::new(kind, Some(OpCode::SET_DATA), "/a").fate();
        let after = |kind| Error::new(kind, Some(OpCode::SET_DATA), "/a").after(true).fate();
        let happened = || ErrorKind::Answer;
        let unknown = || {
            let lost = [Cause::Lost, Cause::Silent, Cause::Ended(End::Expired)];
            let told = [ErrorCode::REQUEST_TIMEOUT, ErrorCode::CONNECTION_LOSS];
            let lost = lost.into_iter().map(ErrorKind::Unknown);
            lost.chain(told.into_iter().map(ErrorKind::Server))
        };
        let did_not = [
            ErrorKind::Server(ErrorCode::BAD_VERSION),
            ErrorKind::Multi { index: 1, code: ErrorCode::NO_NODE },
            ErrorKind::Refused(Refused::Path(PathError::Relative)),
            ErrorKind::Refused(Refused::Full("requests under way")),
            ErrorKind::NotSent(Unsent::Cancelled),
            ErrorKind::NotSent(Unsent::Over(End::Closed)),
            ErrorKind::Invalid("how long?"),
            ErrorKind::ConnectString(ConnectStringError::NoHost),
            ErrorKind::Unreachable(None),
            ErrorKind::NoRuntime,
        ];
        assert_eq!(fate(happened()), Fate::Happened, "the server has said so");
        assert!(unknown().all(|kind| fate(kind) == Fate::Unknown));
        for kind in did_not {
            assert_eq!(fate(kind.clone()), Fate::DidNotHappen, "{kind:?}");
            assert_eq!(after(kind.clone()), Fate::Unknown, "of the tries before: {kind:?}");
        }
        assert_eq!(after(happened()), Fate::Happened);
        assert!(unknown().all(|kind| after(kind) == Fate::Unknown));
    }
}
