//! The files in which an ensemble's membership outlives its servers, as ZooKeeper keeps them.
//!
//! Beside the static file `zoo.cfg` there are, once the membership is managed
//! (`reconfigEnabled=true`):
//!
//! * `zoo.cfg.dynamic.<version>`: the committed membership, by the version in hexadecimal digits.
//!   The static file's last line points to it, and says nothing of members any more;
//! * `zoo.cfg.dynamic.next`: the last one proposed, while it is not committed. A server that
//!   restarts needs it: until it learns better, a quorum of both counts;
//! * `zoo.cfg.bak`: the static file as the operator wrote it, before the first change.
//!
//! Every file is written under another name, synced and renamed, its directory synced; so a crash
//! leaves the old or the new one. The order matters too: the static file points only to what is
//! there, and `.next` goes last. All of it waits for the disk, and the core's thread waits with it:
//! what was proposed is written before it is acknowledged, and an ensemble is changed by hand and
//! seldom.
//!
//! Old dynamic files stay, as ZooKeeper leaves them: the operator may want to know.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use oxkeeper_config::{Config, MAX_FILE_BYTES, NotRewritable, point_to_dynamic_file};
use oxkeeper_proto::Sid;
use oxkeeper_proto::limits::CONFIG_TEXT_BYTES_MAX;
use oxkeeper_proto::notification::Address;
use oxkeeper_zab::quorum::{ConfigError, Membership, QuorumVerifier};

/// What went wrong with one of the files: the disk's or the operator's fault.
#[derive(Debug)]
pub struct DynamicConfigError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Disk { action: &'static str, source: io::Error },
    TooLong,
    Text(ConfigError),
    Static(NotRewritable),
}

impl std::fmt::Display for DynamicConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Disk { action, source } => write!(f, "cannot {action} {path}: {source}"),
            Problem::TooLong => write!(f, "{path} is too long for a configuration"),
            Problem::Text(error) => write!(f, "{path}: {error}"),
            Problem::Static(error) => write!(f, "{path}: {error}"),
        }
    }
}

impl std::error::Error for DynamicConfigError {}

/// Says what failed and on which file.
trait Context<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DynamicConfigError>;
}

impl<T> Context<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, DynamicConfigError> {
        self.map_err(|source| DynamicConfigError {
            path: path.to_owned(),
            problem: Problem::Disk { action, source },
        })
    }
}

/// The membership that a member of an ensemble starts with: what its files say is committed, with
/// its own address for clients, and what was proposed last. `None` for a standalone server.
///
/// # Errors
/// If a text is no configuration, or `.next` cannot be read.
pub fn membership(config: &Config) -> Result<Option<Membership>, DynamicConfigError> {
    let Some(ensemble) = &config.ensemble else { return Ok(None) };
    let path = || ensemble.dynamic_file.clone().or(config.path.clone()).unwrap_or_default();
    let text = ensemble.membership.to_string();
    let current = QuorumVerifier::parse(&text, ensemble.multi_address)
        .map_err(|error| DynamicConfigError { path: path(), problem: Problem::Text(error) })?;
    let current = match ensemble.client_is_static {
        true => {
            let (host, port) = (config.listen.client_addr.to_string(), config.listen.client_port);
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host = bare.unwrap_or(&host).into();
            current.with_static_client(Sid(ensemble.my_id), Address { host, port })
        }
        false => current,
    };
    let files = DynamicConfig::new(config);
    let next = match files {
        Some(files) if ensemble.dynamic_file.is_some() => files.next(ensemble.multi_address)?,
        _ => None,
    };
    // What was proposed before the present one was committed has lost.
    let next = next.filter(|next| next.version() > current.version());
    Ok(Some(Membership::new(current.into(), next.map(Into::into))))
}

/// The files of one server.
#[derive(Debug, Clone)]
pub struct DynamicConfig {
    /// The static file.
    file: PathBuf,
    my_sid: Sid,
    /// Whether the static file holds the membership itself.
    is_whole: bool,
}

impl DynamicConfig {
    /// `None` where nothing is to be written: by a standalone server, one without a configuration
    /// file, and one without `reconfigEnabled`.
    pub fn new(config: &Config) -> Option<DynamicConfig> {
        let ensemble = config.ensemble.as_ref().filter(|_| config.tree.reconfig_enabled)?;
        Some(DynamicConfig {
            file: config.path.clone()?,
            my_sid: Sid(ensemble.my_id),
            is_whole: ensemble.dynamic_file.is_none(),
        })
    }

    /// Saves the static file as `.bak` while it still holds the membership; at every start, before
    /// anything else is written (`backupOldConfig`).
    ///
    /// # Errors
    /// If it cannot be read or the copy cannot be written.
    pub fn back_up(&self) -> Result<(), DynamicConfigError> {
        if !self.is_whole {
            return Ok(());
        }
        let bytes = read(&self.file, MAX_FILE_BYTES)?;
        replace(&self.beside(".bak"), &bytes, self.mode())
    }

    /// A configuration was proposed: writes `.next` (`setLastSeenQuorumVerifier`).
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn seen(&self, config: &QuorumVerifier) -> Result<(), DynamicConfigError> {
        replace(&self.next_file(), lines(config, true).as_bytes(), None)
    }

    /// A configuration was committed, `membership` says what holds now: writes it to its own file,
    /// points the static file to that and, unless a newer one is under way, removes `.next`
    /// (`setQuorumVerifier`).
    ///
    /// # Errors
    /// If one of the files cannot be written; what comes later in that order is left undone.
    pub fn active(&self, membership: &Membership) -> Result<(), DynamicConfigError> {
        let config = membership.current();
        let path = self.beside(&format!(".dynamic.{:x}", config.version()));
        replace(&path, lines(config, false).as_bytes(), None)?;
        let ours = config.server(self.my_sid);
        let says_port = ours.is_some_and(|us| us.client.is_some() && !us.client_is_static);
        let absolute = fs::canonicalize(&path).at("find", &path)?;
        let bytes = read(&self.file, MAX_FILE_BYTES)?;
        let edited = point_to_dynamic_file(&bytes, &absolute, says_port).map_err(|error| {
            DynamicConfigError { path: self.file.clone(), problem: Problem::Static(error) }
        })?;
        replace(&self.file, &edited, self.mode())?;
        let next = self.next_file();
        let is_newer = |seen: &QuorumVerifier| seen.version() > config.version();
        if membership.last_seen().is_some_and(|seen| is_newer(seen)) {
            return Ok(());
        }
        match fs::remove_file(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => {
                removed.at("remove", &next)?;
                sync_dir_of(&next)
            }
        }
    }

    /// What `.next` holds, if it is there.
    fn next(&self, multi_address: bool) -> Result<Option<QuorumVerifier>, DynamicConfigError> {
        let path = self.next_file();
        if !path.try_exists().at("find", &path)? {
            return Ok(None);
        }
        let bytes = read(&path, CONFIG_TEXT_BYTES_MAX)?;
        let text = String::from_utf8_lossy(&bytes);
        QuorumVerifier::parse(&text, multi_address)
            .map(Some)
            .map_err(|error| DynamicConfigError { path, problem: Problem::Text(error) })
    }

    fn next_file(&self) -> PathBuf {
        self.beside(".dynamic.next")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.file.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// The static file may hold secrets: whoever must not read it must not read what replaces it.
    fn mode(&self) -> Option<fs::Permissions> {
        fs::metadata(&self.file).ok().map(|metadata| metadata.permissions())
    }
}

/// The lines as they stand in a dynamic file: in alphabetical order, without an end of line behind
/// the last. Only `.next` holds the version, elsewhere it is in the name.
fn lines(config: &QuorumVerifier, with_version: bool) -> String {
    let text = config.to_string();
    let mut lines: Vec<&str> =
        text.lines().filter(|line| with_version || !line.starts_with("version=")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, DynamicConfigError> {
    let mut bytes = Vec::new();
    let file = File::open(path).at("open", path)?;
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).at("read", path)?;
    match bytes.len() <= bytes_max {
        true => Ok(bytes),
        false => Err(DynamicConfigError { path: path.to_owned(), problem: Problem::TooLong }),
    }
}

/// Puts a file in place so that a crash leaves the old or the new one.
fn replace(
    path: &Path,
    bytes: &[u8],
    mode: Option<fs::Permissions>,
) -> Result<(), DynamicConfigError> {
    let mut unfinished = path.to_owned().into_os_string();
    unfinished.push(".tmp");
    let unfinished = PathBuf::from(unfinished);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let mut file = options.open(&unfinished).at("create", &unfinished)?;
    if let Some(mode) = mode {
        file.set_permissions(mode).at("set the permissions of", &unfinished)?;
    }
    file.write_all(bytes).at("write", &unfinished)?;
    file.sync_all().at("sync", &unfinished)?;
    fs::rename(&unfinished, path).at("rename", &unfinished)?;
    sync_dir_of(path)
}

fn sync_dir_of(path: &Path) -> Result<(), DynamicConfigError> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    File::open(dir).and_then(|dir| dir.sync_all()).at("sync", dir)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use oxkeeper_config::{Options, OsFiles};
    use oxkeeper_zab::quorum::Role;

    use super::*;

    macro_rules! java {
        ($file:literal) => {
            include_str!(concat!("../tests/fixtures/reconfigured/zoo.cfg", $file))
        };
    }

    /// Server 1 of three of version 3.9.5 before its ensemble was first reconfigured.
    const BEFORE: &str = java!("");
    const DATA_DIR: &str = "dataDir=/srv/zookeeper/1/data";

    /// The directory of a server, with `zoo.cfg` and `data/myid` in it.
    struct Home(tempfile::TempDir);

    impl Home {
        fn of(my_id: i64, file: &str) -> Home {
            let home = Home(tempfile::tempdir().unwrap());
            fs::create_dir(home.path("data")).unwrap();
            fs::write(home.path("data/myid"), my_id.to_string()).unwrap();
            fs::write(home.path("zoo.cfg"), home.own(file)).unwrap();
            home
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        /// A file of the fixtures as it would be if it had been written here.
        fn own(&self, file: &str) -> String {
            let data_dir = format!("dataDir={}", self.path("data").display());
            file.replace(DATA_DIR, &data_dir)
        }

        fn config(&self) -> Config {
            Config::from_path(&self.path("zoo.cfg"), &Options::default(), &OsFiles).unwrap()
        }

        fn membership(&self) -> Membership {
            membership(&self.config()).unwrap().unwrap()
        }

        fn files(&self) -> BTreeMap<String, String> {
            let entries = fs::read_dir(self.0.path()).unwrap().map(Result::unwrap);
            let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
            files
                .map(|entry| {
                    let name = entry.file_name().into_string().unwrap();
                    (name, fs::read_to_string(entry.path()).unwrap())
                })
                .collect()
        }
    }

    fn config(text: &str) -> QuorumVerifier {
        QuorumVerifier::parse(text, false).unwrap()
    }

    /// The memberships of the fixtures, by version.
    fn of(version: i64) -> QuorumVerifier {
        let text = match version {
            0x1_0000_0000 => java!(".dynamic.100000000"),
            0x1_0000_0002 => java!(".dynamic.100000002"),
            _ => java!(".dynamic.100000003"),
        };
        config(text).with_version(version)
    }

    fn now(version: i64) -> Membership {
        Membership::new(of(version).into(), None)
    }

    #[test]
    fn an_ensemble_leaves_the_files_that_javas_leaves() {
        let home = Home::of(1, BEFORE);
        let files = DynamicConfig::new(&home.config()).unwrap();
        files.back_up().unwrap();
        let backup = &home.files()["zoo.cfg.bak"];
        assert_eq!(*backup, home.own(java!(".bak")));
        // The leader's first proposal gives the membership a version.
        let current = home.membership().current().as_ref().clone();
        let first = current.with_version(0x1_0000_0000);
        files.seen(&first).unwrap();
        files.active(&Membership::new(first.into(), None)).unwrap();
        assert_eq!(home.files()["zoo.cfg.dynamic.100000000"], java!(".dynamic.100000000"));
        let with_comments = &home.files()["zoo.cfg"];
        assert!(with_comments.contains("! how clients reach us\nclientPort=26051\n"));
        // A server joins: proposed, committed.
        files.seen(&of(0x1_0000_0002)).unwrap();
        assert_eq!(home.files()["zoo.cfg.dynamic.next"], java!(".dynamic.next"));
        files.active(&now(0x1_0000_0002)).unwrap();
        assert_eq!(home.files()["zoo.cfg.dynamic.100000002"], java!(".dynamic.100000002"));
        assert!(!home.files().contains_key("zoo.cfg.dynamic.next"));
        // Groups; now the line of server 1 says where its clients connect.
        files.active(&now(0x1_0000_0003)).unwrap();
        assert_eq!(home.files()["zoo.cfg.dynamic.100000003"], java!(".dynamic.100000003"));
        assert!(!home.files()["zoo.cfg"].contains("clientPort"));
        let names: Vec<String> = home.files().into_keys().collect();
        let expected =
            ["", ".bak", ".dynamic.100000000", ".dynamic.100000002", ".dynamic.100000003"];
        assert_eq!(names, expected.map(|suffix| format!("zoo.cfg{suffix}")));
    }

    #[test]
    fn what_is_written_is_what_the_next_start_reads() {
        let home = Home::of(1, BEFORE);
        let files = DynamicConfig::new(&home.config()).unwrap();
        assert_eq!(home.membership().current().version(), 0);
        for version in [0x1_0000_0000, 0x1_0000_0002, 0x1_0000_0003] {
            files.active(&now(version)).unwrap();
            let read = home.membership();
            assert_eq!(read.current().to_string(), of(version).to_string());
            assert_eq!(read.current().version(), version);
            assert!(read.last_seen().is_none());
            let config = home.config();
            assert_eq!(config.listen.client_port, 26_051);
            let us = read.current().server(Sid(1)).unwrap();
            assert_eq!(us.client.as_ref().unwrap().port, 26_051);
            assert_eq!(us.client_is_static, version != 0x1_0000_0003);
        }
    }

    #[test]
    fn a_proposal_is_remembered_until_it_is_decided() {
        let home = Home::of(1, BEFORE);
        let files = DynamicConfig::new(&home.config()).unwrap();
        files.active(&now(0x1_0000_0000)).unwrap();
        files.seen(&of(0x1_0000_0002)).unwrap();
        let read = home.membership();
        assert_eq!(read.current().version(), 0x1_0000_0000);
        let seen = read.last_seen().unwrap();
        assert_eq!(seen.server(Sid(10)).unwrap().role, Role::Observer);
        // It outlives the commit of an older one, but not its own.
        files.active(&read).unwrap();
        assert!(home.membership().last_seen().is_some());
        files.active(&now(0x1_0000_0003)).unwrap();
        assert!(home.membership().last_seen().is_none());
        // One that lost and was left behind counts for nothing.
        files.seen(&of(0x1_0000_0002)).unwrap();
        assert!(home.membership().last_seen().is_none());
    }

    #[test]
    fn the_backup_is_of_what_the_operator_wrote() {
        let home = Home::of(1, BEFORE);
        DynamicConfig::new(&home.config()).unwrap().active(&now(0x1_0000_0002)).unwrap();
        // A server that starts from a dynamic file has nothing to save.
        DynamicConfig::new(&home.config()).unwrap().back_up().unwrap();
        assert!(!home.files().contains_key("zoo.cfg.bak"));
    }

    #[test]
    fn nothing_is_written_unless_the_membership_is_managed() {
        for file in [
            BEFORE.replace("reconfigEnabled=true\n", ""),
            "dataDir=/srv/zookeeper/1/data\nclientPort=1\nreconfigEnabled=true\n".to_owned(),
        ] {
            let home = Home::of(1, &file);
            assert!(DynamicConfig::new(&home.config()).is_none());
        }
        let standalone = Home::of(1, "dataDir=/srv/zookeeper/1/data\nclientPort=1\n");
        assert!(membership(&standalone.config()).unwrap().is_none());
        // An old .next is not looked at either.
        let home = Home::of(1, BEFORE);
        fs::write(home.path("members.5"), java!(".dynamic.100000000")).unwrap();
        fs::write(home.path("zoo.cfg.dynamic.next"), "nonsense").unwrap();
        let file = format!(
            "initLimit=1\nsyncLimit=1\nclientPort=1\ndataDir={}\ndynamicConfigFile={}\n",
            home.path("data").display(),
            home.path("members.5").display(),
        );
        fs::write(home.path("zoo.cfg"), &file).unwrap();
        assert_eq!(home.membership().current().version(), 5);
        fs::write(home.path("zoo.cfg"), file + "reconfigEnabled=true\n").unwrap();
        let error = membership(&home.config()).unwrap_err().to_string();
        let path = home.path("zoo.cfg.dynamic.next");
        assert!(error.starts_with(&format!("{}: \"nonsense\": only server", path.display())));
    }

    #[test]
    fn who_could_not_read_the_file_cannot_read_its_copies() {
        let home = Home::of(1, BEFORE);
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(home.path("zoo.cfg"), private).unwrap();
        let files = DynamicConfig::new(&home.config()).unwrap();
        files.back_up().unwrap();
        files.active(&now(0x1_0000_0000)).unwrap();
        for name in ["zoo.cfg", "zoo.cfg.bak"] {
            let mode = fs::metadata(home.path(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_and_leaves_the_others_alone() {
        let home = Home::of(1, BEFORE);
        let files = DynamicConfig::new(&home.config()).unwrap();
        let before = home.files();
        fs::create_dir(home.path("zoo.cfg.dynamic.100000002.tmp")).unwrap();
        let error = files.active(&now(0x1_0000_0002)).unwrap_err().to_string();
        let path = home.path("zoo.cfg.dynamic.100000002.tmp");
        assert!(error.starts_with(&format!("cannot create {}: ", path.display())), "{error}");
        assert_eq!(home.files(), before);
    }

    /// One parser decides what a membership means: what the configuration's checks let through, it
    /// takes, and it comes out as the same text.
    #[test]
    fn every_membership_that_is_configured_can_be_told_to_others() {
        for lines in [
            "server.1=a:1:2;3\nserver.2=b:1:2\nserver.10=[::1]:1:2:observer;[fe80::1]:3\n",
            "multiAddress.enabled=true\nserver.2=b:1:2\n\
             server.1=a:1:2|[fd00::7]:3:4:participant;d:3\n",
            "version=ff\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\n\
             group.1=1\ngroup.2=2:3\nweight.1=3\nweight.3=0\n",
            "server.1=a:1:2;3\nserver.2=b:1:2;name-of.host%eth0:3\nserver.3=fe80%1:2:3\n",
        ] {
            let file = format!("{DATA_DIR}\ninitLimit=1\nsyncLimit=1\nclientPort=3\n{lines}");
            let home = Home::of(1, &file);
            let read = home.membership();
            let told = read.current().to_string();
            assert_eq!(config_of(&told).to_string(), told);
            let members = &home.config().ensemble.unwrap().membership;
            assert_eq!(read.current().members().count(), members.members.len());
            for member in &members.members {
                let server = read.current().server(Sid(member.id)).unwrap();
                let is_participant = member.role == oxkeeper_config::Role::Participant;
                assert_eq!(server.role == Role::Participant, is_participant);
                let said = format!("server.{}={member}", member.id);
                assert!(told.lines().any(|line| line == said), "{said} is not in\n{told}");
            }
        }
    }

    fn config_of(text: &str) -> QuorumVerifier {
        QuorumVerifier::parse(text, true).unwrap()
    }
}
