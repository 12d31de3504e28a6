//! Snapshots on their way between a link of the quorum port and the threads that read and write
//! files.
//!
//! A snapshot is far larger than what a link may hold in memory, and neither side may wait for the
//! other on the core's thread. So it travels in chunks over a bounded channel: the file's thread
//! blocks on its end, the link's task awaits on the other.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Chunks in the channel between a link and a thread.
pub const CHUNKS_MAX: usize = 16;

/// A snapshot that comes in on a link, to be read by a thread that may block.
///
/// The stream does not say where the snapshot ends: whoever reads it knows, and hands back what
/// lies behind. Until then the link splits no packets. Dropping it means that the snapshot is not
/// wanted: the link ends.
pub trait SnapshotSource: Send {
    /// The next bytes, never empty. `None` if the leader has ended the stream in order; within a
    /// snapshot that is an end too soon.
    ///
    /// # Errors
    /// The link is gone.
    fn next(&mut self) -> io::Result<Option<Bytes>>;

    /// The snapshot is complete. `rest` is what was read behind its end: packets again.
    fn give_back(self: Box<Self>, rest: Bytes);
}

/// Where a thread puts the chunks of a snapshot that goes out on a link, with `blocking_send`. An
/// error among them ends the link: the learner must not take half a snapshot for a whole one. The
/// end of the snapshot is the sender being dropped. A send fails once the link is gone.
pub type SnapshotSink = mpsc::Sender<io::Result<Bytes>>;
