//! A queue whose items stay until the work on them is done.

use crate::contender::Token;
use crate::error::Error;
use crate::keeper::{Keeper, join};
use crate::order::Layout;
use crate::port::{Edit, ErrorCode, Failure, Fate, Kind, New};
use crate::queue::items::{Names, PRIORITY};

/// A queue of claims (kazoo's `LockingQueue`, Curator's `DistributedQueue` with a lock path).
///
/// An item is claimed with an ephemeral znode, worked on, and consumed with its claim in one
/// transaction. A consumer whose session ends loses its claim, and another takes the item over.
///
/// # Guarantees
/// - Of those whose session is alive one has an item.
/// - An item is consumed once: [`Claim::consume`] says true to one consumer.
/// - Nothing is lost: an item stays until it is consumed.
///
/// # What it does not guarantee
/// Work is begun *at least* once: a consumer that was frozen may still be at it when the next
/// begins. It is then told by `consume`, which is false. The [token](Claim::token) tells the two
/// apart for whatever they work on.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::LockingQueue;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let queue = LockingQueue::new(zk, "/queues/orders");
/// queue.put(b"order 17").await?;
/// let claim = queue.claim().await?;
/// println!("{} bytes, token {}", claim.data().len(), claim.token());
/// assert!(claim.consume().await?, "it was ours to the end");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct LockingQueue {
    keeper: Keeper,
    items: String,
    claims: String,
    names: Names,
}

/// An item that is ours for as long as the session lives; dropped, it is given back beside.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Claim, LockingQueue};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let queue = LockingQueue::new(zk, "/claim");
/// queue.put(b"order 17").await?;
/// drop(queue.claim().await?); // given back: a claim that is not consumed is nobody's
/// let claim: Claim = queue.claim().await?;
/// assert_eq!(claim.data(), b"order 17");
/// assert!(claim.consume().await?);
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct Claim {
    queue: LockingQueue,
    name: String,
    /// The data of the claim's znode, of this claim alone.
    id: String,
    parts: Vec<Vec<u8>>,
    /// The item's version with our claim counted.
    version: i32,
    token: Token,
    settled: bool,
}

/// The version of a claim of ours. kazoo's and Curator's have 0, so ours are not taken for theirs.
const CLAIM_VERSION: i32 = 1;

impl LockingQueue {
    /// The queue below this path in kazoo's layout: items in `entries`, claims in `taken`.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claims-new");
    /// queue.put(b"order 17").await?;
    /// assert_eq!(zk.children("/claims-new/entries").await?.len(), 1);
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, path: &str) -> LockingQueue {
        let (items, claims) = (join(path, "entries"), join(path, "taken"));
        LockingQueue::of(keeper.into(), items, claims, Names::KazooPriority)
    }

    /// The queue of this directory in Curator's layout, claims in another directory.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::curator(zk, "/claims-curator", "/claims-curator-locks");
    /// queue.put(b"order 17").await?;
    /// let claim = queue.claim().await?;
    /// assert_eq!(zk.children("/claims-curator-locks").await?.len(), 1);
    /// claim.consume().await?;
    /// # Ok(())
    /// # });
    /// ```
    pub fn curator(keeper: impl Into<Keeper>, dir: &str, lock_dir: &str) -> LockingQueue {
        LockingQueue::of(keeper.into(), dir.to_owned(), lock_dir.to_owned(), Names::Curator)
    }

    fn of(keeper: Keeper, items: String, claims: String, names: Names) -> LockingQueue {
        LockingQueue { keeper, items, claims, names }
    }

    fn layout(&self) -> Layout {
        if self.names == Names::Curator { Layout::Curator } else { Layout::Kazoo }
    }

    /// Puts an item at the end.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claims-put");
    /// queue.put(b"first").await?;
    /// queue.put(b"second").await?;
    /// assert_eq!(queue.claim().await?.data(), b"first");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, the outcome is unknown, or the server refuses.
    pub async fn put(&self, data: &[u8]) -> Result<(), Error> {
        self.put_with(data, PRIORITY).await
    }

    /// Puts an item with a priority from 0, first, to 999. Curator's layout has none.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claims-priority");
    /// queue.put(b"some time").await?; // 100
    /// queue.put_with(b"now", 0).await?;
    /// assert_eq!(queue.claim().await?.data(), b"now");
    /// assert!(queue.put_with(b"beyond the layout", 1000).await.is_err());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`LockingQueue::put`].
    pub async fn put_with(&self, data: &[u8], priority: i32) -> Result<(), Error> {
        let path = join(&self.items, &self.names.stem(priority, 0)?);
        let new = New { path: path.clone(), data: self.names.pack(data), kind: Kind::Sequential };
        loop {
            match self.keeper.port().create(new.clone()).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.session_over => return Err(Error::SessionOver),
                Err(failure) if failure.is(ErrorCode::NO_NODE) => self.ensure().await?,
                Err(failure) if failure.fate == Fate::Unknown => {
                    return Err(Error::Unsure { path });
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    async fn ensure(&self) -> Result<(), Error> {
        // Not containers: an empty queue is still a queue, and a claim needs its directory.
        self.keeper.ensure(&self.items, Kind::Persistent).await?;
        self.keeper.ensure(&self.claims, Kind::Persistent).await
    }

    /// Waits for an item that nobody has and claims it. Cancellation is safe.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claims-claim");
    /// // It waits for what is put later.
    /// let (claim, put) = tokio::join!(queue.claim(), queue.put(b"order 17"));
    /// put?;
    /// assert!(claim?.consume().await?);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, an item cannot be read, or the server refuses.
    pub async fn claim(&self) -> Result<Claim, Error> {
        loop {
            if let Some(claim) = self.try_claim().await? {
                return Ok(claim);
            }
            let items = self.keeper.children_watched(&self.items).await?;
            let claims = self.keeper.children_watched(&self.claims).await?;
            let (Some((items, put)), Some((claims, freed))) = (items, claims) else {
                self.ensure().await?;
                continue;
            };
            if self.free(items, &claims).is_empty() {
                tokio::select! {
                    biased;
                    () = put => {}
                    () = freed => {}
                }
            }
        }
    }

    /// Claims an item if one is free.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claims-try");
    /// queue.put(b"order 17").await?;
    /// let claim = queue.try_claim().await?.expect("an item");
    /// assert!(queue.try_claim().await?.is_none(), "it is claimed");
    /// claim.consume().await?;
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`LockingQueue::claim`].
    pub async fn try_claim(&self) -> Result<Option<Claim>, Error> {
        let claims = self.keeper.children(&self.claims).await?.unwrap_or_default();
        let items = self.keeper.children(&self.items).await?.unwrap_or_default();
        for name in self.free(items, &claims) {
            if let Some(claim) = self.claim_one(name).await? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    /// What nobody has, in order.
    fn free(&self, items: Vec<String>, claims: &[String]) -> Vec<String> {
        let all = self.names.in_order(items).into_iter().map(|entry| entry.name);
        all.filter(|name| !claims.contains(name)).collect()
    }

    async fn claim_one(&self, name: String) -> Result<Option<Claim>, Error> {
        let (item, mark) = (join(&self.items, &name), join(&self.claims, &name));
        let Some((data, stat)) = self.keeper.get(&item).await? else { return Ok(None) };
        let parts = self.names.unpack(&item, data.clone())?;
        // Whatever becomes of the request, dropping this takes the claim back.
        let mut claim = Claim {
            queue: self.clone(),
            name,
            id: self.keeper.hex(),
            parts,
            version: stat.version.wrapping_add(1),
            token: Token(0),
            settled: false,
        };
        let id = claim.id.clone().into_bytes();
        let new = New { path: mark.clone(), data: id.clone(), kind: Kind::Ephemeral };
        // Setting the item anew counts its claims: who comes back too late meets another version.
        let edits = vec![
            Edit::Create(new),
            Edit::Set(mark.clone(), id.clone(), Some(0)),
            Edit::Set(item, data, Some(stat.version)),
        ];
        if let Err(failure) = self.keeper.multi(edits).await
            && !self.is_claimed_by_us(&mut claim, &failure, &mark).await?
        {
            return Ok(None);
        }
        match self.keeper.exists(&mark).await? {
            Some(stat) => claim.token = stat.czxid.into(),
            // Taken away before we saw it, or the session is over and we have not heard of it.
            None => {
                claim.settled = true;
                return Ok(None);
            }
        }
        Ok(Some(claim))
    }

    /// After a failure: whether it is ours all the same. An error is for the user.
    async fn is_claimed_by_us(
        &self,
        claim: &mut Claim,
        failure: &Failure,
        mark: &str,
    ) -> Result<bool, Error> {
        if failure.session_over {
            claim.settled = true;
            return Err(Error::SessionOver);
        }
        if failure.fate == Fate::Unknown {
            self.keeper.sync(mark).await?;
            let found = self.keeper.get(mark).await?;
            let ours = found.is_some_and(|(data, _)| data == claim.id.as_bytes());
            claim.settled = !ours;
            return Ok(ours);
        }
        claim.settled = true;
        match failure.code {
            Some(ErrorCode::NODE_EXISTS | ErrorCode::BAD_VERSION) => Ok(false),
            Some(ErrorCode::NO_NODE) => {
                self.ensure().await?;
                Ok(false)
            }
            _ => Err(failure.clone().into()),
        }
    }

    /// Items in it, claimed ones too.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claims-len");
    /// queue.put(b"order 17").await?;
    /// let claim = queue.claim().await?;
    /// assert_eq!(queue.len().await?, 1, "claimed ones count");
    /// claim.consume().await?;
    /// assert_eq!(queue.len().await?, 0);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn len(&self) -> Result<usize, Error> {
        let items = self.keeper.children(&self.items).await?.unwrap_or_default();
        Ok(self.names.in_order(items).len())
    }

    /// True if there is none.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claims-empty");
    /// assert!(queue.is_empty().await?);
    /// queue.put(b"order 17").await?;
    /// assert!(!queue.is_empty().await?);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// The layout that the claims follow.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Layout, LockingQueue};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// assert_eq!(LockingQueue::new(zk, "/claims-kazoo").claims_layout(), Layout::Kazoo);
    /// let curator = LockingQueue::curator(zk, "/claims", "/locks");
    /// assert_eq!(curator.claims_layout(), Layout::Curator);
    /// # Ok(())
    /// # });
    /// ```
    pub fn claims_layout(&self) -> Layout {
        self.layout()
    }
}

impl Claim {
    /// The item; of several parts, all of them one after another.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claim-data");
    /// queue.put(b"order 17").await?;
    /// assert_eq!(queue.claim().await?.data(), b"order 17");
    /// # Ok(())
    /// # });
    /// ```
    pub fn data(&self) -> Vec<u8> {
        self.parts.concat()
    }

    /// The parts of the item; only Curator's layout can hold more or less than one.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::curator(zk, "/claim-parts", "/claim-parts-locks");
    /// queue.put(b"order 17").await?;
    /// assert_eq!(queue.claim().await?.parts(), [b"order 17".to_vec()]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn parts(&self) -> &[Vec<u8>] {
        &self.parts
    }

    /// Greater with every claim.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claim-token");
    /// queue.put(b"order 17").await?;
    /// let first = queue.claim().await?;
    /// let older = first.token();
    /// first.release().await?;
    /// assert!(queue.claim().await?.token() > older);
    /// # Ok(())
    /// # });
    /// ```
    pub fn token(&self) -> Token {
        self.token
    }

    fn item(&self) -> String {
        join(&self.queue.items, &self.name)
    }

    fn mark(&self) -> String {
        join(&self.queue.claims, &self.name)
    }

    /// The first operations of a multi that must only happen while this is ours.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Keeper, LockingQueue};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let queue = LockingQueue::new(zk, "/claim-check");
    /// queue.put(b"order 17").await?;
    /// let claim = queue.claim().await?;
    /// let checks = claim.check();
    /// port.multi(checks.clone()).await?;
    /// claim.release().await?;
    /// assert!(port.multi(checks).await.is_err(), "it is not ours any more");
    /// # Ok(())
    /// # });
    /// ```
    pub fn check(&self) -> Vec<Edit> {
        vec![
            Edit::Check(self.mark(), Some(CLAIM_VERSION)),
            Edit::Check(self.item(), Some(self.version)),
        ]
    }

    /// The item is done: takes it out of the queue. False if the claim had been lost: another has
    /// it, or has done it.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claim-consume");
    /// queue.put(b"order 17").await?;
    /// assert!(queue.claim().await?.consume().await?);
    /// assert!(queue.is_empty().await?);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, and the claim with it; or the server refuses.
    pub async fn consume(mut self) -> Result<bool, Error> {
        loop {
            let edits = vec![
                Edit::Delete(self.mark(), Some(CLAIM_VERSION)),
                Edit::Delete(self.item(), Some(self.version)),
            ];
            let Err(failure) = self.queue.keeper.multi(edits).await else {
                self.settled = true;
                return Ok(true);
            };
            if failure.session_over {
                self.settled = true;
                return Err(Error::SessionOver);
            } else if failure.fate == Fate::Unknown {
                let keeper = self.queue.keeper.clone();
                keeper.sync(&self.item()).await?;
                // While the session lives we alone take the claim away, and only with the item.
                if keeper.exists(&self.mark()).await?.is_none() {
                    self.settled = true;
                    return Ok(keeper.exists(&self.item()).await?.is_none());
                }
            } else {
                return match failure.code {
                    Some(ErrorCode::NO_NODE | ErrorCode::BAD_VERSION) => {
                        self.settled = true;
                        Ok(false)
                    }
                    _ => Err(failure.into()),
                };
            }
        }
    }

    /// Gives the item back for others.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::LockingQueue;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let queue = LockingQueue::new(zk, "/claim-release");
    /// queue.put(b"order 17").await?;
    /// queue.claim().await?.release().await?;
    /// assert!(queue.try_claim().await?.is_some(), "others may have it");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, which has given it back too.
    pub async fn release(mut self) -> Result<(), Error> {
        self.settled = true;
        give_back(&self.queue.keeper, &self.mark(), &self.id).await
    }
}

/// Deletes a claim if it is ours.
async fn give_back(keeper: &Keeper, mark: &str, id: &str) -> Result<(), Error> {
    keeper.sync(mark).await?;
    match keeper.get(mark).await? {
        // Not by its name alone: others have claims under the same.
        Some((data, stat)) if data == id.as_bytes() => keeper.delete_this(mark, &stat).await,
        _ => Ok(()),
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            let (keeper, mark) = (self.queue.keeper.clone(), self.mark());
            let id = std::mem::take(&mut self.id);
            self.queue.keeper.spawn(async move {
                // An error means that the session is over, and the claim gone with it.
                let _ = give_back(&keeper, &mark, &id).await;
            });
        }
    }
}
