//! What the disk does for a member of an ensemble, besides appending to a log.
//!
//! Booting: a member starts with its promises, the end of its log and an answer to whether it may
//! vote. Running: the log thread saves the promises and exchanges the history, in the order in
//! which ZAB wants it, between the appends. What was exchanged is read again from the files, so
//! that memory is what a restart would find.
//!
//! # What is not done here
//! A standalone server removes ephemerals whose session is gone. A member does not: no transaction
//! says so, and its tree would not be the others'.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use oxkeeper_node::Shared;
use oxkeeper_proto::Zxid;
use oxkeeper_storage::snapshots::list_snapshots;
use oxkeeper_storage::{
    DataDir, Disk, DiskError, Epochs as EpochFiles, LogEntry, LogError, Start, TruncateError,
    TxnLog, TxnLogOptions, write_ensemble_id,
};
use oxkeeper_tree::{Tree, path};
use oxkeeper_zab::wrong::{self, Wrong};
use oxkeeper_zab::{Entry, Epochs, Recovered};

use crate::boot::{BootError, BootOptions, Booted, recover, write_first};
use crate::snapshot_in::{self, Received};
use crate::snapshot_link::SnapshotSource;

/// What a member's start needs to know.
#[derive(Debug, Clone, Copy)]
pub struct MemberOptions {
    /// Whether an empty directory is taken for a new server without being told
    /// (`zookeeper.db.autocreate`).
    pub db_autocreate: bool,
    /// How many of the last transactions to bring (`commitLogCount`).
    pub tail_count_max: usize,
    /// The same in bytes.
    pub tail_bytes_max: usize,
}

/// The history was exchanged, durably; this is what memory has to be from now on.
#[derive(Debug)]
pub struct Rebuilt {
    /// What ZAB waits for.
    pub disk: oxkeeper_zab::Disk,
    /// The tree as of the last transaction in the files.
    pub tree: Box<Tree>,
}

/// Boots a member: as [`crate::boot::boot`], and what ZAB has to know of the files. It does not
/// serve yet. A snapshot that it wants should wait until it does: what was replayed may have to be
/// given up again.
///
/// # Errors
/// As [`crate::boot::boot`]; and if the epochs or the markers cannot be read.
pub fn boot_member<D: Disk>(
    disk: D,
    options: &BootOptions,
    member: MemberOptions,
) -> Result<(Booted<D>, Recovered), BootError> {
    let began = Instant::now();
    let dir = DataDir::open(disk, &options.data_dir, &options.data_log_dir, options.open)
        .map_err(BootError::Open)?;
    let dir = Arc::new(dir);
    let held = dir.has_held().map_err(BootError::Member)?;
    let mut options = options.clone();
    options.recovery.db_autocreate = member.db_autocreate && (!held || wrong::is(Wrong::Z2325));
    let mut tail = Tail::new(member);
    let (mut tree, report) = recover(&dir, &options, &mut |entry| tail.push(entry))?;
    let emptied = dir.was_emptied().map_err(BootError::Member)?;
    if matches!(report.start, Start::Empty | Start::LogsOnly) {
        // Before the file `initialize` is gone.
        dir.forget_emptied().map_err(BootError::Member)?;
        write_first(&dir, &options, &mut tree)?;
    }
    let trusted = match report.start {
        Start::EmptyUntrusted => false,
        // An operator has said that this is meant.
        Start::Empty | Start::LogsOnly => true,
        Start::Snapshots => !emptied,
    };
    let last = tree.last_zxid();
    let remember = || {
        if !trusted && !emptied {
            dir.note_emptied()?;
        }
        if last > Zxid::ZERO && !held {
            dir.note_held()?;
        }
        dir.find_floor(report.snapshot.as_ref().map_or(Zxid::ZERO, |file| file.zxid))?;
        EpochFiles::read(dir.disk(), dir.snapshot_dir())
    };
    let found = remember().map_err(BootError::Member)?;
    let epochs = epochs(&found, last)?;
    if trusted {
        write_epochs(&dir, &found, epochs).map_err(BootError::Member)?;
    } else if report.start == Start::EmptyUntrusted {
        tracing::warn!(
            held_before = held,
            "the database is empty and may have held more: this server has no voice until the \
             ensemble has sent it its data, and a quorum follows without it; for a new ensemble, \
             create the file `initialize` in dataLogDir or dataDir"
        );
    } else {
        tracing::warn!("this server had lost its data: it counts once a quorum follows without it");
    }
    report.tell(&tree, began.elapsed());
    let wants_snapshot = report.replayed > 0 && report.start == Start::Snapshots;
    let config = tree.node(path::CONFIG).and_then(|node| node.data()).unwrap_or_default();
    let config = String::from_utf8_lossy(config).into_owned();
    let tail = tail.entries.into();
    let recovered = Recovered { last_logged: last, epochs, tail, trusted, config };
    let shared = Shared { tree, serving: false, read_only: false };
    Ok((Booted { dir, shared, wants_snapshot, report }, recovered))
}

/// What the files say (`QuorumPeer.loadDataBase`). One that is missing is made up from the log: so
/// it is when a standalone server joins others.
///
/// A current epoch behind the log's is no damage: the log comes first, and who has not written the
/// epoch has not said that its history is complete. Where Java left the new value unfinished beside
/// the old, it takes that one, and so do we.
fn epochs(found: &EpochFiles, last: Zxid) -> Result<Epochs, BootError> {
    let in_log = i64::from(last.epoch());
    let unfinished = found.current_unfinished.filter(|epoch| *epoch >= in_log);
    let current = match found.current {
        Some(current) if current < in_log => unfinished.unwrap_or(current),
        Some(current) => current,
        None => in_log,
    };
    let accepted = found.accepted.unwrap_or(in_log.max(current));
    let checked = |file, epoch: i64| match i32::try_from(epoch) {
        // Java's word for none.
        Ok(epoch) => Ok(epoch.max(0) as u32),
        Err(_) => Err(BootError::Epoch { file, epoch }),
    };
    Ok(Epochs {
        accepted: checked("acceptedEpoch", accepted)?,
        current: checked("currentEpoch", current)?,
    })
}

/// Writes what has changed, the promise first: a crash in between leaves a promise that nobody was
/// given, which harms nobody.
fn write_epochs<D: Disk>(
    dir: &DataDir<D>,
    found: &EpochFiles,
    epochs: Epochs,
) -> Result<(), DiskError> {
    let (accepted, current) = (i64::from(epochs.accepted), i64::from(epochs.current));
    if found.accepted != Some(accepted) {
        EpochFiles::write_accepted(dir.disk(), dir.snapshot_dir(), accepted)?;
    }
    if found.current != Some(current) {
        EpochFiles::write_current(dir.disk(), dir.snapshot_dir(), current)?;
    }
    Ok(())
}

/// The last transactions replayed, without gaps.
struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    options: MemberOptions,
}

impl Tail {
    fn new(options: MemberOptions) -> Tail {
        Tail { entries: VecDeque::new(), bytes: 0, options }
    }

    fn push(&mut self, entry: LogEntry<'_>) {
        let follows = self.entries.back().is_none_or(|last| follows(last.zxid, entry.zxid));
        if !follows {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += entry.payload.len();
        let payload = Bytes::copy_from_slice(entry.payload);
        self.entries.push_back(Entry { zxid: entry.zxid, payload });
        while self.entries.len() > self.options.tail_count_max
            || self.bytes > self.options.tail_bytes_max
        {
            let Some(first) = self.entries.pop_front() else { break };
            self.bytes -= first.payload.len();
        }
    }
}

/// Whether a transaction can stand behind another in a log without a gap.
pub(crate) fn follows(last: Zxid, next: Zxid) -> bool {
    next == last.next() || (next.epoch() > last.epoch() && next.counter() == 1)
}

/// The files of a member, in the hands of its log thread.
#[derive(Debug)]
pub(crate) struct Member<D: Disk> {
    pub dir: Arc<DataDir<D>>,
    pub options: BootOptions,
    pub log: TxnLogOptions,
    /// See [`Member::make_ready`].
    pub ready: bool,
    /// While a snapshot comes in.
    pub receiving: Arc<AtomicBool>,
    /// Whether a snapshot is taken in on a thread that lets others go first. A simulation has no
    /// threads.
    pub steps_aside: bool,
}

impl<D: Disk> Member<D> {
    /// A log that goes on behind this transaction.
    pub fn log_behind(&self, last: Zxid) -> TxnLog<D> {
        let dir = self.dir.log_dir().to_owned();
        TxnLog::new(self.dir.disk().clone(), dir, self.log.clone(), last)
    }

    /// Makes sure of what has to be there before anything is promised: the marker, and a snapshot
    /// that the log can follow. Once per life.
    pub fn make_ready(&mut self) -> Result<(), LogError> {
        if self.ready {
            return Ok(());
        }
        let snapshots = list_snapshots(self.dir.disk(), self.dir.snapshot_dir());
        if snapshots.map_err(broken)?.is_empty() {
            write_first(&self.dir, &self.options, &mut Tree::new(self.options.tree))
                .map_err(broken)?;
        }
        self.note_held()?;
        self.ready = true;
        Ok(())
    }

    fn note_held(&self) -> Result<(), LogError> {
        match self.dir.has_held().map_err(broken)? {
            true => Ok(()),
            false => self.dir.note_held().map_err(broken),
        }
    }

    pub fn save_epochs(&self, epochs: Epochs) -> Result<(), LogError> {
        let found = EpochFiles::read(self.dir.disk(), self.dir.snapshot_dir()).map_err(broken)?;
        write_epochs(&self.dir, &found, epochs).map_err(broken)
    }

    pub fn save_ensemble_id(&self, id: u128) -> Result<(), LogError> {
        write_ensemble_id(self.dir.disk(), self.dir.snapshot_dir(), id).map_err(broken)
    }

    pub fn save_trust(&self) -> Result<(), LogError> {
        self.dir.forget_emptied().map_err(broken)
    }

    /// Gives up what is behind this transaction. Where that one is not in the log, what is left
    /// ends before it; where no snapshot from before it is left, nothing is changed.
    pub fn truncate(&self, to: Zxid) -> Result<Tree, LogError> {
        let lineage = self.dir.next_lineage();
        if wrong::is(Wrong::Z3701) {
            return self.recover(lineage);
        }
        match self.dir.truncate(to) {
            Ok(_) => {}
            Err(error @ TruncateError::Impossible { .. }) => {
                tracing::warn!(%error, "this server needs its leader's snapshot");
            }
            Err(TruncateError::Read(error)) => return Err(broken(error)),
            Err(TruncateError::Disk(error)) => return Err(broken(error)),
        }
        self.recover(lineage)
    }

    /// Reads memory anew.
    pub fn reload(&self) -> Result<Tree, LogError> {
        self.recover(self.dir.next_lineage())
    }

    /// Takes over a leader's history. `None` if it did not arrive whole: then nothing has changed.
    pub fn receive(
        &mut self,
        zxid: Zxid,
        source: Box<dyn SnapshotSource>,
    ) -> Result<Option<Tree>, LogError> {
        self.receiving.store(true, Ordering::Release);
        let (dir, options) = (&self.dir, &self.options);
        let received = snapshot_in::receive(dir, options, zxid, source, self.steps_aside);
        self.receiving.store(false, Ordering::Release);
        let Some(Received { mut tree, file }) = received.map_err(broken)? else {
            return Ok(None);
        };
        self.note_held()?;
        let lineage = self.dir.next_lineage();
        if !wrong::is(Wrong::Z3642) {
            self.dir.install(file).map_err(broken)?;
        }
        tree.set_lineage(lineage);
        Ok(Some(tree))
    }

    fn recover(&self, lineage: u64) -> Result<Tree, LogError> {
        let began = Instant::now();
        let (mut tree, report) = recover(&self.dir, &self.options, &mut |_| ()).map_err(broken)?;
        let loaded = report.snapshot.as_ref().map_or(Zxid::ZERO, |file| file.zxid);
        self.dir.find_floor(loaded).map_err(broken)?;
        report.tell(&tree, began.elapsed());
        tree.set_lineage(lineage);
        Ok(tree)
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> LogError {
    LogError::Member(Box::new(error))
}
