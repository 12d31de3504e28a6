//! Configurations of ensembles: who is in it, what this server's part is, and the one line that a
//! mistake gets.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use oxkeeper_config::{
    BindAddr, Config, ConfigError, Ensemble, ExitCode, Files, NoticeLevel, Options, PathKind, Role,
    explain_json, explain_text,
};

/// A file system of a few files.
#[derive(Default, Clone)]
struct Disk(HashMap<PathBuf, Vec<u8>>);

impl Disk {
    fn with(mut self, path: &str, content: &str) -> Disk {
        self.0.insert(path.into(), content.into());
        self
    }
}

impl Files for Disk {
    fn read(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        Ok(if self.0.contains_key(path) { PathKind::Other } else { PathKind::Missing })
    }
}

const LIMITS: &str = "dataDir=/data\ninitLimit=10\nsyncLimit=5\n";
const THREE: &str = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";

fn read(my_id: &str, lines: &str) -> Result<Config, ConfigError> {
    read_on(&Disk::default().with("/data/myid", my_id), lines)
}

/// A file whose first further line is line 4.
fn read_on(disk: &Disk, lines: &str) -> Result<Config, ConfigError> {
    let file = format!("{LIMITS}{lines}");
    Config::from_bytes("zoo.cfg", file.as_bytes(), &Options::default(), disk)
}

fn member(my_id: &str, lines: &str) -> (Config, Ensemble) {
    let config = read(my_id, lines).unwrap_or_else(|error| panic!("{lines:?}: {error}"));
    let ensemble = config.ensemble.clone().unwrap_or_else(|| panic!("{lines:?}: standalone"));
    (config, ensemble)
}

fn refused(my_id: &str, lines: &str) -> String {
    let error = read(my_id, lines).map(|config| config.ensemble).expect_err(lines);
    assert_eq!(error.exit_code(), ExitCode::InvalidInvocation);
    error.to_string()
}

fn warnings(config: &Config) -> Vec<&str> {
    let warnings = config.notices.iter().filter(|notice| notice.level == NoticeLevel::Warning);
    warnings.map(|notice| notice.text.as_str()).collect()
}

#[test]
fn three_server_lines_are_an_ensemble_with_zookeepers_defaults() {
    let (config, ensemble) = member("2\n", &format!("clientPort=2181\n{THREE}"));
    assert_eq!(ensemble.my_id, 2);
    assert_eq!(ensemble.role(), Role::Participant);
    assert_eq!(
        ensemble.membership.to_string(),
        "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\n\
         server.3=c:2888:3888:participant\nversion=0"
    );
    assert!(ensemble.client_is_static && ensemble.dynamic_file.is_none());
    assert_eq!((&config.listen.client_addr, config.listen.client_port), (&BindAddr::All, 2181));
    assert_eq!((ensemble.init_limit, ensemble.sync_limit, ensemble.connect_limit), (10, 5, 10));
    let election = ensemble.election;
    assert!(!election.listen_on_all_ips && !election.tcp_keep_alive);
    assert_eq!((election.bind_attempts, election.dial_timeout_ms), (3, 5000));
    assert_eq!(election.greeting_timeout_ms, 15_000, "syncLimit of 3000 ms each");
    assert_eq!((election.interval_min_ms, election.interval_max_ms), (200, 60_000));
    let history = ensemble.history;
    assert_eq!((history.commit_log_count, history.snapshot_size_permille), (500, Some(330)));
    assert!(!history.force_snapshot && history.epochs_begin_at.is_none());
    assert_eq!((history.max_concurrent_snap_syncs, history.max_concurrent_diff_syncs), (10, 100));
    assert!(ensemble.leader_serves && ensemble.db_autocreate && ensemble.standalone_enabled);
    assert!(!ensemble.multi_address && !ensemble.read_only_mode);
    assert!(!ensemble.local_sessions.enabled && !ensemble.local_sessions.upgrading_enabled);
    assert!(ensemble.observers.sync_enabled && ensemble.observers.master.is_none());
    assert_eq!(ensemble.observers.election_delay_ms, 200);
    assert_eq!(warnings(&config), [""; 0]);
}

#[test]
fn a_server_line_may_say_where_clients_connect() {
    let lines = "server.1=a:1:2;2190\nserver.2=b:1:2;10.0.0.2:2191\nserver.3=c:1:2;[::1]:2192\n";
    for (my_id, client) in [("1", "0.0.0.0:2190"), ("2", "10.0.0.2:2191"), ("3", "[::1]:2192")] {
        let (config, ensemble) = member(my_id, lines);
        let listen = format!("{}:{}", config.listen.client_addr, config.listen.client_port);
        assert_eq!(listen, client);
        assert!(!ensemble.client_is_static);
    }
    let (_, ensemble) = member("1", &format!("clientPort=2190\n{lines}"));
    assert!(!ensemble.client_is_static, "the same port twice is what the line says");
    assert_eq!(
        refused("1", &format!("clientPort=2181\n{lines}")),
        "zoo.cfg:5: server.1=a:1:2;2190: its client address 0.0.0.0:2190 differs from clientPort \
         and clientPortAddress, 0.0.0.0:2181"
    );
    assert_eq!(
        refused("1", THREE),
        "zoo.cfg: clientPort is not set",
        "neither the line nor the file says it"
    );
}

#[test]
fn every_way_of_writing_a_line_comes_out_as_one() {
    let (_, ensemble) = member(
        "10",
        "multiAddress.enabled=true\nversion=1F\nserver.10 : [::1]:1:2:PARTICIPANT;[fe80::1]:3\n\
         zookeeper.server.2=b:1:2: observer;4\nserver.07=c:1:2|[fd00::7]:3:4:participant;d:5\n",
    );
    assert_eq!(
        ensemble.membership.to_string(),
        "server.2=b:1:2:observer;0.0.0.0:4\n\
         server.7=c:1:2|[fd00::7]:3:4:participant;d:5\n\
         server.10=[::1]:1:2:participant;[fe80::1]:3\nversion=1f"
    );
    assert!(ensemble.multi_address);
}

#[test]
fn roles_come_from_the_server_lines() {
    let lines = format!("clientPort=1\n{THREE}server.4=d:1:2:observer\n");
    let (config, ensemble) = member("4", &format!("{lines}peerType=participant\n"));
    assert_eq!(ensemble.role(), Role::Observer);
    assert_eq!(
        warnings(&config),
        ["zoo.cfg:9: peerType: the server line says observer, which counts"]
    );
    let (config, _) = member("4", &format!("{lines}peerType=observer\n"));
    assert_eq!(warnings(&config), [""; 0]);
    let (config, _) = member("4", &lines);
    assert_eq!(warnings(&config), [""; 0], "a default contradicts nobody");
}

#[test]
fn a_single_participant_is_an_ensemble_if_it_asks_to_be() {
    let (config, ensemble) = member("1", "standaloneEnabled=false\nserver.1=a:1:2;3\n");
    assert!(!ensemble.standalone_enabled);
    assert_eq!(warnings(&config), ["one participant: the ensemble stops when it does"]);
    let lines = "standaloneEnabled=false\nserver.1=a:1:2;3\nserver.2=b:1:2:observer\n";
    assert_eq!(member("1", lines).1.membership.members.len(), 2);
    assert_eq!(read("1", "server.1=a:1:2;3\n").unwrap().ensemble, None);
}

#[test]
fn groups_and_weights_are_part_of_the_membership() {
    let lines = format!("clientPort=1\n{THREE}group.2=3\ngroup.1=2:1\nweight.3=0\n");
    let (_, ensemble) = member("1", &lines);
    let text = ensemble.membership.to_string();
    assert!(text.ends_with("group.1=1:2\ngroup.2=3\nweight.3=0\nversion=0"), "{text}");
    assert_eq!(
        ensemble.membership.quorum(),
        "1 of 1 groups, in each of them more than half of its weight"
    );
    for (further, problem) in [
        ("group.1=1:2", "zoo.cfg:7: server.3=c:2888:3888: is in no group; with groups or weights"),
        ("weight.1=2", "zoo.cfg:5: server.1=a:2888:3888: is in no group"),
        ("group.1=1:2:3\ngroup.2=3", "zoo.cfg:9: group.2=3: server 3 is in group 1 already"),
        ("group.1=1:2:3:3", "zoo.cfg:8: group.1=1:2:3:3: server 3 is in group 1 already"),
        ("group.1=1:2:3:9", "zoo.cfg:8: group.1=1:2:3:9: server 9 is no participant, so it needs"),
        ("group.1=1,2", "zoo.cfg:8: group.1=1,2: must be servers' numbers, as in 1:2:3"),
        ("group.x=1", "zoo.cfg:8: group.x=1: what follows group. must be the group's number"),
        ("group.1=1:2:3\nweight.1=-1", "zoo.cfg:9: weight.1=-1: must be a whole number from 0"),
        (
            "group.1=1:2:3\nweight.1=0\nweight.2=0\nweight.3=0",
            "zoo.cfg:9: weight.1=0: no group weighs anything",
        ),
    ] {
        let error = refused("1", &format!("clientPort=1\n{THREE}{further}\n"));
        assert!(error.starts_with(problem), "{error}");
    }
}

#[test]
fn a_dynamic_file_carries_its_version_in_its_name() {
    for (name, version) in [
        ("/conf/zoo.cfg.dynamic", "0"),
        ("/conf/zoo.cfg.dynamic.10000001F", "10000001f"),
        ("/conf/zoo.cfg.dynamic.-1", "0"),
        ("/conf.1/members", "0"),
    ] {
        let disk = Disk::default().with("/data/myid", "3").with(name, THREE);
        let config = read_on(&disk, &format!("clientPort=1\ndynamicConfigFile={name}\n")).unwrap();
        let ensemble = config.ensemble.unwrap();
        assert_eq!(ensemble.dynamic_file.as_deref(), Some(Path::new(name)));
        let text = ensemble.membership.to_string();
        assert!(text.ends_with(&format!("\nversion={version}")), "{name}: {text}");
    }
    let disk = Disk::default().with("/data/myid", "3").with("/d", "server.1=a:1:2\nversion=3\n");
    let error = read_on(&disk, "clientPort=1\ndynamicConfigFile=/d\n").unwrap_err().to_string();
    assert_eq!(error, "/d:2: version: only server, group and weight may stand in a dynamic file");
}

#[test]
fn what_a_member_needs_and_lacks_is_said() {
    let lines = format!("clientPort=1\n{THREE}");
    assert_eq!(refused("4", &lines), "/data/myid: 4 is the number of no server line");
    let error = read_on(&Disk::default(), &lines).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/data/myid: is missing; the servers of an ensemble find their number in it"
    );
    assert_eq!(error.exit_code(), ExitCode::InvalidInvocation);
    let disk = Disk::default().with("/data/myid", "1");
    let bare = |lines: &str| {
        let file = format!("dataDir=/data\nclientPort=1\n{THREE}{lines}");
        let read = Config::from_bytes("zoo.cfg", file.as_bytes(), &Options::default(), &disk);
        read.unwrap_err().to_string()
    };
    let not_set = "is not set; the servers of an ensemble need it";
    assert_eq!(bare("syncLimit=5\n"), format!("zoo.cfg: initLimit {not_set}"));
    assert_eq!(bare("initLimit=5\n"), format!("zoo.cfg: syncLimit {not_set}"));
    assert_eq!(
        bare("initLimit=5\nsyncLimit=0\n"),
        "zoo.cfg:7: syncLimit=0: must be at least 1 in an ensemble"
    );
    for (further, problem) in [
        (
            "sslQuorum=true",
            "zoo.cfg:8: sslQuorum=true: not supported yet: the servers would speak to each other \
             in plain text",
        ),
        (
            "quorum.auth.enableSasl=true",
            "zoo.cfg:8: quorum.auth.enableSasl=true: not supported yet: the servers would not ask \
             each other who they are",
        ),
        (
            "oraclePath=/o",
            "zoo.cfg:8: oraclePath=/o: not supported yet: the two servers would stop with either \
             of them, whatever the oracle says",
        ),
        (
            "connectToLearnerMasterLimit=1000000",
            "zoo.cfg:8: connectToLearnerMasterLimit=1000000: must be at most 715827 with a \
             tickTime of 3000 ms",
        ),
        ("observerMasterPort=65536", "zoo.cfg:8: observerMasterPort=65536: must be a port"),
        (
            "testingonly.initialZxid=4294967294",
            "zoo.cfg:8: testingonly.initialZxid=4294967294: must be a counter, 0 to 4294967293",
        ),
        ("version=xyz", "zoo.cfg:8: version=xyz: must be a hexadecimal number"),
        ("server.4=d:1:2;3;4", "zoo.cfg:8: server.4=d:1:2;3;4: must be host:port:electionPort"),
        ("server.4=d e:1:2", "zoo.cfg:8: server.4=d e:1:2: must be host:port:electionPort"),
    ] {
        let error = refused("1", &format!("{lines}{further}\n"));
        assert!(error.starts_with(problem), "{error}");
    }
    let big = format!("extendedTypesEnabled=true\nclientPort=1\n{THREE}server.255=d:1:2\n");
    assert_eq!(
        refused("255", &big),
        "zoo.cfg:4: extendedTypesEnabled=true: takes servers' numbers up to 254, and this is 255"
    );
}

#[test]
fn a_standalone_server_ignores_what_only_ensembles_need() {
    let lines = "clientPort=1\nsslQuorum=true\noraclePath=/o\nobserverMasterPort=70000\n";
    assert_eq!(read("1", lines).unwrap().ensemble, None);
}

#[test]
fn odd_ensembles_are_pointed_out() {
    let of = |ids: &[i64]| -> Vec<String> {
        let lines: String = ids.iter().map(|id| format!("server.{id}=h{id}:1:2\n")).collect();
        let (config, _) = member("1", &format!("clientPort=1\n{lines}"));
        warnings(&config).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(
        of(&[1, 2]),
        ["two participants: the ensemble stops when either does; three survive the loss of one"]
    );
    assert_eq!(of(&[1, 2, 3, 4]), ["4 participants survive the loss of no more than 3 do"]);
    assert_eq!(of(&[1, 2, 3, 4, 5]), [""; 0]);
    assert_eq!(
        of(&[1, 2, 257]),
        ["server.1 and server.257: session ids hold the lowest 8 bits of a server's number, \
             which these have in common; sessions of both could be taken for one"]
    );
}

#[test]
fn values_that_zookeeper_corrects_are_corrected_and_said() {
    let (config, ensemble) = member(
        "1",
        &format!(
            "clientPort=1\n{THREE}commitLogCount=10\nsnapshotSizeFactor=1.5\n\
             electionPortBindRetry=-1\nfastleader.minNotificationInterval=500\n\
             fastleader.maxNotificationInterval=400\nconnectToLearnerMasterLimit=0\n\
             quorumCnxnTimeoutMs=700\n"
        ),
    );
    assert_eq!(ensemble.history.commit_log_count, 500);
    assert_eq!(ensemble.history.snapshot_size_permille, Some(330));
    assert_eq!((ensemble.election.bind_attempts, ensemble.election.interval_max_ms), (3, 500));
    assert_eq!((ensemble.connect_limit, ensemble.election.greeting_timeout_ms), (10, 700));
    let mut said = warnings(&config);
    said.sort_unstable();
    assert_eq!(
        said,
        [
            "zoo.cfg:10: electionPortBindRetry=-1 is taken as 3",
            "zoo.cfg:12: fastleader.maxNotificationInterval=400 is taken as 500",
            "zoo.cfg:8: commitLogCount=10 is taken as 500",
            "zoo.cfg:9: snapshotSizeFactor=1.5 is taken as 0.33",
        ]
    );
    for (factor, permille) in [("-1", None), ("0", Some(0)), ("0.0001", Some(1)), ("1", Some(1000))]
    {
        let lines = format!("clientPort=1\n{THREE}snapshotSizeFactor={factor}\n");
        assert_eq!(member("1", &lines).1.history.snapshot_size_permille, permille, "{factor}");
    }
}

#[test]
fn check_config_explains_the_ensemble() {
    let lines =
        format!("clientPort=2181\n{THREE}server.4=d:1:2:observer;5\ngroup.1=1:2:3\nweight.2=3\n");
    let (config, _) = member("3", &lines);
    let text = explain_text(&config);
    let part = "\nEnsemble\n  a quorum is 1 of 1 groups, in each of them more than half of its \
                weight\n  participant 1 at a:2888:3888, group 1, weight 1\n  participant 2 at \
                b:2888:3888, group 1, weight 3\n  participant 3 at c:2888:3888, clients at \
                0.0.0.0:2181, group 1, weight 1  [this server]\n  observer 4 at d:1:2, clients at \
                0.0.0.0:5\n\nSet\n";
    assert!(text.contains(part), "{text}");
    let json: serde_json::Value = serde_json::from_str(&explain_json(&config)).unwrap();
    let ensemble = &json["ensemble"];
    assert_eq!((&ensemble["my_id"], &ensemble["role"]), (&3.into(), &"participant".into()));
    assert_eq!(ensemble["members"][1]["weight"], 3);
    assert_eq!(ensemble["members"][2]["client"], "0.0.0.0:2181");
    assert_eq!(ensemble["members"][3]["addresses"][0], "d:1:2");
    let (config, _) = member("1", &format!("clientPort=1\n{THREE}"));
    let text = explain_text(&config);
    assert!(text.contains("\n  a quorum is 2 of 3 participants; 1 may be lost\n"), "{text}");
    let alone = read("1", "clientPort=1\n").unwrap();
    let json: serde_json::Value = serde_json::from_str(&explain_json(&alone)).unwrap();
    assert!(json["ensemble"].is_null() && !explain_text(&alone).contains("Ensemble"));
}
