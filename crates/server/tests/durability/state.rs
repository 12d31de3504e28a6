//! Everything that a server has to find again: the tree, every field of it, and the sessions.

use std::collections::{BTreeMap, BTreeSet};

use oxkeeper_proto::{SessionId, StatPersisted, Zxid};
use oxkeeper_tree::Tree;

/// One znode as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Znode {
    pub data: Option<Vec<u8>>,
    /// The list, encoded.
    pub acl: Vec<u8>,
    pub stat: StatPersisted,
    pub children: BTreeSet<String>,
}

/// A whole server's state at one zxid.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub zxid: Zxid,
    pub digest: i64,
    pub sessions: BTreeMap<SessionId, i32>,
    /// Every znode by its path, the root as `/`.
    pub znodes: BTreeMap<String, Znode>,
}

impl State {
    pub fn of(tree: &Tree) -> State {
        let mut znodes = BTreeMap::new();
        let mut paths = vec![String::new()];
        while let Some(path) = paths.pop() {
            let node = tree.node(&path).expect("a child exists");
            let children: BTreeSet<String> = node.children().map(str::to_owned).collect();
            paths.extend(children.iter().map(|name| format!("{path}/{name}")));
            let znode = Znode {
                data: node.data().map(<[u8]>::to_vec),
                acl: node.acl().raw().to_vec(),
                stat: node.persisted(),
                children,
            };
            znodes.insert(if path.is_empty() { "/".to_owned() } else { path }, znode);
        }
        let sessions = tree.sessions().collect();
        State { zxid: tree.last_zxid(), digest: tree.digest(), sessions, znodes }
    }

    /// The digest, computed from every znode anew.
    pub fn digest_anew(&self) -> i64 {
        let counted = self.znodes.iter().filter(|(path, _)| !path.starts_with("/zookeeper/"));
        counted
            .map(|(path, znode)| {
                let crc = oxkeeper_tree::digest::data_crc(path, znode.data.as_deref());
                oxkeeper_tree::node_digest(crc, &znode.stat)
            })
            .fold(0, i64::wrapping_add)
    }

    /// What must hold in any state: the digest is right, every ephemeral has its session, and what
    /// the tree keeps beside the znodes agrees with them.
    pub fn check(&self, tree: &Tree, when: &str) {
        assert_eq!(self.digest, self.digest_anew(), "{when}: the digest");
        let mut owned: BTreeMap<SessionId, BTreeSet<&str>> = BTreeMap::new();
        for (path, znode) in &self.znodes {
            let owner = SessionId(znode.stat.ephemeral_owner);
            // The top byte is the server's id in a session, and marks containers and TTL nodes.
            if owner.0 != 0 && (owner.0 as u64) >> 56 < 0x80 {
                assert!(self.sessions.contains_key(&owner), "{when}: {path} has no session");
                owned.entry(owner).or_default().insert(path);
            }
        }
        let known: BTreeMap<SessionId, BTreeSet<&str>> =
            tree.ephemeral_owners().map(|id| (id, tree.ephemerals(id).collect())).collect();
        assert_eq!(known, owned, "{when}: ephemerals by session");
    }
}

/// Compares two states and says where they differ, not all that they hold.
pub fn assert_equal(found: &State, expected: &State, when: &str) {
    if found == expected {
        return;
    }
    for (path, znode) in &expected.znodes {
        assert_eq!(found.znodes.get(path), Some(znode), "{when}: {path} (right: expected)");
    }
    for path in found.znodes.keys() {
        assert!(expected.znodes.contains_key(path), "{when}: {path} should not be there");
    }
    assert_eq!(found.sessions, expected.sessions, "{when}: sessions");
    assert_eq!(found.digest, expected.digest, "{when}: digests");
    assert_eq!(found.zxid, expected.zxid, "{when}: zxids");
}
