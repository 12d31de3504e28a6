//! Waiting until a way is free, and for one another.
//!
//! A barrier is a znode that somebody puts into the way of all others. A double barrier is a place
//! where so many begin together and end together; what each has to do to leave is decided by
//! `leaving`, from the names that are there.

use std::time::Duration;

use crate::contender::{Arena, Contender};
use crate::error::Error;
use crate::keeper::{Keeper, join, within};
use crate::order::{Layout, Part};
use crate::port::{Kind, New};

/// A barrier: it is closed while its znode is there (`DistributedBarrier`, kazoo's `Barrier`).
///
/// Whoever waits passes when the barrier is gone, however often the connection is lost meanwhile,
/// and not if it was closed before it came, whichever server that was told.
/// The barrier itself is persistent: it stays when the one who closed it dies.
///
/// ```
/// # use std::time::Duration;
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Barrier;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let barrier = Barrier::new(zk, "/migration");
/// barrier.close().await?;
/// assert!(!barrier.passed_within(Duration::from_millis(20)).await?);
/// barrier.open().await?;
/// barrier.passed().await?;
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Barrier {
    keeper: Keeper,
    path: String,
}

impl Barrier {
    /// The barrier that is this znode.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Barrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let barrier = Barrier::new(zk, "/barrier-new");
    /// barrier.passed().await?; // open
    /// assert!(zk.exists("/barrier-new").await?.is_none(), "nobody has closed it yet");
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, path: &str) -> Barrier {
        Barrier { keeper: keeper.into(), path: path.to_owned() }
    }

    /// Closes it; false if it was closed.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Barrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let barrier = Barrier::new(zk, "/barrier-close");
    /// assert!(barrier.close().await?);
    /// assert!(!barrier.close().await?, "it was closed before");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn close(&self) -> Result<bool, Error> {
        let path = self.path.clone();
        let new = New { path, data: Vec::new(), kind: Kind::Persistent };
        self.keeper.create_shared(&new, Kind::Container).await
    }

    /// Opens it; false if it was open. One that is closed anew afterwards stays closed, even if the
    /// answer is lost and this is asked for again.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Barrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let barrier = Barrier::new(zk, "/barrier-open");
    /// barrier.close().await?;
    /// assert!(barrier.open().await?);
    /// assert!(!barrier.open().await?, "it was open before");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn open(&self) -> Result<bool, Error> {
        self.keeper.delete_named(&self.path).await
    }

    /// Waits until it is open.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Barrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let barrier = Barrier::new(zk, "/barrier-passed");
    /// barrier.close().await?;
    /// // Whoever waits passes as soon as somebody opens it.
    /// let (passed, opened) = tokio::join!(barrier.passed(), barrier.open());
    /// assert!(passed.is_ok() && opened?);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn passed(&self) -> Result<(), Error> {
        // A server that is behind may not have heard yet that it was closed.
        self.keeper.sync(&self.path).await?;
        loop {
            // A read that leaves no watch on what is not there.
            match self.keeper.get_watched(&self.path).await? {
                None => return Ok(()),
                Some((_, _, alarm)) => alarm.await,
            }
        }
    }

    /// The same, for at most so long: false if it is still closed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Barrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let barrier = Barrier::new(zk, "/barrier-within");
    /// barrier.close().await?;
    /// assert!(!barrier.passed_within(Duration::from_millis(20)).await?);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Barrier::passed`].
    pub async fn passed_within(&self, limit: Duration) -> Result<bool, Error> {
        Ok(within(&self.keeper, limit, self.passed()).await.transpose()?.is_some())
    }
}

/// What says that all have come.
const READY: &str = "ready";

/// A barrier that so many pass together, in and out (`DistributedDoubleBarrier`, kazoo's
/// `DoubleBarrier`).
///
/// # Guarantees
/// - Nobody is in before `size` have come, nobody is out before all who were in want out, or their
///   sessions have ended.
/// - Dropping [`DoubleBarrier::enter`] or [`Inside`] takes the member back.
///
/// # What it does not guarantee
/// A member whose session ends counts as one that left. One that enters while others leave may be
/// let in by the mark that the last ones left: use a directory once, or wait until it is empty. In
/// kazoo's layout the first to leave takes that mark away, so one that was out of touch for all of
/// the time between may wait for ever; Curator's has no such gap.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::DoubleBarrier;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let other = &Client::connect(&servers).await?;
/// let here = DoubleBarrier::new(zk, "/meeting", 2);
/// let there = DoubleBarrier::new(other, "/meeting", 2);
/// // Neither is in before both have come, neither is out before both have gone.
/// let (a, b) = tokio::try_join!(here.enter(), there.enter())?;
/// tokio::try_join!(a.leave(), b.leave())?;
/// assert!(zk.children("/meeting").await?.is_empty());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct DoubleBarrier {
    arena: Arena,
    size: usize,
    data: Vec<u8>,
}

/// A member's place inside a double barrier.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::DoubleBarrier;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let inside = DoubleBarrier::new(zk, "/meeting-inside", 1).enter().await?;
/// assert!(zk.exists("/meeting-inside/ready").await?.is_some());
/// inside.leave().await?;
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct Inside {
    member: Contender,
}

impl DoubleBarrier {
    /// The barrier of this directory, in Curator's layout, for so many.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::DoubleBarrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let meeting = DoubleBarrier::new(zk, "/meeting-new", 2);
    /// // One of two waits.
    /// let alone = tokio::time::timeout(Duration::from_millis(20), meeting.enter()).await;
    /// assert!(alone.is_err());
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(keeper: impl Into<Keeper>, dir: &str, size: usize) -> DoubleBarrier {
        let (keeper, dir, layout) = (keeper.into(), dir.to_owned(), Layout::default());
        DoubleBarrier { arena: Arena { keeper, dir, layout }, size, data: Vec::new() }
    }

    /// In another layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{DoubleBarrier, Layout};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let meeting = DoubleBarrier::new(zk, "/meeting-kazoo", 1).layout(Layout::Kazoo);
    /// let inside = meeting.enter().await?;
    /// let names = zk.children("/meeting-kazoo").await?;
    /// assert!(names.iter().any(|name| name.len() == 32), "32 hexadecimal digits");
    /// inside.leave().await?;
    /// # Ok(())
    /// # });
    /// ```
    pub fn layout(mut self, layout: Layout) -> DoubleBarrier {
        self.arena.layout = layout;
        self
    }

    /// What members say of themselves.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::DoubleBarrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let meeting = DoubleBarrier::new(zk, "/meeting-who", 1).identity("10.0.0.7");
    /// let inside = meeting.enter().await?;
    /// let names = zk.children("/meeting-who").await?;
    /// let member = names.iter().find(|name| *name != "ready").expect("a member");
    /// assert_eq!(zk.get(&format!("/meeting-who/{member}")).await?.bytes(), b"10.0.0.7");
    /// inside.leave().await?;
    /// # Ok(())
    /// # });
    /// ```
    pub fn identity(mut self, data: impl Into<Vec<u8>>) -> DoubleBarrier {
        self.data = data.into();
        self
    }

    /// Comes, and waits until all have come.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::DoubleBarrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let meeting = DoubleBarrier::new(zk, "/meeting-enter", 2);
    /// let (a, b) = tokio::try_join!(meeting.enter(), meeting.enter())?;
    /// assert_eq!(zk.children("/meeting-enter").await?.len(), 3, "two members and `ready`");
    /// tokio::try_join!(a.leave(), b.leave())?;
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, somebody deleted our znode, or the server refuses.
    pub async fn enter(&self) -> Result<Inside, Error> {
        let Arena { keeper, dir, layout } = &self.arena;
        let mark = match layout {
            Layout::Curator => keeper.uuid(),
            Layout::Kazoo => keeper.hex(),
        };
        let name = mark.clone();
        let (arena, kind) = (&self.arena, Kind::Ephemeral);
        let member = Contender::enter_as(arena, Part::Lease, mark, &name, kind, &self.data).await?;
        let ready = join(dir, READY);
        loop {
            let (found, alarm) = keeper.exists_watched(&ready).await?;
            if found.is_some() {
                return Ok(Inside { member });
            }
            let members = members(keeper, dir).await?;
            if !members.contains(&name) {
                return Err(Error::Gone { path: member.path() });
            }
            if members.len() >= self.size {
                let new = New { path: ready, data: Vec::new(), kind: Kind::Persistent };
                keeper.create_shared(&new, layout.parents()).await?;
                return Ok(Inside { member });
            }
            alarm.await;
            // What was not there and is told of has been made, and so all have come. In kazoo's
            // layout it may be gone again by the next look: the first to leave takes it away.
            if *layout == Layout::Kazoo && !keeper.is_over() {
                return Ok(Inside { member });
            }
        }
    }
}

async fn members(keeper: &Keeper, dir: &str) -> Result<Vec<String>, Error> {
    let mut names = keeper.children(dir).await?.unwrap_or_default();
    names.retain(|name| name != READY);
    names.sort();
    Ok(names)
}

/// What a member has to do who wants out (`DistributedDoubleBarrier.internalLeave`).
#[derive(Debug, PartialEq, Eq)]
enum Leaving<'a> {
    /// Everybody has left.
    Out,
    /// It is the last.
    GoLast,
    /// The first waits for the last to go.
    Stay { until_gone: &'a str },
    /// All others go, and wait for the first.
    Go { until_gone: &'a str },
}

fn leaving<'a>(members: &'a [String], own: &str) -> Leaving<'a> {
    match members {
        [] => Leaving::Out,
        [one] if one == own => Leaving::GoLast,
        [first, .., last] if first == own => Leaving::Stay { until_gone: last },
        [first, ..] => Leaving::Go { until_gone: first },
    }
}

impl Inside {
    /// Goes, and waits until all have gone.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::DoubleBarrier;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let inside = DoubleBarrier::new(zk, "/meeting-leave", 1).enter().await?;
    /// inside.leave().await?;
    /// assert!(zk.children("/meeting-leave").await?.is_empty());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn leave(self) -> Result<(), Error> {
        let Arena { keeper, dir, layout } = self.member.arena().clone();
        let (own, ready) = (self.member.name().to_owned(), join(&dir, READY));
        if layout == Layout::Kazoo {
            keeper.delete_named(&ready).await?;
        }
        let mut member = Some(self.member);
        loop {
            let all = members(&keeper, &dir).await?;
            let until_gone = match leaving(&all, &own) {
                Leaving::Out => break,
                Leaving::GoLast => {
                    if let Some(member) = member.take() {
                        member.leave().await?;
                    }
                    break;
                }
                Leaving::Stay { until_gone } => until_gone,
                Leaving::Go { until_gone } => {
                    if let Some(member) = member.take() {
                        member.leave().await?;
                    }
                    until_gone
                }
            };
            if let Some((_, _, alarm)) = keeper.get_watched(&join(&dir, until_gone)).await? {
                alarm.await;
            }
        }
        keeper.delete_named(&ready).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_waits_for_the_last_and_all_others_for_the_first() {
        let all = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(leaving(&all, "a"), Leaving::Stay { until_gone: "c" });
        assert_eq!(leaving(&all, "b"), Leaving::Go { until_gone: "a" });
        assert_eq!(leaving(&all, "c"), Leaving::Go { until_gone: "a" });
        assert_eq!(leaving(&all, "gone"), Leaving::Go { until_gone: "a" });
        assert_eq!(leaving(&all[..1], "a"), Leaving::GoLast);
        assert_eq!(leaving(&all[..1], "gone"), Leaving::Go { until_gone: "a" });
        assert_eq!(leaving(&[], "a"), Leaving::Out);
    }
}
