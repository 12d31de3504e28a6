//! What a node counts while it works: plain numbers, added up where they are shown.

use oxkeeper_proto::OpCode;

/// Counters of one Front.
#[derive(Debug, Clone, Default)]
pub struct FrontStats {
    /// Requests and handshakes received.
    pub packets_received: u64,
    /// Replies and events sent.
    pub packets_sent: u64,
    /// Bytes of requests.
    pub bytes_received: u64,
    /// Bytes of replies.
    pub response_bytes: u64,
    /// Bytes of events.
    pub watch_bytes: u64,
    /// Handshakes begun.
    pub connection_requests: u64,
    /// Frames refused for their length.
    pub frames_refused: u64,
    /// auth packets refused.
    pub auth_failed: u64,
    /// Watches refused for a limit.
    pub watches_refused: u64,
    /// Large requests refused.
    pub large_requests_rejected: u64,
    /// Connections that never opened a session.
    pub sessionless_expired: u64,
    /// Latency of all requests.
    pub latency: Latency,
    /// Latency of reads.
    pub read_latency: Latency,
    /// Latency of writes.
    pub update_latency: Latency,
}

impl FrontStats {
    /// Notes one answered request.
    #[inline]
    pub fn answered(&mut self, op: OpCode, took_ms: u64) {
        self.packets_sent += 1;
        self.latency.record(took_ms);
        if op.class() == oxkeeper_proto::Class::Write {
            self.update_latency.record(took_ms);
        } else {
            self.read_latency.record(took_ms);
        }
    }
}

/// Shortest, longest and sum of durations in ms (`AvgMinMaxCounter`).
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Shortest.
    pub min_ms: u64,
    /// Longest.
    pub max_ms: u64,
    /// Sum.
    pub sum_ms: u64,
    /// How many.
    pub count: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { min_ms: u64::MAX, max_ms: 0, sum_ms: 0, count: 0 }
    }
}

impl Latency {
    /// Adds one.
    #[inline]
    pub fn record(&mut self, took_ms: u64) {
        self.min_ms = self.min_ms.min(took_ms);
        self.max_ms = self.max_ms.max(took_ms);
        self.sum_ms += took_ms;
        self.count += 1;
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Latency) {
        self.min_ms = self.min_ms.min(other.min_ms);
        self.max_ms = self.max_ms.max(other.max_ms);
        self.sum_ms += other.sum_ms;
        self.count += other.count;
    }
}

/// Counters of the core.
#[derive(Debug, Clone, Default)]
pub struct CoreStats {
    /// Sessions that ended because nothing was heard of their clients.
    pub sessions_expired: u64,
    /// Handshakes that renewed a session.
    pub sessions_renewed: u64,
    /// Transactions proposed.
    pub proposed: u64,
    /// Snapshots begun.
    pub snapshots: u64,
    /// Transactions whose digest did not match the tree.
    pub digest_mismatches: u64,
    /// Handshakes that the connection throttle dropped.
    pub connections_dropped: u64,
    /// Containers and TTL znodes removed.
    pub reaped: u64,
}
