//! The snapshot's own thread: encodes pieces of the tree, writes them, publishes the file, purges
//! what is older.
//!
//! A failure here endangers nothing, the log still has everything; it is said, the remains are
//! removed, and the next snapshot tries again. What does the work is a [`SnapshotWorker`] over any
//! [`Disk`]; the thread is only where the real host runs it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use oxkeeper_storage::{Compression, DataDir, Disk, DiskError, SnapshotWriter};
use oxkeeper_tree::Tree;
use oxkeeper_tree::snapshot::{Chunk, SnapshotHead};
use oxkeeper_zab::wrong::{self, Wrong};

/// What the thread is asked to do, in order.
#[derive(Debug)]
pub enum SnapshotCommand {
    /// Begin a file.
    Begin(Box<SnapshotHead>),
    /// Write a piece.
    Chunk(Chunk),
    /// Seal and publish.
    End,
    /// What was begun is of no use any more: drop it.
    Abandon,
    /// End the thread; an unfinished snapshot is dropped.
    Stop,
}

/// What the thread says.
pub trait SnapshotReports {
    /// One piece is written.
    fn chunk_written(&self);
    /// The snapshot is over, for better or worse.
    fn snapshot_over(&self);
    /// A snapshot was published, so long after it was begun.
    fn snapshot_published(&self, _took: Duration) {}
}

/// How snapshots are written and what happens to old ones.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotPolicy {
    /// The files' compression.
    pub compression: Compression,
    /// Whether the last section with the zxid is written, if the tree has a digest.
    pub zxid_section: bool,
    /// What happens to old ones; `None` keeps all.
    pub purge: Option<PurgePolicy>,
}

/// When old snapshots and the logs that only they need are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgePolicy {
    /// Snapshots kept, at least 3 (`autopurge.snapRetainCount`).
    pub retain: usize,
    /// At the start and then this often (`autopurge.purgeInterval`); `None` after each snapshot.
    pub every: Option<Duration>,
}

/// Lets every other thread go first: clients wait for those, nobody for a snapshot. Linux keeps a
/// niceness per thread; where that is not so, nothing is lost but some milliseconds.
pub(crate) fn step_back() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

/// Low, but not so low that a busy machine never gets a snapshot written.
const NICENESS: i32 = 10;

/// How long the thread rests after a piece of work, in times of what that took. Niceness alone is
/// not enough: the kernel does the copying and writing, and the core walks the tree, at everybody's
/// expense. Resting spreads 0.4 s of it, for a million znodes, over 1.6 s.
const REST_TIMES: u32 = 3;
/// Work after which a rest is worth it.
const REST_AFTER: Duration = Duration::from_millis(1);
/// The longest rest: a slow disk must not make a snapshot take four times as long.
const REST_MAX: Duration = Duration::from_millis(10);

/// Work since the last rest.
#[derive(Debug, Default)]
struct Pace {
    worked: Duration,
}

impl Pace {
    /// Adds a piece of work; returns how long to rest now.
    fn worked(&mut self, took: Duration) -> Duration {
        self.worked += took;
        if self.worked < REST_AFTER {
            return Duration::ZERO;
        }
        (std::mem::take(&mut self.worked) * REST_TIMES).min(REST_MAX)
    }
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
        reports: Arc<impl SnapshotReports + Send + Sync + 'static>,
    ) -> std::io::Result<Self>
    where
        DataDir<D>: Send + Sync,
    {
        let (commands, inbox) = channel();
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            step_back();
            run(SnapshotWorker::new(dir, policy), &inbox, &*reports);
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

fn run<D: Disk>(
    mut worker: SnapshotWorker<D>,
    inbox: &Receiver<SnapshotCommand>,
    reports: &impl SnapshotReports,
) {
    let every = worker.policy.purge.and_then(|purge| purge.every);
    let mut next_purge = every.map(|_| Instant::now());
    let mut pace = Pace::default();
    loop {
        let command = match next_purge {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => inbox.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        match command {
            Ok(SnapshotCommand::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(command) => {
                let began = Instant::now();
                worker.carry_out(command, reports);
                std::thread::sleep(pace.worked(began.elapsed()));
            }
            Err(RecvTimeoutError::Timeout) => {
                worker.purge();
                next_purge = every.map(|every| Instant::now() + every);
            }
        }
    }
}

/// Writes snapshots, one at a time, piece by piece.
#[derive(Debug)]
pub struct SnapshotWorker<D: Disk> {
    dir: Arc<DataDir<D>>,
    policy: SnapshotPolicy,
    writing: Option<Writing<D>>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Writing<D: Disk> {
    head: Box<SnapshotHead>,
    writer: SnapshotWriter<D>,
    began: Instant,
}

impl<D: Disk> SnapshotWorker<D> {
    /// A worker on these directories.
    pub fn new(dir: Arc<DataDir<D>>, policy: SnapshotPolicy) -> Self {
        SnapshotWorker { dir, policy, writing: None, buffer: Vec::new() }
    }

    /// Does what a command says and reports it done. After a failure, which is logged, the rest of
    /// that snapshot is taken and dropped.
    pub fn carry_out(&mut self, command: SnapshotCommand, reports: &impl SnapshotReports) {
        match command {
            SnapshotCommand::Begin(head) => {
                let begun = self.begin(head);
                self.say(begun);
            }
            SnapshotCommand::Chunk(chunk) => {
                let written = self.chunk(&chunk);
                drop(chunk);
                self.say(written);
                reports.chunk_written();
            }
            SnapshotCommand::End => {
                if let Some(Writing { began, .. }) = self.writing {
                    let ended = self.end();
                    if let Ok(true) = ended {
                        reports.snapshot_published(began.elapsed());
                    }
                    self.say(ended.map(drop));
                    if self.policy.purge.is_some_and(|purge| purge.every.is_none()) {
                        self.purge();
                    }
                }
                self.buffer = Vec::new();
                reports.snapshot_over();
            }
            SnapshotCommand::Abandon => {
                self.writing = None;
                self.buffer = Vec::new();
                reports.snapshot_over();
            }
            SnapshotCommand::Stop => self.writing = None,
        }
    }

    /// Writes the whole tree as it is, with nothing going on meanwhile.
    ///
    /// # Errors
    /// If the disk would not take it. What was there before still is.
    pub fn write_now(&mut self, tree: &mut Tree) -> Result<(), DiskError> {
        drop(tree.snapshot_abort());
        let Ok(head) = tree.snapshot_begin() else { return Ok(()) };
        let mut done = self.begin(Box::new(head));
        while let Some(chunk) = tree.snapshot_next(ZNODES_AT_ONCE) {
            done = done.and_then(|()| self.chunk(&chunk));
        }
        let done = done.and_then(|()| self.end()).map(drop);
        self.writing = None;
        self.buffer = Vec::new();
        done
    }

    /// Removes old snapshots and logs as the policy says. A failure is logged: the next purge will
    /// do as well.
    pub fn purge(&mut self) {
        let Some(PurgePolicy { retain, .. }) = self.policy.purge else { return };
        let mut rest = || std::thread::sleep(REST_MAX);
        if let Err(error) = self.dir.purge(retain, &mut rest) {
            tracing::error!(%error, "old snapshots and logs could not be purged; the next \
                purge tries again");
        }
    }

    fn say(&mut self, done: Result<(), DiskError>) {
        if let Err(error) = done {
            tracing::error!(%error, "the snapshot could not be written; the log still has \
                everything, and the next snapshot tries again");
            self.writing = None;
        }
    }

    fn begin(&mut self, head: Box<SnapshotHead>) -> Result<(), DiskError> {
        self.writing = None;
        let disk = self.dir.disk().clone();
        let dir = self.dir.snapshot_dir();
        let zxid = match wrong::is(Wrong::Z3127) {
            true => head.zxid().next(),
            false => head.zxid(),
        };
        let mut writer = SnapshotWriter::create(disk, dir, zxid, self.policy.compression)?;
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

    /// False if the history was replaced since the beginning: then there is no file.
    fn end(&mut self) -> Result<bool, DiskError> {
        let Some(Writing { head, mut writer, began }) = self.writing.take() else {
            return Ok(false);
        };
        self.buffer.clear();
        head.encode_end(&mut self.buffer);
        writer.write(&self.buffer)?;
        writer.seal()?;
        self.buffer.clear();
        if head.encode_digest(&mut self.buffer) {
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
        let published = self.dir.publish(writer.prepare()?, head.lineage())?;
        let (zxid, took_ms) = (head.zxid(), began.elapsed().as_millis() as u64);
        if published.is_none() {
            tracing::info!(%zxid, "dropped a snapshot of a history that was replaced meanwhile");
        }
        tracing::debug!(%zxid, took_ms, "snapshot done");
        Ok(published.is_some())
    }
}

/// Znodes handed over at a time while nothing else waits for the tree.
const ZNODES_AT_ONCE: usize = 4096;
