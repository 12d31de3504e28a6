//! Queues in which every item is taken once.
//!
//! They differ in how items are named, and thereby ordered, and in when an item can be taken; the
//! rest is one `Line`: put at the end, take the first, wait for the next.

use std::time::Duration;

use crate::error::Error;
use crate::keeper::{Keeper, join};
use crate::port::{Edit, ErrorCode, Fate, Kind, New};

pub(crate) mod items;

use items::Names;

/// Whose items these are.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Queue, QueueLayout};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let queue = Queue::of(zk, "/queue-layouts", QueueLayout::Kazoo);
/// queue.put(b"hello").await?;
/// assert!(zk.children("/queue-layouts").await?[0].starts_with("entry-100-"));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueueLayout {
    /// `qn-NNNNNNNNNN`, data as it is: ZooKeeper's own recipe and Curator's
    /// `SimpleDistributedQueue`.
    #[default]
    Zookeeper,
    /// `queue-NNNNNNNNNN`, data framed: Curator's `DistributedQueue`.
    Curator,
    /// `entry-100-NNNNNNNNNN`, data as it is: kazoo's `Queue`.
    Kazoo,
}

/// What came out of a queue.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Item, Queue};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let queue = Queue::new(zk, "/queue-item");
/// queue.put(b"hello").await?;
/// let item: Item = queue.take().await?;
/// assert_eq!(item.parts, [b"hello".to_vec()]);
/// assert!(item.certain, "no connection was lost on the way");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The item; only Curator's layout can hold more or less than one.
    pub parts: Vec<Vec<u8>>,
    /// False if the connection broke between: the item is gone, and it cannot be known whether we
    /// or another consumer took it out. To do it perhaps twice or perhaps never is for its consumer
    /// to choose; [`LockingQueue`](crate::LockingQueue) has no such doubt.
    pub certain: bool,
}

impl Item {
    /// All of it as one.
    ///
    /// ```
    /// # use oxkeeper_recipes::Item;
    /// let item = Item { parts: vec![b"he".to_vec(), b"llo".to_vec()], certain: true };
    /// assert_eq!(item.into_bytes(), b"hello");
    /// ```
    pub fn into_bytes(self) -> Vec<u8> {
        self.parts.concat()
    }
}

/// One directory of items: what all queues have in common.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    keeper: Keeper,
    dir: String,
    names: Names,
}

impl Line {
    async fn put(&self, stem: String, data: Vec<u8>) -> Result<(), Error> {
        let path = join(&self.dir, &stem);
        let new = New { path: path.clone(), data, kind: Kind::Sequential };
        loop {
            match self.keeper.port().create(new.clone()).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.session_over => return Err(Error::SessionOver),
                Err(failure) if failure.is(ErrorCode::NO_NODE) => {
                    self.keeper.ensure(&self.dir, self.names.parents()).await?;
                }
                Err(failure) if failure.fate == Fate::Unknown => {
                    return Err(Error::Unsure { path });
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    async fn put_all(&self, stem: String, items: Vec<Vec<u8>>) -> Result<(), Error> {
        let path = join(&self.dir, &stem);
        loop {
            let edits = items.iter().map(|data| {
                let data = self.names.pack(data);
                Edit::Create(New { path: path.clone(), data, kind: Kind::Sequential })
            });
            match self.keeper.multi(edits.collect()).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.session_over => return Err(Error::SessionOver),
                Err(failure) if failure.is(ErrorCode::NO_NODE) => {
                    self.keeper.ensure(&self.dir, self.names.parents()).await?;
                }
                Err(failure) if failure.fate == Fate::Unknown => {
                    return Err(Error::Unsure { path });
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Takes the first item that is due.
    async fn try_take(&self) -> Result<Option<Item>, Error> {
        let names = self.keeper.children(&self.dir).await?.unwrap_or_default();
        let now = self.keeper.port().wall_ms();
        for entry in self.names.in_order(names) {
            if entry.due_ms > now {
                break;
            }
            if let Some(item) = self.take_one(&entry.name).await? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// Takes this item, unless another does.
    async fn take_one(&self, name: &str) -> Result<Option<Item>, Error> {
        let path = join(&self.dir, name);
        let Some((data, stat)) = self.keeper.get(&path).await? else { return Ok(None) };
        let parts = self.names.unpack(&path, data)?;
        loop {
            let failure = match self.keeper.port().delete(&path, Some(stat.version)).await {
                Ok(()) => return Ok(Some(Item { parts, certain: true })),
                Err(failure) => failure,
            };
            if failure.session_over {
                return Err(Error::SessionOver);
            } else if failure.is(ErrorCode::NO_NODE) || failure.is(ErrorCode::BAD_VERSION) {
                return Ok(None);
            } else if failure.fate != Fate::Unknown {
                return Err(failure.into());
            }
            self.keeper.sync(&path).await?;
            if self.keeper.exists(&path).await?.is_none() {
                return Ok(Some(Item { parts, certain: false }));
            }
        }
    }

    /// Waits for an item that is due and takes it.
    async fn take(&self) -> Result<Item, Error> {
        loop {
            if let Some(item) = self.try_take().await? {
                return Ok(item);
            }
            let Some((names, alarm)) = self.keeper.children_watched(&self.dir).await? else {
                self.keeper.ensure(&self.dir, self.names.parents()).await?;
                continue;
            };
            let now = self.keeper.port().wall_ms();
            match self.names.in_order(names).first() {
                None => alarm.await,
                Some(entry) if entry.due_ms <= now => {}
                Some(entry) => {
                    let wait = Duration::from_millis(entry.due_ms.abs_diff(now));
                    tokio::select! {
                        biased;
                        () = alarm => {}
                        () = self.keeper.sleep(wait) => {}
                    }
                }
            }
        }
    }

    async fn len(&self) -> Result<usize, Error> {
        let names = self.keeper.children(&self.dir).await?.unwrap_or_default();
        Ok(self.names.in_order(names).len())
    }
}

/// What all queues do. Their examples differ in what `new` and `put` want besides.
macro_rules! taking {
    ($name:literal, $make:literal, $put:literal) => {
        /// Waits for an item and takes it out. Cancellation is safe, except between the server's
        /// taking it out and its answer: an item that was on its way is lost then.
        ///
        /// ```
        /// # use oxkeeper_client::Client;
        #[doc = concat!("# use oxkeeper_recipes::{Layout, ", $name, "};")]
        /// # oxkeeper_scratch::example(async |servers| {
        /// # let zk = &Client::connect(&servers).await?;
        #[doc = concat!("let queue = ", $name, "::new(zk, \"/take-", $name, "\"", $make, ");")]
        /// // It waits for what is put later.
        #[doc = concat!("let put = queue.put(b\"hello\"", $put, ");")]
        /// let (item, put) = tokio::join!(queue.take(), put);
        /// put?;
        /// assert_eq!(item?.into_bytes(), b"hello");
        /// # Ok(())
        /// # });
        /// ```
        ///
        /// # Errors
        /// The session is over, an item cannot be read, or the server refuses.
        pub async fn take(&self) -> Result<Item, Error> {
            self.line.take().await
        }

        /// Takes an item out if there is one.
        ///
        /// ```
        /// # use oxkeeper_client::Client;
        #[doc = concat!("# use oxkeeper_recipes::{Layout, ", $name, "};")]
        /// # oxkeeper_scratch::example(async |servers| {
        /// # let zk = &Client::connect(&servers).await?;
        #[doc = concat!("let queue = ", $name, "::new(zk, \"/try-", $name, "\"", $make, ");")]
        /// assert!(queue.try_take().await?.is_none());
        #[doc = concat!("queue.put(b\"hello\"", $put, ").await?;")]
        /// assert_eq!(queue.try_take().await?.expect("an item").into_bytes(), b"hello");
        /// # Ok(())
        /// # });
        /// ```
        ///
        /// # Errors
        /// The session is over, an item cannot be read, or the server refuses.
        pub async fn try_take(&self) -> Result<Option<Item>, Error> {
            self.line.try_take().await
        }

        /// Items in it now; names of others do not count.
        ///
        /// ```
        /// # use oxkeeper_client::Client;
        #[doc = concat!("# use oxkeeper_recipes::{Layout, ", $name, "};")]
        /// # oxkeeper_scratch::example(async |servers| {
        /// # let zk = &Client::connect(&servers).await?;
        #[doc = concat!("let queue = ", $name, "::new(zk, \"/len-", $name, "\"", $make, ");")]
        #[doc = concat!("queue.put(b\"hello\"", $put, ").await?;")]
        #[doc = concat!("zk.create(\"/len-", $name, "/other\", b\"no item\").await?;")]
        /// assert_eq!(queue.len().await?, 1);
        /// # Ok(())
        /// # });
        /// ```
        ///
        /// # Errors
        /// The session is over, or the server refuses.
        pub async fn len(&self) -> Result<usize, Error> {
            self.line.len().await
        }

        /// True if there is none.
        ///
        /// ```
        /// # use oxkeeper_client::Client;
        #[doc = concat!("# use oxkeeper_recipes::{Layout, ", $name, "};")]
        /// # oxkeeper_scratch::example(async |servers| {
        /// # let zk = &Client::connect(&servers).await?;
        #[doc = concat!("let queue = ", $name, "::new(zk, \"/empty-", $name, "\"", $make, ");")]
        /// assert!(queue.is_empty().await?);
        #[doc = concat!("queue.put(b\"hello\"", $put, ").await?;")]
        /// assert!(!queue.is_empty().await?);
        /// # Ok(())
        /// # });
        /// ```
        ///
        /// # Errors
        /// The session is over, or the server refuses.
        pub async fn is_empty(&self) -> Result<bool, Error> {
            Ok(self.line.len().await? == 0)
        }
    };
}

/// A queue, first in first out.
///
/// # Guarantees
/// - An item is taken out by one consumer, in the order of the puts (of which the server decides).
/// - What was put is there until it is taken, whatever dies.
///
/// # What it does not guarantee
/// An item leaves the queue before it is worked on: a consumer that dies has taken it along. Use a
/// [`LockingQueue`](crate::LockingQueue) where that matters. A put whose answer was lost is
/// [`Error::Unsure`]: putting again may put twice.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Queue;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let queue = Queue::new(zk, "/queues/mail");
/// queue.put(b"hello").await?;
/// assert_eq!(queue.take().await?.into_bytes(), b"hello");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Queue {
    line: Line,
}

impl Queue {
    /// The queue of this directory, in ZooKeeper's layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Queue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = Queue::new(zk, "/queue-new");
    /// queue.put(b"hello").await?;
    /// assert_eq!(zk.children("/queue-new").await?, ["qn-0000000000"]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, dir: &str) -> Queue {
        Queue::of(keeper, dir, QueueLayout::default())
    }

    /// The queue of this directory in another layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Queue, QueueLayout};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = Queue::of(zk, "/queue-of", QueueLayout::Curator);
    /// queue.put(b"hello").await?;
    /// assert_eq!(zk.children("/queue-of").await?, ["queue-0000000000"]);
    /// assert_eq!(queue.take().await?.into_bytes(), b"hello");
    /// # Ok(())
    /// # });
    /// ```
    pub fn of(keeper: impl Into<Keeper>, dir: &str, layout: QueueLayout) -> Queue {
        let names = match layout {
            QueueLayout::Zookeeper => Names::Zookeeper,
            QueueLayout::Curator => Names::Curator,
            QueueLayout::Kazoo => Names::KazooPriority,
        };
        Queue { line: Line { keeper: keeper.into(), dir: dir.to_owned(), names } }
    }

    /// Puts an item at the end.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Queue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = Queue::new(zk, "/queue-put");
    /// queue.put(b"first").await?;
    /// queue.put(b"second").await?;
    /// assert_eq!(queue.take().await?.into_bytes(), b"first");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, the outcome is unknown, or the server refuses.
    pub async fn put(&self, data: &[u8]) -> Result<(), Error> {
        let stem = self.line.names.stem(items::PRIORITY, 0)?;
        self.line.put(stem, self.line.names.pack(data)).await
    }

    /// Puts several items, all or none.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Queue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = Queue::new(zk, "/queue-put-all");
    /// queue.put_all(vec![b"first".to_vec(), b"second".to_vec()]).await?;
    /// assert_eq!(queue.len().await?, 2);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Queue::put`].
    pub async fn put_all(&self, items: Vec<Vec<u8>>) -> Result<(), Error> {
        let stem = self.line.names.stem(items::PRIORITY, 0)?;
        self.line.put_all(stem, items).await
    }

    taking!("Queue", "", "");
}

/// A queue in which lower priorities go first (`DistributedPriorityQueue`, kazoo's `Queue`).
/// Guarantees are those of [`Queue`]; an item that comes late with a low priority overtakes.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Layout, PriorityQueue};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let queue = PriorityQueue::new(zk, "/queues/work", Layout::Curator);
/// queue.put(b"later", 10).await?;
/// queue.put(b"now", -1).await?;
/// assert_eq!(queue.take().await?.into_bytes(), b"now");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct PriorityQueue {
    line: Line,
}

impl PriorityQueue {
    /// The queue of this directory.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Layout, PriorityQueue};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = PriorityQueue::new(zk, "/priority-new", Layout::Kazoo);
    /// queue.put(b"urgent", 5).await?;
    /// assert!(zk.children("/priority-new").await?[0].starts_with("entry-005-"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(
        keeper: impl Into<Keeper>,
        dir: &str,
        layout: crate::order::Layout,
    ) -> PriorityQueue {
        let names = match layout {
            crate::order::Layout::Curator => Names::CuratorPriority,
            crate::order::Layout::Kazoo => Names::KazooPriority,
        };
        PriorityQueue { line: Line { keeper: keeper.into(), dir: dir.to_owned(), names } }
    }

    /// Puts an item. kazoo's layout knows priorities from 0 to 999 only.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Layout, PriorityQueue};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = PriorityQueue::new(zk, "/priority-put", Layout::Kazoo);
    /// queue.put(b"later", 10).await?;
    /// queue.put(b"now", 0).await?;
    /// assert_eq!(queue.take().await?.into_bytes(), b"now");
    /// assert!(queue.put(b"beyond the layout", -1).await.is_err());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// A priority that the layout cannot write; and as [`Queue::put`].
    pub async fn put(&self, data: &[u8], priority: i32) -> Result<(), Error> {
        let stem = self.line.names.stem(priority, 0)?;
        self.line.put(stem, self.line.names.pack(data)).await
    }

    taking!("PriorityQueue", ", Layout::Curator", ", 7");
}

/// A queue whose items can be taken from a moment on (`DistributedDelayQueue`). Guarantees are
/// those of [`Queue`]; when an item is due is judged by the consumer's clock.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::DelayQueue;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let queue = DelayQueue::new(zk, "/queues/reminders");
/// queue.put(b"wake up", 4_000_000_000_000).await?;
/// assert!(queue.try_take().await?.is_none(), "not before 2096");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct DelayQueue {
    line: Line,
}

impl DelayQueue {
    /// The queue of this directory, in Curator's layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::DelayQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = DelayQueue::new(zk, "/delay-new");
    /// queue.put(b"long ago", 1).await?;
    /// assert_eq!(queue.take().await?.into_bytes(), b"long ago");
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, dir: &str) -> DelayQueue {
        let names = Names::CuratorDelay;
        DelayQueue { line: Line { keeper: keeper.into(), dir: dir.to_owned(), names } }
    }

    /// Puts an item that is due at `due_ms`, in ms since 1970.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{DelayQueue, Keeper};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = DelayQueue::new(zk, "/delay-put");
    /// let soon = Keeper::from(zk).port().wall_ms() + 20;
    /// queue.put(b"later", soon + 20).await?;
    /// queue.put(b"soon", soon).await?;
    /// assert_eq!(queue.take().await?.into_bytes(), b"soon");
    /// assert!(Keeper::from(zk).port().wall_ms() >= soon);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// A moment that is not after 1970; and as [`Queue::put`].
    pub async fn put(&self, data: &[u8], due_ms: i64) -> Result<(), Error> {
        let stem = self.line.names.stem(0, due_ms)?;
        self.line.put(stem, self.line.names.pack(data)).await
    }

    taking!("DelayQueue", "", ", 1");
}
