//! Random transactions, and the tree compared with the model after each.
//!
//! Transactions go through their bytes, as they would from a log. Names are few and short, so that
//! most of them meet something; sessions, lists and times to live likewise.

use std::collections::BTreeSet;

use oxkeeper_proto::codec::{Put, Reader};
use oxkeeper_proto::txn::{CreateTxn, SetAclTxn, SetDataTxn};
use oxkeeper_proto::{AclList, ErrorCode, OpCode, Payload, SessionId, StringList, Txn};
use oxkeeper_tree::{Changes, Tree};
use proptest::prelude::*;

use crate::model::Model;
use crate::support::{OPTIONS, acl_of, digest_anew, dump, payload};

/// A transaction without its bytes.
#[derive(Debug, Clone)]
pub enum Op {
    Create { kind: u8, path: String, data: Option<Vec<u8>>, acl: u8, session: i64, jump: i32 },
    Delete(String),
    Set(String, Option<Vec<u8>>),
    Acl(String, u8),
    Open(i64),
    Close(i64, Option<Vec<String>>),
    Fail,
    Multi(Vec<Op>),
}

fn paths() -> BoxedStrategy<String> {
    // Few names, so that most operations meet something.
    proptest::collection::vec("[a-d]|é", 1..4)
        .prop_map(|names| names.iter().map(|name| format!("/{name}")).collect())
        .boxed()
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4))
}

fn simple(paths: BoxedStrategy<String>) -> impl Strategy<Value = Op> {
    let listed = proptest::option::of(proptest::collection::vec(paths.clone(), 0..3));
    prop_oneof![
        6 => (0u8..6, paths.clone(), data(), 0u8..3, 1i64..4, -1i32..4).prop_map(
            |(kind, path, data, acl, session, jump)| {
                Op::Create { kind, path, data, acl, session, jump }
            }
        ),
        3 => paths.clone().prop_map(Op::Delete),
        2 => (paths.clone(), data()).prop_map(|(path, data)| Op::Set(path, data)),
        1 => (paths, 0u8..3).prop_map(|(path, acl)| Op::Acl(path, acl)),
        1 => (1i64..4).prop_map(Op::Open),
        1 => (1i64..4, listed).prop_map(|(session, listed)| Op::Close(session, listed)),
        1 => Just(Op::Fail),
    ]
}

pub fn ops(paths: BoxedStrategy<String>) -> impl Strategy<Value = Op> {
    let inner = simple(paths.clone());
    prop_oneof![
        9 => simple(paths),
        1 => proptest::collection::vec(inner, 0..4).prop_map(Op::Multi),
    ]
}

fn acl_bytes(acl: u8) -> Vec<u8> {
    match acl {
        0 => oxkeeper_proto::OPEN_ACL_UNSAFE.raw().to_vec(),
        n => acl_of(&format!("user{n}:hash")),
    }
}

impl Op {
    /// The transaction's bytes; `None` for what would remove a znode with children, which no server
    /// proposes and the model does not know.
    pub fn encode(&self, tree: &Tree, zxid: i64) -> Option<Vec<u8>> {
        let mut record = Vec::new();
        let (op, session) = self.encode_record(tree, &mut record)?;
        let mut out = Vec::new();
        payload(session, zxid, op, Txn::CreateSession(0)).header.encode(&mut out);
        out.extend_from_slice(&record);
        Some(out)
    }

    fn encode_record(&self, tree: &Tree, out: &mut Vec<u8>) -> Option<(OpCode, i64)> {
        match self {
            Op::Create { kind, path, data, acl, session, jump } => {
                let op = match kind {
                    0 | 4 | 5 => OpCode::CREATE,
                    1 => OpCode::CREATE2,
                    2 => OpCode::CREATE_CONTAINER,
                    _ => OpCode::CREATE_TTL,
                };
                let acl = acl_bytes(*acl);
                let create = CreateTxn {
                    op,
                    path: path.into(),
                    data: data.as_deref(),
                    acl: AclList::from_raw(&acl).expect("a list"),
                    ephemeral: *kind == 4,
                    parent_cversion: *jump,
                    ttl_ms: 50,
                };
                Txn::Create(create).encode(out);
                Some((op, *session))
            }
            Op::Delete(path) => {
                if tree.node(path).is_some_and(|node| node.num_children() > 0) {
                    return None;
                }
                out.put_string(path);
                Some((OpCode::DELETE, 1))
            }
            Op::Set(path, data) => {
                let set = SetDataTxn { path: path.into(), data: data.as_deref(), version: 3 };
                Txn::SetData(set).encode(out);
                Some((OpCode::SET_DATA, 1))
            }
            Op::Acl(path, acl) => {
                let acl = acl_bytes(*acl);
                let acl = AclList::from_raw(&acl).expect("a list");
                Txn::SetAcl(SetAclTxn { path: path.into(), acl, version: 2 }).encode(out);
                Some((OpCode::SET_ACL, 1))
            }
            Op::Open(session) => {
                out.put_int(30_000);
                Some((OpCode::CREATE_SESSION, *session))
            }
            Op::Close(session, listed) => encode_close(*session, listed.as_deref(), tree, out),
            Op::Fail => {
                out.put_int(ErrorCode::NO_NODE.0);
                Some((OpCode::ERROR, 1))
            }
            Op::Multi(ops) => encode_multi(ops, tree, out),
        }
    }
}

fn encode_close(
    session: i64,
    listed: Option<&[String]>,
    tree: &Tree,
    out: &mut Vec<u8>,
) -> Option<(OpCode, i64)> {
    let own: Vec<String> = tree.ephemerals(SessionId(session)).map(str::to_owned).collect();
    let with_children = |path: &String| tree.node(path).is_some_and(|n| n.num_children() > 0);
    if own.iter().chain(listed.unwrap_or_default()).any(with_children) {
        return None;
    }
    if let Some(listed) = listed {
        oxkeeper_proto::data::encode_strings(out, listed);
    }
    Some((OpCode::CLOSE_SESSION, session))
}

fn encode_multi(ops: &[Op], tree: &Tree, out: &mut Vec<u8>) -> Option<(OpCode, i64)> {
    out.put_int(ops.len() as i32);
    for op in ops {
        let mut record = Vec::new();
        let (code, _) = op.encode_record(tree, &mut record)?;
        let nested = [OpCode::SET_ACL, OpCode::CREATE_SESSION, OpCode::CLOSE_SESSION];
        // Deleting inside could meet children made a moment before.
        if nested.contains(&code) || code == OpCode::DELETE {
            return None;
        }
        out.put_int(code.0);
        out.put_buffer(Some(&record));
    }
    Some((OpCode::MULTI, 2))
}

/// Everything the tree says is what the model says.
fn compare(tree: &Tree, model: &Model) {
    let znodes = dump(tree);
    assert_eq!(&znodes, model.znodes());
    assert_eq!(tree.node_count(), znodes.len() + 1);
    assert_eq!(tree.digest(), digest_anew(tree));
    assert_eq!(tree.sessions().collect::<Vec<_>>(), model.sessions());
    let ephemerals = model.ephemerals();
    for (session, paths) in &ephemerals {
        assert_eq!(tree.ephemerals(*session).collect::<BTreeSet<_>>().len(), paths.len());
        assert!(tree.ephemerals(*session).eq(paths.iter().map(String::as_str)));
    }
    assert_eq!(tree.ephemeral_count(), ephemerals.values().map(BTreeSet::len).sum::<usize>());
    let lists: BTreeSet<_> = znodes.values().map(|node| &node.acl).collect();
    let open = lists.contains(&oxkeeper_proto::OPEN_ACL_UNSAFE.raw().to_vec());
    assert_eq!(tree.acl_count() + usize::from(open), lists.len());
    let mut bytes = 1;
    for (path, node) in &znodes {
        let path_len = if path == "/" { 0 } else { path.encode_utf16().count() };
        bytes += path_len + node.data.as_ref().map_or(0, Vec::len);
        let children = tree.node(path).expect("dumped").stat();
        assert_eq!(children.num_children as usize, node.children.len());
        assert_eq!(children.cversion, 2 * node.stat.cversion - children.num_children);
        let below = znodes.keys().filter(|other| other.starts_with(&format!("{path}/")));
        if path != "/" {
            assert_eq!(tree.descendants(path) as usize, below.count());
        }
        check_listing(tree, path, &node.children);
    }
    assert_eq!(tree.approximate_data_bytes(), bytes as i64);
    assert_eq!(tree.descendants("/") as usize, znodes.len() - 1);
    check_reaper(tree, model);
}

fn check_listing(tree: &Tree, path: &str, children: &BTreeSet<String>) {
    let (mut direct, mut later) = (Vec::new(), Vec::new());
    assert!(tree.encode_children(path, &mut direct));
    tree.children_handles(path).expect("it exists").encode(&mut later);
    assert_eq!(direct, later);
    let list = StringList::decode(&mut Reader::new(&direct)).expect("a list");
    assert_eq!(&list.iter().map(|name| name.into_owned()).collect::<BTreeSet<_>>(), children);
    assert_eq!(list.len(), children.len());
}

fn check_reaper(tree: &Tree, model: &Model) {
    let (now, never_used) = (1080, 60);
    let due: BTreeSet<&str> =
        tree.reap_candidates(now, never_used, usize::MAX).into_iter().collect();
    let expected = model.znodes().iter().filter(|(_, node)| {
        let age = now - node.stat.mtime_ms;
        node.children.is_empty()
            && match node.stat.ephemeral_owner {
                i64::MIN => node.stat.cversion > 0 || age > never_used,
                owner if owner < 0 => age > 50,
                _ => false,
            }
    });
    assert_eq!(due, expected.map(|(path, _)| path.as_str()).collect());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_tree_does_what_the_model_does(ops in proptest::collection::vec(ops(paths()), 1..60)) {
        let mut tree = Tree::new(OPTIONS);
        let mut model = Model::of(&tree);
        let mut changes = Changes::new();
        for (at, op) in ops.iter().enumerate() {
            let Some(bytes) = op.encode(&tree, at as i64 + 1) else { continue };
            let payload = Payload::decode(&bytes).expect("ours");
            let code = tree.apply(&payload, &mut changes, None);
            prop_assert_eq!(code, model.apply(&payload));
            changes.clear();
            compare(&tree, &model);
        }
    }
}

/// Bytes to change, and how.
fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)
}

proptest! {
    #[test]
    fn no_payload_brings_the_tree_down(
        ops in proptest::collection::vec((ops(paths()), damage()), 1..20),
    ) {
        let mut tree = Tree::new(OPTIONS);
        let mut changes = Changes::new();
        let mut reply = Vec::new();
        for (at, (op, damage)) in ops.iter().enumerate() {
            let Some(mut bytes) = op.encode(&tree, at as i64 + 1) else { continue };
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
            if let Ok(payload) = Payload::decode(&bytes) {
                tree.apply(&payload, &mut changes, Some(&mut reply));
            }
        }
        // Nothing is counted that is not there.
        let owned = tree.ephemeral_owners().map(|id| tree.ephemerals(id).count());
        prop_assert_eq!(owned.sum::<usize>(), tree.ephemeral_count());
    }
}
