//! So many at a time, and no more.
//!
//! Those who want a lease stand in line at a mutex, and the first of them alone looks at the
//! leases: whoever gives one back wakes one, and nobody overtakes. Curator and kazoo part in who is
//! first, the lease or the look.

use std::time::Duration;

use crate::contender::{Arena, Contender, Token};
use crate::error::Error;
use crate::keeper::{Keeper, join, within};
use crate::mutex::{Guard, Mutex};
use crate::order::{self, Layout, Part};
use crate::port::{Kind, New};

/// A counting semaphore (`InterProcessSemaphoreV2`, kazoo's `Semaphore`).
///
/// # Guarantees
/// - At most `leases` of those whose session is alive hold one, in the order in which they asked.
/// - Each lease has a token that grows with every lease given.
/// - An `acquire` that is dropped leaves nothing behind.
///
/// # What it does not guarantee
/// As with [`Mutex`]: a frozen owner goes on believing. And everybody has to name the same number:
/// Curator's layout does not write it down; kazoo's does, and another number is refused.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Semaphore;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let downloads = Semaphore::new(zk, "/limits/downloads", 3);
/// let lease = downloads.acquire().await?;
/// assert_eq!(downloads.given().await?, 1);
/// lease.release().await?;
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore {
    keeper: Keeper,
    path: String,
    layout: Layout,
    leases: usize,
    data: Vec<u8>,
}

impl Semaphore {
    /// The semaphore of this path, in Curator's layout.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Semaphore;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let downloads = Semaphore::new(zk, "/semaphore-new", 1);
    /// let lease = downloads.acquire().await?;
    /// assert!(downloads.acquire_within(Duration::from_millis(20)).await?.is_none());
    /// # drop(lease);
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, path: &str, leases: usize) -> Semaphore {
        let (keeper, path, layout) = (keeper.into(), path.to_owned(), Layout::default());
        Semaphore { keeper, path, layout, leases, data: Vec::new() }
    }

    /// In another layout. Everybody who uses a path has to use the same.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Layout, Semaphore};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let downloads = Semaphore::new(zk, "/semaphore-kazoo", 3).layout(Layout::Kazoo);
    /// let lease = downloads.acquire().await?;
    /// assert_eq!(zk.get("/semaphore-kazoo").await?.bytes(), b"3", "kazoo writes the number down");
    /// // And whoever comes with another number is told.
    /// let wrong = Semaphore::new(other, "/semaphore-kazoo", 4).layout(Layout::Kazoo);
    /// assert!(wrong.acquire().await.is_err());
    /// # drop(lease);
    /// # Ok(())
    /// # });
    /// ```
    pub fn layout(mut self, layout: Layout) -> Semaphore {
        self.layout = layout;
        self
    }

    /// What owners say of themselves.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Semaphore;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lease = Semaphore::new(zk, "/semaphore-who", 1).identity("10.0.0.7").acquire().await?;
    /// assert_eq!(zk.get(&lease.guard().path()).await?.bytes(), b"10.0.0.7");
    /// # Ok(())
    /// # });
    /// ```
    pub fn identity(mut self, data: impl Into<Vec<u8>>) -> Semaphore {
        self.data = data.into();
        self
    }

    fn queue(&self) -> Mutex {
        let dir = match self.layout {
            Layout::Curator => join(&self.path, "locks"),
            Layout::Kazoo => format!("{}-__lock__", self.path),
        };
        Mutex::new(&self.keeper, &dir).layout(self.layout).identity(self.data.clone())
    }

    fn arena(&self) -> Arena {
        let dir = match self.layout {
            Layout::Curator => join(&self.path, "leases"),
            Layout::Kazoo => self.path.clone(),
        };
        Arena { keeper: self.keeper.clone(), dir, layout: self.layout }
    }

    /// Waits for a lease. Cancellation is safe.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Semaphore;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let downloads = Semaphore::new(zk, "/semaphore-acquire", 2);
    /// let (first, second) = (downloads.acquire().await?, downloads.acquire().await?);
    /// assert!(first.token() < second.token());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, a foreign name, another number of leases, or the server refuses.
    pub async fn acquire(&self) -> Result<Lease, Error> {
        if self.leases == 0 {
            return Err(Error::Invalid("a semaphore without leases".to_owned()));
        }
        loop {
            // One at a time looks for a lease, so that nobody overtakes and one is woken.
            let first = self.queue().acquire().await?;
            let lease = match self.layout {
                Layout::Curator => self.lease_then_wait().await,
                Layout::Kazoo => self.wait_then_lease().await,
            };
            match lease {
                Ok(contender) => {
                    first.release().await?;
                    return Ok(Lease(Guard::new(contender)));
                }
                Err(Error::Gone { .. }) if !self.keeper.is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The same, for at most so long: `None` if it did not come to it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Semaphore;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let downloads = Semaphore::new(zk, "/semaphore-within", 1);
    /// let lease = downloads.acquire().await?;
    /// let short = Duration::from_millis(20);
    /// assert!(downloads.acquire_within(short).await?.is_none());
    /// lease.release().await?;
    /// assert!(downloads.acquire_within(Duration::from_secs(30)).await?.is_some());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    pub async fn acquire_within(&self, limit: Duration) -> Result<Option<Lease>, Error> {
        within(&self.keeper, limit, self.acquire()).await.transpose()
    }

    /// Curator's way: a lease's znode is made first, and counts when they are few enough.
    async fn lease_then_wait(&self) -> Result<Contender, Error> {
        let arena = self.arena();
        let lease = Contender::enter(&arena, Part::Lease, &self.data).await?;
        loop {
            let Some((names, alarm)) = self.keeper.children_watched(&arena.dir).await? else {
                return Err(Error::Gone { path: lease.path() });
            };
            let all = order::lineup(arena.layout, Part::Lease, &arena.dir, names)?;
            if all.iter().all(|other| other.name != lease.name()) {
                return Err(Error::Gone { path: lease.path() });
            }
            if all.len() <= self.leases {
                return Ok(lease);
            }
            alarm.await;
        }
    }

    /// kazoo's way: a znode is made when there is room for it.
    async fn wait_then_lease(&self) -> Result<Contender, Error> {
        let arena = self.arena();
        self.agree_on_leases().await?;
        loop {
            let Some((names, alarm)) = self.keeper.children_watched(&arena.dir).await? else {
                self.agree_on_leases().await?;
                continue;
            };
            if names.len() < self.leases {
                let mark = self.keeper.hex();
                let (name, kind) = (mark.clone(), Kind::Ephemeral);
                return Contender::enter_as(&arena, Part::Lease, mark, &name, kind, &self.data)
                    .await;
            }
            alarm.await;
        }
    }

    /// kazoo writes the number of leases into the semaphore's own znode.
    async fn agree_on_leases(&self) -> Result<(), Error> {
        let data = self.leases.to_string().into_bytes();
        let new = New { path: self.path.clone(), data, kind: Kind::Persistent };
        if self.keeper.create_shared(&new, Kind::Persistent).await? {
            return Ok(());
        }
        let Some((data, _)) = self.keeper.get(&self.path).await? else { return Ok(()) };
        let told = std::str::from_utf8(&data).ok();
        match told.and_then(|text| text.trim().parse::<usize>().ok()) {
            Some(told) if told != self.leases => Err(Error::Invalid(format!(
                "{} has {told} leases, and {} are expected",
                self.path, self.leases
            ))),
            _ => Ok(()),
        }
    }

    /// Leases given now.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Semaphore;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let downloads = Semaphore::new(zk, "/semaphore-given", 3);
    /// assert_eq!(downloads.given().await?, 0);
    /// let lease = downloads.acquire().await?;
    /// assert_eq!(downloads.given().await?, 1);
    /// # drop(lease);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn given(&self) -> Result<usize, Error> {
        let names = self.keeper.children(&self.arena().dir).await?;
        Ok(names.map_or(0, |names| names.len()))
    }
}

/// A lease of a semaphore; dropped, it is given back beside.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Lease, Semaphore};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let downloads = Semaphore::new(zk, "/lease", 1);
/// let lease: Lease = downloads.acquire().await?;
/// let older = lease.token();
/// drop(lease); // given back beside
/// assert!(downloads.acquire().await?.token() > older);
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct Lease(Guard);

impl Lease {
    /// The lease's token.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Semaphore;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let downloads = Semaphore::new(zk, "/lease-token", 1);
    /// let first = downloads.acquire().await?;
    /// let older = first.token();
    /// first.release().await?;
    /// assert!(downloads.acquire().await?.token() > older);
    /// # Ok(())
    /// # });
    /// ```
    pub fn token(&self) -> Token {
        self.0.token()
    }

    /// What it shares with other things held: its znode, whether it is lost.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Hold, Semaphore};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lease = Semaphore::new(zk, "/lease-guard", 1).acquire().await?;
    /// assert_eq!(lease.guard().hold(), Hold::Held);
    /// assert!(lease.guard().path().starts_with("/lease-guard/leases/"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn guard(&self) -> &Guard {
        &self.0
    }

    /// Gives it back and waits for the server's word; false if it had been lost.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Semaphore;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let downloads = Semaphore::new(zk, "/lease-release", 1);
    /// assert!(downloads.acquire().await?.release().await?);
    /// assert_eq!(downloads.given().await?, 0);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, which has given it back too.
    pub async fn release(self) -> Result<bool, Error> {
        self.0.release().await
    }
}
