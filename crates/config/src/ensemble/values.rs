//! What a member of an ensemble needs beyond what a standalone server does, in units it works with.

use std::path::PathBuf;

use crate::ensemble::{Joined, Membership, Role};
use crate::error::ConfigError;
use crate::settings::{NoticeLevel, Settings};

/// The setting for [`History::epochs_begin_at`], and its largest value: one counter is left.
const INITIAL_ZXID: &str = "testingonly.initialZxid";
const COUNTER_MAX: u32 = 0xffff_fffd;

/// Everything that only ensembles know. Whether it may be reconfigured is
/// [`crate::Tree::reconfig_enabled`], the tick [`crate::Sessions::tick_time_ms`], the address for
/// clients [`crate::Config::listen`].
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// This server's number, from the file `myid`.
    pub my_id: i64,
    /// Who is in it; its text (`Display`) is what servers compare. This server is a member.
    pub membership: Membership,
    /// Whether this server's line leaves its client address to `clientPort`: the address is then
    /// [`crate::Config::listen`] and no part of the text (`isClientAddrFromStatic`).
    pub client_is_static: bool,
    /// The file that holds the membership, if it is a file of its own.
    pub dynamic_file: Option<PathBuf>,
    /// Whether reconfiguring down to one participant is refused (`standaloneEnabled`).
    pub standalone_enabled: bool,
    /// Ticks that connecting to a leader and synchronising may take; at least 1.
    pub init_limit: u32,
    /// Ticks of silence or lag; at least 1.
    pub sync_limit: u32,
    /// Ticks that connecting to a leader may take; at least 1.
    pub connect_limit: u32,
    /// How leaders are elected.
    pub election: Election,
    /// Whether a server may have several addresses.
    pub multi_address: bool,
    /// Whether the leader serves clients.
    pub leader_serves: bool,
    /// Wait between attempts to reach a leader, milliseconds.
    pub leader_connect_delay_ms: u32,
    /// How others are brought up to date.
    pub history: History,
    /// Sessions that only their server knows.
    pub local_sessions: LocalSessions,
    /// What concerns observers.
    pub observers: Observers,
    /// Whether a server with an empty database may vote without the file `initialize`.
    pub db_autocreate: bool,
    /// Whether reads are served while there is no quorum.
    pub read_only_mode: bool,
}

impl Ensemble {
    /// Whether this server votes.
    pub fn role(&self) -> Role {
        self.membership.member(self.my_id).map_or(Role::Observer, |member| member.role)
    }
}

/// How leaders are elected, over the election port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Election {
    /// Whether the servers' ports are bound on all interfaces.
    pub listen_on_all_ips: bool,
    /// Attempts at binding an address, a second apart; 0 for no end.
    pub bind_attempts: u32,
    /// Whether connections carry SO_KEEPALIVE.
    pub tcp_keep_alive: bool,
    /// How long connecting may take, milliseconds; at least 1.
    pub dial_timeout_ms: u32,
    /// How long a new connection may take to say who it is, milliseconds; at least 1.
    pub greeting_timeout_ms: u32,
    /// After how long a vote is first repeated, milliseconds; at least 1.
    pub interval_min_ms: u32,
    /// Where doubling that ends, milliseconds; not below it.
    pub interval_max_ms: u32,
}

/// How others are brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Committed transactions kept in memory; at least 500.
    pub commit_log_count: u32,
    /// How much log may be sent instead of a snapshot, in thousandths of the snapshot's size; 0
    /// has no limit, `None` never sends from the log on disk.
    pub snapshot_size_permille: Option<u64>,
    /// Whether everybody gets a snapshot.
    pub force_snapshot: bool,
    /// The counter that epochs begin behind, so that a test sees it run over.
    pub epochs_begin_at: Option<u32>,
    /// Snapshots sent to observers at a time; at least 1. Participants are exempt.
    pub max_concurrent_snap_syncs: u32,
    /// The same for transactions.
    pub max_concurrent_diff_syncs: u32,
}

/// Sessions that only their server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalSessions {
    /// Whether there are any.
    pub enabled: bool,
    /// Whether one becomes global once it creates an ephemeral znode.
    pub upgrading_enabled: bool,
}

/// What concerns observers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observers {
    /// Whether an observer keeps a log and snapshots.
    pub sync_enabled: bool,
    /// An observer waits a random part of this before it connects again, milliseconds.
    pub reconnect_delay_ms: u64,
    /// An observer waits a random part of this before it looks for a leader, milliseconds.
    pub election_delay_ms: u64,
    /// Whether followers serve observers, and how.
    pub master: Option<ObserverMaster>,
}

/// Followers that serve observers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObserverMaster {
    /// The port for observers.
    pub port: u16,
    /// Commits retained for observers, bytes.
    pub size_limit_bytes: u64,
}

/// What the settings say, for a server that has joined.
pub(crate) fn values(
    settings: &mut Settings,
    joined: Joined,
    tick_time_ms: u32,
) -> Result<Ensemble, ConfigError> {
    refuse_what_would_be_unsafe(settings)?;
    let init_limit = limit(settings, "initLimit", tick_time_ms)?;
    let sync_limit = limit(settings, "syncLimit", tick_time_ms)?;
    let connect_limit = match settings.int("connectToLearnerMasterLimit") {
        Some(1..) => limit(settings, "connectToLearnerMasterLimit", tick_time_ms)?,
        _ => init_limit,
    };
    settings.came_to("connectToLearnerMasterLimit", connect_limit);
    if settings.bool("extendedTypesEnabled") && joined.my_id > 254 {
        let problem = format!("takes servers' numbers up to 254, and this is {}", joined.my_id);
        return Err(settings.bad("extendedTypesEnabled", problem));
    }
    Ok(Ensemble {
        my_id: joined.my_id,
        membership: joined.membership,
        client_is_static: joined.client_is_static,
        dynamic_file: super::dynamic_file(settings),
        standalone_enabled: settings.bool("standaloneEnabled"),
        init_limit,
        sync_limit,
        connect_limit,
        election: election(settings, sync_limit * tick_time_ms),
        multi_address: settings.bool("multiAddress.enabled"),
        leader_serves: settings.bool("leaderServes"),
        leader_connect_delay_ms: settings.count("leaderConnectDelayDuringRetryMs"),
        history: history(settings)?,
        local_sessions: LocalSessions {
            enabled: settings.bool("localSessionsEnabled"),
            upgrading_enabled: settings.bool("localSessionsUpgradingEnabled"),
        },
        observers: observers(settings)?,
        db_autocreate: settings.bool("db.autocreate"),
        read_only_mode: settings.bool("readonlymode.enabled"),
    })
}

/// What a standalone server may ignore and a member of an ensemble may not.
fn refuse_what_would_be_unsafe(settings: &Settings) -> Result<(), ConfigError> {
    for (name, because) in [
        ("sslQuorum", "the servers would speak to each other in plain text"),
        ("quorum.auth.enableSasl", "the servers would not ask each other who they are"),
    ] {
        if settings.bool(name) {
            return Err(settings.bad(name, format_args!("not supported yet: {because}")));
        }
    }
    if settings.given("oraclePath").is_some() {
        let problem = "not supported yet: the two servers would stop with either of them, whatever \
                       the oracle says";
        return Err(settings.bad("oraclePath", problem));
    }
    Ok(())
}

/// A number of ticks; as milliseconds it fits Java's `int`.
fn limit(settings: &Settings, name: &str, tick_time_ms: u32) -> Result<u32, ConfigError> {
    let ticks = settings.count(name).max(1);
    match ticks.checked_mul(tick_time_ms) {
        Some(ms) if i32::try_from(ms).is_ok() => Ok(ticks),
        _ => {
            let most = i32::MAX as u32 / tick_time_ms.max(1);
            let problem = format!("must be at most {most} with a tickTime of {tick_time_ms} ms");
            Err(settings.bad(name, problem))
        }
    }
}

fn election(settings: &mut Settings, sync_limit_ms: u32) -> Election {
    let interval_min_ms = settings.count("fastleader.minNotificationInterval").max(1);
    let mut interval_max_ms = settings.count("fastleader.maxNotificationInterval");
    if interval_max_ms < interval_min_ms {
        interval_max_ms = interval_min_ms;
        corrected(settings, "fastleader.maxNotificationInterval", interval_min_ms);
    }
    let mut bind_attempts = settings.count("electionPortBindRetry");
    if settings.int("electionPortBindRetry").is_some_and(|attempts| attempts < 0) {
        bind_attempts = 3;
        corrected(settings, "electionPortBindRetry", bind_attempts);
    }
    let greeting_timeout_ms = match settings.count("quorumCnxnTimeoutMs") {
        0 => sync_limit_ms,
        ms => ms,
    };
    settings.came_to("quorumCnxnTimeoutMs", greeting_timeout_ms);
    Election {
        listen_on_all_ips: settings.bool("quorumListenOnAllIPs"),
        bind_attempts,
        tcp_keep_alive: settings.bool("tcpKeepAlive"),
        dial_timeout_ms: settings.count("cnxTimeout").max(1),
        greeting_timeout_ms,
        interval_min_ms,
        interval_max_ms,
    }
}

fn history(settings: &mut Settings) -> Result<History, ConfigError> {
    let counter = |number: i64| u32::try_from(number).ok().filter(|&at| at <= COUNTER_MAX);
    let epochs_begin_at = match settings.int(INITIAL_ZXID) {
        Some(number) => Some(counter(number).ok_or_else(|| {
            settings.bad(INITIAL_ZXID, format!("must be a counter, 0 to {COUNTER_MAX}"))
        })?),
        None => None,
    };
    let mut commit_log_count = settings.count("commitLogCount");
    if commit_log_count < 500 {
        commit_log_count = 500;
        corrected(settings, "commitLogCount", commit_log_count);
    }
    let mut factor = settings.real("snapshotSizeFactor");
    if factor > 1.0 {
        factor = 0.33;
        corrected(settings, "snapshotSizeFactor", factor);
    }
    // Between 0 and 1000; a share below a thousandth is still a limit, unlike 0.
    let permille = if factor > 0.0 { ((factor * 1000.0).round() as u64).max(1) } else { 0 };
    Ok(History {
        commit_log_count,
        snapshot_size_permille: (factor >= 0.0).then_some(permille),
        force_snapshot: settings.bool("forceSnapshotSync"),
        epochs_begin_at,
        max_concurrent_snap_syncs: settings.count("leader.maxConcurrentSnapSyncs").max(1),
        max_concurrent_diff_syncs: settings.count("leader.maxConcurrentDiffSyncs").max(1),
    })
}

fn observers(settings: &Settings) -> Result<Observers, ConfigError> {
    let master = match settings.int("observerMasterPort") {
        None | Some(..=0) => None,
        Some(port) => {
            let port = u16::try_from(port)
                .map_err(|_| settings.bad("observerMasterPort", "must be a port, 1 to 65535"))?;
            let size_limit_bytes = settings.long("observerMaster.sizeLimit");
            Some(ObserverMaster { port, size_limit_bytes })
        }
    };
    Ok(Observers {
        sync_enabled: settings.bool("syncEnabled"),
        reconnect_delay_ms: settings.long("observer.reconnectDelayMs"),
        election_delay_ms: settings.long("observer.election.DelayMs"),
        master,
    })
}

/// Says that a value is replaced, as ZooKeeper replaces it.
fn corrected(settings: &mut Settings, name: &str, by: impl ToString) {
    let by = by.to_string();
    if let Some(setting) = settings.given(name) {
        let place = setting.source.place(&settings.file);
        let text = crate::error::printable(&setting.text);
        let text = format!("{place}: {name}={text} is taken as {by}");
        settings.notice(NoticeLevel::Warning, Some(name), text);
    }
    settings.came_to(name, by);
}
