//! Transaction logs and snapshots in Apache ZooKeeper's file formats.
//!
//! This crate moves bytes between memory and disk and answers for their safety. It does not
//! know what the bytes mean: a log entry is an opaque payload of which only the zxid is looked
//! at, a snapshot is a stream sealed with checksums. What they say is the tree's business, so
//! that neither room can be wrong about the other's.
//!
//! ```text
//!  <dataDir>/oxkeeper.lock                      one server per directory        data_dir
//!  <dataDir>/oxkeeper.{held,received}           what a member must not forget    past
//!  <dataDir>/version-2/snapshot.<zxid>[.gz]     the tree at a zxid              snapshot_*
//!  <dataDir>/version-2/currentEpoch             promises of an ensemble member  epochs
//!  <dataLogDir>/version-2/log.<zxid>            every write since               txn_log, log_*
//! ```
//!
//! # The promise
//!
//! What [`TxnLog::sync`] has returned for is found again by [`Recovery`], whatever the power did
//! in between, or recovery refuses to start and names the damaged file. What was not yet synced
//! may be there or not, but always as a prefix: never an entry without those before it, never
//! half an entry.
//!
//! # Torn is not rotten
//!
//! A bad checksum at the end of a log may be an unsynced write that a power cut tore, which
//! nobody was promised, or a synced one gone bad, which somebody was. Cutting the second kind
//! off and then voting on what is left loses acknowledged writes. Java cannot tell them apart;
//! logs written here carry a *mark*: how far the file is known to be synced, kept in the header
//! field `dbid` that every ZooKeeper ignores (module [`log_format`]). Damage below the mark
//! refuses to start, damage above it is cut off and reported.
//!
//! # Everything below is a [`Disk`]
//!
//! All file access goes through the trait [`Disk`]. [`OsDisk`] is the real one, [`SimDisk`]
//! keeps files in memory and knows which bytes were synced: it can cut the power after any
//! operation and hand out one of the many images that may be found afterwards.

pub mod data_dir;
pub mod disk;
mod ensemble_id;
mod epochs;
pub mod limits;
pub mod log_format;
pub mod log_reader;
mod names;
pub mod past;
pub mod purge;
pub mod recovery;
pub mod sim_disk;
mod snapshot_codec;
pub mod snapshot_reader;
pub mod snapshot_writer;
pub mod snapshots;
pub mod truncate;
pub mod txn_log;

pub use data_dir::{DataDir, OpenError, OpenOptions};
pub use disk::{Disk, DiskError, DiskFile, LockError, OsDisk};
pub use ensemble_id::{read_ensemble_id, write_ensemble_id};
pub use epochs::Epochs;
pub use log_format::{frame_entry, seal_entry};
pub use log_reader::{FileEnd, LogEntry, LogReader, LogReport, ReadError};
pub use recovery::{Loaded, Recovery, RecoveryError, RecoveryOptions, Start};
pub use sim_disk::SimDisk;
pub use snapshot_reader::{SnapshotError, SnapshotReader};
pub use snapshot_writer::{PreparedSnapshot, SnapshotWriter};
pub use snapshots::{Compression, SnapshotFile};
pub use truncate::{TruncateError, Truncated};
pub use txn_log::{LogError, TxnLog, TxnLogOptions};
