//! Setting a stage on a server, and clearing it.
//!
//! Everything lies below one `/bench-…` znode whose name no other run has. Loaded layouts go the
//! way they came, in multis over many connections; whatever else a mix has left is listed and
//! removed.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail, ensure};
use oxkeeper_proto::request::{MultiOp, MultiRequest, PathVersion};
use oxkeeper_proto::{ErrorCode, OpCode};

use crate::drive::{Cost, Phases, drive};
use crate::engine::{Clock, Engine, Load};
use crate::figures::errors_text;
use crate::layout::Layout;
use crate::members::Processes;
use crate::progress::Progress;
use crate::session::Session;
use crate::work::bulk::{BulkWork, Direction};

/// Connections and window of a load that is not itself measured.
const HANDS: (usize, usize) = (8, 8);

/// Deletes in one multi when clearing: well below a frame's limit.
const DELETES: usize = 500;

/// How a layout is loaded.
#[derive(Debug, Clone)]
pub struct Loading {
    /// Connections.
    pub connections: usize,
    /// Multis in flight on each.
    pub window: usize,
    /// Znodes per multi.
    pub batch: usize,
    /// Bytes of data per znode.
    pub value_bytes: usize,
    /// The server's processes, when its cost is wanted.
    pub processes: Processes,
    /// Session timeout to ask for.
    pub timeout_ms: i32,
}

impl Loading {
    /// The usual way.
    pub fn usual(batch: usize, value_bytes: usize, timeout_ms: i32) -> Loading {
        let (connections, window) = HANDS;
        let processes = Processes::default();
        Loading { connections, window, batch, value_bytes, processes, timeout_ms }
    }
}

/// A path that nobody else uses.
pub fn fresh_root() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("/bench-{:x}-{:x}", now.as_micros(), std::process::id())
}

/// Creates the root and what the layout needs first.
///
/// # Errors
/// When the server refuses.
pub fn raise(address: SocketAddr, layout: &Layout, timeout_ms: i32) -> Result<()> {
    let mut session = Session::open(address, timeout_ms)?;
    session.create(&layout.root, b"")?;
    session.create(&format!("{}/new", layout.root), b"")?;
    for path in layout.prepared() {
        session.create(&path, b"")?;
    }
    session.close()
}

/// Creates or deletes the groups of a layout; what it cost.
///
/// # Errors
/// When a connection breaks or a multi fails.
pub fn pass(
    addresses: &[SocketAddr],
    layout: &Layout,
    direction: Direction,
    loading: Loading,
    show: (&Progress, &str),
) -> Result<Cost> {
    let clock = Clock::start();
    let connections = loading.connections;
    let engine = Engine::connect(addresses, connections, loading.timeout_ms, clock)?;
    let work = BulkWork::new(layout, direction, loading.batch, loading.value_bytes, connections);
    let label = format!("{} · {direction:?} {} znodes", show.1, layout.znodes());
    let phases = Phases { warmup: std::time::Duration::ZERO, measure: None };
    let window = Load::Closed(loading.window);
    let jobs = vec![(engine, work)];
    let driven = drive(jobs, window, phases, clock, &loading.processes, (show.0, &label))?;
    let cost = driven.cost;
    let errors = driven.tally.errors.clone();
    driven.close()?;
    ensure!(errors.is_empty(), "{direction:?} of the tree failed: {}", errors_text(&errors));
    Ok(cost)
}

/// Waits until every server has what any of them has acknowledged: reads of what was loaded through
/// one may go to another.
///
/// # Errors
/// When a server cannot be reached or refuses.
pub fn settle(addresses: &[SocketAddr], timeout_ms: i32) -> Result<()> {
    for address in addresses {
        let mut session = Session::open(*address, timeout_ms)?;
        session.sync()?;
        session.close()?;
    }
    Ok(())
}

/// Removes the root and everything below it, the loaded part of a layout first.
///
/// # Errors
/// When the connection breaks or something cannot be removed.
pub fn clear(
    addresses: &[SocketAddr],
    layout: &Layout,
    loaded: bool,
    timeout_ms: i32,
    show: (&Progress, &str),
) -> Result<()> {
    if loaded && layout.groups() > 1 {
        pass(addresses, layout, Direction::Delete, Loading::usual(DELETES, 0, timeout_ms), show)?;
    }
    let mut session = Session::open(addresses[0], timeout_ms)?;
    session.sync()?;
    remove(&mut session, &layout.root)?;
    session.close()
}

/// Removes a znode and all below it.
fn remove(session: &mut Session, path: &str) -> Result<()> {
    let Some(names) = session.children(path)? else { return Ok(()) };
    for names in names.chunks(DELETES) {
        if delete_together(session, path, names)? {
            continue;
        }
        // Some of them have children of their own.
        for name in names {
            remove(session, &format!("{path}/{name}"))?;
        }
    }
    match session.delete(path)? {
        err if err.is_ok() || err == ErrorCode::NO_NODE => Ok(()),
        err => bail!("cannot remove {path}: {err:?}; it is left on the server"),
    }
}

/// Deletes children in one multi; false if it failed.
fn delete_together(session: &mut Session, parent: &str, names: &[String]) -> Result<bool> {
    let mut body = Vec::new();
    let paths = names.iter().map(|name| format!("{parent}/{name}"));
    let ops = paths.map(|path| MultiOp::Delete(PathVersion { path: path.into(), version: -1 }));
    MultiRequest::encode_ops(&mut body, ops);
    let answer = session.call_raw(OpCode::MULTI, &body)?;
    Ok(crate::work::multi_outcome(answer.err, &answer.body).is_ok())
}
