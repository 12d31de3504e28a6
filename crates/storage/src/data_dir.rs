//! A server's directories: created, locked, checked for mix-ups.
//!
//! Two servers on one directory would each find the other's log files "damaged", and a swapped
//! `dataDir` and `dataLogDir` look like an empty server. Both are noticed here, before anything
//! is read, and nothing of the user's is touched: only what an interrupted snapshot of ours left
//! behind is removed.
//!
//! The lock is the kernel's (`flock`), so that it ends with the process in whatever way it ends.
//! It holds off servers of ours; Java takes none.

use std::path::{Path, PathBuf};

use crate::disk::{Context, Disk, DiskError, LockError};
use crate::epochs;
use crate::log_reader::list_logs;
use crate::names::{PURGED, UNFINISHED};
use crate::past::Past;
use crate::snapshots::list_snapshots;

/// Directory of a format that has not changed since 2008 (`FileTxnSnapLog`).
const VERSION_DIR: &str = "version-2";
const LOCK_FILE: &str = "oxkeeper.lock";
/// Left in a directory that was empty when we first used it.
const CREATED_FILE: &str = "oxkeeper.created";

/// How a data directory is opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// Whether missing directories are created (`zookeeper.datadir.autocreate`).
    pub autocreate: bool,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions { autocreate: true }
    }
}

/// Why a data directory cannot be used. The configuration's fault, or the disk's.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It does not exist and must not be created.
    #[error("the directory {} does not exist, and zookeeper.datadir.autocreate forbids creating \
        it", .0.display())]
    Missing(PathBuf),
    /// Snapshots lie where logs should.
    #[error("the log directory {} has snapshots: are dataDir and dataLogDir what they were?",
        .0.display())]
    SnapshotsInLogDir(PathBuf),
    /// Logs lie where snapshots should.
    #[error("the snapshot directory {} has logs: are dataDir and dataLogDir what they were?",
        .0.display())]
    LogsInSnapshotDir(PathBuf),
    /// Another server runs on it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The disk's answer was no.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The directories of one server, locked for as long as this lives.
pub struct DataDir<D: Disk> {
    disk: D,
    data_dir: PathBuf,
    snapshot_dir: PathBuf,
    log_dir: PathBuf,
    /// Where `initialize` is looked for.
    log_parent: PathBuf,
    created_by_us: bool,
    pub(crate) past: Past,
    _locks: Vec<D::Lock>,
}

impl<D: Disk> std::fmt::Debug for DataDir<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataDir({}, {})", self.snapshot_dir.display(), self.log_dir.display())
    }
}

impl<D: Disk> DataDir<D> {
    /// Opens `dataDir` and `dataLogDir` (the same path if there is none), locks them against
    /// other servers of ours and removes what an interrupted snapshot left behind.
    pub fn open(
        disk: D,
        data_dir: &Path,
        data_log_dir: &Path,
        options: OpenOptions,
    ) -> Result<DataDir<D>, OpenError> {
        for dir in [data_dir, data_log_dir] {
            prepare(&disk, dir, options)?;
        }
        let data_dir = disk.canonical(data_dir).at("open", data_dir)?;
        let log_parent = disk.canonical(data_log_dir).at("open", data_log_dir)?;
        let mut locks = vec![disk.lock(&data_dir.join(LOCK_FILE))?];
        if log_parent != data_dir {
            locks.push(disk.lock(&log_parent.join(LOCK_FILE))?);
        }
        let (snapshot_dir, log_dir) = (data_dir.join(VERSION_DIR), log_parent.join(VERSION_DIR));
        if snapshot_dir != log_dir {
            refuse_mixups(&disk, &snapshot_dir, &log_dir)?;
        }
        remove_all(&disk, &snapshot_dir, UNFINISHED)?;
        remove_all(&disk, &snapshot_dir, PURGED)?;
        remove_all(&disk, &log_dir, PURGED)?;
        let created_by_us = note_creation(&disk, &data_dir, &snapshot_dir, &log_dir)?;
        let past = Past::default();
        Ok(DataDir {
            disk,
            data_dir,
            snapshot_dir,
            log_dir,
            log_parent,
            created_by_us,
            past,
            _locks: locks,
        })
    }

    /// The disk it is on.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// `dataDir` itself.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// `<dataDir>/version-2`: snapshots and epochs.
    pub fn snapshot_dir(&self) -> &Path {
        &self.snapshot_dir
    }

    /// `<dataLogDir>/version-2`: logs.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Whether the directory was empty when a server of ours first used it. Only there may we
    /// purge without having been told to.
    pub fn created_by_us(&self) -> bool {
        self.created_by_us
    }

    /// Removes the file `initialize`, which says once that an empty directory is meant to be so.
    /// [`crate::Recovery`] does it where something was found.
    pub fn remove_initialize(&self) -> Result<(), DiskError> {
        let path = self.initialize_file();
        match self.disk.remove(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.at("remove", &path),
        }
    }

    /// The file whose presence makes an empty directory count as intended (`initialize`).
    pub(crate) fn initialize_file(&self) -> PathBuf {
        self.log_parent.join("initialize")
    }
}

fn prepare<D: Disk>(disk: &D, dir: &Path, options: OpenOptions) -> Result<(), OpenError> {
    let version_dir = dir.join(VERSION_DIR);
    match disk.list(&version_dir) {
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Err::<(), _>(e).at("open", &version_dir).unwrap_err().into()),
    }
    if !options.autocreate {
        return Err(OpenError::Missing(version_dir));
    }
    disk.create_dir(&version_dir).at("create", &version_dir)?;
    disk.sync_dir(dir).at("sync", dir)?;
    // The directory's own name; of those further up only the creator knows which are new, and
    // a path is commonly at most one level new.
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        disk.sync_dir(parent).at("sync", parent)?;
    }
    Ok(())
}

/// Java's check (`FileTxnSnapLog.checkLogDir`, `checkSnapDir`): names decide.
fn refuse_mixups<D: Disk>(disk: &D, snapshots: &Path, logs: &Path) -> Result<(), OpenError> {
    let in_log_dir = disk.list(logs).at("list", logs)?;
    if in_log_dir.iter().any(|name| name.starts_with("snapshot.")) {
        return Err(OpenError::SnapshotsInLogDir(logs.to_owned()));
    }
    let in_snapshot_dir = disk.list(snapshots).at("list", snapshots)?;
    if in_snapshot_dir.iter().any(|name| name.starts_with("log.")) {
        return Err(OpenError::LogsInSnapshotDir(snapshots.to_owned()));
    }
    Ok(())
}

/// Removes the remains whose names begin like this.
pub(crate) fn remove_all<D: Disk>(disk: &D, dir: &Path, prefix: &str) -> Result<(), DiskError> {
    for name in disk.list(dir).at("list", dir)? {
        if name.starts_with(prefix) {
            let path = dir.join(&name);
            disk.remove(&path).at("remove", &path)?;
            tracing::info!(
                file = name,
                "removed the remains of a snapshot or purge that was cut short"
            );
        }
    }
    Ok(())
}

fn note_creation<D: Disk>(
    disk: &D,
    data_dir: &Path,
    snapshots: &Path,
    logs: &Path,
) -> Result<bool, DiskError> {
    let names = disk.list(data_dir).at("list", data_dir)?;
    if names.iter().any(|name| name == CREATED_FILE) {
        return Ok(true);
    }
    let used = !list_snapshots(disk, snapshots)?.is_empty()
        || !list_logs(disk, logs)?.is_empty()
        || epochs::Epochs::read(disk, snapshots)? != epochs::Epochs::default();
    if !used {
        let path = data_dir.join(CREATED_FILE);
        disk.create(&path).at("create", &path)?;
        disk.sync_dir(data_dir).at("sync", data_dir)?;
    }
    Ok(!used)
}
