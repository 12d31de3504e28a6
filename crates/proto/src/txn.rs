//! Transactions: what the log holds, peers exchange and the tree applies.
//!
//! A payload is header, record and, unless it is an error or digests are off, a digest. The same
//! bytes stand in the log, in proposals and in this server's memory between proposal and commit;
//! [`Txn`] borrows from them. Decoding follows `SerializeUtils.deserializeTxn`, its tolerance for
//! older forms included.

use std::borrow::Cow;

use crate::codec::{DecodeError, Put, Reader};
use crate::data::{AclList, StringList};
use crate::error_code::ErrorCode;
use crate::ids::{SessionId, Zxid};
use crate::op::OpCode;

/// The header of every transaction, 32 bytes (`TxnHeader`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnHeader {
    /// The session that asked.
    pub session: SessionId,
    /// The xid of its request; 0 when the server itself asked.
    pub cxid: i32,
    /// The transaction's place in the order.
    pub zxid: Zxid,
    /// Wall clock of the proposer, ms.
    pub time_ms: i64,
    /// The kind of the record.
    pub op: OpCode,
}

impl TxnHeader {
    /// Encoded size in bytes.
    pub const BYTES: usize = 32;

    /// Appends the header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_long(self.session.0);
        out.put_int(self.cxid);
        out.put_long(self.zxid.0);
        out.put_long(self.time_ms);
        out.put_int(self.op.0);
    }

    /// Decodes the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<TxnHeader, DecodeError> {
        Ok(TxnHeader {
            session: SessionId(reader.i64()?),
            cxid: reader.i32()?,
            zxid: Zxid(reader.i64()?),
            time_ms: reader.i64()?,
            op: OpCode(reader.i32()?),
        })
    }
}

/// What a transaction does.
#[derive(Debug, Clone, PartialEq)]
pub enum Txn<'a> {
    /// A new znode.
    Create(CreateTxn<'a>),
    /// A znode removed; also deleteContainer.
    Delete(Cow<'a, str>),
    /// New data; also reconfig.
    SetData(SetDataTxn<'a>),
    /// A new ACL.
    SetAcl(SetAclTxn<'a>),
    /// A version that was checked; changes nothing.
    Check(CheckTxn<'a>),
    /// A new session with its timeout in ms.
    CreateSession(i32),
    /// The end of a session, with its ephemerals if they were listed.
    CloseSession(Option<StringList<'a>>),
    /// A refused request.
    Error(ErrorCode),
    /// Several at once.
    Multi(MultiTxn<'a>),
}

/// The record of create, create2, createContainer and createTTL.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTxn<'a> {
    /// Which of the four: it decides the kind of znode.
    pub op: OpCode,
    /// The final path.
    pub path: Cow<'a, str>,
    /// The data.
    pub data: Option<&'a [u8]>,
    /// The ACL after fix-up.
    pub acl: AclList<'a>,
    /// Owned by the session of the header; only create and create2 can be.
    pub ephemeral: bool,
    /// The parent's stored cversion afterwards; −1 from very old servers: count up by one.
    pub parent_cversion: i32,
    /// Time to live in ms; only createTTL, else −1.
    pub ttl_ms: i64,
}

/// The record of setData and reconfig.
#[derive(Debug, Clone, PartialEq)]
pub struct SetDataTxn<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// The new data.
    pub data: Option<&'a [u8]>,
    /// The version afterwards.
    pub version: i32,
}

/// The record of setACL.
#[derive(Debug, Clone, PartialEq)]
pub struct SetAclTxn<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// The new list.
    pub acl: AclList<'a>,
    /// The aversion afterwards.
    pub version: i32,
}

/// The record of check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckTxn<'a> {
    /// The path.
    pub path: Cow<'a, str>,
    /// The version plus one; nobody reads it.
    pub version: i32,
}

/// The record of multi: sub-transactions, checked but still encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiTxn<'a> {
    raw: &'a [u8],
}

impl<'a> MultiTxn<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let start = reader.rest();
        for _ in 0..reader.count()?.unwrap_or(0) {
            let op = OpCode(reader.i32()?);
            let record = reader.buffer()?.unwrap_or(&[]);
            Txn::decode_sub(op, record)?;
        }
        Ok(MultiTxn { raw: &start[..start.len() - reader.rest().len()] })
    }

    /// The sub-transactions in order.
    pub fn iter(&self) -> impl Iterator<Item = (OpCode, Txn<'a>)> + use<'a> {
        let mut reader = Reader::with_field_max(self.raw, usize::MAX);
        let count = reader.count().ok().flatten().unwrap_or(0);
        (0..count).map_while(move |_| {
            let op = OpCode(reader.i32().ok()?);
            let record = reader.buffer().ok()?.unwrap_or(&[]);
            Some((op, Txn::decode_sub(op, record).ok()?))
        })
    }

    /// The error of the first sub-transaction that failed: if there is one, nothing was applied.
    pub fn failure(&self) -> Option<ErrorCode> {
        let mut reader = Reader::with_field_max(self.raw, usize::MAX);
        let count = reader.count().ok().flatten().unwrap_or(0);
        (0..count).find_map(|_| {
            let op = OpCode(reader.i32().ok()?);
            let record = reader.buffer().ok()?.unwrap_or(&[]);
            // Whoever applies the multi decodes the others; once is enough.
            if op != OpCode::ERROR {
                return None;
            }
            Reader::new(record).i32().ok().map(ErrorCode)
        })
    }
}

impl<'a> Txn<'a> {
    /// Decodes the record that belongs to `op`. A trailing digest is left in the reader.
    pub fn decode(op: OpCode, reader: &mut Reader<'a>) -> Result<Txn<'a>, DecodeError> {
        Ok(match op {
            OpCode::CREATE | OpCode::CREATE2 => Txn::Create(decode_create(op, reader)?),
            OpCode::CREATE_CONTAINER => Txn::Create(CreateTxn {
                op,
                path: reader.string()?,
                data: reader.buffer()?,
                acl: AclList::decode(reader)?,
                ephemeral: false,
                parent_cversion: reader.i32()?,
                ttl_ms: -1,
            }),
            OpCode::CREATE_TTL => Txn::Create(CreateTxn {
                op,
                path: reader.string()?,
                data: reader.buffer()?,
                acl: AclList::decode(reader)?,
                ephemeral: false,
                parent_cversion: reader.i32()?,
                ttl_ms: reader.i64()?,
            }),
            OpCode::DELETE | OpCode::DELETE_CONTAINER => Txn::Delete(reader.string()?),
            OpCode::SET_DATA | OpCode::RECONFIG => Txn::SetData(SetDataTxn {
                path: reader.string()?,
                data: reader.buffer()?,
                version: reader.i32()?,
            }),
            OpCode::SET_ACL => Txn::SetAcl(SetAclTxn {
                path: reader.string()?,
                acl: AclList::decode(reader)?,
                version: reader.i32()?,
            }),
            OpCode::CHECK => {
                Txn::Check(CheckTxn { path: reader.string()?, version: reader.i32()? })
            }
            OpCode::CREATE_SESSION => Txn::CreateSession(reader.i32()?),
            OpCode::CLOSE_SESSION => Txn::CloseSession(decode_close_session(reader)),
            OpCode::ERROR => Txn::Error(ErrorCode(reader.i32()?)),
            OpCode::MULTI => Txn::Multi(MultiTxn::decode(reader)?),
            OpCode(value) => return Err(DecodeError::Unknown { what: "transaction", value }),
        })
    }

    fn decode_sub(op: OpCode, record: &'a [u8]) -> Result<Txn<'a>, DecodeError> {
        if op == OpCode::MULTI {
            return Err(DecodeError::Unknown { what: "transaction inside a multi", value: op.0 });
        }
        Txn::decode(op, &mut Reader::with_field_max(record, usize::MAX))
    }

    /// Appends the record without header. The operation number is the caller's.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Txn::Create(create) => {
                out.put_string(&create.path);
                out.put_buffer(create.data);
                create.acl.encode(out);
                if create.op == OpCode::CREATE || create.op == OpCode::CREATE2 {
                    out.put_bool(create.ephemeral);
                }
                out.put_int(create.parent_cversion);
                if create.op == OpCode::CREATE_TTL {
                    out.put_long(create.ttl_ms);
                }
            }
            Txn::Delete(path) => out.put_string(path),
            Txn::SetData(set) => {
                out.put_string(&set.path);
                out.put_buffer(set.data);
                out.put_int(set.version);
            }
            Txn::SetAcl(set) => {
                out.put_string(&set.path);
                set.acl.encode(out);
                out.put_int(set.version);
            }
            Txn::Check(check) => {
                out.put_string(&check.path);
                out.put_int(check.version);
            }
            Txn::CreateSession(timeout_ms) => out.put_int(*timeout_ms),
            Txn::CloseSession(paths) => {
                if let Some(paths) = paths {
                    out.extend_from_slice(paths.raw());
                }
            }
            Txn::Error(code) => out.put_int(code.0),
            Txn::Multi(multi) => out.extend_from_slice(multi.raw),
        }
    }
}

/// `CreateTxn`, or its older form without the parent's cversion.
fn decode_create<'a>(op: OpCode, reader: &mut Reader<'a>) -> Result<CreateTxn<'a>, DecodeError> {
    Ok(CreateTxn {
        op,
        path: reader.string()?,
        data: reader.buffer()?,
        acl: AclList::decode(reader)?,
        ephemeral: reader.bool()?,
        parent_cversion: if op == OpCode::CREATE && reader.is_empty() {
            -1
        } else {
            reader.i32()?
        },
        ttl_ms: -1,
    })
}

/// closeSession grew its record late, and a lone digest may stand in its place: the rest is a list
/// of paths only if it parses as one and leaves nothing or exactly a digest.
fn decode_close_session<'a>(reader: &mut Reader<'a>) -> Option<StringList<'a>> {
    let mut attempt = reader.clone();
    let list = StringList::decode(&mut attempt).ok()?;
    if !attempt.is_empty() && attempt.rest().len() < TxnDigest::BYTES {
        return None;
    }
    *reader = attempt;
    Some(list)
}

/// The digest of the whole tree after a transaction, at the end of its payload (`TxnDigest`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxnDigest {
    /// Version of the algorithm; 2 is the only one in use.
    pub version: i32,
    /// The sum of all znodes' digests.
    pub tree_digest: i64,
}

impl TxnDigest {
    /// Encoded size in bytes.
    pub const BYTES: usize = 12;
    /// The version of the algorithm that we compute (`DigestCalculator`).
    pub const VERSION: i32 = 2;

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.version);
        out.put_long(self.tree_digest);
    }

    /// Decodes the record if it is there: older servers wrote none.
    pub fn decode_trailing(reader: &mut Reader<'_>) -> Option<TxnDigest> {
        let mut attempt = reader.clone();
        let digest = TxnDigest { version: attempt.i32().ok()?, tree_digest: attempt.i64().ok()? };
        *reader = attempt;
        Some(digest)
    }
}

/// A whole payload: header, record, digest.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload<'a> {
    /// Who, when, which.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn<'a>,
    /// The tree afterwards, if the proposer said.
    pub digest: Option<TxnDigest>,
}

impl<'a> Payload<'a> {
    /// Decodes a payload. The reader's bound on single fields is lifted: a log must stay readable
    /// whatever request limits were in force when it was written.
    pub fn decode(bytes: &'a [u8]) -> Result<Payload<'a>, DecodeError> {
        let mut reader = Reader::with_field_max(bytes, usize::MAX);
        let header = TxnHeader::decode(&mut reader)?;
        let txn = Txn::decode(header.op, &mut reader)?;
        Ok(Payload { header, txn, digest: TxnDigest::decode_trailing(&mut reader) })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.header.encode(out);
        self.txn.encode(out);
        if let Some(digest) = self.digest {
            digest.encode(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OPEN_ACL_UNSAFE, encode_strings};

    fn payload(op: OpCode, txn: Txn<'_>, digest: Option<TxnDigest>) -> Vec<u8> {
        let header = TxnHeader { session: SessionId(1), cxid: 2, zxid: Zxid(3), time_ms: 4, op };
        let mut out = Vec::new();
        Payload { header, txn, digest }.encode(&mut out);
        out
    }

    #[test]
    fn close_session_with_without_and_instead_of_a_list() {
        let digest = Some(TxnDigest { version: 2, tree_digest: 77 });
        let mut raw = Vec::new();
        encode_strings(&mut raw, &["/a", "/b"]);
        let list = StringList::decode(&mut Reader::new(&raw)).unwrap();
        for (list, digest) in
            [(Some(list), digest), (None, digest), (Some(list), None), (None, None)]
        {
            let bytes = payload(OpCode::CLOSE_SESSION, Txn::CloseSession(list), digest);
            let back = Payload::decode(&bytes).unwrap();
            assert_eq!((back.txn, back.digest), (Txn::CloseSession(list), digest));
        }
    }

    #[test]
    fn the_old_create_has_no_parent_cversion() {
        let create = CreateTxn {
            op: OpCode::CREATE,
            path: "/a".into(),
            data: None,
            acl: OPEN_ACL_UNSAFE,
            ephemeral: true,
            parent_cversion: 9,
            ttl_ms: -1,
        };
        let bytes = payload(OpCode::CREATE, Txn::Create(create.clone()), None);
        let back = Payload::decode(&bytes[..bytes.len() - 4]).unwrap();
        assert_eq!(back.txn, Txn::Create(CreateTxn { parent_cversion: -1, ..create }));
    }

    #[test]
    fn a_multi_inside_a_multi_is_refused_and_cannot_recurse() {
        let mut raw = Vec::new();
        raw.put_int(1);
        raw.put_int(OpCode::MULTI.0);
        raw.put_buffer(Some(&[0, 0, 0, 0]));
        assert!(Txn::decode(OpCode::MULTI, &mut Reader::new(&raw)).is_err());
    }
}
