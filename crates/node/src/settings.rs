//! What a node is told once, at its start.
//!
//! Values, not a parser: the host reads the configuration, and a test writes what it needs.

use oxkeeper_tree::prep::Rules;

use crate::core::ThrottleSettings;

/// Settings of Fronts and core, already validated. Defaults are ZooKeeper's.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rules for turning requests into transactions.
    pub rules: Rules,
    /// `tickTime`, ms: the grain of session expiry.
    pub tick_time_ms: u32,
    /// Lower bound of a session's timeout, ms.
    pub session_timeout_min_ms: i32,
    /// Upper bound of a session's timeout, ms.
    pub session_timeout_max_ms: i32,
    /// `jute.maxbuffer`: bytes of one request.
    pub frame_bytes_max: usize,
    /// `jute.maxbuffer` + extrasize: bytes of one string or buffer in it.
    pub field_bytes_max: usize,
    /// `globalOutstandingLimit`: writes under way before connections that have some are not read.
    pub outstanding_max: usize,
    /// `largeRequestThreshold`, bytes; 0 for off.
    pub large_request_threshold: usize,
    /// `largeRequestMaxBytes`: bytes of large requests under way.
    pub large_request_bytes_max: usize,
    /// Id of this server, the top byte of session ids: `myid`, or 1 standalone.
    pub server_id: u8,
    /// `zookeeper.DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<String>,
    /// Whether the digest scheme exists.
    pub digest_auth: bool,
    /// `enforce.auth.enabled` with its schemes; empty for off.
    pub enforce_auth_schemes: Vec<String>,
    /// Transactions between snapshots; each interval is drawn from the upper half.
    pub snap_count: u64,
    /// Log bytes between snapshots, 0 for no such bound.
    pub snap_size_bytes: u64,
    /// `znode.container.checkIntervalMs`; 0 for off.
    pub container_check_interval_ms: u64,
    /// `znode.container.maxPerMinute`.
    pub container_max_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`; 0 for off.
    pub container_never_used_ms: i64,
    /// `zookeeper.connection_throttle_*`.
    pub throttle: ThrottleSettings,
    /// Hold a session's write back while an earlier read of it waits. A Front on the core's own
    /// thread need not: there, each transaction reaches it before the next is applied.
    pub hold_writes_behind_reads: bool,
    /// `localSessionsEnabled`: sessions of an ensemble begin as sessions of their server alone.
    pub local_sessions: bool,
    /// `localSessionsUpgradingEnabled`: such a session becomes one of the ensemble with the first
    /// ephemeral it creates.
    pub local_sessions_upgrading: bool,
    /// `readonlymode.enabled`: how long a server without an ensemble looks for one before it
    /// serves readers alone, ms; `None` for never.
    pub read_only_after_ms: Option<u64>,
    /// `leaderServes`: whether a leader serves clients.
    pub leader_serves: bool,
    /// Whether an ensemble of one participant is refused (`standaloneEnabled`).
    pub standalone_enabled: bool,
    /// Whether a server may have several addresses (`multiAddress.enabled`).
    pub multi_address: bool,
    /// Seed of everything that is drawn at random.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rules: Rules::default(),
            tick_time_ms: 2000,
            session_timeout_min_ms: 4000,
            session_timeout_max_ms: 40000,
            frame_bytes_max: oxkeeper_proto::limits::FRAME_BYTES_MAX_DEFAULT,
            field_bytes_max: oxkeeper_proto::limits::FIELD_BYTES_MAX_DEFAULT,
            outstanding_max: 1000,
            large_request_threshold: 0,
            large_request_bytes_max: 100 << 20,
            server_id: 1,
            super_digest: None,
            digest_auth: true,
            enforce_auth_schemes: Vec::new(),
            snap_count: 100_000,
            snap_size_bytes: 4 << 30,
            container_check_interval_ms: 60_000,
            container_max_per_minute: 10_000,
            container_never_used_ms: 0,
            throttle: ThrottleSettings::default(),
            hold_writes_behind_reads: false,
            local_sessions: false,
            local_sessions_upgrading: false,
            read_only_after_ms: None,
            leader_serves: true,
            standalone_enabled: true,
            multi_address: false,
            seed: 0,
        }
    }
}
