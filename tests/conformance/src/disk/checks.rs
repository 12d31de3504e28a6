//! The checks, by name.
//!
//! Each prepares a directory with one of the two servers, in a way that a plain workload would not,
//! and has the other open it.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Desk;
use super::client::Client;
use super::served::Served;
use super::workload::{self, LONG_TIMEOUT_MS, Left};
use crate::peers::{
    JavaDump, RunningServer, ServerUnderTest, StartOpts, four_letter_word, java_dump,
};
use crate::wire::{Acl, Blob, Request, op};

type Check = fn(&Desk<'_>) -> Result<()>;

/// All of them.
pub const ALL: [(&str, Check); 7] = [
    ("ours to java plain", |desk| ours_to_java(desk, "")),
    ("ours to java gz", |desk| ours_to_java(desk, "gz")),
    ("ours to java snappy", |desk| ours_to_java(desk, "snappy")),
    ("java to ours and back gz", |desk| java_to_ours_and_back(desk, "gz")),
    ("a log that nothing but its beginning explains", log_only),
    ("a torn log of ours that java goes on from", torn_log),
    ("a hundred thousand ephemerals of one session", many_ephemerals),
];

/// Requests of one workload.
const REQUESTS: usize = 1500;

/// Snapshots that a directory must have, that of the empty tree included.
const SNAPSHOTS: usize = 3;

/// Rounds of changes for them, each long enough for several.
const ROUNDS_MAX: u64 = 100;

/// How a server of a check takes snapshots: often, so that logs are rolled and old ones purged.
fn busy(desk: &Desk<'_>, compression: &str) -> StartOpts {
    let opts = desk.opts().config("snapCount", "300");
    match compression {
        "" => opts,
        method => opts.property("zookeeper.snapshot.compression.method", method),
    }
}

/// Reads what a server serves, with a session that is closed afterwards unless `left` keeps it.
fn served(server: &RunningServer, left: &mut Left) -> Result<Served> {
    let mut client = Client::superuser(server.addr(), LONG_TIMEOUT_MS)?;
    let served = Served::read(&mut client)?;
    left.keep(client);
    Ok(served)
}

/// Java's classes read the directory: as `before`, with the sessions of `left`.
fn java_reads(desk: &Desk<'_>, before: &Served, left: &Left) -> Result<JavaDump> {
    let dump = java_dump(&desk.plan.peers, &desk.data_dir(), None, &[])?;
    let mut differing = dump.digest_mismatches.iter().chain(&dump.snapshot_mismatches);
    ensure!(differing.next().is_none(), "Java finds other digests: {dump:x?}");
    before.must_equal(&Served::of_dump(&dump), "what was served, what Java reads")?;
    let sessions = dump.sessions.iter().map(|(id, session)| (*id, session.timeout_ms)).collect();
    ensure!(left.sessions == sessions, "sessions {:x?}, Java reads {sessions:x?}", left.sessions);
    Ok(dump)
}

/// Starts a server on the desk's directory: it must serve `before`. What else it says is looked at
/// for complaints.
fn serves(
    desk: &Desk<'_>,
    server: &ServerUnderTest,
    opts: StartOpts,
    before: &Served,
    left: &mut Left,
) -> Result<RunningServer> {
    let running = server.start(opts)?;
    let name = server.name();
    before.must_equal(&served(&running, left)?, format!("what was served, what {name} serves"))?;
    let mntr = four_letter_word(running.addr(), "mntr")?;
    let mismatches =
        mntr.lines().find_map(|line| line.strip_prefix("zk_digest_mismatches_count\t"));
    let mismatches = mismatches.with_context(|| format!("{name} counts no digest mismatches"))?;
    ensure!(mismatches.trim() == "0", "{name} counts {mismatches} digest mismatches");
    let log = fs::read_to_string(desk.dir.join("server.log"))?;
    let complaint = log.lines().find(|line| line.contains("igests are not matching"));
    ensure!(complaint.is_none(), "{name} says: {complaint:?}");
    Ok(running)
}

fn last_zxid(server: &RunningServer) -> Result<i64> {
    let said = four_letter_word(server.addr(), "srvr")?;
    let zxid = said.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
    Ok(i64::from_str_radix(zxid.context("srvr names no zxid")?, 16)?)
}

/// Written by ours and killed; read by Java's classes, served by Java, then by ours again.
fn ours_to_java(desk: &Desk<'_>, compression: &str) -> Result<()> {
    let ours = &desk.plan.examined;
    let mut server = ours.start(busy(desk, compression))?;
    let mut left = workload::run(server.addr(), desk.plan.seed, REQUESTS)?;
    write_until_snapshots(desk, &server, &mut left)?;
    let before = served(&server, &mut left)?;
    let zxid = last_zxid(&server)?;
    server.kill()?;
    let snapshots = desk.files("snapshot.")?;
    let end = if compression.is_empty() { String::new() } else { format!(".{compression}") };
    ensure!(
        snapshots.iter().all(|name| name.ends_with(&end)),
        "not the snapshots that were asked for: {snapshots:?}"
    );
    let dump = java_reads(desk, &before, &left)?;
    ensure!(dump.last_zxid == zxid, "{zxid:x} was last, Java reads {:x}", dump.last_zxid);
    for (path, owner) in workload::stored_owners() {
        let znode = dump.znodes.get(path).with_context(|| format!("no {path}"))?;
        ensure!(znode.ephemeral_owner == owner, "{path} is stored as {:x}", znode.ephemeral_owner);
    }
    let mut java = serves(desk, &desk.java(), busy(desk, compression), &before, &mut left)?;
    java.kill()?;
    let mut again = serves(desk, ours, busy(desk, compression), &before, &mut left)?;
    again.stop()?;
    java_reads(desk, &before, &left).map(drop)
}

/// Written by Java and killed; served and changed by ours, killed; served and changed by Java.
fn java_to_ours_and_back(desk: &Desk<'_>, compression: &str) -> Result<()> {
    let seed = desk.plan.seed;
    let mut java = desk.java().start(busy(desk, compression))?;
    let mut left = workload::run(java.addr(), seed, REQUESTS)?;
    let mut before = served(&java, &mut left)?;
    java.kill()?;
    for turn in 1..=2 {
        for server in [&desk.plan.examined, &desk.java()] {
            let opts = busy(desk, compression);
            let mut running = serves(desk, server, opts, &before, &mut left)?;
            change(&running, seed + turn, &mut left)?;
            before = served(&running, &mut left)?;
            running.kill()?;
            java_reads(desk, &before, &left).with_context(|| format!("{}'s", server.name()))?;
        }
    }
    Ok(())
}

/// Makes changes until there are snapshots besides the first one. How many a workload leaves is for
/// the machine to say: where one is under way, the next that falls due is left out.
fn write_until_snapshots(desk: &Desk<'_>, server: &RunningServer, left: &mut Left) -> Result<()> {
    let mut round = 0;
    while desk.files("snapshot.")?.len() < SNAPSHOTS {
        ensure!(round < ROUNDS_MAX, "{round} rounds have left {:?}", desk.files("snapshot.")?);
        round += 1;
        change(server, desk.plan.seed + round, left)?;
    }
    Ok(())
}

/// A little of everything on a tree that is there.
fn change(server: &RunningServer, seed: u64, left: &mut Left) -> Result<()> {
    let mut client = Client::connect(server.addr(), LONG_TIMEOUT_MS)?;
    let root = format!("/change-{seed}-{}", server.kind().name());
    let create = |path: String, flags| Request::Create {
        op: op::CREATE2,
        path: Some(path),
        data: Blob::text("changed"),
        acl: Acl::open(),
        flags,
        ttl: None,
    };
    let mut requests = vec![create(root.clone(), 0)];
    for n in 0..400 {
        requests.push(create(format!("{root}/n-"), [0, 1, 2, 3][n % 4]));
        requests.push(Request::SetData {
            path: Some(root.clone()),
            data: Blob(Some(vec![b'x'; n])),
            version: i32::try_from(n)? - 1,
        });
        requests.push(Request::PathInt { op: op::DELETE, path: Some(root.clone()), number: 0 });
    }
    client.ask_all(&requests)?;
    left.keep(client);
    Ok(())
}

/// No snapshot but that of the empty tree: every transaction is replayed, by Java and by ours.
fn log_only(desk: &Desk<'_>) -> Result<()> {
    let opts = || desk.opts().config("snapCount", "10000000");
    let ours = &desk.plan.examined;
    let mut server = ours.start(opts())?;
    let mut left = workload::run(server.addr(), desk.plan.seed + 7, REQUESTS)?;
    let before = served(&server, &mut left)?;
    server.kill()?;
    ensure!(desk.files("snapshot.")? == ["snapshot.0"], "{:?}", desk.files("snapshot.")?);
    java_reads(desk, &before, &left)?;
    serves(desk, &desk.java(), opts(), &before, &mut left)?.stop()?;
    serves(desk, ours, opts(), &before, &mut left)?.stop().map(drop)
}

/// The last write of ours is torn by a power cut; Java goes on behind it, then ours again.
fn torn_log(desk: &Desk<'_>) -> Result<()> {
    let opts = || desk.opts().config("snapCount", "10000000");
    let ours = &desk.plan.examined;
    let mut server = ours.start(opts())?;
    let mut left = workload::run(server.addr(), desk.plan.seed + 9, 300)?;
    let mut before = served(&server, &mut left)?;
    server.kill()?;
    let log = desk.files("log.")?.pop().context("no log")?;
    tear(&desk.data_dir().join("version-2").join(log))?;
    java_reads(desk, &before, &left)?;
    for server in [&desk.java(), ours, &desk.java()] {
        let mut running = serves(desk, server, opts(), &before, &mut left)?;
        change(&running, desk.plan.seed, &mut left)?;
        before = served(&running, &mut left)?;
        running.kill()?;
        java_reads(desk, &before, &left)?;
    }
    Ok(())
}

/// Puts the first half of an entry behind the last one of a log.
fn tear(log: &Path) -> Result<()> {
    let bytes = fs::read(log)?;
    let payloads = payloads(&bytes)?;
    let end = payloads.last().with_context(|| format!("{} has no entry", log.display()))?.end + 1;
    let mut torn = bytes[..end].to_vec();
    torn.extend_from_slice(&bytes[HEADER_BYTES..HEADER_BYTES + 30]);
    let mut file = fs::OpenOptions::new().write(true).open(log)?;
    file.write_all(&torn)?;
    file.set_len(u64::try_from(torn.len())?)?;
    Ok(())
}

/// Bytes of a log's header, and before the payload of an entry.
const HEADER_BYTES: usize = 16;
const BEFORE_PAYLOAD_BYTES: usize = 12;

/// Where in a log the payloads are. One byte follows each.
fn payloads(log: &[u8]) -> Result<Vec<Range<usize>>> {
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some(length) = log.get(at + 8..at + BEFORE_PAYLOAD_BYTES) {
        let length = usize::try_from(i32::from_be_bytes(length.try_into()?))?;
        if length == 0 {
            break;
        }
        let start = at + BEFORE_PAYLOAD_BYTES;
        found.push(start..start + length);
        at = start + length + 1;
    }
    Ok(found)
}

/// How many transactions of a log close a session without a word about its ephemerals, and without
/// a digest: a header is all they have.
fn bare_closes(log: &[u8]) -> Result<usize> {
    const TXN_HEADER_BYTES: usize = 32;
    let is_bare = |payload: &[u8]| {
        payload.len() == TXN_HEADER_BYTES && payload.ends_with(&op::CLOSE_SESSION.to_be_bytes())
    };
    Ok(payloads(log)?.into_iter().filter(|range| is_bare(&log[range.clone()])).count())
}

/// A session with more ephemerals than a transaction can list ends: the transaction lists none, and
/// has no digest; whoever replays it uses what it knows. Java writes all of them into one entry,
/// and cannot read its own log afterwards.
fn many_ephemerals(desk: &Desk<'_>) -> Result<()> {
    const EPHEMERALS: usize = 100_000;
    const IN_ONE_MULTI: usize = 500;
    let opts = || desk.opts().config("snapCount", "10000000");
    let ours = &desk.plan.examined;
    let mut server = ours.start(opts())?;
    let mut left = workload::run(server.addr(), desk.plan.seed + 11, 200)?;
    let mut owner = Client::connect(server.addr(), LONG_TIMEOUT_MS)?;
    let create = |path: String, flags| Request::Create {
        op: op::CREATE,
        path: Some(path),
        data: Blob(None),
        acl: Acl::open(),
        flags,
        ttl: None,
    };
    owner.ask(create("/many".into(), 0))?;
    for first in (0..EPHEMERALS).step_by(IN_ONE_MULTI) {
        let names = (first..first + IN_ONE_MULTI).map(|n| format!("/many/ephemeral-{n:010}"));
        let parts = names.map(|path| create(path, 1)).collect();
        let answer = owner.ask(Request::Multi { op: op::MULTI, parts })?;
        ensure!(answer["results"][0]["err"] == 0, "{answer}");
    }
    let word = four_letter_word(server.addr(), "mntr")?;
    let count = word.lines().find_map(|line| line.strip_prefix("zk_ephemerals_count\t"));
    let count: usize = count.context("mntr counts no ephemerals")?.trim().parse()?;
    ensure!(count >= EPHEMERALS, "only {count} ephemerals");
    owner.close()?;
    change(&server, desk.plan.seed, &mut left)?;
    let before = served(&server, &mut left)?;
    let none_left = before.0["/many"]["children"].as_array().is_some_and(Vec::is_empty);
    ensure!(none_left, "closing the session has left ephemerals");
    let zxid = last_zxid(&server)?;
    server.kill()?;
    let log = desk.files("log.")?.pop().context("no log")?;
    let bare = bare_closes(&fs::read(desk.data_dir().join("version-2").join(log))?)?;
    if let ServerUnderTest::Java(peers) = ours {
        let read = java_dump(peers, &desk.data_dir(), None, &[]).map(drop);
        let why = read.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(why.contains("Unreasonable length"), "Java has learnt to read this: {why}");
        return Ok(());
    }
    ensure!(bare == 1, "{bare} sessions were closed without record, not one");
    let dump = java_reads(desk, &before, &left)?;
    ensure!(dump.last_zxid == zxid, "{zxid:x} was last, Java reads {:x}", dump.last_zxid);
    serves(desk, ours, opts(), &before, &mut left)?.kill()?;
    serves(desk, &desk.java(), opts(), &before, &mut left)?.stop().map(drop)
}
