//! Every word but mntr.
//!
//! One function per word, in the layout of ZooKeeper's classes under `server/command`. Oddities are
//! kept where a parser may have come to rely on them: the blank line after connections and watches,
//! the blank behind `membership:`, the two spellings of a zxid.

use core::fmt::Display;
use std::fmt::Write as _;

use super::java_text;
use super::view::{AdminView, ConnLine, GlobalSessions, Mode};

/// Appends formatted text. Writing to a string cannot fail.
macro_rules! put {
    ($out:expr, $($format:tt)*) => {
        {
            let _ = write!($out, $($format)*);
        }
    };
}

/// srvr; with the connections, stat (`StatCommand`, `ServerStats.toString`).
pub(super) fn srvr(out: &mut String, view: &AdminView, with_connections: bool) {
    put!(out, "Zookeeper version: {}\n", view.version);
    if view.mode == Mode::ReadOnly {
        out.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    if with_connections {
        out.push_str("Clients:\n");
        connections(out, view, true);
    }
    let gauges = &view.gauges;
    let avg = java_text::double(gauges.avg_latency);
    put!(out, "Latency min/avg/max: {}/{avg}/{}\n", gauges.min_latency, gauges.max_latency);
    put!(out, "Received: {}\n", gauges.packets_received);
    put!(out, "Sent: {}\n", gauges.packets_sent);
    put!(out, "Connections: {}\n", gauges.num_alive_connections);
    put!(out, "Outstanding: {}\n", gauges.outstanding_requests);
    put!(out, "Zxid: {}\n", view.zxid);
    put!(out, "Mode: {}\n", view.mode.name());
    put!(out, "Node count: {}\n", gauges.znode_count);
    if let Some([last, min, max]) = view.proposal_sizes {
        put!(out, "Proposal sizes last/min/max: {last}/{min}/{max}\n");
    }
}

/// cons.
pub(super) fn cons(out: &mut String, view: &AdminView) {
    connections(out, view, false);
}

fn connections(out: &mut String, view: &AdminView, brief: bool) {
    for line in &view.connections {
        connection(out, line, brief);
    }
    out.push('\n');
}

/// One connection (`ServerCnxn.dumpConnectionInfo`).
fn connection(out: &mut String, line: &ConnLine, brief: bool) {
    out.push(' ');
    java_text::address(out, line.peer);
    put!(out, "[{:x}](queued={}", line.interest_ops, line.queued);
    put!(out, ",recved={},sent={}", line.received, line.sent);
    if !brief && line.session.0 != 0 {
        let op = line.last_op.map_or("NA", |op| op.short_name());
        put!(out, ",sid={},lop={op}", line.session);
        put!(out, ",est={},to={}", line.established_ms, line.timeout_ms);
        if line.last_cxid >= 0 {
            put!(out, ",lcxid=0x{:x}", line.last_cxid);
        }
        put!(out, ",lzxid={},lresp={}", line.last_zxid, line.last_response_ms);
        put!(out, ",llat={},minlat={}", line.last_latency_ms, line.latency_min_ms);
        put!(out, ",avglat={},maxlat={}", line.latency_avg_ms, line.latency_max_ms);
    }
    out.push_str(")\n");
}

/// conf (`ZooKeeperServer.dumpConf`, `QuorumZooKeeperServer.dumpConf`,
/// `ReadOnlyZooKeeperServer.dumpConf`). A member's ends without a line end.
pub(super) fn conf(out: &mut String, view: &AdminView) {
    let config = &view.config;
    setting(out, "clientPort", config.client_port);
    setting(out, "secureClientPort", config.secure_client_port);
    setting(out, "dataDir", &config.data_dir);
    setting(out, "dataDirSize", view.data_dir_bytes);
    setting(out, "dataLogDir", &config.data_log_dir);
    setting(out, "dataLogSize", view.log_dir_bytes);
    setting(out, "tickTime", config.tick_time_ms);
    setting(out, "maxClientCnxns", config.client_cnxns_max);
    setting(out, "minSessionTimeout", config.session_timeout_min_ms);
    setting(out, "maxSessionTimeout", config.session_timeout_max_ms);
    setting(out, "clientPortListenBacklog", config.listen_backlog);
    setting(out, "serverId", config.server_id);
    if let Some(ensemble) = &config.ensemble {
        setting(out, "initLimit", ensemble.init_limit);
        setting(out, "syncLimit", ensemble.sync_limit);
        setting(out, "electionAlg", ensemble.election_alg);
        setting(out, "electionPort", &ensemble.election_port);
        setting(out, "quorumPort", &ensemble.quorum_port);
        setting(out, "peerType", ensemble.peer_type);
        if let Some(membership) = &ensemble.membership {
            put!(out, "membership: \n{membership}");
        }
    }
}

fn setting(out: &mut String, name: &str, value: impl Display) {
    put!(out, "{name}={value}\n");
}

/// dirs.
pub(super) fn dirs(out: &mut String, view: &AdminView) {
    put!(out, "datadir_size: {}\n", view.data_dir_bytes);
    put!(out, "logdir_size: {}\n", view.log_dir_bytes);
}

/// dump: sessions, ephemerals, connections (`SessionTracker.dumpSessions`,
/// `DataTree.dumpEphemerals`, `ExpiryQueue.dump`).
pub(super) fn dump(out: &mut String, view: &AdminView) {
    out.push_str("SessionTracker dump:\n");
    let sessions = &view.sessions;
    if let Some(sets) = &sessions.local {
        out.push_str("Local Session ");
        buckets(out, sets, |out, session| put!(out, "{session}"));
    }
    match &sessions.global {
        GlobalSessions::Buckets(sets) => {
            // Only where there are two kinds are they told apart.
            out.push_str(if sessions.local.is_some() { "Global Session " } else { "Session " });
            buckets(out, sets, |out, session| put!(out, "{session}"));
        }
        GlobalSessions::Timeouts(sessions) => {
            put!(out, "Global Sessions({}):\n", sessions.len());
            for (session, timeout_ms) in sessions {
                put!(out, "{session}\t{timeout_ms}ms\n");
            }
        }
    }
    put!(out, "ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", view.ephemerals.len());
    for (session, paths) in &view.ephemerals {
        put!(out, "{session}:\n");
        for path in paths {
            put!(out, "\t{path}\n");
        }
    }
    out.push_str("Connections dump:\nConnections ");
    buckets(out, &view.connection_buckets, |out, (peer, session)| {
        out.push_str("ip: ");
        java_text::address(out, *peer);
        put!(out, " sessionId: {session}");
    });
}

fn buckets<T>(out: &mut String, sets: &[(i64, Vec<T>)], line: impl Fn(&mut String, &T)) {
    let elements: usize = sets.iter().map(|(_, elements)| elements.len()).sum();
    put!(out, "Sets ({})/({elements}):\n", sets.len());
    for (wall_ms, elements) in sets {
        put!(out, "{} expire at {}:\n", elements.len(), java_text::date(*wall_ms));
        for element in elements {
            out.push('\t');
            line(out, element);
            out.push('\n');
        }
    }
}

/// envi.
pub(super) fn envi(out: &mut String, view: &AdminView) {
    out.push_str("Environment:\n");
    for (name, value) in &view.environment {
        setting(out, name, value);
    }
}

/// hash: digests of the tree (`DigestCommand`); zxids without 0x.
pub(super) fn hash(out: &mut String, view: &AdminView) {
    for (zxid, digest) in &view.digests {
        put!(out, "{:x}: {digest}\n", zxid.0);
    }
}

/// wchs.
pub(super) fn wchs(out: &mut String, view: &AdminView) {
    let counts = view.watch_counts;
    put!(out, "{} connections watching {} paths\n", counts.data_connections, counts.data_paths);
    put!(out, "Total watches:{}\n", counts.data);
}

/// wchc: who watches what.
pub(super) fn wchc(out: &mut String, view: &AdminView) {
    out.push_str(&view.watches.connections);
    out.push('\n');
}

/// wchp: what is watched by whom.
pub(super) fn wchp(out: &mut String, view: &AdminView) {
    for (path, sessions) in &view.watches.paths {
        put!(out, "{path}\n");
        for session in sessions {
            put!(out, "\t{session}\n");
        }
    }
    out.push('\n');
}
