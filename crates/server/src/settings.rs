//! From the configuration to what the node is told: the node knows no keys of files, only values in
//! units it works with.

use oxkeeper_config::{Config, ConnectionThrottle, Ensemble};
use oxkeeper_node::Settings;
use oxkeeper_node::core::ThrottleSettings;
use oxkeeper_storage::limits::LOG_ENTRY_BYTES_MAX;
use oxkeeper_tree::acl_rules::Schemes;
use oxkeeper_tree::prep::Rules;

use crate::boot::owner_rules;

/// The least time that a server looks for others before it serves readers alone, ms
/// (`QuorumPeer.run`).
const READ_ONLY_AFTER_MS_MIN: u64 = 2000;

/// The node's settings. `threads` is the number of I/O threads.
pub fn settings(config: &Config, seed: u64, threads: usize) -> Settings {
    let limits = &config.limits;
    let ensemble = config.ensemble.as_ref();
    let frame_bytes_max = limits.jute_maxbuffer as usize;
    let field_bytes_max = frame_bytes_max + limits.jute_extrasize as usize;
    // However much is allowed: what is proposed must be one entry of the log (ZOOKEEPER-2101).
    let entry_bytes_max = field_bytes_max.min(LOG_ENTRY_BYTES_MAX);
    Settings {
        rules: rules(config, entry_bytes_max),
        tick_time_ms: config.sessions.tick_time_ms,
        session_timeout_min_ms: config.sessions.min_session_timeout_ms as i32,
        session_timeout_max_ms: config.sessions.max_session_timeout_ms as i32,
        frame_bytes_max,
        field_bytes_max,
        outstanding_max: outstanding_max(config, threads),
        large_request_threshold: limits.large_request_threshold.unwrap_or(0) as usize,
        large_request_bytes_max: limits.large_request_max_bytes as usize,
        server_id: config.my_id.map_or(1, |id| id as u8),
        super_digest: config.auth.super_digest.as_ref().map(|digest| digest.expose().to_owned()),
        digest_auth: config.auth.digest_enabled,
        enforce_auth_schemes: config.auth.enforced_schemes.iter().flatten().cloned().collect(),
        snap_count: u64::from(config.storage.snap_count),
        snap_size_bytes: config.storage.snap_size_limit_kb.unwrap_or(0) * 1024,
        container_check_interval_ms: u64::from(config.tree.container_check_interval_ms),
        container_max_per_minute: config.tree.container_max_per_minute,
        container_never_used_ms: config.tree.container_max_never_used_interval_ms.unwrap_or(0)
            as i64,
        throttle: throttle(&limits.connection_throttle, ensemble),
        hold_writes_behind_reads: threads > 1,
        local_sessions: ensemble.is_some_and(|them| them.local_sessions.enabled),
        local_sessions_upgrading: ensemble
            .is_some_and(|them| them.local_sessions.upgrading_enabled),
        read_only_after_ms: ensemble
            .filter(|them| them.read_only_mode)
            .map(|_| u64::from(config.sessions.tick_time_ms).max(READ_ONLY_AFTER_MS_MIN)),
        leader_serves: ensemble.is_none_or(|them| them.leader_serves),
        standalone_enabled: config.ensemble.as_ref().is_none_or(|them| them.standalone_enabled),
        multi_address: config.ensemble.as_ref().is_some_and(|them| them.multi_address),
        seed,
    }
}

/// Requests under way per I/O thread. Java holds them back at two points, here it is one: input
/// that may not be taken yet waits in the socket.
fn outstanding_max(config: &Config, threads: usize) -> usize {
    let limits = &config.limits;
    let mut max = limits.global_outstanding_limit;
    if limits.request_throttle.max_requests > 0 {
        max = max.min(limits.request_throttle.max_requests);
    }
    (max as usize / threads.max(1)).max(1)
}

fn throttle(config: &ConnectionThrottle, ensemble: Option<&Ensemble>) -> ThrottleSettings {
    let local = ensemble.is_some_and(|them| them.local_sessions.enabled);
    ThrottleSettings {
        tokens: config.tokens,
        fill_time_ms: config.fill_time_ms,
        fill_count: config.fill_count,
        freeze_time_ms: config.freeze_time_ms,
        drop_increase: config.drop_increase,
        drop_decrease: config.drop_decrease,
        decrease_ratio: config.decrease_ratio,
        new_weight: if local { config.local_weight } else { config.global_weight },
        renew_weight: config.renew_weight,
    }
}

fn rules(config: &Config, entry_bytes_max: usize) -> Rules {
    Rules {
        owners: owner_rules(config),
        skip_acl: config.tree.skip_acl,
        enforce_quota: config.tree.enforce_quota,
        digest_enabled: config.tree.digest_enabled,
        close_session_txn: config.storage.close_session_txn_enabled,
        reconfig_enabled: config.tree.reconfig_enabled,
        schemes: Schemes { digest: config.auth.digest_enabled, sasl: false, x509: false },
        entry_bytes_max,
    }
}
