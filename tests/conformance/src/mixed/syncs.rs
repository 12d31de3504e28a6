//! Every way of synchronisation from either make to the other, each seen on the wire.
//!
//! DIFF from memory, DIFF from the log on disk, SNAP to an empty follower, TRUNC of a leader that
//! has logged what nobody heard, the same with a proposal behind it that the next leader has under
//! way, and SNAP when an epoch lies between (a learner of Java's cannot cut across epochs).

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use oxkeeper_proto::PacketKind;

use super::chapters::{
    Extra, MANY, SOME, follower_away, go_to, leave_extra_entry, limit, never, proposed, truncated,
};
use super::load::{TOP, create};
use super::stage::Stage;
use super::{Setting, mixture};
use crate::ensemble::tape::Sync;
use crate::ensemble::{Flow, Mixture, Plan};
use crate::wire::{Connection, Received, Request, op, reply};

/// The two that win among equals are of different makes, so that each can be made to lead.
pub(super) fn mixtures(quick: bool) -> Vec<Mixture> {
    let all = ["java,ours,java", "ours,java,ours", "3.8,ours,3.8", "3.5,ours,3.5"];
    all[..if quick { 1 } else { all.len() }].iter().map(|text| mixture(text)).collect()
}

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    ensure!(mixture.voting.len() == 3, "one leads, one learns, one makes the quorum");
    let plan = Plan::new(&mixture.voting, dir).property("zookeeper.snapshotSizeFactor", "0");
    let mut stage = Stage::open(setting.programs, &plan, &[1, 2, 3], setting.seed)?;
    stage.load.await_progress(500)?;
    stage.check().context("cold start")?;
    for (leader, learner) in [(3, 2), (2, 3)] {
        let what = stage.ensemble.pair(leader, learner)?;
        let mut tell = |step: &str| (setting.progress)(&format!("{mixture}: {what}: {step}"));
        stage.ensemble.make_lead(leader)?;
        for (step, txns, mode) in [
            ("DIFF from memory", SOME, PacketKind::DIFF),
            ("DIFF from the log", MANY, PacketKind::DIFF),
            ("SNAP", MANY, PacketKind::SNAP),
        ] {
            tell(step);
            let wipe = mode == PacketKind::SNAP;
            let sync = follower_away(&mut stage, learner, txns, mode, |stage| {
                if wipe { stage.ensemble.wipe(learner) } else { Ok(()) }
            });
            by(leader, sync?).with_context(|| format!("{step}, {what}"))?;
            stage.check().with_context(|| format!("{step}, {what}"))?;
        }
        for (step, run) in [
            ("TRUNC", truncated as fn(&mut Stage) -> Result<Sync>),
            ("TRUNC and what is under way", truncated_and_told),
            ("SNAP across epochs", overtaken),
        ] {
            tell(step);
            stage.ensemble.make_lead(learner)?;
            let sync = run(&mut stage).with_context(|| format!("{step}, {what}"))?;
            by(leader, sync).with_context(|| format!("{step}, {what}"))?;
            stage.check().with_context(|| format!("{step}, {what}"))?;
        }
    }
    stage.close()
}

fn by(leader: i64, sync: Sync) -> Result<()> {
    ensure!(sync.leader == leader, "server {} led: {sync:?}", sync.leader);
    Ok(())
}

/// The others have gone on when an old leader comes back: no TRUNC leads across an epoch.
fn overtaken(stage: &mut Stage) -> Result<Sync> {
    stage.load.pause()?;
    let Extra { leader: old, path, scribe } = leave_extra_entry(stage)?;
    stage.load.resume();
    stage.load.await_progress(SOME)?;
    let since = Instant::now();
    stage.ensemble.start(old)?;
    let sync = stage.sync_of(old, since)?;
    ensure!(sync.mode.kind == PacketKind::SNAP, "server {old} was synchronised by {sync:x?}");
    stage.checked();
    stage.await_all()?;
    scribe.close()?;
    never(stage, &path)?;
    Ok(sync)
}

/// An old leader comes back while the next one waits for the quorum of a first transaction: TRUNC,
/// then that proposal, and with this follower it is committed.
fn truncated_and_told(stage: &mut Stage) -> Result<Sync> {
    stage.load.pause()?;
    // To begin a session with the next leader would be a transaction of its own.
    let now = stage.leader()?;
    let mut asking = stage.session_at(now)?;
    let Extra { leader: old, path, scribe } = leave_extra_entry(stage)?;
    let next = stage.leader()?;
    let third = stage.followers()?.into_iter().find(|&sid| sid != old).context("a third")?;
    go_to(&mut asking, stage.place(next)?)?;
    let others = stage.ensemble.sids();
    stage.ensemble.wires()?.set_between(&[old], &others, Flow::Held);
    stage.ensemble.start(old)?;
    stage.ensemble.await_that("the old leader looks for the next", |ensemble| {
        ensemble.word(old, "ruok").ok().filter(|said| said.contains("imok"))
    })?;
    // What the third acknowledges is not heard from now on.
    stage.ensemble.wires()?.set(third, next, Flow::Held);
    let known = proposed(stage, next, third)?;
    let mut link = Connection::open(stage.ensemble.addr(next)?)?;
    link.send(&asking.handshake());
    let Received::Frame(greeting) = link.receive()? else { bail!("no greeting") };
    ensure!(reply::parse_connect(&greeting)["sessionId"] != 0, "the session is gone");
    let wanted = format!("{TOP}/by-both");
    link.send(&create(&wanted, "", 0).frame(100, 0));
    let began = Instant::now();
    while proposed(stage, next, third)? <= known {
        ensure!(began.elapsed() < limit(), "server {next} does not propose");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let since = began;
    stage.ensemble.wires()?.set_between(&[old], &others, Flow::Open);
    let sync = stage.sync_of(old, since);
    stage.ensemble.wires()?.heal();
    let sync = sync?;
    ensure!(sync.mode.kind == PacketKind::TRUNC, "server {old} was synchronised by {sync:x?}");
    ensure!(sync.learner_has > sync.mode.zxid, "server {old} has nothing to forget: {sync:x?}");
    ensure!(sync.proposals == 1, "what is under way was not told behind TRUNC: {sync:x?}");
    let Received::Frame(answer) = link.receive()? else { bail!("no answer") };
    let answer = reply::parse(&answer, op::CREATE2);
    ensure!(answer["err"] == 0, "with two of three it is done: {answer}");
    stage.checked();
    stage.await_all()?;
    never(stage, &path)?;
    // Its session has gone over to the link.
    asking.ping()?;
    let delete = Request::PathInt { op: op::DELETE, path: Some(wanted), number: -1 };
    ensure!(asking.ask(delete)?.done().is_some(), "what was done is gone");
    asking.close()?;
    scribe.close()?;
    stage.load.resume();
    Ok(sync)
}
