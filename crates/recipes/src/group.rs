//! Who is there.
//!
//! A member is a kept ephemeral znode, a group the directory of them. Its three layouts differ in
//! where a member's id is: in the name, in the data, or behind a unique part of the name.

use crate::error::Error;
use crate::keeper::{Keeper, join};
use crate::persistent::PersistentNode;
use crate::port::Kind;
use crate::sessions::Sessions;

/// Whose members these are.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Group, GroupLayout};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let group = Group::new(zk, "/group-party").layout(GroupLayout::Party);
/// let me = group.join("worker-7", b"").await?;
/// let all = group.members().await?;
/// assert!(all[0].id == "worker-7" && all[0].name.ends_with("__party__"));
/// # drop(me);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupLayout {
    /// Named by their id: Curator's `GroupMember`.
    #[default]
    Curator,
    /// `HEX__party__`, the id is the data: kazoo's `Party`.
    Party,
    /// `HEX-id`, no data: kazoo's `ShallowParty`, and the members of a partitioner.
    ShallowParty,
}

/// One of a group.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::{Group, Member};
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let group = Group::new(zk, "/group-member");
/// let me = group.join("worker-7", b"10.0.0.7").await?;
/// let member: &Member = &group.members().await?[0];
/// assert_eq!((&*member.id, &*member.data), ("worker-7", &b"10.0.0.7"[..]));
/// # drop(me);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// The name of its znode.
    pub name: String,
    /// Its data; for kazoo's layouts that is the id, or nothing.
    pub data: Vec<u8>,
}

/// A group whose members come and go (`GroupMember`, kazoo's `Party` and `ShallowParty`).
///
/// # Guarantees
/// A member is there while its session lives, and again with the next one.
///
/// # What it does not guarantee
/// A list of members is old when it is read: one in it may have gone, and one whose session has
/// not expired yet may have died.
///
/// ```
/// # use oxkeeper_client::Client;
/// # use oxkeeper_recipes::Group;
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = &Client::connect(&servers).await?;
/// let group = Group::new(zk, "/workers");
/// let me = group.join("worker-7", b"10.0.0.7").await?;
/// assert_eq!(group.members().await?[0].id, "worker-7");
/// me.close().await;
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Group {
    sessions: Sessions,
    dir: String,
    layout: GroupLayout,
}

impl Group {
    /// The group of this directory, in Curator's layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Group;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let group = Group::new(zk, "/group-new");
    /// assert!(group.members().await?.is_empty());
    /// # Ok(())
    /// # });
    /// ```
    pub fn new(sessions: impl Into<Sessions>, dir: &str) -> Group {
        let (sessions, dir) = (sessions.into(), dir.to_owned());
        Group { sessions, dir, layout: GroupLayout::default() }
    }

    /// In another layout.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::{Group, GroupLayout};
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let group = Group::new(zk, "/group-shallow").layout(GroupLayout::ShallowParty);
    /// let me = group.join("worker-7", b"").await?;
    /// assert!(group.members().await?[0].name.ends_with("-worker-7"));
    /// # drop(me);
    /// # Ok(())
    /// # });
    /// ```
    pub fn layout(mut self, layout: GroupLayout) -> Group {
        self.layout = layout;
        self
    }

    /// Becomes a member until the handle is closed or dropped. kazoo's layouts have no data beside
    /// the id. In Curator's layout an id that another session has is waited for.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Group;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let group = Group::new(zk, "/group-join");
    /// let me = group.join("worker-7", b"10.0.0.7").await?;
    /// assert_eq!(group.members().await?.len(), 1);
    /// me.close().await;
    /// assert!(group.members().await?.is_empty());
    /// assert!(group.join("no/name", b"").await.is_err());
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// There is no session, or an id that cannot be a name.
    pub async fn join(&self, id: &str, data: &[u8]) -> Result<PersistentNode, Error> {
        let keeper = self.sessions.current().await?;
        if self.layout != GroupLayout::Party && (id.is_empty() || id.contains('/')) {
            return Err(Error::Invalid(format!("{id:?} is no name of a member")));
        }
        let (name, data) = match self.layout {
            GroupLayout::Curator => (id.to_owned(), data.to_vec()),
            GroupLayout::Party => (format!("{}__party__", keeper.hex()), id.as_bytes().to_vec()),
            GroupLayout::ShallowParty => (format!("{}-{id}", keeper.hex()), Vec::new()),
        };
        if self.layout != GroupLayout::Curator {
            keeper.ensure(&self.dir, Kind::Persistent).await?;
        }
        let path = join(&self.dir, &name);
        let mut node = PersistentNode::ephemeral(&self.sessions, &path, &data).await?;
        node.made().await?;
        Ok(node)
    }

    /// Who is there, in order of ids.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Group;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// let group = Group::new(zk, "/group-members");
    /// let (b, a) = (group.join("b", b"").await?, group.join("a", b"").await?);
    /// let ids: Vec<_> = group.members().await?.into_iter().map(|member| member.id).collect();
    /// assert_eq!(ids, ["a", "b"]);
    /// # drop((a, b));
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let keeper = self.sessions.current().await?;
        let names = keeper.children(&self.dir).await?.unwrap_or_default();
        self.read(&keeper, names).await
    }

    /// Waits until the group is another than `seen`.
    ///
    /// ```
    /// # use oxkeeper_client::Client;
    /// # use oxkeeper_recipes::Group;
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = &Client::connect(&servers).await?;
    /// # let other = &Client::connect(&servers).await?;
    /// let (here, there) = (Group::new(zk, "/group-news"), Group::new(other, "/group-news"));
    /// let seen = here.members().await?;
    /// let news = here.members_other_than(&seen);
    /// let (news, member) = tokio::try_join!(news, there.join("b", b""))?;
    /// assert_eq!(news[0].id, "b");
    /// # drop(member);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// The session is over, or the server refuses.
    pub async fn members_other_than(&self, seen: &[Member]) -> Result<Vec<Member>, Error> {
        loop {
            let keeper = self.sessions.current().await?;
            let Some((names, alarm)) = keeper.children_watched(&self.dir).await? else {
                if !seen.is_empty() {
                    return Ok(Vec::new());
                }
                let (found, alarm) = keeper.exists_watched(&self.dir).await?;
                if found.is_none() {
                    alarm.await;
                }
                continue;
            };
            let now = self.read(&keeper, names).await?;
            if now != seen {
                return Ok(now);
            }
            alarm.await;
        }
    }

    async fn read(&self, keeper: &Keeper, names: Vec<String>) -> Result<Vec<Member>, Error> {
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let member = match self.layout {
                GroupLayout::ShallowParty => {
                    let id = name.split_once('-').map_or(&*name, |(_, id)| id).to_owned();
                    Member { id, name, data: Vec::new() }
                }
                GroupLayout::Party if !name.contains("__party__") => continue,
                GroupLayout::Curator | GroupLayout::Party => {
                    let path = join(&self.dir, &name);
                    // Gone since the list was read.
                    let Some((data, _)) = keeper.get(&path).await? else { continue };
                    let id = match self.layout {
                        GroupLayout::Party => String::from_utf8_lossy(&data).into_owned(),
                        GroupLayout::Curator | GroupLayout::ShallowParty => name.clone(),
                    };
                    Member { id, name, data }
                }
            };
            members.push(member);
        }
        members.sort();
        Ok(members)
    }
}
