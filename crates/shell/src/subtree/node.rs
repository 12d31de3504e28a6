//! A znode apart from any server: what `cp`, `export` and `import` carry.

use oxkeeper_client::{Acl, Stat};

use super::walk::Found;
use crate::path;

/// The tree that every server keeps for itself; it is never carried.
const SYSTEM: &str = "/zookeeper";

/// A znode and where it is below the root of what is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Empty for the root, `/a/b` else.
    pub below: String,
    /// Its data; null is kept.
    pub data: Option<Vec<u8>>,
    /// Its ACL.
    pub acl: Vec<Acl>,
    /// Whether it belongs to a session, which nobody can carry elsewhere.
    pub ephemeral: bool,
}

impl Node {
    /// A znode that a walk from `root` found, with its data and ACL.
    pub fn of(root: &str, found: Found) -> Node {
        let (data, acl) = found.whole.unwrap_or_default();
        let below = path::below(root, &found.path).to_owned();
        let ephemeral = is_ephemeral(&found.stat);
        Node { below, data, acl, ephemeral }
    }

    /// Bytes of data.
    pub fn size(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.len() as u64)
    }
}

/// Whether it goes with a session.
pub fn is_ephemeral(stat: &Stat) -> bool {
    stat.ephemeral_owner.0 != 0
}

/// Whether it belongs to the server: not carried, unless it is asked for by name.
pub fn is_systems(root: &str, found: &str) -> bool {
    !path::within(SYSTEM, root) && path::within(SYSTEM, found)
}
