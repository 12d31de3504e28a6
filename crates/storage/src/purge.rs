//! Removing what no recovery needs (`server/PurgeTxnLog.java`).
//!
//! The newest snapshots that look whole are kept, and all logs from the last one that may hold
//! txns behind the oldest of them. Files go oldest first: a crash in between leaves a state in
//! which every snapshot still has its logs.
//!
//! All names go first: half a file under its own would be taken for a damaged one. Logs that
//! somebody reads stay (see [`DataDir::claim_logs`]).
//!
//! A large file is taken away bit by bit. Giving its blocks back at once keeps a disk busy for tens
//! of milliseconds, in which the log's fdatasync waits, and with it every client that writes.

use std::path::{Path, PathBuf};

use crate::data_dir::{DataDir, remove_all};
use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::limits::{PURGE_RETAIN_MIN, PURGE_STEP_BYTES};
use crate::log_reader::list_logs;
use crate::names::PURGED;
use crate::snapshots::{list_snapshots, whole_snapshots};

impl<D: Disk> DataDir<D> {
    /// Keeps the newest `retain` whole snapshots (at least 3, `autopurge.snapRetainCount`) with
    /// the logs they need, and removes the rest. Returns the names removed. Without a whole
    /// snapshot nothing is removed. `rest` is called between the steps in which large files go.
    pub fn purge(&self, retain: usize, rest: &mut dyn FnMut()) -> Result<Vec<String>, DiskError> {
        let (doomed, removed) = {
            let _turn = self.turn();
            self.rename_doomed(retain)?
        };
        for path in doomed {
            self.remove_gently(&path, rest)?;
        }
        if !removed.is_empty() {
            tracing::info!(files = ?removed, "purged");
        }
        Ok(removed)
    }

    /// Takes their names from the files that have to go, and returns their new paths and the old
    /// names.
    fn rename_doomed(&self, retain: usize) -> Result<(Vec<PathBuf>, Vec<String>), DiskError> {
        let disk = self.disk();
        let (mut doomed, mut removed) = (Vec::new(), Vec::new());
        let kept = whole_snapshots(disk, self.snapshot_dir(), retain.max(PURGE_RETAIN_MIN))?;
        let Some(oldest) = kept.last().map(|snapshot| snapshot.zxid) else {
            return Ok((doomed, removed));
        };
        for dir in [self.snapshot_dir(), self.log_dir()] {
            // What a purge left that was hit by a fault.
            remove_all(disk, dir, PURGED)?;
        }
        let mut doom = |dir: &Path, name: &str| {
            let (path, under) = (dir.join(name), dir.join(format!("{PURGED}{name}")));
            disk.rename(&path, &under).at("rename", &path)?;
            doomed.push(under);
            removed.push(name.to_owned());
            Ok(())
        };
        for snapshot in list_snapshots(disk, self.snapshot_dir())?.into_iter().rev() {
            let name = snapshot.path.file_name().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|_| snapshot.zxid < oldest) {
                doom(self.snapshot_dir(), name)?;
            }
        }
        let needed = self.claimed_from().map_or(oldest, |claimed| claimed.min(oldest));
        let mut logs = list_logs(disk, self.log_dir())?;
        logs.truncate(logs.partition_point(|(zxid, _)| *zxid <= needed).saturating_sub(1));
        if !logs.is_empty() {
            // Snapshots must be gone before the logs they need.
            disk.sync_dir(self.snapshot_dir()).at("sync", self.snapshot_dir())?;
        }
        for (_, name) in logs {
            doom(self.log_dir(), &name)?;
        }
        Ok((doomed, removed))
    }

    /// Removes a file, a large one in steps.
    fn remove_gently(&self, doomed: &Path, rest: &mut dyn FnMut()) -> Result<(), DiskError> {
        let disk = self.disk();
        let file = disk.open(doomed).at("open", doomed)?;
        let mut size = file.size().at("read", doomed)?;
        while size > PURGE_STEP_BYTES {
            size -= PURGE_STEP_BYTES;
            file.set_len(size).at("cut", doomed)?;
            rest();
        }
        disk.remove(doomed).at("remove", doomed)
    }
}
