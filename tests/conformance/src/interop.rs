//! One data directory, served in turns by us and by Java.
//!
//! A random workload runs on one server until it is stopped or killed. Then Java's own classes read
//! the directory: the tree must be the one that was served, every digest on the way right, every
//! session there. Then the *other* server opens it, must show the same tree to a client, resume the
//! sessions, and goes on with the workload; and so on, back and forth. Snapshots are taken often,
//! so that each opens the other's snapshots as well as its logs.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::differential::{Generator, Seen, Side, Step};
use crate::peers::{JavaDump, Peers, ServerUnderTest, StartOpts, java_dump};

/// How often the directory changes hands.
const TURNS: usize = 4;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Znodes compared, over all turns.
    pub znodes: usize,
    /// Sessions compared, over all turns.
    pub sessions: usize,
    /// What differed.
    pub errors: Vec<String>,
}

/// Lets `examined` and Java take turns on a directory below `dir`, for `ops` operations in all.
///
/// # Errors
/// When a server cannot be run or does not open what the other left.
pub fn run(
    peers: &Peers,
    examined: &ServerUnderTest,
    dir: &Path,
    seed: u64,
    ops: u64,
) -> Result<Outcome> {
    let java = ServerUnderTest::Java(peers.clone());
    let opts = opts(dir)?;
    let mut outcome = Outcome::default();
    let mut generator = Generator::new(seed);
    let mut side = Side::new(examined.start(opts.clone())?)?;
    let mut of_java = Vec::new();
    for turn in 0..TURNS {
        let name = side.name();
        let before = side.zxid;
        workload(&mut side, &mut generator, ops / TURNS as u64)
            .with_context(|| format!("turn {turn}, on {name}"))?;
        // Where quotas are nested, counting along and counting anew do not come to the same.
        side.perform(&Step::Clear { top: "/zookeeper/quota" })?;
        let served = walk(&mut side)?;
        side.stop(turn % 2 == 1)?;
        generator.restart(false, false);

        let dump = java_dump(peers, &opts.data_dir(), None, &[])
            .with_context(|| format!("reading what {name} wrote in turn {turn}"))?;
        if side.is_java() {
            of_java.push(before + 1..side.zxid);
        }
        let mut errors = side.compare_dump(&served, &dump, &of_java);
        errors.extend(compare_sessions(&side, &generator, &dump));
        outcome.znodes += dump.znodes.len();
        outcome.sessions += dump.sessions.len();

        let next = if turn % 2 == 0 { &java } else { examined };
        let server = next
            .start(opts.clone())
            .with_context(|| format!("{} opens what {name} wrote in turn {turn}", next.name()))?;
        side.take_over(server)?;
        let now = walk(&mut side)?;
        if now != served {
            errors.push(crate::differential::differing(name, &served, next.name(), &now));
        }
        let context = |error| format!("turn {turn}, {name} to {}: {error}", next.name());
        outcome.errors.extend(errors.into_iter().map(context));
        if !outcome.errors.is_empty() {
            break;
        }
    }
    Ok(outcome)
}

/// The tree as it is served, without counters, which a server that has loaded it counts otherwise.
fn walk(side: &mut Side) -> Result<Seen> {
    let mut seen = side.perform(&Step::Walk)?;
    seen.retain(|line| line.get("znode").is_some());
    Ok(seen)
}

fn opts(dir: &Path) -> Result<StartOpts> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(StartOpts::new(dir, crate::free_port()?)
        .for_programs()
        .config("maxSessionTimeout", "600000")
        .config("enforceQuota", "false")
        .config("forceSync", "no")
        .config("snapCount", "150")
        .property("znode.container.checkIntervalMs", "100000000"))
}

/// Random steps on one server alone; none that compares, restarts or clears too much, and on Java
/// none that makes it log a wrong digest by a fault of its own (D144).
fn workload(side: &mut Side, generator: &mut Generator, ops: u64) -> Result<()> {
    let mut done = 0;
    while done < ops {
        let step = generator.draw();
        let spoils = side.is_java() && step.writes_root();
        if spoils || matches!(step, Step::Clear { .. } | Step::Deviate(_)) {
            continue;
        }
        let seen = side.perform(&step).with_context(|| format!("{step:?}"))?;
        generator.learn(&step, &seen);
        done += step.ops();
    }
    Ok(())
}

fn compare_sessions(side: &Side, generator: &Generator, dump: &JavaDump) -> Vec<String> {
    let mut expected = side.session_ids(&generator.sessions());
    expected.sort_unstable();
    let found: Vec<i64> = dump.sessions.keys().copied().collect();
    if expected == found {
        return Vec::new();
    }
    vec![format!("sessions {expected:x?} were open, Java reads {found:x?}")]
}

/// The znodes of a walk, by path.
pub(crate) fn znodes(walk: &Seen) -> impl Iterator<Item = (&str, &Value)> {
    walk.iter().filter_map(|line| Some((line["znode"].as_str()?, line)))
}

impl Side {
    /// What a walk showed against what Java reads from the files.
    ///
    /// Java takes a snapshot beside its writer, and may have put a part of the next transaction
    /// into it before the digest of the one before (D145): a snapshot from `of_java`, transactions
    /// of its turns, may have the wrong digest. Those of the log tell whether the tree is right.
    fn compare_dump(&self, walk: &Seen, dump: &JavaDump, of_java: &[Range<i64>]) -> Vec<String> {
        let mut errors = Vec::new();
        if !dump.digest_mismatches.is_empty() {
            errors.push(format!("wrong digests at zxids {:x?}", dump.digest_mismatches));
        }
        if dump.snapshot_mismatches.iter().any(|zxid| !of_java.iter().any(|of| of.contains(zxid))) {
            errors.push(format!("snapshots' digests at {:x?}", dump.snapshot_mismatches));
        }
        if dump.last_zxid != self.zxid {
            errors.push(format!("the last zxid is {:#x}, not {:#x}", dump.last_zxid, self.zxid));
        }
        let served = znodes(walk).count();
        if served != dump.znodes.len() {
            errors.push(format!("{served} znodes were served, Java reads {}", dump.znodes.len()));
        }
        for (path, line) in znodes(walk) {
            let found = match dump.znodes.get(path) {
                Some(znode) => self.compare_znode(line, znode),
                None => Err(anyhow::anyhow!("not in the files")),
            };
            if let Err(error) = found {
                errors.push(format!("{path}: {error}"));
            }
        }
        errors
    }

    fn compare_znode(&self, line: &Value, znode: &crate::peers::DumpedZnode) -> Result<()> {
        let stat = &line["stat"];
        let data = znode.data.as_deref().map_or(Value::Null, crate::wire::reply::blob);
        ensure!(line["data"] == data, "data {} was served, Java reads {data}", line["data"]);
        let children = stat["numChildren"].as_i64().unwrap_or(0);
        let numbers = [
            ("czxid", znode.czxid),
            ("mzxid", znode.mzxid),
            ("pzxid", znode.pzxid),
            ("version", znode.version.into()),
            // Clients are shown creations and deletions, files hold creations.
            ("cversion", 2 * i64::from(znode.cversion) - children),
            ("aversion", znode.aversion.into()),
        ];
        for (field, found) in numbers {
            let served = &stat[field];
            ensure!(*served == found, "{field} {served} was served, Java reads {found}");
        }
        for (field, zxid, ms) in
            [("ctime", znode.czxid, znode.ctime_ms), ("mtime", znode.mzxid, znode.mtime_ms)]
        {
            let known = self.normal.time_of(zxid);
            ensure!(known.is_none_or(|known| known == ms), "{field}: Java reads {ms}");
        }
        let owner = self.normal.owner(znode.ephemeral_owner);
        let served = &stat["ephemeralOwner"];
        ensure!(*served == owner, "owner {served} was served, Java reads {owner}");
        let mut acl: Vec<Value> = znode
            .acl
            .iter()
            .map(|acl| serde_json::json!({"perms": acl.perms, "scheme": acl.scheme, "id": acl.id}))
            .collect();
        crate::differential::normal::sort_identities(&mut acl);
        ensure!(line["acl"] == Value::Array(acl), "the ACL differs: {:?}", znode.acl);
        Ok(())
    }
}
