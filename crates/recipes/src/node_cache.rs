//! One znode, kept at hand; and a value that is read from it and set by its version.

use std::sync::Arc;

use tokio::sync::watch;

use crate::background::{Background, Stop};
use crate::error::Error;
use crate::keeper::Keeper;
use crate::port::{Kind, New, Stat};
use crate::sessions::Sessions;
use crate::value::AtomicValue;

/// A znode as it was.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Cached, NodeCache};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// zk.create("/node", b"1").await?;
/// let mut cache = NodeCache::start(zk, "/node").await?;
/// let Cached::Present(node) = cache.changed().await else { panic!("it is there") };
/// assert_eq!((&node.data[..], node.stat.version), (&b"1"[..], 0));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its data.
    pub data: Vec<u8>,
    /// Its stat.
    pub stat: Stat,
}

/// What a cache knows of its znode.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Cached, NodeCache};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mut cache = NodeCache::start(zk, "/cached").await?;
/// assert_eq!(cache.get(), Cached::Unread);
/// assert_eq!(cache.changed().await, Cached::Absent);
/// zk.create("/cached", b"1").await?;
/// assert!(matches!(cache.changed().await, Cached::Present(_)));
/// zk.close().await;
/// assert_eq!(cache.changed().await, Cached::Ended);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// Nothing yet.
    Unread,
    /// It is not there.
    Absent,
    /// It is this.
    Present(Arc<Node>),
    /// There is no session any more, and none to come; this is the last that was seen.
    Ended,
}

impl Cached {
    /// The znode, if it is there.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use oxkeeper_recipes::{Cached, Node};
    /// # use oxkeeper_recipes::port::Stat;
    /// assert_eq!(Cached::Absent.node(), None);
    /// let node = Node { data: b"1".to_vec(), stat: Stat::default() };
    /// assert_eq!(Cached::Present(Arc::new(node)).node().expect("there").data, b"1");
    /// ```
    pub fn node(&self) -> Option<&Node> {
        match self {
            Cached::Present(node) => Some(node),
            Cached::Unread | Cached::Absent | Cached::Ended => None,
        }
    }
}

/// Keeps one znode at hand (`NodeCache`).
///
/// # Guarantees
/// - It never goes back, except that a new session may begin with a server that is behind.
/// - It comes to the last state, however often the connection is lost; states between may be
///   skipped.
///
/// # What it does not guarantee
/// It is behind by as long as an event takes, and by any time while out of touch.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::NodeCache;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # zk.create("/app/settings", b"1").parents().await?;
/// let mut settings = NodeCache::start(zk, "/app/settings").await?;
/// while let Some(node) = settings.changed().await.node() {
///     assert_eq!(node.data, b"1");
/// #   zk.close().await;
/// }
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct NodeCache {
    seen: watch::Receiver<Cached>,
    task: Background,
}

impl NodeCache {
    /// Begins to watch.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::NodeCache;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// zk.create("/cache-start", b"1").await?;
    /// let mut cache = NodeCache::start(zk, "/cache-start").await?;
    /// assert_eq!(cache.changed().await.node().expect("there").data, b"1");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session.
    pub async fn start(sessions: impl Into<Sessions>, path: &str) -> Result<NodeCache, Error> {
        let (sessions, path) = (sessions.into(), path.to_owned());
        let keeper = sessions.current().await?;
        let (tell, seen) = watch::channel(Cached::Unread);
        let task = Background::spawn(&keeper, |stop| follow(sessions, path, stop, tell));
        Ok(NodeCache { seen, task })
    }

    /// What is known now.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::NodeCache;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// zk.create("/cache-get", b"1").await?;
    /// let mut cache = NodeCache::start(zk, "/cache-get").await?;
    /// cache.changed().await;
    /// assert_eq!(cache.get().node().expect("there").data, b"1");
    /// # Ok(())
    /// # });
    /// ```
    pub fn get(&self) -> Cached {
        self.seen.borrow().clone()
    }

    /// Waits for the first or the next state, and tells it.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Cached, NodeCache};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let mut cache = NodeCache::start(zk, "/cache-changed").await?;
    /// assert_eq!(cache.changed().await, Cached::Absent);
    /// other.create("/cache-changed", b"1").await?;
    /// assert_eq!(cache.changed().await.node().expect("there").data, b"1");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn changed(&mut self) -> Cached {
        if self.seen.changed().await.is_err() {
            return Cached::Ended;
        }
        self.seen.borrow_and_update().clone()
    }

    /// Ends it; when this returns its watch is gone.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Cached, NodeCache};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut cache = NodeCache::start(zk, "/cache-close").await?;
    /// assert_eq!(cache.changed().await, Cached::Absent);
    /// cache.close().await;
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(self) {
        self.task.close().await;
    }
}

async fn follow(sessions: Sessions, path: String, mut stop: Stop, tell: watch::Sender<Cached>) {
    let following = async {
        loop {
            let Ok(keeper) = sessions.current().await else { break };
            // An error ends the session, or is the server's refusal, which may pass.
            if let Err(error) = follow_in(&keeper, &path, &tell).await
                && !error.is_session_over()
            {
                keeper.sleep(std::time::Duration::from_secs(1)).await;
            }
        }
        let _ = tell.send(Cached::Ended);
    };
    tokio::select! {
        biased;
        () = stop.asked() => {}
        () = following => {}
    }
}

async fn follow_in(keeper: &Keeper, path: &str, tell: &watch::Sender<Cached>) -> Result<(), Error> {
    loop {
        let (now, alarm) = match keeper.get_watched(path).await? {
            Some((data, stat, alarm)) => (Cached::Present(Arc::new(Node { data, stat })), alarm),
            None => match keeper.exists_watched(path).await? {
                // It came between the two reads.
                (Some(_), _) => continue,
                (None, alarm) => (Cached::Absent, alarm),
            },
        };
        tell.send_if_modified(|known| {
            let news = *known != now;
            *known = now;
            news
        });
        alarm.await;
    }
}

/// A value that everybody sees and anybody may set by its version (`SharedValue`).
///
/// Reading is a [`NodeCache`], setting an [`AtomicValue`]; their guarantees hold.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::SharedValue;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mut limit = SharedValue::start(zk, "/app/limit", b"10").await?;
/// let now = limit.read().await?;
/// assert!(limit.try_set(&now, b"20").await?, "nobody was faster");
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct SharedValue {
    sessions: Sessions,
    path: String,
    cache: NodeCache,
}

impl SharedValue {
    /// Begins to watch; makes the znode with `seed` if it is not there.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::SharedValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let mut here = SharedValue::start(zk, "/shared-start", b"10").await?;
    /// let mut there = SharedValue::start(other, "/shared-start", b"not the first").await?;
    /// assert_eq!(there.read().await?.data, b"10");
    /// # here.read().await?;
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session, or the server refuses.
    pub async fn start(
        sessions: impl Into<Sessions>,
        path: &str,
        seed: &[u8],
    ) -> Result<SharedValue, Error> {
        let sessions = sessions.into();
        let keeper = sessions.current().await?;
        let new = New { path: path.to_owned(), data: seed.to_vec(), kind: Kind::Persistent };
        keeper.create_shared(&new, Kind::Container).await?;
        let cache = NodeCache::start(&sessions, path).await?;
        Ok(SharedValue { sessions, path: path.to_owned(), cache })
    }

    /// The value as last seen, with its version: waits for the first.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::SharedValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut limit = SharedValue::start(zk, "/shared-read", b"10").await?;
    /// let now = limit.read().await?;
    /// assert_eq!((&now.data[..], now.stat.version), (&b"10"[..], 0));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session any more, or the znode is gone.
    pub async fn read(&mut self) -> Result<Arc<Node>, Error> {
        loop {
            match self.cache.get() {
                Cached::Present(node) => return Ok(node),
                Cached::Absent => return Err(Error::Gone { path: self.path.clone() }),
                Cached::Ended => return Err(Error::SessionOver),
                Cached::Unread => drop(self.cache.changed().await),
            }
        }
    }

    /// Waits until it changes, and tells what it is.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::SharedValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let mut here = SharedValue::start(zk, "/shared-changed", b"10").await?;
    /// here.read().await?;
    /// let there = SharedValue::start(other, "/shared-changed", b"10").await?;
    /// there.set(b"20").await?;
    /// assert_eq!(here.changed().await?.data, b"20");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`SharedValue::read`].
    pub async fn changed(&mut self) -> Result<Arc<Node>, Error> {
        self.cache.changed().await;
        self.read().await
    }

    /// Sets it if it is still what was seen; false if it is not.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::SharedValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut limit = SharedValue::start(zk, "/shared-try", b"10").await?;
    /// let seen = limit.read().await?;
    /// assert!(limit.try_set(&seen, b"20").await?);
    /// assert!(!limit.try_set(&seen, b"30").await?, "it is not what was seen any more");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`AtomicValue::compare_and_set`].
    pub async fn try_set(&self, seen: &Node, value: &[u8]) -> Result<bool, Error> {
        let keeper = self.sessions.current().await?;
        let target = AtomicValue::new(&keeper, &self.path);
        Ok(target.set_version(&seen.stat, value).await?.is_some())
    }

    /// Sets it, whatever it is.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::SharedValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let limit = SharedValue::start(zk, "/shared-set", b"10").await?;
    /// limit.set(b"20").await?;
    /// assert_eq!(zk.get("/shared-set").await?.bytes(), b"20");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`AtomicValue::force_set`].
    pub async fn set(&self, value: &[u8]) -> Result<(), Error> {
        let keeper = self.sessions.current().await?;
        AtomicValue::new(&keeper, &self.path).force_set(value).await
    }

    /// Ends it; the znode stays.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::SharedValue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// SharedValue::start(zk, "/shared-close", b"10").await?.close().await;
    /// assert_eq!(zk.get("/shared-close").await?.bytes(), b"10", "the value stays");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(self) {
        self.cache.close().await;
    }
}
