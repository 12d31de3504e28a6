//! All `server.N`, `group.N` and `weight.N` lines together: who belongs to the ensemble, who of
//! them votes, and how votes are counted (`QuorumMaj`, `QuorumHierarchical`).

use std::collections::BTreeMap;
use std::fmt;

use crate::ensemble::line::{self, Member, Role, java_split};
use crate::error::ConfigError;
use crate::settings::Settings;

/// The configuration that an ensemble begins with.
///
/// `Display` gives the text that election messages, `/zookeeper/config` and dynamic files hold: a
/// line per server, group and weight, then the version; every way of writing a line comes out as
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// By ascending number.
    pub members: Vec<Member>,
    /// With groups, their servers' numbers by the group's; empty for a plain majority.
    pub groups: BTreeMap<i64, Vec<i64>>,
    /// The weights that are given, by the server's number; 1 where there is none.
    pub weights: BTreeMap<i64, u32>,
    /// The zxid of the change that made it, 0 for the first one. Dynamic files carry it in their
    /// name.
    pub version: i64,
}

impl Membership {
    /// A member.
    pub fn member(&self, id: i64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Those who vote.
    pub fn participants(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == Role::Participant)
    }

    /// The first one who does not.
    pub(super) fn first_observer(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.role == Role::Observer)
    }

    /// What it takes to decide, in a line for people.
    pub fn quorum(&self) -> String {
        let count = self.participants().count();
        if self.groups.is_empty() {
            let of = if count == 1 { "participant" } else { "participants" };
            let lost = count.saturating_sub(1) / 2;
            return format!("{} of {count} {of}; {lost} may be lost", count / 2 + 1);
        }
        let weight = |id: &i64| self.weights.get(id).copied().unwrap_or(1);
        let weighty = |ids: &&Vec<i64>| ids.iter().any(|id| weight(id) > 0);
        let groups = self.groups.values().filter(weighty).count();
        format!(
            "{} of {groups} groups, in each of them more than half of its weight",
            groups / 2 + 1
        )
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for member in &self.members {
            writeln!(f, "server.{}={member}", member.id)?;
        }
        for (group, ids) in &self.groups {
            let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
            writeln!(f, "group.{group}={}", ids.join(":"))?;
        }
        for (id, weight) in &self.weights {
            writeln!(f, "weight.{id}={weight}")?;
        }
        write!(f, "version={:x}", self.version)
    }
}

/// What stands in the settings.
pub(super) fn read(settings: &Settings, version: Option<i64>) -> Result<Membership, ConfigError> {
    let members = read_members(settings)?;
    let groups = read_groups(settings)?;
    let weights = read_weights(settings)?;
    if settings.members("group.N").next().or(settings.members("weight.N").next()).is_some() {
        check_groups(settings, &members, &groups, &weights)?;
    }
    let version = match version {
        Some(version) => version,
        None => read_version(settings)?,
    };
    Ok(Membership { members: members.into_values().collect(), groups, weights, version })
}

fn read_version(settings: &Settings) -> Result<i64, ConfigError> {
    let Some(text) = settings.text("version") else { return Ok(0) };
    match i64::from_str_radix(&text, 16) {
        Ok(version) if version >= 0 => Ok(version),
        _ => Err(settings.bad("version", "must be a hexadecimal number")),
    }
}

fn read_members(settings: &Settings) -> Result<BTreeMap<i64, Member>, ConfigError> {
    let several = settings.bool("multiAddress.enabled");
    let mut members = BTreeMap::new();
    for (name, setting) in settings.members("server.N") {
        let Some(id) = number(name, "server.").filter(|id| *id >= 0) else {
            return Err(settings.bad(name, "what follows server. must be a server's number"));
        };
        let member = line::parse(id, &setting.text, several)
            .map_err(|problem| settings.bad(name, problem))?;
        if members.insert(id, member).is_some() {
            return Err(settings.bad(name, format_args!("server {id} has another line")));
        }
    }
    Ok(members)
}

fn read_groups(settings: &Settings) -> Result<BTreeMap<i64, Vec<i64>>, ConfigError> {
    let mut groups = BTreeMap::new();
    let mut group_of = BTreeMap::new();
    for (name, setting) in settings.members("group.N") {
        let bad = |problem: &dyn fmt::Display| settings.bad(name, problem);
        let group = number(name, "group.")
            .ok_or_else(|| bad(&"what follows group. must be the group's number"))?;
        let mut ids = Vec::new();
        for text in java_split(&setting.text, ':') {
            let id: i64 =
                text.parse().map_err(|_| bad(&"must be servers' numbers, as in 1:2:3"))?;
            if let Some(other) = group_of.insert(id, group) {
                return Err(bad(&format_args!("server {id} is in group {other} already")));
            }
            ids.push(id);
        }
        ids.sort_unstable();
        if groups.insert(group, ids).is_some() {
            return Err(bad(&format_args!("group {group} has another line")));
        }
    }
    Ok(groups)
}

fn read_weights(settings: &Settings) -> Result<BTreeMap<i64, u32>, ConfigError> {
    let mut weights = BTreeMap::new();
    for (name, setting) in settings.members("weight.N") {
        let Some(id) = number(name, "weight.") else {
            return Err(settings.bad(name, "what follows weight. must be a server's number"));
        };
        let Ok(weight) = setting.text.parse() else {
            let problem = format_args!("must be a whole number from 0 to {}", u32::MAX);
            return Err(settings.bad(name, problem));
        };
        if weights.insert(id, weight).is_some() {
            return Err(settings.bad(name, format_args!("server {id} has another weight")));
        }
    }
    Ok(weights)
}

/// With groups or weights, every participant is in a group and every server in a group has a
/// weight, and not all of them weigh nothing.
fn check_groups(
    settings: &Settings,
    members: &BTreeMap<i64, Member>,
    groups: &BTreeMap<i64, Vec<i64>>,
    weights: &BTreeMap<i64, u32>,
) -> Result<(), ConfigError> {
    let line_of = |id: i64| {
        let is_its = |name: &&str| number(name, "server.") == Some(id);
        let mut names = settings.members("server.N").map(|(name, _)| name);
        names.find(is_its).unwrap_or("server.N").to_owned()
    };
    let is_participant =
        |id: &i64| members.get(id).is_some_and(|member| member.role == Role::Participant);
    for id in members.keys().copied().filter(is_participant) {
        if !groups.values().flatten().any(|grouped| *grouped == id) {
            let problem =
                "is in no group; with groups or weights, every participant must be in one";
            return Err(settings.bad(&line_of(id), problem));
        }
    }
    let mut total = 0;
    for (name, group) in settings.members("group.N").map(|(name, _)| (name, number(name, "group.")))
    {
        for id in group.and_then(|group| groups.get(&group)).into_iter().flatten() {
            if !is_participant(id) && !weights.contains_key(id) {
                let problem =
                    format_args!("server {id} is no participant, so it needs a weight.{id}");
                return Err(settings.bad(name, problem));
            }
            total += u64::from(weights.get(id).copied().unwrap_or(1));
        }
    }
    match settings.members("weight.N").next() {
        Some((name, _)) if total == 0 => Err(settings.bad(name, "no group weighs anything")),
        _ => Ok(()),
    }
}

fn number(name: &str, stem: &str) -> Option<i64> {
    name.strip_prefix(stem)?.parse().ok()
}
