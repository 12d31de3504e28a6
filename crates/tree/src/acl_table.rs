//! Access control lists, each kept once (`ReferenceCountedACLCache`).
//!
//! A znode holds the number of its list; the list is dropped when its last znode lets go. Numbers
//! are local to a server and visible only in snapshots. The open list, `world:anyone` with all
//! permissions, is what nearly every znode has: it stands outside the table, as −1 in snapshots,
//! and costs nothing.

use std::fmt;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use oxkeeper_proto::data::encode_acl;
use oxkeeper_proto::{Acl, AclList, OPEN_ACL_UNSAFE, perms};
use triomphe::ThinArc;

/// A list that outlives its znode: watches and queued requests keep one. Cloning is cheap, and free
/// for the open list, which is also the default.
#[derive(Clone, Default)]
pub struct AclHandle(Option<ThinArc<(), u8>>);

impl AclHandle {
    /// `world:anyone` with all permissions.
    pub const OPEN: AclHandle = AclHandle(None);

    /// A handle of its own for a list. A null list is the open one, as in Java.
    pub fn new(list: AclList<'_>) -> AclHandle {
        match list.is_null() || list == OPEN_ACL_UNSAFE {
            true => AclHandle(None),
            false => AclHandle(Some(ThinArc::from_header_and_slice((), list.raw()))),
        }
    }

    /// `world:anyone` may read (`Ids.READ_ACL_UNSAFE`).
    pub(crate) fn read_only() -> AclHandle {
        let mut raw = Vec::new();
        encode_acl(&mut raw, &[Acl::new(perms::READ, "world", "anyone")]);
        AclHandle(Some(ThinArc::from_header_and_slice((), &raw)))
    }

    /// True for the open list.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// The list.
    pub fn list(&self) -> AclList<'_> {
        // The bytes came from an `AclList`, so they decode; were they ever damaged, nobody may
        // gain a right by it.
        AclList::from_raw(self.raw()).unwrap_or_else(|_| AclList::from_raw(NOBODY).expect("valid"))
    }

    /// The encoded list, count and entries.
    pub fn raw(&self) -> &[u8] {
        match &self.0 {
            None => OPEN_ACL_UNSAFE.raw(),
            Some(arc) => &arc.slice,
        }
    }
}

impl PartialEq for AclHandle {
    fn eq(&self, other: &AclHandle) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => a.ptr() == b.ptr() || a.slice == b.slice,
            _ => false,
        }
    }
}

impl Eq for AclHandle {}

impl fmt::Debug for AclHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list().iter()).finish()
    }
}

/// A list that lets only the super user in: one entry for everybody with no permission at all. (An
/// empty list would allow everything.)
const NOBODY: &[u8] =
    b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05world\x00\x00\x00\x06anyone";

/// The number of a list; [`AclId::OPEN`] stands outside the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct AclId(pub u32);

impl AclId {
    pub const OPEN: AclId = AclId(u32::MAX);

    /// As snapshots have it.
    pub fn on_disk(self) -> i64 {
        if self == AclId::OPEN { -1 } else { i64::from(self.0) }
    }
}

#[derive(Debug)]
struct Entry {
    list: AclHandle,
    znodes: u64,
}

/// The table.
#[derive(Debug)]
pub(crate) struct AclTable {
    entries: HashMap<u32, Entry, FixedState>,
    by_list: HashTable<u32>,
    hasher: FixedState,
    last: u32,
    open: AclHandle,
}

impl AclTable {
    pub fn new(hash_seed: u64) -> AclTable {
        AclTable {
            entries: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            by_list: HashTable::new(),
            hasher: FixedState::with_seed(hash_seed),
            last: 0,
            open: AclHandle::OPEN,
        }
    }

    /// The list behind a number. Every number a znode holds is in the table.
    #[inline]
    pub fn handle(&self, id: AclId) -> &AclHandle {
        if id == AclId::OPEN {
            return &self.open;
        }
        self.entries.get(&id.0).map_or(&self.open, |entry| &entry.list)
    }

    /// The number of a list, counting one znode more.
    pub fn acquire(&mut self, list: AclList<'_>) -> AclId {
        if list.is_null() || list == OPEN_ACL_UNSAFE {
            return AclId::OPEN;
        }
        let hash = self.hasher.hash_one(list.raw());
        let entries = &self.entries;
        let same = |id: &u32| entries[id].list.raw() == list.raw();
        if let Some(&id) = self.by_list.find(hash, same) {
            self.acquire_known(AclId(id), 1);
            return AclId(id);
        }
        let id = self.next_free();
        self.insert(id, AclHandle::new(list), 1, hash);
        AclId(id)
    }

    /// The number of the list that lets nobody in.
    pub fn acquire_nobody(&mut self) -> AclId {
        self.acquire(AclList::from_raw(NOBODY).expect("valid"))
    }

    /// Counts more znodes for a number already given out.
    pub fn acquire_known(&mut self, id: AclId, znodes: u64) {
        if let Some(entry) = self.entries.get_mut(&id.0) {
            entry.znodes += znodes;
        }
    }

    /// Counts one znode less; the last one takes the list with it.
    pub fn release(&mut self, id: AclId) {
        if id == AclId::OPEN {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id.0) else { return };
        entry.znodes = entry.znodes.saturating_sub(1);
        if entry.znodes == 0 {
            self.forget(id.0);
        }
    }

    /// Takes a list from a snapshot under its number there, not used by any znode yet. `None` if
    /// the number cannot be kept: then the list has another one.
    pub fn load(&mut self, key: i64, list: AclList<'_>) -> AclId {
        if list.is_null() || list == OPEN_ACL_UNSAFE {
            return AclId::OPEN;
        }
        let hash = self.hasher.hash_one(list.raw());
        let entries = &self.entries;
        let same = |id: &u32| entries[id].list.raw() == list.raw();
        if let Some(&id) = self.by_list.find(hash, same) {
            return AclId(id);
        }
        let id = match u32::try_from(key) {
            Ok(id) if id != 0 && id != u32::MAX && !self.entries.contains_key(&id) => id,
            _ => self.next_free(),
        };
        self.last = self.last.max(id);
        self.insert(id, AclHandle::new(list), 0, hash);
        AclId(id)
    }

    /// Drops the lists no znode of the loaded snapshot uses (`purgeUnused`).
    pub fn purge_unused(&mut self) {
        let unused: Vec<u32> =
            self.entries.iter().filter(|(_, e)| e.znodes == 0).map(|(id, _)| *id).collect();
        for id in unused {
            self.forget(id);
        }
    }

    /// The lists by number.
    pub fn iter(&self) -> impl Iterator<Item = (AclId, &AclHandle)> {
        self.entries.iter().map(|(id, entry)| (AclId(*id), &entry.list))
    }

    /// Lists in the table, the open one not counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    fn insert(&mut self, id: u32, list: AclHandle, znodes: u64, hash: u64) {
        self.entries.insert(id, Entry { list, znodes });
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.by_list.insert_unique(hash, id, |id| hasher.hash_one(entries[id].list.raw()));
    }

    fn forget(&mut self, id: u32) {
        let Some(entry) = self.entries.remove(&id) else { return };
        let hash = self.hasher.hash_one(entry.list.raw());
        if let Ok(found) = self.by_list.find_entry(hash, |other| *other == id) {
            found.remove();
        }
    }

    /// Numbers go up as Java's do; after four thousand million lists they start again.
    fn next_free(&mut self) -> u32 {
        loop {
            self.last = if self.last >= u32::MAX - 1 { 1 } else { self.last + 1 };
            if !self.entries.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(id: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode_acl(&mut out, &[Acl::new(31, "digest", id)]);
        out
    }

    #[test]
    fn a_list_lives_as_long_as_its_znodes() {
        let mut table = AclTable::new(1);
        let (a, b) = (list("a:x"), list("b:x"));
        let first = table.acquire(AclList::from_raw(&a).unwrap());
        assert_eq!(first, AclId(1));
        assert_eq!(table.acquire(AclList::from_raw(&a).unwrap()), first);
        assert_eq!(table.acquire(AclList::from_raw(&b).unwrap()), AclId(2));
        table.release(first);
        assert_eq!(table.handle(first).raw(), a);
        let kept = table.handle(first).clone();
        table.release(first);
        assert_eq!((table.len(), kept.raw()), (1, &a[..]));
        assert_eq!(table.acquire(AclList::from_raw(&a).unwrap()), AclId(3));
    }

    #[test]
    fn the_open_list_stands_outside() {
        let mut table = AclTable::new(1);
        let null = (-1i32).to_be_bytes();
        assert_eq!(table.acquire(OPEN_ACL_UNSAFE), AclId::OPEN);
        assert_eq!(table.acquire(AclList::from_raw(&null).unwrap()), AclId::OPEN);
        table.release(AclId::OPEN);
        assert!(table.handle(AclId::OPEN).is_open());
        assert_eq!((table.len(), AclId::OPEN.on_disk()), (0, -1));
    }

    #[test]
    fn loaded_numbers_are_kept_and_unused_lists_dropped() {
        let mut table = AclTable::new(1);
        let (a, b, c) = (list("a:x"), list("b:x"), list("c:x"));
        let id = table.load(7, AclList::from_raw(&a).unwrap());
        assert_eq!(id, AclId(7));
        let far = table.load(i64::MAX, AclList::from_raw(&b).unwrap());
        assert_eq!(far, AclId(8));
        table.acquire_known(id, 1);
        table.purge_unused();
        assert_eq!(table.iter().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
        assert_eq!(table.acquire(AclList::from_raw(&c).unwrap()), AclId(9));
    }

    #[test]
    fn nobody_is_a_list_without_permissions() {
        let mut table = AclTable::new(1);
        let id = table.acquire_nobody();
        let entries: Vec<_> = table.handle(id).list().iter().map(|a| a.perms).collect();
        assert_eq!(entries, [0]);
    }
}
