//! What can be found out about a tree from outside, and what must hold of every tree.

use std::collections::BTreeMap;

use oxkeeper_proto::{SessionId, StatPersisted, Zxid};
use oxkeeper_tree::digest::data_crc;
use oxkeeper_tree::{OwnerRules, Tree, TreeOptions, node_digest};

/// One znode.
#[derive(Debug, PartialEq)]
pub struct Znode {
    data: Option<Vec<u8>>,
    acl: Vec<u8>,
    stat: StatPersisted,
    children: usize,
}

/// Everything that a snapshot keeps.
#[derive(Debug, PartialEq)]
pub struct State {
    pub znodes: BTreeMap<String, Znode>,
    pub sessions: Vec<(SessionId, i32)>,
    pub zxid: Zxid,
    pub digest: i64,
    /// Znodes whose parent is gone. No snapshot keeps them.
    pub unreachable: usize,
}

/// Options by the bits of a byte, so that a fuzzer reaches all of them.
pub fn options(bits: u8) -> TreeOptions {
    TreeOptions {
        hash_seed: 5,
        digest_enabled: bits & 1 == 0,
        owner_rules: OwnerRules { extended_types: bits & 2 == 0, emulate_353: bits & 4 != 0 },
    }
}

/// Looks at every znode that a walk from the root finds, and compares the tree's own counts with
/// what was found.
pub fn state(tree: &Tree) -> State {
    let mut znodes = BTreeMap::new();
    let mut paths = vec![String::new()];
    while let Some(path) = paths.pop() {
        let node = tree.node(&path).expect("a child that is listed exists");
        let before = paths.len();
        paths.extend(node.children().map(|name| format!("{path}/{name}")));
        let children = paths.len() - before;
        assert_eq!(children, node.num_children(), "children of {path:?}");
        let znode = Znode {
            data: node.data().map(<[u8]>::to_vec),
            acl: node.acl().raw().to_vec(),
            stat: node.persisted(),
            children,
        };
        assert!(znodes.insert(path, znode).is_none(), "a child that is listed twice");
    }
    // The root counts twice, as in Java. Children of a znode that is gone, which a damaged log can
    // leave, are not found by walking.
    let unreachable = tree.node_count().checked_sub(znodes.len() + 1).expect("all are counted");
    if unreachable == 0 && tree.options().digest_enabled {
        assert_eq!(tree.digest(), digest_of(&znodes), "the digest, counted anew");
    }
    let (zxid, digest) = (tree.last_zxid(), tree.digest());
    State { znodes, sessions: tree.sessions().collect(), zxid, digest, unreachable }
}

fn digest_of(znodes: &BTreeMap<String, Znode>) -> i64 {
    let counted = znodes.iter().filter(|(path, _)| !path.starts_with("/zookeeper/"));
    counted
        .map(|(path, znode)| node_digest(data_crc(path, znode.data.as_deref()), &znode.stat))
        .fold(0, i64::wrapping_add)
}
