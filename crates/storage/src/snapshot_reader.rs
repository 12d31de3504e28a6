//! A snapshot as a stream of bytes, whatever it is compressed with, its checksum running along.
//!
//! The tree's loader pulls what it needs and checks each seal where it expects one. Which
//! sections follow the first seal is written nowhere; [`SnapshotReader::remaining`] tells them
//! apart by their size (0, 21, 33 or 54 bytes).

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use simd_adler32::Adler32;

use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::limits::READ_CHUNK_BYTES;
use crate::snapshot_codec::SnappyReader;
use crate::snapshots::{Compression, SnapshotFile};

/// Bytes of a seal: the checksum as an i64, and the string "/".
pub const SEAL_BYTES: usize = 13;

const FIRST_CHUNK_BYTES: usize = 8 << 10;

/// Why a snapshot could not be read. Another, older one may do.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk would not give the bytes, or they do not decompress.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The stream ended before it should.
    #[error("snapshot {} ends early, at byte {offset}", path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// How many (uncompressed) bytes it has.
        offset: u64,
    },
    /// A seal does not fit the bytes before it.
    #[error("snapshot {} is damaged before byte {offset}: its checksum does not match",
        path.display())]
    Seal {
        /// The file.
        path: PathBuf,
        /// (Uncompressed) offset of the seal.
        offset: u64,
    },
    /// Bytes follow the last seal.
    #[error("snapshot {} goes on after its end, at byte {offset}", path.display())]
    Long {
        /// The file.
        path: PathBuf,
        /// (Uncompressed) offset of the first byte too many.
        offset: u64,
    },
}

/// Reads one snapshot from its beginning to its end.
pub struct SnapshotReader {
    path: PathBuf,
    stream: Box<dyn Read + Send>,
    buf: Vec<u8>,
    /// What is consumed of `buf`.
    at: usize,
    /// What of `buf` has gone into the checksum. Never above `at`.
    hashed: usize,
    adler: Adler32,
    /// Offset in the stream of the beginning of `buf`.
    base: u64,
    /// Bytes to ask the stream for next: few at first, as a fresh
    /// server's snapshot has only 478.
    chunk_bytes: usize,
}

impl std::fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapshotReader({} at {})", self.path.display(), self.offset())
    }
}

impl SnapshotReader {
    /// Opens a snapshot file.
    pub fn open<D: Disk>(disk: &D, file: &SnapshotFile) -> Result<SnapshotReader, DiskError> {
        let opened = disk.open_read(&file.path).at("open", &file.path)?;
        Ok(SnapshotReader::new(Sequential::new(opened), file.compression, &file.path))
    }

    /// Reads a snapshot from any stream, for instance one that came from a leader. `path` is
    /// only for messages.
    pub fn new(
        stream: impl Read + Send + 'static,
        compression: Compression,
        path: &Path,
    ) -> SnapshotReader {
        let stream: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(stream),
            Compression::Gzip => Box::new(MultiGzDecoder::new(stream)),
            Compression::Snappy => Box::new(SnappyReader::new(stream)),
        };
        SnapshotReader {
            path: path.to_owned(),
            stream,
            buf: Vec::new(),
            at: 0,
            hashed: 0,
            adler: Adler32::new(),
            base: 0,
            chunk_bytes: FIRST_CHUNK_BYTES,
        }
    }

    /// Offset of the next byte, uncompressed.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next `len` bytes, borrowed until the next call. Allocates no more than the stream
    /// has to give, however large `len` is.
    pub fn next_bytes(&mut self, len: usize) -> Result<&[u8], SnapshotError> {
        if !self.fill(len)? {
            let offset = self.base + self.buf.len() as u64;
            return Err(SnapshotError::Short { path: self.path.clone(), offset });
        }
        let start = self.at;
        self.at += len;
        Ok(&self.buf[start..start + len])
    }

    /// The next `N` bytes, for numbers.
    pub fn next_array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.next_bytes(N)?);
        Ok(bytes)
    }

    /// The Adler-32 of everything read so far.
    pub fn checksum(&mut self) -> u32 {
        self.adler.write(&self.buf[self.hashed..self.at]);
        self.hashed = self.at;
        self.adler.finish()
    }

    /// Reads a seal and compares it with the bytes before it. As in Java the string in it is
    /// read but not judged, except that it must be as long as "/".
    pub fn check_seal(&mut self) -> Result<(), SnapshotError> {
        let offset = self.offset();
        let expected = i64::from(self.checksum());
        let seal = self.next_array::<SEAL_BYTES>()?;
        let found = seal[..8].iter().fold(0i64, |n, b| n << 8 | i64::from(*b));
        if found != expected || seal[8..12] != 1i32.to_be_bytes() {
            return Err(SnapshotError::Seal { path: self.path.clone(), offset });
        }
        Ok(())
    }

    /// How many bytes are left, counted up to `max + 1`. After the first seal: 0 nothing; 21 a
    /// last zxid and its seal; 33 a digest and its seal; 54 both.
    pub fn remaining(&mut self, max: usize) -> Result<usize, SnapshotError> {
        self.fill(max + 1)?;
        Ok((self.buf.len() - self.at).min(max + 1))
    }

    /// Checks that nothing follows.
    pub fn check_end(&mut self) -> Result<(), SnapshotError> {
        match self.remaining(0)? {
            0 => Ok(()),
            _ => Err(SnapshotError::Long { path: self.path.clone(), offset: self.offset() }),
        }
    }

    /// Makes `len` bytes available behind `at`, or says no if the stream ends before.
    fn fill(&mut self, len: usize) -> Result<bool, SnapshotError> {
        if self.buf.len() - self.at >= len {
            return Ok(true);
        }
        self.checksum();
        self.base += self.at as u64;
        self.buf.drain(..self.at);
        (self.at, self.hashed) = (0, 0);
        while self.buf.len() < len.max(1) {
            // By chunks: a length in a damaged file may be anything.
            let old = self.buf.len();
            self.buf.resize(old + self.chunk_bytes, 0);
            self.chunk_bytes = (self.chunk_bytes * 2).min(READ_CHUNK_BYTES);
            let read = read_some(&mut self.stream, &mut self.buf[old..]);
            self.buf.truncate(old + *read.as_ref().unwrap_or(&0));
            if read.at("read", &self.path)? == 0 {
                break;
            }
        }
        Ok(self.buf.len() >= len)
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.remaining(0).map_err(io::Error::other)?;
        if available == 0 {
            return Ok(0);
        }
        let n = buf.len().min(self.buf.len() - self.at);
        buf[..n].copy_from_slice(&self.buf[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn read_some(stream: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A file read from its beginning to its end, by chunks.
struct Sequential<F> {
    file: F,
    offset: u64,
    buf: Vec<u8>,
    at: usize,
}

impl<F: DiskFile> Sequential<F> {
    fn new(file: F) -> Sequential<F> {
        Sequential { file, offset: 0, buf: Vec::new(), at: 0 }
    }
}

impl<F: DiskFile> Read for Sequential<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buf.len() {
            if out.len() >= FIRST_CHUNK_BYTES {
                let n = self.file.read_at(out, self.offset)?;
                self.offset += n as u64;
                return Ok(n);
            }
            self.buf.resize(FIRST_CHUNK_BYTES, 0);
            let read = self.file.read_at(&mut self.buf, self.offset);
            self.buf.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            self.offset += read? as u64;
        }
        let n = out.len().min(self.buf.len() - self.at);
        out[..n].copy_from_slice(&self.buf[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
