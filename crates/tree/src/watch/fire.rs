//! What a change of the tree triggers, in ZooKeeper's order (`DataTree.createNode`, `deleteNode`,
//! `setData`; `WatchManager.triggerWatch`).
//!
//! | change | first, data table | second, child table | third, child table of the parent |
//! |---|---|---|---|
//! | created | NodeCreated | | NodeChildrenChanged |
//! | deleted | NodeDeleted | NodeDeleted, to whom the first did not go | NodeChildrenChanged |
//! | data changed | NodeDataChanged | | |
//!
//! An event in the data table also reaches the recursive watches of every ancestor. A standard
//! watch that fires is gone, even where the ACL then keeps its event from being delivered.

use oxkeeper_proto::Zxid;
use oxkeeper_proto::response::EventType;

use super::path_table::{FLAG_BITS, PathId};
use super::{
    CHILD, CHILD_TABLE, ConnKey, DATA, DATA_TABLE, FLAGS, RECURSIVE, Slot, WatchCounts, Watches,
};
use crate::changes::{AclHandle, Change, ChangeKind};
use crate::wrong::{self, Wrong};

/// How many watchers a change triggered, as ZooKeeper adds them to its `node_*_watch_count`
/// summaries (it adds no zeros).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fired {
    /// Of NodeCreated, NodeDeleted or NodeDataChanged in the data table.
    pub data: usize,
    /// Of NodeDeleted in the child table, those included who were told already.
    pub child: usize,
    /// Of the parent's NodeChildrenChanged.
    pub parent: usize,
}

impl Watches {
    /// Triggers the watches that a change concerns. `deliver` is called for every connection and
    /// event, one event after the other (so that an event need be encoded only once), with what the
    /// notification says (ZOOKEEPER-4655 put the zxid into its header) and the list that decides
    /// whether this connection may hear it: whoever may not READ the znode, or for
    /// NodeChildrenChanged the parent, is told nothing (ZOOKEEPER-4799).
    pub fn fire(
        &mut self,
        change: &Change<'_>,
        mut deliver: impl FnMut(ConnKey, EventType, &str, Zxid, &AclHandle),
    ) -> Fired {
        let mut fired = Fired::default();
        if self.is_empty() {
            return fired;
        }
        let &Change { kind, path, zxid, acl, parent_acl, .. } = change;
        let event = match kind {
            ChangeKind::Created => EventType::NodeCreated,
            ChangeKind::Deleted => EventType::NodeDeleted,
            ChangeKind::DataChanged => EventType::NodeDataChanged,
        };
        self.firing += 1;
        fired.child = self.trigger_own(path, kind == ChangeKind::Deleted);
        self.trigger_ancestors(path);
        fired.data = self.told.len();
        self.told.iter().for_each(|&conn| deliver(conn, event, path, zxid, acl));
        if kind == ChangeKind::DataChanged {
            return fired;
        }
        if kind == ChangeKind::Deleted {
            self.keep_untold();
            self.told.iter().for_each(|&conn| deliver(conn, event, path, zxid, acl));
        }
        let parent = parent_of(path);
        self.trigger_children(parent);
        fired.parent = self.told.len();
        let event = EventType::NodeChildrenChanged;
        self.told.iter().for_each(|&conn| deliver(conn, event, parent, zxid, parent_acl));
        fired
    }

    /// Collects into `told` who watches a path in the data table; if `both`, also into `child_only`
    /// who watches it in the child table alone. Consumes the standard watches. Returns how many
    /// stand in the child table, if `both`.
    fn trigger_own(&mut self, path: &str, both: bool) -> usize {
        self.told.clear();
        self.child_only.clear();
        let Some(id) = self.paths.find(path) else { return 0 };
        let entry = self.paths.entry_mut(id);
        if entry.data == 0 && !(both && entry.child > 0) {
            return 0;
        }
        let consumed = if both { DATA | CHILD } else { DATA };
        let mut in_child_table = 0;
        let mut gone = Gone::default();
        entry.watchers.retain(|word| {
            let slot = *word >> FLAG_BITS;
            let conn = &mut self.slots[slot as usize];
            if !conn.alive {
                return true;
            }
            let in_child = both && *word & CHILD_TABLE != 0;
            in_child_table += usize::from(in_child);
            if *word & DATA_TABLE != 0 {
                self.told.push(conn.key);
                conn.mark = self.firing;
            } else if in_child {
                self.child_only.push(slot);
            }
            gone.consume(id, word, consumed, conn, &mut self.counts)
        });
        self.settle(id, gone);
        in_child_table
    }

    /// Adds to `told` the recursive watchers of every ancestor, each connection once.
    fn trigger_ancestors(&mut self, path: &str) {
        let mut path = path;
        while self.recursive > 0 && path != "/" {
            path = parent_of(path);
            let Some(id) = self.paths.find(path) else { continue };
            let entry = self.paths.entry(id);
            if entry.recursive == 0 {
                continue;
            }
            for word in entry.watchers.iter().filter(|word| word & RECURSIVE != 0) {
                let conn = &mut self.slots[(word >> FLAG_BITS) as usize];
                if conn.alive && conn.mark != self.firing {
                    conn.mark = self.firing;
                    self.told.push(conn.key);
                }
            }
        }
    }

    /// Turns `child_only` into `told`, without those that a recursive watch has reached.
    fn keep_untold(&mut self) {
        self.told.clear();
        for &slot in &self.child_only {
            let conn = &self.slots[slot as usize];
            if conn.mark != self.firing {
                self.told.push(conn.key);
            }
        }
    }

    /// Collects into `told` who watches the children of a path and consumes standard watches.
    fn trigger_children(&mut self, path: &str) {
        self.told.clear();
        let Some(id) = self.paths.find(path) else { return };
        let entry = self.paths.entry_mut(id);
        if entry.child == 0 {
            return;
        }
        let mut gone = Gone::default();
        entry.watchers.retain(|word| {
            let conn = &mut self.slots[(*word >> FLAG_BITS) as usize];
            if !conn.alive || *word & CHILD_TABLE == 0 {
                return true;
            }
            self.told.push(conn.key);
            gone.consume(id, word, CHILD, conn, &mut self.counts)
        });
        self.settle(id, gone);
    }

    /// Books at the path what was consumed there.
    fn settle(&mut self, id: PathId, gone: Gone) {
        let entry = self.paths.entry_mut(id);
        entry.data -= gone.data;
        entry.child -= gone.child;
        self.counts.data_paths -= usize::from(gone.data > 0 && entry.data == 0);
        self.words -= gone.words;
        self.paths.release_if_unwatched(id);
    }
}

/// What firing took from the table at one path.
#[derive(Debug, Default)]
struct Gone {
    data: u32,
    child: u32,
    words: usize,
}

impl Gone {
    /// Removes the consumed bits from a word; false if nothing is left of it.
    fn consume(
        &mut self,
        id: PathId,
        word: &mut u32,
        consumed: u32,
        conn: &mut Slot,
        counts: &mut WatchCounts,
    ) -> bool {
        let old = *word & FLAGS;
        let new = if wrong::is(Wrong::WatchFiredTwice) { old } else { old & !consumed };
        if new == old {
            return true;
        }
        *word = *word & !FLAGS | new;
        conn.count(old, new, counts);
        self.data += u32::from(old & DATA_TABLE != 0 && new & DATA_TABLE == 0);
        self.child += u32::from(old & CHILD_TABLE != 0 && new & CHILD_TABLE == 0);
        if new == 0 {
            conn.paths.remove(id);
            self.words += 1;
        }
        new != 0
    }
}

/// The parent of a path; the root is its own.
fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(slash) => &path[..slash],
    }
}
