//! The few things we ask of a disk.
//!
//! A trait this small can be implemented honestly twice: by the operating system and by a
//! simulation that remembers what was synced. Nothing else in the crate touches files.
//!
//! Two habits of real disks shape it. A write may be lost until its file is synced, a created
//! or renamed *name* until its directory is: both calls exist and both are used. And a failed
//! sync is final: the kernel may already have dropped the dirty pages, so that trying again
//! would report success for bytes that are gone. Callers stop instead.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};

/// A place for files.
pub trait Disk: Clone + Send + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held for as long as the directory is ours.
    type Lock: Send;

    /// Creates a file that must not exist, for reading and writing.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;
    /// Creates a file, or empties the existing one.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Self::File>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// The path without links: two spellings of one directory become equal.
    fn canonical(&self, dir: &Path) -> io::Result<PathBuf>;
    /// Creates a directory and its parents; an existing one is fine.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in this directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes free for us on the file system of this directory.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the lock file, or says who has it.
    fn lock(&self, path: &Path) -> Result<Self::Lock, LockError>;
}

/// An open file. Writes and reads name their offset: there is no position to get wrong.
pub trait DiskFile: Send + 'static {
    /// Writes all the bytes at the offset. After an error any part of them may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `buf.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// `fdatasync`: the bytes written, and a size grown by writing them, survive from here on.
    fn sync_data(&self) -> io::Result<()>;
    /// `fsync`: the above, and a size set by [`DiskFile::set_len`].
    fn sync_all(&self) -> io::Result<()>;
}

/// A file operation that failed: which, on what, and why. The disk's fault, never a client's.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct DiskError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The operating system's answer.
    pub source: io::Error,
}

impl DiskError {
    /// Whether the file system, or our share of it, is full.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded)
    }
}

/// Says what failed and on which file.
pub(crate) trait Context<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> Context<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError { action, path: path.to_owned(), source })
    }
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by another server{}", dir.display(), holder(*pid))]
    Held {
        /// The locked directory.
        dir: PathBuf,
        /// The process that wrote its id into the lock file.
        pid: Option<u32>,
    },
    /// The lock file could not be created or locked.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

/// Released when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct OsLock {
    _file: File,
}

impl Disk for OsDisk {
    type File = File;
    type Lock = OsLock;

    fn create_new(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn canonical(&self, dir: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> Result<OsLock, LockError> {
        // Not truncated on opening: until the lock is ours the holder's id in it is not.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.at("open", path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = [0; 16];
                let n = FileExt::read_at(&file, &mut text, 0).unwrap_or(0);
                let pid = std::str::from_utf8(&text[..n]).ok().and_then(|t| t.trim().parse().ok());
                let dir = path.parent().unwrap_or(path).to_owned();
                return Err(LockError::Held { dir, pid });
            }
            Err(errno) => {
                return Err(Err::<(), _>(errno.into()).at("lock", path).unwrap_err().into());
            }
        }
        file.set_len(0).at("write", path)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).at("write", path)?;
        Ok(OsLock { _file: file })
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("oxkeeper.lock");
        let first = OsDisk.lock(&path).unwrap();
        let error = OsDisk.lock(&path).expect_err("two locks on one directory").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        OsDisk.lock(&path).unwrap();
    }

    #[test]
    fn errors_say_what_failed_where() {
        let error =
            OsDisk.open(Path::new("/nowhere/log.1")).at("open", Path::new("/nowhere/log.1"));
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("cannot open /nowhere/log.1: No such file"), "{text}");
    }
}
