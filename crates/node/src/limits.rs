//! Bounds inside a node, each with its reason.
//!
//! They are constants and not settings: each follows from the protocol or from another bound, and
//! what an operator may want to move is a key of `zoo.cfg`.

/// Reply bytes waiting for a client that does not read before its requests are no longer taken. One
/// frame of the default size, so that one large reply alone never stops a connection.
pub const OUTBOX_PAUSE_BYTES: usize = 1 << 20;

/// Bytes waiting for a client before it is closed. Events cannot be held back like replies, and
/// dropping one would be a lie, so the connection ends; the client sees the loss and reads again.
pub const OUTBOX_BYTES_MAX: usize = 64 << 20;

/// Events that are sent elsewhere than on their connection's thread: so few that the socket takes
/// them as a rule. Who is further behind gets them on its own.
pub const LENT_BYTES_MAX: usize = 4096;

/// Requests of one connection waiting behind its own writes. Beyond it the connection is not read.
/// Twice Java's default of requests under way in the whole server.
pub const GATE_REQUESTS_MAX: usize = 2048;

/// Bytes of requests of one connection waiting behind its own writes, for the same reason.
pub const GATE_BYTES_MAX: usize = 4 << 20;

/// Identities one connection may collect with auth packets. Each is compared at every check; no
/// client known to us sends more than a handful.
pub const AUTH_IDS_MAX: usize = 128;

/// Transactions applied before the lock on the tree is given up for a moment: at under a
/// microsecond each this stays below 200 µs.
pub const APPLY_BATCH: usize = 128;

/// Znodes taken per snapshot step: handles are copied and their cache lines are cold, so this is
/// some 100 µs under the lock.
pub const SNAPSHOT_ZNODES_PER_STEP: usize = 256;

/// Snapshot pieces handed out and not yet written. Bounds the memory of a snapshot on a slow disk.
pub const SNAPSHOT_CHUNKS_AHEAD: usize = 16;

/// Sessions expired in one turn, so that a mass expiry does not hold up everyone else.
pub const EXPIRIES_PER_TURN: usize = 256;

/// Containers and TTL znodes removed in one turn, for the same reason.
pub const REAPED_PER_TURN: usize = 64;

/// Paths shown per log line about a client's bytes.
pub const LOGGED_PATH_BYTES: usize = 256;

/// Watches of closed connections cleared away in one turn: some 100 µs.
pub const WATCHES_SWEPT_PER_TURN: usize = 1024;

/// Children listed in one go. Beyond it the listing is written in steps, between which others are
/// served: at 50 ns a name this is 200 µs.
pub const LISTED_AT_ONCE: usize = 4096;

/// Directories whose listing a Front keeps encoded, for the herd that lists what it watches. Few:
/// at any moment one or two are listed by many.
pub const LISTINGS_KEPT: usize = 4;

/// Bytes of a listing worth keeping: [`LISTED_AT_ONCE`] names of 60 bytes. With [`LISTINGS_KEPT`]
/// it bounds what a Front keeps to 1 MiB.
pub const LISTING_KEPT_BYTES_MAX: usize = 256 << 10;

/// Below this many children walking over them costs no more than looking for what is kept.
pub const LISTING_KEPT_CHILDREN_MIN: usize = 64;

/// Runs of a long listing written in one step: about as many names.
pub const LISTED_RUNS_PER_STEP: usize = 8;

/// Directories looked at in one step of getAllChildrenNumber: some 100 µs.
pub const COUNTED_DIRS_PER_STEP: usize = 4096;

/// Bytes of one multiRead's reply, far above what a client accepts by default (4 MiB).
pub const MULTI_READ_BYTES_MAX: usize = 32 << 20;

/// After a stall, for how long the sockets are read before other servers are blamed for silence:
/// every link gives up to 64 KiB a turn, so what came meanwhile is heard long before.
pub const LISTEN_AFTER_STALL_MS: u64 = 100;
