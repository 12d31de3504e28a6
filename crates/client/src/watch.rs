//! Watches: one that fires once is a future, one that stays is a stream.
//!
//! Events come before the answers that could show the change. Nothing is lost without a word: a
//! stream says [`WatchItem::Gap`] where it cannot tell what happened, because the connection was
//! away or because nobody fetched, and both say so when the watch is gone.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use oxkeeper_proto::Zxid;
use oxkeeper_proto::response::EventType;

use crate::core::{Chroot, Loss, WatchKind, Watcher};
use crate::driver::Shared;

/// A watched znode changed.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::EventType;
///
/// zk.create("/event", b"").await?;
/// let (_, changed) = zk.get("/event").watch().await?;
/// let set = zk.set("/event", b"1").await?;
/// let event = changed.await?;
/// assert_eq!((event.kind, &*event.path), (EventType::NodeDataChanged, "/event"));
/// assert!(event.zxid.is_none_or(|zxid| zxid == set.mzxid));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    /// How.
    pub kind: EventType,
    /// Where: the znode's path, as this client names it.
    pub path: String,
    /// By which transaction. Servers before 3.9 do not say, nor does any for a change that it found
    /// while watches were armed again.
    pub zxid: Option<Zxid>,
}

/// What a [`WatchStream`] tells.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{AddWatchMode, EventType, WatchItem};
///
/// let mut items = zk.add_watch("/watch-item", AddWatchMode::Persistent).await?;
/// zk.create("/watch-item", b"").await?;
/// let Some(WatchItem::Event(event)) = items.next().await else { panic!("an event") };
/// assert_eq!(event.kind, EventType::NodeCreated);
/// zk.close().await;
/// assert!(matches!(items.next().await, Some(WatchItem::Lost(_))));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// A change.
    Event(WatchEvent),
    /// There may have been changes that are not told: the connection was lost for a while, or more
    /// came than the stream holds. The watch is armed; who keeps a copy reads it anew.
    Gap,
    /// The watch is gone, and this is the last item.
    Lost(Loss),
}

/// How much a persistent watch sees (`AddWatchMode`).
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{AddWatchMode, EventType, WatchItem};
///
/// let mut one = zk.add_watch("/watch-mode", AddWatchMode::Persistent).await?;
/// let mut all = zk.add_watch("/watch-mode", AddWatchMode::Recursive).await?;
/// zk.create("/watch-mode/child", b"").parents().await?;
/// for expected in [EventType::NodeCreated, EventType::NodeChildrenChanged] {
///     let item = one.next().await;
///     assert!(matches!(item, Some(WatchItem::Event(event)) if event.kind == expected));
/// }
/// for expected in ["/watch-mode", "/watch-mode/child"] {
///     let item = all.next().await;
///     assert!(matches!(item, Some(WatchItem::Event(event)) if event.path == expected));
/// }
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddWatchMode {
    /// One znode: its data, its life, and its set of children.
    Persistent,
    /// A znode and everything below it. Told of each child itself, not of sets of children.
    Recursive,
}

/// Which watches to remove (`Watcher.WatcherType`).
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{Loss, WatcherKind};
///
/// zk.create("/watcher-kind", b"").await?;
/// let (_, data) = zk.get("/watcher-kind").watch().await?;
/// let (_, children) = zk.children("/watcher-kind").watch().await?;
/// zk.remove_watches("/watcher-kind", WatcherKind::Data).await?;
/// assert_eq!(data.await, Err(Loss::Removed));
/// zk.create("/watcher-kind/a", b"").await?;
/// assert!(children.await.is_ok(), "it is of another kind");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatcherKind {
    /// Those of `children`.
    Children,
    /// Those of `get` and `exists`.
    Data,
    /// All.
    Any,
    /// Those of [`AddWatchMode::Persistent`].
    Persistent,
    /// Those of [`AddWatchMode::Recursive`].
    Recursive,
}

impl WatcherKind {
    pub(crate) fn number(self) -> i32 {
        match self {
            WatcherKind::Children => 1,
            WatcherKind::Data => 2,
            WatcherKind::Any => 3,
            WatcherKind::Persistent => 4,
            WatcherKind::Recursive => 5,
        }
    }
}

/// A watch as its holder has it; dropped, it is forgotten.
pub(crate) struct Held {
    shared: Arc<Shared>,
    watcher: Watcher,
    /// The namespace in which events are told.
    root: Chroot,
    /// Where a persistent watch is, for its removal.
    persistent: Option<(Box<str>, WatchKind)>,
}

impl Held {
    pub(crate) fn new(shared: &Arc<Shared>, watcher: Watcher, root: &Chroot) -> Held {
        Held { shared: Arc::clone(shared), watcher, root: root.clone(), persistent: None }
    }

    /// From now on somebody has to be told that it is no longer wanted.
    pub(crate) fn persistent(mut self, path: &str, mode: AddWatchMode) -> Held {
        let kind = match mode {
            AddWatchMode::Persistent => WatchKind::Persistent,
            AddWatchMode::Recursive => WatchKind::Recursive,
        };
        self.persistent = Some((path.into(), kind));
        self
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<WatchItem>> {
        let item = std::task::ready!(self.shared.poll_watch(self.watcher, cx));
        Poll::Ready(item.map(|item| match item {
            WatchItem::Event(event) if !self.root.path().is_empty() => {
                let path = self.root.strip(&event.path);
                WatchItem::Event(WatchEvent { path, ..event })
            }
            item => item,
        }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let persistent = self.persistent.as_ref().map(|(path, kind)| (&**path, *kind));
        self.shared.forget(self.watcher, persistent);
    }
}

/// A watch that fires once: a future of its event, or of why there will be none. It survives
/// reconnects. Dropped, it is forgotten.
///
/// Awaiting it by reference (`(&mut watch).await`) makes it usable in `select!` again and again.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{EventType, OneShot};
///
/// let (_, mut created): (_, OneShot) = zk.exists("/one-shot").watch().await?;
/// zk.create("/one-shot", b"").await?;
/// // By reference, as in a `select!` with something else.
/// assert_eq!((&mut created).await?.kind, EventType::NodeCreated);
/// # Ok(())
/// # });
/// ```
#[must_use = "dropping a watch forgets it"]
pub struct OneShot {
    held: Held,
}

impl OneShot {
    pub(crate) fn new(held: Held) -> OneShot {
        OneShot { held }
    }
}

impl Future for OneShot {
    type Output = Result<WatchEvent, Loss>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            return Poll::Ready(match std::task::ready!(self.held.poll(cx)) {
                Some(WatchItem::Event(event)) => Ok(event),
                Some(WatchItem::Lost(loss)) => Err(loss),
                // The core says it of persistent watches alone.
                Some(WatchItem::Gap) => continue,
                None => Err(Loss::Removed),
            });
        }
    }
}

impl std::fmt::Debug for OneShot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OneShot").field(&self.held.watcher.0).finish()
    }
}

/// A watch that stays: a stream of what happens. It survives reconnects, with a
/// [`WatchItem::Gap`] if it may have missed something. Dropped, it is removed in the background,
/// on the server too if nobody else of this client watches there.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{AddWatchMode, WatchItem, WatchStream};
///
/// zk.create("/watch-stream", b"").await?;
/// let mut changes: WatchStream =
///     zk.add_watch("/watch-stream", AddWatchMode::Persistent).await?;
/// for data in ["1", "2"] {
///     zk.set("/watch-stream", data).await?;
///     assert!(matches!(changes.next().await, Some(WatchItem::Event(_))), "each time");
/// }
/// # Ok(())
/// # });
/// ```
#[must_use = "dropping a watch removes it"]
pub struct WatchStream {
    held: Held,
}

impl WatchStream {
    pub(crate) fn new(held: Held) -> WatchStream {
        WatchStream { held }
    }

    /// The next item; `None` behind [`WatchItem::Lost`]. Safe to cancel.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{AddWatchMode, End, Loss, WatchItem};
    ///
    /// let mut changes = zk.add_watch("/watch-next", AddWatchMode::Recursive).await?;
    /// zk.close().await;
    /// let lost = WatchItem::Lost(Loss::Session(End::Closed));
    /// assert_eq!(changes.next().await, Some(lost));
    /// assert_eq!(changes.next().await, None);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn next(&mut self) -> Option<WatchItem> {
        std::future::poll_fn(|cx| self.held.poll(cx)).await
    }
}

impl Stream for WatchStream {
    type Item = WatchItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchItem>> {
        self.held.poll(cx)
    }
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.held.persistent.as_ref().map(|(path, _)| path);
        f.debug_struct("WatchStream").field("path", &at).finish()
    }
}
