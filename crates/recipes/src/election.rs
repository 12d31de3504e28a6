//! One leader among many.
//!
//! Leading is having a mutex; what an election adds is what becomes of the work. A latch goes on
//! from session to session and can be asked at any time; a selector runs a piece of work for as
//! long as it is sure to lead, and drops it then.

use tokio::sync::watch;

use crate::background::{Background, Stop};
use crate::contender::{Arena, Contender, Participant, Token};
use crate::error::Error;
use crate::keeper::Keeper;
use crate::mutex::{Guard, Mutex};
use crate::order::{Layout, Part};
use crate::port::{Edit, Standing};
use crate::sessions::Sessions;

/// Whose candidates these are.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Election, ElectionLayout, Led};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let election = Election::new(zk, "/leader-layouts").layout(ElectionLayout::Selector);
/// let path = election.lead(|term| async move { term.path().to_owned() }).await?;
/// assert!(matches!(path, Led::Done(path) if path.contains("-lock-")));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ElectionLayout {
    /// Curator's `LeaderLatch`.
    #[default]
    Latch,
    /// Curator's `LeaderSelector`.
    Selector,
    /// kazoo's `Election`.
    Kazoo,
}

/// An election in one directory.
///
/// There are two ways to lead: a [latch](Election::stand) stands in the election until it is closed
/// and can be asked at any time; a [selector](Election::lead) waits until it is elected, does a
/// piece of work, and steps back.
///
/// # Guarantees
/// - Of those whose session is alive at most one leads, and as long as there are candidates one of
///   them will, in the order in which they stood.
/// - The [token](Token) grows with every change of leadership.
/// - A lost connection: the latch does not lead until it has been heard of again; the selector
///   goes on until the session may have expired, and its work is dropped then.
///
/// # What it does not guarantee
/// A leader that was frozen does not know yet that it leads no more. Let [`Leadership::check`] or
/// the token guard whatever only a leader may do.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Election, Led};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let election = Election::new(zk, "/app/leader").identity("10.0.0.7");
/// match election.lead(|leadership| async move { leadership.token() }).await? {
///     Led::Done(token) => assert!(token.0 > 0),
///     Led::Lost => println!("lost before the work was done"),
/// }
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Election {
    sessions: Sessions,
    dir: String,
    layout: ElectionLayout,
    data: Vec<u8>,
}

/// How a term as leader ended.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Election, Led};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let election = Election::new(zk, "/leader-led");
/// assert_eq!(election.lead(|_| async { 42 }).await?, Led::Done(42));
/// // Work that outlives its session is dropped.
/// let led = election.lead(|_| async {
///     zk.close().await;
///     std::future::pending::<()>().await
/// });
/// assert_eq!(led.await?, Led::Lost);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Led<T> {
    /// The work was done.
    Done(T),
    /// Leadership was lost, or may have been, and the work was dropped.
    Lost,
}

impl Election {
    /// The election of this directory, in the layout of Curator's latch.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Election;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let election = Election::new(zk, "/leader-new");
    /// assert!(election.candidates().await?.is_empty(), "nobody stands yet");
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(sessions: impl Into<Sessions>, dir: &str) -> Election {
        let (sessions, dir) = (sessions.into(), dir.to_owned());
        Election { sessions, dir, layout: ElectionLayout::default(), data: Vec::new() }
    }

    /// In another layout. Everybody who stands has to use the same.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Election, ElectionLayout, Led};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let election = Election::new(zk, "/leader-kazoo").layout(ElectionLayout::Kazoo);
    /// let path = election.lead(|term| async move { term.path().to_owned() }).await?;
    /// assert!(matches!(path, Led::Done(path) if path.contains("__lock__")));
    /// # Ok(())
    /// # });
    /// ```
    pub fn layout(mut self, layout: ElectionLayout) -> Election {
        self.layout = layout;
        self
    }

    /// What candidates say of themselves (Curator's `id`, kazoo's `identifier`).
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Election;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let election = Election::new(zk, "/leader-who").identity("10.0.0.7");
    /// let mut latch = election.stand().await?;
    /// latch.elected().await?;
    /// assert_eq!(election.candidates().await?[0].data, b"10.0.0.7");
    /// # Ok(())
    /// # });
    /// ```
    pub fn identity(mut self, data: impl Into<Vec<u8>>) -> Election {
        self.data = data.into();
        self
    }

    fn part(&self) -> (Layout, Part) {
        match self.layout {
            ElectionLayout::Latch => (Layout::Curator, Part::Latch),
            ElectionLayout::Selector => (Layout::Curator, Part::Mutex),
            ElectionLayout::Kazoo => (Layout::Kazoo, Part::Mutex),
        }
    }

    fn arena(&self, keeper: Keeper) -> Arena {
        Arena { keeper, dir: self.dir.clone(), layout: self.part().0 }
    }

    /// Who stands, the leader first.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Election;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let mut first = Election::new(zk, "/leader-all").identity("a").stand().await?;
    /// let leader = first.elected().await?;
    /// let all = Election::new(other, "/leader-all").candidates().await?;
    /// assert_eq!((all.len(), all[0].token), (1, leader.token()));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, a foreign name, or the server refuses.
    pub async fn candidates(&self) -> Result<Vec<Participant>, Error> {
        let arena = self.arena(self.sessions.current().await?);
        arena.participants(self.part().1).await
    }

    /// Waits until elected, runs `work`, and steps back. The work is dropped, at an await, if
    /// leadership is lost. Dropping the whole steps back as well.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Election, Led};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let election = Election::new(zk, "/leader-lead");
    /// let first = election.lead(|leadership| async move { leadership.token() }).await?;
    /// let second = election.lead(|leadership| async move { leadership.token() }).await?;
    /// assert!(matches!((first, second), (Led::Done(a), Led::Done(b)) if a < b));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session ended before it was elected, a foreign name, or the server refuses.
    pub async fn lead<T, W>(&self, work: impl FnOnce(Leadership) -> W) -> Result<Led<T>, Error>
    where
        W: Future<Output = T>,
    {
        let keeper = self.sessions.current().await?;
        let (layout, part) = self.part();
        let mutex = Mutex::of(&keeper, &self.dir, part).layout(layout).identity(self.data.clone());
        let guard = mutex.acquire().await?;
        let leadership = Leadership { token: guard.token(), path: guard.path() };
        let led = tokio::select! {
            biased;
            () = guard.lapsed() => Led::Lost,
            done = work(leadership) => Led::Done(done),
        };
        match (led, guard.release().await) {
            (Led::Done(done), _) => Ok(Led::Done(done)),
            (Led::Lost, _) => Ok(Led::Lost),
        }
    }

    /// Stands in the election from now on, with one session after another, until closed.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Election;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut latch = Election::new(zk, "/leader-stand").stand().await?;
    /// let leadership = latch.elected().await?;
    /// assert_eq!(latch.leadership(), Some(leadership));
    /// latch.close().await;
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session.
    pub async fn stand(&self) -> Result<LeaderLatch, Error> {
        let keeper = self.sessions.current().await?;
        let (tell, role) = watch::channel(Role::Standing);
        let election = self.clone();
        let task = Background::spawn(&keeper, |stop| election.campaign(stop, tell));
        Ok(LeaderLatch { role, task })
    }

    async fn campaign(self, mut stop: Stop, tell: watch::Sender<Role>) {
        loop {
            let term = tokio::select! {
                biased;
                () = stop.asked() => return,
                term = self.elected() => term,
            };
            match term {
                Ok(contender) => {
                    tokio::select! {
                        biased;
                        () = stop.asked() => {}
                        () = in_office(&contender, &tell) => {}
                    }
                    let _ = tell.send(Role::Standing);
                    if stop.is_asked() {
                        let _ = contender.leave().await;
                        return;
                    }
                }
                Err(error) if error.is_session_over() => {
                    if self.sessions.current().await.is_err() {
                        let _ = tell.send(Role::Ended(Error::SessionOver));
                        return;
                    }
                }
                Err(error) => {
                    let _ = tell.send(Role::Ended(error));
                    return;
                }
            }
        }
    }

    async fn elected(&self) -> Result<Contender, Error> {
        let arena = self.arena(self.sessions.current().await?);
        loop {
            let contender = Contender::enter(&arena, self.part().1, &self.data).await?;
            match contender.wait().await {
                Ok(()) => return Ok(contender),
                Err(Error::Gone { .. }) if !arena.keeper.is_over() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Tells whether it leads, for as long as its znode is there.
async fn in_office(contender: &Contender, tell: &watch::Sender<Role>) {
    let leadership = Leadership { token: contender.token(), path: contender.path() };
    let telling = async {
        loop {
            let seen = contender.keeper().standing();
            let _ = tell.send(match seen {
                Standing::Connected => Role::Leading(leadership.clone()),
                // Others may have been elected before we are back.
                Standing::Suspended(_) | Standing::Over => Role::Standing,
            });
            contender.keeper().port().standing_other_than(seen).await;
        }
    };
    tokio::select! {
        biased;
        () = contender.lost() => {}
        () = telling => {}
    }
}

/// What a leader shows.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Election, Leadership};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mut latch = Election::new(zk, "/leadership").stand().await?;
/// let leadership: Leadership = latch.elected().await?;
/// let stat = zk.exists(leadership.path()).await?.expect("the candidate's znode");
/// assert_eq!(leadership.token(), stat.czxid.into());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    token: Token,
    path: String,
}

impl Leadership {
    pub(crate) fn of(guard: &Guard) -> Leadership {
        Leadership { token: guard.token(), path: guard.path() }
    }

    /// The fencing token of this term.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Election;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let mut latch = Election::new(zk, "/leadership-token").stand().await?;
    /// let first = latch.elected().await?.token();
    /// latch.close().await;
    /// let mut latch = Election::new(other, "/leadership-token").stand().await?;
    /// assert!(latch.elected().await?.token() > first);
    /// # Ok(())
    /// # });
    /// ```
    pub fn token(&self) -> Token {
        self.token
    }

    /// The candidate's znode.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Election;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut latch = Election::new(zk, "/leadership-path").stand().await?;
    /// let leadership = latch.elected().await?;
    /// assert!(leadership.path().starts_with("/leadership-path/"));
    /// latch.close().await;
    /// assert!(zk.exists(leadership.path()).await?.is_none(), "it stands back");
    /// # Ok(())
    /// # });
    /// ```
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The first operation of a multi that only this leader may do.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Election, Keeper};
    /// # use oxkeeper_recipes::port::{Edit, Kind, New};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let keeper = Keeper::from(zk);
    /// # let port = keeper.port();
    /// let mut latch = Election::new(zk, "/leadership-check").stand().await?;
    /// let leadership = latch.elected().await?;
    /// let mark = |path: &str| {
    ///     Edit::Create(New { path: path.into(), data: vec![], kind: Kind::Ephemeral })
    /// };
    /// port.multi(vec![leadership.check(), mark("/leadership-a")]).await?;
    /// latch.close().await;
    /// let late = port.multi(vec![leadership.check(), mark("/leadership-b")]).await;
    /// assert_eq!(late.unwrap_err().index, Some(0), "it does not lead any more");
    /// # Ok(())
    /// # });
    /// ```
    pub fn check(&self) -> Edit {
        Edit::Check(self.path.clone(), None)
    }
}

/// What a candidate is.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Election, Role};
/// # use oxkeeper_recipes::port::Standing;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let mut latch = Election::new(zk, "/role").stand().await?;
/// assert!(matches!(latch.role(), Role::Standing));
/// latch.elected().await?;
/// assert!(matches!(latch.role(), Role::Leading(_)));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub enum Role {
    /// It stands and does not lead, or cannot know whether it does.
    Standing,
    /// It leads.
    Leading(Leadership),
    /// It stands no more.
    Ended(Error),
}

/// A candidate that stands until it is closed or dropped (`LeaderLatch`).
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Election;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// # let other = &Client::connect(&servers).await?;
/// let mut here = Election::new(zk, "/latch").stand().await?;
/// here.elected().await?;
/// let mut there = Election::new(other, "/latch").stand().await?;
/// assert!(there.leadership().is_none(), "one leads");
/// here.close().await;
/// there.elected().await?;
/// # Ok(())
/// # });
/// ```
#[derive(Debug)]
pub struct LeaderLatch {
    role: watch::Receiver<Role>,
    task: Background,
}

impl LeaderLatch {
    /// What it is now.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Election, Role};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut latch = Election::new(zk, "/latch-role").stand().await?;
    /// latch.elected().await?;
    /// zk.close().await;
    /// while matches!(latch.role(), Role::Leading(_) | Role::Standing) {
    ///     latch.changed().await;
    /// }
    /// assert!(matches!(latch.role(), Role::Ended(error) if error.is_session_over()));
    /// # Ok(())
    /// # });
    /// ```
    pub fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// The leadership, if it leads now.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Election;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut latch = Election::new(zk, "/latch-leadership").stand().await?;
    /// assert_eq!(latch.leadership(), None, "not yet");
    /// let elected = latch.elected().await?;
    /// assert_eq!(latch.leadership(), Some(elected));
    /// # Ok(())
    /// # });
    /// ```
    pub fn leadership(&self) -> Option<Leadership> {
        match self.role() {
            Role::Leading(leadership) => Some(leadership),
            Role::Standing | Role::Ended(_) => None,
        }
    }

    /// Waits until it leads.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Election, Token};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut latch = Election::new(zk, "/latch-elected").stand().await?;
    /// assert!(latch.elected().await?.token() > Token(0));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// It stands no more.
    pub async fn elected(&mut self) -> Result<Leadership, Error> {
        loop {
            match self.role.borrow_and_update().clone() {
                Role::Leading(leadership) => return Ok(leadership),
                Role::Ended(error) => return Err(error),
                Role::Standing => {}
            }
            if self.role.changed().await.is_err() {
                return Err(Error::SessionOver);
            }
        }
    }

    /// Waits until its role is another, and tells it.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Election, Role, Token};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let mut latch = Election::new(zk, "/latch-changed").stand().await?;
    /// let token = loop {
    ///     if let Role::Leading(leadership) = latch.changed().await {
    ///         break leadership.token();
    ///     }
    /// };
    /// assert!(token > Token(0));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn changed(&mut self) -> Role {
        let _ = self.role.changed().await;
        self.role.borrow_and_update().clone()
    }

    /// Stands back; when this returns its znode is gone.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Election;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let election = Election::new(zk, "/latch-close");
    /// let mut latch = election.stand().await?;
    /// latch.elected().await?;
    /// latch.close().await;
    /// assert!(election.candidates().await?.is_empty());
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(self) {
        self.task.close().await;
    }
}
