//! What a batch of transactions changed, for the watches.
//!
//! One entry per znode created, deleted or written, in the order in which Java triggers its
//! watches; setting an ACL is none. Paths lie one behind the other in one string, so a batch costs
//! no allocation once the arena has grown to the usual size. Lists are handles: an event is
//! filtered by the list the znode had at that moment, even if the znode is gone when it is
//! delivered.

use oxkeeper_proto::Zxid;

pub use crate::acl_table::AclHandle;

/// What happened to a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It came into being.
    Created,
    /// It was removed.
    Deleted,
    /// Its data was set.
    DataChanged,
}

/// One change.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What happened.
    pub kind: ChangeKind,
    /// To which znode; the root is `/`.
    pub path: &'a str,
    /// In which transaction.
    pub zxid: Zxid,
    /// Bytes of data that came with it.
    pub data_bytes: usize,
    /// The znode's list.
    pub acl: &'a AclHandle,
    /// Its parent's list; the open one where no child came or went.
    pub parent_acl: &'a AclHandle,
}

#[derive(Debug, Clone)]
struct Item {
    kind: ChangeKind,
    path_end: usize,
    zxid: Zxid,
    data_bytes: usize,
    acl: AclHandle,
    parent_acl: AclHandle,
}

/// The changes of a batch, in order.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    paths: String,
    items: Vec<Item>,
}

/// Arena bytes kept by [`Changes::clear`]; one closeSession with a hundred thousand ephemerals
/// should not leave its memory behind for good.
const PATH_BYTES_KEPT: usize = 1 << 20;
/// Entries kept by [`Changes::clear`].
const ITEMS_KEPT: usize = 16 * 1024;

impl Changes {
    /// No changes.
    pub fn new() -> Changes {
        Changes::default()
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True if nothing changed.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets them, keeping the room for as many.
    pub fn clear(&mut self) {
        self.paths.clear();
        self.items.clear();
        self.paths.shrink_to(PATH_BYTES_KEPT);
        self.items.shrink_to(ITEMS_KEPT);
    }

    /// Adds one.
    pub fn push(&mut self, change: Change<'_>) {
        self.paths.push_str(change.path);
        self.items.push(Item {
            kind: change.kind,
            path_end: self.paths.len(),
            zxid: change.zxid,
            data_bytes: change.data_bytes,
            acl: change.acl.clone(),
            parent_acl: change.parent_acl.clone(),
        });
    }

    /// The changes in order.
    pub fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        let mut start = 0;
        self.items.iter().map(move |item| {
            let path = &self.paths[start..item.path_end];
            start = item.path_end;
            Change {
                kind: item.kind,
                path,
                zxid: item.zxid,
                data_bytes: item.data_bytes,
                acl: &item.acl,
                parent_acl: &item.parent_acl,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_in_order_with_their_paths() {
        let mut changes = Changes::new();
        for round in 0..2 {
            for (path, kind) in [("/a", ChangeKind::Created), ("/é/b", ChangeKind::Deleted)] {
                let acl = &AclHandle::OPEN;
                changes.push(Change {
                    kind,
                    path,
                    zxid: Zxid(round),
                    data_bytes: 0,
                    acl,
                    parent_acl: acl,
                });
            }
            let seen: Vec<_> = changes.iter().map(|c| (c.path, c.kind, c.zxid.0)).collect();
            let (a, b) = (ChangeKind::Created, ChangeKind::Deleted);
            assert_eq!(seen, [("/a", a, round), ("/é/b", b, round)]);
            changes.clear();
            assert!(changes.is_empty());
        }
    }
}
