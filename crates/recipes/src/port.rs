//! What recipes need of a client.
//!
//! Every recipe works through a [`Port`]: some operations, watches as futures, the standing of the
//! session, and a clock. The client is one; a simulator that keeps virtual time is another, which
//! is how the recipes are put through storms. Nothing here retries or waits: that is
//! [`Keeper`](crate::Keeper)'s.
//!
//! ```
//! # use oxkeeper_client::Client;
//! # use oxkeeper_recipes::port::{Edit, Kind, New};
//! # use oxkeeper_recipes::{Keeper, Mutex};
//! # oxkeeper_scratch::example(async |servers| {
//! # let zk = &Client::connect(&servers).await?;
//! let keeper = Keeper::from(zk);
//! let guard = Mutex::new(&keeper, "/locks/port").acquire().await?;
//! let report = New { path: "/report".into(), data: b"42".to_vec(), kind: Kind::Persistent };
//! // Written by who holds the lock, or not at all.
//! keeper.port().multi(vec![guard.check(), Edit::Create(report)]).await?;
//! assert_eq!(zk.get("/report").await?.bytes(), b"42");
//! # Ok(())
//! # });
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use oxkeeper_client::{ErrorCode, EventType, Fate, Stat, Zxid};

/// A future that owns all it needs.
///
/// ```
/// # use std::time::Duration;
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::Pending;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// let nap: Pending<()> = port.pause(Duration::from_millis(1));
/// let before = port.now();
/// nap.await;
/// assert!(port.now() > before);
/// # Ok(())
/// # });
/// ```
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How an operation failed.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::{ErrorCode, Failure, Fate};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// let failure: Failure = port.delete("/port-failure", None).await.unwrap_err();
/// assert_eq!((failure.code, failure.fate), (Some(ErrorCode::NO_NODE), Fate::DidNotHappen));
/// assert!(!failure.session_over && failure.index.is_none());
/// # Ok(())
/// # });
/// ```
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
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # use oxkeeper_recipes::port::ErrorCode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let failure = port.delete("/port-is", None).await.unwrap_err();
    /// assert!(failure.is(ErrorCode::NO_NODE) && !failure.is(ErrorCode::BAD_VERSION));
    /// # Ok(())
    /// # });
    /// ```
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code == Some(code)
    }
}

/// A request that is on its way.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::{Asked, Stat};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// // Both are on their way before the first answer.
/// let asked: [Asked<Option<Stat>>; 2] = [port.exists("/"), port.exists("/port-asked")];
/// let [root, absent] = asked;
/// assert!(root.await?.is_some() && absent.await?.is_none());
/// # Ok(())
/// # });
/// ```
pub type Asked<T> = Pending<Result<T, Failure>>;

/// The kinds of znodes that recipes make.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::{Kind, New};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// let path = "/port-kind-".to_owned();
/// let new = New { path, data: vec![], kind: Kind::EphemeralSequential };
/// let (made, stat) = port.create(new).await?;
/// assert_eq!(made.len(), "/port-kind-".len() + 10, "numbered by its parent");
/// assert_eq!(stat.ephemeral_owner.0, port.session_id());
/// # Ok(())
/// # });
/// ```
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
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::{Kind, New};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// let new = New { path: "/port-new".to_owned(), data: b"1".to_vec(), kind: Kind::Ephemeral };
/// let (made, stat) = port.create(new).await?;
/// assert_eq!((&*made, stat.data_length), ("/port-new", 1));
/// # Ok(())
/// # });
/// ```
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
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::{Edit, ErrorCode, Kind, New};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// let new = New { path: "/port-edit".to_owned(), data: vec![], kind: Kind::Ephemeral };
/// let set = Edit::Set("/port-edit".to_owned(), b"1".to_vec(), Some(0));
/// let made = port.multi(vec![Edit::Create(new), set]).await?;
/// assert_eq!(made, [Some("/port-edit".to_owned()), None]);
/// let refused = port.multi(vec![Edit::Check("/port-edit".to_owned(), Some(0))]).await;
/// assert!(refused.unwrap_err().is(ErrorCode::BAD_VERSION), "it was set once");
/// # Ok(())
/// # });
/// ```
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
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::Alarm;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// let (absent, alarm): (_, Alarm) = port.exists_watched("/port-alarm").await?;
/// assert_eq!(absent, None);
/// zk.create("/port-alarm", b"").ephemeral().await?;
/// alarm.await;
/// # Ok(())
/// # });
/// ```
pub type Alarm = Pending<()>;

/// What a watch on a subtree tells.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::{EventType, TreeAlert};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// let mut watch = port.watch_tree("/port-tree-alert").await?;
/// zk.create("/port-tree-alert", b"").ephemeral().await?;
/// let path = "/port-tree-alert".to_owned();
/// assert_eq!(watch.next().await, TreeAlert::Fired(EventType::NodeCreated, path));
/// # Ok(())
/// # });
/// ```
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
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::{TreeAlert, TreeWatch};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// zk.create("/port-tree", b"").await?;
/// let mut watch: Box<dyn TreeWatch> = port.watch_tree("/port-tree").await?;
/// zk.create("/port-tree/a", b"").ephemeral().await?;
/// assert!(matches!(watch.next().await, TreeAlert::Fired(_, path) if path == "/port-tree/a"));
/// # Ok(())
/// # });
/// ```
pub trait TreeWatch: Send {
    /// The next alert. May be dropped and asked for again without losing one.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # use oxkeeper_recipes::port::TreeAlert;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let mut watch = port.watch_tree("/port-next").await?;
    /// // Dropped before something came, it has lost nothing.
    /// let none = tokio::time::timeout(Duration::from_millis(5), watch.next()).await;
    /// assert!(none.is_err());
    /// zk.create("/port-next", b"").ephemeral().await?;
    /// assert!(matches!(watch.next().await, TreeAlert::Fired(..)));
    /// # Ok(())
    /// # });
    /// ```
    fn next(&mut self) -> Pin<Box<dyn Future<Output = TreeAlert> + Send + '_>>;
}

/// How the session stands.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::Standing;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// # let port = keeper.port();
/// assert_eq!(port.standing(), Standing::Connected);
/// zk.close().await;
/// assert_eq!(port.standing(), Standing::Over);
/// # Ok(())
/// # });
/// ```
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
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Keeper;
/// # use oxkeeper_recipes::port::{Kind, New, Port};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let keeper = Keeper::from(zk);
/// let port: &dyn Port = keeper.port();
/// let new = New { path: "/port".to_owned(), data: b"1".to_vec(), kind: Kind::Ephemeral };
/// // Sent in this order, though neither has been awaited yet.
/// let (made, read) = (port.create(new), port.get("/port"));
/// assert_eq!(read.await?.0, b"1");
/// made.await?;
/// # Ok(())
/// # });
/// ```
pub trait Port: Send + Sync + 'static {
    /// Makes a znode; its whole path and stat.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # use oxkeeper_recipes::port::{Kind, New};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let new = New { path: "/port-create".to_owned(), data: vec![], kind: Kind::Ephemeral };
    /// let (path, stat) = port.create(new).await?;
    /// assert_eq!((&*path, stat.ephemeral_owner.0), ("/port-create", port.session_id()));
    /// # Ok(())
    /// # });
    /// ```
    fn create(&self, new: New) -> Asked<(String, Stat)>;
    /// Deletes one.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// zk.create("/port-delete", b"").await?;
    /// assert!(port.delete("/port-delete", Some(7)).await.is_err(), "it has another version");
    /// port.delete("/port-delete", Some(0)).await?;
    /// # Ok(())
    /// # });
    /// ```
    fn delete(&self, path: &str, version: Option<i32>) -> Asked<()>;
    /// Sets data.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// zk.create("/port-set", b"1").ephemeral().await?;
    /// assert_eq!(port.set("/port-set", b"2".to_vec(), Some(0)).await?.version, 1);
    /// # Ok(())
    /// # });
    /// ```
    fn set(&self, path: &str, data: Vec<u8>, version: Option<i32>) -> Asked<Stat>;
    /// Reads data; null comes as empty.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// zk.create("/port-get", b"1").ephemeral().await?;
    /// let (data, stat) = port.get("/port-get").await?;
    /// assert_eq!((&data[..], stat.version), (&b"1"[..], 0));
    /// # Ok(())
    /// # });
    /// ```
    fn get(&self, path: &str) -> Asked<(Vec<u8>, Stat)>;
    /// Reads data and leaves a watch, if the znode is there.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// zk.create("/port-get-watched", b"1").ephemeral().await?;
    /// let (data, _, alarm) = port.get_watched("/port-get-watched").await?;
    /// zk.set("/port-get-watched", b"2").await?;
    /// alarm.await;
    /// assert_eq!(data, b"1", "as it was then");
    /// # Ok(())
    /// # });
    /// ```
    fn get_watched(&self, path: &str) -> Asked<(Vec<u8>, Stat, Alarm)>;
    /// Looks whether a znode is there and leaves a watch in any case.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let (found, alarm) = port.exists_watched("/port-exists-watched").await?;
    /// assert_eq!(found, None);
    /// zk.create("/port-exists-watched", b"").ephemeral().await?;
    /// alarm.await;
    /// # Ok(())
    /// # });
    /// ```
    fn exists_watched(&self, path: &str) -> Asked<(Option<Stat>, Alarm)>;
    /// Looks whether a znode is there.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// assert!(port.exists("/zookeeper").await?.is_some());
    /// assert_eq!(port.exists("/port-exists").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    fn exists(&self, path: &str) -> Asked<Option<Stat>>;
    /// Names of the children, in no order.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// zk.create("/port-children/a", b"").parents().await?;
    /// assert_eq!(port.children("/port-children").await?, ["a"]);
    /// # Ok(())
    /// # });
    /// ```
    fn children(&self, path: &str) -> Asked<Vec<String>>;
    /// The same, and leaves a watch, if the znode is there.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// zk.create("/port-watched", b"").await?;
    /// let (names, alarm) = port.children_watched("/port-watched").await?;
    /// assert!(names.is_empty());
    /// zk.create("/port-watched/a", b"").await?;
    /// alarm.await;
    /// # Ok(())
    /// # });
    /// ```
    fn children_watched(&self, path: &str) -> Asked<(Vec<String>, Alarm)>;
    /// All or nothing; the path of each znode made.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # use oxkeeper_recipes::port::Edit;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// zk.create("/port-multi", b"1").await?;
    /// let set = Edit::Set("/port-multi".to_owned(), b"2".to_vec(), None);
    /// let absent = Edit::Check("/port-multi-absent".to_owned(), None);
    /// let refused = port.multi(vec![set, absent]).await.unwrap_err();
    /// assert_eq!(refused.index, Some(1));
    /// assert_eq!(zk.get("/port-multi").await?.bytes(), b"1", "all or nothing");
    /// # Ok(())
    /// # });
    /// ```
    fn multi(&self, edits: Vec<Edit>) -> Asked<Vec<Option<String>>>;
    /// Catches up with the leader.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// other.create("/port-sync", b"").await?;
    /// port.sync("/port-sync").await?;
    /// assert!(port.exists("/port-sync").await?.is_some(), "whichever server we are at");
    /// # Ok(())
    /// # });
    /// ```
    fn sync(&self, path: &str) -> Asked<()>;
    /// Watches a subtree for good. Resolves when the watch is armed.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # use oxkeeper_recipes::port::{EventType, TreeAlert};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// zk.create("/port-watch-tree/a", b"1").parents().await?;
    /// let mut watch = port.watch_tree("/port-watch-tree").await?;
    /// other.set("/port-watch-tree/a", b"2").await?;
    /// let path = "/port-watch-tree/a".to_owned();
    /// assert_eq!(watch.next().await, TreeAlert::Fired(EventType::NodeDataChanged, path));
    /// # Ok(())
    /// # });
    /// ```
    fn watch_tree(&self, path: &str) -> Asked<Box<dyn TreeWatch>>;

    /// How the session stands.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # use oxkeeper_recipes::port::Standing;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// match port.standing() {
    ///     Standing::Connected => {}
    ///     Standing::Suspended(until) => println!("the session is kept until {until:?}"),
    ///     Standing::Over => panic!("it has just begun"),
    /// }
    /// # Ok(())
    /// # });
    /// ```
    fn standing(&self) -> Standing;
    /// Resolves when it stands otherwise than `seen`.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # use oxkeeper_recipes::port::Standing;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let other_standing = port.standing_other_than(Standing::Connected);
    /// zk.close().await;
    /// assert_eq!(other_standing.await, Standing::Over);
    /// # Ok(())
    /// # });
    /// ```
    fn standing_other_than(&self, seen: Standing) -> Pending<Standing>;

    /// The session's id, 0 before there is one: the owner of its ephemeral znodes.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// assert_eq!(Some(port.session_id()), zk.session_id().map(|session| session.0));
    /// # Ok(())
    /// # });
    /// ```
    fn session_id(&self) -> i64;

    /// A clock that does not go back.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let before = port.now();
    /// port.pause(Duration::from_millis(2)).await;
    /// assert!(port.now() >= before + Duration::from_millis(2));
    /// # Ok(())
    /// # });
    /// ```
    fn now(&self) -> Duration;
    /// The wall clock, ms since 1970.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// assert!(port.wall_ms() > 1_700_000_000_000, "later than 2023");
    /// # Ok(())
    /// # });
    /// ```
    fn wall_ms(&self) -> i64;
    /// Waits.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let began = std::time::Instant::now();
    /// port.pause(Duration::from_millis(2)).await;
    /// assert!(began.elapsed() >= Duration::from_millis(2));
    /// # Ok(())
    /// # });
    /// ```
    fn pause(&self, time: Duration) -> Pending<()>;
    /// Runs something beside.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let (done, heard) = tokio::sync::oneshot::channel();
    /// port.spawn(Box::pin(async move { done.send(7).expect("somebody listens") }));
    /// assert_eq!(heard.await?, 7);
    /// # Ok(())
    /// # });
    /// ```
    fn spawn(&self, task: Pending<()>);
    /// A number that nobody has drawn before.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// assert_ne!(port.unique(), port.unique());
    /// # Ok(())
    /// # });
    /// ```
    fn unique(&self) -> u128;
}
