//! create, in all its modes.
//!
//! A *protected* create is one that may be repeated. Its name begins with a number that nobody else
//! has (`_c_<uuid>-`, Curator's form, so that either side recognises the other's): when the
//! connection is lost before the answer came, the parent is searched for it, and only if it is not
//! there the znode is created again. Without it, a sequential or ephemeral znode whose answer is
//! lost stays behind unknown to the one who made it, and a lock waits for it for ever.

use std::borrow::Cow;
use std::future::{Future, IntoFuture};
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oxkeeper_proto::data::encode_acl;
use oxkeeper_proto::request::CreateRequest;
use oxkeeper_proto::{AclList, CreateMode, OPEN_ACL_UNSAFE, OpCode, Request, Stat};

use super::done;
use crate::client::Client;
use crate::core::{Answer, Fate, Outcome};
use crate::error::{Error, ErrorKind};
use crate::reply::{Asked, Reply};
use crate::retry::pause;
use crate::{Acl, BoxFuture, uuid};

/// A znode that was created.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let created = zk.create("/created-", b"one").sequential().await?;
/// let number = created.path.strip_prefix("/created-").expect("what was asked for");
/// assert_eq!(number.len(), 10, "and ten digits");
/// assert_eq!(created.stat.map(|stat| stat.data_length), Some(3));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its path: of a sequential or protected znode more than was asked for.
    pub path: String,
    /// Its stat, where the server says it; the `czxid` in it grows with every create.
    pub stat: Option<Stat>,
}

/// See [`Client::create`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let create = zk.create("/create-later", b"").ephemeral();
/// assert_eq!(zk.exists("/create-later").await?, None, "nothing has been sent");
/// create.await?;
/// assert!(zk.exists("/create-later").await?.is_some());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Create<'a> {
    zk: &'a Client,
    path: &'a str,
    data: Option<&'a [u8]>,
    kind: Kind,
    acl: Option<Cow<'a, [Acl]>>,
    parents: bool,
    protected: bool,
}

/// What a create asks for, before it is known to fit together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kind {
    pub(crate) ephemeral: bool,
    pub(crate) sequential: bool,
    pub(crate) container: bool,
    pub(crate) ttl: Option<Duration>,
}

impl Kind {
    pub(crate) fn of(mode: CreateMode, ttl: Option<Duration>) -> Kind {
        Kind {
            ephemeral: mode.is_ephemeral(),
            sequential: mode.is_sequential(),
            container: mode == CreateMode::Container,
            // Without one the mode is refused: a server would too.
            ttl: ttl.or(mode.is_ttl().then_some(Duration::ZERO)),
        }
    }

    /// The operation, flags and time to live that say it.
    pub(crate) fn encode(self) -> Result<(OpCode, i32, i64), ErrorKind> {
        let invalid = |what| Err(ErrorKind::Invalid(what));
        let Kind { ephemeral, sequential, container, ttl } = self;
        if let Some(ttl) = ttl {
            let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            if ephemeral || container {
                return invalid("a time to live is for persistent znodes");
            }
            // `EphemeralType.TTL`: the rest of the eight bytes says what it is.
            if !(1..=0xff_ffff_ffff).contains(&ttl_ms) {
                return invalid("a time to live is from 1 ms to about 34 years");
            }
            let mode = match sequential {
                true => CreateMode::PersistentSequentialTtl,
                false => CreateMode::PersistentTtl,
            };
            return Ok((OpCode::CREATE_TTL, mode.flags(), ttl_ms));
        }
        let (op, mode) = match (ephemeral, sequential, container) {
            (false, false, true) => (OpCode::CREATE_CONTAINER, CreateMode::Container),
            (_, _, true) => return invalid("a container is neither ephemeral nor sequential"),
            (false, false, false) => (OpCode::CREATE2, CreateMode::Persistent),
            (false, true, false) => (OpCode::CREATE2, CreateMode::PersistentSequential),
            (true, false, false) => (OpCode::CREATE2, CreateMode::Ephemeral),
            (true, true, false) => (OpCode::CREATE2, CreateMode::EphemeralSequential),
        };
        Ok((op, mode.flags(), -1))
    }
}

/// An ACL as it is sent; open to all where none is given.
pub(crate) fn encoded_acl<'a>(
    acl: Option<&[Acl]>,
    raw: &'a mut Vec<u8>,
) -> Result<AclList<'a>, ErrorKind> {
    let Some(acl) = acl else { return Ok(OPEN_ACL_UNSAFE) };
    encode_acl(raw, acl);
    AclList::from_raw(raw).map_err(|_| ErrorKind::Invalid("an ACL that cannot be encoded"))
}

fn read(outcome: &mut Outcome, asked: &mut Asked) -> Result<Created, ErrorKind> {
    let (path, stat) = match done(outcome)? {
        Answer::CreatedWithStat(path, stat) => (path, Some(*stat)),
        Answer::Created(path) => (path, None),
        _ => return Err(ErrorKind::Answer),
    };
    let path = take(path);
    let path = if asked.root.path().is_empty() { path } else { asked.root.strip(&path) };
    Ok(Created { path, stat })
}

impl<'a> Create<'a> {
    /// Goes with the session.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/create-ephemeral", b"").ephemeral().await?;
    /// let stat = zk.exists("/create-ephemeral").await?.expect("it is there");
    /// assert_eq!(Some(stat.ephemeral_owner), zk.session_id());
    /// # Ok(())
    /// # });
    /// ```
    pub fn ephemeral(mut self) -> Self {
        self.kind.ephemeral = true;
        self
    }

    /// The server completes the name with ten digits that grow with every create in the parent.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/create-sequential", b"").await?;
    /// for expected in ["/create-sequential/n-0000000000", "/create-sequential/n-0000000001"] {
    ///     let created = zk.create("/create-sequential/n-", b"").sequential().await?;
    ///     assert_eq!(created.path, expected);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn sequential(mut self) -> Self {
        self.kind.sequential = true;
        self
    }

    /// The server removes it some time after its last child is gone.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::Fate;
    ///
    /// zk.create("/create-container", b"").container().await?;
    /// zk.create("/create-container/member", b"").ephemeral().await?;
    /// let both = zk.create("/create-container/x", b"").container().ephemeral();
    /// let error = both.await.expect_err("it cannot be both");
    /// assert_eq!(error.fate(), Fate::DidNotHappen);
    /// # Ok(())
    /// # });
    /// ```
    pub fn container(mut self) -> Self {
        self.kind.container = true;
        self
    }

    /// The server removes it when it has no children and was not changed for this time. The server
    /// must have it enabled (`extendedTypesEnabled`).
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use std::time::Duration;
    ///
    /// zk.create("/create-ttl", b"").ttl(Duration::from_secs(3600)).await?;
    /// assert!(zk.exists("/create-ttl").await?.is_some());
    /// assert!(zk.create("/create-ttl/x", b"").ttl(Duration::ZERO).await.is_err());
    /// # Ok(())
    /// # });
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.kind.ttl = Some(ttl);
        self
    }

    /// All of the above by ZooKeeper's name. For the modes with a time to live, [`Create::ttl`]
    /// says it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::CreateMode;
    ///
    /// let created = zk.create("/create-mode-", b"").mode(CreateMode::EphemeralSequential).await?;
    /// assert_ne!(created.path, "/create-mode-", "it has got a number");
    /// assert_eq!(created.stat.map(|stat| stat.ephemeral_owner), zk.session_id());
    /// # Ok(())
    /// # });
    /// ```
    pub fn mode(mut self, mode: CreateMode) -> Self {
        self.kind = Kind::of(mode, self.kind.ttl);
        self
    }

    /// Who may do what. Anybody everything, where nothing is said.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// let acl = vec![Acl::new(perms::READ, "world", "anyone")];
    /// zk.create("/create-acl", b"").acl(acl).await?;
    /// let error = zk.set("/create-acl", b"x").await.expect_err("it may only be read");
    /// assert!(error.is_no_auth());
    /// # Ok(())
    /// # });
    /// ```
    pub fn acl(self, acl: impl Into<Cow<'a, [Acl]>>) -> Self {
        Create { acl: Some(acl.into()), ..self }
    }

    /// Other data; `None` is null, which is not the same as empty.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/create-data", b"").data(None).await?;
    /// assert_eq!(zk.get("/create-data").await?.bytes, None, "not empty, but null");
    /// # Ok(())
    /// # });
    /// ```
    pub fn data(self, data: Option<&'a [u8]>) -> Self {
        Create { data, ..self }
    }

    /// Creates missing znodes above it as well: persistent, empty, and with the same ACL.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/create-parents/a/b", b"deep").parents().await?;
    /// assert_eq!(zk.get("/create-parents/a").await?.bytes(), b"");
    /// assert_eq!(zk.get("/create-parents/a/b").await?.text()?, "deep");
    /// # Ok(())
    /// # });
    /// ```
    pub fn parents(self) -> Self {
        Create { parents: true, ..self }
    }

    /// Gives it a name that nobody else has, `_c_<uuid>-` before what was asked for, and creates it
    /// exactly once: a lost connection is followed up until the znode is there or the session is
    /// over. Curator's `withProtection`.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let created = zk.create("/create-protected", b"").protected().await?;
    /// assert!(created.path.starts_with("/_c_"));
    /// assert!(created.path.ends_with("-create-protected"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn protected(self) -> Self {
        Create { protected: true, ..self }
    }

    /// Submits it. One with [`parents`](Create::parents) or [`protected`](Create::protected) takes
    /// several requests: the first is submitted now, the others as the future is polled.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let paths = ["/create-send-a", "/create-send-b"];
    /// let under_way = paths.map(|path| zk.create(path, b"").send());
    /// for (creating, path) in under_way.into_iter().zip(paths) {
    ///     assert_eq!(creating.await?.path, path);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Creating {
        if !self.parents && !self.protected {
            return Creating(Way::Plain(self.submit()));
        }
        let owned = Owned {
            zk: self.zk.clone(),
            path: self.path.to_owned(),
            data: self.data.map(<[u8]>::to_vec),
            kind: self.kind,
            acl: self.acl.map(Cow::into_owned),
            parents: self.parents,
        };
        Creating(Way::Long(match self.protected {
            true => Box::pin(owned.protected()),
            false => {
                let first = owned.as_create(&owned.path).submit();
                Box::pin(owned.with_parents(first))
            }
        }))
    }

    fn submit(&self) -> Reply<Created> {
        let Create { zk, path, data, .. } = *self;
        let mut raw = Vec::new();
        let parts = self
            .kind
            .encode()
            .and_then(|kind| Ok((kind, encoded_acl(self.acl.as_deref(), &mut raw)?)))
            .and_then(|parts| Ok((parts, zk.full(path, self.kind.sequential)?)));
        match parts {
            Ok((((op, flags, ttl_ms), acl), path)) => {
                let create = CreateRequest { op, path, data, acl, flags, ttl_ms };
                zk.submit(Request::Create(create).into(), self.path, read)
            }
            Err(kind) => zk.refused(kind, OpCode::CREATE2, path, read),
        }
    }
}

impl IntoFuture for Create<'_> {
    type Output = Result<Created, Error>;
    type IntoFuture = Creating;

    fn into_future(self) -> Creating {
        self.send()
    }
}

/// The future of a [`Create`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::Creating;
///
/// let creating = zk.create("/creating", b"").send();
/// // It is on its way whether or not it is awaited.
/// assert!(zk.exists("/creating").await?.is_some());
/// assert_eq!(creating.await?.path, "/creating");
/// # Ok(())
/// # });
/// ```
#[must_use = "dropping it takes the request back if it was not sent yet"]
#[derive(Debug)]
pub struct Creating(Way);

enum Way {
    Plain(Reply<Created>),
    Long(BoxFuture<Result<Created, Error>>),
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Way::Plain(reply) => reply.fmt(f),
            Way::Long(_) => f.write_str("Long"),
        }
    }
}

impl Future for Creating {
    type Output = Result<Created, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Plain(reply) => Pin::new(reply).poll(cx),
            Way::Long(long) => long.as_mut().poll(cx),
        }
    }
}

/// How often missing parents are made before whoever deletes them has won.
const PARENTS_TRIES: usize = 16;

/// A create that takes several requests.
struct Owned {
    zk: Client,
    path: String,
    data: Option<Vec<u8>>,
    kind: Kind,
    acl: Option<Vec<Acl>>,
    parents: bool,
}

impl Owned {
    fn as_create<'a>(&'a self, path: &'a str) -> Create<'a> {
        Create {
            zk: &self.zk,
            path,
            data: self.data.as_deref(),
            kind: self.kind,
            acl: self.acl.as_deref().map(Cow::Borrowed),
            parents: false,
            protected: false,
        }
    }

    /// Creates the znode, and what is missing above it when the server says so. Whoever deletes
    /// them meanwhile makes it begin anew, but not for ever.
    async fn with_parents(self, first: Reply<Created>) -> Result<Created, Error> {
        let mut last = first.await;
        for _ in 0..PARENTS_TRIES {
            match last {
                Err(error) if error.is_no_node() => self.make_parents(error).await?,
                last => return last,
            }
            last = self.as_create(&self.path).submit().await;
        }
        last
    }

    /// Creates what is above the znode, the namespace included. Where nothing can be missing, as
    /// when it is the chroot that is, the error stays what it was.
    async fn make_parents(&self, missing: Error) -> Result<(), Error> {
        let zk = self.zk.whole();
        let path = match self.zk.full(&self.path, true) {
            Ok(path) => path,
            Err(_) => return Err(missing),
        };
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let sent: Vec<_> = above
            .filter(|path| !path.is_empty())
            .map(|path| Create {
                zk: &zk,
                kind: Kind::default(),
                data: Some(b""),
                ..self.as_create(path)
            })
            .map(|create| create.submit())
            .collect();
        let mut last = Err(missing);
        for reply in sent {
            last = match reply.await {
                // NOAUTH may come of a znode that is there: what matters is the last.
                Err(error) if !error.is_node_exists() => Err(error),
                Ok(_) | Err(_) => Ok(()),
            };
        }
        last
    }

    async fn protected(self) -> Result<Created, Error> {
        let Some((parent, name)) = self.path.rsplit_once('/') else {
            // It is no path, and is refused as such.
            return self.as_create(&self.path).submit().await;
        };
        let parent = parent.to_owned();
        let prefix = format!("_c_{}-", uuid::random());
        let path = format!("{parent}/{prefix}{name}");
        let own = Owned { path, ..self };
        let mut orphan = Orphan { zk: own.zk.clone(), at: None };
        let mut parents_tried = 0;
        for tried in 1.. {
            orphan.at = Some((parent.clone(), prefix.clone()));
            let error = match own.as_create(&own.path).submit().await {
                Err(error)
                    if error.is_no_node() && own.parents && parents_tried < PARENTS_TRIES =>
                {
                    orphan.at = None;
                    parents_tried += 1;
                    own.make_parents(error).await?;
                    continue;
                }
                Err(error) if error.fate() == Fate::Unknown && error.is_temporary() => error,
                ended => {
                    orphan.at = None;
                    return ended;
                }
            };
            tracing::debug!(%error, "looking for a protected znode");
            // Whoever cannot look does not know.
            let found = find(&own.zk, &parent, &prefix).await;
            if let Some(found) = found.map_err(|error| error.after(true))? {
                orphan.at = None;
                return Ok(found);
            }
            pause(tried).await;
        }
        unreachable!("counted for ever")
    }
}

/// A protected znode whose creator has gone before it knew: it is looked for and deleted in the
/// background, as long as the session lives (Curator's `FindAndDeleteProtectedNodeInBackground`).
struct Orphan {
    zk: Client,
    /// The parent and the number.
    at: Option<(String, String)>,
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let Some((parent, prefix)) = self.at.take() else { return };
        let zk = self.zk.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            for tried in 1.. {
                let Ok(Some(found)) = find(&zk, &parent, &prefix).await else { return };
                match zk.delete(&found.path).await {
                    Err(error) if error.is_temporary() => pause(tried).await,
                    Ok(()) | Err(_) => return,
                }
            }
        });
    }
}

/// The znode that bears this number. A lost connection is followed up: to look again is safe.
async fn find(zk: &Client, parent: &str, prefix: &str) -> Result<Option<Created>, Error> {
    let parent = if parent.is_empty() { "/" } else { parent };
    for tried in 1.. {
        // A follower may be behind the one that took the create.
        let synced = zk.sync(parent).send();
        let listed = zk.children(parent).send();
        let names = match (synced.await, listed.await) {
            (Err(error), _) | (_, Err(error)) if error.is_temporary() => {
                pause(tried).await;
                continue;
            }
            (Err(error), _) | (_, Err(error)) if error.is_no_node() => return Ok(None),
            (synced, listed) => {
                synced?;
                listed?
            }
        };
        let Some(name) = names.into_iter().find(|name| name.starts_with(prefix)) else {
            return Ok(None);
        };
        let path = format!("{}/{name}", parent.trim_end_matches('/'));
        match zk.exists(&path).await {
            Err(error) if error.is_temporary() => pause(tried).await,
            Err(error) => return Err(error),
            Ok(None) => return Ok(None),
            Ok(stat) => return Ok(Some(Created { path, stat })),
        }
    }
    unreachable!("counted for ever")
}

impl Client {
    /// Creates a znode.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let created = zk.create("/create", "first").await?;
    /// assert_eq!(created.path, "/create");
    /// let error = zk.create("/create", "second").await.expect_err("it is there");
    /// assert!(error.is_node_exists());
    /// # Ok(())
    /// # });
    /// ```
    pub fn create<'a>(
        &'a self,
        path: &'a str,
        data: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Create<'a> {
        Create {
            zk: self,
            path,
            data: Some(data.as_ref()),
            kind: Kind::default(),
            acl: None,
            parents: false,
            protected: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_said_by_its_own_operation_and_what_does_not_fit_is_refused() {
        let modes = [
            (CreateMode::Persistent, OpCode::CREATE2),
            (CreateMode::Ephemeral, OpCode::CREATE2),
            (CreateMode::PersistentSequential, OpCode::CREATE2),
            (CreateMode::EphemeralSequential, OpCode::CREATE2),
            (CreateMode::Container, OpCode::CREATE_CONTAINER),
        ];
        for (mode, op) in modes {
            assert_eq!(Kind::of(mode, None).encode(), Ok((op, mode.flags(), -1)));
        }
        for mode in [CreateMode::PersistentTtl, CreateMode::PersistentSequentialTtl] {
            let ttl = Some(Duration::from_millis(7));
            let said = Kind::of(mode, ttl).encode();
            assert_eq!(said, Ok((OpCode::CREATE_TTL, mode.flags(), 7)));
            assert!(Kind::of(mode, None).encode().is_err(), "how long?");
        }
        let container = Kind::of(CreateMode::Container, None);
        assert!(Kind { ephemeral: true, ..container }.encode().is_err());
        assert!(Kind { ttl: Some(Duration::MAX), ..Kind::default() }.encode().is_err());
    }
}
