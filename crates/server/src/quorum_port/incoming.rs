//! A snapshot that comes in: from the link's task to a thread that reads it, and what lies behind
//! it back again.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{mpsc, oneshot};

use super::link::Fault;
use crate::snapshot_link::{CHUNKS_MAX, SnapshotSource};

/// The largest chunk, and the memory that several small ones share.
const CHUNK_BYTES: usize = 256 << 10;
/// The room that a read is offered at the least.
const READ_BYTES: usize = 32 << 10;

/// What the reader of a snapshot hands back.
#[derive(Debug)]
struct Rest {
    bytes: Bytes,
    unread: mpsc::Receiver<Bytes>,
}

/// The thread's end.
#[derive(Debug)]
struct Source {
    chunks: mpsc::Receiver<Bytes>,
    back: oneshot::Sender<Rest>,
}

impl SnapshotSource for Source {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let gone = || io::Error::new(io::ErrorKind::ConnectionAborted, "the leader is gone");
        self.chunks.blocking_recv().map(Some).ok_or_else(gone)
    }

    fn give_back(self: Box<Self>, rest: Bytes) {
        // If nobody takes it the link is gone, and that was said elsewhere.
        self.back.send(Rest { bytes: rest, unread: self.chunks }).ok();
    }
}

/// The link's end.
#[derive(Debug)]
pub(super) struct Pipe {
    chunks: mpsc::Sender<Bytes>,
    back: oneshot::Receiver<Rest>,
}

/// Both ends. Without the link's, the thread's is one of a link that is gone.
pub(super) fn pipe() -> (Pipe, Box<dyn SnapshotSource>) {
    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
    let (back, returned) = oneshot::channel();
    (Pipe { chunks: sender, back: returned }, Box::new(Source { chunks, back }))
}

impl Pipe {
    /// Carries what was `left` behind the last packet and all that comes, until the thread has its
    /// snapshot; returns what lies behind it. `progress` is called for every chunk.
    pub(super) async fn carry(
        mut self,
        from: &mut OwnedReadHalf,
        left: Vec<u8>,
        progress: impl Fn(),
    ) -> Result<Vec<u8>, Fault> {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES.max(left.len()));
        buffer.extend_from_slice(&left);
        loop {
            if buffer.is_empty() && buffer.capacity() < READ_BYTES {
                buffer = BytesMut::with_capacity(CHUNK_BYTES);
            }
            tokio::select! {
                biased;
                rest = &mut self.back => return all_behind(rest, &buffer),
                permit = self.chunks.reserve(), if !buffer.is_empty() => match permit {
                    Ok(permit) => {
                        permit.send(buffer.split().freeze());
                        progress();
                    }
                    // It was given back, or nobody wants it.
                    Err(_) => return all_behind((&mut self.back).await, &buffer),
                },
                // While the thread is behind, chunks grow.
                read = from.read_buf(&mut buffer), if buffer.len() < buffer.capacity() => {
                    if read.map_err(Fault::Io)? == 0 {
                        return Err(Fault::Ended);
                    }
                }
            }
        }
    }
}

/// What was read behind the end of a snapshot, by the thread, by nobody, and last by us.
fn all_behind(
    rest: Result<Rest, oneshot::error::RecvError>,
    last: &[u8],
) -> Result<Vec<u8>, Fault> {
    let Rest { bytes, mut unread } = rest.map_err(|_| Fault::SnapshotUnwanted)?;
    let mut behind = Vec::from(bytes);
    unread.close();
    while let Ok(chunk) = unread.try_recv() {
        behind.extend_from_slice(&chunk);
    }
    behind.extend_from_slice(last);
    Ok(behind)
}
