//! setquota, listquota, delquota: znodes below `/zookeeper/quota`, in ZooKeeper's own form.
//!
//! A quota is two znodes that the server reads, limits and what is used. A path has no quota if one
//! above or below it has, because the server counts for the nearest alone.

use std::collections::BTreeMap;

use oxkeeper_client::{Client, Error};
use serde_json::json;

use super::write::would;
use crate::acl;
use crate::failure::{Failure, Kind};
use crate::flags::Given;
use crate::path;
use crate::shell::{OnPath, Shell};
use crate::subtree::walk::{Walk, Want};

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";
const COUNT: &str = "count";
const BYTES: &str = "bytes";
const HARD_COUNT: &str = "countHardLimit";
const HARD_BYTES: &str = "byteHardLimit";

/// Options and what they limit.
const OPTIONS: [(&str, &str); 4] =
    [("-n", COUNT), ("-b", BYTES), ("-N", HARD_COUNT), ("-B", HARD_BYTES)];

/// Limits or counts as they stand in a znode (`StatsTrack`): `count=3,bytes=-1=;byteHardLimit=-1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Track(BTreeMap<String, i64>);

impl Track {
    fn none() -> Track {
        Track(OPTIONS.iter().map(|(_, name)| ((*name).to_owned(), -1)).collect())
    }

    fn read(bytes: &[u8]) -> Track {
        let text = String::from_utf8_lossy(bytes);
        let pairs = text.split([',', ';']).filter(|pair| !pair.is_empty());
        Track(
            pairs
                .filter_map(|pair| {
                    let mut parts = pair.split('=');
                    let (key, value) = (parts.next()?, parts.next()?);
                    Some((key.to_owned(), value.parse().unwrap_or(-1)))
                })
                .collect(),
        )
    }

    fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    fn set(&mut self, name: &str, value: i64) {
        self.0.insert(name.to_owned(), value);
    }

    fn json(&self) -> serde_json::Value {
        json!(self.0)
    }
}

impl std::fmt::Display for Track {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{COUNT}={},{BYTES}={}", self.get(COUNT), self.get(BYTES))?;
        let mut rest = self.0.iter().filter(|(key, _)| *key != COUNT && *key != BYTES).peekable();
        if rest.peek().is_some() {
            // Keeps servers that know only the first two from reading on.
            f.write_str("=")?;
        }
        rest.try_for_each(|(key, value)| write!(f, ";{key}={value}"))
    }
}

/// Quotas lie in the server's own tree, which a chroot hides.
fn whole_tree(zk: &Client, path: &str) -> Result<(), Failure> {
    match zk.chroot() {
        "" => Ok(()),
        chroot => Err(Failure::usage("quotas lie outside the chroot")
            .hint(format!("leave {chroot} out behind the servers, and name {chroot}{path}"))),
    }
}

fn limits_path(path: &str) -> String {
    format!("{ROOT}{path}/{LIMITS}")
}

fn stats_path(path: &str) -> String {
    format!("{ROOT}{path}/{STATS}")
}

/// `setquota -n|-b|-N|-B val path`.
///
/// # Errors
/// If there is no such znode, another quota is above or below, or the server refuses.
pub async fn set(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = given.args[0].clone();
    if path.starts_with(ROOT) {
        return said(shell, &format!("cannot set a quota under the path: {ROOT}"));
    }
    let mut wanted = None;
    for (flag, name) in OPTIONS {
        let Some(text) = given.value(flag) else { continue };
        let Ok(value) = text.parse::<i64>() else {
            return said(shell, "NumberFormatException happens when parsing the option value");
        };
        let counts = name == COUNT || name == HARD_COUNT;
        if counts && value <= 0 {
            return said(shell, "the num quota must be greater than zero");
        }
        if !counts && value < 0 {
            return said(shell, "the bytes quota must be greater than or equal to zero");
        }
        wanted = Some((name, value));
    }
    let Some((name, value)) = wanted else { return Ok(()) };
    path::check(&path)?;
    let zk = shell.zk()?;
    whole_tree(&zk, &path)?;
    if zk.exists(&path).await.on(&path)?.is_none() {
        return Err(Failure::new(Kind::NoNode, format!("{path} does not exist.")));
    }
    if let Some(below) = quota_below(&zk, &path).await? {
        let text = format!("{path} has a child {below} which has a quota");
        return Err(Failure::new(Kind::Refused, text).hint(format!("delquota {below}")));
    }
    if let Some(above) = quota_above(&zk, &path).await? {
        let text = format!("{path} has a parent {above} which has a quota");
        return Err(Failure::new(Kind::Refused, text).hint(format!("delquota {above}")));
    }
    let limits = limits_path(&path);
    let now = read(&zk, &limits).await?;
    let mut track = now.clone().unwrap_or_else(Track::none);
    track.set(name, value);
    if given.has("--dry-run") {
        return would(shell, "set the quota of", &path, &track.to_string());
    }
    let stats = if now.is_some() {
        let stats = read(&zk, &stats_path(&path)).await?.unwrap_or_default();
        warn(shell, &track, &stats);
        zk.set(&limits, &track.to_string()).await.on(&limits)?;
        stats
    } else {
        plant(&zk, &path, &track).await?;
        let stats = read(&zk, &stats_path(&path)).await?.unwrap_or_default();
        warn(shell, &track, &stats);
        stats
    };
    if shell.json {
        shell.out.json(&json!({"path": path, "limits": track.json(), "used": stats.json()}));
    }
    Ok(())
}

/// What ZooKeeper's shell says without calling it a failure.
fn said(shell: &Shell, text: &str) -> Result<(), Failure> {
    shell.out.note(text);
    Ok(())
}

fn warn(shell: &Shell, limits: &Track, used: &Track) {
    for (what, soft, hard) in [(COUNT, COUNT, HARD_COUNT), (BYTES, BYTES, HARD_BYTES)] {
        let has = used.get(what);
        if [soft, hard].iter().any(|name| limits.get(name) > -1 && limits.get(name) < has) {
            let text = format!(
                "[Warning]: the {what} quota you create is less than the existing {what}:{has}"
            );
            if shell.json { shell.out.note(text) } else { shell.out.line(text) }
        }
    }
}

/// Creates the znodes of a first quota.
async fn plant(zk: &Client, path: &str, track: &Track) -> Result<(), Failure> {
    let dir = format!("{ROOT}{path}");
    let mut at = ROOT.to_owned();
    let mut dirs = vec![at.clone()];
    for name in path.split('/').filter(|name| !name.is_empty()) {
        at = path::child(&at, name);
        dirs.push(at.clone());
    }
    for at in &dirs {
        if zk.exists(at).await.on(at)?.is_none() {
            there(zk.create(at, "").data(None).acl(acl::open()).await, at)?;
        }
    }
    let (limits, stats) = (path::child(&dir, LIMITS), path::child(&dir, STATS));
    zk.create(&limits, &track.to_string()).acl(acl::open()).await.on(&limits)?;
    let zero = Track([(COUNT.to_owned(), 0), (BYTES.to_owned(), 0)].into());
    zk.create(&stats, &zero.to_string()).acl(acl::open()).await.on(&stats)?;
    Ok(())
}

fn there<T>(done: Result<T, Error>, path: &str) -> Result<(), Failure> {
    match done {
        Ok(_) => Ok(()),
        Err(error) if error.is_node_exists() => Ok(()),
        Err(error) => Err(Failure::of(&error, path)),
    }
}

async fn read(zk: &Client, path: &str) -> Result<Option<Track>, Failure> {
    match zk.get(path).await {
        Ok(data) => Ok(Some(Track::read(data.bytes()))),
        Err(error) if error.is_no_node() => Ok(None),
        Err(error) => Err(Failure::of(&error, path)),
    }
}

/// The first path below that has a quota.
async fn quota_below(zk: &Client, path: &str) -> Result<Option<String>, Failure> {
    let root = format!("{ROOT}{}", if path == "/" { "" } else { path });
    if zk.exists(&root).await.on(&root)?.is_none() {
        return Ok(None);
    }
    let mut walk = Walk::new(zk, &root, Want::Stat, None);
    while let Some(found) = walk.next().await? {
        if found.path != root && found.children.iter().any(|name| name == LIMITS) {
            return Ok(Some(found.path[ROOT.len()..].to_owned()));
        }
    }
    Ok(None)
}

/// The first path above that has a quota.
async fn quota_above(zk: &Client, path: &str) -> Result<Option<String>, Failure> {
    let mut at = String::new();
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    for name in names.iter().take(names.len().saturating_sub(1)) {
        at = format!("{at}/{name}");
        let limits = limits_path(&at);
        if zk.exists(&limits).await.on(&limits)?.is_some() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// `listquota path`.
///
/// # Errors
/// If it cannot be read. That there is none is told, and no failure.
pub async fn list(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    let limits_at = limits_path(path);
    if !shell.json {
        shell.out.note(format!("absolute path is {limits_at}"));
    }
    let zk = shell.zk()?;
    whole_tree(&zk, path)?;
    let none = format!("quota for {path} does not exist.");
    if path::check(&limits_at).is_err() || !path.starts_with('/') {
        return said(shell, &none);
    }
    let limits = read(&zk, &limits_at).await?;
    let used = read(&zk, &stats_path(path)).await?;
    let (Some(limits), Some(used)) = (limits, used) else {
        if shell.json {
            shell.out.json(&json!({"path": path, "limits": null}));
            return Ok(());
        }
        return said(shell, &none);
    };
    if shell.json {
        shell.out.json(&json!({"path": path, "limits": limits.json(), "used": used.json()}));
        return Ok(());
    }
    shell.out.line(format!("Output quota for {path} {limits}"));
    shell.out.line(format!("Output stat for {path} {used}"));
    Ok(())
}

/// `delquota [-n|-b|-N|-B] path`.
///
/// # Errors
/// If the server refuses. That there is none is told, and no failure.
pub async fn delete(shell: &mut Shell, given: &Given) -> Result<(), Failure> {
    let path = &given.args[0];
    path::check(path)?;
    let zk = shell.zk()?;
    whole_tree(&zk, path)?;
    let limits = limits_path(path);
    let Some(mut track) = read(&zk, &limits).await? else {
        shell.out.line(format!("Quota does not exist for {path}"));
        return Ok(());
    };
    let lifted = OPTIONS.iter().find(|(flag, _)| given.has(flag));
    if given.has("--dry-run") {
        let what = lifted.map_or("all limits", |(_, name)| name);
        return would(shell, "lift the quota of", path, &format!("{what}; it is {track}"));
    }
    if let Some((_, name)) = lifted {
        track.set(name, -1);
        zk.set(&limits, &track.to_string()).await.on(&limits)?;
        return Ok(());
    }
    let mut dir = format!("{ROOT}{path}");
    for name in zk.children(&dir).await.on(&dir)? {
        let child = path::child(&dir, &name);
        zk.delete(&child).await.on(&child)?;
    }
    // What nothing else hangs on goes too.
    while dir != ROOT && zk.children(&dir).await.on(&dir)?.is_empty() {
        zk.delete(&dir).await.on(&dir)?;
        dir.truncate(dir.rfind('/').unwrap_or(0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_zookeeper_writes_them() {
        let mut track = Track::none();
        track.set(COUNT, 3);
        assert_eq!(track.to_string(), "count=3,bytes=-1=;byteHardLimit=-1;countHardLimit=-1");
        assert_eq!(Track::read(track.to_string().as_bytes()), track);
        let old = Track::read(b"count=1,bytes=5");
        assert_eq!(old.to_string(), "count=1,bytes=5");
        assert_eq!(Track::read(b"rubbish,,=;x").get(COUNT), -1);
    }
}
