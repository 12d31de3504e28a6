//! Requests, decoded: numbers are open at the edge, a closed enum inside.
//!
//! Everything borrows from the frame it came in. A multi keeps its operations encoded: they were
//! all checked once, so [`MultiRequest::iter`] cannot fail later. Layouts are those of
//! `zookeeper.jute`; bytes behind a record's last field are ignored, as Java ignores them.

use std::borrow::Cow;

use crate::codec::{DecodeError, Put, Reader};
use crate::data::{AclList, StringList};
use crate::ids::Zxid;
use crate::limits::MULTI_OPS_MAX;
use crate::op::{CreateMode, OpCode};

/// What a request carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Request<'a> {
    /// create, create2, createContainer, createTTL; which one is [`CreateRequest::op`].
    Create(CreateRequest<'a>),
    /// delete.
    Delete(PathVersion<'a>),
    /// exists.
    Exists(PathWatch<'a>),
    /// getData.
    GetData(PathWatch<'a>),
    /// setData.
    SetData(SetDataRequest<'a>),
    /// getACL.
    GetAcl(Cow<'a, str>),
    /// setACL.
    SetAcl(SetAclRequest<'a>),
    /// getChildren.
    GetChildren(PathWatch<'a>),
    /// getChildren2.
    GetChildren2(PathWatch<'a>),
    /// sync; the path is only echoed, null included.
    Sync(Option<Cow<'a, str>>),
    /// ping.
    Ping,
    /// check, legal only inside a multi.
    Check(PathVersion<'a>),
    /// multi.
    Multi(MultiRequest<'a>),
    /// multiRead.
    MultiRead(MultiReadRequest<'a>),
    /// reconfig.
    Reconfig(ReconfigRequest<'a>),
    /// checkWatches.
    CheckWatches(PathKind<'a>),
    /// removeWatches.
    RemoveWatches(PathKind<'a>),
    /// deleteContainer: internal, refused from clients. The path is a bare buffer on the wire.
    DeleteContainer(Option<&'a [u8]>),
    /// auth.
    Auth(AuthRequest<'a>),
    /// setWatches and setWatches2.
    SetWatches(SetWatchesRequest<'a>),
    /// sasl: one token.
    Sasl(Option<&'a [u8]>),
    /// getEphemerals: a prefix, null for all.
    GetEphemerals(Option<Cow<'a, str>>),
    /// getAllChildrenNumber.
    GetAllChildrenNumber(Cow<'a, str>),
    /// addWatch; the kind is 0 persistent, 1 recursive, anything else refused later.
    AddWatch(PathKind<'a>),
    /// whoAmI.
    WhoAmI,
    /// createSession: internal, refused from clients.
    CreateSession,
    /// closeSession.
    CloseSession,
}

/// How a request is served (`Request.isQuorum` and the switch statements around it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes the tree or the session table: takes a zxid.
    Write,
    /// Answered from the tree.
    Read,
    /// Ordered behind the leader's log but changes nothing.
    Sync,
    /// Answered by the connection itself, outside the order.
    Connection,
    /// Not for clients, or not known.
    Refused,
}

impl OpCode {
    /// How a client's request with this number is served.
    pub fn class(self) -> Class {
        match self {
            OpCode::CREATE
            | OpCode::CREATE2
            | OpCode::CREATE_CONTAINER
            | OpCode::CREATE_TTL
            | OpCode::DELETE
            | OpCode::SET_DATA
            | OpCode::SET_ACL
            | OpCode::MULTI
            | OpCode::RECONFIG
            | OpCode::CLOSE_SESSION => Class::Write,
            OpCode::EXISTS
            | OpCode::GET_DATA
            | OpCode::GET_ACL
            | OpCode::GET_CHILDREN
            | OpCode::GET_CHILDREN2
            | OpCode::PING
            | OpCode::CHECK_WATCHES
            | OpCode::REMOVE_WATCHES
            | OpCode::MULTI_READ
            | OpCode::SET_WATCHES
            | OpCode::SET_WATCHES2
            | OpCode::GET_EPHEMERALS
            | OpCode::GET_ALL_CHILDREN_NUMBER
            | OpCode::ADD_WATCH
            | OpCode::WHO_AM_I => Class::Read,
            OpCode::SYNC => Class::Sync,
            OpCode::AUTH | OpCode::SASL => Class::Connection,
            _ => Class::Refused,
        }
    }
}

/// The header before every request but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// Chosen by the client, echoed in the reply.
    pub xid: i32,
    /// What is asked.
    pub op: OpCode,
}

impl RequestHeader {
    /// Decodes the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<RequestHeader, DecodeError> {
        Ok(RequestHeader { xid: reader.i32()?, op: OpCode(reader.i32()?) })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.xid);
        out.put_int(self.op.0);
    }
}

/// Any of the four creates.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateRequest<'a> {
    /// Which create was asked for.
    pub op: OpCode,
    /// The path, without the sequence number.
    pub path: Cow<'a, str>,
    /// The data; null is kept apart from empty.
    pub data: Option<&'a [u8]>,
    /// The ACL as sent.
    pub acl: AclList<'a>,
    /// The create mode, open here because a wrong one is an answer, not a broken frame.
    pub flags: i32,
    /// Time to live in ms; −1 for all but createTTL.
    pub ttl_ms: i64,
}

/// A path and the version it must have, −1 for any.
#[derive(Debug, Clone, PartialEq)]
pub struct PathVersion<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// The expected version.
    pub version: i32,
}

/// A path and whether to leave a watch.
#[derive(Debug, Clone, PartialEq)]
pub struct PathWatch<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// True to leave a watch.
    pub watch: bool,
}

/// A path and a number: watcher type or watch mode.
#[derive(Debug, Clone, PartialEq)]
pub struct PathKind<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// The number as sent.
    pub kind: i32,
}

/// setData.
#[derive(Debug, Clone, PartialEq)]
pub struct SetDataRequest<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// The new data.
    pub data: Option<&'a [u8]>,
    /// The expected version, −1 for any.
    pub version: i32,
}

/// setACL.
#[derive(Debug, Clone, PartialEq)]
pub struct SetAclRequest<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// The new list.
    pub acl: AclList<'a>,
    /// The expected aversion, −1 for any.
    pub version: i32,
}

/// reconfig.
#[derive(Debug, Clone, PartialEq)]
pub struct ReconfigRequest<'a> {
    /// `server.N=…` lines to add or replace.
    pub joining: Option<Cow<'a, str>>,
    /// Ids to remove.
    pub leaving: Option<Cow<'a, str>>,
    /// A whole new configuration instead of the two.
    pub new_members: Option<Cow<'a, str>>,
    /// The configuration version it applies to, −1 for any.
    pub current_config_id: i64,
}

/// auth.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthRequest<'a> {
    /// Ignored by every server.
    pub kind: i32,
    /// The scheme.
    pub scheme: Option<Cow<'a, str>>,
    /// What proves the identity.
    pub auth: Option<&'a [u8]>,
}

/// setWatches and setWatches2.
#[derive(Debug, Clone, PartialEq)]
pub struct SetWatchesRequest<'a> {
    /// The last zxid the client has seen.
    pub relative_zxid: Zxid,
    /// Data watches.
    pub data: StringList<'a>,
    /// Watches on absent znodes.
    pub exist: StringList<'a>,
    /// Child watches.
    pub child: StringList<'a>,
    /// Persistent watches; only setWatches2.
    pub persistent: Option<StringList<'a>>,
    /// Recursive watches; only setWatches2.
    pub recursive: Option<StringList<'a>>,
}

/// One operation of a multi.
#[derive(Debug, Clone, PartialEq)]
pub enum MultiOp<'a> {
    /// Any of the creates.
    Create(CreateRequest<'a>),
    /// delete.
    Delete(PathVersion<'a>),
    /// setData.
    SetData(SetDataRequest<'a>),
    /// check.
    Check(PathVersion<'a>),
}

/// The operations of a multi, checked but still encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiRequest<'a> {
    raw: &'a [u8],
    ops: usize,
}

/// One operation of a multiRead.
#[derive(Debug, Clone, PartialEq)]
pub enum MultiReadOp<'a> {
    /// getData; a watch flag is ignored.
    GetData(Cow<'a, str>),
    /// getChildren; a watch flag is ignored.
    GetChildren(Cow<'a, str>),
}

/// The operations of a multiRead, checked but still encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiReadRequest<'a> {
    raw: &'a [u8],
    ops: usize,
}

impl<'a> Request<'a> {
    /// Decodes the body that belongs to `op`. `None` is a number no server takes from a client.
    pub fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Option<Request<'a>>, DecodeError> {
        Ok(Some(match op {
            OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                Request::Create(CreateRequest::decode(op, reader)?)
            }
            OpCode::DELETE => Request::Delete(PathVersion::decode(reader)?),
            OpCode::EXISTS => Request::Exists(PathWatch::decode(reader)?),
            OpCode::GET_DATA => Request::GetData(PathWatch::decode(reader)?),
            OpCode::SET_DATA => Request::SetData(SetDataRequest::decode(reader)?),
            OpCode::GET_ACL => Request::GetAcl(reader.string()?),
            OpCode::SET_ACL => Request::SetAcl(SetAclRequest::decode(reader)?),
            OpCode::GET_CHILDREN => Request::GetChildren(PathWatch::decode(reader)?),
            OpCode::GET_CHILDREN2 => Request::GetChildren2(PathWatch::decode(reader)?),
            OpCode::SYNC => Request::Sync(reader.opt_string()?),
            OpCode::PING => Request::Ping,
            OpCode::CHECK => Request::Check(PathVersion::decode(reader)?),
            OpCode::MULTI => Request::Multi(MultiRequest::decode(reader)?),
            OpCode::MULTI_READ => Request::MultiRead(MultiReadRequest::decode(reader)?),
            OpCode::RECONFIG => Request::Reconfig(ReconfigRequest::decode(reader)?),
            OpCode::CHECK_WATCHES => Request::CheckWatches(PathKind::decode(reader)?),
            OpCode::REMOVE_WATCHES => Request::RemoveWatches(PathKind::decode(reader)?),
            OpCode::DELETE_CONTAINER => Request::DeleteContainer(reader.buffer()?),
            OpCode::AUTH => Request::Auth(AuthRequest::decode(reader)?),
            OpCode::SET_WATCHES => Request::SetWatches(SetWatchesRequest::decode(reader, false)?),
            OpCode::SET_WATCHES2 => Request::SetWatches(SetWatchesRequest::decode(reader, true)?),
            OpCode::SASL => Request::Sasl(reader.buffer()?),
            OpCode::GET_EPHEMERALS => Request::GetEphemerals(reader.opt_string()?),
            OpCode::GET_ALL_CHILDREN_NUMBER => Request::GetAllChildrenNumber(reader.string()?),
            OpCode::ADD_WATCH => Request::AddWatch(PathKind::decode(reader)?),
            OpCode::WHO_AM_I => Request::WhoAmI,
            OpCode::CREATE_SESSION => Request::CreateSession,
            OpCode::CLOSE_SESSION => Request::CloseSession,
            _ => return Ok(None),
        }))
    }

    /// The number on the wire.
    pub fn op(&self) -> OpCode {
        match self {
            Request::Create(create) => create.op,
            Request::Delete(_) => OpCode::DELETE,
            Request::Exists(_) => OpCode::EXISTS,
            Request::GetData(_) => OpCode::GET_DATA,
            Request::SetData(_) => OpCode::SET_DATA,
            Request::GetAcl(_) => OpCode::GET_ACL,
            Request::SetAcl(_) => OpCode::SET_ACL,
            Request::GetChildren(_) => OpCode::GET_CHILDREN,
            Request::GetChildren2(_) => OpCode::GET_CHILDREN2,
            Request::Sync(_) => OpCode::SYNC,
            Request::Ping => OpCode::PING,
            Request::Check(_) => OpCode::CHECK,
            Request::Multi(_) => OpCode::MULTI,
            Request::MultiRead(_) => OpCode::MULTI_READ,
            Request::Reconfig(_) => OpCode::RECONFIG,
            Request::CheckWatches(_) => OpCode::CHECK_WATCHES,
            Request::RemoveWatches(_) => OpCode::REMOVE_WATCHES,
            Request::DeleteContainer(_) => OpCode::DELETE_CONTAINER,
            Request::Auth(_) => OpCode::AUTH,
            Request::SetWatches(set) if set.persistent.is_some() => OpCode::SET_WATCHES2,
            Request::SetWatches(_) => OpCode::SET_WATCHES,
            Request::Sasl(_) => OpCode::SASL,
            Request::GetEphemerals(_) => OpCode::GET_EPHEMERALS,
            Request::GetAllChildrenNumber(_) => OpCode::GET_ALL_CHILDREN_NUMBER,
            Request::AddWatch(_) => OpCode::ADD_WATCH,
            Request::WhoAmI => OpCode::WHO_AM_I,
            Request::CreateSession => OpCode::CREATE_SESSION,
            Request::CloseSession => OpCode::CLOSE_SESSION,
        }
    }

    /// Appends the body, as a client writes it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::Create(create) => create.encode(out),
            Request::Delete(delete) | Request::Check(delete) => delete.encode(out),
            Request::Exists(read)
            | Request::GetData(read)
            | Request::GetChildren(read)
            | Request::GetChildren2(read) => {
                out.put_string(&read.path);
                out.put_bool(read.watch);
            }
            Request::SetData(set) => set.encode(out),
            Request::GetAcl(path) | Request::GetAllChildrenNumber(path) => out.put_string(path),
            Request::SetAcl(set) => {
                out.put_string(&set.path);
                set.acl.encode(out);
                out.put_int(set.version);
            }
            Request::Sync(path) | Request::GetEphemerals(path) => {
                out.put_opt_string(path.as_deref())
            }
            Request::Multi(multi) => out.extend_from_slice(multi.raw),
            Request::MultiRead(multi) => out.extend_from_slice(multi.raw),
            Request::Reconfig(reconfig) => {
                out.put_opt_string(reconfig.joining.as_deref());
                out.put_opt_string(reconfig.leaving.as_deref());
                out.put_opt_string(reconfig.new_members.as_deref());
                out.put_long(reconfig.current_config_id);
            }
            Request::CheckWatches(path)
            | Request::RemoveWatches(path)
            | Request::AddWatch(path) => {
                out.put_string(&path.path);
                out.put_int(path.kind);
            }
            Request::DeleteContainer(bytes) | Request::Sasl(bytes) => out.put_buffer(*bytes),
            Request::Auth(auth) => {
                out.put_int(auth.kind);
                out.put_opt_string(auth.scheme.as_deref());
                out.put_buffer(auth.auth);
            }
            Request::SetWatches(set) => {
                out.put_long(set.relative_zxid.0);
                let lists = [Some(set.data), Some(set.exist), Some(set.child)];
                for list in lists.into_iter().chain([set.persistent, set.recursive]).flatten() {
                    out.extend_from_slice(list.raw());
                }
            }
            Request::Ping | Request::WhoAmI | Request::CreateSession | Request::CloseSession => {}
        }
    }
}

impl<'a> CreateRequest<'a> {
    fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(CreateRequest {
            op,
            path: reader.string()?,
            data: reader.buffer()?,
            acl: AclList::decode(reader)?,
            flags: reader.i32()?,
            ttl_ms: if op == OpCode::CREATE_TTL { reader.i64()? } else { -1 },
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_string(&self.path);
        out.put_buffer(self.data);
        self.acl.encode(out);
        out.put_int(self.flags);
        if self.op == OpCode::CREATE_TTL {
            out.put_long(self.ttl_ms);
        }
    }
}

impl<'a> PathVersion<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(PathVersion { path: reader.string()?, version: reader.i32()? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_string(&self.path);
        out.put_int(self.version);
    }
}

impl<'a> PathWatch<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(PathWatch { path: reader.string()?, watch: reader.bool()? })
    }
}

impl<'a> PathKind<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(PathKind { path: reader.string()?, kind: reader.i32()? })
    }
}

impl<'a> SetDataRequest<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(SetDataRequest {
            path: reader.string()?,
            data: reader.buffer()?,
            version: reader.i32()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_string(&self.path);
        out.put_buffer(self.data);
        out.put_int(self.version);
    }
}

impl<'a> SetAclRequest<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(SetAclRequest {
            path: reader.string()?,
            acl: AclList::decode(reader)?,
            version: reader.i32()?,
        })
    }
}

impl<'a> ReconfigRequest<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(ReconfigRequest {
            joining: reader.opt_string()?,
            leaving: reader.opt_string()?,
            new_members: reader.opt_string()?,
            current_config_id: reader.i64()?,
        })
    }
}

impl<'a> AuthRequest<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(AuthRequest {
            kind: reader.i32()?,
            scheme: reader.opt_string()?,
            auth: reader.buffer()?,
        })
    }
}

impl<'a> SetWatchesRequest<'a> {
    fn decode(reader: &mut Reader<'a>, second: bool) -> Result<Self, DecodeError> {
        Ok(SetWatchesRequest {
            relative_zxid: Zxid(reader.i64()?),
            data: StringList::decode(reader)?,
            exist: StringList::decode(reader)?,
            child: StringList::decode(reader)?,
            persistent: if second { Some(StringList::decode(reader)?) } else { None },
            recursive: if second { Some(StringList::decode(reader)?) } else { None },
        })
    }
}

/// The header before each operation of a multi, and its end mark (`MultiHeader`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiHeader {
    /// The operation, −1 at the end and for errors in replies.
    pub op: OpCode,
    /// True only in the end mark.
    pub done: bool,
    /// −1 in requests, 0 or an error in replies.
    pub err: i32,
}

impl MultiHeader {
    /// What ends a multi in both directions.
    pub const END: MultiHeader = MultiHeader { op: OpCode(-1), done: true, err: -1 };

    /// Decodes the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<MultiHeader, DecodeError> {
        Ok(MultiHeader { op: OpCode(reader.i32()?), done: reader.bool()?, err: reader.i32()? })
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.op.0);
        out.put_bool(self.done);
        out.put_int(self.err);
    }
}

impl<'a> MultiOp<'a> {
    fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
        Ok(match op {
            OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                let create = CreateRequest::decode(op, reader)?;
                // Java's decoder looks at the flags of all but createTTL, which it judges later.
                if op != OpCode::CREATE_TTL {
                    CreateMode::from_flags(create.flags)?;
                }
                MultiOp::Create(create)
            }
            OpCode::DELETE => MultiOp::Delete(PathVersion::decode(reader)?),
            OpCode::SET_DATA => MultiOp::SetData(SetDataRequest::decode(reader)?),
            OpCode::CHECK => MultiOp::Check(PathVersion::decode(reader)?),
            OpCode::GET_DATA | OpCode::GET_CHILDREN => return Err(DecodeError::MixedMulti),
            OpCode(value) => return Err(DecodeError::Unknown { what: "multi operation", value }),
        })
    }

    /// The number on the wire.
    pub fn op(&self) -> OpCode {
        match self {
            MultiOp::Create(create) => create.op,
            MultiOp::Delete(_) => OpCode::DELETE,
            MultiOp::SetData(_) => OpCode::SET_DATA,
            MultiOp::Check(_) => OpCode::CHECK,
        }
    }

    /// Appends header and record, as a client writes them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        MultiHeader { op: self.op(), done: false, err: -1 }.encode(out);
        match self {
            MultiOp::Create(create) => create.encode(out),
            MultiOp::Delete(op) | MultiOp::Check(op) => op.encode(out),
            MultiOp::SetData(set) => set.encode(out),
        }
    }
}

impl<'a> MultiRequest<'a> {
    /// Decodes the list, checking every operation (`MultiOperationRecord.deserialize`).
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (raw, ops) = walk_multi(reader, |op, reader| MultiOp::decode(op, reader).map(|_| ()))?;
        Ok(MultiRequest { raw, ops })
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.ops
    }

    /// True for a multi without operations, which is legal.
    pub fn is_empty(&self) -> bool {
        self.ops == 0
    }

    /// The operations in order.
    pub fn iter(&self) -> impl Iterator<Item = MultiOp<'a>> + use<'a> {
        let mut reader = Reader::with_field_max(self.raw, usize::MAX);
        (0..self.ops).map_while(move |_| {
            let header = MultiHeader::decode(&mut reader).ok()?;
            MultiOp::decode(header.op, &mut reader).ok()
        })
    }

    /// Appends a multi of these operations, end mark included.
    pub fn encode_ops<'b>(out: &mut Vec<u8>, ops: impl IntoIterator<Item = MultiOp<'b>>) {
        for op in ops {
            op.encode(out);
        }
        MultiHeader::END.encode(out);
    }
}

impl<'a> MultiReadRequest<'a> {
    /// Decodes the list, checking every operation.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (raw, ops) = walk_multi(reader, |op, reader| decode_read_op(op, reader).map(|_| ()))?;
        Ok(MultiReadRequest { raw, ops })
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.ops
    }

    /// True for a multiRead without operations, which is legal.
    pub fn is_empty(&self) -> bool {
        self.ops == 0
    }

    /// The operations in order.
    pub fn iter(&self) -> impl Iterator<Item = MultiReadOp<'a>> + use<'a> {
        let mut reader = Reader::with_field_max(self.raw, usize::MAX);
        (0..self.ops).map_while(move |_| {
            let header = MultiHeader::decode(&mut reader).ok()?;
            decode_read_op(header.op, &mut reader).ok()
        })
    }

    /// Appends a multiRead of these operations, end mark included.
    pub fn encode_ops<'b>(out: &mut Vec<u8>, ops: impl IntoIterator<Item = MultiReadOp<'b>>) {
        for op in ops {
            let (number, path) = match &op {
                MultiReadOp::GetData(path) => (OpCode::GET_DATA, path),
                MultiReadOp::GetChildren(path) => (OpCode::GET_CHILDREN, path),
            };
            MultiHeader { op: number, done: false, err: -1 }.encode(out);
            out.put_string(path);
            out.put_bool(false);
        }
        MultiHeader::END.encode(out);
    }
}

fn decode_read_op<'a>(op: OpCode, reader: &mut Reader<'a>) -> Result<MultiReadOp<'a>, DecodeError> {
    Ok(match op {
        OpCode::GET_DATA => MultiReadOp::GetData(PathWatch::decode(reader)?.path),
        OpCode::GET_CHILDREN => MultiReadOp::GetChildren(PathWatch::decode(reader)?.path),
        OpCode::CREATE
        | OpCode::CREATE2
        | OpCode::CREATE_CONTAINER
        | OpCode::CREATE_TTL
        | OpCode::DELETE
        | OpCode::SET_DATA
        | OpCode::CHECK => return Err(DecodeError::MixedMulti),
        OpCode(value) => return Err(DecodeError::Unknown { what: "multiRead operation", value }),
    })
}

fn walk_multi<'a>(
    reader: &mut Reader<'a>,
    mut check: impl FnMut(OpCode, &mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<(&'a [u8], usize), DecodeError> {
    let start = reader.rest();
    let mut ops = 0;
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok((&start[..start.len() - reader.rest().len()], ops));
        }
        check(header.op, reader)?;
        ops += 1;
        if ops > MULTI_OPS_MAX {
            return Err(DecodeError::Length { len: ops as i32, max: MULTI_OPS_MAX });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::OPEN_ACL_UNSAFE;

    fn create(op: OpCode, flags: i32) -> CreateRequest<'static> {
        CreateRequest {
            op,
            path: "/a".into(),
            data: Some(b"x"),
            acl: OPEN_ACL_UNSAFE,
            flags,
            ttl_ms: if op == OpCode::CREATE_TTL { 5 } else { -1 },
        }
    }

    #[test]
    fn a_multi_round_trips_and_refuses_what_java_refuses() {
        let ops = || {
            [
                MultiOp::Create(create(OpCode::CREATE_TTL, 5)),
                MultiOp::Delete(PathVersion { path: "/b".into(), version: 3 }),
                MultiOp::Check(PathVersion { path: "/c".into(), version: -1 }),
            ]
        };
        let mut out = Vec::new();
        MultiRequest::encode_ops(&mut out, ops());
        let multi = MultiRequest::decode(&mut Reader::new(&out)).unwrap();
        assert_eq!(multi.iter().collect::<Vec<_>>(), ops());

        let mut bad = Vec::new();
        MultiRequest::encode_ops(&mut bad, [MultiOp::Create(create(OpCode::CREATE, 7))]);
        assert!(MultiRequest::decode(&mut Reader::new(&bad)).is_err());

        let mut reads = Vec::new();
        MultiReadRequest::encode_ops(&mut reads, [MultiReadOp::GetData("/a".into())]);
        assert_eq!(MultiRequest::decode(&mut Reader::new(&reads)), Err(DecodeError::MixedMulti));
        assert_eq!(MultiReadRequest::decode(&mut Reader::new(&reads)).unwrap().len(), 1);
    }

    #[test]
    fn every_truncation_of_a_request_is_an_error() {
        let mut out = Vec::new();
        Request::Create(create(OpCode::CREATE_TTL, 6)).encode(&mut out);
        for cut in 0..out.len() {
            let mut reader = Reader::new(&out[..cut]);
            assert!(Request::decode(OpCode::CREATE_TTL, &mut reader).is_err(), "cut at {cut}");
        }
        let mut reader = Reader::new(&out);
        let back = Request::decode(OpCode::CREATE_TTL, &mut reader).unwrap().unwrap();
        assert_eq!(back, Request::Create(create(OpCode::CREATE_TTL, 6)));
    }
}
