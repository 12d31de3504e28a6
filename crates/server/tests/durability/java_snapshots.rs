//! Snapshots that Java leaders of every version sent, recorded from the wire: taken over as a
//! member takes them, with the transactions behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use oxkeeper_proto::Payload;
use oxkeeper_proto::packet::Packet;
use oxkeeper_server::log_thread::LogCommand;
use oxkeeper_storage::SimDisk;
use serde_json::Value;

use crate::host::options;
use crate::member::{Chunks, Member, append_payload, receive};
use crate::state::State;

/// Both directions of connections with a SNAP in them: what the leader sent, and what was decoded.
fn recordings() -> Vec<(String, Vec<u8>, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/tests/fixtures/quorum");
    let list = |dir: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let mut found = Vec::new();
    for path in list(&root).iter().filter(|path| path.is_dir()).flat_map(|dir| list(dir)) {
        let Some(name) = path.to_str().unwrap().strip_suffix(".jsonl") else { continue };
        let lines = fs::read_to_string(&path).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let Some(snapshot) = lines.into_iter().find(|line| !line["snapshot"].is_null()) else {
            continue;
        };
        let (connection, _) = name.rsplit_once('.').unwrap();
        let direction = snapshot["dir"].as_str().unwrap().replace('>', "-");
        let bytes = fs::read(format!("{connection}.{direction}.bin")).unwrap();
        found.push((format!("{connection}.{direction}"), bytes, snapshot["snapshot"].clone()));
    }
    assert_eq!(found.len(), 36, "a recording is missing, or one more is not expected here");
    found
}

fn split(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    Packet::split(bytes, 1 << 20).unwrap().whole()
}

fn check(name: &str, state: &State, expected: &Value) {
    let paths: BTreeSet<String> = state.znodes.keys().cloned().collect();
    let wanted = expected["nodes"].as_array().unwrap().iter().map(|path| path.as_str().unwrap());
    let wanted = wanted.map(|path| if path.is_empty() { "/" } else { path }.to_owned());
    assert_eq!(paths, wanted.collect(), "{name}");
    let id = |text: &str| u64::from_str_radix(&text[2..], 16).unwrap() as i64;
    let sessions = expected["sessions"].as_object().unwrap().iter();
    let sessions: BTreeMap<i64, i64> =
        sessions.map(|(text, timeout_ms)| (id(text), timeout_ms.as_i64().unwrap())).collect();
    let found = state.sessions.iter().map(|(id, timeout_ms)| (id.0, i64::from(*timeout_ms)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), sessions, "{name}");
}

#[test]
fn every_snapshot_that_java_sends_is_taken_over() {
    let mut digests = 0;
    for (name, bytes, expected) in recordings() {
        let mut rest = &bytes[..];
        let snap = loop {
            let (packet, behind) = split(rest).expect("a SNAP");
            rest = behind;
            if let Packet::Snap { zxid } = packet {
                break zxid;
            }
        };
        let disk = SimDisk::new();
        let mut member = Member::boot(&disk);
        let (source, given_back) = Chunks::new(rest, 333);
        member.run([receive(1, snap, source)]).unwrap();
        check(&name, &member.tree(), &expected);
        let behind = given_back.lock().unwrap().take().expect("the packets behind it");
        let (mut rest, mut last) = (&behind[..], snap);
        let mut digest = None;
        while let Some((packet, behind)) = split(rest) {
            rest = behind;
            if let Packet::Proposal { zxid, entry } | Packet::Inform { zxid, entry } = packet
                && zxid > last
            {
                member.run([append_payload(zxid, entry)]).unwrap();
                last = zxid;
                digest = Payload::decode(entry).unwrap().digest;
            }
        }
        member.run([LogCommand::Reload { generation: 2 }]).unwrap();
        let rebuilt = member.said.rebuilt.take().pop().unwrap();
        assert_eq!(rebuilt.tree.last_zxid(), last, "{name}");
        if let Some(digest) = digest {
            assert_eq!(rebuilt.tree.digest(), digest.tree_digest, "{name}");
            digests += 1;
        }
        // A standalone server, ours or Java's, could go on from these files.
        drop(member);
        let alone = oxkeeper_server::boot::boot(disk.crash(1), &options()).unwrap();
        assert_eq!(alone.shared.tree.last_zxid(), last, "{name}");
    }
    assert!(digests > 15, "only {digests} were compared with Java's digest");
}
