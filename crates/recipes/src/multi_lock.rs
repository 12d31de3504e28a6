//! Several locks as one.
//!
//! Who takes two locks in one order and who takes them in the other wait for each other for ever.
//! Here the order is that of the paths, and not the caller's.

use std::time::Duration;

use crate::error::Error;
use crate::keeper::{Keeper, within};
use crate::mutex::{Guard, Mutex};
use crate::port::Edit;

/// Several mutexes that are had all or not at all (`InterProcessMultiLock`).
///
/// They are acquired one after another in the order of their paths, whatever order they are named
/// in, so that two who want the same ones never wait for each other. Everything else is as with
/// [`Mutex`].
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::MultiLock;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let both = MultiLock::new(zk, ["/locks/from", "/locks/to"]);
/// let guard = both.acquire().await?;
/// assert!(guard.release().await?, "both were ours to the end");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct MultiLock {
    keeper: Keeper,
    locks: Vec<Mutex>,
}

impl MultiLock {
    /// Mutexes of these directories, in Curator's layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::MultiLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// // Whatever order they are named in, they are acquired in the order of their paths.
    /// let both = MultiLock::new(zk, ["/multi-new/b", "/multi-new/a"]);
    /// let held = both.acquire().await?;
    /// assert!(held.guards()[0].path().starts_with("/multi-new/a/"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn new<'a>(
        keeper: impl Into<Keeper>,
        dirs: impl IntoIterator<Item = &'a str>,
    ) -> MultiLock {
        let keeper = keeper.into();
        let locks = dirs.into_iter().map(|dir| Mutex::new(&keeper, dir));
        MultiLock::of(&keeper, locks.collect())
    }

    /// These mutexes, each with a layout of its own.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Layout, MultiLock, Mutex};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let own = Mutex::new(zk, "/multi-of/a");
    /// let theirs = Mutex::new(zk, "/multi-of/b").layout(Layout::Kazoo);
    /// let held = MultiLock::of(zk, vec![theirs, own]).acquire().await?;
    /// assert!(held.guards()[1].path().contains("__lock__"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn of(keeper: impl Into<Keeper>, mut locks: Vec<Mutex>) -> MultiLock {
        locks.sort_by(|a, b| a.dir().cmp(b.dir()));
        locks.dedup_by(|a, b| a.dir() == b.dir());
        MultiLock { keeper: keeper.into(), locks }
    }

    /// Waits until all are ours. Cancellation is safe: those acquired are released.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{MultiLock, Mutex};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let held = MultiLock::new(zk, ["/multi-acquire/a", "/multi-acquire/b"]).acquire().await?;
    /// assert!(Mutex::new(other, "/multi-acquire/b").try_acquire().await?.is_none());
    /// held.release().await?;
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::acquire`], and nothing is held then.
    pub async fn acquire(&self) -> Result<MultiGuard, Error> {
        let mut guards = Vec::with_capacity(self.locks.len());
        for lock in &self.locks {
            guards.push(lock.acquire().await?);
        }
        Ok(MultiGuard { guards })
    }

    /// The same, for at most so long: `None` if it did not come to it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{MultiLock, Mutex};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let one = Mutex::new(other, "/multi-within/b").acquire().await?;
    /// let both = MultiLock::new(zk, ["/multi-within/a", "/multi-within/b"]);
    /// assert!(both.acquire_within(Duration::from_millis(20)).await?.is_none());
    /// one.release().await?;
    /// assert!(both.acquire().await?.release().await?);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::acquire`].
    pub async fn acquire_within(&self, limit: Duration) -> Result<Option<MultiGuard>, Error> {
        within(&self.keeper, limit, self.acquire()).await.transpose()
    }
}

/// All of them, held.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{MultiGuard, MultiLock};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let both = MultiLock::new(zk, ["/multi-guard/a", "/multi-guard/b"]);
/// let held: MultiGuard = both.acquire().await?;
/// assert_eq!(held.guards().len(), 2);
/// assert!(held.release().await?);
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct MultiGuard {
    guards: Vec<Guard>,
}

impl MultiGuard {
    /// Each of them, in the order of their paths.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::MultiLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let held = MultiLock::new(zk, ["/multi-each/a", "/multi-each/b"]).acquire().await?;
    /// let [a, b] = held.guards() else { panic!("two were acquired") };
    /// assert!(a.token() < b.token(), "the first path is acquired first");
    /// # Ok(())
    /// # });
    /// ```
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    /// The first operations of a multi that must only happen while all are held.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Keeper, MultiLock};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let held = MultiLock::new(zk, ["/multi-check/a", "/multi-check/b"]).acquire().await?;
    /// let checks = held.checks();
    /// port.multi(checks.clone()).await?;
    /// held.release().await?;
    /// assert!(port.multi(checks).await.is_err());
    /// # Ok(())
    /// # });
    /// ```
    pub fn checks(&self) -> Vec<Edit> {
        self.guards.iter().map(Guard::check).collect()
    }

    /// Resolves when one of them is lost.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::MultiLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let held = MultiLock::new(zk, ["/multi-lost/a", "/multi-lost/b"]).acquire().await?;
    /// // One of them is enough.
    /// let path = held.guards()[1].path();
    /// let ((), deleted) = tokio::join!(held.lost(), zk.delete(&path).send());
    /// assert!(deleted.is_ok());
    /// # Ok(())
    /// # });
    /// ```
    pub async fn lost(&self) {
        let mut all: Vec<_> = self.guards.iter().map(|guard| Box::pin(guard.lost())).collect();
        std::future::poll_fn(|cx| {
            let lost = all.iter_mut().any(|one| one.as_mut().poll(cx).is_ready());
            if lost { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }

    /// Lets go of all, the last first. All are tried; false if one of them had been lost.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::MultiLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let both = MultiLock::new(zk, ["/multi-release/a", "/multi-release/b"]);
    /// assert!(both.acquire().await?.release().await?);
    /// let held = both.acquire().await?;
    /// zk.delete(&held.guards()[0].path()).await?;
    /// assert!(!held.release().await?, "one of them had been lost");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, which has released them too.
    pub async fn release(mut self) -> Result<bool, Error> {
        let mut whole = Ok(true);
        while let Some(guard) = self.guards.pop() {
            match guard.release().await {
                Ok(had) => whole = whole.map(|all| all && had),
                Err(error) => whole = Err(error),
            }
        }
        whole
    }
}
