//! The transaction log being written: batches in, synced zxids out.
//!
//! Meant to be owned by one thread. It collects what the core has proposed meanwhile, calls
//! [`TxnLog::write`] for each batch and [`TxnLog::sync`] once, and reports the zxid that returns:
//! one write and one fdatasync for as many txns as arrived during the last fdatasync.
//!
//! A file is born empty of entries: header, fsync, directory fsync; only then is the first batch
//! written. So a file that has a later one beside it is complete, and a file without a whole
//! header never had an entry in it.
//!
//! A failed write or sync is final. The kernel may have thrown the dirty pages away, and a retry
//! that succeeds would prove nothing ("fsyncgate"); the log answers every later call with
//! [`LogError::AfterFailure`], the server must end before it answers anything not yet synced,
//! and a restart finds out what is really there.

use std::path::PathBuf;

use oxkeeper_proto::Zxid;

use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::limits::{
    LOG_FILE_BYTES_MAX, MARK_BATCHES, MARK_BYTES, ZERO_AHEAD_BATCH_BYTES_MAX, ZERO_AHEAD_BYTES,
};
use crate::log_format::{
    ENTRY_OVERHEAD_BYTES, ENTRY_PREFIX_BYTES, HEADER_BYTES, MARK_OFFSET, header, mark_bytes,
    payload_zxid,
};
use crate::names::log_name;

/// How close to the end of the file an append must come before it is extended (Java's number,
/// `FilePadding.calculateFileSizeWithPadding`).
const PREALLOC_MARGIN_BYTES: u64 = 4096;

static ZEROS: [u8; ZERO_AHEAD_BYTES as usize] = [0; ZERO_AHEAD_BYTES as usize];

/// How logs are written.
#[derive(Debug, Clone)]
pub struct TxnLogOptions {
    /// By how many bytes the file is extended when it fills up (`zookeeper.preAllocSize`, there
    /// in KiB). 0 extends it with every write, at the price of a slower fdatasync.
    pub prealloc_bytes: u64,
    /// A new file is begun once the current one holds more bytes than this
    /// (`txnLogSizeLimitInKb`). Whole batches only: a file can exceed it by one.
    pub size_limit_bytes: Option<u64>,
    /// `forceSync`: without it nothing is synced, and a power cut loses acknowledged writes.
    pub force_sync: bool,
}

impl Default for TxnLogOptions {
    fn default() -> TxnLogOptions {
        TxnLogOptions { prealloc_bytes: 64 << 20, size_limit_bytes: None, force_sync: true }
    }
}

/// Why the log stopped. All but [`LogError::BadBatch`] are the disk's fault, and all are final.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk is full. Nothing acknowledged is lost: restart once there is space.
    #[error("the disk is full ({free_bytes} bytes free); make space and start again: {source}")]
    DiskFull {
        /// What was being done.
        source: DiskError,
        /// Free bytes at that moment.
        free_bytes: u64,
    },
    /// A write or sync failed, hence it is unknown what the disk holds.
    #[error("the transaction log can no longer be trusted: {0}")]
    Failed(#[source] DiskError),
    /// What a member of an ensemble keeps besides could not be read or written: its epochs, or the
    /// history that it was told to give up or to take over.
    #[error("this server's files can no longer be relied on: {0}")]
    Member(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log had already failed.
    #[error("the transaction log failed earlier; nothing more is written")]
    AfterFailure,
    /// The caller's bytes are no log entries in rising order of zxid: a defect of this server.
    #[error("refused to log a batch ending at {last}: {why}")]
    BadBatch {
        /// The last zxid the caller named.
        last: Zxid,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The log of one server, open for writing.
#[derive(Debug)]
pub struct TxnLog<D: Disk> {
    disk: D,
    dir: PathBuf,
    options: TxnLogOptions,
    current: Option<Current<D::File>>,
    /// Last zxid written, synced or not.
    written: Zxid,
    synced: Zxid,
    /// Bytes of the files finished since opening.
    finished_bytes: u64,
    failed: bool,
}

#[derive(Debug)]
struct Current<F> {
    file: F,
    path: PathBuf,
    /// End of the last entry.
    position: u64,
    /// Size of the file, padding included.
    size: u64,
    /// Up to where blocks are known to be written, with entries or zeros.
    zeroed: u64,
    /// The position up to which fdatasync has returned.
    synced: u64,
    /// The position in the header.
    mark: u64,
    batches_since_mark: u32,
    unsynced_mark: bool,
}

impl<D: Disk> TxnLog<D> {
    /// A log that goes on after `last`, the highest zxid recovered. Creates no file before the
    /// first write.
    ///
    /// `dir` is the `version-2` directory for logs; it must exist.
    pub fn new(disk: D, dir: PathBuf, options: TxnLogOptions, last: Zxid) -> TxnLog<D> {
        TxnLog {
            disk,
            dir,
            options,
            current: None,
            written: last,
            synced: last,
            finished_bytes: 0,
            failed: false,
        }
    }

    /// Hands a batch of whole framed entries ([`crate::frame_entry`]) to the operating system.
    /// `last` is the zxid of the last of them. Nothing is promised before [`TxnLog::sync`].
    pub fn write(&mut self, entries: &[u8], last: Zxid) -> Result<(), LogError> {
        self.alive()?;
        let done = self.check_batch(entries, last).and_then(|first| {
            self.write_batch(entries, first).map_err(|source| self.disk_error(source))
        });
        self.note_failure(done)?;
        self.written = last;
        Ok(())
    }

    /// Makes everything written durable and returns the zxid of the last of it.
    pub fn sync(&mut self) -> Result<Zxid, LogError> {
        self.alive()?;
        if self.synced < self.written {
            let done = self.sync_current().map_err(|source| self.disk_error(source));
            self.note_failure(done)?;
            self.synced = self.written;
            self.roll_if_large()?;
        }
        Ok(self.synced)
    }

    /// One batch written and synced.
    pub fn append(&mut self, entries: &[u8], last: Zxid) -> Result<Zxid, LogError> {
        self.write(entries, last)?;
        self.sync()
    }

    /// Begins a new file with the next write, as a snapshot does. Syncs what was written.
    pub fn roll(&mut self) -> Result<(), LogError> {
        self.sync()?;
        // Also if nothing else is synced, or a power cut could leave a gap between two files.
        let done = self.current.as_mut().map_or(Ok(()), Current::complete);
        let done = done.map_err(|source| self.disk_error(source));
        self.note_failure(done)?;
        if let Some(finished) = self.current.take() {
            self.finished_bytes += finished.size;
        }
        Ok(())
    }

    /// Brings the mark up to date and makes it durable. To be called when the log falls idle and
    /// before it is closed: from then on all damage to this file is known for what it is. Costs
    /// nothing when the mark is up to date.
    pub fn settle(&mut self) -> Result<(), LogError> {
        self.alive()?;
        let done = match &mut self.current {
            Some(file) if self.options.force_sync => file.settle(),
            _ => Ok(()),
        };
        let done = done.map_err(|source| self.disk_error(source));
        self.note_failure(done)
    }

    /// Last zxid handed to [`TxnLog::write`], or the one given to [`TxnLog::new`].
    pub fn last_written(&self) -> Zxid {
        self.written
    }

    /// Last zxid known to be on disk.
    pub fn last_synced(&self) -> Zxid {
        self.synced
    }

    /// Bytes logged since opening, padding of the current file included: what
    /// `snapSizeLimitInKb` is compared with (`FileTxnLog.getTotalLogSize`).
    pub fn total_bytes(&self) -> u64 {
        self.finished_bytes + self.current.as_ref().map_or(0, |file| file.size)
    }

    fn alive(&self) -> Result<(), LogError> {
        if self.failed { Err(LogError::AfterFailure) } else { Ok(()) }
    }

    fn note_failure<T>(&mut self, done: Result<T, LogError>) -> Result<T, LogError> {
        self.failed |= done.is_err();
        done
    }

    fn disk_error(&self, source: DiskError) -> LogError {
        if !source.is_full() {
            return LogError::Failed(source);
        }
        let free_bytes = self.disk.free_bytes(&self.dir).unwrap_or(0);
        LogError::DiskFull { source, free_bytes }
    }

    /// Refuses batches that would make a file unreadable, and returns their first zxid. The
    /// entries in between are the caller's word.
    fn check_batch(&self, entries: &[u8], last: Zxid) -> Result<Zxid, LogError> {
        let bad = |why| Err(LogError::BadBatch { last, why });
        let Some((prefix, rest)) = entries.split_first_chunk::<ENTRY_PREFIX_BYTES>() else {
            return bad("it is shorter than one entry");
        };
        let len = prefix[8..].iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        let Some(first) = rest.get(..len).and_then(payload_zxid) else {
            return bad("its first entry is not whole");
        };
        if first <= self.written {
            return bad("it does not follow what is logged");
        }
        if last < first || (entries.len() == len + ENTRY_OVERHEAD_BYTES && last != first) {
            return bad("its entries end elsewhere");
        }
        Ok(first)
    }

    fn write_batch(&mut self, entries: &[u8], first: Zxid) -> Result<(), DiskError> {
        if self.current.is_none() {
            self.current = Some(self.begin(first)?);
        }
        match &mut self.current {
            Some(file) => file.write(entries, self.options.prealloc_bytes),
            None => Ok(()),
        }
    }

    /// Creates the file for a first zxid, durably, with nothing but a header in it.
    fn begin(&self, first: Zxid) -> Result<Current<D::File>, DiskError> {
        let path = self.dir.join(log_name(first));
        let file = self.disk.create_new(&path).at("create", &path)?;
        let position = HEADER_BYTES as u64;
        let size = position + self.options.prealloc_bytes;
        file.set_len(size).at("extend", &path)?;
        file.write_at(&header(position), 0).at("write", &path)?;
        // Even if nothing else is synced: a file whose entries came to disk without its header
        // could not be told from a damaged one.
        file.sync_all().at("sync", &path)?;
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        tracing::info!(file = %path.display(), "new transaction log");
        Ok(Current {
            file,
            path,
            position,
            size,
            zeroed: position,
            synced: position,
            mark: position,
            batches_since_mark: 0,
            unsynced_mark: false,
        })
    }

    fn sync_current(&mut self) -> Result<(), DiskError> {
        match &mut self.current {
            Some(file) if self.options.force_sync => file.sync(),
            _ => Ok(()),
        }
    }

    fn roll_if_large(&mut self) -> Result<(), LogError> {
        let limit = self.options.size_limit_bytes.unwrap_or(u64::MAX).min(LOG_FILE_BYTES_MAX);
        match &self.current {
            Some(file) if file.position > limit => self.roll(),
            _ => Ok(()),
        }
    }
}

impl<F: DiskFile> Current<F> {
    fn write(&mut self, entries: &[u8], prealloc_bytes: u64) -> Result<(), DiskError> {
        let end = self.position + entries.len() as u64;
        if prealloc_bytes > 0 {
            self.extend(end, prealloc_bytes)?;
            self.zero_ahead(end, entries.len())?;
        }
        self.file.write_at(entries, self.position).at("write", &self.path)?;
        self.position = end;
        self.size = self.size.max(end);
        self.zeroed = self.zeroed.max(end);
        Ok(())
    }

    /// Java's preallocation, but looking ahead to the end of the batch.
    fn extend(&mut self, end: u64, prealloc_bytes: u64) -> Result<(), DiskError> {
        if end + PREALLOC_MARGIN_BYTES < self.size {
            return Ok(());
        }
        let size = match end > self.size {
            true => (end + prealloc_bytes) / prealloc_bytes * prealloc_bytes,
            false => self.size + prealloc_bytes,
        };
        self.file.set_len(size).at("extend", &self.path)?;
        self.size = size;
        Ok(())
    }

    fn zero_ahead(&mut self, end: u64, batch_bytes: usize) -> Result<(), DiskError> {
        if end <= self.zeroed || batch_bytes >= ZERO_AHEAD_BATCH_BYTES_MAX {
            return Ok(());
        }
        let until = self.size.min(end + ZERO_AHEAD_BYTES);
        let zeros = &ZEROS[..(until - end) as usize];
        self.file.write_at(zeros, end).at("write", &self.path)?;
        self.zeroed = until;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        self.file.sync_data().at("sync", &self.path)?;
        self.synced = self.position;
        self.unsynced_mark = false;
        self.batches_since_mark += 1;
        let bytes_since_mark = self.synced - self.mark;
        if self.batches_since_mark >= MARK_BATCHES || bytes_since_mark >= MARK_BYTES {
            self.write_mark()?;
        }
        Ok(())
    }

    /// Not synced here: a mark that is lost leaves an older one, which is as true.
    fn write_mark(&mut self) -> Result<(), DiskError> {
        self.file.write_at(&mark_bytes(self.synced), MARK_OFFSET).at("write", &self.path)?;
        self.mark = self.synced;
        self.batches_since_mark = 0;
        self.unsynced_mark = true;
        Ok(())
    }

    /// Makes everything in the file durable and marks it so.
    fn complete(&mut self) -> Result<(), DiskError> {
        if self.synced < self.position {
            self.sync()?;
        }
        self.settle()
    }

    fn settle(&mut self) -> Result<(), DiskError> {
        if self.mark < self.synced {
            self.write_mark()?;
        }
        if self.unsynced_mark {
            // Entries written since the last sync, if any, become durable along with it. They
            // are not reported: that is for the next sync.
            self.file.sync_data().at("sync", &self.path)?;
            self.unsynced_mark = false;
        }
        Ok(())
    }
}
