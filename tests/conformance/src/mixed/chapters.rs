//! What happens to an ensemble, chapter by chapter.
//!
//! Each chapter finds all members running and leaves them so; in between it does one kind of harm
//! under load, waits until it is mended, and looks on the wire whether it was mended in the way
//! that was to be. Whether anything was lost, [`Stage::check`] finds out behind each.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use oxkeeper_proto::PacketKind;

use super::load::session::{Session, Told};
use super::load::{TOP, create, set};
use super::stage::Stage;
use crate::disk::client::Client;
use crate::ensemble::tape::Sync;
use crate::ensemble::{Flow, Mode, SYNC_LIMIT, TICK_MS};
use crate::wire::{Connection, Received, Request, op, reply};

/// Requests answered between two events of a chapter.
pub(super) const SOME: usize = 150;
/// More transactions than any leader keeps in memory for learners (500).
pub(super) const MANY: usize = 1_600;

/// How often everybody falls silent.
const SILENCES: usize = 15;
/// Timeout of the sessions that ask then, ms.
const TIMEOUT_MS: i32 = 30_000;

/// A part of the story.
#[derive(Clone, Copy)]
pub struct Chapter {
    /// Its name on the command line.
    pub name: &'static str,
    /// Part of the short story.
    pub quick: bool,
    /// What happens.
    pub run: fn(&mut Stage) -> Result<()>,
}

/// All of them, in the order in which they are told.
pub const CHAPTERS: [Chapter; 15] = [
    Chapter { name: "forwarding", quick: true, run: forwarding },
    Chapter { name: "silent-sync", quick: false, run: silent_sync },
    Chapter { name: "follower-diff-memory", quick: true, run: follower_diff_memory },
    Chapter { name: "follower-diff-log", quick: false, run: follower_diff_log },
    Chapter { name: "follower-wiped", quick: true, run: follower_wiped },
    Chapter { name: "follower-frozen", quick: false, run: follower_frozen },
    Chapter { name: "follower-cut", quick: false, run: follower_cut },
    Chapter { name: "slow-wires", quick: false, run: slow_wires },
    Chapter { name: "leader-killed", quick: true, run: leader_killed },
    Chapter { name: "leader-stopped", quick: false, run: leader_stopped },
    Chapter { name: "leader-truncated", quick: true, run: leader_truncated },
    Chapter { name: "leader-overtaken", quick: false, run: leader_overtaken },
    Chapter { name: "leader-frozen", quick: false, run: leader_frozen },
    Chapter { name: "leader-parted", quick: false, run: leader_parted },
    Chapter { name: "storm", quick: false, run: super::storm::run },
];

/// Moves a session to one server of its list. A server that is behind what the session has seen
/// refuses it, rightly, so it may take a while.
pub(super) fn go_to(session: &mut Session, place: usize) -> Result<()> {
    let began = Instant::now();
    while session.server() != place || session.is_away() {
        ensure!(began.elapsed() < limit(), "does not take the session");
        session.move_to(place);
        session.ping()?;
    }
    Ok(())
}

/// A session goes from member to member, with an ephemeral and a watch, and writes at each.
fn forwarding(stage: &mut Stage) -> Result<()> {
    let leader = stage.leader()?;
    let sids = stage.ensemble.running();
    let mut session = stage.session_at(leader)?;
    let (own, data) = (format!("{TOP}/wanderer"), format!("{TOP}/wanderer-data"));
    for (path, flags) in [(&own, 1), (&data, 0)] {
        let told = session.ask(create(path, "", flags))?;
        ensure!(told.done().is_some(), "{path}: {told:?}");
    }
    let watch = Request::Read { op: op::GET_DATA, path: Some(data.clone()), watch: true };
    for &sid in sids.iter().chain(&sids) {
        let place = stage.place(sid)?;
        go_to(&mut session, place).with_context(|| format!("server {sid}"))?;
        let told = session.ask(watch.clone())?;
        let (_, body) = told.done().with_context(|| format!("at server {sid}: {told:?}"))?;
        let before = body["stat"]["version"].as_i64();
        ensure!(session.server() == place, "server {sid} did not take the session");
        let wrote = format!("by way of {sid}");
        let told = session.ask_all(&[
            set(&data, &wrote, -1),
            Request::Path { op: op::SYNC, path: Some(data.clone()) },
            Request::Read { op: op::GET_DATA, path: Some(data.clone()), watch: false },
            Request::Read { op: op::EXISTS, path: Some(own.clone()), watch: false },
        ])?;
        let all = told.iter().map(Told::done).collect::<Option<Vec<_>>>();
        let all = all.with_context(|| format!("at server {sid}: {told:?}"))?;
        ensure!(all[2].1["data"] == *wrote, "server {sid} serves {}", all[2].1);
        ensure!(all[2].1["stat"]["version"].as_i64() > before, "{}", all[2].1);
        let owner = &all[3].1["stat"]["ephemeralOwner"];
        ensure!(*owner == session.id(), "server {sid}: the owner is {owner}");
        let event = session.next_event();
        ensure!(event.is_some_and(|e| e.path == data && e.kind == 3), "no event by {sid}");
        stage.checked();
    }
    let told = session.ask(Request::PathInt { op: op::DELETE, path: Some(data), number: -1 })?;
    ensure!(told.done().is_some(), "{told:?}");
    session.close()?;
    for sid in sids.into_iter().filter(|&sid| sid != leader) {
        for (kind, what) in [
            (PacketKind::REQUEST, "forwarded a request"),
            (PacketKind::REVALIDATE, "asked for a session"),
        ] {
            let found = stage.on_tape(sid, |tape| (tape.up.count(kind) > 0).then_some(()))?;
            ensure!(found.is_some(), "server {sid} has never {what}");
            stage.checked();
        }
        let synced = stage.on_tape(sid, |tape| tape.down.first(PacketKind::SYNC))?;
        ensure!(synced.is_some(), "server {sid} was never answered a sync");
    }
    Ok(())
}

/// A sync at each member when all others have just fallen silent: if the answer to it, or to one
/// before it, is lost, nothing comes behind it that could be taken for it.
fn silent_sync(stage: &mut Stage) -> Result<()> {
    for round in 0..SILENCES {
        stage.load.await_progress(SOME / 3)?;
        stage.load.pause()?;
        for sid in stage.ensemble.running() {
            let mut client = Client::connect(stage.ensemble.addr(sid)?, TIMEOUT_MS)?;
            let told = client.ask(Request::Path { op: op::SYNC, path: Some(TOP.to_owned()) });
            let told = told.with_context(|| format!("server {sid}, round {round}"))?;
            ensure!(told["err"] == 0, "server {sid} does not sync: {told}");
            client.close()?;
            stage.checked();
        }
        stage.load.resume();
    }
    Ok(())
}

/// What is done with a follower that is away.
///
/// With few transactions the load waits for the follower, so that it finds what it missed in the
/// leader's memory; otherwise it goes on.
pub(super) fn follower_away(
    stage: &mut Stage,
    sid: i64,
    txns: usize,
    mode: PacketKind,
    away: impl FnOnce(&mut Stage) -> Result<()>,
) -> Result<Sync> {
    stage.let_one_die(sid)?;
    stage.ensemble.kill(sid)?;
    away(stage)?;
    stage.load.await_progress(txns)?;
    if txns < MANY {
        stage.load.pause()?;
    }
    let since = Instant::now();
    stage.ensemble.start(sid)?;
    let sync = stage.sync_of(sid, since)?;
    stage.load.resume();
    ensure!(sync.mode.kind == mode, "server {sid} was synchronised by {sync:x?}, not {mode}");
    if mode == PacketKind::DIFF {
        ensure!(sync.proposals > 0, "server {sid} was away and missed nothing: {sync:?}");
    }
    stage.checked();
    stage.await_all()?;
    stage.load.await_progress(SOME)?;
    Ok(sync)
}

/// An observer comes to an ensemble that works, is told of what is committed, and serves.
pub fn observer_joins(stage: &mut Stage) -> Result<()> {
    let all = stage.ensemble.sids();
    let running = stage.ensemble.running();
    for sid in all.into_iter().filter(|sid| !running.contains(sid)) {
        let since = Instant::now();
        stage.ensemble.start(sid)?;
        stage.sync_of(sid, since)?;
        stage.await_all()?;
        stage.load.await_progress(SOME)?;
        let informed = stage.on_tape(sid, |tape| Some(tape.down.count(PacketKind::INFORM)))?;
        ensure!(informed.is_some_and(|count| count > 0), "observer {sid} hears nothing");
        let acks = stage.on_tape(sid, |tape| Some(tape.up.count(PacketKind::ACK)))?;
        ensure!(acks.is_some_and(|count| count <= 2), "observer {sid} acknowledges: {acks:?}");
        ensure!(stage.ensemble.mode(sid) == Some(Mode::Observer), "{sid} is no observer");
        stage.checked();
        // Away and back.
        follower_away(stage, sid, SOME, PacketKind::DIFF, |_| Ok(()))?;
    }
    Ok(())
}

fn follower_diff_memory(stage: &mut Stage) -> Result<()> {
    for sid in stage.followers()? {
        follower_away(stage, sid, SOME, PacketKind::DIFF, |_| Ok(()))?;
    }
    Ok(())
}

fn follower_diff_log(stage: &mut Stage) -> Result<()> {
    let sid = *stage.followers()?.last().context("a follower")?;
    follower_away(stage, sid, MANY, PacketKind::DIFF, |_| Ok(())).map(drop)
}

fn follower_wiped(stage: &mut Stage) -> Result<()> {
    for sid in stage.followers()? {
        follower_away(stage, sid, MANY, PacketKind::SNAP, |stage| stage.ensemble.wipe(sid))?;
    }
    Ok(())
}

/// How many learners a leader has brought up to date (`zk_synced_followers`).
fn synced_followers(stage: &Stage, leader: i64) -> Option<usize> {
    let monitor = stage.ensemble.monitor(leader).ok()?;
    monitor.get("zk_synced_followers")?.split('.').next()?.parse().ok()
}

/// Waits until the leader has given up on one of its followers.
fn await_given_up(stage: &mut Stage, leader: i64, before: usize) -> Result<()> {
    let began = Instant::now();
    while synced_followers(stage, leader).is_none_or(|count| count >= before) {
        ensure!(began.elapsed() < limit(), "server {leader} goes on with {before} followers");
        stage.load.await_progress(SOME)?;
    }
    Ok(())
}

/// Many times as long as a leader and its learners may be out of touch.
pub(super) fn limit() -> Duration {
    Duration::from_millis(20 * SYNC_LIMIT * TICK_MS)
}

fn follower_frozen(stage: &mut Stage) -> Result<()> {
    for sid in stage.followers()? {
        let leader = stage.leader()?;
        let before = synced_followers(stage, leader).context("zk_synced_followers")?;
        stage.ensemble.freeze(sid)?;
        await_given_up(stage, leader, before)?;
        let since = Instant::now();
        stage.ensemble.thaw(sid)?;
        stage.sync_of(sid, since)?;
        stage.await_all()?;
        stage.load.await_progress(SOME)?;
    }
    Ok(())
}

/// A follower loses all connections, twice: one way by silence, one way by breaking.
fn follower_cut(stage: &mut Stage) -> Result<()> {
    for sid in stage.followers()? {
        let leader = stage.leader()?;
        let before = synced_followers(stage, leader).context("zk_synced_followers")?;
        let others: Vec<i64> = stage.ensemble.sids();
        for flow in [Flow::Held, Flow::Cut] {
            let since = Instant::now();
            stage.ensemble.wires()?.set_between(&[sid], &others, flow);
            await_given_up(stage, leader, before)?;
            stage.ensemble.wires()?.heal();
            stage.sync_of(sid, since)?;
            stage.await_all()?;
        }
        // Only what it sends is lost.
        stage.ensemble.wires()?.set(sid, leader, Flow::Held);
        await_given_up(stage, leader, before)?;
        stage.ensemble.wires()?.heal();
        stage.await_all()?;
        stage.load.await_progress(SOME)?;
    }
    Ok(())
}

/// Everything between members arrives later.
fn slow_wires(stage: &mut Stage) -> Result<()> {
    let all = stage.ensemble.sids();
    stage.ensemble.wires()?.set_between(&all, &all, Flow::Late(Duration::from_millis(30)));
    stage.load.await_progress(SOME)?;
    let leader = stage.leader()?;
    stage.ensemble.kill(leader)?;
    stage.ensemble.await_leader(Some(leader))?;
    stage.ensemble.start(leader)?;
    stage.await_all()?;
    stage.load.await_progress(SOME)?;
    stage.ensemble.wires()?.heal();
    Ok(())
}

fn leader_killed(stage: &mut Stage) -> Result<()> {
    for _ in stage.ensemble.participants() {
        let leader = stage.leader()?;
        stage.let_one_die(leader)?;
        stage.ensemble.kill(leader)?;
        stage.ensemble.await_leader(Some(leader))?;
        stage.load.await_progress(SOME)?;
        stage.ensemble.start(leader)?;
        stage.await_all()?;
        stage.load.await_progress(SOME)?;
    }
    Ok(())
}

fn leader_stopped(stage: &mut Stage) -> Result<()> {
    for _ in stage.ensemble.participants() {
        let leader = stage.leader()?;
        stage.ensemble.stop(leader)?;
        stage.ensemble.await_leader(Some(leader))?;
        stage.load.await_progress(SOME)?;
        stage.ensemble.start(leader)?;
        stage.await_all()?;
    }
    Ok(())
}

/// What a leader logged that nobody else heard of.
pub(super) struct Extra {
    /// The old leader. It does not run.
    pub leader: i64,
    /// How the names of its znodes begin.
    pub path: String,
    /// Who asked for them. Its session is left open: to close it would be another transaction.
    pub scribe: Session,
}

/// Lets the leader log what nobody else hears of, kills it, and waits for the next one. The load is
/// to be paused.
pub(super) fn leave_extra_entry(stage: &mut Stage) -> Result<Extra> {
    let leader = stage.leader()?;
    let followers = stage.followers()?;
    let path = format!("{TOP}/never");
    let mut scribe = stage.session_at(leader)?;
    go_to(&mut scribe, stage.place(leader)?).with_context(|| format!("server {leader}"))?;
    for &sid in &followers {
        stage.ensemble.wires()?.set(leader, sid, Flow::Held);
    }
    let hearer = *followers.first().context("a follower")?;
    let known = proposed(stage, leader, hearer)?;
    let mut link = Connection::open(stage.ensemble.addr(leader)?)?;
    link.send(&scribe.handshake());
    let Received::Frame(greeting) = link.receive()? else { bail!("no greeting") };
    ensure!(reply::parse_connect(&greeting)["sessionId"] != 0, "the scribe's session is gone");
    for at in 0..3 {
        link.send(&create(&format!("{path}-{at}"), "", 0).frame(100 + at, 0));
        let (began, wanted) = (Instant::now(), known + usize::try_from(at)? + 1);
        while proposed(stage, leader, hearer)? < wanted {
            ensure!(began.elapsed() < limit(), "server {leader} does not propose");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    stage.ensemble.await_that("the leader logs what nobody hears", |ensemble| {
        ensemble.has_logged(leader, &path).ok().filter(|logged| *logged)
    })?;
    stage.ensemble.kill(leader)?;
    let others = stage.ensemble.sids();
    stage.ensemble.wires()?.set_between(&[leader], &others, Flow::Cut);
    stage.ensemble.await_leader(Some(leader))?;
    stage.ensemble.wires()?.heal();
    Ok(Extra { leader, path, scribe })
}

/// Proposals on the newest connection between these two.
pub(super) fn proposed(stage: &Stage, leader: i64, follower: i64) -> Result<usize> {
    let newest = stage.on_tape(follower, |tape| {
        (tape.leader == leader).then(|| tape.down.count(PacketKind::PROPOSAL))
    })?;
    newest.context("a follower that follows")
}

/// An old leader comes back with entries that nobody else has, before anything else was decided:
/// it is told to forget them.
fn leader_truncated(stage: &mut Stage) -> Result<()> {
    truncated(stage)?;
    stage.load.await_progress(SOME)
}

pub(super) fn truncated(stage: &mut Stage) -> Result<Sync> {
    stage.load.pause()?;
    let Extra { leader: old, path, scribe } = leave_extra_entry(stage)?;
    let since = Instant::now();
    stage.ensemble.start(old)?;
    let sync = stage.sync_of(old, since)?;
    ensure!(sync.learner_has > sync.mode.zxid, "server {old} has nothing to forget: {sync:x?}");
    let mode = sync.mode.kind;
    ensure!(mode == PacketKind::TRUNC, "server {old} was synchronised by {sync:x?}, not TRUNC");
    stage.checked();
    stage.await_all()?;
    never(stage, &path)?;
    scribe.close()?;
    stage.load.resume();
    Ok(sync)
}

/// The same, but the others have gone on meanwhile.
fn leader_overtaken(stage: &mut Stage) -> Result<()> {
    stage.load.pause()?;
    let Extra { leader: old, path, scribe } = leave_extra_entry(stage)?;
    stage.load.resume();
    stage.load.await_progress(SOME)?;
    let since = Instant::now();
    stage.ensemble.start(old)?;
    let sync = stage.sync_of(old, since)?;
    let mode = sync.mode.kind;
    ensure!(mode != PacketKind::DIFF, "server {old} keeps what nobody has: {sync:x?}");
    stage.checked();
    stage.await_all()?;
    scribe.close()?;
    never(stage, &path)
}

/// None of the znodes that a lost leader logged alone is served by anybody.
pub(super) fn never(stage: &mut Stage, path: &str) -> Result<()> {
    for sid in stage.ensemble.running() {
        let mut session = stage.session_at(sid)?;
        let told = session.ask(Request::Read {
            op: op::GET_CHILDREN,
            path: Some(TOP.to_owned()),
            watch: false,
        })?;
        let (_, body) = told.done().context("children")?;
        let names = body["children"].as_array().context("children")?;
        let prefix = path.rsplit_once('/').unwrap_or_default().1;
        let found = names.iter().find(|n| n.as_str().is_some_and(|n| n.starts_with(prefix)));
        ensure!(found.is_none(), "server {sid} serves {found:?}, which never was");
        session.close()?;
        stage.checked();
    }
    Ok(())
}

fn leader_frozen(stage: &mut Stage) -> Result<()> {
    for _ in stage.ensemble.participants() {
        let leader = stage.leader()?;
        stage.ensemble.freeze(leader)?;
        stage.ensemble.await_leader(Some(leader))?;
        stage.load.await_progress(SOME)?;
        stage.ensemble.thaw(leader)?;
        stage.await_all()?;
        stage.load.await_progress(SOME)?;
    }
    Ok(())
}

/// The leader and its clients on one side, the majority on the other.
fn leader_parted(stage: &mut Stage) -> Result<()> {
    for _ in stage.ensemble.participants() {
        let leader = stage.leader()?;
        let others = stage.ensemble.sids();
        stage.ensemble.wires()?.set_between(&[leader], &others, Flow::Held);
        let next = stage.ensemble.await_that("the majority elects", |ensemble| {
            let mut sids = ensemble.participants();
            sids.retain(|&sid| sid != leader);
            sids.into_iter().find(|&sid| ensemble.mode(sid) == Some(Mode::Leader))
        })?;
        stage.load.await_progress(SOME)?;
        let what = format!("server {leader} gives up, server {next} leads");
        stage.ensemble.await_that(&what, |ensemble| {
            (ensemble.mode(leader) != Some(Mode::Leader)).then_some(())
        })?;
        stage.ensemble.wires()?.heal();
        stage.await_all()?;
        stage.load.await_progress(SOME)?;
    }
    Ok(())
}
