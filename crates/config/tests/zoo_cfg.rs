//! Stock files, awkward files, wrong files: what an operator sees, word for word, because a message
//! that nobody reads twice is only as good as its wording.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use oxkeeper_config::keys::{self, Fallback, Kind, Status, Taken};
use oxkeeper_config::{
    BindAddr, Config, ConfigError, ExitCode, Files, FourLetterWhitelist, NoFiles, NoticeLevel,
    Options, OsFiles, PathKind, SnapshotCompression, Source, explain, explain_json, explain_text,
    parse,
};

/// A file system of a few files.
#[derive(Default)]
struct Disk(HashMap<PathBuf, Vec<u8>>);

impl Disk {
    fn with(mut self, path: &str, content: &str) -> Disk {
        self.0.insert(path.into(), content.into());
        self
    }
}

impl Files for Disk {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let bytes = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        if bytes.len() > limit {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(bytes.clone())
        }
    }

    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        Ok(if self.0.contains_key(path) {
            PathKind::Other
        } else if self.0.keys().any(|known| known.starts_with(path)) {
            PathKind::Directory
        } else {
            PathKind::Missing
        })
    }
}

const MINIMAL: &str = "dataDir=/data\nclientPort=2181\n";

/// A minimal file with further lines, the first of which is line 3.
fn with(lines: &str) -> Result<Config, ConfigError> {
    parse(format!("{MINIMAL}{lines}").as_bytes())
}

fn accepted(lines: &str) -> Config {
    with(lines).unwrap_or_else(|error| panic!("{lines:?}: {error}"))
}

fn refused(lines: &str) -> String {
    with(lines).expect_err(lines).to_string()
}

fn set(arguments: &[&str]) -> Options {
    let set = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Options { set, ..Options::default() }
}

fn notices(config: &Config) -> Vec<&str> {
    config.notices.iter().map(|notice| notice.text.as_str()).collect()
}

/// An ensemble, of which the tests are server 1 unless they say otherwise.
const THREE: &str = "initLimit=10\nsyncLimit=5\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";

const PURGE_IS_OFF: &str =
    "autopurge.purgeInterval is 0: old snapshots and logs are kept until someone removes them";

#[test]
fn the_sample_file_boots_standalone() {
    let config = parse(include_bytes!("fixtures/zoo_sample.cfg")).unwrap();
    assert_eq!(config.storage.data_dir, Path::new("/tmp/zookeeper"));
    assert_eq!(config.storage.data_log_dir, Path::new("/tmp/zookeeper"));
    assert_eq!(config.sessions.tick_time_ms, 2000);
    assert_eq!(config.sessions.min_session_timeout_ms, 4000);
    assert_eq!(config.sessions.max_session_timeout_ms, 40_000);
    assert_eq!(config.listen.client_addr, BindAddr::All);
    assert_eq!(config.listen.client_port, 2181);
    assert_eq!(config.listen.backlog, None);
    assert_eq!(config.limits.max_client_cnxns, 60);
    assert_eq!(config.storage.purge.interval_hours, None);
    assert_eq!(notices(&config), [PURGE_IS_OFF]);
    assert_eq!(config.ensemble, None);
}

#[test]
fn the_container_image_boots_from_its_server_line() {
    let file = include_bytes!("fixtures/container.cfg");
    for disk in [Disk::default(), Disk::default().with("/data/myid", "1\n")] {
        let config = Config::from_bytes("zoo.cfg", file, &Options::default(), &disk).unwrap();
        assert_eq!(config.listen.client_addr, BindAddr::All);
        assert_eq!(config.listen.client_port, 2181);
        assert_eq!(config.storage.data_log_dir, Path::new("/datalog"));
        let shown = explain(&config);
        let port = shown.iter().find(|value| value.key == "clientPort").unwrap();
        assert_eq!(port.value.as_deref(), Some("2181, from server.1"));
    }
    let other = Disk::default().with("/data/myid", "2\n");
    let error = Config::from_bytes("zoo.cfg", file, &Options::default(), &other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "zoo.cfg: clientPort is not set, and server.1 is not this server: myid says 2"
    );
}

#[test]
fn a_file_with_little_in_it_has_zookeepers_defaults() {
    let config = parse(MINIMAL.as_bytes()).unwrap();
    assert_eq!(config.sessions.tick_time_ms, 3000);
    assert_eq!(config.sessions.min_session_timeout_ms, 6000);
    assert_eq!(config.sessions.max_session_timeout_ms, 60_000);
    let storage = &config.storage;
    assert_eq!(storage.snap_count, 100_000);
    assert_eq!(storage.snap_size_limit_kb, Some(4_194_304));
    assert_eq!(storage.pre_alloc_size_kb, 65_536);
    assert_eq!(storage.txn_log_size_limit_kb, None);
    assert!(storage.force_sync && storage.digest_enabled && storage.datadir_autocreate);
    assert!(storage.close_session_txn_enabled && storage.serialize_last_processed_zxid);
    assert!(!storage.trust_empty_snapshot);
    assert_eq!(storage.snapshot_compression, SnapshotCompression::None);
    assert_eq!(storage.fsync_warning_threshold_ms, 1000);
    assert_eq!((storage.max_batch_size, storage.flush_delay_ms), (1000, 0));
    assert_eq!((storage.purge.retain_count, storage.purge.interval_hours), (3, None));
    let limits = &config.limits;
    assert_eq!((limits.jute_maxbuffer, limits.jute_extrasize), (1_048_575, 1_048_575));
    assert_eq!((limits.max_client_cnxns, limits.max_cnxns), (60, 0));
    assert_eq!(limits.global_outstanding_limit, 1000);
    assert_eq!(limits.large_request_max_bytes, 104_857_600);
    assert_eq!(limits.large_request_threshold, None);
    assert_eq!(limits.sessionless_cnxn_timeout_ms, 10_000);
    let throttle = &limits.connection_throttle;
    assert_eq!((throttle.tokens, throttle.fill_time_ms, throttle.fill_count), (0, 1, 1));
    assert_eq!(throttle.freeze_time_ms, None);
    assert_eq!((throttle.drop_increase, throttle.drop_decrease), (0.02, 0.002));
    assert_eq!((throttle.global_weight, throttle.local_weight, throttle.renew_weight), (1, 1, 1));
    assert_eq!(limits.request_throttle.max_requests, 0);
    assert_eq!(limits.request_throttle.shutdown_timeout_ms, 10_000);
    let tree = &config.tree;
    assert!(!tree.extended_types_enabled && !tree.emulate_353_ttl_nodes && !tree.enforce_quota);
    assert!(!tree.skip_acl && tree.digest_enabled && !tree.reconfig_enabled);
    assert_eq!(tree.container_check_interval_ms, 60_000);
    assert_eq!(tree.container_max_per_minute, 10_000);
    assert_eq!(tree.container_max_never_used_interval_ms, None);
    assert!(config.auth.digest_enabled && config.auth.super_digest.is_none());
    assert_eq!(config.auth.enforced_schemes, None);
    let words = &config.admin.four_letter_whitelist;
    assert!(words.allows("srvr") && !words.allows("ruok") && !words.allows("isro"));
    assert_eq!((config.my_id, config.io_threads), (None, None));
}

#[test]
fn without_a_file_the_server_is_a_newcomers() {
    let config = Config::default_standalone();
    assert_eq!(config.listen.client_addr.to_string(), "127.0.0.1");
    assert_eq!(config.listen.client_port, 2181);
    assert_eq!(config.storage.data_dir, Path::new("./oxkeeper-data"));
    assert_eq!(config.sessions.tick_time_ms, 2000);
    assert_eq!(config.admin.four_letter_whitelist, FourLetterWhitelist::All);
    let purge = config.storage.purge;
    assert_eq!((purge.retain_count, purge.interval_hours), (3, Some(1)));
    assert!(purge.from_default, "other people's directories are not purged");
    assert_eq!(notices(&config), [""; 0]);

    let options = set(&["autopurge.purgeInterval=24", "clientPort=0", "dataDir=/srv"]);
    let config = Config::without_file(&options, &NoFiles).unwrap();
    assert_eq!(config.storage.purge.interval_hours, Some(24));
    assert!(!config.storage.purge.from_default);
    assert_eq!(config.listen.client_port, 0);
    assert_eq!(config.storage.data_dir, Path::new("/srv"));
}

#[test]
fn all_words_are_open_by_default_only_to_this_machine() {
    for (address, open) in [("::1", true), ("localhost", true), ("0.0.0.0", false), ("h1", false)] {
        let options = set(&[&format!("clientPortAddress={address}")]);
        let config = Config::without_file(&options, &NoFiles).unwrap();
        let words = config.admin.four_letter_whitelist;
        assert_eq!(words.allows("wchc"), open, "{address}");
        assert!(words.allows("srvr"), "{address}");
    }
    let options = set(&["clientPortAddress=0.0.0.0", "4lw.commands.whitelist=*"]);
    let config = Config::without_file(&options, &NoFiles).unwrap();
    assert!(config.admin.four_letter_whitelist.allows("wchc"), "asked for, so granted");
}

#[test]
fn a_set_wins_over_the_file_and_can_mend_it() {
    let file = b"dataDir=/data\nclientPort=abc\nsnapCount=5\n";
    let options = set(&["clientPort=2182", "zookeeper.snapCount=7", "snapCount=9"]);
    let config = Config::from_bytes("zoo.cfg", file, &options, &NoFiles).unwrap();
    assert_eq!((config.listen.client_port, config.storage.snap_count), (2182, 9));
    let shown = explain(&config);
    let snap_count = shown.iter().find(|value| value.key == "snapCount").unwrap();
    assert_eq!(snap_count.source, Source::Set);
    for (argument, problem) in [
        ("snapCount", "--set: \"snapCount\" is not of the form key=value"),
        (
            "snapCuont=3",
            "--set: unknown key \"snapCuont\"; did you mean snapCount? (--allow-unknown-keys \
             ignores it)",
        ),
        ("maxClientCnxns=x", "--set: maxClientCnxns=x: must be a whole number"),
    ] {
        let error =
            Config::from_bytes("zoo.cfg", file, &set(&[argument, "clientPort=1"]), &NoFiles);
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(problem), "{error}");
    }
}

#[test]
fn documented_and_system_property_spellings_are_obeyed_and_said() {
    let config = accepted(
        "requestThrottleLimit=17\njute.maxbuffer=0x400000\nzookeeper.maxCnxns=010\n\
         znode.container.checkIntervalMs=5\nfsync.warningthresholdms=20\n",
    );
    assert_eq!(config.limits.request_throttle.max_requests, 17);
    assert_eq!(config.limits.jute_maxbuffer, 4_194_304);
    assert_eq!(config.limits.jute_extrasize, 4_194_304);
    assert_eq!(config.limits.max_cnxns, 8, "Java reads a leading zero as octal");
    assert_eq!(config.tree.container_check_interval_ms, 5);
    assert_eq!(config.storage.fsync_warning_threshold_ms, 20);
    assert_eq!(
        notices(&config),
        [
            "zoo.cfg:3: requestThrottleLimit takes effect as request_throttle_max_requests; \
             ZooKeeper documents this name and does not read it",
            "zoo.cfg:4: jute.maxbuffer takes effect here; ZooKeeper ignores it in a file and takes \
             it as -Djute.maxbuffer only",
            "zoo.cfg:5: zookeeper.maxCnxns takes effect here; ZooKeeper ignores it when written \
             with the zookeeper. prefix",
            "zoo.cfg:6: znode.container.checkIntervalMs takes effect here; ZooKeeper ignores it in \
             a file and takes it as -Dznode.container.checkIntervalMs only",
            PURGE_IS_OFF,
        ]
    );
    let decimal = accepted("tickTime=010\n");
    assert_eq!(decimal.sessions.tick_time_ms, 10, "Java reads this one as decimal");
}

/// Lines after a minimal file, and the one line they are refused with.
const REFUSALS: &[(&str, &str)] = &[
    ("tickTime=abc", "zoo.cfg:3: tickTime=abc: must be a whole number from 1 to 107374182"),
    ("tickTime=0", "zoo.cfg:3: tickTime=0: must be a whole number from 1 to 107374182"),
    ("tickTime", "zoo.cfg:3: tickTime=: must be a whole number from 1 to 107374182"),
    (
        "maxSessionTimeout=0x9",
        "zoo.cfg:3: maxSessionTimeout=0x9: must be a whole number from -1 to 2147483647",
    ),
    ("standaloneEnabled=yes", "zoo.cfg:3: standaloneEnabled=yes: must be true or false"),
    ("localSessionsEnabled=1", "zoo.cfg:3: localSessionsEnabled=1: must be true or false"),
    ("skipACL=true", "zoo.cfg:3: skipACL=true: must be yes or no"),
    ("forceSync=No", "zoo.cfg:3: forceSync=No: must be yes or no"),
    ("electionAlg=0", "zoo.cfg:3: electionAlg=0: must be 3"),
    ("peerType=voter", "zoo.cfg:3: peerType=voter: must be participant or observer"),
    (
        "snapshot.compression.method=zip",
        "zoo.cfg:3: snapshot.compression.method=zip: must be gz or snappy, or empty",
    ),
    (
        "connectionDropIncrease=NaN",
        "zoo.cfg:3: connection_throttle_drop_increase=NaN: must be a number from 0 to 1",
    ),
    ("dataLogDir=", "zoo.cfg:3: dataLogDir=: must be a path"),
    (
        "# a comment\n\nclientPortAddress=a b",
        "zoo.cfg:5: clientPortAddress=a b: must be an IP address or a host name",
    ),
    (
        "maxSessionTimeout=1",
        "zoo.cfg:3: maxSessionTimeout=1: minSessionTimeout (6000 ms) must not be larger than \
             maxSessionTimeout (1 ms)",
    ),
    (
        "secureClientPort=2281",
        "zoo.cfg:3: secureClientPort=2281: not supported yet: clients that count on TLS could \
             not connect",
    ),
    (
        "standaloneEnabled=false",
        "zoo.cfg:3: standaloneEnabled=false: needs a server line of a participant",
    ),
    (
        "sessionRequireClientSASLAuth=true",
        "zoo.cfg:3: sessionRequireClientSASLAuth=true: not supported yet: clients would be let \
             in without SASL",
    ),
    (
        "DigestAuthenticationProvider.digestAlg=SHA-256",
        "zoo.cfg:3: DigestAuthenticationProvider.digestAlg=SHA-256: not supported yet: \
             passwords would no longer match the ids in stored ACLs",
    ),
    (
        "enforce.auth.enabled=true",
        "zoo.cfg:3: enforce.auth.enabled=true: enforce.auth.schemes must name the schemes that \
             count",
    ),
    (
        "enforce.auth.enabled=true\nenforce.auth.schemes=digest,sasl",
        "zoo.cfg:4: enforce.auth.schemes=digest,sasl: this scheme is not supported yet; digest \
             and ip are",
    ),
    (
        "server.1=a:1:2:observer",
        "zoo.cfg:3: server.1=a:1:2:observer: an observer needs an ensemble with participants",
    ),
    (
        "server.1=a:1:2\nserver.2=b:1:2:observer",
        "zoo.cfg:4: server.2=b:1:2:observer: an observer needs an ensemble: two participants, or \
             one and standaloneEnabled=false",
    ),
    ("server.1=a:1:2\nserver.01=b:1:2", "zoo.cfg:3: server.1=a:1:2: server 1 has another line"),
    (
        "server.-1=a:1:2",
        "zoo.cfg:3: server.-1=a:1:2: what follows server. must be a server's number",
    ),
    ("server.1=a:1:1", "zoo.cfg:3: server.1=a:1:1: the port and the election port must differ"),
    (
        "quorum.auth.serverRequireSasl=true",
        "zoo.cfg:3: quorum.auth.serverRequireSasl=true: needs quorum.auth.enableSasl=true",
    ),
    (
        "server.one=a:1:2",
        "zoo.cfg:3: server.one=a:1:2: what follows server. must be a server's number",
    ),
    (
        "server.1=a:1",
        "zoo.cfg:3: server.1=a:1: must be host:port:electionPort[:participant|observer][;\
             [address:]clientPort], with | between several addresses",
    ),
    (
        "server.1=a:1:2|b:1:2",
        "zoo.cfg:3: server.1=a:1:2|b:1:2: several addresses need multiAddress.enabled=true",
    ),
    (
        "x=\\u12",
        "zoo.cfg:3: \\u must be followed by four hexadecimal digits (write \\\\ for a \
             backslash)",
    ),
];

#[test]
fn errors_are_one_line_with_place_value_and_what_is_allowed() {
    for (lines, expected) in REFUSALS {
        assert_eq!(refused(lines), *expected);
        assert_eq!(with(lines).unwrap_err().exit_code(), ExitCode::InvalidInvocation);
    }
    for (file, expected) in [
        ("clientPort=2181", "zoo.cfg: dataDir is not set"),
        ("dataDir=/data", "zoo.cfg: clientPort is not set"),
        (
            "dataDir=/data\nclientPortAddress=h1",
            "zoo.cfg:2: clientPortAddress=h1: clientPort must be set too",
        ),
        ("", "zoo.cfg: dataDir is not set"),
    ] {
        assert_eq!(parse(file.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_name_or_tolerated() {
    for (typed, meant) in [
        ("tickTme", "tickTime"),
        ("clientport", "clientPort"),
        ("autopurge.purgeinterval", "autopurge.purgeInterval"),
        ("zookeeper.snapcount", "snapCount"),
        ("maxClientConnections", "maxClientCnxns"),
        ("4lw.command.whitelist", "4lw.commands.whitelist"),
    ] {
        let error = with(&format!("{typed}=1")).unwrap_err();
        let expected = format!(
            "zoo.cfg:3: unknown key \"{typed}\"; did you mean {meant}? (--allow-unknown-keys \
             ignores it)"
        );
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.key(), Some(typed));
    }
    assert_eq!(
        refused("heapSizeOfTheMachine=4g"),
        "zoo.cfg:3: unknown key \"heapSizeOfTheMachine\" (--allow-unknown-keys ignores it)"
    );
    let options = Options { allow_unknown_keys: true, ..Options::default() };
    let file = format!("{MINIMAL}tickTme=1\n=2\n");
    let config = Config::from_bytes("z", file.as_bytes(), &options, &NoFiles).unwrap();
    assert_eq!(
        notices(&config),
        [
            "z:3: unknown key \"tickTme\" is ignored",
            "z:4: unknown key \"\" is ignored",
            PURGE_IS_OFF
        ]
    );
}

#[test]
fn messages_stay_short_and_on_one_line() {
    let long = "x".repeat(10_000);
    for line in [
        format!("{long}=1"),
        format!("tickTime={long}"),
        "tickTime=\\n\\u001b[0m".into(),
        "server.1=a:1:2\ndynamicConfigFile=\\n\\u0007".into(),
        format!("dynamicConfigFile=\\u0009{long}"),
    ] {
        let error = refused(&line);
        assert!(error.len() < 400, "{} bytes", error.len());
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
    let options = Options { allow_unknown_keys: true, ..Options::default() };
    let many: String = (0..100_000).map(|number| format!("k{number}=\n")).collect();
    let file = format!("{MINIMAL}{many}");
    let config = Config::from_bytes("z", file.as_bytes(), &options, &NoFiles).unwrap();
    assert_eq!(config.notices.len(), 101);
    assert_eq!(config.notices[100].text, "99901 further notices are left out");
    let huge = vec![b'#'; oxkeeper_config::MAX_FILE_BYTES + 1];
    let error = parse(&huge).unwrap_err().to_string();
    assert_eq!(error, "zoo.cfg: longer than 1048576 bytes; this is no configuration file");
}

#[test]
fn values_that_zookeeper_corrects_are_corrected_and_said() {
    let config = accepted(
        "snapCount=1\nautopurge.snapRetainCount=1\njute.maxbuffer.extrasize=5\n\
         largeRequestMaxBytes=0\nlargeRequestThreshold=0\nmaxClientCnxns=-1\n\
         autopurge.purgeInterval=2\n",
    );
    assert_eq!(config.storage.snap_count, 2);
    assert_eq!(config.storage.purge.retain_count, 3);
    assert_eq!(config.limits.jute_extrasize, 1024);
    assert_eq!(config.limits.large_request_max_bytes, 104_857_600);
    assert_eq!(config.limits.large_request_threshold, None);
    assert_eq!(config.limits.max_client_cnxns, 0);
    let said: BTreeSet<_> = notices(&config).into_iter().collect();
    assert_eq!(
        said,
        BTreeSet::from([
            "zoo.cfg:3: snapCount=1 is taken as 2",
            "zoo.cfg:4: autopurge.snapRetainCount=1 is taken as 3",
            "zoo.cfg:5: jute.maxbuffer.extrasize=5 is taken as 1024",
            "zoo.cfg:6: largeRequestMaxBytes=0 is taken as 104857600",
            "zoo.cfg:7: largeRequestThreshold=0 is taken as -1",
        ])
    );
}

/// ZooKeeper divides by zero when it takes its first snapshot with such a file (deviation D65).
#[test]
fn limits_of_nothing_are_no_limits() {
    for value in ["0", "-1"] {
        let lines = format!("snapSizeLimitInKb={value}\ntxnLogSizeLimitInKb={value}\n");
        let storage = accepted(&lines).storage;
        assert_eq!((storage.snap_size_limit_kb, storage.txn_log_size_limit_kb), (None, None));
    }
    let storage = accepted("snapSizeLimitInKb=7\npreAllocSize=0\n").storage;
    assert_eq!((storage.snap_size_limit_kb, storage.pre_alloc_size_kb), (Some(7), 0));
}

#[test]
fn connection_weights_multiply_the_allowance() {
    let weights = "connectionMaxTokens=100\nconnectionTokenFillCount=4\n\
                   connection_throttle_weight_enabled=true\n";
    let throttle = accepted(weights).limits.connection_throttle;
    assert_eq!((throttle.tokens, throttle.fill_count), (300, 12));
    assert_eq!((throttle.global_weight, throttle.local_weight, throttle.renew_weight), (3, 1, 2));
    let heavy = format!("{weights}connection_throttle_local_session_weight=5\n");
    let throttle = accepted(&heavy).limits.connection_throttle;
    assert_eq!((throttle.global_weight, throttle.local_weight, throttle.renew_weight), (5, 5, 5));
}

#[test]
fn dangerous_settings_are_obeyed_with_a_warning() {
    let config = accepted("forceSync=no\nskipACL=yes\naudit.enable=true\n");
    assert!(!config.storage.force_sync && config.tree.skip_acl);
    let warnings: Vec<_> = config
        .notices
        .iter()
        .filter(|notice| notice.level == NoticeLevel::Warning)
        .filter_map(|notice| notice.key.as_deref())
        .collect();
    assert_eq!(warnings, ["audit.enable", "forceSync", "skipACL"]);
}

#[test]
fn a_line_set_twice_is_said_and_the_later_wins() {
    let config = accepted("snapCount=10\nzookeeper.snapCount=20\n");
    assert_eq!(config.storage.snap_count, 20);
    let expected = "zoo.cfg:4: snapCount was already set on line 3; the later line wins";
    assert!(notices(&config).contains(&expected), "{:?}", config.notices);
}

#[test]
fn four_letter_words_are_a_list() {
    let words = |line: &str| accepted(line).admin.four_letter_whitelist;
    assert_eq!(words("4lw.commands.whitelist=*\n"), FourLetterWhitelist::All);
    assert_eq!(words("4lw.commands.whitelist=ruok, *\n"), FourLetterWhitelist::All);
    let some = words("4lw.commands.whitelist= ruok , mntr,,\n");
    assert!(some.allows("ruok") && some.allows("mntr") && some.allows("srvr"));
    assert!(!some.allows("stat") && !some.allows("") && !some.allows(" ruok "));
    assert!(words("readonlymode.enabled=true\n").allows("isro"));
    let config = accepted("4lw.commands.whitelist=rouk\n");
    assert!(notices(&config).contains(&"4lw.commands.whitelist: there is no word \"rouk\""));
}

#[test]
fn secrets_are_never_shown() {
    let digest = "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=";
    let config = accepted(&format!(
        "DigestAuthenticationProvider.superDigest={digest}\nssl.keyStore.password=hunter2\n"
    ));
    assert_eq!(config.auth.super_digest.as_ref().unwrap().expose(), digest);
    for shown in [explain_text(&config), explain_json(&config), format!("{config:?}")] {
        assert!(!shown.contains("xQJmx") && !shown.contains("hunter2"), "{shown}");
    }
    let odd = accepted("DigestAuthenticationProvider.superDigest=super:secret\n");
    let said = notices(&odd).join("\n");
    assert!(said.contains("no password will match it") && !said.contains("secret"), "{said}");
}

#[test]
fn enforced_authentication_lists_its_schemes() {
    let config = accepted("enforce.auth.enabled=true\nenforce.auth.schemes=digest, ip\n");
    let expected = BTreeSet::from(["digest".to_owned(), "ip".to_owned()]);
    assert_eq!(config.auth.enforced_schemes, Some(expected));
    let off = "enforce.auth.enabled=true\nenforce.auth.schemes=digest\n\
               DigestAuthenticationProvider.enabled=false";
    assert!(refused(off).contains("switched off"), "{}", refused(off));
}

#[test]
fn the_client_address_may_be_given_twice_but_not_differently() {
    let disk = Disk::default().with("/data/myid", "1");
    let read = |lines: &str| {
        let file = format!("dataDir=/data\n{lines}");
        Config::from_bytes("zoo.cfg", file.as_bytes(), &Options::default(), &disk)
    };
    let same = read("clientPort=2181\nserver.1=a:1:2;10.0.0.1:2181").unwrap();
    assert_eq!(same.listen.client_addr.to_string(), "10.0.0.1");
    assert_eq!(same.my_id, Some(1));
    let v6 = read("server.1=[::1]:1:2:participant;[::1]:2181").unwrap();
    assert_eq!(v6.listen.client_addr.to_string(), "[::1]");
    let backlog = read("clientPortListenBacklog=9\nserver.1=a:1:2;2181").unwrap();
    assert_eq!(backlog.listen.backlog, Some(9));
    for lines in [
        "clientPort=2182\nserver.1=a:1:2;2181",
        "clientPort=2181\nclientPortAddress=10.0.0.2\nserver.1=a:1:2;10.0.0.1:2181",
    ] {
        let error = read(lines).unwrap_err().to_string();
        assert!(error.contains("differs from clientPort and clientPortAddress"), "{error}");
    }
}

#[test]
fn myid_must_be_a_number() {
    for (content, problem) in [
        ("one", "/data/myid: must hold this server's number, not \"one\""),
        ("", "/data/myid: must hold this server's number, not \"\""),
    ] {
        let disk = Disk::default().with("/data/myid", content);
        let read = Config::from_bytes("z", MINIMAL.as_bytes(), &Options::default(), &disk);
        assert_eq!(read.unwrap_err().to_string(), problem);
    }
    let disk = Disk::default().with("/data/myid", "12 \r\nmore");
    let config = Config::from_bytes("z", MINIMAL.as_bytes(), &Options::default(), &disk).unwrap();
    assert_eq!(config.my_id, Some(12));
}

#[test]
fn membership_may_stand_in_a_dynamic_file() {
    let file = "dataDir=/data\ndynamicConfigFile=/conf/zoo.dynamic\n";
    let read = |dynamic: &str, further: &str| {
        let disk = Disk::default().with("/conf/zoo.dynamic", dynamic).with("/data/myid", "1");
        let file = format!("{file}{further}");
        Config::from_bytes("zoo.cfg", file.as_bytes(), &Options::default(), &disk)
    };
    let one = read("server.1=a:1:2;127.0.0.1:2190\n", "").unwrap();
    assert_eq!(one.listen.client_port, 2190);
    for (dynamic, further, problem) in [
        ("server.1=a:1:2\nserver.2=b:1\n", "", "/conf/zoo.dynamic:2: server.2=b:1: must be host:"),
        ("\nversion=1\n", "", "/conf/zoo.dynamic:2: version: only server, group and weight may"),
        ("", "server.1=a:1:2\n", "zoo.cfg:3: server.1=a:1:2: must stand in /conf/zoo.dynamic"),
    ] {
        let error = read(dynamic, further).unwrap_err().to_string();
        assert!(error.starts_with(problem), "{error}");
    }
    let missing = parse(file.as_bytes()).unwrap_err().to_string();
    assert!(
        missing.starts_with("zoo.cfg:2: dynamicConfigFile=/conf/zoo.dynamic: cannot be read"),
        "{missing}"
    );
}

#[test]
fn directories_that_cannot_be_used_have_an_exit_code_of_their_own() {
    let disk = Disk::default().with("/data", "a file").with("/other/version-2/log.1", "");
    let error = accepted("").check_directories(&disk).unwrap_err();
    assert_eq!(error.to_string(), "zoo.cfg: dataDir: /data is not a directory");
    assert_eq!(error.exit_code(), ExitCode::UnableToAccessDatadir);
    assert_eq!(error.exit_code().value(), 3);
    let config = accepted("dataDir=/other\ndatadir.autocreate=false\ndataLogDir=/nowhere\n");
    let error = config.check_directories(&disk).unwrap_err();
    assert_eq!(
        error.to_string(),
        "zoo.cfg: dataLogDir: /nowhere/version-2 does not exist, and datadir.autocreate=false \
         forbids creating it"
    );
    assert!(accepted("dataDir=/other\n").check_directories(&disk).is_ok());
    assert!(accepted("dataDir=/new\n").check_directories(&disk).is_ok());
}

#[test]
fn real_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zoo.cfg");
    let options = Options::default();
    let error = Config::from_path(&path, &options, &OsFiles).unwrap_err();
    assert!(error.to_string().ends_with("zoo.cfg: there is no such file"), "{error}");
    assert_eq!(error.exit_code(), ExitCode::InvalidInvocation);
    let data = directory.path().join("data");
    std::fs::create_dir_all(data.join("myid")).unwrap();
    std::fs::write(&path, format!("dataDir={}\nclientPort=0\n", data.display())).unwrap();
    let config = Config::from_path(&path, &options, &OsFiles).unwrap();
    assert_eq!(config.my_id, None, "a directory called myid holds no number");
    std::fs::remove_dir(data.join("myid")).unwrap();
    std::fs::write(data.join("myid"), "7\n").unwrap();
    let config = Config::from_path(&path, &options, &OsFiles).unwrap();
    assert_eq!(config.my_id, Some(7));
    assert!(config.check_directories(&OsFiles).is_ok());
    let error = Config::from_path(directory.path(), &options, &OsFiles).unwrap_err();
    assert!(error.to_string().contains("cannot be read"), "{error}");
}

#[test]
fn relative_directories_and_foreign_letters_are_pointed_out() {
    let config = parse("dataDir=data\ndataLogDir=./log\nclientPort=1\n# é\n".as_bytes()).unwrap();
    assert_eq!(
        notices(&config),
        [
            "zoo.cfg:1: dataDir=data is relative to wherever the server is started; begin it with \
             ./ if that is meant",
            PURGE_IS_OFF
        ]
    );
    let config = parse("dataDir=/dàta\nclientPort=1\n".as_bytes()).unwrap();
    assert_eq!(
        notices(&config)[0],
        "zoo.cfg:1: bytes above 0x7f are read as ISO-8859-1, as ZooKeeper does"
    );
}

/// A value that the key takes and that is not its default.
fn some_value(key: &keys::Key) -> String {
    let default = match key.default {
        Fallback::Is(text) => text,
        Fallback::From(_) | Fallback::Unset => "",
    };
    match (key.name, key.kind) {
        ("server.N", _) => "localhost:2888:3888;2181".into(),
        ("version", _) => "1f".into(),
        ("clientPortAddress", _) => "10.1.2.3".into(),
        ("enforce.auth.schemes", _) => "digest".into(),
        ("maxSessionTimeout", _) => "50000".into(),
        ("DigestAuthenticationProvider.digestAlg", _) => "SHA-1".into(),
        ("quorum.auth.serverRequireSasl" | "quorum.auth.learnerRequireSasl", _) => "false".into(),
        (_, Kind::Bool) => (if default == "true" { "FALSE" } else { "True" }).into(),
        (_, Kind::YesNo) => (if default == "yes" { "no" } else { "yes" }).into(),
        (_, Kind::Int { min, max }) => min.max(4711).min(max).to_string(),
        (_, Kind::Real { .. }) => "0.5".into(),
        (_, Kind::Choice(words)) => words[words.len() - 1].to_uppercase(),
        (_, Kind::Path) => "/some/where".into(),
        (_, Kind::Text) => "srvr".into(),
    }
}

#[test]
fn every_key_is_accepted_in_the_file_and_from_set_in_both_spellings() {
    for key in keys::all() {
        let needs_others =
            ["dynamicConfigFile", "enforce.auth.enabled", "standaloneEnabled", "group.N"];
        if needs_others.contains(&key.name) || key.name == "weight.N" {
            continue; // These need a second file or key, and have tests of their own.
        }
        let name = key.name.replace(".N", ".1").replace(".*", ".colour");
        let value = match key.status {
            Status::NotYet { harmless: [], .. } => continue,
            Status::NotYet { harmless: [first, ..], .. } => (*first).to_owned(),
            _ => some_value(key),
        };
        for spelling in [name.clone(), format!("zookeeper.{name}")] {
            let config = accepted(&format!("{spelling} = {value}\n"));
            let shown = explain(&config);
            let entry = shown.iter().find(|entry| entry.key == name).expect(&name);
            assert_eq!(entry.source, Source::File { line: 3 }, "{spelling}");
            if matches!(key.status, Status::NoMeaning(_) | Status::Later(_)) {
                let said = config.notices.iter().filter(|n| n.key.as_deref() == Some(&name));
                assert_eq!(said.count(), 1, "one line about {name}");
            }
            let argument = format!("{spelling}={value}");
            let config =
                Config::from_bytes("z", MINIMAL.as_bytes(), &set(&[&argument]), &NoFiles).unwrap();
            let shown = explain(&config);
            let entry = shown.iter().find(|entry| entry.key == name).expect(&name);
            assert_eq!(entry.source, Source::Set, "{spelling}");
            assert_eq!(entry.status == "obeyed", key.status == Status::Obeyed, "{name}");
        }
    }
}

/// Nothing in the table may claim to be obeyed without moving a field of the configuration.
#[test]
fn every_obeyed_key_changes_the_configuration() {
    let base = format!("{MINIMAL}{THREE}connection_throttle_weight_enabled=true\n");
    let disk = Disk::default().with("/data/myid", "1").with("/some/where/myid", "1");
    let read = |line: &str| {
        let file = format!("{base}{line}");
        let read = Config::from_bytes("zoo.cfg", file.as_bytes(), &Options::default(), &disk);
        let config = read.expect(line);
        let parts = (config.listen, config.storage, config.sessions, config.limits, config.tree);
        (parts, config.auth, config.admin, config.io_threads, config.ensemble)
    };
    let plain = read("");
    for key in keys::all().filter(|key| key.status == Status::Obeyed) {
        let line = match key.name {
            // Tests of their own cover these: they need a second file or a second key.
            "dynamicConfigFile" | "server.N" | "group.N" | "weight.N" => continue,
            "enforce.auth.schemes" => continue,
            "enforce.auth.enabled" => "enforce.auth.enabled=true\nenforce.auth.schemes=ip".into(),
            "connection_throttle_weight_enabled" => format!("{}=false", key.name),
            "4lw.commands.whitelist" => "4lw.commands.whitelist=ruok".into(),
            name => format!("{name}={}", some_value(key)),
        };
        assert_ne!(read(&line), plain, "{line}");
    }
}

#[test]
fn check_config_explains_for_people_and_for_programs() {
    let config = accepted("snapCount=7\nnio.numWorkerThreads=8\n");
    let text = explain_text(&config);
    for line in [
        "zoo.cfg: the configuration is valid",
        "  snapCount = 7 transactions  [zoo.cfg:3]",
        "  tickTime = 3000 ms",
        "  clientPortListenBacklog = (-1, the server's choice)",
        "  snapshot.compression.method = (empty)",
        "  zoo.cfg:4: nio.numWorkerThreads has no meaning here: I/O threads here are not selectors \
         and workers; oxkeeper.ioThreads sets their number",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line:?} is not in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&explain_json(&config)).unwrap();
    assert_eq!(json["file"], "zoo.cfg");
    let settings = json["settings"].as_array().unwrap();
    let entry = |name: &str| settings.iter().find(|entry| entry["key"] == name).expect(name);
    assert_eq!(entry("snapCount")["value"], "7");
    assert_eq!(entry("snapCount")["source"]["file"]["line"], 3);
    assert_eq!(entry("tickTime")["source"], "default");
    assert_eq!(entry("dataLogDir")["value"], "/data");
    assert_eq!(entry("initLimit")["value"], serde_json::Value::Null);
    assert_eq!(json["notices"].as_array().unwrap().len(), 2);
}

#[test]
fn own_settings_are_marked_as_own() {
    let own: Vec<_> = keys::all().filter(|key| key.taken == Taken::Own).collect();
    assert!(own.iter().all(|key| key.name.starts_with("oxkeeper.")));
    let config = accepted("oxkeeper.ioThreads=4\n");
    assert_eq!(config.io_threads, Some(4));
}
