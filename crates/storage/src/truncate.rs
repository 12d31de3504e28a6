//! Giving up history: its end (TRUNC), or all of it for a snapshot of the leader's (SNAP).
//!
//! Every state in between is one a recovery can start from, and what it finds is a beginning of the
//! old history or the new one, never a mixture. So logs go before snapshots, newest first: a
//! snapshot that knows too much and has lost its logs is still a beginning, an older one under
//! later logs would not be. And the new snapshot gets its name only when no log entry is left that
//! could be taken for its continuation.
//!
//! Java neither syncs what it cuts nor removes snapshots (one with uncommitted txns then brings
//! them back), and cuts behind the next *larger* entry if the zxid is not there.

use oxkeeper_proto::Zxid;

use crate::data_dir::DataDir;
use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::log_format::{MARK_OFFSET, mark_bytes};
use crate::log_reader::{LogReader, ReadError, list_logs};
use crate::snapshot_writer::PreparedSnapshot;
use crate::snapshots::{SnapshotFile, list_snapshots};

/// Why the log was not truncated.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// No snapshot of this history from before that zxid is left: one must be had from the leader.
    /// Nothing was changed.
    #[error("cannot go back to {zxid}: no snapshot of this history from before it is left")]
    Impossible {
        /// The zxid asked for.
        zxid: Zxid,
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
    /// The last txn left in the logs.
    pub last: Option<Zxid>,
    /// The log that has it, and its size.
    pub log: Option<(String, u64)>,
    /// Snapshots and logs removed.
    pub removed: Vec<String>,
}

/// Where a log is to end.
#[derive(Debug)]
struct End {
    file: String,
    size: u64,
    marked: bool,
    zxid: Zxid,
}

impl<D: Disk> DataDir<D> {
    /// Removes all txns behind `zxid`, durably; whether that one was there shows in the result. No
    /// log may be open for writing. What is in memory has to be built again from what is left.
    pub fn truncate(&self, zxid: Zxid) -> Result<Truncated, TruncateError> {
        let _turn = self.turn();
        let disk = self.disk();
        let end = self.find_end(zxid)?;
        let snapshots = list_snapshots(disk, self.snapshot_dir())?;
        let (later, kept): (Vec<_>, Vec<_>) =
            snapshots.into_iter().partition(|snapshot| snapshot.zxid > zxid);
        // What lies below a received snapshot is not its past: entries that this server alone had
        // logged may be there, and those that it lacked are not.
        let received = self.received()?;
        let mut begins_later = false;
        for snapshot in later.iter().filter(|later| received > zxid && later.zxid >= received) {
            begins_later |= snapshot.looks_whole(disk)?;
        }
        let mut usable = false;
        for snapshot in &kept {
            usable |= snapshot.looks_whole(disk)?;
        }
        if begins_later || !usable {
            return Err(TruncateError::Impossible { zxid });
        }
        let mut removed = self.cut_logs(end.as_ref())?;
        self.remove_snapshots(&later, &mut removed)?;
        let last = end.as_ref().map(|end| end.zxid);
        let log = end.map(|end| (end.file, end.size));
        tracing::warn!(to = %zxid, ?last, ?log, ?removed, "truncated the log");
        Ok(Truncated { last, log, removed })
    }

    /// Makes a snapshot that came from a leader the whole history. No log may be open for writing;
    /// one that goes on begins behind the snapshot's zxid.
    ///
    /// What the leader may rely on until then, everything up to that zxid, stays as long as a crash
    /// can bring the old history back.
    pub fn install(&self, snapshot: PreparedSnapshot<D>) -> Result<SnapshotFile, DiskError> {
        let _turn = self.turn();
        let zxid = snapshot.target().zxid;
        self.note_received(zxid)?;
        // A log that cannot be read is no loss any more.
        let end = match self.find_end(zxid) {
            Ok(end) => end,
            Err(ReadError::Disk(error)) => return Err(error),
            Err(ReadError::Rotten { .. }) => None,
        };
        let mut removed = self.cut_logs(end.as_ref())?;
        let installed = snapshot.publish()?;
        // Newer ones of the old history, or the same one under another extension.
        let mut others = list_snapshots(self.disk(), self.snapshot_dir())?;
        others.retain(|other| other.zxid >= zxid && other.path != installed.path);
        self.remove_snapshots(&others, &mut removed)?;
        tracing::warn!(%zxid, ?removed, "the history is the leader's from here on");
        Ok(installed)
    }

    /// Removes these, which come newest first. One at a time, or a crash could keep a newer one and
    /// lose an older.
    fn remove_snapshots(
        &self,
        snapshots: &[SnapshotFile],
        removed: &mut Vec<String>,
    ) -> Result<(), DiskError> {
        for SnapshotFile { path, .. } in snapshots {
            self.disk().remove(path).at("remove", path)?;
            self.disk().sync_dir(self.snapshot_dir()).at("sync", self.snapshot_dir())?;
            removed.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        Ok(())
    }

    /// Removes all logs behind this end, newest first, and what is behind it in its file. Without
    /// an end no log is left.
    fn cut_logs(&self, end: Option<&End>) -> Result<Vec<String>, DiskError> {
        let disk = self.disk();
        let logs = list_logs(disk, self.log_dir())?;
        let mut removed = Vec::new();
        for (_, name) in logs.into_iter().rev() {
            if end.is_some_and(|end| end.file == name) {
                break;
            }
            let path = self.log_dir().join(&name);
            disk.remove(&path).at("remove", &path)?;
            disk.sync_dir(self.log_dir()).at("sync", self.log_dir())?;
            removed.push(name);
        }
        let Some(end) = end else { return Ok(removed) };
        let path = self.log_dir().join(&end.file);
        let file = disk.open(&path).at("open", &path)?;
        file.sync_data().at("sync", &path)?;
        file.set_len(end.size).at("cut", &path)?;
        if end.marked {
            file.write_at(&mark_bytes(end.size), MARK_OFFSET).at("write", &path)?;
        }
        file.sync_all().at("sync", &path)?;
        Ok(removed)
    }

    /// The last entry that is not behind `zxid`; `None` if there is none.
    fn find_end(&self, zxid: Zxid) -> Result<Option<End>, ReadError> {
        let logs = list_logs(self.disk(), self.log_dir())?;
        let upto = logs.partition_point(|(first, _)| *first <= zxid);
        for (first, name) in logs[..upto].iter().rev() {
            let log_dir = self.log_dir().to_owned();
            let mut reader = LogReader::new(self.disk().clone(), log_dir, *first)?;
            let mut end = None;
            while let Some(found) = reader.next()?.map(|entry| entry.zxid) {
                let position = reader.position().filter(|(file, ..)| file == name);
                let Some((file, size, marked)) = position.filter(|_| found <= zxid) else { break };
                end = Some(End { file, size, marked, zxid: found });
                if found == zxid {
                    break;
                }
            }
            if end.is_some() {
                return Ok(end);
            }
        }
        Ok(None)
    }
}
