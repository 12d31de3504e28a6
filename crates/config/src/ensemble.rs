//! The `server.N` lines: whether they ask for an ensemble, and what a lone one says.
//!
//! A single participant boots as a standalone server, as in ZooKeeper: its image for containers
//! always writes one such line and leaves `clientPort` out, so the client port is the one after
//! the `;`. Anything that needs a second server is refused: to answer alone for an ensemble would
//! be to lose its data.

use std::path::Path;

use crate::config::BindAddr;
use crate::error::{ConfigError, printable};
use crate::files::Files;
use crate::properties;
use crate::settings::{BAD_ESCAPE, Settings, Source};
use crate::value::java_trim;

/// What follows `server.N=`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    participant: bool,
    /// Where its clients connect, if the line says so.
    client: Option<Address>,
}

/// Where clients connect.
type Address = (BindAddr, u16);

const FORM: &str = "must be host:port:electionPort[:participant|observer][;[address:]clientPort], \
                    with | between several addresses";

/// The most a membership file may hold.
const MAX_DYNAMIC_BYTES: usize = 1 << 20;

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

/// Refuses ensembles; with one participant, lets its line decide where clients connect.
pub(crate) fn settle(
    settings: &mut Settings,
    my_id: Option<i64>,
    listen: Option<Address>,
) -> Result<Option<Address>, ConfigError> {
    check_authentication(settings)?;
    let names: Vec<String> = settings.members("server.N").map(|(name, _)| name.into()).collect();
    let mut participants = Vec::new();
    let mut observer = None;
    for name in names {
        let (id, member) = read_member(settings, &name)?;
        if member.participant {
            participants.push((name, id, member));
        } else {
            observer = Some(name);
        }
    }
    if participants.len() > 1 {
        let count = participants.len();
        let name = &participants[1].0;
        return Err(settings.bad(
            name,
            format_args!(
                "{count} participants make an ensemble, which this version does not support yet; \
                 leave one server line, or none, for a standalone server"
            ),
        ));
    }
    if let Some(name) = observer {
        return Err(settings.bad(&name, "an observer needs an ensemble with participants"));
    }
    let Some((name, id, member)) = participants.pop() else { return Ok(listen) };
    let Some((addr, port)) = member.client else { return Ok(listen) };
    match my_id {
        Some(my_id) if my_id == id => agree(settings, &name, listen.as_ref(), &addr, port)?,
        // Its line says nothing about us, unless nobody else could be meant.
        Some(_) => return Ok(listen),
        None if listen.is_some() => return Ok(listen),
        None => {}
    }
    settings.came_to("clientPort", format!("{port}, from {name}"));
    settings.came_to("clientPortAddress", format!("{addr}, from {name}"));
    Ok(Some((addr, port)))
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

fn read_member(settings: &Settings, name: &str) -> Result<(i64, Member), ConfigError> {
    let id = name.strip_prefix("server.").and_then(|id| id.parse().ok());
    let Some(id) = id else {
        return Err(settings.bad(name, "what follows server. must be a server's number"));
    };
    let text = settings.given(name).map(|setting| setting.text.as_str()).unwrap_or_default();
    let several = settings.bool("multiAddress.enabled");
    match parse_member(text, several) {
        Ok(member) => Ok((id, member)),
        Err(problem) => Err(settings.bad(name, problem)),
    }
}

fn parse_member(text: &str, several: bool) -> Result<Member, &'static str> {
    let parts = java_split(text, ';');
    let (servers, client) = match parts[..] {
        [servers] => (servers, None),
        [servers, client] => (servers, Some(client)),
        _ => return Err(FORM),
    };
    let addresses = java_split(servers, '|');
    if addresses.len() > 1 && !several {
        return Err("several addresses need multiAddress.enabled=true");
    }
    let mut participant = None;
    for address in addresses {
        let parts = host_and_ports(address).ok_or(FORM)?;
        let (port, election_port, role) = match parts[..] {
            [_, port, election_port] => (port, election_port, None),
            [_, port, election_port, role] => (port, election_port, Some(role)),
            _ => return Err(FORM),
        };
        let port: u16 = port.parse().map_err(|_| FORM)?;
        let election_port: u16 = election_port.parse().map_err(|_| FORM)?;
        if port == election_port {
            return Err("the port and the election port must differ");
        }
        let role = match role.map(|role| java_trim(role).to_lowercase()).as_deref() {
            None => continue,
            Some("participant") => true,
            Some("observer") => false,
            Some(_) => return Err(FORM),
        };
        if *participant.get_or_insert(role) != role {
            return Err("all addresses of a server must have the same role");
        }
    }
    let client = client.map(parse_client).transpose()?;
    Ok(Member { participant: participant.unwrap_or(true), client })
}

fn parse_client(text: &str) -> Result<Address, &'static str> {
    let parts = host_and_ports(text).ok_or(FORM)?;
    let (addr, port) = match parts[..] {
        [port] => (BindAddr::All, port),
        [host, port] => (BindAddr::parse(host).ok_or(FORM)?, port),
        _ => return Err(FORM),
    };
    Ok((addr, port.parse().map_err(|_| FORM)?))
}

/// Splits at colons, keeping a bracketed IPv6 address whole. `None` if a bracket stays open.
fn host_and_ports(text: &str) -> Option<Vec<&str>> {
    let Some(rest) = text.strip_prefix('[') else { return Some(java_split(text, ':')) };
    let (host, rest) = rest.split_once(']')?;
    let ports = rest.strip_prefix(':')?;
    Some(std::iter::once(host).chain(java_split(ports, ':')).collect())
}

/// `String.split`: empty pieces at the end do not count.
fn java_split(text: &str, separator: char) -> Vec<&str> {
    let mut pieces: Vec<&str> = text.split(separator).collect();
    while pieces.len() > 1 && pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    pieces
}
