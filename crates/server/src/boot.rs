//! From files to a tree: newest readable snapshot, then the log behind it.
//!
//! [`boot`] works on any [`Disk`]: the real host gives it the operating system's, tests one that
//! loses power.
//!
//! # When a snapshot is written before anything is served
//! - The directory was empty. `snapshot.0` is there before the first log is: a log without any
//!   snapshot is refused by every ZooKeeper, ours included, because it may be a piece of something
//!   larger.
//! - Ephemerals of sessions that no longer exist were removed. No transaction says so, and the
//!   znodes must not come back under what the log will say next.
//!
//! In all other cases the log has everything, and the snapshot that Java takes here is written
//! while clients are served.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oxkeeper_config::{Config, ExitCode, SnapshotCompression};
use oxkeeper_node::Shared;
use oxkeeper_proto::{DecodeError, Payload, Zxid};
use oxkeeper_storage::{
    Compression, DataDir, Disk, DiskError, LogEntry, LogReport, OpenError, OpenOptions, Recovery,
    RecoveryError, RecoveryOptions, SnapshotError, SnapshotFile, SnapshotReader, Start,
};
use oxkeeper_tree::snapshot::{self, LoadError, SnapshotSource};
use oxkeeper_tree::{Changes, OwnerRules, Tree, TreeOptions, TreeStats};

use crate::StartError;
use crate::snapshot_thread::{PurgePolicy, SnapshotPolicy, SnapshotWorker};

/// Where the data is and how it is read.
#[derive(Debug, Clone)]
pub struct BootOptions {
    /// `dataDir`.
    pub data_dir: PathBuf,
    /// `dataLogDir`, or `dataDir` again.
    pub data_log_dir: PathBuf,
    /// How the directories are opened.
    pub open: OpenOptions,
    /// What recovery may assume.
    pub recovery: RecoveryOptions,
    /// The rules by which a tree is read and changed.
    pub tree: TreeOptions,
    /// How a snapshot is written that has to be there before anything is served.
    pub snapshot: SnapshotPolicy,
}

impl BootOptions {
    /// What a configuration says.
    pub fn new(config: &Config, seed: u64) -> BootOptions {
        let storage = &config.storage;
        BootOptions {
            data_dir: storage.data_dir.clone(),
            data_log_dir: storage.data_log_dir.clone(),
            open: OpenOptions { autocreate: storage.datadir_autocreate },
            recovery: RecoveryOptions {
                trust_empty_snapshot: storage.trust_empty_snapshot,
                // Only an ensemble can wait for someone who has the data.
                db_autocreate: true,
                java_entry_bytes_max: config.limits.jute_maxbuffer as usize
                    + config.limits.jute_extrasize as usize,
            },
            tree: TreeOptions {
                hash_seed: seed,
                digest_enabled: config.tree.digest_enabled,
                owner_rules: owner_rules(config),
            },
            snapshot: SnapshotPolicy {
                compression: compression(config),
                zxid_section: config.storage.serialize_last_processed_zxid,
                purge: None,
            },
        }
    }
}

/// What recovery brought back.
#[derive(Debug)]
pub struct Booted<D: Disk> {
    /// The directories, locked.
    pub dir: Arc<DataDir<D>>,
    /// The tree as of the last transaction.
    pub shared: Shared,
    /// Whether a snapshot should be written soon, so that the next start need not replay.
    pub wants_snapshot: bool,
    /// What was found.
    pub report: BootReport,
}

/// What recovery found and did.
#[derive(Debug)]
pub struct BootReport {
    /// What there was to begin with.
    pub start: Start,
    /// The snapshot that was read; none if the directory had none.
    pub snapshot: Option<SnapshotFile>,
    /// Newer ones that could not be read, and why.
    pub unreadable: Vec<(SnapshotFile, String)>,
    /// Transactions applied on top of it.
    pub replayed: u64,
    /// How long reading the snapshot took.
    pub load_time: Duration,
    /// How long replaying the log took.
    pub replay_time: Duration,
    /// Znodes whose access control list the snapshot lacked.
    pub unreadable_acls: usize,
    /// Sessions that no longer exist and whose ephemerals were removed. Nothing is in an ensemble.
    pub orphans: usize,
    /// Transactions whose digest was not the tree's.
    pub digest_mismatches: u64,
    /// How the logs were found, and what was cut.
    pub log: LogReport,
}

/// Why there is nothing to serve. The message names the file and says what to do.
#[derive(Debug)]
pub enum BootError {
    /// The directories cannot be used.
    Open(OpenError),
    /// What they hold cannot be trusted.
    Recovery {
        /// `dataDir`.
        dir: PathBuf,
        /// Why.
        error: RecoveryError,
    },
    /// A log has a transaction that nobody understands.
    Txn {
        /// `dataLogDir`.
        dir: PathBuf,
        /// The transaction.
        zxid: Zxid,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// A snapshot that has to be there could not be written.
    Snapshot(DiskError),
    /// What a member of an ensemble must remember could not be read or written.
    Member(DiskError),
    /// A file of the epochs holds what no epoch can be.
    Epoch {
        /// The file's name.
        file: &'static str,
        /// What it says.
        epoch: i64,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Open(error) => error.fmt(f),
            BootError::Recovery { dir, error } => {
                write!(f, "cannot recover the data in {}: {error}", dir.display())
            }
            BootError::Txn { dir, zxid, error } => write!(
                f,
                "the transaction {zxid} in {} cannot be understood: {error}",
                dir.display()
            ),
            BootError::Snapshot(error) => write!(f, "cannot write the first snapshot: {error}"),
            BootError::Member(error) => error.fmt(f),
            BootError::Epoch { file, epoch } => write!(
                f,
                "{epoch} in {file} is no epoch; restore the file, or remove this server's data: \
                 the others have it"
            ),
        }
    }
}

impl std::error::Error for BootError {}

impl From<BootError> for StartError {
    fn from(error: BootError) -> StartError {
        let code = match &error {
            BootError::Open(OpenError::Lock(_)) => ExitCode::UnexpectedError,
            BootError::Open(_) => ExitCode::UnableToAccessDatadir,
            BootError::Recovery { .. }
            | BootError::Txn { .. }
            | BootError::Member(_)
            | BootError::Epoch { .. } => ExitCode::UnexpectedError,
            BootError::Snapshot(_) => ExitCode::TxnlogErrorTakingSnapshot,
        };
        StartError { message: error.to_string(), code }
    }
}

/// Opens the directories, recovers what they hold and leaves them so that any ZooKeeper could go
/// on from there.
///
/// # Errors
/// If the directories cannot be used, or what is in them is damaged where somebody was promised
/// it. Nothing is changed then.
pub fn boot<D: Disk>(disk: D, options: &BootOptions) -> Result<Booted<D>, BootError> {
    let began = Instant::now();
    let BootOptions { data_dir, data_log_dir, .. } = options;
    let dir = DataDir::open(disk, data_dir, data_log_dir, options.open).map_err(BootError::Open)?;
    let (mut tree, mut report) = recover(&dir, options, &mut |_| ())?;
    report.orphans = tree.remove_orphans();
    let fresh = report.snapshot.is_none();
    let dir = Arc::new(dir);
    if fresh || report.orphans > 0 {
        write_first(&dir, options, &mut tree)?;
    }
    report.tell(&tree, began.elapsed());
    let wants_snapshot = report.replayed > 0 && !fresh && report.orphans == 0;
    Ok(Booted {
        dir,
        shared: Shared { tree, serving: true, read_only: false },
        wants_snapshot,
        report,
    })
}

/// Writes the snapshot without which nothing may be logged.
pub(crate) fn write_first<D: Disk>(
    dir: &Arc<DataDir<D>>,
    options: &BootOptions,
    tree: &mut Tree,
) -> Result<(), BootError> {
    let mut worker = SnapshotWorker::new(Arc::clone(dir), options.snapshot);
    worker.write_now(tree).and_then(|()| dir.remove_initialize()).map_err(BootError::Snapshot)
}

/// Builds a tree from what the directories hold: a snapshot, and the log behind it to its very end.
/// `each` is shown every transaction of that log.
///
/// # Errors
/// As [`boot`].
pub fn recover<D: Disk>(
    dir: &DataDir<D>,
    options: &BootOptions,
    each: &mut dyn FnMut(LogEntry<'_>),
) -> Result<(Tree, BootReport), BootError> {
    let failed =
        |error: RecoveryError| BootError::Recovery { dir: options.data_dir.clone(), error };
    let loading = Instant::now();
    let mut recovery = Recovery::new(dir, options.recovery).map_err(failed)?;
    let start = recovery.start();
    let mut snapshot = None;
    let mut unreadable = Vec::new();
    let mut unreadable_acls = 0;
    let mut tree = match start {
        Start::Snapshots => {
            let load = |reader: &mut SnapshotReader, zxid| {
                let loaded = snapshot::load(&mut Source { reader }, options.tree, zxid)?;
                Ok::<_, LoadError<SnapshotError>>(loaded)
            };
            let loaded = recovery.load(load).map_err(failed)?;
            snapshot = Some(loaded.file);
            unreadable = loaded.unreadable;
            unreadable_acls = loaded.value.unreadable_acls;
            loaded.value.tree
        }
        Start::LogsOnly | Start::Empty | Start::EmptyUntrusted => Tree::new(options.tree),
    };
    let load_time = loading.elapsed();
    let replaying = Instant::now();
    let mut log = recovery.replay().map_err(|error| failed(error.into()))?;
    let mut changes = Changes::default();
    let mut replayed = 0u64;
    while let Some(entry) = log.next().map_err(|error| failed(error.into()))? {
        let payload = Payload::decode(entry.payload).map_err(|error| BootError::Txn {
            dir: options.data_log_dir.clone(),
            zxid: entry.zxid,
            error,
        })?;
        tree.apply(&payload, &mut changes, None);
        changes.clear();
        replayed += 1;
        each(entry);
    }
    let log = recovery.finish(log).map_err(failed)?;
    let report = BootReport {
        start,
        snapshot,
        unreadable,
        replayed,
        load_time,
        replay_time: replaying.elapsed(),
        unreadable_acls,
        orphans: 0,
        digest_mismatches: tree.stats().digest_mismatches,
        log,
    };
    Ok((tree, report))
}

/// How the owner of a znode is read.
pub fn owner_rules(config: &Config) -> OwnerRules {
    OwnerRules {
        extended_types: config.tree.extended_types_enabled,
        emulate_353: config.tree.emulate_353_ttl_nodes,
    }
}

/// How snapshots are compressed, in storage's words.
pub fn compression(config: &Config) -> Compression {
    match config.storage.snapshot_compression {
        SnapshotCompression::None => Compression::None,
        SnapshotCompression::Gzip => Compression::Gzip,
        SnapshotCompression::Snappy => Compression::Snappy,
    }
}

/// When old snapshots are removed. What nobody asked for is done only in directories of our making,
/// and there after each snapshot.
pub fn purge_policy(config: &Config, created_by_us: bool) -> Option<PurgePolicy> {
    const HOUR: Duration = Duration::from_secs(3600);
    let purge = config.storage.purge;
    let hours = purge.interval_hours.filter(|_| created_by_us || !purge.from_default)?;
    let every = (!purge.from_default).then(|| hours * HOUR);
    Some(PurgePolicy { retain: purge.retain_count as usize, every })
}

/// A snapshot file as the tree reads it.
pub(crate) struct Source<'a> {
    pub reader: &'a mut SnapshotReader,
}

impl SnapshotSource for Source<'_> {
    type Error = SnapshotError;

    fn next_bytes(&mut self, len: usize) -> Result<&[u8], SnapshotError> {
        self.reader.next_bytes(len)
    }

    fn check_seal(&mut self) -> Result<(), SnapshotError> {
        self.reader.check_seal()
    }

    fn remaining(&mut self, max: usize) -> Result<usize, SnapshotError> {
        self.reader.remaining(max)
    }
}

impl BootReport {
    /// Tells what an operator may want to know, one line each: how it went, what a power cut took,
    /// what is not as it should be.
    pub(crate) fn tell(&self, tree: &Tree, took: Duration) {
        if self.unreadable_acls > 0 {
            tracing::warn!(
                znodes = self.unreadable_acls,
                "the snapshot lacks the access control lists of some znodes; only the super \
                 user gets at them until setACL gives them another"
            );
        }
        for (file, bytes, flaw) in &self.log.cut {
            tracing::warn!(
                file,
                bytes,
                "cut off the torn end of a log, which nobody was promised: {flaw}"
            );
        }
        if let Some((before, after)) = self.log.gap {
            tracing::warn!(%before, %after, "transactions are missing between two of the log");
        }
        if self.log.out_of_order > 0 {
            tracing::error!(entries = self.log.out_of_order, "the log has entries out of order");
        }
        self.say_digests(&tree.stats());
        tracing::info!(
            snapshot = %self.snapshot.as_ref().map_or(Zxid::ZERO, |file| file.zxid),
            replayed = self.replayed,
            zxid = %tree.last_zxid(),
            znodes = tree.node_count(),
            orphans = self.orphans,
            took_ms = took.as_millis() as u64,
            "recovered"
        );
    }

    fn say_digests(&self, stats: &TreeStats) {
        if self.digest_mismatches == 0 {
            return;
        }
        let first = stats.first_mismatch.unwrap_or_default();
        if stats.digest_agrees {
            tracing::warn!(
                transactions = self.digest_mismatches,
                %first,
                "some transactions carry a digest that was not the tree's, but a later one \
                 carries the right one: nothing is missing. Apache ZooKeeper logs such for writes \
                 to / while its children come and go"
            );
        } else {
            tracing::error!(
                transactions = self.digest_mismatches,
                %first,
                "the tree is not what the server that wrote the log had: digests do not match"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn policy_of(zoo_cfg: &str, created_by_us: bool) -> Option<PurgePolicy> {
        let text = format!("dataDir=/d\nclientPort=2181\n{zoo_cfg}");
        purge_policy(&oxkeeper_config::parse(text.as_bytes()).unwrap(), created_by_us)
    }

    #[test]
    fn nobodys_files_are_purged_unasked() {
        let config = Config::default_standalone();
        let after_each = PurgePolicy { retain: 3, every: None };
        assert_eq!(purge_policy(&config, true), Some(after_each));
        assert_eq!(purge_policy(&config, false), None, "somebody else's directory");
        assert_eq!(policy_of("", true), None, "ZooKeeper's default is off");
    }

    #[test]
    fn who_asks_for_purging_gets_it_as_often_as_asked() {
        let asked = "autopurge.purgeInterval=12\nautopurge.snapRetainCount=5\n";
        let policy = PurgePolicy { retain: 5, every: Some(12 * HOUR) };
        assert_eq!(policy_of(asked, true), Some(policy));
        assert_eq!(policy_of(asked, false), Some(policy));
        assert_eq!(policy_of("autopurge.purgeInterval=0\n", true), None);
    }
}
