//! get, exists, children, acl, and the watches that they leave.
//!
//! A read that leaves a watch is another builder with another answer: the value and the watch,
//! which cannot be forgotten by accident, nor asked for where none was left. The watch is made as
//! the request is submitted, so an event that comes right behind the answer has where to go.
//! `exists` leaves one also where there is nothing: it waits for the creation.

use std::future::IntoFuture;
use std::mem::take;
use std::str::Utf8Error;

use oxkeeper_proto::request::PathWatch;
use oxkeeper_proto::{ErrorCode, Request, Stat};

use super::{awaited, done};
use crate::Acl;
use crate::client::Client;
use crate::core::{Answer, Call, Outcome};
use crate::driver::Registration;
use crate::error::{Error, ErrorKind};
use crate::reply::{Asked, Reply};
use crate::watch::OneShot;

/// A znode's data and stat.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// zk.create("/data", b"one").await?;
/// let data = zk.get("/data").await?;
/// assert_eq!(data.bytes, Some(b"one".to_vec()));
/// assert_eq!((data.stat.version, data.stat.data_length), (0, 3));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// The data; `None` where it is null, which is not the same as empty.
    pub bytes: Option<Vec<u8>>,
    /// The stat.
    pub stat: Stat,
}

impl Data {
    /// The data, null as empty.
    ///
    /// ```
    /// use oxkeeper_client::Data;
    ///
    /// let null = Data::default();
    /// assert_eq!(null.bytes(), b"");
    /// assert_eq!(Data { bytes: Some(vec![7]), ..null }.bytes(), [7]);
    /// ```
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// The data without a copy, null as empty.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/into-bytes", &[1u8, 2, 3]).await?;
    /// assert_eq!(zk.get("/into-bytes").await?.into_bytes(), [1, 2, 3]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.unwrap_or_default()
    }

    /// The data as text.
    ///
    /// # Errors
    /// If it is none.
    ///
    /// ```
    /// use oxkeeper_client::Data;
    ///
    /// let greeting = Data { bytes: Some("hello".into()), ..Data::default() };
    /// assert_eq!(greeting.text(), Ok("hello"));
    /// assert!(Data { bytes: Some(vec![0xff]), ..greeting }.text().is_err());
    /// ```
    pub fn text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.bytes())
    }
}

/// The watch that the request has left.
fn watch(asked: &mut Asked) -> Result<OneShot, ErrorKind> {
    asked.watch.take().map(|held| OneShot::new(*held)).ok_or(ErrorKind::Answer)
}

fn read_data(outcome: &mut Outcome, _: &mut Asked) -> Result<Data, ErrorKind> {
    match done(outcome)? {
        Answer::Data(bytes, stat) => Ok(Data { stat: *stat, bytes: bytes.take() }),
        _ => Err(ErrorKind::Answer),
    }
}

/// See [`Client::get`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::Get;
///
/// zk.create("/get-builder", b"1").await?;
/// let get: Get<'_> = zk.get("/get-builder");
/// // Each is a request of its own.
/// assert_eq!(get.clone().await?, get.await?);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Get<'a> {
    zk: &'a Client,
    path: &'a str,
}

impl<'a> Get<'a> {
    /// Leaves a watch as well, told of a change of the data or a deletion.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::EventType;
    ///
    /// zk.create("/get-watch", b"1").await?;
    /// let (data, changed) = zk.get("/get-watch").watch().await?;
    /// assert_eq!(data.text()?, "1");
    /// zk.delete("/get-watch").await?;
    /// assert_eq!(changed.await?.kind, EventType::NodeDeleted);
    /// # Ok(())
    /// # });
    /// ```
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/get-send", b"1").await?;
    /// let under_way = [zk.get("/get-send").send(), zk.get("/not-there").send()];
    /// let mut found = Vec::new();
    /// for reply in under_way {
    ///     found.push(reply.await.is_ok());
    /// }
    /// assert_eq!(found, [true, false]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Data> {
        self.zk.ask(self.path, |path| Request::GetData(PathWatch { path, watch: false }), read_data)
    }
}

awaited!(Get => Data);

/// See [`Client::exists`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::Exists;
///
/// let exists: Exists<'_> = zk.exists("/exists-builder");
/// assert_eq!(exists.clone().await?, None);
/// zk.create("/exists-builder", b"").await?;
/// assert!(exists.await?.is_some());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Exists<'a> {
    zk: &'a Client,
    path: &'a str,
}

fn read_exists(outcome: &mut Outcome, _: &mut Asked) -> Result<Option<Stat>, ErrorKind> {
    if let Outcome::Failed { code: ErrorCode::NO_NODE, .. } = outcome {
        return Ok(None);
    }
    match done(outcome)? {
        Answer::Stat(stat) => Ok(Some(*stat)),
        _ => Err(ErrorKind::Answer),
    }
}

impl<'a> Exists<'a> {
    /// Leaves a watch as well, told of a change of the data or a deletion, or if there is no such
    /// znode, of its creation.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::EventType;
    ///
    /// let (nothing, created) = zk.exists("/exists-watch").watch().await?;
    /// assert_eq!(nothing, None);
    /// zk.create("/exists-watch", b"").await?;
    /// assert_eq!(created.await?.kind, EventType::NodeCreated);
    /// # Ok(())
    /// # });
    /// ```
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let before = zk.exists("/exists-send").send();
    /// let create = zk.create("/exists-send", b"").send();
    /// let after = zk.exists("/exists-send").send();
    /// create.await?;
    /// assert_eq!((before.await?.is_some(), after.await?.is_some()), (false, true));
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Option<Stat>> {
        self.zk.ask(
            self.path,
            |path| Request::Exists(PathWatch { path, watch: false }),
            read_exists,
        )
    }
}

awaited!(Exists => Option<Stat>);

/// See [`Client::children`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// zk.create("/children-builder/a", b"").parents().await?;
/// let children = zk.children("/children-builder");
/// assert_eq!(children.clone().await?, ["a"]);
/// let (names, _watch) = children.watch().await?;
/// assert_eq!(names, ["a"]);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Children<'a> {
    zk: &'a Client,
    path: &'a str,
}

fn read_children(outcome: &mut Outcome, _: &mut Asked) -> Result<Vec<String>, ErrorKind> {
    match done(outcome)? {
        Answer::Children(names) => Ok(take(names)),
        _ => Err(ErrorKind::Answer),
    }
}

impl<'a> Children<'a> {
    /// Asks for the znode's stat as well.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/with-stat/a", b"").parents().await?;
    /// let (names, stat) = zk.children("/with-stat").with_stat().await?;
    /// assert_eq!((names.len(), stat.num_children), (1, 1));
    /// # Ok(())
    /// # });
    /// ```
    pub fn with_stat(self) -> ChildrenWithStat<'a> {
        ChildrenWithStat(self)
    }

    /// Leaves a watch as well, told of a change of the set of children or a deletion.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::EventType;
    ///
    /// zk.create("/children-watch", b"").await?;
    /// let (names, changed) = zk.children("/children-watch").watch().await?;
    /// assert!(names.is_empty());
    /// zk.create("/children-watch/a", b"").await?;
    /// assert_eq!(changed.await?.kind, EventType::NodeChildrenChanged);
    /// # Ok(())
    /// # });
    /// ```
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/children-send", b"").await?;
    /// let create = zk.create("/children-send/a", b"").send();
    /// let listed = zk.children("/children-send").send();
    /// assert_eq!(listed.await?, ["a"], "it was submitted behind the create");
    /// create.await?;
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Vec<String>> {
        self.zk.ask(
            self.path,
            |path| Request::GetChildren(PathWatch { path, watch: false }),
            read_children,
        )
    }
}

awaited!(Children => Vec<String>);

/// See [`Children::with_stat`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::ChildrenWithStat;
///
/// zk.create("/listing", b"").await?;
/// let listing: ChildrenWithStat<'_> = zk.children("/listing").with_stat();
/// let before = listing.clone().await?.1;
/// zk.create("/listing/a", b"").await?;
/// assert!(listing.await?.1.pzxid > before.pzxid, "the transaction that changed the set");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct ChildrenWithStat<'a>(Children<'a>);

fn read_children2(outcome: &mut Outcome, _: &mut Asked) -> Result<(Vec<String>, Stat), ErrorKind> {
    match done(outcome)? {
        Answer::ChildrenWithStat(names, stat) => Ok((take(names), *stat)),
        _ => Err(ErrorKind::Answer),
    }
}

impl<'a> ChildrenWithStat<'a> {
    /// Leaves a watch as well, told of a change of the set of children or a deletion.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::EventType;
    ///
    /// zk.create("/listing-watch", b"").await?;
    /// let ((names, stat), changed) = zk.children("/listing-watch").with_stat().watch().await?;
    /// assert_eq!((names.len(), stat.num_children), (0, 0));
    /// zk.delete("/listing-watch").await?;
    /// assert_eq!(changed.await?.kind, EventType::NodeDeleted);
    /// # Ok(())
    /// # });
    /// ```
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let listing = zk.children("/").with_stat().send();
    /// let (names, _stat) = listing.await?;
    /// assert!(names.contains(&"zookeeper".to_owned()));
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<(Vec<String>, Stat)> {
        self.0.zk.ask(
            self.0.path,
            |path| Request::GetChildren2(PathWatch { path, watch: false }),
            read_children2,
        )
    }
}

awaited!(ChildrenWithStat => (Vec<String>, Stat));

/// A read that leaves a watch: its answer comes with the watch.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{Exists, Watched};
///
/// let read: Watched<Exists<'_>> = zk.exists("/watched").watch();
/// let (before, created) = read.await?;
/// assert_eq!(before, None);
/// zk.create("/watched", b"").await?;
/// assert_eq!(created.await?.path, "/watched");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Watched<O>(O);

macro_rules! watched {
    ($builder:ident, $request:ident, $read:ident, $this:ident => $path:expr, $zk:expr,
     $output:ty) => {
        impl<'a> Watched<$builder<'a>> {
            /// Submits it.
            ///
            /// ```
            /// # oxkeeper_scratch::example(async |servers| {
            /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
            /// // What is not there cannot be read: then nothing is watched either.
            /// let data = zk.get("/not-there").watch().send();
            /// let names = zk.children("/not-there").watch().send();
            /// assert!(data.await.is_err() && names.await.is_err());
            /// # Ok(())
            /// # });
            /// ```
            pub fn send(self) -> Reply<($output, OneShot)> {
                let $this = self.0;
                $zk.ask_watched(
                    $path,
                    |path| Request::$request(PathWatch { path, watch: true }),
                    |outcome, asked| Ok(($read(outcome, asked)?, watch(asked)?)),
                )
            }
        }

        impl<'a> IntoFuture for Watched<$builder<'a>> {
            type Output = Result<($output, OneShot), Error>;
            type IntoFuture = Reply<($output, OneShot)>;

            fn into_future(self) -> Self::IntoFuture {
                self.send()
            }
        }
    };
}

watched!(Get, GetData, read_data, get => get.path, get.zk, Data);
watched!(Exists, Exists, read_exists, exists => exists.path, exists.zk, Option<Stat>);
watched!(Children, GetChildren, read_children, of => of.path, of.zk, Vec<String>);
watched!(
    ChildrenWithStat, GetChildren2, read_children2, of => of.0.path, of.0.zk, (Vec<String>, Stat)
);

/// See [`Client::acl`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::GetAcl;
///
/// let ask: GetAcl<'_> = zk.acl("/not-there");
/// assert!(ask.await.expect_err("no such znode").is_no_node());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct GetAcl<'a> {
    zk: &'a Client,
    path: &'a str,
}

impl GetAcl<'_> {
    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/acl-send", b"").await?;
    /// let (acl, stat) = zk.acl("/acl-send").send().await?;
    /// assert_eq!((acl.len(), stat.aversion), (1, 0));
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<(Vec<Acl>, Stat)> {
        self.zk.ask(self.path, Request::GetAcl, |outcome, _| match done(outcome)? {
            Answer::Acl(acl, stat) => Ok((take(acl), *stat)),
            _ => Err(ErrorKind::Answer),
        })
    }
}

awaited!(GetAcl => (Vec<Acl>, Stat));

/// See [`Client::children_count`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::ChildrenCount;
///
/// zk.create("/tally-builder/a", b"").parents().await?;
/// let count: ChildrenCount<'_> = zk.children_count("/tally-builder");
/// assert_eq!(count.clone().await?, 1);
/// zk.create("/tally-builder/a/b", b"").await?;
/// assert_eq!(count.await?, 2);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct ChildrenCount<'a> {
    zk: &'a Client,
    path: &'a str,
}

impl ChildrenCount<'_> {
    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/tally-send", b"").await?;
    /// assert_eq!(zk.children_count("/tally-send").send().await?, 0);
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<usize> {
        self.zk.ask(self.path, Request::GetAllChildrenNumber, |outcome, _| match done(outcome)? {
            Answer::Count(count) => usize::try_from(*count).map_err(|_| ErrorKind::Answer),
            _ => Err(ErrorKind::Answer),
        })
    }
}

awaited!(ChildrenCount => usize);

/// See [`Client::config`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::GetConfig;
///
/// let config: GetConfig<'_> = zk.config();
/// assert_eq!(config.await?, zk.get("/zookeeper/config").await?);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct GetConfig<'a> {
    zk: &'a Client,
}

/// Where every ensemble keeps its membership.
pub(crate) const CONFIG_PATH: &str = "/zookeeper/config";

impl<'a> GetConfig<'a> {
    /// Leaves a watch as well, told when the membership changes.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let (config, _changed) = zk.config().watch().await?;
    /// assert_eq!(config, zk.config().await?);
    /// # Ok(())
    /// # });
    /// ```
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let (config, stat) = (zk.config().send(), zk.exists("/zookeeper/config").send());
    /// assert_eq!(Some(config.await?.stat), stat.await?);
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Data> {
        let path = CONFIG_PATH.into();
        let request = Request::GetData(PathWatch { path, watch: false });
        self.zk.submit(Call::from(request).absolute(), CONFIG_PATH, read_data)
    }
}

awaited!(GetConfig => Data);

impl Watched<GetConfig<'_>> {
    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&format!("{servers}/app")).await?;
    /// let asked = zk.config().watch().send();
    /// let (config, _changed) = asked.await?;
    /// assert_eq!(config, zk.config().await?, "whatever the chroot");
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<(Data, OneShot)> {
        let path = CONFIG_PATH.into();
        let call = Call::from(Request::GetData(PathWatch { path, watch: true })).absolute();
        let mut registration = Registration::new(None);
        self.0.zk.whole().submit_with(
            call,
            CONFIG_PATH,
            |outcome, asked| Ok((read_data(outcome, asked)?, watch(asked)?)),
            Some(&mut registration),
            |held| held,
        )
    }
}

impl<'a> IntoFuture for Watched<GetConfig<'a>> {
    type Output = Result<(Data, OneShot), Error>;
    type IntoFuture = Reply<(Data, OneShot)>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

impl Client {
    /// Reads a znode.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/get", b"hello").await?;
    /// assert_eq!(zk.get("/get").await?.text()?, "hello");
    /// assert!(zk.get("/not-there").await.is_err_and(|error| error.is_no_node()));
    /// # Ok(())
    /// # });
    /// ```
    pub fn get<'a>(&'a self, path: &'a str) -> Get<'a> {
        Get { zk: self, path }
    }

    /// Looks whether there is a znode. That there is none is no error.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// assert_eq!(zk.exists("/exists").await?, None);
    /// let created = zk.create("/exists", b"").await?;
    /// assert_eq!(zk.exists("/exists").await?, created.stat);
    /// # Ok(())
    /// # });
    /// ```
    pub fn exists<'a>(&'a self, path: &'a str) -> Exists<'a> {
        Exists { zk: self, path }
    }

    /// Lists the names of a znode's children, in no particular order.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// for path in ["/children", "/children/b", "/children/a"] {
    ///     zk.create(path, b"").await?;
    /// }
    /// let mut names = zk.children("/children").await?;
    /// names.sort();
    /// assert_eq!(names, ["a", "b"]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn children<'a>(&'a self, path: &'a str) -> Children<'a> {
        Children { zk: self, path }
    }

    /// Reads a znode's ACL.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// zk.create("/acl", b"").await?;
    /// let (acl, _) = zk.acl("/acl").await?;
    /// assert_eq!(acl, [Acl::new(perms::ALL, "world", "anyone")], "where nothing was said");
    /// # Ok(())
    /// # });
    /// ```
    pub fn acl<'a>(&'a self, path: &'a str) -> GetAcl<'a> {
        GetAcl { zk: self, path }
    }

    /// Counts all znodes below this one, at any depth (`getAllChildrenNumber`, 3.6).
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/tally/a/b", b"").parents().await?;
    /// assert_eq!(zk.children_count("/tally").await?, 2);
    /// assert_eq!(zk.children("/tally").await?.len(), 1);
    /// # Ok(())
    /// # });
    /// ```
    pub fn children_count<'a>(&'a self, path: &'a str) -> ChildrenCount<'a> {
        ChildrenCount { zk: self, path }
    }

    /// Reads the ensemble's membership (`/zookeeper/config`), whatever the chroot or namespace.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let team = zk.namespace("/team-d")?;
    /// assert_eq!(team.config().await?, zk.config().await?);
    /// # Ok(())
    /// # });
    /// ```
    pub fn config(&self) -> GetConfig<'_> {
        GetConfig { zk: self }
    }
}
