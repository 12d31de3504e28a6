//! The watch tables of one Front: who wants to hear about which path, and who hears it when the
//! tree changes.
//!
//! ZooKeeper keeps two tables, one for data and one for children, and three modes per path and
//! connection (`WatchManager`, `WatcherMode`, `WatchStats`). Here both are one table. A *watcher
//! word* is a connection with four bits: standard data watch, standard child watch, persistent,
//! recursive. A persistent watch always stands in both of ZooKeeper's tables (nothing adds or
//! removes only one half), a recursive one in the data table alone, so four bits say it all. The
//! bits with a meaning in the data table are data, persistent and recursive; in the child table
//! child and persistent. "Only once to a connection" then is how a set of words behaves, not a
//! search.
//!
//! What costs memory is one word in the path's set of watchers, one path id in the connection's
//! set of paths, and the path itself, stored once: see `word_set` and `path_table` for the form and
//! for why no step of them ever takes longer than about half a millisecond. A connection that ends
//! with very many watches is detached at once and swept in pieces ([`Watches::sweep`]).
//!
//! | file | holds |
//! |---|---|
//! | here | adding, removing, asking, closing, counting |
//! | `fire` | what a change of the tree triggers |
//! | `report` | the walk behind wchc and wchp |

mod fire;
mod path_table;
mod report;
mod word_set;

pub use fire::Fired;
pub use report::{ReportBy, ReportCursor, ReportLine};

use path_table::{FLAG_BITS, NONE, PathEntry, PathId, PathTable};
use thiserror::Error;
use word_set::{Pieces, WordSet};

const DATA: u32 = 1;
const CHILD: u32 = 2;
const PERSISTENT: u32 = 4;
const RECURSIVE: u32 = 8;
/// The bits ZooKeeper would keep in its data table.
const DATA_TABLE: u32 = DATA | PERSISTENT | RECURSIVE;
/// The bits ZooKeeper would keep in its child table.
const CHILD_TABLE: u32 = CHILD | PERSISTENT;
const FLAGS: u32 = (1 << FLAG_BITS) - 1;

/// A connection of this Front. Keys are expected to be dense (indices of a slab): the table keeps
/// four bytes for every key up to the largest one that ever watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnKey(pub u32);

impl ConnKey {
    /// Keys from here on cannot watch; far above the number of sockets a process can hold.
    pub const END: u32 = 1 << 24;
}

/// What a client asks for when it leaves a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchKind {
    /// By getData and exists: one event about the znode itself.
    Data,
    /// By getChildren: one event about its children or its removal.
    Child,
    /// By addWatch: every event about the znode and its children (`AddWatchMode.PERSISTENT`).
    Persistent,
    /// By addWatch: every event about the znode and all below it, but none about sets of children
    /// (`AddWatchMode.PERSISTENT_RECURSIVE`).
    Recursive,
}

impl WatchKind {
    /// The kind that an addWatch request asks for, if the number is a mode.
    pub fn from_add_mode(mode: i32) -> Option<WatchKind> {
        match mode {
            0 => Some(WatchKind::Persistent),
            1 => Some(WatchKind::Recursive),
            _ => None,
        }
    }

    fn bit(self) -> u32 {
        match self {
            WatchKind::Data => DATA,
            WatchKind::Child => CHILD,
            WatchKind::Persistent => PERSISTENT,
            WatchKind::Recursive => RECURSIVE,
        }
    }
}

/// Which watches checkWatches and removeWatches mean (`Watcher.WatcherType`, 3.9.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatcherType {
    /// Standard child watches.
    Children,
    /// Standard data watches.
    Data,
    /// All kinds.
    Any,
    /// Persistent watches.
    Persistent,
    /// Recursive ones.
    PersistentRecursive,
}

impl WatcherType {
    /// The type with this number; Java answers MARSHALLINGERROR where there is none.
    pub fn from_code(code: i32) -> Option<WatcherType> {
        match code {
            1 => Some(WatcherType::Children),
            2 => Some(WatcherType::Data),
            3 => Some(WatcherType::Any),
            4 => Some(WatcherType::Persistent),
            5 => Some(WatcherType::PersistentRecursive),
            _ => None,
        }
    }

    fn bits(self) -> u32 {
        match self {
            WatcherType::Children => CHILD,
            WatcherType::Data => DATA,
            WatcherType::Any => FLAGS,
            WatcherType::Persistent => PERSISTENT,
            WatcherType::PersistentRecursive => RECURSIVE,
        }
    }
}

/// How much one Front's table may hold. ZooKeeper has no such bounds and ends with its heap; these
/// lie far above any sane use and keep one client from taking the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchLimits {
    /// Watched paths per connection. A client that re-arms more than this after a reconnect would
    /// send for minutes; 4 Mi watches on paths of their own are some 500 MB here.
    pub per_connection_max: u32,
    /// Watches of all connections, pairs of path and connection: 32 Mi, at least 300 MB of words.
    pub total_max: u32,
    /// Sum of the lengths of all watched paths. An exists watch needs no znode, so a client can
    /// leave watches on missing paths as long as a frame; 1 GiB in total.
    pub path_bytes_max: usize,
}

impl Default for WatchLimits {
    fn default() -> Self {
        WatchLimits { per_connection_max: 4 << 20, total_max: 32 << 20, path_bytes_max: 1 << 30 }
    }
}

/// A watch was refused because of [`WatchLimits`]; says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WatchesFull {
    /// This connection watches too many paths.
    #[error("the connection already watches {0} paths, the most that is allowed")]
    Connection(u32),
    /// All connections together watch too much.
    #[error("{0} watches are held, the most that is allowed")]
    Total(u32),
    /// The watched paths are too long together.
    #[error("the watched paths take {0} bytes, more would exceed what is allowed")]
    PathBytes(usize),
    /// The key is not one a slab of connections would give out.
    #[error("connection key {0} is out of range")]
    Key(u32),
}

/// Numbers for mntr and wchs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchCounts {
    /// Pairs of path and connection in the data table: the total of wchs.
    pub data: usize,
    /// The same for the child table; `watch_count` of mntr is the sum of both.
    pub child: usize,
    /// Paths with a data watch. Paths of a closed connection count until they are swept.
    pub data_paths: usize,
    /// Connections with an entry in the data table. As in ZooKeeper a connection stays listed when
    /// its last watch *fires*, and leaves when its last one is removed by request.
    pub data_connections: usize,
}

/// A connection that has ever left a watch.
#[derive(Debug)]
struct Slot {
    paths: WordSet<0>,
    key: ConnKey,
    /// Paths it has in the data table.
    data: u32,
    /// Paths it has in the child table.
    child: u32,
    /// The last firing that reached it through a data watch.
    mark: u64,
    /// Whether the data table lists it, see [`WatchCounts::data_connections`].
    listed: bool,
    /// False once closed: nothing is delivered any more, the rest is swept.
    alive: bool,
}

/// A closed connection whose watches are not all swept yet.
#[derive(Debug)]
struct Detached {
    slot: u32,
    pieces: Pieces,
}

/// The watches of one Front. See the module.
#[derive(Debug)]
pub struct Watches {
    limits: WatchLimits,
    paths: PathTable,
    /// From connection key to slot.
    by_key: Vec<u32>,
    slots: Vec<Slot>,
    vacant_slots: Vec<u32>,
    detached: Vec<Detached>,
    /// Words in the table, those to be swept included.
    words: usize,
    unswept: usize,
    counts: WatchCounts,
    /// Recursive watches; while there are none, no ancestors are looked up.
    recursive: usize,
    /// Counts calls of `fire`.
    firing: u64,
    told: Vec<ConnKey>,
    child_only: Vec<u32>,
}

/// A connection with no more watches than this is swept in the call that closes it.
const CLOSE_AT_ONCE_MAX: usize = 1_024;

impl Watches {
    /// An empty table. `seed` goes into the hash of paths; give every process another one.
    pub fn new(limits: WatchLimits, seed: u64) -> Watches {
        Watches {
            limits,
            paths: PathTable::new(seed),
            by_key: Vec::new(),
            slots: Vec::new(),
            vacant_slots: Vec::new(),
            detached: Vec::new(),
            words: 0,
            unswept: 0,
            counts: WatchCounts::default(),
            recursive: 0,
            firing: 0,
            told: Vec::new(),
            child_only: Vec::new(),
        }
    }

    /// Leaves a watch. True if it was not there before (`WatchManager.addWatch`).
    pub fn add(&mut self, conn: ConnKey, path: &str, kind: WatchKind) -> Result<bool, WatchesFull> {
        let slot = self.slot_or_new(conn)?;
        let bit = kind.bit();
        let held = self.paths.find(path).and_then(|id| {
            let word = self.paths.entry(id).watchers.get(slot)?;
            Some((id, word & FLAGS))
        });
        let (id, old) = match held {
            Some((id, old)) => (id, old),
            None => (self.add_word(slot, path)?, 0),
        };
        if old & bit != 0 {
            return Ok(false);
        }
        if let Some(word) = self.paths.entry_mut(id).watchers.get_mut(slot) {
            *word |= bit;
        }
        self.recount(id, slot, old, old | bit);
        Ok(true)
    }

    /// Puts an empty word for a connection that does not watch the path in any way.
    fn add_word(&mut self, slot: u32, path: &str) -> Result<PathId, WatchesFull> {
        let limits = self.limits;
        let set = &self.slots[slot as usize].paths;
        if set.len() >= limits.per_connection_max as usize {
            return Err(WatchesFull::Connection(limits.per_connection_max));
        }
        if self.words >= limits.total_max as usize {
            return Err(WatchesFull::Total(limits.total_max));
        }
        let path_bytes = self.paths.path_bytes();
        if path_bytes + path.len() > limits.path_bytes_max && self.paths.find(path).is_none() {
            return Err(WatchesFull::PathBytes(path_bytes));
        }
        let id = self.paths.intern(path);
        self.paths.entry_mut(id).watchers.insert(slot << FLAG_BITS);
        self.slots[slot as usize].paths.insert(id);
        self.words += 1;
        Ok(id)
    }

    /// Whether a connection has a watch of this type on a path (`DataTree.containsWatcher`).
    pub fn contains(&self, conn: ConnKey, path: &str, watcher_type: WatcherType) -> bool {
        self.find_word(conn, path).is_some_and(|(_, _, bits)| bits & watcher_type.bits() != 0)
    }

    /// Removes a connection's watches of this type from a path. False, for NOWATCHER, if there was
    /// none (`DataTree.removeWatch`).
    pub fn remove(&mut self, conn: ConnKey, path: &str, watcher_type: WatcherType) -> bool {
        let Some((id, slot, old)) = self.find_word(conn, path) else { return false };
        let new = old & !watcher_type.bits();
        if new == old {
            return false;
        }
        let entry = self.paths.entry_mut(id);
        if new == 0 {
            entry.watchers.remove(slot);
            self.slots[slot as usize].paths.remove(id);
            self.words -= 1;
        } else if let Some(word) = entry.watchers.get_mut(slot) {
            *word = slot << FLAG_BITS | new;
        }
        self.recount(id, slot, old, new);
        let conn = &mut self.slots[slot as usize];
        if old & DATA_TABLE != 0 && new & DATA_TABLE == 0 && conn.data == 0 && conn.listed {
            conn.listed = false;
            self.counts.data_connections -= 1;
        }
        self.paths.release_if_unwatched(id);
        true
    }

    /// Drops everything a connection watches; no event reaches it from here on, and the key may be
    /// given to another connection at once. More than 1,024 watches are only detached:
    /// [`Watches::sweep`] removes them. (`WatchManager.removeWatcher`.)
    pub fn close(&mut self, conn: ConnKey) {
        let Some(slot) = self.slot_of(conn) else { return };
        self.by_key[conn.0 as usize] = NONE;
        let closing = &mut self.slots[slot as usize];
        closing.alive = false;
        self.counts.data -= closing.data as usize;
        self.counts.child -= closing.child as usize;
        self.counts.data_connections -= usize::from(closing.listed);
        let paths = std::mem::take(&mut closing.paths);
        let count = paths.len();
        self.unswept += count;
        self.detached.push(Detached { slot, pieces: paths.into_pieces() });
        if count <= CLOSE_AT_ONCE_MAX {
            self.sweep_last(count + 1);
        }
    }

    /// How many watches of closed connections still wait to be swept.
    pub fn unswept(&self) -> usize {
        self.unswept
    }

    /// Removes up to `budget` watches of closed connections and returns how many are left. To be
    /// called with a budget of a few hundred between other work: each costs 250 to 500 ns, because
    /// what it touches is long out of the caches.
    pub fn sweep(&mut self, budget: usize) -> usize {
        let mut left = budget;
        while left > 0 && !self.detached.is_empty() {
            left -= self.sweep_last(left);
        }
        self.unswept
    }

    /// Sweeps the connection that was detached last; returns the budget it used up.
    fn sweep_last(&mut self, budget: usize) -> usize {
        let Some(mut last) = self.detached.pop() else { return 0 };
        for used in 0..budget {
            let Some(id) = last.pieces.pop() else {
                self.vacant_slots.push(last.slot);
                return used + 1;
            };
            let entry = self.paths.entry_mut(id);
            if let Some(word) = entry.watchers.remove(last.slot) {
                let bits = word & FLAGS;
                let had_data = entry.data > 0;
                entry.count(bits, 0);
                self.counts.data_paths -= usize::from(had_data && entry.data == 0);
                self.recursive -= usize::from(bits & RECURSIVE != 0);
                self.words -= 1;
                self.unswept -= 1;
            }
            self.paths.release_if_unwatched(id);
        }
        self.detached.push(last);
        budget
    }

    /// True if nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// The numbers of mntr and wchs.
    pub fn counts(&self) -> WatchCounts {
        self.counts
    }

    fn slot_of(&self, conn: ConnKey) -> Option<u32> {
        self.by_key.get(conn.0 as usize).copied().filter(|&slot| slot != NONE)
    }

    fn slot_or_new(&mut self, conn: ConnKey) -> Result<u32, WatchesFull> {
        if let Some(slot) = self.slot_of(conn) {
            return Ok(slot);
        }
        if conn.0 >= ConnKey::END {
            return Err(WatchesFull::Key(conn.0));
        }
        let key = conn.0 as usize;
        if self.by_key.len() <= key {
            self.by_key.resize(key + 1, NONE);
        }
        let fresh = Slot {
            paths: WordSet::default(),
            key: conn,
            data: 0,
            child: 0,
            mark: self.firing,
            listed: false,
            alive: true,
        };
        let slot = match self.vacant_slots.pop() {
            Some(slot) => {
                self.slots[slot as usize] = fresh;
                slot
            }
            None => {
                self.slots.push(fresh);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_key[key] = slot;
        Ok(slot)
    }

    fn find_word(&self, conn: ConnKey, path: &str) -> Option<(PathId, u32, u32)> {
        let slot = self.slot_of(conn)?;
        let id = self.paths.find(path)?;
        let word = self.paths.entry(id).watchers.get(slot)?;
        Some((id, slot, word & FLAGS))
    }

    /// Brings every counter in line after a word went from the bits `old` to `new`.
    fn recount(&mut self, id: PathId, slot: u32, old: u32, new: u32) {
        let entry = self.paths.entry_mut(id);
        let had_data = entry.data > 0;
        entry.count(old, new);
        match (had_data, entry.data > 0) {
            (false, true) => self.counts.data_paths += 1,
            (true, false) => self.counts.data_paths -= 1,
            _ => {}
        }
        self.recursive += usize::from(new & RECURSIVE != 0);
        self.recursive -= usize::from(old & RECURSIVE != 0);
        let conn = &mut self.slots[slot as usize];
        conn.count(old, new, &mut self.counts);
        if new & DATA_TABLE != 0 && !conn.listed {
            conn.listed = true;
            self.counts.data_connections += 1;
        }
    }
}

impl PathEntry {
    /// Recounts a watcher whose bits went from `old` to `new`.
    fn count(&mut self, old: u32, new: u32) {
        self.data += u32::from(new & DATA_TABLE != 0);
        self.data -= u32::from(old & DATA_TABLE != 0);
        self.child += u32::from(new & CHILD_TABLE != 0);
        self.child -= u32::from(old & CHILD_TABLE != 0);
        self.recursive += u32::from(new & RECURSIVE != 0);
        self.recursive -= u32::from(old & RECURSIVE != 0);
    }
}

impl Slot {
    /// Recounts a path whose bits went from `old` to `new`.
    fn count(&mut self, old: u32, new: u32, counts: &mut WatchCounts) {
        self.data += u32::from(new & DATA_TABLE != 0);
        self.data -= u32::from(old & DATA_TABLE != 0);
        self.child += u32::from(new & CHILD_TABLE != 0);
        self.child -= u32::from(old & CHILD_TABLE != 0);
        counts.data += usize::from(new & DATA_TABLE != 0);
        counts.data -= usize::from(old & DATA_TABLE != 0);
        counts.child += usize::from(new & CHILD_TABLE != 0);
        counts.child -= usize::from(old & CHILD_TABLE != 0);
    }
}
