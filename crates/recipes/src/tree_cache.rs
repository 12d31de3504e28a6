//! A subtree, kept at hand.
//!
//! An event only says where to look. What is read then is what counts, so events that come twice,
//! late or in a heap do no harm, and a gap is mended by reading everything once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::background::{Background, Stop};
use crate::error::Error;
use crate::keeper::{Keeper, join, parent_of};
use crate::node_cache::Node;
use crate::port::TreeAlert;
use crate::sessions::Sessions;

/// Changes that a subscriber may be behind before it is told of a gap.
const CHANGES_MAX: usize = 1024;
/// Reads under way at once while a subtree is loaded.
const READS_MAX: usize = 64;

/// What happened in a subtree.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Change, TreeCache};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// zk.create("/change", b"").await?;
/// let cache = TreeCache::start(zk, "/change").await?;
/// cache.loaded().await?;
/// let mut changes = cache.changes();
/// zk.create("/change/a", b"1").await?;
/// assert!(matches!(changes.next().await, Change::Added(path, _) if path == "/change/a"));
/// zk.delete("/change/a").await?;
/// assert!(matches!(changes.next().await, Change::Removed(_, was) if was.data == b"1"));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A znode is there that was not.
    Added(String, Arc<Node>),
    /// A znode was set.
    Changed(String, Arc<Node>),
    /// A znode is gone; this is what it was.
    Removed(String, Arc<Node>),
    /// The cache has seen all there is, the first time and after each time out of touch.
    Loaded,
    /// This subscriber was too slow; so many changes went by. The cache itself has them.
    Missed(u64),
    /// There is no session any more, and none to come.
    Ended,
}

#[derive(Debug, Default)]
struct Content {
    nodes: BTreeMap<String, Arc<Node>>,
}

/// Keeps a subtree at hand, by one persistent recursive watch (`CuratorCache`).
///
/// # Guarantees
/// - It comes to the state of the tree, however often the connection is lost. What was missed in
///   between is found by looking and told as changes.
/// - Subscribers hear of every change of the *cache*, in order, or that they missed some.
///
/// # What it does not guarantee
/// States of a znode between two looks are not seen. The cache as a whole is no snapshot: each
/// znode is as it was at some moment, not all at the same.
///
/// Servers before 3.6 have no such watches.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::TreeCache;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let cache = TreeCache::start(zk, "/app").await?;
/// cache.loaded().await?;
/// for (path, node) in cache.below("/app/users") {
///     println!("{path}: {} bytes", node.data.len());
/// }
/// assert!(cache.is_current());
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct TreeCache {
    content: Arc<Mutex<Content>>,
    changes: broadcast::Sender<Change>,
    state: watch::Receiver<State>,
    task: Background,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Loading,
    Loaded,
    Ended,
}

/// What one subscriber hears.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Changes, TreeCache};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let cache = TreeCache::start(zk, "/changes").await?;
/// cache.loaded().await?;
/// let (mut here, mut there): (Changes, Changes) = (cache.changes(), cache.changes());
/// zk.create("/changes", b"1").await?;
/// assert_eq!(here.next().await, there.next().await, "all subscribers hear the same");
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Change>);

impl Changes {
    /// The next change.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Change, TreeCache};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let cache = TreeCache::start(zk, "/changes-next").await?;
    /// let mut changes = cache.changes();
    /// assert_eq!(changes.next().await, Change::Loaded);
    /// zk.close().await;
    /// assert_eq!(changes.next().await, Change::Ended);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn next(&mut self) -> Change {
        match self.0.recv().await {
            Ok(change) => change,
            Err(broadcast::error::RecvError::Lagged(count)) => Change::Missed(count),
            Err(broadcast::error::RecvError::Closed) => Change::Ended,
        }
    }
}

fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    // Nothing is left half done under this lock.
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TreeCache {
    /// Begins to watch everything at and below `root`.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::TreeCache;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// zk.create("/tree-start/a", b"1").parents().await?;
    /// let cache = TreeCache::start(zk, "/tree-start").await?;
    /// cache.loaded().await?;
    /// assert_eq!(cache.get("/tree-start/a").expect("cached").data, b"1");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session.
    pub async fn start(sessions: impl Into<Sessions>, root: &str) -> Result<TreeCache, Error> {
        let sessions = sessions.into();
        let keeper = sessions.current().await?;
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let (tell, state) = watch::channel(State::Loading);
        let content: Arc<Mutex<Content>> = Arc::default();
        let (root, shared) = (root.to_owned(), Arc::clone(&content));
        let work = Work { root, content: shared, changes: changes.clone(), tell };
        let task = Background::spawn(&keeper, |stop| work.run(sessions, stop));
        Ok(TreeCache { content, changes, state, task })
    }

    /// Resolves when all there is has been seen once.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::TreeCache;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let cache = TreeCache::start(zk, "/tree-loaded").await?;
    /// cache.loaded().await?;
    /// assert!(cache.is_current());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session any more.
    pub async fn loaded(&self) -> Result<(), Error> {
        let mut state = self.state.clone();
        match state.wait_for(|state| *state != State::Loading).await {
            Ok(state) if *state == State::Loaded => Ok(()),
            _ => Err(Error::SessionOver),
        }
    }

    /// True if all was loaded and nothing is known to be missing; out of touch nothing becomes
    /// known.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::TreeCache;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let cache = TreeCache::start(zk, "/tree-current").await?;
    /// assert!(!cache.is_current(), "nothing is loaded yet");
    /// cache.loaded().await?;
    /// assert!(cache.is_current());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_current(&self) -> bool {
        *self.state.borrow() == State::Loaded
    }

    /// A znode.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::TreeCache;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// zk.create("/tree-get", b"1").await?;
    /// let cache = TreeCache::start(zk, "/tree-get").await?;
    /// cache.loaded().await?;
    /// assert_eq!(cache.get("/tree-get").expect("cached").data, b"1");
    /// assert_eq!(cache.get("/tree-get/nothing"), None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn get(&self, path: &str) -> Option<Arc<Node>> {
        lock(&self.content).nodes.get(path).cloned()
    }

    /// Everything below a path, in order of paths.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::TreeCache;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// zk.create("/tree-below/a/b", b"").parents().await?;
    /// let cache = TreeCache::start(zk, "/tree-below").await?;
    /// cache.loaded().await?;
    /// let paths: Vec<_> = cache.below("/tree-below").into_iter().map(|(path, _)| path).collect();
    /// assert_eq!(paths, ["/tree-below/a", "/tree-below/a/b"]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn below(&self, path: &str) -> Vec<(String, Arc<Node>)> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let content = lock(&self.content);
        let range = content.nodes.range(prefix.clone()..);
        let inside = range.take_while(|(path, _)| path.starts_with(&prefix));
        inside.filter(|(path, _)| *path != "/").map(|(p, n)| (p.clone(), Arc::clone(n))).collect()
    }

    /// The children of a path, in order of their names.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::TreeCache;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// zk.create("/tree-children/a/b", b"").parents().await?;
    /// let cache = TreeCache::start(zk, "/tree-children").await?;
    /// cache.loaded().await?;
    /// let children = cache.children("/tree-children");
    /// assert!(children.len() == 1 && children[0].0 == "/tree-children/a");
    /// # Ok(())
    /// # });
    /// ```
    pub fn children(&self, path: &str) -> Vec<(String, Arc<Node>)> {
        let mut all = self.below(path);
        all.retain(|(child, _)| parent_of(child) == path);
        all
    }

    /// Every change from now on.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Change, TreeCache};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// zk.create("/tree-changes", b"1").await?;
    /// let cache = TreeCache::start(zk, "/tree-changes").await?;
    /// cache.loaded().await?;
    /// let mut changes = cache.changes();
    /// other.set("/tree-changes", b"2").await?;
    /// assert!(matches!(changes.next().await, Change::Changed(_, now) if now.data == b"2"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn changes(&self) -> Changes {
        Changes(self.changes.subscribe())
    }

    /// Ends it; when this returns its watch is gone.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Change, TreeCache};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let cache = TreeCache::start(zk, "/tree-close").await?;
    /// cache.loaded().await?;
    /// let mut changes = cache.changes();
    /// cache.close().await;
    /// assert_eq!(changes.next().await, Change::Ended);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(self) {
        self.task.close().await;
    }
}

/// What runs beside.
struct Work {
    root: String,
    content: Arc<Mutex<Content>>,
    changes: broadcast::Sender<Change>,
    tell: watch::Sender<State>,
}

impl Work {
    async fn run(self, sessions: Sessions, mut stop: Stop) {
        let working = async {
            while let Ok(keeper) = sessions.current().await {
                let ended = self.follow(&keeper).await;
                self.tell.send_if_modified(|state| {
                    std::mem::replace(state, State::Loading) != State::Loading
                });
                if let Err(error) = ended
                    && !error.is_session_over()
                {
                    keeper.sleep(Duration::from_secs(1)).await;
                }
            }
            let _ = self.tell.send(State::Ended);
            let _ = self.changes.send(Change::Ended);
        };
        tokio::select! {
            biased;
            () = stop.asked() => {}
            () = working => {}
        }
    }

    /// Follows the tree for as long as the watch lives.
    async fn follow(&self, keeper: &Keeper) -> Result<(), Error> {
        let mut watch = keeper.watch_tree(&self.root).await?;
        self.load(keeper).await?;
        loop {
            match watch.next().await {
                TreeAlert::Fired(_, path) => self.look(keeper, path).await?,
                TreeAlert::Gap => self.load(keeper).await?,
                TreeAlert::Lost => return Ok(()),
            }
        }
    }

    /// Reads one znode anew. Whatever the event said, what is read is at least as new.
    async fn look(&self, keeper: &Keeper, path: String) -> Result<(), Error> {
        let found = keeper.get(&path).await?;
        self.put(path, found.map(|(data, stat)| Arc::new(Node { data, stat })));
        Ok(())
    }

    /// Puts what was found, and tells of it if it is news.
    fn put(&self, path: String, found: Option<Arc<Node>>) {
        let mut content = lock(&self.content);
        let change = match found {
            Some(node) => match content.nodes.insert(path.clone(), Arc::clone(&node)) {
                None => Change::Added(path, node),
                Some(old) if old.stat.czxid != node.stat.czxid => {
                    let _ = self.changes.send(Change::Removed(path.clone(), old));
                    Change::Added(path, node)
                }
                // Children count in a stat too; only data is news.
                Some(old) if old.stat.mzxid == node.stat.mzxid => return,
                Some(_) => Change::Changed(path, node),
            },
            None => match content.nodes.remove(&path) {
                Some(old) => Change::Removed(path, old),
                None => return,
            },
        };
        // An error is that nobody listens.
        let _ = self.changes.send(change);
    }

    /// Reads everything, and forgets what is not there any more.
    async fn load(&self, keeper: &Keeper) -> Result<(), Error> {
        let mut seen = std::collections::BTreeSet::new();
        let mut level = vec![self.root.clone()];
        while !level.is_empty() {
            let mut next = Vec::new();
            for paths in level.chunks(READS_MAX) {
                // All are asked before the first is awaited.
                let asked: Vec<_> = paths
                    .iter()
                    .map(|path| (keeper.port().get(path), keeper.port().children(path)))
                    .collect();
                for (path, (node, children)) in paths.iter().zip(asked) {
                    let node = match node.await {
                        Ok(found) => Some(found),
                        Err(_) => keeper.get(path).await?,
                    };
                    let names = match children.await {
                        Ok(names) => names,
                        Err(_) => keeper.children(path).await?.unwrap_or_default(),
                    };
                    next.extend(names.iter().map(|name| join(path, name)));
                    if let Some((data, stat)) = node {
                        seen.insert(path.clone());
                        self.put(path.clone(), Some(Arc::new(Node { data, stat })));
                    }
                }
            }
            level = next;
        }
        let gone = |path: &&String| !seen.contains(*path);
        let gone: Vec<String> = lock(&self.content).nodes.keys().filter(gone).cloned().collect();
        for path in gone.into_iter().rev() {
            self.put(path, None);
        }
        let _ = self.changes.send(Change::Loaded);
        self.tell
            .send_if_modified(|state| std::mem::replace(state, State::Loaded) != State::Loaded);
        Ok(())
    }
}
