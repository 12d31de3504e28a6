//! Local sessions (`localSessionsEnabled`, `localSessionsUpgradingEnabled`) at members of either
//! make under leaders of either make.
//!
//! Whether a session is local is seen from outside: it costs no transaction, the leader does not
//! know it, and no other member takes it. Its first ephemeral makes it one of the ensemble's.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::chapters::SOME;
use super::load::{TOP, create};
use super::stage::Stage;
use super::{Setting, mixture};
use crate::disk::client::Client;
use crate::ensemble::{Ensemble, Mixture, Plan};
use crate::wire::{Request, op};

/// Timeout of sessions that are meant to live, ms.
const TIMEOUT_MS: i32 = 30_000;
/// Timeout of sessions that are to expire, ms.
const MORTAL_MS: i32 = 2_000;
/// `KeeperException.Code`: EPHEMERALONLOCALSESSION.
const EPHEMERAL_ON_LOCAL_SESSION: i64 = -120;

pub(super) fn mixtures(quick: bool) -> Vec<Mixture> {
    let all = ["java,ours,java+ours", "ours,java,ours+java", "3.5,ours,3.5"];
    all[..if quick { 1 } else { all.len() }].iter().map(|text| mixture(text)).collect()
}

fn plan(mixture: &Mixture, dir: &Path) -> Plan {
    let plan = Plan::new(&mixture.voting, dir).config("localSessionsEnabled", "true");
    mixture.observing.map_or(plan.clone(), |kind| plan.observer(kind))
}

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    let plain = never_upgraded(setting, mixture, &dir.join("never-upgraded"));
    let plain = plain.context("without upgrading")?;
    let plan = plan(mixture, &dir.join("upgraded")).config("localSessionsUpgradingEnabled", "true");
    let starting: Vec<i64> = (1..).zip(&plan.members).map(|(sid, _)| sid).collect();
    let mut stage = Stage::open(setting.programs, &plan, &starting, setting.seed)?;
    // By now each of the load's sessions has had an ephemeral.
    stage.load.await_progress(500)?;
    stage.check().context("cold start")?;
    for leader in stage.one_of_each_kind()? {
        stage.ensemble.make_lead(leader)?;
        for sid in stage.ensemble.running() {
            let what = stage.ensemble.pair(leader, sid)?;
            (setting.progress)(&format!("{mixture}: a local session, {what}"));
            stage.load.pause()?;
            one(&mut stage, leader, sid).context(what)?;
            stage.load.resume();
            stage.let_one_die(sid)?;
            stage.check()?;
        }
    }
    (setting.progress)(&format!("{mixture}: upgraded sessions outlive their leader"));
    let leader = stage.ensemble.await_leader(None)?;
    stage.ensemble.kill(leader)?;
    stage.ensemble.await_leader(Some(leader))?;
    stage.load.await_progress(SOME)?;
    stage.ensemble.start(leader)?;
    stage.await_all()?;
    Ok(plain + stage.close()?)
}

/// The last transaction that a member has applied (`srvr`).
fn zxid(ensemble: &Ensemble, sid: i64) -> Result<i64> {
    let said = ensemble.word(sid, "srvr")?;
    let zxid = said.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).context("a zxid")?;
    i64::from_str_radix(zxid, 16).context("a zxid")
}

/// Whether a member knows a session (`dump`).
fn knows(ensemble: &Ensemble, sid: i64, session: i64) -> Result<bool> {
    Ok(ensemble.word(sid, "dump")?.to_lowercase().contains(&format!("0x{session:x}")))
}

/// Nobody writes meanwhile.
fn one(stage: &mut Stage, leader: i64, sid: i64) -> Result<()> {
    let elsewhere = stage.ensemble.running().into_iter().find(|&other| other != sid);
    let elsewhere = stage.ensemble.addr(elsewhere.context("another member")?)?;
    let home = stage.ensemble.addr(sid)?;
    let before = zxid(&stage.ensemble, leader)?;

    let mut client = Client::connect(home, TIMEOUT_MS)?;
    let known = client.identity();
    ensure!(zxid(&stage.ensemble, leader)? == before, "its beginning is a transaction");
    ensure!(knows(&stage.ensemble, sid, known.0)?, "its own server does not tell of it");
    let (plain, own) = (format!("{TOP}/by-local"), format!("{TOP}/of-local"));
    let told = client.ask(create(&plain, "", 0))?;
    ensure!(told["err"] == 0, "a local session writes: {told}");
    ensure!(zxid(&stage.ensemble, leader)? == before + 1, "a write is one transaction");
    if sid != leader {
        ensure!(!knows(&stage.ensemble, leader, known.0)?, "the leader knows of it");
    }
    let moved = Client::resume(elsewhere, TIMEOUT_MS, &known)?;
    ensure!(moved.is_none(), "another member takes a local session");
    let told =
        client.ask(Request::Read { op: op::EXISTS, path: Some(plain.clone()), watch: false });
    ensure!(told?["err"] == 0, "it has ended where it lives");

    // It becomes one of the ensemble's: its session, then its znode.
    let before = zxid(&stage.ensemble, leader)?;
    let told = client.ask(create(&own, "", 1))?;
    ensure!(told["err"] == 0, "the first ephemeral: {told}");
    ensure!(told["stat"]["ephemeralOwner"] == known.0, "{told}");
    ensure!(zxid(&stage.ensemble, leader)? == before + 2, "an upgrade and a znode");
    ensure!(knows(&stage.ensemble, leader, known.0)?, "the leader does not know of it");
    drop(client);
    let moved = Client::resume(elsewhere, TIMEOUT_MS, &known)?;
    let mut moved = moved.context("an upgraded session is refused elsewhere")?;
    let told =
        moved.ask(Request::Read { op: op::EXISTS, path: Some(own.clone()), watch: false })?;
    ensure!(told["stat"]["ephemeralOwner"] == known.0, "{told}");
    let told = moved.ask(Request::PathInt { op: op::DELETE, path: Some(plain), number: -1 })?;
    ensure!(told["err"] == 0, "an upgraded session writes elsewhere: {told}");
    moved.close()?;
    let mut other = Client::connect(home, TIMEOUT_MS)?;
    let sync = Request::Path { op: op::SYNC, path: Some("/".to_owned()) };
    let read = Request::Read { op: op::EXISTS, path: Some(own), watch: false };
    let told = other.ask_all(&[sync, read])?;
    ensure!(told[1]["err"] == i64::from(super::load::NO_NODE), "closed, and its ephemeral stays");
    other.close()?;
    expires(stage, leader, sid)
}

/// A local session falls silent: its server forgets it, and nobody else hears of that.
fn expires(stage: &mut Stage, leader: i64, sid: i64) -> Result<()> {
    let home = stage.ensemble.addr(sid)?;
    let before = zxid(&stage.ensemble, leader)?;
    let known = Client::connect(home, MORTAL_MS)?.identity();
    ensure!(knows(&stage.ensemble, sid, known.0)?, "its own server does not tell of it");
    stage.ensemble.await_that("a silent local session is forgotten", |ensemble| {
        knows(ensemble, sid, known.0).ok().filter(|known| !known)
    })?;
    ensure!(Client::resume(home, MORTAL_MS, &known)?.is_none(), "it has expired, and goes on");
    ensure!(zxid(&stage.ensemble, leader)? == before, "its end is a transaction");
    (0..12).for_each(|_| stage.checked());
    Ok(())
}

/// Where they are not upgraded, an ephemeral is refused, everywhere with the same code.
fn never_upgraded(setting: &Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    let plan = plan(mixture, dir).config("localSessionsUpgradingEnabled", "false");
    let mut ensemble = Ensemble::lay_out(setting.programs, &plan)?;
    let all = ensemble.sids();
    ensemble.start_all(&all)?;
    for &sid in &all {
        let mut client = Client::connect(ensemble.addr(sid)?, TIMEOUT_MS)?;
        let (plain, own) = (format!("/plain-{sid}"), format!("/own-{sid}"));
        let told = client.ask_all(&[create(&own, "", 1), create(&plain, "", 0)])?;
        let codes = [&told[0]["err"], &told[1]["err"]].map(serde_json::Value::as_i64);
        let expected = [Some(EPHEMERAL_ON_LOCAL_SESSION), Some(0)];
        ensure!(codes == expected, "server {sid}, {}: {codes:?}", ensemble.kind(sid)?);
        client.close()?;
    }
    Ok(all.len())
}
