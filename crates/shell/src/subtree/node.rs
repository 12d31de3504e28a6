//! A znode apart from any server: what `cp`, `export` and `import` carry.

use oxkeeper_client::{Acl, Stat};

use super::walk::Found;
use crate::path;
use crate::show;

/// The tree that every server keeps for itself; it is never carried.
const SYSTEM: &str = "/zookeeper";

/// How a znode lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until it is deleted.
    Persistent,
    /// As long as its session. Nobody can carry that elsewhere.
    Ephemeral,
    /// Until some time after its last child.
    Container,
    /// For so many milliseconds without a change or children.
    Ttl(i64),
}

impl Life {
    /// What a stat tells.
    pub fn of(stat: &Stat) -> Life {
        match (show::mode(stat), show::ttl_ms(stat.ephemeral_owner.0)) {
            (_, Some(ttl)) => Life::Ttl(ttl),
            ("container", _) => Life::Container,
            ("ephemeral", _) => Life::Ephemeral,
            _ => Life::Persistent,
        }
    }

    /// From its name, as [`show::stat_json`] writes it.
    pub fn from_name(name: &str, ttl_ms: Option<i64>) -> Option<Life> {
        Some(match (name, ttl_ms) {
            ("persistent", _) => Life::Persistent,
            ("ephemeral", _) => Life::Ephemeral,
            ("container", _) => Life::Container,
            ("ttl", Some(ttl)) => Life::Ttl(ttl),
            _ => return None,
        })
    }
}

/// A znode and where it is below the root of what is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Empty for the root, `/a/b` else.
    pub below: String,
    /// Its data; null is kept.
    pub data: Option<Vec<u8>>,
    /// Its ACL.
    pub acl: Vec<Acl>,
    /// How it lives.
    pub life: Life,
}

impl Node {
    /// A znode that a walk from `root` found, with its data and ACL.
    pub fn of(root: &str, found: Found) -> Node {
        let (data, acl) = found.whole.unwrap_or_default();
        let below = path::below(root, &found.path).to_owned();
        Node { below, data, acl, life: Life::of(&found.stat) }
    }

    /// Bytes of data.
    pub fn size(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.len() as u64)
    }
}

/// Whether it belongs to the server: not carried, unless it is asked for by name.
pub fn is_systems(root: &str, found: &str) -> bool {
    !path::within(SYSTEM, root) && path::within(SYSTEM, found)
}
