//! The promises of an ensemble member: `acceptedEpoch` and `currentEpoch`.
//!
//! Decimal numbers in ASCII, replaced as a whole: written to `<name>.tmp`, synced, renamed
//! (`common/AtomicFileWritingIdiom.java`), and here the directory synced too: a promise that
//! may be forgotten is none.

use std::path::Path;

use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::limits::EPOCH_FILE_BYTES_MAX;

const ACCEPTED: &str = "acceptedEpoch";
const CURRENT: &str = "currentEpoch";

/// What the epoch files of a directory say. Standalone servers have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs {
    /// The newest epoch whose leader was promised to be followed.
    pub accepted: Option<i64>,
    /// The epoch of the last leader that was really followed.
    pub current: Option<i64>,
    /// `currentEpoch.tmp`, left by a crash while the current epoch was replaced: Java takes its
    /// value if the log is already in that epoch (`QuorumPeer.loadDataBase`).
    pub current_unfinished: Option<i64>,
}

impl Epochs {
    /// Reads the files in a `version-2` directory for snapshots. An unfinished file that does
    /// not parse counts as missing; the others must parse.
    pub fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Epochs, DiskError> {
        let unfinished = format!("{CURRENT}.tmp");
        Ok(Epochs {
            accepted: read_one(disk, &dir.join(ACCEPTED))?,
            current: read_one(disk, &dir.join(CURRENT))?,
            current_unfinished: read_one(disk, &dir.join(unfinished)).unwrap_or(None),
        })
    }

    /// Makes the accepted epoch durable.
    pub fn write_accepted<D: Disk>(disk: &D, dir: &Path, epoch: i64) -> Result<(), DiskError> {
        replace(disk, dir, ACCEPTED, &epoch.to_string())
    }

    /// Makes the current epoch durable.
    pub fn write_current<D: Disk>(disk: &D, dir: &Path, epoch: i64) -> Result<(), DiskError> {
        replace(disk, dir, CURRENT, &epoch.to_string())
    }
}

fn read_one<D: Disk>(disk: &D, path: &Path) -> Result<Option<i64>, DiskError> {
    let file = match disk.open_read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.at("open", path)?,
    };
    let mut bytes = [0; EPOCH_FILE_BYTES_MAX];
    let n = file.read_at(&mut bytes, 0).at("read", path)?;
    let text = std::str::from_utf8(&bytes[..n]).unwrap_or_default();
    let number = text.lines().next().unwrap_or_default().trim().parse();
    number
        .map(Some)
        .map_err(|_| std::io::Error::other("it does not hold a number"))
        .at("read", path)
}

/// Puts a small file in place of another, durably and as a whole.
pub(crate) fn replace<D: Disk>(
    disk: &D,
    dir: &Path,
    name: &str,
    text: &str,
) -> Result<(), DiskError> {
    let (path, unfinished) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let file = disk.create(&unfinished).at("create", &unfinished)?;
    file.write_at(text.as_bytes(), 0).at("write", &unfinished)?;
    file.sync_all().at("sync", &unfinished)?;
    disk.rename(&unfinished, &path).at("rename", &unfinished)?;
    disk.sync_dir(dir).at("sync", dir)
}
