//! The snapshot's own thread: encodes pieces of the tree, writes them, publishes the file, purges
//! what is older. A failure here endangers nothing, the log still has everything; it is said, and
//! the next snapshot tries again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use oxkeeper_storage::{Compression, DataDir, Disk, DiskError, SnapshotWriter};
use oxkeeper_tree::snapshot::{Chunk, SnapshotHead};

/// What the thread is asked to do, in order.
#[derive(Debug)]
pub enum SnapshotCommand {
    /// Begin a file.
    Begin(Box<SnapshotHead>),
    /// Write a piece.
    Chunk(Chunk),
    /// Seal and publish.
    End,
    /// End the thread; an unfinished snapshot is dropped.
    Stop,
}

/// What the thread says.
pub trait SnapshotReports: Send + Sync + 'static {
    /// One piece is written.
    fn chunk_written(&self);
    /// The snapshot is over, for better or worse.
    fn snapshot_over(&self);
}

/// How snapshots are written and what happens to old ones.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotPolicy {
    /// The files' compression.
    pub compression: Compression,
    /// Whether the tree's digest is written.
    pub digest: bool,
    /// Whether the last section with the zxid is written.
    pub zxid_section: bool,
    /// Snapshots kept, `None` to keep all.
    pub retain: Option<usize>,
}

/// A running snapshot thread.
#[derive(Debug)]
pub struct SnapshotThread {
    commands: Sender<SnapshotCommand>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotThread {
    /// Starts the thread.
    pub fn start<D: Disk>(
        dir: Arc<DataDir<D>>,
        policy: SnapshotPolicy,
        reports: Arc<impl SnapshotReports>,
    ) -> std::io::Result<Self>
    where
        DataDir<D>: Send + Sync,
    {
        let (commands, inbox) = channel();
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            Worker { dir, policy, writing: None, buffer: Vec::new() }.run(&inbox, &*reports);
        })?;
        Ok(SnapshotThread { commands, thread: Some(thread) })
    }

    /// Queues a command.
    pub fn send(&self, command: SnapshotCommand) {
        let _ = self.commands.send(command);
    }

    /// Ends the thread and waits for it.
    pub fn stop(&mut self) {
        self.send(SnapshotCommand::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writing<D: Disk> {
    head: Box<SnapshotHead>,
    writer: SnapshotWriter<D>,
    began: Instant,
}

struct Worker<D: Disk> {
    dir: Arc<DataDir<D>>,
    policy: SnapshotPolicy,
    writing: Option<Writing<D>>,
    buffer: Vec<u8>,
}

impl<D: Disk> Worker<D> {
    fn run(&mut self, inbox: &Receiver<SnapshotCommand>, reports: &impl SnapshotReports) {
        while let Ok(command) = inbox.recv() {
            let (over, result) = match command {
                SnapshotCommand::Begin(head) => (false, self.begin(head)),
                SnapshotCommand::Chunk(chunk) => {
                    let result = self.chunk(&chunk);
                    drop(chunk);
                    reports.chunk_written();
                    (false, result)
                }
                SnapshotCommand::End => (true, self.end()),
                SnapshotCommand::Stop => return,
            };
            if let Err(error) = result {
                tracing::error!(%error, "the snapshot could not be written; the log still has \
                    everything, and the next snapshot tries again");
                self.writing = None;
            }
            if over {
                self.buffer = Vec::new();
                reports.snapshot_over();
            }
        }
    }

    fn begin(&mut self, head: Box<SnapshotHead>) -> Result<(), DiskError> {
        let disk = self.dir.disk().clone();
        let dir = self.dir.snapshot_dir();
        let mut writer =
            SnapshotWriter::create(disk, dir, head.zxid(), self.policy.compression)?;
        self.buffer.clear();
        head.encode(&mut self.buffer);
        writer.write(&self.buffer)?;
        self.writing = Some(Writing { head, writer, began: Instant::now() });
        Ok(())
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), DiskError> {
        let Some(writing) = &mut self.writing else { return Ok(()) };
        self.buffer.clear();
        chunk.encode(&mut self.buffer);
        writing.writer.write(&self.buffer)
    }

    fn end(&mut self) -> Result<(), DiskError> {
        let Some(Writing { head, mut writer, began }) = self.writing.take() else { return Ok(()) };
        self.buffer.clear();
        head.encode_end(&mut self.buffer);
        writer.write(&self.buffer)?;
        writer.seal()?;
        if self.policy.digest {
            self.buffer.clear();
            head.encode_digest(&mut self.buffer);
            writer.write(&self.buffer)?;
            writer.seal()?;
            // Java takes a zxid section without a digest before it for a broken digest section.
            if self.policy.zxid_section {
                self.buffer.clear();
                head.encode_last_zxid(&mut self.buffer);
                writer.write(&self.buffer)?;
                writer.seal()?;
            }
        }
        writer.finish()?;
        let took: Duration = began.elapsed();
        tracing::debug!(zxid = %head.zxid(), took_ms = took.as_millis() as u64, "snapshot done");
        self.purge()
    }

    fn purge(&self) -> Result<(), DiskError> {
        let Some(retain) = self.policy.retain else { return Ok(()) };
        let removed = self.dir.purge(retain)?;
        if !removed.is_empty() {
            tracing::info!(files = removed.len(), kept = retain, "purged old snapshots and logs");
        }
        Ok(())
    }
}
