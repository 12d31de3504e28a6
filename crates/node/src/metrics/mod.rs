//! Every number a server shows, under ZooKeeper's names (`ServerMetrics`).
//!
//! One table names each metric with its kind, unit and meaning. From it come the struct that code
//! counts in, adding up the numbers of several threads, resetting them (`srst`), and the walk that
//! `mntr` prints. There is no registry and nothing global: whoever counts owns a [`Metrics`], and
//! counting is adding to a field.
//!
//! The table has the order in which ZooKeeper 3.9.5 prints. Several of its metrics describe stages
//! of a pipeline that does not exist here (queues between its threads); those stay 0, because
//! dashboards and alerts ask for the names. `docs/words.md` says which.

mod summary;

pub use summary::{DetailedSummary, KEYS_MAX, Keyed, Summary};

pub(crate) use summary::Merge;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Milliseconds.
    Ms,
    /// Bytes.
    Bytes,
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// ZooKeeper's name, without the prefix `zk_`.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// What it means.
    pub help: &'static str,
}

/// A metric's present value.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Only grows.
    Counter(u64),
    /// One per key.
    CounterSet(&'a Keyed<u64>),
    /// Count, sum, smallest, largest.
    Summary(&'a Summary),
    /// The same with percentiles.
    Detailed(&'a DetailedSummary),
    /// One summary per key.
    SummarySet(&'a Keyed<Summary>),
    /// One summary with percentiles per key.
    DetailedSet(&'a Keyed<DetailedSummary>),
}

/// How a field's type shows itself.
trait Metric: Merge {
    fn value(&self) -> Value<'_>;
}

macro_rules! metric_values {
    ($($kind:ty => |$it:ident| $value:expr;)*) => {
        $(impl Metric for $kind {
            fn value(&self) -> Value<'_> {
                let $it = self;
                $value
            }
        })*
    };
}

metric_values! {
    u64 => |count| Value::Counter(*count);
    Keyed<u64> => |set| Value::CounterSet(set);
    Summary => |summary| Value::Summary(summary);
    DetailedSummary => |summary| Value::Detailed(summary);
    Keyed<Summary> => |set| Value::SummarySet(set);
    Keyed<DetailedSummary> => |set| Value::DetailedSet(set);
}

/// Turns the table into the struct and what is done with all of its fields.
macro_rules! metrics {
    ($($name:ident: $kind:ty, $unit:ident, $help:literal;)*) => {
        /// Counters and summaries of one owner; those of several are added with
        /// [`Metrics::merge`].
        #[derive(Debug, Clone, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $name: $kind,)*
        }

        impl Metrics {
            /// The table.
            pub const TABLE: &'static [Description] = &[
                $(Description { name: stringify!($name), unit: Unit::$unit, help: $help },)*
            ];

            /// Adds what another owner counted.
            pub fn merge(&mut self, other: &Metrics) {
                $(self.$name.merge_from(&other.$name);)*
            }

            /// Starts counting anew: `srst`.
            pub fn reset(&mut self) {
                $(self.$name.reset();)*
            }

            /// Visits every metric in the order of the table.
            pub fn each(&self, mut visit: impl FnMut(&'static Description, Value<'_>)) {
                let values = [$(self.$name.value(),)*];
                for (description, value) in Metrics::TABLE.iter().zip(values) {
                    visit(description, value);
                }
            }
        }
    };
}

metrics! {
    watch_bytes: u64, Bytes, "Watch events written to clients.";
    stale_requests_dropped: u64, Count, "Requests dropped because their connection had closed.";
    throttled_ops: u64, Count, "Requests answered THROTTLEDOP.";
    insecure_admin_count: u64, Count, "Unencrypted connections to the admin port.";
    connection_rejected: u64, Count, "Connections refused for a limit.";
    sessionless_connections_expired: u64, Count, "Connections closed without a handshake in time.";
    dead_watchers_queued: u64, Count, "Watchers of closed connections put aside.";
    stale_requests: u64, Count, "Requests that came to be handled after their connection closed.";
    connection_drop_count: u64, Count, "Connections closed by this server.";
    response_packet_cache_hits: u64, Count, "getData replies taken from a cache.";
    bytes_received_count: u64, Bytes, "Bytes of requests.";
    add_dead_watcher_stall_time: u64, Ms, "Time spent waiting for dead watchers to be removed.";
    request_throttle_wait_count: u64, Count, "Waits of the request throttle.";
    requests_not_forwarded_to_commit_processor: u64, Count, "Learner requests kept from its queue.";
    response_packet_cache_misses: u64, Count, "getData replies not found in a cache.";
    prep_processor_request_queued: u64, Count, "Requests taken to be prepared.";
    stale_replies: u64, Count, "Replies whose connection had closed.";
    response_bytes: u64, Bytes, "Replies written to clients.";
    ensemble_auth_fail: u64, Count, "auth packets with another ensemble's name.";
    diff_count: u64, Count, "Learners synchronised by DIFF.";
    connection_revalidate_count: u64, Count, "Sessions renewed by their clients.";
    quit_leading_due_to_disloyal_voter: u64, Count, "Leaderships given up for a voter's promise.";
    unrecoverable_error_count: u64, Count, "Errors that ended the server.";
    unsuccessful_handshake: u64, Count, "TLS handshakes that failed.";
    commit_count: u64, Count, "Transactions committed as a leader.";
    outstanding_changes_queued: u64, Count, "Changes prepared and not yet applied, ever.";
    request_commit_queued: u64, Count, "Commits taken.";
    ensemble_auth_skip: u64, Count, "auth packets without an ensemble's name.";
    skip_learner_request_to_next_processor_count: u64, Count, "Learner requests passed by.";
    proposal_count: u64, Count, "Transactions proposed as a leader.";
    large_requests_rejected: u64, Count, "Requests refused for the limit on large ones.";
    outstanding_changes_removed: u64, Count, "Changes that were applied.";
    restore_error_count: u64, Count, "Restores that failed.";
    cnxn_closed_without_zk_server_running: u64, Count, "Connections closed while not serving.";
    looking_count: u64, Count, "Times this server looked for a leader.";
    snapshot_rate_limited_count: u64, Count, "Snapshots on demand refused for their rate.";
    learner_proposal_received_count: u64, Count, "Proposals received as a learner.";
    digest_mismatches_count: u64, Count, "Transactions whose digest was not the tree's.";
    dead_watchers_cleared: u64, Count, "Watchers of closed connections removed.";
    ensemble_auth_success: u64, Count, "auth packets with this ensemble's name.";
    learner_commit_received_count: u64, Count, "Commits received as a learner.";
    snapshot_error_count: u64, Count, "Snapshots on demand that failed.";
    connection_request_count: u64, Count, "Handshakes begun.";
    response_packet_get_children_cache_misses: u64, Count, "getChildren replies not in a cache.";
    snap_count: u64, Count, "Learners synchronised by SNAP.";
    stale_sessions_expired: u64, Count, "Sessions expired.";
    restore_rate_limited_count: u64, Count, "Restores refused for their rate.";
    response_packet_get_children_cache_hits: u64, Count, "getChildren replies from a cache.";
    sync_processor_request_queued: u64, Count, "Requests handed to the log.";
    tls_handshake_exceeded: u64, Count, "Connections refused for too many TLS handshakes.";
    revalidate_count: u64, Count, "Sessions revalidated for learners.";
    quota_exceeded_error_per_namespace: Keyed<u64>, Count, "Writes refused for a quota.";

    socket_closing_time: Summary, Ms, "Closing a socket to a peer.";
    proposal_process_time: Summary, Ms, "Handling a proposal as a leader.";
    leader_unavailable_time: Summary, Ms, "From losing a leader to the next.";
    node_created_watch_count: Summary, Count, "Watchers of one creation.";
    session_queues_drained: Summary, Count, "Session queues emptied at once.";
    write_commit_proc_req_queued: Summary, Count, "Writes waiting for their commit.";
    connection_token_deficit: Summary, Count, "Tokens missing in the connection throttle.";
    read_commit_proc_req_queued: Summary, Count, "Reads waiting behind writes.";
    node_deleted_watch_count: Summary, Count, "Watchers of one deletion, per table.";
    startup_txns_load_time: Summary, Ms, "Replaying the log at the start.";
    sync_processor_queue_size: Summary, Count, "Requests waiting for the log.";
    follower_sync_time: Summary, Ms, "Synchronising with the leader as a follower.";
    prep_processor_queue_size: Summary, Count, "Requests waiting to be prepared.";
    fsynctime: Summary, Ms, "One fsync of the log.";
    inflight_snap_count: Summary, Count, "SNAPs sent at the same time.";
    reads_issued_from_session_queue: Summary, Count, "Reads released by one commit.";
    restore_time: Summary, Ms, "Restoring a snapshot on demand.";
    learner_request_processor_queue_size: Summary, Count, "Learner requests waiting.";
    snapshottime: Summary, Ms, "Writing a snapshot.";
    unavailable_time: Summary, Ms, "From ceasing to serve to serving again.";
    startup_txns_loaded: Summary, Count, "Transactions replayed at the start.";
    reads_after_write_in_session_queue: Summary, Count, "Reads right behind a write.";
    requests_in_session_queue: Summary, Count, "Requests of one session waiting.";
    write_commit_proc_issued: Summary, Count, "Commits handed on at once.";
    prep_process_time: Summary, Ms, "Preparing a request.";
    pending_session_queue_size: Summary, Count, "Sessions with waiting requests.";
    time_waiting_empty_pool_in_commit_processor_read_ms: Summary, Ms, "Waits for idle workers.";
    commit_process_time: Summary, Ms, "Handling a commit as a leader.";
    dbinittime: Summary, Ms, "Loading everything from disk at the start.";
    inflight_diff_count: Summary, Count, "DIFFs sent at the same time.";
    netty_queued_buffer_capacity: Summary, Bytes, "Input that waits undecoded.";
    election_time: Summary, Ms, "Electing a leader.";
    commit_commit_proc_req_queued: Summary, Count, "Commits waiting to be applied.";
    sync_processor_batch_size: Summary, Count, "Transactions in one fsync.";
    node_children_watch_count: Summary, Count, "Watchers of one change of children.";
    write_batch_time_in_commit_processor: Summary, Ms, "Applying a batch of writes.";
    read_commit_proc_issued: Summary, Count, "Reads handed on at once.";
    concurrent_request_processing_in_commit_processor: Summary, Count, "Requests at once.";
    observer_sync_time: Summary, Ms, "Synchronising with the leader as an observer.";
    node_changed_watch_count: Summary, Count, "Watchers of one change of data.";
    sync_process_time: Summary, Ms, "Handing a request to the log.";
    startup_snap_load_time: Summary, Ms, "Loading the snapshot at the start.";

    prep_processor_queue_time_ms: DetailedSummary, Ms, "Waiting to be prepared.";
    jvm_pause_time_ms: DetailedSummary, Ms, "Pauses of the whole process.";
    close_session_prep_time: DetailedSummary, Ms, "Preparing the end of a session.";
    read_commitproc_time_ms: DetailedSummary, Ms, "Reads waiting behind writes of their session.";
    updatelatency: DetailedSummary, Ms, "From receiving a write to answering it.";
    local_write_committed_time_ms: DetailedSummary, Ms, "Own writes, from commit to apply.";
    request_throttle_queue_time_ms: DetailedSummary, Ms, "Waiting in the request throttle.";
    readlatency: DetailedSummary, Ms, "From receiving a read to answering it.";
    quorum_ack_latency: DetailedSummary, Ms, "From a proposal to its quorum.";
    om_commit_process_time_ms: DetailedSummary, Ms, "Handling a commit for observers.";
    read_final_proc_time_ms: DetailedSummary, Ms, "Answering a read.";
    commit_propagation_latency: DetailedSummary, Ms, "From a commit to its receipt by a learner.";
    dead_watchers_cleaner_latency: DetailedSummary, Ms, "Removing watchers of closed connections.";
    write_final_proc_time_ms: DetailedSummary, Ms, "Applying and answering a write.";
    proposal_ack_creation_latency: DetailedSummary, Ms, "From a proposal to this server's ACK.";
    proposal_latency: DetailedSummary, Ms, "From a proposal to its receipt by a learner.";
    om_proposal_process_time_ms: DetailedSummary, Ms, "Handling a proposal for observers.";
    sync_processor_queue_and_flush_time_ms: DetailedSummary, Ms, "From the log's queue to disk.";
    propagation_latency: DetailedSummary, Ms, "From the leader's receipt to this server's apply.";
    server_write_committed_time_ms: DetailedSummary, Ms, "Others' writes, from commit to apply.";
    sync_processor_queue_time_ms: DetailedSummary, Ms, "Waiting for the log.";
    sync_processor_queue_flush_time_ms: DetailedSummary, Ms, "Flushing a batch to disk.";
    write_commitproc_time_ms: DetailedSummary, Ms, "Writes waiting for their commit.";

    learner_handler_qp_size: Keyed<Summary>, Count, "Packets waiting for a learner.";
    read_per_namespace: Keyed<Summary>, Bytes, "Bytes of one read, by first path element.";
    write_per_namespace: Keyed<Summary>, Bytes, "Bytes of one write, by first path element.";
    learner_handler_qp_time_ms: Keyed<DetailedSummary>, Ms, "Packets' wait for a learner.";
    ack_latency: Keyed<DetailedSummary>, Ms, "From a proposal to a server's ACK.";
}

/// The first element of a path, the key of the sets per namespace (`PathUtils.getTopNamespace`);
/// the root has none.
pub fn top_namespace(path: &str) -> Option<&str> {
    // Every read and write comes by here: bytes, because searching for a `char` is twice the work.
    let start = path.bytes().position(|byte| byte == b'/')? + 1;
    let name = &path[start..];
    let end = name.bytes().position(|byte| byte == b'/').unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty())
}

/// The bounds of a quota and what is used of it, summed over one namespace
/// (`QuotaMetricsUtils`). −1 stands for no bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuotaGauges {
    /// First path element.
    pub namespace: String,
    /// Bytes allowed: the hard limit if there is one.
    pub bytes_limit: i64,
    /// Znodes present.
    pub count_usage: i64,
    /// Znodes allowed: the hard limit if there is one.
    pub count_limit: i64,
    /// Bytes present.
    pub bytes_usage: i64,
}

/// A gauge's present value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GaugeValue {
    /// A whole number.
    Int(i64),
    /// One with decimals.
    Float(f64),
}

impl From<i64> for GaugeValue {
    fn from(value: i64) -> Self {
        GaugeValue::Int(value)
    }
}

impl From<f64> for GaugeValue {
    fn from(value: f64) -> Self {
        GaugeValue::Float(value)
    }
}

/// Turns the table of gauges into the struct and its walk.
macro_rules! gauges {
    ($($name:ident: $($kind:ident)*, $unit:ident, $help:literal;)*) => {
        /// What is looked up when `mntr`, `srvr` or `stat` ask. Fields that are `None` do not exist
        /// in a server's present role.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Gauges {
            $(#[doc = $help] pub $name: gauges!(@type $($kind)*),)*
        }

        impl Gauges {
            /// The table.
            pub const TABLE: &'static [Description] = &[
                $(Description { name: stringify!($name), unit: Unit::$unit, help: $help },)*
            ];

            /// Visits every gauge that exists, in the order of the table.
            pub fn each(&self, mut visit: impl FnMut(&'static Description, GaugeValue)) {
                let values: [Option<GaugeValue>; Gauges::TABLE.len()] =
                    [$(gauges!(@value $($kind)*, self.$name),)*];
                for (description, value) in Gauges::TABLE.iter().zip(values) {
                    if let Some(value) = value {
                        visit(description, value);
                    }
                }
            }
        }
    };
    (@type role $kind:ident) => { Option<$kind> };
    (@type $kind:ident) => { $kind };
    (@value role $kind:ident, $value:expr) => { $value.map(GaugeValue::from) };
    (@value $kind:ident, $value:expr) => { Some(GaugeValue::from($value)) };
}

gauges! {
    ephemerals_count: i64, Count, "Ephemeral znodes.";
    num_alive_connections: i64, Count, "Client connections.";
    avg_latency: f64, Ms, "Mean time from receiving a request to answering it.";
    min_proposal_size: role i64, Bytes, "Smallest proposal of this leader.";
    outstanding_requests: i64, Count, "Requests received and not answered.";
    znode_count: i64, Count, "Znodes.";
    global_sessions: i64, Count, "Sessions of the ensemble.";
    non_mtls_remote_conn_count: i64, Count, "Unauthenticated connections from elsewhere.";
    last_client_response_size: i64, Bytes, "Last reply; -1 before the first.";
    packets_sent: i64, Count, "Replies and events sent.";
    packets_received: i64, Count, "Requests received.";
    max_proposal_size: role i64, Bytes, "Largest proposal of this leader.";
    max_client_response_size: i64, Bytes, "Largest reply; -1 before the first.";
    synced_followers: role i64, Count, "Followers that keep up.";
    connection_drop_probability: f64, Count, "Chance of a new connection to be dropped.";
    watch_count: i64, Count, "Watches, in both tables.";
    synced_non_voting_followers: role i64, Count, "Non-voting followers that keep up.";
    synced_observers: role i64, Count, "Observers that keep up.";
    auth_failed_count: i64, Count, "Failed authentications.";
    min_latency: i64, Ms, "Shortest time from receiving a request to answering it.";
    max_file_descriptor_count: i64, Count, "File descriptors this process may open.";
    approximate_data_size: i64, Bytes, "Paths and data of all znodes.";
    open_file_descriptor_count: i64, Count, "File descriptors open.";
    last_proposal_size: role i64, Bytes, "Last proposal of this leader.";
    pending_syncs: role i64, Count, "sync requests waiting.";
    leader_uptime: role i64, Ms, "Time since this server leads.";
    local_sessions: i64, Count, "Sessions known to this server alone.";
    uptime: i64, Ms, "Time since the start.";
    max_latency: i64, Ms, "Longest time from receiving a request to answering it.";
    outstanding_tls_handshake: i64, Count, "TLS handshakes under way.";
    learners: role i64, Count, "Learners connected.";
    min_client_response_size: i64, Bytes, "Smallest reply; -1 before the first.";
    non_mtls_local_conn_count: i64, Count, "Unauthenticated connections from this machine.";
    quorum_size: role i64, Count, "Voting servers.";
    unresolved_peer_names: role i64, Count, "Names of peers that did not resolve when last tried.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_added_up_and_reset() {
        let (mut core, mut front) = (Metrics::default(), Metrics::default());
        core.commit_count += 2;
        core.fsynctime.record(3);
        front.commit_count += 1;
        front.readlatency.record(5);
        front.read_per_namespace.entry("a").unwrap().record(9);
        core.merge(&front);
        assert_eq!(core.commit_count, 3);
        assert_eq!(core.fsynctime.count(), 1);
        assert_eq!(core.readlatency.percentile(500), 5);
        assert_eq!(core.read_per_namespace.iter().count(), 1);
        core.reset();
        let mut left = 0;
        core.each(|_, value| {
            left += match value {
                Value::Counter(count) => count,
                Value::CounterSet(set) => set.iter().map(|(_, count)| *count).sum(),
                Value::Summary(summary) => summary.count(),
                Value::Detailed(summary) => summary.summary().count(),
                Value::SummarySet(set) => set.iter().map(|(_, summary)| summary.count()).sum(),
                Value::DetailedSet(set) => {
                    set.iter().map(|(_, summary)| summary.summary().count()).sum()
                }
            }
        });
        assert_eq!(left, 0);
    }

    #[test]
    fn namespaces_are_first_elements() {
        assert_eq!(top_namespace("/a/b"), Some("a"));
        assert_eq!(top_namespace("/a"), Some("a"));
        assert_eq!(top_namespace("/"), None);
        assert_eq!(top_namespace(""), None);
    }

    #[test]
    fn help_is_given_for_every_name_once() {
        let all: Vec<_> = Metrics::TABLE.iter().chain(Gauges::TABLE).collect();
        let mut names: Vec<_> = all.iter().map(|line| line.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|line| line.help.ends_with('.')));
    }
}
