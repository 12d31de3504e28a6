//! Removing what no recovery needs (`server/PurgeTxnLog.java`).
//!
//! The newest snapshots that look whole are kept, and all logs from the last one that may hold
//! txns behind the oldest of them. Files go oldest first: a crash in between leaves a state in
//! which every snapshot still has its logs.

use crate::data_dir::DataDir;
use crate::disk::{Context, Disk, DiskError};
use crate::limits::PURGE_RETAIN_MIN;
use crate::log_reader::list_logs;
use crate::snapshots::{list_snapshots, whole_snapshots};

impl<D: Disk> DataDir<D> {
    /// Keeps the newest `retain` whole snapshots (at least 3, `autopurge.snapRetainCount`) with
    /// the logs they need, and removes the rest. Returns the names removed. Without a whole
    /// snapshot nothing is removed.
    pub fn purge(&self, retain: usize) -> Result<Vec<String>, DiskError> {
        let disk = self.disk();
        let kept = whole_snapshots(disk, self.snapshot_dir(), retain.max(PURGE_RETAIN_MIN))?;
        let Some(oldest) = kept.last().map(|snapshot| snapshot.zxid) else {
            return Ok(Vec::new());
        };
        let mut removed = Vec::new();
        for snapshot in list_snapshots(disk, self.snapshot_dir())?.into_iter().rev() {
            let name = snapshot.path.file_name().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|_| snapshot.zxid < oldest) {
                disk.remove(&snapshot.path).at("remove", &snapshot.path)?;
                removed.push(name.to_owned());
            }
        }
        let mut logs = list_logs(disk, self.log_dir())?;
        logs.truncate(logs.partition_point(|(zxid, _)| *zxid <= oldest).saturating_sub(1));
        if !logs.is_empty() {
            // Snapshots must be gone before the logs they need.
            disk.sync_dir(self.snapshot_dir()).at("sync", self.snapshot_dir())?;
        }
        for (_, name) in logs {
            let path = self.log_dir().join(&name);
            disk.remove(&path).at("remove", &path)?;
            removed.push(name);
        }
        if !removed.is_empty() {
            tracing::info!(files = ?removed, "purged");
        }
        Ok(removed)
    }
}
