//! The few files a configuration leads to, behind a trait so that tests need no disk.

use std::io::{self, Read};
use std::path::Path;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Missing,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// Read access to the file system.
pub trait Files {
    /// Reads a whole file.
    ///
    /// # Errors
    /// `ErrorKind::NotFound` if there is none, `ErrorKind::FileTooLarge` if it is longer than
    /// `limit` bytes, whatever the system reports otherwise.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// Says what stands at a path, following links.
    ///
    /// # Errors
    /// When the system does not tell, for instance for lack of permission.
    fn kind(&self, path: &Path) -> io::Result<PathKind>;
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        std::fs::File::open(path)?.take(bound).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(PathKind::Directory),
            Ok(_) => Ok(PathKind::Other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(PathKind::Missing),
            Err(error) => Err(error),
        }
    }
}

/// A file system with nothing in it: for defaults, tests and fuzzing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path, _: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn kind(&self, _: &Path) -> io::Result<PathKind> {
        Ok(PathKind::Missing)
    }
}
