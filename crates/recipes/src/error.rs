//! What can go wrong with a recipe, and whose doing it is.

use crate::port::{ErrorCode, Failure, Fate};

/// Why a recipe did not do what it was asked.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Counter, Error};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// zk.create("/visits", b"not a number").await?;
/// let error = Counter::new(zk, "/visits").get().await.unwrap_err();
/// assert!(matches!(error, Error::Data { .. }));
/// assert_eq!(error.to_string(), "the data of /visits is 12 bytes, not 8");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A server or the connection refused an operation.
    #[error(transparent)]
    Client(#[from] Failure),
    /// The session is over, and all of its ephemeral znodes with it. Whatever was held is lost.
    #[error("the session is over")]
    SessionOver,
    /// A name that the chosen layout does not know. Who wrote it follows another order, so that
    /// going on would mean two owners. Choose the other layout, or another directory.
    #[error("{dir}/{name} is no contender as {layout} names them")]
    Foreign {
        /// The recipe's directory.
        dir: String,
        /// The name found in it.
        name: String,
        /// The layout that was expected.
        layout: &'static str,
    },
    /// The directory's counter has gone beyond 2³¹−1: names no longer tell who came first. Delete
    /// the directory while nobody uses it.
    #[error("the sequence of {dir} is used up: {name}")]
    Wrapped {
        /// The recipe's directory.
        dir: String,
        /// The name that shows it.
        name: String,
    },
    /// Somebody else deleted our znode while the session was alive.
    #[error("{path} was deleted by somebody else")]
    Gone {
        /// The znode.
        path: String,
    },
    /// A znode holds what this recipe cannot read.
    #[error("the data of {path} is {problem}")]
    Data {
        /// The znode.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The connection was lost before the answer came, and nothing in the tree tells whether the
    /// change happened.
    #[error("whether the change of {path} happened cannot be known")]
    Unsure {
        /// The znode.
        path: String,
    },
    /// The caller asked for something impossible.
    #[error("{0}")]
    Invalid(String),
    /// Others changed the value every time that we tried.
    #[error("{path} was changed by others on each of {tries} tries")]
    Contended {
        /// The znode.
        path: String,
        /// How often it was tried.
        tries: u32,
    },
}

impl Error {
    /// The server's code, where a server refused.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Barrier;
    /// # use oxkeeper_recipes::port::ErrorCode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// zk.create("/ephemeral", b"").ephemeral().await?;
    /// let error = Barrier::new(zk, "/ephemeral/barrier").close().await.unwrap_err();
    /// assert_eq!(error.code(), Some(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS));
    /// # Ok(())
    /// # });
    /// ```
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Client(failure) => failure.code,
            _ => None,
        }
    }

    /// Whether the change that failed took effect.
    ///
    /// ```
    /// # use oxkeeper_recipes::Error;
    /// # use oxkeeper_recipes::port::Fate;
    /// let error = Error::Unsure { path: "/queues/mail/qn-".to_owned() };
    /// assert_eq!(error.fate(), Fate::Unknown, "putting again may put twice");
    /// assert_eq!(Error::SessionOver.fate(), Fate::DidNotHappen);
    /// ```
    pub fn fate(&self) -> Fate {
        match self {
            Error::Client(failure) => failure.fate,
            Error::Unsure { .. } => Fate::Unknown,
            _ => Fate::DidNotHappen,
        }
    }

    /// True when nothing more can be done in this session.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// zk.close().await;
    /// let error = Mutex::new(zk, "/too-late").acquire().await.unwrap_err();
    /// assert!(error.is_session_over());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_session_over(&self) -> bool {
        match self {
            Error::SessionOver => true,
            Error::Client(failure) => failure.session_over,
            _ => false,
        }
    }
}
