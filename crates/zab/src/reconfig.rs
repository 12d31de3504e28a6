//! From a client's reconfig to the configuration that it asks for, or to the code that it gets.
//!
//! A leader judges such a request when its turn comes (`PrepRequestProcessor`), against the last
//! configuration seen, and before whoever owns the tree looks at permissions: a client that may not
//! reconfigure learns that last. There are two forms. A *full* one names all members, in the text
//! form of a configuration, where a comma stands for a new line. An *incremental* one names servers
//! that leave, by their ids, and then servers that join, by their lines; it knows majorities only.
//! A server that joins under an id that is taken replaces the one there: so roles and ports are
//! changed.
//!
//! The codes and their order are Java's, which tells two kinds of nonsense apart: what its classes
//! for configurations refuse is BADARGUMENTS, and whatever else goes wrong in it, like a number
//! that is none, MARSHALLINGERROR. Two servers at one address are refused when one joins; wildcard
//! and loopback addresses do not count there, and names are compared as names.
//!
//! A new configuration is only proposed if a quorum of it is connected and synchronised: the
//! proposal needs it to be committed.

use core::net::IpAddr;
use std::collections::BTreeMap;

use oxkeeper_proto::limits::CONFIG_TEXT_BYTES_MAX;
use oxkeeper_proto::request::ReconfigRequest;
use oxkeeper_proto::{ErrorCode, Sid, Zxid};
use thiserror::Error;

use crate::quorum::{ConfigError, Membership, QuorumServer, QuorumVerifier};

/// What the leader's configuration says about reconfiguring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `reconfigEnabled`.
    pub enabled: bool,
    /// `standaloneEnabled`: a configuration needs two participants then, else one.
    pub standalone_enabled: bool,
    /// `multiAddress.enabled`.
    pub multi_address: bool,
}

/// Why a reconfiguration is refused: the client's fault, but for [`Refusal::Disabled`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The administrator does not want it.
    #[error("reconfigEnabled is not set")]
    Disabled,
    /// Another one has been proposed and is not committed.
    #[error("a reconfiguration is under way")]
    InProgress,
    /// The client thought of another configuration.
    #[error("it starts from version {expected:x}, and the last one seen is {seen:x}")]
    Version {
        /// What it starts from.
        expected: i64,
        /// What there is.
        seen: i64,
    },
    /// Java's classes for configurations refuse it.
    #[error("{0}")]
    Arguments(String),
    /// Java does not refuse it, but fails over it.
    #[error("{0}")]
    Marshalling(String),
    /// The new servers could not commit it.
    #[error("no quorum of the new configuration is connected and synchronised")]
    NoQuorum,
}

impl Refusal {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Refusal::Disabled => ErrorCode::RECONFIG_DISABLED,
            Refusal::InProgress => ErrorCode::RECONFIG_IN_PROGRESS,
            Refusal::Version { .. } => ErrorCode::BAD_VERSION,
            Refusal::Arguments(_) => ErrorCode::BAD_ARGUMENTS,
            Refusal::Marshalling(_) => ErrorCode::MARSHALLING_ERROR,
            Refusal::NoQuorum => ErrorCode::NEW_CONFIG_NO_QUORUM,
        }
    }
}

/// Judges a request. `zxid` is that of the transaction to be, which becomes the version;
/// `is_synced` says of a server whether it is connected to this leader and synchronised, the leader
/// itself included.
pub fn judge(
    rules: Rules,
    membership: &Membership,
    request: &ReconfigRequest<'_>,
    zxid: Zxid,
    is_synced: impl Fn(Sid) -> bool,
) -> Result<QuorumVerifier, Refusal> {
    if !rules.enabled {
        return Err(Refusal::Disabled);
    }
    let current = membership.current();
    let seen = membership.last_seen().unwrap_or(current);
    if seen.version() != current.version() {
        return Err(Refusal::InProgress);
    }
    let expected = request.current_config_id;
    if expected != -1 && expected != seen.version() {
        return Err(Refusal::Version { expected, seen: seen.version() });
    }
    let next = match request.new_members.as_deref() {
        Some(text) => full(rules, text)?,
        None => incremental(rules, seen, request)?,
    };
    let least = if rules.standalone_enabled { 2 } else { 1 };
    if next.voters().count() < least {
        return arguments(format!("the new configuration needs {least} participants at least"));
    }
    let next = next.with_version(zxid.0);
    // Nobody could ever say so in an election.
    if next.to_string().len() > CONFIG_TEXT_BYTES_MAX {
        return arguments(ConfigError::TooLong);
    }
    match next.is_quorum(is_synced) {
        true => Ok(next),
        false => Err(Refusal::NoQuorum),
    }
}

fn arguments<T>(problem: impl ToString) -> Result<T, Refusal> {
    Err(Refusal::Arguments(problem.to_string()))
}

fn marshalling<T>(problem: impl ToString) -> Result<T, Refusal> {
    Err(Refusal::Marshalling(problem.to_string()))
}

/// All members, as text.
fn full(rules: Rules, text: &str) -> Result<QuorumVerifier, Refusal> {
    if text.len() > CONFIG_TEXT_BYTES_MAX {
        return arguments(ConfigError::TooLong);
    }
    let next = match QuorumVerifier::parse(&text.replace(',', "\n"), rules.multi_address) {
        Ok(next) => next,
        // Java looks at who votes later than at the form, and differently when there is nobody.
        Err(error @ ConfigError::NoParticipant) => {
            let nobody = !text.contains("server.");
            return match nobody && rules.standalone_enabled {
                true => arguments(error),
                false => marshalling(error),
            };
        }
        Err(error) => return Err(refusal(error)),
    };
    let observers = next.members().count() - next.voters().count();
    if rules.standalone_enabled && next.voters().count() == 1 && observers > 0 {
        return marshalling("observers need two participants at least");
    }
    Ok(next)
}

/// Who leaves, and then who joins.
fn incremental(
    rules: Rules,
    seen: &QuorumVerifier,
    request: &ReconfigRequest<'_>,
) -> Result<QuorumVerifier, Refusal> {
    if seen.is_hierarchical() {
        return arguments("a configuration with groups is changed as a whole only");
    }
    let mut members: BTreeMap<Sid, QuorumServer> =
        seen.members().map(|server| (server.sid, server.clone())).collect();
    for text in listed(request.leaving.as_deref()) {
        let Ok(sid) = text.parse() else {
            return marshalling(format!("{:?} is no server's number", shown(text)));
        };
        members.remove(&Sid(sid));
    }
    for text in listed(request.joining.as_deref()) {
        let server = joining(text, rules.multi_address)?;
        let others = || members.values().filter(|other| other.sid != server.sid);
        if let Some(other) = others().find(|other| share_an_address(&server, other)) {
            let (sid, other) = (server.sid, other.sid);
            return arguments(format!("server.{sid} has an address of server.{other}"));
        }
        members.insert(server.sid, server);
    }
    QuorumVerifier::majority(members.into_values(), 0)
        .map_err(|error| Refusal::Arguments(error.to_string()))
}

/// A line of a server that joins. Its clients' address is not optional here.
fn joining(text: &str, multi_address: bool) -> Result<QuorumServer, Refusal> {
    let mut parts = text.split('=').map(str::trim).filter(|part| !part.is_empty());
    let (Some(key), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
        return arguments(format!("{:?} must be server.N=...", shown(text)));
    };
    let number = key.rsplit_once('.').map_or(key, |(_, number)| number);
    let Ok(sid) = number.parse() else {
        return marshalling(format!("{:?} is no server's number", shown(number)));
    };
    let server = QuorumServer::parse(Sid(sid), value, multi_address).map_err(refusal)?;
    match server.client {
        Some(_) => Ok(server),
        None => arguments(format!("server.{sid} needs a client port")),
    }
}

/// The pieces between commas that are not empty.
fn listed(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(',').map(str::trim).filter(|piece| !piece.is_empty())
}

/// Foreign text in a message: its beginning is enough.
fn shown(text: &str) -> &str {
    &text[..text.char_indices().nth(80).map_or(text.len(), |(end, _)| end)]
}

/// Java's judgement of a text that is no configuration.
fn refusal(error: ConfigError) -> Refusal {
    let problem = error.to_string();
    let marshalling = match &error {
        ConfigError::Escape | ConfigError::NoWeight(_) => true,
        // A number that we alone refuse, like a weight below zero, is a fault of the argument.
        ConfigError::Number { value, .. } => value.parse::<i64>().is_err(),
        ConfigError::Form { value, .. } => has_impossible_port(value),
        ConfigError::Key(key) => key.starts_with("group") || key.starts_with("weight"),
        ConfigError::TooLong
        | ConfigError::Role(_)
        | ConfigError::MultiAddress(_)
        | ConfigError::SamePorts(_)
        | ConfigError::TwoGroups(_)
        | ConfigError::NoGroup(_)
        | ConfigError::NoParticipant => false,
    };
    if marshalling { Refusal::Marshalling(problem) } else { Refusal::Arguments(problem) }
}

/// Whether what would be a port is a number, but beyond the ports: Java finds a port that is no
/// number itself, and leaves this to a class that fails.
fn has_impossible_port(value: &str) -> bool {
    let ports = value.split([':', ';', '|']).filter_map(|piece| piece.parse::<i32>().ok());
    ports.into_iter().any(|port| !(0..=65_535).contains(&port))
}

/// Whether two servers have an address and port in common, for whatever purpose.
fn share_an_address(one: &QuorumServer, other: &QuorumServer) -> bool {
    let others: Vec<_> = places(other).collect();
    places(one).any(|(host, port)| {
        others.iter().any(|(other, at)| port == *at && is_same_host(host, other))
    })
}

/// Every address and port of a server that means one place to everybody.
fn places(server: &QuorumServer) -> impl Iterator<Item = (&str, u16)> {
    let own = server
        .addresses
        .iter()
        .flat_map(|at| [(&*at.host, at.port), (&*at.host, at.election_port)]);
    let client = server.client.iter().map(|at| (&*at.host, at.port));
    own.chain(client).filter(|(host, _)| match host.parse::<IpAddr>() {
        Ok(ip) => !ip.is_unspecified() && !ip.is_loopback(),
        Err(_) => !host.eq_ignore_ascii_case("localhost"),
    })
}

fn is_same_host(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const RULES: Rules = Rules { enabled: true, standalone_enabled: true, multi_address: false };
    const BY_ITSELF: Rules = Rules { standalone_enabled: false, ..RULES };

    const BAD_ARGUMENTS: i32 = ErrorCode::BAD_ARGUMENTS.0;
    const MARSHALLING: i32 = ErrorCode::MARSHALLING_ERROR.0;
    const NO_QUORUM: i32 = ErrorCode::NEW_CONFIG_NO_QUORUM.0;

    fn line(id: i64, role: &str) -> String {
        format!("server.{id}=127.0.0.1:2602{id}:2604{id}:{role};127.0.0.1:2600{id}")
    }

    fn members(ids: &[i64]) -> String {
        ids.iter().map(|id| line(*id, "participant") + "\n").collect()
    }

    fn of(text: &str) -> Membership {
        Membership::new(Arc::new(QuorumVerifier::parse(text, false).unwrap()), None)
    }

    /// Asks an ensemble of 1, 2 and 3, all of them synchronised, at version 7.
    fn ask(
        rules: Rules,
        membership: &Membership,
        joining: Option<&str>,
        leaving: Option<&str>,
        new_members: Option<&str>,
    ) -> Result<QuorumVerifier, Refusal> {
        let request = ReconfigRequest {
            joining: joining.map(Into::into),
            leaving: leaving.map(Into::into),
            new_members: new_members.map(Into::into),
            current_config_id: -1,
        };
        judge(rules, membership, &request, Zxid(0x42), |sid| (1..=3).contains(&sid.0))
    }

    fn three() -> Membership {
        of(&format!("{}version=7", members(&[1, 2, 3])))
    }

    fn code(outcome: Result<QuorumVerifier, Refusal>) -> i32 {
        outcome.map_or_else(|refusal| refusal.code().0, |_| 0)
    }

    /// What a leader of three servers of version 3.9.5 answered.
    #[test]
    fn incremental_requests_get_javas_codes() {
        let observers = [1, 2].map(|id| line(id, "observer")).join(",");
        for (joining, leaving, expected) in [
            (None, Some("x"), MARSHALLING),
            (None, Some("1,x"), MARSHALLING),
            (Some("server.4"), None, BAD_ARGUMENTS),
            (Some("server.4=a:1:2;3=4"), None, BAD_ARGUMENTS),
            (Some("server.x=127.0.0.1:1:2;3"), None, MARSHALLING),
            (Some("server.4=127.0.0.1:1:2"), None, BAD_ARGUMENTS),
            (Some("server.4=127.0.0.1:1;3"), None, BAD_ARGUMENTS),
            (Some("server.4=127.0.0.1:1:1;3"), None, BAD_ARGUMENTS),
            (Some("server.4=127.0.0.1:1:70000;3"), None, MARSHALLING),
            (Some("server.4=127.0.0.1:1:b;3"), None, BAD_ARGUMENTS),
            (Some("server.4=127.0.0.1:1:2;70000"), None, MARSHALLING),
            (Some("server.4=127.0.0.1:1:2;b"), None, BAD_ARGUMENTS),
            (Some("server.4=127.0.0.1:1:2;1:2:3"), None, BAD_ARGUMENTS),
            (Some("server.4=127.0.0.1:1:2:voter;3"), None, BAD_ARGUMENTS),
            (Some("server.4=127.0.0.1:1:2|127.0.0.1:3:4;5"), None, BAD_ARGUMENTS),
            (Some("=127.0.0.1:1:2;3"), None, BAD_ARGUMENTS),
            (Some("server.4=127.0.0.1:1:2;3;4"), None, BAD_ARGUMENTS),
            (None, Some("1,2"), BAD_ARGUMENTS),
            (None, Some("1,2,3"), BAD_ARGUMENTS),
            (Some(&*observers), None, BAD_ARGUMENTS),
            (Some("server.7=127.0.0.1:1:2;3,server.8=127.0.0.1:4:5;6"), Some("1,2"), NO_QUORUM),
            (None, None, 0),
            (Some(""), Some(""), 0),
            (None, Some("9"), 0),
            (None, Some(" 1 ,"), 0),
        ] {
            let outcome = ask(RULES, &three(), joining, leaving, None);
            assert_eq!(code(outcome.clone()), expected, "{joining:?} {leaving:?}: {outcome:?}");
        }
    }

    /// As above.
    #[test]
    fn full_requests_get_javas_codes() {
        let three_and = |further: &str| members(&[1, 2, 3]) + further;
        let lone = line(3, "participant");
        let with_observer = format!("{lone}\n{}", line(1, "observer"));
        let strangers = format!("{lone}\nserver.8=127.0.0.1:4:5;6\nserver.9=127.0.0.1:7:8;9");
        for (text, expected) in [
            ("", BAD_ARGUMENTS),
            ("server.1=127.0.0.1:1:2:observer", MARSHALLING),
            (&*lone, BAD_ARGUMENTS),
            (&*with_observer, MARSHALLING),
            ("server.x=127.0.0.1:1:2;3", MARSHALLING),
            ("foo=1", BAD_ARGUMENTS),
            ("server.1=\\u12", MARSHALLING),
            (&*three_and("version=zz"), MARSHALLING),
            ("server.1=127.0.0.1:1:70000;3", MARSHALLING),
            ("server.1=127.0.0.1:1:1;3", BAD_ARGUMENTS),
            ("server.1=127.0.0.1:1", BAD_ARGUMENTS),
            (&*three_and("group.1=1:2"), BAD_ARGUMENTS),
            (&*three_and("group.1=1:2:3\ngroup.2=3"), BAD_ARGUMENTS),
            (&*three_and("group.1=1:2:3:9"), MARSHALLING),
            (&*three_and("group.1=1:x"), MARSHALLING),
            (&*three_and("group=1:2:3"), MARSHALLING),
            (&*three_and("weight.1=x\ngroup.1=1:2:3"), MARSHALLING),
            (&*three_and("weight.1=2"), BAD_ARGUMENTS),
            (&*strangers, NO_QUORUM),
            (&*three_and("version=77"), 0),
            (&*three_and("").replace('\n', ",,"), 0),
            (&*three_and("group.1=1:2:3"), 0),
        ] {
            let outcome = ask(RULES, &three(), Some("ignored"), None, Some(text));
            assert_eq!(code(outcome.clone()), expected, "{text:?}: {outcome:?}");
        }
    }

    /// As above, with `standaloneEnabled=false`.
    #[test]
    fn a_single_participant_will_do_where_standalone_servers_are_not_wanted() {
        let all_observers = [1, 2, 3].map(|id| line(id, "observer")).join(",");
        let incremental = |joining, leaving| ask(BY_ITSELF, &three(), joining, leaving, None);
        assert_eq!(code(incremental(None, Some("1,2,3"))), BAD_ARGUMENTS);
        assert_eq!(code(incremental(Some(&all_observers), None)), BAD_ARGUMENTS);
        assert_eq!(code(incremental(None, Some("1,2"))), 0);
        let with_observer = format!("{}\n{}", line(3, "participant"), line(1, "observer"));
        for (text, expected) in [
            ("", MARSHALLING),
            ("server.1=127.0.0.1:1:2:observer;3", MARSHALLING),
            (&*line(8, "participant"), NO_QUORUM),
            (&*with_observer, 0),
        ] {
            assert_eq!(code(ask(BY_ITSELF, &three(), None, None, Some(text))), expected, "{text}");
        }
    }

    #[test]
    fn whether_it_may_be_asked_at_all_comes_first() {
        let request = |id| ReconfigRequest {
            joining: None,
            leaving: Some("x".into()),
            new_members: None,
            current_config_id: id,
        };
        let judge = |rules, membership: &Membership, id| {
            judge(rules, membership, &request(id), Zxid(9), |_| true).map_err(|r| r.code())
        };
        let disabled = Rules { enabled: false, ..RULES };
        let next = Arc::new(QuorumVerifier::parse(&members(&[1, 2]), false).unwrap());
        let changing = Membership::new(
            three().current().clone(),
            Some(Arc::new((*next).clone().with_version(8))),
        );
        assert_eq!(judge(disabled, &changing, 5), Err(ErrorCode::RECONFIG_DISABLED));
        assert_eq!(judge(RULES, &changing, 5), Err(ErrorCode::RECONFIG_IN_PROGRESS));
        assert_eq!(judge(RULES, &three(), 5), Err(ErrorCode::BAD_VERSION));
        assert_eq!(judge(RULES, &three(), 7), Err(ErrorCode::MARSHALLING_ERROR));
        let settled = Membership::new(three().current().clone(), Some(three().current().clone()));
        assert_eq!(judge(RULES, &settled, -1), Err(ErrorCode::MARSHALLING_ERROR));
    }

    #[test]
    fn joining_servers_come_in_and_leaving_ones_go() {
        let text = |joining: Option<&str>, leaving: Option<&str>| {
            ask(RULES, &three(), joining, leaving, None).unwrap().to_string()
        };
        let four = "server.4=10.1.1.1:2888:3888:observer;10.1.1.1:2181";
        let all = members(&[1, 2, 3]);
        assert_eq!(text(Some(four), None), format!("{all}{four}\nversion=42"));
        assert_eq!(
            text(Some(" 6 = 10.1.1.3:2888:3888:observer;2181 , ,"), Some("1")),
            format!(
                "{}server.6=10.1.1.3:2888:3888:observer;0.0.0.0:2181\nversion=42",
                members(&[2, 3])
            )
        );
        // An id that is taken: another role, other ports. A server may leave and join at once.
        let two = line(2, "observer");
        let expected = all.replace(line(2, "participant").as_str(), &two) + "version=42";
        assert_eq!(text(Some(&two), None), expected);
        assert_eq!(text(Some(&two), Some("2")), expected);
    }

    #[test]
    fn a_client_address_of_the_static_file_stays_out_of_the_text() {
        let at = oxkeeper_proto::notification::Address { host: "0.0.0.0".into(), port: 2181 };
        let config = QuorumVerifier::parse("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2", false);
        let config = config.unwrap().with_static_client(Sid(1), at.clone());
        assert_eq!(config.server(Sid(1)).unwrap().client.as_ref(), Some(&at));
        let next = ask(RULES, &Membership::new(Arc::new(config), None), None, Some("2"), None);
        assert_eq!(
            next.unwrap().to_string(),
            "server.1=a:1:2:participant\nserver.3=c:1:2:participant\nversion=42"
        );
    }

    /// The first two lines were accepted by a leader of version 3.9.5, the rest it refused.
    #[test]
    fn one_address_belongs_to_one_server() {
        let four = "server.4=10.1.1.1:2888:3888:observer;10.1.1.1:2181";
        let membership = of(&format!("{}{four}\nversion=7", members(&[1, 2, 3])));
        let code = |joining: &str| code(ask(RULES, &membership, Some(joining), None, None));
        assert_eq!(code("server.4=10.1.1.1:2888:3890:observer;10.1.1.1:2181"), 0, "its own");
        assert_eq!(code("server.5=10.1.1.2:2888:3888:observer;2181"), 0);
        assert_eq!(code("server.5=127.0.0.1:26021:26041:observer;26001"), 0, "loopback");
        for joining in [
            "server.5=10.1.1.1:2888:3889:observer;2181",
            "server.5=10.1.1.1:2889:2181:observer;2181",
            "server.5=10.1.1.1:2889:3889:observer;10.1.1.1:3888",
            "server.5=10.1.1.2:2888:3888:observer;10.1.1.1:2181",
        ] {
            assert_eq!(code(joining), BAD_ARGUMENTS, "{joining}");
        }
        let twice = "server.5=h:1:2;3,server.6=H:4:1;5";
        assert_eq!(code(twice), BAD_ARGUMENTS, "names, and within one request");
    }

    #[test]
    fn groups_are_changed_as_a_whole_only() {
        let membership = of(&format!("{}group.1=1:2:3\nversion=7", members(&[1, 2, 3])));
        let incremental = |joining, leaving| ask(RULES, &membership, joining, leaving, None);
        assert_eq!(code(incremental(None, Some("1"))), BAD_ARGUMENTS);
        assert_eq!(code(incremental(Some("server.4"), None)), BAD_ARGUMENTS);
        let all = members(&[1, 2, 3]);
        assert_eq!(code(ask(RULES, &membership, None, None, Some(&all))), 0);
    }

    #[test]
    fn messages_stay_short_whatever_is_asked() {
        let long = "é".repeat(100_000);
        for (joining, leaving, new_members) in [
            (Some(long.as_str()), None, None),
            (None, Some(long.as_str()), None),
            (None, None, Some(long.as_str())),
        ] {
            let refusal = ask(RULES, &three(), joining, leaving, new_members).unwrap_err();
            assert!(refusal.to_string().len() < 400, "{} bytes", refusal.to_string().len());
        }
        let huge = "#".repeat(CONFIG_TEXT_BYTES_MAX + 1);
        assert_eq!(code(ask(RULES, &three(), None, None, Some(&huge))), BAD_ARGUMENTS);
    }
}
