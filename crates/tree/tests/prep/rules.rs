//! Every rule by which a write is judged, in the order in which they are.

use oxkeeper_proto::data::StringList;
use oxkeeper_proto::request::{CreateRequest, ReconfigRequest};
use oxkeeper_proto::txn::{CheckTxn, CreateTxn, SetAclTxn, SetDataTxn};
use oxkeeper_proto::{
    AclList, ErrorCode, OPEN_ACL_UNSAFE, OpCode, Payload, Put, Request, SessionId, StatPersisted,
    Txn, Zxid,
};
use oxkeeper_tree::prep::Rules;
use oxkeeper_tree::snapshot::{self, SnapshotSource};
use oxkeeper_tree::{AuthId, Schemes, Tree, TreeOptions};

use crate::world::*;

/// A tree in which every refusal is at hand.
///
/// `/p` persistent with three creates behind it · `/p/e` ephemeral · `/c` container · `/t` TTL ·
/// `/read` anyone may only read · `/bob` only bob may · `/v` at version 1, aversion 1
fn furnished(rules: Rules) -> World {
    let mut world = World::with(rules);
    world.auth.push(AuthId::new("digest", "bob:x"));
    world.must(&create("/p", 0));
    world.must(&create("/p/a", 0));
    world.must(&create("/p/b", 0));
    world.must(&create("/p/e", 1));
    world.must(&Request::Create(create_op(OpCode::CREATE_CONTAINER, "/c", 4, -1)));
    if world.rules.owners.extended_types {
        world.must(&Request::Create(create_op(OpCode::CREATE_TTL, "/t", 5, 1000)));
    }
    world.must(&create_with("/read", &acl(&[(1, "world", "anyone")])));
    world.must(&create_with("/bob", &acl(&[(31, "digest", "bob:x")])));
    world.must(&create("/v", 0));
    world.must(&set_data("/v", b"1", 0));
    world.must(&set_acl("/v", &acl(&[(31, "world", "anyone")]), 0));
    world.auth.pop();
    world
}

fn rules() -> Rules {
    Rules { owners: extended(), ..Rules::default() }
}

#[test]
fn creates_are_refused_in_javas_order() {
    let mut world = furnished(rules());
    let bad_acl = acl(&[(31, "nothing", "x")]);
    let bad_acl = AclList::from_raw(&bad_acl).unwrap();
    let null_acl = AclList::from_raw(&[0xff; 4]).unwrap();
    let ops = (OpCode::CREATE, OpCode::CREATE2, OpCode::CREATE_CONTAINER, OpCode::CREATE_TTL);
    use ErrorCode as E;
    let table = [
        // Flags that are none, before anything else is looked at.
        (ops.0, "nowhere", 7, -1, bad_acl, E::BAD_ARGUMENTS),
        (ops.1, "/x", -1, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        // Times to live.
        (ops.3, "nowhere", 5, 0, bad_acl, E::BAD_ARGUMENTS),
        (ops.3, "/x", 5, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.3, "/x", 6, 1 << 40, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.3, "/x", 5, i64::MIN, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        // Operation and flags that disagree.
        (ops.0, "/x", 4, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.0, "/x", 5, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.1, "/x", 6, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.2, "/x", 0, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.2, "/x", 1, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.3, "/x", 0, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.3, "/x", 0, 5, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.3, "/x", 4, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        // The path, roughly: before the list.
        (ops.0, "", 0, -1, bad_acl, E::BAD_ARGUMENTS),
        (ops.0, "x", 0, -1, bad_acl, E::BAD_ARGUMENTS),
        (ops.0, "/x\0", 0, -1, bad_acl, E::BAD_ARGUMENTS),
        // The list, before the parent.
        (ops.0, "/nope/x", 0, -1, bad_acl, E::INVALID_ACL),
        (ops.0, "/nope/x", 0, -1, null_acl, E::INVALID_ACL),
        // The parent, before the rest of the path.
        (ops.0, "/nope/x", 0, -1, OPEN_ACL_UNSAFE, E::NO_NODE),
        (ops.0, "/p//x", 0, -1, OPEN_ACL_UNSAFE, E::NO_NODE),
        (ops.0, "x/y", 0, -1, OPEN_ACL_UNSAFE, E::NO_NODE),
        (ops.0, "/p/x/", 0, -1, OPEN_ACL_UNSAFE, E::NO_NODE),
        // CREATE on the parent, before the rest of the path.
        (ops.0, "/read/.", 0, -1, OPEN_ACL_UNSAFE, E::NO_AUTH),
        (ops.0, "/bob/x", 0, -1, OPEN_ACL_UNSAFE, E::NO_AUTH),
        // The rest of the path, the sequence number on it.
        (ops.0, "/p/", 0, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.0, "/p/..", 0, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.0, "//x", 0, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.0, "/p/\u{7f}", 2, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.0, "/p/\u{1f600}", 0, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        // There already, before what the parent is.
        (ops.0, "/", 0, -1, OPEN_ACL_UNSAFE, E::NODE_EXISTS),
        (ops.1, "/p/a", 0, -1, OPEN_ACL_UNSAFE, E::NODE_EXISTS),
        (ops.2, "/p/a", 4, -1, OPEN_ACL_UNSAFE, E::NODE_EXISTS),
        (ops.3, "/p/a", 5, 7, OPEN_ACL_UNSAFE, E::NODE_EXISTS),
        // Ephemerals have no children; containers and TTL znodes may.
        (ops.0, "/p/e/x", 0, -1, OPEN_ACL_UNSAFE, E::NO_CHILDREN_FOR_EPHEMERALS),
        (ops.0, "/p/e/.", 0, -1, OPEN_ACL_UNSAFE, E::BAD_ARGUMENTS),
        (ops.0, "/c/x", 0, -1, OPEN_ACL_UNSAFE, E::OK),
        (ops.0, "/t/x", 0, -1, OPEN_ACL_UNSAFE, E::OK),
    ];
    for (op, path, flags, ttl_ms, acl, code) in table {
        let create = CreateRequest { acl, ..create_op(op, path, flags, ttl_ms) };
        assert_eq!(world.code(&Request::Create(create)), code, "{op} {path:?} {flags} {ttl_ms}");
    }
}

#[test]
fn without_extended_types_times_to_live_are_unknown() {
    let mut world = furnished(Rules::default());
    for (op, flags, ttl_ms, code) in [
        (OpCode::CREATE_TTL, 5, 100, ErrorCode::UNIMPLEMENTED),
        (OpCode::CREATE_TTL, 6, 0, ErrorCode::UNIMPLEMENTED),
        (OpCode::CREATE, 5, -1, ErrorCode::UNIMPLEMENTED),
        (OpCode::CREATE_TTL, 0, 5, ErrorCode::BAD_ARGUMENTS),
        (OpCode::CREATE_CONTAINER, 4, -1, ErrorCode::OK),
    ] {
        assert_eq!(world.code(&Request::Create(create_op(op, "/x", flags, ttl_ms))), code, "{op}");
    }
}

#[test]
fn creates_become_their_records() {
    let mut world = World::new();
    for (at, (op, flags, ttl_ms)) in [
        (OpCode::CREATE, 0, -1),
        (OpCode::CREATE, 1, -1),
        (OpCode::CREATE2, 0, -1),
        (OpCode::CREATE_CONTAINER, 4, -1),
        (OpCode::CREATE_TTL, 5, 77),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/n{at}");
        let outcome = world.must(&Request::Create(create_op(op, &path, flags, ttl_ms)));
        let payload = outcome.decoded();
        assert_eq!((payload.header.op, payload.header.session), (op, SESSION));
        assert_eq!(payload.header.time_ms, world.time_ms);
        let expected = CreateTxn {
            op,
            path: path.as_str().into(),
            data: Some(b"x"),
            acl: OPEN_ACL_UNSAFE,
            ephemeral: flags == 1,
            // The fresh root has `/zookeeper`, which was never counted.
            parent_cversion: at as i32 + 1,
            ttl_ms,
        };
        assert_eq!(payload.txn, Txn::Create(expected));
        assert!(payload.digest.is_some());
    }
}

fn created(payload: &Payload<'_>) -> String {
    match &payload.txn {
        Txn::Create(create) => create.path.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sequence_numbers_count_creates_below_the_parent() {
    let mut world = World::new();
    world.must(&create("/s", 0));
    world.must(&create("/s/a", 0));
    world.must(&delete("/s/a", -1));
    // Under way counts; a refused one does not.
    let names: Vec<String> = ["/s/n-", "/s/", "/s/n-"]
        .into_iter()
        .map(|path| {
            world.request(&create("/s/x/y", 2));
            created(&world.request(&create(path, 2)).decoded())
        })
        .collect();
    assert_eq!(names, ["/s/n-0000000001", "/s/0000000002", "/s/n-0000000003"]);
    world.settle();
}

#[test]
fn a_counter_that_ran_over_shows_its_sign() {
    for (cversion, name, next) in [
        (i32::MAX - 1, "/s/n2147483646", i32::MAX),
        (-7, "/s/n-000000007", -6),
        (i32::MIN, "/s/n-2147483648", i32::MIN + 1),
        // Applying only ever raises the counter, so here it stays.
        (i32::MAX, "/s/n2147483647", i32::MAX),
    ] {
        let mut world = World::new();
        let stat = StatPersisted { cversion, ..StatPersisted::default() };
        world.tree = loaded("/s", &stat);
        let outcome = world.must(&create("/s/n", 2));
        assert_eq!(created(&outcome.decoded()), name);
        assert_eq!(world.tree.node("/s").unwrap().persisted().cversion, next);
    }
}

/// A tree with one znode, loaded from a snapshot: what no request can bring about.
fn loaded(path: &str, stat: &StatPersisted) -> Tree {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff");
    // No sessions, no lists.
    bytes.put_int(0);
    bytes.put_int(0);
    for (path, stat) in [("", &StatPersisted::default()), (path, stat)] {
        bytes.put_string(path);
        bytes.put_buffer(None);
        bytes.put_long(-1);
        stat.encode(&mut bytes);
    }
    bytes.put_string("/");
    let options = TreeOptions { owner_rules: extended(), ..TreeOptions::default() };
    snapshot::load(&mut Unsealed(&bytes, 0), options, Zxid::ZERO).expect("well formed").tree
}

/// The bytes of a snapshot without checksums, and how many have been read.
struct Unsealed<'a>(&'a [u8], usize);

impl SnapshotSource for Unsealed<'_> {
    type Error = std::fmt::Error;

    fn next_bytes(&mut self, len: usize) -> Result<&[u8], Self::Error> {
        let from = self.1;
        self.1 += len;
        self.0.get(from..from + len).ok_or(std::fmt::Error)
    }

    fn check_seal(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn remaining(&mut self, max: usize) -> Result<usize, Self::Error> {
        Ok((self.0.len() - self.1).min(max + 1))
    }
}

#[test]
fn deletes_are_refused_in_javas_order() {
    let mut world = furnished(rules());
    world.auth.push(AuthId::new("digest", "bob:x"));
    world.must(&create("/bob/kid", 0));
    world.auth.pop();
    use ErrorCode as E;
    for (path, version, code) in [
        ("", -1, E::BAD_ARGUMENTS),
        ("x", -1, E::BAD_ARGUMENTS),
        ("/x\0", -1, E::BAD_ARGUMENTS),
        ("/", -1, E::BAD_ARGUMENTS),
        ("/zookeeper", -1, E::BAD_ARGUMENTS),
        ("/zookeeper/quota", -1, E::BAD_ARGUMENTS),
        ("/zookeeper/config", -1, E::BAD_ARGUMENTS),
        ("/nope/x", -1, E::NO_NODE),
        // DELETE on the parent, before the znode is looked for.
        ("/bob/nope", -1, E::NO_AUTH),
        ("/read/nope", -1, E::NO_AUTH),
        ("/bob/kid", 7, E::NO_AUTH),
        ("/nope", -1, E::NO_NODE),
        ("/p/", -1, E::NO_NODE),
        ("//p", -1, E::NO_NODE),
        // The version, before the children.
        ("/p", 7, E::BAD_VERSION),
        ("/p", 0, E::NOT_EMPTY),
        // The znode's own list does not matter.
        ("/read", 0, E::OK),
        ("/p/e", -1, E::OK),
        ("/p/a", 0, E::OK),
        ("/p/b", -1, E::OK),
        ("/p", -1, E::OK),
    ] {
        assert_eq!(world.code(&delete(path, version)), code, "{path:?} {version}");
    }
}

#[test]
fn set_data_is_refused_in_javas_order() {
    let mut world = furnished(rules());
    use ErrorCode as E;
    for (path, version, code) in [
        ("", -1, E::BAD_ARGUMENTS),
        ("x", -1, E::BAD_ARGUMENTS),
        ("/nope/", -1, E::BAD_ARGUMENTS),
        ("/nope/..", -1, E::BAD_ARGUMENTS),
        ("/nope", -1, E::NO_NODE),
        ("/read", 9, E::NO_AUTH),
        ("/v", 0, E::BAD_VERSION),
        ("/v", 2, E::BAD_VERSION),
        ("/v", 1, E::OK),
        ("/v", -1, E::OK),
        ("/", 0, E::OK),
    ] {
        assert_eq!(world.code(&set_data(path, b"new", version)), code, "{path:?} {version}");
    }
    let outcome = world.must(&set_data("/v", b"again", 3));
    let expected = SetDataTxn { path: "/v".into(), data: Some(b"again"), version: 4 };
    assert_eq!(outcome.decoded().txn, Txn::SetData(expected));
}

#[test]
fn set_acl_is_refused_in_javas_order() {
    let mut world = furnished(rules());
    let (open, bad) = (acl(&[(31, "world", "anyone")]), acl(&[(31, "world", "me")]));
    use ErrorCode as E;
    for (path, list, version, code) in [
        ("", &bad, -1, E::BAD_ARGUMENTS),
        ("/nope/", &bad, -1, E::BAD_ARGUMENTS),
        ("/nope", &bad, -1, E::INVALID_ACL),
        ("/nope", &open, -1, E::NO_NODE),
        ("/read", &open, 9, E::NO_AUTH),
        ("/v", &open, 0, E::BAD_VERSION),
        ("/v", &open, 1, E::OK),
        ("/", &open, -1, E::OK),
    ] {
        assert_eq!(world.code(&set_acl(path, list, version)), code, "{path:?} {version}");
    }
    world.auth.push(AuthId::new("digest", "bob:x"));
    let auth = acl(&[(5, "auth", ""), (1, "ip", "10.0.0.0/8")]);
    let outcome = world.must(&set_acl("/v", &auth, 2));
    let fixed = acl(&[(5, "digest", "bob:x"), (1, "ip", "10.0.0.0/8")]);
    let acl = AclList::from_raw(&fixed).unwrap();
    let expected = SetAclTxn { path: "/v".into(), acl, version: 3 };
    assert_eq!(outcome.decoded().txn, Txn::SetAcl(expected));
    assert_eq!(world.tree.node("/v").unwrap().acl().list(), acl);
    // The configuration's list starts at version −1, and 0 comes next.
    world.auth.push(AuthId::new("super", ""));
    let outcome = world.must(&set_acl("/zookeeper/config", &open, -1));
    assert!(matches!(outcome.decoded().txn, Txn::SetAcl(SetAclTxn { version: 0, .. })));
}

#[test]
fn lists_count_as_they_will_be() {
    let mut world = World::new();
    world.auth.push(AuthId::new("digest", "bob:x"));
    let bob = acl(&[(31, "digest", "bob:x")]);
    world.request(&create("/a", 0));
    world.request(&create_with("/mine", &bob));
    world.request(&set_acl("/a", &bob, -1));
    world.auth.pop();
    for path in ["/a/kid", "/mine/kid"] {
        assert_eq!(world.request(&create(path, 0)).prepared.error, ErrorCode::NO_AUTH);
    }
    world.settle();
    assert_eq!(world.code(&set_data("/mine", b"", -1)), ErrorCode::NO_AUTH);
    world.auth.push(AuthId::new("super", ""));
    assert_eq!(world.code(&set_data("/mine", b"", -1)), ErrorCode::OK);
    world.auth.clear();
    world.rules.skip_acl = true;
    assert_eq!(world.code(&set_data("/mine", b"", -1)), ErrorCode::OK);
}

#[test]
fn a_list_tripping_java_refuses_the_whole_multi() {
    let mut null_id = acl(&[(31, "ip", "")]);
    let end = null_id.len();
    null_id[end - 4..].copy_from_slice(&[0xff; 4]);
    let mut world = World::new();
    assert_eq!(world.code(&create_with("/a", &null_id)), ErrorCode::MARSHALLING_ERROR);
    let body = multi_body([op(create("/b", 0)), op(create_with("/a", &null_id))]);
    assert_eq!(world.code(&multi(&body)), ErrorCode::MARSHALLING_ERROR);
    assert!(world.tree.node("/b").is_none());
    world.must(&create("/b", 0));
}

#[test]
fn checks_are_part_of_a_multi_only() {
    let mut world = furnished(rules());
    world.auth.push(AuthId::new("digest", "bob:x"));
    world.must(&set_acl("/v", &acl(&[(30, "world", "anyone")]), -1));
    world.auth.pop();
    assert_eq!(world.code(&check("/p", 0)), ErrorCode::UNIMPLEMENTED);
    use ErrorCode as E;
    for (path, version, code) in [
        ("", -1, E::BAD_ARGUMENTS),
        ("/p/", -1, E::BAD_ARGUMENTS),
        ("/nope", -1, E::NO_NODE),
        ("/v", 7, E::NO_AUTH),
        ("/p", 7, E::BAD_VERSION),
        ("/p", 0, E::OK),
        ("/p", -1, E::OK),
    ] {
        let body = multi_body([op(check(path, version))]);
        let outcome = world.ask(&multi(&body));
        assert_eq!(outcome.prepared.error, E::OK);
        assert_eq!(outcome.prepared.multi_failure, code, "{path:?} {version}");
        let payload = outcome.decoded();
        let Txn::Multi(txns) = payload.txn else { panic!("{payload:?}") };
        let expected = match code {
            E::OK => Txn::Check(CheckTxn { path: path.into(), version: 1 }),
            code => Txn::Error(code),
        };
        assert_eq!(txns.iter().map(|(_, txn)| txn).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn a_multi_sees_itself() {
    let mut world = World::new();
    world.must(&create("/m", 0));
    let body = multi_body([
        op(create("/m/a", 0)),
        op(create("/m/a/n-", 2)),
        op(set_data("/m/a", b"1", 0)),
        op(check("/m/a", 1)),
        op(delete("/m/a/n-0000000000", 0)),
        op(delete("/m/a", 1)),
        op(create("/m/a", 0)),
    ]);
    world.must(&multi(&body));
    let node = world.tree.node("/m/a").unwrap();
    assert_eq!((node.persisted().version, node.num_children()), (0, 0));
    assert_eq!(world.tree.node("/m").unwrap().persisted().cversion, 2);
}

#[test]
fn a_failed_multi_is_logged_as_java_logs_it_and_leaves_nothing() {
    let mut world = World::new();
    world.must(&create("/m", 0));
    world.request(&create("/m/under-way", 0));
    let body = multi_body([
        op(create("/m/s-", 2)),
        op(set_data("/m/under-way", b"1", 0)),
        op(delete("/m/under-way", 1)),
        op(check("/m", 9)),
        op(delete("/m/nope", -1)),
        op(create("/m/y", 0)),
    ]);
    let outcome = world.request(&multi(&body));
    assert_eq!(outcome.prepared.op, OpCode::MULTI);
    assert_eq!(outcome.prepared.error, ErrorCode::OK);
    assert_eq!(outcome.prepared.multi_failure, ErrorCode::BAD_VERSION);
    let payload = outcome.decoded();
    assert!(payload.digest.is_some());
    let Txn::Multi(txns) = payload.txn else { panic!("{payload:?}") };
    let txns: Vec<_> = txns.iter().collect();
    assert_eq!(txns.iter().map(|(op, _)| op.0).collect::<Vec<_>>(), [1, 5, 2, -1, -1, -1]);
    assert_eq!(txns[2].1, Txn::Delete("/m/under-way".into()));
    assert_eq!(txns[3].1, Txn::Error(ErrorCode::BAD_VERSION));
    assert_eq!(txns[4].1, Txn::Error(ErrorCode::RUNTIME_INCONSISTENCY));
    assert_eq!(txns[5].1, Txn::Error(ErrorCode::RUNTIME_INCONSISTENCY));
    // The number was not used up, the pending znode is as it was.
    let next = world.request(&create("/m/s-", 2));
    assert_eq!(created(&next.decoded()), "/m/s-0000000001");
    let set = world.request(&set_data("/m/under-way", b"1", 0));
    assert_eq!(set.prepared.error, ErrorCode::OK);
    world.settle();
    assert_eq!(world.tree.node("/m").unwrap().num_children(), 2);
}

#[test]
fn an_empty_multi_is_a_transaction() {
    let mut world = World::new();
    let outcome = world.must(&multi(&multi_body([])));
    let payload = outcome.decoded();
    assert!(matches!(&payload.txn, Txn::Multi(txns) if txns.iter().count() == 0));
    assert!(payload.digest.is_some());
}

#[test]
fn creates_in_a_multi_go_by_their_flags() {
    let mut world = World::new();
    let creates = [
        (OpCode::CREATE, 4, -1, OpCode::CREATE_CONTAINER),
        (OpCode::CREATE2, 4, -1, OpCode::CREATE_CONTAINER),
        (OpCode::CREATE2, 0, -1, OpCode::CREATE2),
        (OpCode::CREATE_TTL, 4, 9, OpCode::CREATE_CONTAINER),
        (OpCode::CREATE_TTL, 0, 9, OpCode::CREATE),
        (OpCode::CREATE_TTL, 6, 9, OpCode::CREATE_TTL),
    ];
    let paths: Vec<String> = (0..creates.len()).map(|at| format!("/n{at}")).collect();
    let body = multi_body(creates.iter().zip(&paths).map(|((kind, flags, ttl_ms, _), path)| {
        op(Request::Create(create_op(*kind, path, *flags, *ttl_ms)))
    }));
    let outcome = world.must(&multi(&body));
    let payload = outcome.decoded();
    let Txn::Multi(txns) = payload.txn else { panic!("{payload:?}") };
    let logged: Vec<_> = txns.iter().map(|(op, _)| op).collect();
    assert_eq!(logged, creates.map(|create| create.3));
    for (kind, flags, expected) in [
        (OpCode::CREATE, 5, Err(ErrorCode::MARSHALLING_ERROR)),
        (OpCode::CREATE_CONTAINER, 6, Err(ErrorCode::MARSHALLING_ERROR)),
        (OpCode::CREATE_CONTAINER, 0, Ok(ErrorCode::BAD_ARGUMENTS)),
        (OpCode::CREATE_TTL, 5, Ok(ErrorCode::BAD_ARGUMENTS)),
    ] {
        let body = multi_body([op(Request::Create(create_op(kind, "/x", flags, -1)))]);
        let prepared = world.ask(&multi(&body)).prepared;
        let found = match prepared.error {
            ErrorCode::OK => Ok(prepared.multi_failure),
            code => Err(code),
        };
        assert_eq!(found, expected, "{kind} {flags}");
    }
}

#[test]
fn containers_go_only_when_their_time_has_come() {
    let mut world = furnished(rules());
    world.must(&create("/c/kid", 0));
    world.session = SessionId::NONE;
    // Nobody's identities are asked for.
    world.auth.clear();
    use ErrorCode as E;
    for (path, code) in [
        ("", E::BAD_ARGUMENTS),
        ("/zookeeper/quota", E::BAD_ARGUMENTS),
        ("/nope", E::NO_NODE),
        ("/c", E::NOT_EMPTY),
        ("/p", E::NOT_EMPTY),
        ("/p/e", E::BAD_VERSION),
        ("/t", E::OK),
    ] {
        let outcome = world.propose(|overlay, tree, rules, ctx, out| {
            overlay.prep_delete_container(tree, rules, ctx, path, out)
        });
        check_refusal(&outcome);
        assert_eq!(outcome.prepared.error, code, "{path:?}");
        if code == E::OK {
            let payload = outcome.decoded();
            assert_eq!(payload.header.op, OpCode::DELETE_CONTAINER);
            assert_eq!(payload.txn, Txn::Delete(path.into()));
        }
        world.settle();
    }
    // A child under way keeps it.
    world.session = SESSION;
    world.must(&delete("/c/kid", -1));
    world.request(&create("/c/late", 0));
    let outcome = world.propose(|overlay, tree, rules, ctx, out| {
        overlay.prep_delete_container(tree, rules, ctx, "/c", out)
    });
    assert_eq!(outcome.prepared.error, E::NOT_EMPTY);
    world.settle();
}

fn close(world: &mut World, session: SessionId) -> Outcome {
    world.propose(|overlay, tree, rules, ctx, out| {
        overlay.prep_close_session(tree, rules, ctx, session, out)
    })
}

fn listed(outcome: &Outcome) -> Option<Vec<String>> {
    match outcome.decoded().txn {
        Txn::CloseSession(list) => list.map(|list: StringList<'_>| {
            let mut paths: Vec<_> = list.iter().map(|path| path.into_owned()).collect();
            paths.sort();
            paths
        }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_ends_with_what_it_will_have() {
    let mut world = World::new();
    world.must(&create("/p", 0));
    for path in ["/p/kept", "/p/gone", "/p/changed", "/p/anew", "/p/given"] {
        world.must(&create(path, 1));
    }
    world.request(&delete("/p/gone", -1));
    world.request(&set_data("/p/changed", b"2", -1));
    world.request(&delete("/p/anew", -1));
    world.request(&create("/p/anew", 1));
    world.request(&delete("/p/given", -1));
    world.request(&create("/p/new", 1));
    world.request(&create("/p/short", 1));
    world.request(&delete("/p/short", -1));
    let body = multi_body([op(create("/p/rolled-back", 1)), op(delete("/nope", -1))]);
    world.request(&multi(&body));
    world.session = OTHER;
    world.request(&create("/p/given", 1));
    world.request(&create("/p/others", 1));
    world.request(&Request::Create(create_op(OpCode::CREATE_CONTAINER, "/p/c", 4, -1)));
    let outcome = close(&mut world, SESSION);
    let payload = outcome.decoded();
    assert_eq!((payload.header.session, payload.header.op), (SESSION, OpCode::CLOSE_SESSION));
    assert_eq!(listed(&outcome).unwrap(), ["/p/anew", "/p/changed", "/p/kept", "/p/new"]);
    // Closing twice is harmless, and what follows sees them gone.
    assert_eq!(listed(&close(&mut world, SESSION)).unwrap().len(), 0);
    assert_eq!(world.request(&create("/p/kept", 0)).prepared.error, ErrorCode::OK);
    world.settle();
    let mut children: Vec<_> = world.tree.node("/p").unwrap().children().collect();
    children.sort();
    assert_eq!(children, ["c", "given", "kept", "others"]);
}

#[test]
fn a_parent_is_free_once_a_session_that_ends_takes_its_children() {
    let mut world = World::new();
    world.must(&create("/p", 0));
    world.request(&create("/p/e", 1));
    assert_eq!(world.request(&delete("/p", -1)).prepared.error, ErrorCode::NOT_EMPTY);
    close(&mut world, SESSION);
    assert_eq!(world.request(&delete("/p", -1)).prepared.error, ErrorCode::OK);
    world.settle();
    assert!(world.tree.node("/p").is_none());
}

#[test]
fn a_hundred_thousand_ephemerals_end_without_a_list() {
    let mut world = World::new();
    world.must(&create("/p", 0));
    for at in 0..100_000 {
        world.request(&create(&format!("/p/an-ephemeral-znode-{at}"), 1));
        if world.under_way.len() == 1000 {
            let half = if at % 2000 < 1000 { 1000 } else { 500 };
            world.apply(half);
        }
    }
    let outcome = close(&mut world, SESSION);
    assert_eq!(outcome.prepared.error, ErrorCode::OK);
    let payload = outcome.decoded();
    assert_eq!((payload.txn, payload.digest), (Txn::CloseSession(None), None));
    // The digest of what follows is right all the same.
    let next = world.request(&create("/p/e", 0));
    assert!(next.decoded().digest.is_some());
    world.settle();
    assert_eq!(world.tree.node("/p").unwrap().num_children(), 1);
}

#[test]
fn the_list_of_a_session_that_ends_can_be_switched_off() {
    let rules = Rules { close_session_txn: false, ..Rules::default() };
    let mut world = World::with(rules);
    world.must(&create("/e", 1));
    let outcome = close(&mut world, SESSION);
    assert_eq!(listed(&outcome), None);
    assert_eq!(outcome.payload.len(), 32);
    world.settle();
    assert!(world.tree.node("/e").is_none());
}

#[test]
fn sessions_begin_with_their_timeout() {
    let mut world = World::new();
    world.request(&create("/a", 0));
    let outcome = world.propose(|overlay, tree, rules, ctx, out| {
        overlay.prep_create_session(tree, rules, ctx, 6000, out)
    });
    let payload = outcome.decoded();
    assert_eq!(
        (payload.header.op, payload.txn),
        (OpCode::CREATE_SESSION, Txn::CreateSession(6000))
    );
    assert!(payload.digest.is_some());
    world.settle();
    assert_eq!(world.tree.session_timeout_ms(SESSION), Some(6000));
}

#[test]
fn reconfiguring_is_not_for_a_standalone_server() {
    let mut world = World::new();
    let reconfig = Request::Reconfig(ReconfigRequest {
        joining: None,
        leaving: None,
        new_members: None,
        current_config_id: -1,
    });
    assert_eq!(world.code(&reconfig), ErrorCode::RECONFIG_DISABLED);
    world.rules.reconfig_enabled = true;
    assert_eq!(world.code(&reconfig), ErrorCode::UNIMPLEMENTED);
}

#[test]
fn what_is_no_write_is_refused() {
    let mut world = World::new();
    for request in [Request::Ping, Request::CreateSession, Request::DeleteContainer(None)] {
        assert_eq!(world.code(&request), ErrorCode::UNIMPLEMENTED, "{request:?}");
    }
}

#[test]
fn what_no_reader_of_the_log_would_accept_is_refused() {
    let rules = Rules { entry_bytes_max: 300, ..Rules::default() };
    let mut world = World::with(rules);
    world.must(&create("/a", 0));
    // 32 header, 4 + 2 path, 4 data, 4 version, 12 digest.
    let data = vec![7; 300 - 58];
    world.must(&set_data("/a", &data, -1));
    let large = vec![7; 300 - 57];
    assert_eq!(world.code(&set_data("/a", &large, -1)), ErrorCode::MARSHALLING_ERROR);
    assert_eq!(world.tree.node("/a").unwrap().persisted().version, 1);
    let path = format!("/{}", "x".repeat(250));
    assert_eq!(world.code(&create(&path, 0)), ErrorCode::MARSHALLING_ERROR);
    // A multi is taken back as a whole, failed or not.
    let half = vec![7; 120];
    for last in ["/a", "/nope"] {
        let body = multi_body([
            op(create("/b", 0)),
            op(set_data("/a", &half, -1)),
            op(create("/c-", 2)),
            op(set_data(last, &half, -1)),
        ]);
        world.request(&create("/under-way", 1));
        let outcome = world.request(&multi(&body));
        check_refusal(&outcome);
        assert_eq!(outcome.prepared.error, ErrorCode::MARSHALLING_ERROR);
        assert_eq!(outcome.prepared.multi_failure, ErrorCode::OK);
        world.request(&delete("/under-way", -1));
        world.settle();
        assert!(world.tree.node("/b").is_none());
    }
    // Expanding `auth` cannot get around it.
    world.auth.push(AuthId::new("digest", format!("bob:{}", "x".repeat(300))));
    let auth = acl(&[(31, "auth", "")]);
    assert_eq!(world.code(&create_with("/d", &auth)), ErrorCode::MARSHALLING_ERROR);
}

#[test]
fn schemes_that_are_off_are_unknown() {
    let mut world = World::new();
    let digest = acl(&[(31, "digest", "a:b")]);
    world.must(&create_with("/a", &digest));
    world.rules.schemes = Schemes { digest: false, ..Schemes::default() };
    assert_eq!(world.code(&create_with("/b", &digest)), ErrorCode::INVALID_ACL);
}

fn quota(world: &mut World, limits: &str) {
    for path in ["/q", "/zookeeper/quota/q"] {
        world.must(&create(path, 0));
    }
    let data = Some(limits.as_bytes());
    let path = "/zookeeper/quota/q/zookeeper_limits".into();
    let limits = CreateRequest { path, data, ..create_op(OpCode::CREATE, "", 0, -1) };
    world.must(&Request::Create(limits));
    world.must(&create("/zookeeper/quota/q/zookeeper_stats", 0));
}

#[test]
fn hard_quotas_refuse_by_what_is_committed() {
    let rules = Rules { enforce_quota: true, ..Rules::default() };
    let mut world = World::with(rules.clone());
    // `/q` itself counts: one znode, one byte.
    quota(&mut world, "count=1,bytes=1=;byteHardLimit=4;countHardLimit=3");
    world.must(&create("/q/a", 0));
    // Under way does not count…
    assert_eq!(world.request(&create("/q/b", 0)).prepared.error, ErrorCode::OK);
    assert_eq!(world.request(&create("/q/c", 0)).prepared.error, ErrorCode::OK);
    world.settle();
    // …committed does.
    assert_eq!(world.code(&create("/q/d", 0)), ErrorCode::QUOTA_EXCEEDED);
    assert_eq!(world.code(&set_data("/q/a", b"22", 9)), ErrorCode::QUOTA_EXCEEDED);
    assert_eq!(world.code(&set_data("/q/a", b"2", 9)), ErrorCode::BAD_VERSION);
    let body = multi_body([op(delete("/q/c", -1)), op(create("/q/c", 0))]);
    assert_eq!(world.ask(&multi(&body)).prepared.multi_failure, ErrorCode::QUOTA_EXCEEDED);
    // Growth compares with the data that will be there.
    world.request(&set_data("/q/a", b"", -1));
    assert_eq!(
        world.request(&set_data("/q/a", b"2", -1)).prepared.error,
        ErrorCode::QUOTA_EXCEEDED
    );
    world.settle();
    world.must(&create("/outside", 0));
    world.rules.enforce_quota = false;
    world.must(&create("/q/d", 0));
}

#[test]
fn soft_quotas_do_not_refuse() {
    let rules = Rules { enforce_quota: true, ..Rules::default() };
    let mut world = World::with(rules);
    quota(&mut world, "count=1,bytes=1");
    world.must(&create("/q/a", 0));
    world.must(&set_data("/q/a", b"12345", -1));
}

#[test]
fn an_overlay_forgets_what_was_applied_and_no_more() {
    let mut world = World::new();
    for path in ["/a", "/a/b", "/a/c"] {
        world.request(&create(path, 0));
    }
    // The root, /a, and its two children.
    assert_eq!(world.overlay.len(), 4);
    world.apply(1);
    assert_eq!(world.overlay.len(), 3);
    world.apply(1);
    assert_eq!(world.overlay.len(), 2);
    world.apply(1);
    assert!(world.overlay.is_empty());
    world.request(&create("/d", 1));
    world.overlay.clear();
    assert!(world.overlay.is_empty());
}
