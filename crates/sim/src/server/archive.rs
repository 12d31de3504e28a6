//! The threads that have a member's files, without threads: the log worker's inbox, and the history
//! worker with what it has found.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use oxkeeper_node::Batch;
use oxkeeper_proto::Zxid;
use oxkeeper_server::history_thread::{
    HistoryCommand, HistoryReports, HistoryWorker, Opened, SnapshotStream,
};
use oxkeeper_server::log_thread::{LogCommand, LogInbox};
use oxkeeper_server::snapshot_link::SnapshotSource;
use oxkeeper_storage::{DataDir, SimDisk};
use oxkeeper_zab::{Entry, Input, LinkId, LogSurvey};

/// Behind a snapshot on a link.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// A snapshot that comes in on a link, between the link and the log's thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Inlet(Arc<Mutex<Inflow>>);

#[derive(Debug, Default)]
struct Inflow {
    bytes: Vec<u8>,
    taken: usize,
    whole: bool,
    broken: bool,
    rest: Option<Bytes>,
}

impl Inlet {
    fn flow(&self) -> MutexGuard<'_, Inflow> {
        self.0.lock().expect("nobody panics with it")
    }

    /// More has come in.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut flow = self.flow();
        let from = flow.bytes.len().saturating_sub(SIGNATURE.len());
        flow.bytes.extend_from_slice(bytes);
        let mut windows = flow.bytes[from..].windows(SIGNATURE.len());
        flow.whole |= windows.any(|window| window == SIGNATURE);
    }

    /// The link is gone.
    pub(super) fn break_off(&self) {
        self.flow().broken = true;
    }

    /// True if the log's thread would not have to wait.
    fn is_ready(&self) -> bool {
        let flow = self.flow();
        flow.whole || flow.broken
    }

    /// What came behind the snapshot, once it was taken.
    pub(super) fn rest(&self) -> Option<Vec<u8>> {
        let mut flow = self.flow();
        let mut rest = flow.rest.take()?.to_vec();
        rest.extend_from_slice(&flow.bytes[flow.taken..]);
        Some(rest)
    }
}

impl SnapshotSource for Inlet {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut flow = self.flow();
        let end = flow.bytes.len().min(flow.taken + 5000);
        if flow.taken == end {
            return Err(io::Error::other("the link is gone"));
        }
        let chunk = Bytes::copy_from_slice(&flow.bytes[flow.taken..end]);
        flow.taken = end;
        Ok(Some(chunk))
    }

    fn give_back(self: Box<Self>, rest: Bytes) {
        self.flow().rest = Some(rest);
    }
}

/// What waits for the log's thread.
#[derive(Debug, Default)]
pub(super) struct LogQueue {
    commands: VecDeque<(LogCommand, Option<Inlet>)>,
    /// For mistakes alone: what is written when another role has begun.
    stale: Vec<LogCommand>,
    /// How many commands the turn under way may take.
    pub(super) left: usize,
    /// A batch behind all others that the core's thread may write itself.
    held: Option<Batch>,
}

impl LogQueue {
    pub(super) fn push(&mut self, command: LogCommand) {
        self.release();
        self.commands.push_back((command, None));
    }

    /// As `LogThread::hold`: for the end of the turn, if nothing is to be done before.
    pub(super) fn hold(&mut self, batch: Batch) {
        match self.commands.is_empty() && self.held.is_none() && batch.ends.len() == 1 {
            true => self.held = Some(batch),
            false => self.push(LogCommand::Append(batch)),
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn take_held(&mut self) -> Option<Batch> {
        self.held.take()
    }

    /// What is held is the log thread's.
    pub(super) fn release(&mut self) {
        if let Some(batch) = self.held.take() {
            self.commands.push_back((LogCommand::Append(batch), None));
        }
    }

    /// For mistakes alone: what is queued is done in the next role.
    pub(super) fn outlive(&mut self) {
        self.release();
        let (appends, others) = std::mem::take(&mut self.commands)
            .into_iter()
            .partition(|(command, _)| matches!(command, LogCommand::Append(_)));
        self.commands = others;
        let appends: VecDeque<(LogCommand, Option<Inlet>)> = appends;
        self.stale.extend(appends.into_iter().map(|(command, _)| command));
    }

    /// For mistakes alone: now.
    pub(super) fn revive(&mut self) {
        for command in std::mem::take(&mut self.stale) {
            self.push(command);
        }
    }

    /// For mistakes alone.
    pub(super) fn push_in_front(&mut self, command: LogCommand) {
        self.release();
        self.commands.push_front((command, None));
    }

    pub(super) fn push_snapshot(&mut self, generation: u64, zxid: Zxid, inlet: Inlet) {
        self.release();
        let source = Box::new(inlet.clone());
        let command = LogCommand::ReceiveSnapshot { generation, zxid, source };
        self.commands.push_back((command, Some(inlet)));
    }

    /// True if there is something to do that can be done.
    pub(super) fn can_go_on(&self) -> bool {
        let ready = |inlet: &Option<Inlet>| inlet.as_ref().is_none_or(Inlet::is_ready);
        self.commands.front().is_some_and(|(_, inlet)| ready(inlet))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The snapshot that waits to be received, by its last transaction.
    pub(super) fn snapshot(&self) -> Option<Zxid> {
        self.commands.iter().find_map(|(command, _)| match command {
            LogCommand::ReceiveSnapshot { zxid, .. } => Some(*zxid),
            _ => None,
        })
    }

    pub(super) fn take(&mut self) -> Option<LogCommand> {
        match self.can_go_on() {
            true => self.commands.pop_front().map(|(command, _)| command),
            false => None,
        }
    }
}

impl LogInbox for LogQueue {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn next(&mut self, _: Duration) -> Option<LogCommand> {
        self.left = self.left.checked_sub(1)?;
        self.take()
    }

    fn pause(&self, _: Duration) {}
}

/// What the history's thread has found.
#[derive(Debug)]
pub(super) enum Found {
    Input(Input),
    /// Of a snapshot on its way out; none: it is damaged.
    Chunk(LinkId, Option<Bytes>),
    /// A snapshot has to be written first.
    Wanted,
}

/// The history's thread.
#[derive(Debug)]
pub(super) struct Archive {
    worker: HistoryWorker<SimDisk>,
    streams: BTreeMap<LinkId, SnapshotStream>,
    /// Those that wait for a snapshot that is new enough.
    waiting: Vec<(LinkId, Zxid)>,
}

impl Archive {
    pub(super) fn new(dir: Arc<DataDir<SimDisk>>) -> Archive {
        let worker = HistoryWorker::new(dir);
        Archive { worker, streams: BTreeMap::new(), waiting: Vec::new() }
    }

    /// A snapshot was written: maybe it is new enough.
    pub(super) fn look_again(&mut self) {
        for (link, at_least) in std::mem::take(&mut self.waiting) {
            self.ask(HistoryCommand::OpenSnapshot { link, at_least });
        }
    }

    pub(super) fn ask(&mut self, command: HistoryCommand) {
        drop(self.worker.take(command));
    }

    /// Begins to send what was opened for a link.
    pub(super) fn send(&mut self, link: LinkId) {
        let (sink, _) = tokio::sync::mpsc::channel(1);
        if let Some((stream, _)) = self.worker.take(HistoryCommand::SendSnapshot { link, sink }) {
            self.streams.insert(link, stream);
        }
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        self.streams.remove(&link);
        self.waiting.retain(|(waits, _)| *waits != link);
        self.ask(HistoryCommand::Forget { link });
    }

    pub(super) fn has_work(&self) -> bool {
        self.worker.has_work() || !self.streams.is_empty()
    }

    /// Does a piece of work.
    pub(super) fn step(&mut self) -> Vec<Found> {
        let reports = Answers::default();
        if self.worker.has_work() {
            self.worker.step(&reports);
        }
        let mut found = Vec::new();
        for (link, stream) in &mut self.streams {
            found.push(match stream.next() {
                Some(Ok(chunk)) => Found::Chunk(*link, Some(chunk)),
                Some(Err(_)) => Found::Chunk(*link, None),
                None => Found::Chunk(*link, Some(Bytes::new())),
            });
        }
        self.streams.retain(|link, _| {
            let chunk = |found: &Found| match found {
                Found::Chunk(of, Some(bytes)) => of == link && !bytes.is_empty(),
                _ => false,
            };
            found.iter().any(chunk)
        });
        for answer in reports.0.into_inner() {
            match answer {
                Answer::Input(input) => found.push(Found::Input(input)),
                Answer::Later(link, at_least) => {
                    self.waiting.push((link, at_least));
                    found.push(Found::Wanted);
                }
            }
        }
        found
    }
}

#[derive(Debug)]
enum Answer {
    Input(Input),
    Later(LinkId, Zxid),
}

#[derive(Debug, Default)]
struct Answers(RefCell<Vec<Answer>>);

impl Answers {
    fn say(&self, input: Input) {
        self.0.borrow_mut().push(Answer::Input(input));
    }
}

impl HistoryReports for Answers {
    fn surveyed(&self, link: LinkId, survey: Option<LogSurvey>) {
        self.say(Input::LogSurveyed { link, survey });
    }

    fn read(&self, link: LinkId, entries: Vec<Entry>) {
        self.say(Input::LogRead { link, entries });
    }

    fn opened(&self, link: LinkId, opened: Opened) {
        match opened {
            Opened::At(zxid) => self.say(Input::SnapshotOpened { link, zxid }),
            Opened::NoneReaches { at_least } => {
                self.0.borrow_mut().push(Answer::Later(link, at_least));
            }
            Opened::Busy => self.unavailable(link),
        }
    }

    fn unavailable(&self, link: LinkId) {
        self.say(Input::HistoryUnavailable(link));
    }
}
