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
/// reading.release().await?;
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
    pub fn new(keeper: impl Into<Keeper>, dir: &str) -> ReadWriteLock {
        let keeper = keeper.into();
        let read = Mutex::of(&keeper, dir, Part::Read);
        ReadWriteLock { read, write: Mutex::of(&keeper, dir, Part::Write) }
    }

    /// In another layout. Everybody who uses a directory has to use the same.
    pub fn layout(self, layout: Layout) -> ReadWriteLock {
        ReadWriteLock { read: self.read.layout(layout), write: self.write.layout(layout) }
    }

    /// What contenders say of themselves.
    pub fn identity(self, data: impl Into<Vec<u8>>) -> ReadWriteLock {
        let data = data.into();
        ReadWriteLock { read: self.read.identity(data.clone()), write: self.write.identity(data) }
    }

    /// To read: acquired like a mutex, and shared with other readers.
    pub fn read(&self) -> &Mutex {
        &self.read
    }

    /// To write: acquired like a mutex, and had alone.
    pub fn write(&self) -> &Mutex {
        &self.write
    }

    /// Makes a writer a reader without anybody else writing in between. The reader's znode has the
    /// writer's number, as in Curator.
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
    /// # Errors
    /// As [`Mutex::acquire`].
    pub async fn participants(&self) -> Result<Vec<Participant>, Error> {
        self.write.participants().await
    }
}
