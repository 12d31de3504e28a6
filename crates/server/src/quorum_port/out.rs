//! What a link has to send: packets and snapshots, in the order in which they were given.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use oxkeeper_zab::Outgoing;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

/// Where a new buffer is begun, so that one which is far behind gives its memory back as it is
/// sent, and nothing is moved when it grows.
const SEGMENT_BYTES: usize = 256 << 10;

/// Chunks of a snapshot on their way to a link.
pub(super) type Chunks = mpsc::Receiver<io::Result<Bytes>>;

#[derive(Debug)]
enum Segment {
    /// Encoded packets.
    Packets(Vec<u8>),
    /// A snapshot; `None` while the link's task is sending it.
    Snapshot(Option<Chunks>),
}

/// How far sending got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Everything is the system's.
    All,
    /// The socket takes no more at present.
    Blocked,
    /// A snapshot comes next.
    Snapshot,
}

/// A link's queue.
#[derive(Debug, Default)]
pub(super) struct Out {
    segments: VecDeque<Segment>,
    /// What was sent of the first.
    sent: usize,
    /// Bytes of packets that are not sent.
    pending: usize,
}

impl Out {
    /// Bytes of packets that wait. A snapshot before them does not count: it is not in memory.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }

    /// Adds a packet.
    pub(super) fn put(&mut self, packet: &Outgoing) {
        let whole = |bytes: &Vec<u8>| bytes.len() >= SEGMENT_BYTES;
        match self.segments.back() {
            Some(Segment::Packets(bytes)) if !whole(bytes) => {}
            _ => self.segments.push_back(Segment::Packets(Vec::new())),
        }
        if let Some(Segment::Packets(bytes)) = self.segments.back_mut() {
            let before = bytes.len();
            packet.as_packet().encode(bytes);
            self.pending += bytes.len() - before;
        }
    }

    /// Adds a snapshot.
    pub(super) fn put_snapshot(&mut self, chunks: Chunks) {
        self.segments.push_back(Segment::Snapshot(Some(chunks)));
    }

    /// The snapshot that is to be sent next.
    pub(super) fn take_snapshot(&mut self) -> Option<Chunks> {
        match self.segments.front_mut() {
            Some(Segment::Snapshot(chunks)) => chunks.take(),
            _ => None,
        }
    }

    /// The snapshot that was taken is sent.
    pub(super) fn snapshot_sent(&mut self) {
        if let Some(Segment::Snapshot(None)) = self.segments.front() {
            self.segments.pop_front();
        }
    }

    /// Sends as much as the socket takes.
    ///
    /// # Errors
    /// The connection's.
    pub(super) fn send(&mut self, to: &OwnedWriteHalf) -> io::Result<Sent> {
        loop {
            let alone = self.segments.len() == 1;
            let bytes = match self.segments.front_mut() {
                None => return Ok(Sent::All),
                Some(Segment::Snapshot(_)) => return Ok(Sent::Snapshot),
                Some(Segment::Packets(bytes)) => bytes,
            };
            if self.sent == bytes.len() {
                self.sent = 0;
                if !alone || bytes.capacity() > 2 * SEGMENT_BYTES {
                    self.segments.pop_front();
                    continue;
                }
                // The usual case: the buffer is kept for what comes next.
                bytes.clear();
                return Ok(Sent::All);
            }
            match to.try_write(&bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.sent += count;
                    self.pending -= count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Sent::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
