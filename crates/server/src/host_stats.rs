//! What the host counts: the disk's work and the start.
//!
//! The log and snapshot threads record here, once per batch or snapshot; `mntr` reads. The lock is
//! held for a few additions.

use std::sync::Arc;
use std::time::Duration;

use oxkeeper_node::metrics::{DetailedSummary, Metrics, Summary};
use oxkeeper_proto::Zxid;
use oxkeeper_storage::LogError;
use oxkeeper_zab::{Disk, Entry, Epochs, Input, LinkId, LogSurvey};
use parking_lot::Mutex;

use crate::boot::BootReport;
use crate::history_thread::{HistoryReports, Opened};
use crate::log_thread::{LogReports, Rebuilt};
use crate::mailbox::{HistoryReport, LogReport, Mailbox};
use crate::snapshot_thread::SnapshotReports;

/// Numbers of one server's host.
#[derive(Debug, Default)]
pub struct HostStats {
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    fsync: Summary,
    flush: DetailedSummary,
    batch: Summary,
    snapshot: Summary,
    recovery: Summary,
    load: Summary,
    replay: Summary,
    replayed: Summary,
}

impl HostStats {
    /// A batch of transactions was written and synced.
    pub fn log_synced(&self, took: Duration) {
        let mut numbers = self.numbers.lock();
        let ms = took.as_millis() as u64;
        numbers.fsync.record(ms);
        numbers.flush.record(ms);
    }

    /// So many transactions were synced at once.
    pub fn log_batched(&self, txns: usize) {
        self.numbers.lock().batch.record(txns as u64);
    }

    /// A snapshot was written.
    pub fn snapshot_written(&self, took: Duration) {
        self.numbers.lock().snapshot.record(took.as_millis() as u64);
    }

    /// The server has read its data, which took so long in all.
    pub fn booted(&self, took: Duration, report: &BootReport) {
        let mut numbers = self.numbers.lock();
        numbers.recovery.record(took.as_millis() as u64);
        numbers.load.record(report.load_time.as_millis() as u64);
        numbers.replay.record(report.replay_time.as_millis() as u64);
        numbers.replayed.record(report.replayed);
    }

    /// Adds these numbers to what is shown.
    pub fn add_to(&self, metrics: &mut Metrics) {
        let numbers = self.numbers.lock();
        metrics.fsynctime.merge(&numbers.fsync);
        metrics.sync_processor_queue_flush_time_ms.merge(&numbers.flush);
        metrics.sync_processor_batch_size.merge(&numbers.batch);
        metrics.snapshottime.merge(&numbers.snapshot);
        metrics.dbinittime.merge(&numbers.recovery);
        metrics.startup_snap_load_time.merge(&numbers.load);
        metrics.startup_txns_load_time.merge(&numbers.replay);
        metrics.startup_txns_loaded.merge(&numbers.replayed);
    }

    /// `srst`: starts anew.
    pub fn reset(&self) {
        *self.numbers.lock() = Numbers::default();
    }
}

/// What the log and snapshot threads report: counted here, then passed on to the core.
#[derive(Debug)]
pub struct Reports {
    /// The core's.
    pub mailbox: Arc<Mailbox>,
    /// The server's.
    pub host: Arc<HostStats>,
    /// Whether the server is one of an ensemble.
    pub is_member: bool,
}

impl LogReports for Reports {
    fn synced(&self, zxid: Zxid, took: Duration) {
        self.host.log_synced(took);
        if self.is_member {
            self.mailbox.put_log_report(LogReport::Disk(Disk::Synced(zxid)));
        } else {
            self.mailbox.put_synced(zxid);
        }
    }

    fn batched(&self, txns: usize) {
        self.host.log_batched(txns);
    }

    fn epochs_saved(&self, epochs: Epochs) {
        self.mailbox.put_log_report(LogReport::Disk(Disk::EpochsSaved(epochs)));
    }

    fn ensemble_id_saved(&self, id: u128) {
        self.mailbox.put_log_report(LogReport::Disk(Disk::EnsembleIdSaved(id)));
    }

    fn rebuilt(&self, rebuilt: Rebuilt) {
        self.mailbox.put_log_report(LogReport::Rebuilt(rebuilt));
    }

    fn failed(&self, error: LogError) {
        self.mailbox.put_failure(error);
    }
}

impl HistoryReports for Reports {
    fn surveyed(&self, link: LinkId, survey: Option<LogSurvey>) {
        self.mailbox.put_history_report(HistoryReport::Input(Input::LogSurveyed { link, survey }));
    }

    fn read(&self, link: LinkId, entries: Vec<Entry>) {
        self.mailbox.put_history_report(HistoryReport::Input(Input::LogRead { link, entries }));
    }

    fn opened(&self, link: LinkId, opened: Opened) {
        self.mailbox.put_history_report(match opened {
            Opened::At(zxid) => HistoryReport::Input(Input::SnapshotOpened { link, zxid }),
            Opened::NoneReaches { at_least } => HistoryReport::SnapshotTooOld { link, at_least },
            // It comes again.
            Opened::Busy => HistoryReport::Input(Input::HistoryUnavailable(link)),
        });
    }

    fn unavailable(&self, link: LinkId) {
        self.mailbox.put_history_report(HistoryReport::Input(Input::HistoryUnavailable(link)));
    }
}

impl SnapshotReports for Reports {
    fn chunk_written(&self) {
        self.mailbox.put_chunk_written();
    }

    fn snapshot_over(&self) {
        self.mailbox.put_snapshot_over();
    }

    fn snapshot_published(&self, took: Duration) {
        self.host.snapshot_written(took);
    }
}
