//! The ensemble's configuration, and which sets of its servers decide.
//!
//! A [`QuorumVerifier`] is one version of the membership: every server with its addresses and its
//! role, and the rule that tells a quorum from a mere crowd. By default that is a majority of the
//! participants; with `group.N` and `weight.N` lines it is a majority of the groups, in each of
//! which the servers that agree outweigh half of it. A server of weight 0 takes part but tips no
//! scale, and nobody elects it.
//!
//! The text form is what `/zookeeper/config`, the dynamic file and every election notification
//! hold. It is read and written as `QuorumMaj`, `QuorumHierarchical` and `QuorumPeer.QuorumServer`
//! do, down to the order of lines, which there is that of a Java `HashMap` and can be told from the
//! ids. Hosts are kept as text and compared as text: a name that resolves differently on two
//! servers, or not at all, is still the same name.
//!
//! While a change of membership is under way two versions count: the committed one and the last
//! one seen. [`Membership`] holds both; to decide takes a quorum of each.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::limits::CONFIG_TEXT_BYTES_MAX;
use oxkeeper_proto::notification::Address;
use thiserror::Error;

use crate::wrong::{self, Wrong};

mod properties;

/// Whether a server votes (`QuorumPeer.LearnerType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Votes, and may lead.
    Participant,
    /// Follows without a vote.
    Observer,
}

/// One of the addresses at which a server's peers reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    /// A name or an IP address, without brackets.
    pub host: Box<str>,
    /// The quorum port: followers connect to their leader's.
    pub port: u16,
    /// The election port.
    pub election_port: u16,
}

/// One member of the ensemble (`QuorumPeer.QuorumServer`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumServer {
    /// Its id.
    pub sid: Sid,
    /// Where its peers reach it; never empty.
    pub addresses: Vec<ServerAddress>,
    /// Whether it votes.
    pub role: Role,
    /// Where its clients connect, if the configuration says so.
    pub client: Option<Address>,
    /// The client address was taken from `clientPort` of the static file. It is then no part of
    /// the text (`isClientAddrFromStatic`).
    pub client_is_static: bool,
}

/// One version of the ensemble's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumVerifier {
    version: i64,
    members: BTreeMap<Sid, QuorumServer>,
    voters: usize,
    hierarchy: Option<Hierarchy>,
}

/// Groups and weights (`QuorumHierarchical`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Hierarchy {
    group_of: BTreeMap<Sid, i64>,
    weights: BTreeMap<Sid, i64>,
    /// Per group: the members that vote, with their weights, and the weight of all that are listed.
    groups: BTreeMap<i64, Group>,
    /// Groups that weigh anything.
    count: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Group {
    voters: Vec<(Sid, i64)>,
    weight: i64,
}

/// Why a text is no configuration: the fault of whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// No notification could carry it.
    #[error("the configuration is longer than {CONFIG_TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// A `\u` without four hexadecimal digits.
    #[error("a \\u in the configuration is not followed by four hexadecimal digits")]
    Escape,
    /// Only membership may stand in it.
    #[error("{0:?}: only server, group, weight and version may stand in a configuration")]
    Key(String),
    /// Neither of the forms of a server.
    #[error(
        "{key}={value:?} must be host:port:electionPort[:participant|observer]\
         [;[address:]clientPort], with | between several addresses"
    )]
    Form {
        /// The line's key.
        key: String,
        /// What followed it.
        value: String,
    },
    /// A number was expected.
    #[error("{key}: {value:?} is not a number that can stand there")]
    Number {
        /// The line's key.
        key: String,
        /// What is no number.
        value: String,
    },
    /// Neither participant nor observer, or both.
    #[error("server.{0}: its role must be participant or observer, the same for all addresses")]
    Role(Sid),
    /// More than one address without the setting for it.
    #[error("server.{0}: several addresses need multiAddress.enabled=true")]
    MultiAddress(Sid),
    /// Both ports are one.
    #[error("server.{0}: the port and the election port must differ")]
    SamePorts(Sid),
    /// Listed twice.
    #[error("server.{0} is in more than one group")]
    TwoGroups(Sid),
    /// With groups, every participant is in one.
    #[error("server.{0} is in no group")]
    NoGroup(Sid),
    /// Listed in a group, but neither a participant nor given a weight.
    #[error("server.{0} is in a group, but is no participant and has no weight")]
    NoWeight(Sid),
    /// Nobody could decide anything.
    #[error("the configuration names no participant")]
    NoParticipant,
}

impl QuorumVerifier {
    /// Reads the text form. `multi_address`: the setting `multiAddress.enabled`, without which a
    /// server may have one address only.
    pub fn parse(text: &str, multi_address: bool) -> Result<QuorumVerifier, ConfigError> {
        if text.len() > CONFIG_TEXT_BYTES_MAX {
            return Err(ConfigError::TooLong);
        }
        let mut members = BTreeMap::new();
        let mut version = 0;
        let mut hierarchy: Option<Hierarchy> = None;
        for (key, value) in properties::read(text).ok_or(ConfigError::Escape)? {
            if let Some(sid) = key.strip_prefix("server.") {
                let server = QuorumServer::parse(Sid(number(&key, sid)?), &value, multi_address)?;
                members.insert(server.sid, server);
            } else if let Some(group) = key.strip_prefix("group.") {
                let group = number(&key, group)?;
                hierarchy.get_or_insert_default().add_group(&key, group, &value)?;
            } else if let Some(sid) = key.strip_prefix("weight.") {
                let sid = Sid(number(&key, sid)?);
                hierarchy.get_or_insert_default().add_weight(&key, sid, &value)?;
            } else if key == "version" {
                version = i64::from_str_radix(&value, 16)
                    .map_err(|_| ConfigError::Number { key, value: shown(&value) })?;
            } else {
                return Err(ConfigError::Key(shown(&key)));
            }
        }
        if let Some(hierarchy) = &mut hierarchy {
            hierarchy.settle(&members)?;
        }
        Self::checked(members, version, hierarchy)
    }

    /// A configuration of majorities.
    ///
    /// # Errors
    /// [`ConfigError::NoParticipant`].
    pub fn majority(
        members: impl IntoIterator<Item = QuorumServer>,
        version: i64,
    ) -> Result<QuorumVerifier, ConfigError> {
        let members = members.into_iter().map(|server| (server.sid, server)).collect();
        Self::checked(members, version, None)
    }

    fn checked(
        members: BTreeMap<Sid, QuorumServer>,
        version: i64,
        hierarchy: Option<Hierarchy>,
    ) -> Result<QuorumVerifier, ConfigError> {
        let voters = members.values().filter(|server| server.role == Role::Participant).count();
        if voters == 0 {
            return Err(ConfigError::NoParticipant);
        }
        Ok(QuorumVerifier { version, members, voters, hierarchy })
    }

    /// The version: the zxid of the transaction that made it, 0 for the configuration that the
    /// ensemble began with.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The same configuration under another version.
    pub fn with_version(mut self, version: i64) -> QuorumVerifier {
        self.version = version;
        self
    }

    /// The same configuration, with the client address that a member's static file gives it. That
    /// is no part of the text, and nothing changes for a member that has one already.
    pub fn with_static_client(mut self, sid: Sid, client: Address) -> QuorumVerifier {
        if let Some(server) = self.members.get_mut(&sid).filter(|server| server.client.is_none()) {
            server.client = Some(client);
            server.client_is_static = true;
        }
        self
    }

    /// Whether groups decide (`QuorumHierarchical`) instead of a plain majority (`QuorumMaj`).
    pub fn is_hierarchical(&self) -> bool {
        self.hierarchy.is_some()
    }

    /// A member.
    pub fn server(&self, sid: Sid) -> Option<&QuorumServer> {
        self.members.get(&sid)
    }

    /// All members by ascending id.
    pub fn members(&self) -> impl Iterator<Item = &QuorumServer> {
        self.members.values()
    }

    /// The participants' ids, ascending.
    pub fn voters(&self) -> impl Iterator<Item = Sid> + '_ {
        self.members().filter(|server| server.role == Role::Participant).map(|server| server.sid)
    }

    /// Whether `sid` is a participant.
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.server(sid).is_some_and(|server| server.role == Role::Participant)
    }

    /// Whether `sid` is an observer.
    pub fn is_observer(&self, sid: Sid) -> bool {
        self.server(sid).is_some_and(|server| server.role == Role::Observer)
    }

    /// What a server's voice weighs; nothing is known about the weight of strangers.
    pub fn weight(&self, sid: Sid) -> Option<i64> {
        match &self.hierarchy {
            None => self.server(sid).map(|_| 1),
            Some(hierarchy) => hierarchy.weights.get(&sid).copied(),
        }
    }

    /// Whether the servers for which `agrees` is true are a quorum. Only participants are asked;
    /// allocates nothing (`containsQuorum`).
    pub fn is_quorum(&self, agrees: impl Fn(Sid) -> bool) -> bool {
        match &self.hierarchy {
            None => self.voters().filter(|&sid| agrees(sid)).count() > self.voters / 2,
            Some(hierarchy) => {
                let won = hierarchy.groups.values().filter(|group| group.is_won(&agrees)).count();
                let half = wrong::is(Wrong::HalfTheGroups) && 2 * won >= hierarchy.count;
                let one = wrong::is(Wrong::OneGroup) && won > 0;
                won > hierarchy.count / 2 || half || one
            }
        }
    }

    /// Whether Java would call the two equal: the same version, or the same servers, groups and
    /// weights whatever the version. A majority never equals a hierarchy.
    pub fn agrees_with(&self, other: &QuorumVerifier) -> bool {
        if self.is_hierarchical() != other.is_hierarchical() {
            return false;
        }
        self.version == other.version
            || (self.members.len() == other.members.len()
                && self.members().zip(other.members()).all(|(ours, theirs)| ours.is_same(theirs))
                && self.hierarchy == other.hierarchy)
    }
}

impl QuorumVerifier {
    /// Whether both claim to be made by the same reconfiguration and name other voters, observers,
    /// groups or weights: they are of two ensembles, or somebody has edited one. Addresses may
    /// differ, as they do while an operator moves the servers one by one.
    pub fn conflicts_with(&self, other: &QuorumVerifier) -> bool {
        let roles = |config: &QuorumVerifier| {
            config.members().map(|server| (server.sid, server.role)).collect::<Vec<_>>()
        };
        self.version > 0
            && self.version == other.version
            && (self.hierarchy != other.hierarchy || roles(self) != roles(other))
    }
}

/// The text form: a line per server, group and weight, then the version; no newline at the end.
impl fmt::Display for QuorumVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sid in hash_map_order(self.members.keys().map(|sid| sid.0)) {
            writeln!(f, "server.{sid}={}", self.members[&Sid(sid)])?;
        }
        if let Some(hierarchy) = &self.hierarchy {
            let grouped = hash_map_order(hierarchy.group_of.keys().map(|sid| sid.0));
            for group in hash_map_order(hierarchy.groups.keys().copied()) {
                let in_it = |sid: &&i64| hierarchy.group_of[&Sid(**sid)] == group;
                let sids: Vec<String> = grouped.iter().filter(in_it).map(i64::to_string).collect();
                writeln!(f, "group.{group}={}", sids.join(":"))?;
            }
            for sid in hash_map_order(hierarchy.weights.keys().map(|sid| sid.0)) {
                writeln!(f, "weight.{sid}={}", hierarchy.weights[&Sid(sid)])?;
            }
        }
        write!(f, "version={:x}", self.version)
    }
}

impl Hierarchy {
    fn add_group(&mut self, key: &str, group: i64, value: &str) -> Result<(), ConfigError> {
        self.groups.entry(group).or_default();
        for sid in java_split(value, ':') {
            let sid = Sid(number(key, sid)?);
            if self.group_of.insert(sid, group).is_some() {
                return Err(ConfigError::TwoGroups(sid));
            }
        }
        Ok(())
    }

    fn add_weight(&mut self, key: &str, sid: Sid, value: &str) -> Result<(), ConfigError> {
        let weight: i64 = number(key, value)?;
        // A negative one could turn a majority into a minority. A sum of this many fits.
        if !(0..=i64::from(u32::MAX)).contains(&weight) {
            return Err(ConfigError::Number { key: key.to_owned(), value: shown(value) });
        }
        self.weights.insert(sid, weight);
        Ok(())
    }

    /// Fills in the weight 1 of participants that have none, and adds up the groups.
    fn settle(&mut self, members: &BTreeMap<Sid, QuorumServer>) -> Result<(), ConfigError> {
        let is_voter = |sid| {
            members.get(&sid).is_some_and(|server: &QuorumServer| server.role == Role::Participant)
        };
        for &sid in members.keys().filter(|&&sid| is_voter(sid)) {
            if !self.group_of.contains_key(&sid) {
                return Err(ConfigError::NoGroup(sid));
            }
            self.weights.entry(sid).or_insert(1);
        }
        for (&sid, group) in &self.group_of {
            let weight = *self.weights.get(&sid).ok_or(ConfigError::NoWeight(sid))?;
            let group = self.groups.entry(*group).or_default();
            group.weight += weight;
            if is_voter(sid) {
                group.voters.push((sid, weight));
            }
        }
        self.count = self.groups.values().filter(|group| group.weight > 0).count();
        Ok(())
    }
}

impl Group {
    fn is_won(&self, agrees: impl Fn(Sid) -> bool) -> bool {
        let weights = self.voters.iter().filter(|(sid, _)| agrees(*sid)).map(|(_, weight)| weight);
        let agreed: i64 = weights.sum();
        let half = wrong::is(Wrong::HalfTheWeight) && agreed > 0 && 2 * agreed >= self.weight;
        agreed > self.weight / 2 || half
    }
}

impl QuorumServer {
    /// Reads what follows `server.N=`.
    pub fn parse(sid: Sid, value: &str, multi_address: bool) -> Result<QuorumServer, ConfigError> {
        let form = || ConfigError::Form { key: format!("server.{sid}"), value: shown(value) };
        let parts = java_split(value, ';');
        let (servers, client) = match parts[..] {
            [servers] => (servers, None),
            [servers, client] => (servers, Some(client)),
            _ => return Err(form()),
        };
        let texts = java_split(servers, '|');
        if texts.len() > 1 && !multi_address {
            return Err(ConfigError::MultiAddress(sid));
        }
        let mut addresses: Vec<ServerAddress> = Vec::with_capacity(texts.len());
        let mut role = None;
        for text in texts {
            let parts = host_and_ports(text).ok_or_else(form)?;
            let (host, port, election_port, its_role) = match parts[..] {
                [host, port, election_port] => (host, port, election_port, None),
                [host, port, election_port, role] => (host, port, election_port, Some(role)),
                _ => return Err(form()),
            };
            if !is_host(host) {
                return Err(form());
            }
            let port = port.parse().map_err(|_| form())?;
            let election_port = election_port.parse().map_err(|_| form())?;
            if port == election_port {
                return Err(ConfigError::SamePorts(sid));
            }
            if let Some(text) = its_role {
                let its_role = Role::parse(text).ok_or(ConfigError::Role(sid))?;
                if *role.get_or_insert(its_role) != its_role {
                    return Err(ConfigError::Role(sid));
                }
            }
            let address = ServerAddress { host: host.into(), port, election_port };
            if !addresses.iter().any(|known| known.is_same(&address)) {
                addresses.push(address);
            }
        }
        let client = match client {
            Some(text) => Some(client_address(text).ok_or_else(form)?),
            None => None,
        };
        let role = role.unwrap_or(Role::Participant);
        Ok(QuorumServer { sid, addresses, role, client, client_is_static: false })
    }

    /// Where its election port is, in the order of preference.
    pub fn election_addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.addresses.iter().map(|at| Address { host: at.host.clone(), port: at.election_port })
    }

    /// Where its quorum port is, in the order of preference.
    pub fn quorum_addresses(&self) -> impl Iterator<Item = Address> + '_ {
        self.addresses.iter().map(|at| Address { host: at.host.clone(), port: at.port })
    }

    /// As Java compares servers: the order of addresses does not count, nor the case of names.
    pub fn is_same(&self, other: &QuorumServer) -> bool {
        let client = match (&self.client, &other.client) {
            (Some(ours), Some(theirs)) => {
                ours.port == theirs.port && ours.host.eq_ignore_ascii_case(&theirs.host)
            }
            (None, None) => true,
            _ => false,
        };
        let in_other = |ours: &ServerAddress| other.addresses.iter().any(|at| at.is_same(ours));
        self.sid == other.sid
            && self.role == other.role
            && client
            && self.addresses.len() == other.addresses.len()
            && self.addresses.iter().all(in_other)
    }
}

/// What follows `server.N=`: addresses by name, and the role once, at their end.
impl fmt::Display for QuorumServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses: Vec<&ServerAddress> = self.addresses.iter().collect();
        addresses.sort_by(|one, other| one.host.cmp(&other.host));
        for (place, at) in addresses.into_iter().enumerate() {
            let bar = if place == 0 { "" } else { "|" };
            write!(f, "{bar}{}:{}:{}", Bracketed(&at.host), at.port, at.election_port)?;
        }
        f.write_str(match self.role {
            Role::Participant => ":participant",
            Role::Observer => ":observer",
        })?;
        match &self.client {
            Some(at) if !self.client_is_static => {
                write!(f, ";{}:{}", Bracketed(&at.host), at.port)
            }
            _ => Ok(()),
        }
    }
}

impl ServerAddress {
    fn is_same(&self, other: &ServerAddress) -> bool {
        self.port == other.port
            && self.election_port == other.election_port
            && self.host.eq_ignore_ascii_case(&other.host)
    }
}

impl Role {
    fn parse(text: &str) -> Option<Role> {
        match java_trim(text).to_lowercase().as_str() {
            "participant" => Some(Role::Participant),
            "observer" => Some(Role::Observer),
            _ => None,
        }
    }
}

/// The committed configuration and, while it is being changed, the last one seen.
#[derive(Debug, Clone)]
pub struct Membership {
    current: Arc<QuorumVerifier>,
    last_seen: Option<Arc<QuorumVerifier>>,
    /// See [`Membership::hear`].
    heard: Option<Arc<QuorumVerifier>>,
    /// See [`Membership::with_history`].
    in_history: Option<Arc<QuorumVerifier>>,
}

impl Membership {
    /// Of a committed configuration (`quorumVerifier`) and the last proposed one
    /// (`lastSeenQuorumVerifier`).
    pub fn new(current: Arc<QuorumVerifier>, last_seen: Option<Arc<QuorumVerifier>>) -> Membership {
        Membership { current, last_seen, heard: None, in_history: None }
    }

    /// With the configuration that the recovered tree ends with, if it has one. Where it is newer
    /// than the committed one it was proposed at least, and this server, which has it in its log,
    /// has seen it, whatever became of its files: it is the last seen.
    ///
    /// A committed configuration of version 0 is none that the ensemble has agreed on, but an
    /// operator's: what an older ensemble's data holds has no say in that, as with Apache. It has
    /// once a configuration with a version is committed.
    pub fn with_history(mut self, config: Option<Arc<QuorumVerifier>>) -> Membership {
        self.in_history = config;
        self.heed_history();
        self
    }

    /// History ends with this transaction from now on.
    pub(crate) fn cut_history(&mut self, last: Zxid) {
        if self.in_history.as_ref().is_some_and(|config| config.version > last.0) {
            self.in_history = None;
        }
    }

    /// True if the last seen configuration is another now.
    fn heed_history(&mut self) -> bool {
        let Some(config) = &self.in_history else { return false };
        let seen = self.last_seen.as_ref().map_or(0, |seen| seen.version);
        let newer = config.version > self.current.version.max(seen) && self.current.version > 0;
        if newer {
            self.last_seen = Some(Arc::clone(config));
        }
        newer
    }

    /// Makes `config` the last one seen.
    pub(crate) fn see(&mut self, config: Arc<QuorumVerifier>) {
        self.last_seen = Some(config);
    }

    /// Others need a quorum of `config` as well. Its members may be voted for and are told our
    /// votes; its quorums are theirs to count, as this server's history knows nothing of it.
    pub(crate) fn hear(&mut self, config: Arc<QuorumVerifier>) {
        self.heard = Some(config);
    }

    /// What was heard of a proposed configuration does not count any more.
    pub(crate) fn forget_heard(&mut self) {
        self.heard = None;
    }

    /// The committed configuration.
    pub fn current(&self) -> &Arc<QuorumVerifier> {
        &self.current
    }

    /// The last configuration seen, committed or not.
    pub fn last_seen(&self) -> Option<&Arc<QuorumVerifier>> {
        self.last_seen.as_ref()
    }

    /// Whether `sid` votes, but by nothing that this server's history knows of.
    pub(crate) fn is_hearsay(&self, sid: Sid) -> bool {
        let mut in_history = core::iter::once(&self.current).chain(&self.last_seen);
        self.is_voter(sid) && !in_history.any(|config| config.is_voter(sid))
    }

    /// All that name servers and where they are: the committed one, the last seen, and one that
    /// others need.
    pub fn known(&self) -> impl Iterator<Item = &Arc<QuorumVerifier>> {
        core::iter::once(&self.current).chain(&self.last_seen).chain(&self.heard)
    }

    /// Makes `config` the committed one, and the last seen unless a newer one was. True if the last
    /// seen is one that history holds, and was not before.
    pub fn commit(&mut self, config: Arc<QuorumVerifier>) -> bool {
        let is_over = |other: &Arc<QuorumVerifier>| other.version <= config.version;
        if self.last_seen.as_ref().is_some_and(is_over) {
            self.last_seen = None;
        }
        if self.heard.as_ref().is_some_and(is_over) {
            self.heard = None;
        }
        self.current = config;
        self.heed_history()
    }

    /// The participants of all configurations, ascending.
    pub fn voters(&self) -> BTreeSet<Sid> {
        self.known().flat_map(|config| config.voters()).collect()
    }

    /// Whether `sid` votes in any of the configurations.
    pub fn is_voter(&self, sid: Sid) -> bool {
        self.known().any(|config| config.is_voter(sid))
    }

    /// Whether those for which `agrees` is true are a quorum of the committed configuration, and of
    /// the last seen one if that is newer (`SyncedLearnerTracker`).
    pub fn is_quorum(&self, agrees: impl Fn(Sid) -> bool) -> bool {
        let newer = self.last_seen.as_ref().filter(|seen| seen.version > self.current.version);
        self.current.is_quorum(&agrees) && newer.is_none_or(|seen| seen.is_quorum(&agrees))
    }

    /// What a server's voice weighs where it is known; 1 otherwise.
    pub fn weight(&self, sid: Sid) -> i64 {
        self.known().find_map(|config| config.weight(sid)).unwrap_or(1)
    }
}

/// An IPv6 address needs brackets before a port.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// Foreign text in a message: its beginning is enough.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

fn number<T: core::str::FromStr>(key: &str, text: &str) -> Result<T, ConfigError> {
    text.parse().map_err(|_| ConfigError::Number { key: shown(key), value: shown(text) })
}

fn client_address(text: &str) -> Option<Address> {
    let (host, port) = match host_and_ports(text)?[..] {
        [port] => ("0.0.0.0", port),
        [host, port] => (host, port),
        _ => return None,
    };
    is_host(host).then_some(())?;
    Some(Address { host: host.into(), port: port.parse().ok()? })
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
    Some(core::iter::once(host).chain(java_split(ports, ':')).collect())
}

/// `String.split`: empty pieces at the end do not count.
fn java_split(text: &str, separator: char) -> Vec<&str> {
    let mut pieces: Vec<&str> = text.split(separator).collect();
    while pieces.len() > 1 && pieces.last().is_some_and(|piece| piece.is_empty()) {
        pieces.pop();
    }
    pieces
}

/// `String.trim`: everything up to the space, from both ends.
fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// The order in which a Java `HashMap<Long, _>` of these keys goes through them: by place in a
/// table that starts with 16 and doubles whenever it is more than three quarters full. Keys that
/// share a place come in ascending order here; there, it depends on the table's history.
fn hash_map_order(keys: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut keys: Vec<i64> = keys.collect();
    let mut places = 16;
    while keys.len() > places / 4 * 3 {
        places *= 2;
    }
    keys.sort_by_key(|&key| {
        let hash = (key ^ (key as u64 >> 32) as i64) as u32;
        ((hash ^ (hash >> 16)) as usize & (places - 1), key)
    });
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = "server.1=127.0.0.1:24121:24141:participant;127.0.0.1:24101\n\
                         server.2=127.0.0.1:24122:24142:participant;127.0.0.1:24102\n\
                         server.3=127.0.0.1:24123:24143:participant;127.0.0.1:24103\n";

    fn parse(text: &str) -> QuorumVerifier {
        QuorumVerifier::parse(text, true).unwrap()
    }

    fn error(text: &str) -> String {
        QuorumVerifier::parse(text, false).unwrap_err().to_string()
    }

    fn decides(config: &QuorumVerifier, sids: &[i64]) -> bool {
        config.is_quorum(|sid| sids.contains(&sid.0))
    }

    #[test]
    fn what_java_sent_comes_out_as_it_went_in() {
        let several = "server.1=127.0.0.1:24121:24141|127.0.0.2:24126:24146:participant;\
                       127.0.0.1:24101\nversion=100000000";
        let observer = format!("{THREE}server.4=127.0.0.1:24124:24144:observer;127.0.0.1:24104\n");
        for text in [
            format!("{THREE}version=0"),
            format!("{observer}version=100000003"),
            several.to_owned(),
            "server.1=[::1]:2:3:participant;[fe80::1]:4\nversion=ffffffff".to_owned(),
        ] {
            assert_eq!(parse(&text).to_string(), text);
        }
    }

    #[test]
    fn short_forms_are_written_out() {
        let config = parse("version=1f\nserver.2=b:1:2:OBSERVER\nserver.1=a:1:2;2181\n");
        assert_eq!(
            config.to_string(),
            "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:observer\nversion=1f"
        );
        assert_eq!(
            parse("server.1=b:1:2|a:3:4\n").to_string(),
            "server.1=a:3:4|b:1:2:participant\nversion=0"
        );
        // A properties file: comments, other separators, a line continued, an escape, a repetition.
        let config = parse("# note\nserver.1 : a:\\\n  1:2\n!\nserver.1=\\u0062:1:2\n\nversion 3");
        assert_eq!(config.to_string(), "server.1=b:1:2:participant\nversion=3");
    }

    #[test]
    fn lines_come_in_the_order_of_a_java_hash_map() {
        let ids = |text: String| -> Vec<i64> {
            let id = |line: &str| line.strip_prefix("server.")?.split('=').next()?.parse().ok();
            text.lines().filter_map(id).collect()
        };
        let of = |ids: &[i64]| -> String {
            ids.iter().map(|id| format!("server.{id}=a{id}:1:2\n")).collect()
        };
        // By place in a table of 16, which becomes 32 with the 13th entry.
        assert_eq!(ids(parse(&of(&[1, 2, 17, 16])).to_string()), [16, 1, 17, 2]);
        let twelve: Vec<i64> = (5..=16).collect();
        assert_eq!(ids(parse(&of(&twelve)).to_string())[..3], [16, 5, 6]);
        let thirteen: Vec<i64> = (5..=17).collect();
        assert_eq!(ids(parse(&of(&thirteen)).to_string()), thirteen);
        let long = parse(&of(&[5_000_000_000, 3, -1]));
        assert_eq!(ids(long.to_string()), [-1, 3, 5_000_000_000].map(|id: i64| id));
    }

    #[test]
    fn a_majority_of_the_participants_decides() {
        let config = parse(&format!("{THREE}server.4=d:1:2:observer\n"));
        assert!(decides(&config, &[1, 3]));
        assert!(!decides(&config, &[2, 4, 9]), "observers and strangers have no voice");
        let four = parse("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2");
        assert!(!decides(&four, &[1, 2]));
        assert!(decides(&four, &[1, 2, 4]));
        assert_eq!(config.voters().collect::<Vec<_>>(), [Sid(1), Sid(2), Sid(3)]);
        assert!(config.is_observer(Sid(4)) && !config.is_voter(Sid(4)) && !config.is_voter(Sid(5)));
    }

    /// Three groups of three, the last of which weighs nothing.
    fn hierarchy() -> QuorumVerifier {
        let servers: String = (1..=9).map(|id| format!("server.{id}=h:{id}:1{id}\n")).collect();
        parse(&format!(
            "{servers}group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\n\
             weight.1=3\nweight.7=0\nweight.8=0\nweight.9=0\nversion=7"
        ))
    }

    #[test]
    fn groups_decide_by_weight_and_weightless_ones_not_at_all() {
        let config = hierarchy();
        assert!(decides(&config, &[1, 4, 5]), "server 1 outweighs its group alone");
        assert!(!decides(&config, &[2, 3, 4, 5, 6]), "2 of 5 is no half of group 1");
        assert!(
            !decides(&config, &[1, 7, 8, 9]),
            "a group without weight is not one of the groups"
        );
        assert!(!decides(&config, &[1, 4]), "one of three is no half of group 2");
        let even = parse(&config.to_string().replace("weight.1=3", "weight.1=2"));
        assert!(!decides(&even, &[2, 3, 4, 5, 6]), "2 of 4 is half of group 1, and no more");
        assert!(!decides(&config, &[]));
        assert_eq!((config.weight(Sid(1)), config.weight(Sid(9))), (Some(3), Some(0)));
        assert_eq!(config.weight(Sid(10)), None);
    }

    #[test]
    fn groups_are_written_as_java_writes_them() {
        let config = hierarchy();
        let text = config.to_string();
        assert!(text.ends_with(
            "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\nweight.1=3\nweight.2=1\nweight.3=1\n\
             weight.4=1\nweight.5=1\nweight.6=1\nweight.7=0\nweight.8=0\nweight.9=0\nversion=7"
        ));
        assert_eq!(parse(&text), config);
    }

    #[test]
    fn equality_is_javas() {
        let config = parse(&format!("{THREE}version=5"));
        assert!(config.agrees_with(&parse(&format!("{THREE}version=6"))));
        let moved = THREE.replace("24122", "24129");
        assert!(!config.agrees_with(&parse(&format!("{moved}version=6"))));
        assert!(
            config.agrees_with(&parse(&format!("{moved}version=5"))),
            "a version names one config"
        );
        assert!(!config.agrees_with(&parse(&format!("{THREE}server.4=d:1:2\nversion=6"))));
        let observer = THREE.replace("24143:participant", "24143:observer");
        assert!(!config.agrees_with(&parse(&format!("{observer}version=6"))));
        assert!(!hierarchy().agrees_with(&config));
        let weighed = parse(&hierarchy().to_string().replace("weight.1=3", "weight.1=4"));
        assert!(!hierarchy().agrees_with(&weighed.with_version(8)));
        // Names are compared as names, in any case and order.
        let one = parse("server.1=A.example:1:2|b:3:4;c:5\nversion=1");
        assert!(one.agrees_with(&parse("server.1=b:3:4|a.EXAMPLE:1:2;C:5\nversion=2")));
        assert!(!one.agrees_with(&parse("server.1=b:3:4|a.example:1:2;c:6\nversion=2")));
    }

    #[test]
    fn a_static_client_address_is_no_part_of_the_text() {
        let mut server = QuorumServer::parse(Sid(1), "a:1:2;b:3", false).unwrap();
        assert_eq!(server.to_string(), "a:1:2:participant;b:3");
        server.client_is_static = true;
        assert_eq!(server.to_string(), "a:1:2:participant");
        let election: Vec<_> = server.election_addresses().collect();
        assert_eq!(election, [Address { host: "a".into(), port: 2 }]);
        assert_eq!(server.quorum_addresses().next().unwrap().port, 1);
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_reason() {
        for (text, part) in [
            ("", "no participant"),
            ("server.1=a:1:2:observer", "no participant"),
            ("server.1=a:1", "must be host:port:electionPort"),
            ("server.1=a:1:2;3;4", "must be host:port:electionPort"),
            ("server.1=[::1:1:2", "must be host:port:electionPort"),
            ("server.1=a:1:70000", "must be host:port:electionPort"),
            ("server.1=:1:2", "must be host:port:electionPort"),
            ("server.1=a b:1:2", "must be host:port:electionPort"),
            ("server.1=a:1:2;c\\\\d:3", "must be host:port:electionPort"),
            ("server.1=a:1:1", "must differ"),
            ("server.1=a:1:2:leader", "participant or observer"),
            ("server.1=a:1:2|b:1:2", "multiAddress.enabled"),
            ("server.x=a:1:2", "is not a number"),
            ("server.1=a:1:2\nversion=zz", "version: \"zz\" is not a number"),
            ("server.1=a:1:2\ntickTime=5", "\"tickTime\": only server"),
            ("server.1=a:1:2\ngroup=1", "\"group\": only server"),
            ("server.1=a:1:2\ngroup.1=1:1", "more than one group"),
            ("server.1=a:1:2\ngroup.1=2\nweight.2=1", "server.1 is in no group"),
            ("server.1=a:1:2\ngroup.1=1:2", "server.2 is in a group"),
            ("server.1=a:1:2\ngroup.1=1\nweight.1=-1", "is not a number"),
            ("server.1=a:1:2\ngroup.1=1\nweight.1=99999999999999", "is not a number"),
            ("server.1=\\u12", "four hexadecimal digits"),
        ] {
            assert!(error(text).contains(part), "{text:?}: {}", error(text));
        }
        assert_eq!(error(&"#".repeat(CONFIG_TEXT_BYTES_MAX + 1)), ConfigError::TooLong.to_string());
        assert!(error(&format!("server.1={}", "x".repeat(9_000))).len() < 300);
    }

    #[test]
    fn while_a_change_is_under_way_both_configurations_decide() {
        let old = Arc::new(parse(&format!("{THREE}version=1")));
        let new = "server.3=a:1:2\nserver.4=b:1:2\nserver.5=c:1:2\nversion=2";
        let mut both = Membership::new(Arc::clone(&old), Some(Arc::new(parse(new))));
        let decides = |both: &Membership, sids: &[i64]| both.is_quorum(|sid| sids.contains(&sid.0));
        assert!(!decides(&both, &[1, 2, 3]) && !decides(&both, &[3, 4, 5]));
        assert!(decides(&both, &[2, 3, 4]));
        assert_eq!(both.voters().len(), 5);
        assert!(both.is_voter(Sid(5)));
        // An older one seen long ago has no say, but its servers are still heard.
        let stale = Membership::new(Arc::new(parse(new)), Some(Arc::clone(&old)));
        assert!(decides(&stale, &[4, 5]) && stale.is_voter(Sid(1)));
        both.commit(Arc::new(parse(new)));
        assert!(decides(&both, &[4, 5]) && !both.is_voter(Sid(1)));
    }

    mod any_text {
        use proptest::prelude::*;

        use super::*;

        /// Something like lines of a configuration, right and wrong ones.
        const LINES: &str = "((server\\.[1-4]=([ab]{1,2}:[12]:[34][:;|\\[\\]\\\\ =#a1]{0,6}){1,2}\
                             |group\\.[12]=[1-4]:?[1-4]?|weight\\.[1-4]=-?[0-3]|version=[0-9a-f]\
                             |\\PC{0,12})[\n\\\\]){0,7}";

        proptest! {
            #[test]
            fn never_panics_and_what_is_read_is_written_the_same(text in LINES) {
                if let Ok(config) = QuorumVerifier::parse(&text, true) {
                    let written = config.to_string();
                    let again = QuorumVerifier::parse(&written, true).unwrap();
                    prop_assert!(again.agrees_with(&config));
                    prop_assert_eq!(again.to_string(), written);
                }
            }
        }
    }

    #[test]
    fn what_history_holds_has_been_seen() {
        let of = |sids: &[i64], version: i64| {
            let lines = sids.iter().map(|sid| format!("server.{sid}=h{sid}:1:2\n"));
            Arc::new(parse(&format!("{}version={version:x}", lines.collect::<String>())))
        };
        let (began, old, new) = (of(&[1, 2, 3], 0), of(&[1, 2, 3], 5), of(&[1, 2], 7));
        let seen = |membership: &Membership| membership.last_seen().map(|seen| seen.version());
        let decides = |membership: &Membership, sids: &[i64]| {
            membership.is_quorum(|sid| sids.contains(&sid.0))
        };
        // At a start, and when the older one comes with a vote.
        let started = Membership::new(Arc::clone(&old), None).with_history(Some(new.clone()));
        let mut guest = Membership::new(began, None).with_history(Some(new.clone()));
        assert_eq!(seen(&guest), None, "an operator's word is not weighed against old data");
        assert!(guest.commit(Arc::clone(&old)));
        for membership in [&started, &guest] {
            assert_eq!(seen(membership), Some(7));
            assert!(!decides(membership, &[1, 3]) && decides(membership, &[1, 2]));
        }
        // It is committed in the end, or a later one is.
        assert!(!guest.commit(Arc::clone(&new)) && seen(&guest).is_none());
        let later = Membership::new(Arc::clone(&old), Some(of(&[1, 4], 9)));
        assert_eq!(seen(&later.with_history(Some(new.clone()))), Some(9));
        // What was cut off is not in history any more.
        let mut cut = Membership::new(of(&[1, 2, 3], 0), None).with_history(Some(new));
        cut.cut_history(Zxid(7));
        let mut kept = cut.clone();
        cut.cut_history(Zxid(6));
        assert!(kept.commit(Arc::clone(&old)) && !cut.commit(old) && seen(&cut).is_none());
    }

    #[test]
    fn who_was_only_heard_of_can_be_voted_for_and_decides_nothing() {
        let of = |sids: &[i64], version: i64| {
            let lines = sids.iter().map(|sid| format!("server.{sid}=h{sid}:1:2\n"));
            Arc::new(parse(&format!("{}version={version:x}", lines.collect::<String>())))
        };
        let mut membership = Membership::new(of(&[1, 3], 5), None);
        membership.hear(of(&[1, 2], 7));
        assert!(membership.is_voter(Sid(2)) && membership.weight(Sid(2)) == 1);
        assert_eq!(membership.voters(), BTreeSet::from([Sid(1), Sid(2), Sid(3)]));
        assert!(membership.known().any(|config| config.server(Sid(2)).is_some()), "its address");
        assert!(membership.is_quorum(|sid| sid != Sid(2)) && membership.last_seen().is_none());
        // An older one leaves it, and it ends with what is in force.
        membership.commit(of(&[1, 3], 6));
        assert!(membership.is_voter(Sid(2)));
        membership.commit(of(&[1, 3], 8));
        assert!(!membership.is_voter(Sid(2)));
    }

    #[test]
    fn a_conflict_is_about_who_decides() {
        let of = |text: &str| QuorumVerifier::parse(text, false).unwrap();
        let ours = of("server.1=a:1:2\nserver.2=b:1:2\nversion=5");
        for (text, conflicts) in [
            ("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=5", true),
            ("server.1=a:1:2\nserver.3=b:1:2\nversion=5", true),
            ("server.1=a:1:2\nserver.2=b:1:2:observer\nversion=5", true),
            ("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\nversion=5", true),
            ("server.1=a:1:2\nserver.2=moved:8:9;10\nversion=5", false),
            ("server.1=a:1:2\nserver.3=b:1:2\nversion=6", false),
        ] {
            assert_eq!(of(text).conflicts_with(&ours), conflicts, "{text}");
        }
        let began = of("server.1=a:1:2\nversion=0");
        assert!(!began.conflicts_with(&ours.with_version(0)), "files that nobody voted for");
    }
}
