//! Znodes that are kept there.
//!
//! Somebody may delete them, their session may end: the keeper makes them again. It never takes
//! what another session owns, except its own former ones, whose ghosts would keep its place.

use std::time::Duration;

use tokio::sync::watch;

use crate::background::{Background, Stop};
use crate::error::Error;
use crate::keeper::{Keeper, join};
use crate::port::{ErrorCode, Fate, Kind, New, Stat};
use crate::sessions::Sessions;

/// Between two tries after a server's refusal.
const RETRY: Duration = Duration::from_secs(1);

/// A znode that is made again whenever it is gone: deleted by somebody, or with its session
/// (`PersistentNode`, once `PersistentEphemeralNode`).
///
/// # Guarantees
/// - While there is a session it comes back, with the data last set.
/// - What stands there of another session is left alone until it goes, unless it was a session of
///   ours: that is replaced at once.
/// - Closed or dropped, an ephemeral one is deleted.
///
/// # What it does not guarantee
/// Between a session's end and the next one's beginning it is not there, or is there and nobody is
/// behind it.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::PersistentNode;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mut here = PersistentNode::ephemeral(zk, "/workers/7", b"idle").await?;
/// here.made().await?;
/// assert_eq!(zk.get("/workers/7").await?.bytes(), b"idle");
/// here.set(b"busy");
/// here.close().await;
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct PersistentNode {
    data: watch::Sender<Vec<u8>>,
    there: watch::Receiver<There>,
    task: Background,
}

/// How it stands with the znode.
#[derive(Debug, Clone)]
enum There {
    No,
    Yes { data: Vec<u8> },
    Ended,
}

impl PersistentNode {
    /// Keeps an ephemeral znode.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentNode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let mut here = PersistentNode::ephemeral(zk, "/kept", b"idle").await?;
    /// here.made().await?;
    /// other.delete("/kept").await?; // somebody's mistake
    /// while other.exists("/kept").await?.is_none() {} // it comes back
    /// assert_eq!(other.get("/kept").await?.bytes(), b"idle");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session.
    pub async fn ephemeral(
        sessions: impl Into<Sessions>,
        path: &str,
        data: &[u8],
    ) -> Result<PersistentNode, Error> {
        PersistentNode::start(sessions, path, data, Kind::Ephemeral).await
    }

    /// Keeps a znode of another kind; a sequential one gets another number each time.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentNode;
    /// # use oxkeeper_recipes::port::Kind;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut node = PersistentNode::start(zk, "/kept-start", b"", Kind::Persistent).await?;
    /// node.made().await?;
    /// assert_eq!(zk.exists("/kept-start").await?.expect("there").ephemeral_owner.0, 0);
    /// let numbered = PersistentNode::start(zk, "/kept-n-", b"", Kind::Sequential).await;
    /// assert!(numbered.is_err(), "it would get another name each time");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session, or a kind that cannot be kept.
    pub async fn start(
        sessions: impl Into<Sessions>,
        path: &str,
        data: &[u8],
        kind: Kind,
    ) -> Result<PersistentNode, Error> {
        if matches!(kind, Kind::Sequential | Kind::EphemeralSequential) {
            return Err(Error::Invalid("a sequential znode has no name to keep".to_owned()));
        }
        let sessions = sessions.into();
        let keeper = sessions.current().await?;
        let (data, wanted) = watch::channel(data.to_vec());
        let (tell, there) = watch::channel(There::No);
        let path = path.to_owned();
        let keeping = Keeping { path, kind, wanted, tell, session: 0, past: Vec::new() };
        let task = Background::spawn(&keeper, |stop| keeping.run(sessions, stop));
        Ok(PersistentNode { data, there, task })
    }

    /// Sets the data, now and for every time that it is made again.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentNode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut here = PersistentNode::ephemeral(zk, "/kept-set", b"idle").await?;
    /// here.set(b"busy");
    /// here.made().await?;
    /// assert_eq!(zk.get("/kept-set").await?.bytes(), b"busy");
    /// # Ok(())
    /// # });
    /// ```
    pub fn set(&self, data: &[u8]) {
        self.data.send_replace(data.to_vec());
    }

    /// Resolves when it is there with the data last set.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentNode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut here = PersistentNode::ephemeral(zk, "/kept-made", b"idle").await?;
    /// here.made().await?;
    /// assert_eq!(zk.get("/kept-made").await?.bytes(), b"idle");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session any more.
    pub async fn made(&mut self) -> Result<(), Error> {
        let wanted = self.data.borrow().clone();
        let is_made = |there: &There| match there {
            There::Yes { data } => *data == wanted,
            There::Ended => true,
            There::No => false,
        };
        match self.there.wait_for(is_made).await {
            Ok(there) if matches!(*there, There::Yes { .. }) => Ok(()),
            _ => Err(Error::SessionOver),
        }
    }

    /// True if it is there as far as is known.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentNode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut here = PersistentNode::ephemeral(zk, "/kept-there", b"").await?;
    /// assert!(!here.is_there(), "not yet");
    /// here.made().await?;
    /// assert!(here.is_there());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_there(&self) -> bool {
        matches!(*self.there.borrow(), There::Yes { .. })
    }

    /// Ends it; when this returns an ephemeral one is gone. If its session is over and there is no
    /// next one yet, it is left to the server, which takes it away with the session: until then
    /// others may still see it. (Curator's `close` does not wait for either.)
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentNode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut here = PersistentNode::ephemeral(zk, "/kept-close", b"").await?;
    /// here.made().await?;
    /// here.close().await;
    /// assert!(zk.exists("/kept-close").await?.is_none());
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(self) {
        self.task.close().await;
    }
}

struct Keeping {
    path: String,
    kind: Kind,
    wanted: watch::Receiver<Vec<u8>>,
    tell: watch::Sender<There>,
    /// The session that it was last kept in.
    session: i64,
    /// Sessions that were ours: what stands there of them is a ghost.
    past: Vec<i64>,
}

impl Keeping {
    async fn run(mut self, sessions: Sessions, mut stop: Stop) {
        loop {
            let keeper = tokio::select! {
                biased;
                () = stop.asked() => return,
                keeper = sessions.current() => match keeper {
                    Ok(keeper) => keeper,
                    Err(_) => break,
                },
            };
            let ended = tokio::select! {
                biased;
                () = stop.asked() => None,
                ended = self.keep(&keeper) => Some(ended),
            };
            let _ = self.tell.send(There::No);
            match ended {
                None => return self.clear(&keeper).await,
                Some(Err(error)) if !error.is_session_over() => keeper.sleep(RETRY).await,
                Some(_) => {}
            }
            self.past.push(self.session);
        }
        let _ = self.tell.send(There::Ended);
    }

    /// Keeps it for as long as the session lives.
    async fn keep(&mut self, keeper: &Keeper) -> Result<(), Error> {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let found = keeper.get_watched(&self.path).await?;
            self.session = keeper.port().session_id();
            match found {
                None => {
                    let _ = self.tell.send(There::No);
                    self.make(keeper, wanted).await?;
                }
                Some((data, stat, alarm)) => {
                    if self.is_ghost(keeper, &stat) {
                        keeper.delete_this(&self.path, &stat).await?;
                        continue;
                    }
                    if self.is_ours(keeper, &stat) {
                        if data != wanted {
                            self.write(keeper, wanted).await?;
                            continue;
                        }
                        let _ = self.tell.send(There::Yes { data });
                    }
                    tokio::select! {
                        biased;
                        () = alarm => {}
                        changed = self.wanted.changed() => {
                            if changed.is_err() {
                                // The handle is gone; `stop` says so at once.
                                std::future::pending::<()>().await;
                            }
                        }
                    }
                }
            }
        }
    }

    fn is_ours(&self, keeper: &Keeper, stat: &Stat) -> bool {
        self.kind != Kind::Ephemeral || stat.ephemeral_owner.0 == keeper.port().session_id()
    }

    fn is_ghost(&self, keeper: &Keeper, stat: &Stat) -> bool {
        let owner = stat.ephemeral_owner.0;
        owner != 0 && owner != keeper.port().session_id() && self.past.contains(&owner)
    }

    async fn make(&self, keeper: &Keeper, data: Vec<u8>) -> Result<(), Error> {
        let new = New { path: self.path.clone(), data, kind: self.kind };
        // If it is there now, by whomever, the next look tells.
        keeper.create_shared(&new, Kind::Container).await.map(drop)
    }

    async fn write(&self, keeper: &Keeper, data: Vec<u8>) -> Result<(), Error> {
        match keeper.again(|port| port.set(&self.path, data.clone(), None)).await {
            Err(error) if error.code() != Some(ErrorCode::NO_NODE) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes an ephemeral one away that is ours.
    async fn clear(&self, keeper: &Keeper) {
        if self.kind != Kind::Ephemeral {
            return;
        }
        // A create that is still on its way comes before this in the session's order.
        if let (Ok(()), Ok(Some(stat))) =
            (keeper.sync(&self.path).await, keeper.exists(&self.path).await)
            && self.is_ours(keeper, &stat)
        {
            let _ = keeper.delete_this(&self.path, &stat).await;
        }
    }
}

/// The name of the child that is touched.
const TOUCH: &str = "touch";
/// How often per time to live.
const TOUCHES: u32 = 2;

/// A TTL znode that is kept alive by a child that is set over and over (`PersistentTtlNode`): it
/// goes some time after its keeper, and not with any session.
///
/// # Guarantees
/// While its keeper runs and reaches a server more often than once per time to live, it is there.
/// It is left to itself when closed, and gone between one and two times to live later, by the
/// server's clock.
///
/// # What it does not guarantee
/// Servers have TTL znodes only where `extendedTypesEnabled` is set.
///
/// ```
/// # use std::time::Duration;
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::PersistentTtlNode;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let ttl = Duration::from_secs(600);
/// let mut seen = PersistentTtlNode::start(zk, "/seen/7", b"", ttl).await?;
/// seen.node().made().await?;
/// assert!(zk.exists("/seen/7").await?.is_some());
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct PersistentTtlNode {
    node: PersistentNode,
    touching: Background,
}

impl PersistentTtlNode {
    /// Keeps a znode that lives so long without its keeper.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentTtlNode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let ttl = Duration::from_secs(600);
    /// let mut seen = PersistentTtlNode::start(zk, "/ttl-start", b"7", ttl).await?;
    /// seen.node().made().await?;
    /// assert_eq!(zk.get("/ttl-start").await?.bytes(), b"7");
    /// assert!(PersistentTtlNode::start(zk, "/ttl-none", b"", Duration::ZERO).await.is_err());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session, or a time under a millisecond.
    pub async fn start(
        sessions: impl Into<Sessions>,
        path: &str,
        data: &[u8],
        ttl: Duration,
    ) -> Result<PersistentTtlNode, Error> {
        if ttl.as_millis() == 0 {
            return Err(Error::Invalid("a time to live under a millisecond".to_owned()));
        }
        let (sessions, child) = (sessions.into(), join(path, TOUCH));
        let keeper = sessions.current().await?;
        let node = PersistentNode::start(&sessions, path, data, Kind::Ttl(ttl)).await?;
        let touching = Background::spawn(&keeper, |stop| touch(sessions, child, ttl, stop));
        Ok(PersistentTtlNode { node, touching })
    }

    /// The znode itself.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentTtlNode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let ttl = Duration::from_secs(600);
    /// let mut seen = PersistentTtlNode::start(zk, "/ttl-node", b"7", ttl).await?;
    /// seen.node().set(b"8");
    /// seen.node().made().await?;
    /// assert_eq!(zk.get("/ttl-node").await?.bytes(), b"8");
    /// # Ok(())
    /// # });
    /// ```
    pub fn node(&mut self) -> &mut PersistentNode {
        &mut self.node
    }

    /// Ends it; the znode is left to its time to live.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::PersistentTtlNode;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let ttl = Duration::from_secs(600);
    /// let mut seen = PersistentTtlNode::start(zk, "/ttl-close", b"", ttl).await?;
    /// seen.node().made().await?;
    /// seen.close().await;
    /// assert!(zk.exists("/ttl-close").await?.is_some(), "the server removes it in ten minutes");
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(self) {
        self.touching.close().await;
        self.node.close().await;
    }
}

async fn touch(sessions: Sessions, child: String, ttl: Duration, mut stop: Stop) {
    let touching = async {
        while let Ok(keeper) = sessions.current().await {
            keeper.sleep(ttl / TOUCHES).await;
            // Late is as good as not at all: the next turn comes soon enough.
            let failed = keeper.port().set(&child, Vec::new(), None).await.err();
            let absent = |failure: &crate::port::Failure| {
                failure.is(ErrorCode::NO_NODE) && failure.fate == Fate::DidNotHappen
            };
            if failed.as_ref().is_some_and(absent) {
                let new = New { path: child.clone(), data: Vec::new(), kind: Kind::Ttl(ttl) };
                let _ = keeper.port().create(new).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.asked() => {}
        () = touching => {}
    }
}
