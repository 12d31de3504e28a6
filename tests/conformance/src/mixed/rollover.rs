//! The counter of an epoch runs out under load, under leaders of either make.
//!
//! Every server is told to begin its epochs near the end
//! (`zookeeper.testingonly.initialZxid`), Java's and ours alike. Whoever leads gives up when the
//! counter is used up, nobody else having done anything to it; the next epoch begins, and the
//! clients go on with their sessions, ephemerals, watches and locks. A session that does nothing at
//! all while it happens is there afterwards, too.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use oxkeeper_proto::{PacketKind, Zxid};

use super::chapters::SOME;
use super::load::session::Told;
use super::load::{TOP, create};
use super::stage::Stage;
use super::{Setting, mixture};
use crate::ensemble::{Kind, Mixture, Plan};
use crate::wire::{Request, op};

/// Where epochs begin, and the last counter that is given to a transaction.
const BEGINNING: u32 = LAST - 2_500;
const LAST: u32 = 0xffff_fffe;
/// Transactions that a check takes at most, and waiting for one to begin.
const CHECK: u32 = 600;
/// How often leaders of one make may be made to lead before an epoch of theirs has run out.
const ATTEMPTS: usize = 5;
/// How long the load may take to use a counter up, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

pub(super) fn mixtures(quick: bool) -> Vec<Mixture> {
    let all = ["java,ours,java+ours", "ours,java,ours+java", "3.8,ours,3.8", "3.5,ours,3.5"];
    all[..if quick { 1 } else { all.len() }].iter().map(|text| mixture(text)).collect()
}

pub(super) fn run(setting: &mut Setting<'_>, mixture: &Mixture, dir: &Path) -> Result<usize> {
    let beginning = BEGINNING.to_string();
    // Nobody is synchronised from a log on disk. Who was sent a snapshot has a hole in its log, and
    // as a leader of Apache's serves it (D142); where epochs begin near their end, learners of
    // Apache's do not notice.
    let mut plan = Plan::new(&mixture.voting, dir)
        .property("zookeeper.snapshotSizeFactor", "-1")
        .property("zookeeper.testingonly.initialZxid", &beginning);
    if let Some(kind) = mixture.observing {
        plan = plan.observer(kind);
    }
    let starting: Vec<i64> = (1..).zip(&plan.members).map(|(sid, _)| sid).collect();
    let mut stage = Stage::open(setting.programs, &plan, &starting, setting.seed)?;
    let (mut quiet, own) = (stage.session_at(1)?, format!("{TOP}/quiet"));
    loop {
        match quiet.ask(create(&own, "", 1))? {
            Told::Unknown => {}
            told => break ensure!(told.done().is_some(), "{own}: {told:?}"),
        }
    }
    for wanted in stage.one_of_each_kind()? {
        let kind = stage.ensemble.kind(wanted)?;
        (setting.progress)(&format!("{mixture}: {kind} leads"));
        runs_out_under(&mut stage, wanted).with_context(|| format!("{kind} {wanted} leads"))?;
        // The session that is not in the load only says that it lives.
        quiet.ping()?;
        check(&mut stage)?;
    }
    let told = quiet.ask_all(&[
        Request::Path { op: op::SYNC, path: Some(own.clone()) },
        Request::Read { op: op::EXISTS, path: Some(own), watch: false },
    ])?;
    let (_, body) = told[1].done().with_context(|| format!("the quiet session: {told:?}"))?;
    ensure!(body["stat"]["ephemeralOwner"] == quiet.id(), "whose it is: {body}");
    quiet.close()?;
    stage.checked();
    check(&mut stage)?;
    stage.close()
}

/// Lets servers of this one's make lead until an epoch of theirs has run out.
fn runs_out_under(stage: &mut Stage, wanted: i64) -> Result<()> {
    let kind = stage.ensemble.kind(wanted)?;
    for _ in 0..ATTEMPTS {
        if ended_by(stage)?.contains(&kind) {
            stage.checked();
            stage.await_all()?;
            return stage.load.await_progress(SOME);
        }
        stage.ensemble.make_lead(wanted)?;
        let epoch = position(stage)?.epoch();
        let began = Instant::now();
        while position(stage)?.epoch() == epoch {
            ensure!(began.elapsed() < LONG, "epoch {epoch} does not run out");
            stage.load.await_progress(SOME)?;
        }
        stage.await_all()?;
    }
    anyhow::bail!("no epoch of {kind} has run out")
}

/// Whose epochs have gone to the very last counter: what followers were sent tells.
fn ended_by(stage: &Stage) -> Result<BTreeSet<Kind>> {
    let mut kinds = BTreeSet::new();
    for learner in stage.ensemble.sids() {
        let leaders = stage.ensemble.wires()?.tapes(stage.opened(), |tape| {
            let last = tape.down.seen.iter().rfind(|seen| seen.kind == PacketKind::PROPOSAL)?;
            let used_up = tape.learner == learner && Zxid(last.zxid).counter() == LAST;
            used_up.then_some(tape.leader)
        });
        for leader in leaders {
            kinds.insert(stage.ensemble.kind(leader)?);
        }
    }
    Ok(kinds)
}

/// The last transaction of whoever leads.
fn position(stage: &mut Stage) -> Result<Zxid> {
    stage.ensemble.await_that("a leader tells its zxid", |ensemble| {
        let leader = ensemble.await_leader(None).ok()?;
        let said = ensemble.word(leader, "srvr").ok()?;
        let zxid = said.lines().find_map(|line| line.strip_prefix("Zxid: 0x"))?;
        i64::from_str_radix(zxid, 16).ok().map(Zxid)
    })
}

/// [`Stage::check`], begun where the epoch lasts as long as it takes.
fn check(stage: &mut Stage) -> Result<()> {
    loop {
        stage.load.pause()?;
        stage.await_all()?;
        let at = position(stage)?.counter();
        // One that has not begun will begin where all do.
        if at.max(BEGINNING) < LAST - CHECK {
            break;
        }
        stage.load.resume();
        stage.load.await_progress(SOME)?;
    }
    stage.check_still()?;
    stage.load.resume();
    Ok(())
}
