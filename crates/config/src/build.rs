//! From settings to [`Config`]: ZooKeeper's corrections of single values, and the checks that
//! take more than one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::{
    Admin, Auth, BindAddr, Config, ConnectionThrottle, DigestAlg, FourLetterWhitelist, Limits,
    Listen, Purge, RequestThrottle, Secret, Sessions, SnapshotCompression, Storage, Tree,
};
use crate::ensemble;
use crate::error::{ConfigError, ExitCode, printable};
use crate::explain;
use crate::files::Files;
use crate::settings::{NoticeLevel, Settings, Source};

/// Fewer snapshots than this are never kept (`PurgeTxnLog`).
const LEAST_RETAINED: u32 = 3;

/// The longest `myid` that is read; a number needs twenty bytes.
const MAX_MYID_BYTES: usize = 1024;

/// The words a standalone server knows.
const WORDS: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst",
    "srvr", "stat", "stmk", "wchc", "wchp", "wchs",
];

/// Checks all settings and turns them into a configuration.
pub(crate) fn build(mut settings: Settings, files: &dyn Files) -> Result<Config, ConfigError> {
    ensemble::read_dynamic_file(&mut settings, files)?;
    settings.check()?;
    let data_dir = directory(&mut settings, "dataDir")
        .ok_or_else(|| ConfigError::whole(&settings.file, "dataDir is not set").about("dataDir"))?;
    let data_log_dir = directory(&mut settings, "dataLogDir").unwrap_or_else(|| data_dir.clone());
    settings.came_to("dataLogDir", data_log_dir.display());
    let my_id = read_my_id(&data_dir, files)?;
    let sessions = sessions(&mut settings)?;
    let (listen, joined) = listen(&mut settings, my_id, &data_dir)?;
    let tick_time_ms = sessions.tick_time_ms;
    let ensemble =
        joined.map(|joined| ensemble::values(&mut settings, joined, tick_time_ms)).transpose()?;
    let io_threads =
        settings.int("oxkeeper.ioThreads").and_then(|count| usize::try_from(count).ok());
    let mut config = Config {
        storage: storage(&mut settings, data_dir, data_log_dir),
        sessions,
        limits: limits(&mut settings),
        tree: tree(&mut settings),
        auth: auth(&mut settings)?,
        admin: admin(&mut settings, &listen),
        listen,
        my_id,
        ensemble,
        io_threads,
        path: None,
        effective: explain::effective(&settings),
        file: settings.file.clone(),
        notices: Vec::new(),
    };
    config.notices = settings.into_notices();
    Ok(config)
}

fn no_client_port(settings: &Settings, my_id: Option<i64>) -> String {
    match (my_id, settings.members("server.N").next()) {
        (Some(my_id), Some((name, _))) if name != format!("server.{my_id}") => {
            format!("clientPort is not set, and {name} is not this server: myid says {my_id}")
        }
        _ => "clientPort is not set".to_owned(),
    }
}

fn directory(settings: &mut Settings, name: &str) -> Option<PathBuf> {
    let text = settings.text(name)?;
    let path = PathBuf::from(&text);
    let in_file = matches!(settings.given(name)?.source, Source::File { .. });
    if in_file && path.is_relative() && !text.starts_with("./") {
        let text = format!(
            "{}: {name}={} is relative to wherever the server is started; begin it with ./ if \
             that is meant",
            settings.given(name)?.source.place(&settings.file),
            printable(&text),
        );
        settings.notice(NoticeLevel::Warning, Some(name), text);
    }
    Some(path)
}

/// The first line of `<dataDir>/myid`, if that is a file.
fn read_my_id(data_dir: &Path, files: &dyn Files) -> Result<Option<i64>, ConfigError> {
    let path = data_dir.join("myid");
    let shown = path.display().to_string();
    let bytes = match files.read(&path, MAX_MYID_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // ZooKeeper looks at plain files only.
        Err(_) if files.kind(&path).is_ok_and(|kind| kind == crate::PathKind::Directory) => {
            return Ok(None);
        }
        // A data directory that is a file is reported as that, by whoever opens it.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => {
            return Err(ConfigError::whole(&shown, format_args!("cannot be read: {error}")));
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default().trim();
    line.parse().map(Some).map_err(|_| {
        let problem = format!("must hold this server's number, not \"{}\"", printable(line));
        ConfigError::whole(&shown, problem).about("myid")
    })
}

/// What `clientPort` and `clientPortAddress` say.
fn client_address(settings: &mut Settings) -> Result<Option<(BindAddr, u16)>, ConfigError> {
    let addr = match settings.text("clientPortAddress") {
        None => BindAddr::All,
        Some(text) => BindAddr::parse(&text).ok_or_else(|| {
            settings.bad("clientPortAddress", "must be an IP address or a host name")
        })?,
    };
    settings.came_to("clientPortAddress", &addr);
    match settings.int("clientPort") {
        Some(port) => Ok(Some((addr, u16::try_from(port).unwrap_or_default()))),
        None if settings.given("clientPortAddress").is_some() => {
            Err(settings.bad("clientPortAddress", "clientPort must be set too"))
        }
        None => Ok(None),
    }
}

fn listen(
    settings: &mut Settings,
    my_id: Option<i64>,
    data_dir: &Path,
) -> Result<(Listen, Option<ensemble::Joined>), ConfigError> {
    let address = client_address(settings)?;
    let settled = ensemble::settle(settings, my_id, address, data_dir)?;
    let Some((client_addr, client_port)) = settled.listen else {
        let problem = no_client_port(settings, my_id);
        return Err(ConfigError::whole(&settings.file, problem).about("clientPort"));
    };
    let backlog = settings.int("clientPortListenBacklog").unwrap_or(-1);
    let listen = Listen {
        client_addr,
        client_port,
        backlog: u32::try_from(backlog).ok().filter(|backlog| *backlog > 0),
        tcp_keep_alive: settings.bool("clientTcpKeepAlive"),
    };
    Ok((listen, settled.joined))
}

fn sessions(settings: &mut Settings) -> Result<Sessions, ConfigError> {
    let tick_time_ms = settings.count("tickTime");
    let bound = |name: &str, ticks: u32| match settings.int(name) {
        None | Some(-1) => tick_time_ms * ticks,
        Some(_) => settings.count(name),
    };
    let min_session_timeout_ms = bound("minSessionTimeout", 2);
    let max_session_timeout_ms = bound("maxSessionTimeout", 20);
    if min_session_timeout_ms > max_session_timeout_ms {
        let at_fault = match settings.given("minSessionTimeout") {
            Some(_) => "minSessionTimeout",
            None => "maxSessionTimeout",
        };
        let problem = format!(
            "minSessionTimeout ({min_session_timeout_ms} ms) must not be larger than \
             maxSessionTimeout ({max_session_timeout_ms} ms)"
        );
        return Err(settings.bad(at_fault, problem));
    }
    settings.came_to("minSessionTimeout", min_session_timeout_ms);
    settings.came_to("maxSessionTimeout", max_session_timeout_ms);
    Ok(Sessions { tick_time_ms, min_session_timeout_ms, max_session_timeout_ms })
}

fn storage(settings: &mut Settings, data_dir: PathBuf, data_log_dir: PathBuf) -> Storage {
    let force_sync = settings.bool("forceSync");
    if !force_sync {
        let text = "forceSync=no: acknowledged writes can be lost when the machine stops";
        settings.notice(NoticeLevel::Warning, Some("forceSync"), text.to_owned());
    }
    let compression = settings.text("snapshot.compression.method").unwrap_or_default();
    let purge = purge(settings);
    Storage {
        data_dir,
        data_log_dir,
        snap_count: at_least(settings, "snapCount", 2),
        snap_size_limit_kb: Some(settings.long("snapSizeLimitInKb")).filter(|limit| *limit > 0),
        pre_alloc_size_kb: settings.long("preAllocSize"),
        txn_log_size_limit_kb: Some(settings.long("txnLogSizeLimitInKb")).filter(|kb| *kb > 0),
        force_sync,
        snapshot_compression: match compression.as_str() {
            "gz" => SnapshotCompression::Gzip,
            "snappy" => SnapshotCompression::Snappy,
            _ => SnapshotCompression::None,
        },
        trust_empty_snapshot: settings.bool("snapshot.trust.empty"),
        serialize_last_processed_zxid: settings.bool("serializeLastProcessedZxid.enabled"),
        digest_enabled: settings.bool("digest.enabled"),
        close_session_txn_enabled: settings.bool("closeSessionTxn.enabled"),
        datadir_autocreate: settings.bool("datadir.autocreate"),
        fsync_warning_threshold_ms: settings.long("fsync.warningthresholdms"),
        max_batch_size: settings.count("maxBatchSize"),
        flush_delay_ms: settings.long("flushDelay"),
        purge,
    }
}

/// `autopurge.*` rules. Without a configuration file purging is on, in directories of our own.
fn purge(settings: &mut Settings) -> Purge {
    let retain_count = at_least(settings, "autopurge.snapRetainCount", LEAST_RETAINED);
    let interval_hours = Some(settings.count("autopurge.purgeInterval")).filter(|hours| *hours > 0);
    let source = settings.given("autopurge.purgeInterval").map(|setting| setting.source.clone());
    if interval_hours.is_none() {
        let text = "autopurge.purgeInterval is 0: old snapshots and logs are kept until someone \
                    removes them";
        settings.notice(NoticeLevel::Info, Some("autopurge.purgeInterval"), text.to_owned());
    }
    Purge { retain_count, interval_hours, from_default: source == Some(Source::BuiltIn) }
}

/// A count that ZooKeeper raises to its least value instead of refusing it.
fn at_least(settings: &mut Settings, name: &str, least: u32) -> u32 {
    if settings.int(name).is_some_and(|number| number >= i64::from(least)) {
        return settings.count(name);
    }
    corrected(settings, name, &least.to_string());
    least
}

/// Says that a value is replaced, as ZooKeeper replaces it.
fn corrected(settings: &mut Settings, name: &str, by: &str) {
    let Some(setting) = settings.given(name) else { return };
    let place = setting.source.place(&settings.file);
    let text = format!("{place}: {name}={} is taken as {by}", printable(&setting.text));
    settings.notice(NoticeLevel::Warning, Some(name), text);
    settings.came_to(name, by);
}

fn limits(settings: &mut Settings) -> Limits {
    let jute_maxbuffer = settings.count("jute.maxbuffer");
    let jute_extrasize = match settings.int("jute.maxbuffer.extrasize") {
        None => jute_maxbuffer.max(1024),
        Some(_) => at_least(settings, "jute.maxbuffer.extrasize", 1024),
    };
    settings.came_to("jute.maxbuffer.extrasize", jute_extrasize);
    let large_request_max_bytes = if settings.count("largeRequestMaxBytes") > 0 {
        settings.count("largeRequestMaxBytes")
    } else {
        corrected(settings, "largeRequestMaxBytes", "104857600");
        104_857_600
    };
    let large_request_threshold = match settings.int("largeRequestThreshold") {
        Some(-1) | None => None,
        Some(1..) => Some(settings.count("largeRequestThreshold")),
        Some(_) => {
            corrected(settings, "largeRequestThreshold", "-1");
            None
        }
    };
    Limits {
        jute_maxbuffer,
        jute_extrasize,
        max_client_cnxns: settings.count("maxClientCnxns"),
        max_cnxns: settings.count("maxCnxns"),
        global_outstanding_limit: settings.count("globalOutstandingLimit"),
        large_request_max_bytes,
        large_request_threshold,
        sessionless_cnxn_timeout_ms: settings.count("nio.sessionlessCnxnTimeout"),
        connection_throttle: connection_throttle(settings),
        request_throttle: RequestThrottle {
            max_requests: settings.count("request_throttle_max_requests"),
            shutdown_timeout_ms: settings.count("request_throttler.shutdownTimeout"),
        },
    }
}

fn connection_throttle(settings: &mut Settings) -> ConnectionThrottle {
    let tokens = settings.count("connection_throttle_tokens");
    let fill_count = settings.count("connection_throttle_fill_count");
    let weighted = settings.bool("connection_throttle_weight_enabled");
    let local = weight(settings, "connection_throttle_local_session_weight", 1, 1);
    let global = weight(settings, "connection_throttle_global_session_weight", local, 3);
    let renew = weight(settings, "connection_throttle_renew_session_weight", local, 2);
    let (local_weight, global_weight, renew_weight) =
        if weighted { (local, global, renew) } else { (1, 1, 1) };
    let freeze = settings.int("connection_throttle_freeze_time").unwrap_or(-1);
    ConnectionThrottle {
        tokens: tokens.saturating_mul(global_weight),
        fill_time_ms: settings.count("connection_throttle_fill_time"),
        fill_count: fill_count.saturating_mul(global_weight),
        freeze_time_ms: u32::try_from(freeze).ok(),
        drop_increase: settings.real("connection_throttle_drop_increase"),
        drop_decrease: settings.real("connection_throttle_drop_decrease"),
        decrease_ratio: settings.real("connection_throttle_decrease_ratio"),
        global_weight,
        local_weight,
        renew_weight,
    }
}

/// A weight that must be positive, else its default holds, and not below a local session's.
fn weight(settings: &mut Settings, name: &str, least: u32, default: u32) -> u32 {
    let given = settings.count(name);
    let weight = if given == 0 { default } else { given }.max(least);
    if weight != given {
        corrected(settings, name, &weight.to_string());
    }
    weight
}

fn tree(settings: &mut Settings) -> Tree {
    let skip_acl = settings.bool("skipACL");
    if skip_acl {
        let text = "skipACL=yes: every client may do everything, whatever the ACLs say";
        settings.notice(NoticeLevel::Warning, Some("skipACL"), text.to_owned());
    }
    let never_used = settings.long("znode.container.maxNeverUsedIntervalMs");
    Tree {
        extended_types_enabled: settings.bool("extendedTypesEnabled"),
        emulate_353_ttl_nodes: settings.bool("emulate353TTLNodes"),
        enforce_quota: settings.bool("enforceQuota"),
        skip_acl,
        digest_enabled: settings.bool("digest.enabled"),
        reconfig_enabled: settings.bool("reconfigEnabled"),
        container_check_interval_ms: settings.count("znode.container.checkIntervalMs"),
        container_max_per_minute: settings.count("znode.container.maxPerMinute"),
        container_max_never_used_interval_ms: Some(never_used).filter(|ms| *ms > 0),
    }
}

fn auth(settings: &mut Settings) -> Result<Auth, ConfigError> {
    let digest_enabled = settings.bool("DigestAuthenticationProvider.enabled");
    let super_key = "DigestAuthenticationProvider.superDigest";
    let super_digest = settings.text(super_key);
    if super_digest.as_deref().is_some_and(|digest| !is_digest_id(digest)) {
        let text = format!(
            "{super_key} is not super: and the base64 of a SHA-1, so no password will match it"
        );
        settings.notice(NoticeLevel::Warning, Some(super_key), text);
    }
    Ok(Auth {
        digest_enabled,
        digest_alg: DigestAlg::Sha1,
        super_digest: super_digest.map(Secret),
        enforced_schemes: enforced_schemes(settings, digest_enabled)?,
    })
}

/// `user:` and twenty bytes in base64.
fn is_digest_id(text: &str) -> bool {
    let Some((user, hash)) = text.split_once(':') else { return false };
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    !user.is_empty()
        && hash.len() == 28
        && hash.strip_suffix('=').is_some_and(|digits| digits.bytes().all(base64))
}

fn enforced_schemes(
    settings: &Settings,
    digest_enabled: bool,
) -> Result<Option<BTreeSet<String>>, ConfigError> {
    if !settings.bool("enforce.auth.enabled") {
        return Ok(None);
    }
    let Some(list) = settings.text("enforce.auth.schemes") else {
        let problem = "enforce.auth.schemes must name the schemes that count";
        return Err(settings.bad("enforce.auth.enabled", problem));
    };
    let schemes: BTreeSet<String> =
        list.split(',').map(|scheme| scheme.trim().to_owned()).collect();
    for scheme in &schemes {
        let problem = match scheme.as_str() {
            "ip" => continue,
            "digest" if digest_enabled => continue,
            "digest" => "digest is switched off by DigestAuthenticationProvider.enabled",
            "sasl" | "x509" | "ensemble" => "this scheme is not supported yet; digest and ip are",
            _ => "must be a list of digest and ip",
        };
        return Err(settings.bad("enforce.auth.schemes", problem));
    }
    Ok(Some(schemes))
}

fn admin(settings: &mut Settings, listen: &Listen) -> Admin {
    let list = settings.text("4lw.commands.whitelist").unwrap_or_default();
    let built_in = settings
        .given("4lw.commands.whitelist")
        .is_some_and(|setting| setting.source == Source::BuiltIn);
    // Without a file all words are open because only this machine can ask; when --set moves the
    // port to where others can, ZooKeeper's default holds.
    let list = if built_in && !listen.client_addr.is_loopback() { "srvr" } else { &list };
    let mut words = BTreeSet::from(["srvr".to_owned()]);
    if settings.bool("readonlymode.enabled") {
        words.insert("isro".to_owned());
    }
    for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if word == "*" {
            return Admin { four_letter_whitelist: FourLetterWhitelist::All };
        }
        if !WORDS.contains(&word) {
            let text = format!("4lw.commands.whitelist: there is no word \"{}\"", printable(word));
            settings.notice(NoticeLevel::Warning, Some("4lw.commands.whitelist"), text);
        }
        words.insert(word.to_owned());
    }
    let shown: Vec<&str> = words.iter().map(String::as_str).collect();
    let shown = shown.join(",");
    settings.came_to("4lw.commands.whitelist", shown);
    Admin { four_letter_whitelist: FourLetterWhitelist::Set(words) }
}

impl Config {
    /// Looks whether the data directories can be what the configuration says they are.
    ///
    /// # Errors
    /// With [`ExitCode::UnableToAccessDatadir`] if one is not a directory, cannot be looked at,
    /// or is missing while `datadir.autocreate` is off.
    pub fn check_directories(&self, files: &dyn Files) -> Result<(), ConfigError> {
        for (name, path) in
            [("dataDir", &self.storage.data_dir), ("dataLogDir", &self.storage.data_log_dir)]
        {
            let version = path.join("version-2");
            for (path, must_exist) in [(path, false), (&version, !self.storage.datadir_autocreate)]
            {
                let problem = match files.kind(path) {
                    Ok(crate::PathKind::Directory) => continue,
                    Ok(crate::PathKind::Missing) if !must_exist => continue,
                    Ok(crate::PathKind::Missing) => {
                        "does not exist, and datadir.autocreate=false forbids creating it".into()
                    }
                    Ok(crate::PathKind::Other) => "is not a directory".to_owned(),
                    Err(error) => format!("cannot be accessed: {error}"),
                };
                let problem = format!("{name}: {} {problem}", printable(&path.to_string_lossy()));
                return Err(ConfigError::whole(&self.file, problem)
                    .about(name)
                    .exiting(ExitCode::UnableToAccessDatadir));
            }
        }
        Ok(())
    }
}
