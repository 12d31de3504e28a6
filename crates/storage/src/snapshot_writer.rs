//! Writing a snapshot: under another name, synced as it grows, then renamed.
//!
//! Java writes in place and does not sync, trusting that the next start will notice. Here a file
//! named `snapshot.*` is always whole and durable.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use oxkeeper_proto::Zxid;
use simd_adler32::Adler32;

use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::limits::SNAPSHOT_SYNC_BYTES;
use crate::names::{UNFINISHED, UNFINISHED_RECEIVED, snapshot_name};
use crate::snapshot_codec::SnappyWriter;
use crate::snapshots::{Compression, SnapshotFile};

/// One snapshot on its way to disk. Dropped before [`SnapshotWriter::finish`], it is removed.
///
/// Errors are the disk's; the writer is of no further use after one. A snapshot that fails
/// endangers nothing: the log still has everything.
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    dir: PathBuf,
    target: SnapshotFile,
    unfinished: PathBuf,
    /// None only once finished.
    stream: Option<Stream<Paced<D::File>>>,
    adler: Adler32,
    bytes: u64,
}

enum Stream<W: Write> {
    Plain(W),
    Gzip(Box<GzEncoder<W>>),
    Snappy(Box<SnappyWriter<W>>),
}

impl<D: Disk> std::fmt::Debug for SnapshotWriter<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapshotWriter({} at {})", self.target.path.display(), self.bytes)
    }
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins the snapshot of everything up to `zxid` in the `version-2` directory `dir`. Takes
    /// the place of an unfinished one of the same name, and when finished of a finished one.
    pub fn create(
        disk: D,
        dir: &Path,
        zxid: Zxid,
        compression: Compression,
    ) -> Result<SnapshotWriter<D>, DiskError> {
        Self::begin(disk, dir, zxid, compression, UNFINISHED)
    }

    /// The same for one that comes from another server: it does not get into the way of one that
    /// is being taken of our own tree.
    pub fn receive(
        disk: D,
        dir: &Path,
        zxid: Zxid,
        compression: Compression,
    ) -> Result<SnapshotWriter<D>, DiskError> {
        Self::begin(disk, dir, zxid, compression, UNFINISHED_RECEIVED)
    }

    fn begin(
        disk: D,
        dir: &Path,
        zxid: Zxid,
        compression: Compression,
        prefix: &str,
    ) -> Result<SnapshotWriter<D>, DiskError> {
        let name = snapshot_name(zxid, compression);
        let target = SnapshotFile { zxid, compression, path: dir.join(&name) };
        let unfinished = dir.join(format!("{prefix}{name}"));
        let file = disk.create(&unfinished).at("create", &unfinished)?;
        let paced = Paced::new(file);
        let stream = match compression {
            Compression::None => Stream::Plain(paced),
            Compression::Gzip => {
                Stream::Gzip(Box::new(GzEncoder::new(paced, flate2::Compression::default())))
            }
            Compression::Snappy => Stream::Snappy(Box::new(SnappyWriter::new(paced))),
        };
        let (stream, adler) = (Some(stream), Adler32::new());
        Ok(SnapshotWriter {
            disk,
            dir: dir.to_owned(),
            target,
            unfinished,
            stream,
            adler,
            bytes: 0,
        })
    }

    /// Appends bytes of the snapshot.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.adler.write(bytes);
        self.bytes += bytes.len() as u64;
        self.write_raw(bytes)
    }

    /// Appends a seal: the checksum of everything before it, and the string "/". Later seals
    /// cover earlier ones.
    pub fn seal(&mut self) -> Result<(), DiskError> {
        let mut seal = [0; crate::snapshot_reader::SEAL_BYTES];
        seal[..8].copy_from_slice(&i64::from(self.checksum()).to_be_bytes());
        seal[11] = 1;
        seal[12] = b'/';
        self.write(&seal)
    }

    /// The Adler-32 of everything written so far.
    pub fn checksum(&self) -> u32 {
        self.adler.finish()
    }

    /// Bytes written so far, uncompressed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that have reached the file so far.
    pub fn file_bytes(&self) -> u64 {
        match &self.stream {
            Some(Stream::Plain(file)) => file.offset,
            Some(Stream::Gzip(gzip)) => gzip.get_ref().offset,
            Some(Stream::Snappy(snappy)) => snappy.get_ref().offset,
            None => 0,
        }
    }

    /// Makes the snapshot durable under its name and returns it.
    pub fn finish(self) -> Result<SnapshotFile, DiskError> {
        self.prepare()?.publish()
    }

    /// Makes the snapshot durable, still without its name.
    pub fn prepare(mut self) -> Result<PreparedSnapshot<D>, DiskError> {
        let written = match self.stream.take() {
            Some(Stream::Plain(file)) => Ok(file),
            Some(Stream::Gzip(gzip)) => gzip.finish(),
            Some(Stream::Snappy(snappy)) => snappy.finish(),
            None => Err(io::Error::other("it is finished")),
        };
        // Removed when it is dropped, whatever happens.
        let prepared = PreparedSnapshot {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            target: self.target.clone(),
            unfinished: self.unfinished.clone(),
            bytes: self.bytes,
            published: false,
        };
        written.and_then(|mut paced| paced.write_out()).at("write", &self.unfinished)?;
        Ok(prepared)
    }

    fn write_raw(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        match &mut self.stream {
            Some(Stream::Plain(file)) => file.write_all(bytes),
            Some(Stream::Gzip(gzip)) => gzip.write_all(bytes),
            Some(Stream::Snappy(snappy)) => snappy.write_all(bytes),
            None => Ok(()),
        }
        .at("write", &self.unfinished)
    }
}

impl<D: Disk> Drop for SnapshotWriter<D> {
    fn drop(&mut self) {
        if self.stream.take().is_some() {
            abandon(&self.disk, &self.unfinished);
        }
    }
}

/// Best effort: what is left behind is removed at the next start.
fn abandon<D: Disk>(disk: &D, unfinished: &Path) {
    if let Err(error) = disk.remove(unfinished) {
        let file = unfinished.display();
        tracing::debug!(%file, %error, "could not remove an unfinished snapshot");
    }
}

/// A whole and durable snapshot that only lacks its name. Dropped before
/// [`PreparedSnapshot::publish`], it is removed.
#[derive(Debug)]
pub struct PreparedSnapshot<D: Disk> {
    disk: D,
    dir: PathBuf,
    target: SnapshotFile,
    unfinished: PathBuf,
    bytes: u64,
    published: bool,
}

impl<D: Disk> PreparedSnapshot<D> {
    /// What it will be.
    pub fn target(&self) -> &SnapshotFile {
        &self.target
    }

    /// Gives it its name, durably.
    pub fn publish(mut self) -> Result<SnapshotFile, DiskError> {
        let (from, to) = (&self.unfinished, &self.target.path);
        self.disk.rename(from, to).at("rename", from)?;
        self.published = true;
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        tracing::info!(file = %to.display(), bytes = self.bytes, "snapshot written");
        Ok(self.target.clone())
    }
}

impl<D: Disk> Drop for PreparedSnapshot<D> {
    fn drop(&mut self) {
        if !self.published {
            abandon(&self.disk, &self.unfinished);
        }
    }
}

/// A file written from its beginning to its end and synced every [`SNAPSHOT_SYNC_BYTES`].
struct Paced<F> {
    file: F,
    buf: Vec<u8>,
    offset: u64,
    /// After a failure nothing more is tried, not even by a compressor that is dropped.
    failed: bool,
}

impl<F: DiskFile> Paced<F> {
    fn new(file: F) -> Paced<F> {
        Paced { file, buf: Vec::with_capacity(SNAPSHOT_SYNC_BYTES), offset: 0, failed: false }
    }

    /// Writes what was collected and syncs it; a size grown by writing is synced with it.
    fn write_out(&mut self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        let done = self.file.write_at(&self.buf, self.offset).and_then(|()| self.file.sync_data());
        self.failed = done.is_err();
        self.offset += self.buf.len() as u64;
        self.buf.clear();
        done
    }
}

impl<F: DiskFile> Write for Paced<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(SNAPSHOT_SYNC_BYTES - self.buf.len());
        self.buf.extend_from_slice(&bytes[..n]);
        if self.buf.len() == SNAPSHOT_SYNC_BYTES {
            self.write_out()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
