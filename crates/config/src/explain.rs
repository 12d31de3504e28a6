//! `oxkeeper check-config`: every setting, the value in force, and where it comes from.

use serde::Serialize;

use crate::config::Config;
use crate::ensemble::{Ensemble, Member};
use crate::error::printable;
use crate::keys::{self, Fallback, Key, Status};
use crate::settings::{Notice, Settings, Source};

/// The status of a setting that takes effect.
const OBEYED: &str = "obeyed";

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectiveValue {
    /// Its name; of a family, the member's.
    pub key: String,
    /// The value in force, `***` for secrets; `None` if there is none or `derived` describes it.
    pub value: Option<String>,
    /// How the value is worked out, where that is not for the configuration to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub derived: Option<&'static str>,
    /// Its unit, if it is a number with one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub unit: &'static str,
    /// Who set it.
    pub source: Source,
    /// What this server does with it: `obeyed`, or why it has no effect.
    pub status: String,
    /// What it does, in a line.
    pub meaning: &'static str,
}

/// Every row of the table, families by the members that are set.
pub(crate) fn effective(settings: &Settings) -> Vec<EffectiveValue> {
    let mut values = Vec::new();
    for key in keys::all() {
        if key.is_family() {
            let members = settings.members(key.name);
            values.extend(members.map(|(name, _)| one(settings, key, name)));
        } else {
            values.push(one(settings, key, key.name));
        }
    }
    values
}

fn one(settings: &Settings, key: &'static Key, name: &str) -> EffectiveValue {
    let given = settings.given(name);
    let value = match (settings.outcome(name), given, key.default) {
        (Some(outcome), _, _) => Some(outcome.to_owned()),
        (None, Some(setting), _) => Some(setting.text.clone()),
        (None, None, Fallback::Is(text)) => Some(text.to_owned()),
        (None, None, Fallback::From(_) | Fallback::Unset) => None,
    };
    let derived = match (&value, key.default) {
        (None, Fallback::From(how)) => Some(how),
        _ => None,
    };
    EffectiveValue {
        key: name.to_owned(),
        value: value.map(|value| if key.secret { "***".to_owned() } else { value }),
        derived,
        unit: key.unit,
        source: given.map_or(Source::Default, |setting| setting.source.clone()),
        status: match key.status {
            Status::Obeyed => OBEYED.to_owned(),
            Status::NoMeaning(reason) => format!("no meaning here: {reason}"),
            Status::Later(meanwhile) => format!("no effect yet: {meanwhile}"),
            Status::NotYet { because, .. } => format!("not supported yet: {because}"),
        },
        meaning: key.meaning,
    }
}

/// Every setting with the value in force, in the order of the table.
pub fn explain(config: &Config) -> Vec<EffectiveValue> {
    config.effective.clone()
}

#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    ensemble: Option<EnsembleReport<'a>>,
    settings: &'a [EffectiveValue],
    notices: &'a [Notice],
}

#[derive(Serialize)]
struct EnsembleReport<'a> {
    my_id: i64,
    role: String,
    quorum: String,
    version: i64,
    members: Vec<MemberReport<'a>>,
}

#[derive(Serialize)]
struct MemberReport<'a> {
    id: i64,
    role: String,
    /// Each as host:port:electionPort.
    addresses: &'a [String],
    /// Where its clients connect, as far as that is known here.
    client: Option<String>,
    group: Option<i64>,
    weight: Option<u32>,
}

impl EnsembleReport<'_> {
    fn new(config: &Config) -> Option<EnsembleReport<'_>> {
        let ensemble = config.ensemble.as_ref()?;
        let membership = &ensemble.membership;
        let report = |member| MemberReport::new(config, ensemble, member);
        Some(EnsembleReport {
            my_id: ensemble.my_id,
            role: ensemble.role().to_string(),
            quorum: membership.quorum(),
            version: membership.version,
            members: membership.members.iter().map(report).collect(),
        })
    }
}

impl MemberReport<'_> {
    fn new<'a>(config: &Config, ensemble: &Ensemble, member: &'a Member) -> MemberReport<'a> {
        let membership = &ensemble.membership;
        let listen = &config.listen;
        let client = match &member.client {
            Some((addr, port)) => Some(format!("{addr}:{port}")),
            None if member.id == ensemble.my_id => {
                Some(format!("{}:{}", listen.client_addr, listen.client_port))
            }
            None => None,
        };
        let mut groups = membership.groups.iter();
        let group = groups.find(|(_, ids)| ids.contains(&member.id)).map(|(group, _)| *group);
        MemberReport {
            id: member.id,
            role: member.role.to_string(),
            addresses: &member.addresses,
            client,
            group,
            weight: group.map(|_| membership.weights.get(&member.id).copied().unwrap_or(1)),
        }
    }
}

/// The same as JSON: `{"file", "ensemble", "settings": [...], "notices": [...]}`, where a
/// standalone server's `ensemble` is null.
pub fn explain_json(config: &Config) -> String {
    let report = Report {
        file: &config.file,
        ensemble: EnsembleReport::new(config),
        settings: &config.effective,
        notices: &config.notices,
    };
    // Serializing plain structs to memory cannot fail; an empty report would be seen at once.
    serde_json::to_string_pretty(&report).unwrap_or_default()
}

/// The same for people: what is set, the defaults that matter, the notices. Settings that are
/// neither set nor obeyed are only counted; the JSON form lists them.
pub fn explain_text(config: &Config) -> String {
    let is_set = |value: &&EffectiveValue| value.source != Source::Default;
    let (set, unset): (Vec<_>, Vec<_>) = config.effective.iter().partition(is_set);
    let (defaults, others): (Vec<_>, Vec<_>) = unset.into_iter().partition(|v| v.status == OBEYED);
    let mut text = format!("{}: the configuration is valid\n", printable(&config.file));
    if let Some(ensemble) = EnsembleReport::new(config) {
        text += &ensemble_lines(&ensemble);
    }
    for (title, values) in [("Set", set), ("Defaults", defaults)] {
        text += &format!("\n{title}\n");
        for value in values {
            text += &lines(value, &config.file);
        }
    }
    text += &format!("\n{} further settings are not set and would have no effect\n", others.len());
    if !config.notices.is_empty() {
        text += "\nNotices\n";
        for notice in &config.notices {
            text += &format!("  {notice}\n");
        }
    }
    text
}

/// Who is in the ensemble, a line each, and what it takes to decide.
fn ensemble_lines(ensemble: &EnsembleReport<'_>) -> String {
    let mut text = format!("\nEnsemble\n  a quorum is {}\n", ensemble.quorum);
    for member in &ensemble.members {
        let addresses = printable(&member.addresses.join(" | "));
        text += &format!("  {} {} at {addresses}", member.role, member.id);
        if let Some(client) = &member.client {
            text += &format!(", clients at {}", printable(client));
        }
        if let (Some(group), Some(weight)) = (member.group, member.weight) {
            text += &format!(", group {group}, weight {weight}");
        }
        text += if member.id == ensemble.my_id { "  [this server]\n" } else { "\n" };
    }
    text
}

/// `key = value unit  [where from]`, and below it what that means.
fn lines(value: &EffectiveValue, file: &str) -> String {
    let unit = if value.unit.is_empty() { "" } else { &format!(" {}", value.unit) };
    let shown = match (value.value.as_deref(), value.derived) {
        (None, None) => "(not set)".to_owned(),
        (None, Some(how)) => format!("({how})"),
        (Some(""), _) => "(empty)".to_owned(),
        (Some(text), _) => format!("{}{unit}", printable(text)),
    };
    let origin = match &value.source {
        Source::Default => String::new(),
        Source::BuiltIn => "  [built in]".to_owned(),
        source => format!("  [{}]", source.place(file)),
    };
    let remark = match value.status.as_str() {
        OBEYED => String::new(),
        status => format!(" ({status})"),
    };
    let key = printable(&value.key);
    format!("  {key} = {shown}{origin}\n      {}{remark}\n", value.meaning)
}
