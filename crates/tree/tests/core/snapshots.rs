//! Snapshots taken while the tree changes, and files that are not as they should be.

use oxkeeper_proto::data::encode_acl;
use oxkeeper_proto::{
    Acl, ErrorCode, OPEN_ACL_UNSAFE, OpCode, Payload, Put, StatPersisted, Txn, TxnDigest, Zxid,
};
use oxkeeper_tree::{Changes, LoadError, SnapshotBusy, Tree, TreeOptions};
use proptest::prelude::*;

use crate::random::{Op, ops};
use crate::support::{
    File, FileError, OPTIONS, Writer, acl_of, file_of, load, payload, set_acl, snapshot_of, state,
};

/// Names from a directory of many, from many directories of one, and from a few that come and go.
fn paths() -> BoxedStrategy<String> {
    prop_oneof![
        (0..1500u32).prop_map(|n| format!("/wide/{n}")),
        (0..40u32).prop_map(|n| format!("/wide/{n}/sub")),
        (0..40u32, 0..2u32).prop_map(|(n, m)| format!("/deep/{n}/a/{m}")),
        (0..40u32).prop_map(|n| format!("/deep/{n}/a")),
        "/[a-c](/[a-c]){0,2}",
        Just("/wide".to_owned()),
        Just("/".to_owned()),
    ]
    .boxed()
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Op),
    Walk(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => ops(paths()).prop_map(Step::Apply),
        1 => (1usize..400).prop_map(Step::Walk),
        // Whole sweeps, to change what was a large directory into a small one and back.
        1 => (0u32..1400).prop_map(|from| Step::Apply(Op::Multi(
            (from..from + 100)
                .map(|n| Op::Create {
                    kind: 0, path: format!("/wide/{n}"), data: None, acl: 0, session: 1, jump: -1,
                })
                .collect(),
        ))),
    ];
    proptest::collection::vec(step, 0..600)
}

fn grown() -> Writer {
    let mut writer = Writer::new();
    writer.create("/wide");
    writer.create("/deep");
    for n in 0..1200 {
        writer.create(&format!("/wide/{n}"));
    }
    for n in 0..20 {
        writer.create(&format!("/wide/{n}/sub"));
        writer.create(&format!("/deep/{n}"));
        writer.create(&format!("/deep/{n}/a"));
        writer.create(&format!("/deep/{n}/a/0"));
    }
    writer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn a_snapshot_is_the_tree_at_its_beginning(steps in steps(), before in 0usize..40) {
        let mut writer = grown();
        let mut changes = Changes::new();
        let mut apply = |tree: &mut Tree, op: &Op, zxid: &mut i64| {
            *zxid += 1;
            if let Some(bytes) = op.encode(tree, *zxid) {
                tree.apply(&Payload::decode(&bytes).expect("ours"), &mut changes, None);
                changes.clear();
            }
        };
        let (early, late) = steps.split_at(before.min(steps.len()));
        for step in early {
            if let Step::Apply(op) = step {
                apply(&mut writer.tree, op, &mut writer.zxid);
            }
        }
        let expected = state(&writer.tree);
        let head = writer.tree.snapshot_begin().expect("no other");
        let mut chunks = Vec::new();
        for step in late {
            match step {
                Step::Apply(op) => apply(&mut writer.tree, op, &mut writer.zxid),
                Step::Walk(budget) => {
                    if let Some(chunk) = writer.tree.snapshot_next(*budget) {
                        chunk.encode(&mut chunks);
                    }
                }
            }
        }
        while let Some(chunk) = writer.tree.snapshot_next(50) {
            chunk.encode(&mut chunks);
        }
        let loaded = load(&file_of(&head, &chunks), expected.zxid.0).expect("what we write");
        prop_assert_eq!(loaded.tree.stats().digest_mismatches, 0);
        prop_assert_eq!(loaded.last_zxid, Some(expected.zxid));
        prop_assert_eq!(state(&loaded.tree), expected);
        // The walk left no trace.
        let now = state(&writer.tree);
        let again = snapshot_of(&mut writer.tree);
        prop_assert_eq!(state(&load(&again, now.zxid.0).expect("ours").tree), now);
    }
}

#[test]
fn a_chunk_encoded_late_is_still_the_past() {
    let mut writer = grown();
    let expected = state(&writer.tree);
    let head = writer.tree.snapshot_begin().unwrap();
    let chunks: Vec<_> = std::iter::from_fn(|| writer.tree.snapshot_next(usize::MAX)).collect();
    for n in 0..1200 {
        writer.set(&format!("/wide/{n}"), "later");
    }
    for n in 100..1200 {
        writer.delete(&format!("/wide/{n}"));
    }
    let mut bytes = Vec::new();
    chunks.iter().for_each(|chunk| chunk.encode(&mut bytes));
    let loaded = load(&file_of(&head, &bytes), expected.zxid.0).unwrap();
    assert_eq!(state(&loaded.tree), expected);
}

#[test]
fn each_step_stays_within_its_budget() {
    let mut writer = grown();
    writer.tree.snapshot_begin().unwrap();
    // Everything changes ahead of the walk, and most of it goes.
    for n in 20..1200 {
        writer.set(&format!("/wide/{n}"), "y");
        writer.delete(&format!("/wide/{n}"));
    }
    assert!(writer.tree.snapshot_kept() > 1000);
    let mut total = 0;
    while let Some(chunk) = writer.tree.snapshot_next(64) {
        // A run is never cut, so one more of them may be in a chunk.
        assert!(chunk.len() <= 64 + 2 * 512, "{}", chunk.len());
        total += chunk.len();
    }
    assert_eq!((total, writer.tree.snapshot_kept()), (1200 + 4 * 20 + 2 + 4, 0));
}

#[test]
fn one_snapshot_at_a_time_and_none_after_giving_up() {
    let mut writer = grown();
    writer.tree.snapshot_begin().unwrap();
    assert_eq!(writer.tree.snapshot_begin().unwrap_err(), SnapshotBusy);
    assert!(writer.tree.snapshot_next(10).is_some());
    writer.set("/wide/1", "y");
    assert!(writer.tree.snapshot_abort().is_some());
    assert!(!writer.tree.snapshot_under_way());
    assert!(writer.tree.snapshot_next(10).is_none());
    assert_eq!(writer.tree.snapshot_kept(), 0);
    let expected = state(&writer.tree);
    let file = snapshot_of(&mut writer.tree);
    assert_eq!(state(&load(&file, expected.zxid.0).unwrap().tree), expected);
}

#[test]
fn without_digests_nothing_follows_the_first_seal() {
    let mut tree = Tree::new(TreeOptions { digest_enabled: false, ..OPTIONS });
    let file = snapshot_of(&mut tree);
    let loaded = load(&file, 0).unwrap();
    assert_eq!((loaded.last_zxid, tree.digest()), (None, 0));
    assert_eq!(state(&loaded.tree).znodes, state(&tree).znodes);
    // The digest is of the reader, not of the file.
    assert_eq!(loaded.tree.digest(), Tree::new(OPTIONS).digest());
}

#[test]
fn the_first_snapshot_has_the_size_of_javas() {
    // 478 in 3.9, where everything but /zookeeper/config has the same list.
    assert_eq!(snapshot_of(&mut Tree::new(OPTIONS)).len(), 478);
}

proptest! {
    #[test]
    fn no_damage_brings_the_loader_down(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let znodes = [("", -1, 0), ("/a", 7, 0), ("/b", 7, i64::MIN), ("/b/c", -1, 5)];
        let mut bytes = with_digest(file(&[(7, "u:h")], &znodes, &[]), 7, 2, 1);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        let end = cut.map_or(bytes.len(), |at| at.index(bytes.len()));
        let mut source = File::careless(&bytes[..end]);
        if let Ok(loaded) = oxkeeper_tree::snapshot::load(&mut source, OPTIONS, Zxid(5)) {
            // What was let in is a tree like any other.
            let mut tree = loaded.tree;
            let before = state(&tree);
            let again = load(&snapshot_of(&mut tree), before.zxid.0).expect("ours").tree;
            prop_assert_eq!(state(&again).znodes, before.znodes);
        }
    }
}

/// A file by hand: lists by key, znodes with path, list and owner.
fn file(lists: &[(i64, &str)], znodes: &[(&str, i64, i64)], tail: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_int(0x5a4b_534e);
    out.put_int(2);
    out.put_long(-1);
    out.put_int(0);
    out.put_int(lists.len() as i32);
    for (key, id) in lists {
        out.put_long(*key);
        encode_acl(&mut out, &[Acl::new(31, "digest", id)]);
    }
    for (path, acl, ephemeral_owner) in znodes {
        out.put_string(path);
        out.put_buffer(Some(b"d"));
        out.put_long(*acl);
        let stat = StatPersisted { ephemeral_owner: *ephemeral_owner, ..StatPersisted::default() };
        stat.encode(&mut out);
    }
    out.put_string("/");
    let sum = i64::from(simd_adler32::adler32(&&out[..]));
    out.put_long(sum);
    out.put_string("/");
    out.extend_from_slice(tail);
    out
}

#[test]
fn what_a_file_lacks_is_made_up_for() {
    let znodes = [("", -1, 0), ("/a", 9, 0), ("/b", 7, 0), ("/b/c", i64::MAX, 5)];
    let loaded = load(&file(&[(7, "u:h"), (8, "unused:h")], &znodes, &[]), 3).unwrap();
    let tree = loaded.tree;
    assert_eq!(loaded.unreadable_acls, 2);
    // A list that is not there lets nobody in.
    let perms: Vec<i32> = tree.node("/a").unwrap().acl().list().iter().map(|a| a.perms).collect();
    assert_eq!(perms, [0]);
    assert_eq!(tree.node("/b").unwrap().acl().raw(), acl_of("u:h"));
    // The server's own znodes come into being, the unused list is forgotten.
    assert!(tree.node("/zookeeper/quota").is_some());
    let config = tree.node("/zookeeper/config").unwrap();
    assert_eq!((config.persisted().aversion, tree.acl_count()), (-1, 3));
    assert_eq!(tree.ephemerals(oxkeeper_proto::SessionId(5)).collect::<Vec<_>>(), ["/b/c"]);
    assert_eq!((tree.last_zxid(), loaded.last_zxid), (Zxid(3), None));
}

#[test]
fn an_unreadable_list_is_mended_by_the_next() {
    let mut writer = Writer::new();
    writer.tree = load(&file(&[], &[("", -1, 0), ("/a", 9, 0)], &[]), 3).unwrap().tree;
    let acl = OPEN_ACL_UNSAFE.raw().to_vec();
    assert_eq!(writer.apply(1, OpCode::SET_ACL, set_acl("/a", &acl, 1)), ErrorCode::OK);
    assert!(writer.tree.node("/a").unwrap().acl().is_open());
}

#[test]
fn a_znode_that_comes_twice_counts_once() {
    let znodes = [("", -1, 0), ("/a", -1, 0), ("/a", 7, 0), ("/b", -1, 0), ("/b/x", -1, 0)];
    let twice = load(&file(&[(7, "u:h")], &znodes, &[]), 3).unwrap().tree;
    let once = [znodes[0], znodes[2], znodes[3], znodes[4]];
    let once = load(&file(&[(7, "u:h")], &once, &[]), 3).unwrap().tree;
    assert_eq!(state(&twice), state(&once));
    assert_eq!(twice.node_count(), once.node_count());
    assert_eq!(twice.approximate_data_bytes(), once.approximate_data_bytes());
}

/// A digest section and its seal, behind `file`.
fn with_digest(mut file: Vec<u8>, zxid: i64, version: i32, digest: i64) -> Vec<u8> {
    file.put_long(zxid);
    file.put_int(version);
    match version {
        2 => file.put_long(digest),
        _ => file.put_string("1f2e3d"),
    }
    let sum = i64::from(simd_adler32::adler32(&&file[..]));
    file.put_long(sum);
    file.put_string("/");
    file
}

#[test]
fn the_digest_of_a_file_is_compared_when_its_transaction_is_reached() {
    let plain = || file(&[], &[("", -1, 0), ("/a", -1, 0)], &[]);
    let right = load(&plain(), 5).unwrap().tree.digest();
    // The file's name says 5. A section from before says nothing, one from 5 is compared at once.
    for (zxid, version, digest, mismatches) in
        [(0, 2, 1, 0), (4, 2, 1, 0), (5, 2, right, 0), (5, 2, 1, 1), (5, 1, 1, 0), (7, 2, 1, 0)]
    {
        let tree = load(&with_digest(plain(), zxid, version, digest), 5).unwrap().tree;
        assert_eq!(tree.stats().digest_mismatches, mismatches, "{zxid} {version} {digest}");
    }
    // One from later is compared there, and until then nothing is.
    for (first, digest, mismatches) in [(7, right, 0), (7, 1, 1), (8, 1, 0)] {
        let file = with_digest(plain(), 7, 2, digest);
        let mut writer = Writer::new();
        writer.tree = load(&file, 5).unwrap().tree;
        for zxid in [6, first] {
            let mut wrong = payload(1, zxid, OpCode::ERROR, Txn::Error(ErrorCode::NO_NODE));
            let tree_digest = if zxid == 6 { 99 } else { right };
            wrong.digest = Some(TxnDigest { version: 2, tree_digest });
            writer.tree.apply(&wrong, &mut writer.changes, None);
        }
        assert_eq!(writer.tree.stats().digest_mismatches, mismatches, "{first} {digest}");
    }
}

/// Java writes the digest of one transaction when it may have written a part of the next (D145).
#[test]
fn a_snapshot_that_holds_a_part_of_the_next_transaction_is_believed_when_that_agrees() {
    for (began, wrong, mismatches) in [(5, 0, 0), (5, 1, 2), (4, 0, 0), (4, 1, 2)] {
        let file = with_digest(file(&[], &[("", -1, 0), ("/a", -1, 0)], &[]), 5, 2, 1);
        let mut writer = Writer::new();
        writer.tree = load(&file, began).unwrap().tree;
        for zxid in began + 1..=7 {
            let mut next = payload(1, zxid, OpCode::ERROR, Txn::Error(ErrorCode::NO_NODE));
            let tree_digest = writer.tree.digest() + wrong;
            // An error is often logged without a digest, and says nothing.
            next.digest = (zxid != 6).then_some(TxnDigest { version: 2, tree_digest });
            writer.tree.apply(&next, &mut writer.changes, None);
            let doubted = writer.tree.stats();
            if zxid < 7 {
                assert_eq!((doubted.digest_mismatches, doubted.first_mismatch), (1, Some(Zxid(5))));
            }
        }
        let stats = writer.tree.stats();
        assert_eq!(stats.digest_mismatches, mismatches, "{began} {wrong}");
        assert_eq!(stats.digest_agrees, wrong == 0);
    }
}

#[test]
fn damage_is_named() {
    let good = file(&[], &[("", -1, 0), ("/a", -1, 0)], &[]);
    for cut in 0..good.len() {
        let error = load(&good[..cut], 0).expect_err("cut off");
        assert!(matches!(error, LoadError::Source(FileError::Short)), "cut at {cut}: {error:?}");
    }
    for at in 0..good.len() - 5 {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        assert!(load(&bad, 0).is_err(), "byte {at}");
    }
    let orphan = file(&[], &[("", -1, 0), ("/a/b", -1, 0)], &[]);
    let error = load(&orphan, 0).unwrap_err();
    assert!(matches!(error, LoadError::NoParent { path } if path == "/a/b"));
    for odd in [1, 20, 22, 32] {
        let file = file(&[], &[("", -1, 0)], &vec![0; odd]);
        assert!(load(&file, 0).is_err(), "{odd} bytes behind the seal");
    }
}
