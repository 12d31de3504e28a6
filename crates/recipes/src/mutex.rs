//! A lock that one at a time holds, in the whole cluster.

use std::sync::Arc;
use std::time::Duration;

use crate::contender::{Arena, Contender, Hold, Participant, REVOKE, Token};
use crate::error::Error;
use crate::keeper::{Keeper, within};
use crate::order::{Layout, Part, Turn};
use crate::port::{Edit, ErrorCode};

/// A fair mutex (`InterProcessMutex`, kazoo's `Lock`).
///
/// # Guarantees
/// - Of those whose session is alive, one holds it, in the order in which they asked.
/// - The [token](Guard::token) grows with every acquisition, whoever acquires.
/// - An `acquire` that is dropped, times out or fails leaves nothing behind.
/// - A lost connection alone loses nothing; waiting goes on when it is back.
///
/// # What it does not guarantee
/// Nobody can be told in time that its session has expired. A process that was frozen goes on
/// believing that it holds the lock, for as long as it takes it to look. Whatever must never be
/// done by two at once has to check the token: [`Guard::check`] does so for writes to the tree, and
/// what lies elsewhere can refuse a token lower than the last.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Mutex;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mutex = Mutex::new(zk, "/locks/report");
/// let guard = mutex.acquire().await?;
/// println!("writing the report, token {}", guard.token());
/// assert!(guard.release().await?, "it was ours to the end");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Mutex {
    arena: Arena,
    part: Part,
    data: Vec<u8>,
}

impl Mutex {
    /// The mutex of this directory, in Curator's layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let guard = Mutex::new(zk, "/mutex-new").acquire().await?;
    /// assert!(guard.path().starts_with("/mutex-new/_c_") && guard.path().contains("-lock-"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, dir: &str) -> Mutex {
        Mutex::of(keeper, dir, Part::Mutex)
    }

    pub(crate) fn of(keeper: impl Into<Keeper>, dir: &str, part: Part) -> Mutex {
        let (keeper, dir, layout) = (keeper.into(), dir.to_owned(), Layout::default());
        Mutex { arena: Arena { keeper, dir, layout }, part, data: Vec::new() }
    }

    pub(crate) fn dir(&self) -> &str {
        &self.arena.dir
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// In another layout. Everybody who uses a directory has to use the same.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Error, Layout, Mutex};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let guard = Mutex::new(zk, "/mutex-kazoo").layout(Layout::Kazoo).acquire().await?;
    /// assert!(guard.path().contains("__lock__"));
    /// // Whoever comes with another layout is told.
    /// let foreign = Mutex::new(other, "/mutex-kazoo").acquire().await;
    /// assert!(matches!(foreign, Err(Error::Foreign { .. })));
    /// # drop(guard);
    /// # Ok(())
    /// # });
    /// ```
    pub fn layout(mut self, layout: Layout) -> Mutex {
        self.arena.layout = layout;
        self
    }

    /// What contenders say of themselves, for [`Mutex::participants`] (kazoo's `identifier`).
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mutex = Mutex::new(zk, "/mutex-who").identity("10.0.0.7");
    /// let guard = mutex.acquire().await?;
    /// assert_eq!(mutex.participants().await?[0].data, b"10.0.0.7");
    /// # drop(guard);
    /// # Ok(())
    /// # });
    /// ```
    pub fn identity(mut self, data: impl Into<Vec<u8>>) -> Mutex {
        self.data = data.into();
        self
    }

    /// Waits until it is ours. Cancellation is safe.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Mutex, Token};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let first = Mutex::new(zk, "/mutex-acquire").acquire().await?;
    /// let waiting = Mutex::new(other, "/mutex-acquire");
    /// let (second, released) = tokio::join!(waiting.acquire(), first.release());
    /// assert!(released? && second?.token() > Token(0));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, a foreign name, or the server refuses.
    pub async fn acquire(&self) -> Result<Guard, Error> {
        loop {
            let contender = Contender::enter(&self.arena, self.part, &self.data).await?;
            match contender.wait().await {
                Ok(()) => return Ok(Guard::new(contender)),
                // Deleted by hand while it waited: it stands in line again, at the end.
                Err(Error::Gone { .. }) if !self.arena.keeper.is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The same, for at most so long: `None` if it did not come to it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mutex = Mutex::new(zk, "/mutex-within");
    /// let held = mutex.acquire().await?;
    /// let late = mutex.acquire_within(Duration::from_millis(20)).await?;
    /// assert!(late.is_none(), "held, if only by us: to enter once more, clone the guard");
    /// # drop(held);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::acquire`].
    pub async fn acquire_within(&self, limit: Duration) -> Result<Option<Guard>, Error> {
        within(&self.arena.keeper, limit, self.acquire()).await.transpose()
    }

    /// Takes it if it is free: `None` if not. Never waits for others.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mutex = Mutex::new(zk, "/mutex-try");
    /// let held = mutex.try_acquire().await?.expect("free");
    /// assert!(mutex.try_acquire().await?.is_none());
    /// held.release().await?;
    /// assert!(mutex.try_acquire().await?.is_some());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::acquire`].
    pub async fn try_acquire(&self) -> Result<Option<Guard>, Error> {
        let contender = Contender::enter(&self.arena, self.part, &self.data).await?;
        match contender.turn().await? {
            Turn::Held => Ok(Some(Guard::new(contender))),
            Turn::Behind(_) | Turn::Absent => {
                contender.leave().await?;
                Ok(None)
            }
        }
    }

    /// Who has it and who waits, in order.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mutex = Mutex::new(zk, "/mutex-all");
    /// assert!(mutex.participants().await?.is_empty());
    /// let guard = mutex.acquire().await?;
    /// assert_eq!(mutex.participants().await?[0].path, guard.path(), "the owner is the first");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::acquire`].
    pub async fn participants(&self) -> Result<Vec<Participant>, Error> {
        self.arena.participants(self.part).await
    }

    /// Asks a participant to give up; whether it does is for it to decide (`Revoker`). Those of
    /// Curator hear it if they are revocable, ours if they look at [`Guard::revoked`], and kazoo's
    /// never. False if it was gone.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let guard = Mutex::new(zk, "/mutex-revoke").acquire().await?;
    /// let mutex = Mutex::new(other, "/mutex-revoke");
    /// let owner = &mutex.participants().await?[0];
    /// assert!(mutex.revoke(owner).await?);
    /// guard.revoked().await; // and lets go, if it wants to
    /// guard.release().await?;
    /// assert!(!mutex.revoke(owner).await?, "it is gone");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Mutex::acquire`].
    pub async fn revoke(&self, participant: &Participant) -> Result<bool, Error> {
        let path = participant.path.as_str();
        let keeper = &self.arena.keeper;
        match keeper.again(|port| port.set(path, REVOKE.to_vec(), None)).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(ErrorCode::NO_NODE) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Something held. Clones are the same hold entered once more (what threads are to Curator, clones
/// are here): it ends when the last is released or dropped.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Guard, Mutex};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mutex = Mutex::new(zk, "/guard");
/// let guard: Guard = mutex.acquire().await?;
/// let again = guard.clone(); // re-entered
/// assert!(!guard.release().await?, "the clone holds it still");
/// assert!(mutex.try_acquire().await?.is_none());
/// assert!(again.release().await?);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Guard {
    held: Arc<Contender>,
}

impl Guard {
    pub(crate) fn new(held: Contender) -> Guard {
        Guard { held: Arc::new(held) }
    }

    pub(crate) fn contender(&self) -> &Contender {
        &self.held
    }

    /// The fencing token.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mutex = Mutex::new(zk, "/guard-token");
    /// let first = mutex.acquire().await?;
    /// let stat = zk.exists(&first.path()).await?.expect("its znode");
    /// assert_eq!(first.token(), stat.czxid.into(), "the transaction that made its znode");
    /// # Ok(())
    /// # });
    /// ```
    pub fn token(&self) -> Token {
        self.held.token()
    }

    /// The znode that stands for it.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let guard = Mutex::new(zk, "/guard-path").acquire().await?;
    /// let stat = zk.exists(&guard.path()).await?.expect("its znode");
    /// assert_eq!(Some(stat.ephemeral_owner), zk.session_id());
    /// # Ok(())
    /// # });
    /// ```
    pub fn path(&self) -> String {
        self.held.path()
    }

    /// What is known of it now, without asking anybody.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Hold, Mutex};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let guard = Mutex::new(zk, "/guard-hold").acquire().await?;
    /// match guard.hold() {
    ///     Hold::Held => {}
    ///     Hold::Suspended(left) => println!("out of touch, ours for {left:?} at least"),
    ///     Hold::Lost => panic!("the session is over"),
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn hold(&self) -> Hold {
        self.held.hold()
    }

    /// The first operation of a multi that must only happen while this is held: true fencing of
    /// everything that is in the tree.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Keeper, Mutex};
    /// # use oxkeeper_recipes::port::{Edit, Kind, New};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let guard = Mutex::new(zk, "/guard-check").acquire().await?;
    /// let mark = |path: &str| {
    ///     Edit::Create(New { path: path.into(), data: vec![], kind: Kind::Ephemeral })
    /// };
    /// port.multi(vec![guard.check(), mark("/guard-check-a")]).await?;
    /// let check = guard.check();
    /// guard.release().await?;
    /// let late = port.multi(vec![check, mark("/guard-check-b")]).await.unwrap_err();
    /// assert_eq!(late.index, Some(0), "the check refuses, and so nothing is written");
    /// # Ok(())
    /// # });
    /// ```
    pub fn check(&self) -> Edit {
        self.held.check()
    }

    /// Resolves when it is lost: the session over, or the znode deleted by somebody. While out of
    /// touch nothing resolves; see [`Guard::hold`].
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let guard = Mutex::new(zk, "/guard-lost").acquire().await?;
    /// let path = guard.path();
    /// let ((), deleted) = tokio::join!(guard.lost(), other.delete(&path).send());
    /// assert!(deleted.is_ok(), "an operator took it away");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn lost(&self) {
        self.held.lost().await;
    }

    /// Resolves when it is lost, or may be: the server keeps a session that is out of touch for so
    /// long and not longer. What must not be done by two should stop here.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let guard = Mutex::new(zk, "/guard-lapsed").acquire().await?;
    /// let work = std::future::pending::<()>();
    /// let ((), stopped) = tokio::join!(async { drop(zk.close().await) }, async {
    ///     tokio::select! {
    ///         () = guard.lapsed() => true,
    ///         () = work => false,
    ///     }
    /// });
    /// assert!(stopped, "work is dropped before somebody else can have the lock");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn lapsed(&self) {
        self.held.lapsed().await;
    }

    /// Resolves when somebody asks for it back, or it is lost.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let guard = Mutex::new(zk, "/guard-revoked").acquire().await?;
    /// let mutex = Mutex::new(other, "/guard-revoked");
    /// let owner = &mutex.participants().await?[0];
    /// let ((), asked) = tokio::join!(guard.revoked(), mutex.revoke(owner));
    /// assert!(asked?);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn revoked(&self) {
        self.held.revoked().await;
    }

    /// Lets go and waits for the server's word. False if a clone holds it still, or if it had been
    /// lost before; not if only the answer was lost: who finds it gone then has let go of it
    /// himself. (A stranger who deleted it while the connection was lost cannot be told from
    /// that; [`Guard::lost`] and [`Guard::check`] tell. Curator's `release` does not tell either.)
    /// A guard that is dropped is released beside.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Mutex;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let mutex = Mutex::new(zk, "/guard-release");
    /// assert!(mutex.acquire().await?.release().await?);
    /// let guard = mutex.acquire().await?;
    /// other.delete(&guard.path()).await?;
    /// assert!(!guard.release().await?, "somebody had taken it away before");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, which has released it too.
    pub async fn release(self) -> Result<bool, Error> {
        match Arc::try_unwrap(self.held) {
            Ok(contender) => contender.leave().await,
            Err(_) => Ok(false),
        }
    }
}
