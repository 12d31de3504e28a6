//! `cp` and `mv`.
//!
//! A move of up to `ATOMIC_NODES` znodes and `ATOMIC_BYTES` is one transaction: nobody ever
//! sees both or neither. A larger one is copied first and then deleted version by version, so what
//! changed meanwhile stays where it was.

use oxkeeper_client::Client;
use serde_json::json;

use super::node::{Node, is_ephemeral, is_systems};
use super::plant::{Leave, Planter};
use super::walk::{Walk, Want};
use crate::commands::write::{describe, would};
use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::path;
use crate::shell::Shell;

/// A move of no more znodes than this is one transaction.
const ATOMIC_NODES: usize = 500;
/// And of no more data: a server takes requests of a mebibyte.
const ATOMIC_BYTES: u64 = 512 << 10;
/// Deletes in one transaction of a larger move.
const BATCH: usize = 500;

/// Checks both ends.
fn ends(given: &Given) -> Result<(&str, &str), Failure> {
    let (source, target) = (given.args[0].as_str(), given.args[1].as_str());
    path::check(source)?;
    path::check(target)?;
    if path::within(source, target) {
        return Err(Failure::usage(format!("{target} is in {source} itself")));
    }
    Ok((source, target))
}

/// `cp [--overwrite] [--dry-run] source target`.
///
/// # Errors
/// If something cannot be read or created.
pub async fn cp(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let (source, target) = ends(given)?;
    let leave = Leave {
        overwrite: given.has("--overwrite"),
        dry_run: given.has("--dry-run"),
        open_acl: false,
    };
    let zk = shell.zk()?;
    let planter = copy(shell, &zk, source, target, leave).await?;
    planter.tell(shell);
    Ok(())
}

async fn copy(
    shell: &Shell,
    zk: &Client,
    source: &str,
    target: &str,
    leave: Leave,
) -> Result<Planter, Failure> {
    let mut walk = Walk::new(zk, source, Want::Whole, None);
    let mut planter = Planter::new(zk, target, leave);
    while let Some(found) = walk.next().await? {
        if !is_systems(source, &found.path) {
            planter.plant(shell, Node::of(source, found)).await?;
        }
    }
    planter.finish().await?;
    Ok(planter)
}

/// What a move takes along.
struct Load {
    nodes: Vec<(Node, i32)>,
    bytes: u64,
    whole: bool,
}

/// `mv [--dry-run] source target`.
///
/// # Errors
/// If the target exists, the source holds ephemerals or has changed meanwhile.
pub async fn mv(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let (source, target) = ends(given)?;
    if source == "/" || is_systems("/", source) {
        return Err(Failure::usage(format!("{source} is the server's own and stays")));
    }
    let zk = shell.zk()?;
    let dry_run = given.has("--dry-run");
    let load = load(shell, &zk, source, dry_run).await?;
    if dry_run {
        let leave = Leave { dry_run, ..Leave::default() };
        copy(shell, &zk, source, target, leave).await?.tell(shell);
        return Ok(());
    }
    let count = if load.whole {
        let count = load.nodes.len();
        at_once(&zk, source, target, &load.nodes).await?;
        count
    } else {
        drop(load);
        in_steps(shell, &zk, source, target).await?
    };
    if shell.json {
        shell.out.json(&json!({"moved": source, "to": target, "count": count}));
    } else {
        shell.out.note(format!("{count} moved"));
    }
    Ok(())
}

/// Reads as much as fits into one transaction, and looks at all for ephemerals.
async fn load(shell: &Shell, zk: &Client, source: &str, dry: bool) -> Result<Load, Failure> {
    let mut load = Load { nodes: Vec::new(), bytes: 0, whole: true };
    let mut walk = Walk::new(zk, source, Want::Whole, None);
    while let Some(found) = walk.next().await? {
        if is_ephemeral(&found.stat) {
            return Err(Failure::new(Kind::Refused, format!("{} is ephemeral", found.path))
                .hint("it belongs to a session and cannot be moved; cp leaves ephemerals out"));
        }
        if dry {
            would(shell, "delete", &found.path, &describe(&found.stat))?;
            continue;
        }
        let version = found.stat.version;
        let node = Node::of(source, found);
        load.bytes += node.size() + 2 * node.below.len() as u64;
        if load.nodes.len() >= ATOMIC_NODES || load.bytes > ATOMIC_BYTES {
            load.whole = false;
            load.nodes.clear();
        }
        if load.whole {
            load.nodes.push((node, version));
        }
    }
    Ok(load)
}

/// One transaction: all or nothing.
async fn at_once(
    zk: &Client,
    source: &str,
    target: &str,
    nodes: &[(Node, i32)],
) -> Result<(), Failure> {
    let mut paths = Vec::with_capacity(2 * nodes.len());
    let mut multi = zk.multi();
    for (node, _) in nodes {
        let path = path::under(target, &node.below);
        multi = multi.create(path.clone(), node.data.as_deref().unwrap_or_default());
        if node.data.is_none() {
            multi = multi.null();
        }
        multi = multi.acl(&node.acl[..]);
        paths.push(path);
    }
    for (node, version) in nodes.iter().rev() {
        let path = path::under(source, &node.below);
        multi = multi.delete(path.clone()).version(*version);
        paths.push(path);
    }
    multi.send().await.map_err(|error| {
        let at = error.multi().and_then(|(index, _)| paths.get(index));
        let failure = Failure::of(&error, at.map_or(source, String::as_str));
        match failure.kind {
            Kind::BadVersion | Kind::NotEmpty => {
                failure.hint("it changed meanwhile; nothing was moved")
            }
            Kind::NodeExists => failure.hint("nothing was moved; cp --overwrite copies over it"),
            _ => failure,
        }
    })?;
    Ok(())
}

/// Copy, then delete what is still as it was copied.
async fn in_steps(
    shell: &Shell,
    zk: &Client,
    source: &str,
    target: &str,
) -> Result<usize, Failure> {
    let mut walk = Walk::new(zk, source, Want::Whole, None);
    let mut planter = Planter::new(zk, target, Leave::default());
    let mut versions = Vec::new();
    while let Some(found) = walk.next().await? {
        versions.push((found.path.clone(), found.stat.version));
        planter.plant(shell, Node::of(source, found)).await?;
    }
    planter.finish().await?;
    for batch in versions.rchunks(BATCH) {
        let multi = batch.iter().rev().fold(zk.multi(), |multi, (path, version)| {
            multi.delete(path.as_str()).version(*version)
        });
        if let Err(error) = multi.send().await {
            let at = error.multi().and_then(|(index, _)| batch.iter().rev().nth(index));
            let failure = Failure::of(&error, at.map_or(source, |(path, _)| path.as_str()));
            return Err(Failure { kind: Kind::Partly, ..failure }.hint(format!(
                "{target} is complete; of {source}, what changed meanwhile is left: compare with \
                 diff {source} {target}"
            )));
        }
    }
    Ok(versions.len())
}
