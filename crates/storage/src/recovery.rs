//! From files to the state a server starts with.
//!
//! ```text
//! let mut recovery = Recovery::new(&data_dir, options)?;
//! match recovery.start() {
//!     Start::Snapshots => loaded = recovery.load(|reader, zxid| Tree::read(reader, zxid))?,
//!     Start::LogsOnly | Start::Empty => begin with an empty tree at zxid 0,
//!     Start::EmptyUntrusted => take part in nothing before a leader has sent a snapshot,
//! }
//! let mut log = recovery.replay()?;
//! while let Some(entry) = log.next()? { tree.apply(entry) }
//! let report = recovery.finish(log)?;
//! ```
//!
//! Nothing on disk changes before [`Recovery::finish`], and that only tidies: a recovery that
//! fails or is interrupted can be repeated with the same outcome.
//!
//! Where this differs from Java (`FileTxnSnapLog.restore`): a directory whose snapshots are all
//! incomplete and that has no logs is refused instead of taken for an empty one, unless the
//! snapshots are of zxid 0; and when an older snapshot has to be used because a newer one cannot
//! be parsed, the logs must reach at least as far as the newer one did.

use std::path::PathBuf;

use oxkeeper_proto::Zxid;

use crate::data_dir::DataDir;
use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::limits::{JAVA_ENTRY_BYTES_MAX, SNAPSHOT_CANDIDATES_MAX};
use crate::log_reader::{LogReader, LogReport, ReadError, list_logs};
use crate::snapshot_reader::SnapshotReader;
use crate::snapshots::{SnapshotFile, list_snapshots, whole_snapshots};

/// What recovery is allowed to assume.
#[derive(Debug, Clone, Copy)]
pub struct RecoveryOptions {
    /// Logs without any snapshot are taken for the whole history
    /// (`zookeeper.snapshot.trust.empty`; for data of 3.4).
    pub trust_empty_snapshot: bool,
    /// An empty directory is taken for a new server (`zookeeper.db.autocreate`). Otherwise only
    /// if the file `initialize` is there.
    pub db_autocreate: bool,
    /// `jute.maxbuffer` plus its `extrasize`: see [`LogReader::with_java_entry_bytes_max`].
    pub java_entry_bytes_max: usize,
}

impl Default for RecoveryOptions {
    fn default() -> RecoveryOptions {
        RecoveryOptions {
            trust_empty_snapshot: false,
            db_autocreate: true,
            java_entry_bytes_max: JAVA_ENTRY_BYTES_MAX,
        }
    }
}

/// Why there is no state to start with. The files are damaged or incomplete.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Logs, but no snapshot they could follow.
    #[error("no snapshot found in {}, but there are logs; if they are the whole history (data of \
        3.4), set zookeeper.snapshot.trust.empty=true", .0.display())]
    NoSnapshot(PathBuf),
    /// There are snapshots, all of them incomplete, and nothing else.
    #[error("all snapshots in {} are incomplete, and there are no logs", .0.display())]
    NoWholeSnapshot(PathBuf),
    /// None of the snapshots could be read.
    #[error("none of the {tried} snapshots can be read; {}: {why}", newest.display())]
    NoReadableSnapshot {
        /// How many were tried.
        tried: usize,
        /// The newest of them.
        newest: PathBuf,
        /// What was wrong with it.
        why: String,
    },
    /// The logs end before a snapshot that could not be read.
    #[error("{} cannot be read, and the logs only reach {last}: txns are lost; restore the file, \
        or move it away to go on without them", snapshot.display())]
    Lost {
        /// The newest unreadable snapshot.
        snapshot: PathBuf,
        /// Where older snapshots and logs end.
        last: Zxid,
    },
    /// A snapshot that a leader had sent, or a later one, cannot be read, and the older ones are of
    /// another history.
    #[error("{} cannot be read, and what is older than the leader's snapshot before it is not its \
        past; remove this server's data, the others have it", snapshot.display())]
    Received {
        /// The newest unreadable snapshot.
        snapshot: PathBuf,
    },
    /// A log is damaged or unreadable.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk's answer was no.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What there is to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Snapshots: [`Recovery::load`] one, then replay.
    Snapshots,
    /// Logs only, trusted to be everything: an empty tree at zxid 0, then replay.
    LogsOnly,
    /// Nothing: an empty tree at zxid 0. `snapshot.0` has to be written before anything else, or
    /// Java could not take the directory over; then [`DataDir::remove_initialize`].
    Empty,
    /// Nothing, though something was expected: zxid −1 and no part in elections.
    EmptyUntrusted,
}

/// A snapshot that could be read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// Its zxid, by its name.
    pub zxid: Zxid,
    /// What was made of it.
    pub value: T,
    /// The file.
    pub file: SnapshotFile,
    /// Newer ones that could not be read, and why.
    pub unreadable: Vec<(SnapshotFile, String)>,
}

/// One recovery of a directory.
#[derive(Debug)]
pub struct Recovery<'a, D: Disk> {
    dir: &'a DataDir<D>,
    options: RecoveryOptions,
    start: Start,
    candidates: Vec<SnapshotFile>,
    loaded: Option<SnapshotFile>,
    newest_unreadable: Option<SnapshotFile>,
    received: Zxid,
}

impl<'a, D: Disk> Recovery<'a, D> {
    /// Looks at what is there.
    pub fn new(
        dir: &'a DataDir<D>,
        options: RecoveryOptions,
    ) -> Result<Recovery<'a, D>, RecoveryError> {
        let disk = dir.disk();
        let candidates = whole_snapshots(disk, dir.snapshot_dir(), SNAPSHOT_CANDIDATES_MAX)?;
        let start = match candidates.is_empty() {
            false => Start::Snapshots,
            true => start_without_snapshot(dir, options)?,
        };
        let received = dir.received()?;
        let (loaded, newest_unreadable) = (None, None);
        Ok(Recovery { dir, options, start, candidates, loaded, newest_unreadable, received })
    }

    /// What there is to begin with.
    pub fn start(&self) -> Start {
        self.start
    }

    /// The snapshots worth trying, newest first.
    pub fn candidates(&self) -> &[SnapshotFile] {
        &self.candidates
    }

    /// Has `parse` read the newest snapshot, and if that fails the one before, and so on. It is
    /// given the stream and the zxid of the file's name, must check every seal and begins anew
    /// each time.
    pub fn load<T, E: std::fmt::Display>(
        &mut self,
        mut parse: impl FnMut(&mut SnapshotReader, Zxid) -> Result<T, E>,
    ) -> Result<Loaded<T>, RecoveryError> {
        let mut unreadable = Vec::new();
        for file in &self.candidates {
            let mut reader = SnapshotReader::open(self.dir.disk(), file)?;
            let value = match parse(&mut reader, file.zxid) {
                Ok(value) => value,
                Err(error) => {
                    let path = file.path.display();
                    tracing::warn!(file = %path, %error, "snapshot cannot be read, trying older");
                    unreadable.push((file.clone(), error.to_string()));
                    continue;
                }
            };
            self.loaded = Some(file.clone());
            self.newest_unreadable = unreadable.first().map(|(file, _)| file.clone());
            let (zxid, file) = (file.zxid, file.clone());
            return Ok(Loaded { zxid, value, file, unreadable });
        }
        let tried = unreadable.len();
        Err(match unreadable.into_iter().next() {
            Some((file, why)) => {
                RecoveryError::NoReadableSnapshot { tried, newest: file.path, why }
            }
            None => RecoveryError::NoSnapshot(self.dir.snapshot_dir().to_owned()),
        })
    }

    /// The txns behind the loaded snapshot, or all of them if there was none.
    pub fn replay(&self) -> Result<LogReader<D>, DiskError> {
        let from = self.loaded.as_ref().map_or(Zxid::ZERO, |file| file.zxid).next();
        let reader = LogReader::new(self.dir.disk().clone(), self.dir.log_dir().to_owned(), from)?;
        Ok(reader.with_java_entry_bytes_max(self.options.java_entry_bytes_max))
    }

    /// Reads on to the end of the logs, if that was not done, checks that nothing known to have
    /// existed is missing, makes durable what was read, cuts torn remains and removes logs
    /// without entries. From here on the server may build on what it has read.
    pub fn finish(self, reader: LogReader<D>) -> Result<LogReport, RecoveryError> {
        let disk = self.dir.disk();
        let mut reader = reader;
        while reader.next()?.is_some() {}
        if let Some(unreadable) = self.newest_unreadable {
            let snapshot = self.loaded.as_ref().map_or(Zxid::ZERO, |file| file.zxid);
            let last = reader.report().last.unwrap_or(snapshot).max(snapshot);
            // What lies below a received snapshot is not its past.
            if snapshot < self.received && self.received <= unreadable.zxid {
                return Err(RecoveryError::Received { snapshot: unreadable.path });
            }
            if last < unreadable.zxid {
                return Err(RecoveryError::Lost { snapshot: unreadable.path, last });
            }
        }
        if let Some(SnapshotFile { path, .. }) = &self.loaded {
            // Java does not sync the snapshots it writes.
            disk.open_read(path).at("open", path)?.sync_all().at("sync", path)?;
            disk.sync_dir(self.dir.snapshot_dir()).at("sync", self.dir.snapshot_dir())?;
        }
        let report = reader.finish()?;
        if self.start != Start::Empty {
            self.dir.remove_initialize()?;
        }
        Ok(report)
    }
}

fn start_without_snapshot<D: Disk>(
    dir: &DataDir<D>,
    options: RecoveryOptions,
) -> Result<Start, RecoveryError> {
    let disk = dir.disk();
    // An incomplete snapshot of nothing is still nothing.
    let incomplete = list_snapshots(disk, dir.snapshot_dir())?;
    let had_data = incomplete.iter().any(|snapshot| snapshot.zxid > Zxid::ZERO);
    if !list_logs(disk, dir.log_dir())?.is_empty() {
        if had_data || !options.trust_empty_snapshot {
            return Err(RecoveryError::NoSnapshot(dir.snapshot_dir().to_owned()));
        }
        tracing::warn!("no snapshot found: taking the logs for the whole history");
        return Ok(Start::LogsOnly);
    }
    if had_data {
        return Err(RecoveryError::NoWholeSnapshot(dir.snapshot_dir().to_owned()));
    }
    let initialize = dir.initialize_file();
    let asked_for = match disk.open_read(&initialize) {
        Ok(_) => true,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(e) => return Err(Err::<(), _>(e).at("open", &initialize).unwrap_err().into()),
    };
    Ok(if asked_for || options.db_autocreate { Start::Empty } else { Start::EmptyUntrusted })
}
