//! Observers that hang at followers (`observerMasterPort`), of either make at either make.
//!
//! Where an observer hangs is seen on its wires: those to the followers' observer ports have tapes
//! of their own. To have it at one follower, its wires to the other are cut.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use oxkeeper_proto::PacketKind;

use super::chapters::{MANY, SOME, follower_away, go_to};
use super::load::session::Told;
use super::load::{TOP, create, set};
use super::stage::Stage;
use super::{Setting, mixture};
use crate::ensemble::tape::Sync;
use crate::ensemble::{Flow, Mixture, Mode, Plan};
use crate::wire::{Request, op};

/// Both makes observe, at both makes of followers, under both makes of leaders.
pub(super) fn mixtures(quick: bool) -> Vec<Mixture> {
    let all =
        ["ours,java,ours+java", "java,ours,java+ours", "3.8,ours,3.8+3.8", "3.7,ours,3.7+ours"];
    all[..if quick { 1 } else { all.len() }].iter().map(|text| mixture(text)).collect()
}

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    let mut plan = Plan::new(&mixture.voting, dir)
        .observer_masters()
        .property("zookeeper.snapshotSizeFactor", "0");
    plan = plan.observer(mixture.observing.context("nobody observes")?);
    let starting: Vec<i64> = (1..).zip(&plan.members).map(|(sid, _)| sid).collect();
    let mut stage = Stage::open(setting.programs, &plan, &starting, setting.seed)?;
    let observer = *starting.last().context("an observer")?;
    stage.load.await_progress(SOME)?;
    stage.check().context("cold start")?;
    for leader in stage.one_of_each_kind()? {
        stage.ensemble.make_lead(leader)?;
        for master in stage.followers()? {
            let what = stage.ensemble.pair(master, observer)?;
            (setting.progress)(&format!("{mixture}: {what}, under {leader}"));
            at(&mut stage, observer, leader, master).context(what)?;
        }
    }
    (setting.progress)(&format!("{mixture}: the follower dies"));
    master_killed(&mut stage, observer).context("the follower dies")?;
    stage.close()
}

/// Where the observer hangs now, and how it was synchronised there.
fn hangs(stage: &Stage, observer: i64) -> Option<(i64, Sync)> {
    let newest = stage.on_tape(observer, |tape| Some((tape.leader, tape.by_master, tape.sync())));
    let (master, by_master, sync) = newest.ok()??;
    let sync = sync.filter(|sync| sync.complete)?;
    let serves = stage.ensemble.mode(observer) == Some(Mode::Observer);
    (by_master && serves).then_some((master, sync))
}

/// The observer at one follower: events, requests, sessions, and its own death and return.
fn at(stage: &mut Stage, observer: i64, leader: i64, master: i64) -> Result<()> {
    let others = stage.ensemble.participants();
    let others: Vec<i64> =
        others.into_iter().filter(|&sid| sid != master && sid != leader).collect();
    stage.ensemble.wires()?.set_between(&[observer], &others, Flow::Cut);
    await_hanging(stage, observer, |at| at == master)?;
    let told = stage.ensemble.monitor(observer)?;
    let told = told.get("zk_observer_master_id").cloned();
    ensure!(told == Some(master.to_string()), "zk_observer_master_id is {told:?}");
    let informed = count(stage, observer, PacketKind::INFORM)?;
    stage.load.await_progress(SOME)?;
    ensure!(count(stage, observer, PacketKind::INFORM)? > informed, "the observer hears nothing");
    visited(stage, leader, observer)?;
    // Away and back: few transactions, then all of them.
    follower_away(stage, observer, SOME, PacketKind::DIFF, |_| Ok(()))?;
    ensure!(hangs(stage, observer).is_some_and(|(at, _)| at == master), "it hangs elsewhere");
    follower_away(stage, observer, MANY, PacketKind::SNAP, |stage| stage.ensemble.wipe(observer))?;
    ensure!(hangs(stage, observer).is_some_and(|(at, _)| at == master), "it hangs elsewhere");
    let direct = stage.on_tape(observer, |tape| (!tape.by_master).then_some(tape.leader))?;
    ensure!(direct.is_none(), "the observer has gone to the quorum port of {direct:?}");
    stage.ensemble.wires()?.heal();
    stage.checked();
    stage.check()
}

/// A session comes from the leader to the observer with an ephemeral and a watch, and writes there.
fn visited(stage: &mut Stage, leader: i64, observer: i64) -> Result<()> {
    let mut session = stage.session_at(leader)?;
    let (own, data) = (format!("{TOP}/visitor"), format!("{TOP}/visitor-data"));
    for (path, flags) in [(&own, 1), (&data, 0)] {
        let told = session.ask(create(path, "", flags))?;
        ensure!(told.done().is_some(), "{path}: {told:?}");
    }
    go_to(&mut session, stage.place(observer)?)?;
    let read = |op, path: &str, watch| Request::Read { op, path: Some(path.to_owned()), watch };
    let told = session.ask_all(&[
        read(op::GET_DATA, &data, true),
        set(&data, "by the observer", -1),
        Request::Path { op: op::SYNC, path: Some(data.clone()) },
        read(op::GET_DATA, &data, false),
        read(op::EXISTS, &own, false),
    ])?;
    let all = told.iter().map(Told::done).collect::<Option<Vec<_>>>();
    let all = all.with_context(|| format!("at the observer: {told:?}"))?;
    ensure!(all[3].1["data"] == "by the observer", "{}", all[3].1);
    ensure!(all[4].1["stat"]["ephemeralOwner"] == session.id(), "{}", all[4].1);
    let event = session.next_event();
    ensure!(event.is_some_and(|event| event.path == data), "no event at the observer");
    let delete = Request::PathInt { op: op::DELETE, path: Some(data), number: -1 };
    let told = session.ask(delete)?;
    ensure!(told.done().is_some(), "{told:?}");
    session.close()?;
    for (up, kind) in [
        (true, PacketKind::REQUEST),
        (true, PacketKind::REVALIDATE),
        (false, PacketKind::REVALIDATE),
        (false, PacketKind::SYNC),
    ] {
        let seen = stage.on_tape(observer, |tape| {
            Some(if up { tape.up.count(kind) } else { tape.down.count(kind) })
        })?;
        ensure!(seen.is_some_and(|count| count > 0), "no {kind} passed the follower, up {up}");
        stage.checked();
    }
    Ok(())
}

/// The follower at which it hangs is killed: it goes to another.
fn master_killed(stage: &mut Stage, observer: i64) -> Result<()> {
    let (master, _) = await_hanging(stage, observer, |_| true)?;
    stage.let_one_die(observer)?;
    stage.ensemble.kill(master)?;
    let (other, _) = await_hanging(stage, observer, |at| at != master)?;
    let since = Instant::now();
    stage.load.await_progress(SOME)?;
    stage.ensemble.start(master)?;
    stage.sync_of(master, since)?;
    stage.await_all()?;
    let still = hangs(stage, observer).map(|(at, _)| at);
    ensure!(still == Some(other), "it has left {other} for {still:?}");
    stage.checked();
    stage.load.await_progress(SOME)?;
    stage.check()
}

fn await_hanging(
    stage: &mut Stage,
    observer: i64,
    wanted: impl Fn(i64) -> bool,
) -> Result<(i64, Sync)> {
    let began = Instant::now();
    loop {
        if let Some(found) = hangs(stage, observer).filter(|(at, _)| wanted(*at)) {
            return Ok(found);
        }
        let newest = stage.on_tape(observer, |tape| Some((tape.leader, tape.by_master)))?;
        ensure!(
            began.elapsed() < crate::ensemble::PATIENCE,
            "the observer does not come to hang where it should; its newest connection: {newest:?}"
        );
        stage.load.await_progress(1)?;
    }
}

/// Packets from the follower on the observer's newest connection.
fn count(stage: &Stage, observer: i64, kind: PacketKind) -> Result<usize> {
    let count = stage.on_tape(observer, |tape| Some(tape.down.count(kind)))?;
    count.context("the observer has no connection")
}
