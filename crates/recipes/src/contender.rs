//! One contender in a directory: it enters, waits for its turn, and leaves, dropped or not.
//!
//! Locks, elections and semaphores are this with different names. The znode is ephemeral and
//! sequential; its `czxid` is the *fencing token*. Who comes later has a greater one, so whatever
//! is protected can refuse a token that is lower than one it has seen, and thereby an owner that
//! was frozen for longer than its session lived and does not know it yet.

use std::time::Duration;

use crate::error::Error;
use crate::keeper::{Keeper, join};
use crate::order::{self, Layout, Part, Turn};
use crate::port::{Edit, Kind, New, Standing, Zxid};

/// Data that asks an owner to give up (`LockInternals.REVOKE_MESSAGE`).
pub(crate) const REVOKE: &[u8] = b"__REVOKE__";

/// The transaction that made an owner's znode: greater with every acquisition, of everybody, for as
/// long as the ensemble lives. Hand it to what is protected and have it refuse lower ones.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Mutex, Token};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mutex = Mutex::new(zk, "/token");
/// let first = mutex.acquire().await?;
/// let older: Token = first.token();
/// first.release().await?;
/// assert!(mutex.acquire().await?.token() > older, "who comes later has a greater one");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub i64);

impl From<Zxid> for Token {
    fn from(czxid: Zxid) -> Token {
        Token(czxid.0)
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What is known of something held.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Hold, Mutex};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let guard = Mutex::new(zk, "/hold").acquire().await?;
/// assert_eq!(guard.hold(), Hold::Held);
/// zk.close().await;
/// guard.lost().await;
/// assert_eq!(guard.hold(), Hold::Lost);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// In touch with a server, so held as far as anyone can know here.
    Held,
    /// Out of touch. It is held for at least so much longer, and perhaps not beyond.
    Suspended(Duration),
    /// Lost.
    Lost,
}

/// Where contenders meet.
#[derive(Debug, Clone)]
pub(crate) struct Arena {
    pub keeper: Keeper,
    pub dir: String,
    pub layout: Layout,
}

impl Arena {
    /// Everybody there, in order.
    pub(crate) async fn lineup(&self, part: Part) -> Result<Vec<order::Contestant>, Error> {
        let names = self.keeper.children(&self.dir).await?.unwrap_or_default();
        order::lineup(self.layout, part, &self.dir, names)
    }

    /// Who they are, in order.
    pub(crate) async fn participants(&self, part: Part) -> Result<Vec<Participant>, Error> {
        let mut all = Vec::new();
        for other in self.lineup(part).await? {
            let path = join(&self.dir, &other.name);
            if let Some((data, stat)) = self.keeper.get(&path).await? {
                all.push(Participant {
                    path,
                    data,
                    token: stat.czxid.into(),
                    exclusive: other.part != Part::Read,
                });
            }
        }
        Ok(all)
    }
}

/// Somebody who has or waits for something.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Mutex, Participant};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mutex = Mutex::new(zk, "/participant").identity("10.0.0.7");
/// let guard = mutex.acquire().await?;
/// let owner: &Participant = &mutex.participants().await?[0];
/// assert_eq!((&owner.path, owner.token), (&guard.path(), guard.token()));
/// assert!(owner.exclusive && owner.data == b"10.0.0.7");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Its znode.
    pub path: String,
    /// What it says of itself.
    pub data: Vec<u8>,
    /// Its fencing token, once it is its turn.
    pub token: Token,
    /// False for a reader.
    pub exclusive: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Contender {
    arena: Arena,
    part: Part,
    /// The unique beginning of the name.
    mark: String,
    /// The name, once known, and the token.
    seat: Option<(String, Token)>,
    /// There is nothing of it in the tree.
    left: bool,
}

impl Contender {
    /// Makes a contender's znode, numbered by the directory.
    pub(crate) async fn enter(arena: &Arena, part: Part, data: &[u8]) -> Result<Contender, Error> {
        let mark = order::mark(arena.layout, &arena.keeper);
        let name = order::stem(arena.layout, part, &mark);
        Contender::enter_as(arena, part, mark, &name, Kind::EphemeralSequential, data).await
    }

    /// The same under a name that begins with the unique `mark`.
    pub(crate) async fn enter_as(
        arena: &Arena,
        part: Part,
        mark: String,
        name: &str,
        kind: Kind,
        data: &[u8],
    ) -> Result<Contender, Error> {
        let new = New { path: join(&arena.dir, name), data: data.to_vec(), kind };
        // Before anything is sent: dropped at any moment from here on, it cleans up behind itself.
        let mut own = Contender { arena: arena.clone(), part, mark, seat: None, left: false };
        let parents = arena.layout.parents();
        match arena.keeper.create_marked(&arena.dir, &own.mark, &new, parents).await {
            Ok((name, stat)) => {
                own.seat = Some((name, stat.czxid.into()));
                Ok(own)
            }
            Err(error) => {
                // Only an ended session is sure to leave nothing; else dropping looks after it.
                own.left = error.is_session_over();
                Err(error)
            }
        }
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.arena.keeper
    }

    /// The name and the token; both are there from `enter` on.
    fn seat(&self) -> (&str, Token) {
        match &self.seat {
            Some((name, token)) => (name, *token),
            None => unreachable!("a contender that has entered has a name"),
        }
    }

    pub(crate) fn token(&self) -> Token {
        self.seat().1
    }

    pub(crate) fn name(&self) -> &str {
        self.seat().0
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.arena
    }

    pub(crate) fn path(&self) -> String {
        join(&self.arena.dir, self.seat().0)
    }

    /// For a multi: only while this znode is there.
    pub(crate) fn check(&self) -> Edit {
        Edit::Check(self.path(), None)
    }

    /// Where it stands now.
    pub(crate) async fn turn(&self) -> Result<Turn, Error> {
        let all = self.arena.lineup(self.part).await?;
        Ok(order::turn(&all, self.seat().0))
    }

    /// Resolves when it is its turn.
    ///
    /// # Errors
    /// Its znode was deleted, a foreign name, or the session is over.
    pub(crate) async fn wait(&self) -> Result<(), Error> {
        loop {
            match self.turn().await? {
                Turn::Held => return Ok(()),
                Turn::Absent => return Err(Error::Gone { path: self.path() }),
                Turn::Behind(other) => {
                    // Not a watch on its existence: that would stay behind if it is gone already.
                    let other = join(&self.arena.dir, &other);
                    if let Some((_, _, alarm)) = self.keeper().get_watched(&other).await? {
                        alarm.await;
                    }
                }
            }
        }
    }

    /// Resolves when the znode is gone, or the session over.
    pub(crate) async fn lost(&self) {
        let path = self.path();
        loop {
            match self.keeper().exists_watched(&path).await {
                Ok((Some(_), alarm)) => {
                    tokio::select! {
                        biased;
                        () = self.keeper().over() => return,
                        () = alarm => {}
                    }
                }
                Ok((None, _)) | Err(_) => return,
            }
        }
    }

    /// Resolves when it is lost, or when it could be: out of touch for as long as the server may
    /// keep the session.
    pub(crate) async fn lapsed(&self) {
        tokio::select! {
            biased;
            () = self.lost() => {}
            () = self.keeper().out_of_touch_too_long() => {}
        }
    }

    /// Resolves when somebody asks it to give up, or it is lost.
    pub(crate) async fn revoked(&self) {
        let path = self.path();
        loop {
            match self.keeper().get_watched(&path).await {
                Ok(Some((data, _, _))) if data == REVOKE => return,
                Ok(Some((_, _, alarm))) => {
                    tokio::select! {
                        biased;
                        () = self.keeper().over() => return,
                        () = alarm => {}
                    }
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    pub(crate) fn hold(&self) -> Hold {
        match self.keeper().standing() {
            Standing::Connected => Hold::Held,
            Standing::Suspended(until) => {
                Hold::Suspended(until.saturating_sub(self.keeper().port().now()))
            }
            Standing::Over => Hold::Lost,
        }
    }

    /// Deletes the znode; false if it was gone.
    pub(crate) async fn leave(mut self) -> Result<bool, Error> {
        let path = self.path();
        let was_there = self.keeper().delete_own(&path).await?;
        self.left = true;
        Ok(was_there)
    }
}

impl Drop for Contender {
    /// What was not left is left beside, whatever it takes, until the session is over.
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let Arena { keeper, dir, .. } = self.arena.clone();
        let (mark, seat) = (std::mem::take(&mut self.mark), self.seat.take());
        self.arena.keeper.spawn(async move {
            let name = match seat {
                Some((name, _)) => Some(name),
                // The create may be on its way: looking comes after it in the session's order.
                None => match keeper.find_marked(&dir, &mark).await {
                    Ok(found) => found.map(|(name, _)| name),
                    Err(_) => None,
                },
            };
            if let Some(name) = name {
                // An error means that the session is over, and the znode gone with it.
                let _ = keeper.delete_own(&join(&dir, &name)).await;
            }
        });
    }
}
