//! A snapshot that a leader sends: loaded and written down as it comes.
//!
//! The stream is read exactly to its signature; what has come behind that goes back to the link. A
//! tree is built from it and the same bytes are put into a file, which gets the header and the seal
//! that the stream lacks, and no digest: a leader of Apache's sends its tree while it changes, and
//! nobody knows of which transaction its digest would be.

use std::{fmt, io, thread};

use bytes::{Buf, Bytes};
use oxkeeper_proto::Zxid;
use oxkeeper_storage::{DataDir, Disk, DiskError, PreparedSnapshot, SnapshotWriter};
use oxkeeper_tree::Tree;
use oxkeeper_tree::snapshot::{self, LoadError, SIGNATURE};

use crate::boot::BootOptions;
use crate::snapshot_link::SnapshotSource;
use crate::snapshot_thread::step_back;

/// What has come in, whole.
#[derive(Debug)]
pub(crate) struct Received<D: Disk> {
    /// The tree.
    pub tree: Tree,
    /// The file, durable, still without its name.
    pub file: PreparedSnapshot<D>,
}

/// Reads a snapshot. `None` if it did not come to its end, or is none: that is the leader's fault
/// or the link's, and it is logged. Then nothing is left of it.
///
/// With `step_aside` the work is done on a thread of its own that lets others go first: who is sent
/// a snapshot serves nobody yet, and a machine that runs other members, or anything else, should
/// not feel it.
///
/// # Errors
/// If the disk would not take it.
pub(crate) fn receive<D: Disk>(
    dir: &DataDir<D>,
    options: &BootOptions,
    zxid: Zxid,
    source: Box<dyn SnapshotSource>,
    step_aside: bool,
) -> Result<Option<Received<D>>, DiskError> {
    let (disk, compression) = (dir.disk().clone(), options.snapshot.compression);
    let writer = SnapshotWriter::receive(disk, dir.snapshot_dir(), zxid, compression)?;
    if !step_aside {
        return take_in(writer, options, zxid, source);
    }
    let aside = move || {
        step_back();
        take_in(writer, options, zxid, source)
    };
    thread::scope(|scope| {
        match thread::Builder::new().name("snapshot-in".into()).spawn_scoped(scope, aside) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => {
                tracing::warn!(%zxid, "no thread for the leader's snapshot: {error}");
                Ok(None)
            }
        }
    })
}

fn take_in<D: Disk>(
    mut writer: SnapshotWriter<D>,
    options: &BootOptions,
    zxid: Zxid,
    mut source: Box<dyn SnapshotSource>,
) -> Result<Option<Received<D>>, DiskError> {
    let mut header = Vec::new();
    snapshot::encode_header(&mut header);
    writer.write(&header)?;
    let mut stream = Stream::new(&mut *source, &mut writer);
    let loaded = match stream.load(options, zxid) {
        Ok(loaded) => loaded,
        Err(Broken::Disk(error)) => return Err(error),
        Err(broken) => {
            tracing::warn!(%zxid, "the leader's snapshot has not arrived: {broken}");
            return Ok(None);
        }
    };
    let rest = stream.rest();
    source.give_back(rest);
    if loaded.unreadable_acls > 0 {
        tracing::warn!(
            znodes = loaded.unreadable_acls,
            "the leader's snapshot lacks the access control lists of some znodes"
        );
    }
    writer.seal()?;
    Ok(Some(Received { tree: loaded.tree, file: writer.prepare()? }))
}

/// Why a snapshot ended before its end.
#[derive(Debug)]
enum Broken {
    Link(io::Error),
    Short,
    Content(String),
    Disk(DiskError),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Link(error) => write!(f, "the link is gone: {error}"),
            Broken::Short => f.write_str("it ended before its end"),
            Broken::Content(what) => f.write_str(what),
            Broken::Disk(error) => error.fmt(f),
        }
    }
}

impl From<DiskError> for Broken {
    fn from(error: DiskError) -> Broken {
        Broken::Disk(error)
    }
}

/// Chunks that come in, written down once they are read.
struct Stream<'a, D: Disk> {
    source: &'a mut dyn SnapshotSource,
    writer: &'a mut SnapshotWriter<D>,
    chunk: Bytes,
    /// What is read of the chunk.
    at: usize,
    /// What of it is written down.
    written: usize,
    /// Bytes that lay in several chunks.
    joined: Vec<u8>,
}

impl<'a, D: Disk> Stream<'a, D> {
    fn new(source: &'a mut dyn SnapshotSource, writer: &'a mut SnapshotWriter<D>) -> Self {
        Stream { source, writer, chunk: Bytes::new(), at: 0, written: 0, joined: Vec::new() }
    }

    /// Reads the tree, and the signature behind it.
    fn load(&mut self, options: &BootOptions, zxid: Zxid) -> Result<snapshot::Loaded, Broken> {
        let loaded = match snapshot::load_stream(self, options.tree, zxid) {
            Ok(loaded) => loaded,
            Err(LoadError::Source(broken)) => return Err(broken),
            Err(other) => return Err(Broken::Content(other.to_string())),
        };
        self.write_down()?;
        for expected in SIGNATURE {
            if self.at == self.chunk.len() {
                self.next_chunk()?;
            }
            if self.chunk[self.at] != *expected {
                return Err(Broken::Content("there is no signature behind it".into()));
            }
            self.at += 1;
            self.written = self.at;
        }
        Ok(loaded)
    }

    /// What has come behind what was read.
    fn rest(mut self) -> Bytes {
        self.chunk.advance(self.at);
        self.chunk
    }

    fn write_down(&mut self) -> Result<(), DiskError> {
        if self.written < self.at {
            self.writer.write(&self.chunk[self.written..self.at])?;
            self.written = self.at;
        }
        Ok(())
    }

    /// Goes on to a chunk that is not empty.
    fn next_chunk(&mut self) -> Result<(), Broken> {
        self.write_down()?;
        self.chunk = loop {
            let chunk = self.source.next().map_err(Broken::Link)?.ok_or(Broken::Short)?;
            if !chunk.is_empty() {
                break chunk;
            }
        };
        (self.at, self.written) = (0, 0);
        Ok(())
    }

    fn join(&mut self, len: usize) -> Result<(), Broken> {
        self.joined.clear();
        while self.joined.len() < len {
            if self.at == self.chunk.len() {
                self.next_chunk()?;
            }
            let n = (len - self.joined.len()).min(self.chunk.len() - self.at);
            self.joined.extend_from_slice(&self.chunk[self.at..self.at + n]);
            self.at += n;
        }
        Ok(())
    }
}

impl<D: Disk> snapshot::SnapshotSource for Stream<'_, D> {
    type Error = Broken;

    fn next_bytes(&mut self, len: usize) -> Result<&[u8], Broken> {
        if self.chunk.len() - self.at < len {
            self.join(len)?;
            return Ok(&self.joined);
        }
        let start = self.at;
        self.at += len;
        Ok(&self.chunk[start..self.at])
    }

    /// A stream has no seals.
    fn check_seal(&mut self) -> Result<(), Broken> {
        Ok(())
    }

    /// Nor sections that are told by their length.
    fn remaining(&mut self, _: usize) -> Result<usize, Broken> {
        Ok(0)
    }
}
