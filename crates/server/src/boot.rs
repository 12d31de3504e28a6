//! From files to a tree: newest readable snapshot, then the log behind it.

use std::sync::Arc;
use std::time::Instant;

use oxkeeper_config::{Config, ExitCode, SnapshotCompression};
use oxkeeper_node::Shared;
use oxkeeper_proto::{Payload, Zxid};
use oxkeeper_storage::{
    Compression, DataDir, LogReport, OpenError, OpenOptions, OsDisk, Recovery, RecoveryOptions, SnapshotError,
    SnapshotReader, Start,
};
use oxkeeper_tree::snapshot::{self, LoadError, SnapshotSource};
use oxkeeper_tree::{Changes, OwnerRules, Tree, TreeOptions};

use crate::StartError;

/// What recovery brought back.
#[derive(Debug)]
pub struct Booted {
    /// The directories, locked.
    pub dir: Arc<DataDir<OsDisk>>,
    /// The tree as of the last transaction.
    pub shared: Shared,
    /// Whether a snapshot should be written at once: there is none, or the log had to be replayed.
    pub wants_snapshot: bool,
}

/// Opens the directories of `config` and recovers what they hold.
pub fn boot(config: &Config, seed: u64) -> Result<Booted, StartError> {
    let began = Instant::now();
    let storage = &config.storage;
    let options = OpenOptions { autocreate: storage.datadir_autocreate };
    let dir = DataDir::open(OsDisk, &storage.data_dir, &storage.data_log_dir, options)
        .map_err(open_error)?;
    let options = RecoveryOptions {
        trust_empty_snapshot: storage.trust_empty_snapshot,
        db_autocreate: true,
        java_entry_bytes_max: config.limits.jute_maxbuffer as usize
            + config.limits.jute_extrasize as usize,
    };
    let failed = |error: oxkeeper_storage::RecoveryError| StartError {
        message: format!("cannot recover the data in {}: {error}", storage.data_dir.display()),
        code: ExitCode::UnexpectedError,
    };
    let mut recovery = Recovery::new(&dir, options).map_err(failed)?;
    let tree_options = || tree_options(config, seed);
    let (mut tree, from) = match recovery.start() {
        Start::Snapshots => {
            let loaded = recovery
                .load(|reader, zxid| {
                    let loaded = snapshot::load(&mut Source { reader }, tree_options(), zxid)?;
                    Ok::<_, LoadError<SnapshotError>>(loaded)
                })
                .map_err(failed)?;
            if loaded.value.unreadable_acls > 0 {
                tracing::warn!(
                    znodes = loaded.value.unreadable_acls,
                    file = %loaded.file.path.display(),
                    "the snapshot lacks the access control lists of some znodes; only the super \
                     user gets at them until setACL gives them another"
                );
            }
            (loaded.value.tree, loaded.zxid)
        }
        Start::LogsOnly | Start::Empty | Start::EmptyUntrusted => {
            (Tree::new(tree_options()), Zxid::ZERO)
        }
    };
    let fresh = !matches!(recovery.start(), Start::Snapshots);
    let mut log = recovery.replay().map_err(|error| failed(error.into()))?;
    let mut changes = Changes::default();
    let mut replayed = 0u64;
    while let Some(entry) = log.next().map_err(|error| failed(error.into()))? {
        let payload = Payload::decode(entry.payload).map_err(|error| StartError {
            message: format!(
                "the transaction {} in {} cannot be understood: {error}",
                entry.zxid,
                storage.data_log_dir.display()
            ),
            code: ExitCode::UnexpectedError,
        })?;
        tree.apply(&payload, &mut changes, None);
        changes.clear();
        replayed += 1;
    }
    let report = recovery.finish(log).map_err(failed)?;
    say_what_was_cut(&report);
    let orphans = tree.remove_orphans();
    tracing::info!(
        snapshot = %from,
        replayed,
        zxid = %tree.last_zxid(),
        znodes = tree.node_count(),
        orphans,
        took_ms = began.elapsed().as_millis() as u64,
        "recovered"
    );
    let shared = Shared { tree, serving: true };
    Ok(Booted { dir: Arc::new(dir), shared, wants_snapshot: fresh || replayed > 0 })
}

/// The rules by which a tree is read and changed.
fn tree_options(config: &Config, seed: u64) -> TreeOptions {
    TreeOptions {
        hash_seed: seed,
        digest_enabled: config.tree.digest_enabled,
        owner_rules: owner_rules(config),
    }
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

fn open_error(error: OpenError) -> StartError {
    let code = match error {
        OpenError::Lock(_) => ExitCode::UnexpectedError,
        _ => ExitCode::UnableToAccessDatadir,
    };
    StartError { message: error.to_string(), code }
}

/// A snapshot file as the tree reads it.
struct Source<'a> {
    reader: &'a mut SnapshotReader,
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

/// Tells what recovery did to the log, one line each: an operator may want to know what a power cut
/// took.
fn say_what_was_cut(report: &LogReport) {
    for (file, offset, flaw) in &report.cut {
        tracing::warn!(file, offset, "cut off the torn end of a log, which nobody was promised: {flaw}");
    }
    for file in &report.removed {
        tracing::warn!(file, "removed a log without entries");
    }
    if let Some((before, after)) = report.gap {
        tracing::warn!(%before, %after, "transactions are missing between two entries of the log");
    }
    if report.out_of_order > 0 {
        tracing::error!(entries = report.out_of_order, "the log has entries out of order");
    }
}
