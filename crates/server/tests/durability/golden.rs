//! Directories that Java servers of every version left, healthy and damaged, opened as a server
//! opens them: what is served is what their expected files state.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oxkeeper_proto::{AclList, SessionId, Zxid};
use oxkeeper_server::boot::{BootError, BootReport, boot};
use oxkeeper_server::snapshot_thread::SnapshotWorker;
use oxkeeper_storage::log_reader::Flaw;
use oxkeeper_storage::{Compression, ReadError, RecoveryError, SimDisk};
use serde_json::{Value, json};

use crate::host::{DATA, options};
use crate::state::{State, Znode, assert_equal};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/disk")
}

/// The directories and what they must come to.
fn directories() -> Vec<(String, Value)> {
    let mut all: Vec<_> = fs::read_dir(fixtures())
        .unwrap()
        .filter_map(|entry| {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let name = file.strip_suffix(".expected.json")?.to_owned();
            let text = fs::read_to_string(fixtures().join(&file)).unwrap();
            Some((name, serde_json::from_str(&text).unwrap()))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(all.len(), 47, "a fixture is missing, or one more is not expected here");
    all
}

/// A disk with a copy of a directory on it.
fn disk_with(name: &str) -> SimDisk {
    let disk = SimDisk::new();
    for entry in fs::read_dir(fixtures().join(name)).unwrap() {
        let entry = entry.unwrap();
        let path = Path::new(DATA).join("version-2").join(entry.file_name());
        disk.put(&path, &fs::read(entry.path()).unwrap());
    }
    disk
}

fn hex(value: &Value) -> i64 {
    let digits = value.as_str().unwrap().strip_prefix("0x").unwrap();
    u64::from_str_radix(digits, 16).unwrap() as i64
}

fn data_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.as_bytes().to_vec()),
        other => {
            let digits = other["hex"].as_str().unwrap();
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            Some((0..digits.len()).step_by(2).map(byte).collect())
        }
    }
}

fn check_znode(at: &str, znode: &Znode, expected: &Value) {
    assert_eq!(znode.data, data_of(&expected["data"]), "data of {at}");
    let acl = AclList::from_raw(&znode.acl).unwrap();
    let acl: Vec<String> = acl
        .iter()
        .map(|a| format!("{}:{}:{}", a.scheme.unwrap(), a.id.unwrap(), a.perms))
        .collect();
    assert_eq!(json!(acl), expected["acl"], "acl of {at}");
    assert_eq!(json!(znode.children), expected["children"], "children of {at}");
    let (stat, want) = (znode.stat, &expected["stat"]);
    let zxids = [stat.czxid, stat.mzxid, stat.pzxid].map(|zxid| zxid.0);
    let numbers = [
        stat.ctime_ms,
        stat.mtime_ms,
        stat.version.into(),
        stat.cversion.into(),
        stat.aversion.into(),
    ];
    assert_eq!(zxids, ["czxid", "mzxid", "pzxid"].map(|name| hex(&want[name])), "zxids of {at}");
    let names = ["ctime", "mtime", "version", "cversion", "aversion"];
    assert_eq!(numbers, names.map(|name| want[name].as_i64().unwrap()), "stat of {at}");
    assert_eq!(stat.ephemeral_owner, hex(&want["ephemeralOwner"]), "owner of {at}");
}

fn check(name: &str, state: &State, expected: &Value) {
    let nodes = expected["nodes"].as_object().unwrap();
    let found: Vec<&String> = state.znodes.keys().collect();
    let mut wanted: Vec<&String> = nodes.keys().collect();
    wanted.sort();
    assert_eq!(found, wanted, "{name}");
    for (path, znode) in &state.znodes {
        check_znode(&format!("{name}:{path}"), znode, &nodes[path]);
    }
    assert_eq!(state.zxid, Zxid(hex(&expected["lastZxid"])), "{name}");
    let sessions = expected["sessions"].as_object().unwrap();
    let sessions: BTreeMap<SessionId, i32> = sessions
        .iter()
        .map(|(id, ms)| (SessionId(hex(&json!(id))), ms.as_i64().unwrap() as i32))
        .collect();
    assert_eq!(state.sessions, sessions, "{name}");
    assert_eq!(json!(state.digest), expected["treeDigest"], "{name}");
}

fn check_report(name: &str, report: &BootReport, expected: &Value) {
    let file = report.snapshot.as_ref().unwrap();
    let file = file.path.file_name().unwrap().to_str().unwrap();
    assert_eq!(file, expected["usedSnapshot"], "{name}");
    assert_eq!(report.replayed, expected["replayed"].as_u64().unwrap(), "{name}");
    assert_eq!(report.digest_mismatches, expected["digestBad"].as_u64().unwrap(), "{name}");
    assert_eq!((report.orphans, report.unreadable_acls), (0, 0), "{name}");
    assert_eq!((report.log.gap, report.log.out_of_order), (None, 0), "{name}");
    assert_eq!(report.log.cut, [], "{name}: Java's files are not cut");
    // An incomplete snapshot is not even tried.
    assert!(report.unreadable.is_empty(), "{name}: {:?}", report.unreadable);
}

/// Java's refusals that are ours too. An entry with a wrong checksum at the end of a Java log may
/// be torn or rotten: nothing tells, so nothing is thrown away.
fn is_rotten(error: &BootError) -> bool {
    let BootError::Recovery { error: RecoveryError::Read(error), .. } = error else { return false };
    matches!(error, ReadError::Rotten { flaw: Flaw::Checksum, mark: None, .. })
}

#[test]
fn every_directory_of_java_is_served_as_java_served_it() {
    let mut refused = Vec::new();
    for (name, expected) in directories() {
        let (disk, report) = (disk_with(&name), &expected["report"]);
        // Java 3.8 does not start with an empty last log, and 3.9 removes it: a file without a
        // header never held a promise. For both versions we do as 3.9.
        let starts = report["javaBehaviour"]["starts"] != false || name.ends_with("empty-last-log");
        let booted = match boot(disk.clone(), &options()) {
            Ok(booted) => booted,
            Err(error) => {
                assert!(!starts && is_rotten(&error), "{name}: {error}");
                assert!(error.to_string().contains("checksum"), "{name}: {error}");
                refused.push(name);
                continue;
            }
        };
        assert!(starts, "{name}: Java refused this, and rightly");
        assert!(!booted.dir.created_by_us(), "{name}");
        check_report(&name, &booted.report, report);
        assert_eq!(booted.wants_snapshot, booted.report.replayed > 0, "{name}");
        let state = State::of(&booted.shared.tree);
        check(&name, &state, &expected["tree"]);
        state.check(&booted.shared.tree, &name);
        drop(booted);
        // Opening changed nothing that a power cut could take back, and can be repeated.
        let again = boot(disk.crash(1), &options()).unwrap();
        assert_equal(&State::of(&again.shared.tree), &state, &format!("{name}, the second time"));
    }
    let of_both = |what: &str| ["3.8.0", "3.9.5"].map(|version| format!("{version}-{what}"));
    let mut rotten = [of_both("bad-crc-last"), of_both("bad-crc-middle")].concat();
    rotten.sort();
    assert_eq!(refused, rotten);
}

/// What we write of a directory of Java's is read back as the same, in all three compressions,
/// also without the log it came from.
#[test]
fn a_snapshot_of_ours_says_the_same_as_the_directory_it_was_made_from() {
    for (name, _) in directories() {
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
            let disk = disk_with(&name);
            let mut options = options();
            options.snapshot.compression = compression;
            let Ok(mut booted) = boot(disk.clone(), &options) else { continue };
            let state = State::of(&booted.shared.tree);
            let zxid = booted.shared.tree.last_zxid();
            let mut worker = SnapshotWorker::new(booted.dir.clone(), options.snapshot);
            worker.write_now(&mut booted.shared.tree).unwrap();
            drop((booted, worker));
            let again = boot(disk.crash(1), &options).unwrap();
            let file = again.report.snapshot.as_ref().unwrap();
            assert_eq!((file.zxid, file.compression), (zxid, compression), "{name}");
            assert_eq!(again.report.replayed, 0, "{name}");
            assert_eq!(again.report.digest_mismatches, 0, "{name}");
            let found = State::of(&again.shared.tree);
            assert_equal(&found, &state, &name);
        }
    }
}
