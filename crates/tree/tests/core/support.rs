//! Payloads, dumps, and snapshots as files hold them.
//!
//! A dump is what a client could find out by asking for every znode; a file is put together and
//! taken apart here without storage, seals included.

use std::collections::{BTreeMap, BTreeSet};

use oxkeeper_proto::data::encode_acl;
use oxkeeper_proto::txn::{CreateTxn, SetAclTxn, SetDataTxn};
use oxkeeper_proto::{
    Acl, AclList, ErrorCode, OPEN_ACL_UNSAFE, OpCode, Payload, Put, SessionId, StatPersisted, Txn,
    TxnHeader, Zxid,
};
use oxkeeper_tree::snapshot::{self, Loaded};
use oxkeeper_tree::{
    ChangeKind, Changes, LoadError, OwnerRules, SnapshotHead, SnapshotSource, Tree, TreeOptions,
};

/// Extended types on, as in all recordings.
pub const OPTIONS: TreeOptions = TreeOptions {
    hash_seed: 5,
    digest_enabled: true,
    owner_rules: OwnerRules { extended_types: true, emulate_353: false },
};

pub fn create_txn<'a>(op: OpCode, path: &'a str, data: Option<&'a [u8]>) -> CreateTxn<'a> {
    CreateTxn {
        op,
        path: path.into(),
        data,
        acl: OPEN_ACL_UNSAFE,
        ephemeral: false,
        parent_cversion: -1,
        ttl_ms: 1000,
    }
}

pub fn set_data<'a>(path: &'a str, data: Option<&'a [u8]>, version: i32) -> Txn<'a> {
    Txn::SetData(SetDataTxn { path: path.into(), data, version })
}

pub fn set_acl<'a>(path: &'a str, acl: &'a [u8], version: i32) -> Txn<'a> {
    let acl = AclList::from_raw(acl).expect("a list");
    Txn::SetAcl(SetAclTxn { path: path.into(), acl, version })
}

/// A list of one digest identity.
pub fn acl_of(id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode_acl(&mut out, &[Acl::new(31, "digest", id)]);
    out
}

/// A payload without digest; session, zxid and time are one number each.
pub fn payload<'a>(session: i64, zxid: i64, op: OpCode, txn: Txn<'a>) -> Payload<'a> {
    let header = TxnHeader {
        session: SessionId(session),
        cxid: 0,
        zxid: Zxid(zxid),
        time_ms: 1000 + zxid,
        op,
    };
    Payload { header, txn, digest: None }
}

/// A tree with whoever writes to it.
pub struct Writer {
    pub tree: Tree,
    pub changes: Changes,
    pub zxid: i64,
    pub reply: Vec<u8>,
}

impl Writer {
    pub fn new() -> Writer {
        Writer { tree: Tree::new(OPTIONS), changes: Changes::new(), zxid: 0, reply: Vec::new() }
    }

    /// Applies the next transaction; the reply's body stays in `reply`.
    pub fn apply(&mut self, session: i64, op: OpCode, txn: Txn<'_>) -> ErrorCode {
        self.zxid += 1;
        self.reply.clear();
        let payload = payload(session, self.zxid, op, txn);
        self.tree.apply(&payload, &mut self.changes, Some(&mut self.reply))
    }

    pub fn create(&mut self, path: &str) -> ErrorCode {
        self.apply(1, OpCode::CREATE, Txn::Create(create_txn(OpCode::CREATE, path, Some(b"x"))))
    }

    pub fn create_ephemeral(&mut self, session: i64, path: &str) -> ErrorCode {
        let create = create_txn(OpCode::CREATE, path, None);
        self.apply(session, OpCode::CREATE, Txn::Create(CreateTxn { ephemeral: true, ..create }))
    }

    pub fn delete(&mut self, path: &str) -> ErrorCode {
        self.apply(1, OpCode::DELETE, Txn::Delete(path.into()))
    }

    pub fn set(&mut self, path: &str, data: &str) -> ErrorCode {
        let version = self.tree.node(path).map_or(0, |node| node.persisted().version + 1);
        self.apply(1, OpCode::SET_DATA, set_data(path, Some(data.as_bytes()), version))
    }

    /// What changed since the last call.
    pub fn changed(&mut self) -> Vec<(ChangeKind, String)> {
        let seen = self.changes.iter().map(|c| (c.kind, c.path.to_owned())).collect();
        self.changes.clear();
        seen
    }

    pub fn data(&self, path: &str) -> String {
        let data = self.tree.node(path).and_then(|node| node.data()).unwrap_or(b"(none)");
        String::from_utf8_lossy(data).into_owned()
    }
}

/// Everything a client can find out about one znode.
#[derive(Debug, Clone, PartialEq)]
pub struct Dump {
    pub data: Option<Vec<u8>>,
    pub acl: Vec<u8>,
    pub stat: StatPersisted,
    pub children: BTreeSet<String>,
}

/// Every znode by its path, the root as `/`.
pub fn dump(tree: &Tree) -> BTreeMap<String, Dump> {
    let mut all = BTreeMap::new();
    let mut paths = vec![String::new()];
    while let Some(path) = paths.pop() {
        let node = tree.node(&path).expect("a child exists");
        let children: BTreeSet<String> = node.children().map(str::to_owned).collect();
        assert_eq!(children.len(), node.num_children());
        paths.extend(children.iter().map(|name| format!("{path}/{name}")));
        let dump = Dump {
            data: node.data().map(<[u8]>::to_vec),
            acl: node.acl().raw().to_vec(),
            stat: node.persisted(),
            children,
        };
        all.insert(if path.is_empty() { "/".to_owned() } else { path }, dump);
    }
    all
}

/// Everything in a tree that a snapshot keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub znodes: BTreeMap<String, Dump>,
    pub sessions: Vec<(SessionId, i32)>,
    pub digest: i64,
    pub zxid: Zxid,
}

pub fn state(tree: &Tree) -> State {
    State {
        znodes: dump(tree),
        sessions: tree.sessions().collect(),
        digest: tree.digest(),
        zxid: tree.last_zxid(),
    }
}

/// The digest by looking at every znode.
pub fn digest_anew(tree: &Tree) -> i64 {
    let counted = dump(tree).into_iter().filter(|(path, _)| !path.starts_with("/zookeeper/"));
    counted
        .map(|(path, node)| {
            let crc = oxkeeper_tree::digest::data_crc(&path, node.data.as_deref());
            oxkeeper_tree::node_digest(crc, &node.stat)
        })
        .fold(0, i64::wrapping_add)
}

fn adler32(bytes: &[u8]) -> i64 {
    i64::from(simd_adler32::adler32(&bytes))
}

fn seal(out: &mut Vec<u8>) {
    let sum = adler32(out);
    out.put_long(sum);
    out.put_string("/");
}

/// The file of a snapshot whose chunks have been encoded.
pub fn file_of(head: &SnapshotHead, chunks: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    head.encode(&mut out);
    out.extend_from_slice(chunks);
    head.encode_end(&mut out);
    seal(&mut out);
    if head.encode_digest(&mut out) {
        seal(&mut out);
        head.encode_last_zxid(&mut out);
        seal(&mut out);
    }
    out
}

/// A snapshot taken while nothing changes.
pub fn snapshot_of(tree: &mut Tree) -> Vec<u8> {
    let head = tree.snapshot_begin().expect("no other");
    let mut chunks = Vec::new();
    while let Some(chunk) = tree.snapshot_next(100) {
        chunk.encode(&mut chunks);
    }
    file_of(&head, &chunks)
}

/// A plain snapshot file in memory.
pub struct File<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Any seal will do: to see what gets past a checksum that fits.
    careless: bool,
}

impl<'a> File<'a> {
    pub fn new(bytes: &'a [u8]) -> File<'a> {
        File { bytes, at: 0, careless: false }
    }

    pub fn careless(bytes: &'a [u8]) -> File<'a> {
        File { bytes, at: 0, careless: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileError {
    Short,
    Seal,
}

impl SnapshotSource for File<'_> {
    type Error = FileError;

    fn next_bytes(&mut self, len: usize) -> Result<&[u8], FileError> {
        let end = self.at.checked_add(len).ok_or(FileError::Short)?;
        let bytes = self.bytes.get(self.at..end).ok_or(FileError::Short)?;
        self.at = end;
        Ok(bytes)
    }

    fn check_seal(&mut self) -> Result<(), FileError> {
        let expected = adler32(&self.bytes[..self.at]).to_be_bytes();
        let careless = self.careless;
        match self.next_bytes(13)? {
            seal if careless || seal[..8] == expected => Ok(()),
            _ => Err(FileError::Seal),
        }
    }

    fn remaining(&mut self, max: usize) -> Result<usize, FileError> {
        Ok((self.bytes.len() - self.at).min(max + 1))
    }
}

pub fn load(bytes: &[u8], zxid: i64) -> Result<Loaded, LoadError<FileError>> {
    snapshot::load(&mut File::new(bytes), OPTIONS, Zxid(zxid))
}
