//! A lock that many readers share and a writer has alone.
//!
//! Both are contenders in one directory and differ in whom they wait for, which `order` decides.
//! What remains is the way from writing to reading without letting anybody else write.

use crate::contender::{Contender, Participant};
use crate::error::Error;
use crate::keeper::Keeper;
use crate::mutex::{Guard, Mutex};
use crate::order::{self, Layout, Part};
use crate::port::Kind;

/// A fair read/write lock (`InterProcessReadWriteLock`, kazoo's `ReadLock` and `WriteLock`).
///
/// Guarantees and their limits are those of [`Mutex`]: a writer is alone, readers are with readers,
/// and nobody overtakes: a reader that comes after a waiting writer waits for it. Tokens of writers
/// grow; a reader's token is greater than that of the writer before it.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::ReadWriteLock;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let lock = ReadWriteLock::new(zk, "/locks/index");
/// let writing = lock.write().acquire().await?;
/// // Keep others out until we have read what we wrote.
/// let reading = lock.downgrade(writing).await?;
/// assert!(reading.release().await?);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct ReadWriteLock {
    read: Mutex,
    write: Mutex,
}

impl ReadWriteLock {
    /// The lock of this directory, in Curator's layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::ReadWriteLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lock = ReadWriteLock::new(zk, "/rw-new");
    /// let (a, b) = (lock.read().acquire().await?, lock.read().acquire().await?);
    /// assert!(lock.write().try_acquire().await?.is_none(), "two read, nobody writes");
    /// # drop((a, b));
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, dir: &str) -> ReadWriteLock {
        let keeper = keeper.into();
        let read = Mutex::of(&keeper, dir, Part::Read);
        ReadWriteLock { read, write: Mutex::of(&keeper, dir, Part::Write) }
    }

    /// In another layout. Everybody who uses a directory has to use the same.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Layout, ReadWriteLock};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lock = ReadWriteLock::new(zk, "/rw-kazoo").layout(Layout::Kazoo);
    /// assert!(lock.read().acquire().await?.path().contains("__rlock__"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn layout(self, layout: Layout) -> ReadWriteLock {
        ReadWriteLock { read: self.read.layout(layout), write: self.write.layout(layout) }
    }

    /// What contenders say of themselves.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::ReadWriteLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lock = ReadWriteLock::new(zk, "/rw-who").identity("10.0.0.7");
    /// let reading = lock.read().acquire().await?;
    /// assert_eq!(lock.participants().await?[0].data, b"10.0.0.7");
    /// # drop(reading);
    /// # Ok(())
    /// # });
    /// ```
    pub fn identity(self, data: impl Into<Vec<u8>>) -> ReadWriteLock {
        let data = data.into();
        ReadWriteLock { read: self.read.identity(data.clone()), write: self.write.identity(data) }
    }

    /// To read: acquired like a mutex, and shared with other readers.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::ReadWriteLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lock = ReadWriteLock::new(zk, "/rw-read");
    /// let here = lock.read().acquire().await?;
    /// assert!(lock.read().try_acquire().await?.is_some(), "readers share");
    /// # drop(here);
    /// # Ok(())
    /// # });
    /// ```
    pub fn read(&self) -> &Mutex {
        &self.read
    }

    /// To write: acquired like a mutex, and had alone.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::ReadWriteLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lock = ReadWriteLock::new(zk, "/rw-write");
    /// let writing = lock.write().acquire().await?;
    /// assert!(lock.read().try_acquire().await?.is_none(), "a writer is alone");
    /// writing.release().await?;
    /// # Ok(())
    /// # });
    /// ```
    pub fn write(&self) -> &Mutex {
        &self.write
    }

    /// Makes a writer a reader without anybody else writing in between. The reader's znode has the
    /// writer's number, as in Curator.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::ReadWriteLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lock = ReadWriteLock::new(zk, "/rw-downgrade");
    /// let reading = lock.downgrade(lock.write().acquire().await?).await?;
    /// assert!(lock.write().try_acquire().await?.is_none());
    /// assert!(lock.read().try_acquire().await?.is_some(), "others read as well now");
    /// reading.release().await?;
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses; the writer is released then.
    pub async fn downgrade(&self, writer: Guard) -> Result<Guard, Error> {
        let held = writer.contender();
        let (arena, name) = (held.arena().clone(), held.name().to_owned());
        let digits = name.len().saturating_sub(10);
        let mark = order::mark(arena.layout, &arena.keeper);
        let name = format!("{}{}", order::stem(arena.layout, Part::Read, &mark), &name[digits..]);
        let data = self.read.data();
        let reader =
            Contender::enter_as(&arena, Part::Read, mark, &name, Kind::Ephemeral, data).await?;
        writer.release().await?;
        Ok(Guard::new(reader))
    }

    /// Who has it and who waits, in order.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::ReadWriteLock;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let lock = ReadWriteLock::new(zk, "/rw-all");
    /// let reading = lock.read().acquire().await?;
    /// let all = lock.participants().await?;
    /// assert!(all.len() == 1 && !all[0].exclusive, "one reads");
    /// # drop(reading);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::acquire`].
    pub async fn participants(&self) -> Result<Vec<Participant>, Error> {
        self.write.participants().await
    }
}
