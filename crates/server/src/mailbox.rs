//! What crosses threads: a mailbox per I/O thread.
//!
//! The log and snapshot threads report into the core's mailbox, Fronts on other threads send it
//! their writes, and it sends them what was committed. Each kind has a slot of its own, so that a
//! report that supersedes another (how far the log is synced) takes no room at all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use oxkeeper_node::{Committed, FrontId, OwnedToCore, ToFront};
use oxkeeper_proto::Zxid;
use oxkeeper_storage::LogError;
use oxkeeper_zab::{Disk, Input, LinkId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::io_thread::IoThread;
use crate::log_thread::Rebuilt;

/// Something to run on a thread with its state at hand: new connections, questions for reports.
pub type Work = Box<dyn FnOnce(&std::rc::Rc<IoThread>) + Send>;

/// What the core's thread sends to a Front on another, in order.
#[derive(Debug)]
pub enum FrontMail {
    /// A transaction was applied.
    Committed(Arc<Committed>),
    /// Something outside the order of commits.
    Told(ToFront),
}

/// What a member's log thread has done, in the order of its commands.
#[derive(Debug)]
pub enum LogReport {
    /// Something is on disk.
    Disk(Disk),
    /// History was cut, replaced or read anew.
    Rebuilt(Rebuilt),
}

/// What a member's history thread has found.
#[derive(Debug)]
pub enum HistoryReport {
    /// For the agreement.
    Input(Input),
    /// No snapshot reaches what a learner needs.
    SnapshotTooOld {
        /// The learner's link.
        link: LinkId,
        /// What it needs.
        at_least: Zxid,
    },
}

/// The mailbox of one I/O thread.
#[derive(Default)]
pub struct Mailbox {
    notify: Notify,
    to_core: Mutex<Vec<(FrontId, OwnedToCore)>>,
    to_front: Mutex<VecDeque<FrontMail>>,
    work: Mutex<Vec<Work>>,
    synced: AtomicI64,
    chunks_written: AtomicUsize,
    snapshot_over: AtomicBool,
    failure: Mutex<Option<LogError>>,
    log_reports: Mutex<VecDeque<LogReport>>,
    history_reports: Mutex<VecDeque<HistoryReport>>,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailbox")
    }
}

impl Mailbox {
    /// Waits until something arrived.
    pub async fn arrived(&self) {
        self.notify.notified().await;
    }

    /// Wakes the thread.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// A message for the core.
    pub fn put_to_core(&self, front: FrontId, message: OwnedToCore) {
        self.to_core.lock().push((front, message));
        self.wake();
    }

    /// Takes all messages for the core.
    pub fn take_to_core(&self) -> Vec<(FrontId, OwnedToCore)> {
        std::mem::take(&mut *self.to_core.lock())
    }

    /// Mail for the thread's Front. The caller wakes it when its batch is complete.
    pub fn put_to_front(&self, mail: FrontMail) {
        self.to_front.lock().push_back(mail);
    }

    /// Takes all mail for the Front, in order.
    pub fn take_to_front(&self) -> VecDeque<FrontMail> {
        std::mem::take(&mut *self.to_front.lock())
    }

    /// Something to run on the thread.
    pub fn put_work(&self, work: Work) {
        self.work.lock().push(work);
        self.wake();
    }

    /// Takes what is to be run.
    pub fn take_work(&self) -> Vec<Work> {
        std::mem::take(&mut *self.work.lock())
    }

    /// How far the log is on disk.
    pub fn synced(&self) -> Zxid {
        Zxid(self.synced.load(Ordering::Acquire))
    }

    /// Pieces of a snapshot written since the last call.
    pub fn take_chunks_written(&self) -> usize {
        self.chunks_written.swap(0, Ordering::AcqRel)
    }

    /// Whether the snapshot ended since the last call.
    pub fn take_snapshot_over(&self) -> bool {
        self.snapshot_over.swap(false, Ordering::AcqRel)
    }

    /// Why the log stopped, if it did.
    pub fn take_failure(&self) -> Option<LogError> {
        self.failure.lock().take()
    }

    /// Everything up to `zxid` is on disk.
    pub fn put_synced(&self, zxid: Zxid) {
        self.synced.store(zxid.0, Ordering::Release);
        self.wake();
    }

    /// Something was done by a member's log thread. How far the log is synced says what was said
    /// before it, too.
    pub fn put_log_report(&self, report: LogReport) {
        let mut reports = self.log_reports.lock();
        let synced = |report: &LogReport| matches!(report, LogReport::Disk(Disk::Synced(_)));
        if synced(&report)
            && let Some(last) = reports.back_mut().filter(|last| synced(last))
        {
            *last = report;
        } else {
            reports.push_back(report);
        }
        drop(reports);
        self.wake();
    }

    /// Takes all reports of a member's log thread.
    pub fn take_log_reports(&self) -> VecDeque<LogReport> {
        std::mem::take(&mut *self.log_reports.lock())
    }

    /// Something was found by a member's history thread.
    pub fn put_history_report(&self, report: HistoryReport) {
        self.history_reports.lock().push_back(report);
        self.wake();
    }

    /// Takes all reports of a member's history thread.
    pub fn take_history_reports(&self) -> VecDeque<HistoryReport> {
        std::mem::take(&mut *self.history_reports.lock())
    }

    /// The log cannot be written any more.
    pub fn put_failure(&self, error: LogError) {
        *self.failure.lock() = Some(error);
        self.wake();
    }
    /// One piece of a snapshot is written.
    pub fn put_chunk_written(&self) {
        self.chunks_written.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// The snapshot is over.
    pub fn put_snapshot_over(&self) {
        self.snapshot_over.store(true, Ordering::Release);
        self.wake();
    }
}
