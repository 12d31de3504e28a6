//! When the past changes under a running server: what a member of an ensemble must not forget, and
//! who may touch the files meanwhile.
//!
//! A standalone server only ever adds to its history. A follower may be told to give up the end of
//! its own (TRUNC) or all of it (SNAP), while another thread writes a snapshot of what it had, a
//! third one purges, and others read old logs for learners. Three things keep them apart:
//!
//! * *Turns*. Truncating, installing, publishing and the renaming part of a purge exclude each
//!   other.
//! * *Lineages*. A number that changes with the past. A snapshot is published only if the tree that
//!   it was taken of belongs to the present one; what was begun before is dropped.
//! * *Claims*. Logs that somebody is reading are not purged.
//!
//! # The floor
//! A received snapshot does not say what its sender's log was. Entries that this server had logged
//! before may never have been part of that history (they were an old leader's last proposals), and
//! yet they lie in files below it. So the snapshot's zxid is noted in `oxkeeper.received` before it
//! gets its name: what lies below is never again taken for history, neither to replay it under the
//! snapshot's successors nor to serve learners from it.
//!
//! # The marker
//! `oxkeeper.held` says that this server has promised something to its ensemble. Should its files
//! be gone at the next start, it has no voice until it was synchronised: an empty server that votes
//! could elect another one, and what only those two had acknowledged would be lost.
//!
//! `oxkeeper.emptied` says that this has happened: it is written before anything that the others
//! send, and outlives restarts, until the agreement says that what was forgotten does not matter.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oxkeeper_proto::Zxid;

use crate::data_dir::DataDir;
use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::epochs::replace;
use crate::limits::SMALL_FILE_BYTES_MAX;
use crate::log_format::{HEADER_BYTES, Header, parse_header};
use crate::log_reader::list_logs;
use crate::snapshot_writer::PreparedSnapshot;
use crate::snapshots::SnapshotFile;

/// The file that says so: see [`DataDir::has_held`].
pub const HELD_FILE: &str = "oxkeeper.held";
/// The file that says that this server's data was lost: see [`DataDir::was_emptied`].
pub const EMPTIED_FILE: &str = "oxkeeper.emptied";
const RECEIVED_FILE: &str = "oxkeeper.received";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Past {
    turn: Mutex<()>,
    lineage: AtomicU64,
    floor: AtomicI64,
    claims: Mutex<BTreeMap<u64, Zxid>>,
}

impl<D: Disk> DataDir<D> {
    /// The number of the present history; 0 at the start.
    pub fn lineage(&self) -> u64 {
        self.past.lineage.load(Ordering::Acquire)
    }

    /// Begins another history: snapshots of the one before are not published any more.
    pub fn next_lineage(&self) -> u64 {
        let _turn = self.turn();
        self.past.lineage.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Gives a snapshot its name if it is of the present history; `None` if that one is over.
    pub fn publish(
        &self,
        snapshot: PreparedSnapshot<D>,
        lineage: u64,
    ) -> Result<Option<SnapshotFile>, DiskError> {
        let _turn = self.turn();
        if lineage != self.lineage() {
            return Ok(None);
        }
        snapshot.publish().map(Some)
    }

    /// Keeps the logs from this transaction on from being purged, until the key is released or
    /// claims something else.
    pub fn claim_logs(&self, key: u64, from: Zxid) {
        lock(&self.past.claims).insert(key, from);
    }

    /// Ends a claim.
    pub fn release_logs(&self, key: u64) {
        lock(&self.past.claims).remove(&key);
    }

    pub(crate) fn claimed_from(&self) -> Option<Zxid> {
        lock(&self.past.claims).values().min().copied()
    }

    /// Log entries behind this transaction are this server's history, those before may not be. The
    /// transaction itself is, if it is there.
    pub fn floor(&self) -> Zxid {
        Zxid(self.past.floor.load(Ordering::Acquire))
    }

    /// Finds the floor anew, after a recovery that began with the snapshot `loaded`.
    ///
    /// Java keeps no note of what it received. Where it was at work, only what was just replayed is
    /// certain.
    pub fn find_floor(&self, loaded: Zxid) -> Result<(), DiskError> {
        let mut floor = self.received()?;
        for (first, name) in list_logs(self.disk(), self.log_dir())? {
            let path = self.log_dir().join(name);
            let file = self.disk().open_read(&path).at("open", &path)?;
            let mut header = [0; HEADER_BYTES];
            let n = file.read_at(&mut header, 0).at("read", &path)?;
            if first <= loaded && parse_header(&header[..n]) == Header::Java {
                floor = floor.max(loaded);
            }
        }
        self.past.floor.store(floor.0, Ordering::Release);
        Ok(())
    }

    /// The zxid of the last snapshot received, 0 for none.
    pub(crate) fn received(&self) -> Result<Zxid, DiskError> {
        let path = self.data_dir().join(RECEIVED_FILE);
        let Some(text) = self.small_file(&path)? else { return Ok(Zxid::ZERO) };
        i64::from_str_radix(text.trim(), 16)
            .map(Zxid)
            .map_err(|_| std::io::Error::other("it does not hold a zxid"))
            .at("read", &path)
    }

    /// Notes durably that a snapshot of this zxid comes from elsewhere.
    pub(crate) fn note_received(&self, zxid: Zxid) -> Result<(), DiskError> {
        replace(self.disk(), self.data_dir(), RECEIVED_FILE, &format!("{:x}", zxid.0))?;
        self.past.floor.store(zxid.0, Ordering::Release);
        Ok(())
    }

    /// Whether this server has ever held something for its ensemble.
    pub fn has_held(&self) -> Result<bool, DiskError> {
        Ok(self.small_file(&self.data_dir().join(HELD_FILE))?.is_some())
    }

    /// Notes that durably. To be done before anything is acknowledged.
    pub fn note_held(&self) -> Result<(), DiskError> {
        let text = "This server has held data of its ensemble. If the data is gone, it asks the \
            others for it before it votes.\n";
        replace(self.disk(), self.data_dir(), HELD_FILE, text)
    }

    /// Whether the data was lost, and what was forgotten with it may matter still.
    pub fn was_emptied(&self) -> Result<bool, DiskError> {
        Ok(self.small_file(&self.data_dir().join(EMPTIED_FILE))?.is_some())
    }

    /// Notes that durably. To be done before anything of the ensemble's is written.
    pub fn note_emptied(&self) -> Result<(), DiskError> {
        let text = "This server had lost its data when it started. It votes and counts again once \
            most of the others have followed its leader since then.\n";
        replace(self.disk(), self.data_dir(), EMPTIED_FILE, text)
    }

    /// What was forgotten does not matter any more, durably.
    pub fn forget_emptied(&self) -> Result<(), DiskError> {
        let path = self.data_dir().join(EMPTIED_FILE);
        match self.disk().remove(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            removed => removed.at("remove", &path)?,
        }
        self.disk().sync_dir(self.data_dir()).at("sync", self.data_dir())
    }

    /// The files are one's alone for as long as this lives.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.past.turn)
    }

    fn small_file(&self, path: &Path) -> Result<Option<String>, DiskError> {
        let file = match self.disk().open_read(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.at("open", path)?,
        };
        let mut bytes = [0; SMALL_FILE_BYTES_MAX];
        let n = file.read_at(&mut bytes, 0).at("read", path)?;
        Ok(Some(String::from_utf8_lossy(&bytes[..n]).into_owned()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked has left no half-done state in memory: files are what counts.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
