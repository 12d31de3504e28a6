//! The log's own thread: group commit.
//!
//! It takes every batch that is waiting, writes them all and syncs once, while the core goes on
//! preparing the next. What it reports as synced is on disk; a failure of any kind is reported once
//! and ends the server before anything unacknowledged is answered.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use oxkeeper_node::Batch;
use oxkeeper_proto::Zxid;
use oxkeeper_storage::{Disk, LogError, TxnLog, frame_entry};

/// How long the log must be idle before its mark of synced bytes is brought up to date.
const IDLE_BEFORE_SETTLE: Duration = Duration::from_millis(200);

/// What the log thread is asked to do, in order.
#[derive(Debug)]
pub enum LogCommand {
    /// Write and sync.
    Append(Batch),
    /// Begin a new file.
    Roll,
    /// Write what is queued and end.
    Stop,
}

/// When a batch is synced (`SyncRequestProcessor`).
#[derive(Debug, Clone, Copy)]
pub struct FlushPolicy {
    /// Sync at the latest this long after the first write of a batch was taken: `flushDelay`. Zero
    /// syncs as soon as nothing more is waiting.
    pub delay: Duration,
    /// Sync at the latest after so many transactions: `maxBatchSize`; 0 for no such bound.
    pub batch_max: usize,
    /// Say so when writing and syncing took longer than this: `fsync.warningthresholdms`.
    pub slow: Duration,
}

/// What the log thread says.
pub trait LogReports: Send + 'static {
    /// Everything up to here is on disk.
    fn synced(&self, zxid: Zxid, took: Duration);
    /// Nothing more will be written.
    fn failed(&self, error: LogError);
}

/// A running log thread.
#[derive(Debug)]
pub struct LogThread {
    commands: Sender<LogCommand>,
    thread: Option<JoinHandle<()>>,
}

impl LogThread {
    /// Starts the thread over an open log.
    pub fn start<D: Disk>(
        log: TxnLog<D>,
        policy: FlushPolicy,
        reports: Arc<impl LogReports + Sync>,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = channel();
        let thread = std::thread::Builder::new().name("txn-log".into()).spawn(move || {
            let mut worker = Worker { log, policy, inbox, frames: Vec::new() };
            if let Err(error) = worker.run(&*reports) {
                reports.failed(error);
            }
        })?;
        Ok(LogThread { commands, thread: Some(thread) })
    }

    /// Queues a command. A thread that failed has said so already.
    pub fn send(&self, command: LogCommand) {
        let _ = self.commands.send(command);
    }

    /// Lets the thread finish what is queued and waits for it.
    pub fn stop(&mut self) {
        self.send(LogCommand::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker<D: Disk> {
    log: TxnLog<D>,
    policy: FlushPolicy,
    inbox: Receiver<LogCommand>,
    frames: Vec<u8>,
}

impl<D: Disk> Worker<D> {
    fn run(&mut self, reports: &impl LogReports) -> Result<(), LogError> {
        loop {
            let first = match self.inbox.recv_timeout(IDLE_BEFORE_SETTLE) {
                Ok(command) => command,
                Err(RecvTimeoutError::Disconnected) => return self.log.settle(),
                Err(RecvTimeoutError::Timeout) => {
                    self.log.settle()?;
                    match self.inbox.recv() {
                        Ok(command) => command,
                        Err(_) => return Ok(()),
                    }
                }
            };
            if !self.turn(first, reports)? {
                return self.log.settle();
            }
        }
    }

    /// Writes all that is queued and syncs once. False if the thread is to end.
    fn turn(&mut self, first: LogCommand, reports: &impl LogReports) -> Result<bool, LogError> {
        let began = Instant::now();
        let before = self.log.last_synced();
        let mut next = Some(first);
        let mut goes_on = true;
        let mut last = None;
        let mut txns = 0;
        self.frames.clear();
        while let Some(command) = next.take() {
            match command {
                LogCommand::Append(batch) => {
                    let mut start = 0;
                    for &end in batch.ends.iter() {
                        frame_entry(&mut self.frames, &batch.payloads[start..end as usize]);
                        start = end as usize;
                    }
                    last = Some(batch.last_zxid);
                    txns += batch.ends.len();
                }
                LogCommand::Roll => {
                    self.write(&mut last)?;
                    self.log.roll()?;
                }
                LogCommand::Stop => {
                    goes_on = false;
                    break;
                }
            }
            let full = self.policy.batch_max > 0 && txns >= self.policy.batch_max;
            if self.frames.len() < FRAMES_BYTES_MAX && !full {
                next = self.next_of_batch(began, txns);
            }
        }
        self.write(&mut last)?;
        let synced = self.log.sync()?;
        if synced > before {
            let took = began.elapsed();
            if took > self.policy.slow {
                tracing::warn!(
                    took_ms = took.as_millis() as u64,
                    "writing and syncing the transaction log took long; clients waited for it"
                );
            }
            reports.synced(synced, took);
        }
        if self.frames.capacity() > 2 * FRAMES_BYTES_MAX {
            self.frames = Vec::new();
        }
        Ok(goes_on)
    }

    /// What else goes into the batch: what is waiting already, and with `flushDelay` what comes.
    fn next_of_batch(&self, began: Instant, txns: usize) -> Option<LogCommand> {
        let left = self.policy.delay.saturating_sub(began.elapsed());
        if left.is_zero() || txns == 0 {
            self.inbox.try_recv().ok()
        } else {
            self.inbox.recv_timeout(left).ok()
        }
    }

    fn write(&mut self, last: &mut Option<Zxid>) -> Result<(), LogError> {
        if let Some(last) = last.take() {
            self.log.write(&self.frames, last)?;
            self.frames.clear();
        }
        Ok(())
    }
}

/// Bytes gathered into one write. Larger writes gain nothing and delay the first of their batches.
const FRAMES_BYTES_MAX: usize = 4 << 20;
