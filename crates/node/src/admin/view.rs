//! What the four-letter words show: plain copies, taken by whoever owns the originals.
//!
//! The host gathers a view per word and need fill in only what that word prints; the table at
//! [`AdminView`] says which fields that are.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use oxkeeper_proto::{OpCode, SessionId, Zxid};
use oxkeeper_tree::watch::{ConnKey, ReportBy, ReportLine, WatchCounts};

use crate::metrics::{Gauges, Metrics, QuotaGauges};

/// Everything a word may show.
///
/// | word | fields |
/// |---|---|
/// | srvr | `version`, `mode`, `zxid`, `gauges`, `proposal_sizes` |
/// | stat | those and `connections` |
/// | mntr | `version`, `mode`, `peer_state`, `observer_master_id`, `gauges`, `quotas`, `metrics` |
/// | cons | `connections` |
/// | conf | `config`, `data_dir_bytes`, `log_dir_bytes` |
/// | dirs | `data_dir_bytes`, `log_dir_bytes` |
/// | dump | `sessions`, `ephemerals`, `connection_buckets` |
/// | envi | `environment` |
/// | wchs | `watch_counts` |
/// | wchc, wchp | `watches` |
/// | hash | `digests` |
/// | gtmk | `trace_mask` |
/// | isro | `mode` |
///
/// All but ruok, envi, gtmk and stmk also read `serving`.
#[derive(Debug, Clone, Default)]
pub struct AdminView {
    /// False while this server must not answer.
    pub serving: bool,
    /// As existing parsers read it: `3.9.5-…, built on …`.
    pub version: String,
    /// What this server is at present.
    pub mode: Mode,
    /// The last transaction applied.
    pub zxid: Zxid,
    /// Last, smallest and largest proposal, bytes: a leader alone has them.
    pub proposal_sizes: Option<[i64; 3]>,
    /// A member's state and phase, e.g. `leading - broadcast`; none standalone and while read-only.
    pub peer_state: Option<String>,
    /// Whom an observer follows: the leader, or a follower that serves observers.
    pub observer_master_id: Option<i64>,
    /// What is looked up now.
    pub gauges: Gauges,
    /// Quotas by namespace.
    pub quotas: Vec<QuotaGauges>,
    /// What has been counted.
    pub metrics: Metrics,
    /// Client connections.
    pub connections: Vec<ConnLine>,
    /// What `conf` prints besides directory sizes.
    pub config: ConfigView,
    /// Bytes of the snapshots' directory.
    pub data_dir_bytes: u64,
    /// Bytes of the log's directory.
    pub log_dir_bytes: u64,
    /// Sessions.
    pub sessions: SessionsView,
    /// Sessions with ephemerals and their paths.
    pub ephemerals: Vec<(SessionId, Vec<String>)>,
    /// Connections by the wall-clock time, ms since 1970, at which they expire unheard.
    pub connection_buckets: Vec<(i64, Vec<(SocketAddr, SessionId)>)>,
    /// Names of [`ENVIRONMENT_NAMES`] and their values.
    pub environment: Vec<(&'static str, String)>,
    /// Numbers of the data watch table.
    pub watch_counts: WatchCounts,
    /// The data watch table.
    pub watches: WatchDump,
    /// Digests of the tree, one every 128 transactions, the oldest first.
    pub digests: Vec<(Zxid, i64)>,
    /// `ZooTrace`'s mask: kept and shown, it has no effect.
    pub trace_mask: i64,
}

impl AdminView {
    /// Takes what a member's core tells of its ensemble.
    pub fn put_member(&mut self, member: MemberView) {
        self.mode = member.mode;
        self.peer_state = member.peer_state;
        self.observer_master_id = member.observer_master_id;
        self.proposal_sizes = member.proposal_sizes;
        let gauges = &mut self.gauges;
        gauges.uptime = member.uptime_ms;
        gauges.quorum_size = member.quorum_size;
        gauges.learners = member.learners;
        gauges.synced_followers = member.synced_followers;
        gauges.synced_non_voting_followers = member.synced_non_voting_followers;
        gauges.synced_observers = member.synced_observers;
        gauges.pending_syncs = member.pending_syncs;
        gauges.leader_uptime = member.leader_uptime_ms;
        if let Some([last, min, max]) = member.proposal_sizes {
            gauges.last_proposal_size = Some(last);
            gauges.min_proposal_size = Some(min);
            gauges.max_proposal_size = Some(max);
        }
    }
}

/// A member of an ensemble as its own core sees it. What is `None` does not exist in its present
/// role; by default it serves readers alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// What it is.
    pub mode: Mode,
    /// See [`AdminView::peer_state`].
    pub peer_state: Option<String>,
    /// See [`AdminView::observer_master_id`].
    pub observer_master_id: Option<i64>,
    /// Since it is what it is, ms.
    pub uptime_ms: i64,
    /// Servers that vote.
    pub quorum_size: Option<i64>,
    /// Connections of learners.
    pub learners: Option<i64>,
    /// Followers that get what is proposed.
    pub synced_followers: Option<i64>,
    /// Those of them that have no vote.
    pub synced_non_voting_followers: Option<i64>,
    /// Observers that get what is committed.
    pub synced_observers: Option<i64>,
    /// Syncs that wait for a commit.
    pub pending_syncs: Option<i64>,
    /// Since the epoch is established, ms.
    pub leader_uptime_ms: Option<i64>,
    /// See [`AdminView::proposal_sizes`].
    pub proposal_sizes: Option<[i64; 3]>,
}

impl Default for MemberView {
    fn default() -> Self {
        MemberView {
            mode: Mode::ReadOnly,
            peer_state: None,
            observer_master_id: None,
            uptime_ms: 0,
            quorum_size: None,
            learners: None,
            synced_followers: None,
            synced_non_voting_followers: None,
            synced_observers: None,
            pending_syncs: None,
            leader_uptime_ms: None,
            proposal_sizes: None,
        }
    }
}

/// The trace mask that ZooKeeper starts with.
pub const TRACE_MASK_DEFAULT: i64 = 306;

/// What `envi` tells, in its order (`Environment`). Those about Java have no meaning here; scripts
/// read them by name all the same.
pub const ENVIRONMENT_NAMES: [&str; 18] = [
    "zookeeper.version",
    "host.name",
    "java.version",
    "java.vendor",
    "java.home",
    "java.class.path",
    "java.library.path",
    "java.io.tmpdir",
    "java.compiler",
    "os.name",
    "os.arch",
    "os.version",
    "user.name",
    "user.home",
    "user.dir",
    "os.memory.free",
    "os.memory.max",
    "os.memory.total",
];

/// What a server is at present (`ServerStats.Provider.getState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Alone.
    #[default]
    Standalone,
    /// Leads an ensemble.
    Leader,
    /// Follows and votes.
    Follower,
    /// Follows without a vote.
    Observer,
    /// Lost its ensemble and serves readers alone.
    ReadOnly,
}

impl Mode {
    /// The word after `Mode:`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::ReadOnly => "read-only",
        }
    }
}

/// One connection as `cons` and `stat` list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnLine {
    /// Remote address.
    pub peer: SocketAddr,
    /// What the socket waits for: 1 to read, 4 to write, 0 for the connection that asks.
    pub interest_ops: u32,
    /// Requests under way.
    pub queued: u64,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// None before the handshake is done; then nothing of the rest is shown.
    pub session: SessionId,
    /// The last operation answered.
    pub last_op: Option<OpCode>,
    /// When it connected, ms since 1970.
    pub established_ms: i64,
    /// Negotiated timeout, ms.
    pub timeout_ms: i32,
    /// Xid of the last operation, −1 before the first.
    pub last_cxid: i64,
    /// Zxid of the last reply, −1 before the first.
    pub last_zxid: Zxid,
    /// When it was sent, monotonic ms.
    pub last_response_ms: u64,
    /// How long it took, ms.
    pub last_latency_ms: u64,
    /// Shortest so far, 0 if there is none.
    pub latency_min_ms: u64,
    /// Mean so far, rounded down.
    pub latency_avg_ms: u64,
    /// Longest so far.
    pub latency_max_ms: u64,
}

/// What `conf` prints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigView {
    /// Port of plain clients, −1 for none.
    pub client_port: i32,
    /// Port of TLS clients, −1 for none.
    pub secure_client_port: i32,
    /// Absolute, with `version-2`.
    pub data_dir: String,
    /// Absolute, with `version-2`.
    pub data_log_dir: String,
    /// ms.
    pub tick_time_ms: i64,
    /// Per address, 0 for any number.
    pub client_cnxns_max: i64,
    /// ms.
    pub session_timeout_min_ms: i64,
    /// ms.
    pub session_timeout_max_ms: i64,
    /// −1 for the system's own.
    pub listen_backlog: i64,
    /// `myid`; 0 standalone.
    pub server_id: i64,
    /// What only a member of an ensemble has.
    pub ensemble: Option<EnsembleView>,
}

/// A member's part of `conf`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnsembleView {
    /// Ticks.
    pub init_limit: i64,
    /// Ticks.
    pub sync_limit: i64,
    /// Always 3 by now.
    pub election_alg: i64,
    /// Own election ports, with `|` between those of several addresses.
    pub election_port: String,
    /// Own quorum ports, likewise.
    pub quorum_port: String,
    /// 0 votes, 1 observes.
    pub peer_type: i32,
    /// The configuration as it stands in `/zookeeper/config`; none while read-only.
    pub membership: Option<String>,
}

/// Sessions by the wall-clock time, ms since 1970, at which they expire unheard.
pub type SessionBuckets = Vec<(i64, Vec<SessionId>)>;

/// Sessions as `dump` lists them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionsView {
    /// Those that only this server knows; none if there can be none.
    pub local: Option<SessionBuckets>,
    /// All others.
    pub global: GlobalSessions,
}

/// Sessions that the whole ensemble knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobalSessions {
    /// As who expires them keeps them: a leader, or a server that is alone.
    Buckets(SessionBuckets),
    /// With their timeouts, ms, by id: a learner.
    Timeouts(Vec<(SessionId, i32)>),
}

impl Default for GlobalSessions {
    fn default() -> Self {
        GlobalSessions::Buckets(Vec::new())
    }
}

/// The data watch table as wchc or wchp prints it, collected from every Front's
/// [`report`](oxkeeper_tree::watch::Watches::report).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchDump {
    /// Complete lines: wchc.
    pub(super) connections: String,
    /// Who watches a path; several Fronts may know the same one: wchp.
    pub(super) paths: BTreeMap<Box<str>, Vec<SessionId>>,
    path: Box<str>,
}

impl WatchDump {
    /// Takes the next line of a report; `session` says whose a connection is.
    pub fn push(
        &mut self,
        by: ReportBy,
        line: ReportLine<'_>,
        session: impl FnOnce(ConnKey) -> SessionId,
    ) {
        match (by, line) {
            (ReportBy::Connection, ReportLine::Connection(conn)) => {
                self.connections.push_str(&session(conn).to_string());
                self.connections.push('\n');
            }
            (ReportBy::Connection, ReportLine::Path(path)) => {
                self.connections.push('\t');
                self.connections.push_str(path);
                self.connections.push('\n');
            }
            (ReportBy::Path, ReportLine::Path(path)) => self.path = path.into(),
            (ReportBy::Path, ReportLine::Connection(conn)) => {
                match self.paths.get_mut(&self.path) {
                    Some(sessions) => sessions.push(session(conn)),
                    None => drop(self.paths.insert(self.path.clone(), vec![session(conn)])),
                }
            }
        }
    }

    /// How many paths a report by path has named: what wchs says where there are several Fronts.
    pub fn path_count(&self) -> usize {
        self.paths.len()
    }
}
