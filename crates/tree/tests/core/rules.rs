//! The rules one by one: replies, changes, replay over what is there already, quotas, orphans.

use oxkeeper_proto::codec::{Put, Reader, patch_int};
use oxkeeper_proto::data::encode_strings;
use oxkeeper_proto::txn::{CreateTxn, MultiTxn};
use oxkeeper_proto::{
    AclList, ErrorCode, OpCode, SessionId, Stat, StringList, Txn, TxnDigest, Zxid,
};
use oxkeeper_tree::{ChangeKind, Changes, DescendantCount, Tree, TreeOptions};

use crate::support::{OPTIONS, Writer, acl_of, create_txn, dump, payload, set_acl, set_data};

use ChangeKind::{Created, DataChanged, Deleted};

/// The record of a multi.
fn multi(txns: &[(OpCode, Txn<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_int(txns.len() as i32);
    for (op, txn) in txns {
        out.put_int(op.0);
        let at = out.len();
        out.put_int(0);
        txn.encode(&mut out);
        let len = (out.len() - at - 4) as i32;
        patch_int(&mut out, at, len);
    }
    out
}

fn decode_multi(raw: &[u8]) -> MultiTxn<'_> {
    match Txn::decode(OpCode::MULTI, &mut Reader::new(raw)) {
        Ok(Txn::Multi(multi)) => multi,
        other => panic!("{other:?}"),
    }
}

fn created<'a>(op: OpCode, path: &'a str) -> (OpCode, Txn<'a>) {
    (op, Txn::Create(create_txn(op, path, Some(b"x"))))
}

#[test]
fn a_fresh_tree_is_javas() {
    let tree = Tree::new(OPTIONS);
    // The digest in the first transaction of a new Java server.
    assert_eq!(tree.digest(), 1_371_985_504);
    assert_eq!((tree.node_count(), tree.approximate_data_bytes()), (5, 44));
    let paths: Vec<String> = dump(&tree).into_keys().collect();
    assert_eq!(paths, ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]);
    let config = tree.node("/zookeeper/config").unwrap();
    assert_eq!((config.stat().aversion, config.acl().list().iter().count()), (-1, 1));
    assert_eq!(config.acl().list().iter().next().unwrap().perms, 1);
    assert_eq!(tree.node("/").unwrap().stat(), tree.node("").unwrap().stat());
    assert!(tree.node("zookeeper").is_none() && tree.node("/zookeeper/").is_none());
}

#[test]
fn replies_carry_what_the_operation_promises() {
    let mut w = Writer::new();
    assert_eq!(w.create("/a"), ErrorCode::OK);
    assert_eq!(w.reply, b"\x00\x00\x00\x02/a");
    for op in [OpCode::CREATE2, OpCode::CREATE_CONTAINER, OpCode::CREATE_TTL] {
        let path = format!("/a/{}", op.0);
        w.apply(1, op, created(op, &path).1);
        let mut reader = Reader::new(&w.reply);
        assert_eq!(reader.string().unwrap(), path);
        let stat = Stat::decode(&mut reader).unwrap();
        assert_eq!(stat, w.tree.node(&path).unwrap().stat());
        // Containers and TTL nodes belong to nobody, as far as clients know.
        assert_eq!((stat.ephemeral_owner, stat.czxid), (SessionId::NONE, Zxid(w.zxid)));
        assert!(reader.is_empty());
    }
    w.apply(1, OpCode::SET_DATA, set_data("/a", None, 1));
    let stat = Stat::decode(&mut Reader::new(&w.reply)).unwrap();
    let seen = (stat.version, stat.data_length, stat.num_children, stat.cversion);
    assert_eq!(seen, (1, 0, 3, 3));
    w.apply(1, OpCode::SET_ACL, set_acl("/a", &acl_of("u:h"), 1));
    assert_eq!(Stat::decode(&mut Reader::new(&w.reply)).unwrap().aversion, 1);
    assert_eq!(w.delete("/a/15"), ErrorCode::OK);
    assert!(w.reply.is_empty());
    assert_eq!(w.apply(1, OpCode::ERROR, Txn::Error(ErrorCode::NO_AUTH)), ErrorCode::NO_AUTH);
    assert_eq!(w.delete("/nothing"), ErrorCode::NO_NODE);
    assert!(w.reply.is_empty());
    assert_eq!(w.tree.last_zxid(), Zxid(w.zxid));
}

#[test]
fn an_ephemeral_shows_its_session() {
    let mut w = Writer::new();
    w.create_ephemeral(77, "/e");
    assert_eq!(w.tree.node("/e").unwrap().stat().ephemeral_owner, SessionId(77));
}

#[test]
fn a_multi_answers_for_each_operation() {
    let mut w = Writer::new();
    w.create("/a");
    w.changed();
    let raw = multi(&[
        created(OpCode::CREATE, "/m"),
        created(OpCode::CREATE_TTL, "/t"),
        (OpCode::SET_DATA, set_data("/a", Some(b"new"), 1)),
        (
            OpCode::CHECK,
            Txn::decode(OpCode::CHECK, &mut Reader::new(b"\0\0\0\x02/a\0\0\0\x01")).unwrap(),
        ),
        (OpCode::DELETE, Txn::Delete("/m".into())),
    ]);
    assert_eq!(w.apply(1, OpCode::MULTI, Txn::Multi(decode_multi(&raw))), ErrorCode::OK);
    let mut expected = Vec::new();
    let header = |out: &mut Vec<u8>, kind: i32, done: bool, err: i32| {
        out.put_int(kind);
        out.put_bool(done);
        out.put_int(err);
    };
    header(&mut expected, 1, false, 0);
    expected.put_string("/m");
    header(&mut expected, 15, false, 0);
    expected.put_string("/t");
    w.tree.node("/t").unwrap().stat().encode(&mut expected);
    header(&mut expected, 5, false, 0);
    w.tree.node("/a").unwrap().stat().encode(&mut expected);
    header(&mut expected, 13, false, 0);
    header(&mut expected, 2, false, 0);
    header(&mut expected, -1, true, -1);
    assert_eq!(w.reply, expected);
    let path = |text: &str| text.to_owned();
    assert_eq!(
        w.changed(),
        [
            (Created, path("/m")),
            (Created, path("/t")),
            (DataChanged, path("/a")),
            (Deleted, path("/m"))
        ]
    );
}

#[test]
fn a_failed_multi_did_nothing_and_says_where() {
    let mut w = Writer::new();
    w.create("/a");
    w.changed();
    let before = dump(&w.tree);
    let raw = multi(&[
        created(OpCode::CREATE, "/m"),
        (OpCode::ERROR, Txn::Error(ErrorCode::BAD_VERSION)),
        (OpCode::ERROR, Txn::Error(ErrorCode::RUNTIME_INCONSISTENCY)),
        // No server writes this; Java takes it for one behind the failure.
        (OpCode::DELETE, Txn::Delete("/a".into())),
    ]);
    assert_eq!(w.apply(1, OpCode::MULTI, Txn::Multi(decode_multi(&raw))), ErrorCode::OK);
    assert_eq!(dump(&w.tree), before);
    assert!(w.changed().is_empty());
    let mut expected = Vec::new();
    for code in [0, -103, -2, -2] {
        expected.put_int(-1);
        expected.put_bool(false);
        expected.put_int(code);
        expected.put_int(code);
    }
    expected.extend_from_slice(b"\xff\xff\xff\xff\x01\xff\xff\xff\xff");
    assert_eq!(w.reply, expected);
    assert_eq!(w.tree.last_zxid(), Zxid(w.zxid));
}

#[test]
fn an_empty_multi_is_a_transaction() {
    let mut w = Writer::new();
    let raw = multi(&[]);
    w.apply(1, OpCode::MULTI, Txn::Multi(decode_multi(&raw)));
    assert_eq!(w.reply, b"\xff\xff\xff\xff\x01\xff\xff\xff\xff");
    assert_eq!(w.tree.last_zxid(), Zxid(1));
}

#[test]
fn creating_what_a_fuzzy_snapshot_has_mends_the_parent_only_for_create() {
    let mut w = Writer::new();
    w.create("/a");
    w.create("/a/b");
    for (op, cversion, pzxid) in [(OpCode::CREATE2, 1, 2), (OpCode::CREATE, 5, 4)] {
        let acl = acl_of(&format!("u{}:h", op.0));
        let create = CreateTxn {
            acl: AclList::from_raw(&acl).unwrap(),
            parent_cversion: 5,
            ..create_txn(op, "/a/b", None)
        };
        assert_eq!(w.apply(1, op, Txn::Create(create)), ErrorCode::NODE_EXISTS);
        let parent = w.tree.node("/a").unwrap().persisted();
        assert_eq!((parent.cversion, parent.pzxid), (cversion, Zxid(pzxid)));
        // The list is taken over all the same, the data is not.
        assert_eq!(w.tree.node("/a/b").unwrap().acl().raw(), acl);
        assert_eq!(w.data("/a/b"), "x");
    }
    assert_eq!(w.tree.acl_count(), 2);
}

#[test]
fn counters_of_a_parent_never_go_down() {
    let mut w = Writer::new();
    w.create("/a");
    w.zxid = 100;
    let create = CreateTxn { parent_cversion: 9, ..create_txn(OpCode::CREATE, "/a/b", None) };
    w.apply(1, OpCode::CREATE, Txn::Create(create));
    w.zxid = 50;
    let create = CreateTxn { parent_cversion: 3, ..create_txn(OpCode::CREATE, "/a/c", None) };
    w.apply(1, OpCode::CREATE, Txn::Create(create));
    let parent = w.tree.node("/a").unwrap().persisted();
    assert_eq!((parent.cversion, parent.pzxid), (9, Zxid(101)));
    assert_eq!(w.delete("/a/gone"), ErrorCode::NO_NODE);
    assert_eq!(w.tree.node("/a").unwrap().persisted().pzxid, Zxid(101));
    w.zxid = 200;
    assert_eq!(w.delete("/a/gone"), ErrorCode::NO_NODE);
    assert_eq!(w.tree.node("/a").unwrap().persisted().pzxid, Zxid(201));
    assert_eq!(w.tree.last_zxid(), Zxid(201));
}

#[test]
fn paths_that_cannot_be_change_nothing() {
    let mut w = Writer::new();
    let before = dump(&w.tree);
    for path in ["", "a", "//a", "/a/", "//"] {
        assert!(!w.create(path).is_ok(), "{path:?}");
        assert!(!w.delete(path).is_ok(), "{path:?}");
    }
    assert!(!w.delete("/").is_ok());
    let create = CreateTxn { ttl_ms: 0, ..create_txn(OpCode::CREATE_TTL, "/t", None) };
    assert!(!w.apply(1, OpCode::CREATE_TTL, Txn::Create(create)).is_ok());
    assert_eq!(dump(&w.tree), before);
    assert_eq!(w.create("/"), ErrorCode::NODE_EXISTS);
}

#[test]
fn closing_a_session_removes_what_is_listed_then_what_it_owns() {
    let mut w = Writer::new();
    w.apply(7, OpCode::CREATE_SESSION, Txn::CreateSession(4000));
    assert_eq!(w.tree.session_timeout_ms(SessionId(7)), Some(4000));
    for path in ["/e3", "/e1", "/e2"] {
        w.create_ephemeral(7, path);
    }
    w.create_ephemeral(8, "/other");
    w.changed();
    let mut raw = Vec::new();
    // Another's znode is removed if it is listed: it was this session's when that was decided.
    encode_strings(&mut raw, &["/e3", "/gone", "/other"]);
    let listed = StringList::decode(&mut Reader::new(&raw)).unwrap();
    w.apply(7, OpCode::CLOSE_SESSION, Txn::CloseSession(Some(listed)));
    let seen: Vec<String> = w.changed().into_iter().map(|(_, path)| path).collect();
    assert_eq!(seen, ["/e3", "/other", "/e1", "/e2"]);
    assert_eq!(w.tree.session_timeout_ms(SessionId(7)), None);
    assert_eq!((w.tree.ephemeral_count(), w.tree.ephemeral_owners().count()), (0, 0));
    // Closing what is not there is nothing.
    assert_eq!(w.apply(7, OpCode::CLOSE_SESSION, Txn::CloseSession(None)), ErrorCode::OK);
}

#[test]
fn events_know_the_lists_of_the_moment() {
    let mut w = Writer::new();
    w.create("/a");
    w.apply(1, OpCode::SET_ACL, set_acl("/a", &acl_of("p:h"), 1));
    let acl = acl_of("c:h");
    let create = CreateTxn {
        acl: AclList::from_raw(&acl).unwrap(),
        ..create_txn(OpCode::CREATE, "/a/b", None)
    };
    w.changes.clear();
    w.apply(1, OpCode::CREATE, Txn::Create(create));
    w.delete("/a/b");
    w.delete("/a");
    let seen: Vec<_> =
        w.changes.iter().map(|c| (c.acl.raw().to_vec(), c.parent_acl.raw().to_vec())).collect();
    let open = oxkeeper_proto::OPEN_ACL_UNSAFE.raw().to_vec();
    let (child, parent) = (acl.clone(), acl_of("p:h"));
    assert_eq!(seen, [(child.clone(), parent.clone()), (child, parent.clone()), (parent, open)]);
    assert_eq!(w.changes.iter().map(|c| c.zxid.0).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(w.tree.acl_count(), 1);
}

#[test]
fn quotas_count_what_lies_below_them() {
    let mut w = Writer::new();
    w.create("/q");
    w.create("/q/old");
    w.create("/zookeeper/quota/q");
    let limits = "count=3,bytes=100=;byteHardLimit=10;countHardLimit=2";
    for (name, text) in [("zookeeper_limits", limits), ("zookeeper_stats", "count=0,bytes=0")] {
        let path = format!("/zookeeper/quota/q/{name}");
        let create = create_txn(OpCode::CREATE, &path, Some(text.as_bytes()));
        assert_eq!(w.apply(1, OpCode::CREATE, Txn::Create(create)), ErrorCode::OK);
    }
    let stats = "/zookeeper/quota/q/zookeeper_stats";
    // What was there before is counted, the quota's own znode too.
    assert_eq!(w.data(stats), "count=2,bytes=2");
    let born = w.tree.node(stats).unwrap().persisted();
    let digest = w.tree.digest();
    w.create("/q/new");
    w.set("/q/new", "12345");
    w.create("/quiet");
    assert_eq!(w.data(stats), "count=3,bytes=7");
    w.delete("/q/old");
    assert_eq!(w.data(stats), "count=2,bytes=6");
    w.delete("/quiet");
    w.delete("/q/new");
    assert_eq!(w.data(stats), "count=1,bytes=1");
    // In place: no zxid, no version, no event, no digest.
    assert_eq!(w.tree.node(stats).unwrap().persisted(), born);
    assert_ne!(w.tree.digest(), digest, "the parents moved");
    assert!(!w.changed().contains(&(DataChanged, stats.to_owned())));

    let view = w.tree.quota_for("/q/any/thing").unwrap();
    assert_eq!((view.root.as_str(), view.stats.count, view.stats.bytes), ("/q", 1, 1));
    let limits = view.limits;
    assert_eq!((limits.count, limits.bytes), (3, 100));
    assert_eq!((limits.count_hard_limit, limits.byte_hard_limit), (2, 10));
    assert_eq!(w.tree.quota_for("/quiet"), None);

    w.delete("/zookeeper/quota/q/zookeeper_limits");
    w.create("/q/uncounted");
    assert_eq!((w.data(stats).as_str(), w.tree.quota_for("/q")), ("count=1,bytes=1", None));
}

#[test]
fn quotas_are_counted_anew_after_loading() {
    let mut w = Writer::new();
    for path in ["/q", "/q/a", "/q/a/b", "/zookeeper/quota/q", "/zookeeper/quota/q/zookeeper_stats"]
    {
        w.create(path);
    }
    // Without limits nothing is counted; the stats stay as they were counted once.
    w.create("/q/c");
    let stats = "/zookeeper/quota/q/zookeeper_stats";
    assert_eq!(w.data(stats), "count=3,bytes=3");
    w.create("/zookeeper/quota/q/zookeeper_limits");
    let file = crate::support::snapshot_of(&mut w.tree);
    w.tree = crate::support::load(&file, w.zxid).unwrap().tree;
    assert_eq!(w.data(stats), "count=4,bytes=4");
    w.create("/q/d");
    assert_eq!(w.data(stats), "count=5,bytes=5");
}

#[test]
fn the_deepest_quota_is_charged_alone() {
    let mut w = Writer::new();
    for path in ["/q", "/q/r", "/zookeeper/quota/q", "/zookeeper/quota/q/r"] {
        w.create(path);
    }
    for root in ["/q", "/q/r"] {
        for name in ["zookeeper_limits", "zookeeper_stats"] {
            w.create(&format!("/zookeeper/quota{root}/{name}"));
        }
    }
    w.create("/q/r/x");
    w.create("/q/y");
    assert_eq!(w.data("/zookeeper/quota/q/zookeeper_stats"), "count=3,bytes=3");
    assert_eq!(w.data("/zookeeper/quota/q/r/zookeeper_stats"), "count=2,bytes=2");
}

#[test]
fn children_of_a_znode_that_is_gone_come_back_with_it() {
    let mut w = Writer::new();
    for path in ["/a", "/a/b", "/a/b/c"] {
        w.create(path);
    }
    // Only a log replayed over a snapshot from its future removes a znode that has children.
    assert_eq!(w.delete("/a"), ErrorCode::OK);
    assert!(w.tree.node("/a").is_none());
    assert!(w.tree.node("/a/b").is_some(), "as in Java, found by its path");
    assert_eq!((w.delete("/a/b"), w.create("/a/x")), (ErrorCode::NO_NODE, ErrorCode::NO_NODE));
    assert_eq!(w.create("/a"), ErrorCode::OK);
    let children: Vec<&str> = w.tree.node("/a").unwrap().children().collect();
    assert_eq!(children, ["b"]);
    for path in ["/a/b/c", "/a/b", "/a"] {
        assert_eq!(w.delete(path), ErrorCode::OK);
    }
    assert_eq!(w.tree.node_count(), 5);
}

#[test]
fn containers_wait_for_their_first_child() {
    let mut w = Writer::new();
    for (op, path) in [(OpCode::CREATE_CONTAINER, "/c"), (OpCode::CREATE_TTL, "/t")] {
        w.apply(1, op, created(op, path).1);
    }
    let due = |w: &Writer, now: i64| {
        let due = w.tree.reap_candidates(now, 0, 10);
        due.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(due(&w, 2002).is_empty());
    assert_eq!(due(&w, 2003), ["/t"]);
    w.create("/c/x");
    w.create("/t/x");
    assert!(due(&w, 9999).is_empty());
    w.delete("/c/x");
    w.delete("/t/x");
    assert_eq!(due(&w, 2003), ["/c", "/t"]);
    // Children do not refresh a TTL node, data does.
    w.set("/t", "fresh");
    assert_eq!(due(&w, 2003), ["/c"]);
    assert_eq!(w.apply(0, OpCode::DELETE_CONTAINER, Txn::Delete("/c".into())), ErrorCode::OK);
    assert!(due(&w, 2003).is_empty());
}

#[test]
fn a_wrong_digest_is_counted_and_changes_nothing() {
    let mut w = Writer::new();
    for (wrong, version, mismatches) in [(0, 2, 0), (1, 2, 1), (1, 1, 1), (1, 2, 2)] {
        w.zxid += 1;
        let mut payload = payload(1, w.zxid, OpCode::ERROR, Txn::Error(ErrorCode::NO_NODE));
        let tree_digest = w.tree.digest() + wrong;
        payload.digest = Some(TxnDigest { version, tree_digest });
        w.tree.apply(&payload, &mut Changes::new(), None);
        assert_eq!(w.tree.stats().digest_mismatches, mismatches);
    }
    assert_eq!(w.tree.stats().first_mismatch, Some(Zxid(2)));
}

#[test]
fn one_digest_in_128_is_remembered() {
    let mut w = Writer::new();
    for n in 0..300 {
        w.create(&format!("/{n}"));
    }
    let zxids: Vec<i64> = w.tree.digest_log().map(|(zxid, _)| zxid.0).collect();
    assert_eq!(zxids, [128, 256]);
}

#[test]
fn with_digests_off_there_are_none() {
    let mut tree = Tree::new(TreeOptions { digest_enabled: false, ..OPTIONS });
    let create = payload(1, 128, OpCode::CREATE, created(OpCode::CREATE, "/a").1);
    tree.apply(&create, &mut Changes::new(), None);
    assert_eq!((tree.digest(), tree.digest_log().count()), (0, 0));
    assert_eq!(tree.stats().digest_mismatches, 0);
}

#[test]
fn ephemerals_are_listed_by_prefix() {
    let mut w = Writer::new();
    for path in ["/b", "/ab", "/a"] {
        w.create_ephemeral(5, path);
    }
    let list = |prefix: Option<&str>| {
        let mut out = Vec::new();
        w.tree.encode_ephemerals(SessionId(5), prefix, &mut out);
        let list = StringList::decode(&mut Reader::new(&out)).unwrap();
        list.iter().map(|path| path.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(None), ["/a", "/ab", "/b"]);
    assert_eq!(list(Some(" / ")), ["/a", "/ab", "/b"]);
    assert_eq!(list(Some("/a")), ["/a", "/ab"]);
    assert!(list(Some("/c")).is_empty());
}

#[test]
fn counting_goes_on_in_steps() {
    let mut w = Writer::new();
    w.create("/p");
    for n in 0..2000 {
        w.create(&format!("/p/{n}"));
        w.create(&format!("/p/{n}/x"));
    }
    let mut count = DescendantCount::new("/p");
    let mut steps = 0;
    let total = loop {
        steps += 1;
        if let Some(total) = count.step(&w.tree, 100) {
            break total;
        }
    };
    assert_eq!((total, w.tree.descendants("/p/7"), w.tree.descendants("/none")), (4000, 1, 0));
    assert!(steps > 5, "{steps}");
    assert!(w.tree.children_handles("/none").is_none());
}
