//! Members that move while they run: other roles, other ports, out and in again, the leader among
//! them. The same steps with Java's servers alone and with others: what every member serves as
//! `/zookeeper/config`, and the dynamic files of all, must be the same, byte for byte.
//!
//! A reply may be lost with the connection when the leader goes, and who leads then is chance;
//! replies are compared by `refusals`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Setting;
use super::reconfiguration::{NOT_NOW, change};
use super::refusals::{Names, Transcript, beside_java, config, kept, text_of};
use crate::disk::client::Client;
use crate::ensemble::{Ensemble, Kind, Mixture, PATIENCE, Plan};

/// The same as those that are refused something.
pub(super) use super::refusals::mixtures;

const TIMEOUT_MS: i32 = 20_000;
/// Whoever leads at first.
const LEADER: i64 = 3;
/// Its ports are free: it never runs.
const SPARE: i64 = 4;

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    ensure!(mixture.voting.len() == 3, "three members move");
    beside_java(transcript, setting, mixture, dir)
}

/// What happens to a member. Ports are written as in `refusals`.
struct Step {
    what: &'static str,
    joining: Option<&'static str>,
    leaving: Option<&'static str>,
    /// Whose client port moves to the spare one, or back.
    moves: Option<i64>,
    /// The one that is to lead does so at first.
    led: bool,
}

const fn join(what: &'static str, text: &'static str) -> Step {
    Step { what, joining: Some(text), leaving: None, moves: None, led: false }
}

const STEPS: [Step; 11] = [
    Step {
        led: true,
        ..join("a follower observes", "server.1=127.0.0.1:q1:e1:observer;127.0.0.1:c1")
    },
    join("and votes again", "server.1=127.0.0.1:q1:e1:participant;127.0.0.1:c1"),
    Step {
        moves: Some(1),
        ..join("its client port moves", "server.1=127.0.0.1:q1:e1:participant;127.0.0.1:c4")
    },
    Step {
        moves: Some(1),
        // The two have changed their ports: c4 is the one that it had.
        ..join("and back", "server.1=127.0.0.1:q1:e1:participant;127.0.0.1:c4")
    },
    join("a follower's quorum port moves", "server.2=127.0.0.1:q4:e2:participant;127.0.0.1:c2"),
    join("its election port moves", "server.2=127.0.0.1:q4:e4:participant;127.0.0.1:c2"),
    join("both move back", "server.2=127.0.0.1:q2:e2:participant;127.0.0.1:c2"),
    Step {
        led: true,
        ..join(
            "the leader's quorum port moves",
            "server.3=127.0.0.1:q4:e3:participant;127.0.0.1:c3",
        )
    },
    join("and back", "server.3=127.0.0.1:q3:e3:participant;127.0.0.1:c3"),
    Step { what: "the leader leaves", joining: None, leaving: Some("3"), moves: None, led: true },
    join("and comes again", "server.3=127.0.0.1:q3:e3:participant;127.0.0.1:c3"),
];

fn transcript(setting: &mut Setting<'_>, kinds: &[Kind], dir: &Path) -> Result<Transcript> {
    // One more, which never runs.
    let plan = Plan::new(kinds, dir).reconfigurable(&[kinds[0]]);
    let mut ensemble = Ensemble::lay_out(setting.programs, &plan)?;
    let all = [1, 2, 3];
    ensemble.start_all(&all)?;
    let mut names = Names::default();
    let mut told = Vec::new();
    for step in &STEPS {
        if step.led {
            ensemble.make_lead(LEADER)?;
        }
        (setting.progress)(&format!("{}: {}", kinds[0], step.what));
        let version = done(&mut ensemble, step).context(step.what)?;
        if let Some(sid) = step.moves {
            ensemble.swap_client_ports(sid, SPARE)?;
        }
        let gone = step.leaving.and_then(|sid| sid.parse().ok());
        let after = after(&mut ensemble, &all, gone, &version, &mut names);
        told.push((step.what.to_owned(), after.context(step.what)?));
    }
    for sid in ensemble.running() {
        ensemble.stop(sid)?;
    }
    Ok(told)
}

/// Asks until it is done: the version that it made.
fn done(ensemble: &mut Ensemble, step: &Step) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let real = |text: Option<&str>| text.map(|text| ensemble.with_ports(text));
    let (joining, leaving) = (real(step.joining), real(step.leaving));
    let mut before = None;
    loop {
        ensure!(Instant::now() < deadline, "{joining:?} {leaving:?} is never done");
        std::thread::sleep(Duration::from_millis(50));
        let leader = ensemble.await_leader(None)?;
        let Ok(mut client) = Client::superuser(ensemble.addr(leader)?, TIMEOUT_MS) else {
            continue;
        };
        let Ok((text, _)) = config(&mut client) else { continue };
        // An answer may be lost with the connection: what is already so is done.
        if *before.get_or_insert_with(|| text.clone()) != text {
            return version_of(&text);
        }
        let Ok(answer) = client.ask(change(&joining, &leaving)) else { continue };
        match answer["err"].as_i64() {
            Some(0) => return version_of(&text_of(&answer["data"])?),
            Some(code) if NOT_NOW.contains(&code) => {}
            _ => bail!("{joining:?} {leaving:?} is refused: {answer}"),
        }
    }
}

fn version_of(text: &str) -> Result<String> {
    Ok(text.rsplit_once("version=").context("no version")?.1.trim().to_owned())
}

/// What all serve and keep. Whoever has left keeps what it was told last.
fn after(
    ensemble: &mut Ensemble,
    all: &[i64],
    gone: Option<i64>,
    version: &str,
    names: &mut Names,
) -> Result<String> {
    let stay: Vec<i64> = all.iter().copied().filter(|&sid| Some(sid) != gone).collect();
    ensemble.await_serving(&stay)?;
    let mut told = String::new();
    for &sid in all {
        let what = format!("server {sid} serves and keeps {version}");
        let (serves, files) = ensemble.await_that(&what, |ensemble| {
            let files = kept(ensemble, sid, version)?;
            if Some(sid) == gone {
                return Some((String::new(), files));
            }
            let mut client = Client::superuser(ensemble.addr(sid).ok()?, TIMEOUT_MS).ok()?;
            let (text, stat) = config(&mut client).ok()?;
            client.close().ok()?;
            // The port that it listens at, and says that it does.
            let conf = ensemble.word(sid, "conf").ok()?;
            let port = conf.lines().find(|line| line.starts_with("clientPort="))?;
            let serves = format!("{text}{stat}{port}\n");
            (version_of(&text).ok()? == version).then_some((serves, files))
        })?;
        told += &format!("server {sid} serves\n{}", names.of(ensemble, &serves));
        for (name, text) in files {
            let name = names.of_file(&name);
            told += &format!("server {sid} keeps {name}\n{}", names.of(ensemble, &text));
        }
    }
    Ok(told)
}
