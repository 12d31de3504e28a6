//! Which snapshots there are, and which of them look whole.
//!
//! Java writes snapshots in place and without syncing, so that a crash leaves partial files
//! under final names. A cheap look at the file ([`SnapshotFile::looks_whole`], Java's
//! `SnapStream.isValidSnapshot`) sorts most of them out; the rest shows when it is parsed.

use std::path::{Path, PathBuf};

use oxkeeper_proto::Zxid;

use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::names::parse_snapshot_name;
use crate::snapshot_codec::SNAPPY_MAGIC;

/// How a snapshot's bytes are compressed (`zookeeper.snapshot.compression.method`). Told by the
/// file's extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, `.gz`.
    Gzip,
    /// Snappy blocks in snappy-java's framing, `.snappy`. Java 3.5 knows neither of the two.
    Snappy,
}

impl Compression {
    /// The end of the file's name: empty, `.gz` or `.snappy`.
    pub fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Snappy => ".snappy",
        }
    }

    /// By extension without its dot, or by the value of the configuration key; upper or lower
    /// case. None for an unknown one.
    pub fn from_extension(extension: &str) -> Option<Compression> {
        match extension.to_ascii_lowercase().as_str() {
            "" => Some(Compression::None),
            "gz" => Some(Compression::Gzip),
            "snappy" => Some(Compression::Snappy),
            _ => None,
        }
    }
}

/// A snapshot by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Everything up to this zxid is in it.
    pub zxid: Zxid,
    /// How it is compressed.
    pub compression: Compression,
    /// Where it is.
    pub path: PathBuf,
}

/// All files with a snapshot's name, newest first.
pub fn list_snapshots<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<SnapshotFile>, DiskError> {
    let names = disk.list(dir).at("list", dir)?;
    let mut files: Vec<_> = names
        .iter()
        .filter_map(|name| {
            let (zxid, compression) = parse_snapshot_name(name)?;
            Some(SnapshotFile { zxid, compression, path: dir.join(name) })
        })
        .collect();
    files.sort_by(|a, b| b.zxid.cmp(&a.zxid).then_with(|| a.path.cmp(&b.path)));
    Ok(files)
}

/// The newest `max` snapshots that look whole, newest first.
pub fn whole_snapshots<D: Disk>(
    disk: &D,
    dir: &Path,
    max: usize,
) -> Result<Vec<SnapshotFile>, DiskError> {
    let mut whole = Vec::new();
    for file in list_snapshots(disk, dir)? {
        if whole.len() == max {
            break;
        }
        if file.looks_whole(disk)? {
            whole.push(file);
        } else {
            tracing::warn!(file = %file.path.display(), "snapshot is incomplete, not considered");
        }
    }
    Ok(whole)
}

impl SnapshotFile {
    /// Its size in bytes, compressed.
    pub fn size<D: Disk>(&self, disk: &D) -> Result<u64, DiskError> {
        disk.open_read(&self.path).and_then(|file| file.size()).at("read", &self.path)
    }

    /// Whether the file begins (compressed) or ends (plain) as a snapshot must.
    pub fn looks_whole<D: Disk>(&self, disk: &D) -> Result<bool, DiskError> {
        let file = disk.open_read(&self.path).at("open", &self.path)?;
        let bytes_at = |offset| read_up_to::<_, 8>(&file, offset).at("read", &self.path);
        Ok(match self.compression {
            Compression::Gzip => bytes_at(0)?.starts_with(&[0x1f, 0x8b]),
            Compression::Snappy => bytes_at(0)?.starts_with(SNAPPY_MAGIC),
            Compression::None => {
                let size = file.size().at("read", &self.path)?;
                size >= 10 && bytes_at(size - 5)? == [0, 0, 0, 1, b'/']
            }
        })
    }
}

fn read_up_to<F: DiskFile, const N: usize>(file: &F, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; N];
    let mut len = 0;
    while len < N {
        match file.read_at(&mut bytes[len..], offset + len as u64)? {
            0 => break,
            n => len += n,
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}
