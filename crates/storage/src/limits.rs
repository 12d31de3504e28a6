//! Every size and count this crate bounds, with the reason for its value.

/// Longest log entry a reader accepts, in bytes of payload.
///
/// It only catches lengths that cannot be true. It must not be a *request* limit: a log that a
/// server wrote while its `jute.maxbuffer` was larger has to stay readable after the setting
/// was lowered (Java refuses to start there). No allocation follows the claimed length alone: a
/// length that runs past the end of the file is never allocated.
pub const LOG_ENTRY_BYTES_MAX: usize = 512 << 20;

/// Longest entry that Java's readers accept by default: `jute.maxbuffer` plus its `extrasize`.
/// Used to judge a *Java* log whose last entry runs past the end of the file: shorter, it is
/// torn; longer, the length itself is damaged.
pub const JAVA_ENTRY_BYTES_MAX: usize = 2 * 0xf_ffff;

/// Largest log file, in bytes. The mark has 36 bits for an offset (64 GiB); one gigabyte is
/// kept free for the batch that crosses the limit. Java has no limit; its logs end with a
/// snapshot, by default after 4 GiB at the latest.
pub const LOG_FILE_BYTES_MAX: u64 = (1 << 36) - (1 << 30);

/// Bytes a log reader fetches at a time: large enough that system calls do not show in a
/// replay, small enough to stay in the second-level cache.
pub const READ_CHUNK_BYTES: usize = 256 << 10;

/// How far ahead of the last entry the log is filled with zeros, in bytes.
///
/// Overwriting blocks that already hold data changes no metadata, so `fdatasync` need not wait
/// for a journal commit (which, on ext4, would also flush whatever a snapshot has just
/// written). Measured on ext4, p50 of one batch and its fdatasync: 4 kB 146 µs sparse or with
/// `fallocate`, 87 µs zeroed; 20 kB 200 µs and 85–120 µs; 150 B 100 µs and 78–107 µs. Filling
/// 64 kB to 1 MiB at a time has the same mean; 256 KiB keeps the slowest batch under 400 µs.
pub const ZERO_AHEAD_BYTES: u64 = 256 << 10;

/// Batches of at least this many bytes are written without zeros ahead of them: the device's
/// bandwidth, not the journal, decides how long they take (measured at 100 kB: 225 µs either
/// way, and zeros would double the bytes).
pub const ZERO_AHEAD_BATCH_BYTES_MAX: usize = 64 << 10;

/// The mark is renewed after this many batches…
///
/// Writing it dirties the file's first page, one more block for the next fdatasync: 9–13 µs on
/// top of 100 (measured). Every 32nd batch that is 0.4 µs. An older mark is still true, it only
/// leaves more of the tail to be judged torn instead of rotten.
pub const MARK_BATCHES: u32 = 32;

/// …or after this many bytes, whichever comes first.
pub const MARK_BYTES: u64 = 64 << 10;

/// How far behind the end of a log recovery looks for remains of a torn batch, to report them.
/// They are cut off in any case.
pub const TORN_SCAN_BYTES: u64 = 1 << 20;

/// Snapshots tried before recovery gives up (Java's number, `FileSnap.deserialize`).
pub const SNAPSHOT_CANDIDATES_MAX: usize = 100;

/// Bytes a snapshot writer collects before it writes and syncs them. Syncing as we go keeps the
/// amount of dirty data small, so that a log's fdatasync meanwhile never waits for gigabytes.
pub const SNAPSHOT_SYNC_BYTES: usize = 1 << 20;

/// Uncompressed bytes per block of a snappy snapshot (snappy-java's default).
pub const SNAPPY_BLOCK_BYTES: usize = 32 << 10;

/// Largest snappy block accepted, compressed or not. snappy-java's blocks are 32 KiB; its
/// constructor takes any size, ZooKeeper never passes one.
pub const SNAPPY_BLOCK_BYTES_MAX: usize = 4 << 20;

/// Longest epoch file, in bytes: a decimal `i64` and white space.
pub const EPOCH_FILE_BYTES_MAX: usize = 64;

/// Longest text read of a small file of ours, in bytes. The longest written has 120.
pub const SMALL_FILE_BYTES_MAX: usize = 256;

/// Snapshots kept by a purge, at least (Java refuses fewer).
pub const PURGE_RETAIN_MIN: usize = 3;

/// By how much a file that is purged is cut at a time. Giving back this much held up a log's
/// fdatasync by 1.8 ms at worst, 220 MB at once by 23 ms.
pub const PURGE_STEP_BYTES: u64 = 8 << 20;
