//! Read-only mode (`readonlymode.enabled`): a member whose quorum is gone serves those who only
//! read, whatever the others were; and several addresses per server (`multiAddress.enabled`).

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::chapters::SOME;
use super::load::create;
use super::stage::Stage;
use super::{Setting, mixture};
use crate::disk::client::{Client, Identity};
use crate::ensemble::{Ensemble, Flow, Kind, Mixture, Plan, SYNC_LIMIT, TICK_MS};
use crate::wire::{Blob, ConnectRequest, Request, op};

/// Timeout of the sessions, ms: longer than everything here takes.
const TIMEOUT_MS: i32 = 60_000;
/// `KeeperException.Code`: NOTREADONLY.
const NOT_READ_ONLY: i64 = -119;

pub(super) fn mixtures(_quick: bool) -> Vec<Mixture> {
    ["java,ours,java", "ours,java,ours"].map(mixture).into()
}

pub(super) fn mixtures_of_addresses(_quick: bool) -> Vec<Mixture> {
    ["java,ours,java", "ours,java,ours", "ours,ours,ours"].map(mixture).into()
}

/// Each make is left alone in turn.
pub(super) fn read_only(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    let plan = Plan::new(&mixture.voting, dir)
        .property("readonlymode.enabled", "true")
        .config("localSessionsEnabled", "true")
        .config("localSessionsUpgradingEnabled", "true");
    let mut ensemble = Ensemble::lay_out(setting.programs, &plan)?;
    let all = ensemble.sids();
    ensemble.start_all(&all)?;
    let mut checks = 0;
    for &sid in &all[..2] {
        let kind = ensemble.kind(sid)?;
        (setting.progress)(&format!("{mixture}: {kind} {sid} is left alone"));
        let left = left_alone(&mut ensemble, sid);
        checks += left.with_context(|| format!("{kind} {sid} is left alone"))?;
    }
    for sid in all {
        ensemble.stop(sid)?;
    }
    Ok(checks)
}

fn left_alone(ensemble: &mut Ensemble, sid: i64) -> Result<usize> {
    let addr = ensemble.addr(sid)?;
    let (own, plain) = (format!("/own-{sid}"), format!("/plain-{sid}"));
    let sync = Request::Path { op: op::SYNC, path: Some("/".to_owned()) };
    let mut client = Client::connect(addr, TIMEOUT_MS)?;
    let told = client.ask_all(&[create(&own, "", 1), create(&plain, "data", 0), sync.clone()])?;
    ensure!(told.iter().all(|told| told["err"] == 0), "before: {told:?}");
    let read = Request::Read { op: op::GET_DATA, path: Some(plain.clone()), watch: false };
    let before = client.ask(read.clone())?;
    ensure!(before["err"] == 0, "before: {before}");
    let known = client.identity();

    let others: Vec<i64> = ensemble.running().into_iter().filter(|&other| other != sid).collect();
    others.iter().try_for_each(|&other| ensemble.kill(other))?;
    let is_ro = |ensemble: &mut Ensemble| (ensemble.word(sid, "isro").ok()? == "ro").then_some(());
    ensemble.await_that("it serves those who only read", is_ro)?;
    ensure!(ensemble.word(sid, "srvr")?.contains("Mode: read-only"), "what srvr says");

    // Who wants to write is turned away, and keeps its session.
    ensure!(Client::connect(addr, TIMEOUT_MS).is_err(), "a client that writes is taken");
    let reader = |session: Option<&Identity>| {
        let mut first = ConnectRequest::new(TIMEOUT_MS);
        first.read_only = Some(true);
        if let Some((id, password)) = session {
            (first.session, first.password) = (*id, Blob(Some(password.clone())));
        }
        Client::greet(addr, &first)?.context("a reader is refused")
    };
    let mut new = reader(None).context("a new session")?;
    let told = new.ask(read.clone())?;
    ensure!(told["stat"] == before["stat"] && told["data"] == before["data"], "{told}");
    let told = new.ask(create("/never", "", 0))?;
    ensure!(told["err"] == NOT_READ_ONLY, "a write in read-only mode: {told}");
    ensure!(reader(Some(&known)).is_err(), "the ensemble's session is taken without it");

    others.iter().try_for_each(|&other| ensemble.start(other))?;
    let all = ensemble.sids();
    ensemble.await_serving(&all)?;
    ensure!(ensemble.word(sid, "isro")? == "rw", "isro once there is a quorum");
    let back = Client::resume(addr, TIMEOUT_MS, &known)?;
    let mut back = back.context("its session is gone")?;
    let kept = Request::Read { op: op::EXISTS, path: Some(own), watch: false };
    let never = Request::Read { op: op::EXISTS, path: Some("/never".into()), watch: false };
    let remove = Request::PathInt { op: op::DELETE, path: Some(plain), number: -1 };
    let told = back.ask_all(&[sync, kept, never, remove])?;
    let codes: Vec<_> = told.iter().map(|told| told["err"].as_i64()).collect();
    let no_node = Some(i64::from(super::load::NO_NODE));
    ensure!(codes == [Some(0), Some(0), no_node, Some(0)], "afterwards: {codes:?}");
    ensure!(told[1]["stat"]["ephemeralOwner"] == known.0, "whose it is: {}", told[1]);
    back.close()?;
    Ok(13)
}

/// Every server has two addresses, each in a network of its own. Leaders are killed; and the leader
/// and another lose each of the two networks, in either way. Where we may not take addresses away
/// ([`addresses`](crate::ensemble::addresses)), only servers of ours lose any.
pub(super) fn addresses(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    let plan = Plan::new(&mixture.voting, dir).two_addresses();
    let mut stage = Stage::open(setting.programs, &plan, &[1, 2, 3], setting.seed)?;
    stage.load.await_progress(SOME)?;
    stage.check().context("cold start")?;
    let all_ours = mixture.voting.iter().all(|&kind| kind == Kind::Oxkeeper);
    for leader in stage.one_of_each_kind()? {
        let kind = stage.ensemble.kind(leader)?;
        (setting.progress)(&format!("{mixture}: {kind} {leader} leads"));
        stage.ensemble.make_lead(leader)?;
        stage.load.await_progress(SOME)?;
        stage.ensemble.kill(leader)?;
        stage.ensemble.await_leader(Some(leader))?;
        stage.load.await_progress(SOME)?;
        stage.ensemble.start(leader)?;
        stage.await_all()?;
        stage.check().with_context(|| format!("{leader} was killed"))?;
        if !all_ours && !stage.ensemble.addresses_can_go() {
            (setting.progress)(&format!("{mixture}: no right to take addresses from Java"));
            continue;
        }
        for flow in [Flow::Lost, Flow::Gone] {
            for (sid, network) in
                [(leader, 0), (leader, 1), (leader % 3 + 1, 0), (leader % 3 + 1, 1)]
            {
                let what = format!("{kind} {leader} leads, address {network} of {sid} is {flow:?}");
                (setting.progress)(&format!("{mixture}: {what}"));
                stage.ensemble.make_lead(leader)?;
                without_address(&mut stage, sid, network, flow).context(what)?;
            }
        }
    }
    stage.close()
}

/// A member is reached at its other address by everybody, for as long as this one is gone.
fn without_address(stage: &mut Stage, sid: i64, network: usize, flow: Flow) -> Result<()> {
    stage.ensemble.leave_network(network, sid, flow)?;
    let began = Instant::now();
    // Long enough to miss whatever went that way.
    while began.elapsed() < Duration::from_millis(2 * SYNC_LIMIT * TICK_MS) {
        stage.load.await_progress(SOME / 3)?;
    }
    stage.await_all()?;
    stage.check().context("over the other address")?;
    stage.ensemble.join_network(network, sid)?;
    stage.load.await_progress(SOME)?;
    stage.checked();
    Ok(())
}
