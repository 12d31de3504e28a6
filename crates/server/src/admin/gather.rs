//! Asking every I/O thread, in steps.
//!
//! A step is a function over the thread's state and what has been found so far; it says whether
//! there is more. Between two steps of a thread its connections are served. The answer travels back
//! through a channel: nobody blocks, and a thread that has ended simply never answers.

use std::rc::Rc;

use oxkeeper_node::ConnView;
use oxkeeper_node::admin::{EnsembleView, MemberView};
use oxkeeper_node::core::SessionClock;
use oxkeeper_node::metrics::Metrics;
use oxkeeper_node::stats::Sizes;
use oxkeeper_node::{Front, metrics::Summary};
use oxkeeper_proto::SessionId;
use oxkeeper_tree::watch::{ConnKey, ReportBy, ReportCursor, ReportLine, WatchCounts};
use tokio::sync::oneshot;

use super::REPORT_BYTES_MAX;
use super::report::NoReport;
use crate::io_thread::{CorePart, IoThread, State};

/// Connections looked at in one step: their cache lines are cold, so this is some 50 µs.
const CONNECTIONS_PER_STEP: u32 = 512;

/// Lines of a watch report taken in one step: some 100 µs with the copies of their paths.
const WATCH_LINES_PER_STEP: usize = 1024;

/// Whether a step was the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Call again.
    More,
    /// Complete.
    Done,
}

/// Runs `step` on every I/O thread until it is done there; what each found, in order of threads.
pub async fn on_every_thread<T>(
    thread: &IoThread,
    step: impl Fn(&mut State, &IoThread, &mut T) -> Step + Copy + Send + 'static,
) -> Result<Vec<T>, NoReport>
where
    T: Default + Send + 'static,
{
    let mut answers = Vec::with_capacity(thread.mailboxes.len());
    for mailbox in thread.mailboxes.iter() {
        let (sender, answer) = oneshot::channel();
        mailbox.put_work(Box::new(move |thread: &Rc<IoThread>| {
            let thread = Rc::clone(thread);
            tokio::task::spawn_local(async move {
                let mut found = T::default();
                while thread.with(|state| step(state, &thread, &mut found)) == Step::More {
                    tokio::task::yield_now().await;
                }
                // Nobody waits any more if the server is stopping.
                let _ = sender.send(found);
            });
        }));
        answers.push(answer);
    }
    let mut found = Vec::with_capacity(answers.len());
    for answer in answers {
        found.push(answer.await.map_err(|_| NoReport::Stopping)?);
    }
    Ok(found)
}

/// What `srvr`, `stat` and `mntr` show of one thread.
#[derive(Debug, Default)]
pub struct Totals {
    pub metrics: Metrics,
    pub latency: Summary,
    pub packets_received: u64,
    pub packets_sent: u64,
    pub auth_failed: u64,
    pub response_sizes: Sizes,
    pub connections: usize,
    pub watches: WatchCounts,
    pub core: CoreTotals,
}

/// What they show of the core; nothing from a thread that has none.
#[derive(Debug, Default)]
pub struct CoreTotals {
    pub outstanding: usize,
    pub drop_chance: f64,
    pub member: Member,
}

/// This server in its ensemble; nothing from a thread without the core.
#[derive(Debug, Default)]
pub struct Member {
    /// Whether it serves.
    pub serving: bool,
    /// Sessions that only it knows; none if there can be none.
    pub local_sessions: Option<usize>,
    /// What it is; none standalone.
    pub view: Option<MemberView>,
    /// Its part of `conf`; none standalone.
    pub conf: Option<EnsembleView>,
    /// Names of peers that do not resolve; none standalone.
    pub unresolved: Option<usize>,
}

/// Takes what the core tells of its ensemble.
pub fn member(state: &mut State, thread: &IoThread, member: &mut Member) -> Step {
    if let Some(part) = &state.core {
        let fixed = thread.admin.config.ensemble.as_ref();
        *member = Member {
            serving: part.core.serves(&thread.shared.read()),
            local_sessions: part.core.local_sessions().map(SessionClock::len),
            view: part.core.member(thread.clock.now()),
            conf: fixed.and_then(|fixed| part.core.member_conf(fixed)),
            unresolved: unresolved(part),
        };
    }
    Step::Done
}

fn unresolved(part: &CorePart) -> Option<usize> {
    let names = part.member.as_ref()?.quorum.unresolved_names();
    let members = part.core.peer()?.membership().current().members();
    Some(names.among(members.flat_map(|server| server.addresses.iter().map(|at| &*at.host))))
}

/// The one thread's that has it.
pub fn only(parts: Vec<Member>) -> Member {
    parts.into_iter().next().unwrap_or_default()
}

/// Takes a thread's totals.
pub fn totals(state: &mut State, thread: &IoThread, totals: &mut Totals) -> Step {
    member(state, thread, &mut totals.core.member);
    let front: &Front = &state.front;
    let stats = front.stats();
    stats.add_to(&mut totals.metrics);
    totals.latency = stats.latency();
    totals.packets_received = stats.packets_received;
    totals.packets_sent = stats.packets_sent;
    totals.auth_failed = stats.auth_failed;
    totals.response_sizes = stats.response_sizes;
    totals.connections = front.connections();
    totals.watches = front.watches().counts();
    if let Some(part) = &state.core {
        part.core.stats().add_to(&mut totals.metrics);
        totals.core.outstanding = match totals.core.member.view {
            Some(_) => part.core.requests_waiting(),
            None => part.core.outstanding(),
        };
        totals.core.drop_chance = part.core.drop_chance();
    }
    Step::Done
}

/// Adds up the totals of all threads.
pub fn sum(parts: Vec<Totals>) -> Totals {
    let mut all = Totals::default();
    for (n, part) in parts.into_iter().enumerate() {
        // The core is the first thread's.
        if n == 0 {
            all.core = part.core;
        }
        all.metrics.merge(&part.metrics);
        all.latency.merge(&part.latency);
        all.packets_received += part.packets_received;
        all.packets_sent += part.packets_sent;
        all.auth_failed += part.auth_failed;
        all.response_sizes.merge(&part.response_sizes);
        all.connections += part.connections;
        all.watches.data += part.watches.data;
        all.watches.child += part.watches.child;
        all.watches.data_paths += part.watches.data_paths;
        all.watches.data_connections += part.watches.data_connections;
    }
    all
}

/// A thread's connections.
#[derive(Debug, Default)]
pub struct Connections {
    next: u32,
    pub found: Vec<ConnView>,
}

/// Takes some connections more.
pub fn connections(state: &mut State, _: &IoThread, taken: &mut Connections) -> Step {
    match state.front.conn_views(taken.next, CONNECTIONS_PER_STEP, &mut taken.found) {
        Some(next) => {
            taken.next = next;
            Step::More
        }
        None => Step::Done,
    }
}

/// `crst` on one thread.
pub fn reset_connections(state: &mut State, _: &IoThread, next: &mut u32) -> Step {
    match state.front.reset_conn_stats(*next, CONNECTIONS_PER_STEP) {
        Some(more) => {
            *next = more;
            Step::More
        }
        None => Step::Done,
    }
}

/// `srst` on one thread.
pub fn reset_stats(state: &mut State, _: &IoThread, _: &mut ()) -> Step {
    state.front.reset_stats();
    if let Some(part) = &mut state.core {
        part.core.reset_stats();
    }
    Step::Done
}

/// One line of a watch report, with the session in place of the connection.
#[derive(Debug)]
pub enum WatchLine {
    Path(Box<str>),
    Session(SessionId),
}

/// A thread's part of a watch report.
#[derive(Debug, Default)]
pub struct WatchLines {
    cursor: ReportCursor,
    bytes: usize,
    pub lines: Vec<WatchLine>,
}

impl WatchLines {
    /// True if the walk was given up because of its size.
    pub fn is_too_large(&self) -> bool {
        self.bytes > REPORT_BYTES_MAX
    }
}

/// Takes some lines more of wchc.
pub fn watches_by_connection(state: &mut State, _: &IoThread, taken: &mut WatchLines) -> Step {
    watch_lines(ReportBy::Connection, &state.front, taken)
}

/// Takes some lines more of wchp.
pub fn watches_by_path(state: &mut State, _: &IoThread, taken: &mut WatchLines) -> Step {
    watch_lines(ReportBy::Path, &state.front, taken)
}

fn watch_lines(by: ReportBy, front: &Front, taken: &mut WatchLines) -> Step {
    let WatchLines { cursor, bytes, lines } = taken;
    let more = front.watches().report(by, cursor, WATCH_LINES_PER_STEP, |line| {
        let line = match line {
            ReportLine::Path(path) => WatchLine::Path(path.into()),
            ReportLine::Connection(ConnKey(slot)) => WatchLine::Session(front.session_of(slot)),
        };
        *bytes += size_of::<WatchLine>();
        if let WatchLine::Path(path) = &line {
            *bytes += path.len();
        }
        lines.push(line);
    });
    if more && !taken.is_too_large() { Step::More } else { Step::Done }
}
