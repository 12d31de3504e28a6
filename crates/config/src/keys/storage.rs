//! Where the data lies, and how logs and snapshots are written, kept and purged.

use super::{INT, Key, Kind, LONG, derived, from, key, unset};

/// Sizes are multiplied by 1024 and must still fit Java's `long`.
const KILOBYTES: Kind = Kind::Int { min: i64::MIN / 1024, max: i64::MAX / 1024 };

pub(super) const KEYS: &[Key] = &[
    unset("dataDir", Kind::Path, "Directory of snapshots, myid and, without dataLogDir, the log.")
        .in_file(),
    derived("dataLogDir", Kind::Path, "dataDir", "Directory of the transaction log.").in_file(),
    key("snapCount", INT, "100000", "Transactions between two snapshots, at most; 2 is the least.")
        .unit("transactions"),
    key(
        "snapSizeLimitInKb",
        KILOBYTES,
        "4194304",
        "Log written between two snapshots, at most; 0 or less means no limit.",
    )
    .unit("KB"),
    key(
        "preAllocSize",
        Kind::Int { min: 0, max: i64::MAX / 1024 },
        "65536",
        "Step by which the log file grows ahead of the writes; 0 turns that off.",
    )
    .unit("KB"),
    key(
        "txnLogSizeLimitInKb",
        KILOBYTES,
        "-1",
        "Size at which a new log file is begun; 0 or less means no limit.",
    )
    .unit("KB"),
    key("forceSync", Kind::YesNo, "yes", "Whether a write is on disk before it is acknowledged."),
    key(
        "fsync.warningthresholdms",
        Kind::Int { min: 0, max: i64::MAX },
        "1000",
        "A sync of the log that takes longer is reported.",
    )
    .unit("ms"),
    key(
        "flushDelay",
        Kind::Int { min: 0, max: 60_000 },
        "0",
        "How long a write may wait for others to share its sync; 0 waits for none.",
    )
    .unit("ms"),
    key("maxBatchSize", from(1), "1000", "Writes that may share a sync, at most.").unit("writes"),
    key(
        "snapshot.compression.method",
        Kind::Choice(&["", "gz", "snappy"]),
        "",
        "How snapshots are compressed; empty for not at all.",
    ),
    key(
        "snapshot.trust.empty",
        Kind::Bool,
        "false",
        "Starts from a log without any snapshot, as left by ZooKeeper 3.4.",
    ),
    key(
        "serializeLastProcessedZxid.enabled",
        Kind::Bool,
        "true",
        "Ends a snapshot with the zxid it stands for.",
    ),
    key(
        "digest.enabled",
        Kind::Bool,
        "true",
        "Keeps a digest of the tree, written to log and snapshots to detect divergence.",
    ),
    key(
        "closeSessionTxn.enabled",
        Kind::Bool,
        "true",
        "Lists a closing session's ephemeral znodes in its transaction.",
    ),
    key(
        "datadir.autocreate",
        Kind::Bool,
        "true",
        "Creates missing data directories instead of refusing to start.",
    ),
    key(
        "autopurge.snapRetainCount",
        INT,
        "3",
        "Snapshots that a purge keeps, with the log they need; 3 is the least.",
    )
    .in_file(),
    key(
        "autopurge.purgeInterval",
        INT,
        "0",
        "Time between purges of old snapshots and logs; 0 or less turns purging off.",
    )
    .unit("hours")
    .in_file(),
    derived(
        "maxWriteQueuePollTime",
        LONG,
        "flushDelay / 3",
        "How long ZooKeeper's log thread waits for work before it syncs.",
    )
    .unit("ms")
    .no_meaning("the log syncs as soon as no write is waiting"),
    key("db.autocreate", Kind::Bool, "true", "Lets a server with an empty database vote."),
    key("commitLogCount", INT, "500", "Transactions kept in memory to bring followers up to date."),
    key(
        "snapshotSizeFactor",
        Kind::Real { min: f64::MIN, max: f64::MAX },
        "0.33",
        "Share of a snapshot's size up to which followers are brought up to date from the log.",
    ),
];
