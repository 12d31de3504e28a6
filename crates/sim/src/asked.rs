//! What clients ask for, as values that own their content.
//!
//! The workload draws them, the history keeps them as they crossed the wire, and the model answers
//! them anew.

use std::borrow::Cow;

use oxkeeper_proto::codec::Put;
use oxkeeper_proto::data::encode_strings;
use oxkeeper_proto::request::{
    CreateRequest, MultiOp, MultiReadOp, MultiReadRequest, MultiRequest, PathKind, PathVersion,
    PathWatch, ReconfigRequest, SetAclRequest, SetDataRequest,
};
use oxkeeper_proto::{CreateMode, OPEN_ACL_UNSAFE, OpCode, Reader, Request, StringList, Zxid};

/// A znode to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// By which of the four operations.
    pub op: OpCode,
    /// What kind.
    pub mode: CreateMode,
    /// Where; a sequential one gets a number behind it.
    pub path: String,
    /// Its data, null kept apart from empty.
    pub data: Option<Vec<u8>>,
    /// Time to live, ms; −1 for all but TTL znodes.
    pub ttl_ms: i64,
}

/// One write of a multi, or a write of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// create, create2, createContainer, createTTL.
    Create(Create),
    /// delete, with the version it must have.
    Delete(String, i32),
    /// setData, with the version it must have.
    SetData(String, Option<Vec<u8>>, i32),
    /// check; only inside a multi.
    Check(String, i32),
}

/// The watches that a client had and sets again on a new connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewatch {
    /// The last zxid that the client has seen.
    pub since: Zxid,
    /// Data watches.
    pub data: Vec<String>,
    /// Watches on znodes that were not there.
    pub exist: Vec<String>,
    /// Child watches.
    pub child: Vec<String>,
    /// Persistent ones.
    pub persistent: Vec<String>,
    /// Recursive ones.
    pub recursive: Vec<String>,
}

impl Rewatch {
    /// True if there is nothing to set again.
    pub fn is_empty(&self) -> bool {
        [&self.data, &self.exist, &self.child, &self.persistent, &self.recursive]
            .iter()
            .all(|list| list.is_empty())
    }
}

/// A change of the ensemble's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconfig {
    /// Lines of servers that join.
    pub joining: Option<String>,
    /// Ids of servers that leave.
    pub leaving: Option<String>,
    /// All members, instead of both.
    pub members: Option<String>,
    /// The version that it starts from, −1 for any.
    pub version: i64,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A write of one znode.
    Edit(Edit),
    /// setACL to the open list, with the aversion it must have.
    SetAcl(String, i32),
    /// multi.
    Multi(Vec<Edit>),
    /// exists, perhaps with a watch.
    Exists(String, bool),
    /// getData, perhaps with a watch.
    GetData(String, bool),
    /// getChildren, perhaps with a watch.
    GetChildren(String, bool),
    /// getChildren2, perhaps with a watch.
    GetChildren2(String, bool),
    /// getACL.
    GetAcl(String),
    /// getEphemerals of everything.
    GetEphemerals,
    /// getAllChildrenNumber.
    GetAllChildrenNumber(String),
    /// multiRead: paths of which data (true) or children (false) are read.
    MultiRead(Vec<(String, bool)>),
    /// addWatch, recursive or not.
    AddWatch(String, bool),
    /// removeWatches of all kinds.
    RemoveWatches(String),
    /// sync.
    Sync(String),
    /// ping.
    Ping,
    /// setWatches2.
    SetWatches(Rewatch),
    /// reconfig.
    Reconfig(Reconfig),
    /// closeSession.
    Close,
}

impl Asked {
    /// The operation's number.
    pub fn op(&self) -> OpCode {
        match self {
            Asked::Edit(edit) => edit.op(),
            Asked::SetAcl(..) => OpCode::SET_ACL,
            Asked::Multi(_) => OpCode::MULTI,
            Asked::Exists(..) => OpCode::EXISTS,
            Asked::GetData(..) => OpCode::GET_DATA,
            Asked::GetChildren(..) => OpCode::GET_CHILDREN,
            Asked::GetChildren2(..) => OpCode::GET_CHILDREN2,
            Asked::GetAcl(_) => OpCode::GET_ACL,
            Asked::GetEphemerals => OpCode::GET_EPHEMERALS,
            Asked::GetAllChildrenNumber(_) => OpCode::GET_ALL_CHILDREN_NUMBER,
            Asked::MultiRead(_) => OpCode::MULTI_READ,
            Asked::AddWatch(..) => OpCode::ADD_WATCH,
            Asked::RemoveWatches(_) => OpCode::REMOVE_WATCHES,
            Asked::Sync(_) => OpCode::SYNC,
            Asked::Ping => OpCode::PING,
            Asked::SetWatches(_) => OpCode::SET_WATCHES2,
            Asked::Reconfig(_) => OpCode::RECONFIG,
            Asked::Close => OpCode::CLOSE_SESSION,
        }
    }

    /// True if it takes a zxid.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Asked::Edit(_)
                | Asked::SetAcl(..)
                | Asked::Multi(_)
                | Asked::Reconfig(_)
                | Asked::Close
        )
    }

    /// Appends the body of the request.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let watched = |path: &str, watch| PathWatch { path: path.to_owned().into(), watch };
        match self {
            Asked::Edit(edit) => edit.encode(out),
            Asked::SetAcl(path, version) => {
                let (path, acl) = (path.into(), OPEN_ACL_UNSAFE);
                Request::SetAcl(SetAclRequest { path, acl, version: *version }).encode(out);
            }
            Asked::Multi(edits) => {
                MultiRequest::encode_ops(out, edits.iter().map(Edit::in_multi));
            }
            Asked::Exists(path, watch) => Request::Exists(watched(path, *watch)).encode(out),
            Asked::GetData(path, watch) => Request::GetData(watched(path, *watch)).encode(out),
            Asked::GetChildren(path, watch) => {
                Request::GetChildren(watched(path, *watch)).encode(out);
            }
            Asked::GetChildren2(path, watch) => {
                Request::GetChildren2(watched(path, *watch)).encode(out);
            }
            Asked::GetAcl(path) => Request::GetAcl(path.into()).encode(out),
            Asked::GetEphemerals => Request::GetEphemerals(None).encode(out),
            Asked::GetAllChildrenNumber(path) => {
                Request::GetAllChildrenNumber(path.into()).encode(out);
            }
            Asked::MultiRead(reads) => {
                let ops = reads.iter().map(|(path, data)| match data {
                    true => MultiReadOp::GetData(path.into()),
                    false => MultiReadOp::GetChildren(path.into()),
                });
                MultiReadRequest::encode_ops(out, ops);
            }
            Asked::AddWatch(path, recursive) => {
                let kind = i32::from(*recursive);
                Request::AddWatch(PathKind { path: path.into(), kind }).encode(out);
            }
            Asked::RemoveWatches(path) => {
                Request::RemoveWatches(PathKind { path: path.into(), kind: 3 }).encode(out);
            }
            Asked::Sync(path) => Request::Sync(Some(path.into())).encode(out),
            Asked::Ping => Request::Ping.encode(out),
            Asked::SetWatches(set) => {
                out.put_long(set.since.0);
                for list in [&set.data, &set.exist, &set.child, &set.persistent, &set.recursive] {
                    encode_strings(out, list);
                }
            }
            Asked::Reconfig(change) => Request::Reconfig(ReconfigRequest {
                joining: change.joining.as_deref().map(Cow::Borrowed),
                leaving: change.leaving.as_deref().map(Cow::Borrowed),
                new_members: change.members.as_deref().map(Cow::Borrowed),
                current_config_id: change.version,
            })
            .encode(out),
            Asked::Close => Request::CloseSession.encode(out),
        }
    }
}

impl Asked {
    /// The request in these bytes; `None` if it is none that this simulator knows.
    pub fn decode(op: OpCode, body: &[u8]) -> Option<Asked> {
        let request = Request::decode(op, &mut Reader::new(body)).ok()??;
        let names = |list: StringList<'_>| list.iter().map(Cow::into_owned).collect();
        Some(match request {
            Request::Create(create) => Asked::Edit(Edit::of(MultiOp::Create(create))?),
            Request::Delete(delete) => Asked::Edit(Edit::of(MultiOp::Delete(delete))?),
            Request::SetData(set) => Asked::Edit(Edit::of(MultiOp::SetData(set))?),
            Request::SetAcl(set) => Asked::SetAcl(set.path.into(), set.version),
            Request::Multi(multi) => {
                Asked::Multi(multi.iter().map(Edit::of).collect::<Option<_>>()?)
            }
            Request::Exists(read) => Asked::Exists(read.path.into(), read.watch),
            Request::GetData(read) => Asked::GetData(read.path.into(), read.watch),
            Request::GetChildren(read) => Asked::GetChildren(read.path.into(), read.watch),
            Request::GetChildren2(read) => Asked::GetChildren2(read.path.into(), read.watch),
            Request::GetAcl(path) => Asked::GetAcl(path.into()),
            Request::GetEphemerals(_) => Asked::GetEphemerals,
            Request::GetAllChildrenNumber(path) => Asked::GetAllChildrenNumber(path.into()),
            Request::MultiRead(multi) => {
                let reads = multi.iter().map(|op| match op {
                    MultiReadOp::GetData(path) => (path.into_owned(), true),
                    MultiReadOp::GetChildren(path) => (path.into_owned(), false),
                });
                Asked::MultiRead(reads.collect())
            }
            Request::AddWatch(add) => Asked::AddWatch(add.path.into(), add.kind == 1),
            Request::RemoveWatches(remove) => Asked::RemoveWatches(remove.path.into()),
            Request::Sync(path) => Asked::Sync(path?.into()),
            Request::Ping => Asked::Ping,
            Request::SetWatches(set) => Asked::SetWatches(Rewatch {
                since: set.relative_zxid,
                data: names(set.data),
                exist: names(set.exist),
                child: names(set.child),
                persistent: set.persistent.map(names).unwrap_or_default(),
                recursive: set.recursive.map(names).unwrap_or_default(),
            }),
            Request::Reconfig(change) => Asked::Reconfig(Reconfig {
                joining: change.joining.map(Cow::into_owned),
                leaving: change.leaving.map(Cow::into_owned),
                members: change.new_members.map(Cow::into_owned),
                version: change.current_config_id,
            }),
            Request::CloseSession => Asked::Close,
            Request::Check(_)
            | Request::CheckWatches(_)
            | Request::DeleteContainer(_)
            | Request::Auth(_)
            | Request::Sasl(_)
            | Request::WhoAmI
            | Request::CreateSession => return None,
        })
    }

    /// True if its answer may leave a watch, or its purpose is one.
    pub fn watches(&self) -> bool {
        match self {
            Asked::Exists(_, watch)
            | Asked::GetData(_, watch)
            | Asked::GetChildren(_, watch)
            | Asked::GetChildren2(_, watch) => *watch,
            Asked::AddWatch(..) => true,
            _ => false,
        }
    }
}

impl Edit {
    fn of(op: MultiOp<'_>) -> Option<Edit> {
        Some(match op {
            MultiOp::Create(create) => Edit::Create(Create {
                op: create.op,
                mode: CreateMode::from_flags(create.flags).ok()?,
                path: create.path.into(),
                data: create.data.map(<[u8]>::to_vec),
                ttl_ms: create.ttl_ms,
            }),
            MultiOp::Delete(delete) => Edit::Delete(delete.path.into(), delete.version),
            MultiOp::SetData(set) => {
                Edit::SetData(set.path.into(), set.data.map(<[u8]>::to_vec), set.version)
            }
            MultiOp::Check(check) => Edit::Check(check.path.into(), check.version),
        })
    }

    /// The operation's number.
    pub fn op(&self) -> OpCode {
        match self {
            Edit::Create(create) => create.op,
            Edit::Delete(..) => OpCode::DELETE,
            Edit::SetData(..) => OpCode::SET_DATA,
            Edit::Check(..) => OpCode::CHECK,
        }
    }

    fn in_multi(&self) -> MultiOp<'_> {
        match self {
            Edit::Create(create) => MultiOp::Create(create.request()),
            Edit::Delete(path, version) => {
                MultiOp::Delete(PathVersion { path: path.into(), version: *version })
            }
            Edit::SetData(path, data, version) => MultiOp::SetData(SetDataRequest {
                path: path.into(),
                data: data.as_deref(),
                version: *version,
            }),
            Edit::Check(path, version) => {
                MultiOp::Check(PathVersion { path: path.into(), version: *version })
            }
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self.in_multi() {
            MultiOp::Create(create) => Request::Create(create).encode(out),
            MultiOp::Delete(delete) => Request::Delete(delete).encode(out),
            MultiOp::SetData(set) => Request::SetData(set).encode(out),
            MultiOp::Check(check) => Request::Check(check).encode(out),
        }
    }
}

impl Create {
    fn request(&self) -> CreateRequest<'_> {
        CreateRequest {
            op: self.op,
            path: (&self.path).into(),
            data: self.data.as_deref(),
            acl: OPEN_ACL_UNSAFE,
            flags: self.mode.flags(),
            ttl_ms: self.ttl_ms,
        }
    }
}

/// A reply's body with everything sorted whose order is nobody's business: names of children, paths
/// of ephemerals.
pub fn normalised(asked: &Asked, body: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(body);
    let mut out = Vec::new();
    let done = match asked {
        Asked::GetChildren(..) | Asked::GetChildren2(..) | Asked::GetEphemerals => {
            sort_names(&mut reader, &mut out)
        }
        Asked::MultiRead(reads) => reads.iter().try_fold((), |(), (_, data)| {
            let header = reader.take(9).ok()?;
            out.extend_from_slice(header);
            match (header[..4] == (-1i32).to_be_bytes(), data) {
                (true, _) => out.extend_from_slice(reader.take(4).ok()?),
                (false, true) => {
                    out.put_buffer(reader.buffer().ok()?);
                    out.extend_from_slice(reader.take(oxkeeper_proto::Stat::BYTES).ok()?);
                }
                (false, false) => sort_names(&mut reader, &mut out)?,
            }
            Some(())
        }),
        _ => Some(()),
    };
    match done {
        Some(()) => out.extend_from_slice(reader.rest()),
        // Not what it should be: to be compared as it came.
        None => out = body.to_vec(),
    }
    out
}

fn sort_names(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Option<()> {
    let count = reader.count().ok()??;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(reader.string().ok()?);
    }
    names.sort();
    encode_strings(out, &names);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_what_follows_is_kept() {
        let (mut shuffled, mut sorted) = (Vec::new(), Vec::new());
        encode_strings(&mut shuffled, &["b", "a"]);
        encode_strings(&mut sorted, &["a", "b"]);
        shuffled.extend_from_slice(b"stat");
        sorted.extend_from_slice(b"stat");
        let asked = Asked::GetChildren2("/".into(), false);
        assert_eq!(normalised(&asked, &shuffled), sorted);
        assert_eq!(normalised(&asked, b"\0\0\0\x09junk"), b"\0\0\0\x09junk", "left as it came");
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let create = Create {
            op: OpCode::CREATE_TTL,
            mode: CreateMode::PersistentTtl,
            path: "/a".into(),
            data: None,
            ttl_ms: 5,
        };
        for asked in [
            Asked::Edit(Edit::Create(create.clone())),
            Asked::Edit(Edit::Delete("/a".into(), 3)),
            Asked::Multi(vec![Edit::Create(create), Edit::Check("/".into(), -1)]),
            Asked::MultiRead(vec![("/a".into(), true), ("/b".into(), false)]),
            Asked::SetWatches(Rewatch { data: vec!["/a".into()], ..Rewatch::default() }),
            Asked::AddWatch("/a".into(), true),
            Asked::Sync("/".into()),
            Asked::Reconfig(Reconfig {
                joining: Some("server.4=d:1:2:observer".into()),
                version: 7,
                ..Reconfig::default()
            }),
            Asked::Close,
        ] {
            let mut body = Vec::new();
            asked.encode(&mut body);
            assert_eq!(Asked::decode(asked.op(), &body), Some(asked));
        }
    }
}
