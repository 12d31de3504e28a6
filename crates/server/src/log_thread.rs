//! The log's own thread: group commit.
//!
//! It takes every batch that is waiting, writes them all and syncs once, while the core goes on
//! preparing the next. What it reports as synced is on disk; a failure of any kind is reported once
//! and ends the server before anything unacknowledged is answered.
//!
//! Clients that wait for each answer come back together: those whose writes one sync made durable
//! ask for the next at about the same time. Syncing the first of them at once would split them for
//! good into groups that wait for each other's syncs. So after a batch of some size the log waits a
//! moment for the others before it syncs again: fewer syncs, and on the whole shorter waits.
//!
//! # Writes that are alone
//! To hand a batch to this thread and to be told of its end is to wake two threads, one after the
//! other. A disk that is quick takes hardly longer than that, and where a write is alone nobody is
//! there who could be served meanwhile. So the core's thread writes such a batch itself
//! ([`LogThread::write_held`]): with the same worker, which is behind a lock, and only if
//! everything that was handed over before is done, so that the order stays what it was.
//!
//! What it costs: a sync that is slow all the same keeps the core's thread. One in 64 can do so at
//! most, because after it the disk has to prove itself again; and a disk that hangs looks to the
//! others like a server that does, which they find out sooner. It is for followers and observers,
//! and for a server without others while it has a single session: of several, all would wait with
//! the one that writes when the disk hangs. A leader is to commit by the others' word while its own
//! disk is slow, and to step down when it is stuck; where the others are quick, its writes that are
//! alone are put off for some milliseconds instead ([`LogThread::put_off`]).
//!
//! In an ensemble the same thread saves the epochs and exchanges the history (module
//! [`crate::member`]): those are writes that must not overtake each other, nor the appends.
//!
//! What does the work is a [`LogWorker`] over any [`Disk`], fed by any [`LogInbox`]; the thread is
//! only where the real host runs it. Tests feed it by hand and move the time themselves.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use oxkeeper_node::Batch;
use oxkeeper_proto::Zxid;
use oxkeeper_storage::{DataDir, Disk, LogError, TxnLog, TxnLogOptions, frame_entry};
pub use oxkeeper_zab::Epochs;
use oxkeeper_zab::wrong::{self, Wrong};
use parking_lot::Mutex;

use crate::boot::BootOptions;
use crate::member::Member;
pub use crate::member::Rebuilt;
use crate::put_off::PutOff;
use crate::snapshot_link::SnapshotSource;

/// How long the log must be idle before its mark of synced bytes is brought up to date. That costs
/// a sync, behind which the next write has to wait: longer than the pauses of a client that writes
/// now and then.
const IDLE_BEFORE_SETTLE: Duration = Duration::from_secs(2);

/// Up to here a disk is quick: two hand-overs between threads, and what may still be in between.
const QUICK: Duration = Duration::from_micros(500);
/// So many quick syncs in a row are to be followed by another. It bounds how often a slow one can
/// meet the core's thread, however often disks are slow.
const QUICK_IN_A_ROW: u32 = 64;

/// Bytes gathered into one write. Larger writes gain nothing and delay the first of their batches.
const FRAMES_BYTES_MAX: usize = 4 << 20;

/// Slow syncs are told of at most this often: a disk that is slow is slow many times a second.
const SLOW_TOLD_EVERY: Duration = Duration::from_secs(10);

/// How often who waits for the thread's end looks whether it can come to one.
const STOP_LOOKS_EVERY: Duration = Duration::from_millis(20);

/// How long to wait for clients to come back after a batch: what a reply and the next request take.
/// Of 20 to 250 µs, 20 to 50 served 64 clients best: a twentieth less CPU per write than none at
/// all, and an eighth more writes.
const GATHER: Duration = Duration::from_micros(30);
/// How many transactions a batch must have had for that. A few clients are faster without.
const GATHER_TXNS_MIN: usize = 4;
/// A batch of this size is worth a sync of its own.
const GATHER_TXNS_MAX: usize = 64;

/// What the log thread is asked to do, in order. Each is reported when it is on disk, and what came
/// before it is on disk then, too.
pub enum LogCommand {
    /// Write and sync.
    Append(Batch),
    /// Begin a new file.
    Roll,
    /// Write both epochs, the accepted one first.
    SaveEpochs(Epochs),
    /// Write down the number that the ensemble is known by.
    SaveEnsembleId(u128),
    /// Forget that the data was lost. The only one that is not reported.
    SaveTrust,
    /// Cut the log behind a transaction, and build a tree from what is left. If the log does not
    /// have that one, it ends before it; if there is no snapshot to go back to, nothing is cut.
    Truncate {
        /// To be reported back.
        generation: u64,
        /// The last transaction to keep.
        to: Zxid,
    },
    /// Take over a leader's snapshot as the whole history. If it does not arrive whole, nothing is
    /// changed and nothing reported.
    ReceiveSnapshot {
        /// To be reported back.
        generation: u64,
        /// The last transaction in it.
        zxid: Zxid,
        /// Where it comes from.
        source: Box<dyn SnapshotSource>,
    },
    /// Build a tree from what is on disk.
    Reload {
        /// To be reported back.
        generation: u64,
    },
    /// Write what is queued and end.
    Stop,
}

impl std::fmt::Debug for LogCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogCommand::Append(batch) => write!(f, "Append(to {})", batch.last_zxid),
            LogCommand::Roll => f.write_str("Roll"),
            LogCommand::SaveEpochs(epochs) => write!(f, "SaveEpochs({epochs:?})"),
            LogCommand::SaveEnsembleId(id) => write!(f, "SaveEnsembleId({id:032x})"),
            LogCommand::SaveTrust => f.write_str("SaveTrust"),
            LogCommand::Truncate { generation, to } => write!(f, "Truncate({generation}, {to})"),
            LogCommand::ReceiveSnapshot { generation, zxid, .. } => {
                write!(f, "ReceiveSnapshot({generation}, {zxid})")
            }
            LogCommand::Reload { generation } => write!(f, "Reload({generation})"),
            LogCommand::Stop => f.write_str("Stop"),
        }
    }
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
pub trait LogReports {
    /// Everything up to here is on disk.
    fn synced(&self, zxid: Zxid, took: Duration);
    /// One sync made so many transactions durable: for whoever counts.
    fn batched(&self, _txns: usize) {}
    /// Both epochs are on disk.
    fn epochs_saved(&self, epochs: Epochs);
    /// The ensemble's number is on disk.
    fn ensemble_id_saved(&self, id: u128);
    /// The history was exchanged or read anew. What was reported as synced before is over.
    fn rebuilt(&self, rebuilt: Rebuilt);
    /// Nothing more will be written. What is not yet reported as synced must not be answered.
    fn failed(&self, error: LogError);
}

/// Where a worker's commands come from, and what it takes for the time.
pub trait LogInbox {
    /// Time since an arbitrary start.
    fn now(&self) -> Duration;

    /// The next command if there is one, or if one comes within `wait`.
    fn next(&mut self, wait: Duration) -> Option<LogCommand>;

    /// Lets commands come in for a while.
    fn pause(&self, time: Duration);
}

/// A running log thread.
#[derive(Debug)]
pub struct LogThread {
    commands: Sender<LogCommand>,
    thread: Option<JoinHandle<()>>,
    /// Whether it waits for a leader, and not for a disk.
    receiving: Arc<AtomicBool>,
    /// Says nothing, and ends with the thread.
    ended: Receiver<()>,
    /// The worker, for batches that are written by who owns this.
    desk: Arc<dyn Desk>,
    /// Commands given to the thread.
    handed_over: Cell<u64>,
    /// The last of them was no batch: what the next one meets is not the usual.
    unusual: Cell<bool>,
    /// A batch that is alone, behind all that was handed over.
    held: RefCell<Option<Batch>>,
    /// A leader's batches that are not urgent, behind all that was handed over.
    put_off: RefCell<PutOff>,
}

/// Where the worker is, for whoever is to write.
trait Desk: std::fmt::Debug + Send + Sync {
    /// Whether the disk has been quick lately, and the thread has done so many commands.
    fn is_ready(&self, handed_over: u64) -> bool;
    /// Writes and syncs a batch, and reports; gives it back if that cannot be done here and now.
    fn write(&self, batch: Batch) -> Result<(), Batch>;
}

/// The worker behind its lock.
struct Shared<D: Disk, R> {
    worker: Mutex<LogWorker<D>>,
    reports: Arc<R>,
    /// Commands that the thread has done.
    done: AtomicU64,
    /// The disk has been quick lately.
    quick: AtomicBool,
    /// Something was written that the thread knows nothing of.
    written: AtomicBool,
}

impl<D: Disk, R> std::fmt::Debug for Shared<D, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl<D: Disk, R: LogReports + Send + Sync> Desk for Shared<D, R>
where
    LogWorker<D>: Send,
{
    fn is_ready(&self, handed_over: u64) -> bool {
        self.quick.load(Ordering::Relaxed) && self.done.load(Ordering::Acquire) == handed_over
    }

    fn write(&self, batch: Batch) -> Result<(), Batch> {
        // Taken while the thread settles the log.
        let Some(mut worker) = self.worker.try_lock() else { return Err(batch) };
        let written = worker.turn(LogCommand::Append(batch), &mut Nothing::new(), &*self.reports);
        self.quick.store(worker.quickness.is_quick(), Ordering::Relaxed);
        self.written.store(true, Ordering::Relaxed);
        if let Err(error) = written {
            self.reports.failed(error);
        }
        Ok(())
    }
}

impl LogThread {
    /// Starts the thread over an open log.
    pub fn start<D: Disk>(
        log: TxnLog<D>,
        policy: FlushPolicy,
        reports: Arc<impl LogReports + Send + Sync + 'static>,
    ) -> std::io::Result<Self>
    where
        LogWorker<D>: Send,
    {
        LogThread::run(LogWorker::new(log, policy), reports)
    }

    /// Starts the thread with a worker, which may be a member's.
    pub fn run<D: Disk>(
        mut worker: LogWorker<D>,
        reports: Arc<impl LogReports + Send + Sync + 'static>,
    ) -> std::io::Result<Self>
    where
        LogWorker<D>: Send,
    {
        if let Some(member) = &mut worker.member {
            member.steps_aside = true;
        }
        let (commands, inbox) = channel();
        let (over, ended) = channel();
        let receiving = worker.member.as_ref().map(|member| Arc::clone(&member.receiving));
        let receiving = receiving.unwrap_or_default();
        let shared = Arc::new(Shared {
            worker: Mutex::new(worker),
            reports,
            done: AtomicU64::new(0),
            quick: AtomicBool::new(false),
            written: AtomicBool::new(false),
        });
        let desk: Arc<dyn Desk> = shared.clone();
        let thread = std::thread::Builder::new().name("txn-log".into()).spawn(move || {
            let _over: Sender<()> = over;
            let mut ending = Ending { reports: &*shared.reports, error: LogError::AfterFailure };
            match run(&shared, inbox) {
                Ok(()) => std::mem::forget(ending),
                Err(error) => ending.error = error,
            }
        })?;
        Ok(LogThread {
            commands,
            thread: Some(thread),
            receiving,
            ended,
            desk,
            handed_over: Cell::new(0),
            unusual: Cell::new(true),
            held: RefCell::default(),
            put_off: RefCell::default(),
        })
    }

    /// Queues a command. A thread that failed has said so already.
    pub fn send(&self, command: LogCommand) {
        // Both is never there: what is put off is handed over before anything is held.
        let before = self.put_off.borrow_mut().take().or_else(|| self.held.take());
        if let Some(batch) = before {
            self.hand_over(LogCommand::Append(batch));
        }
        self.hand_over(command);
    }

    fn hand_over(&self, command: LogCommand) {
        self.handed_over.set(self.handed_over.get() + 1);
        self.unusual.set(!matches!(command, LogCommand::Append(_)));
        let _ = self.commands.send(command);
    }

    /// Queues a batch that is alone: nobody has to be served while it is written, as far as is
    /// known. If the thread has nothing to do and the disk is quick, the batch is kept for
    /// [`LogThread::write_held`], which has to follow, or for the next command.
    pub fn hold(&self, batch: Batch) {
        let usual = !self.unusual.get() && batch.ends.len() == 1;
        let first = self.held.borrow().is_none() && self.put_off.borrow().is_empty();
        if usual && first && self.desk.is_ready(self.handed_over.get()) {
            self.held.replace(Some(batch));
        } else {
            self.send(LogCommand::Append(batch));
        }
    }

    /// Whether a batch is kept.
    pub fn holds(&self) -> bool {
        self.held.borrow().is_some()
    }

    /// Writes what is kept, `here` and now or else by the thread. True if it was done here: then it
    /// is on disk and reported, or the failure is.
    pub fn write_held(&self, here: bool) -> bool {
        let Some(batch) = self.held.take() else { return false };
        let left = if here { self.desk.write(batch).err() } else { Some(batch) };
        let Some(batch) = left else { return true };
        self.hand_over(LogCommand::Append(batch));
        false
    }

    /// Queues a batch of a leader whose others can commit without it, some milliseconds later: see
    /// the module `put_off`. `committed` is the last transaction that is. The host asks
    /// [`LogThread::hand_over_due`] after each turn and when it has said to.
    pub fn put_off(&self, now_us: u64, committed: Zxid, batch: Batch) {
        if self.held.borrow().is_some() {
            return self.send(LogCommand::Append(batch));
        }
        let put_off = self.put_off.borrow_mut().add(now_us, committed, batch);
        if let Err(batch) = put_off {
            self.send(LogCommand::Append(batch));
        }
    }

    /// Whether anything is put off.
    pub fn puts_off(&self) -> bool {
        !self.put_off.borrow().is_empty()
    }

    /// Hands over what is put off, if it is due; all of it is as soon as the others do not suffice
    /// to commit it any more. Returns when it will be, if anything is left.
    pub fn hand_over_due(&self, now_us: u64, committed: Zxid, others_suffice: bool) -> Option<u64> {
        let mut put_off = self.put_off.borrow_mut();
        let due = match others_suffice {
            true => put_off.take_due(now_us, committed),
            false => put_off.take(),
        };
        if let Some(batch) = due {
            self.hand_over(LogCommand::Append(batch));
        }
        put_off.due_us(committed)
    }

    /// Lets the thread finish what is queued and waits for it. One that is receiving a snapshot has
    /// written everything before, and may be left waiting for a leader for ever.
    pub fn stop(&mut self) {
        self.send(LogCommand::Stop);
        let Some(thread) = self.thread.take() else { return };
        while let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(STOP_LOOKS_EVERY) {
            if self.receiving.load(Ordering::Acquire) {
                return;
            }
        }
        let _ = thread.join();
    }
}

/// Reports a failure when the thread ends in whatever way, a panic included: a server whose log
/// has gone must not go on.
struct Ending<'a, R: LogReports> {
    reports: &'a R,
    error: LogError,
}

impl<R: LogReports> Drop for Ending<'_, R> {
    fn drop(&mut self) {
        self.reports.failed(std::mem::replace(&mut self.error, LogError::AfterFailure));
    }
}

/// Takes commands until told to stop. An idle log is settled.
fn run<D: Disk, R: LogReports>(
    shared: &Shared<D, R>,
    inbox: Receiver<LogCommand>,
) -> Result<(), LogError> {
    let mut channel = Channel { inbox, taken: 0, began: Instant::now() };
    // A pause of microseconds is not to be stretched by the 50 that Linux takes as near enough.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
    loop {
        let first = match channel.inbox.recv_timeout(IDLE_BEFORE_SETTLE) {
            Ok(command) => command,
            Err(RecvTimeoutError::Disconnected) => return shared.worker.lock().settle(),
            Err(RecvTimeoutError::Timeout) => {
                if !shared.written.swap(false, Ordering::Relaxed) {
                    shared.worker.lock().settle()?;
                }
                continue;
            }
        };
        channel.taken += 1;
        let mut worker = shared.worker.lock();
        let goes_on = worker.turn(first, &mut channel, &*shared.reports)?;
        shared.quick.store(worker.quickness.is_quick(), Ordering::Relaxed);
        drop(worker);
        // Last: who sees this finds the worker free.
        shared.done.store(channel.taken, Ordering::Release);
        if !goes_on {
            return Ok(());
        }
    }
}

/// Whether a disk has been quick.
#[derive(Debug, Clone, Copy)]
struct Quickness {
    in_a_row: u32,
    /// A sync that takes no longer is quick.
    bound: Duration,
}

impl Quickness {
    fn new(bound: Duration) -> Quickness {
        Quickness { in_a_row: 0, bound }
    }

    fn note(&mut self, took: Duration) {
        self.in_a_row = if took <= self.bound { self.in_a_row.saturating_add(1) } else { 0 };
    }

    fn is_quick(self) -> bool {
        self.in_a_row >= QUICK_IN_A_ROW
    }
}

/// The inbox of a batch that is alone.
struct Nothing {
    began: Instant,
}

impl Nothing {
    fn new() -> Nothing {
        Nothing { began: Instant::now() }
    }
}

impl LogInbox for Nothing {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn next(&mut self, _: Duration) -> Option<LogCommand> {
        None
    }

    fn pause(&self, _: Duration) {}
}

/// The real inbox.
struct Channel {
    inbox: Receiver<LogCommand>,
    /// Commands that came out of it.
    taken: u64,
    began: Instant,
}

impl LogInbox for Channel {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn next(&mut self, wait: Duration) -> Option<LogCommand> {
        let command = match wait.is_zero() {
            true => self.inbox.try_recv().ok(),
            false => self.inbox.recv_timeout(wait).ok(),
        };
        self.taken += u64::from(command.is_some());
        command
    }

    fn pause(&self, time: Duration) {
        // Not woken by what comes in: being woken for each is what this spares.
        std::thread::sleep(time);
    }
}

/// Writes and syncs what it is given.
pub struct LogWorker<D: Disk> {
    log: TxnLog<D>,
    /// What only a member of an ensemble has.
    member: Option<Box<Member<D>>>,
    policy: FlushPolicy,
    frames: Vec<u8>,
    /// Transactions of the batch before.
    txns_before: usize,
    slow: SlowSyncs,
    quickness: Quickness,
}

impl<D: Disk> std::fmt::Debug for LogWorker<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogWorker(synced {})", self.log.last_synced())
    }
}

impl<D: Disk> LogWorker<D> {
    /// A worker over an open log: a standalone server's.
    pub fn new(log: TxnLog<D>, policy: FlushPolicy) -> Self {
        LogWorker {
            log,
            member: None,
            policy,
            frames: Vec::new(),
            txns_before: 0,
            slow: SlowSyncs::default(),
            quickness: Quickness::new(QUICK),
        }
    }

    /// The worker of a member of an ensemble, whose log goes on behind `last`. `boot` says how the
    /// directories are read when they have to be read again.
    pub fn member(
        dir: Arc<DataDir<D>>,
        boot: BootOptions,
        log: TxnLogOptions,
        last: Zxid,
        policy: FlushPolicy,
    ) -> Self {
        let (ready, receiving) = (false, Arc::default());
        let member = Member { dir, options: boot, log, ready, receiving, steps_aside: false };
        let log = member.log_behind(last);
        LogWorker { member: Some(Box::new(member)), ..LogWorker::new(log, policy) }
    }

    /// Writes `first` and all that belongs to its batch, syncs once and reports how far the log is
    /// on disk. False if the worker was told to stop; the log is settled then.
    ///
    /// # Errors
    /// If anything could not be written or synced. The worker is of no further use.
    pub fn turn(
        &mut self,
        first: LogCommand,
        inbox: &mut impl LogInbox,
        reports: &impl LogReports,
    ) -> Result<bool, LogError> {
        let before = self.log.last_synced();
        let due = inbox.now() + self.policy.delay;
        let mut next = Some(first);
        let mut then = None;
        let mut last = None;
        let mut txns = 0;
        let mut gathered = false;
        self.frames.clear();
        while let Some(command) = next.take() {
            match command {
                LogCommand::Append(batch) => {
                    if let Some(member) = &mut self.member {
                        member.make_ready()?;
                    }
                    self.frame(&batch);
                    last = Some(batch.last_zxid);
                    txns += batch.ends.len();
                }
                LogCommand::Roll => {
                    self.write(&mut last)?;
                    self.log.roll()?;
                }
                other => {
                    then = Some(other);
                    break;
                }
            }
            let full = self.policy.batch_max > 0 && txns >= self.policy.batch_max;
            if self.frames.len() < FRAMES_BYTES_MAX && !full {
                next = self.rest_of_batch(inbox, due, txns);
                if next.is_none() && !gathered && self.others_will_come(txns) {
                    gathered = true;
                    inbox.pause(GATHER);
                    next = inbox.next(Duration::ZERO);
                }
            }
        }
        self.txns_before = txns;
        let began = inbox.now();
        self.write(&mut last)?;
        let synced = self.log.sync()?;
        if synced > before {
            let now = inbox.now();
            let took = now.saturating_sub(began);
            self.slow.note(now, took, self.policy.slow);
            // Whoever is told to wait for more is not hurried, however quick the disk.
            if self.policy.delay.is_zero() {
                self.quickness.note(took);
            }
            reports.batched(txns);
            reports.synced(synced, took);
        }
        if self.frames.capacity() > 2 * FRAMES_BYTES_MAX {
            self.frames = Vec::new();
        }
        then.map_or(Ok(true), |command| self.carry_out(command, reports))
    }

    /// Does what is no append, when everything before it is on disk. False for a stop.
    fn carry_out(
        &mut self,
        command: LogCommand,
        reports: &impl LogReports,
    ) -> Result<bool, LogError> {
        if let LogCommand::Stop = command {
            self.settle()?;
            return Ok(false);
        }
        let Some(member) = &mut self.member else {
            let what = format!("{command:?} is for members of ensembles");
            return Err(LogError::Member(what.into()));
        };
        let (tree, disk) = match command {
            LogCommand::SaveEpochs(epochs) => {
                member.save_epochs(epochs)?;
                reports.epochs_saved(epochs);
                return Ok(true);
            }
            LogCommand::SaveEnsembleId(id) => {
                member.save_ensemble_id(id)?;
                reports.ensemble_id_saved(id);
                return Ok(true);
            }
            LogCommand::SaveTrust => {
                member.save_trust()?;
                return Ok(true);
            }
            LogCommand::Truncate { generation, to } => {
                self.log.settle()?;
                let tree = member.truncate(to)?;
                let last = match wrong::is(Wrong::Z3701) {
                    true => to,
                    false => tree.last_zxid(),
                };
                (tree, oxkeeper_zab::Disk::Truncated { generation, last })
            }
            LogCommand::ReceiveSnapshot { generation, zxid, source } => {
                self.log.settle()?;
                let Some(tree) = member.receive(zxid, source)? else { return Ok(true) };
                (tree, oxkeeper_zab::Disk::SnapshotInstalled { generation })
            }
            LogCommand::Reload { generation } => {
                self.log.settle()?;
                let tree = member.reload()?;
                let last = tree.last_zxid();
                (tree, oxkeeper_zab::Disk::Reloaded { generation, last })
            }
            LogCommand::Append(_) | LogCommand::Roll | LogCommand::Stop => return Ok(true),
        };
        self.log = member.log_behind(tree.last_zxid());
        reports.rebuilt(Rebuilt { disk, tree: Box::new(tree) });
        Ok(true)
    }

    /// Brings the log's mark up to date: to be called when it falls idle.
    ///
    /// # Errors
    /// As [`LogWorker::turn`].
    pub fn settle(&mut self) -> Result<(), LogError> {
        self.log.settle()
    }

    /// What else goes into the batch: what is waiting already, and with `flushDelay` what comes
    /// until it is due.
    fn rest_of_batch(
        &self,
        inbox: &mut impl LogInbox,
        due: Duration,
        txns: usize,
    ) -> Option<LogCommand> {
        if self.policy.delay.is_zero() || txns == 0 {
            return inbox.next(Duration::ZERO);
        }
        let left = due.saturating_sub(inbox.now());
        if left.is_zero() { None } else { inbox.next(left) }
    }

    /// Whether the clients of the batch before are likely to ask again right now.
    fn others_will_come(&self, txns: usize) -> bool {
        self.txns_before >= GATHER_TXNS_MIN && (1..GATHER_TXNS_MAX).contains(&txns)
    }

    fn frame(&mut self, batch: &Batch) {
        let mut start = 0;
        for &end in batch.ends.iter() {
            frame_entry(&mut self.frames, &batch.payloads[start..end as usize]);
            start = end as usize;
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

/// Tells an operator of slow syncs without drowning the log in them.
#[derive(Debug, Default)]
struct SlowSyncs {
    told: Option<Duration>,
    untold: u64,
}

impl SlowSyncs {
    /// Takes note of one sync; says so if it was slow and the last telling is long enough ago.
    /// Returns whether it said something.
    fn note(&mut self, now: Duration, took: Duration, slow: Duration) -> bool {
        if took <= slow {
            return false;
        }
        if self.told.is_some_and(|told| now.saturating_sub(told) < SLOW_TOLD_EVERY) {
            self.untold += 1;
            return false;
        }
        let took_ms = took.as_millis() as u64;
        let others = std::mem::take(&mut self.untold);
        self.told = Some(now);
        tracing::warn!(
            took_ms,
            others,
            "writing and syncing the transaction log took long; clients waited for it"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::path::Path;

    use oxkeeper_storage::SimDisk;
    use oxkeeper_storage::sim_disk::Fault;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Commands with the moments at which they arrive; waiting moves the time.
    #[derive(Default)]
    struct Script {
        now: Cell<Duration>,
        commands: VecDeque<(Duration, LogCommand)>,
    }

    impl Script {
        fn at(mut self, ms: u32, command: LogCommand) -> Script {
            self.commands.push_back((ms * MS, command));
            self
        }
    }

    impl LogInbox for Script {
        fn now(&self) -> Duration {
            self.now.get()
        }

        fn next(&mut self, wait: Duration) -> Option<LogCommand> {
            let until = self.now.get() + wait;
            match self.commands.front() {
                Some((at, _)) if *at <= until => {
                    let (at, command) = self.commands.pop_front()?;
                    self.now.set(self.now.get().max(at));
                    Some(command)
                }
                _ => {
                    self.now.set(until);
                    None
                }
            }
        }

        fn pause(&self, time: Duration) {
            self.now.set(self.now.get() + time);
        }
    }

    #[derive(Default)]
    struct Heard {
        synced: RefCell<Vec<i64>>,
        failed: RefCell<Vec<String>>,
    }

    impl LogReports for Heard {
        fn synced(&self, zxid: Zxid, _: Duration) {
            self.synced.borrow_mut().push(zxid.0);
        }

        fn epochs_saved(&self, epochs: Epochs) {
            unreachable!("a standalone server has no {epochs:?}");
        }

        fn ensemble_id_saved(&self, _: u128) {}

        fn rebuilt(&self, rebuilt: Rebuilt) {
            unreachable!("a standalone server keeps its history: {:?}", rebuilt.disk);
        }

        fn failed(&self, error: LogError) {
            self.failed.borrow_mut().push(error.to_string());
        }
    }

    /// Transactions `first..=last`, as few bytes as the log takes for one.
    fn batch(first: i64, last: i64) -> LogCommand {
        let mut payloads = Vec::new();
        let mut ends = Vec::new();
        for zxid in first..=last {
            let mut payload = [0; 32];
            payload[12..20].copy_from_slice(&zxid.to_be_bytes());
            payloads.extend(payload);
            ends.push(payloads.len() as u32);
        }
        LogCommand::Append(Batch {
            payloads: payloads.into(),
            ends: ends.into(),
            last_zxid: Zxid(last),
        })
    }

    fn worker(policy: FlushPolicy) -> (SimDisk, LogWorker<SimDisk>) {
        let disk = SimDisk::new();
        let dir = Path::new("/log");
        oxkeeper_storage::Disk::create_dir(&disk, dir).unwrap();
        let options = TxnLogOptions { prealloc_bytes: 64 << 10, ..TxnLogOptions::default() };
        let log = TxnLog::new(disk.clone(), dir.into(), options, Zxid(0));
        (disk, LogWorker::new(log, policy))
    }

    const AT_ONCE: FlushPolicy =
        FlushPolicy { delay: Duration::ZERO, batch_max: 1000, slow: Duration::from_secs(1) };

    /// Runs a script to its end; the moments at which something was reported as synced, and what.
    fn run_script(
        worker: &mut LogWorker<SimDisk>,
        mut script: Script,
    ) -> Result<Vec<(u128, i64)>, LogError> {
        let heard = Heard::default();
        let mut syncs = Vec::new();
        while let Some(first) = script.next(Duration::from_secs(3600)) {
            let goes_on = worker.turn(first, &mut script, &heard)?;
            let synced = heard.synced.borrow_mut().drain(..).next_back();
            syncs.extend(synced.map(|zxid| (script.now().as_millis(), zxid)));
            if !goes_on {
                break;
            }
        }
        Ok(syncs)
    }

    #[test]
    fn what_is_waiting_shares_one_sync() {
        let (disk, mut worker) = worker(AT_ONCE);
        let script = Script::default().at(0, batch(1, 1)).at(5, batch(2, 2));
        run_script(&mut worker, script).unwrap();
        let before = disk.operations();
        let mut script = Script::default();
        for zxid in 3..=50 {
            script = script.at(10, batch(zxid, zxid));
        }
        assert_eq!(run_script(&mut worker, script).unwrap(), [(10, 50)]);
        assert!(disk.operations() - before <= 3, "one write and one sync, perhaps zeros ahead");
    }

    #[test]
    fn a_batch_waits_for_its_delay_and_no_longer() {
        let (_, mut worker) = worker(FlushPolicy { delay: 20 * MS, ..AT_ONCE });
        let mut script = Script::default();
        for n in 0..30 {
            script = script.at(7 * n as u32, batch(n + 1, n + 1));
        }
        let syncs = run_script(&mut worker, script).unwrap();
        // Taken at 0, 7 and 14; the next batch begins with the one of 21.
        assert_eq!(syncs[..3], [(20, 3), (41, 6), (62, 9)]);
        assert_eq!(syncs.last().map(|sync| sync.1), Some(30));
    }

    #[test]
    fn clients_that_come_back_together_share_the_next_sync_too() {
        let (disk, mut worker) = worker(AT_ONCE);
        let heard = Heard::default();
        let mut four = Script::default();
        (2..=4).for_each(|zxid| four.commands.push_back((Duration::ZERO, batch(zxid, zxid))));
        worker.turn(batch(1, 1), &mut four, &heard).unwrap();
        let mut back = Script::default();
        for zxid in 6..=8 {
            back.commands.push_back((GATHER / 2, batch(zxid, zxid)));
        }
        worker.turn(batch(5, 5), &mut back, &heard).unwrap();
        assert_eq!(*heard.synced.borrow(), [4, 8]);
        // One client alone waits for the others once, and not again.
        let mut alone = Script::default();
        worker.turn(batch(9, 9), &mut alone, &heard).unwrap();
        let mut again = Script::default();
        worker.turn(batch(10, 10), &mut again, &heard).unwrap();
        assert_eq!((alone.now(), again.now()), (GATHER, Duration::ZERO));
        drop(disk);
    }

    #[test]
    fn a_full_batch_waits_for_nothing() {
        let (_, mut worker) = worker(FlushPolicy { delay: 1000 * MS, batch_max: 4, ..AT_ONCE });
        let script = Script::default()
            .at(1, batch(1, 3))
            .at(2, batch(4, 4))
            .at(2, batch(5, 9))
            .at(3, batch(10, 10));
        assert_eq!(run_script(&mut worker, script).unwrap(), [(2, 4), (2, 9), (1003, 10)]);
    }

    #[test]
    fn a_stop_writes_what_came_before_and_settles() {
        let (disk, mut worker) = worker(FlushPolicy { delay: 1000 * MS, ..AT_ONCE });
        let script = Script::default().at(0, batch(1, 2)).at(1, LogCommand::Stop);
        assert_eq!(run_script(&mut worker, script).unwrap(), [(1, 2)]);
        let after = disk.operations();
        worker.settle().unwrap();
        assert_eq!(disk.operations(), after, "it was settled already");
    }

    #[test]
    fn a_new_file_begins_behind_what_was_queued_before_it() {
        let (disk, mut worker) = worker(AT_ONCE);
        let script =
            Script::default().at(0, batch(1, 2)).at(0, LogCommand::Roll).at(0, batch(3, 3));
        assert_eq!(run_script(&mut worker, script).unwrap(), [(0, 3)]);
        let mut names = disk.list(Path::new("/log")).unwrap();
        names.sort();
        assert_eq!(names, ["log.1", "log.3"]);
    }

    #[test]
    fn nothing_is_reported_as_synced_after_a_failure() {
        for fault in [Fault::Io, Fault::NoSpace] {
            for at in 1..=7 {
                let (disk, mut worker) = worker(AT_ONCE);
                disk.fail_at(at, fault);
                let heard = Heard::default();
                let mut failed = false;
                for zxid in 1..=4 {
                    let done = worker.turn(batch(zxid, zxid), &mut Script::default(), &heard);
                    failed |= done.is_err();
                    let told = heard.synced.borrow().last().copied().unwrap_or(0);
                    assert!(!failed || told < zxid, "{fault:?} at {at}: {told} was promised");
                }
                assert!(failed || fault == Fault::NoSpace, "{fault:?} at {at} went unnoticed");
            }
        }
    }

    /// Reports that cross threads.
    #[derive(Default)]
    struct Told(std::sync::Mutex<Vec<String>>);

    impl LogReports for Told {
        fn synced(&self, zxid: Zxid, _: Duration) {
            self.0.lock().unwrap().push(format!("synced {zxid}"));
        }

        fn epochs_saved(&self, epochs: Epochs) {
            unreachable!("a standalone server has no {epochs:?}");
        }

        fn ensemble_id_saved(&self, _: u128) {}

        fn rebuilt(&self, rebuilt: Rebuilt) {
            unreachable!("a standalone server keeps its history: {:?}", rebuilt.disk);
        }

        fn failed(&self, error: LogError) {
            self.0.lock().unwrap().push(format!("failed: {error}"));
        }
    }

    #[test]
    fn the_thread_says_once_that_it_failed_and_stops_taking() {
        let (disk, worker) = worker(AT_ONCE);
        let told = Arc::new(Told::default());
        let mut thread = LogThread::start(worker.log, AT_ONCE, Arc::clone(&told)).unwrap();
        disk.fail_at(1, Fault::NoSpace);
        thread.send(batch(1, 1));
        thread.send(batch(2, 2));
        thread.stop();
        let told = told.0.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("failed: the disk is full"), "{told:?}");
    }

    #[test]
    fn a_thread_that_stops_has_synced_everything_and_settled() {
        let (disk, worker) = worker(AT_ONCE);
        let told = Arc::new(Told::default());
        let mut thread = LogThread::start(worker.log, AT_ONCE, Arc::clone(&told)).unwrap();
        (1..=9).for_each(|zxid| thread.send(batch(zxid, zxid)));
        thread.stop();
        assert_eq!(told.0.lock().unwrap().last().unwrap(), &format!("synced {}", Zxid(9)));
        let on_disk = disk.crash(1).bytes(Path::new("/log/log.1"));
        assert!(on_disk.len() > 9 * 45 && on_disk == disk.bytes(Path::new("/log/log.1")));
    }

    /// Reports, one after the other, to whoever waits for them.
    struct Line(Mutex<Sender<i64>>);

    impl LogReports for Line {
        fn synced(&self, zxid: Zxid, _: Duration) {
            self.0.lock().send(zxid.0).unwrap();
        }

        fn epochs_saved(&self, epochs: Epochs) {
            unreachable!("a standalone server has no {epochs:?}");
        }

        fn ensemble_id_saved(&self, _: u128) {}

        fn rebuilt(&self, rebuilt: Rebuilt) {
            unreachable!("a standalone server keeps its history: {:?}", rebuilt.disk);
        }

        fn failed(&self, _: LogError) {
            self.0.lock().send(-1).unwrap();
        }
    }

    /// A log thread whose disk has proved quick, with the zxids that it reports. Its log ends with
    /// [`PROVED`].
    fn quick_thread() -> (SimDisk, LogThread, Receiver<i64>) {
        let (disk, mut worker) = worker(AT_ONCE);
        // However long the system lets it wait.
        worker.quickness = Quickness::new(Duration::MAX);
        let (line, reported) = channel();
        let thread = LogThread::run(worker, Arc::new(Line(Mutex::new(line)))).unwrap();
        for zxid in 1..=PROVED {
            thread.send(batch(zxid, zxid));
            assert_eq!(reported.recv(), Ok(zxid));
        }
        (disk, thread, reported)
    }

    const PROVED: i64 = QUICK_IN_A_ROW as i64;

    fn alone(zxid: i64) -> Batch {
        match batch(zxid, zxid) {
            LogCommand::Append(batch) => batch,
            other => unreachable!("{other:?}"),
        }
    }

    /// Holds a batch; the thread may need a moment after its last report.
    fn hold(thread: &LogThread, zxid: i64) {
        while !thread.desk.is_ready(thread.handed_over.get()) {
            std::thread::yield_now();
        }
        thread.hold(alone(zxid));
        assert!(thread.holds());
    }

    #[test]
    fn what_is_alone_is_on_disk_when_it_is_written_here() {
        let (disk, mut thread, reported) = quick_thread();
        hold(&thread, PROVED + 1);
        assert!(reported.try_recv().is_err(), "nothing was written yet");
        assert!(thread.write_held(true) && !thread.holds());
        assert_eq!(reported.try_recv(), Ok(PROVED + 1), "reported before the call returned");
        let on_disk = disk.crash(1).bytes(Path::new("/log/log.1"));
        let zxid = (PROVED + 1).to_be_bytes();
        assert!(on_disk.windows(8).any(|bytes| bytes == zxid), "a power cut has taken it");
        // The thread goes on behind it.
        thread.send(batch(PROVED + 2, PROVED + 2));
        assert_eq!(reported.recv(), Ok(PROVED + 2));
        thread.stop();
    }

    #[test]
    fn a_failure_here_is_a_failure_of_the_log() {
        let (disk, mut thread, reported) = quick_thread();
        hold(&thread, PROVED + 1);
        disk.fail_at(disk.operations() + 1, Fault::Io);
        assert!(thread.write_held(true));
        thread.hold(alone(PROVED + 2));
        thread.write_held(true);
        thread.stop();
        assert!(reported.try_iter().all(|zxid| zxid == -1), "nothing is synced after a failure");
    }

    #[test]
    fn nothing_overtakes_what_is_held_and_nothing_is_held_back() {
        let (disk, mut thread, reported) = quick_thread();
        hold(&thread, PROVED + 1);
        thread.send(LogCommand::Roll);
        assert!(!thread.holds(), "a new file begins behind it");
        thread.hold(alone(PROVED + 2));
        assert!(!thread.holds(), "the first batch of a file takes longer than others");
        thread.hold(alone(PROVED + 3));
        assert!(!thread.write_held(false));
        thread.stop();
        assert_eq!(reported.try_iter().last(), Some(PROVED + 3));
        let mut names = disk.list(Path::new("/log")).unwrap();
        names.sort();
        assert_eq!(names, ["log.1".to_string(), format!("log.{:x}", PROVED + 2)]);
    }

    #[test]
    fn what_a_leader_puts_off_is_written_before_anything_else_and_when_it_is_due() {
        let (disk, mut thread, reported) = quick_thread();
        let committed = |zxid| Zxid(PROVED + zxid);
        thread.put_off(0, committed(0), alone(PROVED + 1));
        thread.put_off(400, committed(1), alone(PROVED + 2));
        let due_us = thread.hand_over_due(800, committed(2), true).unwrap();
        assert!(reported.try_recv().is_err(), "nothing was handed over yet");
        assert_eq!(thread.hand_over_due(due_us, committed(2), true), None);
        assert_eq!(reported.recv(), Ok(PROVED + 2), "both at once");
        thread.put_off(30_000, committed(2), alone(PROVED + 3));
        thread.send(LogCommand::Roll);
        // The role is another's now.
        thread.put_off(40_000, committed(3), alone(PROVED + 4));
        thread.hold(alone(PROVED + 5));
        assert!(!thread.holds(), "it would have overtaken");
        thread.put_off(50_000, committed(5), alone(PROVED + 6));
        thread.stop();
        assert_eq!(reported.try_iter().last(), Some(PROVED + 6));
        let mut names = disk.list(Path::new("/log")).unwrap();
        names.sort();
        assert_eq!(names, ["log.1".to_string(), format!("log.{:x}", PROVED + 4)]);
    }

    #[test]
    fn what_is_held_and_what_is_put_off_do_not_overtake_each_other() {
        let (_disk, mut thread, reported) = quick_thread();
        let committed = |zxid| Zxid(PROVED + zxid);
        // It follows, and leads then.
        hold(&thread, PROVED + 1);
        thread.put_off(0, committed(0), alone(PROVED + 2));
        assert!(!thread.holds() && !thread.puts_off());
        while reported.recv() != Ok(PROVED + 2) {}
        while !thread.desk.is_ready(thread.handed_over.get()) {
            std::thread::yield_now();
        }
        // It leads, and follows then.
        thread.put_off(400, committed(2), alone(PROVED + 3));
        assert!(thread.puts_off());
        thread.hold(alone(PROVED + 4));
        assert!(!thread.holds() && !thread.puts_off());
        thread.stop();
        assert_eq!(reported.try_iter().last(), Some(PROVED + 4));
    }

    #[test]
    fn nothing_is_put_off_any_more_when_the_leader_is_needed() {
        let (_disk, mut thread, reported) = quick_thread();
        thread.put_off(0, Zxid(PROVED), alone(PROVED + 1));
        assert!(thread.hand_over_due(1, Zxid(PROVED), true).is_some());
        assert_eq!(thread.hand_over_due(2, Zxid(PROVED), false), None);
        assert_eq!(reported.recv(), Ok(PROVED + 1));
        thread.stop();
    }

    #[test]
    fn two_who_write_in_turns_keep_the_order() {
        let (disk, mut thread, reported) = quick_thread();
        let (mut here, mut last) = (0, PROVED);
        for zxid in PROVED + 1..=PROVED + 3000 {
            match zxid % 7 {
                0 | 3 => thread.send(batch(zxid, zxid)),
                1 => {
                    thread.hold(alone(zxid));
                    thread.write_held(false);
                }
                _ => {
                    thread.hold(alone(zxid));
                    here += u32::from(thread.write_held(true));
                }
            }
            if zxid % 3 == 0 {
                // Everything is on disk, whoever wrote it.
                while last < zxid {
                    let next = reported.recv().unwrap();
                    assert!(next > last, "{next} was reported behind {last}");
                    last = next;
                }
            }
        }
        thread.stop();
        assert_eq!(reported.try_iter().last().unwrap_or(last), PROVED + 3000);
        assert!(here > 100, "only {here} were written here");
        assert_eq!(
            disk.crash(1).bytes(Path::new("/log/log.1")),
            disk.bytes(Path::new("/log/log.1"))
        );
    }

    #[test]
    fn a_disk_that_turns_slow_is_left_to_the_thread() {
        let mut quickness = Quickness::new(QUICK);
        let mut note = |took, times| {
            (0..times).for_each(|_| quickness.note(took));
            quickness.is_quick()
        };
        assert!(!note(QUICK, QUICK_IN_A_ROW - 1));
        assert!(note(QUICK, 100));
        assert!(!note(2 * QUICK, 1), "one has met the core's thread");
        assert!(!note(QUICK, QUICK_IN_A_ROW - 1));
        assert!(note(QUICK, 1));
    }

    #[test]
    fn slow_syncs_are_told_of_now_and_then() {
        let mut slow = SlowSyncs::default();
        let second = Duration::from_secs(1);
        let told: Vec<u32> =
            (0..60).filter(|s| slow.note(*s * second, 2 * second, second)).collect();
        assert_eq!(told, [0, 10, 20, 30, 40, 50]);
        assert!(!slow.note(100 * second, second, second), "no slower than allowed");
        assert!(slow.note(100 * second, 3 * second, second));
    }

    /// A leader that says nothing more.
    struct Silent(std::sync::mpsc::Receiver<bytes::Bytes>);

    impl SnapshotSource for Silent {
        fn next(&mut self) -> std::io::Result<Option<bytes::Bytes>> {
            self.0.recv().map(Some).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
        }

        fn give_back(self: Box<Self>, _: bytes::Bytes) {}
    }

    #[test]
    fn a_thread_that_waits_for_a_leader_does_not_hold_up_the_end() {
        let disk = SimDisk::new();
        let options = BootOptions::new(&oxkeeper_config::Config::default_standalone(), 1);
        let data = Path::new("/data");
        let dir = DataDir::open(disk.clone(), data, data, options.open).unwrap();
        let dir = Arc::new(dir);
        let log = TxnLogOptions { prealloc_bytes: 64 << 10, ..TxnLogOptions::default() };
        let worker = LogWorker::member(Arc::clone(&dir), options, log, Zxid(0), AT_ONCE);
        let told = Arc::new(Told::default());
        let mut thread = LogThread::run(worker, Arc::clone(&told)).unwrap();
        let (leader, source) = channel();
        thread.send(batch(1, 3));
        let source = Box::new(Silent(source));
        thread.send(LogCommand::ReceiveSnapshot { generation: 1, zxid: Zxid(9), source });
        thread.stop();
        assert_eq!(*told.0.lock().unwrap(), [format!("synced {}", Zxid(3))]);
        let on_disk = disk.crash(1).bytes(&dir.log_dir().join("log.1"));
        assert!(on_disk.len() > 3 * 45);
        drop(leader);
    }
}
