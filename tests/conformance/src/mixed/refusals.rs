//! The same reconfigurations, good and bad, asked of Java's servers alone and of others: replies,
//! `/zookeeper/config` and the dynamic files must be the same, byte for byte.
//!
//! Ports differ from ensemble to ensemble and versions with what else was written; both are given
//! names in the order in which they appear, and so are compared, too. Requests go to the leader and
//! to the followers in turns.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Setting, mixture};
use crate::disk::client::Client;
use crate::ensemble::{Ensemble, Kind, Mixture, Plan};
use crate::wire::{Request, op};

const TIMEOUT_MS: i32 = 20_000;
/// Whoever leads, in all ensembles the same.
const LEADER: i64 = 3;
const CONFIG: &str = "/zookeeper/config";

pub(super) fn mixtures(quick: bool) -> Vec<Mixture> {
    let all = ["ours,ours,ours", "java,ours,java", "ours,java,ours"];
    all[..if quick { 1 } else { all.len() }].iter().map(|text| mixture(text)).collect()
}

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    ensure!(mixture.voting.len() == 3, "reconfigurations are asked of three members");
    beside_java(transcript, setting, mixture, dir)
}

/// What happened at each step, by its name.
pub(super) type Transcript = Vec<(String, String)>;

/// The same on three servers of Java's and on a mixture: what is told must be the same.
pub(super) fn beside_java(
    transcript: fn(&mut Setting<'_>, &[Kind], &Path) -> Result<Transcript>,
    setting: &mut Setting<'_>,
    mixture: &Mixture,
    dir: &Path,
) -> Result<usize> {
    let java = [Kind::JAVA; 3];
    let expected = transcript(setting, &java, &dir.join("java")).context("Java's")?;
    let found = transcript(setting, &mixture.voting, &dir.join("other")).context("the other's")?;
    for ((what, expected), (_, found)) in expected.iter().zip(&found) {
        ensure!(expected == found, "{what}:\nJava's:\n{expected}\n{mixture}:\n{found}");
    }
    Ok(expected.len())
}

/// Which version a request names.
#[derive(Clone, Copy)]
enum Version {
    Any,
    Current,
    Wrong,
}

/// A request. Where members listen is written `q4`, `e4` and `c4`: the quorum, election and client
/// port of server 4, which does not run.
struct Ask {
    joining: Option<&'static str>,
    leaving: Option<&'static str>,
    members: Option<&'static str>,
    version: Version,
    logged_in: bool,
}

const NOTHING: Ask =
    Ask { joining: None, leaving: None, members: None, version: Version::Any, logged_in: true };

const fn join(text: &'static str) -> Ask {
    Ask { joining: Some(text), ..NOTHING }
}

const fn leave(text: &'static str) -> Ask {
    Ask { leaving: Some(text), ..NOTHING }
}

const fn become_all(text: &'static str) -> Ask {
    Ask { members: Some(text), ..NOTHING }
}

const OBSERVER_4: &str = "server.4=127.0.0.1:q4:e4:observer;127.0.0.1:c4";
const PARTICIPANT_4: &str = "server.4=127.0.0.1:q4:e4:participant;127.0.0.1:c4";
const ALL_3: &str = "server.1=127.0.0.1:q1:e1:participant;127.0.0.1:c1,\
    server.2=127.0.0.1:q2:e2:participant;127.0.0.1:c2,\
    server.3=127.0.0.1:q3:e3:participant;127.0.0.1:c3";
const GROUPS: &str = "server.1=127.0.0.1:q1:e1:participant;127.0.0.1:c1\n\
    server.2=127.0.0.1:q2:e2:participant;127.0.0.1:c2\n\
    server.3=127.0.0.1:q3:e3:participant;127.0.0.1:c3\n\
    group.1=1\ngroup.2=2\ngroup.3=3\nweight.1=1\nweight.2=1\nweight.3=2";

const ASKS: [Ask; 44] = [
    Ask { logged_in: false, ..join(OBSERVER_4) },
    Ask { version: Version::Wrong, ..join(OBSERVER_4) },
    Ask { version: Version::Current, ..join(OBSERVER_4) },
    join(OBSERVER_4),
    // Not in the form of a server.
    join("server.4"),
    join("server.4="),
    join("server.4=127.0.0.1"),
    join("server.4=127.0.0.1:q4"),
    join("server.4=127.0.0.1:q4:e4"),
    join("server.4=127.0.0.1:q4:e4:leader;127.0.0.1:c4"),
    join("server.4=127.0.0.1:q4:x:observer;127.0.0.1:c4"),
    join("server.4=127.0.0.1:q4:99999:observer;127.0.0.1:c4"),
    join("server.four=127.0.0.1:q4:e4:observer;127.0.0.1:c4"),
    join("server.4=127.0.0.1:q4:e4:observer;127.0.0.1:c4;c4"),
    join("server.4=a=b"),
    join(""),
    join(","),
    leave(""),
    NOTHING,
    // In other forms, which are read all the same.
    join("server.4=127.0.0.1:q4:e4;c4"),
    join("server.4=localhost:q4:e4:observer;c4"),
    join("4=127.0.0.1:q4:e4:observer;127.0.0.1:c4"),
    join("server.4=127.0.0.1:q4:e4:OBSERVER;127.0.0.1:c4"),
    // Places that another has.
    join("server.4=127.0.0.1:q3:e4:observer;127.0.0.1:c4"),
    join("server.4=127.0.0.1:q4:e3:observer;127.0.0.1:c4"),
    join("server.4=127.0.0.1:q4:e4:observer;127.0.0.1:c3"),
    // Who leaves.
    leave("9"),
    leave("four"),
    leave("1,2,3"),
    leave("1,2,3,4"),
    leave(" 4"),
    // A quorum that is not there.
    Ask { leaving: Some("1,2"), ..join(PARTICIPANT_4) },
    become_all(
        "server.3=127.0.0.1:q3:e3:participant;127.0.0.1:c3,\
        server.4=127.0.0.1:q4:e4:participant;127.0.0.1:c4",
    ),
    // One that is.
    join(PARTICIPANT_4),
    join(OBSERVER_4),
    Ask { leaving: Some("4"), ..NOTHING },
    // All anew.
    become_all(ALL_3),
    Ask { joining: Some(OBSERVER_4), ..become_all(ALL_3) },
    become_all(""),
    become_all("server.1=127.0.0.1"),
    become_all(GROUPS),
    join(OBSERVER_4),
    leave("1"),
    become_all(ALL_3),
];

/// What is asked, and everything that came of it, in words that do not depend on the ensemble.
fn transcript(setting: &mut Setting<'_>, kinds: &[Kind], dir: &Path) -> Result<Transcript> {
    let mut told = vec![disabled(setting, kinds, &dir.join("disabled"))?];
    // One more, which is asked to join and does not run.
    let plan = Plan::new(kinds, dir.join("enabled")).reconfigurable(&[kinds[0]]);
    let mut ensemble = Ensemble::lay_out(setting.programs, &plan)?;
    ensemble.start_all(&[1, 2, 3])?;
    ensemble.make_lead(LEADER)?;
    let mut names = Names::default();
    told.push(("at first".to_owned(), state(&mut ensemble, &mut names)?));
    for (at, ask) in ASKS.iter().enumerate() {
        let sid = 1 + i64::try_from(at)? % 3;
        let what = format!(
            "{at}: joining {:?}, leaving {:?}, members {:?}, asked of {sid}",
            ask.joining, ask.leaving, ask.members
        );
        (setting.progress)(&format!("{} {what}", kinds[0]));
        let answer = asked(&ensemble, sid, ask, &mut names).with_context(|| what.clone())?;
        let after = state(&mut ensemble, &mut names).with_context(|| what.clone())?;
        told.push((what, format!("{answer}\n{after}")));
    }
    for sid in ensemble.running() {
        ensemble.stop(sid)?;
    }
    Ok(told)
}

/// Where it is not enabled.
fn disabled(setting: &Setting<'_>, kinds: &[Kind], dir: &Path) -> Result<(String, String)> {
    let mut plan = Plan::new(kinds, dir);
    plan.wired = false;
    let mut ensemble = Ensemble::lay_out(setting.programs, &plan)?;
    ensemble.start_all(&[1, 2, 3])?;
    let mut answers = String::new();
    for sid in [1, 2, 3] {
        let ask = Ask { logged_in: false, ..join("server.4=a:1:2;3") };
        answers += &asked(&ensemble, sid, &ask, &mut Names::default())?;
    }
    Ok(("not enabled".to_owned(), answers))
}

fn asked(ensemble: &Ensemble, sid: i64, ask: &Ask, names: &mut Names) -> Result<String> {
    let addr = ensemble.addr(sid)?;
    let mut client = Client::connect(addr, TIMEOUT_MS)?;
    if ask.logged_in {
        client.login("super:secret")?;
    }
    let real = |text: Option<&str>| text.map(|text| ensemble.with_ports(text));
    let config_id = match ask.version {
        Version::Any => -1,
        Version::Wrong => 0x7777,
        Version::Current => {
            let now = config(&mut client)?;
            i64::from_str_radix(now.0.rsplit_once("version=").context("no version")?.1, 16)?
        }
    };
    let answer = client.ask(Request::Reconfig {
        joining: real(ask.joining),
        leaving: real(ask.leaving),
        members: real(ask.members),
        config_id,
    })?;
    client.close()?;
    let mut told = format!("err {}\n", answer["err"]);
    if answer["err"] == 0 {
        told += &names.of(ensemble, &text_of(&answer["data"])?);
        told += &lasting(&answer["stat"]);
    }
    Ok(told)
}

/// What every member serves and keeps, once all have come to the same version.
fn state(ensemble: &mut Ensemble, names: &mut Names) -> Result<String> {
    let mut told = String::new();
    let mut client = Client::superuser(ensemble.addr(LEADER)?, TIMEOUT_MS)?;
    let (newest, _) = config(&mut client)?;
    client.close()?;
    for sid in ensemble.running() {
        let what = format!("server {sid} serves and keeps\n{newest}");
        let found = ensemble.await_that(&what, |ensemble| {
            let mut client = Client::superuser(ensemble.addr(sid).ok()?, TIMEOUT_MS).ok()?;
            let (text, stat) = config(&mut client).ok()?;
            client.close().ok()?;
            let files = kept(ensemble, sid, newest.rsplit_once("version=")?.1)?;
            (text == newest).then_some((text, stat, files))
        })?;
        let (text, stat, files) = found;
        told += &format!("server {sid} serves\n{}{stat}", names.of(ensemble, &text));
        for (name, text) in files {
            let name = names.of_file(&name);
            told += &format!("server {sid} keeps {name}\n{}", names.of(ensemble, &text));
        }
    }
    Ok(told)
}

/// A member's dynamic files, once the one of this version is in force. The file names its version;
/// inside there is none. What was proposed is kept until a moment after its commit.
pub(super) fn kept(
    ensemble: &Ensemble,
    sid: i64,
    version: &str,
) -> Option<BTreeMap<String, String>> {
    let (current, files) = ensemble.dynamic_files(sid).ok()?;
    let settled = current.ends_with(&format!(".{version}")) && !files.get(&current)?.is_empty();
    (settled && !files.contains_key("zoo.cfg.dynamic.next")).then_some(files)
}

/// `/zookeeper/config` as a member serves it behind a sync.
pub(super) fn config(client: &mut Client) -> Result<(String, String)> {
    let told = client.ask_all(&[
        Request::Path { op: op::SYNC, path: Some(CONFIG.to_owned()) },
        Request::Read { op: op::GET_DATA, path: Some(CONFIG.to_owned()), watch: false },
    ])?;
    let [_, told] = &told[..] else { anyhow::bail!("two answers") };
    ensure!(told["err"] == 0, "{CONFIG}: {told}");
    Ok((text_of(&told["data"])?, lasting(&told["stat"])))
}

/// What of a stat does not depend on what else was written, and when.
fn lasting(stat: &Value) -> String {
    let fields = ["version", "cversion", "aversion", "ephemeralOwner", "numChildren"];
    let each = fields.map(|field| format!("{field}={} ", stat[field]));
    format!("\n{}\n", each.concat())
}

/// A buffer of several lines, which is hexadecimal in what was parsed.
pub(super) fn text_of(data: &Value) -> Result<String> {
    match data["hex"].as_str() {
        Some(hex) => {
            let digits = hex.as_bytes().chunks(2).map(std::str::from_utf8);
            let bytes = digits.map(|pair| Ok(u8::from_str_radix(pair?, 16)?));
            Ok(String::from_utf8(bytes.collect::<Result<Vec<u8>>>()?)?)
        }
        None => Ok(data.as_str().unwrap_or_default().to_owned()),
    }
}

/// Versions by the order in which they appeared.
#[derive(Default)]
pub(super) struct Names {
    versions: BTreeMap<String, usize>,
}

impl Names {
    fn version(&mut self, text: &str) -> String {
        let next = self.versions.len();
        format!("v{}", self.versions.entry(text.to_owned()).or_insert(next))
    }

    /// A configuration with names for ports and versions.
    pub(super) fn of(&mut self, ensemble: &Ensemble, text: &str) -> String {
        let text = ensemble.with_names(text);
        match text.split_once("version=") {
            Some((before, version)) => {
                let end = version.find('\n').unwrap_or(version.len());
                let name = self.version(&version[..end]);
                format!("{before}version={name}{}", &version[end..])
            }
            None => text,
        }
    }

    pub(super) fn of_file(&mut self, name: &str) -> String {
        match name.strip_prefix("zoo.cfg.dynamic.") {
            None => name.to_owned(),
            Some(version) => format!("zoo.cfg.dynamic.{}", self.version(version)),
        }
    }
}
