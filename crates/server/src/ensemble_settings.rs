//! From the configuration to what the agreement and its two ports are told.

use std::time::Duration;

use oxkeeper_config::{Config, Ensemble, Role};
use oxkeeper_proto::Sid;
use oxkeeper_proto::notification::HelloForm;
use oxkeeper_proto::packet::Capabilities;
use oxkeeper_zab as zab;

use crate::member::MemberOptions;
use crate::{election_port, quorum_port};

/// How long a vote may go unanswered where a server has another address to be told it at: many
/// times what an answer takes, and little beside what an election without that server would cost.
const UNANSWERED_MAX_MS: u64 = 3_000;

/// How the member's files are read.
pub fn boot(ensemble: &Ensemble) -> MemberOptions {
    MemberOptions {
        db_autocreate: ensemble.db_autocreate,
        tail_count_max: ensemble.history.commit_log_count as usize,
        tail_bytes_max: zab::Settings::new(Sid(ensemble.my_id)).committed_bytes_max,
    }
}

/// What the agreement is told. `kept_id` is the number of the ensemble on disk, 0 for none, `seed`
/// is different in every process.
pub fn agreement(config: &Config, ensemble: &Ensemble, kept_id: u128, seed: u64) -> zab::Settings {
    let (history, observers) = (&ensemble.history, &ensemble.observers);
    zab::Settings {
        tick_time_ms: u64::from(config.sessions.tick_time_ms),
        init_limit: u64::from(ensemble.init_limit),
        sync_limit: u64::from(ensemble.sync_limit),
        observer: ensemble.role() == Role::Observer,
        sync_enabled: ensemble.observers.sync_enabled,
        reconfig_enabled: config.tree.reconfig_enabled,
        multi_address: ensemble.multi_address,
        force_snapshot: history.force_snapshot,
        epochs_begin_at: history.epochs_begin_at,
        snapshot_size_permille: history.snapshot_size_permille,
        committed_count_max: history.commit_log_count as usize,
        silence_ms: Some(silence_ms(config.sessions.tick_time_ms)),
        capabilities: Capabilities::LEADER_TRANSFER
            | Capabilities::QUICK_PING
            | Capabilities::ENSEMBLE_ID
            | Capabilities::CUMULATIVE
            | Capabilities::PROBATION,
        observer_masters: observers.master.is_some(),
        snap_syncs_max: history.max_concurrent_snap_syncs as usize,
        diff_syncs_max: history.max_concurrent_diff_syncs as usize,
        connect_limit: u64::from(ensemble.connect_limit),
        redial_ms: u64::from(ensemble.leader_connect_delay_ms),
        observer_reconnect_delay_ms: observers.reconnect_delay_ms,
        observer_election_delay_ms: observers.election_delay_ms,
        seed,
        ensemble_id: kept_id,
        ensemble_seed: u128::from(seed) << 64 | u128::from(seed.rotate_left(17) ^ random()),
        ..zab::Settings::new(Sid(ensemble.my_id))
    }
}

/// How long a server of ours may be silent to another: three quarters of a tick, and never less
/// than a busy machine may let a healthy one wait for its turn.
fn silence_ms(tick_time_ms: u32) -> u64 {
    (u64::from(tick_time_ms) * 3 / 4).max(1_000)
}

/// What its elections are told.
pub fn voting(config: &Config, ensemble: &Ensemble) -> zab::election::Settings {
    zab::election::Settings {
        interval_min_ms: u64::from(ensemble.election.interval_min_ms),
        interval_max_ms: u64::from(ensemble.election.interval_max_ms),
        reconfig_enabled: config.tree.reconfig_enabled,
        multi_address: ensemble.multi_address,
        ..zab::election::Settings::default()
    }
}

/// What the election port is told.
pub fn election_port(ensemble: &Ensemble) -> election_port::Settings {
    let election = &ensemble.election;
    election_port::Settings {
        links: zab::links::Settings {
            hello: if ensemble.multi_address { HelloForm::V2 } else { HelloForm::V1 },
            dial_timeout_ms: u64::from(election.dial_timeout_ms),
            greeting_timeout_ms: u64::from(election.greeting_timeout_ms),
            unanswered_max_ms: ensemble.multi_address.then_some(UNANSWERED_MAX_MS),
            ..zab::links::Settings::default()
        },
        listen_on_all_ips: election.listen_on_all_ips,
        bind_attempts: election.bind_attempts,
        tcp_keep_alive: election.tcp_keep_alive,
        ..election_port::Settings::new(Sid(ensemble.my_id))
    }
}

/// What the quorum port is told.
pub fn quorum_port(config: &Config, ensemble: &Ensemble) -> quorum_port::Settings {
    let connect_ms = u64::from(ensemble.connect_limit) * u64::from(config.sessions.tick_time_ms);
    let limits = &config.limits;
    quorum_port::Settings {
        listen_on_all_ips: ensemble.election.listen_on_all_ips,
        bind_attempts: ensemble.election.bind_attempts,
        tcp_keep_alive: ensemble.election.tcp_keep_alive,
        observer_master_port: ensemble.observers.master.map(|master| master.port),
        connect_timeout: Duration::from_millis(connect_ms),
        data_bytes_max: limits.jute_maxbuffer as usize + limits.jute_extrasize as usize,
        ..quorum_port::Settings::new(Sid(ensemble.my_id))
    }
}

/// Random bits.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("the number of an ensemble")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use oxkeeper_config::{Options, OsFiles};
    use oxkeeper_storage::limits::LOG_ENTRY_BYTES_MAX;

    use super::*;
    use crate::boot::BootOptions;
    use crate::settings::settings;

    /// ZOOKEEPER-2101, 3496, 4306: what one server accepts, each has to be able to read, from its
    /// log and from its leader.
    #[test]
    fn what_is_proposed_is_never_larger_than_what_learners_and_logs_take() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("myid"), "1").unwrap();
        let member = format!(
            "dataDir={}\nclientPort=2181\ninitLimit=10\nsyncLimit=5\n\
             server.1=a:1:2\nserver.2=b:1:2\n",
            home.path().display()
        );
        for limits in [
            "",
            "jute.maxbuffer=128\n",
            "jute.maxbuffer=4194304\n",
            "jute.maxbuffer=4194304\njute.maxbuffer.extrasize=1024\n",
            "jute.maxbuffer=2147483647\njute.maxbuffer.extrasize=2147483647\n",
        ] {
            let text = format!("{member}{limits}");
            let options = Options::default();
            let config =
                Config::from_bytes("zoo.cfg", text.as_bytes(), &options, &OsFiles).unwrap();
            let ensemble = config.ensemble.as_ref().unwrap();
            let proposed = settings(&config, 1, 1).rules.entry_bytes_max;
            assert!(proposed <= LOG_ENTRY_BYTES_MAX, "{limits}");
            assert!(proposed <= quorum_port(&config, ensemble).data_bytes_max, "{limits}");
            let read_back = BootOptions::new(&config, 1).recovery.java_entry_bytes_max;
            assert!(proposed <= read_back, "{limits}");
            // And what a client may send is not refused only because it is written down.
            let sent = config.limits.jute_maxbuffer as usize;
            assert!(proposed == LOG_ENTRY_BYTES_MAX || proposed > sent, "{limits}");
        }
    }

    /// Member 4 of an ensemble with this in its file, an observer.
    fn member(lines: &str) -> (Config, Ensemble) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("myid"), "4").unwrap();
        let mut file = format!("dataDir={}\nclientPort=2181\n{lines}\n", dir.path().display());
        for sid in 1..=3 {
            file += &format!("server.{sid}=h{sid}:2888:3888\n");
        }
        file += "server.4=h4:2888:3888:observer\n";
        let path = dir.path().join("zoo.cfg");
        fs::write(&path, file).unwrap();
        let config = Config::from_path(&path, &Options::default(), &OsFiles).unwrap();
        let ensemble = config.ensemble.clone().expect("an ensemble");
        (config, ensemble)
    }

    #[test]
    fn what_the_file_says_reaches_the_agreement_its_ports_and_the_node() {
        let (config, ensemble) = member("initLimit=10\nsyncLimit=5");
        let agreed = agreement(&config, &ensemble, 0, 1);
        assert!(agreed.observer && agreed.sync_enabled && !agreed.reconfig_enabled);
        assert!(!agreed.multi_address && !agreed.observer_masters && !agreed.force_snapshot);
        assert_eq!((agreed.tick_time_ms, agreed.init_limit, agreed.sync_limit), (3_000, 10, 5));
        assert_eq!(agreed.silence_ms, Some(2_250));
        let elects = election_port(&ensemble);
        assert_eq!(elects.links.hello, HelloForm::V1);
        assert_eq!((elects.links.unanswered_max_ms, elects.bind_attempts), (None, 3));
        let node = settings(&config, 1, 1);
        assert!(node.leader_serves && node.standalone_enabled && !node.local_sessions);
        assert_eq!(node.read_only_after_ms, None);

        let (config, ensemble) = member(
            "tickTime=1000\ninitLimit=9\nsyncLimit=4\nsyncEnabled=false\nleaderServes=no\n\
             standaloneEnabled=false\nreconfigEnabled=true\nmultiAddress.enabled=true\n\
             electionPortBindRetry=7\nquorumListenOnAllIPs=true\nobserverMasterPort=2889\n\
             maxConcurrentSnapSyncs=2\nmaxConcurrentDiffSyncs=6\nforceSnapshotSync=true\n\
             localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n\
             readonlymode.enabled=true\nobserver.reconnectDelayMs=70\nobserver.election.DelayMs=80",
        );
        let agreed = agreement(&config, &ensemble, 5, 1);
        assert!(!agreed.sync_enabled && agreed.reconfig_enabled && agreed.multi_address);
        assert!(agreed.observer_masters && agreed.force_snapshot);
        assert_eq!((agreed.tick_time_ms, agreed.init_limit, agreed.sync_limit), (1_000, 9, 4));
        assert_eq!((agreed.snap_syncs_max, agreed.diff_syncs_max), (2, 6));
        assert_eq!((agreed.silence_ms, agreed.ensemble_id), (Some(1_000), 5));
        let delays = (agreed.observer_reconnect_delay_ms, agreed.observer_election_delay_ms);
        assert_eq!(delays, (70, 80));
        let votes = voting(&config, &ensemble);
        assert!(votes.reconfig_enabled && votes.multi_address);
        let elects = election_port(&ensemble);
        assert_eq!(elects.links.hello, HelloForm::V2);
        assert_eq!(elects.links.unanswered_max_ms, Some(UNANSWERED_MAX_MS));
        assert!(elects.bind_attempts == 7 && elects.listen_on_all_ips);
        let serves = quorum_port(&config, &ensemble);
        assert!(serves.bind_attempts == 7 && serves.listen_on_all_ips);
        assert_eq!(serves.observer_master_port, Some(2889));
        let node = settings(&config, 1, 1);
        assert!(!node.leader_serves && !node.standalone_enabled && node.multi_address);
        assert!(node.local_sessions && node.local_sessions_upgrading);
        assert_eq!(node.read_only_after_ms, Some(2_000));
    }
}
