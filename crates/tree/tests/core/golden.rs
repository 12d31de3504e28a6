//! Data directories that Java servers wrote: what they hold is what the servers served.

use std::path::{Path, PathBuf};

use oxkeeper_proto::{AclList, Payload, Zxid};
use oxkeeper_tree::{Changes, Tree};
use serde_json::Value;

use crate::support::{Dump, OPTIONS, dump, load, snapshot_of, state};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/disk")
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

/// The directories and what they must come to.
fn directories() -> Vec<(String, Value)> {
    let mut all: Vec<_> = std::fs::read_dir(fixtures())
        .expect("the fixtures")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            let dir = name.strip_suffix(".expected.json")?.to_owned();
            Some((dir, read_json(&fixtures().join(&name))))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(all.len() > 40, "the fixtures are there");
    all
}

/// The payloads of one log file up to its end, however it ends.
fn entries(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = file.get(16..).unwrap_or(&[]);
    let mut payloads = Vec::new();
    while rest.len() > 12 {
        let sum = i64::from_be_bytes(rest[..8].try_into().expect("eight"));
        let len = u32::from_be_bytes(rest[8..12].try_into().expect("four")) as usize;
        let Some(payload) = rest[12..].get(..len) else { break };
        let whole = rest.get(12 + len) == Some(&b'B');
        if len == 0 || !whole || i64::from(simd_adler32::adler32(&payload)) != sum {
            break;
        }
        payloads.push(payload);
        rest = &rest[12 + len + 1..];
    }
    payloads
}

/// Applies everything after the tree's zxid that the directory's logs hold.
fn replay(tree: &mut Tree, dir: &str, report: &Value) {
    let mut changes = Changes::new();
    for log in report["logs"].as_array().expect("logs") {
        let path = fixtures().join(dir).join(log.as_str().expect("a name"));
        let file = std::fs::read(path).expect("a log");
        for bytes in entries(&file) {
            let payload = Payload::decode(bytes).expect("Java's payload");
            if payload.header.zxid > tree.last_zxid() {
                tree.apply(&payload, &mut changes, None);
                changes.clear();
            }
        }
    }
}

fn hex(value: &Value) -> i64 {
    let digits = value.as_str().expect("text").strip_prefix("0x").expect("hex");
    u64::from_str_radix(digits, 16).expect("hex") as i64
}

fn check_node(path: &str, node: &Dump, expected: &Value) {
    let data = match &expected["data"] {
        Value::Null => None,
        Value::String(text) => Some(text.as_bytes().to_vec()),
        other => {
            let digits = other["hex"].as_str().expect("hex");
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex");
            Some((0..digits.len()).step_by(2).map(byte).collect())
        }
    };
    assert_eq!(node.data, data, "data of {path}");
    let acl: Vec<String> = AclList::from_raw(&node.acl)
        .expect("a list")
        .iter()
        .map(|a| format!("{}:{}:{}", a.scheme.unwrap(), a.id.unwrap(), a.perms))
        .collect();
    assert_eq!(serde_json::json!(acl), expected["acl"], "acl of {path}");
    assert_eq!(serde_json::json!(node.children), expected["children"], "children of {path}");
    let (stat, want) = (node.stat, &expected["stat"]);
    let int = |name: &str| want[name].as_i64().expect("a number");
    assert_eq!(stat.czxid, Zxid(hex(&want["czxid"])), "czxid of {path}");
    assert_eq!(stat.mzxid, Zxid(hex(&want["mzxid"])), "mzxid of {path}");
    assert_eq!(stat.pzxid, Zxid(hex(&want["pzxid"])), "pzxid of {path}");
    assert_eq!(stat.ephemeral_owner, hex(&want["ephemeralOwner"]), "owner of {path}");
    assert_eq!((stat.ctime_ms, stat.mtime_ms), (int("ctime"), int("mtime")), "times of {path}");
    let got = [stat.version, stat.cversion, stat.aversion].map(i64::from);
    assert_eq!(got, [int("version"), int("cversion"), int("aversion")], "versions of {path}");
}

fn check(dir: &str, tree: &Tree, expected: &Value) {
    let want = &expected["tree"];
    let nodes = dump(tree);
    let paths: Vec<&String> = nodes.keys().collect();
    let mut wanted: Vec<&String> = want["nodes"].as_object().expect("nodes").keys().collect();
    wanted.sort();
    assert_eq!(paths, wanted, "{dir}");
    for (path, node) in &nodes {
        check_node(&format!("{dir}:{path}"), node, &want["nodes"][path]);
    }
    assert_eq!(tree.last_zxid(), Zxid(hex(&want["lastZxid"])), "{dir}");
    let sessions: serde_json::Map<String, Value> = tree
        .sessions()
        .map(|(id, timeout_ms)| (format!("{:#x}", id.0), timeout_ms.into()))
        .collect();
    assert_eq!(Value::Object(sessions), want["sessions"], "{dir}");
    assert_eq!(serde_json::json!(tree.digest()), want["treeDigest"], "{dir}");
    let owned: usize = tree.ephemeral_owners().map(|id| tree.ephemerals(id).count()).sum();
    assert_eq!(owned, tree.ephemeral_count(), "{dir}");
}

#[test]
fn every_plain_snapshot_of_java_and_its_log_give_the_tree_the_server_had() {
    let mut checked = 0;
    for (dir, expected) in directories() {
        let name = expected["report"]["usedSnapshot"].as_str().expect("a snapshot");
        if name.ends_with(".gz") || name.ends_with(".snappy") {
            continue;
        }
        let zxid = i64::from_str_radix(&name["snapshot.".len()..], 16).expect("a zxid");
        let file = std::fs::read(fixtures().join(&dir).join(name)).expect("a snapshot");
        let mut loaded = load(&file, zxid).unwrap_or_else(|e| panic!("{dir}: {e:?}"));
        assert_eq!(loaded.unreadable_acls, 0, "{dir}");
        if !dir.contains("fuzzy") {
            // What we write of it is read back as the same.
            let before = state(&loaded.tree);
            let ours = snapshot_of(&mut loaded.tree);
            assert_eq!(state(&load(&ours, zxid).expect("ours").tree), before, "{dir}");
        }
        let mut tree = loaded.tree;
        replay(&mut tree, &dir, &expected["report"]);
        check(&dir, &tree, &expected);
        let bad = expected["report"]["digestBad"].as_u64().expect("a number");
        assert_eq!(tree.stats().digest_mismatches, bad, "{dir}");
        checked += 1;
    }
    assert!(checked > 35);
}

#[test]
fn the_whole_log_from_the_first_transaction_gives_the_same() {
    let mut checked = 0;
    for (dir, expected) in directories() {
        let first = expected["report"]["logs"][0].as_str().expect("a log");
        if first != "log.1" && first != "log.100000001" {
            continue;
        }
        let mut tree = Tree::new(OPTIONS);
        replay(&mut tree, &dir, &expected["report"]);
        check(&dir, &tree, &expected);
        if dir.ends_with("-plain") && !dir.starts_with("3.5") {
            // Two transactions whose digests Java computes wrongly.
            assert_eq!(tree.stats().first_mismatch, Some(Zxid(0x37)), "{dir}");
            assert_eq!(tree.stats().digest_mismatches, 2, "{dir}");
        }
        checked += 1;
    }
    assert!(checked > 40);
}

#[test]
fn a_fuzzy_snapshot_is_compared_only_behind_its_last_transaction() {
    for dir in ["3.8.0-fuzzy", "3.9.5-fuzzy"] {
        let expected = read_json(&fixtures().join(format!("{dir}.expected.json")));
        let mut replayed = 0;
        for entry in std::fs::read_dir(fixtures().join(dir)).expect("a directory") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            let Some(digits) = name.strip_prefix("snapshot.") else { continue };
            let zxid = i64::from_str_radix(digits, 16).expect("a zxid");
            let file = std::fs::read(fixtures().join(dir).join(&name)).expect("a snapshot");
            let mut tree = load(&file, zxid).expect("a snapshot of Java").tree;
            replay(&mut tree, dir, &expected["report"]);
            check(dir, &tree, &expected);
            assert_eq!(tree.stats().digest_mismatches, 0, "{dir}/{name}");
            replayed += 1;
        }
        assert!(replayed >= 5, "{dir}");
    }
}
