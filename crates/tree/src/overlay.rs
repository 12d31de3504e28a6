//! What the tree will look like once everything proposed has been applied.
//!
//! A request is checked when it is proposed, long before it is applied: with a full pipeline,
//! thousands of transactions lie in between. The overlay holds, for every path that one of them
//! touches, the *change record*: the znode as it will be then (`ZooKeeperServer.ChangeRecord`).
//! Looking a znode up means the overlay first and the tree second; when a transaction has been
//! applied, the records nobody touched since are forgotten, and an idle server's overlay is empty.
//!
//! One record per path, updated in place. A queue remembers which transaction touched which record,
//! so forgetting costs one step per touch and nothing is ever searched. Records and the strings in
//! them are used again, and a multi keeps what it overwrote until it is known to succeed.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use oxkeeper_proto::{SessionId, StatPersisted, Zxid};
use std::hash::BuildHasher;

use crate::acl_table::AclHandle;
use crate::digest::{PreparedCrcs, data_crc, node_digest};
use crate::ephemeral_type::CONTAINER_OWNER;
use crate::path;
use crate::tree::{NodeRef, Tree};

/// A znode's state in the future: everything a later request may be checked against.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// False for a tombstone: deleted, or never there when the transaction was prepared.
    pub exists: bool,
    pub stat: StatPersisted,
    pub children: u32,
    pub acl: AclHandle,
    pub data_bytes: usize,
    /// CRC-32 over path and data, the digest's first part.
    pub data_crc: u32,
    /// What the znode contributes to the tree's digest; 0 if it does not exist.
    pub digest: i64,
}

impl State {
    fn absent() -> State {
        State {
            exists: false,
            stat: StatPersisted::default(),
            children: 0,
            acl: AclHandle::default(),
            data_bytes: 0,
            data_crc: 0,
            digest: 0,
        }
    }

    fn of(node: &NodeRef<'_>) -> State {
        State {
            exists: true,
            stat: node.persisted(),
            children: node.num_children() as u32,
            acl: node.acl().clone(),
            data_bytes: node.data().map_or(0, <[u8]>::len),
            data_crc: node.data_crc(),
            digest: 0,
        }
    }
}

/// Index of a record, [`NONE`] for no record.
type RecordId = u32;
const NONE: RecordId = RecordId::MAX;

/// Records kept for further use once the overlay is empty. A closeSession with a hundred thousand
/// ephemerals needs more; it does not happen every second and need not leave its memory behind.
const RECORDS_KEPT: usize = 16 * 1024;
/// Longest path whose string is used again.
const PATH_BYTES_KEPT: usize = 1024;

#[derive(Debug)]
struct Record {
    path: String,
    hash: u64,
    /// The last transaction that touched it.
    zxid: Zxid,
    state: State,
    /// Ring of the pending znodes of one session, if `owner` is not 0.
    owner: i64,
    previous: RecordId,
    next: RecordId,
}

/// What a multi found before it overwrote it.
#[derive(Debug)]
struct Undo {
    record: RecordId,
    /// `None` if the record came into being.
    before: Option<(Zxid, State)>,
}

/// A znode as the next request sees it.
#[derive(Clone, Copy)]
pub(crate) enum Found<'t> {
    /// Touched by a transaction under way.
    Pending(RecordId),
    /// As the tree has it.
    Committed(NodeRef<'t>),
}

/// A path with its hash, the root spelled `""`.
#[derive(Clone, Copy)]
pub(crate) struct Key<'p> {
    pub path: &'p str,
    hash: u64,
}

/// The outstanding changes of one server. See the module's text.
#[derive(Debug)]
pub struct Overlay {
    by_path: HashTable<RecordId>,
    hasher: FixedState,
    records: Vec<Record>,
    free: Vec<RecordId>,
    touches: VecDeque<(Zxid, RecordId)>,
    /// First pending znode of each session that has some.
    owners: HashMap<i64, RecordId, FixedState>,
    undo: Vec<Undo>,
    in_multi: bool,
    tree_digest: i64,
    /// The same when the multi under way began.
    digest_before: i64,
    digests: bool,
    crcs: PreparedCrcs,
    /// The operation of a multi that is being prepared.
    pub(crate) nth: u32,
    warned_ms: i64,
    pub(crate) scratch: Scratch,
}

/// Buffers of the preparation, kept between requests.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub path: String,
    pub acl: Vec<u8>,
}

impl Overlay {
    /// An empty overlay. The seed keeps clients from choosing paths that collide; any number does.
    pub fn new(hash_seed: u64) -> Overlay {
        Overlay {
            by_path: HashTable::new(),
            hasher: FixedState::with_seed(hash_seed),
            records: Vec::new(),
            free: Vec::new(),
            touches: VecDeque::new(),
            owners: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            undo: Vec::new(),
            in_multi: false,
            tree_digest: 0,
            digest_before: 0,
            digests: true,
            crcs: PreparedCrcs::default(),
            nth: 0,
            warned_ms: i64::MIN,
            scratch: Scratch::default(),
        }
    }

    /// True if no transaction is under way that changes a znode.
    pub fn is_empty(&self) -> bool {
        self.touches.is_empty()
    }

    /// Paths with a change record.
    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Forgets what transactions up to `zxid` did: the tree has it now.
    pub fn applied(&mut self, zxid: Zxid) {
        while let Some(&(touched, id)) = self.touches.front() {
            if touched > zxid {
                return;
            }
            self.touches.pop_front();
            if self.records[id as usize].zxid == touched {
                self.forget(id);
            }
        }
        if self.records.len() > RECORDS_KEPT {
            self.clear();
        }
    }

    /// Forgets everything: whoever leads now decides anew.
    pub fn clear(&mut self) {
        self.by_path.clear();
        self.records.clear();
        self.free.clear();
        self.touches.clear();
        self.owners.clear();
        self.undo.clear();
        self.crcs.clear();
        self.in_multi = false;
        if self.records.capacity() > RECORDS_KEPT {
            self.records.shrink_to(RECORDS_KEPT);
            self.free.shrink_to(RECORDS_KEPT);
            self.by_path.shrink_to(0, |_| 0);
            self.touches.shrink_to(RECORDS_KEPT);
            self.undo = Vec::new();
        }
    }

    /// Starts a request: with nothing under way, the tree's digest is where counting starts.
    pub(crate) fn begin(&mut self, tree: &Tree, digests: bool) {
        if self.touches.is_empty() {
            self.tree_digest = tree.digest();
        }
        self.digests = digests;
        self.nth = 0;
    }

    /// True once per interval of the transactions' own clock.
    pub(crate) fn may_warn(&mut self, time_ms: i64, interval_ms: i64) -> bool {
        let due = time_ms.saturating_sub(self.warned_ms) >= interval_ms;
        if due {
            self.warned_ms = time_ms;
        }
        due
    }

    /// The digest of the tree after everything proposed so far.
    pub(crate) fn tree_digest(&self) -> i64 {
        self.tree_digest
    }

    /// The key of a path.
    #[inline]
    pub(crate) fn key<'p>(&self, path: &'p str) -> Key<'p> {
        let path = path::canonical(path);
        Key { path, hash: self.hasher.hash_one(path.as_bytes()) }
    }

    /// The znode at a path, `None` if there will be none.
    #[inline]
    pub(crate) fn find<'t>(&self, tree: &'t Tree, key: Key<'_>) -> Option<Found<'t>> {
        match self.pending(key) {
            Some(id) if self.records[id as usize].state.exists => Some(Found::Pending(id)),
            Some(_) => None,
            None => tree.node(key.path).map(Found::Committed),
        }
    }

    #[inline]
    fn pending(&self, key: Key<'_>) -> Option<RecordId> {
        if self.by_path.is_empty() {
            return None;
        }
        let same = |&id: &RecordId| self.records[id as usize].path == key.path;
        self.by_path.find(key.hash, same).copied()
    }

    /// The stored stat of the znode at a path as it will be when everything prepared is applied;
    /// `None` if there will be none.
    pub fn stat_of(&self, tree: &Tree, path: &str) -> Option<StatPersisted> {
        Some(self.stat(&self.find(tree, self.key(path))?))
    }

    /// The stored stat.
    pub(crate) fn stat(&self, found: &Found<'_>) -> StatPersisted {
        match found {
            Found::Pending(id) => self.records[*id as usize].state.stat,
            Found::Committed(node) => node.persisted(),
        }
    }

    /// The number of children.
    pub(crate) fn children(&self, found: &Found<'_>) -> usize {
        match found {
            Found::Pending(id) => self.records[*id as usize].state.children as usize,
            Found::Committed(node) => node.num_children(),
        }
    }

    /// The length of the data, 0 for null.
    pub(crate) fn data_bytes(&self, found: &Found<'_>) -> usize {
        match found {
            Found::Pending(id) => self.records[*id as usize].state.data_bytes,
            Found::Committed(node) => node.data().map_or(0, <[u8]>::len),
        }
    }

    /// The access control list.
    pub(crate) fn acl<'s>(&'s self, found: &'s Found<'_>) -> &'s AclHandle {
        match found {
            Found::Pending(id) => &self.records[*id as usize].state.acl,
            Found::Committed(node) => node.acl(),
        }
    }

    /// Adds a znode below a parent that was found.
    pub(crate) fn create(
        &mut self,
        parent: (Key<'_>, Found<'_>),
        key: Key<'_>,
        data: Option<&[u8]>,
        stat: StatPersisted,
        acl: AclHandle,
        parent_cversion: i32,
    ) {
        let zxid = stat.czxid;
        self.change(parent.0, Some(parent.1), zxid, |state| {
            state.children += 1;
            // The same condition as when it is applied: a counter that ran over stays.
            if parent_cversion > state.stat.cversion {
                state.stat.cversion = parent_cversion;
                state.stat.pzxid = zxid;
            }
        });
        let crc = self.crc(key.path, data, zxid);
        self.change(key, None, zxid, |state| {
            *state = State {
                exists: true,
                stat,
                children: 0,
                acl,
                data_bytes: data.map_or(0, <[u8]>::len),
                data_crc: crc,
                digest: state.digest,
            }
        });
    }

    /// Removes a znode that was found, and counts it off its parent.
    pub(crate) fn delete(
        &mut self,
        parent: Option<(Key<'_>, Found<'_>)>,
        node: (Key<'_>, Found<'_>),
        zxid: Zxid,
    ) {
        if let Some((key, found)) = parent {
            self.change(key, Some(found), zxid, |state| {
                state.children = state.children.saturating_sub(1);
                state.stat.pzxid = state.stat.pzxid.max(zxid);
            });
        }
        self.change(node.0, Some(node.1), zxid, |state| state.exists = false);
    }

    /// Sets the data of a znode that was found.
    pub(crate) fn set_data(
        &mut self,
        node: (Key<'_>, Found<'_>),
        data: Option<&[u8]>,
        version: i32,
        zxid: Zxid,
        time_ms: i64,
    ) {
        let crc = self.crc(node.0.path, data, zxid);
        self.change(node.0, Some(node.1), zxid, |state| {
            state.stat.version = version;
            state.stat.mzxid = zxid;
            state.stat.mtime_ms = time_ms;
            state.data_bytes = data.map_or(0, <[u8]>::len);
            state.data_crc = crc;
        });
    }

    /// Sets the list of a znode that was found.
    pub(crate) fn set_acl(
        &mut self,
        node: (Key<'_>, Found<'_>),
        acl: AclHandle,
        aversion: i32,
        zxid: Zxid,
    ) {
        self.change(node.0, Some(node.1), zxid, |state| {
            state.stat.aversion = aversion;
            state.acl = acl;
        });
    }

    /// The CRC over path and data, which [`Tree::apply`] will be told.
    fn crc(&mut self, path: &str, data: Option<&[u8]>, zxid: Zxid) -> u32 {
        if !self.digests {
            return 0;
        }
        let crc = data_crc(path, data);
        self.crcs.put(zxid, self.nth, crc);
        crc
    }

    /// What applying need not compute again.
    pub fn prepared_crcs(&mut self) -> &mut PreparedCrcs {
        &mut self.crcs
    }

    /// The one way a record changes: keeps the digest, the session's list and the undo log true.
    fn change(
        &mut self,
        key: Key<'_>,
        found: Option<Found<'_>>,
        zxid: Zxid,
        edit: impl FnOnce(&mut State),
    ) {
        let id = self.touch(key, found, zxid);
        let state = &mut self.records[id as usize].state;
        edit(state);
        if self.digests {
            let before = state.digest;
            state.digest = match state.exists && path::is_digested(key.path) {
                true => node_digest(state.data_crc, &state.stat),
                false => 0,
            };
            self.tree_digest = self.tree_digest.wrapping_add(state.digest.wrapping_sub(before));
        }
        self.file_under_owner(id);
    }

    /// The record of a path, made from the tree's znode or from nothing if need be.
    fn touch(&mut self, key: Key<'_>, found: Option<Found<'_>>, zxid: Zxid) -> RecordId {
        let known = match found {
            Some(Found::Pending(id)) => Some(id),
            Some(Found::Committed(_)) => None,
            // What will not exist may have a record that says so.
            None => self.pending(key),
        };
        let Some(id) = known else {
            let id = self.new_record(key, found, zxid);
            self.touches.push_back((zxid, id));
            if self.in_multi {
                self.undo.push(Undo { record: id, before: None });
            }
            return id;
        };
        let record = &mut self.records[id as usize];
        if record.zxid != zxid {
            if self.in_multi {
                let before = Some((record.zxid, record.state.clone()));
                self.undo.push(Undo { record: id, before });
            }
            record.zxid = zxid;
            self.touches.push_back((zxid, id));
        }
        id
    }

    fn new_record(&mut self, key: Key<'_>, found: Option<Found<'_>>, zxid: Zxid) -> RecordId {
        let mut state = match &found {
            Some(Found::Committed(node)) => State::of(node),
            _ => State::absent(),
        };
        if state.exists && self.digests && path::is_digested(key.path) {
            state.digest = node_digest(state.data_crc, &state.stat);
        }
        let id = match self.free.pop() {
            Some(id) => {
                let record = &mut self.records[id as usize];
                record.path.push_str(key.path);
                record.hash = key.hash;
                record.zxid = zxid;
                record.state = state;
                id
            }
            None => {
                self.records.push(Record {
                    path: key.path.to_owned(),
                    hash: key.hash,
                    zxid,
                    state,
                    owner: 0,
                    previous: NONE,
                    next: NONE,
                });
                (self.records.len() - 1) as RecordId
            }
        };
        let records = &self.records;
        self.by_path.insert_unique(key.hash, id, |&id| records[id as usize].hash);
        id
    }

    fn forget(&mut self, id: RecordId) {
        let hash = self.records[id as usize].hash;
        if let Ok(entry) = self.by_path.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        self.unfile(id);
        let record = &mut self.records[id as usize];
        if record.path.capacity() > PATH_BYTES_KEPT {
            record.path = String::new();
        }
        record.path.clear();
        record.state.acl = AclHandle::default();
        self.free.push(id);
    }
}

/// Multi: all or nothing.
impl Overlay {
    /// From here on what is overwritten is kept.
    pub(crate) fn begin_multi(&mut self) {
        self.in_multi = true;
        self.digest_before = self.tree_digest;
    }

    /// The multi holds.
    pub(crate) fn commit_multi(&mut self) {
        self.in_multi = false;
        self.undo.clear();
    }

    /// Takes back everything since [`Overlay::begin_multi`], which is what `zxid` touched.
    pub(crate) fn roll_back_multi(&mut self, zxid: Zxid) {
        self.in_multi = false;
        self.tree_digest = self.digest_before;
        self.crcs.take_back(zxid);
        while let Some(Undo { record, before }) = self.undo.pop() {
            match before {
                None => self.forget(record),
                Some((zxid, state)) => {
                    self.records[record as usize].zxid = zxid;
                    self.records[record as usize].state = state;
                    self.file_under_owner(record);
                }
            }
        }
        while self.touches.back().is_some_and(|&(touched, _)| touched == zxid) {
            self.touches.pop_back();
        }
    }
}

/// Sessions: the pending znodes of each hang together.
impl Overlay {
    /// Removes every ephemeral that the session will have once all that is under way is applied.
    /// Calls `each` with its path; first those the tree has, then those on their way.
    pub(crate) fn delete_ephemerals(
        &mut self,
        tree: &Tree,
        session: SessionId,
        zxid: Zxid,
        mut each: impl FnMut(&str),
    ) {
        for path in tree.ephemerals(session) {
            let key = self.key(path);
            let Some(node) = self.find(tree, key) else { continue };
            if self.stat(&node).ephemeral_owner == session.0 {
                each(path);
                self.delete_below_parent(tree, (key, node), zxid);
            }
        }
        while let Some(&id) = self.owners.get(&session.0) {
            let mut path = std::mem::take(&mut self.scratch.path);
            path.clear();
            path.push_str(&self.records[id as usize].path);
            let key = Key { path: &path, hash: self.records[id as usize].hash };
            each(&path);
            self.delete_below_parent(tree, (key, Found::Pending(id)), zxid);
            self.scratch.path = path;
        }
    }

    fn delete_below_parent(&mut self, tree: &Tree, node: (Key<'_>, Found<'_>), zxid: Zxid) {
        let parent = path::split(node.0.path).and_then(|(parent, _)| {
            let key = self.key(parent);
            self.find(tree, key).map(|found| (key, found))
        });
        self.delete(parent, node, zxid);
    }

    fn file_under_owner(&mut self, id: RecordId) {
        let record = &self.records[id as usize];
        // Containers are nobody's; TTL znodes hang under a session that never is.
        let owner = match record.state.stat.ephemeral_owner {
            CONTAINER_OWNER => 0,
            owner if record.state.exists => owner,
            _ => 0,
        };
        if owner != record.owner {
            self.unfile(id);
            if owner != 0 {
                self.file(id, owner);
            }
        }
    }

    fn file(&mut self, id: RecordId, owner: i64) {
        let next = self.owners.insert(owner, id).unwrap_or(NONE);
        if next != NONE {
            self.records[next as usize].previous = id;
        }
        let record = &mut self.records[id as usize];
        (record.owner, record.previous, record.next) = (owner, NONE, next);
    }

    fn unfile(&mut self, id: RecordId) {
        let Record { owner, previous, next, .. } = self.records[id as usize];
        if owner == 0 {
            return;
        }
        if next != NONE {
            self.records[next as usize].previous = previous;
        }
        match previous {
            NONE if next == NONE => drop(self.owners.remove(&owner)),
            NONE => drop(self.owners.insert(owner, next)),
            _ => self.records[previous as usize].next = next,
        }
        self.records[id as usize].owner = 0;
    }
}
