//! The past, for those who missed it: what a leader reads of its files for its learners.
//!
//! It has a thread of its own, because a learner that was away for an hour needs gigabytes, and
//! neither the core nor the log thread may wait for them. What is asked for takes turns in pieces
//! of some megabytes, so that nobody waits for another's gigabytes either; a snapshot on its way
//! out, whose reader may be slow, gets a thread for itself.
//!
//! The log is read while the log thread writes it. What is written up to the moment of opening a
//! file is seen; an entry that is only half there is the end, and nothing is ever cut. Whoever asks
//! knows how far the log is committed and asks for no more.
//!
//! Nothing below the directory's floor is taken for history (see `oxkeeper_storage::past`).
//!
//! What does the work is a [`HistoryWorker`] over any [`Disk`]; the thread is only where the real
//! host runs it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use bytes::Bytes;
use oxkeeper_proto::Zxid;
use oxkeeper_storage::log_reader::{list_logs, log_bytes_from};
use oxkeeper_storage::snapshots::{list_snapshots, whole_snapshots};
use oxkeeper_storage::{DataDir, Disk, DiskError, LogReader, ReadError, SnapshotReader};
use oxkeeper_tree::snapshot::{Body, SIGNATURE};
use oxkeeper_zab::{Entry, LinkId, LogSurvey};
use parking_lot::Mutex;

use crate::boot::Source;
use crate::member::follows;
use crate::snapshot_link::SnapshotSink;
use crate::snapshot_thread::step_back;

/// Transactions in one answer. The core sends them on in one turn, and everybody's writes wait for
/// its end: some hundred microseconds.
pub const READ_COUNT_MAX: usize = 500;
/// Bytes in one answer, but for its last transaction.
pub const READ_BYTES_MAX: usize = 64 << 10;
/// How long the thread rests between two pieces of work while the leader serves. What it reads is
/// sent by the core and applied by a learner, which may be on the same machine: ten times the work
/// that reading is. Nobody waits for a learner that is behind, and at 64 KiB in this time a million
/// znodes are with it in a second or two.
const REST: Duration = Duration::from_micros(300);
/// Bytes of a snapshot handed over at a time, but for one large znode.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Snapshots that are open or on their way at once (`LearnerSnapshotThrottler`).
pub const SNAPSHOTS_MAX: usize = 10;
/// Bytes of log passed over before the next one has its turn.
const TURN_BYTES: usize = 4 << 20;

/// What is asked for.
#[derive(Debug)]
pub enum HistoryCommand {
    /// What stands in the log around a learner's last transaction?
    Survey {
        /// Who asks.
        link: LinkId,
        /// The learner's last transaction.
        peer: Zxid,
    },
    /// Read some of the log.
    Read {
        /// Who asks.
        link: LinkId,
        /// Behind this transaction.
        after: Zxid,
        /// Up to and with this one; fewer will do.
        to: Zxid,
    },
    /// Open the newest snapshot, and keep the log behind it.
    OpenSnapshot {
        /// Who asks.
        link: LinkId,
        /// The snapshot must reach so far.
        at_least: Zxid,
    },
    /// Stream the snapshot that was opened.
    SendSnapshot {
        /// Who asks.
        link: LinkId,
        /// Where it goes.
        sink: SnapshotSink,
    },
    /// The link is over.
    Forget {
        /// Whose.
        link: LinkId,
    },
}

/// What became of [`HistoryCommand::OpenSnapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// It is open, and its last transaction is this.
    At(Zxid),
    /// None reaches so far: one has to be written.
    NoneReaches {
        /// What was asked for.
        at_least: Zxid,
    },
    /// Too many are on their way.
    Busy,
}

/// What the thread says.
pub trait HistoryReports {
    /// `None` if the log does not reach back so far.
    fn surveyed(&self, link: LinkId, survey: Option<LogSurvey>);
    /// The next transactions, at least one, in order.
    fn read(&self, link: LinkId, entries: Vec<Entry>);
    /// A snapshot is open, or not.
    fn opened(&self, link: LinkId, opened: Opened);
    /// What was asked for is not there or cannot be read.
    fn unavailable(&self, link: LinkId);
}

/// A running history thread. It ends when this is dropped; snapshots on their way out end with
/// their links.
#[derive(Debug)]
pub struct HistoryThread {
    commands: Sender<HistoryCommand>,
    gently: Arc<AtomicBool>,
}

impl HistoryThread {
    /// Starts the thread.
    pub fn start<D: Disk>(
        dir: Arc<DataDir<D>>,
        reports: Arc<impl HistoryReports + Send + Sync + 'static>,
    ) -> io::Result<Self>
    where
        DataDir<D>: Send + Sync,
    {
        let (commands, inbox) = channel();
        let gently = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&gently);
        std::thread::Builder::new().name("history".into()).spawn(move || {
            step_back();
            run(HistoryWorker::new(dir), &inbox, &*reports, &told);
        })?;
        Ok(HistoryThread { commands, gently })
    }

    /// Whether others are served, who should not notice: if not, they wait for the learners.
    pub fn go_gently(&self, gently: bool) {
        self.gently.store(gently, Ordering::Relaxed);
    }

    /// Queues a command.
    pub fn send(&self, command: HistoryCommand) {
        let _ = self.commands.send(command);
    }
}

fn run<D: Disk>(
    mut worker: HistoryWorker<D>,
    inbox: &Receiver<HistoryCommand>,
    reports: &impl HistoryReports,
    gently: &AtomicBool,
) {
    loop {
        let command = match worker.has_work() {
            true => inbox.try_recv(),
            false => inbox.recv().map_err(|_| TryRecvError::Disconnected),
        };
        match command {
            Err(TryRecvError::Disconnected) => return,
            Ok(command) => {
                if let Some((stream, sink)) = worker.take(command) {
                    send_out(stream, sink);
                }
            }
            Err(TryRecvError::Empty) => {
                worker.step(reports);
                if gently.load(Ordering::Relaxed) {
                    std::thread::sleep(REST);
                }
            }
        }
    }
}

/// Streams a snapshot on a thread of its own. Where there is none to be had, the sink is dropped
/// before the end, and the learner hears of that.
fn send_out(stream: SnapshotStream, sink: SnapshotSink) {
    let refused = sink.clone();
    let spawned = std::thread::Builder::new().name("snapshot-out".into()).spawn(move || {
        step_back();
        for chunk in stream {
            if sink.blocking_send(chunk).is_err() {
                return;
            }
        }
    });
    if let Err(error) = spawned {
        let _ = refused.try_send(Err(error));
    }
}

/// Reads for many links, a piece for each in turn.
pub struct HistoryWorker<D: Disk> {
    dir: Arc<DataDir<D>>,
    links: BTreeMap<LinkId, Link<D>>,
    jobs: VecDeque<(LinkId, Job)>,
    sending: Arc<AtomicUsize>,
    broken: Broken,
}

/// Snapshots that look whole and are not.
type Broken = Arc<Mutex<BTreeSet<PathBuf>>>;

struct Link<D: Disk> {
    cursor: Option<Cursor<D>>,
    opened: Option<SnapshotStream>,
}

impl<D: Disk> Default for Link<D> {
    fn default() -> Self {
        Link { cursor: None, opened: None }
    }
}

#[derive(Debug, Clone, Copy)]
enum Job {
    Survey { peer: Zxid },
    Read { after: Zxid, to: Zxid },
    Open { at_least: Zxid },
}

/// Where a link's reading stands.
struct Cursor<D: Disk> {
    reader: LogReader<D>,
    /// The last transaction passed.
    passed: Option<Zxid>,
    /// The one behind it, if it was read.
    next: Option<Entry>,
    /// The reader has come to the end, and would not see what is written from now on.
    ended: bool,
}

/// How far a cursor came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    There,
    End,
    /// It has used up its turn.
    NotYet,
}

impl<D: Disk> std::fmt::Debug for HistoryWorker<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HistoryWorker({} links, {} jobs)", self.links.len(), self.jobs.len())
    }
}

impl<D: Disk> HistoryWorker<D> {
    /// A worker on these directories.
    pub fn new(dir: Arc<DataDir<D>>) -> Self {
        HistoryWorker {
            dir,
            links: BTreeMap::new(),
            jobs: VecDeque::new(),
            sending: Arc::default(),
            broken: Broken::default(),
        }
    }

    /// Whether [`HistoryWorker::step`] has something to do.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Takes a command. A snapshot to be sent is handed out at once, whoever has the time pulls it.
    /// Where none was opened, the sink is told.
    pub fn take(&mut self, command: HistoryCommand) -> Option<(SnapshotStream, SnapshotSink)> {
        let (link, job) = match command {
            HistoryCommand::Survey { link, peer } => (link, Job::Survey { peer }),
            HistoryCommand::Read { link, after, to } => (link, Job::Read { after, to }),
            HistoryCommand::OpenSnapshot { link, at_least } => (link, Job::Open { at_least }),
            HistoryCommand::SendSnapshot { link, sink } => {
                let stream = self.links.get_mut(&link).and_then(|link| link.opened.take());
                if stream.is_none() {
                    let _ = sink.try_send(Err(io::Error::other("no snapshot was opened")));
                }
                return Some((stream?, sink));
            }
            HistoryCommand::Forget { link } => {
                self.forget(link);
                return None;
            }
        };
        self.links.entry(link).or_default();
        self.jobs.push_back((link, job));
        None
    }

    fn forget(&mut self, link: LinkId) {
        self.jobs.retain(|(of, _)| *of != link);
        self.links.remove(&link);
        self.dir.release_logs(link.0);
    }

    /// Does a piece of the oldest work, and puts what is left of it behind the others'.
    pub fn step(&mut self, reports: &impl HistoryReports) {
        let Some((link, job)) = self.jobs.pop_front() else { return };
        let done = match job {
            Job::Survey { peer } => self.survey(link, peer, reports),
            Job::Read { after, to } => self.read(link, after, to, reports),
            Job::Open { at_least } => self.open(link, at_least, reports).map_err(ReadError::from),
        };
        match done {
            Ok(true) => {}
            Ok(false) => self.jobs.push_back((link, job)),
            Err(error) => {
                tracing::warn!(link = link.0, %error, "a learner's history cannot be read");
                if let Some(link) = self.links.get_mut(&link) {
                    link.cursor = None;
                }
                reports.unavailable(link);
            }
        }
    }

    /// True when it is done.
    fn survey(
        &mut self,
        id: LinkId,
        peer: Zxid,
        reports: &impl HistoryReports,
    ) -> Result<bool, ReadError> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(true) };
        let floor = self.dir.floor();
        if peer < floor || !place(&self.dir, link, peer)? {
            reports.surveyed(id, None);
            return Ok(true);
        }
        let Some(cursor) = &mut link.cursor else { return Ok(true) };
        match cursor.pass(peer)? {
            Reached::NotYet => return Ok(false),
            Reached::End => {
                link.cursor = None;
                reports.surveyed(id, None);
            }
            Reached::There => {
                let around = cursor.passed.zip(cursor.next.as_ref().map(|entry| entry.zxid));
                let around = around.filter(|(before, after)| {
                    // Where transactions are missing, nobody knows what belongs there.
                    *before >= floor && follows(*before, *after)
                });
                let Some((at_or_before, after)) = around else {
                    reports.surveyed(id, None);
                    return Ok(true);
                };
                self.dir.claim_logs(id.0, at_or_before);
                let log_bytes = cursor.bytes_left(&self.dir)?;
                let snapshot_bytes = newest_snapshot_bytes(&self.dir)?;
                let survey = LogSurvey { at_or_before, after, log_bytes, snapshot_bytes };
                reports.surveyed(id, Some(survey));
            }
        }
        Ok(true)
    }

    /// True when it is done.
    fn read(
        &mut self,
        id: LinkId,
        after: Zxid,
        to: Zxid,
        reports: &impl HistoryReports,
    ) -> Result<bool, ReadError> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(true) };
        if after < self.dir.floor() || !place(&self.dir, link, after)? {
            reports.unavailable(id);
            return Ok(true);
        }
        let Some(cursor) = &mut link.cursor else { return Ok(true) };
        if cursor.pass(after)? == Reached::NotYet {
            return Ok(false);
        }
        let entries = cursor.take(to)?;
        if cursor.ended {
            link.cursor = None;
        }
        match entries.last() {
            Some(last) => {
                self.dir.claim_logs(id.0, last.zxid);
                reports.read(id, entries);
            }
            None => reports.unavailable(id),
        }
        Ok(true)
    }

    /// True: it is done.
    fn open(
        &mut self,
        id: LinkId,
        at_least: Zxid,
        reports: &impl HistoryReports,
    ) -> Result<bool, DiskError> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(true) };
        link.opened = None;
        let Some(slot) = Slot::take(&self.sending) else {
            reports.opened(id, Opened::Busy);
            return Ok(true);
        };
        let disk = self.dir.disk();
        for file in list_snapshots(disk, self.dir.snapshot_dir())? {
            if file.zxid < at_least {
                break;
            }
            if self.broken.lock().contains(&file.path) || !file.looks_whole(disk)? {
                continue;
            }
            let reader = SnapshotReader::open(disk, &file)?;
            self.dir.claim_logs(id.0, file.zxid);
            link.opened = Some(SnapshotStream {
                reader,
                body: Body::default(),
                over: false,
                path: file.path,
                broken: Arc::clone(&self.broken),
                _slot: slot,
            });
            reports.opened(id, Opened::At(file.zxid));
            return Ok(true);
        }
        reports.opened(id, Opened::NoneReaches { at_least });
        Ok(true)
    }
}

/// Puts the link's cursor somewhere before what comes behind `after`; where it was, if that will
/// do. False if no log reaches back so far.
fn place<D: Disk>(dir: &DataDir<D>, link: &mut Link<D>, after: Zxid) -> Result<bool, DiskError> {
    let kept = link.cursor.as_ref().is_some_and(|cursor| {
        // At its beginning it may be anywhere before.
        cursor.passed.map_or(cursor.next.is_none(), |passed| passed <= after)
    });
    if let Some(cursor) = link.cursor.as_mut().filter(|_| kept) {
        cursor.reader.refresh()?;
        return Ok(true);
    }
    let logs = list_logs(dir.disk(), dir.log_dir())?;
    let upto = logs.partition_point(|(first, _)| *first <= after.next());
    let before = match upto.checked_sub(1) {
        Some(at) => logs.get(at),
        // Behind an epoch's last transaction comes the first of a later one: an ensemble's first
        // log begins so, behind the empty snapshot. Snapshots go before the logs behind them do, so
        // as long as one is there, no log between it and that one has been purged.
        None => {
            let snapshots = list_snapshots(dir.disk(), dir.snapshot_dir())?;
            let kept = snapshots.iter().any(|snapshot| snapshot.zxid <= after);
            logs.first().filter(|(first, _)| kept && follows(after, *first))
        }
    };
    let Some((first, _)) = before else {
        link.cursor = None;
        return Ok(false);
    };
    let reader = LogReader::new(dir.disk().clone(), dir.log_dir().to_owned(), *first)?;
    let reader = reader.being_written();
    link.cursor = Some(Cursor { reader, passed: None, next: None, ended: false });
    Ok(true)
}

fn newest_snapshot_bytes<D: Disk>(dir: &DataDir<D>) -> Result<u64, DiskError> {
    let newest = whole_snapshots(dir.disk(), dir.snapshot_dir(), 1)?;
    newest.first().map_or(Ok(0), |file| file.size(dir.disk()))
}

impl<D: Disk> Cursor<D> {
    /// Passes everything up to and with `after`, as far as one turn goes.
    fn pass(&mut self, after: Zxid) -> Result<Reached, ReadError> {
        let mut bytes = 0;
        loop {
            match &self.next {
                Some(next) if next.zxid > after => return Ok(Reached::There),
                Some(next) => self.passed = Some(next.zxid),
                None => {}
            }
            self.next = None;
            if bytes >= TURN_BYTES {
                return Ok(Reached::NotYet);
            }
            let Some(entry) = self.reader.next()? else {
                self.ended = true;
                return Ok(Reached::End);
            };
            bytes += entry.payload.len();
            if entry.zxid <= after {
                self.passed = Some(entry.zxid);
            } else {
                self.next = Some(owned(entry));
            }
        }
    }

    /// Takes what comes next, up to and with `to`.
    fn take(&mut self, to: Zxid) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = self.next.take_if(|next| next.zxid <= to) {
            bytes += entry.payload.len();
            self.passed = Some(entry.zxid);
            let last = entry.zxid == to;
            entries.push(entry);
            if last || entries.len() == READ_COUNT_MAX || bytes >= READ_BYTES_MAX {
                break;
            }
            self.next = self.reader.next()?.map(owned);
            self.ended = self.next.is_none();
        }
        Ok(entries)
    }

    /// How much log there is from the next transaction on.
    fn bytes_left(&self, dir: &DataDir<D>) -> Result<u64, DiskError> {
        let Some((file, behind, _)) = self.reader.position() else { return Ok(0) };
        let read = self.next.as_ref().map_or(0, |entry| entry.payload.len() as u64);
        let rest = log_bytes_from(dir.disk(), dir.log_dir(), &file, behind)?;
        Ok(rest + read)
    }
}

fn owned(entry: oxkeeper_storage::LogEntry<'_>) -> Entry {
    Entry { zxid: entry.zxid, payload: Bytes::copy_from_slice(entry.payload) }
}

/// One of the [`SNAPSHOTS_MAX`] places, free again when dropped.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Slot> {
        if taken.fetch_add(1, Ordering::AcqRel) >= SNAPSHOTS_MAX {
            taken.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Slot(Arc::clone(taken)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A snapshot as it goes to a learner, chunk by chunk: the body of the file and the signature. The
/// file is open, so it stays readable when it is purged meanwhile.
///
/// An error is the last item. It comes at the latest instead of the signature, so that nobody takes
/// a damaged file for a whole one; the file is not offered again.
pub struct SnapshotStream {
    reader: SnapshotReader,
    body: Body,
    over: bool,
    path: PathBuf,
    broken: Broken,
    _slot: Slot,
}

impl std::fmt::Debug for SnapshotStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapshotStream({:?})", self.reader)
    }
}

impl Iterator for SnapshotStream {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.over {
            return None;
        }
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + SIGNATURE.len());
        let mut source = Source { reader: &mut self.reader };
        match self.body.copy(&mut source, &mut chunk, CHUNK_BYTES) {
            Ok(complete) => {
                if complete {
                    chunk.extend_from_slice(SIGNATURE);
                    self.over = true;
                }
                Some(Ok(chunk.into()))
            }
            Err(error) => {
                self.over = true;
                tracing::error!(file = %self.path.display(), %error, "a snapshot is damaged; \
                    the learner gets another one");
                self.broken.lock().insert(self.path.clone());
                Some(Err(io::Error::other(error.to_string())))
            }
        }
    }
}
