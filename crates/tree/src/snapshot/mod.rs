//! Snapshots: the whole state at one zxid, written while it goes on changing.
//!
//! Taking one never stops the world. [`Tree::snapshot_begin`] captures what is small – sessions,
//! access control lists, the digest – and from then on [`Tree::snapshot_next`] hands out the znodes
//! in [`Chunk`]s of a few hundred, as handles that another thread encodes. The walk goes from a
//! directory to its subdirectories, so parents come before their children as every reader demands,
//! and within a directory by hash, an order that insertions do not disturb. A znode that changes
//! before the walk has come to it is kept aside as it was; one that comes into being is noted, to
//! be left out. So what is written is exactly the tree at the beginning: no replay has to mend it.
//!
//! Reading is [`load()`], and that is more tolerant: Java writes its snapshots while the tree
//! changes underneath, and replaying the log over the result makes it whole.
//!
//! The file is: [`SnapshotHead::encode`], all chunks, [`SnapshotHead::encode_end`], a seal, then –
//! with digests on – [`SnapshotHead::encode_digest`], a seal, [`SnapshotHead::encode_last_zxid`], a
//! seal. Without digests nothing follows the first seal: a reader tells the sections apart by
//! length, and Java takes a lone last one for a digest. Seals are the business of whoever counts
//! the bytes.
//!
//! Between servers a snapshot travels as its sessions, lists and znodes alone: [`Body`] takes them
//! out of a file, [`load_stream`] reads them.

mod body;
mod chunk;
mod cursor;
mod load;

pub use body::{Body, SIGNATURE};
pub use chunk::{Chunk, SnapshotHead, encode_header};
pub(crate) use cursor::Cursor;
pub use load::{LoadError, Loaded, SnapshotSource, load, load_stream};

use crate::tree::Tree;

/// A snapshot is being taken already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot is being taken already")]
pub struct SnapshotBusy;

impl Tree {
    /// Begins a snapshot of the tree as it is now. The cost is a copy of the session table and a
    /// handle per access control list.
    pub fn snapshot_begin(&mut self) -> Result<SnapshotHead, SnapshotBusy> {
        if self.cursor.is_some() {
            return Err(SnapshotBusy);
        }
        self.cursor = Some(Box::new(Cursor::new(self.root.clone())));
        Ok(SnapshotHead::of(self))
    }

    /// The next znodes of the snapshot under way: about `budget` of them, or fewer where
    /// directories are small. With 256 a step takes 40 µs on average where they are large and
    /// 120 µs where they have one to four children, cold caches included
    /// (`examples/tree_cost.rs`). `None` when all have been handed out, or no snapshot is under
    /// way.
    pub fn snapshot_next(&mut self, budget: usize) -> Option<Chunk> {
        let mut cursor = self.cursor.take()?;
        let mut chunk = Chunk::default();
        let done = cursor.fill(self, budget, &mut chunk);
        if done {
            // Dropping what was kept for nothing takes its time: elsewhere.
            chunk.keep_until_dropped(*cursor);
        } else {
            self.cursor = Some(cursor);
        }
        Some(chunk)
    }

    /// Gives up the snapshot under way. What is returned only wants to be dropped, on a thread that
    /// has the time.
    pub fn snapshot_abort(&mut self) -> Option<Chunk> {
        let cursor = self.cursor.take()?;
        let mut chunk = Chunk::default();
        chunk.keep_until_dropped(*cursor);
        Some(chunk)
    }

    /// True from [`Tree::snapshot_begin`] until the last chunk has been handed out.
    pub fn snapshot_under_way(&self) -> bool {
        self.cursor.is_some()
    }

    /// Znodes kept aside for the snapshot under way: each may hold an old version in memory.
    pub fn snapshot_kept(&self) -> usize {
        self.cursor.as_ref().map_or(0, |cursor| cursor.kept())
    }
}
