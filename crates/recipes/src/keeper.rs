//! A client as recipes see it: operations that survive a lost connection wherever that can be done
//! without guessing.
//!
//! Reads are asked again until they are answered or the session is over. Deletes of names that are
//! ours alone too: whoever finds them gone has what it wanted. Creates are found again by a unique
//! part of their name (`_c_GUID-`, as Curator's protection), after a `sync`, because the server
//! that we come back to may not have applied yet what the lost one had accepted. What is left, a
//! change of somebody's value, is for each recipe to decide.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::port::{
    Alarm, Asked, Edit, ErrorCode, Failure, Fate, Kind, New, Pending, Port, Standing, Stat,
    TreeWatch, Zxid,
};

/// How often a directory that others remove at the same time is made anew.
const PARENT_TRIES: u32 = 64;
/// The first pause after a failure whose fate is unknown; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// One session, as recipes use it. Cheap to clone. Made from a client by [`From`].
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Counter, Keeper, Mutex};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let keeper = Keeper::from(zk);
/// // Recipes on one keeper share its session.
/// let count = Counter::new(&keeper, "/keeper-count");
/// let guard = Mutex::new(&keeper, "/keeper-lock").acquire().await?;
/// assert_eq!(count.add(1).await?, 1);
/// guard.release().await?;
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct Keeper {
    port: Arc<dyn Port>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("standing", &self.port.standing()).finish()
    }
}

impl From<&Keeper> for Keeper {
    fn from(keeper: &Keeper) -> Keeper {
        keeper.clone()
    }
}

/// A pause that grows.
struct Pause(Duration);

impl Pause {
    async fn take(&mut self, keeper: &Keeper) {
        keeper.sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

impl Keeper {
    /// Recipes on this port.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicUsize, Ordering};
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Barrier, Keeper};
    /// # use oxkeeper_recipes::port::{Alarm, Asked, Edit, New};
    /// # use oxkeeper_recipes::port::{Pending, Port, Standing, Stat, TreeWatch};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// // Counts the znodes that recipes make.
    /// struct Counting(Keeper, Arc<AtomicUsize>);
    /// impl Port for Counting {
    ///     fn create(&self, new: New) -> Asked<(String, Stat)> {
    ///         self.1.fetch_add(1, Ordering::Relaxed);
    ///         self.0.port().create(new)
    ///     }
    ///     // And so on: each passes what it is asked to `self.0.port()`.
    ///     # fn delete(&self, path: &str, version: Option<i32>) -> Asked<()> {
    ///     #     self.0.port().delete(path, version)
    ///     # }
    ///     # fn set(&self, path: &str, data: Vec<u8>, version: Option<i32>) -> Asked<Stat> {
    ///     #     self.0.port().set(path, data, version)
    ///     # }
    ///     # fn get(&self, path: &str) -> Asked<(Vec<u8>, Stat)> { self.0.port().get(path) }
    ///     # fn get_watched(&self, path: &str) -> Asked<(Vec<u8>, Stat, Alarm)> {
    ///     #     self.0.port().get_watched(path)
    ///     # }
    ///     # fn exists_watched(&self, path: &str) -> Asked<(Option<Stat>, Alarm)> {
    ///     #     self.0.port().exists_watched(path)
    ///     # }
    ///     # fn exists(&self, path: &str) -> Asked<Option<Stat>> { self.0.port().exists(path) }
    ///     # fn children(&self, path: &str) -> Asked<Vec<String>> { self.0.port().children(path) }
    ///     # fn children_watched(&self, path: &str) -> Asked<(Vec<String>, Alarm)> {
    ///     #     self.0.port().children_watched(path)
    ///     # }
    ///     # fn multi(&self, edits: Vec<Edit>) -> Asked<Vec<Option<String>>> {
    ///     #     self.0.port().multi(edits)
    ///     # }
    ///     # fn sync(&self, path: &str) -> Asked<()> { self.0.port().sync(path) }
    ///     # fn watch_tree(&self, path: &str) -> Asked<Box<dyn TreeWatch>> {
    ///     #     self.0.port().watch_tree(path)
    ///     # }
    ///     # fn standing(&self) -> Standing { self.0.port().standing() }
    ///     # fn standing_other_than(&self, seen: Standing) -> Pending<Standing> {
    ///     #     self.0.port().standing_other_than(seen)
    ///     # }
    ///     # fn session_id(&self) -> i64 { self.0.port().session_id() }
    ///     # fn now(&self) -> Duration { self.0.port().now() }
    ///     # fn wall_ms(&self) -> i64 { self.0.port().wall_ms() }
    ///     # fn pause(&self, time: Duration) -> Pending<()> { self.0.port().pause(time) }
    ///     # fn spawn(&self, task: Pending<()>) { self.0.port().spawn(task) }
    ///     # fn unique(&self) -> u128 { self.0.port().unique() }
    /// }
    /// let made = Arc::new(AtomicUsize::new(0));
    /// let keeper = Keeper::new(Counting(zk.into(), Arc::clone(&made)));
    /// assert!(Barrier::new(&keeper, "/counted").close().await?);
    /// assert_eq!(made.load(Ordering::Relaxed), 1);
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(port: impl Port) -> Keeper {
        Keeper { port: Arc::new(port) }
    }

    /// The bare operations.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Keeper;
    /// # use oxkeeper_recipes::port::{Kind, New};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let keeper = Keeper::from(zk);
    /// let new = New { path: "/by-hand".into(), data: b"1".to_vec(), kind: Kind::Ephemeral };
    /// let (path, stat) = keeper.port().create(new).await?;
    /// assert_eq!((&*path, stat.data_length), ("/by-hand", 1));
    /// # Ok(())
    /// # });
    /// ```
    pub fn port(&self) -> &dyn Port {
        &*self.port
    }

    pub(crate) fn standing(&self) -> Standing {
        self.port.standing()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.standing() == Standing::Over
    }

    /// Resolves when the session is over.
    pub(crate) async fn over(&self) {
        let mut seen = self.standing();
        while seen != Standing::Over {
            seen = self.port.standing_other_than(seen).await;
        }
    }

    /// Resolves when the server may have ended the session without our hearing of it, or has.
    pub(crate) async fn out_of_touch_too_long(&self) {
        loop {
            let seen = self.standing();
            let changed = self.port.standing_other_than(seen);
            match seen {
                Standing::Over => return,
                Standing::Connected => drop(changed.await),
                Standing::Suspended(until) => {
                    let left = until.saturating_sub(self.port.now());
                    if within(self, left, changed).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    pub(crate) fn sleep(&self, time: Duration) -> Pending<()> {
        self.port.pause(time)
    }

    /// Runs something beside; it ends with the process, or when it is done.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.port.spawn(Box::pin(task));
    }

    /// Asks until there is an answer. For what can be asked twice.
    pub(crate) async fn again<T>(&self, ask: impl Fn(&dyn Port) -> Asked<T>) -> Result<T, Error> {
        let mut pause = Pause(PAUSE_MIN);
        loop {
            match ask(&*self.port).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.session_over => return Err(Error::SessionOver),
                Err(failure) if failure.fate == Fate::Unknown => pause.take(self).await,
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// The same for znodes that may be absent.
    async fn found<T>(&self, ask: impl Fn(&dyn Port) -> Asked<T>) -> Result<Option<T>, Error> {
        match self.again(ask).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.code() == Some(ErrorCode::NO_NODE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Option<(Vec<u8>, Stat)>, Error> {
        self.found(|port| port.get(path)).await
    }

    pub(crate) async fn get_watched(
        &self,
        path: &str,
    ) -> Result<Option<(Vec<u8>, Stat, Alarm)>, Error> {
        self.found(|port| port.get_watched(path)).await
    }

    pub(crate) async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        self.again(|port| port.exists(path)).await
    }

    pub(crate) async fn exists_watched(&self, path: &str) -> Result<(Option<Stat>, Alarm), Error> {
        self.again(|port| port.exists_watched(path)).await
    }

    /// `None` if the znode itself is absent.
    pub(crate) async fn children(&self, path: &str) -> Result<Option<Vec<String>>, Error> {
        self.found(|port| port.children(path)).await
    }

    pub(crate) async fn children_watched(
        &self,
        path: &str,
    ) -> Result<Option<(Vec<String>, Alarm)>, Error> {
        self.found(|port| port.children_watched(path)).await
    }

    pub(crate) async fn sync(&self, path: &str) -> Result<(), Error> {
        self.again(|port| port.sync(path)).await
    }

    pub(crate) async fn watch_tree(&self, path: &str) -> Result<Box<dyn TreeWatch>, Error> {
        self.again(|port| port.watch_tree(path)).await
    }

    /// Deletes a znode whose name nobody else will ever use: false if it was gone.
    ///
    /// One that is gone after a try of ours whose answer got lost was deleted by that.
    pub(crate) async fn delete_own(&self, path: &str) -> Result<bool, Error> {
        let mut pause = Pause(PAUSE_MIN);
        let mut tried = false;
        loop {
            match self.port.delete(path, None).await {
                Ok(_) => return Ok(true),
                Err(failure) if failure.session_over => return Err(Error::SessionOver),
                Err(failure) if failure.fate == Fate::Unknown => {
                    tried = true;
                    pause.take(self).await;
                }
                Err(failure) if failure.code == Some(ErrorCode::NO_NODE) => return Ok(tried),
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Deletes this znode of ours, and no other that may stand under its name when we come back.
    ///
    /// A delete whose answer got lost may have been done, and somebody may have made the next one.
    pub(crate) async fn delete_this(&self, path: &str, own: &Stat) -> Result<(), Error> {
        self.delete_as_seen(path, Some(own.czxid)).await.map(drop)
    }

    /// Deletes what stands under a name that others use as well; false if nothing did.
    ///
    /// The same care as with [`Keeper::delete_this`]: what somebody makes after it is gone stays.
    /// For that it has to be known beforehand, and as of now, which one it is.
    pub(crate) async fn delete_named(&self, path: &str) -> Result<bool, Error> {
        self.sync(path).await?;
        let seen = self.exists(path).await?;
        self.delete_as_seen(path, seen.map(|stat| stat.czxid)).await
    }

    /// Deletes what is there, and asks again only while that is the one that was seen before.
    async fn delete_as_seen(&self, path: &str, seen: Option<Zxid>) -> Result<bool, Error> {
        let mut pause = Pause(PAUSE_MIN);
        let mut tried = false;
        loop {
            match self.port.delete(path, None).await {
                Ok(()) => return Ok(true),
                Err(failure) if failure.session_over => return Err(Error::SessionOver),
                Err(failure) if failure.fate == Fate::Unknown => pause.take(self).await,
                Err(failure) if failure.code == Some(ErrorCode::NO_NODE) => return Ok(tried),
                Err(failure) => return Err(failure.into()),
            }
            tried = true;
            self.sync(path).await?;
            let found = self.exists(path).await?.map(|stat| stat.czxid);
            if found.is_none() || found != seen {
                return Ok(seen.is_some());
            }
        }
    }

    /// Makes a directory and all above it that is missing: containers where the server knows them.
    pub(crate) async fn ensure(&self, dir: &str, kind: Kind) -> Result<(), Error> {
        let mut missing: Vec<&str> = Vec::new();
        let above = |path: &str| path.rfind('/').filter(|at| *at > 0);
        let mut path = dir;
        while path != "/" && self.exists(path).await?.is_none() {
            missing.push(path);
            match above(path) {
                Some(at) => path = &path[..at],
                None => break,
            }
        }
        while let Some(path) = missing.pop() {
            self.ensure_one(path, kind).await?;
        }
        Ok(())
    }

    async fn ensure_one(&self, path: &str, kind: Kind) -> Result<(), Error> {
        let mut kind = kind;
        loop {
            let new = New { path: path.to_owned(), data: Vec::new(), kind };
            match self.again(|port| port.create(new.clone())).await {
                Ok(_) => return Ok(()),
                Err(error) => match error.code() {
                    // There already, or its parent went again: who needs it will come back.
                    Some(ErrorCode::NODE_EXISTS | ErrorCode::NO_NODE) => return Ok(()),
                    Some(ErrorCode::UNIMPLEMENTED) if kind == Kind::Container => {
                        kind = Kind::Persistent;
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// Makes a znode whose name begins with something unique, `mark`, and makes the directory
    /// above it as `parents` if that is missing. Returns its name and stat.
    pub(crate) async fn create_marked(
        &self,
        dir: &str,
        mark: &str,
        new: &New,
        parents: Kind,
    ) -> Result<(String, Stat), Error> {
        let mut pause = Pause(PAUSE_MIN);
        let mut tries = 0;
        loop {
            let failure = match self.port.create(new.clone()).await {
                Ok((path, stat)) => return Ok((name_of(&path).to_owned(), stat)),
                Err(failure) => failure,
            };
            if failure.session_over {
                return Err(Error::SessionOver);
            } else if failure.is(ErrorCode::NO_NODE) && tries < PARENT_TRIES {
                tries += 1;
                self.ensure(dir, parents).await?;
            } else if failure.fate == Fate::Unknown || failure.is(ErrorCode::NODE_EXISTS) {
                if let Some(found) = self.find_marked(dir, mark).await? {
                    return Ok(found);
                }
                if failure.fate != Fate::Unknown {
                    return Err(failure.into());
                }
                pause.take(self).await;
            } else {
                return Err(failure.into());
            }
        }
    }

    /// The child that begins with `mark`, as of now.
    pub(crate) async fn find_marked(
        &self,
        dir: &str,
        mark: &str,
    ) -> Result<Option<(String, Stat)>, Error> {
        self.sync(dir).await?;
        let names = self.children(dir).await?.unwrap_or_default();
        let Some(name) = names.into_iter().find(|name| name.starts_with(mark)) else {
            return Ok(None);
        };
        Ok(self.exists(&join(dir, &name)).await?.map(|stat| (name, stat)))
    }

    /// Makes a znode that everybody makes alike: false if it was there. After an unknown outcome
    /// "there" may mean by us.
    pub(crate) async fn create_shared(&self, new: &New, parents: Kind) -> Result<bool, Error> {
        for _ in 0..PARENT_TRIES {
            match self.again(|port| port.create(new.clone())).await {
                Ok(_) => return Ok(true),
                Err(error) => match error.code() {
                    Some(ErrorCode::NODE_EXISTS) => return Ok(false),
                    Some(ErrorCode::NO_NODE) => self.ensure(parent_of(&new.path), parents).await?,
                    _ => return Err(error),
                },
            }
        }
        Err(Error::Contended { path: new.path.clone(), tries: PARENT_TRIES })
    }

    /// A multi, its fate as the client knows it.
    pub(crate) async fn multi(&self, edits: Vec<Edit>) -> Result<Vec<Option<String>>, Failure> {
        self.port.multi(edits).await
    }

    /// 32 hexadecimal digits that nobody else has (kazoo's `uuid4().hex`).
    pub(crate) fn hex(&self) -> String {
        format!("{:032x}", self.port.unique())
    }

    /// The same as Java writes a UUID.
    pub(crate) fn uuid(&self) -> String {
        let hex = self.hex();
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        parts.join("-")
    }
}

/// Races a future against the clock; `None` if the clock won.
pub(crate) async fn within<T>(
    keeper: &Keeper,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = keeper.sleep(limit) => None,
    }
}

/// A child's path.
pub(crate) fn join(dir: &str, name: &str) -> String {
    if dir == "/" { format!("/{name}") } else { format!("{dir}/{name}") }
}

/// What follows the last slash.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What is before the last slash; the root for what has none above it.
pub(crate) fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(at) if at > 0 => &path[..at],
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_and_part_at_the_root_too() {
        assert_eq!((join("/", "a"), join("/a", "b")), ("/a".into(), "/a/b".into()));
        assert_eq!((parent_of("/a"), parent_of("/a/b"), name_of("/a/b")), ("/", "/a", "b"));
    }
}
