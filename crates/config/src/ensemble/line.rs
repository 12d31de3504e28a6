//! What follows `server.N=`: `host:port:electionPort[:role][|…][;[address:]clientPort]`
//! (`QuorumPeer.QuorumServer`).
//!
//! The line is taken apart here so that a mistake is found while its place in the file is known,
//! and put together again in the one form that servers compare. Names stay names: whether they can
//! be resolved is nobody's business before somebody connects.

use std::fmt;

use crate::config::BindAddr;
use crate::value::java_trim;

/// Where clients connect.
pub(crate) type Address = (BindAddr, u16);

/// Whether a server votes (`QuorumPeer.LearnerType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Votes, and may lead.
    Participant,
    /// Follows without a vote.
    Observer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Participant => "participant",
            Role::Observer => "observer",
        })
    }
}

/// One server line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The server's number.
    pub id: i64,
    /// Where its peers reach it, as `host:port:electionPort`; never empty.
    pub addresses: Vec<String>,
    /// Whether it votes.
    pub role: Role,
    /// Where its clients connect, if the line says so.
    pub client: Option<(BindAddr, u16)>,
}

/// The line as it stands in the text form of a membership, without the key.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.addresses.join("|"), self.role)?;
        match &self.client {
            Some((BindAddr::Name(name), port)) if name.contains(':') => {
                write!(f, ";[{name}]:{port}")
            }
            Some((addr, port)) => write!(f, ";{addr}:{port}"),
            None => Ok(()),
        }
    }
}

const FORM: &str = "must be host:port:electionPort[:participant|observer][;[address:]clientPort], \
                    with | between several addresses";

/// Reads what follows `server.N=`. `several`: `multiAddress.enabled`.
pub(crate) fn parse(id: i64, text: &str, several: bool) -> Result<Member, &'static str> {
    let parts = java_split(text, ';');
    let (servers, client) = match parts[..] {
        [servers] => (servers, None),
        [servers, client] => (servers, Some(client)),
        _ => return Err(FORM),
    };
    let texts = java_split(servers, '|');
    if texts.len() > 1 && !several {
        return Err("several addresses need multiAddress.enabled=true");
    }
    let mut addresses = Vec::with_capacity(texts.len());
    let mut role = None;
    for text in texts {
        let parts = host_and_ports(text).ok_or(FORM)?;
        let (host, port, election_port, its_role) = match parts[..] {
            [host, port, election_port] => (host, port, election_port, None),
            [host, port, election_port, role] => (host, port, election_port, Some(role)),
            _ => return Err(FORM),
        };
        if !is_host(host) {
            return Err(FORM);
        }
        let port: u16 = port.parse().map_err(|_| FORM)?;
        let election_port: u16 = election_port.parse().map_err(|_| FORM)?;
        if port == election_port {
            return Err("the port and the election port must differ");
        }
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        addresses.push(format!("{open}{host}{close}:{port}:{election_port}"));
        let Some(its_role) = its_role else { continue };
        let its_role = match java_trim(its_role).to_lowercase().as_str() {
            "participant" => Role::Participant,
            "observer" => Role::Observer,
            _ => return Err(FORM),
        };
        if *role.get_or_insert(its_role) != its_role {
            return Err("all addresses of a server must have the same role");
        }
    }
    let client = client.map(parse_client).transpose()?;
    Ok(Member { id, addresses, role: role.unwrap_or(Role::Participant), client })
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

/// Whether a name or address could look like this. What has a meaning in the text cannot.
fn is_host(text: &str) -> bool {
    let strange = |c: char| c.is_control() || c.is_whitespace() || "[]|;\\=".contains(c);
    !text.is_empty() && !text.contains(strange)
}

/// Splits at colons, keeping a bracketed IPv6 address whole. `None` if a bracket stays open.
fn host_and_ports(text: &str) -> Option<Vec<&str>> {
    let Some(rest) = text.strip_prefix('[') else { return Some(java_split(text, ':')) };
    let (host, rest) = rest.split_once(']')?;
    let ports = rest.strip_prefix(':')?;
    Some(std::iter::once(host).chain(java_split(ports, ':')).collect())
}

/// `String.split`: empty pieces at the end do not count.
pub(super) fn java_split(text: &str, separator: char) -> Vec<&str> {
    let mut pieces: Vec<&str> = text.split(separator).collect();
    while pieces.len() > 1 && pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    pieces
}
