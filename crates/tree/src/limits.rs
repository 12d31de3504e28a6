//! Bounds of the tree, each with its reason.
//!
//! They bound what one operation may cost, not how much a tree may hold: that is for whoever owns
//! the memory to say.

/// Children kept beside the directory, without hashes: a directory this small is searched by
/// looking at each name. Most directories of Kafka and of lock recipes have one or two children.
pub const FEW_CHILDREN_MAX: usize = 4;

/// Handles in one run of a directory. Inserting moves half of one run on average (12 bytes a
/// handle), and writing to a run that a reader or a snapshot still holds copies it whole: at 512
/// both stay within a few microseconds, and a million children are two to four thousand runs.
pub const RUN_CHILDREN_MAX: usize = 512;

/// Directories in one run of the table of directories, for the same reason.
pub const RUN_DIRS_MAX: usize = 512;

/// The longest name of a znode. Its length shares a word with the znode's flags; no frame that we
/// can be configured to accept brings a longer one.
pub const NAME_BYTES_MAX: usize = 1 << 28;

/// Digests remembered, one per 128 transactions (`DataTree.DIGEST_LOG_LIMIT`).
pub const DIGEST_LOG_ENTRIES: usize = 1024;

/// The longest string or buffer taken from a snapshot. Lengths are signed 32-bit; a znode of this
/// size can not be sent to any client.
pub const SNAPSHOT_FIELD_BYTES_MAX: usize = 1 << 30;

/// Transactions whose digest may be missed behind a snapshot that does not say how far it went:
/// more than a leader of Apache's commits while it sends one.
pub const SETTLING_TXNS_MAX: u32 = 100_000;
