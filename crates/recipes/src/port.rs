//! What recipes need of a client.
//!
//! Every recipe works through a [`Port`]: some operations, watches as futures, the standing of the
//! session, and a clock. The client is one; a simulator that keeps virtual time is another, which
//! is how the recipes are put through storms. Nothing here retries or waits: that is
//! [`Keeper`](crate::Keeper)'s.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use oxkeeper_client::{ErrorCode, EventType, Fate, Stat, Zxid};

/// A future that owns all it needs.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The server's code, if a server answered.
    pub code: Option<ErrorCode>,
    /// Whether it took effect all the same.
    pub fate: Fate,
    /// The session is over: no later operation can succeed.
    pub session_over: bool,
    /// For a multi, the operation that was refused.
    pub index: Option<usize>,
    /// For people.
    pub text: String,
}

impl Failure {
    /// True for this code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == Some(code)
    }
}

/// A request that is on its way.
pub type Asked<T> = Pending<Result<T, Failure>>;

/// The kinds of znodes that recipes make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Stays until deleted.
    Persistent,
    /// The same, its name completed by the parent's counter.
    Sequential,
    /// Goes with the session.
    Ephemeral,
    /// The same, its name completed by the parent's counter.
    EphemeralSequential,
    /// Removed by the server some time after its last child.
    Container,
    /// Removed by the server when childless and not set for this time.
    Ttl(Duration),
}

/// A znode to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Where; a sequential one gets ten digits behind it.
    pub path: String,
    /// Its data.
    pub data: Vec<u8>,
    /// What kind.
    pub kind: Kind,
}

/// One operation of a multi. A version of `None` fits any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Make a znode.
    Create(New),
    /// Delete one.
    Delete(String, Option<i32>),
    /// Set data.
    Set(String, Vec<u8>, Option<i32>),
    /// Only if it is there, and has that version.
    Check(String, Option<i32>),
}

/// A one-shot watch: resolves when it fires, or when it is gone. Either way it is time to look
/// again. Dropping it forgets the watch.
pub type Alarm = Pending<()>;

/// What a watch on a subtree tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeAlert {
    /// A znode in it changed.
    Fired(EventType, String),
    /// Changes may have gone by unheard while the connection was away.
    Gap,
    /// The watch is gone; nothing follows.
    Lost,
}

/// A persistent recursive watch. Dropping it removes it.
pub trait TreeWatch: Send {
    /// The next alert. May be dropped and asked for again without losing one.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = TreeAlert> + Send + '_>>;
}

/// How the session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In touch with a server.
    Connected,
    /// Out of touch. The server keeps the session for at least this long by [`Port::now`]; zero if
    /// that cannot be told.
    Suspended(Duration),
    /// Gone, and its ephemeral znodes with it.
    Over,
}

/// See the module. Operations are sent when the method is called, in that order, and not when the
/// future is polled first.
pub trait Port: Send + Sync + 'static {
    /// Makes a znode; its whole path and stat.
    fn create(&self, new: New) -> Asked<(String, Stat)>;
    /// Deletes one.
    fn delete(&self, path: &str, version: Option<i32>) -> Asked<()>;
    /// Sets data.
    fn set(&self, path: &str, data: Vec<u8>, version: Option<i32>) -> Asked<Stat>;
    /// Reads data; null comes as empty.
    fn get(&self, path: &str) -> Asked<(Vec<u8>, Stat)>;
    /// Reads data and leaves a watch, if the znode is there.
    fn get_watched(&self, path: &str) -> Asked<(Vec<u8>, Stat, Alarm)>;
    /// Looks whether a znode is there and leaves a watch in any case.
    fn exists_watched(&self, path: &str) -> Asked<(Option<Stat>, Alarm)>;
    /// Looks whether a znode is there.
    fn exists(&self, path: &str) -> Asked<Option<Stat>>;
    /// Names of the children, in no order.
    fn children(&self, path: &str) -> Asked<Vec<String>>;
    /// The same, and leaves a watch, if the znode is there.
    fn children_watched(&self, path: &str) -> Asked<(Vec<String>, Alarm)>;
    /// All or nothing; the path of each znode made.
    fn multi(&self, edits: Vec<Edit>) -> Asked<Vec<Option<String>>>;
    /// Catches up with the leader.
    fn sync(&self, path: &str) -> Asked<()>;
    /// Watches a subtree for good. Resolves when the watch is armed.
    fn watch_tree(&self, path: &str) -> Asked<Box<dyn TreeWatch>>;

    /// How the session stands.
    fn standing(&self) -> Standing;
    /// Resolves when it stands otherwise than `seen`.
    fn standing_other_than(&self, seen: Standing) -> Pending<Standing>;

    /// The session's id, 0 before there is one: the owner of its ephemeral znodes.
    fn session_id(&self) -> i64;

    /// A clock that does not go back.
    fn now(&self) -> Duration;
    /// The wall clock, ms since 1970.
    fn wall_ms(&self) -> i64;
    /// Waits.
    fn pause(&self, time: Duration) -> Pending<()>;
    /// Runs something beside.
    fn spawn(&self, task: Pending<()>);
    /// A number that nobody has drawn before.
    fn unique(&self) -> u128;
}
