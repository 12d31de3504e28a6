//! What the agreement needs to know of the configuration, and its own bounds.

use oxkeeper_proto::{Capabilities, Sid};

/// Pulses that one of ours must miss to count as lost.
pub const PULSES_MISSED: u64 = 6;

/// See the fields. Times follow `zoo.cfg`: limits are numbers of ticks.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This server.
    pub sid: Sid,
    /// Length of a tick, ms (`tickTime`).
    pub tick_time_ms: u64,
    /// Ticks that connecting and synchronising may take (`initLimit`).
    pub init_limit: u64,
    /// Ticks of silence or lag (`syncLimit`).
    pub sync_limit: u64,
    /// `peerType=observer`, as long as the configuration does not say otherwise.
    pub observer: bool,
    /// The last counter of an epoch that is given to a transaction; an election begins the next
    /// epoch. Java gives up when the next counter would be all ones; smaller ones are for tests.
    pub counter_max: u32,
    /// Whether an observer logs what it is told (`syncEnabled`).
    pub sync_enabled: bool,
    /// Whether configurations are adopted from the protocol (`reconfigEnabled`).
    pub reconfig_enabled: bool,
    /// The counter behind which this server begins its epochs if it leads, and then whoever leads
    /// may begin them there or behind 0 (`zookeeper.testingonly.initialZxid`): so that counters run
    /// out while somebody watches. `None`: 0. Anything else is taken for the hole which it would
    /// be.
    pub epochs_begin_at: Option<u32>,
    /// Whether a server may have several addresses in a configuration (`multiAddress.enabled`).
    pub multi_address: bool,
    /// Every learner gets a snapshot (`forceSnapshotSync`).
    pub force_snapshot: bool,
    /// How much log may be read for one learner, in thousandths of the newest snapshot's size
    /// (`snapshotSizeFactor`): `None` never reads the log, 0 has no limit.
    pub snapshot_size_permille: Option<u64>,
    /// Committed transactions kept in memory for learners that were briefly away
    /// (`commitLogCount`).
    pub committed_count_max: usize,
    /// The same in bytes.
    pub committed_bytes_max: usize,
    /// Transactions proposed and not committed; a learner drops a leader that exceeds it, so it is
    /// well above what any leader admits (`globalOutstandingLimit`).
    pub outstanding_count_max: usize,
    /// The same in bytes.
    pub outstanding_bytes_max: usize,
    /// Learners at once, those that are still strangers included.
    pub links_max: usize,
    /// Learners that may be sent a snapshot at once (`leader.maxConcurrentSnapSyncs`), and what
    /// they miss (`leader.maxConcurrentDiffSyncs`). Voters come in all the same, and count.
    pub snap_syncs_max: usize,
    /// See above.
    pub diff_syncs_max: usize,
    /// Ticks that connecting to a leader may take (`connectToLearnerMasterLimit`); 0: initLimit.
    pub connect_limit: u64,
    /// The pause between attempts at it, ms (`zookeeper.leaderConnectDelayDuringRetryMs`).
    pub redial_ms: u64,
    /// Followers serve observers, and observers look for a follower instead of the leader
    /// (`observerMasterPort`).
    pub observer_masters: bool,
    /// An observer connects to its leader after a random part of this, ms
    /// (`zookeeper.observer.reconnectDelayMs`), so that not all come at once.
    pub observer_reconnect_delay_ms: u64,
    /// An observer that lost its leader looks for another after a random part of this, ms
    /// (`zookeeper.observer.election.DelayMs`).
    pub observer_election_delay_ms: u64,
    /// What those parts are drawn from: different on each server.
    pub seed: u64,
    /// How long one of ours may be silent to another before it counts as lost, in ms of the other's
    /// own running time. `None`: three quarters of a tick; 0: syncLimit counts, as with Apache's.
    /// Needs the capability QUICK_PING.
    pub silence_ms: Option<u64>,
    /// The number that this server knows its ensemble by, as it was stored; 0: none yet.
    pub ensemble_id: u128,
    /// Random bits: the number of an ensemble that has none, if this server leads it; 0: it gets
    /// none from us.
    pub ensemble_seed: u128,
    /// What we can do beyond Apache's rules: bits of [`oxkeeper_proto::Capabilities`]. With 0 this
    /// server says nothing of itself that one of Apache's would not.
    pub capabilities: u64,
}

impl Settings {
    /// ZooKeeper's defaults for a server.
    pub fn new(sid: Sid) -> Settings {
        Settings {
            sid,
            tick_time_ms: 2000,
            init_limit: 10,
            sync_limit: 5,
            observer: false,
            counter_max: 0xffff_fffe,
            sync_enabled: true,
            reconfig_enabled: false,
            epochs_begin_at: None,
            multi_address: false,
            force_snapshot: false,
            snapshot_size_permille: Some(330),
            committed_count_max: 500,
            committed_bytes_max: 64 << 20,
            outstanding_count_max: 100_000,
            outstanding_bytes_max: 512 << 20,
            links_max: 1000,
            snap_syncs_max: 10,
            diff_syncs_max: 100,
            connect_limit: 0,
            redial_ms: 100,
            observer_masters: false,
            observer_reconnect_delay_ms: 0,
            observer_election_delay_ms: 200,
            seed: sid.0.cast_unsigned(),
            silence_ms: None,
            ensemble_id: 0,
            ensemble_seed: 0,
            capabilities: 0,
        }
    }

    /// initLimit in ms.
    pub fn init_limit_ms(&self) -> u64 {
        self.init_limit * self.tick_time_ms
    }

    /// How long connecting to a leader may take, in ms.
    pub fn connect_limit_ms(&self) -> u64 {
        if self.connect_limit > 0 {
            self.connect_limit * self.tick_time_ms
        } else {
            self.init_limit_ms()
        }
    }

    /// How long a server that was handed the lead waits for a quorum, and its learners for it, in
    /// ms. It is there already, or it is not: then an election is quicker than any patience.
    pub fn handover_limit_ms(&self) -> u64 {
        self.tick_time_ms
    }

    /// How long one of ours may be silent; `None` if syncLimit alone counts.
    pub fn quick_silence_ms(&self) -> Option<u64> {
        let silence_ms = self.silence_ms.unwrap_or(self.tick_time_ms * 3 / 4);
        let can = self.capabilities & Capabilities::QUICK_PING != 0;
        (can && silence_ms > 0).then_some(silence_ms)
    }

    /// syncLimit in ms.
    pub fn sync_limit_ms(&self) -> u64 {
        self.sync_limit * self.tick_time_ms
    }
}
