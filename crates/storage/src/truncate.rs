//! Going back to an earlier zxid, as a leader may tell a follower to (TRUNC).
//!
//! Every intermediate state is one a recovery can start from: snapshots that know too much go
//! first, newest first; then later logs, newest first; the cut comes last. Java neither syncs
//! nor removes snapshots (a snapshot with uncommitted txns then brings them back), and cuts
//! behind the next *larger* entry if the zxid is not there; here that is an error and nothing is
//! touched.

use oxkeeper_proto::Zxid;

use crate::data_dir::DataDir;
use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::log_format::{MARK_OFFSET, mark_bytes};
use crate::log_reader::{LogReader, ReadError, list_logs};
use crate::snapshots::list_snapshots;

/// Why the log was not truncated.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// The log has no such txn, or no snapshot from before it is left: a snapshot must be had
    /// from the leader. Nothing was changed.
    #[error("cannot go back to {zxid}: {why}")]
    Impossible {
        /// The zxid asked for.
        zxid: Zxid,
        /// What is missing.
        why: &'static str,
    },
    /// The log is damaged before that zxid. Nothing was changed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk failed on the way. What is there can be recovered from, and truncated again.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What a truncation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncated {
    /// The log that now is the last.
    pub log: String,
    /// Its new size.
    pub size: u64,
    /// Snapshots and logs removed.
    pub removed: Vec<String>,
}

impl<D: Disk> DataDir<D> {
    /// Makes `zxid` the last txn of the log, durably. No log may be open for writing. What is in
    /// memory has to be built again from what is left.
    pub fn truncate(&self, zxid: Zxid) -> Result<Truncated, TruncateError> {
        let disk = self.disk();
        let (name, size, marked) = self.find_end(zxid)?;
        let snapshots = list_snapshots(disk, self.snapshot_dir())?;
        let (later, kept): (Vec<_>, Vec<_>) =
            snapshots.into_iter().partition(|snapshot| snapshot.zxid > zxid);
        let mut usable = false;
        for snapshot in &kept {
            usable |= snapshot.looks_whole(disk)?;
        }
        if !usable {
            let why = "no snapshot from before it is left";
            return Err(TruncateError::Impossible { zxid, why });
        }
        let logs = list_logs(disk, self.log_dir())?;
        let later_logs = logs.into_iter().rev().take_while(|(_, log)| *log != name);
        let paths = later.into_iter().map(|snapshot| (snapshot.path, self.snapshot_dir()));
        let log_paths = later_logs.map(|(_, log)| (self.log_dir().join(log), self.log_dir()));
        let mut removed = Vec::new();
        for (path, dir) in paths.chain(log_paths) {
            disk.remove(&path).at("remove", &path)?;
            // One at a time, or a crash could keep a newer one and lose an older.
            disk.sync_dir(dir).at("sync", dir)?;
            removed.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        let path = self.log_dir().join(&name);
        let file = disk.open(&path).at("open", &path)?;
        file.sync_data().at("sync", &path)?;
        file.set_len(size).at("cut", &path)?;
        if marked {
            file.write_at(&mark_bytes(size), MARK_OFFSET).at("write", &path)?;
        }
        file.sync_all().at("sync", &path)?;
        tracing::warn!(%zxid, file = name, size, ?removed, "truncated the log");
        Ok(Truncated { log: name, size, removed })
    }

    /// The file that holds the txn, the offset behind it, and whether the file has a mark.
    fn find_end(&self, zxid: Zxid) -> Result<(String, u64, bool), TruncateError> {
        let mut reader = LogReader::new(self.disk().clone(), self.log_dir().to_owned(), zxid)?;
        let found = reader.next()?.map(|entry| entry.zxid);
        match reader.position().filter(|_| found == Some(zxid)) {
            Some(position) => Ok(position),
            None => Err(TruncateError::Impossible { zxid, why: "the log has no such txn" }),
        }
    }
}
