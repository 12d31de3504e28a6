//! The other servers: whether the configuration asks for an ensemble, and what a member of one
//! needs to know.
//!
//! Two participants make an ensemble; `standaloneEnabled=false` makes one of a single participant.
//! Otherwise a lone participant boots as a standalone server, as in ZooKeeper: its image for
//! containers always writes one such line and leaves `clientPort` out, so the client port is the
//! one after the `;`.
//!
//! The lines are checked here, where a message can name the file and the line. Who is in the
//! ensemble is handed on as text ([`Membership`]'s `Display`), because that is what travels between
//! servers and is compared by them.

mod line;
mod membership;
mod values;

use std::path::{Path, PathBuf};

use crate::config::BindAddr;
use crate::error::{ConfigError, printable};
use crate::files::Files;
use crate::properties;
use crate::settings::{BAD_ESCAPE, NoticeLevel, Settings, Source};
use crate::value::java_trim;

pub(crate) use line::Address;
pub use line::{Member, Role};
pub use membership::Membership;
pub(crate) use values::values;
pub use values::{Election, Ensemble, History, LocalSessions, ObserverMaster, Observers};

/// The most a membership file may hold.
const MAX_DYNAMIC_BYTES: usize = 1 << 20;

/// The longest text of a membership that an election message can carry.
const MAX_MEMBERSHIP_BYTES: usize = (512 << 10) - 44;

/// What the server lines come to.
pub(crate) struct Settled {
    /// Where clients connect, if anything says so.
    pub listen: Option<Address>,
    /// The ensemble's beginning; `None` for a standalone server.
    pub joined: Option<Joined>,
}

/// This server's place in an ensemble.
pub(crate) struct Joined {
    pub my_id: i64,
    pub membership: Membership,
    /// Its line leaves the client address to `clientPort`.
    pub client_is_static: bool,
}

/// Takes the members from the file that `dynamicConfigFile` names. Only membership may stand in
/// it, and then none may stand in the main file.
pub(crate) fn read_dynamic_file(
    settings: &mut Settings,
    files: &dyn Files,
) -> Result<(), ConfigError> {
    let Some(path) = settings.given("dynamicConfigFile").map(|setting| setting.text.clone()) else {
        return Ok(());
    };
    for family in ["server.N", "group.N", "weight.N"] {
        if let Some((name, _)) = settings.members(family).next() {
            let problem =
                format!("must stand in {}, which dynamicConfigFile names", printable(&path));
            return Err(settings.bad(name, problem));
        }
    }
    let bytes = files.read(Path::new(&path), MAX_DYNAMIC_BYTES).map_err(|error| {
        settings.bad("dynamicConfigFile", format_args!("cannot be read: {error}"))
    })?;
    let properties = properties::read(&bytes)
        .map_err(|error| ConfigError::at(&path, &dynamic(&path, error.line), BAD_ESCAPE))?;
    for property in properties {
        let key = java_trim(&property.key);
        let source = dynamic(&path, property.line);
        if !["server.", "group", "weight"].iter().any(|stem| key.starts_with(stem)) {
            let problem = format!(
                "{}: only server, group and weight may stand in a dynamic file",
                printable(key)
            );
            return Err(ConfigError::at(&path, &source, problem).about(key));
        }
        settings.take(key, java_trim(&property.value), source)?;
    }
    Ok(())
}

fn dynamic(path: &str, line: usize) -> Source {
    Source::Dynamic { file: path.to_owned(), line }
}

/// The file that `dynamicConfigFile` names.
fn dynamic_file(settings: &Settings) -> Option<PathBuf> {
    settings.text("dynamicConfigFile").map(PathBuf::from)
}

/// The version in the name of a dynamic file: hexadecimal digits behind its last dot
/// (`getVersionFromFilename`).
fn version_in_name(file: &Path) -> i64 {
    let name = file.to_string_lossy();
    let digits = name.rsplit_once('.').map(|(_, digits)| digits);
    let version = digits.and_then(|digits| i64::from_str_radix(digits, 16).ok());
    version.filter(|version| *version >= 0).unwrap_or(0)
}

/// Reads the server lines. `listen` is what `clientPort` says, `data_dir` where `myid` was looked
/// for.
pub(crate) fn settle(
    settings: &mut Settings,
    my_id: Option<i64>,
    listen: Option<Address>,
    data_dir: &Path,
) -> Result<Settled, ConfigError> {
    check_authentication(settings)?;
    let version = dynamic_file(settings).map(|file| version_in_name(&file));
    let membership = membership::read(settings, version)?;
    let standalone_enabled = settings.bool("standaloneEnabled");
    let observer = membership.first_observer().map(|member| line_of(settings, member.id));
    match (membership.participants().count(), observer) {
        (0, _) if !standalone_enabled => {
            Err(settings.bad("standaloneEnabled", "needs a server line of a participant"))
        }
        (0, Some(observer)) => {
            Err(settings.bad(&observer, "an observer needs an ensemble with participants"))
        }
        (0, None) => Ok(Settled { listen, joined: None }),
        (1, Some(observer)) if standalone_enabled => {
            let problem = "an observer needs an ensemble: two participants, or one and \
                           standaloneEnabled=false";
            Err(settings.bad(&observer, problem))
        }
        (1, None) if standalone_enabled => alone(settings, my_id, listen, &membership),
        _ => join(settings, my_id, listen, membership, data_dir),
    }
}

/// One participant, who is its own ensemble: its line may say where clients connect.
fn alone(
    settings: &mut Settings,
    my_id: Option<i64>,
    listen: Option<Address>,
    membership: &Membership,
) -> Result<Settled, ConfigError> {
    let as_told = |listen| Ok(Settled { listen, joined: None });
    let Some(member) = membership.participants().next() else { return as_told(listen) };
    let Some((addr, port)) = &member.client else { return as_told(listen) };
    let name = line_of(settings, member.id);
    match my_id {
        Some(my_id) if my_id == member.id => agree(settings, &name, listen.as_ref(), addr, *port)?,
        // Its line says nothing about us, unless nobody else could be meant.
        Some(_) => return as_told(listen),
        None if listen.is_some() => return as_told(listen),
        None => {}
    }
    listens_as_its_line_says(settings, &name, addr, *port);
    as_told(Some((addr.clone(), *port)))
}

/// A member of an ensemble finds itself in the list.
fn join(
    settings: &mut Settings,
    my_id: Option<i64>,
    listen: Option<Address>,
    membership: Membership,
    data_dir: &Path,
) -> Result<Settled, ConfigError> {
    for name in ["initLimit", "syncLimit"] {
        if settings.int(name).unwrap_or(0) <= 0 {
            let problem = format!("{name} is not set; the servers of an ensemble need it");
            return Err(match settings.given(name) {
                Some(_) => settings.bad(name, "must be at least 1 in an ensemble"),
                None => ConfigError::whole(&settings.file, problem).about(name),
            });
        }
    }
    let myid = data_dir.join("myid").display().to_string();
    let Some(my_id) = my_id else {
        let problem = "is missing; the servers of an ensemble find their number in it";
        return Err(ConfigError::whole(&myid, problem).about("myid"));
    };
    let Some(member) = membership.member(my_id) else {
        let problem = format!("{my_id} is the number of no server line");
        return Err(ConfigError::whole(&myid, problem).about("myid"));
    };
    let text = membership.to_string();
    if text.len() > MAX_MEMBERSHIP_BYTES {
        let problem = "the server lines are longer than an election message can be";
        return Err(ConfigError::whole(&settings.file, problem));
    }
    let client = member.client.clone();
    let role = member.role;
    let listen = match &client {
        Some((addr, port)) => {
            let name = line_of(settings, my_id);
            agree(settings, &name, listen.as_ref(), addr, *port)?;
            listens_as_its_line_says(settings, &name, addr, *port);
            client.clone()
        }
        None => listen,
    };
    remark(settings, &membership, role);
    let client_is_static = client.is_none();
    Ok(Settled { listen, joined: Some(Joined { my_id, membership, client_is_static }) })
}

/// What ZooKeeper warns of, too.
fn remark(settings: &mut Settings, membership: &Membership, role: Role) {
    let count = membership.participants().count();
    let text = match count {
        _ if !membership.groups.is_empty() => None,
        1 => Some("one participant: the ensemble stops when it does".to_owned()),
        2 => Some(
            "two participants: the ensemble stops when either does; three survive the loss of one"
                .to_owned(),
        ),
        _ if count.is_multiple_of(2) => {
            Some(format!("{count} participants survive the loss of no more than {} do", count - 1))
        }
        _ => None,
    };
    if let Some(text) = text {
        settings.notice(NoticeLevel::Warning, None, text);
    }
    let low = |member: &Member| member.id & 0xff;
    let mut seen = std::collections::BTreeMap::new();
    for member in &membership.members {
        if let Some(other) = seen.insert(low(member), member.id) {
            let text = format!(
                "server.{other} and server.{}: session ids hold the lowest 8 bits of a server's \
                 number, which these have in common; sessions of both could be taken for one",
                member.id
            );
            settings.notice(NoticeLevel::Warning, None, text);
        }
    }
    let differs = settings.text("peerType").is_some_and(|text| text != role.to_string());
    // A default that the server line overrules is nobody's mistake.
    if differs && let Some(setting) = settings.given("peerType") {
        let place = setting.source.place(&settings.file);
        let text = format!("{place}: peerType: the server line says {role}, which counts");
        settings.notice(NoticeLevel::Warning, Some("peerType"), text);
    }
}

/// The name of a server's line as it is written, for instance `server.01`.
fn line_of(settings: &Settings, id: i64) -> String {
    let is_its =
        |name: &&str| name.strip_prefix("server.").and_then(|n| n.parse().ok()) == Some(id);
    let mut names = settings.members("server.N").map(|(name, _)| name);
    names.find(is_its).map_or_else(|| format!("server.{id}"), str::to_owned)
}

fn listens_as_its_line_says(settings: &mut Settings, name: &str, addr: &BindAddr, port: u16) {
    settings.came_to("clientPort", format!("{port}, from {name}"));
    settings.came_to("clientPortAddress", format!("{addr}, from {name}"));
}

/// Servers cannot be asked for what they do not offer themselves.
fn check_authentication(settings: &Settings) -> Result<(), ConfigError> {
    let enabled = settings.bool("quorum.auth.enableSasl");
    let learner = settings.bool("quorum.auth.learnerRequireSasl");
    for (name, needed, offered) in [
        ("quorum.auth.serverRequireSasl", "quorum.auth.enableSasl", enabled),
        ("quorum.auth.learnerRequireSasl", "quorum.auth.enableSasl", enabled),
        ("quorum.auth.serverRequireSasl", "quorum.auth.learnerRequireSasl", learner),
    ] {
        if settings.bool(name) && !offered {
            return Err(settings.bad(name, format_args!("needs {needed}=true")));
        }
    }
    Ok(())
}

/// The same server's client address given twice must be one address.
fn agree(
    settings: &Settings,
    name: &str,
    listen: Option<&Address>,
    addr: &BindAddr,
    port: u16,
) -> Result<(), ConfigError> {
    let Some((listen_addr, listen_port)) = listen else { return Ok(()) };
    let names = matches!(addr, BindAddr::Name(_)) || matches!(listen_addr, BindAddr::Name(_));
    let same_addr = listen_addr.is_all() || listen_addr == addr || names;
    if *listen_port == port && same_addr {
        return Ok(());
    }
    let problem = format!(
        "its client address {addr}:{port} differs from clientPort and clientPortAddress, {}:{}",
        listen_addr, listen_port
    );
    Err(settings.bad(name, problem))
}
