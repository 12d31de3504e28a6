//! The committed state and how a znode is found in it.
//!
//! Two look-ups lead to any znode: its directory by the parent's path, the znode in it by name. A
//! third, for a znode that has a directory of its own, finds its children. The root stands alone.
//! Everything kept beside the znodes – sessions, ephemerals, lists, quotas, the reaper's index, the
//! digest – is brought up to date by the same calls that change a znode, so there is one way to
//! change each thing and nothing to scan for later.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use oxkeeper_proto::{SessionId, Stat, StatPersisted, Zxid};

use crate::acl_table::{AclHandle, AclId, AclTable};
use crate::digest::{DigestLog, data_crc, node_digest};
use crate::dir::{Children, DirTable};
use crate::ephemeral_type::{EphemeralType, OwnerRules};
use crate::idle::IdleIndex;
use crate::limits::RUN_DIRS_MAX;
use crate::path;
use crate::quota::QuotaRoots;
use crate::run::{NameHasher, Place, Row};
use crate::snapshot::Cursor;
use crate::wrong::{self, Wrong};
use crate::znode::{Header, Node};

/// What a tree is told when it is made.
#[derive(Debug, Clone, Copy)]
pub struct TreeOptions {
    /// Keeps clients from choosing names that collide. Random in a server, fixed in a simulation.
    pub hash_seed: u64,
    /// `zookeeper.digest.enabled`. Off, the digest stays 0.
    pub digest_enabled: bool,
    /// How owners are read.
    pub owner_rules: OwnerRules,
}

impl Default for TreeOptions {
    fn default() -> Self {
        TreeOptions { hash_seed: 0, digest_enabled: true, owner_rules: OwnerRules::default() }
    }
}

/// What a tree counts about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeStats {
    /// Transactions after which the digest was not the one they carried
    /// (`digest_mismatches_count`).
    pub digest_mismatches: u64,
    /// The first of them.
    pub first_mismatch: Option<Zxid>,
    /// Whether the last digest that could be compared was the tree's: then nothing is missing,
    /// whatever was carried before.
    pub digest_agrees: bool,
}

/// The digest a loaded snapshot ended with: until its transaction has been replayed, the tree may
/// hold parts of later ones and comparing is pointless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadedDigest {
    pub zxid: Zxid,
    pub version: i32,
    pub digest: i64,
}

/// The committed state of one server.
#[derive(Debug)]
pub struct Tree {
    pub(crate) options: TreeOptions,
    pub(crate) hasher: NameHasher,
    pub(crate) root: Node,
    pub(crate) dirs: DirTable,
    pub(crate) acls: AclTable,
    /// Znodes, the root among them.
    pub(crate) znodes: usize,
    /// UTF-16 units of all paths plus bytes of all data, as Java counts them.
    pub(crate) data_bytes: i64,
    pub(crate) digest: i64,
    pub(crate) digest_log: DigestLog,
    pub(crate) last_zxid: Zxid,
    pub(crate) lineage: u64,
    pub(crate) sessions: BTreeMap<SessionId, i32>,
    pub(crate) ephemerals: BTreeMap<SessionId, BTreeSet<Box<str>>>,
    pub(crate) ephemeral_count: usize,
    pub(crate) idle: IdleIndex,
    pub(crate) quota_roots: QuotaRoots,
    /// Directories with children whose own znode is gone: a damaged log can leave some.
    pub(crate) orphan_dirs: usize,
    pub(crate) fuzzy_until: Option<LoadedDigest>,
    /// So many transactions may still miss the digest: nothing says how far the snapshot went that
    /// was loaded, and it may hold parts of them. Zero from the first one that matches.
    pub(crate) settling: u32,
    /// The transaction at which the digest of the snapshot that was loaded was not the tree's. Java
    /// takes a snapshot beside its writer, and may have written a part of the next transaction
    /// before the digest of this one (D145), so the next digest decides.
    pub(crate) doubted: Option<Zxid>,
    pub(crate) stats: TreeStats,
    pub(crate) cursor: Option<Box<Cursor>>,
    /// The buffer znodes are built in.
    pub(crate) scratch: Vec<u8>,
    /// The parent of the last znode created: the next one is often its sibling.
    last_parent: Option<Parent>,
    /// The znode edited last, as the digest sees it, and its digest: a parent is edited once for
    /// every child.
    last_edit: (u32, StatPersisted, i64),
}

/// Where a znode is. Good until something is inserted or removed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loc {
    Root,
    Child { dir: Place, child: Place },
}

/// A znode to which children are added.
#[derive(Debug)]
pub(crate) struct Parent {
    path: String,
    /// The znode.
    pub loc: Loc,
    /// Its directory, if it has one.
    pub dir: Option<Place>,
}

impl Tree {
    /// The tree of a server that has never run: `/`, `/zookeeper`, `/zookeeper/quota` and
    /// `/zookeeper/config`, which everybody may read and nobody write.
    pub fn new(options: TreeOptions) -> Tree {
        let mut tree = Tree::bare(options);
        tree.complete();
        tree
    }

    /// Nothing but a root.
    pub(crate) fn bare(options: TreeOptions) -> Tree {
        let stat = StatPersisted::default();
        let crc = if options.digest_enabled { data_crc("", Some(&[])) } else { 0 };
        let mut tree = Tree {
            options,
            hasher: NameHasher::new(options.hash_seed),
            root: Node::new(&mut Vec::new(), "", Some(&[]), &stat, AclId::OPEN, crc),
            dirs: Row::new(RUN_DIRS_MAX),
            acls: AclTable::new(options.hash_seed),
            znodes: 1,
            data_bytes: 1,
            digest: 0,
            digest_log: DigestLog::default(),
            last_zxid: Zxid::ZERO,
            lineage: 0,
            sessions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            ephemeral_count: 0,
            idle: IdleIndex::default(),
            quota_roots: QuotaRoots::new(options.hash_seed),
            orphan_dirs: 0,
            fuzzy_until: None,
            settling: 0,
            doubted: None,
            stats: TreeStats::default(),
            cursor: None,
            scratch: Vec::new(),
            last_parent: None,
            last_edit: (0, StatPersisted { version: i32::MIN, ..stat }, 0),
        };
        tree.digest = tree.digest_of("", &tree.root);
        tree
    }

    /// The znode at a path. The root has two names, `/` and `""`.
    #[inline]
    pub fn node(&self, path: &str) -> Option<NodeRef<'_>> {
        let node = self.node_at(self.locate(path)?);
        let children = match node.has_dir() {
            true => self.children_of(path),
            false => None,
        };
        Some(NodeRef { tree: self, node, children })
    }

    /// Creates those of the server's own znodes that are missing. They come without a transaction:
    /// no counter of a parent moves.
    pub(crate) fn complete(&mut self) {
        for path in [path::ZOOKEEPER, path::QUOTA, path::CONFIG] {
            if self.locate(path).is_some() {
                continue;
            }
            let Some((parent_path, name)) = path::split(path) else { continue };
            let Some(parent) = self.locate(parent_path) else { continue };
            let stat = StatPersisted::default();
            let crc = self.crc_for(path, Some(&[]), None);
            let node = Node::new(&mut self.scratch, name, Some(&[]), &stat, AclId::OPEN, crc);
            let dir = self.dir_place(parent_path);
            let hash = self.hasher.hash(name.as_bytes());
            self.attach((parent, parent_path), dir, hash, (path, node), |_| {});
            if path == path::CONFIG
                && let Some(loc) = self.locate(path)
            {
                let list = AclHandle::read_only();
                self.replace_acl(loc, path, list.list(), |node| node.set_aversion(-1));
            }
        }
    }

    /// The sum of all znodes' digests, version 2.
    pub fn digest(&self) -> i64 {
        self.digest
    }

    /// One digest for every 128th transaction, the last 1024 of them, oldest first.
    pub fn digest_log(&self) -> impl Iterator<Item = (Zxid, i64)> {
        self.digest_log.iter()
    }

    /// The last transaction applied.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Which history this tree belongs to: a number of the host's, 0 unless it set another.
    /// Snapshots carry it, so that one of a tree that was replaced meanwhile can be told.
    pub fn lineage(&self) -> u64 {
        self.lineage
    }

    /// See [`Tree::lineage`].
    pub fn set_lineage(&mut self, lineage: u64) {
        self.lineage = lineage;
    }

    /// Moves [`Tree::last_zxid`] where no transaction leads: a snapshot's name, a new epoch.
    pub fn set_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = zxid;
    }

    /// The sessions with their timeouts in ms, by id.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> {
        self.sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms))
    }

    /// Those behind `after`: `dump` goes through them in steps.
    pub fn sessions_after(
        &self,
        after: Option<SessionId>,
    ) -> impl Iterator<Item = (SessionId, i32)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.sessions.range((from, Bound::Unbounded)).map(|(id, timeout_ms)| (*id, *timeout_ms))
    }

    /// The timeout of a session in ms; `None` if there is no such session.
    pub fn session_timeout_ms(&self, session: SessionId) -> Option<i32> {
        self.sessions.get(&session).copied()
    }

    /// The paths a session owns, sorted.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.ephemerals.get(&session).into_iter().flatten().map(|path| &**path)
    }

    /// Owners and their paths behind `after` in order: `dump` goes through them in steps.
    pub fn ephemerals_after<'a>(
        &'a self,
        after: Option<(SessionId, &'a str)>,
    ) -> impl Iterator<Item = (SessionId, &'a str)> {
        let (same, others) = match after {
            Some((session, path)) => {
                let rest = (Bound::Excluded(path), Bound::Unbounded);
                let same = self.ephemerals.get(&session).map(|paths| paths.range::<str, _>(rest));
                (same.map(|paths| (session, paths)), Bound::Excluded(session))
            }
            None => (None, Bound::Unbounded),
        };
        let same =
            same.into_iter().flat_map(|(session, paths)| paths.map(move |path| (session, &**path)));
        let others = self.ephemerals.range((others, Bound::Unbounded));
        same.chain(
            others.flat_map(|(&session, paths)| paths.iter().map(move |path| (session, &**path))),
        )
    }

    /// The paths that have a quota, in no order; [`Tree::quota_for`] tells more of each.
    pub fn quota_paths(&self) -> impl Iterator<Item = &str> {
        self.quota_roots.iter()
    }

    /// The sessions that own something, known or not: after a restart, those without a session have
    /// to be closed.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    /// Znodes owned by sessions.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    /// Znodes as Java counts them: the root has two names and counts twice.
    pub fn node_count(&self) -> usize {
        self.znodes + 1
    }

    /// Length of all paths plus length of all data (`approximate_data_size`). Like Java's it
    /// forgets what quota statistics grow by in place, until the next load.
    pub fn approximate_data_bytes(&self) -> i64 {
        self.data_bytes
    }

    /// Distinct lists beside the open one.
    pub fn acl_count(&self) -> usize {
        self.acls.len()
    }

    /// What the tree counts about itself.
    pub fn stats(&self) -> TreeStats {
        let Some(doubted) = self.doubted else { return self.stats };
        TreeStats {
            digest_mismatches: self.stats.digest_mismatches + 1,
            first_mismatch: self.stats.first_mismatch.or(Some(doubted)),
            ..self.stats
        }
    }

    /// How the tree was made.
    pub fn options(&self) -> TreeOptions {
        self.options
    }

    /// Containers and TTL nodes that may be removed at `now_ms`: childless containers that had a
    /// child, with `never_used_ms` other than 0 also those that never had one and are older, and
    /// childless TTL nodes older than their time. At most `max`.
    pub fn reap_candidates(&self, now_ms: i64, never_used_ms: i64, max: usize) -> Vec<&str> {
        self.idle.due(now_ms, never_used_ms, max)
    }

    #[inline]
    pub(crate) fn kind(&self, owner: i64) -> EphemeralType {
        EphemeralType::of(owner, self.options.owner_rules)
    }

    #[inline]
    pub(crate) fn locate(&self, path: &str) -> Option<Loc> {
        if path.is_empty() || path == "/" {
            return Some(Loc::Root);
        }
        let (parent, name) = path::split(path)?;
        let dir = self.dir_place(parent)?;
        let hash = self.hasher.hash(name.as_bytes());
        let child = self.dirs.get(dir).children().find(hash, name.as_bytes())?;
        Some(Loc::Child { dir, child })
    }

    /// The znode and the directory of a path that gets a child.
    #[inline]
    pub(crate) fn parent(&mut self, path: &str) -> Option<&Parent> {
        if self.last_parent.as_ref().is_none_or(|last| last.path != path) {
            let loc = self.locate(path)?;
            let dir = match self.node_at(loc).has_dir() {
                true => self.dir_place(path),
                false => None,
            };
            let mut reused = self.last_parent.take().map(|last| last.path).unwrap_or_default();
            reused.clear();
            reused.push_str(path);
            self.last_parent = Some(Parent { path: reused, loc, dir });
        }
        self.last_parent.as_ref()
    }

    /// Places in this directory, or those of directories themselves, are about to move.
    #[inline]
    pub(crate) fn places_moved(&mut self, within: Option<Place>) {
        let stays = |last: &Parent| match (last.loc, within) {
            (Loc::Root, Some(_)) => true,
            (Loc::Child { dir, .. }, Some(within)) => dir != within,
            (_, None) => false,
        };
        if !self.last_parent.as_ref().is_some_and(stays) {
            self.last_parent = None;
        }
    }

    #[inline]
    pub(crate) fn dir_place(&self, path: &str) -> Option<Place> {
        let hash = self.hasher.hash(path.as_bytes());
        self.dirs.find(hash, |dir| dir.path() == path.as_bytes())
    }

    /// The children of a path, if it has or had some.
    #[inline]
    pub(crate) fn children_of(&self, path: &str) -> Option<&Children> {
        let dir = self.dir_place(path::canonical(path))?;
        Some(self.dirs.get(dir).children())
    }

    #[inline]
    pub(crate) fn node_at(&self, loc: Loc) -> &Node {
        match loc {
            Loc::Root => &self.root,
            Loc::Child { dir, child } => self.dirs.get(dir).children().get(child),
        }
    }

    #[inline]
    pub(crate) fn change_at<R>(&mut self, loc: Loc, change: impl FnOnce(&mut Node) -> R) -> R {
        match loc {
            Loc::Root => change(&mut self.root),
            Loc::Child { dir, child } => {
                self.dirs.get_mut(dir).change(|children| change(children.get_mut(child)))
            }
        }
    }

    /// What a znode adds to the tree's digest.
    #[inline]
    pub(crate) fn digest_of(&self, path: &str, node: &Node) -> i64 {
        match self.is_counted(path) {
            true => node_digest(node.crc(), &node.stat()),
            false => 0,
        }
    }

    #[inline]
    pub(crate) fn is_counted(&self, path: &str) -> bool {
        self.options.digest_enabled && path::is_digested(path)
    }

    /// The CRC a znode is made with, computed unless it is known.
    #[inline]
    pub(crate) fn crc_for(&self, path: &str, data: Option<&[u8]>, known: Option<u32>) -> u32 {
        debug_assert!(known.is_none_or(|crc| crc == data_crc(path, data)), "of {path}");
        match self.is_counted(path) {
            true => known.unwrap_or_else(|| data_crc(path, data)),
            false => 0,
        }
    }

    /// Changes the fixed part of a znode, keeping snapshot and digest true.
    pub(crate) fn edit(&mut self, loc: Loc, path: &str, change: impl FnOnce(&mut Header)) {
        self.preserve(path, Some(loc));
        let counted = self.is_counted(path);
        if !counted {
            self.change_at(loc, |node| node.edit(change));
            return;
        }
        let (crc, stat, digest) = self.last_edit;
        let (before, edited) = self.change_at(loc, |node| {
            let before = match node.crc() == crc && node.stat() == stat {
                true => digest,
                false => node_digest(node.crc(), &node.stat()),
            };
            node.edit(change);
            (before, (node.crc(), node.stat(), node_digest(node.crc(), &node.stat())))
        });
        self.last_edit = edited;
        self.digest = self.digest.wrapping_add(edited.2.wrapping_sub(before));
    }

    /// Changes data and fixed part of a znode, keeping snapshot and digest true.
    pub(crate) fn replace_data(
        &mut self,
        loc: Loc,
        path: &str,
        data: Option<&[u8]>,
        crc: Option<u32>,
        change: impl FnOnce(&mut Header),
    ) {
        self.preserve(path, Some(loc));
        let crc = self.crc_for(path, data, crc);
        let before = self.digest_of(path, self.node_at(loc));
        let mut scratch = std::mem::take(&mut self.scratch);
        self.change_at(loc, |node| node.set_data(&mut scratch, data, crc, change));
        self.scratch = scratch;
        let after = self.digest_of(path, self.node_at(loc));
        self.digest = self.digest.wrapping_add(after.wrapping_sub(before));
    }

    /// Keeps a znode as it is now for a snapshot under way that has not come to it. `None`: there
    /// is no such znode yet, and the snapshot must not see the one that comes.
    #[inline]
    pub(crate) fn preserve(&mut self, path: &str, loc: Option<Loc>) {
        if self.cursor.is_some() {
            let old = loc.map(|loc| self.node_at(loc).clone());
            if let Some(cursor) = &mut self.cursor {
                cursor.preserve(&self.hasher, path, old);
            }
        }
    }

    pub(crate) fn stat_of(&self, node: &Node, children: usize) -> Stat {
        let stat = node.stat();
        let children = children as i32;
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime_ms: stat.ctime_ms,
            mtime_ms: stat.mtime_ms,
            version: stat.version,
            // Every child was created once; each that is not there any more was deleted once.
            cversion: match wrong::is(Wrong::WireCversion) {
                false => stat.cversion.wrapping_mul(2).wrapping_sub(children),
                true => stat.cversion,
            },
            aversion: stat.aversion,
            ephemeral_owner: self.kind(stat.ephemeral_owner).visible_owner(),
            data_length: node.data_len() as i32,
            num_children: children,
            pzxid: stat.pzxid,
        }
    }
}

/// A znode of the committed tree.
#[derive(Debug, Clone, Copy)]
pub struct NodeRef<'a> {
    tree: &'a Tree,
    node: &'a Node,
    children: Option<&'a Children>,
}

impl<'a> NodeRef<'a> {
    /// What a client is told.
    #[inline]
    pub fn stat(&self) -> Stat {
        self.tree.stat_of(self.node, self.num_children())
    }

    /// What is stored: the counter of created children, the raw owner.
    #[inline]
    pub fn persisted(&self) -> StatPersisted {
        self.node.stat()
    }

    /// Children now.
    #[inline]
    pub fn num_children(&self) -> usize {
        self.children.map_or(0, Children::len)
    }

    /// The data; `None` is null, which is not the same as empty.
    #[inline]
    pub fn data(&self) -> Option<&'a [u8]> {
        self.node.data()
    }

    /// The list. Clone the handle to keep it.
    #[inline]
    pub fn acl(&self) -> &'a AclHandle {
        self.tree.acls.handle(self.node.acl())
    }

    /// CRC-32 over path and data, from which [`crate::node_digest`] goes on; 0 if the znode counts
    /// in no digest.
    #[inline]
    pub fn data_crc(&self) -> u32 {
        self.node.crc()
    }

    /// What kind of znode it is.
    #[inline]
    pub fn ephemeral_type(&self) -> EphemeralType {
        self.tree.kind(self.node.owner())
    }

    /// The names of the children, in no order.
    pub fn children(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.children.into_iter().flat_map(Children::iter).map(Node::name_str)
    }
}

/// The length Java gives a path: UTF-16 units.
#[inline]
pub(crate) fn java_len(path: &str) -> i64 {
    match path.is_ascii() {
        true => path.len() as i64,
        false => path.encode_utf16().count() as i64,
    }
}
