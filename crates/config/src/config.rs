//! The configuration as the rooms of the server receive it: typed, checked, complete.
//!
//! Nothing reads a file, an argument or the environment for settings after this has been built.
//! Defaults are ZooKeeper 3.9's throughout; they stand in the key table, not here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::ensemble::Ensemble;
use crate::explain::EffectiveValue;
use crate::settings::Notice;

/// Everything that is settled before the server starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: Listen,
    /// Where data lies and how it is written.
    pub storage: Storage,
    /// The clock of sessions.
    pub sessions: Sessions,
    /// Bounds on what clients may take.
    pub limits: Limits,
    /// Rules of the tree.
    pub tree: Tree,
    /// Who may do what.
    pub auth: Auth,
    /// What operators may ask.
    pub admin: Admin,
    /// The number in the file `myid` of the data directory, if there is one. A standalone server
    /// needs none.
    pub my_id: Option<i64>,
    /// What a member of an ensemble needs to know; `None` for a standalone server.
    pub ensemble: Option<Ensemble>,
    /// Threads that serve connections, from `oxkeeper.ioThreads`; `None` leaves it to the host.
    pub io_threads: Option<usize>,
    /// The file it was read from, which a reconfiguration rewrites; `None` if it was none.
    pub path: Option<PathBuf>,
    /// What the log of the start should say, one line each.
    pub notices: Vec<Notice>,
    /// Every setting with the value in force.
    pub(crate) effective: Vec<EffectiveValue>,
    /// How messages call the configuration file.
    pub(crate) file: String,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The interface, from `clientPortAddress`.
    pub client_addr: BindAddr,
    /// The port; 0 lets the system choose.
    pub client_port: u16,
    /// Connections the system may hold before they are accepted; `None` if not set, which `conf`
    /// shows as -1 and Java turns into 50.
    pub backlog: Option<u32>,
    /// Whether client connections carry SO_KEEPALIVE.
    pub tcp_keep_alive: bool,
}

/// An address to bind to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddr {
    /// All interfaces.
    All,
    /// One address.
    Ip(IpAddr),
    /// A host name, to be resolved when binding.
    Name(String),
}

impl BindAddr {
    /// Reads an address or host name; brackets around IPv6 are allowed. `None` if it is neither.
    pub(crate) fn parse(text: &str) -> Option<BindAddr> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Some(if ip.is_unspecified() { BindAddr::All } else { BindAddr::Ip(ip) });
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._%:".contains(&byte);
        let plausible = !text.is_empty() && text.len() <= 253 && text.bytes().all(allowed);
        plausible.then(|| BindAddr::Name(text.to_owned()))
    }

    /// Whether it stands for all interfaces.
    pub fn is_all(&self) -> bool {
        *self == BindAddr::All
    }

    /// Whether only this machine can connect to it, as far as that shows without resolving names.
    pub fn is_loopback(&self) -> bool {
        match self {
            BindAddr::All => false,
            BindAddr::Ip(ip) => ip.is_loopback(),
            BindAddr::Name(name) => name == "localhost",
        }
    }
}

impl fmt::Display for BindAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindAddr::All => f.write_str("0.0.0.0"),
            BindAddr::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            BindAddr::Ip(ip) => ip.fmt(f),
            BindAddr::Name(name) => f.write_str(name),
        }
    }
}

/// Where data lies and how log and snapshots are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// Directory of snapshots and `myid`; the files are in `version-2` below it.
    pub data_dir: PathBuf,
    /// Directory of the transaction log; the files are in `version-2` below it.
    pub data_log_dir: PathBuf,
    /// Transactions between two snapshots, at most; at least 2.
    pub snap_count: u32,
    /// Kilobytes of log between two snapshots, at most; `None` for no limit.
    pub snap_size_limit_kb: Option<u64>,
    /// Kilobytes by which the log file grows ahead of the writes; 0 for not at all.
    pub pre_alloc_size_kb: u64,
    /// Kilobytes after which a new log file is begun; `None` for no limit.
    pub txn_log_size_limit_kb: Option<u64>,
    /// Whether a write is on disk before it is acknowledged.
    pub force_sync: bool,
    /// How snapshots are compressed.
    pub snapshot_compression: SnapshotCompression,
    /// Whether a log without any snapshot may be started from.
    pub trust_empty_snapshot: bool,
    /// Whether a snapshot ends with the zxid it stands for.
    pub serialize_last_processed_zxid: bool,
    /// Whether log and snapshots carry the tree's digest.
    pub digest_enabled: bool,
    /// Whether a closing session's transaction lists its ephemeral znodes.
    pub close_session_txn_enabled: bool,
    /// Whether missing data directories are created.
    pub datadir_autocreate: bool,
    /// A sync of the log that takes longer is reported, milliseconds.
    pub fsync_warning_threshold_ms: u64,
    /// Writes that may share a sync, at most.
    pub max_batch_size: u32,
    /// How long a write may wait for others to share its sync, milliseconds; 0 for not at all.
    pub flush_delay_ms: u64,
    /// What happens to old snapshots and logs.
    pub purge: Purge,
}

/// How a snapshot file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotCompression {
    /// Not at all.
    None,
    /// As `.gz`.
    Gzip,
    /// As `.snappy`.
    Snappy,
}

/// What happens to old snapshots and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge {
    /// Snapshots to keep, with the log they need; at least 3.
    pub retain_count: u32,
    /// Hours between purges; `None` if purging is off.
    pub interval_hours: Option<u32>,
    /// Whether nobody asked for purging: then it is done only in directories that this server
    /// created itself.
    pub from_default: bool,
}

/// The clock of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// Milliseconds of a tick, to whose multiples expiry is rounded up.
    pub tick_time_ms: u32,
    /// The shortest timeout granted, milliseconds.
    pub min_session_timeout_ms: u32,
    /// The longest timeout granted, milliseconds; not below the shortest.
    pub max_session_timeout_ms: u32,
}

/// Bounds on what clients may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// The largest request, bytes.
    pub jute_maxbuffer: u32,
    /// Bytes beyond that for what is read from disk and peers; at least 1024.
    pub jute_extrasize: u32,
    /// Connections from one address; 0 for no limit.
    pub max_client_cnxns: u32,
    /// Connections altogether; 0 for no limit.
    pub max_cnxns: u32,
    /// Requests under way above which busy connections are not read from.
    pub global_outstanding_limit: u32,
    /// Bytes of large requests under way.
    pub large_request_max_bytes: u32,
    /// Bytes from which a request counts as large; `None` if none does.
    pub large_request_threshold: Option<u32>,
    /// How long a connection may stay without asking for a session, milliseconds.
    pub sessionless_cnxn_timeout_ms: u32,
    /// The bound on new connections.
    pub connection_throttle: ConnectionThrottle,
    /// The bound on requests under way.
    pub request_throttle: RequestThrottle,
}

/// A token bucket for new connections, with random dropping (`BlueThrottle`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConnectionThrottle {
    /// Size of the bucket, already multiplied by `global_weight` where weights are on; 0 turns
    /// the throttle off.
    pub tokens: u32,
    /// Milliseconds after which tokens come back; at least 1.
    pub fill_time_ms: u32,
    /// Tokens that come back, already multiplied by `global_weight` where weights are on.
    pub fill_count: u32,
    /// Milliseconds between changes of the dropping probability; `None` for no dropping.
    pub freeze_time_ms: Option<u32>,
    /// Growth of the dropping probability while the bucket is empty.
    pub drop_increase: f64,
    /// Its fall once the used share of the bucket is at most `decrease_ratio`.
    pub drop_decrease: f64,
    /// The used share of the bucket below which dropping lessens.
    pub decrease_ratio: f64,
    /// Tokens for a new session; 1 while weights are off, as the two below.
    pub global_weight: u32,
    /// Tokens for a new local session.
    pub local_weight: u32,
    /// Tokens for a renewed session.
    pub renew_weight: u32,
}

/// What happens when too many requests are under way (`RequestThrottler`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestThrottle {
    /// Requests under way above which busy connections are not read from; 0 for no such bound.
    pub max_requests: u32,
    /// How long a stopping server gives accepted requests to be answered, milliseconds.
    pub shutdown_timeout_ms: u32,
}

/// Rules of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    /// Whether znodes may have a time to live.
    pub extended_types_enabled: bool,
    /// Whether TTL znodes in the layout of 3.5.3 are understood.
    pub emulate_353_ttl_nodes: bool,
    /// Whether hard quotas refuse writes.
    pub enforce_quota: bool,
    /// Whether ACLs are not checked at all.
    pub skip_acl: bool,
    /// Whether a digest of the tree is kept.
    pub digest_enabled: bool,
    /// Whether reconfig is allowed; a standalone server then refuses it as unimplemented rather
    /// than disabled.
    pub reconfig_enabled: bool,
    /// Milliseconds between searches for empty containers and expired znodes.
    pub container_check_interval_ms: u32,
    /// How many of them are removed in a minute, at most.
    pub container_max_per_minute: u32,
    /// Milliseconds after which a container that never had a child is removed; `None` for never.
    pub container_max_never_used_interval_ms: Option<u64>,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Whether the digest scheme is offered.
    pub digest_enabled: bool,
    /// Its hash.
    pub digest_alg: DigestAlg,
    /// The digest id that may do everything, as `super:<base64>`.
    pub super_digest: Option<Secret>,
    /// With authentication enforced, the schemes of which a client must have one; never empty.
    pub enforced_schemes: Option<BTreeSet<String>>,
}

/// The hash of the digest scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DigestAlg {
    /// SHA-1, base64.
    Sha1,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(crate) String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What operators may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The four-letter words that are answered.
    pub four_letter_whitelist: FourLetterWhitelist,
}

/// The four-letter words that are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FourLetterWhitelist {
    /// All of them.
    All,
    /// These, among them always `srvr`, on which `zkServer.sh status` depends.
    Set(BTreeSet<String>),
}

impl FourLetterWhitelist {
    /// Whether a word is answered.
    pub fn allows(&self, word: &str) -> bool {
        match self {
            FourLetterWhitelist::All => true,
            FourLetterWhitelist::Set(words) => words.contains(word),
        }
    }
}
