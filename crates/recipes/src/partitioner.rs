//! Things shared out among members.
//!
//! Who has what follows from the sorted things and the sorted members, so that all come to the same
//! without talking. While they have not yet heard the same, locks keep them apart.

use std::time::Duration;

use tokio::sync::watch;

use crate::background::{Background, Stop};
use crate::contender::Token;
use crate::error::Error;
use crate::group::{Group, GroupLayout, Member};
use crate::keeper::{Keeper, join, within};
use crate::multi_lock::{MultiGuard, MultiLock};
use crate::mutex::Mutex;
use crate::order::Layout;
use crate::sessions::Sessions;

/// How long a party must not change before things are shared out.
const SETTLE: Duration = Duration::from_secs(1);

/// Shares a set of things out among all members (kazoo's `SetPartitioner`), each under a lock.
///
/// # Guarantees
/// - Of members whose session is alive, one has a thing: each is locked, with a token.
/// - When members come or go, things are shared out anew, as evenly as can be.
/// - What a member has it keeps until it [releases](Partitioner::release) it or its session ends.
///
/// # What it does not guarantee
/// While things are shared out anew nobody has some of them; a member that does not release holds
/// up all others. And a frozen member goes on believing, as with [`Mutex`].
///
/// Members of one partitioner have to name the same things, ids of their own, and an id once.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Partitioner, Share};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mut shards = Partitioner::start(zk, "/shards", ["0", "1", "2"], "worker-7").await?;
/// loop {
///     match shards.changed().await {
///         Share::Own(parts) => {
///             println!("mine: {parts:?}");
/// #           assert_eq!(parts.len(), 3);
/// #           zk.close().await;
///         }
///         Share::Release => shards.release(), // as soon as nothing is done with them any more
///         Share::Waiting => {}
///         Share::Ended => break,
///     }
/// }
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct Partitioner {
    share: watch::Receiver<Share>,
    released: watch::Sender<u64>,
    task: Background,
}

/// What a member has.
///
/// ```
/// # use std::time::Duration;
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Partitioner, Share};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let settle = Duration::from_millis(20);
/// let mut shards = Partitioner::settling(zk, "/share", ["0", "1"], "a", settle).await?;
/// assert_eq!(shards.share(), Share::Waiting);
/// while !matches!(shards.changed().await, Share::Own(parts) if parts.len() == 2) {}
/// zk.close().await;
/// while shards.changed().await != Share::Ended {}
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// Nothing yet, or it was lost.
    Waiting,
    /// These, until told otherwise; may be none.
    Own(Vec<Part>),
    /// The same still, to be released.
    Release,
    /// There is no session any more, and none to come.
    Ended,
}

/// A thing that is ours.
///
/// ```
/// # use std::time::Duration;
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Part, Partitioner, Share, Token};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let settle = Duration::from_millis(20);
/// let mut shards = Partitioner::settling(zk, "/part", ["0"], "a", settle).await?;
/// let parts: Vec<Part> = loop {
///     if let Share::Own(parts) = shards.changed().await {
///         break parts;
///     }
/// };
/// assert!(parts[0].name == "0" && parts[0].token > Token(0));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub name: String,
    /// The fencing token of its lock.
    pub token: Token,
}

impl Partitioner {
    /// Becomes a member, in kazoo's layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Partitioner;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let shards = Partitioner::start(zk, "/shards-start", ["0", "1", "2"], "worker-7").await?;
    /// assert_eq!(zk.children("/shards-start/party").await?.len(), 1);
    /// assert!(Partitioner::start(other, "/shards-start", ["no/name"], "worker-8").await.is_err());
    /// # drop(shards);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session, or a name that cannot be one.
    pub async fn start<'a>(
        sessions: impl Into<Sessions>,
        path: &str,
        things: impl IntoIterator<Item = &'a str>,
        id: &str,
    ) -> Result<Partitioner, Error> {
        Partitioner::settling(sessions, path, things, id, SETTLE).await
    }

    /// The same, with another time for which members must not have changed before things are
    /// shared out (kazoo's `time_boundary`).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Partitioner, Share};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// // Members that come within 20 ms of each other are shared out to at once.
    /// let settle = Duration::from_millis(20);
    /// let mut shards = Partitioner::settling(zk, "/shards-settling", ["0"], "a", settle).await?;
    /// while shards.share() == Share::Waiting {
    ///     shards.changed().await;
    /// }
    /// assert!(matches!(shards.share(), Share::Own(parts) if parts[0].name == "0"));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// As [`Partitioner::start`].
    pub async fn settling<'a>(
        sessions: impl Into<Sessions>,
        path: &str,
        things: impl IntoIterator<Item = &'a str>,
        id: &str,
        settle: Duration,
    ) -> Result<Partitioner, Error> {
        let sessions = sessions.into();
        let keeper = sessions.current().await?;
        let mut things: Vec<String> = things.into_iter().map(str::to_owned).collect();
        things.sort();
        things.dedup();
        if let Some(bad) = things.iter().find(|name| name.is_empty() || name.contains('/')) {
            return Err(Error::Invalid(format!("{bad:?} is no name of a part")));
        }
        let party = Group::new(&sessions, &join(path, "party")).layout(GroupLayout::ShallowParty);
        let (tell, share) = watch::channel(Share::Waiting);
        let (released, heard) = watch::channel(0);
        let work = Work {
            sessions,
            party,
            locks: join(path, "locks"),
            things,
            id: id.to_owned(),
            settle,
            tell,
            heard,
        };
        let member = work.party.join(id, b"").await?;
        let task = Background::spawn(&keeper, |stop| async move {
            work.run(stop).await;
            member.close().await;
        });
        Ok(Partitioner { share, released, task })
    }

    /// What it has now.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Partitioner, Share};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let settle = Duration::from_millis(20);
    /// let mut shards = Partitioner::settling(zk, "/shards-share", ["0"], "a", settle).await?;
    /// while shards.share() == Share::Waiting {
    ///     shards.changed().await;
    /// }
    /// assert!(matches!(shards.share(), Share::Own(parts) if parts.len() == 1));
    /// # Ok(())
    /// # });
    /// ```
    pub fn share(&self) -> Share {
        self.share.borrow().clone()
    }

    /// Waits until what it has changes, and tells it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Partitioner, Share};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let settle = Duration::from_millis(20);
    /// let mut shards = Partitioner::settling(zk, "/shards-news", ["1", "0"], "a", settle).await?;
    /// let parts = loop {
    ///     if let Share::Own(parts) = shards.changed().await {
    ///         break parts;
    ///     }
    /// };
    /// assert_eq!(parts.iter().map(|part| &*part.name).collect::<Vec<_>>(), ["0", "1"]);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn changed(&mut self) -> Share {
        if self.share.changed().await.is_err() {
            return Share::Ended;
        }
        self.share.borrow_and_update().clone()
    }

    /// Nothing is done any more with what it had: others may have it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Partitioner, Share};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let settle = Duration::from_millis(20);
    /// let mut a = Partitioner::settling(zk, "/shards-release", ["0", "1"], "a", settle).await?;
    /// while !matches!(a.changed().await, Share::Own(_)) {}
    /// let mut b = Partitioner::settling(other, "/shards-release", ["0", "1"], "b", settle).await?;
    /// while a.changed().await != Share::Release {}
    /// a.release();
    /// while b.share() == Share::Waiting {
    ///     b.changed().await;
    /// }
    /// assert!(matches!(b.share(), Share::Own(parts) if parts.len() == 1));
    /// # Ok(())
    /// # });
    /// ```
    pub fn release(&self) {
        self.released.send_modify(|count| *count += 1);
    }

    /// Gives everything back and ceases to be a member.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Partitioner;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let shards = Partitioner::start(zk, "/shards-close", ["0"], "worker-7").await?;
    /// shards.close().await;
    /// assert!(zk.children("/shards-close/party").await?.is_empty());
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(self) {
        self.task.close().await;
    }
}

/// Every so many things from one's own place on, in kazoo's order.
fn share_of(things: &[String], members: &[Member], id: &str) -> Option<Vec<String>> {
    let place = members.iter().position(|member| member.id == id)?;
    Some(things.iter().skip(place).step_by(members.len()).cloned().collect())
}

struct Work {
    sessions: Sessions,
    party: Group,
    locks: String,
    things: Vec<String>,
    id: String,
    settle: Duration,
    tell: watch::Sender<Share>,
    heard: watch::Receiver<u64>,
}

impl Work {
    async fn run(mut self, mut stop: Stop) {
        let working = async {
            while let Ok(keeper) = self.sessions.current().await {
                if let Err(error) = self.turn(&keeper).await
                    && !error.is_session_over()
                {
                    keeper.sleep(self.settle).await;
                }
                let _ = self.tell.send(Share::Waiting);
            }
            let _ = self.tell.send(Share::Ended);
        };
        tokio::select! {
            biased;
            () = stop.asked() => {}
            () = working => {}
        }
    }

    /// From one sharing out to the next.
    async fn turn(&mut self, keeper: &Keeper) -> Result<(), Error> {
        let mut members = self.party.members().await?;
        while let Some(others) =
            within(keeper, self.settle, self.party.members_other_than(&members)).await
        {
            members = others?;
        }
        let Some(own) = share_of(&self.things, &members, &self.id) else {
            // Our own znode is not made yet.
            return self.party.members_other_than(&members).await.map(drop);
        };
        let locks = own
            .iter()
            .map(|name| Mutex::new(keeper, &join(&self.locks, name)).layout(Layout::Kazoo));
        let locks = MultiLock::of(keeper, locks.collect());
        let guards = tokio::select! {
            biased;
            changed = self.party.members_other_than(&members) => return changed.map(drop),
            guards = locks.acquire() => guards?,
        };
        self.hold(own, &members, &guards).await?;
        guards.release().await.map(drop)
    }

    /// Has them until others come or go and the user has released them.
    async fn hold(
        &mut self,
        own: Vec<String>,
        members: &[Member],
        guards: &MultiGuard,
    ) -> Result<(), Error> {
        let tokens = guards.guards().iter().map(|guard| guard.token());
        let parts = own.into_iter().zip(tokens).map(|(name, token)| Part { name, token });
        self.heard.borrow_and_update();
        let _ = self.tell.send(Share::Own(parts.collect()));
        tokio::select! {
            biased;
            () = guards.lost(), if !guards.guards().is_empty() => return Err(Error::SessionOver),
            changed = self.party.members_other_than(members) => drop(changed?),
        }
        if guards.guards().is_empty() {
            return Ok(());
        }
        let _ = self.tell.send(Share::Release);
        tokio::select! {
            biased;
            () = guards.lost() => Err(Error::SessionOver),
            _ = self.heard.changed() => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_is_in_one_share_and_shares_are_even() {
        let things: Vec<String> = (0..11).map(|n| format!("{n:02}")).collect();
        let member = |id: &str| Member { id: id.into(), name: id.into(), data: Vec::new() };
        for count in 1..15 {
            let members: Vec<Member> = (0..count).map(|n| member(&format!("m{n:02}"))).collect();
            let shares: Vec<_> =
                members.iter().map(|m| share_of(&things, &members, &m.id).unwrap()).collect();
            let mut all = shares.concat();
            all.sort();
            assert_eq!(all, things);
            let sizes = shares.iter().map(Vec::len);
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
        assert_eq!(share_of(&things, &[member("a")], "b"), None);
    }
}
