//! get, exists, children, acl, and the watches that they leave.
//!
//! A read that leaves a watch is another builder with another answer: the value and the watch,
//! which cannot be forgotten by accident, nor asked for where none was left. The watch is made as
//! the request is submitted, so an event that comes right behind the answer has where to go.
//! `exists` leaves one also where there is nothing: it waits for the creation.

use std::future::IntoFuture;
use std::str::Utf8Error;

use oxkeeper_proto::request::PathWatch;
use oxkeeper_proto::{ErrorCode, Request, Stat};

use super::{awaited, done};
use crate::Acl;
use crate::client::Client;
use crate::core::{Answer, Call, Outcome};
use crate::error::{Error, ErrorKind};
use crate::reply::{Asked, Reply};
use crate::watch::OneShot;

/// A znode's data and stat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Data {
    /// The data; `None` where it is null, which is not the same as empty.
    pub bytes: Option<Vec<u8>>,
    /// The stat.
    pub stat: Stat,
}

impl Data {
    /// The data, null as empty.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    /// The data without a copy, null as empty.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.unwrap_or_default()
    }

    /// The data as text.
    ///
    /// # Errors
    /// If it is none.
    pub fn text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.bytes())
    }
}

/// The watch that the request has left.
fn watch(asked: &mut Asked) -> Result<OneShot, ErrorKind> {
    asked.watch.take().map(|held| OneShot::new(*held)).ok_or(ErrorKind::Answer)
}

fn read_data(outcome: Outcome, _: &mut Asked) -> Result<Data, ErrorKind> {
    match done(outcome)? {
        Answer::Data(bytes, stat) => Ok(Data { bytes, stat }),
        _ => Err(ErrorKind::Answer),
    }
}

/// See [`Client::get`].
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Get<'a> {
    zk: &'a Client,
    path: &'a str,
}

impl<'a> Get<'a> {
    /// Leaves a watch as well, told of a change of the data or a deletion.
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
    pub fn send(self) -> Reply<Data> {
        self.zk.ask(self.path, |path| Request::GetData(PathWatch { path, watch: false }), read_data)
    }
}

awaited!(Get => Data);

/// See [`Client::exists`].
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Exists<'a> {
    zk: &'a Client,
    path: &'a str,
}

fn read_exists(outcome: Outcome, _: &mut Asked) -> Result<Option<Stat>, ErrorKind> {
    if let Outcome::Failed { code: ErrorCode::NO_NODE, .. } = outcome {
        return Ok(None);
    }
    match done(outcome)? {
        Answer::Stat(stat) => Ok(Some(stat)),
        _ => Err(ErrorKind::Answer),
    }
}

impl<'a> Exists<'a> {
    /// Leaves a watch as well, told of a change of the data or a deletion, or if there is no such
    /// znode, of its creation.
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
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
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Children<'a> {
    zk: &'a Client,
    path: &'a str,
}

fn read_children(outcome: Outcome, _: &mut Asked) -> Result<Vec<String>, ErrorKind> {
    match done(outcome)? {
        Answer::Children(names) => Ok(names),
        _ => Err(ErrorKind::Answer),
    }
}

impl<'a> Children<'a> {
    /// Asks for the znode's stat as well.
    pub fn with_stat(self) -> ChildrenWithStat<'a> {
        ChildrenWithStat(self)
    }

    /// Leaves a watch as well, told of a change of the set of children or a deletion.
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
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
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct ChildrenWithStat<'a>(Children<'a>);

fn read_children2(outcome: Outcome, _: &mut Asked) -> Result<(Vec<String>, Stat), ErrorKind> {
    match done(outcome)? {
        Answer::ChildrenWithStat(names, stat) => Ok((names, stat)),
        _ => Err(ErrorKind::Answer),
    }
}

impl<'a> ChildrenWithStat<'a> {
    /// Leaves a watch as well, told of a change of the set of children or a deletion.
    pub fn watch(self) -> Watched<Self> {
        Watched(self)
    }

    /// Submits it.
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
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Watched<O>(O);

macro_rules! watched {
    ($builder:ident, $request:ident, $read:ident, $this:ident => $path:expr, $zk:expr,
     $output:ty) => {
        impl<'a> Watched<$builder<'a>> {
            /// Submits it.
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
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct GetAcl<'a> {
    zk: &'a Client,
    path: &'a str,
}

impl GetAcl<'_> {
    /// Submits it.
    pub fn send(self) -> Reply<(Vec<Acl>, Stat)> {
        self.zk.ask(self.path, Request::GetAcl, |outcome, _| match done(outcome)? {
            Answer::Acl(acl, stat) => Ok((acl, stat)),
            _ => Err(ErrorKind::Answer),
        })
    }
}

awaited!(GetAcl => (Vec<Acl>, Stat));

/// See [`Client::children_count`].
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct ChildrenCount<'a> {
    zk: &'a Client,
    path: &'a str,
}

impl ChildrenCount<'_> {
    /// Submits it.
    pub fn send(self) -> Reply<usize> {
        self.zk.ask(self.path, Request::GetAllChildrenNumber, |outcome, _| match done(outcome)? {
            Answer::Count(count) => usize::try_from(count).map_err(|_| ErrorKind::Answer),
            _ => Err(ErrorKind::Answer),
        })
    }
}

awaited!(ChildrenCount => usize);

/// See [`Client::config`].
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct GetConfig<'a> {
    zk: &'a Client,
}

/// Where every ensemble keeps its membership.
pub(crate) const CONFIG_PATH: &str = "/zookeeper/config";

impl GetConfig<'_> {
    /// Submits it.
    pub fn send(self) -> Reply<Data> {
        let path = CONFIG_PATH.into();
        let request = Request::GetData(PathWatch { path, watch: false });
        self.zk.submit(Call::from(request).absolute(), CONFIG_PATH, read_data)
    }
}

awaited!(GetConfig => Data);

impl Client {
    /// Reads a znode.
    pub fn get<'a>(&'a self, path: &'a str) -> Get<'a> {
        Get { zk: self, path }
    }

    /// Looks whether there is a znode. That there is none is no error.
    pub fn exists<'a>(&'a self, path: &'a str) -> Exists<'a> {
        Exists { zk: self, path }
    }

    /// Lists the names of a znode's children, in no particular order.
    pub fn children<'a>(&'a self, path: &'a str) -> Children<'a> {
        Children { zk: self, path }
    }

    /// Reads a znode's ACL.
    pub fn acl<'a>(&'a self, path: &'a str) -> GetAcl<'a> {
        GetAcl { zk: self, path }
    }

    /// Counts all znodes below this one, at any depth (`getAllChildrenNumber`, 3.6).
    pub fn children_count<'a>(&'a self, path: &'a str) -> ChildrenCount<'a> {
        ChildrenCount { zk: self, path }
    }

    /// Reads the ensemble's membership (`/zookeeper/config`), whatever the chroot or namespace.
    pub fn config(&self) -> GetConfig<'_> {
        GetConfig { zk: self }
    }
}
