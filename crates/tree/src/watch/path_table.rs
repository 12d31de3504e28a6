//! The watched paths, each stored once: a slab of entries and an index from path to entry.
//!
//! Entries live in chunks that never move, and the index is 256 tables that keep the hash beside
//! the id and grow one at a time, so adding a path never touches all the others: with ten million
//! paths the longest step moves 40,000 eight-byte items. The hash is seeded by the host, because
//! paths are chosen by clients.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::word_set::WordSet;

/// Mode bits below the connection slot in a watcher word.
pub(super) const FLAG_BITS: u32 = 4;

/// Entries in a chunk of the slab.
const CHUNK: usize = 1_024;
/// Tables in the index.
const SHARDS: usize = 256;
/// No entry: the end of the list of vacant ones.
pub(super) const NONE: u32 = u32::MAX;

/// A watched path.
#[derive(Debug)]
pub(super) struct PathEntry {
    /// The path; empty in a vacant entry.
    pub(super) path: Box<str>,
    /// Connection slots with their mode bits.
    pub(super) watchers: WordSet<FLAG_BITS>,
    /// The path's hash, or the next vacant entry.
    hash: u32,
    /// Watchers with a bit of the data table.
    pub(super) data: u32,
    /// Watchers with a bit of the child table.
    pub(super) child: u32,
    /// Watchers with the recursive bit.
    pub(super) recursive: u32,
}

/// Identifies an entry while it is occupied.
pub(super) type PathId = u32;

#[derive(Debug, Clone, Copy)]
struct Item {
    hash: u32,
    id: PathId,
}

/// See the module.
#[derive(Debug)]
pub(super) struct PathTable {
    hasher: FixedState,
    chunks: Vec<Vec<PathEntry>>,
    vacant: u32,
    index: Vec<HashTable<Item>>,
    paths: usize,
    path_bytes: usize,
}

fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn shard_of(hash: u32) -> usize {
    (hash >> 24) as usize
}

impl PathTable {
    /// An empty table.
    pub(super) fn new(seed: u64) -> Self {
        PathTable {
            hasher: FixedState::with_seed(seed),
            chunks: Vec::new(),
            vacant: NONE,
            index: (0..SHARDS).map(|_| HashTable::new()).collect(),
            paths: 0,
            path_bytes: 0,
        }
    }

    /// The sum of their lengths.
    pub(super) fn path_bytes(&self) -> usize {
        self.path_bytes
    }

    fn hash(&self, path: &str) -> u32 {
        self.hasher.hash_one(path.as_bytes()) as u32
    }

    /// The entry of a path, if it is watched.
    pub(super) fn find(&self, path: &str) -> Option<PathId> {
        if self.paths == 0 {
            return None;
        }
        self.find_hashed(path, self.hash(path))
    }

    fn find_hashed(&self, path: &str, hash: u32) -> Option<PathId> {
        self.index[shard_of(hash)]
            .find(spread(hash), |item| item.hash == hash && *self.entry(item.id).path == *path)
            .map(|item| item.id)
    }

    /// The entry of a path, made if need be.
    pub(super) fn intern(&mut self, path: &str) -> PathId {
        let hash = self.hash(path);
        if let Some(id) = self.find_hashed(path, hash) {
            return id;
        }
        let entry = PathEntry {
            path: path.into(),
            watchers: WordSet::default(),
            hash,
            data: 0,
            child: 0,
            recursive: 0,
        };
        let id = self.occupy(entry);
        self.index[shard_of(hash)]
            .insert_unique(spread(hash), Item { hash, id }, |item| spread(item.hash));
        self.paths += 1;
        self.path_bytes += path.len();
        id
    }

    fn occupy(&mut self, entry: PathEntry) -> PathId {
        if self.vacant != NONE {
            let id = self.vacant;
            let slot = self.entry_mut(id);
            let next = slot.hash;
            *slot = entry;
            self.vacant = next;
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk_index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[chunk_index];
        chunk.push(entry);
        (chunk_index * CHUNK + chunk.len() - 1) as PathId
    }

    /// The entry with this id.
    pub(super) fn entry(&self, id: PathId) -> &PathEntry {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    /// The entry with this id.
    pub(super) fn entry_mut(&mut self, id: PathId) -> &mut PathEntry {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    /// Forgets a path that nobody watches any more.
    pub(super) fn release_if_unwatched(&mut self, id: PathId) {
        let vacant = self.vacant;
        let entry = self.entry_mut(id);
        if !entry.watchers.is_empty() {
            return;
        }
        let hash = entry.hash;
        let path = std::mem::take(&mut entry.path);
        entry.watchers = WordSet::default();
        entry.hash = vacant;
        self.vacant = id;
        self.paths -= 1;
        self.path_bytes -= path.len();
        let shard = &mut self.index[shard_of(hash)];
        if let Ok(item) = shard.find_entry(spread(hash), |item| item.id == id) {
            item.remove();
        }
        if shard.capacity() > 64 && shard.len() * 8 < shard.capacity() {
            shard.shrink_to(shard.len() * 2, |item| spread(item.hash));
        }
        if self.paths == 0 {
            self.chunks = Vec::new();
            self.vacant = NONE;
        }
    }

    /// One more than the largest id in use.
    pub(super) fn ids_end(&self) -> PathId {
        match self.chunks.last() {
            Some(last) => ((self.chunks.len() - 1) * CHUNK + last.len()) as PathId,
            None => 0,
        }
    }
}
