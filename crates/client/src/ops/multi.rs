//! Several operations in one request: all or nothing, or several reads at one moment.

use std::borrow::Cow;
use std::mem::take;
use std::time::Duration;

use oxkeeper_proto::request::{
    CreateRequest, MultiOp, MultiReadOp, MultiReadRequest, MultiRequest, PathVersion,
    SetDataRequest,
};
use oxkeeper_proto::{CreateMode, ErrorCode, OpCode, Reader, Request, Stat};

use super::create::{Kind, encoded_acl};
use super::read::Data;
use super::write::ANY_VERSION;
use super::{Created, awaited, done};
use crate::Acl;
use crate::client::Client;
use crate::core::{Answer, OpAnswer, Outcome, ReadAnswer};
use crate::error::ErrorKind;
use crate::reply::{Asked, Reply};

/// The result of one operation of a multi that happened.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::MultiResult;
///
/// let work = zk.multi().create("/batch-result", b"".as_slice()).delete("/batch-result");
/// let results = work.await?;
/// let [MultiResult::Created(created), MultiResult::Deleted] = &results[..] else {
///     panic!("one for each operation, in order");
/// };
/// assert_eq!(created.path, "/batch-result");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiResult {
    /// create.
    Created(Created),
    /// delete.
    Deleted,
    /// set.
    Set(Stat),
    /// check.
    Checked,
}

#[derive(Debug, Clone)]
enum Op<'a> {
    Create {
        path: Cow<'a, str>,
        data: Option<Cow<'a, [u8]>>,
        kind: Kind,
        acl: Option<Cow<'a, [Acl]>>,
    },
    Delete {
        path: Cow<'a, str>,
        version: i32,
    },
    Set {
        path: Cow<'a, str>,
        data: Option<Cow<'a, [u8]>>,
        version: i32,
    },
    Check {
        path: Cow<'a, str>,
        version: i32,
    },
}

/// See [`Client::multi`]. What is said behind an operation, as its version, is about that
/// operation.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let mut work = zk.multi();
/// for path in ["/batch", "/batch/a", "/batch/b"] {
///     work = work.create(path, b"".as_slice());
/// }
/// work.await?;
/// assert_eq!(zk.children_count("/batch").await?, 2);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Multi<'a> {
    zk: &'a Client,
    ops: Vec<Op<'a>>,
    fault: Option<&'static str>,
}

impl<'a> Multi<'a> {
    fn push(mut self, op: Op<'a>) -> Self {
        self.ops.push(op);
        self
    }

    /// Creates a znode.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// // What follows in it sees what came before.
    /// let work = zk.multi().create("/batch-create", b"".as_slice());
    /// work.create("/batch-create/child", vec![1u8, 2]).await?;
    /// assert_eq!(zk.get("/batch-create/child").await?.bytes(), [1, 2]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn create(self, path: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, [u8]>>) -> Self {
        let (path, data) = (path.into(), Some(data.into()));
        self.push(Op::Create { path, data, kind: Kind::default(), acl: None })
    }

    /// Sets a znode's data.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/batch-set", b"1").await?;
    /// zk.multi().set("/batch-set", b"2".as_slice()).await?;
    /// assert_eq!(zk.get("/batch-set").await?.text()?, "2");
    /// # Ok(())
    /// # });
    /// ```
    pub fn set(self, path: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, [u8]>>) -> Self {
        let (path, data) = (path.into(), Some(data.into()));
        self.push(Op::Set { path, data, version: ANY_VERSION })
    }

    /// Deletes a znode.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/batch-delete/child", b"").parents().await?;
    /// zk.multi().delete("/batch-delete/child").delete("/batch-delete").await?;
    /// assert_eq!(zk.exists("/batch-delete").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn delete(self, path: impl Into<Cow<'a, str>>) -> Self {
        self.push(Op::Delete { path: path.into(), version: ANY_VERSION })
    }

    /// Refuses the whole multi unless the znode's data has this version; any, if −1.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::ErrorCode;
    ///
    /// zk.create("/batch-check", b"").await?;
    /// let work = zk.multi().check("/batch-check", 7).create("/batch-unmade", b"".as_slice());
    /// let error = work.await.expect_err("it is at version 0");
    /// assert_eq!(error.multi(), Some((0, ErrorCode::BAD_VERSION)));
    /// assert_eq!(zk.exists("/batch-unmade").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn check(self, path: impl Into<Cow<'a, str>>, version: i32) -> Self {
        self.push(Op::Check { path: path.into(), version })
    }

    /// The last operation, a set or delete, only if the data has this version.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/batch-version", b"").await?;
    /// let stale = zk.multi().delete("/batch-version").version(7).await;
    /// assert!(stale.expect_err("it is at version 0").is_bad_version());
    /// zk.multi().delete("/batch-version").version(0).await?;
    /// assert_eq!(zk.exists("/batch-version").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn version(mut self, only: i32) -> Self {
        match self.ops.last_mut() {
            Some(
                Op::Set { version, .. } | Op::Delete { version, .. } | Op::Check { version, .. },
            ) => *version = only,
            Some(Op::Create { .. }) | None => {
                self.fault = Some("a version belongs to a set or a delete");
            }
        }
        self
    }

    /// Null data for the last operation, a create or set.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.multi().create("/batch-null", b"".as_slice()).null().await?;
    /// assert_eq!(zk.get("/batch-null").await?.bytes, None);
    /// assert!(zk.multi().delete("/batch-null").null().await.is_err(), "a delete has no data");
    /// # Ok(())
    /// # });
    /// ```
    pub fn null(mut self) -> Self {
        match self.ops.last_mut() {
            Some(Op::Create { data, .. } | Op::Set { data, .. }) => *data = None,
            Some(Op::Delete { .. } | Op::Check { .. }) | None => {
                self.fault = Some("data belongs to a create or a set");
            }
        }
        self
    }

    fn created(mut self, change: impl FnOnce(&mut Kind, &mut Option<Cow<'a, [Acl]>>)) -> Self {
        match self.ops.last_mut() {
            Some(Op::Create { kind, acl, .. }) => change(kind, acl),
            _ => self.fault = Some("modes and ACLs belong to a create"),
        }
        self
    }

    /// The last operation's znode goes with the session.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.multi().create("/batch-ephemeral", b"".as_slice()).ephemeral().await?;
    /// assert_eq!(zk.ephemerals("/").await?, ["/batch-ephemeral"]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn ephemeral(self) -> Self {
        self.created(|kind, _| kind.ephemeral = true)
    }

    /// The last operation's znode gets a number behind its name.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/batch-sequential", b"").await?;
    /// let work = zk.multi().create("/batch-sequential/n-", b"".as_slice()).sequential();
    /// work.create("/batch-sequential/plain", b"".as_slice()).await?;
    /// assert!(zk.exists("/batch-sequential/n-0000000000").await?.is_some());
    /// assert!(zk.exists("/batch-sequential/plain").await?.is_some());
    /// # Ok(())
    /// # });
    /// ```
    pub fn sequential(self) -> Self {
        self.created(|kind, _| kind.sequential = true)
    }

    /// The last operation's znode is a container.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.multi().create("/batch-container", b"".as_slice()).container().await?;
    /// assert!(zk.exists("/batch-container").await?.is_some());
    /// let both = zk.multi().create("/batch-both", b"".as_slice()).container().ephemeral();
    /// assert!(both.await.is_err(), "it cannot be both");
    /// # Ok(())
    /// # });
    /// ```
    pub fn container(self) -> Self {
        self.created(|kind, _| kind.container = true)
    }

    /// The last operation's znode has a time to live.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use std::time::Duration;
    ///
    /// let day = Duration::from_secs(24 * 3600);
    /// zk.multi().create("/batch-ttl", b"".as_slice()).ttl(day).await?;
    /// assert!(zk.exists("/batch-ttl").await?.is_some());
    /// # Ok(())
    /// # });
    /// ```
    pub fn ttl(self, ttl: Duration) -> Self {
        self.created(|kind, _| kind.ttl = Some(ttl))
    }

    /// The last operation's znode is of this mode.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::CreateMode;
    ///
    /// let work = zk.multi().create("/batch-mode", b"".as_slice()).mode(CreateMode::Ephemeral);
    /// work.await?;
    /// assert_eq!(zk.ephemerals("/").await?, ["/batch-mode"]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn mode(self, mode: CreateMode) -> Self {
        self.created(|kind, _| *kind = Kind::of(mode, kind.ttl))
    }

    /// The last operation's znode has this ACL.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// let acl = vec![Acl::new(perms::READ, "world", "anyone")];
    /// zk.multi().create("/batch-acl", b"".as_slice()).acl(acl).await?;
    /// assert!(zk.set("/batch-acl", b"x").await.is_err_and(|error| error.is_no_auth()));
    /// # Ok(())
    /// # });
    /// ```
    pub fn acl(self, new: impl Into<Cow<'a, [Acl]>>) -> Self {
        self.created(|_, acl| *acl = Some(new.into()))
    }

    /// The number of operations.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let work = zk.multi().check("/a", 1).delete("/b");
    /// assert_eq!(work.len(), 2);
    /// # Ok(())
    /// # });
    /// ```
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// True if there is no operation.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// assert!(zk.multi().is_empty());
    /// assert!(!zk.multi().delete("/a").is_empty());
    /// # Ok(())
    /// # });
    /// ```
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let made = zk.multi().create("/batch-send", b"".as_slice()).send();
    /// let gone = zk.multi().delete("/batch-send").send();
    /// // Both have left, and are executed in this order.
    /// assert_eq!((made.await?.len(), gone.await?.len()), (1, 1));
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Vec<MultiResult>> {
        let mut raw = Vec::new();
        let sent = self.encode(&mut raw);
        match sent {
            Ok(()) => {}
            Err(kind) => return self.zk.refused(kind, OpCode::MULTI, "", read),
        }
        let mut reader = Reader::with_field_max(&raw, usize::MAX);
        match MultiRequest::decode(&mut reader) {
            Ok(multi) => self.zk.submit(Request::Multi(multi).into(), "", read),
            Err(_) => {
                let kind = ErrorKind::Invalid("a multi that cannot be encoded");
                self.zk.refused(kind, OpCode::MULTI, "", read)
            }
        }
    }

    fn encode(&self, raw: &mut Vec<u8>) -> Result<(), ErrorKind> {
        if let Some(fault) = self.fault {
            return Err(ErrorKind::Invalid(fault));
        }
        for op in &self.ops {
            let mut acl_raw = Vec::new();
            match op {
                Op::Create { path, data, kind, acl } => {
                    let (op, flags, ttl_ms) = kind.encode()?;
                    let path = self.zk.full(path, kind.sequential)?;
                    let acl = encoded_acl(acl.as_deref(), &mut acl_raw)?;
                    let data = data.as_deref();
                    MultiOp::Create(CreateRequest { op, path, data, acl, flags, ttl_ms })
                        .encode(raw);
                }
                Op::Delete { path, version } => {
                    let (path, version) = (self.zk.full(path, false)?, *version);
                    MultiOp::Delete(PathVersion { path, version }).encode(raw);
                }
                Op::Set { path, data, version } => {
                    let (path, version) = (self.zk.full(path, false)?, *version);
                    let data = data.as_deref();
                    MultiOp::SetData(SetDataRequest { path, data, version }).encode(raw);
                }
                Op::Check { path, version } => {
                    let (path, version) = (self.zk.full(path, false)?, *version);
                    MultiOp::Check(PathVersion { path, version }).encode(raw);
                }
            }
        }
        MultiRequest::encode_ops(raw, []);
        Ok(())
    }
}

fn read(outcome: &mut Outcome, asked: &mut Asked) -> Result<Vec<MultiResult>, ErrorKind> {
    let Answer::Multi(answers) = done(outcome)? else { return Err(ErrorKind::Answer) };
    let own = |path: String| match asked.root.path() {
        "" => path,
        _ => asked.root.strip(&path),
    };
    let result = |answer| match answer {
        OpAnswer::Created(path, stat) => MultiResult::Created(Created { path: own(path), stat }),
        OpAnswer::Deleted => MultiResult::Deleted,
        OpAnswer::Set(stat) => MultiResult::Set(stat),
        OpAnswer::Checked => MultiResult::Checked,
    };
    Ok(take(answers).into_iter().map(result).collect())
}

awaited!(Multi => Vec<MultiResult>);

/// The result of one operation of a multi of reads.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{ErrorCode, ReadResult};
///
/// let results = zk.multi_read().children("/").get("/not-there").await?;
/// let [ReadResult::Children(names), ReadResult::Failed(code)] = &results[..] else {
///     panic!("one for each operation, in order");
/// };
/// assert!(names.contains(&"zookeeper".to_owned()));
/// assert_eq!(*code, ErrorCode::NO_NODE, "of this one alone");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadResult {
    /// get.
    Data(Data),
    /// children.
    Children(Vec<String>),
    /// This one was refused; the others were not.
    Failed(ErrorCode),
}

/// See [`Client::multi_read`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let mut reads = zk.multi_read();
/// for path in ["/", "/not-there", "/zookeeper"] {
///     reads = reads.children(path);
/// }
/// assert_eq!(reads.await?.len(), 3);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct MultiRead<'a> {
    zk: &'a Client,
    /// Whether it is the children that are asked for.
    ops: Vec<(Cow<'a, str>, bool)>,
}

impl<'a> MultiRead<'a> {
    /// Reads a znode.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::ReadResult;
    ///
    /// zk.create("/reads-get", b"1").await?;
    /// let results = zk.multi_read().get("/reads-get").await?;
    /// assert!(matches!(&results[..], [ReadResult::Data(data)] if data.bytes() == b"1"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn get(mut self, path: impl Into<Cow<'a, str>>) -> Self {
        self.ops.push((path.into(), false));
        self
    }

    /// Lists a znode's children.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::ReadResult;
    ///
    /// zk.create("/reads-children/a", b"").parents().await?;
    /// let results = zk.multi_read().children("/reads-children").await?;
    /// assert_eq!(results, [ReadResult::Children(vec!["a".to_owned()])]);
    /// # Ok(())
    /// # });
    /// ```
    pub fn children(mut self, path: impl Into<Cow<'a, str>>) -> Self {
        self.ops.push((path.into(), true));
        self
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let both = zk.multi_read().get("/").children("/").send();
    /// assert_eq!(both.await?.len(), 2);
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Vec<ReadResult>> {
        let mut ops = Vec::new();
        for (path, children) in &self.ops {
            let path = match self.zk.full(path, false) {
                Ok(path) => path,
                Err(error) => {
                    return self.zk.refused(error.into(), OpCode::MULTI_READ, path, read_all);
                }
            };
            ops.push(match children {
                true => MultiReadOp::GetChildren(path),
                false => MultiReadOp::GetData(path),
            });
        }
        let mut raw = Vec::new();
        MultiReadRequest::encode_ops(&mut raw, ops);
        let mut reader = Reader::with_field_max(&raw, usize::MAX);
        match MultiReadRequest::decode(&mut reader) {
            Ok(multi) => self.zk.submit(Request::MultiRead(multi).into(), "", read_all),
            Err(_) => {
                let kind = ErrorKind::Invalid("a multi that cannot be encoded");
                self.zk.refused(kind, OpCode::MULTI_READ, "", read_all)
            }
        }
    }
}

fn read_all(outcome: &mut Outcome, _: &mut Asked) -> Result<Vec<ReadResult>, ErrorKind> {
    let Answer::MultiRead(answers) = done(outcome)? else { return Err(ErrorKind::Answer) };
    let result = |answer| match answer {
        ReadAnswer::Data(bytes, stat) => ReadResult::Data(Data { bytes, stat }),
        ReadAnswer::Children(names) => ReadResult::Children(names),
        ReadAnswer::Failed(code) => ReadResult::Failed(code),
    };
    Ok(take(answers).into_iter().map(result).collect())
}

awaited!(MultiRead => Vec<ReadResult>);

impl Client {
    /// Several writes that happen together or not at all:
    /// `zk.multi().check("/a", 3).set("/a", b"x").create("/b", b"").ephemeral().await?`. An error
    /// names the operation that was refused ([`Error::multi`](crate::Error::multi)).
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/batch-from", b"1").await?;
    /// zk.multi().delete("/batch-from").create("/batch-to", b"1".as_slice()).await?;
    /// assert_eq!(zk.exists("/batch-from").await?, None);
    /// assert_eq!(zk.get("/batch-to").await?.text()?, "1");
    /// # Ok(())
    /// # });
    /// ```
    pub fn multi(&self) -> Multi<'_> {
        Multi { zk: self, ops: Vec::new(), fault: None }
    }

    /// Several reads of one moment (3.6).
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::ReadResult;
    ///
    /// zk.create("/reads", b"now").await?;
    /// let results = zk.multi_read().get("/reads").children("/reads").await?;
    /// let [ReadResult::Data(data), ReadResult::Children(names)] = &results[..] else {
    ///     panic!("both are there");
    /// };
    /// assert_eq!((data.text()?, names.len()), ("now", 0));
    /// # Ok(())
    /// # });
    /// ```
    pub fn multi_read(&self) -> MultiRead<'_> {
        MultiRead { zk: self, ops: Vec::new() }
    }
}
