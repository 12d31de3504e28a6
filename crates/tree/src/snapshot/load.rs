//! Loading a snapshot, ours or Java's (`FileSnap.deserialize`, `DataTree.deserialize`).
//!
//! Whole directories are built at once: children are collected as long as the parent stays the same
//! and sorted into runs when it changes, so each znode is hashed once. What a snapshot taken while
//! the tree changed may lack – a list, one of the server's own znodes – is made up for, and quota
//! statistics are counted anew.

use std::collections::BTreeMap;

use oxkeeper_proto::{AclList, DecodeError, Reader, SessionId, StatPersisted, TxnDigest, Zxid};

use crate::acl_table::AclId;
use crate::dir::{Children, Dir};
use crate::ephemeral_type::EphemeralType;
use crate::limits::{NAME_BYTES_MAX, SETTLING_TXNS_MAX, SNAPSHOT_FIELD_BYTES_MAX};
use crate::path;
use crate::quota::QuotaNode;
use crate::snapshot::chunk::{MAGIC, VERSION};
use crate::tree::{LoadedDigest, Loc, Tree, TreeOptions, java_len};
use crate::znode::{Header, Node};

/// Where a snapshot's bytes come from, uncompressed, with the checksum of what was read.
pub trait SnapshotSource {
    /// Why bytes could not be had.
    type Error;

    /// The next `len` bytes; an end before that is an error. A length may be anything a damaged
    /// file holds: no more may be reserved than there is to read.
    fn next_bytes(&mut self, len: usize) -> Result<&[u8], Self::Error>;

    /// Reads a seal and compares it with everything before it.
    fn check_seal(&mut self) -> Result<(), Self::Error>;

    /// How many bytes are left, counted up to `max + 1`.
    fn remaining(&mut self, max: usize) -> Result<usize, Self::Error>;
}

/// Why a snapshot could not be loaded. The fault lies with the file; an older one may do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError<E> {
    /// The file could not be read, ended early, or its checksum is wrong.
    #[error(transparent)]
    Source(#[from] E),
    /// A record that is none.
    #[error("a record of the snapshot is damaged: {0}")]
    Record(DecodeError),
    /// Not a snapshot, or of a version nobody has written.
    #[error("not a snapshot: it begins with {magic:#x}, version {version}")]
    Magic {
        /// What stands for "ZKSN".
        magic: i32,
        /// What stands for the version.
        version: i32,
    },
    /// A znode without a parent before it.
    #[error("the snapshot has {path:?} but not its parent")]
    NoParent {
        /// The znode.
        path: String,
    },
    /// The sections behind the znodes are none that any server writes.
    #[error("{bytes} bytes behind the znodes make no section")]
    Trailer {
        /// How many bytes there are.
        bytes: usize,
    },
}

/// A loaded snapshot.
#[derive(Debug)]
pub struct Loaded {
    /// The tree, its last zxid the one asked for.
    pub tree: Tree,
    /// What the last section says, if there is one (3.9 and later).
    pub last_zxid: Option<Zxid>,
    /// Znodes whose access control list was not in the file: only the super user gets at them until
    /// replay or setACL gives them another.
    pub unreadable_acls: usize,
}

pub(super) type Outcome<T, E> = Result<T, LoadError<E>>;

/// Loads a snapshot named after `zxid`: what comes later in the log has to be applied to it. Up to
/// the zxid of its digest section the result may hold parts of later transactions; comparing
/// digests begins there.
pub fn load<S: SnapshotSource>(
    source: &mut S,
    options: TreeOptions,
    zxid: Zxid,
) -> Outcome<Loaded, S::Error> {
    let mut loader = Loader::new(options);
    let mut fields = Fields { source };
    fields.header()?;
    loader.tables(&mut fields)?;
    loader.nodes(&mut fields)?;
    fields.source.check_seal()?;
    let digest = read_digest(&mut fields)?;
    let last_zxid = match fields.source.remaining(LAST_ZXID_BYTES)? {
        0 => None,
        LAST_ZXID_BYTES.. => {
            let last_zxid = Zxid(fields.long()?);
            fields.source.check_seal()?;
            Some(last_zxid)
        }
        bytes => return Err(LoadError::Trailer { bytes }),
    };
    let (mut tree, unreadable_acls) = loader.finish();
    tree.last_zxid = zxid;
    // A digest from before the snapshot says nothing: a new leader's first zxid is no transaction.
    match digest {
        Some(digest) if digest.zxid.0 > 0 && digest.zxid >= zxid => tree.loaded_digest(digest),
        Some(_) => {}
        None => tree.settling = SETTLING_TXNS_MAX,
    }
    Ok(Loaded { tree, last_zxid, unreadable_acls })
}

/// Loads what a leader sends behind SNAP: sessions, lists and znodes alone, without header, seals
/// and digest (`SerializeUtils.deserializeSnapshot`). What follows is left in the source.
///
/// A leader of Apache's sends its tree while it changes: transactions behind `zxid` may be in it
/// already, and until they have been repeated its digest says nothing.
pub fn load_stream<S: SnapshotSource>(
    source: &mut S,
    options: TreeOptions,
    zxid: Zxid,
) -> Outcome<Loaded, S::Error> {
    let mut loader = Loader::new(options);
    let mut fields = Fields { source };
    loader.tables(&mut fields)?;
    loader.nodes(&mut fields)?;
    let (mut tree, unreadable_acls) = loader.finish();
    tree.last_zxid = zxid;
    tree.settling = SETTLING_TXNS_MAX;
    Ok(Loaded { tree, last_zxid: None, unreadable_acls })
}

/// The last section: a zxid and a seal.
const LAST_ZXID_BYTES: usize = 8 + SEAL_BYTES;
/// The digest section: a zxid, a digest and a seal.
const DIGEST_BYTES: usize = 8 + TxnDigest::BYTES + SEAL_BYTES;
/// A checksum and the string "/".
const SEAL_BYTES: usize = 8 + 5;

/// The digest section. No mark says which sections follow: their length does.
fn read_digest<S: SnapshotSource>(
    fields: &mut Fields<'_, S>,
) -> Outcome<Option<LoadedDigest>, S::Error> {
    match fields.source.remaining(DIGEST_BYTES)? {
        0 | LAST_ZXID_BYTES => return Ok(None),
        bytes if bytes < DIGEST_BYTES => return Err(LoadError::Trailer { bytes }),
        _ => {}
    }
    let zxid = Zxid(fields.long()?);
    let version = fields.int()?;
    let digest = match version {
        // The first version was a text; it was never released with another.
        ..TxnDigest::VERSION => {
            let len = fields.int()?;
            fields.bytes(len)?;
            0
        }
        _ => fields.long()?,
    };
    fields.source.check_seal()?;
    Ok(Some(LoadedDigest { zxid, version, digest }))
}

/// Fields of the file, one after the other.
pub(super) struct Fields<'s, S> {
    pub(super) source: &'s mut S,
}

impl<S: SnapshotSource> Fields<'_, S> {
    /// The file's header.
    pub(super) fn header(&mut self) -> Outcome<(), S::Error> {
        let (magic, version) = (self.int()?, self.int()?);
        if (magic, version) != (MAGIC, VERSION) {
            return Err(LoadError::Magic { magic, version });
        }
        // The database id: Java writes −1 and looks at none.
        self.long().map(drop)
    }

    pub(super) fn int(&mut self) -> Outcome<i32, S::Error> {
        Ok(int(self.source.next_bytes(4)?))
    }

    pub(super) fn long(&mut self) -> Outcome<i64, S::Error> {
        Ok(long(self.source.next_bytes(8)?))
    }

    /// As many bytes as a length in the file says. None for null.
    fn bytes(&mut self, len: i32) -> Outcome<Option<&[u8]>, S::Error> {
        match checked(len)? {
            None => Ok(None),
            Some(len) => Ok(Some(self.source.next_bytes(len)?)),
        }
    }
}

fn int(bytes: &[u8]) -> i32 {
    bytes.iter().fold(0, |n, b| n << 8 | i32::from(*b))
}

fn long(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |n, b| n << 8 | i64::from(*b))
}

pub(super) fn checked<E>(len: i32) -> Outcome<Option<usize>, E> {
    match len {
        -1 => Ok(None),
        len if len < -1 || len as usize > SNAPSHOT_FIELD_BYTES_MAX => {
            Err(LoadError::Record(DecodeError::Length { len, max: SNAPSHOT_FIELD_BYTES_MAX }))
        }
        len => Ok(Some(len as usize)),
    }
}

struct Loader {
    tree: Tree,
    /// Numbers of the file's lists here.
    acls: BTreeMap<i64, AclId>,
    unreadable_acls: usize,
    /// The last number met, and znodes since then that use it.
    last_acl: (i64, AclId),
    last_acl_znodes: u64,
    /// The directory that is being collected, and the znode it belongs to.
    dir: String,
    parent: Loc,
    children: Vec<(u32, bool, Node)>,
    /// Containers and TTL nodes: for the reaper, if they turn out to have no children.
    reaped: Vec<String>,
}

impl Loader {
    fn new(options: TreeOptions) -> Loader {
        Loader {
            tree: Tree::bare(options),
            acls: BTreeMap::new(),
            unreadable_acls: 0,
            last_acl: (-1, AclId::OPEN),
            last_acl_znodes: 0,
            dir: String::new(),
            parent: Loc::Root,
            children: Vec::new(),
            reaped: Vec::new(),
        }
    }

    /// Sessions and access control lists.
    fn tables<S: SnapshotSource>(&mut self, fields: &mut Fields<'_, S>) -> Outcome<(), S::Error> {
        for _ in 0..fields.int()? {
            let session = SessionId(fields.long()?);
            self.tree.sessions.insert(session, fields.int()?);
        }
        let mut raw = Vec::new();
        for _ in 0..fields.int()? {
            let key = fields.long()?;
            read_acl(fields, &mut raw)?;
            let list = AclList::from_raw(&raw).map_err(LoadError::Record)?;
            let id = self.tree.acls.load(key, list);
            self.acls.insert(key, id);
        }
        Ok(())
    }

    fn nodes<S: SnapshotSource>(&mut self, fields: &mut Fields<'_, S>) -> Outcome<(), S::Error> {
        let mut text = String::new();
        loop {
            let len = fields.int()?;
            let len = checked(len)?.ok_or(LoadError::Record(DecodeError::NullString))?;
            if len > NAME_BYTES_MAX {
                let (len, max) = (len as i32, NAME_BYTES_MAX);
                return Err(LoadError::Record(DecodeError::Length { len, max }));
            }
            let bytes = fields.source.next_bytes(len)?;
            text.clear();
            text.push_str(&String::from_utf8_lossy(bytes));
            if text == "/" {
                break;
            }
            let len = fields.int()?;
            let data_len = checked(len)?;
            let fixed = 8 + StatPersisted::BYTES;
            let bytes = fields.source.next_bytes(data_len.unwrap_or(0) + fixed)?;
            let (data, rest) = bytes.split_at(data_len.unwrap_or(0));
            let data = data_len.map(|_| data);
            let acl = long(&rest[..8]);
            let stat = StatPersisted::decode(&mut Reader::new(&rest[8..]));
            let stat = stat.map_err(LoadError::Record)?;
            if !self.add(&text, data, acl, &stat) {
                return Err(LoadError::NoParent { path: text });
            }
        }
        self.flush();
        Ok(())
    }

    /// Takes one znode; false if it has no parent.
    fn add(&mut self, path: &str, data: Option<&[u8]>, acl: i64, stat: &StatPersisted) -> bool {
        let tree = &mut self.tree;
        let crc = tree.crc_for(path, data, None);
        let Some((parent, name)) = path::split(path) else {
            if path.is_empty() {
                let acl = self.acl(acl);
                self.replace_root(data, acl, crc, stat);
            }
            return path.is_empty();
        };
        if parent != self.dir {
            self.flush();
            match self.tree.locate(parent) {
                Some(loc) if parent != "/" => self.parent = loc,
                _ => return false,
            }
            self.dir.clear();
            self.dir.push_str(parent);
        }
        let acl = self.acl(acl);
        let tree = &mut self.tree;
        let node = Node::new(&mut tree.scratch, name, data, stat, acl, crc);
        tree.digest = tree.digest.wrapping_add(tree.digest_of(path, &node));
        tree.znodes += 1;
        tree.data_bytes += java_len(path) + node.data_len() as i64;
        match tree.kind(stat.ephemeral_owner) {
            EphemeralType::Persistent => {}
            EphemeralType::Ephemeral(_) => tree.own(path, stat),
            EphemeralType::Container | EphemeralType::Ttl(_) => self.reaped.push(path.to_owned()),
        }
        self.children.push((tree.hasher.hash(name.as_bytes()), false, node));
        true
    }

    fn replace_root(&mut self, data: Option<&[u8]>, acl: AclId, crc: u32, stat: &StatPersisted) {
        let tree = &mut self.tree;
        let mut root = Node::new(&mut tree.scratch, "", data, stat, acl, crc);
        if tree.root.has_dir() {
            root.edit(Header::set_has_dir);
        }
        tree.digest = tree.digest.wrapping_sub(tree.digest_of("", &tree.root));
        tree.digest = tree.digest.wrapping_add(tree.digest_of("", &root));
        // Counted under both its names, as Java does when it has loaded a file.
        tree.data_bytes += 2 * (root.data_len() as i64 - tree.root.data_len() as i64);
        let before = std::mem::replace(&mut tree.root, root).acl();
        tree.acls.release(before);
    }

    /// The list of a znode, by its number in the file.
    fn acl(&mut self, key: i64) -> AclId {
        if key != self.last_acl.0 {
            self.count_last_acl();
            let id = match key {
                -1 => Some(AclId::OPEN),
                _ => self.acls.get(&key).copied(),
            };
            let Some(id) = id else {
                self.unreadable_acls += 1;
                self.last_acl = (-1, AclId::OPEN);
                return self.tree.acls.acquire_nobody();
            };
            self.last_acl = (key, id);
        }
        self.last_acl_znodes += 1;
        self.last_acl.1
    }

    fn count_last_acl(&mut self) {
        let znodes = std::mem::take(&mut self.last_acl_znodes);
        self.tree.acls.acquire_known(self.last_acl.1, znodes);
    }

    /// Makes a directory of the children collected.
    fn flush(&mut self) {
        let mut children = std::mem::take(&mut self.children);
        if children.is_empty() {
            return;
        }
        let tree = &mut self.tree;
        // Nothing was inserted since the parent was found: its place still holds.
        if !tree.node_at(self.parent).has_dir() {
            tree.change_at(self.parent, |node| node.edit(Header::set_has_dir));
            if let Loc::Child { dir, child } = self.parent {
                tree.dirs.get_mut(dir).change(|children| children.mark(child));
            }
            children.sort_by_key(|child| child.0);
            if !has_twins(&children) {
                let hash = tree.hasher.hash(self.dir.as_bytes());
                let dir = Dir::new(&self.dir, Children::from_hashed(&mut children));
                tree.dirs.insert(hash, false, dir);
                self.children = children;
                return;
            }
        }
        for (hash, _, node) in children.drain(..) {
            self.insert_one(hash, node);
        }
        self.children = children;
    }

    /// Adds to a directory that exists. A znode that comes twice replaces the first, as in Java.
    fn insert_one(&mut self, hash: u32, node: Node) {
        let tree = &mut self.tree;
        let Some(dir) = tree.dir_place(&self.dir) else {
            let dir = Dir::new(&self.dir, Children::One(node));
            tree.dirs.insert(tree.hasher.hash(self.dir.as_bytes()), false, dir);
            return;
        };
        let Some(child) = tree.dirs.get(dir).children().find(hash, node.name()) else {
            let hasher = &tree.hasher;
            tree.dirs.get_mut(dir).change(|children| children.insert(hasher, hash, node));
            return;
        };
        let path = format!("{}/{}", self.dir, node.name_str());
        let before = tree.change_at(Loc::Child { dir, child }, |slot| {
            let before = std::mem::replace(slot, node);
            if before.has_dir() {
                slot.edit(Header::set_has_dir);
            }
            before
        });
        tree.digest = tree.digest.wrapping_sub(tree.digest_of(&path, &before));
        tree.znodes -= 1;
        tree.data_bytes -= java_len(&path) + before.data_len() as i64;
        tree.acls.release(before.acl());
    }

    fn finish(mut self) -> (Tree, usize) {
        self.count_last_acl();
        let tree = &mut self.tree;
        tree.complete();
        for path in std::mem::take(&mut self.reaped) {
            if let Some(loc) = tree.locate(&path)
                && let Some((kind, stat)) = tree.idle_key(&path, loc)
            {
                tree.idle.insert(&path, kind, &stat);
            }
        }
        tree.set_up_quotas();
        tree.acls.purge_unused();
        (self.tree, self.unreadable_acls)
    }
}

/// True if two children of a sorted directory have the same name.
fn has_twins(sorted: &[(u32, bool, Node)]) -> bool {
    sorted.iter().enumerate().any(|(at, one)| {
        let same_hash = sorted[at + 1..].iter().take_while(|other| other.0 == one.0);
        same_hash.into_iter().any(|other| other.2.name() == one.2.name())
    })
}

/// Copies one list's bytes, count and entries.
fn read_acl<S: SnapshotSource>(
    fields: &mut Fields<'_, S>,
    raw: &mut Vec<u8>,
) -> Outcome<(), S::Error> {
    raw.clear();
    let count = fields.int()?;
    raw.extend_from_slice(&count.to_be_bytes());
    for _ in 0..count {
        raw.extend_from_slice(fields.source.next_bytes(4)?);
        for _ in 0..2 {
            let len = fields.int()?;
            raw.extend_from_slice(&len.to_be_bytes());
            raw.extend_from_slice(fields.bytes(len)?.unwrap_or(&[]));
        }
    }
    Ok(())
}

impl Tree {
    /// The digest section of the snapshot just loaded: compared now if the snapshot ended where it
    /// began, when its transaction has been replayed otherwise.
    fn loaded_digest(&mut self, loaded: LoadedDigest) {
        if loaded.zxid > self.last_zxid {
            self.fuzzy_until = Some(loaded);
        } else if self.options.digest_enabled
            && loaded.version == TxnDigest::VERSION
            && loaded.digest != self.digest
        {
            self.doubted = Some(loaded.zxid);
        }
    }

    /// Finds the limits znodes and counts what lies below their paths (`DataTree.setupQuota`).
    fn set_up_quotas(&mut self) {
        let mut roots = Vec::new();
        let mut dirs = vec![path::QUOTA.to_owned()];
        while let Some(dir) = dirs.pop() {
            for node in self.children_of(&dir).into_iter().flat_map(Children::iter) {
                if node.has_dir() {
                    dirs.push(format!("{dir}/{}", node.name_str()));
                } else if let Some(QuotaNode::Limits(root)) = QuotaNode::of(&dir, node.name_str()) {
                    roots.push(root.to_owned());
                }
            }
        }
        for root in roots {
            self.recount_quota(&root);
            self.quota_roots.insert(&root);
        }
    }
}
