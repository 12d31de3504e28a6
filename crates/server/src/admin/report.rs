//! One report: what a word needs, gathered and formatted. Each word asks only for what it prints,
//! and nothing that takes long, formatting included, happens on a thread that serves clients.

use std::collections::BTreeMap;
use std::path::Path;

use oxkeeper_node::admin::connection_buckets;
use oxkeeper_node::admin::{
    AdminView, ConnLine, GlobalSessions, Mode, SessionBuckets, WatchDump, answer,
};
use oxkeeper_node::core::{BucketCursor, SessionClock};
use oxkeeper_node::metrics::{Gauges, QuotaGauges, top_namespace};
use oxkeeper_node::{ConnView, Now};
use oxkeeper_proto::{AdminWord, SessionId};
use oxkeeper_tree::Tree;
use oxkeeper_tree::watch::{ConnKey, ReportBy, ReportLine};

use super::gather::{
    self, Connections, Member, Step, Totals, WatchLine, WatchLines, on_every_thread,
};
use super::{AdminContext, REPORT_BYTES_MAX};
use crate::descriptors;
use crate::io_thread::{IoThread, State};

/// Ephemerals and quotas copied while the tree is locked: some 100 µs.
const PATHS_PER_STEP: usize = 512;

/// Sessions looked up in one step on the core's thread: some 100 µs.
const SESSIONS_PER_STEP: usize = 1024;

/// Why there is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoReport {
    /// It would exceed [`REPORT_BYTES_MAX`].
    TooLarge,
    /// The server is stopping.
    Stopping,
}

/// Makes the report that `word` asks for, or does what it asks for and says so.
pub async fn report(thread: &IoThread, word: AdminWord) -> Result<String, NoReport> {
    let mut view = thread.admin.view();
    match word {
        AdminWord::Srvr => {
            fill_totals(thread, &mut view).await?;
            return Ok(answer(word, 0, &view));
        }
        AdminWord::Hash => {
            view.digests = thread.shared.read().tree.digest_log().collect();
            return Ok(answer(word, 0, &view));
        }
        AdminWord::Srst => {
            thread.admin.host.reset();
            on_every_thread(thread, gather::reset_stats).await?;
            return Ok(answer(word, 0, &view));
        }
        AdminWord::Crst => {
            on_every_thread(thread, gather::reset_connections).await?;
            return Ok(answer(word, 0, &view));
        }
        AdminWord::Mntr => {
            fill_totals(thread, &mut view).await?;
            view.quotas = quotas(thread).await;
        }
        AdminWord::Stat | AdminWord::Cons => {
            let conns = conn_views(thread).await?;
            if word == AdminWord::Stat {
                fill_totals(thread, &mut view).await?;
            }
            return elsewhere(move || {
                view.connections = conns.iter().map(ConnLine::from).collect();
                answer(word, 0, &view)
            })
            .await;
        }
        AdminWord::Dump => return dump(thread, view).await,
        AdminWord::Wchs => {
            fill_watch_counts(thread, &mut view).await?;
            return Ok(answer(word, 0, &view));
        }
        AdminWord::Wchc | AdminWord::Wchp => return watches(thread, word, view).await,
        AdminWord::Conf => fill_config(thread, &mut view).await?,
        AdminWord::Dirs => {}
        AdminWord::Isro => {
            fill_member(&mut view, member(thread).await?);
            return Ok(answer(word, 0, &view));
        }
        // Answered without asking anybody.
        AdminWord::Ruok
        | AdminWord::Envi
        | AdminWord::Gtmk
        | AdminWord::Stmk
        | AdminWord::TelnetClose => return Ok(answer(word, 0, &view)),
    }
    // What is left needs the file system.
    let (data_dir, log_dir) = (thread.admin.data_dir.clone(), thread.admin.log_dir.clone());
    elsewhere(move || {
        if word == AdminWord::Mntr {
            view.gauges.open_file_descriptor_count = descriptors::open();
            view.gauges.max_file_descriptor_count = descriptors::limit();
        } else {
            view.data_dir_bytes = bytes_in(&data_dir);
            view.log_dir_bytes = bytes_in(&log_dir);
        }
        answer(word, 0, &view)
    })
    .await
}

/// Runs something that takes long or waits for the file system.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoReport> {
    tokio::task::spawn_blocking(work).await.map_err(|_| NoReport::Stopping)
}

/// Lengths of the files in a directory, what was reserved ahead included.
fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

async fn fill_totals(thread: &IoThread, view: &mut AdminView) -> Result<(), NoReport> {
    let Totals { mut metrics, latency, connections, watches, mut core, .. } = {
        let totals = gather::sum(on_every_thread(thread, gather::totals).await?);
        view.gauges.packets_received = totals.packets_received as i64;
        view.gauges.packets_sent = totals.packets_sent as i64;
        view.gauges.auth_failed_count = totals.auth_failed as i64;
        view.gauges.last_client_response_size = totals.response_sizes.last;
        view.gauges.min_client_response_size = totals.response_sizes.min;
        view.gauges.max_client_response_size = totals.response_sizes.max;
        totals
    };
    let context: &AdminContext = &thread.admin;
    context.host.add_to(&mut metrics);
    metrics.connection_rejected += context.door.rejected();
    view.gauges.uptime = thread.clock.uptime().as_millis() as i64;
    view.gauges.local_sessions = core.member.local_sessions.unwrap_or(0) as i64;
    fill_member(view, std::mem::take(&mut core.member));
    let gauges: &mut Gauges = &mut view.gauges;
    gauges.min_latency = latency.min() as i64;
    gauges.avg_latency = latency.avg();
    gauges.max_latency = latency.max() as i64;
    gauges.num_alive_connections = connections as i64;
    gauges.outstanding_requests = core.outstanding as i64;
    gauges.connection_drop_probability = core.drop_chance;
    gauges.watch_count = (watches.data + watches.child) as i64;
    {
        let shared = thread.shared.read();
        let tree = &shared.tree;
        view.zxid = tree.last_zxid();
        gauges.znode_count = tree.node_count() as i64;
        gauges.global_sessions = tree.sessions().len() as i64;
        gauges.ephemerals_count = tree.ephemeral_count() as i64;
        gauges.approximate_data_size = tree.approximate_data_bytes();
        metrics.digest_mismatches_count += tree.stats().digest_mismatches;
    }
    view.metrics = metrics;
    Ok(())
}

async fn member(thread: &IoThread) -> Result<Member, NoReport> {
    Ok(gather::only(on_every_thread(thread, gather::member).await?))
}

/// What this server is. It may have ceased to serve since it was asked.
fn fill_member(view: &mut AdminView, member: Member) {
    view.serving = member.serving;
    view.gauges.unresolved_peer_names = member.unresolved.map(|names| names as i64);
    if let Some(member) = member.view {
        view.put_member(member);
    }
}

async fn fill_config(thread: &IoThread, view: &mut AdminView) -> Result<(), NoReport> {
    let mut member = member(thread).await?;
    view.config = thread.admin.config.clone();
    view.config.client_port = i32::from(thread.admin.door.port());
    view.config.ensemble = member.conf.take();
    fill_member(view, member);
    Ok(())
}

async fn conn_views(thread: &IoThread) -> Result<Vec<ConnView>, NoReport> {
    let parts: Vec<Connections> = on_every_thread(thread, gather::connections).await?;
    Ok(parts.into_iter().flat_map(|part| part.found).collect())
}

/// Quotas, summed up by namespace as ZooKeeper shows them.
async fn quotas(thread: &IoThread) -> Vec<QuotaGauges> {
    let paths: Vec<String> = thread.shared.read().tree.quota_paths().map(str::to_owned).collect();
    let mut sums: BTreeMap<String, QuotaGauges> = BTreeMap::new();
    for some in paths.chunks(PATHS_PER_STEP) {
        add_quotas(&thread.shared.read().tree, some, &mut sums);
        tokio::task::yield_now().await;
    }
    sums.into_values().collect()
}

fn add_quotas(tree: &Tree, paths: &[String], sums: &mut BTreeMap<String, QuotaGauges>) {
    for path in paths {
        let Some(quota) = tree.quota_for(path) else { continue };
        let Some(namespace) = top_namespace(path) else { continue };
        let sum = sums.entry(namespace.to_owned()).or_insert_with(|| QuotaGauges {
            namespace: namespace.to_owned(),
            ..QuotaGauges::default()
        });
        let limit = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        sum.count_limit += limit(quota.limits.count_hard_limit, quota.limits.count);
        sum.bytes_limit += limit(quota.limits.byte_hard_limit, quota.limits.bytes);
        sum.count_usage += quota.stats.count;
        sum.bytes_usage += quota.stats.bytes;
    }
}

/// The core's sessions by deadline; nothing from a thread that has none.
#[derive(Debug, Default)]
struct Deadlines {
    next: BucketCursor,
    found: BTreeMap<u64, Vec<SessionId>>,
}

fn deadlines(state: &mut State, _: &IoThread, taken: &mut Deadlines) -> Step {
    deadlines_by(state.core.as_ref().map(|part| part.core.sessions()), taken)
}

fn local_deadlines(state: &mut State, _: &IoThread, taken: &mut Deadlines) -> Step {
    deadlines_by(state.core.as_ref().and_then(|part| part.core.local_sessions()), taken)
}

fn deadlines_by(clock: Option<&SessionClock>, taken: &mut Deadlines) -> Step {
    let Some(clock) = clock else { return Step::Done };
    let Deadlines { next, found } = taken;
    let more = clock.each_by_deadline(*next, SESSIONS_PER_STEP, |us, session| {
        found.entry(us).or_default().push(session);
    });
    match more {
        Some(at) => {
            *next = at;
            Step::More
        }
        None => Step::Done,
    }
}

async fn dump(thread: &IoThread, mut view: AdminView) -> Result<String, NoReport> {
    let now = thread.clock.now();
    let member = member(thread).await?;
    let has_locals = member.local_sessions.is_some();
    fill_member(&mut view, member);
    if !view.serving {
        return Ok(answer(AdminWord::Dump, 0, &view));
    }
    view.sessions.global = match view.mode {
        Mode::Standalone | Mode::Leader => {
            let sessions = on_every_thread(thread, deadlines).await?;
            GlobalSessions::Buckets(buckets(now, sessions))
        }
        Mode::Follower | Mode::Observer | Mode::ReadOnly => {
            GlobalSessions::Timeouts(timeouts(thread).await?)
        }
    };
    if has_locals {
        let sessions = on_every_thread(thread, local_deadlines).await?;
        view.sessions.local = Some(buckets(now, sessions));
    }
    let ephemerals = ephemerals(thread).await?;
    let conns = conn_views(thread).await?;
    let interval_ms = thread.admin.sessionless_timeout_ms;
    elsewhere(move || {
        view.ephemerals = ephemerals;
        view.connection_buckets = connection_buckets(&conns, now, interval_ms);
        answer(AdminWord::Dump, 0, &view)
    })
    .await
}

fn buckets(now: Now, sessions: Vec<Deadlines>) -> SessionBuckets {
    let found = sessions.into_iter().flat_map(|part| part.found);
    found.map(|(us, ids)| bucket(now, us, ids)).collect()
}

/// A bucket with its wall-clock time. A session may have been booked into it more than once.
fn bucket(now: Now, deadline_us: u64, mut ids: Vec<SessionId>) -> (i64, Vec<SessionId>) {
    ids.sort_unstable();
    ids.dedup();
    (now.wall_ms + (deadline_us as i64 - now.mono_us as i64) / 1000, ids)
}

/// Sessions with their timeouts, copied in steps between which the tree is free.
async fn timeouts(thread: &IoThread) -> Result<Vec<(SessionId, i32)>, NoReport> {
    let mut all: Vec<(SessionId, i32)> = Vec::new();
    loop {
        let before = all.len();
        {
            let shared = thread.shared.read();
            let after = all.last().map(|(session, _)| *session);
            all.extend(shared.tree.sessions_after(after).take(SESSIONS_PER_STEP));
        }
        if all.len() - before < SESSIONS_PER_STEP {
            return Ok(all);
        }
        if size_of_val(&all[..]) > REPORT_BYTES_MAX {
            return Err(NoReport::TooLarge);
        }
        tokio::task::yield_now().await;
    }
}

/// Sessions and the paths they own, copied in steps between which the tree is free.
async fn ephemerals(thread: &IoThread) -> Result<Vec<(SessionId, Vec<String>)>, NoReport> {
    let mut all: Vec<(SessionId, Vec<String>)> = Vec::new();
    let mut bytes = 0;
    loop {
        let mut taken = 0;
        {
            let last = all.last().and_then(|(id, paths)| Some((*id, paths.last()?.clone())));
            let after = last.as_ref().map(|(id, path)| (*id, path.as_str()));
            let shared = thread.shared.read();
            for (session, path) in shared.tree.ephemerals_after(after).take(PATHS_PER_STEP) {
                match all.last_mut() {
                    Some((id, paths)) if *id == session => paths.push(path.to_owned()),
                    _ => all.push((session, vec![path.to_owned()])),
                }
                taken += 1;
                bytes += size_of::<String>() + path.len();
            }
        }
        if taken < PATHS_PER_STEP {
            return Ok(all);
        }
        if bytes > REPORT_BYTES_MAX {
            return Err(NoReport::TooLarge);
        }
        tokio::task::yield_now().await;
    }
}

/// The numbers of `wchs`. A path may be watched on several threads; then the paths themselves have
/// to be compared.
async fn fill_watch_counts(thread: &IoThread, view: &mut AdminView) -> Result<(), NoReport> {
    let totals = gather::sum(on_every_thread(thread, gather::totals).await?);
    view.watch_counts = totals.watches;
    if thread.mailboxes.len() > 1 {
        let parts = watch_lines(thread, AdminWord::Wchp).await?;
        view.watch_counts.data_paths = elsewhere(move || {
            let dump = dump_of(ReportBy::Path, parts);
            dump.path_count()
        })
        .await?;
    }
    Ok(())
}

async fn watches(
    thread: &IoThread,
    word: AdminWord,
    mut view: AdminView,
) -> Result<String, NoReport> {
    let by = if word == AdminWord::Wchc { ReportBy::Connection } else { ReportBy::Path };
    let parts = watch_lines(thread, word).await?;
    elsewhere(move || {
        view.watches = dump_of(by, parts);
        answer(word, 0, &view)
    })
    .await
}

async fn watch_lines(thread: &IoThread, word: AdminWord) -> Result<Vec<WatchLines>, NoReport> {
    let parts = match word {
        AdminWord::Wchc => on_every_thread(thread, gather::watches_by_connection).await?,
        _ => on_every_thread(thread, gather::watches_by_path).await?,
    };
    match parts.iter().any(WatchLines::is_too_large) {
        true => Err(NoReport::TooLarge),
        false => Ok(parts),
    }
}

fn dump_of(by: ReportBy, parts: Vec<WatchLines>) -> WatchDump {
    let mut dump = WatchDump::default();
    for line in parts.into_iter().flat_map(|part| part.lines) {
        match line {
            WatchLine::Path(path) => dump.push(by, ReportLine::Path(&path), |_| SessionId::NONE),
            WatchLine::Session(session) => {
                dump.push(by, ReportLine::Connection(ConnKey(0)), |_| session);
            }
        }
    }
    dump
}
